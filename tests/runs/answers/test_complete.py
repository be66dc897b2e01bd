"""Tab completion: what may stand where the cursor is, in a shell as well, and nothing else in the terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlgan.runs.answers.complete import candidates
from rlgan.runs.answers.keys import keys_of
from rlgan.runs.answers.meant import _values as values_of
from rlgan.runs.config.build import plain
from rlgan.runs.config.overrides import group_choices
from rlgan.runs.config.sources import ROOT
from rlgan.runs.options import conf_directory, options
from tests.small import rlgan

SOME = (
    *([f"task={task}"] for task in ("wgan", "ddpg", "erm")),
    *([f"experiment={name}"] for name in options()["experiment"] if name.startswith(("gan/", "rl/"))),
    ["task=ddpg", "agent=td3", "exploration=mixed", "replay=prioritised"],
    ["game=lookahead", "game@game.inner=extragradient", "schedule@critic.schedule=warmup"],
    ["task=ddpg", "callbacks=[early_stopping,time_limit]"],
)


@pytest.mark.parametrize("words", SOME, ids=" ".join)
def test_keys_and_places_are_those_of_the_composed_configuration(words: list[str]) -> None:
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        config = compose(ROOT, overrides=words, return_hydra_config=True)
    choices = group_choices(config.hydra.runtime.choices)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    whole = {key for key, _ in values_of(plain(config))}
    found = keys_of(words)
    shown = {key for key in found.values if "._" not in key and not key.startswith(("compare.", "task."))}
    assert shown - {"compare"} == whole - {"compare"}
    several = ("callbacks", "metrics", "pictures", "experiment")
    assert {place: one for place, one in found.places.items() if place not in several} == {
        place: one for place, one in choices.items() if place not in several
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three runs, `new` the newest, and a picture."""
    monkeypatch.chdir(tmp_path)
    for age, run in enumerate(("outputs/wgan/new_seed=0", "outputs/wgan/old_seed=0", "outputs/sweeps/a/b")):
        folder = tmp_path / run
        (folder / "checkpoints").mkdir(parents=True)
        for name in ("config.yaml", "status.json"):
            (folder / name).write_text("{}")
        os.utime(folder / "status.json", (1e9 - age, 1e9 - age))
    for step in (5, 40):
        (tmp_path / f"outputs/wgan/new_seed=0/checkpoints/step_{step:09d}.json").touch()
    (tmp_path / "picture.png").touch()
    return tmp_path


RUNS = ["outputs/wgan/new_seed=0", "outputs/wgan/old_seed=0", "outputs/sweeps/a/b"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rlgan lipschitz=one", ["lipschitz=one_sided"]),
        ("rlgan task=", ["task=ddpg", "task=erm", "task=wgan"]),
        ("rlgan -m lipschitz=clip,spec", ["lipschitz=clip,spectral_norm"]),
        ("rlgan optimizer@", ["optimizer@critic.optimizer=", "optimizer@generator.optimizer="]),
        ("rlgan optimizer@critic.optimizer=amsg", ["optimizer@critic.optimizer=amsgrad"]),
        ("rlgan opti", ["optimizer@"]),
        ("rlgan task=erm opti", ["optimizer=", "optimizer."]),
        ("rlgan experiment=gan/ring_", [f"experiment=gan/ring_{name}" for name in ("best", "clip", "gp")]),
        ("rlgan task=ddpg agent.d", ["agent.discount="]),
        ("rlgan experiment=rl/td3 agent.s", ["agent.smoothing=", "agent.smoothing_bound="]),
        ("rlgan ++task=ddpg ++cap", ["++capacity="]),
        ("rlgan task=ddpg env=half lips", []),
        ("rlgan critic.network.norm=", [f"critic.network.norm={norm}" for norm in ("none", "batch", "layer")]),
        ("rlgan progress=f", ["progress=false"]),
        ("rlgan seed=1 see", ["seeds="]),
        ("rlgan callbacks=[early", ["callbacks=[early_stopping"]),
        ("rlgan hydra/launcher=bas", ["hydra/launcher=basic"]),
        ("rlgan --vers", ["--version"]),
        ("rlgan evalu", ["evaluate"]),
        ("rlgan evaluate ", ["latest", *RUNS]),
        ("rlgan evaluate outputs/w", RUNS[:2]),
        ("rlgan evaluate latest checkpoint=", [f"checkpoint={one}" for one in ("best", "last", "40", "5")]),
        ("rlgan evaluate latest jso", ["json="]),
        ("rlgan evaluate latest json=", ["json=true", "json=false"]),
        (f"rlgan evaluate {RUNS[0]} outputs/w", [RUNS[1]]),
        ("rlgan export latest chec", ["checkpoint="]),
        ("rlgan export latest outp", []),
        ("rlgan new ag", ["agent"]),
        ("rlgan new agent my", []),
        ("rlgan resume=", [f"resume={run}" for run in ("latest", *RUNS)]),
        ("rlgan resume=outputs/wgan/o", [f"resume={RUNS[1]}"]),
        ("rlgan 'open", []),
    ],
)
def test_candidates(line: str, words: list[str], here: Path) -> None:
    found = [word.strip() for word in candidates(line)]
    assert found[: len(words)] == words if line.endswith("evaluate ") else found == words


