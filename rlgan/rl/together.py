"""Many seeds of an off-policy run as one: one acting pass, one step of all environments, one replay, one update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rlgan.nets import Many, Single
from rlgan.rl.border.rows import Episode, Step
from rlgan.rl.envs.joined import join
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.rl.episodes import evaluate_together
from rlgan.rl.replay.stacked import ReplayStack
from rlgan.task.seeding import kept_globals
from rlgan.task.task import Asked, Together, attempt

if TYPE_CHECKING:
    from rlgan.rl.replay.uniform import Transition
    from rlgan.rl.trainer import Trainer


class Trainers(Together["Trainer"]):
    """Several `Trainer`s, each with its own generators; what stays one seed's affair is done for one after another.

    That is: environments without a batched form, actors that are no perceptrons, explorers that cannot be joined,
    windows of several steps, prioritised replay, the statistics of observations.

    Args:
        tasks: of one configuration but for the seed.
    """

    order = ("collect", "learn", "evaluate")

    def __init__(self, tasks: Sequence[Trainer]) -> None:
        super().__init__(tasks)
        first = self.tasks[0]
        parts = [task.envs for task in self.tasks]
        self._envs = join(parts) or InTurn(parts)
        n = first.envs.num_envs
        self._rows = [slice(k * n, (k + 1) * n) for k in range(len(self.tasks))]
        actor = first.actor.module
        self._actors: Many | None = None
        if first.policy is actor and Single.possible(actor):
            self._actors = Many(actor, self.stack.states["actor"]["theta"])
        self._explorer = first.explorer.joined([task.explorer for task in self.tasks], self._answer)
        self._replay: ReplayStack | None = None
        if ReplayStack.possible(first.replay):
            self._replay = ReplayStack([task.replay for task in self.tasks], n, first.batch_size, first.update.batches)

    def collect(self, asked: Asked) -> Sequence[Any]:
        """`Trainer.collect` of many."""
        here = [own is not None for own in asked]
        mask = None if all(here) else np.repeat(here, self.tasks[0].envs.num_envs)
        action = self._act(here)
        step, failed = self._envs.step(action, mask)
        found: list[Any] = self._store(step, here)
        for k, error in failed.items():
            found[k] = error
        if self._explorer is not None:
            self._explorer.observe(step.ended, step.valid)
        else:
            for task, rows, takes_part in zip(self.tasks, self._rows, here, strict=True):
                if takes_part:
                    task.explorer.observe(step.ended[rows], step.valid[rows])
        for episode in step.episodes:
            k, own = divmod(episode.env, self.tasks[0].envs.num_envs)
            self.tasks[k].note(episode._replace(env=own))
        return found

    def _act(self, here: Sequence[bool]) -> np.ndarray:
        """Actions (S * n, action_dim); those of tasks that are not here mean nothing."""
        warm = [task.steps_done < task.learning_starts for task in self.tasks]
        acting = [takes_part and not early for takes_part, early in zip(here, warm, strict=True)]
        obs = self._envs.obs
        if not any(acting):
            action = np.zeros((len(obs), self.tasks[0].envs.action_dim), dtype=np.float32)
        elif self._explorer is not None:
            action = self._explorer.act(self._seen(obs))
        else:
            action = np.zeros((len(obs), self.tasks[0].envs.action_dim), dtype=np.float32)
            for task, rows, acts in zip(self.tasks, self._rows, acting, strict=True):
                if acts:
                    action[rows] = task.explorer.act(task.seen())
        for task, rows, takes_part, early in zip(self.tasks, self._rows, here, warm, strict=True):
            if takes_part and early:
                action[rows] = task.random_actions()
        if self._explorer is not None and any(warm):
            self._explorer.forgo(np.repeat(warm, self.tasks[0].envs.num_envs))
        return action

    def _seen(self, obs: np.ndarray) -> np.ndarray:
        """The present observations, as the networks see them."""
        if self.tasks[0].normaliser is None:
            return obs
        return np.concatenate([np.asarray(task.seen()) for task in self.tasks])

    def _answer(self, obs: np.ndarray | Tensor) -> np.ndarray:
        """Every task's own policy, for its rows of obs (S * n, obs_dim)."""
        if self._actors is None:
            return np.concatenate(
                [task.explorer.policy(obs[rows]) for task, rows in zip(self.tasks, self._rows, strict=True)]
            )
        array = obs if isinstance(obs, np.ndarray) else obs.numpy()
        actions = self._actors(array.reshape(len(self.tasks), -1, array.shape[-1]))
        return actions.reshape(len(array), -1).astype(np.float32, copy=False)

    def _store(self, step: Step, here: Sequence[bool]) -> list[Any]:
        """Store the step; for every task that is here the number of its transitions."""
        first = self.tasks[0]
        plain = first.normaliser is None and not (first.returns and first.returns.collects)
        if plain and first.windows is None and self._replay is not None:
            counts = self._replay.add(step)
            for task, rows, takes_part in zip(self.tasks, self._rows, here, strict=True):
                if takes_part and task.finish.listens:
                    task.finish.observe(part_of(step, rows))
            return [count if takes_part else None for count, takes_part in zip(counts, here, strict=True)]
        return [
            attempt(task.store, part_of(step, rows)) if takes_part else None
            for task, rows, takes_part in zip(self.tasks, self._rows, here, strict=True)
        ]

    def learn(self, asked: Asked) -> Sequence[Any]:
        """`Trainer.learn` of many."""
        if self._replay is None or not self.stack.pays:
            return self._learn_from_own(asked)
        here = [own is not None for own in asked]
        batches = self._draw(here)
        watch = [bool(own and own[0]) for own in asked]
        moved: Sequence[Any] = self.timed(lambda: self.stack.move(batches, here, watch), [rows_of(batches[0], 0)])
        self._learnt(asked, moved, [rows_of(batches[-1], k) for k in range(len(here))])
        return moved

    def _draw(self, here: Sequence[bool]) -> list[Transition]:
        """The minibatches of a move (S, B, ...)."""
        assert self._replay is not None
        device = self.tasks[0].settings.torch_device
        batches = self._replay.sample(
            [
                task.generators.torch("replay", device) if own else None
                for task, own in zip(self.tasks, here, strict=True)
            ]
        )
        if not self.tasks[0].finish.changes:
            return batches
        for i, batch in enumerate(batches):
            finished = [
                task.finish(rows_of(batch, k), task.generators) if own else None
                for k, (task, own) in enumerate(zip(self.tasks, here, strict=True))
            ]
            still = next(own for own in finished if own is not None)
            noise = torch.stack([(still if own is None else own).noise for own in finished])
            batches[i] = batch._replace(noise=noise)
        return batches

    def _learn_from_own(self, asked: Asked) -> Sequence[Any]:
        """The same where every task draws from a replay of its own."""
        drawn = [None if own is None else task.draw() for task, own in zip(self.tasks, asked, strict=True)]
        wanted = [
            None if own is None or batches is None else (batches, *own)
            for own, batches in zip(asked, drawn, strict=True)
        ]
        moved = self.move(wanted)
        self._learnt(asked, moved, [None if batches is None else batches[-1] for batches in drawn])
        return moved

    def _learnt(self, asked: Asked, moved: Sequence[Any], batches: Sequence[Any]) -> None:
        for task, own, report, batch in zip(self.tasks, asked, moved, batches, strict=True):
            if own is not None and not isinstance(report, Exception):
                task.learnt(report, own[0], batch)

    def evaluate(self, asked: Asked) -> Sequence[Any]:
        """`Trainer.evaluate` of many."""
        tasks = [task for task, own in zip(self.tasks, asked, strict=True) if own is not None]
        with kept_globals():
            played = evaluate_together(
                [task.deployed for task in tasks],
                tasks[0].env,
                tasks[0].eval_episodes,
                [task.evaluation_seed for task in tasks],
                [task.judge for task in tasks],
                lenders=[task.envs for task in tasks],
            )
        found = iter(
            [own if isinstance(own, Exception) else task.measured(own) for task, own in zip(tasks, played, strict=True)]
        )
        return [None if own is None else next(found) for own in asked]


