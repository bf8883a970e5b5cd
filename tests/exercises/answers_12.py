"""Right and wrong answers to the exercises of lesson 12."""

from xai_course.exercises.lesson_12 import check_passed, check_step_within_length


def length(values):
    return values.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)


def shortened(change, epsilon):
    return change * (epsilon / length(change)).clamp(max=1)


def step_within_length(x, start, slope, step, epsilon):
    moved = x + step * slope / length(slope)
    return (start + shortened(moved - start, epsilon)).clamp(0, 1)


def step_of_section_1(x, start, slope, step, epsilon):
    return (start + (x + step * slope.sign() - start).clamp(-epsilon, epsilon)).clamp(0, 1)


def stretched(x, start, slope, step, epsilon):
    change = x + step * slope / length(slope) - start
    return (start + epsilon * change / length(change)).clamp(0, 1)


def not_shortened(x, start, slope, step, epsilon):
    return (x + step * slope / length(slope)).clamp(0, 1)


def not_clipped(x, start, slope, step, epsilon):
    return start + shortened(x + step * slope / length(slope) - start, epsilon)


def no_unit(x, start, slope, step, epsilon):
    return (start + shortened(x + step * slope - start, epsilon)).clamp(0, 1)


def one_length(x, start, slope, step, epsilon):
    return (start + shortened(x + step * slope / slope.norm() - start, epsilon)).clamp(0, 1)


def no_number(x, start, slope, step, epsilon):
    return not_clipped(x, start, slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1), step, 1)


def past(defence, pixels):
    return pixels + (defence(pixels) - pixels).detach()


STEP = check_step_within_length
RIGHT = [(STEP, step_within_length), (check_passed, past)]
WRONG = [
    (STEP, lambda x, s, g, a, e: step_within_length(x, s, -g, a, e), "goes downhill"),
    (STEP, step_of_section_1, "not on the length"),
    (STEP, not_shortened, "longer than ε"),
    (STEP, stretched, "keeps its length"),
    (STEP, not_clipped, "must be 0 to 1"),
    (STEP, no_unit, "by the gradient itself"),
    (STEP, one_length, "for all images together"),
    (STEP, no_number, "no number"),
    (STEP, lambda x, s, g, a, e: not_shortened(x, s, g, 3 * a, e), "ε is 0.8"),
    (STEP, lambda x, s, g, a, e: s, "not the step"),
    (STEP, lambda x, s, g, a, e: x[0], "should return (4, 3, 6, 6)"),
    (check_passed, lambda d, p: d(p), "own derivative"),
    (check_passed, lambda d, p: p, "as they were"),
    (check_passed, lambda d, p: d(p).detach(), "no derivative"),
    (check_passed, lambda d, p: 2 * past(d, p), "values differ"),
    (check_passed, lambda d, p: 2 * p + (d(p) - 2 * p).detach(), "should be 1"),
    (check_passed, lambda d, p: d(p)[0], "should return (2, 3, 5, 5)"),
]
