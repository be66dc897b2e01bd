"""Calls that go straight to the compiled graph: the same numbers, and the ordinary way wherever they could differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from rlgan.optim.compiled.direct import Direct
from rlgan.optim.compiled.graph import one_graph

State = dict[str, Tensor]


class Counted:
    """A compiled function, and how often it was called the ordinary way."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.compiled = torch.compile(function, fullgraph=True, dynamic=False)
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        return self.compiled(*args)


def move(state: State, batch: tuple[Tensor, Tensor], draws: list[Tensor | None]) -> dict[str, Tensor]:
    x, y = batch
    noise = 0.0 if draws[0] is None else draws[0]
    error = (x @ state["w"] - y).square().mean()
    with torch.no_grad():
        state["w"].copy_(state["w"] - 0.1 * x.mT @ (x @ state["w"] - y) / len(x) + noise)
    return {"loss": error, "norm": state["w"].norm()}


def batch(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, generator=g), torch.randn(rows, 1, generator=g)


def test_the_second_call_goes_to_the_graph_and_gives_the_same_bits() -> None:
    counted = Counted(move)
    direct = Direct(counted)
    ours, ordinary = {"w": torch.zeros(3, 1)}, {"w": torch.zeros(3, 1)}
    for step in range(5):
        found, wanted = direct(ours, batch(8, step), [None]), counted.compiled(ordinary, batch(8, step), [None])
        assert found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in wanted)
        assert torch.equal(ours["w"], ordinary["w"]) and not found["loss"].requires_grad
        assert counted.calls == 1
    fresh = {"w": torch.ones(3, 1)}
    direct(fresh, batch(8, 0), [None])
    assert counted.calls == 1 and not torch.equal(fresh["w"], torch.ones(3, 1)), "other memory of equal shape"


def test_other_shapes_strides_and_structures_are_looked_up_anew() -> None:
    counted = Counted(move)
    direct = Direct(counted)
    state = {"w": torch.zeros(3, 1)}
    x, y = batch(8, 0)
    calls: list[tuple[tuple[Tensor, Tensor], list[Tensor | None]]] = [
        ((x, y), [None]),
        (batch(5, 0), [None]),
        ((x.mT.contiguous().mT, y), [None]),
        ((x, y), [torch.full((3, 1), 0.5)]),
    ]
    for count, (given, draws) in enumerate(calls, start=1):
        for _ in range(2):
            before = state["w"].clone()
            plain = {"w": before.clone()}
            wanted = move(plain, given, draws)
            found = direct(state, given, draws)
            torch.testing.assert_close(found, wanted)
            torch.testing.assert_close(state["w"], plain["w"])
        assert counted.calls == count


@pytest.mark.parametrize(
    "function",
    [lambda state, x, y: {"sum": x + y}, lambda state, x, y: {"given": x}, lambda state, x, y: (x + y,)],
    ids=["a tensor twice", "an argument returned", "no dictionary returned"],
)
def test_what_is_not_plain_is_called_the_ordinary_way(function: Callable[..., Any]) -> None:
    counted = Counted(function)
    direct = Direct(counted)
    for step in range(3):
        x = torch.full((4,), float(step))
        torch.testing.assert_close(direct({}, x, x), function({}, x, x))
    assert counted.calls == 3


def test_equal_leaves_in_other_places_are_another_call() -> None:
    run = one_graph(lambda d: {"r": sum(d["a"]) - sum(d["b"])}, torch.device("cpu"))
    one, two, three = (torch.tensor(float(k)) for k in (1, 2, 3))
    assert float(run({"a": [one], "b": [two, three]})["r"]) == -4
    assert float(run({"a": [one, two], "b": [three]})["r"]) == 0


def test_a_tensor_given_twice_at_first_is_not_taken_for_two() -> None:
    run = one_graph(lambda x, y: {"y": x * 10 + y}, torch.device("cpu"))
    one, five = torch.tensor(1.0), torch.tensor(5.0)
    assert [float(run(x, y)["y"]) for x, y in ((one, one), (one, five), (one, one))] == [11, 15, 11]


def test_what_is_written_to_an_object_is_written_at_every_call() -> None:
    class Kept:
        last = torch.tensor(0.0)

    kept = Kept()

    def function(x: Tensor) -> dict[str, Tensor]:
        kept.last = x * 2
        return {"y": x + 1}

    run = one_graph(function, torch.device("cpu"))
    for value in (1.0, 5.0):
        run(torch.tensor(value))
        assert float(kept.last) == 2 * value


def test_an_object_that_does_not_say_what_it_holds_is_given_the_ordinary_way() -> None:
    @dataclass
    class Batch:
        x: Tensor

    counted = Counted(lambda batch: {"y": batch.x + 1})
    direct = Direct(counted)
    assert [float(direct(Batch(torch.tensor(v)))["y"]) for v in (1.0, 2.0)] == [2, 3] and counted.calls == 2
