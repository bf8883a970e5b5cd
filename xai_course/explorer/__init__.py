"""The explorer: take a beetle apart and watch answer, truth and map move together.

May import everything but `exercises`, `experiments` and `report`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
