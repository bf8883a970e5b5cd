"""Representer points: by hand, the identity, and against scikit-learn and autograd."""

import pytest
import torch
import torch.nn.functional as F
from explainers import state
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from stock_networks import CLASSES, error, network, pictures, tiny
from torch import nn
from toy_models import Pixels, as_images

from xai_course.fully_connected import (
    embed,
    fit_representer,
    refit_last_layer,
    representer_points,
)


def draw_labels(count: int, classes: int = CLASSES, seed: int = 0) -> torch.Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))


def one_hot(labels: torch.Tensor, classes: int = CLASSES) -> torch.Tensor:
    return F.one_hot(labels, classes).double()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def matrix(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.double)


# ---- by hand -------------------------------------------------------------------------------------


def test_two_images_by_hand():
    # Features (1, 1) and (-1, 1) of two classes: W = (w, 0; -w, 0), of which both images have
    # p = 1 / (1 + exp(-2 w)), and the gradient -(1 - p) + 2 λ w is 0.
    model, images = Pixels(torch.ones(2, 1).double()), as_images([[1.0], [-1.0]])
    fit = fit_representer(model, images, [0, 1], ridge=0.05)
    w = fit.weight[0, 0]
    assert error(fit.weight, w * matrix([[1, 0], [-1, 0]])) < 1e-12
    wrong = 1 - torch.sigmoid(2 * w)
    assert float(wrong) == pytest.approx(float(2 * 0.05 * w), rel=1e-12)
    assert error(fit.alphas, wrong / 0.2 * matrix([[1, -1], [-1, 1]])) < 1e-12
    # The image 3 has ⟨f_1, f⟩ = 4 and ⟨f_2, f⟩ = -2.
    points = representer_points(fit, model, as_images([[3.0]]), 0)
    assert error(points.contributions, wrong / 0.2 * matrix([[4, 2]])) < 1e-12
    assert error(points.logits, 3 * w * matrix([[1, -1]])) < 1e-12


def test_answers_that_differ_are_told():
    model = Pixels(torch.tensor([[1.0], [-1.0]]).double())  # class 0 where the pixel is positive
    images = as_images([[1.0], [2.0], [-1.0], [-2.0]])
    assert fit_representer(model, images, [0, 0, 1, 1]).agreement == 1
    fit = fit_representer(model, images, [1, 1, 0, 0])
    assert fit.agreement == 0
    points = representer_points(fit, model, images[:1])
    assert points.classes.tolist() == [0]  # what the network says
    assert points.same_answer.tolist() == [False]


# ---- the identity --------------------------------------------------------------------------------


@given(
    count=st.integers(2, 30),
    classes=st.integers(2, 6),
    ridge=st.sampled_from([1e-4, 0.003, 0.1, 10]),
    own=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_the_contributions_add_up_to_the_refitted_logit(count, classes, ridge, own, seed):
    model, images = tiny(classes=classes), pictures(count, 8, seed=seed)
    labels = None if own else draw_labels(count, classes, seed)
    fit = fit_representer(model, images, labels, ridge=ridge)
    asked = pictures(3, 8, seed=seed + 1)
    rows = F.pad(embed(model, asked), (0, 1), value=1.0)
    for target in (None, classes - 1, [0, 1, 0]):
        points = representer_points(fit, model, asked, target)
        chosen = points.logits.gather(1, points.classes[:, None])[:, 0]
        assert error(points.contributions.sum(1), chosen) < 1e-8
        assert error(points.logits, rows @ fit.weight.T) < 1e-12
    assert error(fit.alphas.T @ fit.features, fit.weight) < 1e-8
    # Each image pulls as much towards its classes as away from the others.
    assert fit.alphas.sum(1).abs().max() <= 1e-14 / (2 * ridge * count)


@pytest.mark.parametrize("name", ["small_resnet", "small_vgg", "mixed"])
def test_stock_networks(name):
    model, images = network(name), pictures(24, 32)
    fit = fit_representer(model, images, ridge=1e-4)
    points = representer_points(fit, model, images[:5], 2)
    assert error(points.contributions.sum(1), points.logits[:, 2]) < 1e-8
    with torch.no_grad():
        answers = model(images.clone()).argmax(1)
    same = (fit.features @ fit.weight.T).argmax(1) == answers
    assert fit.agreement == pytest.approx(float(same.double().mean()))
    assert points.same_answer.tolist() == same[:5].tolist()


def test_alpha_is_the_derivative_of_the_loss():
    model, images, labels = tiny(), pictures(12, 8), draw_labels(12)
    fit = fit_representer(model, images, labels, ridge=0.02)
    logits = (fit.features @ fit.weight.T).requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), logits)
    assert error(fit.alphas, -grad / (2 * 0.02 * 12)) < 1e-12
    # That of the own label ranks images as their loss does.
    own = fit.alphas.gather(1, labels[:, None])[:, 0]
    loss = F.cross_entropy(logits, labels, reduction="none")
    assert own.argsort().tolist() == loss.argsort().tolist()


# ---- the fit -------------------------------------------------------------------------------------


