"""What compiling a network brings (lesson 10), and what several processes bring (lesson 11)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from timeit import repeat
from typing import Any

import torch
from torch import Tensor

from xai_course.beetlebox.scene import SPECIES, scenes
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.checks import check_choice
from xai_course.core.paths import data_folder
from xai_course.data.transforms import normalise
from xai_course.storage.checkpoints import load_checkpoint
from xai_course.storage.results_table import Row, run_trials
from xai_course.storage.shards import open_shards

__all__ = ["compile_trials", "process_trials", "run_command", "time_compiled"]


# ---- torch.compile -------------------------------------------------------------------------------

COMPILED = [{"what": what, "images": n} for what in ("gradient", "answer") for n in (20, 1)]


def compile_trials(file: str | Path | None = None, *, workers: int = 1) -> list[Row]:
    """Time compiled networks: answers and gradients of 1 and 20 images.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: not used. The trials run one after another, because side by side they would slow
            one another down.

    Returns:
        A row for each trial, with the results of `time_compiled`.

    Raises:
        ValueError: as `run_trials`.
    """
    del workers
    return run_trials(COMPILED, time_compiled, file)


def time_compiled(what: str, images: int) -> dict[str, float]:
    """Compile BeetleNet and time it beside the plain network. It needs a C++ compiler.

    Args:
        what: "answer", the logits; or "gradient", that of the largest logit by the image.
        images: images in one pass, at most 20.

    Returns:
        "first call, core s", the core seconds of the call that compiles, with nothing kept on disk
        from earlier ones (but within one process some is used again); "compiled, ms" and
        "plain, ms", the least milliseconds of 30 later calls; and "error", the largest difference
        as a share of the largest value.

    Raises:
        ValueError: for another `what`.
    """
    check_choice("what", what, ("answer", "gradient"))
    plain, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
    plain.requires_grad_(False)
    torch.compiler.reset()
    compiled: Any = torch.compile(plain)
    drawn = [scene for name in SPECIES for scene in scenes("test", name, 2)][:images]
    x = normalise(stack_images(drawn))

    def run(network: Any) -> Tensor:
        if what == "answer":
            with torch.inference_mode():
                return torch.as_tensor(network(x))
        point = x.clone().requires_grad_()
        return torch.autograd.grad(network(point).max(1).values.sum(), point)[0]

    with _empty_compiler_cache():
        start = _core_seconds()
        result = run(compiled)
        first_call = _core_seconds() - start
    expected = run(plain)
    least = [min(repeat(partial(run, net), number=1, repeat=30)) for net in (compiled, plain)]
    error = float((result - expected).abs().max() / expected.abs().max())
    return {
        "first call, core s": round(first_call, 1),
        "compiled, ms": round(1000 * least[0], 2),
        "plain, ms": round(1000 * least[1], 2),
        "error": float(f"{error:.1e}"),
    }


@contextmanager
def _empty_compiler_cache() -> Iterator[None]:
    """Let PyTorch compile into an empty folder, in this process; restore the environment."""
    before = dict(os.environ)
    with TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        try:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
            os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # so that all work is measured
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _core_seconds() -> float:
    """Return the core seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


# ---- several processes ---------------------------------------------------------------------------

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
WAYS = ((1, 1), (1, 2), (2, 1))  # processes, threads in each
SEEDS = (0, 1, 2)
EPOCHS, SCENES = 5, 10_000


def process_trials(
    file: str | Path | None = None, *, workers: int = 1, progress: bool = True
) -> list[Row]:
    """Train, and explain 10,000 scenes, in one process and in two.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: not used. The trials run one after another, because they are timed.
        progress: show a bar, and a line at the end.

    Returns:
        A row for each run: "job" ("train" or "explain"), "processes", "threads" of each and "seed",
        with the results of `run_command`.

    Raises:
        ValueError: as `run_trials`.
    """
    del workers
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
    """Run a command of scripts/ and time it.

    Args:
        job: "train" or "explain".
        processes: number of processes; more than one are started by torchrun.
        threads: of each process.
        seed: of the training.

    Returns:
        "images" that were learnt from (all epochs) or explained; "seconds" of the whole command,
        and "working" without the start of Python; "accuracy" of the network, on the test images or
        on the scenes that were explained; "megabytes" that were written.

    Raises:
        RuntimeError: with the command's own words, if it fails.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "made"
        command = _command(job, processes, threads, seed, folder)
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


def _command(job: str, processes: int, threads: int, seed: int, folder: Path) -> list[str]:
    """Return the arguments to Python of a command of scripts/ that writes to a folder."""
    if job == "explain":
        command = [str(SCRIPTS / "explain_many.py"), str(folder), "--scenes", str(SCENES)]
        command += ["--threads", str(threads)]
    else:
        command = [str(SCRIPTS / "train.py"), "--to", str(folder / "network")]
        command += ["--epochs", str(EPOCHS), "--seed", str(seed)]
    if processes == 1:
        return command
    torchrun = ["-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc-per-node", str(processes), *command]


def _trained(folder: Path) -> tuple[int, float, float]:
    """Return the images, seconds and accuracy of a training from the card that it left."""
    _, card = load_checkpoint(folder / "network")
    return card["images"] * EPOCHS, card["seconds"], card["accuracy"]


def _explained(folder: Path) -> tuple[int, float, float]:
    """Return the images, seconds and accuracy of explanations from the shards that they left."""
    species, correct, images = list(SPECIES), 0, 0
    for shard in open_shards(folder):
        predicted = [species[target] for target in shard.targets.tolist()]
        pairs = zip(shard.items, predicted, strict=True)
        correct += sum(item["species"] == name for item, name in pairs)
        images += len(predicted)
    # The work lasted from the first claim to the last entry.
    began = min(claim.stat().st_mtime for claim in (folder / "claims").iterdir())
    seconds = (folder / "manifest.json").stat().st_mtime - began
    return images, seconds, correct / images
