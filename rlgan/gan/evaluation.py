"""How a WGAN is measured: cheaply while it trains, and in full from a checkpoint.

Every draw comes from streams of its own with a fixed seed: measuring neither disturbs training nor differs in its
draws, and all averages of the generator are given the same latent vectors.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlgan.gan.data import Data, FiniteData, Mixture, Pair
from rlgan.gan.data.base import draw
from rlgan.gan.metrics.images import NEIGHBOURS, Manifolds, frechet_distance, manifolds
from rlgan.gan.metrics.meanings import EXPLAINED
from rlgan.gan.metrics.memorisation import Copying, Memorisation, membership_auc
from rlgan.gan.metrics.modes import COVERAGE_SAMPLES, mode_coverage
from rlgan.gan.metrics.slope import Gap, critic_lipschitz, dual_scalars, probe_points
from rlgan.gan.metrics.transport import PRIMAL_LIMIT, wasserstein_primal, wasserstein_sliced
from rlgan.gan.pictures import image_grid, mode_bars, neighbour_grid, plane
from rlgan.nets.layers import estimate_statistics, in_evaluation_mode
from rlgan.nets.lipschitz.bounds import FREQUENCIES, lipschitz_bound
from rlgan.optim.contract.calls import calling
from rlgan.task.errors import Diverged, InputError
from rlgan.task.seeding import Generators
from rlgan.task.task import Examination, Picture

PRIMAL_SAMPLES = 1024
"""Samples that `wasserstein/primal` is taken of, in training and in full: its bias depends on their number."""

DUAL_SAMPLES = 8192
"""Samples of each kind that `wasserstein/dual_eval` and what follows from it are taken of; in training a fourth of
these where a sample has more than 256 values, as convolutions take seconds for the rest."""

FULL_SAMPLES = 10_000
"""Samples of a full evaluation, and training samples at most that images are compared with there."""

FRECHET = "images/frechet"
"""The beginning of the tags of Frechet distances, which depend on the number of samples."""

_QUICK_IMAGES = 512
_QUICK_REFERENCE = 2048
_BLOCK = 1024
_LARGE = 256


@final
@dataclass(frozen=True)
class Subject:
    """The networks and data that are measured.

    Args:
        data: the real samples.
        critic: f, ``(batch, *shape) -> (batch,)``.
        generators: the averages of the generator by name, the run's own choice first: its tags are plain, those of
            another end in `/name`.
        latent_dim: length of z.
        device, dtype: of the networks.
        step: of the run, for captions and messages.
        seed: of the draws.
    """

    data: Data
    critic: nn.Module
    generators: Mapping[str, nn.Module]
    latent_dim: int
    device: torch.device
    dtype: torch.dtype
    step: int
    seed: int

    @property
    def shows_images(self) -> bool:
        """Whether samples are grey or RGB images."""
        return self.data.images and self.data.shape[0] in (1, 3)

    def latent(self, n: int, draws: Generators) -> Tensor:
        """z ~ N(0, I), ``(n, latent_dim)``."""
        return draw(torch.randn, draws.torch("latent", self.device), n, self.latent_dim).to(self.dtype)

    def real(self, n: int, draws: Generators) -> Tensor:
        """`n` real samples. Those of a known pair are made of the z of the fake ones: E f(x_real) - E f(x_fake) is what
        it was, and hardly varies."""
        if isinstance(self.data, Pair):
            return self.data.real(self.latent(n, Generators(self.seed)))
        return self.data.sample(n, draws.torch("real", self.device)).to(self.dtype)

    @torch.no_grad()
    def generate(self, n: int, draws: Generators, name: str | None = None) -> Tensor:
        """`n` samples ``(n, *shape)`` of an average, the first by default, in evaluation mode.

        Raises:
            Diverged: a sample is not finite.
        """
        module = next(iter(self.generators.values())) if name is None else self.generators[name]
        z = self.latent(n, draws)
        with in_evaluation_mode(module):
            # By blocks, for the activations' sake; in evaluation mode no sample sees another.
            samples = torch.cat([module(block) for block in z.split(_BLOCK)])
        if not samples.isfinite().all():
            raise Diverged(f"step {self.step}: the generator's samples are not finite; lower generator.optimizer.lr")
        return samples

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """The critic's scores f(x), ``(n,)``, in evaluation mode."""
        with in_evaluation_mode(self.critic):
            blocks = [self.critic(block.to(self.device, self.dtype)) for block in x.split(_BLOCK)]
        return torch.cat(blocks)


