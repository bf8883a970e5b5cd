"""The explorer: change a beetle, and watch the answer, the ground truth and the map together.

`app`: the app. `state`: computes its results. `views`: writes them as text. `controls`: the
widgets. `catalogue`: networks and methods to choose from.

May import everything but `exercises`, `experiments` and `report`.
"""

import lazy_loader

# The public names are listed in `__init__.pyi`, each with the file that defines it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
