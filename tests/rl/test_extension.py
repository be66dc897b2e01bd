"""The agent of one's own in rlgan/rl/README.md: its very text, installed as a package, trains and resumes."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.agents.td3 import TD3
from rlgan.rl.trainer import Trainer
from tests.small import TASKS, build, metrics, rlgan

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "rlgan/rl/README.md").read_text()
SECTION = re.search(r"^## An agent of your own\n(.*)", PAGE, re.M | re.S)
SMALL = (*TASKS["ddpg"], "steps=300", "learning_starts=100", "log_every=100")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has installed the package that the page shows: its blocks, each named in its first line."""
    assert SECTION is not None
    folder = tmp_path_factory.mktemp("package")
    files = re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", SECTION[1], re.M | re.S)
    assert [name for name, _ in files] == [
        "pyproject.toml", "noisy_target/__init__.py", "noisy_target/conf/agent/noisy_target.yaml"
    ]  # fmt: skip
    for name, text in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    target = folder / "site"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", "-q", *options, "--target", str(target), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def test_the_agent_of_the_page_trains_resumes_and_is_evaluated(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r"^rlgan (.*)$", SECTION[1] if SECTION else "", re.M)
    assert shown is not None and "agent=noisy_target" in shown[1]
    run = site.parent / "run"
    line = [sys.executable, str(ROOT / "scripts/train.py"), *SMALL, *shown[1].split(), f"run_dir={run}"]
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(line, cwd=site.parent, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, learned, last = metrics(run)
    assert learned["step"] == last["step"] == 300 and np.isfinite(last["return/eval"]) and "critic/q" in learned
    config = (run / "config.yaml").read_text()
    assert "_target_: noisy_target.NoisyTarget" in config and "sigma: 0.3" in config
    # The other commands in this process, where the package is now installed too.
    monkeypatch.syspath_prepend(str(site))
    assert "noisy_target" in rlgan("--help").out
    ended = rlgan(f"resume={run}", "steps=350")
    assert ended.code == 0 and metrics(run)[-1]["step"] == 350, ended.err
    ended = rlgan("evaluate", str(run), "checkpoint=last")
    assert ended.code == 0 and "return/eval" in ended.out, ended.err


def test_its_losses_and_its_actions_are_what_it_says(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    NoisyTarget = importlib.import_module("noisy_target").NoisyTarget
    agent = NoisyTarget(sigma=0.0)
    actor, obs = nn.Linear(3, 2), 10 * torch.randn(50, 3)
    assert torch.equal(agent.policy(actor)(obs), actor(obs).clamp(-0.9, 0.9))
    assert agent.policy(actor)(obs).abs().max() == 0.9
    # At sigma 0 it is DDPG, and at another sigma it is not.
    made = build(*SMALL, "steps=200")
    assert isinstance(made, Trainer)
    nets, batch = made.update.eager.nets(()), made.replay
    while made.steps_done < 150:
        made.advance()
    rows = batch.sample(40, torch.Generator().manual_seed(0))._replace(noise=torch.randn(40, 1))
    ours = DDPG(agent.discount).critic_loss(nets, rows)[0]
    assert torch.equal(agent.critic_loss(nets, rows)[0], ours)
    assert not torch.allclose(NoisyTarget(sigma=0.5).critic_loss(nets, rows)[0], ours, rtol=1e-5)
    made.close()


def test_an_agent_that_acts_as_its_actor_does_adds_no_layer() -> None:
    actor = nn.Linear(3, 2)
    assert DDPG().policy(actor) is actor and TD3().policy(actor) is actor


@dataclass(frozen=True)
class Still(DDPG):
    """Never does anything, whatever its actor says; keeps what it was asked."""

    asked: ClassVar[list[torch.Size]] = []

    def act(self, actor: object, obs: torch.Tensor) -> torch.Tensor:
        self.asked.append(obs.shape)
        return torch.zeros(len(obs), 1, dtype=obs.dtype)


def test_what_an_agent_does_is_what_is_done_in_training_and_in_evaluation() -> None:
    made = build(*SMALL, "exploration=none", f"agent._target_={__name__}.Still", "eval_episodes=2")
    assert isinstance(made, Trainer)
    Still.asked.clear()  # at the start it was tried
    while made.steps_done < 140:
        made.advance()
    actions = made.replay.split(made.replay.rows[:140]).action
    assert actions[:100].abs().min() > 0 and not actions[100:].any()
    before = len(Still.asked)
    made.evaluate()
    assert Still.asked[before:] == [torch.Size((2, 3))] * 201
    assert set(Still.asked[:before]) == {torch.Size((1, 3)), torch.Size((32, 3))}  # steps, and looks at a minibatch
    made.close()
