"""Technique 3, in both senses of the article: residual networks, and change against expectation.

`blocks`: what each residual block adds to the logit. `paths`: the logit by the number of branches
that its paths take. `occlusion`, `integrated_gradients`, `deeplift`, `lrp`: how the output changes
compared with a baseline.

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
from xai_course.residual.lrp import RelevanceRule, lrp
from xai_course.residual.occlusion import occlusion, sliding_windows
from xai_course.residual.paths import PathContributions, path_contributions, path_gradients

__all__ = [
    "Contributions",
    "PathContributions",
    "RelevanceRule",
    "RescaleRule",
    "ResidualTracer",
    "ablate_blocks",
    "block_contributions",
    "block_map",
    "decision_block",
    "deeplift",
    "expected_gradients",
    "forward_without",
    "integrated_gradients",
    "logit_lens",
    "lrp",
    "occlusion",
    "path_contributions",
    "path_gradients",
    "sliding_windows",
]
