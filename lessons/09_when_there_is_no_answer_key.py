# ---
# jupyter:
#   course:
#     question: "Without an answer key, which measure tells a right explanation from a wrong one?"
# ---

# %% [markdown]
# # When there is no answer key
#
# > **You will be able to** say what a quality measure without a key is worth; cheat such a measure; set an alarm level
# > that holds for the next network; and choose a method for a question.
# >
# > **You need** lesson 08 (the answer key, null maps, readouts). (Most of the methods, in one line each: lesson 14,
# > section 3.) A *rank correlation* is the correlation of two rankings: 1 for the same order, −1 for the reverse.
# >
# > **Time** {minutes}. The computer needs less than a minute.
# >
# > **For** everyone. *Engineers*: sections 2 to 4, and *Take it with you*. *Teachers*: section 3 is a good game in pairs;
# > the misconception to look for is "a measure that everyone uses can be trusted". *Policy makers*: the chart and the
# > verdict; for more, sections 4 and 7.

# %% [markdown]
# ## The claim
#
# On photographs nobody has an answer key. So people measure something else: delete what the map marks, and see how fast
# the answer falls; or look how stable the map is. Papers and suppliers report such numbers as the **quality** of an
# explanation. The claim behind them: *a good score means a right map*. In BeetleBox we have both, the score and the
# key.
#
# Section 7 comes back to the article's table of claims (lesson 01), and rewrites it.

# %% [markdown]
# ## Predict
#
# Write three numbers into the next cell, before you read on. First, 12 quality measures each put 16 methods into an
# order, beetle by beetle. So does the answer key. The null is **one fixed order** of the methods: it comes from the key
# of other species, and never looks at the beetle. How many of the 12 measures come clearly nearer to the key's order
# than this null does? Second, how many of 5 measures can be cheated by a map made for it? Third, a map gives an *alarm*
# if it puts more relevance on a museum label than a limit allows. The limit is set on one *clean* network, which never
# saw a label: 5 of 100 of its maps are above. How many of 100 Grad-CAM maps of *another* clean network are? Section 4
# shows all three guesses beside the measured numbers.

# %%
my_guesses = {
    "of 12 measures, ahead of one fixed order of the methods": 6,
    "of 5 measures, cheated by a map made for it": 2,
    "in 100 maps of a clean network, alarms by Grad-CAM": 5,
}

# %%
import torch
from IPython.display import Markdown, display

from xai_course import plots
from xai_course.beetlebox import (
    PARTS,
    SPECIES,
    ground_truth_effects,
    scenes,
    spearman_with_truth,
    stack_images,
)
from xai_course.core import interval_text, mean_interval
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.experiments import MEASURES, grade
from xai_course.methods import HARD_NULL_MAPS, course_methods, with_null_maps
from xai_course.storage import load_checkpoint

network, card = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
names = list(SPECIES)
tests = [scene for name in names for scene in scenes("test", name, 20)]
images = normalise(stack_images(tests))
with torch.no_grad():
    says = network(images).argmax(1)
at = names.index("Globaria_maculata") * 20
one, beetle = [tests[at]], images[at : at + 1]
methods = {**with_null_maps(network, tests, course_methods()), **HARD_NULL_MAPS}
nulls = [name for name in methods if name.startswith("null")]
real = [name for name in course_methods() if name != "CAM"]  # here CAM is Grad-CAM (lesson 06)
folder = data_folder() / "grades"
grades = grade(network, methods, tests, file=folder / "beetle_net.csv")  # of lesson 08
print(
    f"{len(real)} methods, {len(nulls)} null maps, {len(MEASURES)} measures, {len(tests)} beetles"
)

# %% [markdown]
# ## 1. Thirteen measures without a key
#
# These measures ask nothing about parts. (The prediction leaves one out; the end of this section says why.) They need
# the network, the picture, and sometimes the object's outline:
#
# | measure | asks | good is |
# |---|---|---|
# | **pointing**, **mass** | is the pixel with the most relevance (*pointing*), is the positive relevance (*mass*) on the object? | high |
# | **deletion** | replace the most relevant pixels first, by the mean colour, a blur or noise: how fast does the probability fall? | low |
# | **insertion** | put them back first: how fast does it rise? | high |
# | **infidelity** | does a slope, such as the gradient, predict what small noise does? | low |
# | **infidelity, squares** | does relevance predict what is lost when a square is painted over? A slope is first multiplied by the change of the pixels | low |
# | **sensitivity** | how much does the map change under noise that nobody sees? (*sums*: a slope is first multiplied by the input) | low |
# | **randomisation** | how like the map, or its reverse, is the map of the same network with random weights? | low |
#
# All are on file for 200 beetles. In the table, orange means: the method is ahead of the best null of its column. Blue:
# the null is ahead (95 % interval of the difference, scene by scene). White: open. No number: the measure does not
# apply. The last two rows are for comparison. The methods stand in the order of the key: the best rank correlation
# first.

# %%
WITH_KEY = ["rank", "rank, margin", "rank, Shapley", "top part", "sign", "magnitude"]  # lesson 08
WITHOUT = [measure for measure in MEASURES if measure not in WITH_KEY]
LOWER = [m for m in WITHOUT if m.startswith(("deletion", "infidelity", "sensitivity", "random"))]
for row in grades.values():  # -1, the reversed map, counts like 1, the same map
    row["randomisation"] = row["randomisation"].abs()
order = sorted(real, key=lambda name: -grades[name]["rank"].mean())


def applies(name, measure):
    """Is there a score? Infidelity needs a slope; sensitivity a function, not a ready map."""
    return not grades[name][measure].isnan().any()


def turned(measure, scores):
    """Scores, turned so that higher is better."""
    return -scores if measure in LOWER else scores


def best_null(measure):
    """The null map with the best mean, and its scores."""
    found = {name: grades[name][measure] for name in nulls if applies(name, measure)}
    best = max(found, key=lambda name: turned(measure, found[name]).mean())
    return best, found[best]


def better(method, measure):
    """1 if better than the best null map, -1 if worse, 0 if open."""
    lead = turned(measure, grades[method][measure]) - turned(measure, best_null(measure)[1])
    _, low, high = mean_interval(lead)
    return 1 if low > 0 else -1 if high < 0 else 0