@final
class Reference:
    """The real images that generated ones are compared with, in the features of their extractor; prepared once.

    Args:
        data: a finite data set of images.
        limit: training samples, and held-out samples, at most.

    Attributes:
        features: of the training samples, ``(n, d)``.
    """

    def __init__(self, data: FiniteData, limit: int) -> None:
        self.data, self.name = data, data.extractor.name
        self.training, self.unseen = data.training(limit), data.unseen(limit)
        self.features = data.extractor(self.training)

    @cached_property
    def memorisation(self) -> Memorisation | None:
        """The measures of copying; None where nothing is held out."""
        return Memorisation(self.features, self.data.extractor(self.unseen)) if len(self.unseen) > 1 else None

    def frechet(self, features: Tensor) -> dict[str, float]:
        """`images/frechet_<name>` of generated features ``(m, d)`` and all training ones."""
        return {f"{FRECHET}_{self.name}": frechet_distance(self.features, features)}

    def alike(self, features: Tensor) -> dict[str, float]:
        """How like the training images features ``(m, d)`` are; precision and so on against as many of these."""
        found = self.frechet(features)
        real = self.features[: len(features)]
        if min(len(real), len(features)) > NEIGHBOURS:
            found |= _in_features("images", manifolds(real, features), self.name)
        return found

    def measure(self, features: Tensor) -> dict[str, float]:
        """Every measure of generated features ``(m, d)``: `alike`, and of copying."""
        found = self.alike(features)
        if self.memorisation is not None:
            found |= _in_features("memorisation", self.memorisation(features), self.name)
        return found

    def nearest(self, samples: Tensor) -> Tensor:
        """The training image nearest to each sample in these features, ``(n, C, H, W)``."""
        distances = torch.cdist(self.data.extractor(samples), self.features)
        return self.training[distances.argmin(1)]


# The tasks of several seeds have equal data: one reference serves them all.
reference = lru_cache(maxsize=4)(Reference)


def _in_features(kind: str, measures: Manifolds | Copying, extractor: str) -> dict[str, float]:
    """`images/precision_<extractor>`, `memorisation/ratio_<extractor>` and so on."""
    return {f"{kind}/{name}_{extractor}": value for name, value in asdict(measures).items()}


def _named(found: Mapping[str, float], name: str, subject: Subject) -> dict[str, float]:
    first = next(iter(subject.generators)) == name
    return {tag if first else f"{tag}/{name}": value for tag, value in found.items()}


def own_measures(data: Data, samples: Tensor) -> dict[str, float]:
    """What the data say of generated samples ``(n, *shape)``, which they may overwrite.

    Raises:
        InputError: no numbers under tags, or under one of ours.
    """
    name = f"data = {type(data).__name__}"
    try:
        with calling("data", data, "measure"):
            found = data.measure(samples.clone())
    except ValueError as error:
        raise InputError(str(error), intact=True) from error
    if not isinstance(found, Mapping):
        raise InputError(f"{name}: its measure gave {found!r:.60}, where a dict of numbers is due", intact=True)
    measures: dict[str, float] = {}
    for tag, value in found.items():
        ours = tag in EXPLAINED and str(tag).startswith(("wasserstein/", "critic/"))
        if ours or not isinstance(tag, str) or not tag.isprintable():
            why = "is measured already; choose another name" if ours else "is no tag; give words, as mine/distance"
            raise InputError(f"{name}: its measure gave a number under {tag!r}, which {why}", intact=True)
        try:
            measures[tag] = float(value)
        except (TypeError, ValueError) as error:
            said = f"{name}: its measure gave {tag} = {value!r:.60}, where one number is due"
            raise InputError(" ".join(said.split()), intact=True) from error
    return measures


