"""RISE against a plain loop in NumPy, and its expectation for a linear model in closed form."""

import numpy as np
import pytest
import torch
from segment_methods import NoDerivative
from stock_networks import Spy, error, pictures, tiny
from torch import nn

from xai_course.core import baseline_images
from xai_course.residual import random_masks, rise

# ---- oracles -------------------------------------------------------------------------------------


def enlargement(cells, pixels):
    """The matrix (pixels, cells) of linear interpolation between the centres of cells."""
    centre = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    centre = centre.clip(0, cells - 1)
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, cells - 1)
    matrix = np.zeros((pixels, cells))
    for pixel in range(pixels):
        matrix[pixel, low[pixel]] += 1 - (centre[pixel] - low[pixel])
        matrix[pixel, high[pixel]] += centre[pixel] - low[pixel]
    return matrix


def plain_masks(size, masks, cells, p, seed):
    """The masks in NumPy, with the numbers that PyTorch draws."""
    generator = torch.Generator().manual_seed(seed)
    grids = torch.rand(masks, 1, cells, cells, generator=generator, dtype=torch.double).numpy()
    cell = [int(np.ceil(n / cells)) for n in size]
    shifts = [torch.randint(n, (masks,), generator=generator).numpy() for n in cell]
    rows, columns = (enlargement(cells, (cells + 1) * n) for n in cell)
    result = []
    for grid, top, left in zip(grids[:, 0], *shifts, strict=True):
        whole = rows @ (grid < p) @ columns.T
        result.append(whole[top : top + size[0], left : left + size[1]])
    return np.array(result)


@pytest.mark.parametrize("size", [(12, 12), (13, 9), (5, 16)])
def test_the_masks_agree_with_plain_numpy(size):
    ours = random_masks(size, 20, 5, 0.3, seed=4)
    assert ours.dtype == torch.double
    assert np.abs(ours.numpy() - plain_masks(size, 20, 5, 0.3, 4)).max() < 1e-12


@pytest.mark.parametrize("output", ["probability", "logit"])
@pytest.mark.parametrize("centred", [False, True])
def test_rise_agrees_with_a_plain_loop(output, centred):
    model, images, classes = tiny(), pictures(2, 14)[..., :11], [3, 1]
    relevance = rise(
        model,
        images,
        classes,
        masks=30,
        cells=4,
        probability=0.4,
        output=output,
        centred=centred,
        baseline="blur",
        seed=3,
        batch_size=7,
    )
    masks, base = plain_masks((14, 11), 30, 4, 0.4, 3), baseline_images(images, "blur")
    for n in range(2):
        outputs = []
        for mask in masks:
            shown = torch.from_numpy(mask)
            picture = shown * images[n] + (1 - shown) * base[n]
            with torch.no_grad():
                logits = model(picture[None])[0].numpy()
            chance = np.exp(logits) / np.exp(logits).sum()
            outputs.append((chance if output == "probability" else logits)[classes[n]])
        if centred:
            expected = np.array(
                [
                    [np.cov(outputs, masks[:, i, j], bias=True)[0, 1] for j in range(11)]
                    for i in range(14)
                ]
            ) / masks.var(0)
        else:
            expected = np.mean([f * m for f, m in zip(outputs, masks, strict=True)], 0) / 0.4
        assert error(relevance[n, 0], torch.from_numpy(expected)) < 1e-10


def test_the_expectation_for_a_linear_model():
    """Masks are independent in rows and columns given the shift, so their covariance is known."""
    size, cells, p, count = (8, 12), 3, 0.3, 40_000
    covariances = []
    for pixels in size:
        cell = -(-pixels // cells)
        matrix = enlargement(cells, (cells + 1) * cell)
        cut = [matrix[k : k + pixels] for k in range(cell)]
        covariances.append(np.mean([m @ m.T for m in cut], 0))  # (pixels, pixels)
    rows, columns = map(torch.from_numpy, covariances)
    covariance = p * (1 - p) * torch.einsum("ik,jl->ijkl", rows, columns)
    images = pictures(1, 12, 1)[:, :, :8]
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 1)).double().eval()
    parts = (model[1].weight.view(8, 12) * images[0, 0]).detach()
    slope = torch.einsum("ijkl,kl->ij", covariance, parts)
    mean = float(model[1].bias) + p * parts.sum()
    options = {"masks": count, "cells": cells, "probability": p, "output": "logit", "baseline": 0}
    published = rise(model, images, batch_size=1000, **options)[0, 0]
    centred = rise(model, images, batch_size=1000, centred=True, **options)[0, 0]
    variance = torch.einsum("ijij->ij", covariance)
    # The standard error of a mean of `count` products is about spread · spread / √count.
    spread = torch.einsum("ijkl,ij,kl->", covariance, parts, parts).sqrt()
    noise = 6 * (spread + abs(mean)) * 0.5 / count**0.5
    assert (published - (mean + slope / p)).abs().max() < noise / p
    assert (centred - slope / variance).abs().max() < noise / float(variance.min())
    assert (slope / variance).abs().max() > 5 * noise / float(variance.min())  # no empty test


