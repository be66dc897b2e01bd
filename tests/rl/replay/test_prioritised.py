"""Prioritised replay: the draw, the weights, the new priorities, and what a resumed run makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgan.optim import Constant
from rlgan.rl.agent import Agent
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.agents.td3 import TD3
from rlgan.rl.envs.environment import Environment
from rlgan.rl.losses import td_loss
from rlgan.rl.replay.prioritised import PrioritisedReplay, PrioritisedSampler, PrioritisedStore, SumTree
from rlgan.rl.replay.uniform import Layout
from rlgan.rl.trainer import Trainer
from rlgan.runs.record.checkpoint import storable
from rlgan.runs.training.seeds import drive_together
from rlgan.task.task import Play
from tests.rl.exploration.test_action_noise import through_file
from tests.rl.replay.test_uniform import steps
from tests.rl.test_trainer import trainer, vectors


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 37), st.lists(st.tuples(st.integers(0, 36), st.floats(0, 1e6)), max_size=40), st.data())
def test_a_draw_finds_the_leaf_in_whose_share_it_falls(
    size: int, writes: list[tuple[int, float]], data: st.DataObject
) -> None:
    """Against a cumulative sum; every sum is that of the leaves below it."""
    tree, leaves = SumTree(size), np.zeros(size)
    for i, value in writes:
        tree.set(np.array([i % size]), np.array([value]))
        leaves[i % size] = value
    assert np.array_equal(tree.leaves(size), leaves)
    assert tree.total == pytest.approx(leaves.sum(), rel=1e-12)
    if not leaves.any():
        return
    mass = np.array(data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=9))) * tree.total
    found = tree.find(mass)
    assert (leaves[found] > 0).all()
    edges = np.concatenate(([0.0], np.cumsum(leaves)))
    slack = 1e-9 * tree.total
    assert (edges[found] <= mass + slack).all() and (mass <= edges[found + 1] + slack).all()


def replay(alpha: float = 0.6, beta: float = 0.4, capacity: int = 50, rows: int = 40, **more: Any) -> PrioritisedStore:
    made = PrioritisedReplay(alpha, beta, schedule=more.pop("schedule", Constant())).make(
        Layout(capacity, 3, 2, **more)
    )
    assert isinstance(made, PrioritisedStore)
    for first in range(0, rows, 4):
        made.add(steps(first, (True, True, True, True)))
    return made


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_rows_are_drawn_in_proportion_to_their_priorities_and_weighted_by_their_inverse(alpha: float) -> None:
    store, generator = replay(alpha, beta=0.5), torch.Generator().manual_seed(0)
    error = np.linspace(0.1, 4.0, 40)
    store.refresh(np.arange(40), error)
    p = (error + 1e-6) ** alpha
    p /= p.sum()
    counts = np.zeros(40)
    for _ in range(600):
        index, weight = store.draw(20, generator)
        counts += np.bincount(index, minlength=40)
        own = (40 * p[index]) ** -0.5
        assert np.allclose(weight, own / own.max(), rtol=1e-12)
    # 12,000 draws; stratified ones spread less than the multinomial's sqrt(n p).
    assert (np.abs(counts - 12_000 * p) < 5 * np.sqrt(12_000 * p)).all()
    # Each of B parts of the sum gives one row.
    index, _ = store.draw(20, generator)
    assert alpha > 0 or np.array_equal(index // 2, np.arange(20))


def test_a_batch_is_the_rows_drawn_with_their_weights_and_repeats_with_its_generator() -> None:
    store = replay()
    store.refresh(np.arange(40), np.arange(40.0))
    sampler = store.sampler(16)
    assert isinstance(sampler, PrioritisedSampler)
    batch = sampler(torch.Generator().manual_seed(3))
    index, weight = store.draw(16, torch.Generator().manual_seed(3))
    assert np.array_equal(sampler.index, index) and batch.obs[:, 0].tolist() == index.tolist()
    assert torch.equal(batch.weight, torch.from_numpy(weight).float()) and batch.weight.max() == 1
    assert torch.equal(batch.obs * 2, batch.reward[:, None].expand(-1, 3))


def test_what_is_new_comes_in_with_the_largest_priority_and_what_is_learnt_gets_its_own() -> None:
    store = replay(alpha=0.5, rows=8)
    assert np.array_equal(store.tree.leaves(8), np.ones(8))
    sampler = store.sampler(4)
    sampler(torch.Generator().manual_seed(0))
    sampler.learn(lambda batch: batch.obs[:, 0] + 15.0)
    drawn = np.unique(sampler.index)  # type: ignore[attr-defined]
    expected = np.ones(8)
    expected[drawn] = np.sqrt(drawn + 15.0 + 1e-6)
    assert np.allclose(store.tree.leaves(8), expected, rtol=1e-12)
    largest = float(drawn.max() + 15.0 + 1e-6)
    store.add(steps(8, (True, False)))
    assert store.tree.leaves(9)[8] == pytest.approx(np.sqrt(largest))
    # A ring: the oldest row's place goes to a new one, with its priority.
    small = replay(alpha=1.0, capacity=8, rows=8)
    small.refresh(np.arange(8), np.full(8, 0.25))
    small.add(steps(8, (True,)))
    assert small.tree.leaves(8)[0] == 1.0 and small.tree.leaves(8)[1] == pytest.approx(0.25 + 1e-6)
    # What is not finite takes the largest and leaves the sums alone.
    small.refresh(np.array([3]), np.array([np.nan]))
    assert small.tree.leaves(8)[3] == 1.0 and np.isfinite(small.tree.total)


def test_beta_reaches_one_at_the_end_of_the_run() -> None:
    made = PrioritisedReplay(beta=0.4).make(Layout(100, 3, 2, horizon=80))
    assert isinstance(made, PrioritisedStore) and made.beta == pytest.approx(0.4)
    betas = []
    for first in range(0, 80, 4):
        made.add(steps(first, (True,) * 4))
        betas.append(made.beta)
    assert np.allclose(betas, 0.4 + 0.6 * np.arange(1, 21) / 20)


def test_the_critics_loss_is_weighted() -> None:
    q, y, w = torch.tensor([[1.0, 2.0], [0.0, 4.0]]), torch.tensor([[0.0, 4.0], [2.0, 4.0]]), torch.tensor([0.5, 1.0])
    assert td_loss(q[0], y[0], w).item() == pytest.approx((0.5 * 1 + 4) / 2)
    assert td_loss(q, y, w).item() == pytest.approx((0.5 * 1 + 4 + 0.5 * 4 + 0) / 4)
    assert td_loss(q[0], y[0], torch.ones(())) == td_loss(q[0], y[0])


@pytest.mark.parametrize("agent", [DDPG(0.9), TD3(0.9)], ids=lambda agent: type(agent).__name__)
@pytest.mark.parametrize("n_step", [1, 3])
def test_a_restored_run_goes_on_bit_for_bit(agent: Agent, n_step: int) -> None:
    env = Environment("Modest-v0", num_envs=2)
    given: dict[str, Any] = {"agent": agent, "replay": PrioritisedReplay(), "n_step": n_step, "capacity": 50}
    task, again = trainer(env, **given), trainer(env, **given)
    while task.steps_done < 70:
        task.advance()
    again.load_state_dict(through_file(storable(task.state_dict())))
    for _ in range(25):
        task.advance()
        again.advance()
    assert torch.equal(vectors(again), vectors(task)) and torch.equal(again.replay.rows, task.replay.rows)
    assert isinstance(task.replay, PrioritisedStore) and isinstance(again.replay, PrioritisedStore)
    assert np.array_equal(task.replay.tree._nodes, again.replay.tree._nodes)
    assert len(np.unique(task.replay.tree.leaves(50))) > 20


def test_the_priorities_of_a_run_are_the_errors_after_its_last_move() -> None:
    task = trainer(replay=PrioritisedReplay(alpha=1.0), batch_size=8)
    while task.steps_done < 40:
        task.advance()
    sampler = task._samplers[-1]
    assert isinstance(sampler, PrioritisedSampler) and isinstance(task.replay, PrioritisedStore)
    rows = task.replay.split(task.replay.rows[torch.from_numpy(sampler.index)])
    with torch.no_grad():
        q_t = task.critic.average(rows.next_obs, task.actor.average(rows.next_obs))
        y = rows.reward + 0.9 * (1 - rows.terminated) * q_t
        error = (y - task.critic.module(rows.obs, rows.action)).abs()
    assert np.allclose(task.replay.tree.get(sampler.index), error.numpy() + 1e-6, rtol=1e-5)


def test_seeds_side_by_side_are_the_seeds_alone() -> None:
    """Priorities are each seed's own, on modules that stay views of the stack: in float64, to 1e-12."""
    given: dict[str, Any] = {"agent": TD3(0.9), "replay": PrioritisedReplay(), "precision": "float64"}
    alone, stacked = ([trainer(seed=seed, **given) for seed in (0, 1)] for _ in range(2))

    def run(task: Trainer) -> Play[None]:
        while task.steps_done < 60:
            yield from task.play()

    for task in alone:
        while task.steps_done < 60:
            task.advance()
    assert drive_together([run(task) for task in stacked], Trainer.together(stacked)) == [None, None]
    for one, other in zip(alone, stacked, strict=True):
        assert one.critic.steps == other.critic.steps > 40
        assert (vectors(one) - vectors(other)).abs().max() < 1e-12


class Nameless(Agent):
    """An agent without `td_error`."""

    discount = 0.9
    critic_loss = DDPG.critic_loss
    actor_loss = DDPG.actor_loss


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrioritisedReplay(alpha=1.5), r"^alpha = 1.5: lies in \[0, 1\], for example 0.6"),
        (lambda: PrioritisedReplay(beta=-0.5), r"^beta = -0.5: lies in \[0, 1\]"),
        (lambda: PrioritisedReplay(epsilon=0.0), r"^epsilon = 0.0: must be positive"),
        (
            lambda: trainer(agent=Nameless(), replay=PrioritisedReplay()),
            r"^replay = PrioritisedReplay.*Nameless names none",
        ),
        (lambda: replay(rows=4).draw(8, torch.Generator()), r"^batch_size = 8: the replay holds only 4"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_remedy(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