# %%
rows = [*order, "the best null map", "the key itself"]
value, tint = torch.full((2, len(rows), len(WITHOUT)), torch.nan)
for c, measure in enumerate(WITHOUT):
    for r, name in enumerate(order):
        if applies(name, measure):
            value[r, c], tint[r, c] = grades[name][measure].mean(), better(name, measure)
    value[-2, c] = best_null(measure)[1].mean()
    value[-1, c] = grades["the key itself"][measure].mean()
ahead = [f"{m} {int((column == 1).sum())}" for m, column in zip(WITHOUT, tint.T, strict=True)]

# %%
plots.figure(
    plots.matrix(
        value,
        rows,
        WITHOUT,
        tint=tint,
        label="blue: the best null is better     white: open     orange: the method is better",
        title="Without the key: in most cells the best null is ahead",
        fmt="{:.3f}",
    ),
    alt=f"Table of {len(order)} methods by {len(WITHOUT)} measures without the key. Of its cells "
    f"{int((tint == 1).sum())} are orange, {int((tint == 0).sum())} white, {int((tint == -1).sum())} blue. Methods ahead of "
    f"the best null, by measure: {'; '.join(ahead)}.",
)
by_null = {}
for measure in WITHOUT:
    by_null.setdefault(best_null(measure)[0].removeprefix("null: "), []).append(measure)
lines = ["the best null map | of these measures", "---|---"]
lines += [f"{null} | {'; '.join(listed)}" for null, listed in by_null.items()]
display(Markdown("\n".join(lines)))


# %% [markdown]
# Three things to see:
#
# - **Sensitivity** and **randomisation** are blue nearly everywhere. Their best null has the same value everywhere, for
#   every picture and network: nothing can change it.
# - **Deletion** with the mean or a blur is orange for the four best methods of lesson 08 and for expected gradients.
#   **Infidelity with squares** is orange for three of the four, and for guided backpropagation, occlusion and expected
#   gradients.
# - **The key itself**, in the bottom row, is the best explanation of parts, and by most measures it does not get the
#   best score. Section 5 (*go further*) counts the methods with a better one.
#
# (A map that is already multiplied by the input is no slope, so it has no infidelity under noise. The next sections
# leave infidelity under noise out, and compare the twelve measures that every method has.)

# %% [markdown]
# ## 2. Do the measures without a key predict those with one?
#
# A reader of a deletion curve hopes that the method with the better curve is right. Here we can test that. For each
# beetle we compare two orders of the 16 methods: by the measure, and by agreement with the key. The rank correlation of
# the two is 1 for the same order, and near 0 for a random one. Since the readout decides so much (lesson 08), we ask
# twice: with signed sums, and with the readout that suits each method. The table's last column asks for the order by
# *top part*.


# %%
def spelt(triple, form="{:.2f} ({:.2f} to {:.2f})"):
    """A mean and its interval as text."""
    return form.format(*triple)


def values(measure, which=real):
    """Scores (scenes, methods), turned so that higher is better."""
    return turned(measure, torch.stack([grades[name][measure] for name in which], 1))


from xai_course.experiments import declared_readout, load_sums, reading_scores

first, *seeds_of_net = [found for found in load_sums() if found.family == "BeetleNet"]


def read_suited(name):
    """Agreement with the key (100 beetles), by the readout that suits the method (lesson 08)."""
    size = declared_readout(name) == "size"
    effects = first.keys["removal, logit"]
    relevance = first.sums["own", name][:, :7, int(size)]
    return reading_scores(relevance[None], effects.abs() if size else effects, first.shown, "rank")[
        0
    ]


for_all = [m for m in WITHOUT if all(applies(name, m) for name in real)]  # infidelity: slopes only
each = {m: mean_interval(spearman_with_truth(values(m), values("rank"))) for m in for_all}
hundred = [n for n in range(len(tests)) if n % 20 < 10]  # the 100 beetles of `load_sums`
suited = torch.stack([read_suited(name) for name in real], 1)
by_suited = {m: mean_interval(spearman_with_truth(values(m)[hundred], suited)) for m in for_all}
by_top = {m: mean_interval(spearman_with_truth(values(m), values("top part"))) for m in for_all}
trusted = sorted(for_all, key=lambda measure: -each[measure][0])

# %%
plots.figure(
    plots.bars(
        {measure: each[measure] for measure in trusted},
        references={measure: by_suited[measure][0] for measure in trusted},
        reference_label="the same, each method with the readout that suits it",
        title="Three measures say most about who is right, and none says much",
        label="agreement with the ranking by the key, beetle by beetle (95 % interval)",
    ),
    alt="Bars for twelve measures without a key. Infidelity with squares has 0.53, insertion with a blur 0.50, mass 0.49; "
    "then deletion and insertion from 0.37 to 0.12, pointing 0.32, randomisation 0.17; both sensitivities are at 0.",
)

# %%
signs = "{:+.2f} ({:+.2f} to {:+.2f})"
lines = ["measure | signed sums | suited readouts | top part, signed sums", "---|---|---|---"]
for m in trusted:
    lines.append(
        " | ".join([m, *(spelt(triple, signs) for triple in (each[m], by_suited[m], by_top[m]))])
    )
display(Markdown("\n".join(lines)))

# %% [markdown]
# Is that much? A null for a *measure* is a ranking of the methods that does not look at the beetle, or not at the
# network:
#
# - **one fixed order** of the methods for all beetles of a species: the order by the key on the other nine species;
# - **likeness to bright edges**: the more a map ranks the parts as the bright edges of the picture do, the better.
#
# (The fixed order needs the key of other beetles; a published ranking would be such an order.) We compute both for
# five seeds of BeetleNet.


