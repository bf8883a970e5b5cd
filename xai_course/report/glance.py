"""What the page says first: each method, what it asks, and whether it passed the two tests."""

from __future__ import annotations

from xai_course.core.translation import message, translate
from xai_course.report.findings import Summary, first_name, method_verdicts
from xai_course.report.words import counted, listed

__all__ = ["ASKS", "TESTS", "glance_table", "in_short"]


ASKS = {
    "gradient": message("If a pixel changes a little, how much does the score change?"),
    "SmoothGrad": message(
        "How much does the score change with a pixel, as a mean over noisy copies?"
    ),
    "guided backpropagation": message(
        "What of the score comes back to the pixels, if the layers let only "
        "positive signals through?"
    ),
    "Grad-CAM": message("Where do the last feature maps speak for the answer?"),
    "Grad-CAM++": message(
        "Where do the last feature maps speak for the answer, if only rises count?"
    ),
    "HiResCAM": message(
        "Where do the last feature maps speak for the answer, each place by itself?"
    ),
    "LayerCAM": message(
        "Where do the last feature maps speak for the answer, each place by itself, if "
        "only rises count?"
    ),
    "FullGrad": message("What do the pixels and the constants of the layers add to the score?"),
    "CAM": message("What does each place of the last feature maps add to the score?"),
    "Score-CAM": message("How high is the score if only the places of one feature map are shown?"),
    "last block": message("What does each place of the last residual block add to the score?"),
    "occlusion": message("How far does the score fall if this square is covered?"),
    "RISE": message(
        "How far does the score rise if this place is shown, and others are covered at random?"
    ),
    "LIME": message(
        "How much does each part of the picture count in a simple model of the answers?"
    ),
    "Shapley values": message(
        "What is the share of each part, over all orders of showing the parts?"
    ),
    "Integrated Gradients": message(
        "What does each pixel add on the way from a blurred picture to this?"
    ),
    "DeepLIFT": message(
        "What does each pixel's difference from a blurred picture add to the score?"
    ),
    "LRP": message("How is the score shared out, layer by layer, back to the pixels?"),
}

TESTS = (
    message(
        "The score is the number (the logit) that the network gives to its answer. Two tests of "
        "each method:"
    ),
    message(
        "Covering: the tenth of the picture that a map marks most is covered, all at once: first "
        "with the mean colour, then with a blur. Passed: both times the score falls clearly more "
        "than when a tenth is covered where bright meets dark (edges), or in the middle, whichever "
        "of these two costs more on average. Failed: it falls clearly less, at least one of the "
        "two times. Cannot tell: all else, also if it falls clearly more with one of the two alone."
    ),
    message(
        "Random weights: the network loses all that it learnt. Passed: on average, most of a map "
        "is clearly gone. Failed: on average, most of it clearly stays. Cannot tell: neither is "
        "clear."
    ),
)


def glance_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the page's first table.

    Args:
        summary: from `summarise`.

    Returns:
        The head, and a row for each method: its name with what it asks in a second line, and a
        word for each test.
    """
    rows = [
        [
            f"{verdict.method}\n{translate(ASKS.get(first_name(verdict.method), ''))}".strip(),
            translate(verdict.occlusion.verdict),
            translate(verdict.randomisation_verdict),
        ]
        for verdict in method_verdicts(summary)
    ]
    return [
        translate("method, and what it asks"),
        translate("covering"),
        translate("random weights"),
    ], rows


def in_short(summary: Summary) -> list[str]:
    """Say in a sentence or two what the table shows.

    Args:
        summary: from `summarise`.

    Returns:
        The sentences. They recommend a method only if it passed both tests.
    """
    verdicts = method_verdicts(summary)
    first = [v.method for v in verdicts if v.occlusion.verdict == "passed"]
    second = [v.method for v in verdicts if v.randomisation_verdict == "passed"]
    both = [method for method in first if method in second]
    on = translate("On {pictures}", pictures=counted(summary.images, "picture"))
    gone = translate(
        "on average, most of a map is gone when the network has lost all that it learnt"
    )
    if both:
        favours = (
            translate(" (Occlusion is made by covering, so the first test favours it.)")
            if "occlusion" in map(first_name, both)
            else ""
        )
        return [
            translate(
                "{on} {methods} passed both tests. Covering what these maps mark lowers the "
                "network's score clearly more than covering as much where bright meets dark, or "
                "in the middle, and {gone}. Such a map may be shown as a pointer to where to try "
                "something.{favours}",
                on=on,
                methods=listed(both),
                gone=gone,
                favours=favours,
            )
        ]
    words = [
        translate(
            "{on} no method passed the test by covering. So it is shown for no method that its "
            "maps mark what the answer needs. Do not show any of the maps as a pointer to the "
            "places that matter.",
            on=on,
        )
    ]
    if first:
        words = [
            translate(
                "{on} no method passed both tests. {methods} passed the test by covering, and "
                "not the one with random weights.",
                on=on,
                methods=listed(first),
            )
        ]
    if second:
        words.append(
            translate(
                "The maps of {methods} passed the test with random weights: {gone}.",
                methods=listed(second),
                gone=gone,
            )
        )
    return words
