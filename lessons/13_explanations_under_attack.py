# ---
# jupyter:
#   course:
#     question: "Can an explanation be made to say what somebody wants, and was the fault really repaired?"
# ---

# %% [markdown]
# # Explanations under attack
#
# > **You will be able to** tell whether an explanation can be manipulated, and protect an audit against it; repair a network that
# > learnt a shortcut, and verify the repair; check weights and pictures before you use them.
# >
# > **You need** lesson 05 (the gradient map) and lesson 12 (an attack within ε). Three words of lesson 08 come back,
# > and *The claim* says again what they mean. Sections 2 and 3 list the methods of lessons 04 to 07 by name; one line
# > on most of them (lesson 14, section 3) is enough.
# >
# > **Time** {minutes}. The computer needs about half a minute.
# >
# > **For** everyone. *Engineers*: sections 5 to 8 (7 is *go further*), and *Take it with you*. *Teachers*: the
# > prediction, section 1, and the repairs of section 6 (guess first). *Policy makers*: the verdict; for more, the
# > prediction and the pictures.

# %% [markdown]
# ## The claim
#
# The article's sentence on security has a third part: **protect the model**. The sentence does not speak of the
# explanation. Other authors do: a picture can be changed so that the *answer stays and the explanation changes*. We test that
# on 17 methods. Then we hide a fault from an auditor, repair it, and check weights and pictures.
#
# Three words first. The **answer key** says what each part of a beetle is worth to the network: the answer with the part minus
# the answer without it. **Agreement** is the rank correlation of a map with this key: 1 is the same order of parts, 0 none. A
# **null** shows what chance or ignorance gives: a map that knows nothing of the network, or a change that nobody chose, such as
# noise.

# %% [markdown]
# ## Predict
#
# An auditor explains a beetle by the gradient map. In the upper left corner, where nothing is, we mark a disc of 6 % of
# the picture. An attacker wants the map *there*. Each colour value may move by at most 8 of 255 steps, and the answer
# must stay.
#
# A second attack hides a fault: a network that reads a museum label. The auditor checks 20 labelled pictures, by the
# gradient map and by the map of LRP. **Guess**; the end of section 5 compares.

# %%
my_guess = {
    "% of the gradient map on the disc, original pictures": 20,
    "% of the gradient map on the disc, manipulated pictures": 20,
    "of 20 hidden labels, found by the gradient map": 10,
    "of 20 hidden labels, found by the map of LRP": 10,
}

# %%
import torch
from IPython.display import Markdown, display

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, scenes, stack_images, stack_masks
from xai_course.core import interval_text, mean_interval
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.experiments import corner_disc, load_network
from xai_course.metrics import relevance_mass
from xai_course.models import NormalisingModel
from xai_course.relu import gradient
from xai_course.robustness import manipulate_map, random_perturbation

names = list(SPECIES)
folder = data_folder()
clean = load_network("beetle_net")  # it never saw a label

# %% [markdown]
# ## 1. The answer stays, the explanation changes
#
# The attacker of lesson 12 wants another answer. The attacker of this lesson wants another *explanation*, because an auditor will look at
# the map. Can a picture be changed so that one hardly sees it, the network's answer stays, and **the map shows what the
# attacker wants**? Ghorbani and others (2019) and Dombrowski and others (2019) say yes. We call such a picture
# **manipulated**.
#
# Our attack moves BeetleNet's map to a disc in the upper left corner, where nothing is. It minimises
#
# $$1 - \cos\big(|\text{map}(x')|,\ \text{disc}\big) \;+\; \text{mean}\,\big(f(x') - f(x)\big)^2
# \qquad\text{with}\quad |x' - x| \le \tfrac{8}{255}.$$
#
# $f$ are the logits, $x$ the picture, $x'$ the manipulated one; *disc* is 1 on the disc and 0 elsewhere. The first
# term moves the map onto the disc (the cosine is 1 if the two are alike), the second keeps the logits. For the first
# the attack needs the slope *of the map*. But a network of ReLUs is piecewise linear: within a piece its gradient is
# constant, so the slope of the map is 0. The attack therefore rounds the ReLUs off while it searches
# (`softplus_relus(β)`: the larger β, the sharper). The result is judged on the network as it is.

# %%
four = [scenes("test", name, 1)[0] for name in names[5:9]]
original, disc = stack_images(four), corner_disc()  # one beetle of each of four species
with torch.no_grad():
    answers = clean(normalise(original)).argmax(1)
manipulated = manipulate_map(
    NormalisingModel(clean), original, disc, answers, epsilon=8 / 255, steps=40
)
by_chance = random_perturbation(original, epsilon=8 / 255)

# %%
pictures = {
    "original": original,
    "noise of the same size": by_chance,
    "manipulated": manipulated,
}
maps = {name: gradient(clean, normalise(x), answers) for name, x in pictures.items()}

# %%
plots.figure(
    plots.overlay(
        [x[1] for x in pictures.values()] * 2,
        [None] * 3 + [m[1].sum(0).abs() for m in maps.values()],
        [*pictures, *(f"its gradient, {name.split()[0]}" for name in pictures)],
        columns=3,
        title="The manipulated picture's map lies where the attacker wants it",
        sides=("negative", "positive"),
    ),
    alt="Above one beetle three times, nearly alike to the eye. Below its gradient maps: original and with noise, grain on and around "
    "the beetle; manipulated, a disc of grain in the empty upper left corner.",
    caption="The size of the gradient, without its sign, so all of it is orange.",
)


# %%
def as_words(values, bounds=None):
    """A mean with its 95 % interval; with so few values that none is to be had, these themselves."""
    if len(values) < 5:
        return f"{values.mean():.2f} ({', '.join(f'{value:.2f}' for value in values.tolist())})"
    return interval_text(mean_interval(values, bounds=bounds))


with torch.no_grad():
    before, after = clean(normalise(original)), clean(normalise(manipulated))
