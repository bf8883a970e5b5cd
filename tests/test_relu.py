"""Gradient and Grad-CAM against hand-computed values, captum and grad-cam, on stock networks."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam, Saliency
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from stock_networks import CLASSES, error, network, pictures, tiny
from torch import nn

from xai_course.models import ArticleNet, BeetleNet
from xai_course.relu import forward_to_map, grad_cam, gradient

NAMES = ["resnet18", "resnet50", "vgg16", "mobilenet_v2", "densenet121", "efficientnet_lite0"]
networks = pytest.mark.parametrize("name", [*NAMES, "mixed"])

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
# A layer inside, whose output the network itself changes in place a moment later.
INSIDE = {
    "resnet18": "layer3.1.bn2",
    "resnet50": "layer3.2.bn3",
    "vgg16": "features.24",
    "mobilenet_v2": "features.13.conv.2",
    "densenet121": "features.denseblock3",
    "efficientnet_lite0": "blocks.8",
    "mixed": "bn2",
}


# ------------------------------------------------------------------ gradient


def test_gradient_of_a_linear_model_is_its_weights():
    weight = pictures(1, 4, 2, seed=3).view(1, 32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 2)).double().eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.cat([weight, -2 * weight]))
    relevance = gradient(model, pictures(3, 4, 2), [0, 1, 0])
    assert torch.equal(relevance.view(3, 32), torch.cat([weight, -2 * weight, weight]))


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


def test_gradient_is_linear_in_the_logit():
    model, images = network("resnet18"), pictures()
    summed = nn.Linear(CLASSES, 1, bias=False).double()
    with torch.no_grad():
        summed.weight.copy_(torch.arange(CLASSES))
    whole = gradient(nn.Sequential(model, summed).eval(), images, 0)
    parts = sum(k * gradient(model, images, k) for k in range(CLASSES))
    assert error(whole, parts) < 1e-12


@pytest.mark.parametrize(
    "step", [torch.Tensor.detach, lambda x: torch.from_numpy(x.detach().numpy())]
)
def test_a_model_that_autograd_cannot_follow_is_refused(step):
    class Cut(nn.Module):
        def forward(self, x):
            return step(x)

    before, after = nn.Sequential(Cut(), tiny()).eval(), nn.Sequential(tiny(), Cut()).eval()
    for model in (before, after):
        with pytest.raises(ValueError, match=r"^model: its output has no derivative"):
            gradient(model, pictures())
    with pytest.raises(ValueError, match=r"^layer: the logit does not depend on"):
        grad_cam(after, pictures())


# ------------------------------------------------------------------ Grad-CAM


def test_grad_cam_by_hand():
    model = (
        nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(8, 1)).double().eval()
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 10.0]).view(2, 1, 1, 1))
        model[2].weight.copy_(torch.tensor([[1.0, 2, 3, 4, 0, 0, 0, -4]]))
    images = torch.tensor([[[[1.0, 2], [3, -4]]]], dtype=torch.double)
    # Mean gradients 2.5 and -1; maps x and 10 x: 2.5 x - 10 x = -7.5 x.
    assert torch.equal(grad_cam(model, images), -7.5 * images)
    assert torch.equal(grad_cam(model, images, relu=True), 30.0 * (images == -4))


@pytest.mark.parametrize("name", NAMES)
def test_the_default_layer_is_the_last_convolutional_map(name):
    layer, rest = LAST[name]
    model, images, seen = network(name), pictures(2, 96), []
    with model.get_submodule(layer).register_forward_hook(
        lambda m, i, out: seen.append(out.clone())
    ):
        output = model(images.clone())
    found_output, maps = forward_to_map(model, images.requires_grad_())
    assert torch.equal(maps, rest(seen[0]))
    assert torch.equal(output, found_output)


@pytest.mark.parametrize("model", [ArticleNet(), BeetleNet()], ids=["ArticleNet", "BeetleNet"])
def test_the_default_layer_of_our_own_networks(model):
    maps = forward_to_map(model.eval(), pictures(1, 64).float().requires_grad_())[1]
    last = "conv3" if isinstance(model, ArticleNet) else "blocks"
    named = forward_to_map(model, pictures(1, 64).float().requires_grad_(), last)[1]
    assert torch.equal(maps, named)
    assert grad_cam(model, pictures(2, 64).float()).shape == (2, 1, 64, 64)


def test_a_map_of_one_place_is_not_chosen():
    squeeze = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 9, 1), nn.Flatten(), nn.Linear(9, 2)
    )
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), *squeeze).double().eval()
    assert forward_to_map(model, pictures(1, 8).requires_grad_())[1].shape == (1, 5, 6, 6)


@networks
@pytest.mark.parametrize("where", ["default", "inside"])
def test_grad_cam_agrees_with_captum(name, where):
    model, images, targets = network(name), pictures(), torch.tensor([3, 1])
    layer = INSIDE[name] if where == "inside" else LAST.get(name, ("relu", None))[0]
    after = LAST.get(name, ("", nn.Identity()))[1] if where == "default" else nn.Identity()
    if not isinstance(after, nn.Identity):
        model = nn.Sequential(model.features, nn.ReLU(), Head(model.classifier)).eval()
        layer = "1"
    ours = grad_cam(network(name), images, targets, layer=layer if where == "inside" else None)
    # Captum reads a layer's output after the network changed it in place, so it is asked about a
    # copy that changes nothing in place.
    expected = LayerGradCam(Copying(model), model.get_submodule(layer)).attribute(images, targets)
    expected = F.interpolate(expected, images.shape[2:], mode="bilinear", align_corners=False)
    assert error(ours, expected) < 1e-10
    assert torch.equal(
        grad_cam(network(name), images, targets, layer=INSIDE[name]),
        grad_cam(network(name), images, targets, layer=network(name).get_submodule(INSIDE[name])),
    )


class Head(nn.Module):
    """DenseNet's pooling and classifier."""

    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, x):
        return self.classifier(x.mean((2, 3)))


