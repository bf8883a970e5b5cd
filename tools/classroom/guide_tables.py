"""Reads lessons/teaching.toml and makes the tables of TEACHING.md; called by `make notebooks`.

    python -m tools.classroom.guide_tables [--check]

The tables stand between markers. They are made from the lessons, their measured seconds and
teaching.toml, so they always agree with the lessons. docs/glossary.md is made as well, of
docs/glossary.toml.
"""

import argparse
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tools.lessons.build import minutes_or_dash, read_lessons, read_seconds, write
from tools.lessons.languages import DIFFICULTIES
from tools.lessons.outputs import ROOT
from tools.lessons.parts import anchor, exercises, lesson_headings, plain, quiz
from tools.lessons.source import Lesson, LessonError
from tools.site.text import read_terms


@dataclass(frozen=True)
class Misconception:
    """What learners say, the heading of the lesson that corrects it, and what to do there."""

    lesson: str
    says: str
    heading: str
    cure: str


@dataclass(frozen=True)
class Slot:
    """Some minutes of a course: what is done, under which heading, and a sentence to say."""

    minutes: int
    do: str
    say: str
    lesson: str = ""
    heading: str = ""
    week: int = 0


@dataclass(frozen=True)
class Course:
    """A course, slot by slot; `key` names its table in TEACHING.md."""

    name: str
    key: str
    audience: str
    minutes: int
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Teaching:
    """All of teaching.toml."""

    misconceptions: tuple[Misconception, ...]
    courses: tuple[Course, ...]


def read_teaching(folder: Path) -> Teaching:
    """Read teaching.toml in a folder of lessons."""
    found = tomllib.loads((folder / "teaching.toml").read_text(encoding="utf-8"))
    courses = tuple(
        Course(
            course["name"],
            course["key"],
            course["for"],
            course["minutes"],
            tuple(Slot(**slot) for slot in course["slots"]),
        )
        for course in found["course"]
    )
    return Teaching(tuple(Misconception(**note) for note in found["misconception"]), courses)


def problems(teaching: Teaching, lessons: list[Lesson]) -> list[str]:
    """What in teaching.toml contradicts the lessons or does not add up, each as a sentence."""
    known = {lesson.name[:2]: lesson_headings(lesson) for lesson in lessons}
    found = []
    places = [(note.lesson, note.heading, note.says) for note in teaching.misconceptions]
    places += [(s.lesson, s.heading, s.do) for c in teaching.courses for s in c.slots if s.lesson]
    for number, heading, words in places:
        if heading not in known.get(number, []):
            found.append(f"{words!r}: lesson {number} has no heading {heading!r}")
    for course in teaching.courses:
        if (total := sum(slot.minutes for slot in course.slots)) != course.minutes:
            found.append(
                f"{course.name}: its slots add up to {total}, not {course.minutes} minutes"
            )
    missing = set(known) - {note.lesson for note in teaching.misconceptions}
    found += [f"lesson {number} has no misconception" for number in sorted(missing)]
    return found


# --- tables ---------------------------------------------------------------------------------------


def link(lesson: Lesson, heading: str = "", words: str = "") -> str:
    """A link to a lesson's notebook, or to a heading in it."""
    end = f"#{anchor(heading)}" if heading else ""
    return f"[{words or plain(heading)}](notebooks/{lesson.name}.ipynb{end})"


def rows(head: str, lines: list[str]) -> str:
    """A Markdown table."""
    columns = head.count("|") - 1
    return "\n".join([head, "|" + "---|" * columns, *lines])


def timings(lessons: list[Lesson], seconds: dict[str, float]) -> str:
    """How long each lesson takes the learner, its exercises, and the computer."""
    lines = []
    for lesson in lessons:
        run = f"{max(1, round(seconds[lesson.name]))} s" if lesson.name in seconds else "–"
        minutes = " + ".join(e.minutes.replace(" to ", "–") for e in exercises(lesson))
        words = link(lesson, words=f"{lesson.name[:2]} {lesson.title}")
        further = minutes_or_dash(lesson.minutes.further)
        lines.append(f"| {words} | {lesson.minutes.core} min | {further} | {minutes} min | {run} |")
    return rows("| lesson | reading | to go further | exercises | the computer |", lines)


