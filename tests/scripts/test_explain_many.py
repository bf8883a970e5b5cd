"""The command that explains; under torchrun it is tested in lesson 11."""

import json

import torch
from torchrun import run_here

from tools.lessons.outputs import ROOT
from xai_course.storage import open_shards


def test_the_command_that_explains(tmp_path, monkeypatch, capsys):
    options = ("--scenes", 24, "--per-shard", 8, "--method", "gradient", "--half")
    threads = torch.get_num_threads()
    run_here(monkeypatch, ROOT / "scripts" / "explain_many.py", tmp_path / "one", *options)
    torch.set_num_threads(threads)
    assert "process 0 made 3 shards" in capsys.readouterr().out
    shards = list(open_shards(tmp_path / "one"))
    assert [len(shard.items) for shard in shards] == [8, 8, 4]  # 24 scenes are 2 of each species
    assert len({item["species"] for item in shards[0].items}) == 8
    assert shards[0].relevance.dtype == torch.float16
    recipe = json.loads((tmp_path / "one" / "manifest.json").read_text())["recipe"]
    assert recipe["method"] == "gradient"
