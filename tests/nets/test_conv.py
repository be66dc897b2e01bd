"""The convolutional classifier: every image size, the composition written out, many seeds at once and compiled."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from rlgan.nets import ConvSpec
from rlgan.nets.conv import Reduce


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("reduce", ["stride", "max", "average", "none"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 17), (1, 28, 28), (4, 32, 8)])
def test_every_image_has_a_network(shape: tuple[int, ...], reduce: Reduce) -> None:
    x = torch.randn(3, *shape)
    for outputs in ((), (10,), (2, 2)):
        assert ConvSpec(channels=(2, 3, 4), reduce=reduce).build(shape, outputs)(x).shape == (3, *outputs)


@pytest.mark.parametrize("reduce", ["stride", "max", "average", "none"])
def test_it_is_the_composition_written_out(reduce: Reduce) -> None:
    module = ConvSpec(channels=(3, 5), reduce=reduce, activation="tanh").build((2, 9, 8), (4,))
    first, second = (layer for layer in module.layers if isinstance(layer, torch.nn.Conv2d))
    x = torch.randn(6, 2, 9, 8)
    h = x
    for layer in (first, second):
        h = torch.tanh(F.conv2d(h, layer.weight, layer.bias, padding=1, stride=2 if reduce == "stride" else 1))
        if reduce == "max":
            h = F.max_pool2d(h, 2)
        if reduce == "average":
            h = F.avg_pool2d(h, 2)
    torch.testing.assert_close(module(x), h.flatten(1) @ module.head.weight.T + module.head.bias)


def test_what_is_no_image_or_too_small_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"^shape = \(2,\) -> \(3,\): ConvSpec takes images .*; use network mlp"):
        ConvSpec().build((2,), (3,))
    with pytest.raises(ValueError, match=r"^channels = \[1, 1, 1, 1\]: .* 8 x 9 .*; use at most 3 of them"):
        ConvSpec(channels=(1,) * 4, reduce="max").build((1, 8, 9), ())
    assert ConvSpec(channels=(1,) * 3, reduce="max").build((1, 8, 9), ())(torch.randn(1, 1, 8, 9)).shape == (1,)


@pytest.mark.parametrize("reduce", ["stride", "max", "average"])
def test_many_seeds_at_once_equal_networks_one_by_one(reduce: Reduce) -> None:
    modules = [ConvSpec(channels=(2, 3), reduce=reduce).build((1, 8, 8), (3,)).double() for _ in range(3)]
    x = torch.randn(3, 4, 1, 8, 8, dtype=torch.float64)
    params, _ = stack_module_state(modules)

    def loss(p: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(modules[0], p, (x,)).pow(2).sum()

    gradients = vmap(grad(loss))(params, x)
    for i, module in enumerate(modules):
        module(x[i]).pow(2).sum().backward()
        for name, p in module.named_parameters():
            torch.testing.assert_close(gradients[name][i], p.grad, rtol=1e-9, atol=1e-12)


def test_its_bound_is_that_of_its_layers() -> None:
    module = ConvSpec(channels=(2, 3)).build((1, 8, 8), ())
    x, y = torch.randn(2, 64, 1, 8, 8)
    bound = module.lipschitz_bound(16)
    with torch.no_grad():
        steepest = float(((module(x) - module(y)).abs() / (x - y).flatten(1).norm(dim=1)).max())
    assert bound is not None and steepest <= bound
    assert ConvSpec(reduce="max").build((1, 8, 8), ()).lipschitz_bound() is None


@pytest.mark.slow
@pytest.mark.parametrize("reduce", ["stride", "max"])
def test_it_compiles_whole_with_its_gradient_for_many_seeds(reduce: Reduce) -> None:
    module = ConvSpec(channels=(2, 3), reduce=reduce, norm="batch").build((1, 8, 8), (3,))
    params, buffers = stack_module_state([module, module])
    x = torch.randn(2, 4, 1, 8, 8)

    def loss(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor) -> Tensor:
        b = {name: value.clone() for name, value in b.items()}
        return functional_call(module, (p, b), (x,)).pow(2).sum()

    gradients = vmap(grad(loss))
    compiled = torch.compile(gradients, fullgraph=True)(params, buffers, x)
    for name, wanted in gradients(params, buffers, x).items():
        torch.testing.assert_close(compiled[name], wanted, rtol=1e-4, atol=1e-5)
