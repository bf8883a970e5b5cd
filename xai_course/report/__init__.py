"""Check and explain the reader's own network on a folder of images, and write one page.

`network`: loads it. `preprocessing`, `checks`: what an explanation rests on. `run`: explains the
images. `findings`: what the results mean. `memory`: smaller batches. `python -m xai_course.report`
writes the page, of `template.ipynb` and `page.html`.

May import everything but `exercises`, `experiments` and `explorer`.
"""

from xai_course.report.checks import (
    Finding,
    Layer,
    applicable_methods,
    check_assumptions,
    check_network,
    find_layers,
)
from xai_course.report.findings import (
    FillResult,
    OcclusionResult,
    RandomisationResult,
    Summary,
    best_nulls,
    chance_words,
    conclude,
    fill_words,
    occlusion_results,
    randomisation_results,
    summarise,
)
from xai_course.report.memory import in_batches, is_memory_error
from xai_course.report.network import (
    Transform,
    UserModel,
    image_files,
    load_model,
    one_line,
    read_labels,
    wrap_model,
)
from xai_course.report.preprocessing import (
    BatchNormShift,
    check_baselines,
    check_transform,
    transform_variants,
    transform_verdict,
)
from xai_course.report.run import Collected, Result, collect, open_results, run_report

__all__ = [
    "BatchNormShift",
    "Collected",
    "FillResult",
    "Finding",
    "Layer",
    "OcclusionResult",
    "RandomisationResult",
    "Result",
    "Summary",
    "Transform",
    "UserModel",
    "applicable_methods",
    "best_nulls",
    "chance_words",
    "check_assumptions",
    "check_baselines",
    "check_network",
    "check_transform",
    "collect",
    "conclude",
    "fill_words",
    "find_layers",
    "image_files",
    "in_batches",
    "is_memory_error",
    "load_model",
    "occlusion_results",
    "one_line",
    "open_results",
    "randomisation_results",
    "read_labels",
    "run_report",
    "summarise",
    "transform_variants",
    "transform_verdict",
    "wrap_model",
]
