"""The tables of grades that are shipped belong to the networks that are shipped."""

import csv
import json

import pytest

from tools.assets.grade_methods import LABEL, LABELLED, SEEDS, SOME
from xai_course.beetlebox import SPECIES, scenes
from xai_course.core.paths import data_folder
from xai_course.experiments import MEASURES, grade
from xai_course.methods import course_methods, with_nulls
from xai_course.storage import load_checkpoint

FOLDER = data_folder() / "grades"
TESTS = [scene for name in SPECIES for scene in scenes("test", name, 20)]
WORN = [scene.with_label() for scene in scenes("test", LABELLED, 100)]
QUICK = ("gradient", "CAM", "null: edges")
TABLES = {
    "beetle_net": ("beetle_net", TESTS, MEASURES),
    "label_clean": ("beetle_net", WORN, LABEL),
    "label_shortcut": ("beetle_net_shortcut", WORN, LABEL),
} | {
    f"seed_{n}": (f"beetle_net_seeds/seed_{n}", TESTS[::2], {m: MEASURES[m] for m in SOME})
    for n in SEEDS
}


def network(checkpoint):
    return load_checkpoint(data_folder() / "checkpoints" / checkpoint)[0]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_complete_and_of_this_network_these_scenes_and_these_options(name, tmp_path):
    checkpoint, some, measures = TABLES[name]
    for ending in (".csv", ".json"):
        (tmp_path / f"table{ending}").write_bytes((FOLDER / f"{name}{ending}").read_bytes())
    model = network(checkpoint)
    methods = with_nulls(model, some, course_methods())
    asked = dict.fromkeys(measures, lambda *_: pytest.fail("the table is not complete"))
    grades = grade(model, methods, some, measures=asked, file=tmp_path / "table.csv")
    assert list(grades) == list(methods)
    rows = list(csv.DictReader((FOLDER / f"{name}.csv").open(encoding="utf-8")))
    assert len(rows) == len(methods) * len(some)
    about = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    assert set(about["methods"]) == set(methods)


@pytest.mark.parametrize("name", ["beetle_net", "label_shortcut", "seed_1"])
def test_graded_anew_the_means_are_those_on_file(name):
    checkpoint, some, measures = TABLES[name]
    model = network(checkpoint)
    methods = {n: m for n, m in with_nulls(model, some, course_methods()).items() if n in QUICK}
    quick = {m: measures[m] for m in ("rank", "top part", "sign", "mass", "label") if m in measures}
    anew = grade(model, methods, some, measures=quick, progress=False)
    file = list(csv.DictReader((FOLDER / f"{name}.csv").open(encoding="utf-8")))
    for method, row in anew.items():
        for measure, values in row.items():
            kept = [float(line[measure]) for line in file if line["method"] == method]
            assert values.mean().item() == pytest.approx(sum(kept) / len(kept), abs=0.01)
