"""Maps that know nothing: by hand, against scipy, and what they depend on."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage
from stock_networks import pictures, tiny
from torch import nn

from xai_course.beetlebox import PARTS, SPECIES, Scene, part_relevance
from xai_course.core import relevance_maps
from xai_course.metrics import (
    bright_edge_map,
    centre_map,
    constant_map,
    edge_map,
    noise_map,
    null_battery,
    reinitialised,
)
from xai_course.relu import gradient

NULLS = {
    "noise": noise_map,
    "smooth noise": partial(noise_map, smooth=3),
    "noise from 0 to 1": partial(noise_map, signed=False),
    "constant": constant_map,
    "centre": centre_map,
    "away from the centre": partial(centre_map, inverse=True),
    "edges": edge_map,
    "bright edges": bright_edge_map,
}
SCENES = [Scene(name, 40 + i).with_label() for i, name in enumerate(list(SPECIES)[:5])]


@pytest.mark.parametrize("name", NULLS)
def test_every_null_has_the_one_signature_and_looks_at_no_model(name):
    null, images = NULLS[name], pictures(3, 16, channels=1)
    maps = null(tiny(1), images)
    assert maps.shape == (3, 1, 16, 16)
    assert maps.dtype == torch.double
    assert not maps.requires_grad
    assert torch.equal(maps, null(tiny(1), images, 2))
    assert torch.equal(maps, null(tiny(1).requires_grad_(False), images, [0, 1, 2]))
    other = tiny(1, classes=3)
    for weight in other.parameters():
        weight.data.mul_(2)
    assert torch.equal(maps, null(other, images))
    assert null(tiny(1).float(), images.float()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"model\.eval"):
        null(tiny(1).train(), images)
    with pytest.raises(ValueError, match=r"^targets: got 9"):
        null(tiny(1), images, 9)


@pytest.mark.parametrize("name", NULLS)
def test_a_null_of_an_image_does_not_depend_on_its_batch(name):
    null, images, classes = NULLS[name], pictures(5, 16), torch.zeros(5, dtype=torch.long)
    whole = null(tiny(), images)
    for batch_size in (1, 2):
        parts = relevance_maps(tiny(), null, images, classes, batch_size=batch_size)
        assert torch.equal(whole, parts)
    assert torch.equal(whole.flip(0), null(tiny(), images.flip(0)))


def test_noise_knows_nothing_and_repeats_itself():
    model, images = tiny(), pictures(3, 64)
    noise = noise_map(model, images)
    assert torch.equal(noise, noise_map(model, images))
    assert not torch.equal(noise, noise_map(model, images, seed=1))
    for draws in (noise, noise_map(model, images, signed=False)):  # unrelated from image to image
        correlation = torch.corrcoef(draws.flatten(1))
        assert (correlation - torch.eye(3)).abs().max() < 4 / 64
    nudged = images.clone()
    nudged[0, 0, 0, 0] += 1e-9
    other = noise_map(model, nudged)
    assert torch.corrcoef(torch.stack([noise[0].flatten(), other[0].flatten()]))[0, 1] < 4 / 64
    assert torch.equal(noise[1:], other[1:])
    twice = noise_map(model, images[[0, 0]])
    assert torch.equal(twice[0], twice[1])


def test_noise_has_the_distribution_that_was_asked_for():
    model, images = tiny(), pictures(8, 64)
    normal = noise_map(model, images)
    assert normal.mean().item() == pytest.approx(0, abs=4 / 180)
    assert normal.std().item() == pytest.approx(1, abs=0.02)
    uniform = noise_map(model, images, signed=False)
    assert 0 <= uniform.min() < 0.001
    assert 0.999 < uniform.max() <= 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert uniform.std().item() == pytest.approx(math.sqrt(1 / 12), abs=0.01)
    for signed in (True, False):
        noise = noise_map(model, images, signed=signed)
        blots = noise_map(model, images, smooth=4, signed=signed)
        step = blots.diff(dim=3).std() / blots.std()
        assert step < 0.5 < noise.diff(dim=3).std() / noise.std()
    assert 0 < blots.min() < blots.max() < 1


def test_noise_takes_nothing_from_the_global_generator():
    model, state = tiny(), torch.random.get_rng_state()
    noise_map(model, pictures(2, 16))
    assert torch.equal(state, torch.random.get_rng_state())


def test_bad_arguments_are_named():
    model, images = tiny(), pictures(2, 16)
    for wrong in (-1, 1.5):
        with pytest.raises(ValueError, match=rf"^smooth: got {wrong}"):
            noise_map(model, images, smooth=wrong)
    with pytest.raises(ValueError, match=r"^seed: got 'a'"):
        noise_map(model, images, seed="a")
    for wrong in (0, -1, math.inf, math.nan, "wide"):
        with pytest.raises(ValueError, match=r"^width: got"):
            centre_map(model, images, width=wrong)
    for wrong in (-1, math.inf, "dark"):
        with pytest.raises(ValueError, match=r"^power: got"):
            bright_edge_map(model, images, power=wrong)
    with pytest.raises(ValueError, match=r"^inverse: got 'yes'"):
        centre_map(model, images, inverse="yes")


def test_the_sum_of_the_constant_over_a_part_is_its_area():
    model, images = tiny(), pictures(5, 64)
    found = part_relevance(constant_map(model, images), SCENES)
    for scene, row in zip(SCENES, found, strict=True):
        for part, area in zip(PARTS, row, strict=True):
            by_hand = scene.masks()[part].sum() or math.nan
            assert area.item() == pytest.approx(by_hand, nan_ok=True)


def test_the_centre_by_hand():
    bump = centre_map(tiny(), pictures(2, 16)[:, :, :, :12], width=0.5)
    for i, j in [(0, 0), (7, 5), (8, 6), (15, 0), (3, 9)]:
        u, v = (i + 0.5) / 16 - 0.5, (j + 0.5) / 12 - 0.5
        assert bump[1, 0, i, j].item() == pytest.approx(math.exp(-2 * (u**2 + v**2)))
    assert torch.allclose(bump, bump.flip(2), rtol=1e-12)
    assert torch.allclose(bump, bump.flip(3), rtol=1e-12)
    odd = centre_map(tiny(), pictures(1, 17))
    assert odd.argmax() == 8 * 17 + 8
    assert odd.max() == 1


def test_edges_are_scipys():
    images = pictures(2, 16)[:, :, :, :12]
    for image, found in zip(images, edge_map(tiny(), images), strict=True):
        down, right = (ndimage.sobel(image.mean(0).numpy(), axis=axis) / 8 for axis in (0, 1))
        # scipy's "reflect" repeats the border once, which is all that a kernel of three needs
        assert np.allclose(found[0], np.hypot(down, right), atol=1e-12)


def test_edges_of_a_slope_are_its_steepness():
    places = torch.arange(16, dtype=torch.double)
    slope = (3 * places[:, None] + 4 * places).expand(1, 3, 16, 16)
    edges = edge_map(tiny(), slope)
    assert torch.allclose(edges[..., 1:-1, 1:-1], torch.tensor(5.0).double())
    assert edges[0, 0, 0, 5].item() == pytest.approx(math.hypot(1.5, 4))  # half a step at the edge
    assert edge_map(tiny(), torch.ones(1, 3, 16, 16).double()).abs().max() < 1e-12


def test_the_inverse_of_the_centre_is_what_is_left_to_1():
    model, images = tiny(), pictures(1, 17)
    bump, rest = centre_map(model, images), centre_map(model, images, inverse=True)
    assert torch.allclose(bump + rest, torch.ones(1).double())
    assert rest.argmin() == 8 * 17 + 8
    assert rest.min() == 0


def test_bright_edges_by_hand():
    """A ramp from -1 by 2 a pixel: edges 1, 2, 2, 1, brightness above the darkest 0, 2, 4, 6."""
    ramp = (2 * torch.arange(4, dtype=torch.double) - 1).expand(1, 3, 4, 4)
    assert bright_edge_map(tiny(), ramp)[0, 0, 2].tolist() == pytest.approx([0, 8, 32, 36])
    assert bright_edge_map(tiny(), ramp, power=1)[0, 0, 2].tolist() == pytest.approx([0, 4, 8, 6])
    assert torch.equal(bright_edge_map(tiny(), ramp, power=0), edge_map(tiny(), ramp))


def test_bright_edges_are_the_same_for_pixels_and_for_a_normalised_image():
    pixels = pictures(2, 16)
    normalised = (pixels - 0.4) / 0.2
    ratio = bright_edge_map(tiny(), normalised) / bright_edge_map(tiny(), pixels).clamp_min(1e-12)
    assert torch.allclose(ratio[ratio > 0], torch.tensor(125.0).double(), rtol=1e-6)


# --------------------------------------------------------------------------------- the battery

FROM_IMAGE = {
    "noise": partial(noise_map, signed=False),
    "edges": edge_map,
    "bright edges": bright_edge_map,
    "centre": centre_map,
    "away from the centre": partial(centre_map, inverse=True),
}
BY_THE_METHOD = ["untrained network", "another class", "another image"]


def test_the_battery_holds_every_null():
    model, images = tiny(), pictures(4, 16)
    nulls = null_battery(model, images, gradient)
    assert list(nulls) == [*FROM_IMAGE, *BY_THE_METHOD]
    for name, null in FROM_IMAGE.items():
        assert torch.equal(nulls[name], null(model, images)), name
    assert list(null_battery(model, images)) == list(FROM_IMAGE)
    logits = model(images)
    predicted, runner_up = logits.topk(2).indices.T
    untrained = gradient(reinitialised(model, images), images, predicted)
    assert torch.equal(nulls["untrained network"], untrained)
    assert torch.equal(nulls["another class"], gradient(model, images, runner_up))
    others = nulls["another image"]
    own = gradient(model, images, predicted)
    # Each map is that of exactly one other image, and no image has its own.
    same = torch.stack([(own == other).flatten(1).all(1) for other in others])
    assert torch.equal(same.sum(0), torch.ones(4).long())
    assert torch.equal(same.sum(1), torch.ones(4).long())
    assert not same.diagonal().any()


def test_what_the_battery_asks_about_can_be_given():
    model, images, seen = tiny(), pictures(3, 16), []

    def explainer(explained, x, targets):
        seen.append((explained, x.clone(), targets.tolist()))
        x.zero_()  # a careless one
        return x

    untrained, others = tiny(), pictures(3, 16, seed=5)
    null_battery(
        model, images, explainer, 1, untrained=untrained, other_class=[0, 2, 3], other_images=others
    )
    predicted = model(others).argmax(1).tolist()
    expected = [
        (untrained, images, [1, 1, 1]),
        (model, images, [0, 2, 3]),
        (model, others, predicted),
    ]
    for (net, x, targets), (by, inputs, classes) in zip(seen, expected, strict=True):
        assert net is by
        assert torch.equal(x, inputs)
        assert targets == classes
    assert torch.equal(images, pictures(3, 16))


def test_the_battery_repeats_itself_and_leaves_the_generators():
    model, images, state = tiny(), pictures(3, 16), torch.get_rng_state()
    first, second, other = (null_battery(model, images, gradient, seed=s) for s in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in ("noise", "untrained network"):
        assert not torch.equal(first[name], other[name])
    assert torch.equal(torch.get_rng_state(), state)
    with torch.inference_mode():
        guarded = null_battery(model, images, gradient)
    assert all(torch.equal(first[name], guarded[name]) for name in first)


def test_a_model_of_one_logit_has_no_other_class():
    assert list(null_battery(tiny(classes=1), pictures(2, 16), gradient))[5:] == [
        "untrained network",
        "another image",
    ]


def test_no_image_gets_the_map_of_its_copy():
    images = pictures(2, 16)
    doubled = images.repeat(3, 1, 1, 1)  # each image three times
    for seed in range(4):
        own = gradient(tiny(), doubled)
        another = null_battery(tiny(), doubled, gradient, seed=seed)["another image"]
        assert all(not torch.allclose(a, b) for a, b in zip(own, another, strict=True))
    with pytest.raises(ValueError, match=r"^images: got equal images only"):
        null_battery(tiny(), images[:1].repeat(3, 1, 1, 1), gradient)


def test_bright_edges_of_half_precision_stay_finite():
    images = 255 * pictures(2, 16).sigmoid()
    found = bright_edge_map(nn.Flatten().eval(), images.half())
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    expected = bright_edge_map(nn.Flatten().eval(), images)
    assert (found - expected).abs().max() < 0.01 * expected.max()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"explainer": torch.zeros(2, 1, 16, 16)}, "explainer: got Tensor"),
        ({"other_class": 0, "targets": 0}, "other_class: got an image's own target"),
        ({"other_class": 99}, "other_class: got 99"),
        ({"other_class": 0, "model": tiny(classes=1)}, "other_class: got an image's own target"),
        (
            {"other_images": torch.zeros(1, 3, 16, 16).double()},
            r"other_images: got \(1, 3, 16, 16\)",
        ),
        ({"other_images": "cat.png"}, "other_images: got str"),
        ({"images": pictures(1, 16)}, "images: got 1; must be two or more, or pass other_images"),
        ({"targets": 99}, "targets: got 99"),
    ],
)
def test_what_the_battery_does_not_take(options, words):
    right = {"model": tiny(), "images": pictures(2, 16), "explainer": gradient}
    with pytest.raises(ValueError, match=f"^{words}"):
        null_battery(**(right | options))
