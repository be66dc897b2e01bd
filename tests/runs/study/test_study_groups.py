"""What differs between runs is found and named shortly; seeds make a group; curves and scores of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlgan.runs.study.groups import Section, command_of, sections
from rlgan.runs.study.reading import Record, read_run
from rlgan.runs.study.scores import bands, score
from rlgan.task.errors import ConfigError
from tests.runs.study.written import write_run


class Written:
    """Runs in a folder, numbered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[Record] = []

    def __call__(self, *given: Any, **named: Any) -> Record:
        run = read_run(write_run(self.folder / str(len(self.runs)), *given, **named))
        self.runs.append(run)
        return run

    def section(self, *by: str) -> Section:
        (found,) = sections(self.runs, by)
        return found


@pytest.fixture
def write(tmp_path: Path) -> Written:
    return Written(tmp_path)


def labels(section: Section) -> dict[str, int]:
    return {group.label: len(group.runs) for group in section.groups}


def test_seeds_and_housekeeping_make_no_difference(write: Written) -> None:
    for seed in range(3):
        write(changes={"seed": seed, "device": f"cuda:{seed}", "log_every": seed, "metrics": [seed]})
    found = write.section()
    assert labels(found) == {"all": 3} and found.keys == [] and found.differing == {}
    assert found.title == "mine, Pendulum-v1"


def test_a_setting_that_differs_is_found_and_named_by_its_end(write: Written) -> None:
    for lr in (1e-3, 0.1, 1e-2):
        for seed in range(2):
            write(changes={"seed": seed, "critic.optimizer.lr": lr})
    assert labels(write.section()) == {"lr=0.001": 2, "lr=0.01": 2, "lr=0.1": 2}  # by size
    assert write.section().keys == ["critic.optimizer.lr"]


def test_keys_of_one_name_are_told_apart(write: Written) -> None:
    for critic in (0.1, 0.2):
        for actor in (1, 2):
            write(changes={"critic.optimizer.lr": critic, "actor.optimizer.lr": actor})
    assert "critic.optimizer.lr=0.1, actor.optimizer.lr=2" in labels(write.section())


def test_an_option_speaks_for_all_that_goes_along_with_it(write: Written) -> None:
    penalty = {"lipschitz": {"_target_": "rlgan.gan.GradientPenalty", "weight": 10.0}, "critic.optimizer.lr": 1e-4}
    for seed in range(2):
        write(changes={"seed": seed}, typed=["lipschitz=clip"], choices={"lipschitz": "clip"})
        write(
            changes={"seed": seed, **penalty}, typed=["lipschitz=gradient_penalty"],
            choices={"lipschitz": "gradient_penalty"},
        )  # fmt: skip
    found = write.section()
    assert labels(found) == {"clip": 2, "gradient_penalty": 2} and found.keys == ["lipschitz"]
    assert found.differing == {"critic.optimizer.lr": ["5e-05", "0.0001"]}
    write(changes={"lipschitz.radius": 0.5}, choices={"lipschitz": "clip"})
    assert labels(write.section()) == {
        "clip, radius=0.01": 2, "clip, radius=0.5": 1, "gradient_penalty": 2,
    }  # fmt: skip


def test_a_class_names_a_section_of_which_no_option_is_known(write: Written) -> None:
    write()
    write(changes={"critic.optimizer": {"_target_": "mine.Sideways", "lr": 1.0}})
    assert labels(write.section()) == {"Sideways": 1, "rmsprop": 1}


def test_options_of_one_name_at_two_places_say_where(write: Written) -> None:
    for critic, actor in (("adam", "sgd"), ("sgd", "adam"), ("adam", "adam")):
        classes = {f"{k}.optimizer._target_": f"rlgan.optim.{v}" for k, v in (("critic", critic), ("actor", actor))}
        places = {"optimizer@critic.optimizer": critic, "optimizer@actor.optimizer": actor}
        write(changes=classes, choices=places)
    assert "critic.optimizer=adam, actor.optimizer=sgd" in labels(write.section())


def test_numbers_are_short_where_these_tell_them_apart(write: Written) -> None:
    write(changes={"lipschitz.radius": 0.00316227766})
    write(changes={"lipschitz.radius": 0.01})
    assert labels(write.section()) == {"radius=0.003162": 1, "radius=0.01": 1}
    write(changes={"lipschitz.radius": 0.00316227799})
    assert labels(write.section()).keys() == {"radius=0.0031622777", "radius=0.003162278", "radius=0.01"}
    write(changes={"lipschitz.radius": 0.00316227799000001})
    assert "radius=0.00316227799000001" in labels(write.section()) and len(labels(write.section())) == 4


