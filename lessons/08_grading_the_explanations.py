# ---
# jupyter:
#   course:
#     question: "How do you know that an explanation is wrong?"
# ---

# %% [markdown]
# # Grading the explanations
#
# > **You will be able to** show that an explanation is wrong, and how wrong; grade any explainer against an answer key,
# > and against maps that know nothing of the network; and say what a verdict on a method depends on.
# >
# > **You need** lesson 01 (scenes, the answer key) and the pictures of lessons 04 to 07. A *rank correlation* is the
# > correlation of two rankings: 1 for the same order, −1 for the reverse.
# >
# > **Time** {minutes}. The computer needs about a minute.
# >
# > **For** everyone. *Engineers*: sections 3, 4 and 6, and *Take it with you*. *Teachers*: the prediction with
# > sections 1 and 3 makes a lesson; the misconception to look for is "a high score, so a good explanation". *Policy makers*: the
# > prediction, sections 3 and 6, and the verdict.


# %% [markdown]
# ## The claim
#
# Whoever shows a heat map claims something: *this is why the network answered so*. The article makes such claims for
# three techniques. Lessons 04 to 07 asked what each technique shows. The question behind them is still open: **which
# explanation is right?**
#
# In BeetleBox we can take a part away and measure what it was worth. That is the **answer key** of lesson 01. So a
# claim of this kind becomes a number, to be compared with that of a map which knows nothing of the network.


# %% [markdown]
# ## Predict
#
# Here are seven maps. Six explain one network, BeetleNet. The seventh is an **edge detector**, which has never seen the
# network. We compare each with the truth, on 200 beetles. **Put the seven into the order that you expect, best first.**
# Move the lines of the next cell; behind each stands what the map is. Section 3 shows the measured order.

# %%
my_order = [  # this order is the alphabet's
    "DeepLIFT",  # the difference to a baseline's answer, handed back layer by layer
    "Grad-CAM",  # a layer's feature maps, each times its mean gradient, added up
    "gradient",  # how fast the logit changes when a pixel changes a little
    "guided backpropagation",  # the gradient, but each ReLU lets only positive signals back
    "IG, mean",  # Integrated Gradients: gradients added up, from the mean colour to the picture
    "LRP",  # the logit itself, handed back layer by layer
    "null: edges",  # the edges of the picture; the edge detector
]

# %%
import torch
from IPython.display import Markdown, display

from xai_course import plots
from xai_course.beetlebox import (
    PARTS,
    SPECIES,
    ground_truth_effects,
    part_relevance,
    scenes,
    spearman_with_truth,
    stack_images,
    stack_masks,
)
from xai_course.core import interval_text, mean_interval
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.residual import lrp
from xai_course.storage import load_checkpoint

network, card = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
names = list(SPECIES)
tests = [scene for name in names for scene in scenes("test", name, 20)]
images, masks = normalise(stack_images(tests)), stack_masks(tests)
with torch.no_grad():
    says = network(images).argmax(1)
species = torch.arange(10).repeat_interleave(20)  # the true class of each beetle
print(f"BeetleNet names {(says == species).sum()} of {len(tests)} test beetles right")

# %% [markdown]
# ## 1. One image, one key, one score, by hand
#
# We take one beetle with all six parts. **The key**: take one part away, change nothing else, and see how far the
# network's logit falls.

# %%
at = names.index("Globaria_maculata") * 20
one, beetle = [tests[at]], images[at : at + 1]
key = ground_truth_effects(network, one)  # (1, 7) in logits; the seventh part is a museum label
present = [p for p, part in enumerate(PARTS) if part in one[0].parts]

# %%
plots.figure(
    plots.bars(
        {PARTS[p]: key[0, p].item() for p in present},
        title="The pattern and the antennae carry this answer",
        label="logits that are lost when the part is taken away",
    ),
    alt="Six bars, in logits: pattern 3.2 and antennae 2.9 are the longest, then elytra 1.9 and horn 1.4; head 0.4 and "
    "legs 0.1 are near 0.",
)

# %% [markdown]
# (Without the wing cases, *elytra*, their pattern is gone, too. Yet the pattern alone costs more: plain wing cases
# lower this logit more than missing ones.) **The explanation** is the map of
# LRP. A map is about pixels and the key is about parts, so we add up the map under each part's mask. What would a
# *perfect* map look like? `ground_truth_map` paints every part evenly, so that the map adds up to the part's effect
# under its mask.

# %%
from xai_course.beetlebox import ground_truth_map

relevance = lrp(network, beetle, rule="gamma")
perfect = ground_truth_map(one, key)

# %%
plots.figure(
    plots.overlay(
        [one[0].image(64)] * 3,
        [None, perfect[0], relevance[0]],
        ["the scene", "the key, painted", "LRP, rule γ"],
        shared_scale=False,
        columns=3,
        title="LRP marks the antennae, and too little of the pattern",
    ),
    alt="A spotted round beetle; the key, painted evenly on antennae, horn and pattern; the map of LRP, fine-grained, "
    "strong on antennae and horn, and weak on the pattern, which matters most.",
    caption="Orange speaks for the class. The key does not tell places within a part, so it is even there.",
)

# %% [markdown]
# **The score** is the rank correlation of the two rows of numbers. $d$ is the difference of a part's two ranks, $n$ the
# number of parts:
#
# $$\rho = 1 - \frac{6 \sum d^2}{n^3 - n}.$$

# %%
found = part_relevance(relevance, one)  # (1, 7); NaN for a part that is not there
rows = {"effect": key[0, present], "relevance": found[0, present]}
ranks = {name: row.argsort().argsort() + 1 for name, row in rows.items()}  # 1 for the smallest
print("part      " + "".join(f"{PARTS[p]:>10}" for p in present))
for name, row in rows.items():
    print(f"{name:10}" + "".join(f"{value:10.2f}" for value in row))
    print(f"{'  rank':10}" + "".join(f"{rank:10}" for rank in ranks[name]))
squared = (ranks["effect"] - ranks["relevance"]).square().sum().item()
n = len(present)
print(f"\n1 - 6 · {squared} / ({n}³ - {n}) = {1 - 6 * squared / (n**3 - n):.2f}", end=", ")
print(f"spearman_with_truth gives {spearman_with_truth(found, key).item():.2f}")

# %% [markdown]
# Ranks do not show that the relevance is much smaller than the effect; *magnitude* in section 7 (*go further*) does.
# And with six parts, chance alone gives large correlations: a single score is worth little. So we take 200 beetles, and
# an interval.
#
# **Try it**: the explorer shows the same beetle and map. Note the scores of LRP, DeepLIFT and the gradient. Add 1 to
# *Beetle no.*, which draws another beetle of the species, and note them again. Is the same method best? (On GitHub or
# paper the cell shows nothing.)

# %% tags=["nbval-ignore-output"]
from xai_course.explorer import Selection, explorer

explorer(Selection(species="Globaria_maculata", seed=16_000_000, method="LRP"))


