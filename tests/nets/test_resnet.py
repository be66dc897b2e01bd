"""The residual pair of WGAN-GP: the paper's table, all sizes, and its blocks written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rlgan.nets import ResNetCritic, ResNetGenerator, ResNetSpec
from rlgan.nets.resnet import Residual, doubled


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_at_32_pixels_it_is_the_table_of_the_paper() -> None:
    """Gulrajani et al. 2017, table 7: 4x4x128 and three blocks up; two blocks down, two that stay, mean, linear."""
    generator, critic = ResNetSpec().build((128,), (3, 32, 32)), ResNetSpec(norm="none").build((3, 32, 32), ())
    assert isinstance(generator, ResNetGenerator) and isinstance(critic, ResNetCritic)
    assert generator.start == (128, 4, 4) and generator.project.weight.shape == (4 * 4 * 128, 128)
    blocks = [[m for m in net.modules() if isinstance(m, Residual)] for net in (generator, critic)]
    assert [[b.resample for b in row] for row in blocks] == [["up"] * 3, ["down", "down", "none", "none"]]
    assert all(conv.weight.shape == (128, 128, 3, 3) for b in blocks[0] for conv in b.convs)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in critic.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in generator.modules()) == 7
    # Three blocks of two 3x3 and a 1x1, the linear layer, the last convolution, batch norm's two per channel.
    block = 2 * 9 * 128**2 + 128 + 128**2 + 128
    expected = 3 * block + 128 * 2048 + 2048 + 9 * 128 * 3 + 3 + 7 * 2 * 128
    assert sum(p.numel() for p in generator.parameters()) == expected


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 64, 64), (2, 16, 8)])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_it_is_a_pair_for_every_image_size(shape: tuple[int, ...], norm: str) -> None:
    spec = ResNetSpec(width=4, norm=norm)  # type: ignore[arg-type]
    x = spec.build((6,), shape)(torch.randn(3, 6))
    assert x.shape == (3, *shape) and x.abs().max() <= 1
    assert spec.build(shape, ())(x).shape == (3,)


@pytest.mark.parametrize("resample", ["up", "down", "none"])
def test_a_block_is_its_sum_written_out(resample: str) -> None:
    block = Residual(3, 5, "none", resample)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 4, 4)
    first, second = block.convs
    y, s = F.relu(x), x
    if resample == "up":
        y, s = (F.interpolate(t, scale_factor=2, mode="nearest") for t in (y, s))
    y, s = second(F.relu(first(y))), block.shortcut(s)
    if resample == "down":
        y, s = F.avg_pool2d(y, 2), F.avg_pool2d(s, 2)
    torch.testing.assert_close(block(x), y + s)


def test_the_critics_first_block_takes_the_image_as_it_is() -> None:
    block = Residual(1, 4, "batch", "down", first=True)
    x = torch.randn(2, 1, 4, 4)
    first, second = block.convs
    by_hand = block.shortcut(F.avg_pool2d(x, 2)) + F.avg_pool2d(second(F.relu(first(x))), 2)
    torch.testing.assert_close(block(x), by_hand)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in block.modules())


def test_doubling_repeats_every_pixel() -> None:
    x = torch.randn(2, 3, 2, 5)
    assert torch.equal(doubled(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_the_init_is_of_the_configuration() -> None:
    for init, std in (("he", (2 / (9 * 64)) ** 0.5), ("normal", 0.02)):
        net = ResNetSpec(width=64, norm="none", init=init).build((3, 16, 16), ())  # type: ignore[arg-type]
        weight = net.get_parameter("blocks.1.convs.0.weight")
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((2,), (2,), r"^shape = .*network mlp"),
        ((4,), (1, 7, 7), r"^shape = \(1, 7, 7\): .*every even side from 8 .*8, 10, 12, 14, \.\.\., 28"),
    ],
)
def test_impossible_shapes_name_themselves(inputs: tuple[int, ...], outputs: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNetSpec().build(inputs, outputs)


def test_impossible_values_name_themselves() -> None:
    with pytest.raises(ValueError, match=r"^width = 0: "):
        ResNetSpec(width=0)
    with pytest.raises(ValueError, match=r"^smallest = 0: "):
        ResNetSpec(smallest=0)
