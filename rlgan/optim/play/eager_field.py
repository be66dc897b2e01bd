"""The field of gradients on modules: autograd, steps in place."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rlgan.optim.errors import NonFinite, beyond
from rlgan.optim.play.field import GradientField, Linearised, Loss, Losses, Net, Nets
from rlgan.optim.play.player import Player, PlayerState, Snapshot
from rlgan.optim.play.pure_field import PureField
from rlgan.optim.play.whole_loss import player_loss
from rlgan.optim.step.method import Whole
from rlgan.optim.step.types import Report, Scalars
from rlgan.optim.step.vector import length

SMALL = 1e-30
"""Where the squares of a small gradient begin to vanish, in single precision."""


class ModuleNet(Net):
    """A module as it stands; gradients by autograd."""

    def __init__(self, module: nn.Module) -> None:
        self._call = module.__call__

    def __call__(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self._call(*inputs)
        return output

    def input_gradient(self, x: Tensor, *rest: Tensor) -> Tensor:
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self._call(x, *rest).sum(), x, create_graph=torch.is_grad_enabled())
        return gradient


class EagerField(GradientField):
    """Modules, autograd, steps in place."""

    def __init__(self, players: Sequence[Player], losses: Losses) -> None:
        super().__init__(players, losses)
        self._nets: dict[tuple[str, ...], Nets] = {}
        # Of the players whose methods evaluate the loss themselves: that of the last gradient.
        self._needing = tuple(p.name for p in players if p.spec.optimizer.needs_loss)
        self._whole: dict[str, Whole] = {}
        self._pure = PureField(players, losses)
        self._one: Tensor | None = None  # what a backward pass starts from, kept: a new one costs 1 % of an update

    def nets(self, training: tuple[str, ...]) -> Nets:
        """The networks as a loss sees them when the players `training` take gradients."""
        if training not in self._nets:
            own = {n: ModuleNet(p.module if n in training else p.vector.frozen) for n, p in self.players.items()}
            average = {n: ModuleNet(p.average) for n, p in self.players.items()}
            self._nets[training] = self._nets_type(**own, average=self._average_type(**average))
        return self._nets[training]

    def forget(self) -> None:
        """Bind the networks anew; their parameters are no longer the tensors that they were."""
        self._nets.clear()

    def state(self, name: str) -> PlayerState:
        return self.players[name].state

    def save(self) -> dict[str, Snapshot]:
        return {name: player.snapshot() for name, player in self.players.items()}

    def restore(self, saved: dict[str, Snapshot]) -> None:
        for name, taken in saved.items():
            self.players[name].put_back(taken)

    def place(self, name: str, theta: Tensor, s: Scalars) -> None:
        state = self.players[name].state
        for key, value in self.players[name].replaced(state["average"], theta - state["theta"], s).items():
            state["average"][key].copy_(value)
        state["theta"].copy_(theta)

    def remember(self, name: str, **slots: Tensor) -> None:
        for key, value in slots.items():
            # A copy: `value` may be the gradient vector that the next backward pass writes to.
            self.players[name].state["game"][key].copy_(value)

    @contextlib.contextmanager
    def _elsewhere(self, thetas: Mapping[str, Tensor]) -> Iterator[None]:
        own = {name: self.players[name].state["theta"] for name in thetas}
        held = {name: theta.clone() for name, theta in own.items()}
        for name, theta in thetas.items():
            own[name].copy_(theta)
        try:
            yield
        finally:
            for name, theta in held.items():
                own[name].copy_(theta)

    def linearise(self, batch: Any) -> tuple[Linearised, Report]:
        losses: dict[str, Tensor] = {}
        report: Report = {}
        joint = self.losses.joint
        for label, loss in {self.joint_label: joint}.items() if joint is not None else self.losses.of.items():
            losses[label], own_report = self._loss(loss, label, self.names, batch)
            report.update(own_report)
        parameters = {name: self.players[name].vector.parameters for name in self.names}
        everything = tuple(p for own in parameters.values() for p in own)

        def ravel(values: Sequence[Tensor | None], of: Sequence[Tensor]) -> Tensor:
            pieces = [torch.zeros_like(p) if v is None else v for v, p in zip(values, of, strict=True)]
            return torch.cat([piece.reshape(-1) for piece in pieces])

        v = {}
        for name, own in parameters.items():
            loss_of = losses[self.joint_label] if joint is not None else losses[name]
            g = ravel(torch.autograd.grad(loss_of, own, create_graph=True, allow_unused=True), own)
            v[name] = -g if joint is not None and self.losses.signs[name] != 1 else g
        whole = torch.cat(list(v.values()))
        sizes = [g.numel() for g in v.values()]

        def split(flat: Tensor) -> dict[str, Tensor]:
            return dict(zip(v, flat.detach().split(sizes), strict=True))

        def back(w: Tensor, create_graph: bool = False) -> Tensor:
            """J^T w."""
            if not whole.requires_grad:  # no loss depends on a product of parameters
                return torch.zeros_like(whole) * w
            pulled = torch.autograd.grad(
                whole, everything, w, retain_graph=True, create_graph=create_graph, allow_unused=True
            )
            return ravel(pulled, everything)

        def transposed(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return split(back(torch.cat([w[name] for name in v])))

        def forward(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
            # The pull-back u -> J^T u is linear; its own pull-back is w -> J w.
            u = torch.zeros_like(whole, requires_grad=True)
            pulled = back(u, create_graph=True)
            return split(torch.autograd.grad(pulled, u, torch.cat([w[name] for name in v]))[0])

        at = {name: g.detach() for name, g in v.items()}
        if self.world.size == 1:
            return Linearised(at, transposed, forward), report
        at, report = self._over_ranks(at, report)
        mean = self._mean_over_ranks
        return Linearised(at, lambda w: mean(transposed(w)), lambda w: mean(forward(w))), report

    def _over_ranks(self, grads: Mapping[str, Tensor], report: Report) -> tuple[dict[str, Tensor], Report]:
        means, found = super()._over_ranks(grads, report)
        for label in {*self.names, self.joint_label}:
            if f"{label}/loss" in found:
                number = found[f"{label}/loss"] = float(found[f"{label}/loss"])
                if not math.isfinite(number):
                    raise NonFinite(f"the loss of {label}, a mean over {self.world.size} ranks, is {number}")
        for name, g in grads.items():
            g.copy_(means[name])  # a player's own gradient vector stays the one that is looked at
        return dict(grads), found

    def _loss(self, loss: Loss, label: str, training: tuple[str, ...], batch: Any) -> tuple[Tensor, Report]:
        """A loss, and what is reported of it.

        Raises:
            NonFinite: if it is not finite; of several ranks that is looked at when all of them know it.
        """
        value, metrics = loss(self.nets(training), batch)
        number = value.item()
        if self.world.size == 1 and not math.isfinite(number):
            raise NonFinite(f"the loss of {label} is {number}")
        return value, {f"{label}/loss": number, **{k: v.detach() for k, v in metrics.items()}}

    def _gradient(self, batch: Any, names: tuple[str, ...], loss: Loss, label: str) -> tuple[dict[str, Tensor], Report]:
        value, report = self._loss(loss, label, names, batch)
        vectors = [self.players[n].vector for n in names]
        if len(vectors) == 1:
            parameters = vectors[0].parameters
        else:
            parameters = tuple(p for v in vectors for p in v.parameters)
        if self._one is None or self._one.dtype != value.dtype:
            self._one = torch.ones_like(value, requires_grad=False)
        # What torch.autograd.grad calls when it has looked at its arguments, which takes longer than a small layer.
        pieces = torch.autograd.Variable._execution_engine.run_backward(
            (value,), (self._one,), False, False, parameters, allow_unreachable=True, accumulate_grad=False
        )
        if any(piece is None for piece in pieces):  # a parameter that this loss does not use
            used = zip(pieces, parameters, strict=True)
            pieces = tuple(torch.zeros_like(p) if piece is None else piece for piece, p in used)
        grads, start = {}, 0
        for name, vector in zip(names, vectors, strict=True):
            mine = pieces[start : start + len(vector.parameters)]
            start += len(mine)
            torch._foreach_copy_(vector.gradients, mine)
            grads[name] = vector.grad
        for name in self._needing:
            if name == label:
                self._whole[name] = Whole(player_loss(self._pure, name, batch), value.item())
        return grads, report

    def step(
        self, grads: Mapping[str, Tensor], scalars: Mapping[str, Scalars], draws: Mapping[str, Tensor | None]
    ) -> Report:
        norms: Report = {}
        for name, g in grads.items():
            square = torch.dot(g, g).item()
            norm = math.sqrt(square)
            if not SMALL < square < math.inf:  # squares that are nothing, or too large
                norm = length(g).item()
                if not math.isfinite(norm):
                    raise NonFinite(f"the gradient of {name} has norm {norm}")
                if square == math.inf and self.players[name].spec.optimizer.squares_in(g.dtype):
                    raise NonFinite(beyond(f"the gradient of {name} has norm {norm:.4g}"))
            norms[f"{name}/grad_norm"] = norm
        for name, g in grads.items():
            most = self.players[name].spec.max_grad_norm
            if most is not None and norms[f"{name}/grad_norm"] > most:
                g = g * (most / norms[f"{name}/grad_norm"])  # a game may go on to use the gradient itself
            self.players[name].step_in_place(g, scalars[name], draws[name], self._whole.pop(name, None))
        for name in self._needing:
            norms.update({f"{name}/{what}": number for what, number in self.players[name].report().items()})
        return norms
