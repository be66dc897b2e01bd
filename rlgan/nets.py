"""Networks and the specifications that configurations build them from.

A specification (`MLPSpec`, `DCGANSpec`) is a frozen dataclass, the schema of one file in ``conf/network``; it knows
everything but the shapes. `NetworkSpec.build(inputs, outputs)` turns it into an ordinary `torch.nn.Module` from
``(batch, *inputs)`` to ``(batch, *outputs)``; ``outputs = ()`` is a scalar per sample, ``(batch,)``: what a critic is.

Every network here is pure torch without data-dependent branches, so that it passes `torch.func.functional_call` under
grad, vmap and ``torch.compile(fullgraph=True)``. Parameters are drawn from torch's global generator: construct under a
seed.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "leaky_relu", "tanh", "elu", "silu"]
Norm = Literal["none", "batch", "layer"]
Output = Literal["auto", "identity", "tanh"]
Init = Literal["torch", "ddpg", "orthogonal", "xavier", "he", "normal"]
Weighted = nn.Linear | nn.Conv2d | nn.ConvTranspose2d

DDPG_FINAL_BOUND = 3e-3
"""The last layer's bound in Lillicrap et al. 2016 (section 7): first outputs near zero, tanh not saturated."""


class _Act(NamedTuple):
    """An activation: as a module, on an array that may be overwritten, and the gain that keeps a forward pass's
    variance (torch.nn.init.calculate_gain; ELU, SiLU as ReLU)."""

    module: Callable[[], nn.Module]
    in_place: Callable[[Tensor], Tensor]
    gain: float


_ACTIVATIONS: dict[Activation, _Act] = {
    "relu": _Act(nn.ReLU, torch.relu_, math.sqrt(2.0)),
    "leaky_relu": _Act(
        lambda: nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2, inplace=True), math.sqrt(2.0 / (1.0 + 0.2**2))
    ),
    "tanh": _Act(nn.Tanh, torch.tanh_, 5.0 / 3.0),
    "elu": _Act(nn.ELU, lambda x: F.elu(x, inplace=True), math.sqrt(2.0)),
    "silu": _Act(nn.SiLU, F.silu, math.sqrt(2.0)),  # its derivative needs its input
}


def _fans(layer: Weighted) -> tuple[int, int]:
    """Number of inputs that one unit reads and of units that one input feeds (a strided kernel counted whole)."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    taps = math.prod(layer.kernel_size)
    return layer.in_channels * taps, layer.out_channels * taps


def _zero_bias(layer: Weighted) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _uniform(layer: Weighted, bound: float) -> None:
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound)


def _init_torch(layer: Weighted, gain: float) -> None:
    """The layer's own default, already drawn when it was constructed."""


def _init_ddpg(layer: Weighted, gain: float) -> None:
    """Weights and biases U(-1/sqrt(m), 1/sqrt(m)), m = fan-in (Lillicrap et al. 2016, section 7)."""
    _uniform(layer, 1.0 / math.sqrt(_fans(layer)[0]))


def _init_orthogonal(layer: Weighted, gain: float) -> None:
    """Orthonormal rows or columns times the activation's gain (Saxe et al. 2014); biases 0."""
    nn.init.orthogonal_(layer.weight, gain)
    _zero_bias(layer)


def _init_xavier(layer: Weighted, gain: float) -> None:
    """U(-b, b) with b = sqrt(6 / (m + n)), m and n the fans (Glorot & Bengio 2010, equation 16); biases 0."""
    bound = math.sqrt(6.0 / sum(_fans(layer)))
    nn.init.uniform_(layer.weight, -bound, bound)
    _zero_bias(layer)


