"""A full-batch method in a player's place: the path of `minimize`, bit for bit; saved, refused, and at its end."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.optim import (
    BFGS,
    EMA,
    LBFGS,
    Alternating,
    Box,
    ConjugateGradient,
    Cosine,
    Extragradient,
    FullBatch,
    Game,
    GaussianNoise,
    LineSearchFailed,
    Lookahead,
    Losses,
    Metrics,
    Nets,
    Newton,
    NonFinite,
    Player,
    PlayerSpec,
    Simultaneous,
    SteepestDescent,
    TwoPlayers,
    Update,
    adam,
    sgd,
)  # fmt: skip
from rlgan.optim.play.whole_loss import player_loss
from rlgan.runs.record.checkpoint import storable
from tests.optim.problems import PROBLEMS
from tests.optim.second_order.test_newton import Lying
from tests.optim.step.test_method import Point

METHODS: dict[str, FullBatch] = {
    "steepest": SteepestDescent(),
    "conjugate": ConjugateGradient(),
    "newton": Newton(),
    "truncated": Newton(largest=1),
    "bfgs": BFGS(),
    "lbfgs": LBFGS(history=3),
}


def moon(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Two half circles, 20 points each, and their labels."""
    t = torch.linspace(0, torch.pi, 20, dtype=torch.float64)
    x = torch.cat([torch.stack([t.cos(), t.sin()], 1), torch.stack([1 - t.cos(), 0.5 - t.sin()], 1)])
    return x.to(dtype), torch.arange(2).repeat_interleave(20)


def network(dtype: torch.dtype = torch.float64, norm: bool = False) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 4), *[nn.BatchNorm1d(4)] * norm, nn.Tanh(), nn.Linear(4, 2)).to(dtype)


def cross_entropy(nets: Nets, batch: Any) -> tuple[Tensor, Metrics]:
    return F.cross_entropy(nets.model(batch[0]), batch[1]), {}


def update(module: nn.Module, loss: Any, method: Any, game: Game | None = None, **slots: Any) -> Update:
    player = Player("model", module, PlayerSpec(None, method, **slots), 100, torch.Generator().manual_seed(0))
    return Update([player], Losses({"model": loss}), game or Simultaneous(), full_batch=True)


def of_vector(loss: Callable[[Tensor], Tensor]) -> Any:
    return lambda nets, batch: (loss(nets.model()), {})


def on(problem: str, method: FullBatch, game: Game | None = None) -> tuple[Update, Any]:
    """An update on one of the losses, and its batch."""
    if problem == "network":
        return update(network(), cross_entropy, method, game), moon()
    row = PROBLEMS[problem.removesuffix("_in_small_units")]
    assert row.loss is not None
    loss, unit = row.loss, 1e-9 if problem.endswith("units") else 1.0
    return update(Point(row.start), of_vector(lambda x: unit * loss(x)), method, game), ()


def theta(of: Update) -> Tensor:
    return of.players["model"].vector.theta


def move(of: Update, batch: Any, times: int = 1) -> list[dict[str, Any]]:
    return [dict(of([batch] * of.batches)) for _ in range(times)]


@pytest.mark.parametrize("problem", ["ill_conditioned", "rosenbrock", "rosenbrock_in_small_units", "network"])
@pytest.mark.parametrize("method", METHODS)
def test_a_move_is_a_step_of_minimize_to_the_last_bit(method: str, problem: str) -> None:
    of, batch = on(problem, METHODS[method])
    start, loss = theta(of).clone(), player_loss(of.pure, "model", batch)
    steps = 12
    trace = METHODS[method].minimize(loss, start, steps)
    reports = move(of, batch, len(trace.losses) - 1)
    assert torch.equal(theta(of), trace.theta) and not torch.equal(start, trace.theta)
    assert [r["model/loss"] for r in reports] == trace.losses[:-1]
    assert [r["model/grad_norm"] for r in reports] == pytest.approx(trace.gradient_norms[:-1], rel=1e-12)
    # The gradient at the start of a step is taken once more, by the update; all else as often.
    assert reports[-1]["model/evaluations"] == trace.evaluations + len(reports) - 1


