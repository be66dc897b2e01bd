"""The words in which a step speaks: a player's vectors by name, the numbers of a step, what losses and moves report."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from torch import Tensor

Slots: TypeAlias = dict[str, Tensor]


Scalars: TypeAlias = Mapping[str, float | Tensor]


Kind: TypeAlias = Literal["scalar", "diagonal", "full"]
"""Of which form H is: lambda I, a diagonal, a symmetric matrix."""


Squares: TypeAlias = Literal["none", "double", "own"]
"""Whether a method keeps squares of a gradient: in double precision, or in the gradient's own."""


Metrics: TypeAlias = dict[str, Tensor]
"""What a loss reports beside its value: scalar tensors by tag."""


Report: TypeAlias = dict[str, Tensor | float]
"""What a move reports: scalars by tag, detached, left on the device until somebody reads them."""
