"""Run the experiments that take too long for a lesson, and write their tables to data/experiments/.

    python -m tools.assets.run_experiments [NAME ...] [--workers N] [--target FOLDER]

Lessons open these tables with the same calls, so results on file are not computed again. An
interrupted run is resumed; delete a table to compute it again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from xai_course.core.paths import data_folder
from xai_course.experiments import (
    ablation_trials,
    adversarial_trials,
    compile_trials,
    explanation_trials,
    grid_pointing_trials,
    hide_shortcut_trials,
    misdirect_trials,
    patch_trials,
    photograph_trials,
    process_trials,
    protocol_trials,
    repair_trials,
    scaling_trials,
    smoothing_trials,
)

# name: run(file=..., workers=...) -> rows; the table is <name>.csv
EXPERIMENTS: dict[str, Callable[..., Any]] = {
    "robustness": adversarial_trials,  # lesson 12
    "robust_explanations": explanation_trials,  # lesson 12
    "smoothing": smoothing_trials,  # lesson 12
    "patches": patch_trials,  # lesson 12
    "grid_pointing": grid_pointing_trials,  # lesson 08
    "ladder": ablation_trials,  # lesson 10
    "compile": compile_trials,  # lesson 10; needs a C++ compiler
    "scaling": scaling_trials,  # lesson 11
    "photographs": photograph_trials,  # lesson 11
    "processes": process_trials,  # lesson 11; timed, so with nothing else running
    "repairs": repair_trials,  # lesson 13
    "funnybirds_protocol": protocol_trials,  # lesson 08; after make specification
    "forgeries": misdirect_trials,  # lesson 13
    "clearances": hide_shortcut_trials,  # lesson 13
}


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description="Run the experiments of lessons 08 to 13.")
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(EXPERIMENTS)}; none: all")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--target", type=Path, help="folder to write to (data/experiments)")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(EXPERIMENTS)):
        parser.error(f"no experiment is called {', '.join(unknown)}; there are {[*EXPERIMENTS]}")
    target = asked.target or data_folder() / "experiments"
    torch.set_num_threads(1)  # as the workers have: the last bits depend on it
    for name in asked.names or EXPERIMENTS:
        start = time.perf_counter()
        print(f"{name}:")
        EXPERIMENTS[name](file=target / f"{name}.csv", workers=asked.workers)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
