"""The explorer's controls: what they are called, and what belongs to each."""

from dataclasses import fields

import ipywidgets as widgets
import numpy as np

from xai_course.beetlebox import BODY_PARTS
from xai_course.beetlebox.backgrounds import KINDS
from xai_course.explorer import Selection
from xai_course.explorer.controls import (
    BACKGROUNDS,
    group_controls,
    make_controls,
    make_page,
    make_view,
)


def test_the_grounds_are_what_they_are_called():
    for name, seed in BACKGROUNDS.items():
        kind = np.random.default_rng((seed, 3)).integers(len(KINDS))  # as paint_ground draws it
        assert KINDS[kind] == name


def test_there_is_a_control_for_everything_that_can_be_chosen():
    controls = make_controls(Selection())
    parts = {f"has {part}" for part in BODY_PARTS}
    assert set(controls) == {field.name for field in fields(Selection)} - {"without"} | parts


def test_the_page_shows_every_control_once_and_has_its_style():
    controls, reset = make_controls(Selection()), widgets.Button()
    views = {name: make_view(name) for name in ("error", "words", "pictures", "parts", "score")}
    views["classes"] = make_view("classes")
    groups = group_controls(controls, reset)
    page = make_page(list(groups.values()), views, widgets.FloatProgress())
    shown = [id(widget) for widget in inside(page)]
    for widget in (*controls.values(), *views.values(), reset):
        assert shown.count(id(widget)) == 1
    style = next(widget.value for widget in inside(page) if isinstance(widget, widgets.HTML))
    assert style.startswith("<style>\n.beetle-explorer {")
    assert "</style><h2>Take a beetle apart</h2>" in style


def inside(box):
    yield box
    for child in getattr(box, "children", ()):
        yield from inside(child)
