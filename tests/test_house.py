"""How the package is laid out: imports run one way, and importing is light."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tools.lessons.outputs import ROOT

PACKAGE = ROOT / "xai_course"

# From the bottom up. A room may import rooms of lower floors; the rooms of one floor stand side by
# side and do not import one another, except those of `ALSO`.
FLOORS = (
    {"core"},
    {"data", "plots"},
    {"relu", "fully_connected", "residual", "metrics", "beetlebox", "models"},
    {"robustness", "storage"},
    {"training"},
    {"methods", "snippets"},
    {"exercises", "explorer", "report", "experiments", "environment", "__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ALSO = {
    ("exercises", "experiments"),  # the checks of lessons 10 to 13 look at their tables
    ("__main__", "environment"),
}

# What knows neither the beetles nor image files, not even through others.
FOR_ANY_MODEL = ("core", "relu", "fully_connected", "residual", "metrics", "robustness/attacks")

# What an import must not load before it is needed, and the rooms that need it from the start.
HEAVY = ("torchvision", "skimage", "ipywidgets", "matplotlib", "pandas", "IPython")
HEAVY_ROOMS = {"plots", "explorer", "experiments", "exercises", "environment", "__main__"}


def modules():
    """The files of the package: `relu/grad_cam`, but no faces."""
    files = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(file.as_posix() for file in files if file.name != "__init__")


MODULES = modules()


def imported(source, module="x"):
    """The modules of the package that a text imports, anywhere in it and however it is spelt."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ["xai_course", *module.split("/")][: -node.level]
                base = ".".join([*above, *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        found |= {name.partition(".")[2] for name in names if name.startswith("xai_course.")}
    return {resolve(name) for name in found - {"__version__"}}


def resolve(name):
    """The module that a dotted name lies in: `relu.grad_cam.grad_cam` in `relu/grad_cam`."""
    path = Path(*name.split("."))
    while path.name and path.as_posix() not in MODULES:
        if (PACKAGE / path).is_dir():
            return path.as_posix()
        path = path.parent
    return path.as_posix()


IMPORTS = {
    module: imported((PACKAGE / f"{module}.py").read_text("utf-8"), module) for module in MODULES
}


def room(module):
    return module.partition("/")[0]


def test_imports_are_seen_however_they_are_spelt():
    for source in (
        "import xai_course.relu.gradients",
        "import torch, xai_course.relu.gradients as r",
        "from xai_course.relu import gradients",
        "from xai_course.relu.gradients import gradient",
        "from . import gradients",
        "from .gradients import gradient",
        "from ..relu.gradients import gradient",
        "def f():\n    from xai_course.relu.gradients import gradient",
    ):
        assert imported(source, "relu/units") == {"relu/gradients"}, source
    assert imported("from xai_course.relu import gradient") == {"relu"}


def test_every_room_has_a_floor():
    rooms = {room(module) for module in MODULES}
    assert rooms == FLOOR.keys(), "give each room its floor in FLOORS"


def test_imports_run_one_way():
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if room(other) != room(module)
        and FLOOR[room(other)] >= FLOOR[room(module)]
        and (room(module), room(other)) not in ALSO
    ]
    assert not wrong


def test_files_import_from_files_and_not_from_faces():
    faces = [
        f"{module} imports from the face of {other}"
        for module, others in IMPORTS.items()
        for other in others
        if other not in MODULES
    ]
    assert not faces


def test_no_circles():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"files import each other in a circle: {error.args[1]}")


def test_techniques_and_metrics_know_no_beetles():
    for start in MODULES:
        if not start.startswith(FOR_ANY_MODEL):
            continue
        seen, todo = {start}, [start]
        while todo:
            for other in IMPORTS[todo.pop()] - seen:
                seen.add(other)
                todo.append(other)
        reached = {room(module) for module in seen} & {"beetlebox", "data"}
        assert not reached, f"{start} reaches {reached}: {sorted(seen)}"


def test_a_face_defines_nothing():
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent == PACKAGE:
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            plain = isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.Expr)
            assert plain, f"{path}: line {node.lineno} defines something"
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_a_face_hands_out_what_its_files_make_public():
    code = """
import importlib, sys
for room in sys.argv[1:]:
    face = importlib.import_module("xai_course." + room)
    for name in face.__all__:
        assert not isinstance(getattr(face, name), type(sys)), f"{room}.{name} is a module"
"""
    rooms = sorted({room(module) for module in MODULES if "/" in module} - {"exercises"})
    result = subprocess.run(
        [sys.executable, "-c", code, *rooms], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr


def test_importing_the_package_loads_nothing_heavy():
    light = [module.replace("/", ".") for module in MODULES if room(module) not in HEAVY_ROOMS]
    light.remove("beetlebox.guide")  # draws with Matplotlib
    code = f"""
import sys
import xai_course
assert "torch" not in sys.modules and "numpy" not in sys.modules, "xai_course itself"
for module in {light!r}:
    __import__("xai_course." + module)
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, f"import xai_course.{{module}} loads {{loaded}}"
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_world_needs_numpy_alone():
    code = """
import sys
import xai_course.beetlebox.scene
loaded = [name for name in ("torch", "PIL", "scipy") if name in sys.modules]
assert not loaded, loaded
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr
