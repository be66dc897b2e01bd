"""Named methods: each fills the slots of the one equation."""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from rlgan.optim.errors import called, positive
from rlgan.optim.step.method import Descent, Method, Project, single_or_double
from rlgan.optim.step.metric import AMS, KEEPS_FINITE, RMS, AdaGrad, AdaGradFull, AdaGradNorm, Metric, whole_number
from rlgan.optim.step.momentum import GradientEMA, Velocity
from rlgan.optim.step.noise import Langevin, Noise, NoNoise, Sphere
from rlgan.optim.step.schedule import Factor
from rlgan.optim.step.types import Kind, Scalars, Slots
from rlgan.optim.step.vector import sum_of_squares

ProjectIn: TypeAlias = Literal["own", "euclidean"]
"""The metric of the projection: the method's own, or the plain one."""


def sgd(lr: float = 1e-2, weight_decay: float = 0.0) -> Descent:
    """Minibatch gradient descent: theta - lr g (Robbins & Monro 1951)."""
    return Descent(lr, weight_decay=weight_decay)


def heavy_ball(lr: float = 1e-2, rho: float = 0.9, weight_decay: float = 0.0) -> Descent:
    """The heavy ball: v <- rho v - lr g, theta + v (Polyak 1964)."""
    return Descent(lr, momentum=Velocity(rho), weight_decay=weight_decay)


def nesterov(lr: float = 1e-2, rho: float = 0.9, weight_decay: float = 0.0) -> Descent:
    """Nesterov's momentum: g at theta + rho v, v <- rho v - lr g, theta + v (Nesterov 1983).

    theta is what is stored, played and evaluated; torch.optim.SGD(nesterov=True) stores theta + rho v.
    """
    return Descent(lr, momentum=Velocity(rho, nesterov=True), weight_decay=weight_decay)


def adagrad(lr: float = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0, project_in: ProjectIn = "own") -> Descent:
    """AdaGrad: r <- r + g*g, theta - lr g / (eps + sqrt r) (Duchi et al. 2011)."""
    return Descent(lr, metric=AdaGrad(eps), weight_decay=weight_decay, project_in=project_in)


def adagrad_norm(lr: float = 1e-1, weight_decay: float = 0.0) -> Descent:
    """AdaGrad with one step size for all parameters: Q <- Q + |g|^2, theta - lr g / sqrt Q (Ward et al. 2019)."""
    return Descent(lr, metric=AdaGradNorm(), weight_decay=weight_decay)


def adagrad_full(
    lr: float = 1e-2, eps: float = 1e-8, max_size: int = 1000, weight_decay: float = 0.0, project_in: ProjectIn = "own"
) -> Descent:
    """AdaGrad with the full matrix: G <- G + g g^T, theta - lr (eps I + G^(1/2))^-1 g (Duchi et al. 2011)."""
    return Descent(lr, metric=AdaGradFull(eps, max_size), weight_decay=weight_decay, project_in=project_in)


def rmsprop(
    lr: float = 2e-3, decay: float = 0.9, eps: float = 1e-8, weight_decay: float = 0.0, project_in: ProjectIn = "own"
) -> Descent:
    """RMSProp: r <- decay r + (1 - decay) g*g, theta - lr g / (eps + sqrt r) (Tieleman & Hinton 2012)."""
    return Descent(lr, metric=RMS(decay, eps, bias_correction=False), weight_decay=weight_decay, project_in=project_in)


def rmsprop_nesterov(
    lr: float = 1e-3,
    decay: float = 0.9,
    rho: float = 0.9,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    project_in: ProjectIn = "own",
) -> Descent:
    """RMSProp with Nesterov's momentum (Tieleman & Hinton 2012; Goodfellow et al. 2016, Algorithm 8.6).

    g at theta + rho v, r <- decay r + (1 - decay) g*g, v <- rho v - lr g / (eps + sqrt r), theta + v. The velocity
    comes after the metric; no form in torch.optim agrees.
    """
    metric = RMS(decay, eps, bias_correction=False)
    return Descent(lr, Velocity(rho, nesterov=True), metric, weight_decay=weight_decay, project_in=project_in)


@called(beta="beta1", decay="beta2")
def adam(
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    project_in: ProjectIn = "own",
) -> Descent:
    """Adam: theta - lr m^ / (eps + sqrt v^), m^ and v^ bias-corrected EMAs of g and g*g (Kingma & Ba 2015).

    Steps count from 1: at 0 the correction 1 - beta^t would divide by zero.
    """
    return Descent(
        lr, GradientEMA(beta1), RMS(beta2, eps, bias_correction=True), weight_decay=weight_decay, project_in=project_in
    )


def adamw(
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    project_in: ProjectIn = "own",
) -> Descent:
    """Adam, and lr weight_decay theta taken off theta besides (Loshchilov & Hutter 2019)."""
    return replace(adam(lr, beta1, beta2, eps, weight_decay, project_in), decoupled=True)