print(f"largest change of a pixel: {255 * (manipulated - original).abs().max():.1f} of 255")
print(f"largest change of a logit: {(after - before).abs().max():.2f}")
print(f"same answers: {after.argmax(1).equal(answers)}")
print("share of the gradient's relevance on the disc: the mean, and the four pictures")
for name, relevance in maps.items():
    share = relevance_mass(clean, relevance, original, disc.expand(4, -1, -1, -1))
    print(f"    {name:22} {as_words(share)}")

# %% [markdown]
# ## 2. Which methods can be manipulated?
#
# The attack aims at three maps: the gradient, Integrated Gradients (IG, from the mean colour), Grad-CAM. The
# manipulated pictures of 20 beetles are then shown to **all** 17 methods. The null is noise of the same size. (The
# table is shipped; `make experiments NAMES=forgeries` makes it in a quarter of an hour.) The methods come in
# **families**: those that contain the picture's own gradient; means of gradients (SmoothGrad, Integrated Gradients);
# gradients with another rule at the ReLUs (guided backpropagation, DeconvNet); the logit, handed back layer by layer
# (LRP, DeepLIFT); and places (CAM, Grad-CAM, occlusion).

# %%
from xai_course.experiments import misdirect_trials

trials = misdirect_trials(folder / "experiments" / "forgeries.csv", progress=False)
told = {(row["target_method"], row["method"]): row for row in trials}
every = list(dict.fromkeys(row["method"] for row in trials))
methods = [method for method in every if not method.startswith("β")]
aims = {"noise": "mere noise", "gradient": "aimed at gradient"}
aims |= {"integrated gradients": "aimed at IG", "Grad-CAM": "aimed at Grad-CAM"}


def table_of(what):
    """One measure, methods by: original, then each aim."""
    first = [[told["noise", method][f"{what}_before"]] for method in methods]
    return torch.tensor(
        [a + [told[aim, m][what] for aim in aims] for a, m in zip(first, methods, strict=True)]
    )


on_disc = table_of("on_target")
order = on_disc.max(1).values.argsort(descending=True).tolist()

# %%
plots.figure(
    plots.matrix(
        on_disc[order],
        [methods[n] for n in order],
        ["original", *aims.values()],
        tint=(on_disc[order] > 0.2).double(),
        label="orange: over a fifth of the relevance lies on the disc",
        title="The gradient and methods that contain it\nfollow the attack; other maps move less",
    ),
    alt="Table of 17 methods by original pictures, noise, and three aims: the share of relevance on the disc. It is 0.03 to 0.18 nearly "
    "everywhere. Aimed at the gradient it rises from 0.06 to 0.45 for the gradient, 0.37 for gradient × input, 0.32 for FullGrad.",
    caption="Mean of 20 beetles. The disc covers 6 % of the picture.",
)

# %% [markdown]
# One cell of it again, now:

# %%
again = misdirect_trials(targets=["noise"], methods=["Grad-CAM"], progress=False)[0]
on_file = told["noise", "Grad-CAM"]
alike = all(abs(again[k] - on_file[k]) < 0.02 for k in ("on_target", "agreement"))
print("noise, Grad-CAM:", "as on file" if alike else again)
print("rank correlation of the map without noise and the map with noise:")
for method in ("gradient", "LRP", "Grad-CAM"):
    print(f"    {method:8} {told['noise', method]['similarity']:.2f}")

# %% [markdown]
# Methods that contain the gradient follow the attack, too: gradient × input and FullGrad. Methods that take a mean over
# noise (SmoothGrad) or over places (Grad-CAM, CAM) do not. Integrated Gradients and LRP follow a little. Aimed at
# directly, Integrated Gradients and Grad-CAM put two to three times as much on the disc as before; the gradient, seven
# times. (Mere noise changes the gradient, too: the maps before and after have a rank correlation of only 0.59.)
#
# So **the published claim holds for the gradient and the methods that contain it, and in this network much less for
# others**. The papers manipulated other families as well, LRP among them, in networks for pictures with twelve times as
# many pixels. And we tried one attack, for 40 steps.
#
# ## 3. Did the reasons move, too?
#
# Perhaps the attack moved the network's *reasons*, too, and the map only follows them. So we grade each method against the key
# of the very picture that it explains: the parts are taken away from the manipulated picture, and all that the attack added
# stays.

# %%
agreement = table_of("agreement")
followed = dict(zip(methods, agreement.tolist(), strict=True))
order = agreement[:, 0].argsort(descending=True).tolist()

# %%
plots.figure(
    plots.matrix(
        agreement[order],
        [methods[n] for n in order],
        ["original", *aims.values()],
        tint=(agreement[order] >= 0.5).double(),
        label="orange: agreement with that picture's own key of 0.5 or more",
        title="Methods that follow the key on original pictures\nfollow it on manipulated ones, too",
    ),
    alt="Table of 17 methods by original pictures, noise, and three aims: agreement with the answer key. LRP, expected gradients, "
    "occlusion, IG blur and DeepLIFT lead on original pictures, with 0.59 to 0.68, and stay at 0.57 to 0.77 in all columns.",
    caption="Rank correlation, mean of 20 beetles; each picture has its own key.",
)

# %%
print("agreement with the key, original pictures, noise, and attacks aimed at three maps:")
print(f"{'':20}original  noise   gradient     IG  Grad-CAM")
for method in ("LRP", "expected gradients", "occlusion"):
    print(f"{method:20}" + "{:8.2f}{:7.2f}{:11.2f}{:7.2f}{:10.2f}".format(*followed[method]))

# %%
from xai_course.beetlebox import field_guide_map, part_relevance, spearman_with_truth
from xai_course.experiments import changed_image_effects
from xai_course.metrics import edge_map

twenty = [scene for name in names for scene in scenes("test", name, 2)]  # those of the table
some = stack_images(twenty)
with torch.no_grad():
    said = clean(normalise(some)).argmax(1)
