"""Right and wrong answers to the exercises of lesson 02: (check, answer) and what a check says."""

import torch
from torch.nn import functional as F

from xai_course.exercises.lesson_02 import check_classify, check_untouched


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


def one_step(model, images, labels):
    model.optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    model.optimizer.step()


def clones(model):
    return {name: weights.detach().clone() for name, weights in model.named_parameters()}


def untouched(model, images, labels):
    before = clones(model)
    one_step(model, images, labels)
    return [name for name, now in model.named_parameters() if torch.equal(now, before[name])]


def by_difference(model, images, labels):
    before = clones(model)
    one_step(model, images, labels)
    after = clones(model)
    return {name for name in after if (after[name] - before[name]).abs().max() == 0}


def without_clones(model, images, labels):
    before = dict(model.named_parameters())
    one_step(model, images, labels)
    return [name for name, now in model.named_parameters() if torch.equal(now, before[name])]


def without_step(model, images, labels):
    F.cross_entropy(model(images), labels).backward()
    return list(clones(model))


def moved(model, images, labels):
    stay = untouched(model, images, labels)
    return [name for name in clones(model) if name not in stay]


def without_gradient(model, images, labels):
    one_step(model, images, labels)
    return [name for name, weights in model.named_parameters() if weights.grad is None]


def not_held(model, images, labels):
    held = {id(weights) for group in model.optimizer.param_groups for weights in group["params"]}
    return [name for name, weights in model.named_parameters() if id(weights) not in held]


RIGHT = [
    (check_classify, classify),
    (check_classify, one_by_one),
    (check_untouched, untouched),
    (check_untouched, by_difference),
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
    (check_untouched, without_clones, "keep clones"),
    (check_untouched, without_step, "take a step"),
    (check_untouched, moved, "weights that *moved*"),
    (check_untouched, without_gradient, "misses the new head"),
    (check_untouched, not_held, "misses the first layer"),
    (check_untouched, lambda *given: len(untouched(*given)), "a list of names"),
    (check_untouched, lambda *given: untouched(*given)[:1], "is right"),
]
