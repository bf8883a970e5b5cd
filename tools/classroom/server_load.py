"""Measures the load of a class on one server: memory and time of several kernels at once.

    python -m tools.classroom.server_load [--kernels 4] [--lesson 04] [--share 0.5]

Starts kernels one after another, runs the first cells of a lesson in all of them at once, each with
one thread, and reads their memory from Linux. RSS counts shared pages for each kernel; PSS divides
them among the kernels, so the sum of PSS is the memory of all kernels together. USS, the memory of
one kernel alone, is the cost of one more student.
"""

import argparse
import os
import re
import resource
import threading
import time
from pathlib import Path

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tools.lessons.build import KERNEL_ENVIRONMENT, ThisPython, notebook_path, read_lessons
from tools.lessons.outputs import ROOT
from tools.lessons.source import edition, tags_of


def first_cells(number: str, share: float) -> list[tuple[str, bool]]:
    """The code of the first cells of a lesson, and whether a cell is meant to fail."""
    (lesson,) = read_lessons(ROOT / "lessons", [number])
    notebook, _ = edition(lesson, solutions=False)
    code = [
        (cell.source, "raises-exception" in tags_of(cell))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return code[: max(1, round(share * len(code)))]


def start() -> tuple[KernelManager, BlockingKernelClient]:
    """A kernel as the builder starts it, but with one thread."""
    manager = KernelManager(kernel_name="python3", kernel_spec_manager=ThisPython())
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    folder = notebook_path(read_lessons(ROOT / "lessons")[0], ROOT / "notebooks", False).parent
    manager.start_kernel(env={**os.environ, **KERNEL_ENVIRONMENT, **threads}, cwd=str(folder))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    return manager, client


def run(client: BlockingKernelClient, cells: list[tuple[str, bool]], failed: list[str]) -> None:
    """Run cells; note the first that fails."""
    for cell, may_fail in cells:
        reply = client.execute_interactive(cell, timeout=600, output_hook=lambda message: None)
        if reply["content"]["status"] != "ok" and not may_fail:
            failed.append(f"{reply['content'].get('evalue')} in {cell[:60]!r}")
            return


def megabytes(pid: int) -> dict[str, float]:
    """RSS, PSS and USS of a process, and its largest RSS so far, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    kilobytes = {name: int(n) for name, n in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    alone = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
    found = {"RSS": kilobytes["Rss"], "PSS": kilobytes["Pss"], "USS": alone, "peak RSS": peak}
    return {name: value / 1e3 for name, value in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kernels", type=int, default=4)
    parser.add_argument("--lesson", default="03")
    parser.add_argument("--share", type=float, default=0.5, help="of the lesson's code cells")
    asked = parser.parse_args()
    cells, failed = first_cells(asked.lesson, asked.share), list[str]()
    kernels = [start() for _ in range(asked.kernels)]
    try:
        begun = time.perf_counter()
        jobs = [threading.Thread(target=run, args=(k[1], cells, failed)) for k in kernels]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        wall = time.perf_counter() - begun
        if failed:
            raise SystemExit(f"a cell failed: {failed[0]}")
        found = [megabytes(manager.provisioner.pid) for manager, _ in kernels]
        print(f"{asked.kernels} kernels, {len(cells)} code cells of lesson {asked.lesson} each")
        for number, one in enumerate(found, start=1):
            print(f"  kernel {number}: " + ", ".join(f"{k} {v:.0f} MB" for k, v in one.items()))
        total = sum(one["PSS"] for one in found)
        print(f"  together (sum of PSS) {total:.0f} MB, {total / len(found):.0f} MB a kernel")
        print(f"  all cells in {wall:.0f} s")
    finally:
        for manager, client in kernels:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = spent.ru_utime + spent.ru_stime
    print(f"  {seconds / asked.kernels:.0f} s of one core a kernel, imports included")


if __name__ == "__main__":
    main()
