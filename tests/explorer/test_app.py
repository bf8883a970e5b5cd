"""The explorer without a browser: its numbers, its words, its controls, and its thread."""

import math
import re
import subprocess
import sys
import time
from dataclasses import fields, replace
from threading import Event

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d

from tools.lessons.outputs import ROOT
from xai_course.beetlebox import PARTS, SPECIES, TRAITS, Scene, ground_truth, scores, stack_images
from xai_course.beetlebox.backgrounds import KINDS
from xai_course.core.paths import data_folder
from xai_course.data import PHOTOGRAPHS, denormalise, normalise, photographs
from xai_course.explorer import Selection, catalogue, controls, explorer, state, views
from xai_course.explorer import app as app_module
from xai_course.explorer.app import Latest
from xai_course.explorer.catalogue import NETWORKS, PHOTO_NETWORK
from xai_course.explorer.state import run_all, run_model, scene_of
from xai_course.explorer.views import (
    changes,
    class_table,
    in_words,
    part_table,
    pictures,
    score_table,
)
from xai_course.methods import METHODS
from xai_course.metrics import null_maps
from xai_course.relu import grad_cam, gradient, smooth_grad
from xai_course.residual import deeplift, integrated_gradients, lrp, occlusion
from xai_course.storage import load_checkpoint

DRAWN = Scene("Ellipsa_longicornis", 24)
MODEL, CARD = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")


def seen(scene):
    """What the network sees of a scene."""
    return normalise(stack_images([scene]))


def logit(scene, target):
    with torch.no_grad():
        return float(MODEL(seen(scene))[0, target])


# ---- what a choice means -------------------------------------------------------------------------


def test_a_choice_without_changes_is_the_scene_as_drawn():
    assert scene_of(Selection(species="Ellipsa_longicornis", seed=24)) == DRAWN


@pytest.mark.parametrize("part", ground_truth.BODY_PARTS)
def test_turning_a_part_off_takes_it_out_of_the_scene(part):
    assert scene_of(Selection(without=(part,))) == DRAWN.without(part)


def test_every_other_change_is_the_scene_s_own():
    assert scene_of(Selection(pattern="striped")) == DRAWN.with_trait(pattern="striped")
    assert scene_of(Selection(ground=3)) == DRAWN.with_background(3)
    assert scene_of(Selection(label=True)) == DRAWN.with_label()
    both = Selection(horn="single", without=("legs",), ground=0, label=True)
    expected = DRAWN.with_trait(horn="single").without("legs").with_background(0).with_label()
    assert scene_of(both) == expected


def test_the_species_own_trait_is_no_change():
    own = SPECIES["Ellipsa_longicornis"]
    same = Selection(**{trait: getattr(own, trait) for trait in TRAITS})
    assert scene_of(same) == DRAWN


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "ResNet"),
        ("species", "Ellipsa"),
        ("seed", -1),
        ("outline", "square"),
        ("pattern", "checked"),
        ("horn", "double"),
        ("antennae", "none"),
        ("ground", -1),
        ("ground", 1.5),
        ("pixel_noise", -0.1),
        ("pixel_noise", math.nan),
        ("pixel_noise", "much"),
        ("target", "beetle"),
        ("method", "magic"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(field, value):
    with pytest.raises(ValueError, match=rf"\b{field}\b.*{re.escape(str(value))[:6]}"):
        run_all(replace(Selection(), **{field: value}))


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("Grad-CAM", "layer", "blocks.9"),
        ("occlusion", "window", 65),
        ("occlusion", "stride", 9),
        ("occlusion", "baseline", "green"),
        ("Integrated Gradients", "steps", 0),
        ("Integrated Gradients", "steps", "many"),
        ("SmoothGrad", "samples", 2.5),
        ("SmoothGrad", "noise", -1.0),
        ("LRP", "rule", "alpha"),
        ("DeepLIFT", "baseline", "green"),
    ],
)
def test_an_option_that_is_not_allowed_is_named(method, field, value):
    with pytest.raises(ValueError, match=rf"\b{field}\b.*{re.escape(str(value))}"):
        run_all(replace(Selection(method=method), **{field: value}))


@pytest.mark.parametrize("part", ["label", "wings"])
def test_only_parts_of_the_body_can_be_taken_away(part):
    with pytest.raises(ValueError, match=rf"without.*{part}"):
        run_all(Selection(without=(part,)))


def test_an_unknown_photograph_is_named():
    with pytest.raises(ValueError, match=r"photograph.*holiday"):
        run_all(Selection(network=PHOTO_NETWORK, photograph="holiday"))


