"""Multi-layer perceptrons: for any data, for policies and for action values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.nets.layers import (
    ACTIVATIONS,
    Activation,
    Init,
    NetworkSpec,
    Norm,
    Output,
    initialise,
    linear,
    squashed,
    thin,
)
from rlgan.nets.lipschitz.bounds import lipschitz_bound

M = TypeVar("M", bound=nn.Module)


def _hidden(size: int, spec: MLPSpec) -> tuple[list[nn.Module], int]:
    """Linear, norm, activation for every width, and the last width; `norm_input`: batch norm before all of them."""
    layers: list[nn.Module] = [nn.BatchNorm1d(size)] if spec.norm_input else []
    for width in spec.hidden:
        layers.append(nn.Linear(size, width))
        if spec.norm != "none":
            layers.append(nn.BatchNorm1d(width) if spec.norm == "batch" else nn.LayerNorm(width))
        layers.append(ACTIVATIONS[spec.activation].module())
        size = width
    return layers, size


@final
class MLP(nn.Module):
    """Linear, norm, activation, repeated; then one linear layer. From ``(..., *inputs)`` to ``(..., *outputs)``.

    The leading shape is free (also empty, as inside vmap), except with batch norm, which wants exactly one batch
    dimension. ``layer`` norm is over the features of a sample (Ba et al. 2016).

    Attributes:
        plain: made of linear maps, layer norms and activations alone, which `linears` and `norms` (None: no norm) name.
    """

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], spec: MLPSpec) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        layers, size = _hidden(math.prod(self.inputs), spec)
        self.layers = nn.Sequential(*layers, nn.Linear(size, math.prod(self.outputs)))
        self.plain = spec.norm != "batch" and not spec.norm_input
        self.activation = spec.activation
        self._activate = ACTIVATIONS[spec.activation].in_place
        self.linears = tuple(layer for layer in self.layers if isinstance(layer, nn.Linear))
        norms = tuple(layer for layer in self.layers if isinstance(layer, nn.LayerNorm))
        self.norms = norms or (None,) * len(spec.hidden)
        self._squash = squashed(spec.output, self.outputs)

    def layers_replaced(self) -> None:
        """Call the layers from now on: some were replaced by another kind (see rlgan.nets.lipschitz.spectral)."""
        self.plain, self.linears, self.norms = False, (), ()

    def lipschitz_bound(self, frequencies: int = 0) -> float | None:
        return lipschitz_bound(self.layers, frequencies)

    def forward(self, x: Tensor) -> Tensor:
        if len(self.inputs) > 1:
            x = x.flatten(-len(self.inputs))
        y = self._stack(x) if self.plain else self.layers(x)
        if not self.outputs:
            y = y.squeeze(-1)
        elif len(self.outputs) > 1:
            y = y.unflatten(-1, self.outputs)
        return torch.tanh(y) if self._squash else y

    def _stack(self, x: Tensor) -> Tensor:
        # Half of a small network's forward pass is calling modules and fetching fresh memory: so linear maps and norms
        # are called as functions, and activations in place. Hooks of the inner layers are not run.
        *hidden, last = self.linears
        for layer, norm in zip(hidden, self.norms, strict=True):
            own = layer._parameters
            x = linear(x, own["weight"], own["bias"])  # type: ignore[arg-type]
            if norm is not None:
                own = norm._parameters
                x = F.layer_norm(x, norm.normalized_shape, own["weight"], own["bias"], norm.eps)
            x = self._activate(x)
        own = last._parameters
        return F.linear(x, own["weight"], own["bias"])  # type: ignore[arg-type]


@final
class Actor(nn.Module):
    """Deterministic policy ``mu(obs)``: an MLP and tanh, ``(..., obs_dim) -> (..., action_dim)`` in [-1, 1].

    Scaling to an environment's bounds is the environment's affair: so noise has the same unit in every dimension.

    Attributes:
        bound: `tanh`, or `clip`: what leads the MLP's output into [-1, 1].
    """

    bound: Literal["tanh", "clip"] = "tanh"

    def __init__(self, obs_dim: int, action_dim: int, spec: MLPSpec) -> None:
        super().__init__()
        self.mlp = MLP((obs_dim,), (action_dim,), replace(spec, output="identity"))

    def forward(self, obs: Tensor, unbounded: bool = False) -> Tensor:
        """The action; `unbounded`: the MLP's output, before tanh or clipping."""
        z = self.mlp.forward(obs)
        if unbounded:
            return z
        return torch.tanh(z) if self.bound == "tanh" else z.clamp(-1.0, 1.0)


