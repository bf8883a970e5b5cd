"""Makes the web site from what is committed: lessons with their outputs, reference, snippets.

    python -m tools.site.build [--output build/site]

Called by `make site`. No cell is run. The pages are written as Markdown and notebooks into a folder
beside the site, from which Sphinx makes it. The site's folder holds everything that it needs: it
works without a network, from any web server and from the disk. Its folder zh/ holds the Chinese
pages, a site of their own, made last; there is none before a lesson is there in Chinese.
"""

import argparse
import json
import re
import shutil
import sys
from functools import partial
from importlib.metadata import files
from pathlib import Path

import nbformat
from sphinx.cmd.build import main as sphinx

from tools.lessons.outputs import ROOT
from tools.lessons.source import LessonError
from tools.site.lesson_pages import (
    Page,
    lessons_index,
    read_headings,
    read_pages,
    verdicts_page,
    write_pictures,
)
from tools.site.reference import read_rooms, reference_pages
from tools.site.snippets import first_map, read_usages, snippets_page
from tools.site.sphinx_links import doctrees_of
from tools.site.text import Pages, Term, anchor, read_terms, to_english, with_site_links
from tools.site.words import CHINESE, ENGLISH, THEME, WORDS, Words

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


# Pages that are a file of the repository; the Chinese one, NAME.zh-CN.md, lies beside it. The exam
# is not among them: learners read the site, and it has model answers.
TEXTS = {
    "index": "docs/index.md",
    "teaching": "TEACHING.md",
    "keras": "docs/keras.md",
    "networks": "docs/networks.md",
    "data": "data/README.md",
}
PICTURES = ("hero.png", "hero_phone.png", "report.png")


def write_english(folder: Path) -> Pages:
    """Write all English pages, as Sphinx reads them, into a new folder; return what links know."""
    begin(folder)
    (folder / "api").mkdir()
    rooms = read_rooms()
    names: Pages = read_headings() | {
        room.name: {file.name for file in room.files} for room in rooms.values()
    }
    pages = read_pages(names)
    write_lessons(folder, pages, ENGLISH)
    snippets = {usage.name for usage in read_usages()[1]}
    for name, text in reference_pages(rooms, snippets).items():
        write(folder / "api" / f"{name}.md", text)
    first = with_site_links(first_map(), "", names)
    write(folder / "snippets.md", snippets_page(rooms, first))
    for page, path in TEXTS.items():
        text = (ROOT / path).read_text("utf-8")
        write(folder / f"{page}.md", with_site_links(text, str(Path(path).parent), names))
    parameters = {
        argument.arg
        for room in rooms.values()
        for node in room.public
        if hasattr(node, "args")
        for argument in [*node.args.args, *node.args.kwonlyargs]
    }
    write(folder.parent / "parameters.json", json.dumps(sorted(parameters)))
    return names


def write_chinese(folder: Path, names: Pages, root: Path = ROOT) -> None:
    """Write the Chinese pages into a new folder; none before a lesson is there in Chinese.

    `names`: what links know of the English pages. A link to a page that is not there in Chinese
    leads to the English one.
    """
    begin(folder, "zh")
    lessons = read_headings(root, "zh")
    if not lessons:
        return
    texts = {page: Path(path).with_suffix(".zh-CN.md") for page, path in TEXTS.items()}
    texts = {page: path for page, path in texts.items() if (root / path).exists()}
    here = {f"lessons/{name}" for name in lessons} | set(texts)
    here |= {"lessons/index", "verdicts", "glossary"}
    names, address_of = {**names, **lessons}, partial(to_english, here=here)
    write_lessons(folder, read_pages(names, root, "zh", address_of), CHINESE, root)
    for page, path in texts.items():
        text = with_chinese_anchors((root / path).read_text("utf-8"))
        text = with_site_links(text, str(path.parent), names, address_of)
        write(folder / f"{page}.md", without_entries(text, here))


def with_chinese_anchors(text: str) -> str:
    """A page that marks its headings by English names, with links to the headings themselves.

    On the site the sections have the names of the English page without a mark.
    """
    marked = r'<a id="([^"]+)"></a>\n+'
    found = re.findall(marked + r"#+ +(.+)", text)
    anchors = {f"](#{name})": f"](#{anchor(heading)})" for name, heading in found}
    text = re.sub(marked, "", text)
    return re.sub(r"\]\(#[^)]+\)", lambda match: anchors.get(match[0], match[0]), text)


