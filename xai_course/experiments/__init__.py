"""The long experiments of lessons 08 to 13, each kept in a table on disk.

May import everything but `exercises`, `explorer` and `report`.
"""

import lazy_loader

# The public names are listed in `__init__.pyi`, each with the file that defines it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
