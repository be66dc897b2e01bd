"""Folders of pictures with classes: by folder and by a file of labels, their split, and what is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rlgan.erm import ERM, Folder
from rlgan.nets import ConvSpec
from rlgan.optim import adam
from rlgan.task.settings import Settings

LEVELS = {"dark": 20, "light": 230}


def fill(folder: Path, n: int = 20, side: int = 8, channels: int = 1) -> Path:
    """Dark and light pictures of noise in a folder of their own, some deeper."""
    generator = np.random.default_rng(0)
    for name, level in LEVELS.items():
        for i in range(n):
            below = folder / name / ("deep" if i % 5 == 0 else "")
            below.mkdir(parents=True, exist_ok=True)
            pixels = (level + generator.integers(-20, 20, (side, side, channels))).astype(np.uint8)
            Image.fromarray(pixels.squeeze()).save(below / f"{i}.png")
    return folder


def test_a_folder_is_a_class_and_pictures_are_scaled(tmp_path: Path) -> None:
    problem = Folder(path=fill(tmp_path))
    assert problem.classes == 2 and problem.names() == ["dark", "light"] and problem.inputs == (1, 8, 8)
    assert problem.test is not None and len(problem.train.y) + len(problem.test.y) == 40
    for part in (problem.train, problem.test):
        assert torch.equal((part.x.mean((1, 2, 3)) > 0).long(), part.y) and part.x.abs().max() <= 1
    assert "labels are 2 classes" in problem.notes()[0]
    whole = Folder(path=tmp_path, held_out=0.0)
    assert whole.test is None and float(whole.train.x.min()) == 0 / 127.5 - 1


@pytest.mark.parametrize("kind", ["csv", "headed", "json"])
def test_a_file_of_labels_tells_the_same(tmp_path: Path, kind: str) -> None:
    fill(tmp_path / "pictures")
    names = sorted(p.relative_to(tmp_path / "pictures").as_posix() for p in (tmp_path / "pictures").rglob("*.png"))
    told = {name: "night" if name.startswith("dark") else "day" for name in names}
    path = tmp_path / ("labels.json" if kind == "json" else "labels.csv")
    lines = [*(["file,class"] if kind == "headed" else []), *(f"{name},{label}" for name, label in told.items())]
    path.write_text(json.dumps(told) if kind == "json" else "\n".join(lines))
    problem = Folder(path=tmp_path / "pictures", labels=path)
    assert problem.names() == ["day", "night"]
    assert torch.equal(problem.train.y, 1 - Folder(path=tmp_path / "pictures").train.y)
    assert problem.inputs_from_outside() != Folder(path=tmp_path / "pictures").inputs_from_outside()


def test_added_pictures_move_none_of_the_others_and_another_folder_may_be_the_test(tmp_path: Path) -> None:
    few = Folder(path=fill(tmp_path / "a", 30))
    fingerprint = few.inputs_from_outside()
    fill(tmp_path / "a", 60)
    more = Folder(path=tmp_path / "a")
    assert fingerprint != more.inputs_from_outside()
    assert len(more.train.y) > len(few.train.y) > 30
    apart = Folder(path=tmp_path / "a", test_path=fill(tmp_path / "b", 4))
    assert len(apart.train.y) == 120 and apart.test is not None and len(apart.test.y) == 8


def test_a_convolutional_network_learns_them_as_a_task(tmp_path: Path) -> None:
    problem = Folder(path=fill(tmp_path, channels=3), side=8)
    task = ERM(Settings(steps=30), problem, ConvSpec(channels=(4, 8)), adam(1e-2), batch_size=8)
    for _ in range(30):
        task.learn(False)
    found = task.evaluate()
    assert found["error/train"] == 0 and found["error/test"] == 0
    assert set(task.inputs()) == {"problem.path"}


def _parts(folder: Path) -> Folder:
    fill(folder / "train", 2), fill(folder / "test", 2)
    return Folder(path=folder)


def _loose(folder: Path) -> Folder:
    os.rename(fill(folder) / "dark" / "1.png", folder / "1.png")
    return Folder(path=folder)


def _labels(text: str, name: str = "labels.csv") -> Callable[[Path], Folder]:
    def make(folder: Path) -> Folder:
        (folder / name).write_text(text)
        return Folder(path=fill(folder / "pictures", 2), labels=folder / name)

    return make


def _one_class(folder: Path) -> Folder:
    for path in (fill(folder) / "light").rglob("*.png"):
        path.unlink()
    return Folder(path=folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: Folder(path=folder / "no"), r"^path = .*no: there is no such folder"),
        (lambda folder: Folder(path=folder), r"^path = .*: holds no pictures"),
        (
            lambda folder: Folder(path=fill(folder), test_path=folder / "no"),
            r"^test_path = .*no: there is no such folder",
        ),
        (lambda folder: Folder(path=fill(folder), memory_mb=0), r"^memory_mb = 0: 40 pictures take 0 MiB; set side"),
        (lambda folder: Folder(side=0), r"^side = 0: "),
        (lambda folder: Folder(background="no"), r"^background = no: "),
        (_parts, r"^path = .*: test, train are parts of a data set and no classes; give one as path=.*test"),
        (_loose, r"^path = .*: 1.png lies in no folder of a class"),
        (_one_class, r"^path = .*: every label is dark"),
        (_labels("dark/1.png,night"), r"^labels = .*: does not tell the class of .*, nor of 2 others"),
        (_labels("dark/1.png,night,x"), r"^labels = .*: line 1 is not a file's name and a label"),
        (_labels("a,night\nb,day\na,night\na,day"), r"^labels = .*: line 4 says that a is day, and a line above night"),
        (_labels("", "no.csv"), r"^labels = .*: the file is empty"),
        (_labels("[1, 2]", "a.json"), r"^labels = .*: is no object of names and labels"),
        (_labels("{", "a.json"), r"^labels = .*: is no JSON"),
    ],
)
def test_what_cannot_be_used_is_said_with_a_remedy(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path)
