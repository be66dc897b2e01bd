"""What crosses the border of an environment: copied, as declared or named, and apart from the run's randomness."""

from __future__ import annotations

import functools
import random
import signal
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import NormalizeReward, RecordEpisodeStatistics, TransformReward

from rlgan.rl import episodes
from rlgan.rl.border.border import Border, Found, all_layers
from rlgan.rl.border.modes import Modes
from rlgan.rl.envs import batched
from rlgan.rl.envs.environment import UNLIMITED, Environment
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.task.errors import Diverged, InputError
from rlgan.task.seeding import GlobalRandom, kept_globals
from tests.rl.border import strange
from tests.rl.scripted import MODES, in_mode


class Constant(torch.nn.Module):
    """mu(s) = 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(obs), 1)


def line(fault: str = "", **given: Any) -> Environment:
    return Environment("Line-v0", {"fault": fault}, **given)


def rows(env: VectorEnvironment, steps: int = 45) -> list[np.ndarray]:
    """All that came of steps with actions 0.5 (kept until the end), and the environments closed."""
    try:
        found = [env.step(np.full((env.num_envs, 1), 0.5, np.float32)) for _ in range(steps)]
    finally:
        env.close()
    return [np.stack(column) for column in zip(*(step[:-1] for step in found), strict=True)]


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@functools.cache
def plain(mode: str = "next_step") -> list[np.ndarray]:
    """What comes of the environment that has nothing strange."""
    return rows(in_mode(mode)("Line-v0").make(0))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["same array", "keeps the action"])
def test_nothing_is_shared_with_an_environment(fault: str, mode: str) -> None:
    assert same(rows(in_mode(mode)("Line-v0", {"fault": fault}).make(0)), plain(mode))


@pytest.mark.parametrize("fault", ["view", "double", "list", "tensor"])
def test_observations_of_many_kinds_are_what_was_declared(fault: str) -> None:
    assert same(rows(line(fault).make(0)), plain())


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_an_action_that_is_scaled_in_place_is_stored_as_it_was_chosen(vectorization: Any) -> None:
    spec = line("scales the action", num_envs=2, vectorization=vectorization)
    obs, action, _, next_obs, *_ = rows(spec.make(0), 10)
    assert (action == 0.5).all()
    assert np.allclose(next_obs[..., 0] - obs[..., 0], 0.005, atol=1e-6)


def test_dictionaries_that_are_filled_again_are_copied_below_and_above_wrappers() -> None:
    spec = line("parts", wrappers=(functools.partial(gymnasium.wrappers.DelayObservation, delay=3),))
    seen = rows(spec.make(0), 12)[3][:, 0, 0]
    # The delayed observation of step t is that of t - 3.
    assert len(set(seen[3:].tolist())) == 9


@pytest.mark.parametrize(
    "fault",
    ["reward array", "reward scalar", "reward tensor", "reward list", "end array", "end number", "end tensor",
     "info none", "info list", "info ragged", "info lock", "info clash"],
)  # fmt: skip
def test_one_number_is_taken_in_any_container_and_infos_are_not_read(fault: str) -> None:
    assert same(rows(line(fault).make(0)), plain())


def test_an_info_that_is_none_does_not_end_a_wrapper() -> None:
    assert len(rows(line("info none", wrappers=(RecordEpisodeStatistics,)).make(0), 25)[0]) == 25


REFUSED = {
    "old reset": r"gave ndarray of shape \(2,\) .* where a reset gives \(observation, info\); .* \(in its reset\)",
    "old step": r"gave tuple of length 4, where a step gives \(observation, reward, .* \(in its step\)",
    "shape": r"gave an observation of shape \(1, 2\) and dtype float32, where shape \(2,\) and dtype float32 are decl",
    "masked": r"gave an observation with 1 numbers that are masked; .* \(in its reset\)",
    "beyond": r"gave an observation with -?[\d.]+e\+\d+ in it, which is beyond the declared dtype float32; scale it",
    "nothing": r"gave an observation of shape \(\) and dtype object, where shape \(2,\) .* \(in its reset\)",
    "reward none": r"gave a reward that is None, where one number is due \(in its step\)",
    "reward word": r"gave a reward that is '1.0', where one number is due",
    "reward vector": r"gave a reward that is ndarray of shape \(2,\)",
    "reward huge": r"gave a reward beyond every float: 1000",
    "end none": r"gave terminated = None, where one of True and False is due",
    "end word": r"gave terminated = 'False'",
    "end vector": r"gave terminated = ndarray of shape \(2,\)",
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_breaks_the_contract_is_named_before_anything_is_trained(fault: str) -> None:
    with pytest.raises(ValueError, match=rf"^env.id = Line-v0: {REFUSED[fault]}"):
        line(fault).make(0)


def test_an_old_step_below_a_time_limit_and_a_reset_without_a_seed_are_named() -> None:
    with pytest.raises(ValueError, match=r"^env.id = Line-v0: does not give what a step gives \(not enough values"):
        line("old step", max_episode_steps=5).make(0)
    with pytest.raises(ValueError, match=r"^env.id = Unseeded-v0: takes no seed in its reset .*reset\(self, \*, seed="):
        Environment("Unseeded-v0").make(0)


@pytest.mark.parametrize("fault", ["python", "numpy", "torch", "noise", "draws when made"])
def test_global_generators_are_an_environments_own_and_move_nobody_elses(fault: str) -> None:
    before = GlobalRandom.now()
    one = line(fault, num_envs=2).make(3)
    assert [note for note in one.notes() if "global random generators" in note] and len(one.notes()) == 1
    first = rows(one)
    assert not GlobalRandom.now().differs(before)
    random.seed(7)
    np.random.seed(8)
    torch.manual_seed(9)
    assert same(rows(line(fault, num_envs=2).make(3)), first)
    assert same(rows(line(fault, num_envs=2, vectorization="async").make(3)), first)
    assert not same(rows(line(fault, num_envs=2).make(4)), first)
    spec = line(fault)
    scores = [episodes.evaluate(Constant(), spec, 3, seed).returns for seed in (1, 1, 5)]
    assert np.array_equal(scores[0], scores[1]) and not np.array_equal(scores[0], scores[2])
    before.install()


@pytest.mark.parametrize("fault", ["numpy", "noise", "draws when made"])
def test_they_are_saved_and_restored_with_it(fault: str) -> None:
    env, fresh = line(fault, num_envs=2).make(3), line(fault, num_envs=2).make(4)
    for _ in range(27):
        env.step(np.full((2, 1), 0.5, np.float32))
    fresh.load_state_dict(env.state_dict())
    assert "bit-exact" not in " ".join(fresh.notes())
    assert same(rows(env), rows(fresh))


def test_what_is_drawn_late_is_found_too() -> None:
    spec = line()
    border = Border(spec._make_wrapped, Found(), 0, watch="sometimes")
    border.reset(seed=1)
    assert not border._found.draws
    border.unwrapped.fault = "noise"  # type: ignore[attr-defined]
    for _ in range(100):
        border.step(np.zeros(1, np.float32))
    assert border._found.draws


def test_an_environment_that_seeds_itself_anew_at_every_reset_is_said() -> None:
    (note, *_) = line("new generator", max_episode_steps=200).make(0).notes()
    assert "different observations or rewards at a second reset, which is given no seed, with one seed" in note


def test_randomness_that_no_seed_governs_is_said() -> None:
    (note, _) = line("no seed").make(0).notes()
    assert note.startswith("Line-v0 gave different observations or rewards at its reset with one seed and the same act")
    assert line().make(0).notes() == []


def test_a_block_without_a_seed_puts_the_global_generators_back() -> None:
    before = GlobalRandom.now()
    with kept_globals(3):
        drawn = random.random(), np.random.rand(), float(torch.rand(()))
    assert not GlobalRandom.now().differs(before)
    with kept_globals(3):
        assert (random.random(), np.random.rand(), float(torch.rand(()))) == drawn


WRAPPERS: dict[str, Any] = {
    "normalised": NormalizeReward,
    "scaled": functools.partial(TransformReward, func=lambda reward: 0.01 * float(reward) + 1),
    "own": lambda env: Halved(env),
    "skipping": lambda env: Skipping(env),
}


class Halved(gymnasium.Wrapper):
    def step(self, action: Any) -> Any:
        obs, reward, *rest = self.env.step(action)
        return obs, float(reward) / 2, *rest


class Skipping(gymnasium.Wrapper):
    """Two steps for one, whose better reward is shown."""

    def step(self, action: Any) -> Any:
        _, first, *_ = self.env.step(action)
        obs, second, *rest = self.env.step(action)
        return obs, max(float(first), float(second)), *rest


@pytest.mark.parametrize("which", WRAPPERS)
def test_an_evaluation_counts_the_tasks_own_reward(which: str) -> None:
    spec = line(wrappers=(WRAPPERS[which],))
    bare = episodes.evaluate(Constant(), line(), 3, 1)
    found = episodes.evaluate(Constant(), spec, 3, 1)
    assert np.allclose(found.returns, bare.returns, rtol=1e-12) and bare.shaped is None
    assert found.shaped is not None and not np.allclose(found.shaped, found.returns, rtol=0.1)
    assert "return/eval_shaped" in found.metrics() and "return/eval_shaped" not in bare.metrics()
    assert [note for note in found.notes(spec) if note.startswith("env.wrappers change the reward")]


class Running(gymnasium.Wrapper):
    """Observations less a running mean, as people write it: the state is an object's."""

    class Mean:
        def __init__(self) -> None:
            self.sum, self.count = np.zeros(2), 0

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.mean = self.Mean()

    def reset(self, **given: Any) -> Any:
        obs, info = self.env.reset(**given)
        return self._less(obs), info

    def step(self, action: Any) -> Any:
        obs, *rest = self.env.step(action)
        return self._less(obs), *rest

    def _less(self, obs: np.ndarray) -> np.ndarray:
        self.mean.sum = self.mean.sum + obs
        self.mean.count += 1
        return (obs - self.mean.sum / self.mean.count).astype(np.float32)


