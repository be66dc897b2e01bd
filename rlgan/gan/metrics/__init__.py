"""What a trained generator is measured by: exact W1, modes, the critic's slope, images' features, copies.

Everything here is for evaluation: it synchronises, works on the CPU in float64 where that matters, and moves no
generator of training.
"""

from rlgan.gan.metrics.features import DigitsClassifier, Extractor, Inception, Pixels
from rlgan.gan.metrics.images import Manifolds, frechet_distance, manifolds
from rlgan.gan.metrics.memorisation import Copying, Memorisation, membership_auc
from rlgan.gan.metrics.modes import COVERAGE_SAMPLES, DigitsJudge, ModeCoverage, mode_coverage
from rlgan.gan.metrics.slope import LEVEL, Gap, critic_lipschitz, dual_scalars, probe_points
from rlgan.gan.metrics.transport import PRIMAL_LIMIT, wasserstein_primal, wasserstein_sliced
