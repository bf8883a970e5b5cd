"""Whatever fails, and in whichever run of the model: no mode, hook, flag or thread stays behind."""

import threading

import pytest
import torch
from explainers import ALL_FUNCTIONS, small
from random_networks import state_of
from stock_networks import pictures
from torch import nn


class Injected(Exception):
    """A failure that nobody expects."""


class BackwardFails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        raise Injected


class Fails(nn.Module):
    """The last step of a model, which fails in its n-th run, forward or backward."""

    def __init__(self, run, backward):
        super().__init__()
        self.fails_in, self.backward = run, backward
        self.runs = torch.zeros(())  # shared by copies of the model that are not deep

    def forward(self, x):
        if torch.jit.is_tracing():
            return x
        self.runs += 1
        if self.runs.item() < self.fails_in:
            return x
        if self.backward:
            return BackwardFails.apply(x)
        raise Injected


@pytest.mark.parametrize("name", ALL_FUNCTIONS)
def test_a_failure_in_any_run_leaves_nothing_behind(name):
    function, images = ALL_FUNCTIONS[name], pictures(2, 16)
    failures = 0
    for backward in (False, True):
        for run in range(1, 9):
            model = small()
            model.last = Fails(run, backward).eval()
            before, threads, kept = state_of(model), threading.active_count(), images.clone()
            generator = torch.get_rng_state()
            try:
                function(model, images)
            except Injected:
                failures += 1
            except ValueError:  # a model that fails may be refused
                pass
            after = state_of(model)
            assert after == before
            assert torch.equal(torch.get_rng_state(), generator)
            assert torch.equal(images, kept)
            assert threading.active_count() == threads
            assert not torch.is_inference_mode_enabled()
    assert failures >= 1, "nothing failed, so nothing was tested"
