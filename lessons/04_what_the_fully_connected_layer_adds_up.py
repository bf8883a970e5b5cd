# ---
# jupyter:
#   course:
#     question: "Why this beetle and not its twin?"
#     minutes: 75
# ---

# %% [markdown]
# # What the fully connected layer adds up
#
# > **You will be able to** take a logit apart into a sum that is exactly right; show where in the picture each part of
# > the sum comes from; ask a network why it says A *and not B*; look up what a network finds similar; and test whether a
# > network uses a concept, without being fooled by an accurate one that it does not use.
# >
# > **You need** lesson 01 (the answer key) and lesson 02 (the two networks).
# >
# > **Time** 75 minutes with all exercises (35), of which the computer takes about one.
# >
# > **For** everyone. *Engineers*: sections 3 and 4, and *Take it with you*. *Teachers*: the prediction with section 4;
# > section 7 makes a short lesson of its own. *Policy makers*: sections 4 and 5, *Where it breaks* and the verdict.

# %% [markdown]
# ## The claim
#
# The article's second technique reads the **fully connected layer**. That is the last step of a classifier, a table of
# weights: each class's logit is a weighted sum of all *features*, the numbers that the convolutions made of the picture.
# Since it joins the outputs of convolution and pooling, says the article, it shows **global features**. Its table adds
# a strength, **better on complex tasks**, and a limit, **costly and complex**. We test all three.

# %% [markdown]
# ## Predict
#
# *Ellipsa longicornis* and *Ellipsa furcata* are twins: they differ in their antennae and in nothing else. From a
# network we take two maps of the same *longicornis*. One shows *what speaks for longicornis*. The other shows *why
# longicornis and not furcata*.
#
# Both are held against the true answer to the **second** question. **How well does the first map, the usual one, rank
# the parts for it: nearly as well as the second map, about half as well, or no better than noise?** Write it down.
# Section 4 has the answer.

# %%
import torch

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, Scene, scenes, stack_images, stack_masks
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.storage import load_checkpoint

checkpoints = data_folder() / "checkpoints"
beetle_net, _ = load_checkpoint(checkpoints / "beetle_net")
article_net, _ = load_checkpoint(checkpoints / "article_net")
names = list(SPECIES)
LONGICORNIS, FURCATA = names.index("Ellipsa_longicornis"), names.index("Ellipsa_furcata")


def draw(some):
    """Scenes as the network's input."""
    return normalise(stack_images(some))


# %% [markdown]
# ## 1. A logit is a sum
#
# The last step of BeetleNet is small enough to read in full: 64 features enter, and each species has 64 weights and one
# bias. A feature times its weight is a **contribution**, in logits. Here is one *longicornis* (that of lesson 01), and
# what makes up its logit.

# %%
from xai_course.fully_connected import logit_contributions

beetle = Scene("Ellipsa_longicornis", seed=59)
features, contributions, bias = logit_contributions(beetle_net, draw([beetle]), LONGICORNIS)
order = contributions[0].abs().argsort(descending=True)
largest = {f"feature {k}": contributions[0, k].item() for k in order[:8]}
rest = contributions[0, order[8:]].sum().item()
plots.figure(
    plots.bars(
        largest | {"the 56 others, summed": rest, "bias": bias.item()},
        title="A logit is a sum: eight of 64 features give most of this one",
        label="contribution to the logit of longicornis (logits)",
    ),
    alt="Ten horizontal bars: the eight largest contributions, the sum of the other 56, and the bias.",
    caption="The eight largest all speak for longicornis. The other 56 add about as much as one of them, the bias next to nothing.",
)

# %% [markdown]
# **The identity.** This is not an approximation: contributions plus bias *are* the logit. We check it on 100 beetles, ten
# of each species, in double precision.

# %% tags=["nbval-check-output"]
sample = [scene for name in SPECIES for scene in scenes("test", name, 10)]
x, y = draw(sample), torch.arange(10).repeat_interleave(10)


def left_over(model, images, labels, explain=None):
    """Largest distance of the terms' sum plus the bias from the logit, in double precision."""
    model, images = model.double(), images.double()
    _, terms, biases = logit_contributions(model, images, labels)
    if explain is not None:
        terms = explain(model, images, labels).flatten(1)
    logit = model(images).detach().gather(1, labels[:, None])[:, 0]
    model.float()
    return (terms.sum(1) + biases - logit).abs().max().item()


print(f"within 1e-10 of the logit: {left_over(beetle_net, x, y) < 1e-10}")

# %% tags=["nbval-check-output"]
_, found, biases = logit_contributions(beetle_net, x, y)
print(f"on average, what speaks for the species:     {found.clamp(min=0).sum(1).mean():+.2f}")
print(f"            what speaks against it:          {found.clamp(max=0).sum(1).mean():+.2f}")
print(f"            its bias:                        {biases.mean():+.2f}")

# %% [markdown]
# ## 2. Through two linear layers
#
# ArticleNet keeps 4 × 4 places of 128 channels, lays them out as 2048 features (it **flattens** them), and has two
# linear layers in a row. Two tables of weights in a row are one table, their product. So the same function works, and
# the bias collects those of both layers.

# %% tags=["nbval-check-output"]
few = torch.arange(0, len(sample), 2)  # five of each species
print(f"within 1e-10 of the logit: {left_over(article_net, x[few[::5]], y[few[::5]]) < 1e-10}")
features, found, biases = logit_contributions(article_net, x[few], y[few])
table = article_net.fc2.weight @ article_net.fc1.weight  # (10, 512) @ (512, 2048)
gap = (found - features * table[y[few]]).abs().max().item()
print(f"{features.shape[1]} features; the same as with the product of both tables: {gap < 1e-4}")
speaks_for, against = found.clamp(min=0).sum(1).mean(), found.clamp(max=0).sum(1).mean()
print(f"for: {speaks_for:+.1f}, against: {against:+.1f}")

