"""What an agent and its networks promise, tried once before the first step."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rlgan.nets.layers import in_evaluation_mode
from rlgan.optim import PlayerSpec, Update
from rlgan.optim.contract.calls import calling, check_tensor, foreign, refuse, twin_of
from rlgan.optim.contract.losses import built, check_losses, check_network, kept_buffers
from rlgan.rl.agent import Agent, NamesErrors, check_discount
from rlgan.rl.replay.uniform import ReplaySpec, Transition, UniformReplay
from rlgan.task.seeding import Generators, kept_globals
from rlgan.task.settings import Settings


def networks(
    agent: Agent, specs: Mapping[str, PlayerSpec], sizes: tuple[int, int], generators: Generators, at: Settings
) -> tuple[nn.Module, nn.Module]:
    """The actor and the critic of an agent.

    Args:
        agent: which builds them.
        specs: of the actor and of the critic.
        sizes: length of an observation and of an action.
        generators: of the run; the initialisers draw from them.
        at: device and dtype.

    Raises:
        ValueError: they are not built; names the method.
    """
    obs_dim, action_dim = sizes

    def make_actor() -> nn.Module:
        return agent.actor(specs["actor"].network, obs_dim, action_dim)

    def make_critic() -> nn.Module:
        return agent.critic_of(actor, specs["critic"].network, obs_dim, action_dim)

    with generators.init("actor"):
        key, piece, method = _maker(agent, "actor", specs["actor"])
        actor = built(key, piece, method, make_actor).to(at.torch_device, at.dtype)
    with generators.init("critic"):
        key, piece, method = _maker(agent, "critic", specs["critic"])
        critic = built(key, piece, method, make_critic).to(at.torch_device, at.dtype)
    return actor, critic


def _maker(agent: Agent, player: str, spec: PlayerSpec) -> tuple[str, object, str]:
    """Whose affair a player's network is: the agent's, if it makes it itself, or the specification's."""
    for name in ("actor",) if player == "actor" else ("critic", "critic_of"):
        if _written(agent, name):
            return "agent", agent, name
    return f"{player}.network", spec.network, "actor" if player == "actor" else "q_critic"


def _written(agent: Agent, name: str) -> bool:
    """Whether a method of an agent is not one of ours."""
    found = getattr(type(agent), name)
    return not str(getattr(found, "__module__", "")).startswith("rlgan.")


def check_agent(
    agent: Agent,
    specs: Mapping[str, PlayerSpec],
    update: Update,
    obs: Tensor,
    action_dim: int,
    batch_size: int,
    replay: ReplaySpec,
) -> None:
    """Try an agent that is not one of ours, or networks that are not: how it acts, its values, its losses.

    Neither uses nor moves a generator of training, and changes no player.

    Args:
        agent: a copy of it is tried, where it can be copied.
        specs: of the actor and of the critic.
        update: of the players.
        obs: an observation as the networks see it (obs_dim,).
        action_dim: length of an action.
        batch_size: of a minibatch.
        replay: which may go by TD errors.

    Raises:
        ValueError: as ``agent = Class: what is wrong; remedy``.
    """
    if not foreign(agent, *(spec.network for spec in specs.values())):
        return
    with kept_globals():
        trial = twin_of(agent)
        if not hasattr(trial, "discount"):
            raise refuse("agent", trial, "has no discount", "write discount: float = 0.99 into the class")
        check_discount(trial.discount)
        actor, critic = update.players["actor"].module, update.players["critic"].module
        batch = minibatch(obs, action_dim, batch_size, trial.noisy)
        key, piece, method = _maker(trial, "actor", specs["actor"])
        if key != "agent" and not _written(trial, "act"):
            check_network(key, piece, method, actor, [batch.obs], (action_dim,))
        _check_act(trial, actor, batch)
        _check_value(trial, specs["critic"], critic, batch)
        check_losses("agent", trial, update, batch, trial.losses())
        if isinstance(trial, NamesErrors) and not isinstance(replay, UniformReplay):
            with kept_buffers([actor, critic]), torch.no_grad(), calling("agent", trial, "td_error"):
                errors: object = trial.td_error(update.eager.nets(()), batch)
            check_tensor("agent", trial, "td_error", errors, (batch_size,), batch.obs)


def _check_act(agent: Agent, actor: nn.Module, batch: Transition) -> None:
    """In training of one environment, and in evaluation of many."""
    for rows in (batch.obs[:1], batch.obs):
        with kept_buffers([actor]), in_evaluation_mode(actor), torch.no_grad(), calling("agent", agent, "act"):
            action: object = agent.policy(actor)(rows)
        method = "act" if _written(agent, "act") else "actor's network"
        check_tensor("agent", agent, method, action, (len(rows), batch.action.shape[1]), rows)


def _check_value(agent: Agent, spec: PlayerSpec, critic: nn.Module, batch: Transition) -> None:
    """Q of a minibatch, as pictures and the critic's bias want it."""
    key, piece, method = _maker(agent, "critic", spec)
    what = f"{method}'s network"
    if _written(agent, "value"):
        key, piece, what = "agent", agent, "value"
    hint = f"build it for inputs {tuple(batch.obs.shape[1:])} and {tuple(batch.action.shape[1:])}, and outputs ()"
    with kept_buffers([critic]), torch.enable_grad():
        with calling(key, piece, what, hint):
            given: object = agent.value(critic, batch.obs, batch.action)
        value = check_tensor(key, piece, what, given, batch.reward.shape, batch.obs)
    if not value.requires_grad and what != "value":
        raise refuse(key, piece, f"{what} cuts off the gradient", "use no detach() or no_grad() in its forward")


def minibatch(obs: Tensor, action_dim: int, n: int, noisy: bool) -> Transition:
    """Made-up transitions about an observation (obs_dim,): n of them, no two alike, some of which end an episode."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(obs)

    seen = obs + 0.1 * drawn(n, len(obs))
    ends = (torch.arange(n) % 3 == 1).to(obs)
    rest = {"noise": drawn(n, action_dim)} if noisy else {}
    one = torch.ones((), dtype=obs.dtype, device=obs.device)
    return Transition(
        seen, drawn(n, action_dim).tanh(), drawn(n), ends, seen + 0.1 * drawn(n, len(obs)), one, one, **rest
    )
