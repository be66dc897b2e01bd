"""Policy and critic as others call them: observations and actions as the environment gives and takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from rlgan.optim.weights import stilled
from rlgan.rl.border.actions import ActionMap
from rlgan.rl.normalisation import Normaliser
from rlgan.rl.replay.finished import Finish
from rlgan.rl.replay.returns import Units
from rlgan.task.hooks.function import Function

if TYPE_CHECKING:
    from rlgan.rl.envs.environment import Environment
    from rlgan.rl.envs.vector_env import VectorEnvironment

_USUAL = 1e3
"""A bound of observations beyond this is none for those that are drawn at random."""


class Sight(nn.Module):
    """Observations (n, *shape) of an environment as the networks see them, (n, obs_dim), normalised if they were."""

    shift: Tensor
    scale: Tensor

    def __init__(self, normaliser: Normaliser | None, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self.clip = None if normaliser is None else normaliser.clip
        if normaliser is not None:
            shift, scale = normaliser.numbers()
            self.register_buffer("shift", shift.clone())
            self.register_buffer("scale", scale.clone())

    def forward(self, obs: Tensor) -> Tensor:
        x = obs.flatten(1).to(self._dtype)
        return x if self.clip is None else ((x - self.shift) * self.scale).clamp(-self.clip, self.clip)


class Policy(nn.Module):
    """a = centre + half * clip(mu(x), -1, 1), x the observation as the actor sees it: within the bounds.

    obs (n, *obs_shape) -> action (n, *action_shape).
    """

    centre: Tensor
    radius: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, actor: nn.Module, sight: Sight, actions: ActionMap) -> None:
        super().__init__()
        self.actor, self.sight, self._shape = stilled(actor), sight, actions.shape
        for name, bound in (
            ("centre", actions.centre),
            ("radius", actions.half),
            ("low", actions.low),
            ("high", actions.high),
        ):
            self.register_buffer(name, torch.from_numpy(np.array(bound)))

    def forward(self, obs: Tensor) -> Tensor:
        unit = self.actor(self.sight(obs)).clamp(-1.0, 1.0).float()  # as `VectorEnvironment.unit`
        action = (unit * self.radius + self.centre).to(self.low.dtype)
        return torch.minimum(torch.maximum(action, self.low), self.high).reshape(-1, *self._shape)


class ActionValue(nn.Module):
    """Q(s, a) (n,) of observations (n, *obs_shape) and actions (n, *action_shape) in the environment's own units."""

    centre: Tensor
    radius: Tensor

    def __init__(
        self, critic: nn.Module, value: Callable[..., Tensor], sight: Sight, actions: ActionMap, units: Units
    ) -> None:
        super().__init__()
        self._units = units
        self.critic, self.sight, self._value = stilled(critic), sight, value
        half = torch.from_numpy(np.array(actions.half))
        self.register_buffer("centre", torch.from_numpy(np.array(actions.centre)))
        self.register_buffer("radius", torch.where(half == 0, 1.0, half))

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        x = self.sight(obs)
        q = self._value(self.critic, x, ((action.flatten(1) - self.centre) / self.radius).to(x.dtype))
        return q if self._units == Units() else q * self._units.size + self._units.shift


def functions(
    policy: nn.Module,
    critic: nn.Module,
    value: Callable[..., Tensor],
    finish: Finish,
    envs: VectorEnvironment,
    environment: Environment,
) -> dict[str, Function]:
    """`policy` and `critic` of an agent.

    Args:
        policy: (n, obs_dim) -> (n, action_dim) in [-1, 1].
        critic: the network.
        value: `value(critic, obs, action)` is Q, (n,).
        finish: what was done to the observations that the networks see, and to the critic's units.
        envs: have the spaces of one environment, observations flattened where they were no Box.
        environment: knows the space of observations as they are given.
    """
    like, vector, space = next(policy.parameters()), envs.vector, environment.found.space
    device, sight = like.device, Sight(finish.normaliser, like.dtype)
    units = Units() if finish.returns is None else finish.returns.units
    action_space, seen = cast(spaces.Box, vector.single_action_space), cast(spaces.Box, vector.single_observation_space)
    actions = ActionMap(action_space)
    low, high = (np.where(np.abs(b) < _USUAL, b, sign * _USUAL) for b, sign in ((seen.low, -1), (seen.high, 1)))
    bounds = [torch.from_numpy(np.asarray(b, dtype=np.float32)).to(device) for b in (low, high)]

    def obs(n: int, stream: torch.Generator) -> dict[str, Tensor]:
        x = torch.randn((n, *seen.shape), generator=stream, device=device)
        return {"obs": torch.minimum(torch.maximum(x, bounds[0]), bounds[1])}

    def both(n: int, stream: torch.Generator) -> dict[str, Tensor]:
        u = 2 * torch.rand((n, len(actions.low)), generator=stream, device=device) - 1
        centre, half = (torch.from_numpy(b.astype(np.float32)).to(device) for b in (actions.centre, actions.half))
        return {**obs(n, stream), "action": (centre + half * u).reshape(n, *action_space.shape)}

    read = None if space is None or isinstance(space, spaces.Box) else _flat(space)
    of = f"an observation {seen.shape}"
    return {
        "policy": Function(
            Policy(policy, sight, actions).to(device), obs, "action", f"the action {action_space.shape} for {of}", read
        ),
        "critic": Function(
            ActionValue(critic, value, sight, actions, units).to(device), both, "q", f"Q of {of} and an action", read
        ),
    }


def _flat(space: spaces.Space) -> Callable[[Any], NDArray[Any]]:
    def read(given: Any) -> NDArray[Any]:
        if isinstance(given, np.ndarray) and given.shape[-1:] == (spaces.flatdim(space),):
            return given  # flattened already
        return np.asarray(spaces.flatten(space, given), dtype=np.float32)

    return read
