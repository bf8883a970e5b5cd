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
# > logit into what the image adds and what the biases add, exactly; draw gradient, DeconvNet, guided backpropagation,
# > SmoothGrad and Grad-CAM, and say of each what it does not show.
# >
# > **You need** lesson 01 (scenes, masks, the answer key), and what a derivative is.
# >
# > **Time** 75 minutes with all exercises (30), of which the computer takes less than one.
# >
# > **For** everyone. *Engineers*: sections 3 and 5, and *Take it with you*. *Teachers*: the prediction and section 7
# > make a lesson of their own; the misconception to look for is "sharper, therefore more faithful". *Policy makers*:
# > the pictures, *Where it breaks* (section 7), and the verdict.

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
# Each of the three is tested here, for the whole family of methods that go through the ReLUs.

# %%
import torch

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, scenes, species_name, stack_images, stack_masks
from xai_course.core import mean_interval
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.storage import load_checkpoint

network, card = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
names = list(SPECIES)
beetles = [scene for name in names for scene in scenes("test", name, 20)]  # 20 of each species
images, masks = normalise(stack_images(beetles)), stack_masks(beetles)
species = torch.arange(10).repeat_interleave(20)
with torch.no_grad():
    logits = network(images)
says, second = logits.topk(2).indices.T
one = names.index("Ellipsa_longicornis") * 20  # the first longicornis of the test scenes
plots.figure(
    plots.gallery(
        [scene.image(128) for scene in beetles[::20]],
        [species_name(name) for name in names],
        title="The first of the twenty beetles of each species",
    ),
    alt="Ten beetles, one of each species, on different grounds.",
    caption="The numbers of this lesson are about 200 test scenes, twenty of each species, unless they say otherwise.",
)
print(f"BeetleNet is right on {(says == species).sum()} of {len(beetles)}")
print(
    f"the example: {species_name(names[says[one]])}, runner-up {species_name(names[second[one]])}"
)

# %% [markdown]
# ## Predict
#
# **Guided backpropagation** is known for clear, sharp pictures; the **gradient** you saw in lesson 00 is full of
# specks. Ask each of them twice about a beetle: why the class that the network *says*, and why the *runner-up*, the
# class with the second largest logit? Compare the two pictures by their correlation: 1 means the same picture but for
# its strength, 0 no relation, −1 the negative of each other.
#
# **What is the mean correlation over 200 beetles, for guided backpropagation and for the gradient?** Write two numbers
# down. Section 7 has the answer.

# %% [markdown]
# ## 1. What comes out of a layer
#
# BeetleNet has a stem and three residual blocks, and each of them ends in a ReLU. The output of a layer is a stack of
# maps, one a **channel**. Here are the first six channels of each, for one beetle, not chosen for their looks.

# %%
from xai_course.relu import activations

layers = ["stem", "blocks.0", "blocks.1", "blocks.2"]
outputs = activations(network, images[one : one + 1], layers)
panels, titles = [], []
for layer in layers:
    for channel, output in enumerate(outputs[layer][0, :6]):
        panels.append(output[None] / output.max().clamp_min(1e-9))
        titles.append(f"{layer}, {channel}")
