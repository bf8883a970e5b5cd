"""What every explainer does first and last: check its arguments, and bring a map to full size."""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from xai_course.core.checks import check_count
from xai_course.core.hooks import check_is_module, without_interception
from xai_course.core.outputs import SingleOutput, output_kind
from xai_course.core.tensors import check_plain

__all__ = [
    "check_added_rows",
    "check_images",
    "check_model",
    "check_one_each",
    "no_derivative",
    "run_model",
    "upsample_keep_sum",
    "validate_all_logits",
    "validate_inputs",
]


def validate_inputs(
    model: nn.Module, images: Tensor, targets: Any = None, *, batch_size: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Check the arguments of an explainer, run the model once, and choose the logit to explain.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), finite, of the model's dtype and device.
        targets: class indices (N,), one index for all, or None for the predicted class.
        batch_size: images in one forward pass; None runs all at once.

    Returns:
        x: a copy of the images (N, C, H, W), without history. It requires a gradient if gradients
            are on.
        chosen: the logits to explain (N,).
        classes: their indices (N,).

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.core import validate_inputs
        >>> model = nn.Flatten().eval()  # its logits are its pixels
        >>> x, chosen, classes = validate_inputs(model, torch.arange(4.0).view(1, 1, 2, 2))
        >>> chosen.tolist(), classes.tolist()
        ([3.0], [3])
    """
    x, logits, classes = validate_all_logits(model, images, targets, batch_size=batch_size)
    return x, logits.gather(1, classes[:, None])[:, 0], classes


def validate_all_logits(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    batch_size: int | None = None,
    probabilities: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `validate_inputs` does, and return the logits of all classes.

    Args:
        model: as for `validate_inputs`, and so are `images`, `targets` and `batch_size`.
        images: (N, C, H, W).
        targets: the classes.
        batch_size: images in one forward pass.
        probabilities: whether the caller makes probabilities of the logits. Then a model that
            returns probabilities is refused; else it gives a warning.

    Returns:
        A copy of the images (N, C, H, W), the logits (N, classes), and the class indices (N,).

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass; of a model that was not seen before, the first and the last image also run
        alone.
    """
    check_model(model)
    check_images(images)
    if batch_size is not None:
        batch_size = check_count("batch_size", batch_size)
    x = images.detach().clone().requires_grad_(torch.is_grad_enabled())
    kinds, key = _seen(model)
    is_new = key not in kinds
    ends = sorted({0, len(x) - 1}) if is_new else []
    alone = {n: _alone(model, x, n) for n in ends}  # logits, and what kind they are
    logits = _logits(model, x, int(batch_size or len(x)))
    for n, (alone_logits, _) in alone.items():
        _check_alone(model, x, n, alone_logits, logits[n : n + 1])
    if isinstance(model, SingleOutput):
        _check_function(model, x, logits, is_new)
    if is_new:
        kinds[key] = alone[0][1]
    _check_kind(logits, kinds[key], probabilities)
    return x, logits, _classes(targets, logits)


# What kind of output a model has, for each model of which it was measured that it treats each image
# alone. Both cost a pass of one image, so they are measured once.
_KINDS: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
# The same for each function of a model's output.
_KINDS_OF_FUNCTIONS: WeakKeyDictionary[nn.Module, WeakKeyDictionary[Any, str]] = WeakKeyDictionary()


def _seen(model: nn.Module) -> tuple[WeakKeyDictionary[Any, str], Any]:
    """Return where the kind of a model's output is kept, and under what.

    The network that stands for a model and a function is made anew at each call.
    """
    if not isinstance(model, SingleOutput):
        return _KINDS, model
    try:
        ref(model.function)
        hash(model.function)
    except TypeError:  # an object that cannot be a key
        return _KINDS, model
    kinds = _KINDS_OF_FUNCTIONS.setdefault(model.module, WeakKeyDictionary())
    return kinds, model.function


def _alone(model: nn.Module, x: Tensor, n: int) -> tuple[Tensor, str]:
    """Return the logits (1, classes) of the n-th image alone, and their `output_kind`."""
    with without_interception():
        # Weights that were made in inference mode cannot be differentiated.
        has_graph = not any(weight.is_inference() for weight in model.parameters())
        with torch.set_grad_enabled(has_graph):
            image = x[n : n + 1].detach().requires_grad_(has_graph)
            try:
                logits = _logits(model, image, 1)
            except Exception:
                if len(x) == 1:
                    raise
                # An exported or traced model may take no other number of images than this.
                logits = _logits(model, image.expand_as(x), len(x))[:1]
            return logits.detach(), output_kind(logits)


