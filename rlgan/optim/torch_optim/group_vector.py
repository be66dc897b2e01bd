"""A parameter group of a torch optimizer as one vector, with a method's slots over it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rlgan.optim.step.method import Method
from rlgan.optim.step.projection import Projection
from rlgan.optim.step.schedule import unscheduled
from rlgan.optim.step.types import Scalars, Slots


class GroupVector:
    """Some of a group's parameters as one vector, and a method's slots over it; every `state[p][slot]` is a view.

    Numbers and matrices of the whole group are in the state of the group's first parameter. Arithmetic and slots are in
    the parameters' precision, for half precision in float32.

    Args:
        params: those with a gradient (or a state), in the group's order; of one dtype on one device.
        group: of `param_groups`.
        state: the optimizer's; what is there already is kept.
        method: of the group.
        projection: of the group.

    Raises:
        ValueError: if the parameters mix dtypes or devices, or a saved state is of another shape.
    """

    def __init__(
        self,
        params: list[Tensor],
        group: dict[str, Any],
        state: dict[Tensor, dict[str, Any]],
        method: Method,
        projection: Projection,
    ) -> None:
        kinds = {(p.dtype, p.device) for p in params}
        if len(kinds) > 1:
            raise ValueError(f"params = of {kinds}: a parameter group is one vector, of one dtype on one device")
        self.params, self.sizes = params, [p.numel() for p in params]
        self.kind = next(iter(kinds))
        self.entries = [state[p] for p in params]
        self.native = self.kind[0] in (torch.float32, torch.float64)
        dtype = self.kind[0] if self.native else torch.float32
        self.theta = torch.empty(sum(self.sizes), dtype=dtype, device=self.kind[1])
        self.g = torch.empty_like(self.theta)
        self._theta, self._g = self.views(self.theta), self.views(self.g)
        self.gather()
        self.projection = projection.fit([p.shape for p in params])
        self.limits = self.projection.scalars(1.0) if projection.active else {}
        self.count = torch.zeros((), dtype=torch.float32, device=self.kind[1])

        slots = method.init(self.theta)
        if group.get("stores") == "lookahead":
            slots["behind"] = torch.zeros_like(self.theta)
        self.slots: Slots = {name: value for name, value in slots.items() if value.ndim == 1}
        self.whole = {name: value for name, value in slots.items() if value.ndim != 1}
        for name, flat in self.slots.items():
            for entry, view in zip(self.entries, self.views(flat), strict=True):
                if name in entry:
                    _same_shape(name, entry[name], view)
                    view.copy_(entry[name])
                entry[name] = view
        self.lists = {name: [entry[name] for entry in self.entries] for name in self.slots}
        self._rows: Tensor | None = None
        for name, value in self.whole.items():
            self._share(name, value, group["params"], state, method)
        for entry in self.entries:
            entry.setdefault("step", 0)

    def _share(
        self, name: str, value: Tensor, everything: list[Tensor], state: dict[Tensor, dict[str, Any]], method: Method
    ) -> None:
        """Keep a number or matrix of the group with its first parameter."""
        shared = state[everything[0]]
        part = value.ndim == 2 and len(everything) > len(self.params)
        if part:
            sizes = [p.numel() for p in everything]
            starts = dict(zip(map(id, everything), torch.tensor([0, *sizes]).cumsum(0).tolist(), strict=False))
            spans = [torch.arange(starts[id(p)], starts[id(p)] + p.numel()) for p in self.params]
            self._rows = torch.cat(spans).to(value.device)
        if name in shared:
            shared[name] = shared[name].to(value.dtype)
            if not part:
                _same_shape(name, shared[name], value)
        else:
            shared[name] = method.init(self.theta.new_zeros(sum(sizes)))[name] if part else value
        self.whole[name] = shared[name]

    def views(self, flat: Tensor) -> list[Tensor]:
        return [part.view(p.shape) for part, p in zip(flat.split(self.sizes), self.params, strict=True)]

    def holds(self, params: list[Tensor], state: Mapping[Tensor, dict[str, Any]]) -> bool:
        """Whether this is the vector of `params`, and its slots are what `state` has."""
        return (
            len(params) == len(self.params)
            and all(a is b and state.get(b) is e for a, b, e in zip(params, self.params, self.entries, strict=True))
            and (params[0].dtype, params[0].device) == self.kind
        )

    def fusable(self, grads: list[Tensor]) -> bool:
        """Whether torch's kernels may work on the parameters: they go through memory in order and look at no stride."""
        return (
            self.native
            and self.kind[1].type in ("cpu", "cuda")
            and all(map(Tensor.is_contiguous, self.params))
            and all(map(Tensor.is_contiguous, grads))
        )

    def gather(self) -> Tensor:
        """theta (d,) as the parameters have it."""
        torch._foreach_copy_(self._theta, self.params)
        return self.theta

    def gather_gradients(self, grads: list[Tensor], maximize: bool) -> Tensor:
        """g (d,) to descend along."""
        torch._foreach_copy_(self._g, grads)
        return self.g.neg_() if maximize else self.g

    def write(self, theta: Tensor) -> None:
        """Let the parameters have `theta` (d,)."""
        torch._foreach_copy_(self.params, self._theta if theta is self.theta else self.views(theta))

    def state(self) -> Slots:
        """The method's slots; a matrix in the rows and columns of these parameters."""
        rows = self._rows
        if rows is None:
            return {**self.slots, **self.whole}
        return {**self.slots, **{n: v if v.ndim == 0 else v[rows[:, None], rows] for n, v in self.whole.items()}}

    def keep(self, slots: Slots) -> None:
        """Write the new slots in the place of the old."""
        for name, value in slots.items():
            mine = self.slots[name] if name in self.slots else self.whole[name]
            if self._rows is not None and mine.ndim == 2:
                mine[self._rows[:, None], self._rows] = value
            elif mine is not value:
                mine.copy_(value)

    def counts(self) -> list[int]:
        """Steps that each parameter has taken; what is of the whole group goes by the one that has taken most."""
        counts = [entry["step"] for entry in self.entries]
        return [max(counts)] * len(counts) if self.whole else counts

    def count_on(self) -> None:
        for entry in self.entries:
            entry["step"] += 1

    def numbers(self, method: Method, lr: float) -> Scalars:
        """The numbers of the next step; a vector (d,) where parameters have taken unequally many."""
        counts = self.counts()
        s: dict[str, Any] = dict(method.scalars(counts[0] + 1, 1.0, unscheduled))
        if min(counts) != max(counts):
            rows = [method.scalars(n + 1, 1.0, unscheduled) for n in counts]
            lengths = torch.tensor(self.sizes)
            for name in s:
                values = torch.tensor([row[name] for row in rows], dtype=self.theta.dtype)
                s[name] = values.repeat_interleave(lengths).to(self.theta.device)
        s["lr"] = lr
        s.update(self.limits)
        return s

    def project(self, method: Method, s: Scalars) -> Callable[[Tensor, Slots], Tensor]:
        """P_K^H in the metric that the method's new state gives; the identity where there is no K."""
        projection = self.projection

        def project(x: Tensor, slots: Slots) -> Tensor:
            return projection(x, s, method.projection_metric(slots, s) if projection.uses_metric else None)

        return project


def _same_shape(name: str, saved: Tensor, mine: Tensor) -> None:
    if saved.shape != mine.shape:
        raise ValueError(
            f"state.{name} = of shape {tuple(saved.shape)}: this parameter needs {tuple(mine.shape)}; "
            "load a state saved with the same parameters in the same order"
        )
