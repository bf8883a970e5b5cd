"""Arguments of explainers: what is refused, and in which words; and enlarged maps."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from explainers import small
from hypothesis import given
from hypothesis import strategies as st
from stock_networks import Spy, error, pictures
from torch import nn

from xai_course.core import check_images, check_model, upsample_keep_sum, validate_inputs


class Answers(nn.Module):
    """A model that gives these logits for the rows of `pictures`."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        known = pictures(len(self.logits), x.shape[2]).to(x).flatten(1)
        row = (known[None] - x.flatten(1)[:, None]).abs().sum(2).argmin(1)
        return self.logits[row]


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
def test_targets_in_every_spelling(targets, expected):
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 2.0, 1.0]])
    x, chosen, classes = validate_inputs(Answers(logits).eval(), pictures(2, 4), targets)
    assert torch.equal(x, pictures(2, 4))
    assert classes.dtype == torch.long
    assert classes.tolist() == expected
    assert chosen.tolist() == [logits[0, expected[0]], logits[1, expected[1]]]


@pytest.mark.parametrize(
    ("targets", "got"),
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
def test_targets_that_are_refused_by_name(targets, got):
    with pytest.raises(ValueError, match=rf"^targets: {got}.*; must be None, .* from 0 to 2\."):
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
    spy = Spy()
    model = nn.Sequential(spy, small()).eval()
    whole, parts = (
        validate_inputs(model, pictures(5)),
        validate_inputs(model, pictures(5), batch_size=2),
    )
    # A new model is first measured on two images.
    assert [len(x) for x in spy.seen] == [1, 1, 5, 2, 2, 1]
    assert all(torch.allclose(a, b) for a, b in zip(whole, parts, strict=True))
    for wrong in (0, -1, 2.0):
        with pytest.raises(ValueError, match=f"^batch_size: got {wrong}; must be"):
            validate_inputs(model, pictures(), batch_size=wrong)


def test_images_of_another_dtype_than_the_model_are_refused_by_name():
    with pytest.raises(
        ValueError, match=r"^images: got torch.float32 on cpu; must be torch.float64"
    ):
        validate_inputs(small(), pictures().float())
    with pytest.raises(ValueError, match=r"^images: got shape .* 4 channels"):
        validate_inputs(small(), pictures(channels=4))


def test_a_model_that_mixes_its_rows_is_refused():
    class Rows(nn.Module):
        def forward(self, x):
            return x.reshape(-1, 6)

    with pytest.raises(ValueError, match=r"^model: got the output \(64, 6\) for a batch of 2"):
        validate_inputs(Rows().eval(), pictures(2, 8))


IMAGES = {
    "one image": (pictures()[0], r"shape \(3, 64, 64\); must be \(N, C, H, W\)\. .*images\[None\]"),
    "no pixels": (pictures()[:, :, :0], r"shape \(2, 3, 0, 64\)"),
    "no images": (pictures()[:0], r"shape \(0, 3, 64, 64\)"),
    "whole numbers": (pictures().long(), "torch.int64; must be finite floating"),
    "NaN": (pictures() * torch.nan, "NaN or infinite values; must be finite"),
    "infinite": (pictures() / 0, "NaN or infinite values"),
    "one infinite": (pictures().index_fill(2, torch.tensor(5), torch.inf), "NaN or infinite"),
    "numpy": (np.zeros((2, 3, 8, 8)), "ndarray; must be a tensor"),
}


@pytest.mark.parametrize("which", IMAGES)
def test_images_that_are_refused(which):
    images, got = IMAGES[which]
    for check in (check_images, lambda images: validate_inputs(small(), images)):
        with pytest.raises(ValueError, match=f"^images: got {got}"):
            check(images)


def test_large_finite_values_are_accepted_though_their_sum_overflows():
    images = torch.full((1, 1, 2, 2), 3e38)
    assert images.sum().isinf()
    check_images(images)
    logits = torch.full((1, 2), 3e38)
    _, chosen, _ = validate_inputs(Answers(logits).eval(), pictures(1, 2).float())
    assert chosen.item() == logits[0, 0]


def test_models_that_are_refused():
    model = small()
    check_model(model)
    model.norm.train()
    training = r"^model: got training mode \(norm\); must be in .*model\.eval\(\)"
    for check in (check_model, lambda model: validate_inputs(model, pictures())):
        with pytest.raises(ValueError, match=training):
            check(model)
        with pytest.raises(ValueError, match=r"^model: got function; must be a torch\.nn\.Module"):
            check(lambda x: x.mean((2, 3)))
    with pytest.raises(ValueError, match=r"^model: got training mode \(all of it\)"):
        check_model(small().train())


OUTPUTS = {
    "three axes": (torch.zeros(2, 3, 1), r"the output \(2, 3, 1\) for a batch of 2"),
    "NaN": (torch.tensor([[0, torch.nan], [0, 1]]), "NaN or infinite logits; must return finite"),
    "infinite": (torch.tensor([[0, -torch.inf], [0, 1]]), "NaN or infinite logits"),
}


@pytest.mark.parametrize("which", OUTPUTS)
def test_outputs_that_are_refused(which):
    logits, got = OUTPUTS[which]
    with pytest.raises(ValueError, match=f"^model: got {got}"):
        validate_inputs(Answers(logits).eval(), pictures())


def test_an_output_that_is_no_tensor_is_refused():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(ValueError, match=r"^model: got the output tuple for a batch of 2"):
        validate_inputs(Two().eval(), pictures())


# ------------------------------------------------------------------ enlarging


@given(
    h=st.integers(1, 9), w=st.integers(1, 9), height=st.integers(1, 40), width=st.integers(1, 40)
)
def test_enlarging_keeps_the_sum_and_the_sign(h, w, height, width):
    maps = pictures(2, 9)[:, :, :h, :w]  # some are larger than the result
    assert error(upsample_keep_sum(maps, (height, width)).sum((2, 3)), maps.sum((2, 3))) < 1e-10
    assert (upsample_keep_sum(maps.abs(), (height, width)) >= 0).all()
    assert upsample_keep_sum(maps, (height, width)).shape[2:] == (height, width)


def test_enlarging_by_a_whole_number_is_bilinear_interpolation_over_the_pixels_of_a_place():
    maps = pictures(1, 5)
    plain = F.interpolate(maps, (20, 15), mode="bilinear", align_corners=False) / 12
    assert error(upsample_keep_sum(maps, (20, 15)), plain) < 1e-12
    assert torch.equal(upsample_keep_sum(maps, (5, 5)), maps)
