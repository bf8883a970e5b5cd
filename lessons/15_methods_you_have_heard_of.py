# ---
# jupyter:
#   course:
#     question: "And LIME, SHAP, RISE, Score-CAM, feature visualisation?"
# ---

# %% [markdown]
# # Methods you have heard of
#
# > **You will be able to** say what LIME, SHAP, RISE, Score-CAM, Grad-CAM++, HiResCAM, LayerCAM, feature visualisation,
# > representer points and path sums compute; which of the article's three techniques each belongs to; what each costs; and which
# > of their published claims hold here.
# >
# > **You need** lesson 05 (Grad-CAM), lesson 06 (class activation maps), lesson 07 (blocks, occlusion) and the answer key of
# > lesson 01 (how far the logit falls when the scene is drawn without a part). Lesson 08 explains the readings of section 6.
# >
# > **Time** {minutes}. The computer needs about a minute.
# >
# > **For** everyone who has read one of these names in a blog or a paper. *Engineers*: sections 1 and 5, and *Take it with you*.
# > *Teachers*: sections 2 and 5 each make half an hour. *Policy makers*: the pictures of section 2, and the verdict.

# %% [markdown]
# ## The claims
#
# | method | technique | what its paper says |
# |---|---|---|
# | Grad-CAM++, HiResCAM, LayerCAM | 1, ReLUs | mark better places than Grad-CAM; HiResCAM: only places that the network used |
# | feature visualisation | 1, ReLUs | shows what a unit looks for |
# | Score-CAM | 2, fully connected | better than Grad-CAM, without gradients |
# | representer points | 2, fully connected | name the training images that speak for an answer |
# | path sums | 3, residual | a deep residual network works by its short paths |
# | RISE, LIME, SHAP | 3, actual minus expected | explain any model from its predictions alone; SHAP: the only fair shares |
#
# The methods that make a map of an image are all called in the same way: `method(network, images, classes)`. These maps are
# measured as in lesson 08: against the answer key, and against **nulls**, maps that know nothing of the network's answer. Feature
# visualisation, representer points and path sums get tests of their own. (Technique 3 has two senses, residual networks and
# *actual minus expected*: lesson 07.)

# %% [markdown]
# ## Predict
#
# Shapley values are the only way to share an answer among the segments of a picture that obeys four plausible rules
# (section 5). A map of bright edges knows neither the network nor the class. Yet this map ranks the parts of a beetle
# much as the answer key does: in lesson 08 the rank correlation is about 0.7.
#
# **How well will Shapley values rank the parts? (a) Clearly better than bright edges, (b) about as well, (c) worse.** Write it
# down, with the reason. Section 5 has the answer.

# %%
import torch
from IPython.display import Code, display

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
    top1_agreement,
)
from xai_course.core import interval_text, mean_interval, seed_interval
from xai_course.core.paths import data_folder
from xai_course.data import denormalise, normalise
from xai_course.storage import load_checkpoint

# %%
names, checkpoints = list(SPECIES), data_folder() / "checkpoints"


def network(name):
    """A network of the course, by the name of its checkpoint."""
    return load_checkpoint(checkpoints / name, classes=names)[0]


beetle_net, small_vgg = network("beetle_net"), network("small_vgg")
tests = [scene for name in names for scene in scenes("test", name, 5)]
images, masks = normalise(stack_images(tests)), stack_masks(tests)
labels = torch.arange(10).repeat_interleave(5)
parts = list(PARTS[:-1])  # all but the museum label

# %% [markdown]
# ## 1. Technique 1: four ways to weight a feature map
#
# A layer gives K maps. Each method adds them up with weights, and only the weights differ. $A_k$ is a map, and
# $g_k = \partial\,\text{logit}/\partial A_k$ the gradient of the logit at each place:
#
# | method | weight of map k at place (i, j) |
# |---|---|
# | Grad-CAM | the mean of $g_k$ over all places |
# | Grad-CAM++ | a weighted sum over all places of the positive $g_k$ |
# | HiResCAM | $g_k$ at that place |
# | LayerCAM | $g_k$ at that place, where it is positive |
# | Score-CAM (section 3) | the logit when only what $A_k$ shows is seen, put through a softmax over all maps: always positive |
#
# (The published Grad-CAM also sets negative values of the sum to zero; here `relu=True` does. Then the map does not show what
# speaks against the class.)

# %%
from xai_course.fully_connected import class_activation_map, score_cam
from xai_course.relu import default_layer, grad_cam, grad_cam_plus_plus, hires_cam, layer_cam

family = {
    "Grad-CAM": grad_cam,
    "Grad-CAM++": grad_cam_plus_plus,
    "HiResCAM": hires_cam,
    "LayerCAM": layer_cam,
    "Score-CAM": score_cam,
}
shown = [0, 10, 26]  # three of the fifty test scenes
maps = {name: method(small_vgg, images[shown], labels[shown]) for name, method in family.items()}
scaled = {name: found / found.abs().amax((1, 2, 3), keepdim=True) for name, found in maps.items()}

# %%
plots.figure(
    plots.overlay(
        [tests[k].image() for k in shown for _ in family],
        [found[k] for k in range(3) for found in scaled.values()],
        [*family] + [""] * 10,
        columns=5,
        size=1.9,
        unit="each map scaled to 1",
        title="One layer: Grad-CAM marks two horns against the class, the other methods do not",
    ),
    alt="Three beetles in rows, five maps each. On the first two, Grad-CAM colours the horn and what is near it blue, against the "
    "class; HiResCAM, LayerCAM, Grad-CAM++ and Score-CAM have orange there, or nothing. On the third all five are orange on antennae "
    "and body. HiResCAM and LayerCAM have the smallest spots.",
    caption="SmallVGG, a chain of six convolutions with a flattened head: a weight for each place. Only Grad-CAM and HiResCAM can "
    "be blue.",
)
print("the layer that was taken:", default_layer(small_vgg, images))

# %% [markdown]
# ### Which of them is exact?
#
# *Exact* means: the map adds up to the logit, minus the bias. HiResCAM's map does so if only linear steps follow the
# layer. Grad-CAM's map needs more: the head must take the mean over all places. Here is a network whose head is one
# flattened linear layer:

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
layers = torch.nn.Conv2d(3, 8, 5, stride=4), torch.nn.ReLU(), torch.nn.Flatten()
flat = torch.nn.Sequential(*layers, torch.nn.Linear(8 * 15 * 15, 10)).double().eval()
few = images[:3].double()
# the maps after the ReLU, and the logit and the bias of class 4
feature_maps, logit, bias = flat[:2](few), flat(few)[:, 4].detach(), flat[3].bias[4]
slopes = torch.autograd.functional.jacobian(lambda a: flat[2:](a)[:, 4].sum(), feature_maps)
mean_slopes = slopes.mean((2, 3), keepdim=True)
print(f"the three logits: {logit.abs().min():.2f} to {logit.abs().max():.2f} in size")
for name, weights in (("HiResCAM", slopes), ("Grad-CAM", mean_slopes)):
    missed = (weights * feature_maps).sum((1, 2, 3)) + bias - logit
    print(f"{name}: map and bias miss the logit by up to {missed.abs().max():.1g}")