def plan(course: Course, lessons: dict[str, Lesson]) -> str:
    """The slots of a course, with the clock running."""
    lines, clock, week = [], 0, 0
    for slot in course.slots:
        clock, week = (0 if slot.week != week else clock), slot.week
        when = (
            f"week {week}, {clock}–{clock + slot.minutes}"
            if week
            else (f"{clock}–{clock + slot.minutes}")
        )
        where = ""
        if slot.lesson:
            lesson = lessons[slot.lesson]
            where = f"{slot.lesson}: {link(lesson, slot.heading)}"
        say = f"“{slot.say}”" if slot.say else ""
        lines.append(f"| {when} | {where} | {slot.do} | {say} |")
        clock += slot.minutes
    return rows("| minutes | where | what | say |", lines)


def misconceptions(notes: tuple[Misconception, ...], lessons: dict[str, Lesson]) -> str:
    """What learners say, with the section that corrects it."""
    lines = [
        f"| “{note.says}” | {note.lesson}: {link(lessons[note.lesson], note.heading)} "
        f"| {note.cure} |"
        for note in notes
    ]
    return rows("| they say | go to | and do |", lines)


def exercise_table(lessons: list[Lesson]) -> str:
    """All exercises, the easy ones first."""
    every = [(e, lesson) for lesson in lessons for e in exercises(lesson)]
    every.sort(key=lambda pair: list(DIFFICULTIES).index(pair[0].difficulty))
    lines = []
    for e, lesson in every:
        task = link(lesson, "Exercises", f"{lesson.name[:2]}.{e.number} {e.title}")
        solution = f"[solution](notebooks/solutions/{lesson.name}.ipynb#Exercises)"
        lines.append(f"| {e.difficulty} | {task} | {e.minutes} min | {solution} |")
    return rows("| level | exercise | time | solution |", lines)


def quiz_table(lessons: list[Lesson]) -> str:
    """The right answer to every quiz question."""
    lines = []
    for lesson in lessons:
        for question in quiz(lesson):
            number = link(lesson, "Quiz", f"{lesson.name[:2]}.{question.number}")
            right = f"**{question.answer.letter})** {question.answer.text}"
            lines.append(f"| {number} | {cell(question.text)} | {cell(right)} |")
    return rows("| quiz | question | answer |", lines)


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


def tables(root: Path) -> dict[str, str]:
    """All generated tables by the names of their markers."""
    lessons = read_lessons(root / "lessons")
    teaching = read_teaching(root / "lessons")
    if found := problems(teaching, lessons):
        raise LessonError("teaching.toml: " + "; ".join(found))
    by_number = {lesson.name[:2]: lesson for lesson in lessons}
    made = {
        "timings": timings(lessons, read_seconds(root / "lessons")),
        "misconceptions": misconceptions(teaching.misconceptions, by_number),
        "exercises": exercise_table(lessons),
        "quiz": quiz_table(lessons),
    }
    return made | {course.key: plan(course, by_number) for course in teaching.courses}


def with_tables(text: str, made: dict[str, str]) -> str:
    """A text with each table between its markers. Raises LessonError if a marker is missing."""
    for name, table in made.items():
        start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
        before, has_start, rest = text.partition(start)
        _, has_end, after = rest.partition(end)
        if not has_start or not has_end:
            raise LessonError(f"TEACHING.md has no {start} … {end}")
        text = f"{before}{start}\n{table}\n{end}{after}"
    return text


def glossary(root: Path) -> str:
    """The words of the course as a page to read in a repository and in the editions."""
    names = {lesson.name[:2]: lesson.name for lesson in read_lessons(root / "lessons")}
    lines = []
    for term in read_terms(root / "docs/glossary.toml"):
        written = f"{term.term}, {', '.join(term.find)}" if term.find else term.term
        where = f"[{term.lesson}](../notebooks/{names[term.lesson]}.ipynb)"
        text = f"{cell(term.text)}<br>{cell(term.chinese_text)}"
        lines.append(f"| {written} | {term.chinese} | {text} | {where} |")
    return f"""<!-- made from glossary.toml by python -m tools.classroom.guide_tables -->
# Glossary

The words of the field as this course uses them, in English and Chinese, each with the lesson that
explains it.

{rows("| word | 中文 | in one sentence | lesson |", lines)}
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the tables, or say whether they are current; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    asked = parser.parse_args(arguments)
    path, words = ROOT / "TEACHING.md", ROOT / "docs/glossary.md"
    try:
        new = {path: with_tables(path.read_text("utf-8"), tables(ROOT)), words: glossary(ROOT)}
    except LessonError as error:
        print(f"TEACHING.md: {error}", file=sys.stderr)
        return 1
    for page, text in new.items():
        if page.exists() and page.read_text("utf-8") == text:
            continue
        if asked.check:
            print(f"{page.name} is not current: run this without --check", file=sys.stderr)
            return 1
        write(page, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
