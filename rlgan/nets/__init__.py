"""Networks and the specifications that configurations build them from.

A specification (`MLPSpec`, `ConvSpec`, `DCGANSpec`, `ResNetSpec`, ...) is a frozen dataclass, the schema of one file
in ``conf/network``; it knows everything but the shapes. `NetworkSpec.build(inputs, outputs)` turns it into an ordinary
`torch.nn.Module` from ``(batch, *inputs)`` to ``(batch, *outputs)``; ``outputs = ()`` is a scalar per sample,
``(batch,)``: what a critic is.

Every network here is pure torch without data-dependent branches, so that it passes `torch.func.functional_call` under
grad, vmap and ``torch.compile(fullgraph=True)``. Parameters are drawn from torch's global generator: construct under a
seed.
"""

from rlgan.nets.by_size import BySizeSpec
from rlgan.nets.conv import ConvNet, ConvSpec
from rlgan.nets.dcgan import DCGANCritic, DCGANGenerator, DCGANSpec
from rlgan.nets.layers import DDPG_FINAL_BOUND, Activation, Init, NetworkSpec, Norm, Output, initialise
from rlgan.nets.linear import LinearSpec, PointSpec
from rlgan.nets.lipschitz.orthogonal import OrthogonalMLP, OrthogonalSpec
from rlgan.nets.lipschitz.spectral import spectrally_normalised
from rlgan.nets.mlp import MLP, Actor, LateQCritic, MLPSpec, QCritic
from rlgan.nets.resnet import ResNetCritic, ResNetGenerator, ResNetSpec
from rlgan.nets.single import Many, Single
from rlgan.nets.twin import PairedCritic, TwinQCritic, twin
