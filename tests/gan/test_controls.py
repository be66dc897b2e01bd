"""Every Lipschitz control and loss through the task's own path: alone, as a pure function, stacked; lazy penalties."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rlgan.gan.lipschitz import (
    R1,
    R2,
    Clip,
    Dragan,
    GradientPenalty,
    GroupSort,
    Lipschitz,
    NoControl,
    OneSided,
    SpectralNorm,
)
from rlgan.gan.losses import GANLoss, Hinge, LeastSquares, NonSaturating, Wasserstein
from rlgan.gan.wgan import WGAN
from rlgan.nets import MLPSpec, NetworkSpec, OrthogonalSpec
from rlgan.optim import Alternating, Consensus, Extragradient, Game, Simultaneous
from tests.gan.small import SMALL, make, train, vectors

TANH = MLPSpec(hidden=(8, 8), activation="tanh")
ORTHOGONAL = OrthogonalSpec(hidden=(8, 8))
BJORCK = OrthogonalSpec(hidden=(6, 6), group=3, method="bjorck", iterations=5)

#: Every control with a critic of its kind, a loss and an order of play; each of these occurs.
ROWS: dict[str, tuple[Lipschitz, NetworkSpec, GANLoss, Game]] = {
    "none": (NoControl(), TANH, LeastSquares(), Simultaneous()),
    "clip": (Clip(0.3), SMALL, Wasserstein(), Alternating(2)),
    "gradient_penalty": (GradientPenalty(0.5), SMALL, Wasserstein(), Extragradient()),
    "gradient_penalty-lazy": (GradientPenalty(0.5, every=3), SMALL, Wasserstein(), Alternating(2)),
    "one_sided": (OneSided(2.0), SMALL, Wasserstein(), Simultaneous()),
    "r1": (R1(0.5), TANH, NonSaturating(), Simultaneous()),
    "r1-lazy": (R1(0.5, every=2), TANH, NonSaturating(), Extragradient()),
    "r2": (R2(0.5), TANH, NonSaturating(), Alternating(1)),
    "dragan": (Dragan(0.5, scale=0.3), SMALL, Hinge(), Alternating(2)),
    "spectral_norm": (SpectralNorm(), SMALL, Hinge(), Alternating(2)),
    "spectral_norm-extragradient": (SpectralNorm(2), SMALL, Wasserstein(), Extragradient()),
    "spectral_norm-consensus": (SpectralNorm(), TANH, Wasserstein(), Consensus()),
    "groupsort": (GroupSort(), TANH, Hinge(), Alternating(2)),
    "groupsort-bjorck": (GroupSort(2.0, group=4, method="bjorck"), SMALL, Wasserstein(), Extragradient()),
    "orthogonal": (NoControl(), ORTHOGONAL, Wasserstein(), Alternating(2)),
    "orthogonal-bjorck": (NoControl(), BJORCK, Wasserstein(), Simultaneous()),
}


def task_of(name: str, seed: int = 3, **changes: Any) -> WGAN:
    lipschitz, critic, loss, game = ROWS[name]
    options: dict[str, Any] = {"precision": "float64", "seed": seed, "lr": 1e-3, **changes}
    return make(lipschitz=lipschitz, critic=critic, loss=loss, game=game, **options)


def close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.allclose(value, b[key], rtol=1e-10, atol=1e-10), key


@pytest.mark.parametrize("name", ROWS)
def test_every_control_stacked_is_the_run_alone(name: str) -> None:
    """Two seeds in one call, and the pure function of one of them, against each run eagerly by itself: 3 moves."""
    alone = [train(task_of(name, seed), 3) for seed in (3, 4)]
    together = [task_of(name, seed) for seed in (3, 4)]
    group = WGAN.together(together)
    pure = task_of(name)
    pure.update.compiled = True  # the pure function, not compiled
    start = vectors(pure)
    for _ in range(3):
        plays = [task.play() for task in together]
        requests = [next(play) for play in plays]
        asked = [(task.batches(), False) for task in together]
        assert [request.work for request in requests] == ["learn", "learn"]
        reports = group.stack([batches for batches, _ in asked], [False, False])
        for play, report in zip(plays, reports, strict=True):
            with pytest.raises(StopIteration):
                play.send(report)
        pure.advance()
    for task, expected in zip([*together, pure], [*alone, alone[0]], strict=True):
        close(vectors(task), vectors(expected))
        for tag, value in task.metrics().items():
            assert value == pytest.approx(expected.metrics()[tag], rel=1e-8, abs=1e-10), tag
    moved = vectors(pure)
    assert not torch.equal(start["critic/theta"], moved["critic/theta"])
    assert not torch.equal(start["generator/theta"], moved["generator/theta"])


@pytest.mark.parametrize("name", ["gradient_penalty-lazy", "r1-lazy", "dragan", "spectral_norm"])
def test_a_saved_run_goes_on_with_its_penalties_noise_and_buffers(name: str) -> None:
    whole, first, second = (task_of(name) for _ in range(3))
    train(whole, 5)
    train(first, 2)
    second.load_state_dict(first.state_dict())
    train(second, 3)
    a, b = vectors(whole), vectors(second)
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# --- lazy penalties ------------------------------------------------------------------------------------------------


def penalties(task: WGAN, moves: int) -> list[list[float]]:
    """How much there is of a penalty in every minibatch of every move."""
    found = []
    for _ in range(moves):
        batches = task.batches()
        found.append([float(batch.due) for batch in batches])
        task.move(batches, False)
    return found


def test_a_lazy_penalty_goes_by_the_critics_own_steps() -> None:
    """Alternating 2: steps 0 1 | 2 3 | 4 5, a penalty at 0, 3; the generator's minibatch comes third."""
    due = penalties(task_of("gradient_penalty-lazy"), 3)
    assert [row[:2] for row in due] == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    # Both minibatches of an extragradient move are of one step.
    assert penalties(task_of("r1-lazy"), 4) == [[1.0, 1.0], [0.0, 0.0]] * 2


