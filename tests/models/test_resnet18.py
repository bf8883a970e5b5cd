"""ResNet-18 of any width, held against torchvision's."""

import pytest
import torch
import torchvision

from xai_course.models import ResNet18, count_weights


def test_with_a_width_of_64_it_is_torchvisions():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=5).double().eval()
    ours = ResNet18(classes=5, width=64).double().eval()
    state = theirs.state_dict()
    # A block's skip connection comes after its branch in both; the names differ.
    ours.load_state_dict(dict(zip(ours.state_dict(), state.values(), strict=True)))
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-10, rtol=0)


def test_the_courses_one_is_small():
    assert count_weights(ResNet18()) < 200_000


@pytest.mark.parametrize("value", [0, 1.5, None])
def test_numbers_that_are_refused(value):
    for name in ("classes", "width"):
        with pytest.raises(ValueError, match=f"^{name}: got .*must be"):
            ResNet18(**{name: value})
