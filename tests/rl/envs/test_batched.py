"""Batched environments give the numbers of gymnasium's single ones, to the last bit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeAwareObservation

from rlgan.rl.envs.batched import BatchedEnv, Maths, One
from rlgan.rl.envs.environment import Environment
from tests.rl.envs.test_env_state import go_to, run, through_file

IDS: dict[str, dict[str, Any]] = {
    "Pendulum-v1": {"g": 9.81},
    "MountainCarContinuous-v0": {},
    "rlgan/SparseMountainCar-v0": {},
    "rlgan/SparseCartPoleSwingUp-v0": {},
    "rlgan/SparseDoublePendulum-v0": {},
}


def kind_of(id: str) -> type[BatchedEnv]:
    kind = BatchedEnv.registered(gymnasium.spec(id))
    assert kind is not None
    return kind


def actions(how: str, env: BatchedEnv, time: int, generator: np.random.Generator) -> np.ndarray:
    """`full`: at the bounds, in the direction of the motion, so that the mountain car arrives; or uniform."""
    high = env.one_action.high
    if how == "uniform":
        return generator.uniform(-high, high, (env.num_envs, 1)).astype(np.float32)
    along = env.state[:, 1 if env.width < 4 else 2] >= 0
    return np.where(along[:, None], high, -high)


@pytest.mark.parametrize("how", ["uniform", "full"])
@pytest.mark.parametrize("id", IDS)
def test_episodes_are_those_of_gymnasium_to_the_last_bit(id: str, how: str) -> None:
    """On both sides of `few`, up to which each environment is stepped by floats; with ends at different times."""
    ended = 0
    for seed, (num_envs, steps) in enumerate({1: 2100 if how == "full" else 450, 3: 230, 9: 230, 21: 120}.items()):
        kind, limit = kind_of(id), None if num_envs == 1 else 50
        limits: dict[str, Any] = {} if limit is None else {"max_episode_steps": limit}
        wanted = SyncVectorEnv(
            [lambda: gymnasium.make(id, disable_env_checker=True, **limits, **IDS[id])] * num_envs  # noqa: B023
        )
        found = kind(num_envs, limit or gymnasium.spec(id).max_episode_steps, **IDS[id])
        assert (found.single_action_space, found.single_observation_space) == (
            wanted.single_action_space,
            wanted.single_observation_space,
        )
        generator = np.random.default_rng(seed)
        assert np.array_equal(found.reset(seed=7 * seed)[0], wanted.reset(seed=7 * seed)[0])
        for time in range(steps):
            action = actions(how, found, time, generator)
            pairs = zip(found.step(action)[:4], wanted.step(action)[:4], strict=True)
            for k, (one, other) in enumerate(pairs):
                assert one.dtype == other.dtype and np.array_equal(one, other), (num_envs, time, k)
            ended += int(np.count_nonzero(found.over))
    assert ended > 40


def test_the_mountain_car_arrives_by_full_force_along_its_motion() -> None:
    # Else its goal, its walls and its largest speeds would not be under test above.
    env = kind_of("MountainCarContinuous-v0")(2, 999)
    env.reset(seed=0)
    arrived = 0
    for _ in range(600):
        _, reward, terminated, _, _ = env.step(actions("full", env, 0, np.random.default_rng(0)))
        arrived += int(terminated.sum())
        assert (reward[terminated] == 99.9).all()
    assert arrived >= 4
    env.state[...] = [[-1.19, -0.06, 0.0], [-1.0, 0.0, 0.0]]
    env.step(np.full((2, 1), -1.0, np.float32))
    assert env.state[0].tolist() == [np.float32(-1.2), 0.0, 0.0] and env.state[1, 1] != 0


@pytest.mark.parametrize("id", IDS)
def test_rows_do_not_depend_on_their_number_nor_on_their_neighbours(id: str) -> None:
    kind = kind_of(id)
    many = kind(40, 60)
    many.reset(seed=0)
    apart = [kind(n, 60) for n in (1, 2, 12, 25)]
    first = 0
    for part in apart:
        part.reset(seed=first)
        first += part.num_envs
    generator = np.random.default_rng(1)
    for _ in range(130):
        action = actions("uniform", many, 0, generator)
        pieces = np.split(action, np.cumsum([part.num_envs for part in apart])[:-1])
        steps = [part.step(piece) for part, piece in zip(apart, pieces, strict=True)]
        for k, whole in enumerate(many.step(action)[:4]):
            assert np.array_equal(whole, np.concatenate([step[k] for step in steps]))


@pytest.mark.parametrize("num_envs", [3, 12])
@pytest.mark.parametrize("id", ["Pendulum-v1", "rlgan/SparseMountainCar-v0"])
def test_only_the_rows_of_the_mask_move(id: str, num_envs: int) -> None:
    kind, generator = kind_of(id), np.random.default_rng(0)
    env, alone = kind(num_envs, 8), [kind(1, 8) for _ in range(num_envs)]
    env.reset(seed=5)
    seen = [one.reset(seed=5 + i)[0] for i, one in enumerate(alone)]
    for time in range(60):
        action, mask = actions("uniform", env, time, generator), generator.random(num_envs) < 0.6
        obs, reward, terminated, truncated, _ = env.step(action, mask)
        for i in range(num_envs):
            if mask[i]:
                seen[i], *rest, _ = alone[i].step(action[i : i + 1])
                assert [reward[i], terminated[i], truncated[i]] == [value[0] for value in rest]
            else:
                assert (reward[i], terminated[i], truncated[i]) == (0.0, False, False)
            assert np.array_equal(obs[i], seen[i][0]) and env.over[i] == alone[i].over[0]


def test_what_was_handed_out_stays_as_it_was() -> None:
    env = kind_of("Pendulum-v1")(9, 3)
    handed = [env.reset(seed=0)[0]]
    kept = [handed[0].copy()]
    for _ in range(5):
        for array in env.step(np.ones((9, 1), np.float32))[:4]:
            handed.append(array)
            kept.append(array.copy())
    assert all(np.array_equal(one, other) for one, other in zip(handed, kept, strict=True))


def test_resets_by_seed_by_list_by_mask_and_without_a_seed() -> None:
    env, single = kind_of("Pendulum-v1")(3), gymnasium.make("Pendulum-v1")
    first = env.reset(seed=[4, 9, 2])[0]
    assert np.array_equal(first, [single.reset(seed=seed)[0] for seed in (4, 9, 2)])
    again = env.reset(options={"reset_mask": np.array([False, False, True])})[0]
    assert np.array_equal(again, [*first[:2], single.reset()[0]])
    assert np.array_equal(env.reset(seed=[None, 9, None])[0][1], first[1])
    assert not np.array_equal(kind_of("Pendulum-v1")(1).reset()[0], kind_of("Pendulum-v1")(1).reset()[0])
    with pytest.raises(ValueError, match=r"^options = \{'x_init': 1\}: a batched environment takes none"):
        env.reset(options={"x_init": 1})


@pytest.mark.parametrize("id", IDS)
def test_parts_and_whole_are_one_memory(id: str) -> None:
    kind, generator = kind_of(id), np.random.default_rng(0)
    parts, alone = [[kind(n, 9) for n in (2, 1, 7)] for _ in range(2)]
    for k, (part, other) in enumerate(zip(parts, alone, strict=True)):
        assert np.array_equal(part.reset(seed=k)[0], other.reset(seed=k)[0])
    whole = BatchedEnv.joined(parts)
    assert whole.num_envs == 10 and whole.action_space.shape == (10, 1)
    for time in range(60):
        action = actions("uniform", whole, time, generator)
        pieces = np.split(action, [2, 3])
        wanted = [env.step(piece) for env, piece in zip(alone, pieces, strict=True)]
        if time % 3:
            found: Any = whole.step(action)[:4]
        else:
            found = [
                np.concatenate(column)
                for column in zip(
                    *(part.step(piece)[:4] for part, piece in zip(parts, pieces, strict=True)), strict=True
                )
            ]
        for k in range(4):
            assert np.array_equal(found[k], np.concatenate([step[k] for step in wanted]))
        if time == 20:
            saved = through_file(parts[2].state_dict())
            whole.reset(seed=99)
            for k in (0, 1):
                parts[k].load_state_dict(alone[k].state_dict())
            parts[2].load_state_dict(saved)
        if time == 40:
            for env in (parts[1], alone[1]):
                env.reset(seed=3)


@pytest.mark.parametrize("where", ["middle", "end"])
@pytest.mark.parametrize("id", IDS)
def test_a_restored_environment_goes_on_exactly(id: str, where: str) -> None:
    spec = Environment(id, IDS[id], num_envs=2, max_episode_steps=40)
    env, fresh = spec.make(seed=1), spec.make(seed=9)
    assert isinstance(env.vector, BatchedEnv) and env.notes() == []
    go_to(env, where, torch.Generator().manual_seed(0))
    run(fresh, 5, torch.Generator().manual_seed(4))
    fresh.load_state_dict(through_file(env.state_dict()))
    assert np.array_equal(fresh.obs, env.obs) and fresh.steps == env.steps
    traces = [run(each, 90, torch.Generator().manual_seed(7)) for each in (env, fresh)]
    assert traces[0] == traces[1] and fresh.notes() == []


def test_a_state_that_was_saved_the_other_way_restarts_and_says_so() -> None:
    specs = {kind: Environment(num_envs=2, vectorization=kind) for kind in ("sync", "batched")}
    for then, now in (("sync", "batched"), ("batched", "sync")):
        env, other = specs[then].make(seed=1), specs[now].make(seed=1)
        run(env, 5, torch.Generator().manual_seed(0))
        start = other.obs.copy()
        other.load_state_dict(through_file(env.state_dict()))
        assert other.steps == 10 and not np.array_equal(other.obs, start) and other.valid.all()
        (note,) = other.notes()
        assert note.startswith(
            f"resume will not be bit-exact: the environments were saved with env.vectorization={then},"
        )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"id": "Scripted-v0"}, "Scripted-v0 has no batched environment"),
        ({"wrappers": (TimeAwareObservation,)}, "wrappers are put around single environments"),
        (
            {"id": "MountainCarContinuous-v0", "kwargs": {"goal_velocity": 0.01}},
            "the batched MountainCarContinuous-v0 does not know goal_velocity",
        ),
        ({"kwargs": {"g": 9.0, "max_episode_steps": -1}}, "the batched Pendulum-v1 does not know max_episode_steps"),
    ],
)
def test_where_there_is_no_batched_environment_auto_is_sync_and_batched_refused(arguments: Any, why: str) -> None:
    import tests.rl.scripted  # noqa: F401 - registers it

    env = Environment(**arguments).make(seed=0)
    assert isinstance(env.vector, SyncVectorEnv)
    with pytest.raises(ValueError, match=f"^vectorization = batched: {why}; use auto or sync$"):
        Environment(**arguments, vectorization="batched")


def test_a_single_environment_and_gymnasiums_own_maker() -> None:
    single, many = gymnasium.make("rlgan/SparseCartPoleSwingUp-v0"), Environment("rlgan/SparseCartPoleSwingUp-v0")
    assert isinstance(single.unwrapped, One)
    made: Any = gymnasium.make_vec(
        "rlgan/SparseCartPoleSwingUp-v0", num_envs=3, vectorization_mode="vector_entry_point"
    )
    batched = many.batched(3)
    assert batched is not None and batched.max_episode_steps == 500
    assert type(made.unwrapped) is type(batched) and made.unwrapped.max_episode_steps == 500


def test_the_state_is_small_and_plain() -> None:
    buffer = io.BytesIO()
    torch.save(Environment(num_envs=4).make(0).state_dict(), buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True)["environments"]["batched"]["state"].shape == (4, 2)


class Swap(BatchedEnv):
    """Swaps its two numbers; all that is the same for every state is a plain number."""

    one_observation = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    one_action = spaces.Box(-1.0, 1.0, (1,), np.float32)
    width, few = 2, 2

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        return generator.uniform(size=2).tolist()

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        return (state[1], state[0]), 0.5, False

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        return *state, maths.sin(state[0] / 0.5)


@pytest.mark.parametrize("num_envs", [1, 5])
def test_a_state_may_be_made_of_what_it_was_and_a_reward_of_a_plain_number(num_envs: int) -> None:
    env = Swap(num_envs)
    first = env.reset(seed=0)[0]
    action, mask = np.zeros((num_envs, 1), np.float32), np.ones(num_envs, dtype=np.bool_)
    for seen, reward, terminated, truncated, _ in (env.step(action), env.step(action, mask), env.step(action)):
        assert (
            np.array_equal(seen[:, :2], first[:, 1::-1])
            and (reward == 0.5).all()
            and not (terminated | truncated).any()
        )
        first = seen
    # What is infinite has no sine; the others keep theirs.
    env.state[0] = np.inf
    seen = env.step(action)[0]
    assert np.isnan(seen[0, 2]) and np.isfinite(seen[1:]).all()
