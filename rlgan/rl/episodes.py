"""Episodes without exploration: measure their returns, keep one with what the critic promised."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rlgan.nets.layers import in_evaluation_mode
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.rl.stage import Moment, at_once, moments, play
from rlgan.task.errors import Diverged
from rlgan.task.statistics import bootstrap_interval, interquartile_mean
from rlgan.task.task import attempt

UNSEEN = 0.2
"""Of the return after a state of an episode that was cut off, the share that may be unseen for `q_bias`."""


@dataclass(frozen=True)
class Judge:
    """A critic to be compared with the returns that followed.

    Args:
        critic: the network.
        value: `value(critic, obs, action)` is Q, (B,): an agent's `value`.
        discount: gamma.
        keep: keep the states and actions of the episodes (`EpisodeStatistics.visited`).
    """

    critic: nn.Module
    value: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
    discount: float
    keep: bool = False

    def q(self, obs: torch.Tensor, action: torch.Tensor) -> np.ndarray:
        """Q(s, a), (B,), for (B, obs_dim) and (B, action_dim)."""
        with torch.no_grad():
            return self.value(self.critic, obs, action).double().cpu().numpy()


@dataclass(frozen=True)
class EpisodeStatistics:
    """Undiscounted returns and lengths, both (episodes,); their spread is over episodes, not over seeds.

    `q_bias` is the critic's, where one was judged: the mean over the states that the episodes visited of
    Q(s_t, mu(s_t)) - Z_t, Z_t the discounted return that followed; positive where the critic promises too much. An
    episode that was cut off (a time limit) lacks its tail: in its place Z_t has gamma^(T-t) Q(s_T, mu(s_T)), the
    critic's own word, and states where this weighs more than `UNSEEN`, gamma^(T-t) > 0.2, are left out: a bias that is
    the same everywhere shows by four fifths at least. None where that leaves no state: at gamma = 0.99 cut-off episodes
    must have 161 steps (Pendulum's have 200).

    The returns are those of the task's own reward, whatever wrappers make of it; `shaped` (episodes,) are those that
    training sees, where they differ. The critic, which knows only these, is judged by these.

    `visited` are the states s_0, ..., s_{T-1} of all episodes (N, obs_dim) and their actions (N, action_dim) in
    [-1, 1], where the judge keeps them.
    """

    returns: np.ndarray
    lengths: np.ndarray
    q_bias: float | None = None
    shaped: np.ndarray | None = None
    visited: tuple[np.ndarray, np.ndarray] | None = None

    def metrics(self) -> dict[str, float]:
        """`return/eval`, the mean, and its companions, under their tags.

        `_std` is the standard deviation with n - 1 (0 for one episode), `_iqm` the interquartile mean (Agarwal et al.
        2021), `_low` and `_high` a 95 % bootstrap interval of the mean.
        """
        low, high = bootstrap_interval(self.returns)
        return {
            "return/eval": float(self.returns.mean()),
            "return/eval_std": float(self.returns.std(ddof=1)) if len(self.returns) > 1 else 0.0,
            "return/eval_iqm": interquartile_mean(self.returns),
            "return/eval_low": low,
            "return/eval_high": high,
            "return/eval_length": float(self.lengths.mean()),
            **({} if self.shaped is None else {"return/eval_shaped": float(self.shaped.mean())}),
            **({} if self.q_bias is None else {"critic/q_bias": self.q_bias}),
        }

    def notes(self, environment: Environment) -> list[str]:
        """What the numbers alone would hide, a sentence each."""
        found, notes = environment.found, []
        if self.shaped is not None:
            notes.append(
                "env.wrappers change the reward: return/eval is in the task's own, return/train and return/eval_shaped "
                "in that of training"
            )
        if (found.limit is None or found.limit > environment.cut) and (self.lengths >= environment.cut).any():
            notes.append(
                f"evaluation episodes of {environment.id} are cut after {environment.cut:,} steps; "
                "env.max_episode_steps=1000 sets a time limit, for training too"
            )
        if found.beside is not None:
            how = f"{found.beside} at a time" if found.beside else "in the one of training, which is lent for that time"
            notes.append(
                f"no more environments than {found.beside} can be open beside those of training ({found.reason}): "
                f"evaluation episodes are played {how}"
            )
        return notes


class _Score:
    """What n episodes have brought so far, and what the critic promised for them."""

    def __init__(self, episodes: int, judge: Judge | None) -> None:
        self._judge = judge
        self._returns, self._shaped = np.zeros(episodes), np.zeros(episodes)
        self._lengths = np.zeros(episodes, dtype=np.int64)
        self._cut = np.ones(episodes, dtype=np.bool_)
        self._rewards: list[np.ndarray] = []
        self._promised: list[np.ndarray] = []
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, moment: Moment) -> None:
        played = moment.played
        if played:
            self._returns[played] += moment.own[played]
            self._shaped[played] += moment.reward[played]
            self._lengths[played] += 1
            self._cut[played] = ~moment.terminated[played]
            self._rewards.append(moment.reward.copy())
        if self._judge is not None:
            self._promised.append(self._judge.q(moment.obs, moment.action))
            if self._judge.keep:
                self._seen.append((moment.obs.float().cpu().numpy(), moment.action.float().cpu().numpy()))

    def visited(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The states in which an action was taken, and the actions, time after time."""
        return [(obs[t < self._lengths], action[t < self._lengths]) for t, (obs, action) in enumerate(self._seen)]

    def errors(self) -> list[np.ndarray]:
        """What `q_errors` says of every episode; none where no critic is judged."""
        if self._judge is None:
            return []
        rewards, promises = np.stack(self._rewards, 1), np.stack(self._promised, 1)
        return [
            q_errors(promises[i], rewards[i, :steps], self._judge.discount, bool(self._cut[i]))
            for i, steps in enumerate(self._lengths)
        ]

    @staticmethod
    def statistics(scores: "Sequence[_Score]") -> EpisodeStatistics:
        """Of the episodes of all scores."""
        returns, shaped, lengths = (
            np.concatenate(column)
            for column in zip(*((score._returns, score._shaped, score._lengths) for score in scores), strict=True)
        )
        errors = [one for score in scores for one in score.errors()]
        every = np.concatenate(errors) if errors else np.zeros(0)
        differs = not np.allclose(returns, shaped, rtol=1e-9, atol=0.0)
        bias = float(every.mean()) if len(every) else None
        seen = [moment for score in scores for moment in score.visited()]
        visited = (np.concatenate([obs for obs, _ in seen]), np.concatenate([a for _, a in seen])) if seen else None
        return EpisodeStatistics(returns, lengths, bias, shaped if differs else None, visited)


def evaluate(
    actor: nn.Module,
    environment: Environment,
    episodes: int = 20,
    seed: int = 0,
    max_steps: int | None = None,
    judge: Judge | None = None,
    lender: VectorEnvironment | None = None,
) -> EpisodeStatistics:
    """Play `episodes` episodes (see `play`) and measure their returns.

    Every environment plays exactly one episode: taking the first n to end of a running set would favour short ones. The
    environments are new ones, so that training sees nothing of an evaluation and equal seeds mean equal start states.

    Args:
        actor: as in `play`; its own mode is left as it was.
        environment: as in `play`.
        episodes: how many.
        seed: episode i starts from `seed + i`.
        max_steps: length at which an episode is cut; the environment's own `cut` where none is given.
        judge: the critic whose bias is measured on the way.
        lender: the environments of training, of which one is borrowed where no other can be made.

    Raises:
        ValueError: episodes below 1.
        Diverged: an action, an observation or a reward is not finite.
        InputError: an environment raised, or gave what it may not.
    """
    _check_number(episodes)
    scores: list[_Score] = []
    done = 0
    with in_evaluation_mode(actor, *(() if judge is None else (judge.critic,))):
        while done < episodes:
            score = None
            for moment in play(actor, environment, episodes - done, seed + done, max_steps or environment.cut, lender):
                if score is None:
                    score = _Score(len(moment.reward), judge)
                    scores.append(score)
                    done += len(moment.reward)
                score.add(moment)
    return _Score.statistics(scores)


def evaluate_together(
    policies: Sequence[nn.Module],
    environment: Environment,
    episodes: int,
    seeds: Sequence[int],
    judges: Sequence[Judge | None],
    max_steps: int | None = None,
    lenders: Sequence[VectorEnvironment | None] = (),
) -> list[EpisodeStatistics | Exception]:
    """For every policy what `evaluate` returns or raises, to the last bit.

    All their episodes are steps of one batched environment, where there is one; else the policies take their turns.

    Args:
        policies: S actors, as in `play`; each sees the observations of its own episodes only.
        environment: as in `play`.
        episodes: how many for each of them.
        seeds: episode i of policy k starts from `seeds[k] + i`.
        judges: the critics whose bias is measured on the way, or None.
        max_steps: length at which an episode is cut; the environment's own `cut` where none is given.
        lenders: the environments of training of each of them, as in `evaluate`.

    Raises:
        ValueError: episodes below 1.
    """
    _check_number(episodes)
    stage = at_once(environment, len(policies) * episodes)
    if stage is None:
        turns = zip(policies, seeds, judges, lenders or [None] * len(policies), strict=True)
        return [
            attempt(evaluate, one, environment, episodes, seed, max_steps, judge, lender)
            for one, seed, judge, lender in turns
        ]
    scores = [_Score(episodes, judge) for judge in judges]
    failed: dict[int, Exception] = {}
    with in_evaluation_mode(*policies, *(judge.critic for judge in judges if judge is not None)):
        for each in moments(policies, environment, stage, episodes, seeds, max_steps or environment.cut):
            for k, moment in enumerate(each):
                if isinstance(moment, Diverged):
                    failed[k] = moment
                elif moment is not None:
                    scores[k].add(moment)
    return [failed[k] if k in failed else _Score.statistics([score]) for k, score in enumerate(scores)]


def _check_number(episodes: int) -> None:
    if episodes < 1:
        raise ValueError(f"episodes = {episodes}: must be at least 1, for example 20")


def q_errors(promised: np.ndarray, reward: np.ndarray, discount: float, cut: bool) -> np.ndarray:
    """Q(s_t, mu(s_t)) - Z_t of the states of one episode for which Z_t is known well enough (see `q_bias`).

    Args:
        promised: Q(s_t, mu(s_t)) at t = 0, ..., T, of the last observation too (T + 1,); what follows is ignored.
        reward: (T,).
        discount: gamma.
        cut: whether the episode could have gone on.
    """
    steps = len(reward)
    tail = float(promised[steps]) if cut else 0.0
    unseen = discount ** np.arange(steps, 0, -1.0) if cut else np.zeros(steps)
    errors: np.ndarray = promised[:steps] - discounted_returns(reward, discount, tail)
    return errors[unseen <= UNSEEN]


@dataclass(frozen=True)
class EpisodeTrace:
    """One episode of T steps: reward (T,), action (T, action_dim) in [-1, 1], q (T,) = Q(s_t, mu(s_t))."""

    reward: np.ndarray
    action: np.ndarray
    q: np.ndarray


def discounted_returns(reward: np.ndarray, discount: float, tail: float = 0.0) -> np.ndarray:
    """Z_t = sum_k discount^k r_{t+k} of the rewards (T,) of one episode, and `tail` after the last; (T,)."""
    returns = np.empty(len(reward))
    following = tail
    for t in range(len(reward) - 1, -1, -1):
        following = returns[t] = float(reward[t]) + discount * following
    return returns


def record(
    actor: nn.Module,
    judge: Judge,
    environment: Environment,
    seed: int = 0,
    max_steps: int = 10_000,
    lender: VectorEnvironment | None = None,
) -> EpisodeTrace:
    """Play one episode (see `play`) and keep it, with the critic's values."""
    rewards: list[float] = []
    actions: list[np.ndarray] = []
    values: list[float] = []
    with in_evaluation_mode(actor, judge.critic):
        for moment in play(actor, environment, 1, seed, max_steps, lender):
            rewards.extend(moment.reward[moment.played].tolist())
            actions.append(moment.action[0].cpu().numpy().astype(np.float32))
            values.append(float(judge.q(moment.obs, moment.action)[0]))
    return EpisodeTrace(np.array(rewards), np.stack(actions[:-1]), np.array(values[:-1]))
