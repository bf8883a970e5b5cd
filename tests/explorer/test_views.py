"""The explorer's sentences, images and tables: they say what the numbers say."""

import math
import re
from itertools import combinations, product

import pytest
from torch.nn.functional import adaptive_avg_pool2d

from xai_course.beetlebox import ground_truth
from xai_course.explorer import Selection
from xai_course.explorer.catalogue import PHOTO_NETWORK
from xai_course.explorer.state import Change, Part, run_all, run_model
from xai_course.explorer.views import (
    class_table,
    images_html,
    list_changes,
    part_table,
    score_table,
    sentences,
    truth_sentence,
)


def test_the_words_say_what_the_numbers_say():
    result = run_all(Selection())
    texts = sentences(result)
    assert list(texts) == ["Answer", "Truth", "Map", "Score"]
    sure = result.logits[0].softmax(0).max()
    assert texts["Answer"] == f"BeetleNet says Ellipsa longicornis, {sure:.0%} sure. It is right."
    best = max(result.parts, key=lambda p: p.effect)
    assert f"The {best.name} are worth most, +{best.effect:.2f}:" in texts["Truth"]
    order = sorted(result.parts, key=lambda p: -p.relevance)
    place = [p.name for p in order].index(best.name) + 1
    assert f"Grad-CAM ranks the {best.name} {place}th of {len(order)}" in texts["Map"]
    assert (
        f"+{result.score:.2f} for the map, +{result.null_score:.2f} for an edge detector"
        in texts["Score"]
    )
    assert "does better" in texts["Score"]
    assert result.score < result.null_score


def test_the_words_on_a_part_taken_away():
    result = run_all(Selection(without=("horn",)))
    texts = sentences(result)
    effect = {p.name: p.effect for p in result.parts}["horn"]
    before, after = (float(row[result.target]) for row in result.logits)
    assert texts["Change"].startswith("No horn: BeetleNet says Ellipsa polita, ")
    assert texts["Truth"].startswith(
        f"The horn was worth +{effect:.2f}: the logit of Ellipsa longicornis went from "
        f"{before:.2f} to {after:.2f}. Of the parts that are there now, the elytra are worth most,"
    )
    order = sorted(result.before, key=lambda p: -p.relevance)
    place = [p.name for p in order].index("horn") + 1
    assert place == 3
    assert texts["Map"] == f"Grad-CAM had ranked the horn 3rd of 5: the {order[0].name} came first."


def test_a_wrong_answer_is_called_wrong():
    result = run_model(Selection(network="article's network", seed=3))
    assert result.target != 1
    assert "It is wrong: this is Ellipsa longicornis." in sentences(result)["Answer"]


def test_all_changes_are_named():
    result = run_model(
        Selection(
            without=("legs",),
            horn="none",
            outline="round",
            background=3,
            label=True,
            pixel_noise=0.1,
        )
    )
    named = ["no legs", "outline round", "no horn", "other ground", "museum label", "noise 0.10"]
    assert list_changes(result) == named


def test_a_beetle_without_parts_has_words_too():
    result = run_all(Selection(without=ground_truth.BODY_PARTS))
    assert sentences(result)["Truth"].endswith(" No part is left.")
    assert math.isnan(result.score)


# ---- the truth line ------------------------------------------------------------------------------


CONTROLS = {
    **{f"no {part}": {"without": (part,)} for part in ("elytra", "head", "horn", "legs")},
    "outline round": {"outline": "round"},
    "pattern spotted": {"pattern": "spotted"},
    "other ground": {"background": 4},
    "museum label": {"label": True},
    "noise 0.10": {"pixel_noise": 0.1},
}


def signed(value):
    return f"{value:+.2f}".replace("-", "−")


@pytest.mark.parametrize("best", [1.85, 0.0, -0.5])
def test_the_truth_line_names_every_change_and_its_effect(best):
    """All sets of changes: of what was changed, and only of that, the measured effect is named."""
    names = [*CONTROLS, "antennae fan", "no pattern"]
    for chosen in product((False, True), repeat=len(names)):
        changed = [name for name, yes in zip(names, chosen, strict=True) if yes]
        effects = {name: 1.11 * (k + 1) * (-1) ** k for k, name in enumerate(changed)}
        gone = {name.removeprefix("no ") for name in changed if name.startswith("no ")}
        parts = [
            Part(name, name not in gone, -effects[f"no {name}"] if name in gone else best - k, 0.0)
            for k, name in enumerate(("head", "horn", "elytra", "pattern", "legs"))
        ]
        before, after = 1.95, 1.95 + sum(effects.values())
        changes = [Change(name, effect) for name, effect in effects.items()]
        text = truth_sentence("A b", before, after, changes, parts)
        first = text.split(". ")[0]
        if not changed:
            assert "went from" not in text
            continue
        assert f"from 1.95 to {after:.2f}".replace("-", "−") in first
        told = text.split(" Of the parts that are there now,")[0]
        for name in names:
            part = name.removeprefix("no ")
            assert (name in told or f"The {part} w" in told or name.capitalize() in told) == (
                name in changed
            ), (name, text)
        difference = effects[changed[0]] if len(changed) == 1 else after - before
        assert signed(difference) in first or signed(-difference) in first
        if len(changed) > 1:
            for name in changed:
                assert f"{name} {signed(effects[name])}" in text
        left = [part for part in parts if part.present]
        if not left:
            assert text.endswith("No part is left.")
        elif left[0].effect > 0:
            assert re.search(rf"now, the {left[0].name} (is|are) worth most, \+", text)
        else:
            assert "Of the parts that are there now, none speaks for A b." in text


