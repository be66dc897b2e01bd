"""A checkpoint from anybody: it runs nothing, takes no more memory than it has bytes, and is refused in one line."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlgan.runs.record import segments
from rlgan.runs.record.checkpoint import Checkpoints, UnreadableError
from rlgan.runs.record.payload import FORMAT, storable, weight
from rlgan.task.errors import CheckpointError
from rlgan.task.ring import Ring

STATE: dict[str, Any] = {"w": torch.arange(6.0), "n": [1, (2.5, None), "s", b"\xff", 1 + 2j, ()], "e": {}, "big": 2**80}


def saved(state: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def forged(folder: Path, content: bytes, **manifest: Any) -> Checkpoints:
    """A store of one checkpoint with this content, and a manifest that agrees but for what is given."""
    store = Checkpoints(folder)
    file = store.save(1, STATE, {}, {})
    file.write_bytes(content)
    record = json.loads(file.with_suffix(".json").read_text())
    record |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "unpacked": 10**15, **manifest}
    file.with_suffix(".json").write_text(json.dumps(record))
    return store


def rezipped(
    content: bytes,
    change: Callable[[str, bytes], bytes],
    method: int = zipfile.ZIP_STORED,
    rename: Callable[[str], str] = str,
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", method) as new:
        for name in old.namelist():
            new.writestr(rename(name), change(name, old.read(name)))
    return stream.getvalue()


class Calls:
    """Pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def laughs() -> list[Any]:
    found: list[Any] = ["ha"] * 10
    for _ in range(30):
        found = [found] * 10
    return found


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(400):
        found = [found]
    return found


def pickled(value: Any, protocol: int) -> bytes:
    """An archive of torch.save whose pickle is that of `value`."""
    data = pickle.dumps(value, protocol=protocol)
    return rezipped(saved(STATE), lambda name, old: data if name.endswith("data.pkl") else old)


def sparse() -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (10**12,), check_invariants=True)


MARKER = "planted"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "os.system": lambda: saved({"w": Calls(os.system, f"touch {MARKER}")}),
    "os.system, named on the stack": lambda: pickled({"w": Calls(os.system, f"touch {MARKER}")}, 4),
    "eval": lambda: pickled(Calls(eval, f"open('{MARKER}', 'w')"), 2),
    "a path": lambda: saved({"w": Path("x")}),
    "torch.load": lambda: pickled(Calls(torch.load, "x"), 2),
    "a bytearray of a terabyte": lambda: pickled({"w": Calls(bytearray, 10**12)}, 2),
    "a set": lambda: pickled({"w": {1, 2}}, 2),
    "a numpy array": lambda: saved({"w": np.zeros(3)}),
    "lists of lists of lists": lambda: saved({"w": laughs()}),
    "a tensor of more than it holds": lambda: saved({"w": torch.zeros(1).expand(10**6, 10**6)}),
    "a sparse tensor": lambda: saved({"w": sparse()}),
    "a parameter": lambda: saved({"w": torch.nn.Parameter(torch.ones(3))}),
    "a tensor without memory": lambda: saved({"w": torch.empty(10**12, device="meta")}),
    "a compressed archive": lambda: rezipped(
        saved({"w": torch.zeros(10**6)}), lambda _, data: data, zipfile.ZIP_DEFLATED
    ),
    "no archive": lambda: b"PK\x03\x04" + bytes(500),
    "nothing": lambda: b"",
    "an archive without a pickle": lambda: rezipped(
        saved(STATE), lambda name, data: b"" if name.endswith("data.pkl") else data
    ),
    "a bare pickle": lambda: pickle.dumps({"w": 1}),
    "a legacy file": lambda: legacy(),
    "a legacy file before an archive": lambda: legacy() + saved(STATE),
    "an archive with a second folder": lambda: rezipped(
        saved(STATE), lambda name, data: data, rename=lambda name: name.replace("archive/data/", "other/data/")
    ),
    "an archive of TorchScript": lambda: rezipped(
        saved(STATE), lambda name, data: data, rename=lambda name: name.replace("byteorder", "constants.pkl")
    ),
    "a description that is none": lambda: saved({**STATE, "about": {"format": 2, "meta": [1]}}),
    "a list": lambda: saved([1, 2]),
    "an ordered dict": lambda: saved(OrderedDict(w=1)),
}  # fmt: skip


def legacy() -> bytes:
    stream = io.BytesIO()
    torch.save(STATE, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_checkpoint_is_refused_by_name_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = forged(tmp_path / "run", HOSTILE[name]())
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"step_000000001\.pt: ") as error:
        store.read(store.manifests()[0])
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert len(str(error.value).splitlines()) == 1 and not Path(MARKER).exists()


def test_a_call_is_refused_even_where_torch_would_make_it(tmp_path: Path) -> None:
    """The check of the names is ours; torch's own stands behind it."""
    with pytest.raises(CheckpointError, match=r"names (builtins|__builtin__) bytearray"):
        store = forged(tmp_path, HOSTILE["a bytearray of a terabyte"]())
        store.read(store.manifests()[0])


