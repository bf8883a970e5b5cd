"""The README's cell for a map of a ResNet-50 runs as it stands, with weights or a file of yours."""

import re
from pathlib import Path

import matplotlib.figure
import pytest
import torch
from torchvision.models import resnet50

from tools.lessons.outputs import ROOT


@pytest.mark.heavy
@pytest.mark.parametrize("source", ["torchvision:resnet50:mine.pth", "mine.py:network"])
def test_the_cell_for_a_resnet_50_runs(source, tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text("utf-8")
    part = text.partition("### A map of your own ResNet-50")[2].partition("\n### ")[0]
    code, file = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    (tmp_path / "mine.py").write_text(file, "utf-8")
    classes = 2 if source == "mine.py:network" else 1000
    torch.manual_seed(0)
    torch.save(resnet50(num_classes=classes).state_dict(), tmp_path / "mine.pth")
    monkeypatch.chdir(tmp_path)
    assert '"torchvision:resnet50:mine.pth"' in code
    assert f'load_model("{source}")' in part or f'"{source}"' in code
    code = code.replace('load_model("torchvision:resnet50")', f'load_model("{source}")')
    code = re.sub(r"^plots\.overlay", "drawn = plots.overlay", code, flags=re.MULTILINE)
    names = {}
    exec(code, names)
    assert Path("mine.pth").exists()
    assert isinstance(names["drawn"], matplotlib.figure.Figure)
    assert [tuple(one.shape[-2:]) for one in names["maps"].values()] == [(224, 224)] * 2
    assert names["seen"].shape == (3, 224, 224)
    assert 0 <= names["seen"].min() < names["seen"].max() <= 1
    if source == "mine.py:network":
        assert names["own"].classes == ("cat", "dog")