def test_the_line_counts_as_far_as_the_cursor(here: Path) -> None:
    line = "rlgan lipschitz=on task=ddpg"
    assert candidates(line, len("rlgan lipschitz=on")) == ["lipschitz=one_sided"]
    names = [word.strip() for word in candidates("rlgan ")]
    assert names[:2] == ["train", "evaluate"] and len(names) == len(set(names))
    assert "lipschitz=" in names and "optimizer@" in names and "critic." in names and "hydra" not in "".join(names)
    assert "agent=" in [word.strip() for word in candidates("rlgan task=ddpg ")]


def test_the_user_s_own_options_are_there_too(here: Path) -> None:
    (here / "conf/lipschitz").mkdir(parents=True)
    (here / "conf/lipschitz/mine.yaml").write_text("strength: 1.0\nkind: soft   # soft | hard\n")
    assert candidates("rlgan lipschitz=mi") == ["lipschitz=mine"]
    assert candidates("rlgan lipschitz=mine lipschitz.") == ["lipschitz.strength=", "lipschitz.kind="]
    assert candidates("rlgan lipschitz=mine lipschitz.kind=") == ["lipschitz.kind=soft", "lipschitz.kind=hard"]


SCRIPT = """
PATH="$1:$PATH"
eval "$(rlgan -sc install=bash)"
shift
for line in "$@"; do
    COMP_LINE="$line" COMP_POINT=${#line} COMP_WORDS=($line) COMPREPLY=()
    _rlgan_complete rlgan
    echo "${COMPREPLY[*]}" | tr '\\n' ' '
    echo
done
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_gets_what_follows_its_last_break_and_nothing_on_standard_error(here: Path) -> None:
    (here / "bin").mkdir()
    run = here / "bin/rlgan"
    run.write_text(f'#!/bin/sh\nexec {sys.executable} -W always -m rlgan "$@"\n')
    run.chmod(0o755)
    (here / "conf").mkdir()
    broken = here / "conf/experiment"
    broken.mkdir()
    (broken / "torn.yaml").write_text("a: [1,\n")
    lines = ["rlgan lipschitz=one", "rlgan resume=outputs/wgan/n", "rlgan experiment=torn optim"]
    done = subprocess.run(
        ["bash", "-c", SCRIPT, "bash", str(here / "bin"), *lines], cwd=here, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert [line.strip() for line in done.stdout.splitlines()] == ["one_sided", "outputs/wgan/new_seed=0", ""]


def test_neither_torch_nor_hydra_is_imported(here: Path) -> None:
    script = (
        "import sys\nfrom rlgan.runs.answers.complete import candidates\nimport rlgan.runs.cli\n"
        "assert candidates('rlgan task=ddpg critic.optimizer.l') == ['critic.optimizer.lr=']\n"
        "assert candidates('rlgan evaluate ')\n"
        "assert not {'torch', 'hydra', 'numpy', 'omegaconf'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_lines(shell: str) -> None:
    ended = rlgan("-sc", f"install={shell}")
    assert ended.code == 0 and f"-sc query={shell}" in ended.out and ended.err == ""
    assert rlgan("-sc", f"uninstall={shell}").code == 0
    if shutil.which(shell):
        check = [shell, "--no-execute"] if shell == "fish" else [shell, "-n"]
        assert subprocess.run(check, input=ended.out, text=True, capture_output=True).stderr == ""


def test_another_shell_is_refused() -> None:
    ended = rlgan("-sc", "install=tcsh")
    assert ended.code == 2 and ended.err == "rlgan: -sc install=tcsh: use install=bash, install=zsh or install=fish\n"
