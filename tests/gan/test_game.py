"""The game of critic and generator: their losses by hand, one gradient for both, and who sees whom in what order."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlgan.gan.game import Batch, WassersteinGame
from rlgan.gan.lipschitz import Clip, GradientPenalty, Lipschitz, NoControl
from rlgan.gan.losses import NonSaturating
from rlgan.nets import MLPSpec
from rlgan.optim import Alternating, Game, Linear, Piecewise, Position, Simultaneous
from tests.gan.small import CONTROLS, GAMES, assert_same, make, train, vectors


@pytest.mark.parametrize("weight", [None, 0.7])
def test_losses_of_linear_players_by_hand(weight: float | None) -> None:
    """f(x) = w.x and G(z) = z + b: value w.(mean x - mean z - b), its gradients, and the penalty weight (|w| - 1)^2."""
    g = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 6, 2, generator=g, dtype=torch.float64)
    w = torch.tensor([3.0, -4.0], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)

    def critic(x: Tensor) -> Tensor:
        return x @ w

    def slope(x: Tensor) -> Tensor:
        return w.expand_as(x)

    critic.input_gradient = slope  # type: ignore[attr-defined]
    nets = SimpleNamespace(critic=critic, generator=lambda z: z + b)
    game = WassersteinGame(NoControl() if weight is None else GradientPenalty(weight))
    batch = Batch(x, z, torch.rand(6, generator=g, dtype=torch.float64))
    difference = (x.mean(0) - z.mean(0) - b).detach()
    penalty = 0.0 if weight is None else weight * (5 - 1) ** 2
    slope_of_penalty = 0.0 if weight is None else weight * 2 * (5 - 1) * w.detach() / 5

    loss, metrics = game.critic_loss(nets, batch)
    assert float(loss.detach()) == pytest.approx(float(penalty - w.detach() @ difference), rel=1e-14)
    assert float(metrics["wasserstein/dual"].detach()) == pytest.approx(float(w.detach() @ difference), rel=1e-14)
    assert ("critic/penalty" in metrics) == (weight is not None)
    (for_critic,) = torch.autograd.grad(loss, w, retain_graph=True)
    torch.testing.assert_close(for_critic, slope_of_penalty - difference, rtol=1e-13, atol=1e-14)

    alone, _ = game.generator_loss(nets, batch)
    assert float(alone.detach()) == pytest.approx(float(-(w.detach() @ (z.mean(0) + b.detach()))), rel=1e-14)
    (for_generator,) = torch.autograd.grad(alone, b)
    torch.testing.assert_close(for_generator, -w.detach(), rtol=1e-14, atol=0)
    (by_the_joint,) = torch.autograd.grad(game.losses().joint(nets, batch)[0], b)  # type: ignore[misc]
    torch.testing.assert_close(game.losses().signs["generator"] * by_the_joint, for_generator, rtol=1e-14, atol=0)


@pytest.mark.parametrize("lipschitz", CONTROLS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("way", ["eager", "pure"])
def test_the_joint_gradient_is_that_of_the_separate_losses(lipschitz: Lipschitz, way: str) -> None:
    task = make(lipschitz=lipschitz, precision="float64", critic=MLPSpec(hidden=(8, 8), activation="tanh"))
    states = {name: player.state for name, player in task.update.players.items()}
    pure = task.update.pure.at(Position(states, torch.tensor(True)))
    field = {"eager": task.update.eager, "pure": pure}[way]
    batch = task.batch(task.generators)

    def gradient(*names: str) -> dict[str, Tensor]:
        grads, _ = field.gradients(batch, names, {})
        return {name: g.clone() for name, g in grads.items()}

    together = gradient("critic", "generator")
    for name, g in together.items():
        alone = gradient(name)[name]
        assert float(alone.norm()) > 1e-3
        torch.testing.assert_close(g, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("lipschitz", "passes"), [(Clip(0.1), 1), (GradientPenalty(0.1), 2)])
def test_a_simultaneous_move_is_one_backward_pass(
    lipschitz: Lipschitz, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one forward pass of the generator. The penalty adds the pass to the input, which is its definition."""
    task = make(lipschitz=lipschitz, game=Simultaneous())
    counted: list[str] = []
    engine = torch.autograd.Variable._execution_engine
    forward = task.generator.module.forward

    class Counting:
        def run_backward(self, *args: Any, **kwargs: Any) -> Any:
            counted.append("backward")
            return engine.run_backward(*args, **kwargs)

    def counting_forward(z: Tensor) -> Any:
        counted.append("generator")
        return forward(z)

    monkeypatch.setattr(torch.autograd.Variable, "_execution_engine", Counting())
    monkeypatch.setattr(task.generator.module, "forward", counting_forward)
    task.advance()
    assert (counted.count("backward"), counted.count("generator")) == (passes, 1)


