"""Empirical risk minimisation: problems, losses, and the task of one player."""

from rlgan.erm.calibration import Calibration, Reliability
from rlgan.erm.erm import ERM
from rlgan.erm.losses import Auto, CrossEntropy, Hinge, Logistic, Loss, Squared
from rlgan.erm.problems.base import Labelled, Problem, Sample
from rlgan.erm.problems.chain import Chain
from rlgan.erm.problems.classes import Digits, TwoMoons
from rlgan.erm.problems.critical import MinmaxSaddle, MonkeySaddle, Plateaus, Product
from rlgan.erm.problems.curve import Curve
from rlgan.erm.problems.linear.logistic import LogisticRegression
from rlgan.erm.problems.linear.regression import LinearRegression, SparseFeatures
from rlgan.erm.problems.own.arrays import ArrayFile
from rlgan.erm.problems.own.folders import Folder
from rlgan.erm.problems.plane import Blobs, Rings
from rlgan.erm.problems.surfaces import Quadratic, Surface
from rlgan.erm.problems.valleys import AbsoluteDeviations, Crater, Ramp, RareLargeGradient, Rosenbrock, SteepThenFlat
from rlgan.erm.problems.wide import Wide
from rlgan.erm.problems.wilson import Wilson