def test_a_lazy_penalty_weighs_as_many_times_more_and_is_not_computed_between(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    penalty = GradientPenalty.penalty

    def counting(self: GradientPenalty, *arguments: Any) -> Tensor:
        calls.append("penalty")
        return penalty(self, *arguments)

    monkeypatch.setattr(GradientPenalty, "penalty", counting)
    every, lazy = (make(lipschitz=GradientPenalty(0.5, k), game=Simultaneous()) for k in (1, 4))
    for task in (every, lazy):
        task.advance()
    assert lazy.metrics()["critic/penalty"] == pytest.approx(4 * every.metrics()["critic/penalty"], rel=1e-6)
    calls.clear()
    lazy.advance()
    assert calls == [] and lazy.metrics()["critic/penalty"] == 0.0
    assert lazy.metrics()["critic/loss"] == pytest.approx(-lazy.metrics()["wasserstein/dual"], rel=1e-6)
    train(lazy, 3)
    assert calls == ["penalty"]


# --- what is logged and refused ------------------------------------------------------------------------------------


def test_only_the_wasserstein_loss_calls_its_value_a_dual() -> None:
    dual = train(make(lipschitz=GradientPenalty()), 1).metrics()
    other = train(make(lipschitz=R1(), loss=NonSaturating()), 1).metrics()
    assert "wasserstein/dual" in dual and "critic/gap" not in dual
    assert "critic/gap" in other and "wasserstein/dual" not in other


def test_a_critic_with_batch_norm_scores_real_and_fake_apart() -> None:
    """In one batch its normalisation would tell the one of the other: the score of a real sample moved by the fake."""
    spec = MLPSpec(hidden=(8,), norm="batch")
    task = make(critic=spec, lipschitz=Clip(0.3), precision="float64")
    batch = task.batch(task.generators)
    nets = task.update.eager.nets(("critic",))
    with torch.no_grad():
        loss, metrics = task.update.eager.losses.of["critic"](nets, batch)
        f_real, f_fake = task.critic.module(batch.x_real), task.critic.module(task.generator.module(batch.z))
    assert float(metrics["wasserstein/dual"]) == pytest.approx(float(f_real.mean() - f_fake.mean()), rel=1e-12)
    assert float(loss) == pytest.approx(-float(metrics["wasserstein/dual"]), rel=1e-12)


def test_spectral_norm_of_a_critic_that_has_no_such_layers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^critic.network = OrthogonalMLP: .*needs no control.*SpectralNorm"):
        make(critic=ORTHOGONAL, lipschitz=SpectralNorm())
