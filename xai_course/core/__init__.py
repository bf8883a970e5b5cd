"""What every room uses: checks, hooks, maps, baselines, statistics, random numbers, paths.

May import nothing else of this package. `checks` and `paths` need no PyTorch, which is loaded when
a function that needs it is first used.
"""

import lazy_loader

# The public names are listed in `__init__.pyi`, each with the file that defines it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
