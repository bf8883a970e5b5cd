"""Several processes under torchrun: one training, one set of explanations, also after a kill."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch
import torchrun_job as job
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

from tools.lessons.outputs import ROOT
from xai_course.beetlebox import SPECIES, write_beetlebox
from xai_course.data import loader
from xai_course.experiments import timing
from xai_course.relu import gradient
from xai_course.storage import (
    explain_shards,
    load_checkpoint,
    open_shards,
    read_manifest,
    save_checkpoint,
)
from xai_course.training import (
    all_reduce_mean,
    broadcast_from_rank0,
    distributed,
    fit,
    rank_and_world_size,
    seeding,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 on this system")


def start(*command, **environment):
    """Run a command with one thread to each process; return what it printed."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def torchrun(*command):
    """Two processes. Each start gets an address book of its own: see scripts/train_many.py."""
    engine = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    own = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return start(*engine, "--max-restarts", 3, *command, **own)


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The two trainings of torchrun_job, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    torchrun(job.__file__, "train", folder)
    return folder


# ---- training ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_two_processes_take_the_steps_of_one(whole):
    """With SGD and no BatchNorm the mean of the gradients of the shares is that of the batch."""
    model = job.plain_network()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    history = job.run(model, **job.SGD)
    for rank in (0, 1):
        found = load_file(whole / f"plain_{rank}")
        for (name, weight), step in zip(model.state_dict().items(), before.values(), strict=True):
            torch.testing.assert_close(found[name], weight, rtol=1e-5, atol=1e-6)
            assert (weight - step).abs().max() > 1e-3  # they have gone some way together
        numbers = [[e.train_loss, e.train_accuracy, e.test_accuracy] for e in history]
        torch.testing.assert_close(
            found["history"], torch.tensor(numbers).double(), rtol=1e-5, atol=0
        )


@pytest.mark.usefixtures("one_thread")
def test_the_processes_end_with_one_network(whole):
    """And with one set of batch statistics, the first one's; with one history, too."""
    first, second = (load_file(whole / f"beetle_{rank}") for rank in (0, 1))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    alone = job.beetle_net()
    history = job.run(alone, **job.BATCH_NORM)
    # To BatchNorm four images are a batch, not eight: two networks, and both have learnt.
    assert min(first["history"][-1, 2], history[-1].test_accuracy) > 0.6
    assert max(first["history"][-1, 0], history[-1].train_loss) < 0.6 * math.log(3)


def test_a_killed_worker_is_restarted_and_ends_with_the_weights_it_would_have_had(whole, tmp_path):
    torchrun(job.__file__, "killed", tmp_path)
    for name in ("beetle_0", "beetle_1"):
        expected, found = load_file(whole / name), load_file(tmp_path / name)
        for key in expected:
            assert torch.equal(found[key], expected[key]), key
    steps = {path.name: path.read_text().split() for path in tmp_path.glob("steps_*")}
    assert steps["steps_1_0"] == [str(step) for step in range(job.KILLED_AT + 1)]
    after = [log for name, log in steps.items() if not name.endswith("_0")]
    assert len(after) == 2  # the epochs that were complete are not trained again
    assert all(log == [str(step) for step in range(9, 17)] for log in after)


