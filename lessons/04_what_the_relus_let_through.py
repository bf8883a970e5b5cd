# ---
# jupyter:
#   course:
#     question: "Which part of the picture gets through the ReLUs, and is that an explanation?"
# ---

# %% [markdown]
# # What the ReLUs let through
#
# > **You will be able to** look into a layer and say what a channel responds to, with a number and two nulls; split a
# > logit exactly into what the image adds and what the biases add; draw gradient, DeconvNet, guided backpropagation
# > and Grad-CAM; read each map in several ways, and say which statements hold in all of them.
# >
# > **You need** lesson 01 (scenes, masks, the answer key), and what a derivative is.
# >
# > **Time** {minutes}. The computer needs less than a minute.
# >
# > **For** everyone. *Engineers*: sections 3 and 5, and *Take it with you*. *Teachers*: the prediction and section 7
# > make a lesson of their own; the misconception is "sharper, therefore more faithful". *Policy makers*: the pictures,
# > *Where it breaks* (section 7), and the verdict.

# %% [markdown]
# ## The claim
#
# The article's first technique reads the outputs of the **ReLUs**. A ReLU passes positive numbers on and replaces
# negative ones by 0. The article's table says of this technique:
#
# - *principle*: it shows **local features**;
# - *strength*: it is **simple** and **cheap**;
# - *limit*: it is **insensitive to noise** in the input.
#
# We test all three, for the whole family of methods that go through the ReLUs.

# %%
import torch
from IPython.display import Code, Markdown, display

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, scenes, species_name, stack_images, stack_masks
from xai_course.core import interval_text, mean_interval, seed_interval
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.storage import load_checkpoint

folder, names = data_folder() / "checkpoints", list(SPECIES)
network, card = load_checkpoint(folder / "beetle_net")
seeds = [load_checkpoint(folder / "beetle_net_seeds" / f"seed_{k}")[0] for k in range(1, 5)]
five = [network, *seeds]  # five networks, trained alike but for the seed
beetles = [scene for name in names for scene in scenes("test", name, 10)]  # 10 of each species
pixels = stack_images(beetles)
images, masks = normalise(pixels), stack_masks(beetles)
species = torch.arange(10).repeat_interleave(10)
with torch.no_grad():
    logits = network(images)
says, second = logits.topk(2).indices.T
one = names.index("Ellipsa_longicornis") * 10  # the first longicornis of the test scenes

# %%
plots.figure(
    plots.gallery(
        [scene.image(128) for scene in beetles[::10]],
        [species_name(name) for name in names],
        title="The first of the ten beetles of each species",
    ),
    alt="Ten beetles, one of each species, on grounds such as leaves, moss, sand and bark.",
    caption="Sections 1 to 4 use 100 test scenes, ten of each species. From section 7 on, five networks explain half of them.",
)
print(f"BeetleNet is right on {(says == species).sum()} of {len(beetles)}")
print(
    f"the example: {species_name(names[says[one]])}, runner-up {species_name(names[second[one]])}"
)

# %% [markdown]
# ## Predict
#
# **Guided backpropagation** is known for clear, sharp pictures. The **gradient** you saw in lesson 00 is full of
# specks. Ask each of them twice about a beetle: why the class that the network *says*, and why the *runner-up*, the
# class with the second largest logit? Compare the two pictures by their correlation: 1 for the same picture, stronger
# or weaker; 0 for no relation; −1 for a picture and its negative.
#
# **What is the mean correlation, over fifty beetles and five networks, for guided backpropagation and for the
# gradient?** Write down two numbers. Section 7 has the answer.

# %% [markdown]
# ## 1. What comes out of a layer
#
# BeetleNet has a stem and three residual blocks, and each of them ends in a ReLU. The output of a layer is a stack of
# maps; each is called a **channel**. Here are the first six channels of each layer, for one beetle.

# %%
from xai_course.relu import activations

layers = ["stem", "blocks.0", "blocks.1", "blocks.2"]
outputs = activations(network, images[one : one + 1], layers)
panels, titles = [], []
for layer in layers:
    for channel, output in enumerate(outputs[layer][0, :6]):
        panels.append(output[None] / output.max().clamp_min(1e-9))
        titles.append(f"{layer}, {channel}")

# %%
plots.figure(
    plots.gallery(
        panels,
        titles,
        columns=6,
        title="Early layers show strokes and edges, the last one a few blots",
    ),
    alt="Four rows of six grey maps of one beetle. The two upper rows, of 32 × 32 pixels, show strokes of horn, antennae and "
    "outline; the third, of 16 × 16, some spots on the beetle; the last, of 8 × 8, one or two broad blots in each map.",
    caption="White: the channel's largest value in this picture. Black: 0, the ReLU let nothing through.",
)
for layer, output in outputs.items():
    print(f"{layer:9} {output.shape[1]} channels of {output.shape[2]} × {output.shape[3]} places")

# %% [markdown]
# We see outlines, a bright back, antennae. Does a channel respond to antennae, or do we see antennae
# because we look for them? With masks we can count.

# %% [markdown]
# ## 2. What a channel detects
#
# Call a channel *active* at its strongest 2 % of places over all scenes. Compare the active places with the mask of a
# part. **Intersection over union** (IoU) is the area in both, divided by the area in either: 1 for a perfect match, 0
# for none.
#
# There are two nulls. The first exchanges the masks among the scenes, two hundred times. A channel that only responds
# to the middle, where beetles sit, does as well with another scene's masks. The **p-value** is the share of exchanges
# in which any channel of the layer stands out as clearly, for any part. Below 0.05, we say that the channel beats this
# null. The second null is stronger: the same network **untrained**, with random weights. What its channels find, they
# have not learnt.

# %%
from xai_course.metrics import reinitialised
from xai_course.relu import unit_report

parts = list(PARTS[:6])  # all but the museum label, which no scene here has
untrained = reinitialised(network, images, seed=0)
reports = {
    (layer, kind): unit_report(model, images, masks[:, :6], layer, permutations=200)
    for kind, model in (("trained", network), ("untrained", untrained))
    for layer in layers
}

