"""What the results of a report show, in numbers: agreement, and two tests of every method.

Each content counts once: of copies and near-copies of a picture one is compared, and methods that
give the same map are one method. `sentences` writes it in words.

Both tests compare two numbers on every image, and *clear* means the same in both: a coin would be
ahead on as many images in less than 5 % of all tries, divided by the number of methods, and the
interval of the mean difference lies above 0.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xai_course.core.maps import map_ranks
from xai_course.core.statistics import sign_test
from xai_course.core.translation import message
from xai_course.methods import METHODS
from xai_course.metrics.randomisation import method_agreement
from xai_course.report.run import FILLS, TILES, Result
from xai_course.report.words import LEVEL

__all__ = [
    "FillResult",
    "Lead",
    "MethodVerdict",
    "OcclusionResult",
    "RandomisationResult",
    "Summary",
    "best_nulls",
    "first_name",
    "method_verdicts",
    "occlusion_results",
    "randomisation_results",
    "summarise",
    "verdict_word",
]


LEAST = 3  # images: with fewer, maps of different images cannot be compared
NEARLY_THE_SAME = 0.99  # correlation of two pictures, each of 16 × 16 places; cosine of two maps
THUMBNAIL = 16


class Summary(NamedTuple):
    """The results in numbers, for M maps: the methods first, then the null maps.

    F files were explained. N of them are counted: one of each content.

    Attributes:
        names: of the M maps. Methods that give the same map on every image, or nearly, are one,
            under a name such as "Grad-CAM (= CAM)".
        agreement: (N, M, M), the rank correlation of the size of relevance in the tiles of two
            maps.
        random_similarity: (N, M), the same of a map and the map with random weights; NaN where
            there is none.
        image_similarity: (N, M), the mean of the same of a map and the maps of all other images;
            NaN for one image.
        logit_drops: (N, M, fills), in logits.
        confidence: (F,), the largest probability.
        predicted: the predicted answer for each file.
        truths: the answer that each file's folder is named after, or None.
        same: lists of methods that give the same map, or nearly.
        copies: lists of files with the same picture, or nearly, or mirrored. A picture that was cut
            out of another is not found.
        empty: for each map, on how many of the N images it is zero everywhere.
    """

    names: list[str]
    agreement: Tensor
    random_similarity: Tensor
    image_similarity: Tensor
    logit_drops: Tensor
    confidence: Tensor
    predicted: list[str]
    truths: list[str | None]
    same: list[list[str]]
    copies: list[list[str]]
    empty: list[int]

    @property
    def methods(self) -> list[int]:
        """The indices of the methods."""
        return [k for k, name in enumerate(self.names) if not name.startswith("null")]

    @property
    def nulls(self) -> list[int]:
        """The indices of the null maps."""
        return [k for k, name in enumerate(self.names) if name.startswith("null")]

    @property
    def images(self) -> int:
        """N, the number of images that are counted."""
        return len(self.logit_drops)


def summarise(results: Iterable[Result], names: Sequence[str], classes: Sequence[str]) -> Summary:
    """Bring the results of images, read one at a time, into numbers.

    Args:
        results: from `open_results`.
        names: of the maps.
        classes: the names of the answers.

    Returns:
        The numbers. They do not depend on the names of the files, nor on how often a picture is
        there.

    Raises:
        ValueError: for no results.
    """
    files, contents, pictures = [], [], []
    tiles, random_tiles, drops, truths, probabilities = [], [], [], [], []
    same = _candidates(names)
    for result in results:
        files.append(result.file)
        contents.append(_content(result))
        pictures.append(_thumbnail(result.image))
        tiles.append(result.tiles)
        random_tiles.append(result.random_tiles)
        drops.append(result.logit_drops)
        probabilities.append(result.probabilities)
        truths.append(result.truth)
        same = [pair for pair in same if _is_same_map(result.maps, *pair)]
    if not tiles:
        raise ValueError("results: got none; must be of at least one image.")
    counted, copies = _one_of_each(files, contents, torch.stack(pictures))
    kept, groups = _one_of_each_map(len(names), same)
    maps, random_maps = (torch.stack(t)[counted][:, kept] for t in (tiles, random_tiles))
    random_similarity, image_similarity = _similarities(maps, random_maps)
    confidence, predicted = torch.stack(probabilities).max(1)
    every = {str(k): _square(maps[:, k]) for k in range(len(kept))}
    return Summary(
        [_joint_name([names[k] for k in groups[first]]) for first in kept],
        method_agreement(every),
        random_similarity,
        image_similarity,
        torch.stack(drops)[counted][:, kept],
        confidence,
        [classes[index] for index in predicted.tolist()],
        truths,
        [[names[k] for k in groups[first]] for first in kept if len(groups[first]) > 1],
        copies,
        (maps == 0).all(2).sum(0).tolist(),
    )


# ---- each content, and each map, once ------------------------------------------------------------


def _content(result: Result) -> str:
    """Return what tells pictures apart: a hash of what the network got."""
    if result.image.amin() == result.image.amax():  # one colour, which the stretching loses
        return result.sha256
    shape = str(tuple(result.image.shape)).encode()
    return hashlib.sha256(shape + result.image.float().numpy().tobytes()).hexdigest()


def _thumbnail(image: Tensor) -> Tensor:
    """Return a small copy of a picture and its mirror image, (2, F), of mean 0 and length 1."""
    small = F.adaptive_avg_pool2d(image.float(), THUMBNAIL)
    small = torch.stack([small, small.flip(2)]).flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True), dim=1)


def _one_of_each(
    files: Sequence[str], contents: Sequence[str], pictures: Tensor
) -> tuple[list[int], list[list[str]]]:
    """Choose one file of each content: their indices, and the files that are the same or nearly.

    `pictures` (N, 2, F) are from `_thumbnail`. The choice and the order depend on the contents
    alone, not on the names of the files.
    """
    first: dict[str, int] = {}
    for index, content in enumerate(contents):
        first.setdefault(content, index)
    order = [first[content] for content in sorted(first)]
    leader = {index: index for index in order}  # the first of those nearly the same
    similar = pictures[order]
    for row, index in enumerate(order):
        likeness = (similar[:row] @ similar[row, 0]).amax(1)  # as it is, and mirrored
        alike = (likeness > NEARLY_THE_SAME).nonzero().flatten().tolist()
        leaders = {leader[order[place]] for place in alike}
        if leaders:
            joined = min(leaders, key=order.index)
            leader[index] = joined
            leader |= {i: joined for i, other in leader.items() if other in leaders}
    groups: dict[int, list[str]] = {}
    for file, content in zip(files, contents, strict=True):
        groups.setdefault(leader[first[content]], []).append(file)
    counted = [index for index in order if leader[index] == index]
    return counted, sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _candidates(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs of methods that may be one: their maps are read by the same rule."""
    rules = [METHODS[name].readout if name in METHODS else "signed sum" for name in names]
    methods = [k for k, name in enumerate(names) if not name.startswith("null")]
    return [(a, b) for b in methods for a in methods if a < b and rules[a] == rules[b]]


