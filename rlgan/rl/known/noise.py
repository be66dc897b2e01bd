"""Noise of an environment as a function of its state, so that it is saved with the state, and is batched.

Two multiplicative generators s <- a s mod m (of L'Ecuyer 1988, Efficient and portable combined random number
generators) give two uniform numbers, and these by Box and Muller (1958) a standard normal one,

    sqrt(-2 log u1) cos(2 pi u2),    u_k = s_k / m_k.

All products are below 2^53: floats hold them exactly.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlgan.rl.envs.batched import Maths

STREAMS = ((40014.0, 2147483563.0), (40692.0, 2147483399.0))
"""Multiplier a and modulus m of each."""
WIDTH = len(STREAMS)
"""Numbers that they add to a state."""


def begin(generator: np.random.Generator) -> list[float]:
    """The streams' first numbers."""
    return [float(generator.integers(1, int(modulus))) for _, modulus in STREAMS]


def normal(streams: Sequence[Any], maths: Maths) -> tuple[Any, Sequence[Any]]:
    """A standard normal number (or (n,) of them), and the streams after it."""
    moved = [(a * s) % m for s, (a, m) in zip(streams, STREAMS, strict=True)]
    one, two = (s / m for s, (_, m) in zip(moved, STREAMS, strict=True))
    return maths.sqrt(-2.0 * maths.log(one)) * maths.cos(2.0 * math.pi * two), moved
