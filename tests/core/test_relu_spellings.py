"""ReLUs in every spelling, and constants wherever they are added, one call at a time."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xai_course.core import BiasTracer, find_relu, intercept
from xai_course.relu import local_linear

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


# ------------------------------------------------------------------ constants


def shares(*steps):
    """The split of a logit of a network that begins with these steps and ends in a linear layer."""
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 2, 2)
            self.fc = nn.LazyLinear(2, bias=False)

        def forward(self, x):
            for step in steps:
                x = step(self, x)
            return self.fc(x.flatten(1))

    model, images = Net().double().eval(), torch.randn(2, 2, 4, 4, dtype=torch.double)
    model(images)
    return local_linear(model, images, targets=1), model(images)[:, 1]


def assigned(_net, x):
    row = torch.full_like(x, 0.3)
    row[:, :, 1:] = x[:, :, 1:]
    return row


CONSTANTS = {
    "pad": (lambda _, x: F.pad(x, (1, 0, 0, 1), value=0.7), 1),
    "pad with 0": (lambda _, x: F.pad(x, (1, 1)), 0),
    "cat": (lambda _, x: torch.cat([x, torch.ones_like(x[:, :1])], 1), 1),
    "cat of itself": (lambda _, x: torch.cat([x, x], 1), 0),
    "stack": (lambda _, x: torch.stack([x, torch.ones_like(x)], 1).flatten(1, 2), 1),
    "transposed convolution": (lambda net, x: net.up(x), 1),
    "where": (lambda _, x: torch.where(torch.eye(4).bool(), x, 0.5), 1),
    "filled": (lambda _, x: x.masked_fill(torch.eye(4).bool(), -0.5), 1),
    "assigned": (assigned, 1),
    "minus": (lambda _, x: 1 - x, 1),
    "in place": (lambda _, x: (2 * x).add_(0.5), 1),
    "maximum": (lambda _, x: torch.maximum(x, torch.full_like(x, 0.25)), 1),
    "minimum": (lambda _, x: torch.minimum(torch.full_like(x, 0.25), x), 1),
    "clamp_min": (lambda _, x: x.clamp_min(0.25), 1),
    "clamp_max": (lambda _, x: x.clamp_max(max=-0.25), 1),
    "clip": (lambda _, x: x.clip(-0.25, 0.5), 1),
    "hardtanh": (lambda _, x: F.hardtanh(x), 1),
    "relu6": (lambda _, x: F.relu6(9 * x), 1),
    "threshold": (lambda _, x: F.threshold(x, 0.1, 0.4), 1),
    "lerp": (lambda _, x: torch.lerp(x, torch.ones_like(x), 0.25), 1),
    "addcmul": (lambda _, x: torch.addcmul(torch.ones_like(x), x, 2 * torch.ones_like(x)), 1),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_is_traced_wherever_it_is_added(name):
    step, count = CONSTANTS[name]
    split, logit = shares(step)
    assert torch.allclose(split.from_input + sum(split.biases.values(), torch.zeros(2)), logit)
    assert len(split.biases) == count


def test_a_weight_that_is_made_of_parameters_is_no_constant():
    weight = nn.Parameter(torch.rand(4, 16, dtype=torch.double))

    class Standardised(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.shift = weight, nn.Parameter(torch.rand(4, dtype=torch.double))

        def forward(self, x):
            shift = 2 * self.shift  # a bias that is made of a parameter
            return x.flatten(1) @ (self.weight / self.weight.std()).T + shift

    model, images = Standardised().eval(), torch.rand(2, 1, 4, 4, dtype=torch.double)
    split = local_linear(model, images, targets=0)
    assert torch.allclose(split.biases["add"], 2 * model.shift[0].detach())
    assert torch.allclose(split.from_input + split.biases["add"], model(images)[:, 0])


def test_a_tracer_notes_nothing_where_nothing_depends_on_images():
    layer = nn.Linear(3, 2)
    with BiasTracer(layer) as tracer:
        _ = layer(torch.ones(1, 3)) + 1
    assert tracer.constants == []
