"""Cards of before 0.2.0 get what they lack, and nothing else changes."""

import json
import shutil

from tools.assets.rename_on_disk import add_input
from tools.lessons.outputs import ROOT
from xai_course.data import modern_transform
from xai_course.models import BeetleNet
from xai_course.storage import load_checkpoint, save_checkpoint

CARD = ROOT / "data" / "checkpoints" / "beetle_net.json"


def test_a_card_gets_size_and_transform_as_saving_writes_them(tmp_path):
    model = BeetleNet(classes=2, depth=1, width=2)
    options = {"classes": ["a", "b"], "seed": 3}
    save_checkpoint(tmp_path / "new", model, **options, transform=modern_transform(64))
    save_checkpoint(tmp_path / "old", model, **options)
    assert add_input(tmp_path / "old.json")
    assert (tmp_path / "old.json").read_bytes() == (tmp_path / "new.json").read_bytes()
    assert not add_input(tmp_path / "old.json")
    assert load_checkpoint(tmp_path / "old")[1]["image_size"] == [64, 64]


def test_the_shipped_cards_have_them(tmp_path):
    for file in CARD.parent.rglob("*.json"):
        assert json.loads(file.read_text("utf-8"))["image_size"] == [64, 64], file
    copy = shutil.copy(CARD, tmp_path / "beetle_net.json")
    assert not add_input(tmp_path / "beetle_net.json")
    assert copy.read_bytes() == CARD.read_bytes()
