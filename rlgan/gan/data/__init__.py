"""Where real samples come from: distributions with known modes, pairs with a known distance, images.

Every draw is independent and identically distributed, with a generator and in draws of fixed shape: so it resumes
exactly, stacks over seeds, and a batch needs no state but its generator's. A finite data set is drawn from WITH
replacement, which makes the empirical distribution the one that is learnt; there are no epochs.

Samples are drawn in float32 whatever the precision of a run (cast them), so that runs of either precision see the same.
"""

from rlgan.gan.data.base import Data, FiniteData
from rlgan.gan.data.digits import Digits
from rlgan.gan.data.displaced import Funnel, Patches, Scaling, Translation
from rlgan.gan.data.glyphs import Glyphs
from rlgan.gan.data.images import ArrayFile, Folder, HuggingFace, Images
from rlgan.gan.data.pairs import Atoms, Cones, Gaussians, Pair
from rlgan.gan.data.plane import Dirac, Grid, Mixture, Ring, SwissRoll, TwoMoons
