"""A small extension of Sphinx: links that the text does not have, and lists as HTML wants them.

In lessons, the first mention of each word of the glossary leads to its entry. A name of a public
function, set as code, leads to its reference. The number of a paper on arXiv leads to the paper.
"""

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
NOT_IN = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.raw, nodes.math)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("doctree-resolved", add_links)
    app.connect("html-page-context", with_valid_lists)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def add_links(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Add the links of one page."""
    join_text(tree)
    known = json.loads((Path(app.srcdir) / "links.json").read_text("utf-8"))
    if page.startswith("lessons/") and page != "lessons/index":
        link_words(app, tree, page, known["terms"])
    link_functions(app, tree, page, set(known["parameters"]))
    link_papers(tree)


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


def link_words(app: Sphinx, tree: nodes.document, page: str, terms: list[dict[str, Any]]) -> None:
    """Link the first mention of each word of the glossary."""
    entries = {
        spelling: term for term in terms for spelling in (term["term"], *term.get("also", ()))
    }
    longest_first = sorted(entries, key=len, reverse=True)
    pattern = re.compile(r"(?<![\w-])(?:" + "|".join(map(spelt, longest_first)) + r")(?![\w-])")
    objects = app.env.domains["std"].data["objects"]
    seen = set[str]()

    def link(match: re.Match[str]) -> nodes.Node | None:
        words = " ".join(match[0].split())
        term = entries.get(words) or entries[words[0].lower() + words[1:]]
        if term["term"] in seen:
            return None
        seen.add(term["term"])
        where, anchor = objects["term", term["term"]]
        address = f"{app.builder.get_relative_uri(page, where)}#{anchor}"
        return reference(address, words, reftitle=plain(term["text"]), classes=["word"])

    replace_in_text(tree, pattern, link, but="References")


def spelt(word: str) -> str:
    """A word as a pattern, also with a capital at the beginning of a sentence."""
    first, rest = re.escape(word[0]), re.escape(word[1:]).replace(r"\ ", r"\s+")
    return f"[{first.upper()}{first}]{rest}" if first.islower() else first + rest


def plain(text: str) -> str:
    """Text without the marks of Markdown."""
    return re.sub(r"[*`]", "", text)


def link_functions(app: Sphinx, tree: nodes.document, page: str, parameters: set[str]) -> None:
    """Link names of public functions that are set as code to their reference."""
    homes: dict[str, list[Any]] = {}
    for name, entry in app.env.domains["py"].data["objects"].items():
        if entry.objtype in ("function", "class"):
            homes.setdefault(name.rpartition(".")[2], []).append(entry)
    for node in list(tree.findall(nodes.literal)):
        name = node.astext().removesuffix("()")
        found = homes.get(name, [])
        if len(found) != 1 or name in parameters or inside(node, (nodes.title, nodes.reference)):
            continue
        address = f"{app.builder.get_relative_uri(page, found[0].docname)}#{found[0].node_id}"
        link = reference(address, "", classes=["function"])
        link += node.deepcopy()
        node.parent.replace(node, link)


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
    tree: nodes.document, pattern: re.Pattern[str], make: Any, but: str = ""
) -> None:
    """Replace what a pattern finds in running text by the node that `make` gives, if it gives one.

    `but`: the title of a section that stays as it is.
    """
    kept = {
        id(text)
        for part in tree.findall(nodes.section)
        if part[0].astext() == but
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
