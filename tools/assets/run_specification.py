"""Sum the maps of all methods over the regions of scenes, network by network, for lesson 08.

    python -m tools.assets.run_specification [NETWORK ...] [--further] [--tiles] [--methods A,B]
        [--target FOLDER]

The sums go to data/specification/, a file for each network of `FAMILIES`; those of the methods of
lesson 15 (`--further`) to the folder further/ in it, and those of maps that were made as coarse as
8 x 8 tiles before (`--tiles`) to the folder tiles/. With `--methods` only those are done: such a
file belongs in a folder of its own, since a finished file is not added to. All readings
are computed from the sums (`xai_course.experiments.specifications`). An interrupted run is resumed
at the map where it stopped; delete a file to compute it again. A network whose checkpoint is
missing is left out and named. Several processes may work at the same time, on different networks.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import torch

from xai_course.core.paths import data_folder
from xai_course.experiments import FAMILIES, measure_sums, network_of, specification_scenes
from xai_course.experiments.region_sums import sums_file
from xai_course.methods import course_methods, further_methods

TILE = 8  # pixels: as coarse as the last feature maps
FAMILY = {name: family for family, names in FAMILIES.items() for name in names}


def run(
    network: str, target: Path, further: bool, tiles: bool, only: list[str] | None = None
) -> None:
    """Make the file of one network, and print the time it took."""
    start = time.perf_counter()
    try:
        model = network_of(network)
    except ValueError as error:
        print(f"{network}: left out ({error})", flush=True)
        return
    family = FAMILY[network]
    scenes = specification_scenes("clutter" if family == "clutter" else "plain")
    methods = further_methods() if further else None
    if only:
        every = course_methods() | further_methods()
        methods = {name: every[name] for name in only}
    found = measure_sums(
        network,
        family,
        model,
        scenes,
        methods=methods,
        file=sums_file(network, target),
        tile=TILE if tiles else 1,
        on_method=lambda network, method: print(f"{network}: {method}", flush=True),
    )
    for method, reason in found.refused.items():
        print(f"{network}: {method} does not apply ({reason})")
    print(f"{network}: {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    """Make the files that are not complete."""
    parser = argparse.ArgumentParser(description="Sum all maps over the regions of scenes.")
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(FAMILY)}; none: all")
    parser.add_argument("--further", action="store_true", help="the methods of lesson 15")
    parser.add_argument("--tiles", action="store_true", help=f"maps as tiles of {TILE} pixels")
    parser.add_argument("--methods", help="names of methods, with commas; all if not given")
    parser.add_argument("--target", type=Path, help="folder to write to (data/specification)")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(FAMILY)):
        parser.error(f"no network is called {', '.join(unknown)}; there are {', '.join(FAMILY)}")
    if hasattr(os, "nice"):  # not on Windows
        os.nice(10)
    torch.set_num_threads(1)  # the last bits depend on it
    target = asked.target or data_folder() / "specification"
    folder = target / ("further" if asked.further else "") / ("tiles" if asked.tiles else "")
    only = asked.methods.split(",") if asked.methods else None
    if wrong := sorted(set(only or ()) - set(course_methods() | further_methods())):
        parser.error(f"no method is called {', '.join(wrong)}")
    for name in asked.names or FAMILY:
        run(name, folder, asked.further, asked.tiles, only)


if __name__ == "__main__":
    main()