# ---- the numbers are those of the rooms ----------------------------------------------------------


def test_pictures_and_logits_before_and_after():
    found = run_model(Selection(without=("horn",)))
    for place, scene in enumerate((DRAWN, DRAWN.without("horn"))):
        assert torch.equal(found.pictures[place], stack_images([scene])[0])
        with torch.no_grad():
            assert torch.equal(found.logits[place], MODEL(seen(scene))[0])
    assert found.changed
    assert found.classes == tuple(CARD["classes"])
    assert not run_model(Selection()).changed


def test_the_class_explained():
    away = {"without": ("horn",)}
    before, after = MODEL(seen(DRAWN)).argmax(), MODEL(seen(DRAWN.without("horn"))).argmax()
    assert before != after
    assert run_model(Selection(**away)).target == before
    assert run_model(Selection(target="after", **away)).target == after
    assert run_model(Selection(target="Globaria_cincta", **away)).target == 5


def test_the_truth_is_the_answer_key():
    scene = DRAWN.with_trait(pattern="spotted").with_label()
    found = run_model(Selection(pattern="spotted", label=True, target="Ellipsa_longicornis"))
    key = ground_truth.ground_truth_effects(MODEL, [scene], 1)[0]
    assert {p.name: p.effect for p in found.parts} == dict(zip(PARTS, key.tolist(), strict=True))
    assert all(p.present for p in found.parts)


def test_a_part_taken_away_keeps_its_row_and_is_worth_what_the_logit_lost():
    found = run_model(Selection(without=("horn", "legs")))
    rows = {p.name: p for p in found.parts}
    assert [name for name, p in rows.items() if not p.present] == ["horn", "legs"]
    gone = DRAWN.without("horn").without("legs")
    for name, back in (("horn", DRAWN.without("legs")), ("legs", DRAWN.without("horn"))):
        expected = logit(back, found.target) - logit(gone, found.target)
        assert rows[name].effect == pytest.approx(expected, abs=1e-4)
    alone = run_model(Selection(without=("horn",)))
    lost = float(alone.logits[0, alone.target] - alone.logits[1, alone.target])
    assert {p.name: p.effect for p in alone.parts}["horn"] == pytest.approx(lost, abs=1e-4)


def test_the_pattern_goes_with_the_wing_cases():
    found = run_model(Selection(species="Globaria_maculata", without=("elytra",)))
    assert "pattern" not in {p.name for p in found.parts}
    assert "pattern" in {p.name for p in found.before}


BLACK = normalise(torch.zeros(1, 3, 1, 1))
DIRECT = {
    "gradient": ({}, lambda x, t: gradient(MODEL, x, t)),
    "Grad-CAM": ({"layer": "blocks.1"}, lambda x, t: grad_cam(MODEL, x, t, layer="blocks.1")),
    "SmoothGrad": (
        {"samples": 3, "noise": 0.3},
        lambda x, t: smooth_grad(MODEL, x, t, samples=3, noise=0.3),
    ),
    "occlusion": (
        {"window": 16, "stride": 8, "baseline": "black"},
        lambda x, t: occlusion(MODEL, x, t, window=16, stride=8, baseline=BLACK),
    ),
    "Integrated Gradients": (
        {"steps": 4, "baseline": "black"},
        lambda x, t: integrated_gradients(MODEL, x, t, steps=4, baseline=BLACK),
    ),
    "DeepLIFT": ({"baseline": "blur"}, lambda x, t: deeplift(MODEL, x, t, baseline="blur")),
    "LRP": ({"rule": "epsilon"}, lambda x, t: lrp(MODEL, x, t, rule="epsilon")),
}


@pytest.mark.parametrize("method", DIRECT)
def test_maps_parts_and_scores_equal_direct_calls(method):
    options, direct = DIRECT[method]
    found = run_all(Selection(without=("legs",), method=method, **options))
    gone = DRAWN.without("legs")
    expected = [direct(seen(scene), found.target)[0].sum(0) for scene in (DRAWN, gone)]
    torch.testing.assert_close(found.maps, torch.stack(expected), rtol=1e-4, atol=1e-5)
    sums = scores.part_relevance(expected[1][None, None], [gone])
    rows = {p.name: p.relevance for p in found.parts}
    for part in ("elytra", "head", "horn", "antennae"):
        assert rows[part] == pytest.approx(float(sums[0, PARTS.index(part)]), rel=1e-3, abs=1e-4)
    with_legs = scores.part_relevance(expected[0][None, None], [DRAWN])
    assert rows["legs"] == pytest.approx(float(with_legs[0, 5]), rel=1e-3, abs=1e-4)
    key = ground_truth.ground_truth_effects(MODEL, [gone], found.target)
    assert found.score == pytest.approx(float(scores.spearman_with_truth(sums, key)))
    edges = scores.part_relevance(null_maps.edge_map(MODEL, seen(gone)), [gone])
    assert found.null == pytest.approx(float(scores.spearman_with_truth(edges, key)))


