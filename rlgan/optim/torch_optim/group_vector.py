"""A parameter group of a torch optimizer as one vector, with a method's slots over it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rlgan.optim.step.method import Method
from rlgan.optim.step.projection import Projection
from rlgan.optim.step.schedule import unscheduled
from rlgan.optim.step.types import Scalars, Slots
from rlgan.optim.torch_optim.group import same_shape

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128)


class GroupVector:
    """Some of a group's parameters as one vector, and a method's slots over it; every `state[p][slot]` is a view.

    Numbers and matrices of the whole group are in the state of the group's first parameter. Arithmetic and slots are in
    the parameters' precision, for half precision in float32. A complex number is two real ones, as torch has it.

    Args:
        params: those with a gradient (or a state), in the group's order; of one dtype on one device.
        group: of `param_groups`.
        state: the optimizer's; what is there already is kept.
        method: of the group.
        projection: of the group.

    Raises:
        ValueError: if the parameters mix dtypes or devices or are of a dtype not meant for this, two are one in memory,
            a projection is asked of complex ones, or a state is of another shape.
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
        self.kind = next(iter(kinds))
        self.complex = self.kind[0].is_complex
        if self.kind[0] not in DTYPES:
            names = ", ".join(str(known).removeprefix("torch.") for known in DTYPES)
            raise ValueError(f"params = of {self.kind[0]}: these methods step {names}; use params.float()")
        if self.complex and projection.active:
            raise ValueError(f"projection = {projection}: of real numbers, and these parameters are complex; use none")
        starts = [p.data_ptr() for p in params if p.numel()]
        if len(set(starts)) < len(starts) and any(starts):
            raise ValueError(
                "params = two that are one in memory (given twice, or tied by hand): a group is one vector, with each "
                "number in it once; give each once, as model.parameters() does"
            )
        self.params = params
        self.shapes = [p.shape for p in self.real(params)]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.entries, self._first = [state[p] for p in params], group["params"][0]
        dtype = self.kind[0].to_real()
        self.native = dtype in (torch.float32, torch.float64)
        dtype = dtype if self.native else torch.float32
        self.theta = torch.empty(sum(self.sizes), dtype=dtype, device=self.kind[1])
        self.g = torch.empty_like(self.theta)
        self._theta, self._g = self.views(self.theta), self.views(self.g)
        self.gather()
        self.projection = projection.fit(self.shapes)
        self.limits = self.projection.scalars(1.0) if projection.active else {}
        self.count = torch.zeros((), dtype=torch.float32, device=self.kind[1])

        slots = method.init(self.theta)
        if group.get("stores") == "lookahead":
            slots["behind"] = torch.zeros_like(self.theta)
        self.slots: Slots = {name: value for name, value in slots.items() if value.ndim == 1}
        self.whole = {name: value for name, value in slots.items() if value.ndim != 1}
        for name, flat in self.slots.items():
            for entry, view in zip(self.entries, self._stored(flat), strict=True):
                if name in entry:
                    same_shape(name, entry[name], view.shape)
                    view.copy_(entry[name])
                entry[name] = view
        self.lists = {name: [entry[name] for entry in self.entries] for name in self.slots}
        self._numels = [p.numel() for p in params]
        self._own = [[(name, tensors[i]) for name, tensors in self.lists.items()] for i in range(len(params))]
        self._goes_back = {"velocity", "behind"} <= self.slots.keys()
        self._rows: Tensor | None = None
        for name, value in self.whole.items():
            self._share(name, value, group["params"], state, method)
        for entry in self.entries:
            entry.setdefault("step", 0)
        self.leave()

    def _share(
        self, name: str, value: Tensor, everything: list[Tensor], state: dict[Tensor, dict[str, Any]], method: Method
    ) -> None:
        """Keep a number or matrix of the group with its first parameter."""
        shared = state[self._first]
        part = value.ndim == 2 and len(everything) > len(self.params)
        if part:
            sizes = [p.numel() for p in self.real(everything)]
            starts = dict(zip(map(id, everything), torch.tensor([0, *sizes]).cumsum(0).tolist(), strict=False))
            spans = [
                torch.arange(starts[id(p)], starts[id(p)] + n) for p, n in zip(self.params, self.sizes, strict=True)
            ]
            self._rows = torch.cat(spans).to(value.device)
        if name in shared:
            shared[name] = torch.as_tensor(shared[name]).to(value)
            if not part:
                same_shape(name, shared[name], value.shape)
        else:
            shared[name] = method.init(self.theta.new_zeros(sum(sizes)))[name] if part else value
        self.whole[name] = shared[name]

    def real(self, tensors: list[Tensor]) -> list[Tensor]:
        return [torch.view_as_real(t) for t in tensors] if self.complex else tensors

    def views(self, flat: Tensor) -> list[Tensor]:
        return [part.view(shape) for part, shape in zip(flat.split(self.sizes), self.shapes, strict=True)]

    def _stored(self, flat: Tensor) -> list[Tensor]:
        """The parts of a slot as `state` has them."""
        views = self.views(flat)
        return [torch.view_as_complex(view) for view in views] if self.complex else views

    def holds(self, params: list[Tensor], state: Mapping[Tensor, dict[str, Any]]) -> bool:
        """Whether this is the vector of `params`, and its slots are the tensors that `state` has."""
        if len(params) != len(self.params) or params[0].device != self.kind[1]:
            return False
        dtype = self.kind[0]
        for a, b, entry, numel, own in zip(params, self.params, self.entries, self._numels, self._own, strict=True):
            if a is not b or state.get(b) is not entry or a.dtype is not dtype or a.numel() != numel:
                return False
            for name, tensor in own:
                if entry.get(name) is not tensor:
                    return False
        return all(state.get(self._first, {}).get(name) is value for name, value in self.whole.items())

    def _replaced(self, name: str, state: Mapping[Tensor, dict[str, Any]]) -> bool:
        """Whether somebody has put another tensor in the place of a slot."""
        return any(state.get(p, {}).get(name) is not t for p, t in zip(self.params, self.lists[name], strict=True))

    def leave(self) -> None:
        """Note that the slots are as a step has left them."""
        self._versions = {name: flat._version for name, flat in self.slots.items() if not flat.is_inference()}

    def disturbed(self, state: Mapping[Tensor, dict[str, Any]]) -> bool:
        """Whether a velocity was put in from outside, and the way back from a look-ahead point was not."""

        def changed(name: str) -> bool:
            if self._replaced(name, state):
                return True
            flat = self.slots[name]
            return not flat.is_inference() and self._versions.get(name) != flat._version

        return self._goes_back and changed("velocity") and not changed("behind")

    def fusable(self, grads: list[Tensor]) -> bool:
        """Whether torch's kernels may work on the parameters: they go through memory in order and look at no stride."""
        return (
            self.native
            and self.kind[1].type in ("cpu", "cuda")
            and all(map(Tensor.is_contiguous, self.params))
            and all(map(Tensor.is_contiguous, grads))
            and not (self.complex and any(g.is_conj() or g.is_neg() for g in grads))
        )

    def gather(self) -> Tensor:
        """theta (d,) as the parameters have it."""
        torch._foreach_copy_(self._theta, self.real(self.params))
        return self.theta

    def gather_gradients(self, grads: list[Tensor], maximize: bool) -> Tensor:
        """g (d,) to descend along."""
        torch._foreach_copy_(
            self._g, self.real([g.resolve_conj().resolve_neg() for g in grads] if self.complex else grads)
        )
        return self.g.neg_() if maximize else self.g

    def write(self, theta: Tensor) -> None:
        """Let the parameters have `theta` (d,)."""
        torch._foreach_copy_(self.real(self.params), self._theta if theta is self.theta else self.views(theta))

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
        counts = list(map(int, [entry["step"] for entry in self.entries]))
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
        if not projection.active:
            return lambda x, slots: x

        def project(x: Tensor, slots: Slots) -> Tensor:
            # Infinity is no point to come back from: a clipped one would be a number that nobody has computed.
            x = torch.where(x.isinf(), torch.nan, x)
            return projection(x, s, method.projection_metric(slots, s) if projection.uses_metric else None)

        return project
