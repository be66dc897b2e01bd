"""What an outsider gets wrong in a batched environment: said in one line when it is made."""

# mypy: disable-error-code="no-untyped-def,override,assignment,attr-defined"

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from rlgan.rl.envs.batched import BatchedEnv, One


class Cart(BatchedEnv):
    one_observation = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    one_action = spaces.Box(-1.0, 1.0, (1,), np.float32)
    width = 2

    def start(self, generator):
        return generator.uniform(0.5, 1.0, size=2)

    def advance(self, state, action, maths):
        place, speed = state
        return (place + 0.1 * speed, speed + 0.1 * maths.double(action[0])), maths.cos(place), abs(place) > 3.0

    def observe(self, state, maths):
        return state


class NoSpaces(BatchedEnv):
    width = 2


class NoWidth(Cart):
    width = None


class NoStart(BatchedEnv):
    one_observation, one_action, width = Cart.one_observation, Cart.one_action, 2


class LongStart(Cart):
    def start(self, generator):
        return [0.0, 0.0, 0.0]


class TwoValues(Cart):
    def advance(self, state, action, maths):
        return state, 1.0


class ShortState(Cart):
    def advance(self, state, action, maths):
        return state[:1], 1.0, False


class ShortObservation(Cart):
    def observe(self, state, maths):
        return state[:1]


class NoFunction(Cart):
    def advance(self, state, action, maths):
        return state, maths.tangent(state[0]), False


class NoMaths(Cart):
    def advance(self, state, action):
        return state, 1.0, False


class Branches(Cart):
    def advance(self, state, action, maths):
        return state, 1.0 if state[0] > 0 else 2.0, abs(state[0]) > 3.0


class Word(Cart):
    def advance(self, state, action, maths):
        return state, "x", False


class Differs(Cart):
    def advance(self, state, action, maths):
        return state, float(isinstance(state[0], float)), False


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (NoSpaces, "does not say one_observation; for example one_observation = spaces.Box(-np.inf, np.inf, (2,)"),
        (NoWidth, "does not say width; for example width = 2, the numbers in a state"),
        (NoStart, "does not say start, advance, observe; write it"),
        (LongStart, "start returned 3 numbers; return 2, as declared, a component each"),
        (TwoValues, "advance returned 2 values; return the next state, the reward, and whether the episode terminates"),
        (ShortState, "advance returned 1 numbers; return 2, as declared, a component each"),
        (ShortObservation, "observe returned 1 numbers; return 2, as declared, a component each"),
        (NoFunction, "has no attribute 'tangent' (test_physics_mistakes.py, line "),
        (NoMaths, "but 4 were given; define it as advance(self, state, action, maths)"),
        (Branches, "components may be arrays; write maths.where(condition, yes, no) for an if"),
        (Word, "advance raised ValueError: could not convert string to float"),
        (Differs, "gives other numbers for arrays than for one state; use the functions of maths alone"),
    ],
)
def test_a_mistake_is_said_in_one_line(kind: type[BatchedEnv], words: str) -> None:
    with pytest.raises(ValueError) as error:
        One(kind)
    said = str(error.value)
    assert said.startswith(f"id = {kind.__name__}: ") and words in said and "\n" not in said


def test_what_is_right_is_made() -> None:
    assert One(Cart).reset(seed=0)[0].shape == (2,)
