"""Every option of every group that the task has trains it, and what it keeps comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlgan.erm import ERM
from rlgan.task.task import Task
from tests.small import ERM as SMALL
from tests.small import build, builder, differences

CONF = Path(__file__).parents[2] / "conf"
NEEDS: dict[str, tuple[str, ...]] = {
    "optimizer=adagrad_full": ("network.hidden=[4]",),
    "projection=simplex": ("optimizer=sgd",),
    "projection=spectral": ("optimizer=sgd",),
    "momentum_schedule": ("optimizer=heavy_ball",),
    "noise_schedule": ("noise=gaussian",),
    "projection_schedule": ("projection=box", "projection_schedule.end=0.5"),
}
PLACES = {
    "optimizer": "optimizer",
    "schedule": "schedule",
    "projection": "projection",
    "noise": "noise",
    "averaging": "averaging",
    "game": "game",
    "network": "network",
}
NOT_FOR_IT = {"network": ("dcgan", "dcgan_layer", "resnet", "resnet_critic", "point", "linear", "orthogonal")}
OPTIONS = [
    f"{place}={file.stem}"
    for group, place in PLACES.items()
    for file in sorted((CONF / group).glob("*.yaml"))
    if file.stem not in NOT_FOR_IT.get(group, ())
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_trains_and_is_saved(option: str) -> None:
    whole = ("batch_size=null",) if option.partition("=")[2] in WHOLE else ()
    base = [word for word in SMALL if not (option.startswith("network=") and "hidden" in word)]
    problem = "digits" if option == "network=conv" else "two_moons"
    make = builder(*base, f"problem={problem}", "compile=false", option, *NEEDS.get(option, ()), *whole)
    task, again = make(), make()
    assert isinstance(task, ERM) and isinstance(again, ERM)
    start = task.model.vector.theta.clone()
    for _ in range(6):
        task.advance()
    assert not torch.equal(task.model.vector.theta, start)
    assert task.evaluate()["risk/train"] > 0
    again.load_state_dict(task.state_dict())
    for one in (task, again):
        for _ in range(3):
            one.advance()
    assert differences(task.state_dict(), again.state_dict()) == []


WHOLE = ("newton", "bfgs", "lbfgs", "conjugate_gradient", "steepest_descent")


@pytest.mark.parametrize("kind", ["momentum_schedule", "noise_schedule", "projection_schedule"])
def test_schedules_of_more_than_the_learning_rate(kind: str) -> None:
    task: Task = build(*SMALL, f"schedule@{kind}=linear", *NEEDS[kind])
    for _ in range(5):
        task.advance()
    assert f"{kind}" in task.laid_out(40) and task.laid_out(40)[kind] < 1
