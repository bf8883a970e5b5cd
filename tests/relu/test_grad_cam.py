"""Grad-CAM: by hand, and against Captum and grad-cam."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from stock_networks import ALL, error, network, pictures, tiny, with_heavy
from torch import nn

from xai_course.core import capture_layer
from xai_course.models import ArticleNet, BeetleNet
from xai_course.relu import grad_cam

# A layer whose output the network itself changes in place a moment later.
INSIDE = {
    "small_resnet": "layer3.0.bn2",
    "bottleneck": "layer3.0.bn3",
    "small_vgg": "features.14",
    "small_mobilenet": "features.3.conv.2",
    "small_densenet": "features.denseblock1",
    "mixed": "bn2",
    "resnet18": "layer3.1.bn2",
    "resnet50": "layer3.2.bn3",
    "vgg16": "features.24",
    "mobilenet_v2": "features.13.conv.2",
    "densenet121": "features.denseblock3",
    "efficientnet_lite0": "blocks.8",
}
# The last convolutional map, where a module returns it. DenseNet's comes from a function.
LAST = {
    "small_resnet": "layer4",
    "bottleneck": "layer4",
    "small_vgg": "features.17",
    "small_mobilenet": "features",
    "mixed": "relu",
    "resnet18": "layer4",
    "resnet50": "layer4",
    "vgg16": "features.29",
    "mobilenet_v2": "features",
    "efficientnet_lite0": "features",
}


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


@pytest.mark.parametrize("model", [ArticleNet(), BeetleNet()], ids=["ArticleNet", "BeetleNet"])
def test_grad_cam_of_our_own_networks(model):
    images = pictures(2, 64).float()
    relevance = grad_cam(model.eval(), images)
    assert relevance.shape == (2, 1, 64, 64)
    last = "conv3" if isinstance(model, ArticleNet) else "blocks"
    assert torch.equal(relevance, grad_cam(model, images, layer=last))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("where", ["default", "inside"])
def test_grad_cam_agrees_with_captum(name, where):
    model, images, targets = network(name), pictures(), torch.tensor([3, 1])
    asked = INSIDE[name] if where == "inside" else None
    ours = grad_cam(model, images, targets, layer=asked)
    layer = asked or LAST.get(name, "1")
    if layer == "1":  # DenseNet's last map comes out of a function
        model = nn.Sequential(model.features, nn.ReLU(), Head(model.classifier)).eval()
    # Captum reads a layer's output after the network changed it in place, so it is asked about a
    # copy that changes nothing in place.
    expected = LayerGradCam(Copying(model), model.get_submodule(layer)).attribute(images, targets)
    expected = F.interpolate(expected, images.shape[2:], mode="bilinear", align_corners=False)
    assert error(ours, expected) < 1e-10


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


@pytest.mark.parametrize(
    "name",
    with_heavy(
        ["small_resnet", "small_vgg", "small_mobilenet", "resnet18", "vgg16", "mobilenet_v2"]
    ),
)
def test_the_image_agrees_with_grad_cam(name):
    model, images = network(name), pictures(2, 96)
    wanted = [ClassifierOutputTarget(3), ClassifierOutputTarget(1)]
    with GradCAM(model=model, target_layers=[model.get_submodule(LAST[name])]) as cam:
        expected = torch.from_numpy(cam(input_tensor=images.clone(), targets=wanted))
    at_layer = at_the_layer(model, images, [3, 1], relu=True)
    ours = span(F.interpolate(span(at_layer), images.shape[2:], mode="bilinear"))
    assert error(ours[:, 0].float(), expected) < 1e-5


def at_the_layer(model, images, targets, **options):
    """Return Grad-CAM at the layer's resolution, by way of the public function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "interpolate", lambda relevance, *_, **__: relevance)
        relevance = grad_cam(model, images, targets, **options)
    with capture_layer(model) as seen:
        model(images.clone())
    assert relevance.shape[2:] == seen[0].shape[2:]
    return relevance


def span(maps):
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (1e-7 + high - low)


@pytest.mark.parametrize(
    "name",
    with_heavy(name for name in INSIDE if name not in ("small_vgg", "vgg16", "mixed")),
)
def test_the_map_of_a_pooled_head_sums_to_the_logit_minus_its_bias(name):
    model, images = network(name), pictures(3, 96)
    relevance = at_the_layer(model, images, 2)
    head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        expected = model(images)[:, 2] - head.bias[2]
    assert error(relevance.sum((1, 2, 3)), expected) < 1e-10


def test_by_name_by_module_and_by_default_the_last_run_counts():
    model, images = network("mixed"), pictures(2, 32)
    expected = grad_cam(model, images)
    assert torch.equal(grad_cam(model, images, layer="relu"), expected)
    assert torch.equal(grad_cam(model, images, layer=model.relu), expected)


@pytest.mark.parametrize(
    ("layer", "got"),
    [
        ("cnv2", r"'cnv2'; must be .*, such as .*conv2"),
        (nn.ReLU(), r"ReLU\(\)"),
        (3, "3"),
        ("fc1", r"'fc1', which returns \(2, 16\); must return \(2, K, h, w\)"),
        ("unused", "'unused', which does not run"),
    ],
)
def test_layers_that_are_refused_by_name(layer, got):
    with pytest.raises(ValueError, match=f"^layer: got {got}"):
        grad_cam(network("mixed"), pictures(), layer=layer)


def test_a_layer_that_the_logit_does_not_need_is_refused():
    class Side(nn.Module):
        def __init__(self):
            super().__init__()
            self.side, self.main = nn.Conv2d(3, 3, 1).double(), tiny()

        def forward(self, x):
            self.side(x)
            return self.main(x)

    with pytest.raises(ValueError, match=r"^layer: got 'side', which does not affect the logit"):
        grad_cam(Side().eval(), pictures(), layer="side")


@given(
    count=st.integers(1, 3),
    height=st.integers(6, 20),
    width=st.integers(6, 20),
    k=st.integers(0, 6),
)
@settings(max_examples=25, deadline=None)
def test_grad_cam_keeps_its_sign_and_its_size(count, height, width, k):
    images = pictures(count, 20)[:, :, :height, :width]
    signed, published = grad_cam(tiny(), images, k), grad_cam(tiny(), images, k, relu=True)
    assert signed.shape == published.shape == (count, 1, height, width)
    assert (published >= 0).all()
    assert (published >= signed - 1e-12).all()
