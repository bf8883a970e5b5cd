# ---
# jupyter:
#   course:
#     question: "Why this beetle and not its twin?"
#     minutes: 80
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
# > **Time** 80 minutes with all exercises (35), of which the computer takes less than one.
# >
# > **For** everyone. *Engineers*: sections 3 and 4, and *Take it with you*. *Teachers*: the prediction with section 4;
# > section 8 makes a short lesson of its own. *Policy makers*: sections 4 and 6, *Where it breaks* and the verdict.

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

from xai_course import show
from xai_course.beetles import PARTS, SPECIES, Scene, scenes
from xai_course.checkpoints import load_checkpoint
from xai_course.data import data_folder, normalise, stack_images, stack_masks

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
show.figure(
    show.bars(
        largest | {"the 56 others, summed": rest, "bias": bias.item()},
        title="A logit is a sum: few features give most of it",
        label="contribution to the logit of longicornis (logits)",
    ),
    alt="Ten horizontal bars: the eight largest contributions, the sum of the other 56, and the bias.",
    caption="The eight largest all speak for longicornis. Of the 56 others some speak against it. The bias hardly shows.",
)

# %% [markdown]
# **The identity.** This is not an approximation. The contributions and the bias are the logit; the number below is what
# is left, over 120 beetles of all species.

# %% tags=["nbval-check-output"]
sample = [scene for name in SPECIES for scene in scenes("test", name, 12)]
x, y = draw(sample), torch.arange(10).repeat_interleave(12)


def left_over(model, images, labels):
    """Largest difference between the sum and the logit, in double precision."""
    model, images = model.double(), images.double()
    _, found, biases = logit_contributions(model, images, labels)
    with torch.no_grad():
        logit = model(images).gather(1, labels[:, None])[:, 0]
    model.float()
    return (found.sum(1) + biases - logit).abs().max()


print(f"within 1e-10 of the logit: {bool(left_over(beetle_net, x, y) < 1e-10)}")
_, found, biases = logit_contributions(beetle_net, x, y)
print(f"on average, what speaks for the species:     {found.clamp(min=0).sum(1).mean():+.2f}")
print(f"            what speaks against it:          {found.clamp(max=0).sum(1).mean():+.2f}")
print(f"            its bias:                        {biases.mean():+.2f}")
top = found.topk(5).values.sum(1) / found.clamp(min=0).sum(1)
print(f"the five largest of 64 make up {top.mean():.0%} of what speaks for it")

# %% [markdown]
# ## 2. Through two linear layers
#
# ArticleNet keeps 4 × 4 places of 128 channels, lays them out as 2048 features (it **flattens** them), and has two
# linear layers in a row. Two tables of weights in a row are one table, their product. So the same function works, and
# the bias now collects those of both layers. (With ReLUs between the layers it still works: for one picture, each ReLU
# lets its number through or does not, and what is let through is a sum again.)

# %% tags=["nbval-check-output"]
few = torch.arange(0, len(sample), 4)  # three beetles of each species
print(f"within 1e-10 of the logit: {bool(left_over(article_net, x[few[:9]], y[few[:9]]) < 1e-10)}")
features, found, biases = logit_contributions(article_net, x[few], y[few])
table = article_net.fc2.weight @ article_net.fc1.weight  # (10, 512) @ (512, 2048)
gap = (found - features * table[y[few]]).abs().max().item()
print(f"features {features.shape[1]}, as with the product of both tables: {gap < 1e-4}")
print(
    f"for: {found.clamp(min=0).sum(1).mean():+.1f}, against: {found.clamp(max=0).sum(1).mean():+.1f}"
)

# %% [markdown]
# Look at the last line: here large numbers for and against nearly cancel. A sum can be exact and still be hard to read.

# %% [markdown]
# ## 3. The same sum, place by place
#
# A list of features says nothing about *where*. But each feature came from places. BeetleNet's features are means
# over an 8 × 8 map, so every contribution can be split among its 64 places; ArticleNet's flattened features each
# *have* a place. Added up over the channels this is the **class activation map**, CAM:
#
# $$\text{map}(\text{place}) = \sum_k A_k(\text{place}) \cdot \frac{\partial\,\text{logit}}{\partial A_k(\text{place})},
# \qquad \sum_{\text{places}} \text{map} + \text{bias} = \text{logit}.$$

