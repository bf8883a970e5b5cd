"""What the processes do that tests/test_torchrun.py starts, with torchrun_job.py JOB FOLDER.

Life 0 is the first start of a process, life 1 the engine's first restart of it, and so on.
"""

import os
import signal
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from xai_course.beetlebox import SPECIES, Scene
from xai_course.data import loader, random_horizontal_flip
from xai_course.models import BeetleNet
from xai_course.relu import gradient
from xai_course.storage import draw_scenes, explain_shards
from xai_course.training import all_reduce_mean, broadcast_from_rank0, fit, rank_and_world_size

KILLED_AT = 9  # in the third epoch: there are 4 steps in each
SGD = {"optimizer": torch.optim.SGD, "learning_rate": 0.1, "schedule": None, "epochs": 2}
BATCH_NORM = {"epochs": 4, "augment": random_horizontal_flip, "learning_rate": 0.01, "seed": 3}
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


def run(model, share=(0, 1), **settings):
    """Train on the shapes, in this process alone or as one of several."""
    wrapped = DistributedDataParallel(model) if share[1] > 1 else model
    train, test = loader(shapes(), 8, shuffle=True, share=share), loader(shapes(), 10)
    return fit(wrapped, train, test, device="cpu", progress=False, **settings)


def keep(folder, name, model, history):
    """Write what a process has come to."""
    numbers = [[e.train_loss, e.train_accuracy, e.test_accuracy] for e in history]
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file({**tensors, "history": torch.tensor(numbers).double()}, folder / name)


def train(folder, killed):
    """Both networks, the second with a checkpoint, and perhaps a kill in the middle."""
    dist.init_process_group(timeout=timedelta(seconds=60))
    rank, life = dist.get_rank(), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    assert broadcast_from_rank0(f"told by {rank}") == "told by 0"
    assert all_reduce_mean(rank, 1.0) == (0.5, 1.0)
    if not killed:
        model = plain_network()
        keep(folder, f"plain_{rank}", model, run(model, rank_and_world_size(), **SGD))

    def watch(step, _):
        with open(folder / f"steps_{rank}_{life}", "a") as log:
            log.write(f"{step}\n")
        if killed and rank == 1 and life == 0 and step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    model = beetle_net()
    settings = {**BATCH_NORM, "checkpoint": folder / "run", "watch": watch}
    keep(folder, f"beetle_{rank}", model, run(model, rank_and_world_size(), **settings))
    dist.destroy_process_group()


def explain(folder):
    """Explain the scenes; the method keeps a log, and its second process kills itself once."""
    rank = os.environ["RANK"]
    first_life = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"

    def logged(model, images, targets):
        with open(folder / f"explained_{rank}", "a") as log:
            log.write(f"{len(images)}\n")
        if rank == "1" and first_life and len(list((folder / "shards").glob("0*"))) >= 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return gradient(model, images, targets)

    made = explain_shards(
        folder / "shards", beetle_net().eval(), logged, SCENES, progress=False, **SHARDS
    )
    with open(folder / f"made_{rank}", "a") as log:
        log.write(f"{made}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    job, target = sys.argv[1], Path(sys.argv[2])
    if job == "explain":
        explain(target)
    else:
        train(target, killed=job == "killed")
