"""Many image files read by several processes at once, in order, with a bar, and stoppable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from xai_course.core.checks import check_count
from xai_course.core.progress import bar_class
from xai_course.data import image_files
from xai_course.data.image_files import answer, printable

__all__ = ["read_in_processes"]


FEW = 300  # files that are read sooner than processes are started

Answer = tuple[dict[str, Any], bytes]  # see `answer` in image_files.py


def read_in_processes(
    paths: Sequence[Path],
    label: str,
    *,
    with_pixels: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Generator[Answer, None, None]:
    """Read image files with `read_image`, and yield what came of each, in order.

    Processes rather than threads, because Pillow decodes under Python's lock. They are started as
    programs of their own, so the caller's script needs no `if __name__ == "__main__"`; each works
    ahead by what fits into a pipe. They end with the loop over the answers, with Ctrl-C, and when
    the caller is killed.

    Args:
        paths: the files.
        label: words in front of the bar.
        with_pixels: True for the pixels, False for the SHA-256 of the file.
        workers: processes. None: one for each core, up to 8, or this one alone for few files. 1:
            this process.
        progress: True shows a bar, once it has taken a second.

    Yields:
        As `answer` in `image_files.py`: what is known of the file, or its "problem"; and its
        pixels.

    Raises:
        ValueError: if `workers` is no whole number from 1.
        RuntimeError: naming the file, if a worker dies on it.
    """
    if workers is None:
        workers = 1 if len(paths) < FEW else _cores()
    check_count("workers", workers)
    with bar_class()(
        total=len(paths), desc=label, delay=1, leave=False, disable=not progress
    ) as bar:
        answers = _read_here(paths, with_pixels) if workers == 1 else None
        with ExitStack() as stack:
            if answers is None:
                answers = _read_apart(paths, with_pixels, workers, stack)
            for one in answers:
                bar.update()
                yield one


def _read_here(paths: Sequence[Path], with_pixels: bool) -> Iterator[Answer]:
    """Read all files in this process."""
    for path in paths:
        yield answer(str(path), with_pixels)


def _read_apart(
    paths: Sequence[Path], with_pixels: bool, workers: int, stack: ExitStack
) -> Iterator[Answer]:
    """Let processes read, which end with `stack`. Process i % workers answers for file i."""
    started = [_start_worker(stack) for _ in range(min(workers, len(paths)))]
    for share, worker in enumerate(started):
        names = [str(path) for path in paths[share :: len(started)]]
        assert worker.stdin is not None
        worker.stdin.write(json.dumps({"paths": names, "with_pixels": with_pixels}).encode())
        worker.stdin.close()
    for number, path in enumerate(paths):
        output = started[number % len(started)].stdout
        assert output is not None
        yield _read_answer(output, path, with_pixels)


def _start_worker(stack: ExitStack) -> subprocess.Popen[bytes]:
    """Start a process that reads files; see `_work` in image_files.py."""
    worker = stack.enter_context(  # at the end: close the pipes and wait
        subprocess.Popen(
            [sys.executable, "-P", str(Path(image_files.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    )
    stack.callback(worker.kill)  # before that
    return worker


def _read_answer(output: IO[bytes], path: Path, with_pixels: bool) -> Answer:
    """Read what a worker says of a file."""
    line = output.readline()
    if line.endswith(b"\n"):
        facts = json.loads(line)
        width, height = facts["size"] if with_pixels and "size" in facts else (0, 0)
        pixels = output.read(3 * width * height)
        if len(pixels) == 3 * width * height:
            return facts, pixels
    raise RuntimeError(
        f"{printable(path)}: the process that read it ended early (killed, or out of memory?)"
    )


def _cores() -> int:
    """Return how many cores this process may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, 8)
