"""The Wasserstein GAN as a task: where its minibatches come from, how its two players move, how it is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from rlgan.gan import contract, evaluation
from rlgan.gan.data import Data
from rlgan.gan.data.base import draw, fill, tried
from rlgan.gan.evaluation import Subject
from rlgan.gan.game import Batch, WassersteinGame
from rlgan.gan.lipschitz import Lipschitz
from rlgan.gan.losses import GANLoss
from rlgan.gan.metrics.meanings import BETTER, EXPLAINED, GROUPS
from rlgan.gan.pictures import PlayersPath
from rlgan.nets.layers import ComputedWeight, couples_samples, in_evaluation_mode
from rlgan.optim import Game, NonFinite, PlayerSpec, TwoPlayers
from rlgan.optim.ranks import share, world
from rlgan.optim.second_order.landscape import Landscape
from rlgan.optim.step.schedule import Constant, Schedule
from rlgan.optim.weights import stilled
from rlgan.task.drawn import Drawing
from rlgan.task.errors import Diverged, InputError
from rlgan.task.hooks.function import Function
from rlgan.task.seeding import Generators
from rlgan.task.settings import Settings
from rlgan.task.task import Examination, Picture, Play, Request

LATENT_OF_IMAGES = 64
"""Length of z for images, where none is given: between the 100 of Radford et al. 2016 and what 8 x 8 scans need."""

CURVATURE_SAMPLES = 1024
"""Samples of each kind on which the loss surfaces are measured."""


class WGAN(Drawing):
    """A critic and a generator on samples of a distribution.

    Args:
        settings: of the run.
        data: the real samples.
        critic, generator: the two players.
        game: the order of play.
        lipschitz: what keeps the critic Lipschitz; a projection goes into the critic's projection slot.
        loss: of the critic's scores; the Wasserstein loss where none is given.
        batch_size: samples of each kind in a minibatch; of several ranks all together.
        latent_dim: length of z; `auto` is 64 for images and 2 for all else. Data that bring a generator of their own (a
            pair of known W1) set it themselves.
        temperature: by which the loss divides the scores (see `WassersteinGame`), as a schedule over `steps`; 1 where
            none is given.

    Raises:
        ValueError: an impossible size, a batch larger than the data set, two projections for the critic, a critic that
            the control cannot control, noise that the game cannot take.
    """

    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("wasserstein/primal", "min")
    better: ClassVar[Mapping[str, Literal["min", "max"]]] = BETTER
    headline: ClassVar[tuple[str, ...]] = (
        "wasserstein/primal",
        "modes/covered",
        "modes/high_quality",
        "wasserstein/dual",  # last: not every loss logs it, and the cards are numbered
    )
    explained: ClassVar[Mapping[str, str]] = EXPLAINED
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = GROUPS
    reference: ClassVar[str] = "real"
    family: ClassVar[str] = "gan"

    def __init__(
        self,
        settings: Settings,
        data: Data,
        critic: PlayerSpec,
        generator: PlayerSpec,
        game: Game,
        lipschitz: Lipschitz,
        batch_size: int = 256,
        latent_dim: int | Literal["auto"] = "auto",
        loss: GANLoss | None = None,
        temperature: Schedule | None = None,
    ) -> None:
        for name, value, example in (("batch_size", batch_size, 256), ("latent_dim", latent_dim, 2)):
            if value != "auto" and value < 1:
                raise ValueError(f"{name} = {value}: must be at least 1, for example {example}")
        if temperature is not None and not temperature(settings.planned, settings.planned) > 0:
            raise ValueError(
                f"temperature = {temperature}: falls to 0; scores are divided by it, so give it an end above"
            )
        data.check_batch(batch_size)
        batch_size = share("batch_size", batch_size)
        self._odd = tried(data, settings.torch_device)
        contract.check_control(lipschitz)
        critic = _projected(critic, lipschitz)
        self.settings, self.data, self.lipschitz = settings, data, lipschitz
        self._temperature = None if isinstance(temperature or Constant(), Constant) else temperature
        if latent_dim == "auto":
            latent_dim = LATENT_OF_IMAGES if data.images else 2
        self.batch_size, self.latent_dim = batch_size, data.latent_dim or latent_dim
        self.generators = Generators(settings.seed, world().rank)
        device, dtype = settings.torch_device, settings.dtype
        with self.generators.init("critic"):
            f = contract.critic(critic.network, data.shape).to(device, dtype)
        with self.generators.init("generator"):
            g = contract.generator(generator.network, data, self.latent_dim).to(device, dtype)
        _check_normalised({"critic": f, "generator": g}, batch_size)
        specs = {"critic": critic.network, "generator": generator.network}
        self._sized = contract.sized(data, self.latent_dim, specs, {"critic": f, "generator": g})
        f = contract.constrained(lipschitz, f, data.shape)
        # Spectral norm and orthonormal layers compute their weights anew at every call.
        at_once = not couples_samples(f) and any(isinstance(m, ComputedWeight) for m in f.modules())
        self.learner = TwoPlayers(
            {"critic": f, "generator": g},
            {"critic": critic, "generator": generator},
            WassersteinGame(lipschitz, loss, at_once, self._temperature is not None).losses(),
            game,
            moves=settings.steps,
            horizon=settings.planned,
            noise=lambda name: self.generators.torch(f"noise/{name}", device, shared=True),
            compile=settings.compile,
            precision=settings.precision,
            seeds=len(settings.every_seed),
        )
        self.critic, self.generator = self.learner.players["critic"], self.learner.players["generator"]
        self.update = self.learner.update
        scores = self.update.eager.nets(("critic",)).critic
        contract.check_game(lipschitz, loss, scores, self.critic.module, lambda: self.batch(Generators(0)).x_real)
        self._last: Mapping[str, Tensor | float] = {}
        self._memory: list[Batch] = []
        self._primal: float | None = None
        self._stated_at = -1
        self._references: dict[str, float] | None = None
        self._measured: int | None = None
        self._path = PlayersPath(self.generator.vector.theta, self.critic.vector.theta)

    def batch(
        self, generators: Generators, size: int | None = None, due: bool = True, into: Batch | None = None
    ) -> Batch:
        """Draw a minibatch, each kind of randomness from a stream of its own.

        Args:
            generators: has the streams.
            size: samples of each kind; None is the run's own number.
            due: whether the minibatch has a penalty.
            into: memory for it, of `size`; None makes some.
        """
        n, device = size or self.batch_size, self.settings.torch_device
        at = into or self.memory((), n)
        at.x_real.copy_(self.data.sample(n, generators.torch("real", device)))
        fill(torch.randn, generators.torch("latent", device), at.z)
        fill(torch.rand, generators.torch("epsilon", device), at.epsilon)
        if self.lipschitz.noisy:
            fill(torch.randn, generators.torch("perturbation", device), at.noise)
        at.due.fill_(float(due))
        at.temperature.fill_(self.temperature)
        return at

    def memory(self, rows: tuple[int, ...], size: int | None = None) -> Batch:
        """Memory for a minibatch, or for so many `rows` of them."""
        n, shape = size or self.batch_size, self.data.shape
        noise = (n, *shape) if self.lipschitz.noisy else ()
        shapes = ((n, *shape), (n, self.latent_dim), (n,), noise, (), ())
        device, dtype = self.settings.torch_device, self.settings.dtype
        return Batch(*(torch.zeros((*rows, *own), dtype=dtype, device=device) for own in shapes))

    @property
    def temperature(self) -> float:
        """T, by which the loss of the coming move divides the scores."""
        return 1.0 if self._temperature is None else self._temperature(self.steps_done, self.settings.planned)

    def batches(self, into: Sequence[Batch] | None = None) -> list[Batch]:
        """The minibatches of the next move, in memory that the next call overwrites unless it is given some.

        A lazy penalty is due by the count of the critic's steps.

        Raises:
            InputError: a sample cannot be read any more; the streams are as they were before the move.
        """
        if not self.data.decodes:
            return self._drawn(into)
        before, seed = self.generators.state_dict(), self.settings.seed
        try:
            return self._drawn(into)
        except InputError as error:
            self.generators = Generators(seed, world().rank)  # a stream that was asked for just now has no state before
            self.generators.load_state_dict(before)
            raise InputError(str(error), intact=True) from error

    def _drawn(self, into: Sequence[Batch] | None) -> list[Batch]:
        last, every = self.update.steps["critic"] - 1, self.lipschitz.every
        # Where a move takes more minibatches than the critic steps, the rest are of its last step, or not for it.
        steps = [self.critic.steps + min(i, last) for i in range(self.update.batches)]
        if into is None:
            self._memory = into = self._memory or [self.memory(()) for _ in steps]
        return [
            self.batch(self.generators, due=step % every == 0, into=own) for step, own in zip(steps, into, strict=True)
        ]

    def play(self) -> Play[None]:
        try:
            watch = self.settings.looks(self.steps_done, self.steps_done + 1)
            self._last = yield Request("learn", (watch,))
        except NonFinite as error:
            raise Diverged(
                f"step {self.steps_done + 1}: {error}. Nothing of the update at fault was written. Try a lower "
                "critic.optimizer.lr, or a stricter control of the critic (lipschitz=clip, a larger lipschitz.weight)"
            ) from error
        self.steps_done += 1
        self._path.record(self.generator.vector.theta, self.critic.vector.theta)

    def metrics(self) -> dict[str, float]:
        temperature = {} if self._temperature is None else {"critic/temperature": self.temperature}
        return {k: float(v) for k, v in self._last.items()} | temperature

    @property
    def subject(self) -> Subject:
        """What is measured and drawn: the networks as they stand, under the draws of this seed.

        The averages of the generator have batch norm's statistics of their own activations.
        """
        subject = Subject(
            self.data,
            self.critic.module,
            self.generator.averages,
            self.latent_dim,
            self.settings.torch_device,
            self.settings.dtype,
            self.steps_done,
            self.generators.seed("evaluation"),
        )
        if self._stated_at != self.steps_done:
            evaluation.own_statistics(subject, self.generator.kept)
            self._stated_at = self.steps_done
        return subject

    def references(self) -> dict[str, float]:
        if self._references is None:
            self._references = evaluation.scale(self.subject)
        full = self._measured is not None  # of more samples than these are of
        return {tag: x for tag, x in self._references.items() if not (full and tag.startswith(evaluation.FRECHET))}

    def evaluate(self) -> dict[str, float]:
        found, self._measured = evaluation.quick(self.subject), None
        self._primal = found["wasserstein/primal"]
        return found

    def pictures(self) -> dict[str, Picture]:
        return {**evaluation.pictures(self.subject, self._primal), **self._path.pictures()}

    def examine(self, n: int | None = None) -> Examination:
        self._measured = evaluation.FULL_SAMPLES if n is None else n
        return evaluation.full(self.subject, self._measured)

    def remarks(self) -> list[str]:
        return evaluation.remarks(self.subject, self._measured)

    def functions(self) -> dict[str, Function]:
        """The first average of the generator, and the critic."""
        shape, dtype = (self.latent_dim,), self.settings.dtype

        def latent(n: int, stream: torch.Generator) -> dict[str, Tensor]:
            return {"z": draw(torch.randn, stream, n, *shape).to(dtype)}

        def real(n: int, stream: torch.Generator) -> dict[str, Tensor]:
            return {"x": self.data.sample(n, stream).to(dtype)}

        sample = f"x {self.data.shape}"
        generator = stilled(next(iter(self.subject.generators.values())))
        critic = stilled(self.critic.module)
        return {
            "generator": Function(generator, latent, "x", f"a sample {sample} of a latent vector z {shape}, N(0, I)"),
            "critic": Function(critic, real, "score", f"f(x), the critic's score of a sample {sample}"),
        }

    def weights(self) -> dict[str, Tensor]:
        _ = self.subject
        return super().weights()

    def curvature(self) -> dict[str, Landscape]:
        batch = self.batch(Generators(self.generators.seed("curvature")), CURVATURE_SAMPLES)
        return self.learner.curvature(batch, CURVATURE_SAMPLES)

    def histograms(self) -> dict[str, Tensor]:
        batch = self.batch(Generators(self.generators.seed("histograms")))
        critic, generator = self.critic.module, self.generator.module
        with torch.no_grad(), in_evaluation_mode(critic), in_evaluation_mode(generator):
            made = generator(batch.z)
            outputs = {"outputs/generated": made, "outputs/score_real": critic(batch.x_real)}
            outputs["outputs/score_generated"] = critic(made)
        return {**self.learner.histograms(batch), **outputs}

    def laid_out(self, horizon: int, ahead: int = 0) -> dict[str, float]:
        own = {} if self._temperature is None else {"temperature": self._temperature(self.steps_done + ahead, horizon)}
        return {**self.learner.laid_out(horizon, ahead), **own}

    def notes(self) -> list[str]:
        scale = ", ".join(f"{tag} = {value:.4g}" for tag, value in self.references().items())
        return [
            *self.learner.notes(),
            *self.data.notes(),
            *self._sized,
            *self._odd,
            f"real samples in the generator's place: {scale}",
        ]

    def inputs(self) -> dict[str, str]:
        return self.data.inputs()

    def close(self) -> None:
        self.data.close()

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps_done": self.steps_done,
            "players": self._saved_players(),
            "generators": self.generators.state_dict(),
            "last": self.metrics(),
            "primal": self._primal,
            "path": self._path.points,
        }

    def _saved_players(self) -> dict[str, Any]:
        """Whoever loads an average from a checkpoint has its own statistics with it."""
        _ = self.subject
        return self.update.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps_done, self._stated_at = state["steps_done"], -1
        self.update.load_state_dict(state["players"])
        self.generators.load_state_dict(state["generators"])
        self._last = state["last"]
        self._primal = state["primal"]
        self._path.load(state["path"])


def _check_normalised(networks: Mapping[str, nn.Module], batch_size: int) -> None:
    """Refuse batch norm of one vector, which is 0 whatever it was; of one picture's pixels it may be meant."""
    for name, network in networks.items():
        if batch_size == 1 and any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
            raise ValueError(
                f"batch_size = 1: the {name} has batch norm, which needs two samples; use batch_size=2 or more, or "
                f"network@{name}.network=mlp"
            )


def _projected(critic: PlayerSpec, lipschitz: Lipschitz) -> PlayerSpec:
    """The critic with the projection that the control is, if it is one, in its projection slot."""
    projection = lipschitz.projection()
    if projection is None:
        return critic
    if critic.projection.active:
        raise ValueError(
            f"critic.projection = {critic.projection}: the critic's projection slot is taken, for lipschitz = "
            f"{lipschitz} is a projection; set critic.projection to none, or use lipschitz=none"
        )
    if not critic.optimizer.feasible:
        raise ValueError(
            f"critic.optimizer = {critic.optimizer}: leaves theta itself unprojected, so that lipschitz = "
            f"{lipschitz} would not hold; use another method, or lipschitz=gradient_penalty"
        )
    try:
        return replace(critic, projection=projection)
    except ValueError as error:
        raise ValueError(f"critic.{error} (lipschitz = {lipschitz} is that projection)") from None
