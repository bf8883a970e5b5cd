"""Change against a baseline, by hand, as axioms ask, and against captum."""

import weakref
from itertools import pairwise

import pytest
import torch
from captum.attr import IntegratedGradients, Occlusion
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import CLASSES, error, network, pictures, tiny
from torch import nn

from xai_course.core import baseline_images
from xai_course.residual import (
    expected_gradients,
    integrated_gradients,
    occlusion,
    sliding_windows,
)

NAMES = ["resnet18", "resnet50", "vgg16", "mobilenet_v2", "densenet121", "efficientnet_lite0"]


class Total(nn.Module):
    """One logit: the sum of the input."""

    def forward(self, x):
        return x.sum((1, 2, 3))[:, None]


def test_occlusion_by_hand():
    images = torch.tensor([[[[1.0, 2, 4], [8, 16, 32]]]])
    relevance = occlusion(Total().eval(), images, window=(2, 2), stride=(1, 1), baseline=0)
    # Two windows: columns 0-1 hold 27, columns 1-2 hold 54; the middle column has their mean.
    assert relevance.tolist() == [[[[27.0, 40.5, 54.0], [27.0, 40.5, 54.0]]]]


def test_a_window_at_the_edge_is_cut_off():
    images = torch.arange(5.0).view(1, 1, 1, 5)
    relevance = occlusion(Total().eval(), images, window=(1, 2), stride=(1, 2), baseline=0.0)
    assert relevance.flatten().tolist() == [1, 1, 5, 5, 4]


@pytest.mark.parametrize("name", [*NAMES, "mixed"])
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
                fall = (model(images.clone()) - model(changed))[:, 1]
                total[:, 0, rows, columns] += fall[:, None, None]
                count[rows, columns] += 1
    assert error(relevance, total / count) < 1e-12


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
    expected = nn.functional.avg_pool2d(parts, 4) * 16
    assert error(relevance[:, :, ::4, ::4], expected.detach()) < 1e-12
    # Windows that do not overlap, and a linear model: the parts add up to the whole change.
    change = linear(images)[0, 1] - linear(torch.zeros_like(images))[0, 1]
    assert float(relevance.sum() / 16) == pytest.approx(float(change.detach()))
    assert occlusion(model, images, window=16, stride=16).unique().numel() == 1


def test_the_memory_is_bounded_by_the_batch_size():
    sizes = []

    class Spy(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x

    model = nn.Sequential(Spy(), tiny()).eval()
    whole = occlusion(model, pictures(5), window=16, stride=16, batch_size=100)
    assert sizes == [5, 80]
    sizes.clear()
    small = occlusion(model, pictures(5), window=16, stride=16, batch_size=3)
    assert sum(sizes) == 85
    assert max(sizes) == 3
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


@pytest.mark.parametrize(
    ("options", "came"),
    [
        ({"window": 0}, "window: got 0"),
        ({"window": 65}, "window: got 65"),
        ({"window": (8, 65)}, r"window: got \(8, 65\)"),
        ({"window": 2.5}, r"window: got 2\.5"),
        ({"window": 8, "stride": 9}, "stride: got 9"),
        ({"window": 8, "stride": 0}, "stride: got 0"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"baseline": "black"}, "baseline: got 'black'"),
        ({"baseline": float("nan")}, "baseline: got NaN"),
        ({"baseline": torch.zeros(5, 1, 1)}, r"baseline: got \(5, 1, 1\)"),
        ({"baseline": None}, "baseline: got None"),
    ],
)
def test_options_that_are_refused_by_name(options, came):
    with pytest.raises(ValueError, match=f"^{came}.*allowed"):
        occlusion(tiny(), pictures(), **options)


