"""Names that configurations of earlier versions have, and what is called now what they named.

A public name of today, `rlgan.optim.Constant`, stays; whoever moves or renames one adds it here.
"""

# Modules that have moved: their public names are found at the face of their part.
_MODULES = {
    **dict.fromkeys(
        (
            f"rlgan.optim.{module}"
            for module in ("accelegrad", "averaging", "game", "method", "metric", "momentum", "noise", "player",
                           "presets", "projection", "schedule")
        ),
        "rlgan.optim",
    ),
    **dict.fromkeys(
        (f"rlgan.rl.{module}" for module in ("ddpg", "dpg", "td3", "mixed", "parameter_noise", "prioritised")),
        "rlgan.rl",
    ),
    "rlgan.optim.torch_optimizer": "rlgan.optim.torch_optim",
}  # fmt: skip

# Names that have changed, by what the modules' faces called them.
_NAMES = {
    "rlgan.optim.Gaussian": "rlgan.optim.GaussianNoise",
    "rlgan.optim.OrnsteinUhlenbeck": "rlgan.optim.OrnsteinUhlenbeckNoise",
    "rlgan.optim.Uniform": "rlgan.optim.UniformAverage",
    "rlgan.optim.Weighted": "rlgan.optim.WeightedAverage",
    "rlgan.optim.from_torch": "rlgan.optim.torch_optim.from_torch",
    "rlgan.optim.from_torch.from_torch": "rlgan.optim.torch_optim.from_torch",
    "rlgan.rl.Mixed": "rlgan.rl.MixedNoise",
    "rlgan.rl.Prioritised": "rlgan.rl.PrioritisedReplay",
    "rlgan.rl.envs.Environment": "rlgan.rl.Environment",
    "rlgan.rl.exploration.Gaussian": "rlgan.rl.GaussianActionNoise",
    "rlgan.rl.exploration.NoExploration": "rlgan.rl.NoExploration",
    "rlgan.rl.exploration.OrnsteinUhlenbeck": "rlgan.rl.OrnsteinUhlenbeckActionNoise",
    "rlgan.rl.replay.Uniform": "rlgan.rl.UniformReplay",
}


def current(name: str) -> str:
    """What a dotted name of an earlier version is called now; any other name is given back."""
    module, _, leaf = name.rpartition(".")
    moved = f"{_MODULES.get(module, module)}.{leaf}"
    return _NAMES.get(moved, moved if module in _MODULES else name)
