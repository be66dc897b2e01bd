"""Inverted gradients, the penalty on what comes into the tanh, and Huber's loss: against hand-computed gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rlgan.nets import MLPSpec
from rlgan.nets.single import Many, Single
from rlgan.optim import Player, PlayerSpec, Stack, Update, adam, sgd
from rlgan.optim.play.game import Alternating
from rlgan.rl.agents.bounds import inverting
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.agents.td3 import TD3
from rlgan.rl.losses import td_loss
from rlgan.rl.replay.uniform import Transition

ROWS = [-1.5, -1.0, -0.5, 0.0, 0.9, 1.0, 2.0]


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_gradient_shrinks_towards_its_bound_and_turns_round_beyond_it() -> None:
    """g (1 - p) / 2 upwards, g (p + 1) / 2 downwards; the loss's gradient is minus that."""
    for g in (3.0, -2.0):
        p = double(*ROWS).requires_grad_(True)
        a = inverting(p)
        (-(g * a).sum()).backward()
        wanted = [g * ((1 - x) / 2 if g > 0 else (x + 1) / 2) for x in ROWS]
        assert p.grad is not None and torch.equal(-p.grad, double(*wanted))
        assert torch.equal(a, double(*ROWS).clamp(-1, 1))


def test_inverted_gradients_come_through_function_transforms() -> None:
    def descent(p: Tensor) -> Tensor:
        return (inverting(p) * double(1.0, -1.0)).sum()

    p = double(0.5, 0.5, 3.0, -3.0).view(2, 2)
    mapped = torch.func.vmap(torch.func.grad(descent))(p)
    assert torch.equal(mapped, double(0.75, -0.25, 2.0, -2.0).view(2, 2))


class Gain(nn.Module):
    """mu(s) = k s before its bound."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(double(gain))

    def forward(self, obs: Tensor, unbounded: bool = False) -> Tensor:
        z = self.gain * obs
        return z if unbounded else torch.tanh(z)


class Slope(nn.Module):
    """Q(s, a) = q a."""

    def __init__(self, q: float) -> None:
        super().__init__()
        self.q = nn.Parameter(double(q))

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.q * action.squeeze(-1)


def transition(*obs: float) -> Transition:
    s = double(*obs)[:, None]
    zero = torch.zeros(len(s), dtype=torch.float64)
    return Transition(s, torch.zeros_like(s), zero, zero, s)


def moved(agent: DDPG, gain: float, obs: list[float], q: float = 2.0) -> float:
    """How far a plain step of learning rate 1 moves k, against the loss's gradient."""
    made = {"critic": Slope(q), "actor": Gain(gain)}
    specs = {"critic": PlayerSpec(None, sgd(1e-12)), "actor": PlayerSpec(None, sgd(1.0))}
    players = [Player(name, module, specs[name]) for name, module in made.items()]
    update = Update(players, agent.losses(), Alternating(1), shares_batch=True)
    update([transition(*obs)])
    return float(next(made["actor"].parameters()).detach()) - gain


def test_the_actors_step_is_the_inverted_gradient_through_its_own_output() -> None:
    """p = k s = (1.2, -0.5), Q = 2 a: the mean of 2 (1 - p) / 2 s."""
    wanted = (2 * (1 - 1.2) / 2 * 2.4 + 2 * (1 + 0.5) / 2 * -1.0) / 2
    assert moved(DDPG(bounding="inverting"), 0.5, [2.4, -1.0]) == pytest.approx(wanted, rel=1e-11)


def test_the_penalty_is_the_mean_square_beyond_the_margin() -> None:
    """w mean max(0, |z| - m)^2 with z = k s = (6, -1): by k 2 w (6 - m) 2 / 2, beside the gradient through tanh."""
    through = (2 * (1 - torch.tanh(double(6.0, -1.0)) ** 2) * double(2.0, -1 / 3)).mean().item()
    agent = DDPG(preactivation_penalty=0.3, preactivation_margin=2.5)
    assert moved(agent, 3.0, [2.0, -1 / 3]) == pytest.approx(through - 0.3 * 2 * 3.5 * 2.0 / 2, rel=1e-11)
    assert moved(DDPG(preactivation_penalty=0.3), 3.0, [2.0, -1 / 3]) == pytest.approx(
        through - 0.3 * 2 * (6 * 2.0 + 1 / 3) / 2, rel=1e-11
    )


def test_a_large_error_counts_linearly() -> None:
    q = double(0.5, 3.0, -7.0).requires_grad_(True)
    loss = td_loss(q, torch.zeros(3, dtype=torch.float64), huber=2.0)
    loss.backward()
    assert loss.item() == pytest.approx((0.25 + 2 * (2 * 3 - 2) + 2 * (2 * 7 - 2)) / 3, rel=1e-15)
    assert q.grad is not None and torch.allclose(q.grad, double(1.0, 4.0, -4.0) / 3, atol=0, rtol=1e-15)
    weighted = td_loss(q.detach(), torch.zeros(3, dtype=torch.float64), double(1.0, 0.5, 2.0), 2.0)
    assert weighted.item() == pytest.approx((0.25 + 0.5 * 8 + 2 * 24) / 3, rel=1e-15)
    assert td_loss(q.detach(), q.detach() + 1, huber=5.0) == td_loss(q.detach(), q.detach() + 1)


