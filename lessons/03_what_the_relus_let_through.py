# ---
# jupyter:
#   course:
#     question: "Which part of the picture gets through the ReLUs, and is that an explanation?"
#     minutes: 75
# ---

# %% [markdown]
# # What the ReLUs let through
#
# > **You will be able to** look into a layer and say what a channel responds to, with a number and a null; split a
# > logit
# > into what the image adds and what the biases add, exactly; draw gradient, DeconvNet, guided backpropagation,
# > SmoothGrad and Grad-CAM, and say of each what it does not show.
# >
# > **You need** lesson 01 (scenes, masks, the answer key), and what a derivative is.
# >
# > **Time** 75 minutes with all exercises (30), of which the computer takes less than one.
# >
# > **For** everyone. *Engineers*: sections 3 and 5, and the last cell of code. *Teachers*: the prediction and section
# > 7
# > make a lesson of their own; the misconception to look for is "sharper, therefore more faithful". *Policy makers*:
# > the
# > pictures, *Where it breaks*, and the verdict.

# %% [markdown]
# ## The claim
#
# The article's first technique reads the outputs of the **ReLUs**. A ReLU is the simplest part of a network: it hands
# positive numbers on and replaces negative ones by 0. The article's table says of this technique:
#
# - *principle*: it shows **local features**;
# - *strength*: it is **simple** and **cheap**;
# - *limit*: it is **insensitive to noise** in the input.
#
# Each of the three is tested here. A family of methods has grown from this idea, so we test the family.

# %%
import torch

from xai_course import show
from xai_course.beetles import PARTS, SPECIES, scenes
from xai_course.checkpoints import load_checkpoint
from xai_course.data import data_folder, normalise, stack_images, stack_masks
from xai_course.judge import mean_interval
from xai_course.plates import latin

network, card = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
names = list(SPECIES)
beetles = [scene for name in names for scene in scenes("test", name, 20)]  # 20 of each species
images, masks = normalise(stack_images(beetles)), stack_masks(beetles)
species = torch.arange(10).repeat_interleave(20)
with torch.no_grad():
    logits = network(images)
says, second = logits.topk(2).indices.T
one = names.index("Ellipsa_longicornis") * 20  # the first longicornis of the test scenes
show.figure(
    show.gallery(
        [scene.image(128) for scene in beetles[::20]],
        [latin(name) for name in names],
        title="The first of the twenty beetles of each species",
    ),
    alt="Ten beetles, one of each species, on different grounds.",
    caption="The numbers of this lesson are about 200 test scenes, twenty of each species, unless they say otherwise.",
)
print(f"BeetleNet is right on {(says == species).sum()} of {len(beetles)}")
print(f"the example: {latin(names[says[one]])}, runner-up {latin(names[second[one]])}")

# %% [markdown]
# ## Predict
#
# **Guided backpropagation** draws pictures that many find the clearest of all. Ask it twice about each of these
# beetles: why the class that the network *says*, and why the *runner-up*. Compare the two pictures by their
# correlation: 1 means the same picture, 0 nothing in common, −1 the negative of each other.
#
# **What is the mean correlation over 200 beetles? And what is it for the plain gradient?** Write two numbers down.
# Section 7 has the answer.

# %% [markdown]
# ## 1. What comes out of a layer
#
# BeetleNet has a stem and three residual blocks, and each of them ends in a ReLU. The output of a layer is a stack of
# maps, one a **channel**. Here are the first six channels of each, for one beetle. They are not chosen for their
# looks.

# %%
from xai_course.units import activations

layers = ["stem", "blocks.0", "blocks.1", "blocks.2"]
outputs = activations(network, images[one : one + 1], layers)
panels, titles = [], []
for layer in layers:
    for channel, output in enumerate(outputs[layer][0, :6]):
        panels.append(output[None] / output.max().clamp_min(1e-9))
        titles.append(f"{layer}, {channel}")
show.figure(
    show.gallery(
        panels,
        titles,
        columns=6,
        title="From strokes and edges to a few blots: what four layers give for one beetle",
    ),
    alt="Four rows of six grey maps, of 32, 32, 16 and 8 pixels: outlines of a beetle above, a few blots below.",
    caption="White: the channel's largest value in this picture. Black: 0, the ReLU let nothing through.",
)
for layer, output in outputs.items():
    print(f"{layer:9} {output.shape[1]} channels of {output.shape[2]} × {output.shape[3]} places")

# %% [markdown]
# One sees *something*: outlines, a bright back, antennae. Does a channel respond to antennae, or do we see antennae
# because we look for them? In a world with masks one can count.

# %% [markdown]
# ## 2. What a channel detects
#
# Call a channel *active* at its strongest 2 % of places over all scenes (about the area of one part). Lay the active
# places over the mask of a part. **Intersection over union** (IoU) is the area in both, divided by the area in
# either: 1 for a perfect match, 0 for none.
#
# Beetles sit near the middle, so some overlap comes for free. The **null** knows this: it exchanges the masks among
# the scenes, a thousand times. A channel that only fires in the middle of pictures does as well with another scene's
# masks.

