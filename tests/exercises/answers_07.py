"""Right and wrong answers to the exercises of lesson 07."""

import torch

from xai_course.exercises.lesson_07 import check_lens, check_multiplier, check_shares


def shares(stem, changes, weight):
    parts = torch.cat([stem[None], changes])
    gates = parts.sum(0) > 0
    return ((parts * gates).mean((3, 4)) @ weight).T


def lens(x, branches, head):
    rows = [head(x)]
    for branch in branches:
        x = x + branch(x)
        rows.append(head(x))
    return torch.stack(rows, 1)


def all_from_the_stem(x, branches, head):
    rows, start = [head(x)], x
    for branch in branches:
        x = x + branch(start)
        rows.append(head(x))
    return torch.stack(rows, 1)


def chain(x, branches, head):
    rows = [head(x)]
    for branch in branches:
        x = branch(x)
        rows.append(head(x))
    return torch.stack(rows, 1)


def open_gates(stem, changes, weight):
    return (torch.cat([stem[None], changes]).mean((3, 4)) @ weight).T


def own_gates(stem, changes, weight):
    return (torch.cat([stem[None], changes]).relu().mean((3, 4)) @ weight).T


def evenly(stem, changes, weight):
    total = shares(stem, changes, weight).sum(1, keepdim=True)
    return total.expand(-1, len(changes) + 1) / (len(changes) + 1)


def one_block_each(x, branches, head):
    return torch.stack([head(x), *(head(x + branch(x)) for branch in branches)], 1)


def block_by_block(stem, changes, weight):
    sums = torch.cat([stem[None], changes]).cumsum(0).relu().mean((3, 4)) @ weight
    return torch.cat([sums[:1], sums.diff(dim=0)]).T


def spoilt(x, branches, head):
    rows = lens(x, branches, head)
    rows[:, 1] = 0
    return rows


def slopes(at_image, at_baseline):
    change = at_image - at_baseline
    same = change == 0
    slope = (at_image.relu() - at_baseline.relu()) / torch.where(same, 1.0, change)
    return torch.where(same, (at_image > 0).to(slope), slope)


def upside_down(at_image, at_baseline):
    change = at_image.relu() - at_baseline.relu()
    slope = (at_image - at_baseline) / change
    return torch.where(at_image == at_baseline, (at_image > 0).to(slope), slope)


def divided(at_image, at_baseline):
    return (at_image.relu() - at_baseline.relu()) / (at_image - at_baseline)


RIGHT = [(check_shares, shares), (check_lens, lens), (check_multiplier, slopes)]
WRONG = [
    (check_shares, open_gates, "every gate were open"),
    (check_shares, own_gates, "a ReLU to each part"),
    (check_shares, lambda s, c, w: 16 * shares(s, c, w), "mean over the 16 places"),
    (check_shares, lambda s, c, w: shares(s, c, w).roll(-1, 1), "stem comes first"),
    (check_shares, lambda s, c, w: shares(s, c, w)[:, 1:], "should return (3, 2)"),
    (check_shares, block_by_block, "change from block to block"),
    (check_shares, evenly, "the single blocks are others"),
    (check_shares, lambda s, c, w: 2 * shares(s, c, w), "add up to"),
    (check_lens, lambda x, b, h: lens(x, b, h)[:, 1:], "the stem alone"),
    (check_lens, all_from_the_stem, "gets the stem's output"),
    (check_lens, one_block_each, "one block only"),
    (check_lens, chain, "a block adds to it"),
    (check_lens, lambda x, b, h: lens(x, b, h).flip(1), "from the last block"),
    (check_lens, spoilt, "an earlier one is not"),
    (check_lens, lambda x, b, h: -lens(x, b, h), "the whole network says"),
    (check_lens, lambda x, b, h: lens(x, b, h).transpose(0, 1), "should return (5, 4, 3)"),
    (check_multiplier, divided, "divide 0 by 0"),
    (check_multiplier, lambda a, b: divided(a, b).nan_to_num(), "Right where the input changes"),
    (check_multiplier, lambda a, b: (a > 0).float(), "ignores the baseline"),
    (check_multiplier, lambda a, b: a.relu() - b.relu(), "divide it by"),
    (check_multiplier, upside_down, "Upside down"),
    (check_multiplier, lambda a, b: slopes(a, b) / 2, "and should give"),
]
