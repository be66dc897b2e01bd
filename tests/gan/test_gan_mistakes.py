"""What an outsider gets wrong in a control, data, a loss or a network: said in one line, with class and method."""

# mypy: disable-error-code="no-untyped-def,override,attr-defined,call-arg"

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlgan.gan import Data, GANLoss, Lipschitz, Penalty
from rlgan.gan.evaluation import own_measures
from rlgan.nets import NetworkSpec
from rlgan.optim import Box
from rlgan.runs.config.build import build_settings, build_task
from rlgan.task.errors import ConfigError, InputError
from rlgan.task.seeding import GlobalRandom
from tests.small import TASKS, composed, differences

HERE = __name__


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return composed(*TASKS["wgan"])


def start(config: dict[str, Any], place: str, cls: type) -> Any:
    node = {"_target_": f"{HERE}.{cls.__name__}"}
    player, _, group = place.rpartition(".")
    section = {**config[player], group: node} if player else node
    return build_task({**config, player or group: section}, build_settings(config))


class Vector(Penalty):
    def penalty(self, critic, x_real, x_fake, epsilon, noise=None):
        return critic.input_gradient(x_real).square().sum(1)


class Number(Penalty):
    def penalty(self, critic, x_real, x_fake, epsilon, noise=None):
        return 0.5


class Detached(Penalty):
    def phi(self, g):
        return g.detach().square().sum(1)


class EveryEntry(Penalty):
    def phi(self, g):
        return g.square()


class OneColumn(Penalty):
    def points(self, x_real, x_fake, epsilon, noise):
        return x_real[:, :1]


class Broadcast(Penalty):
    def points(self, x_real, x_fake, epsilon, noise):
        return epsilon * x_real


class WantsNoise(Penalty):
    def points(self, x_real, x_fake, epsilon, noise):
        return x_real + 0.1 * noise


class Misspelt(Penalty):
    def phi(self, g):
        return g.square().sum(1) * self.wieght


class Fewer(Penalty):
    def points(self, x_real, x_fake):
        return x_real


class Nan(Penalty):
    def phi(self, g):
        return g.sum(1) * torch.nan


class NormOfZero(Penalty):
    def penalty(self, critic, x_real, x_fake, epsilon, noise=None):
        return (0 * critic.input_gradient(x_real)).square().sum(1).sqrt().mean()


class Radius(Lipschitz):
    def projection(self):
        return 0.1


class Forgets(Lipschitz):
    def constrain(self, critic):
        critic.eval()


class Unflattens(Lipschitz):
    def constrain(self, critic):
        return nn.Sequential(critic, nn.Unflatten(0, (-1, 1)))


class Never(Lipschitz):
    every = 0


class ChecksNothing(Lipschitz):
    def check(self, critic):
        return critic.scale


CONTROLS: list[tuple[type, str]] = [
    (Vector, "penalty returned a tensor of shape (32,); return a scalar, for example its mean"),
    (Number, "penalty returned 0.5; return a tensor of shape ()"),
    (Detached, "penalty returned a loss without a gradient; it has to depend on the critic's parameters; no detach()"),
    (EveryEntry, "phi returned a tensor of shape (32, 2); return one of shape (32,)"),
    (OneColumn, "points returned a tensor of shape (32, 1); return one of shape (32, 2)"),
    (Broadcast, "points raised RuntimeError: The size of tensor a (32) must match the size of tensor b (2)"),
    (WantsNoise, "; where it wants noise write noisy = True into the class"),
    (Misspelt, "phi raised AttributeError: 'Misspelt' object has no attribute 'wieght' (test_gan_mistakes.py, line "),
    (Fewer, "but 5 were given; define it as points(self, x_real, x_fake, epsilon, noise)"),
    (Nan, "phi returned nan or inf; look for a division or a root of 0"),
    (NormOfZero, "penalty has a gradient with nan or inf; look for a root or a norm of 0, whose slope is infinite"),
    (Radius, "projection returned 0.1; return a projection, such as rlgan.optim.Box(0.1), or None"),
    (Forgets, "constrain returned None; return a torch.nn.Module"),
    (Unflattens, "constrain's network returned a tensor of shape (4, 1); return one of shape (4,)"),
    (Never, "every is 0; a penalty comes every 1, 2, ... steps"),
    (ChecksNothing, "check raised AttributeError: 'MLP' object has no attribute 'scale' (test_gan_mistakes.py, line "),
]


