"""Schedules against their formulas, against torch's own, and as functions of LambdaLR."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
from scipy.special import zeta
from torch import nn
from torch.optim import lr_scheduler as torch_schedules
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from rlgan.optim import Player, PlayerSpec, sgd
from rlgan.optim.step.schedule import (
    Constant,
    CoolDown,
    Cosine,
    InverseSqrtHorizon,
    Linear,
    Piecewise,
    Power,
    Product,
    Schedule,
    Warmup,
)
from tests.small import TASKS, build

N = 40
LR = 0.3

#: Each schedule and its factor at step k of a run of N = 40, in words of its own.
FORMULAS: dict[str, tuple[Schedule, Callable[[int], float]]] = {
    "constant": (Constant(), lambda k: 1.0),
    "linear": (Linear(0.2), lambda k: (1 - k / N) + 0.2 * k / N if k < N else 0.2),
    "linear-deck": (Linear(0.01, 25), lambda k: (1 - k / 25) + 0.01 * k / 25 if k < 25 else 0.01),
    "cosine": (Cosine(0.1), lambda k: 0.1 + 0.9 * math.cos(math.pi * k / N / 2) ** 2 if k < N else 0.1),
    "cosine-end-step": (Cosine(0.0, 7), lambda k: math.cos(math.pi * k / 14) ** 2 if k < 7 else 0.0),
    "power": (Power(0.75, 3.0), lambda k: math.exp(0.75 * (math.log(3) - math.log(3 + k)))),
    "power-1": (Power(1.0), lambda k: 1 / (k + 1)),
    "inverse-sqrt-horizon": (InverseSqrtHorizon(), lambda k: N**-0.5),
    "inverse-sqrt-steps": (InverseSqrtHorizon(9), lambda k: 1 / 3),
    "cool-down": (CoolDown(), lambda k: 1.0 if k < 20 else 20 / k),
    "cool-down-step": (CoolDown(6), lambda k: 1.0 if k < 6 else 6 / k),
    "cool-down-share": (CoolDown(start_fraction=0.26), lambda k: 1.0 if k <= 10 else 10.4 / k),
    "piecewise": (Piecewise((4, 9), (1.0, 0.5, 2.0)), lambda k: 1.0 if k < 4 else 0.5 if k < 9 else 2.0),
    "warmup": (Warmup(4), lambda k: min((k + 1) / 5, 1.0)),
    "warmup-linear": (Warmup(8, Linear(0.0)), lambda k: (k + 1) / 9 if k < 8 else max(1 - (k - 8) / 32, 0.0)),
    "warmup-product": (
        Warmup(2, Product((Piecewise((3,), (0.5, 0.25)), Power(2.0)))),
        lambda k: (k + 1) / 3 * 0.5 if k < 2 else (0.5 if k < 5 else 0.25) / (k - 1) ** 2,
    ),
    "product": (Product((Warmup(3), Power(0.5), Cosine())), lambda k: min((k + 1) / 4, 1) * (k + 1) ** -0.5
                * (math.cos(math.pi * k / N / 2) ** 2 if k < N else 0.0)),
}  # fmt: skip
CASES = pytest.mark.parametrize(("schedule", "formula"), FORMULAS.values(), ids=FORMULAS)

#: What depends on the run's length, with the field that would make it independent.
PLANNED: dict[str, Schedule] = {
    "end_step": Linear(),
    "end_step=": Cosine(),
    "steps": InverseSqrtHorizon(),
    "start_step": CoolDown(),
    "end_step, ": Warmup(3, Linear()),
    "steps, ": Product((Constant(), InverseSqrtHorizon())),
}


def drive(make: Callable[[torch.optim.Optimizer], LRScheduler], steps: int) -> tuple[list[float], list[float]]:
    """Learning rates and positions of SGD with gradient 1 from 0."""
    theta = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=LR)
    scheduler = make(optimizer)
    rates, positions = [], []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        theta.grad = torch.ones_like(theta)
        optimizer.step()
        scheduler.step()
        positions.append(theta.item())
    return rates, positions


@CASES
def test_factor_is_the_formula(schedule: Schedule, formula: Callable[[int], float]) -> None:
    for k in range(2 * N):
        assert schedule(k, N) == pytest.approx(formula(k), rel=1e-13, abs=1e-16)
    assert isinstance(schedule(3, N), float)


@CASES
def test_lambda_lr_drives_sgd_by_it(schedule: Schedule, formula: Callable[[int], float]) -> None:
    rates, positions = drive(lambda optimizer: LambdaLR(optimizer, schedule.over(N)), N + 5)
    assert rates == pytest.approx([LR * formula(k) for k in range(N + 5)], rel=1e-13, abs=1e-16)
    assert positions[-1] == pytest.approx(-LR * math.fsum(formula(k) for k in range(N + 5)), rel=1e-13)


@CASES
def test_without_a_length_it_is_the_same_function_or_says_that_it_needs_one(
    schedule: Schedule, formula: Callable[[int], float]
) -> None:
    needs = any(schedule(k, N) != schedule(k, 2 * N) for k in range(N))
    if needs:
        with pytest.raises(ValueError, match=r"^horizon = 0: .*run's length; give .*, for example .*over\("):
            drive(lambda optimizer: LambdaLR(optimizer, schedule), 1)
    else:
        rates, _ = drive(lambda optimizer: LambdaLR(optimizer, schedule), N)
        assert rates == pytest.approx([LR * formula(k) for k in range(N)], rel=1e-13, abs=1e-16)


@pytest.mark.parametrize(("name", "schedule"), PLANNED.items(), ids=[type(s).__name__ for s in PLANNED.values()])
def test_a_missing_length_is_named_with_its_remedy(name: str, schedule: Schedule) -> None:
    with pytest.raises(ValueError, match=f"give {name.strip(' =,')}, for example {name.strip(' =,')}=10000"):
        schedule(0)
    with pytest.raises(ValueError, match=r"^horizon = 0: "):
        schedule.over(0)
    assert schedule.over(1)(0) <= 1


@CASES
def test_it_and_its_plan_are_pickled_and_travel_in_the_schedulers_state(
    schedule: Schedule, formula: Callable[[int], float]
) -> None:
    plan = schedule.over(N)
    assert pickle.loads(pickle.dumps(schedule)) == copy.deepcopy(schedule) == schedule
    assert [pickle.loads(pickle.dumps(plan))(k) for k in range(N)] == [plan(k) for k in range(N)]

    def scheduler() -> LambdaLR:
        return LambdaLR(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR), plan)

    first, second = scheduler(), scheduler()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer steps in between
        for _ in range(7):
            first.step()
        second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
        for scheduled in (first, second):
            scheduled.step()
            assert scheduled.get_last_lr() == pytest.approx([LR * formula(8)], rel=1e-13)


def test_deck_000_ends_at_one_per_cent_at_tau_and_stays() -> None:
    tau = 25
    rates, _ = drive(lambda optimizer: LambdaLR(optimizer, Linear(end_step=tau)), 60)
    lr_tau = 0.01 * LR
    assert rates[0] == LR and rates[tau:] == pytest.approx([lr_tau] * 35, rel=1e-13)
    assert rates[:tau] == pytest.approx([(1 - k / tau) * LR + k / tau * lr_tau for k in range(tau)], rel=1e-13)
    assert rates[tau - 1] > 1.5 * lr_tau


# What torch has too, up to the step at which it goes on differently.
TORCH: dict[str, tuple[Schedule, Callable[[torch.optim.Optimizer], LRScheduler], int]] = {
    "CosineAnnealingLR": (Cosine(0.1), lambda o: torch_schedules.CosineAnnealingLR(o, N, eta_min=0.1 * LR), N + 1),
    "LinearLR": (Linear(0.2, 9), lambda o: torch_schedules.LinearLR(o, 1.0, 0.2, 9), N),
    "PolynomialLR": (Linear(0.0), lambda o: torch_schedules.PolynomialLR(o, N, 1.0), N + 5),
    "MultiStepLR": (Piecewise((5, 11), (1.0, 0.1, 0.01)), lambda o: torch_schedules.MultiStepLR(o, [5, 11]), N),
    "SequentialLR": (
        Warmup(6, Cosine()),
        lambda o: torch_schedules.SequentialLR(
            o, [torch_schedules.LinearLR(o, 1 / 7, 1.0, 6), torch_schedules.CosineAnnealingLR(o, N - 6)], [6]
        ),
        N + 1,
    ),
}


@pytest.mark.parametrize(("schedule", "reference", "steps"), TORCH.values(), ids=TORCH)
def test_it_is_torchs_schedule(
    schedule: Schedule, reference: Callable[[torch.optim.Optimizer], LRScheduler], steps: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR warns of its own use of `epoch`
        expected, path = drive(reference, steps)
    rates, mine = drive(lambda optimizer: LambdaLR(optimizer, schedule.over(N)), steps)
    assert rates == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert mine == pytest.approx(path, rel=1e-12)


def power_integral(s: float, a: float, b: float) -> float:
    """The integral of x^-s from a to b."""
    return math.log(b / a) if s == 1 else (b ** (1 - s) - a ** (1 - s)) / (1 - s)


@pytest.mark.parametrize(
    ("kappa", "infinite", "finite"),
    [(0.3, True, False), (0.5, True, False), (0.75, True, True), (1.0, True, True), (2.0, False, True)],
)
def test_which_sums_of_a_power_converge(kappa: float, infinite: bool, finite: bool) -> None:
    """Partial sums lie between integrals, for the factors fall; a finite limit is Hurwitz's zeta function."""
    offset, steps = 3.0, 200
    schedule = Power(kappa, offset)
    for power, diverges in ((1, infinite), (2, not finite)):
        s = power * kappa
        total = math.fsum(schedule(k) ** power for k in range(steps))
        below = offset**s * power_integral(s, offset, offset + steps)
        assert below < total < below + 1
        if diverges:
            assert offset**s * power_integral(s, offset, 1e300) > 1000
        else:
            tail = offset**s * power_integral(s, offset + steps, math.inf)
            assert total + tail < offset**s * float(zeta(s, offset)) < total + tail + schedule(steps) ** power