def _is_same_map(maps: Tensor, a: int, b: int) -> bool:
    """Say whether two of an image's maps (M, H, W) are the same up to their scale, or nearly.

    CAM and Grad-CAM under a pooled head are one small map. Each enlarges it in its own way, so the
    large ones differ by up to a fifth at some pixels, with a cosine of 0.995 or more.
    """
    first, second = maps[a].flatten(), maps[b].flatten()
    if not first.any() or not second.any():
        return first.equal(second)
    return bool(F.cosine_similarity(first, second, dim=0) > NEARLY_THE_SAME)


def _one_of_each_map(
    count: int, same: Sequence[tuple[int, int]]
) -> tuple[list[int], dict[int, list[int]]]:
    """Choose one of the maps that are the same: the indices that are kept, and who is in each."""
    groups: dict[int, list[int]] = {}
    for k in range(count):
        earlier = [a for a in groups if (a, k) in same]
        groups.setdefault(earlier[0] if earlier else k, []).append(k)
    return list(groups), groups


def _joint_name(names: Sequence[str]) -> str:
    """Return one name for methods that give the same map."""
    return names[0] if len(names) == 1 else f"{names[0]}{_SAME}{' = '.join(names[1:])})"


_SAME = " (= "


def first_name(name: str) -> str:
    """Return the first of the methods that stand together under one name in a `Summary`.

    Args:
        name: as in `Summary.names`.

    Returns:
        The name of a map, as in `Collected.names`.

    Example:
        >>> from xai_course.report.findings import first_name
        >>> first_name("Grad-CAM (= CAM)"), first_name("LRP")
        ('Grad-CAM', 'LRP')
    """
    return name.partition(_SAME)[0]


