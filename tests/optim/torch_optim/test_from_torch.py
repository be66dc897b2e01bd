"""A torch.optim class in a player's place equals the same class on ordinary parameters, bit for bit."""

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    EMA,
    Box,
    Extragradient,
    GaussianNoise,
    Linear,
    Losses,
    Metrics,
    Nets,
    Player,
    PlayerSpec,
    Simultaneous,
    TorchMethod,
    Update,
    adam,
    from_torch,
    sgd,
)  # fmt: skip
from rlgan.optim.step.projection import Ball
from rlgan.runs.record.checkpoint import storable
from tests.small import TASKS, build, differences

STEPS = 50

CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "AdamW": ("AdamW", {"lr": 0.01, "betas": [0.5, 0.9], "fused": True}),
    "RMSprop": ("RMSprop", {"lr": 0.003, "centered": True, "momentum": 0.5}),
    "Adagrad": ("torch.optim.Adagrad", {"lr": 0.05, "lr_decay": 0.01}),
    "NAdam": ("NAdam", {"lr": 0.01, "weight_decay": 0.1}),
    "RAdam": ("RAdam", {"lr": 0.03}),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 2)).double()


def loss(module: nn.Module, i: int) -> Tensor:
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
    return (module(x) - x[:, :2].sin() * 2).square().mean()


def gradient(module: nn.Module, i: int) -> Tensor:
    """The gradient at the i-th batch, computed apart from every `.grad`."""
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss(module, i), tuple(module.parameters()))])


def player(method: TorchMethod, **slots: Any) -> Player:
    return Player("p", network(), PlayerSpec(None, method, **slots), STEPS, torch.Generator().manual_seed(0))


def advance(p: Player, steps: int) -> None:
    for _ in range(steps):
        g = gradient(p.module, p.steps)
        p.step_in_place(g, p.scalars(p.steps + 1), p.draw())
        p.steps += 1


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


@pytest.mark.parametrize("name", CLASSES)
def test_equals_the_class_on_ordinary_parameters_bit_for_bit(name: str) -> None:
    """With a schedule, weight clipping and an average, each a line of the plain loop."""
    kind, options = CLASSES[name]
    mine = player(from_torch(kind, options), schedule=Linear(0.1, 30), projection=Box(0.4), averaging=EMA(0.1))
    module = network()
    optimizer = getattr(torch.optim, name)(module.parameters(), **options)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, Linear(0.1, 30))
    with torch.no_grad():
        for p in module.parameters():
            p.clamp_(-0.4, 0.4)
    average = flat(module)
    for i in range(STEPS):
        g = gradient(module, i)
        mine.step_in_place(g, mine.scalars(i + 1), None)
        for p, piece in zip(module.parameters(), g.split([p.numel() for p in module.parameters()]), strict=True):
            p.grad = piece.view(p.shape).clone()
        optimizer.step()
        scheduler.step()
        with torch.no_grad():
            for p in module.parameters():
                p.clamp_(-0.4, 0.4)
        average.lerp_(flat(module), 0.1)
        assert torch.equal(mine.state["theta"], flat(module))
    assert torch.equal(flat(mine.average), average)
    assert (flat(module).abs() == 0.4).any() and not torch.allclose(flat(module), flat(network()), atol=1e-2)


@pytest.mark.parametrize("name", CLASSES)
def test_a_saved_state_continues_bit_exactly_in_a_new_player(name: str) -> None:
    slots = {"projection": Box(0.4), "averaging": EMA(0.1), "noise": GaussianNoise(1e-3), "schedule": Linear(0.1, 30)}
    whole, first, second = (player(from_torch(*CLASSES[name]), **slots) for _ in range(3))
    advance(whole, 30)
    advance(first, 13)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    advance(first, 5)  # what was saved is a copy
    assert first.generator is not None and second.generator is not None
    advance(second, 3)  # and replaces what is there
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second.load_state_dict(saved)
    second.generator.set_state(_generator_after(whole, 13))
    advance(second, 17)
    assert differences(whole.state_dict(), second.state_dict()) == []
    # Loading took copies: what was loaded is as it was, and makes the same state again.
    advance(first, 1)
    first.load_state_dict(saved)
    first.generator.set_state(_generator_after(whole, 13))
    advance(first, 17)
    assert differences(whole.state_dict(), first.state_dict()) == []


