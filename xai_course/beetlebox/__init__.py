"""BeetleBox, the world whose images were drawn part by part, so that the true effects are known.

`scene`, `drawing`, `backgrounds`, `clutter`: species, scenes, masks. `dataset`: the images on disk.
`tensors`: scenes as tensors. `ground_truth`: the true effect of each part on a model. `scores`:
agreement of a map with it. `guide`: the page of all species.

May import `core`, `data`, `plots`. Drawing needs NumPy alone; PyTorch is loaded when a function
that needs it is first used.
"""

import lazy_loader

# The public names are listed in `__init__.pyi`, each with the file that defines it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