@pytest.mark.parametrize("problem", ["rosenbrock", "rosenbrock_in_small_units", "network"])
@pytest.mark.parametrize("method", METHODS)
def test_saved_and_resumed_it_makes_the_same_steps(method: str, problem: str) -> None:
    whole, batch = on(problem, METHODS[method])
    for steps in (1, 7):
        move(whole, batch, steps)
        file = io.BytesIO()
        torch.save(storable(whole.state_dict()), file)
        file.seek(0)
        other, _ = on(problem, METHODS[method])
        move(other, batch, 2)  # what it remembers is replaced
        other.load_state_dict(torch.load(file, weights_only=True))
        state = other.state_dict()["model"]["engine"]
        assert move(whole, batch, 3) == move(other, batch, 3)
        assert torch.equal(theta(whole), theta(other)) and whole.moves == other.moves
        assert state["evaluations"] < other.state_dict()["model"]["engine"]["evaluations"]


def test_what_is_saved_is_a_copy() -> None:
    for method in METHODS.values():
        of, batch = on("network", method)
        move(of, batch, 3)
        saved = of.state_dict()
        move(of, batch, 3)
        first = theta(of).clone()
        of.load_state_dict(saved)
        move(of, batch, 3)
        assert torch.equal(theta(of), first)


@pytest.mark.parametrize("method", METHODS)
def test_at_the_minimum_it_stays_there(method: str) -> None:
    of, batch = on("bowl", METHODS[method])
    move(of, batch, 60)
    end, minimum = theta(of).clone(), PROBLEMS["bowl"].minimum
    assert minimum is not None and (end - minimum).norm() <= 1e-8
    (before,), after = move(of, batch), of([batch], watch=True)
    assert torch.equal(theta(of), end) and after["model/evaluations"] == before["model/evaluations"] + 1
    assert after["optim/model/update_norm"] == 0.0 and "optim/model/effective_lr" not in after
    assert all(torch.isfinite(torch.as_tensor(v)) for v in after.values())


@pytest.mark.parametrize("method", ["conjugate", "newton", "bfgs", "lbfgs"])
def test_in_single_precision_it_ends_without_an_error(method: str) -> None:
    """The labels are fitted; then losses, differences of large scores, are nothing but rounding."""
    of = update(network(torch.float32), cross_entropy, METHODS[method])
    reports = move(of, moon(torch.float32), 80)
    assert reports[-1]["model/loss"] < 1e-4


def test_where_no_step_lowers_the_loss_it_stays() -> None:
    for method in METHODS.values():
        of = update(Point(torch.ones(3).double()), of_vector(lambda x: Lying.apply(x).square().sum()), method)
        assert move(of, (), 3)[-1]["model/loss"] == 3.0 and torch.equal(theta(of), torch.ones(3).double())


