"""What the two processes of tests/training/test_distributed.py do: torchrun_job.py FOLDER.

All of it in one start of Python and PyTorch, which takes longer than the work: the engine of
torchrun forks the two processes. (scripts/train.py is tested with the command itself.) The second
process kills itself twice; the engine then starts both again, and they skip what is done.

Life 0: two trainings, undisturbed; a third one, in which the second process is killed.
Life 1: the third training is resumed; scenes are explained, and the second process is killed.
Life 2: the explaining is resumed.
"""

import os
import signal
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # DistributedDataParallel needs it; here once, before the processes fork
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from xai_course.beetlebox import SPECIES, Scene
from xai_course.data import loader, random_horizontal_flip
from xai_course.models import BeetleNet
from xai_course.relu import gradient
from xai_course.storage import draw_scenes, explain_shards
from xai_course.training import (
    TrainingConfig,
    all_reduce_mean,
    broadcast_from_rank0,
    fit,
    rank_and_world_size,
)

KILLED_AT = 9  # in the third epoch: there are 4 steps in each
SGD = TrainingConfig(epochs=2, optimizer=torch.optim.SGD, learning_rate=0.1, schedule=None)
BATCH_NORM = TrainingConfig(epochs=4, augment=random_horizontal_flip, learning_rate=0.01, seed=3)
SCENES = [Scene(name, seed) for seed in range(6) for name in SPECIES]
SHARDS = {"load": partial(draw_scenes, size=32), "per_shard": 4, "batch_size": 3}


def shapes():
    """30 noisy images of three classes: batches of 8 leave a last one of 6."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(30) % 3
    images = torch.randn(30, 3, 16, 16, generator=generator)
    return TensorDataset(images + labels[:, None, None, None].float() - 1, labels)


def plain_network():
    """Without BatchNorm or dropout, so that a batch's gradient is the mean of its images'."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(16, 3))


def beetle_net():
    torch.manual_seed(0)
    return BeetleNet(classes=3, depth=3, width=8)


def run(model, config, rank=0, world_size=1, **options):
    """Train on the shapes, in this process alone or as one of several."""
    wrapped = DistributedDataParallel(model) if world_size > 1 else model
    train = loader(shapes(), 8, shuffle=True, rank=rank, world_size=world_size)
    test = loader(shapes(), 10)
    return fit(wrapped, config, train, test, device="cpu", progress=False, **options)


def numbers(history):
    return [[e.train_loss, e.train_accuracy, e.test_accuracy] for e in history]


def train_and_keep(file, model, config, **options):
    """Train once, whatever the number of lives, and write network and history to a file."""
    if file.exists():
        return
    history = run(model, config, *rank_and_world_size(), **options)
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file({**tensors, "history": torch.tensor(numbers(history)).double()}, file)


def explain(folder, rank, life):
    """Explain the scenes; the method keeps a log, and its second process kills itself once."""

    def logged(model, images, targets):
        with open(folder / f"explained_{rank}", "a") as log:
            log.write(f"{len(images)}\n")
        if rank == 1 and life == 1 and len(list((folder / "shards").glob("0*"))) >= 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return gradient(model, images, targets)

    explain_shards(folder / "shards", beetle_net().eval(), logged, SCENES, progress=False, **SHARDS)


def main(folder):
    dist.init_process_group(timeout=timedelta(seconds=60))
    rank, life = dist.get_rank(), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    assert broadcast_from_rank0(f"told by {rank}") == "told by 0"
    assert all_reduce_mean(rank, 1.0) == (0.5, 1.0)
    train_and_keep(folder / f"plain_{rank}", plain_network(), SGD)
    train_and_keep(folder / f"undisturbed_{rank}", beetle_net(), BATCH_NORM)

    def log_and_kill(step, _):
        with open(folder / f"steps_{rank}_{life}", "a") as log:
            log.write(f"{step}\n")
        if rank == 1 and life == 0 and step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    options = {"checkpoint": folder / "run", "on_step": log_and_kill}
    train_and_keep(folder / f"killed_{rank}", beetle_net(), BATCH_NORM, **options)
    dist.barrier()  # both have written their network before one of them is killed
    dist.destroy_process_group()
    explain(folder, rank, life)


if __name__ == "__main__":
    torch.set_num_threads(1)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        max_restarts=3,
        run_id="job",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        start_method="fork",
    )
    elastic_launch(config, main)(Path(sys.argv[1]))
