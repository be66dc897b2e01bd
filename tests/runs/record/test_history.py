"""History is never erased by doubt: what is refused, what can be made again, and what a kill on the way leaves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.files import Lines
from tests.small import TASKS, Ended, checkpoint, differences, metrics, rlgan, status, summary, train

WORDS = (
    *TASKS["wgan"], "compile=false", "steps=24", "checkpoint_every=4", "keep_last=3", "log_every=2", "batch_size=8",
    "seed=3",
)  # fmt: skip
FIRST, SECOND, LAST = (f"step_{step:09d}" for step in (16, 20, 24))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three checkpoints."""
    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train(*WORDS, "run_dir=run")


@pytest.fixture
def run(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(sound, tmp_path / "run")).relative_to(tmp_path)


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "lock"}


def refused(run: Path, *words: str) -> Ended:
    before = contents(run)
    ended = rlgan(f"resume={run}", *words)
    assert ended.code == 2 and contents(run) == before, ended.err
    assert "Traceback" not in ended.err and str(run) in ended.err.splitlines()[-1]
    return ended


def assert_is_the_same(run: Path, whole: Path) -> None:
    assert metrics(run) == metrics(whole) and summary(run) == summary(whole)
    assert differences(checkpoint(run, 24), checkpoint(whole, 24)) == []
    assert not list(run.glob("metrics.jsonl.before")) and Checkpoints(run / "checkpoints").lost() == ([], [])


@pytest.mark.parametrize("damage", ["deleted", "cut", "binary"])
def test_without_any_manifest_nothing_is_touched_and_from_makes_one_again(run: Path, sound: Path, damage: str) -> None:
    for file in (run / "checkpoints").glob("*.json"):
        if damage == "deleted":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:30] if damage == "cut" else b"\xff\0\x80")
    ended = refused(run)
    assert f"{FIRST}." in ended.err and f"from={LAST} makes it again" in ended.err and "from=0 starts anew" in ended.err
    before = contents(run)
    ended = rlgan("evaluate", str(run))
    assert ended.code == 2 and f"from={LAST}" in ended.err and contents(run) == before
    # From the one before the last: the last one stays until a new one stands.
    ended = rlgan(f"resume={run}", f"from={SECOND}")
    assert ended.code == 0 and f"{SECOND}.json: made again" in ended.err and "resuming at step 20\n" in ended.err
    assert metrics(run) == metrics(sound) and differences(checkpoint(run, 24), checkpoint(sound, 24)) == []
    assert rlgan("evaluate", str(run), "checkpoint=last").code == 0


@pytest.mark.parametrize("word", ["16", "step_000000016", "step_000000016.pt"])
def test_going_back_on_purpose_is_the_run_from_there(run: Path, sound: Path, word: str) -> None:
    ended = rlgan(f"resume={run}", f"from={word}")
    assert ended.code == 0 and "resuming at step 16\n" in ended.err
    assert_is_the_same(run, sound)


def test_from_names_what_there_is(run: Path) -> None:
    assert "there are 16, 20, 24" in refused(run, "from=12").err
    ended = rlgan(f"resume={run}", "from=best")
    assert ended.code == 2 and ended.err == (
        "rlgan: from = best: name a checkpoint's step, for example from=1000, or 0 to start anew\n"
    )
    (run / "checkpoints" / f"{LAST}.pt").write_bytes(b"PK")
    assert f"{LAST}.pt: is damaged" in refused(run, "from=24").err


def test_from_0_starts_anew_and_keeps_the_curve(run: Path, sound: Path) -> None:
    before = (run / "metrics.jsonl").read_bytes()
    assert rlgan(f"resume={run}", "from=0").code == 0
    assert_is_the_same(run, sound)
    (kept,) = run.glob("metrics.jsonl.before-*")
    assert kept.read_bytes() == before


