"""What the explorer says: the findings as sentences, and as HTML with pictures and bars.

Text and tables rather than figures: a screen reader reads them, they take the page's colours, light
or dark, and they are there in milliseconds.
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
from xai_course.beetlebox.scene import PARTS, SPECIES, TRAITS
from xai_course.explorer.state import ExplorerResult, Part
from xai_course.plots.images import Array, relevance_colours
from xai_course.plots.style import AGAINST, FOR, GREEN, with_sign

__all__ = [
    "changes",
    "class_table",
    "in_words",
    "part_table",
    "pictures",
    "score_table",
    "views",
    "words",
]


_GREY = "#8a8a8a"  # to be seen on light and on dark
_PLURAL = ("elytra", "antennae", "legs")
_PLACES = (
    *("upper left", "top", "upper right", "left", "middle", "right"),
    *("lower left", "bottom", "lower right"),
)


def views(found: ExplorerResult, missing: str = "the map is being made") -> dict[str, str]:
    """Return all that is shown, as HTML: name to text. `missing`: in the place of missing maps."""
    return {
        "error": "",
        "words": words(found),
        "pictures": pictures(found, missing),
        "parts": part_table(found),
        "score": score_table(found),
        "classes": class_table(found),
    }


# ---- sentences -----------------------------------------------------------------------------------


def changes(found: ExplorerResult) -> list[str]:
    """Name what was changed, each in a few words."""
    choice, named = found.choice, []
    if found.before:
        named += [f"no {p.name}" for p in found.parts if not p.present]
        for trait in TRAITS:
            value, own = getattr(choice, trait), getattr(SPECIES[choice.species], trait)
            if value not in (None, own):
                named.append(f"no {trait}" if value == "none" else f"{trait} {value}")
        named += ["other ground"] * (choice.ground is not None) + ["museum label"] * choice.label
    return named + [f"noise {choice.pixel_noise:.2f}"] * bool(choice.pixel_noise)


def in_words(found: ExplorerResult) -> dict[str, str]:
    """Say what was found: heading to sentences, in the order to be read.

    What stands before a colon in them is the short answer.
    """
    choice, changed = found.choice, ", ".join(changes(found))
    first, now = (_answer(found, place) for place in (0, 1))
    net = choice.network if choice.network[0].isupper() else f"The {choice.network}"
    if changed:
        text = f"{_capital(changed)}: {net} says {now}. Before, it said {first}."
        said = {"Change": text}
    else:
        said = {"Answer": f"{net} says {now}."}
        if found.before:
            species = species_name(choice.species)
            right = found.logits[1].argmax() == found.classes.index(choice.species)
            said["Answer"] += " It is right." if right else f" It is wrong: this is {species}."
    if not found.before:
        said["Truth"] = (
            "Unknown: a photograph has no answer key, since nobody can take a part of it away and "
            "leave all else as it was. There is a map, and nothing to hold it against."
        )
    else:
        said["Truth"] = _truth(found)
    if found.maps is None:
        return said
    said["Map"] = _map_words(found)
    if not isnan(found.score):
        worse = "does worse" if found.score > found.null else "does as well"
        worse = "does better" if found.score < found.null else worse
        said["Score"] = (
            f"{'Now ' if changed else ''}{with_sign(found.score)} for the map, "
            f"{with_sign(found.null)} for a filter of edges: the filter, which knows no network, "
            f"{worse}."
        )
    return said


def _answer(found: ExplorerResult, place: int) -> str:
    """Name the class predicted before (0) or after (1) the changes, and its probability."""
    sure, best = found.logits[place].softmax(0).max(0)
    return f"{species_name(found.classes[int(best)])}, {float(sure):.0%} sure"


def _single(found: ExplorerResult) -> Part | None:
    """Return the part that was taken away, if nothing else was done."""
    away = [part for part in found.parts if not part.present]
    return away[0] if len(away) == 1 and len(changes(found)) == 1 else None


def _ranked(parts: Sequence[Part], by: str) -> list[Part]:
    """Order the parts that are there, the largest effect or relevance first."""
    there = [p for p in parts if p.present and not isnan(getattr(p, by))]
    return sorted(there, key=lambda part: -float(getattr(part, by)))


def _truth(found: ExplorerResult) -> str:
    """Say what the logit did, and which part is worth most."""
    chosen = species_name(found.classes[found.target])
    before, after = (_plain(row[found.target]) for row in found.logits.tolist())
    moved = f"the logit of {chosen} went from {before} to {after}"
    single = _single(found)
    if single:
        verb = "were" if single.name in _PLURAL else "was"
        return f"The {single.name} {verb} worth {with_sign(single.effect)}: {moved}."
    ranked = _ranked(found.parts, "effect")
    if not ranked:
        return f"No part is left: {moved}."
    best = ranked[0]
    text = f"No part speaks for {chosen}"
    if best.effect > 0:
        plural = best.name in _PLURAL
        text = f"The {best.name} {'are' if plural else 'is'} worth most, {with_sign(best.effect)}"
        if not changes(found):
            without = "them" if plural else "it"
            return f"{text}: without {without}, the logit of {chosen} falls by that much."
    return f"{text}: {moved}." if changes(found) else f"{text}: taking one away never harms it."


def _map_words(found: ExplorerResult) -> str:
    """Say what the map makes of the part that matters most, or was taken away."""
    method, single = found.choice.method, _single(found)
    parts, verb = (found.before, "had ranked") if single else (found.parts, "ranks")
    by_map, by_truth = _ranked(parts, "relevance"), _ranked(parts, "effect")
    if not by_map:
        chosen = species_name(found.classes[found.target])
        return f"{method}, for {chosen}: most relevance {_where(found.maps, 1)}."
    part = single.name if single else by_truth[0].name
    order = [p.name for p in by_map]
    if part not in order:
        return f"{method} cannot rank the {part}: other parts hide it."
    text = f"{method} {verb} the {part} {_ordinal(order.index(part) + 1)} of {len(order)}"
    return f"{text}." if order[0] == part else f"{text}: the {order[0]} came first."


def _ordinal(place: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(place, f"{place}th")


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _where(maps: torch.Tensor | None, place: int) -> str:
    """Say in which ninth of the picture a map is largest in sum."""
    if maps is None:
        return "nowhere yet"
    ninths = torch.nn.functional.adaptive_avg_pool2d(maps[place][None], 3).flatten()
    name = _PLACES[int(ninths.argmax())]
    return f"at the {name}" if name in ("top", "bottom") else f"in the {name}"


def words(found: ExplorerResult) -> str:
    """Return the sentences as HTML, the short answers in bold; a screen reader hears of changes."""
    rows = []
    for heading, text in in_words(found).items():
        short, colon, rest = escape(text).partition(": ")
        said = f"<b>{short}{colon}</b>{rest}" if colon else f"<b>{short}</b>"
        rows.append(f"<dt>{heading}</dt><dd>{said}</dd>")
    return f'<div role="status"><dl>{"".join(rows)}</dl></div>'


# ---- pictures ------------------------------------------------------------------------------------


def pictures(found: ExplorerResult, missing: str = "the map is being made") -> str:
    """Return the pictures and the maps over them, before and after the changes, as HTML.

    `missing`: what stands in the place of maps that are not there.
    """
    rows = [("as drawn" if found.before else "photograph", 0)]
    rows += [("changed", 1)] if found.changed else []
    scale = 0.0
    if found.maps is not None:
        scale = float(torch.quantile(found.maps.abs().flatten(1), 0.995, dim=1).max())
    shown = []
    for name, place in rows:
        picture = found.pictures[place].permute(1, 2, 0).double().numpy()
        shown.append(_figure(picture, name, _alt(found, place)))
        if found.maps is None:
            shown.append(f'<div class="bx-empty">{missing}</div>')
            continue
        relevance = found.maps[place].double().numpy()
        colours = relevance_colours(relevance, scale)
        grey = 0.25 + 0.75 * picture.mean(2, keepdims=True)
        mixed = grey * (1 - colours[..., 3:]) + colours[..., :3] * colours[..., 3:]
        title = found.choice.method + (", changed" if place else "")
        shown.append(_figure(mixed, title, _map_alt(found, place)))
    if not found.changed and found.before:
        shown.append(
            '<div class="bx-empty bx-hint">Take a part away: the changed beetle and its map come '
            "here.</div>"
        )
    legend = (
        f'<div class="bx-legend"><span>blue: against the class</span>'
        f'<i style="background:linear-gradient(90deg,{AGAINST},#e9e9e9,{FOR})"></i>'
        f"<span>orange: for it</span></div>"
    )
    size = "bx-four" if found.before or found.changed else "bx-two"
    return f'<div class="bx-pictures {size}">{"".join(shown)}</div>{legend}'


def _figure(picture: Array, caption: str, alt: str) -> str:
    """Return a picture (H, W, 3) in [0, 1] with its caption."""
    stream = io.BytesIO()
    bytes_ = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(bytes_).save(stream, "PNG", compress_level=3)
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _alt(found: ExplorerResult, place: int) -> str:
    """Say what a picture shows."""
    choice = found.choice
    if not found.before:
        noise = f", noise {choice.pixel_noise:.2f}" if place else ""
        return f"The photograph {choice.photograph}{noise}."
    changed = ", ".join(changes(found)) if place else ""
    return f"Beetle {choice.seed}, {species_name(choice.species)}, {changed or 'as drawn'}."


def _map_alt(found: ExplorerResult, place: int) -> str:
    """Say what a map shows: where most relevance is."""
    chosen = species_name(found.classes[found.target])
    text = f"Map of {found.choice.method} for {chosen}: most relevance"
    ranked = _ranked(found.parts if place else found.before, "relevance")
    if not ranked:
        return f"{text} {_where(found.maps, place)}."
    return f"{text} on the {', then the '.join(part.name for part in ranked[:3])}."


# ---- bars ----------------------------------------------------------------------------------------


def part_table(found: ExplorerResult) -> str:
    """Return the truth and the map of every part side by side, as an HTML table with bars."""
    if not found.before:
        return ""
    before, now = ({part.name: part for part in row} for row in (found.before, found.parts))
    every = [*found.before, *found.parts]
    spans = {by: _span([getattr(part, by) for part in every]) for by in ("effect", "relevance")}
    lines = []
    for name in (part for part in PARTS if part in before or part in now):
        part, old = now.get(name), before.get(name)
        away = part is None or not part.present
        cells = "".join(
            _bar(
                getattr(part, by) if part else math.nan,
                getattr(old, by) if old and found.changed else math.nan,
                spans[by],
            )
            for by in ("effect", "relevance")
        )
        shown = "museum label" if name == "label" else name
        note = " <small>taken away</small>" if away else ""
        lines.append(
            f'<tr class="{"bx-away" if away else ""}" data-part="{name}">'
            f'<th scope="row">{shown}{note}</th>{cells}</tr>'
        )
    ticks = " A thin line marks the beetle as drawn." if found.changed else ""
    head = "".join(
        f'<th scope="col" colspan="2">{escape(title)}</th>'
        for title in ("truth, in logits", f"map: {found.choice.method}")
    )
    return (
        '<table class="bx-table"><caption>What each part is worth</caption>'
        f'<thead><tr><th scope="col">part</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody>'
        '</table><p class="bx-note">Truth: logit with the part, minus logit without it. Map: '
        "relevance added up over the part. The units differ, so compare the order, not the "
        f"lengths.{ticks}</p>"
    )


def score_table(found: ExplorerResult) -> str:
    """Return the score of the map and that of the edge filter, as an HTML table with bars."""
    if isnan(found.score):
        return ""
    rows = {found.choice.method: found.score, "filter of edges": found.null}
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{_bar(score, math.nan, (-1.0, 1.0), _GREY)}</tr>'
        for name, score in rows.items()
    )
    return (
        '<table class="bx-table bx-scores"><caption>Does the map have the parts in their true '
        f"order?</caption><tbody>{lines}</tbody></table>"
        '<p class="bx-note">+1: yes; 0: no order; −1: the reverse. The filter sees the picture and '
        "no network. One beetle proves little; lesson 06 takes 200.</p>"
    )


def class_table(found: ExplorerResult) -> str:
    """Return the logits before and after the changes, as an HTML table with bars."""
    places = list(range(len(found.classes)))
    if len(places) > 10:
        best = found.logits[1].topk(5).indices.tolist()
        places = best + [found.target] * (found.target not in best)
    logits = found.logits[:, places].tolist()
    span = _span(logits[0] + logits[1])
    lines = []
    for place, old, now in zip(places, *logits, strict=True):
        explained = place == found.target
        name = escape(species_name(found.classes[place])) + (
            " <small>explained</small>" if explained else ""
        )
        was = f"{_plain(old)} → " if found.changed else ""
        tick, colour = (old if found.changed else math.nan), (GREEN if explained else _GREY)
        lines.append(
            f'<tr class="{"bx-explained" if explained else ""}"><th scope="row">{name}</th>'
            f"{_bar(now, tick, span, colour, f'{was}{_plain(now)}')}</tr>"
        )
    caption = "Logits, before → after the changes" if found.changed else "Logits"
    return (
        f'<table class="bx-table bx-classes"><caption>{caption}</caption><thead><tr><th '
        'scope="col">class</th><th scope="col" colspan="2">logit</th></tr></thead>'
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
    """Return two table cells: a bar from 0, by its sign or in a colour, with a tick; the number."""
    low, high = span

    def at(number: float) -> float:
        return 100 * (number - low) / (high - low)

    drawn = ""
    if not isnan(value):
        left, right = sorted((at(0.0), at(value)))
        colour = colour or (FOR if value > 0 else AGAINST)
        drawn = f'<i style="left:{left:.1f}%;width:{right - left:.1f}%;background:{colour}"></i>'
        drawn += f'<u style="left:{at(0.0):.1f}%"></u>'
    if not isnan(tick):
        drawn += f'<b style="left:{at(tick):.1f}%"></b>'
    number = text or ("–" if isnan(value) else with_sign(value))
    return f'<td aria-hidden="true"><div class="bx-track">{drawn}</div></td><td>{number}</td>'
