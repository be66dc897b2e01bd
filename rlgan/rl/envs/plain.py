"""Turns Python and numpy state into plain containers that `torch.load(weights_only=True)` reads, and back, exactly.

None, bool, int (of any size), float and str stand for themselves. Everything else is a dict with a `kind`: numpy arrays
(their bytes as a uint8 tensor), numpy scalars with their dtype, tensors, list, tuple, set, deque, dict, and the four
kinds of random generators. An object reached twice is stored once, so that two names of one array are two names of one
array again.
"""

import random
from collections import deque
from typing import Any

import numpy as np
import torch

_SELF = (type(None), bool, int, float, str)


class NotPlain(TypeError):
    """The value holds something that cannot be stored as plain data."""


def encode(value: Any, memo: dict[int, tuple[int, Any]] | None = None) -> Any:
    """Plain form of `value`.

    Args:
        value: what to store.
        memo: objects met so far, shared between calls whose values may alias one another.

    Raises:
        NotPlain: `value` holds an object of a class that is not listed in this module's docstring.
    """
    memo = {} if memo is None else memo
    if type(value) in _SELF:
        return value
    if isinstance(value, np.generic):
        return _encode_scalar(value)
    if type(value) is tuple:
        return {"kind": "tuple", "items": [encode(item, memo) for item in value]}
    if id(value) in memo:
        return {"kind": "same", "id": memo[id(value)][0]}
    # The memo keeps the object alive: an id may be given again once its object is gone.
    number = len(memo)
    memo[id(value)] = (number, value)
    try:
        return {**_encode_object(value, memo), "id": number}
    except NotPlain:
        # Parts that were encoded before the failure are dropped with the whole: nothing later may refer to them.
        for key in [key for key, (position, _) in memo.items() if position >= number]:
            del memo[key]
        raise


def _encode_scalar(value: np.generic) -> dict[str, Any]:
    item = value.item()
    if type(item) not in (bool, int, float, complex, str):
        raise NotPlain(f"numpy scalar of dtype {value.dtype}")
    if type(item) is complex:
        item = {"kind": "tuple", "items": [item.real, item.imag]}
    return {"kind": "scalar", "dtype": value.dtype.str, "value": item}


def _encode_object(value: Any, memo: dict[int, tuple[int, Any]]) -> dict[str, Any]:
    kind = type(value)
    if kind is np.ndarray:
        if value.dtype.hasobject:
            raise NotPlain("an array of Python objects")
        data = torch.from_numpy(np.frombuffer(value.tobytes(), dtype=np.uint8).copy())
        return {"kind": "array", "dtype": value.dtype.str, "shape": list(value.shape), "bytes": data}
    if kind is torch.Tensor:
        return {"kind": "tensor", "value": value.detach().clone()}
    if kind is list or kind is set:
        return {"kind": kind.__name__, "items": [encode(item, memo) for item in value]}
    if kind is deque:
        return {"kind": "deque", "maxlen": value.maxlen, "items": [encode(item, memo) for item in value]}
    if kind is dict:
        return {"kind": "dict", "items": [[encode(k, memo), encode(v, memo)] for k, v in value.items()]}
    if kind is np.random.Generator and type(value.bit_generator).__name__ in _BIT_GENERATORS:
        return {"kind": "generator", "state": encode(value.bit_generator.state, memo)}
    if kind is np.random.RandomState:
        return {"kind": "random_state", "state": encode(value.get_state(legacy=True), memo)}
    if kind is random.Random:
        return {"kind": "random", "state": encode(value.getstate(), memo)}
    if kind is torch.Generator:
        return {"kind": "torch_generator", "device": str(value.device), "state": value.get_state()}
    raise NotPlain(f"an object of {kind!r}")  # a class of C may have no __module__


def decode(node: Any, memo: dict[int, Any] | None = None) -> Any:
    """The value that `encode` stored as `node`; `memo` as in `encode`."""
    memo = {} if memo is None else memo
    if type(node) in _SELF:
        return node
    kind = node["kind"]
    if kind == "same":
        return memo[node["id"]]
    if kind == "scalar":
        value = node["value"]
        return np.dtype(node["dtype"]).type(complex(*decode(value)) if isinstance(value, dict) else value)
    if kind == "tuple":
        return tuple(decode(item, memo) for item in node["items"])
    if kind in _EMPTY:
        # Containers are entered in the memo before their items, which may refer back to them.
        container = _EMPTY[kind](node)
        memo[node["id"]] = container
        if kind == "dict":
            container.update((decode(key, memo), decode(value, memo)) for key, value in node["items"])
        elif kind == "set":
            container.update(decode(item, memo) for item in node["items"])
        else:
            container.extend(decode(item, memo) for item in node["items"])
        return container
    memo[node["id"]] = value = _LEAVES[kind](node, memo)
    return value


def _array(node: dict[str, Any], memo: dict[int, Any]) -> np.ndarray:
    flat = np.frombuffer(node["bytes"].numpy().tobytes(), dtype=np.dtype(node["dtype"]))
    return flat.reshape(node["shape"]).copy()


def _generator(node: dict[str, Any], memo: dict[int, Any]) -> np.random.Generator:
    state = decode(node["state"], memo)
    bit_generator = _BIT_GENERATORS[state["bit_generator"]]()
    bit_generator.state = state
    return np.random.Generator(bit_generator)


def _random_state(node: dict[str, Any], memo: dict[int, Any]) -> np.random.RandomState:
    generator = np.random.RandomState()
    generator.set_state(decode(node["state"], memo))
    return generator


def _random(node: dict[str, Any], memo: dict[int, Any]) -> random.Random:
    generator = random.Random()
    generator.setstate(decode(node["state"], memo))
    return generator


def _torch_generator(node: dict[str, Any], memo: dict[int, Any]) -> torch.Generator:
    generator = torch.Generator(device=node["device"])
    generator.set_state(node["state"].cpu())
    return generator


_BIT_GENERATORS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
_EMPTY: dict[str, Any] = {
    "list": lambda node: [],
    "set": lambda node: set(),
    "dict": lambda node: {},
    "deque": lambda node: deque(maxlen=node["maxlen"]),
}
_LEAVES: dict[str, Any] = {
    "array": _array,
    "tensor": lambda node, memo: node["value"].clone(),
    "generator": _generator,
    "random_state": _random_state,
    "random": _random,
    "torch_generator": _torch_generator,
}
