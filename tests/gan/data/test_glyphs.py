"""Drawn characters: the same ones always, told apart by their classes, and what trains on them."""

import pytest
import torch

from rlgan.gan.data import Data, Glyphs, Ring
from rlgan.gan.data.base import split_by_count
from rlgan.gan.lipschitz import Clip
from rlgan.gan.wgan import WGAN
from rlgan.nets import BySizeSpec, DCGANSpec, MLPSpec
from rlgan.optim import PlayerSpec, Simultaneous, sgd
from rlgan.task.settings import Settings
from tests.gan.small import assert_same, make, train, vectors


def test_images_are_the_same_ones_in_every_run_and_no_two_alike() -> None:
    data = Glyphs(count=300)
    x = data.read(torch.arange(300))
    assert x.shape == (300, 1, 28, 28) and x.dtype == torch.float32
    assert float(x.min()) == -1 and float(x.max()) > 0.9
    assert torch.equal(x, Glyphs(count=300, held_out=0.1).read(torch.arange(300)))
    assert len(x.unique(dim=0)) == 300
    assert data.size == 240 and torch.equal(data.training(), x[split_by_count(300, 0.2)[0]])


def test_a_label_says_which_character_it_is() -> None:
    data = Glyphs("AIX", side=20, count=600)
    x, labels = data.read(torch.arange(600)).flatten(1), data.labels
    assert labels.bincount().tolist() == [200, 200, 200]
    means = torch.stack([x[:300][labels[:300] == k].mean(0) for k in range(3)])
    found = torch.cdist(x[300:], means).argmin(1)
    assert float((found == labels[300:]).float().mean()) > 0.8  # a third by chance


def test_none_touches_an_edge() -> None:
    edge = torch.ones(28, 28, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    ink = Glyphs("W0g", count=300).read(torch.arange(300))[:, 0, edge]
    assert float((ink > 0).float().mean()) < 0.04


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"characters": "aab"}, "characters = aab: has a twice"),
        ({"characters": "a"}, "characters = 'a': at least two"),
        ({"characters": "a b"}, "characters = 'a b': at least two"),
        ({"side": 7}, "side = 7: must be at least 8"),
        ({"count": 9}, "count = 9: must be at least 10"),
        ({"held_out": 1.0}, "held_out = 1.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Glyphs(**options)  # type: ignore[arg-type]


def test_a_run_goes_on_exactly_and_says_its_networks() -> None:
    def task() -> object:
        critic = BySizeSpec(MLPSpec(hidden=(8,)), DCGANSpec(width=4, norm="layer", full_resolution=False))
        generator = BySizeSpec(MLPSpec(hidden=(8,)), DCGANSpec(width=4, full_resolution=False))
        return make(data=Glyphs("ABC", side=13, count=90), critic=critic, generator=generator)

    whole, first, second = task(), task(), task()
    train(whole, 4)  # type: ignore[arg-type]
    second.load_state_dict(train(first, 2).state_dict())  # type: ignore[arg-type, attr-defined]
    assert_same(vectors(whole), vectors(train(second, 2)))  # type: ignore[arg-type]
    note = next(note for note in whole._sized)  # type: ignore[attr-defined]
    assert note.startswith("networks for images of 13x13: critic = DCGAN(width=4, norm=layer, full_resolution=False), ")
    assert note.endswith("latent_dim = 2")


@pytest.mark.parametrize(("data", "latent"), [(Ring(), 2), (Glyphs("AB", side=12, count=80), 64)])
def test_the_latent_vector_is_as_long_as_the_samples_ask_for(data: Data, latent: int) -> None:
    spec = PlayerSpec(MLPSpec(hidden=(4,)), sgd(1e-3))
    task = WGAN(Settings(device="cpu", compile=False), data, spec, spec, Simultaneous(), Clip(0.1), batch_size=8)
    assert task.batch(task.generators).z.shape == (8, latent)
    met = [note for note in task._sized if note.startswith("images of 12x12 meet a perceptron")]
    assert len(met) == data.images
