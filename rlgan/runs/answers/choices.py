"""What was meant by an option that is not there, and by a launcher or sweeper that is not installed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from importlib import metadata
from types import MappingProxyType
from typing import Any

from rlgan.runs.answers.names import normal
from rlgan.task.suggest import closest, nearest

_GP = "loss=wasserstein lipschitz=gradient_penalty optimizer@critic.optimizer=adam_wgan"
_PICTURES = 'data=hugging_face data.name={value} (pip install "rlgan[images]"), or data=folder data.path=FOLDER'
_DISCRETE = "agents here act by numbers and not by choices; task=ddpg has agent=ddpg, dpg, td3"
_OTHER_AGENT = "this agent is not here; task=ddpg has agent=ddpg, dpg, td3, and rlgan/rl/README.md says how to add one"

# By group and the normal form of what was typed: the option that was meant, or what to say.
_OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "task": {
            **dict.fromkeys(("gan", "gans", "wassersteingan", "generator", "dcgan"), "did you mean task=wgan?"),
            **dict.fromkeys(("wgangp", "gangp"), f"did you mean task=wgan {_GP}?"),
            "wganlp": "did you mean task=wgan lipschitz=one_sided?",
            "sngan": "did you mean task=wgan lipschitz=spectral_norm loss=hinge?",
            **dict.fromkeys(("td3", "dpg"), "did you mean task=ddpg agent={value}?"),
            **dict.fromkeys(("rl", "reinforcementlearning", "agent", "policy", "pendulum"), "did you mean task=ddpg?"),
            **dict.fromkeys(
                ("classifier", "classification", "regression", "supervised", "mlp", "sgd", "train"),
                "did you mean task=erm?",
            ),
            **dict.fromkeys(("dqn", "ddqn", "doubledqn", "rainbow", "c51", "qlearning", "qrdqn"), _DISCRETE),
            **dict.fromkeys(
                ("sac", "ppo", "a2c", "a3c", "trpo", "redq", "tqc", "crossq", "droq", "reinforce", "d4pg"), _OTHER_AGENT
            ),
        },
        "agent": {
            **dict.fromkeys(("dqn", "ddqn", "doubledqn", "rainbow", "c51", "qlearning", "qrdqn"), _DISCRETE),
            **dict.fromkeys(
                ("sac", "ppo", "a2c", "a3c", "trpo", "redq", "tqc", "crossq", "droq", "reinforce", "d4pg"), _OTHER_AGENT
            ),
        },
        "loss": {
            **dict.fromkeys(("wgangp", "gp", "gradientpenalty"), f"did you mean {_GP}?"),
            **dict.fromkeys(("wgan", "w1", "emd", "earthmover"), "wasserstein"),
            "lsgan": "least_squares",
            **dict.fromkeys(("bce", "gan", "vanilla", "minimax", "ns", "nsgan", "jsd"), "{cross}"),
            **dict.fromkeys(("mse", "l2", "mseloss"), "{square}"),
            **dict.fromkeys(("ce", "xent", "nll", "softmax", "crossentropyloss"), "cross_entropy"),
        },
        "lipschitz": {
            **dict.fromkeys(("wgangp", "penalty"), "gradient_penalty"),
            **dict.fromkeys(("lp", "wganlp"), "one_sided"),
            **dict.fromkeys(("sn", "spectral", "sngan"), "spectral_norm"),
            **dict.fromkeys(("weightclipping", "clipping", "weightclip", "wc"), "clip"),
            **dict.fromkeys(("orthogonal", "orthonormal", "bjorck", "cayley", "maxmin", "anil"), "groupsort"),
            **dict.fromkeys(("false", "no", "off", "null"), "none"),
        },
        "data": {
            **dict.fromkeys(
                ("mnist", "fashionmnist", "cifar10", "cifar100", "celeba", "lsun", "imagenet", "svhn", "ffhq", "coco"),
                _PICTURES,
            ),
            **dict.fromkeys(("imagefolder", "images", "pictures"), "did you mean data=folder data.path=FOLDER?"),
            **dict.fromkeys(("8gaussians", "mog", "gmm", "mixture"), "did you mean data=ring?"),
            **dict.fromkeys(("25gaussians",), "did you mean data=grid?"),
        },
        "problem": {
            **dict.fromkeys(("mnist", "fashionmnist"), "did you mean problem=digits (8x8), or problem=folder?"),
            **dict.fromkeys(("moons", "twomoon"), "did you mean problem=two_moons?"),
        },
        "optimizer": {
            "momentum": "heavy_ball",
            **dict.fromkeys(("nag", "nesterovmomentum"), "nesterov"),
            **dict.fromkeys(("gd", "batch"), "gradient_descent"),
            "cg": "conjugate_gradient",
            **dict.fromkeys(
                ("nadam", "radam", "adadelta", "adamax", "asgd", "rprop", "muon", "adafactor"),
                "torch has it: {key}=torch {place}.optimizer={name}",
            ),
        },
        "game": {
            **dict.fromkeys(("extra", "extraadam", "eg", "extrastep"), "extragradient"),
            **dict.fromkeys(("ogda", "omd", "optimisticadam"), "optimistic"),
            **dict.fromkeys(("sga", "sympletic"), "symplectic"),
            **dict.fromkeys(("sim", "gda", "simgda"), "simultaneous"),
            **dict.fromkeys(("altgda", "alternate"), "alternating"),
        },
        "exploration": {
            **dict.fromkeys(("normal", "actionnoise"), "gaussian"),
            **dict.fromkeys(("ou", "ounoise", "ornsteinuhlenbecknoise"), "ornstein_uhlenbeck"),
            **dict.fromkeys(("paramnoise", "parameternoise", "noisynet"), "parameter"),
        },
        "replay": {
            **dict.fromkeys(("per", "prioritized", "priority"), "prioritised"),
            **dict.fromkeys(("replaybuffer", "buffer", "random"), "uniform"),
        },
        "averaging": {
            **dict.fromkeys(("polyak", "target", "soft", "tau"), "ema"),
            **dict.fromkeys(("swa", "ruppert", "polyakruppert"), "uniform"),
            **dict.fromkeys(("hard",), "periodic"),
        },
        "schedule": {
            **dict.fromkeys(("cosineannealing", "cosinedecay"), "cosine"),
            **dict.fromkeys(("step", "multistep", "steplr"), "piecewise"),
            **dict.fromkeys(("none", "no"), "constant"),
        },
    }
)
_OF_GAN = {"cross": "non_saturating", "square": "least_squares"}
_OF_ERM = {"cross": "logistic", "square": "squared"}
_TORCH = {"nadam": "NAdam", "radam": "RAdam", "adadelta": "Adadelta", "adamax": "Adamax", "asgd": "ASGD",
          "rprop": "Rprop", "muon": "Muon", "adafactor": "Adafactor"}  # fmt: skip

# What brings a launcher or a sweeper of Hydra's, and works here.
_PLUGINS = {
    "hydra/launcher": {
        "joblib": "hydra-joblib-launcher",
        "submitit_local": "hydra-submitit-launcher",
        "submitit_slurm": "hydra-submitit-launcher",
        "ray": "ray",
    },
    "hydra/sweeper": {"optuna": "optuna"},
}


def other_option(key: str, option: str, groups: Mapping[str, Sequence[str]], task: str) -> str:
    """What to say of an option that a group does not have: what was meant, or what there is.

    Args:
        key: as typed: the group, with its place where it has one.
        option: as typed.
        groups: every group with its options.
        task: the chosen one.
    """
    group, _, place = key.partition("@")
    plain = normal(option)
    known = groups.get(group, ())
    if meant := option_meant(group, option, known, task):
        return f"did you mean {key}={meant}?"
    if answer := _OPTIONS.get(group, {}).get(plain):
        return answer.format(key=key, value=option.lower(), place=place or group, name=_TORCH.get(plain, ""))
    if inside := [name for name in known if name.startswith(f"{option}/")]:
        return f"name one of {', '.join(f'{key}={name}' for name in inside)}"
    if group == "env" and (answer := _environment(option, known)):
        return answer
    if close := closest(option, known):
        return f"did you mean {key}={close}?"
    return nearest(option, known, "its options are")


def option_meant(group: str, option: str, known: Collection[str], task: str = "") -> str | None:
    """The option of a group that was meant, which other libraries call otherwise, or None."""
    plain = normal(option)
    if same := next((name for name in known if normal(name) == plain), None):
        return same
    found = _OPTIONS.get(group, {}).get(plain, "")
    found = found.format(**_OF_ERM if task == "erm" else _OF_GAN) if found in ("{cross}", "{square}") else found
    return found if found in known else None


def _environment(option: str, known: Sequence[str]) -> str | None:
    """What `env=Pendulum-v1` means, which names an environment of gymnasium's and no option."""
    name, version, _ = re.fullmatch(r"(?:.*/)?(.*?)(-v\d+)?()", option).groups()  # type: ignore[union-attr]
    same = next((one for one in known if normal(one) in (normal(name), normal(name.removesuffix("Continuous")))), None)
    short = f"env={same}" if same else ""
    if ":" in option:
        return f"did you mean env.id={option}?"
    import gymnasium

    ids = [one for one in gymnasium.registry if one.lower() == option.lower()] if version else []
    if ids and not same and not _continuous(ids[0]):
        return f"{ids[0]} has discrete actions, and agents here act by numbers; its options are {', '.join(known)}"
    ids = [one for one in ids if _continuous(one)]
    words = [word for word in (short, *(f"env.id={one}" for one in ids[:1])) if word]
    return f"did you mean {' or '.join(words)}?" if words else None