# %% [markdown]
# Look at the last line: more than half of what speaks for the species is taken away again. A sum can be exact and still be
# hard to read.

# %% [markdown]
# ## 3. The same sum, place by place
#
# A list of features says nothing about *where*. But each feature came from places. BeetleNet's features are means
# over an 8 × 8 map, so every contribution can be split among its 64 places; ArticleNet's flattened features each
# *have* a place. Add up over the channels $k$ of the last map $A$, and you have the **class activation map**, CAM:
#
# $$\text{map}(\text{place}) = \sum_k A_k(\text{place}) \cdot \frac{\partial\,\text{logit}}{\partial A_k(\text{place})},
# \qquad \sum_{\text{places}} \text{map} + \text{bias} = \text{logit}.$$
#
# (As published, CAM is for pooled heads; for flattened ones this product is also known as HiResCAM.)

# %%
from xai_course.fully_connected import class_activation_map

shown = [Scene(name, seed=24) for name in ("Ellipsa_longicornis", "Globaria_maculata")]
its_own = torch.tensor([names.index(scene.species) for scene in shown])
maps = [class_activation_map(model, draw(shown), its_own) for model in (beetle_net, article_net)]
plots.figure(
    plots.overlay(
        [picture for scene in shown for picture in [scene.image()] * 3],
        [panel for n in range(2) for panel in (None, maps[0][n], maps[1][n])],
        ["the scene", "BeetleNet, pooled", "ArticleNet, flattened"] * 2,
        columns=3,
        shared_scale=False,
        title="The same sum by place: blots or grain",
    ),
    alt="Two beetles, each with the class activation maps of both networks: smooth blots for BeetleNet, fine grain for "
    "ArticleNet.",
    caption="Top longicornis, below maculata. Each panel has its own scale, since the two networks' logits differ in size.",
)

# %% tags=["nbval-check-output"]
for model, name in ((beetle_net, "BeetleNet"), (article_net, "ArticleNet")):
    gap = left_over(model, draw(shown), its_own, class_activation_map)
    print(f"{name:10} the map's sum + bias is within 1e-10 of the logit: {gap < 1e-10}")

# %% [markdown]
# Is an exact sum also a *right* explanation? Hold it against the answer key of lesson 01. For each beetle, rank the parts
# by the map's sum over each, and by how far the logit truly falls without them; compare by rank correlation (lesson 00).
# Beside CAM stands **Grad-CAM**, often used as if it were the same: it weights each channel by the *mean* of its
# derivatives over all places.

# %%
from xai_course.beetlebox import part_relevance, spearman_with_truth
from xai_course.core import mean_interval
from xai_course.metrics import noise_map
from xai_course.relu import grad_cam, gradient_times_input

parts = list(PARTS[:-1])  # all but the museum label
gone = draw([scene.without(part) for scene in sample for part in parts])
masks = stack_masks(sample)[:, : len(parts)]


def by_part(relevance, masks):
    """Sum of a map over each part, NaN where there is none: `part_relevance`, masks drawn once."""
    found = torch.einsum("nhw,nphw->np", relevance.sum(1), masks)
    return found.masked_fill(masks.sum((2, 3)) == 0, torch.nan)


@torch.no_grad()
def answer_key(model, images, without):
    """What each part adds to each of the ten logits: (N, parts, 10)."""
    changed = torch.cat([model(some) for some in without.split(120)])
    return model(images)[:, None] - changed.view(len(images), len(parts), 10)


# %%
key = answer_key(beetle_net, x, gone)
key_article = answer_key(article_net, x[few], gone.view(len(x), -1, 3, 64, 64)[few].flatten(0, 1))
agreement, nulls = {}, {}
for model, name, true in (
    (beetle_net, "BeetleNet, pooled", key[few]),
    (article_net, "ArticleNet, flattened", key_article),
):
    true = true[range(len(few)), :, y[few]]
    noise = [by_part(noise_map(model, x[few], seed=n), masks[few]) for n in range(8)]
    null = torch.stack([spearman_with_truth(some, true) for some in noise]).mean().item()
    for method, explain in {"CAM": class_activation_map, "Grad-CAM": grad_cam}.items():
        relevance = by_part(explain(model, x[few], y[few]), masks[few])
        label = f"{name}: {method}"
        agreement[label] = mean_interval(spearman_with_truth(relevance, true))
        nulls[label] = null

# %%
plots.figure(
    plots.bars(
        agreement,
        references=nulls,
        title="On a flattened head Grad-CAM loses what CAM keeps",
        label="agreement with the answer key (1: same ranking, 0: none)",
    ),
    alt="Four bars. BeetleNet: CAM and Grad-CAM equal. ArticleNet: CAM far ahead of Grad-CAM, which is near the noise.",
    caption="Rank correlation, mean of 50 beetles; lines: 95 % intervals.",
)

# %% [markdown]
# For a pooled head the derivative is the same at all places, so the mean changes nothing and the two maps are one. For a
# flattened head each place has its own weights, and Grad-CAM averages them away. And CAM? It is well above noise in both
# networks, and well below 1: an exact sum is not yet a right answer.

# %% [markdown]
# ## 4. Why A and not B
#
# A network does not choose a class because its logit is high, but because it is higher than the others. So ask for the
# difference: the map for *longicornis* minus the map for *furcata*. What speaks for both alike cancels. The true answer
# is a difference, too: how far the *margin*, logit of *longicornis* minus logit of *furcata*, falls without a part.

