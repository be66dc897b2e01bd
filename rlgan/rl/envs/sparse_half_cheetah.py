"""The half-cheetah that is paid for arriving only (Plappert et al. 2018); `rlgan.rl.envs.sparse` registers it."""

from typing import Any

from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv


class SparseHalfCheetah(HalfCheetahEnv):
    """gymnasium's HalfCheetah-v5 with reward 1 at every step at which the torso is beyond x = 5, else 0."""

    goal = 5.0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(info["x_position"] > self.goal), terminated, truncated, info
