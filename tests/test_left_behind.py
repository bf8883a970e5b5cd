"""Whatever fails, and in whichever run of the model: no mode, hook, flag or thread stays behind."""

import threading

import pytest
import torch
from explainers import EXPLAINERS, small
from random_networks import state_of
from stock_networks import pictures
from torch import nn

from xai_course.fully_connected import class_similarity, contrast, embed, logit_contributions
from xai_course.metrics import (
    count_passes,
    deletion,
    infidelity,
    insertion,
    layer_order,
    randomisation,
    randomisation_null,
    reinitialised,
    sensitivity_max,
)
from xai_course.relu import (
    activations,
    dead_relus,
    gradient,
    local_linear,
    relu_masks,
)
from xai_course.residual import ablate_blocks, block_contributions, logit_lens
from xai_course.robustness import fgsm, gradient_masking_checks, learn_patch, manipulate_map, pgd

LABELS = torch.zeros(2, dtype=torch.long)
MASK = torch.zeros(16, 16, dtype=torch.bool).index_fill(0, torch.arange(4), True)
OTHERS = {
    "ablate_blocks": lambda model, x: ablate_blocks(model, x, 0),
    "activations": lambda model, x: activations(model, x, "conv2"),
    "block_contributions": block_contributions,
    "class_similarity": class_similarity,
    "contrast": contrast,
    "count_passes": lambda model, x: count_passes(model, lambda: gradient(model, x)),
    "dead_relus": dead_relus,
    "deletion": lambda model, x: deletion(model, gradient, x, steps=3),
    "embed": embed,
    "fgsm": lambda model, x: fgsm(model, x, LABELS, epsilon=0.1),
    "gradient_masking_checks": lambda model, x: gradient_masking_checks(
        model, x.sigmoid(), LABELS, epsilon=0.1, steps=2
    ),
    "infidelity": lambda model, x: infidelity(model, gradient, x, samples=3),
    "insertion": lambda model, x: insertion(model, gradient, x, steps=3),
    "layer_order": layer_order,
    "learn_patch": lambda model, x: learn_patch(model, x, LABELS, mask=MASK, steps=2),
    "local_linear": local_linear,
    "logit_contributions": logit_contributions,
    "logit_lens": logit_lens,
    "manipulate_map": lambda model, x: manipulate_map(model, x, gradient(model, x), steps=2),
    "pgd": lambda model, x: pgd(model, x, LABELS, epsilon=0.1, steps=2),
    "randomisation": lambda model, x: randomisation(model, gradient, x),
    "randomisation_null": lambda model, x: randomisation_null(model, gradient, x),
    "reinitialised": reinitialised,
    "relu_masks": relu_masks,
    "sensitivity_max": lambda model, x: sensitivity_max(model, gradient, x, samples=2),
}
FUNCTIONS = EXPLAINERS | OTHERS


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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_failure_in_any_run_leaves_nothing_behind(name):
    function, images = FUNCTIONS[name], pictures(2, 16)
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
