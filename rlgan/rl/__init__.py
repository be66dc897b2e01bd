"""Deterministic policy gradients: environments, replay, exploration, evaluation and the agents built from them."""

from rlgan.rl import sparse as sparse  # registers its environments with gymnasium