# %%
from xai_course.fully_connected import contrast

twins = scenes("test", "Ellipsa_longicornis", 100)
pictures = draw(twins)
alone = class_activation_map(beetle_net, pictures, LONGICORNIS)
versus = contrast(beetle_net, pictures, LONGICORNIS, FURCATA)
plots.figure(
    plots.overlay(
        [scene.image() for scene in twins[:4]] * 2,
        [*alone[:4], *versus[:4]],
        ["what speaks for longicornis"] * 4 + ["… and not for furcata"] * 4,
        title="The same beetles, two questions, two maps",
    ),
    alt="Four beetles twice. Above, a warm blot over horn and antennae and a weak one over the wing cases; below, warm "
    "blots at the antennae and blue over the wing cases.",
    caption="The first four longicornis of the test set, one scale for all panels. Look at the wing cases: they speak for "
    "longicornis, but a little more for furcata.",
)

# %%
without = draw([scene.without(part) for scene in twins for part in parts])
all_logits = answer_key(beetle_net, pictures, without)
first = all_logits[:, :, LONGICORNIS]
margin = first - all_logits[:, :, FURCATA]
visible = ["elytra", "head", "horn", "antennae", "legs"]  # longicornis has no pattern
at = [parts.index(part) for part in visible]
bars = {}
for name, values in {
    "truth: what the margin loses": margin,
    "contrast map": part_relevance(versus, twins, parts),
    "map for longicornis": part_relevance(alone, twins, parts),
}.items():
    mean = values.mean(0)[at]
    bars[name] = dict(zip(visible, (mean / mean.max()).tolist(), strict=True))

# %%
plots.figure(
    plots.part_bars(
        bars,
        title="Antennae decide between the twins; only the contrast map puts them first",
        unit="share of the largest bar of its colour",
    ),
    alt="Bars for five parts, three series: in truth the antennae alone matter; in the contrast map they come first; in the "
    "map for longicornis the elytra do.",
    caption="Mean of 100 beetles. Each colour is scaled to its own largest bar: compare which part comes first.",
)

# %%
questions = {
    "map for longicornis, its own question": (alone, first),
    "map for longicornis, why not furcata": (alone, margin),
    "contrast map, why not furcata": (versus, margin),
}
twin_masks = stack_masks(twins)[:, : len(parts)]
agreement, nulls = {}, {}
for label, (relevance, true) in questions.items():
    score = spearman_with_truth(by_part(relevance, twin_masks), true)
    agreement[label] = mean_interval(score)
    noise = [by_part(noise_map(beetle_net, pictures, seed=n), twin_masks) for n in range(8)]
    nulls[label] = torch.stack([spearman_with_truth(some, true) for some in noise]).mean().item()
plots.figure(
    plots.bars(
        agreement,
        references=nulls,
        title="Asked “why not the twin?”, the usual map knows nothing",
        label="agreement with the answer key (1: same ranking, 0: none)",
    ),
    alt="Three bars. The map for longicornis agrees moderately on its own question and not at all on why not furcata; the "
    "contrast map agrees well.",
    caption="Rank correlation, mean of 100 beetles; lines: 95 % intervals.",
)

# %% [markdown]
# There is the answer to the prediction, in the second bar. For the question *why not furcata*, the usual map does no
# better than noise, and the contrast map is far ahead. The tempting answer was "about half as well", since both maps are
# about the same beetle. But horn and wing cases, which speak for *longicornis*, speak for *furcata*, too. **Whoever asks
# "why?" should be asked "and not what?"** (The contrast map is not perfect: it counts the wing cases against, and in
# truth they hardly matter.)

# %% [markdown]
# ### Which species does the network find alike?
#
# The contrast of two classes is the difference of their rows of weights. Two rows that point the same way give high logits
# to the same pictures; the cosine of the angle between them measures it, from −1 to 1. (The mean row is taken away from all
# first: what all rows share adds the same number to every logit, and the softmax does not notice.) Do species that share
# traits have similar rows?

# %%
from dataclasses import astuple

from xai_course.fully_connected import class_similarity

alike = class_similarity(beetle_net, pictures[:1])
traits = [astuple(species) for species in SPECIES.values()]
shared = torch.tensor(
    [[sum(a == b for a, b in zip(s, t, strict=True)) for t in traits] for s in traits]
)
one, two = torch.tril_indices(10, 10, -1)  # the 45 pairs of species


def likeness(order):
    """Correlation of cosine and shared traits over the 45 pairs, with the species relabelled."""
    cosines = alike[order][:, order][one, two]
    return torch.corrcoef(torch.stack([cosines, shared[one, two].float()]))[0, 1]


generator = torch.Generator().manual_seed(0)
by_chance = torch.stack([likeness(torch.randperm(10, generator=generator)) for _ in range(2000)])
low, high = by_chance.quantile(torch.tensor([0.025, 0.975])).tolist()
plots.figure(
    plots.scatter(
        shared[one, two],
        alike[one, two],
        title="Species that share traits have similar rows, loosely",
        x_label="traits that the two species share",
        y_label="cosine of their weights",
    ),
    alt="Scatter plot of 45 pairs of species. The cosine rises with the number of shared traits, with a wide spread.",
    caption="One dot for each of 45 pairs of species. Expected of ten unrelated rows: −1/9, as they are centred.",
)
print(f"correlation {likeness(torch.arange(10)):.2f}; with species relabelled at random it lies")
print(f"between {low:.2f} and {high:.2f} in 95 % of the cases")

