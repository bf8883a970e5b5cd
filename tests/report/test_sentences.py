"""Sentences follow from the numbers, and never say other than the tables below them."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from own_network import CLASSES, network, transform
from test_findings import numbers
from torch import nn

from xai_course.methods import METHODS, report_methods
from xai_course.report import (
    Summary,
    baseline_remarks,
    clear_words,
    conclude,
    glance_table,
    in_short,
    labels_origin,
    not_tried,
    occlusion_table,
    prose,
    randomisation_results,
    randomisation_table,
    wrap_model,
)
from xai_course.report.glance import ASKS

RANDOM = "Does a map depend on what was learnt?"
COVER = "Is what a map marks needed?"


# ---- sentences and tables hold together ----------------------------------------------------------


@st.composite
def summaries(draw):
    """Random results: few or many images, methods that are ahead or not, maps that stay or not."""
    n, m = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    names = [*(f"m{k}" for k in range(m)), "null: edges", "null: centre"]
    size = m + 2
    drops = torch.randn(n, size, 2, generator=generator)
    lead = st.sampled_from([-1.0, 0.0, 0.3, 1.0, 4.0])
    for k in range(m):
        for f in range(2):
            drops[:, k, f] += draw(lead)
        if draw(st.booleans()):
            drops[: n // 4, k] -= 20 * draw(lead)  # a few images decide the mean
    random = torch.full((n, size), torch.nan, dtype=torch.double)
    noise = torch.randn(n, m, generator=generator, dtype=torch.double)
    for k in range(m):
        random[:, k] = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])) + 0.05 * noise[:, k]
    if draw(st.booleans()):
        random[:, draw(st.integers(0, m - 1))] = torch.nan
    images = 0.1 + 0.05 * torch.randn(n, size, generator=generator, dtype=torch.double)
    agreement = torch.rand(n, size, size, generator=generator, dtype=torch.double)
    return Summary(
        names,
        (agreement + agreement.mT) / 2,
        random,
        images,
        drops,
        torch.rand(n, generator=generator),
        ["cat"] * n,
        [None] * n,
        [],
        [],
        [0] * size,
    )


def named(text):
    return set(re.findall(r"\bm\d\b", text))


def sentence(sentences, start):
    (found,) = [text for text in sentences if text.startswith(start)] or [""]
    return found


def sentence_with(sentences, words):
    (found,) = [text for text in sentences if words in text] or [""]
    return found


def interval(cell):
    low, high = re.search(r"\[(.*), (.*)\]", cell.replace("−", "-")).groups()
    return float(low), float(high)


@settings(max_examples=150, deadline=None)
@given(summaries())
def test_no_sentence_says_other_than_the_table_below_it(summary):
    words = conclude(summary)
    head, rows = occlusion_table(summary)
    assert all(len(row) == len(head) for row in rows)
    assert [head[at] for at in (1, 6, 11)] == ["result", "with the mean colour", "with a blur"]
    clear = [{row[0] for row in rows if row[at] == "passed"} for at in (6, 11, 1)]
    behind = [{row[0] for row in rows if row[at] == "failed"} for at in (6, 11, 1)]
    assert clear[2] == clear[0] & clear[1]
    assert behind[2] == behind[0] | behind[1]
    told = re.search(
        r"Clearly ahead: with the mean colour (.*); with a blur (.*); with both (.*)\.",
        words[COVER][-1],
    )
    assert [named(part) for part in told.groups()] == clear
    for row in rows:  # each row has its reason
        for at in (6, 11):
            hits, n = map(int, row[at - 2].split(" of "))
            if row[at] == "passed":
                assert interval(row[at - 3])[0] > 0
                assert hits > n / 2
            if row[at] == "failed":
                assert interval(row[at - 3])[1] < 0
                assert hits < n / 2
            assert row[at] in ("passed", "failed", "cannot tell")

    said = words["What may be said"]
    shown, struck = named(sentence(said, "For m")), named(sentence(said, "Not that the maps of "))
    assert shown | struck == clear[2]
    assert not shown & struck
    none = sentence(said, "No method passed")
    assert bool(none) == (not clear[2] and not sentence(said, "Nothing about the methods"))
    if none:
        assert f"none of {len(rows)} is clearly ahead" in none
        assert named(none) == clear[0] | clear[1]
        for part, methods in (("the mean colour", clear[0]), ("a blur", clear[1])):
            if methods:
                assert f"with {part} alone" in none
    if sentence(said, "Nothing about the methods"):
        assert not clear[0] | clear[1]

    kept = {row.method: row.kept for row in randomisation_results(summary)}
    random_rows = randomisation_table(summary)[1]
    stays = {row[0] for row in random_rows if row[-1] != "not clear"}
    assert stays == {method for method, how in kept.items() if how}
    most = named(sentence_with(words[RANDOM], "with random weights most"))
    part = named(sentence_with(words[RANDOM], "with random weights a part"))
    assert most | part == stays
    assert not most & part
    assert bool(sentence(words[RANDOM], "No method's maps stay clearly")) == (
        bool(kept) and not stays
    )
    assert not named(sentence(words[RANDOM], "Not decided")) & stays
    assert named(sentence(words[RANDOM], "Not checked")) == (
        {name for name in summary.names if name.startswith("m")} - set(kept) if kept else set()
    )
    assert struck == most & clear[2]
    assert named(sentence(said, "But on average a part of a map stays")) == part & shown

    # the first table and the sentence above it
    assert {row[0] for row in random_rows if row[1] == "failed"} == most
    random = {row[0]: row[1] for row in random_rows}
    glance = {row[0]: row[1:] for row in glance_table(summary)[1]}
    assert glance == {row[0]: [row[1], random.get(row[0], "cannot tell")] for row in rows}
    both = {method for method, cells in glance.items() if cells == ["passed", "passed"]}
    told, *more = in_short(summary)
    assert ("passed both tests. Covering" in told) == bool(both)
    assert named(told) == (both or clear[2])
    second = {method for method, cells in glance.items() if cells[1] == "passed"}
    assert named(" ".join(more)) == (set() if both else second)
    assert both <= shown


# ---- words by hand -------------------------------------------------------------------------------


def test_the_sentence_of_the_issue_names_the_reason():
    """A is clearly ahead with both fillings, and left out since most of its map stays."""
    found = conclude(numbers(24, keeps=0.7))
    assert found["What may be said"][1:] == [
        "Not that the maps of A (correlation 0.90, different images 0.20: 88 % of what could stay) "
        "show what was learnt, although covering what they mark lowers the logit clearly more, "
        "with both fillings: on average, most of a map stays with random weights."
    ]
    assert found[COVER][-1].endswith("with both A.")
    assert found[RANDOM][0].startswith(
        "A (correlation 0.90, different images 0.20: 88 % of what could stay): with random weights "
        "most of a map stays on average, clearly more than maps of different images share."
    )


def test_a_small_part_that_stays_is_called_small_and_strikes_nothing_off():
    found = conclude(numbers(24, keeps=0.15))
    assert found["What may be said"][1].startswith("For A: on images like these")
    assert found["What may be said"][2] == (
        "But on average a part of a map stays with random weights: A (correlation 0.35, different "
        "images 0.20: 19 % of what could stay)."
    )


def test_few_images_can_tell_nothing():
    assert conclude(numbers(5))["What may be said"][1] == (
        "Nothing about the methods: with 5 images even a method that is ahead on all of them could "
        "be so by chance. 6 different images or more could tell."
    )
    assert "For A" in conclude(numbers(6))["What may be said"][1]
    assert conclude(numbers(2))[RANDOM] == [
        "Not checked: it takes 3 different images, to compare with maps of others."
    ]
    assert conclude(numbers(12, lead=0.0))["What may be said"][1] == (
        "No method passed the test by covering: with both fillings, the mean colour and a blur, "
        "none of 2 is clearly ahead of maps that know nothing. So it is shown for no method that "
        "its maps mark what the answer needs. A lead counts as clear if it shows on 10 of 12 "
        "images or more, and the interval of the difference lies above 0."
    )


def test_suspects_are_named_with_what_could_tell():
    summary = numbers(8)
    summary.random_similarity[:6, 1] = 0.9
    summary.random_similarity[6:, 1] = 0.0
    assert conclude(summary)[RANDOM][1] == (
        "Not decided, since the maps stay more alike on most images, but not clearly: B on 6 of 8 "
        "(14 % by chance; correlation 0.68, different images 0.20: 59 % of what could stay). A "
        "lead counts as clear if it shows on all 8 images, and the interval of the difference lies "
        "above 0."
    )


def test_the_answers_and_the_copies():
    truths = ["cat"] * 10 + ["dog"] * 2
    found = conclude(numbers(truths=truths))["The answers"]
    assert found[0].endswith("surer than 90 % on 1, and less sure than 50 % on 4.")
    assert "right on 10" in found[1]
    copies = numbers()._replace(copies=[["a", "b"], ["c", "d", "e", "f", "g", "h", "i"]])
    assert conclude(copies)["The answers"][-1] == (
        "The same picture, or nearly, or mirrored: a and b; c, d, e, f, g and 2 more. Each counts "
        "once in all comparisons, which are of 12 pictures."
    )


def test_methods_that_are_one_are_said_to_be():
    summary = numbers()._replace(same=[["Grad-CAM", "CAM"]])
    assert conclude(summary)["Do the methods agree?"][0] == (
        "Grad-CAM and CAM give the same map on every image, or nearly, up to its scale: they count "
        "as one method."
    )
    alone = conclude(numbers(methods=1))["Do the methods agree?"]
    assert alone == [
        "One method alone agrees with itself; take two or more to see how far they agree."
    ]


def test_one_good_sentence_where_it_is_earned():
    assert in_short(numbers(24)) == [
        "On 24 pictures A passed both tests. Covering what these maps mark lowers the network's "
        "score clearly more than covering as much where bright meets dark, or in the middle, and "
        "on average, most of a map is gone when the network has lost all that it learnt. Such a "
        "map may be shown as a pointer to where to try something."
    ]
    assert glance_table(numbers(24))[1] == [
        ["A", "passed", "passed"],
        ["B", "failed", "passed"],  # behind the null maps on every picture
    ]
    assert in_short(numbers(24, keeps=0.7)) == [
        "On 24 pictures no method passed both tests. A passed the test by covering, and not the "
        "one with random weights.",
        "The maps of B passed the test with random weights: on average, most of a map is gone when "
        "the network has lost all that it learnt.",
    ]
    few = numbers(1)
    assert in_short(few) == [
        "On 1 picture no method passed the test by covering. So it is shown for no method that its "
        "maps mark what the answer needs. Do not show any of the maps as a pointer to the places "
        "that matter."
    ]
    assert [row[1:] for row in glance_table(few)[1]] == [["cannot tell", "cannot tell"]] * 2


def test_occlusion_is_said_to_be_favoured_where_it_is_recommended():
    summary = numbers(24)
    summary.names[0] = "occlusion"
    assert in_short(summary)[0].endswith("so the first test favours it.)")
    assert glance_table(summary)[1][0][0] == f"occlusion\n{ASKS['occlusion']}"


def test_each_method_of_a_report_says_what_it_asks():
    assert set(ASKS) == set(report_methods(every=True))
    for asks in ASKS.values():
        assert not [name for name in METHODS if name in asks and name != "gradient"]
        assert len(asks) < 100


def test_clear_has_one_meaning():
    assert clear_words(11).startswith(
        "Clear: a coin would be ahead on as many images in less than 0.5 % of all tries, 5 % "
        "divided by 11 methods, and the interval"
    )
    assert "divided" not in clear_words(1)


ROWS = [{"kl_divergence": None, "right": None}]


@pytest.mark.parametrize("methods", [["CAM"], ["gradient", "occlusion", "DeepLIFT"]])
def test_prose_speaks_of_methods_that_are_there(methods):
    own = wrap_model(network(), transform, CLASSES)
    text = " ".join(prose(own, {"methods": methods, "transform": ROWS}).values())
    for name in ("gradient", "SmoothGrad", "guided backpropagation", "Integrated Gradients"):
        assert (name.lower() in text.lower()) == (name in methods), name
    assert ("DeepLIFT says how" in text) == ("DeepLIFT" in methods)
    assert ("Occlusion is made" in text) == ("occlusion" in methods)
    assert "batch normalisations take" in text
    assert "Surprise" not in text


def test_prose_of_a_network_with_one_logit():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1))
    own = wrap_model(model, transform, ["beetle"])
    text = prose(own, {"methods": ["gradient"], "transform": ROWS})
    assert "for the answer “beetle”" in text["The maps"]
    assert "batch normalisation" not in " ".join(text.values())


def test_a_baseline_of_which_the_network_is_sure_is_named():
    rows = [
        {"baseline": "black", "kept": 0.0, "predicted": "crane", "confidence": 0.97},
        {"baseline": "mean", "kept": 0.2, "predicted": "crane", "confidence": 0.66},
        {"baseline": "blur", "kept": 0.9, "predicted": "cat", "confidence": 0.71},
    ]
    # Of three answers a guess is 1/3, and nearer to certain than that is above 2/3.
    assert baseline_remarks(rows, 3, METHODS) == [
        "The network is sure of an answer even where there is nothing to see: a black picture "
        "(“crane”, 97 %) and the blurred pictures (“cat”, 71 %). So this is no neutral picture. If "
        "a map compares with it, the map shows how two answers differ. If a place is covered with "
        "it, the place is not just taken away: something else is put there."
    ]
    (black,) = baseline_remarks(rows[:1], 3, list(report_methods()))
    assert black.endswith(
        "something else is put there. (Nothing in this report does either: the test by covering "
        "takes the mean colour and a blur, and no map here compares with black.)"
    )
    # Score-CAM shows zeros where it hides: black, if nothing is subtracted from the pixels.
    assert baseline_remarks(rows[:1], 3, ["Score-CAM"])[0].endswith("else is put there.")
    assert baseline_remarks(rows[1:2], 3, METHODS) == []
    assert baseline_remarks(rows[2:], 2, METHODS) == []  # of two answers, above 3/4
    # What a method of the reader's own compares with is not known.
    (black,) = baseline_remarks(rows[:1], 3, ["gradient", "IG, black"])
    assert black.endswith("something else is put there.")


def test_methods_that_were_not_asked_for_are_named():
    every = list(report_methods())
    assert not_tried({"methods": every[1:], "refused": {every[0]: "a reason"}}) == []
    (words,) = not_tried({"methods": [every[0], "mine"], "refused": {every[1]: "a reason"}})
    assert words == (
        f"Not tried, as they were not asked for: {', '.join(every[2:])}. Whether they apply to "
        "this network is not known."
    )


def test_where_labels_come_from_is_said_as_it_is():
    assert labels_origin("", ("cat", "dog")) == "those that came with the network"
    assert labels_origin("lists/mine/names.txt", ("cat", "dog")) == "from the file names.txt"
    for made_up in (("class 0", "class 1"), ("no", "yes")):
        assert labels_origin("", made_up).startswith("none were given")
