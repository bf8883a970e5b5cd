"""What the explorer offers: networks, layers, and methods for each network."""

import pytest
import torch
from PIL import Image

from xai_course.beetlebox import Scene, stack_images
from xai_course.data import PHOTOGRAPHS, denormalise, normalise
from xai_course.explorer.catalogue import (
    NETWORKS,
    PHOTO_NETWORK,
    build_explainer,
    count_forward_passes,
    layers_with_maps,
    open_network,
)
from xai_course.explorer.state import Selection, run_all

DRAWN = Scene("Ellipsa_longicornis", 24)


def seen(scene):
    """What the network sees of a scene."""
    return normalise(stack_images([scene]))


def test_every_network_opens():
    for name in NETWORKS:
        net = open_network(name)
        assert not net.model.training
        assert len(set(net.classes)) == len(net.classes)  # a class is chosen by its name
        shown = torch.rand(1, 3, net.size, net.size)
        if net.transform is None:
            torch.testing.assert_close(denormalise(net.to_input(shown)), shown)
        assert net.model(net.to_input(shown)).shape == (1, len(net.classes))


def test_layers_are_those_that_give_maps():
    assert layers_with_maps("BeetleNet") == ("stem", "blocks.0", "blocks.1", "blocks.2")
    assert layers_with_maps("article's network") == ("conv1", "conv2", "conv3", "conv4", "pool")
    for layer in layers_with_maps("BeetleNet"):
        assert run_all(Selection(method="Grad-CAM", layer=layer)).maps is not None


def test_black_is_black_for_the_network_of_photographs():
    net = open_network(PHOTO_NETWORK)
    black = build_explainer(PHOTO_NETWORK, "DeepLIFT", {"baseline": "black"}).keywords["baseline"]
    assert net.transform(Image.new("RGB", (300, 300))).unique() == black.unique()


def test_expected_gradients_compare_a_photograph_with_all_others():
    explained = build_explainer(PHOTO_NETWORK, "expected gradients", {"steps": 1}, "moon")
    assert explained.keywords["baselines"].shape == (len(PHOTOGRAPHS) - 1, 3, 224, 224)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("occlusion", {"window": 8, "stride": 4, "baseline": "mean"}),
        ("SmoothGrad", {"samples": 40, "noise": 0.1}),
        ("Integrated Gradients", {"steps": 33, "baseline": "mean"}),
        ("expected gradients", {"steps": 2}),
        ("Score-CAM", {"layer": None}),
        ("Score-CAM", {"layer": "stem"}),
        ("RISE", {"baseline": "mean"}),
        ("LIME", {"baseline": "black"}),
        ("Shapley values", {"baseline": "blur"}),
    ],
)
def test_the_number_of_passes_is_known_beforehand(method, options):
    net = open_network("BeetleNet")
    explained = build_explainer("BeetleNet", method, options)
    count = []
    with net.model.register_forward_hook(lambda *_: count.append(1)):
        explained(net.model, seen(DRAWN), torch.tensor([1]))
    assert count_forward_passes("BeetleNet", method, options) == len(count) > 1
