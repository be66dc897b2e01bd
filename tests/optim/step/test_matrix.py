"""Every method on every problem. A new method is one row of METHODS, a new problem one row of problems.PROBLEMS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    BFGS,
    LBFGS,
    AcceleGrad,
    AdaGradNorm,
    Average,
    ConjugateGradient,
    Extragradient,
    FullBatch,
    Losses,
    Method,
    Metrics,
    Nets,
    Newton,
    NoAverage,
    Player,
    PlayerSpec,
    SteepestDescent,
    UniformAverage,
    Update,
    VariableMetric,
    WeightedAverage,
    adagrad,
    adagrad_full,
    adagrad_norm,
    adam,
    adamw,
    amsgrad,
    heavy_ball,
    nesterov,
    perturbed_sgd,
    rmsprop,
    rmsprop_nesterov,
    sgd,
    sgld,
    variable_metric,
)  # fmt: skip
from tests.optim.problems import PROBLEMS, Problem

NO_AVERAGE = NoAverage()


@dataclass(frozen=True)
class Row:
    """A method with settings for a loss of smoothness L and for the games, and what its output is the average of."""

    make: Callable[[float], Method]
    game: Callable[[], Method]
    average: Average = NO_AVERAGE


METHODS: dict[str, Row] = {
    "sgd": Row(lambda L: sgd(1 / L), lambda: sgd(0.2)),
    "heavy_ball": Row(lambda L: heavy_ball(1 / L, 0.8), lambda: heavy_ball(0.2, 0.3)),
    "negative_momentum": Row(lambda L: heavy_ball(1 / L, -0.3), lambda: heavy_ball(0.2, -0.3)),
    "nesterov": Row(lambda L: nesterov(1 / L, 0.9), lambda: nesterov(0.2, 0.3)),
    "adagrad": Row(lambda L: adagrad(0.5), lambda: adagrad(0.5)),
    "adagrad_norm": Row(lambda L: adagrad_norm(1.0), lambda: adagrad_norm(1.0)),
    "adagrad_full": Row(lambda L: adagrad_full(0.5), lambda: adagrad_full(0.5)),
    "rmsprop": Row(lambda L: rmsprop(0.01), lambda: rmsprop(0.01)),
    "rmsprop_nesterov": Row(lambda L: rmsprop_nesterov(2e-3), lambda: rmsprop_nesterov(5e-3, rho=0.3)),
    "adam": Row(lambda L: adam(0.02), lambda: adam(0.05, beta1=0.5)),
    "adamw": Row(lambda L: adamw(0.02, weight_decay=1e-4), lambda: adamw(0.05, beta1=0.5)),
    "amsgrad": Row(lambda L: amsgrad(0.02), lambda: amsgrad(0.05, beta1=0.5)),
    "amsgrad torch": Row(
        lambda L: amsgrad(0.02, bias_correction=True), lambda: amsgrad(0.05, beta1=0.5, bias_correction=True)
    ),
    "accelegrad": Row(lambda L: AcceleGrad(3.0, 1.0), lambda: AcceleGrad(0.2), WeightedAverage()),
    "perturbed_sgd": Row(lambda L: perturbed_sgd(1 / L, sigma=0.05), lambda: perturbed_sgd(0.2, sigma=0.05)),
    "sgld": Row(lambda L: sgld(1 / L, temperature=1e-4), lambda: sgld(0.2, temperature=1e-4)),
    "variable_metric": Row(
        lambda L: variable_metric(VariableMetric(lambda x: 1 + 0.5 * x.tanh().square()), 1 / L),
        lambda: variable_metric(AdaGradNorm(), 1.0),
    ),
}

FULL_BATCH: dict[str, FullBatch] = {
    "steepest_descent": SteepestDescent(),
    "conjugate_gradient": ConjugateGradient(),
    "newton": Newton(),
    "bfgs": BFGS(),
    "lbfgs": LBFGS(),
}

#: Share of the initial gap f - f* that may be left after STEPS steps.
LEFT = {"ill_conditioned": 0.25, "rosenbrock": 0.25}
STEPS = 1000

EXCLUDED: dict[tuple[str, str], str] = {
    **{(name, p.name): "descends a loss, and a game has none" for name in FULL_BATCH for p in PROBLEMS.values()
       if p.kind == "game"},
    ("accelegrad", "bilinear"): "accelerates towards a minimum; on a pure rotation neither iterates nor means settle",
    # Without constraints this game's orbits under any method are the bilinear game's.
    **{(name, "dirac_wgan"): "is the bilinear game with another sign: the same orbit" for name in METHODS},
}  # fmt: skip


class Point(nn.Module):
    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(start.clone())

    def forward(self) -> Tensor:
        return self.x


def cells(names: Any, kinds: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(name, problem, id=f"{name}-{problem.name}")
        for name in names
        for problem in PROBLEMS.values()
        if problem.kind in kinds and (name, problem.name) not in EXCLUDED
    ]


def gradient(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    theta = theta.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(theta), theta)
    return g


def test_the_matrix_is_full_but_for_named_exclusions() -> None:
    everything = {(m, p) for m in (*METHODS, *FULL_BATCH) for p in PROBLEMS}
    run = {(c.values[0], c.values[1].name) for c in cells(METHODS, ("convex", "nonconvex", "saddle", "game"))}
    run |= {(c.values[0], c.values[1].name) for c in cells(FULL_BATCH, ("convex", "nonconvex", "saddle"))}
    assert everything - run == set(EXCLUDED) and all(EXCLUDED.values())


@pytest.mark.parametrize(("name", "problem"), cells(METHODS, ("convex", "nonconvex", "saddle")))
def test_a_first_order_method_descends(name: str, problem: Problem) -> None:
    assert problem.loss is not None and problem.smoothness is not None and problem.optimal is not None
    row = METHODS[name]
    spec = PlayerSpec(None, row.make(problem.smoothness), averaging=row.average)
    player = Player("p", Point(problem.start), spec, STEPS, torch.Generator().manual_seed(0))
    for t in range(1, STEPS + 1):
        s = player.scalars(t)
        player.step_in_place(gradient(problem.loss, player.point(player.state, s)), s, player.draw())
    with torch.no_grad():
        best = min(float(problem.loss(player.vector.theta)), float(problem.loss(player.average())))
        gap = float(problem.loss(problem.start)) - problem.optimal
    assert best - problem.optimal <= LEFT.get(problem.name, 0.02) * gap


@pytest.mark.parametrize(("name", "problem"), cells(FULL_BATCH, ("convex", "nonconvex", "saddle")))
def test_a_full_batch_method_descends(name: str, problem: Problem) -> None:
    assert problem.loss is not None and problem.optimal is not None
    trace = FULL_BATCH[name].minimize(problem.loss, problem.start, 300)
    gap = trace.losses[0] - problem.optimal
    assert trace.losses[-1] - problem.optimal <= LEFT.get(problem.name, 0.02) * gap
    assert all(b <= a + 1e-12 for a, b in zip(trace.losses, trace.losses[1:], strict=False))


@pytest.mark.parametrize(("name", "problem"), cells(METHODS, ("game",)))
def test_extragradient_over_any_method_nears_the_equilibrium(name: str, problem: Problem) -> None:
    """Simultaneous play of the bilinear game goes outwards from here; the step ahead is what turns it inwards."""
    assert problem.equilibrium is not None
    costs, order = problem.costs, [n for n, _ in problem.players]

    def loss(i: int) -> Callable[[Nets, Any], tuple[Tensor, Metrics]]:
        return lambda nets, batch: (costs[i](torch.cat([getattr(nets, n)() for n in order])), {})

    players = [
        Player(n, Point(problem.start[part]), PlayerSpec(None, METHODS[name].game(), averaging=UniformAverage()), 600,
               torch.Generator().manual_seed(i))
        for i, (n, part) in enumerate(problem.players)
    ]  # fmt: skip
    losses = Losses({n: loss(i) for i, (n, _) in enumerate(problem.players)})
    update = Update(players, losses, Extragradient(resample=False))
    for _ in range(600):
        update([None])

    equilibrium = problem.equilibrium

    def distance(points: list[Tensor]) -> float:
        return float((torch.cat(points).detach() - equilibrium).norm())

    last, mean = distance([p.vector.theta for p in players]), distance([p.average() for p in players])
    assert min(last, mean) <= 0.5 * distance([problem.start])
