"""Hooks into a forward pass: every function, the right layer, ReLUs, and each added constant."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from explainers import small
from stock_networks import ALL, error, network, pictures, tiny, with_heavy
from torch import nn

from xai_course.core import (
    ACTIVATIONS,
    NON_RELUS,
    RELU_LIKE,
    BiasTracer,
    capture_layer,
    function_name,
    intercept,
    relu_upper_bound,
    validate_inputs,
)
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


# ------------------------------------------------------------------ functions and ReLUs


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


# ------------------------------------------------------------------ what a network adds


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
