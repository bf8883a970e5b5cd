"""Is a tensor an ordinary one, whose numbers can be read and differentiated?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["check_plain"]


def check_plain(name: str, value: Any, where: str = "") -> None:
    """Check that a value is a dense tensor of real numbers that are in memory.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        where: words for the error, such as "as its output ".

    Raises:
        ValueError: for what is no tensor; for sparse, nested, complex and quantised tensors, floats
            of 8 bits, and tensors without values; and inside of `torch.func.vmap` and the like.

    Example:
        >>> import torch
        >>> from xai_course.core import check_plain
        >>> check_plain("images", torch.zeros(1, 3, 8, 8))
        >>> check_plain("images", torch.zeros(1, 3, 8, 8, device="meta"))
        Traceback (most recent call last):
        ValueError: images: got a tensor without values, on the meta device; must have values.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name}: got {where}{type(value).__name__}; must be a tensor.")
    # Inside, gradients and decisions by values fail, whatever the arguments are.
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise ValueError(
            f"{name}: got a call inside of torch.func, such as vmap or grad; must be called "
            "outside."
        )
    is_small_float = value.is_floating_point() and value.element_size() < 2
    for is_so, got, must in (
        (value.is_nested, "a nested tensor", "be of one shape"),
        (value.layout != torch.strided, f"the layout {value.layout}", "be dense"),
        (value.is_meta, "a tensor without values, on the meta device", "have values"),
        (value.is_quantized, f"{value.dtype}", "be real numbers, not quantised"),
        (value.is_complex(), f"{value.dtype}", "be real numbers"),
        (is_small_float, f"{value.dtype}", "be floating-point numbers of 16 bits or more"),
    ):
        if is_so:
            raise ValueError(f"{name}: got {where}{got}; must {must}.")
    try:
        if value.numel():
            value.detach()[(0,) * value.ndim].item()
    except (RuntimeError, TypeError) as error:  # as of a fake tensor
        raise ValueError(
            f"{name}: got {where}{type(value).__name__}, whose values cannot be read; must have "
            "values."
        ) from error