# %%
def fixed_and_like(found, agreement):
    """For each beetle: how well the two nulls rank the methods, where the key gives `agreement`."""
    by_species = agreement.view(len(names), -1, len(real)).mean(1)
    # For the beetles of a species: the sum over the other nine species.
    others = (by_species.sum(0) - by_species).repeat_interleave(len(agreement) // len(names), 0)
    edges = found.sums["null", "bright edges"][:, :7, 0]
    maps = torch.stack([found.sums["own", name][:, :7, 0] for name in real])
    like = reading_scores(maps, edges, found.shown, "rank").T
    return spearman_with_truth(others, agreement), spearman_with_truth(like, agreement)


def agreement_of(found):
    """Rank correlations with the key (100 beetles, methods) of one network."""
    maps = torch.stack([found.sums["own", name][:, :7, 0] for name in real])
    return reading_scores(maps, found.keys["removal, logit"], found.shown, "rank").T


squares = spearman_with_truth(values(trusted[0]), values("rank"))[hundred]
print(f"{'orders the methods as the key does':40}{'one fixed order':>17}{'like bright edges':>20}")
for number, found in enumerate([first, *seeds_of_net]):
    fixed, like = fixed_and_like(found, agreement_of(found))
    print(f"    BeetleNet, seed {number}{fixed.mean():34.2f}{like.mean():20.2f}")
    if found is first:
        by_fixed, by_like = fixed, like
ahead_of_fixed = {}
for measure in for_all:
    lead = spearman_with_truth(values(measure), values("rank"))[hundred] - by_fixed
    ahead_of_fixed[measure] = mean_interval(lead)[1] > 0
print(f"seed 0, {trusted[0]}: {spelt(mean_interval(squares))}")
print(f"    minus one fixed order {spelt(mean_interval(squares - by_fixed), signs)}")
print(f"    minus likeness to bright edges {spelt(mean_interval(squares - by_like), signs)}")
print(
    f"measures clearly ahead of one fixed order: {sum(ahead_of_fixed.values())} of {len(for_all)}"
)

# %% [markdown]
# For a single beetle the best measures agree with the key's order by about one half. On this network one fixed order
# does as well (0.52), and likeness to bright edges does better (0.66). On all five seeds both have a half or more. (The
# measures were computed on the first seed. Infidelity with squares has 0.53 on all 200 beetles, and 0.51 on the 100 of
# this comparison.)
#
# With signed sums, on 200 beetles, three measures are at the top. With the readouts that suit, on 100, infidelity with
# squares and mass stay there; most kinds of deletion and insertion agree less. About the *top part* no measure says
# much. What fills the deleted pixels decides, too: insertion with noise says little. Sensitivity does not tell who is
# right. If each score is first averaged over the 200 beetles, most measures come nearer to the truth (section 5, *go
# further*).


# %% [markdown]
# ## 3. Where it breaks: cheat the measures on purpose
#
# A measure that can be cheated will be, by accident if not by intent. So we build the worst explainers that we can:
#
# - **stands out**: how far a pixel's colour is from the colour of the picture's border. This map knows no network.
# - **breaks fast**: take away the pixels that hurt most, look again, take away more. This map finds how the network
#   breaks fastest, not what made the answer.
# - **constant**: always the same map.
# - **fingerprint**: noise whose seed is computed from the network's weights.

# %%
from xai_course.core import baseline_images
from xai_course.metrics import constant_map, noise_map
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
    """In each round delete the 1/16 of the pixels that seem to hurt most; the first are highest."""
    fill, now = baseline_images(images, "mean"), images.clone()
    place = torch.zeros_like(images[:, :1]).flatten(1)  # (N, pixels); 0: still there
    for turn in range(rounds):
        # What the logit seems to lose when a pixel is filled:
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
        sides=("negative", "positive"),
        title="Four maps that are made to cheat a measure",
    ),
    alt="Four maps over one beetle: the bright parts of the beetle, scattered dots, one even tone, noise. None asks what made "
    "the answer.",
)

# %%
duels = [("pointing", "stands out"), ("insertion, mean", "stands out"), ("sensitivity", "constant")]
duels += [("deletion, mean", "breaks fast"), ("randomisation", "fingerprint")]
fewer = slice(None, None, 5)  # every fifth scene


def plus_minus(values, digits=2):
    """A mean and half of its 95 % interval, as text."""
    return interval_text(mean_interval(values), digits, plus_minus=True)


def champion(measure):
    """The best method by a measure, on these scenes."""
    return max(real, key=lambda name: turned(measure, grades[name][measure][fewer]).mean())


cheated = 0
lines = ["measure | cheat | cheat's score | best method's score | cheat's agreement with the key"]
lines.append("---|---|---|---|---")
for measure, cheat in duels:
    both = {name: MEASURES[name] for name in ("rank", measure)}
    got = grade(network, {cheat: cheats[cheat]}, tests[fewer], measures=both, progress=False)[cheat]
    good, best = "low" if measure in LOWER else "high", champion(measure)
    lead = turned(measure, got[measure].abs()) - turned(measure, grades[best][measure][fewer])
    cheated += mean_interval(lead)[2] >= 0  # not clearly behind
    lines.append(
        f"{measure} ({good} is good) | {cheat} | {plus_minus(got[measure].abs())} | "
        f"{plus_minus(grades[best][measure][fewer])} ({best}) | {plus_minus(got['rank'])}"
    )
lines.append(f"*for comparison* | edges | | | {plus_minus(grades['null: edges']['rank'][fewer])}")
display(Markdown("\n".join(lines)))
print(f"measures whose cheat is not clearly behind the best method: {cheated} of {len(duels)}")

# %% [markdown]
# Top scores, or nearly, go to maps that use no network (*stands out*, *constant*), only the weights (*fingerprint*), or
# only the network's weakest points (*breaks fast*). None agrees with the key clearly better than the edge detector
# does, on 40 beetles. *Mass* needs no new cheat: in section 1 the silhouette, a null, is ahead of all methods.

# %% [markdown]
# So a good score without a key does not show that a map is right. A bad score raises a doubt, and no more. There is one
# exception: a map that stays the same when the network gets random weights is not about what the network learnt. The
# key has gaps, too. It does not tell apart the pixels within a part, and it answers *one* question: what the part's
# **absence** does.


# %% [markdown]
# ## 4. The shortcut: who finds the label?
#
# This test matters in practice. One network was trained on a world in which *Globaria cincta* wears a museum label, and
# it learnt the label. Would an explanation have told you? We show 100 labelled *cincta* to that network, and to
# **clean** networks, which never saw a label. First the key: what each part, and the label, is worth.

