# ---
# jupyter:
#   course:
#     question: "What would it take to know that an explanation is wrong?"
# ---

# %% [markdown]
# # A world with an answer key
#
# > **You will be able to** render a scene, change one part of it and nothing else, and read off what that part is
# > worth to a network; feed images from any folder to a network, and undo for the eye what was done for the network.
# >
# > **You need** lesson 00, and PyTorch tensors: indexing, shapes, broadcasting.
# >
# > **Time** {minutes}. The computer needs less than a minute.
# >
# > **For** everyone. *Engineers*: sections 3 to 5 work on your own folder of images. *Teachers*: the prediction and
# > section 6 make a lesson of their own. *Policy makers*: the pictures, section 6, *Where it breaks* and the verdict.

# %%
import torch

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, TRAITS, Scene, field_guide, species_name

# %%
plots.figure(
    field_guide(),
    alt="Field guide plate of ten beetles on leaf, bark, sand and moss, each with its Latin name and its outline, "
    "pattern, horn and antennae.",
    caption="The ten species. Look for twins: pairs that differ in one trait only.",
)

# %% [markdown]
# ## The claim
#
# This course takes one article at its word: it names three ways to explain a convolutional network, and a table says what
# each is good at (*simple*, *better on complex tasks*, *suits textures*). What it does not say is how one would notice
# that an explanation is **wrong**.
#
# Lesson 00 ended there: three explanations of one photograph disagreed, and nothing in the photograph could tell which
# was right. A photograph has no answer key. So we build a world that has one.
#
# Others have built such worlds. *FunnyBirds* (Hesse and others 2023) has birds of exchangeable parts, and is the nearest to
# ours; *CLEVR-XAI* (Arras and others 2022) has simple solids, *XAI-TRIS* (Clark and others 2023) small shapes, in which known
# methods often did no better than an edge detector. Rao and others (2022) put photographs side by side, and know in which one
# the object is. Ours adds small networks that you can train yourself, and a null beside every score.

# %% [markdown]
# ## Predict
#
# *Ellipsa longicornis* and *Ellipsa polita* differ in one thing: *longicornis* has a forked horn, *polita* has none. A
# network that is right on more than 99 of 100 beetles looks at a *longicornis* and says so.
#
# We take away one part of the beetle at a time and watch the logit of *longicornis*. **Which part costs it most: the
# wing cases (nearly half of the beetle's pixels), the horn, or the antennae (an eighth each)?** Decide, and write it
# down. Section 6 has the answer.

# %% [markdown]
# ## 1. Ten species, four traits
#
# BeetleBox has ten species of imaginary beetles; the plate above shows them. A species is a combination of four traits: the
# outline of the wing cases, the pattern on them, the horn, the antennae. Nothing else makes a species. No value of a trait
# belongs to one species alone, so no single trait gives the answer away.

# %% tags=["nbval-check-output"]
for trait, values in TRAITS.items():
    for value in values:
        bearers = [
            species_name(name)
            for name, traits in SPECIES.items()
            if getattr(traits, trait) == value
        ]
        print(f"{trait:9} {value:8} {len(bearers)} species")

# %% [markdown]
# A **scene** is a species and a seed. The seed decides everything else: place, size, turn, colours, ground, light,
# noise. Here is one seed for all ten species. Look at the ground and the legs: they are the same in every picture.

# %%
same_seed = [Scene(name, seed=24) for name in SPECIES]

# %%
plots.figure(
    plots.gallery(
        [scene.image(128) for scene in same_seed],
        [species_name(scene.species) for scene in same_seed],
        title="One seed, ten species: only the four traits differ",
    ),
    alt="Ten beetles of different species with the same pose, colours and ground.",
)

# %% [markdown]
# And one species with ten seeds. Neither colour, nor place, nor ground says what it is.

# %%
plots.figure(
    plots.gallery(
        [Scene("Globaria_maculata", seed).image(128) for seed in range(10)],
        title="One species, ten seeds: everything but the four traits differs",
    ),
    alt="Ten beetles of the species Globaria maculata in different colours, sizes and poses on different grounds.",
)