def test_what_wrappers_have_learnt_is_shown_to_evaluations_and_saved() -> None:
    spec = line(wrappers=(Running,))
    env, fresh = spec.make(0), spec.make(5)
    for _ in range(50):
        env.step(np.full((1, 1), 0.9, np.float32))
    (wrapper,) = (layer for layer in all_layers(env._own()[0]) if isinstance(layer, Running))
    count = wrapper.mean.count
    seen = [next(iter(episodes.play(Constant(), spec, 1, 3, 9, lender))).obs for lender in (None, env)]
    assert torch.equal(seen[0], torch.zeros(1, 2)) and not torch.equal(*seen)
    assert wrapper.mean.count == count  # nothing of the evaluation comes back
    fresh.load_state_dict(env.state_dict())
    assert same(rows(env, 30), rows(fresh, 30))


def test_an_observation_normaliser_of_gymnasiums_is_refused_also_within_another() -> None:
    def both(env: gymnasium.Env) -> gymnasium.Env:
        return gymnasium.wrappers.ClipAction(gymnasium.wrappers.NormalizeObservation(env))

    with pytest.raises(ValueError, match=r"^wrappers\[0\] = .*both: .* use normalise_obs=true"):
        line(wrappers=(both,))


@pytest.mark.parametrize("wild", [False, True])
def test_one_simulator_at_a_time_is_trained_and_lent_to_evaluations(wild: bool) -> None:
    assert strange.Few.opened == 0
    spec = Environment("Few-v0", {"wild": wild})
    env, bare = spec.make(3), line().make(3)
    for _ in range(7):
        env.step(np.zeros((1, 1), np.float32))
        bare.step(np.zeros((1, 1), np.float32))
    found = episodes.evaluate(Constant(), spec, 3, 1, lender=env)
    assert strange.Few.opened == 1 and found.lengths.tolist() == [20] * 3
    assert [note for note in found.notes(spec) if "no more environments than 0 can be open" in note]
    if wild:  # where it stood cannot be saved: it begins anew
        assert env.rows.length[0] == 0 and env.obs[0, 1] == 0
    else:
        assert np.array_equal(found.returns, episodes.evaluate(Constant(), line(), 3, 1).returns)
        assert same(rows(env), rows(bare))
    env.close()
    assert strange.Few.opened == 0


