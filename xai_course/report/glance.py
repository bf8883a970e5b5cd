"""What the page says first: each method, what it asks, and whether it passed the two tests."""

from __future__ import annotations

from xai_course.report.findings import Summary, first_name, method_verdicts
from xai_course.report.words import counted, listed

__all__ = ["ASKS", "TESTS", "glance_table", "in_short"]


ASKS = {
    "gradient": "If a pixel changes a little, how much does the score change?",
    "SmoothGrad": "How much does the score change with a pixel, as a mean over noisy copies?",
    "guided backpropagation": "What of the score comes back to the pixels, if the layers let only "
    "positive signals through?",
    "Grad-CAM": "Where do the last feature maps speak for the answer?",
    "Grad-CAM++": "Where do the last feature maps speak for the answer, if only rises count?",
    "HiResCAM": "Where do the last feature maps speak for the answer, each place by itself?",
    "LayerCAM": "Where do the last feature maps speak for the answer, each place by itself, if "
    "only rises count?",
    "FullGrad": "What do the pixels and the constants of the layers add to the score?",
    "CAM": "What does each place of the last feature maps add to the score?",
    "Score-CAM": "How high is the score if only the places of one feature map are shown?",
    "last block": "What does each place of the last residual block add to the score?",
    "occlusion": "How far does the score fall if this square is covered?",
    "RISE": "How far does the score rise if this place is shown, and others are covered at random?",
    "LIME": "How much does each part of the picture count in a simple model of the answers?",
    "Shapley values": "What is the share of each part, over all orders of showing the parts?",
    "Integrated Gradients": "What does each pixel add on the way from a blurred picture to this?",
    "DeepLIFT": "What does each pixel's difference from a blurred picture add to the score?",
    "LRP": "How is the score shared out, layer by layer, back to the pixels?",
}

TESTS = (
    "The score is the number (the logit) that the network gives to its answer. Two tests of each "
    "map. Covering: does covering what the map marks lower the score more than covering the edges "
    "or the middle? Random weights: is most of the map gone when the network has lost all that it "
    "learnt? Passed or failed: the pictures show it clearly. Cannot tell: they show neither."
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
            f"{verdict.method}\n{ASKS.get(first_name(verdict.method), '')}".strip(),
            verdict.occlusion.verdict,
            verdict.randomisation_verdict,
        ]
        for verdict in method_verdicts(summary)
    ]
    return ["method, and what it asks", "covering", "random weights"], rows


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
    on = f"On {counted(summary.images, 'picture')}"
    gone = "most of each map is gone when the network has lost all that it learnt"
    if both:
        favours = (
            " (Occlusion is made by covering, so the first test favours it.)"
            if "occlusion" in map(first_name, both)
            else ""
        )
        return [
            f"{on} {listed(both)} passed both tests. Covering what these maps mark lowers the "
            "network's score clearly more than covering the edges or the middle, and "
            f"{gone}. Such a map may be shown as a pointer to where to try something.{favours}"
        ]
    words = [
        f"{on} no method passed the test by covering: of none is it shown that its maps mark what "
        "the answer needs. So none of the maps may be shown as a pointer."
    ]
    if first:
        words = [
            f"{on} no method passed both tests. {listed(first)} passed the test by covering, and "
            "not the one with random weights."
        ]
    if second:
        words.append(f"The maps of {listed(second)} passed the test with random weights: {gone}.")
    return words
