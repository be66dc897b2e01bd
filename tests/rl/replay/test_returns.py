"""The units that a critic learns in: rewards, targets and values agree with one another, whatever the units are."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlgan.nets import MLPSpec
from rlgan.optim import EMA, Alternating, Game, Lookahead, Player, PlayerSpec, adam
from rlgan.rl.agents.td3 import TD3
from rlgan.rl.border.rows import Step
from rlgan.rl.losses import symexp, td_target
from rlgan.rl.replay.returns import MEAN, RATE, SQUARE, Returns, Units, check_rewritten, last_layers, rewrite
from rlgan.rl.replay.uniform import Transition
from rlgan.rl.trainer import Trainer
from tests.small import TASKS, builder, differences

GAMMA = 0.9
G = torch.Generator().manual_seed(0)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=G, dtype=torch.float64)


def batch(windows: bool = False, n: int = 32) -> Transition:
    ends = (torch.arange(n) % 3 == 0).double()
    one = torch.ones((), dtype=torch.float64)
    return Transition(
        drawn(n, 3),
        drawn(n, 2).tanh(),
        50 * drawn(n) - 200,
        ends,
        drawn(n, 3),
        GAMMA ** (1 + torch.arange(n) % 4).double() if windows else one,
        one,
        drawn(n, 2),
    )


@pytest.mark.parametrize("windows", [False, True])
def test_a_target_of_rewritten_rewards_is_the_target_in_the_critics_units(windows: bool) -> None:
    """size y_n + shift = y for y = r + g Q' and y_n = r_n + g q', whatever the units."""
    returns = Returns("popart", 0.5, GAMMA, 1)
    returns.count, returns.units = 1, Units(37.0, -140.0)
    plain, q = batch(windows), drawn(32)
    discount: Any = plain.discount if windows else GAMMA
    wanted = td_target(plain.reward, plain.terminated, returns(q), discount)
    returns.apply_(plain)
    found = returns(td_target(plain.reward, plain.terminated, q, discount))
    assert torch.allclose(found, wanted, atol=0, rtol=1e-12)


def critic(kind: str) -> Player:
    spec = MLPSpec((16, 8), norm="layer", action_layer=int(kind == "late"))
    torch.manual_seed(1)
    module = TD3().critic(spec, 3, 2) if kind in ("twin", "late") else spec.q_critic(3, 2)
    player = Player("critic", module.double(), PlayerSpec(None, adam(), averaging=EMA(0.3)))
    player.state["average"]["theta_bar"].mul_(0.9)
    return player


@pytest.mark.parametrize("kind", ["one", "twin", "late"])
def test_a_rewritten_last_layer_leaves_all_values_what_they_were(kind: str) -> None:
    player, data = critic(kind), batch()
    former, units = Units(3.0, -5.0), Units(0.2, 70.0)

    def values(at: Units) -> list[Tensor]:
        with torch.no_grad():
            return [at.size * m(data.obs, data.action) + at.shift for m in (player.module, player.average)]

    before, theta = values(former), player.vector.theta.clone()
    rewrite(player, former, units)
    for old, new in zip(before, values(units), strict=True):
        assert torch.allclose(old, new, atol=0, rtol=1e-12)
    assert (before[0] - before[1]).abs().max() > 1e-3
    changed = int((player.vector.theta != theta).sum())
    assert changed == sum(layer.weight.numel() + layer.bias.numel() for layer in last_layers(player.module))


def test_the_statistics_are_corrected_moving_averages_of_the_targets() -> None:
    """mu_t = mu_{t-1} + b_t (mean - mu_{t-1}), b_t = b / (1 - (1 - b)^t), of y in the environment's units."""
    returns, player = Returns("popart", 1.0, GAMMA, 1), critic("one")
    first = batch()
    reward = first.reward.clone()
    returns.apply_(first)
    mean, square = reward.mean().item(), reward.square().mean().item()
    assert returns.units == pytest.approx((np.sqrt(square - mean**2), mean), rel=1e-9)
    for t in range(2, 6):
        y = 10.0 * t + 3 * drawn(64)
        size, shift = returns.units
        n = (y - shift) / size
        report = {MEAN: n.mean(), SQUARE: n.square().mean(), "critic/q": 2.0, "critic/q_gap": 3.0, "x": 1}
        found = returns.follow(report, player)
        assert found == {"critic/q": 2.0 * size + shift, "critic/q_gap": 3.0 * size, "x": 1}
        rate = RATE / (1 - (1 - RATE) ** t)
        mean += rate * (y.mean().item() - mean)
        square += rate * (y.square().mean().item() - square)
        assert returns.units == pytest.approx((np.sqrt(square - mean**2), mean), rel=1e-9)