def quick(subject: Subject) -> dict[str, float]:
    """What is logged while a run trains: a fraction of a second for each average.

    Exact W1 of 1,024 samples, the critic's slope, its dual of 8,192 (large images: 2,048), and what the data have to
    say of 2,500 generated samples; of images Frechet distance from 512 generated ones, and of the first average
    precision and so on, and copying.
    """
    found: dict[str, float] = {}
    for i, name in enumerate(subject.generators):
        draws = Generators(subject.seed)
        x_real = subject.real(PRIMAL_SAMPLES, draws)
        samples = subject.generate(COVERAGE_SAMPLES, draws, name)
        x_fake = samples[:PRIMAL_SAMPLES]
        own = {"wasserstein/primal": wasserstein_primal(x_real, x_fake), **own_measures(subject.data, samples)}
        if isinstance(subject.data, FiniteData):
            known = reference(subject.data, _QUICK_REFERENCE)
            features = subject.data.extractor(samples[:_QUICK_IMAGES])
            own |= known.frechet(features) if i else known.measure(features)
        found |= _named(own, name, subject)
    large = math.prod(subject.data.shape) > _LARGE
    return {**found, **critic_metrics(subject, 0, DUAL_SAMPLES // 4 if large else DUAL_SAMPLES)}


def critic_metrics(subject: Subject, frequencies: int = FREQUENCIES, n: int = DUAL_SAMPLES) -> dict[str, float]:
    """The critic's dual and slope on fresh samples, and what these are worth as a distance; see `dual_scalars`.

    Of a known pair also `wasserstein/true` and `wasserstein/dual_over_true`; of a finite data set
    `memorisation/membership_auc`.

    Args:
        subject: what is measured.
        frequencies: see `rlgan.nets.lipschitz.bounds.lipschitz_bound`.
        n: samples of each kind that the dual is taken of. The slope is looked for at 1,024.
    """
    draws = Generators(subject.seed)
    x_real = subject.real(PRIMAL_SAMPLES, draws)
    x_fake = subject.generate(PRIMAL_SAMPLES, draws)
    epsilon = draw(torch.rand, draws.torch("epsilon", subject.device), PRIMAL_SAMPLES).to(subject.dtype)
    slope = critic_lipschitz(subject.critic, probe_points(x_real, x_fake, epsilon))
    gap = dual_gap(subject, n)
    found = dual_scalars(gap, slope, lipschitz_bound(subject.critic, frequencies))
    if isinstance(subject.data, Pair):
        found |= {"wasserstein/true": subject.data.w1, "wasserstein/dual_over_true": gap.value / subject.data.w1}
    known = reference(subject.data, _QUICK_REFERENCE) if isinstance(subject.data, FiniteData) else None
    if known is not None and len(known.unseen):
        auc = membership_auc(subject.scores(known.training), subject.scores(known.unseen))
        found["memorisation/membership_auc"] = auc
    return found


def dual_gap(subject: Subject, n: int) -> Gap:
    """E f(x_real) - E f(x_fake) of `n` samples of each kind, drawn for this alone, with its sampling error.

    The fake samples are those of the first average. Real and fake ones are independent, except of a known pair: there
    the one sample is the other moved, and the error is that of the mean difference. A finite data set of at most `n`
    training samples is scored whole: the distance is to the very set, whose mean has no error.

    Args:
        subject: what is measured.
        n: samples of each kind.
    """
    subject = replace(subject, seed=Generators(subject.seed).seed("dual"))
    draws, data = Generators(subject.seed), subject.data
    fake = subject.scores(subject.generate(n, draws))
    if isinstance(data, Pair):
        return Gap.of(subject.scores(subject.real(n, draws)).double() - fake)
    whole = isinstance(data, FiniteData) and data.size <= n
    if isinstance(data, FiniteData) and whole:
        real = data.training()
    else:
        real = subject.real(n, draws)
    return Gap.of(subject.scores(real), whole) - Gap.of(fake)


def scale(subject: Subject) -> dict[str, float]:
    """What the real data measure against themselves: the figures of a perfect generator, by the tags of `quick`.

    Of images those that are held out, at most as many as `quick` draws, stand in the generator's place. The Frechet
    distance of fewer is larger, whatever they are like: then there is none to compare with.
    """
    stream = Generators(subject.seed).torch("real", subject.device)
    x_real, other = (subject.data.sample(n, stream) for n in (COVERAGE_SAMPLES, PRIMAL_SAMPLES))
    figures = {
        "wasserstein/primal": wasserstein_primal(other, x_real[:PRIMAL_SAMPLES]),
        **own_measures(subject.data, x_real),
    }
    if isinstance(subject.data, FiniteData):
        known = reference(subject.data, _QUICK_REFERENCE)
        if len(known.unseen) > NEIGHBOURS:
            own = known.alike(known.data.extractor(known.unseen[:_QUICK_IMAGES]))
            enough = len(known.unseen) >= _QUICK_IMAGES
            figures |= {tag: value for tag, value in own.items() if enough or not tag.startswith(FRECHET)}
    return figures


def remarks(subject: Subject, n: int | None = None) -> list[str]:
    """What the data remark on the samples of `quick`, or of `full` with `n`, of the first average."""
    if n is None:
        return subject.data.remarks(subject.generate(COVERAGE_SAMPLES, Generators(subject.seed)))
    return subject.data.remarks(subject.generate(n, _full_draws(subject)))


def _full_draws(subject: Subject) -> Generators:
    """Streams of samples that `quick` did not see."""
    return Generators(Generators(subject.seed).seed("full"))


def own_statistics(subject: Subject, names: Iterable[str]) -> None:
    """Give averages of the generator batch norm's statistics of their own activations, of 4,096 latent vectors."""
    for name in names:
        stream = Generators(subject.seed).torch("statistics", subject.device)
        latent = (draw(torch.randn, stream, _BLOCK, subject.latent_dim).to(subject.dtype) for _ in range(4))
        estimate_statistics(subject.generators[name], latent)


def pictures(subject: Subject, w1: float | None = None) -> dict[str, Picture]:
    """The first average's samples: over the critic's level sets in the plane; as a grid of images, and beside the
    training images that are nearest.

    Args:
        subject: what is drawn.
        w1: exact W1 of the generator, for the caption.
    """
    draws = Generators(subject.seed)
    if subject.shows_images:
        samples = subject.generate(100, draws)
        found: dict[str, Picture] = {"samples/generator": image_grid(samples)}
        if isinstance(subject.data, FiniteData):
            nearest = reference(subject.data, _QUICK_REFERENCE).nearest(samples[:25])
            found["samples/nearest_training"] = neighbour_grid(samples[:25], nearest)
        return found
    if subject.data.shape != (2,):
        return {}
    x_real, x_fake = subject.real(1000, draws), subject.generate(1000, draws)
    with in_evaluation_mode(subject.critic):
        return {"samples/generator": plane(x_real, x_fake, subject.critic, subject.step, w1)}


def full(subject: Subject, n: int = FULL_SAMPLES) -> Examination:
    """Everything that can be said of a checkpoint, from `n` samples of every average.

    Beyond `quick`: all image measures and modes from n samples; sliced W1 of n where n is above 2,048; what real
    samples have in the generator's place, under tags that end in `_real`; a tight bound of the critic's slope.

    Raises:
        ValueError: n is below 2.
        Diverged: a sample is not finite.
    """
    if n < 2:
        raise ValueError(f"n = {n}: must be at least 2 samples, for example {FULL_SAMPLES}")
    metrics = {**quick(subject), **critic_metrics(subject)}
    arrays: dict[str, NDArray[np.float32]] = {}
    shown: dict[str, Picture] = {}
    data = subject.data
    known = reference(data, FULL_SAMPLES) if isinstance(data, FiniteData) else None
    stream = _full_draws(subject).torch("real", subject.device)
    x_real, x_other = data.sample(n, stream), data.sample(n, stream)
    m = min(n, PRIMAL_SAMPLES)
    metrics["wasserstein/primal_real"] = wasserstein_primal(x_real[:m], x_other[:m])
    if n > PRIMAL_LIMIT:
        metrics["wasserstein/sliced_real"] = wasserstein_sliced(x_real, x_other, subject.seed)
    if known is not None and len(known.unseen) > 1:
        own = known.frechet(known.data.extractor(known.unseen))
        metrics |= {f"{tag}_real": distance for tag, distance in own.items()}
    for name in subject.generators:
        samples = subject.generate(n, _full_draws(subject), name)
        own = own_measures(data, samples)
        if n > PRIMAL_LIMIT:
            own["wasserstein/sliced"] = wasserstein_sliced(x_real, samples, subject.seed)
        if known is not None:
            own |= known.measure(known.data.extractor(samples))
        metrics |= _named(own, name, subject)
        first = not arrays
        arrays["samples" if first else f"samples_{name}"] = samples.cpu().float().numpy()
        if not first and subject.shows_images:
            shown[f"samples/generator_{name}"] = image_grid(samples[:100])
        if first and isinstance(data, Mixture):
            shown["samples/modes"] = mode_bars(mode_coverage(samples, data.modes, data.sigma), subject.step)
    return Examination(metrics, {**pictures(subject, metrics["wasserstein/primal"]), **shown}, arrays)
