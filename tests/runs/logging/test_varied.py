"""What was varied has short names, and a class's inner values are not among it."""

from __future__ import annotations

from rlgan.runs.logging.varied import flatten, varied
from rlgan.runs.record.naming import HOUSEKEEPING, changes
from rlgan.runs.study.reading import counts

CONFIG = {
    "steps": 100, "seed": 3, "log_every": 5, "batch_size": 8, "name": None,
    "lipschitz": {"_target_": "rlgan.gan.GradientPenalty", "weight": 10.0},
    "critic": {"optimizer": {"_target_": "a.b.Adam", "lr": 0.1, "betas": [0.5, 0.9], "clip": None}},
}  # fmt: skip


def test_options_learning_rates_and_what_was_typed() -> None:
    choices = {"lipschitz": "gradient_penalty", "optimizer@critic.optimizer": "adam"}
    always = {
        "lipschitz": "gradient_penalty", "critic.optimizer": "adam", "steps": 100, "seed": 3, "batch_size": 8,
        "critic.optimizer.lr": 0.1,
    }  # fmt: skip
    assert varied(CONFIG, choices, []) == always
    assert varied(CONFIG, choices, ["log_every", "critic.optimizer.betas", "lipschitz"]) == {
        **always, "critic.optimizer.betas": "[0.5, 0.9]", "lipschitz.weight": 10.0
    }  # fmt: skip


def test_a_flat_configuration_has_neither_classes_nor_nulls() -> None:
    assert flatten({"critic": CONFIG["critic"]}) == {"critic.optimizer.lr": 0.1, "critic.optimizer.betas": "[0.5, 0.9]"}


def test_what_is_housekeeping_is_one_list_for_hparams_studies_and_names() -> None:
    config = {"seed": 3, "horizon": 50} | {key: [1] for key in HOUSEKEEPING}
    assert varied(config, {}, [f"{key}=1" for key in HOUSEKEEPING]) == {"seed": 3, "horizon": 50}
    assert not any(map(counts, (*HOUSEKEEPING, "seed", "logger.path"))) and counts("callbacks.stop.patience")
    assert changes([f"{key}=1" for key in HOUSEKEEPING]) == []
