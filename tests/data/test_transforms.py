"""Pixels and a network's input, transforms of images, augmentation of batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from xai_course.beetlebox import SPECIES, scenes, stack_masks
from xai_course.data import (
    article_transform,
    augment,
    denormalise,
    modern_transform,
    normalise,
    random_horizontal_flip,
)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


# ---- transforms ----------------------------------------------------------------------------------


def test_normalise_by_hand():
    pixels = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 2, 2)
    assert normalise(pixels).abs().max() == 0  # the mean colour, not black, becomes zero
    black = normalise(torch.zeros(1, 3, 1, 1, dtype=torch.float64)).flatten()
    by_hand = torch.tensor([-2.1179039301, -2.0357142857, -1.8044444444], dtype=torch.float64)
    torch.testing.assert_close(black, by_hand)


@given(st.integers(0, 1000), st.sampled_from([(3, 5, 4), (2, 3, 4, 5), (0, 3, 4, 4)]))
def test_denormalise_undoes_normalise(seed, shape):
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(denormalise(normalise(pixels)), pixels)


@pytest.mark.parametrize("function", [normalise, denormalise])
def test_normalise_names_what_is_wrong(function):
    with pytest.raises(ValueError, match=r"got shape \(2, 1, 4, 4\); must be \(N, 3, H, W\)"):
        function(torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match=r"got torch\.uint8; must be floating point"):
        function(torch.zeros(3, 4, 4, dtype=torch.uint8))


def test_another_mean_and_std_for_any_number_of_channels():
    pixels = torch.tensor([0.5, 1.0]).view(2, 1, 1)
    inputs = normalise(pixels, mean=[0.5, 0.5], std=[0.25, 0.125])
    assert inputs.flatten().tolist() == [0, 4]
    assert torch.equal(denormalise(inputs, mean=[0.5, 0.5], std=[0.25, 0.125]), pixels)
    with pytest.raises(ValueError, match=r"^pixels: got shape \(2, 1, 1\); must be \(N, 1, H, W\)"):
        normalise(pixels, mean=[0.5], std=[0.25])


def test_article_transform_by_hand():
    flat = Image.new("RGB", (30, 20), (255, 0, 51))
    out = article_transform()(flat)
    assert out.shape == (3, 224, 224)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(out[:, 100, 7], torch.tensor(expected))


@pytest.mark.parametrize("width_height", [(64, 64), (50, 90), (300, 200)])
@pytest.mark.parametrize("size", [64, 224])
def test_the_modern_form_gives_the_same_numbers(width_height, size):
    image = picture(*width_height)
    article, modern = (
        article_transform(size)(image),
        modern_transform(size)(image),
    )
    torch.testing.assert_close(modern, article, atol=1e-6, rtol=0)


def test_modern_transform_at_the_images_own_size_only_normalises():
    image = picture(64, 64)
    out = denormalise(modern_transform(64)(image))
    np.testing.assert_allclose(out.permute(1, 2, 0) * 255, np.asarray(image), atol=1e-3)


def test_augmenting_transform_varies_and_repeats():
    transform, image = modern_transform(32, augment=True), picture(32, 32)
    torch.manual_seed(1)
    one, two = transform(image), transform(image)
    torch.manual_seed(1)
    assert torch.equal(transform(image), one)
    assert not torch.equal(one, two)
    assert one.shape == (3, 32, 32)


# ---- augment -------------------------------------------------------------------------------------


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_augment_is_repeatable_and_each_image_has_its_own():
    same = torch.rand(3, 32, 32).expand(8, 3, 32, 32).contiguous()
    before = same.clone()
    one, again, other = (augment(same, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert all(not torch.equal(one[0], one[i]) for i in range(1, 8))
    assert torch.equal(same, before)
    assert one.shape == same.shape
    assert augment(same.double(), generator()).dtype == torch.float64
    assert augment(same[:0], generator()).shape == (0, 3, 32, 32)


def test_augment_moves_pixels_but_makes_no_new_colours():
    flat = torch.full((4, 3, 16, 16), 0.25)
    torch.testing.assert_close(augment(flat, generator()), flat)  # no dark corners
    images = torch.rand(16, 3, 20, 30)
    out = augment(images, generator())
    assert out.min() >= images.min() - 1e-5
    assert out.max() <= images.max() + 1e-5


@pytest.mark.parametrize("shape", [(40, 40), (30, 60)])
def test_augment_agrees_with_torchvision(shape, monkeypatch):
    """The same turn, shift and zoom by torchvision's affine, on a smooth picture."""
    height, width = shape
    y = torch.linspace(-1, 1, height)[:, None] * height / 40
    x = torch.linspace(-1, 1, width) * width / 40
    smooth = torch.exp(-3 * ((x - 0.2) ** 2 + 2 * (y + 0.1) ** 2))[None, None]
    for mirror in (0.9, 0.1):  # of [0, 1): the last half is not mirrored
        draws = torch.tensor([0.9, 0.25, 0.6, 0.7, mirror]).reshape(1, 5, 1, 1)
        monkeypatch.setattr(torch, "rand", lambda *_, draws=draws, **__: draws)
        out = augment(smooth, generator())
        zoom, degrees = 1 + 0.1 * -0.5, 15 * 0.8
        right, down = 0.06 * 0.2 * width, 0.06 * 0.4 * height  # where the result reads from
        turn = np.deg2rad(degrees)  # torchvision shifts after turning and zooming
        shift = [
            -zoom * (np.cos(turn) * right + np.sin(turn) * down),
            -zoom * (-np.sin(turn) * right + np.cos(turn) * down),
        ]
        expected = affine(
            smooth, -degrees, shift, zoom, [0.0], interpolation=InterpolationMode.BILINEAR
        )
        if mirror < 0.5:
            expected = expected.flip(-1)
        inside = (slice(None), slice(None), slice(9, -9), slice(9, -9))
        torch.testing.assert_close(out[inside], expected[inside], atol=1e-4, rtol=0)


def test_augment_mirrors_half_of_the_images():
    ramp = torch.linspace(-1, 1, 32).expand(400, 1, 32, 32)
    out = augment(ramp, generator())
    rises = out[:, 0, 16, 24] > out[:, 0, 16, 8]
    assert 150 < rises.sum() < 250  # 5 standard deviations


def test_augment_keeps_the_parts_that_make_a_species():
    chosen = [scene for species in SPECIES for scene in scenes("train", species, 4)]
    masks = stack_masks(chosen)
    before = masks.sum((2, 3))
    after = augment(masks, generator()).sum((2, 3))
    there = before > 3
    kept = (after / before)[there]  # a zoom by 0.9 alone leaves 0.81
    assert kept.min() > 0.3
    assert (kept > 0.7).float().mean() > 0.98


def test_augment_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"images: got torch\.uint8; must be floating point"):
        augment(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), generator())
    with pytest.raises(ValueError, match=r"\(3, 8, 8\)"):
        augment(torch.zeros(3, 8, 8), generator())


# ---- random_horizontal_flip ----------------------------------------------------------------------


def test_half_of_the_images_are_mirrored_and_the_others_stay():
    images = torch.rand(200, 3, 4, 5)
    before = images.clone()
    flipped = random_horizontal_flip(images, generator())
    is_mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    is_same = (flipped == images).flatten(1).all(1)
    assert (is_mirrored ^ is_same).all()
    assert 65 < is_mirrored.sum() < 135  # 5 standard deviations
    assert torch.equal(images, before)
    assert torch.equal(flipped, random_horizontal_flip(images, generator()))
    assert not torch.equal(flipped, random_horizontal_flip(images, generator(1)))
