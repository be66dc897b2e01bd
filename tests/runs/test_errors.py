"""What cannot be trained is refused in one line that names key, value and remedy, before anything is made."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.small import TASKS, rlgan, status, train


class Unbounded(gymnasium.Env):
    """An environment that takes every action, and is never stepped."""

    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)


if "Unbounded-v0" not in gymnasium.registry:
    gymnasium.register("Unbounded-v0", entry_point=Unbounded)  # type: ignore[arg-type]

POSITIVE = "the learning rate must be positive, for example 1e-3"

#: Overrides, and the line they give.
MISTAKES: dict[tuple[str, ...], str] = {
    # impossible values
    ("wgan", "critic.optimizer.lr=-1"): f"critic.optimizer.lr = -1.0: {POSITIVE}",
    ("ddpg", "actor.optimizer.lr=0"): f"actor.optimizer.lr = 0.0: {POSITIVE}",
    ("ddpg", "critic.averaging.tau=1.5"): "critic.averaging.tau = 1.5: the weight of the new point lies in (0, 1]",
    ("ddpg", "critic.optimizer.beta2=1"): "critic.optimizer.beta2 = 1.0: the weight of the old mean lies in [0, 1)",
    ("ddpg", "callbacks=[{_target_: a.B}]"): "callbacks = [{_target_: a.B}]: {'_target_': 'a.B'} names no ",
    ("wgan", "metrics=[nan]"): "metrics = [nan]: nan names no option of metrics; list names, for example metrics=[",
    ("ddpg", "agent.discount=1.1"): "agent.discount = 1.1: gamma lies in [0, 1], for example 0.99",
    ("ddpg", "game.k=0"): "game.k = 0: the critic's updates per update of the other player, at least 1",
    ("ddpg", "exploration.sigma=-0.1"): "exploration.sigma = -0.1: must be positive, for example 0.1; for no noise",
    ("ddpg", "batch_size=0"): "batch_size = 0: must be at least 1, for example 128",
    ("ddpg", "batch_size=64", "capacity=50"): "batch_size = 64: larger than the replay (capacity 50); make it smaller",
    ("ddpg", "updates_per_step=0"): "updates_per_step = 0.0: must be positive, for example 1.0",
    ("ddpg", "learning_starts=-5"): "learning_starts = -5: must be at least 0, for example 1000",
    ("ddpg", "env.num_envs=0"): "env.num_envs = 0: must be at least 1",
    ("wgan", "latent_dim=0"): "latent_dim = 0: must be at least 1, for example 2",
    ("wgan", "lipschitz=clip", "lipschitz.radius=0"): "lipschitz.radius = 0.0: ",
    ("wgan", "data.sigma=-1"): "data.sigma = -1.0: must be positive, for example 0.02",
    ("wgan", "steps=0"): "steps = 0: must be at least 1, for example steps=1",
    ("wgan", "critic.network.hidden=[0]"): "critic.network.hidden = ",
    # environments that a deterministic policy cannot act in
    ("ddpg", "env.id=CartPole-v1"): "env.id = CartPole-v1: has Discrete actions; deterministic policies need a Box",
    ("ddpg", "env.id=Unbounded-v0"): "env.id = Unbounded-v0: has infinite action bounds (low [-inf], high [inf]); wrap",
    ("ddpg", "env.id=Pendulum-v2"): "env.id = Pendulum-v2: unknown environment; did you mean Pendulum-v1?",
    ("ddpg", "env.kwargs.gravity=9"): "env.kwargs = {'gravity': 9}: Pendulum-v1 refuses them (",
    # what does not go together
    ("wgan", "lipschitz=clip", "projection@critic.projection=box"): "critic.projection = Box(radius=",
    (
        "wgan",
        "lipschitz=gradient_penalty",
        "critic.network.norm=batch",
    ): "critic.network.norm = batch: batch norm makes",
    # misspelt keys, options and groups
    ("ddpg", "critic.optimizer.lrr=1"): "critic.optimizer.lrr = 1: adam has no such key; did you mean lr?",
    (
        "ddpg",
        "critic.optimiser.lr=1",
    ): "critic.optimiser.lr = 1: PlayerSpec has no such key; did you mean critic.optimizer",
    ("ddpg", "batchsize=1"): "batchsize = 1: there is no such key; did you mean batch_size?",
    ("ddpg", "agent=ddgp"): "agent = ddgp: agent has no such option; did you mean agent=ddpg?",
    ("wgan", "lipschitz=clp"): "lipschitz = clp: lipschitz has no such option; did you mean lipschitz=clip?",
    (
        "wgan",
        "optimizer@critic.optimizer=adm",
    ): "optimizer@critic.optimizer = adm: optimizer has no such option; did you",
    ("wgan", "optimizer=adam"): "optimizer = adam: optimizer is mounted once per player; did you mean optimizer@",
    ("ddpg", "data=ring"): "data = ring: task ddpg has no group data, task wgan has; did you mean task=wgan data=ring?",
    (
        "wgan",
        "exploration=gaussian",
    ): "exploration = gaussian: task wgan has no group exploration, task ddpg has; did you",
    # wrong types
    ("wgan", "critic.optimizer.lr=fast"): "critic.optimizer.lr = fast: must be a number; its default is ",
    ("wgan", "critic.optimizer=adam"): "critic.optimizer = adam: ",
    ("ddpg", "batch_size=2.5"): "batch_size = 2.5: must be a whole number; its default is 128",
    ("ddpg", "env.vectorization=asinc"): "env.vectorization = asinc: must be auto, sync, async or batched; did you",
    ("wgan", "critic.network.hidden=64"): "critic.network.hidden = 64: must be a list, for example [1, 2]",
    ("wgan", "precision=float16"): "precision = float16: must be auto, float32, float64 or bf16; did you mean ",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line_that_names_key_value_and_remedy(
    mistake: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task, *words = mistake
    ended = rlgan(f"task={task}", *words)
    assert ended.code == 2 and ended.out == ""
    assert ended.err.startswith(f"rlgan: {MISTAKES[mistake]}"), ended.err
    assert len(ended.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_batch_larger_than_the_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = rlgan("data=digits", "batch_size=1439")
    assert ended.code == 2 and len(ended.err.splitlines()) == 1 and not list(tmp_path.iterdir())
    assert "batch_size = 1439: larger than the data set (1,438 samples); use at most 1438" in ended.err


#: What a run of DDPG cannot become when it is resumed.
UNFIT = {
    "seed=5": "seed = 5: the checkpoint was made with seed 0; resume with it",
    "capacity=70": "capacity = 70: the saved replay has 1000; resume with that",
    "env.num_envs=3": "num_envs = 3: the saved state holds 1 environments; resume with the same number",
    "precision=float64": "replay rows = ",
    "critic.network.hidden=[8]": "critic = vector of shape ",
    "critic.optimizer.lr=-1": f"critic.optimizer.lr = -1.0: {POSITIVE}",
    "env=hopper": "env = hopper: is pendulum in this run and cannot change on resume; start a new run",
}


def test_a_resume_that_does_not_fit_is_refused_and_leaves_the_run_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(*TASKS["ddpg"], "steps=70", "run_dir=run")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    for words, message in UNFIT.items():
        ended = rlgan("resume=run", "steps=75", words)
        assert ended.code == 2 and len(ended.err.splitlines()) == 1, ended.err
        assert ended.err.startswith(f"rlgan: {message}"), ended.err
        assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    assert rlgan("resume=run", "steps=75").code == 0
    assert status(run)["step"] == 75


def test_what_a_run_directory_says_may_be_too_large_and_does_not_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(*TASKS["wgan"], "steps=2", "run_dir=run")
    config = (run / "config.yaml").read_text()
    for old, new, says in (
        ("components: 8", f"components: {10**15}", "out of memory ("),
        ("threads: 1", "threads: 1000000", "threads = 1000000: must be between 1 and 1024"),
        ("device: cpu", 'device: "\\e]0;pwn\\a"', "device = \\x1b]0;pwn\\x07: "),
        ("device: cpu", f"device: {'x' * 10**5}", "device = xxx"),
    ):
        (run / "config.yaml").write_text(config.replace(old, new))
        for words in (("evaluate", "run"), ("resume=run", "steps=4")):
            ended = rlgan(*words)
            assert ended.code == 2 and ended.err.startswith(f"rlgan: {says}"), ended.err
            assert len(ended.err.splitlines()) == 1 and len(ended.err) < 5000
