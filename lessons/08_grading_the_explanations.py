# ---
# jupyter:
#   course:
#     question: "How do you know that an explanation is wrong?"
# ---

# %% [markdown]
# # Grading the explanations
#
# > **You will be able to** show that an explanation is wrong, and how wrong; grade any explainer against an answer key
# > and against maps that know nothing; say which quality measures deserve trust; and choose a method for a question.
# >
# > **You need** lesson 01 (scenes, the answer key) and the pictures of lessons 04 to 07. A *rank correlation* is the
# > correlation of two rankings: 1 for the same order, −1 for the reverse.
# >
# > **Time** {minutes}. The computer needs less than a minute.
# >
# > **For** everyone. *Engineers*: sections 3, 4 and 6, and *Take it with you*. *Teachers*: the prediction with sections 1
# > to 3 makes a lesson; section 7 is a good game in pairs; the misconception to look for is "a high score, so a good
# > explanation". *Policy makers*: the prediction, sections 4, 8 and 10, and the verdict.

# %% [markdown]
# ## The claim
#
# This lesson tests the article's whole table at once:
#
# | technique | principle | claimed strength | claimed limit |
# |---|---|---|---|
# | **ReLU** | read the ReLU outputs: local features | simple, cheap | insensitive to noise in the input |
# | **fully connected layer** | read that layer: global features | better on complex tasks | costly, complex |
# | **residual network** | compare the change of the model with the expected change | suits inputs where texture matters | poor under changes during training |
#
# Lessons 04 to 07 tested these claims one by one. The question behind them is still open: **which explanation is
# right?** Section 10 rewrites the table.

# %% [markdown]
# ## Predict
#
# Here are seven maps. Six explain one network, BeetleNet. The seventh is an **edge detector**, which has never seen the
# network. We compare each with the truth, on 200 beetles. Move the lines of the next cell into the order that you
# expect, best first. Section 3 shows the measured order.

# %%
my_order = [  # this order is the alphabet's
    "DeepLIFT",
    "Grad-CAM",
    "gradient",
    "guided backpropagation",
    "IG, mean",  # Integrated Gradients from the picture's mean colour
    "LRP",
    "null: edges",
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
species = torch.arange(10).repeat_interleave(20)
print(f"BeetleNet names {(says == species).sum()} of {len(tests)} test beetles right")

# %% [markdown]
# ## 1. One image, one key, one score, by hand
#
# We take one beetle with all six parts. **The key**: take one part away, change nothing else, and see how far the
# network's logit falls. This is no estimate: it is what the part does for this answer.

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
# **The explanation** is the map of LRP. A map is about pixels and the key is about parts, so we add up the map under
# each part's mask. What would a *perfect* map look like? `ground_truth_map` paints every part evenly, so that its sum
# is the part's effect.

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
# Ranks do not show that the relevance is much smaller than the effect; *magnitude* in section 5 does. And with six
# parts, chance alone gives large correlations: a single score is worth little. So we take 200 beetles, and an interval.
#
# **Try it**: the explorer shows the same beetle and map. Note the scores of LRP, DeepLIFT and the gradient. Add 1 to
# the seed, which draws another beetle of the species, and note them again. Is the same method best? (On GitHub or paper
# the cell shows nothing.)

# %% tags=["nbval-ignore-output"]
from xai_course.explorer import Selection, explorer

explorer(Selection(species="Globaria_maculata", seed=16_000_000, method="LRP"))

# %% [markdown] tags=["further"]
# ## 2. Parts work together
#
# Is the key itself right? It asks what *one* part is worth **while all others are there**. If two parts say the same,
# one can be absent without loss: both get a small effect. If two are needed together, each gets all of their common
# worth. `pair_effects` takes two parts away at once, and shows what that does beyond the sum of the two.

# %%
from xai_course.beetlebox import BODY_PARTS, pair_effects, shapley_effects

few = tests[::10]  # two of each species
pairs = pair_effects(network, few)
single = pairs.diagonal(dim1=1, dim2=2).clone()  # (20, 6): the effects of single parts
apart = pairs.masked_fill(pairs == 0, torch.nan)  # 0: the scene lacks one of the two
apart.diagonal(dim1=1, dim2=2).fill_(torch.nan)

# %%
plots.figure(
    plots.matrix(
        apart.nanmean(0),
        BODY_PARTS,
        BODY_PARTS,
        label="logits beyond the sum of the two",
        title="Two pairs of parts need each other",
    ),
    alt="Table of six parts by six parts, in logits. Elytra with pattern have 2.96, horn with antennae 1.51; all other "
    "pairs lie between −0.22 and 0.35.",
    caption="Mean over the scenes, of 20, that have both parts. Above 0: the two need each other.",
)

# %% [markdown]
# Wing cases (elytra) and pattern are a pair by construction: the pattern is painted on the wing cases. Horn and
# antennae are separate in the picture. The network made them a pair.
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
# A score alone means nothing. The wing cases are large, so even a map with the same value everywhere gives them a high
# sum. So we compare every score with those of **null maps**, which know nothing of the network:

# %%
from xai_course.methods import HARD_NULL_MAPS, course_methods, with_null_maps

# By name: explainers, and some ready maps.
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
        title="Maps that know nothing of the network",
    ),
    alt="Seven maps over a beetle: noise, smooth noise, the centre, edges, the silhouette, bright edges, all that is away "
    "from the centre. Edges, silhouette and bright edges mark the beetle as an explanation would.",
    caption="The eighth is the same everywhere. *Bright edges* are edges times brightness squared.",
)

# %% [markdown]
# `grade` takes explainers by name, ours or yours, and returns one number for each method, measure and scene. This takes
# some minutes, so the course ships the table, and `grade` computes only what the file lacks. (Delete `data/grades/` to
# compute all of it; you can stop and go on.)

# %%
from xai_course.experiments import MEASURES, grade

folder = data_folder() / "grades"
grades = grade(network, methods, tests, file=folder / "beetle_net.csv")

# %% [markdown]
# As a check, we compute a part of the table again:

# %% tags=["nbval-check-output"]
some = {name: methods[name] for name in ("gradient", "LRP", "null: edges")}
fast = {name: MEASURES[name] for name in ("rank", "top part", "magnitude", "mass")}
anew = grade(network, some, tests[::4], measures=fast, progress=False)
for name, row in anew.items():
    same = all(torch.allclose(v, grades[name][m][::4], atol=0.01) for m, v in row.items())
    print(f"{name:12} as on file: {same}")

# %% [markdown]
# The measure *rank* is the score of section 1. For the seven maps that you put in order:


# %%
def score(method, measure="rank"):
    """The mean over scenes, and its 95 % interval."""
    return mean_interval(grades[method][measure])


measured = sorted(my_order, key=lambda name: -score(name)[0])
places = torch.arange(7.0)[None]
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
# An edge filter does not use the network. Yet it agrees with the network's own key as well as Integrated Gradients
# does, and bright edges agree as well as LRP. Why? Compare the parts, in the mean over the beetles that have them:

# %%
from xai_course.metrics import bright_edge_map, constant_map, edge_map

all_effects = ground_truth_effects(network, tests)  # (200, 7)
rows = {
    "worth, logits": all_effects,
    "edges, sum": part_relevance(edge_map(network, images), masks),
    "bright edges": part_relevance(bright_edge_map(network, images), masks),
    "area, pixels": part_relevance(constant_map(network, images), masks),
}
there = torch.tensor([[part in scene.parts for part in BODY_PARTS] for scene in tests])
print(f"{'mean of a part':15}" + "".join(f"{part:>10}" for part in BODY_PARTS))
for name, row in rows.items():
    means = row[:, :-1].masked_fill(~there, torch.nan).nanmean(0)
    print(f"{name:15}" + "".join(f"{value:10.2f}" for value in means))

