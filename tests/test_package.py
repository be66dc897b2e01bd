"""The wheel carries everything that a run needs, and runs far from the source."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTSIDE = ROOT / "tests/runs/outside"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_and_configuration(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(file.relative_to(ROOT)) for file in (ROOT / "rlgan").rglob("*.py")}
    configurations = {f"rlgan/{file.relative_to(ROOT)}" for file in (ROOT / "conf").rglob("*.yaml")}
    assert sources | configurations | {"rlgan/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "scripts", "conf"))]


def test_the_wheel_runs_from_another_directory(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    here = tmp_path / "elsewhere"
    here.mkdir()
    # -S would lose the dependencies; a path entry before them is what an installed wheel amounts to.
    env = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{OUTSIDE}", "RLGAN_CONF": str(OUTSIDE / "conf")}
    shown = "import rlgan, rlgan.runs.config.overrides as c; print(rlgan.__file__); print(c.conf_directory())"
    where = subprocess.run([sys.executable, "-c", shown], cwd=here, env=env, capture_output=True, text=True, check=True)
    assert where.stdout.splitlines() == [str(site / "rlgan/__init__.py"), str(site / "rlgan/conf")]
    command = [sys.executable, "-m", "rlgan", "task=quadratic", "steps=20", "run_dir=run"]
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "tensorboard --logdir run"
    assert sorted(item.name for item in here.iterdir()) == ["run"]


def test_the_script_the_module_and_the_command_are_one_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"rlgan": "rlgan.runs.cli:main"}
    for file in ("scripts/train.py", "rlgan/__main__.py"):
        assert "from rlgan.runs.cli import main\n" in (ROOT / file).read_text()


def test_every_dependency_has_a_tested_version_and_this_is_it() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    installed = {item.metadata["Name"].lower(): item.version.split("+")[0] for item in distributions()}
    for requirement in wanted:
        name = re.split(r"[<>=\[; ]", requirement)[0].lower()
        assert pinned[name] == installed[name]
