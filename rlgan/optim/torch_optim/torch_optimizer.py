"""The methods as ordinary `torch.optim.Optimizer` classes, for anybody's training loop.

    import torch
    from rlgan.optim import Cosine
    from rlgan.optim.torch_optim import AMSGrad

    x, y = torch.randn(256, 3), torch.randn(256, 1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    optimizer = AMSGrad(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, Cosine().over(50))
    for _ in range(50):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        scheduler.step()

A class takes what its preset in `rlgan.optim` takes, and every number of `param_groups` is read anew at every step.
What a method knows of the whole vector (AdaGrad-norm's norm, the sphere of R^d, a projection) it knows of one parameter
group: of its parameters that have a gradient; the others are left alone with their state. Parameters remain the user's
own tensors. A projection, and the generator of noise, are the user's to make again when a state is loaded.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from rlgan.optim.step import presets
from rlgan.optim.step.method import Descent, Method
from rlgan.optim.step.projection import NoProjection, Projection
from rlgan.optim.torch_optim.group import Group, check_saved
from rlgan.optim.torch_optim.group_vector import GroupVector

_SHARED: dict[str, Any] = {"projection": None, "generator": None, "maximize": False}


class MethodOptimizer(torch.optim.Optimizer):
    """A method of rlgan's as a torch optimizer; the subclasses name the method.

    For a method that looks ahead (`looks_ahead`) there are two ways:

    - ``stores="theta"``: the parameters hold theta, and `step(closure)` calls the closure with the parameters moved to
      the look-ahead point.
    - ``stores="lookahead"``: the parameters hold the look-ahead point between steps, as in torch.optim.SGD, and no
      closure is needed; ``with optimizer.swap():`` has them hold theta, to evaluate or to save.

    Args:
        params: parameters, named parameters or groups of them; each group is one vector and may have options of its
            own, ``projection`` among them.
        lr, options: of the preset; ``maximize``; ``stores``.
        projection: the convex set K that each step ends in. The start is the user's, and not projected.
        generator: where noise is drawn; None is torch's global generator. It is no part of `state_dict`: its state is
            the user's to save, ``generator.get_state()``.

    Raises:
        ValueError: for an unknown option, one out of range, or a projection unknown in the method's metric.
    """

    preset: ClassVar[Callable[..., Method]]
    """The method, by the options of a group."""
    looks_ahead: ClassVar[bool] = False
    """Whether the gradient is taken at another point than theta."""
    _kernel: ClassVar[Callable[..., None] | None] = None
    """torch's fused kernel for Adam's slots, where the method is that."""
    _options: ClassVar[dict[str, Any]]
    _name: ClassVar[str]

    def __init_subclass__(
        cls, preset: Callable[..., Method] | None = None, kernel: Callable[..., None] | None = None
    ) -> None:
        super().__init_subclass__()
        if preset is not None:  # a subclass of a user's keeps its parent's
            cls.preset, cls._kernel = staticmethod(preset), None if kernel is None else staticmethod(kernel)
            cls._name = cls.__name__
        cls.looks_ahead = cls.preset().looks_ahead
        options = inspect.signature(cls.preset).parameters
        cls._options = {name: p.default for name, p in options.items()}
        more = {**_SHARED, "stores": "theta"} if cls.looks_ahead else _SHARED
        first, *own = (inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("params", *more))
        named = [p.replace(kind=p.KEYWORD_ONLY if name != "lr" else p.kind) for name, p in options.items()]
        shared = [p.replace(kind=p.KEYWORD_ONLY, default=more[p.name]) for p in own]
        # What help() and editors show; the constructor itself takes any option and names the unknown.
        cls.__signature__ = inspect.Signature([first, *named, *shared])  # type: ignore[attr-defined]

    def __init__(
        self,
        params: Any,
        lr: float | None = None,
        *,
        projection: Projection | None = None,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        defaults = Group({**self._options, "maximize": False, **({"stores": "theta"} if self.looks_ahead else {})})
        for name, value in options.items():
            if name not in defaults:
                known = ", ".join(defaults)
                raise ValueError(f"{name} = {value}: {type(self).__name__} has no such option; it has {known}")
        defaults.update(options)
        if lr is not None:
            defaults["lr"] = lr
        self.projection: Projection = NoProjection() if projection is None else projection
        self.generator = generator
        self._projections: list[Projection] = []
        self._forget()
        super().__init__(params, defaults)

    def _forget(self) -> None:
        """Drop what is made from `state` and `param_groups`."""
        self._vectors: dict[int, GroupVector] = {}
        self._methods: dict[int, tuple[list[Any], Method]] = {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        group = Group(self.defaults)
        group.update(param_group)
        projection = group.pop("projection", self.projection)
        method = type(self).preset(**{name: _number(group[name]) for name in self._options})
        if self.looks_ahead and group["stores"] not in ("theta", "lookahead"):
            raise ValueError(f"stores = {group['stores']}: theta, or lookahead as in torch.optim.SGD(nesterov=True)")
        if method.kind not in projection.metrics:
            raise ValueError(
                f"projection = {projection}: has no closed form in the {method.kind} metric of this optimizer; use "
                "project_in='euclidean', or a method with a scalar metric (SGD, HeavyBall, AdaGradNorm)"
            )
        super().add_param_group(group)
        self._projections.append(projection)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every group; gives what the closure gives.

        Raises:
            ValueError: if the method looks ahead, its parameters hold theta, and there is no closure.
        """
        result = None
        if closure is not None:
            with self._ahead(), torch.enable_grad():
                result = closure()
        elif self.looks_ahead and any(group["stores"] == "theta" for group in self.param_groups):
            raise ValueError(
                f"step needs a closure: {type(self).__name__} takes its gradient at a look-ahead point; "
                "pass step(closure) or use stores='lookahead'"
            )
        for i, group in enumerate(self.param_groups):
            params, grads = [], []
            for p in group["params"]:
                g = p.grad
                if g is not None:
                    if g.is_sparse:
                        raise ValueError("grad = sparse: these methods take dense gradients; use sparse=False")
                    params.append(p)
                    grads.append(g)
            if any(map(Tensor.numel, params)):
                vector = self._vector(i, params)
                if self._kernel is not None and vector.fusable(grads):
                    self._fused_step(i, vector, grads)
                else:
                    self._flat_step(i, vector, grads)
        return result

    def _flat_step(self, i: int, vector: GroupVector, grads: list[Tensor]) -> None:
        group, method = self.param_groups[i], self._method(i)
        lr = _number(group["lr"])
        s = vector.numbers(method, lr)
        g = vector.gather_gradients(grads, group["maximize"])
        theta = vector.gather()
        state = vector.state()
        behind = state.pop("behind", None)
        if behind is not None:
            theta.add_(behind)
        drift = None
        if method.noise.active:
            drift = method.noise.draw(theta, self._generator(theta.device), {}) * method.noise.scale(lr, 1.0)
        theta, slots = method.step(theta, g, state, s, drift, vector.project(method, s))
        vector.keep(slots)
        vector.count_on()
        if behind is not None:
            x = method.point(theta, slots, vector.numbers(method, lr))
            # From the point that half-precision parameters can hold, so that nothing of theta is lost.
            held = x if vector.native else x.to(vector.kind[0]).to(theta.dtype)
            behind.copy_(theta - held)
            theta = x
            vector.leave()
        vector.write(theta)

    def _fused_step(self, i: int, vector: GroupVector, grads: list[Tensor]) -> None:
        group, counts = self.param_groups[i], vector.counts()
        if min(counts) == max(counts):
            now = [vector.count.fill_(counts[0] + 1)] * len(counts)
        else:
            now = [torch.full_like(vector.count, n + 1) for n in counts]
        assert self._kernel is not None
        numbers = {name: group[name] for name in ("beta1", "beta2", "eps", "weight_decay", "maximize")}
        params, grads = vector.real(vector.params), vector.real(grads)
        mean, square = vector.real(vector.lists["mean"]), vector.real(vector.lists["mean_square"])
        lr = _number(group["lr"])
        self._kernel(params, grads, mean, square, [], now, lr=lr, amsgrad=False, **numbers)
        # The kernel does not tell autograd, which could then not notice a write between forward and backward.
        torch.autograd.graph.increment_version(vector.params)
        if vector.projection.active:
            method = self._method(i)
            project = vector.project(method, vector.numbers(method, lr))
            vector.write(project(vector.gather(), vector.slots))
        vector.count_on()

    def _method(self, i: int) -> Method:
        """Group i's, for its options as they stand; the learning rate comes with the numbers of a step."""
        group = self.param_groups[i]
        values = [group[name] for name in self._options if name != "lr"]
        held = self._methods.get(i)
        if held is None or held[0] != values:
            names = [name for name in self._options if name != "lr"]
            held = self._methods[i] = values, type(self).preset(lr=1.0, **dict(zip(names, values, strict=True)))
        return held[1]

    def _vector(self, i: int, params: list[Tensor]) -> GroupVector:
        """Group i's vector of `params`, made again where that is another than before."""
        vector, method = self._vectors.get(i), self._method(i)
        disturbed = vector is not None and vector.disturbed(self.state)
        if vector is None or not vector.holds(params, self.state):
            vector = GroupVector(params, self.param_groups[i], self.state, method, self._projections[i])
            self._vectors[i] = vector
        if disturbed and isinstance(method, Descent) and "behind" in vector.slots:
            # As torch has it, what the parameters hold stays, and theta is what the new velocity says.
            s = vector.numbers(method, 0.0)
            vector.slots["behind"].copy_(-method.point(torch.zeros_like(vector.theta), vector.state(), s))
            vector.leave()
        return vector

    def _generator(self, device: torch.device) -> torch.Generator:
        if self.generator is not None:
            return self.generator
        if device.type == "cuda":
            return torch.cuda.default_generators[device.index or 0]
        return torch.default_generator

    def _ahead(self) -> contextlib.AbstractContextManager[None]:
        """The parameters at the point where the gradient is taken."""

        def point(i: int, vector: GroupVector) -> Tensor:
            method = self._method(i)
            s = vector.numbers(method, _number(self.param_groups[i]["lr"]))
            return method.point(vector.gather(), vector.state(), s)

        return self._moved("theta", point)

    def swap(self) -> contextlib.AbstractContextManager[None]:
        """The parameters at theta, to evaluate or to save them; what they held before, to the bit, afterwards."""

        def theta(i: int, vector: GroupVector) -> Tensor:
            theta = vector.gather().add_(vector.slots["behind"])
            # A rounded sum may be a last bit outside of K.
            return vector.projection(theta, vector.limits) if self._method(i).feasible else theta

        return self._moved("lookahead", theta)

    @contextlib.contextmanager
    def _moved(self, stores: str, to: Callable[[int, GroupVector], Tensor]) -> Iterator[None]:
        """What has taken steps, in the groups whose parameters hold `stores`, moved and in the end put back."""
        held: list[tuple[list[Tensor], list[Tensor]]] = []
        try:
            with torch.no_grad():
                for i, group in enumerate(self.param_groups):
                    params = [p for p in group["params"] if "step" in self.state.get(p, {})]
                    if params and group.get("stores") == stores:
                        vector = self._vector(i, params)
                        held.append((params, [p.clone() for p in params]))
                        vector.write(to(i, vector))
            yield
        finally:
            with torch.no_grad():
                for params, values in held:
                    torch._foreach_copy_(params, values)

    def state_dict(self) -> dict[str, Any]:
        """As torch's, with the name of the method, by which `load_state_dict` knows another's."""
        return {**super().state_dict(), "method": self._name}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load copies of a saved state, in the precision it was saved in (torch casts it to the parameters').

        Raises:
            ValueError: if it was saved by another optimizer or of other parameters; nothing is loaded then.
        """
        saved: dict[str, Any] = {}

        def look(_: torch.optim.Optimizer, given: dict[str, Any]) -> None:
            check_saved(given, self._name, self.param_groups, self._given, self._slots)
            saved.update(given)

        # The last of the hooks before and the first of those after, so that the user's see what they should.
        before = self.register_load_state_dict_pre_hook(look)
        after = self.register_load_state_dict_post_hook(lambda _: self._restore(saved), prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _slots(self, group: dict[str, Any], d: int) -> dict[str, torch.Size]:
        """The shapes of the slots of a group of `d` numbers."""
        values = {name: _number(group[name]) for name in self._options}
        theta, method = torch.zeros(d, device="meta"), type(self).preset(**{**values, "lr": 1.0})  # it may be 0 by now
        behind = {"behind": theta.shape} if group.get("stores") == "lookahead" else {}
        return {name: slot.shape for name, slot in method.init(theta).items()} | behind

    def _restore(self, saved: dict[str, Any]) -> None:
        for group, theirs in zip(self.param_groups, saved["param_groups"], strict=True):
            for p, key in zip(group["params"], theirs["params"], strict=True):
                if key in saved["state"]:
                    entry = saved["state"][key]
                    self.state[p] = {
                        k: v.to(p.device, copy=True) if isinstance(v, Tensor) else v for k, v in entry.items()
                    }

    @property
    def _given(self) -> list[str]:
        return [*self._options, "maximize", *(["stores"] if self.looks_ahead else [])]

    def __getstate__(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("projection", "generator", "_projections")}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.param_groups = [Group(group) for group in self.param_groups]
        self._forget()


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


class SGD(MethodOptimizer, preset=presets.sgd):
    """Gradient descent: theta - lr g."""


class HeavyBall(MethodOptimizer, preset=presets.heavy_ball):
    """The heavy ball: v <- rho v - lr g, theta + v. torch.optim.SGD(momentum=rho) while lr is constant."""


class Nesterov(MethodOptimizer, preset=presets.nesterov):
    """Nesterov's momentum; with ``stores="lookahead"`` torch.optim.SGD(nesterov=True) while lr is constant."""


class AdaGrad(MethodOptimizer, preset=presets.adagrad):
    """AdaGrad: r <- r + g*g, theta - lr g / (eps + sqrt r)."""


class AdaGradNorm(MethodOptimizer, preset=presets.adagrad_norm):
    """AdaGrad with one step size: Q <- Q + |g|^2, theta - lr g / sqrt Q, one Q for a group."""


class AdaGradFull(MethodOptimizer, preset=presets.adagrad_full):
    """AdaGrad with the full matrix, which is kept in the state of a group's first parameter."""


class RMSProp(MethodOptimizer, preset=presets.rmsprop):
    """RMSProp: r <- decay r + (1 - decay) g*g, theta - lr g / (eps + sqrt r)."""


class RMSPropNesterov(MethodOptimizer, preset=presets.rmsprop_nesterov):
    """RMSProp with Nesterov's momentum, the velocity after the metric."""


class Adam(MethodOptimizer, preset=presets.adam, kernel=torch._fused_adam_):
    """Adam: theta - lr m^ / (eps + sqrt v^), bias-corrected; by torch's fused kernel on the parameters as they lie."""


class AdamW(MethodOptimizer, preset=presets.adamw, kernel=torch._fused_adamw_):
    """Adam, and lr weight_decay theta taken off theta besides; by torch's fused kernel."""


class AMSGrad(MethodOptimizer, preset=presets.amsgrad):
    """AMSGrad, projected in its own metric; with ``bias_correction=True`` it is torch.optim.Adam(amsgrad=True)."""


def _accelegrad(lr: float = 1.0, diameter: float = 1.0, gradient_bound: float = 1.0) -> Method:
    return presets.AcceleGrad(diameter, gradient_bound, lr)


class AcceleGrad(MethodOptimizer, preset=_accelegrad):
    """AcceleGrad (Levy et al. 2018): one norm for a group.

    See `rlgan.optim.AcceleGrad`; its rates are those of the mean of the y with weights a.
    """


class PerturbedSGD(MethodOptimizer, preset=presets.perturbed_sgd):
    """Perturbed SGD: theta - lr (g + sigma xi), xi uniform on the unit sphere of a group's R^d."""


class SGLD(MethodOptimizer, preset=presets.sgld):
    """Langevin dynamics: theta - lr g + sqrt(2 lr T) xi, xi ~ N(0, I)."""
