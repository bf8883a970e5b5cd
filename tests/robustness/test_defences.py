"""Preprocessing defences: by hand, against other implementations, and what an attacker sees."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter
from torch import nn

from xai_course.data import normalise
from xai_course.models import DefendedModel, NormalisingModel
from xai_course.relu import gradient
from xai_course.residual import expected_gradients, lrp
from xai_course.robustness import (
    bit_depth,
    blur,
    defences,
    is_correct,
    jpeg,
    pgd,
    random_resize,
    smooth_jpeg,
    straight_through,
)

DEFENCES = (blur, bit_depth, jpeg, smooth_jpeg, random_resize)


def pictures(count=4, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=generator)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)
        ).eval()


def test_blur_is_that_of_scipy():
    pixels = pictures().double()
    for sigma in (0.5, 1.0, 2.0):
        reach = int(3 * sigma + 0.5)
        theirs = gaussian_filter(
            pixels.numpy(), (0, 0, sigma, sigma), mode="mirror", radius=(0, 0, reach, reach)
        )
        assert np.abs(blur(pixels, sigma).numpy() - theirs).max() < 1e-12


def test_bit_depth_by_hand():
    pixels = torch.tensor([0.0, 0.1, 0.3, 0.45, 0.9, 1.0]).view(1, 1, 1, -1)
    assert bit_depth(pixels, 1).flatten().tolist() == [0, 0, 0, 0, 1, 1]
    assert torch.allclose(bit_depth(pixels, 2).flatten(), torch.tensor([0, 0, 1, 1, 3, 3]) / 3)
    assert len(bit_depth(pictures(), 3).unique()) == 8


@given(st.integers(1, 8))
def test_rounding_twice_is_rounding_once(bits):
    once = bit_depth(pictures(1), bits)
    assert torch.allclose(bit_depth(once, bits), once)


def test_jpeg_is_that_of_pillow_with_arrays():
    pixels = pictures(2)
    defended = jpeg(pixels, quality=30)
    for picture, got in zip(pixels, defended, strict=True):
        file = io.BytesIO()
        array = np.rint(255 * picture.permute(1, 2, 0).numpy()).astype(np.uint8)
        Image.fromarray(array, "RGB").save(file, format="JPEG", quality=30)
        read = np.asarray(Image.open(file)).astype(np.float32) / 255
        assert np.abs(got.permute(1, 2, 0).numpy() - read).max() < 1e-6


def test_a_better_quality_changes_less():
    pixels = blur(pictures())
    far = [(jpeg(pixels, quality) - pixels).abs().mean() for quality in (10, 50, 95)]
    assert far[0] > far[1] > far[2]


def test_one_draw_resizes_all_images_alike():
    image = blur(pictures())[:1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        alone = random_resize(image, one_draw=True)
        torch.manual_seed(0)
        many = random_resize(image.expand(5, -1, -1, -1), one_draw=True)
        torch.manual_seed(0)
        each = random_resize(image.expand(5, -1, -1, -1))
    assert torch.equal(many, alone.expand(5, -1, -1, -1))
    assert not torch.equal(each[0], each[1])


def test_random_resizing_keeps_the_whole_picture_and_draws_anew():
    """A white picture stays in the frame: its area is between smallest² and 1."""
    white = torch.ones(200, 1, 32, 32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = random_resize(white, 0.5), random_resize(white, 0.5)
        torch.manual_seed(0)
        assert torch.equal(first, random_resize(white, 0.5))
    assert not torch.equal(first, second)
    area = 2 * (first - 0.5).flatten(1).mean(1)
    assert 0.2 < area.min() < 0.35
    assert 0.9 < area.max() < 1.01
    assert first.amin() >= 0.5 - 1e-6  # grey where nothing is
    middle = (first - 0.5).sum((1, 2)).argmax(1)
    assert middle.min() < 10  # it lies now left, now right
    assert len(middle.unique()) > 5


@pytest.mark.parametrize("defence", DEFENCES)
def test_a_defence_keeps_shape_range_and_input(defence):
    pixels = pictures()
    kept = pixels.clone()
    with torch.random.fork_rng():
        defended = defence(pixels)
    assert defended.shape == pixels.shape
    assert defended.min() >= 0
    assert defended.max() <= 1 + 1e-6
    assert torch.equal(pixels, kept)
    assert not torch.equal(defended, pixels)


@pytest.mark.parametrize("defence", [bit_depth, jpeg])
def test_some_defences_hide_the_gradient_and_passing_them_shows_it(defence):
    pixels = normalise(pictures())
    hidden = gradient(DefendedModel(network(), defence), pixels)
    assert torch.equal(hidden, torch.zeros_like(hidden))
    shown = gradient(DefendedModel(network(), straight_through(defence)), pixels)
    assert (shown != 0).flatten(1).any(1).all()
    logits = DefendedModel(network(), defence)(pixels)
    passed = DefendedModel(network(), straight_through(defence))(pixels)
    assert (logits - passed).abs().max() < 1e-5  # the same values


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("size", [(32, 32), (37, 50)])
def test_smooth_jpeg_is_nearly_jpeg_and_has_a_derivative(quality, size):
    """Nearer to JPEG's picture than the picture is; what differs is how colours are enlarged."""
    torch.manual_seed(0)
    coarse = torch.rand(3, 3, 5, 6)
    pixels = F.interpolate(coarse, size, mode="bilinear") + 0.03 * torch.randn(3, 3, *size)
    pixels = pixels.clamp(0.05, 0.95).requires_grad_()
    written, smooth = jpeg(pixels, quality), smooth_jpeg(pixels, quality)
    distance, changed = (smooth - written).abs().mean(), (pixels - written).abs().mean()
    assert distance < 0.35 * changed
    assert distance < 2.5 / 255
    (grad,) = torch.autograd.grad(smooth.sum(), pixels)
    assert (grad != 0).double().mean() > 0.9


