"""Judging answers that are computed in another process: honest and dishonest ones, real checks."""

import importlib
import inspect
import re
from pathlib import Path

import answers_10
import pytest
import torch
from grading_cheats import CHEATS, WRONG
from lessons_of_the_course import LESSONS
from tiny_course import linux, put

from tools.grading.grade import grade_folder
from tools.grading.judge import (
    ROUNDS,
    Judge,
    Limits,
    Sandbox,
    examine,
    judge,
    known_inputs,
    places_of_answers,
)
from tools.lessons.catalogue import chinese_lesson
from tools.lessons.outputs import ROOT
from tools.lessons.parts import exercises
from tools.lessons.source import edition

ANSWERS = ROOT / "tests" / "exercises"
NUMBERS = sorted(path.stem[-2:] for path in ANSWERS.glob("answers_[0-9][0-9].py"))


@pytest.fixture(scope="module")
def open_sandbox():
    """A sandbox that sees the answers of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests" / "exercises"))
        with Sandbox(confined=False) as sandbox:
            yield sandbox


@pytest.fixture(scope="module")
def sandbox():
    """A sandbox as it is used to grade."""
    with Sandbox() as sandbox:
        yield sandbox


def told(sandbox, lesson, check, source, seconds=5.0):
    """What a learner is told of an answer."""
    job = {"room": f"xai_course.exercises.lesson_{lesson}", "check": check, "function": "answer"}
    return judge({**job, "source": source}, Limits(seconds=seconds), sandbox)


# --- honest answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_an_answer_is_told_the_same_as_in_the_notebook(number, open_sandbox):
    """All right and wrong answers to all exercises: the status and every word."""
    answers = importlib.import_module(f"answers_{number}")
    room = f"xai_course.exercises.lesson_{number}"
    with open_sandbox.process(room, Limits()) as connection:
        channel = Judge(connection, 300)
        for kind in ("RIGHT", "WRONG"):
            for place, (check, answer, *_) in enumerate(getattr(answers, kind)):
                source = f"from answers_{number} import {kind}\nanswer = {kind}[{place}][1]"
                there = examine({"source": source, "function": "answer"}, check, channel)
                with known_inputs(source):
                    for _ in range(ROUNDS):
                        here = check(answer)
                        if here.status != "yes":
                            break
                # Lesson 11 measures memory, which differs by a megabyte between processes.
                told = [re.sub(r"\d+ MB", "some MB", words) for words in (there[1], here.words)]
                assert (there[0], told[0]) == (here.status, told[1]), source


HEAD = "import copy, torch\nfrom torch.func import functional_call, vjp\n"
STYLES = [
    "return torch.func.grad(lambda x: model(x).max(1).values.sum())(images)",
    "x = images.clone().requires_grad_()\n    total = model(x).max(1).values.sum()\n"
    "    return torch.autograd.grad(total, x, create_graph=True)[0]",
    "x = images.requires_grad_()\n    model(x).amax(1).sum().backward(inputs=[x])\n"
    "    return x.grad",
    "return torch.autograd.functional.jacobian(lambda x: model(x).max(1).values.sum(), images)",
    "x = images.requires_grad_()\n"
    "    return torch.autograd.grad(copy.deepcopy(model).eval()(x).amax(1).sum(), x)[0]",
    "x = images.requires_grad_()\n    next(model.parameters()).device\n"
    "    model(x).amax(1).sum().backward()\n    model.zero_grad()\n    return x.grad",
    "x = images.requires_grad_()\n"
    "    out = functional_call(model, dict(model.named_parameters()), (x,))\n"
    "    return torch.autograd.grad(out.amax(1).sum(), x)[0]",
    "out, back = vjp(model, images)\n"
    "    return back(torch.nn.functional.one_hot(out.argmax(1), out.shape[1]).float())[0]",
]


@pytest.mark.parametrize("body", STYLES)
def test_derivatives_pass_through_a_model_that_is_elsewhere(sandbox, body):
    """Every usual way to take them; the passes are counted where the model is."""
    source = f"{HEAD}def answer(model, images):\n    {body}"
    status, words = told(sandbox, "10", "check_cheap", source)
    assert status == "yes", words


def test_second_derivatives_are_refused_and_not_taken_for_0(sandbox):
    source = (
        "import torch\ndef answer(model, images):\n    x = images.requires_grad_()\n"
        "    (g,) = torch.autograd.grad(model(x).amax(1).square().sum(), x, create_graph=True)\n"
        "    return torch.autograd.grad(g.square().sum(), x)[0]"
    )
    status, words = told(sandbox, "10", "check_cheap", source)
    assert (status, "second derivatives" in words) == ("no", True), words


def test_vmap_over_a_model_that_is_elsewhere_is_told_as_an_error(sandbox):
    """What TEACHING.md says is not supported."""
    source = "import torch\ndef answer(model, images):\n    f = torch.func.grad(lambda x: "
    source += "model(x[None]).max())\n    return torch.func.vmap(f)(images)"
    status, words = told(sandbox, "10", "check_cheap", source)
    assert (status, "vmap" in words) == ("no", True)


@pytest.mark.end_to_end
def test_all_solutions_of_the_course_pass(tmp_path):
    for lesson in LESSONS:
        cells = [cell.source for cell in edition(lesson, True)[0].cells if cell.cell_type == "code"]
        put(tmp_path / "in" / f"{lesson.name}.ipynb", *cells)
    slow = Limits(seconds=200, starting=200)  # the machine that tests may be busy
    rows = list(grade_folder(tmp_path / "in", tmp_path / "grades.csv", slow))
    for row in rows:
        assert row["points"] == row["of"], row
    assert {row["look"] + row["wrong"] for row in rows} == {""}


@pytest.mark.end_to_end
def test_chinese_notebooks_get_the_grades_of_english_ones(tmp_path):
    """All right, one answer wrong, and nothing done; the table's sentences are Chinese."""
    lesson = next(each for each in LESSONS if each.name.startswith("04"))
    for language, each in (("en", lesson), ("zh", chinese_lesson(lesson, go_on=True))):
        answers, stubs = (
            [cell.source for cell in edition(each, right)[0].cells if cell.cell_type == "code"]
            for right in (True, False)
        )
        function = exercises(each)[0].function
        wrong = [*answers, f"def {function}(*given):\n    return given[0] + 1"]
        for name, cells in {"right": answers, "wrong": wrong, "none": stubs}.items():
            put(tmp_path / language / f"{name}.ipynb", *cells)
    slow = Limits(seconds=200, starting=200)
    english, chinese = (
        list(grade_folder(tmp_path / name, tmp_path / f"{name}.csv", slow, speak=name))
        for name in ("en", "zh")
    )
    same = ("file", "lesson", "exercise_1", "exercise_2", "points", "of", "wrong", "look")
    assert [[row[key] for key in same] for row in english] == [
        [row[key] for key in same] for row in chinese
    ]
    assert [row["points"] for row in english] == ["0", "2", "1"]
    for row in chinese:
        assert re.search("[\u4e00-\u9fff]", row["says_1"]), row["says_1"]


