"""The environments with sparse rewards of Plappert et al. 2018 (appendix B), registered with gymnasium on import:

    rlgan/SparseMountainCar-v0         1 at the goal, which ends the episode
    rlgan/SparseCartPoleSwingUp-v0     1 at every step at which the pole is up, cos(angle) > 0.8; ends at |x| > 3
    rlgan/SparseDoublePendulum-v0      1 at every step at which the tip is within 1 of upright
    rlgan/SparseHalfCheetah-v0         1 at every step at which the torso is beyond x = 5 (needs MuJoCo)

and 0 otherwise; episodes are cut at 500 steps. The first three were rllab's, on Box2D's simulator; here bodies of the
same masses, lengths, starts and forces follow their equations of motion, by Runge-Kutta steps of fourth order, without
friction (there 0.0005 and less). Figures are those of rllab's models; gravity is 10, Box2D's default.

Everything that changes is a plain attribute, so that a run saves and resumes them exactly (`rlgan.rl.envs.env_state`).
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

GRAVITY = 10.0


def runge_kutta(
    derivative: Callable[[Sequence[float]], Sequence[float]], state: Sequence[float], time: float
) -> list[float]:
    """The state after `time` by one Runge-Kutta step of fourth order, in floats: quicker than small arrays."""

    def ahead(slope: Sequence[float], by: float) -> list[float]:
        return [s + by * k for s, k in zip(state, slope, strict=True)]

    k1 = derivative(state)
    k2 = derivative(ahead(k1, 0.5 * time))
    k3 = derivative(ahead(k2, 0.5 * time))
    k4 = derivative(ahead(k3, time))
    return ahead([a + 2.0 * (b + c) + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)], time / 6.0)


class Mechanics(gymnasium.Env[np.ndarray, np.ndarray]):
    """A mechanical system under one force that is held for a step.

    Args:
        force: its bound.
        observations: components of the observation.
    """

    #: Seconds in a step, and Runge-Kutta steps in it.
    seconds = 0.05
    substeps = 2
    #: Bound of the velocities.
    fastest = math.inf

    def __init__(self, force: float, observations: int) -> None:
        self.action_space = spaces.Box(-force, force, (1,), np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (observations,), np.float64)
        self.force = force
        self.state: list[float] = []  # coordinates, then their velocities

    @abstractmethod
    def start(self) -> list[float]:
        """A first state, drawn from `np_random`."""

    @abstractmethod
    def derivative(self, state: Sequence[float], force: float) -> Sequence[float]:
        """d state / dt."""

    @abstractmethod
    def observe(self) -> list[float]:
        """What is seen of the present state."""

    @abstractmethod
    def judge(self) -> tuple[float, bool]:
        """The reward of having come to the present state, and whether that ends the episode."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.start()
        return np.array(self.observe()), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        force = min(max(float(action[0]), -self.force), self.force)
        half = len(self.state) // 2
        for _ in range(self.substeps):
            state = runge_kutta(lambda s: self.derivative(s, force), self.state, self.seconds / self.substeps)
            self.state = state[:half] + [min(max(v, -self.fastest), self.fastest) for v in state[half:]]
        reward, terminated = self.judge()
        return np.array(self.observe()), reward, terminated, False, {}


class SparseMountainCar(Mechanics):
    """A car too weak for its hill: it has to swing. 1 at x >= 0.6, which ends the episode.

    The track is y = 1 - cos(pi x / 2), a valley at 0 between tops at +-2; the mass is 0.4, the force of at most 1 acts
    along the track. It starts at the bottom with a velocity U(-1, 1). The episode ends at the far top, x <= -2, as
    well, and unlike rllab's pays nothing there. Observation: x, dx/dt.
    """

    goal, mass = 0.6, 0.4

    def __init__(self) -> None:
        super().__init__(1.0, 2)

    def start(self) -> list[float]:
        return [0.0, float(self.np_random.uniform(-1.0, 1.0))]

    def derivative(self, state: Sequence[float], force: float) -> Sequence[float]:
        x, v = state
        slope = 0.5 * math.pi * math.sin(0.5 * math.pi * x)
        curve = 0.25 * math.pi**2 * math.cos(0.5 * math.pi * x)
        # ds = sqrt(1 + y'^2) dx
        stretch = 1.0 + slope * slope
        return v, (force * math.sqrt(stretch) / self.mass - slope * (GRAVITY + curve * v * v)) / stretch

    def observe(self) -> list[float]:
        return list(self.state)

    def judge(self) -> tuple[float, bool]:
        x = self.state[0]
        return float(x >= self.goal), x >= self.goal or x <= -2.0