# %% [markdown]
# More than chance, and far from a rule. The layer was never asked to find twins similar, it was asked to tell them
# *apart*; what twins share is in their rows, and so is what parts them.

# %% [markdown]
# ## 5. What the network has seen before
#
# What enters the last layer, 64 numbers, is called the picture's **embedding**. An explanation by example shows the
# training pictures nearest to it. There is one danger: *something is always nearest*, even if nothing is near. So
# `nearest_examples` takes from the examples how far apart neighbours usually are, and says when it is farther.

# %%
import warnings

from xai_course.data import PHOTOGRAPHS, denormalise, modern_transform, photograph
from xai_course.fully_connected import nearest_examples

known = [scene for name in SPECIES for scene in scenes("train", name, 60)]
examples = draw(known)
small = modern_transform(64)
photographs = torch.stack([small(photograph(name)) for name in PHOTOGRAPHS])
chimera = [s.with_trait(horn="forked") for s in scenes("test", "Tenuella_guttata", 20)]
generator = torch.Generator().manual_seed(0)
asked = {
    "test beetles": x,
    "no known species": draw(chimera),
    "photographs": photographs,
    "pixels of noise": normalise(torch.rand(20, 3, 64, 64, generator=generator)),
}

# %%
neighbours = {}
for label, images in asked.items():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        neighbours[label] = nearest_examples(beetle_net, images, examples, count=3)
    with torch.no_grad():
        sure = beetle_net(images).softmax(1).amax(1)
    near = neighbours[label].near.float().mean()
    print(
        f"{label:17} near {near:4.0%}   mean confidence {sure.mean():.0%}, highest {sure.max():.0%}"
    )
print("\nA warning reads:", said[0].message)

# %%
coins = PHOTOGRAPHS.index("coins")
rows = [("test beetles", 10), ("no known species", 0), ("photographs", coins)]
rows += [("pixels of noise", 0)]
panels, titles = [], []
for label, n in rows:
    found = neighbours[label]
    panels += [asked[label][n], *examples[found.indices[n]]]
    titles += [label + (":\nnear" if found.near[n] else ":\nnothing near")]
    titles += [f"distance\n{d:.1f}" for d in found.distance[n].tolist()]
plots.figure(
    plots.gallery(
        denormalise(torch.stack(panels)).clamp(0, 1),
        titles,
        columns=4,
        title="Something is always nearest, even where nothing is near",
    ),
    alt="Four rows: a beetle, a beetle of no known species, coins, and noise; to the right of each its three nearest "
    "training pictures with their distances. Only the first row is near.",
    caption="Left the picture asked about, then its three nearest among 600 training pictures.",
)

# %% [markdown]
# Compare the two columns of numbers. Of noise the network is *certain*, and of at least one photograph nearly so. The
# distance knows better: none of them is near. Nor are the beetles that combine traits as no species does. (The limit leaves
# out one training picture in a hundred, so now and then a good beetle is called far.)

# %% [markdown]
# ## 6. Concepts, from pairs
#
# Nobody named the 64 features. Can we ask about *our* words instead: does the network use "horn"? A **concept** here
# is a direction in a layer. We have what most data sets lack: pairs of pictures that differ in the concept alone. The mean
# difference of their activations is the direction, and one **concept step** is its length. How *accurate* it is, held-out
# pairs say: in how many is the picture *with* the concept farther along? (Chance: 50 %.)

# %%
from xai_course.beetlebox.backgrounds import paint_ground

