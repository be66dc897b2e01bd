"""Metrics H (preconditioners): what the gradient is divided by, and in which a step is projected.

A metric keeps its state in vectors of the player, changes it with every gradient and applies H^-1. Numbers that change
from step to step (bias corrections) come in from outside as `s`, computed in Python doubles.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rlgan.optim.errors import positive, weight_of_the_past
from rlgan.optim.step.types import Kind, Scalars, Slots, Squares
from rlgan.optim.step.vector import sum_of_squares, wide

KEEPS_FINITE = "it keeps 0/0 away; for example 1e-8"


def whole_number(theta: Tensor) -> Tensor:
    """0 () that counts squares of the whole of `theta` (d,): a double, where the device has them."""
    return wide(theta.new_zeros(()))


class Metric(ABC):
    """What a gradient is divided by: the metric H, as a state and as an operation."""

    kind: ClassVar[Kind] = "diagonal"
    squares: ClassVar[Squares] = "own"

    def init(self, theta: Tensor) -> Slots:
        """The state before the first gradient, by slot name."""
        return {}

    def scalars(self, t: int) -> dict[str, float]:
        """The numbers that the `t`-th step (t = 1, 2, ...) needs."""
        return {}

    @abstractmethod
    def update(self, theta: Tensor, g: Tensor, state: Slots) -> Slots:
        """The state after the gradient `g` (d,) taken for a step from `theta` (d,)."""

    @abstractmethod
    def diagonal(self, state: Slots, s: Scalars) -> Tensor | None:
        """H as a scalar () or as its diagonal (d,); None where H = I, or where H is a full matrix."""

    def solve(self, m: Tensor, state: Slots, s: Scalars) -> Tensor:
        """H^-1 m (d,)."""
        h = self.diagonal(state, s)
        return m if h is None else m / h


@dataclass(frozen=True)
class Identity(Metric):
    """No metric: H = I."""

    kind = "scalar"
    squares = "none"

    def update(self, theta: Tensor, g: Tensor, state: Slots) -> Slots:
        return {}

    def diagonal(self, state: Slots, s: Scalars) -> None:
        return None


class _SquaredGradients(Metric):
    """A diagonal made of the root of accumulated squared gradients, with Adam's bias correction or without."""

    decay: float
    eps: float
    bias_correction: bool
    root_of: ClassVar[str] = "mean_square"

    def __post_init__(self) -> None:
        weight_of_the_past("decay", self.decay)
        positive("eps", self.eps, KEEPS_FINITE)

    def scalars(self, t: int) -> dict[str, float]:
        return {"metric_bias": (1 - self.decay**t) ** 0.5} if self.bias_correction else {}

    def diagonal(self, state: Slots, s: Scalars) -> Tensor:
        root = state[self.root_of].sqrt()
        if self.bias_correction:
            root = root / s["metric_bias"]
        return root + self.eps


@dataclass(frozen=True)
class RMS(_SquaredGradients):
    """The root of an average of squared gradients: H = eps + sqrt(r / c_t), r <- decay r + (1 - decay) g*g.

    c_t = 1 - decay^t corrects the bias of starting at r = 0 (Adam, Kingma & Ba 2015), or c_t = 1 (RMSProp, Tieleman &
    Hinton 2012).

    Args:
        decay: weight of the old mean square, in [0, 1).
        eps: added to the root, positive; keeps 0/0 away.
        bias_correction: whether c_t is used.

    Raises:
        ValueError: if `decay` or `eps` is out of range.
    """

    decay: float
    eps: float
    bias_correction: bool

    def init(self, theta: Tensor) -> Slots:
        return {"mean_square": torch.zeros_like(theta)}

    def update(self, theta: Tensor, g: Tensor, state: Slots) -> Slots:
        r = state["mean_square"]
        return {"mean_square": r * self.decay + (g * g) * (1 - self.decay)}


@dataclass(frozen=True)
class AMS(_SquaredGradients):
    """The root of the largest average of squared gradients so far.

        H = eps + sqrt(v^ / c_t),    v <- decay v + (1 - decay) g*g,    v^ <- max(v^, v)

    Reddi et al. 2018, Algorithm 2, has c_t = 1, and here v^_0 = `initial` > 0: then H never shrinks. torch.optim
    corrects the bias after the maximum (c_t = 1 - decay^t, v^_0 = 0), so that its H can shrink.

    Args:
        decay: weight of the old mean square, in [0, 1).
        eps: added to the root, at least 0 (positive where `initial` is 0).
        initial: v^_0, at least 0 (positive where `eps` is 0).
        bias_correction: whether c_t is torch's, or 1.

    Raises:
        ValueError: if a number is out of range.
    """

    decay: float
    eps: float
    initial: float
    bias_correction: bool
    root_of = "largest"

    def __post_init__(self) -> None:
        weight_of_the_past("decay", self.decay)
        if self.eps != 0:
            positive("eps", self.eps, KEEPS_FINITE)
        if self.eps == 0 or self.initial != 0:
            positive("initial", self.initial, KEEPS_FINITE)

    def init(self, theta: Tensor) -> Slots:
        return {"mean_square": torch.zeros_like(theta), "largest": torch.full_like(theta, self.initial)}

    def update(self, theta: Tensor, g: Tensor, state: Slots) -> Slots:
        v = state["mean_square"] * self.decay + (g * g) * (1 - self.decay)
        return {"mean_square": v, "largest": torch.maximum(state["largest"], v)}


