"""Right and wrong answers to the exercises of lesson 02: (check, answer) and what a check says."""

import torch
from torch.nn import functional as F

from xai_course.exercises.lesson_02 import check_calibration, check_classify, check_precision
from xai_course.plots import calibration_bins


def rows(features, fc1, fc2, pool=F.adaptive_avg_pool2d):
    """One row a version: (N · V, classes)."""
    return fc2(fc1(pool(features.flatten(0, 1), 4).flatten(1)))


def classify(features, fc1, fc2, pool=F.adaptive_avg_pool2d):
    return rows(features, fc1, fc2, pool).unflatten(0, features.shape[:2]).mean(1)


def one_by_one(features, fc1, fc2):
    return torch.stack([rows(image[None], fc1, fc2).mean(0) for image in features])


def neighbours(features, fc1, fc2):
    """As many rows as images, but each looks at the image before it as well."""
    return classify(features + features.roll(1, 0), fc1, fc2)


def other_order(features, fc1, fc2):
    """The rows are split as if versions came before images."""
    return rows(features, fc1, fc2).view(features.shape[1], features.shape[0], -1).mean(0)


def first_rows(features, fc1, fc2):
    """The article's view, cut to as many rows as there are images."""
    flat = F.pad(features.reshape(-1), (0, -features.numel() % fc1.in_features))
    return fc2(fc1(flat.view(-1, fc1.in_features)))[: len(features)]


def with_relu(features, fc1, fc2):
    return classify(features, lambda x: fc1(x).relu(), fc2)


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


RIGHT = [
    (check_classify, classify),
    (check_classify, one_by_one),
    (check_precision, precision),
    (check_precision, by_column),
    (check_calibration, ece),
]
WRONG = [
    (check_classify, rows, "12 rows; each image"),
    (check_classify, lambda f, a, b: b(a(f.flatten(1))), "stopped with RuntimeError"),
    (check_classify, first_rows, "mixed"),
    (check_classify, neighbours, "mixed"),
    (check_classify, other_order, "mixed"),
    (check_classify, lambda f, a, b: b(a(f.new_ones(4, a.in_features))), "row 2 does not belong"),
    (check_classify, lambda f, a, b: classify(f, a, b).softmax(1), "probabilities"),
    (check_classify, lambda f, a, b: classify(f, a, b).log(), "has no logarithm"),
    (check_classify, lambda f, a, b: classify(f, a, b).log_softmax(1), "probabilities"),
    (check_classify, lambda f, a, b: 3 * classify(f, a, b), "the sum over"),
    (check_classify, lambda f, a, b: classify(f[:, :1], a, b), "one version of each image"),
    (check_classify, with_relu, "leave the layers"),
    (check_classify, lambda f, a, b: classify(f, a, b, F.adaptive_max_pool2d), "average pool"),
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
    (check_calibration, loses_the_sure, "belongs in the last"),
    (check_calibration, plain_mean, "plain mean"),
    (check_calibration, lambda c, r: float("nan"), "empty bin"),
    (check_calibration, overall, "cancel"),
    (check_calibration, largest, "largest distance"),
    (check_calibration, lambda c, r: ece(c, r) ** 0.5, "is right"),
    (check_calibration, lambda c, r: [ece(c, r)], "a number"),
]
