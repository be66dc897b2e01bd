"""Sweeps: a folder with short names, gone on with by the same command, and nothing is hidden."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode

from rlgan.runs.config.sources import ROOT, conf_directory, register
from rlgan.runs.sweep.folder import Folder, Job, begin
from rlgan.runs.sweep.job import requeue, share_device
from rlgan.runs.sweep.names import names
from rlgan.runs.sweep.shared import Shared
from tests.runs.conftest import Command

SMALL = ("task=quadratic", "steps=6", "progress=false", "logger=[]")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of all runs takes longer than these runs do."""
    monkeypatch.setattr("rlgan.runs.study.study.page_at_end", lambda *_: "")


def states(sweep: str = "s") -> dict[str, str]:
    return {one.job.name: one.state for one in Folder(Path(sweep).absolute()).ended()}


def test_names_are_short_differ_and_end_in_the_seed() -> None:
    jobs = [{"seed": "1", "critic.optimizer.lr": "1e-3", "actor.optimizer.lr": lr} for lr in ("1e-3", "1e-4")]
    assert names(jobs) == [f"critic.lr=1e-3_actor.lr={lr}_seed=1" for lr in ("1e-3", "1e-4")]
    assert names([{"optimizer@critic.optimizer": "adam", "critic.optimizer.lr": "0.1"}]) == ["optimizer=adam_lr=0.1"]
    assert names([{"network.hidden": "[64,64]"}, {"network.hidden": "[64 64]"}]) == ["hidden=64-64", "hidden=64-64-2"]
    assert names([{}]) == ["run"] and len(names([{"name": "x" * 300}])[0]) == 100


@pytest.mark.usefixtures("undrawn")
def test_the_same_command_leaves_out_what_is_finished_and_goes_on_with_the_rest(rlgan: Command) -> None:
    words = ("-m", *SMALL, "run_dir=s", "task.lr=0.1,-1", "seed=1,2")
    code, _, err = rlgan(*words)
    assert code == 2 and "2 of 4 runs finished" in err and "goes on with: rlgan -m task=quadratic" in err
    assert states() == {
        f"lr={lr}_seed={k}": "finished" if lr == "0.1" else "refused" for lr in ("0.1", "-1") for k in (1, 2)
    }
    kept = Path("s/lr=0.1_seed=1/metrics.jsonl").stat().st_mtime_ns
    code, _, err = rlgan("-m", *SMALL, "run_dir=s", "task.lr=0.1,0.2", "seed=1,2", "progress=true")
    assert code == 0 and "2 of 4 runs are finished already" in err and err.splitlines()[-1] == "4 of 4 runs finished"
    assert Path("s/lr=0.1_seed=1/metrics.jsonl").stat().st_mtime_ns == kept
    # A run that stood still is taken up, and one that was gone on with by hand is no failure.
    for name, state in (("lr=0.1_seed=1", "running"), ("lr=0.2_seed=1", "interrupted")):
        status = json.loads(Path(f"s/{name}/status.json").read_text())
        Path(f"s/{name}/status.json").write_text(json.dumps({**status, "state": state}))
    assert states()["lr=0.1_seed=1"] == "killed" and states()["lr=0.2_seed=1"] == "interrupted"
    assert rlgan("resume=s/lr=0.2_seed=1")[0] == 0 and states()["lr=0.2_seed=1"] == "finished"
    code, _, err = rlgan("-m", *SMALL, "run_dir=s", "task.lr=0.1", "seed=1,2")
    assert code == 2 and "holds a sweep of other words (task.lr is varied there and 0.1 here)" in err
    assert rlgan("-m", *SMALL, "run_dir=s", "task.lr=0.1,0.2", "seed=1,2")[0] == 0
    assert set(states().values()) == {"finished"}


@pytest.mark.usefixtures("undrawn")
def test_what_is_wrong_with_one_job_is_said_of_it_and_the_others_run(rlgan: Command) -> None:
    code, _, err = rlgan("-m", *SMALL, "run_dir=s", "task.lr=0.1,${nothing},0.2")
    assert code == 2 and "2 of 3 runs finished" in err
    assert "Interpolation key 'nothing' not found" in err.splitlines()[-1]


