"""Run a comparison: its variants one after another, then its figure, then its rules.

RUN/config.yaml     the experiment, with the rules; written before anything is trained
RUN/variants.yaml   the composed configuration of every variant, with its words and options
RUN/<variant>/      an ordinary run's directory, which can be evaluated, resumed and looked at by itself
RUN/figure.png      what the figure function drew
RUN/summary.json    whether the claim was seen, and every rule with the numbers that decided it

A variant that is finished is not trained again, and one that was stopped goes on: `resume=RUN`, or the same command.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlgan.runs.compare.result import conclude, report
from rlgan.runs.compare.section import Comparison
from rlgan.runs.compare.variants import composed
from rlgan.runs.config.build import Command, RunSpec, build_settings
from rlgan.runs.config.overrides import forced
from rlgan.runs.config.places import Settler
from rlgan.runs.config.reading import dump, read
from rlgan.runs.config.trust import EVERYONE, Trust
from rlgan.runs.ends import Stop, of_config, recorded, say, started, tell
from rlgan.runs.logging.about import block
from rlgan.runs.logging.events import show_figure
from rlgan.runs.logging.sinks import sinks_of
from rlgan.runs.options import options
from rlgan.runs.prepare import Outcome, start_record
from rlgan.runs.record.directory import (
    OF_THE_START,
    RunDirectory,
    is_run,
    last_logger,
    short_path,
    stored,
    stored_config,
)
from rlgan.runs.record.files import read_json, write_atomically
from rlgan.runs.record.naming import run_name
from rlgan.runs.session import ended, new_directory, train_in
from rlgan.runs.terminal import printable
from rlgan.runs.training.exactness import differences
from rlgan.task.errors import ConfigError, RunError

VARIANTS = "variants.yaml"


@dataclass
class Plan:
    """A comparison that can run.

    Args:
        comparison: what it is about.
        specs: of its variants, by name.
        command: what was typed.
        trust: whose names its directory may have looked up.

    Attributes:
        steps_done: variants that are finished.
    """

    comparison: Comparison
    specs: Mapping[str, RunSpec]
    command: Command
    trust: Trust
    steps_done: int = 0

    def check(self, path: Path | None = None) -> None:
        """Build the task of every variant that is still to be trained: what is wrong with the last is said at once.

        Raises:
            ConfigError: with the variant's name.
        """
        typed = {word.lstrip("+~").partition("=")[0] for word in self.command.overrides}
        accepted = False
        for name, spec in self.specs.items():
            if path is not None and _finished(path / name, spec):
                continue
            try:
                sinks_of(spec.settings)
                spec.with_values(seed=spec.settings.every_seed[0]).task().close()
            except ConfigError as error:
                others = accepted and str(error).partition(" = ")[0] in typed
                hint = "; what you type counts for all: compare.variants.NAME=[key=value] is for one" if others else ""
                raise ConfigError(f"compare.variants.{name}: {error}{hint}") from error
            accepted = True

    def record(self) -> str:
        """variants.yaml."""
        return dump(
            {
                name: {
                    "overrides": list(spec.command.overrides),
                    "choices": dict(spec.command.choices),
                    "config": stored(spec.config),
                }
                for name, spec in self.specs.items()
            }
        )


def begin(config: Mapping[str, Any], command: Command) -> Outcome:
    """Start a comparison, or go on with it where `run_dir` already holds it.

    Args:
        config: the composed configuration, plain and resolved, with the section `compare`.
        command: what was typed.

    Raises:
        ConfigError, RunError: it cannot start; nothing was trained.
    """
    comparison = Comparison.of(config["compare"])
    settings = build_settings({key: value for key, value in config.items() if key != "compare"})
    groups = options()
    typed = [forced(word, groups) if "=" in word else word for word in command.overrides]
    plan = Plan(comparison, composed(comparison.section.words, typed), command, EVERYONE)
    chosen = None if settings.run_dir is None else Path(settings.run_dir)
    if chosen is not None and is_run(chosen):
        return _again(chosen, stored(config), plan)
    plan.check()
    name = run_name(command.overrides, settings.seeds_word, settings.name)
    run = new_directory(chosen, Path("outputs/compare"), name, config)
    return _work(run, plan)


def go_on(path: Path, changes: Mapping[str, Any], overrides: Sequence[str], start: int | None) -> Outcome:
    """Go on with a comparison in its directory: train what is not finished, draw the figure anew.

    Args:
        path: its directory.
        changes: values by dotted key; only what belongs to a start may be among them.
        overrides: what was typed.
        start: as of a run; not of a comparison.

    Raises:
        ConfigError, RunError: it cannot go on.
    """
    one = f"go on with one variant by itself, resume={short_path(path)}/NAME"
    if start is not None:
        raise ConfigError(f"from = {start}: a comparison goes on with what is there; {one} from={start}")
    if other := [key for key in changes if key not in OF_THE_START]:
        raise ConfigError(f"{other[0]} = {changes[other[0]]}: a comparison goes on as it was; start a new one")
    trust = Trust.granted()
    with of_config(path, {}):
        comparison = Comparison.of(stored_config(path)["compare"], trust)
    plan = Plan(comparison, _stored_specs(path, comparison, changes, trust), Command(overrides), trust)
    _refuse_changed(path, plan)
    plan.check(path)
    return _work(RunDirectory.open(path), plan)


def _again(path: Path, config: Mapping[str, Any], plan: Plan) -> Outcome:
    """The same command in the same directory goes on with the comparison."""
    settle = Settler(Trust.granted(), folder=Path.cwd())
    former = settle(stored_config(path))
    if former.get("compare") is None:
        raise RunError(f"run_dir = {path}: holds a run, and no comparison; choose another run_dir")
    found = list(differences(former, config))
    if (path / VARIANTS).exists():  # else it was killed before its first step
        specs = _stored_specs(path, plan.comparison, {}, Trust.granted())
        for name, spec in plan.specs.items():
            own = differences(settle(stored(specs[name].config)), stored(spec.config)) if name in specs else ()
            found += [(f"{name}: {key}", there, here) for key, there, here in own]
    if found:
        said = "; ".join(f"{key} is {there} there and {here} here" for key, there, here in found[:5])
        raise RunError(
            f"run_dir = {path}: holds a comparison with other settings ({said}); choose another run_dir, or go on with "
            "resume="
        )
    _refuse_changed(path, plan)
    plan.check(path)
    return _work(RunDirectory.open(path), plan)


def _stored_specs(path: Path, comparison: Comparison, changes: Mapping[str, Any], trust: Trust) -> dict[str, RunSpec]:
    """What variants.yaml says of the variants.

    Raises:
        RunError: it is gone or damaged.
    """
    file = path / VARIANTS
    try:
        found = read(file.read_bytes(), str(file))
    except FileNotFoundError:
        raise RunError(
            f"{file}: is not there: the comparison was stopped before its first step; give its command again with "
            f"run_dir={short_path(path)}"
        ) from None
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
    specs = {}
    logger = last_logger(path)
    kept = {} if logger is None else {"logger": logger}
    for name in comparison.section.variants:
        entry = found.get(name) if isinstance(found, dict) else None
        wanted = (("overrides", list), ("choices", dict), ("config", dict))
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), kind) for key, kind in wanted):
            raise RunError(f"{file}: is damaged (it does not describe the variant {name}); put it back as it was")
        command = Command(list(map(str, entry["overrides"])), {str(k): str(v) for k, v in entry["choices"].items()})
        with of_config(path / name, {}):
            specs[name] = RunSpec.of({**entry["config"], **kept, **changes}, command, trust)
    return specs


def _refuse_changed(path: Path, plan: Plan) -> None:
    """Refuse, before anything is recorded, a variant that is no folder here, or that went on by itself.

    Raises:
        RunError: naming it.
    """
    settle = Settler(Trust.granted(), folder=Path.cwd())
    for name, spec in plan.specs.items():
        place = path / name
        if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
            raise RunError(f"{place}: is a link or a file and no folder of this comparison; remove it")
        if is_run(place) and (found := list(differences(settle(stored_config(place)), settle(stored(spec.config))))):
            key, there, here = found[0]
            raise RunError(
                f"{short_path(place)}: went on by itself ({key} is {there} there and {here} in the comparison); start "
                "a new comparison"
            )


def _finished(place: Path, spec: RunSpec) -> bool:
    """Tell whether a variant has been trained to its end."""
    try:
        status = read_json(place / "status.json")
        return is_run(place) and status["state"] == "finished" and int(status["step"]) >= spec.settings.steps
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _work(run: RunDirectory, plan: Plan) -> Outcome:
    stop = Stop()
    count = len(plan.specs)
    failed: dict[str, str] = {}
    with stop.installed(), closing(run), started(run):
        with recorded(run):
            if not (run.path / VARIANTS).exists():
                write_atomically(run.path / VARIANTS, plan.record().encode())
            run.add_start(start_record(plan.command, plan.steps_done, next(iter(plan.specs.values())).config))
        say(f"comparison: {short_path(run.path)}")
        for number, (name, spec) in enumerate(plan.specs.items(), 1):
            stop.runs[:] = [(run, plan)]
            place = run.path / name
            words = " ".join(plan.comparison.section.words[name])
            if _finished(place, spec):
                say(f"variant {number} of {count}: {name} is trained already")
                plan.steps_done += 1
                continue
            if stop.number is not None:
                return _interrupted(run, plan, 128 + stop.number)
            tell(run, "running", plan.steps_done, steps=count)
            say(f"variant {number} of {count}: {name}{f' ({words})' if words else ''}")
            outcome = _train(place, spec, stop)
            if outcome.state == "interrupted":
                return _interrupted(run, plan, outcome.code, outcome.message)
            if outcome.code:
                failed[name] = outcome.message
            else:
                plan.steps_done += 1
            run.follow()
        stop.runs[:] = [(run, plan)]
        if failed:
            message = "; ".join(f"variant {name}: {said}" for name, said in failed.items())
            say(f"rlgan: {message}")
            say(f"no figure without {' and '.join(failed)}; try again with resume={short_path(run.path)}")
            tell(run, "failed", plan.steps_done, message)
            return Outcome(1, "failed", str(run.path), message)
        if stop.number is not None:
            return _interrupted(run, plan, 128 + stop.number)
        outcome = ended(lambda: _conclude(run, plan))
        if outcome.code:
            say(f"every variant is trained; once that is mended, resume={short_path(run.path)} draws the figure")
            outcome = Outcome(1, "failed", str(run.path), f"figure: {outcome.message}")
        tell(run, "failed" if outcome.code else "finished", plan.steps_done, outcome.message)
    return outcome


def _train(place: Path, spec: RunSpec, stop: Stop) -> Outcome:
    """Train a variant in its directory; its closing table is left to the comparison's."""
    if "torch._dynamo" in sys.modules:
        import torch

        # Every variant compiles a function of its own, all made of the same code: torch keeps a few, then refuses.
        torch.compiler.reset()

    def start() -> Outcome:
        directory = RunDirectory.open(place)
        with closing(directory), recorded(directory):
            directory.write_config(stored(spec.config))
            return train_in(directory, spec, stop=stop)

    with redirect_stdout(io.StringIO()):
        return ended(start)