# %% [markdown]
# The network uses what the species differ in: pattern, wing cases, horn, antennae. These parts are painted bright, and
# wing cases, pattern and horn have many edges. So the drawing alone gives much of the ranking, and *agreement with the
# key* is cheap. Only what lies above the **strongest** null was learnt from the network. **Skill** puts that on a
# scale: 0 is the best null, 1 the key.
#
# $$\text{skill} \;=\; \frac{\text{score} - \text{score of the best null}}{\text{score of the key itself} - \text{score of the best null}}$$
#
# ### A choice that we made without saying so
#
# We added up relevance *with its sign*, because the key has a sign. But the gradient's sign says "brighter" or
# "darker", not "for" or "against" (lesson 04). A map under a mask has three **readouts**: the signed sum, the sum of
# the positive values, and the sum of the sizes, which we compare with the sizes of the effects. `load_sums` has all
# three for every method, on 100 of the beetles.

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
    signed, size = first.sums[entry][:, :7].unbind(-1)
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
# The readout alone moves guided backpropagation from below both edge maps to above both. Each method *declares* the
# readout that **suits** it (`METHODS[name].readout`): the size for the gradient, SmoothGrad, DeconvNet and guided
# backpropagation, whose sign does not mean for or against; the signed sum for the others. So "three of six methods are
# behind an edge detector" is true of one reading only. What do all readings say?
#
# ## 4. All readings at once
#
# A **specification curve** answers that (Steegen and others 2016; Simonsohn and others 2020): list every choice that a
# reasonable analyst could make, make *all* of them, and look at all results. Ours:
#
# | choice | values |
# |---|---|
# | readout | signed sum; positive part; size |
# | change | the part is *removed*; it is *exchanged* for another trait or colour |
# | key | the logit; its lead over the runner-up (*margin*); Shapley values |
# | wing cases | their mask alone; together with the pattern that is painted on them |
# | regions | the parts alone; in the world of clutter also with the clutter |
# | score | rank correlation; is the top part right; Pearson's correlation |
# | resolution | 64 × 64 pixels; tiles of 8 × 8 pixels (apart from the others, below) |
# | family of networks | BeetleNet; BeetleNet trained with parts missing at random (*parts absent*); a plain VGG (*SmallVGG*); a narrow ResNet-18; a BeetleNet of the world with clutter |
#
# Each family has three seeds or more, and counts the same. A method must beat the **hardest of four kinds of nulls**:
# maps that know no network; *the same method* on the untrained network; its map for another class; its map of another
# image. The interval is over scenes. (Pearson's correlation uses the numbers and not their ranks, so parts with hardly
# any effect count little.)
#
# Two families answer objections. A network that never saw a beetle without a horn may react to the *hole*: for the
# family *parts absent* a missing part is nothing new. And in the world of **clutter**, bright things with sharp edges
# lie around that mean nothing.

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
# First the curve of one method. Each point is one reading: its lead over the hardest null.


# %%
def curve_of(method):
    """The specification curve of one method."""
    rows = [row for row in table_of_all if row["method"] == method]
    choices = ("readout", "change", "key", "wing cases", "regions", "score", "family")
    above = next(row["above"] for row in share if row["method"] == method)
    plots.figure(
        plots.specification_curve(
            [(row["difference"], row["low"], row["high"]) for row in rows],
            {choice: [row[choice] for row in rows] for choice in choices},
            title=f"{method}: all readings, from the worst to the best",
            label="lead over the hardest null",
        ),
        alt=f"Specification curve of {method}: sorted leads with intervals, and below them the choices of each reading.",
        caption="Above: orange is clearly above every null, grey open, blue clearly below one. Below: the darker, the more of the neighbouring readings were made so.",
    )
    print(f"{method}: clearly above every null in {above:.0%} of {len(rows)} readings")


curve_of("LRP")

# %% [markdown]
# Now all methods. The bar is the share of readings in which a method is clearly above every null. The line goes from
# the family of networks with the lowest share to the one with the highest. (Lesson 15 has LIME, Shapley values, RISE,
# Score-CAM and others.)

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
    alt="Bars of shares for the methods. Those that compare with a baseline and LRP are at the top; several are near 0.",
)
print(f"{'method':22}readings  above   open  below   declared readout: above, below")
for row in share:
    print(
        f"{row['method']:22}{row['readings']:8}{row['above']:7.0%}{row['open']:7.0%}{row['below']:7.0%}"
        f"{row['declared above']:17.0%}{row['declared below']:7.0%}"
    )

# %% [markdown]
# Which choice decides? Each column is one value of a choice. The values of a choice are compared on the readings that
# have all of them, so the family *clutter* stands here without the regions of clutter.

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
    alt="Table of eight methods by the values of all choices, with the share of readings above every null.",
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
hardest = {}
for row in table_of_all:
    hardest[row["null"]] = hardest.get(row["null"], 0) + 1 / len(table_of_all)
ranked = sorted(hardest.items(), key=lambda item: -item[1])
print("the hardest null:", ", ".join(f"{name} {part:.0%}" for name, part in ranked[:4]))

# %% [markdown]
# Is there a harder null? The method's own map of *another beetle of the same species* knows the species, and nothing of
# this beetle. The **field guide** knows the species and no network: it gives each part the number of species whose
# trait differs there (`field_guide_numbers`), head and legs nothing. And does the seed decide as much as the family?

# %%
four = order[:4]
harder = (*NULL_LAYERS, SAME_SPECIES)
strict = {r["method"]: r for r in robust_share(specifications(sums, methods=four, layers=harder))}
looked_up = specifications(sums, layers=(*NULL_LAYERS, FIELD_GUIDE))
guided = {r["method"]: r for r in robust_share(looked_up)}
worst = choice_shares(table_of_all, -1)
print("clearly above every null; with the same species;")
print("the lowest to the highest of five BeetleNets; below one on the ResNet-18:")
for name in four:
    seeds = [
        [
            row["verdict"] == 1
            for row in table_of_all
            if row["method"] == name and row["network"] == net
        ]
        for net in dict.fromkeys(r["network"] for r in table_of_all if r["family"] == "BeetleNet")
    ]
    of_seeds = sorted(sum(each) / len(each) for each in seeds)
    print(
        f"    {name:12}{next(r['above'] for r in share if r['method'] == name):5.0%}"
        f"{strict[name]['above']:6.0%}{of_seeds[0]:6.0%} to {of_seeds[-1]:.0%}"
        f"{worst[name]['family', 'ResNet-18']:6.0%}"
    )
print(f"with the same species, the highest {max(r['above'] for r in strict.values()):.0%}")
pairs = [f"{n} {guided[n]['above']:.0%} {guided[n]['below']:.0%}" for n in four]
print("with the field guide, above and below:", ", ".join(pairs[:2]))
print(" " * 38, ", ".join(pairs[2:]))

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
# The first four keep their shares, within 6 points. For others the resolution decides. Occlusion rises from 9 % to 35 %,
# Integrated Gradients from black from 29 % to 51 %; guided backpropagation falls from 32 % to 18 %. So say at which resolution a map
# was read.

# %% [markdown]
# **What survives.** Four methods are clearly above every null in more than half of all readings: LRP, DeepLIFT, and
# Integrated Gradients from a blur or the mean colour. None is above in all. Against its own map of another beetle of
# the species, each is clearly above in one reading of ten at most. Against the field guide they are more often below
# than above. So what these maps know of the parts, they know of the *species*. (The network's own key is much alike
# within a species: lesson 04. And the intervals are about other beetles of these ten species, not about other species.)
#
# Most other methods are more often below a null than above. (CAM has a row for the plain VGG alone, whose flattened
# head makes it another map than Grad-CAM. The last block has none there: no skips.)
#
# **What decides.** First the network. On the plain VGG the four are above in about four of five readings, on the
# ResNet-18 in a third to two fifths. Where networks were trained with parts missing it is between a fifth (Integrated
# Gradients from the mean colour) and a half (LRP). So the first objection has weight: where a missing part is nothing
# new, the maps win less often. Clutter changes little. The seed decides nearly as much as the family: see the five
# BeetleNets. So the same method is a good guide to one network and a poor one to another.
#
# Then come the score and the key: more readings are won with Pearson's correlation and Shapley values, fewer with the
# top part and the margin. For guided backpropagation it is the readout. (What is drawn in a part's place is not
# varied.)
#
# So "this map agrees with the network" is neither true nor false, until the reading and the null are named.

