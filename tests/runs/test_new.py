"""`rlgan new`: every kind is written, passes its own test and trains; a name that cannot be one is refused."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rlgan.runs.commands.new import KINDS, class_of, package
from tests.small import rlgan

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_works_at_once_and_passes_its_test(
    kind: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"fresh_{kind}"
    ended = rlgan("new", kind, name)
    assert ended.code == 0 and f"cd {name}\n  rlgan {KINDS[kind].words.format(name)}\n  pytest\n" in ended.out
    folder = here / name
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == sorted(
        package(kind, name)
    )
    assert not [file for file in folder.rglob("*.*") if "my_name" in file.read_text() or "Mine" in file.read_text()]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["rlgan.conf"] == {name: f"{name}.conf"}
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    run_tests(folder / "tests" / f"test_{name}.py", here)
    assert f"`{KINDS[kind].choice(name)}`" in (folder / "README.md").read_text()


def run_tests(file: Path, scratch: Path) -> None:
    """Call the tests of a file, each as often as it is parametrised."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 2
    for number, test in enumerate(tests):
        for case in cases(test):
            given = {"tmp_path": scratch / str(number)} if "tmp_path" in inspect.signature(test).parameters else {}
            test(**case, **given)


def cases(test: Any) -> list[dict[str, Any]]:
    for mark in getattr(test, "pytestmark", []):
        names, rows = mark.args
        return [dict(zip(names, row, strict=True)) for row in rows]
    return [{}]


def test_without_a_kind_all_are_listed() -> None:
    ended = rlgan("new")
    assert ended.code == 0 and all(f"\n  {kind} " in ended.out for kind in KINDS)
    assert rlgan("new", "--help").out == ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("agents mine", "rlgan: new agents: there is no such kind; did you mean agent?"),
        ("xyz mine", "rlgan: new xyz: there is no such kind; there are agent, callback, control, data, env, method, "),
        ("agent", "rlgan: new agent: has no name; for example rlgan new agent my_agent"),
        ("agent one two", "rlgan: new agent: has more than one name, one two; for example rlgan new agent my_agent"),
        ("agent MyAgent", "is no name of a module: small letters, digits and underscores; for example my_agent"),
        ("agent my-agent", "is no name of a module: small letters, digits and underscores; for example my_agent"),
        ("agent 2nd", "rlgan: name = 2nd: is no name of a module: small letters, digits and underscores; for example"),
        ("data class", "rlgan: name = class: is no name of a module: small letters, digits and underscores; for exam"),
        ("agent ../x", "rlgan: name = ../x: is no name of a module"),
        ("agent random", "rlgan: name = random: is a module that is installed, and would hide it; choose another"),
        ("agent torch", "rlgan: name = torch: is a module that is installed, and would hide it; choose another"),
        ("agent td3", "rlgan: name = td3: is an option already, agent=td3; choose another, for example my_td3"),
        ("control clip", "rlgan: name = clip: is an option already, lipschitz=clip; choose another"),
        ("callback time_limit", "name = time_limit: is an option already, callbacks=[time_limit]; choose another"),
        ("agent conf", "rlgan: name = conf: is what a folder of the package is called; choose another"),
        ("agent agent", "rlgan: name = agent: its class would be called Agent, as something that it uses; choose"),
        ("agent taken", "rlgan: name = taken: is here already, and nothing is overwritten; choose another, or go to"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(words: str, said: str, here: Path) -> None:
    (here / "taken").mkdir()
    ended = rlgan("new", *words.split())
    assert ended.code == 2 and said in ended.err and ended.err.count("\n") == 1
    assert [item.name for item in here.iterdir()] == ["taken"] and not list((here / "taken").iterdir())


def test_the_class_has_the_name_in_another_spelling() -> None:
    assert class_of("my_agent_2") == "MyAgent2" and class_of("x") == "X"


@pytest.mark.slow
def test_an_installed_package_trains_from_another_folder(here: Path) -> None:
    assert rlgan("new", "agent", "fresh_wheel").code == 0
    pip = [sys.executable, "-m", "pip"]
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q")
    subprocess.run([*pip, "wheel", *options, "-w", str(here / "wheels"), str(here / "fresh_wheel")], check=True)
    (wheel,) = (here / "wheels").glob("fresh_wheel-*.whl")
    site = here / "site"
    subprocess.run([*pip, "install", *options, "--no-index", "--target", str(site), str(wheel)], check=True)
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    small = "steps=150 learning_starts=60 batch_size=32 capacity=1000 eval_episodes=1 progress=false run_dir=run"
    words = [sys.executable, "-m", "rlgan", "task=ddpg", "agent=fresh_wheel", "agent.limit=0.5", *small.split()]
    env = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    done = subprocess.run(words, cwd=elsewhere, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = (elsewhere / "run" / "config.yaml").read_text()
    assert "_target_: fresh_wheel.FreshWheel" in config and "limit: 0.5" in config
    resumed = [sys.executable, "-m", "rlgan", "resume=run", "steps=200"]
    done = subprocess.run(resumed, cwd=elsewhere, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
