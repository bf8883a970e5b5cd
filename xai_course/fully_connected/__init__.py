"""Technique 2: explain a network by its fully connected layer.

`logits`: what each feature adds to a logit. `cam`: class activation maps. `tcav`: concepts.
`score_cam`: Score-CAM. `embeddings`: features of a layer, and nearest examples.
`representer_points`: a logit as a sum over the training images.

May import `core`.
"""

from xai_course.fully_connected.cam import class_activation_map, contrast
from xai_course.fully_connected.embeddings import (
    Neighbours,
    embed,
    layer_features,
    nearest_examples,
)
from xai_course.fully_connected.logits import (
    HeadTracer,
    LogitSum,
    class_similarity,
    logit_contributions,
)
from xai_course.fully_connected.representer_points import (
    RepresenterFit,
    RepresenterPoints,
    fit_representer,
    refit_last_layer,
    representer_points,
)
from xai_course.fully_connected.score_cam import score_cam
from xai_course.fully_connected.tcav import ConceptUse, ConceptVector, concept_vector, tcav

__all__ = [
    "ConceptUse",
    "ConceptVector",
    "HeadTracer",
    "LogitSum",
    "Neighbours",
    "RepresenterFit",
    "RepresenterPoints",
    "class_activation_map",
    "class_similarity",
    "concept_vector",
    "contrast",
    "embed",
    "fit_representer",
    "layer_features",
    "logit_contributions",
    "nearest_examples",
    "refit_last_layer",
    "representer_points",
    "score_cam",
    "tcav",
]