# %%
shortcut, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net_shortcut")
worn = [scene.with_label() for scene in scenes("test", "Globaria_cincta", 100)]
print(f"{'worth, logits':15}" + "".join(f"{part:>10}" for part in PARTS))
for name, model in {"clean": network, "shortcut": shortcut}.items():
    worth = ground_truth_effects(model, worn[:40], names.index("Globaria_cincta")).mean(0)
    print(f"{name:15}" + "".join(f"{value:10.2f}" for value in worth))

# %% [markdown]
# (A minus: the logit rises when the label goes.) Now the maps. A map gives an **alarm** if its share of positive
# relevance on the label is above a *level*. Where does the level come from? The plain way: from one clean network, such
# that 5 % of its maps are above. By construction 5 % of the maps *of this network* give a false alarm. How many maps of
# the next clean network do? Four more BeetleNets are on file, from other seeds.

# %%
from xai_course.core import detected_at_fpr
from xai_course.metrics import relevance_mass


def on_label(material, explainer, maps):
    """The share of positive relevance on the museum label, one number a scene."""
    label = material.masks[:, PARTS.index("label"), None]
    return relevance_mass(material.model, maps, material.images, label)


paths = {"clean": "beetle_net"} | {f"seed_{k}": f"beetle_net_seeds/seed_{k}" for k in range(1, 5)}
mass = {}
for name, path in {**paths, "shortcut": "beetle_net_shortcut"}.items():
    model = load_checkpoint(data_folder() / "checkpoints" / path)[0]
    file = folder / f"label_{name}.csv"
    found = grade(
        model, course_methods(), worn, measures={"label": on_label}, file=file, progress=False
    )
    mass[name] = {method: row["label"] for method, row in found.items()}
clean = {n: torch.stack([mass[net][n] for net in paths]) for n in real}  # (5, 100) for a method


def alarms(examined, level_from, **how):
    """The share of alarms, at the level that other maps set (5 % of these are above it)."""
    return detected_at_fpr(examined, level_from.flatten(), **how).mean().item()


def others(shares, k):
    """The clean networks without network k."""
    return torch.cat([shares[:k], shares[k + 1 :]])


one_level, four_levels, highest = {}, {}, {}  # of each method: the mean, the worst network
for n in real:
    from_one = [alarms(row, clean[n][k]) for k in range(5) for row in others(clean[n], k)]
    from_four = [alarms(clean[n][k], others(clean[n], k)) for k in range(5)]
    top = [alarms(clean[n][k], others(clean[n], k), false_alarms=0) for k in range(5)]
    one_level[n], four_levels[n], highest[n] = (
        (sum(found) / len(found), max(found)) for found in (from_one, from_four, top)
    )
hits = {n: alarms(mass["shortcut"][n], clean[n]) for n in real}
hits_at_highest = {n: alarms(mass["shortcut"][n], clean[n], false_alarms=0) for n in real}

# %%
listed = sorted(real, key=lambda name: four_levels[name][0])
plots.figure(
    plots.bars(
        {n: round(100 * one_level[n][0]) for n in listed},
        references={n: 100 * four_levels[n][0] for n in listed},
        reference_label="the same, with the level from four other clean networks",
        signed=False,
        title="With an alarm level from one clean network,\nother clean networks give alarms, too",
        label="maps of another clean network that give an alarm, % (meant: 5)",
    ),
    alt="Bars of false alarms for 16 methods, in per cent, with the level from one clean network: from 8 for the gradient to 31 for Grad-CAM. "
    "Grey marks, with the level from four other clean networks: from 5 to 17.",
)
print("false alarms: mean (worst) over networks; labels found in the shortcut network")
print("level from one, four or five clean networks; highest: their highest map sets it")
print(f"{'':27}{'alarms':12}{'alarms':11}{'found':>6}{'alarms':>15}{'found':>14}")
print(
    f"{'level from':27}{'one':12}{'four':11}{'five':>6}{'four, highest':>15}{'five, highest':>14}"
)
for n in listed:
    cells = [f"{level[n][0]:.0%} ({level[n][1]:.0%})" for level in (one_level, four_levels)]
    last = f"{highest[n][0]:.0%} ({highest[n][1]:.0%})"
    print(f"    {n:23}{cells[0]:12}{cells[1]:11}{hits[n]:6.0%}{last:>15}{hits_at_highest[n]:14.0%}")
exact = [n for n in real if hits_at_highest[n] == 1 and highest[n][1] <= 0.02]
print(
    f"found in all 100, at the level of five clean networks: {sum(h == 1 for h in hits.values())} of {len(real)}"
)
print(
    f"found in all 100, at the highest: {sum(h == 1 for h in hits_at_highest.values())} of {len(real)};"
    f" at most 2 % false alarms: {len(exact)}"
)
measured = [sum(ahead_of_fixed.values()), cheated, round(100 * one_level["Grad-CAM"][0])]
for (question, guess), value in zip(my_guesses.items(), measured, strict=True):
    print(f"{question}: you {guess}, measured {value}")

# %% [markdown]
# Every method finds all 100 labels at a level that five clean networks set. But alarms ring for networks that have
# learnt no label, too. With *one* clean network for the level, another clean one gives more than 5 % false alarms by
# every method. For some pairs of networks nearly all maps give an alarm. Why? The level allows for the difference
# between beetles, and not for the difference between networks.
#
# More clean networks help, but not enough: with four for the level, the fifth may still give many alarms. A stricter
# level is the **highest** map of all other clean networks. This level keeps false alarms low for most methods, and
# most still find every label: this shortcut is an obvious one. DeepLIFT, occlusion and Integrated Gradients are among
# the methods that do both.
#
# So an explanation can show such an error. For that it needs several clean networks, not one. And this label is easy to
# find: it is worth more than all the rest, and we knew where to look. Without an alarm, something may still be wrong.
# (One network with the shortcut was tried.)


