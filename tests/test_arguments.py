"""What all explainers promise: refusals in words, and a model that comes back as it was."""

import copy
import gc
import inspect
import re
import subprocess
import sys
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import CLASSES, error, network, pictures, tiny
from torch import nn

from xai_course import arguments, relu, residual
from xai_course.arguments import check_images, choose_classes
from xai_course.relu import grad_cam, gradient
from xai_course.residual import occlusion

EXPLAINERS = [gradient, grad_cam, partial(occlusion, window=8, stride=8)]
explainers = pytest.mark.parametrize(
    "explain", EXPLAINERS, ids=["gradient", "grad_cam", "occlusion"]
)


def state(model: nn.Module) -> list[object]:
    facts: list[object] = []
    for module in model.modules():
        hooks = [value for name, value in vars(module).items() if name.endswith("_hooks")]
        facts += [module.training, copy.copy(hooks), sorted(vars(module))]
    for parameter in model.parameters():
        facts += [parameter.requires_grad, parameter.grad, parameter._version, id(parameter)]
    return [*facts, *(buffer._version for buffer in model.buffers())]


# ------------------------------------------------------------------ targets


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (None, [1, 0]),
        (2, [2, 2]),
        (np.int64(2), [2, 2]),
        (torch.tensor(2), [2, 2]),
        ([0, 2], [0, 2]),
        (np.array([0, 2]), [0, 2]),
        (torch.tensor([2, 1], dtype=torch.uint8), [2, 1]),
    ],
)
def test_targets_that_are_allowed(targets, expected):
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 2.0, 1.0]])
    chosen = choose_classes(logits, targets)
    assert chosen.dtype == torch.long
    assert chosen.tolist() == expected


@pytest.mark.parametrize(
    ("targets", "came"),
    [
        (3, "got 3"),
        (-1, "got -1"),
        ([0, 7], "got 7"),
        ([0], re.escape("got shape (1,)")),
        (torch.zeros(2, 1, dtype=torch.long), re.escape("got shape (2, 1)")),
        (0.5, "got torch.float32"),
        (True, "got torch.bool"),
        ("cat", "got 'cat'"),
        ([[0], [1, 2]], "got"),
    ],
)
def test_targets_that_are_refused_by_name(targets, came):
    with pytest.raises(ValueError, match=f"^targets: {came}.*allowed.* from 0 to 2"):
        choose_classes(torch.zeros(2, 3), targets)


@given(rows=st.integers(1, 5), classes=st.integers(1, 6), data=st.data())
@settings(max_examples=40, deadline=None)
def test_targets_agree_in_every_spelling(rows, classes, data):
    chosen = data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    logits = torch.nn.functional.one_hot(torch.tensor(chosen), classes).double()
    assert choose_classes(logits).tolist() == chosen
    assert choose_classes(logits, chosen).tolist() == chosen
    assert choose_classes(logits, torch.tensor(chosen)).tolist() == chosen
    assert choose_classes(logits, chosen[0]).tolist() == [chosen[0]] * rows


# ------------------------------------------------------------------ images and model


def test_the_copy_is_free_of_history():
    images = pictures().requires_grad_()
    copied = check_images(tiny(), images * 2)
    assert not copied.requires_grad
    copied += 1
    assert torch.equal(images, pictures())


@explainers
@pytest.mark.parametrize(
    ("images", "came"),
    [
        (pictures()[0], r"images: got shape \(3, 64, 64\).*images\[None\]"),
        (pictures()[:, :, :0], r"images: got shape \(2, 3, 0, 64\)"),
        (pictures().long(), "images: got torch.int64"),
        (pictures() * torch.nan, "images: got NaN"),
        (pictures() / 0, "images: got NaN or inf"),
        (np.zeros((2, 3, 8, 8)), "images: got ndarray"),
    ],
    ids=["one image", "no pixels", "whole numbers", "NaN", "infinite", "numpy"],
)
def test_images_are_refused_by_name(explain, images, came):
    with pytest.raises(ValueError, match=f"^{came}"):
        explain(tiny(), images)


@explainers
def test_training_mode_is_refused_even_deep_inside(explain):
    model = tiny()
    model[3].train()
    with pytest.raises(ValueError, match=r"^model: in training mode \(3\).*model\.eval\(\)"):
        explain(model, pictures())
    assert model[3].training


@explainers
def test_a_model_that_is_no_module_is_refused(explain):
    with pytest.raises(ValueError, match=r"^model: got function"):
        explain(lambda x: x.mean((2, 3)), pictures())


@explainers
@pytest.mark.parametrize(
    ("last", "came"),
    [
        (nn.Unflatten(1, (CLASSES, 1)), rf"model: its output is \(2, {CLASSES}, 1\)"),
        (nn.Threshold(1e9, torch.nan), "model: its output has NaN"),
    ],
)
def test_an_output_that_is_not_logits_is_refused(explain, last, came):
    with pytest.raises(ValueError, match=f"^{came}"):
        explain(nn.Sequential(tiny(), last).eval(), pictures())


@explainers
def test_wrong_targets_are_refused(explain):
    with pytest.raises(ValueError, match=f"^targets: got {CLASSES};"):
        explain(tiny(), pictures(), CLASSES)
    with pytest.raises(ValueError, match=r"^targets: got shape \(3,\)"):
        explain(tiny(), pictures(), [0, 1, 2])


