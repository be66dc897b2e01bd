"""What other libraries and the papers call what a configuration calls otherwise.

Stable-Baselines3, CleanRL, TorchRL, Spinning Up and the authors' code of the WGAN papers are where most names come
from. A name that is a key somewhere in the configuration needs no entry: it is searched for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any


def normal(name: str) -> str:
    """A name without what people write differently: `Batch-Size`, `batch_size` and `batchsize` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


# The end of a key, and what it is called elsewhere.
_KEYS = {
    "optimizer.lr": "learning_rate step_size eta alpha",
    "critic.optimizer.lr": "critic_lr lr_critic lr_c critic_learning_rate lr_d d_lr qf_lr q_lr value_lr",
    "actor.optimizer.lr": "actor_lr lr_actor lr_a actor_learning_rate policy_lr pi_lr",
    "generator.optimizer.lr": "generator_lr lr_generator lr_g g_lr gen_lr",
    "optimizer.rho": "momentum",
    "optimizer.beta1": "momentum b1 beta_1",
    "optimizer.beta2": "b2 beta_2",
    "optimizer.eps": "epsilon adam_eps",
    "optimizer.weight_decay": "wd l2 l2_reg",
    "network.hidden": "hidden_sizes hidden_size hidden_dim hidden_dims hidden_layers net_arch num_cells layers units",
    "network.activation": "act activation_fn nonlinearity",
    "averaging.tau": "soft_update_rate target_update_rate ema_tau soft_tau",
    "game.k": "n_critic ncritic critic_iters critic_iterations critic_steps d_iters n_dis disc_iters policy_delay "
    "policy_freq policy_frequency delay",
    "lipschitz.radius": "clip clip_value clip_limit weight_clip weight_clipping clipping c",
    "lipschitz.weight": "gp_weight lambda lambda_gp gp_lambda gp_coef lambda_term penalty_weight gradient_penalty gp "
    "lam penalty",
    "latent_dim": "z_dim nz latent_size noise_dim latent dim_z z_size",
    "agent.discount": "gamma discount_factor",
    "agent.smoothing": "policy_noise target_policy_noise target_noise",
    "agent.smoothing_bound": "noise_clip target_noise_clip",
    "exploration.sigma": "exploration_noise action_noise expl_noise act_noise noise_std action_noise_std std",
    "env.id": "env_id env_name gym_id environment environment_id environment_name",
    "env.num_envs": "n_envs num_env num_workers n_workers parallel_envs",
    "env.max_episode_steps": "max_ep_len episode_length max_episode_length horizon_length time_limit",
    "capacity": "buffer_size memory_size replay_size rb_size buffer_capacity replay_capacity memory replay_buffer_size",
    "learning_starts": "start_timesteps start_steps warmup warmup_steps init_random_frames random_steps update_after",
    "updates_per_step": "utd utd_ratio gradient_steps replay_ratio num_updates_per_step",
    "normalise_obs": "normalize normalise norm_obs normalize_obs normalize_observations",
    "n_step": "n_steps_return nstep n_steps multi_step",
    "eval_episodes": "n_eval_episodes num_eval_episodes num_test_episodes",
    "batch_size": "batch bs minibatch minibatch_size mini_batch_size train_batch_size",
    "steps": "total_timesteps timesteps n_timesteps num_timesteps total_frames total_steps max_steps num_steps "
    "iterations num_iterations max_iterations n_iters niter iters max_iters gen_iterations train_steps num_updates",
    "eval_every": "eval_freq eval_interval eval_frequency evaluation_interval",
    "log_every": "log_freq log_interval logging_steps log_frequency",
    "checkpoint_every": "save_freq save_every save_interval save_steps checkpoint_freq checkpoint_interval",
    "seed": "random_seed torch_seed manual_seed rng_seed",
    "seeds": "n_seeds num_seeds",
    "run_dir": "output_dir out_dir log_dir logdir save_dir outdir output results_dir",
    "name": "exp_name run_name experiment_name tag",
    "precision": "dtype default_dtype",
    "threads": "num_threads n_threads n_jobs torch_threads",
}

#: By its normal form, a name from elsewhere: the ends of keys that it may mean, the likelier first.
ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        alias: tuple(end for end, names in _KEYS.items() if alias in map(normal, names.split()))
        for alias in {normal(name) for names in _KEYS.values() for name in names.split()}
    }
)

#: The option of a group that has a key which not all of its options have.
OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "optimizer.rho": "heavy_ball",
        "optimizer.beta1": "adam",
        "optimizer.beta2": "adam",
        "optimizer.weight_decay": "adamw",
        "averaging.tau": "ema",
        "game.k": "alternating",
        "lipschitz.radius": "clip",
        "lipschitz.weight": "gradient_penalty",
        "lipschitz.every": "gradient_penalty",
        "exploration.sigma": "gaussian",
        "agent.smoothing": "td3",
        "agent.smoothing_bound": "td3",
    }
)

#: Names that mean a key with another value: the key, and the value from the one that was given.
CONVERTED: Mapping[str, tuple[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "polyak": ("averaging.tau", lambda value: round(1 - value, 12)),  # Spinning Up weighs the old parameters
        "cuda": ("device", lambda value: "cuda" if value in (True, "true", 1) else "cpu"),
        "usecuda": ("device", lambda value: "cuda" if value in (True, "true", 1) else "cpu"),
        "gpu": ("device", lambda value: f"cuda:{value}" if type(value) is int else "cuda"),
        "amp": ("precision", lambda value: "bf16" if value else "float32"),
        "verbose": ("progress", bool),
        "deterministic": ("seed", lambda value: 0),
        "resumefrom": ("resume", lambda value: value),
    }
)

#: Names of groups elsewhere.
GROUPS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("dataset", "datasetname", "datasource"), "data"),
        **dict.fromkeys(("optim", "opt", "optimiser", "optimizerclass", "solver"), "optimizer"),
        **dict.fromkeys(("algo", "algorithm", "policy"), "agent"),
        **dict.fromkeys(("model", "net", "arch", "architecture", "backbone"), "network"),
        **dict.fromkeys(("scheduler", "lrscheduler", "lrschedule"), "schedule"),
        **dict.fromkeys(("criterion", "objective", "lossfn"), "loss"),
        **dict.fromkeys(("regularizer", "regulariser", "constraint", "lipschitzcontrol"), "lipschitz"),
        **dict.fromkeys(("buffer", "replaybuffer"), "replay"),
        **dict.fromkeys(("ema", "average", "weightaveraging"), "averaging"),
    }
)

#: What no key can say.
REMARKS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("epochs", "epoch", "numepochs", "nepochs", "maxepochs", "numtrainepochs"),
        "a run is as long as steps= says, for example steps=2000; an epoch has as many steps as the data have batches",
    )
)
