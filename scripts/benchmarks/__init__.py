"""Benchmarks: a file each, named here; nothing of them is imported before it is named."""

BENCHMARKS = {
    "update": "the DDPG update beside the usual one, JAX, stable-baselines3, sbx and its bare matrix products",
    "optim": "one optimizer step beside torch.optim, optax and pytorch_optimizer; every method against its bytes",
    "seeds": "the cost of an update per seed, by the number of seeds that are stacked: DDPG and the WGAN",
    "rl_speed": "whole DDPG loops on Pendulum-v1 beside stable-baselines3, CleanRL's structure and sbx; peak memory",
    "whole": "whole runs by scripts/train.py: many seeds in one process beside as many runs of one; peak memory",
    "erm_speed": "a step of task=erm beside the usual loop with torch.optim",
    "ranks": "two ranks beside one process with one thread and with two, on a joint batch of 4,096",
    "gan_speed": "the WGAN's update beside the usual loops: clipping, gradient penalty, simultaneous",
}
"""What to say after `python scripts/benchmark.py`, and what it measures."""
