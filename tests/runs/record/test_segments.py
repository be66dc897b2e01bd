"""Rows that checkpoints share: what is written, what is kept, and what a kill, damage or a forged manifest does."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgan.runs.record import segments as module
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.segments import SavedRing, Segment
from rlgan.task.errors import CheckpointError
from rlgan.task.ring import Ring
from tests.small import TASKS, checkpoint, differences, metrics, rlgan, train

WIDTH = 3


@pytest.fixture(autouse=True, scope="module")
def every_ring_has_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SMALLEST", 1)
        patch.setattr(os, "fsync", lambda _: None)  # no power is cut here
        yield


class Source:
    """A ring of random rows, one draw after another."""

    def __init__(self, capacity: int, dtype: torch.dtype = torch.float32) -> None:
        self.rows = torch.zeros(capacity, WIDTH, dtype=dtype)
        self.added = 0
        self._generator = torch.Generator().manual_seed(capacity)

    def add(self, count: int) -> Source:
        for _ in range(count):
            self.rows[self.added % len(self.rows)] = torch.randn(WIDTH, generator=self._generator)
            self.added += 1
        return self

    def state(self, **more: Any) -> dict[str, Any]:
        held = self.rows[: min(self.added, len(self.rows))]
        ring = Ring(capacity=len(self.rows), added=self.added, rows=held, **more)
        return {"task": {"replay": ring, "w": torch.full((4,), float(self.added))}, "latest": {}}

    def expected(self) -> dict[str, Any]:
        """What the checkpoint of now is read as."""
        state = self.state()
        state["task"]["replay"] = dict(state["task"]["replay"], rows=state["task"]["replay"]["rows"].clone())
        return state

    def resume(self, state: dict[str, Any]) -> None:
        ring = state["task"]["replay"]
        self.added = ring["added"]
        self.rows[: len(ring["rows"])] = ring["rows"]


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def files(path: Path) -> set[str]:
    return {file.name for file in path.glob("rows_*")}


def assert_all_is_named(path: Path) -> None:
    """Each file belongs to a checkpoint, and none of them was left behind."""
    manifests = Checkpoints(path).manifests()
    assert Checkpoints(path).lost() == ([], [])
    steps = {item.file for item in manifests}
    named = {name for item in manifests for name in item.segments}
    assert {file.name for file in path.iterdir()} == named | steps | {step.replace(".pt", ".json") for step in steps}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 90), st.booleans()), min_size=1, max_size=14))
def test_what_is_read_is_what_was_saved_however_far_the_ring_went(
    tmp_path_factory: pytest.TempPathFactory, capacity: int, saves: list[tuple[int, bool]]
) -> None:
    """Fewer, as many and more rows than the capacity between two saves; resumed between any two of them."""
    path, source = tmp_path_factory.mktemp("ring"), Source(capacity)
    store, states = Checkpoints(path, best=("return", "max")), {}
    for step, (count, resumed) in enumerate(saves, start=1):
        source.add(count)
        store.save(step, source.state(), {"return": float(-abs(step - 3))}, {})
        states[step] = source.expected()
        for manifest in store.manifests():
            assert differences(store.read(manifest).state, states[manifest.step]) == []
        assert_all_is_named(path)
        if resumed:
            # From the one before the last, where there is one: what came after is dropped.
            back, store = store.manifests()[-2:][0].step, Checkpoints(path, best=("return", "max"))
            source.resume(store.choose(str(back)).state)
            store.discard_after(back)
            assert [item.step for item in store.manifests()][-1] == back


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_rows_of_any_dtype_come_back_to_the_last_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    source, store = Source(10, dtype), Checkpoints(tmp_path)
    for step in (1, 2, 3):
        store.save(step, source.add(7).state(), {}, {})
    newest = store.newest()
    assert newest is not None and newest.state["task"]["replay"]["rows"].dtype == dtype
    assert torch.equal(newest.state["task"]["replay"]["rows"], source.rows)


def test_a_save_writes_what_is_new_and_the_first_one_after_a_resume_does_too(tmp_path: Path) -> None:
    source, store = Source(5000).add(4000), Checkpoints(tmp_path)
    written = [set[str]()]

    def save(step: int) -> list[str]:
        store.save(step, source.state(), {}, {})
        new = files(tmp_path) - written[0]
        written[0] = files(tmp_path)
        return [name.rpartition("_")[0] for name in sorted(new)]

    assert save(1) == ["rows_0_4000"] and (tmp_path / "step_000000001.pt").stat().st_size < 4000
    source.add(10)
    assert save(2) == ["rows_4000_4010"]
    assert save(3) == []
    store = Checkpoints(tmp_path)
    store.discard_after(3)
    source.add(1000)
    assert save(4) == ["rows_4010_5010"]
    # 4000 rows are too many to stay for the sake of 10: but whole files only are dropped.
    source.add(3995)
    assert save(5) == ["rows_5010_9005"] and len(store.manifests()[-1].rings[0].segments) == 3
    # Without a word on where the run goes on, nothing is taken for the beginning of these rows.
    store = Checkpoints(tmp_path)
    assert save(6) == ["rows_4005_9005"]


def test_a_small_ring_stays_in_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, store = Source(1000), Checkpoints(tmp_path)
    monkeypatch.setattr(module, "SMALLEST", 1000 * WIDTH * 4)
    store.save(1, source.add(999).state(), {}, {})
    assert not files(tmp_path) and store.manifests()[0].rings == []
    store.save(2, source.add(1).state(), {}, {})
    assert len(files(tmp_path)) == 1
    newest = store.newest()
    assert newest is not None and differences(newest.state, source.expected()) == []


@pytest.mark.parametrize("capacity", [3000, 1200])
def test_segments_become_few_and_rows_are_not_written_again_and_again(tmp_path: Path, capacity: int) -> None:
    source, store, written, most = Source(capacity), Checkpoints(tmp_path), 0, 0
    for step in range(1, 300):
        before = files(tmp_path)
        store.save(step, source.add(20).state(), {}, {})
        written += sum((tmp_path / name).stat().st_size for name in files(tmp_path) - before)
        segments = store.manifests()[-1].rings[0].segments
        assert all(segment.end - segment.first <= capacity for segment in segments)
        most = max(most, len(segments))
        assert len(files(tmp_path)) < 40
    assert most < 24 and written < 4 * source.added * WIDTH * 4
    newest = store.newest()
    assert newest is not None and differences(newest.state, source.expected()) == []


def test_a_kill_before_any_file_operation_leaves_sound_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, source, states, seen = tmp_path / "run", Source(40), dict[int, dict[str, Any]](), list[tuple[Path, int]]()

    def seeing(original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **more: Any) -> Any:
            if path.is_dir():
                seen.append((tmp_path / f"killed_{len(seen)}", max(states, default=0)))
                shutil.copytree(path, seen[-1][0])
            return original(*arguments, **more)

        return operation

    store = Checkpoints(path, keep_last=1, best=("return", "max"))
    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "fsync"):
            patch.setattr(os, name, seeing(getattr(os, name)))
        # Eight saves of a like length become one; the ring wraps around; the last one leaps over all of it.
        for step, count in enumerate([6, *[5] * 12, 100], start=1):
            source.add(count)
            now = {**states, step: source.expected()}
            store.save(step, source.state(), {"return": float(step % 5)}, {})
            states = now
            if step == 9:
                store.discard_after(step)
    assert len(seen) > 14 * 9
    for killed, done in seen:
        again = Checkpoints(killed, keep_last=1, best=("return", "max"), say=lambda _: None)
        again.clean()
        # The one that was under way, or the last one that was done; all that have a manifest are sound.
        steps = [item.step for item in again.manifests()]
        assert max(steps, default=0) in (done, done + 1)
        for item in again.manifests():
            assert differences(again.read(item).state, now[item.step]) == []
        if steps:
            fresh, last = Source(40), steps[-1]
            fresh.resume(again.choose(str(last)).state)
            again.discard_after(last)
            again.save(last + 1, fresh.add(3).state(), {}, {})
            newest = again.newest()
            assert newest is not None and differences(newest.state, fresh.expected()) == []
            assert_all_is_named(killed)


def test_all_is_on_the_disk_before_anything_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut loses what was not fsynced: contents before their renames, these before removals."""
    source, store = Source(50), Checkpoints(tmp_path, keep_last=1)
    store.save(1, source.add(20).state(), {}, {})
    said = list[str]()
    replace, unlink, sync = os.replace, os.unlink, os.fsync

    def seen_replace(staged: Path, path: Path) -> None:
        said.append(f"rename {Path(path).suffix}")
        replace(staged, path)

    def seen_unlink(path: Path) -> None:
        if Path(path).exists():
            said.append(f"remove {Path(path).suffix}")
        unlink(path)

    def seen_sync(descriptor: int) -> None:
        said.append("sync folder" if is_folder(descriptor) else "sync")
        sync(descriptor)

    for name, operation in (("replace", seen_replace), ("unlink", seen_unlink), ("fsync", seen_sync)):
        monkeypatch.setattr(os, name, operation)
    # The segment of the first save is merged, or left behind: here the ring has gone around.
    store.save(2, source.add(60).state(), {}, {})
    written = ["sync", "rename .bin", "sync", "rename .pt", "sync", "rename .json", "sync folder"]
    assert said == [*written, "rename .gone", "remove .pt", "remove .gone", "remove .bin"]