def _check_alone(model: nn.Module, x: Tensor, n: int, alone: Tensor, among: Tensor) -> None:
    """Raise ValueError if the n-th image has other logits (1, classes) alone than among others."""
    if _are_close([alone], [among.detach()]):
        return
    gap = (alone - among.detach()).abs().max()
    if isinstance(model, SingleOutput) and _treats_alone(model.module, x, n):
        raise ValueError(
            f"targets: got a function whose number for one image changes by {gap:.2g} with the "
            "other images of the batch, or from call to call; must treat each image alone and "
            "without random numbers."
        )
    raise ValueError(
        f"model: got logits of one image that change by {gap:.2g} with the other images of the "
        "batch, or from run to run; must treat each image alone and without random numbers. "
        "Batch statistics, dropout that model.eval() does not turn off, and weights that magnify "
        "rounding from layer to layer do not."
    )


def _are_close(first: list[Tensor], second: list[Tensor]) -> bool:
    """Tell whether tensors agree as well as two runs of a network do."""
    if [one.shape for one in first] != [one.shape for one in second]:
        return False
    for one, other in zip(first, second, strict=True):
        is_cpu = one.device.type == "cpu"  # elsewhere kernels depend more on the number of images
        tolerance = max(1e-3 if is_cpu else 1e-2, 10 * torch.finfo(other.dtype).eps)
        if not ((one - other).abs() <= tolerance * other.abs().max()).all():
            return False
    return True


def _treats_alone(model: nn.Module, x: Tensor, n: int) -> bool:
    """Tell whether a model returns the same of the n-th image alone as among the others."""
    with without_interception(), torch.no_grad():
        whole, alone = run_model(model, x), run_model(model, x[n : n + 1])
    return _are_close(_numbers_of(alone, 0, 1), _numbers_of(whole, n, len(x)))


def _numbers_of(output: Any, n: int, count: int) -> list[Tensor]:
    """List the floating-point numbers of the n-th of `count` images in what a model returns."""
    if isinstance(output, Tensor):
        own = output[n : n + 1] if output.ndim and len(output) == count else output
        return [own] if own.is_floating_point() and own.numel() else []
    if isinstance(output, dict):
        return [tensor for one in output.values() for tensor in _numbers_of(one, n, count)]
    if not isinstance(output, list | tuple):
        return []
    if len(output) == count and not isinstance(output[n], Tensor):  # one for each image
        return _numbers_of(output[n], -1, -1)
    return [tensor for one in output for tensor in _numbers_of(one, n, count)]


def _check_function(model: SingleOutput, x: Tensor, values: Tensor, is_new: bool) -> None:
    """Raise ValueError if a function of an output loses the derivative, or mixes its rows.

    `values` (N, 1) are the function's for `x`. Whether it mixes images shows `_check_alone`; for a
    single image the rows of its output and of a made-up one show it.
    """
    is_lost = x.requires_grad and not values.requires_grad
    if not is_lost and not (is_new and len(x) == 1):
        return
    if is_lost:
        _check_derivative_kept(model, x)
    with without_interception(), torch.no_grad():
        output = run_model(model.module, x[:1])
        if len(x) > 1 or not isinstance(output, Tensor) or not output.is_floating_point():
            return
        try:
            mixed = model.function(torch.cat([output, 2 * output + 1]))[:1].to(x.dtype)
        except Exception:  # it may not take such rows
            return
        if not _are_close([mixed], [values.detach()[:, 0]]):
            raise ValueError(
                "targets: got a function whose number for one image changes with the other images "
                "of the batch; must treat each image alone."
            )


def no_derivative(model: nn.Module, images: Tensor) -> ValueError:
    """Return the error for an output without a derivative by the images, which names whose it is.

    Args:
        model: the network, or `single_output` of one.
        images: (N, C, H, W), as it takes them.

    Returns:
        The error, to be raised.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.core import no_derivative, single_output
        >>> model, _ = single_output(nn.Flatten().eval(), lambda y: y[:, 0].detach())
        >>> str(no_derivative(model, torch.ones(1, 1, 2, 2))).partition(" by ")[0]
        'targets: got a function that returns numbers without a derivative'
    """
    try:
        _check_derivative_kept(model, images)
    except ValueError as error:
        return error
    return ValueError(
        "model: got an output without derivative by the images; must be differentiable, without "
        "no_grad, detach or NumPy."
    )


