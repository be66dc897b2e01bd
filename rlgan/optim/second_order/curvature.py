"""Second-order facts of one loss at one vector: eigenvalues of its Hessian, what kind of point it is, how sharp.

Everything takes ``loss``, a pure function of theta (d,) to a scalar, and never forms H = grad^2 f(theta): it is seen
through products H v alone, each the price of about two gradients.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

Scalar: TypeAlias = Callable[[Tensor], Tensor]
"""A pure loss: theta (d,) to a scalar."""
Linear: TypeAlias = Callable[[Tensor], Tensor]
"""A linear map of vectors (d,)."""
PointKind: TypeAlias = Literal["minimum", "maximum", "strict_saddle", "inconclusive", "not_critical"]


def hessian(loss: Scalar, theta: Tensor) -> Linear:
    """The Hessian of a loss at `theta` (d,) as a function v -> H v; each product is one more backward pass.

    As the pull-back of the gradient, v^T H, for H is symmetric. A push-forward (``jvp``) of the gradient raises for
    some losses, crashes when compiled, and through batch norm in training mode it is wrong without a word, as is
    ``torch.func.hessian``, which is made of it (torch 2.13).
    """
    pull_back = torch.func.vjp(torch.func.grad(loss), theta)[1]

    def product(v: Tensor) -> Tensor:
        (result,) = pull_back(v)
        return result

    return product


def hvp(loss: Scalar, theta: Tensor, v: Tensor) -> Tensor:
    """A Hessian-vector product H v (d,) of `loss` at `theta` (d,). Works under ``torch.func.vmap``."""
    return hessian(loss, theta)(v)


class Eigenpair(NamedTuple):
    """An eigenvalue as Lanczos has it: `value` = v'Hv of the unit `vector` (d,), and `error` = |Hv - value v|.

    H has an eigenvalue within `error` of `value`. The value itself lies inside of the spectrum, whatever the error:
    lambda_min is at most the smallest value found, lambda_max at least the largest.
    """

    value: float
    vector: Tensor
    error: float


@dataclass(frozen=True)
class Extremes:
    """Both ends of a spectrum, and the dimension of the Krylov space in which they were found."""

    smallest: Eigenpair
    largest: Eigenpair
    steps: int


_LOOK_EVERY = 5
"""Steps of Lanczos between two looks at how far the ends have converged."""


def lanczos(
    operator: Linear,
    dim: int,
    steps: int = 50,
    *,
    seed: int = 0,
    tolerance: float = 1e-8,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Extremes:
    """Both extreme eigenvalues of a symmetric operator by Lanczos with full reorthogonalisation.

        beta_{j+1} q_{j+1} = A q_j - alpha_j q_j - beta_j q_{j-1},      A Q_k = Q_k T_k + beta_{k+1} q_{k+1} e_k'

    The eigenvalues of the tridiagonal T_k are Rayleigh quotients on span{q, A q, ..., A^(k-1) q}; the extreme ones
    converge first, geometrically in k where they are separated from the rest. q_1 is random, hence has a part in every
    eigenspace: if the space closes before `steps` (beta = 0), the ends found are exact to rounding.
    (Lanczos 1950; Golub & Van Loan, Matrix Computations, section 10.1.)

    Args:
        operator: v (d,) -> A v (d,), symmetric.
        dim: d.
        steps: products with the operator at most; two more measure the errors.
        seed: of q_1, drawn on the CPU in float64, so the same on every device.
        tolerance: stop when both residuals beta_{k+1} |s_k| are below it times the largest |value|; 0 never stops.
        dtype, device: of the vectors; steps times `dim` numbers are kept.

    Raises:
        ValueError: if `dim` or `steps` is below 1.
    """
    if dim < 1:
        raise ValueError(f"dim = {dim}: must be at least 1, the length of theta")
    if steps < 1:
        raise ValueError(f"steps = {steps}: must be at least 1, for example 50")
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(dim, generator=generator, dtype=torch.float64).to(dtype).to(device)
    basis = torch.empty(min(steps, dim), dim, dtype=dtype, device=device)
    alpha: list[float] = []
    beta: list[float] = []
    norm = 0.0
    basis[0] = q / q.norm()
    with torch.no_grad():
        for k in range(len(basis)):
            w = operator(basis[k])
            alpha.append(torch.dot(basis[k], w).item())
            done = basis[: k + 1]
            for _ in range(2):  # once leaves a part of the order of rounding over the cancellation, twice none
                w = w - done.t() @ (done @ w)
            beta.append(w.norm().item())
            norm = max(norm, abs(alpha[-1]) + beta[-1])
            last = k + 1 == len(basis) or beta[-1] <= 10 * torch.finfo(dtype).eps * norm
            if last or (k + 1) % _LOOK_EVERY == 0:
                values, vectors = _tridiagonal(alpha, beta[:-1])
                residual = vectors[-1, [0, -1]].abs().max().item() * beta[-1]
                if last or residual <= tolerance * values.abs().max().item():
                    break
            basis[k + 1] = w / beta[-1]
        used = basis[: len(alpha)]
        pairs = [_pair(operator, used.t() @ vectors[:, end].to(used)) for end in (0, -1)]
    return Extremes(pairs[0], pairs[1], len(alpha))


def _tridiagonal(alpha: list[float], beta: list[float]) -> tuple[Tensor, Tensor]:
    off = torch.tensor(beta, dtype=torch.float64)
    matrix = torch.diag(torch.tensor(alpha, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def _pair(operator: Linear, vector: Tensor) -> Eigenpair:
    vector = vector / vector.norm()
    image = operator(vector)
    value = torch.dot(vector, image).item()
    return Eigenpair(value, vector, (image - value * vector).norm().item())


def extremes(loss: Scalar, theta: Tensor, steps: int = 50, *, seed: int = 0, tolerance: float = 1e-8) -> Extremes:
    """`lanczos` on the Hessian of `loss` at `theta` (d,)."""
    product = hessian(loss, theta)
    found = {"seed": seed, "tolerance": tolerance}
    return lanczos(product, theta.numel(), steps, dtype=theta.dtype, device=theta.device, **found)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Classification:
    """What kind of point it is, and the numbers that say so."""

    kind: PointKind
    gradient_norm: float
    extremes: Extremes


def classify(
    loss: Scalar,
    theta: Tensor,
    tolerance: float = 1e-6,
    *,
    flat: float = 1e-6,
    steps: int = 50,
    seed: int = 0,
    known: Extremes | None = None,
) -> Classification:
    """What kind of point it is, as far as second derivatives tell: minimum, maximum, strict saddle, or not to be told.

    - ``not_critical``: |grad f| > tolerance.
    - ``minimum``: every eigenvalue is above `flat`; ``maximum``: every one below -`flat`; both including their errors.
    - ``strict_saddle``: one below -`flat` and one above `flat`. Certain, for values of Lanczos lie inside of the
      spectrum. No eigenvalue need differ from 0: a direction up and one down make a saddle without that.
    - ``inconclusive``: all else, as the monkey saddle x^3 - 3 x y^2 with H = 0.

    Args:
        loss, theta: the function and the point (d,).
        tolerance: of the gradient's norm, in units of loss per parameter.
        flat: eigenvalues up to this size count as 0.
        steps, seed: of `lanczos`.
        known: the extremes at `theta`, if they have been computed.
    """
    ends = known if known is not None else extremes(loss, theta, steps, seed=seed)
    gradient: Tensor = torch.func.grad(loss)(theta)
    norm = gradient.norm().item()
    return Classification(_kind(norm <= tolerance, ends, flat), norm, ends)


def _kind(critical: bool, ends: Extremes, flat: float) -> PointKind:
    if not critical:
        return "not_critical"
    if ends.smallest.value - ends.smallest.error > flat:
        return "minimum"
    if ends.largest.value + ends.largest.error < -flat:
        return "maximum"
    if ends.smallest.value < -flat and ends.largest.value > flat:
        return "strict_saddle"
    return "inconclusive"


class StrictSaddle(NamedTuple):
    """Which alternative of the definition holds at a point, and the numbers that say so."""

    alternative: Literal["gradient", "negative_curvature", "near_minimum", "violated", "undecided"]
    gradient_norm: float
    smallest: float


def strict_saddle(
    loss: Scalar,
    theta: Tensor,
    alpha: float,
    beta: float,
    eps: float,
    delta: float,
    *,
    samples: int = 8,
    steps: int = 50,
    seed: int = 0,
) -> StrictSaddle:
    """Whether f can be an (alpha, beta, eps, delta)-strict saddle, as far as one point tells.

    f is one if at EVERY x at least one of these is true (Ge et al. 2015, whose gamma is called beta here):

    1. |grad f(x)| >= eps                                                               -> ``gradient``
    2. lambda_min(grad^2 f(x)) <= -beta                                                 -> ``negative_curvature``
    3. a local minimum x* has |x - x*| <= delta, and f is alpha-strongly convex within 2 delta of it -> ``near_minimum``

    The first two are decided at x. Of the third, strong convexity at x and |grad f(x)| <= alpha delta are required,
    which bring x* within delta of x if f is alpha-strongly convex in between, and lambda_min >= alpha is looked at in
    `samples` random points of the ball of radius delta about x, which lies in the ball that the definition speaks of.
    So ``near_minimum`` is evidence and no proof. ``violated`` is certain up to rounding: f is no such strict saddle.
    ``undecided``: Lanczos's error straddles a bound, or x* may be further away than delta.

    Args:
        loss, theta: the function and the point (d,).
        alpha, beta, eps, delta: of the definition, all positive.
        samples: points in the ball; 0 looks at x alone.
        steps, seed: of `lanczos` and of the samples.

    Raises:
        ValueError: if one of the four numbers is not positive.
    """
    for name, number in (("alpha", alpha), ("beta", beta), ("eps", eps), ("delta", delta)):
        if not number > 0:
            raise ValueError(f"{name} = {number}: must be positive, for example 0.1")
    gradient: Tensor = torch.func.grad(loss)(theta)
    norm = gradient.norm().item()
    smallest = extremes(loss, theta, steps, seed=seed).smallest
    if norm >= eps:
        return StrictSaddle("gradient", norm, smallest.value)
    if smallest.value <= -beta:
        return StrictSaddle("negative_curvature", norm, smallest.value)
    if smallest.value - smallest.error <= -beta:
        return StrictSaddle("undecided", norm, smallest.value)
    generator = torch.Generator().manual_seed(seed)
    around = [smallest]
    for _ in range(samples):
        if around[-1].value < alpha:
            break
        step = torch.randn(theta.numel(), generator=generator, dtype=torch.float64)
        radius = delta * torch.rand((), generator=generator, dtype=torch.float64) ** (1 / theta.numel())
        x = theta + (step * (radius / step.norm())).to(theta)
        around.append(extremes(loss, x, steps, seed=seed).smallest)
    if any(pair.value < alpha for pair in around):
        return StrictSaddle("violated", norm, smallest.value)
    certain = all(pair.value - pair.error >= alpha for pair in around) and norm <= alpha * delta
    return StrictSaddle("near_minimum" if certain else "undecided", norm, smallest.value)


def gradient_mapping(
    theta: Tensor, gradient: Tensor, project: Linear, h: Tensor | float | None = None, lam: float = 1.0
) -> Tensor:
    """How far x is from stationary in K: G_lambda(x) = H^(1/2)/lambda (x - P^H_K(x - lambda H^-1 grad f(x))), (d,).

    Without a projection it is H^(-1/2) grad f. On K it is 0 exactly where x is stationary, that is where
    -grad f(x) points out of K (into the normal cone), be the gradient as large as it may: the right measure of a
    clipped critic. (Chen et al. 2019, on AMSGrad.)

    Args:
        theta, gradient: x in K and grad f(x), (d,).
        project: P^H_K, the projection in the metric H.
        h: the diagonal of H (d,), positive; a number, or a tensor (), times the identity; None for the identity.
        lam: lambda, the step of the trial, positive.

    Raises:
        ValueError: if `lam` is not positive.
    """
    if not lam > 0:
        raise ValueError(f"lam = {lam}: the step lambda must be positive, for example the learning rate")
    if h is None:
        return (theta - project(theta - lam * gradient)) / lam
    moved = theta - project(theta - lam * (gradient / h))
    return moved * (h.sqrt() if isinstance(h, Tensor) else math.sqrt(h)) / lam


class Sharpness(NamedTuple):
    """`sharpness` of Keskar et al., in percent (nan where 1 + f <= 0), and `rise`, the max of f(x + z) - f(x)."""

    sharpness: float
    rise: float


def keskar_sharpness(loss: Scalar, theta: Tensor, eps: float = 1e-3, *, steps: int = 20, seed: int = 0) -> Sharpness:
    """Sharpness of a minimum: 100 (max_z f(x + z) - f(x)) / (1 + f(x)) over the box |z_i| <= eps (|x_i| + 1).

    Metric 2.1, equation (4), of Keskar et al. 2017 with A = I; eps = 1e-3 and 5e-4 there. The maximum is searched by
    projected ascent along the gradient's sign with steps 0.8^k of the box, from x and from a random point of the box
    (at a minimum the gradient says nothing), and the best value met counts: a lower bound of the true maximum, exact
    for a separable quadratic (up to 0.8^steps where it is concave). The paper has non-negative losses in mind; where
    1 + f(x) <= 0 the quotient means nothing and is nan.

    Args:
        loss, theta: f and x (d,).
        eps: half the width of the box at a parameter that is 0, positive.
        steps: gradients per start.
        seed: of the random start.

    Raises:
        ValueError: if `eps` is not positive or `steps` is below 1.
    """
    if not eps > 0:
        raise ValueError(f"eps = {eps}: must be positive, for example 1e-3")
    if steps < 1:
        raise ValueError(f"steps = {steps}: must be at least 1, for example 20")
    ascent = torch.func.grad_and_value(loss)
    width = eps * (theta.abs() + 1)
    generator = torch.Generator().manual_seed(seed)
    anywhere = torch.rand(theta.numel(), generator=generator, dtype=torch.float64).to(theta) * 2 - 1
    at = loss(theta).item()
    best = at
    for z in (torch.zeros_like(theta), anywhere * width):
        for k in range(steps):
            gradient, value = ascent(theta + z)
            best = max(best, value.item())
            z = (z + 0.8**k * width * gradient.sign()).clamp(-width, width)
        best = max(best, loss(theta + z).item())
    rise = best - at
    return Sharpness(100 * rise / (1 + at) if 1 + at > 0 else math.nan, rise)


def optimal_step(loss: Scalar, theta: Tensor) -> float:
    """The step along -g that minimises the quadratic model f - lr g'g + lr^2 g'Hg / 2, which is g'g / (g'Hg).

    inf where g'Hg <= 0, for the model then falls without end; 0 where g = 0. (Cauchy 1847; Nocedal
    & Wright 2006, equation 3.26.) On a quadratic it lowers f by (g'g)^2 / (2 g'Hg).
    """
    g: Tensor = torch.func.grad(loss)(theta)
    square = torch.dot(g, g).item()
    curvature = torch.dot(g, hvp(loss, theta, g)).item()
    if square == 0:
        return 0.0
    return square / curvature if curvature > 0 else math.inf
