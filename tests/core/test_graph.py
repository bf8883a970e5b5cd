"""The graph has every step, also those that no interception sees."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import scripted_relu
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.nn import functional as F

from xai_course.core import keeps_places, layer_steps, moves_places, nonlinear_steps


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


# ---- places --------------------------------------------------------------------------------------


def judge(before, after):
    ends = get_gradient_edge(before), get_gradient_edge(after)
    return keeps_places(*ends, after), moves_places(*ends, after)


@given(
    count=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 5),
    width=st.integers(2, 5),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_a_reordering_of_the_places_is_told_from_a_mixing_of_the_channels(
    count, channels, height, width, seed
):
    noise = torch.Generator().manual_seed(seed)
    shape = (count, channels, height, width)
    maps = torch.randn(shape, generator=noise).double().requires_grad_()
    weights = torch.randn(channels, channels, generator=noise).double()
    assert judge(maps, torch.einsum("kc,nchw->nkhw", weights, maps)) == (True, False)
    order = torch.roll(torch.arange(height * width), 1)  # none stays
    reordered = maps.flatten(2)[..., order].view(shape)
    assert judge(maps, reordered) == (False, True)
    assert judge(maps, maps + reordered) == (False, False)
    places = torch.randperm(height * width, generator=noise)
    there = maps.flatten(2)[..., places].relu()
    is_on = bool((there > 0).any())  # or it has no derivative to measure
    assert judge(maps, there[..., places.argsort()].view(shape)) == (is_on, False)


def test_two_places_that_change_places_are_seen_and_are_not_most():
    maps = torch.ones(1, 1, 9, 9).double().requires_grad_()
    order = torch.arange(81)
    order[[3, 40]] = torch.tensor([40, 3])
    assert judge(maps, maps.flatten(2)[..., order].view(maps.shape)) == (False, False)


@pytest.mark.parametrize("side", [3, 5, 7])
def test_a_pooling_that_keeps_the_size_moves_no_places(side):
    maps = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for pool in (F.max_pool2d, F.avg_pool2d):
        assert judge(maps, pool(maps.relu(), side, 1, side // 2)) == (False, False)


@pytest.mark.parametrize("side", [7, 8, 16])
def test_most_places_are_counted_over_the_whole_map(side):
    maps = torch.rand(1, 2, side, side).double().requires_grad_()
    mirrored = torch.cat([maps[..., :1], maps[..., 1:].flip(3)], 3)
    two = torch.cat([maps[..., 1:2], maps[..., :1], maps[..., 2:]], 3)
    assert judge(maps, mirrored) == (False, True)
    assert judge(maps, two) == (False, False)


def test_large_numbers_in_half_precision_hide_no_flip():
    maps = torch.ones(1, 2, 6, 6, dtype=torch.half).requires_grad_()
    assert judge(maps, (400 * maps).flip(3)) == (False, True)


def test_a_map_without_derivative_neither_keeps_nor_moves_its_places():
    maps = torch.ones(1, 1, 3, 3).requires_grad_()
    assert judge(maps, (-maps).relu().flip(3)) == (False, False)
    assert judge(maps, (maps + -2.0).relu()) == (True, False)  # a ReLU moves nothing
    assert judge(maps, 2 * torch.ones(1, 1, 3, 3, requires_grad=True)) == (False, False)
    assert not keeps_places(None, get_gradient_edge(maps), maps)