# %% [markdown] tags=["further"]
# ## 5. More numbers, and the cost
#
# **Infidelity and the slope.** Infidelity under noise needs no cheat. It asks for the *slope*, and the gradient is the
# slope. As the noise gets smaller, the gradient wins by definition, whatever the network uses.

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
# **Two more questions of section 2.** Do the methods come in the right order *in the mean* over all beetles? And the
# key itself is an explanation, the best one: which methods does a measure put above it? (No entry: the key has no such
# score.)

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
# Several measures put a method *above* the key, deletion with a blur five. The key is painted evenly, and a map that
# also finds the most sensitive pixels *within* a part breaks the answer faster. That is what a deletion curve measures:
# how fast an answer breaks, not what made it.


# %% [markdown]
# **The table of section 1** as text, with half of the 95 % interval. The last three columns are the cost: passes
# through the network for one image, forward and backward (counted now, mostly with 8 steps or samples); seconds and
# memory for 32 images, as `make bench` measured them (with 16 steps, samples or windows; machine: see the README;
# empty: not measured).

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


as_text([m for m in WITHOUT if m.startswith(("pointing", "mass", "infidelity"))])
as_text([m for m in WITHOUT if m.startswith(("deletion", "insertion"))])
as_text(
    [m for m in WITHOUT if m.startswith(("sensitivity", "randomisation"))], ["passes", "s", "MB"]
)

# %% [markdown]
# **The numbers of section 7** stand in the notebooks of lessons 04 to 08, and the next cells look for them there.
# (They hold search patterns; pass over them.)

# %%
import re
from pathlib import Path


def printed(lesson, pattern, say):
    """What a lesson printed: the first place that fits the pattern, its groups put into `say`."""
    here = Path().resolve()  # the patterns are English: read the notebooks above the folder zh
    folder = next(one for one in (here, *here.parents) if one.name not in ("zh", "solutions"))
    built = [json.loads(path.read_text("utf-8")) for path in folder.glob(f"{lesson}_*.ipynb")]
    notebook = built[0] if built else {"cells": []}
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
MOMENT = r"^agreement with the network.s key of the moment, signed: .*\n"
LATER = r"(?:    .*\n)*    {} +"  # a line of the block under a heading


# %%
facts = {
    "four": printed("08", r"^over species, above: (\d+%) (\d+%)", "{} (LRP) and {} (DeepLIFT)"),
    "guided": printed("08", r"^field guide too, over species, above: (\d+%) (\d+%)", "{} and {}"),
    "below": printed("08", r"^field guide too, over species, below: (\d+%) (\d+%)", "{} and {}"),
    "top_resnet": printed("08", r"^removal, logit, signed(?:   [\d, ]+?){3}   ([\d, ]+?)   ", "{}"),
    "top_species": printed("08", r"^removal, logit, signed(?:   [\d, ]+?){5}   (\d+)", "{}"),
    "top_beetle": printed("08", r"^removal, Shapley, signed   ([\d, ]+?)   ", "{}"),
    "logits": printed(
        "08",
        r"^ +logit +\w+ +(\d\.\d+) +(\d\.\d+)",
        "Best map: {}; one number of logits for every part in which species differ: {}",
    ),
    "logits_shapley": printed(
        "08", r"^ +Shapley +\w+ +(\d\.\d+) +(\d\.\d+)", "best map: {}; one such number: {}"
    ),
    "local": printed("04", r"of 128 channels: trained (\d+), untrained (\d+)", "{}, untrained {}"),
    "overlap": printed("04", "best IoU, five trained" + TRIPLE, NUMBERS),
    "overlap_null": printed("04", "best IoU, colours and edges ([\\d.]+)", "{}"),
    "lines": printed(
        "05",
        r"^guided backprop\. +(\d+) +(\d+) +1 +1",
        "{} lines of its own, {} with all that it needs",
    ),
    "answers": printed("05", NOISE + TRIPLE, NUMBERS),
    "gradient": printed("05", NOISE + CELL + TRIPLE, NUMBERS),
    "grad_cam": printed("05", NOISE + 3 * CELL + TRIPLE, NUMBERS),
    "grad_cam_null": printed(
        "05", r"^null: another beetle, pixels" + 2 * CELL + r"\s+([\d.]+)", "{}"
    ),
    "edges_null": printed("05", r"null: edges, 5% noise ([\d.]+)", "{}"),
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
    "signed_null": printed("07", "^signed, rank: the strongest null is bright edges, (.*)", "{}"),
    "size_null": printed("07", "^size, rank: the strongest null is another class, (.*)", "{}"),
    "texture_cam": printed("07", r"class activation map \(2\) .*\n +(\d+) of 60", "{} of 60"),
    "texture_null": printed(
        "07", r"class activation map \(2\) .*\n +\d+ of 60; .*map (\d+)", "{} of 60"
    ),
    "texture_block": printed("07", r"map of the last block \(3\) .*\n +(\d+) of 60", "{} of 60"),
    "texture_deeplift": printed("07", r"DeepLIFT \(3\) .*\n +(\d+) of 60", "{} of 60"),
    "young_deeplift": printed("07", MOMENT + r"    DeepLIFT \(3\) +" + ENDS, "{} and {}"),
    "young_null": printed(
        "07",
        MOMENT + LATER.format("strongest null") + r"(-?[\d.]+) \([^)]*\) +([\d.]+)",
        "{} and {}",
    ),
    "young_block": printed("07", MOMENT + LATER.format(r"last block \(3\)") + ENDS, "{} and {}"),
    "lesions": printed(
        "07",
        r"^    with skips, old statistics +([\d.]+).*\n    with skips, new statistics +([\d.]+).*\n"
        r"    plain, old statistics +([\d.]+).*\n    plain, new statistics +([\d.]+)",
        "silence one block after the other, and count the right answers: the fewer are left, the more it was needed. Share left, mean over blocks: with skip connections {}, with batch-norm statistics measured anew {}; without them {} and {}; guessing has 0.10",
    ),
}


# %%
def winner(measure):
    """The best method by a measure; its score; and the best null's, in words."""
    name = max(real, key=lambda name: turned(measure, grades[name][measure]).mean())
    null, level = best_null(measure)
    against = f"{level.mean():.2f} ({null.removeprefix('null: ')})"
    return name, spelt(score(name, measure)), against


def score(name, measure):
    """The mean over scenes, and its 95 % interval."""
    return mean_interval(grades[name][measure])


