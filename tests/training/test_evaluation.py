"""What a classifier predicts, and how often it is right."""

import pytest
import torch
from small_training import loaders, network
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from xai_course.training import evaluate, predict


def test_predict_and_evaluate_by_hand():
    class Sum(nn.Module):
        def forward(self, images):
            mean = images.mean((1, 2, 3))
            return torch.stack([-mean, mean], 1)

    images = torch.tensor([1.0, 2, -3, 4, -5]).reshape(5, 1, 1, 1)
    labels = torch.tensor([1, 0, 0, 1, 0])
    loader = DataLoader(TensorDataset(images, labels), 2)
    logits, answers = predict(Sum(), loader)
    assert logits[:, 1].tolist() == [1, 2, -3, 4, -5]
    assert torch.equal(answers, labels)
    assert evaluate(Sum(), loader) == 0.8


@pytest.mark.parametrize("broken", [False, True])
def test_evaluate_restores_every_mode_and_no_statistics(broken):
    model = network().train()
    model.stem.eval()  # one part frozen by the caller
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if broken:
        with pytest.raises(ValueError, match="labels from 7 to 7"):
            evaluate(model, [(torch.zeros(1, 3, 8, 8), torch.tensor([7]))])
    else:
        evaluate(model, loaders()[1])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_empty_loaders():
    data = TensorDataset(torch.zeros(4, 3, 8, 8), torch.zeros(4).long())
    for loader in ([], DataLoader(data, 8, drop_last=True)):
        with pytest.raises(ValueError, match="loader: got an empty loader"):
            evaluate(network(), loader)
