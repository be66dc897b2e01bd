"""Parameter noise: exploration by copies of the actor with perturbed parameters (Plappert et al. 2018)."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from rlgan.nets import Many, Single
from rlgan.optim.step.schedule import Constant, Schedule
from rlgan.rl.exploration.explorer import Answer, Exploration, Explorer, Rollout, check_scale, clip, spawn


@dataclass(frozen=True)
class ParameterNoise(Exploration):
    """a = mu(s; theta + N(0, sigma^2 I)), perturbed anew for every environment and episode (Plappert et al. 2018).

    A second copy, perturbed afresh with the present sigma, measures on replay observations d = sqrt(mean over batch and
    action dimensions of (mu(s) - mu~(s))^2), and sigma *= factor if d <= delta, sigma /= factor otherwise. Parameters
    of normalisation layers are not perturbed; those of the output layer are.

    Args:
        sigma: the first standard deviation, in parameter space.
        delta: the distance d aimed at: the standard deviation of Gaussian action noise of like effect.
        factor: of one adaptation, above 1.
        adapt_every: updates between two adaptations; 0 keeps sigma as it is.
        schedule: multiplies delta (or sigma where it is not adapted), as a function of the environment steps taken.

    Raises:
        ValueError: values out of range.
    """

    sigma: float = 0.2
    delta: float = 0.2
    factor: float = 1.01
    adapt_every: int = 50
    schedule: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        check_scale("sigma", self.sigma, "0.2")
        check_scale("delta", self.delta, "0.2")
        if not self.factor > 1:
            raise ValueError(f"factor = {self.factor}: must be above 1, for example 1.01")
        if self.adapt_every < 0:
            raise ValueError(
                f"adapt_every = {self.adapt_every}: must be positive, for example 50, or 0 for a fixed sigma"
            )

    def make(self, rollout: Rollout) -> Explorer:
        return _PerturbedActor(self, rollout)


class _PerturbedActor(Explorer):
    def __init__(self, spec: ParameterNoise, rollout: Rollout) -> None:
        super().__init__(rollout, spec.schedule)
        self._spec = spec
        self.adapt_every = spec.adapt_every or None
        self.sigma = spec.sigma
        self.distance: float | None = None
        *self._generators, self._trial_generator = spawn(rollout.generator, self.num_envs + 1)
        self._actors: Any = PerturbedActors(self.actor, self.num_envs)
        self._trial = PerturbedActors(self.actor, 1)
        for i in range(self.num_envs):
            self._actors.perturb(i, self._scale, self._generators[i])

    @property
    def _scale(self) -> float:
        return self.sigma if self.adapt_every else self.sigma * self.factor

    def act(self, obs: np.ndarray | torch.Tensor) -> np.ndarray:
        action = self._actors(self._input(obs))
        return clip(action.detach().cpu().numpy().astype(np.float32, copy=False))

    def joined(self, parts: Sequence[Explorer], answer: Answer) -> Explorer | None:
        own = cast(Sequence[_PerturbedActor], parts)
        many = PerturbedActors.joined([part._actors for part in own])
        if many is None:
            return None
        whole = self._whole(parts, answer)
        whole._actors = many
        return whole

    def observe(self, ended: np.ndarray, valid: np.ndarray) -> None:
        super().observe(ended, valid)
        if self._parts:  # each perturbs its own copies, by its own sigma
            for part, rows in zip(self._parts, ended.reshape(len(self._parts), -1), strict=True):
                cast(_PerturbedActor, part)._start(rows)
        else:
            self._start(ended)

    def _start(self, ended: np.ndarray) -> None:
        if np.count_nonzero(ended):
            for i in np.flatnonzero(ended):
                self._actors.perturb(int(i), self._scale, self._generators[i])

    def adapt(self, obs: torch.Tensor) -> None:
        if not self.adapt_every:
            return
        self._trial.perturb(0, self.sigma, self._trial_generator)
        batch = self._input(obs)
        difference = self._answer(batch) - self._trial.first(batch)
        self.distance = float(difference.square().mean().sqrt())
        grow = self.distance <= self._spec.delta * self.factor
        self.sigma = self.sigma * self._spec.factor if grow else self.sigma / self._spec.factor

    def metrics(self) -> dict[str, float]:
        known = {} if self.distance is None else {"exploration/distance": self.distance}
        return {"exploration/sigma": self._scale, **known}

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "sigma": self.sigma,
            "distance": self.distance,
            "actors": self._actors.state_dict(),
            "generators": [generator.get_state() for generator in (*self._generators, self._trial_generator)],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.sigma = state["sigma"]
        self.distance = state["distance"]
        self._actors.load_state_dict(state["actors"])
        for generator, saved in zip((*self._generators, self._trial_generator), state["generators"], strict=True):
            generator.set_state(saved)


#: Layers whose parameters are left alone: they set the scale on which the perturbation of the others acts.
NORMALISATIONS: tuple[type[nn.Module], ...] = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)

# Copies evaluated one after the other up to this number, by one batched call above it, whose fixed cost is that of six
# calls.
_LOOPED = 6


class PerturbedActors:
    """n copies mu(.; theta_i), theta_i = theta + N(0, sigma^2 I) on all but the normalisation layers.

    The copies' parameters are the rows of `vectors` (n, d), in the order of `actor.named_parameters()`, and their
    buffers (batch-norm statistics) rows likewise; the actor's own are only read. A few copies are modules whose
    parameters are permanent views of their row; many are evaluated in one batched call.

    Args:
        actor: obs (B, obs_dim) -> action (B, action_dim).
        count: n.
    """

    def __init__(self, actor: nn.Module, count: int) -> None:
        self.actor = actor
        self.count = count
        parameters = dict(actor.named_parameters())
        sizes = [p.numel() for p in parameters.values()]
        first = next(iter(parameters.values()))
        vectors = torch.empty((count, sum(sizes)), dtype=first.dtype, device=first.device)
        perturbed = _perturbed_names(actor)
        mask = [torch.full((p.numel(),), float(name in perturbed)) for name, p in parameters.items()]
        self._mask = torch.cat(mask).to(vectors)
        self._buffers = {name: torch.stack([buffer] * count) for name, buffer in actor.named_buffers()}
        self._rehome(vectors)

    def _rehome(self, vectors: torch.Tensor) -> None:
        """Have the parameters in `vectors` (n, d), which hold them already."""
        self.vectors = vectors
        parameters = dict(self.actor.named_parameters())
        pieces = zip(parameters.items(), vectors.split([p.numel() for p in parameters.values()], 1), strict=True)
        self._parameters = {name: piece.view(self.count, *p.shape) for (name, p), piece in pieces}
        self._modules = [self._module(i) for i in range(self.count if self.count <= _LOOPED else 1)]
        self._singles: list[Single] | None = None
        template = self._modules[0]
        self._batched = vmap(lambda own, obs: functional_call(template, own, (obs.unsqueeze(0),)).squeeze(0))

    def _module(self, i: int) -> nn.Module:
        # The copy's parameters are made anew: after a deepcopy they are views of memory that nobody else knows.
        module = copy.deepcopy(self.actor).requires_grad_(False).eval()
        views = {
            id(p): nn.Parameter(self._parameters[name][i], requires_grad=False) for name, p in module.named_parameters()
        }
        for owner in module.modules():
            for leaf, p in list(owner._parameters.items()):
                if p is not None:
                    owner._parameters[leaf] = views[id(p)]
        for name, rows in self._buffers.items():
            prefix, _, leaf = name.rpartition(".")
            module.get_submodule(prefix)._buffers[leaf] = rows[i]
        return module

    @torch.no_grad()
    def perturb(self, i: int, sigma: float, generator: torch.Generator) -> None:
        """Make copy i anew from the actor as it is now; draws d numbers from `generator`, a CPU generator."""
        noise = torch.randn(self.vectors.shape[1], generator=generator, dtype=torch.float32).to(self.vectors)
        row = self.vectors[i]
        torch.cat([p.reshape(-1) for p in self.actor.parameters()], out=row)
        row.addcmul_(noise, self._mask, value=sigma)
        for name, buffer in self.actor.named_buffers():
            self._buffers[name][i].copy_(buffer)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """All copies of all `parts`, whose vectors become rows of one tensor; None for actors that are no perceptrons.

        Returns:
            What gives row i of obs (S * n, obs_dim) the answer of copy i.
        """
        actor = parts[0].actor
        if not Single.possible(actor):
            return None
        vectors = torch.cat([part.vectors for part in parts])
        for part, rows in zip(parts, vectors.split(parts[0].count), strict=True):
            part._rehome(rows)
        many = Many(actor, vectors)
        return lambda obs: torch.from_numpy(many(obs.numpy()[:, None])[:, 0])

    @torch.no_grad()
    def __call__(self, obs: torch.Tensor) -> torch.Tensor:
        """Actions (n, action_dim): row i is copy i's answer to row i of obs (n, obs_dim)."""
        if self.count > _LOOPED:
            actions: torch.Tensor = self._batched(self._parameters | self._buffers, obs)
            return actions
        if self._singles is None:
            self._singles = [Single(module) for module in self._modules if Single.possible(module)]
        if self._singles:
            return torch.from_numpy(np.stack([one(x) for one, x in zip(self._singles, obs.numpy(), strict=True)]))
        return torch.cat([module(obs[i : i + 1]) for i, module in enumerate(self._modules)])

    @torch.no_grad()
    def first(self, obs: torch.Tensor) -> torch.Tensor:
        """Copy 0's actions (B, action_dim) for obs (B, obs_dim)."""
        action: torch.Tensor = self._modules[0](obs)
        return action

    def state_dict(self) -> dict[str, Any]:
        """The copies' parameters and buffers."""
        return {
            "vectors": self.vectors.clone(),
            "buffers": {name: rows.clone() for name, rows in self._buffers.items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved, in place."""
        self.vectors.copy_(state["vectors"])
        for name, rows in self._buffers.items():
            rows.copy_(state["buffers"][name])


def _perturbed_names(actor: nn.Module) -> set[str]:
    """Names of the parameters to perturb: those that no normalisation layer owns, told by the type of the module."""
    kept = {id(p) for module in actor.modules() if isinstance(module, NORMALISATIONS) for p in module.parameters()}
    return {name for name, p in actor.named_parameters() if id(p) not in kept}