@given(
    count=st.integers(1, 40),
    features=st.integers(1, 12),
    classes=st.integers(2, 5),
    ridge=st.sampled_from([1e-6, 1e-3, 1.0]),
    scale=st.sampled_from([0.01, 1.0, 100.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_the_gradient_vanishes_whatever_the_features(count, features, classes, ridge, scale, seed):
    rows = noise(count, features, seed=seed) * scale
    labels = draw_labels(count, classes, seed)
    weight, norm = refit_last_layer(rows, one_hot(labels, classes), ridge=ridge)
    free = weight.clone().requires_grad_()
    loss = F.cross_entropy(rows @ free.T, labels) + ridge * free.square().sum()
    (grad,) = torch.autograd.grad(loss, free)
    assert grad.norm() < 1e-10 * max(scale, 1)
    assert norm < 1e-10 * max(scale, 1)
    # No weights nearby have a smaller loss.
    for other in range(3):
        moved = weight + 1e-3 * noise(*weight.shape, seed=other)
        worse = F.cross_entropy(rows @ moved.T, labels) + ridge * moved.square().sum()
        assert worse > loss.detach()


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_the_fit_agrees_with_scikit_learn(ridge):
    rows, labels = noise(60, 8), draw_labels(60, 4)
    weight, _ = refit_last_layer(rows, one_hot(labels, 4), ridge=ridge)
    # It minimises the sum of the losses and ‖W‖² / (2 C).
    reference = LogisticRegression(
        C=1 / (2 * ridge * 60), fit_intercept=False, tol=1e-12, max_iter=10_000, solver="newton-cg"
    ).fit(rows.numpy(), labels.numpy())
    assert error(weight, torch.from_numpy(reference.coef_)) < 1e-6


def test_the_optimum_does_not_depend_on_the_start():
    rows, labels = noise(30, 6), one_hot(draw_labels(30))
    weight, _ = refit_last_layer(rows, labels)
    again, _ = refit_last_layer(rows, labels, start=noise(CLASSES, 6, seed=3) * 5)
    assert error(again, weight) < 1e-10


def test_the_networks_own_probabilities_bring_the_layer_nearer_to_it():
    model, images = network("mixed"), pictures(40, 16)
    with torch.no_grad():
        p = model(images.clone()).softmax(1)
    gaps = []
    for labels in (None, draw_labels(40)):
        fit = fit_representer(model, images, labels, ridge=1e-6)
        gaps.append(float(((fit.features @ fit.weight.T).softmax(1) - p).abs().max()))
    assert gaps[0] < 0.01
    assert gaps[1] > 0.1


def test_a_larger_ridge_pulls_the_logits_to_zero():
    model, images, labels = tiny(), pictures(20, 8), draw_labels(20)
    sizes = [
        float(fit_representer(model, images, labels, ridge=ridge).weight.norm())
        for ridge in (1e-4, 1e-2, 1, 100)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.1 < sizes[0]


# ---- state and refusals --------------------------------------------------------------------------


def test_the_model_and_the_images_stay_as_they_were():
    model, images = network("mixed"), pictures(4, 16)
    before, kept, generator = state(model), images.clone(), torch.get_rng_state()
    fit = fit_representer(model, images, [0, 1, 2, 3])
    points = representer_points(fit, model, images)
    assert state(model) == before
    assert torch.equal(images, kept)
    assert torch.equal(torch.get_rng_state(), generator)
    assert not points.contributions.requires_grad
    assert not fit.weight.requires_grad


def test_an_image_does_not_depend_on_the_others_and_float32_is_enough():
    model = tiny(dtype=torch.float32)
    images = pictures(6, 8).float()
    fit = fit_representer(model, images, draw_labels(6), batch_size=4)
    together = representer_points(fit, model, images, 1, batch_size=4)
    assert together.contributions.dtype == torch.double
    assert error(together.contributions.sum(1), together.logits[:, 1]) < 1e-10
    alone = [representer_points(fit, model, image, 1) for image in images.split(1)]
    together_again = torch.cat([points.contributions for points in alone])
    assert error(together.contributions, together_again) < 1e-5


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ([0, 1], {}, r"labels: got torch.int64 \(2,\); must be None or 4 class indices"),
        ([0.0, 1, 2, 3], {}, r"labels: got torch.float32 \(4,\)"),
        ([True, False, True, True], {}, "labels: got torch.bool"),
        ([0, 1, 2, 7], {}, "labels: got 7; must be .* from 0 to 6"),
        ([0, 1, 2, -1], {}, "labels: got -1"),
        ("beetles", {}, "labels: got 'beetles'"),
        (None, {"ridge": 0}, "ridge: got 0; must be"),
        (None, {"ridge": float("nan")}, "ridge: got nan; must be"),
        (None, {"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_fits_that_are_refused_by_name(labels, options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        fit_representer(tiny(), pictures(4, 8), labels, **options)


def test_models_and_fits_that_are_refused():
    with pytest.raises(ValueError, match=r"^model: got one logit"):
        fit_representer(tiny(classes=1), pictures(4, 8), [0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"^model: got probabilities"):
        fit_representer(nn.Sequential(tiny(), nn.Softmax(1)).eval(), pictures(4, 8))
    fit = fit_representer(tiny(), pictures(4, 8))
    with pytest.raises(
        ValueError, match=r"^fit: got one of 5 features and 7 classes; must be .* 16"
    ):
        representer_points(fit, network("mixed"), pictures(2, 16))
    with pytest.raises(ValueError, match=r"^labels: got \(3, 2\)"):
        refit_last_layer(noise(4, 5), noise(3, 2))
    with pytest.raises(ValueError, match=r"^start: got \(2, 2\); must be None or \(3, 5\)"):
        refit_last_layer(noise(4, 5), one_hot(draw_labels(4, 3), 3), start=noise(2, 2))
    with pytest.raises(ValueError, match=r"^steps: got 0"):
        refit_last_layer(noise(4, 5), one_hot(draw_labels(4, 3), 3), steps=0)
