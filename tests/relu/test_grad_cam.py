"""Grad-CAM and its sisters: by hand, and against Captum, grad-cam and torchcam."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from stock_networks import ALL, error, network, pictures, tiny, with_heavy
from torch import nn
from torchcam.methods import LayerCAM as TorchcamLayerCAM
from torchvision.models import VisionTransformer

from xai_course.core import capture_layer
from xai_course.models import ArticleNet, BeetleNet
from xai_course.relu import (
    default_layer,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
)

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


def at_the_layer(model, images, targets, method=grad_cam, **options):
    """Return a map at the layer's resolution, by way of the public function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "interpolate", lambda relevance, *_, **__: relevance)
        relevance = method(model, images, targets, **options)
    with capture_layer(model, options.get("layer")) as seen:
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


# ---- its sisters ---------------------------------------------------------------------------------

ALL_FOUR = (grad_cam, grad_cam_plus_plus, hires_cam, layer_cam)
PEERS = {
    grad_cam: GradCAM,
    grad_cam_plus_plus: GradCAMPlusPlus,
    hires_cam: HiResCAM,
    layer_cam: LayerCAM,
}


def test_the_four_by_hand():
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 1)).double().eval()
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[1.0, 3.0, -2.0, 2.0]]))
    images = torch.tensor([[[[2.0, 0.0]], [[4.0, 1.0]]]], dtype=torch.double)
    expected = {
        grad_cam: [2 * 2.0 + 0 * 4, 2 * 0.0 + 0 * 1],
        # Σ A = 2 and 5; 1 / (2 + 2) + 3 / (2 + 6) = 5/8, and 2 / (2 + 10) = 1/6 without the -2.
        grad_cam_plus_plus: [2 * 5 / 8 + 4 / 6, 1 / 6],
        hires_cam: [2.0 - 8, 0.0 + 2],
        layer_cam: [2.0, 2.0],
    }
    for method, row in expected.items():
        wanted = torch.tensor([[[row]]], dtype=torch.double)
        assert torch.allclose(method(model, images, layer="0"), wanted, atol=1e-14), method
        assert torch.allclose(method(model, images, layer="0", relu=True), wanted.relu()), method


