"""The commit of the code is told, nothing of the repository is run, and without git there is none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlgan
from rlgan.runs.logging import origin as module
from rlgan.runs.logging.origin import origin


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    module._origin.cache_clear()
    yield
    module._origin.cache_clear()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of somebody else's, with one commit."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "agent.py").write_text("a = 1\n")
    who = ("-c", "user.name=somebody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "begin")):
        subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    return folder


def head(folder: Path) -> str:
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_of_the_folder_and_whether_files_were_changed(repository: Path) -> None:
    assert origin(repository)["here"] == {"commit": head(repository), "dirty": False}
    (repository / "notes.txt").write_text("git does not know it\n")
    (repository / "inner").mkdir()
    module._origin.cache_clear()
    assert origin(repository / "inner")["here"]["dirty"] is False
    (repository / "agent.py").write_text("a = 12\n")
    module._origin.cache_clear()
    assert origin(repository)["here"] == {"commit": head(repository), "dirty": True}


def test_the_packages_own_repository_is_named_once(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    package = repository / "rlgan"
    package.mkdir()
    monkeypatch.setattr(rlgan, "__file__", str(package / "__init__.py"))
    assert origin(repository) == {"rlgan": {"commit": head(repository), "dirty": False}}
    monkeypatch.setattr(rlgan, "__file__", str(repository / "venv/site-packages/rlgan/__init__.py"))
    module._origin.cache_clear()
    assert list(origin(repository)) == ["here"]


def test_no_command_of_the_repository_is_run(repository: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    spy = tmp_path / "spy"
    spy.write_text(f"#!/bin/sh\ntouch {proof}\ncat\n")
    spy.chmod(0o755)
    for key in ("core.fsmonitor", "filter.spy.clean", "filter.spy.process"):
        subprocess.run(["git", "config", key, str(spy)], cwd=repository, check=True)
    (repository / ".gitattributes").write_text("* filter=spy\n")
    (repository / "agent.py").write_text("a = 3\n")  # of the same length: its content has to be looked at
    subprocess.run(["git", "status"], cwd=repository, check=True, capture_output=True)
    assert proof.exists()  # this is what would happen
    proof.unlink()
    assert origin(repository)["here"] == {"commit": head(repository), "dirty": True}
    assert not proof.exists()


def test_without_git_or_a_repository_there_is_no_commit(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare").mkdir()
    assert "here" not in origin(tmp_path / "bare")
    monkeypatch.setenv("PATH", str(tmp_path))
    module._origin.cache_clear()
    assert origin(repository) == {}
