"""A network and pictures of one's own: brought in, or refused in a sentence."""

import sys

import numpy as np
import pytest
import torch
from own_network import CLASSES, network, transform
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from xai_course.data import modern_transform
from xai_course.models import BeetleNet
from xai_course.report import image_files, load_model, wrap_model
from xai_course.storage import save_checkpoint

GREY = Image.new("RGB", (50, 40), (100, 100, 100))


def answer(own, picture=GREY):
    with torch.no_grad():
        return own.model(own.transform(picture)[None])


# ---- where networks come from --------------------------------------------------------------------


def test_the_packaged_network_comes_with_everything():
    own = load_model("efficientnet_lite0")
    assert own.classes[504] == "coffee mug"
    assert own.about["input"] == [3, 224, 224]
    assert own.about["numbers"] == 4_652_008
    assert "resize_size=[256]" in own.about["transform"]
    assert own.about["remarks"] == []


@pytest.mark.parametrize("ending", [".safetensors", ".json", ""])
def test_a_checkpoint_of_this_course(tmp_path, ending):
    model = BeetleNet(classes=3, depth=1, width=4).eval()
    size = {"transform": modern_transform(32)}
    save_checkpoint(tmp_path / "mine", model, classes=["a", "b", "c"], **size)
    if not ending:  # without an ending it is no file that we know
        with pytest.raises(ValueError, match=r"^source: got .*mine'; must be efficientnet"):
            load_model(str(tmp_path / "mine"))
        return
    own = load_model(str(tmp_path / f"mine{ending}"))
    assert own.classes == ("a", "b", "c")
    assert own.about["input"] == [3, 32, 32]  # as in training, and not the 64 of the course
    assert own.about["remarks"] == []
    x = own.transform(GREY)[None]
    assert torch.equal(answer(own), model(x).detach())


def test_a_checkpoint_that_does_not_say_its_size_is_told_of(tmp_path):
    model = BeetleNet(classes=2, depth=1, width=4)
    save_checkpoint(tmp_path / "mine", model, classes=["a", "b"])
    with pytest.warns(UserWarning, match="the card does not keep the size"):
        own = load_model(str(tmp_path / "mine.safetensors"))
    assert own.about["input"] == [3, 64, 64]
    assert own.about["remarks"][0].startswith("The card keeps no size of the images and no transf")


def test_classes_of_one_name_are_told_apart():
    own = wrap_model(network(), transform, ["crane", "beetle", "crane"])
    assert own.classes == ("crane (class 0)", "beetle", "crane (class 2)")
    assert "Several classes have the same name (crane)" in own.about["remarks"][0]


@pytest.mark.parametrize("weights", ["random", "mine.safetensors", "mine.pth", "mine.ckpt"])
def test_torchvision_with_weights_of_ones_own(tmp_path, monkeypatch, weights):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = models.mobilenet_v3_small(num_classes=4).eval()
    save_file(model.state_dict(), "mine.safetensors")
    torch.save(model.state_dict(), "mine.pth")
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, "mine.ckpt")
    own = load_model(f"torchvision:mobilenet_v3_small:{weights}", labels=["a", "b", "c", "d"])
    assert own.about["input"] == [3, 224, 224]  # torchvision's own transform
    if weights == "random":
        assert own.about["remarks"] == ["The weights are random: nothing that is shown was learnt."]
    else:
        assert own.about["remarks"] == []
        assert torch.equal(answer(own), model(own.transform(GREY)[None]).detach())
        unnamed = load_model(f"torchvision:mobilenet_v3_small:{weights}")
        assert unnamed.classes == ("class 0", "class 1", "class 2", "class 3")


def test_timm_with_its_own_transform():
    timm = pytest.importorskip("timm")
    own = load_model("timm:resnet10t:random", labels=["a", "b"])
    settings = timm.get_pretrained_cfg("resnet10t")
    assert own.about["input"] == list(settings.input_size)
    assert len(own.classes) == 2


def test_a_function_in_a_file_or_a_module(tmp_path, monkeypatch):
    here = sys.modules["own_network"].__file__
    own = load_model(f"{here}:with_all")
    assert own.classes == CLASSES
    assert torch.equal(answer(own), network()(transform(GREY)[None]).detach())
    assert torch.equal(answer(load_model("own_network:with_all")), answer(own))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here_and_now.py").write_text("from own_network import network as build\n")
    assert load_model("here_and_now:build").about["class"] == "Sequential"
    assert str(tmp_path) not in sys.path


def test_a_transform_that_is_guessed_is_among_the_remarks():
    own = wrap_model(network())
    assert "No transform came with the network" in own.about["remarks"][0]
    assert own.about["input"] == [3, 224, 224]
    white = own.transform(Image.new("RGB", (300, 300), "white"))
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(white[:, 0, 0], expected, atol=1e-6)


def test_the_weights_hash_tells_networks_apart():
    one, other = wrap_model(network(), transform), wrap_model(network(), transform)
    assert one.about["weights"] == other.about["weights"]
    with torch.no_grad():
        other.model[0].weight[0, 0, 0, 0] += 1e-3
    assert wrap_model(other.model, transform).about["weights"] != one.about["weights"]


