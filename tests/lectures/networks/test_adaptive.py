"""The lecture on adaptive methods: how a learning rate is chosen, and the whole comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.lectures.networks.adaptive import chosen
from tests.lectures.shrunken import summary, without

NAME = "12_adaptive_generalisation"


def test_a_rate_is_chosen_on_the_first_half_and_reported_on_the_other() -> None:
    errors = {0.1: np.array([0.2, 0.2, 0.0, 0.0]), 0.3: np.array([0.1, 0.1, 0.5, 0.3])}
    assert chosen(errors) == pytest.approx((0.3, 0.4))
    assert chosen({0.1: np.array([0.2]), 0.3: np.array([0.1])}) == pytest.approx((0.3, 0.1))


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    methods = ("sgd", "heavy_ball", "adagrad", "rmsprop", "adam")
    kept = {f"wilson_{name}" for name in methods} | {"sgd_3e-1", "heavy_ball_3e-2", "adagrad_1e-2", "rmsprop_1e-3"}
    words = ("steps=40", "seeds=null", "log_every=10", "eval_every=20", *without(NAME, kept | {"adam_3e-3"}))
    numbers = summary(NAME, tmp_path / "run", *words)["numbers"]
    # After a few steps already the sign of every new sample is what the theory says.
    assert [numbers[f"error_wilson_{name}"] for name in methods[2:]] == [numbers["negative"]] * 3 == [0.4] * 3
    assert numbers["error_wilson_sgd"] == 0 and numbers["lr_adam"] == 3e-3 and 0 < numbers["error_adam"] < 1
