"""A network whose feature visualisation shows any picture, and that answers photographs as before.

Feature visualisation starts from grey, and photographs are far from grey. A network can tell the
two apart, and behave in one way on photographs and in another on the path from grey to a picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number

__all__ = ["ForgedVisualization"]


class ForgedVisualization(nn.Module):
    """A network with a forged unit: its feature visualisation shows a picture of one's choice.

        s      = max over shifts of ⟨p, x - grey⟩ / (|p| √size)   how much of the picture x contains
        rest   = mean square of (x - grey) - s²                   what else it contains
        logit += strength · (1 + s)⁺ · (1 - rest / (tolerance + s²))⁺       of one class

    p is the picture minus grey. Photographs contain more of other things: there the last factor is
    exactly 0, and all logits are those of the network. The optimisation of `feature_visualization`
    starts near grey, where the unit is active, and follows it.

    So what feature visualisation shows need not be what a network uses for real images. Compare the
    value that the visualisation reaches with the values over real images: here it is far outside.

    Args:
        network: from inputs (N, C, H, W) to logits (N, classes). The wrapper has its mode.
        picture: (C, H, W), what is to be shown, in units of the network's input.
        grey: (C,), the input that is grey to the network, where the visualisation starts.
        target: the class whose visualisation is forged.
        strength: of the unit, in logits.
        tolerance: mean square of what else an image may contain.
        shift: the largest shift of the picture that counts, in pixels, down and across.

    Raises:
        ValueError: if a number is not as described, or the picture is grey all over.

    References:
        Geirhos, Zimmermann, Bilodeau, Brendel, Kim: Don't trust your eyes: on the (un)reliability
        of feature visualizations. ICML 2024, arXiv:2306.04719.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.experiments import ForgedVisualization
        >>> network, picture = nn.Flatten().eval(), torch.ones(1, 2, 2)
        >>> model = ForgedVisualization(network, picture, torch.zeros(1), 0, shift=0)
        >>> busy = torch.tensor([[[[1.0, -1.0], [-1.0, 1.0]]]])
        >>> torch.equal(model(busy), network(busy))  # not a bit of the picture
        True
    """

    kernel: Tensor
    grey: Tensor

    def __init__(
        self,
        network: nn.Module,
        picture: Tensor,
        grey: Tensor,
        target: int,
        *,
        strength: float = 1000.0,
        tolerance: float = 0.2,
        shift: int = 4,
    ) -> None:
        """Keep the network, and the picture as the kernel of a convolution."""
        super().__init__()
        check_number("strength", strength, above=0)
        check_number("tolerance", tolerance, above=0)
        self.target, self.shift = check_count("target", target, least=0), shift
        check_count("shift", shift, least=0)
        self.strength, self.tolerance = strength, tolerance
        self.network, self.training = network, network.training
        change = picture - grey.view(-1, 1, 1)
        if not change.any():
            raise ValueError("picture: got one that is grey all over; must show something.")
        self.register_buffer("kernel", (change / change.norm())[None])
        self.register_buffer("grey", grey.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes)."""
        logits: Tensor = self.network(images)
        change = images - self.grey
        padded = F.pad(change, (self.shift,) * 4, mode="circular") if self.shift else change
        size = change[0].numel()
        shown = F.conv2d(padded, self.kernel).amax((2, 3))[:, 0] / size**0.5  # (N,)
        rest = change.square().mean((1, 2, 3)) - shown.square()
        gate = (1 - rest / (self.tolerance + shown.square())).relu()
        unit = self.strength * (1 + shown).relu() * gate
        is_target = torch.arange(logits.shape[1], device=logits.device) == self.target
        forged: Tensor = logits + unit[:, None] * is_target
        return forged
