# ---
# jupyter:
#   course:
#     question: "What did each block change, and compared with what?"
# ---

# %% [markdown]
# # What each block changed
#
# > **You will be able to** divide a residual network's logit exactly among its blocks; take blocks out and measure what
# > they were worth; explain an answer as a change against something expected; compare such an explanation with maps
# > that know nothing of the question; and, in section 3 (*go further*), read what the network would answer halfway.
# >
# > **You need** lessons 01 and 02; from lesson 04 the word *gate* (an open or a closed ReLU), from lesson 06 the class
# > activation map.
# >
# > **Time** {minutes}. The computer needs about half a minute.
# >
# > **For** everyone. *Engineers*: sections 1 and 6, and *Take it with you*. *Teachers*: the prediction with sections 4
# > and 5 makes a lesson of its own. *Policy makers*: the pictures, *Where it breaks* and the verdict.

# %% [markdown]
# ## The claim
#
# The third technique of the article is called the *convolutional residual network*. Its table says of it: one compares **the
# change of the model on the input with the expected change**; its strength is that it **suits inputs where texture matters**,
# its limit that it is **poor under changes during training**.
#
# The article uses *residual* in two senses and does not say which is meant. One is the **branch of a residual block**:
# what a block adds to its input. The other is **actual minus expected**: how far the network's answer is from the
# answer that was expected. Sections 1 to 5 are about the first sense, sections 6 and 7 about the second. Sections 8 and
# 9 (*go further*) test what the table claims, for both.

# %% [markdown]
# ## Predict
#
# A network of nine residual blocks names 99.7 % of the test beetles right. Each block **adds** something to the logit of
# the right species. The ninth and last block adds more than half of the logit, the fourth less than a hundredth (section
# 1).
#
# We take one of these two blocks out: what enters the block passes on unchanged. **When is the network worse: without
# the block that added most, or without the one that added next to nothing?** Write it down; section 4 has the answer,
# and section 5 the reason.

# %%
import copy

import torch
from IPython.display import Code, Markdown, display
from torch import nn

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, part_relevance, scenes, stack_images, stack_masks
from xai_course.core import interval_text, mean_interval, wilson_interval
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.storage import load_checkpoint

# %%
names, checkpoints = list(SPECIES), data_folder() / "checkpoints"


def trainings(name):
    """Three trainings of one network: the one the course uses, and two from other seeds."""
    paths = [checkpoints / name, *(checkpoints / f"{name}_seeds" / f"seed_{s}" for s in (1, 2))]
    every = [load_checkpoint(path, classes=names) for path in paths]
    built, right = every[0][1], [f"{card['accuracy']:.1%}" for _, card in every]
    skips = "with" if built["arguments"].get("skips", True) else "no"
    print(
        f"{name}: {built['arguments']['depth']} blocks, {skips} skips, {built['weights']:,} weights;"
    )
    print(f"    right on {', '.join(right)} of 1000 test images")
    return [network for network, _ in every]


beetle_nets, deeps, plains = map(trainings, ("beetle_net", "beetle_net_deep", "beetle_net_plain"))
beetle_net, deep, plain = beetle_nets[0], deeps[0], plains[0]


def show_table(*rows):
    """Show rows as a table; the first row is the head."""
    lines = [" | ".join(map(str, row)) for row in rows]
    display(Markdown("\n".join([lines[0], "---|" * (len(rows[0]) - 1) + "---", *lines[1:]])))


# %% [markdown]
# You know *BeetleNet*. The *deep* network has nine blocks instead of three. The *plain* network is its twin **without
# skip connections**: the same nine branches in a chain. Each was trained three times. (Strictly, the second and third deep and plain networks are smaller: 8 channels, not
# 12, and four epochs, not five.) Unless we say otherwise, we look at the first training and 10
# test scenes of each species.

# %%
tests = [scene for name in names for scene in scenes("test", name, 10)]
images, labels = normalise(stack_images(tests)), torch.arange(10).repeat_interleave(10)


def share_right(logits, labels=labels):
    """Share of the scenes that are named right, with Wilson's 95 % interval."""
    return wilson_interval(int((logits.argmax(1) == labels).sum()), len(labels))


# %% [markdown]
# ## 1. What each block adds
#
# A residual block computes `relu(skip(x) + branch(x))`. `branch` computes a change, `skip` passes the input on.
#
# The output of the **stem**, the first convolution, is passed on from block to block. This is the **residual stream**:
# each block reads it and adds to it. The last layer reads the sum.
#
# After each sum stands a ReLU. We divide the logit among the branches with two steps. First, we *hold the gates*: each stays open or closed, as it is for this image. Then the way along the skips to the logit is a *linear* function.
# Second, we take the output of each branch as a given number, as if it were not computed from anything (in PyTorch:
# `output.detach().requires_grad_()`). So a branch reaches the logit along the skips only, and not through later
# branches. The share of a branch is its output times the derivative of the logit with respect to this output, added up
# over channels and places, written $\langle\;,\;\rangle$.
#
# For example: the stem brings 1. The first branch reads this 1 and adds 3; the second reads 4 and adds 5. All gates are
# open, and the last weight is 2, so each derivative is 2. The shares are 2 (stem), 6 and 10, and the logit is 18. The
# 10 counts for the second branch alone, although its 5 was made from the 4 before it. (The biases are the constants of
# the skips and of the last layer.)
#
# $$\text{logit} \;=\; \text{stem} \;+\; \sum_{b=1}^{9} \Bigl\langle \frac{\partial\,\text{logit}}{\partial\,\text{branch}_b},\, \text{branch}_b \Bigr\rangle \;+\; \text{biases}.$$
#
# The bars are the shares of the logit of each scene's own species. The grey ticks are a null: what the same block adds, in
# the same scenes, to the logit of *another class* (the next species in the list). If a block raised all logits alike, its
# bar and its tick would be equal.

# %%
from xai_course.residual import block_contributions

whole = [block_contributions(network, images, labels) for network in deeps]
own, other = whole[0], block_contributions(deep, images, (labels + 1) % 10)
parts, wrong = (
    torch.cat([c.stem[:, None], c.blocks, c.biases[:, None]], 1).T for c in (own, other)
)
rows = ["stem", *(f"block {b + 1}" for b in range(9)), "biases"]

# %%
plots.figure(
    plots.bars(
        dict(zip(rows, map(mean_interval, parts), strict=True)),
        references=dict(zip(rows, wrong.mean(1).tolist(), strict=True)),
        reference_label="to the logit of another species",
        title="Blocks 8 and 9 add most of the logit",
        label="added to the logit of the right species: mean of 100 scenes, 95 % interval",
    ),
    alt="Bars in logits, for stem, nine blocks and biases. Block 9 adds 2.35, block 8 1.27, block 7 0.31, all others 0.06 or "
    "less. The grey ticks, what is added to another species, are near zero or below, down to about −0.3 for block 9.",
)

# %%
print("share of the mean logit, block by block")
print("block      " + "".join(f"{b + 1:8}" for b in range(9)))
for seed, each in enumerate(whole):
    shares = each.blocks.mean(0) / each.logit.mean()
    print(f"training {seed + 1} " + "".join(f"{share:8.1%}" for share in shares))

# %% [markdown]
# ### The identity
#
# The parts must add up to the logit, for every scene. In double precision:

# %%
half = slice(None, None, 2)  # every second scene: 50
exact = block_contributions(copy.deepcopy(deep).double(), images[half].double(), labels[half])
total = exact.stem + exact.blocks.sum(1) + exact.biases
print(f"logits from {exact.logit.min():.2f} to {exact.logit.max():.2f}, 50 scenes")
print(f"largest difference between logit and sum: {(exact.logit - total).abs().max():.0e}")

