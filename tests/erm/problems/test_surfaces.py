"""What all surfaces have in common: starts, and the noise of their gradients."""

import pytest
import torch

from rlgan.erm import Quadratic
from rlgan.task.settings import Settings


def start(surface: Quadratic, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    (theta,) = surface.network(Settings(seed=seed, device="cpu", precision="float64"), ()).parameters()
    return theta.detach()


def test_one_number_is_a_start_of_all_coordinates() -> None:
    assert Quadratic(dimension=3, start=0.5).beginning.tolist() == [0.5, 0.5, 0.5]
    assert Quadratic(dimension=2, start=(0.5, 1.0)).beginning.tolist() == [0.5, 1.0]
    with pytest.raises(ValueError, match=r"^start = \[0\.5\]: Quadratic has 2 variables; give so many"):
        Quadratic(dimension=2, start=(0.5,))
    for wrong in (float("inf"), (0.5, float("nan"))):
        with pytest.raises(ValueError, match=r"^start = .*: has to be finite, for example \[1\.0, 1\.0\]"):
            Quadratic(dimension=2, start=wrong)


def test_a_spread_of_starts_is_a_box_and_each_seed_has_its_own() -> None:
    centre = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    surface = Quadratic(dimension=3, start=(1.0, -2.0, 3.0), start_spread=0.5)
    offsets = torch.stack([start(surface, seed) - centre for seed in range(200)])
    assert offsets.abs().max() <= 0.5 and offsets.abs().max() > 0.45
    assert offsets.std(0) == pytest.approx([1 / 12**0.5] * 3, rel=0.15)
    assert torch.equal(start(Quadratic(dimension=3, start=(1.0, -2.0, 3.0)), 5), centre)


def test_noise_may_be_of_each_coordinate_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    surface = Quadratic(gradient_noise=(3.0, 0.0))
    noise = surface.noise(2000, generator, 0)
    assert noise[:, 0].std() == pytest.approx(3.0, rel=0.06) and not noise[:, 1].any()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"gradient_noise": (1.0, 1.0, 1.0)}, "one for each of 2 coordinates"),
        ({"gradient_noise": -1.0}, "gradient_noise = -1.0: a standard deviation"),
        ({"start_spread": -0.1}, "start_spread = -0.1: half the width"),
    ],
)
def test_impossible_noise_or_spread_is_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Quadratic(**fields)  # type: ignore[arg-type]
