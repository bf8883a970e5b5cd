"""What the results of a report mean, as sentences and tables that are computed from the numbers.

Every sentence is made from the rows of the table that stands below it, with the reason that
applied. A comparison counts images, and says how often a coin would give as many: with few images
nothing can be concluded, and then the sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from xai_course.core.statistics import sign_test
from xai_course.methods import METHODS, report_methods
from xai_course.report.answers import answer_names
from xai_course.report.findings import (
    LEAST,
    Lead,
    MethodVerdict,
    RandomisationResult,
    Summary,
    best_nulls,
    method_verdicts,
    occlusion_results,
    randomisation_results,
)
from xai_course.report.network import UserModel
from xai_course.report.run import FILLS
from xai_course.report.words import (
    LEVEL,
    chance_words,
    counted,
    least_count,
    listed,
    number,
    precise,
    short_source,
)

__all__ = [
    "baseline_remarks",
    "clear_words",
    "conclude",
    "fill_words",
    "labels_origin",
    "not_tried",
    "occlusion_table",
    "prose",
    "randomisation_table",
]


SUSPECT = 0.1  # of a map: a smaller part that stays is not worth a suspicion
BASELINES = {
    "black": "a black picture",
    "mean": "the mean colour of the pictures",
    "blur": "the blurred pictures",
}
FIRST = 5  # of a long list of files that is not written out


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


# ---- tables --------------------------------------------------------------------------------------


def clear_words(methods: int) -> str:
    """Say what *clear* means in a table of methods.

    Args:
        methods: how many there are.

    Returns:
        A sentence.
    """
    level = LEVEL / methods
    divided = f"{LEVEL:.0%}".replace("%", " %")
    shared = f", {divided} divided by {methods} methods" if methods > 1 else ""
    return (
        f"Clear: a coin would be ahead on as many images in less than {chance_words(level)} of all "
        f"tries{shared}, and the interval of the difference lies above 0. The intervals are "
        "Student's; with a probability of 95 % or more all of a column hold."
    )


def randomisation_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table about random weights.

    Args:
        summary: from `summarise`.

    Returns:
        The head, and a row for each method that was checked.
    """
    head = [
        *("method", "result", "like its map with random weights", "like maps of other images"),
        *("difference [interval]", "of what could stay", "ahead on", "by chance", "stays"),
    ]
    rows = [
        [
            row.method,
            row.verdict,
            number(row.random_similarity),
            number(row.image_similarity),
            _interval(row.lead),
            f"{row.share:.0%}".replace("%", " %") if row.share > 0 else "–",
            *_counts(row.lead),
            {"most": "most", "part": "a part", "": "not clear"}[row.kept],
        ]
        for row in randomisation_results(summary)
    ]
    return head, rows


