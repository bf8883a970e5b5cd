"""Side by side: our methods and measures, the bare passes they need, and the peers.

    python benchmarks/bench.py [--runs 16] [--seconds 30] [--threads 2] [--only lrp] [--quick]

Everything runs in turns (see `timing.take_turns`), in one process, on the same images, classes and
options. Prints a table. Writes `benchmarks/results.json` and the README's table, unless `--only` or
`--quick` left something out.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler that counts memory is quiet

import numpy as np
import torch
from cost import Case, Ours, cases, methods
from measures import measures, rival_measures
from peers import NOT_COMPARED, Peer, peers
from report import agreement, machine, text_table, write
from timing import peak_memory, ratio, take_turns

HERE = Path(__file__).parent

# Where a target is missed, one line says why.
NOTES = {
    "*BeetleNet*": "a forward pass of the whole batch takes 8 ms here, so about one millisecond "
    "for checking arguments and results and for watching the pass from Python shows as a tenth or "
    "more. "
    "On ResNet-18 it does not show.",
    "`class_activation_map`": "torchcam reads the weights of a pooled head and runs without "
    "autograd; ours goes through any linear head, and checks that the map sums to the logit.",
    "`deconvnet`, `guided_backprop`": "another rule at each ReLU is two or three steps over its "
    "map in place of autograd's one.",
    "`full_grad`": "makes a map of every bias; the peer does, too, in ten times the time.",
    "`deeplift`, `lrp`": "the share of every unit is worked out and kept, some seven steps over "
    "each map in place of one. LRP's γ rule also runs each layer three to five times.",
    "`integrated_gradients`": "what lies apart are points that float32 puts on the other side of a "
    "ReLU's kink; in float64 it is below 1e-6 (a test).",
    "`occlusion`": "on small images, cutting the windows out is a tenth of a pass.",
    "*Measures*": "with as many passes on either side nearly all of the time is the model's, so "
    "nobody can be five times as fast as Quantus; what is ours to save is saved. With a "
    "function, ours runs the model once more than Quantus, to check it and to find the classes; "
    "with the map given, not at all.",
    "`…, faster`": "ours explains the copy that `faster` makes, the peers and the bare passes the "
    "network itself; what lies apart is its rounding.",
    "`score_cam`, `lime`, `shapley_values`": "on the small network alone, as they take hundreds of "
    "passes; with as many on either side.",
    "`grad_cam_plus_plus`": "the peer adds 1e-6 to a denominator.",
    "`deletion_and_insertion`": "pixels of equal relevance are replaced in another order.",
    "`deletion_curve`": "Quantus counts a pixel's channels one by one, and so splits pixels.",
    "`randomisation`": "ranking the pixels of all maps takes longer than making them.",
}


def measure(
    case: Case, name: str, ours: Ours, rivals: list[Peer], turns: int, seconds_at_most: float = 30
) -> dict[str, Any]:
    """Measure one method on one network beside the bare passes and the peers.

    In `turns` turns, or in as many as fit into that many seconds, but at least six.
    """
    result = ours.call()
    calls: dict[str, Callable[[], Any]] = {"ours": ours.call}
    if ours.bare is not None:
        calls["bare"] = ours.bare
    rows: list[dict[str, Any]] = []
    for peer in rivals:
        empty: dict[str, Any] = dict.fromkeys(("ratio", "quartiles", "agreement"))
        row = {"name": peer.name, **empty, "note": peer.note}
        rows.append(row)
        try:
            call = peer.build()
            theirs = call()
            if peer.same is not None:
                row["agreement"] = agreement(peer.same(result), theirs)
            calls[peer.name] = call
        except Exception as error:  # whatever a peer raises stands in the table
            first_line = (str(error).splitlines() or [""])[0]
            row["agreement"] = None
            row["note"] = f"raises {type(error).__name__}: {first_line}"
    (one_turn,) = zip(*take_turns(calls, 1).values(), strict=True)  # the first calls allocate
    turns = min(turns, max(6, int(seconds_at_most / sum(one_turn))))
    seconds = take_turns(calls, turns)
    for row in rows:
        if row["name"] in calls:
            row["ratio"], row["quartiles"] = ratio(seconds["ours"], seconds[row["name"]])
    floor, quartiles = None, None
    if ours.bare is not None:
        floor, quartiles = ratio(seconds["ours"], seconds["bare"])
    return {
        "network": case.name,
        "method": name,
        "turns": turns,
        "seconds": median(seconds["ours"]),
        "peak_mb": peak_memory(ours.call),
        "passes": ours.words,
        "floor_ratio": floor,
        "floor_quartiles": quartiles,
        "peers": rows,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=16, help="turns for each method, at most")
    parser.add_argument("--seconds", type=float, default=30, help="at most, for each method")
    parser.add_argument("--threads", type=int, help="of PyTorch; by default as many as it takes")
    parser.add_argument("--only", nargs="*", help="names of methods and measures; all by default")
    parser.add_argument("--quick", action="store_true", help="tiny batches: does it all run?")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")  # the peers' advice, once a call
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(0)
    results: dict[str, Any] = {
        "machine": machine(torch.get_num_threads()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "methods": [],
        "measures": [],
    }
    print(f"{torch.get_num_threads()} threads, {asked.runs} turns or fewer; medians (quartiles)")
    for case in cases(small=asked.quick):
        both = (
            ("methods", methods(case), peers(case)),
            ("measures", measures(case), rival_measures(case)),
        )
        for kind, ours, rivals in both:
            print(f"\n{case.name}: {kind}")
            for name, each in ours.items():
                if not asked.only or name in asked.only:
                    row = measure(case, name, each, rivals.get(name, []), asked.runs, asked.seconds)
                    results[kind].append(row)
                    print(text_table(row), flush=True)
    print("\nNot compared: " + "; ".join(f"{name} {why}" for name, why in NOT_COMPARED.items()))
    for name, note in NOTES.items():
        print(f"{name}: {note}")
    if not asked.only and not asked.quick:
        write(results, NOTES, HERE / "results.json", HERE.parent / "README.md")


if __name__ == "__main__":
    main()