# %%
plots.figure(
    plots.matrix(
        [report.iou.max(0).values.tolist() for report in reports.values()],
        [f"{kind}, {layer}" for layer, kind in reports],
        parts,
        signed=False,
        label="IoU",
        title="Training raises the best overlap,\nmost for horn and antennae",
    ),
    alt="A table of overlaps: four trained layers above, the same four untrained below, by six parts. Trained, horn and "
    "antennae reach 0.25 and 0.24 in blocks.1, where untrained they have 0.07 and 0.05. Legs have 0.04 at most anywhere.",
    caption="For each layer and part, the IoU of that layer's best channel.",
)

# %%
print("channels that beat exchanged masks (p < 0.05), and the best IoU of a layer")
total = {"trained": 0, "untrained": 0}
for (layer, kind), report in reports.items():
    found, k = (report.p < 0.05).any(1).sum(), report.iou.argmax()
    total[kind] += found
    print(
        f"{layer:9} {kind:10} {found:3} of {len(report.p)}; best IoU {report.iou.max():.2f}, "
        f"exchanged masks {report.null.flatten()[k]:.2f}"
    )
print(f"of 128 channels: trained {total['trained']}, untrained {total['untrained']}")
area = masks[:, :6].mean((0, 2, 3))
most = torch.minimum(area, torch.tensor(0.02)) / torch.maximum(area, torch.tensor(0.02))
could = ", ".join(f"{part} {share:.2f}" for part, share in zip(parts, most, strict=True))
print(f"the best IoU that 2 % of the places could reach:\n{could}")

# %% [markdown]
# Most channels overlap some part better than exchanged masks do. **So do many channels that have learnt nothing**: a
# random filter responds to edges, and beetles have edges. So the count shows that a ReLU's output is local. It does not
# show that parts were learnt.
#
# What training changes is the *best* overlap. Is that so in other networks, too? Two more nulls know no network. One
# takes the picture's colours and edges as channels. The other is one channel written by hand: how unlike the border's
# colour a place is, times how bright, times how far from the centre.

# %%
from xai_course.metrics import bright_edge_map, edge_map

some = slice(None, None, 2)  # five of each species
fifty, where = images[some], masks[some, :6]


def best_overlap(maps):
    """The largest IoU of any of these channels (50, K, h, w) with any part."""
    threshold = maps.transpose(0, 1).flatten(1).quantile(0.98, 1)[:, None, None]
    large = torch.nn.functional.interpolate(maps, 64, mode="bilinear", align_corners=False)
    active = (large > threshold).float()
    both = torch.einsum("nkhw,nphw->kp", active, where)
    return (both / (active.sum((0, 2, 3))[:, None] + where.sum((0, 2, 3)) - both)).max().item()


networks = {
    "trained": five,
    "untrained": [reinitialised(network, images, seed=k) for k in range(5)],
}
for kind, models in networks.items():
    outputs = (activations(model, fifty, layers).values() for model in models)
    found = [max(map(best_overlap, each)) for each in outputs]
    each = " ".join(f"{iou:.2f}" for iou in found)
    print(f"best IoU, five {kind:10}", interval_text(seed_interval(found)), " each", each)
drawn = [fifty, -fifty, edge_map(network, fifty), bright_edge_map(network, fifty)]
print(f"best IoU, colours and edges {best_overlap(torch.cat(drawn, 1)):.2f}")
border = [pixels[some][..., [0, -1], :].flatten(2), pixels[some][..., [0, -1]].flatten(2)]
ground = torch.cat(border, 2).median(2).values[..., None, None]  # the border's colour
height, width = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 2, indexing="ij")
unlike = (pixels[some] - ground).abs().sum(1, keepdim=True)
written = unlike * pixels[some].mean(1, keepdim=True) * (height**2 + width**2).sqrt()
print(f"best IoU, one channel written by hand {best_overlap(written):.2f}")

# %% [markdown]
# Only the best overlap tells trained from untrained, and it does so in all five networks. It is still far from 1. (Part
# of this is due to the measure: 2 % of the places cannot match a part that is larger or smaller.) And the channel
# written by hand has more, so such an overlap needs no learning. A name like "the horn channel" leaves much out. Nor
# does the overlap say that the network *uses* the channel: to know that, change the channel and see.
#
# **Feature visualisation** asks in another way: it draws the picture that excites a channel most. Geirhos and others
# show that it can be made to draw anything, while the network answers real pictures as before.

# %% [markdown]
# ## 3. Gates
#
# A ReLU is a **gate**: open where its input is above 0, closed elsewhere. Everything else in this network (convolution,
# batch normalisation, sum, mean) multiplies by fixed numbers and adds fixed numbers, the **biases**. So as long as no
# gate changes, the whole network is *one linear function* of the image plus a constant. The gradient holds the weights
# of that function, and the constant is what the biases add:
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
# The sum is exact. How much of a logit does the *image* add, and how much do the biases, layer by layer? (The mean that
# a batch normalisation subtracts counts as its bias.)

# %%
shares = {"image": exact.from_input, "all biases": added, "image + biases = logit": total}
for layer in [*layers, "head"]:
    ours = [share for name, share in exact.biases.items() if name.startswith(layer)]
    shares[f"biases of {layer}"] = sum(ours)
middle = {name: mean_interval(share) for name, share in shares.items()}

# %%
plots.figure(
    plots.bars(
        middle,
        title="The biases add more of the logit than the image does",
        label="added to the logit of the class it says, mean of 100 beetles (95 % interval)",
    ),
    alt="Bars, in logits. The image adds 1.06, all biases together 2.70; the sum of both is the logit, 3.75. Below, the "
    "biases layer by layer: stem −0.36, blocks.0 +0.91, blocks.1 −0.03, blocks.2 +2.18, head −0.01.",
    caption="The first two bars add up to the third. The last five bars add up to the second.",
)


# %%
def share_of_biases(model, zero):
    """Share of the mean logit that the biases add, if the image counts from `zero`."""
    x = images.clone().requires_grad_()
    top = model(x).amax(1)
    (slope,) = torch.autograd.grad(top.sum(), x)
    return (1 - (slope * (x - zero)).sum() / top.sum()).item()


zeros = {"black": 0.0, "white": 1.0}
zeros = {name: normalise(torch.full((1, 3, 1, 1), value)) for name, value in zeros.items()}
for zero, value in ({"mean colour": 0.0} | zeros).items():
    found = [share_of_biases(model, value) for model in five]
    each = " ".join(f"{share:.0%}" for share in found)
    told = interval_text(seed_interval(found), 0, percent=True)
    print(f"share that the biases add, zero at {zero:12} {told}")
    print(f"    in the five networks: {each}")

