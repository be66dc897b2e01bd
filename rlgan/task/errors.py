"""Errors of a run: a wrong setting, a wrong directory, a damaged checkpoint, divergence."""


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
