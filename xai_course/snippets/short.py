"""Each method alone: what `snippet(f, checks=False)` gives, written to be read on one page.

The results are those of the course's own functions, for a model in evaluation mode and arguments
that are right. Left out are checks, progress bars and rare spellings: a ReLU is `relu` or ReLU6, an
added constant is a bias, a baseline is "mean", a number or images. Nothing here is imported by the
rest of the package; tests hold every form against the full one.
"""

import copy
from functools import partial
from math import comb
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

# ---- shared --------------------------------------------------------------------------------------


def validate_inputs(model, images, targets=None, batch_size=None):
    """Return the images to differentiate by, the logit to explain of each, and its class."""
    x = images.detach().clone().requires_grad_(torch.is_grad_enabled())
    logits = torch.cat([model(part.clone()) for part in x.split(batch_size or len(x))])
    classes = torch.as_tensor(logits.argmax(1) if targets is None else targets, device=x.device)
    classes = classes.long().expand(len(x))
    return x, logits.gather(1, classes[:, None])[:, 0], classes


def validate_all_logits(model, images, targets=None, batch_size=None, probabilities=False):
    """Return a copy of the images, their logits (N, classes), and their classes."""
    x = images.detach().clone().requires_grad_(torch.is_grad_enabled())
    logits = torch.cat([model(part.clone()) for part in x.split(batch_size or len(x))])
    classes = torch.as_tensor(logits.argmax(1) if targets is None else targets, device=x.device)
    return x, logits, classes.long().expand(len(x))


def single_output(model, targets):
    """Return both as they are: here, targets are classes."""
    return model, targets


def baseline_of(images, baseline):
    """Return the baseline of each image, (N, C, H, W)."""
    value = images.mean((2, 3), keepdim=True) if baseline == "mean" else baseline
    return value + torch.zeros_like(images)


def own_switches(grad=True):
    """Turn gradients on or off in a function."""
    return torch.set_grad_enabled(grad is not False)


def upsample_keep_sum(maps, size):
    """Enlarge maps (N, K, h, w) to (N, K, H, W) by bilinear interpolation; each keeps its sum."""
    eyes = [torch.eye(n).to(maps)[None] for n in maps.shape[2:]]
    rows, columns = (F.interpolate(e, n, mode="linear")[0] for e, n in zip(eyes, size, strict=True))
    return (rows / rows.sum(1, keepdim=True)).T @ maps @ (columns / columns.sum(1, keepdim=True))


class LastMap(TorchFunctionMode):
    """Keep the last map (N, K, h, w) of the height and width of the last convolution's output."""

    size = map = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is F.conv2d and out.shape[2:].numel() > 1:
            self.size = out.shape[2:]
        if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2:] == self.size:
            self.map = out
        return out


# ---- ReLU ----------------------------------------------------------------------------------------


def gradient(model, images, targets=None):
    """Return ∂ logit / ∂ image, (N, C, H, W)."""
    with torch.enable_grad():
        x, chosen, _ = validate_inputs(model, images, targets)
        return torch.autograd.grad(chosen.sum(), x)[0]  # a logit depends on its own image alone


def gradient_times_input(model, images, targets=None):
    """Return image · ∂ logit / ∂ image, (N, C, H, W)."""
    return images * gradient(model, images, targets)


class ReLURule(TorchFunctionMode):
    """Give every ReLU that runs inside another backward pass: rule(is_open, grad)."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func.__name__.strip("_") not in ("relu", "relu6", "hardtanh"):  # the last: nn.ReLU6
            return func(*args, **(kwargs or {}))
        x, value = args[0].clone(), func(args[0].clone(), *args[1:], **(kwargs or {}))
        is_open = (value > 0) & (value == x)
        x.register_hook(lambda grad: self.rule(is_open, grad))
        return x + (value - x).detach()  # the value of the ReLU, the gradient of the rule


def deconvnet(model, images, targets=None):
    """Return the gradient with DeconvNet's rule: only positive gradients go back through a ReLU."""
    with ReLURule(lambda is_open, grad: grad.clamp(min=0)):
        return gradient(model, images, targets)


def guided_backprop(model, images, targets=None):
    """Return guided backpropagation: only positive gradients go back, through open ReLUs only."""
    with ReLURule(lambda is_open, grad: grad.clamp(min=0) * is_open):
        return gradient(model, images, targets)


def smooth_grad(model, images, targets=None, noise=0.15, samples=16, seed=0, batch_size=16):
    """Return the mean gradient over noisy copies; the noise is a share of each image's range."""
    x, _, classes = validate_inputs(model, images, targets, batch_size)
    x = x.detach()
    spread = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    generator = torch.Generator().manual_seed(seed)
    size = (samples, *x.shape[1:])
    epsilon = torch.randn(size, generator=generator, dtype=torch.double).to(x)
    pairs = torch.cartesian_prod(torch.arange(samples), torch.arange(len(x))).to(x.device)
    total = torch.zeros_like(x)
    for s, n in (batch.T for batch in pairs.split(batch_size)):
        total.index_add_(0, n, gradient(model, x[n] + spread[n] * epsilon[s], classes[n]))
    return total / samples