# %% [markdown]
# BeetleNet takes the mean. So there Grad-CAM, HiResCAM and the class activation map (CAM) are, each divided by its largest
# value, one map under three names:

# %%
unit = {}  # each map divided by its largest value
for name, method in (
    ("Grad-CAM", grad_cam),
    ("HiResCAM", hires_cam),
    ("CAM", class_activation_map),
):
    found = method(beetle_net, images, labels)
    unit[name] = found / found.abs().amax((1, 2, 3), keepdim=True)
for name in ("HiResCAM", "CAM"):
    print(f"Grad-CAM and {name} differ by {(unit['Grad-CAM'] - unit[name]).abs().max():.0e}")

# %% [markdown]
# So the head decides whether the choice of weights matters. Section 6 asks which of these methods follow the answer key.

# %% [markdown]
# ## 2. Technique 1: what does a channel want to see?
#
# **Feature visualisation** asks for an input: which picture makes one channel as active as possible? It begins with a
# grey picture and changes it step by step. (The picture is kept smooth: it is a sum of waves, long waves change
# fastest, and each step moves it a little.)

# %%
from xai_course.data import IMAGENET_MEAN, IMAGENET_STD
from xai_course.relu import activations, feature_visualization

many = [scene for name in names for scene in scenes("test", name, 30)]
pictures = stack_images(many)
last_block = "blocks.2"


def visualise(model, channels, layer=None):
    """A picture for each channel of a layer, or for each class; pixels (K, 3, 64, 64)."""
    options = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "steps": 128}
    return feature_visualization(model, channels, layer=layer, **options)


def mean_activation(model, pixels):
    """How active each channel of the last block is, in the mean over its places: (N, K)."""
    parts = [activations(model, normalise(some), last_block) for some in pixels.split(100)]
    return torch.cat([part[last_block] for part in parts]).mean((2, 3))


real = mean_activation(beetle_net, pictures)
channels = real.mean(0).topk(5).indices.tolist()
drawn = visualise(beetle_net, channels, last_block)
tops = [pictures[real[:, k].argmax()] for k in channels]  # the scene that activates a channel most

# %%
plots.figure(
    plots.gallery(
        torch.cat([torch.stack(tops), drawn]),
        [f"channel {k}" for k in channels] + [""] * 5,
        columns=5,
        size=1.8,
        title="Above, the scene that activates a channel most; below, the picture made for it",
    ),
    alt="Two rows of five. Above, beetles; below, pictures of coloured textures, stripes, blots and grids. No part of a beetle can be "
    "recognised in any of the five.",
    caption="The five channels of BeetleNet's last block that are most active on 300 test scenes.",
)

# %% [markdown]
# Would you have guessed the scene from the picture? The picture is made from the network alone. Still, that picture
# need not show what the network does with *beetles*. Three checks:
#
# 1. Is the channel as active on any real scene as on its picture?
# 2. Does the same happen in an untrained network?
# 3. Can one build a network that answers every beetle as before, but whose picture shows what its maker likes?

# %%
from xai_course.experiments import ForgedVisualization
from xai_course.metrics import reinitialised

blank = reinitialised(beetle_net, images)
for name, model in (("BeetleNet", beetle_net), ("untrained", blank)):
    scene_values = mean_activation(model, pictures)
    every = list(range(0, scene_values.shape[1], 8))  # every eighth channel
    made = mean_activation(model, visualise(model, every, last_block))
    # on the picture made for the channel, beside the most active scene
    ratio = made[torch.arange(len(every)), every] / scene_values.amax(0)[every].clamp_min(1e-6)
    print(f"{name}: {(ratio > 1).sum()} of {len(every)} channels are more active on their picture")
    print(f"    than on any of 300 scenes; in the median {ratio.median():.1f} times as active")

# %% [markdown]
# So the pictures are inputs of a kind that the network never meets, and training is not what makes them so. Do they still say
# something about scenes? Let BeetleNet from *another training* judge how like each scene is to each picture. If the picture
# shows what its channel looks for, the scenes that are like it should activate the channel more. The null: the pictures of the
# other channels.

# %%
judge = network("beetle_net_seeds/seed_1")
every = list(range(0, real.shape[1], 8))  # every eighth channel
shown_to_judge = mean_activation(judge, visualise(beetle_net, every, last_block))
scenes_to_judge = mean_activation(judge, pictures)
shown_to_judge, scenes_to_judge = (  # each as its difference from the mean scene
    some - scenes_to_judge.mean(0) for some in (shown_to_judge, scenes_to_judge)
)
like = torch.nn.functional.cosine_similarity(scenes_to_judge[:, None], shown_to_judge[None], dim=2)
goes_with = torch.corrcoef(torch.cat([like.T, real[:, every].T]))[: len(every), len(every) :]
own_picture = goes_with.diag()
others = goes_with[~torch.eye(len(every), dtype=torch.bool)]
print(f"likeness and activation over 300 scenes, {len(every)} channels:")
print(f"    with its own picture   {interval_text(mean_interval(own_picture), signed=True)}")
print(f"    with another's picture {others.mean():+.2f}")

# %% [markdown]
# The pictures do say something: where a scene is more like the channel's own picture, the channel is more active.
# Likeness to another channel's picture hardly matters. Now the third check. We add one unit to the network. This unit
# looks for a smiling face, and gives 0 as soon as a picture holds much else, as our scenes do.

# %%
row, column = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
face = (row**2 + column**2 < 0.8).float() * 0.9
for at in (-0.3, 0.3):
    face[(row + 0.25) ** 2 + (column - at) ** 2 < 0.02] = 0.0
mouth = (
    ((row - 0.05) ** 2 + column**2 < 0.25) & ((row - 0.05) ** 2 + column**2 > 0.15) & (row > 0.15)
)
face[mouth] = 0.0
smile = normalise(face.expand(1, 3, 64, 64))[0]
grey = normalise(torch.full((1, 3, 1, 1), 0.5)).flatten()
forged = ForgedVisualization(beetle_net, smile, grey, target=4).eval()
before_and_after = torch.cat([visualise(beetle_net, [4]), visualise(forged, [4])])
with torch.no_grad():
    moved = max((forged(x) - beetle_net(x)).abs().max() for x in normalise(pictures).split(100))

