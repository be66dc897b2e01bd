"""What a problem, a network and a loss promise: whoever breaks it is told so before the first step, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from rlgan.erm import ERM, CrossEntropy, Labelled, Loss, Problem, Sample, Surface
from rlgan.nets import MLPSpec
from rlgan.nets.layers import NetworkSpec
from rlgan.optim import adam
from rlgan.task.settings import Settings

X, Y = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2


@dataclass(frozen=True)
class Own(Labelled):
    """Two classes, or whatever is given."""

    classes: int = 2
    given: Any = (Sample(X, Y), Sample(X, Y))

    def make(self) -> Any:
        return self.given


@dataclass(frozen=True)
class Values(Problem):
    """Values without an error of type, so that shapes alone matter."""

    kind = "values"
    inputs = (2,)

    y: Tensor

    @property
    def train(self) -> Sample:
        return Sample(X, self.y)


@dataclass(frozen=True)
class Bowl(Surface):
    """|theta|^2, or another function of it."""

    usual_start = (1.0, 2.0)

    f: Callable[[Tensor], Any] = torch.sum
    best: Any = None

    def value(self, theta: Tensor) -> Any:
        return self.f(theta**2)

    def optimum(self) -> Any:
        return self.best


@dataclass(frozen=True)
class Whatever(NetworkSpec):
    """The module that is given."""

    module: Any

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Any:
        return self.module


class Given(Loss):
    """Cross-entropy by another rule."""

    def __init__(self, of: Callable[[Tensor, Tensor], Any]) -> None:
        self.of = of

    def outputs(self, problem: Problem) -> tuple[int, ...]:
        return (2,)

    def __call__(self, scores: Tensor, y: Tensor) -> Any:
        return self.of(scores, y)


def made(problem: Problem, network: NetworkSpec | None = None, loss: Loss | None = None) -> ERM:
    settings = Settings(steps=2, compile=False, device="cpu")
    return ERM(settings, problem, network or MLPSpec(hidden=(4,)), adam(1e-3), loss, batch_size=None)


def one(x: Any = X, y: Any = Y, classes: int = 2) -> Own:
    return Own(classes, (Sample(x, y), None))


def frozen() -> nn.Module:
    return nn.Linear(2, 2).requires_grad_(False)


NAN = X.clone()
NAN[3, 1] = float("nan")


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Own(given=Sample(X, Y)), r"make\(\) gives no two Samples"),
        (Own(given=((X, Y), None)), r"make\(\) gives no two Samples"),
        (one(X.numpy()), "train sample holds a ndarray"),
        (one(y=Y[:-3]), r"inputs \(20, 2\) and labels \(17,\)"),
        (one(X[:0], Y[:0]), r"inputs \(0, 2\)"),
        (one(X[:, 0]), r"inputs \(20,\)"),
        (one(y=Y[:, None]), r"labels \(20, 1\) where \(20,\)"),
        (one(y=Y.float()), "labels of torch.float32"),
        (one(y=Y + 1), "the label 2; 2 classes are numbered 0 to 1"),
        (one(y=2 * Y - 1), "the label -1"),
        (one(NAN), "nan or inf in the inputs of sample 3"),
        (one(classes=0), "has 0 classes"),
        (Own(given=(Sample(X, Y), Sample(NAN, Y))), "its test sample has nan or inf"),
        (Own(given=(Sample(X, Y), Sample(X[:, :1], Y))), r"its test sample has inputs \(20, 1\)"),
        (Values(X.sum(1, keepdim=True)), "say the shape of one value as targets"),
        (Values(Y), "labels of torch.int64; values are floating"),
        (Bowl(f=lambda square: square), "value.theta. has to be one number"),
        (Bowl(f=lambda square: square.detach().sum().item()), "value.theta. cannot be differentiated"),
        (Bowl(best=torch.zeros(3)), r"optimum\(\) gives \(3,\), and there are 2 parameters"),
        (Bowl(best=[0.0, 0.0]), r"optimum\(\) gives list"),
    ],
)
def test_a_problem_that_breaks_its_promise_is_told_so(problem: Problem, message: str) -> None:
    with pytest.raises(ValueError, match=f"^problem = {type(problem).__name__}: .*{message}"):
        made(problem)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, r"Whatever: build returned None"),
        (nn.Linear(2, 7), r"Linear: gives scores \(20?, 7\) where the loss takes \(2, 2\)"),
        (nn.Linear(3, 2), r"Linear: fails on inputs \(2, 2\)"),
        (frozen(), "Whatever: build returned a Linear without a parameter to train"),
    ],
)
def test_a_network_that_does_not_fit_is_told_so(module: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^network = {message}"):
        made(Own(), Whatever(module))


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (nn.functional.cross_entropy, r"losses \(\) for 2 samples"),
        (lambda f, y: (f - y[:, None]).square(), r"losses \(2, 2\) for 2 samples"),
        (lambda f, y: (f[:, :1] - y).square(), r"losses \(2, 2\) for 2 samples"),  # broadcast, wrong in silence
        (lambda f, y: 1.0, "a float for 2 samples"),
        (lambda f, y: f.detach().sum(-1), "cannot be differentiated"),
    ],
)
def test_a_loss_that_is_not_one_number_a_sample_is_told_so(of: Callable[[Tensor, Tensor], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^loss = Given: .*{message}"):
        made(Own(), loss=Given(of))


def test_batch_norm_needs_more_than_one_sample() -> None:
    one = Own(given=(Sample(X[:1], Y[:1]), None))
    with pytest.raises(ValueError, match=r"^batch_size = 1: batch norm has one number of each feature"):
        made(one, MLPSpec(hidden=(4,), norm="batch"))
    made(one, MLPSpec(hidden=(4,), norm="layer")).advance()


def test_the_look_changes_nothing() -> None:
    class Drops(nn.Module):
        """Draws in evaluation too, and counts in training mode."""

        def __init__(self) -> None:
            super().__init__()
            self.last, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.norm(x + torch.rand_like(x)))
            return out

    module = Drops()
    before = torch.random.get_rng_state()
    task = made(Own(), Whatever(module), CrossEntropy())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert module.norm.num_batches_tracked == 0
    assert task.model.module.training


def test_what_is_not_finite_at_the_start_is_not_blamed_on_the_learning_rate() -> None:
    from rlgan.task.errors import Diverged

    with pytest.raises(Diverged, match="No step was made yet: start nearer"):
        made(Bowl(f=lambda square: (-square).log().sum())).advance()


def test_a_loss_that_decides_by_numbers_is_not_compiled() -> None:
    bent = Bowl(f=lambda square: square.sum() if square.sum() > 0 else square.max())
    method, network = adam(1e-3), MLPSpec(hidden=(4,))

    def long(compiles: Literal["auto", True], problem: Problem) -> ERM:
        settings = Settings(steps=10**7, compile=compiles, device="cpu")
        return ERM(settings, problem, network, method, batch_size=None)

    task = long("auto", bent)
    assert task.learner.compiled is False and "the loss cannot be traced" in task.notes()[0]
    task.advance()
    with pytest.raises(ValueError, match=r"^compile = true: the loss cannot be traced"):
        long(True, bent)
    plain = long("auto", Bowl())
    assert plain.learner.compiled is None and "cannot be traced" not in plain.notes()[0]
