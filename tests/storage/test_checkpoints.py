"""Checkpoints: written whole, read back to the bit, refused by name when anything is wrong."""

import hashlib
import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from xai_course.models import ArticleNet, BeetleNet
from xai_course.storage import load_checkpoint, save_checkpoint

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
    card = save_checkpoint(path, model, classes=CLASSES, data="noise", seed=0, accuracy=0.25)
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
    save_checkpoint(tmp_path / "step.10", small(0), classes=CLASSES)
    save_checkpoint(tmp_path / "step.20", small(1), classes=CLASSES)
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
    save_checkpoint(tmp_path / "again", model, classes=CLASSES, **facts)
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


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"architecture": 3}', "\x00\xff"])
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
    card = save_checkpoint(tmp_path / "own", model, classes=CLASSES)
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
        (CLASSES, {"data": torch.zeros(2)}, "JSON"),
        (CLASSES, {"accuracy": float("nan")}, "JSON"),
    ],
)
def test_what_cannot_be_saved_writes_nothing(tmp_path, classes, facts, message):
    with pytest.raises(ValueError, match=message):
        save_checkpoint(tmp_path / "net", small(), classes=classes, **facts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails_at", [1, 2])
def test_cut_off_while_writing_there_is_never_a_card_with_other_weights(
    saved, monkeypatch, fails_at
):
    """The process stops at each of the two renames, over an older checkpoint."""
    path, _, _ = saved
    calls = []

    def replace(source, target):
        calls.append(target)
        if len(calls) == fails_at:
            raise KeyboardInterrupt
        return real(source, target)

    real = os.replace
    monkeypatch.setattr(os, "replace", replace)
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
