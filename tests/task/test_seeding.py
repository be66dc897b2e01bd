"""Named streams: stable, independent, carried by the state."""

from __future__ import annotations

import pytest
import torch

from rlgan.task.seeding import Generators, derive_seed


def test_seeds_are_the_same_on_every_machine_and_version() -> None:
    # Recorded: a change of these numbers changes every published run.
    assert derive_seed(1, "a") == 6180219377988042163
    assert len({derive_seed(seed, name) for seed in range(50) for name in ("a", "b", "ab")}) == 150


def test_a_stream_depends_on_seed_and_name_alone() -> None:
    one, two = Generators(3), Generators(3)
    two.torch("other"), two.numpy("more")
    assert torch.equal(torch.randn(4, generator=one.torch("x")), torch.randn(4, generator=two.torch("x")))
    assert one.torch("x") is one.torch("x") and one.numpy("x") is one.numpy("x")
    assert one.numpy("y").normal() == two.numpy("y").normal()


def test_state_is_restored_whether_the_generator_exists_yet_or_not() -> None:
    first = Generators(3)
    torch.randn(5, generator=first.torch("x")), first.numpy("y").normal(size=3)
    state = first.state_dict()
    early, late = Generators(3), Generators(3)
    early.torch("x"), early.numpy("y")
    for other in (early, late):
        other.load_state_dict(state)
    # A generator that is restored and not used yet still belongs to the next checkpoint.
    assert set(late.state_dict()["torch"]) == {"x"}
    expected = torch.randn(4, generator=first.torch("x")), first.numpy("y").normal()
    for other in (early, late):
        assert torch.equal(torch.randn(4, generator=other.torch("x")), expected[0])
        assert other.numpy("y").normal() == expected[1]


def test_a_state_of_another_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^seed = 4: the checkpoint was made with seed 3"):
        Generators(4).load_state_dict(Generators(3).state_dict())


def test_init_seeds_the_global_stream_inside_and_puts_it_back() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with Generators(3).init("critic"):
        one = torch.nn.Linear(3, 3).weight
    assert torch.equal(torch.get_rng_state(), before)
    with Generators(3).init("critic"):
        assert torch.equal(torch.nn.Linear(3, 3).weight, one)
