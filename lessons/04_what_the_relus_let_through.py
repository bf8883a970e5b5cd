# ---
# jupyter:
#   course:
#     question: "What does one channel respond to, and which part of an answer goes through the ReLUs?"
# ---

# %% [markdown]
# # What the ReLUs let through
#
# > **You will be able to** look into a layer and say what a channel responds to, with a number and four nulls; split a
# > logit exactly into what the image adds and what the biases add; say when two images get the same linear function.
# >
# > **You need** lesson 01 (scenes, masks), and what a derivative is.
# >
# > **Time** {minutes}. The computer needs less than half a minute.
# >
# > **For** everyone. *Engineers*: section 3, and *Take it with you*. *Teachers*: the prediction and section 2; the
# > misconception is "this channel is the horn detector". *Policy makers*: the pictures of sections 1 and 2, *Where it
# > breaks*, and the verdict.

# %% [markdown]
# ## The claim
#
# The article's first technique reads the outputs of the **ReLUs**. A ReLU passes positive numbers on and replaces
# negative ones by 0. The article's table says that this technique shows **local features**. *Local* means here: each
# number belongs to one place of the picture, and depends on what is there. The table also calls the technique simple
# and cheap, and insensitive to noise.
#
# This lesson tests the first statement; lesson 05, with maps of the picture, the others. (*Runner-up*, below: the
# class with the second largest logit.)

# %%
import torch
from IPython.display import Code, display

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, scenes, species_name, stack_images, stack_masks
from xai_course.core import interval_text, mean_interval, seed_interval
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.storage import load_checkpoint

folder, names = data_folder() / "checkpoints", list(SPECIES)
network, card = load_checkpoint(folder / "beetle_net")
seeds = [load_checkpoint(folder / "beetle_net_seeds" / f"seed_{k}")[0] for k in range(1, 5)]
five = [network, *seeds]  # five networks, trained alike except for the seed
beetles = [scene for name in names for scene in scenes("test", name, 10)]  # 10 of each species
pixels = stack_images(beetles)
images, masks = normalise(pixels), stack_masks(beetles)
species = torch.arange(10).repeat_interleave(10)  # ten times 0, ten times 1, …
with torch.no_grad():
    logits = network(images)
says, second = logits.topk(2).indices.T  # classes with the largest two logits
one = names.index("Ellipsa_longicornis") * 10  # the first longicornis of the test scenes

# %%
plots.figure(
    plots.gallery(
        [scene.image(128) for scene in beetles[::10]],
        [species_name(name) for name in names],
        title="The first of the ten beetles of each species",
    ),
    alt="Ten beetles, one of each species, on grounds such as leaves, moss, sand and bark.",
    caption="This lesson uses 100 test scenes, ten of each species.",
)
print(f"BeetleNet is right on {(says == species).sum()} of {len(beetles)}")
print(
    f"the example: {species_name(names[says[one]])}, runner-up {species_name(names[second[one]])}"
)

# %% [markdown]
# ## Predict
#
# BeetleNet has 128 channels in four layers. For each of them we ask whether its strongest places lie on some part of
# the beetles, such as the horn, more often than by chance. Then we ask the same of a copy with **random weights**,
# which has learnt nothing. And we ask how much of the winning (largest) logit the **biases** add: numbers that are the
# same for every image.
#
# **How many of the 128 channels pass this test, trained and with random weights? How many per cent of the winning logit
# do the biases add?** Write down three numbers. Sections 2 and 3 have the answers.

# %% [markdown]
# ## 1. What comes out of a layer
#
# BeetleNet has a stem and three residual blocks, and each of them ends in a ReLU. The output of a layer is a stack of
# maps. Each map is called a **channel**, its numbers are the **activations**. Here are the first six channels of each
# layer, for the example *longicornis*.

# %%
from xai_course.relu import activations

layers = ["stem", "blocks.0", "blocks.1", "blocks.2"]
outputs = activations(network, images[one : one + 1], layers)
panels, titles = [], []
for layer in layers:
    for channel, output in enumerate(outputs[layer][0, :6]):
        panels.append(output[None] / output.max().clamp_min(1e-9))  # largest value: 1
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
    caption="White: the channel's largest value in this picture. Black: 0, the ReLU let nothing through. "
    "blocks.0 is the first block (Python counts from 0), blocks.2 the last.",
)
for layer, output in outputs.items():
    print(f"{layer:9} {output.shape[1]} channels of {output.shape[2]} × {output.shape[3]} places")

