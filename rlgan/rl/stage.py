"""Where episodes without exploration are played: in single environments, or in the rows of a batched one."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rlgan.rl.border.actions import ActionMap
from rlgan.rl.border.border import Watch, tap_of
from rlgan.rl.border.carried import carry
from rlgan.rl.envs.batched import BatchedEnv
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.rl.envs.workers import EnvironmentFailed, Guard
from rlgan.task.errors import Diverged, InputError


class Moment(NamedTuple):
    """What n episodes that are played side by side look like at one time, t = 0, 1, ...

    The arrays are overwritten when the next moment is asked for.

    Args:
        obs: s_t (n, obs_dim), of an episode that is over its last one.
        action: mu(s_t) (n, action_dim), within [-1, 1].
        played: the episodes that made the step from t - 1; none at t = 0.
        reward: of that step, (n,), as training sees it.
        own: the task's own reward of that step, (n,): what the environment gave below `env.wrappers`.
        terminated: whether that step ended the episode by termination, (n,).
        envs: the environments, as they stand; none where they are a batched one.
    """

    obs: torch.Tensor
    action: torch.Tensor
    played: list[int]
    reward: np.ndarray
    own: np.ndarray
    terminated: np.ndarray
    envs: list[Guard]


def play(
    actor: nn.Module,
    environment: Environment,
    episodes: int,
    seed: int,
    max_steps: int,
    lender: VectorEnvironment | None = None,
) -> Iterator[Moment]:
    """Play episodes with a = mu(s), without noise, all at once, each in a new environment of its own.

    Where so many cannot be open beside those of training there are fewer episodes, and where none can be there is one,
    in the environment of training.

    Args:
        actor: obs (B, obs_dim) -> action (B, action_dim) in [-1, 1], in eval mode.
        environment: which environment; `num_envs` plays no part.
        episodes: how many, at most.
        seed: episode i starts from `seed + i`.
        max_steps: length at which an episode is cut.
        lender: the environments of training.

    Raises:
        Diverged: an action, an observation or a reward is not finite.
        InputError: an environment raised, or gave what it may not.
    """
    stage = at_once(environment, episodes) or Singles(environment, episodes, lender, seed)
    try:
        for (moment,) in moments([actor], environment, stage, stage.episodes, [seed], max_steps):
            if isinstance(moment, Diverged):
                raise moment
            assert moment is not None, "one policy has a moment for as long as there are any"
            yield moment
    except EnvironmentFailed as error:
        episode, reason = error.index_and_reason
        raise InputError(f"evaluation episode {episode} ({environment.id}) {reason}", intact=True) from error
    finally:
        stage.close()


class Singles:
    """Single environments, stepped one after another: n, or as many as can be made beside those of `lender`."""

    def __init__(self, environment: Environment, episodes: int, lender: VectorEnvironment | None, seed: int) -> None:
        self._environment = environment
        self._open = contextlib.ExitStack()
        self.envs: list[Guard] = []
        found = environment.found
        watch: Watch = None if found.looked else "always"
        most = episodes if found.beside is None else min(found.beside, episodes)
        try:
            while len(self.envs) < most:
                self.envs.append(Guard(environment.make_one(seed + len(self.envs), watch), len(self.envs)))
                self._open.callback(self.envs[-1].close)
                if lender is not None and (first := lender.first) is not None:
                    carry(first, self.envs[-1])
        except Exception as error:
            if not self.envs and lender is None:
                raise
            found.beside = len(self.envs)
            found.reason = " ".join(f"{type(error).__name__}: {error}".split())
        except BaseException:
            self.close()
            raise
        if not self.envs:
            assert lender is not None, "else it would have been raised"
            self.envs = [cast(Guard, self._open.enter_context(lender.lent()))]
        self.episodes = len(self.envs)
        self._taps = [tap_of(env) for env in self.envs]
        self.own = np.zeros(self.episodes)
        self.actions = cast(spaces.Box, self.envs[0].action_space)

    def begin(self, seeds: list[int]) -> np.ndarray:
        starts = [self._environment.start(env, seed) for env, seed in zip(self.envs, seeds, strict=True)]
        with np.errstate(over="ignore"):
            self._obs = np.stack([start.reshape(-1) for start in starts]).astype(np.float32)
        for tap in self._taps:
            if tap is not None:
                tap.taken()
        return self._obs

    def step(self, action: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, ...]:
        reward = np.zeros(len(self.envs))
        terminated, truncated = np.zeros((2, len(self.envs)), dtype=np.bool_)
        self.own = np.zeros(len(self.envs))
        for i in np.flatnonzero(running):
            raw, reward[i], terminated[i], truncated[i], _ = self.envs[i].step(action[i])
            tap = self._taps[i]
            self.own[i] = reward[i] if tap is None else tap.taken()
            with np.errstate(over="ignore"):  # what becomes infinite ends the evaluation
                self._obs[i] = np.asarray(raw).reshape(-1)
        return self._obs, reward, terminated, truncated

    def close(self) -> None:
        self._open.close()


class AtOnce:
    """The same by one batched environment."""

    envs: ClassVar[list[Guard]] = []

    def __init__(self, batched: BatchedEnv) -> None:
        self._batched = batched
        self.episodes = batched.num_envs
        self.own = np.zeros(0)
        self.actions = batched.one_action

    def begin(self, seeds: list[int]) -> np.ndarray:
        return self._batched.reset(seed=seeds)[0].astype(np.float32)

    def step(self, action: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, ...]:
        obs, self.own, *ends, _ = self._batched.step(action, None if running.all() else running)
        return obs.astype(np.float32), self.own, *ends

    def close(self) -> None:
        self._batched.close()


def at_once(environment: Environment, episodes: int) -> AtOnce | None:
    """So many episodes in a batched environment, where there is one and nothing wants single ones."""
    batched = None if environment.eval_options else environment.batched(episodes)
    return None if batched is None else AtOnce(batched)


def moments(
    actors: Sequence[nn.Module],
    environment: Environment,
    stage: Singles | AtOnce,
    episodes: int,
    seeds: Sequence[int],
    max_steps: int,
) -> Iterator[list[Moment | Diverged | None]]:
    """For every time and every actor its moment; once, instead, why it diverged; and None after its end."""
    groups = [slice(k * episodes, (k + 1) * episodes) for k in range(len(actors))]
    obs = stage.begin([seed + i for seed in seeds for i in range(episodes)])
    scale = ActionMap(stage.actions)
    action = np.zeros((len(obs), len(scale.low)), dtype=np.float32)
    reward, own, terminated = np.zeros(len(obs)), np.zeros(len(obs)), np.zeros(len(obs), dtype=np.bool_)
    lengths, running = np.zeros(len(obs), dtype=np.int64), np.ones(len(obs), dtype=np.bool_)
    moved = np.zeros(len(obs), dtype=np.bool_)
    failed: dict[int, Diverged] = {}
    left = list(range(len(actors)))
    for time in itertools.count():
        found: list[Moment | Diverged | None] = [failed.get(k) if k in left else None for k in range(len(actors))]
        left = [k for k in left if k not in failed]
        for k in left:
            rows = groups[k]
            # All rows pass through the networks, also those that have ended: one shape, whatever is still running. The
            # copy has memory of its own, so that the product is that of the actor alone.
            seen = torch.tensor(obs[rows]).to(next(iter(actors[k].parameters())))
            with torch.no_grad():
                chosen = actors[k](seen).detach()
            played = np.flatnonzero(moved[rows]).tolist()
            clipped = chosen.clamp(-1.0, 1.0)
            found[k] = Moment(seen, clipped, played, reward[rows], own[rows], terminated[rows], stage.envs)
            action[rows] = chosen.cpu().numpy()
        yield found
        left = [k for k in left if running[groups[k]].any() and time < max_steps]
        if not left:
            return
        _note(failed, left, groups, "action", action, lengths, environment.id)
        for k, rows in enumerate(groups):
            if k in failed or k not in left:
                running[rows], action[rows] = False, 0.0
        moved = running.copy()
        scaled = scale(np.minimum(np.maximum(action, -1.0), 1.0))
        obs, reward, terminated, truncated = stage.step(scaled, running)
        own = stage.own
        lengths += running
        running &= ~(terminated | truncated)
        _note(failed, left, groups, "observation", obs, lengths, environment.id)
        _note(failed, left, groups, "reward", reward[:, None], lengths, environment.id)


def _note(
    failed: dict[int, Diverged],
    left: Sequence[int],
    groups: Sequence[slice],
    what: str,
    values: np.ndarray,
    lengths: np.ndarray,
    id: str,
) -> None:
    """Enter in `failed` those that are left and have values that are not finite, unless they are there already."""
    if np.isfinite(values).all():
        return
    for k in left:
        bad = np.flatnonzero(~np.isfinite(values[groups[k]]).all(axis=1)).tolist()
        if bad and k not in failed:
            i = groups[k].start + bad[0]
            component = np.flatnonzero(~np.isfinite(values[i]))[0]
            or_beyond = " or beyond float32" if what == "observation" else ""
            failed[k] = Diverged(
                f"{what} of evaluation episode {bad[0]} ({id}) is {values[i][component]}{or_beyond} in component "
                f"{component} at its step {lengths[i]}"
            )
