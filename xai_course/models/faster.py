"""A copy of a network that gives the same explanations in less time."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xai_course.core.hooks import function_name, intercept
from xai_course.core.inputs import check_images, check_model, run_model
from xai_course.core.switches import own_switches

__all__ = ["faster"]


@own_switches(grad=False)
def faster(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of a network for explaining: the same function and maps, in less time.

    Each batch normalisation that follows a convolution is folded into its weights, the weights are
    frozen, and convolutions keep their values channel by channel in memory (`channels_last`). The
    copy is compared with the model. The layers keep their names; a folded normalisation is an
    `nn.Identity`. To train, or to draw new weights (`reinitialised`), take the original.

    Left as they are: layers of a class of one's own or in scripted parts, layers with hooks, and
    convolutions whose weight is computed (`torch.nn.utils.parametrize`). A convolution of a class
    of one's own is folded like any other, if it only pads and convolves, with one image like
    `images` and with two of half, the same and twice the size. Other sizes are not tried.

    Args:
        model: a network in evaluation mode.
        images: (N, C, H, W), a few that the model takes. They show which layers follow which.

    Returns:
        The copy. Its attribute `folded` lists the names of the folded normalisations.

    Raises:
        ValueError: if an argument is not as described, if the model is scripted or cannot be
            copied, or if the copy does not return what the model returns, up to the rounding of
            its dtype.

    Cost:
        Three forward passes, once. What is saved is in the README's table of times.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.models import faster
        >>> layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()
        >>> model, images = nn.Sequential(*layers, nn.Linear(288, 2)).eval(), torch.rand(2, 3, 8, 8)
        >>> copied = faster(model, images)
        >>> copied.folded, torch.allclose(copied(images), model(images), atol=1e-6)
        (['1'], True)
    """
    check_model(model)
    check_images(images)
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            "model: got a scripted model, whose layers cannot be folded; must be plain modules, as "
            "before torch.jit."
        )
    expected = _numbers(run_model(model, images))
    if not any(one.numel() for one in expected):
        shapes = ", ".join(str(tuple(one.shape)) for one in expected) or "without a tensor"
        raise ValueError(f"model: got the output {shapes}; must return numbers.")
    if not all(bool(one.isfinite().all()) for one in expected):
        raise ValueError("model: got NaN or infinite outputs; must return finite ones.")
    quick = _copied(model)
    earlier = getattr(model, "folded", None) or []  # the model may be such a copy itself
    quick.folded = [*earlier, *_fold_norms(quick, images)]  # type: ignore[assignment]
    for weight in (*quick.parameters(), *quick.buffers()):
        weight.requires_grad_(False)
        if weight.ndim == 4:  # only these can have the layout
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    try:
        found = _numbers(quick(images.clone()))
    except (AttributeError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"model: got one whose copy does not run ({type(error).__name__}: {error}), as if a "
            "batch normalisation were also used in another way; must be explained as it is."
        ) from error
    gap, allowed = _gap(found, expected), 1000 * torch.finfo(images.dtype).eps * _largest(expected)
    if not gap <= allowed:
        if not _gap(_numbers(model(images.clone())), expected) <= allowed:
            raise ValueError(
                "model: got other outputs in a second run on the same images; must repeat them."
            )
        raise ValueError(
            f"model: got one whose copy differs by {gap:.1g}, as if a normalised convolution were "
            "used elsewhere, too; must be explained as it is."
        )
    return quick