def occlusion_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table about covering.

    Args:
        summary: from `summarise`.

    Returns:
        The head, and a row for each method.
    """
    head = ["method", "result"]
    for f, (fill, null) in enumerate(zip(FILLS, best_nulls(summary), strict=True)):
        name, drop = _null_name(summary, null), summary.logit_drops[:, null, f].mean().item()
        head += [
            f"{fill_words(fill)}: logits",
            f"more than {name} ({number(drop)}) by [interval]",
            *("ahead on", "by chance", f"with {fill_words(fill)}"),
        ]
    rows = []
    for row in occlusion_results(summary):
        cells = [row.method, row.verdict]
        for result in row.fills:
            lead = result.lead
            cells += [number(result.drop), _interval(lead), *_counts(lead), lead.verdict]
        rows.append(cells)
    return head, rows


def _interval(lead: Lead) -> str:
    """Write a difference and its interval."""
    if math.isnan(lead.low):
        return precise(lead.difference)
    return f"{precise(lead.difference)} [{precise(lead.low)}, {precise(lead.high)}]"


def _counts(lead: Lead) -> list[str]:
    """Write how often one number is ahead, and how often a coin would be."""
    return [f"{lead.hits} of {lead.images}", chance_words(lead.chance)]


def fill_words(fill: str) -> str:
    """Name a filling in a sentence.

    Args:
        fill: one of `FILLS`.

    Returns:
        The words.
    """
    return "the mean colour" if fill == "mean" else "a blur"


# ---- what is explained ---------------------------------------------------------------------------


def prose(user_model: UserModel, checks: Mapping[str, Any]) -> dict[str, str]:
    """Return what stands under the headings of the page before their numbers.

    Args:
        user_model: the network with its transform and answers.
        checks: what was checked of it.

    Returns:
        Text by heading. It speaks only of methods, and of layers, that this report has.
    """
    methods = checks["methods"]
    norms = [m for m in user_model.model.modules() if "BatchNorm" in type(m).__name__]
    statistics = (
        " (and its batch normalisations take their statistics from some of the images, or no "
        "signal would come through)"
        if norms
        else ""
    )
    favours = (
        " (Occlusion is made by covering, so this check favours it.)"
        if "occlusion" in methods
        else ""
    )
    return {
        "The maps": _prose_of_maps(user_model, methods),
        "Does a map depend on what was learnt?": (
            f"All weights of the network are drawn anew at random, as before training{statistics}. "
            "A map that hardly changes does not come from what was learnt. The yardstick is what "
            "the maps of different images have in common: each image is compared with all others. "
            "Passed: even the upper end of the interval is below half of what could stay. Failed: "
            "it is clear that most stays. Cannot tell: neither."
        ),
        "Is what a map marks needed?": (
            "The tenth of the picture that a map marks most is covered, once with the picture's "
            "mean colour and once with a blur. If the map marks what the answer needs, the logit "
            "falls more than when the tenth is covered that an edge detector marks, or the middle."
            f"{favours} By chance: how often a coin would be ahead on as many images. Passed: "
            "clearly ahead with both. Failed: clearly behind with one. Cannot tell: neither."
        ),
        "Does the transform fit?": _prose_of_transform(checks["transform"]),
        "Compared with what?": _prose_of_baselines(methods),
    }


def _prose_of_maps(user_model: UserModel, methods: Sequence[str]) -> str:
    one_logit = user_model.about["logits"] == 1
    explained = (
        f"the answer “{user_model.classes[1]}”, of which the network's one logit is"
        if one_logit
        else "the class that the network named"
    )
    by_size = [name for name in methods if name in METHODS and METHODS[name].readout == "size"]
    sign = (
        f" In maps of {listed(by_size)} the sign has no such meaning: there, purple is the "
        "strength."
        if by_size
        else ""
    )
    return (
        f"For each picture and each method three views. First the map for {explained}. Orange "
        "speaks for it, blue against it; where the map says nothing, the picture stays grey."
        f"{sign} Each map has its own scale. Then the same map in 8 × 8 tiles, as the tests "
        "read it; the six tiles that it marks most have a frame. Last the picture with these six "
        "covered with its mean colour, and the network's score for the answer before and after. "
        "The last two maps know nothing of the network: they are there to compare with. A click on "
        "the line of a picture opens it."
    )


def _prose_of_transform(rows: Sequence[Mapping[str, Any]]) -> str:
    text = "The same pictures through the transform, and through mistakes often made in its place."
    if rows[0]["kl_divergence"] is not None:
        text += (
            " Surprise: how unlike what the network was trained on its first batch normalisation "
            "finds them (0: as in training). It sees a wrong scale of the pixels, and hardly sees "
            "a picture on its side, or colours that are swapped."
        )
    if rows[0]["right"] is None:
        text += " Pictures whose class is known, in folders named after it, would show more."
    return text


def _prose_of_baselines(methods: Sequence[str]) -> str:
    compared = [name for name in ("Integrated Gradients", "DeepLIFT") if name in methods]
    text = (
        "What the network says to three kinds of baseline, in which there should be nothing to see:"
    )
    if not compared:
        return text
    say = "says" if len(compared) == 1 else "say"
    return (
        f"{listed(compared)} {say} how the answer differs from the one to a baseline, here a blur. "
        f"{text}"
    )


def baseline_remarks(rows: Sequence[Mapping[str, Any]], answers: int) -> list[str]:
    """Say which baselines the network takes for something: they are not neutral.

    Sure is nearer to certain than to a guess: a probability above (1 + 1/K) / 2 with K answers.

    Args:
        rows: from `check_baselines`.
        answers: K, their number.

    Returns:
        A sentence, or none.
    """
    sure = [
        f"{BASELINES[row['baseline']]} (“{row['predicted']}”, {row['confidence']:.0%})".replace(
            "%", " %"
        )
        for row in rows
        if row["confidence"] > (1 + 1 / answers) / 2
    ]
    if not sure:
        return []
    return [
        f"Not neutral, since the network itself is sure of an answer to it: {listed(sure)}. A map "
        "that compares with such a picture shows how the answer differs from that one, and what is "
        "covered with it is not just gone."
    ]


def not_tried(checks: Mapping[str, Any]) -> list[str]:
    """Say which methods of `report_methods` were not tried, as others were asked for.

    Args:
        checks: what was checked of the network.

    Returns:
        A sentence, or none.
    """
    tried = {*checks["methods"], *checks["refused"]}
    others = [name for name in report_methods() if name not in tried]
    if not others:
        return []
    return [
        f"Not tried, as they were not asked for: {', '.join(others)}. Whether they apply to this "
        "network is not known."
    ]


def labels_origin(labels: str, classes: Sequence[str]) -> str:
    """Say where the names of the answers come from.

    Args:
        labels: the file of names that was given, or "".
        classes: the names.

    Returns:
        A few words.
    """
    if labels:
        return f"from the file {short_source(labels)}"
    if tuple(classes) in (answer_names(None, len(classes)), answer_names(None, 1)):
        return "none were given, and none came with the network: the answers are numbered"
    return "those that came with the network"


# ---- the answers ---------------------------------------------------------------------------------


def _answers(summary: Summary) -> list[str]:
    n = len(summary.confidence)
    high, low = int((summary.confidence > 0.9).sum()), int((summary.confidence < 0.5).sum())
    words = [
        f"Of {counted(n, 'image')} the network is surer than 90 % on {high}, and less sure than "
        f"50 % on {low}."
    ]
    pairs = zip(summary.predicted, summary.truths, strict=True)
    known = [(predicted, truth) for predicted, truth in pairs if truth is not None]
    if known:
        correct = sum(predicted == truth for predicted, truth in known)
        words.append(
            f"The folders name the right class of {counted(len(known), 'image')}: the network is "
            f"right on {correct}. A map of a wrong answer explains the wrong answer."
        )
    else:
        words.append(
            "Whether the answers are right is not known here: no folder is named after a class."
        )
    return [*words, *_copies(summary)]


def _copies(summary: Summary) -> list[str]:
    """Name the files that hold the same picture."""
    if not summary.copies:
        return []
    groups = [listed(_first(group)) for group in summary.copies]
    more = f"; and {len(groups) - FIRST} more such groups" if len(groups) > FIRST else ""
    compared = counted(summary.images, "picture")
    return [
        f"The same picture, or nearly, or mirrored: {'; '.join(groups[:FIRST])}{more}. Each counts "
        f"once in all comparisons, which are of {compared}."
    ]


def _first(names: Sequence[str]) -> list[str]:
    """Return the first few names, and how many more there are."""
    more = len(names) - FIRST
    return [*names[:FIRST], f"{more} more"] if more > 0 else list(names)


# ---- agreement -----------------------------------------------------------------------------------


def _agreement(summary: Summary) -> list[str]:
    n, names, methods = summary.images, summary.names, summary.methods
    same = [
        f"{listed(group)} give the same map on every image, or nearly, up to its scale: they "
        "count as one method."
        for group in summary.same
    ]
    pairs = [(a, b) for i, a in enumerate(methods) for b in methods[i + 1 :]]
    if not pairs:
        return [
            *same,
            "One method alone agrees with itself; take two or more to see how far they agree.",
        ]
    median = {pair: summary.agreement[:, pair[0], pair[1]].median().item() for pair in pairs}
    most, least = max(pairs, key=lambda p: median[p]), min(pairs, key=lambda p: median[p])
    of = f"median of {counted(n, 'image')}"
    if most == least:
        text = (
            f"{_pair(names, most)} agree on where something matters by {number(median[most])} "
            f"(rank correlation, {of})"
        )
    else:
        text = (
            f"{_pair(names, most)} agree most on where something matters (rank correlation "
            f"{number(median[most])}, {of}), {_pair(names, least)} least ({number(median[least])})"
        )
    return [*same, f"{text}.", *_agreement_with_edges(summary, pairs)]


def _agreement_with_edges(summary: Summary, pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Compare pairs of methods with the pairs of a method and the edge detector."""
    n, names = summary.images, summary.names
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
        f"Of {counted(len(pairs), 'pair')} of methods, {len(beaten)} "
        f"agree{'s' if len(beaten) == 1 else ''} less with each other than "
        "one of the two does with an edge detector, on more than half of the images."
    ]
    if beaten:
        worst = max(below, key=lambda p: below[p])
        words.append(
            f"For example: on {below[worst]} of {n}, {names[worst[0]]} and {names[worst[1]]} "
            f"agree less than the edge detector and {names[worst[1]]} do."
        )
    return words


