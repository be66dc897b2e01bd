"""Deterministic policy gradients: environments, replay, exploration, evaluation and the agents built from them."""
