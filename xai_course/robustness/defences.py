"""Defences that change an image before the network sees it, and how an attacker answers them.

A defence is a function from pixels (N, C, H, W) in [0, 1] to pixels. `DefendedModel` in
`xai_course.models` puts it in front of a network of normalised images, so that explainers and
attacks run through both. `bit_depth` and `jpeg` have no useful derivative, which stops an attacker
who does not know better; `straight_through` gives them one, for JPEG that of `smooth_jpeg`.
"""

from __future__ import annotations

import io
from functools import wraps

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from xai_course.core.checks import check_count, check_number
from xai_course.data.transforms import check_image_batch
from xai_course.models.wrappers import Defence

__all__ = ["bit_depth", "blur", "jpeg", "random_resize", "smooth_jpeg", "straight_through"]


def straight_through(defence: Defence, like: Defence | None = None) -> Defence:
    """Return a defence with the same values and the derivative of another function.

        forward: defence(pixels)      backward: ∂ like(pixels) / ∂ pixels

    The derivative of a defence that changes images little is nearly that of the identity. So an
    attacker, or an explainer, goes forward through the defence and backward past it (backward pass
    differentiable approximation, BPDA).

    Args:
        defence: a function from pixels (N, C, H, W) to pixels.
        like: a differentiable function that does nearly the same, for a stronger attack; None for
            the identity.

    Returns:
        A function from pixels (N, C, H, W) to pixels.

    Raises:
        ValueError: if `defence` or `like` is not a function.

    Cost:
        One call of `defence`, and one of `like`.

    References:
        Athalye, Carlini, Wagner: Obfuscated Gradients Give a False Sense of Security. ICML 2018,
        arXiv:1802.00420.

    Example:
        >>> import torch
        >>> from xai_course.robustness import bit_depth, straight_through
        >>> pixels = torch.tensor([0.2, 0.9]).view(1, 1, 1, 2).requires_grad_()
        >>> torch.autograd.grad(bit_depth(pixels).sum(), pixels)[0].flatten()
        tensor([0., 0.])
        >>> torch.autograd.grad(straight_through(bit_depth)(pixels).sum(), pixels)[0].flatten()
        tensor([1., 1.])
    """
    functions = {"defence": defence} if like is None else {"defence": defence, "like": like}
    for name, function in functions.items():
        if not callable(function):
            got = type(function).__name__
            raise ValueError(f"{name}: got {got}; must be a function of pixels (N, C, H, W).")

    @wraps(defence)
    def passed(pixels: Tensor) -> Tensor:
        smooth = pixels if like is None else like(pixels)
        return smooth + (defence(pixels) - smooth).detach()

    return passed


def blur(pixels: Tensor, sigma: float = 0.5) -> Tensor:
    """Blur images by a Gaussian, with a mirrored border.

    Args:
        pixels: (N, C, H, W), floating point.
        sigma: the standard deviation of the Gaussian in pixels, at most a quarter of the image.

    Returns:
        Blurred pixels (N, C, H, W).

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> import torch
        >>> from xai_course.robustness import blur
        >>> dot = torch.zeros(1, 1, 9, 9)
        >>> dot[..., 4, 4] = 1
        >>> round(blur(dot, sigma=1.0).sum().item(), 4)  # spread, but as bright in all
        1.0
    """
    check_image_batch("pixels", pixels)
    check_number("sigma", sigma, above=0, most=min(pixels.shape[2:]) / 4)
    reach = int(3 * sigma + 0.5)
    distance = torch.arange(-reach, reach + 1, dtype=pixels.dtype, device=pixels.device)
    weights = torch.exp(-distance.square() / (2 * sigma**2))
    kernel = (weights / weights.sum()).expand(pixels.shape[1], 1, 1, -1)  # (C, 1, 1, 2 reach + 1)
    padded = F.pad(pixels, (reach,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel, groups=pixels.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), groups=pixels.shape[1])


def bit_depth(pixels: Tensor, bits: int = 3) -> Tensor:
    """Round pixels to 2^bits levels in [0, 1]. The derivative is 0 everywhere.

        round(pixels · (2^bits - 1)) / (2^bits - 1)

    Args:
        pixels: (N, C, H, W), floating point.
        bits: from 1 to 8.

    Returns:
        Rounded pixels (N, C, H, W).

    Raises:
        ValueError: if an argument is not as described.

    References:
        Xu, Evans, Qi: Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks.
        NDSS 2018, arXiv:1704.01155.

    Example:
        >>> import torch
        >>> from xai_course.robustness import bit_depth
        >>> bit_depth(torch.tensor([0.1, 0.4, 0.9]).view(1, 1, 1, 3), bits=1).flatten()
        tensor([0., 0., 1.])
    """
    check_image_batch("pixels", pixels)
    bits = check_count("bits", bits, most=8)
    steps: int = 2**bits - 1
    return (pixels.clamp(0, 1) * steps).round() / steps


def jpeg(pixels: Tensor, quality: int = 75) -> Tensor:
    """Write images as JPEG and read them back. The derivative is 0 everywhere.

    Args:
        pixels: (N, 3, H, W), floating point.
        quality: Pillow's, from 1 to 95.

    Returns:
        Pixels (N, 3, H, W), as they were read.

    Raises:
        ValueError: if an argument is not as described.

    References:
        Dziugaite, Ghahramani, Roy: A Study of the Effect of JPG Compression on Adversarial Images.
        2016, arXiv:1608.00853.

    Example:
        >>> import torch
        >>> from xai_course.robustness import jpeg
        >>> grey = torch.full((1, 3, 8, 8), 0.5)
        >>> (jpeg(grey) * 255).unique()  # only rounded to whole numbers
        tensor([128.])
    """
    _check_jpeg(pixels, quality)
    values = (pixels.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    decoded = []
    for image in values.permute(0, 2, 3, 1).numpy():  # (H, W, 3)
        with io.BytesIO() as file:
            Image.fromarray(image).save(file, "JPEG", quality=quality)
            decoded.append(np.array(Image.open(file)))
    read = torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).to(pixels) / 255
    return read + 0 * pixels  # a derivative of 0, rather than none


