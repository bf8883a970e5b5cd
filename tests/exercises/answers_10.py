"""Right and wrong answers to the exercises of lesson 10."""

import torch

from xai_course.exercises.lesson_10 import check_cheap, check_enough, check_gain


def gain(before, after, t, root=True, correction=1, sign=1, paired=True):
    a, b = torch.tensor(after).double(), torch.tensor(before).double()
    gains = sign * (a - b)
    spread = gains.std(correction=correction) if paired else (a.var() + b.var()).sqrt()
    half = t * spread / (len(gains) ** 0.5 if root else 1)
    return gains.mean().item(), (gains.mean() - half).item(), (gains.mean() + half).item()


def enough(counts, errors, tolerance):
    found = "none"
    for count, error in reversed(list(zip(counts, errors, strict=True))):
        if error > tolerance:
            break
        found = count
    return found


def strictly_enough(counts, errors, tolerance):
    found = "none"
    for count, error in reversed(list(zip(counts, errors, strict=True))):
        if error >= tolerance:
            break
        found = count
    return found


def first_enough(counts, errors, tolerance):
    return next(c for c, e in zip(counts, errors, strict=True) if e <= tolerance)


def cheap(model, images):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(model(x).max(1).values.sum(), x)[0]


def costly(model, images):
    x = images.clone().requires_grad_()
    model(x).max(1).values.sum().backward()
    return x.grad


def frozen(model, images):
    model.requires_grad_(False)
    return cheap(model, images)


def one_by_one(model, images):
    return torch.cat([cheap(model, image[None]) for image in images])


def all_logits(model, images):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x)[0]


RIGHT = [(check_gain, gain), (check_enough, enough), (check_cheap, cheap)]
WRONG = [
    (check_gain, lambda b, a, t: gain(b, a, t, sign=-1), "after minus before"),
    (check_gain, lambda b, a, t: gain(b, a, t, root=False), "√n"),
    (check_gain, lambda b, a, t: gain(b, a, t, correction=0), "n − 1"),
    (check_gain, lambda b, a, t: gain(b, a, t, paired=False), "seed by seed"),
    (check_gain, lambda b, a, t: gain(b, a, t)[0], "three numbers"),
    (check_gain, lambda b, a, t: (0.0, 0.0, 0.0), "The mean gain is"),
    (check_gain, lambda b, a, t: gain(b, a, 2 * t), "s of the gains"),
    (check_enough, first_enough, "by luck"),
    (check_enough, lambda c, e, t: c[-1], "from there on"),
    (check_enough, lambda c, e, t: c.index(enough(c, e, t)), "the index in the list"),
    (check_enough, lambda c, e, t: 16 if enough(c, e, t) == "none" else enough(c, e, t), '"none"'),
    (check_enough, lambda c, e, t: "many", "one of"),
    (check_enough, strictly_enough, "*equal* to the tolerance"),
    (check_enough, lambda c, e, t: "none", '"none", but 16 is enough'),
    (check_cheap, costly, "weights have gradients"),
    (check_cheap, frozen, "frozen"),
    (check_cheap, one_by_one, "in 6 passes"),
    (check_cheap, all_logits, "all logits"),
    (check_cheap, lambda m, x: torch.zeros_like(x), "not the gradients"),
    (check_cheap, lambda m, x: cheap(m, x)[:1], "should return"),
]
