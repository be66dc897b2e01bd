"""Train many seeds of one configuration in one process: `seeds=16`, or `seeds=[0,3,7]`.

RUN/seed=<k>/      an ordinary run's directory, which can be evaluated, resumed or trained further by itself; the first
                   seed draws pictures at every evaluation, the others at the end
RUN/summary.json   what became of each seed; mean, IQM and 95 % bootstrap intervals over those that finished
RUN/study/         the seeds on one page, with their curves

The seeds run side by side, and what they ask for at the same time is done at once, from acting and environments to
updates and evaluation (`Stackable.together`), each with its own generators. A seed that fails is marked and left out,
and the others go on.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rlgan.runs.config.build import RunSpec
from rlgan.runs.ends import Interrupted, Paused, Stop, reason_of, say, tell
from rlgan.runs.prepare import Outcome, Score, prepare, report_failure, report_resumed, start_record
from rlgan.runs.ranks.agreement import here
from rlgan.runs.record.directory import RunDirectory, State, is_run, short_path, stored
from rlgan.runs.record.kept import closing_line, kept
from rlgan.runs.record.progress import Legend, SeedProgress, seeds_table
from rlgan.runs.training.loop import progress_display, train, training
from rlgan.runs.training.notes import Notes
from rlgan.runs.training.start import Start
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.statistics import over_seeds
from rlgan.task.task import Play, Request, Stackable, Task, Together

T = TypeVar("T")
Ends = dict[int, "dict[str, float] | Exception | SystemExit"]


def run_seeds(
    run: RunDirectory | None, spec: RunSpec, stop: Stop, task: Task | None = None, path: Path | None = None
) -> Outcome:
    """Train every seed, from its newest checkpoint where there is one; of several ranks each its part of them.

    Args:
        run: the locked directory above those of the seeds; None where another rank holds it.
        spec: of the run, with `seeds`.
        stop: the installed handler of signals.
        task: of this rank's first seed, if it has been built.
        path: the directory's, where another rank holds it.
    """
    ranks = here()
    every = spec.settings.every_seed
    seeds = every[ranks.rank :: ranks.size]
    place = path or Path() if run is None else run.path
    stacked = len(seeds)
    # Which seeds there are is the group's own affair.
    changes = {key: value for key, value in spec.command.changes.items() if key not in ("seed", "seeds")}
    own = replace(spec, command=replace(spec.command, changes=changes))
    held = ExitStack()

    def make(seed: int, first: Start | None = None, task: Task | None = None) -> Start:
        directory = RunDirectory.open(place / f"seed={seed}")
        held.callback(directory.close)
        directory.write_config(stored({**spec.config, "seed": seed, "seeds": None}))  # as of a run of its own
        # It knows how many seeds there are: a compilation serves all of them.
        mine = own.with_values(seed=seed, **_decided(first))
        start = prepare(directory, mine, task, stacked)
        start.notes.silent = run is None
        return start

    with held:
        _all_there(place, seeds)
        first = make(seeds[0], task=task)
        why_not = _why_not(first) if stacked > 1 else ""
        if run is not None:
            run.add_start(start_record(spec.command, first.task.steps_done, spec.config))
            say(f"run: {short_path(place)}")
            run.write_status("running", first.task.steps_done, seeds=every, **ranks.mark)
            stop.runs.append((run, first.task))
        if why_not:
            if run is not None:
                Notes(place)(f"{why_not}; the seeds run one after another", first.task.steps_done, say)
            stacked = first.stacked = 1
        try:
            ends = (_in_turn if stacked == 1 else _side_by_side)(seeds, first, make, stop)
        except BaseException as error:  # a seed that could not start
            state: State = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            if run is not None:
                tell(run, state, first.task.steps_done, reason_of(error))
            raise
        told = {str(seed): _packed(end) for seed, end in ends.items()}
        found = ranks.collected("seeds", told, stopped=stop.number is not None)
        if run is None:
            return Outcome(0, "finished", str(place))
        elsewhere = {int(seed): _unpacked(end) for part in found[1:] for seed, end in part.items()}
        together = ends | elsewhere
        return _conclude(run, first, {seed: together[seed] for seed in every if seed in together})


def _packed(end: "dict[str, float] | Exception | SystemExit") -> Any:
    """How a seed ended, for another rank."""
    if isinstance(end, Interrupted):
        return ["interrupted", end.code, end.step, end.reason.removesuffix(": saved")]
    return ["failed", reason_of(end)] if isinstance(end, BaseException) else end


def _unpacked(end: Any) -> "dict[str, float] | Exception | SystemExit":
    if isinstance(end, dict):
        return end
    if end[0] == "failed":
        return RunError(end[1])
    _, code, step, reason = end
    return Interrupted(code - 128, step) if code else Paused(reason, step)


def _all_there(run: Path, seeds: Sequence[int]) -> None:
    """Refuse, before anything is recorded, a seed's directory that has lost what makes it a run.

    Raises:
        RunError: naming the file.
    """
    for place in (run / f"seed={seed}" for seed in seeds):
        if not is_run(place) and (place / "overrides.jsonl").exists():
            raise RunError(
                f"{short_path(place)}/config.yaml: is gone; put it back, or remove the folder {place.name} to start "
                "this seed anew"
            )


def _decided(first: Start | None) -> dict[str, Any]:
    """What the first seed has found out about compiling holds for the others."""
    return {} if first is None or first.task.compiled is None else {"compile": first.task.compiled}


def _why_not(start: Start) -> str:
    """Why the updates of several such tasks cannot be made as one; empty if they can."""
    task = start.task
    if not isinstance(task, Stackable):
        return f"{type(task).__name__} makes its updates by itself"
    return task.unstackable()


def _in_turn(seeds: Sequence[int], first: Start, make: Callable[..., Start], stop: Stop) -> Ends:
    ends: Ends = {}
    for seed in seeds:
        if stop.number is not None:
            ends[seed] = Interrupted(stop.number, 0)
            break
        start = first if seed == seeds[0] else make(seed, first)
        if len(seeds) > 1 and not start.notes.silent:
            say(f"seed={seed}:")
        report_resumed(start)
        try:
            ends[seed] = start.figures = train(start, stop)
        except (Exception, SystemExit) as error:
            ends[seed] = error
            _say_failed(seed, start, error)
        if isinstance(ends[seed], Interrupted):
            break
    return ends


def _side_by_side(seeds: Sequence[int], first: Start, make: Callable[..., Start], stop: Stop) -> Ends:
    starts = [first]
    try:
        for seed in seeds[1:]:
            if stop.number is not None:  # those that are there end before their first step
                break
            if first.checkpoint is not None and not is_run(first.run.path.with_name(f"seed={seed}")):
                say(f"note: seed={seed} has no directory yet, and starts at step 0")
            starts.append(make(seed, first))
            # Sixteen pictures at every evaluation would take longer than the training between them.
            starts[-1].draws = False
            starts[-1].clock = first.clock
            starts[-1].notes.shown = first.notes.shown
    except BaseException:
        for start in starts:
            start.task.close()
        raise
    seeds = seeds[: len(starts)]
    report_resumed(first)
    stop.runs += [(start.run, start.task) for start in starts]
    bar = progress_display(first.task, first.settings)
    running = {seed: start.task.steps_done for seed, start in zip(seeds, starts, strict=True)}
    values: dict[int, dict[str, float]] = {seed: {} for seed in seeds}
    tasks = [start.task for start in starts if isinstance(start.task, Stackable)]
    lives = [
        training(start, stop, SeedProgress(bar, seed, running, values))
        for seed, start in zip(seeds, starts, strict=True)
    ]
    try:
        ended = drive_together(lives, type(tasks[0]).together(tasks))
    finally:
        for life in lives:  # of seeds that an interruption of the whole leaves in the middle
            life.close()
        bar.close()
    for seed, start, end in zip(seeds, starts, ended, strict=True):
        if isinstance(end, BaseException):
            _say_failed(seed, start, end)
    return dict(zip(seeds, ended, strict=True))


def drive_together(plays: Sequence[Play[T]], together: Together[Any]) -> list[T | Exception | SystemExit]:
    """Run all of `plays` to their ends; what they ask for at the same time is done at once.

    Returns:
        What each returned, or the exception that ended it.
    """
    waiting: list[Request | None] = [None] * len(plays)
    ended: list[T | Exception | SystemExit] = [RuntimeError("did not run")] * len(plays)
    rank = {work: i for i, work in enumerate(together.order)}

    def go(k: int, reply: Any) -> None:
        """Play `k` up to its next request."""
        try:
            waiting[k] = plays[k].throw(reply) if isinstance(reply, Exception) else plays[k].send(reply)
        except StopIteration as end:
            waiting[k], ended[k] = None, end.value
        except (Exception, SystemExit) as error:  # whose code calls sys.exit ends one seed, and not the others
            waiting[k], ended[k] = None, error

    for k in range(len(plays)):
        go(k, None)
    while works := {request.work for request in waiting if request is not None}:
        work = min(works, key=lambda name: rank.get(name, -1))
        asked = [request.arguments if request is not None and request.work == work else None for request in waiting]
        replies: Sequence[Any]
        try:
            replies = together.serve(work, asked)
        except Exception as error:
            replies = [error] * len(plays)
        for k, own in enumerate(asked):
            if own is not None:
                go(k, replies[k])
    return ended


def _say_failed(seed: int, start: Start, error: Exception | SystemExit) -> None:
    if isinstance(error, Interrupted):
        return
    say(f"seed={seed} failed:")
    try:
        report_failure(start, error)
    except ConfigError:
        say(f"rlgan: {error}")


def _conclude(run: RunDirectory, first: Start, ends: Ends) -> Outcome:
    """The group's last words, then its summary, curves and status."""
    stopped = [error for error in ends.values() if isinstance(error, Interrupted)]
    failed = {
        seed: error
        for seed, error in ends.items()
        if isinstance(error, BaseException) and not isinstance(error, Interrupted)
    }
    good = {seed: values for seed, values in ends.items() if not isinstance(values, BaseException)}
    message = "; ".join(f"seed={seed}: {reason_of(error)}" for seed, error in failed.items())
    if stopped:
        _draw(run, first)
        code = max(error.code for error in stopped)
        tell(run, "interrupted", stopped[0].step, stopped[0].reason)
        say(f"{stopped[0]}{short_path(run.path)}")
        return Outcome(code, "interrupted", str(run.path), str(stopped[0]))
    figures = over_seeds(list(good.values())) if good else {}
    print(f"{len(good)} of {len(ends)} seeds finished{'; over them:' if good else ''}")
    if good:
        print(seeds_table(figures, Legend.of(first.task)))
        if lacking := {tag: None for values in good.values() for tag in values if tag not in figures}:
            print(f"left out, as not every seed has it: {', '.join(lacking)}")
        best = first.task.best
        found = [kept(run.path / f"seed={seed}" / "checkpoints", best) for seed in good]
        print(closing_line([own for own in found if own], best[0]), end="\n" if any(found) else "")
    sys.stdout.flush()
    state: dict[str, State] = {str(seed): "finished" if seed in good else "failed" for seed in ends}
    try:
        run.follow()
        run.write_summary({"seeds": state, "metrics": figures})
    except (OSError, RunError) as error:
        lost = f"summary.json: cannot be written ({getattr(error, 'strerror', None) or error})"
        message = "; ".join([*([message] if message else []), lost])
        say(f"rlgan: {short_path(run.path)}/{lost}")
    _draw(run, first)
    tell(run, "failed" if message else "finished", first.settings.steps, message)
    print(f"tensorboard --logdir {short_path(run.path)}", flush=True)
    tag, direction = first.task.best
    score = Score(tag, direction, figures[tag]["iqm"]) if tag in figures else None
    return Outcome(1 if message else 0, "failed" if message else "finished", str(run.path), message, score)


def _draw(run: RunDirectory, first: Start) -> None:
    """Draw the page of the seeds; what fails in that is no failure of the run."""
    from rlgan.runs.study.study import page_at_end

    with suppress(RunError):  # the directory is gone, which has been said
        run.follow()
        line = page_at_end([run.path], run.path / "study")
        if line.startswith("note: "):
            Notes(run.path)(line.removeprefix("note: "), first.settings.steps, say)
        elif line:
            say(line)
