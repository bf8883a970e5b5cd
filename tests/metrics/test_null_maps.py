"""Maps that know nothing: by hand, against scipy, and what they depend on."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage
from stock_networks import pictures, tiny

from xai_course.beetlebox import PARTS, SPECIES, Scene, part_relevance
from xai_course.core import relevance_maps
from xai_course.metrics import centre_map, constant_map, edge_map, noise_map

NULLS = {
    "noise": noise_map,
    "smooth noise": partial(noise_map, smooth=3),
    "noise from 0 to 1": partial(noise_map, signed=False),
    "constant": constant_map,
    "centre": centre_map,
    "edges": edge_map,
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
