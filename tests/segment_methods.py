"""What the tests of LIME and of Shapley values share."""

import torch
from stock_networks import CLASSES, tiny
from torch import nn

from xai_course.core import baseline_images


def masked(image, base, masks, kept):
    """The picture (C, H, W) of a coalition, with a plain loop over the hidden segments."""
    hidden = torch.zeros_like(image[:1])
    for mask, is_kept in zip(masks, kept, strict=True):
        if not is_kept:
            hidden = hidden + mask.to(image)
    return image + hidden.clamp(max=1) * (base - image)


def masked_function(model, image, labels, target, baseline):
    """A function of rows of zeros and ones (K, S), in NumPy, to the logit of a masked image."""
    base = baseline_images(image[None], baseline)[0]
    masks = [labels == s for s in range(int(labels.max()) + 1)]

    @torch.no_grad()
    def function(rows):
        pictures = torch.stack([masked(image, base, masks, row) for row in rows])
        return model(pictures)[:, target].numpy()

    return function


class NoDerivative(nn.Module):
    """A classifier of sorted, rounded and quantised numbers, half of it in NumPy."""

    def __init__(self):
        super().__init__()
        self.model = tiny()

    @torch.no_grad()
    def forward(self, x):
        brightest = x.mean(1).flatten(1).argsort(1)[:, -CLASSES:].double() / x[0, 0].numel()
        levels = torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8).dequantize()
        steps = torch.from_numpy(levels.numpy().round(1)).double()
        return self.model(steps) + brightest
