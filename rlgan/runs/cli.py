"""The command line: `rlgan`, `python -m rlgan` and scripts/train.py are this one `main`.

torch is imported by the job and never above it, so that tab completion and --help answer at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rlgan
from rlgan.runs.config.trust import any_trusted, look_here, trusting
from rlgan.runs.terminal import EVALUATE, OVERVIEW, QUIET, SWEEP, TRAIN, complain, help_text, standing
from rlgan.task.errors import ConfigError, InputError, RunError
from rlgan.task.suggest import closest

if TYPE_CHECKING:
    from omegaconf import DictConfig

_OF_EVALUATE = ("checkpoint", "curvature", "n", "episodes", "strict_saddle", "video")
# A run keeps everything in its own directory: Hydra's would stand empty beside it.
_REFUSED = {
    "hydra.run.dir": "a run's directory is chosen by run_dir={value}",
    "hydra.sweep.dir": "every run has a directory of its own below outputs/; name them by name={value}",
    "hydra.sweep.subdir": "every run has a directory of its own below outputs/; leave it out",
    "hydra.output_subdir": "a run keeps its configuration as config.yaml in its own directory; leave it out",
    "hydra.job.chdir": "a run stays in the folder where it was started; leave it out, or choose run_dir=",
}


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
    command = arguments[0] if arguments and arguments[0] in ("train", "evaluate") else ""
    if any(word in ("-h", "--help") for word in arguments):
        print(help_text({"train": TRAIN, "evaluate": EVALUATE}.get(command, OVERVIEW)), end="")
        return 0
    if "--version" in arguments:
        print(f"rlgan {rlgan.__version__}")
        return 0
    if any(word in ("-sc", "--shell-completion") for word in arguments):
        look_here(True)
        return _hydra(arguments, [])
    arguments, trusted = _trusted(arguments[1:] if command else arguments)
    with trusting(trusted):
        return evaluate(arguments) if command == "evaluate" else train(arguments)


def _trusted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The words without `trust=[...]`, and the packages that it names; it belongs to this start and is not kept."""
    words = [word for word in arguments if word.lstrip("+").partition("=")[0] == "trust"]
    names = [name.strip() for word in words for name in word.partition("=")[2].strip("[] ").split(",")]
    return [word for word in arguments if word not in words], [name.strip("'\"") for name in names]


def train(arguments: Sequence[str]) -> int:
    """Train, or resume, as `train [key=value ...]` says; returns the exit code."""
    from hydra._internal.utils import get_args_parser

    from rlgan.runs.config.overrides import forced, refuse_setting_for_option, whole_words
    from rlgan.runs.config.sources import options, register
    from rlgan.runs.config.words import parse, quoted, text_of

    # Hydra's options may stand anywhere among the words: `seed=1,2 -m task=ddpg`.
    words = [quoted(item) for item in arguments]
    known, unknown = get_args_parser().parse_known_intermixed_args(words)
    typed = list(known.overrides)
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such option; see --help")
    left, switches = Counter(typed), []
    for word in words:
        if left[word]:
            left[word] -= 1
        else:
            switches.append(word)
    if "hydra.mode=MULTIRUN" in typed:
        typed.remove("hydra.mode=MULTIRUN")
        switches, known.multirun = [*switches, "-m"], True
    for item in typed:
        key, _, value = item.lstrip("+~").partition("=")
        if key in _REFUSED:
            raise ConfigError(f"{key} = {value}: {_REFUSED[key].format(value=value)}")
    resumed = [item for item in typed if item.lstrip("+").startswith("resume=")]
    if resumed and (where := resumed[-1].partition("=")[2]) != "null":
        where = text_of(resumed[-1])
        if known.multirun or (parse(resumed[-1]).is_sweep_override() and not Path(where).is_dir()):
            raise ConfigError(f"resume = {where}: cannot be combined with -m; resume the runs one by one")
        if switches or not where:
            what = f"cannot be combined with {switches[0]}; leave it out" if switches else "name a run's directory"
            raise ConfigError(f"resume = {where}: {what}")
        return _resume(where, [item for item in typed if item not in resumed])
    # A class of the user's own, named in _target_, is found from where they stand.
    look_here(True)
    groups = options()
    register()
    typed = typed if known.multirun else whole_words(typed)
    rewritten = [forced(item, groups) if "=" in item else item for item in typed]
    for item in typed:
        parse(item)
        refuse_setting_for_option(item, typed, groups)
    return _hydra([*rewritten, *switches], typed, many=known.multirun)