# %% [markdown]
# We see outlines, a bright back, antennae. Does a channel respond to antennae, or do we see antennae because we look
# for them? With the parts' masks we can count.

# %% [markdown]
# ## 2. What a channel detects
#
# A channel has a value at each place of each scene. Call it *active* where its values are largest: at 2 % of all these
# places. Enlarge its map to the picture's 64 × 64 pixels, and compare the active places with the mask of a part.
# **Intersection over union** (IoU) is the area that both cover, divided by the area that at least one of the two
# covers: 1 for a perfect match, 0 for none.
#
# There are two nulls. The first exchanges the masks among the scenes, two hundred times. A channel that only responds
# to the middle, where beetles sit, overlaps another scene's masks about as much as its own scene's. For each *pair* of
# a channel and a part, take three steps:
#
# 1. Its *height*: how many standard deviations is its true IoU above the mean of its 200 IoUs with exchanged masks?
#    (0.25, with mean 0.03 and deviation 0.02, has height 11.)
# 2. Among so many pairs, some are high by chance. How high? Give each pair of the layer a height for the *first
#    exchange*: its IoU with these masks takes the place of the true IoU; mean and deviation stay. (0.07 has height 2.)
#    Keep the largest. Do so with each of the 200 exchanges.
# 3. The **p-value** of the pair: the share of these 200 heights that are at least as large as its own (step 1). (4 of
#    200: p is about 0.02.)
#
# A channel beats this null if p is below 0.05 for some part.
#
# The second null is stronger: the same network **untrained**, with random weights. What its channels find, they have
# not learnt.

# %%
from xai_course.metrics import reinitialised
from xai_course.relu import unit_report

parts = list(PARTS[:6])  # all but the museum label, which no scene here has
untrained = reinitialised(network, images, seed=0)  # images: for batch norm's statistics
reports = {  # each with p and iou (channels, parts)
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
    caption="For each layer and part, the IoU of that layer's best channel. In each column, compare the largest number of the upper "
    "four rows with the largest of the lower four.",
)

# %%
print("how many channels beat exchanged masks (p < 0.05 for some part);")
print("best IoU: of any channel with any part; exchanged: this pair, mean of 200 exchanges")
total = {"trained": 0, "untrained": 0}
for (layer, kind), report in reports.items():
    found, k = (report.p < 0.05).any(1).sum(), report.iou.argmax()
    total[kind] += found
    print(
        f"{layer:9} {kind:10} {found:3} of {len(report.p)}; best IoU {report.iou.max():.2f}, "
        f"exchanged {report.null.flatten()[k]:.2f}"
    )
print(f"of 128 channels: trained {total['trained']}, untrained {total['untrained']}")
area = masks[:, :6].mean((0, 2, 3))
# one area inside the other: the best case
most = torch.minimum(area, torch.tensor(0.02)) / torch.maximum(area, torch.tensor(0.02))
could = ", ".join(f"{part} {share:.2f}" for part, share in zip(parts, most, strict=True))
print(f"the best IoU possible for a channel that is active at 2 % of the places:\n{could}")

# %% [markdown]
# ### Where it breaks: channels that have learnt nothing
#
# Most channels overlap some part better than they overlap exchanged masks. **So do many channels that have learnt
# nothing**: a random filter responds to edges, and beetles have edges. So the count shows that a ReLU's output is
# local: with another scene's masks much of the overlap is lost. It does not show that parts were learnt.
#
# What training changes is a network's *best* overlap: 0.25, untrained 0.14. (Only the stem gains nothing.) And in other
# networks? We ask five, on half of the scenes, so numbers differ a little. (In brackets: a 95 % interval for the mean
# over such networks.) Two more nulls know no network. One takes the picture's colours and edges as channels. The other
# is one channel written by hand, at each place the product of three numbers: how far the colour is from that of the
# picture's border, how bright the place is, and how far it is from the centre. (At a first reading, read only what the
# next cell prints.)

# %%
from xai_course.metrics import bright_edge_map, edge_map

some = slice(None, None, 2)  # five of each species
fifty, where = images[some], masks[some, :6]


