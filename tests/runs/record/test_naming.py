"""A run's name says what was changed, then the seed, and is short."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from rlgan.runs.record.naming import run_name
from rlgan.task.settings import Settings

NOW = datetime(2026, 1, 31, 12, 0, 5)


def named(*words: str, seeds: str = "seed=1", name: str | None = None) -> str:
    return run_name(words, seeds, name, NOW).removeprefix("2026-01-31_12-00-05_")


def test_what_was_changed_and_always_the_seed_last() -> None:
    words = ("task=wgan", "seed=3", "++critic.optimizer.lr=1e-3", "lipschitz=gp", "run_dir=x", "device=cpu")
    assert run_name(words, "seed=3", "try", NOW) == "2026-01-31_12-00-05_try_lr=1e-3_lipschitz=gp_seed=3"
    assert run_name([], "seed=0", None, NOW) == "2026-01-31_12-00-05_seed=0"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("critic.optimizer.lr=0.1", "actor.optimizer.lr=0.2"), "critic.lr=0.1_actor.lr=0.2"),
        (("optimizer@critic.optimizer=adam", "critic.optimizer.lr=1e-4"), "optimizer=adam_lr=1e-4"),
        (("experiment=lecture/19_orders_of_play", "steps=100"), "19_orders_of_play_steps=100"),
        (("experiment=null", "compare=null", "steps=5"), "steps=5"),
        (("critic.network.hidden=[64,64]",), "hidden=64-64"),
        (("data.path=/a/very/long/path/of/somebody/cats/",), "path=cats"),
        (("task.events={33: 'rename:run:moved'}",), "events=33-rename-run-moved"),
        (("x.shift=-0.5",), "shift=-0.5"),
        (("steps=10", "steps=20"), "steps=20"),
        (("~averaging",), "no-averaging"),
        (("callbacks=[early_stopping,time_limit]",), "callbacks=early_stopping-time"),
        (("compare.variants.clip=[lipschitz=none]",), "clip=lipschitz-none"),
        (("key=: *?\\ö",), "key=-"),
    ],
)
def test_keys_and_values_are_short(words: tuple[str, ...], name: str) -> None:
    assert named(*words) == f"{name}_seed=1"


def test_what_does_not_fit_is_counted() -> None:
    name = named(*[f"key{i}={'v' * 30}" for i in range(20)], seeds="seed=7")
    assert re.fullmatch(r"key0=v{24}_key1=v{24}\+18_seed=7", name)
    seeds = Settings(seeds=list(range(0, 60, 3))).seeds_word
    assert named("steps=5", seeds=seeds) == "steps=5_seeds=0-3-6-9-12-15-18-21-24+11"


def test_names_are_safe_and_short_whatever_was_typed() -> None:
    name = named("data.path=/a/b: *?\\ö", *[f"key{i}.{'k' * 200}={'v/' * 30}" for i in range(20)], name="n" * 200)
    assert len(name) <= 100 and name.endswith("_seed=1")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=+-")
