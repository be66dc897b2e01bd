"""Orders of play against ten-line scalar loops and closed forms, eager and pure alike."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    EMA,
    Alternating,
    Box,
    Consensus,
    Extragradient,
    Game,
    Lookahead,
    Losses,
    Metrics,
    Nets,
    NonFinite,
    Optimistic,
    PastExtrapolation,
    Periodic,
    Player,
    PlayerSpec,
    Position,
    Simultaneous,
    Symplectic,
    Update,
    adam,
    heavy_ball,
    nesterov,
    sgd,
)  # fmt: skip


class Scalar(nn.Module):
    def __init__(self, start: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([start], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x


class Batch(NamedTuple):
    one: Tensor


ONE = Batch(torch.ones((), dtype=torch.float64))


def value(nets: Nets, batch: Batch) -> Tensor:
    """V(theta, psi) = psi theta: the bilinear game; the generator descends, the critic ascends."""
    product: Tensor = nets.critic(nets.generator(batch.one))
    return product.sum()


def critic_loss(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
    return -value(nets, batch), {}


def generator_loss(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
    return value(nets, batch), {}


def bilinear(first: str, joint: bool = False) -> Losses:
    of = {"critic": critic_loss, "generator": generator_loss}
    if first == "generator":
        of = dict(reversed(of.items()))
    return Losses(of, critic_loss if joint else None, {"critic": 1, "generator": -1} if joint else {})


def make(game: Game, losses: Losses, spec: PlayerSpec) -> Update:
    return Update([Player("critic", Scalar(1.0), spec), Player("generator", Scalar(1.0), spec)], losses, game)


def where(update: Update) -> tuple[float, float]:
    """(x, y) = (generator, critic)."""
    return tuple(update.players[n].vector.theta.item() for n in ("generator", "critic"))  # type: ignore[return-value]


@pytest.mark.parametrize("joint", [False, True])
def test_simultaneous_play_of_the_bilinear_game_spirals_outwards(joint: bool) -> None:
    h = 0.1
    update = make(Simultaneous(), bilinear("critic", joint), PlayerSpec(None, sgd(h)))
    for t in range(1, 51):
        update([ONE])
        assert math.hypot(*where(update)) == pytest.approx(math.sqrt(2) * (1 + h * h) ** (t / 2), rel=1e-12)


@pytest.mark.parametrize(("first", "sign"), [("generator", -1.0), ("critic", 1.0)])
def test_alternating_play_conserves_its_quadratic_form(first: str, sign: float) -> None:
    """x^2 + y^2 -+ h x y is kept exactly, with - where the minimiser moves first and + where the maximiser does."""
    h = 0.3
    update = make(Alternating(), bilinear(first), PlayerSpec(None, sgd(h)))
    energies = []
    for _ in range(200):
        update([ONE] * update.batches)
        x, y = where(update)
        energies.append(x * x + y * y + sign * h * x * y)
    assert energies == pytest.approx([2 + sign * h] * 200, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_alternating_play_equals_the_loop_written_out(k: int) -> None:
    h, x, y = 0.2, 1.0, 1.0
    update = make(Alternating(k), bilinear("critic"), PlayerSpec(None, sgd(h), projection=Box(1.0)))
    assert update.batches == k + 1
    for _ in range(100):
        update([ONE] * update.batches)
        for _ in range(k):
            y = max(-1.0, min(1.0, y + h * x))
        x = max(-1.0, min(1.0, x - h * y))
        assert where(update) == pytest.approx((x, y), abs=1e-14)
    assert update.players["critic"].steps == 100 * k and update.players["generator"].steps == 100


def test_no_gradient_is_taken_after_a_write_of_the_same_simultaneous_move() -> None:
    seen: list[tuple[float, float]] = []

    def spy(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        seen.append((nets.critic(batch.one).item(), nets.generator(batch.one).item()))
        return value(nets, batch), {}

    spec = PlayerSpec(None, sgd(0.5))
    make(Simultaneous(), Losses({"critic": spy, "generator": spy}), spec)([ONE])
    assert seen == [(1.0, 1.0), (1.0, 1.0)]


def test_the_other_player_never_sees_a_point_outside_of_the_projections_set() -> None:
    seen: list[float] = []

    def watching(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        seen.append(abs(nets.critic(batch.one).item()))
        return generator_loss(nets, batch)

    spec = PlayerSpec(None, sgd(5.0), projection=Box(0.25))
    for game in (Simultaneous(), Alternating(2)):
        update = make(game, Losses({"critic": critic_loss, "generator": watching}), spec)
        for _ in range(10):
            update([ONE] * update.batches)
    assert len(seen) == 20 and max(seen) <= 0.25


@pytest.mark.parametrize("game", [Simultaneous(), Alternating(2)], ids=["simultaneous", "alternating"])
def test_nothing_is_written_when_a_gradient_is_not_finite(game: Game) -> None:
    def broken(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        return value(nets, batch) * batch.one.log(), {}

    update = make(
        game, Losses(dict.fromkeys(("critic", "generator"), broken)), PlayerSpec(None, adam(0.1), averaging=EMA(0.5))
    )
    before = update.state_dict()
    with pytest.raises(NonFinite, match="loss of critic is"):
        update([Batch(-torch.ones((), dtype=torch.float64))] * update.batches)
    field = update.pure.at(Position({n: p.state for n, p in update.players.items()}, torch.tensor(True)))
    game.move(
        field,
        [Batch(-torch.ones((), dtype=torch.float64))] * update.batches,
        {n: [(p.scalars(i + 1), None) for i in range(update.steps[n])] for n, p in update.players.items()},
        game.scalars(0),
    )
    pure = field.position
    assert not pure.finite
    for name, player in update.players.items():
        assert player.steps == 0
        assert torch.equal(player.vector.theta, before[name]["theta"])
        assert torch.equal(pure.players[name]["theta"], before[name]["theta"])
        assert torch.equal(pure.players[name]["slots"]["mean"], before[name]["slots"]["mean"])


def test_losses_must_name_the_players() -> None:
    with pytest.raises(ValueError, match="losses = "):
        make(Simultaneous(), Losses({"critic": critic_loss}), PlayerSpec(None, sgd()))


def test_k_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="k = 0"):
        Alternating(0)


# --- the games beyond: one move of the bilinear game, in closed form or by a loop written out -----------------------


def moves(game: Game, h: float, n: int, joint: bool = False) -> list[complex]:
    """z = x + i y of the bilinear game after each of `n` moves, v(z) = (y, -x) = -i z."""
    update = make(game, bilinear("critic", joint), PlayerSpec(None, sgd(h)))
    points = []
    for _ in range(n):
        update([ONE] * update.batches)
        points.append(complex(*where(update)))
    return points


@pytest.mark.parametrize("joint", [False, True])
def test_extragradient_contracts_by_its_factor(joint: bool) -> None:
    """|z|^2 is multiplied by 1 - h^2 + h^4: z+ = z + i h (z + i h z)."""
    h = 0.3
    for resample in (False, True):
        squares = [abs(z) ** 2 for z in moves(Extragradient(resample), h, 50, joint)]
        assert squares == pytest.approx([2 * (1 - h**2 + h**4) ** t for t in range(1, 51)], rel=1e-12)


@pytest.mark.parametrize("joint", [False, True])
def test_extrapolation_from_the_past_is_its_recursion(joint: bool) -> None:
    """z' = z + i h z'_old, z+ = z + i h z': v' starts at zero."""
    h, z, ahead = 0.3, 1 + 1j, 0j
    for found in moves(PastExtrapolation(), h, 60, joint):
        ahead = z + 1j * h * ahead
        z = z + 1j * h * ahead
        assert found == pytest.approx(z, rel=1e-12)
    assert abs(z) < 0.5


def test_optimistic_play_is_extrapolation_from_the_past_at_the_points_ahead() -> None:
    """w+ = w + i h (2 w - w_old): the other's z', if its first two are w_0, so that its z_0 is w_0 - i h w_0."""
    h, w, old = 0.3, 1 + 1j, 1 + 1j
    found = moves(Optimistic(), h, 60)
    for z in found:
        w, old = w + 1j * h * (2 * w - old), w
        assert z == pytest.approx(w, rel=1e-12)
    ahead = 1 + 1j
    z = ahead - 1j * h * ahead
    points = []
    for _ in range(61):
        points.append(ahead)
        z = z + 1j * h * ahead
        ahead = z + 1j * h * ahead
    assert found == pytest.approx(points[1:], rel=1e-12)
    assert abs(w) < 0.5


def test_an_optimistic_method_keeps_no_alias_of_the_gradient() -> None:
    update = make(Optimistic(), bilinear("critic"), PlayerSpec(None, sgd(0.3)))
    update([ONE])
    for player in update.players.values():
        past = player.state["game"]["past"]
        assert past.data_ptr() != player.vector.grad.data_ptr()
        kept = past.clone()
        player.vector.grad.fill_(7.0)
        assert torch.equal(past, kept)


@pytest.mark.parametrize("k", [1, 4])
def test_lookahead_goes_back_along_the_chord(k: int) -> None:
    """k moves of z+ = z (1 + i h), then z_0 + alpha (z_k - z_0); |1 + i h|^2 = 1 + h^2 alone would go outwards."""
    h, alpha = 0.3, 0.5
    found = moves(Lookahead(Simultaneous(), k, alpha), h, 10 * k)
    slow = 1 + 1j
    for round_ in range(10):
        for i in range(1, k):
            assert found[round_ * k + i - 1] == pytest.approx(slow * (1 + 1j * h) ** i, rel=1e-12)
        slow = slow + alpha * (slow * (1 + 1j * h) ** k - slow)
        assert found[round_ * k + k - 1] == pytest.approx(slow, rel=1e-12)
    if k > 1:
        assert abs(slow) < abs(1 + 1j)


def test_the_average_follows_lookahead_to_where_it_goes_back() -> None:
    """theta_bar takes in the point that is kept, with its weight, and not the one that is given up."""
    for k, averaging in ((2, Periodic(2)), (3, EMA(0.25))):
        spec = PlayerSpec(None, sgd(0.3), averaging=averaging)
        update = make(Lookahead(Simultaneous(), k, 0.5), bilinear("critic"), spec)
        slow = z = bar = 1 + 1j
        for t in range(1, 13):
            update([ONE])
            z = z * (1 + 0.3j)
            if t % k == 0:
                slow = z = slow + 0.5 * (z - slow)
            bar = bar + averaging.weight(t, 0) * (z - bar)
            found = [update.players[n].average(ONE.one).item() for n in ("generator", "critic")]
            assert complex(*found) == pytest.approx(bar, rel=1e-12)


@pytest.mark.parametrize("joint", [False, True])
def test_consensus_and_symplectic_adjustment_turn_the_bilinear_game_inwards(joint: bool) -> None:
    """J = [[0, 1], [-1, 0]] = A: J^T v = A^T v = z, so both multiply z by 1 + i h - h weight."""
    h, weight = 0.3, 0.4
    for game in (Consensus(weight), Symplectic(weight, align=False), Symplectic(weight, align=True)):
        found = moves(game, h, 30, joint)
        assert found == pytest.approx([(1 + 1j) * (1 + 1j * h - h * weight) ** t for t in range(1, 31)], rel=1e-12)


def test_the_symplectic_sign_follows_the_alignment() -> None:
    """v = 4 s z + rotation: where z = 0 repels (s = -1), lambda turns negative, lest the adjustment attract to it."""

    def of(sign: float) -> Losses:
        def critic(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
            return -value(nets, batch) + sign * 2 * nets.critic(batch.one).square().sum(), {}

        def generator(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
            return value(nets, batch) + sign * 2 * nets.generator(batch.one).square().sum(), {}

        return Losses({"critic": critic, "generator": generator})

    for sign in (1.0, -1.0):
        # v = (4 s x + y, 4 s y - x), J^T v and A^T v by hand at z = (1, 1).
        x, y, h, s = 1.0, 1.0, 0.01, 4 * sign
        vx, vy = s * x + y, s * y - x
        jx, jy = s * vx - vy, vx + s * vy
        ax, ay = -vy, vx
        wanted = 1.0 if (vx * jx + vy * jy) * (ax * jx + ay * jy) / 2 + 0.1 >= 0 else -1.0
        update = make(Symplectic(0.5), of(sign), PlayerSpec(None, sgd(h)))
        update([ONE])
        moved = (x - h * (vx + 0.5 * wanted * ax), y - h * (vy + 0.5 * wanted * ay))
        assert where(update) == pytest.approx(moved, rel=1e-12)
        assert wanted == sign


def test_extra_adam_changes_its_moments_once_a_move() -> None:
    """ExtraAdam by hand: the step ahead uses moments of v(z) that are then dropped; t counts moves."""
    lr, b1, b2, eps = 0.05, 0.5, 0.9, 1e-8
    update = make(Extragradient(resample=False), bilinear("critic"), PlayerSpec(None, adam(lr, b1, b2, eps)))
    z, m, v = [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]

    def stepped(g: list[float], t: int) -> tuple[list[float], list[float], list[float]]:
        new_m = [b1 * a + (1 - b1) * b for a, b in zip(m, g, strict=True)]
        new_v = [b2 * a + (1 - b2) * b * b for a, b in zip(v, g, strict=True)]
        there = [
            c - lr * a / (1 - b1**t) / (math.sqrt(b / (1 - b2**t)) + eps)
            for c, a, b in zip(z, new_m, new_v, strict=True)
        ]
        return there, new_m, new_v

    for t in range(1, 41):
        ahead, _, _ = stepped([z[1], -z[0]], t)
        z, m, v = stepped([ahead[1], -ahead[0]], t)
        update([ONE])
        assert where(update) == pytest.approx(tuple(z), rel=1e-11)
    assert update.players["critic"].steps == 40


def test_games_with_a_jacobian_refuse_a_method_that_looks_ahead() -> None:
    for game in (Consensus(), Symplectic(), Lookahead(Consensus())):
        with pytest.raises(ValueError, match=r"critic.optimizer = Descent: takes its gradient at another .*heavy_ball"):
            make(game, bilinear("critic"), PlayerSpec(None, nesterov(0.1)))


def test_a_bad_point_ahead_leaves_no_trace() -> None:
    """The gradient at z' is NaN: z, slots and averages are those of before the move."""

    def breaks(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        y = nets.critic(batch.one)
        return (-value(nets, batch) + (2.0 - y).log()).sum(), {}  # finite at y = 1, NaN beyond 2

    losses = Losses({"critic": breaks, "generator": generator_loss})
    update = make(Extragradient(), losses, PlayerSpec(None, heavy_ball(1.5, 0.9), averaging=EMA(0.5)))
    before = update.state_dict()
    with pytest.raises(NonFinite):
        update([ONE] * update.batches)
    after = update.state_dict()
    for name in ("critic", "generator"):
        assert torch.equal(after[name]["theta"], before[name]["theta"])
        assert torch.equal(after[name]["slots"]["velocity"], before[name]["slots"]["velocity"])
        assert torch.equal(after[name]["average"]["theta_bar"], before[name]["average"]["theta_bar"])


@pytest.mark.parametrize("game", [Simultaneous(), Alternating(1)], ids=["simultaneous", "alternating"])
def test_nesterov_in_a_game_looks_ahead_with_the_players_that_move(game: Game) -> None:
    """Simultaneous: v at (x + rho v_x, y + rho v_y). Alternating: only the mover stands ahead."""
    h, rho = 0.1, 0.6
    update = make(game, bilinear("critic"), PlayerSpec(None, nesterov(h, rho)))
    x, y, vx, vy = 1.0, 1.0, 0.0, 0.0
    for _ in range(40):
        update([ONE] * update.batches)
        if isinstance(game, Simultaneous):
            vx, vy = rho * vx - h * (y + rho * vy), rho * vy + h * (x + rho * vx)
            x, y = x + vx, y + vy
        else:
            vy = rho * vy + h * x
            y = y + vy
            vx = rho * vx - h * y
            x = x + vx
        assert where(update) == pytest.approx((x, y), rel=1e-12)


def test_each_player_keeps_its_own_projection() -> None:
    """And not the last one's, as a closure bound too late would have it."""
    radii = {"critic": 0.25, "generator": 0.75}
    players = [Player(n, Scalar(1.0), PlayerSpec(None, sgd(5.0), projection=Box(r))) for n, r in radii.items()]
    update = Update(players, bilinear("critic"), Simultaneous())
    largest = dict.fromkeys(radii, 0.0)
    for _ in range(20):
        update([ONE])
        largest = {n: max(largest[n], abs(p.vector.theta.item())) for n, p in update.players.items()}
    assert largest == radii


# --- Dirac-GAN (Mescheder et al. 2018) by every order, against loops of a few lines ---------------------------------

#: Each game's gradients (of the generator theta, which descends, and of the critic psi, which ascends) at (theta, psi).
DIRAC = {
    "clip": (lambda t, p: (p, t), lambda p: max(-1.0, min(1.0, p))),
    "gp": (lambda t, p: (p, t - 0.7 * (abs(p) - 1) * math.copysign(1.0, p)), lambda p: p),
    "r1": (lambda t, p: (-p / (1 + math.exp(t * p)), -t / (1 + math.exp(-t * p)) - 0.3 * p), lambda p: p),
}


def dirac_losses(kind: str) -> Losses:
    def critic(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        psi = nets.critic(batch.one)
        score = value(nets, batch)
        if kind == "r1":  # E log sigmoid(f(0)) + E log(1 - sigmoid(f(theta))), and the penalty 0.15 psi^2
            return (torch.nn.functional.softplus(score) + 0.15 * psi.square()).sum(), {}
        penalty = 0.35 * (psi.abs() - 1).square() if kind == "gp" else 0.0
        return (-score + penalty).sum(), {}

    def generator(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        score = value(nets, batch)
        return torch.nn.functional.softplus(-score) if kind == "r1" else score, {}

    return Losses({"generator": generator, "critic": critic})


def dirac_loop(kind: str, order: str, h: float = 0.2, steps: int = 500) -> list[float]:
    field, project = DIRAC[kind]
    t, p, radii = 1.0, 1.0, []
    for _ in range(steps):
        dt, dp = field(t, p)
        if order == "simultaneous":
            t, p = t - h * dt, project(p + h * dp)
        elif order == "alternating":
            t = t - h * dt
            p = project(p + h * field(t, p)[1])
        else:
            dt, dp = field(t - h * dt, project(p + h * dp))
            t, p = t - h * dt, project(p + h * dp)
        radii.append(math.hypot(t, p))
    return radii


@pytest.mark.parametrize("order", ["simultaneous", "alternating", "extragradient"])
@pytest.mark.parametrize("kind", DIRAC)
def test_dirac_gan_by_every_order_of_play(kind: str, order: str) -> None:
    """|(theta, psi)| over the last 100 of 500 moves at h = 0.2 from (1, 1), the generator first in alternating play."""
    published = {
        ("clip", "simultaneous"): (1.0, 1.27), ("clip", "alternating"): (0.95, 1.05),
        ("clip", "extragradient"): (0.0, 1e-3),
        ("gp", "simultaneous"): (1.6, 2.0), ("gp", "alternating"): (1.1, 1.4), ("gp", "extragradient"): (0.97, 1.11),
        ("r1", "simultaneous"): (3e-6, 4e-5), ("r1", "alternating"): (2e-7, 5e-6),
        ("r1", "extragradient"): (3e-8, 1e-6),
    }  # fmt: skip
    game = {"simultaneous": Simultaneous(), "alternating": Alternating(), "extragradient": Extragradient()}[order]
    box = PlayerSpec(None, sgd(0.2), projection=Box(1.0)) if kind == "clip" else PlayerSpec(None, sgd(0.2))
    players = [Player("critic", Scalar(1.0), box), Player("generator", Scalar(1.0), PlayerSpec(None, sgd(0.2)))]
    update = Update(players, dirac_losses(kind), game)
    radii = []
    for _ in range(500):
        update([ONE] * update.batches)
        radii.append(math.hypot(*where(update)))
    assert radii == pytest.approx(dirac_loop(kind, order), rel=1e-6, abs=1e-12)
    low, high = published[kind, order]
    # Published to one or two digits.
    assert min(radii[-100:]) >= low * 0.75 and max(radii[-100:]) <= high * 1.3
    if low:
        assert min(radii[-100:]) <= low * 1.3 and max(radii[-100:]) >= high * 0.75
