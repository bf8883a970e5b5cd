"""Technique 3, first half: a residual network is a stream to which every block adds something.

A residual block computes skip(x) + branch(x), so what the last layers read is the stem's output
plus what each branch added. Here that sum is split (what did each block add to the logit?), read
halfway (what would the network predict so far?) and cut (what does it predict without a block?).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import takewhile
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from xai_course.core.added_constants import BiasTracer
from xai_course.core.graph import derivatives
from xai_course.core.hooks import in_this_thread, intercept
from xai_course.core.inputs import (
    check_added_rows,
    check_images,
    check_one_each,
    upsample_keep_sum,
    validate_inputs,
)
from xai_course.core.outputs import single_output
from xai_course.core.progress import progress_bar
from xai_course.core.switches import own_switches
from xai_course.core.tensors import check_plain

__all__ = [
    "Contributions",
    "ResidualTracer",
    "ablate_blocks",
    "block_contributions",
    "block_map",
    "decision_block",
    "forward_without",
    "logit_lens",
]


# ---- find the residual sums ----------------------------------------------------------------------

IN_PLACE = (Tensor.add_, Tensor.__iadd__)
ADDITIONS = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, *IN_PLACE)


class Block(NamedTuple):
    """One residual sum, skip path + branch.

    Attributes:
        name: of its branch.
        number: how many residual sums ran before it, the same in every forward pass.
        branch: the branch's output as it was cut from the graph; None if it was not cut.
        stem: what the skip path brings, likewise, if no other residual sum lies behind it.
    """

    name: str
    number: int
    branch: Tensor | None
    stem: Tensor | None


class History(NamedTuple):
    """What lies between the images and a tensor: numbers of layers, and of residual sums."""

    layers: frozenset[int] = frozenset()
    sums: frozenset[int] = frozenset()


class ResidualTracer:
    """Find the residual sums of a forward pass, however they are spelt, and act on their branches.

        with ResidualTracer(model, images) as tracer:
            logits = model(images)
        tracer.blocks  # in the order of the forward pass

    Seen are `+`, `out += identity`, torch.add and the like, of two feature maps (N, K, h, w). For
    each tensor that is made from the images, the tracer notes which layers (convolutions, linear
    layers) it has gone through. The term of a sum that has gone through more layers of its own,
    which the other term has not gone through, is the branch; the other is the skip path, which has
    none, or one that fits the shape. With equally many, the sum is not a residual one. A sum inside
    the branch of a later sum belongs to that branch, and is not listed.

    Args:
        model: the network; it is not changed.
        images: (N, C, H, W), what the model is run on, or what that is made from.
        branches: names of modules; then a residual sum is one with the output of one of them as a
            term.
        cut: put copies without history in the place of branches and stems, to differentiate by.
        remove: numbers of the blocks whose branch is replaced by zeros.

    Raises:
        ValueError: for unknown names, and at the end of the `with` if no residual sum was seen, or
            none of a named branch.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        *,
        branches: Sequence[str] | None = None,
        cut: bool = False,
        remove: Sequence[int] = (),
    ) -> None:
        """Take the names of the model's layers. Nothing is watched before the `with`."""
        self.modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
        self.branches = None if branches is None else list(branches)
        for name in self.branches or ():
            if name not in self.modules:
                raise ValueError(f"branches: got {name!r}; must be names of modules of the model.")
        self.cut, self.remove = cut, frozenset(remove)
        self.blocks: list[Block] = []

        # A layer is known by its weight, since a function such as F.conv2d does not see its module.
        weights = {name: getattr(module, "weight", None) for name, module in self.modules.items()}
        self._layer_of = {id(weight): name for name, weight in weights.items()}
        self._layers: list[str] = []  # names, in the order in which the layers ran
        self._sums = 0  # how many residual sums ran
        # Tensors as keys: an entry lasts as long as its tensor.
        self._history = WeakTensorKeyDictionary()  # tensor made from the images: its History
        self._output_of = WeakTensorKeyDictionary()  # output of a named branch: the branch's name
        if isinstance(images, Tensor):
            self._history[images] = History()

    def __enter__(self) -> ResidualTracer:
        """Watch the forward pass, and the named modules."""
        with ExitStack() as stack:
            for name in self.branches or ():
                hook = self._note_output(name)
                stack.enter_context(self.modules[name].register_forward_hook(in_this_thread(hook)))
            stack.enter_context(intercept(self._run))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        """Leave nothing behind; raise if there was nothing to find."""
        self._exit.close()
        if error[0] is not None:
            return
        missing = set(self.branches or ()) - {block.name for block in self.blocks}
        if missing:
            raise ValueError(
                f"branches: got {missing.pop()!r}, which gives no term of a sum of feature maps; "
                "must be modules whose output is added to a skip path."
            )
        if not self.blocks:
            raise ValueError(
                "model: got no residual sum in its forward pass; must be a network whose blocks "
                "add to a skip path. Name the modules whose outputs are added (branches=), or use "
                "class_activation_map or integrated_gradients, which need no blocks."
            )

    def _note_output(self, name: str) -> Callable[..., None]:
        """Return a hook that notes the output of a named branch."""

        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                self._output_of[output] = name

        return note

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a PyTorch function, a residual sum in its own way, and note what its output is."""
        made = self._made_from_images([*args, *kwargs.values()])
        if not made:
            return func(*args, **kwargs)
        histories = [self._history[tensor] for tensor in made]
        layers = frozenset[int]().union(*(history.layers for history in histories))
        sums = frozenset[int]().union(*(history.sums for history in histories))
        branch_and_skip = self._branch_and_skip(made) if func in ADDITIONS else None
        if branch_and_skip is not None:
            sums |= {self._sums}
            out = self._residual_sum(func, args, kwargs, *branch_and_skip)
            self._sums += 1
        else:
            out = func(*args, **kwargs)
        if func in (F.conv2d, F.linear):
            weight = kwargs["weight"] if "weight" in kwargs else args[1]
            layers |= {len(self._layers)}
            self._layers.append(self._layer_of.get(id(weight), "?"))
        for tensor in out if isinstance(out, list | tuple) else [out]:
            if isinstance(tensor, Tensor):
                self._history[tensor] = History(layers, sums)
                if tensor in self._output_of:  # changed in place: no longer the branch's output
                    del self._output_of[tensor]
        return out

    def _made_from_images(self, arguments: list[Any]) -> list[Tensor]:
        """Return those tensors among arguments, also in lists, that are made from the images."""
        flat: list[Any] = []
        for argument in arguments:
            flat += argument if isinstance(argument, list | tuple) else [argument]
        return [each for each in flat if isinstance(each, Tensor) and each in self._history]

    def _branch_and_skip(self, terms: list[Tensor]) -> tuple[Tensor, Tensor] | None:
        """Return the branch and the skip path of a sum; None if it is not a residual sum."""
        if len(terms) != 2 or terms[0].ndim != 4 or terms[0].shape != terms[1].shape:
            return None
        first, second = terms
        if self.branches is not None:
            depths = [int(term in self._output_of) for term in terms]
        else:
            depths = [len(self._own_layers(first, second)), len(self._own_layers(second, first))]
        if depths[0] == depths[1]:
            return None
        return (first, second) if depths[0] > depths[1] else (second, first)

    def _own_layers(self, term: Tensor, other: Tensor) -> list[int]:
        """Return the numbers of the layers that one term has gone through and the other has not."""
        return sorted(self._history[term].layers - self._history[other].layers)

    def _residual_sum(self, func: Any, args: Any, kwargs: Any, branch: Tensor, skip: Any) -> Any:
        """Note a block, and add as `func` does, with terms that are cut or without the branch."""
        new_branch = new_skip = None
        if self.cut:
            new_branch = _without_history(branch)
            if not self._history[skip].sums:  # the first block of its stream: this is the stem
                new_skip = _without_history(skip)
        inside = self._history[branch].sums - self._history[skip].sums
        self.blocks = [block for block in self.blocks if block.number not in inside]
        name = self._output_of[branch] if self.branches is not None else self._name(branch, skip)
        self.blocks.append(Block(name, self._sums, new_branch, new_skip))

        if self._sums in self.remove:
            new_branch = torch.zeros_like(branch)
        new_terms = {
            id(old): new for old, new in ((branch, new_branch), (skip, new_skip)) if new is not None
        }
        return _add(func, args, kwargs, new_terms)

    def _name(self, branch: Tensor, skip: Tensor) -> str:
        """Return what the names of the branch's layers begin with, or the last layer's name."""
        layers = [self._layers[number].split(".") for number in self._own_layers(branch, skip)]
        shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*layers, strict=False))
        return ".".join(parts[0] for parts in shared) or ".".join(layers[-1])

    def index(self, block: int | str) -> int:
        """Return the index of a block, given by its name or by an index that may be negative."""
        names = [each.name for each in self.blocks]
        try:
            return names.index(block) if isinstance(block, str) else range(len(names))[block]
        except (ValueError, IndexError, TypeError):
            raise ValueError(
                f"block: got {block!r}; must be an index from 0 to {len(names) - 1}, or one of the "
                f"names {', '.join(names)}."
            ) from None


def _without_history(tensor: Tensor) -> Tensor:
    """Return a copy that is cut from the graph, to differentiate by."""
    return tensor.detach().clone().requires_grad_(torch.is_grad_enabled())


def _add(func: Any, args: Any, kwargs: Any, new_terms: dict[int, Tensor]) -> Any:
    """Add as `func` does, with other tensors in the place of terms: `new_terms`, by id."""
    if not new_terms:
        return func(*args, **kwargs)
    new_args = [new_terms.get(id(arg), arg) for arg in args]
    new_kwargs = {key: new_terms.get(id(value), value) for key, value in kwargs.items()}
    if func not in IN_PLACE:
        return func(*new_args, **new_kwargs)
    # In place the sum would overwrite the new term. The old one is to hold the sum instead, since
    # the model may go on with it; detached, so that no derivative runs into its branch for nothing
    # (a view cannot be detached).
    total = torch.add(*new_args, **new_kwargs)
    target = args[0] if args[0]._is_view() else args[0].detach_()
    return target.copy_(total)


# ---- what each block adds to the logit -----------------------------------------------------------


class Contributions(NamedTuple):
    """A logit as a sum, in logits: logit = stem + blocks.sum(1) + biases.

    Attributes:
        logit: the chosen logit (N,).
        stem: the contribution of what comes before the first residual sum (N,).
        blocks: the contributions of the B blocks (N, B).
        biases: the contribution of constants after the first residual sum (N,).
        names: of the blocks.
        maps: where in the image each block's contribution lies: (N, 1, h, w) each, at the block's
            resolution.
    """

    logit: Tensor
    stem: Tensor
    blocks: Tensor
    biases: Tensor
    names: list[str]
    maps: list[Tensor]


@own_switches(grad=True)
def block_contributions(
    model: nn.Module, images: Tensor, targets: Any = None, *, branches: Sequence[str] | None = None
) -> Contributions:
    """Split the chosen logit into what the stem and each residual block added to it.

        logit = ⟨∂ logit / ∂ stem, stem⟩ + Σ over blocks of ⟨∂ logit / ∂ branch, branch⟩ + biases

    Every branch is cut from its inputs, so a derivative runs along the skip paths only: it is what
    a block adds to the logit directly, not what it passes to later blocks. Which ReLUs are open,
    and which positions max-pools choose, is held fixed. The stem is what comes before the first
    residual sum; the biases are the constants added after it (of projections, of the last layer).
    Blocks without a skip path, as between the stages of inverted residual networks, are not blocks
    here but steps along the skip path. The sum is checked.

    Args:
        model: a residual classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        branches: names of the modules whose outputs are the branches, if they are not found by
            themselves (see `ResidualTracer`).

    Returns:
        `Contributions`, in logits.

    Raises:
        ValueError: if an argument is not as described, if there is no residual sum, or if the parts
            do not sum to the logit.

    Cost:
        One forward pass, and a backward pass along the skip paths.

    References:
        Elhage and others: A Mathematical Framework for Transformer Circuits. 2021 (the residual
        stream and direct contributions to the logits, for language models).

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.residual import block_contributions
        >>> _ = torch.manual_seed(0)
        >>> model, images = BeetleNet().eval(), torch.rand(2, 3, 32, 32)
        >>> parts = block_contributions(model, images, targets=4)
        >>> parts.names
        ['blocks.0.branch', 'blocks.1.branch', 'blocks.2.branch']
        >>> total = parts.stem + parts.blocks.sum(1) + parts.biases
        >>> torch.allclose(total, model(images)[:, 4], atol=1e-5)
        True
    """
    tracer = ResidualTracer(model, images, branches=branches, cut=True)
    model, targets = single_output(model, targets)
    with tracer, BiasTracer(model) as added:
        _, chosen, _ = validate_inputs(model, images, targets)
    _check_differentiable(chosen)
    terms: list[Any] = [block.branch for block in tracer.blocks]
    terms += [block.stem for block in tracer.blocks if block.stem is not None]
    for term in terms:
        check_one_each(term, len(chosen))
    edges = [constant.edge for constant in added.constants]
    grads = derivatives(chosen.sum(), [*terms, *edges], allow_unused=True)

    maps = []
    for term, grad in zip(terms, grads, strict=False):
        product = torch.zeros_like(term) if grad is None else grad * term
        maps.append(product.detach().sum(1, keepdim=True))  # (N, 1, h, w)
    logit = chosen.detach()
    biases = torch.zeros_like(logit)
    for constant, grad in zip(added.constants, grads[len(terms) :], strict=True):
        if grad is not None:  # None: it lies behind a cut
            check_added_rows(grad, len(logit))
            biases += (grad * constant.value).flatten(1).sum(1)
    sizes = torch.stack([part.sum((1, 2, 3)) for part in maps], 1)
    count = len(tracer.blocks)
    blocks, stem = sizes[:, :count], sizes[:, count:].sum(1)
    names = [block.name for block in tracer.blocks]
    parts = Contributions(logit, stem, blocks, biases, names, maps[:count])
    _check_parts(parts, sizes)
    return parts


def _check_differentiable(chosen: Tensor) -> None:
    if not chosen.requires_grad:
        raise ValueError(
            "model: got an output without derivative by its blocks; must be differentiable, "
            "without no_grad or detach."
        )


def _check_parts(parts: Contributions, sizes: Tensor) -> None:
    """Raise ValueError unless the parts, of which `sizes` (N, parts) are sums, give the logit."""
    error = (parts.stem + parts.blocks.sum(1) + parts.biases - parts.logit).abs()
    error /= (sizes.abs().sum(1) + parts.biases.abs()).clamp_min(1e-30)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4}.get(error.dtype, 0.1)
    if not error.max() <= tolerance:  # also NaN is refused
        raise ValueError(
            f"model: got parts that miss the logit by {error.max():.0e} of their size; must be "
            "piecewise linear along its skip paths, and have no way around all its residual sums. "
            "Use integrated_gradients, which needs neither."
        )


@own_switches(grad=True)
def block_map(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    block: int | str = -1,
    branches: Sequence[str] | None = None,
) -> Tensor:
    """Return where in the image one residual block added how much to the chosen logit.

        relevance[i, j] = Σ_k branch[k, i, j] · ∂ logit / ∂ branch[k, i, j]    along the skip paths
        Σ relevance     = the block's contribution

    This is the block's contribution (see `block_contributions`) at its own resolution (h, w),
    enlarged so that its sum stays.

    Args:
        model: a residual classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        block: its name, or its index in the order of the forward pass; the last one by default.
        branches: names of the modules whose outputs are the branches, if they are not found by
            themselves (see `ResidualTracer`).

    Returns:
        Relevance (N, 1, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, if there is no residual sum, or if the skip
            paths are not piecewise linear.

    Cost:
        One forward pass, and two backward passes along the skip paths, one of them to check that
        the paths are piecewise linear.

    References:
        As `block_contributions`.

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.residual import block_contributions, block_map
        >>> _ = torch.manual_seed(0)
        >>> model, images = BeetleNet().eval(), torch.rand(2, 3, 32, 32)
        >>> relevance = block_map(model, images, targets=4, block=1)
        >>> expected = block_contributions(model, images, targets=4).blocks[:, 1]
        >>> torch.allclose(relevance.sum((1, 2, 3)), expected, atol=1e-5)
        True
    """
    model, targets = single_output(model, targets)
    with ResidualTracer(model, images, branches=branches, cut=True) as tracer:
        x, chosen, _ = validate_inputs(model, images, targets)
    branch: Any = tracer.blocks[tracer.index(block)].branch
    check_one_each(branch, len(chosen))
    _check_differentiable(chosen)
    (grad,) = derivatives(chosen.sum(), branch, create_graph=True, materialize_grads=True)
    _check_piecewise_linear(tracer, branch, grad)
    relevance = (grad * branch).detach().sum(1, keepdim=True)  # (N, 1, h, w)
    return upsample_keep_sum(relevance, (x.shape[2], x.shape[3]))


def _check_piecewise_linear(tracer: ResidualTracer, branch: Tensor, grad: Tensor) -> None:
    """Raise ValueError if a gradient along the skip paths depends on what runs along them."""
    if not grad.requires_grad:
        return
    cut = [term for block in tracer.blocks for term in (block.branch, block.stem)]
    terms = [term for term in cut if term is not None]
    contribution = (grad * branch.detach()).sum()
    curvatures = derivatives(contribution, terms, allow_unused=True, materialize_grads=True)
    if max(each.abs().max() for each in curvatures) > 1e-6 * grad.abs().max():
        raise ValueError(
            "model: got skip paths that are not piecewise linear, so a block has no share of the "
            "logit; must have ReLUs and max-pools only. Use integrated_gradients instead."
        )


# ---- the network without some of its blocks ------------------------------------------------------


@own_switches(grad=False)
def logit_lens(
    model: nn.Module,
    images: Tensor,
    *,
    branches: Sequence[str] | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Tensor:
    """Return what the network would predict after each block, if all later branches were zero.

        lens[:, b] = logits with the branches of the blocks b + 1 … B replaced by zeros

    The rest of the network stays as it is, and was trained on the whole stream: an early row shows
    what it makes of a part of it.

    Args:
        model: a residual classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        branches: names of the modules whose outputs are the branches, if they are not found by
            themselves (see `ResidualTracer`).
        batch_size: images in one forward pass; None for all at once.
        progress: show a bar of progress.

    Returns:
        Logits (N, B + 1, classes): row 0 after the stem, row b after b blocks; the last row holds
        the network's own logits.

    Raises:
        ValueError: if an argument is not as described, or if there is no residual sum.

    Cost:
        B + 1 forward passes, and one of the first image.

    References:
        nostalgebraist: interpreting GPT: the logit lens. LessWrong, 2020 (for language models).

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.residual import logit_lens
        >>> _ = torch.manual_seed(0)
        >>> model, images = BeetleNet().eval(), torch.rand(2, 3, 32, 32)
        >>> lens = logit_lens(model, images)
        >>> lens.shape
        torch.Size([2, 4, 10])
        >>> torch.allclose(lens[:, -1], model(images))
        True
    """
    check_images(images)
    with ResidualTracer(model, images, branches=branches) as tracer:
        validate_inputs(model, images[:1], batch_size=batch_size)
    numbers = [block.number for block in tracer.blocks]
    rows = progress_bar(range(len(numbers) + 1), "logit lens", progress)
    lens = [forward_without(model, images, numbers[row:], branches, batch_size) for row in rows]
    return torch.stack(lens, 1)


def decision_block(lens: Tensor) -> Tensor:
    """Return after which block the finally predicted class stays the predicted one.

    Args:
        lens: logits (N, B + 1, classes), as `logit_lens` returns them.

    Returns:
        Numbers of blocks (N,), from 0 (already after the stem) to B.

    Raises:
        ValueError: for another shape.

    Example:
        Class 1 leads after the stem, then class 0, and class 1 from block 2 on.

        >>> import torch
        >>> from xai_course.residual import decision_block
        >>> lens = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [0.0, 3.0]]])
        >>> decision_block(lens)
        tensor([2])
    """
    check_plain("lens", lens)
    if lens.ndim != 3 or 0 in lens.shape:
        raise ValueError(f"lens: got shape {tuple(lens.shape)}; must be (N, B + 1, classes).")
    predicted = lens.argmax(2)
    is_final = predicted == predicted[:, -1:]
    stays = is_final.flip(1).long().cumprod(1)  # 1 until the first other class, from the end
    return lens.shape[1] - stays.sum(1)


@own_switches(grad=False)
def ablate_blocks(
    model: nn.Module,
    images: Tensor,
    blocks: int | str | Sequence[int | str],
    *,
    branches: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Return the logits of a residual network without some of its blocks.

    The branches of these blocks are replaced by zeros; their skip paths stay, and everything else
    runs as it is.

    Args:
        model: a residual classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        blocks: names, or indices in the order of the forward pass.
        branches: names of the modules whose outputs are the branches, if they are not found by
            themselves (see `ResidualTracer`).
        batch_size: images in one forward pass; None for all at once.

    Returns:
        Logits (N, classes).

    Raises:
        ValueError: if an argument is not as described, for unknown blocks, or if there is no
            residual sum.

    Cost:
        One forward pass, and one of the first image.

    References:
        Veit, Wilber, Belongie: Residual Networks Behave Like Ensembles of Relatively Shallow
        Networks. NeurIPS 2016, arXiv:1605.06431.

    Example:
        Without its branch, a block hands on the skip path alone.

        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.residual import ablate_blocks, logit_lens
        >>> _ = torch.manual_seed(0)
        >>> model, images = BeetleNet().eval(), torch.rand(2, 3, 32, 32)
        >>> without = ablate_blocks(model, images, blocks=[1, 2])
        >>> torch.allclose(without, logit_lens(model, images)[:, 1])
        True
    """
    check_images(images)
    with ResidualTracer(model, images, branches=branches) as tracer:
        validate_inputs(model, images[:1], batch_size=batch_size)
    several = [blocks] if isinstance(blocks, int | str) else list(blocks)
    numbers = [tracer.blocks[tracer.index(block)].number for block in several]
    return forward_without(model, images, numbers, branches, batch_size)


def forward_without(
    model: nn.Module,
    images: Tensor,
    numbers: Sequence[int],
    branches: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Return the logits (N, classes) with the branches of the numbered residual sums at zero.

    Args:
        model: a residual classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        numbers: of the residual sums, as in `ResidualTracer.blocks`.
        branches: names of the modules whose outputs are the branches, if they were named.
        batch_size: images in one forward pass; None for all at once.

    Returns:
        Logits (N, classes).

    Raises:
        ValueError: if the logits are not finite.

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.residual import forward_without
        >>> model, images = BeetleNet().eval(), torch.rand(2, 3, 32, 32)
        >>> torch.equal(forward_without(model, images, numbers=[]), model(images))
        True
    """
    outputs = []
    for part in torch.split(images, int(batch_size or len(images))):
        with ResidualTracer(model, part, branches=branches, remove=numbers):
            outputs.append(model(part.clone()))
    logits = torch.cat(outputs)
    if not logits.isfinite().all():
        raise ValueError("images: got NaN or infinite logits; must be finite numbers.")
    return logits
