"""Two processes that train together, against one with the joint minibatch; each prints what it found.

python ranks_trial.py STORE RANK: one of the two, who meet by the file STORE.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from rlgan.optim import NonFinite, Stack, Update, ranks
from rlgan.optim.ranks import World
from rlgan.optim.tree import tree_leaves, tree_map
from rlgan.rl import Transition
from rlgan.task.errors import ConfigError
from tests.small import ERM, TASKS, build, builder

GP = (*TASKS["wgan"], "lipschitz=gradient_penalty", "precision=float64", "optimizer@critic.optimizer=adam_wgan")
TD3 = (*TASKS["ddpg"], "experiment=rl/td3", "env=pendulum", "precision=float64")
CASES: dict[str, tuple[str, ...]] = {
    "WGAN-GP": GP,
    "extragradient": (*GP, "game=extragradient"),
    "past extrapolation": (*GP, "game=past_extrapolation"),
    "optimistic": (*GP, "game=optimistic"),
    "lookahead": (*GP, "game=lookahead"),
    "consensus": (*GP, "game=consensus"),
    "symplectic": (*GP, "game=symplectic"),
    "nesterov": (*GP, "optimizer@generator.optimizer=nesterov"),
    "erm": (*ERM, "precision=float64"),
    "erm, all samples": (*ERM, "precision=float64", "problem=two_moons", "batch_size=null"),
    "TD3": TD3,
}
LONG = ("WGAN-GP", "extragradient", "erm", "TD3")
COMPILED = ("WGAN-GP", "consensus")


def part(batch: Any, at: World, axis: int = 0) -> Any:
    """This rank's samples of a joint minibatch."""

    def rows(leaf: Tensor) -> Tensor:
        n = leaf.shape[axis] // at.size if leaf.ndim > axis else 0
        return leaf.narrow(axis, at.rank * n, n) if n else leaf

    return tree_map(rows, batch)


def transitions(task: Any) -> list[Any]:
    """Joint minibatches for an agent."""
    draw = torch.Generator().manual_seed(task.update.moves)
    obs, action = task.envs.obs_dim, task.envs.action_dim
    shapes = ((32, obs), (32, action), (32,), (32,), (32, obs))
    drawn = [[torch.randn(s, generator=draw, dtype=torch.float64) for s in shapes] for _ in range(task.update.batches)]
    noise = torch.randn((32, action), generator=draw, dtype=torch.float64)
    return [Transition(x, a.tanh(), r, (t > 1).double(), y, noise=noise) for x, a, r, t, y in drawn]


def thetas(update: Update) -> Tensor:
    return torch.cat([player.vector.theta.detach() for player in update.players.values()])


def apart(name: str, rank: World, mode: str) -> dict[str, float]:
    """How far two ranks are from one process after so many moves, in theta and in the metrics of the last move."""
    make = builder(*CASES[name])
    ranks.leave()
    whole: Any = make()
    ranks.join()
    mine: Any = make()
    began = thetas(whole.update)
    if mode == "compiled":
        mine.update.compile()
    other: Any = make() if mode == "stacked" else None
    stack = Stack([mine.update, other.update]) if mode == "stacked" else None
    joint: Any = None
    for _ in range(20 if name in LONG else 4):
        # What a minibatch is overwritten by comes later; all samples are drawn by every rank for itself.
        joint = transitions(whole) if name == "TD3" else whole.batches()
        own = mine.batches() if name == "erm, all samples" else [part(batch, rank) for batch in joint]
        told = whole.update(joint)
        if stack is None:
            heard = mine.update(own)
        else:
            heard, _ = stack([own, own])
    wrong = [abs(float(told[tag]) - float(heard[tag])) for tag in told]
    at = thetas(mine.update)
    found = {"theta": float((at - thetas(whole.update)).abs().max()), "metrics": max(wrong)}
    first = at.clone()
    dist.broadcast(first, 0)
    found["ranks"] = float((first - at).abs().max())
    found["moved"] = float((at - began).abs().max())
    whole.close(), mine.close()
    return found


def nan_at_one(rank: World, compiled: bool) -> dict[str, Any]:
    """One rank meets a NaN: what every rank says, and whether anything was written."""
    task: Any = build(*GP)
    if compiled:
        task.update.compile()
    batches = task.batches()
    task.update(batches)
    before, said = thetas(task.update), ""
    if rank.rank == 1:
        for leaf in tree_leaves(batches[0].x_real):
            leaf[0] = float("nan")
    try:
        task.update(batches)
    except NonFinite as error:
        said = str(error)
    return {"said": said, "moved": not torch.equal(before, thetas(task.update)), "moves": task.update.moves}


def refusals() -> dict[str, str]:
    """What is refused of two ranks, and how."""
    found = {}
    for name, words in {
        "odd": (*TASKS["wgan"], "batch_size=33"),
        "all, odd": (*ERM, "batch_size=null"),
        "newton": (*ERM, "problem=quadratic", "optimizer=newton", "batch_size=null"),
    }.items():
        try:
            build(*words)
            found[name] = ""
        except ConfigError as error:
            found[name] = str(error)
    return found


def threads() -> list[str]:
    """The threads of this process, also those that are not Python's, where Linux tells them."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


def main(store: str, number: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{store}", rank=int(number), world_size=2)
    rank = ranks.join()
    found: dict[str, Any] = {name: apart(name, rank, "eager") for name in CASES}
    found["stacked"] = apart("extragradient", rank, "stacked")
    found["nan"] = nan_at_one(rank, False)
    found["refused"] = refusals()
    if len(sys.argv) > 3:
        found |= {f"{name}, compiled": apart(name, rank, "compiled") for name in COMPILED}
        found["nan, compiled"] = nan_at_one(rank, True)
    found["sum"] = ranks.sum_over_ranks(3 + rank.rank)
    rows = ranks.rows_of_ranks(torch.full((2 - rank.rank, 2), float(rank.rank)))
    found["rows"] = [block.tolist() for block in rows]
    found["first"] = ranks.of_first(["of", rank.rank])
    dist.barrier()
    dist.destroy_process_group()
    found["left"] = [name for name in threads() if "gloo" in name]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:3])
