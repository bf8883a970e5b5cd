"""Watch or change a forward pass, and leave nothing behind.

`intercept` calls a handler in place of every PyTorch function. `capture_layer` records the output
of a layer, and `BiasTracer` every constant that a network adds. The tables of activations say which
functions of PyTorch are activations.

    with capture_layer(model, "layer4") as captured:
        logits = model(images)
    maps = captured[0]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from difflib import get_close_matches
from itertools import chain
from threading import Lock, get_ident, local
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.overrides import TorchFunctionMode

__all__ = [
    "ACTIVATIONS",
    "NON_RELUS",
    "RELU_LIKE",
    "AddedConstant",
    "BiasTracer",
    "ReluCall",
    "capture_layer",
    "check_is_module",
    "check_visible",
    "find_relu",
    "function_name",
    "in_this_thread",
    "intercept",
    "relu_upper_bound",
    "without_interception",
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


def function_name(func: Any) -> str:
    """Return the name of a PyTorch function: "relu" for F.relu, torch.relu_ and Tensor.relu.

    Args:
        func: the function that a handler of `intercept` gets.

    Returns:
        Its name without underscores at its ends; "" if it has none.

    Example:
        >>> import torch
        >>> from xai_course.core import function_name
        >>> function_name(torch.Tensor.relu_), function_name(torch.Tensor.__add__)
        ('relu', 'add')
    """
    return str(getattr(func, "__name__", "")).strip("_")


# ---- every function of a forward pass ---------------------------------------------------------

_EAGER_LOCK = Lock()
_EAGER_STACK = ExitStack()  # what ends the eager mode
_EAGER_USERS = [0]  # how many blocks of all threads need it


@contextmanager
def _eager() -> Iterator[None]:
    """Run compiled models uncompiled: of compiled code no function or hook is called."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled
        yield
        return
    with _EAGER_LOCK:
        if _EAGER_USERS[0] == 0:
            _EAGER_STACK.enter_context(torch.compiler.set_stance("force_eager"))
        _EAGER_USERS[0] += 1
    try:
        yield
    finally:
        with _EAGER_LOCK:
            _EAGER_USERS[0] -= 1
            if _EAGER_USERS[0] == 0:
                _EAGER_STACK.pop_all().close()


Handler = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class _Intercept(TorchFunctionMode):
    """Call a handler in place of every PyTorch function."""

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self.handler = handler
        self.eager = _eager()

    def __enter__(self) -> Any:
        self.eager.__enter__()
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self.eager.__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _is_paused():
            return func(*args, **(kwargs or {}))
        return self.handler(func, args, kwargs or {})


def intercept(handler: Handler) -> AbstractContextManager[Any]:
    """Return a context manager in which a handler is called in place of every PyTorch function.

    The handler gets every spelling of an operation: `F.relu(x)`, `x.relu_()`, `nn.ReLU()(x)`. What
    the handler itself calls is not intercepted. When the block ends, nothing is left behind.

    Args:
        handler: called as `handler(func, args, kwargs)`. It runs the function itself, usually by
            `func(*args, **kwargs)`, and returns what the caller gets.

    Returns:
        The context manager.

    Example:
        >>> import torch
        >>> from xai_course.core import function_name, intercept
        >>> names = []
        >>> def record(func, args, kwargs):
        ...     names.append(function_name(func))
        ...     return func(*args, **kwargs)
        >>> x = torch.ones(2)
        >>> with intercept(record):
        ...     result = torch.nn.ReLU()(x) + 1
        >>> names
        ['relu', 'add']
    """
    return _Intercept(handler)


_STATE = local()  # of this thread


def _is_paused() -> bool:
    return getattr(_STATE, "paused", False)


@contextmanager
def without_interception() -> Iterator[None]:
    """Run a model without the handlers of `intercept` and the hooks of `in_this_thread`.

    Yields:
        Nothing.

    Example:
        >>> import torch
        >>> from xai_course.core import intercept, without_interception
        >>> calls = []
        >>> with intercept(lambda *call: calls.append(call)), without_interception():
        ...     _ = torch.ones(1) + 1
        >>> calls
        []
    """
    before, _STATE.paused = _is_paused(), True
    try:
        yield
    finally:
        _STATE.paused = before


# ---- the output of one layer ------------------------------------------------------------------


@contextmanager
def capture_layer(model: nn.Module, layer: str | nn.Module | None = None) -> Iterator[list[Tensor]]:
    """Record what one layer returns while the model runs.

    Args:
        model: the network.
        layer: a module of the model or its dotted name. None: the last convolutional feature map
            (N, K, h, w), which is the last 4-D tensor with the height and width of the output of
            the last convolution that has more than one position. So a batch normalisation, ReLU,
            sum or concatenation after the last convolution is included, and pooling is not.

    Yields:
        A list. After the forward pass it holds one tensor: the output as the layer returned it,
        before any later in-place step, from the last run if the layer ran several times.

    Raises:
        ValueError: if the model has no such layer, if the layer does not run or does not return one
            tensor, or, without a layer, if no convolution runs.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.core import capture_layer
        >>> model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        >>> with capture_layer(model) as captured:
        ...     output = model(torch.ones(2, 3, 8, 8))
        >>> captured[0].shape, bool((captured[0] >= 0).all())
        (torch.Size([2, 5, 6, 6]), True)
    """
    check_is_module(model)
    captured: list[Any] = []
    if layer is None:
        with _capture_last_map(model, captured):
            yield captured
        if not captured:
            raise ValueError(
                "layer: got no name, and no convolution was seen to run; must be a layer's name."
            )
        return
    with _capture_output(_find_module(model, layer), captured):
        yield captured
    if not captured:
        raise ValueError(f"layer: got {layer!r}, which does not run; must be one that runs.")
    if not isinstance(captured[0], Tensor):
        returned = type(captured[0]).__name__
        raise ValueError(f"layer: got {layer!r}, which returns {returned}; must return a tensor.")