def _check_derivative_kept(model: nn.Module, x: Tensor) -> None:
    """Raise ValueError if a model has a derivative, which the function of its output loses."""
    if not isinstance(model, SingleOutput):
        return
    with without_interception(), torch.enable_grad():
        output = run_model(model.module, x[:1].detach().requires_grad_())
    if any(one.requires_grad for one in _numbers_of(output, 0, 1)):
        raise ValueError(
            "targets: got a function that returns numbers without a derivative by the model's "
            "output; must compute them from it, without no_grad, detach, NumPy or whole numbers."
        )


def _check_kind(logits: Tensor, measured: str, probabilities: bool) -> None:
    """Warn of outputs that are no logits; refuse probabilities of which others would be made."""
    kind = measured if logits.grad_fn is None else output_kind(logits)
    if kind == "probabilities" and probabilities:
        raise ValueError(
            "model: got probabilities; must return logits, without softmax or sigmoid at its end."
        )
    if kind != "logits":
        warnings.warn(
            f"The model returns {kind}, not logits: relevance has their unit. Without its last "
            "softmax or sigmoid it is in logits.",
            stacklevel=4,
        )


def check_model(model: nn.Module) -> None:
    """Check that a model is a module in evaluation mode.

    Args:
        model: the model.

    Raises:
        ValueError: if it is not.
    """
    check_is_module(model)
    with without_interception():  # to look at a weight is no use of it
        for name, weight in model.named_parameters():
            if weight.is_meta:
                raise ValueError(
                    f"model: got weights without values, on the meta device ({name}); must be "
                    "loaded."
                )
    # An exported program does what it did when it was exported; its flag says nothing.
    is_exported = "eval" in vars(getattr(model, "module", model))
    for name, module in model.named_modules():
        # A frozen scripted model has no such flag.
        if getattr(module, "training", False) and not is_exported:
            # There batch normalisation and dropout make an explanation depend on the other images
            # and on random numbers.
            raise ValueError(
                f"model: got training mode ({name or 'all of it'}); must be in evaluation mode: "
                "call model.eval()."
            )
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"model: got batch normalisation by the batch's own statistics ({name}); must have "
                "running ones, so that an image's map does not depend on other images."
            )


def check_one_each(maps: Tensor, count: int) -> None:
    """Check that a model makes one map of each image, and not of several views of it.

    Args:
        maps: what a layer returns, (N, ...).
        count: the number of images N.

    Raises:
        ValueError: if it does not.
    """
    if len(maps) != count:
        raise ValueError(
            f"model: got {len(maps)} maps for {count} images, as if it made several views of each; "
            "must make one map of each image."
        )


def check_added_rows(grad: Tensor, count: int) -> None:
    """Check that a constant was added to one row for each image, so that it has a share of each.

    Args:
        grad: the derivative by the tensor that the constant was added to.
        count: the number of images N.

    Raises:
        ValueError: if that tensor is not (N, ...), such as the windows of a transformer.
    """
    if grad.ndim < 2 or len(grad) != count:
        raise ValueError(
            f"model: got a constant that is added to a tensor {tuple(grad.shape)} for {count} "
            "images, as in attention over windows; must keep one row for each image. Use "
            "integrated_gradients, which needs none."
        )


