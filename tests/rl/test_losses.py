"""The losses of deterministic policy gradient methods against closed forms and against products written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jacrev

from rlgan.nets import MLPSpec
from rlgan.optim import EMA, Alternating, Player, PlayerSpec, Position, Update, sgd
from rlgan.optim.play.field import GradientField
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.border.rows import Step
from rlgan.rl.losses import deterministic_policy_loss, td_loss, td_target
from rlgan.rl.replay.uniform import Layout, ReplayStore, Transition

OBS, ACTION, BATCH = 3, 2, 7


def transitions(seed: int = 0) -> Transition:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    terminated = (torch.rand(BATCH, generator=generator) < 0.4).double()
    return Transition(normal(BATCH, OBS), normal(BATCH, ACTION).tanh(), normal(BATCH), terminated, normal(BATCH, OBS))


def update(discount: float = 0.9, compiled: bool = False) -> tuple[DDPG, Update]:
    agent = DDPG(discount)
    torch.manual_seed(0)
    network = MLPSpec((8, 8), activation="tanh")
    spec = PlayerSpec(network, sgd(0.1), averaging=EMA(0.3))
    critic = Player("critic", agent.critic(network, OBS, ACTION).double(), spec)
    actor = Player("actor", agent.actor(network, OBS, ACTION).double(), spec)
    return agent, Update((critic, actor), agent.losses(), Alternating(), shares_batch=True)


def fields() -> list[str]:
    return ["eager", "pure"]


def gradient(game: Update, kind: str, name: str, batch: Transition) -> Tensor:
    at = Position({n: p.state for n, p in game.players.items()}, torch.tensor(True))
    field: GradientField = game.eager if kind == "eager" else game.pure.at(at)
    grads, _ = field.gradients(batch, (name,), {})
    return grads[name].clone()


def test_td_target_by_hand() -> None:
    r, q = torch.tensor([1.0, 1.0, -2.0]), torch.tensor([10.0, 10.0, 4.0])
    terminated = torch.tensor([0.0, 1.0, 0.0])
    assert torch.equal(td_target(r, terminated, q, 0.5), torch.tensor([6.0, 1.0, 0.0]))
    assert torch.equal(td_target(r, terminated, q, 0.0), r)
    assert torch.equal(td_target(r, torch.zeros(3), q, 1.0), r + q)


def test_td_loss_is_the_mean_square_and_its_gradient_stops_at_the_target() -> None:
    q = torch.tensor([1.0, 2.0, 5.0], requires_grad=True)
    y = torch.tensor([0.0, 4.0, 5.0], requires_grad=True)
    loss = td_loss(q, y)
    assert loss.item() == pytest.approx((1 + 4 + 0) / 3)
    loss.backward()
    assert q.grad is not None and torch.allclose(q.grad, torch.tensor([2.0, -4.0, 0.0]) / 3)
    assert y.grad is None


def test_policy_loss_is_minus_the_mean() -> None:
    assert deterministic_policy_loss(torch.tensor([1.0, 2.0, 6.0])).item() == -3.0


def test_shapes_that_would_broadcast_are_refused() -> None:
    # (B,) against (B, 1) is the classic silent mistake: a loss over B x B pairs.
    with pytest.raises(AssertionError, match="differ"):
        td_loss(torch.zeros(4), torch.zeros(4, 1))
    with pytest.raises(AssertionError, match="differ"):
        td_target(torch.zeros(4), torch.zeros(4), torch.zeros(4, 1), 0.9)
    with pytest.raises(AssertionError, match=r"q is \(batch,\)"):
        deterministic_policy_loss(torch.zeros(4, 1))


@pytest.mark.parametrize("kind", fields())
def test_the_actors_gradient_is_grad_theta_mu_times_grad_a_q(kind: str) -> None:
    _, game = update()
    batch = transitions()
    critic, actor = game.players["critic"], game.players["actor"]
    theta = actor.vector.theta.clone()

    # mu's Jacobian (ACTION, d) and Q's gradient (ACTION,) at every state, one by one, and their product.
    by_hand = torch.zeros_like(theta)
    for s in batch.obs:

        def mu(vector: Tensor, s: Tensor = s) -> Tensor:
            output: Tensor = functional_call(actor.module, actor.vector.split(vector), (s[None],))
            return output[0]

        a = mu(theta)
        grad_a: Tensor = jacrev(lambda a, s=s: critic.module(s[None], a[None])[0])(a)
        by_hand += jacrev(mu)(theta).T @ grad_a.detach()
    by_hand = -by_hand.detach() / BATCH

    g = gradient(game, kind, "actor", batch)
    assert g.abs().max() > 1e-3
    assert (g - by_hand).abs().max() <= 1e-12 * by_hand.abs().max()


@pytest.mark.parametrize("kind", fields())
def test_the_critics_gradient_is_twice_the_error_times_grad_w_q(kind: str) -> None:
    agent, game = update()
    batch = transitions()
    critic, actor = game.players["critic"], game.players["actor"]
    with torch.no_grad():
        # Targets that are not the networks themselves.
        critic.state["average"]["theta_bar"].mul_(0.7)
        actor.state["average"]["theta_bar"].mul_(1.3)
        q_next = critic.average(batch.next_obs, actor.average(batch.next_obs))
        y = batch.reward + agent.discount * (1 - batch.terminated) * q_next
        error = critic.module(batch.obs, batch.action) - y

    def q(vector: Tensor) -> Tensor:
        return functional_call(critic.module, critic.vector.split(vector), (batch.obs, batch.action))

    by_hand = 2 / BATCH * error @ jacrev(q)(critic.vector.theta.clone()).detach()
    g = gradient(game, kind, "critic", batch)
    assert (g - by_hand).abs().max() <= 1e-12 * by_hand.abs().max()


@pytest.mark.parametrize("kind", fields())
def test_only_termination_masks_the_successor(kind: str) -> None:
    _, game = update()
    batch = transitions()
    other = batch._replace(next_obs=torch.where(batch.terminated[:, None] == 1, 99.0, batch.next_obs))
    ends = int(batch.terminated.sum())
    assert 0 < ends < BATCH
    g = gradient(game, kind, "critic", batch)
    assert torch.equal(gradient(game, kind, "critic", other), g)
    going_on = batch._replace(next_obs=torch.where(batch.terminated[:, None] == 0, 99.0, batch.next_obs))
    assert not torch.equal(gradient(game, kind, "critic", going_on), g)


def test_a_truncated_transition_is_bootstrapped_and_a_terminated_one_is_not() -> None:
    """From the environment's two flags, through the replay, to the target."""
    replay = ReplayStore(Layout(4, 1, 1, torch.float64))
    ones = np.ones((3, 1), np.float32)
    flags = np.array([[True, False], [False, True], [False, False]])
    replay.add(
        Step(0 * ones, 0 * ones, np.array([1.0, 2.0, 3.0]), 5 * ones, flags[:, 0], flags[:, 1], flags[:, 0] | True, ())
    )
    rows = replay.split(replay.rows[:3])
    y = td_target(rows.reward, rows.terminated, 10 * rows.next_obs[:, 0], 0.5)
    assert y.tolist() == [1.0, 2.0 + 25.0, 3.0 + 25.0]


def test_the_targets_are_the_averages_and_follow_slowly() -> None:
    _, game = update()
    critic, actor = game.players["critic"], game.players["actor"]
    before = {n: p.vector.theta.clone() for n, p in game.players.items()}
    game([transitions(i) for i in range(game.batches)])
    for name, player in (("critic", critic), ("actor", actor)):
        assert not torch.equal(player.vector.theta, before[name])
        expected = before[name] + 0.3 * (player.vector.theta - before[name])
        assert torch.allclose(player.state["average"]["theta_bar"], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("discount", [-0.1, 1.01, float("nan")])
def test_a_discount_outside_of_the_unit_interval_is_refused(discount: float) -> None:
    with pytest.raises(ValueError, match=r"^discount = .*: gamma lies in \[0, 1\]"):
        DDPG(discount)
