"""What each metric of a minimisation means, in one line: for the table at the end of a run."""

from collections.abc import Mapping
from typing import Literal

_TABLE = {
    "risk": {
        "error/train": "share of training samples told wrong",
        "error/test": "share of test samples told wrong",
        "error/gap": "generalisation gap: test - training error",
        "risk/train": "mean loss of all training samples, R(theta)",
        "risk/test": "mean loss of the test samples",
        "risk/gap": "generalisation gap: test - training risk",
    },
    "optimum": {
        "risk/excess": "R(theta) - the least value that it can have",
        "distance/optimum": "distance of theta to the known optimum",
    },
    "gradient": {
        "gradient/squared": "|grad R|^2 of the whole sample, at theta",
        "gradient/squared_mean": "its mean over all looks so far",
        "gradient/squared_min": "its least value so far",
    },
    "curvature": {
        "sharpness/keskar": "rise of R near theta, % of 1 + R (eps 1e-3)",
        "sharpness/largest": "largest eigenvalue of R's Hessian",
    },
    "loss": {
        "model/loss": "what the last step's batch was minimised of",
        "model/grad_norm": "length of that batch's gradient",
        "model/evaluations": "evaluations of the loss so far",
    },
}

EXPLAINED: Mapping[str, str] = {tag: line for lines in _TABLE.values() for tag, line in lines.items()}
GROUPS: Mapping[str, tuple[str, ...]] = {heading: tuple(lines) for heading, lines in _TABLE.items()}

_LESS = (
    "error/train", "error/test", "risk/train", "risk/test", "risk/excess", "distance/optimum", "gradient/squared",
    "gradient/squared_min", "gradient/squared_mean", "model/loss", "model/evaluations",
)  # fmt: skip
BETTER: Mapping[str, Literal["min", "max"]] = dict.fromkeys(_LESS, "min")
