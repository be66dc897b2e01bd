"""Two action values of one architecture as one network: every layer of both is one batched product."""

from typing import Any, final

import torch
from torch import Tensor, nn

from rlgan.nets.layers import couples_samples, linear, thin
from rlgan.nets.mlp import QCritic


class _Twin(nn.Module):
    """Two layers of one kind and shape, their parameters stacked: ``weight`` (2, ...) and ``bias`` (2, n).

    Args:
        first, second: the layers, whose values are taken.
    """

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack((first.weight.detach(), second.weight.detach())))
        self.bias = nn.Parameter(torch.stack((first.bias.detach(), second.bias.detach())))


@final
class TwinLinear(_Twin):
    """Two linear maps with weights of their own: ``(B, m)`` or ``(2, B, m) -> (2, B, n)``; ``weight`` is (2, n, m)."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 3:
            return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))
        # Both see the same input: one product with the weights on top of one another.
        y = linear(x, self.weight.flatten(0, 1), self.bias.flatten())
        return y.unflatten(-1, self.bias.shape).transpose(0, 1)

    def alone(self, x: Tensor) -> Tensor:
        """The first map alone: ``(B, m) -> (B, n)``."""
        return linear(x, self.weight[0], self.bias[0])


@final
class TwinLayerNorm(_Twin):
    """Two layer norms: ``(2, B, n) -> (2, B, n)``; ``weight`` is (2, n)."""

    def __init__(self, first: nn.LayerNorm, second: nn.LayerNorm) -> None:
        super().__init__(first, second)
        self.shape, self.eps = first.normalized_shape, first.eps

    def forward(self, x: Tensor) -> Tensor:
        normed = nn.functional.layer_norm(x, self.shape, eps=self.eps)
        return torch.addcmul(self.bias.unsqueeze(1), normed, self.weight.unsqueeze(1))

    def alone(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, self.shape, self.weight[0], self.bias[0], self.eps)


@final
class TwinQCritic(nn.Module):
    """Q_1 and Q_2, ``(B, obs_dim), (B, action_dim) -> (2, B)``; with `first`, Q_1 alone, ``(B,)``, at half the cost.

    The twin critics of Fujimoto et al. 2018, independent at first and as one player.

    Args:
        first, second: MLP critics of one shape, drawn apart; their values are taken. Without batch norm.
    """

    def __init__(self, first: QCritic, second: QCritic) -> None:
        super().__init__()
        twins: dict[type[nn.Module], type[_Twin]] = {nn.Linear: TwinLinear, nn.LayerNorm: TwinLayerNorm}
        pairs = zip(first.mlp.layers, second.mlp.layers, strict=True)
        self.layers = nn.ModuleList(twins[type(a)](a, b) if type(a) in twins else a for a, b in pairs)
        self._thin = first.mlp.linears[0].weight.shape

    def forward(self, obs: Tensor, action: Tensor, first: bool = False) -> Tensor:
        if action.requires_grad and thin(action, self._thin):
            x = torch.cat((obs.t(), action.t())).t()  # as in QCritic
        else:
            x = torch.cat((obs, action), -1)
        for layer in self.layers:
            x = layer.alone(x) if first and isinstance(layer, TwinLinear | TwinLayerNorm) else layer(x)
        return x.squeeze(-1)


@final
class PairedCritic(nn.Module):
    """As `TwinQCritic` for any two critics, which are called one after the other."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.critics = nn.ModuleList((first, second))

    def forward(self, obs: Tensor, action: Tensor, first: bool = False) -> Tensor:
        if first:
            alone: Tensor = self.critics[0](obs, action)
            return alone
        return torch.stack([critic(obs, action) for critic in self.critics])


def twin(first: nn.Module, second: nn.Module) -> nn.Module:
    """Both critics as one network ``(B, obs_dim), (B, action_dim) -> (2, B)``, in batched products where that can be.

    Args:
        first, second: of one architecture, ``(B, obs_dim), (B, action_dim) -> (B,)``.
    """
    if isinstance(first, QCritic) and isinstance(second, QCritic) and not couples_samples(first):
        return TwinQCritic(first, second)
    return PairedCritic(first, second)
