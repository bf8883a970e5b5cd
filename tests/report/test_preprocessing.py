"""Whether a transform fits a network, and what the network predicts for a baseline."""

import math

import pytest
import torch
from own_network import CLASSES, network, photos, transform
from PIL import Image
from stock_networks import tiny
from torch import nn
from torchvision.transforms import v2

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
        **{f"{size} pixels high": pixel for size in (16, 64, 224)},
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
    answer, words = transform_verdict(check_transform(own, photos()))
    assert answer == "nothing against it"
    assert words.startswith("Nothing speaks against the transform: through it the network's")
    for name in ("0 to 255", "−1 to 1", "ImageNet's mean and deviation"):
        wrong = own._replace(transform=transform_variants(transform)[name])
        answer, words = transform_verdict(check_transform(wrong, photos()))
        assert answer == "in doubt", name
        assert "through “0 to 1” it is" in words or "pixels high" in words


def test_few_pictures_cannot_bring_a_transform_in_doubt(own):
    wrong = own._replace(transform=transform_variants(transform)["0 to 255"])
    answer, words = transform_verdict(check_transform(wrong, photos(3)))
    assert answer == "cannot tell"
    assert "it takes 8 pictures or more to be sure" in words


def answers(gained, lost, right, known=16, **others):
    """A row of check_transform, of which only the answers count."""
    row = {"problem": "", "differs": True, "kl_divergence": None, "lower": None}
    row |= {"pictures": known, "known": known, "right": right / known}
    return {**row, "gained": gained, "lost": lost, **others}


@pytest.mark.parametrize(
    ("gained", "lost", "right", "answer"),
    [
        (3, 1, 14, "cannot tell"),  # 88 % against 75 %: chance does that in 31 %
        (4, 0, 16, "cannot tell"),  # in 6 %
        (0, 3, 9, "nothing against it"),
        (1, 1, 12, "nothing against it"),
    ],
)
def test_a_few_answers_more_are_no_doubt(gained, lost, right, answer):
    """The right transform of a real ResNet-20 on CIFAR was in doubt by two answers of sixteen."""
    same = {"transform": "0 to 1", **answers(0, 0, 12)}
    swapped = {"transform": "swapped", **answers(gained, lost, right)}
    verdict = transform_verdict([{"transform": "as given", **answers(0, 0, 12)}, swapped, same])
    assert verdict.answer == answer
    if (gained, lost) == (3, 1):
        assert verdict.words == (
            "Whether the transform is right, these pictures cannot tell: through “swapped” the "
            "network is right on 14 of 16 pictures, through the one given on 12; only the first is "
            "right on 3, only the second on 1, as chance would have it in 31 % of all tries. "
            "Tried: 2 others, in 2 comparisons. A difference counts as clear if chance alone gives "
            "one as large in less than 2.5 % of all tries (5 % divided by the number of "
            "comparisons)."
        )


def test_the_more_is_tried_the_more_it_takes():
    """Six answers more, none less: 1.6 % by chance. That is clear among two, not among four."""
    given = {"transform": "as given", **answers(0, 0, 6)}
    ahead = {"transform": "ahead", **answers(6, 0, 12)}
    other = {"transform": "other", **answers(0, 0, 6)}
    assert transform_verdict([given, ahead, other]).answer == "in doubt"
    assert transform_verdict([given, ahead, other, other, other]).answer == "cannot tell"
    changes_nothing = {**other, "differs": False}
    assert transform_verdict([given, ahead, *[changes_nothing] * 4]).answer == "in doubt"
    refused = {"transform": "refused", "problem": "no"}
    assert transform_verdict([given, ahead, *[refused] * 4]).answer == "in doubt"


def test_labels_that_speak_for_the_transform_outweigh_the_surprise():
    """Pictures unlike the training data surprise; the right answers show that all is well."""
    given = {"transform": "as given", **answers(0, 0, 15, kl_divergence=2.0, lower=0.0)}
    other = {"transform": "other", **answers(0, 12, 3, kl_divergence=0.5, lower=1.0)}
    assert transform_verdict([given, other]).answer == "nothing against it"
    even = {"transform": "other", **answers(0, 0, 15, kl_divergence=0.5, lower=1.0)}
    assert transform_verdict([given, even]).answer == "in doubt"


def test_half_of_no_surprise_is_not_spoken_of():
    """Half of 0.00 would be 0.00 again."""
    row = {"problem": "", "differs": True, "right": None, "pictures": 60, "lower": 0.0}
    other = {**row, "transform": "other", "kl_divergence": 0.5}
    for surprise, words in [(0.004, "like those of its training (surprise 0.00)"), (0.3, "half")]:
        given = {**row, "transform": "as given", "kl_divergence": surprise}
        verdict = transform_verdict([given, other])
        assert verdict.answer == "nothing against it"
        assert words in verdict.words
        assert ("half" in verdict.words) == (surprise == 0.3)


# ---- other kinds of networks ---------------------------------------------------------------------


def grey(picture):
    """Values from 0 to 1, one channel, 16 × 16."""
    resized = v2.functional.resize(v2.functional.to_grayscale(picture), [16, 16])
    return v2.functional.to_dtype(v2.functional.pil_to_tensor(resized), torch.float32, scale=True)