def _interrupted(run: RunDirectory, plan: Plan, code: int, reason: str = "") -> Outcome:
    message = f"{signal.Signals(code - 128).name}: saved" if code else reason
    tell(run, "interrupted", plan.steps_done, message)
    say(f"{plan.steps_done} of {len(plan.specs)} variants are trained; go on with resume={short_path(run.path)}")
    return Outcome(code, "interrupted", str(run.path), message)


def _show(path: Path, plan: Plan, said: str) -> None:
    """Show the figure in TensorBoard, where the variants are shown; what fails in that is no failure of the figure."""
    if "tensorboard" not in next(iter(plan.specs.values())).settings.loggers:
        return
    try:
        show_figure(path, (path / "figure.png").read_bytes(), block(said))
    except Exception as error:
        say(f"note: TensorBoard cannot show the figure ({type(error).__name__}: {' '.join(str(error).split())[:200]})")


def _conclude(run: RunDirectory, plan: Plan) -> Outcome:
    began = time.monotonic()
    tell(run, "running", plan.steps_done)
    summary = conclude(run.path, plan.comparison, plan.trust)
    with recorded(run):
        run.write_summary({**summary, "seconds": summary["seconds"] + time.monotonic() - began})
    _show(run.path, plan, report(summary))
    print(printable(report(summary)), flush=True)
    print(short_path(run.path / "figure.png"), flush=True)
    return Outcome(0, "finished", str(run.path))
