"""Technique 3, in both senses of the article: residual networks, and change against expectation.

`blocks`: what each residual block adds to the logit. `paths`: the logit by the number of branches
that its paths take. `occlusion`, `integrated_gradients`, `deeplift`, `lrp`: how the output changes
compared with a baseline. `rise`, `lime`, `shapley`: the
same from predictions alone, with parts of the image hidden at random; `segments`: which parts.

May import `core`.
"""

from xai_course.residual.blocks import (
    Contributions,
    ResidualTracer,
    ablate_blocks,
    block_contributions,
    block_map,
    decision_block,
    forward_without,
    logit_lens,
)
from xai_course.residual.deeplift import RescaleRule, deeplift
from xai_course.residual.integrated_gradients import expected_gradients, integrated_gradients
from xai_course.residual.lime import lime, lime_coefficients
from xai_course.residual.lrp import RelevanceRule, lrp
from xai_course.residual.occlusion import occlusion, sliding_windows
from xai_course.residual.paths import PathContributions, path_contributions, path_gradients
from xai_course.residual.rise import random_masks, rise
from xai_course.residual.segments import grid_segments, segment_map, superpixels
from xai_course.residual.shapley import (
    ShapleyValues,
    shapley_estimates,
    shapley_of_game,
    shapley_values,
)

__all__ = [
    "Contributions",
    "PathContributions",
    "RelevanceRule",
    "RescaleRule",
    "ResidualTracer",
    "ShapleyValues",
    "ablate_blocks",
    "block_contributions",
    "block_map",
    "decision_block",
    "deeplift",
    "expected_gradients",
    "forward_without",
    "grid_segments",
    "integrated_gradients",
    "lime",
    "lime_coefficients",
    "logit_lens",
    "lrp",
    "occlusion",
    "path_contributions",
    "path_gradients",
    "random_masks",
    "rise",
    "segment_map",
    "shapley_estimates",
    "shapley_of_game",
    "shapley_values",
    "sliding_windows",
    "superpixels",
]
