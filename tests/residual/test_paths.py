"""The sum over paths against all paths one by one, and against networks with their gates fixed."""

import copy
from contextlib import ExitStack
from itertools import product
from math import comb

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import error, network, pictures, with_heavy
from torch import nn

from xai_course.core import function_name, intercept
from xai_course.metrics import count_passes, reinitialised
from xai_course.models import ArticleNet, BeetleNet, ResNet18
from xai_course.relu import gradient, local_linear
from xai_course.residual import ablate_blocks, path_contributions, path_gradients
from xai_course.residual.paths import single_path_norms

STOCK = ["small_resnet", "bottleneck", "small_mobilenet"]
STOCK += ["resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0"]
networks = pytest.mark.parametrize("name", [*with_heavy(STOCK), "mixed"])


def with_statistics(model):
    """The model in float64, with batch statistics and shifts that are not 0 and 1."""
    model = model.double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return model


def beetle_net(depth=3, width=4, seed=0):
    torch.manual_seed(seed)
    return with_statistics(BeetleNet(classes=5, depth=depth, width=width))


def by_length(parts):
    return parts.from_input + parts.biases


# ---- oracles -------------------------------------------------------------------------------------


def fixed_beetle_net(model, images):
    """BeetleNet as a function of other images and of a factor for each branch, gates as here."""
    gates = {}

    def relu(name, values):
        gates.setdefault(name, values > 0)  # as the first call finds them
        return values * gates[name]

    def run(x, factors):
        x = relu("stem", model.stem.norm(model.stem.conv(x)))
        for number, (block, factor) in enumerate(zip(model.blocks, factors, strict=True)):
            branch = block.branch
            inside = relu(f"{number} inside", branch.norm1(branch.conv1(x)))
            change = branch.norm2(branch.conv2(inside))
            x = relu(f"{number} after", block.skip(x) + factor * change)
        return model.head(x.mean((2, 3)))

    run(images, [1] * len(model.blocks))
    return run


def every_path(run, images, depth, target):
    """What each path contributes: a dictionary from the branches it takes, as 0 and 1, to (N,).

    The network with some branches at zero is the sum of the paths through the others. So a path is
    what such a network gives, less all shorter paths in it.
    """
    found = {}
    for taken in sorted(product((0, 1), repeat=depth), key=sum):
        total = run(images, taken)[:, target]
        inside = [p for p in found if all(a <= b for a, b in zip(p, taken, strict=True))]
        found[taken] = total - sum(found[p] for p in inside)
    return found


@given(
    depth=st.integers(1, 5),
    width=st.integers(1, 4),
    size=st.tuples(st.integers(8, 20), st.integers(8, 20)),
    seed=st.integers(0, 99),
)
@settings(max_examples=8, deadline=None)
def test_all_paths_of_beetle_net_one_by_one(depth, width, size, seed):
    model = beetle_net(depth, width, seed)
    images = pictures(2, 20, seed=seed)[:, :, : size[0], : size[1]]
    parts = path_contributions(model, images, 2)
    with torch.no_grad():
        run = fixed_beetle_net(model, images)
        whole = every_path(run, images, depth, 2)
        constants = every_path(run, torch.zeros_like(images), depth, 2)  # of a black image
        plain = model(images)[:, 2]
    for length in range(depth + 1):
        paths = [path for path in whole if sum(path) == length]
        assert len(paths) == comb(depth, length)
        biases = sum(constants[path] for path in paths)
        from_input = sum(whole[path] for path in paths) - biases
        assert (parts.biases[:, length] - biases).abs().max() < 1e-10
        assert (parts.from_input[:, length] - from_input).abs().max() < 1e-10
    for block in range(depth):
        through = sum(value for path, value in whole.items() if path[block])
        assert (parts.blocks[:, block] - through).abs().max() < 1e-10
        fixed = run(images, [int(other != block) for other in range(depth)])[:, 2].detach()
        assert (parts.logit - parts.blocks[:, block] - fixed).abs().max() < 1e-10
    assert (by_length(parts).sum(1) - plain).abs().max() < 1e-10
    assert parts.names == [f"blocks.{block}.branch" for block in range(depth)]


@pytest.mark.parametrize("depth", [1, 3])
def test_the_gradients_of_all_paths_one_by_one(depth):
    model, images = beetle_net(depth), pictures(2, 16)
    run = fixed_beetle_net(model, images)
    x = images.clone().requires_grad_()
    rows = path_gradients(model, images, 1)
    for length, row in enumerate(rows.unbind(1)):
        paths = every_path(run, x, depth, 1).items()
        total = sum(value for path, value in paths if sum(path) == length)
        (expected,) = torch.autograd.grad(total.sum(), x)
        assert error(row, expected) < 1e-10


