"""The caller's switches change no result, and are as before afterwards."""

import numpy as np
import pytest
import torch
from explainers import EXPLAINERS, small
from stock_networks import pictures

from xai_course.core import own_switches
from xai_course.relu import smooth_grad
from xai_course.residual import integrated_gradients, occlusion


def test_inside_there_is_neither_autocast_nor_inference_mode():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        with own_switches(grad=True):
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert torch.is_grad_enabled()
        with own_switches(grad=False):
            assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", EXPLAINERS)
def test_autocast_changes_no_explanation(name):
    model, images = small().float(), pictures(2, 16).float()
    expected = EXPLAINERS[name](model, images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(EXPLAINERS[name](model, images), expected)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_default_dtype_changes_no_explanation(name):
    model, images = small().float(), pictures(2, 16).float()
    expected = EXPLAINERS[name](model, images)
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.equal(EXPLAINERS[name](model, images), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_numbers_of_numpy_are_numbers():
    model, images = small(), pictures(2, 16)
    for kind in (np.int64, np.int16, np.uint8):
        four = kind(4)
        assert torch.equal(
            occlusion(model, images, window=four, stride=(four, four)),
            occlusion(model, images, window=4, stride=4),
        )
        assert torch.equal(
            smooth_grad(model, images, samples=four, seed=four, batch_size=four, noise=kind(1)),
            smooth_grad(model, images, samples=4, seed=4, batch_size=4, noise=1),
        )
        assert torch.equal(
            integrated_gradients(model, images, steps=four, baseline=np.float64(0.5)),
            integrated_gradients(model, images, steps=4, baseline=0.5),
        )