def best_overlap(maps):
    """The largest IoU of any of these channels (50, K, h, w) with any part."""
    threshold = maps.transpose(0, 1).flatten(1).quantile(0.98, 1)[:, None, None]
    large = torch.nn.functional.interpolate(maps, 64, mode="bilinear", align_corners=False)
    active = (large > threshold).float()  # 1 at the channel's largest 2 %
    both = torch.einsum("nkhw,nphw->kp", active, where)  # area of channel k and part p in common
    return (both / (active.sum((0, 2, 3))[:, None] + where.sum((0, 2, 3)) - both)).max().item()


networks = {
    "trained": five,
    "untrained": [reinitialised(network, images, seed=k) for k in range(5)],
}
for kind, models in networks.items():
    outputs = (activations(model, fifty, layers).values() for model in models)
    found = [max(map(best_overlap, each)) for each in outputs]  # the best of the four layers
    each = " ".join(f"{iou:.2f}" for iou in found)
    print(f"best IoU, five {kind:10}", interval_text(seed_interval(found)), " each", each)
# bright edges: edges times brightness squared
drawn = [fifty, -fifty, edge_map(network, fifty), bright_edge_map(network, fifty)]
print(f"best IoU, colours and edges {best_overlap(torch.cat(drawn, 1)):.2f}")
border = [pixels[some][..., [0, -1], :].flatten(2), pixels[some][..., [0, -1]].flatten(2)]
ground = torch.cat(border, 2).median(2).values[..., None, None]  # the border's colour
height, width = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 2, indexing="ij")
unlike = (pixels[some] - ground).abs().sum(1, keepdim=True)
written = unlike * pixels[some].mean(1, keepdim=True) * (height**2 + width**2).sqrt()
print(f"best IoU, one channel written by hand {best_overlap(written):.2f}")

# %% [markdown]
# The two counts of the prediction, 75 and 57, are not far apart. The best overlap does tell trained from untrained, in
# all five networks. But even the best overlap is far from 1, in part because 2 % of the places cannot match a larger or
# smaller part. And the channel written by hand has a larger overlap (0.33) without any learning. A name like "the horn
# channel" says too much. Nor does the overlap say that the network *uses* the channel: to know that, change the channel
# and look at the logits.
#
# (Another way: *feature visualisation*, lesson 15.)

# %% [markdown]
# ## 3. Gates
#
# A ReLU is a **gate**: open where its input is above 0, closed elsewhere. Everything else in this network (convolution,
# batch normalisation in evaluation mode, sum, mean) multiplies by fixed numbers, sums, and adds fixed numbers, the
# **biases**. So as long as no gate changes, a logit is *one linear function* of the image (a weighted sum of its
# pixels) plus a constant. The gradient holds the weights of that function, and the constant is what the biases add:
#
# $$f(x) = \langle \text{gradient}, x\rangle + \sum_{\text{biases}} \langle \text{derivative at its place}, \text{bias}\rangle.$$
#
# (⟨*a*, *b*⟩ means: multiply number by number, and add up. The derivative at a bias's place says how fast the logit
# changes with the number to which the bias is added.) For example, take *f*(*x*) = 3 · ReLU(2*x* − 1) + 4 at *x* = 2.
# The gate is open, so the gradient is 3 · 2 = 6, and *x* adds 6 · 2 = 12. The derivative is 3 where the bias −1 is
# added, and 1 where 4 is added: the biases add 3 · (−1) + 1 · 4 = 1. Together 13 = *f*(2).
#
# ### The identity

# %% tags=["nbval-check-output"]
from xai_course.relu import local_linear

exact = local_linear(network.double(), images.double())  # 64 bits: less rounding
network.float()
total = exact.from_input + sum(exact.biases.values())
added = total - exact.from_input
print(f"the example: image {exact.from_input[one]:.3f}, biases {added[one]:.3f}")
print(f"together {total[one]:.3f}, logit {exact.logit[one]:.3f}")
largest = (total - exact.logit).abs().max().item()
print(f"largest difference over {len(images)} beetles below 1e-12: {largest < 1e-12}")