# %% [markdown] tags=["further"]
# ## 5. The big table
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
# by scene), and white where it is open. CAM is left out: with a pooled head it is Grad-CAM up to a factor (lesson 06).

# %%
WITH_KEY = ["rank", "rank, margin", "rank, Shapley", "top part", "sign", "magnitude"]
LOWER = {m for m in MEASURES if m.startswith(("deletion", "infidelity", "sensitivity"))}
LOWER |= {"randomisation"}  # lower is better
IN_LOGITS = {"gradient × input", "FullGrad", "CAM, contrast", "last block", "LRP"}
IN_LOGITS |= {"DeepLIFT", "IG, black", "IG, mean", "IG, blur", "expected gradients"}


def applies(method, measure):
    """Is there such a score? Some measures need a function, magnitude needs logits."""
    if measure == "magnitude":
        return method in IN_LOGITS or method == "the key itself"
    return not grades[method][measure].isnan().any()


def turned(measure, scores):
    """Scores, turned so that higher is better."""
    return -scores if measure in LOWER else scores


# %%
def best_null(measure):
    """The null map with the best mean, and its scores."""
    if measure == "magnitude":
        return "null: empty", torch.zeros(len(tests))  # what a map of zeros scores
    found = {name: grades[name][measure] for name in nulls if applies(name, measure)}
    best = max(found, key=lambda name: turned(measure, found[name]).mean())
    return best, found[best]


def better(method, measure):
    """1 if better than the best null map, -1 if worse, 0 if open."""
    null = best_null(measure)[1]
    lead = turned(measure, grades[method][measure]) - turned(measure, null)
    _, low, high = mean_interval(lead)
    return 1 if low > 0 else -1 if high < 0 else 0


# %%
def table(measures, title, named, fmt="{:.2f}"):
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
    picture = plots.matrix(value, rows, measures, tint=tint, label=how, title=title, fmt=fmt)
    ahead = [f"{m} {int((column == 1).sum())}" for m, column in zip(measures, tint.T, strict=True)]
    counts = {
        name: int((tint == k).sum()) for k, name in ((1, "orange"), (0, "white"), (-1, "blue"))
    }
    alt = ", ".join(f"{number} {colour}" for colour, number in counts.items())
    plots.figure(
        picture,
        alt=f"Table of {len(order)} methods by {len(measures)} measures {named} the key. Of its cells {alt}. "
        f"Methods ahead of the best null, by measure: {'; '.join(ahead)}.",
    )
    by_null = {}
    for measure in measures:
        by_null.setdefault(best_null(measure)[0].removeprefix("null: "), []).append(measure)
    lines = ["the best null map | of these measures", "---|---"]
    lines += [f"{null} | {'; '.join(listed)}" for null, listed in by_null.items()]
    display(Markdown("\n".join(lines)))


table(WITH_KEY, "With the key: who beats the best null\ndepends on the question", "with")

# %% [markdown]
# Read it by columns:
#
# - **Rank**: no method is ahead. The best are level with bright edges. By **Shapley** values two are ahead.
# - **Top part**: eight are ahead; yet the best of them names the right part in about half of the scenes.
# - **Sign**: nearly every effect here is positive. So a map that is positive everywhere is nearly always right, and no
#   method is ahead of it.
# - **Magnitude**: all are better than an empty map, none is near 1.
#
# By chance alone about five of a hundred cells would be coloured.
#
# On photographs there is no key. People use these measures instead:
#
# | measure | asks | good is |
# |---|---|---|
# | **pointing**, **mass** | is the pixel with the most relevance (*pointing*), is the positive relevance (*mass*) on the object? | high |
# | **deletion** | replace the most relevant pixels first, by the mean colour, a blur or noise: how fast does the probability fall? | low |
# | **insertion** | put them back first: how fast does it rise? | high |
# | **infidelity** | does a slope, such as the gradient, predict what small noise does? | low |
# | **infidelity, squares** | does relevance predict what is lost when a square is painted over? Slopes are multiplied by the change first | low |
# | **sensitivity** | how much does the map change under noise that nobody sees? (*sums*: the same, with slopes turned into sums) | low |
# | **randomisation** | how alike, or how reversed, is the map of a network with random weights? | low |

# %%
WITHOUT = [measure for measure in MEASURES if measure not in WITH_KEY]
for row in grades.values():  # a reversed map, too, was left in place
    row["randomisation"] = row["randomisation"].abs()
table(WITHOUT, "Without the key: in most cells the best null is ahead", "without", fmt="{:.3f}")

# %% [markdown]
# Three things to see:
#
# - **Sensitivity** and **randomisation** are blue nearly everywhere. Their best null has the same value everywhere, for
#   every picture and network: nothing can change it.
# - **Deletion** with the mean or a blur is orange for the four best methods of section 4 and for expected gradients.
#   **Infidelity with squares** is orange for three of the four, and for guided backpropagation, occlusion and expected
#   gradients.
# - **The key itself**, in the bottom row, is the best explanation of parts, and does not get the best scores. Section 6
#   counts the methods that pass it.
#
# (A map that is already multiplied by the input is no slope, so it has no infidelity under noise.)
#
# The same as text, with half of the 95 % interval. The last three columns are the cost: passes through the network for
# one image, forward and backward (counted now); seconds and memory for 32 images, as `make bench` measured them (with
# 16 steps, samples or windows; machine: see the README).

# %%
import json
from functools import partial