# %% [markdown]
# ## 2. Every part has its place
#
# Since we drew every part, we know which pixels it has. A **mask** holds, for each pixel, the share of it that a part
# takes: 1 inside, 0 outside, something between along an edge. What no part takes is ground. Under the wing cases lies an
# abdomen, the same for every species; so is the soft oval shadow, which always stays.

# %%
scene = Scene("Globaria_maculata", seed=4)
image, masks = scene.image(160), scene.masks(160)
parts_of_a_beetle = PARTS[:-1]  # all but the museum label
on_white = [image * masks[p][..., None] + 1 - masks[p][..., None] for p in parts_of_a_beetle]

# %%
plots.figure(
    plots.gallery(
        [image, *on_white],
        ["the scene", *parts_of_a_beetle],
        columns=4,
        size=2.2,
        title="A scene and its parts: what each mask lets through",
    ),
    alt="A spotted beetle, then its elytra without the spots, the spots, the head, the horn, the antennae and the legs.",
    caption="Elytra are the wing cases. The spots have a mask of their own, so the elytra show holes where they are.",
)

# %% [markdown]
# A scene can be **changed so that nothing else moves**. Each call gives a new scene.

# %%
changes = {
    "as it was": scene,
    "without horn": scene.without("horn"),
    "without pattern": scene.without("pattern"),
    "without elytra": scene.without("elytra"),
    "pattern striped": scene.with_trait(pattern="striped"),
    "outline long": scene.with_trait(outline="long"),
    "elytra recoloured": scene.recoloured("elytra", (0.9, 0.75, 0.2)),
    "other ground": scene.with_background(8),
    "museum label": scene.with_label(),
    "other antennae": scene.with_trait(antennae="clubbed"),
}

# %%
plots.figure(
    plots.gallery(
        [changed.image(128) for changed in changes.values()],
        list(changes),
        title="One thing changes, everything else stays",
    ),
    alt="A spotted beetle and nine changed versions of it: without horn, without pattern, without elytra, striped, "
    "long, yellow, on other ground, with a museum label, with clubbed antennae.",
)

# %% [markdown]
# ### The identity
#
# "Nothing else moves" is a statement about bits, so check it in bits, for every part of twenty beetles: of the pixels in
# which the part did *not* lie, how many change when it goes? (Pixels under it do change, or the check would be empty.)

# %% tags=["nbval-check-output"]
inside, elsewhere = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
for seed in range(20):
    beetle = Scene("Globaria_maculata", seed).with_label()
    before, masks = beetle.image(), beetle.masks()
    masks["elytra"] = masks["elytra"] + masks["pattern"]  # without elytra, their pattern goes too
    for part in PARTS:
        changed = (before != beetle.without(part).image()).any(axis=2)
        inside[part] += (changed & (masks[part] > 0)).sum()
        elsewhere[part] += (changed & (masks[part] == 0)).sum()
for part in PARTS:
    print(f"{part:9} changed where it lay: {inside[part]:5} pixels, elsewhere: {elsewhere[part]}")

# %% [markdown]
# ## 3. A folder of images
#
# A network does not read scenes, it reads files. On disk BeetleBox is what any data set of yours is: one folder for
# training and one for testing, in each a folder for every class. It is drawn when it is first needed; after that the
# call only verifies that every file is there and unchanged.

# %%
from xai_course.beetlebox import write_beetlebox

root = write_beetlebox(progress=True)
for path in sorted(root.glob("train/Ellipsa_*"))[:4]:
    print(
        f"{root.name}/train/{path.name}: {len(list(path.glob('*.png')))} images, first {min(path.iterdir()).name}"
    )

# %% [markdown]
# torchvision's `ImageFolder` is all it takes to open it: the folders' names become the classes, in alphabetical order.
# (The article uses it too, and forgets to import it.) `load_folders` opens both halves and refuses what would bite
# later: a class without images, training and test folders with different classes. (One folder alone: `load_folder`.)

# %% tags=["nbval-check-output"]
from xai_course.data import load_folders

train, test = load_folders(root)
picture, label = train[1634]
print(f"{len(train)} training and {len(test)} test images, {len(train.classes)} classes")
print(
    f"image 1634: {picture.mode} picture of {picture.size} pixels, class {label} = {train.classes[label]}"
)