# %% [markdown]
# The split depends on what counts as zero. In the figure that is ImageNet's mean colour; the last lines take black and
# white instead. The logit stays the same, and the shares change by a few points.
#
# **Gradient times input** is a popular map. Its sum is the first bar, and only that. What the biases add passes
# through gates that *the image* opens, so it says something about the image, too. **FullGrad** keeps it: each bias
# stands at the places where it is added, enlarged to the picture's size, its sum unchanged.

# %%
from xai_course.relu import full_grad

from_image = full_grad(network, images[one : one + 1], only="input")
whole = full_grad(network, images[one : one + 1])
added = {"image": from_image, "biases": whole - from_image, "both": whole}
print("FullGrad, sums of maps:", ", ".join(f"{name} {m.sum():.2f}" for name, m in added.items()))

# %% [markdown]
# As published, FullGrad drops the sign of these maps and rescales each. Here sign and sum are kept, so the sum is still
# the logit.

# %% [markdown] tags=["further"]
# ## 4. Who opens the same gates
#
# The gates decide which linear function applies: two images with the same gates get the same one. What share of their
# gates do two beetles have in common? The null: the share that any two beetles have in common.

# %%
from xai_course.relu import dead_relus, mask_agreement, relu_masks

same = (species[:, None] == species).double().fill_diagonal_(0)
pairs = {"same species": same, "any two": 1 - torch.eye(len(species)).double()}
common, gap = {}, {}
for kind, model in (("trained", network), ("untrained", untrained)):
    agreement = mask_agreement(relu_masks(model, images, batch_size=50)).values()
    for name, them in pairs.items():
        common[kind, name] = [(share * them).sum(1) / them.sum(1) for share in agreement]
    both = zip(common[kind, "same species"], common[kind, "any two"], strict=True)
    gap[kind] = [mean_interval(own - any_two) for own, any_two in both]
dead = sum(int(channels.sum()) for channels in dead_relus(network, images, batch_size=50).values())

# %%
plots.figure(
    plots.lines(
        gap,
        range(1, 1 + len(agreement)),
        title="Gates depend on the species only in\nthe last layers of the trained network",
        x_label="ReLU, from the first to the last",
        y_label="difference in shared gates",
        marks={"no difference": 0},
    ),
    alt="Two lines over seven ReLUs: how many more gates two beetles of one species share than any two. Untrained, the line "
    "stays within 0.01 of zero. Trained, it rises slowly to 0.03 at the sixth ReLU, and to 0.10 at the last.",
    caption="The share of gates that two beetles of one species have in common, less that of any two beetles.",
)
for (kind, name), found in common.items():
    print(f"{kind}, {name:14}".ljust(26), " ".join(f"{share.mean():.3f}" for share in found))
print(f"channels that never open: {dead}")

# %% [markdown]
# What opens in the first layers depends on other things than the species. At the last ReLU the difference is large, and
# an untrained network does not have it. (No channel is **dead**, closed at every place of all these pictures.)

# %% [markdown]
# ## 5. Three rules for one ReLU
#
# To draw a picture of the *input*, go back through the network. At a ReLU there are two things to look at: whether the
# gate was open on the way there, and whether the number that comes back is positive. Three methods differ in nothing
# else:
#
# | method | what a ReLU lets through on the way back |
# |---|---|
# | gradient | `grad * is_open` |
# | DeconvNet | `grad.clamp(min=0)` |
# | guided backpropagation | `grad.clamp(min=0) * is_open` |
#
# (`clamp(min=0)` keeps what is positive and makes the rest 0.)
#
# `relu_rule` gives every ReLU of a network another rule, without changing the network.

# %%
from xai_course.relu import deconvnet, gradient, guided_backprop, relu_rule

x, picture = images[one : one + 1], beetles[one].image(64)
rules = {"gradient": gradient, "DeconvNet": deconvnet, "guided backprop.": guided_backprop}
with relu_rule(lambda is_open, grad: grad * is_open) as seen:
    as_it_was = gradient(network, x)
print(f"{len(seen)} ReLUs seen; same map: {torch.equal(as_it_was, gradient(network, x))}")
maps = {name: rule(network, x) for name, rule in rules.items()}
pale = 0.7 + 0.3 * pixels[one]  # so that the colours of a map are easier to see
signs = ("negative", "positive")  # these maps' signs are not for or against the class

# %%
plots.figure(
    plots.overlay(
        [picture, pale, pale, pale],
        [None, *maps.values()],
        ["the beetle", *maps],
        shared_scale=False,
        sides=signs,
        title="Another rule for the ReLU, another picture of the same beetle",
    ),
    alt="A beetle and three maps: the gradient has specks in many places, DeconvNet a regular grid over the whole picture, "
    "guided backpropagation clear strokes on horn, antennae and back.",
    caption="Each panel has its own scale: only the gradient has a unit. Which would you show to a client?",
)

# %% [markdown]
# The gradient says how the logit changes when a pixel changes a little. That is true, and full of specks. Two remedies
# are popular: multiply by the input, or average the gradient over noisy copies of the input (**SmoothGrad**). Section
# 10 says whether they help.

# %% [markdown]
# ## 6. Grad-CAM
#
# **Grad-CAM** goes back only as far as a layer: each channel's map is weighted by its mean gradient, and the maps are
# added and enlarged. Usually this is the last layer, and so it is here. Another layer gives another map, so name the
# layer with every Grad-CAM. (Lesson 15 has its relatives: Grad-CAM++, HiResCAM, LayerCAM, Score-CAM.)

# %% [markdown]
# ## 7. Where it breaks: one picture for every class
#
# Back to the prediction, and to the example. Why *longicornis*, why the runner-up, and why the class that the network
# finds least likely?


# %%
def alike(first, second, size=False):
    """Correlation of maps (..., C, H, W), one number for each pair; `size`: without sign."""
    rows = [m.abs().sum(-3, keepdim=True) if size else m for m in (first, second)]
    rows = [m.flatten(-3) - m.flatten(-3).mean(-1, keepdim=True) for m in rows]
    return torch.nn.functional.cosine_similarity(*rows, dim=-1)