def check_images(images: Tensor) -> None:
    """Check that images are finite floating-point numbers (N, C, H, W).

    Args:
        images: the images.

    Raises:
        ValueError: if they are not.
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"images: got {type(images).__name__}; must be a tensor (N, C, H, W).")
    check_plain("images", images)
    if images.ndim != 4 or 0 in images.shape:
        hint = " For one image, pass images[None]." if images.ndim == 3 else ""
        raise ValueError(f"images: got shape {tuple(images.shape)}; must be (N, C, H, W).{hint}")
    if not images.is_floating_point():
        raise ValueError(f"images: got {images.dtype}; must be finite floating-point numbers.")
    # The sum shows any NaN or infinite value quickly. As it may overflow, all values decide then.
    if not (images.sum().isfinite() or images.isfinite().all()):
        raise ValueError(
            "images: got NaN or infinite values; must be finite floating-point numbers."
        )


def run_model(model: nn.Module, images: Tensor) -> Any:
    """Run a model on a copy of images, since its first layer may work in place.

    Args:
        model: any network of images.
        images: (N, C, H, W).

    Returns:
        What the model returns.

    Raises:
        ValueError: if the images are not of the model's dtype, device or number of channels.

    Cost:
        One forward pass.
    """
    try:
        return model(images.clone())
    except RuntimeError as error:
        weight = next((p for p in model.parameters() if p.is_floating_point()), images)
        if (weight.dtype, weight.device) == (images.dtype, images.device):
            if "expected input" not in str(error):  # as of a first convolution
                raise
            raise ValueError(
                f"images: got shape {tuple(images.shape)}; must be what the model takes ({error})."
            ) from error
        raise ValueError(
            f"images: got {images.dtype} on {images.device}; must be {weight.dtype} on "
            f"{weight.device}, as the model's weights: images.to(next(model.parameters()))."
        ) from error


def _logits(model: nn.Module, x: Tensor, batch_size: int) -> Tensor:
    """Run a model on images in batches, and check that it returns finite logits (N, classes)."""
    outputs = []
    for batch in torch.split(x, batch_size):
        output = run_model(model, batch)
        if isinstance(output, Tensor):
            check_plain("model", output, "as its output ")
        is_table = isinstance(output, Tensor) and output.ndim == 2 and output.shape[1] > 0
        if not is_table or len(output) != len(batch):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"model: got the output {shape} for a batch of {len(batch)}; must return logits "
                "(N, classes), (N, 1) for a single one."
            )
        outputs.append(output)
    logits = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if not logits.is_floating_point():
        raise ValueError(f"model: got {logits.dtype}; must return floating-point logits.")
    if not (logits.sum().isfinite() or logits.isfinite().all()):
        raise ValueError("model: got NaN or infinite logits; must return finite ones.")
    return logits


def _classes(targets: Any, logits: Tensor) -> Tensor:
    """Return the class index of each image (N,), the predicted one where targets is None."""
    if targets is None:
        return logits.argmax(1)
    count, classes = logits.shape
    must = f"must be None, one class index, or {count} of them, from 0 to {classes - 1}."
    if callable(targets):
        raise ValueError(f"targets: got a function, which this method does not take; {must}")
    try:
        indices = torch.as_tensor(targets).to(logits.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"targets: got {targets!r}; {must}") from error
    if indices.dtype == torch.bool or indices.is_floating_point() or indices.is_complex():
        raise ValueError(f"targets: got {indices.dtype}; {must}")
    if indices.ndim and indices.shape != (count,):
        raise ValueError(f"targets: got shape {tuple(indices.shape)}; {must}")
    indices = indices.long().expand(count)
    wrong = indices[(indices < 0) | (indices >= classes)]
    if len(wrong):
        raise ValueError(f"targets: got {int(wrong[0])}; {must}")
    return indices


def upsample_keep_sum(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge maps by bilinear interpolation, and keep their sums.

        Σ over H·W of the result = Σ over h·w of the map

    Each value is spread over the pixels around its position, in the shares that the interpolation
    gives them, so relevance in logits stays in logits. Where a map is larger than the result, the
    positions that share a pixel are added up.

    Args:
        maps: (N, K, h, w).
        size: (H, W), of the result.

    Returns:
        Maps (N, K, H, W), in the maps' unit.

    Example:
        >>> import torch
        >>> from xai_course.core import upsample_keep_sum
        >>> upsample_keep_sum(torch.tensor([[[[1.0, 8.0]]]]), (2, 4)).sum()
        tensor(9.)
    """
    if maps.shape[2:] == size:
        return maps
    rows = _shares(maps.shape[2], size[0], maps)  # (h, H)
    columns = _shares(maps.shape[3], size[1], maps)  # (w, W)
    return rows.T @ maps @ columns


def _shares(positions: int, pixels: int, like: Tensor) -> Tensor:
    """Return the share of each position that each pixel gets: (positions, pixels)."""
    one_hot = torch.eye(positions, dtype=like.dtype, device=like.device)
    if positions > pixels:
        shares = one_hot[:, :pixels].zero_()
        for position in range(positions):
            shares[position, position * pixels // positions] = 1
    else:
        shares = F.interpolate(one_hot[None], pixels, mode="linear", align_corners=False)[0]
    return shares / shares.sum(1, keepdim=True)
