"""Checkpoints: written whole, read back to the bit, refused by name when anything is wrong."""

import hashlib
import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
import torch.distributed
import torch.fx
from interruptions import stop_at_rename
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torchvision import transforms

from xai_course.data import article_transform, modern_transform
from xai_course.models import ArticleNet, BeetleNet
from xai_course.storage import card_transform, load_checkpoint, save_checkpoint

CLASSES = ["a", "b", "c"]


def small(seed=0, classes=3, width=4):
    torch.manual_seed(seed)
    model = BeetleNet(classes=classes, depth=3, width=width)
    model(torch.randn(4, 3, 16, 16))  # moves the running statistics of BatchNorm
    return model


@pytest.fixture
def saved(tmp_path):
    model = small()
    path = tmp_path / "net"
    facts = {"data": "noise", "seed": 0, "accuracy": 0.25}
    card = save_checkpoint(path, model, classes=CLASSES, image_size=16, **facts)
    return path, model, card


def edit_card(path, **changes):
    file = path.with_suffix(".json")
    card = json.loads(file.read_text())
    card.update(changes)
    file.write_text(json.dumps({k: v for k, v in card.items() if v is not None}))


def test_round_trip_to_the_bit(saved):
    path, model, card = saved
    loaded, read = load_checkpoint(path, classes=CLASSES)
    assert read == card
    assert not loaded.training
    assert list(loaded.state_dict()) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded(images), model.eval()(images))
    assert all(weight.requires_grad for weight in loaded.parameters())


@pytest.mark.parametrize("ending", ["", ".json", ".safetensors"])
def test_the_path_may_have_an_ending_or_none(saved, ending):
    path, _, card = saved
    assert load_checkpoint(f"{path}{ending}")[1] == card


def test_a_dot_in_the_name_is_part_of_the_name(tmp_path):
    for name, seed in (("step.10", 0), ("step.20", 1)):
        save_checkpoint(tmp_path / name, small(seed), classes=CLASSES, image_size=16)
    first, second = (load_checkpoint(tmp_path / n)[0].head.weight for n in ("step.10", "step.20"))
    assert not torch.equal(first, second)


def test_the_card_says_what_it_must(saved):
    path, _, _ = saved
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["architecture"] == "BeetleNet"
    assert card["arguments"] == {"classes": 3, "depth": 3, "width": 4, "skips": True}
    assert (card["classes"], card["data"], card["seed"]) == (CLASSES, "noise", 0)
    assert card["versions"]["torch"] == torch.__version__
    assert len(card["sha256"]) == 64


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    path, model, _ = saved
    facts = {"data": "noise", "seed": 0, "accuracy": 0.25}
    save_checkpoint(tmp_path / "again", model, classes=CLASSES, image_size=16, **facts)
    for ending in (".json", ".safetensors"):
        first, again = path.with_suffix(ending), (tmp_path / "again").with_suffix(ending)
        assert first.read_bytes() == again.read_bytes()


def test_loading_draws_no_random_numbers(saved):
    before = torch.get_rng_state()
    load_checkpoint(saved[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -1])
def test_truncated_weights_are_refused(saved, keep):
    weights = saved[0].with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"net\.safetensors: damaged"):
        load_checkpoint(saved[0])


@pytest.mark.parametrize("index", [0, 1000, -5, -1])
def test_one_changed_bit_is_refused(saved, index):
    weights = saved[0].with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[index] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ValueError, match=r"net\.safetensors: damaged.*SHA-256"):
        load_checkpoint(saved[0])


def test_a_hash_beside_the_file_is_no_signature(saved):
    """Who can write the weights can write the card: the lesson says so, and it is so."""
    weights = saved[0].with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    edit_card(saved[0], sha256=hashlib.sha256(data).hexdigest())
    load_checkpoint(saved[0])


