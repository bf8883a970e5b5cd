"""Explain many scenes into a folder of shards, in as many processes as you like.

    python scripts/explain_many.py FOLDER
    torchrun --standalone --nproc-per-node 2 --max-restarts 3 scripts/explain_many.py FOLDER

The processes share nothing but the folder: each takes the next shard that nobody has taken.
"""

import argparse
import os
from pathlib import Path

import torch

from xai_course.beetlebox import SPECIES, scenes
from xai_course.core.paths import data_folder
from xai_course.methods import course_methods
from xai_course.storage import explain_shards, load_checkpoint

NETWORK = data_folder() / "checkpoints" / "beetle_net"

parser = argparse.ArgumentParser(description="Explain many scenes into a folder of shards.")
parser.add_argument("folder", type=Path)
parser.add_argument("--network", type=Path, default=NETWORK, help="a checkpoint")
parser.add_argument("--method", default="LRP", help="one of lesson 08's, such as 'IG, mean'")
parser.add_argument("--scenes", type=int, default=10_000, help="rounded down to tens")
parser.add_argument("--per-shard", type=int, default=100)
parser.add_argument("--half", action="store_true", help="store relevance in 16 bits")
parser.add_argument("--threads", type=int, default=1, help="the same for all, for the same bits")
options = parser.parse_args()

process = int(os.environ.get("LOCAL_RANK", 0))
print(f"process {process} is {os.getpid()}", flush=True)
torch.set_num_threads(options.threads)
methods = course_methods()
if options.method not in methods:
    parser.error(f"--method: got {options.method!r}; must be one of {', '.join(methods)}.")
model, _ = load_checkpoint(options.network)
model.to(torch.device(f"cuda:{process}" if torch.cuda.is_available() else "cpu"))
# One scene of each species after the other, so that a part of the shards is a fair sample.
by_species = [scenes("extra", name, options.scenes // len(SPECIES)) for name in SPECIES]
made = explain_shards(
    options.folder,
    model,
    methods[options.method],
    [scene for group in zip(*by_species, strict=True) for scene in group],
    per_shard=options.per_shard,
    dtype=torch.float16 if options.half else torch.float32,
    progress=False,
)
print(f"process {process} made {made} shards", flush=True)