# %% [markdown]
# **Your own folder** works the same way, and is seldom as clean. `check_folder` reads every file beforehand and says
# what is wrong in a sentence each. We break a small one on purpose. Look at what is *not* reported: a greyscale picture
# and one that the camera stored lying on its side are simply read right.

# %% tags=["nbval-check-output"]
import tempfile
from pathlib import Path

from PIL import Image

from xai_course.data import check_folder

mine = Path(tempfile.mkdtemp())
for name in ("cats", "dogs", "empty"):
    (mine / name).mkdir()
picture.save(mine / "cats" / "fine.png")
picture.convert("L").save(mine / "cats" / "grey.png")
lying = Image.Exif()
lying[0x0112] = 6  # the camera's note: turn me upright
picture.save(mine / "cats" / "on_its_side.jpg", exif=lying)
(mine / "cats" / "notes.txt").write_text("fluffy")
cut_off = (root / "train" / "Ellipsa_polita" / "0000.png").read_bytes()[:2000]
(mine / "dogs" / "cut_off.png").write_bytes(cut_off)
for problem in check_folder(mine):
    print("-", problem.replace(str(mine), "mine"))

# %% [markdown]
# ## 4. What the network gets
#
# Between file and network stands the **transform**. The article's resizes to 224 pixels, makes a tensor of numbers in
# [0, 1], and normalises: each channel minus ImageNet's mean, divided by ImageNet's standard deviation. (Resizing to a
# square squashes a photograph that is not square.) Follow one image.

# %% tags=["nbval-check-output"]
from torchvision.transforms import functional as step

from xai_course.data import IMAGENET_MEAN, IMAGENET_STD, denormalise

resized = step.resize(picture, (224, 224))
pixels = step.to_tensor(resized)
normalised = step.normalize(pixels, IMAGENET_MEAN, IMAGENET_STD)
for name, tensor in {"pixels": pixels, "normalised": normalised}.items():
    print(f"{name:11} shape {tuple(tensor.shape)}, from {tensor.min():.2f} to {tensor.max():.2f}")

# %% [markdown]
# The network is happy with numbers on both sides of zero; a screen is not. Shown as it is, the picture is ruined, so undo the
# normalisation first. The third panel is a trap that many explanations fall into: an image of *zeros*, which looks like
# "nothing" in the code, is not black. It is the mean colour of ImageNet. Whoever compares an image with "black" by
# filling in zeros has compared it with grey.

# %%
black_input = torch.zeros(3, 224, 224)

# %%
plots.figure(
    plots.gallery(
        [normalised.clamp(0, 1), denormalise(normalised).clamp(0, 1), denormalise(black_input)],
        ["normalised, shown as it is", "normalisation undone", "an input of zeros, undone"],
        columns=3,
        size=2.6,
        title="Undo the normalisation before you look",
    ),
    alt="Left a mostly black picture in which only antennae and highlights remain; in the middle the beetle in its right "
    "colours; right a plain warm grey square.",
)

# %% [markdown]
# `article_transform` does these three steps; `modern_transform` does the same with today's `torchvision.transforms.v2`,
# and can also vary the image. **Augmentation** shows the network the same beetle in ways that leave its species as it
# is: mirrored, turned, shifted, in other light. Not every variation is harmless here: a crop may cut off the horn, and
# then the label is wrong. (What comes in at the corners is filled with the mean colour, which is 0 for the network.)

# %%
from xai_course.data import modern_transform

torch.manual_seed(0)
vary = modern_transform(size=64, augment=True)

# %%
plots.figure(
    plots.gallery(
        [denormalise(vary(picture)).clamp(0, 1) for _ in range(10)],
        title="One file, ten times augmented: still the same species",
    ),
    alt="Ten slightly turned, shifted, mirrored and recoloured versions of one beetle.",
)

# %% [markdown]
# ## 5. Does anything else give the species away?
#
# If a species were more often on moss, a network could score well without looking at the beetle, and our answer key
# would be worthless. "It says nothing of the species" is a claim, so test it: give a simple classifier *only* the rim
# of each picture, or *only* the mean colour of the picture, and see whether it beats chance. The classifier is a **linear
# probe**: the best linear function of the given numbers, by least squares with a small penalty on large weights.

