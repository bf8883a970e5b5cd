"""Random numbers of one's own: the caller's random state is restored, also after an error."""

import random

import numpy as np
import pytest
import torch

from xai_course.core import isolated_rng, seeded_rng

CPU = torch.device("cpu")


def draw():
    """One number from each of the three generators."""
    return torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002


def seed_all():
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002


def test_the_callers_random_numbers_go_on_as_if_nothing_had_been_drawn():
    seed_all()
    expected = draw()
    seed_all()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    with isolated_rng(CPU):
        draw()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == cudnn
    assert draw() == expected
    seed_all()
    with pytest.raises(KeyError), isolated_rng(CPU):
        raise KeyError(draw())
    assert draw() == expected


def test_numbers_from_a_seed():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    for device in (None, CPU):
        with seeded_rng(5, device):
            first = torch.rand(4)
        assert torch.equal(first, torch.rand(4, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(torch.rand(1), expected)
    with pytest.raises(KeyError), seeded_rng(5):
        raise KeyError
