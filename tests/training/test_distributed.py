"""Several processes under torchrun's engine: one training, one set of explanations, two kills."""

import math
import sys

import pytest
import torch
import torchrun_job as job
from safetensors.torch import load_file
from torchrun import start

from xai_course.relu import gradient
from xai_course.storage import explain_shards, open_shards, read_manifest
from xai_course.training import all_reduce_mean, broadcast_from_rank0, rank_and_world_size

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 on this system")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the two processes of torchrun_job left; here, PyTorch uses one thread as they do."""
    folder = tmp_path_factory.mktemp("job")
    start(job.__file__, folder)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(before)


@pytest.mark.end_to_end
@needs_kill
def test_two_processes_take_the_steps_of_one(folder):
    """With SGD and no BatchNorm the mean of the gradients of the shares is that of the batch."""
    model = job.plain_network()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    history = job.run(model, job.SGD)
    for rank in (0, 1):
        trained = load_file(folder / f"plain_{rank}")
        for (name, weight), first in zip(model.state_dict().items(), before.values(), strict=True):
            torch.testing.assert_close(trained[name], weight, rtol=1e-5, atol=1e-6)
            assert (weight - first).abs().max() > 1e-3  # the weights have changed
        expected = torch.tensor(job.numbers(history)).double()
        torch.testing.assert_close(trained["history"], expected, rtol=1e-5, atol=0)


@needs_kill
def test_the_processes_end_with_one_network(folder):
    """And with one set of batch statistics, the first one's; with one history, too."""
    first, second = (load_file(folder / f"undisturbed_{rank}") for rank in (0, 1))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    history = job.run(job.beetle_net(), job.BATCH_NORM)
    # To BatchNorm four images are a batch, not eight: two networks, and both have learnt.
    assert min(first["history"][-1, 2], history[-1].test_accuracy) > 0.6
    assert max(first["history"][-1, 0], history[-1].train_loss) < 0.6 * math.log(3)


@needs_kill
def test_a_killed_worker_is_restarted_and_ends_with_the_weights_it_would_have_had(folder):
    for rank in (0, 1):
        expected = load_file(folder / f"undisturbed_{rank}")
        resumed = load_file(folder / f"killed_{rank}")
        for key in expected:
            assert torch.equal(resumed[key], expected[key]), key
    steps = {path.name: path.read_text().split() for path in folder.glob("steps_*")}
    assert steps["steps_1_0"] == [str(step) for step in range(job.KILLED_AT + 1)]
    after = [log for name, log in steps.items() if not name.endswith("_0")]
    assert len(after) == 2  # the epochs that were complete are not trained again
    assert all(log == [str(step) for step in range(9, 17)] for log in after)


@needs_kill
def test_shards_are_the_same_to_the_bit_although_a_worker_was_killed(folder):
    alone, together = folder / "alone", folder / "shards"

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
    logs = sorted(folder.glob("explained_*"))
    explained = sum(int(line) for log in logs for line in log.read_text().split())
    assert [log.name for log in logs] == ["explained_0", "explained_1"]
    assert 60 <= explained <= 60 + 2 * 4
    assert not list(together.glob(".*.part"))


def test_a_process_alone_is_the_first_of_one():
    assert rank_and_world_size() == (0, 1)
    assert broadcast_from_rank0(value := object()) is value
    assert all_reduce_mean(0.1, 2) == (0.1, 2)
