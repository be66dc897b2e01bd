"""Named features in which images are compared: a Frechet distance means nothing without the name of its extractor.

Every extractor is frozen: the same numbers in every run. What is taught once is kept on disk, in
``$XDG_CACHE_HOME/rlgan`` or ``~/.cache/rlgan``.
"""

import contextlib
import importlib.util
import os
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.neural_network import MLPClassifier
from torch import Tensor

BLOCK = 256
"""Images that pass through a network at a time."""
_WEIGHTS = ("w1", "b1", "w2", "b2")


class Extractor(ABC):
    """A frozen map from images to features.

    Attributes:
        name: ends the tag of every measure taken in these features.
    """

    name: str

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """``(n, C, H, W)`` in [-1, 1] -> ``(n, d)``, float64, on the CPU."""

    def measure(self, samples: Tensor) -> dict[str, float]:
        """What the network behind the features says of samples ``(n, C, H, W)`` beyond them, under its tags."""
        return {}

    def remarks(self, samples: Tensor) -> list[str]:
        """What these numbers hide, a sentence each."""
        return []


def kept_on_disk(file: str, names: Sequence[str], teach: Callable[[], Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """The weights of these names on disk; taught and put there if there are none, or none that can be read."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlgan" / file
    try:
        with np.load(path, allow_pickle=False) as stored:
            return tuple(torch.from_numpy(stored[name]) for name in names)
    except (OSError, ValueError, KeyError, EOFError):
        weights = tuple(teach())
    arrays = {name: w.numpy() for name, w in zip(names, weights, strict=True)}
    with contextlib.suppress(OSError):  # a read-only home: it is taught again the next time
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as kept:
            np.savez(kept, allow_pickle=False, **arrays)
        os.replace(kept.name, path)  # at once, for another process may do so at the same moment
    return weights


@final
class Pixels(Extractor):
    """The image itself, averaged over blocks down to at most 8 x 8 pixels: colours and layout, no content.

    Always at hand and always the same, which is all that is to be said for it: distances in it rank coarse failures
    and see copies; they are no FID.
    """

    name = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        x = images.detach().to("cpu", torch.float64)
        return F.adaptive_avg_pool2d(x, (min(8, x.shape[2]), min(8, x.shape[3]))).flatten(1)


@final
class RandomConvolutions(Extractor):
    """Means of rectified random convolutions, 128 of them, and 4 x 4 pixels of each channel: texture, edges, layout.

    Networks with random weights are features in which generated images can be compared where none were taught (Naeem
    et al. 2020, arXiv:2002.09797, section 4). Here 24 filters of 5 x 5 and then 32 of 3 x 3, orthonormal, each followed
    by ReLU and means of 2 x 2 pixels; the mean over each quarter of the image is a feature. The filters of the first
    layer sum to 0: they see how an image changes from pixel to pixel, not how bright it is, which the image itself,
    averaged down to 4 x 4, adds. One fixed seed: the same numbers in every run.
    """

    name = "random_convolutions"

    def __call__(self, images: Tensor) -> Tensor:
        first, second = _random_filters(images.shape[1])
        blocks = []
        for block in images.split(BLOCK):
            x = block.detach().to("cpu", torch.float64)
            y = F.relu(F.conv2d(x, first, padding=2))
            y = F.avg_pool2d(y, 2) if min(y.shape[2:]) > 1 else y
            y = F.relu(F.conv2d(y, second, padding=1))
            near = F.adaptive_avg_pool2d(y, (2, 2)).flatten(1)
            blocks.append(torch.cat((4.0 * near, F.adaptive_avg_pool2d(x, (4, 4)).flatten(1) / 4.0), 1))
        return torch.cat(blocks)


@lru_cache(maxsize=2)
def _random_filters(channels: int) -> tuple[Tensor, Tensor]:
    """Of the two layers, ``(24, channels, 5, 5)`` and ``(32, 24, 3, 3)``, float64."""
    stream = np.random.default_rng(2002_09797)
    filters: list[Tensor] = []
    for out, into, side in ((24, channels, 5), (32, 24, 3)):
        drawn = stream.standard_normal((into * side * side, out))
        if not filters:
            drawn -= drawn.reshape(into, side * side, out).mean(1).repeat(side * side, 0)
        filters.append(torch.from_numpy(np.linalg.qr(drawn)[0].T.copy()).reshape(out, into, side, side))
    return filters[0], filters[1]


@final
class DigitsClassifier(Extractor):
    """The last hidden layer of a small classifier of digits: 64 features of an 8 x 8 scan.

    scikit-learn's MLPClassifier, 64 - 128 - 64 - 10 with ReLU, fitted once by Adam with a fixed seed on all labelled
    scans (held out or not, so that neither part is favoured), and kept on disk. The offline stand-in for Inception: of
    digits it sees what makes them digits; of anything else it knows nothing.

    Args:
        weights: W1 (64, 128), b1, W2 (128, 64), b2 of the two hidden layers.
    """

    name = "digits_classifier"
    file: ClassVar[str] = "digits_classifier_64_128_64_seed0.npz"

    def __init__(self, weights: tuple[Tensor, ...]) -> None:
        self.weights = weights

    def __call__(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != (1, 8, 8):
            raise ValueError(f"images = {tuple(images.shape)}: {self.name} sees (n, 1, 8, 8); use features pixels")
        w1, b1, w2, b2 = self.weights
        x = images.detach().to("cpu", torch.float64).flatten(1)
        return torch.relu(torch.relu(x @ w1 + b1) @ w2 + b2)

    @classmethod
    def fit(cls, images: Tensor, labels: Tensor) -> "DigitsClassifier":
        """Teach it; two to three seconds. Draws from a generator of its own."""
        network = MLPClassifier((128, 64), max_iter=60, random_state=0, tol=0.0, n_iter_no_change=60)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it might be fitted for longer
            network.fit(images.flatten(1).double().numpy(), labels.numpy())
        (w1, w2, _), (b1, b2, _) = network.coefs_, network.intercepts_
        return cls(tuple(torch.from_numpy(w) for w in (w1, b1, w2, b2)))

    @classmethod
    def cached(cls, images: Tensor, labels: Tensor) -> "DigitsClassifier":
        """The one on disk; taught and put there if there is none, or none that can be read."""
        return cls(kept_on_disk(cls.file, _WEIGHTS, lambda: cls.fit(images, labels).weights))


@final
class Inception(Extractor):
    """torch-fidelity's port of the Inception network of 2015 on its 2,048 pool features: the FID of the papers.

    Nothing is downloaded: the weights have to be on disk, where torch-fidelity keeps them.

    Raises:
        ValueError: torch-fidelity is not installed, or the weights are not on disk; says where they belong.
    """

    name = "inception"
    file: ClassVar[str] = "weights-inception-2015-12-05-6726825d.pth"

    def __init__(self) -> None:
        if importlib.util.find_spec("torch_fidelity") is None:
            raise ValueError(
                "features = inception: torch-fidelity is not installed; pip install 'rlgan[images]', or features=pixels"
            )
        self.path = Path(torch.hub.get_dir()) / "checkpoints" / self.file
        if not self.path.is_file():
            raise ValueError(
                f"features = inception: its weights are not on disk and are not downloaded from here; put {self.file} "
                f"of torch-fidelity into {self.path.parent}, or use features=pixels"
            )

    @cached_property
    def _network(self) -> Any:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        return FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(self.path)
        ).eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        x = ((images.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        x = x.expand(-1, 3, -1, -1)  # grey as three equal channels
        blocks = [self._network(block)[0] for block in x.split(BLOCK)]
        return torch.cat(blocks).double() if blocks else torch.zeros(0, 2048, dtype=torch.float64)
