"""Pages of the web site as the tests read them."""

import re
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.lessons.outputs import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
CHINESE = sorted((ROOT / "notebooks/zh").glob("[0-9]*.ipynb"))


class PageReader(HTMLParser):
    """What a page holds: links, anchors, what it loads, pictures, and its text."""

    NEVER_CLOSED = frozenset({"img", "input", "link", "meta", "br", "hr", "source", "path"})
    CODE = frozenset({"pre", "code", "script", "style"})

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.loads, self.pictures = [], set(), [], []
        self.words, self.everything, self.summaries, self.folded = [], [], [], 0
        self.language, self.open = None, []
        self.sections, self.switches, self.titles = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.ids |= {known[name] for name in ("id", "name") if known.get(name)}
        if tag == "html":
            self.language = known.get("lang")
        if tag == "a" and known.get("href"):
            self.links.append(known["href"])
        if tag in ("script", "img", "iframe", "source") and known.get("src"):
            self.loads.append(known["src"])
        if tag == "link" and known.get("rel") not in ("index", "search", "next", "prev"):
            self.loads.append(known["href"])
        if known.get("class") == "language-switch":
            self.switches.append(known["href"])
        if tag == "section" and known.get("id"):
            self.sections.append(known["id"])
        self.titles += [known[name] for name in ("title", "aria-label") if known.get(name)]
        if tag == "img":
            self.pictures.append((known.get("src"), known.get("alt")))
        self.folded += tag == "details"
        if tag not in self.NEVER_CLOSED:
            signature = tag == "dt" and "sig" in known.get("class", "")
            self.open.append((tag, signature or tag in self.CODE))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        self.everything.append(data)
        if ("summary", False) in self.open:
            self.summaries.append(data.strip())
        if not any(is_code for _, is_code in self.open):
            self.words.append(data)

    @cached_property
    def text(self):
        """What stands outside code."""
        return " ".join("".join(self.words).split())

    @cached_property
    def letters(self):
        """All of the text, code too, as letters and digits: however quotes and code are set."""
        return letters("".join(self.everything))


def letters(text):
    return re.sub(r"[\W_]+", "", text)


def address(page, link):
    """The page and the anchor that a link on a page leads to."""
    parts = urlsplit(link)
    place = Path(page).parent / unquote(parts.path) if parts.path else Path(page)
    whole = Path("/") / place  # so that .. ends at the site
    resolved = whole.resolve().relative_to(Path("/").resolve()).as_posix()
    return resolved, unquote(parts.fragment)
