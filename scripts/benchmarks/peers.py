"""Other people's libraries, none of them needed: each is there or is said to be missing."""

from __future__ import annotations

from typing import Any

from scripts.benchmarks.harness import Report, installed

SIZES = ((256, 256), (64, 64))
"""Width of the two hidden layers, minibatch."""


def present(report: Report, *packages: str) -> bool:
    """Whether these packages are installed; if not, one line says which are missing."""
    missing = [package for package in packages if installed(package) is None]
    if missing:
        report.note(f"{', '.join(missing)}: not installed, left out; pip install -c constraints.txt -e '.[bench]'")
    return not missing


def baselines3(width: int, batch_size: int, learning_starts: int) -> Any:
    """DDPG of stable-baselines3 (PyTorch) on Pendulum-v1, with the settings of every loop here."""
    from stable_baselines3 import DDPG

    return DDPG("MlpPolicy", "Pendulum-v1", device="cpu", **_settings(width, batch_size, learning_starts))


def sbx(width: int, batch_size: int, learning_starts: int) -> Any:
    """DDPG of sbx (JAX) on Pendulum-v1, with the settings of every loop here."""
    from sbx import DDPG

    settings = _settings(width, batch_size, learning_starts)
    return DDPG("MlpPolicy", "Pendulum-v1", qf_learning_rate=settings["learning_rate"], **settings)


def _settings(width: int, batch_size: int, learning_starts: int) -> dict[str, Any]:
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise

    return {
        "learning_rate": 1e-3,
        "buffer_size": 1_000_000,
        "learning_starts": learning_starts,
        "batch_size": batch_size,
        "tau": 0.005,
        "gamma": 0.98,
        "train_freq": 1,
        "gradient_steps": 1,
        "action_noise": NormalActionNoise(np.zeros(1), 0.1 * np.ones(1)),
        "policy_kwargs": {"net_arch": [width, width]},
        "seed": 0,
    }
