"""The command line: `rlgan`, `python -m rlgan` and scripts/train.py are this one `main`.

torch is imported by the job and never above it, so that tab completion and --help answer at once.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rlgan
from rlgan.task.errors import ConfigError, RunError

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = """\
rlgan {version}: train a WGAN or a deterministic policy gradient agent.

Usage: rlgan [key=value ...]          train
       rlgan evaluate RUN             measure a checkpoint of a run in full (n=10000: of so many samples, which are
                                      kept; curvature=true: its players' loss surfaces too; of an agent episodes=20, and
                                      video=true: a film of the first); with seeds=, of each

Nine commands worth copying:
  rlgan                                                        a WGAN on the ring of 8 Gaussians
  rlgan data=digits                                            real 8x8 scans of digits
  rlgan task=ddpg                                              DDPG on Pendulum-v1
  rlgan lipschitz=gradient_penalty optimizer@critic.optimizer=adam_wgan
  rlgan task=ddpg game=simultaneous steps=20000 name=both
  rlgan task=ddpg seeds=10                                     ten seeds in one process, side by side as one update
  rlgan -m lipschitz=clip,gradient_penalty seed=1,2            every combination, one run each
  rlgan resume=RUN steps=20000                                 go on with a run, or train it longer
  rlgan evaluate RUN checkpoint=last curvature=true            measure a checkpoint: best (the default), last or a step

Every run:
  steps seed seeds device precision compile threads log_every eval_every checkpoint_every keep_last
  run_dir resume progress tensorboard name

Groups (choose an option with group=option, or group@place=option where a group is mounted per player):
{groups}

  --cfg job       print the composed configuration and stop
  -m              run every combination of comma-separated values
  --version       print the version
  --hydra-help    everything else that Hydra can do