def passes(method):
    """How many times an explainer runs the network forward and backward for one image."""
    seen = {"forward": 0, "backward": 0}

    def count(_module, _inputs, output):
        seen["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda grad: seen.update(backward=seen["backward"] + len(grad)))

    methods[method](network, beetle)  # the first call may check the network, once
    with network.register_forward_hook(count):
        methods[method](network, beetle)
    return f"{seen['forward']} + {seen['backward']}"


results = data_folder().parent / "benchmarks" / "results.json"
timed = json.loads(results.read_text("utf-8"))["methods"] if results.exists() else []
bench = {row["method"]: row for row in timed if row["network"].startswith("BeetleNet")}


# %%
def plus_minus(values, digits=2):
    """A mean and half of its 95 % interval, as text."""
    return interval_text(mean_interval(values), digits, plus_minus=True)


def cost(name):
    """Passes, seconds and MB of a method, as text."""
    function = methods[name].func if isinstance(methods[name], partial) else methods[name]
    row = bench.get("lrp, gamma" if name == "LRP" else function.__name__)
    return [
        passes(name),
        f"{row['seconds']:.2f}" if row else "",
        f"{row['peak_mb']:.0f}" if row else "",
    ]


# %%
def as_text(measures, costs=()):
    """The table in Markdown."""
    columns = [*measures, *costs]
    lines = ["method | " + " | ".join(columns), "---|" * len(columns) + "---"]
    for name in [*order, *nulls, "the key itself"]:
        cells = [
            plus_minus(grades[name][m], 3 if "infidelity" in m else 2) if applies(name, m) else ""
            for m in measures
        ]
        if costs:
            cells += cost(name) if name in real else [""] * len(costs)
        lines.append(f"{name} | " + " | ".join(cells))
    display(Markdown("\n".join(lines)))


as_text(WITH_KEY)
as_text([m for m in WITHOUT if m.startswith(("pointing", "mass", "infidelity"))])
as_text([m for m in WITHOUT if m.startswith(("deletion", "insertion"))])
as_text(
    [m for m in WITHOUT if m.startswith(("sensitivity", "randomisation"))], ["passes", "s", "MB"]
)

# %% [markdown] tags=["further"]
# ## 6. Do the measures without a key predict those with one?
#
# A reader of a deletion curve hopes that the method with the better curve is right. Here we can test that. For each
# beetle: does a measure without the key put the methods in the same order as agreement with the key? 1 means always, 0
# no more than a random order. Since the readout decides so much, we ask twice: with signed sums, and with the readout
# that suits each method.


# %%
def spelt(triple, form="{:.2f} ({:.2f} to {:.2f})"):
    """A mean and its interval as text."""
    return form.format(*triple)


def values(measure, which=real):
    """Scores (scenes, methods), turned so that higher is better."""
    return turned(measure, torch.stack([grades[name][measure] for name in which], 1))


from xai_course.experiments import declared_readout

for_all = [m for m in WITHOUT if all(applies(name, m) for name in real)]  # infidelity: slopes only
each = {m: mean_interval(spearman_with_truth(values(m), values("rank"))) for m in for_all}
tenth = [n for n in range(len(tests)) if n % 20 < 10]  # the beetles of `sums`
suited = torch.stack([read(("own", name), declared_readout(name)) for name in real], 1)
other = {m: mean_interval(spearman_with_truth(values(m)[tenth], suited)) for m in for_all}
third = {m: mean_interval(spearman_with_truth(values(m), values("top part"))) for m in for_all}
trusted = sorted(for_all, key=lambda measure: -each[measure][0])

# Nulls: one order of the methods for all beetles, from the other nine species; and how much a
# map ranks the parts as bright edges do.
right_order = values("rank")
by_species = right_order.view(10, -1, len(real)).mean(1)
fixed_order = [(by_species.sum(0) - by_species[k]).expand(len(tests) // 10, -1) for k in range(10)]
fixed = spearman_with_truth(torch.cat(fixed_order), right_order)
edges_say = first.sums["null", "bright edges"][:, :7, 0]
own_sums = torch.stack([first.sums["own", name][:, :7, 0] for name in real])
like_edges = reading_scores(own_sums, edges_say, first.shown, "rank").T
like = spearman_with_truth(like_edges, right_order[tenth])
squares = spearman_with_truth(values(trusted[0]), right_order)
signs = "{:+.2f} ({:+.2f} to {:+.2f})"
print(f"{trusted[0]:25} {spelt(mean_interval(squares))}")
print(f"one fixed order           {spelt(mean_interval(fixed))}")
print(f"    squares minus it     {spelt(mean_interval(squares - fixed), signs)}")
print(f"likeness to bright edges  {spelt(mean_interval(like))}")
print(f"    squares minus it     {spelt(mean_interval(squares[tenth] - like), signs)}")

# %%
plots.figure(
    plots.bars(
        {measure: each[measure] for measure in trusted},
        references={measure: other[measure][0] for measure in trusted},
        reference_label="the same, each method with the readout that suits it",
        title="Three measures say most about who is right, and none says much",
        label="agreement with the ranking by the key, beetle by beetle (95 % interval)",
    ),
    alt="Bars for twelve measures without a key. Infidelity with squares has 0.53, insertion with a blur 0.50, mass 0.49; "
    "then deletion and insertion from 0.37 to 0.12, pointing 0.32, randomisation 0.17; both sensitivities are at 0.",
)

# %%
lines = ["measure | signed sums | suited readouts | top part, signed sums", "---|---|---|---"]
for m in trusted:
    lines.append(
        " | ".join([m, *(spelt(triple, signs) for triple in (each[m], other[m], third[m]))])
    )
display(Markdown("\n".join(lines)))

# %% [markdown]
# Two more questions. Do the methods come in the right order *in the mean* over all beetles? And the key itself is an
# explanation, and no other is better: which methods does a measure put above it?

# %%
generator = torch.Generator().manual_seed(0)
drawn = torch.randint(len(tests), (500, len(tests)), generator=generator)  # 500 bootstrap samples
truth = values("rank")[drawn].mean(1)  # (500, methods)
lines = ["measure | order of the means as by the key | put above the key itself", "---|---|---"]
for measure in trusted:
    alike = spearman_with_truth(values(measure)[drawn].mean(1), truth).sort().values
    agrees = f"{alike.mean():.2f} ({alike[12]:.2f} to {alike[-13]:.2f})"  # the middle 95 %
    of_key = turned(measure, grades["the key itself"][measure])
    low = (values(measure) - of_key[:, None])[drawn].mean(1).quantile(0.025, 0)  # (methods,)
    above = [name for name, lead in zip(real, low, strict=True) if lead > 0]
    words = f"{len(above)}: {'; '.join(above)}" if above else "none"
    lines.append(f"{measure} | {agrees} | {words if applies('the key itself', measure) else ''}")
display(Markdown("\n".join(lines)))

# %% [markdown]
# For a single beetle no measure gets further than about one half. One fixed order of the methods for all beetles does
# as well, and likeness to bright edges does better. With signed sums three measures are level at the top. With the
# readouts that suit, infidelity with squares and mass stay there; deletion and insertion lose much. About the *top
# part* no measure says much. The filling decides, too: insertion with noise says little. Sensitivity does not tell who
# is right. In the mean over 200 beetles most measures come nearer to the truth.
#
# Several measures put a method *above* the key, deletion with a blur five. The key is painted evenly, and a map that
# also finds the most sensitive pixels *within* a part breaks the answer faster. That is what a deletion curve measures:
# how fast an answer breaks, not what made it.

# %% [markdown]
# ## 7. Where it breaks: cheat the measures on purpose
#
# A measure that can be cheated will be, by accident if not by intent. So we build the worst explainers that we can:
#
# - **stands out**: how far a pixel's colour is from the colour of the picture's border. It knows no network.
# - **breaks fast**: take away the pixels that hurt most, look again, take away more. It finds how the network breaks
#   fastest, not what made the answer.
# - **constant**: always the same map.
# - **fingerprint**: noise whose seed is computed from the network's weights.

# %%
from xai_course.core import baseline_images
from xai_course.metrics import noise_map
from xai_course.relu import gradient


def stands_out(model, images, targets=None):
    """Distance of each pixel's colour from the median colour of the picture's border."""
    border = torch.cat([images[:, :, [0, -1]].flatten(2), images[..., [0, -1]].flatten(2)], 2)
    colour = border.median(2).values[..., None, None]
    return (images - colour).abs().sum(1, keepdim=True)


def fingerprint(model, images, targets=None):
    """Noise that depends on the weights and on nothing that the network does."""
    seed = sum(int(weight.double().sum().abs() * 1e6) for weight in model.parameters())
    return noise_map(model, images, seed=seed)


# %%
def breaks_fast(model, images, targets=None, rounds=8):
    """In each round delete the 1/16 of the pixels whose change seems to hurt most; early is high."""
    fill, now = baseline_images(images, "mean"), images.clone()
    place = torch.zeros_like(images[:, :1]).flatten(1)  # (N, pixels); 0: still there
    for turn in range(rounds):
        hurt = ((now - fill) * gradient(model, now, targets)).sum(1).flatten(1)
        worst = hurt.masked_fill(place > 0, -torch.inf).topk(place.shape[1] // 16, 1).indices
        place.scatter_(1, worst, rounds - turn)
        gone = (place > 0).view_as(images[:, :1])
        now = torch.where(gone, fill, images)
    return place.view_as(images[:, :1])


# %%
cheats = {
    "stands out": stands_out,
    "breaks fast": breaks_fast,
    "constant": constant_map,
    "fingerprint": fingerprint,
}

# %%
plots.figure(
    plots.overlay(
        [one[0].image(64)] * 4,
        [cheat(network, beetle, says[at : at + 1])[0] for cheat in cheats.values()],
        list(cheats),
        shared_scale=False,
        title="Four maps that are made to please a measure",
    ),
    alt="Four maps over one beetle: the bright parts of the beetle, scattered dots, one even tone, noise. None asks what made "
    "the answer.",
)

# %%
duels = [("pointing", "stands out"), ("insertion, mean", "stands out"), ("sensitivity", "constant")]
duels += [("deletion, mean", "breaks fast"), ("randomisation", "fingerprint")]
fewer = slice(None, None, 5)  # every fifth scene


def champion(measure):
    """The best method by a measure, on these scenes."""
    return max(real, key=lambda name: turned(measure, grades[name][measure][fewer]).mean())


lines = ["measure | cheat | its score | best method | the cheat's agreement with the key"]
lines.append("---|---|---|---|---")
for measure, cheat in duels:
    both = {name: MEASURES[name] for name in ("rank", measure)}
    got = grade(network, {cheat: cheats[cheat]}, tests[fewer], measures=both, progress=False)[cheat]
    good, best = "low" if measure in LOWER else "high", champion(measure)
    lines.append(
        f"{measure} ({good} is good) | {cheat} | {plus_minus(got[measure].abs())} | "
        f"{plus_minus(grades[best][measure][fewer])} ({best}) | {plus_minus(got['rank'])}"
    )
lines.append(f"*for comparison* | edges | | | {plus_minus(grades['null: edges']['rank'][fewer])}")
display(Markdown("\n".join(lines)))

# %% [markdown]
# Top scores, or nearly, go to maps that use no network (*stands out*, *constant*), its weights alone (*fingerprint*),
# or its weakest points (*breaks fast*). None agrees with the key better than the edge detector does. *Mass* needs no
# new cheat: the silhouette is ahead of all methods in section 5.
#
# Infidelity under noise needs no cheat either. It asks for the *slope*, and the gradient is the slope. As the noise
# gets smaller, the gradient wins by definition, whatever the network uses.

# %%
from xai_course.core import relevance_maps
from xai_course.metrics import infidelity

probe, asked = images[::20], says[::20]
slopes = ("gradient", "SmoothGrad", "guided backpropagation")
print("infidelity as a share of that of an empty map")
print(f"{'noise':6}" + "".join(f"{name:>24}" for name in slopes))
for noise in (0.01, 0.1, 0.3):
    empty_map = infidelity(network, 0 * probe, probe, asked, noise=noise, samples=16).mean()
    shares = []
    for name in slopes:
        map_ = relevance_maps(network, methods[name], probe, asked)
        missed = infidelity(network, map_, probe, asked, noise=noise, samples=16, scaled=True)
        shares.append(missed.mean() / empty_map)
    print(f"{noise:<6}" + "".join(f"{part:24.2f}" for part in shares))

# %% [markdown]
# So a good score without a key does not show that a map is right. A bad score raises a doubt, and no more. There is one
# exception: a map that stays the same when the network forgets everything is not about what the network learnt. The key
# has gaps, too. It does not tell pixels within a part, and it answers *one* question: what the part's **absence** does.
# An *exchange* of the part gives another key (lesson 01).
#
# ## 8. The shortcut: who finds the label?
#
# This test matters in practice. One network was trained on a world in which *Globaria cincta* wears a museum label, and
# it learnt the label. Would an explanation have told you? We show 100 labelled *cincta* to that network and to the
# clean one, which never saw a label. First the truth:

# %%
shortcut, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net_shortcut")
worn = [scene.with_label() for scene in scenes("test", "Globaria_cincta", 100)]
print(f"{'worth, logits':15}" + "".join(f"{part:>10}" for part in PARTS))
for name, model in {"clean": network, "shortcut": shortcut}.items():
    worth = ground_truth_effects(model, worn[:40], names.index("Globaria_cincta")).mean(0)
    print(f"{name:15}" + "".join(f"{value:10.2f}" for value in worth))

# %% [markdown]
# Now the maps. A map gives an **alarm** if its share of positive relevance on the label is higher than in 95 % of the
# clean network's maps. So each method has 5 % false alarms. (A null map gets no more than these: it is the same for
# both networks.) How many of the 100 does each method find?

# %%
from xai_course.core import detected_at_fpr
from xai_course.metrics import relevance_mass


def on_label(material, explainer, maps):
    """The share of positive relevance on the museum label, one number a scene."""
    label = material.masks[:, PARTS.index("label"), None]
    return relevance_mass(material.model, maps, material.images, label)


mass = {}
for name, model in {"clean": network, "shortcut": shortcut}.items():
    file = folder / f"label_{name}.csv"
    both = grade(
        model, course_methods(), worn, measures={"label": on_label}, file=file, progress=False
    )
    mass[name] = {method: row["label"] for method, row in both.items()}
caught = {n: detected_at_fpr(mass["shortcut"][n], mass["clean"][n]).mean().item() for n in real}

# %%
shares = {name: mean_interval(values) for name, values in mass["shortcut"].items()}
listed = sorted(real, key=lambda name: -shares[name][0])
finders = sum(rate == 1 for rate in caught.values())

# %%
plots.figure(
    plots.bars(
        {name: shares[name] for name in listed},
        references={name: mass["clean"][name].quantile(0.95).item() for name in listed},
        reference_label="alarm level: 95 % of the clean network's maps are below",
        title="Every method finds such a strong shortcut",
        label="share of positive relevance on the label (100 labelled beetles, 95 % interval)",
    ),
    alt="Bars for 16 methods, from LRP with 0.70 of its positive relevance on the label to DeconvNet with 0.06. Each bar "
    "ends to the right of its grey alarm level.",
)
print(f"an alarm for all 100 beetles: {finders} of {len(real)} methods")

# %% [markdown]
# Every method finds it in all 100 (so in at least 97 % of such beetles, at 95 % confidence), even the poorest by the
# key. So a map that ranks parts badly can still show a large error. But this label is easy to find: it is worth more
# than all the rest, we knew where to look, and we had a clean network to compare with. And no alarm does not mean that
# all is well.

# %% [markdown] tags=["further"]
# ## 9. Two findings of others, tested here
#
# **Adebayo and others (2018): when the network is randomised, the gradient changes at once, guided backpropagation
# late.** We replace the weights by random ones, from the output down, and compare each map with the trained network's:
# once by values with their sign, once by size. (The lower layers keep their scale and shape, so the test favours some
# methods: Binder and others, 2023. And the task itself can make a map stay: Yona and Greenfeld, 2021.)

# %%
from xai_course.metrics import randomisation, randomisation_null
from xai_course.relu import guided_backprop

stages = ["head", "blocks.2", "blocks.1", "blocks.0", "stem"]
mixed = torch.randperm(len(tests), generator=torch.Generator().manual_seed(0))[:30]
sample, targets = images[mixed], says[mixed]
curves = {}
print(f"{'similarity after each step':28} head block block block  stem   null (another beetle)")
for name, method in {"gradient": gradient, "guided backprop.": guided_backprop}.items():
    for how, size in (("with sign", False), ("size", True)):
        ask = {"absolute": size}
        similar = randomisation(network, method, sample, targets, layers=stages, **ask)
        null = mean_interval(randomisation_null(network, method, sample, targets, **ask))
        curves[f"{name}, {how}"] = [
            (1.0, 1.0, 1.0),
            *(mean_interval(column) for column in similar.T),
        ]
        steps = " ".join(f"{step[0]:+.2f}" for step in curves[f"{name}, {how}"][1:])
        print(f"{name:17} {how:9} {steps}  {null[0]:+.2f}")

# %%
plots.figure(
    plots.lines(
        curves,
        range(6),
        title="The gradient's sign is lost at once, its size step by step",
        x_label="replaced by random weights: 1 the head, 2 to 4 the blocks from the top, 5 the stem",
        y_label="similarity to the true map",
    ),
    alt="Four lines over five steps of randomisation. With the head random, the gradient with sign falls from 1 to −0.13, "
    "by size to 0.65, and step by step to 0.16. Guided backpropagation is still at 0.91 there, both ways, and falls to 0.2.",
)

# %% [markdown]
# **It holds with the sign, and in part by size.** With the head random, the gradient's signed map is gone. That of
# guided backpropagation stays far above its null even with all blocks random. By size the gradient is at its null after
# the third step, and guided backpropagation is *below* its null from the fourth on. So it notices late.
#
# **Tomsett and others (2020): the measures themselves are unreliable.** *Between images*: each image is a rater who
# ranks the methods by a measure. Krippendorff's α says whether the raters agree: 1 they do, 0 it is chance. (Here from
# the ranks: 1 minus the variance within a method, divided by the variance of all. Krippendorff asks for 0.8, and calls
# 0.67 the least from which to conclude anything.) *Between variants*: the same measure with another filling should rank
# the methods alike.


# %%
def krippendorff(scores):
    """Agreement of the images (N, methods) on the order of the methods, from ranks."""
    below = (scores[:, :, None] > scores[:, None, :]).sum(2)
    level = (scores[:, :, None] == scores[:, None, :]).sum(2)
    ranks = below + level.double() / 2  # ties share their places
    return 1 - ranks.var(0).mean().item() / ranks.flatten().var().item()


alpha = {}
for measure in ["rank", *for_all]:
    again = sorted(krippendorff(values(measure)[some]) for some in drawn[:200])
    alpha[measure] = krippendorff(values(measure)), again[5], again[-6]
variants = [
    (kind, a, b, spearman_with_truth(values(f"{kind}, {a}"), values(f"{kind}, {b}")))
    for a, b in (("mean", "blur"), ("mean", "noise"), ("blur", "noise"))
    for kind in ("deletion", "insertion")
]

# %%
plots.figure(
    plots.bars(
        dict(sorted(alpha.items(), key=lambda item: -item[1][0])),
        title="Most measures rank the methods differently from image to image",
        label="Krippendorff's α: 1 all images rank the methods alike, 0 chance (95 % interval)",
    ),
    alt="Bars of Krippendorff's alpha for thirteen measures. Two kinds of sensitivity and mass are at 0.9 or more, randomisation is at 0.65, all "
    "others below 0.6.",
)
for kind, a, b, alike in variants:
    print(f"{kind:9} {a:4} against {b:5}: {spelt(mean_interval(alike))}")

# %% [markdown]
# **It holds here.** Ten of the thirteen measures stay below 0.67, agreement with the key among them: from beetle to
# beetle another method is the best. Another filling can give another ranking. And a reliable measure is not always a
# right one: *sensitivity* has one of the highest α.

# %% [markdown]
# ## 10. The article's table, rewritten
#
# Nine cells. For each: what lessons 04 to 09 measured (the numbers are read from what those notebooks printed), and
# what it lets one rely on.

# %%
import re
from pathlib import Path


def printed(lesson, pattern, say):
    """What a lesson printed: the first place that fits the pattern, its groups put into `say`."""
    notebook = json.loads(next(Path().glob(f"{lesson}_*.ipynb")).read_text("utf-8"))
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    texts = [o.get("text") or o.get("data", {}).get("text/markdown", "") for o in outputs]
    text = "\n".join("".join(words) for words in texts).replace("|", " ")  # tables, too
    fits = re.search(pattern, text, re.MULTILINE)
    return say.format(*fits.groups()) if fits else f"(run lesson {lesson} and save it)"


TRIPLE = r"\s*\+?(-?[\d.]+%?)(?: right)?\s+\((?:95 %:\s*)?\+?(-?[\d.]+%?) to \+?(-?[\d.]+%?)"
NUMBERS = "{} ({} to {})"
ENDS = r"([\d.]+) \([^)]*\) +([\d.]+)"  # two means, without their intervals
SHUFFLED = r", places of its last map shuffled"
CELL = r"\s+[+-]?[\d.]+ \([^)]*\)"  # of a table, skipped
NOISE = r"^usual training, 5% noise, pixels"
MOMENT = r"^right about the network of the moment, signed: .*\n"
LATER = r"(?:    .*\n)*    {} +"  # a line of the block under a heading


def here(method):
    """A method's agreement with the key, from this lesson."""
    return spelt(score(method))


# %%
facts = {
    "local": printed("04", r"of 128 channels: trained (\d+), untrained (\d+)", "{}, untrained {}"),
    "overlap": printed("04", "best IoU, five trained" + TRIPLE, NUMBERS),
    "overlap_null": printed("04", "best IoU, colours and edges ([\\d.]+)", "{}"),
    "lines": printed("04", r"^guided backprop\. +(\d+) +(\d+) +1 +1", "{} lines alone, {} in all"),
    "answers": printed("04", NOISE + TRIPLE, NUMBERS),
    "gradient": printed("04", NOISE + CELL + TRIPLE, NUMBERS),
    "grad_cam": printed("04", NOISE + 3 * CELL + TRIPLE, NUMBERS),
    "grad_cam_null": printed(
        "04", r"^null: another beetle, pixels" + 2 * CELL + r"\s+([\d.]+)", "{}"
    ),
    "edges_null": printed("04", r"null: edges, 5% noise ([\d.]+)", "{}"),
    "pooled": printed("06", "^BeetleNet" + SHUFFLED + TRIPLE, NUMBERS),
    "flattened": printed("06", "^ArticleNet" + SHUFFLED + TRIPLE, NUMBERS),
    "twins": printed("06", "^lead over (?:the )?strongest null" + TRIPLE, NUMBERS),
    "twins_top": printed("06", "^lead over (?:the )?strongest null" + CELL + TRIPLE, NUMBERS),
    "behind": printed("06", r"on twins: clearly above in (\d+), below in (\d+) of 18", "{} and {}"),
    "passes": passes("CAM"),
    "cost": printed("06", r"class_activation_map\s+([\d.]+) × a bare run", "{}"),
    "cost_occlusion": printed("06", r"occlusion\s+([\d.]+) × a bare run", "{}"),
    "black": printed("07", "^    black +" + ENDS, "{} and {}"),
    "others": printed("07", "^    ten other beetles +" + ENDS, "{} and {}"),
    "signed_null": printed("07", "^signed, rank: the strongest null is (.*)", "{}"),
    "size_null": printed("07", "^size, rank: the strongest null is (.*)", "{}"),
    "texture_cam": printed("07", r"class activation map \(2\) .*\n +(\d+ of 60)", "{}"),
    "texture_null": printed(
        "07", r"class activation map \(2\) .*\n +\d+ of 60; .*map (\d+)", "{} of 60"
    ),
    "texture_block": printed("07", r"map of the last block \(3\) .*\n +(\d+ of 60)", "{}"),
    "texture_deeplift": printed("07", r"DeepLIFT \(3\) .*\n +(\d+ of 60)", "{}"),
    "young_deeplift": printed("07", MOMENT + r"    DeepLIFT \(3\) +" + ENDS, "{} and {}"),
    "young_null": printed(
        "07",
        MOMENT + LATER.format("strongest null") + r"(-?[\d.]+) \([^)]*\) +([\d.]+)",
        "{} and {}",
    ),
    "young_block": printed("07", MOMENT + LATER.format(r"last block \(3\)") + ENDS, "{} and {}"),
    "lesions": printed(
        "07",
        r"^    with skips, as it was +([\d.]+)(?:.*\n)+?    plain, as it was +([\d.]+)",
        "share right without one of nine blocks: with skips {}, plain {}; chance 0.10",
    ),
}

# %%
TABLE = """the article's cell | verdict | measured (lesson) | so one may rely on
---|---|---|---
ReLU: local features | **confirmed**, but it takes no training | channels of 128 that find a part better than exchanged masks: {local}; best overlap {overlap}, a channel of colours and edges {overlap_null} (03) | that an active channel has found something there; not that this is a *part*
ReLU: simple, cheap | **confirmed** in part: cheap, yes; simple depends | guided backpropagation: {lines}; one pass there and back (03) | the low cost; what is quick to make is not yet easy to read
ReLU: insensitive to noise | **depends** on method, training and reading | with 5 % noise the answer stays in a share of {answers}; how far a map correlates with its own without noise: gradient {gradient}, edges {edges_null}; Grad-CAM {grad_cam}, another beetle {grad_cam_null} (03) | Grad-CAM under slight noise, not the gradient's map
fully connected: global features | **depends** on the head | share right with the places of the last map shuffled: BeetleNet, pooled head, {pooled}; the article's network, flattened head, {flattened}; guessing 10 % (04) | nothing before you know the head: a pooled one does not ask *where*
fully connected: better on complex tasks | **refuted** for CAM, in this world | on twins, lead over the strongest null: by rank {twins}, by top part {twins_top}; of 18 readings, ahead of and behind gradient × input: {behind} (04) | a test on your own network, not a technique's name
fully connected: costly, complex | **refuted** for reading the layer | CAM: {passes} passes (06), {cost} times the arithmetic of a bare run; occlusion {cost_occlusion} times (04) | CAM where cost counts
residual: change against expectation | **depends** on the expectation, and on the reading | agreement of Integrated Gradients with the key, by sign and by size: from black {black}, from ten other beetles {others}; strongest null {signed_null}; {size_null} (05) | an explanation only if it says *compared with what*
residual: suits textures | **refuted** as its own strength | texture told from shape: CAM, which is not of this technique, on {texture_cam} beetles; the last block's map {texture_block}, DeepLIFT {texture_deeplift}; null, the map of another beetle {texture_null} (05) | no technique by itself; exchange the texture and see
residual: poor under changes during training | **depends** on the sense of *residual*, and on the reading | agreement with the key by sign, of the untrained and of the trained network: DeepLIFT {young_deeplift}; the last block's map {young_block}; strongest null of the image {young_null} (05) | DeepLIFT by its sign early; by size it is no better than the null until the end (05)"""
display(Markdown(TABLE.format(**facts)))
counted = {word: TABLE.count(f"**{word}**") for word in ("confirmed", "refuted", "depends")}
print("of nine cells:", ", ".join(f"{number} {word}" for word, number in counted.items()))

# %% [markdown]
# ### Which method for which question
#
# The code finds the winners of the first two rows by their numbers.

# %%
from xai_course.plots import decision_chart


def winner(measure):
    """The best method by a measure; its score; and the best null's, in words."""
    name = max(
        [name for name in real if applies(name, measure)],
        key=lambda name: turned(measure, grades[name][measure]).mean(),
    )
    null, level = best_null(measure)
    against = f"{level.mean():.2f} ({null.removeprefix('null: ')})"
    return name, spelt(score(name, measure)), against


margin, top, units = winner("rank, margin"), winner("top part"), winner("magnitude")
part, proxy = share[0], trusted[0]

# %%
chart = [
    (
        "Which parts made this answer?",
        f"{share[0]['method']} or {share[1]['method']}, compared with nulls",
        f"clearly above every null in {part['above']:.0%} of all readings; with the field guide in "
        f"{guided[part['method']]['above']:.0%}",
    ),
    (
        "Why this one and not the runner-up?",
        margin[0],
        f"agreement with the key of the margin {margin[1]}; best null {margin[2]}",
    ),
    (
        "Which one part matters most?",
        "no map: take parts away",
        f"the best map ({top[0]}) names it in {top[1]} of the scenes; best null {top[2]}",
    ),
    (
        "How many logits is it worth?",
        "no map: take parts away",
        f"the best score for magnitude is {units[1]} ({units[0]}); 1 would be right, 0 is an empty map",
    ),
    (
        "Does it use something that it should not?",
        "any map, and a clean network to compare with",
        f"{finders} of {len(real)} methods find all labels, at 5 % false alarms",
    ),
    (
        "Which block was needed?",
        "no map: lesions",
        facts["lesions"],
    ),
    (
        "No key: is this map a good one?",
        "no measure alone",
        f"one of the three best of {len(for_all)}, {proxy}, orders the methods as the key does by {spelt(each[proxy])}; "
        "a random order has 0",
    ),
]

# %%
plots.figure(
    decision_chart(chart, title="Which method for which question"),
    alt="Seven questions, each with its answer. "
    + " ".join(f"{question} {answer} ({why})." for question, answer, why in chart),
    caption="Orange: a method answers. Grey: no map and no measure does. Measured on BeetleNet and its world: for your "
    "network the names may differ; the questions do not.",
)

# %% [markdown]
# In a drawn world it is easy to take a part away. On photographs, paint it over or exchange it, and look at the answer:
# that is still a measurement, and a map is an estimate.

# %% [markdown]
# ## Exercises
#
# **1. Skill** (5 minutes, easy). `score` is a method's mean score, `nulls` a list of the scores of null maps, `key` the score of
# the key itself; higher is better. Return the skill: 0 for the best null, 1 for the key.


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
#
# **2. A deletion curve** (15 minutes, medium). `f` takes an image (1, C, H, W) and returns a number; `relevance` is (H, W),
# `fill` (1, C, 1, 1). Replace the pixels by `fill`, the most relevant first, in `steps` equal shares, and return the
# `steps + 1` values of `f`: first of the whole image, last of the image that is all fill.


# %% tags=["exercise"]
def deletion_by_hand(f, image, relevance, fill, steps):
    """The deletion curve: steps + 1 numbers."""
    return ...


# %% tags=["solution"]
def deletion_by_hand(f, image, relevance, fill, steps):
    """The deletion curve: steps + 1 numbers."""
    place = relevance.flatten().argsort(descending=True).argsort()  # 0 for the most relevant
    curve = []
    for k in range(steps + 1):
        gone = (place < place.numel() * k // steps).view_as(relevance)
        curve.append(f(torch.where(gone, fill, image)))
    return curve


# %%
from xai_course.exercises.lesson_08 import check_deletion

check_deletion(deletion_by_hand)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `relevance.flatten().argsort(descending=True).argsort()` gives each pixel its place in the queue, 0 for the first. At step k the
# first `H·W·k // steps` are gone. `torch.where(gone, fill, image)` puts the fill where `gone` (H, W) is True.
# </details>
#
# **3. A better null** (10 minutes, hard). A null should know all that you know, except the network. You know the world: write a map
# `(N, 1, H, W)` from pictures `(N, 3, H, W)` in [0, 1] alone that agrees with the network's key *more* than the edge detector.
# The check takes new beetles, and tells you what LRP has on them. (Section 3 names one. Write it yourself, then try to do better.)


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
# Look at the table of the parts in section 3. Which parts does the network value more than the edge detector does? How are they
# painted, whatever the species, and how are the others? (Lesson 01 has the field guide.) `edge_map(network, pixels)` is the edge
# detector; it only checks that the network takes the pictures.
# </details>
#
# When it works, compare your number with LRP's. Then ask what an explanation has to show that your map does not: your map
# is the same for every class and for every network.

# %% [markdown]
# ## Verdict
#
# **What an explanation may be relied on for**, in these worlds and networks:
#
# - *To rank parts*: it depends on the reading, on the network and on the null. LRP, DeepLIFT and Integrated Gradients from a blur or the mean
#   colour are clearly above every null in 63, 62, 56 and 53 % of all readings, and clearly below one in at most 4 %. But the field guide, which
#   knows the species and no network, was not among these nulls. With it they are above in 18, 16, 17 and 12 %, and below in 29, 32, 33 and 40 %. No
#   method is above in all. Nine of 17 are more often below than above. Against its own map of another beetle of the same species each of the four is
#   clearly above in one reading of ten at most: what these maps know of the parts, they know of the species, and most of it could be looked up.
# - *To name the part that matters most*: no more than the field guide. Read with the sign, eight methods are clearly
#   ahead of all eight maps that know no network: the best method is right in 0.53 of the scenes, the best of these
#   maps, an even one, in 0.32. But the field guide is right in 0.52 of 100 of them, and no method is clearly ahead of
#   it. And the best method's map of another class names the part as often, as far as 100 beetles can tell.
# - *To say how much*: no. The best map's relevance in logits agrees with the effect by 0.42, where 1 would be right and
#   0 is an empty map. The same 2 logits for each of the four parts that have a trait agree by 0.45.
# - *To find a gross shortcut*: yes, all 16, given a clean network to compare with. (One clean network set the level; another one was not tried.)
# - *A good quality score without a key*: does not show that a map is right. One of the three best measures, infidelity
#   with squares, orders the methods as the key does by 0.53 for a single beetle; a random order has 0, one fixed order
#   for all beetles 0.54, and the likeness of a map to bright edges 0.65. For each measure that we tried to cheat, a map
#   made for it scored as well as the best method, or nearly, and agreed with the key no more than edges do. (We did not
#   try to cheat infidelity with squares.)
#
# Of the article's nine cells two are confirmed (one of them in part), three refuted, and four depend on something that it does
# not name.

# %%
print("readings clearly above every null, and clearly below one:")
for row in share[:4]:
    print(f"{row['method']:24}{row['above']:6.0%}{row['below']:6.0%}")
print("methods above in all readings:", sum(row["above"] == 1 for row in share))
print("methods more often below than above:", sum(row["below"] > row["above"] for row in share))
print(f"the part that matters most: {top[0]} {top[1]}")
print(f"    best null {top[2]}")
print(
    "methods that name it more often than all maps that know no network:",
    sum(better(n, "top part") > 0 for n in real),
)
own, asked = (
    reading_scores(
        first.sums[k, top[0]][None, :, :7, 0], first.keys["removal, logit"], first.shown, "top part"
    )[0]
    for k in ("own", "another class")
)
print(
    f"its lead over its own map of another class, 100 beetles: {spelt(mean_interval(own - asked))}"
)
print(f"best magnitude: {units[1]} ({units[0]}; an empty map: 0)")
listed, effects = first.sums["null", FIELD_GUIDE][:, :7, 0], first.keys["removal, logit"]
for how in ("rank", "top part"):
    told = reading_scores(listed[None], effects, first.shown, how)[0]
    leads = [
        mean_interval(reading_scores(maps_of[None], effects, first.shown, how)[0] - told)
        for maps_of in own_sums
    ]
    above, below = sum(low > 0 for _, low, _ in leads), sum(high < 0 for _, _, high in leads)
    print(f"field guide, {how:8}: {spelt(mean_interval(told))};", end=" ")
    print(f"clearly above it {above} of {len(leads)} maps, below {below}")
from xai_course.beetlebox import magnitude_agreement

two_logits = torch.where(listed > 0, 2.0, 0.0).masked_fill(~first.shown, torch.nan)
told = magnitude_agreement(two_logits, effects)
print(f"2 logits for each part with a trait: {spelt(mean_interval(told))}")
print(f"best measure without the key: {trusted[0]} {spelt(each[trusted[0]])}")

# %% [markdown]
# ## Take it with you
#
# Three measures for any PyTorch classifier and any explainer, without beetles: the deletion curve, randomisation and
# its null. `snippet` writes them out as one text, here without the checks of their arguments.

# %%

from IPython.display import Code

from xai_course.metrics import deletion_curve
from xai_course.snippets import snippet

source = snippet(deletion_curve, randomisation, randomisation_null, checks=False)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty_file: dict = {}
exec(source, empty_file)
both = [
    curve(network, gradient, sample, targets, steps=4)
    for curve in (empty_file["deletion_curve"], deletion_curve)
]
print("the same curve:", torch.allclose(*both, atol=1e-5))

# %% [markdown]
# `Path("metrics.py").write_text(source)` keeps them. To grade your own explainer: `grade(network, {"mine":
# my_explainer}, tests)`, also a lambda around a Captum object; with a measure of your own: `measures={"mine": lambda
# material, explainer, maps: ...}`.

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
# No. 0 is not what ignorance scores. An edge detector has more here.
# </details>
# <details><summary>c) One cannot say, since each network has another key.</summary>
#
# One can: the nulls are scored by the same key. Compare the method with them.
# </details>
#
# **2. Which map has the best deletion curve, with the mean colour as the filling?**
#
# <details><summary>a) The answer key, since it shows what the network used.</summary>
#
# No. Several methods have a better curve than the key (section 6).
# </details>
# <details><summary>b) One that looks for the fastest way to break the answer.</summary>
#
# Yes. That is what the curve measures. The map agrees with the key no more than an edge detector does (section 7).
# </details>
# <details><summary>c) None: on average all methods have much the same curve.</summary>
#
# They differ, and by more than chance (the table of section 5). The curves are real; they answer another question.
# </details>
#
# **3. After all weights are random, a method gives nearly the same map as before. What follows?**
#
# <details><summary>a) The method is robust.</summary>
#
# Robust against the loss of everything that it claims to explain.
# </details>
# <details><summary>b) Nothing yet: by chance the random network may work alike.</summary>
#
# No. With random weights the answers are at chance. The map alone did not notice.
# </details>
# <details><summary>c) The map does not come from what the network learnt.</summary>
#
# Yes. The converse does not hold: the fingerprint map changes altogether and explains nothing.
# </details>

# %% [markdown]
# ## References
#
# - Adebayo et al.: Sanity Checks for Saliency Maps. NeurIPS 2018, arXiv:1810.03292.
# - Binder, Weber, Lapuschkin, Montavon, Müller, Samek: Shortcomings of Top-Down Randomization-Based Sanity Checks for Evaluations of
#   Deep Neural Network Explanations. CVPR 2023, arXiv:2211.12486; Yona, Greenfeld: Revisiting Sanity Checks for Saliency Maps.
#   2021, arXiv:2110.14297.
# - Steegen, Tuerlinckx, Gelman, Vanpaemel: Increasing Transparency Through a Multiverse Analysis. Perspectives on Psychological
#   Science 2016; Simonsohn, Simmons, Nelson: Specification Curve Analysis. Nature Human Behaviour 2020.
# - Hesse, Schaub-Meyer, Roth: FunnyBirds: A Synthetic Vision Dataset for a Part-Based Analysis of Explainable AI Methods. ICCV 2023,
#   arXiv:2308.06248 (the closest work: parts of birds that can be taken away, and networks trained with parts missing).
# - Clark et al.: XAI-TRIS. 2023, arXiv:2306.12816 (methods are often no better than edge detectors).
# - Hedström et al.: The Meta-Evaluation Problem in Explainable AI (MetaQuantus). 2023, arXiv:2302.07265 (measures are judged, too).
# - Arras, Osman, Samek: CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network Explanations.
#   Information Fusion 2022, arXiv:2003.07258 (relevance mass; a world with known answers).
# - Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018, arXiv:1806.07421
#   (deletion and insertion).
# - Samek et al.: Evaluating the Visualization of What a Deep Neural Network Has Learned. IEEE TNNLS 2017, arXiv:1509.06321.
# - Yeh et al.: On the (In)fidelity and Sensitivity of Explanations. NeurIPS 2019, arXiv:1901.09392.
# - Zhang et al.: Top-down Neural Attention by Excitation Backprop. ECCV 2016, arXiv:1608.00507 (the pointing game).
# - Tomsett et al.: Sanity Checks for Saliency Metrics. AAAI 2020, arXiv:1912.01451.
# - Hooker et al.: A Benchmark for Interpretability Methods in Deep Neural Networks. NeurIPS 2019, arXiv:1806.10758 (what
#   replaced pixels do to a network that never saw such pictures).
# - Kim et al.: Sanity Simulations for Saliency Methods. ICML 2022, arXiv:2105.06506; Yang, Kim: Benchmarking Attribution Methods
#   with Relative Feature Importance. 2019, arXiv:1907.09701 (other worlds with an answer key).
# - Shapley: A Value for n-Person Games. Contributions to the Theory of Games II, 1953.
# - Krippendorff: Content Analysis: An Introduction to Its Methodology. 4th edition, Sage 2018 (α, the agreement of raters).
# - Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics 1979.
