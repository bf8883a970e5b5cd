"""The command that trains, alone and under torchrun."""

import sys

import pytest
from torchrun import TORCHRUN, run_here, start

from tools.lessons.outputs import ROOT
from xai_course.beetlebox import write_beetlebox
from xai_course.storage import load_checkpoint

SCRIPT = ROOT / "scripts" / "train.py"


@pytest.mark.end_to_end
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun is tested on POSIX systems")
def test_one_process_and_two_train_the_same_network(tmp_path, monkeypatch):
    """On a folder of images of one's own, with the same number of steps and a card for each."""
    images = write_beetlebox(tmp_path / "box", train=8, test=4, size=32, progress=False)
    options = ("--images", images, "--epochs", 2)
    start(*TORCHRUN, "--max-restarts", 3, SCRIPT, *options, "--to", tmp_path / "two")
    run_here(monkeypatch, SCRIPT, *options, "--to", tmp_path / "one")
    (one, one_card), (two, two_card) = (load_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert one.arguments == two.arguments
    assert one_card["classes"] == two_card["classes"]
    for name, weight in one.named_parameters():
        assert (weight - two.get_parameter(name)).abs().mean() < 0.05, name
    tracked = "stem.norm.num_batches_tracked"
    assert one.state_dict()[tracked] == two.state_dict()[tracked] == 6  # 3 batches an epoch
