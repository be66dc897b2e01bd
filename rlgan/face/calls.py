"""Call a network with numpy arrays: one row or many, checked by shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlgan.task.errors import ConfigError
from rlgan.task.hooks.function import Function

_BLOCK = 4096
"""Rows that go through the network at a time."""


class Call:
    """A function of a run, for numpy arrays: one row gives one row, (n, ...) gives (n, ...).

    Args:
        name: of the function.
        function: the network and its inputs.

    Attributes:
        inputs: the shape of one row of each input, by name.
        about: what it gives, in a line.
        module: the network itself, for tensors (n, ...).
    """

    def __init__(self, name: str, function: Function) -> None:
        self.name, self.about, self.module = name, function.about, function.module
        self._function = function
        parameter = next(function.module.parameters(), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device
        example = self._draw(1, 0)
        self.inputs = {key: tuple(value.shape[1:]) for key, value in example.items()}
        self._dtypes = {key: value.dtype for key, value in example.items()}

    def __repr__(self) -> str:
        words = ", ".join(f"{key} {shape}" for key, shape in self.inputs.items())
        return f"<{self.name}({words}): {self.about}>"

    def __call__(self, *given: Any, **named: Any) -> NDArray[Any]:
        """What the network gives for these inputs.

        Args:
            given: each an array of one row's shape, or of (n, *shape), all of them alike.
            named: the same by the inputs' names, after those without.

        Raises:
            ConfigError: another number of inputs, or another shape; names what it has to be.
        """
        words = ", ".join(f"{key} {shape}" for key, shape in self.inputs.items())
        if odd := [key for key in named if key not in list(self.inputs)[len(given) :]]:
            raise ConfigError(f"{self.name}: takes {words}; {odd[0]} is no input more of it")
        given = (*given, *(named[key] for key in self.inputs if key in named))
        if len(given) != len(self.inputs):
            raise ConfigError(f"{self.name}: takes {words}, and was given {len(given)} inputs")
        arrays = [self._array(i, key, value) for i, (key, value) in enumerate(zip(self.inputs, given, strict=True))]
        single = all(array.shape == shape for array, shape in zip(arrays, self.inputs.values(), strict=True))
        rows = [array[None] if single else array for array in arrays]
        if len({len(row) for row in rows}) > 1:
            lengths = ", ".join(f"{len(row)} of {key}" for key, row in zip(self.inputs, rows, strict=True))
            raise ConfigError(f"{self.name}: has rows of different number: {lengths}; give as many of each")
        tensors = [
            torch.from_numpy(np.ascontiguousarray(row)).to(self._device, self._dtypes[key])
            for key, row in zip(self.inputs, rows, strict=True)
        ]
        found = self._through(tensors)
        return found[0] if single else found

    def sample(self, n: int, seed: int = 0) -> NDArray[Any]:
        """What it gives for `n` random inputs; the same for the same seed."""
        if not _whole(n) or n < 1:
            raise ConfigError(f"n = {n}: must be a whole number of at least 1, for example n=64")
        if not _whole(seed) or not 0 <= seed < 2**63:
            raise ConfigError(f"seed = {seed}: must be a whole number of at least 0, for example seed=0")
        return self._through(list(self._draw(int(n), int(seed)).values()))

    def _draw(self, n: int, seed: int) -> dict[str, torch.Tensor]:
        return dict(self._function.draw(n, torch.Generator(self._device).manual_seed(seed)))

    @torch.no_grad()
    def _through(self, tensors: list[torch.Tensor]) -> NDArray[Any]:
        blocks = zip(*(tensor.split(_BLOCK) for tensor in tensors), strict=True)
        found: NDArray[Any] = torch.cat([self.module(*block) for block in blocks]).cpu().numpy()
        return found

    def _read(self, key: str, value: Any) -> Any:
        try:
            return self._function.read(value) if self._function.read else value
        except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
            why = f"{type(error).__name__}: {error}".replace("\n", " ")[:100]
            raise ConfigError(
                f"{self.name}: {key} is none of its space ({why}); give one as it comes, or rows "
                f"{('n', *self.inputs[key])} of gymnasium.spaces.flatten".replace("'", "")
            ) from error

    def _array(self, place: int, key: str, value: Any) -> NDArray[Any]:
        if place == 0 and self._function.read is not None:
            value = self._read(key, value)
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            value = (value.float() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy()
        shape = self.inputs[key]
        try:
            array = np.asarray(value)
        except ValueError as error:  # of unequal rows
            raise ConfigError(f"{self.name}: {key} is no array ({error}); it has to be {_rows(shape)}") from error
        if (
            array.dtype.kind not in "biuf"
            or (array.shape != shape and array.shape[1:] != shape)
            or (array.ndim not in (len(shape), len(shape) + 1))
        ):
            kind = "" if array.dtype.kind in "biuf" else f" of {array.dtype}"
            raise ConfigError(f"{self.name}: {key} is of shape {array.shape}{kind}; it has to be {_rows(shape)}")
        if not len(array) if array.ndim else False:
            raise ConfigError(f"{self.name}: {key} has no rows; it has to be {_rows(shape)}")
        return array


def _whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _rows(shape: tuple[int, ...]) -> str:
    return f"{shape}, or {('n', *shape)} for n of them".replace("'", "")
