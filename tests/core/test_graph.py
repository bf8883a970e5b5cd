"""The graph has every step, also those that no interception sees."""

import pytest
import torch
from random_networks import scripted_relu
from torch import nn
from torch.nn import functional as F

from xai_course.core import layer_steps, nonlinear_steps


def steps(function, *shape):
    x = torch.rand(*(shape or (1, 4)), requires_grad=True)
    return nonlinear_steps(function(x), x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(1)[:, 1:].sum(1) / 3 - 2 * x.mean(),
        lambda x: torch.cat([x, torch.ones_like(x)]).roll(1).flip(0).T,
        lambda x: x @ torch.rand(4, 4) + torch.rand(4),
        nn.Linear(4, 2),
        lambda x: F.pad(x, (1, 1), value=2.0).unsqueeze(0).expand(3, -1, -1),
    ],
)
def test_linear_steps_are_none(function):
    assert steps(function) == []


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, padding_mode="reflect", padding=1),
        nn.ConvTranspose2d(2, 3, 2),
        nn.BatchNorm2d(2).eval(),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.PixelShuffle(1),
        nn.MaxPool2d(2),
        nn.AdaptiveMaxPool2d(2),
    ],
)
def test_linear_layers_and_max_pools_are_none(layer):
    assert steps(layer, 1, 2, 6, 6) == []


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (F.relu, ["Relu"]),
        (scripted_relu, ["Relu"]),
        (lambda x: torch.where(x > 0.5, x, 0.0), ["Where"]),
        (lambda x: x * x.sigmoid(), ["Mul", "Sigmoid"]),
        (lambda x: (x @ x.T).flatten(), ["Mm"]),
        (lambda x: 1 / x, ["Reciprocal"]),
        (lambda x: x / x.sum(), ["Div"]),
        (lambda x: nn.LayerNorm(4)(x), ["NativeLayerNorm"]),
        (lambda x: nn.BatchNorm1d(4)(torch.cat([x, 2 * x])), ["NativeBatchNorm"]),
    ],
)
def test_other_steps_have_the_names_of_autograd(function, names):
    assert steps(function) == names


def test_what_depends_on_weights_alone_is_no_step():
    weight = torch.rand(4, 4, requires_grad=True)
    assert steps(lambda x: x @ (weight / weight.std()).exp()) == []


def test_layers_are_counted_wherever_they_run():
    layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(48, 2))
    x = torch.rand(1, 2, 6, 6, requires_grad=True)
    for model in (layers, torch.jit.trace(layers, x)):
        assert layer_steps(model(x), x) == 3


def test_a_product_has_two_factors_that_depend_on_the_images_wherever_they_stand():
    weight = torch.rand(2, 3, 3)
    batches = torch.rand(2, 3, 3)
    assert steps(lambda x: torch.bmm(x, weight), 2, 3, 3) == []
    assert steps(lambda x: torch.bmm(weight, x), 2, 3, 3) == []
    assert steps(lambda x: torch.bmm(x, x), 2, 3, 3) == ["Bmm"]
    assert steps(lambda x: torch.baddbmm(x, weight, batches), 2, 3, 3) == []
    assert steps(lambda x: torch.baddbmm(weight, x, batches), 2, 3, 3) == []
    assert steps(lambda x: torch.baddbmm(weight, x, x), 2, 3, 3) == ["Baddbmm"]
    assert steps(lambda x: torch.dot(x, x), 3) == ["Dot"]
    assert steps(lambda x: torch.dot(torch.rand(3), x), 3) == []
    assert steps(lambda x: F.conv2d(x, x), 1, 1, 4, 4) == ["Convolution"]
    assert steps(lambda x: torch.addmm(torch.rand(1, 4), x, torch.rand(4, 4))) == []
