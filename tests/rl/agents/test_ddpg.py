"""DDPG on linear-quadratic regulators, where value, gradient and optimal policy are known in closed form.

    s+ = A s + B a,    r = -(s' Q s + a' R a),    maximise sum gamma^t r_t.

For a gain K (a = -K s):  V(s) = -s' P s,  P = Q + K'RK + gamma (A - BK)' P (A - BK),
    Q(s, a) = -[s; a]' M [s; a],   M = [[Q + gamma A'PA, gamma A'PB], [gamma B'PA, R + gamma B'PB]].
The best gain is K = (R + gamma B'PB)^-1 gamma B'PA with P from the discrete Riccati equation of sqrt(gamma) (A, B).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov
from torch import Tensor, nn

from rlgan.optim import EMA, Alternating, Game, Player, PlayerSpec, Simultaneous, Update, adam, sgd
from rlgan.optim.step.method import Method
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.losses import deterministic_policy_loss
from rlgan.rl.replay.uniform import Transition

GAMMA = 0.9
A = np.array([[1.0, 0.2], [-0.1, 1.0]])  # a slowly growing rotation: without control the state leaves
B = np.array([[0.0], [0.5]])
COST = np.diag([1.0, 0.5])
EFFORT = np.array([[0.3]])

tensor = torch.from_numpy


class QuadraticCritic(nn.Module):
    """Q(s, a) = -z' M z with z = [s; a] and M = (W + W') / 2, one free matrix W."""

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(tensor(weight.copy()))

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        z = torch.cat((obs, action), -1)
        return -((z @ self.weight) * z).sum(-1)

    def matrix(self) -> np.ndarray:
        w = self.weight.detach().numpy()
        return 0.5 * (w + w.T)


class LinearActor(nn.Module):
    """mu(s) = -K s."""

    def __init__(self, gain: np.ndarray) -> None:
        super().__init__()
        self.gain = nn.Parameter(tensor(gain.copy()))

    def forward(self, obs: Tensor) -> Tensor:
        return -obs @ self.gain.T


def value_of(gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P and M of a gain."""
    closed = np.sqrt(GAMMA) * (A - B @ gain)
    return (p := solve_discrete_lyapunov(closed.T, COST + gain.T @ EFFORT @ gain)), action_value_of(p)


def action_value_of(p: np.ndarray) -> np.ndarray:
    return np.block(
        [[COST + GAMMA * A.T @ p @ A, GAMMA * A.T @ p @ B], [GAMMA * B.T @ p @ A, EFFORT + GAMMA * B.T @ p @ B]]
    )


def optimum() -> tuple[np.ndarray, np.ndarray]:
    """The best gain and the M that belongs to it, by the Riccati equation."""
    root = np.sqrt(GAMMA)
    p = solve_discrete_are(root * A, root * B, COST, EFFORT)
    return np.linalg.solve(EFFORT + GAMMA * B.T @ p @ B, GAMMA * B.T @ p @ A), action_value_of(p)


def batch(generator: torch.Generator, size: int = 64) -> Transition:
    """Transitions from a fixed distribution, s and a standard normal: far from what the present actor would do."""
    s = torch.randn(size, 2, generator=generator, dtype=torch.float64)
    a = torch.randn(size, 1, generator=generator, dtype=torch.float64)
    reward = -((s @ tensor(COST)) * s).sum(1) - ((a @ tensor(EFFORT)) * a).sum(1)
    return Transition(s, a, reward, torch.zeros(size, dtype=torch.float64), s @ tensor(A).T + a @ tensor(B).T)


def learner(
    gain: np.ndarray, game: Game, critic_method: Method, actor_method: Method, tau: float = 0.2
) -> tuple[QuadraticCritic, LinearActor, Update]:
    critic, actor = QuadraticCritic(np.eye(3)), LinearActor(gain)
    players = (
        Player("critic", critic, PlayerSpec(None, critic_method, averaging=EMA(tau))),
        Player("actor", actor, PlayerSpec(None, actor_method, averaging=EMA(tau))),
    )
    return critic, actor, Update(players, DDPG(GAMMA).losses(), game, shares_batch=True)


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_the_closed_forms_agree_with_one_another_and_with_a_sum_of_rewards() -> None:
    gain, m = optimum()
    p_of_best, m_of_best = value_of(gain)
    assert relative(m_of_best, m) < 1e-12
    # No gain nearby does better, at any state.
    for change in np.random.default_rng(0).normal(size=(20, 1, 2)) * 0.1:
        assert np.linalg.eigvalsh(value_of(gain + change)[0] - p_of_best).min() > -1e-12
    s, total, weight = np.array([1.0, -2.0]), 0.0, 1.0
    for _ in range(600):
        a = -gain @ s
        total += weight * float(-(s @ COST @ s) - a @ EFFORT @ a)
        s, weight = A @ s + B @ a, weight * GAMMA
    start = np.array([1.0, -2.0])
    assert total == pytest.approx(-start @ p_of_best @ start, rel=1e-12)
    z = np.concatenate((start, -gain @ start))
    assert total == pytest.approx(-z @ m @ z, rel=1e-12)