def spoil(file: Path, damage: str) -> None:
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "flipped":
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
    else:
        file.write_bytes(content[:-1] if damage == "cut short" else content + b"x")


@pytest.mark.parametrize("damage", ["flipped", "cut short", "longer", "gone"])
def test_a_damaged_segment_spoils_the_checkpoints_that_use_it_and_no_others(tmp_path: Path, damage: str) -> None:
    source, store = Source(100), Checkpoints(tmp_path / "run", keep_last=9)
    states = {}
    for step, count in enumerate((9, 5, 80, 30, 90), start=1):
        store.save(step, source.add(count).state(), {}, {})
        states[step] = source.expected()
    used = {item.step: item.segments for item in store.manifests()}
    assert len(files(tmp_path / "run")) == 5 and used[1] <= used[2] <= used[3] and not used[1] & used[5]
    for name in files(tmp_path / "run"):
        hurt = Checkpoints(shutil.copytree(tmp_path / "run", tmp_path / name))
        file = tmp_path / name / name
        spoil(file, damage)
        for item in hurt.manifests():
            if name in used[item.step]:
                with pytest.raises(CheckpointError, match=rf"{name}: is (damaged|missing)"):
                    hurt.read(item)
            else:
                assert differences(hurt.read(item).state, states[item.step]) == []
    said: list[str] = []
    for name in used[5]:
        (tmp_path / "run" / name).write_bytes(b"")
    store = Checkpoints(tmp_path / "run", keep_last=9, say=said.append)
    newest = store.newest()
    assert newest is not None and newest.manifest.step == 4 - len(used[4] & used[5]) and "going back" in said[0]


