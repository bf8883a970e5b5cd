"""The README's way from training to the report runs as it stands, on a few small pictures."""

import re

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet18

from tools.lessons.outputs import ROOT
from xai_course.data import load_folder, modern_transform
from xai_course.methods import METHODS
from xai_course.report import load_model
from xai_course.storage import load_checkpoint, save_checkpoint


def test_from_training_to_the_report(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text("utf-8")
    code, source = re.search(
        r"```python\n([^`]*save_checkpoint[^`]*)```\s*```\nmake report MODEL=(\S+)", text
    ).groups()
    generator = np.random.default_rng(0)
    for place in ("train/light", "train/dark", "test/light", "test/dark"):
        (tmp_path / "pictures" / place).mkdir(parents=True)
        for number in range(3):
            low = 128 if "light" in place else 0
            pixels = generator.integers(low, low + 128, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / place / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("epochs=20", "epochs=2"), {})
    assert capsys.readouterr().out.startswith("[]\n")
    own = load_model(source)
    assert own.classes == ("dark", "light")
    assert own.about["remarks"] == []
    picture, _ = load_folder("pictures/test")[0]
    assert torch.equal(own.transform(picture), modern_transform(32)(picture))
    model, _ = load_checkpoint("runs/mine")
    with torch.no_grad():
        x = own.transform(picture)[None]
        assert torch.equal(own.model(x), model(x))


def test_the_function_for_a_network_of_another_class(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text("utf-8")
    (code,) = re.findall(r"`net\.py:network` [^`]*```python\n([^`]*)```", text)
    (tmp_path / "net.py").write_text(code.replace("resnet50", "resnet18"), "utf-8")
    monkeypatch.chdir(tmp_path)
    transform = modern_transform(32)
    save_checkpoint("runs/mine", resnet18(num_classes=2), classes=["a", "b"], transform=transform)
    own = load_model("net.py:network")
    assert own.classes == ("a", "b")
    assert own.about["input"] == [3, 32, 32]
    assert own.about["remarks"] == []


def test_the_table_of_methods_lists_each_with_all_its_cells():
    text = (ROOT / "README.md").read_text("utf-8")
    table = text.partition("| method | what it gives | passes | needs | agrees with |")[2]
    rows = [line.strip("|").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    listed = {name: row for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    for method in METHODS.values():
        row = listed[method.function.__name__]
        assert len([cell for cell in row if cell.strip()]) == 5, row
