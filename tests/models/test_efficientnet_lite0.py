"""EfficientNet-Lite0: against timm's, and as a sum of branches and skip connections."""

import pytest
import torch

from xai_course.models import EfficientNetLite0, photo_network


@pytest.fixture(scope="module")
def packaged():
    return photo_network()[0]


@pytest.mark.parametrize("size", [(224, 224), (97, 64)])
def test_our_module_equals_timms(packaged, size):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        other = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    weights = packaged.state_dict().values()
    names = other.state_dict().keys()
    other.load_state_dict(dict(zip(names, weights, strict=True)), assign=True)
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        ours, theirs = packaged(images), other(images)
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_blocks_show_their_branch_and_their_skip():
    network = EfficientNetLite0(5).eval()
    images = torch.rand(1, 3, 65, 65)
    x = network.stem(images)
    assert x.shape == (1, 32, 33, 33)
    skips = 0
    for block in network.blocks:
        y = block(x)
        expected = block.branch(x) + (0 if block.skip is None else x)
        assert torch.equal(y, expected)
        skips += block.skip is not None
        x = y
    assert len(network.blocks) == 16
    assert skips == 9
    assert torch.equal(network(images), network.head(network.features(x).mean((2, 3))))
