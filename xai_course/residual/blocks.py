"""Technique 3, first half: a residual network is a stream to which every block adds something.

A residual block computes skip(x) + branch(x), so what the last layers read is the stem's output
plus what each branch added. Here that sum is taken apart (what did each block add to the logit?),
read halfway (what would the network say so far?) and cut (what does it say without a block?).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from xai_course.core.hooks import BiasTracer
from xai_course.core.inputs import upsample_keep_sum, validate_inputs

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


class ResidualTracer(TorchFunctionMode):
    """Find the residual sums of a forward pass, however they are spelt, and act on their branches.

        with ResidualSums(model, images) as sums:
            logits = model(images)
        sums.blocks  # in the order of the forward pass

    Seen are `+`, `out += identity`, torch.add and their kin, of two feature maps (N, K, h, w). The
    term with more layers (convolutions, linear layers) behind it that are not also behind the other
    is the branch; the skip path has none, or one that fits the shape. With equally many, a sum is
    no residual one. One inside the branch of a later one belongs to that branch, and is not listed.

    `branches`: names of modules; then a residual sum is one with the output of one of them as a
    term. `cut`: put copies without history in the place of branches and stems, to differentiate
    by. `remove`: the numbers of the blocks whose branch is to be zero.

    Raises ValueError for unknown names, and if no residual sum is seen, or none of a named branch.
    """

    class Block(NamedTuple):
        """One residual sum. `branch` and `stem` are the copies, if they were cut."""

        name: str
        number: int  # its place in `steps`, the same in every forward pass
        branch: Tensor | None
        stem: Tensor | None  # what the skip path brings, if no other block lies behind it

    in_place = (Tensor.add_, Tensor.__iadd__)
    additions = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, *in_place)

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        *,
        branches: Sequence[str] | None = None,
        cut: bool = False,
        remove: Sequence[int] = (),
    ) -> None:
        """Take the names of the model's layers. Nothing is changed before the `with`."""
        super().__init__()
        self.modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
        self.names = {id(getattr(m, "weight", None)): name for name, m in self.modules.items()}
        self.branches = branches if branches is None else list(branches)
        if unknown := [name for name in self.branches or () if name not in self.modules]:
            raise ValueError(f"branches: got {unknown[0]!r}; allowed are names of modules.")
        self.cut, self.remove = cut, set(remove)
        self.blocks: list[ResidualTracer.Block] = []
        self.steps: list[tuple[str, str]] = []  # what ran: a "layer", a "branch", a "sum"; its name
        self.behind = WeakTensorKeyDictionary()  # tensor: the places of the steps that led to it
        if isinstance(images, Tensor):
            self.behind[images] = frozenset()

    def __enter__(self) -> ResidualTracer:
        """Watch the forward pass, and the modules named."""

        def note(name: str) -> Any:
            return lambda _module, _inputs, output: self.note("branch", name, output)

        named = [(name, self.modules[name]) for name in self.branches or ()]
        self.hooks = [module.register_forward_hook(note(name)) for name, module in named]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """Leave nothing behind; complain if there was nothing to find."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self.hooks:
            hook.remove()
        missed = set(self.branches or ()) - {block.name for block in self.blocks}
        if error[0] is None and missed:
            raise ValueError(f"branches: {missed.pop()!r} gives no term of a sum of feature maps.")
        if error[0] is None and not self.blocks:
            raise ValueError(
                "model: no residual sum was seen in its forward pass; allowed is a network whose "
                "blocks add to a skip path. Name the modules whose outputs are added (branches=), "
                "or use class_activation_map or integrated_gradients, which need no blocks."
            )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, with another branch if it is a residual sum, and note what lies behind it."""
        kwargs = kwargs or {}
        given = [*args, *kwargs.values()]
        flat = [t for g in given for t in (g if isinstance(g, list | tuple) else [g])]
        terms = [t for t in flat if isinstance(t, Tensor) and t in self.behind]
        if not terms:
            return func(*args, **kwargs)
        behind = frozenset(s for t in terms for s in self.behind[t] if self.steps[s][0] != "branch")
        branch, skip = self.branch_and_skip(terms) if func in self.additions else (None, None)
        if branch is None:
            out = func(*args, **kwargs)
        else:
            out = self.add(func, args, kwargs, branch, skip)
        for result in out if isinstance(out, list | tuple) else [out]:
            if isinstance(result, Tensor):
                self.behind[result] = behind
        if func in (F.conv2d, F.linear):
            weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
            self.note("layer", self.names.get(id(weight), "?"), out)
        elif branch is not None:
            self.note("sum", self.blocks[-1].name, out)
        return out

    def note(self, kind: str, name: str, out: Any) -> None:
        """Note a step, and that it lies behind what it gave."""
        self.behind[out] = self.behind[out] | {len(self.steps)}
        self.steps.append((kind, name))

    def branch_and_skip(self, terms: list[Tensor]) -> tuple[Tensor | None, Tensor | None]:
        """Say which term of a sum is the branch and which the skip path; None if it has none."""
        if len(terms) == 2 and terms[0].ndim == 4 and terms[0].shape == terms[1].shape:
            behind = [self.behind[term] for term in terms]
            own = behind[0] - behind[1], behind[1] - behind[0]
            count = [sum(self.steps[step][0] == "layer" for step in steps) for steps in own]
            if self.branches is not None:
                count = [any(self.steps[s][0] == "branch" for s in steps) for steps in behind]
            if count[0] != count[1]:
                return (terms[0], terms[1]) if count[0] > count[1] else (terms[1], terms[0])
        return None, None

    def add(self, func: Any, args: Any, kwargs: Any, branch: Tensor, skip: Any) -> Any:
        """Note a block; add branch and skip path as `func` does, but cut or without the branch."""
        number, own = len(self.steps), self.behind[branch] - self.behind[skip]
        new: dict[int, Tensor] = {}  # what stands in the place of a term, by its id
        if self.cut:
            stem = all(self.steps[step][0] != "sum" for step in self.behind[skip])
            for term in (branch, skip) if stem else (branch,):
                new[id(term)] = term.detach().clone().requires_grad_(torch.is_grad_enabled())
        elif number in self.remove:
            new[id(branch)] = torch.zeros_like(branch)

        layers = [self.steps[s][1].split(".") for s in sorted(own) if self.steps[s][0] == "layer"]
        shared = takewhile(lambda names: len(set(names)) == 1, zip(*layers, strict=False))
        name = ".".join(names[0] for names in shared) or ".".join(layers[-1])
        if self.branches is not None:
            name = self.steps[max(own)][1]
        cuts = (new.get(id(branch)), new.get(id(skip))) if self.cut else (None, None)
        self.blocks = [block for block in self.blocks if block.number not in own]
        self.blocks.append(self.Block(name, number, *cuts))

        if not new:
            return func(*args, **kwargs)
        others = [new.get(id(arg), arg) for arg in args]
        kwargs = {key: new.get(id(value), value) for key, value in kwargs.items()}
        if func not in self.in_place:
            return func(*others, **kwargs)
        total = torch.add(*others, **kwargs)  # in place it would write over what it adds
        return (args[0] if args[0]._is_view() else args[0].detach_()).copy_(total)

    def places(self, blocks: Sequence[int | str]) -> list[int]:
        """Return the places of blocks that are given by place or by name; refuse unknown ones."""
        names = [block.name for block in self.blocks]
        every = range(len(names))
        try:
            return [names.index(b) if isinstance(b, str) else every[b] for b in blocks]
        except (ValueError, IndexError, TypeError):
            allowed = f"places from 0 to {len(names) - 1}, and names: {', '.join(names)}"
            raise ValueError(f"block: got {blocks!r}; allowed are {allowed}.") from None


