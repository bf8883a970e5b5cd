"""What an explanation costs, and how far it is from the one that more passes would give."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from timeit import repeat
from typing import Any

import torch
from torch import Tensor

from xai_course.beetlebox.scene import SPECIES, scenes
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.paths import data_folder
from xai_course.data.transforms import normalise
from xai_course.storage.checkpoints import load_checkpoint
from xai_course.storage.results_table import Row, run_trials
from xai_course.storage.shards import open_shards

__all__ = ["compile_costs", "process_trials", "run_command", "time_compiled"]


# ---- what torch.compile brings -------------------------------------------------------------------

COMPILED = [{"what": what, "images": n} for what in ("gradient", "answer") for n in (20, 1)]


def time_compiled(what: str, images: int) -> dict[str, float]:
    """Compile BeetleNet and time it beside the plain one: a trial of `compile_costs`.

    `what`: "answer", the logits, or "gradient", that of the largest logit by the image. Returns
    the core seconds of the first call, which compiles, with nothing kept on disk from earlier ones
    (but within one process some is used again); the least milliseconds of 30 later ones, and those
    of the plain network; and the largest difference as a share of the largest value. Needs a C++
    compiler. Raises ValueError for another `what`.
    """
    if what not in ("answer", "gradient"):
        raise ValueError(f"what: got {what!r}; allowed are 'answer' and 'gradient'.")
    plain, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
    plain.requires_grad_(False)
    torch.compiler.reset()
    compiled: Any = torch.compile(plain)
    some = [scene for name in SPECIES for scene in scenes("test", name, 2)][:images]
    x = normalise(stack_images(some))

    def run(network: Any) -> Tensor:
        if what == "answer":
            with torch.inference_mode():
                return torch.as_tensor(network(x))
        point = x.clone().requires_grad_()
        return torch.autograd.grad(network(point).max(1).values.sum(), point)[0]

    before = dict(os.environ)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        try:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
            os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # so that all work is seen
            start = sum(os.times()[:4])  # of this process and of those that it waited for
            found = run(compiled)
            first = sum(os.times()[:4]) - start
        finally:
            os.environ.clear()
            os.environ.update(before)
    true = run(plain)
    least = [min(repeat(partial(run, net), number=1, repeat=30)) for net in (compiled, plain)]
    return {
        "first call, core s": round(first, 1),
        "compiled, ms": round(1000 * least[0], 2),
        "plain, ms": round(1000 * least[1], 2),
        "error": float(f"{float((found - true).abs().max() / true.abs().max()):.1e}"),
    }


def compile_costs(file: str | Path | None = None, *, workers: int = 1) -> list[Row]:
    """Run `time_compiled` for answers and gradients of 1 and 20 images (`run_trials`).

    One after another, whatever `workers` says: side by side they would slow one another down.
    """
    del workers
    return run_trials(COMPILED, time_compiled, file)


SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
WAYS = ((1, 1), (1, 2), (2, 1))  # processes, threads in each
SEEDS = (0, 1, 2)
EPOCHS, SCENES = 5, 10_000


def process_trials(
    file: str | Path | None = None, *, workers: int = 1, progress: bool = True
) -> list[Row]:
    """Train, and explain 10,000 scenes, in one process and in two; a row for each run.

    Settings: `job` ("train" or "explain"), `process_trials`, `threads` of each, `seed`. What came out:
    see `run_command`. The runs come one after the other, whatever `workers` is, since they are
    timed. `file`: the table to keep them in (`run_trials`).
    """
    trials = [
        {"job": "train", "processes": count, "threads": threads, "seed": seed}
        for seed in SEEDS
        for count, threads in WAYS
    ]
    trials += [
        {"job": "explain", "processes": count, "threads": threads, "seed": 0}
        for count, threads in WAYS
    ]
    return run_trials(trials, run_command, file, progress=progress)


def run_command(job: str, processes: int, threads: int, seed: int) -> dict[str, float]:
    """Run a command of scripts/ and say what came of it.

    `images`: how many were learnt from (all epochs) or explained; `seconds` for the whole command,
    and `working` without the start of Python; `accuracy` of the network, on the test images or on
    the scenes that were explained; `megabytes` that were written. Raises RuntimeError with the
    command's own words if it fails.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "made"
        if job == "explain":
            command = [str(SCRIPTS / "explain_many.py"), str(folder), "--scenes", str(SCENES)]
            command += ["--threads", str(threads)]
        else:
            command = [str(SCRIPTS / "train.py"), "--to", str(folder / "network")]
            command += ["--epochs", str(EPOCHS), "--seed", str(seed)]
        if processes > 1:
            engine = ["-m", "torch.distributed.run", "--standalone"]
            command = [*engine, "--nproc-per-node", str(processes), *command]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
        images, working, accuracy = _explained(folder) if job == "explain" else _trained(folder)
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
    return {
        "images": images,
        "seconds": round(seconds, 1),
        "working": round(working, 1),
        "accuracy": accuracy,
        "megabytes": round(size, 1),
    }


def _trained(folder: Path) -> tuple[int, float, float]:
    """Read what a training came to."""
    _, card = load_checkpoint(folder / "network")
    return card["images"] * EPOCHS, card["seconds"], card["accuracy"]


def _explained(folder: Path) -> tuple[int, float, float]:
    """Read what the explaining came to; it lasted from the first claim to the last entry."""
    species, right, seen = list(SPECIES), 0, 0
    for shard in open_shards(folder):
        named = [species[target] for target in shard.targets.tolist()]
        right += sum(item["species"] == name for item, name in zip(shard.items, named, strict=True))
        seen += len(named)
    began = min(claim.stat().st_mtime for claim in (folder / "claims").iterdir())
    return seen, (folder / "manifest.json").stat().st_mtime - began, right / seen
