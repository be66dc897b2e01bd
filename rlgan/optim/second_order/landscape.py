"""The landscape about a player: slices through its loss in filter-normalised directions, and a survey of one player."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rlgan.optim.play.player import Player
from rlgan.optim.play.pure_field import PureField
from rlgan.optim.play.whole_loss import player_loss as player_loss
from rlgan.optim.second_order.curvature import (
    PointKind,
    Scalar,
    classify,
    extremes,
    gradient_mapping,
    keskar_sharpness,
    optimal_step,
)
from rlgan.optim.step.vector import Vector

CHUNK = 16
"""Points of a slice that are evaluated at once."""
STEPS = 60
"""Hessian-vector products for the eigenvalues, at most; they stop at a relative error of 1e-7."""
ZERO = 1e-3
"""Gradient norms, and sizes of eigenvalues, that count as 0 in the classification."""


def filter_normalised(vector: Vector, theta: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction d (d,) whose every filter has the norm of theta's own: d_ij <- d_ij / |d_ij| |theta_ij|.

    A filter is a row of a linear layer's weight, or all that feeds one output channel of a (transposed) convolution.
    Biases and the parameters of norm layers get 0. Networks that compute the same with other scales (ReLU: one layer
    times c, the next over c) then have the same picture, which unscaled directions do not give.
    (Li et al. 2018, section 4.)

    Args:
        vector: says where in theta the tensors lie.
        theta: the point (d,).
        generator: where the direction is drawn, in float64 on its own device.
    """
    pieces = []
    for name, weight in vector.split(theta).items():
        draw = torch.randn(weight.shape, generator=generator, dtype=torch.float64, device=generator.device)
        if weight.ndim < 2:
            pieces.append(torch.zeros_like(weight).reshape(-1))
            continue
        owner = vector.module.get_submodule(name.rpartition(".")[0])
        out = 1 if isinstance(owner, nn.modules.conv._ConvTransposeNd) else 0
        others = [i for i in range(weight.ndim) if i != out]
        size = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
        unit = draw / torch.linalg.vector_norm(draw, dim=others, keepdim=True)
        pieces.append((unit.to(weight) * size).reshape(-1))
    return torch.cat(pieces)


class Slice(NamedTuple):
    """Coordinates (n,) along each direction, and the losses there: (n,), or (n, n) with the first direction first."""

    coordinates: Tensor
    losses: Tensor


def slice_1d(
    loss: Scalar, theta: Tensor, direction: Tensor, *, span: float = 1.0, points: int = 51, chunk: int = CHUNK
) -> Slice:
    """The loss along one direction: f(theta + a d) for `points` values of a in [-span, span].

    Args:
        loss, theta: the function and the point (d,).
        direction: d (d,), for example of `filter_normalised`.
        span: the largest |a|, positive.
        points: values of a; an odd number has theta itself among them.
        chunk: points that are evaluated at once.

    Raises:
        ValueError: if `span` is not positive, or `points` or `chunk` is below 1.
    """
    a = _coordinates(theta, span, points, chunk)
    return Slice(a, _evaluate(lambda c: loss(theta + c[0] * direction), a[:, None], chunk))


def slice_2d(
    loss: Scalar,
    theta: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    span: float = 1.0,
    points: int = 31,
    chunk: int = CHUNK,
) -> Slice:
    """The loss in a plane: f(theta + a d_1 + b d_2) on a grid of a, b in [-span, span]; losses[i, j] is at (a_i, b_j).

    Args and Raises as of `slice_1d`.
    """
    a = _coordinates(theta, span, points, chunk)
    losses = _evaluate(lambda c: loss(theta + c[0] * first + c[1] * second), torch.cartesian_prod(a, a), chunk)
    return Slice(a, losses.view(points, points))


def _coordinates(theta: Tensor, span: float, points: int, chunk: int) -> Tensor:
    if not span > 0:
        raise ValueError(f"span = {span}: must be positive, for example 1.0")
    for name, number in (("points", points), ("chunk", chunk)):
        if number < 1:
            raise ValueError(f"{name} = {number}: must be at least 1, for example 31")
    return torch.linspace(-span, span, points, dtype=theta.dtype, device=theta.device)


