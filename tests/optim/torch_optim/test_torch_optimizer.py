"""rlgan's methods as torch optimizers: equal to torch's, equal to a player's, and with a torch user's habits."""

import copy
import inspect
import io
import pickle
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from rlgan.optim import Box, Linear, Player, PlayerSpec
from rlgan.optim.step.projection import Ball, Simplex
from rlgan.optim.step.schedule import Cosine, Warmup
from rlgan.optim.torch_optim import torch_optimizer
from rlgan.optim.torch_optim.torch_optimizer import (
    SGD,
    SGLD,
    AcceleGrad,
    AdaGrad,
    AdaGradFull,
    AdaGradNorm,
    Adam,
    AdamW,
    AMSGrad,
    HeavyBall,
    MethodOptimizer,
    Nesterov,
    PerturbedSGD,
    RMSProp,
    RMSPropNesterov,
)

STEPS = 100
SHAPES: list[tuple[int, ...]] = [(2, 3), (3,), (), (1, 2, 1)]
SIZE = 12

CLASSES: dict[str, tuple[type[MethodOptimizer], dict[str, Any]]] = {
    "SGD": (SGD, {"lr": 0.02}),
    "HeavyBall": (HeavyBall, {"lr": 0.01, "rho": 0.8, "weight_decay": 0.1}),
    "Nesterov": (Nesterov, {"lr": 0.01, "rho": 0.8}),
    "AdaGrad": (AdaGrad, {"lr": 0.05}),
    "AdaGradNorm": (AdaGradNorm, {"lr": 0.5}),
    "AdaGradFull": (AdaGradFull, {"lr": 0.1, "eps": 1e-3, "project_in": "euclidean"}),
    "RMSProp": (RMSProp, {"lr": 0.005}),
    "RMSPropNesterov": (RMSPropNesterov, {"lr": 0.003, "rho": 0.7, "weight_decay": 0.1}),
    "Adam": (Adam, {"lr": 0.02, "beta2": 0.9}),
    "AdamW": (AdamW, {"lr": 0.02, "weight_decay": 0.1}),
    "AMSGrad": (AMSGrad, {"lr": 0.02}),
    "AMSGrad torch": (AMSGrad, {"lr": 0.02, "bias_correction": True}),
    "AcceleGrad": (AcceleGrad, {"diameter": 0.5}),
    "PerturbedSGD": (PerturbedSGD, {"lr": 0.02, "sigma": 0.3}),
    "SGLD": (SGLD, {"lr": 0.01, "temperature": 0.1}),
}
AHEAD = [name for name, (kind, _) in CLASSES.items() if kind.looks_ahead]
STORES = [*CLASSES, *(f"{name}, lookahead" for name in AHEAD)]
"""Every class, those that look ahead in both ways."""


def start() -> Tensor:
    return torch.linspace(-1.0, 1.2, SIZE, dtype=torch.float64).cos() * 1.5


def cut(flat: Tensor, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[nn.Parameter]:
    """The vector as parameters of their own."""
    pieces = flat.split([torch.Size(shape).numel() for shape in shapes])
    return [nn.Parameter(piece.reshape(shape).clone()) for piece, shape in zip(pieces, shapes, strict=True)]


def join(params: Sequence[Tensor]) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in params])


