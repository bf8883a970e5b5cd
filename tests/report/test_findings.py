"""The numbers come from the results: each content once, methods with equal maps once."""

import math
import shutil

import pytest
import torch
from own_network import CLASSES, network, photo_folder, photos, transform
from PIL import Image, ImageFilter, ImageOps
from scipy import stats
from torch import nn

from xai_course.core import sign_test
from xai_course.methods import choose_methods
from xai_course.metrics import method_agreement
from xai_course.relu import grad_cam, gradient
from xai_course.report import (
    Summary,
    collect,
    conclude,
    method_verdicts,
    occlusion_results,
    open_results,
    randomisation_results,
    summarise,
    wrap_model,
)

METHODS = {"gradient": gradient, "Grad-CAM": grad_cam}


def numbers(n=12, lead=3.0, keeps=0.0, spread=0.1, truths=None, methods=2):
    """Numbers of methods A, B and so on and two nulls.

    A is ahead by `lead` logits, and its maps stay by `keeps`; both a little different each time.
    """
    names = [*"ABCDEFGHIJK"[:methods], "null: edges", "null: centre"]
    m = len(names)
    agreement = torch.eye(m, dtype=torch.double).expand(n, m, m).clone()
    wave = spread * torch.linspace(-1, 1, n, dtype=torch.double)
    random = torch.full((n, m), torch.nan, dtype=torch.double)
    random[:, :methods] = 0.2
    random[:, 0] += keeps + wave
    drops = torch.zeros(n, m, 2)
    drops[:, 0] = (1 + lead + wave)[:, None]
    drops[:, -2, 0] = drops[:, -1, 1] = 1.0
    return Summary(
        names,
        agreement,
        random,
        torch.full((n, m), 0.2, dtype=torch.double),
        drops,
        torch.linspace(0.3, 0.95, n),
        ["cat"] * n,
        truths or [None] * n,
        [],
        [],
        [0] * m,
    )


def test_a_lead_by_hand():
    """Student's interval at 5 % over two methods, and the coin."""
    result = occlusion_results(numbers(8, lead=0.05))[0]
    differences = 0.05 + 0.1 * torch.linspace(-1, 1, 8, dtype=torch.double)
    lead = result.fills[0].lead
    assert (lead.hits, lead.images) == (6, 8)
    assert lead.chance == sign_test(6, 8)
    assert lead.difference == pytest.approx(0.05, abs=1e-6)
    half = stats.t.ppf(1 - 0.025 / 2, 7) * differences.std().item() / math.sqrt(8)
    assert lead.high - lead.difference == pytest.approx(half, abs=1e-6)
    assert not lead.clear
    assert occlusion_results(numbers(8))[0].ahead
    assert not occlusion_results(numbers(5))[0].ahead  # five of five: a coin does it in 3 %
    one = occlusion_results(numbers(1))[0].fills[0].lead
    assert math.isnan(one.low)
    assert not one.clear


def test_a_lead_by_count_alone_is_not_clear():
    """Ahead by little on eleven of twelve, and far behind on one: behind in the mean."""
    summary = numbers(12, lead=0.5)
    summary.logit_drops[0, 0] = -90.0
    lead = occlusion_results(summary)[0].fills[0].lead
    assert lead.chance < 0.025
    assert lead.difference < 0
    assert not lead.clear


def test_how_much_of_a_map_stays_is_said_and_not_only_whether():
    kept = {k: randomisation_results(numbers(24, keeps=k))[0] for k in (0.0, 0.15, 0.7)}
    assert [row.kept for row in kept.values()] == ["", "part", "most"]
    assert kept[0.15].share == pytest.approx(0.15 / 0.8)
    shown = {k: method_verdicts(numbers(24, keeps=k))[0].may_be_shown for k in kept}
    assert shown == {0.0: True, 0.15: True, 0.7: False}
    assert randomisation_results(numbers(2)) == []


