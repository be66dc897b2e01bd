"""Deterministic policy gradients: agents, exploration, replay, environments, and the trainer that joins them."""

from rlgan.rl.agent import Agent
from rlgan.rl.agents.acting import Acting
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.agents.dpg import DPG
from rlgan.rl.agents.td3 import TD3
from rlgan.rl.envs import sparse
from rlgan.rl.envs.environment import Environment
from rlgan.rl.exploration.action_noise import GaussianActionNoise, NoExploration, OrnsteinUhlenbeckActionNoise
from rlgan.rl.exploration.explorer import Exploration, Explorer, Rollout
from rlgan.rl.exploration.mixed import MixedNoise
from rlgan.rl.exploration.parameter_noise import ParameterNoise
from rlgan.rl.known import bandit, lqr
from rlgan.rl.losses import deterministic_policy_loss, smoothed, td_loss, td_target
from rlgan.rl.replay.prioritised import PrioritisedReplay
from rlgan.rl.replay.uniform import Layout, ReplaySpec, Transition, UniformReplay
from rlgan.rl.trainer import Trainer
