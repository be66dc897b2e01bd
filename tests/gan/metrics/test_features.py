"""Features of images: what they tell apart, and that they are the same ones in every run."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rlgan.gan.data import Glyphs
from rlgan.gan.metrics.classifier import Classifier
from rlgan.gan.metrics.features import Extractor, Pixels, RandomConvolutions
from rlgan.gan.metrics.images import frechet_distance, manifolds


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def textured() -> tuple[Tensor, Tensor]:
    """Images (200, 3, 16, 16) of random blocks under a fine board of squares, and of other blocks under fine stripes:
    the means over blocks of 2 x 2 pixels are of one distribution."""
    blocks = (torch.rand(400, 3, 4, 4, generator=stream()) - 0.5).repeat_interleave(4, 2).repeat_interleave(4, 3)
    i = torch.arange(16)
    board, stripes = (i[:, None] + i) % 2 * 2.0 - 1, (i[:, None] % 2 * 2.0 - 1).expand(16, 16)
    return blocks[:200] + 0.4 * board, blocks[200:] + 0.4 * stripes


def test_random_convolutions_tell_textures_that_averages_cannot() -> None:
    board, stripes = textured()
    distance: dict[str, float] = {}
    for extractor in (Pixels(), RandomConvolutions()):
        among = frechet_distance(extractor(board[:100]), extractor(board[100:]))
        distance[extractor.name] = frechet_distance(extractor(board[:100]), extractor(stripes[:100])) / among
    assert distance["pixels"] < 2 and distance["random_convolutions"] > 20
    assert manifolds(Pixels()(board), Pixels()(stripes)).precision > 0.5
    assert manifolds(RandomConvolutions()(board), RandomConvolutions()(stripes)).precision == 0


@pytest.fixture(scope="module")
def glyphs() -> Glyphs:
    return Glyphs("ABC", side=12, count=600)


def blurred(x: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(F.pad(x, [side // 2] * 4, mode="replicate"), side, 1)


def test_the_distance_rises_with_corruption(glyphs: Glyphs) -> None:
    x = glyphs.read(torch.arange(600))
    real, other = x[:300], x[300:]
    noise = torch.randn(other.shape, generator=stream())
    extractors: list[Extractor] = [RandomConvolutions(), glyphs.extractor]
    for extractor in extractors:
        for kind in (
            [other, blurred(other, 3), blurred(other, 5), blurred(other, 7)],
            [other, *((other + s * noise).clamp(-1, 1) for s in (0.2, 0.4, 0.8))],
            [other, *(torch.lerp(other, other.roll(1, 0), s) for s in (0.15, 0.3, 0.5))],
        ):
            distances = [frechet_distance(extractor(real), extractor(y)) for y in kind]
            assert distances == sorted(distances) and distances[-1] > 3 * distances[0], extractor.name


def test_random_convolutions_are_the_same_in_every_run_and_of_any_size() -> None:
    x = torch.rand(3, 1, 28, 28, generator=stream()) * 2 - 1
    found = RandomConvolutions()(x)
    assert found.shape == (3, 144) and found.dtype == torch.float64
    torch.manual_seed(7)
    assert torch.equal(found, RandomConvolutions()(x))
    for shape in ((3, 32, 32), (3, 9, 5), (1, 1, 1)):
        assert RandomConvolutions()(torch.zeros(2, *shape)).shape == (2, 128 + 16 * shape[0])
    assert RandomConvolutions()(x[:0]).shape == (0, 144)
    # The first layer's filters see no brightness.
    assert torch.allclose(
        RandomConvolutions()(x)[:, :128], RandomConvolutions()(F.pad(x + 0.2, [0] * 4))[:, :128], atol=0.5
    )


def test_the_classifier_is_sure_of_what_it_knows_alone(glyphs: Glyphs) -> None:
    x = glyphs.read(torch.arange(600))
    assert glyphs.extractor(x[:5]).shape == (5, 64)
    found = glyphs.measure(x)
    assert found["classes/confident"] > 0.8 and found["classes/covered"] == 3
    assert found["classes/smallest_share"] == pytest.approx(1 / 3, abs=0.07)
    blends = (x + x.roll(1, 0)) / 2  # the next one is of another class
    assert glyphs.measure(blends)["classes/confident"] < 0.4
    assert glyphs.measure(x[:300:3]) == {
        "classes/confident": glyphs.measure(x[:300:3])["classes/confident"],
        "classes/covered": 1.0,
        "classes/smallest_share": 0.0,
    }
    assert glyphs.remarks(x[:300:3])[0].startswith("the rarest class is ")
    broken = x[:10].clone()
    broken[5:] = torch.nan
    assert glyphs.extractor.seen(broken).counts.sum() <= 5


def test_the_classifier_is_taught_once_and_draws_nothing_of_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("rlgan.gan.metrics.classifier._STEPS", 20)
    images, labels = torch.rand(40, 1, 8, 8, generator=stream()) * 2 - 1, torch.arange(40) % 2
    images[labels == 1, :, :4] += 1
    torch.manual_seed(3)
    before = torch.get_rng_state()

    def made() -> Classifier:
        return Classifier("classifier", labels, lambda index: images[index], ("plain", "bright"))

    with torch.no_grad():
        first = made()(images)
    assert torch.equal(before, torch.get_rng_state())
    (kept,) = (tmp_path / "rlgan").iterdir()
    monkeypatch.setattr("rlgan.gan.metrics.classifier._teach", None)  # what is kept is not taught again
    assert torch.equal(made()(images), first)
    kept.write_bytes(b"damaged")
    with pytest.raises(TypeError):
        made()(images)
