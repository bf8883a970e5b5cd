"""Transforms, augmentation and loaders."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from xai_course.beetlebox import PARTS, SPECIES, scenes, tensors
from xai_course.data import loaders, transforms

FIRST = next(iter(SPECIES))


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


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


# ---- scenes --------------------------------------------------------------------------------------


def test_stacks_hold_the_scenes_in_order():
    chosen = [*scenes("train", FIRST, 2), scenes("test", FIRST, 1)[0].with_label()]
    images, masks = tensors.stack_images(iter(chosen), 48), tensors.stack_masks(iter(chosen), 48)
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
    for stack in (tensors.stack_images, tensors.stack_masks):
        with pytest.raises(ValueError, match="scenes must hold at least one"):
            stack([])


# ---- transforms ----------------------------------------------------------------------------------


def test_normalise_by_hand():
    pixels = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 2, 2)
    assert transforms.normalise(pixels).abs().max() == 0  # the mean colour, not black, becomes zero
    black = transforms.normalise(torch.zeros(1, 3, 1, 1, dtype=torch.float64)).flatten()
    by_hand = torch.tensor([-2.1179039301, -2.0357142857, -1.8044444444], dtype=torch.float64)
    torch.testing.assert_close(black, by_hand)


@given(st.integers(0, 1000), st.sampled_from([(3, 5, 4), (2, 3, 4, 5), (0, 3, 4, 4)]))
def test_denormalise_undoes_normalise(seed, shape):
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(transforms.denormalise(transforms.normalise(pixels)), pixels)


@pytest.mark.parametrize("function", [transforms.normalise, transforms.denormalise])
def test_normalise_names_what_is_wrong(function):
    with pytest.raises(ValueError, match=r"must have shape .* got \(2, 1, 4, 4\)"):
        function(torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match=r"must be floating point, got torch\.uint8"):
        function(torch.zeros(3, 4, 4, dtype=torch.uint8))


def test_article_transform_by_hand():
    flat = Image.new("RGB", (30, 20), (255, 0, 51))
    out = transforms.article_transform()(flat)
    assert out.shape == (3, 224, 224)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(out[:, 100, 7], torch.tensor(expected))


@pytest.mark.parametrize("width_height", [(64, 64), (50, 90), (300, 200)])
@pytest.mark.parametrize("size", [64, 224])
def test_the_modern_form_gives_the_same_numbers(width_height, size):
    image = picture(*width_height)
    article, modern = (
        transforms.article_transform(size)(image),
        transforms.modern_transform(size)(image),
    )
    torch.testing.assert_close(modern, article, atol=1e-6, rtol=0)


def test_modern_transform_at_the_images_own_size_only_normalises():
    image = picture(64, 64)
    out = transforms.denormalise(transforms.modern_transform(64)(image))
    np.testing.assert_allclose(out.permute(1, 2, 0) * 255, np.asarray(image), atol=1e-3)


def test_augmenting_transform_varies_and_repeats():
    transform, image = transforms.modern_transform(32, augment=True), picture(32, 32)
    torch.manual_seed(1)
    one, two = transform(image), transform(image)
    torch.manual_seed(1)
    assert torch.equal(transform(image), one)
    assert not torch.equal(one, two)
    assert one.shape == (3, 32, 32)


# ---- augment -------------------------------------------------------------------------------------


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_augment_is_repeatable_and_each_image_has_its_own():
    same = torch.rand(3, 32, 32).expand(8, 3, 32, 32).contiguous()
    before = same.clone()
    one, again, other = (transforms.augment(same, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert all(not torch.equal(one[0], one[i]) for i in range(1, 8))
    assert torch.equal(same, before)
    assert one.shape == same.shape
    assert transforms.augment(same.double(), generator()).dtype == torch.float64
    assert transforms.augment(same[:0], generator()).shape == (0, 3, 32, 32)


def test_augment_moves_pixels_but_makes_no_new_colours():
    flat = torch.full((4, 3, 16, 16), 0.25)
    torch.testing.assert_close(transforms.augment(flat, generator()), flat)  # no dark corners
    images = torch.rand(16, 3, 20, 30)
    out = transforms.augment(images, generator())
    assert out.min() >= images.min() - 1e-5
    assert out.max() <= images.max() + 1e-5


@pytest.mark.parametrize("shape", [(40, 40), (30, 60)])
def test_augment_agrees_with_torchvision(shape, monkeypatch):
    """The same turn, shift and zoom by torchvision's affine, on a smooth picture."""
    height, width = shape
    y = torch.linspace(-1, 1, height)[:, None] * height / 40
    x = torch.linspace(-1, 1, width) * width / 40
    smooth = torch.exp(-3 * ((x - 0.2) ** 2 + 2 * (y + 0.1) ** 2))[None, None]
    for mirror in (0.9, 0.1):  # of [0, 1): the last half is not mirrored
        draws = torch.tensor([0.9, 0.25, 0.6, 0.7, mirror]).reshape(1, 5, 1, 1)
        monkeypatch.setattr(torch, "rand", lambda *_, draws=draws, **__: draws)
        out = transforms.augment(smooth, generator())
        zoom, degrees = 1 + 0.1 * -0.5, 15 * 0.8
        right, down = 0.06 * 0.2 * width, 0.06 * 0.4 * height  # where the result reads from
        turn = np.deg2rad(degrees)  # torchvision shifts after turning and zooming
        shift = [
            -zoom * (np.cos(turn) * right + np.sin(turn) * down),
            -zoom * (-np.sin(turn) * right + np.cos(turn) * down),
        ]
        expected = affine(
            smooth, -degrees, shift, zoom, [0.0], interpolation=InterpolationMode.BILINEAR
        )
        if mirror < 0.5:
            expected = expected.flip(-1)
        inside = (slice(None), slice(None), slice(9, -9), slice(9, -9))
        torch.testing.assert_close(out[inside], expected[inside], atol=1e-4, rtol=0)


