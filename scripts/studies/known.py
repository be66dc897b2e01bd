"""Do agents find an optimum that is known? Bandits, linear-quadratic regulators, a sparse walk and Pendulum-v1.

Each of our agents by the defaults of `rlgan task=ddpg`, stable-baselines3 and sbx by their own, on sets of tasks
(`known_tasks.py`): `choosing`, on which our defaults were chosen, and `reporting`, drawn by a generator, on which
nothing was, with other seeds; `again` has more draws of the latter, for ours alone. A seed has reached the optimum of
a bandit where its actions are within 0.02 of the best in the mean, of a regulator where at most 20 % of the optimum is
lost, of the others where 90 % of it comes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlgan.task.seeding import Generators
from scripts.benchmarks.harness import Options, Report, installed
from scripts.benchmarks.peers import present
from scripts.studies.known_peers import EPISODES, LIBRARIES, PACKAGES, train_peer
from scripts.studies.known_pendulum import optimum as pendulum
from scripts.studies.known_tasks import SETS, KnownTask
from scripts.studies.study import RESULTS, Cell, SeedRow, Table, grouped, heading, markdown, train

BLOCKS = 1
AGENTS = ("ddpg", "td3")
TAGS = {
    "return": "return/eval",
    "optimum": "return/optimum",
    "distance": "actor/action_distance",
    "gain_distance": "actor/gain_distance",
    "q_distance": "critic/q_distance",
}
LABELS = ("set", "task", "method", "agent")
COLUMNS = (*LABELS, "seed", "steps", "reached", *TAGS, "seconds", "cpu_seconds")
PEER = "peer"
PLAIN = ("agent.discount=0.98", "network@critic.network=mlp_64", "network@actor.network=mlp_64")
LAYER = ("critic.network.norm=layer", "actor.network.norm=layer")
INVERTING, POPART, HUBER = "agent.bounding=inverting", "normalise_returns=popart", "agent.huber=1"
REMEDIES = {
    "none": (),
    "inverting gradients": (INVERTING,),
    "penalty": ("agent.preactivation_penalty=0.01", "agent.preactivation_margin=0"),
    "scaled returns": ("normalise_returns=scale",),
    "PopArt": (POPART,),
    "rewards times 0.1": ("reward_scale=0.1",),
    "gradient norm 1": ("critic.max_grad_norm=1", "actor.max_grad_norm=1"),
    "small last layers": ("critic.network.final_bound=3e-3", "actor.network.final_bound=3e-3"),
    "layer norm": LAYER,
    "Huber": (HUBER,),
    "layer norm, Huber": (*LAYER, HUBER),
    "inverting, PopArt, layer norm": (*LAYER, INVERTING, POPART),
}
"""Published remedies, each alone and two combinations, beside the default, on the tasks that it was chosen on."""


class KnownTable(Table):
    """Its cells are our commands, and of peers a line for each seed."""

    @property
    def commands(self) -> list[str]:
        """Of the cells that are there."""
        if not self.path.exists():
            return []
        begins = ("# python scripts/train.py", f"# {PEER} ")
        return [line[2:].rstrip("\n") for line in self.path.open() if line.startswith(begins)]


@dataclass(frozen=True)
class Peer:
    """One seed of another library."""

    set: str
    task: KnownTask
    library: str
    agent: str
    seed: int
    steps: int

    @property
    def title(self) -> str:
        """For `--only` and for people."""
        return f"{self.set}, {self.task.title}, {self.library}, {self.agent}, seed {self.seed}"

    @property
    def command(self) -> str:
        """The line above its row."""
        return f"{PEER} {self.title}, {self.steps} steps"


def run(options: Options, report: Report) -> None:
    """Train what is missing, show the table, draw it, and hold it against the mark."""
    table = known_table(options.csv or RESULTS / "rl" / "known.csv")
    ours = cells(options.seeds, options.steps, options.words)
    peers = others(options.seeds, options.steps) if options.peers else []
    if not options.table:
        there = set(table.commands)
        for cell, task in ours:
            if options.only in cell.title and cell.command not in there:
                trained = [judged(row, task, options.steps) for row in train(cell, TAGS)]
                table.add(cell.command, trained)
                said = sum(float(row["seconds"]) for row in trained)
                returns = [round(float(row["return"]), 4) for row in trained]
                print(f"{cell.title}: {returns}, {said:.0f} s", flush=True)
        for peer in peers:
            if (
                options.only in peer.title
                and peer.command not in there
                and installed(PACKAGES[peer.library]) is not None
            ):
                found = train_peer(peer.library, peer.agent, peer.task, peer.seed, peer.steps)
                labels = dict(zip(LABELS, (peer.set, peer.task.title, peer.library, peer.agent), strict=True))
                missing = dict.fromkeys(TAGS, math.nan)
                table.add(
                    peer.command,
                    [judged({**labels, "seed": str(peer.seed), **missing, **found}, peer.task, peer.steps)],
                )
                print(f"{peer.title}: {found['return']:.4g}, {found['seconds']:.0f} s", flush=True)
        for library in LIBRARIES if peers else ():
            present(report, PACKAGES[library])
    rows = table.rows
    for name in SETS:
        if any(row["set"] == name for row in rows):
            print(f"\n{name}\n\n{summary([row for row in rows if row['set'] == name])}\n", flush=True)
    for agent in AGENTS:
        own = [row for row in rows if (row["set"], row["method"], row["agent"]) == ("reporting", "rlgan", agent)]
        if own:
            solved = sum(all(row["reached"] == "1" for row in seeds) for seeds in grouped(own, ("task",)).values())
            report.mark(f"{agent}: tasks of {len(SETS['reporting'][0])} reached by all seeds", solved, at_least=8)
    if any(row["set"] == "reporting" for row in rows):
        draw([row for row in rows if row["set"] == "reporting"], table.path.with_suffix(".png"))


def known_table(path: Path) -> Table:
    """The CSV of this study: a row for every seed, of its evaluation at the end."""
    return KnownTable(
        path,
        COLUMNS,
        (
            heading(),
            "Below each command, or peer, its rows. return: mean of 20 episodes without noise; optimum: the best mean",
            "of these very episodes (Pendulum's by dynamic programming); reached: 1 where it counts as the optimum;",
            "distance: of a bandit's actions from the best; gain_distance, q_distance: relative, from",
            "K* and Q*; seconds and cpu_seconds: a seed's; of ours with evaluations and the start of the run.",
        ),
    )


def cells(
    seeds: int | None = None, steps: int | None = None, words: Sequence[str] = ()
) -> list[tuple[Cell, KnownTask]]:
    """Ours: a cell for each set, task and agent by default; on what these were chosen on also one for each remedy."""
    found = []
    default = [("rlgan", agent, (f"agent={agent}",)) for agent in AGENTS]
    remedies = [
        (name, agent, (f"agent={agent}_plain", *PLAIN, *chosen))
        for agent in AGENTS
        for name, chosen in REMEDIES.items()
    ]
    for name, (tasks, own) in SETS.items():
        several = f"seeds=[{','.join(map(str, own[: seeds or len(own)]))}]"
        for method, agent, chosen in (*default, *(remedies if name == "choosing" else ())):
            for task in tasks:
                labels = dict(zip(LABELS, (name, task.title, method, agent), strict=True))
                length = steps or task.steps
                overrides = (
                    "task=ddpg", *chosen, *task.overrides, several,
                    f"steps={length}", f"eval_every={length}", "checkpoint_every=0", *words,
                )  # fmt: skip
                found.append((Cell(labels, overrides), task))
    return found


def others(seeds: int | None = None, steps: int | None = None) -> list[Peer]:
    """Those of other libraries, on the reporting set: seed by seed, so that one that was stopped has whole seeds."""
    tasks, own = SETS["reporting"]
    return [
        Peer("reporting", task, library, agent, seed, steps or task.steps)
        for seed in own[: seeds or len(own)]
        for library in ("sbx", "stable-baselines3")
        for task in tasks
        for agent in AGENTS
    ]


def judged(row: dict[str, str | float], task: KnownTask, steps: int | None = None) -> dict[str, str | float]:
    """A row with its optimum, where the environment does not know it, and with `reached`; its columns alone."""
    score, distance = float(row["return"]), float(row["distance"])
    optimum = float(row["optimum"])
    if task.env == "pendulum" and math.isnan(optimum):
        # Ours, which do not know it: the starts are those of the run's own evaluation.
        first = Generators(int(row["seed"])).seed("evaluation") % 2**31
        optimum = float(pendulum(range(first, first + EPISODES)).mean())
    reached = int(task.reached(score, optimum, distance))
    found = {**row, "optimum": optimum, "reached": str(reached), "steps": str(steps or task.steps)}
    return {key: found[key] for key in COLUMNS}


def longest(rows: Sequence[SeedRow]) -> list[SeedRow]:
    """Of each method on each task the rows of its longest runs."""
    found: list[SeedRow] = []
    for own in grouped(rows, LABELS).values():
        most = max(int(row["steps"]) for row in own)
        found += [row for row in own if int(row["steps"]) == most]
    return found


def methods_of(rows: Sequence[SeedRow]) -> list[tuple[str, str]]:
    """Library and agent, ours first."""
    return sorted(
        dict.fromkeys((row["method"], row["agent"]) for row in rows), key=lambda pair: (pair[0] != "rlgan", pair)
    )


def summary(rows: Sequence[SeedRow]) -> str:
    """A row for each task, a column for each method: seeds that reached the optimum, `lost`, median and worst seed.

    Where a method had fewer steps than another, these are said. Of more methods than lines each has a row.
    """
    rows = longest(rows)
    methods = methods_of(rows)
    lines = []
    for (task,), own in grouped(rows, ("task",)).items():
        steps = max(int(row["steps"]) for row in own)
        shown = [task, f"{steps:,}"]
        for method, agent in methods:
            seeds = [row for row in own if (row["method"], row["agent"]) == (method, agent)]
            if not seeds:
                shown.append("")
                continue
            losses, own_steps = [lost(row) for row in seeds], int(seeds[0]["steps"])
            reached = sum(row["reached"] == "1" for row in seeds)
            at = "" if own_steps == steps else f", {own_steps:,} steps"
            shown.append(f"{reached} of {len(seeds)}: {statistics.median(losses):.2g} ({max(losses):.2g}){at}")
        lines.append(shown)
    header = ("task", "steps", *(f"{method} {agent.upper()}" for method, agent in methods))
    count = [
        f"{sum(row['reached'] == '1' for row in own)} of {len(own)}"
        for method, agent in methods
        if (own := [row for row in rows if (row["method"], row["agent"]) == (method, agent)])
    ]
    lines = [list(header), *lines, ["all", "", *count]]
    if len(methods) > len(lines):
        (_, *corner), *turned = (list(column) for column in zip(*lines, strict=True))
        lines = [["", *corner], *turned]
    return markdown(lines[0], lines[1:])


def draw(rows: Sequence[SeedRow], path: Path) -> None:
    """What is lost of the optimum by each seed, relative to it; of a bandit the distance of its action."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = longest(rows)
    methods = methods_of(rows)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = Figure(figsize=(1.5 * len(tasks), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for k, (method, agent) in enumerate(methods):
        xs, ys = [], []
        for row in rows:
            if (row["method"], row["agent"]) == (method, agent):
                xs.append(tasks.index(row["task"]) + 0.8 * ((k + 0.5) / len(methods) - 0.5))
                ys.append(max(lost(row), 1e-4))
        axis.plot(xs, ys, "o" if agent == "ddpg" else "^", markersize=4, alpha=0.7, label=f"{method} {agent.upper()}")
    for i, task in enumerate(tasks):
        level = 0.02 if task.startswith("bandit") else 0.2 if task.startswith("LQR") else 0.1
        axis.hlines(level, i - 0.45, i + 0.45, color="black", linewidth=0.8, linestyle=":")
    axis.set_yscale("log")
    axis.set_xticks(range(len(tasks)), [task.replace(" ", "\n", 1) for task in tasks], fontsize=7)
    axis.set_ylabel("lost, of the optimum\n(bandits: distance of the action)", fontsize=8)
    axis.legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=110)


def lost(row: SeedRow) -> float:
    """The part of the optimum that a seed loses; of a bandit the distance of its actions."""
    if row["task"].startswith("bandit"):
        return float(row["distance"])
    score, optimum = float(row["return"]), float(row["optimum"])
    return (optimum - score) / abs(optimum)
