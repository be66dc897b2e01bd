"""The optimizer module that both halves share: vectors, the step, the players and their games."""

from rlgan.optim.averaging import EMA, Average, NoAverage, RunEMA
from rlgan.optim.field import EagerField, Field, Losses, Metrics, Nets, NonFinite, Position, PureField, Report
from rlgan.optim.game import Alternating, Game, Simultaneous
from rlgan.optim.method import Method, adam, heavy_ball, rmsprop, sgd
from rlgan.optim.metric import RMS, Identity, Metric
from rlgan.optim.momentum import GradientEMA, Momentum, NoMomentum, Velocity
from rlgan.optim.noise import Gaussian, Noise, NoNoise
from rlgan.optim.player import Player, PlayerSpec
from rlgan.optim.projection import Box, NoProjection, Projection
from rlgan.optim.schedule import Constant, Linear, Schedule
from rlgan.optim.update import Update, resolve_compile
from rlgan.optim.vector import Vector

__all__ = [
    "EMA",
    "RMS",
    "Alternating",
    "Average",
    "Box",
    "Constant",
    "EagerField",
    "Field",
    "Game",
    "Gaussian",
    "GradientEMA",
    "Identity",
    "Linear",
    "Losses",
    "Method",
    "Metric",
    "Metrics",
    "Momentum",
    "Nets",
    "NoAverage",
    "NoMomentum",
    "NoNoise",
    "NoProjection",
    "Noise",
    "NonFinite",
    "Player",
    "PlayerSpec",
    "Position",
    "Projection",
    "PureField",
    "Report",
    "RunEMA",
    "Schedule",
    "Simultaneous",
    "Update",
    "Vector",
    "Velocity",
    "adam",
    "heavy_ball",
    "resolve_compile",
    "rmsprop",
    "sgd",
]