# %% [markdown] tags=["further"]
# ## 2. Parts work together
#
# Is the key itself right? It asks what *one* part is worth **while all others are there**. If two parts say the same,
# one can be absent without loss: both get a small effect. If two are needed together, each gets all of their common
# worth. `pair_effects` also takes two parts away at once. It gives the two single effects minus the effect of both at
# once. Above 0, the two need each other. Below 0, they say the same, and one is enough.

# %%
from xai_course.beetlebox import BODY_PARTS, pair_effects, shapley_effects

few = tests[::10]  # two of each species
pairs = pair_effects(network, few)
single = pairs.diagonal(dim1=1, dim2=2).clone()  # (20, 6): the effects of single parts
apart = pairs.masked_fill(pairs == 0, torch.nan)  # 0: the scene lacks one of the two
apart.diagonal(dim1=1, dim2=2)[:] = torch.nan

# %%
plots.figure(
    plots.matrix(
        apart.nanmean(0),
        BODY_PARTS,
        BODY_PARTS,
        label="logits: the two single effects minus that of both",
        title="Two pairs of parts need each other",
    ),
    alt="Table of six parts by six parts, in logits. Elytra with pattern have 2.96, horn with antennae 1.51; all other "
    "pairs lie between −0.22 and 0.35.",
    caption="Mean over the scenes, of 20, that have both parts. Above 0: the two need each other.",
)

# %% [markdown]
# Wing cases (elytra) and pattern are a pair by construction: the pattern is painted on the wing cases, and goes with
# them. Horn and antennae are separate in the picture. The network made them a pair.
#
# ### The identity
#
# The **Shapley value** is the strict answer: put the parts in one after the other, in **every** order, and take the
# mean of what each part brings. This needs a picture for each set of parts, at most $2^6 = 64$ a scene. Unlike single
# effects, these values have a known sum:
#
# $$\sum_{p}\ \text{value}_p \;=\; f(\text{all parts}) - f(\text{none of them}).$$

# %%
shapley = shapley_effects(network, few)
bare = few
for part in BODY_PARTS:
    bare = [scene.without(part) for scene in bare]
with torch.no_grad():
    own = network(normalise(stack_images(few))).max(1)
    empty = network(normalise(stack_images(bare))).gather(1, own.indices[:, None])[:, 0]
gap = (own.values - empty - shapley.sum(1)).abs().max()
print(f"f(all) - f(none), mean of 20 scenes:  {(own.values - empty).mean():.2f} logits")
print(f"sum of the Shapley values:            {shapley.sum(1).mean():.2f}", end="")
print(f"   (largest difference in a scene: {gap:.0e})")
print(f"sum of the single effects:            {single.sum(1).mean():.2f}")
shown = shapley.masked_fill(single == 0, torch.nan)  # parts that are there
alike, low, high = mean_interval(spearman_with_truth(shown, single))
print(f"do both keys rank the parts alike?    {alike:.2f} ({low:.2f} to {high:.2f})")

# %% [markdown]
# The single effects add up to more than there is to explain: what two parts do only together is counted for both. But
# the two keys mostly put the parts in the same order. So we go on with single effects, and keep the Shapley values as a
# stricter second key.


# %% [markdown]
# ## 3. Two hundred beetles, and maps that know nothing
#
# A score alone means nothing. In the explorer the gradient was last of three on one beetle, and first on the next. And
# the wing cases are large, so even a map with the same value everywhere gives them a high
# sum. So we compare every score with those of **null maps**, which know nothing of the network:

# %%
from xai_course.methods import HARD_NULL_MAPS, course_methods, with_null_maps

methods = {**with_null_maps(network, tests, course_methods()), **HARD_NULL_MAPS}
nulls = [name for name in methods if name.startswith("null")]
drawn_nulls = {name: methods[name] for name in nulls if name != "null: constant"}
maps = [m[at] if torch.is_tensor(m) else m(network, beetle) for m in drawn_nulls.values()]

# %%
plots.figure(
    plots.overlay(
        [one[0].image(64)] * len(maps),
        maps,
        [name.removeprefix("null: ") for name in drawn_nulls],
        shared_scale=False,
        columns=4,
        sides=("negative", "positive"),
        title="Maps that know nothing of the network",
    ),
    alt="Seven maps over a beetle: noise, smooth noise, the centre, edges, the silhouette, bright edges, all that is away "
    "from the centre. Edges, silhouette and bright edges mark the beetle as an explanation would.",
    caption="The eighth null map is the same everywhere. *Bright edges* are edges times brightness squared.",
)

# %% [markdown]
# `grade` takes explainers by name, ours or yours, and returns one number for each method, measure and scene. The whole
# table is on file; `grade` computes only what the file lacks.

# %%
from xai_course.experiments import MEASURES, grade

folder = data_folder() / "grades"
grades = grade(network, methods, tests, file=folder / "beetle_net.csv")

# %% [markdown]
# (The 26 *methods* are 17 explainers, the eight null maps and the key itself.) As a check, we compute a part of the
# table again:

# %% tags=["nbval-check-output"]
some = {name: methods[name] for name in ("gradient", "LRP", "null: edges")}
fast = {name: MEASURES[name] for name in ("rank", "top part", "magnitude", "mass")}
anew = grade(network, some, tests[::4], measures=fast, progress=False)
for name, row in anew.items():
    same = all(torch.allclose(v, grades[name][m][::4], atol=0.01) for m, v in row.items())
    print(f"{name:12} as on file: {same}")

# %% [markdown]
# The measure *rank* is the score of section 1. Here it is for your seven maps. Below: the rank
# correlation of your order with the measured one, and the lead of four methods over two nulls (a minus: the null is
# ahead; −0.00 is just below 0).


# %%
def score(method, measure="rank"):
    """The mean over scenes, and its 95 % interval."""
    return mean_interval(grades[method][measure])


measured = sorted(my_order, key=lambda name: -score(name)[0])
places = torch.arange(7.0)[None]  # of your lines; below, their measured places
yours = torch.tensor([[float(measured.index(name)) for name in my_order]])
agreed = spearman_with_truth(yours, places).item()
ahead = [
    (name, null[6:], *mean_interval(grades[name]["rank"] - grades[null]["rank"]))
    for name in ("LRP", "DeepLIFT", "IG, mean", "Grad-CAM")
    for null in ("null: edges", "null: bright edges")
]

# %%
plots.figure(
    plots.bars(
        {name: score(name) for name in measured},
        title="Read with its sign, no map is far ahead of an edge detector",
        label="agreement with the answer key (200 beetles, 95 % interval)",
    ),
    alt="Seven bars: LRP 0.74 and DeepLIFT 0.70 are above the edge detector, 0.65; Integrated Gradients from the mean "
    "colour, 0.65, is level with it; Grad-CAM 0.42, guided backpropagation 0.41 and the gradient 0.13 are below.",
)
print(f"your order agrees with the measured one by {agreed:+.2f}")
for name, null, lead, low, high in ahead:
    print(f"{name:9} against {null:13} {lead:+.2f} ({low:+.2f} to {high:+.2f})")

