"""Every option of every group composes in every task that mounts it, and builds under its schema."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlgan.runs.config.build import build, build_settings, build_task, plain
from rlgan.runs.config.overrides import group_choices
from rlgan.runs.config.sources import ROOT
from rlgan.runs.options import HOOKS, conf_directory, options


@cache
def composed(*overrides: str) -> tuple[dict[str, Any], dict[str, str]]:
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        config = compose(ROOT, overrides=list(overrides), return_hydra_config=True)
    choices = group_choices(config.hydra.runtime.choices)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return plain(config), choices


def own_options() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in sorted(conf_directory().rglob("*/*.yaml")):
        group, *rest = file.relative_to(conf_directory()).with_suffix("").parts
        if group == "hydra":  # its launchers and sweepers are of no task
            continue
        found.setdefault(group, []).append("/".join(rest))
    return found


def cases() -> list[tuple[str, str, str]]:
    return [
        (task, place, option)
        for task in own_options()["task"]
        for place in sorted(composed(f"task={task}")[1])
        if place not in ("task", "experiment")
        for option in own_options()[place.partition("@")[0]]
    ]


#: Options that neither mount a further group nor set anything outside their own section: they do not touch each other.
APART = ("averaging", "env", "noise", "optimizer", "projection", "schedule")


def rows() -> list[tuple[str, tuple[str, ...]]]:
    """Compositions that together hold every option of `APART` in every place, one option of each group at a time."""
    found = []
    for task in own_options()["task"]:
        places = sorted(composed(f"task={task}")[1])
        groups = {place.partition("@")[0] for place in places} & set(APART)
        choices = {group: own_options()[group] for group in groups}
        for i in range(max(len(names) for names in choices.values())):
            row = [f"{p}={names[i % len(names)]}" for p in places if (names := choices.get(p.partition("@")[0]))]
            found.append((task, tuple(row)))
    return found


@pytest.mark.parametrize(("task", "row"), rows())
def test_options_that_stand_apart_compose_and_build_together(task: str, row: tuple[str, ...]) -> None:
    config, choices = composed(f"task={task}", *row)
    build_settings(config)
    for item in row:
        place, _, option = item.partition("=")
        assert choices[place] == option
        node: Any = config
        for key in (place.partition("@")[2] or place).split("."):
            node = node[key]
        build(node, place.partition("@")[2] or place)


@pytest.mark.parametrize(
    ("task", "place", "option"),
    [pytest.param(*case, marks=pytest.mark.slow if case[1].partition("@")[0] in APART else []) for case in cases()],
)
def test_every_option_composes_and_builds(task: str, place: str, option: str) -> None:
    # One composition for all places of a group: they are many, and each has a node of its own.
    group = place.partition("@")[0]
    places = [other for other in sorted(composed(f"task={task}")[1]) if other.partition("@")[0] == group]
    config, choices = composed(f"task={task}", *(f"{other}={option}" for other in places))
    assert choices[place] == option
    node: Any = config
    for key in (place.partition("@")[2] or place).split("."):
        node = node[key]
    build(node, place.partition("@")[2] or place)
    build_settings(config)


@pytest.mark.parametrize("task", own_options()["task"])
def test_every_task_builds_with_its_defaults(task: str) -> None:
    config, _ = composed(f"task={task}", "device=cpu")
    built = build_task(config, build_settings(config))
    assert built.best[1] in ("min", "max")
    built.close()


def test_every_experiment_builds() -> None:
    for name in own_options().get("experiment", []):
        config, _ = composed(f"experiment={name}", "device=cpu")
        build_task(config, build_settings(config)).close()


def test_every_group_is_mounted_by_some_task() -> None:
    mounted = {place.partition("@")[0] for task in own_options()["task"] for place in composed(f"task={task}")[1]}
    assert set(own_options()) - mounted - {"experiment", *HOOKS} == set()
    for group, names in own_options().items():
        assert set(names) <= set(options()[group])


def test_the_root_lists_every_setting() -> None:
    from dataclasses import fields

    from rlgan.task.settings import TENSORBOARD, Settings

    config, _ = composed()
    of_earlier_versions = {TENSORBOARD}  # is now one of `logger`
    assert {field.name for field in fields(Settings)} - of_earlier_versions <= set(config)