# %%
from xai_course.units import unit_report

parts = list(PARTS[:6])  # all but the museum label, which no scene here has
reports = {layer: unit_report(network, images, masks[:, :6], layer) for layer in layers}
best = {layer: report.iou.max(0) for layer, report in reports.items()}
table = torch.stack([best[layer].values for layer in layers])
show.figure(
    show.matrix(
        table.numpy(),
        layers,
        parts,
        signed=False,
        label="IoU",
        title="The best detectors of horn and antennae\nare in the middle of the network",
    ),
    alt="A table of four layers and six parts: the largest intersection over union of any channel.",
    caption="For each layer and part, the IoU of that layer's best channel.",
)
print("               channels that beat the null (p < 0.05, all channels and parts together)")
for layer, report in reports.items():
    found = (report.p < 0.05).any(1).sum()
    print(f"{layer:9} {found:3} of {len(report.p)}, best IoU {report.iou.max():.2f},", end=" ")
    print(f"there its null {report.null.flatten()[report.iou.argmax()]:.2f}")

# %% [markdown]
# So the claim of *local features* has something to it: most channels overlap some part better than the null does. And
# the best overlap is far from 1. Look at the best channels of one layer at work, in the scenes that excite them most.

# %%
layer = "blocks.1"
report, shown = reports[layer], ["elytra", "pattern", "horn", "antennae"]
panels, titles = [], []
for part in shown:
    k = int(report.iou[:, parts.index(part)].argmax())
    top = report.top[k]
    maps = activations(network, images[top], layer)[layer][:, k : k + 1]
    maps = torch.nn.functional.interpolate(maps, 64, mode="bilinear", align_corners=False)
    active = (maps > report.threshold[k]).float()
    panels += list(stack_images([beetles[i] for i in top]) * (0.3 + 0.7 * active))
    titles += [f"channel {k}: {part}"] + [""] * (len(top) - 1)
show.figure(
    show.gallery(
        panels, titles, title="The best channel for each of four parts, and where it is active"
    ),
    alt="Four rows of five beetles. In each the places where one channel is active are bright, the rest is dark.",
    caption=f"{layer}: of each channel the five scenes with the largest output. Bright: active.",
)
for part in shown:
    p = parts.index(part)
    k = int(report.iou[:, p].argmax())
    others = ", ".join(f"{q} {report.iou[k, parts.index(q)]:.2f}" for q in parts if q != part)
    print(f"channel {k:2}: {part} {report.iou[k, p]:.2f} (null {report.null[k, p]:.2f}); {others}")

# %% [markdown]
# A name like "the horn channel" is a summary with a remainder. The channel is active elsewhere too, and part of the
# horn does not excite it. A low p-value says that the overlap is no accident. It does not say that the network *uses*
# the channel that way: for that one would have to change it and see.

# %% [markdown]
# ## 3. Gates
#
# A ReLU is a **gate**: open where its input is above 0, closed elsewhere. Everything else in this network
# (convolution, batch normalisation, sum, mean) multiplies by fixed numbers and adds fixed numbers, the **biases**. So
# as long as no gate changes, the whole network is *one linear function* of the image, and the gradient holds its
# weights:
#
# $$f(x) = \langle \text{gradient}, x\rangle + \sum_{\text{biases}} \langle \text{derivative at its place}, \text{bias}\rangle.$$
#
# ### The identity

# %% tags=["nbval-check-output"]
from xai_course.gates import local_linear

exact = local_linear(network.double(), images.double())
network.float()
total = exact.from_input + sum(exact.biases.values())
print(
    f"the example: image {exact.from_input[one]:.2f}, biases {total[one] - exact.from_input[one]:.2f}"
)
print(f"together {total[one]:.2f}, logit {exact.logit[one]:.2f}")
largest = (total - exact.logit).abs().max().item()
print(f"largest difference over {len(images)} beetles below 1e-12: {largest < 1e-12}")

# %% [markdown]
# The books are exact. Now read them: how much of a logit does the *image* add, and how much do the biases, layer by
# layer? (The mean that a batch normalisation takes away counts as its bias.)

# %%
shares = {"image": exact.from_input}
for layer in [*layers, "head"]:
    ours = [share for name, share in exact.biases.items() if name.startswith(layer)]
    shares[f"biases of {layer}"] = sum(ours)
middle = {name: mean_interval(share) for name, share in shares.items()}
show.figure(
    show.bars(
        {name: mean for name, (mean, _, _) in middle.items()},
        errors={name: (low, high) for name, (_, low, high) in middle.items()},
        title="The biases add more of the logit than the image does",
        label="added to the logit of the class it says, mean of 200 beetles (95 % interval)",
    ),
    alt="Bars: what the image and the biases of each layer add to the logit.",
)
total, low, high = mean_interval(exact.logit)
share, *ends = mean_interval((exact.logit - exact.from_input) / exact.logit)
print(f"mean logit {total:.2f} ({low:.2f} to {high:.2f})")
print(f"share that the biases add: {share:.0%} ({ends[0]:.0%} to {ends[1]:.0%})")