def test_baselines():
    images = pictures(2, 32)
    mean = baseline_images(images, "mean")
    assert error(mean[..., 0, 0], images.mean((2, 3))) < 1e-15
    assert mean.std((2, 3)).max() < 1e-15
    colour = torch.tensor([1.0, 2, 3]).view(3, 1, 1)
    assert baseline_images(images, colour)[1, :, 5, 7].tolist() == [1, 2, 3]
    assert (baseline_images(images, 0.25) == 0.25).all()
    blur = baseline_images(images, "blur")
    assert blur.std() < 0.5 * images.std()
    flat = torch.full((1, 1, 9, 9), 0.7, dtype=torch.double)
    assert error(baseline_images(flat, "blur"), flat) < 1e-12
    point = torch.zeros(1, 1, 33, 33, dtype=torch.double)
    point[..., 16, 16] = 1
    triangle = torch.tensor([1.0, 2, 3, 4, 5, 4, 3, 2, 1], dtype=torch.double) / 25
    spread = baseline_images(point, "blur")[0, 0, 12:21, 12:21]
    assert error(spread, torch.outer(triangle, triangle)) < 1e-12


def test_the_whole_image_chooses_the_class():
    images = pictures(4, 32)
    predicted = tiny()(images.clone()).argmax(1)
    assert torch.equal(occlusion(tiny(), images), occlusion(tiny(), images, predicted))
    assert error(occlusion(tiny(), images, 0), occlusion(tiny(), images)) > 1e-3


# ------------------------------------------------------------------ inpainting


def test_inpainting_by_hand():
    row = [1.0, 2, 4, 8, 16]
    images = torch.tensor(row).view(1, 1, 1, 5)
    relevance = occlusion(Total().eval(), images, window=1, stride=1, baseline="inpaint")
    filled = [2, 2.5, 5, 10, 8]  # the mean of a pixel's neighbours
    assert relevance.flatten().tolist() == pytest.approx(
        [r - f for r, f in zip(row, filled, strict=True)]
    )
    covered = torch.tensor([False, True, True, False, False]).view(1, 1, 1, 5)
    found = baseline_images(images, "inpaint", covered, (1, 2)).flatten().tolist()
    # Weight 2 for a pixel at a distance of 1, weight 1 at a distance of 2.
    assert found == pytest.approx([1, (2 * 1 + 8) / 3, (1 + 2 * 8 + 16) / 4, 8, 16])


@given(
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)), data=st.data(), seed=st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_inpainting_takes_what_is_around(size, data, seed):
    high, wide = (data.draw(st.integers(1, n)) for n in size)
    top, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    covered = torch.zeros(1, 1, *size, dtype=torch.bool)
    covered[:, :, top : top + high, left : left + wide] = True
    images = pictures(1, 20, 2, seed=seed)[:, :, : size[0], : size[1]]
    if covered.all():
        with pytest.raises(ValueError, match=r"^window: it covers all"):
            baseline_images(images, "inpaint", covered, (high, wide))
        return
    filled = baseline_images(images, "inpaint", covered, (high, wide))
    assert torch.equal(filled[:, :, ~covered[0, 0]], images[:, :, ~covered[0, 0]])
    around = images[:, :, ~covered[0, 0]]
    inside = filled[:, :, covered[0, 0]]
    assert (inside <= around.amax(2, keepdim=True) + 1e-12).all()
    assert (inside >= around.amin(2, keepdim=True) - 1e-12).all()
    # What was inside does not matter, and a flat image stays flat.
    other = torch.where(covered, 9.0, images)
    assert torch.equal(baseline_images(other, "inpaint", covered, (high, wide)), filled)
    flat = torch.full_like(images, 0.7)
    assert error(baseline_images(flat, "inpaint", covered, (high, wide)), flat) < 1e-12


def test_inpainting_in_batches_of_any_size_and_with_cut_windows():
    images = pictures(2, 20)
    options = {"window": (8, 7), "stride": (8, 7), "baseline": "inpaint"}
    expected = occlusion(tiny(), images, batch_size=1, **options)
    assert error(occlusion(tiny(), images, batch_size=7, **options), expected) < 1e-12
    with pytest.raises(ValueError, match=r"^window: it covers all"):
        occlusion(tiny(), images, window=20, baseline="inpaint")
    with pytest.raises(ValueError, match=r"^baseline: got 'inpaint'"):
        integrated_gradients(tiny(), images, baseline="inpaint")


# ------------------------------------------------------------------ Integrated Gradients


