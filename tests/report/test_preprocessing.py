"""Whether a transform fits a network, and what the network predicts for a baseline."""

import math

import pytest
import torch
from own_network import CLASSES, network, photos, transform
from PIL import Image
from stock_networks import tiny
from torch import nn

from xai_course.report import (
    BatchNormShift,
    check_baselines,
    check_transform,
    transform_variants,
    transform_verdict,
    wrap_model,
)


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
    "uneven",
    [
        lambda p: transform(p).square(),  # not linear in the pixels
        lambda p: transform(p) - transform(p).mean(),  # its constants are the picture's
        lambda p: transform(p) * torch.linspace(0, 1, 32),  # nor the same at every place
    ],
    ids=["squared", "less its mean", "darker at the left"],
)
def test_variants_of_a_transform_without_constants_take_the_centre(uneven):
    picture = Image.new("RGB", (64, 64), (255, 0, 51))
    found = transform_variants(uneven)["0 to 1"](picture)
    assert torch.allclose(
        found, torch.tensor([1.0, 0.0, 0.2])[:, None, None].expand_as(found), atol=1e-5
    )


def test_the_divergence_by_hand():
    norm = nn.BatchNorm2d(2).eval()
    norm.running_mean = torch.tensor([0.0, 1.0])
    norm.running_var = torch.tensor([1.0, 4.0])
    images = torch.tensor([[1.0, 3.0], [5.0, 5.0]]).view(2, 1, 1, 2).expand(2, 2, 1, 2)
    with BatchNormShift() as shift:
        norm(images)
    # both channels: values 1, 3, 5, 5; mean 3.5, variance 2.75
    one = (2.75 + 3.5**2 - 1 - math.log(2.75)) / 2
    two = (2.75 / 4 + 2.5**2 / 4 - 1 - math.log(2.75 / 4)) / 2
    assert shift.kl_divergence().item() == pytest.approx((one + two) / 2)
    alone = shift.kl_divergence(torch.tensor([[0, 0], [0, 1]]))
    values_of_first = [(1 + 4 - 1 - 0) / 2, (1 / 4 + 1 / 4 - 1 - math.log(1 / 4)) / 2]
    assert alone[0].item() == pytest.approx(sum(values_of_first) / 2)
    assert alone[1].item() == pytest.approx((one + two) / 2)


def test_only_the_first_norm_of_a_map_is_asked():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3), nn.Unflatten(1, (3, 1, 1)))
    with BatchNormShift() as shift:
        model.eval()(torch.zeros(2, 3, 1, 1))
    assert shift.kl_divergence() is None
    two = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)).eval()
    two[1].running_mean += 100
    with BatchNormShift() as shift:
        two(torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0)))
    assert shift.kl_divergence() < 0.1


def test_the_right_transform_is_not_doubted_and_wrong_ones_are(own):
    right, words = transform_verdict(check_transform(own, photos()))
    assert right
    assert "Nothing speaks against the transform" in words
    for name in ("0 to 255", "−1 to 1", "ImageNet's mean and deviation"):
        wrong = own._replace(transform=transform_variants(transform)[name])
        right, words = transform_verdict(check_transform(wrong, photos()))
        assert not right, name
        assert "through “0 to 1” by" in words or "in doubt" in words


def test_labels_find_what_the_divergence_cannot_see(own):
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
    assert rows[0]["kl_divergence"] is None
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
        assert rows[name]["confidence"] == pytest.approx(share.amax(1).mean().item(), rel=1e-5)
        assert rows[name]["predicted"] in CLASSES
