"""An outside package in a folder of its own, and its command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlgan.runs.cli import main

OUTSIDE = Path(__file__).parent / "outside"

# A process that imports everything once and runs every command that it is sent in a child of its own. Before the move
# after a given step the child dies, as by kill -9, or copies its run to the folder `killed` and goes on: the copy holds
# what a kill would have left there, whatever was not yet written being lost, and saves a second run as far as here.
SERVER = """
import gc, json, os, shutil, signal, sys
import gymnasium.envs.classic_control, hydra._internal.hydra, matplotlib.figure, rlgan.runs.session, scipy.stats
import torch._dynamo, torch._inductor.compile_fx
from rlgan.runs.cli import main
from rlgan.gan.wgan import WGAN
from rlgan.rl.trainer import Trainer

def until(play, at, end):
    def move(self):
        if at is not None and self.steps_done >= at:
            end()
        yield from play(self)
    return move

def copy():
    if not os.path.exists("killed"):
        shutil.copytree("whole", "killed")

gc.freeze()  # a child that never looks at what was there before it copies no page of it
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        os.chdir(order["folder"])
        sys.path.insert(0, order["folder"])
        os.environ["RLGAN_TRUST"] = "quadratic"
        for task in (WGAN, Trainer):
            task.pictures = lambda self: {}  # a second each
            task.play = until(task.play, order["kill"], lambda: os.kill(os.getpid(), signal.SIGKILL))
            task.play = until(task.play, order["copy"], copy)
        try:
            main(order["words"])
        except SystemExit as end:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(end.code)  # an interpreter of torch takes a second to take itself apart
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    """Runs `rlgan ...`, each time in a new process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *words: str, kill: int | None = None, copy: int | None = None) -> tuple[int, str]:
        """Exit code, and what was printed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        log = Path("log").resolve()
        order = {"words": words, "kill": kill, "copy": copy, "folder": str(log.parent), "log": str(log)}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return code, log.read_text()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """`Server`, one a worker."""
    server = Server()
    yield server
    server.process.communicate()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A researcher's own folder: quadratic.py and conf/, and we stand in it."""
    folder = tmp_path / "mine"
    shutil.copytree(OUTSIDE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("RLGAN_TRUST", "quadratic")
    yield folder
    sys.modules.pop("quadratic", None)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rlgan(outside: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """`rlgan ...` in this process; gives (exit code, standard output, standard error)."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    return command


@pytest.fixture
def process(outside: Path) -> Command:
    """`python -m rlgan ...` in a process of its own."""

    def command(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "rlgan", *arguments],
            cwd=outside,
            env=dict(os.environ),
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return command


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without its timing keys."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{tag: value for tag, value in line.items() if not tag.startswith("time/")} for line in lines]


@pytest.fixture
def metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """`read_metrics`."""
    return read_metrics
