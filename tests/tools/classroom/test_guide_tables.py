"""The tables of the teaching guide, its links, and the file that they are made from."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from lessons_of_the_course import LESSONS

from tools.classroom.guide_tables import (
    Misconception,
    glossary,
    plan,
    problems,
    read_teaching,
    tables,
    with_tables,
)
from tools.lessons.outputs import ROOT
from tools.lessons.parts import anchor, headings, lesson_headings, plain
from tools.lessons.source import LessonError

GUIDE = (ROOT / "TEACHING.md").read_text("utf-8")


def test_the_tables_of_the_guide_are_current():
    assert with_tables(GUIDE, tables(ROOT)) == GUIDE, "python -m tools.classroom.guide_tables"


def test_the_glossary_is_current():
    found = (ROOT / "docs/glossary.md").read_text("utf-8")
    assert found == glossary(ROOT), "python -m tools.classroom.guide_tables"
    for line in [line for line in found.splitlines() if line.startswith("| ")][1:]:
        target = re.search(r"\]\(\.\./notebooks/(\w+)\.ipynb\)", line)
        assert target[1] in {lesson.name for lesson in LESSONS}


def test_a_table_without_its_place_is_refused():
    with pytest.raises(LessonError, match="no <!-- quiz:start -->"):
        with_tables("<!-- quiz:end -->", {"quiz": ""})


def test_every_link_of_the_guide_leads_somewhere():
    known = {lesson.name: lesson for lesson in LESSONS}
    own = {plain(words).lower().replace(" ", "-") for _, words in headings(GUIDE)}
    links = re.findall(r"\]\(([^)\s]+)\)", GUIDE)
    assert len(links) > 50
    for target in links:
        path, _, end = target.partition("#")
        if path.startswith("https:"):
            continue
        if not path:
            assert end in own, target
        elif path.startswith("notebooks/"):  # it may not have been built yet
            lesson = known[Path(path).stem]
            there = {anchor(heading) for heading in lesson_headings(lesson)} | {""}
            assert end in there, target
        else:
            assert (ROOT / path).exists(), target


def test_teaching_toml_fits_the_lessons():
    assert problems(read_teaching(ROOT / "lessons"), LESSONS) == []


def test_what_does_not_fit_is_found():
    teaching = read_teaching(ROOT / "lessons")
    course = teaching.courses[0]
    wrong = replace(
        teaching,
        misconceptions=(Misconception("04", "Ha.", "No such heading", "Do."),),
        courses=(replace(course, minutes=course.minutes + 1),),
    )
    found = problems(wrong, LESSONS)
    assert "'Ha.': lesson 04 has no heading 'No such heading'" in found
    total = sum(slot.minutes for slot in course.slots)
    assert f"{course.name}: its slots add up to {total}, not {total + 1} minutes" in found
    assert "lesson 00 has no misconception" in found


def test_the_clock_of_a_plan_runs_on_and_starts_anew_each_week():
    by_number = {lesson.name[:2]: lesson for lesson in LESSONS}
    for course in read_teaching(ROOT / "lessons").courses:
        times = re.findall(r"^\| (?:week (\d+), )?(\d+)–(\d+) ", plan(course, by_number), re.M)
        assert len(times) == len(course.slots)
        end, week = 0, ""
        for now, start, stop in times:
            assert int(start) == (end if now == week else 0) < int(stop)
            end, week = int(stop), now
