"""Right and wrong answers to the exercises of lesson 02: (check, answer) and what a check says."""

import torch
from torch.nn import functional as F

from xai_course.exercises.lesson_02 import check_calibration, check_classify, check_confusion
from xai_course.plots import calibration_bins


def classify(features, fc1, fc2):
    return fc2(fc1(F.adaptive_avg_pool2d(features, 4).flatten(1)))


def neighbours(features, fc1, fc2):
    """As many rows as images, but each looks at the image before it as well."""
    pooled = F.adaptive_avg_pool2d(features, 4).flatten(1)
    return fc2(fc1(pooled + pooled.roll(1, 0)))


def first_rows(features, fc1, fc2):
    """The article's view, cut to as many rows as there are images."""
    flat = F.pad(features.reshape(-1), (0, -features.numel() % fc1.in_features))
    return fc2(fc1(flat.view(-1, fc1.in_features)))[: len(features)]


def counted(logits, labels):
    counts = torch.zeros(logits.shape[1], logits.shape[1])
    for true, taken in zip(labels, logits.argmax(1), strict=True):
        counts[true, taken] += 1
    return counts


def once(logits, labels):
    counts = torch.zeros(logits.shape[1], logits.shape[1])
    counts[labels, logits.argmax(1)] += 1
    return counts


def bins(confidence, correct, edges=10):
    return calibration_bins(confidence, correct, edges)


def ece(confidence, correct):
    count, sure, right = bins(confidence, correct)
    return float((count * abs(sure - right)).sum() / count.sum())


def loses_the_sure(confidence, correct):
    total = 0.0
    for i in range(10):
        inside = (confidence >= i / 10) & (confidence < (i + 1) / 10)
        if inside.any():
            gap = confidence[inside].mean() - correct[inside].mean()
            total += float(inside.float().mean() * gap.abs())
    return total


def plain_mean(confidence, correct):
    _, sure, right = bins(confidence, correct)
    return abs(sure - right).mean()


def largest(confidence, correct):
    _, sure, right = bins(confidence, correct)
    return abs(sure - right).max()


def overall(confidence, correct):
    return confidence.mean() - correct.mean()


RIGHT = [(check_classify, classify), (check_confusion, counted), (check_calibration, ece)]
WRONG = [
    (check_classify, lambda f, a, b: b(a(f.reshape(-1, a.in_features))), "rows; each image"),
    (check_classify, lambda f, a, b: b(a(f.flatten(1))), "stopped with RuntimeError"),
    (check_classify, first_rows, "row 2 does not belong"),
    (check_classify, neighbours, "mixed"),
    (check_classify, lambda f, a, b: b(a(f.new_ones(4, a.in_features))), "row 2 does not belong"),
    (check_classify, lambda f, a, b: classify(f, a, b).softmax(1), "probabilities"),
    (check_classify, lambda f, a, b: classify(f, a, b).log(), "has no logarithm"),
    (check_classify, lambda f, a, b: classify(f, a, b).log_softmax(1), "probabilities"),
    (
        check_classify,
        lambda f, a, b: b(a(F.adaptive_avg_pool2d(f, 4).flatten(1)).relu()),
        "change nothing else",
    ),
    (
        check_classify,
        lambda f, a, b: b(a(F.adaptive_max_pool2d(f, 4).flatten(1))),
        "average pool to 4 × 4",
    ),
    (check_confusion, lambda x, y: counted(x, y).T, "exchanged"),
    (check_confusion, once, "several times only once"),
    (check_confusion, lambda x, y: counted(x, y) / len(y), "shares"),
    (check_confusion, lambda x, y: counted(-x, y), "largest"),
    (check_confusion, lambda x, y: x.argmax(1), "should return"),
    (check_confusion, lambda x, y: counted(x[1:], y[1:]), "counts"),
    (check_calibration, loses_the_sure, "belongs in the last"),
    (check_calibration, plain_mean, "plain mean"),
    (check_calibration, lambda c, r: float("nan"), "empty bin"),
    (check_confusion, lambda x, y: counted(x, y).numpy(), "from_numpy"),
    (check_calibration, overall, "cancel"),
    (check_calibration, largest, "largest distance"),
    (check_calibration, lambda c, r: ece(c, r) ** 0.5, "is right"),
    (check_calibration, lambda c, r: [ece(c, r)], "a number"),
]