class Copying(nn.Module):
    """A model whose layers each hand on a copy, so that nothing later changes what a hook kept."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        leaves = [m for m in self.model.modules() if m is not self.model]
        handles = [m.register_forward_hook(lambda m, i, out: out.clone()) for m in leaves]
        try:
            return self.model(x.clone())
        finally:
            for handle in handles:
                handle.remove()


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "mobilenet_v2"])
def test_the_picture_agrees_with_grad_cam(name):
    model, images = network(name), pictures(2, 96)
    wanted = [ClassifierOutputTarget(3), ClassifierOutputTarget(1)]
    with GradCAM(model=model, target_layers=[model.get_submodule(LAST[name][0])]) as cam:
        expected = torch.from_numpy(cam(input_tensor=images.clone(), targets=wanted))
    size = forward_to_map(model, images.clone().requires_grad_())[1].shape[2:]
    at_layer = grad_cam_at(model, images, [3, 1], size)
    picture = span(F.interpolate(span(at_layer), images.shape[2:], mode="bilinear"))
    assert error(picture[:, 0].float(), expected) < 1e-5


def grad_cam_at(model, images, targets, size):
    """Return the published map at the layer's resolution, by way of the public function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "interpolate", lambda relevance, *_, **__: relevance)
        relevance = grad_cam(model, images, targets, relu=True)
    assert relevance.shape[2:] == size
    return relevance


def span(maps):
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (1e-7 + high - low)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "efficientnet_lite0"])
def test_the_map_of_a_pooled_head_sums_to_the_logit_minus_its_bias(name):
    model, images = network(name), pictures(3, 96)
    size = forward_to_map(model, images.clone().requires_grad_())[1].shape[2:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "interpolate", lambda relevance, *_, **__: relevance)
        relevance = grad_cam(model, images, 2)
    head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        expected = model(images)[:, 2] - head.bias[2]
    assert relevance.shape[2:] == size
    assert error(relevance.sum((1, 2, 3)), expected) < 1e-10


def test_a_hook_sees_the_layer_and_not_what_later_overwrites_it():
    model, images = network("mixed"), pictures(2, 32)
    with torch.no_grad():
        x = F.max_pool2d(torch.relu(model.conv1(images - 0.1)), 3, 2, 1)
        expected = model.bn2(model.conv2(x))
    maps = forward_to_map(model, images.requires_grad_(), "bn2")[1]
    assert error(maps.detach(), expected) < 1e-14
    assert (maps < 0).any()


def test_the_last_run_of_a_module_counts():
    model, images = network("mixed"), pictures(2, 32)
    assert torch.equal(grad_cam(model, images, layer="relu"), grad_cam(model, images))
    by_module = grad_cam(model, images, layer=model.relu)
    assert torch.equal(by_module, grad_cam(model, images))


@pytest.mark.parametrize(
    ("layer", "came"),
    [
        ("cnv2", r"got 'cnv2'; allowed .*, such as .*conv2"),
        (nn.ReLU(), r"got ReLU\(\)"),
        (3, "got 3"),
        ("fc1", r"'fc1' returns \(2, 16\)"),
        ("unused", "'unused' does not run"),
    ],
)
def test_layers_that_are_refused_by_name(layer, came):
    with pytest.raises(ValueError, match=f"^layer: {came}"):
        grad_cam(network("mixed"), pictures(), layer=layer)


def test_a_layer_that_the_logit_does_not_need_is_refused():
    class Side(nn.Module):
        def __init__(self):
            super().__init__()
            self.side, self.main = nn.Conv2d(3, 3, 1).double(), tiny()

        def forward(self, x):
            self.side(x)
            return self.main(x)

    with pytest.raises(ValueError, match=r"^layer: the logit does not depend on 'side'"):
        grad_cam(Side().eval(), pictures(), layer="side")


def test_a_network_without_convolutions_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval()
    with pytest.raises(ValueError, match=r"^layer: no convolution was seen"):
        grad_cam(model, pictures(1, 2))


@given(
    count=st.integers(1, 3), high=st.integers(6, 20), wide=st.integers(6, 20), k=st.integers(0, 6)
)
@settings(max_examples=25, deadline=None)
def test_grad_cam_keeps_its_sign_and_its_size(count, high, wide, k):
    images = pictures(count, 20)[:, :, :high, :wide]
    signed, published = grad_cam(tiny(), images, k), grad_cam(tiny(), images, k, relu=True)
    assert signed.shape == published.shape == (count, 1, high, wide)
    assert (published >= 0).all()
    assert (published >= signed - 1e-12).all()