def test_every_method_of_the_course_is_offered_and_runs():
    named = {"IG, black", "IG, mean", "IG, blur"}  # one method with a baseline, here
    course = set(catalogue._course_methods()) - named | {"Integrated Gradients"}
    assert set(METHODS) == course
    choices = {field.name for field in fields(Selection)}
    for method, options in METHODS.items():
        assert set(options) <= choices
        found = run_all(Selection(method=method, steps=1, samples=1, window=32, stride=32))
        assert found.maps.shape == (2, 64, 64)
        assert math.isfinite(found.score)


def test_noise_is_added_to_the_pixels_of_every_picture_that_is_compared():
    found = run_model(Selection(pixel_noise=0.2))
    clean, noisy = stack_images([DRAWN]), found.pictures[1:]
    grain = 0.2 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(24))
    torch.testing.assert_close(noisy, (clean + grain).clamp(0, 1))
    gone = normalise((stack_images([DRAWN.without("horn")]) + grain).clamp(0, 1))
    with torch.no_grad():
        fall = (MODEL(normalise(noisy)) - MODEL(gone))[0, found.target]
    assert {p.name: p.effect for p in found.parts}["horn"] == pytest.approx(float(fall), abs=1e-4)
    assert torch.equal(found.pictures[:1], clean)


def test_a_photograph_has_a_map_and_no_key():
    found = run_all(Selection(network=PHOTO_NETWORK, photograph="coffee", method="gradient"))
    net = catalogue.network(PHOTO_NETWORK)
    image = net.transform(photographs.photograph("coffee"))[None]
    torch.testing.assert_close(net.to_input(found.pictures[:1]), image, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(found.logits[:1], net.model(image), rtol=1e-3, atol=1e-3)
    assert found.classes[found.target] == "espresso"
    assert found.maps.shape == (2, 224, 224)
    assert found.parts == found.before == ()
    assert math.isnan(found.score)
    assert math.isnan(found.null)


def test_black_is_black_for_the_network_of_photographs():
    net = catalogue.network(PHOTO_NETWORK)
    black = catalogue.explainer(PHOTO_NETWORK, "DeepLIFT", {"baseline": "black"}).keywords[
        "baseline"
    ]
    assert net.transform(Image.new("RGB", (300, 300))).unique() == black.unique()


def test_expected_gradients_compare_a_photograph_with_all_others():
    explained = catalogue.explainer(PHOTO_NETWORK, "expected gradients", {"steps": 1}, "moon")
    assert explained.keywords["baselines"].shape == (len(PHOTOGRAPHS) - 1, 3, 224, 224)


# ---- long methods --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("occlusion", {"window": 8, "stride": 4, "baseline": "mean"}),
        ("SmoothGrad", {"samples": 40, "noise": 0.1}),
        ("Integrated Gradients", {"steps": 33, "baseline": "mean"}),
        ("expected gradients", {"steps": 2}),
    ],
)
def test_the_number_of_passes_is_known_beforehand(method, options):
    net = catalogue.network("BeetleNet")
    explained = catalogue.explainer("BeetleNet", method, options)
    count = []
    with net.model.register_forward_hook(lambda *_: count.append(1)):
        explained(net.model, seen(DRAWN), torch.tensor([1]))
    assert catalogue.passes("BeetleNet", method, options) == len(count) > 1


def test_progress_runs_from_0_and_what_is_known_is_not_done_again():
    choice = Selection(seed=900, without=("legs",), method="occlusion", window=4, stride=2)
    shares = []
    run_all(choice, shares.append)
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] < 1
    again = []
    run_all(choice, again.append)
    assert again == []


def test_a_long_method_can_be_given_up_and_leaves_the_network_alone():
    model = catalogue.network("BeetleNet").model
    count = []

    def stop(_share):
        count.append(1)
        if len(count) == 3:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        run_all(Selection(seed=901, method="occlusion", window=2, stride=1), stop)
    assert len(count) == 3
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert not catalogue.one_at_a_time.locked()