# ---- random weights ------------------------------------------------------------------------------


def _randomisation(summary: Summary) -> list[str]:
    rows = randomisation_results(summary)
    if not rows:
        why = (
            f"it takes {LEAST} different images, to compare with maps of others."
            if summary.images < LEAST
            else "this network cannot be drawn anew at random, or its maps are empty then."
        )
        return [f"Not checked: {why}"]
    words = [
        *_kept(rows, "most", "most of each map stays"),
        *_kept(rows, "part", "a part of each map stays"),
    ]
    if not words:
        words = ["No method's maps stay clearly more alike than maps of different images."]
    checked = {row.method for row in rows}
    unchecked = [summary.names[k] for k in summary.methods if summary.names[k] not in checked]
    if unchecked:
        words.append(
            f"Not checked: {listed(unchecked)}, since with random weights the map of some image is "
            "empty."
        )
    return [*words, *_suspects(summary, rows)]


def _kept(rows: Sequence[RandomisationResult], kept: str, what: str) -> list[str]:
    """Say of which methods a map stays, and how much of it."""
    of_this_kind = [row for row in rows if row.kept == kept]
    if not of_this_kind:
        return []
    methods = ", ".join(f"{row.method} ({_similarities(row)})" for row in of_this_kind)
    if kept == "most":
        end = "It comes from the picture and the architecture, whatever was learnt."
    else:
        end = "The rest depends on what was learnt, or on chance."
    return [f"With random weights {what}, clearly more than maps of different images share: "
            f"{methods}. {end}"]  # fmt: skip