@contextmanager
def _capture_last_map(model: nn.Module, captured: list[Any]) -> Iterator[None]:
    """Keep the last feature map of the size of the last convolution's output."""
    check_visible(model)
    size: torch.Size | None = None

    def record(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal size
        out = func(*args, **kwargs)
        if not isinstance(out, Tensor) or out.ndim != 4:
            return out
        if func is F.conv2d and out.shape[2:].numel() > 1:
            size = out.shape[2:]
        # A mask or a constant of that size is no feature map.
        varies = out.requires_grad if torch.is_grad_enabled() else out.is_floating_point()
        if out.shape[2:] == size and (varies or func is F.conv2d):
            captured[:] = [out]
        return out

    with intercept(record):
        yield


@contextmanager
def _capture_output(module: nn.Module, captured: list[Any]) -> Iterator[None]:
    """Keep the output of a module's last run."""

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        captured[:] = [output]
        # The network goes on with a copy, which it may change in place.
        return output.clone() if isinstance(output, Tensor) else output

    with module.register_forward_hook(in_this_thread(keep)), _eager():
        yield


def in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook that does nothing in other threads, which may run the same model.

    Args:
        hook: a hook of a module.

    Returns:
        A hook with the same arguments.

    Example:
        >>> from torch import nn
        >>> from xai_course.core import in_this_thread
        >>> model = nn.Identity()
        >>> handle = model.register_forward_hook(in_this_thread(lambda *_: print("it runs")))
        >>> output = model(1)
        it runs
        >>> handle.remove()
    """
    thread = get_ident()

    def run(*arguments: Any) -> Any:
        return hook(*arguments) if get_ident() == thread and not _is_paused() else None

    return run


def check_is_module(model: nn.Module) -> None:
    """Check that a model is a module.

    Args:
        model: the model.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: got {type(model).__name__}; must be a torch.nn.Module.")


def check_visible(model: nn.Module) -> None:
    """Check that no part of a model is scripted or traced: its steps could not be intercepted.

    Args:
        model: the model.

    Raises:
        ValueError: if a part is.
    """
    check_is_module(model)
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"model: got a scripted part ({name or 'all of it'}), whose steps cannot be seen; "
                "must be plain modules, as before torch.jit. gradient, integrated_gradients and "
                "occlusion also explain scripted models."
            )


def _find_module(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """Return the module of a model that is, or has the name, `layer`."""
    modules = dict(model.named_modules(remove_duplicate=False))
    module: Any = layer
    if isinstance(layer, str):
        # A compiled or parallel model holds the model under another name.
        names = (layer, f"_orig_mod.{layer}", f"module.{layer}")
        module = next((modules[name] for name in names if name in modules), None)
    if isinstance(module, nn.Module) and any(module is own for own in modules.values()):
        return module
    close = get_close_matches(str(layer), modules, n=5, cutoff=0.3)
    hint = f", such as {', '.join(close)}" if close else ""
    raise ValueError(
        f"layer: got {layer!r}; must be a module of the model or its name in "
        f"model.named_modules(){hint}."
    )


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
    spelling = getattr(func, "__name__", "")  # mul_ and __imul__ work in place
    in_place = spelling.startswith("__i") or (spelling.endswith("_") and spelling[:2] != "__")
    return ReluCall(x, torch.inf, F.relu_ if in_place else F.relu)


def _hidden_relu_input(name: str, arguments: list[Any]) -> Tensor | None:
    """Return x where a call computes x · [x > 0] with a function that has other uses, too."""
    pairs: list[tuple[Any, Any]] = []  # of a possible x and the mask that would select x > 0
    # A number as the second argument of `max` is a dimension.
    if name in ("maximum", "max", "fmax") and len(arguments) == 2:
        first, second = arguments
        if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
            return None
        return first if _is_zero(second) else second if _is_zero(first) else None
    if name == "where" and len(arguments) == 3:
        condition, first, second = arguments
        if _is_zero(second):
            pairs.append((first, condition))
        if _is_zero(first):
            pairs.append((second, condition.logical_not()))
    elif name == "masked_fill" and len(arguments) == 3 and _is_zero(arguments[2]):
        pairs.append((arguments[0], arguments[1].logical_not()))
    elif name in ("mul", "multiply", "imul", "rmul") and len(arguments) == 2:
        pairs += [tuple(arguments), tuple(arguments[::-1])]
    return next((x for x, mask in pairs if _selects_positive(x, mask)), None)


def _is_zero(value: Any) -> bool:
    """Tell whether a value is the number 0, or a constant tensor of zeros."""
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


# ---- what a network adds ----------------------------------------------------------------------


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
        if bound is None or _is_zero(bound):
            continue  # a bound of 0 adds nothing
        limit = torch.as_tensor(bound, dtype=out.dtype, device=out.device).detach()
        reached = torch.where(out == limit, limit, 0)
        value = reached if value is None else value + reached
    return None if value is None else (None, value)