# ---- similarity ----------------------------------------------------------------------------------


def _square(tiles: Tensor) -> Tensor:
    return tiles.view(-1, 1, TILES, TILES)  # (N, 64) to (N, 1, 8, 8)


def _similarities(maps: Tensor, random_maps: Tensor) -> tuple[Tensor, Tensor]:
    """Compare tiles (N, M, 64) with those of random weights, and of all other images: (N, M)."""
    count = len(maps)
    random = torch.full(maps.shape[:2], torch.nan, dtype=torch.double)
    other = random.clone()
    for k in range(maps.shape[1]):
        ranks = map_ranks(_square(maps[:, k]))  # (N, 64); a product is a rank correlation
        exists = ~random_maps[:, k].isnan().any(1)
        if exists.any():
            random_ranks = map_ranks(_square(random_maps[exists, k]))
            random[exists, k] = (ranks[exists] * random_ranks).sum(1)
        if count > 1:
            others = ranks.sum(0) - ranks
            other[:, k] = (ranks * others).sum(1) / (count - 1)
    return random, other


# ---- two tests -----------------------------------------------------------------------------------


class Lead(NamedTuple):
    """By how much one number is ahead of another, image by image.

    Attributes:
        hits: on how many images it is ahead.
        images: on how many they were compared.
        chance: how often a coin would give as many hits.
        difference: the mean difference.
        low: the lower end of its interval, Student's, which holds for all methods together with a
            probability of 95 % or more.
        high: the upper end. Both are NaN for one image.
        clear: whether `chance` is below 5 %, divided by the number of methods, and `low` above 0.
        behind: whether the same holds the other way round: it is clearly behind.
    """

    hits: int
    images: int
    chance: float
    difference: float
    low: float
    high: float
    clear: bool
    behind: bool

    @property
    def verdict(self) -> str:
        """Say "passed" if it is clearly ahead, "failed" if clearly behind, or "cannot tell"."""
        return verdict_word(self.clear, self.behind)


def _lead(differences: Tensor, methods: int, influence: Tensor | None = None) -> Lead:
    """Test whether differences (N,) are above 0, as one of several methods.

    `influence` (N,): what each image contributes to the mean difference, where it has a part in
    more differences than its own.
    """
    from scipy import stats

    level = LEVEL / methods
    values = differences.double()
    parts = values if influence is None else influence.double()
    n, hits = len(values), int((values > 0).sum())
    chance, mean = sign_test(hits, n), values.mean().item()
    low = high = math.nan
    if n > 1:
        half = float(stats.t.ppf(1 - level / 2, n - 1)) * parts.std().item() / math.sqrt(n)
        low, high = mean - half, mean + half
    clear = chance < level and low > 0
    behind = sign_test(int((values < 0).sum()), n) < level and high < 0
    return Lead(hits, n, chance, mean, low, high, clear, behind)


def verdict_word(passed: bool, failed: bool) -> str:
    """Return the word for a test in a table.

    Args:
        passed: whether the images show that it is passed.
        failed: whether they show that it is not.

    Returns:
        "passed", "failed", or "cannot tell" where the images show neither.

    Example:
        >>> from xai_course.report.findings import verdict_word
        >>> verdict_word(False, False)
        'cannot tell'
    """
    if passed:
        return message("passed")
    return message("failed") if failed else message("cannot tell")


class RandomisationResult(NamedTuple):
    """Whether a method's maps stay alike if the network has random weights.

    Attributes:
        method: its name.
        random_similarity: mean similarity of its map and the map with random weights.
        image_similarity: mean similarity of its maps of different images.
        lead: by how much the first is ahead of the second.
        share: `lead.difference` as a share of what it would be for maps that do not change at all.
        kept: "most" if the difference is clear and even the lower end of its interval is half of
            that or more; "part" if it is clear; "" if it is not.
    """

    method: str
    random_similarity: float
    image_similarity: float
    lead: Lead
    share: float
    kept: str

    @property
    def verdict(self) -> str:
        """Say whether most of the map depends on what was learnt.

        "failed" if most of it stays; "passed" if even the upper end of the interval is less than
        half of what could stay; or "cannot tell".
        """
        half = max(1 - self.image_similarity, 1e-12) / 2
        return verdict_word(self.lead.high < half, self.kept == "most")