def rosenbrock(x: Tensor) -> Tensor:
    return (2.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum() / 4


def gradient(x: Tensor) -> Tensor:
    x = x.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad(rosenbrock(x), x)
    return g


def give(params: Sequence[Tensor], g: Tensor) -> None:
    for p, piece in zip(params, g.split([p.numel() for p in params]), strict=True):
        p.grad = piece.view(p.shape).to(p.dtype).clone()


def closure(params: Sequence[Tensor]) -> Callable[[], Tensor]:
    """Loss and gradients where the parameters are."""

    def evaluate() -> Tensor:
        for p in params:
            p.grad = None
        loss = rosenbrock(torch.cat([p.reshape(-1) for p in params]))
        loss.backward()
        return loss

    return evaluate


def make(name: str, params: Any, **more: Any) -> MethodOptimizer:
    name, _, stores = name.partition(", ")
    kind, options = CLASSES[name]
    noisy = {"generator": torch.Generator().manual_seed(3)} if kind in (PerturbedSGD, SGLD) else {}
    return kind(params, **{**options, **noisy, **({"stores": stores} if stores else {}), **more})


def advance(optimizer: MethodOptimizer, params: Sequence[Tensor], steps: int) -> None:
    for _ in range(steps):
        optimizer.step(closure(params))


def theta(optimizer: MethodOptimizer, params: Sequence[Tensor]) -> Tensor:
    with optimizer.swap():
        return join(params)


Make = Callable[[Any], torch.optim.Optimizer]
COUNTERPARTS: dict[str, tuple[Make, Make]] = {
    "SGD": (lambda p: SGD(p, 0.02), lambda p: torch.optim.SGD(p, 0.02)),
    "SGD+l2": (lambda p: SGD(p, 0.02, weight_decay=0.1), lambda p: torch.optim.SGD(p, 0.02, weight_decay=0.1)),
    "momentum": (lambda p: HeavyBall(p, 0.01, rho=0.9), lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)),
    "nesterov": (
        lambda p: Nesterov(p, 0.01, rho=0.9, stores="lookahead"),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True),
    ),
    "nesterov+l2": (
        lambda p: Nesterov(p, 0.01, rho=0.9, weight_decay=0.1, stores="lookahead"),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
    "Adagrad": (lambda p: AdaGrad(p, 0.1, eps=1e-10), lambda p: torch.optim.Adagrad(p, 0.1)),
    "RMSprop": (lambda p: RMSProp(p, 0.01, decay=0.99), lambda p: torch.optim.RMSprop(p, 0.01)),
    "Adam": (lambda p: Adam(p, 0.02), lambda p: torch.optim.Adam(p, 0.02)),
    "Adam+l2": (
        lambda p: Adam(p, 0.02, beta1=0.5, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.02, (0.5, 0.999), weight_decay=0.1),
    ),
    "Adam, maximize": (lambda p: Adam(p, 0.02, maximize=True), lambda p: torch.optim.Adam(p, 0.02, maximize=True)),
    "RMSprop, maximize": (
        lambda p: RMSProp(p, 0.01, decay=0.99, weight_decay=0.1, maximize=True),
        lambda p: torch.optim.RMSprop(p, 0.01, weight_decay=0.1, maximize=True),
    ),
    "AdamW": (lambda p: AdamW(p, 0.02), lambda p: torch.optim.AdamW(p, 0.02)),
    "amsgrad": (lambda p: AMSGrad(p, 0.02, bias_correction=True), lambda p: torch.optim.Adam(p, 0.02, amsgrad=True)),
}


@pytest.mark.parametrize("name", COUNTERPARTS)
@pytest.mark.parametrize("missing", [False, True], ids=["all", "grad None now and then"])
def test_equals_torch_optim_in_float64(name: str, missing: bool) -> None:
    """Also where parameters are without a gradient for some steps: each counts its own steps."""
    mine, theirs = cut(start()), cut(start())
    a, b = COUNTERPARTS[name][0](mine), COUNTERPARTS[name][1](theirs)
    for t in range(STEPS):
        # The same gradient for both: RMSProp's near-sign steps would blow rounding up along a trajectory of its own.
        g = gradient(join(theirs)).clamp(-2, 2)
        give(mine, g)
        give(theirs, g)
        if missing:
            for i in range(len(mine)):
                # Parameter 0 from the fifth step on, the others now and then.
                if t < 5 if i == 0 else t % (i + 2) == 1:
                    mine[i].grad = theirs[i].grad = None
        a.step()
        b.step()
    assert torch.allclose(join(mine), join(theirs), rtol=1e-12, atol=1e-13)
    assert not torch.allclose(join(theirs), start(), atol=1e-2)


@pytest.mark.parametrize("projection", [None, Box(0.7), Ball(1.5)], ids=["free", "box", "ball"])
@pytest.mark.parametrize("name", STORES)
def test_equals_the_method_in_a_player_on_the_concatenated_vector(name: str, projection: Any) -> None:
    """Metric projections, noise on the sphere of R^d and norms of the whole vector among it."""
    kind, _ = CLASSES[name.partition(",")[0]]
    x0 = start() if projection is None else start() * 0.3
    params = cut(x0)
    optimizer = make(name, params, **({} if projection is None else {"projection": projection}))
    group = optimizer.param_groups[0]
    method = kind.preset(**{option: group[option] for option in inspect.signature(kind.preset).parameters})
    spec = PlayerSpec(None, method, **({} if projection is None else {"projection": projection}))
    module = nn.Module()
    module.x = nn.Parameter(x0.clone())
    p = Player("p", module, spec, STEPS, torch.Generator().manual_seed(3))
    for t in range(1, 26):
        s = p.scalars(t)
        g = gradient(p.point(p.state, s))
        p.step_in_place(g, s, p.draw())
        advance(optimizer, params, 1)
        if t in (1, 2, 10, 25):
            assert torch.allclose(theta(optimizer, params), p.state["theta"], rtol=1e-9, atol=1e-11)
    assert not torch.allclose(p.state["theta"], x0, atol=1e-2)
    if projection == Box(0.7) and kind is not AcceleGrad:
        assert theta(optimizer, params).abs().max() <= 0.7


