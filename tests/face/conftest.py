"""Runs of this folder land in folders of the tests' own, without pictures, which take a second each."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlgan.gan.wgan import WGAN
from rlgan.rl.trainer import Trainer
from rlgan.runs.study import study


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in (WGAN, Trainer):
        monkeypatch.setattr(kind, "pictures", lambda self: {})
    monkeypatch.setattr(study, "page_at_end", lambda *_: "")
