"""Configuration files as editors write them, in folders of a user's own: read, or said by name what is wrong."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from rlgan.runs.config.renames import current
from rlgan.runs.config.trust import Trust
from rlgan.runs.options import conf_directory
from tests.runs.conftest import Command

SMALL = ("task=quadratic", "steps=4", "progress=false", "tensorboard=false", "run_dir=run")
HEADER = "# @package _global_\n"
BODY = "defaults:\n  - override /flavour@noise: uniform\n  - _self_\ntask:\n  lr: 0.2\n"

#: A file's bytes, and what is said of it; nothing: it is read.
FILES: dict[str, tuple[bytes, str]] = {
    "plain": ((HEADER + BODY).encode(), ""),
    "a byte order mark": (b"\xef\xbb\xbf" + (HEADER + BODY).encode(), ""),
    "UTF-16": ((HEADER + BODY).encode("utf-16"), ""),
    "Windows line ends": ((HEADER + BODY).replace("\n", "\r\n").encode(), ""),
    "a comment and an empty line before": (("# mine\n\n" + HEADER + BODY).encode(), ""),
    "no header": (BODY.encode(), "lacks the line `# @package _global_`, by which its keys are the run's own"),
    "a header below": ((BODY + HEADER).encode(), "has its line `# @package _global_` below other lines; move it"),
    "a tab": ((HEADER + BODY + "noise:\n\tsigma: 1\n").encode(), "line 8 is indented by a tab; use spaces"),
    "a key twice": (
        (HEADER + BODY + "steps: 2\nsteps: 3\n").encode(),
        "line 8: the key steps is there twice; keep one",
    ),
    "empty": (b"", "is empty; write keys and values into it"),
    "comments alone": (HEADER.encode(), "is empty; write keys and values into it"),
    "a list": ((HEADER + "- a\n").encode(), "holds a list; it must hold keys and values"),
    "a word": ((HEADER + "a\n").encode(), "holds a single value; it must hold keys and values"),
    "latin-1": ((HEADER + BODY + "name: gr\xf6\n").encode("latin-1"), "is not UTF-8; save it with that encoding"),
    "UTF-16 without a mark": ((HEADER + BODY).encode("utf-16-le"), "is no text; save it as UTF-8"),
    "an open bracket": ((HEADER + BODY + "x: [1\n").encode(), "line 8 is no YAML ("),
    "a tag of Python's": ((HEADER + "x: !!python/name:os.system\n").encode(), "line 2: a tag is none of plain YAML's"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_an_editor(case: str, rlgan: Command) -> None:
    data, fault = FILES[case]
    Path("conf/experiment").mkdir()
    Path("conf/experiment/mine.yaml").write_bytes(data)
    code, _, err = rlgan(*SMALL, "experiment=mine")
    if not fault:
        assert code == 0 and "lr: 0.2" in Path("run/config.yaml").read_text(), err
    else:
        assert code == 2 and err.startswith(f"rlgan: conf/experiment/mine.yaml: {fault}"), err
        assert len(err.splitlines()) == 1 and not Path("run").exists()


@pytest.mark.parametrize("ending", [".yml", ".YAML", ".yaml.txt"])
def test_a_file_of_another_ending_is_named(ending: str, rlgan: Command) -> None:
    Path("conf/experiment/deep").mkdir(parents=True)
    Path(f"conf/experiment/deep/mine{ending}").write_text(HEADER + BODY)
    code, _, err = rlgan(*SMALL, "experiment=deep/mine")
    assert code == 2 and f"conf/experiment/deep/mine{ending} is not read; rename it to mine.yaml" in err


@pytest.mark.parametrize(
    "text",
    [
        "defaults:\n  - override /lipschitz: clip\n  - _self_\ndata: {_target_: rlgan.gan.Ring}\n",
        "steps: 3\ndata: {_target_: rlgan.gan.Ring}\n",
    ],
)
def test_an_option_that_sets_the_run_needs_the_header_too(text: str, rlgan: Command) -> None:
    Path("conf/data").mkdir()
    Path("conf/data/mine.yaml").write_text(text)
    code, _, err = rlgan("task=wgan", "data=mine")
    assert code == 2 and err.startswith("rlgan: conf/data/mine.yaml: lacks the line `# @package _global_`")


def test_a_file_of_a_known_name_is_refused_where_it_is_meant(
    rlgan: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("conf/optimizer").mkdir()
    mine = Path("conf/optimizer/adam.yaml")
    mine.write_text("_target_: rlgan.optim.adam\nlr: 0.5\n")
    assert rlgan(*SMALL)[0] == 0  # nothing asks for it
    code, _, err = rlgan("task=wgan", "optimizer@critic.optimizer=adam")
    assert (
        code == 2 and "optimizer = adam: is there twice, " in err and "rename yours, for example to my_adam.yaml" in err
    )
    mine.write_bytes((conf_directory() / "optimizer/adam.yaml").read_bytes())
    assert rlgan("task=wgan", "optimizer@critic.optimizer=adam", "--cfg", "job")[0] == 0  # a copy of ours is ours
    other = tmp_path / "other/flavour"
    other.mkdir(parents=True)
    (other / "normal.yaml").write_text("_target_: quadratic.Noise\nsigma: 7\n")
    monkeypatch.setenv("RLGAN_CONF", str(other.parent))
    code, _, err = rlgan(*SMALL)
    assert code == 2 and f"flavour = normal: is there twice, {other}/normal.yaml and conf/flavour/normal.yaml" in err
    monkeypatch.delenv("RLGAN_CONF")
    Path("conf/train.yaml").write_text("steps: 3\n")
    code, _, err = rlgan(*SMALL)
    assert code == 2 and err.startswith("rlgan: conf/train.yaml: rlgan's own root is called train.yaml, and yours")


def test_every_name_in_conf_is_public_and_of_the_kinds_that_a_run_directory_may_have() -> None:
    names = {
        word.strip(" -{},").split("#")[0].strip()
        for file in conf_directory().rglob("*.yaml")
        for line in file.read_text().splitlines()
        if not line.strip().startswith("#") and "_target_:" in line
        for word in re.findall(r"(?<!hydra_plugins\.)rlgan\.[\w.]+", line)
    }
    faces = Path(__file__).parents[2] / "test_public.py"
    texts = [node.value for node in ast.walk(ast.parse(faces.read_text())) if isinstance(node, ast.Constant)]
    public = {word for text in texts if isinstance(text, str) for word in text.split()}
    assert len(names) > 80
    for name in names:
        assert callable(Trust(frozenset()).locate(name, "")) and current(name) == name
        assert name.rpartition(".")[2] in public, name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rlgan.optim.schedule.Cosine", "rlgan.optim.Cosine"),
        ("rlgan.optim.averaging.Uniform", "rlgan.optim.UniformAverage"),
        ("rlgan.optim.Gaussian", "rlgan.optim.GaussianNoise"),
        ("rlgan.rl.exploration.Gaussian", "rlgan.rl.GaussianActionNoise"),
        ("rlgan.rl.replay.Uniform", "rlgan.rl.UniformReplay"),
        ("rlgan.rl.td3.TD3", "rlgan.rl.TD3"),
        ("rlgan.gan.lipschitz.Clip", "rlgan.gan.Clip"),
    ],
)
def test_a_name_of_an_earlier_version_is_found(old: str, new: str) -> None:
    assert Trust(frozenset()).locate(old, "") is Trust(frozenset()).locate(new, "")