# %% [markdown] tags=["further"]
# ## 2. Where in the picture
#
# The output of a branch is a map: it has a value at each place. Leave out the sum over places, and the share becomes a
# picture of *where* the block added. Here for the first test scene of *Globaria maculata*.

# %%
from xai_course.core import upsample_keep_sum

example = names.index("Globaria_maculata") * 10
beetle, picture = images[example : example + 1], stack_images(tests[example : example + 1])[0]
found = block_contributions(deep, beetle)
maps = [upsample_keep_sum(part, (64, 64))[0] for part in found.maps]
added = [f"block {b + 1}: {found.blocks[0, b]:+.2f}".replace("-", "−") for b in range(9)]

# %%
plots.figure(
    plots.overlay(
        [picture, *[0.7 + 0.3 * picture] * 9],
        [None, *maps],
        ["the scene", *added],
        shared_scale=False,
        columns=5,
        title="Early blocks add at a few spots, blocks 8 and 9 over wide areas",
    ),
    alt="The scene and nine maps over it, each with what its block adds in logits. Blocks 1 to 6, 0.01 to 0.14: a few small "
    "spots, most of them near horn and antennae. Block 7, 0.15: wide patches of both colours. Block 8, 1.35: one large blot on the beetle. "
    "Block 9, 2.53: one over nearly the whole picture.",
    caption="Where each block added to the logit of Globaria maculata, and how much in all. Each map has its own scale.",
)

# %% [markdown]
# The regular dots of blocks 1 to 6 are no pattern of the beetle. The skips of blocks 4 and 7 keep every second place
# only (a 1 × 1 convolution with stride 2). So along the skips just 8 × 8 places of the early maps reach the logit, and
# all other places have the share 0. Do not read too much into the maps of the late blocks either. Block 9 works on an 8
# × 8 map, and what it knows of a place may come from a wide area around it.

# %% [markdown] tags=["further"]
# ## 3. When did it decide?
#
# The stream can be read halfway. The **logit lens** sets all branches after block $b$ to zero, leaves skips and last layer as
# they are, and reads the logits. How often are the deep networks right halfway?

# %%
from xai_course.residual import logit_lens

lenses = [logit_lens(network, images[half]) for network in deeps]  # (50 scenes, 10 rows, species)
print("share right after so many blocks, 50 scenes; guessing: 10%")
print("blocks     " + "".join(f"{b:6}" for b in range(10)))
for seed, lens in enumerate(lenses):
    shares = (lens.argmax(2) == labels[half, None]).double().mean(0)
    print(f"training {seed + 1} " + "".join(f"{share:6.0%}" for share in shares))

# %% [markdown]
# The last layer gives the right answer only after the last blocks. This does not show that the network knows nothing
# before. The last layer was trained to read the *end* of the stream, and earlier the same knowledge may be coded in
# another way. To see what is there, train a reader for each block: a **linear probe** (lesson 01), fitted on 300
# training scenes to the stream after block $b$, averaged over the picture, as the last layer gets it.
#
# A probe learns, too. So it needs a stronger null than chance: the same probe on an **untrained network**.


# %%
from xai_course.metrics import reinitialised


@torch.no_grad()
def after_each_block(network, images):
    """The stream after the stem and after each block, averaged over places: ten (N, K)."""
    stream = [network.stem(images)]
    for block in network.blocks:
        stream.append(block(stream[-1]))
    return [x.mean((2, 3)) for x in stream]


def probe(features, labels, test_features):
    """Logits of the best linear function of the features, by least squares with a small penalty."""
    mean, spread = features.mean(0), features.std(0) + 1e-6
    a, b = (
        nn.functional.pad((f - mean) / spread, (0, 1), value=1.0) for f in (features, test_features)
    )
    # least squares: smallest sum of squared errors; 10 · eye keeps the weights small
    return b @ torch.linalg.solve(a.T @ a + 10 * torch.eye(a.shape[1]), a.T @ torch.eye(10)[labels])


# %%
study = normalise(stack_images([s for name in names for s in scenes("train", name, 30)]))
study_labels = torch.arange(10).repeat_interleave(30)
read = {"the last layer (lens)": [share_right(row, labels[half]) for row in lenses[0].unbind(1)]}
for name, network in {"trained": deep, "untrained": reinitialised(deep, images)}.items():
    pairs = zip(after_each_block(network, study), after_each_block(network, images), strict=True)
    read[f"a probe, {name} network"] = [share_right(probe(a, study_labels, b)) for a, b in pairs]

# %%
plots.figure(
    plots.lines(
        read,
        range(10),
        marks={"chance": 0.1},
        title="The species can be read long before the last layer reads it",
        x_label="after this many blocks",
        y_label="share right, 95 % interval",
    ),
    alt="Three lines over the number of blocks: share right. The probe of the trained network rises from the first block on, "
    "to 76 % after block 4 and 95 % after block 7. The lens stays at 26 % or less up to block 6, has 46 % after block 7 and "
    "98 % after block 8. The probe of the untrained network stays below 20 %.",
)
for name, values in read.items():
    print(f"{name:28}" + "".join(f"{value[0]:5.0%}" for value in values))

# %% [markdown]
# The untrained network's probe does not rise. So what the probe reads off the trained network was put there by training,
# and not by the probe. "At which block did it decide?" therefore has two answers: *when could it be known* (early, and
# better with each block), and *when could the last layer read it* (late). The lens answers the second question only. (A
# probe finds what *could* be read, whether or not the network reads it: lesson 06.)

# %% [markdown]
# ## 4. Cut a block out
#
# Now an experiment: a **lesion**. Replace a branch by zero, so that the stream passes the
# block unchanged, and look at the answers. A plain network has no skips. There we replace the whole block by
# `nn.Identity()`, which passes its input on as it is. (At blocks 4 and 7 the shapes do not allow it.) Veit and others
# found that residual networks still work without a block, and plain ones do not.


# %%
def without(network, blocks):
    """A copy of the network without some blocks; None where the shapes do not fit."""
    network = copy.deepcopy(network)
    for b in blocks:
        block, conv = network.blocks[b], network.blocks[b].branch.conv1
        if block.skip is not None:  # with its last batch norm at 0 the branch adds nothing
            nn.init.zeros_(block.branch.norm2.weight)
            nn.init.zeros_(block.branch.norm2.bias)
        elif conv.in_channels == conv.out_channels:
            network.blocks[b] = nn.Identity()
        else:
            return None
    return network


@torch.no_grad()
def answers(network, images=images):
    """The logits, or None if there is no network."""
    return None if network is None else network(images)


# %% [markdown]
# A lesion does two things. It takes away what the branch adds. And it changes the *scale* of the stream (how large its
# numbers are), but the batch-norm layers of later blocks still use the means and spreads that they had before. A
# control separates the two: after the lesion, **measure the batch-norm statistics anew** (*new statistics*; without
# this step: *old statistics*), on 50 training images. No label is used and no weight changes. (At a first reading, run
# the next cells and go on to the figure.)


# %%
def measured_anew(network):
    """The network with the batch-norm statistics of 50 training images."""
    if network is not None:
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.momentum = None  # the plain mean over images
        answers(network.train(), study[::6])  # every sixth of 300: 50
        network.eval()
    return network


# %%
arms = {"with skips": deeps, "plain": plains}
mended = {"as it was": lambda network: network, "measured anew": measured_anew}
said = {"as it was": "old statistics", "measured anew": "new statistics"}
cut = {
    (arm, how): [[answers(mend(without(n, [b])), images[half]) for b in range(9)] for n in networks]
    for arm, networks in arms.items()
    for how, mend in mended.items()
}  # logits of each training and block


