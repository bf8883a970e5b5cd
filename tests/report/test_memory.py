"""A lack of memory halves the batch; any other error is passed on."""

import pytest
import torch
from torch import nn

from xai_course.report import images_in_a_pass, in_batches, is_memory_error


@pytest.mark.parametrize(
    "lack",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_lack_of_memory_halves_the_batch_and_goes_on(lack):
    rows, sizes = torch.arange(11.0)[:, None], []

    def run(part, other):
        sizes.append(len(part))
        if len(part) > 2:
            raise lack
        return part + other

    found, size = in_batches(run, rows, rows, batch_size=8)
    assert torch.equal(found, 2 * rows)
    assert size == 2
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]


def test_other_errors_and_one_row_too_many_are_not_hidden():
    def fails(_part):
        raise RuntimeError("shapes do not fit")

    assert not is_memory_error(RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(fails, torch.zeros(4, 1), batch_size=4)

    def never(_part):
        raise torch.OutOfMemoryError

    with pytest.raises(MemoryError, match="one image in a pass is too much"):
        in_batches(never, torch.zeros(4, 1), batch_size=4)


def test_how_many_images_no_tensor_of_which_is_too_large():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 512, 1), nn.AdaptiveAvgPool2d(1))
    image = torch.rand(1, 3, 64, 64)  # 512 · 64 · 64 numbers of 4 bytes are 8 MiB
    assert images_in_a_pass(model, image, 16) == 4
    assert images_in_a_pass(model, image, 3) == 3
    assert images_in_a_pass(model, image, 16, least=6) == 6
    assert images_in_a_pass(model.double(), image.double(), 16) == 2
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_that_fails_is_left_to_the_pass_itself():
    model = nn.Sequential(nn.Conv2d(5, 4, 1))
    assert images_in_a_pass(model, torch.rand(1, 3, 8, 8), 16) == 16
    assert not model[0]._forward_hooks
