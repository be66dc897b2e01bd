"""The callbacks of a run at work: each call guarded, what fails named in a line, and what ends the run asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlgan.runs.record.payload import storable
from rlgan.task.errors import ConfigError, InputError
from rlgan.task.hooks.callback import Callback, Ending, How
from rlgan.task.hooks.measures import failure, undisturbed
from rlgan.task.task import Task


class Callbacks:
    """Calls a run's callbacks, in the order in which they are listed.

    Args:
        named: the callbacks by name.
        task: what is trained.
        path: the run's directory.

    Attributes:
        troubles: what failed at the end, where it is no reason to stop, a sentence each.
    """

    def __init__(self, named: Mapping[str, Callback], task: Task, path: Path) -> None:
        self._named, self._task = dict(named), task
        self.troubles: list[str] = []
        self.move(path)
        self._stepping = {name: own for name, own in named.items() if type(own).on_step is not Callback.on_step}

    def move(self, path: Path) -> None:
        """Go on in the directory's new place."""
        for callback in self._named.values():
            callback.task, callback.path = self._task, path

    @property
    def ending(self) -> Ending | None:
        """What asks for the run's end, with the callback's key before its reason; the first of several."""
        for name, callback in self._named.items():
            if callback.ending is not None:
                return callback.ending._replace(reason=f"callbacks.{name}: {callback.ending.reason}")
        return None

    @property
    def finishing(self) -> bool:
        """Whether the run is to be measured and closed as a finished one."""
        return (ending := self.ending) is not None and ending.finished

    def step(self, step: int) -> None:
        """`on_step` of those that have it; no generator is looked after."""
        for name, callback in self._stepping.items():
            try:
                callback.on_step(step)
            except Exception as error:
                raise self._failed(name, callback, "on_step", error) from error

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method of every callback that has one of its own.

        Raises:
            InputError: one failed; the task's steps are whole.
        """
        for name, callback in self._named.items():
            if getattr(type(callback), method) is not getattr(Callback, method):
                try:
                    with undisturbed(self._task):
                        # Each has dicts of its own: what it writes into them is not what the run goes by.
                        own = (dict(value) if isinstance(value, Mapping) else value for value in arguments)
                        getattr(callback, method)(*own)
                except Exception as error:
                    # Before the first step there is nothing to save.
                    raise self._failed(name, callback, method, error, intact=method != "on_start") from error

    def end(self, step: int, how: How, values: Mapping[str, float]) -> None:
        """`on_end` of all; what fails there becomes one of `troubles`."""
        for name, callback in self._named.items():
            try:
                with undisturbed(self._task):
                    callback.on_end(step, how, dict(values))
            except Exception as error:
                self.troubles.append(str(self._failed(name, callback, "on_end", error)))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of them, by name.

        Raises:
            InputError: one fails, or gives what a checkpoint does not hold.
        """
        found: dict[str, Any] = {}
        for name, callback in self._named.items():
            try:
                found[name] = storable(callback.state_dict(), "the state")
            except Exception as error:
                raise self._failed(name, callback, "state_dict", error, intact=False) from error
        return found

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restore what a checkpoint kept; one that it does not know begins anew.

        Raises:
            InputError: one fails.
        """
        for name, callback in self._named.items():
            if name in saved:
                try:
                    callback.load_state_dict(saved[name])
                except Exception as error:
                    raise self._failed(name, callback, "load_state_dict", error, intact=False) from error

    @staticmethod
    def _failed(
        name: str, callback: Callback, method: str, error: Exception, intact: bool = True
    ) -> InputError | ConfigError:
        text = " ".join(str(error).split())
        if isinstance(error, ValueError) and text.split(" = ")[0].isidentifier() and " = " in text:
            return InputError(f"callbacks.{name}.{text}", intact)
        return InputError(f"callbacks.{name}: {failure(type(callback), error, method)}", intact)
