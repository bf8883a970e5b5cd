"""Describe a function in words that can be kept in a file and compared later."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from torch import Tensor

__all__ = ["describe_callable"]


def describe_callable(
    value: Any,
    *,
    leave_out: Collection[str] = (),
    describe_tensor: Callable[[Tensor], str] | None = None,
) -> str:
    """Describe a function by its name, and a `functools.partial` by its name and options.

    Args:
        value: the function. Its options may be functions, tensors or any other values.
        leave_out: names of options that are not described, such as `batch_size`.
        describe_tensor: describes a tensor; None for its shape.

    Returns:
        The description. It does not change from one process to the next.

    Example:
        >>> from functools import partial
        >>> from xai_course.core import describe_callable
        >>> describe_callable(partial(sorted, key=len, reverse=True))
        'sorted(key=len, reverse=True)'
        >>> describe_callable(partial(sorted, key=len, reverse=True), leave_out=["reverse"])
        'sorted(key=len)'
    """

    def describe(part: Any) -> str:
        return describe_callable(part, leave_out=leave_out, describe_tensor=describe_tensor)

    if isinstance(value, Tensor):
        return describe_tensor(value) if describe_tensor else f"tensor {tuple(value.shape)}"
    if isinstance(value, partial):
        options = [
            f"{name}={describe(option)}"
            for name, option in value.keywords.items()
            if name not in leave_out
        ]
        return f"{describe(value.func)}({', '.join([*map(describe, value.args), *options])})"
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value)