def test_a_state_of_our_own_is_read_and_weighed(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, {**STATE, "again": STATE["w"]}, {}, {})
    newest = store.newest()
    assert newest is not None and newest.manifest.unpacked == 48 == weight(storable({**STATE, "again": STATE["w"]}))
    assert newest.state["n"] == STATE["n"] and newest.state["big"] == 2**80
    for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.bool, torch.complex64, torch.int8, torch.uint16):
        store.save(2, {"x": torch.ones(3, 2).to(dtype).T}, {}, {})
        found = store.choose("2").state["x"]
        assert found.dtype == dtype and torch.equal(
            found.float() if dtype != torch.complex64 else found.real, torch.ones(2, 3)
        )


@pytest.mark.parametrize("said", [0, 23])
def test_more_than_the_manifest_says_is_refused(tmp_path: Path, said: int) -> None:
    content = saved(STATE)
    store = forged(tmp_path, content, unpacked=said)
    with pytest.raises(CheckpointError, match=rf"would unpack to 24 bytes, and its manifest says {said}$"):
        store.read(store.manifests()[0])
    shared = torch.ones(6)
    store = forged(tmp_path, saved({f"w{i}": shared for i in range(100)}), unpacked=24)
    with pytest.raises(CheckpointError, match=r"would unpack to 2400 bytes, and its manifest says 24$"):
        store.read(store.manifests()[0])


