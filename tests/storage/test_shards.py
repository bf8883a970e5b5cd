"""Shards of explanations: complete, once each, the same bits, and refused where they do not fit."""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from filelock import SoftFileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from xai_course.beetlebox import SPECIES, Scene, stack_images
from xai_course.data import normalise
from xai_course.models import BeetleNet
from xai_course.relu import gradient, smooth_grad
from xai_course.storage import (
    draw_scenes,
    explain_shards,
    open_shards,
    read_manifest,
    shards,
)

SCENES = [Scene(name, seed) for seed in range(2) for name in SPECIES][:11]
SMALL = partial(draw_scenes, size=32)


def network(seed=0):
    torch.manual_seed(seed)
    return BeetleNet(classes=3, depth=1, width=4).eval()


def explain(folder, model=None, method=gradient, items=SCENES, **options):
    options = {"load": SMALL, "per_shard": 4, "batch_size": 3, "progress": False, **options}
    return explain_shards(folder, model or network(), method, items, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "c"}


def test_what_is_in_the_shards(tmp_path):
    """Against the method itself, called on the same batches: 3 and 1, 3 and 1, 3."""
    model = network()
    assert explain(tmp_path / "new" / "folder", model) == 3
    made = list(open_shards(tmp_path / "new" / "folder"))
    assert [shard.number for shard in made] == [0, 1, 2]
    start = 0
    for shard, count in zip(made, (4, 4, 3), strict=True):
        batch = SCENES[start : start + count]
        images = normalise(stack_images(batch, 32))
        logits = torch.cat([model(part) for part in images.split(3)])
        maps = torch.cat([gradient(model, part) for part in images.split(3)])
        assert [Scene(**item) for item in shard.items] == batch
        assert torch.equal(shard.logits, logits)
        assert torch.equal(shard.targets, logits.argmax(1))
        assert torch.equal(shard.relevance, maps)
        start += count