class Contributions(NamedTuple):
    """A logit taken apart, in logits: logit = stem + blocks.sum(1) + biases.

    `logit`, `stem`, `biases` (N,); `blocks` (N, B), with `names` and `maps`: where in the image
    each contribution lies, one (N, 1, h, w) a block, at the block's resolution.
    """

    logit: Tensor
    stem: Tensor
    blocks: Tensor
    biases: Tensor
    names: list[str]
    maps: list[Tensor]


@torch.inference_mode(False)
@torch.enable_grad()
def block_contributions(
    model: nn.Module, images: Tensor, targets: Any = None, *, branches: Sequence[str] | None = None
) -> Contributions:
    """Take the chosen logit apart into what the stem and each residual block added to it.

    `images` (N, C, H, W) to `Contributions`, in logits. `targets`: class indices (N,), one index,
    or None for the predicted class. `branches`: names of the modules whose outputs are the
    branches, if they are not found (see `ResidualTracer`).

        logit = ⟨∂ logit / ∂ stem, stem⟩ + Σ over blocks of ⟨∂ logit / ∂ branch, branch⟩ + biases

    Every branch is cut from its inputs, so a derivative runs along the skip paths only: this is
    what a block says to the logit directly, not what it tells later blocks. The gates of ReLUs and
    max-pools on the way are held. The stem is what comes before the first residual sum; the biases
    are the constants met after it (of projections, of the last layer). Blocks without a skip, as
    between the stages of inverted residual networks, are no blocks here but part of the way. One
    forward pass, and a backward pass along the skip paths.

    Raises ValueError for wrong arguments, without residual sums, and if the parts do not add up.

    Elhage et al.: A Mathematical Framework for Transformer Circuits. 2021 (the residual stream and
    direct contributions to the logits, for language models).
    """
    sums = ResidualTracer(model, images, branches=branches, cut=True)
    with sums, BiasTracer(model) as constants:
        _, chosen, _ = validate_inputs(model, images, targets)
    cuts: Any = [block.branch for block in sums.blocks]
    cuts += [block.stem for block in sums.blocks if block.stem is not None]
    ends = [*cuts, *(constant.edge for constant in constants.found)]
    if not chosen.requires_grad:
        raise ValueError("model: its output has no derivative; allowed is one without no_grad.")
    slopes = torch.autograd.grad(chosen.sum(), ends, allow_unused=True)
    maps, logit = [], chosen.detach()
    for slope, cut in zip(slopes, cuts, strict=False):
        product = torch.zeros_like(cut) if slope is None else slope * cut
        maps.append(product.detach().sum(1, keepdim=True))
    biases = torch.zeros_like(logit)
    for slope, constant in zip(slopes[len(cuts) :], constants.found, strict=True):
        if slope is not None:  # None: it lies behind a cut
            biases += (slope * constant.value).flatten(1).sum(1)
    sizes = torch.stack([part.sum((1, 2, 3)) for part in maps], 1)
    names = [block.name for block in sums.blocks]
    blocks, stem = sizes[:, : len(names)], sizes[:, len(names) :].sum(1)

    error = (stem + blocks.sum(1) + biases - logit).abs()
    error /= (sizes.abs().sum(1) + biases.abs()).clamp_min(1e-30)
    if not error.max() <= {torch.float64: 1e-10, torch.float32: 1e-4}.get(logit.dtype, 0.1):
        raise ValueError(
            f"model: the parts miss the logit by {error.max():.0e} of their size; allowed is a "
            "network that is piecewise linear along its skip paths, and has no way around all its "
            "residual sums. Use integrated_gradients, which needs neither."
        )
    return Contributions(logit, stem, blocks, biases, names, maps[: len(names)])


