"""How good an explanation is; first of all, what the true answer is.

In BeetleBox a part can be taken away while nothing else moves, so the effect of a part on a model
is measured rather than estimated. That is the answer key, in logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xai_course.arguments import choose_classes
from xai_course.beetles import PARTS, Scene
from xai_course.data import normalise, stack_images

__all__ = ["part_effects"]


@torch.no_grad()
def part_effects(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Tensor | int | None = None,
    *,
    parts: Sequence[str] = PARTS,
    size: int = 64,
    batch_size: int = 250,
) -> Tensor:
    """Measure what each part of each scene adds to the chosen logit: the answer key (N, parts).

        effect[n, p] = logit(scene n) - logit(scene n without part p)

    In logits; 0 for a part that a scene does not have. `targets`: class indices (N,), one index, or
    None for the class that the model predicts for the whole scene. `model` takes normalised images
    and is to be in evaluation mode.

    Raises ValueError for a model in training mode, no scenes, unknown parts or wrong targets.
    """
    if model.training:
        raise ValueError("model is in training mode; call model.eval() first")
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}; allowed is 1 or more")
    first = next(model.parameters(), torch.empty(0))
    changed = [[scene, *(scene.without(part) for part in parts)] for scene in scenes]
    flat = [scene for row in changed for scene in row]
    logits = torch.cat(
        [
            model(normalise(stack_images(flat[i : i + batch_size], size)).to(first))
            for i in range(0, max(len(flat), 1), batch_size)
        ]
    ).view(len(scenes), 1 + len(parts), -1)
    classes = choose_classes(logits[:, 0], targets)
    chosen = logits.gather(2, classes[:, None, None].expand(-1, 1 + len(parts), 1))[..., 0]
    return chosen[:, :1] - chosen[:, 1:]
