"""Matrix products in bfloat16; everything else stays float32.

On an accelerator the networks inside the losses run under autocast, which `bfloat16` adds. On a CPU that made updates
slower: there each large product is one in bfloat16 where that is quicker, and the others are float32. In a compiled
update such a product rounds its factors and sums in float32 (`rlgan.optim.compiled.kernel`); eagerly it is oneDNN's.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rlgan.optim.play.field import Loss, Losses, Nets
from rlgan.optim.step.types import Metrics


def bfloat16(losses: Losses) -> Losses:
    """The same losses with every network, average and input gradient evaluated in bfloat16 and returned in float32.

    bfloat16 has 8 bits of precision: a product is off by up to 0.4 %. Vectors, optimizer state, averages, gradients
    with respect to the vectors and the arithmetic of the losses stay float32.
    """
    wrapped = {
        loss: functools.partial(_halved_loss, loss) for loss in (*losses.of.values(), losses.joint) if loss is not None
    }
    of: dict[str, Loss] = {name: wrapped[loss] for name, loss in losses.of.items()}
    return Losses(of, None if losses.joint is None else wrapped[losses.joint], losses.signs)


def _halved_loss(loss: Loss, nets: Nets, batch: Any) -> tuple[Tensor, Metrics]:
    return loss(_halved(nets), batch)


class _Half:
    """A bound network (see `rlgan.optim.play.field.Net`) under autocast."""

    def __init__(self, net: Any) -> None:
        self._net = net

    def __call__(self, *inputs: Tensor) -> Tensor:
        return _under_autocast(self._net, inputs)

    def input_gradient(self, x: Tensor, *rest: Tensor) -> Tensor:
        return _under_autocast(self._net.input_gradient, (x, *rest))


def _under_autocast(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    # Without the cache of cast weights, which would outlive a transform of torch.func.
    with torch.autocast(inputs[0].device.type, dtype=torch.bfloat16, cache_enabled=False):
        return function(*inputs).float()


def _halved(nets: Nets) -> Nets:
    return type(nets)(*(_halved(net) if isinstance(net, tuple) else _Half(net) for net in nets))


def bfloat16_note(device: torch.device, rounds_from: int = 0) -> str:
    """What bfloat16 means on this machine; for a CPU it takes `Update.rounds_from`."""
    if device.type == "cpu":
        if not rounds_from:
            return "precision = bf16: stays float32, for no product is quicker in bfloat16 on this CPU"
        return (
            f"precision = bf16: products are rounded to 8 bits from {rounds_from} x {rounds_from} matrices on, below "
            "which float32 is quicker on this CPU"
        )
    so = ""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        so = f"; {torch.cuda.get_device_name(device)} has no instructions for it, so that it is SLOWER than float32"
    return f"precision = bf16: products in the losses are rounded to 8 bits{so}"
