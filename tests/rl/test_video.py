"""An evaluation episode as a film: which frames, what is refused, and the files."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from rlgan.rl.envs.environment import Environment
from rlgan.rl.episodes import evaluate
from rlgan.rl.video import film
from rlgan.runs import evaluate as measuring
from rlgan.runs.evaluate import evaluate_run
from rlgan.runs.record.video import check_installed, show, write
from rlgan.task.errors import ConfigError
from rlgan.task.task import Video
from tests.small import TASKS, rlgan, train

LENGTH = 6


class Drawn(gymnasium.Env):
    """x' = x + a / 10 from a random x, and a picture that is as bright as x says."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 - as gymnasium has it
    observation_space = spaces.Box(-1.0, 2.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode: str | None = None, broken: bool = False) -> None:
        self.render_mode, self.broken = render_mode, broken
        self.x, self.time = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.time = float(self.np_random.uniform(0.0, 0.3)), 0
        return np.array([self.x], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.x, self.time = self.x + float(action[0]) / 10, self.time + 1
        return np.array([self.x], np.float32), self.x, False, self.time == LENGTH, {}

    def render(self) -> Any:
        if self.broken:
            raise OSError("no display")
        return np.full((34, 50, 3), round(255 * self.x), np.uint8)


gymnasium.register("Drawn-v0", lambda **kwargs: Drawn(**kwargs))


class Steady(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([0.5]))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.a.expand(len(obs), 1)


def test_the_film_is_the_evaluations_first_episode_without_noise() -> None:
    environment = Environment("Drawn-v0")
    video = film(Steady(), environment, seed=7)
    frames = list(video.frames)
    assert video.fps == 25 and [frame.shape for frame in frames] == [(34, 50, 3)] * (LENGTH + 1)
    start = float(gymnasium.make("Drawn-v0").reset(seed=7)[0][0])
    assert [int(frame[0, 0, 0]) for frame in frames] == [round(255 * (start + 0.05 * t)) for t in range(LENGTH + 1)]
    found = evaluate(Steady(), environment, 1, seed=7)
    assert found.returns[0] == pytest.approx(sum(start + 0.05 * t for t in range(1, LENGTH + 1)))
    assert len(list(film(Steady(), environment, seed=7, max_steps=2).frames)) == 3


def test_what_cannot_be_drawn_is_refused_by_name() -> None:
    import tests.rl.scripted  # noqa: F401 - registers it

    with pytest.raises(ValueError, match=r"^video = true: Scripted-v0 draws no pictures \(its render modes are none\)"):
        film(Steady(), Environment("Scripted-v0"))
    message = r"^video = true: Drawn-v0 cannot be drawn here \(OSError: no display\); .*MUJOCO_GL=egl"
    with pytest.raises(ValueError, match=message):
        film(Steady(), Environment("Drawn-v0", {"broken": True}))


def test_without_the_extra_nothing_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(
        ConfigError, match=r'^video = true: not installed: .*imageio_ffmpeg; pip install "rlgan\[video\]"'
    ):
        evaluate_run(tmp_path / "nowhere", video=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "run"
    return train(*TASKS["ddpg"], "env.id=Drawn-v0", "steps=80", f"run_dir={path}")


def test_episodes_and_video_on_the_command_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is left to the next tests, which want the extra."""
    written: list[list[np.ndarray]] = []

    def keep(video: Video, path: Path) -> bytes:
        written.append(list(video.frames))
        assert path == run / "evaluation/episode.mp4"
        return gif()

    monkeypatch.setattr(measuring, "check_installed", lambda: None)
    monkeypatch.setattr(measuring, "write", keep)
    ended = rlgan("evaluate", str(run), "checkpoint=last", "episodes=5", "video=true")
    assert ended.code == 0 and len(written[0]) == LENGTH + 1, ended.err
    assert json.loads((run / "evaluation.json").read_text())["changes"] == {"eval_episodes": 5}
    assert rlgan("evaluate", str(run), "checkpoint=last", "video=false").code == 0 and len(written) == 1
    for word, message in (
        ("episodes=none", "episodes = none: must be a number of episodes, for example episodes=20"),
        ("video=7", "video = 7: is a switch; use true or false"),
        ("vidoe=true", "vidoe = true: there is no such key; did you mean video?"),
    ):
        ended = rlgan("evaluate", str(run), word)
        assert ended.code == 2 and message in ended.err


def test_a_task_without_episodes_or_films_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = train(*TASKS["wgan"], f"run_dir={tmp_path / 'gan'}")
    ended = rlgan("evaluate", str(path), "episodes=5")
    assert ended.code == 2 and "episodes = 5: this run plays no episodes; leave it out" in ended.err
    monkeypatch.setattr(measuring, "check_installed", lambda: None)
    ended = rlgan("evaluate", str(path), "checkpoint=last", "video=true")
    assert ended.code == 2 and "video = true: the task WGAN shows no films; leave it out" in ended.err


def gif() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    pictures = [Image.new("RGB", (50, 34), (60 * i, 0, 0)) for i in range(3)]
    pictures[0].save(stream, format="gif", save_all=True, append_images=pictures[1:])
    return stream.getvalue()


def test_tensorboard_shows_the_latest_film_alone(tmp_path: Path) -> None:
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for step in (20, 40):
        show(tmp_path, "evaluation/episode", gif(), step)
    events = EventAccumulator(str(tmp_path)).Reload()
    (image,) = events.Images("evaluation/episode")
    shown = Image.open(io.BytesIO(image.encoded_image_string))
    assert image.step == 40 and (image.width, image.height) == (50, 34) == shown.size
    assert getattr(shown, "n_frames") == 3  # noqa: B009 - of animated formats alone


def frames(count: int) -> Iterator[np.ndarray]:
    for i in range(count):
        yield np.full((34, 50, 3), i % 250, np.uint8)


@pytest.mark.parametrize("count", [5, 300])
def test_the_file_has_every_frame_in_its_size(count: int, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="needs rlgan[video]")
    import imageio.v2 as imageio
    from PIL import Image

    check_installed()
    stills = Image.open(io.BytesIO(write(Video(frames(count), 25.0), tmp_path / "x.mp4")))
    assert [item.name for item in tmp_path.iterdir()] == ["x.mp4"]
    reader: Any = imageio.get_reader(tmp_path / "x.mp4")
    assert reader.get_meta_data()["size"] == (50, 34) and reader.get_meta_data()["fps"] == 25
    levels = [float(np.asarray(frame).mean()) for frame in reader]
    assert len(levels) == count and np.abs(np.array(levels) - np.arange(count) % 250).max() < 4
    stride = 1 if count == 5 else 4
    assert getattr(stills, "n_frames") == len(range(0, count, stride))  # noqa: B009
    assert stills.info["duration"] == 40 * stride and stills.size == (50, 34)
