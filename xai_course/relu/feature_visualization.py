"""Feature visualisation: images that make a channel or a logit large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
from xai_course.core.graph import derivatives
from xai_course.core.hooks import capture_layer
from xai_course.core.inputs import validate_inputs
from xai_course.core.progress import progress_bar
from xai_course.core.randomness import new_generator
from xai_course.core.switches import own_switches

__all__ = ["feature_visualization"]


@own_switches(grad=True)
def feature_visualization(
    model: nn.Module,
    targets: int | Sequence[int] | Tensor,
    *,
    layer: str | nn.Module | None = None,
    position: tuple[int, int] | None = None,
    size: tuple[int, int] = (64, 64),
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    steps: int = 256,
    learning_rate: float = 0.01,
    decay: float = 1.0,
    jitter: int = 4,
    total_variation: float = 0.0,
    seed: int = 0,
    progress: bool = False,
) -> Tensor:
    """Return, for each target, an image that was changed step by step to make the target large.

        pixels  = sigmoid(Σ over frequencies of a[frequency] · wave / |frequency|^decay)
        maximise  y(shift((pixels - mean) / std)) - total_variation · TV(pixels)  over a, by Adam

    y is a channel of the layer, as its mean over positions or at one position, or a logit. Each
    step shifts all images by the same random number of pixels, so that what is found does not
    depend on its exact place. The optimisation starts from noise around grey.

    The image says what makes y large, not what y responds to in photographs: it usually drives y
    far beyond any value that a photograph reaches, and a network can be built whose images show
    anything (`xai_course.experiments.forged_visualization`). Hold it beside real images.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        targets: K channels of the layer, or K classes where no layer is given; or one of them.
        layer: a module of the model or its dotted name, with an output (N, channels, h, w) or
            (N, channels). None for the logits.
        position: row and column in the layer's map. None for the mean over all positions.
        size: height and width of the images in pixels.
        mean: of the network's input, for each colour channel, in pixels from 0 to 1. By default,
            and with the default `std`, the network takes pixels as they are.
        std: likewise.
        steps: of the optimisation. 0 returns the starting image.
        learning_rate: of Adam.
        decay: how much high frequencies are slowed down. 0 treats all alike, which makes noise.
        jitter: the largest shift in pixels, down and across. What leaves on one side enters on the
            other.
        total_variation: weight of the mean absolute difference of neighbouring pixels.
        seed: of the starting image and of the shifts, which are the same for all targets.
        progress: show a bar of progress.

    Returns:
        Images (K, C, H, W) in pixels from 0 to 1, C = len(mean). A target whose derivative is 0 at
        the start, as of a ReLU that no step opens, keeps its starting image.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward and one backward pass of K images for each step.

    References:
        Erhan, Bengio, Courville, Vincent: Visualizing Higher-Layer Features of a Deep Network.
        University of Montreal, technical report 1341, 2009.
        Olah, Mordvintsev, Schubert: Feature Visualization. Distill 2017.
        Geirhos, Zimmermann, Bilodeau, Brendel, Kim: Don't trust your eyes: on the (un)reliability
        of feature visualizations. ICML 2024, arXiv:2306.04719.

    Example:
        A logit that adds up the red channel and subtracts the blue one.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import feature_visualization
        >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1)).eval()
        >>> model[2].weight.data = torch.tensor([[1.0, 0.0, -1.0]])
        >>> pixels = feature_visualization(model, 0, size=(8, 8), steps=400)
        >>> pixels.mean((2, 3)).round(decimals=1)  # red, green as it was, no blue
        tensor([[0.9000, 0.5000, 0.1000]])
    """
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    height, width = _check_size(size)
    mean_pixel, std_pixel = (_per_channel(name, value, weight) for name, value in
                             (("mean", mean), ("std", std)))  # fmt: skip
    if mean_pixel.shape != std_pixel.shape or not (std_pixel > 0).all():
        raise ValueError(f"std: got {std!r}; must be a number above 0 for each of mean's.")
    steps, jitter = check_count("steps", steps, least=0), check_count("jitter", jitter, least=0)
    check_number("learning_rate", learning_rate, above=0)
    check_number("decay", decay, least=0)
    check_number("total_variation", total_variation, least=0)
    if position is not None and layer is None:
        raise ValueError(f"position: got {position!r}; must be left out without a layer.")
    generator = new_generator(seed)

    spectrum = torch.randn(
        (1, mean_pixel.shape[1], height, width // 2 + 1, 2), dtype=torch.double, generator=generator
    )
    scale = _frequency_scale(height, width, decay)
    shifts = torch.randint(-jitter, jitter + 1, (steps, 2), generator=generator).tolist()
    spectrum, scale = (0.01 * spectrum).to(weight), scale.to(weight)

    def pixels() -> Tensor:
        waves = torch.view_as_complex(spectrum * scale)
        image: Tensor = torch.fft.irfft2(waves, s=(height, width), norm="ortho")
        return image.sigmoid()

    def outputs(images: Tensor) -> Tensor:
        """Return the layer's outputs, or the logits, (K, channels)."""
        if layer is None:
            logits: Tensor = model(images)
            return logits
        with capture_layer(model, layer) as captured:
            model(images)
        return _channels(captured[0], position, repr(layer))

    normalised = (pixels() - mean_pixel) / std_pixel
    validate_inputs(model, normalised)
    chosen = _check_targets(targets, outputs(normalised).shape[1]).to(weight.device)
    spectrum = spectrum.repeat(len(chosen), 1, 1, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([spectrum], lr=learning_rate)
    for shift in progress_bar(shifts, "feature visualisation", progress):
        images = pixels()
        shifted = ((images - mean_pixel) / std_pixel).roll(shift, (2, 3))
        value = outputs(shifted).gather(1, chosen[:, None]).sum()
        if not value.requires_grad:
            raise ValueError("layer: got one without a derivative; must depend on the image.")
        value = value - total_variation * _total_variation(images).sum()
        (spectrum.grad,) = derivatives(value, spectrum)
        spectrum.grad.neg_()  # Adam minimises
        optimizer.step()
    return pixels().detach()


def _frequency_scale(height: int, width: int, decay: float) -> Tensor:
    """Return 1 / |frequency|^decay for a spectrum (height, width // 2 + 1, 1), largest 1 pixel."""
    rows = torch.fft.fftfreq(height, dtype=torch.double)[:, None]
    columns = torch.fft.rfftfreq(width, dtype=torch.double)
    frequency = (rows**2 + columns**2).sqrt()  # in waves per pixel
    least = 1 / max(height, width)  # the longest wave; the mean colour counts as one
    scale: Tensor = frequency.clamp_min(least)[..., None] ** -decay
    return scale


def _channels(output: Tensor, position: tuple[int, int] | None, layer: str) -> Tensor:
    """Return a layer's output as one number for each image and channel (K, channels)."""
    if output.ndim == 2 and position is None:
        return output
    if output.ndim != 4:
        must = "(N, channels, h, w)" + (" or (N, channels)" if position is None else "")
        raise ValueError(
            f"layer: got {layer}, which returns {tuple(output.shape)}; must return {must}."
        )
    if position is None:
        return output.mean((2, 3))
    height, width = output.shape[2:]
    try:
        row, column = position
        row = check_count("position", row, least=0, most=height - 1)
        column = check_count("position", column, least=0, most=width - 1)
    except (TypeError, ValueError):
        raise ValueError(
            f"position: got {position!r}; must be a row below {height} and a column below {width}."
        ) from None
    return output[:, :, row, column]


def _check_size(size: Any) -> tuple[int, int]:
    """Return a height and a width; raise ValueError unless they are whole numbers from 2."""
    try:
        height, width = size
        return check_count("size", height, least=2), check_count("size", width, least=2)
    except (TypeError, ValueError):
        raise ValueError(f"size: got {size!r}; must be height and width, from 2 pixels.") from None


def _per_channel(name: str, value: Any, like: Tensor) -> Tensor:
    """Return one finite number for each colour channel as (1, C, 1, 1)."""
    try:
        numbers = torch.as_tensor(value, dtype=torch.double)
    except (TypeError, ValueError, RuntimeError):
        numbers = torch.zeros(())
    if numbers.ndim != 1 or not len(numbers) or not numbers.isfinite().all():
        raise ValueError(f"{name}: got {value!r}; must be a finite number for each colour channel.")
    return numbers.view(1, -1, 1, 1).to(like)


def _check_targets(targets: Any, channels: int) -> Tensor:
    """Return the targets as indices (K,); raise ValueError unless they are channels."""
    must = f"must be an index from 0 to {channels - 1}, or several."
    try:
        indices = torch.as_tensor(targets).flatten()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"targets: got {targets!r}; {must}") from None
    is_index = not (indices.is_floating_point() or indices.is_complex())
    if not is_index or indices.dtype == torch.bool or not len(indices):
        raise ValueError(f"targets: got {targets!r}; {must}")
    if not ((indices >= 0) & (indices < channels)).all():
        raise ValueError(f"targets: got {targets!r}; {must}")
    return indices.long()


def _total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels of each image (K,)."""
    down, across = images.diff(dim=2).abs(), images.diff(dim=3).abs()
    return down.mean((1, 2, 3)) + across.mean((1, 2, 3))
