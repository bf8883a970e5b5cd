"""The explorer in Chinese: the app keeps its language, whatever the system's and its threads'."""

import re
import time

import ipywidgets as widgets
import pytest

from xai_course.core.translation import use_language
from xai_course.explorer import Selection, explorer
from xai_course.explorer.catalogue import PHOTO_NETWORK
from xai_course.explorer.state import run_all
from xai_course.explorer.views import all_views

ENGLISH = re.compile(r"\b(the|of|is|and|without|worth|changed|says)\b")


def inside(box):
    yield box
    for child in getattr(box, "children", ()):
        yield from inside(child)


def waits_for(app, name, part):
    (view,) = [w for w in inside(app) if f"bx-{name}-view" in w._dom_classes]
    end = time.monotonic() + 60
    while part not in view.value and time.monotonic() < end:
        time.sleep(0.02)
    assert part in view.value
    return view.value


def test_the_app_speaks_the_language_that_was_asked_for():
    app = explorer(Selection(method="gradient"), language="zh")
    words = waits_for(app, "words", "真实效应")
    assert words.startswith('<div lang="zh-CN">')
    assert not ENGLISH.search(words)
    labels = [w.description for w in inside(app) if getattr(w, "description", "")]
    assert {"网络", "鞘翅", "撤销所有改动"} <= set(labels)
    (horn,) = [w for w in inside(app) if "bx-has-horn" in w._dom_classes]
    horn.value = False  # the answer to a change comes from a thread
    waits_for(app, "words", "去掉角")
    tips = [w.tooltip for w in inside(app) if isinstance(w, widgets.Checkbox | widgets.Dropdown)]
    assert all(re.search(r"[\u3400-\u9fff]", tip) for tip in tips)


def test_a_menu_s_values_do_not_depend_on_the_language():
    values = []
    for name, heading in (("en", "Truth"), ("zh", "真实效应")):
        app = explorer(Selection(method="gradient"), language=name)
        waits_for(app, "words", heading)  # the layers are known by then
        menus = [w for w in inside(app) if isinstance(w, widgets.Dropdown)]
        named = [menu.options for menu in menus if isinstance(menu.options[0], tuple)]
        values.append([[value for _, value in options] for options in named])
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "selection",
    [
        Selection(method="gradient"),
        Selection(method="gradient", without=("horn",), label=True, pixel_noise=0.1),
        Selection(method="gradient", without=("legs",)),
        Selection(method="gradient", horn="none", background=3),
        Selection(network="article's network", method="gradient", species="Globaria_cincta"),
        Selection(network=PHOTO_NETWORK, method="gradient", pixel_noise=0.1),
    ],
)
def test_no_english_sentence_is_left_in_any_view(selection):
    with use_language("zh"):
        views = all_views(run_all(selection))
    for name, html in views.items():
        text = re.sub(r'src="data:[^"]*"', "", html)
        text = re.sub(r'<[^>]*?(?:alt="([^"]*)")?[^>]*>', r"\1\n", text)
        assert not ENGLISH.search(text), (name, text)


def test_a_language_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="language: got 'fr'"):
        explorer(language="fr")
