"""Technique 2: explain a network by its fully connected layer.

`logits`: what each feature adds to a logit. `cam`: class activation maps. `tcav`: concepts.
`embeddings`: features of a layer, and nearest examples.

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
from xai_course.fully_connected.tcav import ConceptUse, ConceptVector, concept_vector, tcav

__all__ = [
    "ConceptUse",
    "ConceptVector",
    "HeadTracer",
    "LogitSum",
    "Neighbours",
    "class_activation_map",
    "class_similarity",
    "concept_vector",
    "contrast",
    "embed",
    "layer_features",
    "logit_contributions",
    "nearest_examples",
    "tcav",
]