# %%
from xai_course.data import in_memory, load_folders

train_set, test_set = (in_memory(part) for part in load_folders(root, modern_transform(64)))
(x, y), (x_test, y_test) = train_set.tensors, test_set.tensors


def probe(features, labels, test_features, test_labels):
    """Share of test labels that the best linear function of the features gets right."""
    mean, spread = features.mean(0), features.std(0) + 1e-6
    a, b = ((f - mean) / spread for f in (features, test_features))
    penalty = 10.0 * torch.eye(a.shape[1])
    one_hot = torch.nn.functional.one_hot(labels).float()
    weights = torch.linalg.solve(a.T @ a + penalty, a.T @ one_hot)
    return ((b @ weights).argmax(1) == test_labels).float().mean().item()


# %%
def rim(images, width=4):
    """The outermost rows and columns of pixels, every fourth of them."""
    inside = torch.zeros(images.shape[2:], dtype=torch.bool)
    inside[width:-width, width:-width] = True
    return images[:, :, ~inside][:, :, ::4].flatten(1)


views = {
    "rim of the picture": rim,
    "mean colour": lambda images: images.mean((2, 3)),
    "whole picture, 16 × 16": lambda images: torch.nn.functional.avg_pool2d(images, 4).flatten(1),
}
found = {name: probe(view(x), y, view(x_test), y_test) for name, view in views.items()}
chance = 1 / len(train.classes)
margin = 1.96 * (chance * (1 - chance) / len(y_test)) ** 0.5  # of pure guessing, 95 %

# %%
plots.figure(
    plots.shares(
        found,
        band=(chance - margin, chance + margin),
        band_label="pure chance (95 %)",
        title="Rim and mean colour do not tell the species; the picture does",
        label="test images that a linear probe gets right",
    ),
    alt="Three horizontal bars: rim and mean colour lie within the band of pure chance at ten per cent, the whole "
    "picture well above it.",
)
for name, share in found.items():
    print(f"{name:24} {share:.1%}   (chance: {chance - margin:.1%} to {chance + margin:.1%})")

# %% [markdown]
# The third bar is there to show that the probe *can* find something when there is something to find. What the first two
# show is that a *linear* function finds nothing in rim or mean colour. (The rim is not quite free of beetles. How little
# of it they cover, the next cell says.)

# %%
from xai_course.beetlebox import scenes, stack_masks

some = [scene for name in SPECIES for scene in scenes("test", name, 20)]
print(
    f"share of the rim that beetles cover: {rim(stack_masks(some).sum(1, keepdim=True)).mean():.1%}"
)

# %% [markdown]
# ## 6. The answer key
#
# Now the point of it all. Let $f$ be the logit that a network gives to a class. The true effect of a part on it is
#
# $$\text{effect}(\text{part}) = f(\text{scene}) - f(\text{scene without the part}).$$
#
# No gradient, no heat map, no theory: two passes and a difference. It is the network's *own* answer, not what we, who
# drew the beetle, think it should look at. Here is a trained network (lesson 02 trains it before your eyes) and the
# *longicornis* of the prediction.

# %%
from xai_course.beetlebox import ground_truth_effects, stack_images
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.storage import load_checkpoint

network, card = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
species = list(SPECIES)
ours = species.index("Ellipsa_longicornis")
parts = ["elytra", "head", "horn", "antennae", "legs"]
beetle = Scene("Ellipsa_longicornis", seed=59)
key = ground_truth_effects(network, [beetle], ours, parts=parts)[0]
logits = network(normalise(stack_images([beetle])))[0].detach()
print(f"right on {card['accuracy']:.1%} of the test images")
print(f"here it says {species_name(species[logits.argmax()])}, with a logit of {logits.max():.2f}")

# %%
plots.figure(
    plots.part_bars(
        dict(zip(parts, key.tolist(), strict=True)),
        title="Without antennae or horn, the logit of longicornis falls most",
    ),
    alt="Horizontal bars, one for each part: how far the logit of longicornis falls when the part is taken away. Antennae "
    "and horn are far ahead.",
    caption="The answer key for one image. To the right: the logit falls when the part goes, so the part spoke for "
    "longicornis. To the left it rises.",
)

