"""Rules: comparisons of numbers by name, `distance < 1e-2 and ratio > 2 * bound`, read by a grammar of their own.

Numbers, names, + - * / **, comparisons, and / or / not, abs, min and max: nothing else can stand in a rule, so that one
from a stranger's directory computes and does no more.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rlgan.task.errors import ConfigError
from rlgan.task.suggest import nearest

_LONGEST, _DEEPEST = 1000, 40
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARED: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "min": min, "max": max}
_ALLOWED = "use numbers, names, + - * / **, comparisons, and, or, not, abs(), min(), max()"


class _Undecided(Exception):
    """The numbers at hand do not decide a rule; the message says why."""


@dataclass(frozen=True)
class Verdict:
    """What became of a rule.

    Args:
        rule: the expression.
        holds: whether it does; what cannot be decided does not hold.
        measured: the numbers that it is about, as far as they are known.
        why: it could not be decided, and why; empty otherwise.
    """

    rule: str
    holds: bool
    measured: Mapping[str, float]
    why: str = ""


class Rule:
    """An expression that holds or does not.

    Args:
        text: the expression.
        key: where it stands, for messages.

    Raises:
        ConfigError: it is none, or it compares nothing.
    """

    def __init__(self, text: str, key: str = "rule") -> None:
        self.text = text
        if len(text) > _LONGEST:
            raise ConfigError(f"{key} = {text[:60]}...: is longer than {_LONGEST} characters; split it")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = getattr(error, "msg", None) or error
            raise ConfigError(f"{key} = {text}: cannot be read ({why}); {_ALLOWED}") from None
        if fault := _fault(self._tree, truth=True):
            raise ConfigError(f"{key} = {text}: {fault}")

    @property
    def names(self) -> list[str]:
        """The numbers that it is about, in the order in which they stand there."""
        found = [node for node in ast.walk(self._tree) if isinstance(node, ast.Name) and node.id not in _FUNCTIONS]
        return list(dict.fromkeys(node.id for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))))

    def decide(self, numbers: Mapping[str, float]) -> Verdict:
        """Tell whether it holds for these numbers; a name that is unknown, and NaN, make it not hold."""
        measured = {name: float(numbers[name]) for name in self.names if name in numbers}
        try:
            for name in self.names:
                if name not in measured:
                    raise _Undecided(f"the figure gives no number {name}; {nearest(name, numbers, 'it gives')}")
                if math.isnan(measured[name]):
                    raise _Undecided(f"{name} is not a number (NaN)")
            holds = bool(_value(self._tree, measured))
        except _Undecided as error:
            return Verdict(self.text, False, measured, str(error))
        except ZeroDivisionError:
            return Verdict(self.text, False, measured, "divides by zero")
        except OverflowError:
            return Verdict(self.text, False, measured, "has a value beyond the largest number")
        return Verdict(self.text, holds, measured)


def _fault(node: ast.AST, truth: bool, depth: int = 0) -> str:
    """What is wrong with an expression, that is to be true or false (`truth`) or a number; empty if nothing is."""
    if depth > _DEEPEST:
        return f"is nested more than {_DEEPEST} deep; split it"
    within: list[tuple[ast.AST, bool]] = []
    match node:
        case ast.BoolOp(values=values):
            is_truth, within = True, [(value, True) for value in values]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            is_truth, within = True, [(operand, True)]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARED for op in ops):
            is_truth, within = True, [(one, False) for one in (left, *others)]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            is_truth, within = False, [(operand, False)]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            is_truth, within = False, [(left, False), (right, False)]
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]) if name in _FUNCTIONS:
            if (len(args) == 1) != (name == "abs"):
                return f"{name}() takes {'one number' if name == 'abs' else 'two numbers or more'}"
            is_truth, within = False, [(one, False) for one in args]
        case ast.Constant(value=bool()):
            return f"{ast.unparse(node)} is no number; {_ALLOWED}"
        case ast.Constant(value=int() | float()):
            is_truth = False
        case ast.Name(id=name) if name not in _FUNCTIONS:
            is_truth = False
        case _:
            return f"{_shown(node)} cannot stand in a rule; {_ALLOWED}"
    if is_truth != truth:
        wanted = "must compare numbers, for example loss < 0.1" if truth else "compares, where a number is wanted"
        return f"{_shown(node)} {wanted}"
    return next(filter(None, (_fault(one, kind, depth + 1) for one, kind in within)), "")


def _shown(node: ast.AST) -> str:
    try:
        text = ast.unparse(node)
    except RecursionError:
        return "an expression of hundreds of parts"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _value(node: ast.AST, numbers: Mapping[str, float]) -> Any:
    """The value of an expression without a fault: bool or float."""
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(one, numbers) for one in values)
        case ast.BoolOp(values=values):
            return any(_value(one, numbers) for one in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, numbers)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [_real(_value(one, numbers)) for one in (left, *others)]
            return all(_COMPARED[type(op)](a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False))
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, numbers)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            return _real(_BINARY[type(op)](_value(left, numbers), _value(right, numbers)))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_value(one, numbers) for one in args))
        case ast.Constant(value=value):
            # Not an int: 9 ** 9 ** 9 of ints would be computed to its last digit.
            return float(str(value))
        case ast.Name(id=name):
            return numbers[name]
    raise AssertionError(ast.dump(node))


def _real(value: Any) -> float:
    """A value that can be compared.

    Raises:
        _Undecided: it is NaN, or the power of a negative number.
    """
    if isinstance(value, complex):
        raise _Undecided("takes a fractional power of a negative number")
    if math.isnan(value):
        raise _Undecided("has no value (infinity minus infinity, or zero times it)")
    return float(value)
