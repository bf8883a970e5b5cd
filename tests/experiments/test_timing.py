"""What compiling and several processes bring: the tables of lessons 10 and 11."""

from functools import partial

import pytest
import torch

from xai_course.beetlebox import SPECIES, Scene
from xai_course.experiments import timing
from xai_course.models import BeetleNet
from xai_course.relu import gradient
from xai_course.storage import draw_scenes, explain_shards, open_shards, save_checkpoint

SCENES = [Scene(name, seed) for seed in range(6) for name in SPECIES]


def test_the_experiment_reads_what_the_commands_left(tmp_path, monkeypatch):
    model = BeetleNet(classes=3, depth=3, width=8).eval()
    load = partial(draw_scenes, size=32)
    explain_shards(tmp_path / "a", model, gradient, SCENES, load=load, progress=False)
    images, seconds, accuracy = timing._explained(tmp_path / "a")
    names = [
        list(SPECIES)[int(target)] for s in open_shards(tmp_path / "a") for target in s.targets
    ]
    right = sum(scene.species == name for scene, name in zip(SCENES, names, strict=True))
    assert (images, accuracy) == (60, right / 60)
    assert 0 <= seconds < 600
    facts = {"images": 40, "seconds": 2.5, "accuracy": 0.5}
    save_checkpoint(tmp_path / "network", model, classes=["a", "b", "c"], **facts)
    assert timing._trained(tmp_path) == (200, 2.5, 0.5)
    ran = []
    monkeypatch.setattr(timing, "run_command", lambda **settings: ran.append(settings) or {})
    rows = timing.process_trials(tmp_path / "t.csv", progress=False)
    assert len(rows) == 12
    assert {(row["processes"], row["threads"]) for row in rows} == {(1, 1), (1, 2), (2, 1)}
    assert timing.process_trials(tmp_path / "t.csv", progress=False) == rows == ran


# ---- torch.compile: the compiler itself is left out, since it takes half a minute ----------------


@pytest.mark.parametrize("what", ["answer", "gradient"])
def test_a_compiled_network_is_compared_with_the_plain_one(monkeypatch, what):
    monkeypatch.setattr(torch, "compile", lambda network: network)
    result = timing.time_compiled(what, 2)
    assert list(result) == ["first call, core s", "compiled, ms", "plain, ms", "error"]
    assert result["error"] == 0
    monkeypatch.setattr(torch, "compile", lambda network: lambda x: 1.5 * network(x))
    assert timing.time_compiled(what, 2)["error"] == pytest.approx(0.5)


def test_what_is_compiled_must_be_known():
    with pytest.raises(ValueError, match="what: got 'both'"):
        timing.time_compiled("both", 1)


def test_compilations_are_timed_one_after_another(monkeypatch, tmp_path):
    monkeypatch.setattr(timing, "time_compiled", lambda **settings: {"error": 0})
    rows = timing.compile_trials(tmp_path / "compile.csv", workers=2)
    assert [(row["what"], row["images"]) for row in rows] == [
        ("gradient", 20),
        ("gradient", 1),
        ("answer", 20),
        ("answer", 1),
    ]
