"""A data set in memory, and loaders whose order depends on the seed alone."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import coloured, put
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from torchvision import datasets

from xai_course.data import in_memory, load_folder, loader, modern_transform, subset


def numbers(count: int) -> TensorDataset:
    """Images that hold their own index."""
    index = torch.arange(count)
    return TensorDataset(index[:, None, None, None].float(), index)


class Dice(Dataset):
    """Items (index, a random number from each of the three sources)."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[int, float, float, float]:
        return i, random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002


# ---- in memory -----------------------------------------------------------------------------------


class Listed(Dataset):
    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> object:
        return self.items[i]


def test_in_memory_holds_what_the_data_set_gives():
    items = [(torch.rand(3, 4, 5), i % 3) for i in range(7)]
    images, labels = in_memory(Listed(items)).tensors
    assert torch.equal(images, torch.stack([image for image, _ in items]))
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert labels.dtype == torch.long


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "at least one image"),
        (
            [(Image.new("RGB", (4, 4)), 0)],
            "got images of the type Image; must give tensors. Open it with",
        ),
        (
            [(torch.zeros(3, 4, 4), 0), (torch.zeros(3, 4, 5), 0)],
            r"got images of shape \(3, 4, 4\) and, at index 1, \(3, 4, 5\); must be",
        ),
    ],
)
def test_in_memory_names_what_is_wrong(items, message):
    with pytest.raises(ValueError, match=message):
        in_memory(Listed(items))


def test_in_memory_refuses_before_memory_is_full():
    items = [(torch.zeros(3, 10, 10), 0)] * 5
    with pytest.raises(ValueError, match=r"got images of .* in all; must be at most"):
        in_memory(Listed(items), most_bytes=5 * 1200 - 1)
    assert len(in_memory(Listed(items), most_bytes=5 * 1200)) == 5


def folder_of(root: Path, count: int = 9, transform: object = None) -> datasets.ImageFolder:
    for number in range(count):
        put(root / "ab"[number % 2] / f"{number}.png", coloured(number))
    return load_folder(root, transform)


def with_noise(image: Image.Image) -> torch.Tensor:
    return modern_transform(8)(image) + torch.rand(3, 8, 8)


@pytest.mark.parametrize("transform", [modern_transform(8), with_noise])
def test_in_memory_is_the_same_for_any_number_of_processes(tmp_path, transform):
    """Also with random numbers: the transform runs here, image by image."""
    folder = folder_of(tmp_path, transform=transform)
    torch.manual_seed(1)
    expected = [folder[i] for i in range(len(folder))]
    for workers in (1, 2):
        torch.manual_seed(1)
        images, labels = in_memory(folder, workers=workers).tensors
        assert torch.equal(images, torch.stack([image for image, _ in expected]))
        assert labels.tolist() == folder.targets


def test_in_memory_of_a_folder_names_what_is_wrong(tmp_path):
    folder = folder_of(tmp_path, transform=modern_transform(8))
    part = subset(folder, [4, 5])
    part.target_transform = lambda label: label + 5
    assert in_memory(part, workers=2).tensors[1].tolist() == [5, 6]
    put(tmp_path / "a" / "8.png", b"x")
    with pytest.raises(ValueError, match=r"8\.png cannot be read"):
        in_memory(folder, workers=2)
    with pytest.raises(ValueError, match="got images of the type Image"):
        in_memory(load_folder(tmp_path))


def test_in_memory_reads_a_folder_with_another_reader_by_itself(tmp_path):
    folder = folder_of(tmp_path)
    folder.loader = lambda path: torch.zeros(3, 2, 2)
    assert in_memory(folder).tensors[0].shape == (9, 3, 2, 2)


# ---- loaders -------------------------------------------------------------------------------------


def order(batches: torch.utils.data.DataLoader) -> list[int]:
    return torch.cat([labels for _, labels in batches]).tolist()


class Plain(Dataset):
    """The same items as `numbers`, but not a TensorDataset."""

    def __init__(self, count: int) -> None:
        self.inner = numbers(count)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image, label = self.inner[i]
        return image, int(label)