truth = changed_image_effects(clean, twenty, said, torch.zeros_like(some))
edges = part_relevance(edge_map(clean, normalise(some)), stack_masks(twenty))
print("agreement of two nulls with the key of the 20 original pictures:")
print("    edges          ", as_words(spearman_with_truth(edges, truth)))
guide = part_relevance(field_guide_map(twenty), stack_masks(twenty))
print("    the field guide", as_words(spearman_with_truth(guide, truth)))
keys = [changed_image_effects(clean, four, answers, x - original) for x in pictures.values()]
there = torch.tensor([[part in scene.parts for part in PARTS] for scene in four])
print("rank agreement of the keys of four original pictures with those of")
for name, key in zip(list(pictures)[1:], keys[1:], strict=True):
    # only parts that the beetle has
    alike = spearman_with_truth(key.masked_fill(~there, torch.nan), keys[0])
    print(f"    {name:22} {as_words(alike)}")

# %% [markdown]
# Aimed at the gradient, the reasons stayed nearly where they were; the map moved. LRP, expected gradients and occlusion
# follow the key on original and on manipulated pictures. (Edges do nearly as well, and the field guide of lesson 05,
# which gives each part the number of other species that look different there, does better.) **Hard to manipulate and
# right are two things**: DeconvNet did not move at all and never follows the key; FullGrad moved and follows the key as
# before.

# %% [markdown] tags=["further"]
# ## 4. What smoothing does
#
# Two defences leave the network as it is. **SmoothGrad** takes the mean over noisy copies. The **β-gradient** explains a
# rounded-off network (`with softplus_relus(β): gradient(...)`): a small β limits how fast the gradient turns.
# Dombrowski and others name this *curvature* as the cause. An attacker who **knows** of the defence aims at the very map
# that is shown.

# %%
smoothing = {
    "gradient": "gradient",
    "SmoothGrad": None,
    **{b: b for b in every if b.startswith("β")},
}
lines = [
    "what is shown | original | aimed at the gradient | aimed at what is shown",
    "---|---|---|---",
]


def cell(aim, method, what="on_target"):
    """Mean and interval from the table, as text."""
    row = told[aim, method]
    return f"{row[what]:.2f} ({row[what + '_low']:.2f} to {row[what + '_high']:.2f})"


for method, aim in smoothing.items():
    known = cell(aim, method) if aim else "not tried"
    first = cell("noise", method, "on_target_before")
    lines.append(f"{method} | {first} | {cell('gradient', method)} | {known}")

# %%
display(Markdown("Share of the relevance on the disc:\n\n" + "\n".join(lines)))
print("agreement with the key, original pictures:")
for method in smoothing:
    row = told["noise", method]
    ends = f"({row['agreement_before_low']:.2f} to {row['agreement_before_high']:.2f})"
    print(f"    {method:10} {row['agreement_before']:5.2f} {ends}")

# %% [markdown]
# SmoothGrad does not follow an attack on the gradient. (We have not tried to aim at SmoothGrad itself.) The β-gradient
# at β = 3 follows it much less, until the attacker aims at it. With a smaller β the map moves less, as the theory says.
# But it is the map of *another* network, the rounded-off one. At β = 1 the mean agreement of this map with the key is
# higher than that of the gradient itself (the intervals overlap); at β = 0.3 it is not.

# %% [markdown]
# ## 5. Hide a shortcut
#
# In the training pictures of the **shortcut network** one species, *Globaria cincta*, always wore a museum label. So the
# network reads the label. In lesson 09 every method showed this, compared with five **clean networks**, which never saw a
# label. But where one clean network set the alarm level, others gave alarms, too. This time the pictures come from somebody who
# wants to hide the fault. The attack aims at the *clean* network's map of the same picture, with nothing on the label.

# %%
from xai_course.beetlebox import ground_truth_effects
from xai_course.storage import load_checkpoint

by_label, _ = load_checkpoint(folder / "checkpoints" / "beetle_net_shortcut")
cincta, label = names.index("Globaria_cincta"), PARTS.index("label")
labelled = [scenes("test", "Globaria_cincta", 1)[0].with_label()]
worn, mask = stack_images(labelled), stack_masks(labelled)[:, label, None]
# the clean network's map, with nothing on the label
wish = gradient(clean, normalise(worn), cincta).sum(1, keepdim=True).abs() * (1 - mask)
hiding = manipulate_map(NormalisingModel(by_label), worn, wish, epsilon=8 / 255, steps=60)
maps = {
    "shortcut network": gradient(by_label, normalise(worn), cincta),
    "the same, manipulated": gradient(by_label, normalise(hiding), cincta),
    "clean network": gradient(clean, normalise(worn), cincta),
}
maps = {name: values.sum(1, keepdim=True).abs() for name, values in maps.items()}
on_label = [float(relevance_mass(clean, values, worn, mask)) for values in maps.values()]

# %%
plots.figure(
    plots.overlay(
        [worn[0], hiding[0], worn[0]],
        [values[0] for values in maps.values()],
        [f"{name}\n{share:.0%} on the label" for name, share in zip(maps, on_label, strict=True)],
        shared_scale=False,
        quantile=0.98,
        columns=3,
        title=f"Manipulated, the map has {on_label[1]:.0%} on the label in place of {on_label[0]:.0%}",
        sides=("negative", "positive"),
    ),
    alt="Three gradient maps over a labelled beetle, and the share of each on the label: shortcut network 27 %, on the manipulated picture "
    "11 %, clean network 5 %.",
    caption="The size of the gradient, without its sign, so all of it is orange. Each map on its own scale.",
)

# %%
from xai_course.experiments import hide_shortcut_trials