class Normal(Data):
    shape = (2,)

    def sample(self, n, generator):
        return torch.randn(n, 2, generator=generator)


class ShapeOfOne(Normal):
    shape = 2  # type: ignore[assignment]


class Empty(Normal):
    shape = (0, 2)  # type: ignore[assignment]


class OtherShape(Normal):
    shape = (3,)


class AMethod(Normal):
    def shape(self):
        return (2,)


class NoFile(Normal):
    @property
    def shape(self):
        return self.images_of_mine.shape


class Numpy(Normal):
    def sample(self, n, generator):
        return np.zeros((n, 2))


class Whole(Normal):
    def sample(self, n, generator):
        return torch.randint(3, (n, 2), generator=generator)


class Infinite(Normal):
    def sample(self, n, generator):
        return super().sample(n, generator) / 0


class Keyword(Normal):
    def sample(self, n, generator):
        return torch.randn(n, 2, generater=generator)  # type: ignore[call-overload]


class NoGenerator(Normal):
    def sample(self, n):
        return torch.randn(n, 2)


class AlwaysSixtyFour(Normal):
    def sample(self, n, generator):
        return torch.randn(64, 2, generator=generator)


class Learns(Normal):
    def sample(self, n, generator):
        return super().sample(n, generator) * torch.ones(2, requires_grad=True)


class WideGenerator(Normal):
    def generator(self):
        return nn.Linear(2, 3)


DATA: list[tuple[type, str]] = [
    (ShapeOfOne, "its shape is 2, where lengths are due, for example (2,)"),
    (Empty, "its shape is (0, 2), where lengths are due"),
    (OtherShape, "sample(64, generator) gave torch.float32 (64, 2), where a tensor of floats (64, 3) is due"),
    (AMethod, "its shape is a method; write @property above it"),
    (NoFile, "shape raised AttributeError: 'NoFile' object has no attribute 'images_of_mine' (test_gan_mistakes.py"),
    (Numpy, "gave a ndarray, where a tensor of floats (64, 2) is due"),
    (Whole, "gave torch.int64 (64, 2), where a tensor of floats (64, 2) is due"),
    (Infinite, "its samples hold nan or inf; leave these out"),
    (Keyword, "sample raised TypeError: randn() received an invalid combination of arguments"),
    (NoGenerator, "but 3 were given; define it as sample(self, n, generator)"),
    (AlwaysSixtyFour, "its sample(3, generator) gave 64 samples; give as many as n says"),
    (Learns, "its samples require a gradient, which no player has a use for; .detach() them"),
    (WideGenerator, "generator's network returned a tensor of shape (4, 3); return one of shape (4, 2)"),
]


class Good(GANLoss):
    def critic(self, f_real, f_fake):
        return (1 - f_real).relu().mean() + (1 + f_fake).relu().mean()

    def generator(self, f_fake):
        return -f_fake.mean()


class EachScore(Good):
    def critic(self, f_real, f_fake):
        return f_fake - f_real


class CutOff(Good):
    def generator(self, f_fake):
        return -f_fake.detach().mean()


class Constant(Good):
    def critic(self, f_real, f_fake):
        return 0.0


class NoFunction(Good):
    def critic(self, f_real, f_fake):
        return torch.relu_loss(f_real)


class OnlyReal(Good):
    def critic(self, f_real):
        return f_real.mean()


class NotZeroSum(Good):
    zero_sum = True


LOSSES: list[tuple[type, str]] = [
    (EachScore, "critic returned a tensor of shape (32,); return a scalar, for example its mean"),
    (CutOff, "generator returned a loss without a gradient; it has to depend on the scores; no detach()"),
    (Constant, "critic returned 0.0; return a tensor of shape ()"),
    (NoFunction, "critic raised AttributeError: module 'torch' has no attribute 'relu_loss' (test_gan_mistakes.py"),
    (OnlyReal, "but 3 were given; define it as critic(self, f_real, f_fake)"),
    (NotZeroSum, "zero_sum is True, and the generator's loss does not pull against the critic's; set zero_sum = False"),
]


class Line(NetworkSpec):
    def build(self, inputs, outputs):
        return nn.Sequential(nn.Linear(*inputs, *(outputs or (1,))), nn.Identity() if outputs else nn.Flatten(0))


