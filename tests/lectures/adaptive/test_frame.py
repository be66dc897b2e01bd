"""The uniform frame: its table against torch.optim and by hand, and the whole comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rlgan.erm import ERM
from rlgan.lectures.adaptive.frame import frame
from tests.lectures.shrunken import summary

CURVATURES = torch.tensor([0.3, 2.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("method", "settings", "theirs"),
    [
        ("sgd", {"lr": 0.1}, lambda p: torch.optim.SGD(p, lr=0.1)),
        ("heavy_ball", {"lr": 0.1, "rho": 0.7}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.7)),
        ("adagrad", {"lr": 0.1, "eps": 1e-10}, lambda p: torch.optim.Adagrad(p, lr=0.1)),
        ("rmsprop", {"lr": 0.1, "decay": 0.8, "eps": 1e-8}, lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.8)),
        (
            "adam",
            {"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "eps": 1e-8},
            lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.8, 0.95)),
        ),
    ],
)
def test_the_table_is_what_torch_does(method, settings, theirs) -> None:  # type: ignore[no-untyped-def]
    theta = torch.nn.Parameter(torch.tensor([1.0, -0.5], dtype=torch.float64))
    optimizer = theirs([theta])
    points, gradients = [theta.detach().numpy().copy()], []
    for _ in range(12):
        optimizer.zero_grad()
        (CURVATURES * theta**2).sum().div(2).backward()
        assert theta.grad is not None
        gradients.append(theta.grad.numpy().copy())
        optimizer.step()
        points.append(theta.detach().numpy().copy())
    found = frame(method, settings, np.array(gradients))
    assert found.residual(np.array(points), np.array(gradients)) < 1e-13
    assert found.effective_lr.shape == found.effective_momentum.shape == (12, 2)


def test_the_slides_recursion_agrees_at_the_first_step_only() -> None:
    g = np.array([[1.0, 2.0], [1.0, 1.0]])
    settings = {"lr": 0.1, "beta1": 0.9, "beta2": 0.75, "eps": 1e-8}
    right, literal = (frame("adam", settings, g, literal) for literal in (False, True))
    assert right.h[0].tolist() == pytest.approx([1, 2]) and literal.h[0].tolist() == right.h[0].tolist()
    # G_2 (1 - b^2) = b (1 - b) D_1 + (1 - b) D_2, and the slide has b D_1 in the place of the first.
    assert right.h[1, 1] == pytest.approx(((0.75 * 0.25 * 4 + 0.25) / (1 - 0.75**2)) ** 0.5)
    assert literal.h[1, 1] == pytest.approx(((0.75 * 4 + 0.25) / (1 - 0.75**2)) ** 0.5)
    with pytest.raises(ValueError, match=r"^method = amsgrad: is not in the table"):
        frame("amsgrad", settings, g)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERM, "pictures", lambda self: {})
    found = summary("24_uniform_frame", tmp_path / "run", "steps=60")
    assert found["seen"], found["rules"]
