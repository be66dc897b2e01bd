"""What the metrics of an agent mean, and the headings that they stand under."""

from collections.abc import Mapping
from typing import Literal

RECENT_EPISODES = 10
"""`return/train` is the mean of this many episodes, the last ones to end."""

EXPLAINED: Mapping[str, str] = {
    "return/eval": "mean return of the evaluation episodes, without noise",
    "return/eval_iqm": "mean of the middle half of these returns",
    "return/eval_low": "the mean is above this (95 % interval over episodes)",
    "return/eval_high": "and below this",
    "return/eval_std": "standard deviation of the returns over episodes",
    "return/eval_length": "mean length of an evaluation episode, in steps",
    "return/eval_shaped": "the same in the reward of training, through env.wrappers",
    "return/optimum": "the best mean return that these episodes allow",
    "return/regret": "what is lost of it",
    "return/train": f"mean return of the last {RECENT_EPISODES} episodes, with exploration",
    "critic/q_bias": "Q minus the return that followed; above 0: too hopeful",
    "critic/q": "mean Q of the last minibatch",
    "critic/q_distance": "relative distance of Q from Q* about the policy's actions",
    "actor/gain_distance": "relative distance of the actor's slope at 0 from -K*",
    "actor/action_distance": "distance of the action from the best, worst component",
    "critic/q_gap": "mean distance of the two critics",
    "critic/target_scale": "size of what the critic learns: root mean square target",
    "critic/ceiling": "largest return of training; targets count on no more",
    "actor/saturation": "share of actions beyond 0.98 of a bound",
    "actor/preactivation": "mean size of what enters the tanh; 4 lets 0.1 % through",
    "actor/stuck": "looks in a row at which it could not leave its bounds",
    "exploration/sigma": "standard deviation of the exploration noise",
    "exploration/action_sigma": "that of the noise on actions, beside parameter noise",
    "exploration/distance": "how far parameter noise moves the actions",
    "critic/loss": "what the critic minimises: TD errors, squared or linear",
    "actor/loss": "what the actor minimises: minus the mean Q, or symlog Q",
    "critic/grad_norm": "length of the critic's gradient",
    "actor/grad_norm": "length of the actor's gradient",
}

GROUPS: Mapping[str, tuple[str, ...]] = {
    "return": ("return/", "episode/"),
    "value": ("critic/q", "critic/target", "critic/ceiling", "actor/gain_distance", "actor/action_distance"),
    "bounds": ("actor/saturation", "actor/preactivation", "actor/stuck"),
    "exploration": ("exploration/",),
    "loss": ("critic/loss", "actor/loss", "critic/grad_norm", "actor/grad_norm"),
}

BETTER: Mapping[str, Literal["min", "max"]] = {
    **dict.fromkeys(
        ("return/train", "return/eval_iqm", "return/eval_low", "return/eval_high", "return/eval_shaped"), "max"
    ),
    **dict.fromkeys(("return/regret", "critic/q_distance", "actor/gain_distance", "actor/action_distance"), "min"),
}