# %% [markdown]
# An edge detector does not use the network. Yet it agrees with the network's own key as well as Integrated Gradients
# does, and bright edges (not in the chart: 0.73) agree as well as LRP. Why? Compare the parts, in the mean over the beetles that
# have them:

# %%
from xai_course.metrics import bright_edge_map, constant_map, edge_map

all_effects = ground_truth_effects(network, tests)  # (200, 7)
rows = {
    "worth, logits": all_effects,
    "edges, sum": part_relevance(edge_map(network, images), masks),
    "bright edges": part_relevance(bright_edge_map(network, images), masks),
    "area, pixels": part_relevance(constant_map(network, images), masks),
}
there = torch.tensor([[part in scene.parts for part in BODY_PARTS] for scene in tests])  # (200, 6)
print(f"{'mean of a part':15}" + "".join(f"{part:>10}" for part in BODY_PARTS))
for name, row in rows.items():
    means = row[:, :-1].masked_fill(~there, torch.nan).nanmean(0)
    print(f"{name:15}" + "".join(f"{value:10.2f}" for value in means))

# %% [markdown]
# The network uses what the species differ in: pattern, wing cases (*elytra*), horn, antennae. These parts are painted
# bright, and wing cases, pattern and horn have many edges. So the drawing alone gives much of the ranking. Only what
# lies above the **best null** was learnt from the network. **Skill** puts that on a scale: 0 is the best null, 1 the
# key.
#
# $$\text{skill} \;=\; \frac{\text{score} - \text{score of the best null}}{\text{score of the key itself} - \text{score of the best null}}$$
#
# ### A choice that we made without saying so
#
# We added up relevance *with its sign*, because the key has a sign. But the gradient's sign says "brighter" or
# "darker", not "for" or "against" (lesson 05). A map under a mask has three **readouts**: the signed sum, the sum of
# the positive values, and the sum of the sizes, which we compare with the sizes of the effects. `load_sums` has all
# three for every method, on 100 of the beetles. (You need not follow the code from here on: read what it prints.)

# %%
from xai_course.experiments import (
    CHOICES,
    FIELD_GUIDE,
    NULL_LAYERS,
    SAME_SPECIES,
    choice_shares,
    deciding_choices,
    load_sums,
    measure_sums,
    network_of,
    reading_scores,
    robust_share,
    specification_scenes,
    specifications,
)

sums = load_sums()
first = sums[0]  # BeetleNet, seed 0
READOUTS = CHOICES["readout"]


def read(entry, readout, kind="rank"):
    """Scores (100 scenes) of a method or null map, read in one of three ways."""
    signed, size = first.sums[entry][:, :7].unbind(-1)  # on file: sum, and sum of sizes
    # (signed + size) / 2: the negative values cancel, the positive ones stay.
    relevance = {"signed": signed, "positive": (signed + size) / 2, "size": size}[readout]
    effects, shown = first.keys["removal, logit"], first.shown
    effects = effects.abs() if readout == "size" else effects
    return reading_scores(relevance[None], effects, shown, kind)[0]


seven = {name: ("own", name) for name in my_order if name != "null: edges"}
seven |= {"null: edges": ("null", "edges"), "null: bright edges": ("null", "bright edges")}
three = {
    name: [read(e, readout).mean().item() for readout in READOUTS] for name, e in seven.items()
}
ranked = sorted(three, key=lambda name: -three[name][2])
ahead = [
    (name, null, *mean_interval(read(("own", name), "size") - read(("null", null), "size")))
    for name in ("guided backpropagation", "LRP", "gradient")
    for null in ("edges", "bright edges")
]

# %%
plots.figure(
    plots.matrix(
        [three[name] for name in ranked],
        ranked,
        READOUTS,
        signed=False,
        label="agreement with the key",
        title="By size, guided backpropagation\npasses the edge maps",
    ),
    alt="Table of eight maps by three readouts. Guided backpropagation has 0.38 with sign and 0.78 by size; edges have "
    "0.65 and 0.64, bright edges 0.72 and 0.73, LRP 0.75 and 0.79, the gradient 0.13 and 0.60.",
    caption="Mean rank correlation over 100 beetles.",
)
for name, null, lead, low, high in ahead:
    print(f"by size: {name:22} against {null:12} {lead:+.2f} ({low:+.2f} to {high:+.2f})")

# %% [markdown]
# The readout alone moves guided backpropagation from below both edge maps to above both. (On these 100 beetles the
# signed column differs a little from the bars above.) Each method *declares* the readout that **suits** it
# (`METHODS[name].readout`): the size for the gradient, SmoothGrad, DeconvNet and guided backpropagation, whose sign
# does not mean for or against; for the others the signed sum. So the bars above show one reading of many. What do all
# say?
#
# ## 4. All readings at once
#
# A **specification curve** answers that (Steegen and others 2016; Simonsohn and others 2020): list every choice that a
# reasonable analyst could make, make *all* of them, and look at all results. One combination of choices is a
# **reading**. Our choices:
#
# | choice | values |
# |---|---|
# | readout | signed sum; positive part; size |
# | change | the part is *removed*; it is *exchanged* for another trait or colour |
# | key | the logit; its lead over the runner-up (*margin*); Shapley values (a part's mean worth over all orders, section 2; for *removed* only) |
# | wing cases | their mask alone; together with the pattern that is painted on them |
# | regions | the parts alone; in the world of clutter also with the clutter |
# | score | rank correlation; is the top part right; Pearson's correlation |
# | resolution | 64 × 64 pixels; tiles of 8 × 8 pixels (apart from the others, in section 5) |
# | family of networks | BeetleNet; BeetleNet trained with parts missing at random (*parts absent*); a plain VGG (*SmallVGG*); a narrow ResNet-18; a BeetleNet of the world with clutter |
#
# Change and key make 5 pairs. So there are 3 · 5 · 2 · 3 = 90 readings for a method on one network, and 180 with
# clutter. Each family has at least three networks, from different seeds. A share of the readings is the mean of the
# families' shares, so each family counts the same. A method must beat the **best null**, out of four kinds: maps that
# know no network; *the same method* on the untrained network; its map for another class; its map of another image. To
# find it, we take the interval of the method's lead over each null. The best null is the one whose interval has the
# lowest lower end. A map that is clearly above this null is clearly above every null. The
# interval is over beetles; section 6 takes a stricter one. (Pearson's correlation uses the numbers and not their ranks,
# so parts with hardly any effect count little.)
#
# Two families answer objections. First, a network that never saw a beetle without a horn may react to the *hole*. For
# the family *parts absent* a missing part is nothing new. Second, edges may do well only because hardly anything but
# the beetle has edges. In the world of **clutter**, bright things with sharp edges lie around that mean nothing.

# %%
table_of_all = specifications(sums)
share = robust_share(table_of_all)
families = list(dict.fromkeys(row["family"] for row in table_of_all))
print(f"{len(sums)} networks of {len(families)} families, {len(table_of_all)} readings of maps")

