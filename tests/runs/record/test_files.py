"""What is in a run's directory is its own: links, FIFOs and folders are refused by name, before anything is touched."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rlgan.runs.record.files import Lines, append_line, examine, read_lines, replacing, write_atomically
from rlgan.task.errors import RunError
from tests.small import TASKS, metrics, rlgan, train

WORDS = (*TASKS["wgan"], "compile=false", "steps=8", "checkpoint_every=4", "log_every=2", "batch_size=8")
GO_ON = ("steps=10", "progress=false")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended well, and was evaluated."""
    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = train(*WORDS, "run_dir=run", "tensorboard=true")
        assert rlgan("evaluate", str(run), "checkpoint=last").code == 0
    return folder / run


@pytest.fixture
def run(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the folder around it where we stand."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(sound, tmp_path / "run").relative_to(tmp_path)


def contents(folder: Path) -> dict[str, object]:
    """Everything below a folder, links as links."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            file = Path(place) / name
            found[str(file)] = (
                os.readlink(file)
                if file.is_symlink()
                else file.read_bytes()
                if file.is_file()
                else oct(file.stat().st_mode)
            )
    return found


def link_to_itself_elsewhere(file: Path) -> None:
    """A link to the same content outside: all would work but for what is written there."""
    outside = Path("outside")
    outside.mkdir(exist_ok=True)
    if file.is_dir():
        shutil.copytree(file, outside / file.name)
        shutil.rmtree(file)
    elif file.exists():
        shutil.move(file, outside / file.name)
    file.symlink_to((outside / file.name).resolve())


def dangling_link(file: Path) -> None:
    remove(file)
    file.symlink_to(Path("not_there").resolve())


def fifo(file: Path) -> None:
    remove(file)
    os.mkfifo(file)


def folder(file: Path) -> None:
    remove(file)
    file.mkdir()


def sock(file: Path) -> None:
    remove(file)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(file))


def remove(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


PLACES = (
    "lock", "config.yaml", "status.json", "summary.json", "evaluation.json", "metrics.jsonl", "overrides.jsonl",
    "notes.jsonl", "task.json", "metrics.jsonl.before", "checkpoints", "checkpoints/step_000000008.pt",
    "checkpoints/step_000000008.json", "checkpoints/rows_0_9_0123456789abcdef.bin", "pictures",
    "pictures/samples_scatter_000000008.png", "evaluation", "evaluation/samples.npz", "seed=3",
    "seed=3/metrics.jsonl", "seed=3/checkpoints", "events.out.tfevents.1.host.1.0", "checkpoints/latest",
)  # fmt: skip
WAYS: dict[str, Callable[[Path], None]] = {
    function.__name__: function for function in (link_to_itself_elsewhere, dangling_link, fifo, folder, sock)
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_file_of_the_run_is_refused_by_name(run: Path, way: str) -> None:
    for place in PLACES:
        if way == "folder" and place.rpartition("/")[2] in (
            "checkpoints",
            "pictures",
            "evaluation",
            "seed=3",
            "latest",
        ):
            continue
        broken = shutil.copytree(run, "broken", symlinks=True)
        (Path(broken) / place).parent.mkdir(exist_ok=True)
        WAYS[way](Path(broken) / place)
        with pytest.raises(RunError, match=rf"^broken/{place}: is a"):
            examine(Path(broken))
        shutil.rmtree(broken)
        shutil.rmtree("outside", ignore_errors=True)


@pytest.mark.parametrize(
    ("way", "place"),
    [
        ("link_to_itself_elsewhere", "metrics.jsonl"),
        ("link_to_itself_elsewhere", "checkpoints"),
        ("dangling_link", "lock"),
        ("fifo", "overrides.jsonl"),
        ("folder", "config.yaml"),
        ("sock", "checkpoints/step_000000008.json"),
    ],
)
def test_no_command_touches_anything_then(run: Path, way: str, place: str) -> None:
    WAYS[way](run / place)
    before = contents(Path())
    for words in (["resume=run", *GO_ON], ["evaluate", "run"], [*WORDS, "run_dir=run"]):
        ended = rlgan(*words)
        assert ended.code == 2 and f"run/{place}: is a" in ended.err and len(ended.err.splitlines()) == 1, ended
        assert contents(Path()) == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "status.json", "notes.jsonl", "checkpoints/step_000000004.json"])
def test_a_file_of_holes_is_named_before_memory_is_taken_for_it(run: Path, name: str) -> None:
    with open(run / name, "ab") as file:
        file.truncate(2**40)
    for words in (["resume=run", *GO_ON], ["evaluate", "run"], [*WORDS, "run_dir=run"]):
        ended = rlgan(*words)
        assert ended.code == 2 and f"run/{name}: is damaged (of its" in ended.err, ended.err
        assert len(ended.err.splitlines()) == 1 and (run / name).stat().st_size == 2**40


def test_a_run_that_is_reached_through_links_goes_on(run: Path) -> None:
    Path("scratch").mkdir()
    shutil.move(run, "scratch/run")
    run.symlink_to(Path("scratch/run").resolve())
    Path("outputs").symlink_to(Path("scratch").resolve())
    assert rlgan("resume=run", *GO_ON).code == 0
    ended = rlgan("evaluate", "outputs/run", "checkpoint=last")
    assert ended.code == 0 and "step 10" in ended.err, ended.err


def test_a_copy_by_hard_links_leaves_the_original_as_it_is(run: Path) -> None:
    before = contents(run)
    shutil.copytree(run, "copy", copy_function=os.link)
    ended = rlgan("resume=copy", *GO_ON)
    assert ended.code == 0, ended.err
    assert rlgan("evaluate", "copy").code == 0
    assert contents(run) == before and metrics(Path("copy"))[-1]["step"] == 10


def test_a_foreign_folder_gets_no_lock_and_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, config in (("thesis", None), ("hydra", "db: {user: me}\n"), ("list", "[1, 2]\n"), ("empty.yaml", "")):
        folder = Path(name)
        folder.mkdir()
        (folder / "notes.txt").write_text("years of work")
        if config is not None:
            (folder / "config.yaml").write_text(config)
        before = contents(folder)
        for words in ([f"resume={name}"], ["evaluate", name], [*WORDS, f"run_dir={name}"]):
            ended = rlgan(*words)
            assert ended.code == 2 and name in ended.err and len(ended.err.splitlines()) == 1, ended.err
            assert contents(folder) == before


def test_leftovers_do_not_make_a_folder_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("run")
    (folder / "lost+found").mkdir(parents=True)
    for name in ("lock", "config.yaml.712.tmp", ".DS_Store", ".nfs00000001"):
        (folder / name).write_text("x")
    train(*WORDS, "run_dir=run")


@pytest.mark.parametrize("key", ["run_dir=", "name=", "resume=", "evaluate"])
def test_names_that_are_too_long_are_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    long = "x" * 300
    ended = rlgan(
        *(["evaluate", long] if key == "evaluate" else [*WORDS, key + long] if key[-4:-1] != "ume" else [key + long])
    )
    if key == "name=":  # cut to a bearable length
        assert ended.code == 0
    else:
        assert ended.code == 2 and len(ended.err.splitlines()) == 1 and "xxx" in ended.err, ended.err


def test_a_name_that_is_no_utf8_is_as_good_as_another(run: Path) -> None:
    other = os.fsdecode(b"r\xff\xe9")
    os.rename(run, other)
    ended = rlgan(f"resume={other}", *GO_ON)
    assert ended.code == 0, ended.err
    assert rlgan("evaluate", other, "checkpoint=last").code == 0
    ended = rlgan(*WORDS, f"run_dir={other}/new", "steps=4")
    assert ended.code == 0, ended.err


def test_staging_never_writes_through_what_lies_there(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f"status.json.{os.getpid()}.tmp").symlink_to(victim)
    write_atomically(tmp_path / "status.json", b"new")
    assert victim.read_text() == "mine" and (tmp_path / "status.json").read_text() == "new"
    with pytest.raises(RuntimeError), replacing(tmp_path / "status.json") as file:
        file.write(b"half")
        raise RuntimeError
    assert sorted(file.name for file in tmp_path.iterdir()) == ["status.json", "victim"]


@pytest.mark.parametrize("half", [b'{"step": 3, "x', b"\xff\xfe\x00", b"[1, 2]", b"17", b"\0\0\0", b"{" * 100_000])
def test_no_record_is_lost_behind_a_line_that_is_none(tmp_path: Path, half: bytes) -> None:
    file = tmp_path / "overrides.jsonl"
    append_line(file, {"a": 1})
    with open(file, "ab") as stream:
        stream.write(half)
    append_line(file, {"a": 2})
    said: list[str] = []
    assert read_lines(file, said.append) == [{"a": 1}, {"a": 2}]
    assert said == [f"{file}: line 2 is no JSON object; passed over"]
    assert file.read_bytes().split(b"\n")[1] == half


def test_a_record_behind_nul_bytes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b"\0" * 30 + b'{"step": 4}\n')
    assert read_lines(file) == [{"step": 4}]


def test_a_line_is_written_in_whole_where_the_system_takes_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rlgan.runs.record.files as module

    class Slow(module.FileIO):
        def write(self, data: object) -> int:
            return super().write(bytes(data)[:3])  # type: ignore[call-overload]

    lines = Lines(tmp_path / "metrics.jsonl")
    lines._file = Slow(tmp_path / "metrics.jsonl", "ab")
    lines.write({"step": 1, "x": 2.5})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "x": 2.5}