def test_a_notebook_gets_the_same_sentence_each_time_and_another_one_other_inputs(sandbox):
    source = "def answer(logit, scene, first, other): return 10.0"
    first = told(sandbox, "01", "check_interaction", source)
    assert told(sandbox, "01", "check_interaction", source) == first
    assert told(sandbox, "01", "check_interaction", source + "\n# another") != first


def test_the_seed_of_pytorch_is_given_back():
    real = torch.seed
    with known_inputs("x = 1"):
        assert torch.seed is not real
    assert torch.seed is real


# --- dishonest answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHEATS)
def test_a_wrong_answer_gets_no_marks_whatever_it_reaches_for(sandbox, name):
    lesson, check, source = CHEATS[name]
    status, words = told(sandbox, lesson, check, source)
    assert status in ("no", "error"), words


def test_one_who_changes_pytorch_is_told_what_an_honest_learner_is_told(sandbox):
    honest = told(sandbox, "05", "check_guided", WRONG)
    assert honest == ("no", "This is the rule of the gradient: it uses the input alone.")
    for name in ("abs inherited by every tensor", "a function mode left active"):
        assert told(sandbox, *CHEATS[name]) == honest


def test_no_cheat_changed_the_process_that_judges(sandbox):
    """After all of them: PyTorch, the checks and a right answer are what they were."""
    assert float(torch.tensor(-2.0).abs()) == 2
    close = importlib.import_module("xai_course.exercises.asking").close
    assert close.__defaults__ == (1e-4,)
    right = "def answer(inputs, grad): return grad * (inputs > 0) * (grad < 0)"
    assert told(sandbox, "05", "check_guided", right)[0] == "yes"


