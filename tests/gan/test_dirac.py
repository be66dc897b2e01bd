"""Games that are solved by hand, through the task's own path: the bilinear game and the Dirac-GAN.

Data at 0, a generator that is a point theta, a critic f(x) = psi x. The critic descends psi theta (it ascends
f(0) - f(theta) = -psi theta) and moves first; the generator descends -psi theta. From (1, 1).
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from rlgan.gan.data import Dirac
from rlgan.gan.lipschitz import R1, R2, Clip, Dragan, GradientPenalty, Lipschitz, NoControl, OneSided
from rlgan.gan.losses import GANLoss, NonSaturating, Wasserstein
from rlgan.gan.wgan import WGAN
from rlgan.nets import LinearSpec, PointSpec
from rlgan.optim import Alternating, Extragradient, Game, PlayerSpec, Simultaneous, sgd
from rlgan.task.settings import Settings

H = 0.2
GAMES: list[Game] = [Simultaneous(), Alternating(1), Extragradient()]


def dirac(game: Game, lipschitz: Lipschitz, loss: GANLoss | None = None, h: float = H) -> WGAN:
    critic, generator = PlayerSpec(LinearSpec(), sgd(h)), PlayerSpec(PointSpec(), sgd(h))
    settings = Settings(steps=500, seed=0, device="cpu", compile=False, precision="float64")
    return WGAN(settings, Dirac(), critic, generator, game, lipschitz, batch_size=2, latent_dim=1, loss=loss)


def orbit(task: WGAN, moves: int) -> list[tuple[float, float]]:
    """(psi, theta) before the first move and after each."""
    found = [(float(task.critic.vector.theta), float(task.generator.vector.theta))]
    for _ in range(moves):
        task.advance()
        found.append((float(task.critic.vector.theta), float(task.generator.vector.theta)))
    return found


# --- bilinear: in closed form --------------------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0.1, 0.5])
def test_bilinear_simultaneous_grows_by_the_square_root_of_one_plus_h_squared(h: float) -> None:
    radii = [math.hypot(*z) for z in orbit(dirac(Simultaneous(), NoControl(), h=h), 30)]
    for a, b in pairwise(radii):
        assert b / a == pytest.approx(math.sqrt(1 + h**2), rel=1e-12)


@pytest.mark.parametrize("h", [0.1, 0.5, 1.5])
def test_bilinear_alternating_stays_on_an_ellipse(h: float) -> None:
    """With x = -theta and y = psi the value is x y and the maximiser moves first: x^2 + y^2 + h x y is kept."""
    kept = [psi**2 + theta**2 - h * psi * theta for psi, theta in orbit(dirac(Alternating(1), NoControl(), h=h), 50)]
    assert kept == pytest.approx([kept[0]] * 51, rel=1e-11)


@pytest.mark.parametrize("h", [0.1, 0.5])
def test_bilinear_extragradient_contracts(h: float) -> None:
    squares = [psi**2 + theta**2 for psi, theta in orbit(dirac(Extragradient(), NoControl(), h=h), 30)]
    for a, b in pairwise(squares):
        assert b / a == pytest.approx(1 - h**2 + h**4, rel=1e-11)


# --- the Dirac-GAN: against a scalar loop --------------------------------------------------------------------------

Slope = Callable[[float, float], float]


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def scalar_loop(
    game: Game, critic: Slope, generator: Slope, project: Callable[[float], float]
) -> list[tuple[float, float]]:
    """500 steps of two numbers; `critic` and `generator` are what each descends, as functions of (psi, theta)."""
    psi, theta = 1.0, 1.0
    found = [(psi, theta)]
    for _ in range(500):
        if isinstance(game, Alternating):
            psi = project(psi - H * critic(psi, theta))
            theta = theta - H * generator(psi, theta)
        else:
            at = (psi, theta)
            if isinstance(game, Extragradient):
                at = (project(psi - H * critic(psi, theta)), theta - H * generator(psi, theta))
            psi, theta = project(psi - H * critic(*at)), theta - H * generator(*at)
        found.append((psi, theta))
    return found


def clipped(psi: float) -> float:
    return max(-1.0, min(1.0, psi))


def free(psi: float) -> float:
    return psi


def two_sided(psi: float, theta: float) -> float:
    """theta + d/dpsi 0.35 (|psi| - 1)^2"""
    return theta + 0.7 * (abs(psi) - 1) * math.copysign(1.0, psi)


ROWS: dict[str, tuple[Lipschitz, GANLoss, Slope, Slope, Callable[[float], float], list[tuple[float, float]]]] = {
    # control, loss, slopes by hand, projection; lowest and highest |(psi, theta)| of the last 100 steps of each game
    "clip": (
        Clip(1.0),
        Wasserstein(),
        lambda psi, theta: theta,
        lambda psi, theta: -psi,
        clipped,
        [(1.0, 1.27), (0.949, 1.05), (7.08e-5, 4.92e-4)],
    ),
    "gradient_penalty": (
        GradientPenalty(0.35),
        Wasserstein(),
        two_sided,
        lambda psi, theta: -psi,
        free,
        [(1.62, 1.97), (1.25, 1.31), (0.967, 1.11)],
    ),
    "r1": (
        R1(0.3),
        NonSaturating(),
        lambda psi, theta: sigmoid(psi * theta) * theta + 0.3 * psi,
        lambda psi, theta: -sigmoid(-psi * theta) * psi,
        free,
        [(3.25e-6, 4.21e-5), (2.39e-7, 4.99e-6), (3.69e-8, 1.06e-6)],
    ),
}


@pytest.mark.parametrize("i", range(3), ids=[type(game).__name__ for game in GAMES])
@pytest.mark.parametrize("row", ROWS)
def test_dirac_gan_is_the_scalar_loop(row: str, i: int) -> None:
    lipschitz, loss, critic, generator, project, ranges = ROWS[row]
    path = orbit(dirac(GAMES[i], lipschitz, loss), 500)
    expected = scalar_loop(GAMES[i], critic, generator, project)
    for z, by_hand in zip(path, expected, strict=True):
        assert z == pytest.approx(by_hand, rel=1e-9, abs=1e-11)
    radii = [math.hypot(*z) for z in path[-100:]]
    assert [min(radii), max(radii)] == pytest.approx(ranges[i], rel=0.01)


@pytest.mark.parametrize(
    ("lipschitz", "slope"),
    [
        (R2(0.3), lambda psi: 0.3 * psi),
        (OneSided(0.35), lambda psi: 0.7 * max(0.0, abs(psi) - 1) * math.copysign(1.0, psi)),
        (Dragan(0.35), lambda psi: 0.7 * (abs(psi) - 1) * math.copysign(1.0, psi)),
    ],
    ids=["r2", "one_sided", "dragan"],
)
def test_the_other_penalties_in_the_dirac_gan(lipschitz: Lipschitz, slope: Any) -> None:
    """A linear critic has one slope everywhere: at fakes, between, and around the real."""

    def critic(psi: float, theta: float) -> float:
        return sigmoid(psi * theta) * theta + float(slope(psi))

    def generator(psi: float, theta: float) -> float:
        return -sigmoid(-psi * theta) * psi

    path = orbit(dirac(Alternating(1), lipschitz, NonSaturating()), 100)
    for z, by_hand in zip(path, scalar_loop(Alternating(1), critic, generator, free)[:101], strict=True):
        assert z == pytest.approx(by_hand, rel=1e-9, abs=1e-11)
