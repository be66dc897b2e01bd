"""Weights & Biases, offline: one run there for all starts, with the numbers of metrics.jsonl."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlgan.gan import WGAN
from rlgan.runs.logging.logger import Logger
from rlgan.runs.logging.sinks import sinks_of
from rlgan.runs.logging.weights_and_biases import WandB
from rlgan.task.errors import ConfigError
from rlgan.task.settings import Settings
from rlgan.task.sink import Opening

pytest.importorskip("wandb", reason="needs rlgan[wandb]")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No network, and nobody's account."""
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HOME", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    yield
    wandb.teardown()


def records(run: Path) -> Iterator[Any]:
    """The records of every start, as wandb reads them back."""
    import wandb

    wandb.teardown()  # its own process writes, and is waited for
    proto: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for piece in pieces(file.read_bytes()):
            yield proto.Record.FromString(piece)


def pieces(data: bytes) -> Iterator[bytes]:
    """The records of a log of LevelDB's: blocks of 32 KiB with (checksum, length, whole / first / middle / last)."""
    at, whole = 7, b""  # after a header of wandb's own
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


def history(run: Path) -> list[dict[str, Any]]:
    items = [record.history.item for record in records(run) if record.WhichOneof("record_type") == "history"]
    rows = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in row} for row in items]
    return [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]


def test_all_starts_go_on_in_one_run_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    logger = Logger(Opening(run, WGAN, {"steps": 3}, {"lipschitz": "clip"}), [WandB()])
    logger.scalars(1, {"critic/loss": 0.5})
    kept = logger.flush()
    logger.pictures(1, {"samples": np.zeros((4, 4, 3), np.uint8)})
    logger.histograms(1, {"weights": np.arange(9.0)})
    logger.end("interrupted", {})
    logger.close()
    logger = Logger(Opening(run, WGAN, {"steps": 3}, step=1), [WandB()], kept["metrics_bytes"])
    logger.scalars(2, {"critic/loss": 0.25})
    logger.end("finished", {})
    logger.close()
    assert logger.notes == []
    rows = [{key: row[key] for key in ("critic/loss", "step")} for row in history(run) if "critic/loss" in row]
    assert rows == [{"critic/loss": 0.5, "step": 1}, {"critic/loss": 0.25, "step": 2}]
    ids = {record.run.run_id for record in records(run) if record.WhichOneof("record_type") == "run"}
    assert ids == {json.loads((run / "wandb.json").read_text())["id"]}
    codes = [record.exit.exit_code for record in records(run) if record.WhichOneof("record_type") == "exit"]
    assert codes == [1, 0]


def test_what_was_logged_before_it_was_wanted_is_there_too_and_seeds_have_one_each(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = tmp_path / f"seed={seed}"
        run.mkdir()
        logger = Logger(Opening(run))
        logger.scalars(1, {"x": float(seed)})
        kept = logger.flush()
        logger.close()
    together = [Logger(Opening(tmp_path / f"seed={seed}", step=1), [WandB()], kept["metrics_bytes"]) for seed in (0, 1)]
    for seed, logger in enumerate(together):
        logger.scalars(2, {"x": 10.0 + seed})
    for logger in together:
        logger.close()
    for seed in (0, 1):
        assert [row["x"] for row in history(tmp_path / f"seed={seed}")] == [seed, 10 + seed]


def test_without_an_account_or_the_package_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(ConfigError, match=r"^logger = wandb: nobody is logged in; call `wandb login` once, or set"):
        sinks_of(Settings(logger=["wandb"]))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'^logger = wandb: is not installed; pip install "rlgan\[wandb\]"$'):
        sinks_of(Settings(logger=["csv", "wandb"]))