# %%
plots.figure(
    plots.gallery(
        [scene.image(128) for scene in specification_scenes("clutter", per_species=1)[:5]],
        title="The world of clutter: twigs, petals, pebbles and dew mean nothing",
    ),
    alt="Five beetles among bright twigs, petals, pebbles and drops.",
)

# %% [markdown]
# The sums are on file (`make specification`). As a check, a part of them is computed again:

# %% tags=["nbval-check-output"]
few = specification_scenes(per_species=10)[::25]
again = measure_sums(
    "beetle_net",
    "BeetleNet",
    network_of("beetle_net"),
    few,
    methods={name: course_methods()[name] for name in ("gradient", "LRP")},
)
for entry in (("own", "gradient"), ("own", "LRP"), ("null", "edges")):
    filed = first.sums[entry][::25]
    print(
        entry[1], "as on file:", torch.allclose(again.sums[entry].float(), filed.float(), atol=0.01)
    )

# %% [markdown]
# First the curve of one method. Each point is one reading of one network: the method's lead over the best null. A
# choice whose stripes are dark on the left leads to bad readings, one with dark stripes on the right to good ones.
# Compare dark and light along a line, not one line with another: some choices are rare (*parts and clutter*: 270 of
# 1800 readings). The *top part* counts hits, so many readings have the same lead and lie side by side: hence the dark
# blocks in its line.


# %%
def curve_of(method):
    """The specification curve of one method."""
    rows = [row for row in table_of_all if row["method"] == method]
    choices = ("readout", "change", "key", "wing cases", "regions", "score", "family")
    found = next(row for row in share if row["method"] == method)
    plots.figure(
        plots.specification_curve(
            [(row["difference"], row["low"], row["high"]) for row in rows],
            {choice: [row[choice] for row in rows] for choice in choices},
            title=f"{method}: all readings, from the worst to the best",
            label="lead over the best null",
        ),
        alt=f"Specification curve of {method}: {len(rows)} readings, sorted by the lead over the best null. In "
        f"{found['below']:.0%} of them {method} is clearly below a null, {found['open']:.0%} are open, and in {found['above']:.0%} it "
        "is clearly above every null. Below the curve the choices. For LRP the ResNet-18, the margin and the rank are frequent "
        "in the worst fifth (36, 56 and 52 % of it), clutter and Pearson's correlation in the best (53 and 57 %).",
        caption="Above: orange is clearly above every null, grey open, blue clearly below one. Below: the darker, the more of the readings at that place made this choice.",
    )
    print(f"{method}: clearly above every null in {found['above']:.0%} of {len(rows)} readings")


curve_of("LRP")

# %% [markdown]
# Now all methods. The bar is the share of readings in which a method is clearly above every null. The line goes from
# the family of networks with the lowest share to the one with the highest. In the lines below, the last two columns
# take only the readout that suits the method.

# %%
order = [row["method"] for row in share if row["method"] != "CAM"]
real = [name for name in course_methods() if name in order]  # on a pooled head CAM is Grad-CAM

# %%
plots.figure(
    plots.bars(
        {
            row["method"]: tuple(round(100 * row[n]) for n in ("above", "lowest", "highest"))
            for row in share
        },
        signed=False,
        title="No method is above every null in all readings, and few often",
        label="readings clearly above every null, % (line: lowest and highest family)",
    ),
    alt="Bars of shares, in per cent. Above a half: LRP 63, DeepLIFT 62, Integrated Gradients from a blur 56 and from the "
    "mean colour 53; their lines go from 34, 39, 31 and 21 to about 80. From black 39, expected gradients 35, guided "
    "backpropagation 34, CAM 30. Occlusion has 13, FullGrad 12, and seven others 0 to 7.",
)
print(f"{'method':22}readings  above   open  below   declared readout: above, below")
for row in share:
    print(
        f"{row['method']:22}{row['readings']:8}{row['above']:7.0%}{row['open']:7.0%}{row['below']:7.0%}"
        f"{row['declared above']:17.0%}{row['declared below']:7.0%}"
    )


# %% [markdown]
# Four methods are clearly above every null in more than half of all readings: LRP, DeepLIFT, and Integrated Gradients
# from a blur or the mean colour. Most others are more often below a null than
# above all. (CAM has readings on the plain VGG alone, so its bar has no line: on the other networks its map is
# Grad-CAM's.)


# %% [markdown] tags=["further"]
# ## 5. Which choice decides?
#
# First a picture. Each column is one value of a choice. A choice is compared only where all its values exist. So the
# family *clutter* stands here without the regions of clutter. The last printed line says in which share of the readings
# each null is the best.

# %%
by_choice = choice_shares(table_of_all)
columns = list(dict.fromkeys(column for found in by_choice.values() for column in found))
leading = order[:8]
plots.figure(
    plots.choice_table(
        [[by_choice[name].get(column, float("nan")) for column in columns] for name in leading],
        leading,
        columns,
        title="Which choice decides whether a method is above every null",
        label="share of readings above, in per cent",
    ),
    alt="Table of eight methods by the values of seven choices: the share of readings above every null, in per cent. LRP has "
    "34 on the ResNet-18 and 78 on the plain VGG, 46 with the top part and 81 with Pearson's correlation, 52 with the margin "
    "and 81 with Shapley values; DeepLIFT and Integrated Gradients go the same way. Guided backpropagation has 7 with the "
    "signed sum and 50 with the positive part. How the wing cases are counted moves no method by more than about 10.",
)
widest = {}
for row in deciding_choices(table_of_all):
    widest.setdefault(row["method"], []).append(row)
print("the two choices that move the share most, with their best and worst value:")
for name in leading:
    for row in widest[name][:2]:
        print(f"    {name:24}{row['choice'] + ':':12}", end="")
        print(f"{row['best']} {row['best share']:.0%}", end=", ")
        print(f"{row['worst']} {row['worst share']:.0%}")
best = {}
for row in table_of_all:
    best[row["null"]] = best.get(row["null"], 0) + 1 / len(table_of_all)
ranked = sorted(best.items(), key=lambda item: -item[1])
print("best null:")
print("   ", ", ".join(f"{name} {part:.0%}" for name, part in ranked[:4]))


# %% [markdown]
# Does the seed decide as much as the family of networks? And how often is a method clearly *below* a null on the
# ResNet-18?

# %%
four = order[:4]
worst = choice_shares(table_of_all, -1)
of_family = [row for row in table_of_all if row["family"] == "BeetleNet"]
print("clearly above every null, lowest to highest of five BeetleNets; below one, ResNet-18:")
for name in four:
    seeds = [
        [
            row["verdict"] == 1
            for row in of_family
            if row["method"] == name and row["network"] == net
        ]
        for net in dict.fromkeys(row["network"] for row in of_family)
    ]
    of_seeds = sorted(sum(each) / len(each) for each in seeds)
    below = worst[name]["family", "ResNet-18"]
    print(f"    {name:12}{of_seeds[0]:6.0%} to {of_seeds[-1]:.0%}{below:6.0%}")


