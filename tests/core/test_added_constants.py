"""Each constant that a network adds, wherever it is added: with them the sum is the logit."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from stock_networks import ALL, error, network, pictures, tiny
from torch import nn

from xai_course.core import BiasTracer, validate_inputs
from xai_course.models import ArticleNet, BeetleNet
from xai_course.relu import local_linear


def rest_of_the_logit(model, images):
    """The chosen logits, and gradient times input plus all constants times their gradient."""
    with BiasTracer(model) as tracer:
        x, chosen, _ = validate_inputs(model, images)
    edges = [constant.edge for constant in tracer.constants]
    grad, *grads = torch.autograd.grad(chosen.sum(), [x, *edges])
    total = (grad * x).flatten(1).sum(1)
    for bias_grad, constant in zip(grads, tracer.constants, strict=True):
        total = total + (bias_grad * constant.value).flatten(1).sum(1)
    return chosen, total


@pytest.mark.parametrize("name", ALL)
def test_logit_is_gradient_times_input_plus_constants_times_their_gradient(name):
    chosen, total = rest_of_the_logit(network(name), pictures(2, 64))
    assert error(total, chosen) < 1e-12


@pytest.mark.parametrize("model", [ArticleNet(), BeetleNet(depth=5)])
def test_so_it_is_for_our_own_networks(model):
    chosen, total = rest_of_the_logit(model.double().eval(), pictures(3, 40))
    assert error(total, chosen) < 1e-12


# What a network may do between its first and its last layer; `shift` is a parameter (4, 1, 1).
SPELLINGS = {
    "y + 0.7": lambda y, shift: y + 0.7,
    "0.7 + y": lambda y, shift: 0.7 + y,
    "y - shift": lambda y, shift: y - shift,
    "0.4 - y": lambda y, shift: 0.4 - y,
    "sub with alpha": lambda y, shift: torch.sub(y, 0.2, alpha=3),
    "add with alpha": lambda y, shift: torch.add(shift, y, alpha=2),
    "add": lambda y, shift: torch.add(shift, y),
    "subtract": lambda y, shift: torch.subtract(input=y, other=shift),
    "clamp": lambda y, shift: y.clamp(-0.2, 0.3),
    "clamp(max=)": lambda y, shift: torch.clamp(y, max=0.1),
    "clamp by tensors": lambda y, shift: torch.clamp(y, -shift.detach(), shift.detach()),
    "clamp by numbers as tensors": lambda y, shift: y.clamp(max=torch.tensor(0.1).to(y)),
    "hardtanh in place": lambda y, shift: F.hardtanh(y, -0.3, 0.2, inplace=True),
    "hardtanh": lambda y, shift: F.hardtanh(5 * y),
    "relu6": lambda y, shift: F.relu6(20 * y),
    "y.add_": lambda y, shift: y.add_(shift),
    "batch norm without weights": lambda y, shift: F.batch_norm(
        y, torch.ones(4).double(), torch.full((4,), 2.0).double()
    ),
    "batch norm with eps": lambda y, shift: F.batch_norm(
        y, torch.ones(4).double(), torch.full((4,), 2.0).double(), shift.flatten(), eps=0.5
    ),
}


class Sums(nn.Module):
    """A convolution, a constant in one spelling, a ReLU, and a linear layer."""

    def __init__(self, spelling):
        super().__init__()
        self.spelling, self.first, self.last = spelling, nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.shift = nn.Parameter(torch.full((4, 1, 1), 0.3))

    def forward(self, x):
        y = self.spelling(self.first(x), self.shift)
        return self.last(F.relu(y).mean((2, 3)))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_constant_is_seen(spelling):
    torch.manual_seed(0)
    model = Sums(SPELLINGS[spelling]).double().eval()
    chosen, total = rest_of_the_logit(model, pictures(2, 9))
    assert error(total, chosen) < 1e-12


def test_without_a_module_constants_have_the_names_of_operations():
    x = pictures(1, 4).requires_grad_()
    with BiasTracer(None) as tracer:
        F.conv2d(x + 1, torch.ones(2, 3, 1, 1).double(), torch.ones(2).double())
    assert [constant.name for constant in tracer.constants] == ["add", "conv2d"]
    assert tracer.constants[1].value.shape == (2, 1, 1)


def test_constants_carry_the_names_of_their_parameters():
    with BiasTracer(network("mixed")) as tracer:
        validate_inputs(network("mixed"), pictures(1, 32))
    names = [constant.name for constant in tracer.constants]
    assert names == [
        "sub",
        "conv1.bias",
        "conv2.bias",
        "bn2.bias",
        "conv3.bias",
        "fc1.bias",
        "fc2.bias",
    ]


def test_the_sum_fails_for_a_curved_network_so_that_it_can_be_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    chosen, total = rest_of_the_logit(model.double().eval(), pictures(2, 8))
    assert error(total, chosen) > 1e-3


def test_no_tensor_of_the_pass_is_kept_alive():
    alive = []

    class Spy(nn.Module):
        def forward(self, x):
            y = x * 1
            alive.append(weakref.ref(y))
            return y

    gc.disable()
    try:
        rest_of_the_logit(nn.Sequential(Spy(), tiny()).eval(), pictures())
        assert alive
        assert all(reference() is None for reference in alive)
    finally:
        gc.enable()


# ------------------------------------------------------------------ where it is added


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
