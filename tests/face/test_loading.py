"""`rlgan.load`: what was learnt, called with numpy arrays; the record; what is refused; what it leaves alone."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import rlgan
from rlgan.face.calls import Call
from rlgan.rl.border.functions import _flat
from rlgan.runs.share.start import restored
from rlgan.task.errors import CheckpointError, ConfigError, RunError
from rlgan.task.hooks.function import Function
from tests.face.runs import small_run
from tests.runs.conftest import OUTSIDE
from tests.small import summary


def test_the_package_is_light_until_it_is_used() -> None:
    said = (
        "import sys, rlgan; print('torch' in sys.modules, 'numpy' in sys.modules, {'load','train'} <= set(dir(rlgan)))"
    )
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False", "True"]
    with pytest.raises(AttributeError, match="has no lode; it has export, load, train"):
        _ = rlgan.lode


def test_a_policy_reaches_the_evaluations_return_in_plain_gymnasium() -> None:
    path = small_run("ddpg")
    run = rlgan.load(path)
    first: Any = restored(path).task
    env = gymnasium.make("Pendulum-v1", max_episode_steps=20)
    returns = []
    for episode in range(2):
        obs, _ = env.reset(seed=first.evaluation_seed + episode)
        total, done = 0.0, False
        while not done:
            action = run.policy(obs)
            assert env.action_space.contains(action)
            obs, reward, terminated, truncated, _ = env.step(action)
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    first.close()
    assert np.mean(returns) == pytest.approx(summary(path)["return/eval"], abs=1e-4)
    assert run.evaluate(episodes=2)["return/eval"] == pytest.approx(np.mean(returns), abs=1e-4)


def test_one_row_gives_one_row_and_many_give_many() -> None:
    run = rlgan.load(small_run("ddpg"))
    many = np.random.default_rng(0).normal(size=(5, 3))
    actions = run.policy(many)
    assert actions.shape == (5, 1) and actions.dtype == np.float32
    assert np.allclose(run.policy(many[2]), actions[2], atol=1e-6) and run.policy(many[2]).shape == (1,)
    assert np.allclose(run.policy(many.tolist()), actions) and np.allclose(run.policy(torch.tensor(many)), actions)
    q = run.critic(many, actions)
    assert q.shape == (5,) and np.allclose(run.critic(many[1], actions[1]), q[1], atol=1e-5)
    assert repr(run.policy) == "<policy(obs (3,)): the action (1,) for an observation (3,)>"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((np.zeros(4),), r"policy: obs is of shape \(4,\); it has to be \(3,\), or \(n, 3\) for n of them"),
        ((np.zeros((2, 2, 3)),), r"is of shape \(2, 2, 3\)"),
        ((np.zeros((0, 3)),), "has no rows"),
        ((["a", "b", "c"],), "of <U1; it has to be"),
        (([[1, 2, 3], [1]],), "is no array"),
        ((np.zeros(3), np.zeros(1)), r"policy: takes obs \(3,\), and was given 2 inputs"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rlgan.load(small_run("ddpg")).policy(*given)


def test_rows_of_different_number_are_refused() -> None:
    with pytest.raises(ConfigError, match="5 of obs, 4 of action"):
        rlgan.load(small_run("ddpg")).critic(np.zeros((5, 3)), np.zeros((4, 1)))


def test_a_generator_samples_and_says_what_it_lacks() -> None:
    run = rlgan.load(small_run("wgan"), "last")
    samples = run.sample(6, seed=3)
    assert samples.shape == (6, 2) and np.array_equal(samples, run.sample(6, seed=3))
    assert not np.array_equal(samples, run.sample(6, seed=4))
    z = np.zeros(run.generator.inputs["z"])
    assert run.generator(z).shape == (2,) and run.critic(samples).shape == (6,)
    with pytest.raises(AttributeError, match=r"has no policy; what it has learnt is called by generator, critic"):
        _ = run.policy
    with pytest.raises(ConfigError, match="n = 0: must be a whole number of at least 1"):
        run.sample(0)


def test_a_model_gives_its_scores() -> None:
    run = rlgan.load(small_run("erm"))
    x = np.zeros((3, *run.model.inputs["x"]))
    assert run.model(x).shape == (3, 10)
    with pytest.raises(ConfigError, match="generator"):
        run.sample(3)


def test_a_checkpoint_is_chosen_by_name_or_step() -> None:
    path = small_run("wgan")
    last, early = rlgan.load(path, "last"), rlgan.load(path, 2)
    assert (last.step, early.step) == (4, 2) and last.at(2).step == 2
    assert not np.array_equal(last.sample(3), early.sample(3))
    with pytest.raises(CheckpointError, match="checkpoint = 3: there is none"):
        rlgan.load(path, 3)


def test_the_record_of_a_run() -> None:
    path = small_run("ddpg")
    run = rlgan.load(path)
    assert run.config["env"]["id"] == "Pendulum-v1" and run.seeds == [1] and run.seed(1) is run
    assert run.summary == json.loads((path / "summary.json").read_text())
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    steps, values = run.metrics()["exploration/sigma"]
    wanted = [(row["step"], row["exploration/sigma"]) for row in rows if "exploration/sigma" in row]
    assert list(zip(steps, values, strict=True)) == wanted
    frame = run.metrics(as_frame=True)
    assert frame.index.name == "step" and frame["return/eval"].dropna().iloc[-1] == run.summary["return/eval"]
    assert f"DDPG on Pendulum-v1, step 70 (best), return/eval {run.summary['return/eval']:.4g}" in repr(run)


def test_a_notebook_shows_numbers_and_pictures(tmp_path: Path) -> None:
    run = rlgan.load(small_run("wgan"))
    (run.path / "pictures").mkdir(exist_ok=True)
    picture = run.path / "pictures" / "a_<b>.png"
    picture.write_bytes(b"png")
    shown = run._repr_html_()
    picture.unlink()
    assert "data:image/png;base64,cG5n" in shown and "a_&lt;b&gt;" in shown and "<b>" not in shown
    assert "wasserstein/primal" in shown and "optim/" not in shown


def test_seeds_are_taken_one_by_one() -> None:
    many = small_run("erm", "seeds=[3,5]")
    run = rlgan.load(many)
    assert run.seeds == [3, 5] and run.seed(5).config["seed"] == 5
    assert rlgan.load(many, seed=3).seeds == [3]
    steps, values = run.metrics()["risk/train"]
    own = [run.seed(seed).metrics()["risk/train"] for seed in (3, 5)]
    assert values.shape == (2, len(steps)) and np.array_equal(values[1], own[1].values)
    assert list(run.metrics(as_frame=True).index.names) == ["seed", "step"]
    with pytest.raises(AttributeError, match=r"is of several seeds \(3, 5\); take one by run.seed\(3\)"):
        _ = run.model
    with pytest.raises(ConfigError, match=r"seed = 4: .* it has 3, 5"):
        run.seed(4)
    with pytest.raises(ConfigError, match=r"seed = 9: .* is the run of seed 1 alone"):
        rlgan.load(small_run("erm"), seed=9)


def test_what_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere: no such run"):
        rlgan.load("nowhere")
    with pytest.raises(RunError, match="is not a run"):
        rlgan.load(tmp_path)
    with pytest.raises(RunError, match="latest: there is no run"):
        rlgan.load("latest")
    run = small_run("erm")
    with pytest.raises(RunError, match=f"is of the run {run}; name that"):
        rlgan.load(run / "checkpoints" / "step_000000004.pt")
    with pytest.raises(ConfigError, match=r"seed = 9: .* it has 1"):
        rlgan.load(run).seed(9)


def test_classes_of_others_need_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(OUTSIDE))
    monkeypatch.setenv("RLGAN_CONF", str(OUTSIDE / "conf"))
    run = rlgan.train("task=quadratic", steps=20, progress=False, run_dir=str(tmp_path / "own"))
    assert run.evaluate()["step"] == 20  # what one has just trained is one's own
    with pytest.raises(ConfigError, match=r"add trust=\[quadratic\]"):
        rlgan.load(run.path)
    again = rlgan.load(run.path, trust=["quadratic"])
    with pytest.raises(AttributeError, match="what it has learnt is called by nothing"):
        _ = again.policy
    assert "RLGAN_TRUST" not in os.environ


def test_inputs_have_names_and_any_kind_of_number() -> None:
    run = rlgan.load(small_run("ddpg"))
    obs, action = np.array([1.0, 0.0, 0.5]), np.array([0.5])
    assert run.critic(obs, action=action) == run.critic(action=action, obs=obs) == run.critic(obs, action)
    assert np.array_equal(run.policy(torch.tensor(obs, dtype=torch.bfloat16)), run.policy(obs))
    with pytest.raises(ConfigError, match=r"policy: takes obs \(3,\); observation is no input more of it"):
        run.policy(observation=obs)
    with pytest.raises(ConfigError, match="obs is no input more of it"):
        run.policy(obs, obs=obs)


def test_an_observation_of_several_parts_is_read_or_told_apart() -> None:
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Box(-1, 1, (1,))})

    def draw(n: int, stream: torch.Generator) -> dict[str, torch.Tensor]:
        return {"obs": torch.randn(n, 3, generator=stream)}

    call = Call("policy", Function(torch.nn.Identity(), draw, "action", "the same", _flat(space)))
    row = {"a": np.array([0.1, 0.2]), "b": np.array([0.3])}
    assert np.allclose(call(row), [0.1, 0.2, 0.3]) and call(np.zeros((4, 3))).shape == (4, 3)
    for odd in ([row, row], {"a": row["a"]}, 3.0):
        with pytest.raises(ConfigError, match=r"policy: obs is none of its space .*, or rows \(n, 3\) of gymnasium"):
            call(odd)


@pytest.mark.parametrize(
    ("n", "seed", "said"), [(2.5, 0, "n = 2.5"), ("5", 0, "n = 5"), (True, 0, "n = True"), (2, None, "seed = None")]
)
def test_samples_are_counted_by_whole_numbers(n: Any, seed: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"{said}: must be a whole number"):
        rlgan.load(small_run("wgan")).sample(n, seed)


def test_a_run_can_be_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rlgan.load(small_run("wgan"), 2)
    data = pickle.dumps(run)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(data)
    assert again.step == 2 and np.array_equal(again.sample(3), run.sample(3))


def test_the_process_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_run("ddpg")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    threads, before = torch.get_num_threads(), list(sys.path)
    torch.set_num_threads(2)
    run = rlgan.load(path)
    run.policy(np.zeros(3))
    drawn = torch.rand(1), np.random.rand(), random.random()
    assert sys.path == before and torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    assert drawn == (torch.rand(1), np.random.rand(), random.random())