def shares(logits):
    """Share right for each block, NaN where there is no network."""
    return [float("nan") if z is None else share_right(z, labels[half])[0] for z in logits]


share = {key: torch.tensor([shares(row) for row in table]) for key, table in cut.items()}
untouched = share_right(answers(measured_anew(copy.deepcopy(deep)), images[half]), labels[half])

# %%
plots.figure(
    plots.matrix(
        torch.stack([values.mean(0) for values in share.values()]),
        [f"{arm}, {said[how]}" for arm, how in share],
        rows[1:10],
        signed=False,
        fmt="{:.0%}",
        label="share right",
        title="With skips and new statistics,\nthe loss of one block does little harm",
    ),
    alt="Table of the share right without each of nine blocks. With skips it lies between 33 % and 97 %; with statistics "
    "measured anew at 88 % or more, but for block 7 with 71 %. The plain networks have 10 % to 29 %, and measured anew 9 % to "
    "49 %.",
    caption="Share right without one block: mean of three trainings, 50 scenes each. At blocks 4 and 7 of the plain network "
    "the shapes do not fit. Always naming the same species would give 10 %.",
)

# %%
print("share right, mean over blocks, in each training")
for (arm, how), values in share.items():
    means = ", ".join(f"{mean:.2f}" for mean in values.nanmean(1))
    print(f"    {arm}, {said[how]}: {means}")
print(f"no block taken out, new statistics, training 1: {interval_text(untouched)}")
for seed, each in enumerate(whole):
    most = each.blocks.mean(0).argmax()
    left, renewed = (share["with skips", how][seed] for how in mended)
    worst = left.argmin()
    print(f"training {seed + 1}: without block {most + 1}, which adds most, ", end="")
    print(f"{left[most]:.0%} right;")
    print(
        f"    without block {worst + 1} {left[worst]:.0%}, with new statistics {renewed[worst]:.0%}"
    )

# %% [markdown]
# **The answer to the prediction:** without block 9, which added most, the deep network is nearly as good as before.
# Without block 4, which added next to nothing, it is wrong more often than right (40 % right). The two other trainings
# are similar: block 9 can go, but not block 8 (second training) or 4 (third). (Block 7, the lowest in the figure's
# mean, is second worst in each training.)
#
# Without one block, the residual networks are right far more often than the plain ones, in every training. With new
# statistics they are right on about nine scenes of ten. (New statistics without a lesion cost next to nothing.) So most
# of the harm in the figure's first row came from the scale. The plain networks recover only in part: they have no skip
# past the block that was taken out.
#
# Are its blocks not needed, then? Take out three of nine, in eight random choices:

# %%
from itertools import combinations
from random import Random

choices = Random(0).sample(list(combinations(range(9), 3)), 8)
three_out = {how: [] for how in mended}
print("three of nine blocks out: share right, mean and range over eight choices")
for how, mend in mended.items():
    for seed, network in enumerate(deeps):
        left = [answers(mend(without(network, chosen)), images[half]) for chosen in choices]
        right = torch.tensor([share_right(z, labels[half])[0] for z in left])
        three_out[how].append(right.mean().item())
        print(f"    {said[how]}, training {seed + 1}: ", end="")
        print(f"{right.mean():.2f}, {right.min():.2f} to {right.max():.2f}")

# %% [markdown]
# With the old statistics, a network without three blocks is right, in the mean, on a fifth of the scenes or less
# (guessing: a tenth); with new statistics on about two thirds. So a verdict on lesions depends on whether the rest of
# the network may adapt to the new scale.

# %% [markdown]
# ## 5. What a block adds, and what it is worth
#
# Two numbers for each block, in logits of the right species: what it **adds** (section 1), and what the logit **loses**
# when it is taken out (section 4).

# %%
right, full = labels[half, None], answers(deep, images[half])
numbers = {"adds": own.blocks[half]}  # (scenes, blocks)
for how in mended:
    lost = [(full - z).gather(1, right) for z in cut["with skips", how][0]]
    numbers[f"loses, {said[how]}"] = torch.cat(lost, 1)
widest = max((1.96 * values.std(0) / len(full) ** 0.5).max() for values in numbers.values())

# %%
plots.figure(
    plots.matrix(
        [values.mean(0) for values in numbers.values()],
        list(numbers),
        rows[1:10],
        label="logits",
        title="The early blocks add almost nothing, and yet the logit falls without them",
    ),
    alt="Table in logits. Blocks 1 to 6 add 0.06 or less each; without one of them the logit loses 0.72 to 3.00, and with "
    "statistics measured anew 0.13 to 0.81. For block 9 the three numbers are nearly equal: 2.35, 2.55 and 2.62.",
    caption=f"Logits of the right species, mean over 50 scenes; 95 % intervals are at most ±{widest:.2f}.",
)

# %% [markdown]
# The share of section 1 is what a block adds to the logit **directly**. A lesion also takes away what *the blocks after
# it* get from it, and it changes the scale. No block comes after block 9, so there the three rows nearly agree. For the
# early blocks the third row is far below the second: most of the loss came from the scale. Yet the third row is many
# times the first: this is what later blocks get from the block. Without block 9 the logit falls a good deal, but hardly
# an answer changes: this block makes right answers surer.
#
# So "how important is this block?" is two questions, and each has an exact answer.

# %% [markdown]
# ### What stands in the branch's place?
#
# "Take a branch out" meant: put zero in its place. But a branch is never zero. Two other things could stand there: the
# branch's **mean** over all scenes, which is what we *expect* of it without seeing the picture; and the branch of
# **another scene**. The later blocks know such values, but not with this picture.

# %%
shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(1))
instead = {
    "its mean over scenes": lambda output: output.mean(0, keepdim=True).expand_as(output),
    "another scene's": lambda output: output[shuffled],
}


def with_branch(block, change):
    """Share right, on every second scene, when `change` acts on one block's branch."""
    branch = deep.blocks[block].branch
    # what the hook returns takes the place of the output
    with branch.register_forward_hook(lambda _module, _inputs, output: change(output)):
        return share_right(answers(deep, images[half]), labels[half])[0]


table = {
    "zero": share["with skips", "as it was"][0].tolist(),
    "zero, new statistics": share["with skips", "measured anew"][0].tolist(),
    **{name: [with_branch(b, change) for b in range(9)] for name, change in instead.items()},
}

# %%
plots.figure(
    plots.matrix(
        list(table.values()),
        list(table),
        rows[1:10],
        signed=False,
        fmt="{:.0%}",
        label="share right, 50 scenes",
        title="What a block is worth depends on what stands in its place",
    ),
    alt="Table of the share right, for four replacements and nine blocks. For block 9: zero 98 %, zero with statistics measured "
    "anew 98 %, its mean 98 %, another scene's branch 22 %. For block 4: 40 %, 92 %, 74 % and 30 %. Another scene's branch does "
    "most harm everywhere.",
    caption="Share right with something else in the branch's place, training 1. With 50 scenes a 95 % interval is up to 27 points wide.",
)

# %% [markdown]
# Look at block 9. With zero or the mean in its place hardly an answer changes; with another scene's branch, most answers are
# wrong. The network can do without what this block adds, but a wrong addition misleads it. Look at block 4: zero, zero with
# new statistics and the mean give three different values.
#
# So a lesion, too, is a comparison **with something expected**, and another expectation gives another answer. That is the
# second sense of *residual*.

