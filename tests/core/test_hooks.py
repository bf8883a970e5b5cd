"""Hooks into a forward pass: every function, and the right layer."""

import pytest
import torch
import torch.nn.functional as F
from explainers import small
from stock_networks import error, network, pictures, with_heavy
from torch import nn

from xai_course.core import capture_layer, function_name, intercept
from xai_course.models import ArticleNet, BeetleNet

# The last convolutional map, as one would name it after reading the network's code: where a module
# returns it, and what its parent does to it before it is pooled.
LAST = {
    "small_resnet": ("layer4", nn.Identity()),
    "bottleneck": ("layer4", nn.Identity()),
    "small_vgg": ("features.17", nn.Identity()),
    "small_mobilenet": ("features", nn.Identity()),
    "small_densenet": ("features", nn.ReLU()),
    "resnet18": ("layer4", nn.Identity()),
    "resnet50": ("layer4", nn.Identity()),
    "vgg16": ("features.29", nn.Identity()),
    "mobilenet_v2": ("features", nn.Identity()),
    "densenet121": ("features", nn.ReLU()),
    "efficientnet_lite0": ("features", nn.Identity()),
}


@pytest.mark.parametrize("name", with_heavy(LAST))
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
    with capture_layer(model.eval()) as default:
        model(images)
    with capture_layer(model, "conv3" if isinstance(model, ArticleNet) else "blocks") as named:
        model(images)
    assert torch.equal(default[0], named[0])


def test_a_map_of_one_place_is_not_chosen():
    squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 9, 1), nn.Flatten())
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), *squeeze, nn.Linear(9, 2)).double().eval()
    with capture_layer(model) as seen:
        model(pictures(1, 8))
    assert seen[0].shape == (1, 5, 6, 6)


def test_a_map_one_pixel_wide_is_chosen():
    pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), *pooled).double().eval()
    for images in (pictures(1, 8)[..., :3], pictures(1, 8)[:, :, :3]):
        with capture_layer(model) as captured:
            model(images)
        assert captured[0].shape in [(1, 5, 6, 1), (1, 5, 1, 6)]


def test_a_module_has_several_names_if_it_is_registered_twice():
    model = small()
    model.again = model.conv2
    for layer in ("again", "conv2", model.again):
        with capture_layer(model, layer) as captured:
            model(pictures(1, 8))
        assert captured[0].shape == (1, 5, 4, 4)


def test_a_layer_that_returns_no_tensor_is_refused():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def forward(self, x):
            return self.two(x)[0]

    wanted = r"^layer: got 'two', which returns tuple; must return a tensor"
    model = Model()
    with pytest.raises(ValueError, match=wanted), capture_layer(model, "two"):
        model(pictures())
    with pytest.raises(ValueError, match=r"^model: got int; must"), capture_layer(3):
        pass


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
    ("layer", "got"),
    [
        ("cnv2", r"'cnv2'; must be .*, such as .*conv2"),
        (nn.ReLU(), r"ReLU\(\); must be a module of the model or its name"),
        (3, "3; must be"),
        ("unused", "'unused', which does not run; must be"),
    ],
)
def test_layers_that_are_refused_by_name(layer, got):
    model = network("mixed")
    with pytest.raises(ValueError, match=f"^layer: got {got}"), capture_layer(model, layer):
        model(pictures())


def test_a_network_without_convolutions_has_no_default_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval()
    with (
        pytest.raises(ValueError, match=r"^layer: got no name, and no convolution"),
        capture_layer(model),
    ):
        model(pictures(1, 2))


def test_an_error_inside_is_not_hidden_and_no_hook_stays():
    model = network("mixed")
    for layer in (None, "conv2"):
        with pytest.raises(KeyError), capture_layer(model, layer):
            raise KeyError
    assert not model.conv2._forward_hooks
    assert torch.overrides._get_current_function_mode_stack() == []


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def pooled(inputs):
    return [nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, 4, 1), nn.Flatten()]


class Functional(nn.Module):
    """Convolutions as modules first and as functions last."""

    def __init__(self):
        super().__init__()
        self.first = conv(3, 4)
        self.last = nn.Parameter(
            torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(1))
        )

    def forward(self, x):
        x = F.conv2d(self.first(x).relu(), self.last)
        return F.relu(x).mean((2, 3))


class Backwards(nn.Module):
    """Twelve convolutions, registered in the reverse of the order in which they run."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([conv(4, 4) for _ in range(11)] + [conv(3, 4)])

    def forward(self, x):
        for layer in reversed(self.layers):
            x = layer(x).relu()
        return x.mean((2, 3))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(conv(3, 5), nn.ReLU(), *pooled(5)),
        nn.Sequential(*[conv(3, 3) for _ in range(20)], nn.ReLU(), *pooled(3)),
        Functional(),
        Backwards(),
    ],
    ids=["a pooled convolution", "many layers", "functional", "registered backwards"],
)
def test_the_last_map_is_found_though_interception_starts_late(model):
    torch.manual_seed(0)
    model, images, outputs = model.double().eval(), pictures(2, 12), []

    def record(func, args, kwargs):
        out = func(*args, **kwargs)
        if function_name(func) in ("conv2d", "relu"):
            outputs.append(out)
        return out

    with torch.no_grad(), intercept(record):
        model(images.clone())
    expected = [out for out in outputs if out.shape[2:].numel() > 1][-1]
    with torch.no_grad(), capture_layer(model) as seen:
        model(images.clone())
    assert torch.equal(seen[0], expected)


# ------------------------------------------------------------------ functions


def test_every_call_goes_through_the_handler_and_what_it_calls_does_not():
    calls, x = [], torch.tensor([-1.0, 2.0])

    def double(func, args, kwargs):
        calls.append((function_name(func), len(args), sorted(kwargs)))
        return 2 * func(*args, **kwargs)

    with intercept(double):
        result = F.relu(x, inplace=False) + torch.mul(input=x, other=3)
    assert calls == [("relu", 1, ["inplace"]), ("mul", 0, ["input", "other"]), ("add", 2, [])]
    assert result.tolist() == [2 * (0 - 6), 2 * (4 + 12)]
    with pytest.raises(KeyError), intercept(double):
        raise KeyError
    assert torch.overrides._get_current_function_mode_stack() == []
    assert function_name(3) == ""
