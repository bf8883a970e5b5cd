"""The README's cell for a map of a ResNet-50 runs as it stands, with a file of weights."""

import re
from pathlib import Path

import matplotlib.figure
import pytest
import torch
from torchvision.models import resnet50

from tools.lessons.outputs import ROOT


@pytest.mark.heavy
def test_the_cell_for_a_resnet_50_runs(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text("utf-8")
    part = text.partition("### A map of your own ResNet-50")[2]
    code = re.search(r"```python\n(.*?)```", part, re.DOTALL)[1]
    torch.manual_seed(0)
    torch.save(resnet50(weights=None).state_dict(), tmp_path / "mine.pth")
    monkeypatch.chdir(tmp_path)
    assert '"torchvision:resnet50:mine.pth"' in code
    code = code.replace(
        'load_model("torchvision:resnet50")', 'load_model("torchvision:resnet50:mine.pth")'
    )
    code = re.sub(r"^plots\.overlay", "drawn = plots.overlay", code, flags=re.MULTILINE)
    names = {}
    exec(code, names)
    assert Path("mine.pth").exists()
    assert isinstance(names["drawn"], matplotlib.figure.Figure)
    assert [tuple(one.shape[-2:]) for one in names["maps"].values()] == [(224, 224)] * 2
