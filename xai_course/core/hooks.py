"""Look into a forward pass and leave nothing behind: a layer's output, and what every layer adds.

The three techniques share these. Both are context managers around a run of the model:

    with watch_layer(model, "layer4") as seen:
        logits = model(images)
    maps = seen[-1]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from itertools import chain
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

__all__ = ["BiasTracer", "capture_layer", "intercept", "relu_upper_bound"]


class _Intercept(TorchFunctionMode):
    """Call a handler in place of every PyTorch function."""

    def __init__(self, handler: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        super().__init__()
        self.handler = handler

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.handler(func, args, kwargs or {})


def intercept(
    handler: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any],
) -> TorchFunctionMode:
    """Return a context manager in which `handler(func, args, kwargs)` stands for each PyTorch call.

    The handler runs the function itself, usually by `func(*args, **kwargs)`, and returns what the
    caller gets. It sees every spelling of an operation: `F.relu(x)`, `x.relu_()`, `nn.ReLU()(x)`.
    Inside the handler nothing is intercepted. When the block ends, nothing is left behind.
    """
    return _Intercept(handler)


@contextmanager
def capture_layer(model: nn.Module, layer: str | nn.Module | None = None) -> Iterator[list[Tensor]]:
    """Keep what one layer returned while the model ran: a list with one tensor, its last output.

    `layer`: a module of the model or its dotted name; the tensor is kept as the module returned
    it, before any later in-place step. None: the last convolutional feature map (N, K, h, w),
    found by watching the forward pass: the last 4-D tensor of the same height and width as the
    output of the last convolution that has more than one place. So batch normalisation, ReLU, a
    residual sum or a concatenation after the last convolution are included, and pooling is not.

    Raises ValueError for a layer that the model does not have, that does not run, or that does
    not return one tensor, and, without a layer, if no convolution is seen.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: got {type(model).__name__}; allowed is a torch.nn.Module.")
    seen: list[Any] = []

    class LastMap(TorchFunctionMode):
        def __init__(self, seen: list[Any]) -> None:
            super().__init__()
            self.seen = seen
            self.size: torch.Size | None = None

        def __torch_function__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.ndim == 4:
                if func is F.conv2d and out.shape[2:].numel() > 1:
                    self.size = out.shape[2:]
                if out.shape[2:] == self.size:
                    self.seen[:] = [out]
            return out

    if layer is None:  # watching takes time, so it begins when one of the last convolutions runs
        last = [module for module in model.modules() if isinstance(module, nn.Conv2d)][-4:]
        with ExitStack() as stack:
            begun: list[Any] = [] if last else [stack.enter_context(LastMap(seen))]

            def begin(_module: nn.Module, _inputs: Any) -> None:
                if not begun:
                    begun.append(stack.enter_context(LastMap(seen)))

            for convolution in last:
                stack.enter_context(convolution.register_forward_pre_hook(begin))
            yield seen
        if not seen:
            raise ValueError("layer: no convolution was seen in the forward pass; name a layer.")
        return

    modules = dict(model.named_modules(remove_duplicate=False))
    module = modules.get(layer) if isinstance(layer, str) else layer
    if not isinstance(module, nn.Module) or all(module is not m for m in modules.values()):
        near = get_close_matches(str(layer), modules, n=5, cutoff=0.3)
        raise ValueError(
            f"layer: got {layer!r}; allowed is a module of the model or its name in "
            f"model.named_modules(){', such as ' + ', '.join(near) if near else ''}."
        )

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        seen[:] = [output]  # a module that runs several times counts with its last run
        return output.clone() if isinstance(output, Tensor) else output

    with module.register_forward_hook(keep):
        yield seen
    if not seen or not isinstance(seen[0], Tensor):
        came = f"returns {type(seen[0]).__name__}" if seen else "does not run in the forward pass"
        raise ValueError(f"layer: {layer!r} {came}; allowed is one that returns a tensor.")


def relu_upper_bound(func: Any, args: Any, kwargs: Any) -> float | None:
    """Return where a call's values end if it is a ReLU: infinity, 6 of a ReLU6; None if it is none.

    Tried on three numbers, so every spelling is known: relu, relu6, hardtanh from 0, clamp and
    threshold at 0 (a clamp from 0 to another end than 6 is no ReLU), in place or not.
    """
    name = getattr(func, "__name__", "").strip("_")
    if name not in ("clamp", "clamp_min", "clip", "hardtanh", "relu", "relu6", "threshold"):
        return None
    options = {key: value for key, value in kwargs.items() if key != "input"}
    if any(isinstance(end, Tensor) for end in [*args[1:], *options.values()]):
        return None
    low, middle, top = func(torch.tensor([-1.0, 0.5, torch.inf]), *args[1:], **options).tolist()
    is_relu = low == 0 and middle == 0.5 and (name[:2] != "cl" or top in (6, torch.inf))
    return float(top) if is_relu else None