@final
class QCritic(nn.Module):
    """Action value ``Q(obs, action)``: an MLP of both, ``(..., obs_dim), (..., action_dim) -> (...)``.

    The action enters at the first layer (Fujimoto et al. 2018); in `LateQCritic` it enters later.
    """

    def __init__(self, obs_dim: int, action_dim: int, spec: MLPSpec) -> None:
        super().__init__()
        self.mlp = MLP((obs_dim + action_dim,), (), replace(spec, output="identity"))
        self._first = (spec.hidden[0] if spec.hidden else 1, obs_dim + action_dim)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        if action.requires_grad and thin(action, self._first):
            # Feature by feature in memory: so the gradient by the action is a fast product too (see `thin`).
            return self.mlp.forward(torch.cat((obs.t(), action.t())).t())
        return self.mlp.forward(torch.cat((obs, action), -1))


@final
class LateQCritic(nn.Module):
    """Action value whose first `action_layer` hidden layers see the observation alone, the others the action as well.

    Lillicrap et al. 2016, section 7: the action enters at the second hidden layer (`action_layer` = 1), and batch norm
    is on the observation (`norm_input`) and on the layers before the action, not after it. Layer norm is on all of them
    (Plappert et al. 2018). ``(..., obs_dim), (..., action_dim) -> (...)``.
    """

    def __init__(self, obs_dim: int, action_dim: int, spec: MLPSpec) -> None:
        super().__init__()
        at = spec.action_layer
        layers, width = _hidden(obs_dim, replace(spec, hidden=spec.hidden[:at]))
        self.before = nn.Sequential(*layers)
        after: Norm = "none" if spec.norm == "batch" else spec.norm
        rest = replace(spec, hidden=spec.hidden[at:], norm=after, norm_input=False, action_layer=0, output="identity")
        self.mlp = MLP((width + action_dim,), (), rest)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.mlp.forward(torch.cat((self.before(obs), action), -1))


@final
@dataclass(frozen=True)
class MLPSpec(NetworkSpec):
    """A multi-layer perceptron for any shapes: inputs are flattened, outputs reshaped.

    Args:
        hidden: widths of the hidden layers; () is a linear map.
        activation: after every hidden layer.
        norm: between a hidden layer and its activation; ``batch`` couples samples: not with a per-sample penalty.
        init: see `initialise`; ``torch`` keeps U(-1/sqrt(m), 1/sqrt(m)), m = fan-in; ``sparse`` is meant for tanh.
        final_bound: if set, the last layer is U(-final_bound, final_bound) whatever `init` says.
        output: last activation; ``auto`` is tanh for an image shape (pixels live in [-1, 1]) and none otherwise.
        norm_input: batch norm of the input as well; wants ``norm = batch``.
        action_layer: of an action value, hidden layers that see the observation alone; see `LateQCritic`.
        init_scale: by which all weights (not biases) of the start are multiplied.

    Raises:
        ValueError: an impossible width, bound or layer.
    """

    hidden: tuple[int, ...] = (128, 128, 128)
    activation: Activation = "relu"
    norm: Norm = "none"
    init: Init = "torch"
    final_bound: float | None = None
    output: Output = "auto"
    norm_input: bool = False
    action_layer: int = 0
    init_scale: float = 1.0

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden = {list(self.hidden)}: widths must be at least 1, for example [128, 128, 128]")
        if self.final_bound is not None and not 0 < self.final_bound < math.inf:
            raise ValueError(
                f"final_bound = {self.final_bound}: must be positive, for example 3e-3, or null: the init's own rule"
            )
        if not 0 <= self.init_scale < math.inf:
            raise ValueError(
                f"init_scale = {self.init_scale}: must be a number, at least 0; 1 leaves the init as it is"
            )
        if self.norm_input and self.norm != "batch":
            raise ValueError(
                f"norm_input = true: is a batch norm, and norm is {self.norm}; set norm=batch, or leave it out"
            )
        if not 0 <= self.action_layer <= len(self.hidden):
            raise ValueError(
                f"action_layer = {self.action_layer}: there are {len(self.hidden)} hidden layers for the action to "
                "enter after; for example 1, the second layer"
            )

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> MLP:
        return self._initialised(MLP(inputs, outputs, self))

    def actor(self, obs_dim: int, action_dim: int) -> Actor:
        """A deterministic policy in [-1, 1]^action_dim (its output is tanh, whatever `output` says)."""
        return self._initialised(Actor(obs_dim, action_dim, self))

    def q_critic(self, obs_dim: int, action_dim: int) -> QCritic | LateQCritic:
        """An action value ``Q(obs, action)`` of shape ``(batch,)``."""
        kind = LateQCritic if self.action_layer else QCritic
        return self._initialised(kind(obs_dim, action_dim, self))

    def _initialised(self, module: M) -> M:
        initialise(module, self.init, gain=ACTIVATIONS[self.activation].gain, final_bound=self.final_bound)
        if self.init_scale != 1.0:
            with torch.no_grad():
                for layer in (m for m in module.modules() if isinstance(m, nn.Linear)):
                    layer.weight.mul_(self.init_scale)
        return module
