"""The tables of scores that are shipped belong to the networks that are shipped."""

import csv
import json

import pytest
import torch

from tools.assets.grade_methods import FEW, LABEL, LABELLED, SEEDS
from xai_course.beetlebox import SPECIES, scenes
from xai_course.core.paths import data_folder
from xai_course.experiments import MEASURES, grade
from xai_course.methods import HARD_NULL_MAPS, course_methods, with_null_maps
from xai_course.storage import load_checkpoint

FOLDER = data_folder() / "grades"
TESTS = [scene for name in SPECIES for scene in scenes("test", name, 20)]
WITH_LABEL = [scene.with_label() for scene in scenes("test", LABELLED, 100)]
QUICK = ("gradient", "CAM", "null: edges")
TABLES = {
    "beetle_net": ("beetle_net", TESTS, MEASURES),
    "label_clean": ("beetle_net", WITH_LABEL, LABEL),
    "label_shortcut": ("beetle_net_shortcut", WITH_LABEL, LABEL),
} | {
    f"seed_{n}": (f"beetle_net_seeds/seed_{n}", TESTS[::2], {m: MEASURES[m] for m in FEW})
    for n in SEEDS
}
TABLES |= {f"label_seed_{n}": (f"beetle_net_seeds/seed_{n}", WITH_LABEL, LABEL) for n in SEEDS}


def network(checkpoint):
    return load_checkpoint(data_folder() / "checkpoints" / checkpoint)[0]


def rows_of(name):
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_complete_and_of_this_network_these_scenes_and_these_options(name, tmp_path):
    checkpoint, batch, measures = TABLES[name]
    for ending in (".csv", ".json"):
        (tmp_path / f"table{ending}").write_bytes((FOLDER / f"{name}{ending}").read_bytes())
    model = network(checkpoint)
    # Maps that know the scenes are described by their shape, so those of one scene will do.
    every = course_methods()
    if not name.startswith("label_seed"):
        every = with_null_maps(model, batch[:1], every)
    if name == "beetle_net":
        every |= HARD_NULL_MAPS
    methods = {
        name: method.expand(len(batch), *method.shape[1:])
        if isinstance(method, torch.Tensor)
        else method
        for name, method in every.items()
    }
    unused = dict.fromkeys(measures, lambda *_: pytest.fail("the table is not complete"))
    table = grade(model, methods, batch, measures=unused, file=tmp_path / "table.csv")
    assert list(table) == list(methods)
    assert len(rows_of(name)) == len(methods) * len(batch)
    about = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    assert set(about["methods"]) == set(methods)


@pytest.mark.parametrize("name", ["beetle_net", "label_shortcut", "label_seed_3", "seed_1"])
def test_graded_anew_the_scores_are_those_on_file(name):
    """A fifth of the scenes, of all species, by the quick methods and measures."""
    checkpoint, batch, measures = TABLES[name]
    model, step = network(checkpoint), 5
    methods = {n: m for n, m in course_methods().items() if n in QUICK}
    methods |= {n: m for n, m in with_null_maps(model, batch[:1], {}).items() if n in QUICK}
    methods = {n: m for n, m in methods.items() if any(row["method"] == n for row in rows_of(name))}
    assert set(QUICK) - set(methods) <= {"null: edges"}
    quick = {m: measures[m] for m in ("rank", "top part", "sign", "mass", "label") if m in measures}
    anew = grade(model, methods, batch[::step], measures=quick, progress=False)
    rows = rows_of(name)
    for method, scores in anew.items():
        own = [row for row in rows if row["method"] == method][::step]
        for measure, values in scores.items():
            kept = torch.tensor([float(row[measure]) for row in own], dtype=torch.double)
            # Rounding may exchange two parts of nearly the same relevance in a scene.
            same = torch.isclose(values, kept, atol=0.01, equal_nan=True)
            assert same.double().mean() >= 0.9, (method, measure)
            assert values.nanmean().item() == pytest.approx(kept.nanmean().item(), abs=0.02)