def _generator_after(p: Player, draws: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    for _ in range(draws):
        p.spec.xi.draw(p.vector.theta, generator, {})
    return generator.get_state()


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("before", [0, 4])
def test_a_tentative_step_is_undone_to_the_bit(name: str, before: int) -> None:
    a, b = player(from_torch(*CLASSES[name])), player(from_torch(*CLASSES[name]))
    advance(a, before)
    advance(b, before)
    taken = a.snapshot()
    advance(a, 3)
    a.put_back(taken)
    a.steps = before
    assert differences(a.state_dict(), b.state_dict()) == []
    advance(a, 5)
    advance(b, 5)
    assert differences(a.state_dict(), b.state_dict()) == []


class Batch(NamedTuple):
    one: Tensor


ONE = Batch(torch.ones((), dtype=torch.float64))


class Point(nn.Module):
    def __init__(self, start: list[float]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, one: Tensor) -> Tensor:
        return self.w * one


def saddle(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum() + 0.05 * (x**4).sum() - 0.05 * (y**4).sum()


def losses() -> Losses:
    def critic(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        return -saddle(nets.generator(batch.one), nets.critic(batch.one)), {}

    def generator(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        return saddle(nets.generator(batch.one), nets.critic(batch.one)), {}

    return Losses({"critic": critic, "generator": generator})


def saddle_update(method: TorchMethod, game: Any) -> Update:
    spec = PlayerSpec(None, method, projection=Box(2.0))
    starts = {"critic": [0.5, -1.0, 0.3], "generator": [1.0, 0.2, -0.7]}
    return Update([Player(name, Point(start), spec) for name, start in starts.items()], losses(), game)


@pytest.mark.parametrize("name", CLASSES)
def test_extragradient_equals_a_loop_with_copies_of_the_optimizer(name: str) -> None:
    kind, options = CLASSES[name]
    update = saddle_update(from_torch(kind, options), Extragradient(resample=False))
    y, x = nn.Parameter(Point([0.5, -1.0, 0.3]).w.detach()), nn.Parameter(Point([1.0, 0.2, -0.7]).w.detach())
    real = [(p, getattr(torch.optim, name)([p], **options)) for p in (y, x)]

    def gradients(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        gy, gx = torch.autograd.grad(saddle(x, y), (y, x))
        return -gy, gx

    def step(pairs: Any, grads: tuple[Tensor, Tensor]) -> None:
        for (p, optimizer), g in zip(pairs, grads, strict=True):
            p.grad = g
            optimizer.step()
            with torch.no_grad():
                p.clamp_(-2.0, 2.0)

    for _ in range(40):
        tentative = copy.deepcopy(real)
        step(tentative, gradients(y, x))
        step(real, gradients(tentative[0][0], tentative[1][0]))
        update([ONE])
    assert torch.allclose(update.players["critic"].vector.theta, y, rtol=1e-12, atol=1e-14)
    assert torch.allclose(update.players["generator"].vector.theta, x, rtol=1e-12, atol=1e-14)
    plain = saddle_update(from_torch(kind, options), Simultaneous())
    for _ in range(40):
        plain([ONE])
    assert not torch.allclose(plain.players["critic"].vector.theta, y, atol=1e-3), "the two orders of play differ"


def test_gradients_remain_views_of_the_players_vector() -> None:
    a, b = player(from_torch("Adam", {"lr": 0.01})), player(from_torch("Adam", {"lr": 0.01}))
    advance(a, 3)
    for i in range(3):
        b.module.zero_grad(set_to_none=True)
        b.vector.grad.copy_(gradient(b.module, i))
        b.step_in_place(b.vector.grad, b.scalars(i + 1), None)
        b.steps += 1
    assert torch.equal(a.state["theta"], b.state["theta"])
    for p, g in zip(b.vector.parameters, b.vector.gradients, strict=True):
        assert p.grad is g and g.untyped_storage().data_ptr() == b.vector.grad.untyped_storage().data_ptr()


OWN = """
import torch

class Averaging(torch.optim.Optimizer):
    '''Keeps a count in its group, and a single-precision state of whatever parameters.'''

    def __init__(self, params, lr=0.25, **more):
        super().__init__(params, {"lr": lr, "count": 0, **more})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["count"] += 1
            for p in group["params"]:
                mean = self.state[p].setdefault("mean", torch.zeros_like(p, dtype=torch.float32))
                mean.lerp_(p.grad.float(), 1 / group["count"])
                p.sub_(group["lr"] * mean.to(p.dtype))
"""


def test_a_class_of_ones_own_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without lr its default; what it keeps in its groups is saved, and its single precision is not cast."""
    (tmp_path / "my_averaging.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    method = from_torch("my_averaging.Averaging", {"anything": 3})
    assert method.lr == 0.25 and str(method) == "my_averaging.Averaging(anything=3)"

    def half() -> Player:
        return Player("p", network().bfloat16(), PlayerSpec(None, method))

    def go(p: Player, steps: int) -> None:
        for _ in range(steps):
            g = torch.arange(p.vector.theta.numel(), dtype=torch.bfloat16).cos() / (3 + p.steps)
            p.step_in_place(g, p.scalars(p.steps + 1), None)
            p.steps += 1

    whole, first, second = half(), half(), half()
    go(whole, 9)
    go(first, 4)
    saved = first.state_dict()
    assert saved["engine"]["state"]["state"][0]["mean"].dtype == torch.float32
    second.load_state_dict(saved)
    go(second, 5)
    assert torch.equal(whole.state["theta"], second.state["theta"])
    ends = whole.state_dict()["engine"], second.state_dict()["engine"]
    assert differences(*ends) == []
    assert ends[1]["state"]["param_groups"][0]["count"] == 9
    assert ends[1]["state"]["state"][0]["mean"].dtype == torch.float32


def test_the_default_learning_rate_is_the_class_own() -> None:
    assert (
        from_torch("AdamW").lr == 1e-3 and from_torch("Adadelta").lr == 1.0 and from_torch("SGD", {"lr": 2}).lr == 2.0
    )


@pytest.mark.parametrize(
    ("make", "begins", "says"),
    [
        (lambda: from_torch("AdmaW"), "optimizer = AdmaW: ", "did you mean AdamW?"),
        (lambda: from_torch("adamw"), "optimizer = adamw: ", "did you mean AdamW?"),
        (lambda: from_torch("Optimizer"), "optimizer = Optimizer: ", "no optimizer class"),
        (lambda: from_torch("nowhere.Adam"), "optimizer = nowhere.Adam: ", "no module nowhere"),
        (lambda: from_torch("torch.nn.Linear"), "optimizer = torch.nn.Linear: ", "no optimizer class"),
        (lambda: from_torch("SGD", {"momentun": 0.9}), "options.momentun = 0.9: ", "did you mean momentum?"),
        (lambda: from_torch("SGD", {"params": 1}), "options.params = 1: ", "SGD has no such option"),
        (lambda: from_torch("SGD", {"momentum": -1}), "optimizer = SGD: ", "Invalid momentum value: -1"),
        (lambda: from_torch("SGD", {"lr": 0.0}), "options.lr = 0.0: ", "must be positive"),
        (lambda: from_torch("LBFGS"), "optimizer = LBFGS: ", "closure"),
        (lambda: from_torch("Muon"), "optimizer = Muon: ", "2D"),
        (lambda: from_torch("SparseAdam"), "optimizer = SparseAdam: ", "dense gradients"),
        (
            lambda: player(from_torch("Adam"), momentum_schedule=Linear(0.5, 10)),
            "p.momentum_schedule = ",
            "no momentum",
        ),
    ],
)
def test_impossible_choices_are_named_in_one_line(make: Callable[[], object], begins: str, says: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(begins) and says in str(error.value) and "\n" not in str(error.value)


def test_a_state_of_another_optimizer_is_refused() -> None:
    saved = {kind: player(from_torch(kind)).state_dict() for kind in ("AdamW", "SGD")}
    with pytest.raises(ValueError, match=r"torch\.optim\.SGD: the state was saved with torch\.optim\.AdamW"):
        player(from_torch("SGD")).load_state_dict(saved["AdamW"])
    own = Player("p", network(), PlayerSpec(None, sgd()))
    with pytest.raises(ValueError, match="saved with one of rlgan's own methods"):
        player(from_torch("SGD")).load_state_dict(own.state_dict())


@pytest.mark.parametrize("old", [False, True], ids=["", "saved without options"])
def test_an_option_that_is_changed_at_resume_is_the_one_that_counts(old: bool) -> None:
    """torch's load_state_dict has the groups of the saved one: a new weight decay was without effect, and unsaid."""

    def after(then: dict[str, Any], now: dict[str, Any]) -> tuple[Player, dict[str, Any]]:
        first, second = player(from_torch("AdamW", then)), player(from_torch("AdamW", now))
        advance(first, 3)
        saved = first.state_dict()
        if old:
            del saved["engine"]["options"]
        second.load_state_dict(saved)
        return second, second.state_dict()["engine"]["state"]["param_groups"][0]

    decayed, group = after({"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.5, "betas": [0.5, 0.9]})
    assert (group["weight_decay"], group["betas"]) == (0.5, (0.5, 0.9))
    plain, group = after({"lr": 0.1, "eps": 1e-3}, {"lr": 0.1})
    assert group["eps"] == (1e-3 if old else 1e-8) and group["weight_decay"] == 0.01
    start = decayed.state["theta"].clone()
    for p in (decayed, plain):
        p.step_in_place(torch.zeros_like(start), p.scalars(4), None)
    assert not torch.allclose(decayed.state["theta"], plain.state["theta"], rtol=1e-2)


def test_it_projects_in_the_plain_metric_and_never_as_a_pure_step() -> None:
    p = player(from_torch("Adam", {"lr": 0.1}), projection=Ball(1.0))
    q = player(from_torch("Adam", {"lr": 0.1}))
    q.state["theta"].copy_(p.state["theta"])
    g = gradient(p.module, 0)
    for one in (p, q):
        one.step_in_place(g, one.scalars(1), None)
    free = q.state["theta"]
    assert free.norm() > 1.01
    assert torch.allclose(p.state["theta"], free / free.norm(), rtol=1e-12)
    with pytest.raises(ValueError, match="cannot be compiled or stacked"):
        p.step(p.state, g, p.scalars(1), None)


def test_a_compiled_update_refuses_it() -> None:
    methods = (adam(), from_torch("NAdam", {"lr": 0.1}))
    with pytest.raises(ValueError, match=r"compile = true: critic\.optimizer is torch\.optim\.NAdam\(lr=0\.1\)"):
        players = [Player(name, Point([1.0]), PlayerSpec(None, methods[1])) for name in ("critic", "generator")]
        Update(players, losses(), Simultaneous(), compiled=True)


@pytest.mark.parametrize("name", TASKS)
def test_both_tasks_train_and_resume_bit_exactly(name: str) -> None:
    words = (*TASKS[name], "optimizer@critic.optimizer=torch", "compile=auto", "steps=1000000")

    def go(task: Any, until: int) -> None:
        while task.steps_done < until:
            task.advance()

    half, end = (12, 25) if name == "wgan" else (75, 90)
    whole, first, second = build(*words), build(*words), build(*words)
    start = whole.state_dict()["players"]["critic"]["theta"].clone()
    assert "torch.optim.AdamW(lr=0.001) cannot be compiled" in "".join(whole.notes())
    go(whole, end)
    go(first, half)
    file = io.BytesIO()
    torch.save(storable(first.state_dict()), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    go(second, end)
    assert differences(whole.state_dict(), second.state_dict()) == []
    critic = whole.state_dict()["players"]["critic"]
    assert (critic["theta"] - start).abs().max() > 1e-3
    assert critic["engine"]["optimizer"] == "torch.optim.AdamW"
    for task in (whole, first, second):
        task.close()


@pytest.mark.parametrize("fused", [False, True])
def test_autograd_notices_a_step_between_forward_and_backward(fused: bool) -> None:
    """torch's fused kernels do not count as writes; the gradient would be wrong in silence."""
    p = player(from_torch("Adam", {"fused": fused}))
    value = loss(p.module, 0)
    p.step_in_place(torch.ones_like(p.vector.theta), p.scalars(1), None)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()
