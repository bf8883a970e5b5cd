"""What the course's classifiers have in common."""

import pytest
import torch

from xai_course.models import ArticleNet, BeetleNet, ResNet18, SmallVGG, count_weights
from xai_course.storage import ARCHITECTURES


@pytest.fixture(params=[ArticleNet, BeetleNet, ResNet18, SmallVGG])
def network(request):
    torch.manual_seed(0)
    return request.param(classes=7).eval()


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (32, 32), (33, 47), (64, 64), (100, 224)])
def test_any_size_becomes_one_logit_a_class(network, size):
    logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


def test_images_of_a_batch_do_not_mix(network):
    """The article's view(-1, 128*4*4) makes several rows out of one large image."""
    network.double()
    images = torch.randn(5, 3, 40, 40, dtype=torch.float64)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.randn(3, 8, 8), r"\(3, 8, 8\)"),
        (torch.randn(2, 1, 8, 8), r"\(2, 1, 8, 8\)"),
        (torch.randn(2, 3, 0, 8), r"\(2, 3, 0, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "uint8"),
        ([[1.0]], "list"),
    ],
)
def test_wrong_images_are_refused(network, images, message):
    with pytest.raises(ValueError, match="^images: got .*" + message):
        network(images)


def test_networks_can_be_built_again_from_their_arguments(network):
    again = ARCHITECTURES[type(network).__name__](**network.arguments)
    again.load_state_dict(network.state_dict())
    assert count_weights(again) == count_weights(network)
