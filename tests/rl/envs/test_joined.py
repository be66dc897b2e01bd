"""The environments of many seeds stepped as one: each stays what it is alone, and one that fails stops no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlgan.rl.border.rows import Episode
from rlgan.rl.envs.batched import BatchedEnv, Maths, register
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.joined import Joined, join
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.task.errors import Diverged


class Fragile(BatchedEnv):
    """x' = x + a from a random start; above 2 the reward is infinite, below -2 x is not a number from there on."""

    one_observation = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    one_action = spaces.Box(-1.0, 1.0, (1,), np.float32)
    width = 1

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        return [generator.uniform(-0.1, 0.1)]

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        x = state[0] + maths.double(action[0])
        return [maths.where(x < -2.0, np.nan, x)], maths.where(x > 2.0, np.inf, x), x > 9.0

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        return state


if "Fragile-v0" not in gymnasium.registry:
    register("Fragile-v0", Fragile, max_episode_steps=7)


def three(id: str, num_envs: Sequence[int] = (2, 2, 2), limit: int = 11) -> list[VectorEnvironment]:
    return [Environment(id, num_envs=n, max_episode_steps=limit).make(10 * k) for k, n in enumerate(num_envs)]


def joined(parts: Sequence[VectorEnvironment]) -> Joined:
    whole = join(parts)
    assert whole is not None
    return whole


def same(one: VectorEnvironment, other: VectorEnvironment) -> None:
    assert np.array_equal(one.obs, other.obs) and np.array_equal(one.valid, other.valid) and one.steps == other.steps
    assert str(one.state_dict()) == str(other.state_dict())


@pytest.mark.parametrize("id", ["Pendulum-v1", "MountainCarContinuous-v0", "rlgan/SparseCartPoleSwingUp-v0"])
@pytest.mark.parametrize("masked", [False, True])
def test_every_part_is_what_it_is_alone_however_it_is_stepped(id: str, masked: bool) -> None:
    parts, alone = three(id, (2, 1, 3)), three(id, (2, 1, 3))
    whole, generator = joined(parts), np.random.default_rng(0)
    assert [(s.start, s.stop) for s in whole.slices] == [(0, 2), (2, 3), (3, 6)] and whole.num_envs == 6
    for time in range(70):
        action = generator.uniform(-1.2, 1.2, (6, 1)).astype(np.float32)
        here = generator.random(3) < 0.6 if masked else np.ones(3, dtype=np.bool_)
        mask = np.repeat(here, (2, 1, 3)) if masked else None
        before = [part.obs.copy() for part in alone]
        wanted = [
            env.step(action[rows]) if go else None for env, rows, go in zip(alone, whole.slices, here, strict=True)
        ]
        if time % 4 == 3:  # by themselves
            for part, rows, go in zip(parts, whole.slices, here, strict=True):
                if go:
                    part.step(action[rows])
        else:
            step, failed = whole.step(torch.from_numpy(action) if time % 2 else action, mask)
            assert failed == {}
            episodes = []
            for rows, one, obs in zip(whole.slices, wanted, before, strict=True):
                if one is None:
                    assert not step.valid[rows].any() and not step.ended[rows].any() and not step.reward[rows].any()
                    assert np.array_equal(step.obs[rows], obs) and np.array_equal(step.next_obs[rows], obs)
                    continue
                for k in range(7):
                    assert np.array_equal(step[k][rows], one[k]), k
                episodes += [Episode(rows.start + e.env, e.total, e.length) for e in one.episodes]
            assert step.episodes == tuple(episodes)
        for part, env in zip(parts, alone, strict=True):
            same(part, env)
        if time == 30:
            saved = alone[1].state_dict()
        if time == 50:
            for env in (parts[1], alone[1]):
                env.load_state_dict(saved)
            for env in (parts[2], alone[2]):
                env.reset()
    assert np.array_equal(whole.obs, np.concatenate([part.obs for part in parts]))
    assert np.array_equal(whole.valid, np.concatenate([part.valid for part in parts]))


def test_a_step_that_was_handed_out_never_changes() -> None:
    whole, generator = joined(three("Pendulum-v1", limit=3)), np.random.default_rng(0)
    kept = []
    for _ in range(9):
        step, _ = whole.step(generator.uniform(-1, 1, (6, 1)).astype(np.float32))
        kept.append((step, [np.copy(column) for column in step[:-1]]))
    assert all(np.array_equal(a, b) for step, copies in kept for a, b in zip(step[:-1], copies, strict=True))


@pytest.mark.parametrize(
    ("push", "message"),
    [
        (1.0, r"^reward of environment 1 \(Fragile-v0\) is inf in component 0 after [24] environment steps, step"),
        (-1.0, r"^observation of environment 1 \(Fragile-v0\) is nan in component 0 after [24] environment steps"),
        (np.nan, r"^action of environment 1 \(Fragile-v0\) is nan in component 0 after 0 environment steps"),
    ],
)
def test_a_part_that_fails_says_what_it_says_alone_and_the_others_go_on(push: float, message: str) -> None:
    parts, alone = three("Fragile-v0"), three("Fragile-v0")
    whole = joined(parts)
    action = np.zeros((6, 1), np.float32)
    action[3] = push  # environment 1 of part 1
    mask, error = np.ones(6, dtype=np.bool_), None
    for _ in range(30):
        step, failed = whole.step(action, mask)
        for k in (0, 2):
            wanted = alone[k].step(action[whole.slices[k]])
            assert np.array_equal(step.valid[whole.slices[k]], wanted.valid)
            same(parts[k], alone[k])
        if mask.all() and not failed:
            alone[1].step(action[2:4])
        for k, found in failed.items():
            assert k == 1 and error is None
            error = found
            with pytest.raises(Diverged, match=message) as caught:
                alone[1].step(action[2:4])
            assert str(caught.value) == str(found)
            same(parts[1], alone[1])
            assert not step.valid[2:4].any() and not step.ended[2:4].any() and not step.reward[2:4].any()
            mask = np.repeat([True, False, True], 2)
    assert error is not None and np.isfinite(whole.obs).all()


def test_only_batched_environments_that_were_made_alike_can_be_joined() -> None:
    one, sync = Environment().make(0), Environment(vectorization="sync").make(0)
    assert join([one, sync]) is join([sync, sync]) is join([one, Environment("Fragile-v0").make(0)]) is None
    assert join([one, Environment(kwargs={"g": 3.0}).make(0)]) is None
    whole = joined([one, Environment(num_envs=3).make(1)])
    for action, mask, message in (
        (np.zeros((3, 1)), None, r"^action = shape \(3, 1\): must be \(4, 1\)"),
        (np.zeros((4, 1)), np.ones(2, dtype=np.bool_), r"^mask = shape \(2,\): must be \(4,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            whole.step(action, mask)
