"""A small extension of Sphinx: links that the text does not have, and lists as HTML wants them.

In lessons, the first mention of each word of the glossary leads to its entry. A name of a public
function, set as code, leads to its reference. The number of a paper on arXiv leads to the paper.

A page that is there in English and Chinese has a link to the other one. The sections of both have
the same anchors. The search of Chinese pages knows Chinese words.
"""

import json
import pickle
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.intersphinx import InventoryAdapter

from tools.lessons.languages import HEADINGS
from tools.site.chinese_search import HAN, ChineseSearch
from tools.site.text import Term, read_terms

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
LETTER = rf"[^\W{HAN}]"  # Chinese has no spaces between words
ENGLISH = "english:/"  # what an address of the English site begins with, until its page is known
NOT_IN = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.raw, nodes.math)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_search_language(ChineseSearch)
    app.connect("builder-inited", set_own_anchors)
    app.connect("doctree-read", add_english_anchors, priority=100)  # before the table of contents
    app.connect("doctree-resolved", add_links)
    app.connect("html-page-context", with_valid_lists)
    app.connect("html-page-context", with_other_language)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def written(app: Sphinx, name: str) -> set[str]:
    """Names that tools/site/build.py wrote beside the pages."""
    return set(json.loads((Path(app.srcdir).parent / name).read_text("utf-8")))


def is_chinese(app: Sphinx) -> bool:
    """Whether the Chinese pages are made."""
    return str(app.config.language) == "zh_CN"


# --- two languages --------------------------------------------------------------------------------


def doctrees_of(source: Path) -> Path:
    """Where Sphinx keeps the pages of a folder as it has read them."""
    return source.parent.with_name(f"{source.parent.name}-doctrees") / source.name


def set_own_anchors(app: Sphinx) -> None:
    """Number the sections of Chinese pages otherwise than English ones: both end on one page."""
    if is_chinese(app):
        app.env.settings["auto_id_prefix"] = "zh"


def add_english_anchors(app: Sphinx, tree: nodes.document) -> None:
    """Give each section of a Chinese page the anchors that it has on the English page."""
    english = doctrees_of(Path(app.srcdir).with_name("en")) / f"{app.env.docname}.doctree"
    if not is_chinese(app) or not english.exists():
        return
    there = list(pickle.loads(english.read_bytes()).findall(nodes.section))
    here = list(tree.findall(nodes.section))
    if len(there) != len(here):  # a Chinese page that is older, or has fewer lessons
        return
    for theirs, own in zip(there, here, strict=True):
        new = [name for name in theirs["ids"] if name not in tree.ids or name in own["ids"]]
        own["ids"] = list(dict.fromkeys(new + own["ids"]))


def with_other_language(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], _tree: Any
) -> None:
    """Tell the template where the same page is in the other language, if it is there."""
    if page in written(app, "both.json"):
        start = "../" * (page.count("/") + is_chinese(app))
        context["other_language"] = f"{start}{'' if is_chinese(app) else 'zh/'}{page}.html"


# --- links ----------------------------------------------------------------------------------------