# %% [markdown]
# ## 6. Actual minus expected
#
# In the second sense the expectation is an input, the **baseline** $x_0$. The question is: *where does the change
# $f(x) - f(x_0)$ come from?* Here $f$ is the logit of one species.
#
# | | how it asks | the sum of its map |
# |---|---|---|
# | **occlusion** | cover one window after another, see how far the logit falls | not fixed |
# | **Integrated Gradients** | go from $x_0$ to $x$ in small steps, add up slope times change on the way | $f(x) - f(x_0)$, nearly |
# | **expected gradients** | the same, in the mean over many baselines from data | $f(x)$ minus the mean $f(x_0)$, nearly |
# | **DeepLIFT** | pass the change back layer by layer, with *change out / change in* as the slope | $f(x) - f(x_0)$, exactly |
# | **LRP** (layer-wise relevance propagation) | start with the logit and hand it back, layer by layer: each term of a neuron's sum gets its share (rule γ: positive terms get more). It has no baseline: it divides the logit itself, not a change | the logit minus what the biases take |
#
# Integrated Gradients, for example: *f*(*x*) = ReLU(*x* − 1), from 0 to 3 in three steps of length 1. In the middle of
# each step the slopes are 0, 1, 1. Each times 1, they add up to *f*(3) − *f*(0) = 2. DeepLIFT: a ReLU's input is 3 at
# the image and −1 at the baseline. The input changes by 4, the output by 3, so the slope is 3/4. LRP: a neuron has
# relevance 6, and its sum has the terms 1 and 2. They get 2 and 4. (RISE, LIME and Shapley values are in lesson 15.)
#
# We explain the first test scene of *Tenuella guttata*, in all five ways. The baseline is the picture's mean colour; for
# expected gradients, ten training scenes, one of each species.

# %%
from xai_course.core import baseline_images
from xai_course.data import denormalise
from xai_course.residual import deeplift, expected_gradients, integrated_gradients, lrp, occlusion


def draw(some):
    """Scenes as the network's input."""
    return normalise(stack_images(some))


# %%
guttata = torch.tensor([names.index("Tenuella_guttata")])
spotted = draw(scenes("test", "Tenuella_guttata", 1))
ten = draw([scene for name in names for scene in scenes("train", name, 1)])
shown = denormalise(spotted)[0].clamp(0, 1)
five = {
    "occlusion": occlusion(beetle_net, spotted, guttata, window=8, stride=4),
    "Integrated Gradients": integrated_gradients(beetle_net, spotted, guttata, steps=32),
    "expected gradients": expected_gradients(beetle_net, spotted, guttata, baselines=ten, steps=16),
    "DeepLIFT": deeplift(beetle_net, spotted, guttata),
    "LRP, rule γ": lrp(beetle_net, spotted, guttata, rule="gamma"),
}

# %%
plots.figure(
    plots.overlay(
        [shown] * 6,
        [None, *(relevance[0] for relevance in five.values())],
        ["the scene", *five],
        shared_scale=False,
        columns=3,
        title="Five answers to: where does the change come from?",
    ),
    alt="A spotted beetle and five relevance maps of it. Occlusion gives a soft orange band from one antenna over head and "
    "wing cases, and blue at the other antenna. The other four give fine grain on the spots, the head and the antennae.",
    caption="Occlusion covers windows, so its map is smooth; the others have a value for each pixel. Each panel has its own scale.",
)


# %%
def logit_of(images, classes, network=beetle_net):
    """The logit of one class for each image."""
    with torch.no_grad():
        return network(images).gather(1, classes[:, None])[:, 0]


here, change = logit_of(spotted, guttata), {}
for name in five:
    change[name] = (here - logit_of(baseline_images(spotted, "mean"), guttata)).item()
change["expected gradients"] = (here - logit_of(ten, guttata.expand(10)).mean()).item()
change["LRP, rule γ"] = here.item()  # no baseline: the whole logit
print("                         sum of the map    what there is to explain")
for name, relevance in five.items():
    what = "f(x)        " if name.startswith("LRP") else "f(x) - f(x0)"
    print(f"{name:22} {relevance.sum().item():16.2f}     {what} = {change[name]:.2f}")

# %% [markdown]
# DeepLIFT's sum agrees in every digit printed: it is exact by construction, for every baseline. Integrated Gradients
# come near, and mostly nearer with more steps; so always print both numbers. LRP's sum is less than half of the logit.
# The rest is the share of the biases, and no pixel gets it: that is LRP's rule, not an error. Occlusion counts each
# pixel once for each window over it, so its sum means nothing.
#
# Why not take the slope at the picture itself? Where a network is certain, a small change of the picture hardly changes
# its answer: the slope is near 0. This is called **saturation**. On the way from the baseline there are places with a
# larger slope.

# %% [markdown]
# ## 7. What to compare with?
#
# We choose the baseline, and with it the question: *this beetle rather than what?* Relevance is *change times slope*.
# Against black, a dark spot is hardly a change. So it gets next to no relevance, however much it matters.

# %%
from functools import partial

fast, black = {"steps": 8, "batch_size": 40}, normalise(torch.zeros(1, 3, 64, 64))
expectations = {
    "black": partial(integrated_gradients, baseline=black, **fast),
    "its blur": partial(integrated_gradients, baseline="blur", **fast),
    "its mean colour": partial(integrated_gradients, baseline="mean", **fast),
    "ten other beetles": partial(expected_gradients, baselines=ten, steps=1, batch_size=40),
}

# %% [markdown]
# Which expectation is best? On 40 test scenes, four of each species, we compare the relevance of each part with its true
# effect, the answer key. We read each map in four ways, as in lesson 06: its values count *signed* or by *size*, and
# the score is *rank* or *top part*.
#
# The eight nulls: noise, edges, bright edges, the centre, away from the centre; and the method's own maps (baseline:
# the mean colour) for an untrained network, another class and another image (of any species). The **field guide** (lesson 05) stands
# apart: it paints a part by how many other species differ in it, and knows no network. At a first reading, run the next
# two cells and go on to the figure.

# %%
from xai_course.beetlebox import field_guide_map, spearman_with_truth, top1_agreement
from xai_course.core import strongest_null
from xai_course.metrics import null_battery

forty = [scene for name in names for scene in scenes("test", name, 4)]
x, right_class, masks = draw(forty), torch.arange(10).repeat_interleave(4), stack_masks(forty)
removed = draw([scene.without(part) for scene in forty for part in PARTS])


def key_of(network):
    """The answer key of one network: what each part adds to the logit, (scenes, parts)."""
    without_it = logit_of(removed, right_class.repeat_interleave(len(PARTS)), network)
    return logit_of(x, right_class, network)[:, None] - without_it.view(len(forty), -1)


readings = {
    f"{readout}, {name}": (readout, score)
    for readout in ("signed", "size")
    for name, score in {"rank": spearman_with_truth, "top part": top1_agreement}.items()
}


def graded(maps, key):
    """For each reading and each map: agreement with the key, one number a scene."""
    table = {}
    for reading, (readout, score) in readings.items():
        effects = key.abs() if readout == "size" else key
        table[reading] = {
            name: score(part_relevance(m, masks, readout=readout), effects)
            for name, m in maps.items()
        }
    return table


# %%
key = key_of(beetle_net)
nulls = null_battery(beetle_net, x, expectations["its mean colour"], right_class)
explained = {name: f(beetle_net, x, right_class) for name, f in expectations.items()}
ours, theirs = graded(explained, key), graded(nulls, key)
guide = {"field guide": field_guide_map(forty)}  # knows species and masks, and no network
looked_up = graded(guide, key)