def test_a_grey_network_is_asked_what_makes_sense_for_it():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    own = wrap_model(model, grey)
    rows = {row["transform"]: row for row in check_transform(own, photos(9), [0] * 9)}
    assert list(rows)[1:7] == [
        *("0 to 255", "0 to 1", "−1 to 1", "black and white swapped"),
        *("squashed to a square", "lying on its side"),
    ]
    assert not any(row["problem"] for row in rows.values())
    assert check_baselines(own, torch.stack([grey(one) for one in photos(2)]))
    uneven = transform_variants(lambda picture: grey(picture).square())["0 to 1"](photos(1)[0])
    assert uneven.shape == (1, 16, 16)
    five = transform_variants(lambda picture: grey(picture).expand(5, -1, -1).square())
    assert "0 to 255" not in five


def test_a_transform_without_a_resize_is_tried_on_pictures_of_its_size():
    """Also one that takes 32 × 32 alone, before a network that takes nothing else."""

    def fixed(picture):
        assert picture.size == (32, 32)
        return transform(picture)

    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    pictures = photos(8, size=(32, 32))
    own = wrap_model(model, fixed, pictures=pictures)
    rows = {row["transform"]: row for row in check_transform(own, pictures)}
    problem = rows["16 pixels high"]["problem"]
    assert problem.startswith("the network fails on it (mat1 and mat2 shapes cannot be")
    assert rows["red and blue swapped"]["differs"]
    assert not rows["squashed to a square"]["differs"]
    high = wrap_model(network(), v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32)]))
    rows = check_transform(high, photos(3)[:2] + photos(3, size=(48, 40))[2:])
    assert not any(row["problem"] for row in rows)


def test_a_wrong_size_is_found_by_labels_and_by_the_surprise():
    """The network knows grain of 64 pixels at a size of 32, where it is half as strong."""

    class Fineness(nn.Module):
        """Tells weak grain from strong by its steps from pixel to pixel."""

        def __init__(self):
            super().__init__()
            self.step = nn.Conv2d(3, 1, (1, 2), bias=False)
            self.step.weight.data = torch.tensor([[[[1.0, -1.0]]] * 3]).view(1, 3, 1, 2)
            self.norm = nn.BatchNorm2d(1, momentum=None)

        def forward(self, x):
            size = self.norm(self.step(x)).abs().mean((2, 3))
            return torch.cat([size - 1.2, 1.2 - size], 1)

    def at(size):
        def resized(picture):
            pixels = v2.functional.to_dtype(
                v2.functional.pil_to_tensor(picture), torch.float32, scale=True
            )
            return v2.functional.resize(pixels, [size, size], antialias=True)

        return resized

    pictures = photos(24, size=(64, 64))
    model = Fineness()
    model.train()(torch.stack([at(32)(picture) for picture in pictures]))
    right = wrap_model(model, at(32))
    wrong = wrap_model(model, at(64))
    assert transform_verdict(check_transform(right, pictures, [1] * 24)).answer == (
        "nothing against it"
    )
    rows = check_transform(wrong, pictures, [1] * 24)
    assert transform_verdict(rows).answer == "in doubt"
    (row,) = [row for row in rows if row["transform"] == "32 pixels high"]
    assert (rows[0]["right"], row["right"], row["gained"], row["lost"]) == (0, 1, 24, 0)
    assert row["kl_divergence"] < rows[0]["kl_divergence"] / 2


def test_the_answer_of_one_logit_is_yes_or_no():
    """Four of five pictures are called no; the labels say so."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
    with torch.no_grad():
        model[2].weight.fill_(10.0)
        model[2].bias.fill_(-20.0)
    shades = [Image.new("RGB", (32, 32), (v,) * 3) for v in (0, 30, 60, 90, 250)]
    own = wrap_model(model, transform, ["bright"])
    assert own.classes == ("not bright", "bright")
    row = check_transform(own, shades, [0, 0, 0, 0, 1])[0]
    assert row["right"] == 1
    x = torch.stack([transform(shade) for shade in shades])
    sure = own.probabilities(own.model(x)).max(1).values
    assert row["confidence"] == pytest.approx(sure.mean().item())
    assert {r["predicted"] for r in check_baselines(own, x)} == {"not bright"}


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
    answer, words = transform_verdict(rows)
    assert answer == "in doubt"
    assert words.startswith(
        "The transform is in doubt: through “red and blue swapped” the network is right on 12 of "
        "12 pictures, through the one given on 1; only the first is right on 11, only the second "
        "on 0, as chance would have it in less than 0.1 % of all tries."
    )
    assert rows[5]["transform"] == "red and blue swapped"
    assert rows[5]["right"] == 1  # swapped twice
    assert transform_verdict(check_transform(wrong, red)).answer == "nothing against it"


def test_a_network_without_norms_can_only_be_judged_by_labels():
    own = wrap_model(tiny(dtype=torch.float32), transform)
    rows = check_transform(own, photos(3))
    assert rows[0]["kl_divergence"] is None
    assert transform_verdict(rows) == (
        "cannot tell",
        "Whether the transform is right cannot be told: the network has no batch normalisation of "
        "a feature map, and the right answers are not known; pictures in folders that are named "
        "after their classes would show more.",
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