def add_links(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Add the links of one page."""
    join_text(tree)
    if page.startswith("lessons/") and page != "lessons/index":
        link_words(app, tree, page, read_terms())
    link_functions(app, tree, page)
    link_papers(tree)
    for node in tree.findall(nodes.reference):
        if node.get("refuri", "").startswith(ENGLISH):
            start = "../" * (1 + page.count("/"))
            node["refuri"] = start + node["refuri"].removeprefix(ENGLISH)
            node["internal"] = True


def with_valid_lists(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _tree: Any
) -> None:
    """Replace what HTML does not allow: a list in a signature, an empty heading of a table."""
    marks = {"<dl>": "<span>", "</dl>": "</span>", "<dd>": '<span class="argument">'}
    marks["</dd>"] = "</span>"

    def plain_list(match: re.Match[str]) -> str:
        return re.sub("|".join(marks), lambda mark: marks[mark[0]], match[0])

    body = re.sub(r'<dt class="sig .*?</dt>', plain_list, context.get("body", ""), flags=re.DOTALL)
    context["body"] = re.sub(r'<th class="head"><p></p></th>', "<td></td>", body)


def link_words(app: Sphinx, tree: nodes.document, page: str, terms: list[Term]) -> None:
    """Link the first mention of each word of the glossary."""
    entries = {spelling: term for term in terms for spelling in (term.term, *term.also)}
    if is_chinese(app):
        entries |= {word: term for term in terms for word in chinese_words(term)}
    longest_first = sorted(entries, key=len, reverse=True)
    words = "|".join(map(spelt, longest_first))
    pattern = re.compile(rf"(?<!{LETTER})(?<!-)(?:{words})(?!{LETTER}|-)")
    objects = app.env.domains["std"].data["objects"]
    seen = set[str]()

    def link(match: re.Match[str]) -> nodes.Node | None:
        words = " ".join(match[0].split())
        term = entries.get(words) or entries[words[0].lower() + words[1:]]
        if term.term in seen:
            return None
        seen.add(term.term)
        where, anchor = objects["term", term.term]
        address = f"{app.builder.get_relative_uri(page, where)}#{anchor}"
        text = plain(term.chinese_text if is_chinese(app) else term.text)
        return reference(address, words, reftitle=text, classes=["word"])

    replace_in_text(tree, pattern, link, but={"References", HEADINGS["References"]})


def chinese_words(term: Term) -> list[str]:
    """How a Chinese text writes a word; a single character is part of too many other words."""
    words = re.sub(r"（.*?）", "", term.chinese).split("、")
    return [word for word in words if len(word) > 1]


def spelt(word: str) -> str:
    """A word as a pattern, also with a capital at the beginning of a sentence."""
    first, rest = re.escape(word[0]), re.escape(word[1:]).replace(r"\ ", r"\s+")
    return f"[{first.upper()}{first}]{rest}" if first.islower() else first + rest


def plain(text: str) -> str:
    """Text without the marks of Markdown."""
    return re.sub(r"[*`]", "", text)


def link_functions(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Link names of public functions that are set as code to their reference."""
    parameters = written(app, "parameters.json")
    homes: dict[str, list[str]] = {}
    for name, address in references(app, page):
        homes.setdefault(name.rpartition(".")[2], []).append(address)
    for node in list(tree.findall(nodes.literal)):
        name = node.astext().removesuffix("()")
        found = homes.get(name, [])
        if len(found) != 1 or name in parameters or inside(node, (nodes.title, nodes.reference)):
            continue
        link = reference(found[0], "", classes=["function"])
        link += node.deepcopy()
        node.parent.replace(node, link)


def references(app: Sphinx, page: str) -> Iterator[tuple[str, str]]:
    """Each public function and class, with the address of its reference; that is in English."""
    kinds = ("function", "class")
    if is_chinese(app):
        known = InventoryAdapter(app.env).named_inventory["en"]
        for kind in kinds:
            for name, item in known[f"py:{kind}"].items():
                yield name, item.uri
        return
    for name, entry in app.env.domains["py"].data["objects"].items():
        if entry.objtype in kinds:
            yield name, f"{app.builder.get_relative_uri(page, entry.docname)}#{entry.node_id}"


def link_papers(tree: nodes.document) -> None:
    """Link papers on arXiv."""

    def link(match: re.Match[str]) -> nodes.Node:
        address = f"https://arxiv.org/abs/{match[1]}"
        return nodes.reference("", match[0], refuri=address, internal=False)

    replace_in_text(tree, ARXIV, link)


def reference(address: str, words: str, **attributes: Any) -> nodes.reference:
    """A link within the site."""
    return nodes.reference("", words, refuri=address, internal=True, **attributes)


def inside(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    """Whether a node lies in one of these kinds."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def join_text(tree: nodes.document) -> None:
    """Join neighbouring pieces of text, so that a phrase over two lines is found."""
    for parent in tree.findall(nodes.TextElement):
        for node in list(parent.children):
            index = parent.index(node)
            before = parent[index - 1] if index else None
            if isinstance(node, nodes.Text) and isinstance(before, nodes.Text):
                parent[index - 1 : index + 1] = [nodes.Text(before + node)]


def replace_in_text(
    tree: nodes.document, pattern: re.Pattern[str], make: Any, but: Container[str] = ()
) -> None:
    """Replace what a pattern finds in running text by the node that `make` gives, if it gives one.

    `but`: the titles of sections that stay as they are.
    """
    kept = {
        id(text)
        for part in tree.findall(nodes.section)
        if part[0].astext() in but
        for text in part.findall(nodes.Text)
    }
    for text in list(tree.findall(nodes.Text)):
        if id(text) in kept or inside(text, NOT_IN):
            continue
        parts, end = list[nodes.Node](), 0
        for match in pattern.finditer(text):
            node = make(match)
            if node is not None:
                parts += [nodes.Text(text[end : match.start()]), node]
                end = match.end()
        if parts:
            parts.append(nodes.Text(text[end:]))
            text.parent.replace(text, [part for part in parts if part.astext()])