plots.figure(
    plots.gallery(
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
# Call a channel *active* at its strongest 2 % of places over all scenes. Lay the active places over the mask of a
# part. **Intersection over union** (IoU) is the area in both, divided by the area in either: 1 for a perfect match, 0
# for none.
#
# Beetles sit near the middle, so some overlap comes for free. The **null** knows this: it exchanges the masks among
# the scenes, a thousand times. A channel that only fires in the middle of pictures does as well with another scene's
# masks. The **p-value** is the share of exchanges in which any channel of the layer stands out from the null as
# clearly, for any part: below 0.05, we say that the channel beats it.

# %%
from xai_course.relu import unit_report

parts = list(PARTS[:6])  # all but the museum label, which no scene here has
reports = {layer: unit_report(network, images, masks[:, :6], layer) for layer in layers}
best = {layer: report.iou.max(0) for layer, report in reports.items()}
table = torch.stack([best[layer].values for layer in layers])
plots.figure(
    plots.matrix(
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
print("channels of a layer that beat the null for some part (p < 0.05):")
for layer, report in reports.items():
    found, k = (report.p < 0.05).any(1).sum(), report.iou.argmax()
    chance = report.null.flatten()[k]
    print(
        f"{layer:9} {found:3} of {len(report.p)}; best IoU {report.iou.max():.2f}, null {chance:.2f}"
    )
area = masks[:, :6].mean((0, 2, 3))
most = torch.minimum(area, torch.tensor(0.02)) / torch.maximum(area, torch.tensor(0.02))
could = ", ".join(f"{part} {share:.2f}" for part, share in zip(parts, most, strict=True))
print(f"the best that 2 % of the places could do: {could}")

# %% [markdown]
# So the claim of *local features* has something to it: most channels overlap some part better than the null does. And
# the best overlap is far from 1. (Part of that is the yardstick: 2 % of the places cannot match a part that is larger
# or smaller. The last line says how far they could come.) Here are the best channels of one layer at work.

# %%
layer = "blocks.1"
report, panels, titles = reports[layer], [], []
for part in ("elytra", "pattern", "horn", "antennae"):
    k = int(report.iou[:, parts.index(part)].argmax())
    top = report.top[k]
    maps = activations(network, images[top], layer)[layer][:, k : k + 1]
    maps = torch.nn.functional.interpolate(maps, 64, mode="bilinear", align_corners=False)
    active = (maps > report.threshold[k]).float()
    panels += list(stack_images([beetles[i] for i in top]) * (0.3 + 0.7 * active))
    titles += [f"channel {k}: {part}"] + [""] * (len(top) - 1)
    found = ", ".join(f"{q} {iou:.2f}" for q, iou in zip(parts, report.iou[k], strict=True))
    print(f"channel {k}, IoU: {found}; null for {part} {report.null[k, parts.index(part)]:.2f}")
plots.figure(
    plots.gallery(
        panels, titles, title="The best channel for a part meets it, and other things too"
    ),
    alt="Four rows of five beetles. In each the places where one channel is active are bright, the rest is dark.",
    caption=f"{layer}: of each channel the five scenes with the largest output. Bright: active.",
)

# %% [markdown]
# A name like "the horn channel" is a summary with a remainder. A low p-value says that the overlap is no accident. It
# does not say that the network *uses* the channel that way: for that one would have to change it and see.

# %% [markdown]
# ## 3. Gates
#
# A ReLU is a **gate**: open where its input is above 0, closed elsewhere. Everything else in this network
# (convolution, batch normalisation, sum, mean) multiplies by fixed numbers and adds fixed numbers, the **biases**. So
# as long as no gate changes, the whole network is *one linear function* of the image plus a constant. The gradient holds the
# weights, and the constant is what the biases add:
#
# $$f(x) = \langle \text{gradient}, x\rangle + \sum_{\text{biases}} \langle \text{derivative at its place}, \text{bias}\rangle.$$
#
# ### The identity

# %% tags=["nbval-check-output"]
from xai_course.relu import local_linear

exact = local_linear(network.double(), images.double())
network.float()
total = exact.from_input + sum(exact.biases.values())
added = total - exact.from_input
print(f"the example: image {exact.from_input[one]:.3f}, biases {added[one]:.3f}")
print(f"together {total[one]:.3f}, logit {exact.logit[one]:.3f}")
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
plots.figure(
    plots.bars(
        middle,
        title="The biases add more of the logit than the image does",
        label="added to the logit of the class it says, mean of 200 beetles (95 % interval)",
    ),
    alt="Bars: what the image and the biases of each layer add to the logit. The biases of the last block add most, "
    "the image comes second.",
)
total, low, high = mean_interval(exact.logit)
share, *ends = mean_interval((exact.logit - exact.from_input) / exact.logit)
print(f"mean logit {total:.2f} ({low:.2f} to {high:.2f})")
print(f"share that the biases add: {share:.0%} ({ends[0]:.0%} to {ends[1]:.0%})")

# %% [markdown]
# The split depends on what counts as zero, here ImageNet's mean colour: with another normalisation the same network
# gives the same logit, and image and biases share it otherwise.
#
# **Gradient times input** is a popular map. Its sum is the first bar, and only that. What the biases add passes
# through gates that *the image* opens, so it says something about the image, too. **FullGrad** keeps it: each bias
# stands at the places where it is added, enlarged to the picture's size with its sum kept.

# %%
from xai_course.relu import full_grad, gradient_times_input

x, picture = images[one : one + 1], beetles[one].image(64)
from_image, whole = full_grad(network, x, only="input"), full_grad(network, x)
maps = {"from the image": from_image, "from the biases": whole - from_image, "together": whole}
squares = [
    torch.nn.functional.avg_pool2d(m, 8, divisor_override=1).kron(torch.ones(8, 8))
    for m in maps.values()
]
titles = [f"{name}: {m.sum():+.2f}".replace("-", "−") for name, m in maps.items()]
plots.figure(
    plots.overlay(
        [picture] * 4,
        [None, *squares],
        ["the beetle", *titles],
        title=f"FullGrad: image and biases together are the logit, {logits[one].max():.2f}",
        quantile=1.0,
    ),
    alt="A beetle, and three maps over it: gradient times input, the biases' map, and their sum.",
    caption="Each square is the sum of 8 × 8 pixels; the number above a map is its sum, in logits, rounded.",
)

# %% [markdown]
# As published, FullGrad drops the sign of these maps and rescales each; here sign and sum are kept, so that the books
# still balance.

# %% [markdown]
# ## 4. Who opens the same gates
#
# The gates decide which linear function the image meets: two images with the same gates meet the same one. What share
# of their gates do two beetles have in common? If species made no difference, it would be as much as for any two
# beetles. That is the null.

# %%
from xai_course.relu import dead_relus, mask_agreement, relu_masks

opened = relu_masks(network, images, batch_size=50)
same = (species[:, None] == species).double().fill_diagonal_(0)
any_two = 1 - torch.eye(len(species)).double()
pairs = {"same species": same, "other species": any_two - same, "any two": any_two}
common = {
    name: [mean_interval((s * them).sum(1) / them.sum(1)) for s in mask_agreement(opened).values()]
    for name, them in pairs.items()
}


# %%
plots.figure(
    plots.lines(
        common,
        range(1, len(opened) + 1),
        title="The later a gate, the more it knows of the species",
        x_label="ReLU, from the first to the last",
        y_label="share of gates in common",
    ),
    alt="Three lines over seven ReLUs. They lie on each other at first; at the last ReLU beetles of one species share "
    "clearly more gates than beetles of different species.",
)
dead = sum(int(channels.sum()) for channels in dead_relus(network, images, batch_size=50).values())
print("same species:", " ".join(f"{share:.3f}" for share, _, _ in common["same species"]))
print("any two:     ", " ".join(f"{share:.3f}" for share, _, _ in common["any two"]))
print(f"channels that never open: {dead}")

# %% [markdown]
# In the first layers, two beetles of one species share hardly more gates than any two: what opens there depends on
# other things than the species. At the last ReLU the difference is large. (And no channel is **dead**, closed at every
# place of all these pictures.)

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
# | DeconvNet | `grad.clamp(min=0)` |
# | guided backpropagation | `grad.clamp(min=0) * is_open` |
#
# (`clamp(min=0)` keeps what is positive and makes the rest 0.) The three on one ReLU, in the four cases there are:

# %%
from xai_course.relu import deconvnet, gradient, guided_backprop, relu_rule

tiny = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 1, bias=False))
tiny[2].weight.data = torch.tensor([[2.0, -2.0, 2.0, -2.0]])  # what comes back to the four units
inputs = torch.tensor([1.0, 1.0, -1.0, -1.0]).view(1, 1, 1, 4)  # two open gates, two closed
rules = {"gradient": gradient, "DeconvNet": deconvnet, "guided backprop.": guided_backprop}
through = [(rule(tiny.eval(), inputs).flatten() + 0.0).tolist() for rule in rules.values()]
plots.figure(
    plots.matrix(
        through,
        list(rules),
        ["open, +2", "open, −2", "closed, +2", "closed, −2"],
        fmt="{:.0f}",
        title="Guided backpropagation lets through\nonly what both others let through",
        label="what goes on",
    ),
    caption="The columns: the gate on the way there, and the number that comes back. Cells: what goes on.",
    alt="A table of three rules and four cases. Gradient: +2, −2, 0, 0. DeconvNet: +2, 0, +2, 0. Guided: +2, 0, 0, 0.",
)

# %% [markdown]
# `relu_rule` gives every ReLU of a network another rule, without touching the network. With the rule that ReLUs have
# anyway nothing changes; with the other two, the picture does.

# %%
with relu_rule(lambda is_open, grad: grad * is_open) as seen:
    as_it_was = gradient(network, x)
print(f"{len(seen)} ReLUs seen; same map: {torch.equal(as_it_was, gradient(network, x))}")
maps = {name: rule(network, x) for name, rule in rules.items()}
plots.figure(
    plots.overlay(
        [picture] * 4,
        [None, *maps.values()],
        ["the beetle", *maps],
        shared_scale=False,
        title="Another rule for the ReLU, another picture of the same beetle",
    ),
    alt="A beetle and three maps: the gradient a speckle over the beetle, DeconvNet a regular texture over the whole picture, "
    "guided backpropagation clear strokes on the beetle.",
    caption="Each panel has its own scale: only the gradient has a unit. Which would you show to a client?",
)

# %% [markdown]
# The gradient says how the logit changes when a pixel changes a little. That is true, and speckled. Two remedies are
# popular: multiply by the input, and average the gradient over noisy copies of the input (**SmoothGrad**).

# %%
from xai_course.relu import smooth_grad

smooth = {
    "gradient": gradient(network, x),
    "gradient × input": gradient_times_input(network, x),
    "SmoothGrad, noise 5 %": smooth_grad(network, x, noise=0.05, samples=32),
    "SmoothGrad, noise 15 %": smooth_grad(network, x, noise=0.15, samples=32),
}
plots.figure(
    plots.overlay(
        [picture] * 4,
        smooth.values(),
        list(smooth),
        shared_scale=False,
        title="Two remedies for specks; another amount of noise is another map",
    ),
    alt="Four maps over one beetle: gradient, gradient times input, and SmoothGrad with a little and with more noise.",
    caption="SmoothGrad: 32 noisy copies. Its authors advise noise of 10 to 20 % of the picture's range.",
)
# %% [markdown]
# Do the remedies help? Section 9 says.

# %% [markdown]
# ## 6. Grad-CAM, moved through the network
#
# **Grad-CAM** goes back only as far as a layer: each channel's map is weighted by its mean gradient, and the maps are
# added. Which layer? Usually the last. Here it is at all seven ReLUs.

# %%
from xai_course.relu import grad_cam

moved = {name: grad_cam(network, x, layer=name) for name in opened}
plots.figure(
    plots.overlay(
        [picture] * 8,
        [None, *moved.values()],
        ["the beetle", *(name.replace(".branch.relu", ", inside") for name in opened)],
        shared_scale=False,
        title="Grad-CAM at every ReLU: the layer decides what one sees",
    ),
    alt="Seven Grad-CAM maps of one beetle, fine strokes in the first layers and broad blots in the last.",
    caption="From the first ReLU to the last, each on its own scale. *Inside*: the ReLU in a block's branch.",
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
def alike(first, second, size=False):
    """Correlation of two sets of maps (N, C, H, W), one number a scene; `size`: without sign."""
    rows = [m.abs().sum(1) if size else m for m in (first, second)]
    rows = [m.flatten(1) - m.flatten(1).mean(1, keepdim=True) for m in rows]
    return torch.nn.functional.cosine_similarity(*rows)


asked = {"says": says, "runner-up": second, "least likely": logits.argmin(1)}
panels = {
    f"{name}, {question}\n{species_name(names[classes[one]])}": rule(
        network, x, classes[one : one + 1]
    )
    for name, rule in (("gradient", gradient), ("guided", guided_backprop))
    for question, classes in asked.items()
}
plots.figure(
    plots.overlay(
        [picture] * 6,
        panels.values(),
        list(panels),
        columns=3,
        shared_scale=False,
        title="Guided backpropagation draws the same beetle for three different classes",
    ),
    alt="Two rows of three maps. The gradients for three classes differ in their colours; the three guided maps look "
    "alike.",
)
first, *others = list(panels.values())[3:]
found = ", ".join(f"{alike(first, other).item():.2f}" for other in others)
print(f"this beetle: correlation of the first guided map with the second and the third: {found}")

# %% [markdown]
# Now for all beetles and the whole family. The null: how much does a method's map resemble its map of *another* beetle
# of the same species?

# %%
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
another = {name: m.unflatten(0, (10, 20)).roll(1, 1).flatten(0, 1) for name, m in clean.items()}


def words(values):
    """Mean and 95 % interval over scenes."""
    mean, low, high = mean_interval(values)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})".rjust(24)


print("correlation       said class and runner-up    null: another beetle   the classes, no sign")
for name, maps in clean.items():
    classes, size = alike(maps, runner_up[name]), alike(maps, runner_up[name], size=True)
    print(f"{name:17}", words(classes), words(alike(maps, another[name])), words(size))

# %% [markdown]
# Here is the answer to the prediction, in the rows *gradient* and *guided backprop.* A sharp picture is easily taken
# for a specific one, and then the guess goes wrong. The gradients of two classes have next to nothing in common. The
# guided pictures are nearly one and the same: ask "why this class?" and it answers "here is a beetle". (In the last
# column the gradients of two classes are alike as well: much the same places count, with other signs. Guided
# backpropagation drops the negative ones at each ReLU.)
#
# Now look at *DeconvNet*, the null. Its picture for one beetle is its picture for *another*.

# %%
three = range(one, one + 3)
plots.figure(
    plots.overlay(
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
# It had to be so. DeconvNet's rule does not look at the gates, and in this network the way back knows the image by its
# gates alone. (Max-pooling would tell it more, where the largest values were; BeetleNet has none.) Here, the map that
# is drawn over your picture has never seen your picture.
#
# ### The same picture for another network
#
# A second test. Replace the trained weights by random ones, from the last layer down, and compare the maps (without
# sign) with those of the trained network. A map that explains *what was learned* should change.

# %%
import copy

stages = ["head", "blocks.2", "blocks.1", "blocks.0", "stem"]
fading = {name: [(1.0, 1.0, 1.0)] for name in ("gradient", "guided backprop.", "Grad-CAM")}
scrambled, correct = copy.deepcopy(network), [(says == species).double().mean()]
for stage in stages:
    torch.manual_seed(0)
    for module in scrambled.get_submodule(stage).modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    with torch.no_grad():
        correct.append((scrambled(images).argmax(1) == species).double().mean())
    for name, found in fading.items():
        changed = family[name](scrambled, images, says)
        found.append(mean_interval(alike(clean[name], changed, size=True)))

# %%
plots.figure(
    plots.lines(
        fading,
        range(6),
        title="Guided backpropagation hardly notices that head and last block are random",
        x_label="layers that are random: none, head, + blocks.2, + blocks.1, + blocks.0, + stem",
        y_label="correlation with the trained map",
    ),
    alt="Lines over the number of random layers. The guided map stays close to the trained one while head and last "
    "block are random, and falls with the first layers; gradient and Grad-CAM fall at once.",
    caption="Mean of 200 beetles; the bands are 95 % intervals over beetles, for one draw of random weights.",
)
print(
    "random           ", "".join(name.rjust(18) for name in ("none", *stages)), "   another beetle"
)
print("right            ", "".join(f"{share:.0%}".rjust(18) for share in correct))
for name, found in fading.items():
    cells = "".join(f"{mean:.2f} ({low:.2f}–{high:.2f})".rjust(18) for mean, low, high in found)
    print(f"{name:17}", cells, f"{alike(clean[name], another[name], size=True).mean():11.2f}")

# %% [markdown]
# With head and last block random, the network is right no more often than chance, and the guided map is still almost
# the old one. This is what the literature warns of (Adebayo and others). Once the *first* layers are random, it falls
# below the last column, the likeness to another beetle's map: it does depend on weights, on those near the image.

# %% [markdown]
# ## 8. Simple and cheap?
#
# Count it. Lines: code without blank lines, comments and documentation, once the function alone, once with all that
# it needs from this course. Passes: counted at the network's last layer while each method explains ten beetles.

# %%
import inspect
import re

from xai_course.snippets import snippet


def count(source):
    """Lines of code, without blank lines, comments and docstrings."""
    source = re.sub(r'""".*?"""', "", source, flags=re.DOTALL)
    return sum(not line.strip().startswith("#") for line in source.split("\n") if line.strip())


there, back = [], []  # images in each pass
hooks = [
    network.head.register_forward_hook(lambda _head, _in, out: there.append(len(out))),
    network.head.register_full_backward_hook(lambda _head, _in, out: back.append(len(out[0]))),
]
print("                    lines of code     passes per image")
print("                    alone  with all   forward  backward")
for name, explain in (family | {"SmoothGrad": smooth_grad}).items():
    there.clear(), back.clear()
    explain(network, images[::20])
    lines = f"{count(inspect.getsource(explain)):6} {count(snippet(explain)):9}"
    print(f"{name:18} {lines} {sum(there) / 10:9.0f} {sum(back) / 10:9.0f}")
for hook in hooks:
    hook.remove()

# %% [markdown]
# The rule itself is one line. What makes it long is everything a stranger's network may contain: a ReLU spelt in
# another way, one that works in place, an activation that is no ReLU.

# %% [markdown]
# ## 9. Insensitive to noise?
#
# Add noise to the pixels, more and more, and follow two things: how often the network keeps its answer, and how each
# map correlates with the map of the clean picture. An explanation that is insensitive keeps its map when the noise
# means nothing to the network, *and* when it costs the answer. One that follows the network loses it in the second
# case.

# %%
levels = [0.01, 0.02, 0.05, 0.1, 0.2]
pixels = stack_images(beetles)
noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
kept = {name: [] for name in ("gradient", "gradient × input", "guided backprop.", "Grad-CAM")}
kept["answer: share that stays"] = []
for level in levels:
    noisy = normalise((pixels + level * noise).clamp(0, 1))
    with torch.no_grad():
        stays = network(noisy).argmax(1) == says
    for name, found in kept.items():
        score = alike(clean[name], family[name](network, noisy, says)) if name in family else stays
        found.append(mean_interval(score))

# %%
plots.figure(
    plots.lines(
        kept,
        levels,
        title="The gradient's map changes long before the answer, Grad-CAM's with it",
        log_x=True,
        x_label="noise: standard deviation, as a share of the range from black to white",
        y_label="correlation with the clean map",
    ),
    alt="Five lines over the noise level. Gradient and gradient times input fall first, then guided backpropagation; "
    "the answer and Grad-CAM stay near 1 up to 5 per cent noise and fall steeply after it.",
    caption="*Answer*: the share of beetles of which the network still says the same. Bands: 95 % over beetles.",
)
print("noise                     ", "".join(f"{level:.0%}".rjust(24) for level in levels))
for name, found in kept.items():
    cells = "".join(
        f"{mean:+.2f} ({low:+.2f} to {high:+.2f})".rjust(24) for mean, low, high in found
    )
    print(f"{name:26}", cells)

# %% [markdown]
# Read the column of 5 % noise. The network says the same of nearly every beetle, and the gradient's map has lost half
# of its correlation. The gradient is not insensitive to noise, it is *more* sensitive than the network. Grad-CAM's map
# stays as long as the answer stays, and goes with it. Is that a virtue? The null in section 7 spoils it: Grad-CAM's
# maps of two *different* beetles of a species are more alike than its maps of one beetle before and after noise that
# costs most of the answers (10 %). Much of a Grad-CAM map is the same for every beetle of the species.

# %% [markdown]
# ### And the answer key?
#
# The last question is the one that counts. Which parts matter is known: take each away and see (lesson 01). Sum a map
# over each part, and compare the ranks of the parts with the key: 1 is the same order, 0 no relation. For two
# questions, the class it says and the runner-up, and in two ways: *with sign* (what speaks for the class?), and *size*
# (what matters, for or against?), which drops the sign of map and key. Two nulls: a map of noise, and an **edge
# filter**, which knows the picture but no network.

# %%
from xai_course.beetlebox import ground_truth_effects, spearman_with_truth
from xai_course.metrics import noise_map


def over_parts(relevance):
    """Relevance summed over each part (N, parts); NaN where a beetle has no such part."""
    found = torch.einsum("nhw,nphw->np", relevance.sum(1), inside)
    return found.masked_fill(inside.sum((2, 3)) == 0, torch.nan)


some = slice(None, None, 2)  # every second beetle: SmoothGrad takes its time
few, x, inside = beetles[some], images[some], masks[some, :6]
questions = {"says": says[some], "runner-up": second[some]}
keys = [ground_truth_effects(network, few, classes, parts=parts) for classes in questions.values()]
candidates = {name: [clean[name][some], runner_up[name][some]] for name in family}
for noise in (0.05, 0.15):
    candidates[f"SmoothGrad {noise:.0%}"] = [
        smooth_grad(network, x, classes, noise=noise) for classes in questions.values()
    ]
blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
candidates["null: noise"] = [noise_map(network, x)] * 2
candidates["null: edges"] = [(x - blurred).abs()] * 2

# %%
scores = {}
for name, maps in candidates.items():
    for question, key, relevance in zip(questions, keys, maps, strict=True):
        signed, size = over_parts(relevance), over_parts(relevance.abs())
        scores[name, f"{question}, with sign"] = spearman_with_truth(signed, key)
        scores[name, f"{question}, size"] = spearman_with_truth(size, key.abs())
columns = list(dict.fromkeys(column for _, column in scores))
plots.figure(
    plots.matrix(
        [[scores[name, column].mean().item() for column in columns] for name in candidates],
        list(candidates),
        columns,
        title="Which map agrees with the answer key\ndepends on the question",
        label="rank correlation with the key",
    ),
    alt="A table of eight maps and two nulls, four columns: agreement for the said class and for the runner-up, with "
    "sign and by size. Guided backpropagation leads by size; for the runner-up with sign, Grad-CAM and FullGrad lead.",
    caption="Mean over 100 beetles of Spearman's rank correlation over the parts that a beetle shows.",
)
print(" " * 17, "".join(column.rjust(25) for column in columns))
for name in candidates:
    print(f"{name:17}", " ".join(words(scores[name, column]) for column in columns))

# %% [markdown]
# Read it column by column.
#
# - *Says, with sign.* The best of the family is FullGrad, and the edge filter beats it: in this world the parts that
#   speak for a beetle's class tend to be the parts with many edges. Without that null the score would look like an
#   achievement.
# - *Runner-up, with sign.* Now the edge filter has little to say, and FullGrad and Grad-CAM hold their ground: they
#   answer the question that was asked. Gradient times input does so less well, guided backpropagation no better than
#   the edge filter. (The gradient's sign tells brighter from darker, not for from against.)
# - *Size.* Guided backpropagation is the best of all, for both classes. So it says *where* something matters, and
#   hardly *for which class*. That is no contradiction to section 7; it is the same fact seen from the other side.
#   (Noise scores above 0 here: a large part collects more of it.)
# - *SmoothGrad* is nowhere clearly better than the gradient that it smooths, and by size it is worse, the more so the
#   more noise. It averages over noisy copies, and this network was trained without added noise: at 10 %, the table
#   above says, most of its answers are lost.

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
# | *principle*: local features | **confirmed**, as a tendency | In the stem and the first block every channel overlaps some part better than chance does, in the last block more than half of them (p < 0.05, corrected for all channels and parts of a layer). The best overlap (IoU) is 0.27, where the null gives 0.04. |
# | *strength*: simple | **depends** | The rule is one line; a function that finds the ReLUs of other people's networks, with all that it needs, has more than a hundred. |
# | *strength*: cheap | **confirmed** | One pass there and one back, for all but SmoothGrad (17 and 16). |
# | *limit*: insensitive to noise | **refuted** for the gradient; **confirmed** for Grad-CAM, as long as the network keeps its answer | At 5 % noise the network says the same of 0.98 (0.96 to 1.00) of the beetles. The gradient's map correlates 0.50 (0.48 to 0.52) with the clean one, guided backpropagation's 0.83 (0.83 to 0.84), Grad-CAM's 0.97 (0.97 to 0.98). The nulls, the map of another beetle of the species: 0.02, 0.04 and 0.71. |
#
# **Is it an explanation?** Of the class, only some of it. (In brackets, 95 % intervals over beetles.)
#
# - The logit is exactly the image's share plus the biases'. With zero at ImageNet's mean colour the biases add 65 %
#   of it (57 to 73 %). Gradient times input leaves that out.
# - For the *runner-up*, FullGrad and Grad-CAM, with sign, agree with the answer key (100 beetles): 0.56 (0.48 to
#   0.63) and 0.56 (0.47 to 0.64), where the edge filter has 0.18 (0.07 to 0.30). For the class it *says* they have 0.53 (0.45 to
#   0.60) and 0.42 (0.35 to 0.50), and the edge filter, which knows no network, 0.65 (0.61 to 0.69).
# - Guided backpropagation shows where, hardly why. By size it agrees best with the key, 0.81 (0.78 to 0.84) for the
#   said class; the edge filter has 0.62 (0.57 to 0.66). But its maps for two classes correlate 0.91 (0.89 to 0.92).
#   The gradient's do so by 0.03 (−0.02 to 0.08), guided maps of two beetles by 0.04 (0.03 to 0.05).
# - DeconvNet, in this network, shows nothing of the image at all.
#
# All this is one network and one small world. What carries over is the habit: ask each map for another class, for
# another image and for a random network before you believe it.

# %% [markdown]
# ## Take it with you
#
# Guided backpropagation alone. Pasted into an empty file, it runs on PyTorch classifiers with ReLUs, called as module,
# function or method. For a project take `snippet(guided_backprop)`: it knows every spelling of a ReLU, checks its arguments,
# and refuses a network without ReLUs, or with another activation. (Captum's
# version changes ReLU *modules*. Where a network calls `F.relu`, it returns the plain gradient; its documentation says
# so, its output does not.) Every function of this lesson can be taken along in this way.

# %%
from IPython.display import Code, display

source = snippet(guided_backprop, checks=False)
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
# <details><summary>a) The network responds to the horn; for or against which class is open.</summary>
#
# Yes. In this world its size agrees with which parts matter, better than any other map of section 9. For or against,
# and for which class, needs another map, or an experiment.
# </details>
# <details><summary>b) The network chose this class because of the horn.</summary>
#
# No. For the runner-up it draws the same. A map that does not change with the class cannot say why this class.
# </details>
# <details><summary>c) Nothing: such maps are edge filters.</summary>
#
# No. By size it agrees better with the key than an edge filter does, and it changes when the first layers are random.
# It hardly changes when the last are.
# </details>
#
# **2. Gradient times input sums to −0.58, but the logit is 2.65. What happened?**
#
# <details><summary>a) There is an error in the code.</summary>
#
# It could be, but it need not. Compute what the biases add first: if it is the difference, the sum is right.
# </details>
# <details><summary>b) The image speaks against the class.</summary>
#
# Not that simply. The image also opens the gates through which the biases pass. And zero, with which this map
# compares, is a mean colour and not "nothing".
# </details>
# <details><summary>c) The biases add the rest.</summary>
#
# Yes: 3.22 here. They pass through gates that the image opens, so they are not the same for every image.
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
# - A. Shrikumar and others, *Not Just a Black Box*, 2016, arXiv:1605.01713: gradient times input.
# - W. Nie, Y. Zhang, A. Patel, *A Theoretical Explanation for Perplexing Behaviors of Backpropagation-based
#   Visualizations*, ICML 2018, arXiv:1805.07039: why guided backpropagation and DeconvNet recover the image rather
#   than explain the class.
