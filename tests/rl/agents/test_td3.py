"""TD3 and its twin critics, and DPG: against single critics, products by hand and the closed form of a regulator."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from rlgan.nets import MLPSpec, PairedCritic, TwinQCritic, twin
from rlgan.optim import EMA, Alternating, Extragradient, Game, NoAverage, Player, PlayerSpec, Update, sgd
from rlgan.rl.agents.dpg import DPG, QuadraticCritic
from rlgan.rl.agents.td3 import TD3
from rlgan.rl.losses import smoothed
from rlgan.rl.replay.uniform import Transition
from rlgan.rl.trainer import Trainer
from rlgan.runs.training.seeds import drive_together
from rlgan.task.task import Play, drive
from tests.rl.agents.test_ddpg import GAMMA, LinearActor, batch, optimum, relative
from tests.rl.test_losses import ACTION, BATCH, OBS, gradient, transitions
from tests.rl.test_trainer import trainer
from tests.small import build


def critics(norm: Any = "none", activation: Any = "tanh", hidden: tuple[int, ...] = (16, 8)) -> list[Any]:
    torch.manual_seed(0)
    spec = MLPSpec(hidden, activation, norm)
    return [spec.q_critic(OBS, ACTION).double() for _ in range(2)]


@pytest.mark.parametrize("size", [5, 200])
@pytest.mark.parametrize("hidden", [(), (16, 8)])
@pytest.mark.parametrize(("norm", "activation"), [("none", "relu"), ("layer", "tanh"), ("layer", "relu")])
def test_twin_critics_are_two_critics(norm: str, activation: str, hidden: tuple[int, ...], size: int) -> None:
    """Values and all gradients, to 1e-12 of the largest."""
    singles = critics(norm, activation, hidden)
    for p in (p for critic in singles for p in critic.parameters()):
        p.data.add_(0.1 * torch.randn_like(p))  # affine parameters of the norms too
    both = twin(*singles)
    assert isinstance(both, TwinQCritic)
    assert {p.shape[0] for p in both.parameters()} == {2} and len(list(both.parameters())) == len(
        list(singles[0].parameters())
    )
    obs, action = torch.randn(size, OBS).double(), torch.randn(size, ACTION).double().requires_grad_()
    wanted = torch.stack([critic(obs, action) for critic in singles])
    found = both(obs, action)
    assert found.shape == (2, size) and (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()
    assert torch.allclose(both(obs, action, True), wanted[0], rtol=1e-12, atol=1e-14)
    weight = torch.randn(2, size).double()
    own = torch.autograd.grad((weight * found).sum(), [action, *both.parameters()])
    one, other = (
        torch.autograd.grad((weight * wanted).sum(), [action, *critic.parameters()], retain_graph=True)
        for critic in singles
    )
    for g, g1, g2 in zip(own, one, other, strict=True):
        expected = g1 if g.shape == action.shape else torch.stack((g1, g2))
        assert (g - expected).abs().max() <= 1e-12 * max(1.0, float(expected.abs().max()))


def test_what_has_no_batched_product_is_called_one_after_the_other() -> None:
    singles = critics("batch")
    both = twin(*singles)
    assert isinstance(both, PairedCritic)
    obs, action = torch.randn(6, OBS).double(), torch.randn(6, ACTION).double()
    wanted = torch.stack([critic(obs, action) for critic in singles])
    assert torch.equal(both(obs, action), wanted) and torch.equal(both(obs, action, True), wanted[0])
    assert isinstance(twin(QuadraticCritic(2, 1), QuadraticCritic(2, 1)), PairedCritic)


def make(agent: TD3 | DPG, game: Game | None = None) -> Update:
    torch.manual_seed(0)
    network = MLPSpec((8, 8), activation="tanh")
    average = NoAverage() if isinstance(agent, DPG) else EMA(0.3)
    spec = PlayerSpec(network, sgd(0.1), averaging=average)
    players = (
        Player("critic", agent.critic(network, OBS, ACTION).double(), spec),
        Player("actor", agent.actor(network, OBS, ACTION).double(), spec),
    )
    return Update(players, agent.losses(), game or Alternating(2), shares_batch=True)


def test_the_target_action_is_smoothed_by_clipped_noise_within_the_bounds() -> None:
    action = torch.tensor([[0.0], [0.0], [0.95], [-0.2]])
    noise = torch.tensor([[1.0], [-9.0], [2.0], [0.5]])
    assert torch.allclose(smoothed(action, noise, 0.2, 0.5), torch.tensor([[0.2], [-0.5], [1.0], [-0.1]]))
    assert torch.equal(smoothed(action, torch.zeros(()), 0.2, 0.5), action)


def test_the_target_is_the_smaller_of_two_at_the_smoothed_action() -> None:
    """By a loop over the transitions, with target networks that are not the networks."""
    agent = TD3(0.9, smoothing=0.4, smoothing_bound=0.3)
    game = make(agent)
    critic, actor = game.players["critic"], game.players["actor"]
    for p in (critic, actor):
        p.state["average"]["theta_bar"].mul_(1.4)
    noise = torch.randn(BATCH, ACTION, generator=torch.Generator().manual_seed(1)).double()
    rows = transitions()._replace(noise=noise)
    wanted = []
    for i in range(BATCH):
        mean = actor.average(rows.next_obs[i : i + 1])[0]
        a = torch.tensor(
            [max(-1.0, min(1.0, m + max(-0.3, min(0.3, 0.4 * x)))) for m, x in zip(mean, noise[i], strict=True)]
        ).double()
        q = critic.average(rows.next_obs[i : i + 1], a[None])[:, 0]
        wanted.append(float(rows.reward[i] + 0.9 * (1 - rows.terminated[i]) * min(q)))
    found = agent.target(game.eager.nets(()), rows)
    assert torch.allclose(found, torch.tensor(wanted).double(), rtol=1e-6)
    error = (found - critic.module(rows.obs, rows.action)).abs().mean(0)
    assert torch.allclose(agent.td_error(game.eager.nets(()), rows), error)
    # A window of m steps counts on gamma^m of that value.
    window = rows._replace(discount=torch.full((BATCH,), 0.9**3).double())
    expected = rows.reward + 0.9**2 * (found - rows.reward)
    assert torch.allclose(agent.target(game.eager.nets(()), window), expected)


@pytest.mark.parametrize("kind", ["eager", "pure"])
def test_both_critics_learn_the_target_and_the_first_leads_the_actor(kind: str) -> None:
    agent = TD3(0.9)
    game = make(agent)
    rows = transitions()._replace(noise=torch.randn(BATCH, ACTION).double(), weight=torch.rand(BATCH).double())
    critic, actor = game.players["critic"], game.players["actor"]
    y = agent.target(game.eager.nets(()), rows)
    q = critic.module(rows.obs, rows.action)
    loss = sum((rows.weight * (y - q[i]).square()).mean() for i in range(2))
    assert isinstance(loss, Tensor)
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(loss, critic.vector.parameters)])
    found = gradient(game, kind, "critic", rows)
    assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()
    value = -critic.module(rows.obs, actor.module(rows.obs))[0].mean()
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(value, actor.vector.parameters)])
    found = gradient(game, kind, "actor", rows)
    assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()


@pytest.mark.parametrize(("experiment", "lr"), [("rl/fujimoto", 1e-3), ("rl/td3", 3e-4)])
def test_the_papers_settings_do_what_its_algorithm_1_says(experiment: str, lr: float) -> None:
    """Against modules, targets and Adam of torch: the targets of critic and actor move at every second step alone."""
    task = build(f"experiment={experiment}", "env=pendulum", "precision=float64", "device=cpu")
    assert isinstance(task, Trainer)
    players = task.update.players
    mine = {name: copy.deepcopy(player.module) for name, player in players.items()}
    slow = copy.deepcopy(mine)
    steps = {name: torch.optim.Adam(module.parameters(), lr) for name, module in mine.items()}
    critic, actor = mine["critic"], mine["actor"]
    draw = torch.Generator().manual_seed(5)

    def rows() -> Transition:
        obs, action, reward, next_obs, noise = (
            torch.randn(32, *shape, generator=draw, dtype=torch.float64) for shape in ((3,), (1,), (), (3,), (1,))
        )
        terminated = (torch.rand(32, generator=draw) < 0.3).double()
        return Transition(obs, action.tanh(), reward, terminated, next_obs, noise=noise)

    for _ in range(3):
        batches = [rows() for _ in range(2)]
        task.update(batches)
        for b in batches:
            with torch.no_grad():
                a = (slow["actor"](b.next_obs) + (0.2 * b.noise).clamp(-0.5, 0.5)).clamp(-1, 1)
                y = b.reward + 0.99 * (1 - b.terminated) * slow["critic"](b.next_obs, a).amin(0)
            steps["critic"].zero_grad()
            sum(torch.nn.functional.mse_loss(q, y) for q in critic(b.obs, b.action)).backward()  # type: ignore[union-attr]
            steps["critic"].step()
        steps["actor"].zero_grad()
        (-critic(b.obs, actor(b.obs))[0].mean()).backward()
        steps["actor"].step()
        with torch.no_grad():
            for name, module in mine.items():
                for target, new in zip(slow[name].parameters(), module.parameters(), strict=True):
                    target.lerp_(new, 0.005)
    for name, module in mine.items():
        for found, wanted in ((players[name].module, module), (players[name].average, slow[name])):
            for one, other in zip(found.parameters(), wanted.parameters(), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_dpg_bootstraps_from_the_critic_itself_and_looks_at_no_average() -> None:
    agent = DPG(0.9, features="network")
    game = make(agent)
    rows = transitions()
    critic, actor = game.players["critic"], game.players["actor"]
    with torch.no_grad():
        y = rows.reward + 0.9 * (1 - rows.terminated) * critic.module(rows.next_obs, actor.module(rows.next_obs))
    q = critic.module(rows.obs, rows.action)
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad((y - q).square().mean(), critic.vector.parameters)])
    for kind in ("eager", "pure"):
        found = gradient(game, kind, "critic", rows)
        assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()


def test_quadratic_features_are_all_monomials_up_to_the_second_degree() -> None:
    critic = QuadraticCritic(2, 1)
    x = critic.features(torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0]]))
    assert x.tolist() == [[1.0, 2.0, 3.0, 5.0, 4.0, 6.0, 10.0, 9.0, 15.0, 25.0]]
    assert not critic(torch.randn(4, 2), torch.randn(4, 1)).any()


def test_dpg_finds_the_best_gain_of_a_regulator() -> None:
    """Linear actor, critic linear in quadratic features, no target networks: to 5e-3, and nearer as it goes on."""
    gain, m = optimum()
    agent = DPG(GAMMA)
    critic, actor = agent.critic(None, 2, 1).double(), LinearActor(0 * gain)
    spec = PlayerSpec(None, sgd(0.02))
    update = Update(
        (Player("critic", critic, spec), Player("actor", actor, spec)),
        agent.losses(),
        Alternating(1),
        shares_batch=True,
    )
    generator, distance = torch.Generator().manual_seed(0), []
    for _ in range(2):
        for _ in range(700):
            update([batch(generator)])
        distance.append(relative(actor.gain.detach().numpy(), gain))
    assert distance[1] < 5e-3 and distance[1] < 0.5 * distance[0]
    z = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    wanted = -((z @ torch.from_numpy(m)) * z).sum(1)
    assert (critic(z[:, :2], z[:, 2:]) - wanted).norm() < 2e-2 * wanted.norm()


@pytest.mark.parametrize("agent", [TD3(0.9), DPG(0.9)], ids=lambda agent: type(agent).__name__)
@pytest.mark.parametrize("game", [Alternating(2), Extragradient()], ids=lambda game: type(game).__name__)
def test_seeds_side_by_side_are_the_seeds_alone(agent: Any, game: Game) -> None:
    """In float64, to 1e-12: with windows of three steps as well."""
    given: dict[str, Any] = {"agent": agent, "game": game, "n_step": 3, "precision": "float64"}
    alone, stacked = ([trainer(seed=seed, **given) for seed in (0, 1)] for _ in range(2))

    def run(task: Trainer) -> Play[None]:
        while task.steps_done < 60:
            yield from task.play()

    for task in alone:
        drive(run(task), task.answer)
    assert drive_together([run(task) for task in stacked], Trainer.together(stacked)) == [None, None]
    for one, other in zip(alone, stacked, strict=True):
        assert one.critic.steps == other.critic.steps > 10
        assert (one.critic.vector.theta - other.critic.vector.theta).abs().max() < 1e-12
        assert (one.actor.vector.theta - other.actor.vector.theta).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TD3(1.1), r"^discount = 1.1: gamma lies in \[0, 1\]"),
        (lambda: TD3(smoothing=-1.0), r"^smoothing = -1.0: must be at least 0"),
        (lambda: TD3(smoothing_bound=0.0), r"^smoothing_bound = 0.0: must be positive"),
        (lambda: DPG(-0.1), r"^discount = -0.1: gamma"),
        (lambda: DPG(features="cubic"), r"^features = cubic: unknown; choose network, quadratic or compatible"),  # type: ignore[arg-type]
    ],
)
def test_impossible_settings_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
