"""What lies between two samples: the generator along a path between two latent vectors.

On a sphere, for latent vectors of many dimensions have nearly all the same length, and a straight line would leave the
lengths that the generator has seen (White 2016, "Sampling generative networks", section 2.1):

    z(t) = ( sin((1 - t) omega) z_a + sin(t omega) z_b ) / sin omega,    omega the angle between z_a and z_b
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rlgan.gan.pictures import image_grid, window
from rlgan.gan.wgan import WGAN
from rlgan.nets.layers import in_evaluation_mode
from rlgan.task.figure import COLOURS, REAL, figure, quiet
from rlgan.task.hooks.measures import Painter
from rlgan.task.seeding import Generators

if TYPE_CHECKING:
    from rlgan.task.task import Picture

_REAL, _FINE = 1000, 60


def between(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Vectors (pairs, steps, d) along the arcs from a (pairs, d) to b (pairs, d), ends included."""
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1)
    omega = torch.arccos(cosine)[:, None, None]
    t = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)[None, :, None]
    ends = a[:, None], b[:, None]
    arc = (torch.sin((1 - t) * omega) * ends[0] + torch.sin(t * omega) * ends[1]) / torch.sin(omega)
    straight = (1 - t) * ends[0] + t * ends[1]
    return torch.where(torch.sin(omega) > 1e-4, arc, straight)  # parallel vectors have no arc, or many


class Interpolation(Painter):
    """Samples along paths between latent vectors: rows of images, or curves in the plane.

    Every row goes from one sample to another. Where a generator has learnt the data by heart, a row jumps; where modes
    are separate, samples between them are on neither.

    Args:
        rows: pairs of latent vectors, the same ones at every step.
        columns: images in a row.

    Raises:
        ValueError: an impossible number, or a task without samples that can be drawn.
    """

    def __init__(self, rows: int = 6, columns: int = 10) -> None:
        if rows < 1 or columns < 2:
            raise ValueError(f"columns = {columns}: rows must be at least 1 and columns 2, for example columns=10")
        self.rows, self.columns = rows, columns

    def check(self, task: object) -> None:
        if not isinstance(task, WGAN) or not (task.subject.shows_images or task.data.shape == (2,)):
            raise ValueError("is for WGANs of images or of points in the plane; leave it out")

    def __call__(self, task: WGAN) -> Picture:
        subject = task.subject
        draws = Generators(task.generators.seed("interpolation"))
        images, generator = subject.shows_images, next(iter(subject.generators.values()))
        a, b = subject.latent(self.rows, draws), subject.latent(self.rows, draws)
        z = between(a, b, self.columns if images else _FINE)
        with torch.no_grad(), in_evaluation_mode(generator):
            samples = generator(z.flatten(0, 1))
        if images:
            return image_grid(samples, self.columns)
        real = subject.real(_REAL, draws).double().cpu().numpy()
        drawing = figure(5.0, 4.8)
        axes = drawing.add_subplot()
        axes.scatter(real[:, 0], real[:, 1], s=4, c=REAL, alpha=0.3, linewidths=0)
        for i, path in enumerate(samples.double().cpu().numpy().reshape(self.rows, -1, 2)):
            axes.plot(path[:, 0], path[:, 1], "-", color=COLOURS[i % len(COLOURS)], lw=1.4)
            axes.plot(path[[0, -1], 0], path[[0, -1], 1], "o", color=COLOURS[i % len(COLOURS)], ms=4)
        x0, x1, y0, y1 = window(np.concatenate([real, samples.double().cpu().numpy()]))
        axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal")
        quiet(axes, title=f"between latent vectors   step {task.steps_done:,}")
        return drawing
