"""A run directory of a stranger's runs nothing and writes nothing, however it is read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlgan.runs.config.build import build
from rlgan.runs.config.trust import EVERYONE, Trust
from rlgan.task.errors import ConfigError
from tests.small import TASKS, Ended, rlgan, train

STRANGE = Trust(frozenset())
EVIL = "import pathlib\npathlib.Path({marker!r}).touch()\n\n\ndef run(**more):\n    pass\n\n\nclass Data:\n    pass\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A finished run of each task, and one of two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    former = os.getcwd()
    os.chdir(folder)
    train(*TASKS["wgan"], "steps=2", "compile=false", "run_dir=wgan")
    train(*TASKS["ddpg"], "steps=61", "compile=false", "run_dir=ddpg")
    train(*TASKS["wgan"], "steps=2", "compile=false", "seeds=2", "run_dir=seeds")
    os.chdir(former)
    yield {name: folder / name for name in ("wgan", "ddpg", "seeds")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the user stands, with a module of that name as a stranger would leave there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLGAN_TRUST", raising=False)
    for name in ("evil_here", "script"):
        Path(f"{name}.py").write_text(EVIL.format(marker=str(tmp_path / "MARKER")))
    Path("pickle.pt").write_bytes(f"cposix\nsystem\n(S'touch {tmp_path}/MARKER'\ntR.".encode())
    Path("precious").mkdir()
    return tmp_path


TARGET = "_target_"


def touch(**more: Any) -> dict[str, Any]:
    return {TARGET: "os.system", "command": "touch MARKER", **more}


def laughs(form: str) -> str:
    """Nine sections, each of which repeats the one before ten times."""
    pairs = zip("abcdefghi", "bcdefghij", strict=True)
    return "".join(f"{name}: &{name} {form.format(', '.join([f'*{former}'] * 10))}\n" for former, name in pairs)


def wrappers(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"env.wrappers": [*nodes]}


#: What a stranger writes into config.yaml: the run, and values by dotted key. MARKER is a file that shows that it ran.
HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "os.system": ("wgan", {"data": touch()}),
    "posix.system": ("wgan", {"data": {**touch(), TARGET: "posix.system"}}),
    "subprocess": ("wgan", {"loss": {TARGET: "subprocess.run", "args": ["touch", "MARKER"]}}),
    "subprocess.Popen": ("wgan", {"loss": {TARGET: "subprocess.Popen", "args": ["touch", "MARKER"]}}),
    "runpy": ("wgan", {"game": {TARGET: "runpy.run_path", "path_name": "HERE/script.py"}}),
    "rmtree": ("wgan", {"data": {TARGET: "shutil.rmtree", "path": "HERE/precious"}}),
    "exec": ("wgan", {"data": {TARGET: "builtins.exec", "source": "open('MARKER', 'w')"}}),
    "eval": ("wgan", {"data": {TARGET: "builtins.eval", "source": "open('MARKER', 'w')"}}),
    "open": ("wgan", {"data": {TARGET: "io.open", "file": "MARKER", "mode": "w"}}),
    "torch.load": ("wgan", {"data": {TARGET: "torch.load", "f": "HERE/pickle.pt"}}),
    "torch.load by its module": ("wgan", {"data": {TARGET: "torch.serialization.load", "f": "pickle.pt"}}),
    "torch.save": ("wgan", {"data": {TARGET: "torch.save", "obj": 1, "f": "MARKER"}}),
    "torch.hub": ("wgan", {"data": {TARGET: "torch.hub.load", "repo_or_dir": ".", "model": "x", "source": "local"}}),
    "torch.ops": ("wgan", {"data": {TARGET: "torch.ops.load_library", "path": "x.so"}}),
    "cpp_extension": ("wgan", {"data": {TARGET: "torch.utils.cpp_extension.load", "name": "x", "sources": []}}),
    "torch.os": ("wgan", {"data": {**touch(), TARGET: "torch.os.system"}}),
    "an attribute walk": ("wgan", {"data": {**touch(), TARGET: "rlgan.runs.record.directory.os.system"}}),
    "an attribute walk in a wing": ("wgan", {"data": {**touch(), TARGET: "rlgan.gan.data.images.Path.touch"}}),
    "a name that a module imports": ("wgan", {"data": {TARGET: "rlgan.gan.data.images.Path"}}),
    "through the loader": ("wgan", {"data": {TARGET: "rlgan.task.task.Task.__subclasses__"}}),
    "dunder": ("wgan", {"data": {TARGET: "rlgan.task.__loader__.exec_module"}}),
    "cli": ("wgan", {"data": {TARGET: "rlgan.runs.cli.main", "argv": ["--version"]}}),
    "__main__": ("wgan", {"data": {TARGET: "rlgan.__main__.main"}}),
    "write_atomically": (
        "wgan",
        {"data": {TARGET: "rlgan.runs.record.directory.write_atomically", "path": "MARKER", "data": "x"}},
    ),
    "RunDirectory": ("wgan", {"data": {TARGET: "rlgan.runs.record.directory.RunDirectory", "path": "precious"}}),
    "a module here": ("wgan", {"data": {TARGET: "evil_here.Data"}}),
    "the task": ("wgan", {"task._target_": "evil_here.Data"}),
    "the task, a function": ("wgan", {"task": touch()}),
    "a module beside the run": ("wgan", {"data": {TARGET: "beside.Data"}}),
    "_partial_": ("wgan", {"data": touch(_partial_=True)}),
    "functools.partial": ("wgan", {"data": {TARGET: "functools.partial", "func": touch(_partial_=True)}}),
    "a nested one": ("wgan", {"game": {TARGET: "rlgan.optim.Lookahead", "inner": touch()}}),
    "within averages": ("wgan", {"generator.averaging": {TARGET: "rlgan.optim.Several", "averages": {"a": touch()}}}),
    "an optimizer's module": (
        "wgan",
        {"critic.optimizer": {TARGET: "rlgan.optim.torch_optim.from_torch", "optimizer": "evil_here.Data"}},
    ),
    "an optimizer's options": (
        "wgan",
        {"critic.optimizer": {TARGET: "rlgan.optim.torch_optim.from_torch", "optimizer": "Adam", "options": touch()}},
    ),
    "env.kwargs": ("ddpg", {"env.kwargs": {"g": touch()}}),
    "env.kwargs, torch": ("ddpg", {"env.kwargs": {"g": {TARGET: "torch.load", "f": "pickle.pt"}}}),
    "env.kwargs, a class of ours": (
        "ddpg",
        {"env.kwargs": {"g": {TARGET: "rlgan.runs.record.directory.RunDirectory", "path": "precious"}}},
    ),
    "env.eval_options": ("ddpg", {"env.eval_options": {"g": [touch()]}}),
    "env.id": ("ddpg", {"env.id": "evil_here:Pendulum-v1"}),
    "env.id of the old gym": ("ddpg", {"env.id": "GymV26Environment-v0", "env.kwargs": {"env_id": "evil_here:X"}}),
    "gymnasium.make": ("ddpg", {"env.kwargs": {"g": {TARGET: "gymnasium.make", "id": "evil_here:X-v0"}}}),
    "a wrapper": ("ddpg", wrappers(touch(_partial_=True))),
    "a wrapper here": ("ddpg", wrappers({TARGET: "evil_here.run", "_partial_": True})),
    "a wrapper that writes": (
        "ddpg",
        wrappers({TARGET: "gymnasium.wrappers.RecordVideo", "_partial_": True, "video_folder": "MARKER"}),
    ),
    "a wrapper's function": (
        "ddpg",
        wrappers(
            {
                TARGET: "gymnasium.wrappers.TransformReward",
                "_partial_": True,
                "func": {TARGET: "builtins.exec", "_partial_": True},
            }
        ),
    ),
    "a wrapper that is none": ("ddpg", wrappers({TARGET: "torch.hub.load", "_partial_": True, "model": "x"})),
    "a vector of environments": ("ddpg", wrappers({TARGET: "gymnasium.vector.AsyncVectorEnv", "_partial_": True})),
    "a function of ours as a wrapper": ("ddpg", wrappers({TARGET: "rlgan.reading.sources.shared", "_partial_": True})),
    **{
        f"the setting {key}": ("wgan", {key: {TARGET: "subprocess.call", "args": ["touch", "MARKER"]}})
        for key in ("compile", "horizon", "name")
    },
    "a setting's module": ("wgan", {"threads": {TARGET: "evil_here.run"}}),
    "one of several seeds": ("wgan", {"seeds": [{TARGET: "subprocess.call", "args": ["touch", "MARKER"]}]}),
    "trust from within": ("wgan", {"trust": ["os"], "data": touch()}),
}


def plant(source: Path, where: str, values: dict[str, Any], by: str = "config.yaml") -> Path:
    """A copy of a run in which a stranger has put values."""
    run, here = Path(where), str(Path.cwd())
    values = json.loads(json.dumps(values).replace("MARKER", f"{here}/MARKER").replace("HERE", here))
    shutil.copytree(source, run)
    Path("beside.py").write_text(EVIL.format(marker=f"{here}/MARKER"))
    shutil.copy("beside.py", run / "beside.py")
    if by == "config.yaml":
        config = yaml.safe_load((run / by).read_text())
        for key, value in values.items():
            *parents, last = key.split(".")
            node = config
            for part in parents:
                node = node[part]
            node[last] = value
        (run / by).write_text(yaml.safe_dump(config))
    else:
        start = json.loads((run / by).read_text().splitlines()[0])
        with open(run / by, "a") as file:
            file.write(json.dumps({**start, "changes": values}) + "\n")
    return run


def refused(ended: Ended) -> str:
    """The one line of a command that ran nothing."""
    assert not Path("MARKER").exists() and Path("precious").is_dir()
    assert ended.code == 2 and len(ended.err.splitlines()) == 1, ended.err
    return ended.err


@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_that_a_run_directory_names_is_run(case: str, here: Path, runs: dict[str, Path]) -> None:
    task, values = HOSTILE[case]
    for run, by, words in (("a", "config.yaml", ("evaluate", "a")), ("b", "overrides.jsonl", ("resume=b", "steps=70"))):
        plant(runs[task], run, values, by)
        refused(rlgan(*words))
        assert "beside" not in sys.modules and "evil_here" not in sys.modules


def test_nor_by_a_group_of_seeds_whose_runs_differ(here: Path, runs: dict[str, Path]) -> None:
    run = plant(runs["seeds"], "run", {})
    shutil.rmtree(run / "seed=1")
    plant(runs["seeds"] / "seed=1", "run/seed=1", {"data": touch()})
    assert "data._target_ = os.system" in refused(rlgan("evaluate", "run")).splitlines()[-1]
    assert "data._target_ = os.system" in refused(rlgan("evaluate", "run/seed=1"))


def test_nor_by_a_command_that_is_given_again(here: Path, runs: dict[str, Path]) -> None:
    plant(runs["wgan"], "run", {"data": touch()})
    line = refused(rlgan(*TASKS["wgan"], "steps=2", "compile=false", "run_dir=run"))
    assert "holds a run with other settings (data." in line
    # And once more by each job of a sweep.
    words = [*TASKS["wgan"], "steps=2", "compile=false", "seed=0,1"]
    for seed in (0, 1):
        plant(runs["wgan"], f"sweep/seed={seed}", {"data": touch(), "seed": seed})
    Path("sweep/sweep.json").write_text(json.dumps({"words": words, "varied": ["seed"], "jobs": None}))
    ended = rlgan("-m", *words, "run_dir=sweep")
    assert ended.code == 2 and "0 of 2 runs finished" in ended.err and ended.err.count("(data.") >= 2
    assert "Traceback" not in ended.err and not Path("MARKER").exists()


def test_what_the_user_lists_is_run(here: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my_data.py").write_text("from rlgan.gan import Ring\nimport os\n\n\nclass Mine(Ring):\n    pass\n")
    plant(runs["wgan"], "run", {"data._target_": "my_data.Mine"})
    assert "add trust=[my_data] if" in refused(rlgan("evaluate", "run"))
    assert rlgan("evaluate", "run", "trust=[other,my_data]").code == 0
    ended = rlgan("resume=run", "steps=3", "trust=my_data")
    assert ended.code == 0, ended.err
    assert "trust" not in (Path("run/overrides.jsonl").read_text() + Path("run/config.yaml").read_text())
    assert "RLGAN_TRUST" not in os.environ and "add trust=" in refused(rlgan("evaluate", "run"))
    monkeypatch.setenv("RLGAN_TRUST", f"other{os.pathsep}my_data")
    assert rlgan("evaluate", "run").code == 0
    plant(runs["wgan"], "walk", {"data": {TARGET: "my_data.os.system", "command": "touch MARKER"}})
    assert "my_data.os.system: is of posix: a run directory may name" in refused(rlgan("evaluate", "walk"))
    assert "trust = /x: must be names of packages" in refused(rlgan("evaluate", "run", "trust=[/x]"))
    # What is typed at a resume is named by the run from then on.
    plant(runs["wgan"], "typed", {})
    assert "add trust=[os]" in refused(rlgan("resume=typed", "data._target_=os.system", "steps=3"))
    sys.modules.pop("my_data")


def test_a_package_that_announces_itself_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from rlgan.runs.config import trust

    points = [EntryPoint("mine", "their_package.conf", "rlgan.conf")]
    monkeypatch.setattr(trust, "entry_points", lambda group: [point for point in points if point.group == group])
    monkeypatch.setenv("RLGAN_TRUST", "")
    assert Trust.granted() == Trust(frozenset({"their_package"}))


def test_modules_where_the_user_stands_are_not_found_either(here: Path, runs: dict[str, Path]) -> None:
    """A library that torch can do without is looked for in every folder of Python's path, so this one is none."""
    run = plant(runs["wgan"], "run", {})
    for name in ("dill", "pynvml", "tensorflow"):
        (run / f"{name}.py").write_text(EVIL.format(marker=f"{here}/MARKER"))
    command = [str(Path(sys.executable).parent / "rlgan"), "resume=.", "steps=3"]
    done = subprocess.run(command, cwd=run, capture_output=True, text=True)
    assert done.returncode == 0 and "resuming at step 2" in done.stderr, done.stderr
    assert not Path("MARKER").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("data: !!python/object/apply:os.system ['touch MARKER']", "a tag is none of plain YAML's"),
        ("data: !!python/name:os.system", "a tag is none of plain YAML's"),
        ("data: !!python/object/new:subprocess.Popen [touch, MARKER]", "a tag is none of plain YAML's"),
        ("- a\n- list", "it holds no keys and values"),
        ("", "it holds no keys and values"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + laughs("[{}]"), "holds more than 100,000 values"),
        ("a: &a {k: 1}\n" + laughs("{{<<: [{}]}}"), "holds more than 100,000 values"),
        ("a: &a [*a]", "within itself"),
        ("a: " + "[" * 400_000, "nested more than 64 deep"),
        ("".join(f"{' ' * i}k:\n" for i in range(800)), "nested more than 64 deep"),
        ("a: " + "9" * 10_000, "cannot be read"),
        ("a: " + "x" * 600_000, "a configuration at most"),
        ("a: \xff", "is damaged"),
        ("? [a, b]\n: 1", "is damaged"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_a_trap_is_one_line(text: str, fault: str, here: Path, runs: dict[str, Path]) -> None:
    run = plant(runs["wgan"], "run", {})
    (run / "config.yaml").write_bytes(text.replace("MARKER", str(here / "MARKER")).encode("latin-1"))
    for words in (("evaluate", "run"), ("resume=run",), (*TASKS["wgan"], "run_dir=run")):
        line = refused(rlgan(*words))
        assert "config.yaml: is damaged" in line and (fault in line or fault == "is damaged"), line


def test_what_a_stranger_interpolates_stays_text(
    here: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "t0ld")
    plant(runs["wgan"], "run", {"name": "${oc.env:SECRET}", "data.sigma": "${oc.decode:'0.1'}"})
    line = refused(rlgan("evaluate", "run"))
    assert "data.sigma = ${oc.decode:'0.1'}: must be a number" in line
    plant(runs["wgan"], "named", {"name": "${oc.env:SECRET}"})
    assert rlgan("resume=named", "steps=3").code == 0
    assert not [file for file in Path("named").rglob("*") if file.is_file() and b"t0ld" in file.read_bytes()]


@pytest.mark.parametrize(
    "node",
    [
        {TARGET: "torch.optim.Adam", "_partial_": True},
        {TARGET: "torch.nn.Linear", "in_features": 1, "out_features": 1},
        {TARGET: "torch.nn.functional.softplus", "_partial_": True},
        {TARGET: "torch.nn.init.zeros_", "_partial_": True},
        {TARGET: "gymnasium.wrappers.RescaleAction", "_partial_": True, "min_action": -1.0, "max_action": 1.0},
        {TARGET: "gymnasium.spaces.Discrete", "n": 3},
        {TARGET: "rlgan.optim.Linear"},
    ],
    ids=lambda node: str(node[TARGET]),
)
def test_the_kinds_that_may_stand_anywhere(node: dict[str, Any]) -> None:
    assert build({"a": [node], TARGET: "builtins.dict"}, trust=EVERYONE)
    assert build(node, "x", trust=STRANGE) is not None


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Module.load_state_dict", "torch.nn.functional.boolean_dispatch", "torch.nn.functional.importlib",
        "torch.nn.init.warnings.warn", "torch.nn.parallel.DistributedDataParallel", "torch.jit.ScriptModule",
        "torch.fx.GraphModule", "torch.compile", "torch.nn._reduction.warnings", "gymnasium.wrappers.os.system",
        "gymnasium.utils.play.play", "gymnasium.vector.SyncVectorEnv", "rlgan.optim.compiled.package.build",
        "rlgan.optim.compiled.package.subprocess", "rlgan..gan.Ring", "rlgan", ".os.system", "os..system", "", 3, None,
        "rlgan.gan.__class__", "rlgan.gan.Ring.__init__.__globals__", "torch.optim.Adam.__mro__",
    ],
)  # fmt: skip
def test_and_what_may_not(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^x\._target_ = "):
        build({TARGET: name, "_partial_": True}, "x", trust=STRANGE)


def test_what_cannot_stand_in_a_place_is_not_called(here: Path) -> None:
    """Nor when the user has named it: `Ring` where an optimizer belongs, a command of the system's where data do."""
    Path("mine.py").write_text(
        "def silent():\n    return 1\n\n\n"
        f"def wrong() -> int:\n    open({str(here / 'MARKER')!r}, 'w')\n    return 1\n\n\n"
        f"class Other:\n    def __init__(self):\n        open({str(here / 'MARKER')!r}, 'w')\n"
    )
    small = (*TASKS["wgan"], "steps=2", "compile=false")
    for name, fault in {
        "mine.wrong": "must be a Data, and wrong is not known to give one",
        "mine.silent": "silent is not known to give one; annotate what it gives, def silent(...) -> Data",
        "mine.Other": "must be a Data, and a Other is none",
        "os.system": "must be a Data, and system is not known to give one",
        "rlgan.gan.Hinge": "must be a Data, and a Hinge is none",
    }.items():
        line = refused(rlgan(*small, f"data._target_={name}"))
        assert line.startswith("rlgan: data = {...}: ") and fault in line, line
    assert "must be a Data, and a partial is none" in refused(rlgan(*small, "data._partial_=true"))
    sys.modules.pop("mine")
