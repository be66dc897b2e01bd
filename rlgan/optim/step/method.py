"""The step, and the methods that are settings of it.

    theta+ = P_K^H( theta + v + sigma xi ),    v = momentum's displacement of  u = -lr H^-1 m,
    m = momentum(g),    H = metric(g),         g = gradient + weight_decay theta

A method fills the slots `momentum`, `metric` and `noise`; the player adds schedules, projection and average.
A new method is a function here (see presets.py) and one YAML.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from rlgan.optim.step.metric import RMS, Identity, Metric
from rlgan.optim.step.momentum import Frame, GradientEMA, Momentum, NoMomentum
from rlgan.optim.step.noise import Noise, NoNoise
from rlgan.optim.step.schedule import Factor, unscheduled
from rlgan.optim.step.types import Kind, Scalars, Slots, Squares
from rlgan.optim.step.vector import Vector

Project: TypeAlias = Callable[[Tensor, Slots], Tensor]
"""x (d,), the method's new state -> the nearest point of K in that state's metric."""


class Whole(NamedTuple):
    """A player's loss, the other players and the batch held fixed.

    Args:
        of: theta (d,) -> scalar, pure, the same function at every call.
        value: at the point of the gradient that comes with it.
    """

    of: Callable[[Tensor], Tensor]
    value: float


class Engine(ABC):
    """A step that writes into the vector it was made for: a kernel or an optimizer of torch's."""

    @abstractmethod
    def __call__(self, g: Tensor, s: Scalars, whole: Whole | None = None) -> None:
        """theta <- theta + v and the new slots, for the step with gradient `g` (d,) and the numbers `s`.

        `whole`: the loss, for a method that needs it.
        """

    def report(self) -> dict[str, float]:
        """What is to be logged of the steps so far, by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What it keeps beside the player's slots, as a plain tree of copies."""
        return {}

    def check(self, saved: dict[str, Any]) -> None:
        """Refuse what is not a `state_dict()` of this engine.

        Raises:
            ValueError: with a remedy.
        """
        return None

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put `state_dict()` back."""
        return None


class Method(ABC):
    """What makes a step of a gradient."""

    lr: float
    noise: Noise
    looks_ahead: bool = False
    """Whether the gradient is taken at `point` and not at theta."""
    has_momentum: bool = False
    """Whether there is a coefficient (rho, beta1) to schedule."""
    feasible: ClassVar[bool] = True
    """Whether theta itself is projected."""
    stackable: ClassVar[bool] = True
    """Whether `step` exists: a pure function, which compiles and stacks."""
    needs_loss: ClassVar[bool] = False
    """Whether a step evaluates the loss of its batch itself, besides the gradient."""
    squares: Squares = "own"
    """Which squares of a gradient have to be finite."""

    def squares_in(self, dtype: torch.dtype) -> bool:
        """Whether the squares of a gradient of this dtype have to be finite numbers of it."""
        return self.squares == "own" or (self.squares == "double" and dtype == torch.float64)

    @abstractmethod
    def init(self, theta: Tensor) -> Slots:
        """The method's state before the first gradient: vectors like `theta` (d,) or numbers (), by slot name.

        Raises:
            ValueError: if the method is not for vectors of this size.
        """

    @abstractmethod
    def scalars(self, t: int, lr: float, momentum: Factor) -> dict[str, float]:
        """The numbers of step `t` (1, 2, ...), lr's schedule at the factor `lr`, momentum's as a function."""

    def point(self, theta: Tensor, state: Slots, s: Scalars) -> Tensor:
        """Where the gradient for the step from `theta` (d,) is taken."""
        return theta

    @abstractmethod
    def step(
        self, theta: Tensor, g: Tensor, state: Slots, s: Scalars, drift: Tensor | None, project: Project
    ) -> tuple[Tensor, Slots]:
        """theta+ (d,) for the gradient `g` (d,) and the noise `drift` = sigma xi, and the new state. Pure."""

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """The form of the metric that `step` projects in."""

    @property
    def metric_kind(self) -> Kind:
        """The form of the metric H itself."""
        return self.kind

    @abstractmethod
    def diagonal(self, state: Slots, s: Scalars) -> Tensor | None:
        """H, if it is a scalar () or a diagonal (d,); None for H = I or a full matrix."""

    def projection_metric(self, state: Slots, s: Scalars) -> Tensor | None:
        """The metric that `step` is projected in, in the same form."""
        return self.diagonal(state, s)

    def projected(self, theta: Tensor, state: Slots) -> Tensor:
        """The point (d,) that `step` has projected."""
        return theta

    def frame(self, t: int, momentum: Factor) -> Frame | None:
        """alpha and beta of the uniform frame at step `t`, where the method has one."""
        return None

    def engine(self, vector: Vector, state: Slots, momentum: Factor) -> Engine | None:
        """What does the step in place faster than `step`, if anything."""
        return None


class InPlace(Method):
    """A method whose steps its engine takes: of what is no pure function of one gradient.

    Its metric counts as a matrix: what such a step divides by is its own affair, so that no effective learning rate is
    claimed.
    """

    stackable = False

    def scalars(self, t: int, lr: float, momentum: Factor) -> dict[str, float]:
        return {"lr": self.lr * lr}

    def step(
        self, theta: Tensor, g: Tensor, state: Slots, s: Scalars, drift: Tensor | None, project: Project
    ) -> tuple[Tensor, Slots]:
        """There is no pure step.

        Raises:
            ValueError: always; `engine` is what steps.
        """
        raise ValueError(f"optimizer = {self}: steps in place only and cannot be compiled or stacked over seeds")

    @property
    def kind(self) -> Kind:
        return "scalar"

    @property
    def metric_kind(self) -> Kind:
        return "full"

    def diagonal(self, state: Slots, s: Scalars) -> None:
        return None


def single_or_double(theta: Tensor) -> None:
    """Refuse a vector in which steps would be lost.

    Raises:
        ValueError: if it is not of float32 or float64.
    """
    if theta.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"dtype = {theta.dtype}: steps and their state would be lost in rounding; use module.float() (an update "
            "multiplies in bfloat16 by itself: bfloat16=True)"
        )


@dataclass(frozen=True)
class Descent(Method):
    """A first-order method: learning rate, momentum, metric, noise and weight decay.

    Args:
        lr: the step size alpha, positive.
        momentum, metric, noise: the slots.
        weight_decay: lambda, at least 0.
        decoupled: False adds lambda theta to the gradient (L2); True takes lr lambda theta off theta
            (Loshchilov & Hutter 2019).
        project_in: the metric of the projection: the method's ``own``, or ``euclidean`` as torch users write it.

    Raises:
        ValueError: if `lr` is not positive, `weight_decay` is negative, `project_in` is neither, or a slot holds
            something else.
    """

    lr: float
    momentum: Momentum = field(default_factory=NoMomentum)
    metric: Metric = field(default_factory=Identity)
    noise: Noise = field(default_factory=NoNoise)
    weight_decay: float = 0.0
    decoupled: bool = False
    project_in: Literal["own", "euclidean"] = "own"

    def __post_init__(self) -> None:
        for name, kind, example in (
            ("momentum", Momentum, "GradientEMA(0.9)"),
            ("metric", Metric, "RMS(0.999, 1e-8, bias_correction=True)"),
            ("noise", Noise, "GaussianNoise(1e-3)"),
        ):
            if not isinstance(given := getattr(self, name), kind):
                named, said = getattr(given, "__name__", given), "a class" if isinstance(given, type) else "none"
                raise ValueError(f"{name} = {named}: must be a {kind.__name__}, and is {said}; for example {example}")
        if self.metric.kind not in (kinds := get_args(Kind)):
            name = type(self.metric).__name__
            raise ValueError(f"metric = {name}: is of the kind {self.metric.kind}; must be {', '.join(kinds)}")
        for name in ("lr", "weight_decay"):
            if not hasattr(given := getattr(self, name), "__float__"):
                raise ValueError(f"{name} = {given}: must be a number, not a {type(given).__name__}; for example 1e-3")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr = {self.lr}: the learning rate must be positive, for example 1e-3")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay = {self.weight_decay}: must be at least 0, for example 1e-2")
        if self.project_in not in ("own", "euclidean"):
            raise ValueError(f"project_in = {self.project_in}: own (the method's metric) or euclidean (the plain one)")

    @property
    def looks_ahead(self) -> bool:  # type: ignore[override]
        return self.momentum.looks_ahead

    @property
    def has_momentum(self) -> bool:  # type: ignore[override]
        return not isinstance(self.momentum, NoMomentum)

    @property
    def kind(self) -> Kind:
        return "scalar" if self.project_in == "euclidean" else self.metric.kind

    @property
    def metric_kind(self) -> Kind:
        return self.metric.kind

    @property
    def squares(self) -> Squares:  # type: ignore[override]
        return self.metric.squares

    def init(self, theta: Tensor) -> Slots:
        single_or_double(theta)
        return {**self.momentum.init(theta), **self.metric.init(theta)}

    def scalars(self, t: int, lr: float, momentum: Factor) -> dict[str, float]:
        return {"lr": self.lr * lr, **self.momentum.scalars(t, momentum), **self.metric.scalars(t)}

    def point(self, theta: Tensor, state: Slots, s: Scalars) -> Tensor:
        return self.momentum.point(theta, state, s)

    def step(
        self, theta: Tensor, g: Tensor, state: Slots, s: Scalars, drift: Tensor | None, project: Project
    ) -> tuple[Tensor, Slots]:
        if self.weight_decay and not self.decoupled:
            g = g + self.point(theta, state, s) * self.weight_decay
        metric = self.metric.update(theta, g, state)
        m, momentum = self.momentum.before(g, state, s)
        u = self.metric.solve(m, metric, s) * -s["lr"]
        v, momentum = self.momentum.after(u, momentum, s)
        x = theta + v
        if self.weight_decay and self.decoupled:
            x = x - theta * (s["lr"] * self.weight_decay)
        if drift is not None:
            x = x + drift
        return project(x, metric), {**momentum, **metric}

    def diagonal(self, state: Slots, s: Scalars) -> Tensor | None:
        return self.metric.diagonal(state, s)

    def projection_metric(self, state: Slots, s: Scalars) -> Tensor | None:
        return self.metric.diagonal(state, s) if self.project_in == "own" else None

    def frame(self, t: int, momentum: Factor) -> Frame:
        return self.momentum.frame(t, momentum)

    def engine(self, vector: Vector, state: Slots, momentum: Factor) -> Engine | None:
        if (
            isinstance(self.momentum, GradientEMA)
            and self.momentum.bias_correction
            and isinstance(self.metric, RMS)
            and self.metric.bias_correction
            and momentum is unscheduled
        ):
            return FusedAdam(vector.theta, state, self.momentum, self.metric, self.weight_decay, self.decoupled)
        return None


class FusedAdam(Engine):
    """torch's fused Adam kernel on one vector.

    Args:
        theta: the vector (d,).
        slots: `mean` and `mean_square`, like `theta`.
        momentum, metric, weight_decay, decoupled: of the method.
    """

    def __init__(
        self, theta: Tensor, slots: Slots, momentum: GradientEMA, metric: RMS, weight_decay: float, decoupled: bool
    ) -> None:
        self._theta, self._mean, self._square = [theta], [slots["mean"]], [slots["mean_square"]]
        self._count = torch.zeros((), dtype=torch.float32, device=theta.device)
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._constants: dict[str, Any] = {
            "beta1": momentum.beta,
            "beta2": metric.decay,
            "eps": metric.eps,
            "weight_decay": weight_decay,
            "amsgrad": False,
            "maximize": False,
        }

    def __call__(self, g: Tensor, s: Scalars, whole: Whole | None = None) -> None:
        self._count.fill_(s["t"])
        self._kernel(self._theta, [g], self._mean, self._square, [], [self._count], lr=s["lr"], **self._constants)
        # The kernel does not tell autograd, which would then take a gradient through a write between a forward and its
        # backward pass in silence.
        torch.autograd.graph.increment_version(self._theta[0])
