"""What comes from outside into the torch classes: states, dtypes, schedulers, scalers, and what is not finite."""

from __future__ import annotations

import contextlib
import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from rlgan.optim import Ball, Box, Simplex, torch_optim

NAMES = [
    "SGD", "HeavyBall", "Nesterov", "AdaGrad", "AdaGradNorm", "AdaGradFull", "RMSProp", "RMSPropNesterov", "Adam",
    "AdamW", "AMSGrad", "AcceleGrad", "PerturbedSGD", "SGLD",
]  # fmt: skip
START = torch.tensor([0.5, -1.0, 2.0, 0.25], dtype=torch.float64)


def make(name: str, params: Any, **options: Any) -> torch_optim.MethodOptimizer:
    kind = getattr(torch_optim, name)
    return kind(params, **({"stores": "lookahead"} if kind.looks_ahead else {}), **options)


def two(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    return [nn.Parameter(START[:3].to(dtype, copy=True)), nn.Parameter(START[3:].to(dtype, copy=True))]


def move(optimizer: torch.optim.Optimizer, params: list[nn.Parameter], steps: int = 1) -> None:
    for _ in range(steps):
        for i, p in enumerate(params):
            p.grad = p.detach() * (1 + i)
        torch.manual_seed(0)
        optimizer.step()


def values(params: list[nn.Parameter]) -> list[float]:
    return [v for p in params for v in p.tolist()]


# State.

# Ours beside torch's, and the names of a slot in both.
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], dict[str, str]]] = {
    "HeavyBall": (
        lambda p: make("HeavyBall", p, lr=0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        {"velocity": "momentum_buffer"},
    ),
    "Nesterov": (
        lambda p: make("Nesterov", p, lr=0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        {"velocity": "momentum_buffer"},
    ),
    "Adam": (
        lambda p: make("Adam", p, lr=0.1),
        lambda p: torch.optim.Adam(p, 0.1),
        {"mean": "exp_avg", "mean_square": "exp_avg_sq"},
    ),
    "AMSGrad": (
        lambda p: make("AMSGrad", p, lr=0.1, bias_correction=True),
        lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
        {"mean": "exp_avg", "mean_square": "exp_avg_sq", "largest": "max_exp_avg_sq"},
    ),
    "RMSProp": (
        lambda p: make("RMSProp", p, lr=0.1),
        lambda p: torch.optim.RMSprop(p, 0.1, alpha=0.9),
        {"mean_square": "square_avg"},
    ),
    "AdaGrad": (lambda p: make("AdaGrad", p, lr=0.1), lambda p: torch.optim.Adagrad(p, 0.1), {"sum_square": "sum"}),
}
SLOTS = [(name, slot) for name, (_, _, slots) in PAIRS.items() for slot in slots]


@pytest.mark.parametrize("in_place", [False, True], ids=["replaced", "in place"])
@pytest.mark.parametrize(("name", "slot"), SLOTS)
def test_a_slot_from_outside_is_what_goes_on_as_in_torch(name: str, slot: str, in_place: bool) -> None:
    mine, theirs = two(), two()
    ours, torchs, names = PAIRS[name][0](mine), PAIRS[name][1](theirs), PAIRS[name][2]
    move(ours, mine, 3)
    move(torchs, theirs, 3)
    for p, state, key in ((mine[0], ours.state, slot), (theirs[0], torchs.state, names[slot])):
        if in_place:
            state[p][key].mul_(0.5)
        else:
            state[p][key] = state[p][key] * 0.5
    own = ours.state[mine[0]][slot]
    assert torch.equal(ours.state_dict()["state"][0][slot], own), "what is saved is what is in use"
    for _ in range(3):
        move(ours, mine)
        move(torchs, theirs)
        assert values(mine) == pytest.approx(values(theirs), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["HeavyBall", "Nesterov"])
def test_the_usual_reset_of_momentum_as_in_torch(name: str) -> None:
    for reset in (torch.zeros_like, None):
        mine, theirs = two(), two()
        ours, torchs = PAIRS[name][0](mine), PAIRS[name][1](theirs)
        move(ours, mine, 4)
        move(torchs, theirs, 4)
        for p, q in zip(mine, theirs, strict=True):
            if reset is None:
                del ours.state[p]["velocity"], torchs.state[q]["momentum_buffer"]
            else:
                ours.state[p]["velocity"] = reset(p)
                torchs.state[q]["momentum_buffer"] = reset(q)
        for _ in range(3):
            move(ours, mine)
            move(torchs, theirs)
            assert values(mine) == pytest.approx(values(theirs), rel=1e-12)


def test_a_number_of_the_whole_group_from_outside() -> None:
    for put in (torch.tensor(4.0), torch.tensor(4.0, dtype=torch.float64), 4.0):
        params = two()
        optimizer = make("AdaGradNorm", params, lr=0.1)
        move(optimizer, params, 2)
        optimizer.state[params[0]]["sum_square"] = put
        before, g = params[0].tolist(), torch.cat([params[0].detach(), params[1].detach() * 2])
        move(optimizer, params)
        step = 0.1 / math.sqrt(4 + float(g @ g))
        assert params[0].tolist() == pytest.approx([x - step * x for x in before], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_copies_pickles_and_saved_states_go_on_alike(name: str) -> None:
    def through_state(pair: Any) -> Any:
        params, optimizer = pair
        own = [nn.Parameter(p.detach().clone()) for p in params]
        other = make(name, own, lr=0.3)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        return own, other

    ways: list[Callable[[Any], Any]] = [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair)), through_state]
    for way in ways:
        params = two()
        optimizer = make(name, params, lr=0.05)
        move(optimizer, params, 3)
        others, other = way((params, optimizer))
        move(optimizer, params, 3)
        move(other, others, 3)
        assert values(params) == values(others)


@pytest.mark.parametrize("name", ["Adam", "HeavyBall", "AdaGradNorm", "Nesterov"])
def test_a_module_that_changes_its_dtype_and_data_goes_on(name: str) -> None:
    module = nn.Linear(3, 2)
    params = list(module.parameters())
    optimizer = make(name, params, lr=0.01)
    move(optimizer, params, 2)
    module.double()
    reference = [nn.Parameter(p.detach().clone()) for p in params]
    other = make(name, reference, lr=0.01)
    other.load_state_dict(optimizer.state_dict())
    for p, q in zip(params, reference, strict=True):
        p.data = p.data.clone()
        assert p.dtype == torch.float64 and torch.equal(p, q)
    move(optimizer, params, 3)
    move(other, reference, 3)
    assert torch.cat([p.reshape(-1) for p in params]).tolist() == pytest.approx(
        torch.cat([p.reshape(-1) for p in reference]).tolist(), rel=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_state_of_torchs_is_refused_by_name_and_nothing_is_loaded(name: str) -> None:
    params = two()
    optimizer = make(name, params, lr=0.05)
    move(optimizer, params, 2)
    before = copy.deepcopy(optimizer.state_dict())
    kinds: list[Callable[[Any], torch.optim.Optimizer]] = [
        torch.optim.Adam, lambda p: torch.optim.SGD(p, momentum=0.9), torch.optim.RMSprop, torch.optim.Adagrad
    ]  # fmt: skip
    for kind in kinds:
        theirs = two()
        foreign = kind(theirs)
        move(foreign, theirs)
        with pytest.raises(ValueError, match=r"^state_dict = of another optimizer, whose groups have lr"):
            optimizer.load_state_dict(foreign.state_dict())
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for key, entry in before["state"].items():
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(after["state"][key][k])) for k, v in entry.items())
    move(optimizer, params)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_of_another_of_ours_or_a_damaged_one_is_refused(name: str) -> None:
    params = two()
    optimizer = make(name, params)
    move(optimizer, params)
    for other in NAMES:
        if other != name:
            fresh = make(other, two())
            with pytest.raises(ValueError, match=rf"state_dict = of {name}: this is {other}; load it into the class"):
                fresh.load_state_dict(optimizer.state_dict())
            assert not fresh.state
    saved = optimizer.state_dict()
    for slot in saved["state"][0]:
        damaged = copy.deepcopy(saved)
        del damaged["state"][0][slot]
        # (A number of the group alone is what a first parameter without a gradient has.)
        if damaged["state"][0].keys() - {"sum_square", "outer_sum"} or name == "AdaGrad":
            with pytest.raises(ValueError, match=r"^state_dict = with .* of parameter 0: .* keeps "):
                make(name, two()).load_state_dict(damaged)
    with pytest.raises(ValueError, match=r"^state_dict = of 1 parameter groups: this optimizer has 2"):
        make(name, [{"params": p} for p in two()]).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"^state_dict = of 2 parameters in group 0: this optimizer has 1"):
        make(name, two()[:1]).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"^state_dict = dict: no optimizer's"):
        optimizer.load_state_dict({"model": {}})