# %% [markdown]
# One choice is left, the **resolution**. Maps of a layer have 8 × 8 places, the others 64 × 64 pixels. Here each map
# and each null is first averaged over tiles of 8 × 8 pixels, for one network of each family.

# %%
coarse = load_sums(data_folder() / "specification" / "tiles")
in_both = {found.network for found in coarse}
in_pixels = [found for found in sums if found.network in in_both]
looked_at = [*four, "IG, black", "occlusion", "FullGrad", "guided backpropagation", "Grad-CAM"]
by_size = [
    {row["method"]: row for row in robust_share(specifications(found, methods=looked_at))}
    for found in (in_pixels, coarse)
]
print(f"clearly above every null, {len(coarse)} networks   pixels   tiles")
for name in looked_at:
    print(f"    {name:32}", *(f"{rows[name]['above']:8.0%}" for rows in by_size))

# %% [markdown]
# The first four keep their shares, within 6 points. For others the resolution decides. Occlusion rises from 9 % to 35
# %, Integrated Gradients from black from 29 % to 51 %; guided backpropagation falls from 32 % to 18 %. So say at which
# resolution a map was read.


# %% [markdown]
# **What decides.** First the network. On the plain VGG the four are above in about four of five readings, on the
# ResNet-18 in a third to two fifths. Where networks were trained with parts missing it is between a fifth (Integrated
# Gradients from the mean colour) and a half (LRP). So the objection about the hole (section 4) has weight: where a
# missing part is nothing new, the maps win less often. The family *clutter* changes little; counting the clutter's
# regions, too, changes more. The seed decides nearly as much as the family.
#
# Then come the score and the key: more readings are won with Pearson's correlation and Shapley values, fewer with the
# top part and the margin. For guided backpropagation it is the readout. (One choice is not varied: what is drawn in a
# part's place.)
#
# So "this map agrees with the network" is neither true nor false, until the reading and the null are named.

# %% [markdown]
# ## 6. Where it breaks: what could be looked up
#
# Section 4 makes two choices that favour the maps. Its nulls know no species. And its intervals are about *further
# beetles of these ten species*. A beetle of the same species is nearly a repetition: the network's key is much alike
# within a species (lesson 05). Here are three stricter tests.
#
# **Another interval.** Average over the ten beetles of a species first. The ten means then give the interval, by
# Student's t. This interval says what to expect of *further species*.
#
# **A null that knows the species.** The **field guide** gives each part the number of other species that look
# different there, and head and legs nothing (`field_guide_numbers`). This null knows no network: anyone could look it
# up.
#
# **A null that knows what the network makes of the species.** The method's own map of *another beetle of the same
# species*, summed over that beetle's parts, knows nothing of this beetle. (The null *another image* of section 4 was a
# map of any other beetle, summed over *this* beetle's parts.)

# %%
four = order[:4]
guide, same = (*NULL_LAYERS, FIELD_GUIDE), (*NULL_LAYERS, SAME_SPECIES)  # stricter nulls
tests_of_maps = {
    "over species": (NULL_LAYERS, True),
    "field guide too, over beetles": (guide, False),
    "field guide too, over species": (guide, True),
    "same species too, over beetles": (same, False),
}
strict = {"over beetles": share}  # of section 4
strict |= {
    title: robust_share(specifications(sums, methods=four, layers=layers, by_species=by_species))
    for title, (layers, by_species) in tests_of_maps.items()
}
print(f"{'readings clearly above every null; below one':31}" + "".join(f"{n:>10}" for n in four))
for title, rows in strict.items():
    by_name = {row["method"]: row for row in rows}
    for verdict in ("above", "below"):
        cells = "".join(f"{by_name[name][verdict]:10.0%}" for name in four)
        print(f"    {title:32}{verdict:8}{cells}")

# %% [markdown]
# The shares fall from more than half to between 14 and 22 % when species are counted and not beetles. (The maps do as
# well as before. But beetles of one species are much alike. So the intervals are wider, and more readings are open.)
# With the field guide among the nulls, the four are below a null more often than above all of them, over beetles and
# over species. And against its own map of another beetle of the species, each is above in one reading of ten at most.
# So most of what these maps know of the parts, they know of the *species*.
#
# ### Do they know anything of the single beetle?
#
# A rank over six parts can hardly show what a map knows of the single beetle: parts differ more than beetles do. So we
# hold the species *and* the part fixed. Over the ten beetles of a species: where the horn's effect is larger, is the
# horn's relevance larger, too? A field guide cannot answer that. We take the mean over parts, species and networks, and
# in each network the best of all nulls.


# %%
def within_species(maps, effects, shown):
    """Rank correlation over the beetles of a species, mean over its parts: (maps, species)."""

    def rows(values):  # (..., scenes, parts) to (..., species · part, beetle)
        each = values[..., : len(BODY_PARTS)].unflatten(-2, (len(SPECIES), -1))
        return each.transpose(-1, -2).flatten(-3, -2)

    full = rows(shown).all(-1)  # the species has this part
    read = reading_scores(rows(maps)[:, full], rows(effects)[full], rows(shown)[full], "rank")
    table = torch.full((len(maps), len(full)), torch.nan, dtype=read.dtype)
    table[:, full] = read
    return table.unflatten(1, (len(SPECIES), -1)).nanmean(2)


def is_null(entry, name):
    """Is it a null of this method? The field guide gives all beetles of a species the same."""
    kind, of = entry
    # A map that knows no network; or this method on another network, class or image.
    return of != FIELD_GUIDE if kind == "null" else kind != "own" and of == name


# %%
from xai_course.core import seed_interval

print("    change   map          own  null  lead, over ten species   networks ahead")
for change in ("removal", "exchange"):
    for name in four:
        found = []
        for net in sums:
            entries = [("own", name), *(entry for entry in net.sums if is_null(entry, name))]
            maps = torch.stack([net.sums[entry][..., 0] for entry in entries])
            ours, *others = within_species(maps, net.keys[f"{change}, logit"], net.shown)
            found.append((ours, max(others, key=lambda row: row.mean())))
        own, null = (torch.stack(rows) for rows in zip(*found, strict=True))  # (networks, species)
        lead = seed_interval((own - null).mean(0))
        wins = sum(seed_interval(row)[1] > 0 for row in own - null)
        print(f"    {change:9}{name:10}{own.mean():6.2f}{null.mean():6.2f}", end="    ")
        print("{:+.2f} ({:+.2f} to {:+.2f})".format(*lead) + f"{wins:5} of {len(sums)}")

# %% [markdown]
# Yes, a little. When a part is *removed*, the four maps follow the single beetle's effect: a weak correlation, clearly
# above every null on most networks. When a part is *exchanged* for another trait, they do no better than a null.
#
# ### The one part that matters most
#
# A user often wants one answer: *the* most important part. Network by network, we ask for a clear lead over **every** null: those of section 4, the field guide, and one more. The **usual part** is the same for every
# scene: the one that is most often the most important to this network. The lines give the share of scenes in which the
# guide, the usual part and the best method name the right part; then how many methods are clearly ahead of the guide.


