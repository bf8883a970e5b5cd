"""Distances by hand and against scikit-learn."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from stock_networks import network, pictures, tiny
from torch import nn

from xai_course.robustness import knn_distance, mahalanobis_distance, max_softmax_uncertainty


def reader(features):
    """A network whose embedding is the picture itself: (N, 1, 1, F), two classes."""
    head = nn.Linear(features, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2, features))
    return nn.Sequential(nn.Flatten(), head).double().eval()


def points(rows):
    return torch.tensor(rows, dtype=torch.double)[:, None, None, :]


def test_mahalanobis_distance_by_hand():
    """Two classes around (0, 0) and (10, 0), spread 2 across and 1 up: an ellipse."""
    around = [[2, 0], [-2, 0], [0, 1], [0, -1]]
    examples = points([*around, *([x + 10, y] for x, y in around)])
    labels = torch.tensor([0] * 4 + [1] * 4)
    # The covariance is diagonal: 2·4/4 = 2 across, 2·1/4 = 1/2 up.
    asked = points([[0, 0], [10, 0], [2, 0], [0, 1], [5, 0], [10, 3]])
    expected = torch.tensor([0, 0, 2, 2, 25 / 2, 18]).sqrt().double()
    distance = mahalanobis_distance(reader(2), asked, examples, labels, ridge=0.0)
    assert torch.allclose(distance, expected)


def test_mahalanobis_distance_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    labels = np.arange(60) % 3
    known += 4 * labels[:, None]
    asked = rng.normal(size=(20, 5)) * 5
    means = np.stack([known[labels == c].mean(0) for c in range(3)])
    fitted = EmpiricalCovariance(assume_centered=True).fit(known - means[labels])
    expected = np.stack([fitted.mahalanobis(asked - mean) for mean in means]).min(0) ** 0.5
    distance = mahalanobis_distance(
        reader(5), points(asked.tolist()), points(known.tolist()), torch.tensor(labels), ridge=0.0
    )
    assert np.allclose(distance.numpy(), expected, rtol=1e-9)


def test_mahalanobis_distance_does_not_change_when_the_embedding_is_stretched():
    generator = torch.Generator().manual_seed(0)
    known, asked = (torch.randn(n, 3, generator=generator).double() for n in (40, 10))
    labels = torch.arange(40) % 2
    stretch = torch.tensor([[2.0, 1.0, 0], [0, 0.5, 0], [1.0, 0, 3.0]], dtype=torch.double)
    plain, stretched = (
        mahalanobis_distance(
            reader(3), (asked @ m)[:, None, None], (known @ m)[:, None, None], labels, ridge=0.0
        )
        for m in (torch.eye(3).double(), stretch)
    )
    assert torch.allclose(plain, stretched)


def test_a_silent_unit_needs_the_ridge():
    known = points([[1, 0], [2, 0], [3, 0], [4, 0]])
    labels = torch.tensor([0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"^ridge: got 0"):
        mahalanobis_distance(reader(2), known, known, labels, ridge=0.0)
    loud = mahalanobis_distance(reader(2), points([[1.5, 1]]), known, labels)
    quiet = mahalanobis_distance(reader(2), points([[1.5, 0]]), known, labels)
    assert loud > 10
    assert quiet == 0


def test_knn_distance_by_hand_and_without_a_warning():
    known = points([[0, 0], [3, 4], [100, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = knn_distance(reader(2), points([[0, 0], [0, 5000]]), known)
        second = knn_distance(reader(2), points([[0, 0]]), known, count=2)
    assert near[0] == 0
    assert near[1].item() == pytest.approx((3**2 + 4996**2) ** 0.5)
    assert second.tolist() == [5]


def test_max_softmax_uncertainty_by_hand():
    logits = points([[np.log(3), 0], [0, 0], [50, -50]])
    assert torch.allclose(
        max_softmax_uncertainty(reader(2), logits), torch.tensor([0.25, 0.5, 0]).double()
    )
    assert (
        max_softmax_uncertainty(reader(2), logits, batch_size=1).tolist()
        == max_softmax_uncertainty(reader(2), logits).tolist()
    )


def test_more_noise_is_further_away():
    model, known = network("mixed"), pictures(120, 32)
    labels = torch.arange(120) % 4
    scores = [
        mahalanobis_distance(model, known[:20] + s * pictures(20, 32, seed=1), known, labels).mean()
        for s in (0, 1, 10)
    ]
    assert scores[0] < scores[1] < scores[2]


def test_bad_input_is_named():
    model, images = tiny(), pictures(6, 12)
    labels = torch.arange(6) % 2
    with pytest.raises(ValueError, match=r"^labels: got \(5,\)"):
        mahalanobis_distance(model, images, images, labels[:5])
    with pytest.raises(ValueError, match=r"^labels: got torch.float"):
        mahalanobis_distance(model, images, images, labels.float())
    with pytest.raises(ValueError, match=r"^ridge: got -1"):
        mahalanobis_distance(model, images, images, labels, ridge=-1)
    with pytest.raises(ValueError, match=r"^images: got shape"):
        mahalanobis_distance(model, images[0], images, labels)
    with pytest.raises(ValueError, match=r"^count: got 9"):
        knn_distance(model, images, images, count=9)
    with pytest.raises(ValueError, match=r"^images: got NaN"):
        max_softmax_uncertainty(model, images / 0)
    for function in (max_softmax_uncertainty, lambda m, x: knn_distance(m, x, images)):
        with pytest.raises(ValueError, match=r"^model: got training mode"):
            function(tiny().train(), images)
