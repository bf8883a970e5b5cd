"""What a class takes of one server: the memory of a process, and the cells that are run."""

import mmap
import os
import sys

import pytest

from tools.classroom.server_load import first_cells, megabytes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_what_a_kernel_has_alone_is_part_of_its_share_and_that_of_what_it_sees():
    before = megabytes(os.getpid())
    assert 0 < before["USS"] <= before["PSS"] <= before["RSS"] <= before["peak RSS"] * 1.01
    with mmap.mmap(-1, 100_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for page in range(0, len(block), 4096):  # memory is given when it is written to
            block[page] = 1
        assert megabytes(os.getpid())["USS"] - before["USS"] == pytest.approx(100, abs=20)


def test_the_first_cells_of_a_lesson():
    every, half = first_cells("02", 1.0), first_cells("02", 0.5)
    assert half == every[: len(half)]
    assert len(half) == round(len(every) / 2)
    assert any(may_fail for _, may_fail in every)  # the bug hunt
