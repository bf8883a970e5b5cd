"""The grid pointing game on mosaics: its trials, and what the table on file says."""

import csv

import pytest

from xai_course.core.paths import data_folder
from xai_course.experiments import (
    GRIDS,
    LAYER_METHODS,
    grid_pointing,
    grid_pointing_scores,
    grid_pointing_trials,
)
from xai_course.methods import METHODS, further_methods
from xai_course.metrics import mosaics


def test_a_flat_map_scores_chance_and_what_cannot_influence_gets_nothing():
    for grid, chance in (("two", 0.5), ("four", 0.25)):
        flat = grid_pointing_scores("beetles", grid, "null: constant")
        assert flat["share"] == flat["untrained"] == flat["disconnected"] == chance
        assert flat["scored"] == 20
    slope = grid_pointing_scores("beetles", "two", "gradient × input")
    assert slope["disconnected"] == 1
    assert 0 < slope["low"] < slope["share"] < slope["high"] < 1
    for wrong in (("moths", "two", "CAM"), ("beetles", "six", "CAM"), ("beetles", "two", "tea")):
        with pytest.raises(ValueError, match=r"^(images|grid|method): got '(moths|six|tea)'"):
            grid_pointing_scores(*wrong)


def test_every_method_plays_on_mosaics_of_beetles():
    _, _, x, classes = grid_pointing._material("beetles")
    for method, explainer in grid_pointing._methods("beetles", "two").items():
        maps = explainer(
            grid_pointing._material("beetles")[0], mosaics(x, GRIDS["two"])[:1], classes[:1]
        )
        assert maps.shape[2:] == (64, 128), method


def test_every_kind_grid_and_method_is_a_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(
        grid_pointing, "grid_pointing_scores", lambda images, grid, method: {"share": 0.5}
    )
    rows = grid_pointing_trials(tmp_path / "g.csv")
    assert len(rows) == 2 * 2 * (len(METHODS) - len(further_methods()) + 6)
    assert len(grid_pointing_trials(tmp_path / "g.csv", images=("beetles",))) == len(rows) / 2


def test_the_table_on_file_is_complete_and_its_beetles_are_found_again():
    file = data_folder() / "experiments" / "grid_pointing.csv"
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 2 * 2 * (len(METHODS) - len(further_methods()) + 6)
    for row in rows:
        if row["method"] in LAYER_METHODS:
            assert row["disconnected"] == "null"
        elif row["method"] in METHODS:
            assert float(row["disconnected"]) > 0.999, row  # DiFull: nothing else can influence it
    kept = {(row["images"], row["grid"], row["method"]): row for row in rows}
    for method in ("gradient × input", "CAM", "null: edges"):
        anew = grid_pointing_scores("beetles", "two", method)
        for name in ("share", "low", "high", "untrained"):
            on_file = float(kept["beetles", "two", method][name])
            assert anew[name] == pytest.approx(on_file, abs=5e-3), (method, name)
