"""Limited-memory BFGS: torch's, kept going where its absolute tolerances would stop it."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rlgan.optim.errors import LineSearchFailed
from rlgan.optim.second_order.full_batch import FullBatch, Memory
from rlgan.optim.second_order.line_search import NoLower, Oracle, Point, dot, model_step


@dataclass(frozen=True)
class LBFGS(FullBatch):
    """Limited-memory BFGS (Liu & Nocedal 1989): ``torch.optim.LBFGS`` with its strong Wolfe line search.

    B is applied from the last `history` pairs (s, y), in O(history d). Two tolerances in torch are absolute: its search
    gives up in brackets below 1e-9, and pairs with s'y <= 1e-10 are dropped. Where that happens short of the minimum
    it starts afresh, in units of theta and of the loss in which the gradient and the curvature along it are 1.
    Its search compares losses to the last bit, so that |g| ends at about sqrt(eps L |f|) where f at the minimum is
    not 0; BFGS and the others go on from there.

    Args:
        history: pairs kept, at least 1.

    Raises:
        ValueError: if `history` is below 1.
    """

    DROPPED: ClassVar[float] = 1e-10

    history: int = 10

    def __post_init__(self) -> None:
        if self.history < 1:
            raise ValueError(f"history = {self.history}: steps remembered, at least 1; for example 10")

    def _next(self, oracle: Oracle, at: Point, memory: Memory) -> Point | None:
        if not memory:
            memory.update(_units(at, 1.0, 1.0, first=True))
        new = None if memory["stuck"] else self._in_units(oracle, at, memory)
        if new is None and (memory["stuck"] or memory["first"] or not torch.equal(memory["start"], at.theta)):
            size = at.norm
            if size == 0.0:
                return None
            alpha = model_step(oracle, at, -at.g)
            memory.update(_units(at, alpha * size, 1.0 / (alpha * size**2)))
            new = self._in_units(oracle, at, memory)
        if new is None:
            if 1.0 / memory["per_loss"] <= 10.0 * at.rounding:
                return None
            raise NoLower
        memory["stuck"] = dot(new.g - at.g, new.theta - at.theta) * memory["per_loss"] <= self.DROPPED
        return new

    def _in_units(self, oracle: Oracle, at: Point, memory: Memory) -> Point | None:
        """Torch's step on u -> per_loss f(start + unit u), from the u that it has come to; None if it gets stuck."""
        u = memory["u"].clone().requires_grad_()
        start, unit, per_loss, value = (memory[key] for key in ("start", "unit", "per_loss", "start_loss"))

        def here() -> Point:
            return oracle.at(start + unit * u.detach())

        def closure() -> float:
            point = here()
            u.grad = point.g * (per_loss * unit)
            return float(per_loss * (point.loss - value))

        # One iteration a call; the trace, not torch's tolerances, says when it is over.
        optimizer = torch.optim.LBFGS(
            [u], 1.0, 1, max_eval=60, tolerance_grad=0.0, tolerance_change=0.0, history_size=self.history,
            line_search_fn="strong_wolfe",
        )  # fmt: skip
        optimizer.state[u].update(self._own(memory["torch"]))
        optimizer.step(closure)
        new = here()
        if not new.finite:
            raise LineSearchFailed("torch's search left the domain of the loss; is it unbounded below? or use BFGS")
        if torch.equal(new.theta, at.theta):
            return None
        kept = dict(optimizer.state[u])
        kept.pop("al", None)  # of use within a step alone
        memory.update(u=u.detach(), torch=kept)
        return new

    def _own(self, state: dict[str, Any]) -> dict[str, Any]:
        """Torch's state, with copies of what it writes into."""
        own = dict(state)
        for key in ("old_dirs", "old_stps", "ro"):
            if key in own:
                own[key] = list(own[key])[-self.history :]
        if "prev_flat_grad" in own:
            own["prev_flat_grad"] = own["prev_flat_grad"].clone()
        return own


def _units(at: Point, unit: float, per_loss: float, first: bool = False) -> Memory:
    """A new beginning at a point, in units of theta and of the loss; the `first` one is in those of the user."""
    zero: Tensor = torch.zeros_like(at.theta)
    return {
        "start": at.theta, "start_loss": at.loss, "unit": unit, "per_loss": per_loss, "u": zero, "torch": {},
        "first": first, "stuck": False,
    }  # fmt: skip
