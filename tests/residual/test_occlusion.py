"""Occlusion by hand, against a plain loop, and against captum."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import Occlusion
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import ALL, Spy, error, network, pictures, tiny
from torch import nn

from xai_course.core import baseline_images
from xai_course.residual import occlusion, sliding_windows


class Total(nn.Module):
    """One logit: the sum of the input."""

    def forward(self, x):
        return x.sum((1, 2, 3))[:, None]


# ---- by hand -------------------------------------------------------------------------------------


def test_occlusion_by_hand():
    images = torch.tensor([[[[1.0, 2, 4], [8, 16, 32]]]])
    relevance = occlusion(Total().eval(), images, window=(2, 2), stride=(1, 1), baseline=0)
    # Two windows: columns 0-1 hold 27, columns 1-2 hold 54; the middle column has their mean.
    assert relevance.tolist() == [[[[27.0, 40.5, 54.0], [27.0, 40.5, 54.0]]]]


def test_a_window_at_the_edge_is_cut_off():
    images = torch.arange(5.0).view(1, 1, 1, 5)
    relevance = occlusion(Total().eval(), images, window=(1, 2), stride=(1, 2), baseline=0.0)
    assert relevance.flatten().tolist() == [1, 1, 5, 5, 4]


def test_inpainting_by_hand():
    row = [1.0, 2, 4, 8, 16]
    images = torch.tensor(row).view(1, 1, 1, 5)
    relevance = occlusion(Total().eval(), images, window=1, stride=1, baseline="inpaint")
    filled = [2, 2.5, 5, 10, 8]  # the mean of a pixel's neighbours
    assert relevance.flatten().tolist() == pytest.approx(
        [r - f for r, f in zip(row, filled, strict=True)]
    )


# ---- oracles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_occlusion_agrees_with_captum(name):
    model, images, targets = network(name), pictures(2, 40), torch.tensor([3, 1])
    expected = Occlusion(lambda x: model(x.clone())).attribute(
        images, (3, 15, 13), (3, 12, 9), baselines=0.3, target=targets, perturbations_per_eval=8
    )
    relevance = occlusion(model, images, targets, window=(15, 13), stride=(12, 9), baseline=0.3)
    assert error(relevance, expected[:, :1]) < 1e-6  # captum adds up in float32


@given(
    size=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    data=st.data(),
    batch_size=st.integers(1, 40),
)
@settings(max_examples=30, deadline=None)
def test_any_window_and_batch_size_agree_with_a_plain_loop(size, data, batch_size):
    window = tuple(data.draw(st.integers(1, n)) for n in size)
    stride = tuple(data.draw(st.integers(1, w)) for w in window)
    model, images = tiny(2), pictures(2, 12, 2)[:, :, : size[0], : size[1]]
    filling = pictures(2, 12, 2, seed=5)[:, :, : size[0], : size[1]]
    relevance = occlusion(
        model, images, 1, window=window, stride=stride, baseline=filling, batch_size=batch_size
    )
    total, count = torch.zeros(2, 1, *size).double(), torch.zeros(size)
    tops, lefts = (
        [s * k for k in range(-(-(n - w) // s) + 1)]
        for n, w, s in zip(size, window, stride, strict=True)
    )
    with torch.no_grad():
        for top in tops:
            for left in lefts:
                rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
                changed = images.clone()
                changed[:, :, rows, columns] = filling[:, :, rows, columns]
                drop = (model(images.clone()) - model(changed))[:, 1]
                total[:, 0, rows, columns] += drop[:, None, None]
                count[rows, columns] += 1
    assert error(relevance, total / count) < 1e-12


@pytest.mark.parametrize("baseline", ["mean", "blur", "inpaint"])
def test_every_baseline_agrees_with_a_plain_loop(baseline):
    model, images = tiny(), pictures(2, 12)
    relevance = occlusion(model, images, 1, window=(4, 6), stride=(4, 6), baseline=baseline)
    expected = torch.zeros(2, 1, 12, 12).double()
    for top in range(0, 12, 4):
        for left in range(0, 12, 6):
            covered = torch.zeros(2, 1, 12, 12, dtype=torch.bool)
            covered[:, :, top : top + 4, left : left + 6] = True
            filling = baseline_images(images, baseline, covered, (4, 6))
            with torch.no_grad():
                changed = model(torch.where(covered, filling, images))
                drop = (model(images.clone()) - changed)[:, 1]
            expected += drop[:, None, None, None] * covered
    assert error(relevance, expected) < 1e-12


@given(size=st.integers(1, 30), data=st.data())
@settings(max_examples=50, deadline=None)
def test_windows_cover_every_pixel_and_none_is_superfluous(size, data):
    window = data.draw(st.integers(1, size))
    stride = data.draw(st.integers(1, window))
    rows, columns = sliding_windows(torch.zeros(1, 1, size, size), window, stride)
    assert torch.equal(rows, columns)
    assert rows.any(0).all()
    assert (rows[:-1].sum(1) == window).all()
    assert not rows[:-1, -1].any()


def test_a_linear_model_gives_each_window_its_own_sum():
    model, images = tiny(), pictures(1, 16)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 2)).double().eval()
    relevance = occlusion(linear, images, 1, window=4, stride=4, baseline=0)
    parts = (linear[1].weight[1].view(1, 3, 16, 16) * images).sum(1, keepdim=True)
    expected = F.avg_pool2d(parts, 4) * 16
    assert error(relevance[:, :, ::4, ::4], expected.detach()) < 1e-12
    # Windows that do not overlap, and a linear model: the parts add up to the whole change.
    change = linear(images)[0, 1] - linear(torch.zeros_like(images))[0, 1]
    assert float(relevance.sum() / 16) == pytest.approx(float(change.detach()))
    assert occlusion(model, images, window=16, stride=16).unique().numel() == 1


# ---- options -------------------------------------------------------------------------------------


def test_the_memory_is_bounded_by_the_batch_size():
    spy = Spy()
    model = nn.Sequential(spy, tiny()).eval()
    whole = occlusion(model, pictures(5), window=16, stride=16, batch_size=100)
    # A new model is first measured on two images.
    assert [len(x) for x in spy.seen] == [1, 1, 5, 80]
    spy.seen.clear()
    small = occlusion(model, pictures(5), window=16, stride=16, batch_size=3)
    assert sum(map(len, spy.seen)) == 85
    assert max(map(len, spy.seen)) == 3
    assert error(small, whole) < 1e-12


def test_the_default_window_is_an_eighth_of_the_image_and_moves_by_half():
    images = pictures(1, 64)[:, :, :48]
    expected = occlusion(tiny(), images, window=(6, 8), stride=(3, 4))
    assert torch.equal(occlusion(tiny(), images), expected)
    assert occlusion(tiny(), pictures(1, 3)).shape == (1, 1, 3, 3)


def test_the_progress_bar_changes_nothing(capsys):
    quiet = occlusion(tiny(), pictures(), window=32)
    assert capsys.readouterr().err == ""
    loud = occlusion(tiny(), pictures(), window=32, progress=True)
    assert "occlusion" in capsys.readouterr().err
    assert torch.equal(quiet, loud)


def test_the_whole_image_chooses_the_class():
    images = pictures(4, 32)
    predicted = tiny()(images.clone()).argmax(1)
    relevance = occlusion(tiny(), images, window=16)
    assert torch.equal(relevance, occlusion(tiny(), images, predicted, window=16))
    assert error(occlusion(tiny(), images, 0, window=16), relevance) > 1e-3


def test_inpainting_in_batches_of_any_size_and_with_cut_windows():
    images = pictures(2, 20)
    options = {"window": (8, 7), "stride": (8, 7), "baseline": "inpaint"}
    expected = occlusion(tiny(), images, batch_size=1, **options)
    assert error(occlusion(tiny(), images, batch_size=7, **options), expected) < 1e-12
    with pytest.raises(ValueError, match=r"^window: got one that covers all"):
        occlusion(tiny(), images, window=20, baseline="inpaint")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 0}, r"window: got \(0, 0\)"),
        ({"window": 65}, r"window: got \(65, 65\)"),
        ({"window": (8, 65)}, r"window: got \(8, 65\)"),
        ({"window": (8, 8, 8)}, r"window: got \(8, 8, 8\)"),
        ({"window": "8"}, r"window: got \('8', '8'\)"),
        ({"window": 2.5}, r"window: got \(2\.5, 2\.5\)"),
        ({"window": 8, "stride": 9}, r"stride: got \(9, 9\)"),
        ({"window": 8, "stride": 0}, r"stride: got \(0, 0\)"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"baseline": "black"}, "baseline: got 'black'"),
        ({"baseline": float("nan")}, "baseline: got NaN"),
        ({"baseline": torch.zeros(5, 1, 1)}, r"baseline: got \(5, 1, 1\)"),
        ({"baseline": None}, "baseline: got None"),
    ],
)
def test_options_that_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=f"^{words}.*must be"):
        occlusion(tiny(), pictures(), **options)