# %%
plots.figure(
    plots.matrix(
        [[(ours[r] | theirs[r])[name].mean() for r in readings] for name in (*explained, *nulls)],
        [*explained, *(f"null: {name}" for name in nulls)],
        list(readings),
        label="agreement",
        title="Read by sign, the expectation counts;\nread by size, hardly",
    ),
    alt="Table of four readings; rows are four expectations and eight nulls. By signed rank: black 0.37, mean colour 0.58, blur "
    "0.63, ten other beetles 0.74, and the null bright edges 0.70. By size and rank the four have 0.77, 0.78, 0.78 and 0.73, and "
    "the null another class 0.71.",
    caption="Agreement of Integrated Gradients with the answer key, 40 scenes. In the upper four rows only the baseline differs.",
)

# %%
print("agreement with the key; difference: minus the strongest null, scene by scene (95 %)")
for reading in readings:
    best, values = strongest_null(theirs[reading])
    print(f"{reading}: the strongest null is {best}, {values.mean():.2f}")
    for name, own_values in ours[reading].items():
        text = interval_text(mean_interval(own_values - values), signed=True)
        print(f"    with {name:17} {own_values.mean():.2f}, difference {text}")
    best, values = max(ours[reading].items(), key=lambda item: item[1].mean())
    in_guide = looked_up[reading]["field guide"]
    lead = interval_text(mean_interval(values - in_guide), signed=True)
    print(f"    the field guide {in_guide.mean():.2f}; {best} minus it {lead}")

# %%
print("ten other beetles minus black")
for seed, network in enumerate(beetle_nets):
    if seed:
        explained = {
            n: expectations[n](network, x, right_class) for n in ("black", "ten other beetles")
        }
    table = ours if seed == 0 else graded(explained, key_of(network))
    for reading in ("signed, rank", "size, rank"):
        difference = table[reading]["ten other beetles"] - table[reading]["black"]
        text = interval_text(mean_interval(difference), signed=True)
        print(f"    training {seed + 1}, {reading:12} {text}")

# %% [markdown]
# Read the column *signed, rank*. Only the baseline changed, and black agrees with the key by 0.3 to 0.4 less than ten
# other beetles, in all three trainings. In the column *size, rank* the four are nearly alike. So the expectation decides
# which **sign** a part gets, and hardly its rank by size. If you read signs, name the baseline first.
#
# By signed rank, bright edges are as good as the best expectation, and they know nothing of the network. By size and
# rank three of the four lie a little above the strongest null, *another class*: by size, a map asked about another
# species names nearly the same parts. By top part no expectation is clearly above the nulls (*clearly*: the interval is
# without 0, and one here ends at 0). In no reading is one clearly above the field guide. So the ranking of parts is
# weak evidence that these maps explain this network. Better evidence is in the figure's last three rows: asked about an
# untrained network, another class or another image, the signed maps (baseline: mean colour) fall by rank from 0.58 to
# below 0.2.

# %% [markdown] tags=["further"]
# ## 8. The claim: *suits textures*
#
# A test needs cases whose right answer is known **and differs from case to case**. We use two pairs of species. *Guttata* and
# *lineata* differ in the **pattern** (texture) alone; *unicornis* and *monoceros* in the **outline** (shape) alone. So we
# can ask about texture, "why *guttata* and not *lineata*?", and about shape, "why *unicornis* and not *monoceros*?". Both are
# the logit of one species minus the logit of another.
#
# Suppose that we asked the texture question about *guttata* and *lineata* only, and the shape question about
# *unicornis* and *monoceros* only. Then even a map that knows no network could tell the two questions apart, because
# the beetles differ. (A map that shows only the distance from the centre often could.) So ask **both questions about
# the same beetle**. A *guttata*, too, is asked "why *unicornis* and not *monoceros*?". It is neither, but the network
# gives each picture all ten logits, so the question has an answer. A map that depends on the image alone is then the
# same for both questions, and gains nothing. First the truth, for 20 beetles of *guttata* and *lineata* (a *lineata* is
# asked the reverse: why *lineata* and not *guttata*?): how far does the answer fall if we exchange the pattern, and how
# far if we exchange the outline? (At a first reading, run the next two cells and go on to the table, which is in
# logits.)

# %%
from xai_course.beetlebox import TRAITS

pair = ("Tenuella_guttata", "Tenuella_lineata")
twenty_beetles = [scene for name in pair for scene in scenes("test", name, 10)]
asked = draw(twenty_beetles)
mine = torch.tensor([names.index(scene.species) for scene in twenty_beetles])
long, oval = (names.index(name) for name in ("Tenuella_unicornis", "Ellipsa_monoceros"))
# class 10 · a + b will be the logit of a minus that of b
questions = {"texture": 10 * mine + mine.flip(0), "shape": torch.full((20,), 10 * long + oval)}

difference, one = nn.Linear(10, 100, bias=False), torch.eye(10)
difference.weight.data = (one[:, None] - one[None]).flatten(0, 1)


def versus(network):
    """A network whose class 10·a + b is the logit of a minus the logit of b."""
    return nn.Sequential(network, difference).eval()


def versions(scene, trait):
    """The scene with each other value of a trait."""
    others = [value for value in TRAITS[trait] if value != getattr(scene.traits, trait)]
    return draw([scene.with_trait(**{trait: value}) for value in others])


exchanged, moved = {}, {}
for trait in ("pattern", "outline"):
    exchanged[trait] = torch.stack([versions(scene, trait) for scene in twenty_beetles], 1)
    moved[trait] = (exchanged[trait] != asked).any(2).any(0)
inside, rim = moved["pattern"], moved["outline"] & ~moved["pattern"]

# %%
costs = [["training", "question", "pattern", "outline", "pattern costs more in"]]
for seed, network in enumerate(beetle_nets):
    for name, question in questions.items():
        ask = partial(logit_of, classes=question, network=versus(network))
        pattern, outline = (
            ask(asked) - torch.stack([ask(other) for other in exchanged[trait]]).mean(0)
            for trait in ("pattern", "outline")
        )
        cells = [f"{pattern.mean():.1f}", f"{outline.mean():.1f}"]
        costs.append([seed + 1, name, *cells, f"{(pattern > outline).sum()} of 20"])
show_table(*costs)

# %% [markdown]
# For the texture question the pattern costs more, for the shape question the outline, in all three trainings. Does a
# map show it? Call **inside** the pixels that change with the pattern, and **rim** those that change with the outline
# only (in lesson 01 the rim was that of the picture). Which share of a map, by size, lies inside? This share should be
# larger for the texture question than for the shape question. The score: on how many of the 20 beetles it is larger.
# (Signed: inside minus rim.)
#
# Two nulls can still win. *Random weights*: with them, too, the map differs from question to question, perhaps in the
# same way for every beetle. (Then it is right on all twenty or on none, by one piece of luck. So twenty beetles of one
# network are one trial, not twenty.) *Another beetle's map*: it knows the question, and nothing of this beetle. At a
# first reading, run the next two cells and go on to the figure.

# %%
from xai_course.core import seed_interval
from xai_course.fully_connected import class_activation_map
from xai_course.relu import gradient_times_input
from xai_course.residual import block_map


