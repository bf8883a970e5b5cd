"""What a second process is worth: training and explaining, timed as whole commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from xai_course.beetles import SPECIES
from xai_course.checkpoints import load_checkpoint
from xai_course.shards import open_shards
from xai_course.trials import Row, run_trials

__all__ = ["processes", "run_command"]

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
WAYS = ((1, 1), (1, 2), (2, 1))  # processes, threads in each
SEEDS = (0, 1, 2)
EPOCHS, SCENES = 5, 10_000


def processes(
    file: str | Path | None = None, *, workers: int = 1, progress: bool = True
) -> list[Row]:
    """Train, and explain 10,000 scenes, in one process and in two; a row for each run.

    Settings: `job` ("train" or "explain"), `processes`, `threads` of each, `seed`. What came out:
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
            script = "train.py" if processes == 1 else "train_many.py"
            command = [str(SCRIPTS / script), "--to", str(folder / "network")]
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
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
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
    began = (folder / "claims.lock").stat().st_mtime  # is never written to
    return seen, (folder / "manifest.json").stat().st_mtime - began, right / seen
