"""Train a network: one loop, resumed to the bit, in one process or in several.

May import `robustness`, `storage` and what they may import.
"""

from xai_course.training.adversarial import pgd_batch
from xai_course.training.batches import choose_device
from xai_course.training.config import TrainingConfig, one_cycle
from xai_course.training.distributed import (
    all_reduce_mean,
    broadcast_from_rank0,
    rank_and_world_size,
)
from xai_course.training.evaluation import evaluate, predict
from xai_course.training.fit import fit
from xai_course.training.history import EarlyStopping, Epoch

__all__ = [
    "EarlyStopping",
    "Epoch",
    "TrainingConfig",
    "all_reduce_mean",
    "broadcast_from_rank0",
    "choose_device",
    "evaluate",
    "fit",
    "one_cycle",
    "pgd_batch",
    "predict",
    "rank_and_world_size",
]