# %%
def usual_part(effects, shown):
    """In how many of all scenes each part matters most: the same for every scene."""
    top = effects.masked_fill(~shown, -torch.inf).argmax(1)
    return torch.bincount(top, minlength=effects.shape[1]).expand(len(effects), -1)


def top_hits(net, key, readout):
    """In which scenes a map names the most important part: each map's, and the usual part's."""
    effects, shown = net.keys[key][:, :7], net.shown[:, :7]
    maps = [summed[:, :7, readout] for summed in net.sums.values()]
    maps.append(usual_part(effects, shown))
    *hits, usual = reading_scores(torch.stack(maps), effects, shown, "top part")
    return dict(zip(net.sums, hits, strict=True)), usual


def leaders(net, key, readout):
    """How many methods are clearly ahead of every null: over beetles, and over species."""
    hits, usual = top_hits(net, key, readout)
    above = over_species = 0
    for name in (name for kind, name in hits if kind == "own" and name in real):
        nulls = [hits[e] for e in hits if is_null(e, name)]
        leads = [hits["own", name] - n for n in (hits["null", FIELD_GUIDE], usual, *nulls)]
        above += all(mean_interval(lead)[1] > 0 for lead in leads)
        means = (lead.view(len(SPECIES), -1).mean(1) for lead in leads)
        over_species += all(seed_interval(each)[1] > 0 for each in means)
    return above, over_species


print("    family         guide usual  best  method            ahead of the guide")
for net in sums:
    hits, usual = top_hits(net, "removal, logit", 0)
    told = hits["null", FIELD_GUIDE]
    ours = {name: hits["own", name] for name in real if ("own", name) in hits}
    top = max(ours, key=lambda name: ours[name].mean())
    ahead = sum(mean_interval(found - told)[1] > 0 for found in ours.values())
    print(f"    {net.family:14}{told.mean():6.2f}{usual.mean():6.2f}", end="  ")
    print(f"{ours[top].mean():.2f} {top:23}{ahead:3}")
families = list(dict.fromkeys(net.family for net in sums))
lines = [" | ".join(["methods above every null", *families, "over species"])]
lines.append("---|" * (len(families) + 1) + "---")
for key in sums[0].keys:
    for readout, by in enumerate(("signed", "by size")):
        found = [leaders(net, key, readout) for net in sums]
        cells = [
            ", ".join(str(f[0]) for f, net in zip(found, sums, strict=True) if net.family == family)
            for family in families
        ]
        lines.append(" | ".join([f"{key}, {by}", *cells, str(sum(f[1] for f in found))]))
display(Markdown("\n".join(lines)))

# %% [markdown]
# In the table each number stands for one network (in the last column for all together): how many of the 16 methods (all but CAM) are clearly ahead of every
# null.
# Over beetles this depends on the network and on the key. With Shapley values some methods are ahead on most networks;
# after an exchange almost none is. **Over species no lead is clear: on no network, with no key, neither signed nor by
# size.** Even the best map in the lines above misses the most important part in more than a third of the scenes. The
# field guide alone is easier to beat: six methods beat it on each ResNet-18.


# %% [markdown] tags=["further"]
# ## 7. The big table
#
# Back to one network and the signed sum, with more questions. With the key we can ask several:
#
# | measure | asks |
# |---|---|
# | **rank**; **margin**; **Shapley** | do map and key rank the parts alike? For the logit; for its lead over the runner-up; with Shapley values as the key |
# | **top part** | does the map name the part that matters most? |
# | **sign** | does it know what speaks for and what against? |
# | **magnitude** | is relevance in logits the effect in logits? 1 if it is, 0 for an empty map. Only for methods that claim this unit |
#
# A cell is orange where the method is ahead of the best null of its column, blue where the null is ahead (95 %, scene
# by scene), and white where it is open. (The table as text says the same with ▲ and ▼.) *The key itself* is the effect
# on the logit: where the key is the margin or Shapley values, it has less than 1. CAM is left out: with a pooled
# head it is Grad-CAM up to a factor (lesson 06).

# %%
WITH_KEY = ["rank", "rank, margin", "rank, Shapley", "top part", "sign", "magnitude"]
IN_LOGITS = {"gradient × input", "FullGrad", "CAM, contrast", "last block", "LRP"}
IN_LOGITS |= {"DeepLIFT", "IG, black", "IG, mean", "IG, blur", "expected gradients"}


def applies(method, measure):
    """Is there such a score? Magnitude needs logits."""
    return measure != "magnitude" or method in IN_LOGITS or method == "the key itself"


# %%
def best_null(measure):
    """The null map with the best mean, and its scores."""
    if measure == "magnitude":
        return "null: empty", torch.zeros(len(tests))  # what a map of zeros scores
    best = max(nulls, key=lambda name: grades[name][measure].mean())
    return best, grades[best][measure]


def better(method, measure):
    """1 if better than the best null map, -1 if worse, 0 if open."""
    _, low, high = mean_interval(grades[method][measure] - best_null(measure)[1])
    return 1 if low > 0 else -1 if high < 0 else 0


# %%
def table(measures, title):
    """The means, coloured by what they are worth; empty where a measure does not apply."""
    rows = [*order, "the best null map", "the key itself"]
    value, tint = torch.full((2, len(rows), len(measures)), torch.nan)
    for c, measure in enumerate(measures):
        for r, method in enumerate(order):
            if applies(method, measure):
                value[r, c] = grades[method][measure].mean()
                tint[r, c] = better(method, measure)
        value[-2, c] = best_null(measure)[1].mean()
        value[-1, c] = grades["the key itself"][measure].mean()
    how = "blue: the best null is better     white: open     orange: the method is better"
    picture = plots.matrix(value, rows, measures, tint=tint, label=how, title=title)
    ahead = [f"{m} {int((column == 1).sum())}" for m, column in zip(measures, tint.T, strict=True)]
    counts = {
        name: int((tint == k).sum()) for k, name in ((1, "orange"), (0, "white"), (-1, "blue"))
    }
    alt = ", ".join(f"{number} {colour}" for colour, number in counts.items())
    plots.figure(
        picture,
        alt=f"Table of {len(order)} methods by {len(measures)} measures with the key. Of its cells {alt}. "
        f"Methods ahead of the best null, by measure: {'; '.join(ahead)}.",
    )
    by_null = {}
    for measure in measures:
        by_null.setdefault(best_null(measure)[0].removeprefix("null: "), []).append(measure)
    lines = ["the best null map | of these measures", "---|---"]
    lines += [f"{null} | {'; '.join(listed)}" for null, listed in by_null.items()]
    display(Markdown("\n".join(lines)))


table(WITH_KEY, "With the key: who beats the best null\ndepends on the question")

