"""Checks of lesson 07, What each block changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


def _shares(stem: Tensor, changes: Tensor, weight: Tensor) -> Tensor:
    """Return the reference of exercise 1: what stem and changes add to the logit, (N, B + 1)."""
    parts = torch.cat([stem[None], changes])  # (B + 1, N, K, h, w)
    open_gates = parts.sum(0) > 0
    return (
        torch.einsum("bnkhw,nkhw,k->nb", parts, open_gates.to(parts), weight) / stem[0, 0].numel()
    )


def _lens(x: Tensor, branches: list[Callable[[Tensor], Tensor]], head: nn.Module) -> Tensor:
    """Return the reference of exercise 2: logits (N, B + 1, classes)."""
    rows = [head(x)]
    for branch in branches:
        x = x + branch(x)
        rows.append(head(x))
    return torch.stack(rows, 1)


@check
def check_shares(answer: Callable[..., Any]) -> str:
    """`answer(stem, changes, weight)` gives what each adds to the logit, with the gates held."""
    for blocks in (1, 4):
        stem, weight = torch.randn(3, 5, 4, 4), torch.randn(5)
        changes = torch.randn(blocks, 3, 5, 4, 4)
        shares = ask_tensor(answer, (3, blocks + 1), stem, changes, weight)
        right = _shares(stem, changes, weight)
        if close(shares, right):
            continue
        parts = torch.cat([stem[None], changes])
        if close(shares, torch.einsum("bnkhw,k->nb", parts, weight) / 16):
            raise Wrong(
                "These are the shares as if every gate were open: where stem + changes is "
                "below 0, the ReLU stops all of them."
            )
        if close(shares, torch.einsum("bnkhw,k->nb", parts.relu(), weight) / 16):
            raise Wrong("You apply a ReLU to each part. There is one gate, that of the sum.")
        if close(shares, 16 * right):
            raise Wrong("The logit reads the mean over the 16 places; this is the sum.")
        sums = parts.cumsum(0).relu().mean((3, 4)) @ weight
        if close(shares, torch.cat([sums[:1], sums.diff(dim=0)]).T):
            raise Wrong(
                "Your gates change from block to block, as if a ReLU followed each sum. Use "
                "those of the whole sum for every part."
            )
        if close(shares, right.roll(-1, 1)):
            raise Wrong("The stem comes first, then the blocks.")
        total, logit = shares.sum(1), right.sum(1)
        raise Wrong(
            translate(
                "For the first scene your parts add up to {total:.3f}, and the logit is "
                "{logit:.3f}.",
                total=total[0],
                logit=logit[0],
            )
            if not close(total, logit)
            else translate(
                "They add up to the logit, but the shares of the single blocks are others."
            )
        )
    return translate("The shares add up to the logit, and each part has its own share.")


@check
def check_lens(answer: Callable[..., Any]) -> str:
    """`answer(x, branches, head)` gives the logits after the stem and after each block."""
    x, head = torch.randn(5, 6), nn.Linear(6, 3)
    layers = [nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)) for _ in range(3)]
    branches: list[Callable[[Tensor], Tensor]] = list(layers)
    rows = ask(answer, x, branches, head)
    if isinstance(rows, Tensor) and rows.shape == (5, 3, 3):
        raise Wrong("There are 3 blocks and 4 rows: the first is the prediction of the stem alone.")
    rows = ask_tensor(answer, (5, 4, 3), x, branches, head)
    right = _lens(x, branches, head).detach()
    if close(rows, right):
        return translate("Row by row you see the answer come about.")
    changes = torch.stack([branch(x) for branch in branches])
    separate = torch.cat([x[None], changes.cumsum(0) + x])
    if close(rows, head(separate).transpose(0, 1)):
        raise Wrong("Every branch gets the stem's output; a branch must get the sum so far.")
    alone = torch.cat([x[None], x + changes])
    if close(rows, head(alone).transpose(0, 1)):
        raise Wrong("Each row has one block only; the sum keeps what all earlier blocks added.")
    chain = [x]
    for branch in branches:
        chain.append(branch(chain[-1]))
    if close(rows, head(torch.stack(chain, 1))):
        raise Wrong("Your sum is replaced by the branch's output; a block adds to it.")
    if close(rows, right.flip(1)):
        raise Wrong("The rows run from the last block to the first; the first row is the stem's.")
    if close(rows[:, -1], right[:, -1]):
        raise Wrong("The last row is right, the network's own answer; an earlier one is not.")
    raise Wrong("The last row should be what the whole network says: head(x after all blocks).")


def _multipliers(at_image: Tensor, at_baseline: Tensor) -> Tensor:
    """Return the reference of exercise 3: DeepLIFT's multipliers of ReLUs."""
    change = at_image - at_baseline
    multiplier = (at_image.relu() - at_baseline.relu()) / change.where(change != 0, 1.0)
    return multiplier.where(change != 0, (at_image > 0).to(multiplier))


@check
def check_multiplier(answer: Callable[..., Any]) -> str:
    """`answer(at_image, at_baseline)` gives change out by change in of a ReLU."""
    at_image, at_baseline = torch.randn(2, 60)
    at_baseline[:20] = at_image[:20]  # no change
    multipliers = ask_tensor(answer, (60,), at_image, at_baseline)
    right = _multipliers(at_image, at_baseline)
    if multipliers.isnan().any():
        raise Wrong("There are NaN: where the input does not change you divide 0 by 0.")
    if close(multipliers, right):
        return translate("This slope, and no other, hands the whole change back.")
    if close(multipliers, (at_image > 0).float()):
        raise Wrong("This is the derivative at the image; it ignores the baseline.")
    if close(multipliers[20:], right[20:]):
        raise Wrong(
            "Right where the input changes. Where it does not, the multiplier is the "
            "derivative: 1 if the ReLU is open, otherwise 0."
        )
    if close(multipliers[20:], (at_image.relu() - at_baseline.relu())[20:]):
        raise Wrong("This is the change that comes out; divide it by the change that went in.")
    if multipliers.isinf().any():
        raise Wrong("Upside down: the change that comes out, divided by the change that goes in.")
    worst = int((multipliers - right).abs().argmax())
    raise Wrong(
        "Input {at_image:.2f} at the image, {at_baseline:.2f} at the baseline: it gives "
        "{multipliers:.2f}, and should give {right:.2f}.",
        at_image=at_image[worst],
        at_baseline=at_baseline[worst],
        multipliers=multipliers[worst],
        right=right[worst],
    )