# %% [markdown]
# Gradient times input is a popular map. Its sum is the first bar, and only that. What the biases add passes through
# gates that *the image* opens, so it says something about the image, too. **FullGrad** keeps it: each bias stands at
# the places where it is added, enlarged to the picture's size with its sum kept.

# %%
from xai_course.gates import full_grad
from xai_course.relu import gradient_times_input

x = images[one : one + 1]
from_image, whole = full_grad(network, x, only="input"), full_grad(network, x)
maps = [from_image, whole - from_image, whole]
titles = ["from the image", "from the biases", "together"]
picture = beetles[one].image(64)


def squares(relevance):
    """Add up squares of 8 x 8 pixels, so that faint and broad shares can be seen."""
    sums = torch.nn.functional.avg_pool2d(relevance, 8, divisor_override=1)
    return sums.repeat_interleave(8, 2).repeat_interleave(8, 3)


show.figure(
    show.overlay(
        [picture] * 4,
        [None, *map(squares, maps)],
        [
            "the beetle",
            *(f"{t}: {m.sum():+.2f}".replace("-", "−") for t, m in zip(titles, maps, strict=True)),
        ],
        title=f"FullGrad: image and biases together are the logit, {logits[one].max():.2f}",
        quantile=1.0,
    ),
    alt="A beetle, and three maps over it: gradient times input, the biases' map, and their sum.",
    caption="Each square is the sum of 8 × 8 pixels; the number above a map is its sum, in logits.",
)

# %% [markdown]
# As published, FullGrad drops the sign of the biases' maps and rescales them; here sign and sum are kept, so that the
# books still balance.

# %% [markdown]
# ## 4. Who opens the same gates
#
# Which gates are open is all that the image decides; the rest is fixed. So two images with the same gates meet the
# same linear function. What share of their gates do two beetles have in common, of the same species and of different
# ones?
#
# The null: each gate opens as often as it really does, but by itself, without regard to the others.

# %%
from xai_course.gates import dead_relus, gates, shared_gates

opened = gates(network, images, batch_size=50)
same = (species[:, None] == species).double().fill_diagonal_(0)
other = (species[:, None] != species).double()
lines, bands, null = {"same species": [], "other species": []}, {}, []
for part, share in zip(opened.values(), shared_gates(opened).values(), strict=True):
    often = part.flatten(1).double().mean(0)
    null.append(float((often**2 + (1 - often) ** 2).mean()))
    for name, pairs in zip(lines, (same, other), strict=True):
        lines[name].append(mean_interval((share * pairs).sum(1) / pairs.sum(1)))
series = {name: [mean for mean, _, _ in found] for name, found in lines.items()}
bands = {name: tuple(zip(*found, strict=True))[1:] for name, found in lines.items()}
show.figure(
    show.lines(
        series | {"each gate by itself": null},
        range(1, len(opened) + 1),
        bands=bands,
        title="The later a gate, the more it knows of the species",
        x_label="ReLU, from the first to the last",
        y_label="share of gates in common",
    ),
    alt="Three lines over seven ReLUs. They lie on each other at first; at the last ReLU beetles of one species share "
    "clearly more gates than beetles of different species.",
)

# %%
dead = dead_relus(network, images, batch_size=50)
print("ReLU                    gates  open  same   other  null   dead channels")
for i, (name, part) in enumerate(opened.items()):
    row = f"{series['same species'][i]:.3f}  {series['other species'][i]:.3f}  {null[i]:.3f}"
    size, share = part[0].numel(), part.double().mean()
    print(f"{name:21} {size:7}   {share:.0%}  {row}  {dead[name].sum()} of {len(dead[name])}")

# %% [markdown]
# In the first layers, two beetles of one species share hardly more gates than any two pictures: what opens there is
# decided by ground, light and pose. At the last ReLU the difference is large. And no channel is **dead**, that is,
# closed at every place of every picture; a dead channel would be a part of the network that nothing can reach.

# %% [markdown]
# ## 5. Three rules for one ReLU
#
# To draw a picture of the *input*, one goes back through the network. At a ReLU there are two things to look at:
# whether the gate was open on the way there, and whether the number that comes back is positive. Three methods differ
# in nothing else:
#
# | method | what a ReLU lets through on the way back |
# |---|---|
# | gradient | `grad * is_open` |
# | DeconvNet | `grad * (grad > 0)` |
# | guided backpropagation | `grad * is_open * (grad > 0)` |
#
# `relu_rule` gives every ReLU of a network another rule, without touching the network. Try the three on a single ReLU
# with the four cases there are.

# %%
from xai_course.relu import deconvnet, gradient, guided_backprop, relu_rule

tiny = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 1, bias=False))
tiny[2].weight.data = torch.tensor([[2.0, -2.0, 2.0, -2.0]])  # what comes back to the four units
inputs = torch.tensor([1.0, 1.0, -1.0, -1.0]).view(1, 1, 1, 4)  # two open gates, two closed
rules = {"gradient": gradient, "DeconvNet": deconvnet, "guided backprop.": guided_backprop}
through = [(rule(tiny.eval(), inputs).flatten() + 0.0).tolist() for rule in rules.values()]
show.figure(
    show.matrix(
        through,
        list(rules),
        ["open, +2", "open, −2", "closed, +2", "closed, −2"],
        fmt="{:.0f}",
        title="What each rule lets through one ReLU",
        label="what goes on",
    ),
    caption="The columns: the gate on the way there, and the number that comes back.",
    alt="A table of three rules and four cases. Gradient: +2, −2, 0, 0. DeconvNet: +2, 0, +2, 0. Guided: +2, 0, 0, 0.",
)

