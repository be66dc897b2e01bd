"""The texts of the command line: help pages, errors in one line, and streams whose reader may go away."""

import errno
import os
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import rlgan
from rlgan.runs.commands import usage
from rlgan.runs.options import options
from rlgan.runs.ranks.launch import speaks

OVERVIEW = """\
rlgan {version}: train a Wasserstein GAN, a deterministic policy gradient agent (DDPG, TD3), or a model on a sample.

Usage: {usage}

Eleven commands worth copying:
  rlgan                                                        a WGAN on the ring of 8 Gaussians
  rlgan data=digits                                            real 8x8 scans of digits
  rlgan task=ddpg                                              DDPG on Pendulum-v1
  rlgan task=erm problem=two_moons loss=hinge                  a classifier: empirical risk minimisation
  rlgan experiment=lecture/04_momentum                         a claim of a lecture: its runs, its picture, seen or not
  rlgan lipschitz=gradient_penalty optimizer@critic.optimizer=adam_wgan
  rlgan task=ddpg game=simultaneous steps=20000 name=both
  rlgan task=ddpg seeds=10                                     ten seeds in one process, side by side as one update
  rlgan -m lipschitz=clip,gradient_penalty seed=1,2            every combination, one run each
  rlgan resume=latest steps=20000                              go on with the newest run, or train it longer
  rlgan evaluate latest checkpoint=last curvature=true         measure a checkpoint: best (the default), last or a step

{settings}

{groups}

{switches}
"""

_SETTINGS = """\
Every run has these keys (their meaning: conf/train.yaml, or --cfg job):
  steps seed seeds device precision compile threads log_every eval_every checkpoint_every keep_last
  run_dir resume init_from progress logger name compare"""

_SWITCHES = """\
  --cfg job       print the composed configuration and stop
  -m              run every combination of comma-separated values
  --version       print the version
  --hydra-help    everything else that Hydra can do
Your own configurations: a folder conf/ where you start, folders named in RLGAN_CONF, or a package's entry point in
the group rlgan.conf."""

# Set while Hydra runs: its HYDRA_FULL_ERROR is ours and not the user's.
QUIET = "RLGAN_QUIET"

#: Characters of a message; a value of a configuration may have half a million.
_LONGEST = 4000


def help_text(page: str) -> str:
    """Fill in a page of help: the version, the settings and every group's options."""
    if "{groups}" not in page:
        return page
    found = options()
    width = max(map(len, found), default=0)
    lines = [
        textwrap.fill(
            ", ".join(names),
            118,
            initial_indent=f"  {group:<{width}}  ",
            subsequent_indent=" " * (width + 4),
            break_on_hyphens=False,
        )
        for group, names in found.items()
    ]
    head = "Groups (choose an option with group=option, or group@place=option where a group is mounted per player):"
    groups = "\n".join([head, *lines])
    return page.format(usage=usage(), version=rlgan.__version__, settings=_SETTINGS, groups=groups, switches=_SWITCHES)


def full_errors() -> bool:
    """Whether the user asks for tracebacks."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1" and QUIET not in os.environ


def complain(error: BaseException, message: str, code: int = 2) -> int:
    """Print one line on standard error, with the traceback where HYDRA_FULL_ERROR=1 asks for it; the exit code."""
    if not message.startswith("rank ") and not speaks():
        return code
    if full_errors():
        traceback.print_exception(error)
    line = printable(" ".join(message.split()))
    print(f"rlgan: {line if len(line) <= _LONGEST else f'{line[:_LONGEST]}...'}", file=sys.stderr)
    return code


def printable(text: str) -> str:
    """Write control characters as escapes: what a stranger's files hold is not to steer the terminal."""

    def harmless(sign: str) -> bool:
        return sign == "\n" or (sign >= " " and not "\x7f" <= sign <= "\x9f")

    return "".join(sign if harmless(sign) else repr(sign)[1:-1] for sign in text)


class Standing:
    """A text stream that never ends a run: what can no longer be printed is dropped.

    A terminal is closed, `head` has seen enough, a disk is full. From then on its descriptor leads nowhere. Characters
    that the stream's encoding lacks, such as bytes of a path that is no UTF-8, are written as escapes.

    Args:
        stream: the one that is written to.

    Attributes:
        lost: why something was dropped that somebody may have waited for.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop(error)

    def _drop(self, error: OSError | ValueError) -> None:
        if getattr(error, "errno", None) not in (errno.EPIPE, errno.EIO, None):
            self.lost = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        with suppress(OSError, ValueError):  # what is buffered would fail again when the interpreter ends
            descriptor = os.open(os.devnull, os.O_WRONLY)
            os.dup2(descriptor, self._stream.fileno())
            os.close(descriptor)


@contextmanager
def standing() -> Iterator[None]:
    """Let the standard streams stand inside the block, whatever becomes of them, and also where they were closed.

    A closed descriptor would be given to the first file that is opened, and messages of libraries would go into it.
    """
    for descriptor, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)
    former = sys.stdout, sys.stderr
    nowhere = open(os.devnull, "w")  # noqa: SIM115 - a stream may be handed on
    out, err = (Standing(nowhere if stream is None else stream) for stream in former)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        out.flush()
        if out.lost:
            print(f"rlgan: standard output: could not be written ({out.lost})", file=err)
        err.flush()
        sys.stdout, sys.stderr = former
        nowhere.close()