def test_a_kink_is_crossed_and_not_an_error() -> None:
    """f = |x1| + 2 |x2| + |x1 - x2|, with f(0) = 0; no step satisfies both of the strong conditions."""

    def loss(x: Tensor) -> Tensor:
        return x[0].abs() + 2 * x[1].abs() + (x[0] - x[1]).abs()

    start = torch.tensor([1.0, 0.3], dtype=torch.float64)
    of = update(Point(start), of_vector(loss), BFGS())
    losses = [r["model/loss"] for r in move(of, (), 80)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 1e-8


@pytest.mark.parametrize("method", ["steepest", "conjugate", "bfgs"])
def test_an_unbounded_loss_is_named_and_nothing_written(method: str) -> None:
    of = update(Point(torch.tensor([1.0, 2.0]).double()), of_vector(lambda x: -x.sum()), METHODS[method])
    name = type(METHODS[method]).__name__
    with pytest.raises(NonFinite, match=f"^{name}, loss -3, .*unbounded below.*; largest parameter: model 2$") as error:
        move(of, ())
    assert isinstance(error.value, LineSearchFailed) and "\n" not in str(error.value)
    assert theta(of).tolist() == [1.0, 2.0] and of.moves == 0
    bad = update(Point(torch.tensor([-1.0]).double()), of_vector(lambda x: x.log().sum()), METHODS[method])
    with pytest.raises(NonFinite, match="the loss of model is nan"):
        move(bad, ())


@pytest.mark.parametrize("method", METHODS)
def test_batch_norm_sees_the_batch_at_every_trial_and_gathers_once_a_move(method: str) -> None:
    of = update(network(norm=True), cross_entropy, METHODS[method])
    module, mean, (x, y) = of.players["model"].module, torch.zeros(4).double(), moon()
    assert isinstance(module, nn.Sequential)
    first, norm = module[0], module[1]
    for k in range(3):
        mean = mean.lerp(first(x).mean(0).detach(), 0.1)
        move(of, (x, y))
        assert norm.num_batches_tracked == k + 1
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-12, atol=1e-12)
    assert move(of, (x, y))[-1]["model/loss"] < 0.6


def test_an_average_is_kept_and_alternating_play_of_one_player_is_simultaneous() -> None:
    of = update(network(), cross_entropy, LBFGS(), Alternating(k=2), averaging=EMA(0.5))
    plain, average = update(network(), cross_entropy, LBFGS()), network()
    bar = torch.cat([p.detach().reshape(-1) for p in average.parameters()])
    for k in range(1, 7):
        move(plain, moon())
        bar = torch.lerp(bar, theta(plain), 0.5)
        if k % 2 == 0:
            move(of, moon())
            assert torch.equal(theta(of), theta(plain))
    torch.testing.assert_close(of.players["model"].state["average"]["theta_bar"], bar, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_where_somebody_else_has_moved_theta_it_begins_anew(method: str) -> None:
    of, batch = on("network", METHODS[method])
    fresh, _ = on("network", METHODS[method])
    move(of, batch, 5)
    for one in (of, fresh):
        theta(one).copy_(torch.linspace(-1, 1, len(theta(one)), dtype=torch.float64))
        move(one, batch, 3)
    assert torch.equal(theta(of), theta(fresh))


def refused(**changed: Any) -> str:
    given: dict[str, Any] = {"module": network(), "game": Simultaneous(), "full_batch": True, "spec": {}, **changed}
    own = Player("model", given["module"], PlayerSpec(None, Newton(), **given["spec"]), 9, torch.Generator())
    with pytest.raises(ValueError) as error:
        Update([own], Losses({"model": cross_entropy}), given["game"], full_batch=given["full_batch"],
               bfloat16=given.get("bfloat16", False))  # fmt: skip
    return str(error.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"full_batch": False}, "use batch_size=null or e.g. optimizer=adam"),
        ({"game": Extragradient()}, "Extragradient by a gradient from elsewhere"),
        ({"game": Lookahead()}, "use game=simultaneous, or another method"),
        ({"spec": {"projection": Box(1.0)}}, "use projection=none, or another method"),
        ({"spec": {"noise": GaussianNoise(0.1)}}, "use noise=none, or another method"),
        ({"spec": {"schedule": Cosine(0.1)}}, "use schedule=constant, or another method"),
        ({"module": nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))}, "dropout draws anew"),
        ({"bfloat16": True}, "use precision=float32 or float64"),
    ],
)
def test_what_does_not_go_with_it_is_refused(changed: dict[str, Any], says: str) -> None:
    message = refused(**changed)
    assert message.startswith("model.optimizer = Newton: ") and says in message and "\n" not in message


