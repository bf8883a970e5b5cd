"""Baselines: by hand, and inpainting as a weighted mean of the pixels around a rectangle."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import error, pictures

from xai_course.core import baseline_images


def test_baselines_by_hand():
    images = pictures(2, 32)
    mean = baseline_images(images, "mean")
    assert error(mean[..., 0, 0], images.mean((2, 3))) < 1e-15
    assert mean.std((2, 3)).max() < 1e-15
    assert torch.equal(baseline_images(images), mean)
    colour = torch.tensor([1.0, 2, 3]).view(3, 1, 1)
    assert baseline_images(images, colour)[1, :, 5, 7].tolist() == [1, 2, 3]
    assert (baseline_images(images, 0.25) == 0.25).all()
    assert baseline_images(images, colour.requires_grad_()).requires_grad is False


def test_the_blur_is_a_triangle_an_eighth_of_the_image_wide():
    images = pictures(2, 32)
    assert baseline_images(images, "blur").std() < 0.5 * images.std()
    flat = torch.full((1, 1, 9, 9), 0.7, dtype=torch.double)
    assert error(baseline_images(flat, "blur"), flat) < 1e-12
    point = torch.zeros(1, 1, 33, 33, dtype=torch.double)
    point[..., 16, 16] = 1
    triangle = torch.tensor([1.0, 2, 3, 4, 5, 4, 3, 2, 1], dtype=torch.double) / 25
    spread = baseline_images(point, "blur")[0, 0, 12:21, 12:21]
    assert error(spread, torch.outer(triangle, triangle)) < 1e-12


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        ("grey", "'grey'"),
        ("inpaint", "'inpaint'"),  # without a covered rectangle
        (None, "None"),
        (True, "True"),
        (1j, "1j"),
        (float("nan"), "NaN or infinite values"),
        (torch.tensor([0.0, torch.inf, 0.0]).view(3, 1, 1), "NaN or infinite values"),
        (torch.zeros(5, 1, 1), r"\(5, 1, 1\)"),
    ],
)
def test_baselines_that_are_refused(baseline, words):
    must = r'must be "mean", "blur", a finite number, or a tensor that broadcasts to \(2, 3, 4, 4\)'
    with pytest.raises(ValueError, match=rf"^baseline: got {words}; {must}"):
        baseline_images(pictures(2, 4), baseline)


# ------------------------------------------------------------------ inpainting


def test_inpainting_by_hand():
    images = torch.tensor([1.0, 2, 4, 8, 16]).view(1, 1, 1, 5)
    covered = torch.tensor([False, True, True, False, False]).view(1, 1, 1, 5)
    result = baseline_images(images, "inpaint", covered, (1, 2)).flatten().tolist()
    # Weight 2 for a pixel at a distance of 1, weight 1 at a distance of 2.
    assert result == pytest.approx([1, (2 * 1 + 8) / 3, (1 + 2 * 8 + 16) / 4, 8, 16])
    # A reach of one row and one column is the default.
    one = torch.tensor([False, False, True, False, False]).view(1, 1, 1, 5)
    assert baseline_images(images, "inpaint", one).flatten().tolist() == [1, 2, 5, 8, 16]
    upright = baseline_images(images.mT, "inpaint", one.mT)
    assert upright.flatten().tolist() == [1, 2, 5, 8, 16]


@given(
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)), data=st.data(), seed=st.integers(0, 99)
)
@settings(max_examples=60)
def test_inpainting_takes_what_is_around(size, data, seed):
    height, width = (data.draw(st.integers(1, n)) for n in size)
    top, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    covered = torch.zeros(1, 1, *size, dtype=torch.bool)
    covered[:, :, top : top + height, left : left + width] = True
    images = pictures(1, 20, 2, seed=seed)[:, :, : size[0], : size[1]]
    reach = (height, width)
    if covered.all():
        with pytest.raises(ValueError, match=r"^window: got one that covers all; must be smaller"):
            baseline_images(images, "inpaint", covered, reach)
        return
    filled = baseline_images(images, "inpaint", covered, reach)
    around = images[:, :, ~covered[0, 0]]
    assert torch.equal(filled[:, :, ~covered[0, 0]], around)
    inside = filled[:, :, covered[0, 0]]
    assert (inside <= around.amax(2, keepdim=True) + 1e-12).all()
    assert (inside >= around.amin(2, keepdim=True) - 1e-12).all()
    # What was inside does not matter, and a flat image stays flat.
    other = torch.where(covered, 9.0, images)
    assert torch.equal(baseline_images(other, "inpaint", covered, reach), filled)
    flat = torch.full_like(images, 0.7)
    assert error(baseline_images(flat, "inpaint", covered, reach), flat) < 1e-12
