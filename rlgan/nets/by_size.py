"""One of two networks, by the size of the images: what serves 8 x 8 pixels is not what serves 32 x 32."""

from dataclasses import dataclass
from typing import final

from torch import nn

from rlgan.nets.layers import NetworkSpec


@final
@dataclass(frozen=True)
class BySizeSpec(NetworkSpec):
    """`large` between a vector and images (C, H, W) whose shorter side is at least `from_side` pixels, else `small`.

    At 8 x 8 perceptrons do better than convolutions, in less time; from some 12 pixels on a perceptron's images are
    specks, for it has to learn of every pixel by itself that it is like its neighbours.

    Args:
        small: for vectors and small images.
        large: for larger images.
        from_side: pixels.

    Raises:
        ValueError: `from_side` is below 1.
    """

    small: NetworkSpec
    large: NetworkSpec
    from_side: int = 12

    def __post_init__(self) -> None:
        if self.from_side < 1:
            raise ValueError(f"from_side = {self.from_side}: must be at least 1 pixel, for example 12")

    def chosen(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> NetworkSpec:
        """The one that serves samples of these shapes."""
        sides = [min(shape[1:]) for shape in (inputs, outputs) if len(shape) == 3]
        return self.large if sides and min(sides) >= self.from_side else self.small

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
        return self.chosen(inputs, outputs).build(inputs, outputs)

    def actor(self, obs_dim: int, action_dim: int) -> nn.Module:
        return self.small.actor(obs_dim, action_dim)

    def q_critic(self, obs_dim: int, action_dim: int) -> nn.Module:
        return self.small.q_critic(obs_dim, action_dim)
