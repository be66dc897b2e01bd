"""What a loss promises: a scalar that its player's parameters move, and a dictionary of scalar tensors."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rlgan.optim.contract.calls import calling, check_tensor, refuse, shown
from rlgan.optim.play.field import Losses
from rlgan.optim.update import Update

EXAMPLE = 'return loss, {"critic/q": q.detach().mean()}'


def check_scalar(key: str, piece: object, method: str, value: object, by: Sequence[Tensor], of: str) -> Tensor:
    """`value` as a loss: a finite scalar that depends on `by`.

    Args:
        key, piece, method: who gave it (see `calls`).
        value: what was given.
        by: tensors that require a gradient, one of which at least the loss has to have.
        of: what they are, in words.

    Raises:
        ValueError: it is none, or has no gradient.
    """
    device = next(iter(by)).device
    loss = check_tensor(key, piece, method, value, ())
    if loss.device != device:
        raise refuse(key, piece, f"{method} returned a tensor on {loss.device}", f"compute it on {device}")
    gone = "no detach(), item() or no_grad() may stand between them"
    if not loss.requires_grad:
        raise refuse(key, piece, f"{method} returned a loss without a gradient", f"it has to depend on {of}; {gone}")
    with calling(key, piece, f"the backward pass of {method}"):
        found = torch.autograd.grad(loss, list(by), allow_unused=True)
    if all(part is None for part in found):
        raise refuse(key, piece, f"{method} does not depend on {of}, which it is to move", gone)
    if any(part is not None and not part.isfinite().all() for part in found):
        what = f"{method} has a gradient with nan or inf"
        raise refuse(key, piece, what, "look for a root or a norm of 0, whose slope is infinite")
    return loss.detach()


def check_loss(key: str, piece: object, method: str, given: object, by: Sequence[Tensor], of: str) -> None:
    """What ``loss(nets, batch)`` gave, ``(scalar, metrics)``; as `check_scalar`.

    Raises:
        ValueError: it is not such a pair.
    """
    if not (isinstance(given, tuple) and len(given) == 2):
        raise refuse(key, piece, f"{method} returned {shown(given)}", f"a loss and its metrics are due: {EXAMPLE}")
    loss, metrics = given
    check_scalar(key, piece, method, loss, by, of)
    if not isinstance(metrics, Mapping):
        what = f"{method} returned {shown(metrics)} for its metrics"
        raise refuse(key, piece, what, f"a dict of tensors is due, and may be empty: {EXAMPLE}")
    for tag, value in metrics.items():
        if not isinstance(tag, str):
            raise refuse(key, piece, f"{method} named a metric {tag!r}", f"name it by a word: {EXAMPLE}")
        if not isinstance(value, Tensor) or value.numel() != 1:
            what = f"{method} returned {shown(value)} for the metric {tag}"
            raise refuse(key, piece, what, "return a scalar tensor, for example by .detach().mean()")


def check_losses(key: str, piece: object, update: Update, batch: Any, losses: Losses) -> None:
    """Compute each player's loss, a method of `piece`, once on a minibatch; the players are those of `update`.

    Nothing of the players changes, batch norm's averages included; nothing is drawn from a generator but the global
    ones, which whoever calls this puts back.

    Raises:
        ValueError: naming the loss at fault.
    """
    field = update.eager
    with kept_buffers(player.module for player in update.players.values()), torch.enable_grad():
        for name, loss in losses.of.items():
            method = getattr(loss, "__name__", f"the loss of {name}")
            with calling(key, piece, method):
                given: object = loss(field.nets((name,)), batch)
            check_loss(key, piece, method, given, update.players[name].vector.parameters, f"the {name}'s parameters")


@contextmanager
def kept_buffers(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put the buffers of modules back after the block: in training mode a look at them moves batch norm's averages."""
    buffers = [buffer for module in modules for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)


def built(key: str, piece: object, method: str, make: Callable[[], object]) -> nn.Module:
    """The network that `make` gives, which calls `method` of `piece`.

    Raises:
        ValueError: it raised, or gave no network.
    """
    with calling(key, piece, method):
        network = make()
    if not isinstance(network, nn.Module):
        raise refuse(key, piece, f"{method} returned {shown(network)}", "return a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        what = f"{method} returned {shown(network)} without a parameter to train"
        raise refuse(key, piece, what, "make its layers in its __init__, as attributes, not frozen")
    return network


def check_network(
    key: str, piece: object, method: str, network: nn.Module, inputs: Sequence[Tensor], outputs: tuple[int, ...]
) -> None:
    """Call a network once, in the mode that it trains in.

    Args:
        key, piece, method: who made it.
        network: on its device, in its dtype; it stays as it is.
        inputs: what it is called with, ``(batch, ...)`` each.
        outputs: the shape of one output.

    Raises:
        ValueError: it raised, or gave another shape, dtype or device, nan or inf, or something without a gradient.
    """
    shapes = ", ".join(str(tuple(x.shape[1:])) for x in inputs)
    what = f"{method}'s network"
    with kept_buffers([network]), torch.enable_grad():
        hint = f"build it for inputs {shapes} and outputs {outputs}"
        with calling(key, piece, what, hint):
            given: object = network(*inputs)
        y = check_tensor(key, piece, what, given, (len(inputs[0]), *outputs), inputs[0])
        if not y.requires_grad:
            raise refuse(key, piece, f"{what} cuts off the gradient", "use no detach() or no_grad() in its forward")