def test_an_archive_whose_members_overlap_is_refused(tmp_path: Path) -> None:
    """A thousand entries of one megabyte, all of them the same bytes of the file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/data/0", bytes(10**6))
        first = archive.infolist()[1]
        for k in range(1, 1000):
            item = zipfile.ZipInfo(f"archive/data/{k}")
            item.file_size, item.compress_size, item.CRC = first.file_size, first.compress_size, first.CRC
            item.header_offset = first.header_offset
            archive.filelist.append(item)
    store = forged(tmp_path, stream.getvalue())
    with pytest.raises(CheckpointError, match="would unpack to 1000000000 bytes"):
        store.read(store.manifests()[0])


def test_a_manifest_that_tells_of_a_trillion_rows_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SMALLEST", 1)
    store = Checkpoints(tmp_path)
    store.save(1, {"r": Ring(capacity=10, added=4, rows=torch.ones(4, 3))}, {}, {})
    manifest = tmp_path / "step_000000001.json"
    record = json.loads(manifest.read_text())
    ring = record["rings"][0]
    ring["capacity"] = ring["segments"][0]["end"] = 10**12
    manifest.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="is missing or damaged"):
        store.read(store.manifests()[0])
    # So long a file may well be there: it is all holes.
    name = next(iter(store.manifests()[0].segments))
    with open(tmp_path / name, "wb") as file:
        file.truncate(10**12 * 3 * 4)
    with pytest.raises(CheckpointError, match="is missing or damaged"):
        store.read(store.manifests()[0])
    os.truncate(tmp_path / "step_000000001.pt", 2**40)
    manifest.write_text(json.dumps({**record, "size": 2**40}))
    with pytest.raises(CheckpointError, match="hardly any are there"):
        store.read(store.manifests()[0])


@pytest.mark.parametrize("place", ["manifest", "checkpoint"])
def test_a_newer_format_is_refused_by_name_and_not_passed_over(tmp_path: Path, place: str) -> None:
    store = Checkpoints(tmp_path)
    for step in (1, 2):
        file = store.save(step, STATE, {}, {})
    if place == "manifest":
        record = json.loads(file.with_suffix(".json").read_text())
        file.with_suffix(".json").write_text(json.dumps({**record, "format": FORMAT + 1, "new": {}}))
    else:
        newer = {**STATE, "about": {"format": FORMAT + 1}}
        file.with_suffix(".json").unlink()
        file.write_bytes(saved(newer))
    message = (
        rf"step_000000002\.(json|pt): written by a newer rlgan \(format {FORMAT + 1}, this one reads up to {FORMAT}\)"
    )
    for act in (store.newest, lambda: store.choose("best")) if place == "manifest" else (lambda: store.go_back(2),):
        with pytest.raises(CheckpointError, match=message):
            act()


@pytest.mark.parametrize("number", [0, -1, "2", None, 1.5, True, [2]])
def test_a_format_that_is_none_is_no_manifest(tmp_path: Path, number: object) -> None:
    said: list[str] = []
    store = Checkpoints(tmp_path, say=said.append)
    for step in (1, 2):
        file = store.save(step, STATE, {}, {})
    record = json.loads(file.with_suffix(".json").read_text())
    file.with_suffix(".json").write_text(json.dumps({**record, "format": number}))
    newest = store.newest()
    assert newest is not None and newest.manifest.step == 1 and "step_000000002.json: cannot be read (format" in said[0]


def test_a_checkpoint_of_format_1_is_read(tmp_path: Path) -> None:
    """As it was before there were numbers: no format, no description inside, no size of the tensors."""
    content = saved(STATE)
    record = {
        "step": 1,
        "file": "step_000000001.pt",
        "size": len(content),
        "metrics": {},
        "meta": {"a": 1},
        "rings": [],
    }
    (tmp_path / "step_000000001.pt").write_bytes(content)
    record["sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "step_000000001.json").write_text(json.dumps(record))
    newest = Checkpoints(tmp_path).newest()
    assert newest is not None and (newest.manifest.format, newest.manifest.meta) == (1, {"a": 1})
    assert torch.equal(newest.state["w"], STATE["w"])


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "3", "null", '"x"', "[" * 100_000, "\0\0", "{}", '{"step": 2}', "\ud800",
        '{"step": 2, "file": "step_000000002.pt", "size": 1, "sha256": "' + "0" * 64 + '", "metrics": {"a": "b"}}',
        '{"step": 1, "file": "step_000000001.pt", "size": 1, "sha256": "' + "0" * 64 + '"}',
        '{"step": 2, "file": "../../x", "size": 1, "sha256": "' + "0" * 64 + '"}',
        '{"step": 2, "file": "/etc/passwd", "size": 1, "sha256": "' + "0" * 64 + '"}',
        '{"step": "../../2", "file": "../../x", "size": 1, "sha256": "' + "0" * 64 + '"}',
        '{"step": 2, "file": "step_000000002.pt", "size": 1, "sha256": 3}',
        '{"step": 2, "file": "step_000000002.pt", "size": 1, "sha256": "' + "0" * 64 + '", "meta": []}',
        '{"step": 2, "file": "step_000000002.pt", "size": 1, "unpacked": 1, "format": 2, "sha256": "'
        + "0" * 64 + '", "meta": {"horizon": "x"}}',
        '{"step": 2, "file": "step_000000002.pt", "size": 1, "sha256": "' + "0" * 64 + '", "rings": {}, "x": 1}',
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_named_and_passed_over(tmp_path: Path, text: str) -> None:
    said: list[str] = []
    store = Checkpoints(tmp_path, say=said.append)
    for step in (1, 2):
        store.save(step, STATE, {}, {})
    (tmp_path / "step_000000002.json").write_bytes(text.encode(errors="surrogatepass"))
    newest = store.newest()
    assert newest is not None and newest.manifest.step == 1
    assert said[0].startswith(f"{tmp_path}/step_000000002.json: cannot be read (") and len(said[0]) < 400


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("place", ["manifest", "checkpoint", "rows", "folder"])
def test_what_cannot_be_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int
) -> None:
    monkeypatch.setattr(segments, "SMALLEST", 1)
    said: list[str] = []
    store = Checkpoints(tmp_path, say=said.append)
    for step in (1, 2):
        store.save(step, {"r": Ring(capacity=10, added=4 * step, rows=torch.ones(4 * step, 3))}, {}, {})
    name = {"manifest": "step_000000002.json", "checkpoint": "step_000000002.pt", "rows": "rows_4_8", "folder": ""}[
        place
    ]
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path: Any, *rest: Any, **more: Any) -> Any:
            file = Path() if isinstance(path, int) else Path(path)
            if file == tmp_path if not name else file.name.startswith(name):
                raise OSError(number, os.strerror(number), str(path))
            return original(path, *rest, **more)

        return operation

    with monkeypatch.context() as patch:
        for owner, function in ((os, "open"), (io, "open"), (os, "listdir")):
            patch.setattr(owner, function, failing(getattr(owner, function)))
        patch.setattr("builtins.open", io.open)
        for act in (store.newest, lambda: store.choose("last"), lambda: store.go_back(2)):
            with pytest.raises(UnreadableError, match=r"cannot be read \((Permission denied|Input/output error)\)"):
                act()
    assert said == [] and {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    newest = store.newest()
    assert newest is not None and newest.manifest.step == 2


def test_a_sound_file_of_another_task_is_an_error_of_one_line(tmp_path: Path) -> None:
    from rlgan.runs.record.checkpoint import Checkpoint
    from tests.small import TASKS, build

    task = build(*TASKS["wgan"])
    manifest = Checkpoints(tmp_path)
    manifest.save(1, {"task": task.state_dict()}, {}, {})
    good = manifest.manifests()[0]
    state = task.state_dict()
    Checkpoint(replace(good, step=0, file="step_000000000.pt"), {"task": state}).restore(task)
    wrong: list[Any] = [{}, {"task": {}}, {"task": 3}, {"task": None}, {"task": [state]}, {"task": state}]
    wrong += [{"task": {other: state[other] for other in state if other != key}} for key in state]
    wrong += [{"task": {**state, key: other}} for key in state for other in ("x", torch.ones(2))]
    for content in wrong:
        with pytest.raises(CheckpointError) as error:
            Checkpoint(good, content).restore(task)
        assert len(str(error.value).splitlines()) == 1