def _resume(where: str, rest: list[str]) -> int:
    from rlgan.runs.record.directory import find_run, read_config

    look_here(any_trusted())
    path = find_run(where)
    read_config(path)
    start = [item for item in rest if item.startswith("from=")]
    step = _step(start[-1].partition("=")[2]) if start else None
    values = _changes(path, [item for item in rest if item not in start])
    from rlgan.runs.session import resume

    return resume(path, values, rest, step).code


def _step(word: str) -> int:
    step = _of_file(word)
    if not step.isdecimal() or len(step) > 18:
        raise ConfigError(f"from = {word}: name a checkpoint's step, for example from=1000, or 0 to start anew")
    return int(step)


def _of_file(word: str) -> str:
    """The step in a checkpoint's file name, `step_000001000.pt`; any other word as it is."""
    digits = word.removesuffix(".pt").removesuffix(".json").removeprefix("step_").replace("_", "")
    return str(int(digits)) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else word


def _changes(path: Path, words: list[str]) -> dict[str, Any]:
    """What words change of a run's configuration: values by dotted key, words and paths as they are meant."""
    from rlgan.runs.config.overrides import changes, whole_words
    from rlgan.runs.config.places import Settler, changed
    from rlgan.runs.config.trust import Trust
    from rlgan.runs.config.words import Words
    from rlgan.runs.record.directory import first_choices, stored_config

    words = whole_words(words, stored_config(path))
    values = changes(words, first_choices(path))
    if not values:
        return values
    return changed(stored_config(path, values), values, Settler(Trust.granted(), Words(tuple(words)), Path.cwd()))


def _hydra(arguments: list[str], typed: list[str], many: bool = False) -> int:
    """Compose and run by Hydra, with its own error pages replaced by one line."""
    import tempfile

    import hydra

    from rlgan.runs.config.overrides import explain
    from rlgan.runs.config.sources import ROOT, conf_directory, register
    from rlgan.runs.config.words import TYPED

    def job(config: DictConfig) -> None:
        from rlgan.runs.session import job

        job(config)

    register()
    folder = Path("outputs/sweeps").resolve() if many else None  # a launcher's workers may be other machines
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="rlgan-sweep-", suffix=".jsonl", dir=folder)
    os.close(handle)
    report = Path(name)
    ours = {SWEEP: name, TYPED: json.dumps(typed)}
    if os.environ.get("HYDRA_FULL_ERROR") != "1":
        ours |= {"HYDRA_FULL_ERROR": "1", QUIET: "1"}
    former = {key: os.environ[key] for key in ours if key in os.environ}
    argv = sys.argv
    sys.argv = [argv[0], *arguments]
    os.environ |= ours
    outcomes: list[dict[str, Any]] = []
    try:
        hydra.main(config_path=str(conf_directory()), config_name=ROOT, version_base="1.3")(job)()
    except Exception as error:
        # The job lets no Exception out: this is Hydra's own, from composing or from a launcher.
        return complain(error, explain(error, typed))
    except (KeyboardInterrupt, SystemExit):
        if not report.stat().st_size:
            raise
    finally:
        sys.argv = argv
        for key in ours:
            os.environ.pop(key, None)
        os.environ |= former
        outcomes = [json.loads(line) for line in report.read_text().splitlines()]
        report.unlink()
    return _verdict(outcomes, many)


def _verdict(outcomes: list[dict[str, Any]], many: bool) -> int:
    failed = [outcome for outcome in outcomes if outcome["code"]]
    if many:
        print(f"{len(outcomes) - len(failed)} of {len(outcomes)} runs finished", file=sys.stderr)
        for outcome in failed:
            where = f" ({outcome['path']})" if outcome["path"] else ""
            print(f"  {outcome['state']}: {outcome['job']}: {outcome['message']}{where}", file=sys.stderr)
    return max((int(outcome["code"]) for outcome in failed), default=0)