def test_as_many_episodes_at_a_time_as_can_be_open() -> None:
    spec = Environment("Few-v0", {"most": 3})
    env = spec.make(3)
    found = episodes.evaluate(Constant(), spec, 5, 1, lender=env)
    assert np.array_equal(found.returns, episodes.evaluate(Constant(), line(), 5, 1).returns)
    assert spec.found.beside == 2
    env.close()
    with pytest.raises(ValueError, match=r"^env.id = Few-v0: environment 1 cannot be made, .*OSError.*env.num_envs=1"):
        Environment("Few-v0", num_envs=2).make(0)
    strange.Few.opened = 0


def test_an_environment_that_never_ends_is_cut_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlgan.rl.border.look.SECONDS", 600.0)  # however busy the machine is
    spec = line("never")
    (note,) = spec.make(0).notes()
    assert "no episode of random actions ended within 1,100 steps" in note and "env.max_episode_steps=1000" in note
    assert spec.cut == UNLIMITED
    found = episodes.EpisodeStatistics(np.zeros(2), np.array([5, spec.cut]))
    assert [note for note in found.notes(spec) if "cut after 10,000 steps" in note]
    limited = line("never", max_episode_steps=7)
    assert limited.make(0).notes() == [] and limited.cut == 7
    assert episodes.evaluate(Constant(), limited, 2, 0).lengths.tolist() == [7, 7]


