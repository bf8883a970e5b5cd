"""Watching a forward pass: the right layer, and every constant that a network adds."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from stock_networks import BUILDERS, error, network, pictures, tiny
from torch import nn

from xai_course.core import BiasTracer, capture_layer, upsample_keep_sum, validate_inputs
from xai_course.models import ArticleNet, BeetleNet

# The last convolutional map, as one would name it after reading the network's code: where a module
# returns it, and what its parent does to it before it is pooled.
LAST = {
    "resnet18": ("layer4", nn.Identity()),
    "resnet50": ("layer4", nn.Identity()),
    "vgg16": ("features.29", nn.Identity()),
    "mobilenet_v2": ("features", nn.Identity()),
    "densenet121": ("features", nn.ReLU()),
    "efficientnet_lite0": ("features", nn.Identity()),
}


@pytest.mark.parametrize("name", LAST)
def test_the_default_layer_is_the_last_convolutional_map(name):
    layer, rest = LAST[name]
    model, images, by_hook = network(name), pictures(2, 96), []
    with model.get_submodule(layer).register_forward_hook(
        lambda m, i, out: by_hook.append(out.clone())
    ):
        expected = model(images.clone())
    with capture_layer(model) as seen:
        output = model(images.clone())
    assert torch.equal(seen[0], rest(by_hook[0]))
    assert torch.equal(output, expected)


@pytest.mark.parametrize("model", [ArticleNet(), BeetleNet()], ids=["ArticleNet", "BeetleNet"])
def test_the_default_layer_of_our_own_networks(model):
    images = pictures(1, 64).float()
    with capture_layer(model.eval()) as found:
        model(images)
    with capture_layer(model, "conv3" if isinstance(model, ArticleNet) else "blocks") as named:
        model(images)
    assert torch.equal(found[0], named[0])


def test_a_map_of_one_place_is_not_chosen():
    squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 9, 1), nn.Flatten())
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), *squeeze, nn.Linear(9, 2)).double().eval()
    with capture_layer(model) as seen:
        model(pictures(1, 8))
    assert seen[0].shape == (1, 5, 6, 6)


def test_a_named_layer_is_kept_as_it_was_before_something_overwrites_it():
    model, images = network("mixed"), pictures(2, 32)
    with torch.no_grad():
        x = F.max_pool2d(torch.relu(model.conv1(images - 0.1)), 3, 2, 1)
        expected = model.bn2(model.conv2(x))
        with capture_layer(model, "bn2") as seen:
            model(images.clone())
    assert error(seen[0], expected) < 1e-14
    assert (seen[0] < 0).any()


def test_the_last_run_of_a_module_counts_and_layers_of_any_shape_are_kept():
    model, images = network("mixed"), pictures(2, 32)
    with capture_layer(model, "relu") as by_name, capture_layer(model, model.fc1) as vector:
        model(images.clone())
    with capture_layer(model) as last:
        model(images.clone())
    assert torch.equal(by_name[0], last[0])
    assert vector[0].shape == (2, 16)
    assert not model.relu._forward_hooks


@pytest.mark.parametrize(
    ("layer", "came"),
    [
        ("cnv2", r"got 'cnv2'; allowed .*, such as .*conv2"),
        (nn.ReLU(), r"got ReLU\(\)"),
        (3, "got 3"),
        ("unused", "'unused' does not run"),
    ],
)
def test_layers_that_are_refused_by_name(layer, came):
    model = network("mixed")
    with pytest.raises(ValueError, match=f"^layer: {came}"), capture_layer(model, layer):
        model(pictures())


def test_a_network_without_convolutions_has_no_default_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval()
    with pytest.raises(ValueError, match=r"^layer: no convolution was seen"), capture_layer(model):
        model(pictures(1, 2))


def test_an_error_inside_is_not_hidden_and_no_hook_stays():
    model = network("mixed")
    for layer in (None, "conv2"):
        with pytest.raises(KeyError), capture_layer(model, layer):
            raise KeyError
    assert not model.conv2._forward_hooks
    assert torch.overrides._get_current_function_mode_stack() == []


# ------------------------------------------------------------------ what a network adds


def rest_of_the_logit(model, images):
    """The chosen logits, and gradient times input plus all constants times their gradient."""
    with BiasTracer(model) as constants:
        x, chosen, _ = validate_inputs(model, images)
    edges = [constant.edge for constant in constants.found]
    slope, *slopes = torch.autograd.grad(chosen.sum(), [x, *edges])
    total = (slope * x).flatten(1).sum(1)
    for by_place, constant in zip(slopes, constants.found, strict=True):
        total = total + (by_place * constant.value).flatten(1).sum(1)
    return chosen, total


@pytest.mark.parametrize("name", BUILDERS)
def test_logit_is_gradient_times_input_plus_constants_times_their_gradient(name):
    chosen, total = rest_of_the_logit(network(name), pictures(2, 64))
    assert error(total, chosen) < 1e-12


@pytest.mark.parametrize("model", [ArticleNet(), BeetleNet(depth=5)])
def test_so_it_is_for_our_own_networks(model):
    chosen, total = rest_of_the_logit(model.double().eval(), pictures(3, 40))
    assert error(total, chosen) < 1e-12


class Sums(nn.Module):
    """Constants in every spelling."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place, self.first, self.last = place, nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.shift = nn.Parameter(torch.full((4, 1, 1), 0.3))

    def forward(self, x):
        y = self.first(x)
        y = (
            lambda: y + 0.7,
            lambda: 0.7 + y,
            lambda: y - self.shift,
            lambda: 0.4 - y,
            lambda: torch.sub(y, 0.2, alpha=3),
            lambda: torch.add(self.shift, y),
            lambda: y.clamp(-0.2, 0.3),
            lambda: torch.clamp(y, max=0.1),
            lambda: F.hardtanh(y, -0.3, 0.2, inplace=True),
            lambda: F.relu6(20 * y),
            lambda: y.add_(self.shift),
            lambda: F.batch_norm(y, torch.ones(4).double(), torch.full((4,), 2.0).double()),
        )[self.place]()
        return self.last(F.relu(y).mean((2, 3)))


