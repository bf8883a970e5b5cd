"""Watch or change a forward pass, and leave nothing behind.

`intercept` calls a handler in place of every PyTorch function, `capture_layer` records the output
of a layer.

    with capture_layer(model, "layer4") as captured:
        logits = model(images)
    maps = captured[0]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from difflib import get_close_matches
from threading import Lock, get_ident, local
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from xai_course.core.graph import moves_places

__all__ = [
    "capture_layer",
    "check_is_module",
    "check_map_layout",
    "check_visible",
    "function_name",
    "in_this_thread",
    "intercept",
    "without_interception",
]

# ---- every function of a forward pass ---------------------------------------------------------


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
            sum or concatenation after the last convolution is included, and pooling is not. It is
            refused where two or more linear layers follow that work at each position, as in a
            vision transformer: the map of its patches is its first one, not its last. With
            gradients, it is also refused where its places are no longer those of the convolution
            (`moves_places`); without, nobody can tell.

    Yields:
        A list. After the forward pass it holds one tensor: the output as the layer returned it,
        before any later in-place step, from the last run if the layer ran several times.

    Raises:
        ValueError: if the model has no such layer, if the layer does not run or does not return one
            tensor, or, without a layer, if no convolution runs, the last one is far from the end,
            or the places of its map are moved later.

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
    convolution: GradientEdge | None = None  # the last one's output
    linear_after = 0  # linear layers at each position, after the map

    def record(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal size, convolution, linear_after
        out = func(*args, **kwargs)
        if func is F.linear and out.ndim > 2 and out.shape[1:-1].numel() > 1:
            linear_after += 1
        if not isinstance(out, Tensor) or out.ndim != 4:
            return out
        if func is F.conv2d and out.shape[2:].numel() > 1:
            size = out.shape[2:]
            convolution = _edge(out)
        # A mask or a constant of that size is no feature map.
        varies = out.requires_grad if torch.is_grad_enabled() else out.is_floating_point()
        if out.shape[2:] == size and (varies or func is F.conv2d):
            captured[:] = [out]
            linear_after = 0
        return out

    with intercept(record):
        yield
    if linear_after > 1:
        raise ValueError(
            f"layer: got no name, and {linear_after} linear layers work at each position after the "
            "last convolution, as in a vision transformer; must be the name of a layer that "
            "returns maps (N, K, h, w)."
        )
    if captured and moves_places(convolution, _edge(captured[0]), captured[0]):
        raise ValueError(
            "layer: got no name, and after the last convolution the places of its map are moved "
            "(flip, transpose, another order); must be the name of a layer before that."
        )


def _edge(tensor: Tensor) -> GradientEdge | None:
    """Return a tensor's place in the graph."""
    return None if tensor.grad_fn is None else get_gradient_edge(tensor)


@contextmanager
def _capture_output(module: nn.Module, captured: list[Any]) -> Iterator[None]:
    """Keep the output of a module's last run."""

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        captured[:] = [output]
        # The network goes on with a copy, which it may change in place.
        return output.clone() if isinstance(output, Tensor) else output

    with module.register_forward_hook(in_this_thread(keep)), _eager():
        yield


def check_map_layout(maps: Tensor, images: Tensor, layer: str | nn.Module | None = None) -> None:
    """Check that what a layer returned are feature maps, one set for each image, channels second.

    Args:
        maps: what `capture_layer` recorded.
        images: (N, C, H, W), what the model ran on.
        layer: the layer as the caller named it, for the error.

    Raises:
        ValueError: unless maps are (N, K, h, w), or if only (N, h, w, K) has the images' shape.

    Example:
        >>> import torch
        >>> from xai_course.core import check_map_layout
        >>> check_map_layout(torch.zeros(2, 5, 4, 4), torch.zeros(2, 3, 8, 8))
    """
    name = "the last convolution" if layer is None else repr(layer)
    shape, must = tuple(maps.shape), f"must return ({len(images)}, K, h, w)"
    if maps.ndim != 4 or len(maps) != len(images):
        raise ValueError(f"layer: got {name}, which returns {shape}; {must}.")
    # Maps have the aspect ratio of the images, up to the rounding of strides. Where only the other
    # order has it, the channels are last.
    ratio = images.shape[2] / images.shape[3]
    if not _fits(shape[2], shape[3], ratio) and _fits(shape[1], shape[2], ratio):
        raise ValueError(f"layer: got {name}, which returns {shape}, channels last; {must}.")


def _fits(height: int, width: int, ratio: float) -> bool:
    """Tell whether a map can be that of an image with a ratio of height to width."""
    return (height - 1) <= ratio * (width + 1) and ratio * (width - 1) <= (height + 1)


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
