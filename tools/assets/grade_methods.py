"""Grade all methods on the shipped networks, and write the tables to data/grades/.

    python -m tools.assets.grade_methods [--target FOLDER]

beetle_net.csv               every method, two more null maps, every metric, 200 test scenes
further.csv                  the methods of lesson 15: every other scene, some metrics
seed_1.csv ... seed_4.csv    the same network from other seeds: every other scene, some metrics
label_clean.csv              100 scenes with a museum label: the share of relevance on the label, in
label_shortcut.csv           a network that never saw one, and in the one that learnt it
label_seed_1.csv ...         the same for the clean network's other seeds, without the null maps

Lessons 08, 09 and 15 open these tables with the same calls, so what is on file is not done again.
An interrupted run is resumed. After `make checkpoints`, delete the old tables first.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from xai_course.beetlebox import PARTS, SPECIES, Scene, scenes
from xai_course.core.paths import data_folder
from xai_course.experiments import MEASURES, grade
from xai_course.methods import (
    HARD_NULL_MAPS,
    course_methods,
    further_methods,
    with_null_maps,
)
from xai_course.metrics import relevance_mass
from xai_course.storage import load_checkpoint

SEEDS = (1, 2, 3, 4)
FEW = ("rank", "top part", "sign", "magnitude", "deletion, mean")
LABELLED = "Globaria_cincta"
LABEL = {  # the share of positive relevance that lies on the museum label
    "label": lambda m, explainer, maps: relevance_mass(
        m.model, maps, m.images, m.masks[:, PARTS.index("label"), None]
    )
}


def make(
    checkpoint: str,
    batch: list[Scene],
    measures: dict,
    file: Path,
    others: dict | None = None,
    methods: dict | None = None,
) -> None:
    """Grade methods (all of lessons 04 to 07) on one network, and print the time it took."""
    start = time.perf_counter()
    model, _ = load_checkpoint(data_folder() / "checkpoints" / checkpoint)
    if methods is None:
        methods = {**with_null_maps(model, batch, course_methods()), **(others or {})}
    grade(model, methods, batch, measures=measures, file=file)
    print(f"{file.name}: {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    """Make every table that is not complete."""
    parser = argparse.ArgumentParser(description="Grade all methods on the shipped networks.")
    parser.add_argument("--target", type=Path, help="folder to write to (data/grades)")
    target = parser.parse_args().target or data_folder() / "grades"
    torch.set_num_threads(2)
    tests = [scene for name in SPECIES for scene in scenes("test", name, 20)]
    labelled = [scene.with_label() for scene in scenes("test", LABELLED, 100)]
    make("beetle_net", labelled, LABEL, target / "label_clean.csv")
    make("beetle_net_shortcut", labelled, LABEL, target / "label_shortcut.csv")
    few = {name: MEASURES[name] for name in FEW}
    make("beetle_net", tests[::2], few, target / "further.csv", methods=further_methods())
    make("beetle_net", tests, MEASURES, target / "beetle_net.csv", HARD_NULL_MAPS)
    for seed in SEEDS:
        half = tests[::2]
        path, clean = f"beetle_net_seeds/seed_{seed}", target / f"label_seed_{seed}.csv"
        make(path, half, few, target / f"seed_{seed}.csv")
        make(path, labelled, LABEL, clean, methods=course_methods())


if __name__ == "__main__":
    main()
