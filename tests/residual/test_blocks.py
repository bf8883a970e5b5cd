"""The residual stream against sums redone by hand, edited copies, and every spelling of a sum."""

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import error, network, pictures, with_heavy
from torch import nn

from xai_course.fully_connected import logit_contributions
from xai_course.models import ArticleNet, BeetleNet
from xai_course.residual import (
    ResidualTracer,
    ablate_blocks,
    block_contributions,
    block_map,
    decision_block,
    logit_lens,
)

STOCK = ["small_resnet", "bottleneck", "small_mobilenet"]
STOCK += ["resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0"]
networks = pytest.mark.parametrize("name", [*with_heavy(STOCK), "mixed"])


def beetle_net(depth=3, width=4, seed=0):
    """BeetleNet in float64 with batch statistics and biases that are not 0 and 1."""
    torch.manual_seed(seed)
    model = BeetleNet(classes=5, depth=depth, width=width).double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return model


def last_norms(name, model):
    """The batch normalisation that ends each residual branch, as one reads it in the code."""
    if name == "beetle_net":
        return [block.branch.norm2 for block in model.blocks]
    if "resnet" in name or name == "bottleneck":
        stages = (model.layer1, model.layer2, model.layer3, model.layer4)
        last = "bn3" if name in ("resnet50", "bottleneck") else "bn2"
        return [getattr(block, last) for stage in stages for block in stage]
    if name == "efficientnet_lite0":
        return [block.branch[-1] for block in model.blocks if block.skip is not None]
    return [b.conv[-1] for b in model.features if getattr(b, "use_res_connect", False)]


def silenced(name, model, positions):
    """A copy in which these branches give zero, by editing their last batch normalisation."""
    edited = copy.deepcopy(model)
    norms = last_norms(name, edited)
    with torch.no_grad():
        for position in positions:
            norms[position].weight.zero_()
            norms[position].bias.zero_()
    return edited