AGENTS = [
    agent(**options)
    for agent in (DDPG, TD3)
    for options in (
        {"bounding": "inverting", "huber": 1.0},
        {"preactivation_penalty": 0.1, "preactivation_margin": 0.05},
    )
]


def updates(agent: Any, seeds: int, compiled: bool = False) -> list[Update]:
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        spec = MLPSpec((8,), init_scale=3.0)
        actor, critic = agent.actor(spec, 3, 2).double(), agent.critic(spec, 3, 2).double()
        players = [
            Player(name, module, PlayerSpec(None, adam(0.05)))
            for name, module in (("critic", critic), ("actor", actor))
        ]
        found.append(Update(players, agent.losses(), Alternating(1), shares_batch=True, compiled=compiled))
    return found


def minibatch(seed: int) -> Transition:
    g = torch.Generator().manual_seed(seed)
    obs, action, reward, after, noise = (torch.randn(16, n, generator=g, dtype=torch.float64) for n in (3, 2, 1, 3, 2))
    return Transition(obs, action.tanh(), 9 * reward[:, 0], reward[:, 0] * 0, after, noise=noise)


@pytest.mark.parametrize("agent", AGENTS, ids=str)
def test_eager_pure_and_stacked_moves_are_one(agent: Any) -> None:
    eager, pure, stacked = (updates(agent, 2) for _ in range(3))
    stack = Stack(stacked)
    for i in range(6):
        data = [[minibatch(2 * i + k)] for k in range(2)]
        stack(data)
        for k in range(2):
            pure[k].compiled = True
            eager[k](data[k])
            pure[k](data[k])
    for one, two, three in zip(eager, pure, stacked, strict=True):
        for name in ("critic", "actor"):
            thetas = [update.players[name].vector.theta for update in (one, two, three)]
            assert all((theta - thetas[0]).abs().max() < 1e-11 for theta in thetas[1:])
    plain = updates(type(agent)(), 1)[0]
    plain([minibatch(0)])
    assert (plain.players["actor"].vector.theta - eager[0].players["actor"].vector.theta).abs().max() > 1e-3


@pytest.mark.slow
def test_a_compiled_move_inverts_the_same_gradients() -> None:
    eager, compiled = (updates(DDPG(bounding="inverting"), 1, compiled=c)[0] for c in (False, True))
    for i in range(3):
        eager([minibatch(i)])
        compiled([minibatch(i)])
    assert (eager.players["actor"].vector.theta - compiled.players["actor"].vector.theta).abs().max() < 1e-12


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_numpys_actions_are_the_clipped_ones_too(norm: Any) -> None:
    actor = DDPG(bounding="inverting").actor(MLPSpec((8,), norm=norm, init_scale=4.0), 3, 2).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    with torch.no_grad():
        wanted = actor(x)
        assert (wanted.abs() == 1).any() and torch.equal(wanted, actor(x, True).clamp(-1, 1))
    assert Single.possible(actor)
    one, many = Single(actor), Many(actor, Player("actor", actor, PlayerSpec(None, sgd())).vector.theta[None])
    assert torch.allclose(torch.from_numpy(one(x[0].numpy())), wanted[0], atol=1e-12)
    for rows in (x[:1], x):
        assert torch.allclose(torch.from_numpy(many(rows[None].numpy()))[0], wanted[: len(rows)], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bounding": "clip"}, r"bounding = clip: unknown; choose tanh or inverting"),
        ({"preactivation_penalty": -1.0}, r"preactivation_penalty = -1\.0: must be at least 0"),
        ({"preactivation_margin": float("nan")}, r"preactivation_margin = nan: must be at least 0"),
        ({"huber": 0.0}, r"huber = 0\.0: must be positive, for example 1\.0, or null"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    for agent in (DDPG, TD3):
        with pytest.raises(ValueError, match=message):
            agent(**options)


def test_a_network_whose_last_layer_is_not_known_cannot_invert_and_pays_no_penalty() -> None:
    class Own:
        def actor(self, obs_dim: int, action_dim: int) -> nn.Module:
            return nn.Linear(obs_dim, action_dim)

    with pytest.raises(ValueError, match=r"bounding = inverting: is for perceptrons.*the actor is a Linear"):
        DDPG(bounding="inverting").actor(Own(), 3, 1)
    agent = DDPG(preactivation_penalty=0.1)
    assert not agent._plain and isinstance(agent.actor(Own(), 3, 1), nn.Linear) and agent._plain