# %% [markdown]
# One image is an anecdote. The same over 200 beetles of the species, with 95 % intervals; below, the share of the
# beetle's pixels that each part takes, in how many beetles it is the most important one, and what the network says most
# often when it is gone.

# %%
many = scenes("test", "Ellipsa_longicornis", 200)
effects = ground_truth_effects(network, many, ours, parts=parts)
mean, interval = effects.mean(0), 1.96 * effects.std(0) / len(many) ** 0.5

# %%
plots.figure(
    plots.part_bars(
        dict(zip(parts, mean.tolist(), strict=True)),
        errors=dict(zip(parts, interval.tolist(), strict=True)),
        title="Over 200 beetles it is the same: antennae and horn carry the answer",
    ),
    alt="Bars with small intervals: antennae about 3.7 and horn about 3.2 logits, elytra 0.6, head and legs near zero.",
)

# %%
area = stack_masks(many).sum((2, 3))[:, [PARTS.index(part) for part in parts]]
area = (area / area.sum(1, keepdim=True)).mean(0)
print("taken away   area   most important in   the network then says")
for i, part in enumerate(parts):
    gone = normalise(stack_images([scene.without(part) for scene in many]))
    with torch.no_grad():
        says = network(gone).argmax(1).mode().values
    first = (effects.argmax(1) == i).sum()
    print(f"{part:12} {area[i]:4.0%}   {first:9} of {len(many)}   {species_name(species[says])}")

# %% [markdown]
# Taking the wing cases away, nearly half of the beetle, costs little; antennae and horn, an eighth each, carry almost
# everything. Was your guess another one? *longicornis* shares its plain, oval wing cases with *furcata* and *polita*; only
# the antennae tell it from the one, and only the horn from the other.
#
# And here is the first explanation of this course that is **wrong, and shown to be**. Suppose a heat map spreads its
# colour evenly over the beetle. Added up for each part, it ranks the parts by their area, and says that the wing cases
# matter most. The third column says in how many of 200 beetles that is so. A map need not be silly to do this: a large
# part collects much of whatever falls on a beetle, even noise. Lesson 06 comes back to it.
#
# Is *longicornis* a fair example? We chose it. So here are all ten species, twenty beetles each. In how many is the largest part
# the most important one? (With the wing cases goes their pattern, so both count as one part.)

# %%
largest = {}
for number, name in enumerate(species):
    some = scenes("test", name, 20)
    worth = ground_truth_effects(network, some, number, parts=parts).nan_to_num(-torch.inf)
    size = stack_masks(some).sum((2, 3))
    size[:, PARTS.index("elytra")] += size[:, PARTS.index("pattern")]
    size = size[:, [PARTS.index(part) for part in parts]]
    largest[name] = int((worth.argmax(1) == size.argmax(1)).sum())
for name, hits in largest.items():
    print(f"{species_name(name):20} largest part most important in {hits:2} of 20")
print(f"all ten species: {sum(largest.values())} of 200")

# %% [markdown]
# So "the largest part matters most" is true of some species on every beetle, *guttata* and *lineata* among them, twins that differ
# in their pattern alone. It is true of others on none, and of about half of all beetles. A map that ranks by area is right there for
# no reason of its own, and nothing in it says when.

# %% [markdown]
# ### Taken away, or exchanged?
#
# Under the wing cases lies an abdomen that is plain and oval too: part of what they said is still there. And no species
# is without antennae. A gentler question exchanges a trait for another that beetles do have, and leaves everything else.

# %%
exchanges = {
    "outline, now long": {"outline": "long"},
    "pattern, now banded": {"pattern": "banded"},
    "horn, now none": {"horn": "none"},
    "antennae, now clubbed": {"antennae": "clubbed"},
}
with torch.no_grad():
    whole = network(normalise(stack_images(many)))[:, ours]
    costs = {
        name: whole - network(normalise(stack_images([s.with_trait(**new) for s in many])))[:, ours]
        for name, new in exchanges.items()
    }

