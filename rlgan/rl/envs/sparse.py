"""The environments with sparse rewards of Plappert et al. 2018 (appendix B), registered with gymnasium on import:

    rlgan/SparseMountainCar-v0         1 at the goal, which ends the episode
    rlgan/SparseCartPoleSwingUp-v0     1 at every step at which the pole is up, cos(angle) > 0.8; ends at |x| > 3
    rlgan/SparseDoublePendulum-v0      1 at every step at which the tip is within 1 of upright
    rlgan/SparseHalfCheetah-v0         1 at every step at which the torso is beyond x = 5 (needs MuJoCo)

and 0 otherwise; episodes are cut at 500 steps. Beside them the smallest task of the kind, for teaching:

    rlgan/SparseWalk-v0                2 x - 1 at every step beyond x = 1/2, cut at 30 steps

The first three were rllab's, on Box2D's simulator; here bodies of the same masses, lengths, starts and forces follow
their equations of motion, by Runge-Kutta steps of fourth order, without friction (there 0.0005 and less).
Figures are those of rllab's models; gravity is 10, Box2D's default.

Each is written once, for one state and for many (`rlgan.rl.envs.batched`).
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from rlgan.rl.envs.batched import BatchedEnv, Maths, register

GRAVITY = 10.0


def runge_kutta(derivative: Callable[[Sequence[Any]], Sequence[Any]], state: Sequence[Any], time: float) -> list[Any]:
    """The state after `time` by one Runge-Kutta step of fourth order; its components are floats or arrays."""

    def ahead(slope: Sequence[Any], by: float) -> list[Any]:
        return [s + by * k for s, k in zip(state, slope, strict=True)]

    k1 = derivative(state)
    k2 = derivative(ahead(k1, 0.5 * time))
    k3 = derivative(ahead(k2, 0.5 * time))
    k4 = derivative(ahead(k3, time))
    return ahead([a + 2.0 * (b + c) + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)], time / 6.0)


def seen(components: int) -> spaces.Box:
    """The space of observations without bounds."""
    return spaces.Box(-np.inf, np.inf, (components,), np.float64)


def pushed(force: float) -> spaces.Box:
    """The space of one force, at most `force` to either side."""
    return spaces.Box(-force, force, (1,), np.float32)


class Mechanics(BatchedEnv):
    """A mechanical system under one force that is held for a step. Its state: coordinates, then their velocities."""

    #: Seconds in a step, and Runge-Kutta steps in it.
    seconds: ClassVar[float] = 0.05
    substeps: ClassVar[int] = 2
    #: Bound of the velocities.
    fastest: ClassVar[float] = math.inf
    few = 8

    @abstractmethod
    def derivative(self, state: Sequence[Any], force: Any, maths: Maths) -> Sequence[Any]:
        """d state / dt."""

    @abstractmethod
    def judge(self, state: Sequence[Any], maths: Maths) -> tuple[Any, Any]:
        """The reward of having come to the state, and whether that ends the episode."""

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        bound = float(self.one_action.high[0])
        force = maths.clip(maths.double(action[0]), -bound, bound)
        half = self.width // 2
        for _ in range(self.substeps):
            state = runge_kutta(lambda s: self.derivative(s, force, maths), state, self.seconds / self.substeps)
            if self.fastest < math.inf:
                state[half:] = [maths.clip(v, -self.fastest, self.fastest) for v in state[half:]]
        return state, *self.judge(state, maths)


class SparseMountainCar(Mechanics):
    """A car too weak for its hill: it has to swing. 1 at x >= 0.6, which ends the episode.

    The track is y = 1 - cos(pi x / 2), a valley at 0 between tops at +-2; the mass is 0.4, the force of at most 1 acts
    along the track. It starts at the bottom with a velocity U(-1, 1). The episode ends at the far top, x <= -2, as
    well, and unlike rllab's pays nothing there. Observation: x, dx/dt.
    """

    one_observation, one_action, width = seen(2), pushed(1.0), 2
    goal, mass = 0.6, 0.4

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        return 0.0, generator.uniform(-1.0, 1.0)

    def derivative(self, state: Sequence[Any], force: Any, maths: Maths) -> Sequence[Any]:
        x, v = state
        slope = 0.5 * math.pi * maths.sin(0.5 * math.pi * x)
        curve = 0.25 * math.pi**2 * maths.cos(0.5 * math.pi * x)
        # ds = sqrt(1 + y'^2) dx
        stretch = 1.0 + slope * slope
        return v, (force * maths.sqrt(stretch) / self.mass - slope * (GRAVITY + curve * v * v)) / stretch

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        return state

    def judge(self, state: Sequence[Any], maths: Maths) -> tuple[Any, Any]:
        x, _ = state
        arrived = x >= self.goal
        return maths.where(arrived, 1.0, 0.0), arrived | (x <= -2.0)


class SparseCartPoleSwingUp(Mechanics):
    """A pole that hangs from a cart: 1 while it is up, cos(angle) > 0.8; the episode ends at |x| > 3, without reward.

    Cart of mass 1, pole a rod of length 1 and mass 0.1, force of at most 10. Starts at x ~ U(-1, 1), dx/dt ~ U(-2, 2),
    angle (0 is up) ~ pi + U(-1, 1), its velocity ~ U(-3, 3). Observation: x, dx/dt, cos and sin of the angle, its
    velocity (rllab's has the angle itself, which grows with every turn).
    """

    one_observation, one_action, width = seen(5), pushed(10.0), 4
    cart, rod, length = 1.0, 0.1, 1.0

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        low, high = [-1.0, math.pi - 1.0, -2.0, -3.0], [1.0, math.pi + 1.0, 2.0, 3.0]
        return generator.uniform(low, high).tolist()

    def derivative(self, state: Sequence[Any], force: Any, maths: Maths) -> Sequence[Any]:
        _, angle, v, spin = state
        sin, cos = maths.sin(angle), maths.cos(angle)
        moment, inertia = 0.5 * self.rod * self.length, self.rod * self.length**2 / 3.0
        whole, coupling = self.cart + self.rod, moment * cos
        push, fall = force + moment * spin * spin * sin, moment * GRAVITY * sin
        # [whole, coupling; coupling, inertia] (dv, dspin) = (push, fall)
        determinant = whole * inertia - coupling * coupling
        return (
            v,
            spin,
            (inertia * push - coupling * fall) / determinant,
            (whole * fall - coupling * push) / determinant,
        )

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        x, angle, v, spin = state
        return x, v, maths.cos(angle), maths.sin(angle), spin

    def judge(self, state: Sequence[Any], maths: Maths) -> tuple[Any, Any]:
        x, angle, _, _ = state
        up = (abs(x) <= 3.0) & (maths.cos(angle) > 0.8)
        return maths.where(up, 1.0, 0.0), abs(x) > 3.0


class SparseDoublePendulum(Mechanics):
    """Two rods with a motor of torque 50 between them: 1 while the tip is within 1 of its upright place; never ends.

    Lengths 1, masses 0.5; a step is 0.02 s. Starts hanging, angles (of each rod, 0 is down) ~ N(0, 0.1^2), velocities
    ~ N(0, 0.01^2). No rod turns faster than a quarter turn in 0.01 s, Box2D's bound. Observation: sin, cos and velocity
    of each rod's angle.
    """

    seconds, substeps = 0.02, 10
    fastest = 0.5 * math.pi / 0.01
    one_observation, one_action, width = seen(6), pushed(50.0), 4
    rod, length = 0.5, 1.0

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        return generator.normal(0.0, [0.1, 0.1, 0.01, 0.01]).tolist()

    def derivative(self, state: Sequence[Any], force: Any, maths: Maths) -> Sequence[Any]:
        one, two, spin_one, spin_two = state
        # Inertia of both about their joints (the first carries the second), their coupling, the moment of one rod.
        second = self.rod * self.length**2 / 3.0
        first = second + self.rod * self.length**2
        coupling, moment = 0.5 * self.rod * self.length**2, 0.5 * self.rod * self.length
        sin, cos = coupling * maths.sin(one - two), coupling * maths.cos(one - two)
        # [first, cos; cos, second] (dspin_one, dspin_two) = (a, b)
        a = -force - sin * spin_two * spin_two - 3.0 * moment * GRAVITY * maths.sin(one)
        b = force + sin * spin_one * spin_one - moment * GRAVITY * maths.sin(two)
        determinant = first * second - cos * cos
        return spin_one, spin_two, (second * a - cos * b) / determinant, (first * b - cos * a) / determinant

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        one, two, spin_one, spin_two = state
        return maths.sin(one), maths.cos(one), spin_one, maths.sin(two), maths.cos(two), spin_two

    def judge(self, state: Sequence[Any], maths: Maths) -> tuple[Any, Any]:
        one, two, _, _ = state
        x = self.length * (maths.sin(one) + maths.sin(two))
        y = -self.length * (maths.cos(one) + maths.cos(two)) - 2.0 * self.length
        return maths.where(x * x + y * y < 1.0, 1.0, 0.0), False


class SparseWalk(BatchedEnv):
    """A point on a line: x moves by a tenth of the action and stays in [-1, 1]; it starts at 0, and sees x.

    The reward is max(0, 2 x - 1): from the start nothing is felt of it for five steps, and most is paid at the wall.
    """

    one_observation, one_action, width = seen(1), pushed(1.0), 1
    pace = 0.1
    few = 8

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        return (0.0,)

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        x = maths.clip(state[0] + self.pace * maths.double(action[0]), -1.0, 1.0)
        return (x,), maths.clip(2.0 * x - 1.0, 0.0, 1.0), False

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        return state

    @property
    def known(self) -> "SparseWalk":
        """The best that can be done (`rlgan.rl.known`)."""
        return self

    def optimum(self, seeds: Sequence[int], steps: int) -> np.ndarray:
        """The best return of episodes of `steps` steps (n,): to the wall without a halt."""
        places = np.minimum(self.pace * np.arange(1, steps + 1), 1.0)
        return np.full(len(seeds), np.maximum(2.0 * places - 1.0, 0.0).sum())


register("rlgan/SparseWalk-v0", SparseWalk, max_episode_steps=30)
for _kind in (SparseMountainCar, SparseCartPoleSwingUp, SparseDoublePendulum):
    register(f"rlgan/{_kind.__name__}-v0", _kind, max_episode_steps=500)
# Its module needs mujoco, which is asked for when the environment is made.
gymnasium.register(
    "rlgan/SparseHalfCheetah-v0",
    entry_point="rlgan.rl.envs.sparse_half_cheetah:SparseHalfCheetah",
    max_episode_steps=500,
)