TAKEN = [
    "from xai_course.exercises.lesson_02 import _classify as answer",
    "import sys\nanswer = sys.modules['xai_course.exercises.lesson_02']._classify",
    "import gc\n(answer,) = [f for f in gc.get_objects() if type(f).__name__ == 'function'"
    " and f.__name__ == '_classify']",
    f"space, root = {{}}, {str(ROOT)!r}\n"
    "exec(open(root + '/xai_course/exercises/lesson_02.py').read(), space)\n"
    "answer = space['_classify']",
    f"import pathlib\n(found, *_) = pathlib.Path({str(ROOT)!r}, 'lessons').glob('02*')\n"
    "answer = print",
    f"import sys\nsys.path.append({str(ROOT)!r} + '/tests/exercises')\n"
    "from answers_02 import classify as answer",
]


@linux
@pytest.mark.parametrize("source", TAKEN)
def test_no_right_answer_can_be_taken_from_a_check_a_lesson_or_a_test(sandbox, source):
    if not sandbox.confined:
        pytest.skip("this machine does not allow namespaces")
    status, words = told(sandbox, "02", "check_classify", source)
    assert status == "error"
    assert words.startswith("the code that it needs stopped with")


def test_submissions_are_out_of_reach_unless_the_course_itself_lies_in_them(tmp_path):
    assert tmp_path in places_of_answers(tmp_path)
    assert Path(ROOT.anchor) not in places_of_answers(Path(ROOT.anchor))
    assert ROOT not in places_of_answers(ROOT)


def test_memory_is_measured_in_the_learners_process_and_can_be_hidden(sandbox):
    """What TEACHING.md says is not protected: Python's measure may be set back."""
    listed = "def answer(index, per_species):\n    every = [(n, i) for n in SPECIES for i in "
    listed += "range(min(per_species, 10000))]\n    del every\n{hide}"
    listed += "    return list(SPECIES)[index // per_species], index % per_species"
    head = "import tracemalloc\nfrom xai_course.beetlebox import SPECIES\n"
    status, words = told(sandbox, "11", "check_item", head + listed.format(hide=""))
    assert (status, "your function needs" in words) == ("no", True)
    hidden = head + listed.format(hide="    tracemalloc.reset_peak()\n")
    assert told(sandbox, "11", "check_item", hidden)[0] == "yes"


def test_an_answer_may_call_what_the_package_offers(sandbox):
    """What TEACHING.md says is not protected: a function of the package that does the same."""
    source = "from xai_course.data import denormalise\ndef answer(x, mean, std): "
    assert told(sandbox, "01", "check_pixels", source + "return denormalise(x)")[0] == "yes"


# --- where processes cannot be copied -------------------------------------------------------------


@pytest.mark.end_to_end
def test_a_new_process_for_each_exercise_judges_the_same():
    """As on Windows and macOS."""
    source = "import torch\n" + inspect.getsource(answers_10.cheap).replace("cheap", "answer")
    with Sandbox(confined=False, fork=False) as own:
        assert told(own, "10", "check_cheap", source)[0] == "yes"
        assert told(own, "10", "check_cheap", "import os\ndef answer(*a): os._exit(3)") == (
            "error",
            "the process ended before its time: status 3",
        )