def test_a_segment_that_went_away_or_shrank_is_not_built_upon(tmp_path: Path) -> None:
    for damage in ("gone", "cut short"):
        path, source = tmp_path / damage, Source(100).add(50)
        store = Checkpoints(path, say=lambda _: None)
        store.save(1, source.state(), {}, {})
        spoil(next(path.glob("rows_*")), damage)
        store.save(2, source.add(5).state(), {}, {})
        newest = store.newest()
        assert newest is not None and newest.manifest.step == 2
        assert differences(newest.state, source.expected()) == []


@pytest.mark.parametrize("other", ["fewer added", "another capacity", "another width"])
def test_another_ring_under_the_same_keys_is_written_whole(tmp_path: Path, other: str) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, Source(50).add(45).state(), {}, {})
    source = Source(60 if other == "another capacity" else 50).add(30 if other == "fewer added" else 50)
    if other == "another width":
        source.rows = source.rows[:, :2].contiguous()
    store.save(2, source.state(), {}, {})
    newest = store.newest()
    assert newest is not None and newest.manifest.step == 2 and differences(newest.state, source.expected()) == []


def test_a_folder_that_was_copied_is_as_good(tmp_path: Path) -> None:
    source, store = Source(50), Checkpoints(tmp_path / "here")
    for step in (1, 2):
        store.save(step, source.add(30).state(), {}, {})
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    store = Checkpoints(tmp_path / "there")
    newest = store.newest()
    assert newest is not None and differences(newest.state, source.expected()) == []


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_full_disk_leaves_nothing_new_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
    """At the segment, at the checkpoint, at the manifest."""
    source, store = Source(50), Checkpoints(tmp_path, say=lambda _: None)
    store.save(1, source.add(20).state(), {}, {})
    before, calls, sync = files(tmp_path), [0], os.fsync

    def full(descriptor: int) -> None:
        if not is_folder(descriptor):
            calls[0] += 1
            if calls[0] == fails:
                raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match="former checkpoint is intact"):
            store.save(2, source.add(20).state(), {}, {})
    assert calls[0] == fails and files(tmp_path) == before
    store.save(3, source.add(20).state(), {}, {})
    newest = store.newest()
    assert newest is not None and differences(newest.state, source.expected()) == []


