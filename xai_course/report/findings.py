"""What the results of a report allow one to say, as sentences that are computed.

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
    "Summary",
    "best_nulls",
    "chance_words",
    "conclude",
    "fill_words",
    "occlusion_results",
    "randomisation_results",
    "summarise",
]


LEVEL = 0.05  # shared out among the methods that are compared


class Summary(NamedTuple):
    """The results of N images in numbers, for M maps (methods first, then nulls).

    `agreement` (N, M, M): how alike the maps of two methods rank the tiles by size of relevance.
    `kept` (N, M): the same for the map with random weights, and `others` (N, M): for the map of the
    next image; NaN where there is none. `falls` (N, M, fills), in logits. `sure` (N,): the largest
    probability. `says`: the classes; `truths`: what the folders say, or None.
    """

    names: list[str]
    agreement: Tensor
    kept: Tensor
    others: Tensor
    falls: Tensor
    sure: Tensor
    says: list[str]
    truths: list[str | None]

    @property
    def methods(self) -> list[int]:
        """The places of the methods."""
        return [k for k, name in enumerate(self.names) if not name.startswith("null")]

    @property
    def nulls(self) -> list[int]:
        """The places of the nulls."""
        return [k for k, name in enumerate(self.names) if name.startswith("null")]


def summarise(results: Iterable[Result], names: Sequence[str], classes: Sequence[str]) -> Summary:
    """Bring results, read one at a time, into numbers. Raises ValueError for none."""
    tiles, random, falls, sure, says, truths = [], [], [], [], [], []
    for one in results:
        tiles.append(one.tiles)
        random.append(one.random)
        falls.append(one.falls)
        share, which = one.logits.softmax(0).max(0)
        sure.append(share)
        says.append(classes[int(which)])
        truths.append(one.truth)
    if not tiles:
        raise ValueError("results: got none; allowed is at least one image.")
    maps = torch.stack(tiles)  # (N, M, 64)
    by_name = {name: _square(maps[:, k]) for k, name in enumerate(names)}
    both = torch.stack(random)
    kept = torch.full(maps.shape[:2], torch.nan, dtype=torch.double)
    others = kept.clone()
    for k in range(len(names)):
        if not both[:, k].isnan().any():
            kept[:, k] = _alike(maps[:, k], both[:, k])
        if len(maps) > 1:
            others[:, k] = _alike(maps[:, k], maps[:, k].roll(-1, 0))
    return Summary(
        list(names),
        method_agreement(by_name),
        kept,
        others,
        torch.stack(falls),
        torch.stack(sure),
        says,
        truths,
    )


def conclude(found: Summary) -> dict[str, list[str]]:
    """Return what the numbers allow one to say: a list of sentences for each heading."""
    return {
        "The answers": _answers(found),
        "Do the methods agree?": _agreeing(found),
        "Does a map depend on what was learnt?": _forgetting(found),
        "Is what a map marks needed?": _covering(found),
        "What may be said": _may(found),
        "What may not be said": _may_not(found),
    }


def _answers(found: Summary) -> list[str]:
    n = len(found.sure)
    high, low = int((found.sure > 0.9).sum()), int((found.sure < 0.5).sum())
    words = [
        f"Of {_count(n, 'image')} the network is surer than 90 % on {high}, and less sure than "
        f"50 % on {low}."
    ]
    pairs = [(s, t) for s, t in zip(found.says, found.truths, strict=True) if t is not None]
    if pairs:
        right = sum(said == true for said, true in pairs)
        words.append(
            f"The folders name the right class of {_count(len(pairs), 'image')}: the network is "
            f"right on {right}. A map of a wrong answer explains the wrong answer."
        )
    else:
        words.append(
            "Whether the answers are right is not known here: no folder is named after a class."
        )
    return words


def _agreeing(found: Summary) -> list[str]:
    n, m = len(found.sure), found.methods
    pairs = [(a, b) for i, a in enumerate(m) for b in m[i + 1 :]]
    if not pairs:
        return ["One method alone agrees with itself; take two or more to see how far they agree."]
    names = found.names
    typical = {pair: found.agreement[:, pair[0], pair[1]].median().item() for pair in pairs}
    most, least = max(pairs, key=lambda p: typical[p]), min(pairs, key=lambda p: typical[p])
    words = [
        f"{_pair(names, most)} agree most on where something matters (rank correlation "
        f"{_number(typical[most])}, median of {_count(n, 'image')})"
        + (f", {_pair(names, least)} least ({_number(typical[least])})." if most != least else ".")
    ]
    edges = names.index("null: edges") if "null: edges" in names else None
    if edges is not None:
        below = {}
        for a, b in pairs:
            for one, other in ((a, b), (b, a)):
                lower = found.agreement[:, a, b] < found.agreement[:, edges, other]
                below[one, other] = int(lower.sum())
        beaten = [p for p in pairs if max(below[p], below[p[::-1]]) > n / 2]
        worst = max(below, key=lambda p: below[p])
        words.append(
            f"Of {len(pairs)} pairs of methods, {len(beaten)} agree less with each other than one "
            "of the two does with an edge detector, on more than half of the images."
        )
        if beaten:
            words.append(
                f"For example: on {below[worst]} of {n}, {names[worst[0]]} and {names[worst[1]]} "
                f"agree less than the edge detector and {names[worst[1]]} do."
            )
    return words


def randomisation_results(found: Summary) -> list[tuple[str, float, float, int, bool]]:
    """Return whether maps stay when all that was learnt is gone: a row for each method.

    Its name; how alike its maps stay with random weights; how alike its maps of different images
    are; on how many images the first is larger; whether that is more than chance would give. []
    with less than two images, and where the network's layers cannot be drawn anew.
    """
    rows = []
    checked = [k for k in found.methods if not found.kept[:, k].isnan().any()]
    for k in checked if len(found.sure) > 1 else []:
        kept, others = found.kept[:, k], found.others[:, k]
        hits = int((kept > others).sum())
        sure = sign_test(hits, len(kept)) < LEVEL / len(checked)
        rows.append((found.names[k], kept.mean().item(), others.mean().item(), hits, sure))
    return rows


def occlusion_results(found: Summary) -> list[tuple[str, list[tuple[float, int, float]], bool]]:
    """Return what it costs to cover the tenth that a map marks most: a row for each method.

    Its name; for each filling the mean fall of the logit, on how many images it is more than that
    of the best null map (`best_nulls`), and how often a coin would give as many; and whether the
    method is ahead of that null, by more than chance, with every filling.
    """
    rows = []
    for k in found.methods:
        cells = []
        for f, null in enumerate(best_nulls(found)):
            hits = int((found.falls[:, k, f] > found.falls[:, null, f]).sum())
            mean = found.falls[:, k, f].mean().item()
            cells.append((mean, hits, sign_test(hits, len(found.sure))))
        ahead = all(chance < LEVEL / len(found.methods) for _, _, chance in cells)
        rows.append((found.names[k], cells, ahead))
    return rows


def best_nulls(found: Summary) -> list[int]:
    """Return, for each filling, the place of the null map that costs most."""
    means = found.falls.mean(0)
    return [max(found.nulls, key=lambda k: means[k, f].item()) for f in range(len(FILLS))]


def _forgetting(found: Summary) -> list[str]:
    rows = randomisation_results(found)
    if not rows:
        why = (
            "it takes two images, to compare with maps of different ones."
            if len(found.sure) < 2
            else "this network cannot be drawn anew at random, or its maps are empty then."
        )
        return [f"Not checked: {why}"]
    stay = [name for name, *_, sure in rows if sure]
    told = (
        f"{', '.join(stay)}: the maps stay more alike than maps of different images do. Much of "
        "them comes from the picture, whatever was learnt."
        if stay
        else "No method's maps stay more alike than maps of different images, beyond chance."
    )
    return [told, *_suspects(found, rows)]


def _suspects(found: Summary, rows: list[tuple[str, float, float, int, bool]]) -> list[str]:
    """Name the methods whose maps stay more alike on most images, but not on enough."""
    n = len(found.sure)
    suspects = [
        f"{name} on {hits} of {n} ({chance_words(sign_test(hits, n))} by chance)"
        for name, kept, others, hits, sure in rows
        if kept > others and hits > n / 2 and not sure
    ]
    if not suspects:
        return []
    return [
        "Suspect, and not cleared, since the maps stay more alike on most images: "
        f"{', '.join(suspects)}. {_takes(n, len(rows))}"
    ]


def _covering(found: Summary) -> list[str]:
    rows, n = occlusion_results(found), len(found.sure)
    words = []
    for f, (fill, null) in enumerate(zip(FILLS, best_nulls(found), strict=True)):
        name, cells, _ = max(rows, key=lambda row: row[1][f][0])
        level = found.falls[:, null, f].mean().item()
        best = found.names[null].removeprefix("null: ")
        words.append(
            f"Covered with {fill_words(fill)}, what {name} marks takes most from the answer, "
            f"{_number(cells[f][0])} logits in the mean; what the best map that knows nothing "
            f"({best}) marks, {_number(level)}. On {cells[f][1]} of {n} images {name} is ahead of "
            f"it; a coin is as often ahead in {chance_words(cells[f][2])} of all tries."
        )
    return words


def fill_words(fill: str) -> str:
    """Name a filling in a sentence."""
    return "the mean colour" if fill == "mean" else "a blur"


def _may(found: Summary) -> list[str]:
    n, m = len(found.sure), len(found.methods)
    stays = {row[0] for row in randomisation_results(found) if row[-1]}
    good = [name for name, _, ahead in occlusion_results(found) if ahead and name not in stays]
    words = [
        f"What the network answers on {'this image' if n == 1 else f'these {n} images'}, and how "
        "sure it is. That is measured."
    ]
    enough = 1 / 2**n < LEVEL / m
    if good:
        words.append(
            f"Of {', '.join(good)}: on images like these, covering what the map marks costs the "
            "answer more than covering the middle or the edges, with two fillings. Show such a map "
            "as a pointer to where to try something, with the number beside it."
        )
    elif enough:
        words.append(
            f"Of no method that its maps mark what the answer needs: none of {m} is clearly ahead "
            f"of maps that know nothing, with both fillings. {_takes(n, m)}"
        )
    else:
        words.append(
            f"Of the methods nothing: with {_count(n, 'image')} even a method that is ahead on all "
            f"of them could be so by chance. {_enough(m)} images or more could tell."
        )
    return words


def _may_not(found: Summary) -> list[str]:
    words = [
        "That a map shows why the network answered so. It shows where one question about the "
        "network, the method's, has a large answer.",
        "That what a map leaves pale does not matter. Nothing here tests that.",
        "That the network has no shortcut. To find one, change the suspected thing, nothing else, "
        "and compare the answers.",
        f"Anything about other images than ones like these {len(found.sure)}, or about another "
        "network, also the same one trained again.",
        "That a method is better than another because its maps look better, or agree with others.",
    ]
    if all(truth is None for truth in found.truths):
        words.append(
            "That the answers are right: nobody has told the report what is in the images."
        )
    return words


# ---- numbers and words ---------------------------------------------------------------------------


def _square(tiles: Tensor) -> Tensor:
    return tiles.view(-1, 1, TILES, TILES)


def _alike(first: Tensor, second: Tensor) -> Tensor:
    """Compare tiles (N, 64) image by image: Spearman's correlation (N,)."""
    pair = method_agreement({"first": _square(first), "second": _square(second)})
    return pair[:, 0, 1]


def _enough(methods: int) -> int:
    """Return how many images it takes for a lead on every one of them to be no chance."""
    return math.floor(math.log2(methods / LEVEL)) + 1


def _takes(images: int, methods: int) -> str:
    """Say on how many images a method must be ahead for that to be no chance."""
    clear = [k for k in range(images + 1) if sign_test(k, images) < LEVEL / methods]
    if not clear:
        return f"It takes {_enough(methods)} images or more to tell."
    return f"Clear would be {'all' if clear[0] == images else clear[0]} of {images}."


def _pair(names: Sequence[str], pair: tuple[int, int]) -> str:
    return f"{names[pair[0]]} and {names[pair[1]]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _number(value: float | Tensor) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no "−0.00"


def chance_words(share: float) -> str:
    """Write a small share in words."""
    return "below 0.1 %" if share < 0.001 else f"{100 * share:.2g} %"
