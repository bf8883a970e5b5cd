"""What all explainers promise: refusals in words, and a model that comes back as it was."""

import gc
import weakref
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import torch
from explainers import ALL_FUNCTIONS, EXPLAINERS, LABELS, small, state
from stock_networks import CLASSES, error, network, pictures, with_heavy
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from xai_course.residual import expected_gradients
from xai_course.robustness import gradient_masking_checks

explainers = pytest.mark.parametrize("explain", EXPLAINERS.values(), ids=EXPLAINERS)


# ------------------------------------------------------------------ what every explainer refuses

IMAGES = {
    "one image": (pictures(2, 16)[0], r"shape \(3, 16, 16\).*images\[None\]"),
    "no pixels": (pictures(2, 16)[:, :, :0], r"shape \(2, 3, 0, 16\)"),
    "no images": (pictures(2, 16)[:0], r"shape \(0, 3, 16, 16\)"),
    "whole numbers": (pictures(2, 16).long(), "torch.int64"),
    "NaN": (pictures(2, 16) * torch.nan, "NaN"),
    "infinite": (pictures(2, 16) / 0, "NaN or inf"),
    "numpy": (np.zeros((2, 3, 8, 8)), "ndarray"),
}


@explainers
def test_images_are_refused_by_name(explain):
    model = small()
    for images, got in IMAGES.values():
        with pytest.raises(ValueError, match=f"^images: got {got}"):
            explain(model, images)


@explainers
def test_models_are_refused_by_name(explain):
    model, images = small(), pictures(2, 16)
    model.norm.train()  # training mode deep inside
    training = r"^model: got training mode \(norm\).*model\.eval\(\)"
    with pytest.raises(ValueError, match=training):
        explain(model, images)
    assert model.norm.training
    with pytest.raises(ValueError, match=r"^model: got function"):
        explain(lambda x: x.mean((2, 3)), images)


@explainers
@pytest.mark.parametrize(
    ("last", "got"),
    [
        (nn.Unflatten(1, (CLASSES, 1)), rf"the output \(2, {CLASSES}, 1\)"),
        (nn.Threshold(1e9, torch.nan), "NaN or infinite logits"),
    ],
    ids=["three axes", "NaN"],
)
def test_an_output_that_is_not_logits_is_refused(explain, last, got):
    model = small()
    model.head = nn.Sequential(model.head, last).eval()
    with pytest.raises(ValueError, match=f"^model: got {got}"):
        explain(model, pictures(2, 16))


@explainers
def test_targets_are_refused_by_name(explain):
    model, images = small(), pictures(2, 16)
    with pytest.raises(ValueError, match=f"^targets: got {CLASSES};"):
        explain(model, images, CLASSES)
    with pytest.raises(ValueError, match=r"^targets: got shape \(3,\)"):
        explain(model, images, [0, 1, 2])


PIXELS = pictures(2, 16).sigmoid()
UNUSUAL = {
    "8-bit floats": PIXELS.to(torch.float8_e4m3fn),
    "sparse": PIXELS.to_sparse(),
    "without values": PIXELS.to("meta"),
    "nested": torch.nested.nested_tensor([*PIXELS], layout=torch.strided),
    "complex": PIXELS + 0j,
    "fake": FakeTensorMode().from_tensor(PIXELS),
}
# What takes the pixels as they are, so that the function meets the unusual tensor itself.
OF_IMAGES = ALL_FUNCTIONS | {
    "expected_gradients": partial(expected_gradients, baselines=PIXELS, steps=2),
    "gradient_masking_checks": lambda model, x: gradient_masking_checks(
        model, x, LABELS, epsilon=0.1, steps=2
    ),
}


@pytest.mark.parametrize("name", OF_IMAGES)
def test_what_is_unusual_is_refused_by_name(name):
    """Sparse, nested, 8-bit and the like, models without classes, and calls by `vmap`."""
    function, model = OF_IMAGES[name], small()
    for images in UNUSUAL.values():
        with pytest.raises(ValueError, match=r"^images: got"):
            function(model, images)
    with pytest.raises(ValueError, match=r"^images: got a call inside of torch\.func"):
        torch.func.vmap(lambda image: function(model, image[None]))(PIXELS)
    model.head = nn.Linear(5, 0).double()
    with pytest.raises(ValueError, match=r"^model: got the (output \([124], 0\)|same logits)"):
        function(model.eval(), PIXELS)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_step_without_a_derivative_is_refused_by_its_name(name):
    class Step(nn.Module):
        def forward(self, x):
            return torch.heaviside(x, torch.zeros_like(x))

    model = small()
    model.last = Step().eval()
    with suppress(ValueError):  # some need no derivative; no other error may come
        OF_IMAGES[name](model, PIXELS)
    if name in ("gradient", "integrated_gradients", "lrp", "infidelity", "fgsm"):
        with pytest.raises(ValueError, match=r"^model: got a step without .*aten::heaviside"):
            OF_IMAGES[name](model, PIXELS)


# ------------------------------------------------------------------ what every explainer keeps


@explainers
@pytest.mark.parametrize("name", with_heavy(["mixed", "small_resnet", "resnet18"]))
def test_the_model_and_the_images_come_back_as_they_were(explain, name):
    model, images = network(name), pictures(2, 64)
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
        explain(model, pictures(2, 16))
    assert state(model) == before
    assert torch.is_grad_enabled()
    assert torch.overrides._get_current_function_mode_stack() == []


@explainers
def test_it_works_whatever_the_caller_switched_off(explain):
    model, expected = small(), explain(small(), pictures(2, 16))
    with torch.no_grad():
        assert torch.equal(explain(model, pictures(2, 16)), expected)
    with torch.inference_mode():
        inside = explain(model, pictures(2, 16))
    assert torch.equal(inside, expected)
    assert not inside.is_inference()
    assert torch.equal(explain(model.requires_grad_(False), pictures(2, 16)), expected)


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
        relevance = explain(model, pictures(2, 16))
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
    images = pictures(2, 16)
    relevance = explain(small(dtype=dtype), images.to(dtype))
    assert relevance.dtype == dtype
    if dtype == torch.float32:
        assert error(relevance.double(), explain(small(), images)) < 1e-4
