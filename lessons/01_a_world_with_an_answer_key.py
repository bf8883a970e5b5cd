# ---
# jupyter:
#   course:
#     question: "What would it take to know that an explanation is wrong?"
# ---

# %% [markdown]
# # A world with an answer key
#
# > **You will be able to** draw a scene, change one part of it and nothing else, and measure what that part is
# > worth to a network; feed images from any folder to a network, and show a network's input as a picture again.
# >
# > **You need** lesson 00, and PyTorch tensors: indexing, shapes. (From Keras or NumPy? See
# > [Tensors](../docs/keras.md#tensors). Exercise 1 also *broadcasts*: its hint says how.)
# >
# > **Time** {minutes}. The computer needs about a minute.
# >
# > **For** everyone. *Engineers*: sections 3 to 5 work on your own folder of images. *Teachers*: the prediction and
# > section 6 make a lesson of their own. *Policy makers*: section 6; for more, the pictures, *Where it breaks* and the
# > verdict.

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
# This course tests one article, in Chinese, on the interpretability of convolutional networks. (We do not name it: what is
# tested is what it says.) The article names three techniques. A table says how each works and what it is good and bad at.
# Here is that table in our words, with the lesson that tests the three cells of each row:
#
# | technique | principle | claimed strength | claimed limit | tested in |
# |---|---|---|---|---|
# | **ReLU** | read the ReLU outputs: local features | simple, cheap | insensitive to noise in the input | [04](../notebooks/04_what_the_relus_let_through.ipynb), [05](../notebooks/05_rules_for_the_relus.ipynb) |
# | **fully connected layer** | read that layer, which joins the outputs of convolution and pooling: global features | better on complex tasks | costly, complex | [06](../notebooks/06_what_the_fully_connected_layer_adds_up.ipynb) |
# | **convolutional residual network** | compare the change of the model on the input with the expected change | suits inputs where texture matters | poor under changes during training | [07](../notebooks/07_what_each_block_changed.ipynb) |
#
# [Lesson 09](../notebooks/09_when_there_is_no_answer_key.ipynb), section 7, brings the nine verdicts together, one for
# each cell. (You need not understand the rows yet: lessons 04 to 07 explain them. “Insensitive to noise” sounds like a
# strength; the article calls it a limit. The third row is unclear in the article, too.) The article also prints a
# classifier (lesson 02), and ends with advice on performance (10), scalability (11) and security (12, 13). The article
# does not say how one would notice that an explanation is **wrong**. So here we test a claim of our own: *an
# explanation of a convolutional network can be wrong, and one can tell.*
#
# In lesson 00 one could not tell which of three explanations was right. A photograph has no answer key. So we build a
# world that has one.
#
# Others have built such worlds (*References*); *FunnyBirds* is the nearest to ours. Ours adds a null map beside every
# score.

# %% [markdown]
# ## Predict
#
# *Ellipsa longicornis* and *Ellipsa polita* differ in one thing: *longicornis* has a forked horn, *polita* has none. A
# network that is right on more than 99 of 100 beetles sees a *longicornis*, and names it correctly.
#
# We take away one part of the beetle at a time and read the logit of *longicornis*. **Without which part does the logit
# fall most: the wing cases (nearly half of the beetle's pixels), the horn, or the antennae (an eighth each)?** Decide,
# and write it down. Section 6 has the answer. (The first picture of the README and of the web site shows it for one
# beetle. If you have seen it, predict this: of 200 such beetles, in how many does each of the three matter most?)

