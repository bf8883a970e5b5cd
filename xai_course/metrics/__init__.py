"""How good is a map? Measures for any model and any explainer; none of them needs BeetleBox.

`faithfulness`: deletion, insertion, infidelity, sensitivity. `localisation`: pointing game,
relevance mass. `randomisation`: parameter randomisation tests. `null_maps`: maps that know nothing
of the model. `cost`: passes through the network, and how many steps are enough.

May import `core`.
"""

from xai_course.metrics.cost import Passes, convergence, count_passes, relative_l2_error
from xai_course.metrics.faithfulness import (
    DeletionInsertion,
    deletion,
    deletion_and_insertion,
    deletion_curve,
    infidelity,
    insertion,
    insertion_curve,
    sensitivity_max,
)
from xai_course.metrics.localisation import (
    grid_pointing_game,
    mosaics,
    pointing_game,
    relevance_mass,
)
from xai_course.metrics.null_maps import (
    bright_edge_map,
    centre_map,
    constant_map,
    edge_map,
    noise_map,
    null_battery,
)
from xai_course.metrics.randomisation import (
    cascading_randomisation,
    layer_order,
    method_agreement,
    randomisation,
    randomisation_null,
    reinitialised,
)

__all__ = [
    "DeletionInsertion",
    "Passes",
    "bright_edge_map",
    "cascading_randomisation",
    "centre_map",
    "constant_map",
    "convergence",
    "count_passes",
    "deletion",
    "deletion_and_insertion",
    "deletion_curve",
    "edge_map",
    "grid_pointing_game",
    "infidelity",
    "insertion",
    "insertion_curve",
    "layer_order",
    "method_agreement",
    "mosaics",
    "noise_map",
    "null_battery",
    "pointing_game",
    "randomisation",
    "randomisation_null",
    "reinitialised",
    "relative_l2_error",
    "relevance_mass",
    "sensitivity_max",
]