asked = {"says": says, "runner-up": second, "least likely": logits.argmin(1)}
panels = {
    f"{name}, {question}\n{species_name(names[classes[one]])}": rule(
        network, x, classes[one : one + 1]
    )
    for name, rule in (("gradient", gradient), ("guided", guided_backprop))
    for question, classes in asked.items()
}
first, *others = list(panels.values())[3:]
found = ", ".join(f"{alike(first, other).item():.2f}" for other in others)

# %%
plots.figure(
    plots.overlay(
        [pale] * 6,
        panels.values(),
        list(panels),
        columns=3,
        shared_scale=False,
        sides=signs,
        title="Guided backpropagation draws the same beetle for three different classes",
    ),
    alt="Two rows of three maps of one beetle. The gradients for the three classes have other colours at the same places. "
    "The three guided maps look alike: the first correlates 0.87 with the second and 0.92 with the third.",
)
print(f"correlation of the first guided map with the two others: {found}")

# %% [markdown]
# Now the whole family, with five networks and fifty beetles, five of each species. The null: a method's map of
# *another* beetle of the same species.

# %%
from xai_course.relu import grad_cam, gradient_times_input

family = {
    "gradient": gradient,
    "gradient × input": gradient_times_input,
    "DeconvNet": deconvnet,
    "guided backprop.": guided_backprop,
    "Grad-CAM": grad_cam,
    "FullGrad": full_grad,
}
kinds = species[some]
with torch.no_grad():
    classes = torch.stack([model(fifty).topk(2).indices.T for model in five])
questions = {"says": classes[:, 0], "runner-up": classes[:, 1]}


def explain_all(name, models, pictures, asked_for):
    """Maps of a method (networks, beetles, C, 64, 64)."""
    pairs = zip(models, asked_for, strict=True)
    return torch.stack([family[name](model, pictures, each) for model, each in pairs])


maps = {
    (name, question): explain_all(name, five, fifty, asked_for)
    for name in family
    for question, asked_for in questions.items()
}


def other_beetle(found):
    """The maps of another beetle of the same species."""
    return found.unflatten(1, (10, 5)).roll(1, 2).flatten(1, 2)


def over_all(values):
    """Mean of (networks, beetles), and the wider of two intervals: over networks, over beetles."""
    both = seed_interval(values.mean(1).tolist(), bounds=(-1, 1)), mean_interval(values.mean(0))
    return max(both, key=lambda ends: ends[2] - ends[1])


print("correlation of the maps for the class said and the runner-up, with and without sign;")
print("null: of the maps of two beetles")
print(f"{'':16}{'two classes':>22}{'null: another beetle':>22}{'two classes, no sign':>22}")
for name in family:
    own, runner_up = maps[name, "says"], maps[name, "runner-up"]
    found = (alike(own, runner_up), alike(own, other_beetle(own)), alike(own, runner_up, size=True))
    print(f"{name:16}" + "".join(interval_text(over_all(v)).rjust(22) for v in found))

# %% [markdown]
# The rows *gradient* and *guided backprop.* answer the prediction. Many expect a sharp picture to be specific to its
# class. But the gradients of two classes have next to nothing in common, and the guided pictures are nearly the same:
# ask "why this class?" and the answer is "here is a beetle". The last column drops the sign, and then the gradients of
# two classes are alike as well. Much the same places count for both classes, with other signs, and guided
# backpropagation drops the negative ones at each ReLU.
#
# Now look at *DeconvNet* and its null. Its picture for one beetle is its picture for *another*.

# %%
three = slice(one, one + 3)
found = deconvnet(network, images[three], int(says[one]))
equal = all(torch.equal(found[0], each) for each in found[1:])

# %%
plots.figure(
    plots.overlay(
        [*pixels[three], *(0.7 + 0.3 * pixels[three])],
        [None] * 3 + list(found),
        ["beetle 1", "beetle 2", "beetle 3"] + ["its DeconvNet map"] * 3,
        columns=3,
        unit="no unit",
        sides=signs,
        title="DeconvNet explains three beetles with one and the same map",
    ),
    alt="Above, three different beetles of one species. Below, their three DeconvNet maps: one regular grid of orange and "
    "blue dots, the same in all three.",
)
print(f"equal in every bit: {equal}")

# %% [markdown]
# It had to be so. DeconvNet's rule does not look at the gates, and in this network only the gates tell the way back
# anything about the image. (Max-pooling would tell it where the largest values were; BeetleNet has none.)
#
# ### The same picture for another network
#
# Replace the trained weights by random ones, from the last layer down, and compare the maps with those of the trained
# network, with sign and by size. There are two nulls: another beetle of the species, and the edges of the picture.

# %%
from xai_course.core import map_similarity
from xai_course.metrics import cascading_randomisation

# of each stage the layer that becomes random last
stages = {"head": "head", "blocks.2": "blocks.2.branch.conv1", "blocks.1": "blocks.1.branch.conv1"}
stages |= {"blocks.0": "blocks.0.branch.conv1", "stem": "stem.conv"}
watched, readings = ("gradient", "guided backprop.", "Grad-CAM"), {"signed": False, "size": True}
edges, ten, similar, nulls = edge_map(network, fifty), slice(None, None, 5), {}, {}
for n, model in enumerate(five):
    random = dict(cascading_randomisation(model, seed=n))
    for stage, layer in stages.items():
        for name in watched:
            after = family[name](random[layer], fifty[ten], questions["says"][n, ten])
            for by, size in readings.items():
                found = map_similarity(maps[name, "says"][n, ten], after, absolute=size)
                similar.setdefault((f"{name}, {by}", stage), []).append(found)
for name in watched:
    own = maps[name, "says"]
    others = {"another beetle": other_beetle(own), "edges": edges.expand(5, -1, -1, -1, -1)}
    for other, null in others.items():
        for by, size in readings.items():
            pair = own[:, ten].flatten(0, 1), null[:, ten].flatten(0, 1)
            found = map_similarity(*pair, absolute=size)
            nulls[f"{name}, {by}", other] = found.mean()

# %%
stays = {}
for (name, _), found in similar.items():
    stays.setdefault(name, []).append(over_all(torch.stack(found)))

