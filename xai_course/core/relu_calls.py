"""Which calls of PyTorch functions are activations, and which are ReLUs, in whatever spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xai_course.core.hooks import function_name

__all__ = [
    "ACTIVATIONS",
    "NON_RELUS",
    "RELU_LIKE",
    "ReluCall",
    "find_relu",
    "is_zero",
    "relu_upper_bound",
    "works_in_place",
]

# ---- activations, by the names that `function_name` gives -------------------------------------

# Whether a call of one of these is a ReLU depends on its limits (see `relu_upper_bound`).
RELU_LIKE = frozenset((
    "clamp", "clamp_max", "clamp_min", "clip", "hardtanh", "leaky_relu", "relu", "relu6",
    "threshold",
))  # fmt: skip

# All activations of single units: each output depends on one input.
ACTIVATIONS = RELU_LIKE | {
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "log_sigmoid",
    "mish", "prelu", "rrelu", "selu", "sigmoid", "silu", "softplus", "softshrink",
    "softsign", "special_expit", "tanh", "tanhshrink",
}  # fmt: skip

# All activations that are never a ReLU. The last four mix several units.
NON_RELUS = (ACTIVATIONS - RELU_LIKE) | {"glu", "log_softmax", "softmax", "softmin"}

# ---- ReLUs ------------------------------------------------------------------------------------


def relu_upper_bound(func: Any, args: Any, kwargs: Any) -> float | None:
    """Return the largest value that a call can return if it is a ReLU, and None if it is not.

    A ReLU is any function that is 0 below 0 and its own input up to an upper bound: relu, relu6,
    hardtanh from 0, and threshold, clamp and clip at 0, in place or not. A clamp from 0 to another
    bound than 6 or infinity is none: it clips values, as those of pixels to [0, 1].

    Args:
        func: the function that a handler of `intercept` gets.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Returns:
        Infinity for a ReLU, 6 for a ReLU6, None for any other function.

    Example:
        >>> import torch
        >>> from xai_course.core import relu_upper_bound
        >>> x = torch.zeros(3)
        >>> [relu_upper_bound(torch.clamp, (x, 0, top), {}) for top in (None, 6, 1)]
        [inf, 6.0, None]
    """
    name = function_name(func)
    if name not in RELU_LIKE:
        return None
    options = {key: value for key, value in kwargs.items() if key != "input"}
    if any(isinstance(limit, Tensor) for limit in [*args[1:], *options.values()]):
        return None
    # Three numbers show what the function does, whatever its arguments are called.
    probe = torch.tensor([-1.0, 0.5, torch.inf])
    low, middle, top = func(probe, *args[1:], **options).tolist()
    clips = name.startswith("cl") and top not in (6, torch.inf)
    return float(top) if low == 0 and middle == 0.5 and not clips else None


class ReluCall(NamedTuple):
    """A call that is a ReLU, in whatever spelling.

    Attributes:
        input: its input.
        upper_bound: the largest value that it can return.
        run: the call as a function of the input.
    """

    input: Tensor
    upper_bound: float
    run: Callable[[Tensor], Tensor]


def find_relu(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ReluCall | None:
    """Return a call as a ReLU, if it is one: also `maximum(x, 0)`, and `where(x > 0, x, 0)`.

    Args:
        func: the function that a handler of `intercept` gets.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Returns:
        The call, or None if it is no ReLU.

    Example:
        >>> import torch
        >>> from xai_course.core import find_relu
        >>> x = torch.tensor([-1.0, 2.0])
        >>> find_relu(torch.maximum, (x, torch.zeros(())), {}).run(x)
        tensor([0., 2.])
        >>> find_relu(torch.maximum, (x, 0.1 * x), {}) is None  # a leaky ReLU
        True
    """
    upper_bound = relu_upper_bound(func, args, kwargs)
    if upper_bound is not None:
        options = {key: value for key, value in kwargs.items() if key != "input"}
        x = args[0] if args else kwargs["input"]
        return ReluCall(x, upper_bound, lambda x: func(x, *args[1:], **options))
    arguments = [*args, *kwargs.values()]
    if func is Tensor.where and len(args) > 1:  # x.where(condition, other)
        arguments[:2] = arguments[1::-1]
    x = _hidden_relu_input(function_name(func), arguments)
    if x is None:
        return None
    return ReluCall(x, torch.inf, F.relu_ if works_in_place(func) else F.relu)


def works_in_place(func: Any) -> bool:
    """Tell whether a PyTorch function changes its input, by its name: mul_ and __imul__ do.

    Args:
        func: the function that a handler of `intercept` gets.

    Returns:
        Whether it does.
    """
    spelling = str(getattr(func, "__name__", ""))
    return spelling.startswith("__i") or (spelling.endswith("_") and spelling[:2] != "__")


def _hidden_relu_input(name: str, arguments: list[Any]) -> Tensor | None:
    """Return x where a call computes x · [x > 0] with a function that has other uses, too."""
    pairs: list[tuple[Any, Any]] = []  # of a possible x and the mask that would select x > 0
    # A number as the second argument of `max` is a dimension.
    if name in ("maximum", "max", "fmax") and len(arguments) == 2:
        first, second = arguments
        if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
            return None
        return first if is_zero(second) else second if is_zero(first) else None
    if name == "where" and len(arguments) == 3:
        condition, first, second = arguments
        if is_zero(second):
            pairs.append((first, condition))
        if is_zero(first):
            pairs.append((second, condition.logical_not()))
    elif name == "masked_fill" and len(arguments) == 3 and is_zero(arguments[2]):
        pairs.append((arguments[0], arguments[1].logical_not()))
    elif name in ("mul", "multiply", "imul", "rmul") and len(arguments) == 2:
        pairs += [tuple(arguments), tuple(arguments[::-1])]
    return next((x for x, mask in pairs if _selects_positive(x, mask)), None)


def is_zero(value: Any) -> bool:
    """Tell whether a value is the number 0, or a constant tensor of zeros.

    Args:
        value: an argument of a call.

    Returns:
        Whether it adds nothing, and is no bound but 0.
    """
    if isinstance(value, Tensor):
        return not value.requires_grad and not bool(value.any())
    return isinstance(value, int | float) and value == 0


def _selects_positive(x: Any, mask: Any) -> bool:
    """Tell whether a constant mask is 1 where x > 0, and 0 where x < 0."""
    if not (isinstance(x, Tensor) and isinstance(mask, Tensor)) or mask.requires_grad:
        return False
    if mask.shape != x.shape or not ((mask == (x > 0)) | (x == 0)).all():
        return False
    # Where no value is negative, a factor of ones may be just that.
    return mask.dtype == torch.bool or bool((x < 0).any())