def test_order_depends_on_the_seed_alone():
    """Whatever the number of workers, and with or without the fast path; two passes each."""
    orders = []
    for dataset, workers in ((numbers(23), 0), (Plain(23), 0), (Plain(23), 1), (Plain(23), 2)):
        torch.manual_seed(workers)  # the global generator plays no part
        made = loader(dataset, batch_size=5, shuffle=True, seed=3, workers=workers)
        orders.append([order(made), order(made)])
    assert all(other == orders[0] for other in orders)
    first, second = orders[0]
    assert first != second
    assert sorted(first) == sorted(second) == list(range(23))
    assert order(loader(numbers(23), shuffle=True, seed=4)) != first


@pytest.mark.parametrize("dataset", [numbers(23), Plain(23)])
def test_batches(dataset):
    made = loader(dataset, batch_size=5)
    assert len(made) == 5
    batches = list(made)
    assert [len(labels) for _, labels in batches] == [5, 5, 5, 5, 3]
    for images, labels in batches:
        assert images.shape == (len(labels), 1, 1, 1)
        assert torch.equal(images.flatten().long(), labels)
    assert order(made) == list(range(23))


def test_tensors_are_indexed_a_batch_at_a_time():
    class Counting(TensorDataset):
        calls = 0

        def __getitem__(self, index: object) -> tuple[torch.Tensor, ...]:
            Counting.calls += 1
            return super().__getitem__(index)

    list(loader(Counting(*numbers(40).tensors), batch_size=10, shuffle=True, workers=2))
    assert Counting.calls == 4


def test_a_saved_generator_state_continues_the_orders():
    made = loader(numbers(20), shuffle=True)
    order(made)
    state = made.generator.get_state()
    second = order(made)
    resumed = loader(numbers(20), shuffle=True)
    resumed.generator.set_state(state)
    assert order(resumed) == second


def test_making_and_using_a_loader_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    order(loader(numbers(20), shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_draw_different_and_repeatable_numbers():
    """The pitfall: copies of one NumPy generator in every worker, the same in every epoch."""
    runs = []
    for _ in range(2):
        made = loader(Dice(12), batch_size=2, seed=5, workers=2)
        runs.append([torch.stack(list(map(torch.as_tensor, b))) for _ in range(2) for b in made])
    values = torch.cat(runs[0], dim=1)  # (4, 24): index and three random numbers, two epochs
    assert values[0].tolist() == [*range(12), *range(12)]
    for row in values[1:]:
        assert len(set(row.tolist())) == 24
    for one, two in zip(*runs, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size: got 0; must be a whole number, at least 1"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"workers": -1}, "workers: got -1; must be a whole number, at least 0"),
    ],
)
def test_loader_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        loader(numbers(4), **arguments)
    with pytest.raises(ValueError, match="at least one image"):
        loader(numbers(0))


# ---- several processes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "batch_size", "count"), [(64, 8, 2), (30, 8, 2), (33, 8, 2), (61, 12, 3)]
)
@pytest.mark.parametrize("as_tensors", [True, False])
def test_the_parts_of_a_batch_are_disjoint_and_even(items, batch_size, count, as_tensors):
    data = TensorDataset(torch.arange(items)) if as_tensors else list(range(items))
    options = {"batch_size": batch_size, "shuffle": True, "seed": 5}
    alone = loader(data, **options)
    loaders = [loader(data, **options, rank=rank, world_size=count) for rank in range(count)]

    def batches(source):
        return [(batch[0] if as_tensors else batch).tolist() for batch in source]

    expected = [batch[: len(batch) - len(batch) % count] for batch in batches(alone)]
    expected = [batch for batch in expected if batch]
    assert [len(one) for one in loaders] == [len(expected)] * count
    for parts, batch in zip(zip(*map(batches, loaders), strict=True), expected, strict=True):
        assert len({len(part) for part in parts}) == 1
        assert sorted(index for part in parts for index in part) == sorted(batch)


@pytest.mark.parametrize(
    ("rank", "world_size", "message"),
    [
        (2, 2, "rank: got 2; must be a whole number, from 0 to 1"),
        (-1, 2, "rank: got -1"),
        (0, 0, "world_size: got 0; must be"),
        (0, 3, "batch_size: got 8; must be a multiple of 3"),
    ],
)
def test_processes_that_cannot_be(rank, world_size, message):
    with pytest.raises(ValueError, match=message):
        loader(TensorDataset(torch.arange(9)), 8, rank=rank, world_size=world_size)
