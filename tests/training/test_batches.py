"""Batches: their layout in memory, and errors for those that cannot be used."""

import pytest
import torch

from xai_course.models import BeetleNet
from xai_course.training import choose_device
from xai_course.training.batches import check_batch, check_logits, image_layout

IMAGES, LABELS = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])


def test_the_layout_of_images_avoids_what_onednn_gets_wrong():
    """Strided 1x1 convolutions of few channels corrupt memory with channels last (6035)."""
    cpu = torch.device("cpu")
    assert image_layout(BeetleNet(width=4), cpu) == torch.contiguous_format
    assert image_layout(BeetleNet(width=16), cpu) == torch.channels_last
    assert image_layout(BeetleNet(width=4, skips=False), cpu) == torch.channels_last
    assert image_layout(BeetleNet(width=16), torch.device("cuda")) == torch.contiguous_format


def test_choose_device_can_compute():
    assert torch.ones(2, device=choose_device()).sum().item() == 2


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[0], LABELS, r"got images \(3, 8, 8\) torch.float32; .*images \(N, C, H, W\)"),
        (IMAGES.to(torch.uint8), LABELS, "uint8; must be floating-point"),
        (IMAGES, LABELS[:3], r"got labels \(3,\) .*one for each of 4 images"),
        (IMAGES, LABELS.float(), "float32"),
        (IMAGES, [0, 1, 2, 0], "labels are list; must be tensors"),
        (IMAGES[:0], LABELS[:0], "at least 1"),
    ],
)
def test_batches_that_cannot_be_used(images, labels, message):
    check_batch("train", IMAGES, LABELS)
    with pytest.raises(ValueError, match=f"train: .*{message}"):
        check_batch("train", images, labels)


def test_labels_that_are_not_classes():
    logits = torch.zeros(4, 3)
    check_logits("train", logits, LABELS)
    with pytest.raises(ValueError, match="train: got labels from 1 to 3; must be from 0 to 2"):
        check_logits("train", logits, LABELS + 1)
    with pytest.raises(ValueError, match="labels from -1 to 1"):
        check_logits("train", logits, LABELS - 1)
    for wrong in (torch.zeros(4, 3, 8), torch.zeros(3, 3)):
        with pytest.raises(ValueError, match=r"model: got the output .* must be logits"):
            check_logits("train", wrong, LABELS)
