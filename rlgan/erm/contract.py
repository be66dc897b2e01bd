"""What a problem, a network and a loss promise each other, looked at once before the first step."""

import copy
import inspect
from typing import get_args

import torch
from torch import Tensor, nn

from rlgan.erm.game import Risk
from rlgan.erm.losses import Loss
from rlgan.erm.problems.base import Kind, Problem, Sample
from rlgan.erm.problems.surfaces import Surface
from rlgan.nets.layers import NetworkSpec, couples_samples, in_evaluation_mode
from rlgan.optim.contract.calls import calling, check_number, foreign, refuse, shown
from rlgan.optim.contract.losses import built
from rlgan.task.settings import Settings


def check_problem(problem: Problem) -> None:
    """Refuse samples that are not what `Problem` promises.

    Raises:
        ValueError: naming the problem and what of it is at fault.
    """
    name = f"problem = {type(problem).__name__}"
    if foreign(problem):
        _check_members(problem)
    if problem.kind not in get_args(Kind):
        raise ValueError(f"{name}: is of the kind {problem.kind}; must be {', '.join(get_args(Kind))}")
    if problem.kind == "surface":
        return
    if problem.kind == "classes":
        if problem.classes < 2:
            raise ValueError(f"{name}: has {problem.classes} classes; set classes to how many there are, at least 2")
        if (names := len(problem.names())) != problem.classes:
            raise ValueError(f"{name}: names() gives {names} names for {problem.classes} classes; give one for each")
    for which in ("train", "test"):
        sample = getattr(problem, which)
        if sample is not None or which == "train":
            _check_sample(problem, sample, f"{name}: its {which} sample")


def _check_members(problem: Problem) -> None:
    """Ask a problem that is not one of ours for all that it says of itself."""
    for name in ("inputs", "targets", "train", "test"):
        with calling("problem", problem, name):
            given: object = getattr(problem, name)
        if inspect.ismethod(given):
            raise refuse("problem", problem, f"its {name} is a method", "write @property above it")
        if name in ("inputs", "targets") and not (isinstance(given, tuple) and all(isinstance(n, int) for n in given)):
            raise refuse("problem", problem, f"{name} is {shown(given)}", "give a tuple of lengths, for example (2,)")
    for name in ("names", "notes", "inputs_from_outside"):
        with calling("problem", problem, name):
            getattr(problem, name)()
    with calling("problem", problem, "least"):
        least: object = problem.least()
    if least is not None:
        check_number("problem", problem, "least", least)


def outputs(problem: Problem, loss: Loss) -> tuple[int, ...]:
    """The shape of one score, as a loss has it.

    Raises:
        ValueError: it is not for labels like the problem's, or says no shape.
    """
    if not foreign(loss):
        return loss.outputs(problem)
    with calling("loss", loss, "outputs"):
        given: object = loss.outputs(problem)
    if not (isinstance(given, tuple) and all(isinstance(n, int) for n in given)):
        raise refuse("loss", loss, f"outputs returned {shown(given)}", "return a tuple, () for one number a sample")
    return given


def network(problem: Problem, spec: NetworkSpec, settings: Settings, outputs: tuple[int, ...]) -> nn.Module:
    """The model: the problem's own network, or that of `spec`.

    Raises:
        ValueError: it cannot be built, or is none.
    """
    if foreign(problem):
        with calling("problem", problem, "network"):
            own = problem.network(settings, outputs)
    else:
        own = problem.network(settings, outputs)
    if own is not None:
        return built("problem", problem, "network", lambda: own)
    return built("network", spec, "build", lambda: spec.build(problem.inputs, outputs))


def _check_sample(problem: Problem, sample: object, of: str) -> None:
    if not isinstance(sample, Sample):
        raise ValueError(f"{of} is a {type(sample).__name__}; give Sample(x, y)")
    if wrong := [type(part).__name__ for part in sample if not isinstance(part, Tensor)]:
        raise ValueError(f"{of} holds a {wrong[0]}; give tensors, for example by torch.from_numpy")
    x, y = sample
    n = len(x) if x.ndim else 0
    if not n or y.ndim == 0 or len(y) != n:
        raise ValueError(f"{of} has inputs {tuple(x.shape)} and labels {tuple(y.shape)}; give a label for each input")
    if tuple(x.shape[1:]) != tuple(problem.inputs) or x.ndim < 2:
        raise ValueError(
            f"{of} has inputs {tuple(x.shape)}, and inputs says {tuple(problem.inputs)} of one; give (n, d), or "
            "(n, C, H, W) of pictures"
        )
    classes = problem.kind == "classes"
    shape = (n,) if classes else (n, *problem.targets)
    if tuple(y.shape) != shape:
        remedy = "give a class for each" if classes else "say the shape of one value as targets"
        raise ValueError(f"{of} has labels {tuple(y.shape)} where {shape} are expected; {remedy}")
    if classes and y.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{of} has labels of {y.dtype}; classes are whole numbers from 0 on, for example y.long()")
    if classes and not 0 <= int(y.min()) <= int(y.max()) < problem.classes:
        strange = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise ValueError(
            f"{of} has the label {strange}; {problem.classes} classes are numbered 0 to {problem.classes - 1}"
        )
    if not classes and not y.is_floating_point():
        raise ValueError(f"{of} has labels of {y.dtype}; values are floating numbers, for example y.float()")
    for what, part in (("inputs", x), ("labels", y)):
        if len(at := (~torch.isfinite(part)).nonzero()):
            raise ValueError(f"{of} has nan or inf in the {what} of sample {int(at[0][0])}; leave that sample out")


