"""A player's loss as a function of its own vector alone, and which players may step by it."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from rlgan.optim.play.game import Alternating, Game, Simultaneous
from rlgan.optim.play.player import Player
from rlgan.optim.play.pure_field import PureField
from rlgan.optim.ranks import world
from rlgan.optim.step.method import Method
from rlgan.optim.step.schedule import Constant


def player_loss(field: PureField, name: str, batch: Any) -> Callable[[Tensor], Tensor]:
    """The loss of one player as a function of its own vector alone, everybody else and the batch held fixed.

    Pure: nothing of any player is written, batch norm's averages included.
    """
    states = {n: player.state for n, player in field.players.items()}

    def loss(theta: Tensor) -> Tensor:
        # Under vmap this zero is one per point, and so become the buffers that batch norm overwrites.
        zero = theta.new_zeros(())
        own: Any = {
            n: {**s, "buffers": {k: b + zero if b.is_floating_point() else b for k, b in s["buffers"].items()}}
            for n, s in states.items()
        }
        value, _ = field.losses.of[name](field.bind(own, {name: theta}), batch)
        return value

    return loss


def check_alone(methods: Mapping[str, Method]) -> None:
    """Refuse a method that needs the whole loss among several players; it is the first thing to be said of it.

    Raises:
        ValueError: as ``player.optimizer = method: what is wrong; remedy``.
    """
    for name, method in methods.items():
        if method.needs_loss and len(methods) > 1:
            raise ValueError(
                f"{name}.optimizer = {type(method).__name__}: needs the whole loss, and in a game that is another one "
                "whenever the other player moves; use task=erm batch_size=null, or another method, for example adam"
            )


def check_whole_loss(players: Mapping[str, Player], game: Game, full_batch: bool, bfloat16: bool) -> None:
    """Refuse a player whose method needs the whole loss where there is none, and slots that do not go with it.

    Args:
        players: of the game, by name.
        game: the order of play.
        full_batch: whether every move has the same batch.
        bfloat16: whether products are rounded.

    Raises:
        ValueError: as ``player.optimizer = method: what is wrong; remedy``.
    """
    check_alone({name: player.spec.optimizer for name, player in players.items()})
    for name, player in players.items():
        if player.spec.optimizer.needs_loss:
            why = _unfit(player, game, full_batch, bfloat16)
            if why:
                raise ValueError(f"{name}.optimizer = {type(player.spec.optimizer).__name__}: {why}")


def _unfit(player: Player, game: Game, full_batch: bool, bfloat16: bool) -> str | None:
    spec = player.spec
    if not isinstance(game, Simultaneous | Alternating):
        return (
            f"steps from theta by the loss there, and {type(game).__name__} by a gradient from elsewhere or part of "
            "the way; use game=simultaneous, or another method"
        )
    if world().size > 1:
        return (
            f"evaluates the loss several times a step, and each of {world().size} ranks has a part of it; train in one "
            "process, or use e.g. optimizer=adam"
        )
    if not full_batch:
        return (
            "evaluates the loss several times a step, and on a minibatch that is another one at the next step; use "
            "batch_size=null or e.g. optimizer=adam"
        )
    line_search = "its line search decides how far a step goes"
    if player.projection.active:
        return f"{line_search}, and {spec.projection} would change it; use projection=none, or another method"
    if spec.xi.active:
        return f"{line_search}, and {spec.xi} would change it; use noise=none, or another method"
    if not isinstance(spec.schedule, Constant):
        return f"{line_search}, and it has no learning rate to schedule; use schedule=constant, or another method"
    if bfloat16:
        return "compares losses to the last digit; use precision=float32 or float64"
    if any(isinstance(m, _DropoutNd) and m.p > 0 for m in player.module.modules()):
        return "needs a loss that is the same at every call, and dropout draws anew; use a network without it"
    return None
