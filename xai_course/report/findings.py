"""What the results of a report mean, as sentences that are computed from the numbers.

Every sentence names its numbers. A comparison counts images, and says how often a coin would give
as many: with few images nothing can be concluded, and then the sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from xai_course.core.statistics import sign_test
from xai_course.metrics.randomisation import method_agreement
from xai_course.report.run import FILLS, TILES, Result

__all__ = [
    "FillResult",
    "OcclusionResult",
    "RandomisationResult",
    "Summary",
    "best_nulls",
    "chance_words",
    "conclude",
    "fill_words",
    "occlusion_results",
    "randomisation_results",
    "summarise",
]


LEVEL = 0.05  # of significance; divided by the number of methods that are compared (Bonferroni)


class Summary(NamedTuple):
    """The results of N images in numbers, for M maps: the methods first, then the null maps.

    Attributes:
        names: of the M maps.
        agreement: (N, M, M), the rank correlation of the size of relevance in the tiles of two
            maps.
        random_similarity: (N, M), the same of a map and the map with random weights; NaN where
            there is none.
        image_similarity: (N, M), the same of a map and the map of the next image; NaN for one
            image.
        logit_drops: (N, M, fills), in logits.
        confidence: (N,), the largest probability.
        predicted: the predicted class of each image.
        truths: the class that each image's folder is named after, or None.
    """

    names: list[str]
    agreement: Tensor
    random_similarity: Tensor
    image_similarity: Tensor
    logit_drops: Tensor
    confidence: Tensor
    predicted: list[str]
    truths: list[str | None]

    @property
    def methods(self) -> list[int]:
        """The indices of the methods."""
        return [k for k, name in enumerate(self.names) if not name.startswith("null")]

    @property
    def nulls(self) -> list[int]:
        """The indices of the null maps."""
        return [k for k, name in enumerate(self.names) if name.startswith("null")]


def summarise(results: Iterable[Result], names: Sequence[str], classes: Sequence[str]) -> Summary:
    """Bring the results of images, read one at a time, into numbers.

    Args:
        results: from `open_results`.
        names: of the maps.
        classes: the names of the logits.

    Returns:
        The numbers.

    Raises:
        ValueError: for no results.
    """
    tiles, random_tiles, drops, confidences, predicted, truths = [], [], [], [], [], []
    for result in results:
        tiles.append(result.tiles)
        random_tiles.append(result.random_tiles)
        drops.append(result.logit_drops)
        confidence, index = result.logits.softmax(0).max(0)
        confidences.append(confidence)
        predicted.append(classes[int(index)])
        truths.append(result.truth)
    if not tiles:
        raise ValueError("results: got none; must be of at least one image.")
    maps, random_maps = torch.stack(tiles), torch.stack(random_tiles)  # (N, M, 64)
    random_similarity = torch.full(maps.shape[:2], torch.nan, dtype=torch.double)
    image_similarity = random_similarity.clone()
    for k in range(len(names)):
        if not random_maps[:, k].isnan().any():
            random_similarity[:, k] = _similarity(maps[:, k], random_maps[:, k])
        if len(maps) > 1:
            image_similarity[:, k] = _similarity(maps[:, k], maps[:, k].roll(-1, 0))
    return Summary(
        list(names),
        method_agreement({name: _square(maps[:, k]) for k, name in enumerate(names)}),
        random_similarity,
        image_similarity,
        torch.stack(drops),
        torch.stack(confidences),
        predicted,
        truths,
    )


def conclude(summary: Summary) -> dict[str, list[str]]:
    """Return what the numbers allow one to say.

    Args:
        summary: from `summarise`.

    Returns:
        Sentences for each heading.
    """
    return {
        "The answers": _answers(summary),
        "Do the methods agree?": _agreement(summary),
        "Does a map depend on what was learnt?": _randomisation(summary),
        "Is what a map marks needed?": _occlusion(summary),
        "What may be said": _may_be_said(summary),
        "What may not be said": _may_not_be_said(summary),
    }


# ---- results ------------------------------------------------------------------------------------


class RandomisationResult(NamedTuple):
    """Whether a method's maps stay the same if the network has random weights.

    Attributes:
        method: its name.
        random_similarity: mean similarity of its map and the map with random weights.
        image_similarity: mean similarity of its maps of different images.
        hits: on how many images the first is larger.
        significant: whether that is more than chance would give.
    """

    method: str
    random_similarity: float
    image_similarity: float
    hits: int
    significant: bool


def randomisation_results(summary: Summary) -> list[RandomisationResult]:
    """Return whether maps stay the same if all that was learnt is lost.

    Args:
        summary: from `summarise`.

    Returns:
        A result for each method; an empty list for fewer than two images, and where the network's
        layers cannot be drawn anew.
    """
    if len(summary.confidence) < 2:
        return []
    checked = [k for k in summary.methods if not summary.random_similarity[:, k].isnan().any()]
    rows = []
    for k in checked:
        random, images = summary.random_similarity[:, k], summary.image_similarity[:, k]
        hits = int((random > images).sum())
        significant = sign_test(hits, len(random)) < LEVEL / len(checked)
        rows.append(
            RandomisationResult(
                summary.names[k], random.mean().item(), images.mean().item(), hits, significant
            )
        )
    return rows


class FillResult(NamedTuple):
    """What it costs to cover with one filling what a method marks.

    Attributes:
        drop: the mean drop of the logit.
        hits: on how many images it is larger than that of the best null map.
        chance: how often a coin would give as many.
    """

    drop: float
    hits: int
    chance: float


class OcclusionResult(NamedTuple):
    """What it costs to cover the tenth of the image that a method marks most.

    Attributes:
        method: its name.
        fills: a result for each filling.
        ahead: whether the method is ahead of the best null map with every filling, by more than
            chance would give.
    """

    method: str
    fills: list[FillResult]
    ahead: bool


def occlusion_results(summary: Summary) -> list[OcclusionResult]:
    """Return what it costs to cover the tenth of the image that a map marks most.

    Args:
        summary: from `summarise`.

    Returns:
        A result for each method.
    """
    level = LEVEL / len(summary.methods)
    rows = []
    for k in summary.methods:
        fills = []
        for f, null in enumerate(best_nulls(summary)):
            hits = int((summary.logit_drops[:, k, f] > summary.logit_drops[:, null, f]).sum())
            drop = summary.logit_drops[:, k, f].mean().item()
            fills.append(FillResult(drop, hits, sign_test(hits, len(summary.confidence))))
        ahead = all(fill.chance < level for fill in fills)
        rows.append(OcclusionResult(summary.names[k], fills, ahead))
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


# ---- sentences -----------------------------------------------------------------------------------


def _answers(summary: Summary) -> list[str]:
    n = len(summary.confidence)
    high, low = int((summary.confidence > 0.9).sum()), int((summary.confidence < 0.5).sum())
    words = [
        f"Of {_count(n, 'image')} the network is surer than 90 % on {high}, and less sure than "
        f"50 % on {low}."
    ]
    pairs = zip(summary.predicted, summary.truths, strict=True)
    known = [(predicted, truth) for predicted, truth in pairs if truth is not None]
    if known:
        correct = sum(predicted == truth for predicted, truth in known)
        words.append(
            f"The folders name the right class of {_count(len(known), 'image')}: the network is "
            f"right on {correct}. A map of a wrong answer explains the wrong answer."
        )
    else:
        words.append(
            "Whether the answers are right is not known here: no folder is named after a class."
        )
    return words


def _agreement(summary: Summary) -> list[str]:
    n, names, methods = len(summary.confidence), summary.names, summary.methods
    pairs = [(a, b) for i, a in enumerate(methods) for b in methods[i + 1 :]]
    if not pairs:
        return ["One method alone agrees with itself; take two or more to see how far they agree."]
    median = {pair: summary.agreement[:, pair[0], pair[1]].median().item() for pair in pairs}
    most, least = max(pairs, key=lambda p: median[p]), min(pairs, key=lambda p: median[p])
    text = (
        f"{_pair(names, most)} agree most on where something matters (rank correlation "
        f"{_number(median[most])}, median of {_count(n, 'image')})"
    )
    if most != least:
        text += f", {_pair(names, least)} least ({_number(median[least])})"
    return [f"{text}.", *_agreement_with_edges(summary, pairs)]


def _agreement_with_edges(summary: Summary, pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Compare pairs of methods with the pairs of a method and the edge detector."""
    n, names = len(summary.confidence), summary.names
    if "null: edges" not in names:
        return []
    edges = names.index("null: edges")
    below = {}  # on how many images a and b agree less than the edge detector and b do
    for pair in pairs:
        for a, b in (pair, pair[::-1]):
            lower = summary.agreement[:, a, b] < summary.agreement[:, edges, b]
            below[a, b] = int(lower.sum())
    beaten = [pair for pair in pairs if max(below[pair], below[pair[::-1]]) > n / 2]
    words = [
        f"Of {len(pairs)} pairs of methods, {len(beaten)} agree less with each other than one "
        "of the two does with an edge detector, on more than half of the images."
    ]
    if beaten:
        worst = max(below, key=lambda p: below[p])
        words.append(
            f"For example: on {below[worst]} of {n}, {names[worst[0]]} and {names[worst[1]]} "
            f"agree less than the edge detector and {names[worst[1]]} do."
        )
    return words


