"""A run under way: step, log, evaluate, save; stop on a signal; never save what is not finite."""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from rlgan.runs.config.reading import dump
from rlgan.runs.ends import Interrupted, Paused, Stop, recorded, tell
from rlgan.runs.logging.about import about_run, block, table, varied_by
from rlgan.runs.logging.logger import Logger
from rlgan.runs.logging.sinks import sinks_of
from rlgan.runs.ranks.agreement import here
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.directory import short_path, stored
from rlgan.runs.record.progress import Progress
from rlgan.runs.training.callbacks import Callbacks
from rlgan.runs.training.contract import numbers
from rlgan.runs.training.episodes import EpisodeRecord
from rlgan.runs.training.exactness import exactness, global_random_state, set_global_random_state
from rlgan.runs.training.films import filmed
from rlgan.runs.training.start import Start
from rlgan.task.errors import Diverged, InputError, RunError
from rlgan.task.hooks.callback import How
from rlgan.task.hooks.measures import undisturbed
from rlgan.task.settings import crossed
from rlgan.task.sink import Opening
from rlgan.task.task import Play, Request, Stackable


class Run:
    """A run under way: its task with logger, checkpoints and clock.

    Args:
        start: what runs.
        progress: where it is shown how far it is.
    """

    def __init__(self, start: Start, progress: Progress) -> None:
        self.task, self.settings, self.run = start.task, start.settings, start.run
        self._start, self.progress, self._ranks = start, progress, here()
        checkpoint, path, sinks = start.checkpoint, start.run.path, sinks_of(start.settings)
        self.checkpoints = Checkpoints(self.run.checkpoints, self.settings.keep_last, self.task.best, progress.say)
        self.latest: dict[str, float] = {}
        self._of_training: Mapping[str, float] = {}
        self.callbacks = Callbacks(start.callbacks, self.task, path)
        self._saved_at, self._evaluated_at, self._drawn_at = -1, -1, -1
        self._earlier_seconds = 0.0
        varied, about = varied_by(path, start.config), about_run(path)
        opening = Opening(path, type(self.task), start.config, varied, about)
        if checkpoint is None:
            with recorded(self.run):
                self.checkpoints.discard_after(-1)
                anew = -1 if (path / "metrics.jsonl").exists() else None
                self.logger = Logger(replace(opening, step=anew), sinks)
                self.episodes = EpisodeRecord(path, anew)
        else:
            set_global_random_state(checkpoint.state["global_random"])
            self.latest = dict(checkpoint.state["latest"])
            self.callbacks.load_state_dict(checkpoint.state.get("callbacks", {}))
            self._saved_at, meta = checkpoint.manifest.step, checkpoint.manifest.meta
            self._earlier_seconds = float(meta.get("wall_seconds", 0.0))
            with recorded(self.run):
                self.checkpoints.discard_after(self._saved_at)
                lines = int(meta.get("metrics_bytes", 0)), meta.get("metrics_sha256")
                self.logger = Logger(replace(opening, step=self._saved_at), sinks, *lines)
                self.episodes = EpisodeRecord(path, self._saved_at, meta)
        for name, text in {"about": table(about), "config": block(dump(dict(start.config)))}.items():
            self.logger.text(name, text, max(self._saved_at, 0))
        self._clock = start.clock
        self._began, self._log_began = time.monotonic(), self._clock()
        self._steps_at_log = self.task.steps_done
        self.say_notes(silent=not progress.takes_notes)
        if idle := self._idle():
            self.note(idle, silent=not progress.takes_notes)

    @property
    def seconds(self) -> float:
        """Wall time of all starts together, in seconds."""
        return self._earlier_seconds + time.monotonic() - self._began

    def log(self) -> None:
        """Log the training scalars of this step."""
        step = self.task.steps_done
        values = self._numbers("metrics", self.task.metrics()) | self._numbers("counts", self.task.counts())
        for tag, value in values.items():
            if not math.isfinite(value):
                raise Diverged(f"{tag} = {value} at step {step}: try a smaller learning rate")
        elapsed = self._clock() - self._log_began
        rate = (step - self._steps_at_log) / elapsed if elapsed > 0 else 0.0
        values |= {"time/steps_per_second": rate, "time/seconds": self.seconds}
        self._write(step, values)
        self._of_training = values
        self._log_episodes()
        self.say_notes()
        self.callbacks.call("on_log", step, values)
        self._log_began, self._steps_at_log = self._clock(), step

    def _numbers(self, method: str, found: Any) -> dict[str, float]:
        """What a method of the task measured.

        Raises:
            InputError: it is no dict of numbers by tag.
        """
        try:
            return numbers(self.task, method, found)
        except ValueError as error:
            raise InputError(str(error), intact=True) from error

    def _log_episodes(self) -> None:
        """Write down the episodes that have ended since the last time."""
        ended = self.task.ended_episodes()
        with recorded(self.run):
            self.episodes.write(ended, self.seconds)
        for own in ended:
            self.logger.points(own.step, {"episode/return": own.total, "episode/length": own.length}, own.time)

    def _idle(self) -> str:
        """Why nothing will be learnt; empty if something will."""
        steps, done, first = self.settings.steps, self.task.steps_done, self.task.learning_starts
        if steps <= done:
            more = f"go on with a larger number, for example steps={2 * done}"
            return f"steps = {steps}: the run has done {done} already, and nothing is trained; {more}"
        if steps <= first:
            return f"steps = {steps}: nothing is learnt, as the first update comes after step {first} (learning_starts)"
        return ""

    def _follow(self) -> None:
        """Go on where the directory is, if somebody has renamed it."""
        former = short_path(self.run.path)
        if self.run.follow():
            for writer in (self.logger, self.episodes, self._start.notes):
                writer.move(self.run.path)
            self.checkpoints.move(self.run.checkpoints)
            self.callbacks.move(self.run.path)
            self.note(f"{former} is now called {short_path(self.run.path)}; the run goes on there")

    def say_notes(self, silent: bool = False) -> None:
        """Say what was found out that was not said before; of the task, `silent` only writes it down."""
        for note in (
            *self.logger.notes,
            *filter(None, [self.episodes.note]),
        ):  # of this directory, whoever else takes notes
            self.note(note)
        for note in self.task.added.troubles:
            self.note(note)
        for note in self.task.notes():
            self.note(note, silent)

    def note(self, note: str, silent: bool = False) -> None:
        """Say a note of this step."""
        self._start.notes(note, self.task.steps_done, self.progress.say, silent)

    def evaluate(self, draw: bool) -> Play[dict[str, float]]:
        """Evaluate and log, with pictures if wanted; the time does not count in the training rate."""
        with self._clock.paused():
            began = time.monotonic()
            step = self.task.steps_done
            stackable = isinstance(self.task, Stackable)
            found = (yield Request("evaluate")) if stackable else self.task.evaluate()
            measured = self._numbers("evaluate", found)
            measured |= self.task.added.evaluate(self.task, {**self._of_training, **measured})
            values = self._meaningful(measured)
            if step >= self.settings.steps:
                # Whatever cannot be written from here on, these are shown.
                self._start.figures = {"step": step, **self.latest, **values, "time/seconds": self.seconds}
            self._write(step, {**values, "time/evaluation_seconds": time.monotonic() - began})
            if draw:
                self._draw(step)
            if self.settings.histograms:
                self._histograms(step)
            index = step // self.settings.eval_every if self.settings.eval_every else 0
            every, end = self.settings.video_every, step >= self.settings.steps
            if every and self._start.draws and (end or index % every == 0):
                self._film(step)
            self._evaluated_at = step
            self.say_notes()
            self.callbacks.call("on_evaluation", step, values)
        return values

    def _meaningful(self, values: Mapping[str, float]) -> dict[str, float]:
        """Leave out, with a note, what is no finite number: a measure may have no meaning where training goes well."""
        lacking = self._start.meaningless = {tag: value for tag, value in values.items() if not math.isfinite(value)}
        for tag, value in lacking.items():
            ranked = "; no checkpoint of such a step becomes the best one" if tag == self.task.best[0] else ""
            self.note(f"{tag} = {value}: has no meaning here and is left out{ranked}")
            self.latest.pop(tag, None)  # a former value would pass for this one
        return {tag: value for tag, value in values.items() if tag not in lacking}

    def _draw(self, step: int) -> None:
        """Draw; a picture that fails is no reason to stop."""
        pictures: dict[str, Any] = {}
        try:
            pictures = dict(self.task.pictures())
        except Exception as error:
            self.note(f"pictures cannot be drawn ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
        self._drawn_at = step
        for tag, picture in {**self.task.added.draw(self.task), **pictures}.items():
            try:
                self.logger.pictures(step, {tag: picture})
            except Exception as error:
                why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                self.note(f"the picture {tag} cannot be drawn or kept ({why})")

    def _histograms(self, step: int) -> None:
        """Hand on histograms; what fails in that is no reason to stop."""
        try:
            with undisturbed(self.task):
                arrays = {tag: values.detach().float().cpu().numpy() for tag, values in self.task.histograms().items()}
            self.logger.histograms(step, {tag: own[np.isfinite(own)] for tag, own in arrays.items() if own.size})
        except Exception as error:
            self.note(f"histograms cannot be made ({type(error).__name__}: {' '.join(str(error).split())[:200]})")

    def _film(self, step: int) -> None:
        """Film; what fails in that is no reason to stop."""
        try:
            for name, gif in filmed(self.task, self.run.path, step):
                self.logger.film(step, f"film/{name}", gif)
        except Exception as error:
            self.note(f"no film of step {step} ({type(error).__name__}: {' '.join(str(error).split())[:200]})")

    def save(self, evaluation: Mapping[str, float]) -> None:
        """Save a checkpoint of this step; `evaluation` is this step's, if there was one."""
        with self._clock.paused():
            step = self.task.steps_done
            self._follow()
            self._log_episodes()
            self._ranks.told(dict(evaluation))
            with recorded(self.run):
                meta = {
                    **self.logger.flush(),
                    **self.episodes.flush(),
                    "wall_seconds": self.seconds,
                    "inputs": self._start.inputs,
                    "horizon": self.settings.planned,
                    "config": stored(self._start.config),
                    **exactness(self.settings, self.task, self._start.stacked),
                    **self._ranks.meta,
                }
                self._start.notes.flush()
                state = {"task": self.task.state_dict(), "global_random": global_random_state(), "latest": self.latest}
                if self._start.callbacks:
                    state["callbacks"] = self.callbacks.state_dict()
                if self._ranks.joint:
                    with self._ranks.all():
                        pass  # the others' parts stand
                try:
                    file = self.checkpoints.save(step, state, evaluation, meta)
                except TypeError as error:
                    if not str(error).startswith("state.task"):
                        raise
                    raise InputError(f"task = {type(self.task).__name__}: of state_dict, {error}") from error
            self.logger.settle()
            self.episodes.settle()
            self._saved_at = step
            tell(self.run, "running", step, show=self.progress.say, saved=step)
            self.callbacks.call("on_checkpoint", step, file)

    def keep(self) -> bool:
        """Save what was done before an input failed; tells whether that went well."""
        if self._ranks.joint:  # the others are in the middle of a step
            return False
        try:
            if self._saved_at != self.task.steps_done:
                self.save({})
        except RunError as error:
            self.progress.say(str(error))
            return False
        return True

    def finish(self) -> dict[str, float]:
        """Write summary.json and TensorBoard's HPARAMS page; returns the summary."""
        step = self.task.steps_done
        figures = {"step": step, **self.latest, **self.task.counts(), "time/seconds": self.seconds}
        summary = self._start.figures = figures
        if isinstance(self.task, Stackable) and not self.task.learner.update.moves:
            self.note(f"nothing was learnt: no update was made in {step} steps; see learning_starts, updates_per_step")
        self._follow()
        with recorded(self.run):
            self.run.write_summary(summary)
        ending = self.callbacks.ending
        early = "" if ending is None or step >= self.settings.steps else ending.reason
        if early:
            self.note(f"stopped at step {step} of {self.settings.steps}: {early}")
        tell(self.run, "finished", step, early, self.progress.say)
        return summary

    def ended(self, how: How) -> None:
        """Tell the callbacks and the sinks that it is over."""
        self.logger.end(how, self.latest)
        self.callbacks.end(self.task.steps_done, how, self.latest)
        for trouble in (*self.callbacks.troubles, *self.logger.notes):
            self.note(trouble)

    def loop(self, stop: Stop) -> Play[None]:
        """Train until `settings.steps` are done.

        Raises:
            Interrupted: a signal came; the state is saved.
            Diverged: something is not finite; the last good checkpoint stands.
        """
        task, settings = self.task, self.settings
        eval_every, save_every = settings.eval_every, settings.checkpoint_every
        step = task.steps_done
        evaluation: dict[str, float] = {}
        self.callbacks.call("on_start", step)
        while step < settings.steps:
            number, ending = self._ranks.stop(stop.number, self.callbacks.ending)
            if number is not None:
                self._interrupt(Interrupted(number, step), evaluation)
            if ending is not None:
                if not ending.finished:
                    self._interrupt(Paused(ending.reason, step), evaluation)
                yield from self._end_early(evaluation)
                return
            former = step
            if isinstance(task, Stackable):
                yield from task.play()
            else:
                task.advance()
            step = task.steps_done
            if step <= former:
                raise InputError(
                    f"task = {type(task).__name__}: advance made no step at {step}; count it, self.steps_done += 1"
                )
            self.progress.update(step)
            self.callbacks.step(step)
            end = step >= settings.steps
            if settings.logs(former, step):
                self.log()
            evaluation = {}
            if measures := end or crossed(eval_every, former, step):
                evaluation = yield from self.evaluate(end or self._start.draws)
            better = bool(save_every and evaluation) and self.checkpoints.would_be_best(evaluation)
            save = end or better or crossed(save_every, former, step)
            if measures:
                self._ranks.told(save)
            if save:
                self.save(evaluation)

    def _end_early(self, evaluation: Mapping[str, float]) -> Play[None]:
        """Measure, draw and save what has not been yet, as at the end of a whole run."""
        step = self.task.steps_done
        if self._evaluated_at == step:
            if self._drawn_at != step:
                with self._clock.paused():
                    self._draw(step)
        elif self.run.summary is None or self.run.summary.get("step") != step:
            evaluation = yield from self.evaluate(draw=True)
        if self._saved_at != step:
            self.save(evaluation)

    def _interrupt(self, how: Interrupted, evaluation: Mapping[str, float]) -> NoReturn:
        """Save, and end as interrupted."""
        if self._saved_at != how.step:
            self.save(evaluation)
        tell(self.run, "interrupted", how.step, how.reason, self.progress.say)
        raise how

    def close(self) -> None:
        """Close files, bar and task; what was made durable at the last save does not need it."""
        self.progress.close()
        with suppress(OSError):
            self.logger.close()
        with suppress(OSError):
            self.episodes.close()
        self.task.close()

    def _write(self, step: int, values: dict[str, float]) -> None:
        self.latest |= {tag: value for tag, value in values.items() if not tag.startswith(("time/", "progress/"))}
        self._follow()
        with recorded(self.run):
            self.logger.scalars(step, values)
        self.progress.metrics(values)
