"""The article's classifier: its weights, its linear core, its size."""

import pytest
import torch
from torch import nn

from xai_course.models import ArticleNet, count_weights


@pytest.mark.parametrize("value", [0, -1, 2.0, "10", True, None])
def test_wrong_arguments_are_refused(value):
    with pytest.raises(ValueError, match=r"^classes: got .*; must be a whole number, at least 1"):
        ArticleNet(value)


def test_article_weights_counted_by_hand():
    convolutions = 3 * 9 * 32 + 32 + 32 * 9 * 64 + 64 + 64 * 9 * 128 + 128
    assert count_weights(ArticleNet()) == convolutions + 2048 * 512 + 512 + 512 * 10 + 10


def test_article_net_is_linear_but_for_the_max_pool():
    torch.manual_seed(0)
    model = ArticleNet().double().eval()
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())
    x, y = torch.randn(2, 1, 3, 16, 16, dtype=torch.float64)

    def nonlinearity(model):
        """Return |f(x + y) - f(x) - f(y) + f(0)|, which is 0 for an affine model."""
        return (model(x + y) - model(x) - model(y) + model(torch.zeros_like(x))).abs().max()

    assert nonlinearity(model) > 1e-3
    model.conv4 = nn.AvgPool2d(2, 2)
    assert nonlinearity(model) < 1e-12


def test_article_net_at_eight_pixels_needs_no_second_pool():
    """8x8 is the size at which the article's own 128*4*4 fits: the adaptive pool does nothing."""
    torch.manual_seed(0)
    model = ArticleNet()
    images = torch.randn(2, 3, 8, 8)
    x = model.conv4(model.conv3(model.conv2(model.conv1(images))))
    assert x.shape == (2, 128, 4, 4)
    expected = model.fc2(model.fc1(x.reshape(2, 128 * 4 * 4)))
    torch.testing.assert_close(model(images), expected, atol=1e-5, rtol=0)
