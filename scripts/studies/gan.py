"""Which Lipschitz control, which order of play, which average? The ring and the grid over seeds, as one table.

Every cell has the networks, the minibatch (128), the rates of `experiment=gan/study`, which fall to 1 %, and one of two
methods: rmsprop under clipping (Arjovsky et al. 2017), Adam with beta 0 and 0.9 under every other control (Gulrajani et
al. 2017, Miyato et al. 2018). Nothing is chosen per cell. The generator is updated 12,000 times on the grid and 3,000
times on the ring. The averages are of one and the same run. A simultaneous and an alternating move are a step of each
player, `alternating 3` has three of the critic, an extragradient move is two gradients for a step of each: at equal
generator updates their costs differ, and are shown. The settings were found on seed 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks.harness import Options, Report
from scripts.studies.study import (
    RESULTS,
    Cell,
    SeedRow,
    Table,
    grouped,
    heading,
    markdown,
    means,
    t_interval,
    told_apart,
    values,
    work,
)

BLOCKS = 1
STEPS, SEEDS = {"grid": 12000, "ring": 3000}, 5
FIRST = 10
"""Of the seeds."""

ADAM = ("critic.optimizer.beta1=0", "generator.optimizer.beta1=0")
GROUPSORT = ("lipschitz=none", "network@critic.network=orthogonal", "critic.network.hidden=[128,128]")
RMSPROP = ("optimizer@critic.optimizer=rmsprop", "optimizer@generator.optimizer=rmsprop")
CONTROLS = {
    "clip": ("lipschitz=clip", *RMSPROP),
    "GP": ("lipschitz=gradient_penalty", *ADAM),
    "LP": ("lipschitz=one_sided", *ADAM),
    "SN": ("lipschitz=spectral_norm", *ADAM),
    "GroupSort": (*GROUPSORT, *ADAM),
}
GAMES = {
    "simultaneous": ("game=simultaneous",),
    "alternating": ("game=alternating",),
    "alternating 3": ("game=alternating_3",),
    "extragradient": ("game=extragradient",),
}
AVERAGES = ("ema", "uniform", "none")
"""Of `averaging=several`, the run's own first."""

TAGS = {
    "modes": "modes/covered",
    "high_quality": "modes/high_quality",
    "reverse_kl": "modes/reverse_kl",
    "smallest_spread": "modes/smallest_spread",
    "w1": "wasserstein/primal",
    "dual": "wasserstein/dual_eval",
    "slope": "critic/lipschitz",
}
COLUMNS = ("data", "control", "game", "average", "seed", *TAGS, "seconds", "cpu_seconds")


def run(options: Options, report: Report) -> None:
    """Train what is missing, show the table and draw it."""
    seeds = options.seeds or SEEDS
    table = study_table(RESULTS / "gan" / "study.csv")
    if not options.table:
        work(cells(seeds, options.steps), table, TAGS, options.only)
    rows = table.rows
    report.note(f"{len(table.commands)} of {len(STEPS) * len(CONTROLS) * len(GAMES)} cells are in {table.path.name}")
    print(f"\n{summary(rows)}\n\n{conclusions(rows)}", flush=True)
    if rows:
        draw(rows, RESULTS / "gan" / "study.png")


def study_table(path: Path) -> Table:
    """The CSV of this study."""
    return Table(
        path,
        COLUMNS,
        (
            heading(),
            "Below each command its rows, one a seed and average. w1: exact, 1,024 samples; dual, slope: the critic's;",
            "seconds, cpu_seconds: of the whole cell over its seeds, with compilation, evaluation and pictures; CPU",
            "time is this process's, without the C++ compiler.",
        ),
    )


def cells(seeds: int = SEEDS, steps: int | None = None) -> list[Cell]:
    """All of them: on the ring first; `steps` in place of `STEPS`."""
    which = ",".join(str(FIRST + k) for k in range(seeds))
    return [
        Cell(
            {"data": data, "control": control, "game": game},
            ("experiment=gan/study", f"data={data}", *by, *play, f"seeds=[{which}]", f"steps={steps or length}"),
            AVERAGES,
        )
        for data, length in STEPS.items()
        for control, by in CONTROLS.items()
        for game, play in GAMES.items()
    ]