def test_first_and_last_steps_of_a_warmup() -> None:
    schedule = Warmup(5, Linear(0.5, 10))
    assert schedule(0) == pytest.approx(1 / 6) and schedule(4) == pytest.approx(5 / 6)
    assert schedule(5) == 1.0 and schedule(6) == pytest.approx(0.95) and schedule(15) == schedule(99) == 0.5
    # A straight line that meets `after`: equal increments up to and including its first step.
    rises = [schedule(k + 1) - schedule(k) for k in range(5)]
    assert rises == pytest.approx([1 / 6] * 5)
    assert Warmup(1)(0) == 0.5 and Warmup(1)(1) == 1.0


def test_what_follows_a_warmup_has_the_rest_of_the_run() -> None:
    schedule = Warmup(10, Cosine())
    assert schedule(10, 30) == 1.0 and schedule(20, 30) == pytest.approx(0.5) and schedule(30, 30) == 0.0
    # A run that ends within the warm-up.
    assert [schedule(k, 4) for k in range(4)] == pytest.approx([(k + 1) / 11 for k in range(4)])
    nested = Warmup(2, Warmup(3, Constant()))
    assert [nested(k) for k in range(6)] == pytest.approx([1 / 12, 2 / 12, 1 / 4, 2 / 4, 3 / 4, 1])