# %% [markdown]
# Read it by columns:
#
# - **Rank** and **margin**: no method is ahead. The best are level with bright edges. By **Shapley** values two are
#   ahead.
# - **Top part**: eight are ahead of the maps that know no species. Section 6 has the stricter null.
# - **Sign**: nearly every effect here is positive. So a map that is positive everywhere is nearly always right, and no
#   method is ahead of it.
# - **Magnitude**: all are better than an empty map, none is near 1.
#
# By chance alone about five of a hundred cells would be coloured.

#
# The same as text, with half of the 95 % interval (where figure and text differ by 0.01, they round the same value
# differently):


# %%
def plus_minus(values, digits=2):
    """A mean and half of its 95 % interval, as text."""
    return interval_text(mean_interval(values), digits, plus_minus=True)


lines = ["method | " + " | ".join(WITH_KEY), "---|" * len(WITH_KEY) + "---"]
for name in [*order, *nulls, "the key itself"]:
    marks = [("", " ▲", " ▼")[better(name, m)] if name in order else "" for m in WITH_KEY]
    cells = [
        plus_minus(grades[name][m]) + mark if applies(name, m) else ""
        for m, mark in zip(WITH_KEY, marks, strict=True)
    ]
    lines.append(f"{name} | " + " | ".join(cells))
display(Markdown("\n".join(lines)))

# %% [markdown]
# ### How many logits?
#
# An empty map is a weak null for *magnitude*. A stronger one: give each part that the field guide marks **the same
# number of logits**. For each species we try seven numbers, and take the one that fits the other nine species best. And
# the single effects add up to more than there is to explain (section 2), while Shapley values have the right sum. So we
# ask with both keys.

# %%
from xai_course.beetlebox import magnitude_agreement
from xai_course.core import relevance_maps

hundred = specification_scenes(per_species=10)
pictures, regions = normalise(stack_images(hundred)), stack_masks(hundred)
with torch.no_grad():
    named = network(pictures).argmax(1)
in_logits = {
    name: part_relevance(relevance_maps(network, methods[name], pictures, named), regions)
    for name in four  # of those in logits the best, in the table above
}
marked = first.sums["null", FIELD_GUIDE][:, :7, 0] > 0


def guessed(effects):
    """Scores (100 scenes) of one number of logits, chosen on the other nine species."""
    each = []
    for logits in (0.25, 0.5, 1, 1.5, 2, 2.5, 3):
        guess = torch.where(marked, logits, 0.0).masked_fill(~first.shown[:, :7], torch.nan)
        each.append(magnitude_agreement(guess, effects).view(len(SPECIES), -1))
    each = torch.stack(each)  # (numbers, species, beetles)
    others = each.sum((1, 2))[:, None] - each.sum(2)  # (numbers, species)
    return each[others.argmax(0), torch.arange(len(SPECIES))].flatten()


print("magnitude: the best map, one number for all marked parts, the lead of the map")
for key_name in ("removal, logit", "removal, Shapley"):
    effects = first.keys[key_name][:, :7].float()
    reached = {name: magnitude_agreement(each, effects) for name, each in in_logits.items()}
    best = max(reached, key=lambda name: reached[name].mean())
    level = guessed(effects)
    print(f"    {key_name[9:]:8}{best:10}{reached[best].mean():.2f}  {level.mean():.2f}", end="  ")
    print("{:+.2f} ({:+.2f} to {:+.2f})".format(*mean_interval(reached[best] - level)))

# %% [markdown]
# With single effects as the key, no map is better than one number for all marked parts. With Shapley values DeepLIFT
# is, clearly. Both are far from 1.


# %% [markdown]
# ## Exercises
#
# **1. Skill** (5 minutes, easy). `score` is a method's mean score, `nulls` a list of the scores of null maps, `key` the
# score of the key itself; higher is better. Return the skill: 0 for the best null, 1 for the key.


# %% tags=["exercise"]
def skill_by_hand(score, nulls, key):
    """The skill of a method: one number."""
    return ...


# %% tags=["solution"]
def skill_by_hand(score, nulls, key):
    """The skill of a method: one number."""
    best = max(nulls)
    return (score - best) / (key - best)


# %%
from xai_course.exercises.lesson_08 import check_skill

check_skill(skill_by_hand)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Two differences, both from the best null: how far the method is above it, and how far the key is.
# </details>


# %% [markdown]
# When it works, your function grades the network itself. `nulls` are here all eight maps that know no network:

# %%
if check_skill(skill_by_hand).status == "yes":
    blind = [score(name)[0] for name in nulls]
    for name in ("LRP", "DeepLIFT", "IG, mean", "Grad-CAM", "gradient"):
        print(
            f"{name:10} score {score(name)[0]:.2f}, skill {skill_by_hand(score(name)[0], blind, 1.0):+.2f}"
        )

# %% [markdown]
# With a solution: LRP's score of 0.74 is a skill of +0.04, and Grad-CAM's 0.42 one of −1.17. A negative skill means:
# the best null is the better guide.
#

# **2. A better null** (10 minutes, hard). A null should know all that you know, except the network. You know the world:
# write a function that makes a map `(N, 1, H, W)` from the pictures alone, `(N, 3, H, W)` in [0, 1]. Its agreement with
# the network's key must be at least 0.02 above that of the edge detector, `edge_map(network, pixels)`. The check takes
# new beetles, and tells you what LRP has on them. (Section 3 names one. Write it yourself, then try to do better.)


# %% tags=["exercise"]
def better_null(pixels):
    """A map from the picture alone: (N, 3, H, W) to (N, 1, H, W)."""
    return ...


# %% tags=["solution"]
def better_null(pixels):
    """A map from the picture alone: (N, 3, H, W) to (N, 1, H, W)."""
    brightness = pixels.mean(1, keepdim=True)
    return edge_map(network, pixels) * brightness**2  # horn and antennae are painted bright


# %%
from xai_course.exercises.lesson_08 import check_null

check_null(better_null)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Look at the table of the parts in section 3. Which parts does the network value more than the edge detector does? How
# are these parts painted, whatever the species, and how are the others? (Look at the ten species, the first picture of
# lesson 01.) `edge_map`
# uses the network only to check that it takes such pictures.
# </details>


# %% [markdown]
# When it works, hold LRP against your map, on 14 networks with the same scenes.

# %%
if check_null(better_null).status == "yes":
    drawn = part_relevance(better_null(stack_images(hundred)), regions)
    wins = {1: 0, 0: 0, -1: 0}
    for net in [net for net in sums if net.family != "clutter"]:
        maps = torch.stack([net.sums["own", "LRP"][:, :7, 0].double(), drawn.nan_to_num().double()])
        effects, shown = net.keys["removal, logit"][:, :7], net.shown[:, :7]
        lrp_has, yours_has = reading_scores(maps, effects, shown, "rank")
        _, low, high = mean_interval(lrp_has - yours_has)
        wins[(low > 0) - (high < 0)] += 1
    print(f"LRP clearly ahead of your map on {wins[1]} networks, open {wins[0]}, behind {wins[-1]}")