# %% [markdown]
# ## 1. Ten species, four traits
#
# BeetleBox has ten species of imaginary beetles: see the picture above, and the table below. A species is a combination
# of four traits: the outline of the wing cases, the pattern on them, the horn, the antennae. No value of a trait
# belongs to one species alone, so no single trait gives the answer away. (*Clubbed* antennae have a knob at the end.)
#
# | | outline | pattern | horn | antennae |
# |---|---|---|---|---|
# | *Ellipsa furcata* | oval | plain | forked | clubbed |
# | *Ellipsa longicornis* | oval | plain | forked | long |
# | *Ellipsa monoceros* | oval | banded | single | short |
# | *Ellipsa polita* | oval | plain | none | long |
# | *Globaria cervina* | round | striped | forked | short |
# | *Globaria cincta* | round | banded | none | clubbed |
# | *Globaria maculata* | round | spotted | single | long |
# | *Tenuella guttata* | long | spotted | none | clubbed |
# | *Tenuella lineata* | long | striped | none | clubbed |
# | *Tenuella unicornis* | long | banded | single | short |

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
# A **scene** is a species and a seed. The seed decides everything else: place, size, direction, colours, ground, light,
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
# Here is one species with ten seeds. Its colour, place and ground do not tell the species.

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
# We drew every part, so we know which pixels it has. A **mask** holds, for each pixel, the share of it that a part
# takes: 1 inside, 0 outside, something between along an edge. What no part takes is ground. Under the wing cases lies
# the abdomen, the hind part of the body. It and the soft oval shadow are the same for every species, and always stay.

# %%
scene = Scene("Globaria_maculata", seed=4)
image, masks = scene.image(160), scene.masks(160)
parts_of_a_beetle = PARTS[:-1]  # all but the museum label
# each part on white
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
# A scene can be **changed so that nothing else moves**. Each call below gives a new scene. (The museum label is no part of
# a beetle. Lesson 03 needs it.)

