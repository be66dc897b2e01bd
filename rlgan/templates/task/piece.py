"""A task: it trains step by step, measures itself and can be saved; run directories and resuming come with it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch

from rlgan.task import Diverged, Settings, Task
from rlgan.task.seeding import Generators


class Mine(Task):
    """A bandit: which of several arms pays best is learnt by the policy gradient (REINFORCE, Williams 1992).

    theta <- theta + lr (r - b) grad log pi(a), pi = softmax(theta), b the mean reward so far. Arm i pays i / (arms - 1)
    on average, with noise.

    Args:
        settings: of the run.
        arms: how many there are.
        lr: step size.
    """

    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("bandit/reward", "max")
    headline: ClassVar[tuple[str, ...]] = ("bandit/reward",)
    explained: ClassVar[Mapping[str, str]] = {
        "bandit/reward": "expected reward of the policy; 1 is the best arm's",
        "bandit/received": "mean reward since the last log",
    }

    def __init__(self, settings: Settings, arms: int = 5, lr: float = 0.1) -> None:
        if arms < 2:
            raise ValueError(f"arms = {arms}: there must be a choice, for example 5")
        self.settings, self.lr = settings, lr
        self.generators = Generators(settings.seed)  # every source of chance is a stream of it, saved with the state
        self.means = torch.linspace(0.0, 1.0, arms, dtype=settings.dtype)
        self.theta = torch.zeros(arms, dtype=settings.dtype)
        self.baseline = self.received = 0.0
        self.pulls = 0

    def advance(self) -> None:
        """One pull of an arm."""
        stream = self.generators.torch("pulls")
        policy = self.theta.softmax(0)
        arm = int(torch.multinomial(policy, 1, generator=stream))
        reward = float(self.means[arm]) + 0.1 * float(torch.randn((), generator=stream))
        step = -policy
        step[arm] += 1.0
        moved = self.theta + self.lr * (reward - self.baseline) * step
        if not moved.isfinite().all():  # before the step is taken, so that the last good point stays
            raise Diverged(f"step {self.steps_done + 1}: theta is not finite; try a smaller task.lr than {self.lr}")
        self.theta.copy_(moved)
        self.steps_done += 1
        self.baseline += (reward - self.baseline) / self.steps_done
        self.received, self.pulls = self.received + reward, self.pulls + 1

    def metrics(self) -> dict[str, float]:
        """What training saw since the last call."""
        mean = self.received / max(self.pulls, 1)
        self.received, self.pulls = 0.0, 0
        return {"bandit/received": mean}

    def evaluate(self) -> dict[str, float]:
        """How good the present policy is; draws from no stream of training."""
        return {"bandit/reward": float(self.theta.softmax(0) @ self.means)}

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "steps_done": self.steps_done,
            "theta": self.theta,
            "sums": [self.baseline, self.received, self.pulls],
            "generators": self.generators.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.steps_done = state["steps_done"]
        self.theta.copy_(state["theta"])
        self.baseline, self.received, self.pulls = state["sums"]
        self.generators.load_state_dict(state["generators"])
