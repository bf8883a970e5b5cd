"""The table of grades: what it holds, and that it survives being stopped."""

import csv
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

from xai_course.beetlebox import PARTS, SPECIES, Scene, ground_truth, scenes, scores, tensors
from xai_course.core import describe_callable
from xai_course.experiments import MEASURES, EvaluationSet, grade, grading
from xai_course.methods import NULL_MAPS, course_methods, with_null_maps
from xai_course.metrics import infidelity
from xai_course.models import BeetleNet
from xai_course.relu import gradient, gradient_times_input

SCENES = [Scene(name, 70 + i) for i, name in enumerate(list(SPECIES)[:3])]


def network(seed=0):
    torch.manual_seed(seed)
    return BeetleNet(classes=10, depth=3, width=4).eval()


def ones(model, images, targets=None):
    return torch.ones_like(images)


def brightness(data, explainer, maps):
    return data.images.mean((1, 2, 3))


def area(data, explainer, maps):
    return maps.sum((1, 2, 3))


class Stopped(Exception):
    pass


def stop(*_):
    raise Stopped


# -------------------------------------------------------------------------------------- the table


def test_each_number_is_the_measure_of_the_method_on_the_scene():
    model = network()
    grades = grade(model, {"gradient": gradient, "ones": ones}, SCENES, progress=False)
    assert [list(grades), list(grades["ones"])] == [["gradient", "ones"], list(MEASURES)]
    key = ground_truth.ground_truth_effects(model, SCENES)
    found = scores.score_against_ground_truth(model, gradient, SCENES, effects=key)
    assert grades["gradient"]["rank"].tolist() == pytest.approx(found.tolist(), abs=1e-5)
    areas = tensors.stack_masks(SCENES).sum((2, 3))[:, : len(PARTS)]
    by_area = scores.spearman_with_truth(areas.masked_fill(areas == 0, torch.nan), key)
    assert grades["ones"]["rank"].tolist() == pytest.approx(by_area.tolist(), abs=1e-5)
    assert grades["ones"]["sensitivity"].tolist() == [0, 0, 0]
    for row in grades.values():
        for name, values in row.items():
            assert len(values.isfinite().nonzero()) == 3, name


def test_the_key_itself_scores_1_by_every_measure_that_has_the_key():
    model = network()
    methods = with_null_maps(model, SCENES, {})
    grades = grade(model, methods, SCENES, progress=False)
    assert set(NULL_MAPS) < set(grades)
    for measure in ("rank", "top part", "sign", "magnitude"):
        assert grades["the key itself"][measure].tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    assert grades["null: silhouette"]["mass"].mean() > 0.9
    assert grades["the key itself"]["sensitivity"].isnan().all()  # relevance made before


def test_a_map_is_read_by_its_unit():
    """Slopes and sums of one method: what one measure does not apply to, another makes equal."""
    model = network()
    methods = {"slope": gradient, "sum": gradient_times_input, "mine": ones}
    names = ("infidelity", "infidelity, squares", "sensitivity", "sensitivity, sums")
    measures = {name: MEASURES[name] for name in names}
    grades = grade(model, methods, SCENES, measures=measures, progress=False)
    assert grades["sum"]["infidelity"].isnan().all()
    assert grades["slope"]["infidelity"].isfinite().all()
    assert grades["mine"]["infidelity"].isfinite().all()
    data = EvaluationSet(model, SCENES)
    for name, method, unit in (
        ("slope", gradient, "slope"), ("sum", gradient_times_input, "sum"), ("mine", ones, "sum")
    ):  # fmt: skip
        options = {"unit": unit, "perturbation": "squares", "samples": 64, "scaled": True}
        by_hand = infidelity(model, method, data.images, data.targets, **options)
        assert grades[name]["infidelity, squares"].tolist() == pytest.approx(
            by_hand.tolist(), rel=1e-5
        )
    for name in ("sum", "mine"):
        assert torch.equal(grades[name]["sensitivity"], grades[name]["sensitivity, sums"])
    assert (grades["slope"]["sensitivity"] != grades["slope"]["sensitivity, sums"]).all()


def test_all_of_the_course_can_be_graded():
    one = {"rank": MEASURES["rank"]}
    grades = grade(network(), course_methods(), SCENES[:1], measures=one, progress=False)
    assert all(values["rank"].isfinite().all() for values in grades.values())


# -------------------------------------------------------------------------------------- on disk


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(tmp_path):
    model, file = network(), tmp_path / "grades.csv"
    measures = {"brightness": brightness, "area": area}
    methods = {"ones": ones, "gradient": gradient}
    whole = grade(model, methods, SCENES, measures=measures, file=tmp_path / "w.csv")
    with pytest.raises(Stopped):
        grade(model, methods, SCENES, measures={"brightness": brightness, "stop": stop}, file=file)
    with pytest.raises(Stopped):  # ones has its brightness already
        grade(model, {"ones": ones, "none": stop}, SCENES, measures=measures, file=file)
    asked = []

    def noted(name, measure):
        return lambda m, e, maps: asked.append((name, e)) or measure(m, e, maps)

    again = grade(
        model,
        methods,
        SCENES,
        measures={name: noted(name, measure) for name, measure in measures.items()},
        file=file,
    )
    assert asked == [("brightness", gradient), ("area", gradient)]
    for method, row in whole.items():
        for name, values in row.items():
            assert torch.equal(again[method][name], values)
    assert not [path.name for path in tmp_path.iterdir() if "part" in path.name]