class Nothing(Line):
    def build(self, inputs, outputs):
        super().build(inputs, outputs)


class Columns(Line):
    def build(self, inputs, outputs):
        return nn.Linear(*inputs, 1)


class Seven(Line):
    def build(self, inputs, outputs):
        return nn.Linear(7, 1)


class Shapes(Line):
    def build(self, inputs, outputs):
        return nn.Linear(inputs, outputs)


class Pooling(Line):
    def build(self, inputs, outputs):
        return nn.Flatten(0)


class Forward(nn.Module):
    def __init__(self, change: str) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(2, 1), change

    def forward(self, x):
        y = self.layer(x).squeeze(-1)
        return {"detach": y.detach(), "nan": y * torch.nan, "double": y.double(), "pair": (y, x)}[self.change]


class Detaches(Line):
    def build(self, inputs, outputs):
        return Forward("detach")


class Nans(Line):
    def build(self, inputs, outputs):
        return Forward("nan")


class Doubles(Line):
    def build(self, inputs, outputs):
        return Forward("double")


class Pairs(Line):
    def build(self, inputs, outputs):
        return Forward("pair")


class Misses(Line):
    def build(self, inputs, outputs):
        return Forward("key")


NETWORKS: list[tuple[type, str]] = [
    (Nothing, "build returned None; return a torch.nn.Module"),
    (Columns, "build's network returned a tensor of shape (4, 1); return one of shape (4,)"),
    (Seven, "cannot be multiplied (4x2 and 7x1); build it for inputs (2,) and outputs ()"),
    (Shapes, "build raised TypeError: empty(): argument 'size'"),
    (Pooling, "build returned a Flatten without a parameter to train; make its layers in its __init__"),
    (Detaches, "build's network cuts off the gradient; use no detach() or no_grad() in its forward"),
    (Nans, "build's network returned nan or inf; look for a division or a root of 0"),
    (Doubles, "build's network returned torch.float64; return torch.float32, by .to(x.dtype)"),
    (Pairs, "build's network returned a tuple; return a tensor of shape (4,)"),
    (Misses, "build's network raised KeyError: 'key' (test_gan_mistakes.py, line "),
]

CASES = [
    pytest.param(place, cls, words, id=f"{place}-{cls.__name__}")
    for place, table in (
        ("lipschitz", CONTROLS), ("data", DATA), ("loss", LOSSES), ("critic.network", NETWORKS),
        ("generator.network", [(Columns, "network returned a tensor of shape (4, 1); return one of shape (4, 2)")]),
    )
    for cls, words in table
]  # fmt: skip


@pytest.mark.parametrize(("place", "cls", "words"), CASES)
def test_a_mistake_is_said_in_one_line_at_the_start(config: dict[str, Any], place: str, cls: type, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        start(config, place, cls)
    said = str(error.value)
    assert said.startswith(f"{place} = {cls.__name__}: ") and words in said and "\n" not in said


class Misspells(Normal):
    def measure(self, samples):
        return {"mine/mean": samples.men()}


def test_a_measure_that_raises_ends_the_run_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^data = Misspells: measure raised Attr.*\(test_gan_mist.*\); mend"):
        own_measures(Misspells(), torch.zeros(5, 2))


class Clips(Lipschitz):
    """The control of the default run, in an outsider's words, with a penalty of nothing."""

    def projection(self):
        return Box(0.1)

    def penalty(self, critic, x_real, x_fake, epsilon, noise=None):
        return 0.0 * critic(x_real).mean() * torch.rand(())


def test_a_trial_moves_no_generator_and_no_player(config: dict[str, Any]) -> None:
    before = GlobalRandom.now()
    tasks = [start(config, "lipschitz", Clips), build_task(config, build_settings(config))]
    assert not before.differs(GlobalRandom.now())
    for task in tasks:
        for _ in range(5):
            task.advance()
    states = [{key: value for key, value in task.state_dict().items() if key != "last"} for task in tasks]
    assert differences(states[0], states[1]) == []


@pytest.mark.parametrize("place", ["critic.network", "generator.network"])
def test_a_network_of_ones_own_is_trained(config: dict[str, Any], place: str) -> None:
    task = start(config, place, Line)
    task.advance()
    assert task.steps_done == 1
