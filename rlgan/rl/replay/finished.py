"""A minibatch that was drawn as the losses want it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rlgan.rl.agent import Agent
from rlgan.rl.border.rows import Step
from rlgan.rl.normalisation import Normaliser
from rlgan.rl.replay.ceiling import Ceiling
from rlgan.rl.replay.returns import Returns, Units
from rlgan.rl.replay.uniform import Transition
from rlgan.task.seeding import Generators


class Finish:
    """Normalises observations and rewards in the minibatch's own memory, and adds what losses want: noise, a ceiling.

    Args:
        agent: whose losses they are.
        num_envs: environments that are stepped together.
        normaliser: of observations.
        returns: the units of the critic.
    """

    def __init__(self, agent: Agent, num_envs: int, normaliser: Normaliser | None, returns: Returns | None) -> None:
        self.noisy, self.normaliser, self.returns = agent.noisy, normaliser, returns
        seen = getattr(agent, "ceiling", "none") == "seen"
        self.ceiling = Ceiling(agent.discount, num_envs) if seen else None
        #: Whether rewards are looked at as they come.
        self.listens = self.ceiling is not None or (returns is not None and returns.kind in ("scale", "first"))
        #: Whether a minibatch is changed at all.
        self.changes = agent.noisy or any(part is not None for part in (normaliser, returns, self.ceiling))

    def __call__(self, batch: Transition, generators: Generators) -> Transition:
        """The batch; noise is drawn in float32 whatever the precision."""
        if self.normaliser is not None:
            self.normaliser.normalise_(batch)  # in the sampler's memory, where `Trainer.learnt` finds it again
        if self.returns is not None:
            self.returns.apply_(batch)
        if self.ceiling is not None and self.ceiling.most > 0:  # there is none before, and `ceiling` is infinity
            units = Units() if self.returns is None else self.returns.units
            batch.ceiling.fill_((self.ceiling.most - units.shift) / units.size)
        if not self.noisy:
            return batch
        device = batch.action.device
        noise = torch.randn(batch.action.shape, generator=generators.torch("smoothing", device), device=device)
        return batch._replace(noise=noise.to(batch.action.dtype))

    def observe(self, step: Step) -> None:
        """Take note of the rewards of a step of the environments."""
        if self.returns is not None:
            self.returns.observe(step)
        if self.ceiling is not None:
            self.ceiling.observe(step)

    def settle(self, lengths: np.ndarray) -> None:
        """After environments may have come to stand elsewhere, so many steps (n,) into their episodes."""
        if self.ceiling is not None:
            self.ceiling.settle(lengths)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has of it; nothing of units that are the environment's."""
        found: dict[str, Any] = {"normaliser": None if self.normaliser is None else self.normaliser.state_dict()}
        if (own := self.returns) is not None:
            running = torch.from_numpy(own.running.copy())
            found["units"] = {"kind": own.kind, "factor": own.factor, "running": running, "numbers": own.state_dict()}
        if self.ceiling is not None:
            found["ceiling"] = self.ceiling.state_dict()
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Raises:
            ValueError: saved with another setting; nothing is restored then.
        """
        saved, units = state["normaliser"], state.get("units", {"kind": "none", "factor": 1.0})
        own = self.returns
        kind, factor = ("none", 1.0) if own is None else (own.kind, own.factor)
        for key, now, then in (
            ("normalise_obs", str(self.normaliser is not None).lower(), str(saved is not None).lower()),
            ("normalise_returns", kind, units["kind"]),
            ("reward_scale", factor, units["factor"]),
        ):
            if now != then:
                raise ValueError(f"{key} = {now}: the saved run has {then}; resume with that")
        if self.normaliser is not None:
            self.normaliser.load_state_dict(saved)
        if own is not None:
            own.load_state_dict(units["numbers"])
            own.running = units["running"].numpy().copy()
        if self.ceiling is not None and "ceiling" in state:
            self.ceiling.load_state_dict(state["ceiling"])