class BiasTracer(TorchFunctionMode):
    """Note every constant that a forward pass adds: biases, batch statistics, ceilings of ReLU6.

        with AddedConstants(model) as constants:
            logits = model(x)
        constants.found  # one `Constant` each: its name, its value, and where it is added

    With the gates of its ReLUs and max-pools fixed, a network is linear but for these, so

        logit = ⟨∂ logit / ∂ x, x⟩ + Σ over constants of ⟨∂ logit / ∂ its place, its value⟩

    exactly. Seen are the biases of convolutions and linear layers, batch normalisation, sums and
    differences with a constant, and the ends of ReLU6, Hardtanh and clamp. Whoever relies on this
    is to check the equation: it fails for a network that is not piecewise linear.
    """

    class Constant(NamedTuple):
        """One constant.

        `name`: its parameter's in the model, if it has one, otherwise the operation's. `edge`:
        where it is added, to hand to `torch.autograd.grad`. `value`: broadcasts to the tensor
        there, (N, K, h, w) or (N, F).
        """

        name: str
        edge: GradientEdge
        value: Tensor

    def __init__(self, model: nn.Module) -> None:
        """Take the names of the model's parameters and buffers."""
        super().__init__()
        self.found: list[BiasTracer.Constant] = []
        is_module = isinstance(model, nn.Module)
        named = chain(model.named_buffers(), model.named_parameters()) if is_module else ()
        self._names = {id(tensor): name for name, tensor in named}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, and note the constant in what it gives."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if isinstance(out, Tensor) and out.grad_fn is not None:
            owner, value = self._constant(func, dict(enumerate(args)) | kwargs, out)
            if value is not None:
                name = self._names.get(id(owner), getattr(func, "__name__", "?").strip("_"))
                self.found.append(self.Constant(name, get_gradient_edge(out), value.detach()))
        return out

    @staticmethod
    def _constant(func: Any, given: dict[Any, Any], out: Tensor) -> tuple[Any, Tensor | None]:
        """Return the parameter that an operation adds, if it is one, and the constant."""

        def argument(place: int, name: str, default: Any = None) -> Any:
            return given.get(place, given.get(name, default))

        operation = getattr(func, "__name__", "").strip("_")  # add, __iadd__ and add_ are one
        if func in (F.conv2d, F.linear):
            bias = argument(2, "bias")
            if bias is not None:
                return bias, bias if func is F.linear else bias[:, None, None]
        elif func is F.batch_norm:
            mean, variance = argument(1, "running_mean"), argument(2, "running_var")
            weight, bias = argument(3, "weight"), argument(4, "bias")
            slope = (variance + argument(7, "eps", 1e-5)).rsqrt()
            slope = slope if weight is None else slope * weight
            shift = -slope * mean if bias is None else bias - slope * mean
            owner = mean if bias is None else bias
            return owner, shift.view(-1, *[1] * (out.ndim - 2))
        elif operation in ("add", "iadd", "radd", "sub", "isub", "rsub", "subtract"):
            first, other = argument(0, "input"), argument(1, "other")
            sign = -1 if operation in ("sub", "isub", "subtract") else 1  # of the second operand
            for term, scale in ((other, sign * argument(2, "alpha", 1)), (first, 1)):
                if not isinstance(term, Tensor) or (term.grad_fn is None and term is not out):
                    return term, scale * torch.as_tensor(term, dtype=out.dtype, device=out.device)
        elif operation in ("relu6", "hardtanh", "clamp"):
            low, high = (0.0, 6.0) if func is F.relu6 else (-1.0, 1.0)
            if func is not F.relu6:
                clamp = operation == "clamp"
                low = argument(1, "min" if clamp else "min_val", None if clamp else low)
                high = argument(2, "max" if clamp else "max_val", None if clamp else high)
            ends = [end * (out == end).to(out) for end in (low, high) if end]
            return None, sum(ends[1:], ends[0]) if ends else None
        return None, None
