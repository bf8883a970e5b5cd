"""Every function can be taken along: pasted into an empty file, it gives the same result."""

import ast
import doctest
import importlib
import inspect
import json
import os
import subprocess
import sys
import textwrap
import tomllib

import pytest
import torch
from stock_networks import network, pictures

from tools.lessons.outputs import ROOT
from xai_course import fully_connected, metrics, relu, residual
from xai_course.snippets import build, definitions, snippet
from xai_course.snippets.build import method_alone

ROOMS = (relu, fully_connected, residual)
PUBLIC = [getattr(room, name) for room in ROOMS for name in room.__all__]
MASKS = (pictures(2, seed=3)[:, :1] > 0).double()
CELLS = residual.grid_segments(pictures(2), 3, 4)
COPIED = ("relu", "fully_connected", "residual", "metrics")
NOT_ALONE = {}  # function: why its text does not stand alone
# What is handed over beside model and images, so that each runs in a moment.
OPTIONS = {
    "smooth_grad": {"samples": 2},
    "block_map": {"block": 1},
    "occlusion": {"window": 16, "stride": 16},
    "integrated_gradients": {"steps": 2},
    "expected_gradients": {"steps": 2, "baselines": pictures(2, seed=5)},
    "score_cam": {"layer": "layer1", "batch_size": 32},
    "rise": {"masks": 10},
    "lime": {"samples": 20, "segments": CELLS},
    "lime_coefficients": {"samples": 20, "segments": CELLS},
    "shapley_values": {"samples": 50, "segments": CELLS},
    "deletion_curve": {"steps": 3},
    "insertion_curve": {"steps": 3},
    "deletion": {"steps": 3},
    "insertion": {"steps": 3},
    "infidelity": {"samples": 3},
    "sensitivity_max": {"samples": 2},
    "pointing_game": {"masks": MASKS},
    "relevance_mass": {"masks": MASKS},
}
MEASURES = [
    *(metrics.deletion_curve, metrics.insertion_curve, metrics.deletion, metrics.insertion),
    *(metrics.infidelity, metrics.sensitivity_max, metrics.pointing_game, metrics.relevance_mass),
    *(metrics.randomisation, metrics.randomisation_null),
]
# Of torchvision's classes, so that another process can load them.
NETWORKS = (
    pytest.param("resnet10", marks=pytest.mark.end_to_end),
    pytest.param("resnet18", marks=pytest.mark.heavy),
)


def explains(function):
    """Say whether a public function has the one signature of an explainer."""
    if isinstance(function, type):
        return False
    signature = inspect.signature(function)
    first = list(signature.parameters)[:3]
    return first == ["model", "images", "targets"] and signature.return_annotation == "Tensor"


EXPLAINERS = [function for function in PUBLIC if explains(function)]
each_explainer = pytest.mark.parametrize("function", EXPLAINERS, ids=lambda f: f.__name__)


def lines(*functions):
    return len(snippet(*functions, checks=False).splitlines())


def test_all_explainers_are_here():
    assert {"gradient", "grad_cam", "class_activation_map", "deeplift", "lrp"} <= {
        function.__name__ for function in EXPLAINERS
    }
    assert len(EXPLAINERS) >= 15


# What a method needs besides its own lines: masks, or a game of the image's segments.
LONGER = {
    **dict.fromkeys(["grad_cam_plus_plus", "path_gradients"], 50),
    **dict.fromkeys(["rise", "score_cam"], 65),
    **dict.fromkeys(["lime", "lime_coefficients", "shapley_values"], 100),
}


@each_explainer
def test_the_method_alone_is_short(function):
    assert lines(function) <= LONGER.get(function.__name__, 45)


@pytest.mark.parametrize("function", MEASURES, ids=lambda f: f.__name__)
def test_a_measure_alone_is_short(function):
    assert lines(function) <= 60


def test_several_share_what_they_need():
    text = snippet(relu.gradient, residual.integrated_gradients, residual.expected_gradients)
    assert text.count("\ndef validate_inputs(") == 1
    five = (relu.gradient, relu.grad_cam, residual.integrated_gradients, residual.deeplift)
    assert lines(*five, residual.lrp) <= 150
    assert lines(metrics.deletion, metrics.infidelity, metrics.relevance_mass) <= 150


def test_the_shortest_check_of_arguments_has_ten_lines_at_most():
    text = snippet(relu.gradient, checks=False)
    body = text.partition("def validate_inputs")[2].partition("\n\n")[0]
    assert len(body.splitlines()) <= 10