class Louder(nn.Module):
    """A model whose logits are 1000 times as large."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return 1000 * self.model(x)


@pytest.mark.parametrize("method", PEERS)
@pytest.mark.parametrize("name", ["small_resnet", "small_vgg", "small_mobilenet"])
def test_the_four_agree_with_the_grad_cam_package(method, name):
    # The package adds 1e-6 to a denominator of Grad-CAM++ with the square of the gradient, which is
    # as small in these networks. It does not count where the logits are larger.
    model, images, layer = Louder(network(name)).eval(), pictures(2, 96), f"model.{LAST[name]}"
    wanted = [ClassifierOutputTarget(3), ClassifierOutputTarget(1)]
    with PEERS[method](model=model, target_layers=[model.get_submodule(layer)]) as cam:
        expected = torch.from_numpy(cam(input_tensor=images.clone(), targets=wanted))
    at_layer = at_the_layer(model, images, [3, 1], method, relu=True)
    ours = span(F.interpolate(span(at_layer), images.shape[2:], mode="bilinear"))
    assert error(ours[:, 0].float(), expected) < 1e-4


@pytest.mark.parametrize("name", ["small_resnet", "small_mobilenet"])
def test_layer_cam_agrees_with_torchcam(name):
    """Its Grad-CAM++ is no oracle: version 0.5 divides a copy, so its alpha is g² alone."""
    model, images = network(name), pictures(1, 96)
    for target in range(4):
        with TorchcamLayerCAM(model, LAST[name]) as cam:
            scores = model(images.clone().requires_grad_())
            (expected,) = cam(target, scores, normalized=False)
        ours = at_the_layer(model, images, target, layer_cam, relu=True)[:, 0]
        assert error(ours, expected) < 1e-10


@given(height=st.integers(4, 14), width=st.integers(4, 14), seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_hires_cam_sums_to_the_logit_of_any_linear_head(height, width, seed):
    torch.manual_seed(seed)
    images = torch.randn(2, 2, height, width, dtype=torch.double)
    body = nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU()
    for pool in (nn.Identity(), nn.AdaptiveAvgPool2d((2, 1)), nn.AvgPool2d(2)):
        model = nn.Sequential(*body, pool, nn.Flatten(), nn.LazyLinear(3)).double().eval()
        with torch.no_grad():
            logits = model(images)[:, 1]
        expected = logits - model[-1].bias[1].detach()
        summed = {
            method: at_the_layer(model, images, 1, method, layer="3").sum((1, 2, 3))
            for method in (hires_cam, grad_cam)
        }
        assert torch.allclose(summed[hires_cam], expected, atol=1e-10)
        assert not torch.allclose(summed[grad_cam], expected, atol=1e-6)


def test_hires_cam_is_grad_cam_under_a_pooled_head_and_not_elsewhere():
    model, images = network("small_resnet"), pictures(2)
    assert error(hires_cam(model, images, 1), grad_cam(model, images, 1)) < 1e-12
    inside = hires_cam(model, images, 1, layer="layer3")
    assert error(inside, grad_cam(model, images, 1, layer="layer3")) > 0.1


def test_layer_cam_and_hires_cam_share_what_is_positive():
    """Their difference is what negative gradients give: HiResCAM of both signs adds up."""
    model, images = network("small_vgg"), pictures(2)
    up, down = (layer_cam(model, images, lambda y, s=s: s * y[:, 2]) for s in (1, -1))
    assert error(up - down, hires_cam(model, images, 2)) < 1e-12
    assert (up >= 0).all()
    assert (down >= 0).all()


def test_grad_cam_plus_plus_of_an_even_gradient_is_grad_cam_scaled_map_by_map():
    """Under a pooled head g is the same at all positions: the weight is P g⁺ / (2 + g Σ A)."""
    model, images = network("small_resnet"), pictures(2)
    with capture_layer(model) as captured:
        model(images.clone())
    maps = captured[0].detach()
    grad = model.fc.weight[2].detach()[:, None, None] / maps[0, 0].numel()
    total = maps.sum((2, 3), keepdim=True)
    weights = maps[0, 0].numel() * grad.relu() / (2 + grad.relu() * total)
    expected = (weights * maps).sum(1, keepdim=True)
    assert error(at_the_layer(model, images, 2, grad_cam_plus_plus), expected) < 1e-12


def test_grad_cam_plus_plus_refuses_to_divide_by_what_is_not_positive():
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(2, 1)).double().eval()
    nn.init.constant_(model[2].weight, 1.0)
    images = torch.tensor([[[[-3.0, 1.0]]]], dtype=torch.double)  # 2 + 1 · (-2) = 0
    with pytest.raises(ValueError, match=r"^layer: got one with negative outputs, .*; must be one"):
        grad_cam_plus_plus(model, images, layer="0")
    fine = grad_cam_plus_plus(model, images + 0.5, layer="0")  # 2 + 1 · (-1) = 1
    assert torch.equal(fine, 2 * (images + 0.5))


@pytest.mark.parametrize("method", ALL_FOUR)
def test_an_image_alone_has_the_same_map(method):
    model, images = network("small_mobilenet"), pictures(3)
    together = method(model, images, [0, 1, 2])
    for n in range(3):
        assert error(method(model, images[n : n + 1], n), together[n : n + 1]) < 1e-12


@pytest.mark.parametrize("method", ALL_FOUR[1:])
@pytest.mark.parametrize(
    ("layer", "got"),
    [("cnv2", "'cnv2'; must be"), ("fc1", r"'fc1', which returns \(2, 16\)"), (3, "3; must")],
)
def test_the_sisters_refuse_the_same_layers(method, layer, got):
    with pytest.raises(ValueError, match=f"^layer: got {got}"):
        method(network("mixed"), pictures(), layer=layer)


# ---- which layer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", with_heavy(LAST))
def test_the_default_layer_by_name_gives_the_same_map(name):
    model, images = network(name), pictures()
    assert default_layer(model, images) == LAST[name]
    assert torch.equal(grad_cam(model, images, layer=LAST[name]), grad_cam(model, images))


class ByFunctions(nn.Module):
    """A convolution, and then functions rather than modules."""

    def __init__(self, last):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), last
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.last(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("last", "name"),
    [
        (lambda x: x, "conv"),
        (F.relu, "relu after conv"),
        (F.relu_, "relu after conv"),
        (lambda x: F.gelu(x * 2), "gelu after conv"),
        (nn.ReLU(inplace=True), "last"),
    ],
)
def test_the_default_layer_where_a_function_makes_the_map(last, name):
    assert default_layer(ByFunctions(last).eval(), torch.rand(2, 3, 8, 8)) == name


def test_the_default_layer_of_a_densenet_is_made_by_a_function():
    assert default_layer(network("small_densenet"), pictures()) == "relu after features"


def test_the_default_layer_leaves_no_hook_and_checks_its_model():
    model = tiny()
    assert default_layer(model, pictures()) == "4"
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        default_layer(tiny().train(), pictures())
    with pytest.raises(ValueError, match=r"^layer: got no name, and no convolution was seen"):
        default_layer(nn.Sequential(nn.Flatten()).eval(), pictures())


def small_vit():
    torch.manual_seed(0)
    vit = VisionTransformer(
        image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16,
        num_classes=4,
    )  # fmt: skip
    nn.init.normal_(vit.heads.head.weight)
    return vit.double().eval()


class PositionHead(nn.Module):
    """A convolution, then linear layers at each position, and the mean over positions."""

    def __init__(self, *layers):
        super().__init__()
        self.conv, self.layers = nn.Conv2d(3, 4, 3), nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(self.conv(x).relu().permute(0, 2, 3, 1)).mean((1, 2))


@pytest.mark.parametrize("method", [*ALL_FOUR, default_layer])
def test_a_vision_transformer_needs_a_named_layer(method):
    for model in (
        small_vit(),
        PositionHead(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double().eval(),
    ):
        with pytest.raises(ValueError, match=r"^layer: got no name, .* must be the name") as caught:
            method(model, pictures(2, 32))
        assert "None" not in str(caught.value)


def test_a_vision_transformer_can_be_asked_for_its_patches():
    model, images = small_vit(), pictures(2, 32)
    assert hires_cam(model, images, layer="conv_proj").shape == (2, 1, 32, 32)
    with pytest.raises(ValueError, match=r"^layer: got 'encoder', which returns \(2, 17, 8\)"):
        grad_cam(model, images, layer="encoder")


def test_one_convolution_is_enough_where_a_classifier_follows():
    pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    hidden = nn.Flatten(), nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)
    for head in (pooled, hidden):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head).double().eval()
        model(pictures(2, 16))
        assert default_layer(model, pictures(2, 16)) == "1"
    by_position = PositionHead(nn.Linear(4, 2)).double().eval()
    assert default_layer(by_position, pictures(2, 16)) == "relu after conv"
