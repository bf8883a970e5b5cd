"""The gradient, three rules for one ReLU, and SmoothGrad: by hand, and against oracles."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from captum.attr import Deconvolution, GuidedBackprop, Saliency
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import ALL, CLASSES, error, network, pictures, tiny, with_heavy
from torch import nn

from xai_course.models import ArticleNet
from xai_course.relu import (
    deconvnet,
    grad_cam,
    gradient,
    gradient_times_input,
    guided_backprop,
    relu_masks,
    relu_rule,
    smooth_grad,
)

networks = pytest.mark.parametrize("name", ALL)

# How many ReLUs run in a forward pass.
RELUS = {
    "small_resnet": 11,
    "bottleneck": 16,
    "small_vgg": 9,
    "small_mobilenet": 15,
    "small_densenet": 15,
    "mixed": 5,
    "resnet18": 17,
    "resnet50": 49,
    "vgg16": 15,
    "mobilenet_v2": 35,
    "densenet121": 121,
    "efficientnet_lite0": 33,
}


def plain(is_open, grad):
    return grad * is_open


# ------------------------------------------------------------------ gradient


def test_gradient_of_a_linear_model_is_its_weights():
    weight = pictures(1, 4, 2, seed=3).view(1, 32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 2)).double().eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.cat([weight, -2 * weight]))
    images, targets = pictures(3, 4, 2), [0, 1, 0]
    relevance = gradient(model, images, targets)
    assert torch.equal(relevance.view(3, 32), torch.cat([weight, -2 * weight, weight]))
    assert torch.equal(gradient_times_input(model, images, targets), relevance * images)


@networks
def test_gradient_agrees_with_captum(name):
    model, images, targets = network(name), pictures(), torch.tensor([3, 1])
    # Captum hands its input to the network itself: a copy, since `mixed` works in place on it.
    expected = Saliency(lambda x: model(x.clone())).attribute(
        images.clone().requires_grad_(), targets, abs=False
    )
    assert error(gradient(model, images, targets), expected) < 1e-10


@given(data=st.data(), channels=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_gradient_predicts_a_small_change(data, channels, seed):
    model, images = tiny(channels), pictures(1, 12, channels, seed=seed)
    target = data.draw(st.integers(0, CLASSES - 1))
    step = 1e-9 * pictures(1, 12, channels, seed=seed + 1)
    with torch.no_grad():
        after, before = model(images + step)[0, target], model(images - step)[0, target]
    predicted = 2 * (gradient(model, images, target) * step).sum()
    assert float(after - before) == pytest.approx(float(predicted), rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("explain", [gradient, gradient_times_input, smooth_grad, grad_cam])
def test_linear_in_the_logit(explain):
    model, images = network("mixed"), pictures(2, 32)
    summed = nn.Linear(CLASSES, 1, bias=False).double()
    with torch.no_grad():
        summed.weight.copy_(torch.arange(CLASSES))
    whole = explain(nn.Sequential(model, summed).eval(), images, 0)
    parts = sum(k * explain(model, images, k) for k in range(CLASSES))
    assert error(whole, parts) < 1e-12


@pytest.mark.parametrize(
    "step", [torch.Tensor.detach, lambda x: torch.from_numpy(x.detach().numpy())]
)
@pytest.mark.parametrize("explain", [gradient, gradient_times_input, deconvnet, smooth_grad])
def test_a_model_that_autograd_cannot_follow_is_refused(explain, step):
    class Cut(nn.Module):
        def forward(self, x):
            return step(x)

    before, after = nn.Sequential(Cut(), tiny()).eval(), nn.Sequential(tiny(), Cut()).eval()
    for model in (before, after):
        with pytest.raises(ValueError, match=r"^model: got an output without derivative"):
            explain(model, pictures())
    with pytest.raises(ValueError, match=r"^layer: got the last convolution, which does not"):
        grad_cam(after, pictures())


# ------------------------------------------------------------------ three rules for one ReLU


@pytest.mark.parametrize(
    ("explain", "expected"),
    [
        # Four units: open or closed in the forward pass, +2 or -2 in the backward pass.
        (gradient, [2, -2, 0, 0]),
        (deconvnet, [2, 0, 2, 0]),
        (guided_backprop, [2, 0, 0, 0]),
    ],
)
def test_what_each_rule_lets_through(explain, expected):
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(4, 1)).double().eval()
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[2.0, -2, 2, -2]]))
    images = torch.tensor([1.0, 1, -1, -1], dtype=torch.double).view(1, 1, 1, 4)
    assert explain(model, images).flatten().tolist() == expected


@pytest.mark.parametrize(
    ("explain", "expected"),
    [(gradient, [0, 1, 0]), (deconvnet, [1, 1, 1]), (guided_backprop, [0, 1, 0])],
)
@pytest.mark.parametrize(
    "relu6",
    [nn.ReLU6(), nn.ReLU6(inplace=True), nn.Hardtanh(0, 6), F.relu6, lambda x: x.clamp(0, 6)],
)
def test_a_relu6_is_open_between_its_ends(explain, expected, relu6):
    class Sum(nn.Module):
        def forward(self, x):
            return relu6(x).flatten(1).sum(1, keepdim=True)

    images = torch.tensor([-1.0, 3, 7], dtype=torch.double).view(1, 1, 1, 3)
    assert explain(Sum().eval(), images).flatten().tolist() == expected


SPELLINGS = {
    "F.relu": F.relu,
    "F.relu in place": partial(F.relu, inplace=True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": torch.Tensor.relu,
    "Tensor.relu_": torch.Tensor.relu_,
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "clamp(min=0)": lambda x: x.clamp(min=0),
    "clamp(0)": lambda x: x.clamp(0.0),
    "torch.clamp(input=)": lambda x: torch.clamp(input=x, min=0),
    "clamp_": lambda x: x.clamp_(min=0),
    "clip": lambda x: torch.clip(x, min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "nn.Threshold in place": nn.Threshold(0.0, 0.0, inplace=True),
    "hardtanh without end": lambda x: F.hardtanh(x, 0, torch.inf),
}


class Spelt(nn.Module):
    """Two convolutions and two ReLUs of one spelling, the first in the middle of a sum."""

    def __init__(self, relu):
        super().__init__()
        self.relu_ = [relu]  # in a list: one module used twice, and not registered
        self.body = tiny()

    def forward(self, x):
        h = self.body[0](x)
        out = self.relu_[0](h) + 0.3 * h  # what works in place changes h as well
        h = self.body[3](self.body[2](out))
        return self.body[7](self.relu_[0](h).mean((2, 3)))


def by_matrices(model, image, target, rule, in_place):
    """Go back through `Spelt` with each step as a matrix, from its Jacobian; no ReLU is run."""
    body, seen = model.body, {}
    with torch.no_grad():
        seen["h"] = body[0](image)
        out = seen["h"].clamp_min(0) if in_place else seen["h"]
        seen["pool"] = seen["h"].clamp_min(0) + 0.3 * out
        seen["h2"] = body[3](body[2](seen["pool"]))

    def matrix(step, at):
        jacobian = torch.autograd.functional.jacobian(step, at)
        return jacobian.reshape(-1, at.numel())

    back = body[7].weight[target].detach() @ matrix(lambda z: z.mean((2, 3)), seen["h2"])
    back = rule(seen["h2"].flatten(), back)
    back = back @ matrix(lambda z: body[3](body[2](z)), seen["pool"])
    # out = relu(h) + 0.3 h: in place, h is relu(h) by then
    both = rule(seen["h"].flatten(), 1.3 * back if in_place else back)
    back = both if in_place else both + 0.3 * back
    return (back @ matrix(body[0], image)).view_as(image)


RULES = {
    gradient: lambda x, grad: grad * (x > 0),
    deconvnet: lambda _x, grad: grad * (grad > 0),
    guided_backprop: lambda x, grad: grad * (x > 0) * (grad > 0),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("explain", RULES)
def test_every_spelling_agrees_with_dense_matrices(explain, spelling):
    model, image = Spelt(SPELLINGS[spelling]).eval(), pictures(1, 6)
    in_place = spelling.endswith(("in place", "relu_", "clamp_"))
    expected = by_matrices(model, image, 2, RULES[explain], in_place)
    assert error(explain(model, image, 2), expected) < 1e-12
    with relu_rule(plain) as seen:
        assert error(gradient(model, image, 2), gradient(model, image, 2)) == 0
    assert len(seen) == 4


@networks
def test_the_plain_rule_changes_nothing_and_no_relu_is_missed(name):
    model, images = network(name), pictures(2, 32)
    with relu_rule(plain) as seen:
        relevance = gradient(model, images)
        logits = model(images.clone())
    assert torch.equal(relevance, gradient(model, images))
    assert torch.equal(logits, model(images.clone()))
    assert len(seen) == 2 * RELUS[name]


@pytest.mark.parametrize(
    "name",
    with_heavy(["small_resnet", "bottleneck", "small_vgg", "resnet18", "resnet50", "vgg16"]),
)
@pytest.mark.parametrize(
    ("explain", "theirs"), [(guided_backprop, GuidedBackprop), (deconvnet, Deconvolution)]
)
@pytest.mark.filterwarnings("ignore:Setting .* hooks on ReLU")
def test_the_rules_agree_with_captum_where_it_is_right(name, explain, theirs):
    model, images, targets = network(name), pictures(), torch.tensor([3, 1])
    expected = theirs(model).attribute(images.clone().requires_grad_(), targets)
    assert error(explain(model, images, targets), expected) < 1e-10


@pytest.mark.filterwarnings("ignore:Setting .* hooks on ReLU")
def test_ours_is_right_where_captum_silently_gives_the_plain_gradient():
    model, image = Spelt(F.relu).eval(), pictures(1, 6)
    theirs = GuidedBackprop(model).attribute(image.clone().requires_grad_(), 2)
    assert error(theirs, gradient(model, image, 2)) == 0
    expected = by_matrices(model, image, 2, RULES[guided_backprop], in_place=False)
    assert error(guided_backprop(model, image, 2), expected) < 1e-12
    assert error(theirs, expected) > 0.1


# DenseNet's last ReLU is a function, and MobileNet's are ReLU6, which Captum does not know.
@pytest.mark.parametrize(
    "name", with_heavy(["small_densenet", "small_mobilenet", "densenet121", "mobilenet_v2"])
)
@pytest.mark.filterwarnings("ignore:Setting .* hooks on ReLU")
def test_captum_misses_relus_that_are_functions_or_relu6(name):
    images, targets = pictures(2, 64), torch.tensor([3, 1])
    theirs = GuidedBackprop(network(name)).attribute(images.requires_grad_(), targets)
    assert error(theirs, guided_backprop(network(name), images, targets)) > 0.05


@pytest.mark.parametrize("name", with_heavy(["small_vgg", "vgg16"]))
@pytest.mark.parametrize("explain", [guided_backprop, deconvnet])
def test_the_rules_agree_with_zennit(explain, name):
    import zennit
    from zennit.rules import ReLUDeconvNet, ReLUGuidedBackprop

    hook = ReLUGuidedBackprop() if explain is guided_backprop else ReLUDeconvNet()
    composite = zennit.core.Composite(
        lambda _ctx, _name, module: hook if isinstance(module, nn.ReLU) else None
    )
    model, images = network(name), pictures()
    targets = torch.eye(CLASSES, dtype=torch.double)[[3, 1]]
    inputs = images.clone().requires_grad_()
    with composite.context(model) as changed:
        (expected,) = torch.autograd.grad(changed(inputs), inputs, targets)
    assert error(explain(model, images, [3, 1]), expected) < 1e-10


@given(seed=st.integers(0, 1000), size=st.integers(5, 12), target=st.integers(0, CLASSES - 1))
@settings(max_examples=20, deadline=None)
def test_the_rules_agree_where_all_is_open_and_positive(seed, size, target):
    model, images = tiny(), pictures(1, size, seed=seed)
    with torch.no_grad():  # every gate open, every weight behind the first layer positive
        for layer, bias in ((0, 1e3), (3, 1e6)):
            model[layer].bias.add_(bias)
        for layer in (3, 7):
            model[layer].weight.abs_()
    for explain in (deconvnet, guided_backprop):
        assert error(explain(model, images, target), gradient(model, images, target)) < 1e-12
    with torch.no_grad():  # now all that comes back is negative
        model[7].weight.neg_()
    assert gradient(model, images, target).abs().max() > 0
    for explain in (deconvnet, guided_backprop):
        assert explain(model, images, target).abs().max() == 0


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_deconvnet_does_not_look_at_the_gates_and_guided_does(seed):
    model = tiny()
    model[2] = nn.AvgPool2d(2)  # a max-pool remembers where its maximum was
    model.eval()
    one, other = pictures(1, 8, seed=seed), pictures(1, 8, seed=seed + 1)
    assert torch.equal(deconvnet(model, one, 3), deconvnet(model, other, 3))
    guided = guided_backprop(model, one, 3)
    assert not torch.equal(guided, guided_backprop(model, other, 3))


def test_a_rule_of_ones_own():
    model, images = tiny(), pictures(1, 8)
    with relu_rule(lambda _is_open, grad: torch.zeros_like(grad)):
        assert gradient(model, images).abs().max() == 0
    with relu_rule(lambda _is_open, grad: grad):
        through = gradient(model, images, 1)
    unrectified = nn.Sequential(model[0], PoolLike(model), *model[3:4], *model[5:]).eval()
    assert error(through, gradient(unrectified, images, 1)) < 1e-12


class PoolLike(nn.Module):
    """A max-pool of the rectified map that hands on the values without a ReLU of its own."""

    def __init__(self, model):
        super().__init__()
        self.pool = nn.MaxPool2d(2, return_indices=True)

    def forward(self, x):
        _, places = self.pool(x.detach().clamp_min(0))
        picked = x.flatten(2).gather(2, places.flatten(2)).view(*places.shape)
        return picked - picked.detach() + picked.detach().clamp_min(0)


# ------------------------------------------------------------------ what the rules refuse

CURVED = [
    nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.SELU(), nn.CELU(), nn.LeakyReLU(),
    nn.PReLU(dtype=torch.double), nn.Hardswish(), nn.Mish(), nn.Softplus(), nn.Softmax(1),
    nn.LogSoftmax(1), nn.Softsign(), nn.LogSigmoid(), nn.Hardsigmoid(), nn.RReLU().eval(),
    nn.Hardtanh(), nn.Hardshrink(), nn.Softshrink(), nn.Softmin(1), nn.ELU(inplace=True),
    nn.Tanhshrink(),
]  # fmt: skip


@pytest.mark.parametrize("activation", CURVED, ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("explain", [deconvnet, guided_backprop])
def test_another_activation_is_refused_by_name(explain, activation):
    model = tiny()
    model[4] = activation
    with pytest.raises(
        ValueError,
        match=r"^model: got .*, which is no ReLU; must have ReLUs .* Use integrated_gradients",
    ):
        explain(model.eval(), pictures(1, 8))
    assert torch.overrides._get_current_function_mode_stack() == []


@pytest.mark.parametrize("explain", [deconvnet, guided_backprop])
def test_a_network_without_relus_is_refused(explain):
    for model in (ArticleNet().double(), nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).double()):
        with pytest.raises(
            ValueError, match=r"^model: got no ReLU that can be seen; .* integrated_gradients"
        ):
            explain(model.eval(), pictures(1, 8))


def test_a_clamp_that_means_something_else_is_left_alone():
    class Clamped(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = tiny()

        def forward(self, x):
            lowest = torch.zeros(3, 1, 1, dtype=x.dtype) - 5
            x = x.clamp(lowest, None).clamp(-3, 3).clamp(max=2).clamp(0, 1)
            return self.body(x)

    with relu_rule(plain) as seen:
        gradient(Clamped().eval(), pictures(1, 8))
    assert seen == ["relu", "relu"]


# ------------------------------------------------------------------ SmoothGrad


def test_smooth_grad_is_the_mean_of_gradients_of_noisy_images():
    model, images = network("mixed"), pictures(2, 32)
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(3, 3, 32, 32, dtype=torch.double, generator=generator)
    spans = [float(image.max() - image.min()) for image in images]
    expected = torch.stack(
        [
            torch.stack([gradient(model, (x + 0.2 * s * e)[None], k)[0] for e in noise]).mean(0)
            for x, s, k in zip(images, spans, [3, 1], strict=True)
        ]
    )
    options = {"noise": 0.2, "samples": 3, "seed": 5}
    relevance = smooth_grad(model, images, [3, 1], **options)
    assert error(relevance, expected) < 1e-12
    assert torch.equal(relevance, smooth_grad(model, images, [3, 1], **options))
    assert error(relevance, smooth_grad(model, images, [3, 1], **options, batch_size=1)) < 1e-12
    assert not torch.equal(
        relevance, smooth_grad(model, images, [3, 1], noise=0.2, samples=3, seed=6)
    )


def test_smooth_grad_without_noise_is_the_gradient():
    model, images = tiny(), pictures(2, 12)
    assert error(smooth_grad(model, images, noise=0, samples=2), gradient(model, images)) < 1e-12


def test_smooth_grad_explains_the_class_of_the_clean_image():
    model, images = tiny(), pictures(8, 12)
    clean = model(images.clone()).argmax(1)
    relevance = smooth_grad(model, images, noise=2.0, samples=2)
    assert torch.equal(relevance, smooth_grad(model, images, clean, noise=2.0, samples=2))


def test_smooth_grad_bounds_a_pass_and_draws_no_global_random_numbers(capsys):
    sizes = []

    class Spy(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x

    model = nn.Sequential(Spy(), tiny()).eval()
    before = torch.get_rng_state()
    smooth_grad(model, pictures(3, 8), samples=4, batch_size=5, progress=True)
    assert sizes == [1, 1, 3, 5, 5, 2]  # a new model is first measured on two images
    assert "smooth_grad" in capsys.readouterr().err
    assert torch.equal(before, torch.get_rng_state())
    smooth_grad(model, pictures(1, 8), samples=1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"noise": -1}, "noise: got -1"),
        ({"noise": torch.inf}, "noise: got inf"),
        ({"noise": "much"}, "noise: got 'much'"),
        ({"samples": 0}, "samples: got 0"),
        ({"samples": 2.5}, "samples: got 2.5"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_wrong_options_of_smooth_grad_are_refused(options, got):
    with pytest.raises(ValueError, match=f"^{got}; must be"):
        smooth_grad(tiny(), pictures(1, 8), **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "step",
    [
        lambda x: x * ((x > 0).to(x.dtype) * 0.9 + 0.1),
        lambda x: x.mul(0.5).mul(2 * (x > 0).to(x.dtype)),
        lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0),
    ],
    ids=["leaky by a mask", "times twice a mask", "largest of a stack"],
)
def test_a_step_that_cannot_be_seen_is_found_in_half_precision_too(step, dtype):
    class Hidden(nn.Module):
        def forward(self, x):
            return step(x)

    model = nn.Sequential(*tiny()[:4], Hidden(), *tiny()[5:]).to(dtype).eval()
    images = pictures(2, 16).to(dtype)
    for call in (guided_backprop, deconvnet, lambda model, x: relu_masks(model, x)):
        with pytest.raises(ValueError, match=r"^model: got a non-linear step that"):
            call(model, images)
    assert guided_backprop(tiny(dtype=dtype), images).dtype == dtype
    assert next(model.parameters()).dtype == dtype