@pytest.mark.parametrize("depth", [1, 3])
def test_the_norms_of_single_paths_one_by_one(depth):
    model, images = beetle_net(depth), pictures(2, 16)
    run = fixed_beetle_net(model, images)
    x = images.clone().requires_grad_()
    expected = torch.zeros(2, depth + 1, dtype=torch.float64)
    for path, value in every_path(run, x, depth, 1).items():
        (grad,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
        expected[:, sum(path)] += grad.flatten(1).norm(dim=1)
    assert error(single_path_norms(model, images, 1), expected) < 1e-10


def test_too_many_single_paths_are_refused():
    with pytest.raises(ValueError, match="model: got 13 blocks; must be 12 at most"):
        single_path_norms(beetle_net(13, 1), pictures(1, 16), 1)


def branch_ends(name, model):
    """The module that ends each residual branch, as one reads it in the code."""
    if "resnet" in name or name == "bottleneck":
        stages = (model.layer1, model.layer2, model.layer3, model.layer4)
        last = "bn3" if name in ("resnet50", "bottleneck") else "bn2"
        return [getattr(block, last) for stage in stages for block in stage]
    if name == "efficientnet_lite0":
        return [block.branch[-1] for block in model.blocks if block.skip is not None]
    return [b.conv[-1] for b in model.features if getattr(b, "use_res_connect", False)]


def with_fixed_gates(name, model, images, factors):
    """Logits of a copy with its branches multiplied by factors, and its gates as for factors 1."""
    model, gates = copy.deepcopy(model), []

    def run(func, args, kwargs):
        """Run a function; a ReLU, ReLU6 or max-pool as it was at its first run, in order."""
        kind = function_name(func)
        if kind not in ("relu", "relu6", "hardtanh", "max_pool2d"):
            return func(*args, **kwargs)
        x, is_first = args[0], step[0] == len(gates)
        if kind == "max_pool2d":
            options = {"kernel_size": 3, "stride": 2, "padding": 1}
            if is_first:
                gates.append(F.max_pool2d(x, **options, return_indices=True)[1])
            out = x.flatten(2).gather(2, gates[step[0]].flatten(2)).view_as(gates[step[0]])
        else:
            bound = torch.inf if kind == "relu" else 6
            if is_first:
                gates.append((x > 0, x < bound))
            above, below = gates[step[0]]
            out = torch.where(below, above * x, 6)
        step[0] += 1
        return out

    with ExitStack() as stack, torch.no_grad():
        for each in (None, factors):
            step = [0]
            if each is not None:
                for end, factor in zip(branch_ends(name, model), each, strict=True):
                    scale = lambda _m, _i, out, factor=factor: out * factor  # noqa: E731
                    stack.enter_context(end.register_forward_hook(scale))
            with intercept(run):
                logits = model(images.clone())
    assert step[0] == len(gates)
    return logits


@pytest.mark.parametrize("name", with_heavy(STOCK))
def test_stock_networks_are_the_polynomial_that_their_columns_say(name):
    """Branches times t, gates fixed: at more places than needed to know the coefficients."""
    model, images, targets = network(name), pictures(2, 48), torch.tensor([3, 1])
    columns = by_length(path_contributions(model, images, targets))
    degree = columns.shape[1] - 1
    assert degree == len(branch_ends(name, model))
    for t in torch.linspace(-1.5, 1.5, min(degree, 5) + 2).tolist():
        logits = with_fixed_gates(name, model, images, [t] * degree)
        expected = logits.gather(1, targets[:, None])[:, 0]
        powers = t ** torch.arange(degree + 1, dtype=torch.double)
        size = (columns * powers).abs().sum(1)
        assert ((columns @ powers - expected).abs() / size).max() < 1e-10


@pytest.mark.parametrize("name", with_heavy(STOCK))
def test_a_block_of_a_stock_network_is_worth_its_paths_with_fixed_gates(name):
    model, images = network(name), pictures(1, 48)
    parts = path_contributions(model, images, 0)
    count = len(parts.names)
    for block in {0, count - 1}:
        factors = [float(other != block) for other in range(count)]
        fixed = with_fixed_gates(name, model, images, factors)[:, 0]
        assert error(parts.logit - parts.blocks[:, block], fixed) < 1e-9


# ---- identities ----------------------------------------------------------------------------------


@networks
def test_the_columns_add_up(name):
    model, images, targets = network(name), pictures(2, 48), torch.tensor([3, 1])
    parts, split = (
        explain(model, images, targets) for explain in (path_contributions, local_linear)
    )
    with torch.no_grad():
        plain = model(images.clone()).gather(1, targets[:, None])[:, 0]
    assert torch.equal(parts.logit, plain)
    assert error(by_length(parts).sum(1), plain) < 1e-10
    assert error(parts.from_input.sum(1), split.from_input) < 1e-10
    lengths = torch.arange(len(parts.names) + 1)
    # A path of length k is in k blocks.
    assert error(parts.blocks.sum(1), (lengths * by_length(parts)).sum(1)) < 1e-9
    rows = path_gradients(model, images, targets)
    assert rows.shape == (2, len(lengths), 3, 48, 48)
    assert error(rows.sum(1), gradient(model, images, targets)) < 1e-10
    assert error((rows * images[:, None]).flatten(2).sum(2), parts.from_input) < 1e-10
    assert not any(tensor.requires_grad for tensor in (*parts[:4], rows))


@pytest.mark.parametrize(
    "model",
    [
        BeetleNet(depth=9, width=4),
        ResNet18(width=4),
        reinitialised(BeetleNet(), pictures(4).float()),
    ],
    ids=["nine blocks", "ResNet18", "untrained"],
)
def test_networks_of_the_course(model):
    model, images = with_statistics(model), pictures(2, 64)
    parts = path_contributions(model, images)
    assert error(by_length(parts).sum(1), parts.logit) < 1e-10


def test_by_hand():
    """First x + 2x, then + 3 (x + 2x) + 1: 1 of length 0, 2 + 3 + 1 of length 1, 6 of length 2."""

    class Times(nn.Module):
        def __init__(self, factor, shift):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)
            nn.init.constant_(self.conv.weight, factor)
            nn.init.constant_(self.conv.bias, shift)

        def forward(self, x):
            return x + self.conv(x)

    model = nn.Sequential(Times(2.0, 0.0), nn.ReLU(), Times(3.0, 1.0), nn.Flatten()).eval()
    parts = path_contributions(model, torch.ones(1, 1, 1, 1))
    assert parts.from_input.tolist() == [[1, 5, 6]]
    assert parts.biases.tolist() == [[0, 1, 0]]
    assert parts.blocks.tolist() == [[2 + 6, 3 + 1 + 6]]
    assert path_gradients(model, torch.ones(1, 1, 1, 1)).flatten().tolist() == [1, 5, 6]


