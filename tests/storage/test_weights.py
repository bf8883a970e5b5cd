"""Weights as people have them: found, with a remark; or refused by the file's own names."""

import argparse
import copy
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from xai_course.storage import load_weights, read_weights


def build(classes):
    """A network whose last tensor does not tell the number of classes."""
    head = nn.Linear(4, classes)
    norm = nn.BatchNorm2d(4)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Flatten(), head, nn.BatchNorm1d(classes))


def trained(classes=5):
    torch.manual_seed(0)
    model = build(classes)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 2)
    return model


MODEL = trained()
STATE = MODEL.state_dict()
TWICE = {name: 2 * tensor for name, tensor in STATE.items()}


def named(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def without(*names):
    return {name: tensor for name, tensor in STATE.items() if name not in names}


def put(folder, content):
    torch.save(content, folder / "mine.pth")
    return folder / "mine.pth"


HELD = {
    "plain": (STATE, []),
    "state_dict": ({"state_dict": STATE, "epoch": 3}, []),
    "parallel": (nn.DataParallel(MODEL).state_dict(), ["begin with 'module.'"]),
    "compiled": (named("_orig_mod."), ["begin with '_orig_mod.'"]),
    "both": (named("module._orig_mod."), ["begin with 'module._orig_mod.'"]),
    "inside": (
        {f"{n[0]}._orig_mod{n[1:]}": t for n, t in STATE.items()},
        ["“module” and “_orig_mod”, which wrappers put into names"],
    ),
    "Lightning": (
        {"state_dict": {**named("model."), "loss.weight": torch.ones(5)}, "loops": {"a": {}}},
        ["begin with 'model.' in 'state_dict'", "Left out of the file: loss.weight."],
    ),
    "model_state_dict": (
        {"model_state_dict": STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
        ["the names in 'model_state_dict'"],
    ),
    "net": ({"net": named("module.")}, ["begin with 'module.' in 'net'"]),
    "deep": ({"a": {"b": {"weights": STATE}}}, ["the names in 'a.b.weights'"]),
    "EMA alone": ({"state_dict_ema": STATE}, ["in 'state_dict_ema'", "averages .* .EMA."]),
    "EMA beside": (
        {"model": STATE, "model_ema": TWICE},
        ["the names in 'model'", "other sets of weights, which were not taken: .*'model_ema'"],
    ),
    "EMA among": (
        {**named("online_model."), **named("ema_model.", TWICE), "step": torch.ones(1)},
        ["begin with 'online_model.'", "'ema_model.'", "Left out of the file: step."],
    ),
    "averaged": (
        AveragedModel(MODEL).state_dict(),
        ["begin with 'module.'", "averages", "Left out of the file: n_averaged."],
    ),
    "before PyTorch 0.4": (without("1.num_batches_tracked", "4.num_batches_tracked"), []),
    "values beside": (
        {
            "state_dict": STATE,
            "best": np.float64(0.5),
            "counts": [np.int64(3), np.float32(1), np.bool_(True)],
            "args": argparse.Namespace(lr=0.1, names=["a"]),
        },
        [],
    ),
    "double": (copy.deepcopy(MODEL).double().state_dict(), ["stored as float64"]),
}


@pytest.mark.parametrize("held", HELD)
def test_weights_are_found_and_the_way_is_told(tmp_path, held):
    content, words = HELD[held]
    model, remarks = load_weights(build, put(tmp_path, content))
    for name, tensor in STATE.items():
        if name in content or "before" not in held:
            assert torch.equal(model.state_dict()[name], tensor.to(tensor.dtype)), name
    assert len(remarks) == len(words)
    for remark, word in zip(remarks, words, strict=True):
        assert re.search(word, remark), remark


def test_half_precision_and_safetensors(tmp_path):
    half = {n: t.half() if t.is_floating_point() else t for n, t in STATE.items()}
    save_file(half, tmp_path / "mine.safetensors")
    model, (remark,) = load_weights(build, tmp_path / "mine.safetensors")
    assert model.state_dict()["0.weight"].dtype == torch.float32
    assert torch.equal(model.state_dict()["0.weight"], half["0.weight"].float())
    assert remark == "The weights are stored as float16, and calculated with as float32."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"3.bias": 5}, "it holds no tensors by name, but '3.bias'"),
        ({**STATE, "3.bias": 5}, r"it lacks 3.bias .int in the file, no tensor."),
        ({0: torch.zeros(3)}, "it holds no tensors by name, but 0"),
        ({}, "it holds no tensors by name, but nothing"),
        ([torch.zeros(3)], "cannot be read as a file of weights .it holds list."),
        (torch.zeros(3), "cannot be read as a file of weights .it holds Tensor."),
        ({"a": {"b": {"c": {"d": {"e": {"f": STATE}}}}}}, "it holds no tensors by name"),
        (without("3.bias"), "it lacks 3.bias"),
        ({**STATE, "5.bias": torch.ones(2)}, "which has no place for 5.bias"),
        (
            {**named("a."), **named("b.", TWICE)},
            "several sets of weights that fit .*'a.'.*'b.'",
        ),
        ({"x": STATE, "y": TWICE}, "has several sets of weights that fit .*'x'.*'y'"),
        ({**STATE, "3.bias": torch.ones(7)}, r"3.bias is \(7,\) torch.float32 in the file, \(5,\)"),
        ({**STATE, "3.bias": torch.ones(5).int()}, "3.bias is .*int32 in the file, .*float32"),
        ({**STATE, "3.bias": torch.ones(5) * 1j}, "has 3.bias as torch.complex64; must be real"),
        ({**STATE, "3.weight": torch.zeros(0, 4)}, "is .* in the file"),
        ({n: torch.tensor(1.0) for n in STATE}, r"is \(\) .* in the file"),
        ({**STATE, "0.weight": STATE["0.weight"].to_sparse()}, "has 0.weight as a .*sparse_coo"),
        ({**STATE, "3.bias": torch.zeros(1).expand(10**9)}, "has 3.bias of shape .*expanded"),
        ({**STATE, "3.weight": torch.zeros(9).as_strided((10**8, 4), (0, 1))}, "expanded"),
        (MODEL, "objects of the class torch.nn.modules.container.Sequential, and reading"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    with pytest.raises(ValueError, match=rf"^path: .*mine\.pth.*{words}"):
        load_weights(build, put(tmp_path, content))


def test_every_key_that_is_left_is_named(tmp_path):
    left = {f"encoder.layers.{n}.attention.weight": torch.ones(1) for n in range(60)}
    with pytest.raises(ValueError, match=r"it lacks 3\.bias") as caught:
        load_weights(build, put(tmp_path, {**without("3.bias"), **left}))
    assert len(str(caught.value)) > 2000
    assert all(name in str(caught.value) for name in left)
    with pytest.raises(ValueError, match=r"none of its names is one of the") as caught:
        load_weights(build, put(tmp_path, {"state_dict": left}))
    assert all(f"state_dict: {name}" in str(caught.value) for name in left)


def test_a_file_that_unpacks_to_more_than_itself_is_refused(tmp_path):
    """PyTorch itself reads it: 40 MB from 40 kB."""
    plain = put(tmp_path, {"a": torch.zeros(10**7)})
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert len(torch.load(packed, weights_only=True)["a"]) == 10**7
    with pytest.raises(ValueError, match=r"packed\.pth cannot be read .*would unpack to 40,"):
        read_weights(packed)


@pytest.mark.parametrize("name", ["nowhere.pth", "nowhere.safetensors", "broken.pth", "."])
def test_what_is_no_file_of_weights_is_named(tmp_path, name):
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ValueError, match=r"^path: .*cannot be read as a file of weights"):
        read_weights(tmp_path / name)
