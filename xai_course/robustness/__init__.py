"""Attacks, defences and their limits; attacks on explanations; images unlike the training set.

May import `core`, `data`, `plots`, the three techniques, `metrics`, `beetlebox` and `models`.
`attacks` reaches neither `data` nor `beetlebox`.
"""

from xai_course.robustness.attacks import (
    apply_patch,
    fgsm,
    gradient_masking_checks,
    is_correct,
    learn_patch,
    pgd,
    random_perturbation,
)
from xai_course.robustness.defences import (
    bit_depth,
    blur,
    jpeg,
    random_resize,
    smooth_jpeg,
    straight_through,
)
from xai_course.robustness.map_manipulation import (
    MANIPULABLE,
    manipulate_map,
    softplus_relus,
    top_overlap,
)
from xai_course.robustness.out_of_distribution import (
    knn_distance,
    mahalanobis_distance,
    max_softmax_uncertainty,
)
from xai_course.robustness.randomised_smoothing import (
    ABSTAIN,
    certify,
    noisy_votes,
    smooth_prediction,
)
from xai_course.robustness.upload_checks import load_untrusted_image

__all__ = [
    "ABSTAIN",
    "MANIPULABLE",
    "apply_patch",
    "bit_depth",
    "blur",
    "certify",
    "fgsm",
    "gradient_masking_checks",
    "is_correct",
    "jpeg",
    "knn_distance",
    "learn_patch",
    "load_untrusted_image",
    "mahalanobis_distance",
    "manipulate_map",
    "max_softmax_uncertainty",
    "noisy_votes",
    "pgd",
    "random_perturbation",
    "random_resize",
    "smooth_jpeg",
    "smooth_prediction",
    "softplus_relus",
    "straight_through",
    "top_overlap",
]
