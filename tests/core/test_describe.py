"""Descriptions of functions: by hand."""

from functools import partial

import torch
from torch import nn

from xai_course.core import describe_callable


def shift(images, by=0.0):
    """A function to describe."""
    return images + by


class Doubler:
    """An object that can be called."""

    def __call__(self, x):
        return 2 * x


def test_functions_objects_and_options():
    assert describe_callable(shift) == "shift"
    assert describe_callable(Doubler.__call__) == "Doubler.__call__"
    assert describe_callable(Doubler()) == "Doubler"
    assert describe_callable(nn.Identity()) == "Identity"
    assert describe_callable(partial(shift, by=0.5)) == "shift(by=0.5)"
    assert describe_callable(partial(shift, 1, by="half")) == "shift(1, by='half')"
    assert describe_callable(partial(map, shift)) == "map(shift)"
    assert describe_callable(partial(partial(shift, by=1), 2)) == "shift(2, by=1)"
    assert describe_callable("shift") == "'shift'"


def test_options_can_be_left_out_also_inside():
    inner = partial(shift, batch_size=4, by=1)
    outer = partial(map, batch_size=5, function=inner)
    assert describe_callable(outer, leave_out=["batch_size"]) == "map(function=shift(by=1))"


def test_tensors_are_described_by_their_shape_or_as_asked():
    method = partial(shift, by=torch.zeros(2, 3))
    assert describe_callable(method) == "shift(by=tensor (2, 3))"
    assert describe_callable(torch.zeros(4)) == "tensor (4,)"
    total = describe_callable(method, describe_tensor=lambda tensor: f"sum {tensor.sum():g}")
    assert total == "shift(by=sum 0)"