@torch.inference_mode(False)
@torch.enable_grad()
def block_map(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    block: int | str = -1,
    branches: Sequence[str] | None = None,
) -> Tensor:
    """Return where in the image one residual block added how much to the chosen logit.

    `images` (N, C, H, W) to relevance (N, 1, H, W), in logits: the block's contribution (see
    `block_contributions`) at the block's resolution (h, w), enlarged so that its sum stays.
    `targets`: class indices (N,), one index, or None for the predicted class.
    `block`: its name or its place in the order of the forward pass; the last one by default.
    `branches`: names of the modules whose outputs are the branches, if they are not found.

        relevance[i, j] = Σ_k branch[k, i, j] · ∂ logit / ∂ branch[k, i, j]    along the skip paths
        Σ relevance     = the block's contribution

    One forward pass, and two backward passes along the skip paths, one to see whether they bend.
    Raises ValueError for wrong arguments, without residual sums, and if the skip paths bend.
    """
    with ResidualTracer(model, images, branches=branches, cut=True) as sums:
        x, chosen, _ = validate_inputs(model, images, targets)
    part: Any = sums.blocks[sums.places([block])[0]].branch
    if not chosen.requires_grad:
        raise ValueError("model: its output has no derivative; allowed is one without no_grad.")
    (slope,) = torch.autograd.grad(chosen.sum(), part, create_graph=True, materialize_grads=True)
    relevance = upsample_keep_sum(
        (slope * part).detach().sum(1, keepdim=True), (x.shape[2], x.shape[3])
    )
    if slope.requires_grad:  # does it depend on what runs along the skip paths?
        share = (slope * part.detach()).sum()
        cuts = [term for b in sums.blocks for term in (b.branch, b.stem) if term is not None]
        bends = torch.autograd.grad(share, cuts, allow_unused=True, materialize_grads=True)
        if max(bend.abs().max() for bend in bends) > 1e-6 * slope.abs().max():
            raise ValueError(
                "model: not piecewise linear along its skip paths, so a block has no share of the "
                "logit; allowed are ReLUs and max-pools. Use integrated_gradients instead."
            )
    return relevance