# %%
changes = {
    "as it was": scene,
    "without horn": scene.without("horn"),
    "without pattern": scene.without("pattern"),
    "without elytra": scene.without("elytra"),
    "pattern striped": scene.with_trait(pattern="striped"),
    "outline long": scene.with_trait(outline="long"),
    "elytra recoloured": scene.recoloured("elytra", (0.9, 0.75, 0.2)),
    "other ground": scene.with_background(8),  # that of seed 8
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
# ### The check: nothing else moves
#
# We check it exactly, for every part of twenty beetles. We take a part away. How many pixels change in places where it
# did *not* lie? (Where it lay, pixels must change, or the check would be empty.)

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
# A network reads image files, not scenes. On disk, BeetleBox looks like any data set of yours: one folder for training and
# one for testing, and in each of them a folder for every class. The first call draws the images. Later calls only check
# that every file is there and unchanged.

# %%
from xai_course.beetlebox import write_beetlebox

root = write_beetlebox(progress=True)
for path in sorted(root.glob("train/Ellipsa_*"))[:4]:
    print(
        f"{root.name}/train/{path.name}: {len(list(path.glob('*.png')))} images, first {min(path.iterdir()).name}"
    )

# %% [markdown]
# torchvision's `ImageFolder` opens it: the names of the folders become the classes, in alphabetical order. Our
# `load_folders` opens both folders, and refuses what would cause trouble later: a class without images, or different
# classes in training and testing.

# %% tags=["nbval-check-output"]
from xai_course.data import load_folders

train, test = load_folders(root)
picture, label = train[1634]
print(f"{len(train)} training and {len(test)} test images, {len(train.classes)} classes")
print(
    f"image 1634: {picture.mode} picture of {picture.size} pixels, class {label} = {train.classes[label]}"
)

# %% [markdown]
# **Your own folder** works the same way, but it is seldom as clean. `check_folder` reads every file first, and prints one
# sentence for each problem. We break a small folder on purpose. Two files are *not* reported, since they can be read
# correctly: a greyscale picture, and one that the camera stored lying on its side.

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
(mine / "dogs" / "cut.png").write_bytes(cut_off)
for problem in check_folder(mine):
    print("-", problem.replace(str(mine), "mine"))

# %% [markdown]
# ## 4. What the network gets
#
# The **transform** stands between file and network. The article's transform resizes to 224 pixels and makes a tensor of
# numbers in [0, 1]. Then it normalises: each channel minus ImageNet's mean, divided by ImageNet's standard deviation. (A
# photograph that is not square gets other proportions.) We follow one image.

# %% tags=["nbval-check-output"]
from torchvision.transforms import functional as step

from xai_course.data import IMAGENET_MEAN, IMAGENET_STD, denormalise

resized = step.resize(picture, (224, 224))
pixels = step.to_tensor(resized)
normalised = step.normalize(pixels, IMAGENET_MEAN, IMAGENET_STD)
for name, tensor in {"pixels": pixels, "normalised": normalised}.items():
    print(f"{name:11} shape {tuple(tensor.shape)}, from {tensor.min():.2f} to {tensor.max():.2f}")

# %% [markdown]
# A network accepts numbers below zero; a screen does not. So undo the normalisation before you show the picture. The
# third panel shows a common mistake in explanations. An image of *zeros* looks like "nothing" in the code. It is not
# black, but the mean colour of ImageNet. Whoever fills in zeros compares the image with grey.

# %%
zeros = torch.zeros(3, 224, 224)

# %%
plots.figure(
    plots.gallery(
        [normalised.clamp(0, 1), denormalise(normalised).clamp(0, 1), denormalise(zeros)],
        ["normalised, shown as it is", "normalisation undone", "an input of zeros, undone"],
        columns=3,
        size=2.6,
        title="Undo the normalisation before you look",
    ),
    alt="Left a mostly black picture in which only antennae and highlights remain; in the middle the beetle in its right "
    "colours; right a plain warm grey square.",
)

# %% [markdown]
# `article_transform` does these three steps. `modern_transform` does the same with today's `torchvision.transforms.v2`, and
# can also vary the image. This is **augmentation**: the network sees the same beetle mirrored, turned, shifted or in other
# light, and the species stays the same. Not every variation is harmless here: a crop may cut off the horn, and then the
# name of the species is wrong. (Empty corners are filled with the mean colour, which is 0 for the network.)

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
# ## 5. Does anything else tell the species?
#
# Suppose that one species stood on moss more often than the others. Then a network could score well without looking at
# the beetle, and our answer key would be worthless. So we test it. A simple classifier gets *only* the rim of each
# picture (its outermost pixels), or *only* the mean colour. Does it beat chance? The classifier is a **linear probe**:
# the best linear function of the given numbers, found by *least squares* (the sum of its squared errors is the
# smallest), with a small penalty on large weights. (You need not follow the line with `solve`: in one step it finds the
# weights that a long training would find.)

# %%
from xai_course.data import in_memory, load_folders

train_set, test_set = (in_memory(part) for part in load_folders(root, modern_transform(64)))
(x, y), (x_test, y_test) = train_set.tensors, test_set.tensors


def probe(features, labels, test_features, test_labels):
    """Share of test labels that the best linear function of the features gets right."""
    mean, spread = features.mean(0), features.std(0) + 1e-6
    a, b = ((f - mean) / spread for f in (features, test_features))
    penalty = 10.0 * torch.eye(a.shape[1])  # small beside 4000 images
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
# in 95 % of cases pure guessing is off by less than 1.96 standard errors (see below)
margin = 1.96 * (chance * (1 - chance) / len(y_test)) ** 0.5

# %%
plots.figure(
    plots.shares(
        found,
        band=(chance - margin, chance + margin),
        band_label="pure chance (95 %)",
        title="Rim and mean colour do not tell the species; the picture does",
        label="test images that a linear probe gets right",
    ),
    alt="Three horizontal bars: rim (10.5 per cent) and mean colour (11.1) lie within the band of pure chance around ten "
    "per cent, the whole picture (33.5) far above it.",
)
for name, share in found.items():
    print(f"{name:24} {share:.1%}   (chance: {chance - margin:.1%} to {chance + margin:.1%})")

# %% [markdown]
# The band shows what pure guessing gives in 95 % of cases. The third bar shows that the probe *can* find something
# when there is something to find. The first two show that a *linear* function finds nothing in rim or mean colour. (Some
# beetles reach into the rim. The next cell says how little of it they cover.)

# %%
from xai_course.beetlebox import scenes, stack_masks

some = [scene for name in SPECIES for scene in scenes("test", name, 20)]
print(
    f"share of the rim that beetles cover: {rim(stack_masks(some).sum(1, keepdim=True)).mean():.1%}"
)

# %% [markdown]
# ## 6. The answer key
#
# Let $f$ be the logit that a network gives to a class. The true effect of a part on it is
#
# $$\text{effect}(\text{part}) = f(\text{scene}) - f(\text{scene without the part}).$$
#
# The network is asked twice, and one number is taken from the other. The difference is the network's *own* answer, and
# not what we, who drew the beetle, expect. Here is a trained network (lesson 02 trains one while you watch) and the
# beetle of the prediction, an *Ellipsa longicornis*. (In the charts, *elytra* are its wing cases.)

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
    "(3.6) and horn (2.8) are far ahead of elytra (0.6); head and legs are near 0.",
    caption="The answer key for one image. To the right: the logit falls when the part goes, so the part spoke for "
    "longicornis. To the left it rises.",
)

