"""What all networks share: activations, initialisations, evaluation mode, batch norm's statistics."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "leaky_relu", "tanh", "elu", "silu", "sigmoid", "identity", "polynomial"]
Norm = Literal["none", "batch", "layer"]
Output = Literal["auto", "identity", "tanh"]
Init = Literal["torch", "fan_in", "ddpg", "orthogonal", "xavier", "he", "normal", "sparse", "constant", "zeros"]
Weighted = nn.Linear | nn.Conv2d | nn.ConvTranspose2d

DDPG_FINAL_BOUND = 3e-3
"""The last layer's bound in Lillicrap et al. 2016 (section 7): first outputs near zero, tanh not saturated."""


class Polynomial(nn.Module):
    """x + x^2 / 2, whatever the shape: networks of it are polynomials of a degree that only their depth sets.

    So no width makes them approximate every continuous function (Leshno et al. 1993, theorem 1). The linear term is
    there so that a unit at 0 has a slope: of x^2 alone a network with small weights is at a saddle.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(x, x, x, value=0.5)


class Act(NamedTuple):
    """An activation: as a module, on a tensor and on a numpy array, both of which may be overwritten, and the gain that
    keeps a forward pass's variance (torch.nn.init.calculate_gain; ELU, SiLU as ReLU; of the polynomial p it is
    1 / sqrt(E p(z)^2), z ~ N(0, 1))."""

    module: Callable[[], nn.Module]
    in_place: Callable[[Tensor], Tensor]
    array: Callable[[np.ndarray], np.ndarray]
    gain: float


ACTIVATIONS: dict[Activation, Act] = {
    "relu": Act(nn.ReLU, torch.relu_, lambda x: np.maximum(x, 0.0, out=x), math.sqrt(2.0)),
    "leaky_relu": Act(
        lambda: nn.LeakyReLU(0.2),
        lambda x: F.leaky_relu(x, 0.2, inplace=True),
        lambda x: np.maximum(x, 0.2 * x),
        math.sqrt(2.0 / (1.0 + 0.2**2)),
    ),
    "tanh": Act(nn.Tanh, torch.tanh_, np.tanh, 5.0 / 3.0),
    "elu": Act(
        nn.ELU,
        lambda x: F.elu(x, inplace=True),
        lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
        math.sqrt(2.0),
    ),
    # Its derivative needs its input, so torch's is not in place; x sigmoid(x) by a tanh, which does not overflow.
    "silu": Act(nn.SiLU, F.silu, lambda x: 0.5 * x * (1.0 + np.tanh(0.5 * x)), math.sqrt(2.0)),
    "sigmoid": Act(nn.Sigmoid, torch.sigmoid_, lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)), 1.0),
    "identity": Act(nn.Identity, lambda x: x, lambda x: x, 1.0),
    # E (z + z^2 / 2)^2 = 1 + 3/4.
    "polynomial": Act(Polynomial, Polynomial().forward, lambda x: x + 0.5 * x * x, math.sqrt(4.0 / 7.0)),
}


def _fans(layer: Weighted) -> tuple[int, int]:
    """Number of inputs that one unit reads and of units that one input feeds (a strided kernel counted whole)."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    taps = math.prod(layer.kernel_size)
    return layer.in_channels * taps, layer.out_channels * taps


def _uniform(x: Tensor, bound: float) -> None:
    nn.init.uniform_(x, -bound, bound)


def _all_uniform(layer: Weighted, bound: float) -> None:
    for parameter in (layer.weight, layer.bias):
        if parameter is not None:
            _uniform(parameter, bound)


def _sparse(layer: Weighted) -> None:
    """N(0, 1) on exactly min(15, m) inputs of every unit, m = fan-in, and 0 on all others (Martens 2010, section 5).

    However wide a layer, its units neither shrink nor look alike. Per unit: ``torch.nn.init.sparse_`` zeroes a share of
    the units that an input feeds instead, so that a unit may listen to many inputs, or to none.
    """
    transposed = isinstance(layer, nn.ConvTranspose2d)  # its weight is (inputs, units, *kernel)
    with torch.no_grad():
        units = layer.weight.transpose(0, 1) if transposed else layer.weight
        n, m = units.shape[0], units[0].numel()
        chosen = torch.rand(n, m, device=units.device).topk(min(15, m)).indices
        values = torch.randn(chosen.shape, dtype=units.dtype, device=units.device)
        units.copy_(units.new_zeros(n, m).scatter_(1, chosen, values).reshape(units.shape))


_INITS: dict[Init, Callable[[Weighted, float], object]] = {
    # The layer's own default, already drawn when it was constructed.
    "torch": lambda layer, gain: None,
    # Weights U(-1/sqrt(m), 1/sqrt(m)), m = fan-in: variance 1/(3 m). torch's own bound for a linear layer, with random
    # biases there; of a transposed convolution torch takes the fan-out.
    "fan_in": lambda layer, gain: _uniform(layer.weight, 1.0 / math.sqrt(_fans(layer)[0])),
    # The same of weights and biases (Lillicrap et al. 2016, section 7).
    "ddpg": lambda layer, gain: _all_uniform(layer, 1.0 / math.sqrt(_fans(layer)[0])),
    # Orthonormal rows or columns times the activation's gain (Saxe et al. 2014).
    "orthogonal": lambda layer, gain: nn.init.orthogonal_(layer.weight, gain),
    # U(-b, b) with b = sqrt(6 / (m + n)), m and n the fans (Glorot & Bengio 2010, equation 16).
    "xavier": lambda layer, gain: _uniform(layer.weight, math.sqrt(6.0 / sum(_fans(layer)))),
    # N(0, gain^2 / m), m = fan-in (He et al. 2015, equation 10, with the activation's gain).
    "he": lambda layer, gain: nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(_fans(layer)[0])),
    # N(0, 0.02^2) (Radford et al. 2016, section 4).
    "normal": lambda layer, gain: nn.init.normal_(layer.weight, 0.0, 0.02),
    "sparse": lambda layer, gain: _sparse(layer),
    # Every weight of a layer 1/m, m = fan-in: a unit is the mean of its inputs. Units that begin alike get the same
    # gradient, so that they stay alike: why a start must break symmetry (Goodfellow et al. 2016, section 8.4).
    "constant": lambda layer, gain: nn.init.constant_(layer.weight, 1.0 / _fans(layer)[0]),
    # All outputs 0: of relu or tanh nothing but the last layer's bias has a gradient.
    "zeros": lambda layer, gain: nn.init.zeros_(layer.weight),
}
"""How a layer's weight is drawn; of all but ``torch`` and ``ddpg`` its biases are 0."""