@called(beta="beta1", decay="beta2")
def amsgrad(
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    initial: float = 1e-8,
    eps: float = 1e-8,
    bias_correction: bool = False,
    weight_decay: float = 0.0,
    project_in: ProjectIn = "own",
) -> Descent:
    """AMSGrad: m and v EMAs of g and g*g, v^ <- max(v^, v), theta <- P_K^H(theta - lr m / H) (Reddi et al. 2018).

    Without `bias_correction` this is their Algorithm 2 from v^_0 = `initial` > 0: H = sqrt v^, no `eps`, and H never
    shrinks. With it, as torch.optim.Adam(amsgrad=True): m is corrected, H = eps + sqrt(v^ / (1 - beta2^t)), v^_0 = 0;
    the correction comes after the maximum, so that H can shrink.
    """
    positive("eps", eps, KEEPS_FINITE)
    positive("initial", initial, KEEPS_FINITE)
    metric = AMS(beta2, eps if bias_correction else 0.0, 0.0 if bias_correction else initial, bias_correction)
    momentum = GradientEMA(beta1, bias_correction)
    return Descent(lr, momentum, metric, weight_decay=weight_decay, project_in=project_in)


def perturbed_sgd(lr: float = 1e-2, sigma: float = 1.0, weight_decay: float = 0.0) -> Descent:
    """Perturbed SGD: theta - lr (g + sigma xi), xi uniform on the unit sphere of all parameters (Ge et al. 2015)."""
    return Descent(lr, noise=Sphere(sigma), weight_decay=weight_decay)


def sgld(lr: float = 1e-3, temperature: float = 1.0, weight_decay: float = 0.0) -> Descent:
    """Stochastic gradient Langevin dynamics: theta - lr g + sqrt(2 lr T) xi, xi ~ N(0, I) (Welling & Teh 2011).

    Its iterates are samples of exp(-f/T) as lr -> 0.
    """
    return Descent(lr, noise=Langevin(temperature), weight_decay=weight_decay)


def variable_metric(
    metric: Metric, lr: float = 1e-2, rho: float = 0.0, weight_decay: float = 0.0, project_in: ProjectIn = "own"
) -> Descent:
    """Descent in any metric, also one of your own (a subclass of `Metric`), with heavy ball: d = -H^-1 g."""
    return Descent(lr, momentum=Velocity(rho), metric=metric, weight_decay=weight_decay, project_in=project_in)


@dataclass(frozen=True)
class AcceleGrad(Method):
    """AcceleGrad (Levy, Yurtsever & Cevher 2018, Algorithm 1): with a_k = max(1, (k+1)/4), k = 0, 1, ...,

        x    = z / a_k + (1 - 1 / a_k) y                  where the gradient g is taken
        eta  = 2 D / sqrt(G^2 + sum_{i <= k} a_i^2 |g_i|^2)  one norm over all parameters
        z+   = P_K(z - a_k eta g)
        y+   = x - eta g

    and theta = y. What the paper outputs is the mean of the y with weights a_k: ``averaging=weighted``. The projection
    holds z, not y: theta itself may leave K (so ``lipschitz=clip`` refuses this method).

    Args:
        diameter: D, of the set K, or a guess at the distance to the solution; positive.
        gradient_bound: G, positive: about the size of the first gradients; any value keeps the rates.
        lr: multiplies eta; 1 is the paper's.

    Raises:
        ValueError: if a number is not positive.
    """

    feasible = False

    diameter: float = 1.0
    gradient_bound: float = 1.0
    lr: float = 1.0
    noise: Noise = field(default_factory=NoNoise)

    def __post_init__(self) -> None:
        for name in ("diameter", "gradient_bound", "lr"):
            positive(name, getattr(self, name))

    looks_ahead = True
    squares = "double"

    @property
    def kind(self) -> Kind:
        return "scalar"

    def init(self, theta: Tensor) -> Slots:
        single_or_double(theta)
        return {"z": theta.clone(), "sum_square": whole_number(theta)}

    def scalars(self, t: int, lr: float, momentum: Factor) -> dict[str, float]:
        return {"lr": self.lr * lr, "a": max(1.0, t / 4)}

    def point(self, theta: Tensor, state: Slots, s: Scalars) -> Tensor:
        return theta + (state["z"] - theta) / s["a"]

    def step(
        self, theta: Tensor, g: Tensor, state: Slots, s: Scalars, drift: Tensor | None, project: Project
    ) -> tuple[Tensor, Slots]:
        total = state["sum_square"]
        total = total + (sum_of_squares(g) * s["a"] ** 2).to(total.dtype)
        eta = self._eta(total, s)
        z = project(state["z"] - g * (eta * s["a"]), {})
        y = self.point(theta, state, s) - g * eta
        return y if drift is None else y + drift, {"z": z, "sum_square": total}

    def _eta(self, total: Tensor, s: Scalars) -> Tensor:
        # Of NaN or infinity no step is made but NaN: theta would stand still for ever.
        total = torch.where(total.isfinite(), total, torch.nan)
        return 2 * self.diameter * s["lr"] / (total + self.gradient_bound**2).sqrt()

    def diagonal(self, state: Slots, s: Scalars) -> Tensor:
        return (state["sum_square"] + self.gradient_bound**2).sqrt() / (2 * self.diameter)

    def projected(self, theta: Tensor, state: Slots) -> Tensor:
        return state["z"]

    def projection_metric(self, state: Slots, s: Scalars) -> None:
        return None
