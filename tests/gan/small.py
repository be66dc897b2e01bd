"""A WGAN in a size for tests, built from objects."""

from typing import Any

import torch
from torch import Tensor

from rlgan.gan.data import Data, Ring
from rlgan.gan.lipschitz import Clip, GradientPenalty, Lipschitz, NoControl
from rlgan.gan.losses import GANLoss
from rlgan.gan.wgan import WGAN
from rlgan.nets import MLPSpec
from rlgan.optim import Alternating, Game, Linear, PlayerSpec, RunEMA, Simultaneous, rmsprop
from rlgan.optim.step.schedule import Schedule
from rlgan.task.settings import Settings

SMALL = MLPSpec(hidden=(16, 16))
CONTROLS: list[Lipschitz] = [Clip(0.1), GradientPenalty(0.5), NoControl()]
GAMES: list[Game] = [Alternating(3), Simultaneous()]


def make(
    *,
    data: Data | None = None,
    lipschitz: Lipschitz | None = None,
    game: Game | None = None,
    critic: Any = SMALL,
    generator: Any = SMALL,
    loss: GANLoss | None = None,
    temperature: Schedule | None = None,
    lr: float = 2e-3,
    batch_size: int = 16,
    **settings: Any,
) -> WGAN:
    """A small task; every slot that the default run has is in use."""
    options: dict[str, Any] = {"steps": 20, "seed": 3, "device": "cpu", "compile": False, **settings}
    method = rmsprop(lr, 0.9)
    return WGAN(
        Settings(**options),
        data or Ring(),
        PlayerSpec(critic, method, Linear()),
        PlayerSpec(generator, method, Linear(), averaging=RunEMA(0.2)),
        game or Alternating(3),
        lipschitz or Clip(0.1),
        batch_size=batch_size,
        latent_dim=2,
        loss=loss,
        temperature=temperature,
    )


def vectors(task: WGAN) -> dict[str, Tensor]:
    """Everything that training moves, copied."""
    found: dict[str, Tensor] = {}
    for player in (task.critic, task.generator):
        state = player.state
        parts = {k: state[k] for k in ("slots", "buffers", "average", "average_buffers")}
        found |= {f"{player.name}/{part}/{k}": v.clone() for part, slots in parts.items() for k, v in slots.items()}
        found[f"{player.name}/theta"] = player.vector.theta.clone()
    return found


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


def train(task: WGAN, moves: int, every: int = 0) -> WGAN:
    for i in range(moves):
        task.advance()
        if every and i % every == 0:
            task.metrics()
            task.evaluate()
            task.pictures()
    return task