def test_layers_are_those_that_give_maps():
    assert catalogue.layers("BeetleNet") == ("stem", "blocks.0", "blocks.1", "blocks.2")
    assert catalogue.layers("article's network") == ("conv1", "conv2", "conv3", "conv4", "pool")
    for layer in catalogue.layers("BeetleNet"):
        assert run_all(Selection(method="Grad-CAM", layer=layer)).maps is not None


# ---- words and tables ----------------------------------------------------------------------------


def test_the_words_say_what_the_numbers_say():
    found = run_all(Selection())
    said = in_words(found)
    assert list(said) == ["Answer", "Truth", "Map", "Score"]
    sure = found.logits[0].softmax(0).max()
    assert said["Answer"] == f"BeetleNet says Ellipsa longicornis, {sure:.0%} sure. It is right."
    best = max(found.parts, key=lambda p: p.effect)
    assert f"The {best.name} are worth most, +{best.effect:.2f}:" in said["Truth"]
    order = sorted(found.parts, key=lambda p: -p.relevance)
    place = [p.name for p in order].index(best.name) + 1
    assert f"Grad-CAM ranks the {best.name} {place}th of {len(order)}" in said["Map"]
    assert f"+{found.score:.2f} for the map, +{found.null:.2f} for a filter" in said["Score"]
    assert "does better" in said["Score"]
    assert found.score < found.null


def test_the_words_on_a_part_taken_away():
    found = run_all(Selection(without=("horn",)))
    said = in_words(found)
    effect = {p.name: p.effect for p in found.parts}["horn"]
    before, after = (float(row[found.target]) for row in found.logits)
    assert said["Change"].startswith("No horn: BeetleNet says Ellipsa polita, ")
    assert said["Truth"] == (
        f"The horn was worth +{effect:.2f}: the logit of Ellipsa longicornis went from "
        f"{before:.2f} to {after:.2f}."
    )
    order = sorted(found.before, key=lambda p: -p.relevance)
    place = [p.name for p in order].index("horn") + 1
    assert place == 3
    assert said["Map"] == f"Grad-CAM had ranked the horn 3rd of 5: the {order[0].name} came first."


def test_a_wrong_answer_is_called_wrong():
    found = run_model(Selection(network="article's network", seed=3))
    assert found.target != 1
    assert "It is wrong: this is Ellipsa longicornis." in in_words(found)["Answer"]


def test_all_changes_are_named():
    found = run_model(
        Selection(
            without=("legs",), horn="none", outline="round", ground=3, label=True, pixel_noise=0.1
        )
    )
    named = ["no legs", "outline round", "no horn", "other ground", "museum label", "noise 0.10"]
    assert changes(found) == named


def test_a_beetle_without_parts_has_words_too():
    found = run_all(Selection(without=ground_truth.BODY_PARTS))
    assert in_words(found)["Truth"].startswith("No part is left: ")
    assert math.isnan(found.score)


def test_the_words_on_a_photograph():
    found = run_all(Selection(network=PHOTO_NETWORK, photograph="coffee", method="Grad-CAM"))
    said = in_words(found)
    assert list(said) == ["Answer", "Truth", "Map"]
    assert "no answer key" in said["Truth"]
    most = adaptive_avg_pool2d(found.maps[1:], 3).argmax()
    assert most == 1
    assert said["Map"] == "Grad-CAM, for espresso: most relevance at the top."
    assert part_table(found) == score_table(found) == ""
    assert class_table(found).count('scope="row"') == 5


def test_the_table_holds_the_numbers_of_all_parts():
    found = run_all(Selection(without=("horn",), method="LRP"))
    rows = re.findall(r'<tr class="([^"]*)" data-part="(\w+)">(.*?)</tr>', part_table(found))
    assert [name for _, name, _ in rows] == [p.name for p in found.parts]
    for (kind, name, cells), part in zip(rows, found.parts, strict=True):
        numbers = re.findall(r"<td>([^<]*)</td>", cells)
        expected = [f"{value:+.2f}".replace("-", "−") for value in (part.effect, part.relevance)]
        assert [n if n != "0" else "+0.00" for n in numbers] == expected
        assert (kind == "bx-away") == (name == "horn")


def test_every_picture_has_its_own_text():
    html = pictures(run_all(Selection(without=("horn",))))
    alts = re.findall(r'<img alt="([^"]+)"', html)
    assert len(set(alts)) == html.count("<img") == 4
    assert alts[0] == "Beetle 24, Ellipsa longicornis, as drawn."
    assert alts[2] == "Beetle 24, Ellipsa longicornis, no horn."
    assert alts[1].startswith("Map of Grad-CAM for Ellipsa longicornis: most relevance on the ")


