"""Arrays and tables with labels: what they are read as, what is asked about, and what is refused with its place."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlgan.erm import ArrayFile, Auto, CrossEntropy, Sample, Squared
from rlgan.erm.problems.own.arrays import _read

IRIS = "length, width, species\n" + "\n".join(f"{i / 7}, {i % 5}, {'ab'[i % 2]}" for i in range(40))


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def written(folder: Path, text: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def numbers(n: int = 50, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d))


def whole(problem: ArrayFile) -> tuple[np.ndarray, np.ndarray]:
    """All samples, in the order of their first feature."""
    parts = [part for part in (problem.train, problem.test) if part is not None]
    x, y = (np.concatenate([part[k].numpy() for part in parts]) for k in (0, 1))
    order = np.argsort(x.reshape(len(x), -1)[:, 0], kind="stable")
    return x[order], y[order]


def test_an_npz_two_npy_and_a_table_are_the_same_samples(tmp_path: Path) -> None:
    x, y = numbers(), np.arange(50) % 3
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    rows = "\n".join(",".join([*map(repr, map(float, row)), str(label)]) for row, label in zip(x, y, strict=True))
    problems = [
        ArrayFile(path=saved(tmp_path, x=x, y=y)),
        ArrayFile(path=saved(tmp_path, inputs=x, labels=y)),
        ArrayFile(path=saved(tmp_path, one=x, two=y), x="one", y="two"),
        ArrayFile(path=tmp_path / "x.npy", y_path=tmp_path / "y.npy"),
        ArrayFile(path=written(tmp_path, rows)),
        ArrayFile(path=written(tmp_path, "a;b;c;label\n" + rows.replace(",", ";")), y="label"),
        ArrayFile(path=written(tmp_path, "a\tb\tc\tlabel\n\n" + rows.replace(",", "\t"), "a.tsv")),
    ]
    for problem in problems:
        assert problem.kind == "classes" and problem.classes == 3 and problem.names() == ["0", "1", "2"]
        assert problem.test is not None and len(problem.train.y) + len(problem.test.y) == 50
        for part, other in zip((problem.train, problem.test), (problems[0].train, problems[0].test), strict=True):
            assert other is not None
            torch.testing.assert_close(part.x, other.x, rtol=0, atol=0)
            assert torch.equal(part.y, other.y)


def test_numbers_are_standardised_by_the_training_samples_unless_told(tmp_path: Path) -> None:
    x = numbers() * [1.0, 100.0, 0.0] + [5.0, -3.0, 2.0]
    path = saved(tmp_path, x=x, y=np.arange(50) % 2)
    problem = ArrayFile(path=path)
    assert problem.test is not None
    torch.testing.assert_close(problem.train.x.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(problem.train.x.var(0, correction=0), torch.tensor([1.0, 1, 0]).double())
    assert float(problem.test.x.mean(0).abs().max()) > 1e-3
    values = ArrayFile(path=saved(tmp_path, x=x, y=7 + 30 * numbers(50, 2)))
    torch.testing.assert_close(values.train.y.mean(0), torch.zeros(2).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(values.train.y.var(0, correction=0), torch.ones(2).double())
    path = saved(tmp_path, x=x, y=np.arange(50) % 2)
    plain = ArrayFile(path=path, standardise=False)
    np.testing.assert_array_equal(whole(plain)[0], x[np.argsort(x[:, 0])])


def test_huge_and_tiny_numbers_are_standardised_as_others_are(tmp_path: Path) -> None:
    y = np.arange(50) % 2
    for power in (500, -500):  # their squares are beyond what float64 holds; powers of two round nothing
        x = numbers() * 2.0**power
        problem = ArrayFile(path=saved(tmp_path, x=x, y=y), held_out=0.0)
        torch.testing.assert_close(problem.train.x.var(0, correction=0), torch.ones(3).double())
        again = ArrayFile(path=saved(tmp_path, x=numbers(), y=y), held_out=0.0)
        assert torch.equal(problem.train.x, again.train.x)


def test_whole_numbers_that_no_integer_holds_are_names(tmp_path: Path) -> None:
    beyond = ("9223372036854775808", "9223372036854775809", "1_0")
    rows = "".join(f"{i},{beyond[i % 3]}\n" for i in range(30))
    assert sorted(ArrayFile(path=written(tmp_path, rows)).names()) == sorted(beyond)


def test_a_head_of_numbers_is_known_by_the_name_of_the_labels(tmp_path: Path) -> None:
    rows = "2019,2020,y\n" + "".join(f"{i},{i + 1},{i % 2}\n" for i in range(30))
    problem = ArrayFile(path=written(tmp_path, rows), y="y", held_out=0.0)
    assert (len(problem.train.y), problem.classes) == (30, 2)


def test_words_and_whole_numbers_are_classes_and_other_numbers_values(tmp_path: Path) -> None:
    words = ArrayFile(path=written(tmp_path, IRIS))
    assert words.kind == "classes" and words.names() == ["a", "b"] and isinstance(Auto().of(words), CrossEntropy)
    values = ArrayFile(path=saved(tmp_path, x=numbers(), y=numbers(50, 1)[:, 0]))
    assert values.kind == "values" and values.targets == () and isinstance(Auto().of(values), Squared)
    assert values.train.y.dtype is torch.float64 and "labels are values" in values.notes()[0]
    several = ArrayFile(path=saved(tmp_path, x=numbers(), y=numbers(50, 2)))
    assert several.targets == (2,) and several.train.y.shape[1:] == (2,)
    signs = ArrayFile(path=saved(tmp_path, x=numbers(), y=np.where(np.arange(50) % 2, 1, -1)))
    assert signs.names() == ["-1", "1"] and set(signs.train.y.tolist()) == {0, 1}
    ages = saved(tmp_path, x=numbers(), y=np.arange(50))
    for doubtful in (ages, saved(tmp_path / ".", x=numbers(), y=(np.arange(50) % 3).astype(float))):
        with pytest.raises(ValueError, match=r"may be classes or values; set labels=classes or labels=values"):
            ArrayFile(path=doubtful)
        assert ArrayFile(path=doubtful, labels="values").kind == "values"
        assert ArrayFile(path=doubtful, labels="classes").kind == "classes"


def test_images_are_scaled_and_their_labels_stay_beside_them(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    y = pixels[:, 0, 0, 0] // 128  # told by the picture itself
    problem = ArrayFile(path=saved(tmp_path, images=pixels, labels=y))
    assert problem.inputs == (3, 8, 8) and problem.test is not None
    for part in (problem.train, problem.test):
        assert torch.equal((part.x[:, 0, 0, 0] > 0.0).long(), part.y)
        assert -1 <= float(part.x.min()) < -0.99 and 0.99 < float(part.x.max()) <= 1
    assert "uint8 0..255 read as [-1, 1]" in problem.notes()
    dark = ArrayFile(path=saved(tmp_path, x=pixels / 255 * 0.1, y=y))
    assert any("problem.value_range" in note for note in dark.notes())


def test_which_are_held_out_does_not_change_when_others_come(tmp_path: Path) -> None:
    x, y = numbers(300), np.arange(300) % 2
    few = ArrayFile(path=saved(tmp_path, x=x[:200], y=y[:200]), standardise=False)
    more = ArrayFile(path=saved(tmp_path, x=x[::-1], y=y[::-1]), standardise=False)

    def held(problem: ArrayFile) -> set[float]:
        assert problem.test is not None
        return set(problem.test.x[:, 0].tolist())

    assert held(few) == held(more) & set(x[:200, 0].tolist()) and 0 < len(held(more)) < 120


def test_another_file_may_be_the_test(tmp_path: Path) -> None:
    train, test = written(tmp_path, IRIS), written(tmp_path, "length,width,species\n1.0,2.0,b\n", "t.csv")
    problem = ArrayFile(path=train, test_path=test)
    assert len(problem.train.y) == 40 and problem.test is not None and problem.test.y.tolist() == [1]
    assert sorted(problem.inputs_from_outside()) == ["problem.path", "problem.test_path"]
    strange = written(tmp_path, "length,width,species\n1.0,2.0,c\n", "s.csv")
    with pytest.raises(ValueError, match=r"^test_path = .*s.csv: has the class c, which no training sample has"):
        ArrayFile(path=train, test_path=strange)
    narrow = written(tmp_path, "length,species\n1.0,b\n", "n.csv")
    with pytest.raises(ValueError, match=r"^test_path = .*n.csv: holds samples of shape \(1,\), and path of \(2,\)"):
        ArrayFile(path=train, test_path=narrow)
    with pytest.raises(ValueError, match=r"^test_path = .*none.csv: cannot be read"):
        ArrayFile(path=train, test_path=tmp_path / "none.csv")
    np.save(tmp_path / "x.npy", numbers())
    np.save(tmp_path / "y.npy", np.arange(50) % 2)
    np.save(tmp_path / "t.npy", numbers(9))
    np.save(tmp_path / "ty.npy", np.arange(9) % 2)
    x, y, t = (tmp_path / f"{name}.npy" for name in "xyt")
    pair = ArrayFile(path=x, y_path=y, test_path=t, test_y_path=tmp_path / "ty.npy")
    assert pair.test is not None and len(pair.train.y) == 50 and len(pair.test.y) == 9
    with pytest.raises(ValueError, match=r"^test_y_path = null: t.npy holds inputs alone"):
        ArrayFile(path=x, y_path=y, test_path=t)
    with pytest.raises(ValueError, match=r"^test_y_path = .*no.npy: there is no such file"):
        ArrayFile(path=x, y_path=y, test_path=t, test_y_path=tmp_path / "no.npy")
    with pytest.raises(ValueError, match=r"^y_path = .*no.npy: there is no such file"):
        ArrayFile(path=x, y_path=tmp_path / "no.npy")


def test_a_class_without_a_training_sample_is_told(tmp_path: Path) -> None:
    rare = [ArrayFile(path=saved(tmp_path, x=numbers(), y=np.where(np.arange(50) == i, 2, Y))) for i in range(50)]
    told = ["no training sample is of 2 (1 of 3 classes)" in problem.notes() for problem in rare]
    assert told == [2 not in problem.train.y for problem in rare] and 0 < sum(told) < 50


def test_columns_may_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, "id,a,b,kind\n1,0.5,2,x\n2,0.25,3,y\n3,1,5,x\n")
    problem = ArrayFile(path=path, columns=("b", "a"), standardise=False, held_out=0.0)
    assert problem.train.x.tolist() == [[0.5, 2], [0.25, 3], [1, 5]] and problem.test is None
    other = ArrayFile(path=path, y="a", columns=("id", "b"), labels="values", held_out=0.0, standardise=False)
    assert other.train.y.tolist() == [0.5, 0.25, 1]


def test_a_file_is_read_once_for_many_seeds_and_again_when_it_changes(tmp_path: Path) -> None:
    path = written(tmp_path, IRIS)
    before = _read.cache_info().misses
    first, second = ArrayFile(path=path), ArrayFile(path=path, random_labels=0.5)
    assert _read.cache_info().misses == before + 1
    assert first.inputs_from_outside() == second.inputs_from_outside()
    written(tmp_path, IRIS + "\n9.5, 1, b\n")
    os.utime(path, (1, 1))
    changed = ArrayFile(path=path)
    assert changed.inputs_from_outside() != first.inputs_from_outside()
    assert len(whole(changed)[1]) == 41


def test_random_labels_are_of_classes_alone(tmp_path: Path) -> None:
    noisy = ArrayFile(path=written(tmp_path, IRIS), random_labels=1.0)
    plain = ArrayFile(path=written(tmp_path, IRIS))
    assert isinstance(noisy.test, Sample) and plain.test is not None
    assert not torch.equal(noisy.train.y, plain.train.y) and torch.equal(noisy.test.y, plain.test.y)
    with pytest.raises(ValueError, match=r"^random_labels = 0.5: labels are values"):
        ArrayFile(path=saved(tmp_path, x=numbers(), y=numbers()[:, 0]), random_labels=0.5)


def _csv(text: str, **options: Any) -> Callable[[Path], ArrayFile]:
    return lambda folder: ArrayFile(path=written(folder, text), **options)


def _npz(options: dict[str, Any] | None = None, **arrays: Any) -> Callable[[Path], ArrayFile]:
    return lambda folder: ArrayFile(path=saved(folder, **arrays), **options or {})


X, Y = numbers(), np.arange(50) % 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: ArrayFile(path=folder / "no.npz"), r"^path = .*no.npz: there is no such file"),
        (lambda folder: ArrayFile(path=folder / "no.csv"), r"^path = .*no.csv: cannot be read \(No such file"),
        (lambda folder: ArrayFile(path=folder / "a.parquet"), r"^path = .*: is neither .npz, .npy nor a table"),
        (lambda folder: ArrayFile(path=folder / "x.npy"), r"^y_path = null: x.npy holds inputs alone"),
        (lambda folder: ArrayFile(labels="words"), r"^labels = words: must be auto, classes or values"),  # type: ignore[arg-type]
        (lambda folder: ArrayFile(held_out=1.0), r"^held_out = 1.0: "),
        (lambda folder: ArrayFile().train, r"^problem.path = null: has to be given, for example problem.path=points"),
        (_csv(""), r"^path = .*: the file is empty"),
        (_csv("1,2,a\n3,b\n"), r"^path = .*: line 2 has 2 cells and the first 3"),
        (_csv("a,b,y\n1,2,u\n\n3,oh,v\n"), r"^path = .*: line 4, column b holds oh, which is no number"),
        (_csv("a,b,y\n1,,u\n"), r"^path = .*: line 2, column b holds nothing"),
        (_csv("a,b,y\n1,2,\n"), r"^path = .*: line 2 has no label in column y"),
        (_csv("a,b,y\n"), r"^path = .*: has no line of numbers"),
        (_csv("a,a,y\n1,2,u\n"), r"^path = .*: two columns have the name a"),
        (_csv("1 2 0\n3 4 1\n"), r"^path = .*: has no column besides the labels in its line 1; .*separated by tabs"),
        (_csv("1,1_000,0\n3,4,1\n"), r"^path = .*: line 1, column 2 holds 1_000, which is no number"),
        (_csv("2019,2020,y\n1,2,0\n3,4,1\n"), r"line 1 has the label y where all others are numbers; .*problem.y=y"),
        (_csv("1,2,u\n3,4,v\n", y="kind"), r"^y = kind: a.csv has no line of names at its head"),
        (_csv("a,b\n1,u\n2,v\n", y="kind"), r"^y = kind: a.csv has a, b; choose of these"),
        (_csv("a,b\n1,u\n2,v\n", columns=("c",)), r"^columns = c: a.csv has a, b"),
        (_csv("a,b\n1,u\n2,v\n", x="a"), r"^x = a: a.csv is a table; name its columns of inputs, columns=\[a\]"),
        (_csv("1,u\n2,u\n3,u\n"), r"^path = .*: every label is u"),
        (_csv("1,u\n2,v\n3,u\n", labels="values"), r"^labels = values: the labels of .* are words, such as u"),
        (_npz(a=X, b=Y), r"^x = null: a.npz holds a, b; say which is inputs"),
        (_npz(x=X, b=Y), r"^y = null: a.npz holds x, b; say which is labels"),
        (_npz({"y": "z"}, x=X, b=Y), r"^y = z: a.npz holds x, b; choose one of them"),
        (_npz({"columns": ("a",)}, x=X, y=Y), r"^columns = \['a'\]: a.npz is no table"),
        (_npz(x=X, y=Y[:-1]), r"^path = .*: has 50 inputs and 49 labels"),
        (_npz(x=X, y=np.where(np.arange(50) == 7, np.nan, 0.5)), r"^path = .*: the label of sample 7 is nan or inf"),
        (_npz(x=np.where(X[4, 1] == X, np.inf, X), y=Y), r"^path = .*: sample 4 has nan or inf in feature 1"),
        (_npz(x=X.astype(str), y=Y), r"^path = .*: inputs of dtype <U32 are no numbers"),
        (_npz(x=X, y=np.array([None] * 50)), r"^path = .*Python objects, pickled, are not loaded"),
        (_npz({"labels": "classes"}, x=X, y=X), r"^labels = classes: .* has 3 labels for each sample"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path)