# %%
plots.figure(
    plots.lines(
        {name: found for name, found in stays.items() if "Grad-CAM" not in name},
        range(1, 6),
        title="With a random head the gradient's map is gone if its sign counts;\nby size much of it stays",
        x_label="random weights: 1 the head, 2 to 4 the blocks from the top, 5 the stem",
        y_label="rank correlation with the trained map",
    ),
    alt="Four lines over five steps. The gradient with sign is at 0 from the first step, the random head. By size it begins "
    "at 0.66 and falls to 0.17. Guided backpropagation begins at 0.92 by both readings and falls to 0.2.",
    caption="Five networks, ten beetles. Grad-CAM and the nulls are in the table below.",
)

# %%
lines = [
    " | ".join(["map, read", *stages, "null: another beetle", "null: edges"]),
    "---|" * 7 + "---",
]
for name, found in stays.items():
    ends = [f"{nulls[name, null]:.2f}" for null in ("another beetle", "edges")]
    lines.append(" | ".join([name, *map(interval_text, found), *ends]))
display(Markdown("Correlation with the map of the trained network:\n\n" + "\n".join(lines)))

# %% [markdown]
# *With sign*, the gradient's map is gone as soon as the head is random, and guided backpropagation's stays above its
# nulls to the end. *By size*, the gradient's map stays, too: it falls to its null only when blocks.1 is random. And
# guided backpropagation's falls below its null with blocks.0. So "the gradient passes, guided backpropagation fails"
# (Adebayo and others) holds with the sign, and not without it.
#
# A map that passes has shown little: a map of fresh noise passes best. And a *right* map may stay in part, since under a
# random head channels with large outputs still count most (Binder and others), or because only the object in the picture
# has structure (Yona and Greenfeld). So the test shows that a map depends on weights. It cannot rank methods.

# %% [markdown] tags=["further"]
# ## 8. Simple and cheap?
#
# We count lines of code, without blank lines, comments and documentation: of the function alone, and with all that it
# needs from this course. And we count passes, at the network's last layer, while each method explains ten beetles.

# %%
import inspect
import re

from xai_course.relu import smooth_grad
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
    explain(network, images[::10])
    lines = f"{count(inspect.getsource(explain)):6} {count(snippet(explain)):9}"
    print(f"{name:18} {lines} {sum(there) / 10:9.0f} {sum(back) / 10:9.0f}")
for hook in hooks:
    hook.remove()

# %% [markdown]
# The rule itself is one line. The rest is for what other people's networks contain: a ReLU called in another way, one
# that works in place, an activation that is no ReLU.

# %% [markdown] tags=["further"]
# ## 9. Insensitive to noise?
#
# Add noise to the pixels, and measure three things: whether a network keeps its answer; how each map correlates with
# the map of the clean picture, pixel by pixel; and whether the *parts* keep their ranks when the size of a map is
# summed over each part. Besides the five networks, we ask three that were trained with noise.

# %%
from xai_course.beetlebox import part_relevance, spearman_with_truth

noisy_seeds = [f"beetle_net_noise_seeds/seed_{k}" for k in (1, 2)]
hardened = [load_checkpoint(folder / name)[0] for name in ("beetle_net_noise", *noisy_seeds)]
noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))[some]
disturbed = {level: normalise((pixels[some] + level * noise).clamp(0, 1)) for level in (0.05, 0.1)}


def part_sizes(found):
    """Size of maps (networks, 50, C, 64, 64) summed over parts: (networks, 50, parts)."""
    return torch.stack([part_relevance(each, masks[some], parts, "size") for each in found])


def rank_alike(first, second):
    """Rank correlation of the parts of two sets of maps, (networks, 50)."""
    pairs = zip(first, second.nan_to_num(), strict=True)
    return torch.stack([spearman_with_truth(*pair) for pair in pairs])


kept, same, rows = {}, {}, {}
for how, models in {"usual": five, "noise": hardened}.items():
    with torch.no_grad():
        before = torch.stack([model(fifty).argmax(1) for model in models])
    for level, pictures in disturbed.items():
        with torch.no_grad():
            now = torch.stack([model(pictures).argmax(1) for model in models])
        kept[how, level] = now == before
        share = interval_text(seed_interval(kept[how, level].double().mean(1).tolist(), images=50))
        for reading, first in {"pixels": share, "parts": ""}.items():
            rows[f"{how} training, {level:.0%} noise, {reading}"] = [first]
    for name in watched:
        clean = maps[name, "says"] if how == "usual" else explain_all(name, models, fifty, before)
        changed = [explain_all(name, models, x, before) for x in disturbed.values()]
        for level, after in zip(disturbed, changed, strict=True):
            same[how, level, name] = alike(clean, after)
            ranks = rank_alike(part_sizes(clean), part_sizes(after))
            for reading, values in {"pixels": same[how, level, name], "parts": ranks}.items():
                rows[f"{how} training, {level:.0%} noise, {reading}"].append(
                    interval_text(over_all(values))
                )
rows |= {"null: another beetle, pixels": [""], "null: another beetle, parts": [""]}
for name in watched:
    own = maps[name, "says"]
    null = alike(own, other_beetle(own)), rank_alike(part_sizes(own), other_beetle(part_sizes(own)))
    for reading, values in zip(("pixels", "parts"), null, strict=True):
        rows[f"null: another beetle, {reading}"].append(interval_text(over_all(values)))
lines = [" | ".join(["correlation, by", "answers kept", *watched]), "---|" * 4 + "---"]
for reading in ("pixels", "parts"):
    lines += [" | ".join([name, *row]) for name, row in rows.items() if name.endswith(reading)]
display(Markdown("\n".join(lines)))
for level, pictures in disturbed.items():
    stay = alike(edges, edge_map(network, pictures)).mean()
    print(f"null: edges, {level:.0%} noise {stay:.2f}")

# %% [markdown]
# Pixel by pixel, at 5 % noise, the gradient's map has lost half of its correlation, while nearly all answers stay. It
# is *more* sensitive than the network. Two choices change this. In networks that were *trained with noise* the
# gradient's map stays, too: the specks come from the network, and not only from the method. And summed over *parts* the
# ranks stay, in both. But the ranks of another beetle of the species are nearly as alike, so that reading hardly fails.
#
# Grad-CAM keeps its map at 5 %. At 10 % most answers are lost. Split the beetles by their answer:

