"""A copy of a network that gives the same explanations in less time."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xai_course.core.inputs import check_images, check_model
from xai_course.core.switches import own_switches

__all__ = ["faster"]


@own_switches(grad=False)
def faster(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of a network for explaining: the same function and maps, in less time.

    Each batch normalisation that follows a convolution is folded into its weights, the weights are
    frozen, and convolutions keep their values channel by channel in memory (`channels_last`). The
    copy is compared with the model. The layers keep their names; a folded normalisation is an
    `nn.Identity`. To train, or to draw new weights (`reinitialised`), take the original.

    Args:
        model: a network in evaluation mode.
        images: (N, C, H, W), a few that the model takes. They show which layers follow which.

    Returns:
        The copy. Its attribute `folded` lists the names of the folded normalisations.

    Raises:
        ValueError: if an argument is not as described, or if the copy does not return what the
            model returns, up to the rounding of its dtype.

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
    quick = copy.deepcopy(model)
    quick.folded = _fold_norms(quick, images)  # type: ignore[assignment]
    quick.requires_grad_(False).to(memory_format=torch.channels_last)
    expected, found = (_tensors(each(images.clone())) for each in (model, quick))
    if not any(one.numel() for one in expected):
        shapes = ", ".join(str(tuple(one.shape)) for one in expected)
        raise ValueError(f"model: got the output {shapes}; must return numbers.")
    scale = max(float(one.abs().max()) for one in expected if one.numel())
    pairs = zip(found, expected, strict=True)
    gap = max(float((a - b).abs().max()) for a, b in pairs if b.numel())
    if not gap <= 1000 * torch.finfo(images.dtype).eps * scale:
        raise ValueError(
            f"model: got one whose copy differs by {gap:.1g}, as if a normalised convolution were "
            "used elsewhere, too; must be explained as it is."
        )
    return quick


def _fold_norms(model: nn.Module, images: Tensor) -> list[str]:
    """Fold batch normalisations into the convolutions before them, and return their names."""
    names = {module: name for name, module in model.named_modules()}
    # Of each convolution that ran: its output, and how often that had been changed in place.
    outputs: list[tuple[nn.Conv2d, Tensor, int]] = []
    before: dict[_BatchNorm, list[nn.Conv2d | None]] = {}  # what each normalisation followed

    def after(module: Any, _inputs: Any, output: Tensor) -> None:
        outputs.append((module, output, output._version))

    def ahead(norm: Any, inputs: Any) -> None:
        x = inputs[0]
        found = [module for module, y, version in outputs if y is x and x._version == version]
        before.setdefault(norm, []).append(found[0] if found else None)

    with ExitStack() as stack:
        for module in names:
            if isinstance(module, nn.Conv2d):
                stack.enter_context(module.register_forward_hook(after))
            elif isinstance(module, _BatchNorm):
                stack.enter_context(module.register_forward_pre_hook(ahead))
        model(images.clone())
    ran = [module for module, *_ in outputs]
    folded = []
    for norm, convolutions in before.items():
        convolution = convolutions[0]
        if convolution is None or len(convolutions) > 1 or ran.count(convolution) > 1:
            continue  # a layer that runs twice has two tasks
        fused = fuse_conv_bn_eval(convolution, norm)
        for name, new in ((names[convolution], fused), (names[norm], nn.Identity().eval())):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, new)
        folded.append(names[norm])
    return folded


def _tensors(output: Any) -> list[Tensor]:
    """List the tensors of a model's output: itself, or those of a table or a list."""
    if isinstance(output, Tensor):
        return [output]
    inside = output.values() if isinstance(output, dict) else output
    return [tensor for one in inside for tensor in _tensors(one)]
