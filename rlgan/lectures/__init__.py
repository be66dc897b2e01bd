"""The figures of four lectures, drawn from runs: conf/experiment/lecture/*.yaml name these functions.

Each takes the finished variants of a comparison by name, and settings of its own, and returns the picture with the
numbers that the rules of the experiment are about (rlgan.runs.compare).
"""

from rlgan.lectures.adaptive.accelegrad import accelegrad
from rlgan.lectures.adaptive.amsgrad import non_convergence
from rlgan.lectures.adaptive.frame import uniform_frame
from rlgan.lectures.adaptive.scales import scales, steep_then_flat
from rlgan.lectures.agents.bias import critic_bias
from rlgan.lectures.agents.exploring import exploring
from rlgan.lectures.agents.trade_off import exploration_and_exploitation
from rlgan.lectures.descent.averaging import averaging
from rlgan.lectures.descent.momentum import momentum
from rlgan.lectures.descent.rates import rates
from rlgan.lectures.games.collapse import mode_collapse
from rlgan.lectures.games.control import lipschitz_control
from rlgan.lectures.games.copying import memorisation
from rlgan.lectures.games.earth_mover import earth_movers_distance
from rlgan.lectures.games.orders import orders_of_play
from rlgan.lectures.landscapes.cool_down import cool_down
from rlgan.lectures.landscapes.loss_surface import loss_surface
from rlgan.lectures.landscapes.minibatches import minibatches
from rlgan.lectures.landscapes.plateaus import plateaus
from rlgan.lectures.landscapes.saddles import saddles
from rlgan.lectures.landscapes.steps import steps
from rlgan.lectures.networks.adaptive import adaptive_generalisation
from rlgan.lectures.networks.approximation import universal_approximation
from rlgan.lectures.networks.backpropagation import backpropagation
from rlgan.lectures.networks.depth import depth_and_batch_normalisation
from rlgan.lectures.networks.initialisations import initialisations
from rlgan.lectures.networks.lifting import lifting
from rlgan.lectures.networks.random_labels import random_labels
from rlgan.lectures.networks.sharpness import sharp_and_flat
from rlgan.lectures.networks.wide_network import wide_network
from rlgan.lectures.networks.width import width