def test_integrated_gradients_by_hand():
    square = Function(lambda x: x.square().sum((1, 2, 3))[:, None])
    images = torch.tensor([[[[1.0, -2], [3, 0]]]])
    relevance = integrated_gradients(square, images, baseline=0, steps=5)
    assert relevance.flatten().tolist() == pytest.approx([1, 4, 9, 0])  # exact: a linear slope
    cube = Function(lambda x: (x**3).sum((1, 2, 3))[:, None])
    # 3 x² at shares 1/4 and 3/4 of the way to 1: in the mean 3 · (1/16 + 9/16) / 2.
    found = integrated_gradients(cube, torch.ones(1, 1, 1, 1), baseline=0, steps=2)
    assert float(found) == pytest.approx(15 / 16)


class Function(nn.Module):
    """A model made of a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("name", [*NAMES, "mixed"])
def test_integrated_gradients_agree_with_captum(name):
    model, images, targets = network(name), pictures(2, 40), torch.tensor([3, 1])
    baselines = pictures(2, 40, seed=4)
    ours = integrated_gradients(model, images, targets, baseline=baselines, steps=3)
    theirs = IntegratedGradients(lambda x: model(x.clone())).attribute(
        images, baselines, targets, n_steps=3, method="riemann_middle"
    )
    assert error(ours, theirs) < 1e-6


def test_a_linear_model_has_its_weights_times_the_change():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double().eval()
    images, baselines = pictures(2, 4), pictures(2, 4, seed=4)
    weight = linear[1].weight.detach()[1].view(1, 3, 4, 4)
    for steps in (1, 7):
        found = integrated_gradients(linear, images, 1, baseline=baselines, steps=steps)
        assert error(found, weight * (images - baselines)) < 1e-12


@given(seed=st.integers(0, 10**6), target=st.integers(0, CLASSES - 1))
@settings(max_examples=15, deadline=None)
def test_it_sums_to_the_change_of_any_network(seed, target):
    generator = torch.Generator().manual_seed(seed)
    model = tiny()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    images, baselines = pictures(2, 12, seed=seed), pictures(2, 12, seed=seed + 1)
    found = integrated_gradients(
        model, images, target, baseline=baselines, steps=300, batch_size=600
    )
    with torch.no_grad():
        change = (model(images.clone()) - model(baselines.clone()))[:, target]
    size = found.abs().sum((1, 2, 3))
    assert ((found.sum((1, 2, 3)) - change).abs() < 1e-3 * size).all()


def test_what_is_missing_from_the_sum_does_not_shrink_with_every_step():
    model, images = network("mixed"), pictures(1, 32)
    with torch.no_grad():
        change = (model(images.clone()) - model(torch.zeros_like(images)))[0, 2]
    missing = [
        abs(float(integrated_gradients(model, images, 2, baseline=0, steps=k).sum() - change))
        for k in [*range(1, 13), 300]
    ]
    assert missing[-1] < 0.1 * missing[0]
    assert any(later > 1.2 * earlier for earlier, later in pairwise(missing))


def test_integrated_gradients_are_linear_in_the_logit():
    model, images = tiny(), pictures()
    summed = nn.Linear(CLASSES, 1, bias=False).double()
    with torch.no_grad():
        summed.weight.copy_(torch.arange(CLASSES))
    whole = integrated_gradients(nn.Sequential(model, summed).eval(), images, 0, steps=4)
    parts = sum(k * integrated_gradients(model, images, k, steps=4) for k in range(CLASSES))
    assert error(whole, parts) < 1e-12


def test_what_does_not_matter_or_does_not_change_has_no_relevance():
    blind = Function(lambda x: torch.sigmoid(x[:, :2].sum((1, 2, 3)))[:, None])
    found = integrated_gradients(blind, pictures(2, 6))
    assert not found[:, 2].any()
    assert found[:, :2].all()
    images, baselines = pictures(2, 16), pictures(2, 16, seed=4)
    baselines[..., 3:9] = images[..., 3:9]
    found = integrated_gradients(tiny(), images, baseline=baselines, steps=3)
    assert not found[..., 3:9].any()
    assert not integrated_gradients(network("mixed"), pictures(), baseline=pictures()).any()


def test_what_the_model_treats_alike_gets_the_same():
    turned = Function(lambda x: (x * x.transpose(2, 3)).sigmoid().sum((1, 2, 3))[:, None])
    images = pictures(1, 5)
    images = images + images.transpose(2, 3)
    found = integrated_gradients(turned, images, baseline=0)
    assert error(found, found.transpose(2, 3)) < 1e-12


def test_a_saturated_unit_has_no_gradient_and_yet_a_change():
    saturated = Function(lambda x: (1 - torch.relu(1 - x.sum((1, 2, 3))))[:, None])
    images = torch.ones(1, 1, 2, 2, dtype=torch.double)
    found = integrated_gradients(saturated, images, baseline=0, steps=32)
    assert found.flatten().tolist() == pytest.approx([0.25] * 4)
    assert not integrated_gradients(saturated, images, baseline=0.5, steps=32).any()


def test_the_memory_of_many_steps_is_bounded_and_no_graph_is_kept():
    sizes, alive = [], []

    class Spy(nn.Module):
        def forward(self, x):
            y = x * 1
            sizes.append(len(x))
            alive.append(weakref.ref(y))
            assert sum(reference() is not None for reference in alive) <= 2
            return y

    model = nn.Sequential(Spy(), tiny()).eval()
    whole = integrated_gradients(model, pictures(5), steps=20, batch_size=100)
    assert sizes == [5, 100]
    sizes.clear()
    small = integrated_gradients(model, pictures(5), steps=20, batch_size=3)
    assert sum(sizes) == 105
    assert max(sizes) == 3
    assert error(small, whole) < 1e-12
    sizes.clear()
    expected_gradients(model, pictures(5), steps=4, batch_size=3, baselines=pictures(2, seed=1))
    assert max(sizes) == 3


@pytest.mark.parametrize("batches", [1, 2, 4])
def test_an_interrupted_call_leaves_nothing_behind(batches):
    class Interrupted(nn.Module):
        left = batches

        def forward(self, x):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return x

    model = nn.Sequential(Interrupted(), tiny()).eval()
    images = pictures()
    for explain in (integrated_gradients, occlusion):
        model[0].left = batches
        with pytest.raises(KeyboardInterrupt):
            explain(model, images, batch_size=1)
        assert torch.equal(images, pictures())
        assert images.grad is None
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["mixed", "efficientnet_lite0"])
def test_expected_gradients_are_the_mean_over_the_baselines(name):
    model, images, baselines = network(name), pictures(2, 40), pictures(3, 40, seed=4)
    predicted = model(images.clone()).argmax(1)
    parts = [
        integrated_gradients(model, images, predicted, baseline=base, steps=3) for base in baselines
    ]
    found = expected_gradients(model, images, baselines=baselines, steps=3)
    assert error(found, sum(parts) / 3) < 1e-12


@pytest.mark.parametrize(
    ("options", "came"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"steps": 2.5}, r"steps: got 2\.5"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"baselines": pictures(1)[0]}, r"baselines: got \(3, 64, 64\)"),
        ({"baselines": pictures(0)}, r"baselines: got \(0, 3, 64, 64\)"),
        ({"baselines": "mean"}, "baselines: got str"),
        ({"baselines": pictures(2, 32)}, r"baseline: got \(3, 32, 32\)"),
    ],
)
def test_options_of_the_gradients_that_are_refused(options, came):
    with pytest.raises(ValueError, match=f"^{came}.*allowed"):
        expected_gradients(tiny(), pictures(), **{"baselines": pictures(), **options})


@pytest.mark.parametrize("explain", [integrated_gradients, expected_gradients])
def test_the_bar_of_the_gradients_changes_nothing(explain, capsys):
    options = {"baselines": pictures(2)} if explain is expected_gradients else {}
    quiet = explain(tiny(), pictures(), steps=4, **options)
    assert capsys.readouterr().err == ""
    loud = explain(tiny(), pictures(), steps=4, progress=True, **options)
    assert "gradients" in capsys.readouterr().err
    assert torch.equal(quiet, loud)


@pytest.mark.parametrize("cut", [torch.Tensor.detach, lambda x: torch.zeros_like(x)])
def test_a_model_that_autograd_cannot_follow_is_refused(cut):
    for model in (nn.Sequential(Function(cut), tiny()), nn.Sequential(tiny(), Function(cut))):
        with pytest.raises(ValueError, match=r"^model: its output has no derivative"):
            integrated_gradients(model.eval(), pictures())