def test_a_run_without_checkpoints_that_says_it_had_some_is_refused(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    assert "holds no checkpoint, and status.json says that step 24 was saved" in refused(run).err
    (run / "status.json").write_text("{")
    assert "from=0" in refused(run).err
    (run / "status.json").unlink()
    assert "metrics.jsonl tells of steps" in refused(run).err
    (run / "checkpoints").mkdir()
    refused(run)
    old = {"state": "finished", "step": 24, "steps": 24}  # of a version that did not say what was saved
    (run / "status.json").write_text(json.dumps(old))
    assert "step 24 was saved" in refused(run).err
    assert rlgan(f"resume={run}", "from=0").code == 0


def test_a_run_that_failed_before_its_first_checkpoint_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    from rlgan.gan.wgan import WGAN

    def broken(self: Any) -> Any:
        if self.steps_done == 3:
            raise RuntimeError("a bug")
        return (yield from play(self))

    play = WGAN.play
    with monkeypatch.context() as patch:
        patch.setattr(WGAN, "play", broken)
        assert rlgan(*WORDS, "log_every=1", "run_dir=run").code == 1
    assert (status(Path("run"))["step"], status(Path("run"))["saved"]) == (3, 0) and len(metrics(Path("run"))) == 3
    ended = rlgan("resume=run")
    assert ended.code == 0, ended.err
    assert [line["step"] for line in metrics(Path("run"))][:4] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "damage", ["cut in the middle", "cut in a line", "edited", "empty", "gone", "with a half line", "NUL bytes"]
)
def test_metrics_that_are_not_what_they_were_are_kept_and_gone_on_with(run: Path, sound: Path, damage: str) -> None:
    file = run / "metrics.jsonl"
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    at = {
        "cut in the middle": b"".join(lines[:3]),
        "cut in a line": whole[: len(b"".join(lines[:3])) + 20],
        "edited": whole.replace(b'"step": 4', b'"step": 4, "x": 1', 1),
        "empty": b"",
        "gone": None,
        "with a half line": whole + b'{"step": 24, "cri',
        "NUL bytes": whole + b"\0" * 40,
    }[damage]
    file.unlink() if at is None else file.write_bytes(at)
    ended = rlgan(f"resume={run}", "steps=28")
    assert ended.code == 0, ended.err
    now = file.read_bytes()
    assert b"\0" not in now and now.endswith(b"\n") and json.loads(now.splitlines()[-1])["step"] == 28
    if damage in ("with a half line", "NUL bytes"):  # after the checkpoint: cut off as ever
        assert now.startswith(whole) and "metrics.jsonl" not in ended.err.replace("metrics.jsonl.before", "")
        assert all(json.loads(line) for line in now.splitlines())
    else:
        assert "metrics.jsonl: is" in ended.err and now.startswith(at or b"")
        bad = [line for line in now.splitlines() if not line.endswith(b"}")]
        assert len(bad) == (damage == "cut in a line")


def test_a_damaged_summary_is_said_and_written_anew(run: Path, sound: Path) -> None:
    import rlgan.runs.record.directory as module

    odd = (b'{"step": "x"}', b'{"step": 24, "a": "x"}', b'{"step": 24, "a": {"b": 1}}', b'{"step": 24, "a": null}')
    for text in (b"", b"[1]", b"{", b"\xff\xfe", b"null", *odd):
        module._said.clear()
        (run / "summary.json").write_bytes(text)
        ended = rlgan(f"resume={run}")
        assert ended.code == 0, ended.err
        assert "summary.json: cannot be read" in ended.err or text in odd
        assert summary(run) == summary(sound)


@pytest.mark.parametrize(
    "line",
    [
        *("[1]", "7", '"x"', "{}", '{"changes": 3, "choices": {}}', '{"changes": {"steps', "\0"),
        '{"changes": {}, "choices": {"task": 5}}',
        json.dumps({"changes": {".".join("a" * 500): 1}, "choices": {}}),
    ],
)
def test_a_line_that_describes_no_start_is_named(run: Path, line: str) -> None:
    import rlgan.runs.record.directory as module

    module._said.clear()
    with open(run / "overrides.jsonl", "a") as file:
        file.write(line)
    ended = rlgan(f"resume={run}", "steps=26")
    assert ended.code == 0 and ended.err.count("overrides.jsonl: ") == 1, ended.err
    assert rlgan("evaluate", str(run), "checkpoint=last").code == 0
    ended = rlgan(f"resume={run}")  # what was changed before is still known
    assert ended.code == 0 and status(run)["steps"] == 26


