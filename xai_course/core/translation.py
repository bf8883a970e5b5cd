"""The course's own words in the reader's language: English, or Chinese where there is a catalogue.

The English text is the key. `make messages` collects the texts that are marked in the code, by
`translate` or `message`, into `xai_course/locale/zh/LC_MESSAGES/course.po`, where an author writes
the Chinese, and compiles the catalogue. Errors that a programmer reads stay English.
"""

from __future__ import annotations

import gettext
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["LANGUAGES", "language", "message", "translate", "translate_filled", "use_language"]

LANGUAGES = {"en": "English", "zh": "中文"}
LOCALE = Path(__file__).resolve().parents[1] / "locale"
VARIABLES = ("LANG_COURSE", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set

_chosen: ContextVar[str | None] = ContextVar("language of the course", default=None)


def language() -> str:
    """Return the reader's language.

    It is the one that `use_language` chose; else what the environment variable LANG_COURSE says;
    else Chinese in a notebook of a folder `zh`; else the language of the system. A language that
    the course is not written in gives English.

    Returns:
        "en" or "zh".

    Example:
        >>> with use_language("zh"):
        ...     language()
        'zh'
    """
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if not os.environ.get("LANG_COURSE") and _runs_in_chinese_notebook():
        return "zh"
    for variable in VARIABLES:
        if value := os.environ.get(variable):
            return _known(value)
    return _known(_language_of_windows())


def _known(name: str) -> str:
    """Return a name such as zh_CN.UTF-8 as a language of the course."""
    return "zh" if name.strip().lower().startswith("zh") else "en"


def _runs_in_chinese_notebook() -> bool:
    """Tell whether a kernel runs in notebooks/zh or notebooks/zh/solutions: a notebook's place."""
    if "ipykernel" not in sys.modules:
        return False
    try:
        return "zh" in Path.cwd().parts[-2:]
    except OSError:  # the folder was deleted
        return False


def _language_of_windows() -> str:
    """Return the language of Windows' menus; elsewhere nothing."""
    if sys.platform != "win32":
        return ""
    import ctypes
    import locale

    return locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "")


@contextmanager
def use_language(name: str) -> Iterator[None]:
    """Write in this language inside the `with` block, in this thread alone.

    Args:
        name: "en" or "zh".

    Yields:
        Nothing; the language is chosen.

    Raises:
        ValueError: for a language that the course is not written in.

    Example:
        >>> with use_language("zh"):
        ...     translate("relevance")
        '相关性得分'
    """
    if name not in LANGUAGES:
        raise ValueError(f"language: got {name!r}; must be one of {list(LANGUAGES)}.")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def translate(text: str, /, **values: Any) -> str:
    """Return a text in the reader's language, with its values put in.

    Args:
        text: in English, with a placeholder such as `{count}` or `{share:.2f}` for each value.
        values: by name of the placeholder. Without any, braces stay as they are.

    Returns:
        The text; in English where the catalogue does not have it.

    Example:
        >>> with use_language("en"):
        ...     translate("{count} of them", count=3)
        '3 of them'
    """
    if text and language() == "zh":
        text = _catalogue().gettext(text)
    return text.format(**values) if values else text


def message(text: str) -> str:
    """Mark a text that `translate` gets later, such as one in a table of constants.

    Args:
        text: in English.

    Returns:
        The same text.

    Example:
        >>> message("relevance")
        'relevance'
    """
    return text


def translate_filled(text: str, templates: Sequence[str]) -> str:
    """Return a text that is on file, in English and with its values, in the reader's language.

    Args:
        text: as `translate` gave it in English, from one of the templates.
        templates: the English texts that it may have been made from. A value runs as far as the
            rest of the template allows, and is translated in the same way.

    Returns:
        The text; in English where it fits no template.

    Example:
        >>> with use_language("zh"):
        ...     translate_filled("12 pixels high", ["{size} pixels high"])
        '高 12 像素'
    """
    if language() == "en":
        return text
    for template in templates:
        pieces = re.split(r"\{(\w+)[^}]*\}", template)  # literal, name, literal, ..., literal
        pattern = re.escape(pieces[0])
        for name, literal in zip(pieces[1::2], pieces[2::2], strict=True):
            pattern += f"(?P<{name}>.+?){re.escape(literal)}"
        if match := re.fullmatch(pattern, text, re.DOTALL):
            plain = re.sub(r"\{(\w+)[^}]*\}", r"{\1}", translate(template))
            values = {
                name: translate_filled(value, templates)
                for name, value in match.groupdict().items()
            }
            return plain.format(**values)
    return translate(text)


@cache
def _catalogue() -> gettext.NullTranslations:
    """Return the Chinese catalogue, read once."""
    with (LOCALE / "zh" / "LC_MESSAGES" / "course.mo").open("rb") as file:
        return gettext.GNUTranslations(file)
