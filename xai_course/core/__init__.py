"""What every room stands on: checks of arguments, hooks, maps, baselines, statistics, random numbers.

May import nothing else of this package.
"""

from xai_course.core.baselines import baseline_images
from xai_course.core.hooks import BiasTracer, capture_layer, relu_upper_bound
from xai_course.core.inputs import upsample_keep_sum, validate_inputs
from xai_course.core.maps import Explainer, map_ranks, map_similarity, relevance_maps
from xai_course.core.randomness import isolated_rng
from xai_course.core.statistics import (
    auroc_placements,
    detected_at_fpr,
    lower_bound,
    mean_interval,
    seed_interval,
    sign_test,
    skill_score,
)

__all__ = [
    "BiasTracer",
    "Explainer",
    "auroc_placements",
    "baseline_images",
    "capture_layer",
    "detected_at_fpr",
    "isolated_rng",
    "lower_bound",
    "map_ranks",
    "map_similarity",
    "mean_interval",
    "relevance_maps",
    "relu_upper_bound",
    "seed_interval",
    "sign_test",
    "skill_score",
    "upsample_keep_sum",
    "validate_inputs",
]
