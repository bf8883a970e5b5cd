"""Right and wrong answers to the exercises of lesson 03: (check, answer) and what a check says."""

import torch

from xai_course.exercises.lesson_03 import check_calibration, check_precision
from xai_course.plots import calibration_bins


def precision(logits, labels):
    taken = logits.argmax(1)
    shares = torch.zeros(logits.shape[1])
    for number in range(logits.shape[1]):
        if (taken == number).any():
            shares[number] = (labels[taken == number] == number).float().mean()
    return shares


def counted(logits, labels):
    counts = torch.zeros(logits.shape[1], logits.shape[1])
    for true, taken in zip(labels, logits.argmax(1), strict=True):
        counts[true, taken] += 1
    return counts


def hits(logits, labels):
    return counted(logits, labels).diagonal()


def by_column(logits, labels):
    counts = counted(logits, labels)
    return counts.diagonal() / counts.sum(0).clamp(min=1)


def recall(logits, labels):
    counts = counted(logits, labels)
    return counts.diagonal() / counts.sum(1).clamp(min=1)


def accuracy(logits, labels):
    return (logits.argmax(1) == labels).float().mean().repeat(logits.shape[1])


def groups(confidence, correct):
    """Confidence minus accuracy in ten groups of equally many images."""
    order = confidence.argsort()
    return (confidence - correct)[order].view(10, -1).mean(1)


def calibration(confidence, correct):
    return float(groups(confidence, correct).abs().mean())


def by_slices(confidence, correct):
    size, order = len(confidence) // 10, confidence.argsort(descending=True).tolist()
    total = 0.0
    for start in range(0, len(order), size):
        group = order[start : start + size]
        total += abs(float(correct[group].mean() - confidence[group].mean())) / 10
    return total


def equal_width(confidence, correct):
    count, sure, right = calibration_bins(confidence, correct)
    return float((count * abs(sure - right)).sum() / count.sum())


def half_sorted(confidence, correct):
    sure = confidence.sort().values.view(10, -1).mean(1)
    return (sure - correct.view(10, -1).mean(1)).abs().mean()


def unsorted(confidence, correct):
    return (confidence - correct).view(10, -1).mean(1).abs().mean()


RIGHT = [
    (check_precision, precision),
    (check_precision, by_column),
    (check_calibration, calibration),
    (check_calibration, by_slices),
]
WRONG = [
    (check_precision, recall, "the recall"),
    (check_precision, lambda x, y: hits(x, y) / counted(x, y).sum(0), "never named"),
    (check_precision, hits, "counts"),
    (check_precision, lambda x, y: hits(x, y) / len(y), "not by all images"),
    (check_precision, accuracy, "the accuracy over all"),
    (check_precision, lambda x, y: 100 * precision(x, y), "percentages"),
    (check_precision, lambda x, y: by_column(-x, y), "largest"),
    (check_precision, lambda x, y: precision(x, y)[0], "should return"),
    (check_precision, lambda x, y: precision(x[1:], y[1:]), "belong to it"),
    (check_precision, lambda x, y: precision(x, y).numpy(), "from_numpy"),
    (check_calibration, equal_width, "equal *width*"),
    (check_calibration, half_sorted, "in the same order"),
    (check_calibration, unsorted, "sort by confidence first"),
    (check_calibration, lambda c, r: float("nan"), "NaN"),
    (check_calibration, lambda c, r: groups(c, r).mean(), "cancel"),
    (check_calibration, lambda c, r: groups(c, r).abs().max(), "largest distance"),
    (check_calibration, lambda c, r: groups(c, r).abs().sum(), "the sum over groups"),
    (check_calibration, lambda c, r: calibration(c, r) ** 0.5, "is right"),
    (check_calibration, lambda c, r: [calibration(c, r)], "a number"),
]