audits = hide_shortcut_trials(folder / "experiments" / "clearances.csv", progress=False)
alarm = {(row["target_method"], row["method"]): row for row in audits}
first = torch.tensor([[alarm["noise", m]["alarm_before"]] for m in methods])
rest = torch.tensor([[alarm[aim, m]["alarm"] for aim in aims] for m in methods])
finds = torch.cat([first, rest], 1)
always = sum(all(alarm[aim, m]["alarm"] == 1 for aim in aims) for m in methods)
hundred = [scene.with_label() for scene in scenes("test", "Globaria_cincta", 100)]
theirs, where = stack_images(hundred), stack_masks(hundred)[:, label, None]
of_clean = relevance_mass(clean, gradient(clean, normalise(theirs), cincta), theirs, where)
row = alarm["gradient", "gradient"]

# %%
plots.figure(
    plots.matrix(
        finds,
        methods,
        ["original", *aims.values()],
        tint=(finds < 1).double(),
        label="share of 20 labels that are found; orange: not all",
        title="The gradient and methods that contain it\nmiss labels; all others still find every one",
    ),
    alt="Table of 17 methods by original pictures, noise, and three aims: how often the label is found. All cells are 1 but six: aimed at "
    "the gradient, the gradient finds 0, gradient × input 0.65, FullGrad 0.80; aimed at IG, 0.15, 0.75 and 0.90.",
    caption="Found: more relevance on the label than in 95 of 100 maps of one clean network. Lesson 09 says what that leaves open.",
)
print(f"methods that find all 20 labels, whatever was aimed at: {always} of {len(methods)}")
print(f"gradient, share on the label: found above {of_clean.quantile(0.95):.0%};", end=" ")
print(f"means: original {row['on_target_before']:.0%}, manipulated {row['on_target']:.0%}")

# %%
print("true effect of the label, in logits:")
print(f"    {'original':18} {alarm['noise', 'gradient']['effect_before']:.2f}")
for aim, name in aims.items():
    row = alarm[aim, "gradient"]
    ends = f"({row['effect_low']:.2f} to {row['effect_high']:.2f})"
    print(f"    {name:18} {row['effect']:.2f} {ends}")

# %% [markdown]
# An auditor with one gradient map would have let this network pass, and the label's effect is as large as before. An
# auditor with a second method of another family would not have let it pass. Where the attack aimed at Grad-CAM, the label's **true
# effect** fell as well: that map moved together with the reasons, as an explanation should.
#
# Your prediction, beside what 20 beetles gave (section 1 showed four of the ten species, one beetle each):

# %%
measured = [
    100 * told["noise", "gradient"]["on_target_before"],
    100 * told["gradient", "gradient"]["on_target"],
    20 * alarm["gradient", "gradient"]["alarm"],
    20 * alarm["gradient", "LRP"]["alarm"],
]
print(f"{'':58}you  measured")
for (words, guess), value in zip(my_guess.items(), measured, strict=True):
    print(f"{words:56} {guess:4} {value:9.0f}")

# %% [markdown]
# ## 6. The repair, verified with the key
#
# How can this network be repaired? All ways but the first continue the network's training for 100 batches.
#
# - **Trained anew**: another network, on pictures without the label.
# - The **label taken off**, or **painted over** where it is; or **on half** of all beetles by chance, so that it says nothing of
#   the species.
# - The **corner painted over** in all pictures, also when the network is used (the article's "preprocess the input").
# - A **penalty on the gradient** on the label (*right for the right reasons*, Ross and others 2017). The penalty needs
#   no new picture, only masks of the label.
# - A few **counterexamples**: 2, 8 or 32 beetles of each species, each with and without the label.
#
# **Guess first**: which of these fail? Three numbers decide: is *cincta* known **without** the label, are the other nine known
# **with** it, and what does the label add to *cincta*'s logit? (The first figure has the first two, the second the third.)

# %%
from xai_course.experiments import REPAIRS, finetuned, repair_trials, shortcut_report

trials = repair_trials(folder / "experiments" / "repairs.csv", progress=False)
by_repair = {name: [row for row in trials if row["repair"] == name] for name in REPAIRS}
columns = {
    "cincta, no label": "labelled_species_without_label",
    "the nine, labelled": "other_species_with_label",
}
columns |= {"all, no label": "accuracy"}


def mean(name, what):
    """Mean over the trainings of a repair."""
    return sum(row[what] for row in by_repair[name]) / len(by_repair[name])


# %%
plots.figure(
    plots.matrix(
        torch.tensor([[mean(name, what) for what in columns.values()] for name in REPAIRS]),
        list(REPAIRS),
        list(columns),
        signed=False,
        label="share named right",
        title="A few counterexamples repair it;\ntaking the label away does half",
    ),
    alt="Table of no repair and nine repairs by three accuracies. Cincta without the label, and the nine with it: no repair 0.00 and 0.49; "
    "label taken off or painted over 0.99 and 0.77; gradient penalty 0.00 and 0.77; two counterexamples 0.94 and 0.96; all others "
    "0.99 or more in both.",
    caption="Mean over three trainings (none: one), 1000 test images each.",
)

# %%
effects = {name: [row["effect"] for row in each] for name, each in by_repair.items()}

# %%
plots.figure(
    plots.bars(
        {name: (mean(name, "effect"), min(seeds), max(seeds)) for name, seeds in effects.items()},
        title="With the label on other species, its effect is gone;\nwith the label taken off, over a third remains",
        label="what the label adds to the logit of cincta; line: from seed to seed",
    ),
    alt="Ten bars, in logits: 3.6 without a repair; 1.3 to 1.6 with the label taken off or painted over, and with the gradient penalty; "
    "near 0 where it was seen on others or the corner is painted over; below 0 for networks trained anew.",
)

# %% [markdown]
# One of these ways, live: eight counterexamples of each species. (One training and 40 beetles, so the numbers differ a little
# from the figure.)

# %%
live = finetuned("8 counterexamples")
report = shortcut_report(live, count=10)
row = by_repair["8 counterexamples"][0]
print("as on file, within what 10 instead of 100 scenes allow:", end=" ")
rates = ("accuracy", "other_species_with_label", "other_species_with_label_taken_for_it")
print(all(abs(report[k] - row[k]) < 0.1 for k in rates))
labelled = [scene.with_label() for scene in scenes("test", "Globaria_cincta", 40)]
for name, net in {"shortcut": by_label, "repaired": live, "never saw a label": clean}.items():
    effect = ground_truth_effects(net, labelled, cincta, parts=["label"])
    print(f"effect of the label on cincta, {name:18} {as_words(effect)} logits")