GOOD = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "change",
    [
        {"segments": [{"first": 0, "end": 9, "sha256": "../../../etc/passwd".ljust(64, "x")}]},
        {"segments": [{"first": "../", "end": 9, "sha256": GOOD}]},
        {"segments": [{"first": 9, "end": 0, "sha256": GOOD}]},
        {"segments": [{"first": 0, "end": 9, "sha256": GOOD + "\n"}]},
        {"segments": [{"first": 0, "end": 9, "sha256": GOOD, "file": "/etc/passwd"}]},
        {"segments": [{"first": 0, "end": 9, "sha256": GOOD}, {"first": 10, "end": 12, "sha256": GOOD}]},
        {"segments": [{"first": 5, "end": 9, "sha256": GOOD}]},
        {"segments": []},
        {"segments": 3},
        {"capacity": "50"},
        {"capacity": 0},
        {"keys": 3},
    ],
)
def test_a_manifest_of_something_else_is_passed_over(tmp_path: Path, change: dict[str, Any]) -> None:
    source, said = Source(50), list[str]()
    store = Checkpoints(tmp_path, say=said.append)
    for step in (1, 2):
        store.save(step, source.add(9).state(), {}, {})
    manifest = tmp_path / "step_000000002.json"
    record = json.loads(manifest.read_text())
    record["rings"][0] |= change
    manifest.write_text(json.dumps(record))
    newest = store.newest()
    assert newest is not None and newest.manifest.step == 1 and "step_000000002.json: cannot be read" in said[0]


def test_files_outside_of_the_folder_are_neither_read_nor_removed(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "run", keep_last=1, say=lambda _: None)
    store.save(1, {}, {}, {})
    (tmp_path / "step_000000001.pt").write_bytes(b"mine")
    manifest = tmp_path / "run" / "step_000000001.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"file": "../step_000000001.pt"}))
    assert store.newest() is None
    store.save(2, {}, {}, {})
    assert (tmp_path / "step_000000001.pt").read_bytes() == b"mine"


@pytest.mark.parametrize("keys", [["task", "nothing"], ["task", "replay", "added"], ["latest"]])
def test_keys_that_lead_to_no_ring_are_damage(tmp_path: Path, keys: list[str]) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, Source(50).add(9).state(), {}, {})
    manifest = tmp_path / "step_000000001.json"
    record = json.loads(manifest.read_text())
    record["rings"][0]["keys"] = keys
    manifest.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=rf"rows of {'.'.join(keys)} cannot be read"):
        store.read(store.manifests()[0])


def test_a_saved_ring_survives_json() -> None:
    saved = SavedRing(("task", "replay"), 7, (Segment(0, 5, GOOD), Segment(5, 9, GOOD[::-1])))
    assert SavedRing.parse(json.loads(json.dumps(asdict(saved)))) == saved


@pytest.mark.parametrize("replay", ["uniform", "prioritised"])
def test_a_run_that_goes_on_from_segments_is_the_run_that_was_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replay: str
) -> None:
    """Its ring wraps around between the saves; the checkpoint before the last one is damaged as well as whole."""
    monkeypatch.chdir(tmp_path)
    words = (*TASKS["ddpg"], f"replay={replay}", "compile=false", "capacity=75", "checkpoint_every=20")
    if replay == "prioritised":
        words = (*words, "replay.schedule.end=1")  # one that does not depend on how long the run is to be
    whole = train(*words, "steps=160", "run_dir=whole")
    train(*words, "steps=100", "run_dir=stopped")
    folder = Path("stopped/checkpoints")
    assert files(folder) and len(Checkpoints(folder).manifests()[-1].segments) > 1
    shutil.copytree("stopped", "hurt")
    newest = Checkpoints(Path("hurt/checkpoints")).manifests()[-1]
    last = Path("hurt/checkpoints") / newest.rings[0].segments[-1].file
    last.write_bytes(last.read_bytes()[:-4] + b"four")
    for run, at in (("stopped", 100), ("hurt", 80)):
        ended = rlgan(f"resume={run}", "steps=160")
        assert ended.code == 0 and f"resuming at step {at}\n" in ended.err, ended.err
        assert differences(checkpoint(Path(run), 160), checkpoint(whole, 160)) == []
        assert_all_is_named(Path(run) / "checkpoints")
    assert metrics(Path("hurt"))[-1] == metrics(whole)[-1]
    assert rlgan("evaluate", "stopped", "episodes=1").code == 0