@pytest.mark.parametrize("name", STORES)
def test_how_a_vector_is_cut_does_not_matter(name: str) -> None:
    ends = []
    for shapes in (SHAPES, [(SIZE,)], [(1,)] * SIZE, [(4, 2), (2, 1, 2)]):
        params = cut(start(), shapes)
        optimizer = make(name, params, projection=Box(1.45))
        advance(optimizer, params, 15)
        ends.append(theta(optimizer, params))
    for other in ends[1:]:
        assert torch.allclose(ends[0], other, rtol=1e-11, atol=1e-13)
    assert not torch.allclose(ends[0], start(), atol=1e-2)


@pytest.mark.parametrize("name", STORES)
def test_state_dict_continues_bit_exactly_in_new_objects(name: str) -> None:
    params = cut(start())
    optimizer = make(name, params, projection=Box(1.45))
    advance(optimizer, params, 13)
    file = io.BytesIO()
    noise = None if optimizer.generator is None else optimizer.generator.get_state()
    torch.save({"params": join(params), "optimizer": optimizer.state_dict()}, file)
    advance(optimizer, params, 12)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    others = cut(saved["params"])
    other = make(name, others, projection=Box(1.45), lr=9.0)
    if noise is not None:
        assert other.generator is not None
        other.generator.set_state(noise)
    other.load_state_dict(saved["optimizer"])
    advance(other, others, 12)
    assert torch.equal(join(params), join(others))
    assert torch.equal(theta(optimizer, params), theta(other, others))
    for p, q in zip(params, others, strict=True):
        assert optimizer.state[p].keys() == other.state[q].keys()
        for key, value in optimizer.state[p].items():
            assert value == other.state[q][key] if key == "step" else torch.equal(value, other.state[q][key])


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_continue_bit_exactly_and_apart(name: str, way: str) -> None:
    params = cut(start())
    optimizer = make(name, params, projection=Box(1.45))
    advance(optimizer, params, 5)
    if way == "deepcopy":
        others, other = copy.deepcopy((params, optimizer))
    else:
        others, other = pickle.loads(pickle.dumps((params, optimizer)))
    advance(other, others, 7)
    here = join(params)
    advance(optimizer, params, 7)
    assert not torch.equal(here, join(params))
    assert torch.equal(join(params), join(others))


def test_what_was_loaded_is_not_shared() -> None:
    params = cut(start())
    optimizer = Adam(params, 0.02)
    advance(optimizer, params, 3)
    saved = optimizer.state_dict()
    held = copy.deepcopy(saved)
    twin_params = cut(join(params))
    twin = Adam(twin_params)
    twin.load_state_dict(saved)
    advance(twin, twin_params, 4)
    assert all(torch.equal(held["state"][i]["mean"], saved["state"][i]["mean"]) for i in held["state"])


def test_load_hooks_see_what_is_loaded() -> None:
    params = cut(start())
    optimizer = HeavyBall(params, 0.01)
    advance(optimizer, params, 3)

    def double(_: Any, saved: dict[str, Any]) -> dict[str, Any]:
        entries = {i: {**entry, "velocity": entry["velocity"] * 2} for i, entry in saved["state"].items()}
        return {**saved, "state": entries}

    seen = []
    other = HeavyBall(cut(start()), 0.01)
    other.register_load_state_dict_pre_hook(double)
    other.register_load_state_dict_post_hook(lambda o: seen.append([e["velocity"] for e in o.state.values()]))
    other.load_state_dict(optimizer.state_dict())
    mine = [entry["velocity"] for entry in optimizer.state.values()]
    assert all(torch.equal(a * 2, b) for a, b in zip(mine, seen[0], strict=True))