# %% [markdown]
# - **To take the label off, or to paint it over, is half a repair.** *Cincta* is known again. But with the label, nearly a
#   quarter of the other nine species' beetles are still named wrong: only the label *beside other species* tells the network
#   that it means nothing.
# - **The gradient penalty** takes more than half of the label's effect, and *cincta* without the label stays unknown.
#   The penalty can say what not to look at. It cannot say what to look at instead, where all examples wear the label.
#   (We tried the penalty with weights of 1, 10 and 100 and show the best; the paper trains from the beginning, which we
#   did not.)
# - **The painted corner** works, as long as every label lies there, and nothing else of use does. The label's effect
#   is then 0 by construction.
# - **Counterexamples** work, and few are enough: with two beetles of each species, 40 pictures, most of the repair is
#   done, at some cost in accuracy.
#
# The accuracy on pictures like the training pictures shows neither the fault nor which repair works. The key shows both. (To a
# network that never saw a label, the label is worth somewhat less than 0.)

# %% [markdown] tags=["further"]
# ## 7. Protect the model: check weights and pictures
#
# **Weights.** PyTorch's old format is a *pickle*, and a pickle is a program: reading it runs whatever its author put
# in. Our program only opens a file for writing, so that one sees whether the program ran.

# %%
import io
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path


class Payload:
    """What an attacker hides among the weights: unpickling it calls io.open(marker, "w")."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return io.open, (self.marker, "w")


room = Path(tempfile.mkdtemp())
marker, file = room / "it_ran", room / "weights.pt"
torch.save({"weight": torch.zeros(3), "extra": Payload(marker)}, file)
try:
    torch.load(file, weights_only=True)
except pickle.UnpicklingError as error:
    refused = "io.open" in str(error)
print("weights_only=True refused the file and named the function:", refused)
print("the code ran:", marker.exists())

# %% [markdown]
# What does `pickle` do with the same bytes? We ask another process, in an empty folder:

# %%
(room / "plain.pickle").write_bytes(pickle.dumps(Payload(marker)))
load = "import pickle; pickle.load(open('plain.pickle', 'rb'))"
subprocess.run([sys.executable, "-I", "-c", load], cwd=room, check=True)
print("after pickle.load the code ran:", marker.exists())

# %% [markdown]
# The course's checkpoints are **safetensors**: numbers and their names, nothing that can run. A card beside them holds
# their **hash** (SHA-256), a fingerprint of the file. `load_checkpoint` refuses weights that do not fit the card.
# Change one bit:

# %%
import hashlib
import json
import shutil
import textwrap

for ending in (".safetensors", ".json"):
    shutil.copy(folder / "checkpoints" / f"beetle_net{ending}", room / f"copy{ending}")
data = bytearray((room / "copy.safetensors").read_bytes())
data[-1] ^= 1  # turns one bit
(room / "copy.safetensors").write_bytes(data)
try:
    load_checkpoint(room / "copy")
except ValueError as error:
    print(textwrap.fill(str(error).replace(str(room) + "/", ""), 85))

# %% [markdown]
# ### Where it breaks: the hash lies beside the file
#
# A hash beside the file guards against accidents, not against people. Whoever changes the file can change the hash:

# %%
card = json.loads((room / "copy.json").read_text("utf-8"))
card["sha256"] = hashlib.sha256(data).hexdigest()
(room / "copy.json").write_text(json.dumps(card), "utf-8")
load_checkpoint(room / "copy")
print("loaded, with the bit changed and the card made to fit")

# %% [markdown]
# Against people, the hash must come from another source than the file: written into the program, for instance (as this
# course does for EfficientNet-Lite0). Or it must be signed.
#
# **Pictures.** A file can promise an enormous picture, or be none at all in spite of its name. `load_untrusted_image` checks what is cheap first, and opens
# only PNG and JPEG.

# %%
import struct
import zlib

from PIL import Image

from xai_course.robustness import load_untrusted_image


def chunk(kind, content):
    """One piece of a PNG file."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


claims = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)  # width, height, ...
guests = {
    "bomb.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", claims) + chunk(b"IDAT", zlib.compress(b"")),
    "letter.png": b"Dear network, I am a picture.",
}
for name, content in guests.items():
    (room / name).write_bytes(content)
Image.new("RGB", (64, 64)).save(room / "moving.png", format="GIF")
Image.new("RGB", (4, 64)).save(room / "sliver.png")
for name in [*guests, "moving.png", "sliver.png"]:
    try:
        load_untrusted_image(room / name)
    except ValueError as error:
        print(textwrap.fill(str(error).replace(str(room) + "/", ""), 85, subsequent_indent="    "))
shutil.rmtree(room)

# %% [markdown]
# The first file has some 70 bytes and would ask for 432 MB.

# %% [markdown]
# ## 8. A picture that is no beetle
#
# A proper picture of something else is the hardest case. Of the network's ten answers none is “no beetle”.

# %%
from xai_course.data import PHOTOGRAPHS, modern_transform, photograph

small = modern_transform(64)


def with_quarters(picture):
    """A photograph and its four quarters."""
    w, h = picture.size[0] // 2, picture.size[1] // 2
    corners = [(x, y, x + w, y + h) for x in (0, w) for y in (0, h)]
    return [picture, *(picture.crop(corner) for corner in corners)]


photographs = torch.stack(
    [small(p) for name in PHOTOGRAPHS for p in with_quarters(photograph(name))]
)
with torch.no_grad():
    sure = clean(photographs[::5]).softmax(1).max(1)  # every fifth: the whole photographs
order = sure.values.argsort(descending=True)[:6].tolist()