def without_entries(text: str, here: set[str]) -> str:
    """A page without those entries of its navigation whose page is not there."""
    lines = text.splitlines(keepends=True)
    entries = [re.fullmatch(r"\S.* <([\w/]+)>\n", line) for line in lines]
    return "".join(
        line
        for line, entry in zip(lines, entries, strict=True)
        if entry is None or entry[1] in here
    )


def begin(folder: Path, language: str = "en") -> None:
    """Make a folder anew, with the pictures that the pages of a language show."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lessons").mkdir(parents=True)
    for name in PICTURES:
        translated = DOCS / name.replace(".png", ".zh-CN.png")
        shutil.copy(translated if language == "zh" else DOCS / name, folder / name)


def write_lessons(folder: Path, pages: list[Page], words: Words, root: Path = ROOT) -> None:
    """Write the lessons of a language and what is made of them."""
    for page in pages:
        nbformat.write(page.notebook, folder / "lessons" / f"{page.name}.ipynb")
    write_pictures(folder / "lessons/pictures", root, words.language)
    write(folder / "lessons/index.md", lessons_index(pages, words))
    write(folder / "verdicts.md", verdicts_page(pages, words))
    terms = read_terms()
    write(folder / "glossary.md", glossary_page(terms, {page.name for page in pages}, words))


def glossary_page(terms: list[Term], lessons: set[str], words: Words = ENGLISH) -> str:
    """The glossary: each word with its Chinese, a sentence, and the lesson that explains it."""
    entries = []
    for term in terms:
        names = [name for name in sorted(lessons) if name.startswith(term.lesson)]
        where = words.lesson.format(term.lesson)
        if names:
            where = f"[{where}](/lessons/{names[0]}.ipynb)"
        # The search leads to a word of the index, by a part of it, too; "!" puts it first.
        written = ", ".join(f"{{index}}`!{word}`" for word in term.find)
        if words is ENGLISH:
            chinese = f'<span lang="zh-Hans">{{index}}`!{term.chinese}`</span>'
            written = f"Also written {written}. " if written else ""
            entries.append(f"{term.term}\n  {chinese}. {term.text} {written}{where}")
        else:
            both = "\n".join(dict.fromkeys([term.chinese, term.term]))
            written = f"也写作 {written}。" if written else ""
            entries.append(f"{both}\n  {term.chinese_text} {written}{where}")
    body = "\n\n".join(entries)
    return f"{words.glossary}\n```{{glossary}}\n{body}\n```\n"


def translate_theme(folder: Path) -> None:
    """Put Chinese for the words of the theme that it leaves in English."""
    attribute = re.compile('="(' + "|".join(map(re.escape, THEME)) + ')"')
    for path in folder.rglob("*.html"):
        write(path, attribute.sub(lambda match: f'="{THEME[match[1]]}"', path.read_text("utf-8")))


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
    english, chinese = (output.with_name(f"{output.name}-source") / code for code in WORDS)
    try:
        write_chinese(chinese, write_english(english))
    except LessonError as error:
        print(f"Not made: {error}", file=sys.stderr)
        return 1
    both = pages_of(english) & pages_of(chinese)
    write(english.parent / "both.json", json.dumps(sorted(both)))
    status = make_html(english, output)
    if status == 0 and pages_of(chinese):
        shutil.copy(output / "objects.inv", chinese / "english.inv")
        beside = output.with_name(f"{output.name}-zh")  # MyST-NB writes a folder beside a site
        status = make_html(chinese, beside, "-t", "zh", "-D", "language=zh_CN")
        translate_theme(beside)
        beside.rename(output / "zh")
    if status == 0:
        print(f"The site is ready: open {output}/index.html")
    return status


def pages_of(source: Path) -> set[str]:
    """The names of the pages in a folder, as Sphinx calls them."""
    return {
        path.relative_to(source).with_suffix("").as_posix()
        for path in source.rglob("*.*")
        if path.suffix in (".md", ".ipynb")
    }


def make_html(source: Path, output: Path, *more: str) -> int:
    """Let Sphinx make the pages of a folder anew; return the exit status."""
    shutil.rmtree(output, ignore_errors=True)
    options = ["-c", DOCS, "-d", doctrees_of(source), "-b", "html", "--fresh-env"]
    options += [*more, "--fail-on-warning", "--keep-going", "--quiet", source, output]
    status = sphinx(list(map(str, options)))
    copy_mathjax(output / "_static/mathjax")
    return status


if __name__ == "__main__":
    sys.exit(main())