def check_model(problem: Problem, risk: Risk, model: nn.Module, train: Sample, outputs: tuple[int, ...]) -> None:
    """Refuse a network whose scores are not as the loss has them, and a loss that is not one number for each sample.

    Args:
        problem: for its name and what it knows of the optimum.
        risk: the loss, or that of a surface.
        model: in the place and in the dtype that it is trained in; it stays as it is.
        train: the same samples; two are looked at.
        outputs: the shape of one score.

    Raises:
        ValueError: naming which of them is at fault.
    """
    x, y = (part[:2] for part in train)
    surface, what = risk.loss is None, type(problem).__name__
    with torch.random.fork_rng(devices=[]), in_evaluation_mode(model), torch.enable_grad():
        with calling(
            "problem" if surface else "network", problem if surface else model, "value" if surface else "forward"
        ):
            try:
                scores = model(x)
            except RuntimeError as error:
                if surface:  # the line in value() is said
                    raise
                raise ValueError(
                    f"network = {type(model).__name__}: fails on inputs {tuple(x.shape)} ({_line(error)}); build it "
                    f"for inputs {tuple(x.shape[1:])}"
                ) from error
        expected = (len(x), *outputs)
        if not isinstance(scores, Tensor):
            raise ValueError(
                f"network = {type(model).__name__}: gives {shown(scores)} where the loss takes a tensor {expected}; "
                "return the scores alone"
            )
        if tuple(scores.shape) != expected and surface:
            raise ValueError(f"problem = {what}: value(theta) has to be one number; sum up what it gives")
        if tuple(scores.shape) != expected:
            raise ValueError(
                f"network = {type(model).__name__}: gives scores {tuple(scores.shape)} where the loss takes "
                f"{expected}; build it for outputs {outputs}"
            )
        answer: object = problem.value(model.get_parameter("theta")) if isinstance(problem, Surface) else scores
        if not isinstance(answer, Tensor) or not answer.requires_grad:
            of = f"problem = {what}: value(theta)" if surface else f"network = {type(model).__name__}: its scores"
            raise ValueError(f"{of} cannot be differentiated; use operations of torch alone, no item() or detach()")
        with calling("problem" if surface else "loss", problem if surface else risk.loss, "__call__"):
            losses: object = risk.of(scores, y)
    name = f"problem = {what}: value(theta)" if surface else f"loss = {type(risk.loss).__name__}"
    if not isinstance(losses, Tensor) or tuple(losses.shape) != (len(x),):
        given = f"losses {tuple(losses.shape)}" if isinstance(losses, Tensor) else f"a {type(losses).__name__}"
        raise ValueError(
            f"{name}: gives {given} for {len(x)} samples; give one number for each, and leave the mean to the task"
        )
    if not losses.requires_grad:
        raise ValueError(f"{name}: cannot be differentiated; use operations of torch alone, no item() or detach()")


def check_batch_norm(model: nn.Module, train: Sample, batch_size: int) -> None:
    """Refuse batch norm that has one number of each feature in a minibatch, and so no variance.

    Raises:
        ValueError: naming the size.
    """
    if batch_size > 1 or not couples_samples(model):
        return
    trial = copy.deepcopy(model).train()  # in training mode a look would move its averages
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial(train.x[:1])
    except ValueError as error:
        raise ValueError(
            f"batch_size = {batch_size}: batch norm has one number of each feature, and no variance; use at least 2 "
            "samples, or network.norm=layer"
        ) from error


def untraceable(problem: Problem, risk: Risk, model: nn.Module, train: Sample) -> str:
    """Why the loss cannot be compiled, as where a value() or a forward() decides by numbers; "" where it can.

    What is rlgan's own can. A trial takes a tenth of a second; a compilation that fails would end the run.
    """
    parts = (problem, risk.loss, *model.modules())
    if all(type(part).__module__.split(".")[0] in ("rlgan", "torch", "builtins") for part in parts):
        return ""
    from torch.fx.experimental.proxy_tensor import make_fx

    names = [name for name, _ in model.named_parameters()]

    def loss(x: Tensor, y: Tensor, *theta: Tensor) -> Tensor:
        scores = torch.func.functional_call(model, dict(zip(names, theta, strict=True)), (x,))
        return risk.of(scores, y).mean()

    theta = [parameter.detach() for parameter in model.parameters()]
    try:
        with torch.random.fork_rng(devices=[]), in_evaluation_mode(model):
            make_fx(loss, tracing_mode="fake", _allow_non_fake_inputs=True)(train.x[:2], train.y[:2], *theta)
    except Exception as error:  # whatever a tracer raises about code that it has not seen before
        return _line(error)
    return ""


def check_known(problem: Problem, parameters: int) -> None:
    """Refuse an optimum that no model of so many parameters has.

    Raises:
        ValueError: naming the problem.
    """
    with calling("problem", problem, "optimum"):
        optimum = problem.optimum()
    if optimum is not None and tuple(getattr(optimum, "shape", ())) != (parameters,):
        found = tuple(optimum.shape) if isinstance(optimum, Tensor) else type(optimum).__name__
        raise ValueError(
            f"problem = {type(problem).__name__}: optimum() gives {found}, and there are {parameters} parameters; give "
            f"a tensor ({parameters},), or None"
        )


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(".  (")[0][:120]