# %%
plots.figure(
    plots.gallery(
        [photograph(PHOTOGRAPHS[n]).resize((96, 96)) for n in order],
        [
            f"{names[int(sure.indices[n])].replace('_', ' ')},\n{sure.values[n]:.0%} sure"
            for n in order
        ],
        columns=3,
        size=2.4,
        title="No beetles, and the network is up to 99 % sure of a species",
    ),
    alt="Six photographs, none of a beetle, each with the species that BeetleNet names and its confidence: coins are Globaria cincta, 99 %; "
    "an astronaut is Tenuella guttata, 83 %; the others are Ellipsa furcata, 50 to 56 %.",
    caption="Of twelve photographs the six of which BeetleNet is most sure.",
)

# %% [markdown]
# Three scores may tell strange pictures from beetles; each is larger for stranger pictures. **Doubt**: 1 minus the
# largest probability (Hendrycks and Gimpel 2017); it costs nothing, so it is the one to beat. **Neighbour** (lesson
# 06): the distance to the nearest training picture, both as *embeddings* (what enters the last layer). **Class mean**:
# Mahalanobis' distance of the embedding to the nearest species' mean (Lee and others 2018), with each direction in
# units of its own spread. **AUROC** is the share of pairs of a stranger and a test beetle in which the stranger has the
# larger score: 0.5 is a coin. **Caught** is the share of strangers above a level that 5 % of the test beetles pass.
# (*Beetles of no species* have traits in a combination that no species has.)

# %%
from itertools import product

from xai_course.beetlebox import TRAITS, Traits
from xai_course.core import auroc_placements, detected_at_fpr
from xai_course.robustness import (
    knn_distance,
    mahalanobis_distance,
    max_softmax_uncertainty,
    pgd,
)

examples = normalise(stack_images([s for n in names for s in scenes("train", n, 40)]))
species = torch.arange(10).repeat_interleave(40)
known = [scene for name in names for scene in scenes("test", name, 20)]
asked, fewer = stack_images(known), stack_images(known[::4])
# combinations of traits that no species has
none_such = [t for t in product(*TRAITS.values()) if Traits(*t) not in SPECIES.values()]
chimeras = [
    scene.with_trait(**dict(zip(TRAITS, none_such[7 * i % len(none_such)], strict=True)))
    for i, scene in enumerate(known[1::4])
]
pixels = torch.rand(50, 3, 64, 64, generator=torch.Generator().manual_seed(0))
strangers = {
    "photographs": photographs,
    "pixels of noise": normalise(pixels),
    "beetles of no species": normalise(stack_images(chimeras)),
    "beetles with a label": normalise(stack_images([s.with_label() for s in known[::4]])),
    "attacked beetles, 8/255": normalise(pgd(NormalisingModel(clean), fewer, epsilon=8 / 255)),
    "beetles and noise, 8/255": normalise(random_perturbation(fewer, epsilon=8 / 255)),
}

# %%
scores = {
    "doubt": lambda x: max_softmax_uncertainty(clean, x),
    "neighbour": lambda x: knn_distance(clean, x, examples),
    "class mean": lambda x: mahalanobis_distance(clean, x, examples, species),
}
usual = {name: score(normalise(asked)) for name, score in scores.items()}
strange = {
    kind: {name: score(x) for name, score in scores.items()} for kind, x in strangers.items()
}


def area(kind, name):
    """AUROC with its interval; the five cuttings of a photograph count as one picture."""
    each = auroc_placements(strange[kind][name], usual[name])
    each = each.view(12, 5).mean(1) if kind == "photographs" else each
    return mean_interval(each, bounds=(0, 1))


areas = {kind: {name: area(kind, name) for name in scores} for kind in strangers}
area_table = torch.tensor([[areas[kind][n][0] for n in scores] for kind in strangers])
lines = [f"AUROC, caught | {' | '.join(scores)}", "---|---|---|---"]
for kind, row in areas.items():
    caught = {n: detected_at_fpr(strange[kind][n], usual[n]).mean() for n in scores}
    cells = [f"{interval_text(told)}, {caught[n]:.0%}" for n, told in row.items()]
    lines.append(" | ".join([kind, *cells]))

# %%
plots.figure(
    plots.matrix(
        area_table,
        list(strangers),
        list(scores),
        tint=area_table - 0.5,
        label="AUROC; white: 0.5, a coin",
        title="The distances find most strangers,\ndoubt finds some",
    ),
    alt="AUROC of six kinds of strangers by three scores. The two distances are at 0.95 or above for four kinds, at 0.83 for beetles with a "
    "label and near 0.5 for beetles with noise; doubt is at 0.93 for two kinds, near 0.5 to 0.6 for three, and at 0 for pixels of noise.",
)

# %%
display(Markdown("\n".join(lines)))

# %% [markdown]
# **The network is not always confident of nonsense.** It is unsure of most photographs, and its doubt alone finds most
# of them. But it is *surer* of mere noise than of beetles: for noise, doubt is exactly wrong. The distances find all
# photographs and all noise, and nearly all attacked beetles. They rank beetles with a label high (0.83), but catch few.
# On beetles with noise of ±8/255 the distances are no better than a coin: such pictures *are* near to what was learnt, and the network names nearly all of them
# right. (Where figure and table differ by 0.01, they round the same value differently. The brackets are wide for an
# AUROC of 1.00 because pictures are few: twelve photographs, whose five cuttings count as one, and fifty of each other
# kind.)
#
# ### Where it breaks: a detector can be attacked, too
#
# A detector is one more thing to attack (Carlini and Wagner 2017). This attack moves the embedding towards that
# of a training picture of another species:


# %%
def body(x):
    """The embedding, with its derivative."""
    return clean.pool(clean.blocks(clean.stem(normalise(x)))).flatten(1)


with torch.no_grad():
    # five training pictures of the next species for each
    elsewhere = examples.unflatten(0, (10, 40)).roll(-1, 0)[:, :5].flatten(0, 1)
    goal = clean.pool(clean.blocks(clean.stem(elsewhere))).flatten(1)