# %% [markdown]
# One image proves little. The chart shows the mean over 200 beetles of the species, with a 95 % **interval**: where the
# mean over all such beetles may lie, as far as chance goes. (For readers of the code: the *standard error* is the standard
# deviation divided by the root of the number of beetles. It says how far a mean is off by chance. In 95 of 100 cases it
# is off by less than 1.96 standard errors.) The lines below it say, for each part: its share of the beetle's pixels, in
# how many beetles it is the most important part, and what the network says most often without it.

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
# pixels of each part, then their shares
area = stack_masks(many).sum((2, 3))[:, [PARTS.index(part) for part in parts]]
area = (area / area.sum(1, keepdim=True)).mean(0)
print("taken away   area   most important in   the network then says")
for i, part in enumerate(parts):
    gone = normalise(stack_images([scene.without(part) for scene in many]))
    with torch.no_grad():
        says = network(gone).argmax(1).mode().values  # the most frequent answer
    first = (effects.argmax(1) == i).sum()
    print(f"{part:12} {area[i]:4.0%}   {first:9} of {len(many)}   {species_name(species[says])}")

# %% [markdown]
# The wing cases (*elytra*) are nearly half of the beetle, and taking them away costs little. Antennae and horn, an
# eighth each, carry almost everything. *longicornis* shares its plain, oval wing cases with
# *furcata* and *polita*. Only the antennae distinguish it from *furcata*, and only the horn from *polita*.
#
# This brings us to the first explanation that is **wrong, and shown to be wrong**. Suppose that a heat map spreads its
# colour evenly over the beetle. Added up for each part, it ranks the parts by their area, and says that the wing cases
# matter most. The third column says in how many of 200 beetles that is true. Better maps have this problem, too: some
# of their colour lies on the beetle by chance only, and most of that lies on the large parts (lesson 08).
#
# Is *longicornis* a fair example? We chose it. So here are all ten species, twenty beetles each. In how many is the largest part
# the most important one? (When the wing cases are taken away, their pattern goes, too. So both count as one part.)

# %%
largest = {}
for number, name in enumerate(species):
    some = scenes("test", name, 20)
    worth = ground_truth_effects(network, some, number, parts=parts)
    worth = worth.nan_to_num(-torch.inf)  # NaN: the species has no such part
    size = stack_masks(some).sum((2, 3))
    size[:, PARTS.index("elytra")] += size[:, PARTS.index("pattern")]
    size = size[:, [PARTS.index(part) for part in parts]]
    largest[name] = int((worth.argmax(1) == size.argmax(1)).sum())
for name, hits in largest.items():
    print(f"{species_name(name):20} largest part most important in {hits:2} of 20")
print(f"all ten species: {sum(largest.values())} of 200")

# %% [markdown]
# So for some species "the largest part matters most" is true on every beetle. Among them are *guttata* and *lineata*, twins
# that differ in their pattern alone. For others it is true on none, and over all ten on about half. Where a map that ranks by
# area is right, it is right by accident, and nothing in the map says where.

# %% [markdown]
# ### Taken away, or exchanged?
#
# Under the wing cases lies an abdomen that is oval, too. So when they are gone, the network still sees an oval. And no
# species is without antennae: the network never saw such a beetle. Another question stays closer to real beetles: exchange
# a trait for another that beetles do have, and leave everything else.

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
        title="Exchanged and not taken away, the pattern of the wing cases counts, too",
    ),
    alt="Bars with intervals for four exchanges: all four cost logits, horn and antennae about three each, the pattern about "
    "two, the outline 0.4.",
    caption="How far the logit of longicornis falls when one trait is exchanged, mean of 200 beetles.",
)