# %%
stay, bars = kept["usual", 0.1], {}
for name in watched:
    values, own = same["usual", 0.1, name], maps[name, "says"]
    bars[f"{name}, answer kept"] = mean_interval(values[stay])
    bars[f"{name}, answer lost"] = mean_interval(values[~stay])
    bars[f"{name}, another beetle"] = over_all(alike(own, other_beetle(own)))
by_answer = {name: found for name, found in bars.items() if "answer" in name}
of_another = {name: bars[f"{name.split(',')[0]}, another beetle"][0] for name in by_answer}

# %%
plots.figure(
    plots.bars(
        by_answer,
        references=of_another,
        reference_label="clean map of another beetle",
        title="At 10 % noise the maps have changed, also where the answer stays",
        label="correlation with the clean map (1: no change)",
    ),
    alt="Six bars: three methods, where the answer is kept and where it is lost. Gradient: 0.16 and 0.12. Guided "
    "backpropagation: 0.57 and 0.50. Grad-CAM: 0.81 and 0.54. Grey ticks, the map of another beetle: 0.02, 0.06, and for "
    "Grad-CAM 0.66, which lies between its two bars.",
)
print(f"at 10 % noise kept: {stay.sum()} of {stay.numel()} answers")
for name, found in bars.items():
    print(f"{name:34}", interval_text(found))

# %% [markdown]
# Does Grad-CAM's map stay as long as the answer stays? No: it has changed for the beetles that keep their answer, too.
# It changes more for the others, so it follows the answer to some degree. But its null is high: Grad-CAM's maps of two
# *different* beetles of a species are more alike than its map before and after the loss of an answer. Much of a
# Grad-CAM map is the same for every beetle of the species.

# %% [markdown]
# ## 10. Against the answer key
#
# Which parts matter is known: take each away and see (lesson 01). For two questions, the class a network says and its
# runner-up, we read each map in six ways:
#
# - three **readouts**: the *signed* sum over a part, the sum of what is *positive*, and the *size* (compared with the
#   size of the effects);
# - two **scores**: the rank correlation over all parts, and whether the *top part* is the right one.
#
# Each reading has its own nulls: noise; edges; bright edges; the centre; away from the centre; the method's own map for
# another class, and of an untrained network. What counts is the **lead** over the strongest of them. Two more nulls
# stand apart. The map of *another beetle* of the species, summed over that beetle's parts, may be right about the
# species, and knows nothing of this beetle. The **field guide** knows no network. Its number for a part is, for the
# class said, how many species have another value of the part's trait; for the runner-up, 1 if both species share it.

# %%
from xai_course.beetlebox import field_guide_numbers, top1_agreement
from xai_course.core import strongest_null
from xai_course.metrics import null_battery

shown = beetles[some]
gone = [stack_images([s.without(p) if p in s.parts else s for s in shown]) for p in parts]
pictures = torch.stack([fifty, *map(normalise, gone)], 1).flatten(0, 1)


with torch.no_grad():
    whole_and_without = torch.stack([model(pictures).unflatten(0, (50, -1)) for model in five])


def answer_key(n, asked_for):
    """Effect of each part on the logit of a class (50, parts): f(beetle) − f(beetle without it)."""
    every = asked_for[:, None, None].expand(-1, whole_and_without.shape[2], 1)
    logit = whole_and_without[n].gather(2, every)[..., 0]
    return logit[:, :1] - logit[:, 1:]


scores = {}  # (question, readout, score, method or "", null or ""): for each network (50,)


def mark(relevance, key, question, method, null, inside=masks[some]):
    """Read a map (or a number for each part) in six ways: how well does each agree with the key?"""
    for readout in ("signed", "positive", "size"):
        numbers = relevance.ndim == 2
        found = relevance if numbers else part_relevance(relevance, inside, parts, readout)
        true = key.abs() if readout == "size" else key
        for score, rule in (("rank", spearman_with_truth), ("top part", top1_agreement)):
            place = question, readout, score, method, null
            scores.setdefault(place, []).append(rule(found, true))


judged, keys = [name for name in family if name != "DeconvNet"], {"says": [], "runner-up": []}
pictured = null_battery(network, fifty)
absent, rare = where.sum((2, 3)) == 0, field_guide_numbers(shown)[:, :6]
for question, other in (("says", "runner-up"), ("runner-up", "says")):
    for n, asked_for in enumerate(questions[question]):
        key, blank = answer_key(n, asked_for), networks["untrained"][n]
        keys[question].append(key.masked_fill(absent, torch.nan))
        for null, relevance in pictured.items():
            mark(relevance, key, question, "", null)
        rival = field_guide_numbers(shown, against=[names[k] for k in asked_for])[:, :6]
        guide = rare if question == "says" else (rare > 0) * (1 - rival)  # rare, or shared
        mark(guide.masked_fill(absent, torch.nan), key, question, "", "field guide")
        for name in judged:
            mark(maps[name, question][n], key, question, name, "")
            mark(maps[name, other][n], key, question, name, "another class")
            another = other_beetle(maps[name, question])[n], key, question, name, "another beetle"
            mark(*another, inside=other_beetle(masks[some][None])[0])
            mark(family[name](blank, fifty, asked_for), key, question, name, "untrained network")

# %%
thirty = torch.arange(50).unflatten(0, (10, 5))[:, :3].flatten()  # SmoothGrad takes its time
for level in (0.05, 0.15):
    for model, asked_for, key in zip(five[:3], questions["says"], keys["says"], strict=False):
        asked = asked_for[thirty]
        smooth = smooth_grad(model, fifty[thirty], asked, noise=level, samples=8)
        true, name = key[thirty].nan_to_num(), f"SmoothGrad {level:.0%}"
        mark(smooth, true, "says", name, "", masks[some][thirty])
scores = {place: torch.stack(found) for place, found in scores.items()}
for (_, readout, score, method, _), found in scores.items():
    if method.startswith("SmoothGrad"):
        gained = found - scores["says", readout, score, "gradient", ""][:3, thirty]
        told = interval_text(over_all(gained), signed=True)
        print(f"{method:14} minus gradient, {score}, {readout}: {told}")