def smooth_jpeg(pixels: Tensor, quality: int = 75) -> Tensor:
    """Change images nearly as JPEG does, by steps that have a derivative.

        B → Dᵀ (q · soft(D B Dᵀ / q)) D        with soft(t) = round(t) + (t - round(t))³

    B is a block of 8 × 8 values of the brightness, or of one of the two colour differences at half
    the size; D is the cosine transform, q JPEG's table of steps for this quality.

    Args:
        pixels: (N, 3, H, W), floating point.
        quality: Pillow's, from 1 to 95.

    Returns:
        Pixels (N, 3, H, W) in [0, 1].

    Raises:
        ValueError: if an argument is not as described.

    References:
        Shin, Song: JPEG-resistant Adversarial Images. NIPS 2017 Workshop on Machine Learning and
        Computer Security.

    Example:
        >>> import torch
        >>> from xai_course.robustness import jpeg, smooth_jpeg
        >>> shades = torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
        >>> bool((smooth_jpeg(shades) - jpeg(shades)).abs().max() < 0.02)
        True
    """
    _check_jpeg(pixels, quality)
    height, width = pixels.shape[2:]
    # Colour blocks of 8 at half the size are 16 pixels wide.
    padded = F.pad(pixels.clamp(0, 1), (0, -width % 16, 0, -height % 16), mode="replicate")
    to_yuv = pixels.new_tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    yuv = torch.einsum("dc,nchw->ndhw", to_yuv, 255 * padded)
    steps = [pixels.new_tensor(table).view(8, 8) for table in _quantisation(quality)]
    luma = _round_blocks(yuv[:, :1] - 128, steps[0]) + 128
    chroma = _round_blocks(F.avg_pool2d(yuv[:, 1:], 2), steps[1])
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")
    rgb = torch.einsum("cd,ndhw->nchw", to_yuv.inverse(), torch.cat([luma, chroma], 1))
    return (rgb / 255).clamp(0, 1)[:, :, :height, :width]


def _round_blocks(planes: Tensor, steps: Tensor) -> Tensor:
    """Round the cosine transform of each block of 8 x 8 to multiples of `steps`, smoothly."""
    k = torch.arange(8, dtype=planes.dtype, device=planes.device)
    transform = torch.cos(torch.pi * (2 * k + 1) * k[:, None] / 16) / 2
    transform[0] /= 2**0.5  # now its inverse is its transpose
    n, c, height, width = planes.shape
    blocks = planes.reshape(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    counts = transform @ blocks @ transform.T / steps
    nearest = counts.round()
    rounded: Tensor = transform.T @ ((nearest + (counts - nearest) ** 3) * steps) @ transform
    return rounded.transpose(3, 4).reshape(planes.shape)


def _quantisation(quality: int) -> tuple[list[int], list[int]]:
    """Return Pillow's tables of steps for brightness and for colour, 64 numbers each, by rows."""
    with io.BytesIO() as file:
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        file.seek(0)
        tables = JpegImageFile(file).quantization
    return tables[0], tables[1]


def random_resize(pixels: Tensor, smallest: float = 0.9, *, one_draw: bool = False) -> Tensor:
    """Shrink each image by a random factor and put it at a random position of a grey frame.

    Factor and position are drawn from PyTorch's global generator, anew at each call.

    Args:
        pixels: (N, C, H, W), floating point.
        smallest: the smallest factor, between 0 and 1; the largest is 1.
        one_draw: True for one factor and one position for all images of the call. A network behind
            it then treats an image alone as it does in a batch, if the generator is seeded.

    Returns:
        Pixels (N, C, H, W); what the image leaves free is grey, 0.5.

    Raises:
        ValueError: if an argument is not as described.

    References:
        Xie, Wang, Zhang, Ren, Yuille: Mitigating Adversarial Effects Through Randomization. ICLR
        2018, arXiv:1711.01991.

    Example:
        >>> import torch
        >>> from xai_course.robustness import random_resize
        >>> resized = random_resize(torch.ones(100, 1, 32, 32), smallest=0.5)
        >>> area = 2 * (resized - 0.5).mean((1, 2, 3))  # of the white image in its frame
        >>> bool(area.min() > 0.2), bool(area.max() < 1.01)
        (True, True)
    """
    check_image_batch("pixels", pixels)
    check_number("smallest", smallest, above=0, below=1)
    drawn = torch.rand(3, 1 if one_draw else len(pixels)).to(pixels)
    size, right, down = drawn.expand(3, len(pixels))
    size = smallest + (1 - smallest) * size
    # In units in which an image reaches from -1 to 1, its center moves by at most 1 - size.
    right, down = ((1 - size) * (2 * shift - 1) for shift in (right, down))
    zero = torch.zeros_like(size)
    rows = [torch.stack([1 / size, zero, -right / size], 1)]
    rows.append(torch.stack([zero, 1 / size, -down / size], 1))
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return 0.5 + F.grid_sample(pixels - 0.5, grid, align_corners=False)


def _check_jpeg(pixels: Tensor, quality: int) -> None:
    """Raise ValueError unless JPEG can hold the pixels at this quality."""
    check_image_batch("pixels", pixels, channels=3)
    quality = check_count("quality", quality, most=95)
