"""A bar of progress for loops that take long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

__all__ = ["progress_bar"]

Step = TypeVar("Step")


def progress_bar(steps: Iterable[Step], label: str, show: bool) -> Iterable[Step]:
    """Return the steps of a loop, with a bar of progress if it is to be shown."""
    if not show:
        return steps
    from tqdm.auto import tqdm

    bar: Iterable[Step] = tqdm(steps, label)
    return bar
