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


def _hidden(
    size: int, widths: tuple[int, ...], activation: Activation, norm: Norm, norm_input: bool
) -> tuple[list[nn.Module], int]:
    """Linear, norm, activation for every width, and the last width; `norm_input`: batch norm before all of them."""
    layers: list[nn.Module] = [nn.BatchNorm1d(size)] if norm_input else []
    for width in widths:
        layers.append(nn.Linear(size, width))
        if norm == "batch":
            layers.append(nn.BatchNorm1d(width))
        elif norm == "layer":
            layers.append(nn.LayerNorm(width))
        layers.append(ACTIVATIONS[activation].module())
        size = width
    return layers, size


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
        norm_input: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        layers, size = _hidden(math.prod(self.inputs), hidden, activation, norm, norm_input)
        self.layers = nn.Sequential(*layers, nn.Linear(size, math.prod(self.outputs)))
        self._plain = norm != "batch" and not norm_input
        self.activation = activation
        self._activate = ACTIVATIONS[activation].in_place
        self._linear = tuple(layer for layer in self.layers if isinstance(layer, nn.Linear))
        norms = [layer for layer in self.layers if isinstance(layer, nn.LayerNorm)]
        self._norms = tuple(norms) if norms else (None,) * len(hidden)
        self._squash = squashed(output, self.outputs)

    def layers_replaced(self) -> None:
        """Run the layers' own forwards from now on: some are others than at first (see rlgan.nets.spectral)."""
        self._plain, self._linear, self._norms = False, (), ()

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
        # Half of a small network's forward pass is calling modules and fetching fresh memory: so linear maps and norms
        # are called as functions, and activations in place. Hooks of the inner layers are not run.
        *hidden, last = self._linear
        for layer, norm in zip(hidden, self._norms, strict=True):
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
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: tuple[int, ...],
        activation: Activation,
        norm: Norm,
        norm_input: bool = False,
    ) -> None:
        super().__init__()
        self.mlp = MLP((obs_dim,), (action_dim,), hidden, activation, norm, "tanh", norm_input)

    def forward(self, obs: Tensor) -> Tensor:
        return self.mlp.forward(obs)


@final
class QCritic(nn.Module):
    """Action value ``Q(obs, action)``: an MLP of both, ``(..., obs_dim), (..., action_dim) -> (...)``.

    The action enters at the first layer (Fujimoto et al. 2018); in `LateQCritic` it enters later.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: tuple[int, ...],
        activation: Activation,
        norm: Norm,
        norm_input: bool = False,
    ) -> None:
        super().__init__()
        self.mlp = MLP((obs_dim + action_dim,), (), hidden, activation, norm, "identity", norm_input)
        self._first = (hidden[0] if hidden else 1, obs_dim + action_dim)

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

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: tuple[int, ...],
        activation: Activation,
        norm: Norm,
        norm_input: bool,
        action_layer: int,
    ) -> None:
        super().__init__()
        layers, width = _hidden(obs_dim, hidden[:action_layer], activation, norm, norm_input)
        self.before = nn.Sequential(*layers)
        after: Norm = "none" if norm == "batch" else norm
        self.mlp = MLP((width + action_dim,), (), hidden[action_layer:], activation, after, "identity")

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.mlp.forward(torch.cat((self.before(obs), action), -1))


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
        norm_input: batch norm of the input as well; wants ``norm = batch``.
        action_layer: of an action value, hidden layers that see the observation alone; see `LateQCritic`.

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

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden = {list(self.hidden)}: widths must be at least 1, for example [128, 128, 128]")
        _check_final_bound(self.final_bound)
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
        module = MLP(inputs, outputs, tuple(self.hidden), self.activation, self.norm, self.output, self.norm_input)
        self._initialise(module)
        return module

    def actor(self, obs_dim: int, action_dim: int) -> Actor:
        """A deterministic policy in [-1, 1]^action_dim (its output is tanh, whatever `output` says)."""
        module = Actor(obs_dim, action_dim, tuple(self.hidden), self.activation, self.norm, self.norm_input)
        self._initialise(module)
        return module

    def q_critic(self, obs_dim: int, action_dim: int) -> QCritic | LateQCritic:
        """An action value ``Q(obs, action)`` of shape ``(batch,)``."""
        shape = (obs_dim, action_dim, tuple(self.hidden), self.activation, self.norm, self.norm_input)
        module = LateQCritic(*shape, self.action_layer) if self.action_layer else QCritic(*shape)
        self._initialise(module)
        return module

    def _initialise(self, module: nn.Module) -> None:
        initialise(module, self.init, gain=ACTIVATIONS[self.activation].gain, final_bound=self.final_bound)