def summary(rows: Sequence[SeedRow]) -> str:
    """Means over the seeds in Markdown, the worst seed in brackets; of high quality a 95 % t interval as well."""
    header = (
        "data", "control", "game", "average", "modes", "HQ %", "95 % from, to", "narrowest", "W1", "s a seed", "CPU s",
    )  # fmt: skip
    lines = []
    for labels, own in grouped(rows, ("data", "control", "game", "average")).items():
        found = means(own, (*TAGS, "seconds", "cpu_seconds"))
        modes, high, spread, w1 = (found[name] for name in ("modes", "high_quality", "smallest_spread", "w1"))
        low, up = t_interval(values(own, "high_quality"))
        lines.append(
            (
                *labels,
                f"{modes[0]:.1f} ({modes[1]:.0f})",
                f"{100 * high[0]:.1f} ({100 * high[1]:.0f})",
                f"{100 * max(low, 0):.0f}, {100 * min(up, 1):.0f}",
                f"{spread[0]:.2f} ({spread[1]:.2f})",
                f"{w1[0]:.3f} ({w1[2]:.3f})",
                f"{found['seconds'][0]:.0f}",
                f"{found['cpu_seconds'][0]:.0f}",
            )
        )
    return markdown(header, lines)


def conclusions(rows: Sequence[SeedRow]) -> str:
    """Which controls differ in high quality within an order of play, and which orders within a control (EMA)."""
    lines = ["High quality, Welch's t test, 5 % over all pairs of a line (Holm):"]
    for within, what in (("game", "control"), ("control", "game")):
        own = [row for row in rows if row["average"] == AVERAGES[0]]
        for (data, name), cell in grouped(own, ("data", within)).items():
            groups = {label: values(seeds, "high_quality") for (label,), seeds in grouped(cell, (what,)).items()}
            apart, open_ = told_apart(groups)
            above = ", ".join(f"{one} > {other}" for one, other in apart) or "none"
            lines.append(
                f"- {data}, {name}: {above}; not told apart: {', '.join(f'{a} and {b}' for a, b in open_) or 'none'}"
            )
    return "\n".join(lines)


def draw(rows: Sequence[SeedRow], path: Path) -> None:
    """Modes, high quality, the narrowest mode and W1 by control and game: means of the EMA, 95 % intervals, seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    shown = {
        "modes": ("modes covered", {"ring": 8.0, "grid": 25.0}),
        "high_quality": ("share of high quality", dict.fromkeys(STEPS, 0.989)),
        "smallest_spread": ("narrowest mode / sigma", dict.fromkeys(STEPS, 1.0)),
        "w1": ("exact W1", {}),
    }
    cells = grouped([row for row in rows if row["average"] == AVERAGES[0]], ("data", "control", "game"))
    figure = Figure(figsize=(11, 10), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), len(STEPS), squeeze=False)
    width = 0.8 / len(GAMES)
    for i, (column, (label, best)) in enumerate(shown.items()):
        for j, data in enumerate(STEPS):
            axis = axes[i, j]
            for g, game in enumerate(GAMES):
                for c, control in enumerate(CONTROLS):
                    if (data, control, game) not in cells:
                        continue
                    own = cells[data, control, game]
                    x = c + (g - (len(GAMES) - 1) / 2) * width
                    mean = means(own, (column,))[column][0]
                    half = t_interval(values(own, column))[1] - mean
                    axis.bar(x, mean, 0.9 * width, yerr=half, color=f"C{g}", alpha=0.6, error_kw={"linewidth": 0.8})
                    axis.plot([x] * len(own), [float(row[column]) for row in own], ".", color="black", markersize=3)
            if data in best:
                axis.axhline(best[data], color="grey", linewidth=0.8, linestyle=":")
            axis.set_xticks(range(len(CONTROLS)), list(CONTROLS))
            axis.set_xlim(-0.5, len(CONTROLS) - 0.5)
            axis.set_ylim(bottom=0)
            if j == 0:
                axis.set_ylabel(label)
            if i == 0:
                axis.set_title(data)
    handles = [Patch(color=f"C{g}", alpha=0.6, label=game) for g, game in enumerate(GAMES)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(GAMES), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