# %% [markdown]
# The sum is exact. How much of the largest logit does the *image* add, and how much do the biases, layer by layer?
# (The mean that a batch normalisation subtracts counts as a bias.)

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
        label="added to the largest logit, mean of 100 beetles (95 % interval)",
    ),
    alt="Bars, in logits. The image adds 1.06, all biases together 2.70; the sum of both is the logit, 3.75. Below, the "
    "biases layer by layer: stem −0.36, blocks.0 +0.91, blocks.1 −0.03, blocks.2 +2.18, head −0.01.",
    caption="Unit: logits. The first two bars add up to the third, the last five to the second (except for rounding).",
)


# %%
def share_of_biases(model, zero):
    """Share of the mean logit that the biases add, if the image counts from `zero`."""
    x = images.clone().requires_grad_()
    top = model(x).amax(1)  # the largest logit of each image
    (slope,) = torch.autograd.grad(top.sum(), x)
    return (1 - (slope * (x - zero)).sum() / top.sum()).item()


zeros = {"black": 0.0, "white": 1.0}  # normalise makes the mean colour 0
zeros = {name: normalise(torch.full((1, 3, 1, 1), value)) for name, value in zeros.items()}
for zero, value in ({"mean colour": 0.0} | zeros).items():
    found = [share_of_biases(model, value) for model in five]
    each = " ".join(f"{share:.0%}" for share in found)
    told = interval_text(seed_interval(found), 0, percent=True)
    print(f"share that the biases add, zero at {zero:12} {told}")
    print(f"    in the five networks: {each}")

# %% [markdown]
# The answer to the prediction: the biases add 72 % in this BeetleNet, 70 % in the mean of five networks. But the split
# depends on the colour that counts as zero. In the equation it is ImageNet's mean colour, which `normalise` subtracts.
# Count from another colour *z*, and the image adds ⟨gradient, *x* − *z*⟩; the rest, ⟨gradient, *z*⟩, now counts with
# the biases.
#
# **Gradient times input** is a popular map. Its sum is the first bar only. What the biases add passes through
# gates that *the image* opens, so this amount says something about the image, too. **FullGrad** keeps it: the map shows
# what each bias adds, at the places where the bias is added.

# %%
from xai_course.relu import full_grad

from_image = full_grad(network, images[one : one + 1], only="input")
whole = full_grad(network, images[one : one + 1])
added = {"image": from_image, "biases": whole - from_image, "both": whole}
print("FullGrad, sums of maps:", ", ".join(f"{name} {m.sum():.2f}" for name, m in added.items()))

# %% [markdown]
# As published, FullGrad drops the signs and rescales each map. Here signs and sizes are kept, so the sum is still the
# logit.

# %% [markdown] tags=["further"]
# ## 4. Who opens the same gates
#
# The gates decide which linear function applies: two images with the same gates get the same one. BeetleNet has seven
# ReLUs: one in the stem and two in each block (inside the branch, and after the sum). A gate is *in common* if it is
# open for both images, or closed for both. What share of a ReLU's gates do two beetles of one species have in common?
# The null: the share of any two beetles.

# %%
from xai_course.relu import dead_relus, mask_agreement, relu_masks

same = (species[:, None] == species).double().fill_diagonal_(0)  # 1: two beetles of one species
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
    caption="The share of gates that two beetles of one species have in common, minus that of any two beetles.",
)
print("share of gates in common, from the first ReLU to the last")
for (kind, name), found in common.items():
    print(f"{kind}, {name:14}".ljust(26), " ".join(f"{share.mean():.3f}" for share in found))
print(f"channels that never open: {dead}")

# %% [markdown]
# In the first layers the species makes hardly any difference to the gates. At the last ReLU the difference is large
# (0.743 and 0.639), and an untrained network does not have it. (No channel is **dead**, closed at every place of all
# these pictures.)

# %% [markdown]
# ## Exercises
#
# **1. The same gates** (10 minutes, medium). Of N `images` you know the logit (N,) and its gradient (N, C, H, W).
# `others` are N other images; the n-th of them opens the same gates as the n-th image. Return the logits of
# `others`, (N,), without asking the network. Do not forget the biases.


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
# Write down the equation of section 3 for both images, with the same gradient and the same biases, and subtract one
# equation from the other. `sum((1, 2, 3))` adds up all but the first axis.
# </details>
#
# **2. Gates in common** (15 minutes, medium). `first` and `second` (N, K, H, W) are outputs of one ReLU for two sets
# of images. For each n, take the n-th image of both sets: of all its K · H · W gates, which share is open in both or
# closed in both? Return these shares (N,).


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
# compare True and False with `==`, and take `.float()` before the mean. How large an output is does not matter.
# </details>

