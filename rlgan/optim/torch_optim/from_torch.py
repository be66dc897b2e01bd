"""Any `torch.optim` class in a player's place: it sees the network's own parameters, views of the player's vector."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from rlgan.optim.step.method import Engine, InPlace, Whole
from rlgan.optim.step.noise import Noise, NoNoise
from rlgan.optim.step.schedule import Factor, unscheduled
from rlgan.optim.step.types import Scalars, Slots
from rlgan.optim.step.vector import Vector
from rlgan.optim.tree import tree_map


def from_torch(optimizer: Annotated[str, "module.name"], options: Mapping[str, Any] | None = None) -> TorchMethod:
    """The method that an optimizer class of torch's, or of anybody's, makes.

    The player adds schedule, noise, projection and average as to any other method: the class's step, then noise, then
    the projection in the plain metric. The update runs eagerly; a class can neither be compiled nor stacked over seeds.

    Args:
        optimizer: a name in torch.optim such as ``AdamW``, or a dotted path to a subclass of torch.optim.Optimizer.
        options: its arguments beside the parameters; without ``lr`` the class's own default.

    Raises:
        ValueError: no such class, an option that it does not know or refuses, or a class that cannot stand there.
    """
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in (options or {}).items()}
    kind = _class(optimizer)
    _check_options(optimizer, kind, options)
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"optimizer = {optimizer}: its step needs a closure, to evaluate the loss several times, and a player has "
            "one gradient a step; use a first-order class, for example AdamW"
        )
    # A weight and a bias, as in any network.
    dummies = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    for p in dummies:
        p.grad = torch.ones_like(p)
    try:
        probe = kind(dummies, **options)
    except Exception as error:
        raise ValueError(f"optimizer = {optimizer}: {_first_line(error)} (options = {options})") from error
    try:
        probe.step()
    except Exception as error:
        raise ValueError(
            f"optimizer = {optimizer}: cannot step a network's parameters: {_first_line(error)}"
        ) from error
    lr = probe.param_groups[0].get("lr")
    if lr is None:
        raise ValueError(f"optimizer = {optimizer}: has no lr in its param_groups, so that no schedule could change it")
    if not float(lr) > 0:
        raise ValueError(f"options.lr = {lr}: the learning rate must be positive, for example 1e-3")
    return TorchMethod(kind, options, float(lr))


def _class(name: str) -> type[torch.optim.Optimizer]:
    """The optimizer class of this name, in torch.optim or by its dotted path."""
    module, _, leaf = name.rpartition(".")
    try:
        found = importlib.import_module(module or "torch.optim")
    except ModuleNotFoundError as error:
        raise ValueError(f"optimizer = {name}: no module {error.name}; install it, or check the path") from None
    known = [n for n, v in vars(found).items() if _is_optimizer(v)]
    if leaf not in known:
        close = difflib.get_close_matches(leaf.lower(), [n.lower() for n in known], n=1)
        hint = f"did you mean {next(n for n in known if n.lower() == close[0])}?" if close else f"it has {known}"
        raise ValueError(f"optimizer = {name}: no optimizer class of that name in {found.__name__}; {hint}")
    kind: type[torch.optim.Optimizer] = getattr(found, leaf)
    return kind


def _is_optimizer(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer


def _check_options(name: str, kind: type[torch.optim.Optimizer], options: Mapping[str, Any]) -> None:
    _, *parameters = inspect.signature(kind).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters]
    for option, value in options.items():
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
            raise ValueError(f"options.{option} = {value}: {name} has no such option; {hint}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


@dataclass(frozen=True)
class TorchMethod(InPlace):
    """A torch optimizer as a player's method; see `from_torch`, which checks what it is given.

    Args:
        optimizer: the class.
        options: its arguments beside the parameters.
        lr: the learning rate that the schedule multiplies.
    """

    optimizer: type[torch.optim.Optimizer]
    options: Mapping[str, Any]
    lr: float
    noise: Noise = field(default_factory=NoNoise)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{_name(self.optimizer)}({options})"

    def init(self, theta: Tensor) -> Slots:
        return {}

    def engine(self, vector: Vector, state: Slots, momentum: Factor) -> Engine:
        """The torch optimizer that takes the steps.

        Raises:
            ValueError: if the momentum is scheduled.
        """
        if momentum is not unscheduled:
            raise ValueError(
                f"momentum_schedule = not constant: which option of {_name(self.optimizer)} that is is not known; use "
                "schedule=constant there, or one of rlgan's own methods, for example heavy_ball or adam"
            )
        return TorchEngine(vector, self.optimizer, self.options)


class TorchEngine(Engine):
    """A torch optimizer on the parameters that are views of a player's vector.

    Args:
        vector: the player's; what the optimizer takes for gradients are views of ``vector.grad``.
        optimizer, options: the class, and its arguments beside the parameters.
    """

    def __init__(self, vector: Vector, optimizer: type[torch.optim.Optimizer], options: Mapping[str, Any]) -> None:
        self._vector, self._options = vector, dict(options)
        self._optimizer: Any = optimizer(list(vector.parameters), **options)

    def __call__(self, g: Tensor, s: Scalars, whole: Whole | None = None) -> None:
        vector = self._vector
        if g is not vector.grad:
            vector.grad.copy_(g)
        for p, gradient in zip(vector.parameters, vector.gradients, strict=True):
            if p.grad is not gradient:
                p.grad = gradient
        for group in self._optimizer.param_groups:
            group["lr"] = s["lr"]
        self._optimizer.step()
        # A fused kernel does not tell autograd, which could then not notice a write between forward and backward.
        torch.autograd.graph.increment_version(vector.theta)

    def state_dict(self) -> dict[str, Any]:
        state = _copy(self._optimizer.state_dict())
        return {"optimizer": _name(type(self._optimizer)), "options": dict(self._options), "state": state}

    def check(self, saved: dict[str, Any]) -> None:
        """Refuse what another class has saved, and a state that this class cannot step from with these parameters.

        Raises:
            ValueError: with both names, or with what the class says of the state.
        """
        mine = _name(type(self._optimizer))
        theirs = saved.get("optimizer", "one of rlgan's own methods") if isinstance(saved, dict) else saved
        if mine != theirs:
            raise ValueError(
                f"optimizer = {mine}: the state was saved with {theirs}; resume with the configuration of the run"
            )
        twins = [nn.Parameter(p.detach().clone()) for p in self._vector.parameters]
        device = self._vector.theta.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            try:
                trial = type(self._optimizer)(twins, **self._options)
                self._load(trial, twins, saved)
                for p in twins:
                    p.grad = torch.zeros_like(p)
                trial.step()
            except Exception as error:
                raise ValueError(
                    f"optimizer = {mine}: cannot go on from the saved state ({type(error).__name__}: "
                    f"{_first_line(error)}); resume with the configuration of the run"
                ) from error

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put back a `state_dict()` that `check` has passed; an option that was another then is as it is now."""
        self._load(self._optimizer, self._vector.parameters, saved)

    def _load(self, optimizer: Any, parameters: Sequence[Tensor], saved: dict[str, Any]) -> None:
        copied = _copy(saved["state"])
        optimizer.load_state_dict(copied)
        # torch has cast them to the parameters' dtype.
        for i, p in enumerate(parameters):
            if i in copied["state"]:
                optimizer.state[p] = copied["state"][i]
        for group in optimizer.param_groups:
            then = saved.get("options", group)  # older states have none
            left = {name: optimizer.defaults.get(name) for name in saved.get("options", {})}
            for name, value in {**left, **self._options}.items():
                if name in group and (name not in then or then[name] != value):
                    group[name] = value


def _name(kind: type[torch.optim.Optimizer]) -> str:
    """torch.optim.AdamW, and not the module that it is written in."""
    own = getattr(torch.optim, kind.__name__, None) is kind
    return f"torch.optim.{kind.__name__}" if own else f"{kind.__module__}.{kind.__qualname__}"


def _copy(tree: Any) -> Any:
    """A plain tree with its tensors cloned."""
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, tree)