# %% [markdown]
# With a solution (bright edges): by this reading LRP is clearly ahead on 10 of the 14 networks. BeetleNet, the network
# of section 3, is one of three that stay open. Where LRP is not ahead, this reading does not show that LRP's map says
# more than the drawing does. What would an explanation have to show that your map cannot? Your map is the same for
# every class and for every network.

# %% [markdown]
# ## Verdict
#
# **What you may conclude**, in these worlds and networks:
#
# - Four methods (LRP, DeepLIFT, and Integrated Gradients from a blur or the mean colour) often rank the parts better
#   than maps that know no network. A list of what the species differ in mostly does so as well or better.
# - Of the single beetle these maps know a little.
# - That a map names the most important part is not shown for a further species, and no map gives the amount.
# - So ask of each map: which reading, which null, and an interval over what?
#
# **What a map may be relied on for, in numbers:**
#
# - *To rank parts*: it depends on the reading, on the network, on the null, and on what the interval is over. Over
#   beetles the four are clearly above every null in 53 to 63 % of all readings, over species in 14 to 22 %. No method
#   is above in all.
# - The field guide, which knows the species and no network, was not among these nulls. With it, the four are above in
#   12 to 18 % over beetles, and below a null in 29 to 40 %. Over species they are above in 2 to 5 %, and below in 12 to
#   20 %.
# - *To say something of the single beetle*: a little, when a part is removed. Within a species and a part, the
#   relevance of the four follows the effect by 0.32 to 0.36 (rank correlation), the best null by 0.12. When a part
#   is exchanged, none is clearly ahead of a null. Most of what the maps know is about the species: against its own map
#   of another beetle of the same species, each of the four is clearly above in one reading of ten at most.
# - *To name the part that matters most*: not shown for further species. Over species, no method is clearly ahead of
#   every null on any of seventeen networks, under five keys, signed or by size. Over beetles it depends on network and
#   key. With Shapley values 0 to 6 of 16 methods are ahead, by network; with the logit lost by exchange none is. Among
#   the nulls are the field guide and the usual part.
# - *To say how much* (section 7): no map is near. With the effects of single parts as the key, the best map agrees by
#   0.41, and one number of logits for each part that the field guide marks by 0.45. With Shapley values DeepLIFT agrees
#   by 0.47, that number by 0.20. 1 would be right.

# %%
for title, rows in strict.items():
    by_name = {row["method"]: row for row in rows}
    for verdict in ("above", "below"):
        print(f"{title}, {verdict}: " + " ".join(f"{by_name[name][verdict]:.0%}" for name in four))
print("methods above in all readings:", sum(row["above"] == 1 for row in share))
print("methods more often below than above:", sum(row["below"] > row["above"] for row in share))
print("the most often above every null:", ", ".join(row["method"] for row in share[:2]))
listed, effects = first.sums["null", FIELD_GUIDE][:, :7, 0], first.keys["removal, logit"]
told = reading_scores(listed[None], effects[:, :7], first.shown[:, :7], "rank")[0]
behind = sum(mean_interval(read(("own", name), "signed") - told)[2] < 0 for name in real)
print(
    f"by rank, BeetleNet: field guide {told.mean():.2f}; clearly below it {behind} of {len(real)}"
)

# %% [markdown]
# ## Take it with you
#
# Two null maps and the skill, for any PyTorch classifier, without beetles. `snippet` writes them out as one text, here
# without the checks of their arguments.

# %%
from IPython.display import Code

from xai_course.core import skill_score
from xai_course.snippets import snippet

source = snippet(edge_map, bright_edge_map, skill_score, checks=False)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty_file: dict = {}
exec(source, empty_file)
both = [make(network, images[:4]) for make in (empty_file["bright_edge_map"], bright_edge_map)]
print("the same map:", torch.allclose(*both, atol=1e-5))

# %% [markdown]
# `Path("nulls.py").write_text(source)` keeps them. To grade your own explainer: `grade(network, {"mine": my_explainer},
# tests)`, also a lambda around a Captum object; with a measure of your own: `measures={"mine": lambda material,
# explainer, maps: ...}` (`material` holds the network, the images and the masks).

# %% [markdown]
# ## Quiz
#
# **1. A method agrees with the answer key by 0.60. Is that good?**
#
# <details><summary>a) It is bad if an edge detector has 0.65 on the same beetles.</summary>
#
# Yes. A map that never saw the network is then the better guide. That is why every score stands beside its nulls.
# </details>
# <details><summary>b) It is good, far above 0.</summary>
#
# No. A map that knows nothing does not score 0. An edge detector has 0.65 here.
# </details>
# <details><summary>c) One cannot say, since each network has another key.</summary>
#
# No. One can say it: the nulls are scored by the same key, so compare the method with the nulls.
# </details>
#
# **2. Guided backpropagation is behind an edge detector by the signed sum, and ahead of it by size. Which is true?**
#
# <details><summary>a) The signed sum, since the key has a sign.</summary>
#
# No. The sign of this map says "brighter" or "darker". The signed sum asks the map for what it does not claim.
# </details>
# <details><summary>b) Both: they are answers to two questions. Name the reading with the verdict.</summary>
#
# Yes. One choice of the analyst moves this method past both edge maps (section 3). So look at all readings.
# </details>
# <details><summary>c) Neither: the two cancel.</summary>
#
# No. Both results are measured, on the same beetles. They differ because the reading differs.
# </details>
#
# **3. LRP's own map of another beetle of the same species ranks the parts nearly as well. What follows?**
#
# <details><summary>a) LRP shows nothing of the network.</summary>
#
# No. In many readings LRP is above its map of the untrained network, and above maps that know no network.
# </details>
# <details><summary>b) Most of what the ranks show is about the species, and not about this beetle.</summary>
#
# Yes. What LRP knows of the single beetle shows when species and part are held fixed: a weak correlation (section 6).
# </details>
# <details><summary>c) The key is wrong.</summary>
#
# No. The key is measured beetle by beetle. But within a species the keys are much alike, and that makes the species so
# good a guide.
# </details>


# %% [markdown]
# ## References
#
# - Steegen, Tuerlinckx, Gelman, Vanpaemel: Increasing Transparency Through a Multiverse Analysis. Perspectives on
#   Psychological Science 2016; Simonsohn, Simmons, Nelson: Specification Curve Analysis. Nature Human Behaviour 2020.
# - Hesse, Schaub-Meyer, Roth: FunnyBirds: A Synthetic Vision Dataset for a Part-Based Analysis of Explainable AI
#   Methods. ICCV 2023, arXiv:2308.06248 (the closest work: parts of birds that can be taken away, and networks trained
#   with parts missing).
# - Clark et al.: XAI-TRIS. 2023, arXiv:2306.12816 (methods are often no better than edge detectors).
# - Kim et al.: Sanity Simulations for Saliency Methods. ICML 2022, arXiv:2105.06506; Yang, Kim: Benchmarking
#   Attribution Methods with Relative Feature Importance. 2019, arXiv:1907.09701 (other worlds with an answer key).
# - Shapley: A Value for n-Person Games. Contributions to the Theory of Games II, 1953.
# - Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics 1979.
