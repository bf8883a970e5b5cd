"""The parts and traits of beetles in the reader's language.

The names in the code are English. `translate` gives the Chinese of every name that is marked here.
"""

from __future__ import annotations

from xai_course.core.translation import message

__all__ = ["NAMES"]

NAMES = (
    # parts
    message("elytra"),
    message("pattern"),
    message("head"),
    message("horn"),
    message("antennae"),
    message("legs"),
    message("label"),
    message("museum label"),
    # traits and their values
    message("outline"),
    message("round"),
    message("oval"),
    message("long"),
    message("plain"),
    message("striped"),
    message("spotted"),
    message("banded"),
    message("none"),
    message("single"),
    message("forked"),
    message("short"),
    message("clubbed"),
)