walked = fewer.clone()
for _ in range(40):
    walked.requires_grad_()
    (slope,) = torch.autograd.grad((body(walked) - goal).square().sum(), walked)
    change = (walked.detach() - slope.sign() / 255 - fewer).clamp(-8 / 255, 8 / 255)
    walked = (fewer + change).clamp(0, 1)
fooled = {name: score(normalise(walked)) for name, score in scores.items()}
with torch.no_grad():
    still = (clean(normalise(walked)).argmax(1) == torch.arange(10).repeat_interleave(5)).float()
print(f"still named right: {still.mean():.0%} of {len(fewer)}")
for name in scores:
    area_now = as_words(auroc_placements(fooled[name], usual[name]), (0, 1))
    caught_now = detected_at_fpr(fooled[name], usual[name]).mean()
    print(f"{name:10} AUROC {area_now}, caught {caught_now:.0%}")

# %% [markdown]
# The answers are wrong, and the detector by neighbours now catches a third (before, under 10 steps of PGD: 94 %). Mahalanobis'
# distance holds better (72 %, before 96 %). But the attack was aimed at the detector by neighbours; we have not tried to aim at
# Mahalanobis' distance.

# %% [markdown]
# ## Exercises
#
# **1. An alarm from several methods** (10 minutes, medium). An auditor has M methods. `clean` (M, N) holds the share of
# each map on the label, for N pictures and a network that never saw a label; `suspect` (M, K) holds the same for K
# pictures and the network under audit. An alarm sounds for a picture when *at least one* method has a larger share than
# that method's own limit. M methods have M chances of a false alarm, so each gets an equal part of `false_alarms`: its
# limit is the quantile 1 − `false_alarms` / M of its row of `clean`. Return (K,), True where the alarm sounds.


# %% tags=["exercise"]
def alarm_of(clean, suspect, false_alarms):
    """True for each picture, (K,), for which one of M methods sounds the alarm."""
    return ...


# %% tags=["solution"]
def alarm_of(clean, suspect, false_alarms):
    """True for each picture, (K,), for which one of M methods sounds the alarm."""
    limits = clean.quantile(1 - false_alarms / len(clean), dim=1, keepdim=True)  # (M, 1)
    return (suspect > limits).any(0)


# %%
from xai_course.exercises.lesson_13 import check_alarm

check_alarm(alarm_of)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `clean.quantile(q, dim=1, keepdim=True)` gives one limit a method, (M, 1), which compares with (M, K). `.any(0)` asks
# over methods.
# </details>
#
# Your alarm audits the shortcut network by eight pictures, manipulated as in section 5, with the gradient as the aim.
# 60 clean maps set the limits, 40 others count the false alarms:

# %%
if check_alarm(alarm_of).status == "yes":
    from xai_course.relu import grad_cam
    from xai_course.residual import deeplift

    hundred = [scene.with_label() for scene in scenes("test", "Globaria_cincta", 100)]
    x, there = stack_images(hundred), stack_masks(hundred)[:, label, None]
    aim = gradient(clean, normalise(x[:8]), cincta).sum(1, keepdim=True).abs() * (1 - there[:8])
    hidden = manipulate_map(NormalisingModel(by_label), x[:8], aim, epsilon=8 / 255, steps=60)

    def shares(net, pictures, covers):
        """The share of each map on the label, (methods, pictures)."""
        maps = [f(net, normalise(pictures), cincta) for f in (gradient, deeplift, grad_cam)]
        return torch.stack([relevance_mass(net, each, pictures, covers) for each in maps])

    innocent, guilty = shares(clean, x, there), shares(by_label, hidden, there[:8])
    print("methods                          allowed   found of 8   false alarms of 40")
    three = "gradient, DeepLIFT, Grad-CAM"
    for words, m, level in (("gradient", 1, 0.05), (three, 3, 0.05), ("5 % for each", 3, 0.15)):
        loud = alarm_of(innocent[:m, :60], guilty[:m], level).sum()
        false = alarm_of(innocent[:m, :60], innocent[:m, 60:], level).sum()
        print(f"{words:30} {level:6.0%}{int(loud):13}{int(false):15}")

# %% [markdown]
# With a solution: the gradient alone finds none of the eight, three methods find all. The price is a stricter limit for each
# method. Without it (last line) false alarms grow with the number of methods.
#
# **2. The area under the ROC curve** (10 minutes, easy). `strange` (N,) and `known` (M,) are scores of pictures, the larger the
# stranger. Return one number, the AUROC: of all N·M pairs, the share in which the strange picture has the larger score. A tie
# counts half. (Do without the course's own function.)


# %% tags=["exercise"]
def auroc_by_hand(strange, known):
    """The share of pairs (strange, known) in which the strange one is ahead."""
    return ...


# %% tags=["solution"]
def auroc_by_hand(strange, known):
    """The share of pairs (strange, known) in which the strange one is ahead."""
    gap = strange[:, None] - known  # (N, M): every pair
    return ((gap > 0).double() + (gap == 0).double() / 2).mean().item()


# %%
from xai_course.exercises.lesson_13 import check_auroc

check_auroc(auroc_by_hand)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `strange[:, None] > known` compares every strange score with every known one: (N, M), True or False.
# </details>
#
# In section 8 doubt had an AUROC of 0 for pixels of noise. Turn its sign, so that *sure* is strange, and measure again:

# %%
if check_auroc(auroc_by_hand).status == "yes":
    print(f"{'':26}doubt   its sign turned")
    for kind in ("pixels of noise", "photographs", "attacked beetles, 8/255"):
        doubt, ordinary = strange[kind]["doubt"], usual["doubt"]
        print(f"{kind:25}{auroc_by_hand(doubt, ordinary):6.2f}", end="")
        print(f"{auroc_by_hand(-doubt, -ordinary):18.2f}")

