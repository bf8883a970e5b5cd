"""Passes counted, and distances between maps, by hand."""

import pytest
import torch
from torch import nn

from xai_course.metrics import convergence, count_passes, relative_l2_error
from xai_course.relu import gradient, smooth_grad
from xai_course.residual import integrated_gradients, occlusion

MODEL = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("method", "options", "passes"),
    [
        (gradient, {}, (2, 2)),
        (smooth_grad, {"samples": 5}, (2 + 10, 10)),
        (integrated_gradients, {"steps": 7}, (2 + 14, 14)),
        (integrated_gradients, {"steps": 7, "batch_size": 3}, (2 + 14, 14)),
        (occlusion, {"window": 4, "stride": 4}, (2 + 8, 0)),
    ],
)
def test_passes_are_images_times_steps(method, options, passes):
    assert count_passes(MODEL, lambda: method(MODEL, IMAGES, **options)) == passes


def test_a_model_is_left_without_hooks_also_after_an_exception():
    def broken():
        MODEL(IMAGES)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        count_passes(MODEL, broken)
    assert not MODEL._forward_hooks


def test_a_pass_without_a_backward_pass_counts_forward_only():
    with torch.no_grad():
        assert count_passes(MODEL, lambda: MODEL(IMAGES)) == (2, 0)
    assert count_passes(MODEL, lambda: None) == (0, 0)


def test_relative_error_by_hand():
    true = torch.zeros(2, 2, 1, 2)
    true[0, :, 0] = torch.tensor([[1.0, 2.0], [2.0, 2.0]])  # sums 3, 4: length 5
    true[1, 0, 0] = torch.tensor([1.0, 0.0])
    maps = torch.zeros(2, 1, 1, 2)
    maps[0, 0, 0] = torch.tensor([3.0, 0.0])
    assert relative_l2_error(maps, true).tolist() == [4 / 5, 1]
    assert relative_l2_error(true, true).tolist() == [0, 0]
    assert relative_l2_error(2 * true, true).tolist() == pytest.approx([1, 1])
    with pytest.raises(ValueError, match=r"maps: got shape \(1, 1, 1, 2\)"):
        relative_l2_error(maps[:1], true)


def test_convergence_is_measured_against_the_last_count():
    wanted = torch.arange(4.0).view(1, 1, 2, 2)
    asked = []

    def compute_maps(count):
        asked.append(count)
        return wanted + torch.tensor([0.0, 1, -1, 0]).view_as(wanted) * 3 / count

    far, alike = convergence(compute_maps, [1, 3, 10**12])
    assert sorted(asked) == [1, 3, 10**12]
    assert far.flatten().tolist() == pytest.approx([(2**0.5) * 3 / 14**0.5, 2**0.5 / 14**0.5])
    assert alike.shape == (2, 1)
    assert alike[1] > alike[0]
    assert convergence(compute_maps, [1, 3])[0].shape == (1, 1)  # two are enough


@pytest.mark.parametrize("counts", [[], [4], [4, 4], [8, 4], [1, 8, 4], [8, 1, 4]])
def test_counts_must_increase(counts):
    with pytest.raises(ValueError, match="counts: got"):
        convergence(lambda _: IMAGES, counts)