# %% [markdown]
# A wrong pattern costs about 2 logits, more than no wing cases at all (0.6, in the chart over 200 beetles above). How
# can that be? A wrong pattern may speak for another species; wing cases that are gone speak for none. Likewise a beetle
# without its pattern has plain wing cases. Three species have plain ones, so these may speak for another species: in
# lesson 00 the loss of the pattern cost more than that of the wing cases. (The reasons are a guess: the key says how
# much, not why.)
#
# The bars of horn and antennae look alike now. Are they? On each beetle we take the horn's effect minus that of the
# antennae, and give the mean an interval. (The horn is always taken away. Below 0: the antennae have the larger
# effect.) And a training has a seed, too: the number from which its random choices start. Another seed gives another
# network, so here are five.

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
print("the horn's effect minus that of the antennae, in logits (95 %)")
print(f"{'antennae':9} " + " ".join(f"{how:23}" for how in other_antennae))
for seed, one in seeds.items():
    with torch.no_grad():
        # (whole − no horn) − (whole − other antennae): the whole beetle cancels
        leads = {how: (one(x) - one(no_horn))[:, ours] for how, x in other_antennae.items()}
    told = [f"{interval_text(mean_interval(v), signed=True):23}" for v in leads.values()]
    print(f"seed {seed:<4} {' '.join(told)}")

# %% [markdown]
# So the *order* of horn and antennae depends on the question. The table counts networks; **open**, an open difference,
# means that the interval contains 0.
#
# | the antennae are | antennae matter more | open | horn matters more |
# |---|---|---|---|
# | taken away | 3 | 2 | 0 |
# | now clubbed | 0 | 0 | 5 |
# | now short | 3 | 1 | 1 |
#
# Neither of the two charts (taken away, exchanged) is wrong. "What is a part worth?" has no answer until you say
# *compared with what*. Half of this course is about this sentence.

# %% [markdown]
# ## Where it breaks
#
# The answer key has two more limits.
#
# **Parts interact.** If parts acted independently, taking all of them away would cost the sum of what they cost one by
# one. The chart compares that sum with the effect of taking away all five at once.


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
        diagonal="if they added up",
    ),
    alt="Scatter plot of 200 beetles: the effect of removing all parts against the sum of removing each. All points lie "
    "below the diagonal: on average 4.0 logits at once, 7.4 one by one.",
)
hornless = [scene.without("horn") for scene in many]
left = ground_truth_effects(network, hornless, ours, parts=["antennae"])
print(f"all at once: {together.mean():.2f} logits, one by one: {one_by_one.mean():.2f}")
print(f"antennae of beetles with horn: {mean[3]:.2f} logits, without horn: {left.mean():.2f}")

# %% [markdown]
# Taking away everything costs less than the single effects add up to. Without its horn the beetle is no *longicornis* any
# more, and then it matters little whether the antennae are there. So "the effect of the antennae" depends on what else is
# there. Lesson 08 therefore adds Shapley values, which average over all orders in which the parts can be taken away.
#
# **Try it** on the beetle of section 6, in the explorer. Note the true effect of the horn. Take the antennae away, and look at the
# horn's effect again. What is left of it? Put them back and exchange them for clubbed ones: is that the same? (It
# needs a running notebook. On GitHub or paper the cell shows nothing.)

# %% tags=["nbval-ignore-output"]
from xai_course.explorer import Selection, explorer

explorer(Selection(species="Ellipsa_longicornis", seed=59))

# %% [markdown]
# On this beetle the horn is worth 2.8 logits; without antennae 0.1, with clubbed ones 1.4.
#
# **A beetle without wing cases was never in the training images.** The network still answers, but it was not trained for
# this question. An exchange can give a beetle that the network knows:

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
        title="One change gives no known species, the other a polita",
    ),
    alt="A longicornis; the same with a bare abdomen; the same without a horn, which is a polita.",
)

# %% [markdown]
# ## Exercises
#
# Stuck after the hint? The full course has the [solutions](../notebooks/solutions/01_a_world_with_an_answer_key.ipynb).
#
# **1. Undo the normalisation** (5 minutes, easy). Write the way back from the network's input to pixels yourself.
# `mean` and `std` are tensors (3,), one number for each channel. Do not clip the result.


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
# **2. One part with and without another** (5 minutes, easy). `logit` is a function that takes a scene and returns a number.
# How much of the effect of the part `first` depends on the part `other`? Return the effect of `first` while `other` is there,
# minus the effect of `first` when `other` is gone. It is 0 for parts that act independently.


