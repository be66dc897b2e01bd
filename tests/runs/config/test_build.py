"""The schema: what is converted, what is refused, and in which words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlgan.runs.config.build import build, build_settings, plain
from rlgan.task.errors import ConfigError
from rlgan.task.settings import Settings

HERE = __name__


@dataclass(frozen=True)
class Inner:
    lr: float = 1e-3
    kind: Literal["a", "bb"] = "a"

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr = {self.lr}: must be positive, for example 1e-3")


@dataclass(frozen=True)
class Unsaid(Inner, ABC):
    @abstractmethod
    def apply(self) -> None: ...


@dataclass(frozen=True)
class Outer(Inner):
    inner: Inner = field(default_factory=Inner)
    width: int = 3
    flag: bool = False
    widths: tuple[int, ...] = ()
    some: tuple[float, ...] | float | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    many: Sequence[Inner] = ()
    table: Mapping[str, float] = field(default_factory=dict)
    maybe: int | None = None
    either: Literal["auto"] | bool = "auto"
    word: str = ""


class Strict:
    def __init__(self, inner: Inner, size: int, call: Callable[[int], int] | None = None) -> None:
        self.values = (inner, size, call)


def outer(**values: Any) -> Outer:
    built = build({"_target_": f"{HERE}.Outer", **values}, "critic")
    assert isinstance(built, Outer)
    return built


def refusal(node: Any, path: str = "critic") -> str:
    with pytest.raises(ConfigError) as error:
        build(node, path)
    return str(error.value)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, HERE, sys.modules.get(HERE) or sys.modules[Outer.__module__])


def test_values_are_converted_only_where_nothing_is_lost() -> None:
    made = outer(lr=1, width=1e2, pair=[1, 2.5], widths=[4, 5], table={"x": 1}, maybe=None, word=2026, either=True)
    assert (type(made.lr), made.lr) == (float, 1.0)
    assert (type(made.width), made.width) == (int, 100)
    assert made.pair == (1.0, 2.5) and made.widths == (4, 5) and made.table == {"x": 1.0}
    assert made.word == "2026" and made.either is True and made.maybe is None


def test_nested_sections_are_built_by_target_and_by_annotation() -> None:
    made = outer(inner={"lr": 0.5}, many=[{"lr": 1}, {"_target_": f"{HERE}.Inner", "kind": "bb"}])
    assert made.inner == Inner(0.5) and list(made.many) == [Inner(1.0), Inner(kind="bb")]
    strict = build({"_target_": f"{HERE}.Strict", "inner": {"lr": 2}, "size": 1})
    assert strict.values == (Inner(2.0), 1, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 3.5}, "critic.width = 3.5: must be a whole number; its default is 3"),
        ({"width": True}, "critic.width = true: must be a whole number; its default is 3"),
        ({"width": "3"}, "critic.width = 3: must be a whole number; its default is 3"),
        ({"lr": "abc"}, "critic.lr = abc: must be a number; its default is 0.001"),
        ({"lr": math.nan}, "critic.lr = nan: must be a number; its default is 0.001"),
        ({"lr": None}, "critic.lr = null: must be a number; its default is 0.001"),
        ({"flag": 1}, "critic.flag = 1: must be true or false; its default is false"),
        ({"kind": "b"}, "critic.kind = b: must be a or bb; did you mean bb?"),
        ({"either": "auot"}, "critic.either = auot: must be auto or true or false; did you mean auto?"),
        ({"maybe": "x"}, "critic.maybe = x: must be a whole number or null"),
        ({"pair": [1]}, "critic.pair = [1]: must have 2 entries and has 1"),
        ({"widths": [1, "x"]}, "critic.widths = [1, 'x']: entry widths[1] = x: must be a whole number"),
        ({"some": [1, "x"]}, "critic.some = [1, 'x']: entry some[1] = x: must be a number"),
        ({"widths": 3}, "critic.widths = 3: must be a list, for example [1, 2]"),
        ({"table": 3}, "critic.table = 3: must be a section of keys and values"),
        ({"lrr": 1}, "critic.lrr = 1: Outer has no such key; did you mean lr?"),
        ({"inner": 3}, "critic.inner = 3: must be a section that describes a Inner; choose it as a group's option"),
        ({"inner": {"lr": -1}}, "critic.inner.lr = -1.0: must be positive, for example 1e-3"),
        ({"inner": {"lr": "x"}}, "critic.inner.lr = x: must be a number; its default is 0.001"),
        ({"inner": {"knid": "a"}}, "critic.inner.knid = a: Inner has no such key; did you mean kind?"),
        ({"many": [{"lr": 1}, {"lr": 0}]}, "critic.many[1].lr = 0.0: must be positive, for example 1e-3"),
        ({"lr": -1}, "critic.lr = -1.0: must be positive, for example 1e-3"),
    ],
)
def test_refusals_name_key_value_and_remedy(values: dict[str, Any], message: str) -> None:
    assert refusal({"_target_": f"{HERE}.Outer", **values}) == message


def test_missing_and_mistaken_targets() -> None:
    assert refusal({"_target_": f"{HERE}.Strict", "size": 1}) == (
        "critic.inner: is missing; Strict needs it, for example critic.inner=VALUE, or _partial_: true where it is "
        "given later"
    )
    wrong = {"_target_": f"{HERE}.Strict", "size": 1, "inner": {"_target_": f"{HERE}.Strict", "inner": {}, "size": 1}}
    assert refusal(wrong) == "critic.inner = {...}: must be a Inner, and a Strict is none"
    assert refusal({"_target_": "torch.optim.Addam"}).endswith("torch.optim has no Addam; did you mean Adam?")
    assert refusal({"_target_": f"{HERE}.Unsaid"}) == "critic._target_ = Unsaid: does not say apply; write it"
    assert "no module nowhere" in refusal({"_target_": "nowhere.X"})
    assert "must be a dotted name" in refusal({"_target_": "X"})
    assert "cannot be called" in refusal({"_target_": "math.pi"})
    assert "must be a section with _target_" in refusal(3)


def test_any_callable_is_its_own_schema_and_may_wait_for_arguments() -> None:
    made = build({"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.1, "betas": [0.5, 0.9]}, "critic")
    assert isinstance(made([torch.nn.Parameter(torch.zeros(1))]), torch.optim.Adam)
    assert made.keywords == {"lr": 0.1, "betas": (0.5, 0.9)}
    assert refusal({"_target_": "torch.optim.Adam", "_partial_": True, "lrr": 1}).endswith("did you mean lr?")


def test_interpolations_are_resolved_before_anything_is_built() -> None:
    config = OmegaConf.create({"steps": 7, "critic": {"_target_": f"{HERE}.Outer", "width": "${steps}"}})
    assert build(plain(config)["critic"]).width == 7
    with pytest.raises(ConfigError, match=r"^a: Interpolation key 'b' not found"):
        plain(OmegaConf.create({"a": "${b}"}))
    with pytest.raises(ConfigError, match=r"^env\.id = \?\?\?: has to be given"):
        plain(OmegaConf.create({"env": {"id": "???"}}))


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers())))
def test_a_setting_is_accepted_or_refused_by_name_and_nothing_else_happens(value: Any) -> None:
    for key in ("steps", "seed", "precision", "progress", "log_every", "compile", "name"):
        try:
            settings = build_settings({key: value})
        except ConfigError as error:
            assert str(error).startswith(f"{key} = ")
        else:
            assert isinstance(settings, Settings)


@pytest.mark.parametrize("values", [{"steps": 0}, {"threads": 0}, {"seed": -1}, {"log_every": -1}, {"keep_last": 0}])
def test_impossible_settings(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(values))} = -?\d: must be"):
        Settings(**values)  # type: ignore[arg-type]


def test_devices_and_dtypes() -> None:
    assert Settings(device="cpu").torch_device == torch.device("cpu")
    assert Settings(precision="float64").dtype is torch.float64
    with pytest.raises(ValueError, match=r"^device = cpuu: torch knows no such device; did you mean cpu\?"):
        Settings(device="cpuu")
    with pytest.raises(ValueError, match=r"^device = cuda:97: this machine has \d+ CUDA device"):
        Settings(device="cuda:97")
