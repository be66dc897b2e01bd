"""Metrics and pictures of one's own, for any task: what a run's configuration lists under `metrics` and `pictures`."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rlgan.task.errors import ConfigError, InputError

if TYPE_CHECKING:
    from torch import Tensor

    from rlgan.task.task import Picture, Task


class Metric(ABC):
    """A measure of a task, taken at every evaluation. What it draws at random moves no generator of the run.

    Attributes:
        explained: what each number means, in one plain line of at most 60 characters, by its key.
    """

    explained: ClassVar[Mapping[str, str]] = {}

    def check(self, task: Any) -> None:  # noqa: B027 - optional
        """Refuse, before the run, a task that cannot be measured.

        Raises:
            ValueError: what it is for; the metric's key is put before the message.
        """

    @abstractmethod
    def __call__(self, task: Any) -> Mapping[str, float]:
        """Measure the task as it stands. The entry `accuracy` of `metrics.mine` has the tag `mine/accuracy`."""


class Painter(ABC):
    """Draws a task, at every evaluation. What it draws at random moves no generator of the run."""

    def check(self, task: Any) -> None:  # noqa: B027 - optional
        """Refuse, before the run, a task that cannot be drawn; as of `Metric`."""

    @abstractmethod
    def __call__(self, task: Any) -> Picture | Mapping[str, Picture]:
        """A matplotlib figure or a uint8 array (height, width, channels); or several of them by name."""


@contextmanager
def undisturbed(task: Task) -> Iterator[None]:
    """Put all random generators of the process and of the task back after the block."""
    from rlgan.task.seeding import Generators, kept_globals

    own = getattr(task, "generators", None)
    with kept_globals():
        if isinstance(own, Generators):
            with own.kept():
                yield
        else:
            yield


class _Moved(InputError):
    """A measure has changed what it measures."""


def _parameters(task: Any) -> dict[str, Tensor]:
    """A copy of every player's vector, by name; none of a task without players."""
    players = getattr(getattr(task, "learner", None), "players", None)
    if not isinstance(players, Mapping):
        return {}
    vectors = {name: getattr(getattr(player, "vector", None), "theta", None) for name, player in players.items()}
    return {name: theta.detach().clone() for name, theta in vectors.items() if theta is not None}


def _moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> str:
    """Whose parameters are no longer what they were."""
    return ", ".join(name for name, theta in before.items() if name not in after or not theta.equal(after[name]))


def failure(function: Any, error: Exception, method: str = "") -> str:
    """Say in a line what an outsider's function raised, and where: `Name.method: KeyError: 'x' (file.py:12)`."""
    function = getattr(function, "func", function)  # of a functools.partial
    name = getattr(function, "__qualname__", type(function).__name__)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if len(frames) > 1 else ""
    text = " ".join(str(error).split())[:300]
    return f"{name}{'.' * bool(method)}{method}: {type(error).__name__}{': ' * bool(text)}{text}{where}"


def _called(function: Any, task: Task) -> Any:
    """What it says of a task; a function whose settings are given already takes the task by its name."""
    return function(task=task) if isinstance(function, partial) else function(task)


@dataclass
class Measures:
    """The metrics and pictures that a run's configuration adds to those of its task.

    Args:
        metrics: what measures a task, by the name that stands before its tags.
        pictures: what draws it, by the name that stands before its tags.

    Attributes:
        troubles: what could not be measured or drawn and is no reason to stop, a sentence each.
    """

    metrics: Mapping[str, Callable[[Any], Mapping[str, float]]] = field(default_factory=dict)
    pictures: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list, init=False)
    _worked: set[str] = field(default_factory=set, init=False)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Headings of a table, with the beginnings of their tags."""
        return {name: (f"{name}/",) for name in self.metrics}

    @property
    def explained(self) -> dict[str, str]:
        """What the numbers mean, by tag."""
        return {
            f"{name}/{key}": line
            for name, metric in self.metrics.items()
            for key, line in getattr(metric, "explained", {}).items()
        }

    def check(self, task: Task) -> None:
        """Ask every metric and picture whether it is for this task.

        Raises:
            ConfigError: one is not.
        """
        for key, some in (("metrics", self.metrics), ("pictures", self.pictures)):
            for name, own in some.items():
                if isinstance(own, Metric | Painter):
                    try:
                        with undisturbed(task):
                            own.check(task)
                    except ValueError as error:
                        text = " ".join(str(error).split())
                        separator = "." if text.split(" = ")[0].isidentifier() and " = " in text else ": "
                        raise ConfigError(f"{key}.{name}{separator}{text}") from error

    def evaluate(self, task: Task, taken: Mapping[str, float]) -> dict[str, float]:
        """Measure a task by every metric.

        Args:
            task: which one.
            taken: the tags that there are already.

        Raises:
            InputError: a metric fails at its first call, or gives something else than numbers by new tags; one that
                fails later is left out, with a sentence in `troubles`.
        """
        found: dict[str, float] = {}
        for name, metric in self.metrics.items():
            try:
                before = {} if name in self._worked else _parameters(task)
                with undisturbed(task):
                    found |= self._checked(name, metric, _called(metric, task), {**taken, **found})
                if before and (moved := _moved(before, _parameters(task))):
                    what = getattr(getattr(metric, "func", metric), "__qualname__", type(metric).__name__)
                    raise _Moved(f"{what} changed the parameters of {moved}; measure a copy, by copy.deepcopy")
                self._worked.add(name)
            except Exception as error:
                wrong = f"metrics.{name}: {error if isinstance(error, InputError) else failure(metric, error)}"
                if name not in self._worked:
                    raise InputError(wrong, intact=not isinstance(error, _Moved)) from error
                self._say(f"{wrong}; it is left out where it fails")
        return found

    def _say(self, trouble: str) -> None:
        if trouble not in self.troubles:  # a run has thousands of evaluations
            self.troubles.append(trouble)

    def _checked(self, name: str, metric: Any, values: Any, taken: Mapping[str, float]) -> dict[str, float]:
        function = getattr(metric, "func", metric)
        what = getattr(function, "__qualname__", type(function).__name__)
        if not isinstance(values, Mapping):
            raise InputError(f'{what} returned a {type(values).__name__}; return a dict, for example {{"value": 0.5}}')
        found: dict[str, float] = {}
        for key, value in values.items():
            try:
                found[f"{name}/{key}"] = float(value)
            except (TypeError, ValueError, RuntimeError):
                raise InputError(
                    f"{what} returned a {type(value).__name__} as {key}; return a number, for example its mean"
                ) from None
        if clash := next((tag for tag in found if tag in taken), None):
            raise InputError(f"{what} returned {clash}, which the task has already; call the metric another name")
        return found

    def draw(self, task: Task) -> dict[str, Picture]:
        """Draw a task by every function; one that fails is left out, with a sentence in `troubles`."""
        found: dict[str, Picture] = {}
        for name, painter in self.pictures.items():
            try:
                with undisturbed(task):
                    drawn = _called(painter, task)
                if isinstance(drawn, Mapping):
                    found |= {f"{name}/{key}": one for key, one in drawn.items()}
                else:
                    found[f"pictures/{name}"] = drawn
            except Exception as error:
                self._say(f"pictures.{name}: {failure(painter, error)}; it is left out where it fails")
        return found
