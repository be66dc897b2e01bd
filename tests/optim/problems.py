"""One table of test problems: whoever tests a method takes its problems here, so that one row enrols everywhere.

Every number of a row (minimum, smoothness, signature, equilibrium) is checked against autograd in `test_problems.py`.
All tensors are float64 and nobody writes to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import scipy.optimize
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgan.optim import Vector

Loss: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """A loss to minimise, or a game; what does not apply or is not known is None.

    Args:
        name: the row's key in `PROBLEMS`.
        kind: of what it is a test.
        start: where methods start (d,), float64; of a saddle problem slightly off the ridge.
        loss: theta (d,) -> scalar; None for games.
        minimum, optimal: a global minimum (d,) (others may exist where `kind` is not convex) and the loss there.
        smoothness, strong_convexity: L and mu. Of a convex problem the supremum and the infimum of the Hessian's
            eigenvalues over the whole space (a quadratic has them everywhere); of the others its extreme eigenvalues at
            `minimum`.
        saddle, signature: a critical point (d,) that is no minimum, and the (negative, zero, positive) eigenvalue
            counts of its Hessian.
        ridge: a start (d,) from which gradient descent runs into `saddle`.
        players: of a game, each player's name and part of z = (all players' vectors in a row).
        costs: what each player minimises by moving its own part, z (d,) -> scalar, in the order of `players`.
        field: z (d,) -> each player's gradient of its own cost, (d,), written out by hand.
        equilibrium: where no player gains by moving alone (d,).
    """

    name: str
    kind: Literal["convex", "nonconvex", "saddle", "game"]
    start: Tensor
    loss: Loss | None = None
    minimum: Tensor | None = None
    optimal: float | None = None
    smoothness: float | None = None
    strong_convexity: float | None = None
    saddle: Tensor | None = None
    signature: tuple[int, int, int] | None = None
    ridge: Tensor | None = None
    players: tuple[tuple[str, slice], ...] = ()
    costs: tuple[Loss, ...] = ()
    field: Callable[[Tensor], Tensor] | None = None
    equilibrium: Tensor | None = None


def vector(*values: float) -> Tensor:
    """The values as a float64 vector."""
    return torch.tensor(values, dtype=torch.float64)


def quadratic(matrix: Tensor, centre: Tensor) -> Loss:
    """f(theta) = (theta - c)' A (theta - c) / 2, for A symmetric."""
    return lambda theta: 0.5 * (theta - centre) @ matrix @ (theta - centre)


def with_spectrum(eigenvalues: Tensor, seed: int) -> Tensor:
    """A symmetric matrix with these eigenvalues (d,) in a random orthonormal basis."""
    noise = torch.randn(len(eigenvalues), len(eigenvalues), dtype=torch.float64, generator=_generator(seed))
    basis = torch.linalg.qr(noise)[0]
    matrix = basis @ torch.diag(eigenvalues) @ basis.T
    return (matrix + matrix.T) / 2


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _bowl() -> Problem:
    """An easy quadratic in three dimensions, eigenvalues 1, 2 and 4."""
    minimum = vector(1.0, -2.0, 0.5)
    loss = quadratic(with_spectrum(vector(1.0, 2.0, 4.0), 0), minimum)
    return Problem("bowl", "convex", torch.zeros_like(minimum), loss, minimum, 0.0, 4.0, 1.0)


def _ill_conditioned() -> Problem:
    """A quadratic in eight dimensions, eigenvalues log-spaced from 1 to 1e3 in a rotated basis: kappa = 1e3."""
    minimum = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)
    loss = quadratic(with_spectrum(torch.logspace(0, 3, 8, dtype=torch.float64), 1), minimum)
    return Problem("ill_conditioned", "convex", torch.zeros_like(minimum), loss, minimum, 0.0, 1e3, 1.0)


def _rosenbrock() -> Problem:
    """f = 100 (y - x^2)^2 + (1 - x)^2 (Rosenbrock 1960); its Hessian at (1, 1) has trace 1002 and determinant 400."""

    def loss(theta: Tensor) -> Tensor:
        x, y = theta
        return 100.0 * (y - x * x) ** 2 + (1.0 - x) ** 2

    largest = 501.0 + math.sqrt(501.0**2 - 400.0)
    return Problem("rosenbrock", "nonconvex", vector(-1.2, 1.0), loss, vector(1, 1), 0.0, largest, 400.0 / largest)


def _strict_saddle() -> Problem:
    """f = x^2/2 - y^2/2 + y^4/4 (Nesterov 2004, 1.2.3): minima at (0, +-1), a strict saddle at 0, the ridge y = 0."""

    def loss(theta: Tensor) -> Tensor:
        x, y = theta
        return 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4

    return Problem(
        "strict_saddle",
        "saddle",
        start=vector(1.0, 1e-3),
        loss=loss,
        minimum=vector(0.0, 1.0),
        optimal=-0.25,
        smoothness=2.0,
        strong_convexity=1.0,
        saddle=vector(0.0, 0.0),
        signature=(1, 0, 1),
        ridge=vector(1.0, 0.0),
    )


def _monkey_saddle() -> Problem:
    """f = x^3 - 3 x y^2 + (x^2 + y^2)^2 / 4, the last term only to bound it below.

    In polar coordinates r^3 cos 3 phi + r^4/4: at 0 the Hessian vanishes and the eigenvalues decide nothing; the minima
    are at r = 3, cos 3 phi = -1, with eigenvalues 9 (radial) and 27. From x > 0 on the ridge y = 0 descent ends at 0.
    """

    def loss(theta: Tensor) -> Tensor:
        x, y = theta
        return x**3 - 3.0 * x * y**2 + 0.25 * (x**2 + y**2) ** 2

    return Problem(
        "monkey_saddle",
        "saddle",
        start=vector(0.5, 1e-3),
        loss=loss,
        minimum=vector(-3.0, 0.0),
        optimal=-6.75,
        smoothness=27.0,
        strong_convexity=9.0,
        saddle=vector(0.0, 0.0),
        signature=(0, 2, 0),
        ridge=vector(0.5, 0.0),
    )


