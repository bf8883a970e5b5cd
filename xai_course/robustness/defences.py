"""Defences that change the picture before the network sees it, and what an attacker does about it.

A defence is a function of pixels (N, C, H, W) in [0, 1] that returns pixels. `DefendedModel` puts it
in front of a network of normalised images, so that explainers and attacks run through both. Two of
the defences have no useful derivative, which stops an attacker who does not know better;
`straight_through` gives them one, for JPEG that of `smooth_jpeg`.
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

from xai_course.models.wrappers import Defence

__all__ = ["bit_depth", "blur", "jpeg", "random_resize", "smooth_jpeg", "straight_through"]


def straight_through(defence: Defence, like: Defence | None = None) -> Defence:
    """Return the defence with the same values and the derivative of `like`, or of doing nothing.

    For a defence that stays close to the picture its derivative is nearly that of the identity, so
    an attacker (or an explainer) goes forward through the defence and backward past it. Who knows a
    smooth function that does nearly the same, passes it as `like`, and gets further.

    Athalye, Carlini, Wagner: Obfuscated Gradients Give a False Sense of Security. ICML 2018,
    arXiv:1802.00420 (backward pass differentiable approximation).
    """

    @wraps(defence)
    def passed(pixels: Tensor) -> Tensor:
        near = pixels if like is None else like(pixels)
        return near + (defence(pixels) - near).detach()

    return passed


def blur(pixels: Tensor, sigma: float = 0.5) -> Tensor:
    """Blur pixels (N, C, H, W) by a Gaussian of `sigma` pixels; the border is mirrored.

    Raises ValueError for a sigma that is not above 0, or too wide for the picture.
    """
    _check_pixels(pixels)
    if not isinstance(sigma, int | float) or not 0 < sigma <= min(pixels.shape[2:]) / 4:
        raise ValueError(
            f"sigma: got {sigma!r}; allowed is above 0 and at most {min(pixels.shape[2:]) / 4:g}, "
            "a quarter of the picture."
        )
    reach = int(3 * sigma + 0.5)
    places = torch.arange(-reach, reach + 1, dtype=pixels.dtype, device=pixels.device)
    bell = torch.exp(-places.square() / (2 * sigma**2))
    across = (bell / bell.sum()).expand(pixels.shape[1], 1, 1, -1)
    padded = F.pad(pixels, (reach,) * 4, mode="reflect")
    rows = F.conv2d(padded, across, groups=pixels.shape[1])
    return F.conv2d(rows, across.transpose(2, 3), groups=pixels.shape[1])


def bit_depth(pixels: Tensor, bits: int = 3) -> Tensor:
    """Round pixels to 2^bits levels in [0, 1]. The derivative is 0 everywhere.

    Raises ValueError for bits outside 1 to 8. Xu, Evans, Qi: Feature Squeezing: Detecting
    Adversarial Examples in Deep Neural Networks. NDSS 2018, arXiv:1704.01155.
    """
    _check_pixels(pixels)
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
        raise ValueError(f"bits: got {bits!r}; allowed is a whole number from 1 to 8.")
    steps: int = 2**bits - 1
    return (pixels.clamp(0, 1) * steps).round() / steps


def jpeg(pixels: Tensor, quality: int = 75) -> Tensor:
    """Write pixels (N, 3, H, W) as JPEG and read them back. The derivative is 0 everywhere.

    Raises ValueError for a quality outside 1 to 95 and for other than three channels. Dziugaite,
    Ghahramani, Roy: A Study of the Effect of JPG Compression on Adversarial Images. 2016,
    arXiv:1608.00853.
    """
    _check_jpeg(pixels, quality)
    bytes_ = (pixels.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    found = []
    for picture in bytes_.permute(0, 2, 3, 1).numpy():
        with io.BytesIO() as file:
            Image.fromarray(picture).save(file, "JPEG", quality=quality)
            found.append(np.array(Image.open(file)))
    read = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).to(pixels) / 255
    return read + 0 * pixels  # the derivative 0, rather than none


def smooth_jpeg(pixels: Tensor, quality: int = 75) -> Tensor:
    """Change pixels (N, 3, H, W) nearly as JPEG does, by steps that have a derivative.

    Brightness, and two colour differences at half the size, are cut into blocks of 8 × 8; B is such
    a block, D the cosine transform, q the table of steps for this quality:

        B → Dᵀ (q · round(D B Dᵀ / q)) D        with round(t) + (t - round(t))³ in place of round(t)

    Raises ValueError as `jpeg`. Shin, Song: JPEG-resistant Adversarial Images. NIPS 2017 Workshop
    on Machine Learning and Computer Security.
    """
    _check_jpeg(pixels, quality)
    height, width = pixels.shape[2:]
    whole = F.pad(pixels.clamp(0, 1), (0, -width % 16, 0, -height % 16), mode="replicate")
    to_yuv = pixels.new_tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    yuv = torch.einsum("dc,nchw->ndhw", to_yuv, 255 * whole)
    steps = [pixels.new_tensor(table).view(8, 8) for table in _quantisation(quality)]
    light = _round_blocks(yuv[:, :1] - 128, steps[0]) + 128
    colour = _round_blocks(F.avg_pool2d(yuv[:, 1:], 2), steps[1])
    colour = F.interpolate(colour, scale_factor=2, mode="bilinear")
    rgb = torch.einsum("cd,ndhw->nchw", to_yuv.inverse(), torch.cat([light, colour], 1))
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


def random_resize(pixels: Tensor, smallest: float = 0.9) -> Tensor:
    """Shrink each picture by chance, to a share from `smallest` to 1, and lay it at a random place.

    What it leaves free is grey, 0.5. Size and place are drawn from PyTorch's global generator, anew
    at each call. Raises ValueError for a share outside (0, 1). Xie, Wang, Zhang, Ren, Yuille:
    Mitigating Adversarial Effects Through Randomization. ICLR 2018, arXiv:1711.01991.
    """
    _check_pixels(pixels)
    if not isinstance(smallest, int | float) or not 0 < smallest < 1:
        raise ValueError(f"smallest: got {smallest!r}; allowed is between 0 and 1.")
    size, right, down = torch.rand(3, len(pixels)).to(pixels)
    size = smallest + (1 - smallest) * size
    # In units in which a picture reaches from -1 to 1: its middle is moved by at most 1 - size.
    right, down = ((1 - size) * (2 * shift - 1) for shift in (right, down))
    zero = torch.zeros_like(size)
    rows = [torch.stack([1 / size, zero, -right / size], 1)]
    rows.append(torch.stack([zero, 1 / size, -down / size], 1))
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return 0.5 + F.grid_sample(pixels - 0.5, grid, align_corners=False)


def _check_jpeg(pixels: Tensor, quality: int) -> None:
    _check_pixels(pixels)
    if pixels.shape[1] != 3:
        raise ValueError(f"pixels: got {pixels.shape[1]} channels; allowed are 3.")
    if not isinstance(quality, int) or isinstance(quality, bool) or not 1 <= quality <= 95:
        raise ValueError(f"quality: got {quality!r}; allowed is a whole number from 1 to 95.")


def _check_pixels(pixels: Tensor) -> None:
    if not isinstance(pixels, Tensor) or pixels.ndim != 4 or not pixels.is_floating_point():
        came = tuple(pixels.shape) if isinstance(pixels, Tensor) else type(pixels).__name__
        raise ValueError(f"pixels: got {came}; allowed are floating-point pixels (N, C, H, W).")