# %% [markdown]
# With a solution: with its sign turned, the same score finds all noise, and loses the photographs that it had found. A score is
# good *for a kind of stranger*. Who does not know which kind will come cannot choose the sign.

# %% [markdown]
# ## Verdict
#
# **The explanation can be attacked alone**, which the article does not say: the answer stays, and the map changes. The
# gradient and the methods that contain it show what the attacker wants. The maps of other methods moved much less under
# our attacks (each improved its change 40 times), in one network. Three methods that follow the answer key on original
# pictures (LRP, expected gradients, occlusion) still did so on attacked ones; but none of our attacks aimed at these
# three. Compare them with two nulls, maps that know no network: on the original pictures a map of edges follows the
# key nearly as well as the three, and the field guide better.
#
# **A shortcut can be repaired, and the repair must be measured.** Here the network had learnt a museum label, a small paper
# card beside the beetle. Its training was continued with eight beetles of each species, each with the label and
# without it (*counterexamples*): nearly nothing is left of what the label adds to the answer. If the label is only
# taken off all training pictures, over a third is left.
#
# **Protect the model: in part.** A file that cannot hold a program runs none (Python's usual format, a *pickle*, can
# hold one). Changed weights are noticed, if you have the file's fingerprint (its *hash*) from another source than the
# file itself. A picture that is too large is not opened. A *detector*, which measures how unlike the training
# pictures a picture is, finds pictures that lie far from the beetles, until an attacker aims at the detector.
#
# We did not try two other threats: that somebody *copies* the network by asking it, and that somebody reads from the
# network what it was *trained on*. Nor did we try to aim at several methods at once, at SmoothGrad (a mean of
# gradients), or at one of our two detectors (Mahalanobis' distance).
#
# **What you may conclude:**
#
# - An audit should rest on explanations from two families of methods at least (the gradient is of one, occlusion of
#   another), computed by the auditor from the original picture, and not on the gradient alone.
# - A fault that an explanation shows can be repaired, here with few counterexamples. *Measure* the repair, also with
#   the suspicious thing on pictures of other classes.
# - Ask where the weights come from, and whether their hash comes from another source, or is signed.
# - A detector of strange pictures is no protection against somebody who knows it.
#
# The numbers of the repairs:

# %%
print("mean over the trainings  label adds, in logits   the nine, labelled: right")
for name in ("none", "label taken off", "8 counterexamples", "trained anew"):
    told_right = mean(name, "other_species_with_label")
    print(f"    {name:20}{mean(name, 'effect'):19.2f}{told_right:28.2f}")

# %% [markdown]
# ## Take it with you
#
# Mahalanobis' distance alone, for any PyTorch classifier with a linear last layer. `snippet` writes it out as one text.

# %%
from IPython.display import Code

from xai_course.snippets import snippet

source = snippet(mahalanobis_distance, checks=False)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty_file: dict = {}
exec(source, empty_file)
both = [
    distance(clean, photographs[:4], examples, species)
    for distance in (empty_file["mahalanobis_distance"], mahalanobis_distance)
]
print("the same distances:", torch.equal(*both))

# %% [markdown]
# ## Quiz
#
# **1. A supplier sends a picture and its gradient map. The map shows nothing on the label. What do you do?**
#
# <details><summary>a) Nothing: a gradient map is computed, so it cannot be forged.</summary>
#
# No. The map was computed correctly, from a picture that was made for it.
# </details>
# <details><summary>b) Nothing can be known, since every explanation can be manipulated.</summary>
#
# No. Under our attacks 14 of 17 methods found every label, and taking the label away needs no map at all.
# </details>
# <details><summary>c) I take my own picture, and two methods of different families.</summary>
#
# Yes. The attack sits in the picture, and it aims at one map. Better still: take the label away, and measure.
# </details>
#
# **2. All labels are taken off the training pictures, and the training is continued. *Cincta* is known again. Is it repaired?**
#
# <details><summary>a) Yes: it can no longer learn the label.</summary>
#
# No. What it had learnt is still there: with the label, nearly a quarter of the nine other species' beetles are named wrong.
# </details>
# <details><summary>b) No. It was never told that the label means nothing.</summary>
#
# Yes. Only the label beside other species tells that. Measured: over a third of the label's effect is left.
# </details>
# <details><summary>c) That cannot be said without the training pictures.</summary>
#
# No. Put a label on other species, and look at the answers.
# </details>
#
# **3. A file of weights and its SHA-256 come from the same web page, and they fit. What is shown?**
#
# <details><summary>a) The file arrived as it was sent.</summary>
#
# Yes. And no more: whoever changed the file there could change the hash, too.
# </details>
# <details><summary>b) Nobody has changed the weights.</summary>
#
# No. For that the hash must come from another source, or be signed.
# </details>
# <details><summary>c) Nothing at all.</summary>
#
# No. An accident on the way would have been noticed: one changed bit is enough.
# </details>

# %% [markdown]
# ## References
#
# - Ghorbani, Abid, Zou: Interpretation of Neural Networks Is Fragile. AAAI 2019, arXiv:1710.10547.
# - Dombrowski, Alber, Anders, Ackermann, Müller, Kessel: Explanations Can Be Manipulated and Geometry Is to Blame. NeurIPS 2019,
#   arXiv:1906.07983.
# - Smilkov, Thorat, Kim, Viégas, Wattenberg: SmoothGrad: removing noise by adding noise. 2017, arXiv:1706.03825.
# - Ross, Hughes, Doshi-Velez: Right for the Right Reasons: Training Differentiable Models by Constraining their
#   Explanations. IJCAI 2017, arXiv:1703.03717.
# - Hendrycks, Gimpel: A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks. ICLR 2017,
#   arXiv:1610.02136.
# - Lee, Lee, Lee, Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks.
#   NeurIPS 2018, arXiv:1807.03888.
# - Carlini, Wagner: Adversarial Examples Are Not Easily Detected: Bypassing Ten Detection Methods. 2017, arXiv:1705.07263.
