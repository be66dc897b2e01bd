"""Which Lipschitz control, which order of play, which average? The ring and the grid over seeds, as one table.

Every cell has the networks (2 x 64), the minibatch (128), the number of generator updates (4,000 on the ring, 6,000 on
the grid) and the constant learning rates of `experiment=gan/study`, and one of two methods: rmsprop under clipping, as
the default task has it (critic 2e-3, generator 2e-4), and adam_wgan under every other control (1e-3, 2e-4: with equal
rates, simultaneous play does not hold). On the grid, which is wider, rates are 2e-3 and 5e-4 and the generator begins
by He's rule; nothing is chosen per cell. The averages are of one and the same run. An
alternating move is five steps of the critic and one of the generator, a simultaneous one a step of each, an
extragradient one two gradients for a step of each: at equal generator updates their costs differ, and are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks.harness import Options, Report
from scripts.studies.study import RESULTS, Cell, SeedRow, Table, grouped, heading, markdown, means, work

BLOCKS = 1
STEPS, SEEDS = {"ring": 4000, "grid": 6000}, 5

DATA = {"ring": (), "grid": ("generator.network.init=he", "critic.optimizer.lr=2e-3", "generator.optimizer.lr=5e-4")}
GROUPSORT = ("lipschitz=none", "network@critic.network=orthogonal", "critic.network.hidden=[64,64]")
RMSPROP = ("optimizer@critic.optimizer=rmsprop", "optimizer@generator.optimizer=rmsprop", "critic.optimizer.lr=2e-3")
CONTROLS = {
    "clip": ("lipschitz=clip", *RMSPROP),
    "GP": ("lipschitz=gradient_penalty",),
    "LP": ("lipschitz=one_sided",),
    "SN": ("lipschitz=spectral_norm",),
    "GroupSort": GROUPSORT,
}
GAMES = {
    "simultaneous": ("game=simultaneous",),
    "alternating 5": ("game=alternating_5",),
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
    report.note(f"{len(table.commands)} of {len(DATA) * len(CONTROLS) * len(GAMES)} cells are in {table.path.name}")
    print(f"\n{summary(rows)}", flush=True)
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
    return [
        Cell(
            {"data": data, "control": control, "game": game},
            (
                "experiment=gan/study",
                f"data={data}",
                *own,
                *by,
                *play,
                f"seeds={seeds}",
                f"steps={steps or STEPS[data]}",
            ),
            AVERAGES,
        )
        for data, own in DATA.items()
        for control, by in CONTROLS.items()
        for game, play in GAMES.items()
    ]


def summary(rows: Sequence[SeedRow]) -> str:
    """Means over the seeds in Markdown, the worst seed in brackets."""
    header = (
        "data", "control", "game", "average", "modes", "HQ %", "reverse KL", "narrowest", "W1", "s a seed", "CPU s",
    )  # fmt: skip
    lines = []
    for labels, own in grouped(rows, ("data", "control", "game", "average")).items():
        found = means(own, (*TAGS, "seconds", "cpu_seconds"))
        modes, high, kl = found["modes"], found["high_quality"], found["reverse_kl"]
        spread, w1 = found["smallest_spread"], found["w1"]
        lines.append(
            (
                *labels,
                f"{modes[0]:.1f} ({modes[1]:.0f})",
                f"{100 * high[0]:.1f} ({100 * high[1]:.0f})",
                f"{kl[0]:.3f} ({kl[2]:.3f})",
                f"{spread[0]:.2f} ({spread[1]:.2f})",
                f"{w1[0]:.3f} ({w1[2]:.3f})",
                f"{found['seconds'][0]:.0f}",
                f"{found['cpu_seconds'][0]:.0f}",
            )
        )
    return markdown(header, lines)


def draw(rows: Sequence[SeedRow], path: Path) -> None:
    """Modes, high quality, the narrowest mode and W1 by control and game: bars are means of the EMA, dots its seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    shown = {
        "modes": ("modes covered", {"ring": 8.0, "grid": 25.0}),
        "high_quality": ("share of high quality", dict.fromkeys(DATA, 0.989)),
        "smallest_spread": ("narrowest mode / sigma", dict.fromkeys(DATA, 1.0)),
        "w1": ("exact W1", {}),
    }
    cells = grouped([row for row in rows if row["average"] == AVERAGES[0]], ("data", "control", "game"))
    figure = Figure(figsize=(11, 10), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), len(DATA), squeeze=False)
    width = 0.8 / len(GAMES)
    for i, (column, (label, best)) in enumerate(shown.items()):
        for j, data in enumerate(DATA):
            axis = axes[i, j]
            for g, game in enumerate(GAMES):
                for c, control in enumerate(CONTROLS):
                    if (data, control, game) not in cells:
                        continue
                    own = cells[data, control, game]
                    x = c + (g - (len(GAMES) - 1) / 2) * width
                    axis.bar(x, means(own, (column,))[column][0], 0.9 * width, color=f"C{g}", alpha=0.6)
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
