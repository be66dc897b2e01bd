"""Checkpoints: what may be in them, what they weigh, which are kept, and what a full disk does."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlgan.runs.record import checkpoint as module
from rlgan.runs.record import payload
from rlgan.runs.record.checkpoint import Checkpoints, storable
from rlgan.task.errors import CheckpointError
from rlgan.task.seeding import Generators


def steps(path: Path) -> list[int]:
    return sorted(int(file.stem.removeprefix("step_")) for file in path.glob("*.pt"))


def test_round_trip_with_weights_only(tmp_path: Path) -> None:
    generators = Generators(7)
    generators.numpy("y").normal()
    state: dict[str, Any] = {
        "a": torch.arange(6.0),
        "n": {"x": [1, 2.5, "s", None, True], 3: (1, 2)},
        "rng": generators.state_dict(),
    }
    store = Checkpoints(tmp_path)
    store.save(5, state, {"return/eval": 1.0}, {"torch": "x"})
    back = store.newest()
    assert back is not None and back.manifest.step == 5 and back.manifest.metrics == {"return/eval": 1.0}
    assert torch.equal(back.state["a"], state["a"]) and back.state["n"] == state["n"]
    other = Generators(7)
    other.load_state_dict(back.state["rng"])
    assert other.numpy("y").normal(size=5).tolist() == generators.numpy("y").normal(size=5).tolist()


def test_a_view_is_cloned_so_that_its_storage_stays_behind(tmp_path: Path) -> None:
    whole = torch.zeros(1_000_000)
    path = Checkpoints(tmp_path).save(1, {"view": whole[:10], "parameter": torch.nn.Parameter(whole[10:20])}, {}, {})
    assert path.stat().st_size < 10_000
    assert type(torch.load(path, weights_only=True)["parameter"]) is torch.Tensor


@pytest.mark.parametrize("value", [np.zeros(2), Path("x"), {1, 2}, object()])
def test_what_weights_only_would_refuse_is_refused_at_once_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^state\.replay\[1\] is a "):
        storable({"replay": [1, value]})


def test_numpy_scalars_become_plain() -> None:
    assert type(storable({"x": np.float64(2.0)})["x"]) is float


def test_last_n_and_best_are_kept_and_best_is_remembered(tmp_path: Path) -> None:
    for step, value in [(10, 3.0), (20, 9.0), (30, 5.0), (40, 6.0), (50, 9.0)]:
        Checkpoints(tmp_path, keep_last=2, best=("return/eval", "max")).save(step, {}, {"return/eval": value}, {})
    assert steps(tmp_path) == [20, 40, 50]
    store = Checkpoints(tmp_path, keep_last=2, best=("return/eval", "max"))
    best = store.best()
    assert best is not None and best.step == 20
    assert not store.would_be_best({"return/eval": 9.0}) and store.would_be_best({"return/eval": 9.5})
    assert store.choose("best").manifest.step == 20 and store.choose("last").manifest.step == 50
    with pytest.raises(CheckpointError, match="20, 40, 50"):
        store.choose("30")


def test_smaller_is_better_where_the_task_says_so(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep_last=1, best=("wasserstein/primal", "min"))
    for step, value in [(1, 0.5), (2, 0.1), (3, 0.2), (4, float("nan"))]:
        store.save(step, {}, {"wasserstein/primal": value}, {})
    assert steps(tmp_path) == [2, 4]


@pytest.mark.parametrize("place", ["payload", "rename", "manifest"])
def test_a_full_disk_leaves_the_former_checkpoint_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    store = Checkpoints(tmp_path, keep_last=1)
    store.save(1, {"x": torch.ones(3)}, {}, {})

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if place == "payload":
            patch.setattr(payload.Hashing, "write", full)
        elif place == "rename":
            patch.setattr("os.replace", full)
        else:
            patch.setattr(module, "write_json", full)
        with pytest.raises(CheckpointError, match="former checkpoint is intact"):
            store.save(2, {"x": torch.zeros(3)}, {}, {})
    assert not list(tmp_path.glob("*.tmp"))
    store = Checkpoints(tmp_path)
    store.clean()
    newest = store.newest()
    assert newest is not None and newest.manifest.step == 1 and torch.equal(newest.state["x"], torch.ones(3))
    assert store.lost() == (["step_000000002.pt"] * (place == "manifest"), [])


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, say=lambda _: None)
    store.save(1, {}, {}, {})
    (tmp_path / "step_000000002.pt.99.tmp").write_bytes(b"half")
    (tmp_path / "step_000000002.pt").write_bytes(b"whole, but its manifest was never written")
    store.clean()
    assert not list(tmp_path.glob("*.tmp")) and store.lost() == (["step_000000002.pt"], [])
    store.discard_after(1)
    assert steps(tmp_path) == [1, 2]
    store.save(3, {}, {}, {})
    assert steps(tmp_path) == [1, 3] and store.lost() == ([], [])


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    path = store.save(1, {}, {}, {})
    torch.save({"x": Path("anything that is not plain")}, path)
    manifest = json.loads(path.with_suffix(".json").read_text())
    import hashlib

    manifest |= {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(manifest))
    said: list[str] = []
    with pytest.raises(CheckpointError, match="no checkpoint is sound"):
        Checkpoints(tmp_path, say=said.append).newest()
    assert "names pathlib Path, which no checkpoint does" in said[0] or "names pathlib" in said[0]


def test_every_single_flipped_byte_region_is_noticed(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    path = store.save(1, {"x": torch.arange(50.0)}, {}, {})
    manifest = store.manifests()[0]
    content = path.read_bytes()
    for position in range(0, len(content), 97):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :])
        with pytest.raises(CheckpointError, match="damaged"):
            store.read(manifest)