def killed_at_every_operation(run: Path, act: Callable[[], object], patch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of the run as before every file operation of `act`, which ends well."""
    seen: list[Path] = []

    def seeing(original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **more: Any) -> Any:
            copy = Path(f"killed_{len(seen)}")
            shutil.copytree(run, copy, ignore=shutil.ignore_patterns("lock"))
            seen.append(copy)
            return original(*arguments, **more)

        return operation

    for name in ("replace", "unlink", "link", "fsync", "ftruncate", "truncate"):
        patch.setattr(os, name, seeing(getattr(os, name)))
    act()
    patch.undo()
    return seen


def test_a_kill_before_any_file_operation_of_a_resume_loses_nothing(run: Path, sound: Path) -> None:
    """Going back on purpose, to a step before two others; the first new checkpoint has a step of its own."""
    logged = {int(line["step"]) for line in metrics(sound)}
    ended: list[Ended] = []
    with pytest.MonkeyPatch.context() as patch:
        go_back = partial(rlgan, f"resume={run}", "from=16", "checkpoint_every=9")
        seen = killed_at_every_operation(run, lambda: ended.append(go_back()), patch)
    assert ended[0].code == 0 and len(seen) > 30, ended
    newest = {}
    for killed in seen:
        # A checkpoint is there at every moment, and so is its part of the curve.
        found = Checkpoints(killed / "checkpoints", say=lambda _: None).newest()
        assert found is not None
        step, meta = found.manifest.step, found.manifest.meta
        newest[killed] = step
        copy = Path(shutil.copytree(killed, "curve"))
        lines = Lines(copy / "metrics.jsonl", step, meta["metrics_bytes"], meta["metrics_sha256"])
        lines.close()
        assert lines.note == "" and {line["step"] for line in metrics(copy)} == {x for x in logged if x <= step}
        shutil.rmtree(copy)
    steps = list(newest.values())
    assert [steps[0], *(steps[i] for i in switches(steps))] == [24, 18, 24]
    for killed in (seen[0], *(seen[i + k] for i in switches(steps) for k in (-3, -1, 0, 1, 3)), seen[-1]):
        again = rlgan(f"resume={killed}", "checkpoint_every=4")
        assert again.code == 0, again.err
        assert differences(checkpoint(killed, 24), checkpoint(sound, 24)) == []
        assert metrics(killed) == metrics(sound) and "metrics.jsonl: is" not in again.err


def switches(values: list[int]) -> list[int]:
    return [i for i in range(1, len(values)) if values[i] != values[i - 1]]


def test_a_kill_before_the_first_manifest_starts_anew(run: Path, sound: Path) -> None:
    """A checkpoint whose manifest was never written, in a run that has saved nothing."""
    shutil.rmtree(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlgan.runs.record.checkpoint.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert rlgan(*WORDS, "run_dir=run").code == 130
    assert Checkpoints(run / "checkpoints").lost() == (["step_000000004.pt"], [])
    (run / "status.json").write_text(json.dumps({**status(run), "state": "running", "step": 0}))
    ended = rlgan("resume=run")
    assert ended.code == 0 and "starts anew" in ended.err
    assert_is_the_same(run, sound)


@pytest.mark.parametrize("latest", [{1: 2.0}, {"a": torch.zeros(2)}, {"a": "x"}, [1], None])
def test_latest_metrics_that_are_none_are_one_line_and_nothing_is_touched(run: Path, latest: object) -> None:
    file = max((run / "checkpoints").glob("*.pt"))
    torch.save({**torch.load(file, weights_only=True), "latest": latest}, file)
    record = json.loads(file.with_suffix(".json").read_text())
    content = file.read_bytes()
    record |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "unpacked": len(content)}
    file.with_suffix(".json").write_text(json.dumps(record))
    before = contents(run)
    ended = rlgan("resume=run", "steps=40")
    assert ended.code == 2 and f"{file.name}: no run can go on from it (" in ended.err, ended.err
    assert len(ended.err.splitlines()) == 1 and contents(run) == before
