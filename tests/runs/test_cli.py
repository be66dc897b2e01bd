"""The command line: one line per mistake, help worth reading, sweeps that hide nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlgan.runs.cli import evaluate_main, main

OUTSIDE = Path(__file__).parents[1] / "runs/outside"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rlgan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`rlgan ...` in this process, in an outside researcher's folder."""
    folder = tmp_path / "mine"
    shutil.copytree(OUTSIDE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("RLGAN_TRUST", "quadratic")
    monkeypatch.delitem(sys.modules, "quadratic", raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    return command


MISTAKES = {
    "task=qaudratic": "task = qaudratic: task has no such option; did you mean task=quadratic?",
    "task=wgna": "task = wgna: task has no such option; did you mean task=wgan?",
    "task=zzz": "task = zzz: task has no such option; its options are ",
    "taks=quadratic": "taks = quadratic: there is no such key; did you mean task?",
    "stesp=5": "stesp = 5: there is no such key; did you mean steps?",
    "steps=abc": "steps = abc: must be a whole number; its default is 1000",
    "steps=-1": "steps = -1: must be at least 1, for example steps=1",
    "compile=yes": "compile = yes: must be auto or true or false",
    "device=cpuu": "device = cpuu: torch knows no such device; did you mean cpu?",
    "task.lrr=1": "task.lrr = 1: Quadratic has no such key; did you mean lr?",
    "task.lr=-1": "task.lr = -1.0: must be positive, for example 1e-3",
    "noise.sigam=1": "noise.sigam = 1: Noise has no such key; did you mean sigma?",
    "noise.sigma=abc": "noise.sigma = abc: must be a number; its default is 0.1",
    "noise.kind=nromal": "noise.kind = nromal: must be normal or uniform; did you mean normal?",
    "flavour=uniform": "flavour = uniform: task quadratic has no such place; did you mean flavour@noise=uniform?",
    "flavour@noise=unifrm": "flavour@noise = unifrm: flavour has no such option; did you mean flavour@noise=uniform?",
    "flavour@nosie=uniform": "flavour@nosie = uniform: task quadratic has no such place; did you mean flavour@noise=",
    "data=ring": "data = ring: task quadratic has no group data, task wgan has; did you mean task=wgan data=ring?",
    "agent=ddgp": "agent = ddgp: task quadratic has no group agent, task ddpg has; did you mean task=ddpg agent=ddpg?",
    "task=wgan lipschitz=gp2": "lipschitz = gp2: lipschitz has no such option; did you mean lipschitz=gradient_penalty",
    "colour@noise=red": "colour@noise = red: there is no such group; did you mean flavour?",
    "task._target_=quadratic.Q": "task._target_ = quadratic.Q: quadratic has no Q; ",
    "task._target_=quadratic.Noisy": "task._target_ = quadratic.Noisy: quadratic has no Noisy; did you mean Noise?",
    "steps=${nothing}": "steps: Interpolation key 'nothing' not found",
    "steps=[1": "steps = [1: cannot be read; put it in quotes",
    "nonsense": "nonsense: is no key=value; see --help",
    "--nonsense": "--nonsense: no such option; see --help",
    "resume=nowhere": "nowhere: no such run; runs are made below outputs/",
    "run_dir=conf": "run_dir = conf: holds other files (flavour); name a new or an empty directory",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_exit_code_2(rlgan: Command, mistake: str) -> None:
    task = [] if mistake.startswith(("task=", "taks=")) else ["task=quadratic"]
    code, out, err = rlgan(*task, *mistake.split())
    assert code == 2 and out == ""
    assert err.startswith(f"rlgan: {MISTAKES[mistake]}") and len(err.splitlines()) == 1
    # What cannot be built leaves nothing behind.
    assert not Path("outputs").exists() and not Path("conf/lock").exists()


def test_full_errors_on_request(rlgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    code, _, err = rlgan("task=quadratic", "task.lr=-1")
    assert code == 2 and "Traceback" in err and err.splitlines()[-1].startswith("rlgan: task.lr = -1.0")


def test_a_run_ends_with_its_table_and_the_line_that_opens_tensorboard(rlgan: Command) -> None:
    code, out, err = rlgan("task=quadratic", "steps=30", "name=first", "eval_every=${steps}")
    assert code == 0, err
    runs = list(Path("outputs/quadratic").iterdir())
    assert len(runs) == 1 and runs[0].name.endswith("_seed=0") and "first" in runs[0].name
    assert out.splitlines()[-1] == f"tensorboard --logdir {runs[0]}"
    assert out.splitlines()[-2].startswith("best checkpoint: the last one, of step 30: distance/eval ")
    assert any(line.split()[0] == "distance/eval" for line in out.splitlines())
    assert sorted(item.name for item in Path.cwd().iterdir() if item.name != "__pycache__") == [
        "conf",
        "outputs",
        "quadratic.py",
    ]
    summary = json.loads((runs[0] / "summary.json").read_text())
    assert summary["step"] == 30 and set(summary) == {"step", "player/loss", "distance/eval", "time/seconds"}


def test_the_same_seed_gives_the_same_summary(rlgan: Command) -> None:
    for name in ("a", "b"):
        assert rlgan("task=quadratic", "seed=1", f"run_dir={name}")[0] == 0
    first, second = (json.loads(Path(f"{name}/summary.json").read_text()) for name in ("a", "b"))
    first.pop("time/seconds"), second.pop("time/seconds")
    assert first == second


def test_a_sweep_runs_everything_and_lists_what_failed(rlgan: Command) -> None:
    code, _, err = rlgan("-m", "task=quadratic", "seed=1,2", "task.lr=-1,0.1", "steps=10")
    assert code == 2
    assert "2 of 4 runs finished" in err
    assert err.splitlines()[-1].startswith("  refused: task=quadratic seed=2 task.lr=-1 steps=10: task.lr = -1.0")
    (sweep,) = Path("outputs/quadratic").iterdir()
    assert sweep.name.endswith("_lr_seed")
    runs = sorted(file.parent for file in sweep.glob("*/status.json"))
    assert [run.name for run in runs] == ["lr=0.1_seed=1", "lr=0.1_seed=2"]
    assert all(json.loads((run / "status.json").read_text())["state"] == "finished" for run in runs)


def test_evaluate_measures_a_checkpoint_and_changes_nothing_else(
    rlgan: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rlgan("task=quadratic", "run_dir=run")[0] == 0
    before = {file: file.read_bytes() for file in Path("run").rglob("*") if file.is_file()}
    summary = json.loads(Path("run/summary.json").read_text())
    code, out, _ = rlgan("evaluate", "run", "checkpoint=last")
    assert code == 0 and "distance/eval" in out
    record = json.loads(Path("run/evaluation.json").read_text())
    assert record["metrics"] == {"step": 60, "distance/eval": summary["distance/eval"]}
    assert Path("run/evaluation/samples_theta.png").exists()
    assert {file: file.read_bytes() for file in before} == before
    assert "step 60" in rlgan("evaluate", "run", "checkpoint=step_000000060.pt")[2]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "run", "checkpoint=7"])
    with pytest.raises(SystemExit) as end:
        evaluate_main()
    assert end.value.code == 2 and "use best, last or one of the steps" in capsys.readouterr().err
    code, _, err = rlgan("evaluate", "conf")
    assert code == 2 and "is not a run" in err and "run" in err.partition("nearby: ")[2]


def test_help_shows_commands_and_every_group(rlgan: Command) -> None:
    code, out, _ = rlgan("--help")
    assert code == 0
    lines = out.splitlines()
    start = lines.index("Eleven commands worth copying:")
    commands = lines[start + 1 : lines.index("", start)]
    assert len(commands) == 11 and all(line.startswith("  rlgan") for line in commands)
    assert "  flavour" in out and "normal, uniform" in out
    assert max(map(len, lines)) <= 120


def test_help_version_and_tab_completion_do_not_import_torch(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom rlgan.runs.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    assert 'torch' not in sys.modules, 'torch was imported'"
    )
    env = {**os.environ, "COMP_LINE": "rlgan lipschitz=", "COMP_POINT": "16", "_HYDRA_OLD_COMP": "1"}
    for words in (["--help"], ["--version"], ["-sc", "install=bash"], ["-sc", "query=bash"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *words], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    assert "lipschitz=clip" in done.stdout.split()


def test_an_outside_package_adds_its_configurations_by_environment_variable(tmp_path: Path) -> None:
    env = {**os.environ, "RLGAN_CONF": str(OUTSIDE / "conf"), "PYTHONPATH": str(OUTSIDE)}
    command = [sys.executable, "-m", "rlgan", "task=quadratic", "steps=5", "run_dir=run"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wrong = {**env, "RLGAN_CONF": "/nowhere"}
    done = subprocess.run(command, cwd=tmp_path, env=wrong, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("rlgan: RLGAN_CONF = /nowhere: no such folder")


def test_a_run_is_found_by_the_name_that_it_was_given(rlgan: Command) -> None:
    """Names end in `_seed=0`, and Hydra's grammar takes no second `=`: a copied path works all the same."""
    code, out, _ = rlgan("task=quadratic", "steps=4", "progress=false", "tensorboard=false")
    assert code == 0
    path = out.split("--logdir ")[1].strip()
    assert path.endswith("_seed=0")
    code, _, err = rlgan("evaluate", path)
    assert code == 0, err
    code, _, err = rlgan(f"resume={path}", "steps=6")
    assert code == 0 and "resuming at step 4" in err
    code, _, err = rlgan("task=quadratic", "steps=3", "progress=false", "tensorboard=false", "run_dir=it's/k=1")
    assert code == 0 and Path("it's/k=1/summary.json").exists(), err
    code, _, err = rlgan("evaluate", "outputs/no_seed=0")
    assert code == 2 and "no such run" in err