def randomisation_results(summary: Summary) -> list[RandomisationResult]:
    """Return whether maps stay alike if all that was learnt is lost.

    Each image's similarity to its map with random weights is compared with its mean similarity to
    the maps of all other images. As each image has a part in the means of all others, the interval
    is that of the jackknife: an image counts with all that would change without it.

    Args:
        summary: from `summarise`.

    Returns:
        A result for each method. Left out are methods without a map with random weights on some
        image; the list is empty for fewer than three images.

    References:
        Arvesen: Jackknifing U-Statistics. Annals of Mathematical Statistics 40, 1969.
    """
    n = summary.images
    if n < LEAST:
        return []
    checked = [k for k in summary.methods if not summary.random_similarity[:, k].isnan().any()]
    rows = []
    for k in checked:
        random, other = summary.random_similarity[:, k], summary.image_similarity[:, k]
        # The pseudo-values of the jackknife: n · whole − (n − 1) · the same without the image.
        influence = random - (2 * (n - 1) * other - n * other.mean()) / (n - 2)
        lead = _lead(random - other, len(checked), influence)
        room = max(1 - other.mean().item(), 1e-12)
        kept = "" if not lead.clear else "most" if lead.low >= room / 2 else "part"
        rows.append(
            RandomisationResult(
                summary.names[k],
                random.mean().item(),
                other.mean().item(),
                lead,
                lead.difference / room,
                kept,
            )
        )
    return rows


class FillResult(NamedTuple):
    """What it costs to cover with one filling what a method marks.

    Attributes:
        drop: the mean drop of the logit.
        lead: by how much it is larger than that of the best null map.
    """

    drop: float
    lead: Lead


class OcclusionResult(NamedTuple):
    """What it costs to cover the tenth of the image that a method marks most.

    Attributes:
        method: its name.
        fills: a result for each filling.
        ahead: whether the method is clearly ahead of the best null map with every filling.
    """

    method: str
    fills: list[FillResult]
    ahead: bool

    @property
    def verdict(self) -> str:
        """Say "passed" if `ahead`, "failed" if it is clearly behind with a filling, or neither."""
        return verdict_word(self.ahead, any(fill.lead.behind for fill in self.fills))


def occlusion_results(summary: Summary) -> list[OcclusionResult]:
    """Return what it costs to cover the tenth of the image that a map marks most.

    Args:
        summary: from `summarise`.

    Returns:
        A result for each method.
    """
    rows = []
    for k in summary.methods:
        fills = []
        for f, null in enumerate(best_nulls(summary)):
            drops = summary.logit_drops[:, k, f]
            lead = _lead(drops - summary.logit_drops[:, null, f], len(summary.methods))
            fills.append(FillResult(drops.mean().item(), lead))
        rows.append(
            OcclusionResult(summary.names[k], fills, all(fill.lead.clear for fill in fills))
        )
    return rows


def best_nulls(summary: Summary) -> list[int]:
    """Return, for each filling, the null map whose covering costs most.

    Args:
        summary: from `summarise`.

    Returns:
        Indices of the maps.
    """
    means = summary.logit_drops.mean(0)
    return [max(summary.nulls, key=lambda k: means[k, f].item()) for f in range(len(FILLS))]


class MethodVerdict(NamedTuple):
    """Whether a method's maps may be shown as pointers, and what decided it.

    Attributes:
        method: its name.
        may_be_shown: True if it is clearly ahead with every filling, and most of its map is not
            what stays with random weights.
        occlusion: its result.
        randomisation: its result, or None where there is none.
    """

    method: str
    may_be_shown: bool
    occlusion: OcclusionResult
    randomisation: RandomisationResult | None

    @property
    def randomisation_verdict(self) -> str:
        """Return that of `randomisation`; "cannot tell" where there is none."""
        return "cannot tell" if self.randomisation is None else self.randomisation.verdict


def method_verdicts(summary: Summary) -> list[MethodVerdict]:
    """Bring both tests of each method together.

    Args:
        summary: from `summarise`.

    Returns:
        A verdict for each method.
    """
    random = {row.method: row for row in randomisation_results(summary)}
    rows = []
    for row in occlusion_results(summary):
        other = random.get(row.method)
        shown = row.ahead and (other is None or other.kept != "most")
        rows.append(MethodVerdict(row.method, shown, row, other))
    return rows
