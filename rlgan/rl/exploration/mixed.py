"""Parameter noise and action noise together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from rlgan.rl.exploration.action_noise import ActionNoise, GaussianActionNoise, OrnsteinUhlenbeckActionNoise
from rlgan.rl.exploration.explorer import Answer, Exploration, Explorer, Rollout, clip
from rlgan.rl.exploration.parameter_noise import ParameterNoise


@dataclass(frozen=True)
class MixedNoise(Exploration):
    """a = clip(mu(s; theta + N(0, sigma^2 I)) + noise, -1, 1): a perturbed copy for an episode, noise at every step.

    The copy explores what a policy would do consistently, the noise what lies around it; each has its own streams.

    Args:
        parameter: of the copy.
        action: of the step.
    """

    parameter: ParameterNoise = field(default_factory=ParameterNoise)
    action: GaussianActionNoise | OrnsteinUhlenbeckActionNoise = field(default_factory=GaussianActionNoise)

    def make(self, rollout: Rollout) -> Explorer:
        parameter, action = self.parameter.make(rollout), self.action.make(rollout)
        assert isinstance(action, ActionNoise)
        return _Both(rollout, parameter, action)


class _Both(Explorer):
    def __init__(self, rollout: Rollout, parameter: Explorer, action: ActionNoise) -> None:
        super().__init__(rollout)
        self.parameter, self.action = parameter, action
        self.adapt_every = parameter.adapt_every

    def act(self, obs: np.ndarray | torch.Tensor) -> np.ndarray:
        return clip(self.parameter.act(obs) + self.action.noise())

    def observe(self, ended: np.ndarray, valid: np.ndarray) -> None:
        super().observe(ended, valid)
        self.parameter.observe(ended, valid)
        self.action.observe(ended, valid)

    def forgo(self, rows: np.ndarray) -> None:
        self.parameter.forgo(rows)
        self.action.forgo(rows)

    def joined(self, parts: Sequence[Explorer], answer: Answer) -> Explorer | None:
        own = cast(Sequence[_Both], parts)
        whole = self._whole(parts, answer)
        parameter = self.parameter.joined([part.parameter for part in own], answer)
        action = self.action.joined([part.action for part in own], answer)
        if parameter is None or action is None:
            return None
        assert isinstance(action, ActionNoise)
        whole.parameter, whole.action = parameter, action
        return whole

    def adapt(self, obs: torch.Tensor) -> None:
        self.parameter.adapt(obs)

    def metrics(self) -> dict[str, float]:
        return {**self.parameter.metrics(), "exploration/action_sigma": self.action.metrics()["exploration/sigma"]}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "parameter": self.parameter.state_dict(), "action": self.action.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.parameter.load_state_dict(state["parameter"])
        self.action.load_state_dict(state["action"])