# Dtypes.


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_parameters_as_in_torch(name: str, dtype: torch.dtype) -> None:
    mine, theirs = (
        [nn.Parameter(torch.tensor([1 + 2j, 0.5 - 1j, -1j], dtype=dtype)), nn.Parameter(torch.tensor(2j, dtype=dtype))]
        for _ in range(2)
    )
    ours, torchs, names = PAIRS[name][0](mine), PAIRS[name][1](theirs), PAIRS[name][2]
    for t in range(4):
        for params, optimizer in ((mine, ours), (theirs, torchs)):
            for p in params:
                g = (p.detach() * (1 - 0.5j)).conj() if t % 2 else p.detach() * (1 + 1j)
                p.grad = g if optimizer is ours else g.resolve_conj()
            optimizer.step()
        for p, q in zip(mine, theirs, strict=True):
            torch.testing.assert_close(p, q)
    assert {ours.state[mine[0]][slot].dtype for slot in names} == {dtype}
    with pytest.raises(ValueError, match=r"^projection = Box.*these parameters are complex"):
        move(make(name, mine, projection=Box(1.0)), mine)
    fresh = PAIRS[name][0](two())
    with pytest.raises(ValueError, match=r"^state"):
        fresh.load_state_dict(ours.state_dict())


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex32, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdaGradNorm"])
def test_other_dtypes_are_refused_by_name(name: str, dtype: torch.dtype) -> None:
    p = nn.Parameter(torch.ones(3).to(dtype), requires_grad=False)
    optimizer = make(name, [p])
    p.grad = torch.ones(3).to(dtype)
    with pytest.raises(ValueError, match=rf"^params = of {dtype}: these methods step float32"):
        optimizer.step()
    p.grad = None
    optimizer.step()  # of a frozen one nothing is asked


