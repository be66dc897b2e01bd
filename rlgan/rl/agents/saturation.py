"""What becomes of an actor at its bounds, and how large the critic's targets are: read off where a log is due.

Nothing of it is computed at the moves that nobody looks at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from rlgan.nets.layers import in_evaluation_mode
from rlgan.nets.mlp import Actor
from rlgan.optim import Losses, Metrics, Nets, Update, ranks
from rlgan.rl.agent import Agent
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.agents.dpg import DPG
from rlgan.rl.agents.td3 import TD3
from rlgan.rl.losses import td_target
from rlgan.rl.replay.returns import MEAN, SQUARE, Returns
from rlgan.rl.replay.uniform import Transition

NEAR = 0.98
"""|a| beyond which an action counts as being at its bound."""
MOST = 0.95
"""Share of actions at their bounds from which on an actor may be stuck."""
PASSES = 1e-3
"""Mean derivative of tanh below which nothing comes through: |z| = 4.2."""
LOOKS = 3
"""So many looks one after another at a stuck actor make a note."""
STUCK = "actor/stuck"


def target(agent: Agent, nets: Nets, batch: Transition) -> Tensor:
    """y (batch,), what the critic learns; of an agent of one's own r + gamma (1 - terminated) Q'(s', mu'(s'))."""
    if isinstance(agent, DDPG | TD3 | DPG):
        return agent.target(nets, batch)
    average = nets.average
    with torch.no_grad():
        q_t = agent.value(average.critic, batch.next_obs, agent.act(average.actor, batch.next_obs))
        return td_target(batch.reward, batch.terminated, q_t, agent.bootstrap(batch))


def reporting(agent: Agent, losses: Losses) -> Losses:
    """The losses, the critic's with the mean of its targets and of their squares among its metrics."""
    plain = losses.of["critic"]

    def critic_loss(nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        loss, metrics = plain(nets, batch)
        y = target(agent, nets, batch)  # compiled, the same as the loss's own
        return loss, {**metrics, MEAN: y.mean(), SQUARE: y.square().mean()}

    return Losses({**losses.of, "critic": critic_loss}, losses.joint, losses.signs)


def look(
    agent: Agent, update: Update, batch: Transition, returns: Returns | None, last: Mapping[str, Tensor | float]
) -> dict[str, float]:
    """Metrics of where the actor stands and of what the critic learns, of one minibatch; those not finite left out.

    - ``actor/saturation``: share of action components beyond `NEAR`
    - ``actor/preactivation``: mean |z|, z what comes into the tanh (of inverted gradients: into the clipping)
    - ``actor/stuck``: looks in a row at which the actor was stuck: nearly all actions at their bounds by a tanh that
      lets less than `PASSES` of a gradient through, and most of them better further inside, as the critic has it
    - ``critic/target_scale``: root mean square of y, in the units of the environment
    - ``critic/ceiling``: the largest value that y bootstraps from (`rlgan.rl.replay.ceiling`), where there is one

    Args:
        agent: whose they are.
        update: of its critic and its actor.
        batch: as the losses saw it.
        returns: the units of the critic, if they are not the environment's.
        last: the metrics of the last look.
    """
    actor, critic = update.players["actor"].module, update.players["critic"].module
    with in_evaluation_mode(actor, critic):
        with torch.no_grad():
            y = target(agent, update.eager.nets(()), batch)
            y = y if returns is None else returns(y)
            action = agent.act(actor, batch.obs).clamp(-1.0, 1.0)
            at_bound = action.abs() > NEAR
            z = actor(batch.obs, True).double() if isinstance(actor, Actor) else None
        through = 1.0 if z is None or getattr(actor, "bound", "") != "tanh" else float(z.cosh().pow(-2).mean())
        inside = _inside(agent, critic, batch.obs, action, at_bound) if through < 10 * PASSES else 0.0
    found = {
        "actor/saturation": float(at_bound.double().mean()),
        "critic/target_scale": float(y.double().square().mean()),
        **({} if z is None else {"actor/preactivation": float(z.abs().mean())}),
        "through": through,
        "inside": inside,
    }
    if ranks.world().size > 1:
        means = ranks.mean_over_ranks(torch.tensor(list(found.values()), dtype=torch.float64))
        found = dict(zip(found, means.tolist(), strict=True))
    through, inside = found.pop("through"), found.pop("inside")
    found["critic/target_scale"] = math.sqrt(found["critic/target_scale"])
    ceiling = batch.ceiling if returns is None else returns(batch.ceiling)
    found["critic/ceiling"] = float(ceiling)
    stuck = found["actor/saturation"] >= MOST and through < PASSES and inside > 0.5
    known = {name: value for name, value in found.items() if math.isfinite(value)}
    return {**known, STUCK: float(last.get(STUCK, 0)) + 1 if stuck else 0.0}


def _inside(agent: Agent, critic: torch.nn.Module, obs: Tensor, action: Tensor, at_bound: Tensor) -> float:
    """Of the actions at their bounds the share of those that the critic would have further inside: a dQ/da < 0."""
    with torch.enable_grad():
        a = action.detach().requires_grad_(True)
        q = agent.value(critic, obs, a).sum()
        if not q.requires_grad:
            return 0.0
        (slope,) = torch.autograd.grad(q, a, allow_unused=True)
    if slope is None:
        return 0.0
    back = (slope * action < 0) & at_bound
    return float(back.sum() / at_bound.sum().clamp(min=1))


def note(agent: Agent, metrics: Mapping[str, float | Tensor], step: int) -> str:
    """What to say of an actor that has been stuck for `LOOKS` looks; empty if it has not."""
    looks = int(metrics.get(STUCK, 0))
    if looks < LOOKS:
        return ""
    share, z = float(metrics["actor/saturation"]), float(metrics.get("actor/preactivation", math.nan))
    own = "agent.bounding=inverting, agent.preactivation_penalty=0.01 agent.preactivation_margin=2.5, "
    return (
        f"the actor is stuck at step {step:,}: {share:.0%} of its actions lie at their bounds, where the critic would "
        f"have most of them further inside, and with |z| = {z:.1f} its tanh lets no gradient through; begin anew with "
        f"{own if hasattr(agent, 'bounding') else ''}normalise_returns=popart or a smaller actor.optimizer.lr"
    )
