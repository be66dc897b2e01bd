"""The same DDPG update in JAX: one jitted function of donated buffers, optax.adam."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
import torch
from jax.flatten_util import ravel_pytree
from torch import Tensor

from rlgan.rl.replay.uniform import Transition
from scripts.benchmarks.ddpg import DISCOUNT, LR, TAU

NETWORKS = ("critic", "actor", "critic_bar", "actor_bar")


def network(layers: Any, x: Any) -> Any:
    """Linear maps [(W (in, out), b (out,)), ...] with ReLU between."""
    *hidden, (w, b) = layers
    for w_k, b_k in hidden:
        x = jax.nn.relu(x @ w_k + b_k)
    return x @ w + b


def actor(layers: Any, obs: Any) -> Any:
    """mu(s), (batch, action_dim)."""
    return jnp.tanh(network(layers, obs))


def critic(layers: Any, obs: Any, action: Any) -> Any:
    """Q(s, a), (batch,)."""
    return network(layers, jnp.concatenate([obs, action], 1))[:, 0]


class JaxUpdate:
    """One update of the critic, then of the actor, then of both target networks; its numbers are `PlainUpdate`'s.

    Args:
        start: `PlainUpdate.parameters`.
        flat: keep each network as one vector, as rlgan does, and not as a tree of matrices, as is usual.
    """

    def __init__(self, start: Sequence[Tensor], flat: bool = False) -> None:
        quarter = len(start) // 4
        self.state: dict[str, Any] = {}
        self._tree: dict[str, Callable[[Any], Any]] = {}
        for k, name in enumerate(NETWORKS):
            layers = _layers(start[k * quarter : (k + 1) * quarter])
            vector, unravel = ravel_pytree(layers)
            self.state[name], self._tree[name] = (vector, unravel) if flat else (layers, lambda tree: tree)
        self._adam = optax.adam(LR)
        for name in ("critic", "actor"):
            self.state[f"{name}_slots"] = self._adam.init(self.state[name])
        self._step = jax.jit(self._update, donate_argnums=0)

    def _update(self, state: dict[str, Any], batch: Transition) -> dict[str, Any]:
        q = {name: functools.partial(_through, critic, self._tree[name]) for name in ("critic", "critic_bar")}
        mu = {name: functools.partial(_through, actor, self._tree[name]) for name in ("actor", "actor_bar")}
        q_t = q["critic_bar"](state["critic_bar"], batch.next_obs, mu["actor_bar"](state["actor_bar"], batch.next_obs))
        y = batch.reward + (1 - batch.terminated) * DISCOUNT * q_t

        def critic_loss(theta: Any) -> Any:
            return jnp.mean((q["critic"](theta, batch.obs, batch.action) - y) ** 2)

        new = dict(state)
        moved, new["critic_slots"] = self._adam.update(jax.grad(critic_loss)(state["critic"]), state["critic_slots"])
        new["critic"] = optax.apply_updates(state["critic"], moved)

        def actor_loss(theta: Any) -> Any:
            return -jnp.mean(q["critic"](new["critic"], batch.obs, mu["actor"](theta, batch.obs)))

        moved, new["actor_slots"] = self._adam.update(jax.grad(actor_loss)(state["actor"]), state["actor_slots"])
        new["actor"] = optax.apply_updates(state["actor"], moved)
        for name in ("critic", "actor"):
            new[f"{name}_bar"] = optax.incremental_update(new[name], state[f"{name}_bar"], TAU)
        return new

    def __call__(self, batch: Transition) -> None:
        """On a batch of `to_jax`; done when it returns, as the next action waits for it."""
        self.state = jax.block_until_ready(self._step(self.state, batch))

    def parameters(self) -> list[Tensor]:
        """In the order of `PlainUpdate.parameters`."""
        found = []
        for name in NETWORKS:
            for w, b in self._tree[name](self.state[name]):
                found += [torch.tensor(jax.device_get(w)).t(), torch.tensor(jax.device_get(b))]
        return found


def to_jax(batch: Transition) -> Transition:
    """A minibatch as JAX's arrays."""
    parts: list[Any] = [jnp.array(part.cpu().numpy()) for part in batch]
    return Transition(*parts)


def _through(function: Callable[..., Any], tree: Callable[[Any], Any], theta: Any, *inputs: Any) -> Any:
    return function(tree(theta), *inputs)


def _layers(parameters: Sequence[Tensor]) -> list[Any]:
    arrays = [jnp.array(p.detach().cpu().t().numpy() if p.ndim > 1 else p.detach().cpu().numpy()) for p in parameters]
    return list(zip(arrays[::2], arrays[1::2], strict=True))