# What is not finite.


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("projection", [None, Box(0.1), Ball(0.1)], ids=["free", "box", "ball"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_comes_through(name: str, projection: Any, bad: float) -> None:
    if name == "AdaGradFull" and projection is not None:
        return
    params, clean = two(), two()
    for own in (params, clean):
        optimizer = make(name, own, lr=0.05, projection=projection)
        own[0].grad, own[1].grad = torch.tensor([1.0, bad, 1.0]).double(), torch.ones(1).double()
        if own is clean:
            own[0].grad[1] = 1.0
        torch.manual_seed(0)
        optimizer.step()
    assert not params[0][1].isfinite()
    if name not in ("AdaGradNorm", "AdaGradFull", "AcceleGrad") and not isinstance(projection, Ball):
        assert params[1].tolist() == clean[1].tolist(), "each coordinate its own, as in torch"
    else:
        assert all(not math.isfinite(v) for v in values(params)), "one norm for all"


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 5e20, 3e38])
def test_one_norm_neither_overflows_nor_vanishes(scale: float) -> None:
    """A gradient of any size: the first step is lr g / |g|, and theta does not stand still for ever."""
    p = nn.Parameter(torch.zeros(200))
    optimizer = make("AdaGradNorm", [p], lr=0.1)
    p.grad = torch.full((200,), scale)
    optimizer.step()
    step = torch.full((200,), -0.1 / 200**0.5)
    torch.testing.assert_close(p.detach(), step, rtol=1e-3 if scale < 1e-37 else 1e-6, atol=0)
    q = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = make("AdaGradNorm", [q])
    q.grad = torch.full((2,), 1e200, dtype=torch.float64)
    optimizer.step()
    assert q.isnan().all(), "beyond what can be summed it is said, and not a step of 0"


# Schedulers, scalers and clipping.

SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 4]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=10),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, 0.02),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", ["Adam", "AMSGrad"])
def test_torchs_schedulers_by_their_defaults_as_on_torchs_classes(name: str, scheduler: str) -> None:
    mine, theirs = two(), two()
    ours, torchs = PAIRS[name][0](mine), PAIRS[name][1](theirs)
    a, b = SCHEDULERS[scheduler](ours), SCHEDULERS[scheduler](torchs)
    for _ in range(8):
        move(ours, mine)
        move(torchs, theirs)
        a.step()
        b.step()
        assert values(mine) == pytest.approx(values(theirs), rel=1e-9)
        assert ours.param_groups[0]["lr"] == torchs.param_groups[0]["lr"]
        assert ours.param_groups[0]["betas"] == torchs.param_groups[0]["betas"]
    # A saved state has the momentum as it stands, under its own name.
    other = PAIRS[name][0](two())
    other.load_state_dict(ours.state_dict())
    assert other.param_groups[0]["beta1"] == torchs.param_groups[0]["betas"][0]
    assert "betas" not in ours.state_dict()["param_groups"][0]


