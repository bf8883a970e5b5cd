"""The explorer's text: results as sentences, and as HTML with images, tables and bars.

Text and tables take the place of Matplotlib's figures: a screen reader reads them, they take the
page's colours, light or dark, and they are there in milliseconds.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from math import isnan

import numpy as np
import torch
from PIL import Image

from xai_course.beetlebox.guide import species_name
from xai_course.beetlebox.scene import PARTS
from xai_course.core.translation import message, translate
from xai_course.explorer.state import Change, ExplorerResult, Part
from xai_course.plots.images import Array, relevance_colours
from xai_course.plots.style import AGAINST, FOR, GREEN, with_sign

__all__ = [
    "all_views",
    "class_table",
    "first_views",
    "images_html",
    "list_changes",
    "part_table",
    "score_table",
    "sentences",
    "sentences_html",
    "truth_sentence",
]


_GREY = "#8a8a8a"  # visible on a light and on a dark page
_PLURAL = ("elytra", "antennae", "legs")
_NINTHS = (
    message("in the upper left"),
    message("at the top"),
    message("in the upper right"),
    message("in the left"),
    message("in the middle"),
    message("in the right"),
    message("in the lower left"),
    message("at the bottom"),
    message("in the lower right"),
)
_MAP_TO_COME = message("the map is being made")


def first_views() -> dict[str, str]:
    """Return the page before the first result: where things will stand.

    Returns:
        HTML by the name of the view.
    """
    box = '<figure><div class="bx-empty" aria-hidden="true"></div></figure>'
    return {
        "words": f'<p role="status">{translate("The network is being opened.")}</p>',
        "pictures": f'<div class="bx-pictures bx-two">{box}{box}</div>',
    }


def all_views(result: ExplorerResult, missing: str = _MAP_TO_COME) -> dict[str, str]:
    """Return everything that is shown of a result, as HTML.

    Args:
        result: what was computed.
        missing: the text in place of maps that are not there.

    Returns:
        HTML by the name of the view.
    """
    return {
        "error": "",
        "words": sentences_html(result),
        "pictures": images_html(result, missing),
        "parts": part_table(result),
        "score": score_table(result),
        "classes": class_table(result),
    }


# ---- sentences -----------------------------------------------------------------------------------


def list_changes(result: ExplorerResult) -> list[str]:
    """Name what the reader changed.

    Args:
        result: what was computed.

    Returns:
        A few words for each change.
    """
    return [change.name for change in result.changes]


def sentences(result: ExplorerResult) -> dict[str, str]:
    """Return the result in sentences.

    Args:
        result: what was computed.

    Returns:
        Sentences by their heading, in the order to be read. The text before a colon is the short
        answer.
    """
    heading, answer = _answer(result)
    texts = {heading: answer}
    target = species_name(result.classes[result.target])
    before, after = (row[result.target] for row in result.logits.tolist())
    if result.before:
        texts[translate("Truth")] = truth_sentence(
            target, before, after, result.changes, result.parts
        )
    else:
        texts[translate("Truth")] = _truth_of_photograph(target, before, after, result.changes)
    if result.maps is not None:
        texts[translate("Map")] = _map_sentence(result)
        if not isnan(result.score):
            texts[translate("Score")] = _score_sentence(result)
    return texts


def _answer(result: ExplorerResult) -> tuple[str, str]:
    """Say what the network predicts now, and before the changes if there are any."""
    name = result.selection.network
    network = translate(name)
    if not name[0].isupper():
        network = translate("The {network}", network=network)
    now = _prediction(result, 1)
    changes = _listed(list_changes(result))
    if changes:
        text = translate(
            "{changes}: {network} says {now}. Before, it said {before}.",
            changes=_capital(changes),
            network=network,
            now=now,
            before=_prediction(result, 0),
        )
        return translate("Change"), text
    text = translate("{network} says {now}.", network=network, now=now)
    if result.before:
        is_correct = result.logits[1].argmax() == result.classes.index(result.selection.species)
        if is_correct:
            text += translate(" It is right.")
        else:
            species = species_name(result.selection.species)
            text += translate(" It is wrong: this is {species}.", species=species)
    return translate("Answer"), text


def _prediction(result: ExplorerResult, row: int) -> str:
    """Name the class predicted before (0) or after (1) the changes, and its probability."""
    confidence, predicted = result.logits[row].softmax(0).max(0)
    name = species_name(result.classes[int(predicted)])
    return translate("{name}, {confidence:.0%} sure", name=name, confidence=float(confidence))


def _score_sentence(result: ExplorerResult) -> str:
    """Compare the score of the map with that of the edge detector."""
    if result.score > result.null_score:
        compared = translate("does worse")
    elif result.score < result.null_score:
        compared = translate("does better")
    else:
        compared = translate("does as well")
    return translate(
        "{now}{score} for the map, {null} for an edge detector: the detector, which knows no "
        "network, {compared}.",
        now=translate("Now ") if list_changes(result) else "",
        score=with_sign(result.score),
        null=with_sign(result.null_score),
        compared=compared,
    )


def _only_removed(result: ExplorerResult) -> Part | None:
    """Return the part that was removed, if nothing else was changed."""
    removed = [part for part in result.parts if not part.present]
    return removed[0] if len(removed) == 1 and len(result.changes) == 1 else None


def _ranked(parts: Sequence[Part], by: str) -> list[Part]:
    """Order the parts that are present, the largest effect or relevance first."""
    known = [part for part in parts if part.present and not isnan(getattr(part, by))]
    return sorted(known, key=lambda part: -float(getattr(part, by)))


def truth_sentence(
    target: str, before: float, after: float, changes: Sequence[Change], parts: Sequence[Part]
) -> str:
    """Say what the changes did to the logit, and which part is worth most.

    Args:
        target: the name of the class that is explained.
        before: its logit before the changes.
        after: its logit after them.
        changes: what was changed; may be empty.
        parts: after the changes, with the ground truth.

    Returns:
        Sentences. The first names every change and its measured effect.
    """
    if not changes:
        return _worth_most(target, parts)
    removed = [part for part in parts if not part.present]
    if len(changes) == 1 and len(removed) == 1:
        part = removed[0]
        text = translate(
            message(
                "The {part} were worth {effect}: the logit of {target} went from {before} to "
                "{after}."
            )
            if part.name in _PLURAL
            else message(
                "The {part} was worth {effect}: the logit of {target} went from {before} to "
                "{after}."
            ),
            part=translate(part.name),
            effect=_sign(part.effect),
            target=target,
            before=_plain(before),
            after=_plain(after),
        )
    else:
        text = _effect_of_changes(target, before, after, changes)
    return _joined(text, _worth_most_now(target, parts))


def _effect_of_changes(target: str, before: float, after: float, changes: Sequence[Change]) -> str:
    """Say by how much the changes together moved the logit, and each of them by itself."""
    numbers = {
        "target": target,
        "difference": _sign(after - before),
        "before": _plain(before),
        "after": _plain(after),
    }
    if len(changes) == 1:
        return translate(
            "{change} changed the logit of {target} by {difference}: it went from {before} to "
            "{after}.",
            change=_capital(changes[0].name),
            **numbers,
        )
    return translate(
        "The {count} changes together changed the logit of {target} by {difference}: it went from "
        "{before} to {after}. Each, with the others in place: {each}.",
        count=len(changes),
        each=_listed([f"{change.name} {_sign(change.effect)}" for change in changes]),
        **numbers,
    )


def _worth_most(target: str, parts: Sequence[Part]) -> str:
    """Say which part of a beetle as drawn is worth most."""
    ranked = _ranked(parts, "effect")
    if not ranked or ranked[0].effect <= 0:
        return translate(
            "No part speaks for {target}: taking one away never harms it.", target=target
        )
    best = ranked[0]
    return translate(
        message(
            "The {part} are worth most, {effect}: without them, the logit of {target} falls by "
            "that much."
        )
        if best.name in _PLURAL
        else message(
            "The {part} is worth most, {effect}: without it, the logit of {target} falls by that "
            "much."
        ),
        part=translate(best.name),
        effect=_sign(best.effect),
        target=target,
    )


def _worth_most_now(target: str, parts: Sequence[Part]) -> str:
    """Say which of the parts that are left is worth most."""
    ranked = _ranked(parts, "effect")
    if not ranked:
        return translate("No part is left.")
    best = ranked[0]
    if best.effect <= 0:
        return translate(
            "Of the parts that are there now, none speaks for {target}.", target=target
        )
    return translate(
        message("Of the parts that are there now, the {part} are worth most, {effect}.")
        if best.name in _PLURAL
        else message("Of the parts that are there now, the {part} is worth most, {effect}."),
        part=_full_name(best.name),
        effect=_sign(best.effect),
    )


def _truth_of_photograph(
    target: str, before: float, after: float, changes: Sequence[Change]
) -> str:
    """Say what noise did to the logit of a photograph, and that nothing else is known."""
    text = translate(
        "Unknown: a photograph has no answer key, since nobody can take a part of it away and "
        "leave all else as it was. There is a map, and nothing to hold it against."
    )
    return _joined(text, _effect_of_changes(target, before, after, changes)) if changes else text


def _map_sentence(result: ExplorerResult) -> str:
    """Say how the map ranks the part that matters most, or the part that was removed."""
    method, removed = result.selection.method, _only_removed(result)
    parts = result.before if removed else result.parts
    by_map, by_truth = _ranked(parts, "relevance"), _ranked(parts, "effect")
    if not by_map:
        target = species_name(result.classes[result.target])
        return translate(
            "{method}, for {target}: most relevance {where}.",
            method=method,
            target=target,
            where=_where(result.maps, 1),
        )
    part = removed.name if removed else by_truth[0].name
    order = [p.name for p in by_map]
    if part not in order:
        return translate(
            "{method} cannot rank the {part}: other parts hide it.",
            method=method,
            part=translate(part),
        )
    text = translate(
        message("{method} had ranked the {part} {place} of {count}")
        if removed
        else message("{method} ranks the {part} {place} of {count}"),
        method=method,
        part=translate(part),
        place=_ordinal(order.index(part) + 1),
        count=len(order),
    )
    if order[0] == part:
        return translate("{text}.", text=text)
    return translate("{text}: the {first} came first.", text=text, first=translate(order[0]))


def _ordinal(number: int) -> str:
    words = {1: translate("1st"), 2: translate("2nd"), 3: translate("3rd")}
    return words.get(number) or translate("{number}th", number=number)


def _plain(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no "−0.00"


def _sign(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def _full_name(part: str) -> str:
    """Name a part in the reader's language; a label is that of a museum."""
    return translate(message("museum label") if part == "label" else part)


