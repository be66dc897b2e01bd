"""An actor at its bounds is seen, and one that cannot leave them is named."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from rlgan.optim import Player
from rlgan.rl.agents import saturation
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.replay.returns import Returns, Units
from rlgan.rl.trainer import Trainer
from tests.small import TASKS, builder

PLAIN = ("agent=ddpg_plain", "critic.network.norm=none", "actor.network.norm=none")
WORDS = (*TASKS["ddpg"], *PLAIN, "precision=float64", "steps=400", "compile=false", "actor.optimizer.lr=1e-30")


def trained(steps: int, *words: str, push: float | None = None) -> Trainer:
    """An actor that stands still; with `push`, where z is that number."""
    task = builder(*WORDS, *words)()
    assert isinstance(task, Trainer)
    if push is not None:
        last = layers(task.actor)[-1]
        with torch.no_grad():
            last.weight.zero_()
            last.bias.fill_(push)
    while task.steps_done < steps:
        task.advance()
    return task


def layers(player: Player) -> Any:
    """Of a perceptron."""
    module: Any = player.module
    return module.mlp.linears


def looked(task: Trainer, last: dict[str, float] | None = None, returns: Returns | None = None) -> dict[str, float]:
    return saturation.look(task.agent, task.update, task._samplers[-1].batch, returns, last or {})


@pytest.mark.parametrize(("z", "share"), [(2.2, 0.0), (2.4, 1.0), (-6.0, 1.0)])
def test_share_and_size_are_those_of_the_actors_output(z: float, share: float) -> None:
    """tanh(2.2976) = 0.98."""
    found = looked(trained(65, push=z))
    assert found["actor/saturation"] == share
    assert found["actor/preactivation"] == pytest.approx(abs(z), rel=1e-12)


def test_the_size_of_targets_is_in_the_environments_units() -> None:
    task = trained(70)
    batch, agent = task._samplers[-1].batch, task.agent
    assert isinstance(agent, DDPG)
    y = agent.target(task.update.eager.nets(()), batch)
    assert looked(task)["critic/target_scale"] == pytest.approx(y.square().mean().sqrt().item(), rel=1e-12)
    returns = Returns("popart", 1.0, 0.9, 1)
    returns.units = Units(3.0, -40.0)
    wanted = (3 * y - 40).square().mean().sqrt().item()
    assert looked(task, returns=returns)["critic/target_scale"] == pytest.approx(wanted, rel=1e-12)


def test_only_a_look_computes_them() -> None:
    task = trained(0)
    seen: list[int] = []

    def looking(*_: object) -> dict[str, float]:
        seen.append(task.steps_done)
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saturation, "look", looking)
        while task.steps_done < 90:
            task.advance()
    assert seen == [61, 70, 80, 90]  # a log of every ten, and the first move after those that had none


def towards(task: Trainer, slope: float) -> None:
    """Let the critic be Q(s, a) = slope * relu(1 + a): the first hidden unit alone, of every layer."""
    first, second, last = layers(task.critic)
    with torch.no_grad():
        task.critic.vector.theta.zero_()
        first.weight[0, -1] = second.weight[0, 0] = 1.0
        first.bias[0] = 1.0
        last.weight[0, 0] = slope


@pytest.mark.parametrize(("z", "slope", "stuck"), [(8.0, -1.0, True), (8.0, 1.0, False), (2.5, -1.0, False)])
def test_stuck_is_who_lets_nothing_through_where_the_critic_points_inside(z: float, slope: float, stuck: bool) -> None:
    """A bang-bang policy whose critic pushes outwards is right to be there; at z = 2.5 tanh lets 3 % through."""
    task = trained(65, push=z)
    towards(task, slope)
    assert looked(task, {saturation.STUCK: 4})[saturation.STUCK] == (5 if stuck else 0)


def test_a_stuck_actor_becomes_one_note_with_its_numbers_and_is_remembered() -> None:
    task = trained(0, "critic.optimizer.lr=1e-30", push=9.0)
    towards(task, -1.0)
    while task.steps_done < 75:
        task.advance()
    task.evaluate()
    assert not any("stuck" in text for text in task.notes())  # at 61 and 70 only
    second = trained(0, "critic.optimizer.lr=1e-30")
    second.load_state_dict(copy.deepcopy(task.state_dict()))
    while second.steps_done < 80:
        second.advance()
    second.evaluate()
    (text,) = (text for text in second.notes() if "stuck" in text)
    assert text.startswith("the actor is stuck at step 80: 100% of its actions lie at their bounds")
    assert "|z| = 9.0" in text and "agent.bounding=inverting" in text and "\n" not in text
    second.advance()
    second.evaluate()
    assert sum("stuck" in text for text in second.notes()) == 1


def test_an_actor_without_a_tanh_has_no_preactivation_and_is_never_stuck() -> None:
    task = trained(65, push=9.0)
    inverted = trained(65, "agent.bounding=inverting", push=9.0)
    for one in (task, inverted):
        towards(one, -1.0)
    assert looked(task)[saturation.STUCK] == 1 and looked(inverted)[saturation.STUCK] == 0
    assert looked(inverted)["actor/saturation"] == 1 and looked(inverted)["actor/preactivation"] == pytest.approx(9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saturation, "Actor", type(None))  # somebody else's network
        found = looked(task)
    assert "actor/preactivation" not in found and found["actor/saturation"] == 1 and found[saturation.STUCK] == 0


def test_numbers_beyond_all_bounds_are_left_out() -> None:
    task = trained(65)
    with torch.no_grad():
        task.critic.state["average"]["theta_bar"].fill_(1e200)
    assert "critic/target_scale" not in looked(task)