def test_the_last_branch_of_a_network_that_ends_linearly_is_worth_what_its_removal_costs():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.one, self.two = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.double().eval()

        def forward(self, x):
            x = F.relu(x + self.one(x))
            return (x + self.two(x)).mean((2, 3))

    model, images = Linear(), pictures(3, 10)
    blocks = path_contributions(model, images, 1).blocks
    with torch.no_grad():
        costs = [(model(images) - ablate_blocks(model, images, b))[:, 1] for b in range(2)]
    assert error(blocks[:, 1], costs[1]) < 1e-12
    assert error(blocks[:, 0], costs[0]) > 1e-3  # other gates open without the first block


# ---- spellings, targets, precision ---------------------------------------------------------------


class Blocks(nn.Module):
    """Two residual blocks that are added up by `add(skip, branch)`."""

    def __init__(self, add, inside=F.relu):
        super().__init__()
        self.add, self.inside = add, inside
        torch.manual_seed(3)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.a1, self.a2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.b1, self.b2 = nn.Conv2d(4, 6, 3, 2, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.fit = nn.Conv2d(4, 6, 1, 2)
        self.head = nn.Linear(6, 3)
        self.double().eval()

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.add(x, self.a2(self.inside(self.a1(x)))))
        x = F.relu(self.add(self.fit(x), self.b2(self.inside(self.b1(x)))))
        return self.head(x.mean((2, 3)))


def in_place(first, second):
    first.add_(second)
    return first


def into_a_view(first, second):
    half = torch.cat([first, first])[: len(first)]
    half += second
    return half


@pytest.mark.parametrize(
    "add",
    [
        lambda skip, branch: branch + skip,
        lambda skip, branch: in_place(branch, skip),
        lambda skip, branch: in_place(skip * 1, branch),
        lambda skip, branch: into_a_view(skip, branch),
        lambda skip, branch: into_a_view(branch, skip),
        lambda skip, branch: torch.add(other=branch, input=skip),
    ],
)
def test_every_spelling_of_the_sum_gives_the_same(add):
    images = pictures(2, 10)
    expected = path_contributions(Blocks(torch.add), images)
    parts = path_contributions(Blocks(add), images)
    for ours, theirs in zip(parts[:4], expected[:4], strict=True):
        assert error(ours, theirs) < 1e-12
    assert parts.names == expected.names


def test_a_factor_on_the_branch_is_a_factor_on_each_path_through_it():
    model, images = Blocks(torch.add), pictures(2, 10)
    half = Blocks(lambda skip, branch: torch.add(skip, branch, alpha=0.5))
    halved = Blocks(lambda skip, branch: skip + 0.5 * branch)
    assert (
        error(path_contributions(half, images).blocks, path_contributions(halved, images).blocks)
        < 1e-12
    )
    assert (
        error(path_contributions(half, images).blocks, path_contributions(model, images).blocks)
        > 0.1
    )


