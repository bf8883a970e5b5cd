"""What all explainers promise: refusals in words, and a model that comes back as it was."""

import copy
import gc
import re
import weakref

import numpy as np
import pytest
import torch
from explainers import EXPLAINERS, small
from hypothesis import given
from hypothesis import strategies as st
from stock_networks import CLASSES, error, network, pictures
from torch import nn

from xai_course.core import validate_inputs

explainers = pytest.mark.parametrize("explain", EXPLAINERS.values(), ids=EXPLAINERS)


def state(model: nn.Module) -> list[object]:
    facts: list[object] = []
    for module in model.modules():
        hooks = [value for name, value in vars(module).items() if name.endswith("_hooks")]
        facts += [module.training, copy.copy(hooks), sorted(vars(module))]
    for parameter in model.parameters():
        facts += [parameter.requires_grad, parameter.grad, parameter._version, id(parameter)]
    return [*facts, *(buffer._version for buffer in model.buffers())]


class Answers(nn.Module):
    """A model that gives these logits whatever it sees."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(x)]


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
    x, chosen, classes = validate_inputs(Answers(logits).eval(), pictures(2, 4), targets)
    assert torch.equal(x, pictures(2, 4))
    assert classes.dtype == torch.long
    assert classes.tolist() == expected
    assert chosen.tolist() == [logits[0, expected[0]], logits[1, expected[1]]]


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
        validate_inputs(Answers(torch.zeros(2, 3)).eval(), pictures(2, 4), targets)


@given(rows=st.integers(1, 5), classes=st.integers(1, 6), data=st.data())
def test_targets_agree_in_every_spelling(rows, classes, data):
    wanted = data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    model = Answers(torch.nn.functional.one_hot(torch.tensor(wanted), classes).double()).eval()
    for targets in (None, wanted, torch.tensor(wanted)):
        assert validate_inputs(model, pictures(rows, 2), targets)[2].tolist() == wanted
    assert validate_inputs(model, pictures(rows, 2), wanted[0])[2].tolist() == [wanted[0]] * rows


# ------------------------------------------------------------------ images and model


def test_the_copy_is_free_of_history():
    images = pictures().requires_grad_()
    copied = validate_inputs(small(), images * 2)[0]
    assert copied.is_leaf
    assert copied.requires_grad
    with torch.no_grad():
        plain = validate_inputs(small(), images)[0]
    assert not plain.requires_grad
    plain += 1
    assert torch.equal(images, pictures())


def test_the_batch_size_bounds_a_pass_and_changes_nothing():
    sizes = []

    class Spy(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x

    model = nn.Sequential(Spy(), small()).eval()
    whole, parts = (
        validate_inputs(model, pictures(5)),
        validate_inputs(model, pictures(5), batch_size=2),
    )
    assert sizes == [5, 2, 2, 1]
    assert all(torch.allclose(a, b) for a, b in zip(whole, parts, strict=True))
    for wrong in (0, -1, 2.0):
        with pytest.raises(ValueError, match=f"^batch_size: got {wrong}; allowed"):
            validate_inputs(model, pictures(), batch_size=wrong)


def test_images_of_another_dtype_than_the_model_are_refused_by_name():
    with pytest.raises(ValueError, match=r"^images: got torch.float32 on cpu; .* torch.float64"):
        validate_inputs(small(), pictures().float())
    with pytest.raises(RuntimeError, match="channels"):  # the model's own complaint stays
        validate_inputs(small(), pictures(channels=4))


def test_a_model_that_mixes_its_rows_is_refused():
    class Rows(nn.Module):
        def forward(self, x):
            return x.reshape(-1, 6)

    with pytest.raises(ValueError, match=r"^model: its output is \(64, 6\); allowed"):
        validate_inputs(Rows().eval(), pictures(2, 8))


@explainers
@pytest.mark.parametrize(
    ("images", "came"),
    [
        (pictures()[0], r"images: got shape \(3, 64, 64\).*images\[None\]"),
        (pictures()[:, :, :0], r"images: got shape \(2, 3, 0, 64\)"),
        (pictures()[:0], r"images: got shape \(0, 3, 64, 64\)"),
        (pictures().long(), "images: got torch.int64"),
        (pictures() * torch.nan, "images: got NaN"),
        (pictures() / 0, "images: got NaN or inf"),
        (np.zeros((2, 3, 8, 8)), "images: got ndarray"),
    ],
    ids=["one image", "no pixels", "no images", "whole numbers", "NaN", "infinite", "numpy"],
)
def test_images_are_refused_by_name(explain, images, came):
    with pytest.raises(ValueError, match=f"^{came}"):
        explain(small(), images)


@explainers
def test_training_mode_is_refused_even_deep_inside(explain):
    model = small()
    model.norm.train()
    with pytest.raises(ValueError, match=r"^model: in training mode \(norm\).*model\.eval\(\)"):
        explain(model, pictures())
    assert model.norm.training


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
    model = small()
    model.head = nn.Sequential(model.head, last).eval()
    with pytest.raises(ValueError, match=f"^{came}"):
        explain(model, pictures())


@explainers
def test_wrong_targets_are_refused(explain):
    with pytest.raises(ValueError, match=f"^targets: got {CLASSES};"):
        explain(small(), pictures(), CLASSES)
    with pytest.raises(ValueError, match=r"^targets: got shape \(3,\)"):
        explain(small(), pictures(), [0, 1, 2])


# ------------------------------------------------------------------ what every explainer keeps


@explainers
@pytest.mark.parametrize("name", ["mixed", "resnet18"])
def test_the_model_and_the_images_come_back_as_they_were(explain, name):
    model, images = network(name), pictures(2)
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

    model = small()
    model.last = Interrupted().eval()
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        explain(model, pictures())
    assert state(model) == before
    assert torch.is_grad_enabled()
    assert torch.overrides._get_current_function_mode_stack() == []


@explainers
def test_it_works_whatever_the_caller_switched_off(explain):
    model, expected = small(), explain(small(), pictures())
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
        model = small()
        model.last = Spy().eval()
        relevance = explain(model, pictures())
        assert alive
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
    relevance = explain(small(channels), images)
    assert relevance.shape in [(2, 1, 24, 17), (2, channels, 24, 17)]
    assert relevance.isfinite().all()


@explainers
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_result_has_the_dtype_of_the_images(explain, dtype):
    expected = explain(small(), pictures())
    relevance = explain(small(dtype=dtype), pictures().to(dtype))
    assert relevance.dtype == dtype
    if dtype == torch.float32:
        assert error(relevance.double(), expected) < 1e-4
