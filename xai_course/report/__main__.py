"""Explain a folder of images with a network of yours, and write one page that can be mailed.

    beetle-report --model torchvision:resnet50 --images photos
    python -m xai_course.report --model torchvision:resnet50 --images photos

The page, OUT/report.html, holds all pictures and needs no network. Beside it are the notebook that
made it and the results, from which an interrupted run is resumed.
"""

from __future__ import annotations

import argparse
import html
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

from xai_course.report.run import run_report
from xai_course.report.words import short_source
from xai_course.storage.atomic_files import atomic_write

HERE = Path(__file__).parent
NEEDED = ("papermill", "nbconvert")  # the optional extra "report"


def main(words: Sequence[str] | None = None) -> int:
    """Run the report, and print where the page is, or one sentence that says what is wrong.

    Args:
        words: the command line without the command's name; None for that of this process.

    Returns:
        The exit status: 0, 1 for an error, 130 if it was stopped.
    """
    options = _parse(words)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"report: {' and '.join(missing)} not installed; must be installed to write the page: "
            "pip install 'beetle-in-a-box[report]' (in a checkout: pip install -e '.[report]').",
            file=sys.stderr,
        )
        return 1
    try:
        run_report(**options)
        page = write_page(options)
    except (ValueError, ConnectionError, MemoryError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command resumes this run.", file=sys.stderr)
        return 130
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB")
    return 0


def _parse(words: Sequence[str] | None) -> dict[str, Any]:
    """Return the options of the command line, by the names of `run_report`'s arguments."""
    parser = argparse.ArgumentParser(
        prog="beetle-report", description="Explain a folder of images, and write one page."
    )
    parser.add_argument("--model", required=True, help="such as torchvision:resnet50")
    parser.add_argument("--images", required=True, help="a folder of images")
    parser.add_argument("--out", default="runs/report", help="a folder for page and results")
    parser.add_argument("--labels", default="", help="a file of class names, one a line")
    parser.add_argument("--methods", default="", help="names, with commas between them")
    return vars(parser.parse_args(words))


def write_page(options: dict[str, str]) -> Path:
    """Execute the notebook `template.ipynb` on results that are on file, and write the page.

    Args:
        options: of `run_report`, by name.

    Returns:
        The page, OUT/report.html.

    Raises:
        ValueError: if a cell of the notebook fails.
    """
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    out = Path(options["out"]).expanduser()
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this Python
    try:
        notebook = papermill.execute_notebook(
            HERE / "template.ipynb",
            None,  # written below, whole or not at all
            {name.upper(): value for name, value in options.items()},
            cwd=".",
        )
    except PapermillExecutionError as error:
        raise ValueError(f"{error.ename}: {error.evalue}") from error
    text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    atomic_write(out / "report.ipynb", text.encode())
    page = out / "report.html"
    folder = Path(options["images"]).expanduser().resolve().name  # no path of this machine
    title = f"Report: {short_source(options['model'])}, {folder}"
    atomic_write(page, page_of(notebook, title).encode())
    return page


def page_of(notebook: Any, title: str) -> str:
    """Return an executed notebook as one page, without code and without addresses.

    Args:
        notebook: as nbformat reads it.
        title: of the page.

    Returns:
        HTML that needs no other file.
    """
    from nbconvert import HTMLExporter

    for cell in notebook.cells:
        if cell.cell_type == "code":  # warnings, and what the reader's code prints
            cell.outputs = [o for o in cell.outputs if o.output_type != "stream"]
    exporter_class: Any = HTMLExporter  # which has no types
    exporter = exporter_class(
        template_name="basic", exclude_input=True, exclude_output_prompt=True, embed_images=True
    )
    body, _ = exporter.from_notebook_node(notebook)
    frame = Template((HERE / "page.html").read_text("utf-8"))
    return frame.substitute(title=html.escape(title), body=body)


if __name__ == "__main__":
    sys.exit(main())
