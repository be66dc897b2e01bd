"""What can go wrong in a step."""

from __future__ import annotations


class NonFinite(FloatingPointError):
    """A loss or gradient is NaN or infinite; raised before anything of that step is written."""


class LineSearchFailed(ArithmeticError):
    """No acceptable step exists, or none was found, along a descent direction at a point that is not stationary."""