def _continuous(name: str) -> bool:
    """Whether an environment has actions that a deterministic policy can give, as far as it can be made."""
    import gymnasium

    try:
        env = gymnasium.make(name, disable_env_checker=True)
    except Exception:  # a simulator that is not installed is told when it is chosen
        return True
    with closing(env):
        return isinstance(env.action_space, gymnasium.spaces.Box)


def other_plugin(group: str, option: str, known: Collection[str]) -> str:
    """What to say of a launcher or sweeper that is not there.

    Args:
        group: `hydra/launcher` or `hydra/sweeper`.
        option: as typed.
        known: those that are installed.
    """
    kind = group.rpartition("/")[2]
    packages = _PLUGINS.get(group, {})
    if option in packages:
        return f"{group} = {option}: is not installed; {_install(packages[option])}"
    return f"{group} = {option}: there is no such {kind}; {nearest(option, {*known, *packages}, 'there are')}"


def _install(package: str) -> str:
    with_it: list[Any] = re.findall(
        rf'^{package}\b.*extra == ["\'](\w+)["\']', "\n".join(_requirements()), re.MULTILINE
    )
    return f'pip install "rlgan[{with_it[0]}]"' if with_it else f"pip install {package}"


def _requirements() -> list[str]:
    try:
        return metadata.requires("rlgan") or []
    except metadata.PackageNotFoundError:  # a source tree on $PYTHONPATH
        return []
