"""The names of classes, as files and folders hold them."""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xai_course.core.translation import message
from xai_course.data.image_files import printable

__all__ = ["class_of_folder", "distinct_names", "read_labels"]


SAME_NAME = message(
    "Several classes have the same name ({names}); they have their number behind it here. A folder "
    "of such a name does not say which of them its pictures are."
)
# How a text file begins that says how it is encoded, as editors on Windows write it.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_labels(path: str | Path) -> list[str]:
    """Read class names from a text file.

    Args:
        path: the file, one name a line, in the order of the logits: UTF-8, or with a byte-order
            mark. Empty lines at its end are dropped. Names may come twice; see `distinct_names`.

    Returns:
        The names.

    Raises:
        ValueError: if the file cannot be read, is empty, or has an empty line between names.
    """
    path = Path(path).expanduser()
    try:
        if not path.is_file():
            raise FileNotFoundError("there is no such file")
        content = path.read_bytes()
        encoding = next((MARKS[mark] for mark in MARKS if content.startswith(mark)), "utf-8")
        text = content.decode(encoding)
    except OSError as error:
        raise ValueError(f"labels: {printable(path)} cannot be read ({error}).") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"labels: {printable(path)} cannot be read as {error.encoding}; must be a text file in "
            "UTF-8 (save it again in this encoding)."
        ) from error
    names = [_normal(line) for line in text.rstrip().splitlines()]
    if not names or not all(names):
        raise ValueError(f"labels: {printable(path)} has an empty line; must be one name a line.")
    return names


def distinct_names(names: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Tell classes of one name apart, such as ImageNet's two cranes: the bird and the machine.

    Args:
        names: of the classes, in the order of the logits.

    Returns:
        names: all different: a name that comes twice has the number of its class behind it.
        remarks: a sentence about those, if there are any.

    Raises:
        ValueError: if they are no list of texts.

    Example:
        >>> from xai_course.report.labels import distinct_names
        >>> distinct_names(["crane", "beetle", "crane"])[0]
        ['crane (class 0)', 'beetle', 'crane (class 2)']
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"labels: got {names!r:.80}; must be texts, one for each class.")
    plain = [_normal(name) for name in names]
    times = Counter(plain)
    twice = [name for name in times if times[name] > 1]
    if not twice:
        return plain, []
    told_apart = [
        name if times[name] == 1 else f"{name} (class {index})" for index, name in enumerate(plain)
    ]
    remark = SAME_NAME.format(names=", ".join(twice))
    # Another class may have just this name by itself.
    return distinct_names(told_apart)[0], [remark]


def class_of_folder(folder: str, classes: Sequence[str]) -> int | None:
    """Return the index of the class that a folder is named after.

    Args:
        folder: its name. The same letter may be stored in two ways (macOS writes é as e and an
            accent), which are taken as one.
        classes: the names of the classes.

    Returns:
        The index; None if no class, or more than one, has this name.

    Example:
        >>> from xai_course.report.labels import class_of_folder
        >>> class_of_folder("beetle", ["ant", "beetle"])
        1
    """
    wanted = _normal(folder)
    found = [index for index, name in enumerate(classes) if _normal(name) == wanted]
    return found[0] if len(found) == 1 else None


def _normal(name: str) -> str:
    """Return a name without space around it, each letter stored in the same way."""
    return unicodedata.normalize("NFC", name.strip().strip("\ufeff"))
