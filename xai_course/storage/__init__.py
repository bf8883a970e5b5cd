"""Files: checkpoints, shards of explanations, tables of results; whole or not there at all.

May import `core`, `data`, `plots`, the three techniques, `metrics`, `beetlebox` and `models`.
"""

from xai_course.storage.atomic_files import (
    atomic_write,
    cpu_copies,
    hash_tensors,
    read_state,
    write_state,
)
from xai_course.storage.checkpoints import (
    ARCHITECTURES,
    card_transform,
    load_checkpoint,
    save_checkpoint,
)
from xai_course.storage.results_table import Row, run_trials
from xai_course.storage.shards import Shard, draw_scenes, explain_shards, open_shards, read_manifest
from xai_course.storage.weights import load_weights, read_weights

__all__ = [
    "ARCHITECTURES",
    "Row",
    "Shard",
    "atomic_write",
    "card_transform",
    "cpu_copies",
    "draw_scenes",
    "explain_shards",
    "hash_tensors",
    "load_checkpoint",
    "load_weights",
    "open_shards",
    "read_manifest",
    "read_state",
    "read_weights",
    "run_trials",
    "save_checkpoint",
    "write_state",
]