@pytest.mark.parametrize("game", [Alternating(1), Alternating(2), Simultaneous()], ids=str)
def test_critic_and_actor_find_the_optimal_value_and_gain(game: Game) -> None:
    """From a critic that knows nothing and an actor that does nothing; both to 1e-10, relative."""
    gain, m = optimum()
    critic, actor, update = learner(np.zeros((1, 2)), game, sgd(0.02), sgd(0.05))
    assert relative(actor.gain.detach().numpy(), gain) == 1.0 and relative(critic.matrix(), m) > 0.5
    generator = torch.Generator().manual_seed(0)
    for _ in range(1300):
        update([batch(generator) for _ in range(update.batches)])
    assert relative(critic.matrix(), m) < 1e-10
    assert relative(actor.gain.detach().numpy(), gain) < 1e-10


def test_adam_finds_them_too() -> None:
    """To 1e-2: at a constant learning rate Adam's steps do not shrink with the gradient."""
    gain, m = optimum()
    critic, actor, update = learner(np.zeros((1, 2)), Alternating(1), adam(2e-2), adam(3e-3))
    generator = torch.Generator().manual_seed(1)
    for _ in range(2000):
        update([batch(generator) for _ in range(update.batches)])
    assert relative(critic.matrix(), m) < 1e-2
    assert relative(actor.gain.detach().numpy(), gain) < 1e-2


def test_the_critic_of_an_actor_that_stands_still_finds_that_actors_value() -> None:
    gain = np.array([[0.3, 0.8]])
    _, m = value_of(gain)
    critic, actor, update = learner(gain, Alternating(1), sgd(0.02), sgd(1e-30))
    generator = torch.Generator().manual_seed(2)
    for _ in range(1300):
        update([batch(generator) for _ in range(update.batches)])
    assert np.allclose(actor.gain.detach().numpy(), gain, rtol=0, atol=1e-20)
    assert relative(critic.matrix(), m) < 1e-10
    assert relative(optimum()[1], m) > 0.05  # which is not the optimal one


def test_the_policy_gradient_is_the_gradient_of_the_return() -> None:
    """With the true Q and states distributed as the policy visits them, the actor's loss has the gradient of -J(K).

    J(K) = -tr(P_K S), S = E s_0 s_0'; the discounted second moment of the visited states is
    X = S + gamma (A - BK) X (A - BK)', and the loss is quadratic in s: two states that have X as their second moment
    stand for all of them.
    """
    gain = np.array([[0.3, 0.8]])
    start = np.array([[2.0, 0.4], [0.4, 1.0]])

    def loss_of_return(k: Tensor) -> Tensor:
        closed = tensor(A) - tensor(B) @ k
        # P by vectorisation, so that autograd passes through the solution.
        system = torch.eye(4, dtype=torch.float64) - GAMMA * torch.kron(closed.T.contiguous(), closed.T.contiguous())
        p = torch.linalg.solve(system, (tensor(COST) + k.T @ tensor(EFFORT) @ k).reshape(-1)).reshape(2, 2)
        return (p * tensor(start)).sum()

    k = tensor(gain).requires_grad_()
    (wanted,) = torch.autograd.grad(loss_of_return(k), k)

    closed = np.sqrt(GAMMA) * (A - B @ gain)
    visited = solve_discrete_lyapunov(closed, start)
    states = tensor(np.sqrt(2) * np.linalg.cholesky(visited).T.copy())
    critic, actor = QuadraticCritic(value_of(gain)[1]), LinearActor(gain)
    (found,) = torch.autograd.grad(deterministic_policy_loss(critic(states, actor(states))), actor.gain)
    assert wanted.abs().max() > 0.1
    assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()
    # At the optimum there is none.
    best, m = optimum()
    critic, actor = QuadraticCritic(m), LinearActor(best)
    (flat,) = torch.autograd.grad(deterministic_policy_loss(critic(states, actor(states))), actor.gain)
    assert flat.abs().max() < 1e-12 * wanted.abs().max()
