"""The lecture on the earth mover's distance: plans by hand, and the comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.lectures.games.earth_mover import least_by_a_map, transport_plan
from tests.lectures.shrunken import summary


def test_on_a_line_sorted_points_go_to_sorted_points() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 1)), rng.normal(1, 2, size=(40, 1))
    plan = transport_plan(x, y)
    expected = np.abs(np.sort(x[:, 0]) - np.sort(y[:, 0])).mean()
    assert plan.primal == pytest.approx(expected) and plan.dual == pytest.approx(expected)
    assert np.allclose(plan.mass.sum(0), 1 / 40) and np.allclose(plan.mass.sum(1), 1 / 40)


def test_an_atom_is_split_in_the_masses_that_are_asked_for() -> None:
    plan = transport_plan(np.zeros((1, 2)), np.array([[3.0, 0], [0, 4.0]]), np.ones(1), np.array([0.25, 0.75]))
    assert np.allclose(plan.mass, [[0.25, 0.75]]) and plan.primal == pytest.approx(0.25 * 3 + 0.75 * 4)


def test_between_two_atoms_a_map_gains_nothing_and_beyond_them_it_loses() -> None:
    y, b = np.array([[-1.0], [1.0]]), np.array([0.5, 0.5])
    assert least_by_a_map(y, b, np.linspace(-1, 1, 9)[:, None]) == pytest.approx(1)
    assert least_by_a_map(y, b, np.array([[2.0], [-3.0]])) == pytest.approx(2)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    words = ("steps=2", "eval_every=1", "seeds=1", "critic.network.hidden=[16,16]", "~compare.variants.gaussians")
    numbers = summary("17_earth_mover", tmp_path / "run", *words)["numbers"]
    assert numbers["primal_cones"] == pytest.approx(1, abs=1e-5) and numbers["split"] == pytest.approx(0.5)
    # Of slope 1 at most whatever it has learnt: so the gap is no more than the distance, on any draws.
    assert numbers["dual_cones_largest"] < 1.0001 and numbers["slope_along_plan"] < 1.0001
    assert numbers["map_leaves"] == pytest.approx(1)
