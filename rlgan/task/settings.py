"""The settings every run has, whatever it trains."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, TypeVar

from rlgan.task.sink import Sink
from rlgan.task.suggest import closest, nearest

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "float64", "bf16"]
Compile = Literal["auto"] | bool
T = TypeVar("T")

TENSORBOARD = "tensorboard"
LOGGERS = (TENSORBOARD, "csv", "wandb")


@dataclass(frozen=True)
class Settings:
    """The settings at the root of the configuration: length, seed, device, intervals, directory.

    Args:
        steps: length of the run, in the task's own unit: generator updates (WGAN), environment steps (DDPG).
        seed: the one seed; every generator of the run is derived from it (rlgan.task.seeding).
        seeds: train this many seeds from `seed` on, or the listed ones, in one process (rlgan.runs.training.seeds);
            each has its own run directory below the run's.
        device: `auto` (CUDA where there is one, else the CPU) or any name that torch understands, such as `cuda:1`.
        precision: dtype of parameters and batches; `auto` is float32, and `bf16` is float32 with matrix products in
            bfloat16: on a CPU the large ones, where that is quicker.
        compile: `true`, `false`, or `auto`: the task compiles when the run is long enough to repay the compilation.
        threads: CPU threads of torch. Results depend on it in the last bits, so it is fixed and not "all cores".
        log_every, eval_every, checkpoint_every: interval in steps of training scalars, of evaluation and pictures,
            and of checkpoints; 0 means only at the end.
        keep_last: newest checkpoints that are kept, besides the best one.
        run_dir: the run's directory; None makes a new one below `outputs/`.
        resume: an earlier run's directory to go on with.
        init_from: begin at the weights of a run, or of what `rlgan export` wrote of one, instead of random ones; the
            optimizers begin anew and steps count from 0 (rlgan.runs.share.start).
        horizon: the length that schedules, averages and explorations are laid out for; None is `steps`. A run that goes
            on for longer keeps their old end with the steps that it had before.
        progress: show the progress bar (or progress lines where standard error is no terminal).
        logger: where metrics and pictures go besides metrics.jsonl: `tensorboard`, `csv`, `wandb`, or sections that
            describe a `rlgan.task.Sink` of one's own.
        tensorboard: of earlier versions: true adds tensorboard to `logger`, false takes it away.
        histograms: at evaluations, draw TensorBoard's histograms of weights, gradients and actions as well.
        video_every: film an episode at every so-manieth evaluation, and at the end; 0 films none.
        name: a word of yours for the run's directory name.

    Raises:
        ValueError: an impossible value; the message names key, value and remedy.
    """

    steps: int = 1000
    seed: int = 0
    seeds: int | list[int] | None = None
    device: str = "auto"
    precision: Precision = "float32"
    compile: Compile = "auto"
    threads: int = 1
    log_every: int = 100
    eval_every: int = 500
    checkpoint_every: int = 500
    keep_last: int = 2
    run_dir: str | None = None
    resume: str | None = None
    init_from: str | None = None
    horizon: int | None = None
    progress: bool = True
    logger: list[str | Sink] | str = field(default_factory=lambda: list[str | Sink]([TENSORBOARD]))
    tensorboard: bool | None = None
    histograms: bool = False
    video_every: int = 0
    name: str | None = None

    def __post_init__(self) -> None:
        if self.threads > 1024:  # OpenMP would end the process
            raise ValueError(f"threads = {self.threads}: must be between 1 and 1024, for example threads=2")
        for name in ("steps", "threads", "keep_last"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} = {value}: must be at least 1, for example {name}=1")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"horizon = {self.horizon}: at least 1 step, or null for the length of the run")
        for name in ("log_every", "eval_every", "checkpoint_every"):
            value = getattr(self, name)
            if value < 0:
                raise ValueError(f"{name} = {value}: must be an interval in steps, or 0 for only at the end")
        if self.video_every < 0:
            raise ValueError(f"video_every = {self.video_every}: must be a number of evaluations, or 0 for no films")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed = {self.seed}: must be between 0 and 2**63 - 1, for example seed=1")
        self._check_seeds()
        if self.precision not in ("auto", "float32", "float64", "bf16"):
            raise ValueError(f"precision = {self.precision}: must be auto, float32, float64 or bf16")
        if self.compile not in ("auto", True, False):
            raise ValueError(f"compile = {self.compile}: must be auto, true or false")
        for entry in self.loggers:
            if isinstance(entry, str) and entry not in LOGGERS:
                raise ValueError(f"logger = {entry}: there is no such logger; {nearest(entry, LOGGERS, 'there are')}")
        self._check_device()

    def _check_seeds(self) -> None:
        if (self.seeds if isinstance(self.seeds, int) else len(self.seeds or ())) > 10_000:
            raise ValueError(f"seeds = {str(self.seeds)[:30]}: are more than 10,000; name fewer")
        many = self.every_seed
        if (isinstance(self.seeds, int) and self.seeds < 1) or not many:
            raise ValueError(f"seeds = {self.seeds}: must be at least 1, for example seeds=10, or a list: seeds=[0,3]")
        for seed in many:
            if not 0 <= seed < 2**63:
                raise ValueError(f"seeds = {self.seeds}: {seed} is not between 0 and 2**63 - 1")
            if many.count(seed) > 1:
                raise ValueError(f"seeds = {self.seeds}: {seed} is there twice; name every seed once")

    def _check_device(self) -> None:
        if self.device in ("auto", "cpu"):
            return
        import torch

        try:
            device = torch.device(self.device)
        except RuntimeError:
            close = closest(self.device, ["auto", "cpu", "cuda"])
            hint = f"did you mean {close}?" if close else "use auto, cpu, cuda or cuda:1"
            if self.device.lower().startswith("gpu"):
                usable = torch.cuda.is_available()
                hint = "did you mean cuda?" if usable else "a GPU is called cuda, and there is none: use cpu or auto"
            raise ValueError(f"device = {self.device}: torch knows no such device; {hint}") from None
        if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
            raise ValueError(f"device = {self.device}: this machine has {count} CUDA device(s); use device=cpu or auto")
        if device.type in ("cpu", "cuda"):
            return
        try:
            torch.zeros(1, device=device).add(1).item()
        except Exception:  # every backend has errors of its own
            there = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
            what = "holds no numbers" if device.type == "meta" else "this machine, or its PyTorch, has no such device"
            raise ValueError(f"device = {self.device}: {what}; it has {there}: use device=cpu or auto") from None

    @property
    def loggers(self) -> list[str | Sink]:
        """Every entry of `logger`, once."""
        return loggers(self.logger, self.tensorboard)

    @property
    def planned(self) -> int:
        """The steps that schedules are laid out for."""
        return self.horizon or self.steps

    @property
    def every_seed(self) -> list[int]:
        """The seeds to train: `seed` alone, or those of `seeds`."""
        if self.seeds is None:
            return [self.seed]
        return list(range(self.seed, self.seed + self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    @property
    def seeds_word(self) -> str:
        """The seeds as part of a directory's name, for example `seed=1`."""
        if self.seeds is None:
            return f"seed={self.seed}"
        first = f"_from_{self.seed}" if self.seed and isinstance(self.seeds, int) else ""
        return f"seeds={self.seeds if isinstance(self.seeds, int) else '-'.join(map(str, self.seeds))}{first}"

    def logs(self, former: int, step: int) -> bool:
        """Tell whether training scalars are logged when the steps done go from `former` to `step`."""
        return step >= self.steps or crossed(self.log_every, former, step)

    def looks(self, former: int, step: int) -> bool:
        """Tell whether anything is logged, measured or saved when the steps done go from `former` to `step`."""
        # All of these are multiples of their greatest common divisor: at most steps that is all there is to ask.
        every = math.gcd(self.log_every, self.eval_every, self.checkpoint_every)
        if step < self.steps and not crossed(every, former, step):
            return False
        return self.logs(former, step) or any(
            crossed(every, former, step) for every in (self.eval_every, self.checkpoint_every)
        )

    @property
    def torch_device(self) -> torch.device:
        """The device, `auto` resolved."""
        import torch

        if self.device == "auto":
            if not torch.cuda.is_available():
                return torch.device("cpu")
            own = os.environ.get("LOCAL_RANK") if "RANK" in os.environ else None  # torchrun: a device each
            return torch.device("cuda" if own is None else f"cuda:{int(own) % torch.cuda.device_count()}")
        return torch.device(self.device)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of parameters and batches."""
        import torch

        return torch.float64 if self.precision == "float64" else torch.float32


def loggers(logger: str | Sequence[T], tensorboard: bool | None = None) -> list[str | T]:
    """The entries of `logger`, each once, as `tensorboard` of earlier versions changes them."""
    every: list[str | T] = [logger] if isinstance(logger, str) else list(logger)
    if tensorboard is not None:
        every = [entry for entry in every if entry != TENSORBOARD]
    if tensorboard:
        every.insert(0, TENSORBOARD)
    return [entry for i, entry in enumerate(every) if entry not in every[:i]]


SETTINGS = frozenset(item.name for item in fields(Settings))
"""The keys of the root that every run has."""


def crossed(every: int, former: int, step: int) -> bool:
    """Tell whether a multiple of `every` lies in (former, step]; never for 0."""
    return every > 0 and step // every > former // every
