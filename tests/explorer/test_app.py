"""The explorer without a browser: its controls, its views, and its thread."""

import subprocess
import sys
import time
from dataclasses import replace
from threading import Event

import ipywidgets as widgets
import pytest

from tools.lessons.outputs import ROOT
from xai_course.beetlebox import TRAITS
from xai_course.explorer import Selection, explorer, state
from xai_course.explorer import app as app_module
from xai_course.explorer.app import LatestOnly
from xai_course.explorer.catalogue import PHOTO_NETWORK, layers_with_maps
from xai_course.explorer.controls import BACKGROUNDS, OPTIONS
from xai_course.explorer.state import run_all
from xai_course.explorer.views import all_views, class_table, images_html, part_table, score_table
from xai_course.methods import METHODS

# ---- the thread ----------------------------------------------------------------------------------


def test_only_the_newest_request_is_done():
    done, begun, go_on = [], Event(), Event()

    def work(request):
        begun.set()
        assert go_on.wait(60)
        done.append((request, latest.is_superseded()))

    latest = LatestOnly(work)
    latest.request(0)
    assert begun.wait(60)
    assert not latest.is_superseded()
    for request in (1, 2, 3):
        latest.request(request)
    go_on.set()
    latest.join()
    assert done == [(0, True), (3, False)]
    latest.request(4)  # the thread has ended, and a new one begins
    latest.join()
    assert done[-1] == (4, False)


