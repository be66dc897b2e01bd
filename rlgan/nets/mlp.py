"""Multi-layer perceptrons: for any data, for policies and for action values."""

import math
from dataclasses import dataclass
from typing import final

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


@final
class MLP(nn.Module):
    """Linear, norm, activation, repeated; then one linear layer. From ``(..., *inputs)`` to ``(..., *outputs)``.

    The leading shape is free (also empty, as inside vmap), except with batch norm, which wants exactly one batch
    dimension. ``layer`` norm is over the features of a sample (Ba et al. 2016).
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        hidden: tuple[int, ...],
        activation: Activation = "relu",
        norm: Norm = "none",
        output: Output = "auto",
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        layers: list[nn.Module] = []
        size = math.prod(self.inputs)
        for width in hidden:
            layers.append(nn.Linear(size, width))
            if norm == "batch":
                layers.append(nn.BatchNorm1d(width))
            elif norm == "layer":
                layers.append(nn.LayerNorm(width))
            layers.append(ACTIVATIONS[activation].module())
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, math.prod(self.outputs)))
        self._plain = norm == "none"
        self._activate = ACTIVATIONS[activation].in_place
        self._linear = tuple(layer for layer in self.layers if isinstance(layer, nn.Linear))
        self._squash = squashed(output, self.outputs)

    def layers_replaced(self) -> None:
        """Run the layers' own forwards from now on: some are others than at first (see rlgan.nets.spectral)."""
        self._plain, self._linear = False, ()

    def forward(self, x: Tensor) -> Tensor:
        if len(self.inputs) > 1:
            x = x.flatten(-len(self.inputs))
        y = self._stack(x) if self._plain else self.layers(x)
        if not self.outputs:
            y = y.squeeze(-1)
        elif len(self.outputs) > 1:
            y = y.unflatten(-1, self.outputs)
        return torch.tanh(y) if self._squash else y

    def _stack(self, x: Tensor) -> Tensor:
        # Half of a small network's forward pass is calling modules and fetching fresh memory: so linear maps as
        # functions, and activations in place. Hooks of the inner layers are not run.
        *hidden, last = self._linear
        for layer in hidden:
            own = layer._parameters
            x = self._activate(linear(x, own["weight"], own["bias"]))  # type: ignore[arg-type]
        own = last._parameters
        return F.linear(x, own["weight"], own["bias"])  # type: ignore[arg-type]


@final
class Actor(nn.Module):
    """Deterministic policy ``mu(obs)``: an MLP and tanh, ``(..., obs_dim) -> (..., action_dim)`` in [-1, 1].

    Scaling to an environment's bounds is the environment's affair: so noise has the same unit in every dimension.
    """

    def __init__(
        self, obs_dim: int, action_dim: int, hidden: tuple[int, ...], activation: Activation, norm: Norm
    ) -> None:
        super().__init__()
        self.mlp = MLP((obs_dim,), (action_dim,), hidden, activation, norm, "tanh")

    def forward(self, obs: Tensor) -> Tensor:
        return self.mlp.forward(obs)


@final
class QCritic(nn.Module):
    """Action value ``Q(obs, action)``: an MLP of both, ``(..., obs_dim), (..., action_dim) -> (...)``.

    The action enters at the first layer (Fujimoto et al. 2018; Lillicrap et al. 2016 let it in at the second).
    """

    def __init__(
        self, obs_dim: int, action_dim: int, hidden: tuple[int, ...], activation: Activation, norm: Norm
    ) -> None:
        super().__init__()
        self.mlp = MLP((obs_dim + action_dim,), (), hidden, activation, norm, "identity")
        self._first = (hidden[0] if hidden else 1, obs_dim + action_dim)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        if action.requires_grad and thin(action, self._first):
            # Feature by feature in memory: so the gradient by the action is a fast product too (see `thin`).
            return self.mlp.forward(torch.cat((obs.t(), action.t())).t())
        return self.mlp.forward(torch.cat((obs, action), -1))


def _check_final_bound(final_bound: float | None) -> None:
    if final_bound is not None and not 0 < final_bound < math.inf:
        raise ValueError(
            f"final_bound = {final_bound}: must be positive, for example 3e-3, or null to keep the init's own rule"
        )


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
    """

    hidden: tuple[int, ...] = (128, 128, 128)
    activation: Activation = "relu"
    norm: Norm = "none"
    init: Init = "torch"
    final_bound: float | None = None
    output: Output = "auto"

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden = {list(self.hidden)}: widths must be at least 1, for example [128, 128, 128]")
        _check_final_bound(self.final_bound)

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> MLP:
        module = MLP(inputs, outputs, tuple(self.hidden), self.activation, self.norm, self.output)
        self._initialise(module)
        return module

    def actor(self, obs_dim: int, action_dim: int) -> Actor:
        """A deterministic policy in [-1, 1]^action_dim (its output is tanh, whatever `output` says)."""
        module = Actor(obs_dim, action_dim, tuple(self.hidden), self.activation, self.norm)
        self._initialise(module)
        return module

    def q_critic(self, obs_dim: int, action_dim: int) -> QCritic:
        """An action value ``Q(obs, action)`` of shape ``(batch,)``."""
        module = QCritic(obs_dim, action_dim, tuple(self.hidden), self.activation, self.norm)
        self._initialise(module)
        return module

    def _initialise(self, module: nn.Module) -> None:
        initialise(module, self.init, gain=ACTIVATIONS[self.activation].gain, final_bound=self.final_bound)