def test_a_game_of_two_is_refused_and_a_schedule_of_no_momentum_too() -> None:
    players = [
        Player("critic", network(), PlayerSpec(None, adam())),
        Player("actor", network(), PlayerSpec(None, BFGS())),
    ]
    losses = Losses({"critic": lambda n, b: (n.critic(b).sum(), {}), "actor": lambda n, b: (n.actor(b).sum(), {})})
    with pytest.raises(
        ValueError, match=r"^actor.optimizer = BFGS: needs the whole loss.*use task=erm batch_size=null"
    ):
        Update(players, losses, Alternating(), full_batch=True)
    with pytest.raises(ValueError, match=r"^model.momentum_schedule = .*: this player has no momentum"):
        update(network(), cross_entropy, BFGS(), momentum_schedule=Cosine(0.1))
    with pytest.raises(ValueError, match=r"^model.optimizer.largest = 9: BFGS keeps the inverse Hessian"):
        update(network(), cross_entropy, BFGS(largest=9))


def test_it_runs_eagerly_and_says_so() -> None:
    def made(compiled: Any) -> TwoPlayers:
        return TwoPlayers(
            {"model": network()}, {"model": PlayerSpec(None, LBFGS())}, Losses({"model": cross_entropy}),
            Simultaneous(), moves=10_000, noise=lambda name: torch.Generator(), compile=compiled, full_batch=True,
        )  # fmt: skip

    learner = made("auto")
    assert learner.compiled is False and learner.notes() == ["eager update: LBFGS(history=10) cannot be compiled"]
    assert learner.laid_out(20) == learner.laid_out(10)
    with pytest.raises(ValueError, match=r"compile = true: model.optimizer is LBFGS.* cannot be compiled"):
        made(True)
    with pytest.raises(ValueError, match=re.escape("model.optimizer = LBFGS(history=10): cannot be stacked")):
        TwoPlayers.stacked([learner, made("auto")])
    with pytest.raises(ValueError, match="optimizer = LBFGS: a step evaluates the loss"):
        player = learner.players["model"]
        player.step_in_place(torch.ones_like(player.vector.theta), player.scalars(1), None)


@pytest.mark.parametrize("method", METHODS)
def test_a_state_that_is_not_its_own_is_refused_and_nothing_loaded(method: str) -> None:
    of, batch = on("network", METHODS[method])
    move(of, batch, 3)
    saved, before = of.state_dict(), theta(of).clone()
    engine = saved["model"]["engine"]
    name = engine["optimizer"]
    other = "BFGS" if name == "Newton" else "Newton"
    wrong: list[Any] = [{**engine, "optimizer": other}, {}, {"optimizer": name}, {**engine, "memory": 3}]
    for key, value in engine["memory"].items():
        if isinstance(value, Tensor):
            wrong.append({**engine, "memory": {**engine["memory"], key: value[..., :2]}})
    move(of, batch, 1)
    now = theta(of).clone()
    for state in wrong:
        with pytest.raises(ValueError, match=f"^optimizer = {name}: .*resume with the configuration of the run$"):
            of.load_state_dict({"model": {**saved["model"], "engine": state}})
    assert torch.equal(theta(of), now)
    of.load_state_dict(saved)
    assert torch.equal(theta(of), before)
    plain = update(network(), cross_entropy, sgd(0.1))
    state = {**plain.state_dict()["model"], "engine": engine}
    with pytest.raises(ValueError, match=f"model.optimizer = saved with the state of {name}, configured with Descent"):
        plain.load_state_dict({"model": state})


def test_a_shorter_history_is_taken_from_a_longer_one() -> None:
    long, batch = on("network", LBFGS(history=6))
    move(long, batch, 9)
    short, _ = on("network", LBFGS(history=2))
    short.load_state_dict(long.state_dict())
    assert move(short, batch, 5)[-1]["model/loss"] < move(long, batch)[0]["model/loss"]
    assert len(short.state_dict()["model"]["engine"]["memory"]["torch"]["ro"]) == 2