@pytest.mark.parametrize("name", ["HeavyBall", "Nesterov", "RMSPropNesterov"])
@pytest.mark.parametrize("scheduler", ["OneCycleLR", "CyclicLR"])
def test_cycles_turn_the_share_of_a_velocity(name: str, scheduler: str) -> None:
    mine, theirs = two(), two()
    ours, torchs = make(name, mine), torch.optim.SGD(theirs, 0.1, momentum=0.9)
    a, b = SCHEDULERS[scheduler](ours), SCHEDULERS[scheduler](torchs)
    seen = set()
    for _ in range(8):
        move(ours, mine)
        move(torchs, theirs)
        a.step()
        b.step()
        assert ours.param_groups[0]["rho"] == torchs.param_groups[0]["momentum"]
        seen.add(ours.param_groups[0]["rho"])
    assert len(seen) > 4
    with pytest.raises(ValueError, match="must support momentum or beta1"):
        SCHEDULERS[scheduler](make("SGD", two()))


def test_a_group_takes_the_other_names_and_plateaus_are_seen() -> None:
    a, b = two()
    optimizer = make("Adam", [{"params": [a], "betas": (0.5, 0.9)}, {"params": [b]}])
    assert (optimizer.param_groups[0]["beta1"], optimizer.param_groups[0]["beta2"]) == (0.5, 0.9)
    optimizer.param_groups[1]["betas"] = (0.1, 0.2)
    assert optimizer.param_groups[1]["beta2"] == 0.2 and optimizer.param_groups[1].get("momentum") is None
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(3):
        move(optimizer, [a, b])
        plateau.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert copy.deepcopy(optimizer).param_groups[0]["betas"] == (0.5, 0.9)


@pytest.mark.parametrize("name", ["Adam", "HeavyBall", "AMSGrad"])
def test_a_gradient_scaler_and_clipping_as_with_torchs(name: str) -> None:
    mine, theirs = two(torch.float32), two(torch.float32)
    for params, optimizer in ((mine, PAIRS[name][0](mine)), (theirs, PAIRS[name][1](theirs))):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for t in range(4):
            optimizer.zero_grad()
            loss: Tensor = sum((p.square().sum() for p in params), torch.zeros(()))
            scaler.scale(loss * (math.inf if t == 2 else 1.0)).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(params, 0.5)
            scaler.step(optimizer)
            scaler.update()
        assert scaler.get_scale() == 512.0
    assert values(mine) == pytest.approx(values(theirs), rel=1e-5)


# Groups.


def test_the_other_names_are_taken_wherever_a_dictionary_takes_one() -> None:
    """torch.optim's own spellings, `betas=` and `momentum=`: they were stored beside, and beta1 and rho went on."""
    mine, theirs = two(), two()
    ours, torchs = make("Adam", mine, lr=0.1, betas=(0.5, 0.7)), torch.optim.Adam(theirs, 0.1, betas=(0.5, 0.7))
    for group in ours.param_groups:
        assert (group["beta1"], group["beta2"]) == (0.5, 0.7) and "betas" not in dict(group)
    move(ours, mine, 3)
    move(torchs, theirs, 3)
    assert values(mine) == pytest.approx(values(theirs), rel=1e-9)
    for group in (*ours.param_groups, *torchs.param_groups):
        group.update(betas=(0.2, 0.3))
        group |= {"betas": (0.3, 0.4)}
        group.setdefault("betas", (0.0, 0.0))
    move(ours, mine, 3)
    move(torchs, theirs, 3)
    assert values(mine) == pytest.approx(values(theirs), rel=1e-9)
    assert make("HeavyBall", two(), momentum=0.5).param_groups[0]["rho"] == 0.5
    for wrong in (0.9, (0.9,), (0.9, 0.99, 0.999)):
        with pytest.raises(ValueError, match=r"^betas = .*: the 2 numbers beta1, beta2"):
            make("Adam", two(), betas=wrong)
    with pytest.raises(ValueError, match=r"^project_in = plain: own"):
        make("Adam", two(), project_in="plain")


@pytest.mark.parametrize("name", NAMES)
def test_parameters_of_one_memory_are_refused_and_empty_ones_are_nothing(name: str) -> None:
    p = nn.Parameter(torch.ones(2))
    tied = nn.Parameter(p.data)
    for other in (p, tied):
        p.grad = tied.grad = torch.ones(2)
        with pytest.warns(UserWarning) if other is p else contextlib.nullcontext():
            optimizer = make(name, [p, other])
        with pytest.raises(ValueError, match=r"^params = two that are one in memory"):
            optimizer.step()
        assert p.tolist() == [1.0, 1.0]
    empty = nn.Parameter(torch.ones(0, 3))
    for projection in (Ball(1.0), Simplex(1.0)):
        optimizer = make(name, [empty], projection=None if name == "AdaGradFull" else projection)
        empty.grad = torch.ones(0, 3)
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_in_inference_mode(name: str) -> None:
    def moved() -> list[float]:
        params = two()
        move(make(name, params, lr=0.05), params, 3)
        return values(params)

    with torch.inference_mode():
        inside = moved()
    assert inside == moved()
