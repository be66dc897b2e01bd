"""Why exploration=parameter normalises observations: copies of an actor differ in what they answer to what they see."""

import numpy as np
import torch
from torch import nn

from rlgan.nets import MLPSpec
from rlgan.rl.envs.classic import MountainCarContinuous
from rlgan.rl.exploration.parameter_noise import PerturbedActors

COPIES, SIGMA, STEPS = 100, 0.1, 500


def arrived(scale: tuple[float, float]) -> float:
    """The share of perturbed copies of an actor that does nothing whose car comes to the flag.

    They see (place + 0.5) / scale[0] and speed / scale[1].
    """
    torch.manual_seed(0)
    actor = MLPSpec(hidden=(64, 64), norm="layer").actor(2, 1)
    last = [module for module in actor.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    copies, generator = PerturbedActors(actor, COPIES), torch.Generator().manual_seed(1)
    for i in range(COPIES):
        copies.perturb(i, SIGMA, generator)
    cars = MountainCarContinuous(COPIES)
    obs, _ = cars.reset(seed=2)
    there = np.zeros(COPIES, dtype=np.bool_)
    for _ in range(STEPS):
        seen = (torch.from_numpy(np.array(obs)) + torch.tensor([0.5, 0.0])) / torch.tensor(scale)
        obs, _, terminated, *_ = cars.step(copies(seen).numpy())
        there |= terminated
    return float(there.mean())


def test_copies_that_see_the_speed_swing_the_car_up() -> None:
    raw, normalised = arrived((1.0, 1.0)), arrived((0.1, 0.01))  # the spreads of random actions
    assert raw < 0.02 and normalised > 0.1