def test_missing_files_are_named(saved):
    path, _, _ = saved
    path.with_suffix(".safetensors").unlink()
    with pytest.raises(ValueError, match=r"net\.safetensors: missing"):
        load_checkpoint(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"net\.json: missing"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"architecture": 3}', "\x00\xff", "[" * 100_000]
)
def test_a_card_that_is_none_is_refused(saved, text):
    saved[0].with_suffix(".json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"net\.json"):
        load_checkpoint(saved[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architecture": "ResNet9"},
            "got the architecture .ResNet9.; must be one of ArticleNet, BeetleNet.*model=",
        ),
        ({"architecture": "ArticleNet"}, "ArticleNet cannot be built"),
        ({"arguments": {"classes": 3, "depth": 3, "width": 8}}, "another architecture"),
        ({"arguments": {"classes": 3, "depth": 4, "width": 4}}, "another architecture"),
        ({"arguments": {"classes": 3, "depth": 3, "width": 0}}, "width: got 0; must be"),
        ({"arguments": {"classes": 3, "depth": 3, "width": 10**7}}, "another architecture"),
        ({"arguments": {"classes": 4, "depth": 3, "width": 4}}, "number of classes"),
        ({"arguments": {"colour": "red"}}, "cannot be built"),
        ({"sha256": None}, "sha256 is missing"),
        ({"format": None}, "got the format None; must be 'xai_course checkpoint 1'"),
        ({"format": "xai_course checkpoint 2"}, "got the format 'xai_course checkpoint 2'; must"),
        ({"classes": ["a", "b", "b"]}, "its classes must be different names"),
        ({"classes": ["a", "b", 3]}, "its classes must be different names"),
        ({"classes": ["a", "b", "\udcc4"]}, "its classes must be different names"),
        ({"arguments": {"classes": 3, "depth": 10**9, "width": 4}}, "3 blocks of 48 tensors"),
        ({"arguments": {"classes": 3, "depth": 10**400, "width": 4}}, "3 blocks of 48 tensors"),
        ({"arguments": {"classes": 3, "depth": "3", "width": 4}}, "card says depth '3'"),
        ({"arguments": {"classes": 3, "depth": [[]], "width": 4}}, "card says depth"),
        ({"arguments": {"classes": 3, "depth": 3, "width": 10**30}}, "cannot be built|another"),
        ({"arguments": {"classes": 3, "depth": 3, "width": True}}, "width: got True; must be"),
        ({"image_size": 64}, r"got image_size 64; must be \[height, width\]"),
        ({"image_size": [64, -1]}, "image_size: got -1; must be"),
        ({"image_size": [64, 1e9]}, "image_size: got 1000000000.0; must be"),
        ({"transform": [{"step": "os.system"}]}, "transform: got the step"),
        ({"transform": {}}, "transform: got {}"),
    ],
)
def test_a_changed_card_is_refused(saved, changes, message):
    edit_card(saved[0], **changes)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(saved[0])


def test_another_class_list_is_refused(saved):
    for other in (["a", "c", "b"], ["a", "b"], ["a", "b", "d"]):
        with pytest.raises(ValueError, match=r"net\.json: got the classes.*must be.*asked for"):
            load_checkpoint(saved[0], classes=other)


def test_another_architecture_is_refused_and_left_as_it_was(saved):
    with pytest.raises(ValueError, match=r"model: got ArticleNet; must be BeetleNet, .*net\.json"):
        load_checkpoint(saved[0], model=ArticleNet(3))
    wider = small(seed=5, width=8)
    before = {name: tensor.clone() for name, tensor in wider.state_dict().items()}
    with pytest.raises(ValueError, match=r"another architecture than this BeetleNet: blocks\.0"):
        load_checkpoint(saved[0], model=wider)
    assert all(torch.equal(tensor, before[name]) for name, tensor in wider.state_dict().items())


