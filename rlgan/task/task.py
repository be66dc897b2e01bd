"""The interface of a task: it trains step by step, measures itself, draws itself and can be saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from rlgan.task.errors import ConfigError
from rlgan.task.hooks.function import Function
from rlgan.task.hooks.measures import Measures
from rlgan.task.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

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


class Ended(NamedTuple):
    """An episode of training that has ended.

    Args:
        step: of training, after the episode's last step.
        env: index of its environment.
        total: its undiscounted return, in the reward of training.
        length: its steps.
        time: when it ended, in seconds of `time.time()`.
    """

    step: int
    env: int
    total: float
    length: int
    time: float


class Request(NamedTuple):
    """Work that a play asks for: a method of the task, by its name, and what it is called with."""

    work: str
    arguments: tuple[Any, ...] = ()


Play: TypeAlias = Generator[Request, Any, T]
"""What asks for work as it goes, is sent what came of it, or thrown its exception, and returns T."""


def drive(play: Play[T], answer: Callable[[Request], Any] | None) -> T:
    """Run `play` to its end and return its result; `answer` does what it asks for (None if it asks for nothing)."""
    try:
        request = next(play)
        assert answer is not None
        while True:
            try:
                reply = answer(request)
            except Exception as error:
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
        better: of which other tags more ("max") or less ("min") is better, by tag, where that is known.
        headline: a few tags that the progress display shows, of those that are logged.
        explained: what a metric means, in one plain line of at most 60 characters, by tag; in the order in which a
            closing table prints them, the most telling first.
        groups: the headings of that table with the tags, or the beginnings of tags, that stand under each.
        reference: the heading of the column that shows `references()` there.
        title: the word before the progress display; empty shows the class's name.
        family: a word for all tasks whose metrics mean the same, which TensorBoard shows in the same charts; empty is
            the class's name.
        learning_starts: steps that are done before the first update.
        origin: of a run that begins at the weights of another one, which; empty for random ones.
        compiled: the compile mode that `settings.compile` was resolved to; None while it has not been.
        added: metrics and pictures that the configuration adds to the task's own; set by what builds the task.
    """

    best: ClassVar[tuple[str, Literal["min", "max"]]]
    better: ClassVar[Mapping[str, Literal["min", "max"]]] = {}
    headline: ClassVar[tuple[str, ...]] = ()
    explained: ClassVar[Mapping[str, str]] = {}
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    reference: ClassVar[str] = ""
    title: str = ""
    family: ClassVar[str] = ""

    settings: Settings
    steps_done: int = 0
    learning_starts: int = 0
    origin: str = ""
    compiled: bool | None = False
    added: Measures = Measures()

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

    def counts(self) -> dict[str, float]:
        """Count what has been done, beside `steps_done`, under tags `progress/...`; logged with `metrics`."""
        return {}

    def ended_episodes(self) -> list[Ended]:
        """Hand out the episodes of training that have ended since the last call."""
        return []

    def histograms(self) -> Mapping[str, Tensor]:
        """Return what the present state is made of, by tag; for `histograms=true`. Moves no generator of training."""
        return {}

    def references(self) -> dict[str, float]:
        """Say what the metrics of `evaluate` would be of a perfect learner, as far as that is known, by tag."""
        return {}

    def remarks(self) -> list[str]:
        """Say in a sentence each what a closing table of numbers alone would hide, of the last evaluation."""
        return []

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

    def functions(self) -> Mapping[str, Function]:
        """Give what was learnt as others use it: `policy`, `generator`, `critic`, `model`, or names of one's own."""
        return {}

    def weights(self) -> dict[str, Tensor]:
        """Give the tensors that `functions` compute with, by name; see `rlgan.optim.weights`."""
        return {}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Restore `weights()` of a task built from the same configuration, for use and not for training.

        Raises:
            rlgan.optim.weights.Unlike: a tensor is missing or of another shape.
        """
        raise ConfigError(f"the task {type(self).__name__} has no weights(), and none can be loaded; write it")

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on, as dict, list, tuple, tensor, int, float, str, bool and None.

        The loop saves it at once or clones it; tensors may be live. Rows that only become more may be a
        `rlgan.task.ring.Ring`: of these a save writes the new ones.
        """

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()` of a task built from the same configuration."""

    def inputs(self) -> dict[str, str]:
        """Describe what the run reads from outside of it, a line by name, with a fingerprint of its content.

        It is kept with every checkpoint; a run that goes on, or is measured, with other inputs says so.
        """
        return {}

    def laid_out(self, horizon: int, ahead: int = 0) -> dict[str, float]:
        """Tell what goes by the planned length of the run, `ahead` steps from here, were that `horizon`; by its key."""
        return {}

    def notes(self) -> list[str]:
        """List what a user has to know about this run, one sentence each.

        Each is shown once: at the start, or after the log or the evaluation at which it is there for the first time.
        """
        return []

    def close(self) -> None:
        """Release environments and workers."""
        return None


class Stackable(Task):
    """A task whose work is done by its caller, so that the same work of many seeds can be done at once.

    A subclass makes its `learner`, and writes `play` instead of `advance`.

    Attributes:
        learner: the players and their update.
        parts: what else the networks are of no use without, by name, each with `state_dict` and `load_state_dict`.
    """

    learner: TwoPlayers
    parts: Mapping[str, Any] = {}

    @property
    def compiled(self) -> bool | None:  # type: ignore[override]
        return self.learner.compiled

    def weights(self) -> dict[str, Tensor]:
        from rlgan.optim.weights import weights_of

        return weights_of(self.learner.players, self.parts)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        from rlgan.optim.weights import load_weights

        load_weights(weights, self.learner.players, self.parts)

    @abstractmethod
    def play(self) -> Play[None]:
        """Train for one or more steps, asking for `move` or for other methods of the task as it goes.

        Raises:
            Diverged: a quantity is not finite.
        """

    def counts(self) -> dict[str, float]:
        return {f"progress/{name}_updates": player.steps for name, player in self.learner.players.items()}

    def move(self, batches: Sequence[Any], watch: bool) -> Any:
        """Move the players once on these minibatches; the metrics, with what the methods do where it is watched.

        Raises:
            FloatingPointError: a loss or gradient is not finite; nothing was written.
        """
        return (self.learner.move if self.learner.choice.timing else self.learner.update)(batches, watch)

    @classmethod
    def together(cls, tasks: Sequence[Any]) -> Together[Any]:
        """All of `tasks` as one: they are of one configuration but for the seed.

        Raises:
            ValueError: their updates cannot be stacked; names what stands in the way.
        """
        return Together(tasks)

    def unstackable(self) -> str:
        """Say why the updates of several such tasks cannot be made as one; empty if they can."""
        try:
            self.learner.stacked([self.learner])  # not `together`, which would move the whole task
        except ValueError as error:
            return str(error)
        return ""

    def answer(self, request: Request) -> Any:
        """Do what was asked for, for this task alone."""
        return getattr(self, request.work)(*request.arguments)

    def advance(self) -> None:
        drive(self.play(), self.answer)


S = TypeVar("S", bound=Stackable)
Asked: TypeAlias = "Sequence[tuple[Any, ...] | None]"
"""For each task what it calls a method with; None for one that does not call it now."""


class Together(Generic[S]):
    """Several tasks that work side by side: what all of them ask for at a time is done at once.

    Their players share memory, a row each. A subclass has a method for each kind of work that can be done for many at
    once, of the name that it has for one; every other is done for one task after another.

    Args:
        tasks: of one configuration but for the seed.

    Raises:
        ValueError: their updates cannot be stacked; names what stands in the way.
    """

    #: Work that waits until nobody asks for any that stands before it, or for other work.
    order: ClassVar[tuple[str, ...]] = ("move", "evaluate")

    def __init__(self, tasks: Sequence[S]) -> None:
        self.tasks = list(tasks)
        self.stack = type(tasks[0].learner).stacked([task.learner for task in tasks])

    def serve(self, work: str, asked: Asked) -> Sequence[Any]:
        """Do some work for all that ask for it.

        Returns:
            For each of them what came of it, or its exception, not raised.
        """
        together: Callable[[Asked], Sequence[Any]] | None = getattr(self, work, None)
        return self.one_by_one(work, asked) if together is None else together(asked)

    def one_by_one(self, work: str, asked: Asked) -> list[Any]:
        """The same, one task after another."""
        return [
            None if own is None else attempt(getattr(task, work), *own)
            for task, own in zip(self.tasks, asked, strict=True)
        ]

    def move(self, asked: Asked) -> Sequence[Any]:
        """`Stackable.move` of many."""
        if not self.stack.pays:
            moved = self.one_by_one("move", asked)
            if self.tasks[0].compiled:  # it has just been decided
                self.stack.compile()
            return moved
        batches = [None if own is None else own[0] for own in asked]
        watch = [bool(own and own[1]) for own in asked]
        return self.timed(lambda: self.stack(batches, watch), next(own for own in batches if own is not None))

    def timed(self, move: Callable[[], T], batches: Sequence[Any]) -> T:
        """Make a move of all; by the clock while that is wanted."""
        learner = self.tasks[0].learner
        if not learner.choice.timing:
            return move()
        return learner.choice.time(move, learner.update.moves, batches, len(self.tasks))


def attempt(function: Callable[..., T], *arguments: Any) -> T | Exception:
    """What a call returns, or its exception."""
    try:
        return function(*arguments)
    except Exception as error:
        return error
