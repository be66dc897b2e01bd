"""Windows of n steps: on an environment whose values are known, and against a loop over whole episodes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch

from rlgan.rl.envs.environment import Environment
from rlgan.rl.replay.n_step import NStep
from rlgan.rl.replay.uniform import Layout, ReplayStore
from tests.rl import scripted
from tests.rl.scripted import MODES, in_mode
from tests.rl.test_trainer import trainer, vectors

GAMMA = 0.9


def wanted(seed: int, count: int, n: int) -> list[tuple[float, float, float, float, float]]:
    """(obs, return, next_obs, terminated, gamma^m) of the windows that `count` transitions complete, by hand."""
    rows = list(scripted.expected(seed, count))
    ends = [i for i, row in enumerate(rows) if row[3] or row[4]]
    found = []
    for t in range(count):
        end = next((i for i in ends if i >= t), None)
        last = t + n - 1 if end is None else min(t + n - 1, end)
        if last >= count:
            continue  # still open
        total = sum(GAMMA**k * rows[t + k][1] for k in range(last - t + 1))
        found.append((rows[t][0], total, rows[last][2], float(rows[last][3]), GAMMA ** (last - t + 1)))
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_windows_stop_at_every_end_and_count_on_the_true_last_observation(mode: Any, num_envs: int, n: int) -> None:
    """The script's episodes have 3, 2, 1 and 4 steps, and end by termination and truncation in turn."""
    env = in_mode(mode)("Scripted-v0", num_envs=num_envs).make(seed=6)
    replay = ReplayStore(Layout(400, 2, 1, torch.float64, windows=True))
    windows = NStep(n, GAMMA, num_envs, 2, 1)
    taken = np.zeros(num_envs, dtype=int)
    for t in range(40):
        step = env.step(np.full((num_envs, 1), 0.01 * t, np.float32))
        taken += step.valid
        replay.add(windows.push(step))
    rows = replay.split(replay.rows[: len(replay)])
    assert len(replay) > 20 * num_envs
    for i in range(num_envs):
        mine = rows.obs[:, 0] == 6 + i
        found = torch.stack(
            (rows.obs[mine, 1], rows.reward[mine], rows.next_obs[mine, 1], rows.terminated[mine], rows.discount[mine]),
            1,
        )
        expected = torch.tensor(wanted(6 + i, int(taken[i]), n), dtype=torch.float64)
        assert torch.allclose(found, expected, rtol=1e-12)
    bootstrapped = rows.terminated == 0
    assert bootstrapped.any() and not bootstrapped.all()


def test_the_action_of_a_window_is_that_of_its_first_step() -> None:
    env = Environment("Scripted-v0").make(seed=0)
    windows, actions, found = NStep(3, GAMMA, 1, 2, 1), {}, {}
    for t in range(30):
        step = env.step(np.full((1, 1), 0.01 * t, np.float32))
        if step.valid[0]:
            actions[float(step.obs[0, 1])] = float(step.action[0, 0])
        done = windows.push(step)
        found.update({float(o[1]): float(a[0]) for o, a in zip(done.obs, done.action, strict=True)})
    assert len(found) > 15 and found.items() <= actions.items()


def test_windows_of_one_step_are_the_steps() -> None:
    env = Environment("Scripted-v0", num_envs=2).make(seed=0)
    windows, steps = ReplayStore(Layout(100, 2, 1, windows=True)), ReplayStore(Layout(100, 2, 1))
    n_step = NStep(1, GAMMA, 2, 2, 1)
    for _ in range(30):
        step = env.step(np.zeros((2, 1), np.float32))
        windows.add(n_step.push(step))
        steps.add(step)
    assert len(windows) == len(steps) and torch.equal(windows.rows[:, :-1], steps.rows)
    assert torch.equal(windows.rows[: len(windows), -1], torch.full((len(windows),), GAMMA))


def test_open_windows_are_saved_and_those_of_an_environment_that_restarted_are_dropped() -> None:
    env = Environment("Scripted-v0", num_envs=2).make(seed=0)
    one = NStep(4, GAMMA, 2, 2, 1)
    for _ in range(15):
        one.push(env.step(np.zeros((2, 1), np.float32)))
    assert np.count_nonzero(one._count) == 2, "both environments stand in mid-episode"
    buffer = io.BytesIO()
    torch.save(one.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    same, moved = NStep(4, GAMMA, 2, 2, 1), NStep(4, GAMMA, 2, 2, 1)
    same.load_state_dict(state, env.obs)
    moved.load_state_dict(state, env.obs + np.array([[0.0], [1.0]], np.float32))
    assert list(moved._count > 0) == [True, False]
    for _ in range(6):
        step = env.step(np.zeros((2, 1), np.float32))
        for a, b in zip(one.push(step), same.push(step), strict=True):
            assert np.array_equal(a, b)
    with pytest.raises(ValueError, match=r"^n_step = 3: the saved run has 4; resume with that"):
        NStep(3, GAMMA, 2, 2, 1).load_state_dict(state, env.obs)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_steps_count_and_buy_updates_as_ever_and_the_run_goes_on_bit_for_bit(num_envs: int) -> None:
    env = Environment("Modest-v0", num_envs=num_envs)
    task = trainer(env, n_step=4)
    while task.steps_done < 40:
        task.advance()
        assert task.critic.steps == max(task.steps_done - task.learning_starts, 0)
        assert 0 <= task.envs.steps - len(task.replay) <= 3 * num_envs
    assert task.learning_starts == max(10, 4 + 3 * num_envs) and task.envs.steps == task.steps_done
    again = trainer(env, n_step=4)
    again.load_state_dict(task.state_dict())
    for _ in range(25):
        task.advance()
        again.advance()
    assert torch.equal(vectors(again), vectors(task)) and torch.equal(again.replay.rows, task.replay.rows)


def test_impossible_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^n_step = 0: must be at least 1, for example 3"):
        trainer(n_step=0)
