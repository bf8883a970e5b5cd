"""Check and explain the reader's own network on a folder of images, and write one page.

`network`: loads it. `reading`, `answers`: its inputs and answers. `preprocessing`, `checks`: what
an explanation rests on. `run`: explains the images. `findings`: what the results show, in numbers;
`sentences`, `glance`, `words`: in words; `pictures`: in pictures. `memory`: smaller batches.
`cost`: a faster copy, and how long it takes. `python -m xai_course.report` writes the page, of
`template.ipynb` and `page.html`.

May import everything but `exercises`, `experiments` and `explorer`.
"""

from xai_course.report.answers import answer_names, answer_probabilities
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
    Lead,
    MethodVerdict,
    OcclusionResult,
    RandomisationResult,
    Summary,
    best_nulls,
    method_verdicts,
    occlusion_results,
    randomisation_results,
    summarise,
)
from xai_course.report.glance import TESTS, glance_table, in_short
from xai_course.report.labels import class_of_folder, distinct_names, read_labels
from xai_course.report.memory import images_in_a_pass, in_batches, is_memory_error
from xai_course.report.network import (
    Transform,
    UserModel,
    image_files,
    load_model,
    one_line,
    wrap_model,
)
from xai_course.report.pictures import answers_table, picture_of_maps, shown_names
from xai_course.report.preprocessing import (
    BatchNormShift,
    TransformVerdict,
    check_baselines,
    check_transform,
    transform_variants,
    transform_verdict,
)
from xai_course.report.reading import is_random, repeatable
from xai_course.report.run import Collected, Result, collect, open_results, run_report
from xai_course.report.sentences import (
    baseline_remarks,
    clear_words,
    conclude,
    fill_words,
    labels_origin,
    not_tried,
    occlusion_table,
    prose,
    randomisation_table,
)
from xai_course.report.words import chance_words, short_source

__all__ = [
    "TESTS",
    "BatchNormShift",
    "Collected",
    "FillResult",
    "Finding",
    "Layer",
    "Lead",
    "MethodVerdict",
    "OcclusionResult",
    "RandomisationResult",
    "Result",
    "Summary",
    "Transform",
    "TransformVerdict",
    "UserModel",
    "answer_names",
    "answer_probabilities",
    "answers_table",
    "applicable_methods",
    "baseline_remarks",
    "best_nulls",
    "chance_words",
    "check_assumptions",
    "check_baselines",
    "check_network",
    "check_transform",
    "class_of_folder",
    "clear_words",
    "collect",
    "conclude",
    "distinct_names",
    "fill_words",
    "find_layers",
    "glance_table",
    "image_files",
    "images_in_a_pass",
    "in_batches",
    "in_short",
    "is_memory_error",
    "is_random",
    "labels_origin",
    "load_model",
    "method_verdicts",
    "not_tried",
    "occlusion_results",
    "occlusion_table",
    "one_line",
    "open_results",
    "picture_of_maps",
    "prose",
    "randomisation_results",
    "randomisation_table",
    "read_labels",
    "repeatable",
    "run_report",
    "short_source",
    "shown_names",
    "summarise",
    "transform_variants",
    "transform_verdict",
    "wrap_model",
]
