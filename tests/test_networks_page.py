"""The page *Which network, which method* is what a run gives."""

import re
import sys

import pytest

from tools.lessons.outputs import ROOT
from xai_course.methods import METHODS

sys.path.insert(0, str(ROOT / "benchmarks"))
import networks

PAGE = networks.PAGE.read_text("utf-8")
NEEDS_NOTHING = set(METHODS) - {"expected gradients"}


def table(text):
    """The cells of the page's table: (method, network) to a mark, numbers as their sentences."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in lines[0].split("|")[2:-1]]
    sentences = dict(re.findall(r"(?m)^(\d+)\. (.*)$", text))
    return {
        (row[1].strip(), name): sentences.get(cell.strip(), cell.strip())
        for row in (line.split("|") for line in lines[2:])
        for name, cell in zip(names, row[2:-1], strict=True)
    }


def test_the_page_has_every_method_and_network_and_no_fault():
    cells = table(PAGE)
    assert {method for method, _ in cells} == NEEDS_NOTHING
    assert {network for _, network in cells} == set(networks.NETWORKS)
    assert "FAULT" not in PAGE
    for words in cells.values():
        assert words in ("✓", "✓✓") or re.match(r"(\w+: got|\w+: )", words), words


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["ResNet", "MobileNet v3", "VGG", "Swin"])
def test_a_run_gives_the_page(name):
    found = networks.page({name: networks.try_methods(*networks.NETWORKS[name])})
    cells = table(PAGE)
    assert table(found) == {key: words for key, words in cells.items() if key[1] == name}