def _joined(*texts: str) -> str:
    """Put sentences after one another; in Chinese there is no space between them."""
    return translate("{first} {second}", first=texts[0], second=texts[1])


def _listed(words: Sequence[str]) -> str:
    """Put words in a list, with the reader's comma."""
    return translate(", ").join(words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _where(maps: torch.Tensor | None, row: int) -> str:
    """Say in which ninth of the image a map has the largest sum."""
    if maps is None:
        return translate("nowhere yet")
    ninths = torch.nn.functional.adaptive_avg_pool2d(maps[row][None], 3).flatten()
    return translate(_NINTHS[int(ninths.argmax())])


def sentences_html(result: ExplorerResult) -> str:
    """Return the sentences as HTML, with the short answers in bold.

    Args:
        result: what was computed.

    Returns:
        HTML of which a screen reader announces every change.
    """
    rows = []
    for heading, text in sentences(result).items():
        short, colon, rest = escape(text).partition(translate(": "))
        marked = f"<b>{short}{colon}</b>{rest}" if colon else f"<b>{short}</b>"
        rows.append(f"<dt>{heading}</dt><dd>{marked}</dd>")
    return f'<div role="status"><dl>{"".join(rows)}</dl></div>'


# ---- images --------------------------------------------------------------------------------------


def images_html(result: ExplorerResult, missing: str = _MAP_TO_COME) -> str:
    """Return the images and the maps over them, before and after the changes, as HTML.

    Args:
        result: what was computed.
        missing: the text in place of maps that are not there.

    Returns:
        HTML; each image has its own text for a screen reader.
    """
    captions = [translate("as drawn") if result.before else translate("photograph")]
    if result.changed:
        captions.append(translate("changed"))
    scale = 0.0
    if result.maps is not None:
        scale = float(torch.quantile(result.maps.abs().flatten(1), 0.995, dim=1).max())
    figures = []
    for row, caption in enumerate(captions):
        image = result.images[row].permute(1, 2, 0).double().numpy()  # (S, S, 3)
        figures.append(_figure(image, caption, _image_alt(result, row)))
        if result.maps is None:
            figures.append(f'<div class="bx-empty">{translate(missing)}</div>')
            continue
        colours = relevance_colours(result.maps[row].double().numpy(), scale)  # (S, S, 4)
        grey = 0.25 + 0.75 * image.mean(2, keepdims=True)
        mixed = grey * (1 - colours[..., 3:]) + colours[..., :3] * colours[..., 3:]
        title = result.selection.method
        if row:
            title = translate("{method}, changed", method=title)
        figures.append(_figure(mixed, title, _map_alt(result, row)))
    if not result.changed and result.before:
        hint = translate("Take a part away: the changed beetle and its map come here.")
        figures.append(f'<div class="bx-empty bx-hint">{hint}</div>')
    legend = (
        f'<div class="bx-legend"><span>{translate("blue: against the class")}</span>'
        f'<i style="background:linear-gradient(90deg,{AGAINST},#e9e9e9,{FOR})"></i>'
        f"<span>{translate('orange: for it')}</span></div>"
    )
    size = "bx-four" if result.before or result.changed else "bx-two"
    return f'<div class="bx-pictures {size}">{"".join(figures)}</div>{legend}'


def _figure(image: Array, caption: str, alt: str) -> str:
    """Return an image (H, W, 3) in [0, 1] with its caption."""
    stream = io.BytesIO()
    values = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(values).save(stream, "PNG", compress_level=3)
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _image_alt(result: ExplorerResult, row: int) -> str:
    """Say what an image shows."""
    selection = result.selection
    if not result.before:
        if row:
            return translate(
                "The photograph {name}, noise {noise:.2f}.",
                name=selection.photograph,
                noise=selection.pixel_noise,
            )
        return translate("The photograph {name}.", name=selection.photograph)
    changes = _listed(list_changes(result)) if row else ""
    return translate(
        "Beetle {seed}, {species}, {changes}.",
        seed=selection.seed,
        species=species_name(selection.species),
        changes=changes or translate("as drawn"),
    )


def _map_alt(result: ExplorerResult, row: int) -> str:
    """Say where a map has most relevance."""
    target = species_name(result.classes[result.target])
    ranked = _ranked(result.parts if row else result.before, "relevance")
    where = _where(result.maps, row)
    if ranked:
        names = translate(", then the ").join(translate(part.name) for part in ranked[:3])
        where = translate("on the {parts}", parts=names)
    return translate(
        "Map of {method} for {target}: most relevance {where}.",
        method=result.selection.method,
        target=target,
        where=where,
    )


# ---- tables with bars ----------------------------------------------------------------------------


def part_table(result: ExplorerResult) -> str:
    """Return the ground truth and the map of every part side by side, as a table with bars.

    Args:
        result: what was computed.

    Returns:
        HTML; empty for a photograph.
    """
    if not result.before:
        return ""
    before = {part.name: part for part in result.before}
    now = {part.name: part for part in result.parts}
    every = [*result.before, *result.parts]
    spans = {by: _span([getattr(part, by) for part in every]) for by in ("effect", "relevance")}
    lines = []
    for name in (part for part in PARTS if part in before or part in now):
        part, old = now.get(name), before.get(name)
        removed = part is None or not part.present
        cells = "".join(
            _bar(
                getattr(part, by) if part else math.nan,
                getattr(old, by) if old and result.changed else math.nan,
                spans[by],
            )
            for by in ("effect", "relevance")
        )
        note = f" <small>{translate('taken away')}</small>" if removed else ""
        lines.append(
            f'<tr class="{"bx-away" if removed else ""}" data-part="{name}">'
            f'<th scope="row">{_full_name(name)}{note}</th>{cells}</tr>'
        )
    note = translate(
        "Truth: logit with the part, minus logit without it. Map: relevance added up over the "
        "part. The units differ, so compare the order, not the lengths."
    )
    if result.changed:
        note = _joined(note, translate("A thin line marks the beetle as drawn."))
    titles = (
        translate("truth, in logits"),
        translate("map: {method}", method=result.selection.method),
    )
    head = "".join(f'<th scope="col" colspan="2">{escape(title)}</th>' for title in titles)
    return (
        f'<table class="bx-table"><caption>{translate("What each part is worth")}</caption>'
        f'<thead><tr><th scope="col">{translate("part")}</th>{head}</tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table><p class="bx-note">{note}</p>'
    )


def score_table(result: ExplorerResult) -> str:
    """Return the score of the map and that of the edge detector, as a table with bars.

    Args:
        result: what was computed.

    Returns:
        HTML; empty where there is no score.
    """
    if isnan(result.score):
        return ""
    rows = {result.selection.method: result.score, translate("edge detector"): result.null_score}
    question = translate("Does the map have the parts in their true order?")
    note = translate(
        "+1: yes; 0: no order; −1: the reverse. The detector sees the picture and no network. One "
        "beetle proves little; lesson 08 takes 200."
    )
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{_bar(score, math.nan, (-1.0, 1.0), _GREY)}</tr>'
        for name, score in rows.items()
    )
    return (
        f'<table class="bx-table bx-scores"><caption>{question}</caption>'
        f'<tbody>{lines}</tbody></table><p class="bx-note">{note}</p>'
    )


