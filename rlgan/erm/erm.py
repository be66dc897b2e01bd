"""Empirical risk minimisation as a task: a game of one player on a sample, or on a surface."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rlgan.erm import contract, evaluation, pictures
from rlgan.erm.game import Batch, Risk
from rlgan.erm.losses import Auto, Loss
from rlgan.erm.meanings import BETTER, EXPLAINED, GROUPS
from rlgan.erm.path import Path
from rlgan.erm.problems.base import Problem, Sample
from rlgan.nets.layers import NetworkSpec, couples_samples, estimate_statistics, in_evaluation_mode
from rlgan.optim import (
    BFGS,
    Average,
    Constant,
    Game,
    LineSearchFailed,
    Method,
    NoAverage,
    Noise,
    NonFinite,
    NoNoise,
    NoProjection,
    PlayerSpec,
    Projection,
    Schedule,
    Simultaneous,
    TwoPlayers,
)
from rlgan.optim.compiled.choice import FEWEST
from rlgan.optim.ranks import share, world
from rlgan.optim.second_order.curvature import Scalar
from rlgan.optim.second_order.landscape import Landscape, player_loss
from rlgan.optim.weights import stilled
from rlgan.task.drawn import Drawing
from rlgan.task.errors import Diverged
from rlgan.task.hooks.function import Function
from rlgan.task.seeding import Generators
from rlgan.task.settings import Settings
from rlgan.task.task import Picture, Play, Request

MOST = 10_000
"""Training samples that gradients and curvature are measured of, at most."""


class ERM(Drawing):
    """A model and a sample: min over theta of R(theta) = (1/n) sum_i L(f(x_i; theta), y_i).

    Args:
        settings: of the run.
        problem: the sample, or the surface.
        network: f; not looked at where the problem brings a network of its own.
        optimizer, schedule, momentum_schedule, noise_schedule, projection_schedule, projection, noise, averaging,
            max_grad_norm: of the one player, see `rlgan.optim.PlayerSpec`.
        loss: L; cross-entropy or squared where none is given.
        game: the order of play of one player: how a gradient is looked for (`simultaneous` is the plain step).
        batch_size: samples of a minibatch, of several ranks all together; null is all of them at every step.
        sampling: `independent` draws every sample of a minibatch anew; `epochs` goes through all of them in a random
            order, then through all of them in another (what is left over at the end of an epoch is not used).
        sharpness: which evaluations measure the curvature too: true is all, `end` the last and those of
            `evaluate RUN`, false none.
        usual_lr: the learning rate of plain gradient descent that suits the problem: `optimizer=gradient_descent` takes
            it from here by interpolation, so that the problem need not set the key of a method that is not chosen.
        draw: whether evaluations draw pictures too, which takes up to a few seconds for each seed.

    Raises:
        ValueError: an impossible size, a loss that is not for the problem's labels, a batch larger than the sample.
    """

    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("risk/train", "min")
    better: ClassVar[Mapping[str, Literal["min", "max"]]] = BETTER
    headline: ClassVar[tuple[str, ...]] = ("model/loss", "risk/train", "error/test")
    explained: ClassVar[Mapping[str, str]] = EXPLAINED
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = GROUPS

    def __init__(
        self,
        settings: Settings,
        problem: Problem,
        network: NetworkSpec,
        optimizer: Method,
        loss: Loss | None = None,
        schedule: Schedule | None = None,
        momentum_schedule: Schedule | None = None,
        noise_schedule: Schedule | None = None,
        projection_schedule: Schedule | None = None,
        projection: Projection | None = None,
        noise: Noise | None = None,
        averaging: Average | None = None,
        game: Game | None = None,
        batch_size: int | None = 64,
        sampling: Literal["independent", "epochs"] = "independent",
        sharpness: bool | Literal["end"] = "end",
        draw: bool = True,
        usual_lr: float = 1e-2,
        max_grad_norm: float | None = None,
    ) -> None:
        self.settings, self.problem, self.sampling, self.sharpness = settings, problem, sampling, sharpness
        self.draw = draw
        surface, self.batch_size = problem.kind == "surface", batch_size
        contract.check_problem(problem)
        self._check_batch()
        self.risk = Risk(_loss(loss or Auto(), problem))
        self.world = world()
        self.batch_size = None if self.batch_size is None else share("batch_size", self.batch_size)
        self.generators = Generators(settings.seed, self.world.rank)
        device, dtype = settings.torch_device, settings.dtype
        with self.generators.init("model"):
            outputs = () if self.risk.loss is None else contract.outputs(problem, self.risk.loss)
            model = contract.network(problem, network, settings, outputs).to(device, dtype)
        contract.check_model(problem, self.risk, model, self.train, outputs)
        contract.check_batch_norm(model, self.train, self.batch_size or len(self.own.y))
        compiles, self._untraceable = settings.compile, ""
        if compiles is True or (compiles and settings.steps * len(settings.every_seed) >= FEWEST):
            self._untraceable = contract.untraceable(problem, self.risk, model, self.train)
        if self._untraceable:
            if compiles is True:
                raise ValueError(
                    f"compile = true: the loss cannot be traced ({self._untraceable}); use compile=auto or false"
                )
            compiles = False
        try:
            spec = PlayerSpec(
                network,
                optimizer,
                schedule or Constant(),
                projection or NoProjection(),
                noise or NoNoise(),
                averaging or NoAverage(),
                momentum_schedule or Constant(),
                noise_schedule or Constant(),
                projection_schedule or Constant(),
                max_grad_norm,
            )
            self.learner = TwoPlayers(
                {"model": model},
                {"model": spec},
                self.risk.losses(),
                game or Simultaneous(),
                moves=settings.steps,
                horizon=settings.planned,
                noise=lambda name: self.generators.torch(f"noise/{name}", device, shared=True),
                compile=compiles,
                precision=settings.precision,
                seeds=len(settings.every_seed),
                full_batch=batch_size is None,
            )
        except ValueError as error:  # the one player's keys stand at the root
            raise ValueError(str(error).replace("model.", "")) from error
        self.model, self.update = self.learner.players["model"], self.learner.update
        if problem.solved(self.risk.loss):
            contract.check_known(problem, self.model.vector.theta.numel())
        self._last: Mapping[str, Tensor | float] = {}
        self._memory: list[Batch] = []
        self._filled: Sequence[Batch] | None = None
        self._looks, self._sum, self._least = 0, 0.0, float("inf")
        self._order: tuple[int, Tensor] = (-1, torch.zeros(0))
        self.path = Path(self.model, follows=surface)

    def unstackable(self) -> str:
        return super().unstackable().replace("model.", "")

    def _check_batch(self) -> None:
        size, problem = self.batch_size, self.problem
        if size is None:
            return
        if size < 1:
            raise ValueError(f"batch_size = {size}: must be at least 1, or null for all samples at every step")
        n = len(problem.train.y)
        if problem.kind != "surface" and size > n:
            raise ValueError(
                f"batch_size = {size}: larger than the sample ({n:,} to train on); use at most {n}, or null for all of "
                "them at every step"
            )

    @cached_property
    def train(self) -> Sample:
        """The training sample, where and as the model takes it."""
        return self.problem.train.to(self.settings.torch_device, self.settings.dtype)

    @cached_property
    def own(self) -> Sample:
        """This rank's part of it, for steps on all samples.

        Raises:
            ValueError: the ranks' parts would not be of one size.
        """
        rank, size = self.world
        if size == 1 or self.problem.kind == "surface":
            return self.train
        n = len(self.train.y)
        if n % size:
            raise ValueError(
                f"batch_size = null: {n:,} samples cannot be shared out evenly among {size} ranks; use "
                f"batch_size={n - n % size}"
            )
        return Sample(self.train.x[rank::size].contiguous(), self.train.y[rank::size].contiguous())

    @cached_property
    def test(self) -> Sample | None:
        """The test sample, where and as the model takes it."""
        test = self.problem.test
        return None if test is None else test.to(self.settings.torch_device, self.settings.dtype)

    @cached_property
    def whole(self) -> Batch:
        """All training samples, or `MOST` of them, as one batch."""
        return Batch(*(part[:MOST] for part in self.train))

    def memory(self, rows: tuple[int, ...]) -> Batch:
        """Memory for a minibatch, or for so many `rows` of them."""
        n = len(self.own.y) if self.batch_size is None else self.batch_size
        return Batch(*(torch.zeros((*rows, n, *p.shape[1:]), dtype=p.dtype, device=p.device) for p in self.train))

    def batches(self, into: Sequence[Batch] | None = None) -> list[Batch]:
        """The minibatches of the next move, in memory that the next call overwrites unless it is given some."""
        count = self.update.batches
        if self.batch_size is None:
            if into is None:
                return [Batch(*self.own)] * count
            if self._filled is not into:  # it stays what it is
                self._filled = into
                for at in into:
                    at.x.copy_(self.own.x), at.y.copy_(self.own.y)
            return list(into)
        if into is None:
            self._memory = into = self._memory or [self.memory(()) for _ in range(count)]
        for i, at in enumerate(into):
            self._draw(at, self.batch_size, self.update.moves * count + i)
        return list(into)

    def _draw(self, at: Batch, size: int, count: int) -> None:
        """Fill a minibatch, the `count`-th of the run."""
        stream = self.generators.torch("batch", self.settings.torch_device)
        noise = self.problem.noise(size, stream, count)
        if noise is not None:
            at.x.copy_(noise)
            return
        n = len(self.train.y)
        if self.sampling == "independent":
            index = torch.randint(n, (size,), generator=stream, device=stream.device)
        else:
            rank, ranks = self.world
            epoch, place = divmod(count, n // (size * ranks))
            if self._order[0] != epoch:
                own = torch.Generator().manual_seed(self.generators.seed(f"epoch/{epoch}"))
                self._order = epoch, torch.randperm(n, generator=own).to(self.settings.torch_device)
            index = self._order[1][(place * ranks + rank) * size :][:size]
        torch.index_select(self.train.x, 0, index, out=at.x)
        torch.index_select(self.train.y, 0, index, out=at.y)

    def play(self) -> Play[None]:
        try:
            watch = self.settings.looks(self.steps_done, self.steps_done + 1)
            self._last = yield Request("learn", (watch,))
        except LineSearchFailed as error:
            other = "adam" if isinstance(self.model.spec.optimizer, BFGS) else "bfgs"
            raise Diverged(
                f"step {self.steps_done + 1}: {error}. Try precision=float64, or another method, for example "
                f"optimizer={other}"
            ) from error
        except NonFinite as error:
            raise Diverged(
                f"step {self.steps_done + 1}: {error}. Nothing of the update at fault was written. {self._remedy()}"
            ) from error
        self.steps_done += 1
        self.path.record()

    def _remedy(self) -> str:
        """What to try where a loss is not finite."""
        if self.steps_done:
            return "Try a lower optimizer.lr"
        if self.problem.kind == "surface":
            return "No step was made yet: start nearer, by problem.start"
        return "No step was made yet: scale the samples to order 1, or try another network.init"

    @property
    def loss(self) -> Scalar:
        """R of `whole` as a function of theta (d,), the network in the mode that it is in; nothing is written."""
        return player_loss(self.update.pure, "model", self.whole)

    def metrics(self) -> dict[str, float]:
        found = {k: float(v) for k, v in self._last.items()}
        theta = self.model.vector.theta.detach()
        gradient, risk = torch.func.grad_and_value(self.loss)(theta)
        square = float(gradient.double().square().sum())
        self._looks, self._sum, self._least = self._looks + 1, self._sum + square, min(self._least, square)
        found |= {
            "gradient/squared": square,
            "gradient/squared_mean": self._sum / self._looks,
            "gradient/squared_min": self._least,
        }
        near = evaluation.nearness(self.problem, self.risk.loss, theta, float(risk))
        if len(self.whole.y) < len(self.train.y):  # the risk of all is measured at evaluations
            return found | {tag: value for tag, value in near.items() if tag != "risk/excess"}
        if self.problem.kind == "surface" or not couples_samples(self.model.module):
            found["risk/train"] = float(risk)
        return found | near

    def evaluate(self) -> dict[str, float]:
        found = evaluation.measures(self.model.module, self.risk, self.train, self.test)
        found |= evaluation.nearness(self.problem, self.risk.loss, self.model.vector.theta, found["risk/train"])
        if self.sharpness is True or (self.sharpness and self.steps_done >= self.settings.steps):
            found |= evaluation.sharpness(self.loss, self.model.vector.theta.detach())
        averages = {}
        for name, kept in self.model.kept.items():
            average = self.model.averages[name]
            estimate_statistics(average, self.train.x.split(evaluation.BLOCK))
            own = evaluation.measures(average, self.risk, self.train, self.test)
            theta = self.model.state["average"][kept.slot]
            averages[name or "average"] = own | evaluation.nearness(
                self.problem, self.risk.loss, theta, own["risk/train"]
            )
        return found | evaluation.of_averages(averages)

    def pictures(self) -> dict[str, Picture]:
        if not self.draw:
            return {}
        return pictures.of(self.problem, self.model.module, self.train, self.test, self.path, self.steps_done)

    def functions(self) -> dict[str, Function]:
        """The model; of a surface there is nothing to be called."""
        if self.problem.kind == "surface":
            return {}
        inputs, classes = tuple(self.train.x.shape[1:]), self.problem.classes

        def drawn(n: int, stream: torch.Generator) -> dict[str, Tensor]:
            return {"x": self.train.x[torch.randint(len(self.train.x), (n,), generator=stream, device=stream.device)]}

        what = f"a score for each of the {classes} classes" if classes > 2 else "the model's output"
        return {"model": Function(stilled(self.model.module), drawn, "output", f"{what} of an input x {inputs}")}

    def curvature(self) -> dict[str, Landscape]:
        return self.learner.curvature(self.whole, len(self.whole.y))

    def histograms(self) -> dict[str, Tensor]:
        with torch.no_grad(), in_evaluation_mode(self.model.module):
            outputs = {} if self.problem.kind == "surface" else {"outputs/model": self.model.module(self.whole.x)}
        return {**self.learner.histograms(self.whole), **outputs}

    def laid_out(self, horizon: int, ahead: int = 0) -> dict[str, float]:
        return {key.removeprefix("model."): value for key, value in self.learner.laid_out(horizon, ahead).items()}

    def notes(self) -> list[str]:
        n = len(self.train.y)
        most = f"gradients and curvature are measured on {MOST:,} of the {n:,} training samples" if n > MOST else ""
        traced = (
            self._untraceable and f"eager update: the loss cannot be traced for a compilation ({self._untraceable})"
        )
        own = [traced] if traced else self.learner.notes()
        return [*own, *self.problem.notes(), *([most] if most else [])]

    def inputs(self) -> dict[str, str]:
        return self.problem.inputs_from_outside()

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps_done": self.steps_done,
            "players": self.update.state_dict(),
            "generators": self.generators.state_dict(),
            "last": {k: float(v) for k, v in self._last.items()},
            "gradients": [self._looks, self._sum, self._least],
            "path": self.path.points,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps_done = state["steps_done"]
        self.update.load_state_dict(state["players"])
        self.generators.load_state_dict(state["generators"])
        self._last = state["last"]
        self._looks, self._sum, self._least = state["gradients"]
        self.path.load(state["path"])


def _loss(loss: Loss, problem: Problem) -> Loss | None:
    """The loss that is meant for a problem; None for a surface, which is one.

    Raises:
        ValueError: a surface with a loss.
    """
    if problem.kind == "surface":
        if not isinstance(loss, Auto):
            raise ValueError(
                f"loss = {type(loss).__name__}: {type(problem).__name__} is minimised itself, and has no labels; use "
                "loss=auto"
            )
        return None
    return loss.of(problem) if isinstance(loss, Auto) else loss