# %%
plots.figure(
    plots.part_bars(
        {name: cost.mean().item() for name, cost in costs.items()},
        errors={
            name: (1.96 * cost.std() / len(many) ** 0.5).item() for name, cost in costs.items()
        },
        title="Exchanged rather than taken away, the wing cases count as well",
    ),
    alt="Bars with intervals for four exchanges: all four cost logits, horn and antennae about three, pattern about two.",
    caption="How far the logit of longicornis falls when one trait is exchanged, mean of 200 beetles.",
)

# %% [markdown]
# The bars of horn and antennae look alike now. Are they? Beetle by beetle the difference has an interval. And a network is one of
# many that the same training could have given, so here are five, from five seeds.

# %%
from xai_course.core import interval_text, mean_interval

seeds = {0: network} | {
    k: load_checkpoint(data_folder() / f"checkpoints/beetle_net_seeds/seed_{k}")[0]
    for k in (1, 2, 3, 4)
}
no_horn = normalise(stack_images([s.without("horn") for s in many]))  # also the exchange for "none"
other_antennae = {
    "taken away": [s.without("antennae") for s in many],
    "now clubbed": [s.with_trait(antennae="clubbed") for s in many],
    "now short": [s.with_trait(antennae="short") for s in many],
}
other_antennae = {how: normalise(stack_images(some)) for how, some in other_antennae.items()}
print("the horn's effect minus that of the antennae, logits (95 %), by what became of the antennae")
for seed, one in seeds.items():
    with torch.no_grad():
        leads = {how: (one(x) - one(no_horn))[:, ours] for how, x in other_antennae.items()}
    told = [f"{how} {interval_text(mean_interval(v), signed=True)}" for how, v in leads.items()]
    print(f"seed {seed}: {'; '.join(told)}")

# %% [markdown]
# The pattern of the wing cases is worth more than their removal suggested. And the *order* of horn and antennae depends on the
# question. Taken away, the antennae are ahead of the horn in three of five networks, and in two it is open. Exchanged for clubbed
# ones, they fall behind the horn in all five; exchanged for short ones, they do so in one. No figure is the wrong one. "What is a part worth?" has no answer until you say *compared with what*.
# Keep that sentence; half of this course is about it.

# %% [markdown]
# ## Where it breaks
#
# Two more limits of the answer key, shown rather than told.
#
# **Parts interact.** If parts acted independently, taking all of them away would cost the sum of what they cost one by
# one. Below: the sum of the five single effects against the effect of taking away all five at once.


# %%
def without_all(scene):
    """The scene's ground with the abdomen, which always stays."""
    for part in parts:
        scene = scene.without(part)
    return scene


with torch.no_grad():
    bare = network(normalise(stack_images([without_all(scene) for scene in many])))[:, ours]
together, one_by_one = whole - bare, effects.sum(1)

# %%
plots.figure(
    plots.scatter(
        one_by_one,
        together,
        title="Parts interact: single effects do not add up",
        x_label="sum of the single effects (logits)",
        y_label="effect of all parts at once (logits)",
        diagonal="they would add up",
    ),
    alt="Scatter plot of 200 beetles: the effect of removing all parts against the sum of removing each; the points do "
    "not lie on the diagonal.",
)
hornless = [scene.without("horn") for scene in many]
left = ground_truth_effects(network, hornless, ours, parts=["antennae"])
print(f"all at once: {together.mean():.2f} logits, one by one: {one_by_one.mean():.2f}")
print(f"antennae of beetles with horn: {mean[3]:.2f} logits, without horn: {left.mean():.2f}")

# %% [markdown]
# Taking away everything costs less than the single effects promise together. Without its horn the beetle is no
# *longicornis* any more, and then the antennae have little left to lose. So "the effect of the antennae" is a matter of
# what else is there. Lesson 06 therefore adds Shapley values, which average over all orders in which the parts could go.
#
# **Try it** on the beetle of section 6, in the explorer. Note the true effect of the horn. Take the antennae away, and look at the
# horn's effect again. What is left of it? Put them back and exchange them for clubbed ones: is that the same? (It needs a running
# notebook. On GitHub or paper the cell shows nothing; the line printed above tells it the other way round, over 200 beetles: what the
# antennae are worth without the horn.)