def class_table(result: ExplorerResult) -> str:
    """Return the logits before and after the changes, as a table with bars.

    Args:
        result: what was computed.

    Returns:
        HTML. Of more than ten classes, the five with the largest logits and the explained one.
    """
    shown = list(range(len(result.classes)))
    if len(shown) > 10:
        shown = result.logits[1].topk(5).indices.tolist()
        if result.target not in shown:
            shown.append(result.target)
    before, after = result.logits[:, shown].tolist()
    span = _span(before + after)
    lines = []
    for index, old, now in zip(shown, before, after, strict=True):
        explained = index == result.target
        name = escape(species_name(result.classes[index]))
        if explained:
            name += f" <small>{translate('explained')}</small>"
        was = f"{_plain(old)} → " if result.changed else ""
        bar = _bar(
            now,
            old if result.changed else math.nan,
            span,
            GREEN if explained else _GREY,
            f"{was}{_plain(now)}",
        )
        lines.append(
            f'<tr class="{"bx-explained" if explained else ""}"><th scope="row">{name}</th>'
            f"{bar}</tr>"
        )
    caption = translate("Logits")
    if result.changed:
        caption = translate("Logits, before → after the changes")
    return (
        f'<table class="bx-table bx-classes"><caption>{caption}</caption><thead><tr><th '
        f'scope="col">{translate("class")}</th><th scope="col" colspan="2">logit</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that holds 0 and all values."""
    known = [value for value in values if not isnan(value)]
    low, high = min([0.0, *known]), max([0.0, *known])
    return low, high if high > low else low + 1.0


def _bar(
    value: float,
    tick: float,
    span: tuple[float, float],
    colour: str | None = None,
    text: str | None = None,
) -> str:
    """Return two table cells: a bar from 0 with a tick, and the number.

    Without a colour the bar has the colour of its sign. Where a value is NaN, nothing is drawn.
    """
    low, high = span

    def position(number: float) -> float:
        return 100 * (number - low) / (high - low)

    drawn = ""
    if not isnan(value):
        left, right = sorted((position(0.0), position(value)))
        colour = colour or (FOR if value > 0 else AGAINST)
        drawn = f'<i style="left:{left:.1f}%;width:{right - left:.1f}%;background:{colour}"></i>'
        drawn += f'<u style="left:{position(0.0):.1f}%"></u>'
    if not isnan(tick):
        drawn += f'<b style="left:{position(tick):.1f}%"></b>'
    number = text or ("–" if isnan(value) else with_sign(value))
    return f'<td aria-hidden="true"><div class="bx-track">{drawn}</div></td><td>{number}</td>'