# %%
with relu_rule(lambda is_open, grad: grad * is_open) as seen:  # the rule that ReLUs have anyway
    as_it_was = gradient(network, x)
print(f"{len(seen)} ReLUs seen; same map: {torch.equal(as_it_was, gradient(network, x))}")
maps = {name: rule(network, x) for name, rule in rules.items()}
show.figure(
    show.overlay(
        [picture] * 4,
        [None, *maps.values()],
        ["the beetle", *maps],
        shared_scale=False,
        title="One network, one beetle, three rules for the ReLU",
    ),
    alt="A beetle and three maps: the gradient a speckle over the beetle, DeconvNet a regular texture over the whole picture, "
    "guided backpropagation clear strokes on the beetle.",
    caption="Each panel has a scale of its own, since only the gradient has a unit. Which one would you rather show to a client?",
)

# %% [markdown]
# The gradient says how the logit changes when a pixel changes a little. That is a true statement, and speckled. Two
# remedies are popular: multiply by the input, and average over noisy copies of the input (**SmoothGrad**).

# %%
from xai_course.relu import smooth_grad

smooth = {
    "gradient": gradient(network, x),
    "gradient × input": gradient_times_input(network, x),
    "SmoothGrad, noise 5 %": smooth_grad(network, x, noise=0.05, samples=32),
    "SmoothGrad, noise 15 %": smooth_grad(network, x, noise=0.15, samples=32),
}
show.figure(
    show.overlay(
        [picture] * 4,
        smooth.values(),
        list(smooth),
        shared_scale=False,
        title="Another amount of noise, another map; which is better, section 9 says",
    ),
    alt="Four maps over one beetle: gradient, gradient times input, and SmoothGrad with a little and with more noise.",
    caption="SmoothGrad: 32 noisy copies. 15 % of the picture's range is the middle of what its authors advise.",
)
with torch.no_grad():
    spread = 0.15 * (images.amax((1, 2, 3), True) - images.amin((1, 2, 3), True))
    noisy = images + spread * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    kept = (network(noisy).argmax(1) == says).float().mean()
print(f"with 15 % noise the network still says the same of {kept:.0%} of the beetles")

# %% [markdown]
# The last line is a warning: this network was trained without added noise, and copies that it no longer recognises are a
# strange thing to average over.

# %% [markdown]
# ## 6. Grad-CAM, moved through the network
#
# **Grad-CAM** goes back only as far as a layer: each channel's map is weighted by its mean gradient, and the maps are
# added. Which layer? Usually the last. Here it is at all seven ReLUs.

# %%
from xai_course.relu import grad_cam

moved = {name: grad_cam(network, x, layer=name) for name in opened}
show.figure(
    show.overlay(
        [picture] * 8,
        [None, *moved.values()],
        ["the beetle", *(name.replace(".branch.relu", ", inside") for name in opened)],
        shared_scale=False,
        title="Grad-CAM at every ReLU: the layer decides what one sees",
    ),
    alt="Seven Grad-CAM maps of one beetle, fine strokes in the first layers and broad blots in the last.",
    caption="From the first ReLU to the last, each on a scale of its own.",
)

# %% [markdown]
# One method, one network, one beetle, and seven different pictures. "The Grad-CAM of this image" is no complete
# sentence.

# %% [markdown]
# ## 7. Where it breaks: one picture for every class
#
# Back to the prediction. Here is the example once more. Why *longicornis*, why the runner-up, and why the class that
# the network thinks least likely?

# %%
last = logits.argmin(1)
asked = {"says": says, "runner-up": second, "least likely": last}
panels = {
    f"{name}\n{latin(names[classes[one]])}": rule(network, x, classes[one : one + 1])
    for name, rule in (("gradient", gradient), ("guided", guided_backprop))
    for classes in asked.values()
}
show.figure(
    show.overlay(
        [picture] * 6,
        panels.values(),
        list(panels),
        columns=3,
        shared_scale=False,
        title="Guided backpropagation draws the same beetle for three different classes",
    ),
    alt="Two rows of three maps. The gradients for three classes differ in their colours; the three guided maps look the same.",
)


# %%
def alike(first, second, size=False):
    """Correlation of two sets of maps (N, C, H, W), one number a scene; `size`: without sign."""
    rows = [m.abs().sum(1) if size else m for m in (first, second)]
    rows = [m.flatten(1) - m.flatten(1).mean(1, keepdim=True) for m in rows]
    return torch.nn.functional.cosine_similarity(*rows)


