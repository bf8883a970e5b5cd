"""Every figure of the course: images with their maps, charts, and one style for both.

May import `core`. Matplotlib is loaded when a function is first used.
"""

import lazy_loader

# The public names are listed in `__init__.pyi`, each with the file that defines it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
