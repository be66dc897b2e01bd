"""DDPG's loop as one writes it in one file, in the structure of CleanRL's ddpg_continuous_action.py."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlgan.rl.replay.uniform import Transition
from scripts.benchmarks.ddpg import ACTION_DIM, OBS_DIM, PlainUpdate

SIGMA = 0.1


class PlainLoop:
    """One environment in a SyncVectorEnv, a replay of numpy arrays, `PlainUpdate`.

    Args:
        width: of both hidden layers.
        batch_size: of a minibatch.
        learning_starts: random steps before the first update.
        capacity: of the replay.
    """

    def __init__(self, width: int, batch_size: int, learning_starts: int, capacity: int) -> None:
        torch.manual_seed(0)
        self.batch_size, self.learning_starts = batch_size, learning_starts
        self.envs = SyncVectorEnv([self._make], autoreset_mode=AutoresetMode.SAME_STEP)
        space = self.envs.single_action_space
        assert isinstance(space, gymnasium.spaces.Box)
        self.scale, self.sigma = (space.high - space.low) / 2, torch.full((1, ACTION_DIM), SIGMA)
        self.random = np.random.default_rng(0)
        self.update = PlainUpdate(width)
        self.observations = np.zeros((capacity, 1, OBS_DIM), np.float32)
        self.next_observations = np.zeros((capacity, 1, OBS_DIM), np.float32)
        self.actions = np.zeros((capacity, 1, ACTION_DIM), np.float32)
        self.rewards = np.zeros((capacity, 1), np.float32)
        self.dones = np.zeros((capacity, 1), np.float32)
        self.position = self.steps = 0
        self.obs, _ = self.envs.reset(seed=0)

    def _make(self) -> gymnasium.Env:
        return gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make("Pendulum-v1"))

    def step(self) -> None:
        """Act, step, store, and from `learning_starts` on learn."""
        if self.steps < self.learning_starts:
            actions = self.random.uniform(-1, 1, (1, ACTION_DIM)).astype(np.float32)
        else:
            with torch.no_grad():
                noisy = self.update.actor(torch.Tensor(self.obs))
                noisy += torch.normal(0, self.sigma)
                actions = noisy.cpu().numpy().clip(-1, 1)
        next_obs, rewards, terminations, truncations, infos = self.envs.step(actions * self.scale)
        real_next_obs = next_obs.copy()
        for i, ended in enumerate(terminations | truncations):
            if ended:
                real_next_obs[i] = infos["final_obs"][i]
        self.observations[self.position] = np.array(self.obs)
        self.next_observations[self.position] = np.array(real_next_obs)
        self.actions[self.position] = np.array(actions)
        self.rewards[self.position] = np.array(rewards)
        self.dones[self.position] = np.array(terminations)
        self.position = (self.position + 1) % len(self.dones)
        self.steps += 1
        self.obs = next_obs
        if self.steps > self.learning_starts:
            self.update(self.sample())

    def sample(self) -> Transition:
        """A minibatch, each field gathered and copied by itself."""
        held = min(self.steps, len(self.dones))
        rows, env = np.random.randint(0, held, self.batch_size), np.random.randint(0, 1, self.batch_size)
        obs, action, reward, done, next_obs = (
            torch.tensor(field[rows, env])
            for field in (self.observations, self.actions, self.rewards, self.dones, self.next_observations)
        )
        return Transition(obs, action, reward, done, next_obs)