def test_tasks_and_environments_are_never_mixed_unless_asked_for(write: Written) -> None:
    write()
    write(changes={"env.id": "Ant-v5"})
    write(changes={"task._target_": "mine.Other"}, choices={"task": "other"})
    assert [s.title for s in sections(write.runs)] == ["mine, Pendulum-v1", "mine, Ant-v5", "other, Pendulum-v1"]
    asked = sections(write.runs, ["id"])
    assert [list(labels(s)) for s in asked] == [["id=Ant-v5", "id=Pendulum-v1"], ["id=Pendulum-v1"]]


def test_by_names_the_groups_and_the_rest_are_strata(write: Written) -> None:
    for lr in (0.1, 0.2):
        for hidden in ([8], [8, 8]):
            for seed in range(3):
                write(changes={"seed": seed, "critic.optimizer.lr": lr, "critic.network.hidden": hidden})
    found = write.section("hidden")
    assert labels(found) == {"hidden=[8]": 6, "hidden=[8,8]": 6} and found.keys == ["critic.network.hidden"]
    assert [[len(stratum) for stratum in group.strata] for group in found.groups] == [[3, 3], [3, 3]]
    assert found.differing == {"critic.optimizer.lr": ["0.1, 0.2", "0.1, 0.2"]}
    assert labels(write.section("lr"))["lr=0.1"] == 6  # of two keys that end so, the one that differs
    with pytest.raises(ConfigError, match=r"^by = hiden: no run has such a key; did you mean hidden\?"):
        write.section("hiden")
    with pytest.raises(ConfigError, match=r"^by = optimizer: may be actor.optimizer or critic.optimizer; name one"):
        write.section("optimizer")
    assert labels(write.section("seed")) == {"seed=0": 4, "seed=1": 4, "seed=2": 4}


def test_the_same_run_twice_counts_once(write: Written) -> None:
    write((1.0, 2.0), state="interrupted")
    kept = write((1.0, 2.0, 3.0))
    found = write.section()
    assert found.runs == [kept] and len(found.repeats) == 1


def test_a_later_version_s_new_key_is_no_difference(write: Written) -> None:
    write(changes={"seed": 1})
    write(changes={"seed": 2, "actor.new": 0})
    assert labels(write.section()) == {"all": 2}


def test_a_key_that_was_put_there_or_taken_away_is_a_difference(write: Written) -> None:
    stop = {"callbacks.stop": {"_target_": "mine.Stop", "patience": 3}}
    for seed in range(2):
        write(changes={"seed": seed})
        write(changes={"seed": seed, **stop}, typed=["callbacks=[stop]"])
        write(changes={"seed": seed, "env.gravity": 5}, typed=["+env.gravity=5"])
    assert labels(write.section()) == {"–": 2, "Stop": 2, "gravity=5": 2}


def test_the_command_is_without_seed_and_place(write: Written) -> None:
    run = write(typed=["task=ddpg", "seed=3", "++run_dir=x", "name=a b", "hidden=[1,2]"])
    assert command_of(run) == "rlgan task=ddpg 'hidden=[1,2]'"


def test_curves_are_averaged_on_common_steps_and_never_beyond_an_end(write: Written) -> None:
    write((0.0, 2.0, 4.0), changes={"seed": 0})  # at 10, 20, 30
    write((1.0, 5.0), changes={"seed": 1}, steps=(10, 30))
    write((8.0, 8.0), changes={"seed": 2}, state="failed")
    (group,) = write.section().groups
    first, second = bands(group, "return/eval")
    assert first.steps.tolist() == [10, 20] and first.n == 3
    assert first.middle.tolist() == pytest.approx([3.0, 13 / 3])  # the mean of three; 3 is between 1 and 5
    assert second.steps.tolist() == [20, 30] and second.n == 2 and second.middle.tolist() == [2.5, 4.5]
    assert first.interval is not None and (first.interval[0] <= first.middle).all()
    assert bands(group, "gone") == []


def test_long_curves_are_thinned_out_and_keep_their_ends(write: Written) -> None:
    write(np.arange(5000.0).tolist())
    (band,) = bands(write.section().groups[0], "return/eval")
    assert len(band.steps) <= 202 and band.middle[[0, -1]].tolist() == [0, 4999] and band.interval is None


def test_the_score_is_the_last_value_of_finished_runs(write: Written) -> None:
    write((1.0, 4.0), changes={"seed": 0})
    write((1.0, 6.0), changes={"seed": 1})
    write((99.0,), changes={"seed": 2}, state="failed")
    (group,) = write.section().groups
    found = score(group, "return/eval")
    assert found.values.tolist() == [4, 6] and found.points["IQM"] == 5 and found.step is None
    assert found.intervals["mean"] == (4, 6)


def test_where_none_has_finished_all_are_taken_at_their_last_common_step(write: Written) -> None:
    write((0.0, 4.0), changes={"seed": 0}, state="running")
    write((0.0, 2.0), changes={"seed": 1}, steps=(5, 15), state="interrupted")
    found = score(write.section().groups[0], "return/eval")
    assert found.step == 15 and sorted(found.values) == [2.0, 2.0]
    assert score(write.section().groups[0], "gone").n == 0
