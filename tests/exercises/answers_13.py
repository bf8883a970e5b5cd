"""Right and wrong answers to the exercises of lesson 13."""

from xai_course.core import auroc_placements
from xai_course.exercises.lesson_13 import check_alarm, check_auroc


def auroc_by_pairs(strange, known):
    ahead = (strange[:, None] > known).double() + (strange[:, None] == known).double() / 2
    return ahead.mean().item()


def alarms(clean, suspect, level):
    return suspect > clean.quantile(1 - level, dim=1, keepdim=True)


RIGHT = [
    (check_auroc, auroc_by_pairs),
    (check_auroc, lambda strange, known: auroc_placements(strange, known).mean()),
    (check_alarm, lambda c, s, f: alarms(c, s, f / len(c)).any(0)),
    (check_alarm, lambda c, s, f: alarms(c, s, f / len(c)).sum(0).clamp(max=1)),
]
WRONG = [
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
    (check_alarm, lambda c, s, f: alarms(c, s, f).any(0), "Divide by their number"),
    (check_alarm, lambda c, s, f: alarms(c, s, f / len(c)).all(0), "One is enough"),
    (check_alarm, lambda c, s, f: ~alarms(c, s, f / len(c)).any(0), "other way round"),
    (check_alarm, lambda c, s, f: (s > c.quantile(1 - f / len(c))).any(0), "one limit for all"),
    (check_alarm, lambda c, s, f: alarms(c, s, 1 - f / len(c)).any(0), "lower end"),
    (check_alarm, lambda c, s, f: alarms(c, s, f / len(c)), "should return (80,)"),
    (check_alarm, lambda c, s, f: s[0] > 10, "should sound the alarm"),
    (check_alarm, lambda c, s, f: [True] * 80, "should return a tensor"),
]
