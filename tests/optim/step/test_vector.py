"""The link between a module and its vector, in every way in which it could break."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

from rlgan.optim import Losses, Player, PlayerSpec, Simultaneous, Update, Vector, adam, sgd
from tests.optim.problems import linked


def make(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x))


def test_ravelling_keeps_the_function_and_writes_reach_the_module() -> None:
    x = torch.randn(7, 3)
    module = make().eval()
    before = module(x)
    vector = Vector(module)
    assert vector.theta.shape == (3 * 5 + 5 + 5 + 5 + 5 * 2 + 2,)
    assert torch.equal(module(x), before)
    assert torch.equal(functional_call(module, (vector.split(vector.theta), vector.buffers()), x), before)
    vector.theta.mul_(2.0)
    assert torch.equal(module.get_parameter("0.weight"), vector.split(vector.theta)["0.weight"])
    assert not torch.equal(module(x), before)
    assert linked(vector)


def test_gradients_are_views_of_one_vector() -> None:
    vector = Vector(make())
    vector.module(torch.randn(4, 3)).sum().backward()
    expected = torch.cat([p.grad.reshape(-1) for p in vector.module.parameters() if p.grad is not None])
    assert torch.equal(vector.grad, expected) and vector.grad.abs().sum() > 0


def test_writing_between_forward_and_backward_raises() -> None:
    """Law 1 is enforced by autograd's version counter: a stale graph must not give a silently wrong gradient."""
    vector = Vector(make())
    loss = vector.module(torch.randn(4, 3)).square().sum()
    vector.theta.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_frozen_twin_shares_memory_and_buffers_and_records_no_graph() -> None:
    vector = Vector(make())
    x = torch.randn(6, 3)
    assert not vector.frozen(x).requires_grad
    before = vector.module.get_buffer("1.running_mean").clone()
    vector.frozen(x)
    assert not torch.equal(vector.module.get_buffer("1.running_mean"), before)
    vector.theta.zero_()
    assert torch.equal(vector.frozen(x), torch.zeros(6, 2))
    # The input's gradient still passes through it: an actor learns through a frozen critic.
    x.requires_grad_()
    assert vector.frozen(x).requires_grad


def test_tied_parameters_stay_tied_and_are_stored_once() -> None:
    vector = Vector(Tied())
    assert vector.theta.numel() == 16 + 4 + 4
    assert vector.module.get_parameter("a.weight") is vector.module.get_parameter("b.weight")
    assert vector.frozen.get_parameter("a.weight") is vector.frozen.get_parameter("b.weight")
    x = torch.randn(3, 4)
    assert torch.allclose(functional_call(vector.module, vector.split(vector.theta), x), vector.module(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))], ids=["deepcopy", "pickle"])
def test_copies_are_linked_to_vectors_of_their_own(copied) -> None:  # type: ignore[no-untyped-def]
    vector = Vector(make())
    other = copied(vector)
    assert linked(other) and torch.equal(other.theta, vector.theta)
    other.theta.zero_()
    assert vector.theta.abs().sum() > 0
    assert all(not p.any() for p in other.module.parameters())


def test_loading_keeps_the_link() -> None:
    vector = Vector(make())
    vector.module.load_state_dict(make(1).state_dict())
    assert linked(vector)


def test_frozen_parameters_of_the_user_are_left_alone_and_no_parameters_is_an_error() -> None:
    module = make()
    module.get_parameter("0.weight").requires_grad_(False)
    vector = Vector(module)
    assert vector.theta.numel() == sum(p.numel() for p in module.parameters() if p.requires_grad)
    with pytest.raises(ValueError, match="no trainable parameter"):
        Vector(nn.Tanh())
    mixed = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).double())
    with pytest.raises(ValueError, match="one dtype"):
        Vector(mixed)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_parameters_are_refused_by_name(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"^module = Linear: parameters of {dtype}, and a player is a vector of real"):
        Vector(nn.Linear(2, 2, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_where_a_step_would_be_rounded_away(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"^p.optimizer.dtype = {dtype}: steps .* use module.float"):
        Player("p", nn.Linear(2, 2, dtype=dtype), PlayerSpec(None, adam()))


def test_a_module_that_is_no_vector_is_refused_at_the_start() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    tied = nn.Sequential(first, second)
    second.weight = nn.Parameter(first.weight.data)
    with pytest.raises(ValueError, match=r"^module = Sequential: has two parameters that are one in memory"):
        Vector(tied)
    second.weight = first.weight
    assert Vector(tied).theta.shape == (8,)
    with pytest.raises(ValueError, match=r"^module = LazyLinear: lazy"):
        Vector(nn.LazyLinear(2))
    empty = nn.Linear(2, 2, bias=False)
    empty.weight = nn.Parameter(torch.ones(0))
    with pytest.raises(ValueError, match=r"^module = Linear: has no trainable parameter"):
        Vector(empty)


def replaced(module: nn.Linear) -> None:
    module.weight = nn.Parameter(torch.ones(1, 2))


def swapped(module: nn.Linear) -> None:
    module.weight.data = torch.ones(1, 2)


def loaded(module: nn.Linear) -> None:
    module.load_state_dict(nn.Linear(2, 1).state_dict(), assign=True)


def taken(module: nn.Linear) -> None:
    Player("other", module, PlayerSpec(None, sgd()))


@pytest.mark.parametrize(
    "change",
    [replaced, swapped, loaded, taken, lambda m: m.double(), lambda m: m.requires_grad_(False)],
    ids=["replaced", "data", "assigned", "taken", "double", "frozen"],
)
def test_a_module_that_is_no_longer_the_vector_is_refused(change: Callable[[nn.Linear], Any]) -> None:
    """The vector went on without it, in silence, and what was evaluated was the other."""
    module = nn.Linear(2, 1)
    player = Player("p", module, PlayerSpec(None, sgd()))
    update = Update([player], Losses({"p": lambda nets, x: (nets.p(x).mean(), {})}), Simultaneous())
    update([torch.ones(3, 2)])
    with torch.no_grad():
        module.weight.copy_(torch.ones(1, 2))
    module.load_state_dict(nn.Linear(2, 1).state_dict())
    update([torch.ones(3, 2)])
    change(module)
    before = player.vector.theta.clone()
    for compiled in (False, True):
        update.compiled = compiled
        with pytest.raises(ValueError, match=r"^module = Linear: weight of its Linear is no longer what the player"):
            update([torch.ones(3, 2)], watch=compiled)
    with pytest.raises(ValueError, match=r"is no longer what the player moves"):
        update.state_dict()
    assert torch.equal(player.vector.theta, before)


def test_players_have_names_of_their_own() -> None:
    players = [Player("p", nn.Linear(2, 1), PlayerSpec(None, sgd())) for _ in range(2)]
    with pytest.raises(ValueError, match=r"^players = p, p: one name for two"):
        Update(players, Losses({"p": lambda nets, x: (nets.p(x).mean(), {})}), Simultaneous())
