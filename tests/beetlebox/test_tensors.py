"""Scenes as tensors."""

import pickle
import tracemalloc

import numpy as np
import pytest
import torch

from xai_course.beetlebox import (
    PARTS,
    SPECIES,
    DrawnScenes,
    Scene,
    scenes,
    stack_images,
    stack_masks,
    write_beetlebox,
)
from xai_course.data import load_folders, loader, modern_transform

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
        with pytest.raises(ValueError, match="scenes: got none; must be at least one"):
            stack([])


# ---- scenes drawn on the fly ---------------------------------------------------------------------


def test_the_images_are_those_on_disk(tmp_path):
    root = write_beetlebox(tmp_path / "world", train=2, test=1, progress=False)
    for folder, split, count in zip(
        load_folders(root, modern_transform()), ("train", "test"), (2, 1), strict=True
    ):
        drawn = DrawnScenes(split, count)
        assert len(drawn) == len(folder) == 10 * count
        for (ours, label), (theirs, wanted) in zip(drawn, folder, strict=True):
            assert label == wanted
            assert torch.equal(ours, theirs)


def test_the_scenes_are_those_of_the_list():
    drawn = DrawnScenes("extra", 3)
    listed = [scene for name in SPECIES for scene in scenes("extra", name, 3)]
    assert [drawn.scene(index) for index in range(30)] == listed
    last = scenes("train", list(SPECIES)[9], 1000)  # their seeds follow one another
    assert [scene.seed - last[0].seed for scene in last] == list(range(1000))
    expected = Scene(last[0].species, last[0].seed + 999_999)
    assert DrawnScenes("train", 1_000_000).scene(9_999_999) == expected


def test_worker_processes_change_nothing():
    drawn = DrawnScenes("train", 2)
    passes = [
        [batch for _ in range(2) for batch in loader(drawn, 8, True, 3, workers)]
        for workers in (0, 2)
    ]
    for (alone, labels), (shared, others) in zip(*passes, strict=True):
        assert torch.equal(alone, shared)
        assert torch.equal(labels, others)


def test_memory_does_not_grow_with_the_number_of_scenes():
    large = DrawnScenes("train", 1_000_000)
    before = len(pickle.dumps(large))
    assert before < len(pickle.dumps(DrawnScenes("train", 1))) + 100
    tracemalloc.start()
    held = []
    for count in (5, 60):  # all that is drawn is forgotten, however many there were
        for index in np.random.default_rng(0).integers(len(large), size=count):
            large[int(index)]
        held.append(tracemalloc.get_traced_memory()[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held[1] - held[0] < 100_000  # an image has 49,152 bytes
    assert peak < 5_000_000
    assert len(pickle.dumps(large)) == before


@pytest.mark.parametrize("index", [-1, 10])
def test_no_such_item(index):
    with pytest.raises(IndexError, match=r"^index: got .*; must be"):
        DrawnScenes("train", 1)[index]


@pytest.mark.parametrize("count", [0, 1_000_001, 1.5, "many"])
def test_wrong_numbers_and_splits_are_refused(count):
    with pytest.raises(ValueError, match=r"^per_species: got .*; must be"):
        DrawnScenes("train", count)
    with pytest.raises(ValueError, match="split: got 'valid'"):
        DrawnScenes("valid")
    with pytest.raises(ValueError, match="size: got 8"):
        DrawnScenes("train", 1, size=8)
