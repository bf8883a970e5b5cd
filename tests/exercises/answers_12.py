"""Right and wrong answers to the exercises of lesson 12."""

from xai_course.core import auroc_placements
from xai_course.exercises.lesson_12 import check_auroc, check_passed, check_step


def step_by_hand(x, start, slope, step, epsilon):
    moved = x + step * slope.sign()
    return (start + (moved - start).clamp(-epsilon, epsilon)).clamp(0, 1)


def step_without_stay(x, start, slope, step, epsilon):
    direction = (slope >= 0) * 2.0 - 1
    return (start + (x + step * direction - start).clamp(-epsilon, epsilon)).clamp(0, 1)


def past(defence, pixels):
    return pixels + (defence(pixels) - pixels).detach()


def auroc_by_pairs(strange, known):
    ahead = (strange[:, None] > known).double() + (strange[:, None] == known).double() / 2
    return ahead.mean().item()


RIGHT = [
    (check_step, step_by_hand),
    (check_passed, past),
    (check_auroc, auroc_by_pairs),
    (check_auroc, lambda strange, known: auroc_placements(strange, known).mean()),
]
WRONG = [
    (check_step, lambda x, s, g, a, e: step_by_hand(x, s, -g, a, e), "goes downhill"),
    (check_step, lambda x, s, g, a, e: (x + a * g.sign()).clamp(0, 1), "the whole change"),
    (
        check_step,
        lambda x, s, g, a, e: s + (x + a * g.sign() - s).clamp(-e, e),
        "must be 0 to 1",
    ),
    (
        check_step,
        lambda x, s, g, a, e: (s + (x + a * g - s).clamp(-e, e)).clamp(0, 1),
        "Take its sign",
    ),
    (check_step, lambda x, s, g, a, e: (s + 2 * e * g.sign()).clamp(0, 1), "ε is 0.05"),
    (check_step, step_without_stay, "gradient is 0"),
    (check_step, lambda x, s, g, a, e: s, "not the step"),
    (check_step, lambda x, s, g, a, e: x[0], "should return (4, 3, 6, 6)"),
    (check_passed, lambda d, p: d(p), "own derivative"),
    (check_passed, lambda d, p: p, "as they were"),
    (check_passed, lambda d, p: d(p).detach(), "no derivative"),
    (check_passed, lambda d, p: 2 * past(d, p), "values differ"),
    (check_passed, lambda d, p: 2 * p + (d(p) - 2 * p).detach(), "should be 1"),
    (check_passed, lambda d, p: d(p)[0], "should return (2, 3, 5, 5)"),
    (check_auroc, lambda s, k: auroc_by_pairs(k, s), "the known image has the larger"),
    (check_auroc, lambda s, k: (s[:, None] > k).double().mean(), "counts half"),
    (check_auroc, lambda s, k: (s[:, None] >= k).double().mean().item(), "counts half"),
    (check_auroc, lambda s, k: auroc_by_pairs(s, k) * len(s) * len(k), "Divide"),
    (
        check_auroc,
        lambda s, k: (s > k.double().quantile(0.95)).double().mean(),
        "uses all thresholds",
    ),
    (check_auroc, auroc_placements, "one number"),
    (check_auroc, lambda s, k: 0.37215, "of the pairs"),
    (check_auroc, lambda s, k: "high", "one number"),
]