def _copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model, or say why there is none."""
    try:
        return copy.deepcopy(model)
    except Exception as error:  # another's modules may raise anything
        raise ValueError(
            f"model: got one that copy.deepcopy refuses ({type(error).__name__}: {error}); must be "
            "one that can be copied: after pruning or weight_norm, make each weight a plain "
            "parameter (prune.remove, remove_weight_norm)."
        ) from error


def _fold_norms(model: nn.Module, images: Tensor) -> list[str]:
    """Fold batch normalisations into the convolutions before them, and return their names."""
    names: dict[nn.Module, list[str]] = {}  # a module may have several
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    # Of each convolution that ran: its output, and how often that had been changed in place.
    outputs: list[tuple[nn.Module, Tensor, int]] = []
    shapes: dict[nn.Module, torch.Size] = {}  # of what each convolution gets
    before: dict[nn.Module, list[nn.Module | None]] = {}  # what each normalisation followed

    def after(module: Any, inputs: Any, named: Any, output: Any) -> None:
        x = inputs[0] if inputs else next(iter(named.values()), None)
        if isinstance(x, Tensor) and isinstance(output, Tensor):  # a class of one's own may differ
            outputs.append((module, output, output._version))
            shapes[module] = x.shape

    def ahead(norm: Any, inputs: Any, named: Any) -> None:
        x = inputs[0] if inputs else named["input"]
        found = [module for module, y, version in outputs if y is x and x._version == version]
        before.setdefault(norm, []).append(found[0] if found else None)

    with ExitStack() as stack:
        for module in names:
            if isinstance(module, nn.Conv2d) and _has_plain_weight(module):
                stack.enter_context(module.register_forward_hook(after, with_kwargs=True))
            elif type(module) in (nn.BatchNorm2d, nn.SyncBatchNorm) and _has_plain_weight(module):
                stack.enter_context(module.register_forward_pre_hook(ahead, with_kwargs=True))
        # A compiled model runs uncompiled here: compiled code calls no hooks.
        stack.enter_context(intercept(lambda func, args, kwargs: func(*args, **kwargs)))
        model(images.clone())
    ran = [module for module, *_ in outputs]
    folded = []
    for norm, convolutions in before.items():
        convolution = convolutions[0]
        if convolution is None or len(convolutions) > 1 or ran.count(convolution) > 1:
            continue  # a layer that runs twice has two tasks
        fused: nn.Module = fuse_conv_bn_eval(convolution, norm)  # type: ignore[type-var, arg-type]
        if type(fused) is not nn.Conv2d and not _only_convolves(
            fused, images.new_zeros(1, *shapes[convolution][1:])
        ):
            continue
        for old, new in ((convolution, fused), (norm, nn.Identity().eval())):
            for name in names[old]:
                parent, _, own = name.rpartition(".")
                setattr(model.get_submodule(parent), own, new)
        folded.append(names[norm][0])
    return folded


def _has_plain_weight(module: nn.Module) -> bool:
    """Tell whether a module has a plain weight, and nobody's hooks or `forward`, which do more.

    A weight that is computed at each run, as by `torch.nn.utils.parametrize`, is no parameter of
    its module.
    """
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    is_changed = "forward" in vars(module) or any(hooks)
    return "weight" in module._parameters and not is_changed


def _only_convolves(layer: Any, x: Tensor) -> bool:
    """Tell whether a layer of a class of one's own pads and convolves with its weight: no more.

    It is tried on `x` (1, C, h, w), and on two images of half, the same and twice the size, which
    it may refuse. What it looks at besides is their shape: no value of them.
    """
    shapes = [[max(1, int(share * side)) for side in x.shape[2:]] for share in (0.5, 1, 2)]
    others = [_steps(layer, x.new_zeros(2, x.shape[1], *shape)) for shape in shapes]
    allowed = (["conv2d"], ["pad", "conv2d"])
    return _steps(layer, x) in allowed and all(made in (None, *allowed) for made in others)


def _steps(layer: Any, x: Tensor) -> list[str] | None:
    """List the steps by which a layer makes a tensor of x; None if it raises an error.

    "another" is any but padding and the convolution with its own weight and bias.
    """
    now: Any = x  # what has become of x
    steps: list[str] = []

    def follow(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal now
        out = func(*args, **kwargs)
        if not isinstance(out, Tensor):
            is_shape = isinstance(out, (torch.Size, int)) and not isinstance(out, bool)
            steps.extend([] if is_shape else ["another"])
            return out
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        name = function_name(func)
        is_own = name == "pad" or (
            name == "conv2d"
            and given.get("weight") is layer.weight
            and given.get("bias") is layer.bias
        )
        steps.append(name if is_own and given["input"] is now else "another")
        now = out
        return out

    try:
        with intercept(follow):
            y = layer(x)
    except Exception:  # a class of one's own may raise anything, as in a run on one image
        return None
    return steps if y is now else ["another"]


def _numbers(output: Any) -> list[Tensor]:
    """List the floating-point tensors of a model's output: itself, or those of a table or a list.

    Whole numbers and truth values are decisions, which rounding may turn round at a tie.
    """
    if isinstance(output, Tensor):
        return [output.detach()] if output.is_floating_point() else []
    if not isinstance(output, (dict, list, tuple)):
        return []
    inside = output.values() if isinstance(output, dict) else output
    return [tensor for one in inside for tensor in _numbers(one)]


def _largest(tensors: list[Tensor]) -> float:
    """Return the largest absolute value of tensors."""
    return max(float(one.abs().max()) for one in tensors if one.numel())


def _gap(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest difference; infinity where there are other numbers of them."""
    if [one.shape for one in found] != [one.shape for one in expected]:
        return float("inf")
    return _largest([a - b for a, b in zip(found, expected, strict=True)])
