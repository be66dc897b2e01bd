"""A machine that lacks something: it works, or one line says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rlgan as package
from tests.runs.conftest import Command

SMALL = ("task=quadratic", "steps=4", "progress=false", "tensorboard=false")


@pytest.mark.parametrize("device", ["mps", "xpu", "meta", "cuda:99", "hpu", "xla"])
def test_a_device_that_is_not_there_is_one_line_with_what_there_is(rlgan: Command, device: str) -> None:
    code, _, err = rlgan(*SMALL, f"device={device}")
    assert code == 2 and err.startswith(f"rlgan: device = {device}: ") and len(err.splitlines()) == 1
    assert "use device=cpu or auto" in err and not Path("outputs").exists()


@pytest.mark.parametrize("place", ["outputs", "run_dir=/proc/self/run", "run_dir=/dev/null/run"])
def test_a_place_that_cannot_be_written_is_one_line(rlgan: Command, place: str) -> None:
    words = (place,) if "=" in place else ()
    if not words:
        Path("outputs").write_text("a file")
    code, _, err = rlgan(*SMALL, *words)
    assert code == 2 and len(err.splitlines()) == 1 and "choose another" in err, err


def everybody_may_read(path: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents) if place.is_dir())


def test_without_a_home_and_a_name_it_trains(outside: Path) -> None:
    """The user has no entry in the list of users, where we may become somebody else."""
    places = (Path(package.__file__), Path(os.path.realpath(sys.executable)), Path(sys.prefix))
    nobody = 54321 if os.geteuid() == 0 and all(map(everybody_may_read, places)) else None
    outside.chmod(0o777)
    for folder in outside.parents:
        if nobody and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    known = {
        key: value for key, value in os.environ.items() if key not in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME")
    }
    sizes = ("batch_size=8", "critic.network.hidden=[4]", "generator.network.hidden=[4]", "tensorboard=false")
    ended = subprocess.run(
        [sys.executable, "-m", "rlgan", "task=wgan", "steps=2", "compile=false", *sizes, "run_dir=run", "eval_every=0"],
        env={**known, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/nonexistent"},
        cwd=outside,
        user=nobody,
        group=nobody,
        extra_groups=None if nobody is None else [],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