# %%
plots.figure(
    plots.gallery(
        before_and_after,
        ["BeetleNet", "with one more unit"],
        columns=2,
        size=2.2,
        title="One more unit: another picture,\nthe same answers",
    ),
    alt="Two pictures made for one class. Left, by BeetleNet, coloured textures; right, after one unit was added, a smiling face. No "
    "logit of 300 test scenes has changed.",
    caption="Feature visualisation of the same class, with the same settings.",
)
print(f"largest change of any logit over {len(pictures)} test scenes: {moved:.1g}")

# %% [markdown]
# Only the picture has changed (Geirhos and others, 2024, did this to large networks). A feature visualisation asks the network
# about an input that it never meets. Use it to find hypotheses, and test them on real images, as `unit_report` of lesson 04 does.

# %% [markdown] tags=["further"]
# ## 3. Technique 2: Score-CAM, and the training images that speak for an answer
#
# **Score-CAM** needs no gradient. It lays each feature map over the image as a mask, and asks for the logit that is
# left: one pass for each channel. The softmax of these logits gives the weights. Its map is in section 1, its grades
# are in section 6.
#
# **Representer points** name training images, not pixels. Fit the last layer once more, with a penalty of $\lambda$
# times its squared weights, until the gradient of the loss is 0. Then the logit of an image $x$ is a sum over the $n$
# training images:
#
# $$\text{logit}_c(x) = \sum_{i=1}^{n} \alpha_{ic}\,\langle f_i, f(x)\rangle, \qquad \alpha_{ic} = \frac{y_{ic} - p_{ic}}{2 \lambda n}.$$
#
# $f$ are the features before the last layer (and a 1, for the bias), $y$ the labels, $p$ the fitted probabilities. A training image
# with a positive share speaks for the class $c$, one with a negative share against it.

# %%
from xai_course.fully_connected import (
    embed,
    fit_representer,
    refit_last_layer,
    representer_points,
)

training = [scene for name in names for scene in scenes("train", name, 100)]
examples = stack_images(training)
kinds = torch.arange(10).repeat_interleave(100)
fit = fit_representer(beetle_net, normalise(examples), kinds)
asked = images[2::5]  # one test image of each species
found = representer_points(fit, beetle_net, asked)
gap = (
    (found.contributions.sum(1) - found.logits.gather(1, found.classes[:, None])[:, 0]).abs().max()
)
print(f"the sum over {len(examples)} training images is the fitted layer's logit, up to {gap:.0e}")
print(f"fitted layer and network agree on {fit.agreement:.1%} of the training images")

# %%
which = 4
order = found.contributions[which].argsort(descending=True)
speak = [*order[:4].tolist(), *order[-4:].flip(0).tolist()]

# %%
plots.figure(
    plots.gallery(
        torch.cat([denormalise(asked[which : which + 1]), examples[speak]]),
        ["asked"] + [f"{found.contributions[which, k]:+.2f}" for k in speak],
        columns=9,
        size=1.4,
        title="Four training images that speak most for the answer, and four against it",
    ),
    alt="A beetle, then four beetles of its species that add +0.62 to +1.07 to the logit, and four of other species that take 0.18 "
    "to 0.92 from it.",
    caption="Numbers: what each adds to the logit of the answer's class.",
)

# %% [markdown]
# These images look like a reason. If they carry the answer, its logit should fall when they are removed and the layer
# is fitted again. Compared with what? Here are two nulls: twenty random images of the same class; and the twenty images of the class that
# have the largest $\alpha$, **the same twenty for every test image**.

# %%
generator = torch.Generator().manual_seed(0)


def drop(removed, k):
    """How far the answer's logit falls when training images are removed and the layer is refitted."""
    keep = torch.ones(len(examples), dtype=torch.bool)
    keep[removed] = False
    weight, _ = refit_last_layer(fit.features[keep], fit.labels[keep], start=fit.weight)
    return float(found.logits[k, found.classes[k]] - features[k] @ weight[found.classes[k]])


features = embed(beetle_net, asked).double()
features = torch.cat([features, torch.ones(len(asked), 1)], 1)
falls = {"its own top 20": [], "20 random of its class": [], "the class's 20 largest α": []}
shared = []
for k in range(len(asked)):
    own_class = (kinds == found.classes[k]).nonzero()[:, 0]
    top = found.contributions[k].topk(20).indices
    random = own_class[torch.randperm(len(own_class), generator=generator)[:20]]
    largest = fit.alphas[:, found.classes[k]].topk(20).indices
    for name, removed in zip(falls, (top, random, largest), strict=True):
        falls[name].append(drop(removed, k))
    shared.append(len(set(top.tolist()) & set(largest.tolist())) / 20)

# %%
plots.figure(
    plots.bars(
        {name: mean_interval(torch.tensor(values)) for name, values in falls.items()},
        title="An image's own top 20 are nearly the same 20\nfor every image, and cost the same",
        label="fall of the answer's logit, after 20 of 1000 training images are removed",
        signed=False,
    ),
    alt="Three bars. Without its own top 20, an answer's logit falls by 0.41; without the class's 20 largest alphas by 0.41, too; "
    "without 20 random images of the class by 0.15.",
    caption="Mean over ten test images, one of each species; lines: 95 % intervals. One network.",
)
for name, values in falls.items():
    print(f"{name:26} {interval_text(mean_interval(torch.tensor(values)))}")
print(f"its own top 20 and the class's 20 largest α share {sum(shared) / len(shared):.0%}")

# %% [markdown]
# Its own top 20 and the class's 20 largest α are nearly the same images, so the falls must be alike, too. The top 20 are not
# about *this* beetle. $\alpha$ is large where the fitted layer is unsure about a training image. So the top 20 are the
# hardest images of the class, nearly the same for every beetle. The sum is exact, but it is no reason for this one answer.
#
# **Finding mislabelled images** is the other use. An image's $\alpha$ for its own label is $(1-p)/2\lambda n$. It puts
# images in the same order as their loss in the fitted layer.

# %%
flips = torch.randperm(len(examples), generator=generator)[:20]
wrong = kinds.clone()
wrong[flips] = (kinds[flips] + 1 + torch.randint(0, 9, (20,), generator=generator)) % 10
doubt = fit_representer(beetle_net, normalise(examples), wrong)
own_alpha = doubt.alphas.gather(1, wrong[:, None])[:, 0]
with torch.no_grad():
    logits = torch.cat([beetle_net(x) for x in normalise(examples).split(100)])
