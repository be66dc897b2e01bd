"""What each metric of a WGAN means, in one line: for the table at the end of a run."""

from collections.abc import Mapping
from typing import Literal

_TABLE = {
    "distance": {
        "wasserstein/primal": "exact W1 of 1,024 generated and real samples",
        "wasserstein/primal_real": "the same of two sets of real samples",
        "wasserstein/sliced": "sliced W1 of all samples drawn; 0 at best",
        "wasserstein/sliced_real": "the same of two sets of real samples",
        "images/frechet": "Frechet distance of features to real ones",
        "wasserstein/true": "W1 of the two distributions, known exactly",
        "wasserstein/dual": "critic's score gap, real - fake (last batch)",
        "wasserstein/dual_eval": "the same gap of up to 8,192 fresh samples",
        "wasserstein/dual_error": "the standard error of that gap",
        "wasserstein/dual_over_true": "that gap / known W1; 1 of an optimal critic",
        "wasserstein/dual_lower_bound": "W1 is at least this (95 %): gap / slope bound",
        "wasserstein/dual_estimate": "gap / largest slope seen: an estimate of W1",
    },
    "modes": {
        "modes/covered": "modes with a sample within 3 sigma",
        "modes/high_quality": "share of samples within 3 sigma of a mode",
        "modes/smallest_share": "emptiest mode's share of these",
        "modes/smallest_spread": "narrowest mode's width over the true one",
        "modes/reverse_kl": "unevenness over the modes, in nats; 0 at best",
        "digits/classes": "digits that a classifier is sure to see",
        "digits/confident": "share that a classifier is sure of",
        "digits/smallest_share": "the rarest digit's share of these",
        "classes/covered": "classes that a classifier is sure to see",
        "classes/confident": "share that a classifier is sure of",
        "classes/smallest_share": "the rarest class's share of these",
        "images/precision": "generated images that lie among real ones",
        "images/recall": "real images that lie among generated ones",
        "images/density": "how densely real ones surround generated ones",
        "images/coverage": "real images with a generated one nearby",
    },
    "copying": {
        "memorisation/ratio": "distance to training / unseen ones; 0: copies",
        "memorisation/c_t": "as a standard score; well below 0: copies",
        "memorisation/two_sample": "real and generated told apart; 0.5 at best",
        "memorisation/authenticity": "images that are no copies; about 0.5 if fresh",
        "memorisation/duplicates": "generated images with a near double",
        "memorisation/membership_auc": "tells training from unseen; 0.5: it cannot",
    },
    "slope": {
        "critic/lipschitz": "largest slope of the critic that was seen",
        "critic/lipschitz_upper_bound": "the slope is nowhere above this",
    },
    "loss": {
        "critic/loss": "what the critic minimises",
        "generator/loss": "what the generator minimises",
        "critic/penalty": "part of the critic's loss, limits its slope",
        "critic/gap": "critic's score gap, real - fake; no distance",
        "critic/temperature": "by which the loss divides the critic's scores",
        "critic/grad_norm": "length of the critic's gradient",
        "generator/grad_norm": "length of the generator's gradient",
    },
}

EXPLAINED: Mapping[str, str] = {tag: line for lines in _TABLE.values() for tag, line in lines.items()}
GROUPS: Mapping[str, tuple[str, ...]] = {heading: tuple(lines) for heading, lines in _TABLE.items()}

_LESS = (
    "wasserstein/primal", "wasserstein/sliced", "wasserstein/true", "images/frechet", "modes/reverse_kl",
    "memorisation/duplicates",
)  # fmt: skip
_MORE = (
    "modes/covered", "modes/high_quality", "modes/smallest_share", "digits/classes", "digits/confident",
    "digits/smallest_share", "classes/covered", "classes/confident", "classes/smallest_share",
    "images/precision", "images/recall", "images/density", "images/coverage",
)  # fmt: skip
BETTER: Mapping[str, Literal["min", "max"]] = {**dict.fromkeys(_LESS, "min"), **dict.fromkeys(_MORE, "max")}