@pytest.mark.parametrize("name", ["Adam", "HeavyBall", "AdaGradNorm", "Nesterov, lookahead", "AcceleGrad"])
def test_half_precision_keeps_a_single_precision_state_also_through_loading(name: str) -> None:
    params = cut(start().bfloat16())
    optimizer = make(name, params)
    single = cut(join(params).float())
    reference = make(name, single)
    for t in range(12):
        # The reference steps in single precision from where the parameters are.
        if t:
            for p, q in zip(params, single, strict=True):
                q.data.copy_(p.data)
            if ", " not in name:
                reference.load_state_dict(optimizer.state_dict())
        advance(optimizer, params, 1)
        if ", " not in name and name != "AcceleGrad":
            for q, p in zip(single, params, strict=True):
                assert p.grad is not None
                q.grad = p.grad.float()
            reference.step()
            assert torch.allclose(join(params).float(), join(single), rtol=2**-8)
    states = [(k, v) for entry in optimizer.state.values() for k, v in entry.items() if isinstance(v, Tensor)]
    # A sum over the whole group is a double.
    assert states and all(v.dtype == (torch.float64 if k == "sum_square" else torch.float32) for k, v in states)
    others = [nn.Parameter(p.detach().clone()) for p in params]
    other = make(name, others)
    other.load_state_dict(optimizer.state_dict())
    advance(optimizer, params, 5)
    advance(other, others, 5)
    found = [v for entry in other.state.values() for v in entry.values() if isinstance(v, Tensor)]
    assert [v.dtype for v in found] == [v.dtype for _, v in states]
    assert torch.equal(join(params), join(others)) and params[0].dtype == torch.bfloat16
    assert not torch.equal(join(params), start().bfloat16())


def test_parameters_and_gradients_need_not_lie_in_order() -> None:
    """torch's fused kernel reads past strides: a transposed gradient would be taken in the wrong order, in silence."""
    for transposed in ("parameter", "gradient", "both"):
        ends = []
        for kind in (Adam, torch.optim.Adam):
            p = nn.Parameter(start().reshape(3, 4))
            if transposed != "gradient":
                p = nn.Parameter(start().reshape(4, 3).t().detach().clone(memory_format=torch.preserve_format))
                assert not p.is_contiguous()
            optimizer = kind([p], 0.02)
            for t in range(5):
                g = torch.arange(12.0, dtype=torch.float64).sin() * (t + 1)
                p.grad = g.reshape(4, 3).t() if transposed != "parameter" else g.reshape(3, 4)
                optimizer.step()
            ends.append(p.detach())
        assert torch.allclose(ends[0], ends[1], rtol=1e-12)


# The numbers of a group are read at every step.


@pytest.mark.parametrize("name", STORES)
def test_a_schedule_takes_effect_at_the_next_step(name: str) -> None:
    """lr read once, so that schedulers do nothing, has been published."""
    scheduled, constant, by_hand = cut(start()), cut(start()), cut(start())
    a, b, c = make(name, scheduled), make(name, constant), make(name, by_hand)
    scheduler = LambdaLR(a, Cosine(end=0.1).over(20))
    base = b.param_groups[0]["lr"]
    for t in range(20):
        c.param_groups[0]["lr"] = base * Cosine(end=0.1)(t, 20)
        for optimizer, params in ((a, scheduled), (b, constant), (c, by_hand)):
            advance(optimizer, params, 1)
        scheduler.step()
        if t == 0:
            assert torch.equal(join(scheduled), join(constant))
    assert torch.equal(join(scheduled), join(by_hand))
    assert not torch.allclose(join(scheduled), join(constant), atol=1e-3)


def test_a_warm_up_may_start_at_zero_and_lr_may_be_a_tensor() -> None:
    params = cut(start())
    optimizer = Adam(params, 0.02)
    LambdaLR(optimizer, lambda step: 0.0 if step == 0 else 1.0)
    advance(optimizer, params, 1)
    assert torch.equal(join(params), start())
    for kind in (Adam, SGD):
        ends = []
        for lr in (0.02, torch.tensor(0.02, dtype=torch.float64)):
            params = cut(start())
            advance(kind(params, lr), params, 3)  # type: ignore[arg-type]
            ends.append(join(params))
        assert torch.equal(*ends)


def test_every_rlgan_schedule_is_a_lambda() -> None:
    optimizer = SGD(cut(start()), 0.5)
    scheduler = LambdaLR(optimizer, Warmup(4))
    seen = []
    for _ in range(6):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == [0.5 * Warmup(4)(t) for t in range(6)] and seen[0] < seen[1]