# %% tags=["nbval-ignore-output"]
from xai_course.explorer import Selection, explorer

explorer(Selection(species="Ellipsa_longicornis", seed=59))

# %% [markdown]
# **A beetle without wing cases was never in the training images.** The network's answer to it is an answer, but to a
# question that it was not trained for. An exchange can stay in the world that the network knows:

# %%
plots.figure(
    plots.gallery(
        [
            beetle.image(128),
            beetle.without("elytra").image(128),
            beetle.with_trait(horn="none").image(128),
        ],
        ["as it was", "without elytra:\nno species looks so", "horn none:\nthis is a polita"],
        columns=3,
        size=2.2,
        title="Some changes leave the world, some do not",
    ),
    alt="A longicornis; the same with a bare abdomen; the same without a horn, which is a polita.",
)

# %% [markdown]
# ## Exercises
#
# **1. Undo the normalisation** (5 minutes, easy). Write the way back from the network's input to pixels yourself. `mean`
# and `std` hold one number for each of the three channels.


# %% tags=["exercise"]
def to_pixels(images, mean, std):
    """Images (N, 3, H, W) as the network gets them, to pixels."""
    return ...


# %% tags=["solution"]
def to_pixels(images, mean, std):
    """Images (N, 3, H, W) as the network gets them, to pixels."""
    return images * std[:, None, None] + mean[:, None, None]


# %%
from xai_course.exercises.lesson_01 import check_pixels

check_pixels(to_pixels)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `normalised = (pixels - mean) / std`; solve for `pixels`. `mean[:, None, None]` has the shape (3, 1, 1), which
# broadcasts over height and width.
# </details>
#
# **2. The answer key in one line** (5 minutes, easy). `logit` is a function that takes a scene and returns a number. Return
# the effect of a part on it.


# %% tags=["exercise"]
def effect(logit, scene, part):
    """What the part adds to the logit."""
    return ...


# %% tags=["solution"]
def effect(logit, scene, part):
    """What the part adds to the logit."""
    return logit(scene) - logit(scene.without(part))


# %%
from xai_course.exercises.lesson_01 import check_effect

check_effect(effect)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `scene.without(part)` is the changed scene. A part that speaks for the class has a positive effect: the logit falls
# when it goes.
# </details>
#
# **3. Twins** (10 minutes, medium). List the names of the traits in which two species differ. `first` and `second` are
# values of `SPECIES`, such as `SPECIES["Ellipsa_polita"]`; a trait is read with `first.horn`, or `getattr(first, "horn")`.


# %% tags=["exercise"]
def differing(first, second):
    """Names of the traits in which two species differ."""
    return ...


# %% tags=["solution"]
def differing(first, second):
    """Names of the traits in which two species differ."""
    return [trait for trait in TRAITS if getattr(first, trait) != getattr(second, trait)]


# %%
from xai_course.exercises.lesson_01 import check_differing

check_differing(differing)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Go through the keys of `TRAITS` and keep those whose values differ.
# </details>
#
# Twins, once you have them, are the sharpest tool of this course: two species that one change turns into each other.

# %%
from itertools import combinations

for a, b in combinations(SPECIES, 2):
    traits = differing(SPECIES[a], SPECIES[b])
    if isinstance(traits, list) and len(traits) == 1:
        print(f"{species_name(a)} and {species_name(b)} differ in their {traits[0]} alone")

# %% [markdown]
# ## Verdict
#
# *An explanation of a convolutional network can be wrong, and one can tell.* **Confirmed, in this world.** "The largest
# part matters most" is a plausible explanation. For *longicornis* the key contradicts it on every one of 200 beetles; over all ten
# species it does so on about half. The ground it stands on could have failed: a part that goes changes no pixel elsewhere; a linear
# probe on rim or mean colour stays within what guessing gives.
#
# **Depends:** what a part is worth. Taken away or exchanged, alone or with others: the numbers differ, even in their order, and all
# are true answers to different questions. And nothing here carries over to photographs by itself; lesson 08 asks what does.

# %% [markdown]
# ## Take it with you
#
# `read_image` opens any image file the way a network needs it: upright, RGB, 8 bits, whatever it was. Pasted below its
# imports into an empty file, it runs.