def initialise(module: nn.Module, init: Init, *, gain: float = 1.0, final_bound: float | None = None) -> None:
    """Draw the weights of every linear and (transposed) convolution of `module`, from torch's global generator.

    Args:
        init: the rule, applied to each layer; the LAST layer takes gain 1, for no activation follows it.
        gain: of the hidden activations; used by ``orthogonal`` and ``he``.
        final_bound: weights and biases of the last layer are U(-final_bound, final_bound); None keeps the rule,
            except for ``ddpg``, whose paper sets 3e-3.
    """
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    if final_bound is None and init == "ddpg":
        final_bound = DDPG_FINAL_BOUND
    for layer in layers:
        last = layer is layers[-1]
        if last and final_bound is not None:
            _all_uniform(layer, final_bound)
            continue
        _INITS[init](layer, 1.0 if last else gain)
        if layer.bias is not None and init not in ("torch", "ddpg"):
            nn.init.zeros_(layer.bias)


def squashed(output: Output, outputs: tuple[int, ...]) -> bool:
    """``auto`` is tanh for an image (C, H, W), for pixels are in [-1, 1] throughout, and the identity for all else."""
    return len(outputs) == 3 if output == "auto" else output == "tanh"


def thin(x: Tensor, shape: Sequence[int]) -> bool:
    """Whether products of a batch `x` (B, .) with a weight of `shape` (n, m), m small, should be asked for transposed.

    With 2 to 15 inputs and a wide layer, the products with m columns of a backward pass, grad^T x for the weight and
    grad W for the inputs, run in BLAS at a fifth of the speed of their transposes. Autograd asks for the transposes
    when the weight is a transposed copy, or the batch lies feature by feature in memory.
    """
    return 1 < shape[1] < 16 and shape[0] >= 128 and x.dim() == 2


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W^T + b, ``(..., m), (n, m), (n,) -> (..., n)``, as ``F.linear`` has it and quicker for few inputs."""
    if weight.requires_grad and thin(x, weight.shape):
        return torch.addmm(bias, x, weight.t().contiguous())
    return F.linear(x, weight, bias)


class ComputedWeight(nn.Module):
    """A layer that computes its weight anew at every call, which is costly: one call on a larger batch is cheaper."""


def estimate_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set batch norm's running statistics to those of `network` itself, the mean over `batches` of its inputs.

    An average of weights has activations of its own: the statistics of the last iterate are not theirs, the less the
    farther the average reaches back (Izmailov et al. 2018, arXiv:1803.05407, section 3.2). torch's `update_bn` puts all
    modules in training mode, which disturbs dropout and moves spectral norm's power iteration; here batch norm alone.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase) and m.track_running_stats]
    if not layers:
        return
    former = [layer.momentum for layer in layers]
    with torch.no_grad(), in_evaluation_mode(network):
        for layer in layers:
            layer.reset_running_stats()
            layer.training, layer.momentum = True, None  # the plain mean over all batches
        try:
            for batch in batches:
                network(batch)
        finally:
            for layer, momentum in zip(layers, former, strict=True):
                layer.momentum = momentum


def couples_samples(network: nn.Module) -> bool:
    """Whether a sample's output depends on the rest of its batch, in training mode: whether there is batch norm."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


class NetworkSpec(ABC):
    """What a configuration says of a network: everything but its shapes."""

    @abstractmethod
    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
        """A new network from ``(batch, *inputs)`` to ``(batch, *outputs)``; ``outputs = ()`` is a scalar per sample.

        Raises:
            ValueError: this architecture has no network between these shapes.
        """

    def actor(self, obs_dim: int, action_dim: int) -> nn.Module:
        """A deterministic policy, ``(batch, obs_dim) -> (batch, action_dim)`` in [-1, 1]: tanh of `build`'s network."""
        return nn.Sequential(self._built((obs_dim,), (action_dim,)), nn.Tanh())

    def q_critic(self, obs_dim: int, action_dim: int) -> nn.Module:
        """An action value, ``(batch, obs_dim), (batch, action_dim) -> (batch,)``: `build`'s network of both."""
        return OfBoth(self._built((obs_dim + action_dim,), ()))

    def _built(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
        network: object = self.build(inputs, outputs)
        if not isinstance(network, nn.Module):
            raise TypeError(f"build returned a {type(network).__name__}, where a torch.nn.Module is due")
        return network


class OfBoth(nn.Module):
    """A network of two vectors, one behind the other."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        value: Tensor = self.network(torch.cat((obs, action), -1))
        return value


@contextmanager
def in_evaluation_mode(*networks: nn.Module) -> Iterator[None]:
    """Networks in evaluation mode inside the block: in training mode a look at them moves batch norm's averages.

    Every module's own mode is restored.
    """
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