def test_the_two_scripts_train_the_same_network(tmp_path):
    """On a folder of images of one's own, with the same number of steps and a card for each."""
    images = write_beetlebox(tmp_path / "box", train=8, test=4, size=32, progress=False)
    options = ("--images", images, "--epochs", 2)
    torchrun(ROOT / "scripts" / "train_many.py", *options, "--to", tmp_path / "two")
    start(ROOT / "scripts" / "train.py", *options, "--to", tmp_path / "one")
    one, two = (load_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert one[0].arguments == two[0].arguments
    assert one[1]["classes"] == two[1]["classes"]
    for name, weight in one[0].named_parameters():
        assert (weight - two[0].get_parameter(name)).abs().mean() < 0.05, name
    tracked = "stem.norm.num_batches_tracked"
    assert one[0].state_dict()[tracked] == two[0].state_dict()[tracked] == 6  # 3 batches an epoch


# ---- explaining ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_shards_are_the_same_to_the_bit_although_a_worker_was_killed(tmp_path):
    torchrun(job.__file__, "explain", tmp_path)
    alone, together = tmp_path / "alone", tmp_path / "shards"

    def logged(model, images, targets):  # the recipe knows the method by its name
        return gradient(model, images, targets)

    logged.__qualname__ = "explain.<locals>.logged"
    model = job.beetle_net().eval()
    assert explain_shards(alone, model, logged, job.SCENES, progress=False, **job.SHARDS) == 15
    assert read_manifest(together) == read_manifest(alone)
    for file in alone.glob("*.safetensors"):
        assert (together / file.name).read_bytes() == file.read_bytes()
    # Nothing lost, nothing explained twice: but for the shards that the kill interrupted, of which
    # each process has one at most.
    items = [item for shard in open_shards(together) for item in shard.items]
    assert items == [{"species": s.species, "seed": s.seed} for s in job.SCENES]
    logs = sorted(tmp_path.glob("explained_*"))
    explained = sum(int(line) for log in logs for line in log.read_text().split())
    assert [log.name for log in logs] == ["explained_0", "explained_1"]
    assert 60 <= explained <= 60 + 2 * 4
    assert not list(together.glob(".*.part"))


def test_the_command_that_explains(tmp_path):
    options = ("--scenes", 24, "--per-shard", 8, "--method", "gradient", "--half")
    said = start(ROOT / "scripts" / "explain_many.py", tmp_path / "one", *options)
    assert "process 0 made 3 shards" in said
    shards = list(open_shards(tmp_path / "one"))
    assert [len(shard.items) for shard in shards] == [8, 8, 4]  # 24 scenes are 2 of each species
    assert len({item["species"] for item in shards[0].items}) == 8
    assert shards[0].relevance.dtype == torch.float16
    recipe = json.loads((tmp_path / "one" / "manifest.json").read_text())["recipe"]
    assert recipe["method"] == "gradient"


def test_the_experiment_reads_what_the_commands_left(tmp_path, monkeypatch):
    model = job.beetle_net().eval()
    explain_shards(tmp_path / "a", model, gradient, job.SCENES, progress=False, **job.SHARDS)
    images, seconds, accuracy = timing._explained(tmp_path / "a")
    names = [
        list(SPECIES)[int(target)] for s in open_shards(tmp_path / "a") for target in s.targets
    ]
    right = sum(scene.species == name for scene, name in zip(job.SCENES, names, strict=True))
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


# ---- the parts, without starting anything --------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "batch", "count"), [(64, 8, 2), (30, 8, 2), (33, 8, 2), (61, 12, 3)]
)
@pytest.mark.parametrize("in_memory", [True, False])
def test_shares_of_a_batch_are_disjoint_and_even(items, batch, count, in_memory):
    data = TensorDataset(torch.arange(items))
    data = data if in_memory else list(range(items))
    alone = loader(data, batch, shuffle=True, seed=5)
    shares = [loader(data, batch, shuffle=True, seed=5, share=(n, count)) for n in range(count)]

    def batches(source):
        return [(b[0] if in_memory else b).tolist() for b in source]

    parts = list(zip(*map(batches, shares), strict=True))
    wanted = [b[: len(b) - len(b) % count] for b in batches(alone)]
    wanted = [b for b in wanted if b]
    assert [len(share) for share in shares] == [len(wanted)] * count
    for split, batch_ in zip(parts, wanted, strict=True):
        assert len({len(part) for part in split}) == 1
        assert sorted(index for part in split for index in part) == sorted(batch_)


@pytest.mark.parametrize(
    ("share", "message"),
    [
        ((2, 2), r"share must be .* got \(2, 2\)"),
        ((-1, 2), "share"),
        ((0, 0), "share"),
        ((0, 3), "multiple of 3"),
    ],
)
def test_shares_that_cannot_be(share, message):
    with pytest.raises(ValueError, match=message):
        loader(TensorDataset(torch.arange(9)), 8, share=share)


def test_a_process_alone_is_the_first_of_one():
    assert rank_and_world_size() == (0, 1)
    assert broadcast_from_rank0(value := object()) is value
    assert all_reduce_mean(0.1, 2) == (0.1, 2)


def test_other_processes_have_the_same_order_and_chance_of_their_own(monkeypatch):
    drawn = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank_and_world_size", lambda rank=rank: (rank, 2))
        data = loader(TensorDataset(torch.arange(20)), 20, shuffle=True, seed=rank)
        augmentation = seeding.seed_epoch(4, 2, data)
        dropout = torch.rand(5)
        order = next(iter(data))[0]
        drawn.append((order, dropout, torch.rand(5, generator=augmentation)))
    same = [torch.equal(first, second) for first, second in zip(*drawn, strict=True)]
    assert same == [True, False, False]


def test_only_the_first_process_keeps_the_state(tmp_path, monkeypatch):
    monkeypatch.setattr("xai_course.training.fit.rank_and_world_size", lambda: (1, 2))
    monkeypatch.setattr("xai_course.training.fit.all_reduce_mean", lambda *numbers: numbers)
    fit(
        job.plain_network(),
        loader(job.shapes(), 8),
        epochs=1,
        device="cpu",
        progress=False,
        checkpoint=tmp_path / "run",
    )
    assert not list(tmp_path.iterdir())
