"""What was measured, as a text table, as JSON and as the README's table.

`results.json` is flat, so that a lesson can read it:

    {"machine": {"processor", "cores", "threads", "system", "python", "torch", "captum", ...},
     "date": "2026-11-25",
     "methods":  [{"network", "method", "turns", "seconds", "peak_mb", "passes", "floor_ratio",
                   "floor_quartiles", "peers": [{"name", "ratio", "quartiles", "agreement",
                   "note"}]}],
     "measures": [the same]}

`seconds`: the median of one call, for the whole batch. `peak_mb`: the most memory that the call
holds (see `timing.peak_memory`). `passes`: the bare passes in words. `floor_ratio`: our seconds
over those of the bare passes; None where there is no pass. A peer's `ratio`: our seconds over its
own, so below 1 we are the faster; None if it raised, and then `note` has the error. `agreement`:
the largest absolute difference of the two results over the largest absolute value of the peer's;
None where they are not meant to be equal. Medians, with [lower, upper] quartiles, over the turns.
"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["agreement", "fastest", "machine", "readme_table", "text_table", "write"]

START, END = "<!-- bench:start -->", "<!-- bench:end -->"
PEERS = ("captum", "grad-cam", "torchcam", "zennit", "quantus")
WRONG = 0.01  # a peer that is further away than this from our result computes another thing

Row = dict[str, Any]


def machine(threads: int) -> dict[str, Any]:
    """Describe the machine, without its name or an address."""
    processor = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": version("torch"),
        **{name: version(name) for name in PEERS},
    }


def agreement(ours: Any, theirs: Any) -> float:
    """Return the largest absolute difference over the largest absolute value of the peer's."""
    if ours.shape != theirs.shape:
        raise ValueError(f"the shapes differ: {tuple(ours.shape)} and {tuple(theirs.shape)}")
    largest = theirs.abs().max().item()
    difference = (ours - theirs).abs().max().item()
    return float(difference / largest) if largest else float(difference)


def fastest(row: Row) -> Row | None:
    """Return the fastest of the peers that did not raise: the one with the largest ratio."""
    ran = [peer for peer in row["peers"] if peer["ratio"] is not None]
    return max(ran, key=lambda peer: float(peer["ratio"]), default=None)


def text_table(row: Row) -> str:
    """Return one method's lines: ours beside the bare passes, then beside each peer."""
    line = f"  {row['method']:26} {1000 * row['seconds']:7.1f} ms {row['peak_mb']:7.1f} MB  "
    if row["floor_ratio"] is None:
        lines = [line + row["passes"]]
    else:
        low, high = row["floor_quartiles"]
        lines = [line + f"{row['floor_ratio']:5.2f} ({low:.2f} to {high:.2f}) × {row['passes']}"]
    for peer in row["peers"]:
        note = f"  {peer['note']}" if peer["note"] else ""
        if peer["ratio"] is None:
            lines.append(f"    ÷ {peer['name']:41}{note}")
            continue
        low, high = peer["quartiles"]
        apart = "" if peer["agreement"] is None else f"  apart {peer['agreement']:.0e}"
        lines.append(
            f"    ÷ {peer['name']:41} {peer['ratio']:5.2f} ({low:.2f} to {high:.2f}){apart}{note}"
        )
    return "\n".join(lines)


def readme_table(results: dict[str, Any], notes: dict[str, str]) -> str:
    """Return the README's table: methods and measures down, the networks across."""
    about = results["machine"]
    rows = results["methods"] + results["measures"]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    by_name: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_name.setdefault(row["method"], {})[row["network"]] = row
    head = " | ".join(f"{n}: ÷ fastest peer | apart | ÷ bare" for n in networks)
    lines = [f"| | {head} |", "|---" * (1 + 3 * len(networks)) + "|"]
    for name, cells in by_name.items():
        if name == next((row["method"] for row in results["measures"]), None):
            lines.append("| **Measures** |" + " |" * 3 * len(networks))
        line = [f"`{name.partition(',')[0]}`{name[len(name.partition(',')[0]) :]}"]
        for network in networks:
            line += _cells(cells[network]) if network in cells else [""] * 3
        lines.append("| " + " | ".join(line) + " |")
    versions = ", ".join(f"{name} {about[name]}" for name in PEERS)
    lines += [
        "",
        f"{about['processor']}, {about['threads']} of {about['cores']} cores, "
        f"PyTorch {about['torch']}, {results['date']}; {versions}.",
        "",
        *(f"- {name}: {note}" for name, note in notes.items()),
    ]
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    """Return the three cells of one method on one network."""
    peer = fastest(row)
    floor = "no pass" if row["floor_ratio"] is None else f"{row['floor_ratio']:.2f}"
    if peer is None:
        raised = row["peers"][0]["name"] + " raises" if row["peers"] else "no peer"
        return [raised, "", floor]
    far = peer["agreement"] is not None and peer["agreement"] > WRONG
    apart = f"{peer['agreement']:.0e}" if peer["agreement"] is not None else peer["note"]
    if far:
        apart = f"**{apart}**" + (f" {peer['note']}" if peer["note"] else "")
    return [f"{peer['ratio']:.2f} {peer['name']}", apart, floor]


def write(results: dict[str, Any], notes: dict[str, str], path: Path, readme: Path) -> None:
    """Write the JSON, and the table between the README's two markers."""
    text = readme.read_text("utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(
            f"{readme.name}: got other markers; must have one {START} with one {END} after it."
        )
    before, rest = text.split(START)
    after = rest.split(END)[1]
    table = readme_table(results, notes)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    readme.write_text(f"{before}{START}\n{table}\n{END}{after}", "utf-8")
