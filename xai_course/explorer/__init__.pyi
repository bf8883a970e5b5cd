# The public names of this room; `__init__.py` loads each when it is first used.

from .app import explorer as explorer
from .state import Selection as Selection
