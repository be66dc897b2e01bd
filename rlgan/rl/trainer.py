"""The reinforcement learning task: actor -> exploration -> environments -> replay -> game, and back to the actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rlgan.nets.layers import in_evaluation_mode
from rlgan.optim import Game, NonFinite, PlayerSpec, TwoPlayers, ranks
from rlgan.optim.weights import begin_parts
from rlgan.rl import episodes, pictures, sizes, video
from rlgan.rl.agent import Agent, NamesErrors
from rlgan.rl.agents import contract, saturation
from rlgan.rl.agents.meanings import BETTER, EXPLAINED, GROUPS
from rlgan.rl.border.ended import EndedEpisodes
from rlgan.rl.border.functions import functions
from rlgan.rl.border.rows import Episode, Step
from rlgan.rl.envs.environment import Environment
from rlgan.rl.exploration.explorer import Exploration, Rollout
from rlgan.rl.known.measure import Best
from rlgan.rl.normalisation import NormalisedActor, Normaliser
from rlgan.rl.replay.finished import Finish
from rlgan.rl.replay.n_step import NStep
from rlgan.rl.replay.returns import Kind, Returns, check_rewritten
from rlgan.rl.replay.uniform import Layout, ReplaySpec, Transition, UniformReplay
from rlgan.rl.together import Trainers
from rlgan.task.errors import ConfigError, Diverged
from rlgan.task.hooks.function import Function
from rlgan.task.seeding import Generators, kept_globals
from rlgan.task.settings import Settings
from rlgan.task.task import Ended, Play, Request, Stackable, Together

if TYPE_CHECKING:
    from rlgan.optim.second_order.landscape import Landscape
    from rlgan.task.task import Picture, Video


class Trainer(Stackable):
    """Off-policy training of a deterministic actor and its critic. `steps` counts steps over all environments.

    Args:
        settings: of the run.
        agent: the losses.
        env: which environment, and how many of them. Of several ranks each has so many, and a replay of its own of
            `capacity`; the other sizes are of all ranks together.
        exploration: what is added to the actor while it collects experience.
        critic, actor: the two players; their averages are the target networks.
        game: the order of play.
        batch_size: transitions in a minibatch.
        capacity: transitions that the replay keeps.
        learning_starts: steps of uniformly random actions before the first update.
        updates_per_step: critic updates that a step buys (update-to-data ratio); the actor moves at the game's k-th.
        eval_episodes: episodes of an evaluation.
        n_step: steps of reward before the critic's own value is counted on (`rlgan.rl.replay.n_step`).
        replay: how minibatches are drawn; None: uniformly.
        normalise_obs: let the networks see observations of mean 0 and variance 1 (`rlgan.rl.normalisation`).
        obs_clip: bound of normalised observations, in standard deviations.
        normalise_returns, reward_scale: the units that the critic learns in (`rlgan.rl.replay.returns`).
        deploy: the actor that is evaluated, shown and handed on: the `last` one, or its `average` (the target network).

    Raises:
        ValueError: an impossible size or ratio, prioritised replay for an agent that names no errors.
    """

    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("return/eval", "max")
    better: ClassVar[Mapping[str, Literal["min", "max"]]] = BETTER
    headline: ClassVar[tuple[str, ...]] = ("return/train", "return/eval")
    family: ClassVar[str] = "rl"
    explained: ClassVar[Mapping[str, str]] = EXPLAINED
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = GROUPS

    def __init__(
        self,
        settings: Settings,
        agent: Agent,
        env: Environment,
        exploration: Exploration,
        critic: PlayerSpec,
        actor: PlayerSpec,
        game: Game,
        batch_size: int = 128,
        capacity: int = 1_000_000,
        learning_starts: int = 1_000,
        updates_per_step: float = 1.0,
        eval_episodes: int = 20,
        n_step: int = 1,
        replay: ReplaySpec | None = None,
        normalise_obs: bool = False,
        obs_clip: float = 5.0,
        normalise_returns: Kind = "none",
        reward_scale: float = 1.0,
        deploy: Literal["last", "average"] = "last",
    ) -> None:
        sizes.check(batch_size, capacity, learning_starts, updates_per_step, eval_episodes, obs_clip)
        replay = replay or UniformReplay()
        if not isinstance(replay, UniformReplay) and not isinstance(agent, NamesErrors):
            raise ValueError(
                f"replay = {replay}: goes by TD errors, and {type(agent).__name__} names none; give it a td_error, or "
                "use replay=uniform"
            )
        self.settings, self.agent, self.env, self.game = settings, agent, env, game
        self.title = type(agent).__name__.lower()
        rank, size = ranks.world()
        # A window of n steps is stored when its last step has been taken; of several ranks one may reset more often.
        self.learning_starts = max(learning_starts, batch_size * min(size, 2) + (n_step - 1) * env.num_envs * size)
        batch_size = ranks.share("batch_size", batch_size)
        self.updates_per_step, self.batch_size = updates_per_step, batch_size
        self.eval_episodes, self.steps_done = eval_episodes, 0
        self.generators = gens = Generators(settings.seed, rank)
        device, dtype = settings.torch_device, settings.dtype
        self.envs = env.make(gens.own_seed("environments") % 2**31)
        self.envs.largest, self.best_known = torch.finfo(dtype).max, Best(self.envs, env)
        obs_dim, action_dim = self.envs.obs_dim, self.envs.action_dim
        specs = {"critic": critic, "actor": actor}
        actor_module, critic_module = contract.networks(agent, specs, (obs_dim, action_dim), gens, settings)
        self._critic_steps = game.steps(("critic", "actor"))["critic"]
        self.learner = TwoPlayers(
            {"critic": critic_module, "actor": actor_module},
            specs,
            saturation.reporting(agent, agent.losses()) if normalise_returns == "popart" else agent.losses(),
            game,
            moves=self._moves_of(settings.steps),
            horizon=self._moves_of(settings.planned),
            noise=lambda name: gens.torch(f"noise/{name}", device, shared=True),
            compile=settings.compile,
            precision=settings.precision,
            seeds=len(settings.every_seed),
            shares_batch=True,
        )
        self.critic, self.actor = self.learner.players["critic"], self.learner.players["actor"]
        self.update = self.learner.update
        first = torch.from_numpy(self.envs.obs[0]).to(device, dtype)
        contract.check_agent(agent, specs, self.update, first, action_dim, batch_size, replay)
        self.returns = Returns.of(normalise_returns, reward_scale, agent, env.num_envs, game)
        if normalise_returns == "popart":
            check_rewritten(self.critic, agent.value, contract.minibatch(first, action_dim, batch_size, False), game)
        self.policy, self._deploys_average = agent.policy(self.actor.module), deploy == "average"
        self.windows = NStep(n_step, agent.discount, self.envs.num_envs, obs_dim, action_dim) if n_step != 1 else None
        planned, windows = ranks.part(settings.planned), self.windows is not None
        self.replay = replay.make(Layout(capacity, obs_dim, action_dim, dtype, device, windows, planned))
        self._samplers = [self.replay.sampler(batch_size) for _ in range(self.update.batches)]
        self.explorer = exploration.make(
            Rollout(env.num_envs, obs_dim, action_dim, gens.torch("exploration"), self.policy, planned)
        )
        self.normaliser = Normaliser(obs_dim, obs_clip, dtype, device) if normalise_obs else None
        self.finish = Finish(agent, env.num_envs, self.normaliser, self.returns)
        self.parts = begin_parts(normaliser=self.normaliser, returns=self.returns)
        self._credit, self._moves = 0.0, 0
        self._watch = False  # a log, evaluation or save is due whose move has not come yet
        self._ended = EndedEpisodes()
        self._last: Mapping[str, Tensor | float] = {}
        self._eval_notes: dict[str, None] = {}
        self._stuck = ""  # what was said of a stuck actor, once

    def play(self) -> Play[None]:
        """One step of all environments, and the updates that it buys."""
        count = 0
        while not count:  # a step in which every environment resets is no step
            count = ranks.sum_over_ranks((yield Request("collect")))
        self._watch |= self.settings.looks(self.steps_done, self.steps_done + count)
        self.steps_done += count
        self._ended.stamp(self.steps_done)
        if self.steps_done > self.learning_starts:
            self._credit += self.updates_per_step * min(count, self.steps_done - self.learning_starts)
            # Ten times 0.1 is a little less than 1 in floating point.
            while self._credit > self._critic_steps - 1e-9:
                self._credit -= self._critic_steps
                # The last move before a log is the one that is looked at.
                yield from self._learn(self._watch and self._credit <= self._critic_steps - 1e-9)

    def _learn(self, watch: bool) -> Play[None]:
        try:
            yield Request("learn", (watch,))
        except NonFinite as error:
            raise Diverged(
                f"step {self.steps_done}, update {self._moves + 1}: {error}. Nothing of this step was written. Try a "
                "lower critic.optimizer.lr, or look at the scale of the rewards"
            ) from error

    @classmethod
    def together(cls, tasks: Sequence[Any]) -> Together[Any]:
        return Trainers(tasks)

    def collect(self) -> int:
        """Act, step, store; the number of transitions."""
        warm = self.steps_done < self.learning_starts
        step = self.envs.step(self.random_actions() if warm else self.explorer.act(self.seen()))
        count = self.store(step)
        self.explorer.observe(step.ended, step.valid)
        for episode in step.episodes:
            self.note(episode)
        return count

    def random_actions(self) -> np.ndarray:
        """Those of the steps before `learning_starts`."""
        return self.envs.random_actions(self.generators.torch("random actions"))

    def store(self, step: Step) -> int:
        """Put a step's transitions into the replay, and their observations into the statistics; how many they are."""
        if self.normaliser is not None:
            # Every rank counts what all have seen, in one order: they see through the same statistics.
            for rows in ranks.rows_of_ranks(torch.from_numpy(step.obs[step.valid])):
                self.normaliser.observe(rows.numpy())
        self.finish.observe(step)
        if self.windows is None:
            return self.replay.add(step)
        self.replay.add(self.windows.push(step))
        return int(step.valid.sum())

    def note(self, episode: Episode) -> None:
        """Take note of an episode that has ended."""
        self._ended.note(episode)

    def seen(self) -> np.ndarray | Tensor:
        """The present observations, as the networks see them."""
        if self.normaliser is None:
            return self.envs.obs
        return self.normaliser(torch.from_numpy(self.envs.obs).to(self.settings.torch_device, self.settings.dtype))

    def learn(self, watch: bool) -> None:
        """Draw the minibatches of a move, and make it.

        Raises:
            NonFinite: a loss or gradient is not finite; nothing was written.
        """
        batches = self.draw()
        self.learnt(self.move(batches, watch), watch, batches[-1])

    def learnt(self, metrics: Mapping[str, Tensor | float], watch: bool, batch: Transition) -> None:
        """Take note of a move that was made, whose last minibatch was `batch`."""
        if watch:
            self._last = {**self._last, **saturation.look(self.agent, self.update, batch, self.returns, self._last)}
        self._moves += 1
        self._watch &= not watch
        for sampler in self._samplers:
            sampler.learn(self._td_error)
        if self.returns is not None:  # from here on the minibatch is in units of before
            metrics = self.returns.follow(metrics, self.critic)
        self._last = {**self._last, **metrics}
        every = self.explorer.adapt_every
        if every is not None and self._moves % every == 0:
            self.explorer.adapt(batch.obs)

    def draw(self) -> list[Transition]:
        """The minibatches of a move."""
        stream = self.generators.torch("replay", self.settings.torch_device)
        return [self.finish(sampler(stream), self.generators) for sampler in self._samplers]

    def _td_error(self, batch: Transition) -> Tensor:
        assert isinstance(self.agent, NamesErrors), "refused at the start"
        with torch.no_grad():
            return self.agent.td_error(self.update.eager.nets(()), batch)

    def metrics(self) -> dict[str, float]:
        learned = {k: float(v) for k, v in self._last.items()}
        return {**learned, **self._ended.metrics(), **self.explorer.metrics()}

    def counts(self) -> dict[str, float]:
        return {"progress/environment_steps": self.steps_done, **super().counts()}

    def ended_episodes(self) -> list[Ended]:
        return self._ended.take()

    @property
    def shown(self) -> nn.Module:
        # Made when it is asked for: a stack of seeds has averages of its own.
        return self.agent.policy(self.actor.average) if self._deploys_average else self.policy

    @property
    def deployed(self) -> nn.Module:
        """`shown` on observations as the environment gives them, (B, obs_dim) -> (B, action_dim) in [-1, 1]."""
        return self.shown if self.normaliser is None else NormalisedActor(self.shown, self.normaliser)

    @property
    def judge(self) -> episodes.Judge:
        """The critic on observations as the environment gives them."""
        return episodes.Judge(self.critic.module, self._value, self.agent.discount, bool(self.best_known))

    def _value(self, critic: nn.Module, obs: Tensor, action: Tensor) -> Tensor:
        q = self.agent.value(critic, obs if self.normaliser is None else self.normaliser(obs), action)
        return q if self.returns is None else self.returns(q)

    @property
    def evaluation_seed(self) -> int:
        """Of the episodes of an evaluation."""
        return self.generators.seed("evaluation") % 2**31

    def evaluate(self) -> dict[str, float]:
        seed = self.evaluation_seed
        with kept_globals(seed):
            n, judge = self.eval_episodes, self.judge
            played = episodes.evaluate(self.deployed, self.env, n, seed, judge=judge, lender=self.envs)
        return self.measured(played)

    def measured(self, played: episodes.EpisodeStatistics) -> dict[str, float]:
        """The metrics of an evaluation; what they do not tell becomes a note."""
        self._eval_notes |= dict.fromkeys(played.notes(self.env))
        if (stuck := saturation.note(self.agent, self._last, self.steps_done)) and not self._stuck:
            self._stuck = stuck
            self._eval_notes[stuck] = None
        self._settle()
        found = self.best_known.metrics(played, self.evaluation_seed, self.agent.discount, self.functions)
        return played.metrics() | found

    def _settle(self) -> None:
        """Drop what is open of an environment that was lent and stands elsewhere."""
        self.finish.settle(self.envs.rows.length)
        if self.windows is not None and self.env.found.beside == 0:
            self.windows.load_state_dict(self.windows.state_dict(), self.envs.obs)

    def pictures(self) -> dict[str, Picture]:
        seed = self.generators.seed("pictures") % 2**31
        with kept_globals(seed):
            trace = episodes.record(self.deployed, self.judge, self.env, seed, lender=self.envs)
        self._settle()
        return {"evaluation/episode": pictures.episode(trace, self.agent.discount, self.env.id, self.steps_done)}

    def videos(self) -> dict[str, Video]:
        """The first episode of an evaluation."""
        return {"episode": video.film(self.deployed, self.env, self.evaluation_seed, lender=self.envs)}

    def functions(self) -> dict[str, Function]:
        return functions(self.shown, self.critic.module, self.agent.value, self.finish, self.envs, self.env)

    def curvature(self) -> dict[str, Landscape]:
        """The losses near the present players, on 1,024 transitions of the replay, or on all it has."""
        if len(self.replay) == 0:
            raise ConfigError("curvature = true: the replay of this checkpoint is empty; choose a later checkpoint")
        batch, held = self._held("curvature", most := sizes.CURVATURE_SAMPLES)
        notes = (f"curvature on all {held} transitions of the replay, which holds fewer than {most}",)
        return self.learner.curvature(batch, held, notes if held < most else ())

    def _held(self, name: str, most: int) -> tuple[Transition, int]:
        """So many transitions of the replay, or all that it has, and their number; of streams called `name`."""
        held, generators = min(len(self.replay), most), Generators(self.generators.seed(name))
        if held < most:
            batch = self.replay.split(self.replay.rows[:held].clone())
        else:
            batch = self.replay.sample(held, generators.torch("replay"))
        return self.finish(batch, generators), held

    def histograms(self) -> dict[str, Tensor]:
        if len(self.replay) == 0:
            return self.learner.histograms(None)
        batch, _ = self._held("histograms", self.batch_size)
        with torch.no_grad(), in_evaluation_mode(self.policy):
            chosen = {"actions/policy": self.policy(batch.obs), "actions/taken": batch.action}
        return {**self.learner.histograms(batch), **chosen}

    def _moves_of(self, steps: int) -> int:
        return max(int(max(steps - self.learning_starts, 0) * self.updates_per_step) // self._critic_steps, 1)

    def laid_out(self, horizon: int, ahead: int = 0) -> dict[str, float]:
        found = self.learner.laid_out(self._moves_of(horizon), int(ahead * self.updates_per_step) // self._critic_steps)
        horizon, ahead = ranks.part(horizon), ranks.part(ahead)
        return {**found, **self.explorer.laid_out(horizon, ahead), **self.replay.laid_out(horizon, ahead)}

    def notes(self) -> list[str]:
        idle = sizes.idle(self.settings.steps, self.learning_starts, self.updates_per_step, self._critic_steps)
        return [*self.learner.notes(), *idle, *self.envs.notes(), *self.explorer.notes(), *self._eval_notes]

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps_done": self.steps_done,
            "players": self.update.state_dict(),
            "generators": self.generators.state_dict(),
            "replay": self.replay.state_dict(),
            "windows": None if self.windows is None else self.windows.state_dict(),
            "explorer": self.explorer.state_dict(),
            **self.finish.state_dict(),
            "environments": self.envs.state_dict(),
            "credit": self._credit,
            "moves": self._moves,
            "watch": self._watch,
            "returns": self._ended.returns,
            "last": {k: float(v) for k, v in self._last.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.finish.load_state_dict(state)
        self.steps_done = state["steps_done"]
        self.update.load_state_dict(state["players"])
        self.replay.load_state_dict(state["replay"])
        self.envs.load_state_dict(state["environments"])
        self.finish.settle(self.envs.rows.length)
        if self.windows is not None:
            self.windows.load_state_dict(state["windows"], self.envs.obs)
        self.explorer.load_state_dict(state["explorer"])
        self._credit, self._moves = state["credit"], state["moves"]
        self._watch, self._last = state["watch"], state["last"]
        self._ended.restore(state["returns"])
        self.generators.load_state_dict(state["generators"])

    def close(self) -> None:
        self.envs.close()
