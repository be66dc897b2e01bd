"""A trained run in hand."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlgan.face.calls import Call
from rlgan.face.guests import guest, looking
from rlgan.face.shown import as_html
from rlgan.runs.evaluate import evaluate_run, evaluate_seeds
from rlgan.runs.record.directory import read_config, short_path
from rlgan.runs.record.files import read_json
from rlgan.runs.share.card import what
from rlgan.runs.share.exported import is_exported, restored_from
from rlgan.runs.study.reading import Curve, read_curves, tags_of
from rlgan.task.errors import ConfigError, RunError

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Source:
    """Where a run was loaded from, and how.

    Args:
        path: its folder.
        checkpoint: best, last or a step, as asked for.
        trust: packages whose classes its configuration may name.
        device: for its networks; None is its own.
    """

    path: Path
    checkpoint: str
    trust: tuple[str, ...]
    device: str | None


class Trained:
    """A trained run: what it has learnt, to be called with numpy arrays; configuration, metrics, pictures.

    `rlgan.load` and `rlgan.train` make it. It is a copy in memory: the run's folder stays as it is, but for `evaluate`.

    Args:
        source: where it was loaded from.
        config: the run's configuration.
        calls: what it has learnt, by name.
        step: of the checkpoint.
        chosen: best, last or exported.
        metrics: of the checkpoint, where it was measured.
        best: the tag that ranks checkpoints.
        kind: of `members`: seed or variant.
        members: the folders of its seeds, or of a comparison's variants, by name.

    Attributes:
        path: the run's folder.
        config: the run's configuration, plain.
        step: steps that its checkpoint was trained for.
        functions: everything that can be called, by name: `policy`, `critic`, `generator`, `model`, or a task's own.
        seeds: of the run.
        variants: of a comparison.
    """

    def __init__(
        self,
        source: Source,
        config: Mapping[str, Any],
        *,
        calls: Mapping[str, Call] | None = None,
        step: int = 0,
        chosen: str = "",
        metrics: Mapping[str, float] | None = None,
        best: str = "",
        kind: str = "",
        members: Mapping[str, Path] | None = None,
    ) -> None:
        self._source, self._chosen, self._measured, self._best = source, chosen, dict(metrics or {}), best
        self._kind, self._members = kind, dict(members or {})
        self.path, self.config, self.step = source.path, dict(config), step
        self.functions: Mapping[str, Call] = dict(calls or {})

    @property
    def at_checkpoint(self) -> str:
        """Which checkpoint it was loaded from: its step; of several runs, what was asked for."""
        return self._source.checkpoint if self._members else str(self.step)

    @property
    def trusted(self) -> tuple[str, ...]:
        """The packages whose classes its configuration may name."""
        return self._source.trust

    @property
    def seeds(self) -> list[int]:
        """The seeds of the run."""
        return [int(name) for name in self._members] if self._kind == "seed" else [int(self.config.get("seed") or 0)]

    @property
    def variants(self) -> list[str]:
        """The names of a comparison's variants; empty of any other run."""
        return list(self._members) if self._kind == "variant" else []

    def seed(self, seed: int) -> Trained:
        """One seed of a run with `seeds=`."""
        if self._kind != "seed" and seed in self.seeds:
            return self
        return self._member(str(seed), "seed")

    def variant(self, name: str) -> Trained:
        """One variant of a comparison."""
        return self._member(name, "variant")

    def _member(self, name: str, kind: str) -> Trained:
        if kind != self._kind or name not in self._members:
            alone = str(self.seeds[0]) if kind == "seed" and not self._members else "none"
            there = ", ".join(self._members) if kind == self._kind else alone
            raise ConfigError(f"{kind} = {name}: {short_path(self.path)} has no such {kind}; it has {there}")
        return _loaded(replace(self._source, path=self._members[name]))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, also in another process, is loaded from the run's folder."""
        source = replace(self._source, path=self.path.resolve(), checkpoint=self.at_checkpoint)
        return _loaded, (source,)

    def __getattr__(self, name: str) -> Call:
        functions = self.__dict__.get("functions", {})
        if name in functions:
            found: Call = functions[name]
            return found
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(self._lacking(name))

    def _lacking(self, name: str) -> str:
        shown = short_path(self.__dict__["path"]) if "path" in self.__dict__ else "run"
        if self.__dict__.get("_members"):
            first = next(iter(self._members))
            one = f"run.seed({first})" if self._kind == "seed" else f"run.variant({first!r})"
            return f"{name}: {shown} is of several {self._kind}s ({', '.join(self._members)}); take one by {one}"
        there = ", ".join(self.__dict__.get("functions", {})) or "nothing"
        return f"{name}: {shown} has no {name}; what it has learnt is called by {there}"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.functions})

    def sample(self, n: int, seed: int = 0) -> NDArray[Any]:
        """`n` samples of the generator, (n, *shape) in the data's own units; the same for the same `seed`.

        Raises:
            ConfigError: the run has no generator.
        """
        if "generator" not in self.functions:
            raise ConfigError(self._lacking("generator"))
        return self.functions["generator"].sample(n, seed)

    @property
    def summary(self) -> dict[str, Any]:
        """The final metrics; of several seeds those over all of them; empty before the run has finished."""
        try:
            return read_json(self.path / "summary.json")
        except (OSError, ValueError):
            return dict(self._measured)

    def metrics(self, as_frame: bool = False) -> Any:
        """Everything that was logged.

        Args:
            as_frame: a pandas.DataFrame with the steps as its index and a column for each tag; of several seeds the
                index is (seed, step).

        Returns:
            By tag, `steps` (n,) and `values` (n,), a pair. Of several seeds the values are (seeds, n), NaN where a
            seed has none.

        Raises:
            RunError: it was exported, or is a comparison: there are no curves.
            ConfigError: `as_frame` without pandas.
        """
        if self._kind == "variant":
            raise RunError(self._lacking("metrics"))
        if not (self.path / "overrides.jsonl").exists():
            raise RunError(f"{short_path(self.path)}: was exported without its curves; the run's own folder has them")
        places = self._members or {"": self.path}
        found = {name: curves_of(place) for name, place in places.items()}
        if as_frame:
            return _frame(found, bool(self._members))
        return _over(list(found.values())) if self._members else found[""]

    def evaluate(self, n: int | None = None, *, episodes: int | None = None, curvature: bool = False) -> dict[str, Any]:
        """Measure the checkpoint in full, as `rlgan evaluate` does, which is kept in RUN/evaluation.json too.

        Args:
            n: samples that a generator draws.
            episodes: that an agent plays.
            curvature: also the loss around each player, as `curvature/<player>/<number>`.

        Returns:
            The metrics by tag; of several seeds `mean`, `iqm` and so on of each.
        """
        changes: dict[str, Any] = {} if self._source.device is None else {"device": self._source.device}
        if episodes is not None:
            if "eval_episodes" not in read_config(self._one()):
                raise ConfigError(f"episodes = {episodes}: this run plays no episodes; leave it out")
            changes["eval_episodes"] = episodes
        with guest(), looking(self._source.trust):
            if is_exported(self.path):
                task, _ = restored_from(self.path, changes)
                with closing(task):
                    return dict(task.examine(n).metrics)
            if self._kind == "variant":
                raise ConfigError(self._lacking("evaluate"))
            how: dict[str, Any] = {"changes": changes, "curvature": curvature, "n": n}
            if self._kind == "seed":
                return dict(evaluate_seeds(self.path, self._source.checkpoint, **how).figures)
            result = evaluate_run(self.path, self._source.checkpoint, **how)
        curved = {f"curvature/{name}/{key}": x for name, own in result.curvature.items() for key, x in own.items()}
        return {**result.metrics, **curved}

    def _one(self) -> Path:
        return next(iter(self._members.values()), self.path)

    def __repr__(self) -> str:
        return f"<rlgan run {short_path(self.path)}: {self._described()}>"

    def _described(self) -> str:
        if self._members:
            names = ", ".join(list(self._members)[:8]) + (", ..." if len(self._members) > 8 else "")
            return f"{what(self.config)}, {self._kind}s {names}"
        score = self._measured.get(self._best)
        tail = "" if score is None else f", {self._best} {score:.4g}"
        called = ", ".join(self.functions) or "nothing to call"
        return f"{what(self.config)}, step {self.step} ({self._chosen}){tail}; {called}"

    def _repr_html_(self) -> str:
        return as_html(self)

    def at(self, checkpoint: str | int) -> Trained:
        """The same run at another checkpoint: best, last or a step."""
        return _loaded(replace(self._source, checkpoint=str(checkpoint)))