def _randomisation(summary: Summary) -> list[str]:
    rows = randomisation_results(summary)
    if not rows:
        why = (
            "it takes two images, to compare with maps of different ones."
            if len(summary.confidence) < 2
            else "this network cannot be drawn anew at random, or its maps are empty then."
        )
        return [f"Not checked: {why}"]
    stay = [row.method for row in rows if row.significant]
    text = (
        f"{', '.join(stay)}: the maps stay more alike than maps of different images do. Much of "
        "them comes from the picture, whatever was learnt."
        if stay
        else "No method's maps stay more alike than maps of different images, beyond chance."
    )
    return [text, *_suspects(summary, rows)]


def _suspects(summary: Summary, rows: Sequence[RandomisationResult]) -> list[str]:
    """Name the methods whose maps stay more alike on most images, but not on enough."""
    n = len(summary.confidence)
    suspects = [
        f"{row.method} on {row.hits} of {n} ({chance_words(sign_test(row.hits, n))} by chance)"
        for row in rows
        if row.random_similarity > row.image_similarity and row.hits > n / 2 and not row.significant
    ]
    if not suspects:
        return []
    return [
        "Suspect, and not cleared, since the maps stay more alike on most images: "
        f"{', '.join(suspects)}. {_images_to_be_clear(n, len(rows))}"
    ]


