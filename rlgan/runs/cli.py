"""The command line: `rlgan`, `python -m rlgan` and scripts/train.py are this one `main`.

torch is imported by the job and never above it, so that tab completion and --help answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import rlgan
from rlgan.runs.commands import COMMANDS, command
from rlgan.runs.config.trust import trusting
from rlgan.runs.ranks.launch import launched
from rlgan.runs.terminal import OVERVIEW, complain, help_text, standing
from rlgan.task.errors import ConfigError, InputError, RunError


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done; 1 a run failed; 2 it could not start (one line on standard error says why, and
    HYDRA_FULL_ERROR=1 shows the traceback); 128 + signal after an interruption.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with standing():
        try:
            code = _dispatch(arguments)
        except KeyboardInterrupt:
            code = 130
        except (ConfigError, RunError) as error:
            code = complain(error, str(error))
        except InputError as error:
            code = complain(error, str(error), 1)
        except Exception as error:
            from rlgan.runs.ends import explained

            reason = explained(error)
            if reason is None:
                raise
            code = complain(error, reason)
    sys.exit(code)


def evaluate_main() -> None:
    """Run `rlgan evaluate` and exit, as scripts/evaluate.py."""
    main([*([] if "--version" in sys.argv[1:] else ["evaluate"]), *sys.argv[1:]])


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    if any(word in ("-h", "--help") for word in arguments):
        print(help_text(command(first).HELP if first else OVERVIEW), end="")
        return 0
    if "--version" in arguments:
        print(f"rlgan {rlgan.__version__}")
        return 0
    if any(word in ("-sc", "--shell-completion") for word in arguments):
        from rlgan.runs.answers.shells import answer

        return answer(arguments)
    arguments, trusted = _trusted(arguments[1:] if first else arguments)
    with trusting(trusted):
        if (launch := launched()) is not None:
            if first not in ("", "train"):
                raise ConfigError(f"{first}: runs in one process and not in {launch.size}; leave torchrun out")
            from rlgan.runs.ranks.begin import as_rank

            return as_rank(launch, command("train").run, arguments)
        return int(command(first or "train").run(arguments))


def _trusted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The words without `trust=[...]`, and the packages that it names; it belongs to this start and is not kept."""
    words = [word for word in arguments if word.lstrip("+").partition("=")[0] == "trust"]
    names = [name.strip() for word in words for name in word.partition("=")[2].strip("[] ").split(",")]
    return [word for word in arguments if word not in words], [name.strip("'\"") for name in names]