def _deep_linear() -> Problem:
    """f = (1 - w2 w1)^2: a two-layer linear net on one datum. A curve of minima w1 w2 = 1, a strict saddle at 0.

    The ridge is w2 = -w1. A minimum is flat along the curve, hence mu = 0.
    """

    def loss(theta: Tensor) -> Tensor:
        w1, w2 = theta
        return (1.0 - w2 * w1) ** 2

    return Problem(
        "deep_linear",
        "saddle",
        start=vector(0.5, -0.499),
        loss=loss,
        minimum=vector(1.0, 1.0),
        optimal=0.0,
        smoothness=4.0,
        strong_convexity=0.0,
        saddle=vector(0.0, 0.0),
        signature=(1, 0, 1),
        ridge=vector(0.5, -0.5),
    )


def _logistic_regression() -> Problem:
    """f = (1/n) sum softplus(-y_i x_i.theta) + (mu/2) |theta|^2, n = 60, d = 4, mu = 1e-2, seeded data.

    The Hessian is X' diag(s (1 - s)) X / n + mu I with s (1 - s) <= 1/4, reached at theta = 0 and vanishing far away:
    L = lambda_max(X'X)/(4n) + mu. The minimum has no closed form: scipy finds the root of the gradient.
    """
    n, mu, generator = 60, 1e-2, _generator(2)
    x = torch.randn(n, 4, dtype=torch.float64, generator=generator) * vector(1.0, 0.5, 2.0, 1.0)
    noise = torch.randn(n, dtype=torch.float64, generator=generator)
    y = torch.sign(x @ vector(1.0, -2.0, 0.5, 0.0) + noise)

    def loss(theta: Tensor) -> Tensor:
        return F.softplus(-y * (x @ theta)).mean() + 0.5 * mu * theta.square().sum()

    def root(theta: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(-y * (x @ theta))
        return mu * theta - x.T @ (s * y) / n, x.T @ ((s * (1 - s))[:, None] * x) / n + mu * torch.eye(4).double()

    start = torch.zeros(4, dtype=torch.float64)
    found = scipy.optimize.root(
        lambda t: tuple(part.numpy() for part in root(torch.from_numpy(t))), start.numpy(), jac=True, tol=1e-15
    )
    minimum = torch.from_numpy(found.x)
    largest = (torch.linalg.eigvalsh(x.T @ x)[-1] / (4 * n) + mu).item()
    return Problem("logistic_regression", "convex", start, loss, minimum, loss(minimum).item(), largest, mu)


def _bilinear() -> Problem:
    """min_x max_y x y: the field is a rotation, and nothing but the order of play decides what happens."""
    return Problem(
        "bilinear",
        "game",
        start=vector(1.0, 1.0),
        players=(("minimiser", slice(0, 1)), ("maximiser", slice(1, 2))),
        costs=(lambda z: z[0] * z[1], lambda z: -z[0] * z[1]),
        field=lambda z: torch.stack([z[1], -z[0]]),
        equilibrium=vector(0.0, 0.0),
    )


def _dirac_wgan() -> Problem:
    """min_theta max_psi psi theta: the Dirac-GAN (Mescheder et al. 2018), data at 0, generator theta, critic psi x.

    A Wasserstein loss with no constraint on the critic; the sign is as there: the critic scores fakes high.
    """
    return Problem(
        "dirac_wgan",
        "game",
        start=vector(1.0, 1.0),
        players=(("generator", slice(0, 1)), ("critic", slice(1, 2))),
        costs=(lambda z: z[0] * z[1], lambda z: -z[0] * z[1]),
        field=lambda z: torch.stack([z[1], -z[0]]),
        equilibrium=vector(0.0, 0.0),
    )


def _dirac_r1() -> Problem:
    """The Dirac-GAN with the non-saturating logistic loss and the R1 penalty (0.3/2) |grad f(0)|^2 = (0.3/2) psi^2.

    The critic scores reals high (in `dirac_wgan` fakes; changing it mirrors psi): the generator minimises
    softplus(-psi theta), the critic softplus(psi theta) + softplus(0) + 0.15 psi^2.
    """
    weight = 0.3

    def critic(z: Tensor) -> Tensor:
        return F.softplus(z[1] * z[0]) + math.log(2.0) + 0.5 * weight * z[1] ** 2

    def field(z: Tensor) -> Tensor:
        theta, psi = z
        fake = torch.sigmoid(psi * theta)
        return torch.stack([-(1.0 - fake) * psi, fake * theta + weight * psi])

    return Problem(
        "dirac_r1",
        "game",
        start=vector(1.0, 1.0),
        players=(("generator", slice(0, 1)), ("critic", slice(1, 2))),
        costs=(lambda z: F.softplus(-z[1] * z[0]), critic),
        field=field,
        equilibrium=vector(0.0, 0.0),
    )


PROBLEMS: dict[str, Problem] = {
    p.name: p
    for p in (
        _bowl(),
        _ill_conditioned(),
        _rosenbrock(),
        _strict_saddle(),
        _monkey_saddle(),
        _deep_linear(),
        _logistic_regression(),
        _bilinear(),
        _dirac_wgan(),
        _dirac_r1(),
    )
}


def linked(vector: Vector) -> bool:
    """Whether every parameter of the module is its view of ``theta``."""
    current = dict(vector.module.named_parameters())
    return all(current[n].data_ptr() == v.data_ptr() for n, v in vector.split(vector.theta).items())
