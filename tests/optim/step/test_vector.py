"""The link between a module and its vector, in every way in which it could break."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call

from rlgan.optim import Player, PlayerSpec, Vector, adam
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