loss = torch.nn.functional.cross_entropy(logits, wrong, reduction="none")
for name, score in (("largest α", own_alpha), ("loss of the network", loss)):
    hits = len(set(score.topk(20).indices.tolist()) & set(flips.tolist()))
    print(f"of 20 flipped labels among {len(examples)}, the 20 with the {name:20} hold {hits}")
print(f"by chance: {20 * 20 / len(examples):.1f}")

# %% [markdown]
# The largest α find all flipped labels, and so does the plain loss, which costs one pass. (The features here were
# learnt with the right labels. A network that has learnt wrong labels by heart is a harder case, not tested here.)

# %% [markdown] tags=["further"]
# ## 4. Technique 3: a network as a sum over paths
#
# A residual network with $n$ blocks has $2^n$ paths from the image to the logit: each block is passed by its skip or by
# its branch. With the gates held (lesson 04), the logit is exactly the **sum over all paths**. Veit and others (2016)
# found that in their network of 54 blocks the gradient comes by the *short* paths. They called such networks ensembles
# of shallow ones. Are ours?

# %%
from xai_course.residual import path_contributions, path_gradients

deep_names = ("beetle_net_deep", "beetle_net_deep_seeds/seed_1", "beetle_net_deep_seeds/seed_2")
deeps = [network(name).double() for name in deep_names]
scenes_used = images[::2].double()
asked_for = labels[::2]
by_length = {"the image": [], "constants (biases)": []}
gradients = {"trained": [], "untrained": []}
for seed, deep in enumerate(deeps):
    paths = path_contributions(deep, scenes_used, asked_for)
    sizes = torch.stack([paths.from_input.abs().mean(0), paths.biases.abs().mean(0)])
    for name, size in zip(by_length, sizes / sizes.sum(), strict=True):
        by_length[name].append(size)
    total = paths.from_input.sum(1) + paths.biases.sum(1)
    print(f"sum over all paths = logit: {(total - paths.logit).abs().max():.0e}")
    for name, model in (
        ("trained", deep),
        ("untrained", reinitialised(deep, scenes_used, seed=seed)),
    ):
        norms = path_gradients(model, scenes_used, asked_for).flatten(2).norm(dim=2).mean(0)
        gradients[name].append(norms / norms.sum())
lengths = torch.arange(10)
binomial = torch.tensor([1, 9, 36, 84, 126, 126, 84, 36, 9, 1]) / 512

# %%
plots.figure(
    plots.lines(
        {
            "gradient, trained": torch.stack(gradients["trained"]).mean(0),
            "gradient, untrained": torch.stack(gradients["untrained"]).mean(0),
            "number of paths": binomial,
            "logit, from constants": torch.stack(by_length["constants (biases)"]).mean(0),
            "logit, from the image": torch.stack(by_length["the image"]).mean(0),
        },
        lengths,
        title="Constants come by short paths, the image does not",
        x_label="length of the path: branches passed, of nine",
        y_label="share",
    ),
    alt="Five lines over lengths 0 to 9. Trained gradient, untrained gradient, the number of paths and the image's share of the logit "
    "all peak at lengths 4 to 6. The share of constants peaks at length 1, with 0.20.",
    caption="Means of three trainings of the nine-block network, 25 test scenes. The two shares of the logit add up to 1.",
)

# %%
mean_length = {
    name: [float((lengths * share / share.sum()).sum()) for share in rows]
    for name, rows in (gradients | by_length).items()
}
for name, values in mean_length.items():
    print(f"mean length, {name:20} {interval_text(seed_interval(values))}")
print("untrained, each:", ", ".join(f"{value:.2f}" for value in mean_length["untrained"]))
print(f"mean length, {'number of paths':20} {float((lengths * binomial).sum()):.2f}")

# %% [markdown]
# For the gradient, the figure takes the norm of the *sum* over all paths of one length. Paths of one length can cancel or add up.
# Veit and others took the norm of *single* paths, and added those. We measure this, too, on one network and four scenes: 512
# paths each.

# %%
from xai_course.residual.paths import single_path_norms

four = scenes_used[::7], asked_for[::7]
for name, model in (("trained", deeps[0]), ("untrained", reinitialised(deeps[0], scenes_used))):
    norms = single_path_norms(model, *four).mean(0)
    print(f"mean length by single paths, {name:10} {(lengths * norms).sum() / norms.sum():.2f}")

# %% [markdown]
# By this measure, too, training hardly changes the length of the paths.
#
# Short paths do carry much of the logit. But they carry constants: the biases of late blocks, which *have* only short
# paths. The image's own paths are about as long as paths chosen by chance. The gradient's, trained or not, are even a
# little longer. So the published finding does not hold for nine blocks. (It was made at 54 blocks; depth may decide.
# Veit's other finding, that one block can be left out, is another experiment, as then the later gates change, too.
# Lesson 07 did it.)

# %% [markdown]
# ## 5. Technique 3 without gradients: RISE, LIME, Shapley values
#
# *Actual minus expected* needs only predictions. Hide some of the picture, ask the network, and do it again, a few hundred times.
#
# - **RISE** hides random blots. A pixel's relevance says how much higher the output is, in the mean, when the pixel is shown.
# - **LIME** cuts the picture into segments, hides some of them at random, and fits a *linear* function to the answers. Its
#   coefficients are the relevance. Samples that hide little count more.
# - **Shapley values** are the mean, over all orders in which the segments may appear, of what a segment adds when it appears. For
#   ten segments and fewer this is computed exactly, for more it is sampled.
# - **Kernel SHAP** is one way to sample Shapley values: LIME's linear function, with other weights for the samples.
#
# Only Shapley values obey these four rules: the shares add up to the change of the logit; segments that always add the
# same get the same; a segment that never adds anything gets 0; if two logits are added, so are the shares.
#
# Here the segments are 64 squares of 8 × 8 pixels; occlusion, for comparison, covers the same squares one by one. (`superpixels`
# makes segments that follow the colours, as in the LIME paper.)
#
# (Two relatives have other names in this course: DeepSHAP is DeepLIFT, averaged over many baselines; GradientSHAP is expected
# gradients. Lesson 07 has both.)

# %%
from functools import partial

from xai_course.metrics import bright_edge_map
from xai_course.residual import lime, occlusion, rise, shapley_values

ask = {"batch_size": 128}
probed = {
    "occlusion, 64 passes": partial(occlusion, window=8, stride=8, **ask),
    # centred: a pixel without effect gets 0 (exercise 2)
    "RISE, 512": partial(rise, masks=512, output="logit", centred=True, **ask),
    "LIME, 512": partial(lime, samples=512, **ask),
    "Shapley values, 512": partial(shapley_values, samples=512, **ask),
    "bright edges (a null)": bright_edge_map,
}
some = [k for k in range(50) if k % 5 < 2]  # two scenes of each species
found = {name: method(beetle_net, images[some], labels[some]) for name, method in probed.items()}
look = [0, 8]
grid = {name: torch.nn.functional.avg_pool2d(found[name], 8) for name in probed}