def test_bars_begin_at_zero_and_end_at_their_number():
    found = run_all(Selection(method="LRP"))
    table = part_table(found)
    low, high = (f([0.0, *(p.effect for p in found.parts)]) for f in (min, max))
    zero = 100 * -low / (high - low)
    row = re.search(r'data-part="horn">.*?<i style="left:([\d.]+)%;width:([\d.]+)%', table)
    effect = {p.name: p.effect for p in found.parts}["horn"]
    assert float(row[1]) == pytest.approx(zero, abs=0.06)
    assert float(row[2]) == pytest.approx(100 * effect / (high - low), abs=0.06)


# ---- the thread ----------------------------------------------------------------------------------


def test_only_the_newest_request_is_done():
    done, begun, go_on = [], Event(), Event()

    def work(request):
        begun.set()
        assert go_on.wait(60)
        done.append((request, latest.waiting()))

    latest = Latest(work)
    latest.ask(0)
    assert begun.wait(60)
    assert not latest.waiting()
    for request in (1, 2, 3):
        latest.ask(request)
    go_on.set()
    latest.join()
    assert done == [(0, True), (3, False)]
    latest.ask(4)  # the thread has ended, and a new one begins
    latest.join()
    assert done[-1] == (4, False)


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
    (found,) = [widget for widget in inside(app) if f"bx-{name}" in widget._dom_classes]
    return found


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
    found = run_all(Selection(method="LRP", rule="epsilon", without=("horn",)))
    settles(app, "pictures", pictures(found))
    settles(app, "score", score_table(found))
    settles(app, "classes", class_table(found))
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
        ground=controls.GROUNDS["moss"],
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
        (name, name) for name in catalogue.layers("article's network")
    )


def test_another_species_brings_its_own_traits():
    app = explorer(Selection(method="gradient"))
    control(app, "species").value = "Globaria_maculata"
    assert [control(app, trait).value for trait in TRAITS] == ["round", "spotted", "single", "long"]
    found = run_all(Selection(method="gradient", species="Globaria_maculata"))
    settles(app, "parts", part_table(found))


def test_an_error_is_a_sentence_and_goes_again():
    app = explorer(Selection(network="article's network", method="DeconvNet"))
    end = time.monotonic() + 60
    while not control(app, "error-view").value and time.monotonic() < end:
        time.sleep(0.02)
    assert "no ReLU in its forward pass" in control(app, "error-view").value
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
    expected = views(run_all(choice))
    state._map.cache_clear()
    app = explorer(choice)
    settles(app, "pictures", expected["pictures"])
    settles(app, "parts", expected["parts"])


def test_only_the_options_of_the_method_are_shown():
    app = explorer(Selection(method="Grad-CAM"))
    options = {option for row in METHODS.values() for option in row}
    for method, own in METHODS.items():
        control(app, "method").value = method
        shown = {name for name in options if control(app, name).layout.display != "none"}
        assert shown == set(own)


def test_a_photograph_hides_what_belongs_to_beetles():
    app = explorer()
    assert control(app, "photograph").layout.display == "none"
    control(app, "network").value = PHOTO_NETWORK
    assert control(app, "photograph").layout.display == ""
    for box in inside(app):
        children = getattr(box, "children", ())
        if control(app, "species") in children or control(app, "label") in children:
            assert box.layout.display == "none"


def test_what_is_not_there_cannot_be_taken_away():
    app = explorer()  # plain, with a horn
    assert control(app, "has-pattern").disabled
    assert not control(app, "has-horn").disabled
    control(app, "pattern").value = "striped"
    assert not control(app, "has-pattern").disabled
    control(app, "has-elytra").value = False
    assert control(app, "has-pattern").disabled
    assert not control(app, "has-elytra").disabled


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


def test_the_grounds_are_what_they_are_called():
    for name, seed in controls.GROUNDS.items():
        kind = np.random.default_rng((seed, 3)).integers(len(KINDS))  # as paint_ground draws it
        assert KINDS[kind] == name


def test_every_network_opens():
    for name in NETWORKS:
        net = catalogue.network(name)
        assert not net.model.training
        assert len(set(net.classes)) == len(net.classes)  # a class is chosen by its name
        shown = torch.rand(1, 3, net.size, net.size)
        if net.transform is None:
            torch.testing.assert_close(denormalise(net.to_input(shown)), shown)
        assert net.model(net.to_input(shown)).shape == (1, len(net.classes))
