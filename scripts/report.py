"""Explain a folder of images with a network of yours, into one page that can be mailed.

    make report MODEL=torchvision:resnet50 IMAGES=photos
    python scripts/report.py --model torchvision:resnet50 --images photos

The page, OUT/report.html, holds all pictures and needs no network; beside it lie the notebook that
made it and the results, with which a run that was stopped goes on.
"""

import argparse
import html
import os
import sys
from pathlib import Path

import jupytext
import nbformat
import papermill
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from xai_course.report import run_report

TEMPLATE = Path(__file__).resolve().parents[1] / "reports" / "report.py"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
 padding: 0 1rem; }}
h1, h2, h3 {{ line-height: 1.25; }}
h2 {{ margin-top: 2.5rem; border-bottom: 1px solid #ccc; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-size: 0.9rem; display: block; overflow-x: auto; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.3rem 0.7rem; min-width: 4.5rem;
 border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }}
td:first-child {{ min-width: 9.5rem; }}
.anchor-link {{ display: none; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(notebook: nbformat.NotebookNode, title: str) -> str:
    """Return an executed notebook as one page without code and without addresses."""
    for cell in notebook.cells:
        if cell.cell_type == "code":  # warnings and progress are for whoever runs it
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    exporter = HTMLExporter(
        template_name="basic", exclude_input=True, exclude_output_prompt=True, embed_images=True
    )
    body, _ = exporter.from_notebook_node(notebook)
    return PAGE.format(title=html.escape(title), body=body)


def main() -> int:
    """Run the report; print where it is, or one sentence that says what is wrong."""
    options = argparse.ArgumentParser(description="Explain a folder of images, into one page.")
    options.add_argument("--model", required=True, help="such as torchvision:resnet50")
    options.add_argument("--images", required=True, help="a folder of images")
    options.add_argument("--out", default="runs/report", help="a folder for page and results")
    options.add_argument("--labels", default="", help="a file of class names, one a line")
    options.add_argument("--methods", default="", help="names, with commas between them")
    asked = vars(options.parse_args())
    try:
        run_report(**asked)
    except (ValueError, ConnectionError, MemoryError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same call goes on where this one was.", file=sys.stderr)
        return 130
    out = Path(asked["out"]).expanduser()
    notebook = out / "report.ipynb"
    nbformat.write(jupytext.read(TEMPLATE), notebook)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this Python
    try:
        made = papermill.execute_notebook(
            notebook, notebook, {name.upper(): value for name, value in asked.items()}, cwd="."
        )
    except PapermillExecutionError as error:
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    target = out / "report.html"
    target.write_text(page(made, f"Report: {asked['model']}, {asked['images']}"), "utf-8")
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