def _similarities(row: RandomisationResult) -> str:
    """Write how alike a method's maps stay, and how much of what could stay that is."""
    share = f"{row.share:.0%}".replace("%", " %")
    return (
        f"correlation {number(row.random_similarity)}, different images "
        f"{number(row.image_similarity)}: {share} of what could stay"
    )


def _suspects(summary: Summary, rows: Sequence[RandomisationResult]) -> list[str]:
    """Name the methods of whose maps a tenth or more stays, on most images, but not clearly."""
    suspects = [
        f"{row.method} on {row.lead.hits} of {row.lead.images} ({chance_words(row.lead.chance)} by "
        f"chance; {_similarities(row)})"
        for row in rows
        if not row.kept and row.share >= SUSPECT and row.lead.hits > row.lead.images / 2
    ]
    if not suspects:
        return []
    return [
        "Suspect, and not cleared, since the maps stay more alike on most images: "
        f"{', '.join(suspects)}. {_images_to_be_clear(summary.images, len(rows))}"
    ]


# ---- covering ------------------------------------------------------------------------------------


def _occlusion(summary: Summary) -> list[str]:
    rows = occlusion_results(summary)
    words = []
    for f, (fill, null) in enumerate(zip(FILLS, best_nulls(summary), strict=True)):
        best = max(rows, key=lambda row: row.fills[f].drop)
        result = best.fills[f]
        null_drop = summary.logit_drops[:, null, f].mean().item()
        null_name = f"the best map that knows nothing ({_null_name(summary, null)})"
        if len(rows) > 1:
            most = f"of the methods {best.method} marks what takes most from the logit"
        else:
            most = f"what {best.method} marks takes from the logit"
        ahead = "less than" if result.drop < null_drop else "more than"
        words.append(
            f"Covered with {fill_words(fill)}, {most}, {number(result.drop)} in the mean, "
            f"{ahead} what {null_name} marks, {number(null_drop)}. The difference is "
            f"{_interval(result.lead)}. On {result.lead.hits} of "
            f"{counted(result.lead.images, 'image')} {best.method} is ahead of it; a coin is ahead "
            f"at least as often in {chance_words(result.lead.chance)} of all tries."
        )
    clear = [
        f"with {fill_words(fill)} {_names([r.method for r in rows if r.fills[f].lead.clear])}"
        for f, fill in enumerate(FILLS)
    ]
    both = _names([row.method for row in rows if row.ahead])
    words.append(f"Clearly ahead: {'; '.join(clear)}; with both {both}.")
    empty = [
        f"{summary.names[k]} on {summary.empty[k]} of {summary.images}"
        for k in summary.methods
        if summary.empty[k]
    ]
    if empty:
        words.append(f"An empty map, where nothing is covered, has {listed(empty)}.")
    return words


def _null_name(summary: Summary, null: int) -> str:
    return summary.names[null].removeprefix("null: ")


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


# ---- what may be said ----------------------------------------------------------------------------