# --- order: clip, then play ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES, ids=lambda g: type(g).__name__)
def test_no_loss_ever_sees_a_critic_outside_of_the_box(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the first one: torch's initialisation of a layer with 2 inputs reaches 0.7."""
    seen: dict[str, list[float]] = {"critic_loss": [], "generator_loss": []}

    def spy_on(name: str) -> None:
        loss = getattr(WassersteinGame, name)

        def spying(self: WassersteinGame, nets: Any, batch: Batch) -> Any:
            seen[name].append(float(current[0].critic.vector.theta.abs().max()))
            return loss(self, nets, batch)

        monkeypatch.setattr(WassersteinGame, name, spying)

    for name in seen:
        spy_on(name)
    # Steps of 0.05 leave a box of 0.1 at once, unless something brings them back.
    current = [make(game=game, lr=0.05)]
    train(current[0], 5)
    everything = [*seen["critic_loss"], *seen["generator_loss"]]
    assert len(everything) == (20 if isinstance(game, Alternating) else 5)
    assert max(everything) <= np.float32(0.1)
    for calls in seen.values():
        calls.clear()
    current = [make(game=game, lr=0.05, lipschitz=NoControl())]
    train(current[0], 5)
    assert max(seen["critic_loss"]) > 0.2


def test_alternating_play_takes_k_critic_steps_on_batches_of_their_own() -> None:
    task = train(make(game=Alternating(3)), 4)
    assert (task.steps_done, task.critic.steps, task.generator.steps) == (4, 12, 4)
    assert task.update.batches == 4
    assert task.critic.horizon == 60 and task.generator.horizon == 20


# --- temperature ---------------------------------------------------------------------------------------------------


def test_the_loss_sees_scores_over_the_temperature_and_nothing_else_does() -> None:
    task = make(lipschitz=GradientPenalty(0.7), loss=NonSaturating(), temperature=Linear(end=0.2), precision="float64")
    task.steps_done = 10
    batch = task.batch(task.generators)
    assert float(batch.temperature) == pytest.approx(0.6)  # halfway from 1 to 0.2
    game = WassersteinGame(task.lipschitz, NonSaturating(), tempered=True)
    nets = task.update.eager.nets(())
    critic, fake = task.critic.module, task.generator.module(batch.z).detach()
    f_real, f_fake = critic(batch.x_real) / 0.6, critic(fake) / 0.6
    loss, metrics = game.critic_loss(nets, batch)
    expected = (1 + (-f_real).exp()).log().mean() + (1 + f_fake.exp()).log().mean()
    penalty = task.lipschitz.penalty(nets.critic, batch.x_real, fake, batch.epsilon, batch.noise)
    torch.testing.assert_close(loss, expected + penalty, rtol=1e-12, atol=0)
    torch.testing.assert_close(metrics["critic/gap"], 0.6 * (f_real.mean() - f_fake.mean()), rtol=1e-12, atol=0)
    torch.testing.assert_close(game.generator_loss(nets, batch)[0], (1 + (-f_fake).exp()).log().mean())


def test_a_temperature_of_one_changes_nothing_and_another_does() -> None:
    plain, one, falling = (make(temperature=t) for t in (None, Piecewise((5,), (1.0, 1.0)), Linear(end=0.2)))
    for task in (plain, one, falling):
        train(task, 5)
    assert_same(vectors(plain), vectors(one))
    assert not torch.equal(plain.critic.vector.theta, falling.critic.vector.theta)
    assert "critic/temperature" not in plain.metrics() and falling.metrics()["critic/temperature"] == pytest.approx(0.8)


def test_a_temperature_that_falls_to_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^temperature = Linear\(end=0.0.*: falls to 0"):
        make(temperature=Linear(end=0.0))
