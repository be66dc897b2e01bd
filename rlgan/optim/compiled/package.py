"""A function of nested tensors as a compiled library, which is loaded without the compiler."""

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import cloudpickle
import torch
from torch import Tensor

from rlgan.optim.compiled.kept import cache_folder, machine
from rlgan.optim.compiled.quickest import Quickest, quickest_of_graph

Key = tuple[Hashable, ...]
PLAIN = (type(None), bool, str)
SEQUENCES = (list, tuple)
CHILD = "import sys; sys.path[:] = sys.argv[3:]; from rlgan.optim.compiled.package import child; child(*sys.argv[1:3])"


class Library(NamedTuple):
    """A compiled function.

    Args:
        path: of the package.
        inputs: which of the tensors that are given are its inputs; of one that is given twice the first.
        tags: names of its results.
    """

    path: str
    inputs: list[int]
    tags: list[str]


class Packaged:
    """A function of nested tensors, compiled for the CPU by AOTInductor at its first call, one library for each shape.

    Such a library is called without what torch.compile puts around a graph, which takes as long as the arithmetic of a
    small update. And it is made by a process of its own: the compiler needs 150 MiB and seconds to be imported, and
    whoever trains does without. Libraries are kept in the user's cache directory under a digest of the traced graph,
    which that process traces at every start.

    The function's tensors may be written by it. Nothing else may change between calls: numbers, structure and the
    function itself are those of the first call of the same shapes. Of leaves that are the very objects of the last call
    it is not looked again at shape, strides and type.

    Args:
        function: returns a flat dictionary of tensors.
        bfloat16: round the factors of large products to bfloat16, where that is quicker.
    """

    def __init__(self, function: Callable[..., dict[str, Tensor]], bfloat16: bool = False) -> None:
        self._function, self._bfloat16 = function, bfloat16
        self._quickest = quickest_of_graph()
        self._forget()

    def _forget(self) -> None:
        self._routes: dict[Key, tuple[Any, Library]] = {}
        self._last: list[Any] = []
        self._parts: list[Hashable] = []
        self._twice: tuple[int, ...] = ()
        self._route: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self._function, "bfloat16": self._bfloat16}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["function"], state["bfloat16"])  # type: ignore[misc]

    def __call__(self, *args: Any) -> dict[str, Tensor]:
        given: list[Any] = []
        if not flatten(args, given):
            raise TypeError(
                "arguments = hold other objects than tensors, None, booleans and strings; a minibatch holds tensors in "
                "named tuples, dicts and lists"
            )
        tensors = [x for x in given if isinstance(x, Tensor)]
        twice = () if len({*map(id, tensors)}) == len(tensors) else repeated(tensors)
        if twice != self._twice or not self._like_last(given):
            self._twice, self._parts = twice, [part(x) for x in given]
            key = (twice, *self._parts)
            if key not in self._routes:
                self._routes[key] = self._load(args)
            self._route = self._routes[key]
        self._last = given
        runner, library = self._route
        if twice:
            tensors = [tensors[k] for k in library.inputs]
        with torch.no_grad():
            return dict(zip(library.tags, runner.run(tensors), strict=True))

    def _like_last(self, given: list[Any]) -> bool:
        """Whether a call is of the last one's kind; of leaves that are the same objects it need not be asked."""
        if len(given) != len(self._last):
            return False
        leaves = zip(given, self._last, self._parts, strict=True)
        return all(x is last or part(x) == own for x, last, own in leaves)

    def _load(self, args: tuple[Any, ...]) -> tuple[Any, Library]:
        order = self._function, args, self._bfloat16, self._quickest
        library = self._by_child(order) or build(*order)
        try:
            return _loaded(library.path), library
        except RuntimeError:  # damaged, or gone since
            Path(library.path).unlink(missing_ok=True)
            library = self._by_child(order) or build(*order)
            return _loaded(library.path), library

    def _by_child(self, what: tuple[Any, ...]) -> Library | None:
        """The library, made by another process; None where that cannot be: then it is made by this one."""
        with tempfile.TemporaryDirectory() as folder:
            order, answer = Path(folder) / "order", Path(folder) / "answer"
            try:
                # By torch: memory that several tensors share, the players' vectors, is written once.
                torch.save((what, torch.get_num_threads()), order, pickle_module=cloudpickle)
            except Exception:  # a loss or a network of the user's that cannot be sent
                return None
            words = [sys.executable, "-P", "-c", CHILD, str(order), str(answer), *sys.path]
            made = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            return pickle.loads(answer.read_bytes()) if made.returncode == 0 else None


def _loaded(path: str) -> Any:
    return torch._C._aoti.AOTIModelPackageLoader(path, "model", False, 1, -1)