@pytest.mark.parametrize("place", range(12))
def test_every_spelling_of_a_constant_is_seen(place):
    torch.manual_seed(0)
    chosen, total = rest_of_the_logit(Sums(place).double().eval(), pictures(2, 9))
    assert error(total, chosen) < 1e-12


def test_constants_carry_the_names_of_their_parameters():
    with BiasTracer(network("mixed")) as constants:
        validate_inputs(network("mixed"), pictures(1, 32))
    names = [constant.name for constant in constants.found]
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


# ------------------------------------------------------------------ enlarging


@given(h=st.integers(1, 9), w=st.integers(1, 9), high=st.integers(1, 40), wide=st.integers(1, 40))
def test_enlarging_keeps_the_sum_and_the_sign(h, w, high, wide):
    maps = pictures(2, 9)[:, :, :h, :w]  # some are larger than the picture
    assert error(upsample_keep_sum(maps, (high, wide)).sum((2, 3)), maps.sum((2, 3))) < 1e-10
    assert (upsample_keep_sum(maps.abs(), (high, wide)) >= 0).all()
    assert upsample_keep_sum(maps, (high, wide)).shape[2:] == (high, wide)


def test_enlarging_by_a_whole_number_is_bilinear_interpolation_over_the_pixels_of_a_place():
    maps = pictures(1, 5)
    plain = F.interpolate(maps, (20, 15), mode="bilinear", align_corners=False) / 12
    assert error(upsample_keep_sum(maps, (20, 15)), plain) < 1e-12
    assert torch.equal(upsample_keep_sum(maps, (5, 5)), maps)
