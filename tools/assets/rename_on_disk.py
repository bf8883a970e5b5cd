"""Bring files on disk up to date: old names of functions and results to new ones, new entries.

    python -m tools.assets.rename_on_disk

The tables in data/grades/ and data/experiments/ have a column for each setting and result, and the
cards in data/checkpoints/ name the functions that a training used. When the package gets a new name
for one, add a line here and run this. No number changes, and a second run changes nothing. The
cards also get the size of the images and the transform, which those of before 0.2.0 do not keep.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xai_course.core.paths import data_folder
from xai_course.data import describe_transform, modern_transform
from xai_course.storage import atomic_write

# table, below data/: old column to new one
COLUMNS = {
    "grades/*.csv": {"calibration": "magnitude"},  # calibration is the word for confidence
    "experiments/ladder.csv": {"rung": "step"},
    "experiments/forgeries.csv": {
        "aimed_at": "target_method",
        "kept": "similarity",
        "place": "on_target",
        "key": "agreement",
    },
    "experiments/clearances.csv": {"aimed_at": "target_method", "place": "on_target"},
    "experiments/repairs.csv": {
        "cincta_without": "labelled_species_without_label",
        "cincta_with": "labelled_species_with_label",
        "others_with": "other_species_with_label",
        "taken": "other_species_with_label_taken_for_it",
    },
}
ENDINGS = ("", "_low", "_high", "_before", "_before_low", "_before_high")  # of a column
FUNCTIONS = {"mirror": "random_horizontal_flip", "adversaries": "pgd_batch"}


def rename_columns(file: Path, names: dict[str, str]) -> bool:
    """Rename the columns of a table (CSV), and tell whether it changed."""
    every = {f"{old}{end}": f"{new}{end}" for old, new in names.items() for end in ENDINGS}
    head, newline, rows = file.read_text("utf-8").partition("\n")
    # No new or old name has a comma, so the head needs no parser.
    columns = ",".join(every.get(column, column) for column in head.split(","))
    if columns == head:
        return False
    atomic_write(file, f"{columns}{newline}{rows}".encode())
    return True


def rename_functions(file: Path) -> bool:
    """Rename the functions that the card of a checkpoint (JSON) names, and tell if it changed."""
    card = json.loads(file.read_text("utf-8"))
    if not isinstance(card, dict) or "training" not in card:
        return False
    before = json.dumps(card["training"])
    card["training"] = _renamed(card["training"])
    if json.dumps(card["training"]) == before:
        return False
    _write_card(file, card)
    return True


def add_input(file: Path) -> bool:
    """Add the size of the images and the transform to a card (JSON), and tell if it changed."""
    card = json.loads(file.read_text("utf-8"))
    if not isinstance(card, dict) or "classes" not in card or "image_size" in card:
        return False
    size = 64  # of all networks that the course ships
    entries: dict[str, Any] = {}
    for name, value in card.items():
        entries[name] = value
        if name == "classes":  # where save_checkpoint writes them
            entries["image_size"] = [size, size]
            entries["transform"] = describe_transform(modern_transform(size))
    _write_card(file, entries)
    return True


def _write_card(file: Path, card: dict[str, Any]) -> None:
    """Write a card as `save_checkpoint` does."""
    atomic_write(file, (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())


def _renamed(value: Any) -> Any:
    """Return plain values with the functions in them renamed, also inside of dicts."""
    if isinstance(value, dict):
        return {name: _renamed(inner) for name, inner in value.items()}
    return FUNCTIONS.get(value, value) if isinstance(value, str) else value


def main() -> None:
    """Rename in every table and card."""
    for pattern, names in COLUMNS.items():
        for file in sorted(data_folder().glob(pattern)):
            if rename_columns(file, names):
                print(f"{file.name}: columns renamed")
    for file in sorted((data_folder() / "checkpoints").rglob("*.json")):
        if rename_functions(file):
            print(f"{file.name}: functions renamed")
        if add_input(file):
            print(f"{file.name}: size and transform added")


if __name__ == "__main__":
    main()
