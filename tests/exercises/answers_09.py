"""Right and wrong answers to the exercises of lesson 09."""

import torch

from xai_course.exercises.lesson_09 import check_alarms, check_deletion


def curve(f, image, relevance, fill, steps, descending=True, size=False, shift=0):
    value = relevance.abs() if size else relevance
    place = value.flatten().argsort(descending=descending).argsort()
    found = []
    for k in range(steps + 1):
        gone = (place < place.numel() * (k + shift) // steps).view_as(relevance)
        found.append(f(torch.where(gone, fill, image)))
    return found


def alarms(clean, q, choose=max, own=False):
    levels = clean.quantile(q, 1).tolist()
    found = []
    for k in range(len(clean)):
        each = levels if own else levels[:k] + levels[k + 1 :]
        found.append((clean[k] > choose(each)).float().mean().item())
    return found


def own_level(clean, q):
    return (clean > clean.quantile(q, 1)[:, None]).float().mean(1)


RIGHT = [(check_deletion, curve), (check_alarms, alarms)]
RIGHT += [(check_deletion, lambda *a: torch.tensor(curve(*a)))]
RIGHT += [(check_deletion, lambda *a: [torch.tensor(value) for value in curve(*a)])]
RIGHT += [(check_alarms, lambda clean, q: torch.tensor(alarms(clean, q)))]
WRONG = [
    (check_deletion, lambda *a: curve(*a, descending=False), "least relevant"),
    (check_deletion, lambda *a: curve(*a, size=True), "by the size"),
    (check_deletion, lambda *a: curve(*a)[1:], "numbers"),
    (check_deletion, lambda *a: "curve", "return a list of numbers"),
    (check_deletion, lambda *a: curve(*a)[::-1], "backwards"),
    (
        check_deletion,
        lambda f, i, r, fill, s: curve(f, i, r, fill, s, descending=False)[::-1],
        "insertion",
    ),
    (check_deletion, lambda *a: curve(*a, shift=1), "The first number"),
    (check_deletion, lambda *a: [*curve(*a)[:-1], curve(*a)[0]], "last number"),
    (
        check_deletion,
        lambda f, i, r, fill, s: curve(f, i, torch.arange(r.numel()).view_as(r), fill, s),
        "In between",
    ),
    (check_alarms, own_level, "sets its own level"),
    (check_alarms, lambda c, q: alarms(c, q, own=True), "Leave it out"),
    (check_alarms, lambda c, q: alarms(c, q, choose=min), "lowest level"),
    (check_alarms, lambda c, q: alarms(c, q, choose=lambda e: sum(e) / len(e)), "mean level"),
    (check_alarms, lambda c, q: 1 - torch.tensor(alarms(c, q)), "below the level"),
    (check_alarms, lambda c, q: torch.tensor(alarms(c, q)) * c.shape[1], "Divide"),
    (check_alarms, lambda c, q: alarms(c, q)[:-1], "shares"),
    (check_alarms, lambda c, q: sum(alarms(c, q)), "shares"),
    (check_alarms, lambda c, q: [0.5] * len(c), "for the first network"),
]
