"""The critic of DDPG's paper, whose action enters at a later layer: by hand, gradients, stacked seeds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

from rlgan.nets import LateQCritic, MLPSpec, PairedCritic, QCritic, twin
from tests.runs.test_seeds import follow
from tests.small import TASKS

OBS, ACTION, BATCH = 3, 2, 7


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in module.parameters()]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((BATCH, OBS), (BATCH, ACTION))
    obs, action = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return 3 * obs + 1, action


def test_the_papers_critic_by_hand() -> None:
    """Batch norm of the observation and of the first layer, none from the action on (Lillicrap et al. 2016)."""
    spec = MLPSpec(hidden=(5, 4), norm="batch", init="ddpg", norm_input=True, action_layer=1)
    critic = spec.q_critic(OBS, ACTION).double()
    assert isinstance(critic, LateQCritic)
    g0, b0, w1, c1, g1, b1, w2, c2, w3, c3 = weights(critic)
    assert [w.shape for w in (w1, w2, w3)] == [(5, OBS), (4, 5 + ACTION), (1, 4)]
    assert w2.abs().max() <= 1 / (5 + ACTION) ** 0.5 and w3.abs().max() <= 3e-3
    for tensor in (g0, b0, g1, b1):  # in place: gamma and beta other than 1 and 0
        tensor.normal_(generator=torch.Generator().manual_seed(1))

    def normed(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        return gamma * (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() + beta

    obs, action = batch()
    h = normed(normed(obs, g0, b0) @ w1.T + c1, g1, b1).clamp(min=0)
    h = (torch.cat((h, action), 1) @ w2.T + c2).clamp(min=0)
    torch.testing.assert_close(critic(obs, action), (h @ w3.T + c3)[:, 0], rtol=1e-12, atol=1e-14)
    # In evaluation by the running averages, one sample at a time.
    critic.eval()
    alone = torch.cat([critic(obs[i : i + 1], action[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(critic(obs, action), alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_layer_norm_is_on_all_layers_and_the_action_enters_where_it_is_said(layer: int) -> None:
    critic = (
        MLPSpec(hidden=(5, 4, 6), activation="tanh", norm="layer", action_layer=layer).q_critic(OBS, ACTION).double()
    )
    *hidden, w, c = weights(critic)
    obs, action = batch()
    h = obs
    for k in range(3):
        x = torch.cat((h, action), 1) if k == layer else h
        weight, bias, gamma, beta = hidden[4 * k : 4 * k + 4]
        y = x @ weight.T + bias
        y = (y - y.mean(1, keepdim=True)) / (y.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        h = torch.tanh(gamma * y + beta)
    x = torch.cat((h, action), 1) if layer == 3 else h
    torch.testing.assert_close(critic(obs, action), (x @ w.T + c)[:, 0], rtol=1e-12, atol=1e-14)
    # One sample without a batch, as inside vmap.
    torch.testing.assert_close(critic(obs[0], action[0]), critic(obs, action)[0])


def test_the_gradient_by_the_action_is_that_of_differences_and_vmap_over_weights_agrees() -> None:
    spec = MLPSpec(hidden=(16, 8), activation="tanh", action_layer=1)
    critics = [spec.q_critic(OBS, ACTION).double() for _ in range(3)]
    obs, action = batch()
    assert torch.autograd.gradcheck(lambda a: critics[0](obs, a), (action.requires_grad_(),))
    parameters = [dict(critic.named_parameters()) for critic in critics]
    stacked = {name: torch.stack([p[name].detach() for p in parameters]) for name in parameters[0]}

    def call(p: dict[str, torch.Tensor]) -> Any:
        return functional_call(critics[0], p, (obs, action))

    found = torch.func.vmap(call)(stacked)
    torch.testing.assert_close(found, torch.stack([critic(obs, action) for critic in critics]))


def test_zero_is_the_usual_critic_and_twins_are_called_one_after_the_other() -> None:
    assert isinstance(MLPSpec(hidden=(4,)).q_critic(OBS, ACTION), QCritic)
    first, second = (MLPSpec(hidden=(4, 4), action_layer=1).q_critic(OBS, ACTION).double() for _ in range(2))
    both = twin(first, second)
    assert isinstance(both, PairedCritic)
    obs, action = batch()
    torch.testing.assert_close(both(obs, action), torch.stack((first(obs, action), second(obs, action))))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^action_layer = 3: there are 2 hidden layers"):
        MLPSpec(hidden=(4, 4), action_layer=3)
    with pytest.raises(ValueError, match=r"^norm_input = true: is a batch norm, and norm is layer; set norm=batch"):
        MLPSpec(norm="layer", norm_input=True)


def test_the_papers_networks_stack_over_seeds() -> None:
    """To 1e-12 of the largest parameter, in float64, acting by the running averages of batch norm.

    By SGD: a shift that the next batch norm takes away has a gradient of zero and rounding, which Adam makes a step of.
    """
    words = ("task=ddpg", "experiment=rl/lillicrap", *TASKS["ddpg"][1:], "precision=float64", "steps=90")
    small = ("critic.network.hidden=[16,8]", "actor.network.hidden=[16,8]")
    by = ("optimizer@critic.optimizer=sgd", "optimizer@actor.optimizer=sgd")
    follow((*words, *small, *by, "critic.optimizer.lr=1e-2", "actor.optimizer.lr=1e-2"), (0, 4), 90, 1e-12)
