"""Activations and ReLUs in every spelling, one call at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xai_course.core import (
    ACTIVATIONS,
    NON_RELUS,
    RELU_LIKE,
    find_relu,
    function_name,
    intercept,
    relu_upper_bound,
)

NAMES = [
    "relu_", "relu6", "clamp_", "clamp_min", "clamp_max", "clip", "threshold_", "hardtanh_", "elu_",
    "silu", "sigmoid", "celu", "gelu", "leaky_relu", "log_sigmoid", "mish", "prelu",
    "rrelu", "selu", "softplus", "softsign", "tanh", "tanhshrink", "hardswish", "hardsigmoid",
    "hardshrink", "softshrink", "special_expit", "glu", "softmax", "log_softmax", "softmin",
]  # fmt: skip


def test_the_tables_name_each_activation_once():
    names = {name.strip("_") for name in NAMES}
    assert names == RELU_LIKE | NON_RELUS
    assert not RELU_LIKE & NON_RELUS
    assert names - {"glu", "softmax", "log_softmax", "softmin"} == ACTIVATIONS


@pytest.mark.parametrize(
    "activation",
    [nn.ELU(), nn.SiLU(), nn.Sigmoid(), nn.CELU(), nn.GELU(), nn.LeakyReLU(), nn.LogSigmoid(),
     nn.Mish(), nn.PReLU(), nn.RReLU(), nn.SELU(), nn.Softplus(), nn.Softsign(), nn.Tanh(),
     nn.Tanhshrink(), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardshrink(), nn.Softshrink(),
     nn.ReLU(), nn.ReLU6(), nn.Hardtanh(), nn.Threshold(0.5, 0.1), torch.special.expit],
    ids=lambda activation: type(activation).__name__,
)  # fmt: skip
def test_activations_are_known_by_the_name_under_which_they_run(activation):
    names = []

    def record(func, args, kwargs):
        names.append(function_name(func))
        return func(*args, **kwargs)

    x = torch.ones(1, 2, 2, 2)
    with intercept(record):
        activation(x)
    assert set(names) & ACTIVATIONS


@pytest.mark.parametrize(
    ("call", "bound"),
    [
        (lambda x: F.relu(x), torch.inf),
        (lambda x: F.relu6(x), 6),
        (lambda x: x.clamp(min=0), torch.inf),
        (lambda x: torch.clamp(input=x, min=0, max=6), 6),
        (lambda x: x.clamp_min(0), torch.inf),
        (lambda x: F.hardtanh(x, 0, 1), 1),
        (lambda x: F.threshold(x, 0, 0), torch.inf),
        (lambda x: x.clamp(0, 1), None),  # clips, as pixels to their range
        (lambda x: x.clamp(-1, 6), None),
        (lambda x: x.clamp_max(6), None),
        (lambda x: x.clamp(torch.zeros(())), None),
        (lambda x: F.hardtanh(x), None),
        (lambda x: F.threshold(x, 1, 0), None),
        (lambda x: F.threshold(x, 0, 5), None),
        (lambda x: F.leaky_relu(x), None),
        (lambda x: x.exp(), None),
    ],
)
def test_what_is_a_relu_and_where_it_ends(call, bound):
    bounds = []

    def record(func, args, kwargs):
        bounds.append(relu_upper_bound(func, args, kwargs))
        return func(*args, **kwargs)

    x = torch.ones(2)
    with intercept(record):
        call(x)
    assert bounds[-1] == bound
    assert x.tolist() == [1, 1]


# ------------------------------------------------------------------ other spellings

X = torch.tensor([[-2.0, -0.5, 0.0, 0.5, 7.0]])
ZEROS = torch.zeros_like(X)

RELUS = {
    "maximum": lambda x: torch.maximum(x, ZEROS),
    "maximum, turned": lambda x: torch.maximum(torch.zeros(()), x),
    "max": lambda x: torch.max(x, ZEROS),
    "fmax": lambda x: torch.fmax(x, ZEROS),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where from 0": lambda x: torch.where(x >= 0, x, ZEROS),
    "where, turned": lambda x: torch.where(x < 0, ZEROS, x),
    "method where": lambda x: x.where(x > 0, 0.0),
    "masked_fill": lambda x: x.masked_fill(x <= 0, 0.0),
    "times": lambda x: x * (x > 0),
    "times, turned": lambda x: (x > 0) * x,
    "times numbers": lambda x: x * (x >= 0).float(),
    "in place": lambda x: x.mul_((x > 0).float()),
    "by an operator in place": lambda x: x.__imul__(x > 0),
}
OTHERS = {
    "the largest along the first axis": lambda x: x.max(0).values,
    "leaky": lambda x: torch.maximum(x, 0.1 * x),
    "from 1": lambda x: torch.maximum(x, ZEROS + 1),
    "largest of all": lambda x: torch.max(x),
    "largest of a row": lambda x: torch.max(x, 1),
    "minimum": lambda x: torch.minimum(x, ZEROS),
    "another threshold": lambda x: torch.where(x > 1, x, 0.0),
    "another side": lambda x: torch.where(x > 0, 0.0, x),
    "another value": lambda x: torch.where(x > 0, x, -1.0),
    "another input": lambda x: torch.where(x > 0, x.flip(1), 0.0),
    "filled with 1": lambda x: x.masked_fill(x < 0, 1.0),
    "a mask of its own": lambda x: x * torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0]),
    "a square": lambda x: x * x,
    "a number": lambda x: x * 2,
}


def relus_of(function, x):
    """What `find_relu` says of each call of a function that is a ReLU: its result, in its place."""
    found = []

    def watch(func, args, kwargs):
        call = find_relu(func, args, kwargs)
        if call is not None:
            found.append((call.input.clone(), call.upper_bound))
            return call.run(call.input)
        return func(*args, **kwargs)

    with intercept(watch):
        result = function(x)
    return found, result


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", RELUS)
def test_a_relu_in_another_spelling_is_found_and_runs(name, grad):
    x = X.clone().requires_grad_(grad)
    start = x.clone()
    ((input_, bound),), result = relus_of(RELUS[name], start)
    assert torch.equal(input_, X)
    assert bound == torch.inf
    assert torch.equal(result, X.clamp(min=0))
    assert torch.equal(start, X.clamp(min=0)) == ("in place" in name), "in place, or not"


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_relu_is_none(name):
    expected = OTHERS[name](X.clone())
    found, result = relus_of(OTHERS[name], X.clone())
    assert found == []
    if isinstance(expected, torch.Tensor):
        assert torch.equal(result, expected)


def test_a_mask_of_ones_over_positive_values_is_a_factor_of_one():
    positive = X.abs() + 1
    assert relus_of(lambda x: x * torch.ones_like(x), positive)[0] == []
