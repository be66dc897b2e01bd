"""What wrappers have learnt in training is shown to evaluations: running statistics, a level that was reached."""

from collections.abc import Iterator

import gymnasium
import numpy as np

from rlgan.rl.border.border import Border, Tap, all_layers, tap_of
from rlgan.rl.envs.env_state import CONSTRUCTED, restore_one, save_one
from rlgan.rl.envs.plain import NotPlain


def carry(source: gymnasium.Env, target: gymnasium.Env) -> None:
    """Give the wrappers of `target`, made as `source` was, what those of `source` hold, but for random generators.

    The environment below the tap is left alone: evaluations begin it anew.
    """
    for of, to in zip(_worn(source), _worn(target), strict=True):
        for name, value in vars(of).items():
            if name in CONSTRUCTED or isinstance(value, np.random.Generator | gymnasium.Space | gymnasium.Env):
                continue
            try:
                restore_one(to, name, save_one(value, {}), {})
            except NotPlain:
                continue


def _worn(env: gymnasium.Env) -> Iterator[gymnasium.Env]:
    """The wrappers of a user."""
    if tap_of(env) is None:
        return
    within = False
    for layer in all_layers(env):
        if isinstance(layer, Tap):
            return
        if within:
            yield layer
        within |= isinstance(layer, Border)
