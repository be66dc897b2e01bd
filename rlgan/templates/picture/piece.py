"""A picture: a figure of a task, drawn at every evaluation."""

from typing import Any

from matplotlib.figure import Figure

from rlgan.task import Painter
from rlgan.task.figure import figure, quiet


class Mine(Painter):
    """A histogram of each player's weights.

    Args:
        bins: of the histogram, at least 1.
    """

    def __init__(self, bins: int = 50) -> None:
        if bins < 1:
            raise ValueError(f"bins = {bins}: must be at least 1, for example 50")
        self.bins = bins

    def check(self, task: Any) -> None:
        """Refuse, before the run, a task that cannot be drawn."""
        if not hasattr(task, "learner"):
            raise ValueError("is for a task with players; leave it out")

    def __call__(self, task: Any) -> Figure:
        """A figure, a uint8 array (height, width, channels), or several of them by name."""
        drawing = figure(4, 3)
        axes = drawing.subplots()
        for name, player in task.learner.players.items():
            axes.hist(player.vector.theta.detach().cpu().numpy(), self.bins, histtype="step", label=name)
        axes.legend()
        quiet(axes, "weight", "how many")
        return drawing