def test_the_manifest_says_what_was_made(tmp_path):
    explain(tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest["count"] == 3
    assert manifest["recipe"]["method"] == "gradient"
    assert manifest["recipe"]["dtype"] == "float32"
    assert manifest["shards"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tmp_path.glob("*.safetensors")
    }


def test_what_is_there_is_never_made_again(tmp_path):
    seen = []

    def counting(model, images, targets):
        seen.append(len(images))
        return gradient(model, images, targets)

    assert explain(tmp_path, method=counting) == 3
    before, calls = contents(tmp_path), len(seen)
    assert explain(tmp_path, method=counting) == 0
    assert len(seen) == calls
    assert contents(tmp_path) == before


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    def stopping(model, images, targets):
        if len(list((tmp_path / "b").glob("0*"))) == 2:
            raise KeyboardInterrupt
        return gradient(model, images, targets)

    stopping.__qualname__ = "gradient"  # the same method, for the recipe
    explain(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        explain(tmp_path / "b", method=stopping)
    assert [shard.number for shard in open_shards(tmp_path / "b")] == [0, 1]
    assert explain(tmp_path / "b") == 1
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_half_precision(tmp_path):
    explain(tmp_path / "full")
    explain(tmp_path / "half", dtype=torch.float16)
    pairs = zip(open_shards(tmp_path / "full"), open_shards(tmp_path / "half"), strict=True)
    for full, half in pairs:
        assert half.relevance.dtype == torch.float16
        assert torch.equal(half.relevance, full.relevance.half())
        assert torch.equal(half.logits, full.logits)


def test_any_data_set(tmp_path):
    """Items may be indices, and `load` whatever stacks their images."""
    images = torch.randn(7, 3, 16, 16)
    model = network()
    explain(tmp_path, model, items=range(7), load=lambda which: images[list(which)])
    made = list(open_shards(tmp_path))
    assert [item for shard in made for item in shard.items] == list(range(7))
    found = torch.cat([shard.relevance for shard in made])
    torch.testing.assert_close(found, gradient(model, images))


def test_a_changed_scene_says_so(tmp_path):
    scene = SCENES[0].without("legs")
    explain(tmp_path, items=[scene, SCENES[1]])
    (shard,) = open_shards(tmp_path)
    assert shard.items[0]["changed"] == repr(scene)
    assert "changed" not in shard.items[1]


@settings(max_examples=20)
@given(count=st.integers(1, 23), per_shard=st.integers(1, 9), batch_size=st.integers(1, 9))
def test_every_item_is_in_one_shard_in_order(count, per_shard, batch_size):
    images = torch.randn(count, 3, 4, 4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    with tempfile.TemporaryDirectory() as folder:
        explain(
            folder,
            model,
            items=range(count),
            load=lambda which: images[list(which)],
            per_shard=per_shard,
            batch_size=batch_size,
        )
        made = list(open_shards(folder))
    assert [item for shard in made for item in shard.items] == list(range(count))
    assert all(len(shard.items) == per_shard for shard in made[:-1])
    torch.testing.assert_close(torch.cat([shard.logits for shard in made]), model(images).detach())


# ---- other processes, and kills ------------------------------------------------------------------

HOLDER = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def held(lock):
    """Let another process hold a lock, and kill it at the end."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            yield
        finally:
            holder.kill()


def test_a_claimed_shard_is_left_to_its_process_until_that_is_killed(tmp_path, capsys):
    with held(tmp_path / "claims" / "00001.lock"):
        assert explain(tmp_path, progress=True) == 2
        assert "3 shards: 2 made now, 0 were there, 1 others had taken" in capsys.readouterr().out
        assert [shard.number for shard in open_shards(tmp_path)] == [0, 2]
    assert explain(tmp_path, progress=False) == 1
    explain(tmp_path.parent / "whole")
    assert contents(tmp_path) == contents(tmp_path.parent / "whole")


def test_a_claim_on_the_manifest_is_waited_for_with_a_warning_and_not_for_ever(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(shards, "WARN_AFTER", 0.05)
    monkeypatch.setattr(shards, "GIVE_UP_AFTER", 0.1)
    with (
        held(tmp_path / "claims" / "manifest.lock"),
        pytest.warns(UserWarning, match=r"waiting for .*manifest\.lock"),
        pytest.raises(TimeoutError, match=r"manifest\.lock is held by another process"),
    ):
        explain(tmp_path)
    assert explain(tmp_path) == 3


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    """What filelock uses there, a file that says "locked", would outlive a killed process."""
    monkeypatch.setattr(shards, "FileLock", SoftFileLock)
    with pytest.raises(OSError, match="file system cannot lock"):
        explain(tmp_path)
    monkeypatch.undo()
    assert explain(tmp_path) == 3


def test_two_threads_make_each_shard_once(tmp_path):
    """Locks of two threads of one process exclude each other, too."""
    model = network()
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: explain(tmp_path, model), range(2)))
    assert sum(made) == 3
    assert [shard.number for shard in open_shards(tmp_path)] == [0, 1, 2]


def test_a_folder_from_before_the_claims_had_a_folder_is_resumed(tmp_path):
    """Until version 0.1 the claims were the bytes of one file."""
    explain(tmp_path)
    shutil.rmtree(tmp_path / "claims")
    (tmp_path / "claims.lock").touch()
    (tmp_path / "00001.safetensors").unlink()
    assert explain(tmp_path) == 1


def test_a_shard_whose_maker_was_killed_before_listing_it_is_listed(tmp_path):
    explain(tmp_path)
    before = contents(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["shards"]["00001.safetensors"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert [shard.number for shard in open_shards(tmp_path)] == [0, 2]
    assert explain(tmp_path) == 0
    assert {name: data for name, data in contents(tmp_path).items() if name[0] == "0"} == {
        name: data for name, data in before.items() if name[0] == "0"
    }
    assert [shard.number for shard in open_shards(tmp_path)] == [0, 1, 2]


def test_a_lost_manifest_is_written_again_from_the_shards(tmp_path):
    explain(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "manifest.json").unlink()
    assert explain(tmp_path) == 0
    assert contents(tmp_path) == before


def test_what_a_kill_left_half_written_goes(tmp_path):
    explain(tmp_path)
    (tmp_path / "00001.safetensors").unlink()
    left = tmp_path / ".00001.safetensors.12345.part"
    left.write_bytes(b"half")
    assert explain(tmp_path) == 1
    assert not left.exists()


def test_an_error_of_the_method_frees_the_claim_and_writes_nothing(tmp_path):
    def failing(model, images, targets):
        raise RuntimeError("out of memory")

    failing.__qualname__ = "gradient"
    with pytest.raises(RuntimeError, match="out of memory"):
        explain(tmp_path, method=failing)
    assert list(open_shards(tmp_path)) == []
    assert explain(tmp_path) == 3


def test_random_numbers_belong_to_the_shard_and_not_to_the_caller(tmp_path):
    def noise(model, images, targets):
        return torch.randn_like(images)

    model = network()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    explain(tmp_path / "a", model, method=noise)
    assert torch.equal(torch.rand(3), expected)
    explain(tmp_path / "b", method=noise)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    first, second, _ = open_shards(tmp_path / "a")
    assert not torch.equal(first.relevance, second.relevance)


# ---- reading -------------------------------------------------------------------------------------


def test_shards_are_read_one_at_a_time(tmp_path):
    explain(tmp_path)
    reading = open_shards(tmp_path)
    assert next(reading).number == 0
    (tmp_path / "00001.safetensors").unlink()  # was not open yet
    with pytest.raises(ValueError, match=r"00001\.safetensors is listed but cannot be read"):
        next(reading)


def test_a_damaged_shard_is_named(tmp_path):
    explain(tmp_path)
    file = tmp_path / "00001.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    with pytest.raises(ValueError, match=r"00001\.safetensors is damaged"):
        list(open_shards(tmp_path))
    file.unlink()
    assert explain(tmp_path) == 1
    assert file.read_bytes() == data


@pytest.mark.parametrize("content", [None, "", "{}", '{"recipe": {"format": "other"}}', "[1]"])
def test_a_folder_without_manifest_is_refused_at_once(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="without a manifest that can be read"):
        open_shards(tmp_path)


# ---- what is refused -----------------------------------------------------------------------------

OTHER = {
    "model": {"model": network(1)},
    "method": {"method": partial(smooth_grad, samples=2)},
    "items": {"items": SCENES[1:]},
    "first item": {"load": partial(draw_scenes, size=48)},
    "load": {"load": lambda items: draw_scenes(items, 32)},
    "per_shard": {"per_shard": 5},
    "batch_size": {"batch_size": 4},
    "dtype": {"dtype": torch.float64},
}


@pytest.mark.parametrize("name", OTHER)
def test_the_folder_of_another_recipe_is_refused_by_name(tmp_path, name):
    explain(tmp_path, items=SCENES[:4])
    explain(tmp_path / "sub")
    before = contents(tmp_path / "sub")
    with pytest.raises(ValueError, match=rf"another recipe \(.*{name}: .* in the folder, .* now"):
        explain(tmp_path / "sub", **OTHER[name])
    assert contents(tmp_path / "sub") == before


def test_options_of_a_method_are_told_apart(tmp_path):
    black, white = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)

    def with_baseline(model, images, targets, baseline):
        return gradient(model, images - baseline, targets)

    explain(tmp_path, method=partial(with_baseline, baseline=black))
    assert explain(tmp_path, method=partial(with_baseline, baseline=black.clone())) == 0
    with pytest.raises(ValueError, match=r"another recipe \(method: .*baseline=tensor"):
        explain(tmp_path, method=partial(with_baseline, baseline=white))


def test_other_threads_are_another_recipe(tmp_path):
    explain(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(ValueError, match=rf"{before} threads, cpu.* in the folder"):
            explain(tmp_path)
    finally:
        torch.set_num_threads(before)


def test_a_folder_of_something_else_stays_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"folder: got .* holds something else"):
        explain(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match=r"folder: got .* holds something else"):
        explain(tmp_path / "thesis.txt")


def test_a_shard_of_another_recipe_is_not_taken_in(tmp_path):
    explain(tmp_path / "a")
    explain(tmp_path / "b", dtype=torch.float16)
    file = tmp_path / "a" / "00001.safetensors"
    (tmp_path / "a" / "manifest.json").unlink()
    for data in ((tmp_path / "b" / "00001.safetensors").read_bytes(), b"not a shard"):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"00001\.safetensors, which (has another|is not a)"):
            explain(tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": []}, "items: got none"),
        ({"per_shard": 0}, "per_shard: got 0; must be a whole number, at least 1"),
        ({"batch_size": 2.5}, "batch_size: got 2.5"),
        ({"dtype": torch.int8}, "dtype: got torch.int8; must be one of torch.float16"),
        ({"items": range(100_001), "per_shard": 1}, "per_shard: got 1 for 100001 items"),
        ({"model": network().train()}, "model: got training mode"),
    ],
)
def test_arguments_that_cannot_be_used(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        explain(tmp_path / "new", **options)
    assert not Path(tmp_path / "new").exists()


def listed(folder, data):
    """List other bytes as the first shard."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "00000.safetensors").write_bytes(data)
    manifest["shards"]["00000.safetensors"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


ABOUT = {"about": json.dumps({"items": [1, 2], "recipe": "x"})}
PARTS = {"relevance": torch.zeros(2, 1), "logits": torch.zeros(2, 1), "targets": torch.zeros(2)}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no shard",
        save({"a": torch.zeros(1)}),
        save(PARTS),
        save(PARTS, metadata={"about": "[" * 100_000}),
        save(PARTS, metadata={"about": "[]"}),
        save(PARTS, metadata={"about": "{}"}),
        save(PARTS, metadata={"about": json.dumps({"items": 5})}),
        save({**PARTS, "logits": torch.zeros(3, 1)}, metadata=ABOUT),
        save({**PARTS, "targets": torch.zeros(())}, metadata=ABOUT),
    ],
)
def test_what_is_listed_and_is_no_shard_is_refused(tmp_path, data):
    explain(tmp_path)
    listed(tmp_path, data)
    with pytest.raises(ValueError, match=r"^folder: .*00000\.safetensors is no shard"):
        list(open_shards(tmp_path))


def test_a_shard_made_by_hand_is_read(tmp_path):
    """So that the refusals above are for what they change."""
    explain(tmp_path)
    listed(tmp_path, save(PARTS, metadata=ABOUT))
    assert next(open_shards(tmp_path)).items == [1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"shards": None},
        {"shards": []},
        {"shards": {"../../elsewhere.safetensors": "0"}},
        {"shards": {"00000.safetensors": 5}},
        {"count": "3"},
        {"count": 0},
        {"recipe": {"format": "another"}},
        {"recipe": []},
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, change):
    explain(tmp_path)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    for read in (read_manifest, open_shards, explain):
        with pytest.raises(ValueError, match=r"^folder: got .*without a manifest that can be read"):
            read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "{}"])
def test_a_manifest_that_is_no_json_is_refused(tmp_path, text):
    explain(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"^folder: got .*without a manifest"):
        open_shards(tmp_path)
