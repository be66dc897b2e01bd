"""Which exploration solves what? Noise of actions and of parameters on dense and sparse rewards, and published marks.

The cells of `exploration` are DDPG with the networks and settings of `experiment=rl/study` (dense rewards) and
`rl/study_sparse`, one set per environment, whatever explores. The scale is one figure per environment: sigma of
Gaussian and of Ornstein-Uhlenbeck noise (whose spread in the long run is 1.9 sigma, as theta = 0.15 has it), the first
sigma of parameter noise and the distance delta it is adapted to, both parts of the mixture. The cells of `defaults` are
the experiments that stand ready, by the settings in conf/exploration and on seeds on which nothing was chosen; those of
`ready` are further ones, by the exploration that they name. Those of `marks` stand beside figures that others have
printed.

A seed is solved at an evaluation whose mean return reaches the environment's threshold; a cell is evaluated about ten
times in its course.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.harness import Options, Report
from scripts.studies.study import RESULTS, Cell, SeedRow, Table, grouped, heading, markdown, work

BLOCKS = 1
SEEDS, EVALUATIONS = 5, 10

EXPLORATIONS: dict[str, Callable[[float], tuple[str, ...]]] = {
    "none": lambda scale: ("exploration=none",),
    "gaussian": lambda scale: ("exploration=gaussian", f"exploration.sigma={scale}"),
    "ou": lambda scale: ("exploration=ornstein_uhlenbeck", f"exploration.sigma={scale}"),
    "ou, dt 0.01": lambda scale: (
        "exploration=ornstein_uhlenbeck", f"exploration.sigma={scale}", "exploration.dt=0.01",
    ),
    "parameter": lambda scale: (
        "exploration=parameter", f"exploration.sigma={scale}", f"exploration.delta={scale}",
    ),
    "mixed": lambda scale: (
        "exploration=mixed",
        f"exploration.parameter.sigma={scale}",
        f"exploration.parameter.delta={scale}",
        f"exploration.action.sigma={scale}",
    ),
}  # fmt: skip
"""What explores, at a scale."""
SPARSE_ALONE = ("ou, dt 0.01",)
"""What explores on sparse rewards only: the constant of openai/baselines, whose noise drifts over 667 steps, not 7."""
COLOURS = {name: f"C{i}" for i, name in enumerate(EXPLORATIONS)}


@dataclass(frozen=True)
class Task:
    """An environment of the table.

    Args:
        id: its name.
        overrides: that choose it and its settings.
        steps: of a seed.
        scale: of the exploration.
        solved: mean return from which on it counts as solved.
    """

    id: str
    overrides: tuple[str, ...]
    steps: int
    scale: float
    solved: float


TASKS = (
    Task("Pendulum-v1", ("experiment=rl/study", "env=pendulum"), 20_000, 0.2, -200.0),
    Task(
        "MountainCarContinuous-v0",
        ("experiment=rl/study", "env=mountain_car", "agent.discount=0.99"),
        50_000,
        0.6,
        90.0,  # gymnasium's own threshold
    ),
    # The return is 1 for an episode that comes to the goal: half of them.
    Task("SparseMountainCar", ("experiment=rl/study_sparse", "env=sparse_mountain_car"), 100_000, 0.6, 0.5),
    # A step counts 1 while the pole is up, of 500 steps: a fifth of them, which swinging past does not give.
    Task("SparseCartPoleSwingUp", ("experiment=rl/study_sparse", "env=sparse_cart_pole"), 100_000, 0.6, 100.0),
)
SPARSE = ("SparseMountainCar", "SparseCartPoleSwingUp")

DEFAULTS = {
    "Pendulum-v1": ("experiment=rl/pendulum",),
    "MountainCarContinuous-v0": ("experiment=rl/mountain_car",),
    "SparseMountainCar": ("experiment=rl/sparse_mountain_car",),
}
"""environment -> the experiment that stands ready for it; its cells explore by what is written in conf/exploration."""
OWN = ("gaussian", "ornstein_uhlenbeck", "parameter", "mixed")
FRESH = "seeds=[10,11,12,13,14]"
"""On which nothing was chosen."""

READY = {
    "SparseCartPoleSwingUp": ("experiment=rl/sparse_cart_pole",),
    "SparseDoublePendulum": ("experiment=rl/sparse_double_pendulum",),
    "SparseHalfCheetah": ("experiment=rl/sparse_half_cheetah",),
}
"""environment -> the experiment that stands ready for it and is trained just as it stands, on those seeds."""
SOLVED = {task.id: task.solved for task in TASKS} | {
    # A fifth of an episode's steps, as for the cart pole.
    "SparseDoublePendulum": 100.0,
    "SparseHalfCheetah": 100.0,
}
"""environment -> mean return from which on it counts as solved."""

SMALL = ("network@critic.network=mlp_64", "network@actor.network=mlp_64", "batch_size=128")
MARKS = {
    ("Pendulum-v1", "ddpg"): ("experiment=rl/pendulum", "agent=ddpg"),
    ("Pendulum-v1", "td3"): ("experiment=rl/pendulum_td3",),
    ("InvertedPendulum-v5", "td3"): ("experiment=rl/td3", "env=inverted_pendulum", *SMALL),
    ("HalfCheetah-v5", "td3"): ("experiment=rl/half_cheetah",),
    ("LunarLander-v3", "ddpg"): ("experiment=rl/lunar_lander",),
    ("Hopper-v5", "td3"): ("experiment=rl/hopper",),
    ("BipedalWalker-v3", "td3"): ("experiment=rl/bipedal_walker",),
}
"""(environment, agent) -> its overrides; Gaussian noise of 0.1."""
LENGTHS = {
    "Pendulum-v1": (20_000, 10, 100),
    "InvertedPendulum-v5": (100_000, 3, 10),
    "HalfCheetah-v5": (100_000, 5, 10),
    "LunarLander-v3": (300_000, 5, 20),
    "Hopper-v5": (300_000, 5, 10),
    "BipedalWalker-v3": (1_000_000, 1, 10),
}
"""Steps, seeds and episodes of an evaluation of the marks. Pendulum's return is mostly the luck of the start: over
episodes it has a standard deviation of 90."""
AIMS = {
    "InvertedPendulum-v5": 1000.0,
    "HalfCheetah-v5": 5514.0,
    "LunarLander-v3": 208.0,
    "Hopper-v5": 2410.0,
    "BipedalWalker-v3": 306.0,
}
"""Mean return over seeds that a mark is held against."""
PUBLISHED = (
    "published: HalfCheetah 5514 at 100k steps, Hopper 2410 at 300k (TD3's paper, means of 10 seeds); Pendulum -152, "
    "LunarLander 230 by DDPG and 208 by TD3 at 300k, BipedalWalker 306 at 1M (rl-zoo, one run each)"
)

LABELS = ("table", "environment", "agent", "exploration")
TAGS = {
    "return": "return/eval",
    "length": "return/eval_length",
    "q_bias": "critic/q_bias",
    "sigma": "exploration/sigma",
    "distance": "exploration/distance",
}
COLUMNS = (*LABELS, "seed", "step", *TAGS, "seconds", "cpu_seconds")


def run(options: Options, report: Report) -> None:
    """Train what is missing, show the tables, draw them, and hold them against the marks."""
    table = study_table(RESULTS / "rl" / "study.csv")
    every = cells(options.seeds, options.steps)
    if not options.table:
        work(every, table, TAGS, options.only)
    rows = table.rows
    report.note(f"{len(table.commands)} of {len(every)} cells are in {table.path.name}")
    print(f"\n{summary(rows)}\n", flush=True)
    judge(rows, report)
    if rows:
        draw(rows, table.path.with_suffix(".png"))


def study_table(path: Path) -> Table:
    """The CSV of this study: a row for every evaluation of every seed."""
    return Table(
        path,
        COLUMNS,
        (
            heading(),
            "Below each command its rows, one a seed and evaluation. return, length: mean over the evaluation's",
            "episodes, without noise; q_bias: critic/q_bias; sigma, distance: of the exploration; seconds and",
            "cpu_seconds: of the whole cell over its seeds, with compilation, evaluation and pictures.",
        ),
    )


def cells(seeds: int | None = None, steps: int | None = None) -> list[Cell]:
    """Explorations by environment, at one scale and by their own defaults, what stands ready, then the marks."""
    explored = [
        Cell(
            dict(zip(LABELS, ("exploration", task.id, "ddpg", name), strict=True)),
            (*task.overrides, *explore(task.scale), *_length(steps or task.steps), f"seeds={seeds or SEEDS}"),
            evaluations=True,
        )
        for task in TASKS
        for name, explore in explorations(task).items()
    ]
    marks = [
        Cell(
            dict(zip(LABELS, ("marks", id, agent, "gaussian"), strict=True)),
            (
                *overrides,
                *_length(steps or LENGTHS[id][0], LENGTHS[id][2]),
                f"seeds={seeds or LENGTHS[id][1]}",
                "checkpoint_every=0",
            ),
            evaluations=True,
        )
        for (id, agent), overrides in MARKS.items()
    ]
    own = [
        Cell(
            dict(zip(LABELS, ("defaults", id, "ddpg", name), strict=True)),
            (*overrides, f"exploration={name}", "compile=true", "checkpoint_every=0", FRESH),
            evaluations=True,
        )
        for id, overrides in DEFAULTS.items()
        for name in OWN
    ]
    ready = [
        Cell(
            dict(zip(LABELS, ("ready", id, "ddpg", "parameter"), strict=True)),
            (*overrides, "compile=true", "checkpoint_every=0", FRESH),
            evaluations=True,
        )
        for id, overrides in READY.items()
    ]
    return explored + own + ready + marks


def explorations(task: Task) -> dict[str, Callable[[float], tuple[str, ...]]]:
    """Those of a task."""
    return {name: made for name, made in EXPLORATIONS.items() if task.id in SPARSE or name not in SPARSE_ALONE}


def _length(steps: int, episodes: int = 10) -> tuple[str, ...]:
    every = max(steps // EVALUATIONS, 1)
    return f"steps={steps}", f"eval_every={every}", f"log_every={every}", "compile=true", f"eval_episodes={episodes}"


@dataclass(frozen=True)
class Curve:
    """A seed's evaluations in their order: steps (n,), returns (n,); a seed that failed has none."""

    steps: tuple[int, ...]
    returns: tuple[float, ...]

    def first(self, solved: float) -> int | None:
        """The first step at which the return is at least `solved`."""
        return next((step for step, value in zip(self.steps, self.returns, strict=True) if value >= solved), None)

    def ends(self, solved: float) -> bool:
        """Whether it is so at the last one."""
        return bool(self.returns) and self.returns[-1] >= solved