# %%
plots.figure(
    plots.overlay(
        [tests[some[k]].image() for k in look for _ in probed],
        [
            torch.nn.functional.interpolate(maps[k : k + 1] / maps[k].abs().max(), scale_factor=8)[
                0
            ]
            for k in look
            for maps in grid.values()
        ],
        [*probed] + [""] * 5,
        columns=5,
        size=1.9,
        unit="each map scaled to 1",
        title="Four methods that hide: alike on the lower beetle, not on the upper",
    ),
    alt="Two beetles, five maps each, in cells of eight pixels. On the upper one occlusion is orange on head and body, RISE blue there, "
    "LIME and Shapley values blue on the head and orange in places. On the lower one all four, and the bright edges, are orange on an "
    "antenna and on the wing cases.",
    caption="BeetleNet, for the right species. All maps as means over cells of 8 × 8 pixels.",
)

# %%
effects = ground_truth_effects(beetle_net, [tests[k] for k in some], labels[some])[:, : len(parts)]
own_masks = masks[some]
scores = {}
for name, maps in found.items():
    sums = part_relevance(maps, own_masks, parts)
    scores[name] = spearman_with_truth(sums, effects), top1_agreement(sums, effects)

# %%
plots.figure(
    plots.bars(
        {name: mean_interval(score) for name, (score, _) in scores.items()},
        title="Shapley values rank the parts as bright edges do",
        label="agreement with the answer key (rank)",
    ),
    alt="Five bars of rank agreement with the answer key: Shapley values 0.71, LIME 0.68, bright edges 0.68, occlusion 0.63, RISE 0.47. "
    "All intervals overlap.",
    caption="20 test scenes, one network; lines: 95 % intervals.",
)

# %%
edges = scores["bright edges (a null)"][0]
for name, (rank, top) in scores.items():
    print(f"{name:22} rank {interval_text(mean_interval(rank))}, top part {top.mean():.2f}")
print()
for name in list(scores)[:-1]:
    ahead = mean_interval(scores[name][0] - edges)
    print(f"{name:22} minus bright edges {interval_text(ahead, signed=True)}")

# %% [markdown]
# *Rank* is the rank correlation with the answer key. *Top part* is the share of scenes on which the most relevant part
# is the right one.
#
# The answer to the prediction is **(b), about as well.** The rules that make Shapley values unique are about how to
# *share* the answers to many questions. The rules do not make the questions good. Each question here is a picture with
# holes, filled with the mean colour, and the squares do not end where a part ends.
#
# What if the segments do end there? `shapley_values` takes any masks. We give it the parts themselves.

# %%
true_parts = own_masks[:, : len(parts)]  # 0 to 1 at each pixel
knowing = shapley_values(
    beetle_net, images[some], labels[some], segments=true_parts, samples=64, **ask
)
sums = part_relevance(knowing, own_masks, parts)
rank, top = spearman_with_truth(sums, effects), top1_agreement(sums, effects)
gain = mean_interval(top.double() - scores["Shapley values, 512"][1].double())
print(
    f"true parts as segments: rank {interval_text(mean_interval(rank))}, top part {top.mean():.2f}"
)
print(f"top part, gain over squares: {interval_text(gain, signed=True)}")

# %% [markdown]
# The ranking is no better. Whether the top part is found more often is open with twenty scenes. A part that is covered
# leaves a hole in the mean colour; a part that is *drawn away* shows what lies behind it. The answer key draws away,
# every mask covers.

# %% [markdown]
# ### Where it breaks: two runs, two maps
#
# The samples are random. Two runs with different seeds should give the same map. Do they?

# %%
from xai_course.core import map_similarity

counts = [256, 512, 1024]
two_scenes = images[[0, 26]], labels[[0, 26]]
alike = {}
for name, method, option in (
    ("RISE", partial(rise, output="logit", centred=True), "masks"),
    ("LIME", lime, "samples"),
    ("Shapley values", shapley_values, "samples"),
):
    rows = []
    for count in counts:
        runs = [
            method(beetle_net, *two_scenes, seed=seed, **{option: count}, **ask) for seed in (0, 1)
        ]
        pooled = [torch.nn.functional.avg_pool2d(run, 8) for run in runs]
        rows.append(map_similarity(*pooled).mean())
    alike[name] = torch.stack(rows)

# %%
plots.figure(
    plots.lines(
        alike,
        counts,
        log_x=True,
        title="After 1024 passes for each image, two runs still differ",
        x_label="passes for each image",
        y_label="rank agreement of two runs (64 cells)",
    ),
    alt="Rank agreement of two runs, from 256 to 1024 passes: Shapley values rise from 0.71 to 0.88, LIME from 0.46 to 0.63; RISE "
    "goes from 0.65 to 0.70. 1 would be the same map.",
    caption="Two scenes, two seeds. 1 would be the same order of all cells.",
)
for name, row in alike.items():
    print(
        f"{name:15} " + "   ".join(f"{c} passes {v:.2f}" for c, v in zip(counts, row, strict=True))
    )

# %% [markdown]
# For comparison: one map of Grad-CAM costs one pass forward, and one back to the last layer. If you get only
# predictions, as from a service, you need methods like these. Then show the maps of two seeds side by side.

# %% [markdown]
# ## 6. All readings at once
#
# First one reading, with the grades of lesson 08 on 100 beetles (section 5 had 20, so its numbers differ). Does the map
# rank the parts as the answer key does (*rank*)? Is its top part the key's (*top part*)? How much of the confidence is
# left after *deletion* (less is better)? The tables are on file.

# %%
from xai_course.experiments import MEASURES, grade
from xai_course.methods import HARD_NULL_MAPS, course_methods, further_methods, with_null_maps

beetles = [scene for name in names for scene in scenes("test", name, 20)]
columns = ("rank", "top part", "deletion, mean")
chosen = {name: MEASURES[name] for name in columns}
folder = data_folder() / "grades"
grades = grade(
    beetle_net,
    further_methods(),
    beetles[::2],
    measures=chosen,
    file=folder / "further.csv",
    progress=False,
)
before = with_null_maps(beetle_net, beetles, course_methods()) | HARD_NULL_MAPS
filed = grade(
    beetle_net,
    before,
    beetles,
    measures=chosen,
    file=folder / "beetle_net.csv",
    progress=False,
)
for name in ("LRP", "occlusion", "null: edges", "null: bright edges", "the key itself"):
    grades[name] = {column: values[::2] for column, values in filed[name].items()}
