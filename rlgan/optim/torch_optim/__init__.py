"""The methods as `torch.optim.Optimizer` classes for a loop of your own, and torch.optim's classes as methods here."""

from rlgan.optim.torch_optim.from_torch import TorchMethod, from_torch
from rlgan.optim.torch_optim.torch_optimizer import (
    SGD,
    SGLD,
    AcceleGrad,
    AdaGrad,
    AdaGradFull,
    AdaGradNorm,
    Adam,
    AdamW,
    AMSGrad,
    HeavyBall,
    MethodOptimizer,
    Nesterov,
    PerturbedSGD,
    RMSProp,
    RMSPropNesterov,
)