# %%
from xai_course.fully_connected import class_activation_map

shown = [Scene(name, seed=24) for name in ("Ellipsa_longicornis", "Globaria_maculata")]
its_own = torch.tensor([names.index(scene.species) for scene in shown])
maps = [class_activation_map(model, draw(shown), its_own) for model in (beetle_net, article_net)]
show.figure(
    show.overlay(
        [picture for scene in shown for picture in [scene.image()] * 3],
        [panel for n in range(2) for panel in (None, maps[0][n], maps[1][n])],
        ["the scene", "BeetleNet, pooled", "ArticleNet, flattened"] * 2,
        columns=3,
        shared_scale=False,
        title="Where the sum comes from",
    ),
    alt="Two beetles, each with the class activation maps of both networks: smooth blots for BeetleNet, fine grain for "
    "ArticleNet.",
    caption="Top longicornis, below maculata. Each panel has its own scale, since the two networks' logits differ in size.",
)

# %% tags=["nbval-check-output"]
for model, name in ((beetle_net, "BeetleNet"), (article_net, "ArticleNet")):
    model.double()
    images = draw(shown).double()
    total = class_activation_map(model, images, its_own).sum((1, 2, 3))
    total = total + logit_contributions(model, images, its_own).biases
    with torch.no_grad():
        logit = model(images).gather(1, its_own[:, None])[:, 0]
    model.float()
    same = bool((total - logit).abs().max() < 1e-10)
    print(f"{name:10} sum of map + bias {total[0]:6.2f}, logit {logit[0]:6.2f}, equal: {same}")

# %% [markdown]
# Is an exact sum also a *right* explanation? Hold it against the answer key of lesson 01: for each beetle, rank the parts
# by the map's sum over each, and by how far the logit truly falls without them. 1 is the same ranking, 0 is none. The
# grey ticks are noise. **Grad-CAM** (lesson 03) is often used as if it were the same. It takes the *mean* of a channel's
# derivatives over all places.

# %%
from xai_course.judge import mean_interval, noise_map, part_relevance, rank_agreement
from xai_course.relu import grad_cam, gradient_times_input

parts = list(PARTS[:-1])  # all but the museum label
gone = draw([scene.without(part) for scene in sample for part in parts])


@torch.no_grad()
def answer_key(model, images, without):
    """What each part adds to each of the ten logits: (N, parts, 10)."""
    changed = torch.cat([model(some) for some in without.split(120)])
    return model(images)[:, None] - changed.view(len(images), len(parts), 10)


key = answer_key(beetle_net, x, gone)
key_article = answer_key(article_net, x[few], gone.view(len(x), -1, 3, 64, 64)[few].flatten(0, 1))

# %%
agreement, errors, nulls = {}, {}, {}
methods = {
    "CAM": class_activation_map,
    "Grad-CAM": grad_cam,
    "gradient × input": gradient_times_input,
}
some = [sample[n] for n in few]
for model, name, true in (
    (beetle_net, "BeetleNet", key[few, :, y[few]]),
    (article_net, "ArticleNet", key_article[range(len(few)), :, y[few]]),
):
    noise = rank_agreement(part_relevance(noise_map(model, x[few]), some, parts), true).mean()
    for method, explain in methods.items():
        relevance = part_relevance(explain(model, x[few], y[few]), some, parts)
        label = f"{name}: {method}"
        agreement[label], *errors[label] = mean_interval(rank_agreement(relevance, true))
        nulls[label] = noise.item()

# %%
show.figure(
    show.bars(
        agreement,
        errors=errors,
        nulls=nulls,
        title="On a flattened head Grad-CAM is not CAM, and is wrong",
        label="agreement with the answer key (rank correlation, mean of 30 beetles)",
    ),
    alt="Six bars. BeetleNet: CAM and Grad-CAM equal, gradient times input lower. ArticleNet: CAM far ahead, Grad-CAM "
    "near the noise.",
    caption="Lines: 95 % intervals. For the pooled head, CAM and Grad-CAM are one map.",
)

