"""Functions as compiled libraries: the same numbers, for every shape its own, made by another process and kept."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlgan.optim.compiled import package as module
from rlgan.optim.compiled.package import Packaged, build, repeated

State = dict[str, Tensor]
HERE = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own for the libraries; what was measured on this machine is still known."""
    monkeypatch.setattr(module, "cache_folder", lambda name: tmp_path)
    return tmp_path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Libraries are made by this process; the arguments of each are noted."""
    made: list[Any] = []

    def noted(*what: Any) -> Any:
        made.append(what)
        return build(*what)

    monkeypatch.setattr(module, "build", noted)
    monkeypatch.setattr(Packaged, "_by_child", lambda self, what: None)
    return made


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


def test_it_computes_and_writes_what_the_function_does(here: list[Any]) -> None:
    run = Packaged(move)
    ours, plain = {"w": torch.zeros(3, 1)}, {"w": torch.zeros(3, 1)}
    for step in range(4):
        found, wanted = run(ours, batch(8, step), [None]), move(plain, batch(8, step), [None])
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(ours, plain)
        assert not found["loss"].requires_grad
    fresh = {"w": torch.ones(3, 1)}
    run(fresh, batch(8, 0), [None])
    assert not torch.equal(fresh["w"], torch.ones(3, 1)), "other memory of equal shape"
    assert len(here) == 1


def test_other_shapes_strides_and_structures_have_libraries_of_their_own(here: list[Any]) -> None:
    run = Packaged(move)
    state = {"w": torch.zeros(3, 1)}
    x, y = batch(8, 0)
    calls: list[tuple[tuple[Tensor, Tensor], list[Tensor | None]]] = [
        ((x, y), [None]),
        ((x.mT.contiguous().mT, y), [None]),
        ((x, y), [torch.full((3, 1), 0.5)]),
    ]
    for _ in range(2):
        for given, draws in calls:
            plain = {"w": state["w"].clone()}
            wanted, found = move(plain, given, draws), run(state, given, draws)
            torch.testing.assert_close(found, wanted)
            torch.testing.assert_close(state, plain)
    assert len(here) == len(calls)


def test_a_tensor_given_twice_is_not_taken_for_two(here: list[Any]) -> None:
    run = Packaged(lambda x, y: {"y": x * 10 + y})
    one, five = torch.tensor(1.0), torch.tensor(5.0)
    assert [float(run(x, y)["y"]) for x, y in ((one, one), (one, five), (one, one), (five, one))] == [11, 15, 11, 51]
    assert repeated([one, five, one]) == (0, 1, 0)

    def grow(d: State, x: Tensor) -> dict[str, Tensor]:
        d["a"].add_(1.0)
        return {"sum": d["a"] + x}

    both = torch.tensor(1.0)
    assert float(Packaged(grow)({"a": both}, both)["sum"]) == 4 and float(both) == 2


def test_equal_leaves_in_other_places_are_another_call(here: list[Any]) -> None:
    run = Packaged(lambda d: {"r": sum(d["a"]) - sum(d["b"])})
    one, two, three = (torch.tensor(float(k)) for k in (1, 2, 3))
    assert float(run({"a": [one], "b": [two, three]})["r"]) == -4
    assert float(run({"a": [one, two], "b": [three]})["r"]) == 0


def test_what_cannot_be_compiled_is_refused(here: list[Any]) -> None:
    @dataclass
    class Batch:
        x: Tensor

    with pytest.raises(TypeError, match="named tuples, dicts and lists"):
        Packaged(lambda batch: {"y": batch.x + 1})(Batch(torch.ones(2)))
    x = torch.ones(4)
    with pytest.raises(ValueError, match="a tensor and a view of it"):
        Packaged(lambda x, y: {"y": x + y})(x, x[:])


@pytest.mark.slow
def test_a_library_is_kept_under_what_it_computes(here: list[Any], folder: Path) -> None:
    """Another number in the function, another constant or another number of threads is another library."""

    def files() -> int:
        return len(list(folder.glob("*.pt2")))

    def adding(number: float, constant: Tensor) -> Callable[[Tensor], dict[str, Tensor]]:
        return lambda x: {"y": x + number + constant}

    x, c = torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])
    for number, constant, count in ((1.0, c, 1), (1.0, c.clone(), 1), (2.0, c, 2), (1.0, -c, 3)):
        found = Packaged(adding(number, constant))(x)["y"]
        assert torch.equal(found, number + constant) and files() == count
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        Packaged(adding(1.0, c))(x)
    finally:
        torch.set_num_threads(threads)
    assert files() == 4


def test_the_compiler_is_loaded_by_another_process_alone(tmp_path: Path) -> None:
    """Functions of the main program and lambdas are sent as well."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, torch\n"
        "from rlgan.optim.compiled.package import Packaged\n"
        "own = lambda x: {'y': 2 * x}\n"
        "print(Packaged(lambda x: {'y': own(x)['y'] + 1})(torch.ones(2))['y'].tolist())\n"
        "print(sorted(name for name in ('torch._inductor', 'torch._dynamo', 'sympy') if name in sys.modules))\n"
    )
    words = [sys.executable, str(program)]
    ended = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines() == ["[3.0, 3.0]", "[]"], ended.stderr


def test_what_cannot_be_sent_is_compiled_here(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        factor = 3.0

        def __reduce__(self) -> Any:
            raise pickle.PicklingError("no")

    closed = Closed()
    by_child = Packaged._by_child
    found: list[Any] = []

    def noted(self: Packaged, what: Any) -> Any:
        found.append(by_child(self, what))
        return found[-1]

    monkeypatch.setattr(Packaged, "_by_child", noted)
    assert float(Packaged(lambda x: {"y": x * closed.factor})(torch.tensor(2.0))["y"]) == 6 and found == [None]


def test_a_damaged_library_is_made_anew(here: list[Any], folder: Path) -> None:
    Packaged(repeating)(torch.ones(1))
    (file,) = folder.glob("*.pt2")
    file.write_bytes(file.read_bytes()[:1000])
    assert float(Packaged(repeating)(torch.ones(1))["y"]) == 2 and len(here) == 3


def test_it_is_pickled_without_what_was_loaded(here: list[Any]) -> None:
    run = Packaged(repeating)
    run(torch.ones(1))
    again = pickle.loads(pickle.dumps(run))
    assert float(again(torch.ones(1))["y"]) == 2 and len(here) == 2


def repeating(x: Tensor) -> dict[str, Tensor]:
    return {"y": x + x}