def cam_difference(network, images, question):
    """The class activation map of one species minus that of the other."""
    a, b = (class_activation_map(network[0], images, q) for q in (question // 10, question % 10))
    return a - b


methods = {
    "gradient × input (1)": gradient_times_input,
    "class activation map (2)": cam_difference,
    "map of the last block (3)": block_map,
    "DeepLIFT (3)": deeplift,
    "LRP, rule γ (3)": partial(lrp, rule="gamma"),
}


def share_inside(relevance, signed):
    """The share of relevance inside (of that inside and on the rim), or signed: inside minus rim."""
    flat, size = relevance.sum(1), relevance.sum(1).abs()
    part = flat * inside - flat * rim if signed else size * inside
    return part.sum((1, 2)) / (size * (inside | rim)).sum((1, 2))


def told_apart(texture, shape):
    """In how many beetles the share inside is larger for the texture question: by size, signed."""
    return [int((share_inside(texture, s) > share_inside(shape, s)).sum()) for s in (False, True)]


untrained = [reinitialised(network, asked, seed=s) for s, network in enumerate(beetle_nets)]
kinds = ("", "null: random weights", "null: another beetle's map")
pairs, found_apart = {}, {}  # maps for both questions; hits, each (by size and signed, trainings)
for name, explain in methods.items():
    for kind, networks in zip(kinds, (beetle_nets, untrained), strict=False):
        pairs[kind] = [
            [explain(versus(network), asked, q) for q in questions.values()] for network in networks
        ]
    pairs[kinds[2]] = [[relevance.roll(1, 0) for relevance in pair] for pair in pairs[""]]
    for kind in kinds:
        found_apart[name, kind] = torch.tensor([told_apart(*pair) for pair in pairs[kind]]).T

# %%
guessing, by_name, tick = 0.5, {}, {}
for name in methods:
    mean, low, high = seed_interval((found_apart[name, ""][0] / 20).tolist(), images=20)
    by_name[name] = mean - guessing, low - guessing, high - guessing
    best = max(found_apart[name, kind][0].sum().item() / 60 for kind in kinds[1:])
    tick[name] = best - guessing

# %%
plots.figure(
    plots.bars(
        by_name,
        references=tick,
        title="Two coarse maps know whether texture or shape was asked",
        label="share of beetles with more inside for texture, minus 0.5 (guessing)",
        reference_label="strongest null",
    ),
    alt="Bars for five methods, above the 0.5 of guessing. The class activation map has +0.50, which is all beetles, the map of "
    "the last block +0.48, LRP +0.35, gradient × input +0.20, DeepLIFT +0.12; the intervals of the last two hold zero. Grey "
    "ticks of the strongest null: +0.40 and +0.37 for the first two.",
    caption="(1), (2), (3): the technique. Guessing, and every map of the image alone: 0. Lines: 95 %, three trainings.",
)

# %%
print("of 20 beetles, three trainings each                     by size       signed")
for (name, kind), (size, signed) in found_apart.items():
    columns = ["  ".join(f"{hit:2}" for hit in hits.tolist()) for hits in (size, signed)]
    print(f"{name if not kind else '    ' + kind:52}  {columns[0]}    {columns[1]}")

# %% [markdown]
# The claim does not hold. Two maps show which question was asked, on every beetle or nearly: the class activation map
# of the *second* technique, and the last block's map of the third. LRP follows. DeepLIFT, whose sums are exact, and
# gradient × input are not clearly above random weights. So within the third technique one method hardly does better
# than guessing, and another is nearly perfect: texture is no strength of the technique. Signed, and added up over the
# three trainings, the order is the same (with two ties: 60 and 60, 41 and 41), and DeepLIFT (41 of 60) is even behind
# random weights (52).
#
# Even the two best maps show less than it seems: *another beetle's* map does nearly as well. Both know the question,
# but hardly where the pattern lies on this beetle: their maps have 8 × 8 places.
#
# Why is it so hard? **Texture and outline share their pixels.** A pixel on the wing case says "spotted" *and* "here the
# wing case goes on". A map says *where*, and the question was *what*. To answer *what*, compare with *the same beetle with
# another pattern*, as in the first table of this section. This takes no map.

# %% [markdown] tags=["further"]
# ## 9. The claim: *poor under changes during training*
#
# The course holds saved moments of three trainings of BeetleNet. Explain the same 40 scenes at four of them, with a
# method of each technique. The explanations change, as they must: the network goes from chance to 99 %. So we ask: is
# the explanation **right about the network of that moment**, by that network's own answer key? The nulls are maps that
# know no network. They never change, but the key does, so their scores change, too.

# %%
from xai_course.models import BeetleNet

steps = (0, 30, 125, 625)
families = {
    "gradient × input (1)": gradient_times_input,
    "CAM (2)": class_activation_map,
    "last block (3)": block_map,
    "DeepLIFT (3)": deeplift,
}


def at_moment(seed, step):
    """BeetleNet after so many steps of one of three trainings; 0 is untrained, 625 the end."""
    if step == 0:
        torch.manual_seed(seed)
        return BeetleNet(classes=10).eval()
    if step == steps[-1]:
        return beetle_nets[seed]
    folder = f"beetle_net_snapshots{f'_seeds/seed_{seed}' if seed else ''}"
    return load_checkpoint(checkpoints / folder / f"step_{step:04}", classes=names)[0]


history = {}
for seed in range(3):
    for step in steps:
        network = at_moment(seed, step)
        found = {name: explain(network, x, right_class) for name, explain in families.items()}
        history[seed, step] = found, key_of(network)


# %%
nulls = null_battery(beetle_net, x, None, right_class)  # of the image alone
judged = {when: graded(found | nulls | guide, key) for when, (found, key) in history.items()}
for table in judged.values():
    for scores in table.values():
        _, scores["strongest null"] = strongest_null({name: scores[name] for name in nulls})


def over_trainings(name, reading):
    """The agreement at each moment, in the mean over three trainings."""
    return [sum(judged[k, s][reading][name].mean().item() for k in range(3)) / 3 for s in steps]


# %%
words = {"signed, rank": "signed", "size, rank": "by size"}
leads = {}
for name in ("DeepLIFT (3)", "last block (3)"):
    for reading, word in words.items():
        both = (over_trainings(one, reading) for one in (name, "strongest null"))
        leads[f"{name.split(' (')[0]}, {word}"] = [a - b for a, b in zip(*both, strict=True)]

# %%
plots.figure(
    plots.lines(
        leads,
        range(len(steps)),
        title="DeepLIFT has an early lead over the nulls, but only by sign",
        x_label="moment: 0 untrained, 1 step 30, 2 step 125, 3 the end (step 625)",
        y_label="agreement, minus the strongest null's",
        marks={"no lead": 0},
    ),
    alt="Four lines over four moments: the lead over the strongest null. DeepLIFT by sign starts at +0.56 and falls to +0.04 at "
    "the end; by size it is at 0 or below until step 125 and at +0.07 at the end. The last block's map by sign falls from +0.04 "
    "to −0.37; by size it is between −0.13 and −0.41.",
    caption="Mean over three trainings, 40 scenes each; rank correlation over parts.",
)

# %%
for reading in words:
    print(f"{reading}: agreement, and in brackets the lead over the strongest null")
    print("that knows the image alone (*: clearly above or below 0)")
    table = [["training", "map", "untrained", "step 30", "step 125", "the end"]]
    for seed in range(3):
        for name in families:
            text = []
            for step in steps:
                scores = judged[seed, step][reading]
                mean, low, high = mean_interval(scores[name] - scores["strongest null"])
                mark = r"\*" if low > 0 or high < 0 else ""
                text.append(f"{scores[name].mean():.2f} ({mean:+.2f}){mark}")
            table.append([seed + 1, name, *text])
    show_table(*table)

# %% [markdown]
# (A lead can be larger than the score: then the strongest null is below 0.) The answer depends on two choices. The
# first is the sense of *residual*. Read by sign, the last block's map (the branch) is close to nothing in the early
# networks. At the end it is still far behind the strongest null, bright edges. So this map is poor, but not because of
# training. DeepLIFT (actual minus expected) agrees best of the four methods at every moment.
#
# The second choice is the readout. Read by **sign**, DeepLIFT is right about the untrained network, far above the maps
# that know no network, and nearly as right as about the final one. Its lead is small or gone once the network has
# learnt, because bright edges then order the parts nearly as well. Read by **size**, DeepLIFT gets better with training
# instead, and before the end it is clearly above the nulls in no training. So by sign the claim is refuted, and by size
# it is confirmed. (Gradient × input, of the first technique, has the early lead by sign, too.)

# %% [markdown]
# ## Where it breaks
#
# **A lesion makes a stream that no picture makes** (one says: it is off the **data manifold**). The later blocks were
# never trained for it.
#
# **A baseline that is itself a beetle.** As baselines for our *guttata* we take its twin *lineata*, drawn with the same
# seed, and another *guttata* somewhere else in the picture.

# %%
this, _, another = scenes("test", "Tenuella_guttata", 3)
rather_than = {
    "its mean colour": baseline_images(spotted, "mean"),
    "its striped twin": draw([this.with_trait(pattern="striped")]),
    "another guttata": draw([another]),
}
ghosts = {n: deeplift(beetle_net, spotted, guttata, baseline=b) for n, b in rather_than.items()}

# %%
plots.figure(
    plots.overlay(
        [*(denormalise(b)[0].clamp(0, 1) for b in rather_than.values()), *[shown] * 3],
        [None] * 3 + [relevance[0] for relevance in ghosts.values()],
        [*rather_than, *(f"rather than\n{name}" for name in ghosts)],
        columns=3,
        title="A beetle for a baseline: the map explains two beetles at once",
    ),
    alt="Above three baselines: a plain colour, a striped beetle, a beetle elsewhere. Below the DeepLIFT maps of one spotted "
    "beetle against each. Against the plain colour, pattern and antennae have relevance; against the twin only the pattern; "
    "against the other beetle there are blue and orange marks beside the beetle, where the other one was.",
    caption="In the last panel, the blue and orange marks beside the beetle belong to the other beetle.",
)


# %%
effects = dict(zip(PARTS, key[forty.index(this)].tolist(), strict=True))
print(f"{'rather than':17}  pattern  antennae  map's sum  f(x) - f(x0)")
print(f"{'(true effect)':17} {effects['pattern']:8.2f} {effects['antennae']:9.2f}")
for name, relevance in ghosts.items():
    sums = dict(zip(PARTS, part_relevance(relevance, [this])[0].tolist(), strict=True))
    total = (here - logit_of(rather_than[name], guttata)).item()
    print(f"{name:17} {sums['pattern']:8.2f} {sums['antennae']:9.2f}", end="")
    print(f" {relevance.sum().item():10.2f} {total:13.2f}")

# %% [markdown]
# All three sums are right. The second map is a good answer to "why not *lineata*?". It gives nothing to the antennae,
# which both beetles have, although the key says that they matter. The third map explains a difference that nobody asked
# about. A sum can be right to the last digit, and the question wrong.

# %% [markdown]
# ## Exercises
#
# **1. Shares of the logit** (10 minutes, medium). A network ends like BeetleNet: the ReLU of a sum, the mean over places, one
# linear layer. `stem` (N, K, h, w) is what the skip path brings, `changes` (B, N, K, h, w) are the outputs of B branches, all
# added up before that one ReLU; `weight` (K,) is the row of the last layer for one species. Return the shares (N, B + 1):
# stem first, then the branches. They add up to the logit without its bias.


# %% tags=["exercise"]
def shares_of_the_logit(stem, changes, weight):
    """What the stem and each change add to the logit, (N, B + 1), the gates held."""
    return ...


# %% tags=["solution"]
def shares_of_the_logit(stem, changes, weight):
    """What the stem and each change add to the logit, (N, B + 1), the gates held."""
    parts = torch.cat([stem[None], changes])  # (B + 1, N, K, h, w)
    gates = parts.sum(0) > 0  # open where the sum is positive
    return ((parts * gates).mean((3, 4)) @ weight).T


# %%
from xai_course.exercises.lesson_07 import check_shares

check_shares(shares_of_the_logit)

# %% [markdown]
# <details><summary>Hint</summary>
#
# There is one gate for each channel and place: open where `stem + changes.sum(0)` is above 0. It lets all parts through
# or stops all parts, whatever their signs. The mean over the places, `.mean((3, 4))`, leaves (B + 1, N, K); `@ weight`
# adds up over K, and `.T` exchanges the two axes that are left. `torch.cat([stem[None], changes])` has all parts in one
# tensor.
# </details>
#
# **2. The logit lens** (10 minutes, easy). Section 3 uses it; you need only this: the lens sets all later branches to
# zero and reads the logits. `x` (N, K) is the stem's output, `branches` a list of B functions, `head` the last layer; a
# block makes `x + branch(x)` of `x`, with no ReLU after the sum. Return the logits (N, B + 1, classes): what `head`
# says of the stem, then after each block.


# %% tags=["exercise"]
def lens_by_hand(x, branches, head):
    """Logits (N, B + 1, classes) after the stem and after each block."""
    return ...


# %% tags=["solution"]
def lens_by_hand(x, branches, head):
    """Logits (N, B + 1, classes) after the stem and after each block."""
    rows = [head(x)]
    for branch in branches:
        x = x + branch(x)
        rows.append(head(x))
    return torch.stack(rows, 1)


# %%
from xai_course.exercises.lesson_07 import check_lens

check_lens(lens_by_hand)

# %% [markdown]
# <details><summary>Hint</summary>
#
# If all later branches give zero, the stream reaches the head as it left block b. So go along the stream once, and keep
# `head(x)` after each block. `torch.stack(rows, 1)` puts the rows on the second axis.
# </details>
#
# **3. The slope of a step** (10 minutes, medium). DeepLIFT's rule for N ReLUs (section 6): from each one's input at the
# image and at the baseline, return *change out divided by change in*; where the input does not change, the derivative
# (1 above 0, else 0).


# %% tags=["exercise"]
def multiplier(at_image, at_baseline):
    """DeepLIFT's slopes of ReLUs: inputs (N,) and (N,) to (N,)."""
    return ...


# %% tags=["solution"]
def multiplier(at_image, at_baseline):
    """DeepLIFT's slopes of ReLUs: inputs (N,) and (N,) to (N,)."""
    change = at_image - at_baseline
    same = change == 0
    slope = (at_image.relu() - at_baseline.relu()) / torch.where(same, 1.0, change)
    return torch.where(same, (at_image > 0).to(slope), slope)


# %%
from xai_course.exercises.lesson_07 import check_multiplier

check_multiplier(multiplier)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Open at both: 1. Closed at both: 0. Otherwise something between. Where the input does not change, 0 / 0 is not a number: put
# 1 into the denominator there, and choose with `torch.where` afterwards.
# </details>

# %% [markdown]
# ## Verdict
#
# **"Compares the change with the expected change": depends on the expectation, and on how the map is read.** The
# article names neither. By sign, Integrated Gradients from black agree with the answer key by 0.37, from ten other
# beetles by 0.74. None of the four expectations is clearly above the strongest null, bright edges, with 0.70. By size
# the expectations have 0.73 to 0.78, and three are a little above the strongest null, another class, with 0.71. None is
# clearly above the field guide, which knows no network (0.81 by sign, 0.80 by size).
#
# **"Suits inputs where texture matters": refuted as a strength of this technique**, in this world (section 8). We asked
# about texture and about shape, on the same beetles. The map that tells these questions apart in 60 of 60 cases belongs
# to the second technique. Of the third technique, the last block's map does so in 59, LRP in 51, and DeepLIFT in 37,
# which is not clearly above guessing. For the two best maps the strongest null, another beetle's map, has 54 and 52:
# both maps know the question, and hardly this beetle.
#
# **"Poor under changes during training": depends on the sense of *residual*, and on how the map is read (section 9).**
# The last block's map is poor at every moment, also at the end (0.30 by sign, the strongest null 0.68). DeepLIFT is
# right about an untrained network by sign (0.57, the null 0.00), and not by size (0.42, the null 0.42). At the end
# DeepLIFT is a little above the null by size (0.75, the null 0.68), and not above the field guide (0.78).
#
# **"Residual networks still work without one block"** (Veit and others, not the article)**: depends on how many blocks,
# and on whether the batch-norm statistics are measured anew.** Without one of nine blocks the residual networks are
# right on 0.66 of the scenes, and on 0.91 with statistics measured anew. The plain networks, the null, have 0.16 and
# 0.34. Without three of nine blocks the residual networks have 0.17 and 0.65.
#
# The numbers, with their 95 % intervals and nulls:


# %%
def line(name, *values):
    """A name, and numbers with their intervals."""
    print(f"    {name:30}" + "  ".join(f"{interval_text(v):21}" for v in values))


print("agreement with the key, Integrated Gradients from: by sign, by size (40 scenes)")
for name in expectations:
    line(name, *(mean_interval(ours[reading][name]) for reading in words))
best = [strongest_null(theirs[reading]) for reading in words]
line("strongest null", *(mean_interval(values) for _, values in best))
print(f"    which is {best[0][0]} by sign, {best[1][0]} by size")
print("texture told from shape, share of beetles (guessing: 0.50)")
for name in methods:
    line(name, seed_interval((found_apart[name, ""][0] / 20).tolist(), images=20))
    hits, random, other = (int(found_apart[name, kind][0].sum()) for kind in kinds)
    print(f"        {hits} of 60; null: random weights {random}, another beetle's map {other}")

# %%
for reading, word in words.items():
    print(f"agreement with the network's key of the moment, {word}: untrained, at the end")
    for name in ("DeepLIFT (3)", "last block (3)", "strongest null", "field guide"):
        ends = [[judged[k, s][reading][name].mean() for k in range(3)] for s in (0, steps[-1])]
        line(name, *(seed_interval(values, bounds=(-1, 1)) for values in ends))
    tables = [[judged[k, s][reading] for k in range(3)] for s in (0, steps[-1])]
    leads = [[t["DeepLIFT (3)"].mean() - t["field guide"].mean() for t in some] for some in tables]
    print("    DeepLIFT's agreement minus the field guide's, the difference:")
    print(" " * 33, *(interval_text(seed_interval(some), signed=True) for some in leads))
print("share right without one block, mean over blocks, three trainings (guessing: 0.10)")
for (arm, how), values in share.items():
    line(f"{arm}, {said[how]}", seed_interval(values.nanmean(1).tolist(), bounds=(0, 1)))
print("share right without three of nine, with skips, three trainings (guessing: 0.10)")
for how, values in three_out.items():
    line(said[how], seed_interval(values, bounds=(0, 1)))

# %% [markdown]
# ## Take it with you
#
# The map of one block (section 2): the method alone. Pasted into an empty file, it runs, also on a standard ResNet.
# `snippet` does this for every function of the package. For a project leave `checks=False` out: then arguments and sums
# are checked.

# %%
from xai_course.snippets import snippet

source = snippet(block_map, checks=False)
display(Code(source, language="python"))

# %% tags=["nbval-check-output"]
empty: dict = {}
exec(source, empty)
same = torch.equal(empty["block_map"](deep, beetle, block=7), block_map(deep, beetle, block=7))
print("the same map:", same)  # block=7: the eighth (Python counts from 0)

# %% [markdown]
# ## Quiz
#
# **1. One of nine blocks adds 0.03 logits to an answer of 4. What do you know about it?**
#
# <details><summary>a) That the network can do without it.</summary>
#
# No. Block 4 is such a block. Without it most answers are wrong (with the old statistics).
# </details>
# <details><summary>b) That the logit falls by about 0.03 when the block is taken out.</summary>
#
# No, only where all layers after the block are linear. Elsewhere later blocks get another input, and gates change.
# </details>
# <details><summary>c) That it adds 0.03 along the skips, whatever later blocks get from it.</summary>
#
# Yes. The share counts the way along the skips alone. What later branches get from the block counts as theirs.
# </details>
#
# **2. The logit lens (section 3) reads the logits with all later blocks set to zero. It is near chance up to block 6.
# Which sentence may you write?**
#
# <details><summary>a) The network knows little of the species before block 7.</summary>
#
# No. A probe reads the species off the stream far earlier.
# </details>
# <details><summary>b) The last layer can hardly read the species off the stream before block 7.</summary>
#
# Yes. That is what the lens measures.
# </details>
# <details><summary>c) Blocks 1 to 6 matter little, so some of them can be left out.</summary>
#
# No. Later blocks work on what these six added. What can be left out is a question for a lesion.
# </details>
#
# **3. A map's sum is exactly f(x) − f(x₀). What follows?**
#
# <details><summary>a) The map divides all of the change among the pixels, and nothing else.</summary>
#
# Yes, and no more than that.
# </details>
# <details><summary>b) The baseline was acceptable: with a bad one, the sum would not fit.</summary>
#
# No. The sum is exact for every baseline, also for one that nobody asked about.
# </details>
# <details><summary>c) The map is roughly right: the largest parts got what they deserve.</summary>
#
# No. Exactness says that nothing was lost on the way, not that it went to the right pixels.
# </details>

# %% [markdown]
# ## References
#
# - He and others: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv:1512.03385.
# - Veit and others: Residual Networks Behave Like Ensembles of Relatively Shallow Networks. NeurIPS 2016, arXiv:1605.06431.
# - Li and others: Revisiting Batch Normalization for Practical Domain Adaptation. 2016, arXiv:1603.04779 (statistics anew).
# - nostalgebraist: interpreting GPT: the logit lens. LessWrong, 2020. Belrose and others: Eliciting Latent Predictions from
#   Transformers with the Tuned Lens. 2023, arXiv:2303.08112 (a reader for each place, as our probe is).
# - Zeiler, Fergus: Visualizing and Understanding Convolutional Networks. ECCV 2014, arXiv:1311.2901 (occlusion).
# - Sundararajan and others: Axiomatic Attribution for Deep Networks. ICML 2017, arXiv:1703.01365 (Integrated Gradients).
# - Erion and others: Improving Performance of Deep Learning Models with Axiomatic Attribution Priors and Expected Gradients.
#   Nature Machine Intelligence 2021, arXiv:1906.10670.
# - Shrikumar and others: Learning Important Features Through Propagating Activation Differences. ICML 2017,
#   arXiv:1704.02685 (DeepLIFT).
# - Bach and others: On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation. 2015.
# - Adebayo and others: Sanity Checks for Saliency Maps. NeurIPS 2018, arXiv:1810.03292 (edges and random weights as nulls).
# - Clark and others: XAI-TRIS. 2023, arXiv:2306.12816 (methods "often unable to outperform" edge detection).
# - Geirhos and others: ImageNet-Trained CNNs Are Biased Towards Texture. ICLR 2019, arXiv:1811.12231 (pattern against outline).
