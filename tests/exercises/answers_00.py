"""Right and wrong answers to the exercises of lesson 00: (check, answer) and what a check says."""

import torch

from xai_course.exercises.lesson_00 import check_overlap, check_top_classes


def top_classes(logits, names, count):
    chances, places = logits.softmax(0).topk(count)
    return [(names[i], p) for i, p in zip(places.tolist(), chances.tolist(), strict=True)]


def overlap(first, second, share):
    count = round(share * first.numel())
    a, b = (m.flatten().topk(count).indices for m in (first, second))
    return torch.isin(a, b).float().mean()


def top(values, names, count, largest=True):
    numbers, places = values.topk(count, largest=largest)
    return [(names[i], p) for i, p in zip(places.tolist(), numbers.tolist(), strict=True)]


def picked_too_early(logits, names, count):
    numbers, places = logits.topk(count)
    chances = numbers.softmax(0)
    return [(names[i], p) for i, p in zip(places.tolist(), chances.tolist(), strict=True)]


def masks(first, second, share):
    count = round(share * first.numel())
    return [m >= m.flatten().topk(count).values[-1] for m in (first, second)]


def intersection(first, second, share):
    a, b = masks(first, second, share)
    return (a & b).float().sum()


def union(first, second, share):
    a, b = masks(first, second, share)
    return (a & b).sum() / (a | b).sum()


def by_value(first, second, share):
    a, b = (m >= (1 - share) * m.max() for m in (first, second))
    return (a & b).sum() / a.sum()


RIGHT = [
    (check_top_classes, top_classes),
    (check_top_classes, lambda *given: tuple(map(list, top_classes(*given)))),
    (check_overlap, overlap),
    (check_overlap, lambda *given: overlap(*given).item()),
]
WRONG = [
    (check_top_classes, lambda x, n, k: top(x, n, k), "These are logits"),
    (check_top_classes, lambda x, n, k: top(x.sigmoid(), n, k), "sigmoid"),
    (check_top_classes, picked_too_early, "before the largest are selected"),
    (check_top_classes, lambda x, n, k: top(100 * x.softmax(0), n, k), "percentages"),
    (check_top_classes, lambda x, n, k: top(x.softmax(0), n, k, False), "*least* likely"),
    (check_top_classes, lambda x, n, k: top_classes(x, n, 3)[::-1][:k], "it gives"),
    (check_top_classes, lambda x, n, k: top_classes(x, n, k)[::-1], "comes first|*least* likely"),
    (check_top_classes, lambda x, n, k: top_classes(x, n, 5), "it gives 5 pairs"),
    (check_top_classes, lambda x, n, k: top(x.softmax(0), range(10), k), "the class's name"),
    (check_top_classes, lambda x, n, k: x.softmax(0).topk(k), "a list of pairs"),
    (check_top_classes, lambda x, n, k: n.index("tripod"), "stopped with ValueError"),
    (check_top_classes, lambda *given: [p[::-1] for p in top_classes(*given)], "wrong way round"),
    (check_overlap, lambda a, b, s: 100 * overlap(a, b, s), "percentage"),
    (check_overlap, lambda a, b, s: overlap(a.abs(), b.abs(), s), "sizes"),
    (check_overlap, lambda a, b, s: overlap(a, b, 0.1), "use `share`"),
    (check_overlap, intersection, "a count"),
    (check_overlap, lambda a, b, s: intersection(a, b, s) / a.numel(), "not of all places"),
    (check_overlap, union, "of either of the two"),
    (check_overlap, lambda a, b, s: overlap(-a, -b, s), "*smallest*"),
    (check_overlap, by_value, "rank the values"),
    (check_overlap, lambda a, b, s: 1.5, "which makes"),
    (check_overlap, lambda a, b, s: masks(a, b, s)[0], "a number"),
]