def test_a_vector_from_outside_that_gives_its_own_buffers_is_copied() -> None:
    class Buffers(gymnasium.vector.SyncVectorEnv):
        """Rewards and ends in the same arrays every time."""

        def step(self, actions: Any) -> Any:
            obs, *_, info = super().step(actions)
            return obs, self._rewards, self._terminations, self._truncations, info

    class Outside(gymnasium.vector.VectorWrapper):
        pass

    makes = [functools.partial(strange.Line)] * 2
    outside = VectorEnvironment(Outside(Buffers(makes, copy=False)), 3, "mine", "mine")
    kept = [outside.step(np.full((2, 1), 0.5, np.float32)) for _ in range(5)]
    assert len({float(step.reward[0]) for step in kept}) == 5


class Cart(batched.BatchedEnv):
    """A place that actions move; physics by arrays."""

    one_observation = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    one_action = spaces.Box(-1.0, 1.0, (1,), np.float32)
    width = 2

    def start(self, generator: np.random.Generator) -> Any:
        return generator.uniform(-1.0, 1.0, size=2)

    def advance(self, state: Any, action: Any, maths: Any) -> Any:
        place, speed = state
        return (place + 0.1 * maths.double(action[0]), speed), -place * place, abs(place) > 9.0

    def observe(self, state: Any, maths: Any) -> Any:
        return state


class Drawn(Cart):
    """Starts anywhere, by numpy's global generator."""

    def start(self, generator: np.random.Generator) -> Any:
        return np.random.uniform(-1.0, 1.0, size=2)


def test_batched_physics_that_draws_globally_is_stepped_as_single_environments() -> None:
    for name, kind in (("BorderCart-v0", Cart), ("BorderDrawn-v0", Drawn)):
        if name not in gymnasium.registry:
            batched.register(name, kind, max_episode_steps=10)
    assert isinstance(Environment("BorderCart-v0").make(0).vector, batched.BatchedEnv)
    assert same(rows(Environment("BorderDrawn-v0").make(3), 15), rows(Environment("BorderDrawn-v0").make(3), 15))
    with pytest.raises(ValueError, match=r"^vectorization = batched: it draws from global random generators"):
        Environment("BorderDrawn-v0", vectorization="batched")


def test_what_cannot_be_made_is_said_in_a_line_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"^id = Few-v0: cannot be made, it raised OSError: its port is in use, stran"):
        Environment("Few-v0", {"most": 0})


class Box(strange.Line):
    """With actions, or observations, of other bounds; it takes what is in its space."""

    def __init__(self, low: Any, high: Any, dtype: Any = np.float32, double: bool = False) -> None:
        super().__init__()
        self.action_space = spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)
        self.double = double
        if double:
            self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def seen(self) -> Any:
        return np.array([self.place, 1e300 if self.time > 9 else 0.0]) if self.double else super().seen()

    def step(self, action: np.ndarray) -> Any:
        assert self.action_space.contains(action), (action, action.dtype)
        return super().step(action)


if "BorderBox-v0" not in gymnasium.registry:
    gymnasium.register("BorderBox-v0", entry_point=Box)  # type: ignore[arg-type]


@pytest.mark.parametrize(("low", "high"), [([0.1, -0.3], [0.7, 0.3]), ([-3e4, 1.0], [6e4, 1.001]), ([-2, -2], [1, 1])])
def test_actions_are_of_the_dtype_of_their_space(low: list[float], high: list[float]) -> None:
    env = Environment("BorderBox-v0", {"low": low, "high": high, "dtype": np.float16}).make(0)
    for place in np.linspace(-1, 1, 41, dtype=np.float32):
        env.step(np.full((1, 2), place))