def curves(rows: Sequence[SeedRow]) -> list[Curve]:
    """Of each seed of one cell."""
    found = []
    for own in grouped(rows, ("seed",)).values():
        points = sorted((int(row["step"]), float(row["return"])) for row in own if row["step"] != "nan")
        found.append(Curve(tuple(step for step, _ in points), tuple(value for _, value in points)))
    return found


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Interquartile mean and its 95 % bootstrap interval; NaN of no values."""
    import numpy as np

    from rlgan.task.statistics import bootstrap_interval, interquartile_mean

    if not values:
        return math.nan, math.nan, math.nan
    array = np.array(values)
    return float(interquartile_mean(array)), *bootstrap_interval(array, statistic=interquartile_mean)


def last_returns(seeds: Sequence[Curve]) -> list[float]:
    """Of the seeds that did not fail."""
    return [seed.returns[-1] for seed in seeds if seed.returns]


def summary(rows: Sequence[SeedRow]) -> str:
    """Return at the end (IQM, 95 % interval, least seed), seeds solved at the end and ever, steps to solve (median)."""
    header = (
        "table", "environment", "agent", "exploration", "steps", "return, IQM (95 %)", "least seed", "solved from",
        "solved at the end", "ever", "steps to solve", "s a seed",
    )  # fmt: skip
    lines = []
    for (table, id, agent, exploration), own in grouped(rows, LABELS).items():
        seeds = curves(own)
        iqm, low, high = middle(last_returns(seeds))
        shown: tuple[str, ...] = ("", "", "", "")
        if table != "marks":
            firsts = [step for seed in seeds if (step := seed.first(SOLVED[id])) is not None]
            shown = (
                f"{SOLVED[id]:g}",
                f"{sum(seed.ends(SOLVED[id]) for seed in seeds)} of {len(seeds)}",
                f"{len(firsts)} of {len(seeds)}",
                f"{statistics.median(firsts):,.0f}" if firsts else "none",
            )
        steps = max((step for seed in seeds for step in seed.steps), default=0)
        lines.append(
            (
                table,
                id,
                agent,
                exploration,
                f"{steps:,}",
                f"{iqm:.4g} ({low:.4g} to {high:.4g})",
                f"{min(last_returns(seeds), default=math.nan):.4g}",
                *shown,
                f"{float(own[0]['seconds']):.0f}",
            )
        )
    return markdown(header, lines)


def judge(rows: Sequence[SeedRow], report: Report) -> None:
    """What is there against what is aimed at."""
    found = {labels: curves(own) for labels, own in grouped(rows, LABELS).items()}
    shares = {
        (id, exploration): sum(seed.ends(SOLVED[id]) for seed in seeds) / len(seeds)
        for (table, id, _, exploration), seeds in found.items()
        if table == "exploration"
    }
    car = [share for (id, _), share in shares.items() if id == "MountainCarContinuous-v0"]
    if car:
        report.mark("MountainCarContinuous-v0: largest share of seeds solved (>= 90)", max(car), at_least=1.0)
    for id in SPARSE:
        if all((id, name) in shares for name in ("gaussian", "ou", "parameter")):
            more = shares[id, "parameter"] - max(shares[id, "gaussian"], shares[id, "ou"])
            report.mark(
                f"{id}: share solved by parameter noise, less the better of Gaussian and OU", more, at_least=0.2
            )
    ends = {(id, agent): last_returns(seeds) for (table, id, agent, _), seeds in found.items() if table == "marks"}
    for (id, agent), values in ends.items():
        if not values:
            continue
        if id == "Pendulum-v1":
            report.mark(f"{id}, {agent}: IQM of {len(values)} seeds", middle(values)[0], at_least=-152.0)
        else:
            report.mark(f"{id}, {agent}: mean of {len(values)} seeds", statistics.mean(values), at_least=AIMS[id])
    if ends:
        report.note(PUBLISHED)


def draw(rows: Sequence[SeedRow], path: Path) -> None:
    """By environment: IQM of the last return (bars, 95 % whiskers, seeds as dots), and of all returns by step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    cells = {labels: curves(own) for labels, own in grouped(rows, LABELS).items()}
    figure = Figure(figsize=(4 * len(TASKS), 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(TASKS), squeeze=False)
    for j, task in enumerate(TASKS):
        bars, lines = axes[:, j]
        names = list(explorations(task))
        for i, name in enumerate(names):
            seeds = cells.get(("exploration", task.id, "ddpg", name), [])
            values = last_returns(seeds)
            if not values:
                continue
            iqm, low, high = middle(values)
            bars.bar(i, iqm, 0.8, color=COLOURS[name], alpha=0.6)
            bars.vlines(i, low, high, color="black", linewidth=1)
            # Beside the whisker, a little apart: equal seeds stay several dots.
            xs = [i + 0.2 + 0.1 * (k / max(len(values) - 1, 1) - 0.5) for k in range(len(values))]
            bars.plot(xs, values, ".", color="black", markersize=4)
            steps = sorted({step for seed in seeds for step in seed.steps})
            at = [dict(zip(seed.steps, seed.returns, strict=True)) for seed in seeds]
            band = [middle([own[step] for own in at if step in own]) for step in steps]
            lines.plot(steps, [point[0] for point in band], color=COLOURS[name])
            lines.fill_between(
                steps,
                [point[1] for point in band],
                [point[2] for point in band],
                color=COLOURS[name],
                alpha=0.12,
                linewidth=0,
            )
        for axis in (bars, lines):
            axis.axhline(task.solved, color="grey", linewidth=0.8, linestyle=":")
        bars.set_title(task.id)
        bars.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names], fontsize=8)
        bars.set_xlim(-0.5, len(names) - 0.5)
        lines.set_xlim(0, None)
        lines.ticklabel_format(axis="x", style="sci", scilimits=(3, 3))
        lines.set_xlabel("environment steps")
    axes[0, 0].set_ylabel("return at the end: IQM, 95 %, seeds")
    axes[1, 0].set_ylabel("return: IQM, 95 %")
    handles = [Patch(color=colour, alpha=0.6, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(EXPLORATIONS), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