def _occlusion(summary: Summary) -> list[str]:
    rows, n = occlusion_results(summary), len(summary.confidence)
    words = []
    for f, (fill, null) in enumerate(zip(FILLS, best_nulls(summary), strict=True)):
        best = max(rows, key=lambda row: row.fills[f].drop)
        result = best.fills[f]
        null_drop = summary.logit_drops[:, null, f].mean().item()
        null_name = summary.names[null].removeprefix("null: ")
        words.append(
            f"Covered with {fill_words(fill)}, what {best.method} marks takes most from the "
            f"answer, {_number(result.drop)} logits in the mean; what the best map that knows "
            f"nothing ({null_name}) marks, {_number(null_drop)}. On {result.hits} of {n} images "
            f"{best.method} is ahead of it; a coin is as often ahead in "
            f"{chance_words(result.chance)} of all tries."
        )
    return words


def fill_words(fill: str) -> str:
    """Name a filling in a sentence.

    Args:
        fill: one of `FILLS`.

    Returns:
        The words.
    """
    return "the mean colour" if fill == "mean" else "a blur"


def _may_be_said(summary: Summary) -> list[str]:
    n, m = len(summary.confidence), len(summary.methods)
    stay = {row.method for row in randomisation_results(summary) if row.significant}
    good = [
        row.method for row in occlusion_results(summary) if row.ahead and row.method not in stay
    ]
    words = [
        f"What the network answers on {'this image' if n == 1 else f'these {n} images'}, and how "
        "sure it is. That is measured."
    ]
    enough = 1 / 2**n < LEVEL / m  # a lead on every image would be more than chance
    if good:
        words.append(
            f"Of {', '.join(good)}: on images like these, covering what the map marks costs the "
            "answer more than covering the middle or the edges, with two fillings. Show such a map "
            "as a pointer to where to try something, with the number beside it."
        )
    elif enough:
        words.append(
            f"Of no method that its maps mark what the answer needs: none of {m} is clearly ahead "
            f"of maps that know nothing, with both fillings. {_images_to_be_clear(n, m)}"
        )
    else:
        words.append(
            f"Of the methods nothing: with {_count(n, 'image')} even a method that is ahead on all "
            f"of them could be so by chance. {_least_images(m)} images or more could tell."
        )
    return words


def _may_not_be_said(summary: Summary) -> list[str]:
    words = [
        "That a map shows why the network answered so. It shows where one question about the "
        "network, the method's, has a large answer.",
        "That what a map leaves pale does not matter. Nothing here tests that.",
        "That the network has no shortcut. To find one, change the suspected thing, nothing else, "
        "and compare the answers.",
        f"Anything about other images than ones like these {len(summary.confidence)}, or about "
        "another network, also the same one trained again.",
        "That a method is better than another because its maps look better, or agree with others.",
    ]
    if all(truth is None for truth in summary.truths):
        words.append(
            "That the answers are right: nobody has told the report what is in the images."
        )
    return words


# ---- numbers and words ---------------------------------------------------------------------------


def _square(tiles: Tensor) -> Tensor:
    return tiles.view(-1, 1, TILES, TILES)  # (N, 64) to (N, 1, 8, 8)


def _similarity(first: Tensor, second: Tensor) -> Tensor:
    """Compare tiles (N, 64) image by image: Spearman's correlation (N,)."""
    pair = method_agreement({"first": _square(first), "second": _square(second)})
    return pair[:, 0, 1]


def _least_images(methods: int) -> int:
    """Return for how many images a lead on every one of them is more than chance."""
    return math.floor(math.log2(methods / LEVEL)) + 1


def _images_to_be_clear(images: int, methods: int) -> str:
    """Say on how many images a method must be ahead for that to be more than chance."""
    clear = [k for k in range(images + 1) if sign_test(k, images) < LEVEL / methods]
    if not clear:
        return f"It takes {_least_images(methods)} images or more to tell."
    return f"Clear would be {'all' if clear[0] == images else clear[0]} of {images}."


def _pair(names: Sequence[str], pair: tuple[int, int]) -> str:
    return f"{names[pair[0]]} and {names[pair[1]]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _number(value: float | Tensor) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no "−0.00"


def chance_words(share: float) -> str:
    """Write a small share in words.

    Args:
        share: from 0 to 1.

    Returns:
        It in percent.
    """
    return "below 0.1 %" if share < 0.001 else f"{100 * share:.2g} %"
