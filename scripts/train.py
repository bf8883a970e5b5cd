"""Train BeetleNet as lesson 02 does, in one process or in several.

    python scripts/train.py --to runs/net

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --standalone --nproc-per-node 2 --max-restarts 3 scripts/train.py --to runs/net

torchrun starts the script in two processes, and starts both again when one dies. A run that was
stopped is resumed after its last complete epoch. Without the export, torchrun (PyTorch 2.14) keeps
one address book for all starts, and a process of the second start may wait, until its time is up,
for one that died in the first.
"""

import argparse
import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
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
from xai_course.training import TrainingConfig, evaluate, fit, rank_and_world_size

parser = argparse.ArgumentParser(description="Train BeetleNet as lesson 02 does.")
parser.add_argument("--images", help="a folder with train/ and test/; none: BeetleBox")
parser.add_argument("--to", type=Path, default=Path("runs/beetle_net"), help="the checkpoint")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

# In which process are we?
if dist.is_torchelastic_launched():  # by torchrun
    dist.init_process_group(timeout=timedelta(minutes=2))  # gloo on CPUs, nccl on GPUs
rank, world_size = rank_and_world_size()
gpu = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
device = torch.device(gpu if torch.cuda.is_available() else "cpu")

# The images and the network
transform = modern_transform(64)
folders = load_folders(options.images or write_beetlebox(progress=False), transform)
train, test = (in_memory(folder) for folder in folders)
classes = folders[0].classes
torch.manual_seed(options.seed)
model = BeetleNet(len(classes)).to(device)

# Training: with several processes, each learns from its share of every batch
config = TrainingConfig(
    epochs=options.epochs,
    learning_rate=0.01,
    label_smoothing=0.1,
    augment=random_horizontal_flip,
    seed=options.seed,
)
trained: nn.Module = DistributedDataParallel(model) if world_size > 1 else model
history = fit(
    trained,
    config,
    loader(train, 32, shuffle=True, rank=rank, world_size=world_size),
    loader(test, 250),
    device=device,
    checkpoint=options.to,
    progress=rank == 0,
)
if dist.is_initialized():
    dist.destroy_process_group()

# The first process saves the result
if rank == 0:
    seconds = sum(epoch.seconds for epoch in history)
    accuracy = evaluate(model, loader(test, 250))
    facts = {"accuracy": accuracy, "seconds": seconds, "images": len(train)}
    # With the transform on its card, `make report MODEL=runs/net.safetensors` needs nothing else.
    save_checkpoint(options.to, model, classes=classes, transform=transform, **facts)