family = {
    "gradient": gradient,
    "gradient × input": gradient_times_input,
    "DeconvNet": deconvnet,
    "guided backprop.": guided_backprop,
    "Grad-CAM": grad_cam,
    "FullGrad": full_grad,
}
clean = {name: explain(network, images, says) for name, explain in family.items()}
runner_up = {name: explain(network, images, second) for name, explain in family.items()}


def elsewhere(maps):
    """The same method's map of another beetle of the same species: the null."""
    return maps.view(10, 20, *maps.shape[1:]).roll(1, 1).flatten(0, 1)


def words(values):
    """Mean and 95 % interval over scenes."""
    mean, low, high = mean_interval(values)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


print("correlation         said class and runner-up   null: another beetle   the classes, no sign")
for name, maps in clean.items():
    print(f"{name:17} {words(alike(maps, runner_up[name])):>26}", end="")
    print(f" {words(alike(maps, elsewhere(maps))):>23}", end="")
    print(f" {words(alike(maps, runner_up[name], size=True)):>23}")

# %% [markdown]
# Here is the answer to the prediction, in the rows *gradient* and *guided backprop.* A sharp picture is easily taken
# for a specific one, and then the guess goes wrong. The gradients of two classes have next to nothing in common. The
# guided pictures are nearly one and the same: ask "why this class?" and it answers "here is a beetle". (Without sign,
# in the last column, the gradients of two classes are alike as well: much the same places count, with other signs.
# Negative signs are what guided backpropagation drops at each ReLU.)
#
# Now look at the middle column of *DeconvNet*, the null. Its picture for one beetle is its picture for *another*.

# %%
three = range(one, one + 3)
show.figure(
    show.overlay(
        [beetles[i].image(64) for i in three],
        deconvnet(network, images[list(three)], int(says[one])),
        columns=3,
        unit="no unit",
        title="DeconvNet explains three beetles with one and the same map",
    ),
    alt="Three different beetles of one species, each under the same regular pattern.",
)
first, *others = deconvnet(network, images[list(three)], int(says[one]))
equal = all(torch.equal(first, each) for each in others)
print(f"equal in every bit: {equal}")

# %% [markdown]
# It had to be so. DeconvNet's rule does not look at the gates, and the gates are all that the image decides. In
# networks with max-pooling the places of the maxima still depend on the image; BeetleNet has none. The map that is
# drawn over your picture has never seen your picture.
#
# ### The same picture for another network
#
# A second test. Replace the trained weights by random ones, from the last layer down, and compare the maps with those
# of the trained network. A map that explains *what was learned* should change. (Without sign, "where is the ink",
# which favours no method.)

# %%
import copy

stages = ["head", "blocks.2", "blocks.1", "blocks.0", "stem"]
fading = {name: [(1.0, 1.0, 1.0)] for name in ("gradient", "guided backprop.", "Grad-CAM")}
scrambled = copy.deepcopy(network)
for stage in stages:
    torch.manual_seed(0)
    for module in scrambled.get_submodule(stage).modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    for name, found in fading.items():
        changed = family[name](scrambled, images, says)
        found.append(mean_interval(alike(clean[name], changed, size=True)))
show.figure(
    show.lines(
        {name: [mean for mean, _, _ in found] for name, found in fading.items()},
        range(6),
        bands={n: tuple(zip(*found, strict=True))[1:] for n, found in fading.items()},
        title="Guided backpropagation hardly notices that head and last block are random",
        x_label="layers that are random: none, head, + blocks.2, + blocks.1, + blocks.0, + stem",
        y_label="correlation with the trained map",
    ),
    alt="Lines over the number of random layers. The guided map stays close to the trained one until the first layers go.",
    caption="Mean of 200 beetles; the bands are 95 % intervals over beetles, for one draw of random weights.",
)
weights = [sum(w.numel() for w in network.get_submodule(stage).parameters()) for stage in stages]
print(f"head and blocks.2 hold {sum(weights[:2]) / sum(weights):.0%} of the weights")
for name, found in fading.items():
    null = alike(clean[name], elsewhere(clean[name]), size=True).mean()
    found = "  ".join(f"{mean:.2f} ({low:.2f}–{high:.2f})" for mean, low, high in found)
    print(f"{name:17} {found}   null {null:.2f}")

# %% [markdown]
# With head and last block random, the network knows nothing of species any more, and the guided map is still almost
# the old one. So far the warning in the literature is right. But it does not stay so to the end: once the *first*
# layers are random, the guided map changes as well. In this network it shows what the first layers respond to,
# filtered by where they do.

# %% [markdown]
# ## 8. Simple and cheap?
#
# Count it. Lines: code without comments and documentation, once alone, once with every function that it needs from
# this course. Passes: counted by hooks on the network while each method explains ten beetles.

# %%
import ast
import inspect
import textwrap

from xai_course.snippets import snippet