def step(reward: list[float], ended: list[bool], valid: list[bool]) -> Step:
    n = len(reward)
    rows = np.zeros((n, 1), dtype=np.float32)
    own = np.array(ended)
    return Step(rows, rows, np.array(reward), rows, own, own, np.array(valid), ())


def test_the_scale_is_the_spread_of_discounted_returns() -> None:
    returns, own, seen = Returns("scale", 2.0, GAMMA, 2), [0.0, 0.0], []
    rng = np.random.default_rng(0)
    for t in range(40):
        reward, ended = rng.normal(3, 20, 2).tolist(), [t % 7 == 6, t % 11 == 10]
        valid = [t % 7 != 0, True]
        returns.observe(step(reward, ended, valid))
        for k in range(2):
            if valid[k]:
                own[k] = GAMMA * own[k] + reward[k]
                seen.append(own[k])
            if ended[k]:
                own[k] = 0.0
    assert returns.units == pytest.approx((np.std(seen) / 2.0, 0.0), rel=1e-10)
    rewards = batch().reward
    scaled = batch()._replace(reward=rewards.clone())
    returns.apply_(scaled)
    assert torch.allclose(scaled.reward, rewards * (2.0 / float(np.std(seen))), atol=0, rtol=1e-12)


def test_rewards_that_are_all_alike_are_left_as_they_are() -> None:
    returns = Returns("scale", 1.0, GAMMA, 1)
    for _ in range(5):
        returns.observe(step([0.0], [False], [True]))
    assert returns.units == (1.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "factor", "message"),
    [
        ("scaled", 1.0, r"normalise_returns = scaled: unknown; choose none, scale, first or popart"),
        ("none", 0.0, r"reward_scale = 0\.0: must be positive, for example 0\.1"),
        ("scale", float("inf"), r"reward_scale = inf: must be positive"),
    ],
)
def test_settings_that_are_none_are_refused(kind: Any, factor: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Returns.of(kind, factor, TD3(), 1, Alternating(1))
    assert Returns.of("none", 1.0, TD3(), 1, Alternating(1)) is None


def test_first_units_are_the_small_rewards_of_the_first_minibatch_that_has_any() -> None:
    returns = Returns("first", 1.0, GAMMA, 1)
    nothing = batch()._replace(reward=torch.zeros(32, dtype=torch.float64))
    returns.apply_(nothing)
    assert returns.count == 0 and returns.units == Units() and not nothing.reward.any()
    reward = torch.arange(-10.0, 11.0, dtype=torch.float64)
    some = batch(n=21)._replace(reward=reward.clone())
    returns.apply_(some)
    small = reward[reward != 0].abs().quantile(0.1).item()
    assert 1.0 <= small <= 2.0
    assert returns.units.size == pytest.approx(small, rel=1e-12) and returns.units.shift == 0
    assert torch.allclose(some.reward, reward / small, rtol=1e-12, atol=0)
    larger = batch(n=21)._replace(reward=1000 * reward)
    returns.apply_(larger)
    assert returns.units.size == pytest.approx(small, rel=1e-12)  # for good
    again = Returns("first", 1.0, GAMMA, 1)
    again.load_state_dict(returns.state_dict())
    again.apply_(batch())
    assert again.units == returns.units


def test_first_units_are_not_those_of_rewards_that_hardly_are_any() -> None:
    returns = Returns("first", 1.0, GAMMA, 1)
    reward = torch.tensor([1e-12] * 4 + [5.0] * 16, dtype=torch.float64)
    returns.apply_(batch(n=20)._replace(reward=reward))
    assert returns.units.size == pytest.approx(5e-3, rel=1e-12)


def small(reward: list[float], **options: bool) -> Returns:
    """First units of a minibatch of these rewards, whose gains were seen."""
    returns = Returns("first", 1.0, GAMMA, 1, **options)
    rows = torch.tensor(reward, dtype=torch.float64)
    returns.hear(rows.numpy())
    returns.apply_(batch(n=len(reward))._replace(reward=rows))
    return returns


@pytest.mark.parametrize("reward", [[-1.0] * 20 + [100.0], [1.0] * 20 + [100.0]])
def test_first_units_are_no_less_than_the_largest_gain(reward: list[float]) -> None:
    assert small(reward).units.size == pytest.approx(100.0, rel=1e-12)
    costs = [-abs(r) for r in reward]
    assert small(costs).units.size == pytest.approx(1.0, rel=1e-12)
    other = Returns("popart", 1.0, GAMMA, 1)
    other.hear(np.array(reward))
    assert other.gain == 0.0  # its state is that of a run alone, and no rank waits for another's


@pytest.mark.parametrize("symlog", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.1])
def test_a_later_gain_is_the_unit_and_values_near_the_mean_one_stay(symlog: bool, factor: float) -> None:
    returns, player, data = Returns("first", factor, GAMMA, 1, symlog), critic("twin"), batch()
    returns.apply_(batch(n=20)._replace(reward=torch.full((20,), -2.0, dtype=torch.float64)))
    assert returns.units.size == pytest.approx(2.0 / factor)
    returns.hear(np.array([3.9]))
    theta = player.vector.theta.clone()
    assert returns.follow({"critic/q": 1.0}, player) == {"critic/q": returns.units.size}
    assert returns.units.size == pytest.approx(2.0 / factor) and torch.equal(player.vector.theta, theta)

    def outputs() -> Tensor:
        with torch.no_grad():
            return torch.cat([m(data.obs, data.action).flatten() for m in (player.module, player.average)])

    def q(z: Tensor) -> Tensor:
        return returns(symexp(z) if symlog else z)

    z = outputs()
    before, at = q(z), int(z.argmax())
    mean = float(symexp(z[at]) if symlog else z[at])
    returns.hear(np.array([8.0]))
    returns.hear(np.array([-1.0]))
    assert returns.follow({"critic/q": mean}, player)["critic/q"] == pytest.approx(mean * 2.0 / factor)
    assert returns.units.size == pytest.approx(8.0 / factor)  # four times as large
    after, exact = q(outputs()), before if not symlog else before[at : at + 1]
    assert torch.allclose(after if not symlog else after[at : at + 1], exact, rtol=1e-9, atol=0)
    if symlog:  # the line is a tangent: errors are of second order
        off = (z - z[at]).abs()
        curvature = float(returns.units.size * torch.exp(2 * z.abs().max()))
        assert ((after - before).abs() <= curvature * off.square() + 1e-9).all()
        assert ((after - before).abs()[off > 1e-2] > 0).all()
    again = Returns("first", factor, GAMMA, 1, symlog)
    again.load_state_dict(returns.state_dict())
    assert (again.units, again.gain, again.count) == (returns.units, 8.0, 1)