def _may_be_said(summary: Summary) -> list[str]:
    n, m, files = summary.images, len(summary.methods), len(summary.confidence)
    verdicts = method_verdicts(summary)
    words = [
        f"What the network answers on {'this image' if files == 1 else f'these {files} images'}, "
        "and how sure it is. That is measured."
    ]
    if n < least_count(LEVEL / m):  # a lead on every image may be chance
        return [
            *words,
            f"Of the methods nothing: with {counted(n, 'image')} even a method that is ahead on "
            f"all of them could be so by chance. {least_count(LEVEL / m)} different images or more "
            "could tell.",
        ]
    shown = [verdict for verdict in verdicts if verdict.may_be_shown]
    if shown:
        words += [_recommendation(shown), *_caveats(shown)]
    ahead = [verdict for verdict in verdicts if verdict.occlusion.ahead]
    struck = [verdict for verdict in ahead if not verdict.may_be_shown]
    if struck:
        kept = listed([f"{v.method} ({_similarities(v.randomisation)})" for v in struck
                     if v.randomisation])  # fmt: skip
        words.append(
            f"Not that the maps of {kept} show what was learnt, although covering what they mark "
            "lowers the logit clearly more, with both fillings: most of each map stays with random "
            "weights."
        )
    if not ahead:
        words.append(_nothing_ahead(verdicts, n))
    return words


def _recommendation(shown: Sequence[MethodVerdict]) -> str:
    """Recommend the methods whose maps may be shown."""
    numbers = "; ".join(
        f"{v.method} by "
        + " and ".join(
            f"{_interval(result.lead)} ({fill_words(fill)})"
            for fill, result in zip(FILLS, v.occlusion.fills, strict=True)
        )
        for v in shown
    )
    return (
        f"Of {', '.join(v.method for v in shown)}: on images like these, covering what the map "
        "marks lowers the logit clearly more than covering the middle or the edges, with two "
        f"fillings ({numbers}). Show such a map as a pointer to where to try something, with the "
        "number beside it."
    )


def _caveats(shown: Sequence[MethodVerdict]) -> list[str]:
    """Say what speaks against the methods that are recommended."""
    part = [
        f"{v.method} ({_similarities(v.randomisation)})"
        for v in shown
        if v.randomisation is not None and v.randomisation.kept == "part"
    ]
    unchecked = [v.method for v in shown if v.randomisation is None]
    words = []
    if part:
        words.append(f"But a part of each map stays with random weights: {', '.join(part)}.")
    if unchecked:
        words.append(
            "But whether the map depends on what was learnt was not checked of "
            f"{listed(unchecked)}."
        )
    return words


def _nothing_ahead(verdicts: Sequence[MethodVerdict], images: int) -> str:
    """Say that no method is clearly ahead with both fillings, and which are with one."""
    one = [
        f"{listed(methods)} with {fill_words(fill)} alone"
        for f, fill in enumerate(FILLS)
        if (methods := [v.method for v in verdicts if v.occlusion.fills[f].lead.clear])
    ]
    clearly = f" Clearly ahead with one filling: {'; '.join(one)}." if one else ""
    return (
        f"Of no method that its maps mark what the answer needs: with both fillings none of "
        f"{len(verdicts)} is clearly ahead of maps that know nothing.{clearly} "
        f"{_images_to_be_clear(images, len(verdicts))}"
    )


def _may_not_be_said(summary: Summary) -> list[str]:
    files = len(summary.confidence)
    words = [
        "That a map shows why the network answered so. It shows where one question about the "
        "network, the method's, has a large answer.",
        "That what a map leaves pale does not matter. Nothing here tests that.",
        "That the network has no shortcut. To find one, change the suspected thing, nothing else, "
        "and compare the answers.",
        f"Anything about other images than ones like {'this' if files == 1 else f'these {files}'}, "
        "or about another network, also the same one trained again.",
        "That a method is better than another because its maps look better, or agree with others.",
    ]
    if all(truth is None for truth in summary.truths):
        words.append(
            "That the answers are right: nobody has told the report what is in the images."
        )
    return words


# ---- words ---------------------------------------------------------------------------------------


def _images_to_be_clear(images: int, methods: int) -> str:
    """Say on how many images a method must be ahead to be clear."""
    level = LEVEL / methods
    enough = [k for k in range(images + 1) if sign_test(k, images) < level]
    if not enough:
        return f"It takes {least_count(level)} images or more to tell."
    count = "all" if enough[0] == images else str(enough[0])
    return f"To be clear takes {count} of {images}, and an interval above 0."


def _pair(names: Sequence[str], pair: tuple[int, int]) -> str:
    return f"{names[pair[0]]} and {names[pair[1]]}"
