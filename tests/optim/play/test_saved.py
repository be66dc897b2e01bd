"""A player's saved state with one thing in it that is none: it is refused by name, and nothing is loaded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from rlgan.optim import EMA, Losses, Optimistic, Player, PlayerSpec, Update, adam, from_torch
from rlgan.optim.step.method import Method
from tests.small import differences

from .test_game import ONE, Scalar, bilinear  # isort: skip

GONE = object()


def make(method: Method) -> Update:
    spec = PlayerSpec(None, method, averaging=EMA(0.5))
    losses: Losses = bilinear("critic")
    update = Update([Player(name, Scalar(1.0), spec) for name in ("critic", "generator")], losses, Optimistic())
    for _ in range(2):
        update([ONE])
    return update


OWN: list[tuple[tuple[str, ...], Any, str]] = [
    (("steps",), "x", r"^generator = a state with steps = 'x': a number of steps"),
    (("steps",), -1, r"^generator = a state with steps = -1"),
    (("began",), None, r"^generator = a state with began = None"),
    (("slots",), None, r"^generator = saved with slots None, configured with \['mean', 'mean_square'\]"),
    (("slots", "mean"), None, r"^generator = None: this network needs \(1,\), torch.float64"),
    (("slots", "mean"), 1.0, r"^generator = 1.0: this network needs"),
    (("average",), {}, r"^generator = saved with average \[\]"),
    (("theta",), torch.zeros(1).to_sparse(), r"^generator = vector of shape \(1,\)"),
    (("theta",), torch.zeros(7), r"^generator = vector of shape \(7,\)"),
]
TORCHS: list[tuple[tuple[Any, ...], Any, str]] = [
    (("engine",), None, r"^optimizer = torch.optim.AdamW: the state was saved with None"),
    (("engine", "state"), GONE, r"^optimizer = torch.optim.AdamW: cannot go on from the saved state \(KeyError"),
    (("engine", "state"), {"state": {}, "param_groups": []}, "different number of parameter groups"),
    (("engine", "state", "state", 0, "exp_avg"), torch.zeros(7), r"cannot go on from the saved state \(RuntimeError"),
    (("engine", "state", "state", 0, "exp_avg"), GONE, r"cannot go on from the saved state \(KeyError: 'exp_avg'\)"),
]


@pytest.mark.parametrize(
    ("method", "path", "value", "says"),
    [(adam(), *row) for row in OWN] + [(from_torch("AdamW"), *row) for row in TORCHS],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_is_no_state_is_refused_by_name_and_none_of_it_is_loaded(
    method: Method, path: tuple[Any, ...], value: Any, says: str
) -> None:
    update = make(method)
    before = update.state_dict()
    damaged = copy.deepcopy(before)
    damaged["critic"]["theta"] += 5.0
    at = damaged["generator"]
    for key in path[:-1]:
        at = at[key]
    if value is GONE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    torch.manual_seed(3)
    with pytest.raises(ValueError, match=says):
        update.load_state_dict(damaged)
    drawn = torch.rand(())
    torch.manual_seed(3)
    assert torch.rand(()) == drawn
    assert differences(before, update.state_dict()) == []
    update([ONE])