def test_units_stay_where_the_critic_cannot_go_with_them() -> None:
    """A critic whose last layer is not known, and a game that goes back to an earlier one."""
    unknown = Player("critic", nn.Sequential(nn.Linear(3, 2)).double(), PlayerSpec(None, adam()))
    for returns, player in ((small([-1.0] * 20), unknown), (small([-1.0] * 20, follows=False), critic("one"))):
        theta = player.vector.theta.clone()
        returns.hear(np.array([100.0]))
        returns.follow({"critic/q": 1.0}, player)
        assert returns.units.size == pytest.approx(1.0) and torch.equal(player.vector.theta, theta)
    assert Returns.of("first", 1.0, TD3(values="symlog"), 1, Alternating(1)).symlog  # type: ignore[union-attr]
    assert not Returns.of("first", 1.0, TD3(), 1, Lookahead(Alternating(1), k=3)).follows  # type: ignore[union-attr]


class Squashed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 1, dtype=torch.float64)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return torch.tanh(self.linear(torch.cat((obs, action), -1))).squeeze(-1)


def test_a_critic_that_does_not_follow_is_refused_and_left_as_it_was() -> None:
    def value(network: nn.Module, *inputs: Tensor) -> Tensor:
        found: Tensor = network(*inputs)
        return found

    game: Game = Alternating(1)
    good = critic("one")
    theta = good.vector.theta.clone()
    check_rewritten(good, value, batch(), game)
    assert torch.equal(good.vector.theta, theta)
    own = Player("critic", Squashed(), PlayerSpec(None, adam()))
    with pytest.raises(ValueError, match=r"normalise_returns = popart: rewrites the critic's last layer.*Squashed has"):
        check_rewritten(own, value, batch(), game)
    with pytest.raises(ValueError, match=r"popart: .*game=lookahead goes back"):
        check_rewritten(good, value, batch(), Lookahead(game, k=3))