class SparseCartPoleSwingUp(Mechanics):
    """A pole that hangs from a cart: 1 while it is up, cos(angle) > 0.8; the episode ends at |x| > 3, without reward.

    Cart of mass 1, pole a rod of length 1 and mass 0.1, force of at most 10. Starts at x ~ U(-1, 1), dx/dt ~ U(-2, 2),
    angle (0 is up) ~ pi + U(-1, 1), its velocity ~ U(-3, 3). Observation: x, dx/dt, cos and sin of the angle, its
    velocity (rllab's has the angle itself, which grows with every turn).
    """

    cart, rod, length = 1.0, 0.1, 1.0

    def __init__(self) -> None:
        super().__init__(10.0, 5)

    def start(self) -> list[float]:
        drawn = self.np_random.uniform([-1.0, math.pi - 1.0, -2.0, -3.0], [1.0, math.pi + 1.0, 2.0, 3.0])
        return [float(value) for value in drawn]

    def derivative(self, state: Sequence[float], force: float) -> Sequence[float]:
        _, angle, v, spin = state
        sin, cos = math.sin(angle), math.cos(angle)
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

    def observe(self) -> list[float]:
        x, angle, v, spin = self.state
        return [x, v, math.cos(angle), math.sin(angle), spin]

    def judge(self) -> tuple[float, bool]:
        gone = abs(self.state[0]) > 3.0
        return float(not gone and math.cos(self.state[1]) > 0.8), gone


class SparseDoublePendulum(Mechanics):
    """Two rods with a motor of torque 50 between them: 1 while the tip is within 1 of its upright place; never ends.

    Lengths 1, masses 0.5; a step is 0.02 s. Starts hanging, angles (of each rod, 0 is down) ~ N(0, 0.1^2), velocities
    ~ N(0, 0.01^2). No rod turns faster than a quarter turn in 0.01 s, Box2D's bound. Observation: sin, cos and velocity
    of each rod's angle.
    """

    seconds, substeps = 0.02, 10
    fastest = 0.5 * math.pi / 0.01
    rod, length = 0.5, 1.0

    def __init__(self) -> None:
        super().__init__(50.0, 6)

    def start(self) -> list[float]:
        return [float(value) for value in self.np_random.normal(0.0, [0.1, 0.1, 0.01, 0.01])]

    def derivative(self, state: Sequence[float], force: float) -> Sequence[float]:
        one, two, spin_one, spin_two = state
        # Inertia of both about their joints (the first carries the second), their coupling, the moment of one rod.
        second = self.rod * self.length**2 / 3.0
        first = second + self.rod * self.length**2
        coupling, moment = 0.5 * self.rod * self.length**2, 0.5 * self.rod * self.length
        sin, cos = coupling * math.sin(one - two), coupling * math.cos(one - two)
        # [first, cos; cos, second] (dspin_one, dspin_two) = (a, b)
        a = -force - sin * spin_two * spin_two - 3.0 * moment * GRAVITY * math.sin(one)
        b = force + sin * spin_one * spin_one - moment * GRAVITY * math.sin(two)
        determinant = first * second - cos * cos
        return spin_one, spin_two, (second * a - cos * b) / determinant, (first * b - cos * a) / determinant

    def observe(self) -> list[float]:
        one, two, spin_one, spin_two = self.state
        return [math.sin(one), math.cos(one), spin_one, math.sin(two), math.cos(two), spin_two]

    def judge(self) -> tuple[float, bool]:
        one, two = self.state[:2]
        x = self.length * (math.sin(one) + math.sin(two))
        y = -self.length * (math.cos(one) + math.cos(two))
        return float(math.hypot(x, y - 2.0 * self.length) < 1.0), False


for _name, _entry in {
    "SparseMountainCar": f"{__name__}:SparseMountainCar",
    "SparseCartPoleSwingUp": f"{__name__}:SparseCartPoleSwingUp",
    "SparseDoublePendulum": f"{__name__}:SparseDoublePendulum",
    # Its module needs mujoco, which is asked for when the environment is made.
    "SparseHalfCheetah": "rlgan.rl.envs.sparse_half_cheetah:SparseHalfCheetah",
}.items():
    gymnasium.register(f"rlgan/{_name}-v0", entry_point=_entry, max_episode_steps=500)
