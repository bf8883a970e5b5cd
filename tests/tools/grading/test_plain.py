"""Values as JSON and back: all that checks pass and take survives, and nothing else is made."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tools.grading.plain import MOST, decode, encode
from xai_course.beetlebox import SPECIES, Scene


def refuse(value):
    raise TypeError(f"value: got {type(value).__name__}")


def there_and_back(value):
    return decode(json.loads(json.dumps(encode(value, refuse))), refuse)


numbers = st.integers() | st.floats(allow_nan=False)
leaves = st.none() | st.booleans() | numbers | st.text() | st.just(...)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.lists(inner).map(tuple))


@given(values)
def test_plain_values_come_back_with_their_types(value):
    assert repr(there_and_back(value)) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        {"horn", "legs"},
        frozenset({1, 2}),
        Scene("Ellipsa_polita", 3).without("horn").with_trait(pattern="striped"),
        SPECIES["Ellipsa_polita"],
        float("inf"),
        2**80,
    ],
)
def test_others_come_back_equal(value):
    assert there_and_back(value) == value
    assert type(there_and_back(value)) is type(value)


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "float64", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,), (2, 3, 4)])
def test_tensors_come_back_to_the_bit(kind, shape):
    tensor = (5 * torch.randn(shape)).to(getattr(torch, kind))
    back = there_and_back(tensor.expand(2, *shape).transpose(0, -1))
    assert back.dtype == tensor.dtype
    assert torch.equal(back, tensor.expand(2, *shape).transpose(0, -1))
    assert not back.requires_grad
    assert there_and_back(torch.ones(2, requires_grad=True)).requires_grad


def test_arrays_come_back_as_arrays_and_their_numbers_as_numbers():
    array = np.arange(6, dtype=">i2").reshape(2, 3)[:, ::-1]
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert type(there_and_back(np.float32(0.5))) is np.float32
    assert type(there_and_back(np.bool_(True))) is np.bool_


@pytest.mark.parametrize(
    "value",
    [
        object(),
        print,
        torch.nn.ReLU(),
        np.array([None]),
        np.array(["a"]),
        {"a": 1},
        [0] * (MOST + 1),
        torch.eye(2).to_sparse(),
        torch.ones(2, device="meta"),
    ],
)
def test_what_is_no_plain_data_is_left_to_the_caller(value):
    assert encode(value, lambda other: "other") == "other"


class Float(float):
    """A number that claims to be equal to everything."""

    def __eq__(self, other):
        return True

    __hash__ = float.__hash__


def test_classes_of_ones_own_arrive_as_what_they_derive_from():
    assert type(there_and_back(Float(2.0))) is float
    assert type(there_and_back(type("Text", (str,), {})("a"))) is str
    assert type(there_and_back(type("List", (list,), {})([1]))) is list
    assert type(there_and_back(torch.nn.Parameter(torch.ones(2)))) is torch.Tensor


TENSOR = encode(torch.ones(2), refuse)
ARRAY = encode(np.ones(2), refuse)
FORGED = [
    [1, 2],
    {},
    {"kind": "pickle", "data": ""},
    {"kind": "tuple"},
    {"kind": "tuple", "items": 3},
    {"kind": "set", "items": [{"kind": "list", "items": []}]},
    {"kind": "list", "items": [0] * (MOST + 1)},
    {"kind": "record", "name": "Path", "fields": {}},
    {"kind": "record", "name": "Scene", "fields": {"species": "none", "seed": 1}},
    TENSOR | {"shape": [3]},
    TENSOR | {"shape": [10**12]},
    TENSOR | {"shape": [0, 10**12]},
    TENSOR | {"type": "qint8"},
    TENSOR | {"type": "load"},
    TENSOR | {"data": "!"},
    ARRAY | {"type": "O"},
    ARRAY | {"type": "V8"},
    ARRAY | {"type": "(1000000000)f8"},
    ARRAY | {"shape": [3]},
]


@pytest.mark.parametrize("data", FORGED)
def test_what_was_not_made_here_is_refused(data):
    with pytest.raises(Exception):  # noqa: B017, PT011 - which error does not matter
        decode(data, refuse)


def test_a_truth_value_is_0_or_1_whatever_byte_was_sent():
    forged = encode(torch.tensor([True]), refuse) | {"data": "Ag=="}  # the byte 2
    assert decode(forged, refuse).double().item() == 1
