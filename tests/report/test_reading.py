"""The same file gives the same input, also through a transform that draws random numbers."""

import random

import numpy as np
import pytest
import torch
from own_network import photo_folder, photos, transform
from torchvision.transforms import v2

from xai_course.report import is_random, repeatable
from xai_course.report.reading import first_pictures, read_input

PICTURE = photos(1)[0]
RANDOM = {
    "PyTorch": lambda p: transform(p) + torch.rand(()),
    "NumPy": lambda p: transform(p) + np.random.rand(),  # noqa: NPY002
    "Python": lambda p: transform(p) + random.random(),
    "flips": v2.Compose([v2.RandomHorizontalFlip(), transform]),
    "crops": v2.Compose([v2.RandomCrop(32), transform]),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_transform_is_noticed_and_made_repeatable(name):
    assert is_random(RANDOM[name], [PICTURE])
    fixed = repeatable(RANDOM[name])
    first = fixed(PICTURE)
    random.random(), torch.rand(2), np.random.rand()  # noqa: NPY002
    assert fixed(PICTURE).equal(first)
    assert not is_random(fixed, [PICTURE])


def test_the_caller_s_random_state_stays():
    torch.manual_seed(1)
    random.seed(1)
    states = torch.get_rng_state(), random.getstate()
    repeatable(RANDOM["PyTorch"])(PICTURE)
    assert torch.get_rng_state().equal(states[0])
    assert random.getstate() == states[1]


def test_a_plain_transform_is_not_random():
    assert not is_random(transform, photos(3))

    def fails(picture):
        raise RuntimeError("too small")

    assert not is_random(fails, photos(1))


def test_what_does_not_go_through_is_named(tmp_path):
    folder = photo_folder(tmp_path)
    with pytest.raises(ValueError, match=r"a\.png, of 48 × 40 pixels, does not go through"):
        read_input(lambda picture: 1 / 0, folder / "a.png")
    files = [folder / "broken.png", folder / "a.png", folder / "bright/b.png"]
    assert [picture.size for picture in first_pictures(files, 1)] == [(48, 40)]
    assert first_pictures(files[:1]) == []