def test_augment_mirrors_half_of_the_images():
    ramp = torch.linspace(-1, 1, 32).expand(400, 1, 32, 32)
    out = transforms.augment(ramp, generator())
    rises = out[:, 0, 16, 24] > out[:, 0, 16, 8]
    assert 150 < rises.sum() < 250  # 5 standard deviations


def test_augment_keeps_the_parts_that_make_a_species():
    chosen = [scene for species in SPECIES for scene in scenes("train", species, 4)]
    masks = tensors.stack_masks(chosen)
    before = masks.sum((2, 3))
    after = transforms.augment(masks, generator()).sum((2, 3))
    there = before > 3
    kept = (after / before)[there]  # a zoom by 0.9 alone leaves 0.81
    assert kept.min() > 0.3
    assert (kept > 0.7).float().mean() > 0.98


def test_augment_names_what_is_wrong():
    with pytest.raises(ValueError, match="images must be floating point"):
        transforms.augment(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), generator())
    with pytest.raises(ValueError, match=r"\(3, 8, 8\)"):
        transforms.augment(torch.zeros(3, 8, 8), generator())


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
    images, labels = loaders.in_memory(Listed(items)).tensors
    assert torch.equal(images, torch.stack([image for image, _ in items]))
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert labels.dtype == torch.long


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "at least one image"),
        ([(picture(4, 4), 0)], "must give tensors; open it with a transform .* got Image"),
        (
            [(torch.zeros(3, 4, 4), 0), (torch.zeros(3, 4, 5), 0)],
            r"one shape, got \(3, 4, 4\) and, at index 1, \(3, 4, 5\)",
        ),
    ],
)
def test_in_memory_names_what_is_wrong(items, message):
    with pytest.raises(ValueError, match=message):
        loaders.in_memory(Listed(items))


def test_in_memory_refuses_before_memory_is_full():
    items = [(torch.zeros(3, 10, 10), 0)] * 5
    with pytest.raises(ValueError, match="would need"):
        loaders.in_memory(Listed(items), most_bytes=5 * 1200 - 1)
    assert len(loaders.in_memory(Listed(items), most_bytes=5 * 1200)) == 5


# ---- loaders -------------------------------------------------------------------------------------


def order(loader: torch.utils.data.DataLoader) -> list[int]:
    return torch.cat([labels for _, labels in loader]).tolist()


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
        made = loaders.loader(dataset, batch_size=5, shuffle=True, seed=3, workers=workers)
        orders.append([order(made), order(made)])
    assert all(other == orders[0] for other in orders)
    first, second = orders[0]
    assert first != second
    assert sorted(first) == sorted(second) == list(range(23))
    assert order(loaders.loader(numbers(23), shuffle=True, seed=4)) != first


@pytest.mark.parametrize("dataset", [numbers(23), Plain(23)])
def test_batches(dataset):
    made = loaders.loader(dataset, batch_size=5)
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

    list(loaders.loader(Counting(*numbers(40).tensors), batch_size=10, shuffle=True, workers=2))
    assert Counting.calls == 4


def test_a_saved_generator_state_continues_the_orders():
    made = loaders.loader(numbers(20), shuffle=True)
    order(made)
    state = made.generator.get_state()
    second = order(made)
    resumed = loaders.loader(numbers(20), shuffle=True)
    resumed.generator.set_state(state)
    assert order(resumed) == second


def test_making_and_using_a_loader_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    order(loaders.loader(numbers(20), shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_draw_different_and_repeatable_numbers():
    """The pitfall: copies of one NumPy generator in every worker, the same in every epoch."""
    runs = []
    for _ in range(2):
        made = loaders.loader(Dice(12), batch_size=2, seed=5, workers=2)
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
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"workers": -1}, "workers must be a whole number of at least 0, got -1"),
    ],
)
def test_loader_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        loaders.loader(numbers(4), **arguments)
    with pytest.raises(ValueError, match="at least one image"):
        loaders.loader(numbers(0))


def test_importing_data_brings_no_torchvision():
    code = (
        "import sys, xai_course.data; "
        "print({'torchvision', 'skimage', 'matplotlib', 'ipywidgets'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
