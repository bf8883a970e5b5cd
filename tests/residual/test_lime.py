"""LIME against scikit-learn's regression and captum, on the same rows, and where it is exact."""

import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLinearModel
from captum.attr import Lime
from segment_methods import NoDerivative, masked, masked_function
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances
from stock_networks import error, pictures, tiny
from torch import nn

from xai_course.residual import (
    grid_segments,
    lime,
    lime_coefficients,
    shapley_estimates,
    superpixels,
)


def rows_of(samples, players, seed=0):
    """The rows of zeros and ones that LIME draws, one by one."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(samples, players, generator=generator, dtype=torch.double).numpy()
    rows = (chance > 0.5).astype(float)
    rows[0] = 1
    return rows


# ---- oracles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [1.0, 0.01])
@pytest.mark.parametrize("kernel_width", [0.25, 1.0])
def test_lime_agrees_with_scikit_learn(ridge, kernel_width):
    model, images, targets = tiny(), pictures(2, 15)[..., :12], [3, 1]
    labels = grid_segments(images, 3, 2)
    options = {"segments": labels, "samples": 40, "baseline": "blur", "seed": 2}
    options |= {"kernel_width": kernel_width, "ridge": ridge}
    found = lime_coefficients(model, images, targets, **options)
    rows = rows_of(40, 6, seed=2)
    distance = pairwise_distances(rows, rows[:1], metric="cosine")[:, 0]
    weight = np.sqrt(np.exp(-(distance**2) / kernel_width**2))  # as the authors' package has it
    for n in range(2):
        outputs = masked_function(model, images[n], labels[n], targets[n], "blur")(rows)
        expected = Ridge(alpha=ridge).fit(rows, outputs, sample_weight=weight).coef_
        assert error(found[n], torch.from_numpy(expected)) < 1e-10


def test_lime_agrees_with_captum():
    model, images = tiny(), pictures(1, 12)
    labels, rows = grid_segments(images, 2, 3), rows_of(30, 6)
    left = iter(rows)

    def similarity(_original, _perturbed, row, **_):
        distance = 1 - row.mean().sqrt()
        return torch.exp(-(distance**2) / (2 * 0.25**2))

    captums = Lime(
        lambda x: model(x.clone()),
        interpretable_model=SkLearnLinearModel("linear_model.Ridge", alpha=1.0),
        similarity_func=similarity,
        perturb_func=lambda _, **__: torch.from_numpy(next(left))[None],
    )
    expected = captums.attribute(
        images, target=4, feature_mask=labels, n_samples=30, baselines=0.2, return_input_shape=False
    )
    found = lime_coefficients(model, images, 4, segments=labels, samples=30, baseline=0.2)
    assert error(found, expected.to(found)) < 1e-5  # captum fits in float32


def test_a_linear_model_is_found_exactly_without_a_penalty():
    images = pictures(2, 12)
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 3)).double().eval()
    labels = grid_segments(images, 3, 4)
    found = lime(model, images, 1, segments=labels, baseline="mean", samples=60, ridge=0)
    change = images - images.mean((2, 3), keepdim=True)
    parts = (model[1].weight[1].view(3, 12, 12) * change).sum(1).detach()
    cells = parts.view(2, 3, 4, 4, 3).sum((2, 4)).flatten(1)
    coefficients = lime_coefficients(
        model, images, 1, segments=labels, baseline="mean", samples=60, ridge=0
    )
    assert error(coefficients, cells) < 1e-10
    # The sum of the map over a segment is its coefficient, evenly spread.
    assert error(found[:, 0].view(2, 3, 4, 4, 3).sum((2, 4)).flatten(1), cells) < 1e-10
    assert found[0, 0, :4, :3].unique().numel() == 1
    shapley = shapley_estimates(model, images, 1, segments=labels).values
    assert error(coefficients, shapley) < 1e-10  # here every method agrees


def test_without_a_kernel_it_is_plain_regression():
    model, images = tiny(), pictures(1, 12)
    labels, rows = grid_segments(images, 2, 2), rows_of(50, 4)
    wide = lime_coefficients(
        model, images, 0, segments=labels, samples=50, kernel_width=1e6, ridge=0
    )
    outputs = masked_function(model, images[0], labels[0], 0, "mean")(rows)
    expected = np.linalg.lstsq(np.c_[rows, np.ones(50)], outputs, rcond=None)[0][:4]
    assert error(wide[0], torch.from_numpy(expected)) < 1e-8


# ---- segments ------------------------------------------------------------------------------------


def test_masks_and_labels_of_the_same_segments():
    images = pictures(2, 12)
    labels = grid_segments(images, 3, 3)
    masks = torch.nn.functional.one_hot(labels).movedim(3, 1)
    expected = lime(tiny(), images, segments=labels, samples=30)
    for same in (labels[0], labels.int(), masks.bool(), masks.double(), masks[:1].bool()):
        assert error(lime(tiny(), images, segments=same, samples=30), expected) < 1e-12


def test_overlapping_and_soft_masks_against_a_plain_loop():
    model, images = tiny(), pictures(1, 10)
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(1, 4, 10, 10, generator=generator, dtype=torch.double)
    found = lime_coefficients(
        model, images, 2, segments=masks, samples=20, baseline=0.5, kernel_width=1e6, ridge=0
    )
    rows, base = rows_of(20, 4), torch.full_like(images[0], 0.5)
    shown = torch.stack([masked(images[0], base, masks[0], row) for row in rows])
    with torch.no_grad():
        outputs = model(shown)[:, 2].numpy()
    expected = np.linalg.lstsq(np.c_[rows, np.ones(20)], outputs, rcond=None)[0][:4]
    assert error(found[0], torch.from_numpy(expected)) < 1e-8


def test_a_segment_without_pixels_changes_nothing():
    images = pictures(2, 12)
    labels = grid_segments(images, 2, 2)
    expected = lime_coefficients(tiny(), images, segments=labels, samples=30)
    gaps = labels.clone()
    gaps[1] = torch.tensor([0, 2, 5, 9])[labels[1]]
    found = lime_coefficients(tiny(), images, segments=gaps, samples=30)
    assert found.shape == (2, 10)
    assert error(found[0, :4], expected[0]) < 1e-12
    assert error(found[1, [0, 2, 5, 9]], expected[1]) < 1e-12
    assert found[0, 4:].abs().max() == 0


def test_images_with_different_numbers_of_segments_do_not_mix():
    images = pictures(3, 24)
    images[1] = 0.1 * images[1].mean(2, keepdim=True)  # stripes
    labels = superpixels(images, 10)
    assert labels.amax((1, 2)).unique().numel() > 1
    together = lime(tiny(), images, segments=labels, samples=40)
    alone = [
        lime(tiny(), image[None], segments=each[None], samples=40)
        for image, each in zip(images, labels, strict=True)
    ]
    assert error(torch.cat(alone), together) < 1e-10


def test_nothing_to_hide_is_nothing_to_explain():
    masks = torch.zeros(2, 3, 12, 12, dtype=torch.bool)
    assert lime(tiny(), pictures(2, 12), segments=masks, samples=5).abs().max() == 0


# ---- options -------------------------------------------------------------------------------------


def test_the_probability_of_the_class():
    images, options = pictures(2, 16), {"samples": 20}
    expected = lime(tiny(), images, lambda y: y.softmax(1)[:, 2], **options)
    assert error(lime(tiny(), images, 2, output="probability", **options), expected) < 1e-12


def test_it_needs_no_derivative():
    model, images = NoDerivative().eval(), pictures(2, 16)
    relevance = lime(model, images, samples=40)
    assert relevance.isfinite().all()
    assert relevance.abs().max() > 1e-3


def test_seeds_batches_and_the_callers_random_numbers():
    model, images, options = tiny(), pictures(2, 16), {"samples": 30}
    before = torch.get_rng_state()
    whole = lime(model, images, **options)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(whole, lime(tiny(), images, **options))
    assert error(lime(tiny(), images, seed=1, **options), whole) > 1e-3
    assert error(lime(tiny(), images, batch_size=4, **options), whole) < 1e-10


def test_the_progress_bar_changes_nothing(capsys):
    quiet = lime(tiny(), pictures(1, 16), samples=5)
    assert capsys.readouterr().err == ""
    assert torch.equal(lime(tiny(), pictures(1, 16), samples=5, progress=True), quiet)
    assert "LIME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": 1}, "samples: got 1"),
        ({"kernel_width": 0}, "kernel_width: got 0"),
        ({"ridge": -1}, "ridge: got -1"),
        ({"output": "softmax"}, "output: got 'softmax'"),
        ({"baseline": "inpaint"}, "baseline: got 'inpaint'"),
        ({"segments": "slic"}, "segments: got str"),
        ({"seed": 0.5}, r"seed: got 0\.5"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_options_that_are_refused_by_name(options, words):
    for function in (lime, lime_coefficients):
        with pytest.raises(ValueError, match=f"^{words}.*must be"):
            function(tiny(), pictures(1, 16), **{"samples": 4, **options})
