"""Rename what files on disk hold of renamed functions and scores: old names to new ones.

    python -m tools.assets.rename_on_disk

The tables in data/grades/ have a column for each score. When a score gets a new name in the
package, add a line to `COLUMNS` and run this. No number changes, and a second run changes nothing.
"""

from __future__ import annotations

from pathlib import Path

from xai_course.core.paths import data_folder
from xai_course.storage import atomic_write

COLUMNS = {
    "calibration": "magnitude",  # calibration is the field's word for confidence
}


def rename_columns(file: Path) -> bool:
    """Rename the columns of a table (CSV), and say whether it changed."""
    head, newline, rows = file.read_text("utf-8").partition("\n")
    # No new or old name has a comma, so the head needs no parser.
    columns = [COLUMNS.get(column, column) for column in head.split(",")]
    if ",".join(columns) == head:
        return False
    atomic_write(file, f"{','.join(columns)}{newline}{rows}".encode())
    return True


def main() -> None:
    """Rename in every table of scores."""
    for file in sorted((data_folder() / "grades").glob("*.csv")):
        if rename_columns(file):
            print(f"{file.name}: columns renamed")


if __name__ == "__main__":
    main()