@pytest.mark.end_to_end
def test_python_ends_though_a_slow_method_runs():
    code = """
from xai_course.explorer import explorer
from xai_course.explorer import Selection
explorer(Selection(network="article's network", method="occlusion"))
print("over")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stdout, result.stderr) == (0, "over\n", "")


# ---- the app, without a page ---------------------------------------------------------------------


def inside(box):
    yield box
    for child in getattr(box, "children", ()):
        yield from inside(child)


def control(app, name):
    """The one widget of a class."""
    (result,) = [widget for widget in inside(app) if f"bx-{name}" in widget._dom_classes]
    return result


def settles(app, name, expected):
    """Wait until a view holds what is expected, or say what it holds."""
    end = time.monotonic() + 60
    while control(app, f"{name}-view").value != expected and time.monotonic() < end:
        time.sleep(0.02)
    assert control(app, f"{name}-view").value == expected


def test_moving_controls_shows_what_the_plain_function_finds():
    app = explorer(Selection(method="gradient"))
    settles(app, "parts", part_table(run_all(Selection(method="gradient"))))
    control(app, "has-horn").value = False
    settles(app, "parts", part_table(run_all(Selection(method="gradient", without=("horn",)))))
    control(app, "method").value = "LRP"
    control(app, "rule").value = "epsilon"
    result = run_all(Selection(method="LRP", rule="epsilon", without=("horn",)))
    settles(app, "pictures", images_html(result))
    settles(app, "score", score_table(result))
    settles(app, "classes", class_table(result))
    control(app, "reset").click()
    settles(app, "parts", part_table(run_all(Selection(method="LRP", rule="epsilon"))))


def test_the_app_begins_with_what_it_is_given():
    choice = Selection(
        network="shortcut BeetleNet",
        species="Globaria_maculata",
        seed=16_000_000,
        without=("legs",),
        horn="forked",
        label=True,
        background=BACKGROUNDS["moss"],
        pixel_noise=0.1,
        target="Globaria_cincta",
        method="Grad-CAM",
        layer="blocks.1",
    )
    app = explorer(choice)
    settles(app, "parts", part_table(run_all(choice)))
    settles(app, "classes", class_table(run_all(choice)))
    control(app, "network").value = "article's network"  # which has other layers
    settles(
        app,
        "parts",
        part_table(
            run_all(replace(choice, network="article's network", layer=None, target="before"))
        ),
    )
    assert control(app, "layer").options[1:] == tuple(
        (name, name) for name in layers_with_maps("article's network")
    )


def test_another_species_brings_its_own_traits():
    app = explorer(Selection(method="gradient"))
    control(app, "species").value = "Globaria_maculata"
    assert [control(app, trait).value for trait in TRAITS] == ["round", "spotted", "single", "long"]
    result = run_all(Selection(method="gradient", species="Globaria_maculata"))
    settles(app, "parts", part_table(result))


def test_an_error_is_a_sentence_and_goes_again():
    app = explorer(Selection(network="article's network", method="DeconvNet"))
    end = time.monotonic() + 60
    while not control(app, "error-view").value and time.monotonic() < end:
        time.sleep(0.02)
    assert "no ReLU that can be seen" in control(app, "error-view").value
    assert 'role="alert"' in control(app, "error-view").value
    control(app, "method").value = "gradient"
    settles(app, "error", "")


def test_a_slow_method_gives_way_to_the_next_choice():
    choice = Selection(network="article's network", seed=777, method="occlusion")
    before = state._map.cache_info().currsize
    app = explorer(choice)  # some seconds of work
    control(app, "method").value = "gradient"
    settles(app, "parts", part_table(run_all(replace(choice, method="gradient"))))
    assert state._map.cache_info().currsize == before + 1  # the gradient's, and no occlusion's


@pytest.mark.parametrize("method", ["guided backpropagation", "FullGrad", "DeepLIFT", "LRP"])
def test_showing_progress_inside_a_pass_does_not_disturb_the_method(method, monkeypatch):
    monkeypatch.setattr(app_module, "PATIENCE", -1)  # everything is slow
    choice = Selection(seed=902, method=method)
    expected = all_views(run_all(choice))
    state._map.cache_clear()
    app = explorer(choice)
    settles(app, "pictures", expected["pictures"])
    settles(app, "parts", expected["parts"])


def test_only_the_options_of_the_method_are_shown():
    app = explorer(Selection(method="Grad-CAM"))
    for name, method in METHODS.items():
        control(app, "method").value = name
        shown = {option for option in OPTIONS if control(app, option).layout.display != "none"}
        assert shown == set(method.options)


def test_a_photograph_hides_what_belongs_to_beetles():
    app = explorer()
    assert control(app, "photograph").layout.display == "none"
    control(app, "network").value = PHOTO_NETWORK
    assert control(app, "photograph").layout.display == ""
    for box in inside(app):
        children = getattr(box, "children", ())
        if control(app, "species") in children or control(app, "label") in children:
            assert box.layout.display == "none"


def test_it_begins_with_the_beetle_of_lesson_00():
    """One of *longicornis* would answer the prediction of lesson 01 before it is made."""
    lesson = (ROOT / "lessons/00_start_here.py").read_text("utf-8")
    assert 'explorer(Selection(species="Globaria_cervina", seed=15))' in lesson
    app = explorer()
    assert (control(app, "species").value, control(app, "seed").value) == ("Globaria_cervina", 15)


def test_what_is_not_there_cannot_be_taken_away():
    app = explorer(Selection())  # plain, with a horn
    assert control(app, "has-pattern").disabled
    assert not control(app, "has-horn").disabled
    control(app, "pattern").value = "striped"
    assert not control(app, "has-pattern").disabled
    control(app, "has-elytra").value = False
    assert control(app, "has-pattern").disabled
    assert not control(app, "has-elytra").disabled


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "no pattern to take away"),
        ({"pattern": "striped"}, ""),
        ({"pattern": "striped", "has-elytra": False}, "lies on the elytra, which are gone"),
        ({"horn": "none"}, "no horn"),
    ],
)
def test_a_greyed_part_says_why(changes, words):
    app = explorer(Selection())
    for name, value in changes.items():
        control(app, name).value = value
    said = control(app, "absent-view").value
    assert words in said
    assert bool(said) == any(control(app, f"has-{p}").disabled for p in ("pattern", "horn"))


def test_results_fade_at_once_and_the_page_has_a_shape_before_the_first(monkeypatch):
    asked = []
    monkeypatch.setattr(LatestOnly, "request", lambda _, request: asked.append(request))
    app = explorer()
    assert "being opened" in control(app, "words-view").value
    assert control(app, "pictures-view").value.count("bx-empty") == 2
    page = app_module._App(Selection())
    page.show(dict.fromkeys(("words", "pictures", "parts", "score", "classes"), "old"))
    faded = [view for view in page.views.values() if "bx-stale" in view._dom_classes]
    assert faded == []
    page.controls["has horn"].value = False
    faded = {name for name, view in page.views.items() if "bx-stale" in view._dom_classes}
    assert faded == page.views.keys() - {"error"}


def test_every_control_has_a_name_for_a_screen_reader():
    for widget in inside(explorer()):
        if isinstance(widget, widgets.ValueWidget | widgets.Button) and not isinstance(
            widget, widgets.HTML | widgets.FloatProgress
        ):
            assert widget.description or widget.tooltip, widget
            assert widget.tooltip, widget


def test_a_wrong_beginning_is_refused():
    for wrong in ({"network": "x"}, {"method": "x"}, {"species": "x"}, {"without": ("x",)}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}.*x"):
            explorer(Selection(**wrong))
