"""Functions to copy: the source of a function with all that it needs, as one text.

`build`: writes the text. `short`: short forms of what the functions share, for `checks=False`.

May import everything but the products of the course.
"""

from xai_course.snippets.build import definitions, snippet

__all__ = ["definitions", "snippet"]
