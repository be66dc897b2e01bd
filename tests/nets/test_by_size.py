"""One of two networks by the size of the images."""

import pytest
import torch

from rlgan.nets import BySizeSpec, DCGANSpec, MLPSpec

SMALL, LARGE = MLPSpec(hidden=(8,)), DCGANSpec(width=4)
SPEC = BySizeSpec(SMALL, LARGE)


@pytest.mark.parametrize(
    ("inputs", "outputs", "chosen"),
    [
        ((2,), (2,), SMALL),
        ((2,), (), SMALL),
        ((6,), (1, 8, 8), SMALL),
        ((1, 8, 8), (), SMALL),
        ((3, 11, 64), (), SMALL),
        ((6,), (3, 12, 64), LARGE),
        ((1, 28, 28), (), LARGE),
    ],
)
def test_the_shorter_side_decides(inputs: tuple[int, ...], outputs: tuple[int, ...], chosen: object) -> None:
    assert SPEC.chosen(inputs, outputs) is chosen


def test_what_is_built_is_the_chosen_one_to_the_last_bit() -> None:
    for inputs, outputs, chosen in (((6,), (1, 8, 8), SMALL), ((6,), (1, 12, 12), LARGE)):
        torch.manual_seed(0)
        module = SPEC.build(inputs, outputs)
        torch.manual_seed(0)
        alone = chosen.build(inputs, outputs)
        z = torch.randn(3, 6)
        assert torch.equal(module(z), alone(z))
    assert BySizeSpec(SMALL, LARGE, from_side=8).build((6,), (1, 8, 8))(torch.randn(2, 6)).shape == (2, 1, 8, 8)


def test_an_agent_has_the_small_one() -> None:
    assert SPEC.actor(3, 2)(torch.randn(5, 3)).shape == (5, 2)
    assert SPEC.q_critic(3, 2)(torch.randn(5, 3), torch.randn(5, 2)).shape == (5,)


def test_a_side_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^from_side = 0: must be at least 1"):
        BySizeSpec(SMALL, LARGE, from_side=0)