def test_the_jackknife_by_hand():
    """The influence of each image: n times the whole, less n − 1 times the rest."""
    generator = torch.Generator().manual_seed(0)
    n = 6
    vectors = torch.randn(n, 5, generator=generator, dtype=torch.double)
    pairs = torch.corrcoef(vectors)
    own = torch.rand(n, generator=generator, dtype=torch.double)

    def statistic(rest):
        between = [pairs[i, j] for i in rest for j in rest if i != j]
        return (own[rest].mean() - torch.stack(between).mean()).item()

    every = list(range(n))
    pseudo = [
        n * statistic(every) - (n - 1) * statistic([j for j in every if j != i]) for i in every
    ]
    summary = numbers(n)
    summary.random_similarity[:, 0] = own
    summary.image_similarity[:, 0] = (pairs.sum(1) - 1) / (n - 1)
    lead = randomisation_results(summary)[0].lead
    assert lead.difference == pytest.approx(statistic(every))
    half = stats.t.ppf(1 - 0.025 / 2, n - 1) * torch.tensor(pseudo).double().std() / math.sqrt(n)
    assert lead.high - lead.difference == pytest.approx(float(half), rel=1e-6)


def test_the_test_keeps_its_level_where_images_share_a_part():
    """No map stays: of 300 sets of 40 images few are clear (a sign test alone: one in four)."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.nn.functional.normalize(torch.randn(8, generator=generator), dim=0)
    clear = signs = 0
    for _ in range(300):
        strength = 1 + torch.randn(2, 40, 1, generator=generator)
        own = torch.randn(2, 40, 8, generator=generator) / 8**0.5
        maps, random = torch.nn.functional.normalize(strength * shared + own, dim=2)
        summary = numbers(40, methods=1)
        summary.random_similarity[:, 0] = (maps * random).sum(1)
        summary.image_similarity[:, 0] = ((maps.sum(0) - maps) * maps).sum(1) / 39
        lead = randomisation_results(summary)[0].lead
        clear += lead.clear
        signs += lead.chance < 0.05
    assert signs > 30
    assert clear < 18  # 6 %


def collected(photos, out):
    own = wrap_model(network(), transform, CLASSES)
    result = collect(own, photos, out, methods=METHODS, progress=False)
    return result, list(open_results(result))


def test_numbers_come_from_the_results(tmp_path):
    found, results = collected(photo_folder(tmp_path), tmp_path / "out")
    summary = summarise(iter(results), found.names, CLASSES)
    order = sorted(range(3), key=lambda k: summary.logit_drops[:, 0, 0].tolist().index(
        results[k].logit_drops[0, 0].item()))  # fmt: skip
    tiles = torch.stack([results[k].tiles for k in order]).view(3, 4, 1, 8, 8)
    assert torch.allclose(summary.agreement, method_agreement(dict(enumerate(tiles.unbind(1)))))
    for k in range(2):
        for i in range(3):
            others = [
                method_agreement({0: tiles[i : i + 1, k], 1: tiles[j : j + 1, k]})[0, 0, 1].item()
                for j in range(3)
                if j != i
            ]
            assert summary.image_similarity[i, k].item() == pytest.approx(sum(others) / 2)
            random = results[order[i]].random_tiles[k].view(1, 1, 8, 8)
            pair = method_agreement({0: tiles[i : i + 1, k], 1: random})[0, 0, 1]
            assert summary.random_similarity[i, k].item() == pytest.approx(pair.item())
    assert summary.random_similarity[:, 2:].isnan().all()
    assert summary.truths == [None, "bright", "bright"]
    with pytest.raises(ValueError, match=r"^results: got none"):
        summarise([], found.names, CLASSES)


def both_tests(summary):
    return randomisation_results(summary), occlusion_results(summary)


def close(one, other):
    """Whether nested results are the same up to rounding."""
    if isinstance(one, float):
        return one == pytest.approx(other, abs=1e-4, nan_ok=True)
    if isinstance(one, str | bool | int):
        return one == other
    return len(one) == len(other) and all(map(close, one, other))


@pytest.fixture(scope="module")
def nine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nine")
    for k, picture in enumerate(photos(9)):
        ImageOps.autocontrast(picture.filter(ImageFilter.GaussianBlur(4))).save(folder / f"{k}.png")
    found, results = collected(folder, folder / "out")
    return folder, summarise(results, found.names, CLASSES)


def test_no_finding_depends_on_the_names_of_files(nine, tmp_path):
    folder, summary = nine
    for k in range(9):
        shutil.copy(folder / f"{k}.png", tmp_path / f"{(4 * k + 5) % 9}.png")
    found, results = collected(tmp_path, tmp_path / "out")
    assert close(both_tests(summary), both_tests(summarise(results, found.names, CLASSES)))


def test_copies_are_no_evidence(nine, tmp_path):
    """Three of each, one with other bytes: the same findings, and the copies are named."""
    folder, summary = nine
    for k in range(9):
        picture = Image.open(folder / f"{k}.png")
        shutil.copy(folder / f"{k}.png", tmp_path / f"{k}.png")
        shutil.copy(folder / f"{k}.png", tmp_path / f"copy {k}.png")
        picture.save(tmp_path / f"saved again {k}.bmp")
    found, results = collected(tmp_path, tmp_path / "out")
    assert len(results) == 27
    tripled = summarise(results, found.names, CLASSES)
    assert tripled.images == 9
    assert len(tripled.confidence) == 27
    assert ["0.png", "copy 0.png", "saved again 0.bmp"] in tripled.copies
    for one, other in zip(occlusion_results(summary), occlusion_results(tripled), strict=True):
        assert close(one, other)
    for one, other in zip(
        randomisation_results(summary), randomisation_results(tripled), strict=True
    ):
        assert other.lead.images == 9
        assert one.image_similarity == pytest.approx(other.image_similarity, abs=1e-4)


def test_a_picture_that_is_nearly_another_counts_once(nine, tmp_path):
    folder, _ = nine
    for k in range(4):
        shutil.copy(folder / f"{k}.png", tmp_path / f"{k}.png")
    Image.open(folder / "2.png").save(tmp_path / "worse.jpg", quality=60)
    found, results = collected(tmp_path, tmp_path / "out")
    summary = summarise(results, found.names, CLASSES)
    assert summary.copies == [["2.png", "worse.jpg"]]
    assert summary.images == 4


def test_a_mirrored_picture_counts_once_and_a_part_of_one_counts_for_itself(nine, tmp_path):
    folder, _ = nine
    for k in range(4):
        shutil.copy(folder / f"{k}.png", tmp_path / f"{k}.png")
    picture = Image.open(folder / "1.png")
    ImageOps.mirror(picture).save(tmp_path / "mirrored.png")
    ImageOps.mirror(Image.open(folder / "2.png")).save(tmp_path / "mirrored.jpg", quality=70)
    picture.crop((8, 8, 40, 36)).save(tmp_path / "part.png")
    found, results = collected(tmp_path, tmp_path / "out")
    summary = summarise(results, found.names, CLASSES)
    assert summary.copies == [["1.png", "mirrored.png"], ["2.png", "mirrored.jpg"]]
    assert summary.images == 5


@pytest.mark.parametrize("size", [32, 25])
def test_cam_and_grad_cam_under_a_pooled_head_count_once(tmp_path, size):
    """Also where a map of 13 × 13 is enlarged to 25 × 25, by each method in its own way."""
    torch.manual_seed(0)
    stem = [nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU()]
    model = nn.Sequential(*stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()

    def small(picture):
        return transform(picture)[:, :size, :size]

    for k, picture in enumerate(photos(6)):
        picture.save(tmp_path / f"{k}.png")
    chosen = choose_methods(["gradient", "Grad-CAM", "CAM", "occlusion"], (size, size))
    own = wrap_model(model, small, CLASSES)
    found = collect(own, tmp_path, tmp_path / "o", methods=chosen, progress=False)
    summary = summarise(open_results(found), found.names, CLASSES)
    assert summary.same == [["Grad-CAM", "CAM"]]
    assert [summary.names[k] for k in summary.methods] == [
        *("gradient", "Grad-CAM (= CAM)", "occlusion"),
    ]
    assert len(occlusion_results(summary)) == len(randomisation_results(summary)) == 3
    words = conclude(summary)
    # Six images can tell something of three methods (5 % over three), and nothing of four.
    assert not words["What may be said"][1].startswith("Nothing about the methods")
    assert sum("3 pairs of methods" in each for each in words["Do the methods agree?"]) == 1


def test_methods_with_equal_maps_are_one(tmp_path):
    def twice(model, images, targets):
        return 2 * grad_cam(model, images, targets)

    own = wrap_model(network(), transform, CLASSES)
    methods = {"Grad-CAM": grad_cam, "gradient": gradient, "twice": twice}
    found = collect(own, photo_folder(tmp_path), tmp_path / "o", methods=methods, progress=False)
    summary = summarise(open_results(found), found.names, CLASSES)
    assert summary.names == ["Grad-CAM (= twice)", "gradient", "null: edges", "null: centre"]
    assert summary.same == [["Grad-CAM", "twice"]]
    assert len(occlusion_results(summary)) == len(summary.methods) == 2
    assert summary.agreement.shape == (3, 4, 4)
    assert summary.logit_drops.shape == (3, 4, 2)
