"""`rlgan.train`: a run from Python, its errors as exceptions, its interruptions, in threads and other programs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import rlgan
from rlgan.erm.erm import ERM
from rlgan.runs.options import conf_directory
from rlgan.task.errors import ConfigError, RunError
from tests.face.runs import WORDS
from tests.small import checkpoint, differences, status, train


def small(**settings: Any) -> rlgan.face.Trained:
    return rlgan.train(*WORDS["erm"], **{"steps": 4, **settings})


def test_it_is_the_run_of_the_command_line(tmp_path: Path) -> None:
    run = small(seed=3, run_dir=tmp_path / "python", **{"optimizer.lr": 0.003, "network.hidden": [8], "horizon": None})
    assert run.step == 4 and run.seeds == [3] and run.config["optimizer"]["lr"] == 0.003
    words = ("steps=4", "seed=3", "optimizer.lr=0.003", "network.hidden=[8]", "run_dir=typed")
    typed = train(*WORDS["erm"], *words)
    assert differences(checkpoint(run.path, 4)["task"], checkpoint(typed, 4)["task"]) == []
    assert {"optimizer.lr=0.003", "seed=3"} <= set((run.path / "overrides.jsonl").read_text().split('"'))


def test_words_with_signs_of_their_own_arrive_as_they_are() -> None:
    assert small(name="a, 'b' c").config["name"] == "a, 'b' c"
    assert small(name="1e3").config["name"] == "1e3"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("task=nope",), "task = nope: task has no such option"),
        (("task=erm", "stepps=3"), "stepps = 3: there is no such key"),
        (("task=erm", "steps=0"), "steps = 0: must be at least 1"),
        (("seed=1,2",), "seed = 1,2: are several values; train them one by one"),
        (("-m", "seed=1,2"), "-m: is no key=value"),
        (("hydra.run.dir=x",), "a run's directory is chosen by run_dir=x"),
    ],
)
def test_a_mistake_is_an_exception_and_leaves_nothing(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        rlgan.train(*words)
    assert list(tmp_path.iterdir()) == []


def test_words_in_a_list_are_told_to_have_a_star() -> None:
    with pytest.raises(ConfigError, match=r"\['task=erm'\]: is no word; .* train\(\*words\)"):
        rlgan.train(["task=erm"])  # type: ignore[arg-type]


def test_a_run_that_fails_raises_what_the_command_line_says() -> None:
    with pytest.raises(RunError, match=r"stopped at step .*largest parameter"):
        rlgan.train(*WORDS["wgan"], "generator.optimizer.lr=1e30", steps=20)


def interrupted(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the user press Ctrl-C so many times in the third step."""
    play: Callable[[ERM], Iterator[Any]] = ERM.play

    def pressed(self: ERM) -> Iterator[Any]:
        if self.steps_done == 2:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        yield from play(self)

    monkeypatch.setattr(ERM, "play", pressed)


def test_ctrl_c_saves_and_the_message_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt, match=r'rlgan.train\("resume=.*own"\)'):
        interrupted(patched, 1)
        small(steps=6, run_dir="own")
    assert status(tmp_path / "own")["state"] == "interrupted" and signal.getsignal(signal.SIGINT) is handler
    run = rlgan.train("resume=own", progress=False)
    assert run.step == 6 and status(tmp_path / "own")["state"] == "finished"


def test_a_second_ctrl_c_ends_the_run_and_not_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interrupted(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt, match="second SIGINT: left without saving"):
        small(run_dir="own")
    assert status(tmp_path / "own")["state"] == "interrupted"


def test_two_threads_train_at_the_same_time() -> None:
    alone = small(seed=1, run_dir="alone")
    found: dict[int, rlgan.face.Trained] = {}
    threads = [
        threading.Thread(target=lambda k=k: found.update({k: small(seed=k, run_dir=f"thread{k}")})) for k in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.keys() == {1, 2} and found[2].seeds == [2]
    assert differences(checkpoint(found[1].path, 4)["task"], checkpoint(alone.path, 4)["task"]) == []


def test_a_program_with_hydra_of_its_own_keeps_it() -> None:
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        small()
        assert GlobalHydra.instance().is_initialized()
        assert compose("train", overrides=["steps=7"]).steps == 7


def test_processes_of_torchrun_do_not_each_train_the_whole_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(key, "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match=r"rlgan.train: is called in 2 processes .* torchrun --nproc_per_node=2"):
        small(run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