@pytest.mark.parametrize("names", [*combinations(CONTROLS, 1), *combinations(CONTROLS, 2)])
def test_the_effects_of_changes_are_measured(names):
    """For all pairs of controls, against the network itself."""
    options = {}
    for name in names:
        without = options.get("without", ()) + CONTROLS[name].get("without", ())
        options |= {**CONTROLS[name], **({"without": without} if without else {})}
    result = run_model(Selection(**options))
    assert set(list_changes(result)) == set(names)
    before, after = (float(row[result.target]) for row in result.logits)
    for change in result.changes:
        (others,) = {name for name in names if name != change.name} or {""}
        alone = run_model(
            Selection(**CONTROLS.get(others, {}), target=result.classes[result.target])
        )
        expected = after - float(alone.logits[1, alone.target])
        assert change.effect == pytest.approx(expected, abs=1e-4)
    if len(names) == 1:
        assert result.changes[0].effect == pytest.approx(after - before, abs=1e-5)
    text = sentences(result)["Truth"]
    assert f"from {before:.2f} to {after:.2f}".replace("-", "−") in text


def test_the_museum_label_is_named_as_what_moved_the_logit():
    """The elytra are worth most, and yet it is the label that took the logit down."""
    text = sentences(run_model(Selection(network="shortcut BeetleNet", label=True)))["Truth"]
    assert re.match(
        r"Museum label changed the logit of [\w ]+ by [+−]\d+\.\d\d: it went from", text
    )


def test_noise_on_a_photograph_is_named():
    result = run_model(Selection(network=PHOTO_NETWORK, photograph="coffee", pixel_noise=0.1))
    text = sentences(result)["Truth"]
    assert "no answer key" in text
    assert "Noise 0.10 changed the logit of espresso by " in text


def test_the_words_on_a_photograph():
    result = run_all(Selection(network=PHOTO_NETWORK, photograph="coffee", method="Grad-CAM"))
    texts = sentences(result)
    assert list(texts) == ["Answer", "Truth", "Map"]
    assert "no answer key" in texts["Truth"]
    most = adaptive_avg_pool2d(result.maps[1:], 3).argmax()
    assert most == 1
    assert texts["Map"] == "Grad-CAM, for espresso: most relevance at the top."
    assert part_table(result) == score_table(result) == ""
    assert class_table(result).count('scope="row"') == 5


def test_the_table_holds_the_numbers_of_all_parts():
    result = run_all(Selection(without=("horn",), method="LRP"))
    rows = re.findall(r'<tr class="([^"]*)" data-part="(\w+)">(.*?)</tr>', part_table(result))
    assert [name for _, name, _ in rows] == [p.name for p in result.parts]
    for (kind, name, cells), part in zip(rows, result.parts, strict=True):
        numbers = re.findall(r"<td>([^<]*)</td>", cells)
        expected = [f"{value:+.2f}".replace("-", "−") for value in (part.effect, part.relevance)]
        assert [n if n != "0" else "+0.00" for n in numbers] == expected
        assert (kind == "bx-away") == (name == "horn")


def test_every_picture_has_its_own_text():
    html = images_html(run_all(Selection(without=("horn",))))
    alts = re.findall(r'<img alt="([^"]+)"', html)
    assert len(set(alts)) == html.count("<img") == 4
    assert alts[0] == "Beetle 24, Ellipsa longicornis, as drawn."
    assert alts[2] == "Beetle 24, Ellipsa longicornis, no horn."
    assert alts[1].startswith("Map of Grad-CAM for Ellipsa longicornis: most relevance on the ")


def test_bars_begin_at_zero_and_end_at_their_number():
    result = run_all(Selection(method="LRP"))
    table = part_table(result)
    low, high = (f([0.0, *(p.effect for p in result.parts)]) for f in (min, max))
    zero = 100 * -low / (high - low)
    row = re.search(r'data-part="horn">.*?<i style="left:([\d.]+)%;width:([\d.]+)%', table)
    effect = {p.name: p.effect for p in result.parts}["horn"]
    assert float(row[1]) == pytest.approx(zero, abs=0.06)
    assert float(row[2]) == pytest.approx(100 * effect / (high - low), abs=0.06)
