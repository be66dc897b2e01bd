"""The packed replay: what is stored, what is overwritten, what is drawn."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgan.rl.border.rows import Step
from rlgan.rl.replay.uniform import Layout, ReplayStore
from rlgan.runs.record.checkpoint import storable
from tests.rl import scripted
from tests.rl.scripted import in_mode


def steps(first: int, valid: tuple[bool, ...]) -> Step:
    """A step whose row i holds the number first + i in every field, scaled so that the fields differ."""
    number = np.arange(first, first + len(valid), dtype=np.float32)[:, None]
    columns = np.ones((1, 3), np.float32)
    odd = number[:, 0] % 2 == 1
    return Step(
        number * columns,
        number * columns[:, :2] / 1000,
        number[:, 0] * 2.0,
        -number * columns,
        odd,
        ~odd,
        np.array(valid),
        (),
    )


def stored(replay: ReplayStore) -> list[float]:
    fields = replay.split(replay.rows[: len(replay)])
    number = fields.obs[:, 0]
    assert torch.equal(fields.obs, number[:, None].expand(-1, 3))
    assert torch.allclose(fields.action, number[:, None].expand(-1, 2) / 1000)
    assert torch.equal(fields.reward, 2 * number) and torch.equal(fields.terminated, number % 2)
    assert torch.equal(fields.next_obs, -fields.obs)
    return number.tolist()


@settings(max_examples=80, deadline=None)
@given(st.integers(4, 9), st.lists(st.lists(st.booleans(), min_size=1, max_size=4), max_size=12))
def test_the_ring_holds_the_latest_valid_rows(capacity: int, masks: list[list[bool]]) -> None:
    replay, ring, first, position = ReplayStore(Layout(capacity, 3, 2)), [0.0] * capacity, 0, 0
    for mask in masks:
        assert replay.add(steps(first, tuple(mask))) == sum(mask)
        for i in np.flatnonzero(mask):
            ring[position % capacity] = float(first + i)
            position += 1
        first += len(mask)
    assert stored(replay) == ring[: min(position, capacity)] and len(replay) == min(position, capacity)


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_resets_are_not_stored_and_only_termination_masks(mode: str) -> None:
    env = in_mode(mode)("Scripted-v0").make(seed=6)
    replay = ReplayStore(Layout(100, 2, 1))
    for _ in range(30):
        replay.add(env.step(np.zeros((1, 1), np.float32)))
    rows = replay.split(replay.rows[: len(replay)])
    found = list(
        zip(*(x.tolist() for x in (rows.obs[:, 1], rows.reward, rows.next_obs[:, 1], rows.terminated)), strict=True)
    )
    assert found == [(o, r, n, float(term)) for o, r, n, term, _ in scripted.expected(6, len(replay))]
    assert len(replay) == env.steps


def test_samples_are_uniform_rows_and_repeat_with_their_generator() -> None:
    replay = ReplayStore(Layout(50, 3, 2))
    for i in range(0, 40, 4):
        replay.add(steps(i, (True,) * 4))
    counts = torch.zeros(40)
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        batch = replay.sample(40, generator)
        assert torch.equal(batch.obs[:, 0] * 2, batch.reward) and torch.equal(batch.next_obs, -batch.obs)
        counts += torch.bincount(batch.obs[:, 0].long(), minlength=40)
    # 20,000 draws: chi-square with 39 degrees of freedom; its 0.9999 quantile is 83.
    assert float(((counts - 500) ** 2 / 500).sum()) < 83
    twice = [replay.sample(8, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*twice, strict=True))


def test_a_batch_is_views_of_one_gather_and_the_sampler_draws_the_same_into_its_own_memory() -> None:
    replay = ReplayStore(Layout(50, 3, 2))
    replay.add(steps(0, (True,) * 30))
    batch = replay.sample(8, torch.Generator().manual_seed(1))
    assert {field.untyped_storage().data_ptr() for field in batch[:5]} == {batch.obs.untyped_storage().data_ptr()}
    assert [float(x) for x in (batch.discount, batch.weight, batch.noise)] == [1, 1, 0], (
        "what this replay has nothing to say of"
    )
    assert batch.reward.shape == batch.terminated.shape == (8,) and batch.obs.shape == batch.next_obs.shape == (8, 3)
    sampler = replay.sampler(8)
    first = sampler(torch.Generator().manual_seed(1))
    assert all(torch.equal(a, b) for a, b in zip(batch, first, strict=True))
    kept = batch.obs.clone()
    again = sampler(torch.Generator().manual_seed(2))
    assert again.obs.data_ptr() == first.obs.data_ptr() and not torch.equal(again.obs, kept)
    assert torch.equal(batch.obs, kept), "a batch of sample() is not overwritten"


def test_the_draw_does_not_depend_on_the_contents() -> None:
    replay, generators = ReplayStore(Layout(50, 3, 2)), [torch.Generator().manual_seed(1) for _ in range(2)]
    replay.add(steps(0, (True,) * 10))
    replay.sample(8, generators[0])
    replay.add(steps(10, (True,) * 30))
    replay.sample(8, generators[1])
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_holds_the_filled_rows_only_and_is_restored_exactly(dtype: torch.dtype) -> None:
    replay, fresh = (ReplayStore(Layout(7, 3, 2, dtype=dtype)) for _ in range(2))
    for first in (0, 4, 8):
        buffer = io.BytesIO()
        torch.save(storable(replay.state_dict()), buffer)
        buffer.seek(0)
        state = torch.load(buffer, weights_only=True)
        assert len(state["rows"]) == len(replay) and state["rows"].untyped_storage().nbytes() == state["rows"].nbytes
        fresh.load_state_dict(state)
        for each in (replay, fresh):
            each.add(steps(first, (True,) * 4))
        assert torch.equal(replay.rows, fresh.rows) and len(replay) == len(fresh)
        assert replay.added == fresh.added == first + 4
        assert replay.sample(4, torch.Generator()).obs.dtype == dtype


@pytest.mark.parametrize(("rows", "added"), [(4, 4), (7, 7), (9, 9), (30, 9)])
def test_a_state_of_before_there_was_added_goes_on_at_its_place(rows: int, added: int) -> None:
    replay, fresh = (ReplayStore(Layout(7, 3, 2)) for _ in range(2))
    for first in range(rows):
        replay.add(steps(first, (True,)))
    state = dict(replay.state_dict())
    del state["added"]
    fresh.load_state_dict(state)
    assert fresh.added == added
    for each in (replay, fresh):
        each.add(steps(rows, (True,) * 4))
    assert torch.equal(replay.rows, fresh.rows)
    newest = fresh.split(fresh.rows[(fresh.added - 1) % 7])
    assert newest.obs.tolist() == [rows + 3.0] * 3


def test_what_cannot_be_done_is_refused_with_its_remedy() -> None:
    replay = ReplayStore(Layout(7, 3, 2))
    replay.add(steps(0, (True,) * 3))
    for draw in (replay.sample, lambda size, generator: replay.sampler(size)(generator)):
        with pytest.raises(ValueError, match=r"^batch_size = 4: the replay holds only 3 transitions; collect more"):
            draw(4, torch.Generator())
    with pytest.raises(ValueError, match=r"^capacity = 0: must be at least 1"):
        ReplayStore(Layout(0, 3, 2))
    with pytest.raises(ValueError, match=r"^capacity = 1000000000000000: its rows need .* GiB"):
        ReplayStore(Layout(10**15, 3, 2))
    with pytest.raises(ValueError, match=r"^capacity = 7: smaller than one step of 8 environments"):
        replay.add(steps(0, (True,) * 8))
    with pytest.raises(ValueError, match=r"^capacity = 8: the saved replay has 7"):
        ReplayStore(Layout(8, 3, 2)).load_state_dict(replay.state_dict())
    with pytest.raises(ValueError, match=r"^replay rows = 10 x torch.float64: saved as 10 x torch.float32"):
        ReplayStore(Layout(7, 3, 2, dtype=torch.float64)).load_state_dict(replay.state_dict())
