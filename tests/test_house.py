"""How the house is laid out: imports run one way, and importing is light."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from lesson_outputs import ROOT

PACKAGE = ROOT / "xai_course"

TECHNIQUES = (
    {"relu", "gates", "units"},
    {"fully_connected", "concepts"},
    {"residual", "expectation", "propagation"},
)
# From the bottom up. A room may import rooms of lower floors, and of its own floor where that makes
# no circle; the three techniques never import one another.
FLOORS = {
    "world": {"grounds", "drawing", "beetles"},
    "data": {"folders", "door", "beetlebox", "data"},
    "models": {
        "models",
        "efficientnet",
        "photographs",
        "distributed",
        "repeatable",
        "memory",
        "wrapped",
    },
    "training": {"checkpoints", "resume", "training"},
    "shared by the techniques": {"arguments", "tracing"},
    "techniques": {*TECHNIQUES[0], *TECHNIQUES[1], *TECHNIQUES[2]},
    "judge": {
        "maps",
        "nulls",
        "answer_key",
        "localisation",
        "faithfulness",
        "sanity",
        "judge",
        "grading",
        "attack",
        "defences",
        "smoothing",
        "manipulation",
        "outliers",
    },
    "experiments": {
        "trials",
        "robustness",
        "repairs",
        "forgeries",
        "ladder",
        "costs",
        "scaling",
        "shards",
        "processes",
    },
    "your own": {"own_model", "own_transform", "own_checks", "report", "conclusions"},
    "pictures": {"style", "charts", "graphs", "show", "plates"},
    "app": {
        "explorer",
        "controls",
        "exploring",
        "offers",
        "readout",
        "exercises",
        "machine",
        "snippets",
    },
}
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS.values()) for room in rooms}
ROOMS = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")

# What a room must not load before it is needed, and the rooms this holds for.
HEAVY = ("torchvision", "skimage", "ipywidgets", "matplotlib", "pandas", "IPython")
LIGHT_ROOMS = [room for room in ROOMS if room not in FLOORS["pictures"] | FLOORS["app"]]


def rooms_imported(source: str) -> set[str]:
    """The rooms that a room's text imports, anywhere in it and however it is spelt."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = f"xai_course.{module}".rstrip(".")
            names = [f"{module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("xai_course.")}
    return found - {"__version__"}


IMPORTS = {room: rooms_imported((PACKAGE / f"{room}.py").read_text("utf-8")) for room in ROOMS}


@pytest.mark.parametrize(
    "source",
    [
        "import xai_course.relu",
        "import torch, xai_course.relu as r",
        "from xai_course import relu",
        "from xai_course.relu import gradient",
        "from . import relu",
        "from .relu import gradient",
        "def f():\n    from xai_course.relu import gradient",
    ],
)
def test_imports_are_seen_however_they_are_spelt(source):
    assert rooms_imported(source) == {"relu"}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    assert room in FLOOR, f"{room}.py is new: give it a floor in FLOORS"
    for other in IMPORTS[room]:
        assert other in FLOOR, f"{room}.py imports {other}, which has no floor"
        assert FLOOR[other] <= FLOOR[room], f"{room}.py imports {other}.py from a higher floor"
        for rooms in TECHNIQUES:
            if room in rooms and other not in rooms:
                assert other not in FLOORS["techniques"], f"{room}.py imports {other}.py"


def test_no_circles():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"rooms import each other in a circle: {error.args[1]}")


def test_importing_the_package_loads_nothing_heavy():
    code = f"""
import sys
import xai_course
assert "torch" not in sys.modules and "numpy" not in sys.modules, "xai_course itself"
for room in {LIGHT_ROOMS!r}:
    __import__("xai_course." + room)
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, f"import xai_course.{{room}} loads {{loaded}}"
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_the_world_needs_numpy_alone():
    code = """
import sys
import xai_course.beetles
loaded = [name for name in ("torch", "PIL", "scipy") if name in sys.modules]
assert not loaded, loaded
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_is_over_400_lines(room):
    lines = len((PACKAGE / f"{room}.py").read_text("utf-8").splitlines())
    assert lines <= 400, f"{room}.py has {lines} lines: it wants to be two subjects"
