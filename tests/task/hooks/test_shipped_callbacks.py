"""Callbacks that end a run, called by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rlgan.task import EarlyStopping, TimeLimit
from rlgan.task.hooks import shipped


def begun(callback: EarlyStopping) -> EarlyStopping:
    callback.task = SimpleNamespace(best=("score", "max"), explained={"loss": ""})  # type: ignore[assignment]
    callback.on_start(0)
    return callback


@pytest.mark.parametrize(
    ("settings", "values", "stops_after"),
    [
        ({"patience": 2}, [1.0, 2.0, 1.5, 2.0], 4),  # as good is not better
        ({"patience": 2}, [1.0, 2.0, 1.5, 2.1, 0.0, 0.0], 6),
        ({"patience": 1, "direction": "min"}, [1.0, 0.5, 0.6], 3),
        ({"patience": 2, "min_delta": 0.5}, [1.0, 1.4, 1.5], 3),
        ({"patience": 2}, [1.0, None, None], 3),  # a value without a meaning is no better one
        ({"patience": 2, "metric": "loss"}, [3.0, 2.0, 1.0], None),  # less is better of another tag
    ],
)
def test_early_stopping(settings: dict[str, Any], values: list[float | None], stops_after: int | None) -> None:
    callback = begun(EarlyStopping(**settings))
    tag = settings.get("metric", "score")
    for i, value in enumerate(values):
        assert callback.ending is None, i
        callback.on_evaluation(i, {} if value is None else {tag: value})
    assert (callback.ending is not None) == (stops_after == len(values))
    if callback.ending is not None:
        assert callback.ending.finished and tag in callback.ending.reason


def test_early_stopping_goes_on_with_what_it_knew() -> None:
    former = begun(EarlyStopping(patience=2))
    for value in (1.0, 0.0, 0.0):
        former.on_evaluation(0, {"score": value})
    later = EarlyStopping(patience=2)
    later.load_state_dict(former.state_dict())
    assert begun(later).ending is not None
    patient = EarlyStopping(patience=3)
    patient.load_state_dict(former.state_dict())
    begun(patient).on_evaluation(0, {"score": 1.1})
    assert patient.ending is None and patient.best == 1.1


def test_a_tag_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"metric = return/evla: .* did you mean return/eval\?"):
        begun(EarlyStopping(metric="return/evla")).on_evaluation(0, {"return/eval": 1.0})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EarlyStopping(patience=0), "patience = 0"),
        (lambda: EarlyStopping(min_delta=-1.0), "min_delta = -1.0"),
        (lambda: TimeLimit(0.0), "max_minutes = 0.0"),
    ],
)
def test_impossible_settings(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_a_time_limit_counts_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(shipped.time, "monotonic", lambda: now[0])
    callback = TimeLimit(2)
    now[0] = 1000.0  # building networks takes none of it
    callback.on_start(0)
    now[0] += 119
    callback.on_step(1)
    assert callback.ending is None
    now[0] += 1
    callback.on_step(2)
    assert callback.ending is not None and not callback.ending.finished
