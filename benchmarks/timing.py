"""How long calls take beside one another, and how much memory one of them holds at its peak.

What is compared runs in turns, in one process. In every other turn the order is reversed, since
what runs later is favoured, or not; a ratio is taken within a turn, so that a machine that slows
down for a while slows down both of its sides.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from torch.profiler import ProfilerActivity, profile

__all__ = ["peak_memory", "ratio", "take_turns"]

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler writes its own log to stderr


def take_turns(
    calls: Mapping[str, Callable[[], Any]],
    turns: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Call each once a turn; return the seconds each took, turn by turn.

    The first to be called moves on from turn to turn, and every other turn runs backwards: of any
    two, each is called before the other in half of the turns. Garbage is collected between turns.
    """
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.freeze()  # what is there already is not looked through again after each turn
    try:
        for turn in range(turns):
            first = turn // 2 % len(names)
            order = names[first:] + names[:first]
            gc.disable()
            for name in order if turn % 2 == 0 else reversed(order):
                start = clock()
                calls[name]()
                seconds[name].append(clock() - start)
            gc.enable()
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return seconds


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, list[float]]:
    """Return the median of ours / theirs over the turns, and its quartiles."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    if len(each) == 1:
        return each[0], [each[0], each[0]]
    low, _, high = quantiles(each, n=4, method="inclusive")
    return median(each), [low, high]


def peak_memory(call: Callable[[], Any]) -> float:
    """Return the most that one call holds at a time beyond what was there before it, in MB (10⁶).

    Counted is what PyTorch allocates on the CPU, by the profiler's record of each allocation (more
    bytes) and each release (fewer): the highest value of their running sum. NumPy's arrays and what
    a library such as oneDNN takes from the system by itself are not seen.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    assert seen.profiler is not None
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 1e6