by_rank = sorted(grades, key=lambda name: -grades[name]["rank"].mean())

# %%
plots.figure(
    plots.matrix(
        [[grades[name][column].mean() for column in columns] for name in by_rank],
        by_rank,
        ["rank", "top part", "deletion (less is better)"],
        signed=False,
        label="mean over 100 beetles",
        title="By rank, Shapley values and LIME are level with bright edges",
    ),
    alt="A table. Rank: the key itself 1, Shapley values 0.76, LIME 0.75, bright edges and LRP 0.74, edges and occlusion 0.69, RISE 0.53, the maps "
    "of a layer 0.42 to 0.43. Top part: 0.34 to 0.45 for the methods of this lesson, edges 0.34. Deletion: Shapley values 0.10, LIME 0.11, the key itself 0.15.",
)
print("lead over the better edge map, 95 %:")
for name in further_methods():
    lead = {
        column: grades[name][column]
        - max(
            (grades[null][column] for null in ("null: edges", "null: bright edges")),
            key=lambda values: values.mean(),
        )
        for column in columns[:2]
    }
    print(
        f"    {name:15} rank {interval_text(mean_interval(lead['rank']))}, "
        f"top part {interval_text(mean_interval(lead['top part']))}"
    )

# %% [markdown]
# By rank no method of this lesson is clearly ahead of bright edges, and five of seven are behind. By top part only
# Score-CAM may be ahead. LIME and Shapley values do best at deletion, better than the key itself: deletion hides
# squares, and these two were made by hiding squares. So a good score at deletion is no proof here.
#
# Lesson 08 then reads each map in *all* reasonable ways (signed or by size, three keys, rank or top part or correlation, ...).
# It asks in what share of the readings a method is clearly above **every** null (edges, noise, the untrained network, another
# class, another image), and in what share clearly below the best null. Here are the methods of this lesson, made with
# 256 masks for RISE, 256 samples for LIME and 512 for Shapley values. The networks are 9 of lesson 08's 17, so LRP is
# above in 59 % of the readings here, and in 63 % there. One column takes the interval over species in place of beetles.
# Each of the last two columns adds one of lesson 08's harder nulls: the method's own map of another beetle of the same species;
# and the field guide, which knows the species' traits but no network. *Worst* and *best family*: the kind of network, of five,
# in which the share is smallest or largest.

# %%
from xai_course.experiments import (
    FIELD_GUIDE,
    NULL_LAYERS,
    SAME_SPECIES,
    load_sums,
    robust_share,
    specifications,
)

further = load_sums(data_folder() / "specification" / "further")
known = {sums.network: sums for sums in load_sums()}
same_networks = [known[sums.network] for sums in further]


def all_shares(layers, **interval):
    """A row for each method of this lesson, and for three others on the same networks."""
    rows = robust_share(specifications(further, layers=layers, **interval))
    others = ["LRP", "occlusion", "Grad-CAM"]
    rows += robust_share(specifications(same_networks, methods=others, layers=layers, **interval))
    return {row["method"]: row for row in rows}


by_species = all_shares(NULL_LAYERS, by_species=True)  # the stricter interval of lesson 08
shares, strict = all_shares(NULL_LAYERS), all_shares((*NULL_LAYERS, SAME_SPECIES))
guided = all_shares((*NULL_LAYERS, FIELD_GUIDE))
order = sorted(shares, key=lambda name: -shares[name]["above"])
headings = {
    "above every null": "above",
    "below a null": "below",
    "above, worst family": "lowest",
    "above, best family": "highest",
}
plots.figure(
    plots.matrix(
        [
            [
                *(shares[n][key] for key in headings.values()),
                *(other[n]["above"] for other in (by_species, strict, guided)),
            ]
            for n in order
        ],
        order,
        [
            *headings,
            "above, interval over species",
            "above, null same species too",
            "above, null field guide too",
        ],
        signed=False,
        fmt="{:.0%}",
        label="share of all readings",
        title="LIME and Shapley values are ahead of occlusion, and behind LRP",
    ),
    alt="A table of ten methods. Above every null: LRP in 59 % of the readings, LIME and Shapley values in about a third, occlusion in 14 %, Grad-CAM "
    "and Grad-CAM++ in 1 %. With intervals over species LRP has 17 %, LIME and Shapley values 11 %. With the same species as a null, 11 % at most.",
    caption=f"{len(further)} networks of {len({s.family for s in further})} families, 100 scenes each. LRP, occlusion and Grad-CAM for comparison.",
)
for name in order:
    row = shares[name]
    print(f"{name:15} above {row['above']:4.0%}, below {row['below']:4.0%}", end="; ")
    print(f"by family {row['lowest']:.0%} to {row['highest']:.0%}")
print("\nabove every null, interval over species:")
print(", ".join(f"{name} {by_species[name]['above']:.0%}" for name in order[:5]))
print(", ".join(f"{name} {by_species[name]['above']:.0%}" for name in order[5:]))
print("\nabove, with one null more:")
for name in order:
    print(f"{name:15} with the same species {strict[name]['above']:.0%}", end=", ")
    print(f"the field guide {guided[name]['above']:.0%}")
flat = [sums for sums in further if sums.family == "SmallVGG"]
row = {r["method"]: r for r in robust_share(specifications(flat))}
strictly = {r["method"]: r for r in robust_share(specifications(flat, by_species=True))}
own = robust_share(specifications([known["small_vgg"]], methods=["Grad-CAM"]))[0]
print("on SmallVGG, above every null:", end=" ")
print(
    ", ".join(f"{name} {row[name]['above']:.0%}" for name in ("HiResCAM", "LayerCAM", "Score-CAM")),
    end="; ",
)
print(f"Grad-CAM {own['above']:.0%}")
print(f"    over species: HiResCAM {strictly['HiResCAM']['above']:.0%}", end=", ")
print(f"LayerCAM {strictly['LayerCAM']['above']:.0%}")
for sums in load_sums(data_folder() / "specification" / "vgg_seeds"):
    found = {r["method"]: r["above"] for r in robust_share(specifications([sums]))}
    print(f"another training: HiResCAM {found['HiResCAM']:.0%}, LayerCAM {found['LayerCAM']:.0%}")
    found = {r["method"]: r["above"] for r in robust_share(specifications([sums], by_species=True))}
    print(f"    over species: HiResCAM {found['HiResCAM']:.0%}, LayerCAM {found['LayerCAM']:.0%}")

