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
from xai_course.core.translation import message, translate
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
    comma_listed,
    counted,
    least_count,
    listed,
    number,
    percent,
    precise,
    semicolon_listed,
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


NULL_NAMES = (message("edges"), message("centre"))  # translated where they are named
SUSPECT = 0.1  # of a map: a smaller part that stays is not worth a suspicion
BASELINES = {
    "black": message("a black picture"),
    "mean": message("the mean colour of the pictures"),
    "blur": message("the blurred pictures"),
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
    divided = percent(LEVEL)
    shared = (
        translate(", {divided} divided by {methods} methods", divided=divided, methods=methods)
        if methods > 1
        else ""
    )
    return translate(
        "Clear: a coin would be ahead on as many images in less than {chance} of all "
        "tries{shared}, and the interval of the difference lies above 0. The intervals are "
        "Student's; all of a column hold at once with a probability of 95 % or more.",
        chance=chance_words(level),
        shared=shared,
    )


def randomisation_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table about random weights.

    Args:
        summary: from `summarise`.

    Returns:
        The head, and a row for each method that was checked.
    """
    head = [
        *(
            translate("method"),
            translate("result"),
            translate("like its map with random weights"),
            translate("like maps of other images"),
        ),
        *(
            translate("difference [interval]"),
            translate("of what could stay"),
            translate("ahead on"),
            translate("by chance"),
            translate("stays"),
        ),
    ]
    rows = [
        [
            row.method,
            translate(row.verdict),
            number(row.random_similarity),
            number(row.image_similarity),
            _interval(row.lead),
            percent(row.share) if row.share > 0 else "–",
            *_counts(row.lead),
            {"most": translate("most"), "part": translate("a part"), "": translate("not clear")}[
                row.kept
            ],
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
    head = [translate("method"), translate("result")]
    for f, (fill, null) in enumerate(zip(FILLS, best_nulls(summary), strict=True)):
        name, drop = _null_name(summary, null), summary.logit_drops[:, null, f].mean().item()
        head += [
            translate("{fill}: logits", fill=fill_words(fill)),
            translate("more than {name} ({drop}) by [interval]", name=name, drop=number(drop)),
            *(
                translate("ahead on"),
                translate("by chance"),
                translate("with {fill}", fill=fill_words(fill)),
            ),
        ]
    rows = []
    for row in occlusion_results(summary):
        cells = [row.method, translate(row.verdict)]
        for result in row.fills:
            lead = result.lead
            cells += [number(result.drop), _interval(lead), *_counts(lead), translate(lead.verdict)]
        rows.append(cells)
    return head, rows


def _interval(lead: Lead) -> str:
    """Write a difference and its interval."""
    if math.isnan(lead.low):
        return precise(lead.difference)
    return f"{precise(lead.difference)} [{precise(lead.low)}, {precise(lead.high)}]"


def _counts(lead: Lead) -> list[str]:
    """Write how often one number is ahead, and how often a coin would be."""
    hits = translate("{hits} of {images}", hits=lead.hits, images=lead.images)
    return [hits, chance_words(lead.chance)]


def fill_words(fill: str) -> str:
    """Name a filling in a sentence.

    Args:
        fill: one of `FILLS`.

    Returns:
        The words.
    """
    return translate("the mean colour") if fill == "mean" else translate("a blur")


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
        translate(
            " (and its batch normalisations take their statistics from some of the images, or "
            "no signal would come through)"
        )
        if norms
        else ""
    )
    favours = (
        translate(" (Occlusion is made by covering, so this check favours it.)")
        if "occlusion" in methods
        else ""
    )
    return {
        "The maps": _prose_of_maps(user_model, methods),
        "Does a map depend on what was learnt?": (
            translate(
                "All weights of the network are drawn anew at random, as before "
                "training{statistics}. A map that hardly changes does not come from what was "
                "learnt. The yardstick is what the maps of different images have in common: each "
                "image is compared with all others. Passed: even the upper end of the interval is "
                "below half of what could stay. Failed: it is clear that most stays. Cannot tell: "
                "neither.",
                statistics=statistics,
            )
        ),
        "Is what a map marks needed?": (
            translate(
                "The tenth of the picture that a map marks most is covered, once with the "
                "picture's mean colour and once with a blur. If the map marks what the "
                "answer needs, the logit falls more than when the tenth is covered that an "
                "edge detector marks, or the middle.{favours} By chance: how often a coin "
                "would be ahead on as many images. Passed: clearly ahead with both. Failed: "
                "clearly behind with one or both. Cannot tell: all else.",
                favours=favours,
            )
        ),
        "Does the transform fit?": _prose_of_transform(checks["transform"]),
        "Compared with what?": _prose_of_baselines(methods),
    }


def _prose_of_maps(user_model: UserModel, methods: Sequence[str]) -> str:
    one_logit = user_model.about["logits"] == 1
    explained = (
        translate(
            "the answer “{answer}”, of which the network's one logit is",
            answer=user_model.classes[1],
        )
        if one_logit
        else translate("the class that the network named")
    )
    by_size = [name for name in methods if name in METHODS and METHODS[name].readout == "size"]
    sign = (
        translate(
            " In maps of {names} the sign has no such meaning: there, purple is the strength.",
            names=listed(by_size),
        )
        if by_size
        else ""
    )
    return translate(
        "For each picture and each method three views. First the map for {explained}. "
        "Orange speaks for it, blue against it; where the map says nothing, the picture "
        "stays grey.{sign} Each map has its own scale. Then the same map in 8 × 8 tiles, as "
        "the tests read it; the six tiles that it marks most have a frame. Last the picture "
        "with these six covered with its mean colour, and the network's score for the "
        "answer before and after. The last two maps know nothing of the network: they are "
        "there to compare with. A click on the line of a picture opens it.",
        explained=explained,
        sign=sign,
    )


def _prose_of_transform(rows: Sequence[Mapping[str, Any]]) -> str:
    text = translate(
        "The same pictures through the transform, and through mistakes often made in its place."
    )
    if rows[0]["kl_divergence"] is not None:
        text += translate(
            " Surprise: how unlike what the network was trained on its first batch "
            "normalisation finds them (0: as in training). It sees a wrong scale of the "
            "pixels, and hardly sees a picture on its side, or colours that are swapped."
        )
    if rows[0]["right"] is None:
        text += translate(
            " Pictures whose class is known, in folders named after it, would show more."
        )
    return text


def _prose_of_baselines(methods: Sequence[str]) -> str:
    compared = [name for name in ("Integrated Gradients", "DeepLIFT") if name in methods]
    text = translate(
        "What the network says to three kinds of baseline, in which there should be nothing to see:"
    )
    if not compared:
        return text
    texts = {
        "compared": translate(
            message("{names} says how the answer differs from the one to a baseline, here a blur.")
            if len(compared) == 1
            else message(
                "{names} say how the answer differs from the one to a baseline, here a blur."
            ),
            names=listed(compared),
        ),
        "question": text,
    }
    return translate("{compared} {question}", **texts)


def baseline_remarks(
    rows: Sequence[Mapping[str, Any]], answers: int, methods: Sequence[str]
) -> list[str]:
    """Say which baselines the network takes for something: they are not neutral.

    Sure is nearer to certain than to a guess: a probability above (1 + 1/K) / 2 with K answers.

    Args:
        rows: from `check_baselines`.
        answers: K, their number.
        methods: the names of those in the report.

    Returns:
        One text, or none.
    """
    taken = [row for row in rows if row["confidence"] > (1 + 1 / answers) / 2]
    if not taken:
        return []
    sure = [
        translate(
            "{baseline} (“{predicted}”, {confidence})",
            baseline=translate(BASELINES[row["baseline"]]),
            predicted=row["predicted"],
            confidence=percent(row["confidence"]),
        )
        for row in taken
    ]
    # The maps of `report_methods` compare with the mean colour or a blur; Score-CAM's with zeros.
    # What a method of the reader's own compares with is not known.
    ours = {*report_methods(every=True)} - {"Score-CAM"}
    unused = [row["baseline"] for row in taken] == ["black"] and ours.issuperset(methods)
    not_here = (
        translate(
            " (Nothing in this report does either: the test by covering takes the mean colour and "
            "a blur, and no map here compares with black.)"
        )
        if unused
        else ""
    )
    return [
        translate(
            "The network is sure of an answer even where there is nothing to see: {names}. So "
            "this is no neutral picture. If a map compares with it, the map shows how two answers "
            "differ. If a place is covered with it, the place is not just taken away: something "
            "else is put there.{not_here}",
            names=listed(sure),
            not_here=not_here,
        )
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
        translate(
            "Not tried, as they were not asked for: {names}. Whether they apply to this network "
            "is not known.",
            names=comma_listed(others),
        )
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
        return translate("from the file {file}", file=short_source(labels))
    if tuple(classes) in (answer_names(None, len(classes)), answer_names(None, 1)):
        return translate(
            "none were given, and none came with the network: the answers are numbered"
        )
    return translate("those that came with the network")


# ---- the answers ---------------------------------------------------------------------------------


def _answers(summary: Summary) -> list[str]:
    n = len(summary.confidence)
    high, low = int((summary.confidence > 0.9).sum()), int((summary.confidence < 0.5).sum())
    words = [
        translate(
            "Of {images} the network is surer than 90 % on {high}, and less sure than 50 % on "
            "{low}.",
            images=counted(n, "image"),
            high=high,
            low=low,
        )
    ]
    pairs = zip(summary.predicted, summary.truths, strict=True)
    known = [(predicted, truth) for predicted, truth in pairs if truth is not None]
    if known:
        correct = sum(predicted == truth for predicted, truth in known)
        words.append(
            translate(
                "The folders name the right class of {images}: the network is right on "
                "{correct}. A map of a wrong answer explains the wrong answer.",
                images=counted(len(known), "image"),
                correct=correct,
            )
        )
    else:
        words.append(
            translate(
                "Whether the answers are right is not known here: no folder is named after a class."
            )
        )
    return [*words, *_copies(summary)]


def _copies(summary: Summary) -> list[str]:
    """Name the files that hold the same picture."""
    if not summary.copies:
        return []
    groups = [listed(_first(group)) for group in summary.copies]
    more = (
        translate("; and {count} more such groups", count=len(groups) - FIRST)
        if len(groups) > FIRST
        else ""
    )
    compared = counted(summary.images, "picture")
    return [
        translate(
            "The same picture, or nearly, or mirrored: {names}{more}. Each counts once in all "
            "comparisons, which are of {compared}.",
            names=semicolon_listed(groups[:FIRST]),
            more=more,
            compared=compared,
        )
    ]


def _first(names: Sequence[str]) -> list[str]:
    """Return the first few names, and how many more there are."""
    more = len(names) - FIRST
    return [*names[:FIRST], translate("{count} more", count=more)] if more > 0 else list(names)


# ---- agreement -----------------------------------------------------------------------------------


def _agreement(summary: Summary) -> list[str]:
    n, names, methods = summary.images, summary.names, summary.methods
    same = [
        translate(
            "{names} give the same map on every image, or nearly, up to its scale: they count "
            "as one method.",
            names=listed(group),
        )
        for group in summary.same
    ]
    pairs = [(a, b) for i, a in enumerate(methods) for b in methods[i + 1 :]]
    if not pairs:
        return [
            *same,
            translate(
                "One method alone agrees with itself; take two or more to see how far they agree."
            ),
        ]
    median = {pair: summary.agreement[:, pair[0], pair[1]].median().item() for pair in pairs}
    most, least = max(pairs, key=lambda p: median[p]), min(pairs, key=lambda p: median[p])
    of = translate("median of {images}", images=counted(n, "image"))
    if most == least:
        text = translate(
            "{pair} agree on where something matters by {correlation} (rank correlation, {of})",
            pair=_pair(names, most),
            correlation=number(median[most]),
            of=of,
        )
    else:
        text = translate(
            "{pair} agree most on where something matters (rank correlation {highest}, "
            "{of}), {other_pair} least ({lowest})",
            pair=_pair(names, most),
            highest=number(median[most]),
            of=of,
            other_pair=_pair(names, least),
            lowest=number(median[least]),
        )
    return [*same, translate("{text}.", text=text), *_agreement_with_edges(summary, pairs)]


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
        translate(
            message(
                "Of {pairs} of methods, {count} agrees less with each other than one of the two "
                "does with an edge detector, on more than half of the images."
            )
            if len(beaten) == 1
            else message(
                "Of {pairs} of methods, {count} agree less with each other than one of the two "
                "does with an edge detector, on more than half of the images."
            ),
            pairs=counted(len(pairs), "pair"),
            count=len(beaten),
        )
    ]
    if beaten:
        worst = max(below, key=lambda p: below[p])
        words.append(
            translate(
                "For example: on {below} of {n}, {first} and {second} agree less than the edge "
                "detector and {second} do.",
                below=below[worst],
                n=n,
                first=names[worst[0]],
                second=names[worst[1]],
            )
        )
    return words


# ---- random weights ------------------------------------------------------------------------------


def _randomisation(summary: Summary) -> list[str]:
    rows = randomisation_results(summary)
    if not rows:
        why = (
            translate(
                "it takes {least} different images, to compare with maps of others.", least=LEAST
            )
            if summary.images < LEAST
            else translate(
                "this network cannot be drawn anew at random, or its maps are empty then."
            )
        )
        return [translate("Not checked: {why}", why=why)]
    words = [
        *_kept(rows, "most", translate("most of a map stays on average")),
        *_kept(rows, "part", translate("a part of a map stays on average")),
    ]
    if not words:
        words = [
            translate("No method's maps stay clearly more alike than maps of different images.")
        ]
    checked = {row.method for row in rows}
    unchecked = [summary.names[k] for k in summary.methods if summary.names[k] not in checked]
    if unchecked:
        words.append(
            translate(
                "Not checked: {names}, since with random weights the map of some image is empty.",
                names=listed(unchecked),
            )
        )
    return [*words, *_suspects(summary, rows)]


def _kept(rows: Sequence[RandomisationResult], kept: str, what: str) -> list[str]:
    """Say of which methods a map stays, and how much of it."""
    of_this_kind = [row for row in rows if row.kept == kept]
    if not of_this_kind:
        return []
    methods = comma_listed([_with_similarities(row) for row in of_this_kind])
    if kept == "most":
        end = translate("It comes from the picture and the architecture, whatever was learnt.")
    else:
        end = translate("The rest depends on what was learnt, or on chance.")
    return [
        translate(
            "{methods}: with random weights {what}, clearly more than maps of different images "
            "share. {end}",
            what=what,
            methods=methods,
            end=end,
        )
    ]


def _similarities(row: RandomisationResult) -> str:
    """Write how alike a method's maps stay, and how much of what could stay that is."""
    share = percent(row.share)
    return translate(
        "correlation {random}, different images {other}: {share} of what could stay",
        random=number(row.random_similarity),
        other=number(row.image_similarity),
        share=share,
    )


def _with_similarities(row: RandomisationResult) -> str:
    """Name a method, with how alike its maps stay."""
    return translate(
        "{method} ({similarities})", method=row.method, similarities=_similarities(row)
    )


def _suspects(summary: Summary, rows: Sequence[RandomisationResult]) -> list[str]:
    """Name the methods of whose maps a tenth or more stays, on most images, but not clearly."""
    suspects = [
        translate(
            "{method} on {hits} of {images} ({chance} by chance; {similarities})",
            method=row.method,
            hits=row.lead.hits,
            images=row.lead.images,
            chance=chance_words(row.lead.chance),
            similarities=_similarities(row),
        )
        for row in rows
        if not row.kept and row.share >= SUSPECT and row.lead.hits > row.lead.images / 2
    ]
    if not suspects:
        return []
    return [
        translate(
            "Not decided, since the maps stay more alike on most images, but not clearly: "
            "{names}. {needed}",
            names=comma_listed(suspects),
            needed=_images_to_be_clear(summary.images, len(rows)),
        )
    ]


# ---- covering ------------------------------------------------------------------------------------


def _occlusion(summary: Summary) -> list[str]:
    rows = occlusion_results(summary)
    words = []
    for f, (fill, null) in enumerate(zip(FILLS, best_nulls(summary), strict=True)):
        best = max(rows, key=lambda row: row.fills[f].drop)
        result = best.fills[f]
        null_drop = summary.logit_drops[:, null, f].mean().item()
        null_name = translate(
            "the best map that knows nothing ({null})", null=_null_name(summary, null)
        )
        if len(rows) > 1:
            falls = message(
                "With {fill}: of the methods, covering what {method} marks lowers the logit most, "
                "by {drop} in the mean."
            )
        else:
            falls = message(
                "With {fill}: covering what {method} marks lowers the logit by {drop} in the mean."
            )
        words.append(
            translate(
                "{falls} Covering what {null} marks lowers it by {null_drop}. The difference is "
                "{interval}. On {hits} of {images} {method} is ahead; a coin is ahead at least "
                "as often in {chance} of all tries.",
                falls=translate(
                    falls,
                    fill=fill_words(fill),
                    method=best.method,
                    drop=number(result.drop),
                ),
                null=null_name,
                null_drop=number(null_drop),
                interval=_interval(result.lead),
                hits=result.lead.hits,
                images=counted(result.lead.images, "image"),
                method=best.method,
                chance=chance_words(result.lead.chance),
            )
        )
    clear = [
        translate(
            "with {fill} {names}",
            fill=fill_words(fill),
            names=_names([r.method for r in rows if r.fills[f].lead.clear]),
        )
        for f, fill in enumerate(FILLS)
    ]
    both = _names([row.method for row in rows if row.ahead])
    words.append(
        translate(
            "Clearly ahead: {names}; with both {both}.", names=semicolon_listed(clear), both=both
        )
    )
    empty = [
        translate(
            "{method} on {empty} of {images}",
            method=summary.names[k],
            empty=summary.empty[k],
            images=summary.images,
        )
        for k in summary.methods
        if summary.empty[k]
    ]
    if empty:
        words.append(
            translate("An empty map, where nothing is covered, has {names}.", names=listed(empty))
        )
    return words


def _null_name(summary: Summary, null: int) -> str:
    return translate(summary.names[null].removeprefix("null: "))


def _names(names: Sequence[str]) -> str:
    return comma_listed(names) or translate("none")


# ---- what may be said ----------------------------------------------------------------------------


def _may_be_said(summary: Summary) -> list[str]:
    n, m, files = summary.images, len(summary.methods), len(summary.confidence)
    verdicts = method_verdicts(summary)
    words = [
        translate("What the network answers on this image, and how sure it is. That is measured.")
        if files == 1
        else translate(
            "What the network answers on these {count} images, and how sure it is. That is "
            "measured.",
            count=files,
        )
    ]
    if n < least_count(LEVEL / m):  # a lead on every image may be chance
        return [
            *words,
            translate(
                "Nothing about the methods: with {images} even a method that is ahead on all of "
                "them could be so by chance. {least} different images or more could tell.",
                images=counted(n, "image"),
                least=least_count(LEVEL / m),
            ),
        ]
    shown = [verdict for verdict in verdicts if verdict.may_be_shown]
    if shown:
        words += [_recommendation(shown), *_caveats(shown)]
    ahead = [verdict for verdict in verdicts if verdict.occlusion.ahead]
    struck = [verdict for verdict in ahead if not verdict.may_be_shown]
    if struck:
        kept = listed([_with_similarities(v.randomisation) for v in struck if v.randomisation])
        words.append(
            translate(
                "Not that the maps of {kept} show what was learnt, although covering what they "
                "mark lowers the logit clearly more, with both fillings: on average, most of a map "
                "stays with random weights.",
                kept=kept,
            )
        )
    if not ahead:
        words.append(_nothing_ahead(verdicts, n))
    return words


def _recommendation(shown: Sequence[MethodVerdict]) -> str:
    """Recommend the methods whose maps may be shown."""
    numbers = semicolon_listed(
        [
            translate(
                "{method} by {differences}",
                method=v.method,
                differences=listed(
                    [
                        translate(
                            "{interval} ({fill})",
                            interval=_interval(result.lead),
                            fill=fill_words(fill),
                        )
                        for fill, result in zip(FILLS, v.occlusion.fills, strict=True)
                    ]
                ),
            )
            for v in shown
        ]
    )
    return translate(
        "For {names}: on images like these, covering what the map marks lowers the logit "
        "clearly more than covering as much in the middle, or where bright meets dark, with two "
        "fillings ({numbers}). Show such a map as a pointer to where to try something, with the "
        "number beside it.",
        names=comma_listed([v.method for v in shown]),
        numbers=numbers,
    )


def _caveats(shown: Sequence[MethodVerdict]) -> list[str]:
    """Say what speaks against the methods that are recommended."""
    part = [
        _with_similarities(v.randomisation)
        for v in shown
        if v.randomisation is not None and v.randomisation.kept == "part"
    ]
    unchecked = [v.method for v in shown if v.randomisation is None]
    words = []
    if part:
        words.append(
            translate(
                "But on average a part of a map stays with random weights: {names}.",
                names=comma_listed(part),
            )
        )
    if unchecked:
        words.append(
            translate(
                "But whether the map depends on what was learnt was not checked of {names}.",
                names=listed(unchecked),
            )
        )
    return words


def _nothing_ahead(verdicts: Sequence[MethodVerdict], images: int) -> str:
    """Say that no method is clearly ahead with both fillings, and which are with one."""
    one = [
        translate("{names} with {fill} alone", names=listed(methods), fill=fill_words(fill))
        for f, fill in enumerate(FILLS)
        if (methods := [v.method for v in verdicts if v.occlusion.fills[f].lead.clear])
    ]
    clearly = (
        translate(" Clearly ahead with one filling: {names}.", names=semicolon_listed(one))
        if one
        else ""
    )
    return translate(
        "No method passed the test by covering: with both fillings, the mean colour and a blur, "
        "none of {count} is clearly ahead of maps that know nothing.{clearly} So it is shown for "
        "no method that its maps mark what the answer needs. {needed}",
        count=len(verdicts),
        clearly=clearly,
        needed=_images_to_be_clear(images, len(verdicts)),
    )


def _may_not_be_said(summary: Summary) -> list[str]:
    files = len(summary.confidence)
    words = [
        translate(
            "That a map shows why the network answered so. It answers the one question "
            "that its method asks."
        ),
        translate("That what a map leaves pale does not matter. Nothing here tests that."),
        translate(
            "That the network has no shortcut. To find one, change the suspected thing, nothing "
            "else, and compare the answers."
        ),
        translate(
            "Anything about images unlike this one, or about another network, even the same one "
            "trained again."
        )
        if files == 1
        else translate(
            "Anything about images unlike these {count}, or about another network, even the same "
            "one trained again.",
            count=files,
        ),
        translate(
            "That a method is better than another because its maps look better, or agree with "
            "others."
        ),
    ]
    if all(truth is None for truth in summary.truths):
        words.append(
            translate(
                "That the answers are right: nobody has told the report what is in the images."
            )
        )
    return words


# ---- words ---------------------------------------------------------------------------------------


def _images_to_be_clear(images: int, methods: int) -> str:
    """Say on how many images a method must be ahead to be clear."""
    level = LEVEL / methods
    enough = [k for k in range(images + 1) if sign_test(k, images) < level]
    if not enough:
        return translate("It takes {least} images or more to tell.", least=least_count(level))
    if enough[0] == images:
        text = message(
            "A lead counts as clear if it shows on all {images} images, and the interval of the "
            "difference lies above 0."
        )
    else:
        text = message(
            "A lead counts as clear if it shows on {count} of {images} images or more, and the "
            "interval of the difference lies above 0."
        )
    return translate(text, count=enough[0], images=images)


def _pair(names: Sequence[str], pair: tuple[int, int]) -> str:
    return listed([names[pair[0]], names[pair[1]]])
