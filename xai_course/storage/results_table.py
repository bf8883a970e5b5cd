"""Experiments that take too long for a lesson: run trial by trial, kept in a table, gone on with.

A *trial* is a dict of settings (texts, numbers, True or False); running it gives a dict of numbers.
The table is a CSV that anyone can open: one row a trial, its settings first, then what came out.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from xai_course.storage.atomic_files import write_aside

__all__ = ["Row", "run_trials"]


Row: TypeAlias = dict[str, Any]
"""The settings of one trial, and what came out."""


def run_trials(
    trials: Sequence[Mapping[str, Any]],
    run: Callable[..., Mapping[str, Any]],
    file: str | Path | None = None,
    *,
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Run each trial that the file does not hold yet; return a row for each, in their order.

    `trials`: dicts of settings, all with the same names; `run(**settings)` returns a dict of
    numbers, with the same names each time. `file`: a CSV to keep the rows in. It is replaced as a
    whole after each trial, so a run that was stopped loses no more than the trials it was at; rows
    of other trials stay in it. `workers`: processes that run trials, each with one thread of
    PyTorch; then `run` must be a function of a module. `progress`: show a bar, and a line at the
    end.

    Raises ValueError for trials that are empty, repeated or differ in names, for settings that are
    not plain, and for a file of another experiment (it is left as it was).
    """
    from tqdm.auto import tqdm

    wanted = _check(trials, workers)
    path = None if file is None else Path(file)
    rows = {} if path is None else _load(path, list(trials[0]))
    missing = [number for number, key in enumerate(wanted) if key not in rows]
    bar = tqdm(total=len(missing), leave=False, disable=not progress or not missing, desc="trials")
    for number, found in _results(run, [dict(trials[number]) for number in missing], workers):
        at = missing[number]
        rows[wanted[at]] = {**trials[at], **found}
        if path is not None:
            first = [key for key in wanted if key in rows]
            ordered = first + [key for key in rows if key not in set(first)]
            _save(path, [rows[key] for key in ordered])
        bar.update()
    bar.close()
    if progress:
        print(f"{len(trials)} trials: {len(missing)} run now, the others were on file")
    return [rows[key] for key in wanted]


def _results(
    run: Callable[..., Mapping[str, Any]], missing: list[Row], workers: int
) -> Iterable[tuple[int, Mapping[str, Any]]]:
    """Yield number and result of each trial, as they come."""
    if workers == 1:
        for number, settings in enumerate(missing):
            yield number, run(**settings)
        return
    spawn = get_context("spawn")  # a forked copy of a process with threads may hang
    with ProcessPoolExecutor(workers, spawn, initializer=_one_thread) as pool:
        numbers = {pool.submit(run, **settings): n for n, settings in enumerate(missing)}
        try:
            for done in as_completed(numbers):
                yield numbers[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _check(trials: Sequence[Mapping[str, Any]], workers: int) -> list[str]:
    """Return a key for each trial, or raise ValueError."""
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers: got {workers!r}; allowed is a whole number from 1.")
    if not trials:
        raise ValueError("trials: got none; allowed is at least one.")
    for trial in trials:
        if list(trial) != list(trials[0]):
            raise ValueError(
                f"trials: got the settings {list(trial)} beside {list(trials[0])}; allowed are the "
                "same names in the same order."
            )
        for name, value in trial.items():
            if not isinstance(value, str | int | float) or _value(_cell(value)) != value:
                raise ValueError(
                    f"trials: {name} is {value!r}; allowed are texts that do not read as numbers, "
                    "numbers, True and False."
                )
    keys = [json.dumps(list(trial.values())) for trial in trials]
    if len(set(keys)) != len(keys):
        raise ValueError("trials: got one of them twice; allowed are different ones.")
    return keys


def _load(path: Path, settings: list[str]) -> dict[str, Row]:
    """Read the rows that a file holds, by the key of their trial."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as opened:
            table = csv.reader(opened)
            names = next(table)
            if names[: len(settings)] != settings:
                raise ValueError(f"its settings are not {settings}")
            rows = [dict(zip(names, map(_value, row), strict=True)) for row in table]
    except (OSError, StopIteration, ValueError) as error:
        raise ValueError(
            f"file: {path} cannot be gone on with: {error}. Allowed is a new name, or a table of "
            "this experiment; delete it to start anew."
        ) from error
    return {json.dumps([row[name] for name in settings]): row for row in rows}


def _save(path: Path, rows: list[Row]) -> None:
    """Write the table whole, then rename it into place."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(rows[0])
    for row in rows:
        if list(row) != list(rows[0]):
            raise ValueError(f"run: gave {list(row)} beside {list(rows[0])}; allowed is one set.")
        table.writerow(map(_cell, row.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(write_aside(path, text.getvalue().encode()), path)


def _cell(value: Any) -> str:
    """Write a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _value(cell: str) -> Any:
    """Read a cell: a number, True, False or None as JSON writes them, else a text."""
    try:
        return json.loads(cell)
    except ValueError:
        return cell