# %% [markdown]
# ## Verdict
#
# What follows rests on five networks, unless it says otherwise; in brackets, 95 % intervals.
#
# - *Principle*, local features: **confirmed, but it takes no training.** In one trained network 75 of 128 channels beat
#   exchanged masks, untrained 57. What training adds is the best overlap (IoU): 0.22 (0.20 to 0.24), where five
#   untrained networks have 0.14 (0.13 to 0.15), and the colours and edges of the picture 0.18. Such an overlap needs
#   no learning: one channel written by hand has 0.33.
# - The logit is exactly the image's share plus the biases'. The biases add 70 % of it (65 to 75 %) with zero at the
#   mean colour, 73 % at black and 66 % at white. Gradient times input leaves the biases out.
#
# So a ReLU's output is local, and its gates split a logit exactly. Neither tells why the network says this class.
# Lesson 05 asks what maps of the picture can tell.

# %% [markdown]
# ## Take it with you
#
# The comparison of gates (section 4). Pasted into an empty file, it compares gates; `snippet(relu_masks)` reads them
# from any PyTorch network with ReLUs. For a project take `snippet(mask_agreement)`, which also checks its arguments.

# %%
from xai_course.snippets import snippet

source = snippet(mask_agreement, checks=False)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty: dict = {"__name__": "pasted"}
exec(source, empty)
gates = relu_masks(network, images[:5])
again, ours = empty["mask_agreement"](gates), mask_agreement(gates)
print("the same shares:", all(torch.equal(again[name], ours[name]) for name in ours))

# %% [markdown]
# ## Quiz
#
# **1. The strongest places of a channel lie on horns, more than with exchanged masks (p < 0.05). What do you know?**
#
# <details><summary>a) The network has learnt to find horns, and uses this channel for it.</summary>
#
# No. In a network with random weights 57 of 128 channels pass this test. And an overlap says nothing about use: for
# that, change the channel and see what happens to the answer.
# </details>
# <details><summary>b) Its output is local: it depends on where something in the picture is.</summary>
#
# Yes, and no more than that. The channel written by hand has a larger overlap, and needs no network.
# </details>
# <details><summary>c) Nothing. With 128 channels, some pass by chance.</summary>
#
# No. Each p-value here counts how often *any* channel of the layer reaches such a height by chance. So few would pass
# by chance, and 75 did.
# </details>
#
# **2. Gradient times input sums to −0.58, but the logit is 2.65. Why?**
#
# <details><summary>a) One cannot tell from two numbers. Perhaps there is an error in the code.</summary>
#
# No. One can tell: compute what the biases add. If that is the difference, the code is right.
# </details>
# <details><summary>b) The image speaks a little against the class.</summary>
#
# No. The image also opens the gates through which the biases pass. And zero is here the mean colour, and not
# "nothing".
# </details>
# <details><summary>c) The biases add the rest.</summary>
#
# Yes: 3.224 here (2.646 + 0.578). The biases are the same for every image; what they add is not, since it passes
# through gates that the image opens.
# </details>
#
# **3. Two images open the same gates. What do you know about the logits of a class?**
#
# <details><summary>a) They are equal.</summary>
#
# No. The linear function is the same, but the images differ, and so its values differ, too.
# </details>
# <details><summary>b) They differ by the gradient times the difference of the images, summed.</summary>
#
# Yes. What the biases add is the same for both, so it cancels. Exercise 1 uses this.
# </details>
# <details><summary>c) Only that the network takes both for the same class.</summary>
#
# No. The class may differ: with the same gates, one class can have the largest logit for one image, and another class
# for the other image.
# </details>

# %% [markdown]
# ## References
#
# - D. Bau and others, *Network Dissection*, CVPR 2017, arXiv:1704.05796: what a channel detects, by intersection over
#   union.
# - S. Srinivas, F. Fleuret, *Full-Gradient Representation for Neural Network Visualization*, NeurIPS 2019,
#   arXiv:1905.00780: the biases' share, and FullGrad.
# - A. Shrikumar and others, *Not Just a Black Box*, 2016, arXiv:1605.01713: gradient times input.
# - J. Adebayo and others, *Sanity Checks for Saliency Maps*, NeurIPS 2018, arXiv:1810.03292: random weights as a null.
