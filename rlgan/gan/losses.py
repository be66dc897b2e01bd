"""GAN losses: pure functions of callables and batches.

SIGN. The critic MAXIMISES E f(x_real) - E f(x_fake). That number is logged as ``wasserstein/dual``; it is positive and
falls as training goes well. (Slide (19) of the lecture writes min_g max_f E f(g(z)) - E f(x), the same game with -f.)
"""

from collections.abc import Callable

from torch import Tensor

Critic = Callable[[Tensor], Tensor]
"""Scores samples: ``(batch, *shape) -> (batch,)``."""


def wasserstein_value(critic: Critic, x_real: Tensor, x_fake: Tensor) -> Tensor:
    """Value of the zero-sum game, E f(x_real) - E f(x_fake): the critic ascends it, the generator descends it.

    Over 1-Lipschitz f its supremum is the Wasserstein-1 distance (Kantorovich-Rubinstein); for a critic of Lipschitz
    constant L it is at most L times that distance. Arjovsky, Chintala & Bottou 2017 (arXiv:1701.07875), equation (3).

    Args:
        critic: f, ``(batch, *shape) -> (batch,)``. Real and fake samples are scored in two calls, so that a critic with
            batch norm sees each batch by itself.
        x_real, x_fake: samples ``(batch, *shape)``; the two batch sizes may differ.

    Returns:
        A scalar, in the units of f.
    """
    assert x_real.shape[1:] == x_fake.shape[1:], f"real {tuple(x_real.shape)} and fake {tuple(x_fake.shape)} differ"
    f_real, f_fake = critic(x_real), critic(x_fake)
    assert f_real.ndim == f_fake.ndim == 1, f"a critic returns (batch,), not {tuple(f_real.shape)}"
    return f_real.mean() - f_fake.mean()


def wasserstein_generator_loss(critic: Critic, x_fake: Tensor) -> Tensor:
    """-E f(x_fake): what the generator descends when it moves alone.

    `wasserstein_value` without the term that the generator cannot move, hence with the same gradient, at half the cost.
    Arjovsky, Chintala & Bottou 2017 (arXiv:1701.07875), Algorithm 1, line 10.

    Args:
        critic: f, ``(batch, *shape) -> (batch,)``.
        x_fake: samples of the generator ``(batch, *shape)``.
    """
    f_fake = critic(x_fake)
    assert f_fake.ndim == 1, f"a critic returns (batch,), not {tuple(f_fake.shape)}"
    return -f_fake.mean()
