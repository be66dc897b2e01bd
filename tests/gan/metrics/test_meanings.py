"""Every metric is explained in one line, and stands under one heading."""

import pytest

from rlgan.gan import WGAN
from rlgan.rl.trainer import Trainer
from rlgan.runs.record.progress import Legend
from rlgan.task import Task


@pytest.mark.parametrize("task", [WGAN, Trainer])
def test_every_tag_has_a_short_line_and_one_heading(task: type[Task]) -> None:
    for tag, line in task.explained.items():
        assert 0 < len(line) <= 60 and "\n" not in line, tag
        assert sum(any(tag.startswith(beginning) for beginning in tags) for tags in task.groups.values()) == 1, tag
    assert set(task.headline) <= set(task.explained) and task.best[0] in task.explained


def test_measures_in_features_are_explained_for_every_extractor() -> None:
    legend = Legend.of(WGAN)
    for name in ("pixels", "digits_classifier", "inception"):
        for tag in ("images/frechet", "memorisation/ratio"):
            assert legend.meaning(f"{tag}_{name}") == f"{WGAN.explained[tag]} ({name})"
        assert list(legend.sections([f"memorisation/ratio_{name}"])) == ["copying"]
    assert legend.meaning("memorisation/membership_auc") == WGAN.explained["memorisation/membership_auc"]
