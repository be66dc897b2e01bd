"""Wasserstein GANs: data, losses, what keeps a critic Lipschitz, and what is measured."""

from rlgan.gan.data import (
    ArrayFile,
    Atoms,
    Cones,
    Data,
    Digits,
    Dirac,
    FiniteData,
    Folder,
    Funnel,
    Gaussians,
    Glyphs,
    Grid,
    HuggingFace,
    Mixture,
    Pair,
    Patches,
    Ring,
    Scaling,
    SwissRoll,
    Translation,
    TwoMoons,
)
from rlgan.gan.interpolation import Interpolation
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
    Penalty,
    SpectralNorm,
)
from rlgan.gan.losses import GANLoss, Hinge, LeastSquares, NonSaturating, Wasserstein
from rlgan.gan.wgan import WGAN
