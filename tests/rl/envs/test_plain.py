"""Plain data: what goes in comes out, through a weights-only file, bit for bit and with its aliases."""

import io
import random
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlgan.rl.envs.plain import NotPlain, decode, encode


def through_file(value: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(st.sampled_from(["f4", "f8", "i2", "u8", "?", "c16", "U3"]), hnp.array_shapes(min_dims=0, min_side=0))
)
def test_arrays_keep_every_bit(array: np.ndarray) -> None:
    back = decode(through_file(encode(array)))
    assert back.dtype == array.dtype and back.shape == array.shape and back.tobytes() == array.tobytes()
    assert back.flags.writeable


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(values)
def test_containers_and_numbers_of_any_size_keep_value_and_type(value: Any) -> None:
    back = decode(through_file(encode(value)))
    assert back == value and repr(back) == repr(value)


@pytest.mark.parametrize(
    "scalar", [np.float32(0.1), np.float64(0.1), np.int16(-3), np.bool_(True), np.complex128(1 + 2j)]
)
def test_numpy_scalars_keep_their_dtype(scalar: np.generic) -> None:
    back = decode(through_file(encode(scalar)))
    assert type(back) is type(scalar) and back == scalar


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_numpy_generators_go_on_with_their_stream(kind: str) -> None:
    generator = np.random.Generator(getattr(np.random, kind)(3))
    generator.integers(10, dtype=np.int32)  # leaves half of a 64-bit draw behind
    back = decode(through_file(encode(generator)))
    assert np.array_equal(
        back.integers(1000, size=20, dtype=np.int32), generator.integers(1000, size=20, dtype=np.int32)
    )


def test_the_other_generators_and_containers_go_on_too() -> None:
    legacy, python, torch_generator = np.random.RandomState(1), random.Random(2), torch.Generator().manual_seed(3)
    legacy.normal(), python.gauss(0, 1), torch.randn(3, generator=torch_generator)
    queue, group = deque([1, 2], maxlen=2), {1, "a"}
    back = decode(through_file(encode([legacy, python, torch_generator, queue, group, torch.ones(2)])))
    assert back[0].normal() == legacy.normal() and back[1].gauss(0, 1) == python.gauss(0, 1)
    assert torch.equal(torch.randn(5, generator=back[2]), torch.randn(5, generator=torch_generator))
    back[3].append(3)
    assert list(back[3]) == [2, 3] and back[4] == group and torch.equal(back[5], torch.ones(2))


def test_two_names_of_one_object_stay_two_names_of_one_object() -> None:
    array = np.zeros(2)
    loop: list[Any] = [array]
    loop.append(loop)
    back = decode(through_file(encode({"a": array, "b": (array, loop)})))
    assert back["a"] is back["b"][0] is back["b"][1][0] and back["b"][1][1] is back["b"][1]


def test_what_is_not_plain_is_refused_and_leaves_no_trace_in_the_memo() -> None:
    memo: dict[int, Any] = {}
    kept, shared = np.ones(1), np.zeros(3)
    encode(kept, memo)
    with pytest.raises(NotPlain, match="an object of <class "):
        encode([shared, lambda: None], memo)
    assert list(memo) == [id(kept)]
    node = encode(shared, memo)
    assert node["kind"] == "array", "a reference to an object of the value that was dropped"
    with pytest.raises(NotPlain, match="Python objects"):
        encode(np.array([object()]))