@dataclass(frozen=True)
class AdaGrad(Metric):
    """The root of the sum of squared gradients: H = eps + sqrt(r), r <- r + g*g, elementwise (Duchi et al. 2011).

    Args:
        eps: added to the root, positive; keeps 0/0 away.

    Raises:
        ValueError: if `eps` is not positive.
    """

    eps: float

    def __post_init__(self) -> None:
        positive("eps", self.eps, KEEPS_FINITE)

    def init(self, theta: Tensor) -> Slots:
        return {"sum_square": torch.zeros_like(theta)}

    def update(self, theta: Tensor, g: Tensor, state: Slots) -> Slots:
        return {"sum_square": state["sum_square"] + g * g}

    def diagonal(self, state: Slots, s: Scalars) -> Tensor:
        total = state["sum_square"]
        # Where it is infinite theta would stand still for ever.
        return torch.where(total.isinf(), torch.nan, total.sqrt()) + self.eps


@dataclass(frozen=True)
class AdaGradNorm(Metric):
    """AdaGrad with ONE norm over all parameters: H = lambda I, lambda = sqrt(Q), Q <- Q + |g|^2 (Ward et al. 2019).

    Nothing is added to the root: while all gradients were zero, lambda is 1 and the step is zero. Q is a double, so
    that it holds the squares of all single-precision gradients.
    """

    kind = "scalar"
    squares = "double"

    def init(self, theta: Tensor) -> Slots:
        return {"sum_square": whole_number(theta)}

    def update(self, theta: Tensor, g: Tensor, state: Slots) -> Slots:
        total = state["sum_square"]
        return {"sum_square": total + sum_of_squares(g).to(total.dtype)}

    def diagonal(self, state: Slots, s: Scalars) -> Tensor:
        # Of NaN or infinity no step is made but NaN: theta would stand still for ever.
        total = state["sum_square"]
        return torch.where(total == 0, 1.0, torch.where(total.isfinite(), total, torch.nan)).sqrt()

    def solve(self, m: Tensor, state: Slots, s: Scalars) -> Tensor:
        # By its root twice, for lambda itself may be beyond the largest number of a vector's dtype.
        root = self.diagonal(state, s).sqrt()
        return m / root / root


@dataclass(frozen=True)
class AdaGradFull(Metric):
    """AdaGrad's full matrix: H = eps I + (sum g g^T)^(1/2) (Duchi et al. 2011).

    A step costs an eigendecomposition, d^3, and the state d^2 numbers: for small players. m lies in the range of the
    sum, so eigenvalues that are rounding are left out instead of being divided by eps.

    Args:
        eps: added to the diagonal, positive.
        max_size: largest d that is accepted.

    Raises:
        ValueError: if `eps` is not positive; at `init`, if the player has more than `max_size` parameters.
    """

    kind = "full"

    eps: float
    max_size: int = 1000

    def __post_init__(self) -> None:
        positive("eps", self.eps, KEEPS_FINITE)

    def init(self, theta: Tensor) -> Slots:
        d = theta.numel()
        if d > self.max_size:
            raise ValueError(
                f"max_size = {self.max_size}: full-matrix AdaGrad keeps a d x d matrix and takes its root at every "
                f"step, and this player has d = {d} parameters; use adagrad, the diagonal"
            )
        return {"outer_sum": theta.new_zeros(d, d)}

    def update(self, theta: Tensor, g: Tensor, state: Slots) -> Slots:
        return {"outer_sum": state["outer_sum"] + torch.outer(g, g)}

    def diagonal(self, state: Slots, s: Scalars) -> None:
        return None

    def solve(self, m: Tensor, state: Slots, s: Scalars) -> Tensor:
        # In double precision: in single, LAPACK gives up on the many equal eigenvalues of a sum of few gradients.
        total = state["outer_sum"]
        finite = total.isfinite().all()  # LAPACK raises at NaN, which has to come through
        values, vectors = torch.linalg.eigh(torch.where(finite, total, 0.0).double())
        known = values > values[-1] * (len(values) * torch.finfo(m.dtype).eps)
        inverse = torch.where(known, 1 / (torch.where(known, values, 1.0).sqrt() + self.eps), 0.0)
        inverse = torch.where(finite, inverse, torch.nan)
        return (vectors @ (inverse * (vectors.T @ m.double()))).to(m.dtype)


@dataclass(frozen=True)
class VariableMetric(Metric):
    """Any H(theta) of the user's, symmetric, positive definite: d = -H(theta)^-1 g (Davidon 1959, "variable metric").

    Args:
        h: theta (d,) -> H as a scalar (), a diagonal (d,) or a matrix (d, d), always the same form.
        kind: which of the three, ``scalar``, ``diagonal`` or ``full``.
    """

    h: Callable[[Tensor], Tensor]
    kind: Kind = "diagonal"  # type: ignore[misc]
    squares = "none"

    def init(self, theta: Tensor) -> Slots:
        h = self.h(theta)
        shape = {"scalar": (), "diagonal": theta.shape, "full": (*theta.shape, *theta.shape)}[self.kind]
        if h.shape != shape:
            raise ValueError(f"kind = {self.kind}: H has shape {tuple(shape)}, but h gave {tuple(h.shape)}")
        return {"h": h.clone()}

    def update(self, theta: Tensor, g: Tensor, state: Slots) -> Slots:
        return {"h": self.h(theta)}

    def diagonal(self, state: Slots, s: Scalars) -> Tensor | None:
        return None if self.kind == "full" else state["h"]

    def solve(self, m: Tensor, state: Slots, s: Scalars) -> Tensor:
        return torch.linalg.solve(state["h"], m) if self.kind == "full" else m / state["h"]