def test_a_model_outside_the_registry_is_filled(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    card = save_checkpoint(tmp_path / "own", model, classes=CLASSES, image_size=2)
    assert (card["architecture"], card["arguments"]) == ("Sequential", {})
    with pytest.raises(ValueError, match="pass it as model="):
        load_checkpoint(tmp_path / "own")
    fresh = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    loaded, _ = load_checkpoint(tmp_path / "own", model=fresh)
    assert loaded is fresh
    assert torch.equal(fresh[1].weight, model[1].weight)


def test_tied_weights_can_be_saved(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    save_checkpoint(tmp_path / "tied", model, classes=CLASSES)


@pytest.mark.parametrize(
    ("classes", "facts", "message"),
    [
        ([], {}, "classes: got .*; must be different names"),
        (["a", "a", "b"], {}, "classes: got .*; must be different names"),
        ([0, 1, 2], {}, "classes: got .*; must be different names"),
        (["a", "b"], {}, "classes: got 2 names; must be 3"),
        (CLASSES, {"sha256": "0"}, "facts: got sha256, which save_checkpoint writes itself"),
        (CLASSES, {"arguments": {}}, "facts: got arguments, which save_checkpoint writes"),
        ("abc", {}, "classes: got 'abc'; must be different names"),
        (["a", "b", "\udcc4\udce3"], {}, "classes: got .*; must be different names.* in Unicode"),
        (CLASSES, {"note": "\udcc4\udce3"}, "JSON"),
        (CLASSES, {"data": torch.zeros(2)}, "JSON"),
        (CLASSES, {"image_size": 0}, "image_size: got 0; must be"),
        (CLASSES, {"image_size": [8, 8, 8]}, r"image_size: got \[8, 8, 8\]; must be one number or"),
        (CLASSES, {"image_size": "64"}, "image_size: got '6'; must be"),
        (CLASSES, {"transform": lambda picture: picture}, "transform: got the step"),
        (CLASSES, {"transform": modern_transform(32, augment=True)}, "RandomHorizontalFlip"),
        (CLASSES, {"transform": modern_transform(32), "image_size": 64}, r"must be \[32, 32\]"),
        (CLASSES, {"transform": transforms.ToTensor()}, "image_size: got None; must be"),
        (CLASSES, {"accuracy": float("nan")}, "JSON"),
    ],
)
def test_what_cannot_be_saved_writes_nothing(tmp_path, classes, facts, message):
    with pytest.raises(ValueError, match=message):
        save_checkpoint(tmp_path / "net", small(), classes=classes, **facts)
    assert list(tmp_path.iterdir()) == []


# ---- a network with something around it ----------------------------------------------------------


class Afterwards(nn.Module):
    """A network that is no longer what its constructor makes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


def averaged(model):
    made = AveragedModel(model)
    made.update_parameters(model)
    return made


AROUND = {
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "averaged": averaged,
    "compiled and parallel": lambda model: torch.compile(nn.DataParallel(model)),
    "parallel and compiled": lambda model: nn.DataParallel(torch.compile(model)),
}


@pytest.mark.parametrize("around", AROUND)
def test_what_is_around_a_network_is_taken_off(tmp_path, around):
    model = small().eval()
    card = save_checkpoint(tmp_path / "net", AROUND[around](model), classes=CLASSES, image_size=8)
    assert card["architecture"] == "BeetleNet"
    assert card["arguments"] == model.arguments
    loaded, _ = load_checkpoint(tmp_path / "net")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    filled = AROUND[around](small(seed=3))
    assert load_checkpoint(tmp_path / "net", model=filled)[0] is filled
    images = torch.randn(1, 3, 8, 8)
    inner = filled
    while hasattr(inner, "module") or hasattr(inner, "_orig_mod"):
        inner = getattr(inner, "_orig_mod", None) or inner.module
    assert torch.equal(inner(images), model(images))


def test_a_distributed_network_is_unwrapped(tmp_path):
    options = {"init_method": f"file://{tmp_path / 'meeting'}", "rank": 0, "world_size": 1}
    torch.distributed.init_process_group("gloo", **options)
    try:
        model = small()
        wrapped = nn.parallel.DistributedDataParallel(model)
        save_checkpoint(tmp_path / "net", wrapped, classes=CLASSES, image_size=8)
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(load_checkpoint(tmp_path / "net")[0].head.weight, model.head.weight)


def pruned():
    model = small()
    prune.l1_unstructured(model.head, "weight", 0.5)
    return model


def other_class():
    return type("BeetleNet", (Afterwards,), {})()


def fewer_blocks():
    model = small()
    model.blocks = model.blocks[:2]
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small().half(), r"model: got .* in torch.float16; .*save model.float\(\)"),
        (lambda: nn.Linear(2, 3).bfloat16(), "model: got weight in torch.bfloat16"),
        (lambda: small().double(), "model: got BeetleNet with changed layers.*float64"),
        (lambda: BeetleNet(3, 3, 4).to("meta"), "model: got .* without values of its own"),
        (lambda: nn.LazyLinear(3), "model: got weight as UninitializedParameter"),
        (pruned, "model: got BeetleNet with changed layers"),
        (fewer_blocks, "model: got BeetleNet with changed layers"),
        (other_class, "model: got another class of the name BeetleNet"),
        (lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 3))), None),
        (lambda: torch.jit.trace(nn.Linear(2, 3), torch.zeros(1, 2)), "model: got a scripted"),
    ],
)
def test_what_could_not_be_loaded_again_is_refused_at_saving(tmp_path, make, message):
    model = make()
    if message is None:  # of a class of its own, whose weights are plain
        save_checkpoint(tmp_path / "net", model, classes=CLASSES)
        return
    with pytest.raises(ValueError, match=message):
        save_checkpoint(tmp_path / "net", model, classes=CLASSES, image_size=8)
    assert list(tmp_path.iterdir()) == []


# ---- the size of the images and the transform ----------------------------------------------------

CIFAR = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize((0.49, 0.48, 0.45), (0.2, 0.2, 0.2))]
)
PICTURE = Image.effect_noise((50, 40), 90).convert("RGB")


@pytest.mark.parametrize("transform", [modern_transform(32), article_transform(24)])
def test_the_card_keeps_the_transform(tmp_path, transform):
    card = save_checkpoint(tmp_path / "net", small(), classes=CLASSES, transform=transform)
    side = transform(PICTURE).shape[1]
    assert card["image_size"] == [side, side]
    _, read = load_checkpoint(tmp_path / "net")
    again, doubts = card_transform(read)
    assert doubts == []
    assert torch.equal(again(PICTURE), transform(PICTURE))


def test_a_transform_without_a_resize_gets_the_size_of_the_card(tmp_path):
    save_checkpoint(tmp_path / "net", small(), classes=CLASSES, transform=CIFAR, image_size=32)
    transform, doubts = card_transform(load_checkpoint(tmp_path / "net")[1])
    assert doubts == []
    small_picture = PICTURE.resize((32, 32))
    assert torch.equal(transform(small_picture), CIFAR(small_picture))  # as it was
    assert transform(PICTURE).shape == (3, 32, 32)


def test_what_the_card_does_not_say_is_assumed_and_told(tmp_path):
    card = save_checkpoint(tmp_path / "net", small(), classes=CLASSES, image_size=(20, 30))
    assert card["image_size"] == [20, 30]
    transform, (doubt,) = card_transform(load_checkpoint(tmp_path / "net")[1])
    assert doubt.startswith("The card keeps no transform; assumed is resizing to 20 × 30 pixels")
    assert transform(PICTURE).shape == (3, 20, 30)
    save_checkpoint(tmp_path / "net", small(), classes=CLASSES)
    with pytest.warns(UserWarning, match=r"net\.json: the card does not keep the size"):
        _, card = load_checkpoint(tmp_path / "net")
    transform, (doubt,) = card_transform(card)
    assert doubt.startswith("The card keeps no size of the images and no transform; assumed is")
    assert torch.equal(transform(PICTURE), modern_transform(64)(PICTURE))


def test_a_hostile_card_builds_nothing(saved):
    """A file of many empty tensors that look like blocks: refused before one is built."""
    path, _, _ = saved
    weights = {f"blocks.{n}.x": torch.zeros(0) for n in range(20_000)}
    save_file(weights, path.with_suffix(".safetensors"))
    sha256 = hashlib.sha256(path.with_suffix(".safetensors").read_bytes()).hexdigest()
    edit_card(path, sha256=sha256, arguments={"classes": 3, "depth": 20_000})
    with pytest.raises(ValueError, match="they have 20000 blocks of 20000 tensors"):
        load_checkpoint(path)


SAVE = """
import sys
import torch
from xai_course.models import BeetleNet
from xai_course.storage import save_checkpoint
torch.manual_seed(int(sys.argv[2]))
for _ in range(40):
    save_checkpoint(sys.argv[1], BeetleNet(3, 1, 2), classes=["a", "b", "c"], image_size=8)
"""


@pytest.mark.end_to_end
def test_two_processes_at_one_path_leave_a_card_with_its_own_weights(tmp_path):
    words = [sys.executable, "-c", SAVE, str(tmp_path / "net")]
    processes = [subprocess.Popen([*words, str(seed)]) for seed in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    load_checkpoint(tmp_path / "net")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("fails_at", [1, 2])
def test_cut_off_while_writing_there_is_never_a_card_with_other_weights(
    saved, monkeypatch, fails_at
):
    """The process stops at each of the two renames, over an older checkpoint."""
    path, _, _ = saved
    stop_at_rename(monkeypatch, fails_at)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, small(seed=1), classes=CLASSES)
    with pytest.raises(ValueError, match=r"net\.json: missing"):
        load_checkpoint(path)
    assert [file.name for file in path.parent.iterdir()] == ["net.safetensors"]


def test_a_full_disk_leaves_the_old_checkpoint(saved, monkeypatch):
    path, model, card = saved

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, small(seed=1), classes=CLASSES)
    loaded, read = load_checkpoint(path)
    assert read == card
    assert torch.equal(loaded.head.weight, model.head.weight)
    assert len(list(path.parent.iterdir())) == 2


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_a_pickle_is_never_opened(saved, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path, _, _ = saved
    bomb = pickle.dumps(Bomb())
    path.with_suffix(".safetensors").write_bytes(bomb)
    edit_card(path, sha256=hashlib.sha256(bomb).hexdigest())
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


class Payload:
    """Unpickling it opens a file for writing, which makes it: harmless, and seen."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def test_a_pickle_runs_code_and_weights_only_does_not(tmp_path):
    marker, file = tmp_path / "it_ran", tmp_path / "weights.pt"
    torch.save({"weights": torch.zeros(2), "extra": Payload(marker)}, file)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)
    assert not marker.exists()
    plain = tmp_path / "plain.pickle"
    plain.write_bytes(pickle.dumps(Payload(marker)))
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-I", "-c", code, plain], check=True, cwd=tmp_path)
    assert marker.exists()  # so the payload works: that nothing ran above is no accident


def test_weights_of_another_type_are_refused(saved):
    path, model, _ = saved
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    weights = path.with_suffix(".safetensors")
    save_file(half, weights)
    edit_card(path, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match=r"float16 in the file.*float32 in the model"):
        load_checkpoint(path)
