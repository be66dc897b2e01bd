"""Features that know what images show: those of a small classifier that was taught by their labels."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.gan.metrics.features import BLOCK, Extractor, kept_on_disk
from rlgan.gan.metrics.modes import Coverage
from rlgan.task.seeding import kept_globals

FEATURES = 64
LIMIT = 10_000
"""Labelled images at most that it is taught on."""
SURE = 0.8
_STEPS, _BATCH, _LR = 600, 64, 2e-3


@final
class Classifier(Extractor):
    """The last hidden layer of a small convolutional classifier of the data's own labels: 64 features of an image.

    Two 3 x 3 convolutions of 16 and 32 channels with stride 2, a linear layer of 64, one of the classes, ReLU; 600
    steps of Adam on at most 10,000 labelled images (held out or not, so that neither part is favoured), once with a
    fixed seed, and kept on disk. It is taught on mixtures of two images, whose label is mixed alike (mixup: Zhang et
    al. 2018, arXiv:1710.09412): so it is not sure of what lies between two classes. It cannot say "none of them", and
    knows what tells the classes apart, and little else.

    Args:
        name: of these features.
        labels: the class of each image, ``(n,)``, int64, 0 ... k - 1.
        read: the images ``(m, C, H, W)`` of numbers ``(m,)``, in [-1, 1]; asked at the first use.
        classes: their names.
    """

    def __init__(self, name: str, labels: Tensor, read: Callable[[Tensor], Tensor], classes: Sequence[str]) -> None:
        self.name, self.classes = name, classes
        self._labels, self._read = labels, read

    def __call__(self, images: Tensor) -> Tensor:
        return self._through(self._network[:-1], images)

    def seen(self, samples: Tensor) -> Coverage:
        """How many samples show each class for sure, with probability above 0.8; one that is not finite shows none."""
        finite = samples[samples.flatten(1).isfinite().all(1)]
        sure, which = self._through(self._network, finite).softmax(1).max(1)
        return Coverage(torch.bincount(which[sure > SURE], minlength=len(self.classes)), len(samples))

    def measure(self, samples: Tensor) -> dict[str, float]:
        """`classes/confident`, `classes/covered`, `classes/smallest_share`: see `Coverage.of_classes`."""
        return self.seen(samples).of_classes()

    def remarks(self, samples: Tensor) -> list[str]:
        share, which = (x.item() for x in self.seen(samples).shares.min(0))
        return [f"the rarest class is {self.classes[int(which)]}: {share:.3g} of the samples that are told for sure"]

    @torch.no_grad()
    def _through(self, network: nn.Module, images: Tensor) -> Tensor:
        return torch.cat([network(x.detach().to("cpu", torch.float32)).double() for x in images.split(BLOCK)])

    @cached_property
    def _network(self) -> nn.Sequential:
        index = torch.arange(len(self._labels))
        if len(index) > LIMIT:
            index = torch.randperm(len(index), generator=torch.Generator().manual_seed(0))[:LIMIT].sort().values
        images, labels = self._read(index), self._labels[index]
        with kept_globals(0):
            network = _layers(images.shape[1:], len(self.classes))
        known = hashlib.sha256(images.contiguous().numpy().tobytes() + labels.numpy().tobytes()).hexdigest()[:16]
        names = list(network.state_dict())

        def taught() -> list[Tensor]:
            _teach(network, images, labels)
            return list(network.state_dict().values())

        weights = kept_on_disk(f"classifier_{FEATURES}_{_STEPS}_{known}.npz", names, taught)
        network.load_state_dict(dict(zip(names, weights, strict=True)))
        return network.requires_grad_(False)


def _layers(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    height, width = (((side + 1) // 2 + 1) // 2 for side in shape[1:])
    first, second = nn.Conv2d(shape[0], 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
    features = nn.Sequential(nn.Flatten(), nn.Linear(32 * height * width, FEATURES), nn.ReLU())
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), *features, nn.Linear(FEATURES, classes))


@torch.enable_grad()
def _teach(network: nn.Sequential, images: Tensor, labels: Tensor) -> None:
    """By Adam with a rate that falls linearly; two to five seconds at 28 x 28."""
    optimizer = torch.optim.Adam(network.parameters(), _LR, weight_decay=1e-5)
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, _STEPS)
    stream = torch.Generator().manual_seed(0)
    for _ in range(_STEPS):
        one, other = torch.randint(len(images), (2, _BATCH), generator=stream)
        share = torch.rand(_BATCH, generator=stream)  # Beta(1, 1)
        x = torch.lerp(images[other], images[one], share[:, None, None, None])
        scores = network(x)
        losses = [F.cross_entropy(scores, labels[i], reduction="none") for i in (one, other)]
        optimizer.zero_grad()
        (share * losses[0] + (1 - share) * losses[1]).mean().backward()
        optimizer.step()
        rate.step()