@torch.no_grad()
def _evaluate(loss: Callable[[Tensor], Tensor], coordinates: Tensor, chunk: int) -> Tensor:
    return torch.cat([torch.func.vmap(loss)(block) for block in coordinates.split(chunk)])


def player_mapping(player: Player, gradient: Tensor) -> Tensor:
    """`gradient_mapping` of a player (d,): on its own set, in its metric of the last step, lambda its base lr."""
    numbers = player.scalars(max(player.steps, 1))
    h = player.metric_diagonal(numbers)
    seen = h if player.projection.uses_metric else None
    project = functools.partial(player.projection, s=numbers, h=seen)
    return gradient_mapping(player.state["theta"], gradient, project, h, player.spec.optimizer.lr)


@dataclass(frozen=True)
class Landscape:
    """What a survey of one player found.

    Args:
        numbers: `samples` of the batch, `loss`, `gradient/norm`, for a projected player `gradient/mapping`, and
            `gradient/unprojected`, the mapping's norm if there were no projection; `eigenvalue/largest`,
            `eigenvalue/smallest` and their `..._error`, `step/optimal` (where it is finite), `sharpness/rise` and
            `sharpness/keskar` (where 1 + loss > 0).
        kind: the classification of the point.
        line, top: slices along a random direction, and along the eigenvector of the eigenvalue of largest size made as
            long as that (a quarter of the way: the steepest direction soon leaves what the eigenvalue says).
        plane: the slice through two random directions, the first that of `line`.
        notes: what a reader of the numbers has to know, one sentence each.
        where: the loss and the vector (d,), for whatever else is to be asked of them.
    """

    numbers: Mapping[str, float]
    kind: PointKind
    line: Slice
    top: Slice
    plane: Slice
    notes: tuple[str, ...] = ()
    where: tuple[Scalar, Tensor] | None = None


def survey(
    field: PureField,
    name: str,
    batch: Any,
    samples: int,
    *,
    notes: tuple[str, ...] = (),
    line_points: int = 51,
    plane_points: int = 31,
) -> Landscape:
    """Loss, curvature and slices of one player at its present vector, the other players and the batch held fixed.

    Nothing of any player, and no generator of training, is moved.

    Args:
        field: the players and their losses.
        name: which player.
        batch: what its loss takes; the larger, the closer to the loss in expectation.
        samples: in the batch, for the record.
        notes: what has to be known of the batch, for the record.
        line_points, plane_points: of the slices, per direction.
    """
    player, loss = field.players[name], player_loss(field, name, batch)
    vector, theta = player.vector, player.state["theta"].clone()
    ends = extremes(loss, theta, STEPS, tolerance=1e-7)
    point = classify(loss, theta, ZERO, flat=ZERO, known=ends)
    numbers = {"samples": samples, "loss": loss(theta).item(), "gradient/norm": point.gradient_norm}
    if player.projection.active:
        gradient: Tensor = torch.func.grad(loss)(theta)
        h = player.metric_diagonal()
        numbers["gradient/mapping"] = player_mapping(player, gradient).norm().item()
        numbers["gradient/unprojected"] = (gradient if h is None else gradient / h.sqrt()).norm().item()
    for end, pair in (("largest", ends.largest), ("smallest", ends.smallest)):
        numbers |= {f"eigenvalue/{end}": pair.value, f"eigenvalue/{end}_error": pair.error}
    sharp = keskar_sharpness(loss, theta)
    numbers |= {"step/optimal": optimal_step(loss, theta), "sharpness/rise": sharp.rise}
    numbers["sharpness/keskar"] = sharp.sharpness
    generator = torch.Generator().manual_seed(0)
    first, second = (filter_normalised(vector, theta, generator) for _ in range(2))
    steepest = max(ends.largest, ends.smallest, key=lambda end: abs(end.value)).vector * first.norm()
    return Landscape(
        {tag: number for tag, number in numbers.items() if math.isfinite(number)},
        point.kind,
        slice_1d(loss, theta, first, points=line_points),
        slice_1d(loss, theta, steepest, span=0.25, points=line_points),
        slice_2d(loss, theta, first, second, points=plane_points),
        notes,
        (loss, theta),
    )
