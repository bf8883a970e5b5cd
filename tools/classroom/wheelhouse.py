"""Makes a folder that installs the course without a network; called by `make wheelhouse`.

    python -m tools.classroom.wheelhouse [--to FOLDER] [--torch ADDRESS] [-- PIP'S OPTIONS]

The folder holds the wheels of everything that requirements.lock pins and the course needs, the
student's edition, and scripts that install it. Copy it to a USB stick. It works on machines with
the same system, processor and version of Python as the one that made it.

`--torch`: a package index for torch and torchvision, for PyTorch's CPU build: the address in the
command that the selector on pytorch.org shows. On Linux this matters: the build with GPU libraries
is many times as large (TEACHING.md has the sizes).
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tools.classroom.editions import make_edition
from tools.lessons.outputs import ROOT
from tools.lessons.source import LessonError

BUILD = ("pip", "hatchling>=1.27", "editables>=0.5")  # what installs the course itself
INSTALL_SH = """#!/bin/sh
# Installs the course from this folder, without a network, and opens it.
set -e
cd "$(dirname "$0")"
target="${1:-$HOME/beetle-in-a-box}"
python="${PYTHON:-python3}"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$version" != VERSION ]; then
    echo "These wheels are for Python VERSION, and $python is $version." >&2
    echo "Install Python VERSION, then:" >&2
    echo "PYTHON=pythonVERSION sh install.sh" >&2
    exit 1
fi
mkdir -p "$target"
cp -R course/. "$target"
"$python" -m venv "$target/.venv"
"$target/.venv/bin/python" -m pip install --disable-pip-version-check --no-index \\
    --find-links "$(pwd)/wheels" -c "$target/requirements.lock" -e "$target"
echo "To open the course: cd '$target' && .venv/bin/jupyter lab notebooks/00_start_here.ipynb"
"""
INSTALL_BAT = """@echo off
rem Installs the course from this folder, without a network.
cd /d "%~dp0"
set target=%USERPROFILE%\\beetle-in-a-box
if not "%~1"=="" set target=%~1
py -VERSION -c "" || (
    echo These wheels are for Python VERSION. Install that version, then run this again.
    exit /b 1
)
xcopy course "%target%" /E /I /Y /Q || exit /b 1
py -VERSION -m venv "%target%\\.venv" || exit /b 1
"%target%\\.venv\\Scripts\\python" -m pip install --disable-pip-version-check --no-index ^
    --find-links "%~dp0wheels" -c "%target%\\requirements.lock" -e "%target%" || exit /b 1
echo To open the course, in %target%:
echo .venv\\Scripts\\jupyter lab notebooks\\00_start_here.ipynb
"""


def requirements(root: Path = ROOT) -> list[str]:
    """What the course needs to run, as pyproject.toml lists it, without tests and tools."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def download(wanted: list[str], wheels: Path, lock: Path, options: list[str]) -> None:
    """Let pip put wheels of these requirements and of all that they need into a folder.

    Raises LessonError if pip fails; pip prints the reason.
    """
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--dest", str(wheels), "--find-links", str(wheels), "-c", str(lock)]
    command += ["--only-binary=:all:", *options, *wanted]
    if subprocess.run(command).returncode:
        raise LessonError("pip could not download all wheels; its message is above")


def make_wheelhouse(
    folder: Path, wanted: list[str], torch: str | None = None, options: list[str] | None = None
) -> Path:
    """Fill a folder with wheels, the student's edition and the scripts; return it.

    Wheels that the folder has already are not downloaded again.
    """
    wheels, lock, options = folder / "wheels", ROOT / "requirements.lock", options or []
    wheels.mkdir(parents=True, exist_ok=True)
    networks = [line for line in wanted if re.match(r"torch(vision)?\b", line)]
    if torch and networks:
        download(networks, wheels, lock, ["--index-url", torch, *options])
    download([*wanted, *BUILD], wheels, lock, options)
    make_edition("student", folder / "course")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"  # pip's choice of wheels
    (folder / "install.sh").write_text(INSTALL_SH.replace("VERSION", version), encoding="utf-8")
    (folder / "install.sh").chmod(0o755)
    batch = INSTALL_BAT.replace("VERSION", version).replace("\n", "\r\n")
    (folder / "install.bat").write_text(batch, encoding="utf-8")
    return folder


def size(folder: Path) -> float:
    """The size of all files in a folder, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main(arguments: list[str] | None = None) -> int:
    """Make the folder; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "wheelhouse", help="the folder")
    parser.add_argument("--torch", help="index to take torch and torchvision from")
    parser.add_argument("options", nargs="*", help="for pip, after --")
    asked = parser.parse_args(arguments)
    if shutil.disk_usage(ROOT).free < 8e9:
        print("Less than 8 GB free: the build with GPU libraries may not fit.", file=sys.stderr)
    try:
        made = make_wheelhouse(asked.to, requirements(), asked.torch, asked.options)
    except LessonError as error:
        print(f"Not made: {error}", file=sys.stderr)
        return 1
    print(f"{size(made / 'wheels'):.0f} MB of wheels, {size(made):.0f} MB in all, in {made}")
    print("Copy that folder; on the other machine run install.sh, or install.bat on Windows.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