def test_other_options_are_live_too() -> None:
    params, reference = cut(start()), cut(start())
    optimizer, theirs = HeavyBall(params, 0.01, rho=0.1), torch.optim.SGD(reference, 0.01, momentum=0.1)
    for t in range(8):
        optimizer.param_groups[0]["rho"] = theirs.param_groups[0]["momentum"] = 0.1 * (t + 1)
        optimizer.param_groups[0]["weight_decay"] = theirs.param_groups[0]["weight_decay"] = 0.02 * t
        optimizer.param_groups[0]["maximize"] = theirs.param_groups[0]["maximize"] = t == 5
        g = gradient(join(reference))
        give(params, g)
        give(reference, g)
        optimizer.step()
        theirs.step()
    assert torch.allclose(join(params), join(reference), rtol=1e-12)
    optimizer.param_groups[0]["rho"] = 2.0
    with pytest.raises(ValueError, match=r"rho = 2\.0: "):
        optimizer.step()


# Groups.


@pytest.mark.parametrize("name", STORES)
def test_groups_are_vectors_of_their_own(name: str) -> None:
    """Two groups with different options are two optimizers; so norms and spheres are of each group."""
    a, b = cut(start()), cut(start())
    two = make(name, [{"params": a[:2], "lr": 0.01}, {"params": a[2:], "lr": 0.004, "projection": Box(0.5)}])
    one = [make(name, b[:2], lr=0.01), make(name, b[2:], lr=0.004, projection=Box(0.5))]
    if two.generator is not None:
        one[1].generator = one[0].generator
    plain = name.partition(",")[0] not in AHEAD
    for _ in range(10):
        if plain or ", " in name:
            closure(a)(), closure(b)()
            two.step()
            for optimizer in one:
                optimizer.step()
        else:
            # Both halves of the vector at their look-ahead points.
            with one[0]._ahead(), one[1]._ahead():
                closure(b)()
            grads = [p.grad for p in b]
            for optimizer in one:
                optimizer.step(lambda: None)
            assert all(p.grad is g for p, g in zip(b, grads, strict=True))
            two.step(closure(a))
    assert torch.equal(join(a), join(b)) and not torch.allclose(join(a), start(), atol=1e-3)


def test_one_norm_for_a_group_and_one_for_each_of_two() -> None:
    for groups in (1, 2):
        params = cut(start())
        pieces = [params] if groups == 1 else [params[:1], params[1:]]
        optimizer = AdaGradNorm([{"params": piece} for piece in pieces], lr=1.0)
        g = gradient(start())
        give(params, g)
        optimizer.step()
        parts = [g] if groups == 1 else [g[:6], g[6:]]
        moved = (start() - join(params)).split([part.numel() for part in parts])
        assert all(torch.allclose(m, part / part.norm(), rtol=1e-14) for m, part in zip(moved, parts, strict=True))


@pytest.mark.parametrize("name", ["Adam", "AMSGrad", "AdaGradNorm", "Nesterov, lookahead"])
def test_a_group_may_be_added_later(name: str) -> None:
    a, b = cut(start()), cut(start())
    optimizer = make(name, a[:2])
    other = make(name, b[:2])
    for t in range(8):
        if t == 3:
            optimizer.add_param_group({"params": a[2:], "lr": 0.007})
            late = make(name, b[2:], lr=0.007)
        closure(a)(), closure(b)()
        optimizer.step()
        other.step()
        if t >= 3:
            late.step()
    assert torch.equal(join(a), join(b)) and not torch.equal(join(a)[9:], start()[9:])


def test_named_parameters() -> None:
    layer = nn.Linear(2, 2)
    optimizer = Adam(layer.named_parameters(), 0.1)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"] and len(optimizer.state) == 2


# Parameters without a gradient.


@pytest.mark.parametrize("name", STORES)
def test_parameters_without_a_gradient_are_left_alone_with_their_state(name: str) -> None:
    params = cut(start())
    optimizer = make(name, params)
    advance(optimizer, params, 3)

    def kept(p: Tensor) -> dict[str, Any]:
        # Without a number or matrix of the whole group, which is in the state of its first parameter.
        own = {k: v for k, v in optimizer.state[p].items() if k == "step" or v.shape == p.shape}
        return copy.deepcopy({"p": p.detach(), **own})

    for absent in ([1], [0, 2], [0, 1, 2, 3], []):

        def some(absent: list[int] = absent) -> None:
            closure(params)()
            for i in absent:
                params[i].grad = None

        before = {i: kept(params[i]) for i in range(4)}
        optimizer.step(some)
        for i, was in before.items():
            now = kept(params[i])
            # The group's own number is the state of its first parameter, which is not what is looked at.
            same = all(
                was[k] == now[k] if k == "step" else torch.equal(was[k], now[k]) for k in was if k != "sum_square"
            )
            assert same if i in absent else now["step"] == was["step"] + 1 and not torch.equal(was["p"], now["p"])