# %% tags=["exercise"]
def interaction(logit, scene, first, other):
    """How far the effect of `first` falls when `other` is gone."""
    return ...


# %% tags=["solution"]
def interaction(logit, scene, first, other):
    """How far the effect of `first` falls when `other` is gone."""
    bare = scene.without(other)
    with_other = logit(scene) - logit(scene.without(first))
    without_other = logit(bare) - logit(bare.without(first))
    return with_other - without_other


# %%
from xai_course.exercises.lesson_01 import check_interaction

check_interaction(interaction)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Section 6 has the effect of a part: the logit as it was, minus the logit without the part. You need it twice, the second
# time for the scene `scene.without(other)`. That makes four calls of `logit`.
# </details>
#
# **3. Twins** (10 minutes, medium). Return a list of the names of the traits in which two species differ, such as
# `["horn"]`. `first` and `second` are values of `SPECIES`, such as `SPECIES["Ellipsa_polita"]`; a trait is read with
# `first.horn`, or `getattr(first, "horn")`.


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
# The next cell lists all pairs of twins. The whole course uses them.

# %%
from itertools import combinations

for a, b in combinations(SPECIES, 2):
    traits = differing(SPECIES[a], SPECIES[b])
    if isinstance(traits, list) and len(traits) == 1:
        print(f"{species_name(a)} and {species_name(b)} differ in their {traits[0]} alone")

# %% [markdown]
# With a solution, four pairs: *furcata* and *longicornis* (antennae), *longicornis* and *polita* (horn), *monoceros* and
# *unicornis* (outline), *guttata* and *lineata* (pattern).

# %% [markdown]
# ## Verdict
#
# *An explanation of a convolutional network can be wrong, and one can tell.* **Confirmed, in this world.** "The largest
# part matters most" is a plausible explanation. For *longicornis* the key contradicts it on every one of 200 beetles; over all ten
# species it does so on about half. Two tests of this world could have failed, and did not: a part that goes changes no pixel
# elsewhere; a linear probe on rim or mean colour stays within what guessing gives.
#
# **Depends:** what a part is worth. Taken away or exchanged, alone or with others: the numbers differ, even in their order, and all
# are true answers to different questions. And nothing here carries over to photographs by itself; lesson 11 asks what does.

# %% [markdown]
# ## Take it with you
#
# `read_image` opens any image file the way a network needs it: upright, RGB, 8 bits. Pasted into an empty file, these lines
# run. For a project take `snippet(read_image)`: it also says what is wrong with a file.

# %%
from IPython.display import Code, display

from xai_course.data import read_image
from xai_course.snippets import snippet

source = snippet(read_image, checks=False)  # the function alone
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare. The file is the picture of section 3 that lies on its side.

# %% tags=["nbval-check-output"]
empty: dict = {"__name__": "pasted"}
exec(source, empty)
file = mine / "cats" / "on_its_side.jpg"
print("the same picture:", empty["read_image"](file).tobytes() == read_image(file).tobytes())

# %% [markdown]
# ## Quiz
#
# **1. A network is right on 99 % of the test images. On one image, its answer key says that the horn is worth nothing to
# the logit of the predicted class. What follows?**
#
# <details><summary>a) The key may be wrong here, since the horn distinguishes species.</summary>
#
# No. The key is the network's own answer. The horn distinguishes species *for us*. The network may have found another way, or
# something else says the same as the horn and is still there.
# </details>
# <details><summary>b) This logit is the same with the horn and without it.</summary>
#
# Yes, and no more than that. The logit of another class may change, or that of the same class on another beetle. And a horn
# of another shape may change this logit, even if a missing one does not.
# </details>
# <details><summary>c) The horn probably matters little to this network.</summary>
#
# No. One image and one class say nothing of the others.
# </details>
#
# **2. Why does a fair test of "nothing else tells the species" need the third bar of section 5?**
#
# <details><summary>a) To show that a network needs the whole picture.</summary>
#
# No, no network is in that chart. The probe is a linear function, much weaker than a network.
# </details>
# <details><summary>b) To show that chance is at 10 %.</summary>
#
# No, that follows from ten equally frequent species. The band says what chance alone can give.
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
# Yes. If the part was grey already, "no change" says little. What to compare with, the **baseline**, is a question of
# its own (lesson 07).
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
