"""The small residual network: its blocks, its resolutions, its head."""

import pytest
import torch
from torch import nn

from xai_course.models import BeetleNet, ResidualBlock, count_weights


@pytest.mark.parametrize("value", [0, -1, 2.0, "10", True, None])
@pytest.mark.parametrize("name", ["classes", "depth", "width"])
def test_wrong_arguments_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: got .*; must be a whole number, at least 1"):
        BeetleNet(**{name: value})


def test_a_block_is_relu_of_skip_plus_branch():
    torch.manual_seed(0)
    for block in (ResidualBlock(4, 4), ResidualBlock(4, 6, stride=2)):
        block.eval()
        x = torch.randn(2, 4, 9, 9)
        before = x.clone()
        y = block(x)
        torch.testing.assert_close(y, (block.skip(x) + block.branch(x)).clamp(min=0))
        assert torch.equal(x, before), "the input was changed in place"


def test_the_skip_is_the_identity_where_the_shape_stays():
    assert isinstance(ResidualBlock(4, 4).skip, nn.Identity)
    x = torch.randn(1, 4, 5, 5).clamp(min=0)
    block = ResidualBlock(4, 4).eval()
    nn.init.zeros_(block.branch.norm2.weight)  # a branch that adds nothing
    assert torch.equal(block(x), x)


def test_without_skips_a_block_is_relu_of_its_branch():
    block = ResidualBlock(4, 6, stride=2, skips=False).eval()
    x = torch.randn(2, 4, 9, 9)
    assert block.skip is None
    assert torch.equal(block(x), block.branch(x).clamp(min=0))


def test_the_twin_without_skips_differs_in_nothing_else():
    skips, plain = BeetleNet(depth=6, width=8), BeetleNet(depth=6, width=8, skips=False)
    shapes = [
        {name: weight.shape for name, weight in model.state_dict().items() if "skip" not in name}
        for model in (skips, plain)
    ]
    assert shapes[0] == shapes[1]
    assert not any("skip" in name for name in plain.state_dict())
    fitted = sum("skip.conv" in name for name in skips.state_dict())
    assert fitted == 2, "two blocks change the shape"
    again = BeetleNet(**plain.arguments)
    again.load_state_dict(plain.state_dict())


@pytest.mark.parametrize("value", [0, 1, None, "no"])
def test_skips_are_true_or_false(value):
    with pytest.raises(ValueError, match=r"^skips: got .*; must be True or False"):
        BeetleNet(skips=value)


@pytest.mark.parametrize(
    ("depth", "sizes"),
    [
        (1, [32]),
        (2, [32, 16]),
        (3, [32, 16, 8]),
        (4, [32, 32, 16, 8]),
        (6, [32, 32, 16, 16, 8, 8]),
    ],
)
def test_blocks_are_shared_among_three_resolutions(depth, sizes):
    model = BeetleNet(depth=depth, width=8).eval()
    x = model.stem(torch.randn(1, 3, 64, 64))
    assert x.shape == (1, 8, 32, 32)
    seen = []
    for block in model.blocks:
        x = block(x)
        seen.append(tuple(x.shape[1:]))
    assert seen == [(8 * 32 // size, size, size) for size in sizes]


def test_logits_are_the_head_on_the_mean_of_the_last_map():
    torch.manual_seed(0)
    model = BeetleNet().double().eval()
    images = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    last = model.blocks(model.stem(images))
    by_hand = torch.einsum("nchw,kc->nk", last, model.head.weight) / 64 + model.head.bias
    torch.testing.assert_close(model(images), by_hand, atol=1e-12, rtol=0)


def test_every_relu_is_its_own_and_leaves_its_input_alone():
    relus = [m for m in BeetleNet().modules() if isinstance(m, nn.ReLU)]
    assert not any(relu.inplace for relu in relus)
    calls = []
    model = BeetleNet().eval()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda m, _i, _o: calls.append(m))
    model(torch.randn(1, 3, 16, 16))
    assert len(calls) == len(set(calls)) == 1 + 2 * len(model.blocks), "a ReLU is used twice"


def test_beetle_net_stays_small():
    assert 50_000 <= count_weights(BeetleNet()) <= 150_000


def test_weights_that_are_not_trained_are_not_counted():
    layer = nn.Linear(3, 2)
    assert count_weights(layer) == 8
    layer.weight.requires_grad_(False)
    assert count_weights(layer) == 2