def test_inverse_sqrt_horizon_sums_to_the_root_of_the_horizon() -> None:
    for horizon in (1, 16, 100):
        plan = InverseSqrtHorizon().over(horizon)
        assert math.fsum(plan(k) for k in range(horizon)) == pytest.approx(math.sqrt(horizon), rel=1e-13)


def test_cool_down_is_continuous_and_falls_as_one_over_k() -> None:
    schedule = CoolDown(100)
    assert schedule(100) == 1.0 and schedule(101) == pytest.approx(100 / 101) and schedule(1000) == pytest.approx(0.1)
    assert [k * schedule(k) for k in range(100, 400)] == pytest.approx([100.0] * 300)
    assert CoolDown(start_fraction=1.0)(50, 50) == 1.0 and CoolDown(7, 0.9)(14, 1000) == 0.5


def test_a_player_has_it_over_its_own_horizon() -> None:
    schedule = Warmup(3, Cosine(0.1))
    player = Player("p", nn.Linear(1, 1), PlayerSpec(None, sgd(LR), schedule), horizon=13)
    expected = [LR * x for x in (0.25, 0.5, 0.75, 1.0)]
    assert [player.scalars(t)["lr"] for t in range(1, 5)] == pytest.approx(expected)
    assert player.scalars(14)["lr"] == pytest.approx(0.1 * LR)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(end=-0.1), "end = -0.1: "),
        (lambda: Linear(end_step=0), "end_step = 0: "),
        (lambda: Linear(end_step=math.nan), "end_step = nan: "),  # type: ignore[arg-type]
        (lambda: Cosine(end=-0.1), "end = -0.1: "),
        (lambda: Cosine(end=math.inf), "end = inf: "),
        (lambda: Cosine(end_step=0), "end_step = 0: "),
        (lambda: Power(kappa=0.0), "kappa = 0.0: "),
        (lambda: Power(offset=-1.0), "offset = -1.0: "),
        (lambda: InverseSqrtHorizon(0), "steps = 0: "),
        (lambda: CoolDown(0), "start_step = 0: "),
        (lambda: CoolDown(start_fraction=0.0), "start_fraction = 0.0: "),
        (lambda: CoolDown(start_fraction=1.5), "start_fraction = 1.5: "),
        (lambda: Piecewise((0,), (1.0, 0.1)), r"boundaries = \[0\]: "),
        (lambda: Piecewise((5, 5), (1.0, 0.1, 0.2)), r"boundaries = \[5, 5\]: "),
        (lambda: Piecewise((5,), (1.0,)), r"factors = \[1.0\]: "),
        (lambda: Piecewise((5,), (1.0, -0.1)), r"factors = \[1.0, -0.1\]: "),
        (lambda: Warmup(0), "steps = 0: "),
        (lambda: Warmup(math.nan), "steps = nan: "),  # type: ignore[arg-type]
        (lambda: Product(()), r"schedules = \[\]: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message):
        make()


OPTIONS: dict[str, tuple[tuple[str, ...], Schedule]] = {
    "constant": ((), Constant()),
    "linear": ((), Linear()),
    "cosine": (("critic.schedule.end=0.2",), Cosine(0.2)),
    "power": (("critic.schedule.kappa=0.6", "critic.schedule.offset=10"), Power(0.6, 10.0)),
    "inverse_sqrt_horizon": ((), InverseSqrtHorizon()),
    "cool_down": (("critic.schedule.start_step=30",), CoolDown(30)),
    "piecewise": (("critic.schedule.boundaries=[5]", "critic.schedule.factors=[1,0.5]"), Piecewise((5,), (1.0, 0.5))),
    "warmup": (("critic.schedule.steps=3", "critic.schedule.after.end=0.5"), Warmup(3, Linear(0.5))),
    "warmup ": (
        ("schedule@critic.schedule.after=cosine", "critic.schedule.after.end_step=9"),
        Warmup(500, Cosine(0, 9)),
    ),
    "product": ((), Product((Warmup(500), Power(0.5, 1000.0)))),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_built_with_its_nested_schedules(name: str) -> None:
    overrides, expected = OPTIONS[name]
    task = build(*TASKS["wgan"], f"schedule@critic.schedule={name.strip()}", *overrides)
    player: Player = task.critic  # type: ignore[attr-defined]
    assert player.spec.schedule == expected
    middle = player.horizon // 2
    assert player.scalars(middle + 1)["lr"] == expected(middle, player.horizon) * player.spec.optimizer.lr
    task.close()