def test_global_quantities_are_those_of_the_parameters_that_have_a_gradient() -> None:
    """AdaGrad-norm and full-matrix AdaGrad against loops over vectors; the first parameter joins late."""
    for kind in (AdaGradNorm, AdaGradFull):
        params = cut(start())
        optimizer = kind(params, 0.3)
        x, total = start(), torch.zeros((), dtype=torch.float64)
        outer = torch.zeros(SIZE, SIZE, dtype=torch.float64)
        for absent in ([0], [0, 3], [], [1], [2, 3], []):
            g = gradient(x)
            give(params, g)
            for i in absent:
                params[i].grad = None
            rows = torch.cat([torch.full((p.numel(),), i not in absent) for i, p in enumerate(params)])
            index = rows.nonzero().squeeze(1)
            here = g[index]
            if kind is AdaGradNorm:
                total = total + here @ here
                x[index] -= 0.3 * here / total.sqrt()
            else:
                outer[index[:, None], index] += torch.outer(here, here)
                values, vectors = torch.linalg.eigh(outer[index[:, None], index])
                root = vectors @ torch.diag(values.clamp(min=0).sqrt() + 1e-8) @ vectors.T
                # Along what no gradient has met, root is eps alone and here's share is rounding: compare where it acts.
                x[index] -= 0.3 * torch.linalg.solve(root, here)
            optimizer.step()
            assert torch.allclose(join(params), x, atol=1e-12 if kind is AdaGradNorm else 1e-6)
            x = join(params)


def test_no_gradient_at_all_is_no_step() -> None:
    params = cut(start())
    optimizer = Adam(params)
    optimizer.step()
    assert torch.equal(join(params), start()) and not optimizer.state


def test_clearing_the_state_starts_anew() -> None:
    for name in ("Adam", "HeavyBall", "AcceleGrad", "AdaGradNorm"):
        params = cut(start())
        optimizer = make(name, params)
        advance(optimizer, params, 5)
        optimizer.state.clear()
        others = cut(join(params))
        fresh = make(name, others)
        advance(optimizer, params, 5)
        advance(fresh, others, 5)
        assert torch.equal(join(params), join(others))


# Looking ahead.


@pytest.mark.parametrize("name", AHEAD)
def test_both_ways_of_storing_are_one_trajectory(name: str) -> None:
    a, b = cut(start()), cut(start())
    by_closure, by_torch = make(name, a, projection=Ball(3.0)), make(name, b, projection=Ball(3.0), stores="lookahead")
    for t in range(30):
        if t == 20:
            by_closure.param_groups[0]["lr"] = by_torch.param_groups[0]["lr"] = by_torch.param_groups[0]["lr"] * 0.5
        advance(by_closure, a, 1)
        closure(b)()
        by_torch.step()
        held = join(b)
        assert torch.allclose(theta(by_torch, b), join(a), rtol=1e-9, atol=1e-11)
        assert torch.equal(join(b), held)
    assert not torch.allclose(join(a), join(b), atol=1e-4), "theta is not the look-ahead point"


@pytest.mark.parametrize("name", AHEAD)
def test_without_a_closure_the_error_says_what_to_do(name: str) -> None:
    params = cut(start())
    optimizer = make(name, params)
    closure(params)()
    with pytest.raises(ValueError) as error:
        optimizer.step()
    assert str(error.value) == (
        f"step needs a closure: {name} takes its gradient at a look-ahead point; "
        "pass step(closure) or use stores='lookahead'"
    )
    assert torch.equal(join(params), start())


def test_the_closure_sees_the_look_ahead_point_and_theta_is_back_even_if_it_fails() -> None:
    params = cut(start())
    optimizer = Nesterov(params, 0.01, rho=0.5)
    advance(optimizer, params, 4)
    here = join(params)
    ahead = here + 0.5 * join([optimizer.state[p]["velocity"] for p in params])
    seen = []

    def failing() -> None:
        seen.append(join(params))
        assert torch.is_grad_enabled()
        raise RuntimeError("no batch")

    with pytest.raises(RuntimeError, match="no batch"):
        optimizer.step(failing)
    assert torch.equal(seen[0], ahead) and not torch.equal(ahead, here)
    assert torch.equal(join(params), here)


def test_in_lookahead_storage_theta_goes_with_what_the_user_writes() -> None:
    params = cut(start())
    optimizer = Nesterov(params, 0.01, stores="lookahead")
    advance(optimizer, params, 4)
    before = theta(optimizer, params)
    with torch.no_grad():
        for p in params:
            p.add_(0.25)
    assert torch.allclose(theta(optimizer, params), before + 0.25, rtol=1e-14)
    with pytest.raises(RuntimeError, match="evaluation"), optimizer.swap():
        raise RuntimeError("evaluation")
    assert not torch.equal(join(params), theta(optimizer, params))