base = [scene for name in SPECIES for scene in scenes("extra", name, 6)]
by_light = sorted(range(40), key=lambda seed: paint_ground(seed, 64).mean())
dark, light = by_light[:10], by_light[-10:]  # ten grounds each
pairs_of = {
    part: [(s, s.without(part)) for s in base if stack_masks([s])[0, PARTS.index(part)].any()]
    for part in ("horn", "pattern", "antennae")
}
pale, black = (0.9, 0.85, 0.7), (0.1, 0.08, 0.05)
pairs_of["pale legs"] = [(s.recoloured("legs", pale), s.recoloured("legs", black)) for s in base]
pairs_of["light ground"] = [
    (s.with_background(light[n % 10]), s.with_background(dark[n // 6])) for n, s in enumerate(base)
]
pairs_of["museum label"] = [(s.with_label(), s) for s in base]
concepts = {
    name: (draw([a for a, _ in pairs]), draw([b for _, b in pairs]))
    for name, pairs in pairs_of.items()
}

# %% [markdown]
# **TCAV** then asks: if a layer moved one step along the concept, would the logit rise? The answer is a slope, in
# logits a step. The null: in each pair, toss a coin which picture counts as "with". Such a random concept is made of the
# very same pictures, but nothing is common to its pairs. And since we test six concepts, p is corrected for six
# (Holm's method, exercise 3). (As published, the direction is what a linear classifier finds between pictures with and
# without, and the null are directions from random pictures. Exact pairs allow both to be simpler.) We ask about *Tenuella lineata*, at the last map.

# %%
from xai_course.fully_connected import concept_vector, tcav

LINEATA = names.index("Tenuella_lineata")
its_pictures = draw(scenes("test", "Tenuella_lineata", 50))
uses = tcav(beetle_net, its_pictures, LINEATA, concepts, "blocks")
true_change = {}
with torch.no_grad():
    for name, (present, absent) in concepts.items():
        true_change[name] = beetle_net(present) - beetle_net(absent)  # (pairs, 10)
print("concept        read   slope   random concepts   p (Holm)   true change of the logit")
for name, use in uses.items():
    read = concept_vector(beetle_net, *concepts[name], "blocks").ordered
    middle, low, high = mean_interval(true_change[name][:, LINEATA])
    print(
        f"{name:13} {read:4.0%}   {use.slope:+.2f}   {use.null_slope[0]:+.2f} to "
        f"{use.null_slope[1]:+.2f}    {use.p_holm:.3f}      {middle:+.2f}  ({low:+.2f} to {high:+.2f})"
    )

# %% [markdown]
# (*read*: share of held-out pairs in the right order.) **Another identity.** The last column is measured without any
# theory: the logit of the pictures with the concept minus that of those without. The slope equals it. At the last map the
# logit *is* a sum, so a mean difference of features gives the mean difference of logits.
#
# **An accurate concept that is not used.** Look at *light ground*: most held-out pairs are read right, and random concepts
# move the logit as much as it does. It is in the features, and this logit makes nothing of it. "The network knows"
# and "the network uses" are two statements.
#
# **And one that only seems unused.** *Pattern* is read almost without error, and its slope is that of a random concept.
# *Lineata* is a striped beetle! Split its pairs by the pattern that was taken away:

# %%
split = {}
for kind in ("striped", "spotted", "banded"):
    chosen = torch.tensor([with_it.traits.pattern == kind for with_it, _ in pairs_of["pattern"]])
    split[kind] = mean_interval(true_change["pattern"][chosen, LINEATA])
plots.figure(
    plots.bars(
        split,
        title="“Pattern” is used, in both directions: on average it cancels",
        label="change of the logit of lineata through its pattern (logits)",
    ),
    alt="Three bars: stripes raise the logit of lineata, spots and bands lower it.",
    caption="95 % intervals over the pairs. A mean over unlike things is not about any of them.",
)

# %% [markdown]
# ## 7. Global features?
#
# "Global" can mean that a feature *collects from everywhere*, or that it sees *how things are arranged*. Test the second:
# **shuffle the places** of what enters the head, so that every value stays and its place is lost.


# %%
def shuffle_places(maps, generator):
    """The same values at places drawn at random, anew for each picture: (N, K, h, w)."""
    flat = maps.flatten(2)
    order = torch.rand(len(maps), 1, flat.shape[2], generator=generator).argsort(2)
    return flat.gather(2, order.expand_as(flat)).view(maps.shape)


def shuffle_tiles(images, k, generator):
    """Pictures cut into k × k tiles, which change places."""
    tiles = torch.nn.functional.unfold(images, 64 // k, stride=64 // k)  # (N, values, k * k)
    order = torch.rand(len(images), 1, k * k, generator=generator).argsort(2)
    tiles = tiles.gather(2, order.expand_as(tiles))
    return torch.nn.functional.fold(tiles, 64, 64 // k, stride=64 // k)


# %%
def right(logits):
    """Share of right answers, and its 95 % interval."""
    return mean_interval((logits.argmax(1) == y).float())


with torch.no_grad():
    maps = beetle_net.blocks(beetle_net.stem(x))
    after = beetle_net.head(shuffle_places(maps, generator).mean((2, 3)))
    cut = beetle_net(shuffle_tiles(x, 4, generator))
    convolved = article_net.conv3(article_net.conv2(article_net.conv1(x)))
    flat = article_net.pool(article_net.conv4(convolved))  # (100, 128, 4, 4), to be flattened
    after_flat = article_net.fc2(article_net.fc1(shuffle_places(flat, generator).flatten(1)))
    accuracy = {
        "BeetleNet, as it is": right(beetle_net(x)),
        "BeetleNet, places of its last map shuffled": right(after),
        "BeetleNet, tiles of the picture shuffled": right(cut),
        "ArticleNet, as it is": right(article_net(x)),
        "ArticleNet, places of its last map shuffled": right(after_flat),
    }
    moved = (after - beetle_net(x)).abs().max()
print(f"largest change of a BeetleNet logit by shuffling places: {moved:.0e}")

# %%
luck = 1.96 * (0.1 * 0.9 / len(x)) ** 0.5
plots.figure(
    plots.shares(
        accuracy,
        band=(0.1 - luck, 0.1 + luck),
        band_label="pure guessing (95 %)",
        title="A pooled head does not see where anything is",
        label="share of 100 beetles that are named right",
    ),
    alt="Five bars: BeetleNet unchanged by shuffling its last map but far worse on shuffled tiles; ArticleNet falls "
    "to guessing when its last map is shuffled.",
    caption="Tiles: 16 in a picture. Lines: 95 % intervals.",
)


# %%
def sight(model):
    """How many rows and columns of pixels one place of a BeetleNet's last map depends on."""
    pixels = draw(sample[:20]).requires_grad_()
    place = model.blocks(model.stem(pixels))[:, :, 4, 4].sum()
    seen = (torch.autograd.grad(place, pixels)[0] != 0).any(1).any(0)
    return f"{int(seen.any(1).sum())} × {int(seen.any(0).sum())}"


print(f"one place of BeetleNet's last map sees {sight(beetle_net)} of 64 × 64 pixels")

# %% [markdown]
# For a pooled head nothing can change: a mean does not ask for the order. Its layer is global in the first sense only: it
# *counts* what was found, wherever it was. The arrangement is not lost on BeetleNet, as the shuffled tiles
# show; it is seen *before* the layer, by convolutions each of whose places looks at a good half of the picture. A
# flattened head is another matter: it has a weight for each place, and depends on them.

# %% [markdown]
# ## 8. Better on complex tasks?
#
# Tell a *longicornis* from a beetle with which it shares nothing, and any part will do. Tell it from its twin, and one part
# decides. So the number of shared traits is a scale of difficulty. Seven of the ten species have a twin. For ten beetles of
# each and every other species we ask *why this and not that*, and hold two contrasts against the true answer: CAM's, and
# that of gradient × input (each pixel times the logit's derivative by it), which can be had without a fully connected
# layer. We ask BeetleNet, and a network of the same make with nine blocks instead of three.

# %%
deep_net, card = load_checkpoint(checkpoints / "beetle_net_deep")
twinned = (shared[y] == 3).any(1)  # beetles of species that have a twin
level, own = shared[y[twinned]], y[twinned]


def minus_others(values):
    """Values for ten classes (N, parts, 10): that of the own class minus each."""
    return values[range(len(own)), :, own][..., None] - values


def by_difficulty(true, explain):
    """Agreement of each beetle, mean over its questions with 0, 1, 2, 3 shared traits: (N, 4)."""
    maps = torch.stack([by_part(explain(k), masks[twinned]) for k in range(10)], 2)
    found, true = minus_others(maps), minus_others(true)
    each = torch.stack([spearman_with_truth(found[..., k], true[..., k]) for k in range(10)], 1)
    return torch.stack([each.masked_fill(level != n, torch.nan).nanmean(1) for n in range(4)], 1)


# %%
scores = {}
methods = {"CAM": class_activation_map, "gradient × input": gradient_times_input}
for network, model in {"BeetleNet": beetle_net, "nine blocks": deep_net}.items():
    true = answer_key(model, x[twinned], gone.view(len(x), -1, 3, 64, 64)[twinned].flatten(0, 1))
    for name, method in methods.items():
        scores[network, name] = by_difficulty(
            true, lambda k, model=model, method=method: method(model, x[twinned], k)
        )
noise = by_difficulty(true, lambda k: noise_map(deep_net, x[twinned], seed=k)).nanmean().item()
lead = {n: scores[n, "CAM"] - scores[n, "gradient × input"] for n in ("BeetleNet", "nine blocks")}


def summary(values):
    """Mean and interval of the numbers that are there."""
    return mean_interval(values[~values.isnan()])


# %%
spread = {name: [summary(rows[:, n]) for n in range(4)] for name, rows in lead.items()}
plots.figure(
    plots.lines(
        spread,
        [0, 1, 2, 3],
        marks={"equal": 0},
        title="CAM leads on twins in one network, and in the other nowhere",
        x_label="traits that the two species share (left easy, right hard)",
        y_label="lead of CAM over gradient × input",
    ),
    alt="Two lines over the number of shared traits. BeetleNet: about equal, then behind at two, ahead at three. Nine blocks: "
    "far below at zero and one, little below at two and three.",
    caption="Difference in agreement with the answer key; bands: 95 % intervals over 70 beetles. Three shared traits: twins.",
)

# %%
print(f"agreement with the answer key (noise: {noise:+.2f})        strangers    twins")
for (network, name), rows in scores.items():
    print(f"{network:12} {name:33} {rows[:, 0].nanmean():+.2f}        {rows[:, 3].mean():+.2f}")
print("\nhow much more on twins than on strangers")
for network in lead:
    for name, rows in {"CAM": scores[network, "CAM"], "lead of CAM": lead[network]}.items():
        middle, low, high = summary(rows[:, 3] - rows[:, 0])
        print(f"{network:12} {name:33} {middle:+.2f}  ({low:+.2f} to {high:+.2f})")

# %% [markdown]
# In both networks CAM agrees better on twins than on strangers, and it gains on gradient × input. That is what the claim
# promises. But *better*? In BeetleNet CAM leads on twins, and is behind at two shared traits. In the deeper network it is
# no better than noise on strangers, and leads nowhere. Its sum is as exact as ever. A likely reason is how much each place
# of the last map has seen:

# %%
print(f"nine blocks: right on {card['accuracy']:.1%} of the test images;")
print(f"one place of its last map sees {sight(deep_net)} pixels, BeetleNet's {sight(beetle_net)}")

# %% [markdown]
# ## 9. Costly?
#
# We count arithmetic instead of seconds, since it is the same on every computer: for one picture, as multiples of one bare
# run of BeetleNet.

# %%
from torch.utils.flop_counter import FlopCounterMode

from xai_course.residual import occlusion


def arithmetic(run):
    """Operations that a call needs."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


bare = arithmetic(lambda: beetle_net(x[:1]))
explainers = (logit_contributions, class_activation_map, contrast, gradient_times_input, occlusion)
for method in explainers:
    times = arithmetic(lambda method=method: method(beetle_net, x[:1])) / bare
    print(f"{method.__name__:22} {times:6.1f} × a bare run")

# %% [markdown]
# The contributions and the map cost what the answer itself costs, since the derivative goes back to the last map only.
# (`contrast` makes two maps and, if not told, looks for the runner-up, in two more runs.) The gradient takes twice as
# much; `occlusion` moves a window over the picture, with one run for each place.

# %% [markdown]
# ## Where it breaks
#
# **Features are not concepts.** The sum of section 1 is exact, and its terms have no names. If features were concepts, each
# would answer to one part. Take each part away and see how much each contribution changes.

# %%
from xai_course.fully_connected import embed

before = embed(beetle_net, x)
change = before[:, None] - embed(beetle_net, gone).view(len(x), len(parts), -1)  # (N, parts, F)
weight = beetle_net.head.weight.detach()[LONGICORNIS]
its = y == LONGICORNIS
largest = (before[its].mean(0) * weight).abs().topk(8).indices
plots.figure(
    plots.matrix(
        (change[its].mean(0) * weight).T[largest][:, at],
        [f"feature {k}" for k in largest.tolist()],
        visible,
        title="Antenna detectors? Half answer to the horn, too",
        label="logits of longicornis",
    ),
    alt="A table of eight features by five parts. All rows are strong at the antennae; about half are strong at the horn as "
    "well.",
    caption="The eight features that contribute most: how far the contribution falls without the part, mean of 10 longicornis.",
)

# %%
share = change.abs().sum(0) / change.abs().sum((0, 1))  # (parts, F), over beetles of all species
answers_to = 1 / share.square().sum(0)
narrow = answers_to.argmin()
most = share[:, narrow].argmax()
print("so many of six parts a feature answers to, over all ten species:")
print(f"median {answers_to.median():.1f}, least {answers_to.min():.1f}: that is feature {narrow},")
print(f"of whose changes {share[most, narrow]:.0%} come from the {parts[most]}")

# %% [markdown]
# (A feature that three parts change equally, and no other, answers to 3: it is one over the sum of the squared shares.) On
# *longicornis* alone some features look like antenna detectors. Over all species none is near 1: a name for a feature,
# read off a few pictures, says more than is there.
#
# **A significant concept with the wrong sign.** At the last map, TCAV's slope was the truth. It is often used at earlier
# layers. Here is the same test one block earlier, with the share of pictures whose logit rises, which is what TCAV
# publishes.

# %%
earlier = tcav(beetle_net, its_pictures, LINEATA, concepts, "blocks.1")
print("concept        TCAV    random concepts   slope   p (Holm)   true change of the logit")
for name, use in earlier.items():
    middle, low, high = mean_interval(true_change[name][:, LINEATA])
    wrong = use.p_holm < 0.05 and (use.slope > 0) != (middle > 0) and low * high > 0
    print(
        f"{name:13} {use.share:4.0%}     {use.null_share[0]:.0%} to {use.null_share[1]:.0%}       "
        f"{use.slope:+.2f}    {use.p_holm:.3f}     {middle:+.2f}  ({low:+.2f} to {high:+.2f})"
        f"{'   wrong sign' if wrong else ''}"
    )

# %% [markdown]
# Two failures in one table. **The share says nothing here:** random concepts reach 0 % and 100 %, too, because the
# pictures' derivatives point much the same way. A share of 100 % would be reported as a discovery. **And the slope
# can be significant and wrong:** light ground, which this logit does not use, looks used, and pale legs have the wrong
# sign. Real legs change a few places of the map, and then meet ReLUs; a concept step changes all places a little, with the
# ReLUs as they are. The direction is real, but the step is not what legs do.
#
# How often is the sign wrong, for all ten species and six concepts? (A coin would be wrong for half.)

# %%
from xai_course.core import capture_layer
from xai_course.fully_connected import layer_features

layer, steps = "blocks.1", []
for present, absent in concepts.values():
    step = layer_features(beetle_net, present, layer) - layer_features(beetle_net, absent, layer)
    steps.append(step.mean(0))
with capture_layer(beetle_net, layer) as seen:
    logit = beetle_net(x)[range(len(y)), y]
(slope,) = torch.autograd.grad(logit.sum(), seen[-1])
slope = torch.stack([slope.sum((2, 3))[y == k].mean(0) for k in range(10)])
slopes = slope @ torch.stack(steps).T  # (species, concepts)
truth = torch.stack([change.mean(0) for change in true_change.values()], 1)
clear = truth.abs() > 0.1
wrong = ((slopes > 0) != (truth > 0))[clear].float().mean()
print(f"wrong sign for {wrong:.0%} of the {int(clear.sum())} true changes above 0.1 logits")

# %% [markdown]
# ## Exercises
#
# **1. CAM in a few lines** (10 minutes, medium). `maps` (N, K, h, w) is the last feature map of a network that averages
# over places and has one linear layer with `weight` (classes, K). Return the map of class `k`, (N, h, w), whose sum is the
# logit minus its bias.


# %% tags=["exercise"]
def cam(maps, weight, k):
    """Class activation map of class k, in logits."""
    return ...


# %% tags=["solution"]
def cam(maps, weight, k):
    """Class activation map of class k, in logits."""
    places = maps.shape[2] * maps.shape[3]
    return torch.einsum("nkhw,k->nhw", maps, weight[k]) / places


# %%
from xai_course.exercises.lesson_04 import check_cam

check_cam(cam)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The feature is the *mean* over places, so each place gives it its value divided by the number of places.
# `weight[k][:, None, None]` has shape (K, 1, 1), which broadcasts over the maps.
# </details>
#
# **2. Why A and not B, from the weights** (10 minutes, easy). `features` (F,) enter the last layer, `weight` (classes, F)
# are its weights. Return what each feature adds to the margin, logit of `a` minus logit of `b`: (F,).


# %% tags=["exercise"]
def why_not(features, weight, a, b):
    """Each feature's contribution to logit a minus logit b."""
    return ...


# %% tags=["solution"]
def why_not(features, weight, a, b):
    """Each feature's contribution to logit a minus logit b."""
    return features * (weight[a] - weight[b])


# %%
from xai_course.exercises.lesson_04 import check_why_not

check_why_not(why_not)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Write the two sums one below the other and subtract them term by term.
# </details>
#
# **3. Holm's correction** (15 minutes, medium). Who tests many concepts finds some by chance. Holm's method takes the p
# values in rising order: the smallest times m (their number), the next times m − 1, and so on to the largest times 1;
# none may end below the one before it, and none above 1. Return the corrected values **in the order in which they came**.


# %% tags=["exercise"]
def holm(p):
    """Corrected p values (m,) of p values (m,)."""
    return ...


# %% tags=["solution"]
def holm(p):
    """Corrected p values (m,) of p values (m,)."""
    order = p.argsort()
    factors = torch.arange(len(p), 0, -1)
    corrected = torch.empty_like(p)
    corrected[order] = (p[order] * factors).cummax(0).values.clamp(max=1)
    return corrected


# %%
from xai_course.exercises.lesson_04 import check_holm

check_holm(holm)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `order = p.argsort()` gives the rising order, `cummax` a running maximum, and `result[order] = ...` puts sorted values
# back to where they came from.
# </details>

# %% [markdown]
# ## Verdict
#
# **Global features: depends on what follows the last map.** A pooled head adds up what was found, wherever it was found; a
# flattened one depends on every place. Null: guessing.

# %%
for name, (share, low, high) in accuracy.items():
    print(f"{name:45} {share:4.0%} right  (95 %: {low:.0%} to {high:.0%}; guessing: 10 %)")

# %% [markdown]
# **Better on complex tasks: depends on the network.** The contrast map agrees better on twins than on strangers in both. But
# on twins it beats a method that needs no fully connected layer in one of them only. (Two networks, one world.)

# %%
print(f"on twins: agreement with the answer key (noise: {noise:+.2f}), 95 % intervals")
for network, rows in spread.items():
    middle, low, high = summary(scores[network, "CAM"][:, 3])
    print(f"{network:12} CAM {middle:+.2f} ({low:+.2f} to {high:+.2f})", end="   ")
    print("lead over gradient × input {:+.2f} ({:+.2f} to {:+.2f})".format(*rows[3]))

# %% [markdown]
# **Costly, complex: refuted** for reading the layer. It takes about the arithmetic of one bare run (section 9), and two lines
# do it (exercise 1). What is hard is to say what the terms of the sum *mean*.
#
# And two findings that the article does not have. *Why A* is not *why A and not B*: for the second question the usual map
# was as good as noise (section 4). And a concept can be accurate and unused, or significant and wrong (section 6 and
# *Where it breaks*).

# %% [markdown]
# ## Take it with you
#
# Class activation maps for networks that end in linear layers, pooled or flattened: the method alone. Pasted into an empty
# file, it runs. For a project take `snippet(class_activation_map)`: it also checks the sum, and says what is wrong where the
# map cannot be right.

# %%
from IPython.display import Code, display

from xai_course.snippets import snippet

text = snippet(class_activation_map, checks=False)
display(Code(text, language="python"))

# %% tags=["nbval-check-output"]
empty = {"__name__": "pasted"}
exec(text, empty)
pasted = empty["class_activation_map"](beetle_net, draw(shown))
print("the same map:", torch.equal(pasted, class_activation_map(beetle_net, draw(shown))))

# %% [markdown]
# ## Quiz
#
# **1. A doctor asks a network: why pneumonia? The map for *pneumonia* covers both lungs. The runner-up is *bronchitis*.
# What do you show next?**
#
# <details><summary>a) The same map with a stricter colour scale.</summary>
#
# No. It answers the same question. What speaks for both illnesses stays in it.
# </details>
# <details><summary>b) The contrast map, pneumonia minus bronchitis.</summary>
#
# Yes. It removes what speaks for both. In section 4 only this map agreed with the true answer to "and not the twin?".
# </details>
# <details><summary>c) The map for bronchitis, beside it.</summary>
#
# Close: the difference is in there. But an eye compares two similar blots badly; subtract them.
# </details>
#
# **2. A direction in a layer tells pictures with and without a museum label apart on 100 % of held-out pairs. What follows?**
#
# <details><summary>a) The label leaves a trace in that layer.</summary>
#
# Yes, and no more than that.
# </details>
# <details><summary>b) The network uses the label.</summary>
#
# No. It can be read from the layer; whether a logit makes anything of it is another question (section 6).
# </details>
# <details><summary>c) Some feature of the layer is a label detector.</summary>
#
# No. A direction may run through all features, each of which answers to several things.
# </details>
#
# **3. "The sum of the map plus the bias is the logit, to ten decimals." What does that prove?**
#
# <details><summary>a) That the network is right.</summary>
#
# No. The sum of a wrong answer is just as exact.
# </details>
# <details><summary>b) That the map shows what the network looks at.</summary>
#
# No. Each place of BeetleNet's last map has seen a good half of the picture. Exact for the layer is not exact for the pixels.
# </details>
# <details><summary>c) That nothing is left out or made up in the adding.</summary>
#
# Yes. It is worth checking, and a map that fails it is not what it says it is.
# </details>

# %% [markdown]
# ## References
#
# - B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, *Learning Deep Features for Discriminative Localization*, CVPR
#   2016, arXiv:1512.04150: class activation maps.
# - R. R. Selvaraju and others, *Grad-CAM*, ICCV 2017, arXiv:1610.02391: mean gradients as weights; equal to CAM for a
#   pooled head.
# - R. L. Draelos, L. Carin, *Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks*,
#   2020, arXiv:2011.08891: the map of section 3 for flattened heads.
# - B. Kim and others, *Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation Vectors
#   (TCAV)*, ICML 2018, arXiv:1711.11279.
# - S. Haufe and others, *On the interpretation of weight vectors of linear models in multivariate neuroimaging*,
#   NeuroImage 2014, doi:10.1016/j.neuroimage.2013.10.067: why the direction is a mean difference and not a classifier's
#   weights.
# - S. Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of Statistics, 1979.