def lines_of_code(source):
    """Lines of a piece of Python without blank lines, comments, docstrings and imports."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return len(ast.unparse(tree).split("\n")) - ast.unparse(tree).split("\n").count("")


passes = {"forward": 0, "backward": 0}


def forward(module, inputs, output):
    passes["forward"] += len(output)


def backward(module, before, after):
    passes["backward"] += len(after[0])


ten, counted = images[::20], {}
with (
    network.head.register_forward_hook(forward),
    network.head.register_full_backward_hook(backward),
):
    print("                    lines of code     passes an image")
    print("                    alone  with all   forward  backward")
    for name, explain in (family | {"SmoothGrad": smooth_grad}).items():
        passes.update(forward=0, backward=0)
        explain(network, ten)
        alone, everything = (
            lines_of_code(inspect.getsource(explain)),
            lines_of_code(snippet(explain)),
        )
        there, back = (count / len(ten) for count in passes.values())
        print(f"{name:18} {alone:6} {everything:9} {there:9.0f} {back:9.0f}")

# %% [markdown]
# The rule itself is one line. What makes it long is everything a stranger's network may contain: a ReLU spelt in
# another way, one that works in place, an activation that is no ReLU. About half of the lines *with all* check arguments.

# %% [markdown]
# ## 9. Insensitive to noise?
#
# Add noise to the pixels, more and more, and follow two things: the logit of the class that the network said of the
# clean picture, and the correlation of each map with the map of the clean picture. An explanation that is insensitive
# keeps its map when the noise means nothing to the network, *and* when the noise means everything. One that follows
# the network keeps it in the first case and loses it in the second.

# %%
levels = [0.01, 0.02, 0.05, 0.1, 0.2]
pixels = stack_images(beetles)
noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
kept = {name: [] for name in ("gradient", "gradient × input", "guided backprop.", "Grad-CAM")}
kept["logit, share left"], right = [], []
own = logits.gather(1, says[:, None])[:, 0]
for level in levels:
    noisy = normalise((pixels + level * noise).clamp(0, 1))
    with torch.no_grad():
        now = network(noisy)
    kept["logit, share left"].append(mean_interval(now.gather(1, says[:, None])[:, 0] / own))
    right.append((now.argmax(1) == says).float().mean().item())
    for name in list(kept)[:4]:
        again = family[name](network, noisy, says)
        kept[name].append(mean_interval(alike(clean[name], again)))

# %%
show.figure(
    show.lines(
        {name: [max(mean, -0.2) for mean, _, _ in found] for name, found in kept.items()},
        levels,
        bands={
            name: ([max(low, -0.2) for _, low, _ in found], [max(high, -0.2) for *_, high in found])
            for name, found in kept.items()
        },
        title="The gradient changes long before the network notices; Grad-CAM waits",
        log_x=True,
        x_label="noise: standard deviation, as a share of the range from black to white",
        y_label="correlation (logit: share left)",
    ),
    alt="Five lines over the noise level. Gradient and gradient times input fall first, then guided backpropagation; "
    "the logit and Grad-CAM stay near 1 up to 5 per cent noise and fall steeply after it.",
    caption="Bands: 95 % over beetles. What falls below −0.2 is drawn there.",
)
print("noise              ", "".join(f"{level:.0%}".rjust(24) for level in levels))
print("says the same      ", "".join(f"{share:.0%}".rjust(24) for share in right))
for name, found in kept.items():
    print(f"{name:18}", "".join(f"{m:+.2f} ({a:+.2f} to {b:+.2f})".rjust(24) for m, a, b in found))

# %% [markdown]
# Read the column of 5 % noise. The network says the same of nearly every beetle, its logit hardly moves; the
# gradient's map has lost half of its correlation. The gradient is not insensitive to noise, it is *more* sensitive than the network. Grad-CAM
# keeps its map as long as the network keeps its answer, and loses it when the network does. Is that a virtue? The
# null in section 7 spoils it: Grad-CAM's maps of two *different* beetles correlate about as strongly as that of one
# beetle with and without ruinous noise. A map that is broad and in the middle is not easily disturbed.

# %% [markdown]
# ### And the answer key?
#
# The last question is the one that counts. Which parts matter is known: take each away and see (lesson 01). How well
# does each map rank the parts of a beetle? Sum the map over each part and compare the ranks with the key: 1 is the
# same order, 0 no relation. Two ways to sum (with sign, and the size alone), and two questions (the class it says,
# and the runner-up). Two nulls: a map of noise, and an **edge filter**, which knows the picture but no network.

# %%
from xai_course.judge import noise_map, part_effects, rank_agreement


def over_parts(relevance):
    """Relevance summed over each part (N, parts); NaN where a beetle has no such part."""
    inside = masks[some, :6]
    found = torch.einsum("nhw,nphw->np", relevance.sum(1), inside)
    return found.masked_fill(inside.sum((2, 3)) == 0, torch.nan)


some = slice(None, None, 2)  # every second beetle: SmoothGrad takes its time
few, x = beetles[some], images[some]
asked = {"says": says[some], "runner-up": second[some]}
keys = {name: part_effects(network, few, classes, parts=parts) for name, classes in asked.items()}
blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
candidates = {name: (clean[name][some], runner_up[name][some]) for name in family}
for noise in (0.05, 0.15):
    candidates[f"SmoothGrad {noise:.0%}"] = tuple(
        smooth_grad(network, x, classes, noise=noise, samples=8) for classes in asked.values()
    )
candidates["null: noise"] = (noise_map(network, x),) * 2
candidates["null: edges"] = ((x - blurred).abs(),) * 2

scores = {}
for name, pair in candidates.items():
    for (question, key), relevance in zip(keys.items(), pair, strict=True):
        for how, found in (("with sign", relevance), ("size", relevance.abs())):
            scores[name, f"{question}, {how}"] = rank_agreement(over_parts(found), key)

# %%
columns = list(dict.fromkeys(column for _, column in scores))
show.figure(
    show.matrix(
        [[scores[name, column].mean().item() for column in columns] for name in candidates],
        list(candidates),
        columns,
        title="Which map agrees with the answer key\ndepends on the question",
        label="rank correlation with the key",
    ),
    alt="A table of seven methods and two nulls, four columns: agreement for the said class and for the runner-up, with "
    "sign and by size.",
    caption="Mean over 100 beetles of Spearman's rank correlation over the parts that a beetle shows.",
)
for name in candidates:
    print(f"{name:17}", "   ".join(words(scores[name, column]) for column in columns))

# %% [markdown]
# Read it column by column.
#
# - *Says, with sign.* The best of the family is FullGrad, and the edge filter beats it: in this world the parts that
#   speak for a beetle's class tend to be the parts with strong edges. Without that null the score would look like an
#   achievement.
# - *Runner-up, with sign.* Now the edge filter has little to say, and FullGrad and Grad-CAM hold their ground. These
#   two answer the question that was asked. The signed gradient and guided backpropagation do not, or hardly.
# - *Size.* Guided backpropagation is the best of all, for both classes. So it is right about *where* the network
#   looks, and silent about *for which class*. That is no contradiction to section 7; it is the same fact seen from
#   the other side.
# - *SmoothGrad* is no better than the gradient that it smooths, and with the usual amount of noise worse. Networks
#   that were trained with noise may do better.

# %% [markdown]
# ## Exercises
#
# **1. The guided rule** (5 minutes, easy). `inputs` is what went into a ReLU on the way there, `grad` what comes back
# to its output, both of any shape. Return what guided backpropagation lets through.


# %% tags=["exercise"]
def guided(inputs, grad):
    """What guided backpropagation lets through one ReLU."""
    return ...


# %% tags=["solution"]
def guided(inputs, grad):
    """What guided backpropagation lets through one ReLU."""
    return grad * (inputs > 0) * (grad > 0)


# %%
from xai_course.exercises.lesson_03 import check_guided

check_guided(guided)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A comparison such as `inputs > 0` gives True and False; multiplied by a number, True counts 1 and False 0.
# </details>
#
# **2. The biases' share** (10 minutes, medium). Of N images you know the logit (N,), the gradient (N, C, H, W) and
# the image (N, C, H, W). Return the share of each logit that the biases add, without looking at a single bias.


# %% tags=["exercise"]
def bias_share(logit, gradient, images):
    """Share of each logit (N,) that the biases add."""
    return ...


# %% tags=["solution"]
def bias_share(logit, gradient, images):
    """Share of each logit (N,) that the biases add."""
    from_input = (gradient * images).sum((1, 2, 3))
    return (logit - from_input) / logit


# %%
from xai_course.exercises.lesson_03 import check_bias_share

check_bias_share(bias_share)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The identity of section 3 has three terms. Two of them you can compute; the third is what is left over. `sum((1, 2,
# 3))` adds up all but the first axis.
# </details>
#
# **3. Gates in common** (15 minutes, medium). `first` and `second` (N, K, H, W) are outputs of one ReLU for two sets
# of images. Return the share of gates (N,) that the n-th images of both sets have in common.


# %% tags=["exercise"]
def gates_in_common(first, second):
    """Share of gates (N,) that are in the same state in both."""
    return ...


# %% tags=["solution"]
def gates_in_common(first, second):
    """Share of gates (N,) that are in the same state in both."""
    return ((first > 0) == (second > 0)).float().mean((1, 2, 3))


# %%
from xai_course.exercises.lesson_03 import check_shared

check_shared(gates_in_common)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The output of a ReLU is above 0 exactly where its gate is open. Two gates agree if both are open or both are closed:
# compare True and False with `==`. What passes an open gate does not matter.
# </details>

# %% [markdown]
# ## Verdict
#
# | the article says | verdict | measured here |
# |---|---|---|
# | *principle*: local features | **confirmed** | In the stem and the first block every channel overlaps some part better than chance does, in the last block more than half of them (p < 0.05, corrected). The best overlap is 0.27, where the null gives 0.04. |
# | *strength*: simple | **depends** | The rule is one line; a function that is right for any network of ReLUs has about a hundred, with what it needs. |
# | *strength*: cheap | **confirmed** | One pass there and one back, for all but SmoothGrad (17 and 16). |
# | *limit*: insensitive to noise | **refuted** for the gradient, **confirmed** for Grad-CAM as long as the network keeps its answer | At 5 % noise the network says the same of 99 % of the beetles. The gradient's map correlates 0.50 (0.48 to 0.52) with the clean one, guided backpropagation's 0.83 (0.83 to 0.84), Grad-CAM's 0.97 (0.97 to 0.98). The nulls, another beetle's map: 0.02, 0.04 and 0.71. |
#
# **Is it an explanation?** Of the class, only some of it.
#
# - The logit is exactly the image's share plus the biases', and the biases add 65 % of it (57 to 73 %). Most pictures
#   leave that out.
# - FullGrad and Grad-CAM, with sign, agree with the answer key for both classes: 0.53 (0.45 to 0.60) and 0.42 (0.35 to
#   0.50) for the class it says, where noise has −0.01 and the edge filter 0.65; 0.56 (0.48 to 0.63) and 0.56 (0.47 to
#   0.64) for the runner-up, where noise has −0.01 and the edge filter 0.18.
# - Guided backpropagation shows where, not why. Its maps for two classes correlate 0.91 (0.89 to 0.92); those of two
#   beetles 0.04, and the gradient's for two classes 0.03.
# - DeconvNet, in this network, shows nothing of the image at all.
#
# All this is one network and one small world. What carries over is the habit: ask each map for another class, for
# another image and for a random network before you believe it.

# %% [markdown]
# ## Take it with you
#
# Guided backpropagation with everything that it needs. Pasted into an empty file, it runs on any PyTorch classifier
# with ReLUs, however they are spelt, and refuses one without. (Captum's version replaces ReLU *modules*; where a
# network calls `F.relu`, it returns the plain gradient, without a word.) Every function of this lesson can be taken
# along in this way.

# %%
from IPython.display import Code, display

source = snippet(guided_backprop)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty: dict = {"__name__": "pasted"}
exec(source, empty)
again = empty["guided_backprop"](network, images[:5])
print("the same map:", torch.equal(again, guided_backprop(network, images[:5])))

# %% [markdown]
# ## Quiz
#
# **1. Guided backpropagation draws the horn, sharp and clear. What do you know?**
#
# <details><summary>a) The network chose this class because of the horn.</summary>
#
# No. For the runner-up it draws the same. A map that does not change with the class cannot say why this class.
# </details>
# <details><summary>b) The network responds to the horn; for or against which class is open.</summary>
#
# Yes. In this world its size agrees well with which parts matter, for either class. The sign and the class need
# another map, or an experiment.
# </details>
# <details><summary>c) Nothing: such maps are edge filters.</summary>
#
# No. It does better than an edge filter here, and it changes when the first layers are random. It hardly changes when
# the last are.
# </details>
#
# **2. Gradient times input sums to −0.58, but the logit is 2.65. What happened?**
#
# <details><summary>a) There is an error in the code.</summary>
#
# It could be, but it need not. Compute the biases' share first: if all three fit, there is none.
# </details>
# <details><summary>b) The biases add the rest.</summary>
#
# Yes: 3.22 here. They pass through gates that the image opens, so they are not the same for every image.
# </details>
# <details><summary>c) The image speaks against the class.</summary>
#
# Not that simply. The image also opens the gates through which the biases pass. And zero, with which this map
# compares, is a mean colour and not "nothing".
# </details>
#
# **3. Your network uses GELU. A library draws its guided backpropagation without complaint. What now?**
#
# <details><summary>a) Use it. GELU is nearly a ReLU.</summary>
#
# No. A library that looks for ReLU modules finds none, and may have returned the plain gradient under another name.
# </details>
# <details><summary>b) Compare it with the plain gradient.</summary>
#
# Yes. If the two are equal, no rule was changed. The functions of this course refuse such a network, and say what to
# use instead.
# </details>
# <details><summary>c) Replace every GELU by a ReLU and explain that.</summary>
#
# No. That explains another network.
# </details>

# %% [markdown]
# ## References
#
# - K. Simonyan, A. Vedaldi, A. Zisserman, *Deep Inside Convolutional Networks*, 2014, arXiv:1312.6034: the gradient.
# - M. Zeiler, R. Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, arXiv:1311.2901:
#   DeconvNet.
# - J. Springenberg and others, *Striving for Simplicity*, 2015, arXiv:1412.6806: guided backpropagation.
# - D. Smilkov and others, *SmoothGrad: Removing Noise by Adding Noise*, 2017, arXiv:1706.03825.
# - R. Selvaraju and others, *Grad-CAM*, ICCV 2017, arXiv:1610.02391.
# - S. Srinivas, F. Fleuret, *Full-Gradient Representation for Neural Network Visualization*, NeurIPS 2019,
#   arXiv:1905.00780: the biases' share, and FullGrad.
# - D. Bau and others, *Network Dissection*, CVPR 2017, arXiv:1704.05796: what a channel detects, by intersection over
#   union.
# - J. Adebayo and others, *Sanity Checks for Saliency Maps*, NeurIPS 2018, arXiv:1810.03292: random weights, and the
#   edge filter as a null.
# - W. Nie, Y. Zhang, A. Patel, *A Theoretical Explanation for Perplexing Behaviors of Backpropagation-based
#   Visualizations*, ICML 2018, arXiv:1805.07039: why guided backpropagation and DeconvNet recover the image rather
#   than explain the class.
