"""Tensors that no function here can use are refused by name, whatever makes them unusual."""

import numpy as np
import pytest
import torch
from stock_networks import pictures
from torch._subclasses.fake_tensor import FakeTensorMode

from xai_course.core import check_plain

PICTURES = pictures(2, 16).float()
UNUSUAL = {
    "8-bit floats": (PICTURES.to(torch.float8_e4m3fn), r"torch\.float8_e4m3fn; must be floating"),
    "sparse": (PICTURES.to_sparse(), r"the layout torch\.sparse_coo; must be dense"),
    "compressed": (PICTURES[0, 0].to_sparse_csr(), r"the layout torch\.sparse_csr; must be dense"),
    "without values": (PICTURES.to("meta"), "a tensor without values, .*; must have values"),
    "nested": (
        torch.nested.nested_tensor([*PICTURES], layout=torch.strided),
        "a nested tensor; must be of one shape",
    ),
    "jagged": (
        torch.nested.nested_tensor([*PICTURES], layout=torch.jagged),
        "a nested tensor; must be of one shape",
    ),
    "complex": (PICTURES + 0j, r"torch\.complex64; must be real"),
    "fake": (FakeTensorMode().from_tensor(PICTURES), "FakeTensor, whose values cannot be read"),
    "an array": (np.zeros(3), "ndarray; must be a tensor"),
}

if hasattr(torch, "quantize_per_tensor"):  # PyTorch will take it away
    quantised = torch.quantize_per_tensor(PICTURES, 0.1, 0, torch.qint8)
    UNUSUAL["quantised"] = (quantised, r"torch\.qint8; must be real")


@pytest.mark.parametrize("which", UNUSUAL)
def test_unusual_tensors_are_refused_in_words(which):
    value, got = UNUSUAL[which]
    with pytest.raises(ValueError, match=f"^mask: got {got}"):
        check_plain("mask", value)
    with pytest.raises(ValueError, match=f"^model: got as its output {got}"):
        check_plain("model", value, "as its output ")


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(()),
        torch.zeros(0, 3),
        torch.ones(2, dtype=torch.bool),
        torch.ones(2, dtype=torch.uint8),
        torch.ones(2, dtype=torch.bfloat16, requires_grad=True),
        PICTURES.expand(3, 2, 3, 16, 16),
        torch.nn.Parameter(PICTURES),
    ],
)
def test_ordinary_tensors_pass(value):
    check_plain("mask", value)


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad])
def test_inside_of_a_function_transform_all_is_refused(transform):
    def checked(x):
        check_plain("images", PICTURES)
        return x.sum()

    with pytest.raises(ValueError, match=r"^images: got a call inside of torch\.func"):
        transform(checked)(PICTURES)
    check_plain("images", PICTURES)