def watch_layer(model, layer):
    """Return a context whose `map` is that of a layer, or of the last convolution for None."""
    seen = LastMap()
    if layer is not None:
        module = model.get_submodule(layer) if isinstance(layer, str) else layer
        seen = module.register_forward_hook(lambda module, inputs, out: setattr(seen, "map", out))
    return seen


def maps_and_gradient(model, images, targets, layer):
    """Return a layer's maps A, (N, K, h, w), and ∂ logit / ∂ A."""
    with torch.enable_grad(), watch_layer(model, layer) as seen:
        _, chosen, _ = validate_inputs(model, images, targets)
    return seen.map.detach(), torch.autograd.grad(chosen.sum(), seen.map)[0]


def grad_cam(model, images, targets=None, layer=None, relu=False):
    """Return Grad-CAM: Σ over k of mean(∂ logit / ∂ A[k]) · A[k], enlarged to (N, 1, H, W)."""
    maps, grad = maps_and_gradient(model, images, targets, layer)
    relevance = (grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
    return F.interpolate(relevance.relu() if relu else relevance, images.shape[2:], mode="bilinear")


def grad_cam_plus_plus(model, images, targets=None, layer=None, relu=False):
    """Return Grad-CAM++: the weight of A[k] is Σ over positions of g⁺ / (2 + g · Σ A[k])."""
    maps, grad = maps_and_gradient(model, images, targets, layer)
    denominator = (2 + grad * maps.sum((2, 3), keepdim=True)).where(grad > 0, 1)
    weights = (grad.relu() / denominator).sum((2, 3), keepdim=True)
    relevance = (weights * maps).sum(1, keepdim=True)
    return F.interpolate(relevance.relu() if relu else relevance, images.shape[2:], mode="bilinear")


def hires_cam(model, images, targets=None, layer=None, relu=False):
    """Return HiResCAM: Σ over k of ∂ logit / ∂ A[k] · A[k], position by position."""
    maps, grad = maps_and_gradient(model, images, targets, layer)
    relevance = (grad * maps).sum(1, keepdim=True)
    return F.interpolate(relevance.relu() if relu else relevance, images.shape[2:], mode="bilinear")


def layer_cam(model, images, targets=None, layer=None, relu=False):
    """Return LayerCAM: Σ over k of (∂ logit / ∂ A[k])⁺ · A[k], position by position."""
    maps, grad = maps_and_gradient(model, images, targets, layer)
    relevance = (grad.relu() * maps).sum(1, keepdim=True)
    return F.interpolate(relevance.relu() if relu else relevance, images.shape[2:], mode="bilinear")


class Constants(TorchFunctionMode):
    """Keep what each layer adds, and where: what it gives for an input of zeros."""

    found = ()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in (F.conv2d, F.linear, F.batch_norm):
            value = func(torch.zeros_like(args[0]), *args[1:], **(kwargs or {})).detach()
            self.found = (*self.found, (get_gradient_edge(out), value))
        return out


def full_grad(model, images, targets=None):
    """Return image · gradient plus bias · gradient of every layer, at its places; Σ = logit."""
    with torch.enable_grad(), Constants() as constants:
        x, chosen, _ = validate_inputs(model, images, targets)
    edges, values = zip(*constants.found, strict=True)
    grads = torch.autograd.grad(chosen.sum(), [x, *edges], allow_unused=True)
    relevance = torch.zeros_like(x[:, :1])
    for grad, value in zip(grads, [x, *values], strict=True):
        if grad is not None:
            part = (grad * value).detach().sum(1, keepdim=True)
            part = part if part.ndim == 4 else part[:, :, None, None]  # (N, 1): spread evenly
            relevance = relevance + upsample_keep_sum(part, images.shape[2:])
    return relevance


def feature_visualization(
    model, targets, layer=None, position=None, size=(64, 64), mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0), steps=256, learning_rate=0.01, decay=1.0, jitter=4,
    total_variation=0.0, seed=0,
):  # fmt: skip
    """Return pixels (K, C, H, W) that Adam has changed until each target's output is large."""
    like, (height, width) = next(model.parameters()), size
    mean, std = (like.new_tensor(value).view(1, -1, 1, 1) for value in (mean, std))
    rng = torch.Generator().manual_seed(seed)
    shape = (1, mean.shape[1], height, width // 2 + 1, 2)
    start = 0.01 * torch.randn(shape, generator=rng, dtype=torch.double).to(like)
    rows, columns = (torch.fft.fftfreq(n, dtype=torch.double) for n in size)
    columns = columns[: width // 2 + 1]  # the others are their mirror image
    frequency = (rows[:, None] ** 2 + columns**2).sqrt().clamp(1 / max(size))
    scale = (frequency[..., None] ** -decay).to(like)
    shifts = torch.randint(-jitter, jitter + 1, (steps, 2), generator=rng).tolist()
    chosen = torch.as_tensor(targets, device=like.device).flatten()
    spectrum = start.repeat(len(chosen), 1, 1, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([spectrum], learning_rate, maximize=True)

    def pixels():
        waves = torch.view_as_complex(spectrum * scale)
        return torch.fft.irfft2(waves, s=size, norm="ortho").sigmoid()

    for shift in shifts:
        images = pixels()
        shifted = ((images - mean) / std).roll(shift, (2, 3))
        with watch_layer(model, layer) as seen:
            out = model(shifted)
        out = out if layer is None else seen.map
        if out.ndim == 4:
            out = out.mean((2, 3)) if position is None else out[:, :, position[0], position[1]]
        value = out.gather(1, chosen[:, None]).sum()
        variation = sum(images.diff(dim=d).abs().mean((1, 2, 3)).sum() for d in (2, 3))
        (spectrum.grad,) = torch.autograd.grad(value - total_variation * variation, spectrum)
        optimizer.step()
    return pixels().detach()


# ---- fully connected layer -----------------------------------------------------------------------


def class_activation_map(model, images, targets=None):
    """Return CAM: Σ over k of A[k] · ∂ logit / ∂ A[k] for the last map A; Σ + biases = logit."""
    with torch.enable_grad(), LastMap() as seen:
        _, chosen, _ = validate_inputs(model, images, targets)
    relevance = torch.autograd.grad(chosen.sum(), seen.map)[0] * seen.map.detach()
    return upsample_keep_sum(relevance.sum(1, keepdim=True), images.shape[2:])


def contrast(model, images, targets=None, others=None, explain=class_activation_map):
    """Return why one class and not another: explain(target) − explain(other, or runner-up)."""
    targets = validate_inputs(model, images, targets)[2]
    rest = model(images).scatter(1, targets[:, None], -torch.inf)
    others = rest.argmax(1) if others is None else others
    return explain(model, images, targets) - explain(model, images, others)


@torch.no_grad()
def score_cam(
    model, images, targets=None, layer=None, weights="softmax", baseline=0.0, relu=False,
    batch_size=16,
):  # fmt: skip
    """Return Score-CAM: Σ over k of weight[k] · A[k], by the logit of what A[k] lets through."""
    x, _, classes = validate_inputs(model, images, targets, batch_size)
    with watch_layer(model, layer) as seen:
        model(x.clone())
    base, score = baseline_of(x, baseline), []
    for image, fill, maps, target in zip(x, base, seen.map, classes, strict=True):
        masks = F.interpolate(maps[:, None], x.shape[2:], mode="bilinear")  # (K, 1, H, W)
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        tiny = 10 * torch.finfo(x.dtype).eps * torch.maximum(low.abs(), high.abs())
        masks = torch.where(high - low <= tiny, 0, (masks - low) / (high - low))  # 0 … 1
        parts = (fill + mask * (image - fill) for mask in masks.split(batch_size))
        score.append(torch.cat([model(part)[:, target] for part in parts]))
    weight = torch.stack(score)  # (N, K)
    if weights == "softmax":
        weight = weight.softmax(1)
    else:
        weight = weight - model(base.clone()).gather(1, classes[:, None])
    relevance = (weight[..., None, None] * seen.map).sum(1, keepdim=True)
    return F.interpolate(relevance.relu() if relu else relevance, x.shape[2:], mode="bilinear")


class LastInput(TorchFunctionMode):
    """Keep what enters the last linear layer, (N, F)."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.linear and args[0].ndim == 2:
            self.features = args[0].clone()
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def embed(model, images, batch_size=250):
    """Return what enters the last linear layer, (N, F)."""
    rows = []
    for part in images.split(batch_size):
        with LastInput() as seen:
            model(part.clone())
        rows.append(seen.features)
    return torch.cat(rows)


# ---- residual networks, and change against expectation -------------------------------------------


class Branches(TorchFunctionMode):
    """At each residual sum put a copy in the place of the branch, if cut without history."""

    branches, cut = (), True

    def __torch_function__(self, func, types, args=(), kwargs=None):
        maps = [term for term in args if isinstance(term, Tensor)]
        depths = [getattr(term, "depth", 0) for term in maps]  # layers behind a term
        if func.__name__.strip("_") in ("add", "iadd") and len(maps) == 2 and maps[0].ndim == 4:
            skip, branch = maps if depths[0] < depths[1] else maps[::-1]
            new = branch.detach().clone().requires_grad_() if self.cut else branch.clone()
            self.branches, out = (*self.branches, new), skip + new
        else:
            out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            out.depth = max(depths, default=0) + (func in (F.conv2d, F.linear))
        return out


def block_map(model, images, targets=None, block=-1):
    """Return where a block's branch adds to the logit along the skip paths: branch · gradient."""
    with torch.enable_grad(), Branches() as cut:
        _, chosen, _ = validate_inputs(model, images, targets)
    branch = cut.branches[block]
    (grad,) = torch.autograd.grad(chosen.sum(), branch)
    relevance = (grad * branch).detach().sum(1, keepdim=True)
    return upsample_keep_sum(relevance, images.shape[2:])


def path_gradients(model, images, targets=None):
    """Return ∂ logit / ∂ image along the paths through 0, 1, … n branches, (N, n + 1, C, H, W)."""
    with torch.enable_grad(), Branches() as seen:
        seen.cut = False
        x, chosen, _ = validate_inputs(model, images, targets)
    arrived = [torch.zeros_like(branch) for branch in seen.branches]

    def exchange(index, grad):  # keep what arrives, pass on what arrived in the pass before
        before, arrived[index] = arrived[index], grad
        return before

    for index, branch in enumerate(seen.branches):
        branch.register_hook(partial(exchange, index))
    start, rows = torch.ones_like(chosen), []  # the later passes begin at the branches
    for _ in range(len(arrived) + 1):
        rows.append(torch.autograd.grad(chosen, x, start, retain_graph=True)[0])
        start = torch.zeros_like(chosen)
    return torch.stack(rows, 1)


@torch.no_grad()
def occlusion(
    model, images, targets=None, window=None, stride=None, baseline="mean", batch_size=16
):
    """Return the mean drop of the logit over the windows that cover a pixel, (N, 1, H, W)."""
    x, whole, classes = validate_inputs(model, images, targets, batch_size)
    windows = window if isinstance(window, tuple) else (window, window)
    strides = stride if isinstance(stride, tuple) else (stride, stride)
    covers = []  # (rows, H) and (columns, W): which pixels each position covers
    for n, size, step in zip(images.shape[2:], windows, strides, strict=True):
        size = size or max(n // 8, 1)
        step = step or max(size // 2, 1)
        start, pixel = torch.arange(0, n - size + step, step)[:, None], torch.arange(n)
        covers.append(((pixel >= start) & (pixel < start + size)).to(x.device))
    rows, columns = covers
    fill = (x.mean((2, 3), True) if baseline == "mean" else baseline) + torch.zeros_like(x)
    drops = []
    places = torch.cartesian_prod(*(torch.arange(len(part)) for part in (x, rows, columns)))
    for n, i, j in (batch.T for batch in places.to(x.device).split(batch_size)):
        covered = rows[i][:, None, :, None] & columns[j][:, None, None, :]
        logits = model(torch.where(covered, fill[n], x[n]))
        drops.append(whole[n] - logits.gather(1, classes[n][:, None])[:, 0])
    drop = torch.cat(drops).view(len(x), 1, len(rows), len(columns))
    rows, columns = rows.to(x), columns.to(x)
    return (rows.T @ drop @ columns) / (rows.sum(0)[:, None] * columns.sum(0))


def integrated_gradients(model, images, targets=None, baseline="mean", steps=32, batch_size=16):
    """Return (x − x₀) · mean gradient along the path from x₀ to x; Σ → f(x) − f(x₀)."""
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets, batch_size)
    change = x - (x.mean((2, 3), True) if baseline == "mean" else baseline)
    shares = (torch.arange(steps).to(x) + 0.5) / steps  # middles of equal pieces
    pairs = torch.cartesian_prod(torch.arange(steps), torch.arange(len(x))).to(x.device)
    total = torch.zeros_like(x)
    for k, n in (batch.T for batch in pairs.split(batch_size)):
        points = x[n] - (1 - shares[k]).view(-1, 1, 1, 1) * change[n]
        total.index_add_(0, n, gradient(model, points, classes[n]))
    return change * total / steps


def expected_gradients(model, images, targets=None, *, baselines, steps=32, batch_size=16):
    """Return the mean of integrated_gradients over baselines (M, C, H, W)."""
    with torch.no_grad():
        _, _, classes = validate_inputs(model, images, targets, batch_size)
    total = torch.zeros_like(images)
    for baseline in baselines:
        total += integrated_gradients(model, images, classes, baseline, steps, batch_size)
    return total / len(baselines)


class RescaleRule(TorchFunctionMode):
    """For images stacked on their baselines: give ReLUs Δout/Δin, and max-pools their shares."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func.__name__.strip("_") in ("relu", "relu6", "hardtanh"):
            out, base = func(args[0].detach().clone(), *args[1:], **(kwargs or {})).chunk(2)
            x, x0 = args[0].chunk(2)
            same = (x - x0).abs() <= 2 * torch.finfo(x.dtype).eps * x.abs()  # its own derivative
            grad = torch.where(same, (x > 0) & (x == out), (out - base) / (x - x0)).detach()
            return torch.cat([out + grad * (x - x.detach()), base])
        if "max_pool2d" not in func.__name__:
            return func(*args, **(kwargs or {}))
        x, options = args[0].detach(), {**(kwargs or {}), "return_indices": True}
        wide = x * (2.0 ** (17 if x.dtype == torch.double else 7) + 1)  # equal but for rounding:
        _, at = F.max_pool2d(wide - (wide - x), *args[1:], **options)  # the first one counts
        (x, x0), (there, here) = args[0].flatten(2).chunk(2), at.flatten(2).chunk(2)
        change, out, base = (x - x0).detach(), x.gather(2, there), x0.gather(2, here)
        low, high = change.gather(2, here), change.gather(2, there)
        share = torch.where(high > low, ((out - base).detach() - low) / (high - low), 0.5)
        mixed = share * out + (1 - share) * x.gather(2, here)
        return torch.cat([out.detach() + mixed - mixed.detach(), base]).view(at.shape)


@torch.enable_grad()
def deeplift(model, images, targets=None, baseline="mean"):
    """Return (x − x₀) · gradient, with Δout/Δin at each ReLU; Σ = f(x) − f(x₀)."""
    classes = validate_inputs(model, images, targets)[2]
    base = (images.mean((2, 3), True) if baseline == "mean" else baseline) + torch.zeros_like(
        images
    )
    with RescaleRule():
        x, chosen, _ = validate_inputs(model, torch.cat([images, base]), classes.repeat(2))
    return (images - base) * torch.autograd.grad(chosen[: len(images)].sum(), x)[0][: len(images)]


class RelevanceRule(TorchFunctionMode):
    """Give each layer y = Σ a w + b the gradient of share · Σ a w, with share = y / (y ± ε)."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (F.conv2d, F.linear):
            a, w, b, *rest = args
            return self.layer(lambda a, w: func(a, w, None, *rest), a, w, 0 if b is None else b)
        if func is F.batch_norm:  # merged into the layer before it
            (_, mean, var), (apply, a, w, b) = args, args[0].layer
            scale = (var + kwargs["eps"]).rsqrt() * kwargs["weight"]
            b = scale * b + kwargs["bias"] - scale * mean
            return self.layer(apply, a, scale.view(-1, *[1] * (w.ndim - 1)) * w, b)
        return func(*args, **(kwargs or {}))

    def layer(self, apply, a, w, bias):
        b, m = torch.as_tensor(bias).view(-1, *[1] * (w.ndim - 2)), apply(a, w)
        y = z = m.detach() + b
        if self.gamma:  # w + γ w⁺ for y > 0, w + γ w⁻ for y < 0
            up, down = (w + self.gamma * part for part in (w.clamp(min=0), w.clamp(max=0)))
            plus, minus, pairs = a.clamp(min=0), a.clamp(max=0), ((up, down), (down, up))
            m = torch.where(y > 0, *(apply(plus, u) + apply(minus, v) for u, v in pairs))
            z = m.detach() + b + self.gamma * torch.where(y > 0, b.clamp(min=0), b.clamp(max=0))
        share = y / (z + torch.copysign(torch.full_like(z, self.epsilon), z))
        out = y + share.nan_to_num(1.0) * (m - m.detach())
        out.layer = apply, a, w, bias
        return out


def lrp(model, images, targets=None, rule="epsilon", epsilon=0.01, gamma=0.25):
    """Return LRP: x · gradient under the rule; Σ + what biases absorb = logit."""
    with torch.enable_grad(), RelevanceRule() as mode:
        mode.epsilon, mode.gamma = epsilon, gamma if rule == "gamma" else 0.0
        x, chosen, _ = validate_inputs(model, images, targets)
    return (x * torch.autograd.grad(chosen.sum(), x)[0]).detach()


# ---- parts of the image hidden at random ---------------------------------------------------------


def output_function(model, images, targets, output, batch_size):
    """Return the images, and f(n, pictures): the output of pictures for the class of image n."""
    x, _, classes = validate_inputs(model, images, targets, batch_size)

    def f(n, pictures):
        logits = model(pictures).cpu().double()
        if output == "probability":
            logits = logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid()
        return logits[:, classes[n].cpu()]

    return x, f


def random_masks(size, masks, cells, probability, seed=0):
    """Return grids of cells, shown or hidden, enlarged smoothly and shifted, (masks, H, W)."""
    rng = torch.Generator().manual_seed(seed)
    grids = torch.rand(masks, 1, cells, cells, generator=rng, dtype=torch.double) < probability
    height, width = (-(-pixels // cells) for pixels in size)  # of one cell, rounded up
    tops = torch.randint(height, (masks,), generator=rng)
    lefts = torch.randint(width, (masks,), generator=rng)
    large = ((cells + 1) * height, (cells + 1) * width)
    drawn = torch.empty(masks, *size, dtype=torch.double)
    for k, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        mask = F.interpolate(grids[k : k + 1].double(), large, mode="bilinear")[0, 0]
        drawn[k] = mask[top : top + size[0], left : left + size[1]]
    return drawn.clamp(max=1)


@torch.no_grad()
def rise(
    model, images, targets=None, masks=1000, cells=7, probability=0.5, output="probability",
    centred=False, baseline="mean", seed=0, batch_size=16,
):  # fmt: skip
    """Return RISE: the mean of output · mask over random masks; or, centred, their covariance."""
    x, f = output_function(model, images, targets, output, batch_size)
    shown = random_masks(x.shape[2:], masks, cells, probability, seed)
    rows = []
    for n, (image, fill) in enumerate(zip(x, baseline_of(x, baseline), strict=True)):
        parts = (part.to(x)[:, None] for part in shown.split(batch_size))
        rows.append(torch.cat([f(n, part * image + (1 - part) * fill) for part in parts]))
    y, norm = torch.stack(rows), probability  # (N, masks)
    if centred:
        y, shown = y - y.mean(1, keepdim=True), shown - shown.mean(0)
        norm = shown.square().mean(0)
    mean = torch.einsum("nm,mhw->nhw", y, shown) / masks
    relevance = mean / norm if not centred else torch.where(norm > 1e-12, mean / norm, 0)
    return relevance[:, None].to(x)


def segments_as_masks(segments, images):
    """Return segments as masks (N, S, H, W): labels, masks, or None for a grid of 8 × 8."""
    count, _, height, width = images.shape
    if segments is None:
        row, column = (torch.arange(n) * min(8, n) // n for n in (height, width))
        segments = row[:, None] * min(8, width) + column
    if not segments.is_floating_point() and segments.dtype != torch.bool:
        numbers = torch.arange(int(segments.max()) + 1, device=segments.device)
        segments = segments[..., None, :, :] == numbers[:, None, None]
    return segments.to(images).expand(count, -1, -1, -1)


def segment_map(values, segments, images):
    """Return values (N, S) of segments, each spread over its segment, (N, 1, H, W)."""
    masks = segments_as_masks(segments, images).cpu().double()
    share = masks / masks.sum((2, 3), keepdim=True).clamp_min(1e-30)
    return torch.einsum("ns,nshw->nhw", values.cpu().double(), share)[:, None].to(images)


def segment_games(model, images, targets, segments, baseline, output, batch_size, *_):
    """Return how many segments there are; and n, segments with pixels, and game of each image."""
    x, f = output_function(model, images, targets, output, batch_size)
    base, masks = baseline_of(x, baseline), segments_as_masks(segments, x)

    def play(n, players, coalitions):  # the outputs of coalitions (K, P), True for what is shown
        outputs = []
        for kept in coalitions.to(x.device).split(batch_size):
            hidden = ((~kept).to(x) @ masks[n, players].flatten(1)).clamp(max=1)
            hidden = hidden.view(-1, 1, *x.shape[2:])
            outputs.append(f(n, (1 - hidden) * x[n] + hidden * base[n]))
        return torch.cat(outputs)

    players = [mask.flatten(1).any(1).nonzero()[:, 0].cpu() for mask in masks]
    return masks.shape[1], [(n, own, partial(play, n, own)) for n, own in enumerate(players)]


@torch.no_grad()
def lime_coefficients(
    model, images, targets=None, segments=None, samples=1000, kernel_width=0.25, ridge=1.0,
    output="logit", baseline="mean", seed=0, batch_size=16,
):  # fmt: skip
    """Return the coefficients of a ridge regression on rows that show or hide segments, (N, S)."""
    given = (model, images, targets, segments, baseline, output, batch_size)
    count, games = segment_games(*given)
    coefficients = torch.zeros(len(images), count, dtype=torch.double)
    for n, players, game in games:
        rng = torch.Generator().manual_seed(seed)
        z = torch.rand(samples, len(players), generator=rng, dtype=torch.double).round()
        z[0] = 1
        y = game(z.bool())
        weight = torch.exp(-((1 - z.mean(1).sqrt()) ** 2) / (2 * kernel_width**2))
        z, y = (value - weight @ value / weight.sum() for value in (z, y))
        normal = (z.T * weight) @ z + ridge * torch.eye(len(players), dtype=torch.double)
        coefficients[n, players] = torch.linalg.pinv(normal, hermitian=True) @ (z.T @ (weight * y))
    return coefficients


def lime(model, images, targets=None, segments=None, **options):
    """Return LIME: the coefficient of each segment, spread over its pixels, (N, 1, H, W)."""
    coefficients = lime_coefficients(model, images, targets, segments, **options)
    return segment_map(coefficients, segments, images)


def all_coalitions(game, players):
    """Return the Shapley values (players,) of a game from all 2^players coalitions."""
    coalitions = (torch.arange(2**players)[:, None] >> torch.arange(players)) & 1 == 1
    f, values = game(coalitions), []
    for p in range(players):
        without = (~coalitions[:, p]).nonzero()[:, 0]
        others = coalitions[without].sum(1).tolist()
        weight = f.new_tensor([1 / (players * comb(players - 1, k)) for k in others])
        values.append((f[without + 2**p] - f[without]) @ weight)
    return torch.stack(values)


def random_orders(game, players, samples, seed):
    """Return what each player adds, on average over random orders and their reverses."""
    rng, pairs = torch.Generator().manual_seed(seed), samples // (2 * (players - 1))
    position = torch.rand(pairs, players, generator=rng, dtype=torch.double).argsort(1)
    position = torch.cat([position, players - 1 - position])  # of each player in its order
    inside = position[:, None] < torch.arange(players + 1)[:, None]  # after 0, 1, … steps
    ends, between = inside[0, [0, -1]], inside[:, 1:-1].flatten(0, 1)
    f = game(torch.cat([ends, between]))
    path = [f[:1].expand(2 * pairs, 1), f[2:].view(2 * pairs, -1), f[1:2].expand(2 * pairs, 1)]
    return torch.cat(path, 1).diff(dim=1).gather(1, position).mean(0)


@torch.no_grad()
def shapley_values(
    model, images, targets=None, segments=None, samples=1024, output="logit", baseline="mean",
    seed=0, batch_size=16,
):  # fmt: skip
    """Return Shapley values of the segments, each spread over its segment, (N, 1, H, W)."""
    given = (model, images, targets, segments, baseline, output, batch_size)
    count, games = segment_games(*given)
    values = torch.zeros(len(images), count, dtype=torch.double)
    for n, own, game in games:
        if len(own) == 1 or 2 ** len(own) <= min(samples, 2**16):
            values[n, own] = all_coalitions(game, len(own))
        elif len(own) > 1:
            values[n, own] = random_orders(game, len(own), samples, seed)
    return segment_map(values, segments, images)


# ---- metrics -------------------------------------------------------------------------------------


def relevance_maps(model, explainer, images, targets, batch_size=100):
    """Return the relevance of images, made in batches, or as it was given."""
    if isinstance(explainer, Tensor):
        return explainer
    batches = zip(images.split(batch_size), targets.split(batch_size), strict=True)
    with torch.enable_grad():
        return torch.cat([explainer(model, x, t) for x, t in batches]).detach()


def map_ranks(maps, absolute=False):
    """Return the ranks of the pixels of each map, centred and of length 1, (N, H·W)."""
    values = maps.double().sum(1).flatten(1)
    values = values.abs() if absolute else values
    ordered = values.sort(1).values
    ranks = sum(torch.searchsorted(ordered, values, right=side) for side in (False, True)).double()
    ranks = ranks - ranks.mean(1, keepdim=True)
    return ranks / ranks.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)


def map_similarity(first, second, absolute=False):
    """Return Spearman's correlation of two maps of each image over the pixels, (N,)."""
    return (map_ranks(first, absolute) * map_ranks(second, absolute)).sum(1)


@torch.no_grad()
def deletion_curve(model, explainer, images, targets=None, fill="mean", steps=16, seed=0):
    """Return the probability while pixels are replaced, the most relevant first, (N, steps + 1)."""
    x, _, classes = validate_inputs(model, images, targets)
    values = relevance_maps(model, explainer, x, classes).double().sum(1).flatten(1)  # (N, H·W)
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.rand(values.shape, generator=generator).argsort(1).to(x.device)  # for ties
    order = values.gather(1, shuffled).sort(dim=1, stable=True, descending=True).indices
    position = shuffled.gather(1, order).argsort(1).view(len(x), 1, *x.shape[2:])
    filling, curve = x.mean((2, 3), True) if fill == "mean" else fill, []
    for step in range(steps + 1):
        count = (step * values.shape[1] + steps // 2) // steps
        logits = model(torch.where(position < count, filling, x))
        scores = logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid()
        curve.append(scores.gather(1, classes[:, None])[:, 0])
    return torch.stack(curve, 1)


def insertion_curve(model, explainer, images, targets=None, **options):
    """Return the probability while pixels come back, the most relevant first, (N, steps + 1)."""

    def reverse(model, images, targets):
        return -relevance_maps(model, explainer, images, targets)

    return deletion_curve(model, reverse, images, targets, **options).flip(1)


def area(curve, pixels):
    """Return the mean height of curves over the share of pixels that are replaced, (N,)."""
    steps = curve.shape[1] - 1
    counts = (torch.arange(steps + 1) * pixels + steps // 2) // steps
    return torch.trapezoid(curve, counts.to(curve) / pixels, dim=1)


def deletion(model, explainer, images, targets=None, **options):
    """Return the area under the deletion curve, (N,): low is good."""
    curve = deletion_curve(model, explainer, images, targets, **options)
    return area(curve, images[0, 0].numel())


def insertion(model, explainer, images, targets=None, **options):
    """Return the area under the insertion curve, (N,): high is good."""
    curve = insertion_curve(model, explainer, images, targets, **options)
    return area(curve.flip(1), images[0, 0].numel())


class DeletionInsertion(NamedTuple):
    """The two areas, (N,) both."""

    deletion: Tensor
    insertion: Tensor


def deletion_and_insertion(model, explainer, images, targets=None, **options):
    """Return `deletion` and `insertion`; the explainer runs once."""
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets)
    maps = relevance_maps(model, explainer, x, classes)
    both = (measure(model, maps, x, classes, **options) for measure in (deletion, insertion))
    return DeletionInsertion(*both)


def squares(samples, height, width, rng):
    """Return squares of random sides at random places (samples, 1, H, W), True inside."""
    sides = torch.randint(1, max(10 * min(height, width) // 28, 1) + 1, (samples,), generator=rng)
    places, inside = torch.rand(2, samples, generator=rng, dtype=torch.double), []
    for length, place in zip((height, width), places, strict=True):
        pixel, first = torch.arange(length), (place * (length - sides + 1)).long()[:, None]
        inside.append((pixel >= first) & (pixel < first + sides[:, None]))
    return inside[0][:, None, :, None] & inside[1][:, None, None]


@torch.no_grad()
def infidelity(
    model, explainer, images, targets=None, noise=0.2, samples=32, scaled=False, seed=0,
    unit="slope", perturbation="noise", fill="mean",
):  # fmt: skip
    """Return the mean over I of (Σ I · relevance − (f(x) − f(x − I)))², (N,): low is good."""
    assert unit == "slope" or perturbation == "squares", "a sum does not predict noise"
    x, chosen, classes = validate_inputs(model, images, targets)
    maps = relevance_maps(model, explainer, x, classes)
    rng = torch.Generator().manual_seed(seed)
    if perturbation == "noise":
        draws = torch.randn((samples, *x.shape[1:]), generator=rng, dtype=torch.double)
        parts = weights = (noise * draws).to(x)
    else:  # squares, each replaced by the filling
        inside = squares(samples, *x.shape[2:], rng).to(x)
        filling = x.mean((2, 3), True) if fill == "mean" else fill
        parts = [place * (x - filling) for place in inside]
        weights = inside if unit == "sum" else parts
    drop = torch.stack([chosen - model(x - p).gather(1, classes[:, None])[:, 0] for p in parts], 1)
    predicted = torch.stack([(maps.double() * w.double()).sum((1, 2, 3)) for w in weights], 1)
    if scaled:
        power = predicted.square().sum(1, keepdim=True)
        best = (predicted * drop).sum(1, keepdim=True) / torch.where(power > 0, power, 1.0)
        predicted = best * predicted
    return (predicted - drop).square().mean(1)


def sensitivity_max(model, explainer, images, targets=None, radius=0.05, samples=8, seed=0):
    """Return the largest relative change of the map under small changes of the image, (N,)."""
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets)
    before = relevance_maps(model, explainer, x, classes).double()
    length = torch.linalg.vector_norm(before, dim=(1, 2, 3))
    worst = torch.zeros_like(length)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(samples):
        change = torch.rand(x.shape[1:], generator=generator, dtype=torch.double) * 2 - 1
        after = relevance_maps(model, explainer, x + (radius * change).to(x), classes).double()
        moved = torch.linalg.vector_norm(after - before, dim=(1, 2, 3))
        worst = torch.maximum(
            worst, moved / torch.where(length > 0, length, moved.clamp_min(1e-300))
        )
    return worst


def pixels_and_masks(model, explainer, images, masks, targets):
    """Return relevance and mask of each pixel, (N, H·W) both."""
    with torch.no_grad():
        _, _, classes = validate_inputs(model, images, targets)
    maps = relevance_maps(model, explainer, images, classes)
    return maps.double().sum(1).flatten(1), masks.double().flatten(1)


def pointing_game(model, explainer, images, masks, targets=None):
    """Return 1 if the most relevant pixel lies inside the mask, else 0, (N,)."""
    relevance, inside = pixels_and_masks(model, explainer, images, masks, targets)
    inside = (inside > 0.5).double()
    highest = (relevance == relevance.amax(1, keepdim=True)).double()
    hits = (highest * inside).sum(1) / highest.sum(1)  # of equals, the share inside
    return hits.masked_fill(inside.sum(1) == 0, torch.nan)


def relevance_mass(model, explainer, images, masks, targets=None, batch_size=None):
    """Return Σ mask · r / Σ r over the positive relevance r, (N,)."""
    relevance, inside = pixels_and_masks(model, explainer, images, masks, targets)
    positive = relevance.clamp_min(0)
    total = positive.sum(1)
    share = (positive * inside).sum(1) / torch.where(total > 0, total, 1.0)
    return share.masked_fill(inside.sum(1) == 0, torch.nan)


def layer_order(model, images):
    """List the layers with weights, from the output back to the input, as they are used."""
    order, handles = {}, []
    for name, layer in model.named_modules():
        if [*layer.parameters(recurse=False)]:

            def note(module, inputs, output, name=name):
                order[name] = order.pop(name, None)  # used again: it moves to the end

            handles.append(layer.register_forward_hook(note))
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return [*order][::-1]


def randomisation(model, explainer, images, targets=None, absolute=False, seed=0):
    """Return Spearman's ρ of each map with that of the model randomised from the top, (N, L)."""
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets)
    trained = relevance_maps(model, explainer, x, classes)
    generator = torch.Generator().manual_seed(seed)
    latest, similarities = copy.deepcopy(model), []
    for name in layer_order(model, x):
        number = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(number)
            latest.get_submodule(name).reset_parameters()
        ranks = map_ranks(relevance_maps(latest, explainer, x, classes), absolute)
        similarities.append((map_ranks(trained, absolute) * ranks).sum(1))
    return torch.stack(similarities, 1)


def randomisation_null(model, explainer, images, targets=None, absolute=False, batch_size=100):
    """Return how similar a method's maps of *different* images are, for one model, (N,)."""
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets, batch_size)
    maps = relevance_maps(model, explainer, x, classes, batch_size)
    return map_similarity(maps, maps.roll(-1, 0), absolute)
