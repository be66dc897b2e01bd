"""Which products are quickest: read off figures that are measured once on a machine, whoever measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from rlgan.optim.compiled import quickest
from rlgan.optim.compiled.quickest import MOST, Figures, Quickest, by_onednn, measured, quickest_of_graph, size

SIZES = ("32", "64", "128")


def figures(error: float = 1e-7, **took: tuple[float, float, float]) -> Figures:
    """Of ways with times at three sizes, oneDNN's with this error."""
    errors = {"rounded": 2e-3, "onednn": error}
    return {
        way: {n: (us, errors.get(way, 1e-7)) for n, us in zip(SIZES, own, strict=True)} for way, own in took.items()
    }


LIBRARY = (2.0, 6.0, 40.0)
CASES: dict[str, tuple[Figures, Quickest]] = {
    "the kernel at any size, bfloat16 where it gains a quarter": (
        figures(library=LIBRARY, kernel=(1, 2, 17), rounded=(1.1, 1.6, 11)),
        Quickest(kernel=MOST, rounded=128),
    ),
    "the kernel for small ones, as with many threads": (
        figures(library=LIBRARY, kernel=(1, 7, 80), rounded=(1, 7, 70)),
        Quickest(kernel=32),
    ),
    "no compiler": (figures(library=LIBRARY) | {"kernel": {}, "rounded": {}}, Quickest()),
    "a kernel that computes something else": (
        figures(library=LIBRARY) | {"kernel": dict.fromkeys(SIZES, (1.0, 1e-2)), "rounded": {}},
        Quickest(),
    ),
    "oneDNN for large ones, in float32": (figures(library=LIBRARY, onednn=(13, 12, 26)), Quickest(onednn=128)),
    "oneDNN for large ones, in bfloat16": (
        figures(2e-3, library=LIBRARY, onednn=(1, 4, 8)),
        Quickest(onednn=32, exact=False),
    ),
}


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Figures], list[int]]]:
    """Has this machine's products measure as one says, and counts how often they are measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def are(found: Figures) -> list[int]:
        times: list[int] = []

        def measure(ways: object) -> Figures:
            times.append(1)
            return found

        monkeypatch.setattr(quickest, "measured", measure)
        quickest.measured_once.cache_clear()
        return times

    yield are
    quickest.measured_once.cache_clear()


@pytest.mark.parametrize("name", CASES)
def test_what_is_quickest_is_read_off_the_figures(name: str, count: Callable[[Figures], list[int]]) -> None:
    found, wanted = CASES[name]
    count(found)
    assert quickest_of_graph() == wanted


def test_it_is_measured_once_on_a_machine(count: Callable[[Figures], list[int]]) -> None:
    """A later process takes over what the first one found, though it would now find something else."""
    first, later = (CASES[name][0] for name in list(CASES)[:2])
    assert count(first) == [] and quickest_of_graph().kernel == MOST
    times = count(later)
    assert quickest_of_graph().kernel == MOST and not times


def test_words_tell_apart_what_computes_other_bits() -> None:
    one = Quickest(kernel=MOST, rounded=128, onednn=64, exact=False)
    words = [one.words(compiled, bfloat16) for compiled in (True, False) for bfloat16 in (False, True)]
    assert words == ["kernel", "kernel, bfloat16 from 128", "library", "oneDNN from 64"]
    assert Quickest().words(True, True) == Quickest().words(False, True) == "library"


def test_onednn_is_asked_for_in_a_block_only() -> None:
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    with pytest.raises(KeyError), by_onednn():
        assert matmul.fp32_precision == "bf16"
        raise KeyError
    assert matmul.fp32_precision == before


def test_what_is_measured_is_the_time_and_error_of_every_way_that_runs() -> None:
    def fails() -> quickest.Way:
        raise RuntimeError("no compiler")

    found = measured({"library": lambda: lambda a, b, out: torch.mm(a, b, out=out), "kernel": fails})
    assert found["kernel"] == {} and list(found["library"]) == [str(n) for n in quickest.SIZES]
    assert all(0 < us < math.inf and error < 1e-5 for us, error in found["library"].values())
    assert size(2, 4, 4, 2) == pytest.approx(4)