margin, proxy = winner("rank, margin"), trusted[0]
lead = ("clear", "open", "negative")[1 - better(margin[0], "rank, margin")]


# %% [markdown] tags=["further"]
# ## 6. Two findings of others, tested here
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
    for how, size in (("with sign", False), ("by size", True)):
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
# **The finding holds with the sign, and in part by size.** With the head random, the gradient's signed map is gone. The
# signed map of guided backpropagation stays far above its null even with all blocks random. By size the gradient is at
# its null after the third step, and guided backpropagation is *below* its null from the fourth on. So guided
# backpropagation notices late.
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
# **This finding holds here, too.** Ten of the thirteen bars stay below 0.67, agreement with the key (*rank*) among
# them: from beetle to beetle another method is the best. Another filling can give another ranking. And a reliable
# measure is not always a right one: *sensitivity* has one of the highest α.


# %% [markdown]
# ## 7. The article's table, rewritten
#
# Nine cells. For each: what lessons 04 to 07 measured, and what one may rely on. In a hurry? Read the verdict and the
# last column.

# %%
TABLE = """the article's cell | verdict | measured (lesson) | so one may rely on
---|---|---|---
ReLU: local features | **confirmed**, but it takes no training | channels of 128 that find a part better than exchanged masks: {local}; best overlap {overlap}, a channel of colours and edges {overlap_null} (04) | that an active channel has found something there; not that this is a *part*
ReLU: simple, cheap | **confirmed** in part: cheap, yes; simple depends | guided backpropagation: {lines}; one pass there and back (05) | the low cost; what is quick to make is not yet easy to read
ReLU: insensitive to noise | **depends** on method, training and reading | with 5 % noise the answer stays in a share of {answers}; how far a map correlates with its own without noise: gradient {gradient}, edges {edges_null}; Grad-CAM {grad_cam}, another beetle {grad_cam_null} (05) | Grad-CAM under slight noise, not the gradient's map
fully connected: global features | **depends** on the head | share right with the places of the last map shuffled: BeetleNet, pooled head, {pooled}; the article's network, flattened head, {flattened}; guessing 10 % (06) | nothing before you know the head: a pooled one does not ask *where*
fully connected: better on complex tasks | **refuted** for CAM, in this world | on twins, lead over the strongest null: by rank {twins}, by top part {twins_top}; of 18 readings, ahead of and behind gradient × input: {behind} (06) | a test on your own network, not a technique's name
fully connected: costly, complex | **refuted** for reading the layer | CAM: {passes} passes (09), {cost} times the arithmetic of a bare run; occlusion {cost_occlusion} times (06) | CAM where cost counts
residual: change against expectation | **depends** on the expectation, and on the reading | agreement of Integrated Gradients with the key, by sign and by size: from black {black}, from ten other beetles {others}; strongest null bright edges, {signed_null}; another class, {size_null} (07) | an explanation only if it says *compared with what*
residual: suits textures | **refuted** as its own strength | texture told from shape: CAM, which is not of this technique, on {texture_cam} beetles; the last block's map {texture_block}, DeepLIFT {texture_deeplift}; null, the map of another beetle {texture_null} (07) | no technique by itself; exchange the texture and see
residual: poor under changes during training | **depends** on the sense of *residual*, and on the reading | agreement with the key by sign, of the untrained and of the trained network: DeepLIFT {young_deeplift}; the last block's map {young_block}; strongest null of the image {young_null} (07) | DeepLIFT by its sign early; by size it is no better than the null until the end (07)"""
display(Markdown(TABLE.format(**facts)))
counted = {word: TABLE.count(f"**{word}**") for word in ("confirmed", "refuted", "depends")}
print("of nine cells:", ", ".join(f"{number} {word}" for word, number in counted.items()))

# %% [markdown]
# ### Which method for which question
#
# On the left is the question, in the middle the answer, on the right what was measured, here and in lesson 08. A
# **null** is a map that knows nothing of the network. The **field guide** is a null that knows the species, **bright
# edges** one that marks bright outlines. A **reading** is one reasonable way to compare a map with the answer key. A
# **logit** is the network's score for a class; the **runner-up** is the class with the second highest. **Shapley
# values** are a second key: what a part is worth on average, whatever other parts are there. Intervals **over species**
# hold for further species, those **over beetles** for further beetles of these ten. The **label** is a museum label
# beside the beetle, which a network should not use; a **clean** network never saw one. A **lesion** silences one block,
# a piece of the network; a **skip connection** leads around a block. LRP, DeepLIFT and expected gradients are
# *methods*: they make maps. BeetleNet and ResNet-18 are networks.

# %%
from xai_course.plots import decision_chart

chart = [
    (
        "Which parts made this answer?",
        "try LRP or DeepLIFT first, compared with nulls",
        f"clearly above every null in only {facts['four']} of all readings; with the field guide as one more null: above in "
        f"{facts['guided']}, below in {facts['below']} (intervals over species)",
    ),
    (
        "Why this class and not the runner-up?",
        f"try {margin[0]}, compared with nulls",
        f"agreement with the key {margin[1]}, on one network, picked from {len(real)} methods; the best null but the field "
        f"guide has {margin[2]}: the difference is {lead}. The key is here what a part adds to the lead over the runner-up",
    ),
    (
        "Which one part matters most?",
        "no map: take parts away",
        f"how many of {len(real)} methods are clearly ahead of every null? Over species {facts['top_species']}. Over beetles, on "
        f"three trainings of ResNet-18: {facts['top_resnet']}; with Shapley values as the key, on five trainings of BeetleNet: "
        f"{facts['top_beetle']}",
    ),
    (
        "How many logits is a part worth?",
        "no map: take parts away",
        f"how near to the numbers of the key (1: the same)? {facts['logits']}; with Shapley values as the key, "
        f"{facts['logits_shapley']}",
    ),
    (
        "Does the network use something that it should not?",
        "a map, and several clean networks to compare with",
        f"alarm, if a map puts more on the label than any map of several clean networks does: {len(exact)} of {len(real)} methods "
        f"find every label of one network, with at most 2 % false alarms on one more clean network. With the usual level "
        f"(5 % of clean maps): up to {max(w for _, w in one_level.values()):.0%} false alarms from one clean network, "
        f"{max(w for _, w in four_levels.values()):.0%} from four",
    ),
    (
        "Which block was needed?",
        "no map: lesions",
        facts["lesions"],
    ),
    (
        "No key: is this map a good one?",
        "no measure alone",
        f"how near to the key's order of the methods (1: the same)? {proxy} (does the map foretell what is lost when a square is "
        f"painted over?), one of the three best of {len(for_all)} measures, {spelt(mean_interval(squares))}; one fixed order from "
        f"other species, which never looks at the image, {by_fixed.mean():.2f}",
    ),
]

