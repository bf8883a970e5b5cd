"""What an explanation of one's own network rests on: transform, layers, assumptions, baselines."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from own_network import CLASSES, network, transform
from PIL import Image
from stock_networks import network as stock
from stock_networks import pictures, tiny
from torch import nn
from torchvision import models

from xai_course.methods import FAMILIES, report_methods
from xai_course.relu import local_linear
from xai_course.report import (
    BatchNormShift,
    applicable_methods,
    check_assumptions,
    check_baselines,
    check_network,
    check_transform,
    find_layers,
    transform_variants,
    transform_verdict,
    wrap_model,
)


def photos(count=12, size=(48, 40)):
    """Pictures of coloured grain, all different."""
    generator = torch.Generator().manual_seed(5)
    grain = torch.randint(0, 256, (count, size[1], size[0], 3), generator=generator)
    return [Image.fromarray(one.to(torch.uint8).numpy()) for one in grain]


@pytest.fixture(scope="module")
def own():
    return wrap_model(network(), transform, CLASSES)


# ---- the transform -------------------------------------------------------------------------------


def test_what_the_variants_do(own):
    picture = Image.new("RGB", (64, 64), (255, 0, 51))
    found = {name: one(picture)[:, 5, 5] for name, one in transform_variants(transform).items()}
    pixel = torch.tensor([1.0, 0.0, 0.2])
    expected = {
        "as given": pixel,
        "0 to 255": 255 * pixel,
        "0 to 1": pixel,
        "−1 to 1": torch.tensor([1.0, -1.0, -0.6]),
        "ImageNet's mean and deviation": torch.tensor(
            [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
        ),
        "red and blue swapped": pixel.flip(0),
        "squashed to a square": pixel,
        "lying on its side": pixel,
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert torch.allclose(found[name], values, atol=1e-5), name
    up = Image.new("RGB", (64, 64))
    up.paste((255, 255, 255), (0, 0, 64, 32))  # the upper half is bright
    side = transform_variants(transform)["lying on its side"](up)[0]
    assert side[:, :10].mean() == 1  # now the left half
    assert side[:, -10:].mean() == 0


@pytest.mark.parametrize("name", ["0 to 1", "−1 to 1", "ImageNet's mean and deviation"])
def test_variants_resize_and_cut_as_the_transform_does(name):
    """So that a changed answer is due to the constants alone."""
    from torchvision.transforms import v2

    cut = v2.Lambda(lambda picture: picture.crop((3, 1, 19, 17)))
    steps = [v2.Resize(20, interpolation=v2.InterpolationMode.BICUBIC), cut, v2.PILToTensor()]
    raw = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])
    scaled = v2.Compose([raw, v2.Normalize([0.1, 0.2, 0.3], [0.5, 0.7, 2.0])])
    picture = photos(1)[0]
    expected = transform_variants(raw)[name](picture)
    assert torch.allclose(transform_variants(scaled)[name](picture), expected, atol=1e-5)
    if name == "0 to 1":
        assert torch.allclose(expected, raw(picture), atol=1e-6)


@pytest.mark.parametrize(
    "bent",
    [
        lambda p: transform(p).square(),  # not linear in the pixels
        lambda p: transform(p) - transform(p).mean(),  # its constants are the picture's
        lambda p: transform(p) * torch.linspace(0, 1, 32),  # nor the same at every place
    ],
    ids=["squared", "less its mean", "darker at the left"],
)
def test_variants_of_a_transform_without_constants_take_the_middle(bent):
    picture = Image.new("RGB", (64, 64), (255, 0, 51))
    found = transform_variants(bent)["0 to 1"](picture)
    assert torch.allclose(
        found, torch.tensor([1.0, 0.0, 0.2])[:, None, None].expand_as(found), atol=1e-5
    )


def test_surprise_by_hand():
    norm = nn.BatchNorm2d(2).eval()
    norm.running_mean = torch.tensor([0.0, 1.0])
    norm.running_var = torch.tensor([1.0, 4.0])
    images = torch.tensor([[1.0, 3.0], [5.0, 5.0]]).view(2, 1, 1, 2).expand(2, 2, 1, 2)
    with BatchNormShift() as first:
        norm(images)
    # both channels: values 1, 3, 5, 5; mean 3.5, variance 2.75
    one = (2.75 + 3.5**2 - 1 - math.log(2.75)) / 2
    two = (2.75 / 4 + 2.5**2 / 4 - 1 - math.log(2.75 / 4)) / 2
    assert first.surprise().item() == pytest.approx((one + two) / 2)
    alone = first.surprise(torch.tensor([[0, 0], [0, 1]]))
    values_of_first = [(1 + 4 - 1 - 0) / 2, (1 / 4 + 1 / 4 - 1 - math.log(1 / 4)) / 2]
    assert alone[0].item() == pytest.approx(sum(values_of_first) / 2)
    assert alone[1].item() == pytest.approx((one + two) / 2)


def test_only_the_first_norm_of_a_map_is_asked():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3), nn.Unflatten(1, (3, 1, 1)))
    with BatchNormShift() as first:
        model.eval()(torch.zeros(2, 3, 1, 1))
    assert first.surprise() is None
    two = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)).eval()
    two[1].running_mean += 100
    with BatchNormShift() as first:
        two(torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0)))
    assert first.surprise() < 0.1


def test_the_right_transform_is_not_doubted_and_wrong_ones_are(own):
    right, words = transform_verdict(check_transform(own, photos()))
    assert right
    assert "Nothing speaks against the transform" in words
    for name in ("0 to 255", "−1 to 1", "ImageNet's mean and deviation"):
        wrong = own._replace(transform=transform_variants(transform)[name])
        right, words = transform_verdict(check_transform(wrong, photos()))
        assert not right, name
        assert "through “0 to 1” by" in words or "in doubt" in words


def test_labels_find_what_surprise_cannot_see(own):
    """A network that only looks at red is lost when red and blue are swapped; its norm is not."""
    red = [Image.new("RGB", (40, 40), (k * 20, 128, 240 - k * 20)) for k in range(12)]
    model = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        model[3].weight.copy_(torch.tensor([[-1.0, 0, 0], [1, 0, 0]]))
        model[3].bias.copy_(torch.tensor([0.43, -0.43]))
    labels = [int(k > 5) for k in range(12)]
    swapped = transform_variants(transform)["red and blue swapped"]
    wrong = wrap_model(model, swapped, ["low", "high"])
    rows = check_transform(wrong, red, labels)
    right, words = transform_verdict(rows)
    assert not right
    assert words == (
        "The transform is in doubt: through “red and blue swapped” the network is right on 100% of "
        "the pictures, through the one given on 8%."
    )
    assert rows[5]["transform"] == "red and blue swapped"
    assert rows[5]["right"] == 1  # swapped twice
    assert transform_verdict(check_transform(wrong, red))[1].startswith("Nothing speaks against")


def test_a_network_without_norms_can_only_be_judged_by_labels():
    own = wrap_model(tiny(dtype=torch.float32), transform)
    rows = check_transform(own, photos(3))
    assert rows[0]["surprise"] is None
    assert transform_verdict(rows) == (
        True,
        "The network has no batch normalisation that can be asked: only labels could show a wrong "
        "transform.",
    )
    assert rows[0]["same"] == 1


def test_pictures_and_labels_have_to_fit(own):
    with pytest.raises(ValueError, match=r"^pictures: got 0, and no labels"):
        check_transform(own, [])
    with pytest.raises(ValueError, match=r"^pictures: got 2, and 1 labels"):
        check_transform(own, photos(2), [0])


def test_baselines_are_asked(own):
    """Against the network itself, on baselines made by hand."""
    x = torch.stack([transform(p) for p in photos(3)])
    rows = {row["baseline"]: row for row in check_baselines(own, x)}
    target = own.model(x).argmax(1)
    for name, baseline in {
        "black": torch.zeros_like(x),
        "mean": x.mean((2, 3), keepdim=True).expand_as(x).clone(),
    }.items():
        share = own.model(baseline).softmax(1)
        kept = share.gather(1, target[:, None]).mean().item()
        assert rows[name]["kept"] == pytest.approx(kept, rel=1e-5)
        assert rows[name]["sure"] == pytest.approx(share.amax(1).mean().item(), rel=1e-5)
        assert rows[name]["says"] in CLASSES


# ---- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layers", "default"),
    [
        ("resnet18", ["relu", "layer1", "layer2", "layer3", "layer4"], "layer4"),
        ("efficientnet_lite0", ["blocks.0", "blocks.2", "blocks.4", "blocks.10"], "features"),
        ("vgg16", ["features.3", "features.8", "features.15", "features.22"], "features.29"),
        ("mixed", ["conv1"], "relu"),  # its last run counts
        ("densenet121", ["features.relu0", "features.transition1.conv"], ""),  # a function's
    ],
)
def test_layers_and_the_one_that_grad_cam_takes(name, layers, default):
    found = find_layers(stock(name), pictures(1, 64))
    assert [layer.name for layer in found][: len(layers)] == layers
    assert [layer.name for layer in found if layer.default] == [default]
    shapes = [tuple(layer.shape[1:]) for layer in found[: len(layers)]]
    assert shapes == sorted(shapes, reverse=True)


def test_layers_leave_no_hook_behind():
    model = tiny()
    find_layers(model, pictures(1, 16))
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        find_layers(copy.deepcopy(model).train(), pictures(1, 16))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval()
    assert find_layers(flat, pictures(1, 2)) == []


# ---- assumptions ---------------------------------------------------------------------------------


def holds(model, images):
    return {f.what: f.holds for f in check_assumptions(model, images)}


def test_a_plain_network_meets_all_but_residual_sums():
    found = holds(tiny(), pictures(3, 16))
    assert [what for what, yes in found.items() if not yes] == ["residual sums"]
    assert all(holds(stock("resnet18"), pictures(2, 64)).values())


class Broken(nn.Module):
    """A network with one thing wrong."""

    def __init__(self, what):
        super().__init__()
        self.what, self.inner, self.calls = what, tiny(), 0

    def forward(self, x):
        self.calls += 1
        out = self.inner(x)
        if self.what == "the output is logits":
            return out.softmax(1)
        if self.what == "the same answer twice":
            return out + self.calls
        if self.what == "each image for itself":
            return out - out.mean(0)
        if self.what == "a derivative by the image":
            return out.detach()
        return F.gelu(out) if "ReLU" in self.what else out.tanh()


@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("the output is logits", "take the softmax away"),
        ("the same answer twice", "differ by"),
        ("each image for itself", "alone and in a batch of 3"),
        ("a derivative by the image", "without derivative"),
        ("all activations are ReLUs", "1 × gelu, which is none"),
        ("piecewise linear", "not piecewise linear"),
    ],
)
def test_each_assumption_is_seen_to_fail(what, word):
    finding = {f.what: f for f in check_assumptions(Broken(what).eval(), pictures(3, 16))}[what]
    assert not finding.holds
    assert word in finding.why


def test_what_is_subtracted_is_a_constant_however_it_is_spelt():
    class Less(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny()

        def forward(self, x):
            return self.inner(torch.subtract(x, 0.3))

    images = pictures(2, 16)
    parts = local_linear(Less().eval(), images)
    total = parts.from_input + torch.stack(list(parts.biases.values())).sum(0)
    assert torch.allclose(total, parts.logit, atol=1e-12)
    assert holds(Less().eval(), images)["piecewise linear"]


# ---- methods -------------------------------------------------------------------------------------


def test_which_methods_refuse_and_why():
    torch.manual_seed(0)
    found = applicable_methods(
        models.mobilenet_v3_small(num_classes=3).eval(), pictures(1, 64).float()
    )
    refused = {name for name, reason in found.items() if reason}
    assert {"guided backpropagation", "FullGrad"} <= refused
    assert not refused & {"gradient", "Grad-CAM", "occlusion", "Integrated Gradients"}
    assert "hardswish, which is no ReLU" in found["guided backpropagation"]
    own = {"mine": lambda model, x, t: 1 / 0, "flat": lambda model, x, t: x[:, 0]}
    found = applicable_methods(tiny(), pictures(1, 16), own)
    assert found["mine"] == "it stopped with ZeroDivisionError: division by zero"
    assert found["flat"].startswith("explainer: got relevance of shape (1, 16, 16)")


def test_the_families_are_the_methods():
    names = [name for family in FAMILIES.values() for name in family]
    assert names == list(report_methods())


def test_all_checks_are_plain_values(own):
    import json

    checks = check_network(own, photos(3), report_methods((32, 32)), [0, 1, 2])
    assert json.loads(json.dumps(checks)) == json.loads(json.dumps(checks))
    assert checks["images"] == 3
    assert set(checks["refused"]) == {"last block"}
    assert checks["random"] == ""
    assert checks["cost"]["gradient"][:2] == [1, 1]
    assert checks["cost"]["occlusion"][:2] == [65, 0]
    assert checks["transform"][0]["right"] is not None
    with pytest.raises(ValueError, match=r"^methods: none applies .* mine: it stopped"):
        check_network(own, photos(1), {"mine": lambda model, x, t: 1 / 0})
