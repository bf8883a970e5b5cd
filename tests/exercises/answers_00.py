"""Right and wrong answers to the exercises of lesson 00: (check, answer) and what a check says."""

import torch

from xai_course.exercises.lesson_00 import check_likely_classes, check_overlap


def likely_classes(logits, names, share):
    chances, places = logits.softmax(0).sort(descending=True)
    count = int((chances.cumsum(0) < share).sum()) + 1
    return [names[i] for i in places[:count]]


def by_a_loop(logits, names, share):
    total, found = 0.0, []
    for i in logits.argsort(descending=True).tolist():
        if total >= share:
            break
        found.append(names[i])
        total += float(logits.softmax(0)[i])
    return found


def overlap(first, second, share):
    count = round(share * first.numel())
    a, b = (m.flatten().topk(count).indices for m in (first, second))
    return torch.isin(a, b).float().mean()


def added(values, names, share, largest=True):
    numbers, places = values.sort(descending=largest)
    count = int((numbers.cumsum(0) < share).sum()) + 1
    return [names[i] for i in places[:count]]


def logits_added(logits, names, share):
    values, places = logits.sort(descending=True)
    count = int((values.cumsum(0) >= share).long().argmax()) + 1
    return [names[i] for i in places[:count]]


def one_more(logits, names, share):
    count = len(likely_classes(logits, names, share)) + 1
    return [names[i] for i in logits.argsort(descending=True)[:count]]


def above(logits, names, share):
    return [name for name, p in zip(names, logits.softmax(0), strict=True) if p >= 1 - share]


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
    (check_likely_classes, likely_classes),
    (check_likely_classes, by_a_loop),
    (check_likely_classes, lambda *given: tuple(likely_classes(*given))),
    (check_overlap, overlap),
    (check_overlap, lambda *given: overlap(*given).item()),
]
WRONG = [
    (check_likely_classes, lambda x, n, s: added(x.sigmoid(), n, s), "sigmoid"),
    (check_likely_classes, lambda x, n, s: added(x.softmax(0), n, s, False), "*least* likely"),
    (check_likely_classes, lambda x, n, s: likely_classes(x, n, s)[:-1], "One class too few"),
    (check_likely_classes, logits_added, "adds up logits"),
    (check_likely_classes, one_more, "One class too many"),
    (check_likely_classes, lambda x, n, s: sorted(likely_classes(x, n, s)), "wrong order"),
    (check_likely_classes, above, "they are"),
    (check_likely_classes, lambda x, n, s: likely_classes(x, n, 0.5), "it gives|sigmoid"),
    (check_likely_classes, lambda x, n, s: likely_classes(x, range(10), s), "names alone"),
    (check_likely_classes, lambda x, n, s: [(a, 0.1) for a in n], "names alone"),
    (check_likely_classes, lambda x, n, s: len(likely_classes(x, n, s)), "a list of names"),
    (check_likely_classes, lambda x, n, s: n.index("tripod"), "stopped with ValueError"),
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