def test_nesterov_under_a_schedule_is_the_slides_and_not_torchs() -> None:
    """lr inside the velocity: the two part as soon as lr changes, and agree while it does not."""
    mine, theirs = cut(start()), cut(start())
    a = Nesterov(mine, 0.01, rho=0.9, stores="lookahead")
    b = torch.optim.SGD(theirs, 0.01, momentum=0.9, nesterov=True)
    for t in range(40):
        if t == 20:
            a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.002
            assert torch.allclose(join(mine), join(theirs), rtol=1e-12)
        closure(mine)(), closure(theirs)()
        a.step()
        b.step()
    assert not torch.allclose(join(mine), join(theirs), atol=1e-4)


# Habits.


def test_a_closure_gives_its_loss_and_has_gradients() -> None:
    params = cut(start())
    for name in CLASSES:
        loss = make(name, params).step(closure(params))
        assert loss.requires_grad and loss.item() > 0


def test_hooks_run_around_the_step() -> None:
    params = cut(start())
    optimizer = HeavyBall(params, 0.01)
    seen: list[Any] = []
    first = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(join(params)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(join(params)))
    closure(params)()
    optimizer.step()
    first.remove()
    optimizer.step()
    assert torch.equal(seen[0], start()) and torch.equal(seen[1], seen[1]) and len(seen) == 3
    assert not torch.equal(seen[0], seen[1]) and torch.equal(seen[2], join(params))


def test_zero_grad_in_both_ways() -> None:
    params = cut(start())
    optimizer = HeavyBall(params, 0.01, rho=0.5)
    closure(params)()
    optimizer.step()
    here, speed = join(params), join([optimizer.state[p]["velocity"] for p in params])
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)
    optimizer.step()
    assert torch.equal(join(params), here), "no gradient, no step"
    closure(params)()
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    assert torch.allclose(join(params), here + 0.5 * speed, rtol=1e-14), "a gradient of zero is one"


@pytest.mark.parametrize("name", ["Adam", "SGD", "AMSGrad", "AdaGradNorm"])
def test_maximize_is_descent_along_the_negative_gradient(name: str) -> None:
    a, b = cut(start()), cut(start())
    up, down = make(name, a, maximize=True), make(name, b)
    for t in range(5):
        g = gradient(start() * (1 + t))
        give(a, g)
        give(b, -g)
        up.step()
        down.step()
        assert all(p.grad is not None for p in a) and torch.equal(join([p.grad for p in a if p.grad is not None]), g)
    assert torch.equal(join(a), join(b)) and not torch.equal(join(a), start())


def test_parameters_stay_the_users_and_autograd_notices_a_write() -> None:
    """`p.data = view` would give a silently wrong gradient where a step falls between forward and backward."""
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).double()
    places = [p.data_ptr() for p in layers.parameters()]
    for kind in (Adam, SGD):
        optimizer = kind(layers.parameters(), 0.1)
        x = torch.ones(4, 2, dtype=torch.float64)
        loss = layers(x).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    assert [p.data_ptr() for p in layers.parameters()] == places


