"""What data, networks, a Lipschitz control and a loss promise each other, tried once before the first step."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from rlgan.gan.data.base import Data
from rlgan.gan.lipschitz import DifferentiableCritic, Lipschitz, Penalty
from rlgan.gan.losses import GANLoss
from rlgan.nets import BySizeSpec, MLPSpec
from rlgan.optim import Projection
from rlgan.optim.contract.calls import calling, check_tensor, foreign, refuse, shown, twin_of
from rlgan.optim.contract.losses import built, check_network, check_scalar, kept_buffers
from rlgan.task.seeding import kept_globals


def critic(spec: Any, shape: tuple[int, ...]) -> nn.Module:
    """The network of `spec` that scores samples of `shape`, tried where it is not one of ours.

    Raises:
        ValueError: it is none, or gives something else.
    """
    module = built("critic.network", spec, "build", lambda: spec.build(shape, ()))
    return _tried("critic.network", spec, "build", module, shape, ())


def generator(spec: Any, data: Data, latent_dim: int) -> nn.Module:
    """The network that makes samples: the data's own, or that of `spec`; tried where it is not one of ours.

    Raises:
        ValueError: it is none, or gives something else.
    """
    if (own := data.generator()) is not None:
        module = built("data", data, "generator", lambda: own)
        return _tried("data", data, "generator", module, (latent_dim,), data.shape)
    module = built("generator.network", spec, "build", lambda: spec.build((latent_dim,), data.shape))
    return _tried("generator.network", spec, "build", module, (latent_dim,), data.shape)


def sized(data: Data, latent_dim: int, specs: Mapping[str, Any], modules: Mapping[str, nn.Module]) -> list[str]:
    """A note on networks that were chosen by the size of the images, or on perceptrons where images are large.

    Args:
        data: for the shape of a sample.
        latent_dim: length of z.
        specs, modules: of critic and generator, by these names.
    """
    if not data.images:
        return []
    height, width = data.shape[1:]
    shapes = {"critic": (data.shape, ()), "generator": ((latent_dim,), data.shape)}
    chosen = {name: spec.chosen(*shapes[name]) for name, spec in specs.items() if isinstance(spec, BySizeSpec)}
    if chosen:
        words = [f"{name} = {_brief(spec)}, {_count(modules[name]):,} parameters" for name, spec in chosen.items()]
        return [f"networks for images of {height}x{width}: {'; '.join(words)}; latent_dim = {latent_dim}"]
    if min(height, width) >= BySizeSpec.from_side and any(isinstance(spec, MLPSpec) for spec in specs.values()):
        return [
            f"images of {height}x{width} meet a perceptron, which has to learn of each pixel by itself that it is like "
            "its neighbours; network@generator.network=images network@critic.network=images_critic choose by the size"
        ]
    return []


def _brief(spec: Any) -> str:
    """A specification, without what is as its class has it."""
    own = {field.name: (getattr(spec, field.name), field.default) for field in fields(spec)}
    words = ", ".join(f"{name}={value}" for name, (value, default) in own.items() if value != default)
    return f"{type(spec).__name__.removesuffix('Spec')}({words})"


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _tried(
    key: str, maker: object, method: str, module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> nn.Module:
    if foreign(maker):
        with kept_globals():
            x = torch.randn((4, *inputs), generator=torch.Generator().manual_seed(0))
            check_network(key, maker, method, module, [x.to(next(module.parameters()))], tuple(outputs))
    return module


def constrained(lipschitz: Lipschitz, f: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The critic that a control makes of the critic `f` of samples of `shape`.

    Raises:
        ValueError: it cannot control it, or makes something else of it.
    """
    if not foreign(lipschitz):
        lipschitz.check(f)
        return lipschitz.constrain(f)
    with calling("lipschitz", lipschitz, "check"):
        lipschitz.check(f)
    made = built("lipschitz", lipschitz, "constrain", lambda: lipschitz.constrain(f))
    return _tried("lipschitz", lipschitz, "constrain", made, shape, ())


