"""A first look at an environment before it is trained on: what a user has to know about it."""

import time
from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium import spaces

from rlgan.rl.border.values import Broken

STEPS, LONG, SECONDS = 100, 1100, 2.0
"""Steps that are looked at, those within which an episode has to end, and what a slow environment is given."""


def look(make: Callable[[], gymnasium.Env], limited: bool, cut: int) -> list[str]:
    """Notes, a sentence each without its subject, the environment.

    Two environments of one seed, of which one is open at a time, take the same random actions.

    Args:
        make: builds one environment.
        limited: it has a time limit.
        cut: steps after which an evaluation episode without one is cut.

    Raises:
        Broken: it gives what gymnasium does not allow.
    """
    notes: list[str] = []
    first, ended, space = _played(make, STEPS if limited else LONG)
    second, *_ = _played(make, min(STEPS, len(first)))
    for t, (one, two) in enumerate(zip(first, second, strict=False), start=-1):
        if not np.array_equal(one, two, equal_nan=True):
            where = f"after {t} step{'s' if t > 1 else ''}"
            where = {-1: "at its reset", 0: "at a second reset, which is given no seed,"}.get(t, where)
            notes.append(
                f"gave different observations or rewards {where} with one seed and the same actions: its randomness is "
                "not that of its seed, and this run cannot be repeated"
            )
            break
    if not ended and not limited and len(first) > LONG + 1:
        notes.append(
            f"has no time limit, and no episode of random actions ended within {LONG:,} steps: evaluation episodes are "
            f"cut after {cut:,}; env.max_episode_steps=1000 sets a limit"
        )
    return notes + _of_numbers(space, np.array([row[:-1] for row in first]))


def _played(make: Callable[[], gymnasium.Env], steps: int) -> tuple[list[np.ndarray], bool, spaces.Box]:
    """Observations, flat and in float64, each with the reward that came with it; whether an episode ended; their space.

    A slow environment makes fewer steps; one that raises is left there, as training will name that.
    """
    env = make()
    rows: list[np.ndarray] = []
    over = False
    space, declared = env.action_space, env.observation_space
    assert isinstance(space, spaces.Box) and isinstance(declared, spaces.Box)
    try:
        generator = np.random.default_rng(0)
        for seed in (1, None):  # later episodes are given no seed, and follow from the first one's all the same
            seen, _ = env.reset(seed=seed)
            rows.append(np.append(np.asarray(seen, dtype=np.float64).ravel(), 0.0))
        until = time.monotonic() + SECONDS
        while len(rows) <= steps + 1 and time.monotonic() < until and not (over and len(rows) > STEPS + 1):
            action = np.asarray(generator.uniform(space.low, space.high), dtype=space.dtype)
            seen, reward, terminated, truncated, _ = env.step(action)
            rows.append(np.append(np.asarray(seen, dtype=np.float64).ravel(), float(reward)))
            if terminated or truncated:
                over = True
                seen, _ = env.reset()
                rows.append(np.append(np.asarray(seen, dtype=np.float64).ravel(), 0.0))
    except Broken:
        raise
    except Exception:
        return rows, over, declared
    finally:
        env.close()
    return rows, over, declared


def _of_numbers(space: spaces.Box, seen: np.ndarray) -> list[str]:
    """Observations (n, obs_dim) that leave their bounds, or whose changes float32 does not show."""
    if len(seen) < 2:
        return []
    notes: list[str] = []
    low, high = (np.asarray(bound, dtype=np.float64).ravel() for bound in (space.low, space.high))
    slack = 1e-6 * np.maximum(np.abs(seen), 1.0)
    outside = (seen < low - slack) | (seen > high + slack)
    if outside.any():
        t, k = np.argwhere(outside)[0]
        notes.append(
            f"leaves the bounds of its observations: component {k} was {seen[t, k]:g}, declared is {low[k]:g} to "
            f"{high[k]:g}; the networks see it as it is"
        )
    moved = (np.diff(seen, axis=0) != 0).sum(0)
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond float32 is named when it comes
        shown = (np.diff(seen.astype(np.float32), axis=0) != 0).sum(0)
    blurred = np.flatnonzero(2 * shown < moved)
    if len(blurred):
        k = blurred[0]
        notes.append(
            f"has observations whose changes are lost in float32: component {k} is near {seen[0, k]:.10g}; subtract "
            "an offset, for example by gymnasium.wrappers.TransformObservation in env.wrappers"
        )
    return notes
