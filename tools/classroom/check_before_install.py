"""Says before anything is installed whether this machine can run the course.

    python3 check_before_install.py        (Windows: py check_before_install.py)

It needs nothing but Python itself, installs nothing and asks no network. The editions for a class
hold a copy. After the installation, the first cell of lesson 00 checks the rest.
"""

import importlib
import os
import platform
import shutil
import sys

OLDEST, TESTED, NEWEST = (3, 11), (3, 13), (3, 14)
MODULES = ("ctypes", "ensurepip", "lzma", "sqlite3", "ssl", "venv")
DISK = {"Linux": 6.0}  # GB: PyTorch with its GPU libraries; elsewhere the CPU build
DISK_OTHERWISE = 2.0
MEMORY = 3.0  # GB
LONGEST = 100  # letters of the folder on Windows, where a whole path may have 260


def python():
    """Old or new, and with all that an environment needs."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST:
        return f"{version} is too old", "install Python 3.11 or newer"
    if sys.maxsize < 2**32:
        return f"{version} is a 32-bit Python", "install the 64-bit one"
    missing = []
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        remedy = (
            "on Debian and Ubuntu: sudo apt install python3-venv; elsewhere install Python anew"
        )
        return f"{version} lacks {', '.join(missing)}", remedy
    if sys.version_info[:2] > NEWEST:
        return f"{version} is newer than what the course's packages are made for", "take 3.13"
    if sys.version_info[:2] > TESTED:
        return f"{version}, 64 bits; nobody has run the course on it", ""
    return f"{version}, 64 bits", ""


def machine():
    """The processor: for Macs with an Intel processor there is no PyTorch that is new enough."""
    what = f"{platform.system()}, {platform.machine()}"
    if platform.system() == "Darwin" and platform.machine() == "x86_64":
        remedy = "on a Mac with an Apple processor install Python for it; else take another machine"
        return f"{what}: PyTorch is no longer made for this processor", remedy
    return what, ""


def disk():
    """Room for the installation."""
    needed = DISK.get(platform.system(), DISK_OTHERWISE)
    free = shutil.disk_usage(here()).free / 1e9
    if free < needed:
        remedy = "make room, put the folder on another disk, or on Linux take PyTorch's CPU build"
        return f"{free:.1f} GB free, {needed:g} GB are needed", remedy
    return f"{free:.0f} GB free, {needed:g} GB are needed", ""


def memory():
    """All memory of the machine, where Python can tell."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return "not measured on this system", ""
    if total < MEMORY:
        return f"{total:.1f} GB, {MEMORY:g} GB are needed", "take another machine, or a server"
    return f"{total:.0f} GB", ""


def folder():
    """Whether the folder can be written to, and its path is short enough for Windows."""
    place = here()
    if not os.access(place, os.W_OK):
        return f"{place} cannot be written to", "copy the folder to your own files"
    if platform.system() == "Windows" and len(place) > LONGEST:
        return f"{place} is a long path", "copy the folder to a short one, such as C:\\beetles"
    return place, ""


def mirror():
    """Where pip will look."""
    names = ("PIP_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE")
    found = [name for name in names if os.environ.get(name)]
    if found:
        return f"set by {', '.join(found)}", ""
    return "pip's usual index, or that of its settings (pip config list)", ""


def here():
    """The folder of this file."""
    return os.path.dirname(os.path.abspath(__file__))


def main():
    """Print a line for each thing; return the exit status."""
    checks = {"Python": python, "machine": machine, "disk": disk, "memory": memory}
    checks.update({"folder": folder, "packages": mirror})
    misses = 0
    for name, check in checks.items():
        state, remedy = check()
        misses += bool(remedy)
        print(f"NO  {name}: {state} -> {remedy}" if remedy else f"ok  {name}: {state}")
    print("Look at the lines with NO." if misses else "This machine can install the course.")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
