"""Films of a run under way: `video_every=N` writes RUN/videos/<name>_<step>.mp4 at every N-th evaluation."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from rlgan.runs.record.video import check_installed, write
from rlgan.task.errors import ConfigError
from rlgan.task.hooks.measures import undisturbed
from rlgan.task.settings import Settings
from rlgan.task.task import Task, Video

FOLDER = "videos"


def check_films(task: Task, settings: Settings) -> None:
    """Draw a first frame, where films are wanted, so that what stands in their way is said before the run.

    Raises:
        ConfigError: a package is missing, or the task cannot be filmed.
    """
    if not settings.video_every:
        return
    key = f"video_every = {settings.video_every}"
    check_installed(key)
    try:
        with undisturbed(task):
            films = task.videos()
            for film in films.values():
                next(film.frames)
                _let_go(film)
    except ValueError as error:
        raise ConfigError(str(error).replace("video = true", key)) from error
    if not films:
        raise ConfigError(f"{key}: the task {type(task).__name__} shows no films; leave it out")


def filmed(task: Task, run: Path, step: int) -> Iterator[tuple[str, bytes]]:
    """Film a task into the run's folder `videos`: the name of each film, and a small GIF of it."""
    folder = run / FOLDER
    with undisturbed(task):
        for name, film in task.videos().items():
            folder.mkdir(exist_ok=True)
            yield name, write(film, folder / f"{name}_{step:09d}.mp4")


def _let_go(film: Video) -> None:
    """Close the environment of a film that is not looked at to its end."""
    if isinstance(film.frames, Generator):
        film.frames.close()