def test_branches_can_be_named():
    model, images = Blocks(torch.add), pictures(2, 10)
    expected = path_contributions(model, images, 1)
    parts = path_contributions(model, images, 1, branches=["a2", "b2"])
    assert parts.names == ["a2", "b2"]
    assert error(parts.from_input, expected.from_input) < 1e-12
    only = path_contributions(model, images, 1, branches=["b2"])
    assert error(only.blocks[:, 0], expected.blocks[:, 1]) < 1e-12
    # Not named, the first block is a step of the one path around the second.
    assert error(only.blocks[:, 0], by_length(only)[:, 1]) < 1e-12
    with pytest.raises(ValueError, match=r"^branches: got 'c2'"):
        path_gradients(model, images, branches=["c2"])


def test_targets_may_be_a_function():
    model, images = Blocks(torch.add), pictures(2, 10)
    parts = [path_contributions(model, images, k) for k in (0, 1)]
    both = path_contributions(model, images, lambda logits: logits[:, 0] - 2 * logits[:, 1])
    for k in range(1, 4):
        assert error(both[k], parts[0][k] - 2 * parts[1][k]) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_is_close(dtype):
    exact = path_contributions(Blocks(torch.add), pictures(2, 10), 0)
    parts = path_contributions(Blocks(torch.add).to(dtype), pictures(2, 10).to(dtype), 0)
    assert parts.from_input.dtype == parts.blocks.dtype == dtype
    within = 1e-5 if dtype == torch.float32 else 0.1
    assert error(by_length(parts).double(), by_length(exact)) < within


def test_an_image_does_not_depend_on_the_others():
    model, images = beetle_net(4), pictures(3, 16)
    whole, rows = path_contributions(model, images, 1), path_gradients(model, images, 1)
    for n in range(3):
        alone = path_contributions(model, images[n : n + 1], 1)
        for ours, theirs in zip(alone[:4], whole[:4], strict=True):
            assert error(ours, theirs[n : n + 1]) < 1e-12
        assert error(path_gradients(model, images[n : n + 1], 1), rows[n : n + 1]) < 1e-12


# ---- refusals, and no traces ---------------------------------------------------------------------


@pytest.mark.parametrize("explain", [path_contributions, path_gradients])
@pytest.mark.parametrize(
    "model", [ArticleNet(), BeetleNet(skips=False)], ids=["article_net", "plain"]
)
def test_networks_without_residual_sums_are_refused(explain, model):
    with pytest.raises(ValueError, match=r"^model: got no residual sum .*integrated_gradients"):
        explain(model.double().eval(), pictures(1, 32))


@pytest.mark.parametrize("curved", [F.gelu, torch.tanh, lambda x: x * x.mean((2, 3), keepdim=True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_curve_in_a_branch_is_refused(curved, dtype):
    model, images = Blocks(torch.add, curved).to(dtype), pictures(2, 10).to(dtype)
    with pytest.raises(ValueError, match=r"^model: got parts that miss the logit .*integrated"):
        path_contributions(model, images)
    within = 1e-12 if dtype == torch.float64 else 1e-5  # a derivative is linear in any network
    assert error(path_gradients(model, images).sum(1), gradient(model, images)) < within


@pytest.mark.parametrize("explain", [path_contributions, path_gradients])
def test_wrong_arguments_are_refused(explain):
    model, images = beetle_net(2), pictures(2, 16)
    with pytest.raises(ValueError, match=r"^images: got NaN or infinite values"):
        explain(model, images * torch.nan)
    with pytest.raises(ValueError, match=r"^images: got torch.int64"):
        explain(model, images.long())
    with pytest.raises(ValueError, match=r"^targets: got"):
        explain(model, images, 5)
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        explain(copy.deepcopy(model).train(), images)


@pytest.mark.parametrize("explain", [path_contributions, path_gradients])
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_model_without_derivative_is_refused(explain, where):
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach()

    blocks = Blocks(torch.add)
    model = nn.Sequential(*((Cut(), blocks) if where == "before" else (blocks, Cut()))).eval()
    with pytest.raises(ValueError, match=r"^model: got an output without derivative"):
        explain(model, pictures(1, 10))


def test_the_network_is_not_changed():
    model, images = beetle_net(3), pictures(2, 16)
    before, copied = copy.deepcopy(model.state_dict()), images.clone()
    with torch.no_grad():
        path_contributions(model, images)
        path_gradients(model, images)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(images, copied)
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.overrides._get_current_function_mode_stack() == []


def test_the_cost_is_one_forward_pass_and_one_backward_pass_for_each_length():
    model, images = beetle_net(4), pictures(2, 16)
    assert count_passes(model, lambda: path_contributions(model, images)) == (2, 2 * 5)
    assert count_passes(model, lambda: path_gradients(model, images)) == (2, 2 * 5)