def evaluate(arguments: Sequence[str]) -> int:
    """Measure a run's checkpoint as `evaluate RUN [key=value ...]` says; returns the exit code."""
    from rlgan.runs.config.words import quoted

    look_here(any_trusted())
    from rlgan.runs.record.directory import LATEST, find_run, latest_runs, read_config, short_path

    # A run's name holds an `=` itself (`..._seed=0`); a slash before it, or its being there, tells it from a setting.
    words = [word for word in arguments if "/" in word.partition("=")[0] or "=" not in word or os.path.isdir(word)]
    if len(words) > 1:
        raise ConfigError(f"{' '.join(words)}: one run at a time; evaluate them one by one")
    if not words:
        runs = [f"\n  rlgan evaluate {short_path(run)}" for run in latest_runs()]
        if not runs:
            raise ConfigError("evaluate: name a run's directory; there is none below outputs/ yet")
        print(
            f"rlgan: evaluate: name a run's directory; the latest are{''.join(runs)}\n"
            f"`rlgan evaluate {LATEST}` takes the first of them",
            file=sys.stderr,
        )
        return 2
    path = find_run(words[0])
    config = read_config(path)
    if isinstance(section := config.get("compare"), dict):
        variants, shown = section.get("variants"), short_path(path)
        name = next(iter(variants), "NAME") if isinstance(variants, dict) else "NAME"
        raise ConfigError(f"{shown}: is a comparison; evaluate its variants one by one: rlgan evaluate {shown}/{name}")
    asked = {key: value for key, _, value in (item.partition("=") for item in arguments if item not in words)}
    rest = [quoted(item) for item in arguments if item not in words and item.partition("=")[0] not in _OF_EVALUATE]
    for item in rest:
        if close := closest(item.partition("=")[0], _OF_EVALUATE, 0.75):
            raise ConfigError(f"{item.replace('=', ' = ', 1)}: there is no such key; did you mean {close}?")
    values = _changes(path, rest)
    if "episodes" in asked:
        if "eval_episodes" not in config:
            raise ConfigError(f"episodes = {asked['episodes']}: this run plays no episodes; leave it out")
        values["eval_episodes"] = _count("episodes", asked["episodes"], "episodes, for example episodes=20")
    which = _of_file(asked.get("checkpoint", "best"))
    how: dict[str, Any] = {key: _switch(key, asked.get(key, "false")) for key in ("curvature", "video")}
    how |= {"changes": values, "n": _count("n", asked["n"], "samples, for example n=10000") if "n" in asked else None}
    if "strict_saddle" in asked:
        how |= {"strict_saddle": _four(asked["strict_saddle"]), "curvature": True}
    from rlgan.runs.evaluate import Evaluation, OverSeeds, evaluate_run, evaluate_seeds
    from rlgan.runs.record.progress import columns, seeds_table, table

    def show_seeds(found: OverSeeds) -> None:
        print(seeds_table(found.figures, found.legend), flush=True)
        kept = f"the curvature of each seed is in {short_path(path)}/seed=*/evaluation.json"
        for note in (*found.notes, *([kept] if how["curvature"] else [])):
            print(f"note: {note}", file=sys.stderr)

    def show(found: Evaluation) -> None:
        print(f"checkpoint: {which}, step {found.metrics['step']:.0f}", file=sys.stderr)
        print("\n".join((table(found.metrics, found.legend), *found.remarks)))
        if found.curvature:
            print(columns(found.curvature))
        sys.stdout.flush()
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)

    several = config.get("seeds") is not None
    result = evaluate_seeds(path, which, show_seeds, **how) if several else evaluate_run(path, which, **how, show=show)
    for line in result.unwritten:
        print(f"rlgan: {line}", file=sys.stderr)
    # Who asked for samples or a film wants the file.
    return int(bool(result.unwritten) and (how["n"] is not None or how["video"]))


def _switch(key: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ConfigError(f"{key} = {value}: is a switch; use true or false")
    return value.lower() == "true"


def _four(value: str) -> list[float]:
    numbers: list[float] = []
    with suppress(ValueError):
        numbers = [float(number) for number in value.strip("[] ").split(",")]
    if len(numbers) == 4 and all(0 < number < float("inf") for number in numbers):
        return numbers
    raise ConfigError(
        f"strict_saddle = {value}: are alpha, beta, eps, delta: four positive numbers, for example [0.1,0.1,0.01,0.1]"
    )


def _count(key: str, value: str, of: str) -> int:
    number = value.replace("_", "")
    if not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"{key} = {value}: must be a number of {of}")
    return int(number)