Your own configurations: a folder conf/ where you start, folders named in RLGAN_CONF, or a package's entry point in
the group rlgan.conf.
"""

# Set while Hydra runs: where jobs report their end, and that Hydra's HYDRA_FULL_ERROR is ours and not the user's.
_SWEEP = "RLGAN_SWEEP"
_QUIET = "RLGAN_QUIET"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done; 1 a run failed; 2 it could not start (one line on standard error says why, and
    HYDRA_FULL_ERROR=1 shows the traceback); 128 + signal after an interruption.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
    except KeyboardInterrupt:
        code = 130
    except (ConfigError, RunError) as error:
        code = _complain(error, str(error))
    sys.exit(code)


def _dispatch(arguments: list[str]) -> int:
    if any(word in ("-h", "--help") for word in arguments):
        return _help()
    if "--version" in arguments:
        print(f"rlgan {rlgan.__version__}")
        return 0
    # A class of the user's own, named in _target_, is found from where they stand.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    if arguments[:1] == ["evaluate"]:
        return evaluate(arguments[1:])
    if any(word in ("-sc", "--shell-completion") for word in arguments):
        return _hydra(arguments, [])
    return _train(arguments)


def _help() -> int:
    from rlgan.runs.config.overrides import options

    found = options()
    width = max(map(len, found), default=0)
    indent = " " * (width + 4)
    groups = "\n".join(
        textwrap.fill(", ".join(names), 118, initial_indent=f"  {group:<{width}}  ", subsequent_indent=indent)
        for group, names in found.items()
    )
    print(HELP.format(version=rlgan.__version__, groups=groups), end="")
    return 0


def _train(arguments: list[str]) -> int:
    from hydra._internal.utils import get_args_parser

    from rlgan.runs.config.overrides import changes, forced, options, parse, quoted

    arguments = [quoted(item) for item in arguments]
    known, unknown = get_args_parser().parse_known_args(arguments)
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such option; see --help")
    typed = list(known.overrides)
    resumed = [item for item in typed if item.lstrip("+").startswith("resume=")]
    if resumed and (where := parse(resumed[-1]).value()) is not None:
        from rlgan.runs.record.directory import read_config, read_starts

        if known.multirun:
            raise ConfigError(f"resume = {where}: cannot be combined with -m; resume the runs one by one")
        path = Path(str(where))
        read_config(path)
        starts = read_starts(path)
        rest = [item for item in typed if item not in resumed]
        values = changes(rest, starts[0]["choices"] if starts else {})
        from rlgan.runs.session import resume

        return resume(path, values, rest).code
    groups = options()
    rewritten = [forced(item, groups) if item in typed and "=" in item else item for item in arguments]
    for item in typed:
        parse(item)
    return _hydra(rewritten, typed, many=known.multirun)


def _hydra(arguments: list[str], typed: list[str], many: bool = False) -> int:
    """Compose and run by Hydra, with its own error pages replaced by one line."""
    import tempfile

    import hydra

    from rlgan.runs.config.overrides import ROOT, conf_directory, explain, register

    register()
    handle, name = tempfile.mkstemp(prefix="rlgan-sweep-", suffix=".jsonl", dir=_shared_folder(many))
    os.close(handle)
    report = Path(name)
    ours = {_SWEEP: name}
    if os.environ.get("HYDRA_FULL_ERROR") != "1":
        ours |= {"HYDRA_FULL_ERROR": "1", _QUIET: "1"}
    former = {key: os.environ.get(key) for key in ours}
    argv = sys.argv
    sys.argv = [argv[0], *arguments]
    os.environ |= ours
    outcomes: list[dict[str, Any]] = []
    try:
        hydra.main(config_path=str(conf_directory()), config_name=ROOT, version_base="1.3")(_job)()
    except Exception as error:
        # _job lets no Exception out: this is Hydra's own, from composing or from a launcher.
        return _complain(error, explain(error, typed))
    except (KeyboardInterrupt, SystemExit):
        if not report.stat().st_size:
            raise
    finally:
        sys.argv = argv
        for key, value in former.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        outcomes = [json.loads(line) for line in report.read_text().splitlines()]
        report.unlink()
    return _verdict(outcomes, many)


def _job(config: DictConfig) -> None:
    """One run, as Hydra (or a launcher's worker) calls it. Reports its end in a file, as no return value comes back."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from rlgan.runs.config.build import plain
    from rlgan.runs.config.overrides import group_choices
    from rlgan.runs.session import Outcome, start

    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    launch = HydraConfig.get()
    # Unresolved: `eval_every=${steps}` is an entry of this list as well, and means nothing there.
    typed = OmegaConf.to_container(launch.overrides.task, resolve=False)
    overrides = [str(item).lstrip("+") for item in typed] if isinstance(typed, list) else []
    try:
        outcome = start(plain(config), overrides, group_choices(launch.runtime.choices))
    except (ConfigError, RunError) as error:
        outcome = Outcome(_complain(error, str(error)), "refused", message=str(error))
    except Exception as error:
        traceback.print_exc()
        outcome = Outcome(1, "failed", message=f"{type(error).__name__}: {error}")
    report = os.environ.get(_SWEEP)
    if report is not None:
        with open(report, "a") as file:
            file.write(json.dumps({"job": " ".join(overrides), **vars(outcome)}) + "\n")
    stopped = outcome.code > 128
    if stopped:
        raise KeyboardInterrupt if outcome.code == 130 else SystemExit(outcome.code)
    if outcome.code and report is None:
        raise SystemExit(outcome.code)


def _verdict(outcomes: list[dict[str, Any]], many: bool) -> int:
    failed = [outcome for outcome in outcomes if outcome["code"]]
    if many:
        print(f"{len(outcomes) - len(failed)} of {len(outcomes)} runs finished", file=sys.stderr)
        for outcome in failed:
            where = f" ({outcome['path']})" if outcome["path"] else ""
            print(f"  {outcome['state']}: {outcome['job']}: {outcome['message']}{where}", file=sys.stderr)
    return max((int(outcome["code"]) for outcome in failed), default=0)


def evaluate(arguments: Sequence[str]) -> int:
    """`evaluate RUN [checkpoint=best|last|<step>] [curvature=true] [n=...] [episodes=...] [video=true] [key=value]`.

    Returns the exit code.
    """
    from rlgan.runs.config.overrides import changes, parse, quoted

    # A run's name holds an `=` itself (`..._seed=0`); a slash before it, or its being there, tells it from a setting.
    words = [word for word in arguments if "/" in word.partition("=")[0] or "=" not in word or Path(word).is_dir()]
    if len(words) != 1:
        raise ConfigError("RUN: name one run's directory, for example evaluate outputs/wgan/2026-01-31_12-00-00_seed=0")
    from rlgan.runs.record.directory import read_config, read_starts

    path = Path(words[0])
    config = read_config(path)
    which, curvature, video = "best", False, False
    n: int | None = None
    episodes: dict[str, int] = {}
    rest: list[str] = []
    for item in arguments:
        if item.startswith("checkpoint="):
            which = str(parse(item).value())
        elif item.startswith("curvature="):
            curvature = _switch(item)
        elif item.startswith("video="):
            video = _switch(item)
        elif item.startswith("n="):
            n = _count(item, "samples, for example n=10000")
        elif item.startswith("episodes="):
            if "eval_episodes" not in config:
                raise ConfigError(f"{item.replace('=', ' = ', 1)}: this run plays no episodes; leave it out")
            episodes = {"eval_episodes": _count(item, "episodes, for example episodes=20")}
        elif item not in words:
            rest.append(quoted(item))
    for item in rest:
        key = item.split("=")[0]
        if close := difflib.get_close_matches(
            key, ["checkpoint", "curvature", "n", "episodes", "video"], n=1, cutoff=0.75
        ):
            raise ConfigError(f"{item.replace('=', ' = ', 1)}: there is no such key; did you mean {close[0]}?")
    starts = read_starts(path)
    values = {**changes(rest, starts[0]["choices"] if starts else {}), **episodes}
    from rlgan.runs.evaluate import evaluate_run, evaluate_seeds
    from rlgan.runs.record.progress import columns, table

    if config.get("seeds") is not None:
        from rlgan.runs.seeds import seeds_table

        print(seeds_table(evaluate_seeds(path, which, values, curvature, n, video)))
        return 0
    result = evaluate_run(path, which, values, curvature, n, video)
    print(f"checkpoint: {which}, step {result.metrics['step']:.0f}", file=sys.stderr)
    print(table(result.metrics))
    if result.curvature:
        print(columns(result.curvature))
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    return 0


def _switch(item: str) -> bool:
    from rlgan.runs.config.overrides import parse

    value = parse(item).value()
    if not isinstance(value, bool):
        raise ConfigError(f"{item.replace('=', ' = ', 1)}: is a switch; use true or false")
    return value


def _count(item: str, of: str) -> int:
    from rlgan.runs.config.overrides import parse

    value = parse(item).value()
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{item.replace('=', ' = ', 1)}: must be a number of {of}")
    return value


def evaluate_main() -> None:
    """scripts/evaluate.py: `evaluate` with `main`'s manners."""
    words = sys.argv[1:]
    main(words if any(word in ("-h", "--help", "--version") for word in words) else ["evaluate", *words])


def _complain(error: BaseException, message: str) -> int:
    if os.environ.get("HYDRA_FULL_ERROR") == "1" and _QUIET not in os.environ:
        traceback.print_exception(error)
    print(f"rlgan: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _shared_folder(many: bool) -> str | None:
    """Where the report of a sweep can be seen by a launcher's workers on other machines."""
    if not many:
        return None
    folder = Path("outputs/sweeps").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