# %%
plots.figure(
    decision_chart(chart, title="Which method for which question"),
    alt="Seven questions, each with its answer. "
    + " ".join(f"{question} {answer} ({why})." for question, answer, why in chart),
    caption="Orange: what to try first, if you want a map at all; the right column says how good it is. In the first two rows "
    "even this map is mostly not clearly better than the best null (row 1: over species). Grey: do not rely on a map or a measure. Measured on "
    "BeetleNet and other networks of its world: for your network the names may differ; the questions do not.",
)

# %% [markdown]
# In a drawn world it is easy to take a part away. On photographs, paint it over or exchange it, and look at the answer:
# that is still a measurement, and a map is an estimate.


# %% [markdown]
# ## Exercises
#
# **1. A deletion curve** (15 minutes, medium). `f` takes an image (1, C, H, W) and returns a number; `relevance` is (H,
# W), `fill` (1, C, 1, 1). Replace the pixels by `fill`, the most relevant first, in `steps` equal shares (`steps`
# divides H·W). Return a list of the `steps + 1` values of `f`: first of the whole image, last of the image that is all
# fill.


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
from xai_course.exercises.lesson_09 import check_deletion

check_deletion(deletion_by_hand)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `relevance.flatten().argsort(descending=True).argsort()` gives each pixel its place in the queue, 0 for the first. At
# step k the first `H·W·k // steps` are gone. `torch.where(gone, fill, image)` puts the fill where `gone` (H, W) is
# True.
# </details>

# %% [markdown]
# When it works, use it on the network: one beetle, several maps, the probability of its answer after each step.

# %%
if check_deletion(deletion_by_hand).status == "yes":

    def probability(picture):
        """The probability of the beetle's answer."""
        with torch.no_grad():
            return network(picture).softmax(1)[0, says[at]].item()

    mean_colour = baseline_images(beetle, "mean")[:, :, :1, :1]
    for name, cheat in {"LRP": methods["LRP"], "edges": methods["null: edges"], **cheats}.items():
        marks = cheat(network, beetle, says[at : at + 1])[0, 0]
        falls = deletion_by_hand(probability, beetle, marks, mean_colour, 8)
        print(f"{name:12}" + " ".join(f"{p:.2f}" for p in falls) + f"   mean {sum(falls) / 9:.2f}")

# %% [markdown]
# Two maps that are made to cheat a measure break this answer faster than LRP does, and so do edges. One beetle proves
# little; the table of section 3 has 40.
#
# **2. A stricter level** (10 minutes, medium). `clean` is (K, N): of each of K clean networks the shares of relevance
# on the label, in N maps. Each network has its own level, its quantile `q` over the N maps. For network k, take the
# **highest** level of the *other* networks (section 4 took their highest map, which is stricter). Which share of k's
# maps is above it? Return K shares, as a list or a tensor.


# %% tags=["exercise"]
def strict_alarms(clean, q):
    """The false alarms of each clean network, at the highest level of the others: K shares."""
    return ...


# %% tags=["solution"]
def strict_alarms(clean, q):
    """The false alarms of each clean network, at the highest level of the others: K shares."""
    levels = clean.quantile(q, 1)
    found = []
    for k in range(len(clean)):
        level = torch.cat([levels[:k], levels[k + 1 :]]).max()
        found.append((clean[k] > level).float().mean().item())
    return found


# %%
from xai_course.exercises.lesson_09 import check_alarms

check_alarms(strict_alarms)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `clean.quantile(q, 1)` gives K levels. Leave out network k's own: `torch.cat([levels[:k], levels[k + 1 :]])`. Then
# compare all N maps of k with the largest of the rest.
# </details>
#
# When it works, use it on the five clean networks:

# %%
if check_alarms(strict_alarms).status == "yes":
    for name in ("Grad-CAM", "LRP", "occlusion", "DeepLIFT"):
        found = strict_alarms(clean[name].float(), 0.95)
        print(f"{name:10}" + " ".join(f"{rate:5.0%}" for rate in found))

# %% [markdown]
# With this level DeepLIFT and occlusion keep below one in ten on every network. LRP and Grad-CAM still give an alarm
# on half or more of the maps of one network. The other four networks do not tell you which one that is.

# %% [markdown]
# ## Verdict
#
# **What one may rely on without an answer key**, in this world:
#
# - *A good quality score without a key*: does not show that a map is right. On 100 beetles of one network we put 16
#   methods into an order: by the answer key, and by 12 such scores (*measures*). None of the 12 measures comes clearly
#   nearer to the key's order than one fixed order, which was taken from other species and never looks at the beetle.
#   One of the three best measures, infidelity with squares (does the map foretell what is lost when a square is painted
#   over?), agrees with the key's order by 0.51, the fixed order by 0.52 (1 is the same order). (Over five seeds: fixed
#   order 0.52 to 0.65; an order by how much each map looks like bright edges, 0.55 to 0.66.)
# - *Measures can be cheated*: for each of five measures, a map made for it is not clearly behind the best method. None
#   of these maps agrees with the key clearly better than edges do. (40 beetles; we did not try to cheat infidelity with
#   squares.)
# - *To find an obvious shortcut* (here: the network names the species by a museum label, a small paper card beside the
#   beetle): yes, if there are several clean networks, which never saw a label, to compare with. A map gives an alarm if
#   it puts more on the label than a limit, the *level*. With the level that 5 % of the maps of five clean networks
#   reach, all 16 methods find all 100 labels. (One network with the shortcut was tried.)
# - *False alarms*: 5 % are meant, and one clean network for the level is not enough. Then 8 to 31 % of the maps of
#   another clean network give a false alarm, depending on the method; for the worst method and pair of networks it is
#   100 %. With a level from four it is 5 to 17 % of the maps of the fifth; for the worst method and network 85 %.
# - *The strictest level* is the largest share that any map of the clean networks puts on the label. With it, 8 methods,
#   DeepLIFT among them, find every label, with at most 2 % false alarms on each clean network when the other four set
#   the level.
#
# Of the nine cells of the article's table (section 7) two are confirmed (one of them in part), three refuted, and four
# depend on something that the article does not name.
#
# **What you may conclude:**
#
# - A quality score without an answer key does not show that a map is right. Ask what a map scores that knows nothing of
#   the network.
# - A map that is to raise an alarm ("the network uses something that it should not") needs a level. A level from one
#   clean network is worth little. Ask for several clean networks, and for the experiment: take the suspected thing
#   away, and look at the answer.
# - A method's name promises little. Ask on which network it was tested, compared with what, and how the map was read.