def test_smooth_jpeg_rounds_the_cosine_transform_of_scipy():
    """By hand for the brightness of one grey block: q · soft(c / q), with SciPy's transform."""
    grey = torch.linspace(0.2, 0.8, 64, dtype=torch.double).view(8, 8)[torch.randperm(8)]
    picture = grey.repeat(2, 2).expand(1, 3, 16, 16)
    q = np.array(defences._quantisation(60)[0]).reshape(8, 8)
    counts = dctn(255 * grey.numpy() - 128, norm="ortho") / q
    rounded = counts.round() + (counts - counts.round()) ** 3
    expected = (idctn(rounded * q, norm="ortho") + 128) / 255
    defended = smooth_jpeg(picture, 60)[0, :, :8, :8]
    assert (defended - torch.from_numpy(expected)).abs().max() < 1e-6


def test_who_knows_jpeg_gets_further_than_who_ignores_it():
    pixels = pictures(60)
    whole = NormalisingModel(DefendedModel(network(), jpeg))
    labels = whole(pixels).argmax(1)
    rates = []
    for like in (None, smooth_jpeg):
        past = NormalisingModel(DefendedModel(network(), straight_through(jpeg, like)))
        assert (past(pixels) - whole(pixels)).abs().max() < 1e-5
        moved = pgd(past, pixels, labels, epsilon=0.05)
        rates.append(is_correct(whole, moved, labels).mean())
    assert rates[1] <= rates[0]


def test_passing_by_is_the_gradient_at_the_changed_picture():
    pixels = pictures(1)
    at = bit_depth(pixels).requires_grad_()
    network()(at)[0, 0].backward()
    x = pixels.clone().requires_grad_()
    network()(straight_through(bit_depth)(x))[0, 0].backward()
    assert (x.grad - at.grad).abs().max() < 1e-6


@pytest.mark.parametrize("defence", [bit_depth, jpeg])
def test_an_adaptive_attacker_beats_one_that_trusts_the_gradient(defence):
    pixels = pictures(60)
    whole = NormalisingModel(DefendedModel(network(), defence))
    past = NormalisingModel(DefendedModel(network(), straight_through(defence)))
    labels = whole(pixels).argmax(1)
    rates = [
        is_correct(whole, pgd(model, pixels, labels, epsilon=0.1), labels).mean()
        for model in (whole, past)
    ]
    assert rates[1] < rates[0]


def test_explainers_run_through_a_defence():
    images = normalise(pictures())
    for defence in (blur, straight_through(bit_depth), straight_through(jpeg)):
        model = DefendedModel(network(), defence)
        for relevance in (
            expected_gradients(model, images, baselines=images, steps=2),
            lrp(model, images, rule="gamma"),
        ):
            assert relevance.shape == images.shape
            assert relevance.isfinite().all()


@pytest.mark.parametrize(
    ("defence", "options", "words"),
    [
        (blur, {"sigma": 0}, "sigma: got 0"),
        (blur, {"sigma": 5.0}, "at most 4"),
        (bit_depth, {"bits": 0}, "bits: got 0"),
        (bit_depth, {"bits": 2.0}, "bits: got 2.0"),
        (jpeg, {"quality": 100}, "quality: got 100"),
        (random_resize, {"smallest": 1}, "smallest: got 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(defence, options, words):
    with pytest.raises(ValueError, match=words):
        defence(pictures(), **options)


@pytest.mark.parametrize("defence", DEFENCES)
def test_what_is_no_batch_of_pixels_is_refused(defence):
    for pixels in (torch.zeros(3, 16, 16), torch.zeros(1, 3, 16, 16, dtype=torch.uint8), None):
        with pytest.raises(ValueError, match="pixels: got"):
            defence(pixels)


def test_jpeg_wants_three_channels():
    for defence in (jpeg, smooth_jpeg):
        with pytest.raises(
            ValueError, match=r"pixels: got shape \(1, 1, 16, 16\); must be \(N, 3, H, W\)"
        ):
            defence(torch.zeros(1, 1, 16, 16))


def test_straight_through_wants_functions():
    with pytest.raises(ValueError, match=r"^defence: got int; must be a function of pixels"):
        straight_through(3)
    with pytest.raises(ValueError, match=r"^like: got str"):
        straight_through(jpeg, like="smooth_jpeg")
