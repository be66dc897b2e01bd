"""The benchmarks compare like with like (each peer's numbers are ours, in double precision) and say what is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rlgan.optim import Update
from scripts.benchmarks import BENCHMARKS, ddpg, wgan
from scripts.benchmarks.harness import Figures, Options, Report, installed, measure
from scripts.benchmarks.peers import present
from scripts.benchmarks.plain_loop import PlainLoop
from scripts.benchmarks.profiling import group
from scripts.benchmarks.update import BY_DEFAULT, by_default
from tests.runs.config.test_conf import composed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def double() -> Iterator[None]:
    """Double precision, inside the test."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_help_names_every_benchmark_and_loads_nothing() -> None:
    code = (
        "import atexit, runpy, sys; sys.argv = ['benchmark.py', '--help'];"
        "atexit.register(lambda: print('loaded', 'torch' in sys.modules));"
        "runpy.run_path('scripts/benchmark.py', {}, '__main__')"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "loaded False" in told.stdout, told.stderr
    for name, line in BENCHMARKS.items():
        assert f"{name} " in told.stdout and line in told.stdout
        assert (ROOT / "scripts" / "benchmarks" / f"{name}.py").is_file()


def test_a_missing_peer_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    assert not present(report, "torch", "no-such-library") and present(report, "torch")
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and "no-such-library" in told and "[bench]" in told and len(report.notes) == 1
    assert installed("no-such-library") is None and installed("torch")


def test_ratios_are_taken_within_blocks() -> None:
    # The machine slows down threefold in the middle block: the ratio within each block is what stays.
    figures = Figures({"a": [2.0, 6.0, 2.0], "b": [1.0, 3.0, 0.5]})
    assert figures.ratio("a", "b") == 2 and figures.least("a", "b") == 2 and figures.median("a") == 2
    assert figures.over({"a": 2, "b": 1}).ratio("a", "b") == 1


def test_every_variant_takes_its_turns_in_order() -> None:
    calls: list[str] = []
    variants = {name: lambda name=name: calls.append(name) for name in "ab"}
    figures = measure(variants, Options(blocks=2), calls=2, warm_up=1)
    assert calls == [*"aabb", *"aabb" * 2]  # warm-up and the call that is timed for the length of a turn
    assert [len(own) for own in figures.seconds.values()] == [2, 2]


def test_a_mark_says_whether_it_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.mark("fast", 1.5, at_least=2)
    report.mark("small", 1.5, at_most=2)
    assert [row["met"] for row in report.marks] == ["False", "True"]
    assert capsys.readouterr().out.count("NOT MET") == 1


def test_the_plain_ddpg_update_is_ours(double: None) -> None:
    update = ddpg.our_update(16, compiled=False)
    start = ddpg.our_parameters(update)
    plain = ddpg.PlainUpdate(16, start)
    for k in range(5):
        batch = ddpg.transitions(32, seed=k)
        update([batch])
        plain(batch)
    assert ddpg.apart(plain.parameters(), ddpg.our_parameters(update), start) < 1e-10


def test_what_is_measured_as_the_default_is_the_default() -> None:
    config = composed("task=ddpg")[0]
    assert config["critic"]["network"]["norm"] == config["actor"]["network"]["norm"] == "layer"
    assert {key: config["agent"][key] for key in ddpg.DEFAULT} == ddpg.DEFAULT and config["agent"]["bounding"] == "tanh"
    calls = by_default(16, 32, Options(1))
    assert list(calls) == list(BY_DEFAULT.values())
    calls[BY_DEFAULT[False]]()


@pytest.mark.parametrize("flat", [False, True])
def test_the_jax_ddpg_update_is_ours(double: None, flat: bool) -> None:
    jax = pytest.importorskip("jax", reason="JAX comes with the extra [bench]")
    from scripts.benchmarks.jax_ddpg import JaxUpdate, to_jax

    update = ddpg.our_update(16, compiled=False)
    start = ddpg.our_parameters(update)
    jax.config.update("jax_enable_x64", True)
    try:
        theirs = JaxUpdate(start, flat)
        for k in range(5):
            batch = ddpg.transitions(32, seed=k)
            update([batch])
            theirs(to_jax(batch))
        assert ddpg.apart(ddpg.our_parameters(update), theirs.parameters(), start) < 1e-9
    finally:
        jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("kind", wgan.KINDS)
def test_the_usual_wgan_loops_are_ours(double: None, kind: str) -> None:
    loop, optimizer, game, lipschitz = wgan.KINDS[kind]
    updates: list[Update] = [wgan.ours((16, 16), game, lipschitz, False, joint=joint) for joint in (True, False)]
    start = wgan.our_parameters(updates[0])
    usual = loop((16, 16), optimizer, start, "cpu")
    for _ in range(3):
        batches = wgan.ring_batches(updates[0].batches, 32)
        usual(batches)
        for update in updates:
            update(batches)
    for update in updates:
        assert ddpg.apart(usual.parameters(), wgan.our_parameters(update), start) < 1e-9
    radius = max(float(p.detach().abs().max()) for p in usual.critic.parameters())
    assert (radius <= wgan.RADIUS) == (kind != "gradient penalty")


def test_the_plain_loop_stores_true_successors() -> None:
    loop = PlainLoop(8, batch_size=4, learning_starts=390, capacity=1_000)
    for _ in range(401):  # two episodes of 200 steps and a step
        loop.step()
    following = (loop.next_observations[:400] == loop.observations[1:401]).all((1, 2))
    assert sorted(set(range(400)) - set(following.nonzero()[0])) == [199, 399]
    assert (abs(loop.actions[:401]) <= 1).all() and not loop.dones.any()


def test_groups_of_a_profile() -> None:
    names = (
        "aten::addmm",
        "aoti_torch_cpu_bmm_out",
        "graph_1_cpp_fused_add_0",
        "TorchDynamo Cache Lookup",
        "aten::copy_",
    )
    found = [group(name) for name in names]
    assert found[:3] == ["matrix products", "matrix products", "fused loops"]
    assert found[3:] == ["Python and launch", "other torch operators"]
