"""Scenes as tensors."""

import numpy as np
import pytest
import torch

from xai_course.beetlebox import PARTS, SPECIES, scenes, stack_images, stack_masks

FIRST = next(iter(SPECIES))


def test_stacks_hold_the_scenes_in_order():
    chosen = [*scenes("train", FIRST, 2), scenes("test", FIRST, 1)[0].with_label()]
    images, masks = stack_images(iter(chosen), 48), stack_masks(iter(chosen), 48)
    assert images.shape == (3, 3, 48, 48)
    assert masks.shape == (3, len(PARTS), 48, 48)
    assert images.dtype == masks.dtype == torch.float32
    assert images.is_contiguous()
    for i, scene in enumerate(chosen):
        pixels = scene.image(48)
        assert images[i, 2, 5, 7] == pixels[5, 7, 2]
        np.testing.assert_array_equal(images[i].permute(1, 2, 0), pixels)
        for j, part in enumerate(PARTS):
            np.testing.assert_array_equal(masks[i, j], scene.masks(48)[part])
    assert masks[2, PARTS.index("label")].sum() > 0


def test_no_scenes_are_refused():
    for stack in (stack_images, stack_masks):
        with pytest.raises(ValueError, match="scenes must hold at least one"):
            stack([])