def _init_he(layer: Weighted, gain: float) -> None:
    """N(0, gain^2 / m), m = fan-in (He et al. 2015, equation 10, with the activation's gain); biases 0."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(_fans(layer)[0]))
    _zero_bias(layer)


def _init_normal(layer: Weighted, gain: float) -> None:
    """N(0, 0.02^2) (Radford et al. 2016, section 4); biases 0."""
    nn.init.normal_(layer.weight, 0.0, 0.02)
    _zero_bias(layer)


_INITS: dict[Init, Callable[[Weighted, float], None]] = {
    "torch": _init_torch,
    "ddpg": _init_ddpg,
    "orthogonal": _init_orthogonal,
    "xavier": _init_xavier,
    "he": _init_he,
    "normal": _init_normal,
}


def initialise(module: nn.Module, init: Init, *, gain: float = 1.0, final_bound: float | None = None) -> None:
    """Draw the weights of every linear and (transposed) convolution of `module`, from torch's global generator.

    Args:
        init: the rule, applied to each layer; the LAST layer takes gain 1, for no activation follows it.
        gain: of the hidden activations; used by ``orthogonal`` and ``he``.
        final_bound: weights and biases of the last layer are U(-final_bound, final_bound); None keeps the rule,
            except for ``ddpg``, whose paper sets 3e-3.
    """
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    rule = _INITS[init]
    for layer in layers[:-1]:
        rule(layer, gain)
    if final_bound is None and init == "ddpg":
        final_bound = DDPG_FINAL_BOUND
    if final_bound is None:
        rule(layers[-1], 1.0)
    else:
        _uniform(layers[-1], final_bound)


def _squashed(output: Output, outputs: tuple[int, ...]) -> bool:
    """``auto`` is tanh for an image (C, H, W), for pixels are in [-1, 1] throughout, and the identity for all else."""
    return len(outputs) == 3 if output == "auto" else output == "tanh"


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
            layers.append(_ACTIVATIONS[activation].module())
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, math.prod(self.outputs)))
        self._plain = norm == "none"
        self._activate = _ACTIVATIONS[activation].in_place
        self._linear = tuple(layer for layer in self.layers if isinstance(layer, nn.Linear))
        self._squash = _squashed(output, self.outputs)

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
            x = self._activate(F.linear(x, own["weight"], own["bias"]))  # type: ignore[arg-type]
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
        return self.mlp(obs)


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

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.mlp(torch.cat((obs, action), -1))


def _image_norm(norm: Norm, channels: int) -> list[nn.Module]:
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if norm == "layer":
        # One group: moments over the channels and pixels of one sample, as in WGAN-GP's critics; affine per channel.
        return [nn.GroupNorm(1, channels)]
    return []


def _halvings(shape: tuple[int, ...], smallest: int) -> int:
    """How often both sides of an image can be halved without a remainder and without falling below `smallest`."""
    height, width = shape[1:]
    count = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) // 2 >= smallest:
        height, width, count = height // 2, width // 2, count + 1
    if count == 0:
        raise ValueError(
            f"shape = {shape}: DCGAN halves an image's sides at least once, down to {smallest} pixels; "
            f"use even sides of at least {2 * smallest}, for example 8, 16, 32 or 64, or network mlp"
        )
    return count


@final
class DCGANGenerator(nn.Module):
    """``(batch, latent) -> (batch, C, H, W)``: a linear layer to the smallest image, transposed convolutions (kernel 4,
    stride 2) that double its sides and halve its channels down to `width`, a 3x3 convolution, the output activation.

    Radford et al. 2016 with the 3x3 convolution at full resolution of Miyato et al. 2018 (table 3), which is what lets
    an 8x8 image have any depth at all. ReLU, as there.
    """

    def __init__(
        self, latent: int, shape: tuple[int, ...], width: int, norm: Norm, smallest: int, output: Output
    ) -> None:
        super().__init__()
        count = _halvings(shape, smallest)
        channels = width * 2**count
        self.start = (channels, shape[1] >> count, shape[2] >> count)
        bias = norm == "none"  # a norm subtracts the bias before it and has its own
        self.project = nn.Linear(latent, math.prod(self.start), bias=bias)
        layers: list[nn.Module] = [*_image_norm(norm, channels), nn.ReLU()]
        for _ in range(count):
            layers.append(nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=bias))
            channels //= 2
            layers += [*_image_norm(norm, channels), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, shape[0], 3, 1, 1))
        self._squash = _squashed(output, shape)

    def forward(self, z: Tensor) -> Tensor:
        x = self.layers(self.project(z).reshape(-1, *self.start))
        return torch.tanh(x) if self._squash else x


@final
class DCGANCritic(nn.Module):
    """``(batch, C, H, W) -> (batch, *outputs)``: the generator's mirror image.

    A 3x3 convolution to `width` channels, convolutions (kernel 4, stride 2) that halve the sides and double the
    channels, one linear layer. Leaky ReLU of slope 0.2; the first layer has no norm (Radford et al. 2016).
    """

    def __init__(self, shape: tuple[int, ...], outputs: tuple[int, ...], width: int, norm: Norm, smallest: int) -> None:
        super().__init__()
        self.outputs = outputs
        count = _halvings(shape, smallest)
        channels = width
        bias = norm == "none"
        layers: list[nn.Module] = [nn.Conv2d(shape[0], channels, 3, 1, 1), nn.LeakyReLU(0.2)]
        for _ in range(count):
            layers.append(nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=bias))
            channels *= 2
            layers += [*_image_norm(norm, channels), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels * (shape[1] >> count) * (shape[2] >> count), math.prod(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).flatten(1)).reshape(-1, *self.outputs)


class NetworkSpec(ABC):
    """What a configuration says of a network: everything but its shapes."""

    @abstractmethod
    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
        """A new network from ``(batch, *inputs)`` to ``(batch, *outputs)``; ``outputs = ()`` is a scalar per sample.

        Raises:
            ValueError: this architecture has no network between these shapes.
        """


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
        init: see `initialise`; ``torch`` keeps U(-1/sqrt(m), 1/sqrt(m)), m = fan-in.
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
        initialise(module, self.init, gain=_ACTIVATIONS[self.activation].gain, final_bound=self.final_bound)


@final
@dataclass(frozen=True)
class DCGANSpec(NetworkSpec):
    """A small convolutional pair: `DCGANGenerator` from a latent vector, `DCGANCritic` from an image.

    Args:
        width: channels at full resolution; they double with every halving of the sides.
        norm: ``batch`` as in the paper; ``layer`` or ``none`` for a critic under a per-sample gradient penalty.
        smallest: sides are halved while they are even and stay at least this many pixels.
        init: see `initialise`; ``normal`` is the paper's N(0, 0.02^2), meant for networks with batch norm: without it
            the first outputs, and the gradients back through them, are nearly zero.
        output: the generator's last activation; ``auto`` is tanh.
    """

    width: int = 32
    norm: Norm = "batch"
    smallest: int = 4
    init: Init = "torch"
    output: Output = "auto"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width = {self.width}: must be at least 1 channel, for example 32")
        if self.smallest < 1:
            raise ValueError(f"smallest = {self.smallest}: must be at least 1 pixel, for example 4")

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> DCGANGenerator | DCGANCritic:
        module: DCGANGenerator | DCGANCritic
        if len(inputs) == 1 and len(outputs) == 3:
            module = DCGANGenerator(inputs[0], tuple(outputs), self.width, self.norm, self.smallest, self.output)
            gain = _ACTIVATIONS["relu"].gain
        elif len(inputs) == 3 and len(outputs) <= 1:
            module = DCGANCritic(tuple(inputs), tuple(outputs), self.width, self.norm, self.smallest)
            gain = _ACTIVATIONS["leaky_relu"].gain
        else:
            raise ValueError(
                f"shape = {tuple(inputs)} -> {tuple(outputs)}: DCGAN maps a latent vector to an image (C, H, W), or an "
                "image to a score; use network mlp for data that are not images"
            )
        initialise(module, self.init, gain=gain)
        return module