class InTurn:
    """Environments of several seeds that are stepped one after another, as `Joined` steps them at once."""

    def __init__(self, parts: Sequence[VectorEnvironment]) -> None:
        self.parts = list(parts)
        n = parts[0].num_envs
        self._rows = [slice(k * n, (k + 1) * n) for k in range(len(parts))]
        self._idle = [self._standing(part) for part in parts]

    @property
    def obs(self) -> np.ndarray:
        """(S * n, obs_dim) float32, the observations to act upon."""
        return np.concatenate([part.obs for part in self.parts])

    def step(self, action: np.ndarray, mask: np.ndarray | None = None) -> tuple[Step, dict[int, Exception]]:
        """Step every seed's environments where `mask` is True of its rows; and of those that failed, the reasons."""
        steps: list[Step] = []
        failed: dict[int, Exception] = {}
        for k, (part, rows) in enumerate(zip(self.parts, self._rows, strict=True)):
            done = attempt(part.step, action[rows]) if mask is None or mask[rows.start] else self._idle[k]
            if isinstance(done, Exception):
                failed[k] = done
                done = self._idle[k]
            steps.append(done)
        episodes = [
            Episode(rows.start + episode.env, episode.total, episode.length)
            for rows, step in zip(self._rows, steps, strict=True)
            for episode in step.episodes
        ]
        columns: Any = zip(*(step[:-1] for step in steps), strict=True)
        return Step._make((*map(np.concatenate, columns), tuple(episodes))), failed

    def _standing(self, part: VectorEnvironment) -> Step:
        """No step."""
        n = part.num_envs
        obs, action = np.zeros_like(part.obs), np.zeros((n, part.action_dim), dtype=np.float32)
        no = np.zeros(n, dtype=np.bool_)
        return Step(obs, action, np.zeros(n), obs, no, no, no, ())


def part_of(step: Step, rows: slice) -> Step:
    """The rows of one seed; its episodes are left out."""
    columns: Any = step[:-1]
    return Step._make((*(column[rows] for column in columns), ()))


def rows_of(batch: Transition, k: int) -> Transition:
    """The minibatch of one seed, as views."""
    return type(batch)(*(leaf[k] for leaf in batch))
