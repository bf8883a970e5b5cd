"""A lack of memory halves the batch; any other error is passed on."""

import pytest
import torch

from xai_course.report import in_batches, is_memory_error


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
