"""A reader's own file: with its neighbours, whatever its name, and nothing is left of it."""

import copy
import sys
from types import ModuleType

import pytest

from xai_course.report import load_model
from xai_course.report.user_code import call_user_function

NETWORK = """
from torch import nn
{imports}
def network():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES))
"""


@pytest.fixture(autouse=True)
def nothing_is_left():
    modules, path, finders = dict(sys.modules), list(sys.path), list(sys.meta_path)
    yield
    left = {name for name in sys.modules if name not in modules}
    assert not {name for name in left if name.split(".")[0] in ("blocks", "parts", "model", "copy")}
    assert not {name for name in left if name.startswith("_user_code")}
    assert all(sys.modules[name] is modules[name] for name in modules if name in sys.modules)
    assert (sys.path, sys.meta_path) == (path, finders)


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def classes_of(file):
    return len(load_model(f"{file}:network").classes)


@pytest.mark.parametrize(
    "imports",
    [
        "from blocks import CLASSES",
        "import blocks; CLASSES = blocks.CLASSES",
        "from .blocks import CLASSES",
        "from parts.deep import CLASSES",
        "import parts.deep; CLASSES = parts.deep.CLASSES",
    ],
)
@pytest.mark.parametrize("name", ["model.py", "copy.py", "torchvision.py"])
def test_a_file_imports_what_lies_beside_it(tmp_path, imports, name):
    write(tmp_path, "blocks.py", "CLASSES = 4")
    write(tmp_path, "parts/deep.py", "import blocks\nCLASSES = blocks.CLASSES")
    assert classes_of(write(tmp_path, name, NETWORK.format(imports=imports))) == 4


def test_also_when_the_function_is_called(tmp_path):
    text = NETWORK.replace("    return", "    from blocks import CLASSES\n    return")
    write(tmp_path, "blocks.py", "CLASSES = 4")
    assert classes_of(write(tmp_path, "model.py", text.format(imports=""))) == 4


def test_two_projects_do_not_mix(tmp_path):
    for count in (4, 5, 6):
        folder = tmp_path / str(count)
        write(folder, "blocks.py", f"CLASSES = {count}")
        write(folder, "model.py", NETWORK.format(imports="from blocks import CLASSES"))
    assert [classes_of(tmp_path / str(count) / "model.py") for count in (4, 5, 6, 4)] == [
        4,
        5,
        6,
        4,
    ]


def test_a_module_of_the_same_name_comes_back(tmp_path, monkeypatch):
    blocks = ModuleType("blocks")
    blocks.__file__ = str(tmp_path / "mine" / "blocks.py")
    monkeypatch.setitem(sys.modules, "blocks", blocks)
    write(tmp_path / "other", "blocks.py", "CLASSES = 4")
    text = NETWORK.format(imports="from blocks import CLASSES")
    assert classes_of(write(tmp_path / "other", "model.py", text)) == 4
    assert sys.modules["blocks"] is blocks


def test_a_file_in_a_package_imports_from_it(tmp_path):
    for name in ("parts/__init__.py", "parts/nets/__init__.py"):
        write(tmp_path, name, "")
    write(tmp_path, "parts/sizes.py", "CLASSES = 4")
    file = write(
        tmp_path, "parts/nets/model.py", NETWORK.format(imports="from ..sizes import CLASSES")
    )
    assert classes_of(file) == 4


def test_modules_of_python_are_not_replaced(tmp_path):
    """A file of the same name beside the network, and the network's own file."""
    write(tmp_path, "statistics.py", "raise RuntimeError('not this one')")
    text = NETWORK.format(imports="import copy, statistics\nCLASSES = copy.copy(4)")
    assert classes_of(write(tmp_path, "copy.py", text)) == 4
    assert sys.modules["copy"] is copy
    assert copy.deepcopy([1]) == [1]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("import blocks\nraise KeyError('no')", ImportError, "KeyError: 'no'"),
        ("import nowhere_at_all", ImportError, "No module named 'nowhere_at_all'"),
        ("def network(:", ImportError, "SyntaxError"),
        ("raise SystemExit(2)", ImportError, "SystemExit: 2"),
        ("import sys, blocks\nsys.path.append('/tmp/x')", ImportError, "no attribute 'network'"),
        ("def network():\n    import blocks\n    raise KeyError('no')", RuntimeError, "KeyError"),
        ("def network():\n    raise SystemExit(2)", RuntimeError, "SystemExit: 2"),
    ],
)
def test_after_an_error_nothing_is_left(tmp_path, text, kind, words):
    write(tmp_path, "blocks.py", "")
    file = write(tmp_path, "model.py", text)
    with pytest.raises(kind, match=words):
        call_user_function(str(file), "network")


def test_a_module_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "blocks.py", "CLASSES = 4")
    write(tmp_path, "model.py", NETWORK.format(imports="from blocks import CLASSES"))
    assert len(load_model("model:network").classes) == 4
    with pytest.raises(ImportError, match="No module named 'missing'"):
        call_user_function("missing", "network")


def test_a_class_is_built_and_a_network_is_taken_as_it_is(tmp_path):
    text = "from torch import nn\nclass Net(nn.Flatten): pass\nnetwork = nn.Flatten()"
    file = write(tmp_path, "model.py", text)
    assert type(call_user_function(str(file), "Net")).__name__ == "Net"
    assert type(call_user_function(str(file), "network")).__name__ == "Flatten"
