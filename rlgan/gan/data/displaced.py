"""Pairs of known W1 whose points are moved along the gradient of a potential, some of them further than others.

The argument of `rlgan.gan.data.pairs` with a distance t(x) >= 0 that depends on the point. Let f be 1-Lipschitz and let
T(x) = x + t(x) grad f(x) stay on the line along which f grows at rate 1, so that f(T(x)) - f(x) = |T(x) - x| = t(x).
For x ~ nu and mu the law of T(x),

    E t(x) = E f(T(x)) - E f(x) = E_mu f - E_nu f <= W1(mu, nu) <= E |T(x) - x| = E t(x),

so W1 = E t(x): the left inequality is Kantorovich-Rubinstein, the right one the coupling (T(x), x). Where f grows at
rate 1 all the way no two rays cross: to exchange their goals would be a shorter way than f allows. The same holds
sample by sample, so that exact transport between x_1, ..., x_n and T(x_1), ..., T(x_n) costs their mean t(x_i) to the
last digit, in any dimension.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from rlgan.gan.data.base import check_count, check_positive
from rlgan.gan.data.pairs import Pair


def _mean_norm(d: int) -> float:
    """E |z| of z ~ N(0, I) in d dimensions: sqrt(2) Gamma((d + 1)/2) / Gamma(d/2)."""
    return math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))


@final
@dataclass(frozen=True)
class Translation(Pair):
    """Modes on a circle and the same moved by the vector v = `shift`: W1 = |v|.

    f(x) = v.x / |v| is 1-Lipschitz and T(x) = x + v raises it by |v|. A mode may come to lie near another's old place,
    and yet no plan that takes the nearest one is cheaper. In more than two dimensions the circle lies in the first two.

    Args:
        shift: v, as long as the space has dimensions; at least two.
        components: number of modes.
        radius: of the circle.
        sigma: standard deviation of a mode per dimension.
    """

    shift: tuple[float, ...] = (2.4, 3.2)
    components: int = 8
    radius: float = 2.0
    sigma: float = 0.1

    def __post_init__(self) -> None:
        if len(self.shift) < 2 or not 0 < self.w1 < math.inf:
            raise ValueError(
                f"shift = {list(self.shift)}: must be two or more finite numbers, not all 0, for example [2.4, 3.2]"
            )
        check_count(self, "components")
        check_positive(self, "radius", "sigma")

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.shift),)

    @property
    def w1(self) -> float:
        return math.hypot(*self.shift)

    @property
    def latent_dim(self) -> int:
        return len(self.shift) + 1  # which mode

    def fake(self, z: Tensor) -> Tensor:
        j = (self.components * torch.special.ndtr(z[:, -1])).floor().clamp(max=self.components - 1)
        angle = 2 * math.pi / self.components * j
        circle = self.radius * torch.stack((angle.cos(), angle.sin()), 1)
        return F.pad(circle, (0, len(self.shift) - 2)) + self.sigma * z[:, :-1]

    def real(self, z: Tensor) -> Tensor:
        return self.fake(z) + z.new_tensor(list(self.shift))

    def critic(self, x: Tensor) -> Tensor:
        return x @ x.new_tensor(list(self.shift)) / self.w1


@final
@dataclass(frozen=True)
class Scaling(Pair):
    """N(0, I) and N(0, c^2 I), c = `factor`: W1 = |c - 1| E |x|, E |x| = sqrt(2) Gamma((d + 1)/2) / Gamma(d/2).

    f(x) = |x| for c > 1 and -|x| for c < 1, T(x) = c x: a point at distance r from the origin is moved by |c - 1| r
    along its ray.

    Args:
        dimension: d.
        factor: c, not 1.
    """

    dimension: int = 2
    factor: float = 2.0

    def __post_init__(self) -> None:
        check_count(self, "dimension")
        check_positive(self, "factor")
        if self.factor == 1:
            raise ValueError("factor = 1: the two distributions are one, and W1 = 0; use another, for example 2.0")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dimension,)

    @property
    def w1(self) -> float:
        return abs(self.factor - 1) * _mean_norm(self.dimension)

    @property
    def latent_dim(self) -> int:
        return self.dimension

    def fake(self, z: Tensor) -> Tensor:
        return z + 0.0

    def real(self, z: Tensor) -> Tensor:
        return self.factor * z

    def critic(self, x: Tensor) -> Tensor:
        return math.copysign(1.0, self.factor - 1) * torch.linalg.vector_norm(x, dim=1)


@final
@dataclass(frozen=True)
class Funnel(Pair):
    """A tube and a funnel about one axis: W1 = exp(sigma^2 / 2) E |b|, E |b| as in `Scaling` in d - 1 dimensions.

    x = (a, b), a ~ N(0, sigma^2) along the axis and b ~ N(0, I) across it is the tube. Its point at a is moved away
    from the axis to (a, (1 + exp(a)) b): the further along the axis, the further. f(x) = |b| is 1-Lipschitz and grows
    by exp(a) |b|, the distance moved; a and b are independent, and E exp(a) = exp(sigma^2 / 2). The distances have the
    heavy tail of a lognormal variable, with all its moments.

    Args:
        dimension: d, at least 2.
        sigma: standard deviation along the axis; above 1 a mean of samples says little.
    """

    dimension: int = 2
    sigma: float = 0.5

    def __post_init__(self) -> None:
        check_count(self, "dimension", least=2)
        check_positive(self, "sigma")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dimension,)

    @property
    def w1(self) -> float:
        return math.exp(self.sigma**2 / 2) * _mean_norm(self.dimension - 1)

    @property
    def latent_dim(self) -> int:
        return self.dimension

    def fake(self, z: Tensor) -> Tensor:
        return torch.cat((self.sigma * z[:, :1], z[:, 1:]), 1)

    def real(self, z: Tensor) -> Tensor:
        along = self.sigma * z[:, :1]
        return torch.cat((along, (1 + along.exp()) * z[:, 1:]), 1)

    def critic(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x[:, 1:], dim=1)


@final
@dataclass(frozen=True)
class Patches(Pair):
    """Images of k x k patches of grain, and the same with the brightest patch made brighter: W1 = brighter sqrt(m).

    Let u_j be the image that is 1/sqrt(m) on the m values of patch j and 0 elsewhere: u_j.x is the patch's mean times
    sqrt(m). f(x) = max_j u_j.x is 1-Lipschitz, for the u_j have norm 1. Where j is the maximal one, x + t u_j has it
    maximal too, so that f grows by t. The patch gains `brighter` (1/2 + U) per value, U uniform in [0, 1] and
    independent: t is that times sqrt(m), and its mean W1. Which way an image is moved depends on the image, so that no
    linear critic attains it; values stay within [-1, 1].

    Args:
        side: pixels along an edge, a multiple of `patches`.
        channels: 1 of grey, 3 of colour.
        patches: k.
        brighter: mean gain per value.
    """

    side: int = 28
    channels: int = 1
    patches: int = 2
    brighter: float = 0.4

    def __post_init__(self) -> None:
        check_count(self, "side")
        check_count(self, "channels")
        check_count(self, "patches")
        if self.side % self.patches:
            raise ValueError(
                f"side = {self.side}: must be a multiple of patches = {self.patches}, for example {14 * self.patches}"
            )
        if not 0 < self.brighter <= 0.5:
            raise ValueError(f"brighter = {self.brighter}: must be above 0 and at most 0.5, for example 0.4")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.side, self.side)

    @property
    def _root(self) -> float:
        """sqrt(m)."""
        return self.side // self.patches * math.sqrt(self.channels)

    @property
    def w1(self) -> float:
        return self.brighter * self._root

    @property
    def latent_dim(self) -> int:
        return 1 + self.patches**2 + math.prod(self.shape)  # a gain, the patches' means, a value of grain per pixel

    def fake(self, z: Tensor) -> Tensor:
        _, patch, grain = torch.special.ndtr(z).split([1, self.patches**2, math.prod(self.shape)], 1)
        mean = self._spread(0.8 * patch - 0.7)
        return mean + 0.2 * (grain.unflatten(1, self.shape) - 0.5)

    def real(self, z: Tensor) -> Tensor:
        x = self.fake(z)
        brightest = F.one_hot(self._means(x).argmax(1), self.patches**2).to(x)
        gain = self.brighter * (0.5 + torch.special.ndtr(z[:, :1]))
        return x + self._spread(gain * brightest)

    def critic(self, x: Tensor) -> Tensor:
        return self._root * self._means(x).amax(1)

    def _means(self, x: Tensor) -> Tensor:
        """Of every patch, ``(n, patches^2)``."""
        return F.avg_pool2d(x.mean(1, keepdim=True), self.side // self.patches).flatten(1)

    def _spread(self, values: Tensor) -> Tensor:
        """One value a patch, ``(n, patches^2)``, as images ``(n, 1, side, side)``."""
        size = self.side // self.patches
        grid = values.unflatten(1, (1, self.patches, self.patches))
        return grid.repeat_interleave(size, 2).repeat_interleave(size, 3)
