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

from xai_course.core.translation import LANGUAGES, language, translate, use_language
from xai_course.report.run import run_report
from xai_course.report.words import listed, short_source
from xai_course.storage.atomic_files import atomic_write

HERE = Path(__file__).parent
HTML_LANGUAGES = {"en": "en", "zh": "zh-CN"}
NEEDED = ("papermill", "nbconvert")  # the optional extra "report"


def main(words: Sequence[str] | None = None) -> int:
    """Run the report, and print where the page is, or one sentence that says what is wrong.

    Args:
        words: the command line without the command's name; None for that of this process.

    Returns:
        The exit status: 0, 1 for an error, 130 if it was stopped.
    """
    options = _parse(words)
    with use_language(options["language"] or language()):
        return _make_report(options)


def _make_report(options: dict[str, Any]) -> int:
    """Run the report in the language of this thread; return the exit status."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        words_of_it = translate(
            "report: {packages} not installed; must be installed to write the page: pip install "
            "'beetle-in-a-box[report]' (in a checkout: pip install -e '.[report]').",
            packages=listed(missing),
        )
        print(words_of_it, file=sys.stderr)
        return 1
    try:
        run_report(**{name: value for name, value in options.items() if name != "language"})
        page = write_page(options)
    except (ValueError, ConnectionError, MemoryError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(translate("Stopped. The same command resumes this run."), file=sys.stderr)
        return 130
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB")
    return 0


def _parse(words: Sequence[str] | None) -> dict[str, Any]:
    """Return the options of the command line, by the names of `run_report`'s arguments."""
    parser = argparse.ArgumentParser(
        prog="beetle-report",
        description=translate("Explain a folder of images, and write one page."),
    )
    parser.add_argument("--model", required=True, help=translate("such as torchvision:resnet50"))
    parser.add_argument("--images", required=True, help=translate("a folder of images"))
    parser.add_argument(
        "--out", default="runs/report", help=translate("a folder for page and results")
    )
    parser.add_argument("--labels", default="", help=translate("a file of class names, one a line"))
    parser.add_argument("--methods", default="", help=translate("names, with commas between them"))
    parser.add_argument(
        "--language",
        default="",
        choices=("", *LANGUAGES),
        help=translate(
            "of the page; the reader's (LANG_COURSE, or the system's) if it is not given"
        ),
    )
    return vars(parser.parse_args(words))


def write_page(options: dict[str, str]) -> Path:
    """Execute the notebook `template.ipynb` on results that are on file, and write the page.

    Args:
        options: of `run_report`, by name, and "language"; without it the reader's.

    Returns:
        The page, OUT/report.html.

    Raises:
        ValueError: if a cell of the notebook fails.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    out = Path(options["out"]).expanduser()
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this Python
    chosen = options.get("language") or language()
    parameters = {name.upper(): value for name, value in options.items()} | {"LANGUAGE": chosen}
    try:
        notebook = papermill.execute_notebook(
            HERE / "template.ipynb",
            None,  # written below, whole or not at all
            parameters,
            cwd=".",
        )
    except PapermillExecutionError as error:
        raise ValueError(f"{error.ename}: {error.evalue}") from error
    with use_language(chosen):
        return _write_files(notebook, out, options)


def _write_files(notebook: Any, out: Path, options: dict[str, str]) -> Path:
    """Write an executed notebook and its page, in the language of this thread; return the page."""
    import nbformat

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = translate(cell.source)
    text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    atomic_write(out / "report.ipynb", text.encode())
    page = out / "report.html"
    folder = Path(options["images"]).expanduser().resolve().name  # no path of this machine
    title = translate(
        "Report: {network}, {folder}", network=short_source(options["model"]), folder=folder
    )
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
    return frame.substitute(
        title=html.escape(title), body=body, language=HTML_LANGUAGES[language()]
    )


if __name__ == "__main__":
    sys.exit(main())