def test_noise_is_drawn_from_the_given_generator_or_torchs_own() -> None:
    xi = torch.randn(SIZE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for generator in (torch.Generator().manual_seed(5), None):
        params = cut(start())
        torch.manual_seed(5)
        optimizer = SGLD(params, 0.02, temperature=2.0, generator=generator)
        give(params, torch.zeros(SIZE, dtype=torch.float64))
        optimizer.step()
        assert torch.allclose(join(params), start() + (2 * 0.02 * 2.0) ** 0.5 * xi, rtol=1e-14)
    params = cut(start())
    give(params, torch.zeros(SIZE, dtype=torch.float64))
    PerturbedSGD(params, 0.02, sigma=3.0).step()
    assert (join(params) - start()).norm().item() == pytest.approx(0.02 * 3.0, rel=1e-12)


def test_projection_is_part_of_the_step_and_in_the_metric_of_the_method() -> None:
    params = cut(start().abs() / start().abs().sum())
    optimizer = Adam(params, 0.1, projection=Simplex(1.0))
    for _ in range(10):
        optimizer.step(closure(params))
        assert join(params).sum().item() == pytest.approx(1.0, rel=1e-12) and join(params).min() >= 0
    first = []
    for project_in in ("own", "euclidean"):
        params = cut(start())
        optimizer = Adam(params, 0.5, project_in=project_in, projection=Ball(1.0))
        optimizer.step(closure(params))
        first.append(join(params))
        assert join(params).norm().item() == pytest.approx(1.0, rel=1e-12)
    free = cut(start())
    Adam(free, 0.5).step(closure(free))
    assert torch.allclose(first[1], join(free) / join(free).norm(), rtol=1e-12)
    assert not torch.allclose(first[0], first[1], atol=1e-3)


@pytest.mark.parametrize(
    ("make_one", "says"),
    [
        (lambda p: Adam(p, learning_rate=1e-3), "learning_rate = 0.001: Adam has no such option; it has lr, beta1"),
        (lambda p: SGD(p, stores="lookahead"), "stores = lookahead: SGD has no such option"),
        (lambda p: Nesterov(p, stores="ahead"), "stores = ahead: theta, or lookahead"),
        (lambda p: Adam(p, -1.0), "lr = -1.0: "),
        (lambda p: Adam([{"params": p, "beta1": 1.5}]), "beta1 = 1.5: "),
        (lambda p: AcceleGrad(p, diameter=0.0), "diameter = 0.0: "),
        (lambda p: AdaGradFull(p, max_size=3).step(closure(p)), "max_size = 3: "),
    ],
)
def test_impossible_values_are_named(make_one: Callable[[list[nn.Parameter]], object], says: str) -> None:
    with pytest.raises(ValueError) as error:
        make_one(cut(start()))
    assert str(error.value).startswith(says)


def test_a_projection_unknown_in_the_metric_is_refused() -> None:
    with pytest.raises(ValueError, match=r"projection = Ball.*full metric of this optimizer; use project_in"):
        AdaGradFull(cut(start()), projection=Ball(1.0))


def test_a_group_is_of_one_dtype() -> None:
    params = [*cut(start()), nn.Parameter(torch.ones(2))]
    for p in params:
        p.grad = torch.ones_like(p)
    with pytest.raises(ValueError, match=r"params = of .*a parameter group is one vector, of one dtype on one device"):
        SGD(params).step()


def test_a_refused_group_is_not_there() -> None:
    params = cut(start())
    optimizer = Adam(params[:2])
    with pytest.raises(ValueError, match=r"lr = -2\.0"):
        optimizer.add_param_group({"params": params[2:], "lr": -2.0})
    assert len(optimizer.param_groups) == 1


def test_sparse_gradients_are_refused() -> None:
    embedding = nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="grad = sparse: "):
        Adam(embedding.parameters()).step()


def test_a_state_of_other_shapes_is_refused() -> None:
    params = cut(start())
    optimizer = HeavyBall(params)
    advance(optimizer, params, 1)
    others = cut(start(), [(3, 2), *SHAPES[1:]])
    other = HeavyBall(others, lr=0.5)
    with pytest.raises(ValueError, match=r"state\.velocity = of shape \(2, 3\): this parameter needs \(3, 2\)"):
        other.load_state_dict(optimizer.state_dict())
    assert not other.state and other.param_groups[0]["lr"] == 0.5


def test_signatures_show_the_options() -> None:
    parameters = inspect.signature(Adam).parameters
    assert list(parameters)[:3] == ["params", "lr", "beta1"] and parameters["lr"].default == 1e-3
    assert {"projection", "generator", "maximize"} <= parameters.keys() and "stores" not in parameters
    assert inspect.signature(Nesterov).parameters["stores"].default == "theta"


def test_the_example_of_the_module_runs() -> None:
    lines = (torch_optimizer.__doc__ or "").splitlines()
    code = textwrap.dedent("\n".join(line for line in lines if line.startswith("    ")))
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(code, names)
    assert isinstance(names["optimizer"], AMSGrad) and names["loss"].item() < 1.1
    assert names["optimizer"].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_a_rlgan_schedule_of_a_players_and_a_lambda_agree() -> None:
    params = cut(start())
    optimizer = HeavyBall(params, 0.01)
    scheduler = LambdaLR(optimizer, Linear(0.1, 10))
    module = nn.Module()
    module.x = nn.Parameter(start())
    kind, _ = CLASSES["HeavyBall"]
    p = Player("p", module, PlayerSpec(None, kind.preset(0.01), Linear(0.1, 10)), 20)
    for t in range(1, 20):
        p.step_in_place(gradient(p.state["theta"]), p.scalars(t), None)
        advance(optimizer, params, 1)
        scheduler.step()
    assert torch.allclose(join(params), p.state["theta"], rtol=1e-11)