def test_every_pixel_is_shown_with_the_probability():
    drawn = random_masks((20, 17), 20_000, 6, 0.3)
    assert (drawn.mean((1, 2)).mean() - 0.3).abs() < 0.01
    assert (drawn.mean(0) - 0.3).abs().max() < 5 * 0.46 / 20_000**0.5
    assert drawn.min() >= 0
    assert drawn.max() <= 1


# ---- the constant of the published form ----------------------------------------------------------


class Plus(nn.Module):
    """Adds a number to every logit."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x):
        return x + self.number


def test_a_constant_in_the_output_counts_in_the_published_form_alone():
    images, options = pictures(2, 16), {"masks": 60, "output": "logit"}
    raised = nn.Sequential(tiny(), Plus(20.0)).eval()
    centred, published = (
        rise(tiny(), images, centred=True, **options),
        rise(tiny(), images, **options),
    )
    assert error(rise(raised, images, centred=True, **options), centred) < 1e-10
    change = rise(raised, images, **options) - published
    expected = 20 * random_masks((16, 16), 60, 7, 0.5).mean(0) / 0.5  # constant but for the noise
    assert (change - expected).abs().max() < 1e-10


def test_the_centred_form_is_steadier_where_the_mean_output_is_large():
    images, options = pictures(1, 16), {"masks": 100, "output": "logit"}
    raised = nn.Sequential(tiny(), Plus(20.0)).eval()
    forms = {}
    for centred in (False, True):
        maps = torch.stack(
            [rise(raised, images, centred=centred, seed=s, **options) for s in range(12)]
        )
        maps = maps - maps.mean((3, 4), keepdim=True)  # the constant itself says nothing
        limit = rise(raised, images, masks=4000, output="logit", centred=centred)
        signal = (limit - limit.mean()).square().mean()
        forms[centred] = float(maps.var(0).mean() / signal)
    assert forms[True] < forms[False] / 5


# ---- options -------------------------------------------------------------------------------------


def test_the_probability_is_the_softmax_of_the_logits_or_the_sigmoid_of_one():
    images, options = pictures(2, 16), {"masks": 20}
    expected = rise(tiny(), images, lambda y: y.softmax(1)[:, 2], output="logit", **options)
    assert error(rise(tiny(), images, 2, **options), expected) < 1e-12
    single = tiny(classes=1)
    expected = rise(single, images, lambda y: y[:, 0].sigmoid(), output="logit", **options)
    assert error(rise(single, images, **options), expected) < 1e-12


def test_probabilities_are_refused_where_they_are_made():
    model = nn.Sequential(tiny(), nn.Softmax(1)).eval()
    with pytest.raises(ValueError, match=r"^model: got probabilities; must return logits"):
        rise(model, pictures(2, 16), masks=2)


def test_a_pixel_that_all_masks_show_alike_gets_nothing_in_the_centred_form():
    assert rise(tiny(), pictures(1, 16), masks=1, centred=True).abs().max() == 0


def test_seeds_batches_and_the_callers_random_numbers():
    model, images, options = tiny(), pictures(3, 16), {"masks": 25}
    before = torch.get_rng_state()
    whole = rise(model, images, **options)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(whole, rise(tiny(), images, **options))
    assert error(rise(tiny(), images, seed=1, **options), whole) > 1e-3
    assert error(rise(tiny(), images, batch_size=4, **options), whole) < 1e-12
    single = torch.cat([rise(tiny(), image[None], **options) for image in images])
    assert error(single, whole) < 1e-12


def test_it_needs_no_derivative():
    relevance = rise(NoDerivative().eval(), pictures(2, 16), masks=40, centred=True)
    assert relevance.isfinite().all()
    assert relevance.abs().max() > 1e-3


def test_the_memory_is_bounded_by_the_batch_size():
    spy = Spy()
    rise(nn.Sequential(spy, tiny()).eval(), pictures(2, 16), masks=10, batch_size=4)
    # A new model is first measured on two images.
    assert [len(x) for x in spy.seen] == [1, 1, 2, 4, 4, 4, 4, 2, 2]


def test_the_progress_bar_changes_nothing(capsys):
    quiet = rise(tiny(), pictures(1, 16), masks=5)
    assert capsys.readouterr().err == ""
    assert torch.equal(rise(tiny(), pictures(1, 16), masks=5, progress=True), quiet)
    assert "RISE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"masks": 0}, "masks: got 0"),
        ({"cells": 0}, "cells: got 0"),
        ({"cells": 17}, "cells: got 17"),
        ({"probability": 0}, "probability: got 0"),
        ({"probability": 1}, "probability: got 1"),
        ({"output": "softmax"}, "output: got 'softmax'"),
        ({"centred": None}, "centred: got None"),
        ({"baseline": "black"}, "baseline: got 'black'"),
        ({"baseline": "inpaint"}, "baseline: got 'inpaint'"),
        ({"seed": -1}, "seed: got -1"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_options_that_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=f"^{words}.*must be"):
        rise(tiny(), pictures(1, 16), **{"masks": 2, **options})