def _loaded(source: Source) -> Trained:
    from rlgan.face.loading import load

    return load(source.path, source.checkpoint, trust=source.trust, device=source.device)


def curves_of(run: Path) -> dict[str, Curve]:
    """Every metric that a run of one seed has logged."""
    file = run / "metrics.jsonl"
    return read_curves(file.read_bytes(), sorted(tags_of(run))) if file.is_file() else {}


def _over(runs: list[dict[str, Curve]]) -> dict[str, Curve]:
    """One table of every metric: (seeds, n) over the union of the steps."""
    found = {}
    for tag in dict.fromkeys(tag for own in runs for tag in own):
        steps = np.unique(np.concatenate([own[tag].steps for own in runs if tag in own]))
        values = np.full((len(runs), len(steps)), np.nan)
        for row, own in zip(values, runs, strict=True):
            if tag in own:
                row[np.searchsorted(steps, own[tag].steps)] = own[tag].values
        found[tag] = Curve(steps, values)
    return found


def _frame(runs: Mapping[str, Mapping[str, Curve]], several: bool) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError as error:
        raise ConfigError("as_frame = true: needs pandas, which is not installed; pip install pandas") from error
    frames = {
        name: pandas.DataFrame({tag: pandas.Series(c.values, index=c.steps.astype(int)) for tag, c in own.items()})
        for name, own in runs.items()
    }
    if not several:
        return frames[""].rename_axis("step")
    return pandas.concat({int(name): frame for name, frame in frames.items()}, names=["seed", "step"])