@torch.inference_mode(False)
@torch.no_grad()
def logit_lens(
    model: nn.Module,
    images: Tensor,
    *,
    branches: Sequence[str] | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Tensor:
    """Return what the network would say after each block, if all later branches were silent.

    `images` (N, C, H, W) to logits (N, B + 1, classes): row 0 after the stem, row b after b blocks,
    the last row the network's own logits. `branches`: names of the modules whose outputs are the
    branches, if they are not found. `batch_size`: images in one pass. `progress`: show a bar.

        lens[:, b] = logits with the branches of the blocks b + 1 … B replaced by zero

    The rest stays, and was trained on the whole stream: an early row shows what it makes of half of
    it. B + 1 forward passes. Raises ValueError for wrong arguments and without residual sums.

    nostalgebraist: interpreting GPT: the logit lens. LessWrong, 2020 (for language models).
    """
    with ResidualTracer(model, images, branches=branches) as sums:
        validate_inputs(model, images[:1], batch_size=batch_size)
    numbers = [block.number for block in sums.blocks]
    rows: Any = range(len(numbers) + 1)
    if progress:
        from tqdm.auto import tqdm

        rows = tqdm(rows, "logit lens")
    lens = [forward_without(model, images, numbers[row:], branches, batch_size) for row in rows]
    return torch.stack(lens, 1)


def decision_block(lens: Tensor) -> Tensor:
    """Return after which block the final class stays ahead: (N,), 0 for the stem.

    `lens` (N, B + 1, classes), as `logit_lens` gives it. Raises ValueError for another shape.
    """
    if lens.ndim != 3 or 0 in lens.shape:
        raise ValueError(f"lens: got shape {tuple(lens.shape)}; allowed is (N, B + 1, classes).")
    says = lens.argmax(2)
    same = (says == says[:, -1:]).flip(1)  # from the last block backwards
    return lens.shape[1] - same.long().cumprod(1).sum(1)


@torch.inference_mode(False)
@torch.no_grad()
def ablate_blocks(
    model: nn.Module,
    images: Tensor,
    blocks: int | str | Sequence[int | str],
    *,
    branches: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Return the logits (N, classes) of a residual network without some of its blocks.

    `images` (N, C, H, W). `blocks`: names or places in the order of the forward pass. Their
    branches are replaced by zero; the skip paths stay, and everything else runs as it is.
    `branches`: names of the modules whose outputs are the branches, if they are not found.
    `batch_size`: images in one pass. One forward pass, and one of the first image.
    Raises ValueError for wrong arguments, unknown blocks and a network without residual sums.

    Veit, Wilber, Belongie: Residual Networks Behave Like Ensembles of Relatively Shallow Networks.
    NeurIPS 2016, arXiv:1605.06431.
    """
    with ResidualTracer(model, images, branches=branches) as sums:
        validate_inputs(model, images[:1], batch_size=batch_size)
    several = [blocks] if isinstance(blocks, int | str) else list(blocks)
    numbers = [sums.blocks[place].number for place in sums.places(several)]
    return forward_without(model, images, numbers, branches, batch_size)


def forward_without(
    model: nn.Module,
    images: Tensor,
    numbers: Sequence[int],
    branches: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Return the logits (N, classes) with the branches of the numbered residual sums at zero."""
    outputs = []
    for part in torch.split(images, batch_size or len(images)):
        with ResidualTracer(model, part, branches=branches, remove=numbers):
            outputs.append(model(part.clone()))
    logits = torch.cat(outputs)
    if not logits.isfinite().all():
        raise ValueError("images: lead to NaN or infinite logits; allowed are finite numbers.")
    return logits