for question, found in keys.items():
    told = interval_text(over_all(rank_alike(other_beetle(torch.stack(found)), torch.stack(found))))
    print(f"the key itself, read off another beetle: {question:9} {told}")

# %%
columns = [(score, by) for score in ("rank", "top part") for by in ("signed", "positive", "size")]
leads, specific, tables = {}, {}, {}
over = ["the strongest null", "lead over it", "over another beetle", "over the field guide"]
for question in questions:
    tables[question] = [" | ".join(["reading", "map", "agreement", *over]), "---|" * 6 + "---"]
    for score, readout in columns:
        reading, told = (question, readout, score), f"{question}, {score}, {readout}"
        guide = scores[*reading, "", "field guide"]
        tables[question].append(f"{told} | the field guide | {guide.mean():.2f} | | | |")
        for name in judged:
            nulls = {
                null: found.flatten()
                for (*place, method, null), found in scores.items()
                if tuple(place) == reading
                and method in ("", name)
                and null not in ("", "another beetle", "field guide")
            }
            (null, best), own = strongest_null(nulls), scores[*reading, name, ""]
            leads[question, name, score, readout] = lead = over_all(own - best.view(5, 50))
            alone = over_all(own - scores[*reading, name, "another beetle"])
            specific[question, name, score, readout] = alone[0]
            ahead = (interval_text(v, signed=True) for v in (lead, alone, over_all(own - guide)))
            cells = [told, name, f"{own.mean():.2f}", f"{null} {best.mean():.2f}", *ahead]
            tables[question].append(" | ".join(cells))
largest = max(lead for (question, *_), lead in specific.items() if question == "says")
rows = [(question, name) for question in questions for name in judged]
chart = torch.tensor([[leads[*row, *column] for column in columns] for row in rows])
clear = chart[..., 1] * chart[..., 2] > 0  # the interval is without 0

# %%
plots.figure(
    plots.matrix(
        chart[..., 0],
        [f"{question}: {name}" for question, name in rows],
        [f"{score}, {readout}" for score, readout in columns],
        tint=chart[..., 0] * clear,
        title="No map is ahead of the strongest null in all six readings",
        label="orange: clearly ahead of the strongest null; blue: clearly behind; white: open",
    ),
    alt="A table of five methods for two classes, in six readings: the lead over the strongest null. For the class said, only "
    "guided backpropagation is clearly ahead, by 0.04 to 0.08 in five readings; by the signed rank it is 0.30 behind. For the "
    "runner-up, Grad-CAM and FullGrad lead by 0.28 and 0.25 by the signed rank; by size and rank they are 0.37 and 0.09 behind.",
    caption="Mean of five networks and fifty beetles. The field guide is not among these nulls; it is in the tables below.",
)

# %% [markdown]
# All numbers, with 95 % intervals: first for the class said, then for the runner-up.

# %%
for table in tables.values():
    display(Markdown("\n".join(table)))
print(f"says, largest lead over another beetle {largest:+.2f}")

# %% [markdown]
# Read it by question.
#
# - *The class that a network says.* By rank, bright edges have 0.70 and more, and know no network. Only guided
#   backpropagation leads, by a little, in five of the six readings. Its strongest null is then its own map for *another
#   class*. In the sixth, the signed rank, it is far behind. The map of *another beetle* of the species is a harder
#   null: it orders the parts as well. The key itself is nearly the same for all beetles of a species (0.87), so being
#   right about it shows nothing of *this* beetle. And no map is clearly better than the field guide.
# - *The runner-up.* It differs from beetle to beetle, and here maps answer what was asked. By the signed rank Grad-CAM
#   and FullGrad lead clearly, also over another beetle's map. But they are no better than the field guide: what both
#   species share speaks for the runner-up. By *size* and rank both are behind the edges. By *top part* the lead of
#   Grad-CAM is open.
# - *Gradient* and *gradient × input* lead clearly in no reading. *SmoothGrad* is in no reading clearly better than the
#   gradient that it smooths, and by the positive rank it is worse. It averages over noisy copies, and these networks
#   were trained without noise.
#
# Lesson 08 tries many more readings.

# %% [markdown]
# ## Exercises
#
# **1. What guided backpropagation drops** (5 minutes, easy). `inputs` is what went into a ReLU on the way there, `grad`
# what comes back to its output, both of any shape. At each ReLU guided backpropagation lets through only a part of what
# the gradient's rule lets through. Return the other part: both parts add up to the gradient's rule.


# %% tags=["exercise"]
def dropped(inputs, grad):
    """What the gradient's rule lets through one ReLU, and guided backpropagation does not."""
    return ...


# %% tags=["solution"]
def dropped(inputs, grad):
    """What the gradient's rule lets through one ReLU, and guided backpropagation does not."""
    return grad * (inputs > 0) * (grad < 0)


# %%
from xai_course.exercises.lesson_04 import check_guided

check_guided(dropped)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Both rules need an open gate. Which numbers does guided backpropagation drop there? A comparison such as `inputs > 0`
# gives True and False; multiplied by a number, True counts 1 and False 0.
# </details>
#
# **2. The same gates** (10 minutes, medium). Of N images you know the logit (N,) and its gradient (N, C, H, W). You get
# N other images, each of which opens the same gates as its partner. Return the logits of the others, (N,), without
# asking the network. Mind the biases.


# %% tags=["exercise"]
def same_gates(logit, gradient, images, others):
    """The logits (N,) of other images (N, C, H, W) that open the same gates."""
    return ...


# %% tags=["solution"]
def same_gates(logit, gradient, images, others):
    """The logits (N,) of other images (N, C, H, W) that open the same gates."""
    return logit + (gradient * (others - images)).sum((1, 2, 3))


# %%
from xai_course.exercises.lesson_04 import check_same_gates

check_same_gates(same_gates)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Write down the equation of section 3 for both images, with the same gradient and the same biases, and subtract one from
# the other. `sum((1, 2, 3))` adds up all but the first axis.
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
from xai_course.exercises.lesson_04 import check_shared

check_shared(gates_in_common)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The output of a ReLU is above 0 exactly where its gate is open. Two gates agree if both are open or both are closed:
# compare True and False with `==`. The value of an output does not matter.
# </details>