@pytest.mark.parametrize("which", NETWORKS)
def test_both_forms_run_without_the_package_and_give_the_same(which, tmp_path):
    """One process that cannot import the package runs all texts on a network."""
    cases = {which: (network(which), pictures())}
    torch.save(cases, tmp_path / "cases.pt")
    torch.save(OPTIONS, tmp_path / "options.pt")
    functions = {function.__name__: function for function in [*EXPLAINERS, *MEASURES]}
    for name, function in functions.items():
        for form in ("full", "short"):
            text = snippet(function, checks=form == "full")
            (tmp_path / f"{name}.{form}.txt").write_text(text, encoding="utf-8")
    gradient = snippet(relu.gradient)
    (tmp_path / "gradient.py").write_text(gradient, encoding="utf-8")
    run = textwrap.dedent(
        """
        import pathlib, sys
        import torch
        sys.modules["xai_course"] = None
        from gradient import gradient
        torch.set_num_threads(1)
        cases = torch.load("cases.pt", weights_only=False)
        options = torch.load("options.pt", weights_only=False)
        results = {}
        for path in sorted(pathlib.Path().glob("*.*.txt")):
            name, form, _ = path.name.split(".")
            namespace = {}
            exec(compile(path.read_text("utf-8"), path.name, "exec"), namespace)
            for network, (model, images) in cases.items():
                measure = sys.argv[1:].count(name)
                given = (model, gradient, images) if measure else (model, images)
                result = namespace[name](*given, **options.get(name, {}))
                results[name, form, network] = result
        torch.save(results, "results.pt")
        """
    )
    (tmp_path / "run.py").write_text(run, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-S", "run.py", *(m.__name__ for m in MEASURES)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if "-packages" in p)},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    results = torch.load(tmp_path / "results.pt")
    assert len(results) == 2 * len(functions)
    for (name, form, key), value in results.items():
        model, images = cases[key]
        given = (model, relu.gradient, images) if functions[name] in MEASURES else (model, images)
        ours = functions[name](*given, **OPTIONS.get(name, {}))
        assert value.shape == ours.shape, (name, form, key)
        if form == "full":
            assert torch.equal(value, ours), (name, key)
        else:
            torch.testing.assert_close(value, ours, rtol=1e-9, atol=1e-12, msg=f"{name} {key}")


def examples(room):
    """Each public function of a room with its example: a text for each form, and the example."""
    face = importlib.import_module(f"xai_course.{room}")
    for name in face.__all__:
        function = getattr(face, name)
        if not inspect.isfunction(function) or name in NOT_ALONE:
            continue
        source = (inspect.getdoc(function) or "").partition("Example:")[2]
        needed = {name: function}
        for example in doctest.DocTestParser().get_examples(source):
            for node in ast.walk(ast.parse(example.source)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("xai_course"):
                    home = importlib.import_module(node.module)
                    needed |= {alias.name: getattr(home, alias.name) for alias in node.names}
        yield f"{room}.{name}", [snippet(*needed.values(), checks=c) for c in (True, False)], source


@pytest.mark.end_to_end
def test_examples_run_on_the_text_alone(tmp_path):
    """What the docstrings show is true of both forms, where the package is not installed."""
    cases = [case for room in (*COPIED, "robustness") for case in examples(room)]
    assert len(cases) > 60
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    run = textwrap.dedent(
        """
        import doctest, json, sys
        import torch
        sys.modules["xai_course"] = None
        torch.set_num_threads(1)
        wrong = []
        for name, texts, source in json.load(open("cases.json", encoding="utf-8")):
            for form, text in zip(("full", "short"), texts):
                namespace = {"__name__": "pasted"}
                exec(compile(text, name, "exec"), namespace)
                parser = doctest.DocTestParser()
                test = parser.get_doctest(source, namespace, f"{name}, {form}", None, None)
                test.examples = [e for e in test.examples if "from xai_course" not in e.source]
                runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
                if runner.run(test, out=wrong.append).failed:
                    wrong.append(f"{name}, {form}")
        sys.exit("\\n".join(wrong) if wrong else 0)
        """
    )
    (tmp_path / "run.py").write_text(run, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-6000:]


@pytest.mark.parametrize("unit", ["slope", "sum"])
@pytest.mark.parametrize("channels", [1, 3])
def test_infidelity_alone_takes_the_same_squares_away(unit, channels):
    pasted = {"__name__": "pasted"}
    exec(snippet(metrics.infidelity, checks=False), pasted)
    model = network("resnet10")
    images = pictures(2, 32)[..., :24]
    relevance = pictures(2, 32, seed=9)[:, :channels, :, :24]
    options = {"unit": unit, "perturbation": "squares", "samples": 5}
    found = pasted["infidelity"](model, relevance, images, **options)
    assert torch.allclose(found, metrics.infidelity(model, relevance, images, **options))


def alone(function):
    """The method alone, as pasted."""
    pasted = {"__name__": "pasted"}
    exec(snippet(function, checks=False), pasted)
    return pasted[function.__name__]


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (fully_connected.score_cam, {"weights": "increase", "baseline": "mean", "relu": True}),
        (fully_connected.score_cam, {"layer": "conv2"}),
        (relu.hires_cam, {"layer": "conv2", "relu": True}),
        (residual.rise, {"masks": 9, "cells": 3, "centred": True, "output": "logit"}),
        (residual.rise, {"masks": 2, "cells": 1, "centred": True}),  # some pixels never vary
        (residual.lime, {"samples": 9, "output": "probability", "ridge": 0, "baseline": 0.5}),
        (residual.shapley_values, {"samples": 64, "segments": torch.arange(24) // 4}),
        (residual.shapley_values, {"samples": 8, "segments": torch.arange(24) // 12 - 1}),
        (residual.shapley_values, {"samples": 40, "segments": pictures(2, 32, 9).sigmoid()}),
    ],
)
def test_options_of_the_method_alone_are_those_of_the_full_one(function, options):
    model, images = network("mixed"), pictures(2, 32)[..., :24]
    if "segments" in options:
        labels = options["segments"]
        options["segments"] = labels[..., :24] if labels.ndim == 4 else labels.expand(32, 24)
    found = alone(function)(model, images, **options)
    torch.testing.assert_close(found, function(model, images, **options), rtol=1e-9, atol=1e-12)


def test_segments_of_the_method_alone_may_differ_in_number():
    model, images = network("mixed"), pictures(2, 32)
    labels = torch.stack([torch.arange(32) // 2, torch.arange(32) // 8])[:, None].expand(2, 32, 32)
    for function in (residual.lime, residual.shapley_values):
        options = {"segments": labels, "samples": 64}
        found = alone(function)(model, images, **options)
        torch.testing.assert_close(found, function(model, images, **options))


@pytest.mark.parametrize(
    "options",
    [{}, {"layer": "conv2", "position": (1, 2), "decay": 0.5}, {"layer": "conv3", "jitter": 0}],
)
def test_feature_visualization_alone_gives_the_same_pixels(options):
    given = (network("mixed"), [2, 0])
    options = {"steps": 3, "size": (20, 24), "total_variation": 0.1, "seed": 4, **options}
    options |= {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    found = alone(relu.feature_visualization)(*given, **options)
    expected = relu.feature_visualization(*given, **options)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert lines(relu.feature_visualization) <= 65


def test_representer_points_alone_add_up_to_the_same():
    model, images = network("mixed"), pictures(6, 32)
    fit = fully_connected.fit_representer(model, images)
    own_fit = alone(fully_connected.fit_representer)(model, images)
    torch.testing.assert_close(own_fit.alphas, fit.alphas)
    expected = fully_connected.representer_points(fit, model, images, 1)
    found = alone(fully_connected.representer_points)(own_fit, model, images, 1)
    torch.testing.assert_close(tuple(found), tuple(expected))


def test_lrp_alone_knows_the_rule_gamma():
    namespace = {}
    exec(snippet(residual.lrp, checks=False), namespace)
    given = (network("small_resnet"), pictures())
    ours = residual.lrp(*given, rule="gamma")
    torch.testing.assert_close(namespace["lrp"](*given, rule="gamma"), ours)
    assert not torch.allclose(ours, residual.lrp(*given))


def test_a_header_says_where_it_comes_from():
    for checks in (True, False):
        first, second = snippet(relu.grad_cam, checks=checks).splitlines()[:2]
        assert first.startswith("# grad_cam")
        assert "Beetle in a Box 0.2.0, xai_course/relu/grad_cam.py" in first
        assert ("nothing is checked" in first) == (not checks)
        assert "MIT licence" in second
        assert "torch 2.14.1" in second


def test_the_versions_of_the_header_are_those_of_the_lock():
    lock = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    for name, version in build.TESTED.items():
        assert f"{name}=={version}" in [line.partition(" ;")[0] for line in lock]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == f">={build.PYTHONS.split()[0]}"


def test_no_text_names_the_package():
    for function in EXPLAINERS:
        for checks in (True, False):
            text = snippet(function, checks=checks)
            assert "import xai_course" not in text
            assert "from xai_course" not in text.replace("    >>> from xai_course", "")


def test_what_is_ceremony_goes_and_the_rest_stays():
    source = textwrap.dedent(
        '''
        def f(x, steps: int = 3, progress: bool = False):
            """Return x.

            More.
            """
            check_count("steps", steps)
            if x < 0:
                raise ValueError("no")
            try:
                y = g(x)
            except KeyError as error:
                raise ValueError("no") from error
            for k in progress_bar(range(steps), "label", progress):
                y += k
            return y
        '''
    ).strip()
    alone = textwrap.dedent(
        '''
        def f(x, steps: int = 3):
            """Return x."""
            y = g(x)
            for k in range(steps):
                y += k
            return y
        '''
    ).strip()
    assert method_alone(source) == alone


@each_explainer
def test_the_readme_names_every_explainer(function):
    named = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"`{function.__name__}`" in named


def test_definitions_come_before_what_needs_them():
    names = [name for _, name in definitions(residual.expected_gradients)]
    assert names.index("validate_inputs") < names.index("expected_gradients")
    assert names[-1] == "expected_gradients"


@pytest.mark.parametrize("stranger", [torch.relu, len, print])
def test_a_stranger_is_refused(stranger):
    with pytest.raises(ValueError, match=r"^functions: got .*; must be functions of xai_course"):
        snippet(stranger)


def test_the_short_copy_of_count_passes_leaves_no_hook():
    """`finally` is no check: without it the hook would stay."""
    model, images, pasted = network("small_resnet"), pictures(2), {}
    exec(snippet(metrics.count_passes, checks=False), pasted)
    assert pasted["count_passes"](model, lambda: model(images)) == (2, 0)
    assert not model._forward_hooks
