"""Random numbers of several processes that train together."""

import torch
from torch.utils.data import TensorDataset

from xai_course.data import loader
from xai_course.training import seeding


def test_processes_share_the_order_but_not_dropout_and_augmentation(monkeypatch):
    drawn = []
    for rank in (0, 1):
        monkeypatch.setattr(seeding, "rank_and_world_size", lambda rank=rank: (rank, 2))
        data = loader(TensorDataset(torch.arange(20)), 20, shuffle=True, seed=rank)
        augmentation = seeding.seed_epoch(4, 2, data)
        dropout = torch.rand(5)
        order = next(iter(data))[0]
        drawn.append((order, dropout, torch.rand(5, generator=augmentation)))
    same = [torch.equal(first, second) for first, second in zip(*drawn, strict=True)]
    assert same == [True, False, False]
