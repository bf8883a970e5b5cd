"""SmallVGG: what is in it, counted by hand."""

import pytest
from torch import nn

from xai_course.models import SmallVGG, count_weights


def test_weights_counted_by_hand():
    convolutions = 9 * (3 * 8 + 8 * 8 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32)
    norms = 2 * 2 * (8 + 16 + 32)
    head = 16 * 32 * 128 + 128 + 128 * 10 + 10
    assert count_weights(SmallVGG()) == convolutions + norms + head


def test_a_plain_chain_with_a_flattened_head():
    kinds = [type(layer) for layer in SmallVGG().modules() if not list(layer.children())]
    assert kinds.count(nn.MaxPool2d) == 3
    assert kinds.count(nn.Conv2d) == 6
    assert not any(isinstance(layer, nn.Identity) for layer in SmallVGG().modules())
    assert SmallVGG().head.linear1.in_features == 4 * 4 * 32


@pytest.mark.parametrize("value", [0, 1.5, None])
def test_numbers_that_are_refused(value):
    for name in ("classes", "width"):
        with pytest.raises(ValueError, match=f"^{name}: got .*must be"):
            SmallVGG(**{name: value})
