"""Start a script in two processes, as `torchrun` does, or run it in this process."""

import os
import runpy
import subprocess
import sys

from tools.lessons.outputs import ROOT

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def start(*command):
    """Run Python with one thread to each process; return what it printed.

    Each start of torchrun's engine gets an address book of its own: see scripts/train.py.
    """
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_here(monkeypatch, script, *arguments):
    """Run a script in this process, which spares the start of Python and PyTorch."""
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    runpy.run_path(str(script), run_name="__main__")
