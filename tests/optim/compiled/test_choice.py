"""compile=auto: timed moves, a verdict that equal runs share, and what earlier runs found out about compiling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import Losses, Nets, PlayerSpec, Simultaneous, TwoPlayers, adam, from_torch
from rlgan.optim.compiled import choice as module
from rlgan.optim.compiled.choice import FEWEST, TRIAL, Choice
from rlgan.optim.compiled.kept import kept, known

CPU = torch.device("cpu")
BATCH = [torch.zeros(8, 3)]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache directory of its own, a compiler, and a small operator of 1 us: a compilation takes 25 s."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/c++")
    monkeypatch.setattr(module, "_operator", lambda: 1e-6)
    return tmp_path / "rlgan"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A clock that stands unless `now` is written."""
    time = {"now": 0.0}
    monkeypatch.setattr(module.time, "perf_counter", lambda: time["now"])
    return time


def ran(chosen: Choice, clock: dict[str, float], seconds: float, moves: int = TRIAL, made: int = 0) -> Choice:
    """The choice after so many moves."""

    def move() -> str:
        clock["now"] += seconds
        return "report"

    for i in range(moves):
        if chosen.timing:
            assert chosen.time(move, made + i, BATCH) == "report"
    return chosen


def auto(moves: int, **given: Any) -> Choice:
    return Choice("auto", moves, CPU, **{"what": "an update", **given})


def test_a_run_is_compiled_where_the_rest_is_worth_it(clock: dict[str, float]) -> None:
    """Small networks: a compiled move saves 0.6 of an eager one, and a compilation takes 25 s."""
    assert ran(auto(30_000), clock, 1e-3).compiled is False, "18 s saved"
    chosen = auto(50_000)
    assert chosen.open and "20 moves" in chosen.note
    ran(chosen, clock, 1e-3, TRIAL - 1)
    assert chosen.open
    ran(chosen, clock, 1e-3, 1, TRIAL - 1)
    assert (
        chosen.compiled is True
        and "50000 moves of 1 ms pay" in chosen.note
        and "30 s quicker, against 25 s" in chosen.note
    )
    assert ran(auto(50_000, what="a large one", parameters=200_000), clock, 1e-3).compiled is False, (
        "large networks save less of a move"
    )
    assert ran(auto(10_000, seeds=5), clock, 1e-3).compiled is True, "one graph serves all seeds"


def test_the_best_move_counts_and_not_the_first_which_is_slow(clock: dict[str, float]) -> None:
    chosen = auto(50_000)
    ran(chosen, clock, 1.0, 1)
    assert ran(chosen, clock, 1e-4, TRIAL - 1, 1).compiled is False


def test_equal_runs_share_the_verdict_whatever_the_clock_says(clock: dict[str, float], folder: Path) -> None:
    assert ran(auto(50_000), clock, 1e-3).compiled is True
    assert ran(auto(50_000), clock, 1e-6).compiled is True, "the same run, on an idle machine"
    assert ran(auto(50_000, what="another update"), clock, 1e-6).compiled is False
    (folder / "verdicts.json").write_text("no JSON")
    assert ran(auto(50_000), clock, 1e-6).compiled is False, "a damaged table is no table"


def test_a_resumed_run_goes_on_with_its_trial(clock: dict[str, float]) -> None:
    chosen = auto(50_000)
    assert ran(chosen, clock, 1e-3, 1, TRIAL - 2).open
    assert ran(chosen, clock, 1e-3, 1, TRIAL - 1).compiled is True


def test_what_a_compilation_took_here_counts_for_later_runs(clock: dict[str, float], folder: Path) -> None:
    """30 s and a move of 0.2 ms; once more, from the compiler's own cache, 5 s."""

    def compiled(first: float) -> None:
        chosen = Choice(True, 1, CPU, "an update")
        assert chosen.timing
        ran(chosen, clock, first, 1)
        ran(chosen, clock, 2e-4, TRIAL)
        assert not chosen.timing

    compiled(30.0)
    assert list(json.loads((folder / "updates.json").read_text()).values()) == [[30.0, None, pytest.approx(2e-4)]]
    chosen = ran(auto(20_000), clock, 1e-3)
    assert chosen.compiled is True and "16 s quicker, against 9 s" in chosen.why
    compiled(5.0)
    compiled(99.0)
    chosen = ran(auto(7_000), clock, 1e-3)
    assert chosen.compiled is True and "6 s quicker, against 5 s" in chosen.why
    chosen = ran(auto(30_000), clock, 1e-4)
    assert chosen.compiled is False and "3 s slower, and 5 s for compiling" in chosen.why
    assert ran(auto(20_000, what="another update"), clock, 1e-3).compiled is False


def test_the_last_eager_moves_of_seeds_do_not_count_as_compiled_ones(folder: Path) -> None:
    """The first seed decides for all; what follows in its round is eager, and a compilation did not take so little."""

    def loss(nets: Nets, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return nets.model(batch).square().mean(), {}

    def made() -> TwoPlayers:
        players, specs = {"model": nn.Linear(3, 1)}, {"model": PlayerSpec(None, adam(0.1))}
        losses, noise = Losses({"model": loss}), lambda name: torch.Generator()
        return TwoPlayers(players, specs, losses, Simultaneous(), moves=10**9, noise=noise, seeds=3)

    learners = [made() for _ in range(3)]
    stack = TwoPlayers.stacked(learners)
    for _ in range(TRIAL + 1):
        for learner in learners:
            learner.move(BATCH)
    assert learners[0].compiled and learners[0].choice.timing and not stack.compiled
    for _ in range(TRIAL):
        learners[1].move(BATCH)
    assert learners[0].choice.timing, "no compiled move has been made yet"
    assert not (folder / "updates.json").exists()


def test_what_needs_no_clock() -> None:
    assert Choice(True, 1, CPU).compiled is True and Choice(False, 10**9, CPU).compiled is False
    few = auto(FEWEST - 1)
    assert few.compiled is False and not few.timing and str(FEWEST - 1) in few.note
    assert auto(FEWEST // 2, seeds=2).open
    methods = (adam(), from_torch("NAdam", {"lr": 0.1}))
    other = auto(10**9, methods=methods)
    assert other.compiled is False and other.why == "torch.optim.NAdam(lr=0.1) cannot be compiled"
    assert Choice(False, 10**9, CPU, methods=methods).why == "as configured"


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert auto(10**9).compiled is False and "no C++ compiler" in auto(10**9).why
    with pytest.raises(ValueError, match="compile = true: no C\\+\\+ compiler found; install"):
        Choice(True, 1, CPU)


def test_addresses_do_not_make_a_run_another_one(clock: dict[str, float]) -> None:
    assert ran(auto(50_000, what="<Own at 0x7f01>"), clock, 1e-3).compiled is True
    assert ran(auto(50_000, what="<Own at 0x8e02>"), clock, 1e-6).compiled is True


def test_without_a_cache_directory_everything_is_found_out_anew(
    clock: dict[str, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert ran(auto(50_000), clock, 1e-3).compiled is True
    assert ran(auto(50_000), clock, 1e-6).compiled is False
    assert known("verdicts", "key") is None


def test_the_first_who_finds_something_out_is_believed() -> None:
    assert kept("table", "key", lambda: 1) == 1 and kept("table", "key", lambda: 2) == 1
    assert kept("table", "key", lambda: 3, lambda found: found > 1) == 3 and known("table", "key") == 3
    assert kept("table", "other", lambda: 4) == 4 and known("table", "key") == 3
