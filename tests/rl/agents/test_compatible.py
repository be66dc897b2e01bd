"""Features compatible with the actor (Silver et al. 2014, section 4.3): explicit Jacobians, and a regulator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from rlgan.nets import MLPSpec
from rlgan.optim import Alternating, NoAverage, Player, PlayerSpec, Update, sgd
from rlgan.rl.agents.dpg import DPG, CompatibleCritic, SteeredActor
from rlgan.rl.replay.uniform import Transition
from tests.rl.agents.test_ddpg import COST as STATE_COST
from tests.rl.agents.test_ddpg import EFFORT, GAMMA, A, B, LinearActor, optimum, relative
from tests.rl.agents.test_td3 import gradient, transitions
from tests.runs.test_seeds import follow
from tests.small import QUIET, rlgan

OBS, ACTION = 3, 2


def play(norm: Any = "none", activation: Any = "tanh") -> Update:
    torch.manual_seed(0)
    agent, network = DPG(0.9, "compatible"), MLPSpec((8, 8), activation, norm)
    actor = agent.actor(network, OBS, ACTION).double()
    critic = agent.critic_of(actor, MLPSpec(()), OBS, ACTION)
    assert isinstance(actor, SteeredActor) and isinstance(critic, CompatibleCritic)
    nn.init.normal_(critic.double().weight)
    spec = PlayerSpec(network, sgd(0.1), averaging=NoAverage())
    players = (Player("critic", critic, spec), Player("actor", actor, spec))
    return Update(players, agent.losses(), Alternating(1), shares_batch=True)


def jacobian(actor: nn.Module, obs: Tensor) -> Tensor:
    """grad_theta mu(s), (batch, action_dim, d)."""
    assert isinstance(actor, SteeredActor)
    theta = {name: p.detach() for name, p in actor.network.named_parameters()}
    one = jacrev(lambda at, s: functional_call(actor.network, at, (s.unsqueeze(0),)).squeeze(0))
    pieces: dict[str, Tensor] = vmap(one, in_dims=(None, 0))(theta, obs)
    return torch.cat([piece.flatten(2) for piece in pieces.values()], 2)


def near(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).abs().max() <= 1e-12 * wanted.abs().max())


def test_a_linear_policy_by_hand() -> None:
    """mu(s) = Theta s: phi(s, a) = (a - Theta s) s^T, and Q = phi . w + V(s)."""
    agent = DPG(features="compatible")
    linear = nn.Linear(OBS, ACTION, bias=False).double()
    actor = SteeredActor(linear)
    critic = CompatibleCritic(actor, nn.Sequential(nn.Linear(OBS, 1), nn.Flatten(0)).double())
    nn.init.normal_(critic.weight)
    rows = transitions()
    theta, w = linear.weight.detach().numpy(), critic.weight.detach().view(ACTION, OBS).numpy()
    v, c = (p.detach().numpy() for p in critic.baseline.parameters())
    wanted = []
    for s, a in zip(rows.obs.numpy(), rows.action.numpy(), strict=True):
        phi = np.outer(a - theta @ s, s)
        wanted.append((phi * w).sum() + v[0] @ s + c[0])

    nets = SimpleNamespace(critic=critic, actor=actor)
    assert near(agent.q(nets, rows.obs, rows.action), torch.tensor(np.array(wanted)))


@pytest.mark.parametrize("kind", ["eager", "pure"])
@pytest.mark.parametrize(("norm", "activation"), [("none", "tanh"), ("layer", "relu")])
def test_both_gradients_are_those_of_explicit_features(kind: str, norm: str, activation: str) -> None:
    """The critic's -2 E delta phi and -2 E delta grad_v V, the actor's -E grad mu grad mu^T w."""
    update, rows = play(norm, activation), transitions()
    critic, actor = (update.players[name].module for name in ("critic", "actor"))
    assert isinstance(actor, SteeredActor) and isinstance(critic, CompatibleCritic)
    with torch.no_grad():
        slopes, mu, w = jacobian(actor, rows.obs), actor(rows.obs), critic.weight
        phi = torch.einsum("bi,bid->bd", rows.action - mu, slopes)
        y = rows.reward + 0.9 * (1 - rows.terminated) * critic.baseline(rows.next_obs)
        delta = y - phi @ w - critic.baseline(rows.obs)
        features = torch.cat((phi, rows.obs, torch.ones(len(phi), 1)), 1)
    assert near(gradient(update, kind, "critic", rows), -2 * (delta[:, None] * features).mean(0))
    wanted = -torch.einsum("bid,bie,e->d", slopes, slopes, w) / len(phi)
    assert near(gradient(update, kind, "actor", rows), wanted)


def test_the_gradient_by_the_action_is_the_actors_own_and_the_same_everywhere() -> None:
    """Condition 1 of theorem 3: grad_a Q(s, a) at a = mu(s) is grad_theta mu(s)^T w."""
    update, rows, agent = play(), transitions(), DPG(features="compatible")
    nets = update.eager.nets(())
    slope = torch.einsum("bid,d->bi", jacobian(update.players["actor"].module, rows.obs), nets.critic(rows.obs, True))
    for action in (nets.actor(rows.obs), rows.action):
        at = action.detach().requires_grad_()
        (found,) = torch.autograd.grad(agent.q(nets, rows.obs, at).sum(), at)
        assert near(found, slope)
    at_mu = agent.q(nets, rows.obs, nets.actor(rows.obs))
    assert torch.equal(at_mu, agent.value(nets.critic, rows.obs, rows.action))


class QuadraticValue(nn.Module):
    """V(s) = s' P s + c."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
        self.c = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, obs: Tensor) -> Tensor:
        return ((obs @ self.p) * obs).sum(-1) + self.c


