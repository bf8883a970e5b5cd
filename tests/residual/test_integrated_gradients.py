"""Integrated and expected gradients by hand, as axioms ask, and against captum."""

import weakref
from itertools import pairwise

import pytest
import torch
from captum.attr import IntegratedGradients
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import ALL, CLASSES, error, network, pictures, tiny
from torch import nn
from toy_models import Function

from xai_course.residual import deeplift, expected_gradients, integrated_gradients, occlusion

# ---- by hand and against captum ------------------------------------------------------------------


def test_integrated_gradients_by_hand():
    square = Function(lambda x: x.square().sum((1, 2, 3))[:, None])
    images = torch.tensor([[[[1.0, -2], [3, 0]]]])
    relevance = integrated_gradients(square, images, baseline=0, steps=5)
    assert relevance.flatten().tolist() == pytest.approx([1, 4, 9, 0])  # exact: a linear slope
    cube = Function(lambda x: (x**3).sum((1, 2, 3))[:, None])
    # 3 x² at shares 1/4 and 3/4 of the path to 1: in the mean 3 · (1/16 + 9/16) / 2.
    found = integrated_gradients(cube, torch.ones(1, 1, 1, 1), baseline=0, steps=2)
    assert float(found) == pytest.approx(15 / 16)


@pytest.mark.parametrize("name", ALL)
def test_integrated_gradients_agree_with_captum(name):
    model, images, targets = network(name), pictures(2, 40), torch.tensor([3, 1])
    baselines = pictures(2, 40, seed=4)
    ours = integrated_gradients(model, images, targets, baseline=baselines, steps=3)
    theirs = IntegratedGradients(lambda x: model(x.clone())).attribute(
        images, baselines, targets, n_steps=3, method="riemann_middle"
    )
    assert error(ours, theirs) < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_rule_of_gauss_agrees_with_captum_and_is_exact_for_polynomials(steps):
    model, images = network("mixed"), pictures(2, 40)
    baselines = pictures(2, 40, seed=4)
    ours = integrated_gradients(model, images, 1, baseline=baselines, steps=steps, rule="gauss")
    theirs = IntegratedGradients(lambda x: model(x.clone())).attribute(
        images, baselines, 1, n_steps=steps, method="gausslegendre"
    )
    assert error(ours, theirs) < 1e-6
    power = Function(lambda x: (x ** (2 * steps)).sum((1, 2, 3))[:, None])
    one = torch.ones(1, 1, 1, 1).double()
    found = integrated_gradients(power, one, baseline=0, steps=steps, rule="gauss")
    assert float(found) == pytest.approx(1, abs=1e-12)  # of degree 2 steps - 1 is its derivative


# ---- axioms --------------------------------------------------------------------------------------


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


def test_a_detached_factor_is_missing_from_the_sum_whatever_the_steps():
    # x · x with the second factor detached has the slope x, not 2x: half of the change is missing.
    gated = Function(lambda x: (x * x.detach()).sum((1, 2, 3))[:, None])
    images = pictures(2, 4)
    change = images.square().sum((1, 2, 3))
    for steps in (1, 32, 256):
        found = integrated_gradients(gated, images, baseline=0, steps=steps).sum((1, 2, 3))
        assert error(found, change / 2) < 1e-12
    with pytest.raises(ValueError, match=r"^model: got relevance that does not sum to f\(x\)"):
        deeplift(gated, images, baseline=0)


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


# ---- memory and interruptions --------------------------------------------------------------------


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
    assert sizes == [1, 1, 5, 100]  # a new model is first measured on two images
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


# ---- expected gradients --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_expected_gradients_are_the_mean_over_the_baselines(name):
    model, images, baselines = network(name), pictures(2, 40), pictures(3, 40, seed=4)
    predicted = model(images.clone()).argmax(1)
    parts = [
        integrated_gradients(model, images, predicted, baseline=base, steps=3) for base in baselines
    ]
    found = expected_gradients(model, images, baselines=baselines, steps=3)
    assert error(found, sum(parts) / 3) < 1e-12


def test_32_steps_are_the_default():
    images, baselines = pictures(2, 8), pictures(2, 8, seed=4)
    usual = integrated_gradients(tiny(), images, baseline=0)
    assert torch.equal(usual, integrated_gradients(tiny(), images, baseline=0, steps=32))
    usual = expected_gradients(tiny(), images, baselines=baselines)
    assert torch.equal(usual, expected_gradients(tiny(), images, baselines=baselines, steps=32))


# ---- refusals and the bar ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
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
def test_options_of_the_gradients_that_are_refused(options, words):
    with pytest.raises(ValueError, match=f"^{words}.*must be"):
        expected_gradients(tiny(), pictures(), **{"baselines": pictures(), **options})


def test_what_is_around_a_window_is_no_baseline_of_a_whole_image():
    with pytest.raises(ValueError, match=r"^baseline: got 'inpaint'"):
        integrated_gradients(tiny(), pictures(), baseline="inpaint")


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
        with pytest.raises(ValueError, match=r"^model: got an output without derivative"):
            integrated_gradients(model.eval(), pictures())
