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
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.neural_network import MLPClassifier
from torch import Tensor

_BLOCK = 256
"""Images that pass through Inception at a time."""
_WEIGHTS = ("w1", "b1", "w2", "b2")


class Extractor(ABC):
    """A frozen map from images to features.

    Attributes:
        name: ends the tag of every measure taken in these features.
    """

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """``(n, C, H, W)`` in [-1, 1] -> ``(n, d)``, float64, on the CPU."""


@final
class Pixels(Extractor):
    """The image itself, averaged over blocks down to at most 8 x 8 pixels: colours and layout, no content.

    Always at hand and always the same, which is all that is to be said for it: distances in it rank coarse failures
    and see copies; they are no FID.
    """

    name: ClassVar[str] = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        x = images.detach().to("cpu", torch.float64)
        return F.adaptive_avg_pool2d(x, (min(8, x.shape[2]), min(8, x.shape[3]))).flatten(1)


@final
class DigitsClassifier(Extractor):
    """The last hidden layer of a small classifier of digits: 64 features of an 8 x 8 scan.

    scikit-learn's MLPClassifier, 64 - 128 - 64 - 10 with ReLU, fitted once by Adam with a fixed seed on all labelled
    scans (held out or not, so that neither part is favoured), and kept on disk. The offline stand-in for Inception: of
    digits it sees what makes them digits; of anything else it knows nothing.

    Args:
        weights: W1 (64, 128), b1, W2 (128, 64), b2 of the two hidden layers.
    """

    name: ClassVar[str] = "digits_classifier"
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
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlgan" / cls.file
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(tuple(torch.from_numpy(stored[key]) for key in _WEIGHTS))
        except (OSError, ValueError, KeyError, EOFError):
            taught = cls.fit(images, labels)
        arrays = {key: w.numpy() for key, w in zip(_WEIGHTS, taught.weights, strict=True)}
        with contextlib.suppress(OSError):  # a read-only home: it is taught again the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
                np.savez(file, allow_pickle=False, **arrays)
            os.replace(file.name, path)  # at once, for another process may do so at the same moment
        return taught


@final
class Inception(Extractor):
    """torch-fidelity's port of the Inception network of 2015 on its 2,048 pool features: the FID of the papers.

    Nothing is downloaded: the weights have to be on disk, where torch-fidelity keeps them.

    Raises:
        ValueError: torch-fidelity is not installed, or the weights are not on disk; says where they belong.
    """

    name: ClassVar[str] = "inception"
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
        blocks = [self._network(block)[0] for block in x.split(_BLOCK)]
        return torch.cat(blocks).double() if blocks else torch.zeros(0, 2048, dtype=torch.float64)