def test_it_finds_the_best_gain_of_a_regulator() -> None:
    """Where actions lie around the actor's: what is left of the advantage's curvature does not depend on the state."""
    gain, _ = optimum()
    linear = LinearActor(0 * gain)
    actor = SteeredActor(linear)
    critic = CompatibleCritic(actor, QuadraticValue())
    spec = PlayerSpec(None, sgd(0.05))
    players = (Player("critic", critic, spec), Player("actor", actor, spec))
    update = Update(players, DPG(GAMMA, "compatible").losses(), Alternating(1), shares_batch=True)
    generator, distance = torch.Generator().manual_seed(0), []
    for _ in range(2):
        for _ in range(400):
            s, noise = (torch.randn(64, n, generator=generator, dtype=torch.float64) for n in (2, 1))
            a = actor(s).detach() + 0.5 * noise
            reward = -((s @ torch.from_numpy(STATE_COST)) * s).sum(1) - float(EFFORT[0, 0]) * a[:, 0].square()
            s_next = s @ torch.from_numpy(A).T + a @ torch.from_numpy(B).T
            update([Transition(s, a, reward, torch.zeros(64, dtype=torch.float64), s_next)])
        distance.append(relative(linear.gain.detach().numpy(), gain))
    assert max(distance) < 0.06


SMALL = (
    "experiment=rl/dpg",
    *QUIET,
    "agent.features=compatible",
    "learning_starts=60",
    "capacity=1000",
    "batch_size=32",
)


def test_it_stacks_over_seeds_with_parameter_noise() -> None:
    words = (*SMALL, "exploration=parameter", "critic.network.hidden=[8]", "actor.network.hidden=[8]")
    follow((*words, "precision=float64", "steps=120"), (0, 3), 120, 1e-12)


def test_it_trains_is_drawn_and_refuses_batch_norm(tmp_path: Any) -> None:
    words = (*SMALL, "steps=100", "eval_episodes=2")
    ended = rlgan(*words, f"run_dir={tmp_path / 'run'}")
    assert ended.code == 0 and (tmp_path / "run/pictures").exists(), ended.err
    ended = rlgan(*words, "actor.network.norm=batch", "actor.network.hidden=[4]", f"run_dir={tmp_path / 'other'}")
    assert ended.code == 2 and "batch norm couples samples; set actor.network.norm to none or layer" in ended.err