# %% [markdown]
# For a pooled head the derivative is the same at all places, so the mean changes nothing and the two maps are one. For a
# flattened head each place has its own weights, and that is the whole point of flattening. Grad-CAM averages them away.

# %% [markdown]
# ## 4. Why A and not B
#
# A network does not choose a class because its logit is high, but because it is higher than the others. So ask for the
# difference: the map for *longicornis* minus the map for *furcata*. What speaks for both alike cancels. The true answer
# is a difference, too: how far the *margin*, logit of *longicornis* minus logit of *furcata*, falls without a part.

# %%
from xai_course.fully_connected import contrast
from xai_course.judge import part_effects

twins = scenes("test", "Ellipsa_longicornis", 100)
pictures = draw(twins)
alone = class_activation_map(beetle_net, pictures, LONGICORNIS)
versus = contrast(beetle_net, pictures, LONGICORNIS, FURCATA)
show.figure(
    show.overlay(
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
first, second = (part_effects(beetle_net, twins, k, parts=parts) for k in (LONGICORNIS, FURCATA))
margin = first - second
visible = ["elytra", "head", "horn", "antennae", "legs"]  # longicornis has no pattern
at = [parts.index(part) for part in visible]
series = {
    "truth: what the margin loses": margin.mean(0)[at],
    "contrast map": part_relevance(versus, twins, visible).mean(0),
    "map for longicornis": part_relevance(alone, twins, visible).mean(0),
}
show.figure(
    show.part_bars(
        {
            name: dict(zip(visible, (values / values.max()).tolist(), strict=True))
            for name, values in series.items()
        },
        title="Antennae decide between the twins; the contrast map says so",
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
    "noise, why not furcata": (noise_map(beetle_net, pictures), margin),
}
for label, (relevance, true) in questions.items():
    score = rank_agreement(part_relevance(relevance, twins, parts), true)
    middle, low, high = mean_interval(score)
    print(f"{label:40} {middle:+.2f}  (95 %: {low:+.2f} to {high:+.2f})")

# %% [markdown]
# There is the answer to the prediction, in the second line. For the question *why not furcata*, the usual map does no
# better than noise, and the contrast map is far ahead. The tempting answer was "about half as well", since both maps are
# about the same beetle. But most of what speaks for *longicornis* (the horn, the plain oval wing cases) speaks for
# *furcata* just as loudly. **Whoever asks "why?" should be asked "and not what?"**

# %% [markdown]
# ## 5. Which species does the network find alike?
#
# Each species has its row of 64 weights. Two rows that point the same way give high logits to the same pictures; the
# cosine of the angle between them measures it, from −1 to 1. First, the mean row is taken away from all: what all rows share
# adds the same number to every logit, and the softmax does not notice. Do species that share traits have similar rows?

# %%
from dataclasses import astuple
from itertools import combinations

from xai_course.fully_connected import class_similarity

alike = class_similarity(beetle_net, x)
shared = torch.tensor(
    [
        [sum(a == b for a, b in zip(astuple(s), astuple(t), strict=True)) for t in SPECIES.values()]
        for s in SPECIES.values()
    ]
)
pairs = torch.tensor(list(combinations(range(10), 2)))
show.figure(
    show.scatter(
        shared[pairs[:, 0], pairs[:, 1]],
        alike[pairs[:, 0], pairs[:, 1]],
        title="Species that share traits have similar rows, loosely",
        x_label="traits that the two species share",
        y_label="cosine of their weights",
    ),
    alt="Scatter plot of 45 pairs of species. The cosine rises with the number of shared traits, with a wide spread.",
    caption="One dot for each of 45 pairs of species. Expected of ten unrelated rows: −1/9, as they are centred.",
)

# %%
lower = torch.tril(torch.ones(10, 10), -1).bool()


def correlation(order):
    """Correlation of cosine and shared traits over the 45 pairs, with the species relabelled."""
    return torch.corrcoef(torch.stack([alike[order][:, order][lower], shared[lower].float()]))[0, 1]


generator = torch.Generator().manual_seed(0)
by_chance = torch.stack([correlation(torch.randperm(10, generator=generator)) for _ in range(2000)])
low, high = by_chance.quantile(torch.tensor([0.025, 0.975])).tolist()
print(f"correlation {correlation(torch.arange(10)):.2f}; with species relabelled at random")
print(f"it is between {low:.2f} and {high:.2f} in 95 % of the cases")

# %% [markdown]
# More than chance, and far from a rule. The layer was never asked to find twins similar, it was asked to tell them
# *apart*; what twins share is in their rows, and so is what parts them.

# %% [markdown]
# ## 6. What the network has seen before
#
# What enters the last layer, 64 numbers, is called the picture's **embedding**. An explanation by example shows the
# training pictures nearest to it. There is one danger: *something is always nearest*, even if nothing is near. So
# `nearest_examples` takes from the examples how far apart neighbours usually are, and says when it is farther.

# %%
import warnings

from xai_course.concepts import nearest_examples
from xai_course.data import denormalise, modern_transform
from xai_course.photographs import PHOTOGRAPHS, photograph

known = [scene for name in SPECIES for scene in scenes("train", name, 60)]
examples = draw(known)
small = modern_transform(64)
photographs = torch.stack([small(photograph(name)) for name in PHOTOGRAPHS])
chimera = [s.with_trait(horn="forked") for s in scenes("test", "Tenuella_guttata", 20)]
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
rows = [("test beetles", 12), ("no known species", 0), ("photographs", coins)]
rows += [("pixels of noise", 0)]
panels, titles = [], []
for label, n in rows:
    found = neighbours[label]
    panels += [asked[label][n], *examples[found.indices[n]]]
    titles += [label + (":\nnear" if found.near[n] else ":\nnothing near")]
    titles += [f"distance\n{d:.1f}" for d in found.distance[n].tolist()]
show.figure(
    show.gallery(
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
# Compare the two columns of numbers. Of noise the network is *certain*, and some photographs get high confidence, too. The
# distance knows better: none of them is near. Nor are the beetles that combine traits as no species does. (A few per
# cent of test beetles are called far as well; the limit leaves out one training picture in a hundred.)

# %% [markdown]
# ## 7. Concepts, from pairs
#
# Nobody named the 64 features. Can we ask about *our* words instead: does the network use "horn"? A **concept** here
# is a direction in a layer. We have what most data sets lack: pairs of pictures that differ in the concept alone. The mean
# difference of their activations is the direction, and one **concept step** is its length. How *accurate* it is, held-out
# pairs say: in how many is the picture *with* the concept farther along? (Chance: 50 %.)

# %%
from xai_course.concepts import concept_vector, tcav
from xai_course.grounds import paint_ground

base = [scene for name in SPECIES for scene in scenes("extra", name, 8)]
by_light = sorted(range(40), key=lambda seed: paint_ground(seed, 64).mean())
dark, light = by_light[:10], by_light[-10:]
pairs_of = {
    part: [(s, s.without(part)) for s in base if stack_masks([s])[0, PARTS.index(part)].any()]
    for part in ("horn", "pattern", "antennae", "head", "legs")
}
pale, black = (0.9, 0.85, 0.7), (0.1, 0.08, 0.05)
pairs_of["pale legs"] = [(s.recoloured("legs", pale), s.recoloured("legs", black)) for s in base]
pairs_of["light ground"] = [
    (s.with_background(light[n % 10]), s.with_background(dark[n // 8])) for n, s in enumerate(base)
]
pairs_of["museum label"] = [(s.with_label(), s) for s in base]
concepts = {
    name: (draw([a for a, _ in pairs]), draw([b for _, b in pairs]))
    for name, pairs in pairs_of.items()
}

# %% [markdown]
# **TCAV** then asks: if a layer moved one step along the concept, would the logit rise? The answer is a slope, in
# logits a step. The null: in each pair, toss a coin which picture counts as "with". Such a random concept is made of the
# very same pictures, but nothing is common to its pairs. And since we test eight concepts, p is corrected for eight
# (Holm's method, exercise 3). We ask about *Tenuella lineata*, at the last map.

# %%
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
# **Another identity.** Compare the slope with the last column, which is measured without any theory: the logit of the
# pictures with the concept minus that of those without. At the last map, before pooling and one linear layer, they are
# equal: there the logit *is* a sum, so a mean difference of features gives the mean difference of logits.
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
    chosen = torch.tensor([a.traits.pattern == kind for a, _ in pairs_of["pattern"]])
    change = true_change["pattern"][chosen, LINEATA]
    split[kind] = mean_interval(change)
show.figure(
    show.bars(
        {kind: values[0] for kind, values in split.items()},
        errors={kind: values[1:] for kind, values in split.items()},
        title="“Pattern” is used, in both directions: on average it cancels",
        label="change of the logit of lineata through its pattern (logits)",
    ),
    alt="Three bars: stripes raise the logit of lineata, spots and bands lower it or do little.",
    caption="95 % intervals over the pairs. A mean over unlike things is not about any of them.",
)

# %% [markdown]
# ## 8. Global features?
#
# "Global" can mean two things: that a feature *collects from everywhere*, or that it sees *how things are arranged*. Test the
# second: **shuffle the places** of what enters the head, so that every value stays and its place is lost.


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
def right(logits, labels):
    """Share of right answers."""
    return (logits.argmax(1) == labels).float().mean().item()


def article_maps(images):
    """What ArticleNet flattens: (N, 128, 4, 4)."""
    convolved = article_net.conv3(article_net.conv2(article_net.conv1(images)))
    return article_net.pool(article_net.conv4(convolved))


with torch.no_grad():
    maps = beetle_net.blocks(beetle_net.stem(x))
    after = beetle_net.head(shuffle_places(maps, generator).mean((2, 3)))
    flat = article_maps(x[few])
    after_flat = article_net.fc2(article_net.fc1(shuffle_places(flat, generator).flatten(1)))
    accuracy = {
        "BeetleNet, as it is": right(beetle_net(x), y),
        "BeetleNet, places of its last map shuffled": right(after, y),
        "BeetleNet, tiles of the picture shuffled": right(
            beetle_net(shuffle_tiles(x, 4, generator)), y
        ),
        "ArticleNet, as it is": right(article_net(x[few]), y[few]),
        "ArticleNet, places of its last map shuffled": right(after_flat, y[few]),
    }
    moved = (after - beetle_net(x)).abs().max()

# %%
show.figure(
    show.shares(
        accuracy,
        band=(0.05, 0.15),
        band_label="about what guessing gives",
        title="A pooled head does not see where anything is",
        label="share of beetles that are named right",
    ),
    alt="Five bars: BeetleNet unchanged by shuffling its last map but far worse on shuffled tiles; ArticleNet drops to near "
    "guessing when its last map is shuffled.",
    caption="Tiles: 16 in a picture. BeetleNet on 120 beetles, ArticleNet on 30 of them.",
)
print(f"largest change of a BeetleNet logit by shuffling places: {moved:.0e}")


def sight(model):
    """How many rows and columns of pixels one place of a BeetleNet's last map depends on."""
    pixels = draw(sample[:20]).requires_grad_()
    place = model.blocks(model.stem(pixels))[:, :, 4, 4].sum()
    seen = (torch.autograd.grad(place, pixels)[0] != 0).any(1).any(0)
    return f"{int(seen.any(1).sum())} × {int(seen.any(0).sum())}"


print(f"one place of its last map sees {sight(beetle_net)} of 64 × 64 pixels")

# %% [markdown]
# For a pooled head nothing can change: a mean does not ask for the order. Its layer is global in the first sense only: it
# *counts* what was found, wherever it was. The arrangement is not lost on BeetleNet, as the shuffled tiles
# show; it is seen *before* the layer, by convolutions each of whose places looks at a good half of the picture. A
# flattened head is another matter: it has a weight for each place, and depends on them.

# %% [markdown]
# ## 9. Better on complex tasks?
#
# Tell a *longicornis* from a beetle with which it shares nothing, and any part will do. Tell it from its twin, and one part
# decides. So the number of shared traits is a scale of difficulty. For each of 120 beetles and each other species we ask
# *why this and not that*, and hold two contrast maps against the true answer: CAM, and gradient × input, which needs no
# fully connected layer. We ask two networks: BeetleNet, and one of the same make with nine blocks instead of three.

# %%
deep_net, card = load_checkpoint(checkpoints / "beetle_net_deep")
masks = stack_masks(sample)[:, : len(parts)]
absent = masks.sum((2, 3)) == 0


def by_part(relevance):
    """As `part_relevance`, with the masks drawn once."""
    found = torch.einsum("nhw,nphw->np", relevance.sum(1), masks)
    return found.masked_fill(absent, torch.nan)


def by_difficulty(true, explain):
    """Agreement with the key of each beetle, mean over its questions of each difficulty: (N, 4)."""
    found = torch.stack([by_part(explain(k)) for k in range(10)], 2)  # (N, parts, 10)
    own = torch.arange(len(sample))
    each = [
        rank_agreement(found[own, :, y] - found[:, :, b], true[own, :, y] - true[:, :, b])
        for b in range(10)
    ]
    each, level = torch.stack(each, 1), shared[y]
    return torch.stack([each.masked_fill(level != n, torch.nan).nanmean(1) for n in range(4)], 1)


# %%
scores = {}
for network, true in {"BeetleNet": (beetle_net, key), "nine blocks": (deep_net, None)}.items():
    model, true = true
    true = answer_key(model, x, gone) if true is None else true
    for method in ("CAM", "gradient × input"):
        scores[f"{network}: {method}"] = by_difficulty(
            true, lambda k, model=model, method=method: methods[method](model, x, k)
        )
noise = by_difficulty(key, lambda k: noise_map(beetle_net, x, seed=k)).nanmean().item()


def summary(values):
    """Mean and interval of the numbers that are there."""
    return mean_interval(values[~values.isnan()])


spread = {name: [summary(score[:, n]) for n in range(4)] for name, score in scores.items()}

# %%
show.figure(
    show.lines(
        {name: [m for m, _, _ in rows] for name, rows in spread.items()},
        [0, 1, 2, 3],
        bands={name: ([a for _, a, _ in r], [b for _, _, b in r]) for name, r in spread.items()},
        marks={"noise": noise},
        title="Whether CAM is better depends on the network, not on the task",
        x_label="traits that the two species share (left easy, right hard)",
        y_label="agreement with the answer key",
    ),
    alt="Four lines over the number of shared traits. BeetleNet: CAM mostly above gradient times input. Nine blocks: CAM near noise for easy questions, below gradient times input.",
    caption="Bands: 95 % intervals over beetles. Three shared traits: twins, which seven of the ten species have.",
)
gain = {
    network: scores[f"{network}: CAM"] - scores[f"{network}: gradient × input"]
    for network in ("BeetleNet", "nine blocks")
}
print("difference in agreement, with its 95 % interval:")
for network in gain:
    cam = scores[f"{network}: CAM"]
    for label, difference in {
        "CAM, twins minus strangers": cam[:, 3] - cam[:, 0],
        "CAM minus gradient × input, strangers": gain[network][:, 0],
        "CAM minus gradient × input, twins": gain[network][:, 3],
    }.items():
        middle, low, high = summary(difference)
        print(f"{network:12} {label:38} {middle:+.2f}  ({low:+.2f} to {high:+.2f})")

# %% [markdown]
# In both networks CAM agrees better on hard questions than on easy ones: the contrast is at its best where little
# differs. But *better than what?* In BeetleNet it is ahead of gradient × input, though not at two shared traits, where the
# order turns round. In the deeper network, which is right at least as often, it starts out at noise and is behind. Its sum is
# as exact as ever. A likely reason: how much each place of the last map has seen.

# %%
print(f"nine blocks: right on {card['accuracy']:.1%} of the test images,")
print(
    f"one place of its last map sees {sight(deep_net)} of 64 × 64 pixels; BeetleNet's {sight(beetle_net)}"
)

# %% [markdown]
# ## 10. Costly?
#
# We count arithmetic instead of seconds, since it is the same on every computer: multiplications for one picture, as
# multiples of one bare run of BeetleNet. And, for *complex*, the lines of the function.

# %%
import inspect

from torch.utils.flop_counter import FlopCounterMode

from xai_course.expectation import occlusion


def arithmetic(run):
    """Multiplications that a call needs."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


one = x[:1]
bare = arithmetic(lambda: beetle_net(one))
for method in (
    logit_contributions,
    class_activation_map,
    contrast,
    gradient_times_input,
    occlusion,
):
    times = arithmetic(lambda method=method: method(beetle_net, one)) / bare
    code = [line for line in inspect.getsource(method).split('"""')[2].splitlines() if line.strip()]
    print(f"{method.__name__:22} {times:6.1f} × a bare run, {len(code):3} lines of body")

# %% [markdown]
# The contributions and the map cost what the answer itself costs, since the derivative goes back to the last map only.
# (`contrast` makes two maps and, if not told, looks for the runner-up first.) The gradient takes twice as much, and moving
# a window over the picture a hundred times as much. If the technique is complex, it is not the code.

# %% [markdown]
# ## Where it breaks
#
# **Features are not concepts.** The sum of section 1 is exact, and its terms have no names. If features were concepts, each
# would answer to one part. Take each part away and see how much each contribution changes. Rows: the eight
# features that contribute most to *longicornis*, columns: its parts.

# %%
from xai_course.concepts import embed

before = embed(beetle_net, x)
change = before[:, None] - embed(beetle_net, gone).view(len(x), len(parts), -1)  # (N, parts, F)
weight = beetle_net.head.weight.detach()[LONGICORNIS]
its = y == LONGICORNIS
largest = (before[its].mean(0) * weight).abs().topk(8).indices
show.figure(
    show.matrix(
        (change[its].mean(0) * weight).T[largest][:, at],
        [f"feature {k}" for k in largest.tolist()],
        visible,
        title="Some features answer to one part, most to several",
        label="logits of longicornis",
    ),
    alt="A table of eight features by five parts. Two or three rows have one strong entry, the antennae; most have two.",
    caption="How far the feature's contribution falls when the part is taken away, mean of 12 longicornis.",
)

# %%
share = change.abs().sum(0) / change.abs().sum((0, 1))  # (parts, F), over beetles of all species
answers_to = 1 / share.square().sum(0)
narrow = answers_to.argmin()
print("a feature answers to so many of six parts, over all ten species:")
print(
    f"median {answers_to.median():.1f}, least {answers_to.min():.1f} (feature {narrow}, mostly",
    end=" ",
)
print(f"{parts[share[:, narrow].argmax()]}: {share[:, narrow].max():.0%} of its changes)")

# %% [markdown]
# (A feature that three parts change equally, and no other, answers to 3: it is one over the sum of the squared shares.) On
# *longicornis* alone some features look like antenna detectors. Over all species none is near 1. A feature gets its
# meaning from the pictures it was looked at with; a name for it, read off a few of them, says more than is there.
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
# pictures' derivatives all point nearly the same way; a share near 100 % would be reported as a discovery. **And the slope
# can be significant and have the wrong sign:** a real horn changes a few places of the map, and then meets ReLUs; a
# concept step changes all places a little, and takes them as they are. The direction is real. What the logit would do
# with it is not what it does with a beetle. How often, over all ten species?

# %%
from xai_course.concepts import layer_features
from xai_course.tracing import watch_layer

steps = {
    layer: torch.stack(
        [
            (layer_features(beetle_net, a, layer) - layer_features(beetle_net, b, layer)).mean(0)
            for a, b in concepts.values()
        ]
    )
    for layer in ("blocks.1", "blocks")
}
slopes = {}
for layer, step in steps.items():
    with watch_layer(beetle_net, layer) as seen:
        own = beetle_net(x)
    per_class = [
        torch.autograd.grad(own[y == k, k].sum(), seen[-1], retain_graph=True)[0][y == k]
        for k in range(10)
    ]
    slopes[layer] = torch.stack([step @ g.sum((2, 3)).mean(0) for g in per_class])  # (10, 8)
truth = torch.stack([change.mean(0) for change in true_change.values()], 1)

# %%
show.figure(
    show.scatter(
        truth,
        slopes["blocks.1"],
        title="One block earlier, the slope is a poor guide to the truth",
        x_label="true change of the logit through the concept (logits)",
        y_label="slope at blocks.1 (logits)",
        diagonal="they agree",
    ),
    alt="Scatter plot of 80 points, species by concept: wide scatter around the diagonal, many points in the wrong quadrants.",
    caption="One dot for each of ten species and eight concepts. At the last map, all dots lie on the line.",
)
clear = truth.abs() > 0.1
for layer, slope in slopes.items():
    wrong = ((slope > 0) != (truth > 0))[clear].float().mean()
    print(
        f"{layer:9} wrong sign for {wrong:.0%} of the {int(clear.sum())} changes above 0.1 logits"
    )

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
for name, value in accuracy.items():
    print(f"{name:45} {value:6.1%} right  (guessing: 10 %)")

# %% [markdown]
# **Better on complex tasks: depends on the network.** From strangers to twins, the agreement of the contrast map with
# the answer key rises in both networks. Whether it is better than a method that ignores the fully connected layer
# changes with the network, not with the task. Null: noise. (Two networks, one world; more would be better.)

# %%
print("agreement with the answer key on twins, 95 % intervals; noise:", f"{noise:+.2f}")
for name, rows in spread.items():
    print(f"{name:29} {rows[3][0]:+.2f}  ({rows[3][1]:+.2f} to {rows[3][2]:+.2f})")

# %% [markdown]
# **Costly, complex: refuted** for reading the layer, which takes about the arithmetic of one bare run (section 10) and a few
# lines. What is hard is to say what the terms of the sum *mean*.
#
# And two findings that the article does not have. *Why A* is not *why A and not B*: for the second question the usual map
# was as good as noise (section 4). And a concept can be accurate and unused, or significant and wrong (section 7 and
# *Where it breaks*).

# %% [markdown]
# ## Take it with you
#
# Class activation maps for any network with linear layers at its end, pooled or flattened, that check their own sum. This
# text, pasted into an empty file, runs.

# %%
from IPython.display import Code, display

from xai_course.snippets import snippet

text = snippet(class_activation_map)
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
# <details><summary>a) The network uses the label.</summary>
#
# No. It can be read from the layer; whether a logit makes anything of it is another question (section 7).
# </details>
# <details><summary>b) The label leaves a trace in that layer.</summary>
#
# Yes, and no more than that.
# </details>
# <details><summary>c) Some feature of the layer is a label detector.</summary>
#
# No. A direction may run through all features, each of which answers to several things.
# </details>
#
# **3. "The sum of the map plus the bias is the logit, to 10 digits." What does that prove?**
#
# <details><summary>a) That nothing is left out or made up in the adding.</summary>
#
# Yes. It is worth checking, and a map that fails it is not what it says it is.
# </details>
# <details><summary>b) That the map shows what the network looks at.</summary>
#
# No. Each place of the last map has seen half of the picture. Exact for the layer is not exact for the pixels.
# </details>
# <details><summary>c) That the network is right.</summary>
#
# No. The sum of a wrong answer is just as exact.
# </details>

# %% [markdown]
# ## References
#
# - B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, *Learning Deep Features for Discriminative Localization*, CVPR
#   2016, arXiv:1512.04150: class activation maps.
# - R. R. Selvaraju and others, *Grad-CAM*, ICCV 2017, arXiv:1610.02391: mean gradients as weights; equal to CAM for a
#   pooled head.
# - B. Kim and others, *Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation Vectors
#   (TCAV)*, ICML 2018, arXiv:1711.11279.
# - S. Haufe and others, *On the interpretation of weight vectors of linear models in multivariate neuroimaging*,
#   NeuroImage 2014, doi:10.1016/j.neuroimage.2013.10.067: why the direction is a mean difference and not a classifier's
#   weights.
# - S. Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of Statistics, 1979.