@pytest.mark.usefixtures("undrawn")
def test_an_interruption_stops_the_sweep_and_what_never_began_is_counted(rlgan: Command) -> None:
    words = ("-m", *SMALL, "run_dir=s", "task.events={3: SIGINT}", "seed=1,2,3")
    code, _, err = rlgan(*words)
    assert code == 130 and "0 of 3 runs finished" in err and err.splitlines()[-1] == "  not started: 2"
    assert "SIGINT at step 4: saved (s/seed=1)" in err
    code, _, err = rlgan("resume=s")
    assert code == 2 and "resume = s: is a sweep; give its command" in err
    assert rlgan(*words)[0] == 130 and states() == {
        "seed=1": "finished",
        "seed=2": "interrupted",
        "seed=3": "not started",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run_dir=s", "steps=7"), "run_dir = s: holds a sweep of other words (steps is 6 there and 7 here)"),
        (("run_dir=s/run",), "run_dir = s/run: holds a run, and a sweep needs a folder for all its runs"),
        (("run_dir=conf",), "run_dir = conf: holds other files (flavour)"),
        (("run_dir=a,b",), "run_dir = a,b: in a sweep it is the folder of all its runs; give one"),
        (("task.lr=interval(0,1)",), "task.lr = interval(0,1): has no end of values; name some"),
        (
            ("flavour@noise=normal,unifrm",),
            "flavour@noise = unifrm: flavour has no such option; did you mean flavour@noise=uniform?",
        ),
        (("hydra/launcher=jobli",), "hydra/launcher = jobli: there is no such launcher; did you mean joblib?"),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_swept_is_one_line_and_leaves_nothing(rlgan: Command, words: Sequence[str], says: str) -> None:
    assert rlgan("-m", *SMALL, "run_dir=s", "seed=1")[0] == 0
    code, _, err = rlgan("-m", *SMALL, "seed=1", *words)
    assert code == 2 and err.startswith(f"rlgan: {says}") and len(err.splitlines()) == 1, err
    assert not Path("outputs/quadratic").exists() or not list(Path("outputs/quadratic").iterdir())


@pytest.mark.usefixtures("undrawn")
def test_a_launcher_that_is_not_installed_says_which_extra(rlgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ['ray>=2.40; extra == "ray"'])
    code, _, err = rlgan("-m", *SMALL, "seed=1", "hydra/launcher=ray")
    assert code == 2 and err == 'rlgan: hydra/launcher = ray: is not installed; pip install "rlgan[ray]"\n'


class Losing(Launcher):
    """A pool that breaks at the first job of a batch, and loses a job that it has begun."""

    def setup(self, **given: Any) -> None:
        self.inner = BasicLauncher()
        self.inner.setup(**given)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from rlgan.runs.sweep.job import current

        subdir = next(word for word in job_overrides[0] if word.startswith("hydra.sweep.subdir=")).partition("=")[2]
        if "seed=2" in subdir:  # what is begun here never ends
            begin(Path("s") / subdir.strip("'"), ["seed=2"], current().start)
            raise RuntimeError("a worker died")
        return self.inner.launch(job_overrides, initial_job_idx)


@pytest.mark.usefixtures("undrawn")
def test_a_worker_that_is_killed_twice_is_given_up_and_the_others_run(rlgan: Command) -> None:
    Plugins.instance().class_name_to_class["hydra_plugins.tests.Losing"] = Losing
    code, _, err = rlgan(
        "-m", *SMALL, "run_dir=s", "seed=1,2,3", "hydra.sweeper.max_batch_size=1",
        "hydra.launcher._target_=hydra_plugins.tests.Losing",
    )  # fmt: skip
    assert code == 137 and err.count("a worker was lost (RuntimeError: a worker died)") == 2, err
    assert states() == {"seed=1": "finished", "seed=2": "killed", "seed=3": "finished"}
    assert "  killed: " in err.splitlines()[-1] and "(s/seed=2)" in err.splitlines()[-1]


class Asking(Sweeper):
    """A sweeper as others write them: it names its parameters itself, and wants a number."""

    got: ClassVar[list[float]] = []
    named: ClassVar[list[str]] = []

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        assert self.launcher is not None
        Asking.named = arguments
        for lr in ("0.1", "0.5", "-1"):
            words = [word.replace("0.1,0.5", lr) for word in arguments]
            Asking.got += [result.return_value for result in self.launcher.launch([words], initial_job_idx=0)]


@pytest.mark.usefixtures("undrawn")
def test_a_job_returns_the_tasks_best_metric_to_any_sweeper(rlgan: Command) -> None:
    Plugins.instance().class_name_to_class["hydra_plugins.tests.Asking"] = Asking
    Path("conf/hydra/sweeper").mkdir(parents=True)
    Path("conf/hydra/sweeper/asking.yaml").write_text("_target_: hydra_plugins.tests.Asking\n")
    Asking.got.clear()
    code, _, err = rlgan("-m", *SMALL, "run_dir=s", "task.lr=0.1,0.5", "hydra/sweeper=asking")
    assert code == 2 and "2 of 3 runs finished" in err and "task.lr=0.1,0.5" in Asking.named
    told = [json.loads(Path(f"s/lr={lr}/summary.json").read_text())["distance/eval"] for lr in ("0.1", "0.5")]
    assert Asking.got[:2] == told and math.isnan(Asking.got[2])
    code, _, _ = rlgan("-m", *SMALL, "run_dir=t", "seeds=3", "task.lr=0.1,0.5", "hydra/sweeper=asking")
    assert Asking.got[3] == json.loads(Path("t/lr=0.1/summary.json").read_text())["metrics"]["distance/eval"]["iqm"]


def test_what_is_composed_once_is_what_hydra_composes_every_time() -> None:
    register()
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration(ROOT, [], RunMode.MULTIRUN)
        shared = Shared(loader)
        for k in range(3):
            words = [
                "task=ddpg",
                f"++critic.optimizer.lr={k}e-3",
                "optimizer@actor.optimizer=sgd",
                f"hydra.sweep.subdir=s{k}",
            ]
            assert shared.load_sweep_config(master, words) == loader.load_sweep_config(master, words)


@pytest.mark.parametrize(("says", "asked"), [("JobState=RUNNING Reason=None", 1), ("JobState=COMPLETING", 0), ("", 0)])
def test_a_preempted_job_is_requeued_and_not_a_cancelled_one(
    says: str, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\n[ "$*" = "show job 77" ] && echo "   {says}"\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for key, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "77"}.items():
        monkeypatch.setenv(key, value)
    came: list[int] = []
    former = signal.signal(signal.SIGUSR2, lambda number, _: came.append(number))
    try:
        requeue()
        monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
        requeue()
    finally:
        signal.signal(signal.SIGUSR2, former)
    assert came == [signal.SIGUSR2] * asked


def test_devices_are_shared_out_by_the_jobs_number(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for count, device, number in ((1, "auto", 5), (4, "cpu", 5), (4, "cuda:1", 5), (4, "auto", 5), (4, "cuda", 3)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        share_device(number, device)
    assert chosen == [1, 3]


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_runs_elsewhere_is_waited_for(rlgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import fcntl, sys; file = open('s/run/lock', 'a+'); fcntl.lockf(file, fcntl.LOCK_EX);"
        "file.truncate(0); file.write('77 on here'); file.flush(); print('held', flush=True); sys.stdin.read(1)"
    )
    assert rlgan("-m", *SMALL, "run_dir=s", "seed=1")[0] == 0
    Path("s/run/status.json").unlink()
    Path("s/run/job.json").unlink()
    other = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == "held\n"
    monkeypatch.setattr("time.sleep", lambda _: other.kill())
    try:
        code, _, err = rlgan("-m", *SMALL, "run_dir=s", "seed=1")
    finally:
        other.communicate()
    assert code == 0 and "process 77 on here is running there; this job waits for it" in err


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_launchers_of_other_processes_run_a_sweep(process: Command, launcher: str) -> None:
    pytest.importorskip({"submitit_local": "submitit"}.get(launcher, launcher))
    words = ("-m", *SMALL, "run_dir=s", "seed=1,2,3", "task.lr=0.1", f"hydra/launcher={launcher}", "trust=[quadratic]")
    code, _, err = process(*words)
    assert code == 0 and err.splitlines()[-1] == "3 of 3 runs finished", err
    assert len(list(Path("s").rglob("*.html"))) == 1
    assert "DeprecationWarning" not in err and "UserWarning" not in err
    Path("s/seed=2/status.json").unlink()
    Path("s/seed=2/job.json").unlink()
    code, _, err = process(*words)
    assert code == 0 and "2 of 3 runs are finished already" in err, err
    assert not Folder(Path("s").absolute()).stands(Job("seed=2", ())).message
