"""Train it in two processes, and start them again when one dies.

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --standalone --nproc-per-node 2 --max-restarts 3 scripts/train_many.py

Without the first line, torchrun (PyTorch 2.14) keeps one address book for all starts, and a process
of the second start may wait, until its time is up, for one that died in the first.
"""

import argparse
import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from xai_course.beetlebox import write_beetlebox
from xai_course.data import (
    in_memory,
    load_folders,
    loader,
    modern_transform,
    random_horizontal_flip,
)
from xai_course.models import BeetleNet
from xai_course.storage import save_checkpoint
from xai_course.training import evaluate, fit

options = argparse.ArgumentParser(description="Train BeetleNet as lesson 02 does.")
options.add_argument("--images", help="a folder with train/ and test/; none: BeetleBox")
options.add_argument("--to", type=Path, default=Path("runs/beetle_net"), help="the checkpoint")
options.add_argument("--epochs", type=int, default=5)
options.add_argument("--seed", type=int, default=0)
asked = options.parse_args()

gpu = f"cuda:{os.environ['LOCAL_RANK']}"
device = torch.device(gpu if torch.cuda.is_available() else "cpu")
dist.init_process_group(timeout=timedelta(minutes=2))  # gloo on CPUs, nccl on GPUs
rank, world = dist.get_rank(), dist.get_world_size()
folders = load_folders(asked.images or write_beetlebox(progress=False), modern_transform(64))
train, test = (in_memory(folder) for folder in folders)
classes = folders[0].classes

torch.manual_seed(asked.seed)
model = BeetleNet(len(classes)).to(device)
history = fit(
    DistributedDataParallel(model),
    loader(train, 32, shuffle=True, share=(rank, world)),
    loader(test, 250),
    epochs=asked.epochs,
    learning_rate=0.01,
    label_smoothing=0.1,
    augment=random_horizontal_flip,
    seed=asked.seed,
    device=device,
    checkpoint=asked.to,
    progress=rank == 0,
)
dist.destroy_process_group()
if rank > 0:
    raise SystemExit  # the first process does the rest
seconds = sum(epoch.seconds for epoch in history)
accuracy = evaluate(model, loader(test, 250))
facts = {"accuracy": accuracy, "seconds": seconds, "images": len(train)}
save_checkpoint(asked.to, model, classes=classes, **facts)
