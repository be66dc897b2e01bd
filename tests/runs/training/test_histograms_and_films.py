"""`histograms=true` and `video_every=N`: what they show, and that the run is the same with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rlgan.gan import WGAN
from tests.small import ERM, TASKS, build, checkpoint, differences, metrics, train


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in ("rlgan.rl.trainer.Trainer", "rlgan.gan.wgan.WGAN"):
        monkeypatch.setattr(f"{kind}.pictures", lambda self: {})


def events(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run)).Reload()


def test_gradients_are_those_of_autograd_on_the_modules() -> None:
    task = build(*TASKS["wgan"], "compile=false")
    assert isinstance(task, WGAN)
    task.advance()
    batch = task.batch(task.generators)
    found = task.learner.histograms(batch)
    for name, player in task.learner.players.items():
        loss, _ = task.update.eager.losses.of[name](task.update.eager.nets((name,)), batch)
        wanted = torch.autograd.grad(loss, player.vector.parameters)
        mine = [value for tag, value in found.items() if tag.startswith(f"gradients/{name}.")]
        weights = [value for tag, value in found.items() if tag.startswith(f"weights/{name}.")]
        assert len(mine) == len(wanted) > 0
        assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(mine, wanted, strict=True))
        assert torch.equal(torch.cat([value.reshape(-1) for value in weights]), player.vector.theta)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (TASKS["wgan"], {"weights/critic.", "gradients/generator.", "outputs/generated", "outputs/score_real"}),
        (TASKS["ddpg"], {"weights/actor.", "gradients/critic.", "actions/policy", "actions/taken"}),
        (ERM, {"weights/model.", "gradients/model.", "outputs/model"}),
    ],
    ids=["wgan", "ddpg", "erm"],
)
def test_histograms_are_in_tensorboard_and_move_nothing(words: tuple[str, ...], wanted: set[str]) -> None:
    words = (*(word for word in words if word != "logger=[]"), "compile=false")
    plain = train(*words, "run_dir=plain")
    run = train(*words, "histograms=true", "run_dir=run")
    assert metrics(run) == metrics(plain)
    last = metrics(run)[-1]["step"]
    assert differences(checkpoint(run, last)["task"], checkpoint(plain, last)["task"]) == []
    tags = events(run).Tags()["histograms"]
    assert all(any(part in tag for tag in tags) for part in wanted), tags
    assert events(plain).Tags()["histograms"] == []


def test_a_film_of_every_second_evaluation() -> None:
    words = (*(word for word in TASKS["ddpg"] if word not in ("logger=[]", "eval_every=0")), "env.max_episode_steps=3")
    words = (*words, "eval_every=30", "eval_episodes=1", "compile=false")
    plain = train(*words, "run_dir=plain")
    run = train(*words, "video_every=2", "run_dir=run")
    assert metrics(run) == metrics(plain)
    assert sorted(file.name for file in (run / "videos").iterdir()) == [
        "episode_000000060.mp4",
        "episode_000000120.mp4",
    ]
    shown = [tag for tag in events(run).Tags()["images"] if "film/episode" in tag]
    assert len(shown) == 1 and len(events(run).Images(shown[0])) == 2