def child(order: str, answer: str) -> None:
    """What the other process does."""
    # Ctrl-C reaches all processes of a terminal. The run's own finishes its step, for which it needs this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        what, threads = torch.load(order, weights_only=False)
        torch.set_num_threads(threads)
        library = build(*what)
        Path(answer).write_bytes(pickle.dumps(library))
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def build(
    function: Callable[..., dict[str, Tensor]], args: tuple[Any, ...], bfloat16: bool, quickest: Quickest
) -> Library:
    """Trace the function and compile what it does, unless the same has been compiled before.

    Raises:
        ValueError: a tensor is given beside a view of it: what is written to one would not be seen in the other.
    """
    from torch._inductor.loop_body import LoopBody
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.utils import _pytree as tree

    from rlgan.optim.compiled.products import Products

    leaves, structure = tree.tree_flatten(args)
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    every = [leaves[k] for k in places]
    same = repeated(every)
    inputs = sorted(set(same))
    tensors = [every[i].detach() for i in inputs]
    bases = {id(x) for x in every}
    if any(x._base is not None and id(x._base) in bases for x in every):
        raise ValueError("arguments = hold a tensor and a view of it; give the update memory of its own")
    tags: list[str] = []

    def flat(*given: Tensor) -> tuple[Tensor, ...]:
        whole = list(leaves)
        for k, i in zip(places, same, strict=True):
            whole[k] = given[inputs.index(i)]
        result = function(*tree.tree_unflatten(whole, structure)) or {}
        tags[:] = list(result)
        return tuple(result.values())

    with patch.object(torch.compiler, "_is_compiling_flag", True):
        graph = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
    passes = Products(bfloat16, quickest)
    folder = cache_folder("libraries") or Path(tempfile.mkdtemp(prefix="rlgan-"))
    path = folder / f"{_digest(graph, tensors, passes)}.pt2"
    if not path.exists():
        options = {
            "post_grad_custom_post_pass": passes,
            "epilogue_fusion": False,  # the kernel of a product takes nothing in
            "size_asserts": False,
            "alignment_asserts": False,
        }
        asked = patch.object(LoopBody, "get_read_expr", read_expr)
        with tempfile.TemporaryDirectory(dir=folder) as made, warnings.catch_warnings(), asked:
            warnings.simplefilter("ignore", FutureWarning)  # of the compiler, about itself
            exported = torch.export.export(graph, tuple(tensors), strict=False)
            new = str(Path(made) / "made.pt2")
            torch._inductor.aoti_compile_and_package(exported, package_path=new, inductor_configs=options)
            os.replace(new, path)
    return Library(str(path), inputs, tags)


def read_expr(body: Any, buffer: str) -> Any:
    """Where a loop reads a buffer; None where it only has to run after it.

    Where the compiler asks whether a buffer is read as it was written (`try_outer_loop_fusion_with_local_buf`), it asks
    loops as well that come after the buffer for another reason, and its own function raises a KeyError
    (https://github.com/pytorch/pytorch/issues/196570).
    """
    from torch._inductor.loop_body import MemoryUsageType

    read = [entry for entry in body.memory_usage[MemoryUsageType.LOAD] if entry.buffer_name == buffer]
    return body.indexing_exprs[read[-1].index_name] if read else None


def _digest(graph: Any, tensors: list[Tensor], passes: Any) -> str:
    """Of all that the library depends on."""
    marked = torch._inductor.config.cpp.enable_kernel_profile
    what = f"{machine()}; {passes.uuid()!r}; {torch.get_num_threads()}; {marked}; {graph.graph}"
    found = hashlib.sha256(what.encode())
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            value = getattr(graph, node.target)
            found.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    found.update(str([part(x) for x in tensors]).encode())
    return found.hexdigest()


def repeated(tensors: list[Tensor]) -> tuple[int, ...]:
    """For each tensor the place where it is given first."""
    first: dict[int, int] = {}
    return tuple(first.setdefault(id(x), k) for k, x in enumerate(tensors))


def part(leaf: Any) -> Hashable:
    """A leaf's part of the key."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.stride(), leaf.dtype, leaf.device, leaf.requires_grad
    return type(leaf), leaf


def flatten(tree: Any, leaves: list[Any]) -> bool:
    """Append the leaves of nested dictionaries, lists and tuples, before them what holds them.

    Returns:
        Whether all leaves are tensors, None, booleans or strings; what another object holds is not known.
    """
    if isinstance(tree, dict):
        leaves.extend((len(tree), *tree))
        tree = tree.values()
    elif isinstance(tree, SEQUENCES):
        leaves.append(len(tree))
    else:
        leaves.append(tree)
        return isinstance(tree, PLAIN)
    for value in tree:
        if isinstance(value, Tensor):
            leaves.append(value)
        elif not flatten(value, leaves):
            return False
    return True
