"""The optimizer module that both halves share: vectors, the step, the players and their games."""

from rlgan.optim.accelegrad import AcceleGrad
from rlgan.optim.averaging import EMA, Average, NoAverage, RunEMA
from rlgan.optim.eager_field import EagerField
from rlgan.optim.field import Field, Losses, Metrics, Nets, NonFinite, Position, Report
from rlgan.optim.game import (
    Alternating,
    Consensus,
    Extragradient,
    Game,
    Lookahead,
    Optimistic,
    PastExtrapolation,
    Simultaneous,
    Symplectic,
)
from rlgan.optim.method import Descent, Method
from rlgan.optim.metric import AMS, RMS, AdaGrad, AdaGradFull, AdaGradNorm, Identity, Metric, VariableMetric
from rlgan.optim.momentum import GradientEMA, Momentum, NoMomentum, Velocity
from rlgan.optim.noise import Gaussian, Langevin, Noise, NoNoise, OrnsteinUhlenbeck, Sphere
from rlgan.optim.player import Player, PlayerSpec
from rlgan.optim.presets import (
    adagrad,
    adagrad_full,
    adagrad_norm,
    adam,
    adamw,
    amsgrad,
    heavy_ball,
    nesterov,
    perturbed_sgd,
    rmsprop,
    rmsprop_nesterov,
    sgd,
    sgld,
    variable_metric,
)
from rlgan.optim.projection import Box, NoProjection, Projection
from rlgan.optim.pure_field import PureField
from rlgan.optim.schedule import Constant, Linear, Schedule
from rlgan.optim.update import Update, resolve_compile
from rlgan.optim.vector import Vector

__all__ = [
    "AMS",
    "EMA",
    "RMS",
    "AcceleGrad",
    "AdaGrad",
    "AdaGradFull",
    "AdaGradNorm",
    "Alternating",
    "Average",
    "Box",
    "Consensus",
    "Constant",
    "Descent",
    "EagerField",
    "Extragradient",
    "Field",
    "Game",
    "Gaussian",
    "GradientEMA",
    "Identity",
    "Langevin",
    "Linear",
    "Lookahead",
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
    "Optimistic",
    "OrnsteinUhlenbeck",
    "PastExtrapolation",
    "Player",
    "PlayerSpec",
    "Position",
    "Projection",
    "PureField",
    "Report",
    "RunEMA",
    "Schedule",
    "Simultaneous",
    "Sphere",
    "Symplectic",
    "Update",
    "VariableMetric",
    "Vector",
    "Velocity",
    "adagrad",
    "adagrad_full",
    "adagrad_norm",
    "adam",
    "adamw",
    "amsgrad",
    "heavy_ball",
    "nesterov",
    "perturbed_sgd",
    "resolve_compile",
    "rmsprop",
    "rmsprop_nesterov",
    "sgd",
    "sgld",
    "variable_metric",
]