def test_actions_in_which_there_is_nothing_to_choose() -> None:
    with pytest.raises(
        ValueError, match=r"^id = BorderBox-v0: has actions of shape \(2,\) and bounds low = high = 0.5"
    ):
        Environment("BorderBox-v0", {"low": [0.5, 1], "high": [0.5, 1]})
    (note,) = Environment("BorderBox-v0", {"low": [0, 0.5, 2], "high": [1, 0.5, 2]}).make(0).notes()
    assert note.startswith("of the 3 components of BorderBox-v0's actions 2 cannot be chosen, as low = high: 1, 2;")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_number_is_no_bound(dtype: Any) -> None:
    most = np.finfo(dtype).max
    with pytest.raises(ValueError, match=r"^id = BorderBox-v0: has action bounds as good as infinite .*TransformA"):
        Environment("BorderBox-v0", {"low": [-most], "high": [most], "dtype": dtype})


def test_what_is_beyond_float32_is_said_with_its_number_and_without_warnings(recwarn: Any) -> None:
    env = Environment("BorderBox-v0", {"low": [-1], "high": [1], "double": True}, vectorization="sync").make(0)
    with pytest.raises(Diverged, match=r"^observation of environment 0 \(BorderBox-v0\) is 1e\+300 in component 1,"):
        rows(env)
    env = line("reward beyond").make(0)
    with pytest.raises(Diverged, match=r"^reward of environment 0 \(Line-v0\) is -1e\+300 in component 0, beyond fl"):
        rows(env)
    env = line("reward beyond").make(0)
    env.largest = float(np.finfo(np.float64).max)  # of a learner of that precision
    assert rows(env)[2].min() == -1e300
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_an_environment_that_would_end_the_process_is_an_error(vectorization: Any, recwarn: Any) -> None:
    env = line("exits", vectorization=vectorization).make(0)
    with pytest.raises(
        InputError, match=r"^environment 0 \(Line-v0\) raised .*: it calls sys.exit\(0\) \(in its step, strange"
    ):
        rows(env)
    assert not [warning for warning in recwarn if "Traceback" in str(warning.message)]
    with pytest.raises(
        ValueError, match=r"^id = Line-v0: cannot be made, it raised .*it calls sys.exit\('no licence'\)"
    ):
        line("exits when made")


def test_modes_of_the_process_are_an_environments_own() -> None:
    before, handler = Modes.now(), signal.getsignal(signal.SIGTERM)
    env = line("modes").make(0)
    assert Modes.now() == before and signal.getsignal(signal.SIGTERM) is handler
    for _ in range(3):
        env.step(np.zeros((1, 1), np.float32))
        assert Modes.now() == before
    env.close()
    assert Modes.now() == before


def test_those_that_a_module_sets_at_its_import_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sets_modes.py").write_text(
        "import gymnasium, torch\n"
        "from tests.rl.border.strange import Line\n"
        "torch.set_default_dtype(torch.float64)\n"
        "class Sets(Line):\n"
        "    def step(self, action):\n"
        "        assert torch.ones(1).dtype == torch.float64\n"
        "        return super().step(action)\n"
        "gymnasium.register('SetsModes-v0', entry_point=Sets)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):  # the second finds it imported
        env = Environment("sets_modes:SetsModes-v0").make(0)
        assert torch.get_default_dtype() == torch.float32
        assert len(rows(env, 3)[0]) == 3


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, text, said in (("one_by_zero", "\n1 / 0", "ZeroDivisionError"), ("leaves", "\nexit(0)", "SystemExit: 0")):
        (tmp_path / f"{name}.py").write_text(text)
        with pytest.raises(ValueError, match=rf"^id = {name}:X-v0: importing {name} raised {said}.*, "):
            Environment(f"{name}:X-v0")


class InPlace(Cart):
    """Which writes into what it is given, as a state of floats allows."""

    def advance(self, state: Any, action: Any, maths: Any) -> Any:
        place, speed = state
        place += 0.1 * maths.double(action[0])
        return (place, speed), -place * place, abs(place) > 9.0

    def observe(self, state: Any, maths: Any) -> Any:
        place, speed = state
        place *= 2.0
        return place, speed


def test_batched_physics_that_writes_into_its_state_gives_the_numbers_of_single_environments() -> None:
    if "BorderInPlace-v0" not in gymnasium.registry:
        batched.register("BorderInPlace-v0", InPlace, max_episode_steps=10)
    whole, single = (Environment("BorderInPlace-v0", num_envs=3, vectorization=v) for v in ("batched", "sync"))
    assert same(rows(whole.make(0)), rows(single.make(0)))
