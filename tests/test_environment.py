"""The check of the reader's machine: each miss is named and comes with its remedy."""

import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import pytest
import torch

from tools.lessons.outputs import ROOT
from xai_course import environment
from xai_course.beetlebox import SPECIES
from xai_course.environment import CHECKPOINTS, PACKAGES, check_machine
from xai_course.models import BeetleNet
from xai_course.storage import save_checkpoint


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The ImageNet network has tests of its own; here it is only asked for."""
    network = (torch.nn.Identity(), None, ("a",) * 1000)
    monkeypatch.setattr("xai_course.models.pretrained.photo_network", lambda: network)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A data folder that has every checkpoint."""
    torch.manual_seed(0)
    for name in CHECKPOINTS:
        model = BeetleNet(classes=len(SPECIES))
        save_checkpoint(
            tmp_path / "checkpoints" / name, model, classes=list(SPECIES), accuracy=0.995
        )
    monkeypatch.setenv("XAI_COURSE_DATA", str(tmp_path))
    return tmp_path


def line(name: str) -> str:
    (found,) = [line for line in check_machine() if line[2:].startswith(f"{name}:")]
    return found


def missed(name: str) -> tuple[str, str]:
    """What is wrong with the thing of this name, and the remedy."""
    mark, _, rest = line(name).partition(f" {name}: ")
    what, _, remedy = rest.partition(" → ")
    assert mark == "✗"
    assert what
    assert remedy
    return what, remedy


def test_a_machine_with_everything(folder, monkeypatch):
    monkeypatch.setattr(environment, "_meminfo", lambda: "MemAvailable:   8000000 kB")
    lines = check_machine()
    assert [text for text in lines if not text.startswith("✓")] == ["everything is here"]
    assert (
        line("beetle_net") == "✓ beetle_net: trained and whole, right on 99.5% of its test images"
    )
    assert line("torch") == f"✓ torch: {torch.__version__.split('+')[0]}"
    assert not list(folder.glob("tmp*")), "it leaves nothing behind"


def test_an_old_python(folder, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 2, "final", 0))
    what, remedy = missed("Python")
    assert "3.10.2 is too old" in what
    assert "3.11 or newer" in remedy
    assert check_machine()[-1] == "one thing needs your attention, see ✗"


@pytest.mark.parametrize("module", ["torchvision", "skimage"])
def test_a_package_that_is_not_there(folder, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)  # importing it raises ModuleNotFoundError
    name = {"skimage": "scikit-image"}.get(module, module)
    what, remedy = missed(name)
    assert what == "not installed"
    assert "make lab" in remedy
    assert "requirements.lock" in remedy


def test_a_package_that_is_broken(folder, monkeypatch):
    real = importlib.import_module

    def broken(name):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist\nand so on")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    what, remedy = missed("torchvision")
    assert what == "installed but broken (operator torchvision::nms does not exist)"
    assert "make lab" in remedy


@pytest.mark.parametrize(
    ("version", "mark"), [("2.5.1", "✗"), ("2.6.0+cpu", "✓"), ("2.10", "✓"), ("10.0", "✓")]
)
def test_versions_are_compared_as_numbers(folder, monkeypatch, version, mark):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: version if name == "torch" else real(name)
    )
    assert line("torch").startswith(mark)


def test_a_data_folder_that_cannot_be_written_to(folder, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(environment.tempfile, "TemporaryFile", refuse)
    what, remedy = missed("data folder")
    assert what == f"{folder} cannot be written to (Permission denied)"
    assert "XAI_COURSE_DATA" in remedy


def test_a_data_folder_that_is_a_file(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("XAI_COURSE_DATA", str(folder / "file"))
    assert "must be a folder" in missed("data folder")[1]
    missed("disk")
    missed("beetle_net")


def test_a_full_disk(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2e8))
    what, remedy = missed("disk")
    assert "0.2 GB free" in what
    assert "make room" in remedy


def test_little_memory(folder, monkeypatch):
    monkeypatch.setattr(
        environment, "_meminfo", lambda: "MemFree: 1 kB\nMemAvailable:   900000 kB\n"
    )
    what, remedy = missed("memory")
    assert "0.9 GB free" in what
    assert "Shut Down All Kernels" in remedy
    monkeypatch.setattr(environment, "_meminfo", lambda: "")
    assert line("memory") == "✓ memory: not measured on this system"


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_is_missing_or_damaged(folder, monkeypatch, name):
    weights = folder / "checkpoints" / f"{name}.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    what, remedy = missed(name)
    assert "damaged" in what
    assert remedy == f"copy the course's data/checkpoints to {folder / 'checkpoints'}"
    weights.with_suffix(".json").unlink()
    assert missed(name)[0] == f"missing in {folder / 'checkpoints'}"
    monkeypatch.delenv("XAI_COURSE_DATA")
    monkeypatch.setattr("xai_course.core.paths.data_folder", lambda: folder)
    assert "make checkpoints" in missed(name)[1]
    others = [other for other in CHECKPOINTS if other != name]
    assert all(line(other).startswith("✓") for other in others)


def test_an_imagenet_network_that_is_damaged(folder, monkeypatch):
    def refuse():
        raise ValueError("weights: x.pth has the SHA-256 of another file")

    monkeypatch.setattr("xai_course.models.pretrained.photo_network", refuse)
    what, remedy = missed("ImageNet network")
    assert "SHA-256" in what
    assert "make lab" in remedy


def test_a_photograph_that_is_gone(folder, monkeypatch):
    from xai_course.data import photograph

    def refuse(name):
        if name == "coffee":
            raise ConnectionError("no network")
        return photograph(name)

    monkeypatch.setattr("xai_course.data.photographs.photograph", refuse)
    what, remedy = missed("photographs")
    assert what == "coffee cannot be opened (ConnectionError)"
    assert "scikit-image" in remedy


def test_nothing_that_goes_wrong_is_raised(folder, monkeypatch):
    def explode(*_):
        raise RuntimeError("something\nunheard of")

    monkeypatch.setattr("xai_course.storage.checkpoints.load_checkpoint", explode)
    what, remedy = missed("beetle_net")
    assert what == "RuntimeError: something"
    assert remedy == environment.INSTALL


def test_the_packages_are_those_of_pyproject():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    oldest = dict(re.split(">=", text.strip()) for text in listed["dependencies"])
    assert {name: version for name, (version, _) in PACKAGES.items()} == {
        name: oldest[name] for name in PACKAGES
    }
    assert listed["requires-python"] == ">=" + ".".join(map(str, environment.PYTHON))


def test_importing_it_loads_nothing():
    code = """
import sys
import xai_course.environment
loaded = [name for name in ("torch", "numpy", "torchvision", "skimage", "PIL", "matplotlib")
          if name in sys.modules]
assert not loaded, loaded
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
