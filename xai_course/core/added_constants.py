"""Every constant that a forward pass adds: biases, batch statistics, bounds of ReLU6."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from xai_course.core.hooks import function_name, intercept
from xai_course.core.relu_calls import is_zero

__all__ = ["AddedConstant", "BiasTracer"]


class AddedConstant(NamedTuple):
    """One constant that a forward pass adds.

    Attributes:
        name: its parameter's or buffer's name in the model, or the operation's if it is neither.
        edge: where it is added, as an input of `torch.autograd.grad`.
        value: broadcasts to the tensor there, (N, K, h, w) or (N, F).
    """

    name: str
    edge: GradientEdge
    value: Tensor


class BiasTracer:
    """Record every constant that a forward pass adds: biases, batch statistics, bounds of ReLU6.

        logit = ⟨∂logit/∂x, x⟩ + Σ over constants of ⟨∂logit/∂(its place), its value⟩

    That is exact, since with its ReLUs and max-pools fixed a network is linear but for these
    constants: the biases of convolutions and linear layers, batch normalisation, sums and
    differences with a constant, constants that are concatenated or padded, and the bounds of
    ReLU6, hardtanh and clamp. Check the equation where you rely on it: it is wrong for a network
    that is not piecewise linear, or that adds a constant where none is looked for.

    Args:
        model: the network, whose parameters' and buffers' names the constants get; another object
            has none. It must be run with gradients on, on images that require a gradient.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.core import BiasTracer
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        >>> with BiasTracer(model) as tracer:
        ...     logits = model(torch.ones(1, 3, 2, 2, requires_grad=True))
        >>> [constant.name for constant in tracer.constants]
        ['1.bias']
        >>> torch.equal(tracer.constants[0].value, model[1].bias)
        True
    """

    def __init__(self, model: nn.Module) -> None:
        """Note the names of the model's parameters and buffers."""
        self.constants: list[AddedConstant] = []
        is_module = isinstance(model, nn.Module)
        named = chain(model.named_buffers(), model.named_parameters()) if is_module else ()
        self._names = {id(tensor): name for name, tensor in named}
        self._depends: dict[Node, bool] = {}  # step of the graph: whether it depends on the images

    def __enter__(self) -> BiasTracer:
        """Begin to record."""
        self._mode = intercept(self._record)
        self._mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop recording; the constants stay."""
        self._mode.__exit__(*error)
        self._depends.clear()
        del self._mode  # or this object and its mode would keep each other, and the graph, alive

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a function, and note the constant in its result."""
        made = {id(each) for each in _tensors([args, kwargs]) if self._is_made(each)}
        if not made:
            return func(*args, **kwargs)
        # Before the function runs, since it may change its input in place.
        affine = _constant_of_affine(func, args, kwargs, made)
        result = func(*args, **kwargs)
        # An assignment returns nothing: its result is what it wrote into.
        out = args[0] if func is Tensor.__setitem__ else result
        if isinstance(out, Tensor) and out.grad_fn is not None:
            added = affine or _added_constant(func, args, kwargs, out, made)
            if added is not None:
                source, value = added
                name = self._names.get(id(source), function_name(func) or "?")
                edge = get_gradient_edge(out)
                self.constants.append(AddedConstant(name, edge, value.detach()))
        return result

    def _is_made(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is made from the images, and not from parameters alone."""
        if tensor.grad_fn is None:
            return tensor.requires_grad and id(tensor) not in self._names
        stack = [tensor.grad_fn]
        while stack:
            step = stack[-1]
            inputs = [source for source, _ in step.next_functions if source is not None]
            unknown = [source for source in inputs if source not in self._depends]
            if step in self._depends or not unknown:
                variable = getattr(step, "variable", None)  # of a leaf: a parameter, or the images
                is_image = variable is not None and id(variable) not in self._names
                depends = is_image or any(self._depends[source] for source in inputs)
                self._depends[stack.pop()] = depends
            else:
                stack += unknown
        return self._depends[tensor.grad_fn]


Added = tuple[Any, Tensor] | None  # where a constant comes from (a parameter, a number), its value


def _tensors(values: Any) -> Iterator[Tensor]:
    """Yield the tensors among values, also inside lists, tuples and dictionaries."""
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple | dict):
            yield from _tensors(value)


# Linear in what depends on the images, plus a constant that is whatever an input of zeros gives.
AFFINE = frozenset(
    (
        "addbmm", "addcmul", "addmm", "baddbmm", "cat", "concat", "concatenate", "conv1d", "conv3d",
        "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "copy", "dstack", "hstack",
        "lerp", "masked_fill", "pad", "setitem", "stack", "vstack", "where",
    )
)  # fmt: skip


def _constant_of_affine(func: Any, args: Any, kwargs: Any, made: set[int]) -> Added:
    """Return what an affine call gives for zeros in place of what is made from the images."""
    name = function_name(func)
    if name not in AFFINE:
        return None

    def zeroed(value: Any) -> Any:
        if isinstance(value, Tensor):
            is_made = id(value) in made and value.is_floating_point()
            return torch.zeros_like(value) if is_made else value.detach()
        if isinstance(value, list | tuple):
            return type(value)(zeroed(each) for each in value)
        return value

    with torch.no_grad():
        changed = [zeroed(each) for each in args]
        if name in ("copy", "setitem"):
            changed[0] = changed[0].clone()
        constant = func(*changed, **{key: zeroed(each) for key, each in kwargs.items()})
        constant = changed[0] if name == "setitem" else constant
    return (_argument(args, kwargs, 2, "bias"), constant) if constant.any() else None


def _added_constant(func: Any, args: Any, kwargs: Any, out: Tensor, made: set[int]) -> Added:
    """Return the constant that a call with the result `out` adds, if it adds one."""
    name = function_name(func)  # __iadd__ and add_ are "iadd" and "add"
    if func in (F.conv2d, F.linear):
        return _layer_bias(args, kwargs, func is F.conv2d)
    if func is F.batch_norm:
        return _batch_norm_shift(args, kwargs, out)
    if name in ("add", "iadd", "radd", "sub", "isub", "rsub", "subtract"):
        minus = name in ("sub", "isub", "subtract")
        return _constant_summand(args, kwargs, out, made, minus=minus)
    return _reached_bounds(name, args, kwargs, out, made)


def _argument(args: Any, kwargs: Any, position: int, name: str, default: Any = None) -> Any:
    """Return an argument of a call, given by position or by name."""
    return args[position] if len(args) > position else kwargs.get(name, default)


def _layer_bias(args: Any, kwargs: Any, is_convolution: bool) -> Added:
    """Return the bias of a convolution (K, 1, 1) or of a linear layer (K,)."""
    bias = _argument(args, kwargs, 2, "bias")
    if bias is None:
        return None
    return bias, bias[:, None, None] if is_convolution else bias


def _batch_norm_shift(args: Any, kwargs: Any, out: Tensor) -> Added:
    """Return what a batch normalisation adds after it has scaled its input: bias - scale · mean."""
    mean = _argument(args, kwargs, 1, "running_mean")
    if mean is None:
        return None  # the batch's own statistics, by which the network is not linear
    variance = _argument(args, kwargs, 2, "running_var")
    weight, bias = _argument(args, kwargs, 3, "weight"), _argument(args, kwargs, 4, "bias")
    scale = (variance + _argument(args, kwargs, 7, "eps", 1e-5)).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -scale * mean if bias is None else bias - scale * mean
    source = mean if bias is None else bias
    return source, shift.view(-1, *[1] * (out.ndim - 2))  # (K, 1, 1), or (K,) for features (N, K)


def _constant_summand(args: Any, kwargs: Any, out: Tensor, made: set[int], minus: bool) -> Added:
    """Return the constant operand of a sum or a difference."""
    first, second = _argument(args, kwargs, 0, "input"), _argument(args, kwargs, 1, "other")
    scale = _argument(args, kwargs, 2, "alpha", 1) * (-1 if minus else 1)  # of the second operand
    for operand, factor in ((second, scale), (first, 1)):
        if id(operand) not in made:
            return operand, factor * torch.as_tensor(operand, dtype=out.dtype, device=out.device)
    return None


def _reached_bounds(name: str, args: Any, kwargs: Any, out: Tensor, made: set[int]) -> Added:
    """Return the bound of a ReLU6, a clamp or a maximum where the result lies on it, else 0."""
    names = {
        "clamp": ("min", "max"), "clamp_max": ("max",), "clamp_min": ("min",),
        "clip": ("min", "max"), "hardtanh": ("min_val", "max_val"),
    }  # fmt: skip
    bounds: list[Any] = []
    if name == "relu6":
        bounds = [6.0]
    elif name == "threshold":
        bounds = [_argument(args, kwargs, 2, "value")]
    elif name in ("maximum", "minimum", "max", "min", "fmax", "fmin"):
        operands = [_argument(args, kwargs, 0, "input"), _argument(args, kwargs, 1, "other")]
        bounds = [each for each in operands if isinstance(each, Tensor) and id(each) not in made]
    elif name in names:
        default = {"min_val": -1.0, "max_val": 1.0}
        bounds = [
            _argument(args, kwargs, 1 + k, key, default.get(key))
            for k, key in enumerate(names[name])
        ]
    value = None
    for bound in bounds:
        if bound is None or is_zero(bound):
            continue  # a bound of 0 adds nothing
        limit = torch.as_tensor(bound, dtype=out.dtype, device=out.device).detach()
        reached = torch.where(out == limit, limit, 0)
        value = reached if value is None else value + reached
    return None if value is None else (None, value)