# ------------------------------------------------------------------ what every explainer keeps


@explainers
@pytest.mark.parametrize("name", ["mixed", "resnet18"])
def test_the_model_and_the_images_come_back_as_they_were(explain, name):
    model, images = network(name), pictures(2, 32)
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
    before, copied = state(model), images.clone()
    explain(model, images)
    assert state(model) == before
    with pytest.raises(ValueError, match="targets"):
        explain(model, images, 99)
    assert state(model) == before
    assert torch.equal(images, copied)
    assert images.grad is None
    model.requires_grad_(True)


@explainers
def test_an_interruption_leaves_nothing_behind(explain):
    class Interrupted(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    model = nn.Sequential(*tiny()[:5], Interrupted()).eval()
    before = state(model)
    for options in [{}, {"layer": "3"}] if explain is grad_cam else [{}]:
        with pytest.raises(KeyboardInterrupt):
            explain(model, pictures(), **options)
    assert state(model) == before
    assert torch.is_grad_enabled()
    assert torch.overrides._get_current_function_mode_stack() == []


@explainers
def test_it_works_whatever_the_caller_switched_off(explain):
    model, expected = tiny(), explain(tiny(), pictures())
    with torch.no_grad():
        assert torch.equal(explain(model, pictures()), expected)
    with torch.inference_mode():
        inside = explain(model, pictures())
    assert torch.equal(inside, expected)
    assert not inside.is_inference()
    assert torch.equal(explain(model.requires_grad_(False), pictures()), expected)


@explainers
def test_no_graph_is_kept_alive(explain):
    alive = []

    class Spy(nn.Module):
        def forward(self, x):
            y = x * 1
            alive.append(weakref.ref(y))
            return y

    gc.disable()
    try:
        relevance = explain(nn.Sequential(Spy(), tiny()).eval(), pictures())
        assert all(reference() is None for reference in alive)
    finally:
        gc.enable()
    assert not relevance.requires_grad
    assert relevance.grad_fn is None


@explainers
def test_all_layouts_and_one_by_one_give_the_same(explain):
    model, images = network("mixed"), pictures(3, 32)
    expected = explain(model, images)
    assert expected.shape[2:] == images.shape[2:]
    layouts = {
        "channels last": images.to(memory_format=torch.channels_last),
        "not contiguous": images.transpose(2, 3).contiguous().transpose(2, 3),
        "every other": images.repeat_interleave(2, 0)[::2],
    }
    for layout, other in layouts.items():
        assert error(explain(model, other), expected) < 1e-10, layout
    single = torch.cat([explain(model, image[None]) for image in images])
    assert error(single, expected) < 1e-10
    predicted = model(images.clone()).argmax(1)
    assert torch.equal(explain(model, images, predicted), expected)
    one = explain(model, images, 2)
    assert torch.equal(one, explain(model, images, torch.full((3,), 2)))
    assert error(one, expected) > 1e-3


@explainers
@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels_and_oblong_images(explain, channels):
    images = pictures(2, 24, channels)[..., :17]
    relevance = explain(tiny(channels), images)
    assert relevance.shape in [(2, 1, 24, 17), (2, channels, 24, 17)]
    assert relevance.isfinite().all()


@explainers
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_result_has_the_dtype_of_the_images(explain, dtype):
    expected = explain(tiny(), pictures())
    relevance = explain(tiny(dtype=dtype), pictures().to(dtype))
    assert relevance.dtype == dtype
    if dtype == torch.float32:
        assert error(relevance.double(), expected) < 1e-4


@explainers
def test_an_empty_batch_gives_an_empty_result(explain):
    relevance = explain(network("mixed"), pictures(0))
    assert relevance.shape in [(0, 1, 64, 64), (0, 3, 64, 64)]
    assert not relevance.requires_grad


# ------------------------------------------------------------------ take it with you


@pytest.mark.parametrize("explain", [gradient, grad_cam, occlusion])
def test_pasted_into_an_empty_file_it_runs(explain, tmp_path):
    rooms = {**vars(arguments), **vars(relu), **vars(residual)}
    wanted, sources = [explain.__name__], {}
    while wanted:
        name = wanted.pop()
        sources[name] = inspect.getsource(rooms[name])
        wanted += [
            other
            for other, value in rooms.items()
            if getattr(value, "__module__", "").startswith("xai_course.")
            and re.search(rf"\b{other}\(", sources[name])
            and other not in sources
        ]
    assert len(sources) <= 5, f"too much to carry: {list(sources)}"
    imports = (
        "from __future__ import annotations\n"
        "from difflib import get_close_matches\n"
        "from typing import Any\n"
        "import sys\n"
        "import torch\n"
        "import torch.nn.functional as F\n"
        "from torch import Tensor, nn\n"
        "from torch.overrides import TorchFunctionMode\n"
        "sys.modules['xai_course'] = None\n"
    )
    torch.save((tiny(), pictures()), tmp_path / "case.pt")
    ending = (
        "model, images = torch.load('case.pt', weights_only=False)\n"
        f"torch.save({explain.__name__}(model, images), 'result.pt')\n"
    )
    (tmp_path / "pasted.py").write_text("\n\n".join([imports, *sources.values(), ending]))
    subprocess.run([sys.executable, "pasted.py"], cwd=tmp_path, check=True, timeout=120)
    assert torch.equal(torch.load(tmp_path / "result.pt"), explain(tiny(), pictures()))