def check_control(lipschitz: Lipschitz) -> None:
    """Refuse a control that is not one of ours and gives no projection where one is due, or no penalty ever.

    Raises:
        ValueError: naming the method at fault.
    """
    if not foreign(lipschitz):
        return
    with calling("lipschitz", lipschitz, "projection"):
        projection: object = lipschitz.projection()
    if projection is not None and not isinstance(projection, Projection):
        what = f"projection returned {shown(projection)}"
        raise refuse("lipschitz", lipschitz, what, "return a projection, such as rlgan.optim.Box(0.1), or None")
    if not isinstance(lipschitz.every, int) or lipschitz.every < 1:
        raise refuse("lipschitz", lipschitz, f"every is {lipschitz.every}", "a penalty comes every 1, 2, ... steps")


def check_game(
    lipschitz: Lipschitz, loss: GANLoss | None, f: DifferentiableCritic, of: nn.Module, real: Callable[[], Tensor]
) -> None:
    """Try the penalty and the loss, where they are not ours; nothing is drawn from a generator of training.

    Args:
        lipschitz, loss: copied where that can be.
        f: the critic as losses see it.
        of: its module, in the mode that it trains in.
        real: gives samples ``(batch, *shape)`` with the device and the dtype of training.

    Raises:
        ValueError: naming class and method.
    """
    if not foreign(lipschitz, loss):  # None is a builtin
        return
    parameters = [parameter for parameter in of.parameters() if parameter.requires_grad]
    with kept_globals(), kept_buffers([of]), torch.enable_grad():
        if foreign(lipschitz):
            _check_penalty(twin_of(lipschitz), f, parameters, real())
        if loss is not None and foreign(loss):
            _check_loss(twin_of(loss), real())


def _check_penalty(lipschitz: Lipschitz, f: DifferentiableCritic, by: Sequence[Tensor], real: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(kind: Callable[..., Tensor], *shape: int) -> Tensor:
        return kind(shape, generator=generator).to(real)

    fake = real.flip(0) + 0.5 * drawn(torch.randn, *real.shape)
    epsilon = drawn(torch.rand, len(real))
    noise = drawn(torch.randn, *real.shape) if lipschitz.noisy else None
    key = "lipschitz"
    if isinstance(lipschitz, Penalty):
        with _noise_told(lipschitz, "points"):
            given: object = lipschitz.points(real, fake, epsilon, noise)
        check_tensor(key, lipschitz, "points", given, real.shape, real)
        with calling(key, lipschitz, "phi"):
            given = lipschitz.phi(drawn(torch.randn, *real.shape))
        check_tensor(key, lipschitz, "phi", given, (len(real),), real)
    with _noise_told(lipschitz, "penalty"):
        given = lipschitz.penalty(f, real, fake, epsilon, noise)
    if given is not None:
        check_scalar(key, lipschitz, "penalty", given, by, "the critic's parameters")


def _noise_told(lipschitz: Lipschitz, method: str) -> AbstractContextManager[None]:
    hint = "" if lipschitz.noisy else "where it wants noise write noisy = True into the class"
    return calling("lipschitz", lipschitz, method, hint)


def _check_loss(loss: GANLoss, real: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    f_real, f_fake = (torch.randn(len(real), generator=generator).to(real).requires_grad_(True) for _ in range(2))
    with calling("loss", loss, "critic"):
        given: object = loss.critic(f_real, f_fake)
    check_scalar("loss", loss, "critic", given, [f_real, f_fake], "the scores")
    with calling("loss", loss, "generator"):
        own: object = loss.generator(f_fake)
    check_scalar("loss", loss, "generator", own, [f_fake], "the scores")
    if loss.zero_sum:
        pulls = [torch.autograd.grad(of, f_fake)[0] for of in (loss.critic(f_real, f_fake), loss.generator(f_fake))]
        if not torch.allclose(pulls[0], -pulls[1], rtol=1e-3, atol=1e-6):
            what = "zero_sum is True, and the generator's loss does not pull against the critic's"
            raise refuse("loss", loss, what, "set zero_sum = False")