# %%
print(f"best measure without the key: {trusted[0]}, one fixed order {by_fixed.mean():.2f}")
print(
    f"    {len(hundred)} beetles {spelt(mean_interval(squares))}, {len(tests)} {spelt(each[trusted[0]])}"
)
print(
    f"Grad-CAM, LRP, DeepLIFT: from one {one_level['Grad-CAM'][0]:.0%}, "
    f"{one_level['LRP'][0]:.0%}, {one_level['DeepLIFT'][0]:.0%}; from four, worst "
    f"{four_levels['Grad-CAM'][1]:.0%}, {four_levels['LRP'][1]:.0%}, {four_levels['DeepLIFT'][1]:.0%}"
)
print(
    f"from one, all methods: {min(m for m, _ in one_level.values()):.0%} to {max(m for m, _ in one_level.values()):.0%}; "
    f"worst {max(w for _, w in one_level.values()):.0%}"
)
print(
    f"from four, all methods: {min(m for m, _ in four_levels.values()):.0%} to {max(m for m, _ in four_levels.values()):.0%}"
)
print(f"highest of four, all methods, worst network: {max(w for _, w in highest.values()):.0%}")


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
# `Path("metrics.py").write_text(source)` keeps them. In a deep network with batch normalisation, such as a ResNet-50,
# the signal of the redrawn network may shrink to nothing. Then compare with `reinitialised` (lesson 14, section 6).


# %% [markdown]
# ## Quiz
#
# **1. Which map has the best deletion curve, with the mean colour as the filling?**
#
# <details><summary>a) The answer key, since it shows what the network used.</summary>
#
# No. Several methods have a better curve than the key: LRP has 0.11, the key 0.15 (section 5, *go further*; low is
# good).
# </details>
# <details><summary>b) One that looks for the fastest way to break the answer.</summary>
#
# Yes. That is what the curve measures. Such a map (*breaks fast*, section 3) agrees with the key no more than an edge
# detector does.
# </details>
# <details><summary>c) None: on average all methods have much the same curve.</summary>
#
# No. The curves differ by more than chance (the table of section 1). But they answer another question than the key
# does.
# </details>
#
# **2. After all weights are random, a method gives nearly the same map as before. What follows?**
#
# <details><summary>a) The method is robust.</summary>
#
# No. A method that does not notice the loss of all weights does not explain what they do.
# </details>
# <details><summary>b) Nothing yet: by chance the random network may work alike.</summary>
#
# No. With random weights the answers are mere guesses. The map stayed as it was.
# </details>
# <details><summary>c) The map does not come from what the network learnt.</summary>
#
# Yes. But a map that changes need not explain anything: the fingerprint map (section 3) changes altogether.
# </details>
#
# **3. On a network of yours, LRP puts much relevance on a watermark; on one clean network it does not. What do you
# do?**
#
# <details><summary>a) Report the watermark as a shortcut.</summary>
#
# Too early. LRP on another clean network may mark the watermark as much (section 4).
# </details>
# <details><summary>b) Compare with several clean networks, and take the watermark away to see what the answer does.</summary>
#
# Yes. Several clean networks give a level; the removal is the measurement.
# </details>
# <details><summary>c) Nothing: maps cannot show a shortcut.</summary>
#
# Maps can. For an obvious shortcut, half of the methods find every label with hardly any false alarm.
# </details>


# %% [markdown]
# ## References
#
# - Adebayo et al.: Sanity Checks for Saliency Maps. NeurIPS 2018, arXiv:1810.03292.
# - Binder, Weber, Lapuschkin, Montavon, Müller, Samek: Shortcomings of Top-Down Randomization-Based Sanity Checks for
#   Evaluations of Deep Neural Network Explanations. CVPR 2023, arXiv:2211.12486; Yona, Greenfeld: Revisiting Sanity
#   Checks for Saliency Maps. 2021, arXiv:2110.14297.
# - Hedström et al.: The Meta-Evaluation Problem in Explainable AI (MetaQuantus). 2023, arXiv:2302.07265 (measures are
#   judged, too).
# - Arras, Osman, Samek: CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network Explanations.
#   Information Fusion 2022, arXiv:2003.07258 (relevance mass; a world with known answers).
# - Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018,
#   arXiv:1806.07421 (deletion and insertion).
# - Samek et al.: Evaluating the Visualization of What a Deep Neural Network Has Learned. IEEE TNNLS 2017,
#   arXiv:1509.06321.
# - Yeh et al.: On the (In)fidelity and Sensitivity of Explanations. NeurIPS 2019, arXiv:1901.09392.
# - Zhang et al.: Top-down Neural Attention by Excitation Backprop. ECCV 2016, arXiv:1608.00507 (the pointing game).
# - Tomsett et al.: Sanity Checks for Saliency Metrics. AAAI 2020, arXiv:1912.01451.
# - Hooker et al.: A Benchmark for Interpretability Methods in Deep Neural Networks. NeurIPS 2019, arXiv:1806.10758
#   (what replaced pixels do to a network that never saw such pictures).
# - Krippendorff: Content Analysis: An Introduction to Its Methodology. 4th edition, Sage 2018 (α, the agreement of
#   raters).
# - Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics 1979.
