"""Optimizers for one player and for games between players: vectors, the step, the order of play."""

from rlgan.optim.errors import LineSearchFailed, NonFinite
from rlgan.optim.play.eager_field import EagerField
from rlgan.optim.play.field import GradientField, Losses, Nets, Position
from rlgan.optim.play.game import (
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
from rlgan.optim.play.player import Player
from rlgan.optim.play.pure_field import PureField
from rlgan.optim.play.spec import PlayerSpec
from rlgan.optim.second_order.full_batch import FullBatch, MinimisationTrace
from rlgan.optim.second_order.lbfgs import LBFGS
from rlgan.optim.second_order.newton import BFGS, ConjugateGradient, Newton, SteepestDescent
from rlgan.optim.stack import Stack
from rlgan.optim.step.averaging import (
    EMA,
    Average,
    NoAverage,
    Periodic,
    RunEMA,
    Several,
    UniformAverage,
    WeightedAverage,
)
from rlgan.optim.step.method import Descent, Method
from rlgan.optim.step.metric import AMS, RMS, AdaGrad, AdaGradFull, AdaGradNorm, Identity, Metric, VariableMetric
from rlgan.optim.step.momentum import GradientEMA, Momentum, NoMomentum, Velocity
from rlgan.optim.step.noise import GaussianNoise, Langevin, Noise, NoNoise, OrnsteinUhlenbeckNoise, Sphere
from rlgan.optim.step.presets import (
    AcceleGrad,
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
from rlgan.optim.step.projection import Ball, Box, NoProjection, Projection, Simplex, SpectralBall
from rlgan.optim.step.schedule import (
    Constant,
    CoolDown,
    Cosine,
    InverseSqrtHorizon,
    Linear,
    Piecewise,
    Power,
    Product,
    Schedule,
    Warmup,
)
from rlgan.optim.step.types import Metrics, Report
from rlgan.optim.step.vector import Vector
from rlgan.optim.torch_optim.from_torch import TorchMethod, from_torch
from rlgan.optim.two_players import TwoPlayers
from rlgan.optim.update import Update