# %% [markdown]
# The table shows three things.
#
# - **The number of passes does not decide alone.** LIME (256 passes) and Shapley values (512) are above every null more
#   than twice as often as occlusion (64). RISE, with 256, is not. LRP, which looks inside and needs two passes, is
#   ahead of all.
# - **Weights for each place help if the head has them, too.** On SmallVGG, whose head is flattened, HiResCAM, LayerCAM and
#   Score-CAM are ahead of Grad-CAM. How far depends on the training: in two other trainings HiResCAM is above every null in 20 and 26 %
#   of the readings, LayerCAM in 27 and 3 %. The other networks take the mean, and there HiResCAM *is* Grad-CAM.
# - **No method says much about this one beetle.** With its own map of another beetle of the species as one more null,
#   LRP is above in 11 % of the readings, every other method in 3 % at most. With the field guide as one more, LRP is
#   above in 17 %, every other method in 5 % at most.

# %% [markdown] tags=["further"]
# ## Where it goes on
#
# Four methods that this lesson does not measure; the references are below.
#
# **Concept relevance propagation** asks LRP's question for one channel at a time: how much of the relevance went
# through the channel that finds horns? It joins sections 1 and 2: it shows a channel by the real images on which it was
# *relevant*, not by a made-up one.
#
# **Sparse autoencoders** look for directions in a layer that are rarely active and mean one thing each, because single channels
# often mean several. The demand of section 2 remains: a direction with a name needs a test on images that were not used to name
# it.
#
# **Prototype networks** are built to explain: the answer is a sum of similarities to stored pieces of training images. The sum is
# exact, as in section 3. The open question is the same, too: is a piece similar for the reason that we see in it?
#
# **B-cos networks** are trained so that their local linear map (lesson 04, *gates*) points in the direction of the input. The
# explanation is the network's own computation. The price: you must train such a network yourself.

# %% [markdown]
# ## Exercises
#
# **1. Shapley values of a small game** (10 minutes, medium). `worth` (2ⁿ,) holds what each coalition of n players is
# worth: bit p of the index says whether player p is in it. So `worth[0]` is what nobody is worth, `worth[0b101]` what
# players 0 and 2 are worth together. Return for each player the mean, over all orders of arrival, of what the player
# adds on arrival: a tensor (n,). `itertools.permutations` gives the orders.


# %% tags=["exercise"]
from itertools import permutations


def shapley(worth):
    """The Shapley value of each player, (n,)."""
    return ...


# %% tags=["solution"]
from itertools import permutations


def shapley(worth):
    """The Shapley value of each player, (n,)."""
    players = len(worth).bit_length() - 1
    values, orders = torch.zeros(players), list(permutations(range(players)))
    for order in orders:
        there = 0
        for player in order:
            values[player] += worth[there | 1 << player] - worth[there]
            there |= 1 << player
    return values / len(orders)


# %%
from xai_course.exercises.lesson_15 import check_shapley

check_shapley(shapley)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `n = len(worth).bit_length() - 1`. In each order begin with `there = 0`. Player p adds `worth[there | 1 << p] -
# worth[there]`; then p is there, too. At the end divide by the number of orders.
# </details>
#
# Now the players are horn, antennae and legs of one beetle. A coalition is the scene with only these of the three
# parts. The others are drawn away, not covered: this is the answer key's own game.

# %%
beetle, players = tests[20], ("horn", "antennae", "legs")


def seen(coalition):
    """The scene with only those of the three parts whose bit is set."""
    scene = beetle
    for bit, part in enumerate(players):
        if not coalition >> bit & 1:
            scene = scene.without(part)
    return scene


with torch.no_grad():
    worth = beetle_net(normalise(stack_images([seen(c) for c in range(8)])))[:, labels[20]]
values = shapley(worth)
if torch.is_tensor(values):
    print({part: round(value, 2) for part, value in zip(players, values.tolist(), strict=True)})
    print(f"sum {values.sum():.2f}; the logit changes by {worth[7] - worth[0]:.2f}")

# %% [markdown]
# **2. RISE, centred** (10 minutes, medium). `outputs` (M,) are a network's outputs under M masks (M, H, W); a mask is 1
# where a pixel is shown, 0 where it is hidden, and between at soft edges. Return for each pixel the covariance of
# output and mask over the M masks, divided by the variance of the mask at that pixel: (H, W).


# %% tags=["exercise"]
def centred(outputs, masks):
    """How much the output rises when a pixel is shown, (H, W)."""
    return ...


# %% tags=["solution"]
def centred(outputs, masks):
    """How much the output rises when a pixel is shown, (H, W)."""
    change, visible = outputs - outputs.mean(), masks - masks.mean(0)
    return (change[:, None, None] * visible).mean(0) / visible.square().mean(0)


# %%
from xai_course.exercises.lesson_15 import check_centred

check_centred(centred)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Take the mean off: `outputs - outputs.mean()`, and `masks - masks.mean(0)`. The covariance is the mean over the masks of their
# product; `[:, None, None]` lets (M,) multiply (M, H, W).
# </details>
#
# Do the means matter for a network? The published form does not take them off, so a pixel without effect does not get 0.

# %%
from xai_course.residual import random_masks

chances = random_masks((64, 64), 400, 7, 0.5).float()
picture = images[20:21]
covered = picture.mean((2, 3), keepdim=True) * (1 - chances[:, None])
with torch.no_grad():
    outputs = beetle_net(chances[:, None] * picture + covered)[:, labels[20]]
mine = centred(outputs, chances)
if torch.is_tensor(mine):
    published = (outputs[:, None, None] * chances).mean(0) / 0.5
    on_beetle = masks[20].amax(0) > 0.5
    for name, made in (("centred", mine), ("published", published)):
        print(
            f"{name:10} on the beetle {made[on_beetle].mean():+.2f}, beside it {made[~on_beetle].mean():+.2f}"
        )

