"""Errors of a run: a wrong setting, a wrong directory, a damaged checkpoint, a broken input, divergence."""


class ConfigError(ValueError):
    """A setting has a value that cannot be used.

    The message is one line, `path = value: what is wrong; remedy`. The command line prints it without a traceback and
    exits with code 2.
    """


class RunError(RuntimeError):
    """A run's directory cannot be used: taken by another process, missing, or no run at all. Exit code 2."""


class CheckpointError(RunError):
    """A checkpoint is damaged, or missing where one is needed."""


class Diverged(FloatingPointError):
    """A loss or another quantity of training is no longer finite.

    Raise it BEFORE the step is applied, so that the players' vectors are the last finite ones. The message is the
    diagnosis: which quantity, of which player, at which step, and what to try.
    """


class InputError(RuntimeError):
    """What a run is given from outside breaks its contract: an environment, a file of data.

    The message is one line that names it, the call or the file, what was expected and what came. The run fails with
    exit code 1, and no traceback is shown.

    Args:
        message: that line.
        intact: the task's state is that of whole steps, so that it can be saved before the run ends.
    """

    def __init__(self, message: str, intact: bool = False) -> None:
        super().__init__(message)
        self.intact = intact
