"""What can go wrong with a run, one class per remedy."""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting that cannot be used.

    The message is one line, `path = value: what is wrong; remedy`. The command line prints it without a traceback and
    exits with code 2.
    """


class RunError(RuntimeError):
    """A run directory that cannot be used: taken by another process, missing, or not a run at all. Exit code 2."""


class CheckpointError(RunError):
    """A checkpoint that is damaged, or none where one is needed."""


class Diverged(FloatingPointError):
    """A quantity of training stopped being finite.

    Raise it BEFORE the step is applied, so that the players' vectors are the last finite ones. The message is the
    diagnosis: which quantity, of which player, at which step, and what to try.
    """
