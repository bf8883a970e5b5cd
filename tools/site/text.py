"""What the pages of the site share: where a file of the repository is on the site."""

import posixpath
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from tools.lessons.outputs import ROOT

# The pages that links may lead to: lessons, with the anchors of their headings, and rooms, with
# their files.
Pages = Mapping[str, set[str]]

LINK = re.compile(r"(?<!\!)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Term:
    """An entry of the glossary."""

    term: str
    chinese: str
    lesson: str
    text: str
    chinese_text: str
    also: tuple[str, ...] = ()
    find: tuple[str, ...] = ()
    chinese_also: tuple[str, ...] = ()  # other words that a Chinese text may use


def read_terms(path: Path = ROOT / "docs/glossary.toml") -> list[Term]:
    """The glossary, in the order of the alphabet."""
    entries = tomllib.loads(path.read_text("utf-8"))["term"]
    lists = ("also", "find", "chinese_also")
    terms = [
        Term(**entry | {name: tuple(entry.get(name, ())) for name in lists}) for entry in entries
    ]
    return sorted(terms, key=lambda entry: entry.term.lower())


def anchor(heading: str) -> str:
    """The anchor of a heading on the site; also of an anchor as Jupyter writes it."""
    return re.sub(r"[^\w-]", "", unquote(heading).strip().lower().replace(" ", "-"))


def site_address(target: str, pages: Pages) -> str | None:
    """Where a file of the repository is on the site, as the target of a link; None if nowhere.

    `target`: from the repository's root, perhaps with the anchor of a heading.
    """
    path, _, heading = target.replace(".zh-CN.", ".").partition("#")
    name = Path(path).stem
    if path.endswith(".ipynb") or path.startswith("lessons/"):
        if name not in pages:
            return None
        end = f"#{anchor(heading)}" if anchor(heading) in pages[name] else ""
        return f"/lessons/{name}.ipynb{end}"
    if path.startswith("xai_course/"):
        return reference_address(path, pages)
    addresses = {
        "README.md": "/index.md",
        "docs/glossary.md": "/glossary.md",
        "docs/keras.md": "/keras.md",
        "docs/networks.md": "/networks.md",
        "data/README.md": "/data.md",
        "TEACHING.md": "/teaching.md",
    }
    return addresses.get(path)


def reference_address(path: str, pages: Pages) -> str | None:
    """Where a room of the package or a file of it is on the site; None if nowhere."""
    _, room, *file = path.removesuffix("/__init__.py").removesuffix(".py").split("/")
    if room not in pages or not {*file} <= pages[room]:
        return None
    return f"#file-{room}-{file[0]}" if file else f"#room-{room}"


def to_english(address: str, here: set[str]) -> str:
    """The address of a page as a Chinese page links to it: in English unless it is `here`."""
    page, _, mark = address.partition("#")
    name = page.strip("/").rpartition(".")[0]
    if name in here:
        return address
    return f"inv:en:std:doc#{name}" if name else f"inv:en:std:label#{mark}"


def with_site_links(
    text: str, folder: str, pages: Pages, address_of: Callable[[str], str] = str
) -> str:
    """Markdown with its links to files of the repository turned into links within the site.

    `folder`: that of the file from which the text comes. What the site does not have stays as text.
    `address_of`: changes an address of the English site for a page in another language.
    """

    def turned(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if target.startswith("#"):
            return f"[{words}](#{anchor(target)})"
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        address = target if target.startswith("/") else site_address(path, pages)
        return f"[{words}]({address_of(address)})" if address else words

    parts = re.split(r"(^```.*?^```|`[^`\n]+`(?!\]))", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if number % 2 else LINK.sub(turned, part) for number, part in enumerate(parts)
    )


def fenced(text: str, language: str = "python") -> str:
    """Text as a block of code, with a fence longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
