"""Prioritised experience replay, proportional (Schaul et al. 2016): what was predicted badly is drawn more often."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rlgan.optim import Linear
from rlgan.optim.step.schedule import Schedule
from rlgan.rl.border.rows import Step
from rlgan.rl.replay.n_step import Windows
from rlgan.rl.replay.uniform import Layout, ReplaySpec, ReplayStore, Sampler, Transition


@dataclass(frozen=True)
class PrioritisedReplay(ReplaySpec):
    """Draws transitions with large TD errors more often (Schaul et al. 2016).

    P(i) = p_i^alpha / sum_k p_k^alpha, p_i = |TD error of i| + epsilon; weights w_i = (N P(i))^-beta / max_j w_j.

    A transition comes in with the largest priority so far and gets its own after every move that it took part in: its
    |TD error| by the networks after that move. (Schaul et al., Algorithm 1, take the error before it; this way it costs
    another forward pass, and means the same in every order of play, for all minibatches of a move.) Draws are
    stratified (section 3.3): one from each of B equal parts of the sum. The critic's loss is weighted, the largest
    weight of a batch being 1; the actor's is not. Priorities live on the CPU, in float64: on CUDA every move waits.

    Args:
        alpha: 0 is uniform, 1 proportional to the error.
        beta: at first; beta = 1 undoes the bias of the draw.
        epsilon: least priority, of a transition without error.
        schedule: multiplies 1 - beta, as a function of the transitions stored; to 0 by the end of the run.

    Raises:
        ValueError: a value out of range.
    """

    alpha: float = 0.6
    beta: float = 0.4
    epsilon: float = 1e-6
    schedule: Schedule = field(default_factory=lambda: Linear(end=0.0))

    def __post_init__(self) -> None:
        for name, value, example in (("alpha", self.alpha, 0.6), ("beta", self.beta, 0.4)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} = {value}: lies in [0, 1], for example {example}")
        if not 0 < self.epsilon < float("inf"):
            raise ValueError(f"epsilon = {self.epsilon}: must be positive, for example 1e-6")

    def make(self, layout: Layout) -> ReplayStore:
        return PrioritisedStore(self, layout)


class SumTree:
    """Numbers at `size` leaves, and their partial sums: a draw in proportion to them takes log2(size) steps.

    Every sum is that of its two halves, computed anew when one of them changes: so nothing drifts, and the leaves alone
    determine every bit.
    """

    def __init__(self, size: int) -> None:
        self.depth = max(size - 1, 1).bit_length()
        self._first = 1 << self.depth
        self._nodes = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """Sum of all leaves."""
        return float(self._nodes[1])

    def get(self, index: np.ndarray) -> np.ndarray:
        """Leaves at `index` (B,)."""
        leaves: np.ndarray = self._nodes[index + self._first]
        return leaves

    def set(self, index: np.ndarray, values: np.ndarray) -> None:
        """Set the leaves at `index` (B,) to `values` (B,), at least 0; of a repeated index the last one counts."""
        at = index + self._first
        self._nodes[at] = values
        for _ in range(self.depth):
            at = at >> 1
            self._nodes[at] = self._nodes[2 * at] + self._nodes[2 * at + 1]

    def find(self, mass: np.ndarray) -> np.ndarray:
        """The leaves, laid end to end, in which the points `mass` (B,) of [0, total) lie; never a leaf of 0."""
        at = np.ones(len(mass), dtype=np.int64)
        for _ in range(self.depth):
            left, right = self._nodes[2 * at], self._nodes[2 * at + 1]
            # Rounding may leave a point beyond the last leaf that is not 0: it stays left of what is.
            go = (mass >= left) & (right > 0)
            mass = np.where(go, mass - left, mass)
            at = 2 * at + go
        return at - self._first

    def leaves(self, count: int) -> np.ndarray:
        """The first `count` leaves, copied."""
        return self._nodes[self._first : self._first + count].copy()


class PrioritisedStore(ReplayStore):
    """A replay whose rows are drawn in proportion to their priorities; see `PrioritisedReplay` and `ReplayStore`."""

    def __init__(self, spec: PrioritisedReplay, layout: Layout) -> None:
        super().__init__(layout)
        self.spec = spec
        self.tree = SumTree(self.capacity)
        self._horizon = layout.horizon
        self._largest = 1.0

    @property
    def beta(self) -> float:
        """The exponent of the weights at present."""
        return self.laid_out(self._horizon, 0)["replay.beta"]

    def laid_out(self, horizon: int, ahead: int) -> dict[str, float]:
        factor = self.spec.schedule(self.added + ahead, horizon)
        return {"replay.beta": 1.0 - (1.0 - self.spec.beta) * factor}

    def add(self, step: Step | Windows) -> int:
        start = self._next
        count = super().add(step)
        if count:
            self.tree.set((start + np.arange(count)) % self.capacity, np.full(count, self._largest**self.spec.alpha))
        return count

    def draw(self, batch_size: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Indices and importance weights, both (B,); takes B uniform numbers from `generator`."""
        self.check_filled(batch_size)
        uniform = torch.rand(batch_size, generator=generator, device=generator.device, dtype=torch.float64)
        part = (np.arange(batch_size) + uniform.cpu().numpy()) / batch_size
        index = self.tree.find(part * self.tree.total)
        # (N P)^-beta by the largest of the batch: N and the sum cancel.
        leaf = self.tree.get(index)
        return index, (leaf / leaf.min()) ** -self.beta

    def refresh(self, index: np.ndarray, error: np.ndarray) -> None:
        """Give the rows at `index` (B,) the priorities of their |TD errors| (B,)."""
        # What is not finite stops the run at its next update; until then it must not spoil the sums.
        priority = np.where(np.isfinite(error), error + self.spec.epsilon, self._largest)
        self._largest = max(self._largest, float(priority.max()))
        self.tree.set(index, priority**self.spec.alpha)

    def sampler(self, batch_size: int) -> Sampler:
        return PrioritisedSampler(self, batch_size)

    def state_dict(self) -> dict[str, Any]:
        """The rows, as of any replay, and their priorities."""
        state = super().state_dict()
        state.update(leaves=torch.from_numpy(self.tree.leaves(len(self))), largest=self._largest)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.tree = SumTree(self.capacity)
        self.tree.set(np.arange(len(self)), state["leaves"].numpy())
        self._largest = state["largest"]


class PrioritisedSampler(Sampler):
    """Draws batches of one size from a prioritised replay, and gives their rows new priorities."""

    def __init__(self, replay: PrioritisedStore, batch_size: int) -> None:
        super().__init__(replay, batch_size)
        self._prioritised = replay
        weight = torch.ones(batch_size, dtype=replay.rows.dtype, device=replay.rows.device)
        self.batch = self.batch._replace(weight=weight)
        self.index = np.zeros(batch_size, dtype=np.int64)

    def __call__(self, generator: torch.Generator) -> Transition:
        self.index, weight = self._prioritised.draw(self.batch_size, generator)
        self.batch.weight.copy_(torch.from_numpy(weight))
        index = torch.from_numpy(self.index).to(self._rows.device)
        torch.index_select(self.replay.rows, 0, index, out=self._rows)
        return self.batch

    def learn(self, errors: Callable[[Transition], torch.Tensor]) -> None:
        error = errors(self.batch).detach().double().cpu().numpy()
        self._prioritised.refresh(self.index, error)