WORDS = (*TASKS["ddpg"], "agent=ddpg_plain", "precision=float64", "steps=400", "compile=false")


def trained(steps: int, *words: str) -> Trainer:
    task = builder(*WORDS, *words)()
    assert isinstance(task, Trainer)
    while task.steps_done < steps:
        task.advance()
    return task


@pytest.mark.parametrize(
    "words",
    [("normalise_returns=scale",), ("agent=td3_plain", "normalise_returns=popart"), ("agent=td3",)],
    ids=["scale", "popart", "first"],
)
def test_a_run_goes_on_bit_for_bit_and_refuses_other_units(words: tuple[str, ...]) -> None:
    whole = trained(110, *words)
    saved = copy.deepcopy(trained(90, *words).state_dict())
    second = trained(0, *words)
    second.load_state_dict(saved)
    while second.steps_done < 110:
        second.advance()
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert whole.returns is not None and whole.returns.units != Units()
    with pytest.raises(ValueError, match=r"normalise_returns = none: the saved run has (scale|popart|first); resume"):
        trained(0).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"reward_scale = 2\.0: the saved run has 1\.0; resume"):
        trained(0, *words, "reward_scale=2").load_state_dict(saved)


def test_values_are_in_the_environments_units_wherever_they_are_shown() -> None:
    """The units of a critic whose rewards are 100 times smaller are not seen in its values, judged or exported."""
    task = trained(100, "reward_scale=0.01")
    obs, action = torch.zeros(4, 3, dtype=torch.float64), torch.linspace(-1, 1, 4, dtype=torch.float64)[:, None]
    with torch.no_grad():
        wanted = 100 * task.critic.module(obs, action)
        given = task.functions()["critic"].module(obs, 2 * action)  # Pendulum's torque is within 2
    assert np.allclose(task.judge.q(obs, action), wanted, atol=0, rtol=1e-12)
    assert torch.allclose(given, wanted, atol=1e-12, rtol=1e-6)
    last = task._samplers[-1].batch
    assert task.metrics()["critic/q"] == pytest.approx(task.judge.q(last.obs, last.action).mean(), rel=0.1)
    with torch.no_grad():
        y = 100 * task.agent.target(task.update.eager.nets(()), last)  # type: ignore[attr-defined]
    assert task.metrics()["critic/target_scale"] == pytest.approx(y.square().mean().sqrt().item(), rel=1e-9)


def test_targets_reported_by_the_loss_are_its_own() -> None:
    task = trained(100, "normalise_returns=popart")
    assert task.returns is not None and task.returns.count == 1 + task.critic.steps
    assert MEAN not in task.metrics() and SQUARE not in task.metrics()