def test_what_is_on_file_comes_back_to_the_bit(tmp_path):
    model, file = network(), tmp_path / "new" / "grades.csv"
    first = grade(model, {"gradient": gradient}, SCENES, file=file)
    second = grade(model, {"gradient": gradient}, SCENES, measures=MEASURES, file=file)
    assert all(torch.equal(first["gradient"][m], second["gradient"][m]) for m in MEASURES)


def test_the_file_is_a_table_that_anyone_can_read(tmp_path, capsys):
    file = tmp_path / "grades.csv"
    methods = {"ones": ones, "given": torch.zeros(3, 1, 64, 64)}
    measures = {"area": area, "sensitivity": MEASURES["sensitivity"]}
    grade(network(), methods, SCENES, measures=measures, file=file)
    assert "4 of 4 done now" in capsys.readouterr().out
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert list(rows[0]) == ["method", "species", "seed", "area", "sensitivity"]
    assert [row["method"] for row in rows] == ["ones"] * 3 + ["given"] * 3
    assert [int(row["seed"]) for row in rows[:3]] == [70, 71, 72]
    assert [row["area"] for row in rows] == [str(3 * 64 * 64)] * 3 + ["0"] * 3
    assert rows[-1]["sensitivity"] == "nan"
    about = json.loads(file.with_suffix(".json").read_text("utf-8"))
    assert about["methods"]["ones"] == "ones"
    grade(network(), methods, SCENES, measures=measures, file=file)
    assert "0 of 4 done now" in capsys.readouterr().out


def test_a_table_of_something_else_is_refused_and_left_as_it_was(tmp_path):
    file, one = tmp_path / "grades.csv", {"brightness": brightness}
    grade(network(), {"ones": ones}, SCENES, measures=one, file=file)
    before = file.read_bytes(), file.with_suffix(".json").read_bytes()
    for arguments, says in [
        ((network(1), {"ones": ones}, SCENES), "its weights are"),
        ((network(), {"ones": ones}, SCENES[:2]), "its scenes are"),
        ((network(), {"ones": gradient}, SCENES), "ones was ones, asked for is gradient"),
        ((network(), {"ones": torch.ones(3, 1, 64, 64)}, SCENES), "asked for is tensor"),
    ]:
        with pytest.raises(ValueError, match=rf"^file: .*{says}"):
            grade(*arguments, measures=one, file=file)
    assert (file.read_bytes(), file.with_suffix(".json").read_bytes()) == before


@pytest.mark.parametrize("damage", ["cut", "other rows", "no note"])
def test_a_damaged_table_is_refused(tmp_path, damage):
    file, one = tmp_path / "grades.csv", {"brightness": brightness}
    grade(network(), {"ones": ones}, SCENES, measures=one, file=file)
    lines = file.read_text("utf-8").splitlines()
    if damage == "cut":
        file.write_text("\n".join(lines[:-1]), "utf-8")
    elif damage == "other rows":
        file.write_text("\n".join([*lines[:-1], lines[-1].replace("72", "73")]), "utf-8")
    else:
        file.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"^file: .*cannot be resumed"):
        grade(network(), {"ones": ones}, SCENES, measures=one, file=file)


def test_options_of_a_method_are_noted():
    described = {name: describe_callable(method) for name, method in course_methods().items()}
    assert described["IG, mean"] == "integrated_gradients(steps=8, batch_size=100)"
    assert described["IG, black"].startswith("integrated_gradients(baseline=tensor (1, 3, 1, 1)")
    assert described == {n: describe_callable(m) for n, m in course_methods().items()}


def test_bad_input_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^methods, scenes: got none"):
        grade(network(), {}, SCENES)
    with pytest.raises(ValueError, match=r"^explainer: got relevance of shape"):
        grade(network(), {"flat": lambda m, x, t: x[:, :, 0]}, SCENES)
    with pytest.raises(ValueError, match=r"^measures: got shape \(\) from odd"):
        grade(network(), {"ones": ones}, SCENES, measures={"odd": lambda m, e, maps: maps.sum()})


def grade_some(file, methods):
    """Grade methods into a file, from another process."""
    known = {"ones": ones, "gradient": gradient, "twos": ones, "threes": ones}
    chosen = {name: known[name] for name in methods}
    options = {"measures": {"area": area, "brightness": brightness}, "progress": False}
    return grade(network(), chosen, SCENES, file=file, **options)


@pytest.mark.end_to_end
def test_two_processes_on_one_table_lose_no_score(tmp_path):
    file = tmp_path / "grades.csv"
    shares = [("ones", "gradient"), ("twos", "gradient"), ("threes",)]
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        made = [pool.submit(grade_some, file, share) for share in shares]
        for one in made:
            one.result()
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert sorted({row["method"] for row in rows}) == ["gradient", "ones", "threes", "twos"]
    assert len(rows) == 4 * len(SCENES)
    assert all(row["area"] and row["brightness"] for row in rows)
    note = json.loads(file.with_suffix(".json").read_text())
    assert sorted(note["methods"]) == ["gradient", "ones", "threes", "twos"]
    assert {path.name for path in tmp_path.iterdir()} == {"grades.csv", "grades.json"}


def test_scenes_without_clutter_keep_the_name_that_tables_on_file_have():
    """The name of these scenes was written down before there was clutter."""
    plain = [scene for name in SPECIES for scene in scenes("test", name, 20)]
    assert grading._hash_scenes(plain) == "58bb5de07fd085a7"
    littered = [grading._hash_scenes([plain[0].with_clutter(n)]) for n in range(4)]
    assert len({*littered, grading._hash_scenes([plain[0].with_clutter(3, seed=1)])}) == 5
