"""Independent random streams from one seed: every source of randomness is a named generator."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator
from torch import device as Device


def derive_seed(seed: int, name: str) -> int:
    """Derive the seed of the stream `name`: a 63-bit integer that depends on (seed, name) alone, on every platform.

    numpy's SeedSequence (O'Neill's mixing, numpy documentation "Parallel random number generation") over the seed and
    a SHA-256 of the name, so that streams do not overlap and adding one moves no other.
    """
    words = [int(word) for word in np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4")]
    state = np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)
    return int(state[0]) & (2**63 - 1)


class GlobalRandom(NamedTuple):
    """A state of the process's global generators, which code from outside may draw from: Python's, numpy's, torch's."""

    python: Any
    numpy: Any
    torch: torch.Tensor

    @classmethod
    def now(cls) -> "GlobalRandom":
        """The present state."""
        return cls(random.getstate(), np.random.get_state(legacy=True), torch.get_rng_state())

    def install(self) -> None:
        """Let the generators go on from here."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)

    def differs(self, other: "GlobalRandom") -> bool:
        """Whether anything was drawn, or seeded, between the two."""
        return (
            self.python != other.python
            or self.numpy[2:] != other.numpy[2:]
            or not np.array_equal(self.numpy[1], other.numpy[1])
            or not torch.equal(self.torch, other.torch)
        )


def seed_globals(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def kept_globals(seed: int | None = None) -> Iterator[None]:
    """Put the global generators back after the block, in which they are seeded by `seed` if there is one."""
    before = GlobalRandom.now()
    try:
        if seed is not None:
            seed_globals(seed)
        yield
    finally:
        before.install()


class Generators:
    """A run's random generators, each created once by name and derived from the run's seed.

    A name says what the stream is for: `generators.torch("latent")`. Asking again gives the same object.

    Args:
        seed: the run's seed.
        rank: of the processes that train the run together, which one this is: each draws numbers of its own, and rank
            0 those of a run alone.
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self._seed, self._rank = seed, rank
        self._torch: dict[str, Generator] = {}
        self._numpy: dict[str, np.random.Generator] = {}
        self._restored: dict[str, Any] = {"torch": {}, "numpy": {}}

    def seed(self, name: str) -> int:
        """Return the 63-bit seed of the stream `name`, the same at every rank."""
        return derive_seed(self._seed, name)

    def own_seed(self, name: str) -> int:
        """Return that of this rank's stream, for what seeds itself (environments)."""
        return self.seed(f"{name}/rank={self._rank}" if self._rank else name)

    def torch(self, name: str, device: str | Device = "cpu", shared: bool = False) -> Generator:
        """Return the torch generator `name`, on `device`; a `shared` one draws the same numbers at every rank."""
        if name not in self._torch:
            seed = self.seed(name) if shared else self.own_seed(name)
            self._torch[name] = Generator(device=device).manual_seed(seed)
            self._restore()
        return self._torch[name]

    def numpy(self, name: str) -> np.random.Generator:
        """Return the numpy generator `name`."""
        if name not in self._numpy:
            self._numpy[name] = np.random.Generator(np.random.PCG64(self.own_seed(name)))
            self._restore()
        return self._numpy[name]

    def _restore(self) -> None:
        """Give the generators that exist their restored states."""
        for name in self._torch.keys() & self._restored["torch"].keys():
            self._torch[name].set_state(self._restored["torch"].pop(name))
        for name in self._numpy.keys() & self._restored["numpy"].keys():
            self._numpy[name].bit_generator.state = self._restored["numpy"].pop(name)

    @contextmanager
    def init(self, name: str) -> Iterator[None]:
        """Seed torch's GLOBAL generators by (seed, name) inside the block and put them back after it.

        For the construction of modules, whose initialisers draw from the global stream.
        """
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed(name))
            yield

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put all generators back after the block; those that it is the first to ask for are forgotten."""
        torch_states = {name: generator.get_state() for name, generator in self._torch.items()}
        numpy_states = {name: generator.bit_generator.state for name, generator in self._numpy.items()}
        restored = {kind: dict(states) for kind, states in self._restored.items()}
        try:
            yield
        finally:
            self._torch = {name: self._torch[name] for name in torch_states}
            self._numpy = {name: self._numpy[name] for name in numpy_states}
            for name, own in torch_states.items():
                self._torch[name].set_state(own)
            for name, bits in numpy_states.items():
                self._numpy[name].bit_generator.state = bits
            self._restored = restored

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all generators (restored ones not asked for yet too), in plain containers."""
        torch_states = {name: generator.get_state() for name, generator in self._torch.items()}
        numpy_states = {name: generator.bit_generator.state for name, generator in self._numpy.items()}
        return {
            "seed": self._seed,
            "torch": {**self._restored["torch"], **torch_states},
            "numpy": {**self._restored["numpy"], **numpy_states},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore all states; a generator that does not exist yet gets its state when it is first asked for.

        Raises:
            ValueError: the state belongs to a run with another seed.
        """
        if state["seed"] != self._seed:
            raise ValueError(f"seed = {self._seed}: the checkpoint was made with seed {state['seed']}; resume with it")
        self._restored = {"torch": dict(state["torch"]), "numpy": dict(state["numpy"])}
        self._restore()
