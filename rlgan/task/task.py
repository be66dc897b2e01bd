"""The interface of a task: it trains step by step, measures itself, draws itself and can be saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, TypeVar

from rlgan.task.errors import ConfigError
from rlgan.task.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from rlgan.optim.second_order.landscape import Landscape
    from rlgan.optim.two_players import TwoPlayers

Picture: TypeAlias = "Figure | np.ndarray"
T = TypeVar("T")


class Examination(NamedTuple):
    """The result of `Task.examine`: numbers and pictures by tag, and samples by name."""

    metrics: dict[str, float]
    pictures: dict[str, Picture]
    arrays: Mapping[str, NDArray[Any]]


class Video(NamedTuple):
    """A film: at least one frame, each uint8 (height, width, 3), gone through once; and frames per second."""

    frames: Iterator[np.ndarray]
    fps: float


class Request(NamedTuple):
    """An update that a task asks for, with the minibatches of one move; `watch` also measures what the methods do."""

    batches: Sequence[Any]
    watch: bool


Play: TypeAlias = Generator[Request, Any, T]
"""What asks for updates as it goes, is sent the metrics of each, or thrown its FloatingPointError, and returns T."""


StackedUpdate: TypeAlias = Callable[[Sequence[Sequence[Any] | None], Sequence[bool]], Sequence[Any]]
"""`update(batches, watch)`: one move of every task that has minibatches (None for one that stands still); returns for
each task its metrics, or its FloatingPointError, not raised, or None."""


def drive(play: Play[T], update: Callable[[Request], Any] | None) -> T:
    """Run `play` to its end and return its result; `update` answers its requests (None if it makes none)."""
    try:
        request = next(play)
        assert update is not None
        while True:
            try:
                reply = update(request)
            except FloatingPointError as error:
                request = play.throw(error)
            else:
                request = play.send(reply)
    except StopIteration as end:
        returned: T = end.value
        return returned


class Task(ABC):
    """What a run trains: a learner together with its source of data.

    The loop calls `advance` (of a `Stackable` task, `play`) until `steps_done` reaches `settings.steps`, and at the
    intervals of the settings `metrics`, `evaluate` and `pictures`. A task never sees a logger, a run directory or a
    progress bar.

    A subclass is the target of `task._target_`; it takes `settings` and the sections of its configuration by name.

    Attributes:
        settings: the run's settings.
        steps_done: steps so far, in the unit of `settings.steps`; part of the state.
        best: tag and direction by which checkpoints are ranked, for example `("return/eval", "max")`.
        headline: two or three tags that the progress display shows.
        explained: what a metric means, in one plain line of at most 60 characters, by tag; in the order in which a
            closing table prints them, the most telling first.
        groups: the headings of that table with the tags, or the beginnings of tags, that stand under each.
        title: the word before the progress display; empty shows the class's name.
        compiled: the compile mode that `settings.compile` was resolved to.
    """

    best: ClassVar[tuple[str, Literal["min", "max"]]]
    headline: ClassVar[tuple[str, ...]] = ()
    explained: ClassVar[Mapping[str, str]] = {}
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    title: str = ""

    settings: Settings
    steps_done: int = 0
    compiled: bool = False

    @abstractmethod
    def advance(self) -> None:
        """Train for one or more steps.

        Raises:
            Diverged: a quantity is not finite; raised before the step is applied.
        """

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Return training scalars since the last call, under tags `player/quantity`. May synchronise with the device.

        What is not known yet is left out: the loop takes a value that is not finite for divergence. Running sums
        between two calls belong to the state, or a resumed run logs other numbers.
        """

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Return evaluation scalars. Neither uses nor moves any generator of training."""

    def pictures(self) -> dict[str, Picture]:
        """Draw the present state: matplotlib figures or uint8 arrays (height, width, channels), under tags."""
        return {}

    def examine(self, n: int | None = None) -> Examination:
        """Measure the present state in full, for `evaluate RUN`; by default as `evaluate` and `pictures` do.

        Args:
            n: samples (episodes, ...) to draw; None is the task's own number.
        """
        if n is not None:
            raise ConfigError(f"n = {n}: the task {type(self).__name__} draws no samples; leave it out")
        return Examination(self.evaluate(), self.pictures(), {})

    def curvature(self) -> Mapping[str, Landscape]:
        """Measure the loss surface of each player, under their names; for `evaluate RUN curvature=true`.

        On a large batch that is the same at every call. Neither uses nor moves any generator of training.
        """
        return {}

    def videos(self) -> Mapping[str, Video]:
        """Film the present state, under names; for `evaluate RUN video=true`. Moves no generator of training.

        Raises:
            ValueError: there is nothing to be seen; the message begins with `video`.
        """
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on, as dict, list, tuple, tensor, int, float, str, bool and None.

        The loop saves it at once or clones it; tensors may be live.
        """

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()` of a task built from the same configuration."""

    def notes(self) -> list[str]:
        """List what a user has to know about this run, one sentence each; shown once at the start."""
        return []

    def close(self) -> None:
        """Release environments and workers."""
        return None


class Stackable(Task):
    """A task whose updates are made by its caller, so that those of many seeds can be made as one.

    A subclass makes its `learner`, and writes `play` instead of `advance`.

    Attributes:
        learner: the players and their update.
    """

    learner: TwoPlayers

    @property
    def compiled(self) -> bool:  # type: ignore[override]
        return self.learner.compiled

    @abstractmethod
    def play(self) -> Play[None]:
        """Train for one or more steps, asking for every update that they need.

        Raises:
            Diverged: a quantity is not finite.
        """

    @classmethod
    def stacked(cls, tasks: Sequence[Self]) -> StackedUpdate:
        """Make a function that updates all of `tasks` at once: they are of one configuration but for the seed.

        Raises:
            ValueError: their updates cannot be stacked; names what stands in the way.
        """
        return type(tasks[0].learner).stacked([task.learner for task in tasks])

    def answer(self, request: Request) -> Any:
        """Make the requested update of this task alone; returns its metrics.

        Raises:
            FloatingPointError: a loss or gradient is not finite; nothing was written.
        """
        return self.learner.update(request.batches, request.watch)

    def advance(self) -> None:
        drive(self.play(), self.answer)