# %% [markdown]
# ## Verdict
#
# **"Better places than Grad-CAM": depends on the head.** On SmallVGG, whose head has a weight for each place, HiResCAM is above
# every null in 44 % of the readings, LayerCAM in 37 %, Score-CAM in 37 %, Grad-CAM in 1 %. In two other trainings HiResCAM has
# 20 and 26 %, LayerCAM 27 and 3 %. With intervals over species in place of beetles little is left: in the three
# trainings HiResCAM has 11, 0 and 0 %, LayerCAM 2, 0 and 0 %. Where the head takes the mean over all places, HiResCAM
# is Grad-CAM. There, all of these methods are below a null far more often than above every null.
#
# **"Shows what a unit looks for" (feature visualisation): depends on what is asked.** The picture lies outside the data, and
# can be forged. In 8 of the 8 channels tried the picture makes the channel more active than any of 300 scenes does, in the
# trained network and in an untrained one. One more unit turns the picture of a class into a smiling face and changes no logit
# on any of the 300 scenes. Yet scenes that are like a channel's picture, as another training judges, activate the channel more:
# likeness and activation agree by 0.66, with another channel's picture by 0.04.
#
# **"The training images that speak for an answer" (representer points): exact as a sum, refuted as the reason for this
# answer.** Without its own top 20 an answer's logit falls by 0.41. Of these 20, 96 % are also among the class's 20 with the
# largest α, which are the same for every image. Without those the logit falls by 0.41, too, and without 20 random ones of the
# class by 0.15.
#
# **"A residual network works by its short paths": refuted for nine blocks.** By the norm of the sum over all paths of one length,
# the gradient's paths have a mean length of 5.32 in trained networks, of 5.26 in untrained ones, and of 4.50 by chance. By
# the norms of single paths, as Veit and others measured, the mean length is 4.82 in one trained network and 4.98 in an
# untrained one: training hardly changes it.
#
# **"The only fair shares" (SHAP): a theorem, but the map is no better for it.** On one network, by signed rank, Shapley
# values are level with bright edges: the difference is +0.03 (−0.05 to +0.12).
#
# **"From predictions alone" (RISE, LIME, SHAP): confirmed, but LRP, which looks inside, is ahead.** LIME is above every
# null in 35 % of all readings, Shapley values in 34 %, occlusion in 14 %, RISE in 13 %; LRP in 59 %. With intervals
# over species LRP has 17 %, LIME and Shapley values have 11 %, occlusion 4 %. With another beetle of the same species
# as a null, no method is above in more than 11 %; with the field guide, in no more than 17 %.
#
# **What you may conclude:**
#
# - "Published, and better than Grad-CAM" says little of your network: after two of three trainings HiResCAM did better
#   than LayerCAM, after the third LayerCAM did.
# - A picture of what a channel "wants to see" and a list of training images suggest a question. Answer it by an experiment on
#   real images.
# - "Exact" and "fair" speak of a sum. Ask which map that knows nothing the method was compared with.
# - You get only predictions? Here LIME and Shapley values were ahead of occlusion. Ask for the maps of two seeds.

# %% [markdown]
# ## Take it with you
#
# LayerCAM as code that needs nothing of this course. `snippet` makes such code of every function of the package, `lime` and
# `shapley_values` too. For a project leave `checks=False` out: then arguments and sums are checked.

# %%
from xai_course.snippets import snippet

source = snippet(layer_cam, checks=False)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty: dict = {}
exec(source, empty)
first = empty["layer_cam"](small_vgg, images[:2], layer="stages.2")
print("the same map:", torch.equal(first, layer_cam(small_vgg, images[:2], layer="stages.2")))

# %% [markdown]
# ## Quiz
#
# **1. Shapley values are the only ones that obey four rules. What follows for a map made of them?**
#
# <details><summary>a) It ranks the parts of a picture better than a map that does not obey them.</summary>
#
# No. The rules are about sharing the answers. They do not say which questions are asked, nor what fills the holes.
# </details>
# <details><summary>b) It adds up to exactly the change of the logit, whatever the network is.</summary>
#
# Yes, for any network. It is the change between the picture and the same picture with all segments hidden, for one filling.
# </details>
# <details><summary>c) Nothing that one could check: the rules are only plausible.</summary>
#
# No. The sum can be checked on every picture. So can the other rules.
# </details>
#
# **2. On BeetleNet HiResCAM and Grad-CAM are one map. Why?**
#
# <details><summary>a) Its head takes the mean over all places, so the gradient is the same at all places.</summary>
#
# Yes. Then the gradient at a place is the mean gradient.
# </details>
# <details><summary>b) Both use the last layer.</summary>
#
# No. On SmallVGG both use the last layer, too, and differ.
# </details>
# <details><summary>c) Both are exact for every network.</summary>
#
# No. HiResCAM is exact if only linear steps follow, Grad-CAM if the head also takes the mean.
# </details>
#
# **3. A visualisation of the class *tench* (a fish) shows a hand. A colleague concludes that the network looks at
# fishermen's hands. What would show it?**
#
# <details><summary>a) Visualisations from ten other random starts, which all show a hand.</summary>
#
# No. They agree on inputs that the network never meets. That says nothing of photographs.
# </details>
# <details><summary>b) Nothing: what a network looks at cannot be tested.</summary>
#
# No. The visualisation cannot show it, but real photographs can.
# </details>
# <details><summary>c) Photographs in which a covered hand lowers the logit of *tench* far more than another covered patch
# of that size.</summary>
#
# Yes. That is a test on real images, with a null.
# </details>

# %% [markdown]
# ## References
#
# - Chattopadhay and others: Grad-CAM++. WACV 2018, arXiv:1710.11063. Draelos, Carin: Use HiResCAM instead of Grad-CAM
#   for faithful explanations of convolutional neural networks. 2020, arXiv:2011.08891. Jiang and others: LayerCAM. IEEE
#   Transactions on Image Processing 2021. Wang and others: Score-CAM. CVPR Workshops 2020, arXiv:1910.01279.
# - Olah, Mordvintsev, Schubert: Feature Visualization. Distill 2017, doi 10.23915/distill.00007.
# - Geirhos and others: Don't trust your eyes: on the (un)reliability of feature visualizations. ICML 2024, arXiv:2306.04719.
# - Yeh and others: Representer Point Selection for Explaining Deep Neural Networks. NeurIPS 2018, arXiv:1811.09720.
# - Veit and others: Residual Networks Behave Like Ensembles of Relatively Shallow Networks. NeurIPS 2016, arXiv:1605.06431.
# - Petsiuk and others: RISE. BMVC 2018, arXiv:1806.07421. Ribeiro and others: "Why Should I Trust You?" (LIME). KDD 2016,
#   arXiv:1602.04938.
# - Lundberg, Lee: A Unified Approach to Interpreting Model Predictions (SHAP). NeurIPS 2017, arXiv:1705.07874. Shapley:
#   A Value for n-Person Games. 1953.
# - Achtibat and others: From attribution maps to human-understandable explanations through Concept Relevance
#   Propagation. Nature Machine Intelligence 2023, arXiv:2206.03208.
# - Bricken and others: Towards Monosemanticity. Transformer Circuits Thread, 2023 (sparse autoencoders).
# - Chen and others: This Looks Like That. NeurIPS 2019, arXiv:1806.10574 (prototypes).
# - Böhle and others: B-cos Networks: Alignment is All We Need for Interpretability. CVPR 2022, arXiv:2205.10268.
