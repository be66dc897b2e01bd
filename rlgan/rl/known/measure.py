"""How far an agent is from the best that can be done, where its environment knows that.

An environment says so by an attribute `known`, whatever object that is, with any of four methods. Observations and
actions are in the environment's own units.

    optimum(seeds, steps) -> (n,)          the best return of the episodes of `steps` steps that start from these seeds
    q(obs, action, discount) -> (B,)       Q*(s, a) of obs (B, obs_dim) and action (B, action_dim); NaN: not known
    action(obs) -> (B, action_dim)         the best actions
    gain(discount) -> (action_dim, obs_dim)  K* of the best policy u = -K* x about x = 0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rlgan.optim.contract.calls import calling, refuse, shown
from rlgan.rl.border.actions import ActionMap
from rlgan.rl.envs.batched import BatchedEnv

if TYPE_CHECKING:
    from rlgan.rl.envs.environment import Environment
    from rlgan.rl.envs.vector_env import VectorEnvironment
    from rlgan.rl.episodes import EpisodeStatistics
    from rlgan.task.hooks.function import Function

METHODS = ("optimum", "q", "action", "gain")
STATES = 2_000
"""At most so many of the states of an evaluation are asked for."""
ASIDE = 0.1
"""Standard deviation of what is added to the policy's actions where Q is compared, in [-1, 1]."""

KEY = "env.known"


class Best:
    """What the environments of a run know of their optimum.

    With `env.eval_options`, which change the starts, nothing is; through `env.wrappers`, which may change observations
    and rewards, the optimum alone. From worker processes nothing is asked.

    Args:
        envs: of training.
        environment: as configured.

    Raises:
        ValueError: its `known` raises, or gives another shape; as ``env.known = Class: what is wrong; remedy``.
    """

    def __init__(self, envs: VectorEnvironment, environment: Environment) -> None:
        first: Any = envs.vector if isinstance(envs.vector, BatchedEnv) else envs.first
        known = None if first is None or environment.eval_options else getattr(first.unwrapped, "known", None)
        names = [name for name in METHODS if callable(getattr(known, name, None))]
        self._names = [name for name in names if name == "optimum" or not environment.wrappers]
        self._known: Any = known if self._names else None
        self._cut, self._optima = environment.cut, dict[tuple[int, int], float]()
        if self._known is not None:
            self._map = ActionMap(cast(spaces.Box, envs.vector.single_action_space))
            # A mistake is found before the first step.
            self._optimum(0, 1)
            obs = envs.obs[:1].copy()
            self._ask("action", (1, len(self._map.low)), obs)
            self._ask("q", (1,), obs, self._map.centre[None].copy(), 0.5)
            self._ask("gain", (len(self._map.low), envs.obs_dim), 0.5)

    def __bool__(self) -> bool:
        return self._known is not None

    def _ask(self, method: str, shape: tuple[int, ...], *given: Any) -> np.ndarray | None:
        """What a method gives, float64; None where there is none."""
        if method not in self._names:
            return None
        with calling(KEY, self._known, method):
            answer: object = getattr(self._known, method)(*given)
        try:
            found = np.asarray(answer, dtype=np.float64)
        except (TypeError, ValueError):
            found = np.empty(0)
        if found.shape != shape:
            said = f"an array of shape {found.shape}" if isinstance(answer, np.ndarray) else shown(answer)
            raise refuse(KEY, self._known, f"{method} returned {said}", f"return numbers of shape {shape}")
        return found

    def _optimum(self, seed: int, episodes: int) -> float | None:
        """Mean of the best returns of the episodes that start from seed, seed + 1, ..."""
        if (seed, episodes) not in self._optima:
            found = self._ask("optimum", (episodes,), [seed + i for i in range(episodes)], self._cut)
            if found is None:
                return None
            self._optima[seed, episodes] = float(found.mean())
        return self._optima[seed, episodes]

    def metrics(
        self, played: EpisodeStatistics, seed: int, discount: float, functions: Callable[[], Mapping[str, Function]]
    ) -> dict[str, float]:
        """The distances of an evaluation, under their tags; what is not known, or not finite, has none.

        `return/optimum` is the best mean return of these very episodes, `return/regret` what is lost of it.
        `actor/gain_distance` is |J + K*| / |K*| in the Frobenius norm, J the Jacobian of the policy at 0;
        `actor/action_distance` the largest distance of a component of the action from the best one, in the mean over
        the states of the episodes; `critic/q_distance` is the root of E (Q - Q*)^2 / E Q*^2 over these states and
        actions about those of the policy (`ASIDE`).

        Args:
            played: the evaluation, with what was visited.
            seed: of its first episode.
            discount: gamma.
            functions: makes `policy` and `critic` in the environment's units.
        """
        if self._known is None:
            return {}
        found: dict[str, float | None] = {}
        optimum = self._optimum(seed, len(played.returns))
        if optimum is not None:
            found |= {"return/optimum": optimum, "return/regret": optimum - float(played.returns.mean())}
        if played.visited is not None and set(self._names) > {"optimum"}:
            made = functions()
            obs, unit = (part[:: -(-len(part) // STATES)] for part in played.visited)
            found["actor/gain_distance"] = self._gain_distance(made["policy"].module, obs.shape[1], discount)
            found["actor/action_distance"] = self._action_distance(obs, unit)
            found["critic/q_distance"] = self._q_distance(made["critic"].module, obs, unit, discount)
        return {tag: value for tag, value in found.items() if value is not None and np.isfinite(value)}

    def _gain_distance(self, policy: nn.Module, obs_dim: int, discount: float) -> float | None:
        gain = self._ask("gain", (len(self._map.low), obs_dim), discount)
        if gain is None:
            return None
        zero = torch.zeros(1, obs_dim, device=_device(policy))
        slope: Any = torch.autograd.functional.jacobian(policy, zero)
        off = slope.reshape(gain.shape).double().cpu().numpy() + gain
        size = float(np.linalg.norm(gain))
        return float(np.linalg.norm(off)) / (size or 1.0)

    def _action_distance(self, obs: np.ndarray, unit: np.ndarray) -> float | None:
        best = self._ask("action", unit.shape, obs)
        return None if best is None else float(np.abs(self._map(unit).reshape(unit.shape) - best).max(1).mean())

    def _q_distance(self, critic: nn.Module, obs: np.ndarray, unit: np.ndarray, discount: float) -> float | None:
        if "q" not in self._names:
            return None
        aside = ASIDE * np.random.default_rng(0).standard_normal(unit.shape)
        action = self._map(np.clip(unit + aside, -1.0, 1.0).astype(np.float32)).reshape(unit.shape)
        best = self._ask("q", (len(obs),), obs, action, discount)
        assert best is not None, "it has a q"
        kept = np.isfinite(best)
        if not kept.any():
            return None
        with torch.no_grad():
            rows = [torch.from_numpy(np.ascontiguousarray(part[kept])).to(_device(critic)) for part in (obs, action)]
            q = critic(*rows).double().cpu().numpy()
        size = float(np.sqrt((best[kept] ** 2).mean()))
        return float(np.sqrt(((q - best[kept]) ** 2).mean())) / (size or 1.0)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
