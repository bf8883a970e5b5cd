"""Adversarial examples for a training: within epsilon, and the network's modes as they were."""

import pytest
import torch
from stock_networks import Mixed, pictures

from xai_course.data import normalise
from xai_course.training import pgd_batch


def test_pgd_batch_attacks_within_epsilon_and_restores_the_modes():
    network = Mixed().train()
    network.bn2.eval()
    images = normalise((0.5 + 0.2 * pictures(4, 24)).clamp(0, 1).float())
    labels = torch.tensor([0, 1, 2, 3])
    generator = torch.Generator().manual_seed(0)
    statistics = network.bn2.running_mean.clone()
    attacked = pgd_batch(network, images, labels, generator, epsilon=0.05, steps=2)
    change = torch.tensor([0.229, 0.224, 0.225])[:, None, None] * (attacked - images)
    assert 0.04 < change.abs().max() < 0.0501
    assert network.training
    assert not network.bn2.training
    assert torch.equal(network.bn2.running_mean, statistics)
    with pytest.raises(ValueError, match="targets"):
        pgd_batch(network, images, labels + 50, generator, epsilon=0.05, steps=2)
    assert network.training
