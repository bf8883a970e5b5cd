"""Every function can be taken along: pasted into an empty file, it gives the same result."""

import inspect
import subprocess
import sys
import textwrap

import pytest
import torch
from stock_networks import network, pictures

from tools.lessons.outputs import ROOT
from xai_course import fully_connected, relu, residual
from xai_course.fully_connected import class_activation_map, contrast
from xai_course.residual import expected_gradients, integrated_gradients, occlusion
from xai_course.snippets import definitions, snippet

ROOMS = (relu, fully_connected, residual)
PUBLIC = [getattr(room, name) for room in ROOMS for name in room.__all__]
OPTIONS = {
    "smooth_grad": {"samples": 2},
    "block_map": {"block": 1},
    "occlusion": {"window": 16, "stride": 16},
    "integrated_gradients": {"steps": 2},
    "expected_gradients": {"steps": 2, "baselines": pictures(2, seed=5)},
}


def explains(function):
    """Say whether a public function has the one signature of an explainer."""
    if isinstance(function, type):
        return False
    signature = inspect.signature(function)
    first = list(signature.parameters)[:3]
    return first == ["model", "images", "targets"] and signature.return_annotation == "Tensor"


EXPLAINERS = [function for function in PUBLIC if explains(function)]


def test_all_explainers_are_here():
    assert {"gradient", "grad_cam", "class_activation_map", "deeplift", "lrp"} <= {
        function.__name__ for function in EXPLAINERS
    }
    assert len(EXPLAINERS) >= 15


@pytest.mark.parametrize("function", EXPLAINERS, ids=lambda function: function.__name__)
def test_little_has_to_be_carried(function):
    explainers = [explainer.__name__ for explainer in EXPLAINERS]
    carried = [name for _, name in definitions(function) if name not in explainers]
    assert len(carried) <= 3, f"too much to carry: {carried}"


def test_pasted_into_an_empty_file_each_runs_and_gives_the_same(tmp_path):
    torch.save((network("resnet18"), pictures()), tmp_path / "case.pt")
    torch.save(OPTIONS, tmp_path / "options.pt")
    for function in EXPLAINERS:
        (tmp_path / f"{function.__name__}.py").write_text(snippet(function), encoding="utf-8")
    names = [function.__name__ for function in EXPLAINERS]
    code = f"""
        import runpy, sys, torch
        sys.modules["xai_course"] = None
        model, images = torch.load("case.pt", weights_only=False)
        options = torch.load("options.pt", weights_only=False)
        results = {{}}
        for name in {names!r}:
            pasted = runpy.run_path(name + ".py")
            results[name] = pasted[name](model, images, **options.get(name, {{}}))
        torch.save(results, "results.pt")
    """
    (tmp_path / "all.py").write_text(textwrap.dedent(code), encoding="utf-8")
    subprocess.run([sys.executable, "all.py"], cwd=tmp_path, check=True, timeout=300)
    results = torch.load(tmp_path / "results.pt")
    for function in EXPLAINERS:
        name = function.__name__
        expected = function(network("resnet18"), pictures(), **OPTIONS.get(name, {}))
        assert torch.equal(results[name], expected), name


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_every_public_function_can_be_taken_along(function):
    text = snippet(function)
    assert "import xai_course" not in text
    assert "from xai_course" not in text
    empty = {"__name__": "pasted"}
    exec(compile(text, "pasted.py", "exec"), empty)
    assert empty[function.__name__].__doc__ == function.__doc__


def test_the_function_stands_last_and_its_needs_before_it():
    text = snippet(occlusion)
    assert text.startswith("from __future__ import annotations\n\nimport torch\n")
    assert text.index("def prepare") < text.index("def occlusion")
    assert text.rstrip().splitlines()[-1].strip().startswith("return")


def test_functions_together_share_what_they_need():
    text = snippet(class_activation_map, contrast, integrated_gradients, expected_gradients)
    assert text.count("\ndef prepare(") == 1


@pytest.mark.parametrize("function", EXPLAINERS, ids=lambda function: function.__name__)
def test_the_readme_names_every_explainer(function):
    named = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"`{function.__name__}`" in named


@pytest.mark.parametrize("stranger", [torch.relu, len, print])
def test_a_stranger_is_refused(stranger):
    with pytest.raises(ValueError, match=r"^functions: got .*; allowed are functions of xai"):
        snippet(stranger)
