"""What an explanation costs, and how far it is from the one that more passes would give."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from timeit import repeat
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.beetles import SPECIES, scenes
from xai_course.checkpoints import load_checkpoint
from xai_course.data import data_folder, normalise, stack_images
from xai_course.maps import map_similarity
from xai_course.trials import Row, run_trials

__all__ = [
    "Passes",
    "apart",
    "compile_costs",
    "convergence",
    "count_passes",
    "time_compiled",
]

Passes = tuple[int, int]
"""Images that went forward through a network, and gradients that came back."""


def count_passes(model: nn.Module, call: Callable[[], Any]) -> Passes:
    """Count what a call sends through a model: images forward, and their gradients backward.

    Seen are calls of the model itself, wherever it is called from; a backward pass that ends in the
    middle of the network counts as one. The model is left as it was, also after an exception.
    """
    seen = {"forward": 0, "backward": 0}

    def count_back(grad: Tensor) -> None:
        seen["backward"] += len(grad)

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(count_back)

    hook = model.register_forward_hook(count)
    try:
        call()
    finally:
        hook.remove()
    return seen["forward"], seen["backward"]


def apart(found: Tensor, true: Tensor) -> Tensor:
    """Return how far maps are from the true ones, as a share of these: (N,).

    Both (N, C, H, W), summed over channels.

        apart[n] = ‖found[n] − true[n]‖ / ‖true[n]‖

    Raises ValueError for sizes that differ.
    """
    if found.ndim != 4 or found.shape[::2] != true.shape[::2] or found.shape[3] != true.shape[3]:
        raise ValueError(
            f"found: got shape {tuple(found.shape)}; allowed are maps (N, C, H, W) of the number "
            f"and size of true's, {tuple(true.shape)}."
        )
    a, b = (maps.double().sum(1).flatten(1) for maps in (found, true))
    missed: Tensor = (a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-30)
    return missed


def convergence(explain: Callable[[int], Tensor], counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return how far the maps of few passes are from those of many: two tensors (counts - 1, N).

    `explain(count)` gives maps (N, C, H, W) from `count` steps, samples or windows. `counts`:
    whole numbers that rise; the last one's maps are taken for the truth, so it should be several
    times the one before. First `apart`, then Spearman's correlation of the pixels, as
    `map_similarity` gives it.

    Raises ValueError for fewer than two counts, or counts that do not rise.
    """
    if len(counts) < 2 or any(a >= b for a, b in pairwise(counts)):
        raise ValueError(f"counts: got {list(counts)}; allowed are two or more that rise.")
    finest = explain(counts[-1])
    coarser = [explain(count) for count in counts[:-1]]
    far = torch.stack([apart(maps, finest) for maps in coarser])
    return far, torch.stack([map_similarity(maps, finest) for maps in coarser])


# ---- what torch.compile brings -------------------------------------------------------------------

COMPILED = [{"what": what, "images": n} for what in ("gradient", "answer") for n in (20, 1)]


def time_compiled(what: str, images: int) -> dict[str, float]:
    """Compile BeetleNet and time it beside the plain one: a trial of `compile_costs`.

    `what`: "answer", the logits, or "gradient", that of the largest logit by the image. Returns
    the core seconds of the first call, which compiles, with nothing kept on disk from earlier ones
    (but within one process some is used again); the least milliseconds of 30 later ones, and those
    of the plain network; and the largest difference as a share of the largest value. Needs a C++
    compiler. Raises ValueError for another `what`.
    """
    if what not in ("answer", "gradient"):
        raise ValueError(f"what: got {what!r}; allowed are 'answer' and 'gradient'.")
    plain, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
    plain.requires_grad_(False)
    torch.compiler.reset()
    compiled: Any = torch.compile(plain)
    some = [scene for name in SPECIES for scene in scenes("test", name, 2)][:images]
    x = normalise(stack_images(some))

    def run(network: Any) -> Tensor:
        if what == "answer":
            with torch.inference_mode():
                return torch.as_tensor(network(x))
        point = x.clone().requires_grad_()
        return torch.autograd.grad(network(point).max(1).values.sum(), point)[0]

    before = dict(os.environ)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        try:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
            os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # so that all work is seen
            start = sum(os.times()[:4])  # of this process and of those that it waited for
            found = run(compiled)
            first = sum(os.times()[:4]) - start
        finally:
            os.environ.clear()
            os.environ.update(before)
    true = run(plain)
    least = [min(repeat(partial(run, net), number=1, repeat=30)) for net in (compiled, plain)]
    return {
        "first call, core s": round(first, 1),
        "compiled, ms": round(1000 * least[0], 2),
        "plain, ms": round(1000 * least[1], 2),
        "error": float(f"{float((found - true).abs().max() / true.abs().max()):.1e}"),
    }


def compile_costs(file: str | Path | None = None, *, workers: int = 1) -> list[Row]:
    """Run `time_compiled` for answers and gradients of 1 and 20 images (`run_trials`).

    One after another, whatever `workers` says: side by side they would slow one another down.
    """
    del workers
    return run_trials(COMPILED, time_compiled, file)