class Blocks(nn.Module):
    """Two residual blocks that are added up by `add(skip, branch)`, after a stem; a head."""

    def __init__(self, add, first=F.relu, last=F.relu):
        super().__init__()
        self.add, self.first, self.last = add, first, last
        torch.manual_seed(3)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.a1, self.a2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.b1, self.b2 = nn.Conv2d(4, 6, 3, 2, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.fit = nn.Conv2d(4, 6, 1, 2)
        self.head = nn.Linear(6, 3)
        self.double().eval()

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = self.first(self.add(x, self.a2(F.gelu(self.a1(x)))))  # curves in a branch do no harm
        x = self.last(self.add(self.fit(x), self.b2(F.relu(self.b1(x)))))
        return self.head(x.mean((2, 3)))


def in_place(first, second):
    first += second
    return first


def in_place_unassigned(first, second):
    first.add_(second)
    return first


def into_a_view(first, second):
    whole = torch.cat([first, first])
    half = whole[: len(first)]
    half += second
    return half


SPELLINGS = {
    "skip + branch": lambda skip, branch: skip + branch,
    "branch + skip": lambda skip, branch: branch + skip,
    "sum of a list": lambda skip, branch: sum([branch, skip]),
    "torch.add": torch.add,
    "torch.add by name": lambda skip, branch: torch.add(other=branch, input=skip),
    "branch.add": lambda skip, branch: branch.add(skip),
    "branch += skip": lambda skip, branch: in_place(branch, skip),
    "skip += branch": lambda skip, branch: in_place(skip * 1, branch),
    "branch.add_(skip)": lambda skip, branch: in_place_unassigned(branch, skip),
    "a view += skip": lambda skip, branch: into_a_view(branch, skip),
}


# ---- contributions -------------------------------------------------------------------------------


def parts_sum(parts):
    return parts.stem + parts.blocks.sum(1) + parts.biases


@networks
def test_the_parts_add_up_to_the_plain_logit(name):
    model, images, targets = network(name), pictures(2, 48), torch.tensor([3, 1])
    found = block_contributions(model, images, targets)
    with torch.no_grad():
        plain = model(images.clone()).gather(1, targets[:, None])[:, 0]
    assert torch.equal(found.logit, plain)
    assert error(parts_sum(found), plain) < 1e-10
    assert found.blocks.shape == (2, len(found.names))
    for number, part in enumerate(found.maps):
        assert part.shape[:2] == (2, 1)
        assert error(part.sum((1, 2, 3)), found.blocks[:, number]) < 1e-10
    assert not any(t.requires_grad for t in [*found[:4], *found.maps])


@given(
    depth=st.integers(1, 7),
    width=st.integers(1, 4),
    size=st.tuples(st.integers(8, 20), st.integers(8, 20)),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_contributions_of_beetle_net_redone_by_hand(depth, width, size, seed):
    """What a branch gives, sent on by hand: the same ReLUs open, skip paths without constants."""
    model = beetle_net(depth, width, seed)
    images = pictures(2, 20, seed=seed)[:, :, : size[0], : size[1]]
    found = block_contributions(model, images, 2)
    assert found.names == [f"blocks.{b}.branch" for b in range(depth)]

    def onward(values, block):
        if isinstance(block.skip, nn.Identity):
            return values
        norm = block.skip.norm
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return block.skip.conv(values) * scale[:, None, None]

    with torch.no_grad():
        x, is_open, branches = model.stem(images), [], []
        stem = model.blocks[0].skip(x)
        for block in model.blocks:
            branches.append(block.branch(x))
            x = block(x)
            is_open.append(x > 0)
        for start, values in enumerate([stem, *branches]):
            first = max(start - 1, 0)
            values = values * is_open[first]
            for block, gate in zip(model.blocks[first + 1 :], is_open[first + 1 :], strict=True):
                values = onward(values, block) * gate
            logit = values.mean((2, 3)) @ model.head.weight[2]
            ours = found.blocks[:, start - 1] if start else found.stem
            assert (ours - logit).abs().max() < 1e-10
    assert (parts_sum(found) - model(images)[:, 2]).abs().max() < 1e-10


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_the_sum_is_seen(spelling):
    images = pictures(2, 10)
    expected = block_contributions(Blocks(lambda skip, branch: skip + branch), images)
    found = block_contributions(Blocks(SPELLINGS[spelling]), images)
    assert torch.equal(found.logit, expected.logit)
    assert error(found.blocks, expected.blocks) < 1e-12
    assert error(found.stem, expected.stem) < 1e-12
    assert found.names == expected.names
    assert (
        error(ablate_blocks(Blocks(SPELLINGS[spelling]), images, 0), ablated_by_hand(images))
        < 1e-12
    )


def ablated_by_hand(images):
    with torch.no_grad():
        model = Blocks(torch.add)
        x = F.relu(F.relu(model.stem(images)))
        x = F.relu(model.fit(x) + model.b2(F.relu(model.b1(x))))
        return model.head(x.mean((2, 3)))


def test_a_factor_on_a_term_counts():
    images = pictures(2, 10)
    model = Blocks(lambda skip, branch: torch.add(skip, branch, alpha=0.5))
    halved = Blocks(lambda skip, branch: skip + 0.5 * branch)
    found, expected = block_contributions(model, images), block_contributions(halved, images)
    assert error(found.blocks, expected.blocks) < 1e-12
    assert error(parts_sum(found), found.logit) < 1e-12


def test_the_last_block_of_a_network_that_ends_linearly_adds_what_its_removal_costs():
    model, images = Blocks(torch.add, last=lambda x: x), pictures(3, 10)
    found = block_contributions(model, images, 1)
    with torch.no_grad():
        cost = (model(images) - ablate_blocks(model, images, 1))[:, 1]
    assert error(found.blocks[:, 1], cost) < 1e-12
    with torch.no_grad():
        earlier = (model(images) - ablate_blocks(model, images, 0))[:, 1]
    assert error(found.blocks[:, 0], earlier) > 1e-3  # it also passed something to the second block


def test_a_sum_inside_a_branch_belongs_to_it():
    """In `mixed` the second sum, out + 0.1 * identity, has all of the first in its branch."""
    model, images = network("mixed"), pictures(2, 32)
    found = block_contributions(model, images, 4)
    assert found.names == ["conv3"]
    with torch.no_grad():
        identity = F.max_pool2d(torch.relu(model.conv1(images - 0.1)), 3, 2, 1)
        out = F.relu(model.conv3(F.relu(model.bn2(model.conv2(identity)) + identity)))
        pooled = (out + 0.1 * identity).mean((2, 3))  # its ReLU is open everywhere
        weights = model.fc2.weight[4] * (model.fc1(pooled) > 0)
        expected = (out.mean((2, 3)) @ model.fc1.weight.T * weights).sum(1)
        silent = model.fc2(F.relu(model.fc1(0.1 * identity.mean((2, 3)))))
    assert error(found.blocks[:, 0], expected) < 1e-10
    assert error(ablate_blocks(model, images, 0), silent) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_is_close(dtype):
    exact = block_contributions(Blocks(torch.add), pictures(2, 10), 0)
    found = block_contributions(Blocks(torch.add).to(dtype), pictures(2, 10).to(dtype), 0)
    assert found.blocks.dtype == dtype
    within = 1e-5 if dtype == torch.float32 else 0.1
    assert error(found.blocks.double(), exact.blocks) < within


# ---- maps ----------------------------------------------------------------------------------------


@networks
def test_a_map_sums_to_the_contribution(name):
    model, images = network(name), pictures(2, 40)
    found = block_contributions(model, images)
    for number in {0, len(found.names) // 2, len(found.names) - 1}:
        relevance = block_map(model, images, block=number)
        assert relevance.shape == (2, 1, 40, 40)
        assert error(relevance.sum((1, 2, 3)), found.blocks[:, number]) < 1e-10
        assert torch.equal(relevance, block_map(model, images, block=found.names[number]))
    assert torch.equal(block_map(model, images), block_map(model, images, block=-1))


def test_a_map_shows_where():
    """A stem that passes the image on and a branch that doubles it: the map is the image."""
    model = nn.Sequential(Doubling(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()
    images = pictures(1, 6, 2).abs()
    relevance = block_map(model, images, 1)
    assert error(relevance[:, 0], 2 * images[:, 1] / 36) < 1e-12


class Doubling(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        self.conv.weight.data = 2 * torch.eye(2)[:, :, None, None]

    def forward(self, x):
        return x + self.conv(x)


# ---- lens and ablation ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*with_heavy(STOCK), "beetle_net"])
def test_ablation_and_lens_agree_with_copies_whose_branches_end_in_zero(name):
    model = beetle_net(5) if name == "beetle_net" else network(name)
    images, count = pictures(1, 32), len(last_norms(name, model))
    lens = logit_lens(model, images)
    assert lens.shape == (1, count + 1, model(images[:1]).shape[1])
    with torch.no_grad():
        assert torch.equal(lens[:, -1], model(images))
        for index in (0, count // 2, count - 1):
            alone = silenced(name, model, [index])(images)
            assert error(ablate_blocks(model, images, index), alone) < 1e-10
            later = silenced(name, model, range(index, count))(images)
            assert error(lens[:, index], later) < 1e-10
        two = silenced(name, model, [0, count - 1])(images)
    assert error(ablate_blocks(model, images, [0, -1]), two) < 1e-10


def test_no_ablation_is_the_network_itself_and_batches_change_nothing():
    model, images = beetle_net(4), pictures(5, 16)
    with torch.no_grad():
        assert torch.equal(ablate_blocks(model, images, []), model(images))
    whole, lens = ablate_blocks(model, images, [1, 2]), logit_lens(model, images)
    assert error(ablate_blocks(model, images, [1, 2], batch_size=2), whole) < 1e-12
    assert error(logit_lens(model, images, batch_size=2), lens) < 1e-12
    assert error(lens[:, 1], ablate_blocks(model, images, range(1, 4))) < 1e-12


def test_wrong_arguments_of_lens_and_ablation_are_refused():
    model, images = beetle_net(2), pictures(2, 16)
    broken = torch.cat([images, images * torch.nan])
    for run in (logit_lens, lambda *given, **options: ablate_blocks(*given, 0, **options)):
        with pytest.raises(ValueError, match=r"^images: got NaN or infinite values"):
            run(model, broken)
        with pytest.raises(ValueError, match=r"^images: got torch.int64"):
            run(model, images.long())
        with pytest.raises(ValueError, match=r"^batch_size: got 0"):
            run(model, images, batch_size=0)
        with pytest.raises(ValueError, match=r"^model: got function"):
            run(lambda x: x, images)


def test_progress_draws_a_bar(capsys):
    logit_lens(beetle_net(2), pictures(1, 16), progress=True)
    assert "logit lens" in capsys.readouterr().err


def test_the_decision_block_by_hand():
    predicted = torch.tensor([[2, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 2, 2]])
    lens = F.one_hot(predicted, 3).double()
    assert decision_block(lens).tolist() == [1, 0, 3, 2]
    with pytest.raises(ValueError, match=r"^lens: got shape \(4, 3\)"):
        decision_block(lens[:, 0])


@pytest.mark.parametrize("wanted", [3, -4, "blocks.1", [0, 7], 0.5, None])
def test_blocks_that_are_refused(wanted):
    model, images = beetle_net(3), pictures(1, 16)
    blocks = wanted if isinstance(wanted, list | int | str) else [wanted]
    with pytest.raises(ValueError, match=r"^block: got .*must be an index from 0 to 2, .*branch"):
        ablate_blocks(model, images, blocks)
    if not isinstance(wanted, list):
        with pytest.raises(ValueError, match=r"^block: got"):
            block_map(model, images, block=wanted)


# ---- named branches ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", with_heavy(["small_resnet", "resnet18"]))
def test_branches_can_be_named(name):
    model, images = network(name), pictures(2, 40)
    stages = [f"layer{stage}" for stage in (1, 2, 3, 4)]
    names = [f"{stage}.{k}.bn2" for stage in stages for k in range(len(getattr(model, stage)))]
    found, expected = (
        block_contributions(model, images, branches=names),
        block_contributions(model, images),
    )
    assert found.names == names
    assert torch.equal(found.blocks, expected.blocks)
    assert torch.equal(found.stem, expected.stem)
    assert torch.equal(logit_lens(model, images, branches=names), logit_lens(model, images))
    second = ablate_blocks(model, images, "layer1.1.bn2", branches=names)
    assert torch.equal(second, ablate_blocks(model, images, 1))
    only = block_contributions(model, images, branches=names[-2:])
    assert error(only.blocks, expected.blocks[:, -2:]) < 1e-10


def test_a_block_has_the_name_that_its_layers_share():
    class Nested(nn.Module):
        """A branch of layers at several depths, and one of layers that share no name."""

        def __init__(self):
            super().__init__()
            inner = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
            self.block = nn.Sequential(nn.Conv2d(3, 3, 1), inner, nn.Conv2d(3, 3, 1))
            self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.double().eval()

        def forward(self, x):
            x = x + self.block(x)
            x = x + self.two(self.one(x).relu())
            return x.mean((2, 3))

    assert block_contributions(Nested(), pictures(1, 6)).names == ["block", "two"]


class EquallyDeep(nn.Module):
    """One convolution on either side: which is the branch, only its author can say."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 2)
        self.double().eval()

    def forward(self, x):
        return self.head(F.relu(self.one(x) + self.two(x)).mean((2, 3)))


def test_a_sum_of_equals_needs_a_name():
    model, images = EquallyDeep(), pictures(2, 8)
    with pytest.raises(ValueError, match=r"^model: got no residual sum .*branches="):
        block_contributions(model, images)
    found = block_contributions(model, images, 0, branches=["one"])
    with torch.no_grad():
        one, two = model.one(images), model.two(images)
        expected = (one * (one + two > 0)).mean((2, 3)) @ model.head.weight[0]
    assert error(found.blocks[:, 0], expected) < 1e-12
    assert error(block_map(model, images, 0, branches=["one"]).sum((1, 2, 3)), expected) < 1e-12


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["layer1.0.bn4"], "got 'layer1.0.bn4'"),
        (["conv1"], "got 'conv1', which gives no term"),
        ("fc", "got"),
    ],
)
def test_names_that_are_refused(names, words):
    model = network("small_resnet")
    with pytest.raises(ValueError, match=f"^branches: {words}"):
        block_contributions(model, pictures(1, 32), branches=names)
    assert not any(m._forward_hooks for m in model.modules())


# ---- refusals, and no traces ---------------------------------------------------------------------


@pytest.mark.parametrize("explain", [block_contributions, block_map, logit_lens])
@pytest.mark.parametrize(
    "name",
    [*with_heavy(["small_vgg", "small_densenet", "vgg16", "densenet121"]), "article_net", "plain"],
)
def test_networks_without_residual_sums_are_refused(explain, name):
    own = {"article_net": ArticleNet, "plain": lambda: BeetleNet(skips=False)}
    model = own[name]().double().eval() if name in own else network(name)
    with pytest.raises(ValueError, match=r"^model: got no residual sum .*integrated_gradients"):
        explain(model, pictures(1, 32))


@pytest.mark.parametrize("curved", [F.gelu, torch.tanh, lambda x: x * x.mean((2, 3), keepdim=True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_curve_on_the_skip_path_is_refused(curved, dtype):
    model, images = Blocks(torch.add, first=curved).to(dtype), pictures(2, 10).to(dtype)
    with pytest.raises(ValueError, match=r"^model: got parts that miss the logit"):
        block_contributions(model, images)
    with pytest.raises(ValueError, match=r"^model: got skip paths that are not piecewise linear"):
        block_map(model, images, block=0)
    assert logit_lens(model, images).shape == (2, 3, 3)  # needs no straight lines


def test_a_way_around_all_blocks_is_refused():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = Blocks(torch.add)

        def forward(self, x):
            return self.blocks(x) + x.mean((2, 3))

    with pytest.raises(ValueError, match="no way around"):
        block_contributions(Around().eval(), pictures(2, 10))


class OverWindows(nn.Module):
    """A linear layer over windows, whose rows are not the images: in a branch, or in the head."""

    def __init__(self, of_the_head=False):
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.inner = nn.Linear(8, 8)
        self.head, self.last = nn.Linear(8, 8), nn.Linear(4, 2)
        self.of_the_head = of_the_head

    def forward(self, x):
        y = self.stem(x)
        n, k, h, w = y.shape
        if not self.of_the_head:
            windows = y.view(n, k, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).flatten(0, 2)
            windows = self.inner(windows.flatten(1, 2)).relu() + 0.5
            windows = windows.view(n, h // 2, w // 2, 2, 2, k)
            y = y + windows.permute(0, 5, 1, 3, 2, 4).reshape(n, k, h, w)
            return self.head(y.mean((2, 3)))
        y = y + self.branch(y).relu()
        y = self.head(y.mean((2, 3))).relu().view(-1, 4)
        return self.last(y).view(n, 2, 2).sum(1)


def test_windows_in_a_branch_are_right_and_in_what_follows_refused():
    torch.manual_seed(0)
    model, images = OverWindows().double().eval(), torch.rand(2, 3, 8, 8).double()
    parts = block_contributions(model, images, 0)
    total = parts.stem + parts.blocks.sum(1) + parts.biases
    assert error(total, model(images)[:, 0]) < 1e-10
    model = OverWindows(of_the_head=True).double().eval()
    for explain in (block_contributions, logit_contributions):
        with pytest.raises(ValueError, match=r"^model: got a constant .* one row for each image"):
            explain(model, images, 0)


def test_a_model_without_derivative_is_refused():
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach()

    model = nn.Sequential(Blocks(torch.add), Cut()).eval()
    for explain in (block_contributions, block_map):
        with pytest.raises(ValueError, match=r"^model: got an output without derivative"):
            explain(model, pictures(1, 10))


def test_an_interruption_leaves_nothing_behind():
    class Stop(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    inner = Blocks(torch.add)
    model = nn.Sequential(inner, Stop()).eval()
    for run in (block_contributions, logit_lens):
        with pytest.raises(KeyboardInterrupt):
            run(model, pictures(1, 10), branches=["0.a2"])
    with pytest.raises(KeyboardInterrupt), ResidualTracer(model, pictures(), branches=["0.a2"]):
        raise KeyboardInterrupt
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.overrides._get_current_function_mode_stack() == []


def test_the_network_is_not_changed():
    model, images = beetle_net(3), pictures(2, 16)
    before, copied = copy.deepcopy(model.state_dict()), images.clone()
    with torch.no_grad():
        logits = model(images)
        block_contributions(model, images)
        ablate_blocks(model, images, [0, 1])
        logit_lens(model, images)
        assert torch.equal(model(images), logits)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(images, copied)


def test_a_named_branch_that_is_not_made_from_the_images_is_refused():
    class Beside(nn.Module):
        """A module on constants, and one that returns no tensor."""

        def __init__(self):
            super().__init__()
            self.blocks, self.constant, self.pair = Blocks(torch.add), nn.Identity(), nn.Identity()

        def forward(self, x):
            self.constant(torch.ones(2)), self.pair((x, x))
            return self.blocks(x)

    model = Beside().eval()
    for name in ("constant", "pair"):
        with pytest.raises(ValueError, match=f"^branches: got '{name}', which gives no term"):
            block_contributions(model, pictures(1, 10), branches=[name])


def test_a_tracer_and_its_graph_are_freed_at_once():
    """Not only when Python looks for circles, or the graphs of many calls would fill the memory."""
    model, images = Blocks(torch.add), pictures(1, 10)
    gc.disable()
    try:
        with ResidualTracer(model, images, cut=True) as tracer:
            logits = model(images)
        alive = [weakref.ref(tracer), weakref.ref(tracer.blocks[0].branch)]
        del tracer, logits
        assert [reference() for reference in alive] == [None, None]
    finally:
        gc.enable()


def test_logits_can_be_used_in_further_derivatives():
    model, images = Blocks(torch.add), pictures(1, 10)
    with torch.inference_mode():
        assert not logit_lens(model, images).is_inference()
        assert not ablate_blocks(model, images, 0).is_inference()