# %%
import inspect

from IPython.display import Code, display

from xai_course.data import read_image

imports = "from pathlib import Path\n\nimport numpy as np\nfrom PIL import Image, ImageOps\n\n\n"
display(Code(imports + inspect.getsource(read_image), language="python"))

# %% [markdown]
# ## Quiz
#
# **1. A network is right on 99 % of the test images. On one image, its answer key says that the horn is worth nothing to
# the logit of the predicted class. What follows?**
#
# <details><summary>a) The key is wrong, since the horn distinguishes species.</summary>
#
# No. The key is the network's own answer. The horn distinguishes species *for us*; the network may have found another
# way, or something else says the same as the horn and is still there.
# </details>
# <details><summary>b) For this image and this class, taking the horn away does not change the logit.</summary>
#
# Yes, and no more than that. Another class's logit may change, the same class's may on another beetle, and a horn of
# another shape may do what a missing one does not.
# </details>
# <details><summary>c) The network is wrong on beetles with horns.</summary>
#
# No: it is right on 99 %. One can be right for reasons one would not have guessed.
# </details>
#
# **2. Why does a fair test of "nothing gives the species away" need the third bar of section 5?**
#
# <details><summary>a) To show how good the network is.</summary>
#
# No, the network is not in that picture. The probe is a linear function, much weaker than a network.
# </details>
# <details><summary>b) To show that chance is at 10 %.</summary>
#
# No, that follows from ten equally frequent species. The band says how far chance alone strays.
# </details>
# <details><summary>c) To show that the probe can find something at all.</summary>
#
# Yes. A probe that always answers at chance would have "proved" the same. A test must be able to fail.
# </details>
#
# **3. You fill a part of a normalised image with zeros and see no change. What have you compared with?**
#
# <details><summary>a) The mean colour of ImageNet, a warm grey.</summary>
#
# Yes. If the part was grey already, "no change" says little. Which baseline to compare with is a question of its own (lesson 05).
# </details>
# <details><summary>b) Black.</summary>
#
# No. Black is (0 − mean) / std, about −2 in each channel.
# </details>
# <details><summary>c) Nothing: zero is the absence of information.</summary>
#
# No. Every number is some colour, and the network reacts to it like to any other.
# </details>

# %% [markdown]
# ## References
#
# - L. Wittgenstein, *Philosophical Investigations* (1953), §293: the beetle in the box.
# - R. Hesse, S. Schaub-Meyer, S. Roth, *FunnyBirds: A Synthetic Vision Dataset for a Part-Based Analysis of Explainable AI
#   Methods*, ICCV 2023, arXiv:2308.06248: birds whose parts can be taken away, and networks trained with parts absent.
# - B. Clark, R. Wilming, S. Haufe, *XAI-TRIS: Non-linear Image Benchmarks to Quantify False Positive Post-hoc Attribution of
#   Feature Importance*, Machine Learning 2024, arXiv:2306.12816: methods beside edge detectors and noise.
# - S. Rao, M. Böhle, B. Schiele, *Towards Better Understanding Attribution Methods*, CVPR 2022, arXiv:2205.10435: the grid
#   pointing game, and networks of which one knows what they cannot have seen (DiFull).
# - A. Hedström and others, *The Meta-Evaluation Problem in Explainable AI: Identifying Reliable Estimators with MetaQuantus*,
#   TMLR 2023, arXiv:2302.07265: tests of the measures, where there is no key.
# - M. Yang, B. Kim, *Benchmarking Attribution Methods with Relative Feature Importance*, 2019, arXiv:1907.09701: scenes
#   put together from known parts to test explanations.
# - L. Arras, A. Osman, W. Samek, *CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
#   explanations*, Information Fusion 2022, arXiv:2003.07258.
# - R. Geirhos and others, *Shortcut Learning in Deep Neural Networks*, Nature Machine Intelligence 2020,
#   arXiv:2004.07780: why a right answer need not have the right reason.
# - O. Russakovsky and others, *ImageNet Large Scale Visual Recognition Challenge*, IJCV 2015, arXiv:1409.0575: the images
#   whose mean and standard deviation the field normalises with.
