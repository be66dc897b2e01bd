"""What the schema calls a word or a path is the text as typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rlgan.runs.config.places import Settler, place
from rlgan.runs.config.reading import dump, read
from rlgan.runs.config.trust import EVERYONE
from rlgan.runs.config.words import Words, as_text, parse, pieces, quoted, text_of
from tests.runs.conftest import Command

SMALL = ("task=quadratic", "steps=4", "progress=false", "tensorboard=false")
NAMES = (
    *("2024_11_28", "007", "1e3", "0x10", "1:30", "true", "on", "nan", "-1", "1.0", " leading", "a,b", "[set]", "{x}"),
    *("~tmp", "$HOME", "a=b", "it's", 'quo"te', "back\\slash", "x\\", "set (1)", "größe_日本", "100%", "c#1"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_holds_a_run(name: str, rlgan: Command) -> None:
    code, _, err = rlgan(*SMALL, f"run_dir={name}", f"name={name}")
    assert code == 0 and (Path(name) / "summary.json").exists(), err
    assert read((Path(name) / "config.yaml").read_bytes(), "")["name"] == name
    assert rlgan("evaluate", name)[0] == 0
    code, _, err = rlgan(f"resume={name}", "steps=5", f"name=x{name}")
    assert code == 0 and "resuming at step 4" in err
    changes = json.loads((Path(name) / "overrides.jsonl").read_text().splitlines()[-1])["changes"]
    assert changes == {"steps": 5, "name": f"x{name}"}


def test_numbers_switches_and_null_stay_what_they_are(rlgan: Command) -> None:
    assert rlgan(*SMALL, "task.lr=1e-1", "name=null", "seed=1_0", "run_dir=run")[0] == 0
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert (
        config["task"]["lr"] == 0.1 and config["name"] is None and config["seed"] == 10 and config["compile"] == "auto"
    )
    code, _, err = rlgan(*SMALL, "task.lr=1,2")
    assert code == 2 and "are several values; -m runs each of them" in err
    code, _, err = rlgan("resume=run", "steps=5,6")
    assert code == 2 and "a resumed run cannot be swept" in err


def test_a_sweep_and_a_file_keep_the_text_too(rlgan: Command) -> None:
    assert rlgan("-m", *SMALL, "name=007,2024_11_28,true")[0] == 0
    runs = sorted(Path("outputs/quadratic").glob("*/*/config.yaml"))
    assert {yaml.safe_load(file.read_text())["name"] for file in runs} == {"007", "2024_11_28", "true"}
    Path("conf/experiment").mkdir()
    for i, text in enumerate(("2024_11_28", "007", "1e3", "0x10", "1:30", "yes", "'1_0'")):
        Path(f"conf/experiment/e{i}.yaml").write_text(f"# @package _global_\nname: {text}\ntask: {{lr: 0.2}}\n")
        assert rlgan(*SMALL, f"experiment=e{i}", f"run_dir=r{i}")[0] == 0
        config = yaml.safe_load(Path(f"r{i}/config.yaml").read_text())
        assert config["name"] == text.strip("'") and config["task"]["lr"] == 0.2


def test_a_path_is_kept_from_where_the_run_was_launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    config: dict[str, Any] = {
        "task": {"_target_": "rlgan.gan.WGAN"},
        "data": {"_target_": f"{__name__}.Pictures", "path": "pictures"},
    }
    settle = Settler(EVERYONE, Words(), tmp_path)
    assert settle(config)["data"]["path"] == f"{tmp_path}/pictures"
    for text, wanted in {
        "/a/b": "/a/b",
        "~/p": "/home/somebody/p",
        "~p": f"{tmp_path}/~p",
        "./a": f"{tmp_path}/a",
    }.items():
        config["data"]["path"] = text
        assert settle(config)["data"]["path"] == wanted
    config["data"] |= {"path": 20241128, "words": [7, 2.5], "other": 8}
    typed = Words(("data.path=2024_11_28", "data.words=[007,2.50]"))
    # Hydra gives 007 as text; a number that nobody typed is none of a word's business here.
    assert Settler(EVERYONE, typed, tmp_path)(config)["data"] == {
        "_target_": f"{__name__}.Pictures",
        "path": f"{tmp_path}/2024_11_28",
        "words": [7, "2.50"],
        "other": 8,
    }


class Pictures:
    def __init__(self, path: Path | None = None, words: tuple[str, ...] = (), other: str | int = 0) -> None:
        self.path = path


def test_places() -> None:
    assert (
        place(str | None) == place(Annotated[str, "x"]) == "word" and place(Path | None) == place(str | Path) == "path"
    )
    assert place(str | int) is place(Any) is place(list[str]) is place(None) is None


WORD = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)


@given(WORD)
def test_any_text_in_quotes_is_read_as_it_stands(text: str) -> None:
    assert text_of(as_text(f"key={text}")) == text


@given(WORD)
def test_any_text_of_a_file_comes_back(text: str) -> None:
    assert read(dump({"key": text, "list": [text, 1, None, True]}).encode(), "") == {
        "key": text,
        "list": [text, 1, None, True],
    }


def test_what_the_grammar_reads_is_left_to_it() -> None:
    assert quoted("a=[1") == "a=[1" and quoted("a='x'") == "a='x'" and quoted("--help") == "--help"
    assert parse(quoted("a=x=y")).value() == "x=y"
    assert pieces("a,[b,c],'d,e',f") == ["a", "[b,c]", "'d,e'", "f"]
    assert Words(("a=1e3,2_0",)).text("a", 20) == "2_0" and Words(("a='1'",)).text("a", "1") is None
