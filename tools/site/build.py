"""Makes the web site from what is committed: lessons with their outputs, reference, snippets.

    python -m tools.site.build [--output build/site]

Called by `make site`. No cell is run. The pages are written as Markdown and notebooks into a folder
beside the site, from which Sphinx makes it. The site's folder holds everything that it needs: it
works without a network, from any web server and from the disk.
"""

import argparse
import json
import shutil
import sys
from importlib.metadata import files
from pathlib import Path

import nbformat
from sphinx.cmd.build import main as sphinx

from tools.lessons.outputs import ROOT
from tools.lessons.source import LessonError
from tools.site.lesson_pages import (
    lessons_index,
    read_headings,
    read_pages,
    verdicts_page,
    write_pictures,
)
from tools.site.reference import read_rooms, reference_pages
from tools.site.snippets import first_map, read_usages, snippets_page
from tools.site.text import Pages, Term, read_terms, with_site_links

sys.path.insert(0, str(ROOT))
DOCS = ROOT / "docs"
# The parts of MathJax that the pages load: TeX to SVG, which needs no fonts, and MathML for screen
# readers. The complete bundles hold addresses of other servers; these parts do not.
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "output/svg.js",
    "output/svg/fonts/tex.js",
    "a11y/assistive-mml.js",
)


def write_source(folder: Path) -> None:
    """Write all pages, as Sphinx reads them, into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lessons", "api"):
        (folder / name).mkdir(parents=True)
    rooms = read_rooms()
    names: Pages = read_headings() | {
        room.name: {file.name for file in room.files} for room in rooms.values()
    }

    pages = read_pages(names)
    for page in pages:
        nbformat.write(page.notebook, folder / "lessons" / f"{page.name}.ipynb")
    write_pictures(folder / "lessons/pictures")
    write(folder / "lessons/index.md", lessons_index(pages))
    write(folder / "verdicts.md", verdicts_page(pages))

    snippets = {usage.name for usage in read_usages()[1]}
    for name, text in reference_pages(rooms, snippets).items():
        write(folder / "api" / f"{name}.md", text)
    first = with_site_links(first_map(), "", names)
    write(folder / "snippets.md", snippets_page(rooms, first))
    write(folder / "glossary.md", glossary_page(read_terms(), {page.name for page in pages}))

    for name in ("index.md", "networks.md", "hero.png", "hero_phone.png", "report.png"):
        shutil.copy(DOCS / name, folder)
    for page, path in (
        ("teaching.md", "TEACHING.md"),
        ("data.md", "data/README.md"),
        ("keras.md", "docs/keras.md"),
        ("assessment.md", "docs/assessment.md"),
    ):
        text = (ROOT / path).read_text("utf-8")
        write(folder / page, with_site_links(text, str(Path(path).parent), names))
    parameters = {
        argument.arg
        for room in rooms.values()
        for node in room.public
        if hasattr(node, "args")
        for argument in [*node.args.args, *node.args.kwonlyargs]
    }
    terms = [vars(term) for term in read_terms()]
    write(folder / "links.json", json.dumps({"terms": terms, "parameters": sorted(parameters)}))


def glossary_page(terms: list[Term], lessons: set[str]) -> str:
    """The glossary: each word with its Chinese, a sentence, and the lesson that explains it."""
    entries = []
    for term in terms:
        names = [name for name in sorted(lessons) if name.startswith(term.lesson)]
        where = f"Lesson {term.lesson}"
        if names:
            where = f"[{where}](/lessons/{names[0]}.ipynb)"
        # The search leads to a word of the index, by a part of it, too; "!" puts it first.
        chinese = f'<span lang="zh-Hans">{{index}}`!{term.chinese}`</span>'
        written = ", ".join(f"{{index}}`!{word}`" for word in term.find)
        written = f"Also written {written}. " if written else ""
        entries.append(f"{term.term}\n  {chinese}. {term.text} {written}{where}")
    body = "\n\n".join(entries)
    return f"""# Glossary

The words of the field as this course uses them, in English and Chinese, each with the lesson that
explains it.

```{{glossary}}
{body}
```
"""


def copy_mathjax(folder: Path) -> None:
    """Copy the parts of MathJax that the pages load, from the package that holds it."""
    for path in files("sphinx-mathjax-offline") or []:
        name = path.as_posix().partition("/static/mathjax/")[2]
        if name in MATHJAX:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path.locate(), folder / name)


def write(path: Path, text: str) -> None:
    """Write a page."""
    path.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Make the site; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build/site", help="its folder")
    output = parser.parse_args(arguments).output.resolve()
    source, trees = (output.with_name(f"{output.name}-{what}") for what in ("source", "doctrees"))
    try:
        write_source(source)
    except LessonError as error:
        print(f"Not made: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(output, ignore_errors=True)
    options = ["-c", DOCS, "-d", trees, "-b", "html", "--fresh-env", "--fail-on-warning"]
    status = sphinx([*map(str, options), "--keep-going", "--quiet", str(source), str(output)])
    copy_mathjax(output / "_static/mathjax")
    if status == 0:
        print(f"The site is ready: open {output}/index.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