def test_transforms_of_one_name_are_told_apart():
    def twice(picture):
        return 2 * transform(picture)

    twice.__qualname__ = "transform"
    one, other = (wrap_model(network(), f, CLASSES).about for f in (transform, twice))
    assert one["transform"] == other["transform"] == "transform"
    assert one != other
    assert one == wrap_model(network(), transform, CLASSES).about


def test_a_model_in_training_mode_is_put_in_evaluation_mode():
    own = wrap_model(network().train(), transform, CLASSES)
    assert not any(module.training for module in own.model.modules())
    assert not any(weight.requires_grad for weight in own.model.parameters())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", r"^source: got ''; must be efficientnet_lite0"),
        (3, "^source: got 3;"),
        ("resnet18", "^source: got 'resnet18'; must be .*torchvision:NAME"),
        ("torchvision:", "^source: 'torchvision:' cannot be imported"),
        ("torchvision:resnet-18", r"^name: got 'resnet-18'; .*resnet18"),
        ("torchvision:resnet-18:random", "^source: torchvision has no network 'resnet-18'"),
        (
            "torchvision:resnet18:none.pth",
            r"^source: none\.pth cannot be read as a file of weights",
        ),
        ("weights.pth", "^source: got 'weights.pth', weights without their network"),
        ("nowhere.safetensors", "nowhere.json: missing"),
        ("no_such_module:f", "^source: 'no_such_module:f' cannot be imported .*No module named"),
        ("no_such_file.py:f", "^source: 'no_such_file.py:f' cannot be imported"),
        ("own_network:absent", "^source: .*has no attribute 'absent'"),
        ("own_network:fails", "stopped with RuntimeError: no weights here$"),
        ("own_network:nothing", "^model: got str; must be a torch.nn.Module"),
    ],
)
def test_what_is_no_network_is_refused(source, words):
    with pytest.raises(ValueError, match=words):
        load_model(source)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(models.resnet18(num_classes=4).state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match="has the weights of another network than MobileNetV3"):
        load_model(f"torchvision:mobilenet_v3_small:{tmp_path / 'resnet.pth'}")


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("it runs",)

    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot be read as a file of weights"):
        load_model(f"torchvision:resnet18:{tmp_path / 'evil.pth'}")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="needs the package timm, which is not installed"):
        load_model("timm:resnet18")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Conv2d(1, 2, 3), "fails on a test picture .*RuntimeError"),
        (nn.Conv2d(3, 2, 3), r"got the output \(1, 2, 30, 30\); must return one tensor"),
        (network(), "^labels: got 2 names; must be one name for each of the network's 3 logits"),
    ],
)
def test_a_network_that_cannot_answer_is_refused(model, words):
    with pytest.raises(ValueError, match=words):
        wrap_model(model, transform, ["a", "b"])


# ---- pictures ------------------------------------------------------------------------------------


def test_image_files_are_listed_and_others_named(tmp_path):
    (tmp_path / "b" / ".cache").mkdir(parents=True)
    for name in ("z.png", "a.JPG", "b/c.tif", "b/.cache/d.png", ".e.png"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name, format="PNG")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "Thumbs.db").write_text("x")
    files, others = image_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in files] == [
        "a.JPG",
        "b/c.tif",
        "z.png",
    ]
    assert others == ["notes.txt is passed over: its name does not end like an image's."]


@pytest.mark.parametrize("content", [(), ("notes.txt",)])
def test_a_folder_without_images_is_refused(tmp_path, content):
    for name in content:
        (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match=r"^images: got .*which holds no image"):
        image_files(tmp_path)
    with pytest.raises(ValueError, match=r"^images: got .*must be a folder of images"):
        image_files(tmp_path / "nowhere")


def test_a_grey_network_without_a_transform_gets_a_grey_one():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    own = wrap_model(model)
    assert own.about["input"] == [1, 224, 224]
    assert "grey, from 0 to 1" in own.about["remarks"][0]


@pytest.mark.parametrize(
    ("last", "remark"), [(nn.Softmax(1), "returns probabilities"), (nn.Sigmoid(), "returns prob")]
)
def test_a_network_that_returns_probabilities_is_said_to(last, remark):
    model = nn.Sequential(network(), last)
    own = wrap_model(model, transform, CLASSES)
    assert remark in own.about["remarks"][0]
    outputs = own.model(transform(GREY)[None])
    assert torch.equal(own.probabilities(outputs), outputs)  # and no softmax of a softmax


def test_the_names_of_the_answers_of_one_logit():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1))
    assert wrap_model(model, transform).classes == ("no", "yes")
    assert wrap_model(model, transform, ["beetle"]).classes == ("not beetle", "beetle")
    assert wrap_model(model, transform, ["fly", "beetle"]).classes == ("fly", "beetle")
    with pytest.raises(ValueError, match=r"^labels: got 3 names; must be the name of yes, or the"):
        wrap_model(model, transform, ["a", "b", "c"])