# %% [markdown]
# ## Verdict
#
# What follows rests on five networks and fifty beetles, unless it says otherwise; in brackets, 95 % intervals.
#
# - *Principle*, local features: **confirmed, but it takes no training.** In one trained network 75 of 128 channels beat
#   exchanged masks, untrained 57. What training adds is the best overlap (IoU): 0.22 (0.20 to 0.24), where five
#   untrained networks have 0.14 (0.13 to 0.15), and the colours and edges of the picture 0.18. Such an overlap needs no
#   learning: one channel written by hand has 0.33.
# - *Strength*, simple: **depends** on whose network it is. The rules differ in one line. With all that other people's
#   networks need, a function has 313 to 632 lines.
# - *Strength*, cheap: **confirmed.** It takes one pass forward and one back, for all but SmoothGrad (17 and 16).
# - *Limit*, insensitive to noise: **depends** on the method, on the training, and on the reading. At 5 % noise 0.97 of
#   the answers stay. *Refuted for the gradient*: its map correlates 0.53 (0.43 to 0.63) with the clean one, where the
#   edges of the picture have 0.97. Training with noise raises it to 0.82 (0.78 to 0.85). By the ranks of the parts 0.89
#   stays, but another beetle of the species has 0.82. *Grad-CAM* keeps 0.98 (0.96 to 0.99) at 5 %, where another beetle
#   has 0.66. At 10 % it has 0.81 (0.77 to 0.84) where the answer stays, and 0.54 (0.49 to 0.59) where it is lost: it
#   does not stay as long as the answer stays.
#
# **Is it an explanation?** Of the class, only in part.
#
# - The logit is exactly the image's share plus the biases'. The biases add 70 % (65 to 75 %) with zero at the mean
#   colour, 73 % at black and 66 % at white. Gradient times input leaves that out.
# - For the class that a network *says*, no map shows more than the species does. Guided backpropagation, by size,
#   agrees with the key by 0.80, and leads the nulls by 0.06 (0.03 to 0.09), but not the field guide, which has 0.84
#   without any network. With sign it is 0.30 behind bright edges. No map leads that of another beetle by more than 0.05,
#   in any reading.
# - For the *runner-up*, Grad-CAM and FullGrad agree with the key by 0.55 and 0.52, with sign. They lead bright edges
#   by 0.28 (0.15 to 0.41) and 0.25 (0.15 to 0.35): they answer the question. They do so no better than the field guide,
#   0.55: Grad-CAM minus it is 0.00 (−0.11 to 0.10), FullGrad −0.04 (−0.15 to 0.08). By size they are 0.37 and 0.09
#   behind the edges.
# - Guided backpropagation shows where, and hardly why. Its maps for two classes correlate 0.93 (0.91 to 0.94), those of
#   two beetles 0.06. The gradient's maps for two classes correlate −0.06 (−0.13 to 0.01). Without sign they have 0.72:
#   the same places, with other signs.
# - The test with random weights decides little. With a random head the gradient's map is gone with sign, −0.04, and by
#   size it has 0.66 (0.60 to 0.71), where another beetle's has 0.41.
# - DeconvNet, in this network, shows nothing of the image at all.
#
# All this holds for one kind of network and one small world. What you can keep is the habit: ask each map for another class,
# for another image and for a random network, and read it in more than one way, before you believe it.

# %% [markdown]
# ## Take it with you
#
# Guided backpropagation alone. Pasted into an empty file, it runs on PyTorch classifiers with ReLUs, called as module,
# function or method. For a project take `snippet(guided_backprop)`: it knows every way to call a ReLU, checks its
# arguments, and refuses a network without ReLUs, or with another activation. (Captum's version changes ReLU *modules*.
# Where a network calls `F.relu`, it returns the plain gradient; its documentation says so, its output does not.)
# `snippet` works for every function of this lesson.

# %%
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
# Yes. In this world its size agrees with which parts matter, better than any other method of section 10, and no better
# than the field guide. For or against, and for which class, needs another map, or an experiment.
# </details>
# <details><summary>b) The horn speaks for this class; whether it decided the answer is open.</summary>
#
# No. For the runner-up it draws the same. A map that does not change with the class cannot say why this class.
# </details>
# <details><summary>c) The horn has clear edges; whether the network responds to it is open.</summary>
#
# No. By size it agrees a little better with the key than edges do, and it changes when the first layers are random. It
# hardly changes when the last are.
# </details>
#
# **2. Gradient times input sums to −0.58, but the logit is 2.65. What happened?**
#
# <details><summary>a) One cannot tell from two numbers. Perhaps there is an error in the code.</summary>
#
# No. One can tell: compute what the biases add. If it is the difference, the code is right.
# </details>
# <details><summary>b) The image speaks a little against the class.</summary>
#
# No. The image also opens the gates through which the biases pass. And zero, with which this map compares, is a mean
# colour and not "nothing".
# </details>
# <details><summary>c) The biases add all of the difference.</summary>
#
# Yes: 3.22 here. They pass through gates that the image opens, so they are not the same for every image.
# </details>
#
# **3. Your network uses GELU. A library draws its guided backpropagation without complaint. What now?**
#
# <details><summary>a) Use it with care, and say that a GELU is only nearly a ReLU.</summary>
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
# - A. Binder and others, *Shortcomings of Top-Down Randomization-Based Sanity Checks*, CVPR 2023, arXiv:2211.12486; G.
#   Yona, D. Greenfeld, *Revisiting Sanity Checks for Saliency Maps*, 2021, arXiv:2110.14297: what such a test does not
#   show.
# - R. Geirhos and others, *Don't Trust Your Eyes: On the (Un)Reliability of Feature Visualizations*, ICML 2024,
#   arXiv:2306.04719.
# - B. Clark and others, *XAI-TRIS*, 2023, arXiv:2306.12816: methods that do not beat edge filters; R. Hesse, S.
#   Schaub-Meyer, S. Roth, *FunnyBirds*, ICCV 2023, arXiv:2308.06248: parts taken away, as here.
# - A. Shrikumar and others, *Not Just a Black Box*, 2016, arXiv:1605.01713: gradient times input.
# - W. Nie, Y. Zhang, A. Patel, *A Theoretical Explanation for Perplexing Behaviors of Backpropagation-based
#   Visualizations*, ICML 2018, arXiv:1805.07039: why guided backpropagation and DeconvNet recover the image rather
#   than explain the class.
