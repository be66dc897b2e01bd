"""A class or a module of one's own that cannot even be made: one line that says where."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rlgan.optim import RMS, Descent, Method
from rlgan.runs.config.build import build
from rlgan.task.errors import ConfigError

HERE = __name__


class Raises:
    def __init__(self, size: int = 3) -> None:
        self.size = size
        self.total = self.seize * 2  # type: ignore[attr-defined]


def lacks_a_number() -> Method:
    return Descent(1e-3, metric=RMS(0.9, 1e-8))  # type: ignore[call-arg]


def refuses(size: int = 3) -> object:
    raise ValueError(f"size = {size}: must be even, for example 4")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Raises", "agent = Raises: making it raised AttributeError: 'Raises' object has no attribute 'seize'"),
        ("lacks_a_number", "missing 1 required positional argument: 'bias_correction' (test_own_p"),
        ("refuses", "agent.size = 3: must be even, for example 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_said_in_one_line(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        build({"_target_": f"{HERE}.{name}"}, "agent")
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ndef f(:\n", "importing {name} raised SyntaxError: invalid syntax ({name}.py, line 2); mend it there"),
        ("\nx = undefined\n", "importing {name} raised NameError: name 'undefined' is not defined ({name}.py, line 2)"),
        ("import nowhere_to_be_found\n", "its module needs nowhere_to_be_found, which is not installed"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_line(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own_module_{len(text)}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError) as error:
        build({"_target_": f"{name}.Agent"}, "agent")
    assert words.format(name=name) in str(error.value) and "\n" not in str(error.value)
    assert name not in sys.modules
