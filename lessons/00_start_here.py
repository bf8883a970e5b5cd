# ---
# jupyter:
#   course:
#     question: "Three explanations of one photograph disagree: which is right?"
# ---

# %% [markdown]
# # Start here
#
# > **You will be able to** explain a real network's answer to a real photograph in three ways, measure how far the three
# > agree, and say what such pictures leave open.
# >
# > **You need** a little Python. You need not understand every line of code. If you cannot program, read the text and
# > the pictures; they stand on their own.
# >
# > **Time** {minutes}. The computer needs less than a minute.
# >
# > **For** everyone. Where to go from here is in *Reading paths* below.

# %% [markdown]
# Click on the first cell of code and press Shift + Enter. Do the same with each cell after it. The first cell checks
# your machine and prints one line for each thing that the course needs. After a ✗ it says what to do.
#
# Does it stop with `ModuleNotFoundError: No module named 'xai_course'`? Then this notebook runs in a Python that does not
# have the course. Close it, and open the course with `make lab`, or with the lines that the [README](../README.md) has
# for your system.

# %%
from xai_course.environment import check_machine

print(*check_machine(), sep="\n")

# %% [markdown]
# ## 1. One photograph, one network, one answer
#
# Here is a photograph. A network sorts photographs into the 1000 classes of ImageNet, a large data set. It gives each class
# a number, the **logit**. Softmax turns the logits into probabilities. The chart shows the five most likely classes.

# %%
import torch

from xai_course import plots
from xai_course.data import photograph, to_pixels
from xai_course.models import photo_network

network, transform, names = photo_network()
image = transform(photograph("camera"))[None]  # a batch of one image: (1, 3, 224, 224)

# %%
plots.figure(
    plots.gallery([photograph("camera")], size=4),
    alt="Black and white photograph: a man in a dark coat bends over a camera on a tripod that stands on a lawn; "
    "behind him a skyline and a pale sky.",
)

# %%
logits = network(image).detach()
probabilities, classes = logits.softmax(1)[0].topk(5)

# %%
plots.figure(
    plots.shares(
        {names[c]: p for c, p in zip(classes, probabilities.tolist(), strict=True)},
        title=f"The network's answer: {names[classes[0]]}",
        label="probability",
    ),
    alt="Horizontal bars of the five most likely classes: tripod has 94 per cent, each of the others about one or less.",
)

# %% [markdown]
# ## Predict
#
# There is a tripod (a stand with three legs) in the picture. But a tripod is seldom alone: there is a camera on it, and
# someone behind it. An explanation is meant to say what the answer rests on. **Which place will it name: the three
# legs, the camera, the man, or the lawn? Will three explanations name the same place?** Decide, then go on.

# %% [markdown]
# ## 2. Three explanations
#
# We ask three published methods about the class *tripod*. Each gives every pixel a number, its **relevance**. In the
# maps below, orange speaks for *tripod*, blue against it. (Not so in the gradient's map, whatever the colour bar says:
# there orange means that the logit rises when the pixel gets brighter; blue, when it gets darker.) Where the relevance
# is near 0, the photograph stays grey. The number below each map says how large a relevance must be to get the full
# colour. Each map has its own such number, so compare places within a map, not colours between maps.

# %%
from xai_course.relu import grad_cam, gradient
from xai_course.residual import occlusion


def explain(image):
    """The three explanations of the class that the network predicts."""
    return {
        "gradient": gradient(network, image),
        "Grad-CAM": grad_cam(network, image),
        "occlusion": occlusion(network, image, window=28, stride=28),
    }


def draw(image, maps, title, alt):
    """The photograph and its maps, each map on its own scale, since their units differ."""
    panels = [to_pixels(image[0], transform)] * (1 + len(maps))
    what = plots.overlay(
        panels, [None, *maps.values()], ["photograph", *maps], shared_scale=False, title=title
    )
    plots.figure(what, alt=alt)


# %%
maps = explain(image)
draw(
    image,
    maps,
    title="Three explanations of “tripod”, three different answers",
    alt="The photograph and three maps. Gradient: fine specks of both colours, densest in the sky around the camera. "
    "Grad-CAM: one large orange patch on the tripod's legs. Occlusion: squares, blue around the man's hands and the head of "
    "the tripod, both colours on its legs, orange on his coat and on the lawn.",
)

# %% [markdown]
# Look at the tripod's legs.
#
# - The **gradient** has specks everywhere, densest in the sky around the camera.
# - **Grad-CAM** has one orange patch, and it lies on the legs.
# - **Occlusion** is bluest on the man's head, chest and hands and at the top of the tripod: it says that these speak
#   *against* a tripod. Its orange lies on the coat and the lawn. The legs get some of both.
#
# So whatever you predicted, one of the three supports it (the camera: the gradient). Network, photograph and class are
# the same. If you had seen Grad-CAM alone, would you have doubted it?

# %% [markdown]
# ### How far do they agree?
#
# We cut the photograph into 64 tiles, in 8 rows of 8, and take each map's mean
# in each tile. Then we compare how two maps *rank* the 64 tiles. This is **Spearman's rank correlation**: 1 for the
# same order, 0 for unrelated orders, −1 for the reverse. There are two ways to ask:
#
# - **size only** (of each value, without its sign): do they agree on *where something matters*, for or against?
# - **with sign**: do they agree on what speaks *for* the class? (We do not ask the gradient: its sign says whether a
#   *brighter* or a *darker* pixel helps.)
#
# How high is this correlation for maps that never saw the network? We ask three kinds: smooth random noise, as coarse
# as Grad-CAM; the **edges** in the picture, where bright meets dark; the **centre**, a bump that is highest in the
# middle and falls towards the border. A map that never saw the network is a **null map**. A null map stands beside
# every score of this course.

# %%
from torch.nn.functional import avg_pool2d, interpolate

from xai_course.metrics import centre_map, edge_map


def spearman(first, second):
    """Rank correlation of maps, pair by pair: N maps and N maps give N numbers."""
    # argsort gives the order of the values; argsort of the order, the rank of each value
    ranks = [m.flatten(1).argsort(1).argsort(1).double() for m in (first, second)]
    a, b = ((r - r.mean(1, keepdim=True)) / r.std(1, keepdim=True) for r in ranks)
    return (a * b).sum(1) / (a.shape[1] - 1)  # the correlation of the ranks


def tiles(relevance, sign):
    """Means of maps (N, C, H, W) in 8 rows of 8 tiles, of the values or of their sizes."""
    return avg_pool2d((relevance if sign else relevance.abs()).sum(1, keepdim=True), 28)


PAIRS = (
    ("gradient", "Grad-CAM", False),
    ("gradient", "occlusion", False),
    ("Grad-CAM", "occlusion", False),
    ("Grad-CAM", "occlusion", True),
)


def agreement(image, maps):
    """Print how far each pair of maps agrees, and each map with two that never saw the network."""
    for first, second, sign in PAIRS:
        score = spearman(tiles(maps[first], sign), tiles(maps[second], sign)).item()
        print(
            f"{first + ' and ' + second + ',':25} {'with sign' if sign else 'size only'} {score:+.2f}"
        )
    for what, null in {"edges": edge_map, "centre": centre_map}.items():
        known = tiles(null(network, image), False)  # called like a method; ignores the network
        scores = [f"{m} {spearman(tiles(maps[m], False), known).item():+.2f}" for m in maps]
        print(f"{'null map, ' + what + ', with':25} {', '.join(scores)} (size only)")


# %%
torch.manual_seed(0)
noise = interpolate(torch.randn(2000, 1, 7, 7), (224, 224), mode="bilinear")
for sign in (False, True):
    by_chance = spearman(tiles(noise[:1000], sign), tiles(noise[1000:], sign))
    low, high = by_chance.quantile(torch.tensor([0.025, 0.975]).double())
    words = "with sign" if sign else "size only"
    print(f"two maps of noise,        {words} {low:+.2f} to {high:+.2f} (95 % of 1000 pairs)")
agreement(image, maps)

# %% [markdown]
# On *where something matters* the three agree a little (+0.31 to +0.41): hardly more than noise reaches by chance (up
# to +0.31). Now look at the line of the *edges*. Each of the three agrees better with the edges than with the other
# two. So the picture alone may explain this little agreement. On what speaks *for* the class (*with sign*), Grad-CAM
# and occlusion agree no better than noise.
#
# **Did we choose this photograph because the maps disagree? Yes.** On the next photograph the same methods, with the
# same settings, agree better. You cannot know in advance which kind of photograph yours is.

# %%
coffee = transform(photograph("coffee"))[None]
coffee_maps = explain(coffee)
draw(
    coffee,
    coffee_maps,
    title=f"“{names[network(coffee).argmax()]}”: here they agree better",
    alt="A cup of espresso and three maps. Gradient: specks on the coffee and on the rim. Grad-CAM: an orange patch on the "
    "inside of the cup. Occlusion: orange squares on the coffee, blue on the rim.",
)
agreement(coffee, coffee_maps)

# %% [markdown]
# But look at the line of the *centre*. The cup is in the middle of the picture. A bump in the
# middle knows nothing, and it agrees with all three maps, most of all with Grad-CAM.
#
# ## 3. What each of them does
#
# Let $f(x)$ be the logit of the class for the image $x$. Each of the three answers a question of its own.
#
# | | in words | equation | code |
# |---|---|---|---|
# | **gradient** | How fast does the logit change when one pixel changes a little? (A positive value: it rises when the pixel gets brighter.) | $\partial f / \partial x$ | [relu/gradients.py](../xai_course/relu/gradients.py) |
# | **Grad-CAM** | Near its end the network notes on small coarse pictures, the **feature maps** $A_k$, where it found something. How much does each place of the last feature maps add to the logit? (Each map counts by its mean gradient.) | $\sum_k w_k A_k,\quad w_k = \text{mean of } \partial f / \partial A_k$ | [relu/grad_cam.py](../xai_course/relu/grad_cam.py) |
# | **occlusion** | How far does the logit fall when one window is covered with the picture's mean colour? | $f(x) - f(x \text{ with the window covered})$ | [residual/occlusion.py](../xai_course/residual/occlusion.py) |
#
# (Ours keep the sign. As published, Grad-CAM drops the negative values, and the gradient's map shows each pixel's largest
# channel, without sign. See lessons 05 to 07.)
#
# ### The identity
#
# An **identity** is an equation that holds exactly. Here is that of Grad-CAM. In
# this network only a mean over places and one linear layer follow the last feature maps, which have 7 × 7 places. So
# the logit is a weighted sum of the maps' means, plus the bias of the class. Each of the 49 places counts for a 49th of
# a mean. So ∂f/∂A_k is the same at every place: the linear layer's weight for map k, divided by 49. This is the w_k of
# the table. What one place adds to the logit is its relevance, and all 49 places, plus the bias, make the logit (you
# need not follow these steps: the next cell checks the result):
#
# $$\sum_{i,j} \text{Grad-CAM}_{ij} + \text{bias} = f(x).$$
#
# (Our Grad-CAM map is enlarged to the photograph's size. Enlarging keeps the mean, so the sum over 49 places is 49
# times the mean.)

# %% tags=["nbval-check-output"]
for name, x, relevance in (
    ("tripod", image, maps["Grad-CAM"]),
    ("espresso", coffee, coffee_maps["Grad-CAM"]),
):
    total = 49 * relevance.double().mean() + network.head.bias[names.index(name)]
    logit = network(x)[0, names.index(name)]
    print(f"{name:9} sum + bias = {total:.2f}, logit = {logit:.2f}")
    print(f"{'':9} they differ by less than 0.001: {(total - logit).abs().item() < 1e-3}")

# %% [markdown]
# Does an exact sum make Grad-CAM the right map? Grad-CAM says how the logit is spread over the 49 places of the *last
# feature maps*. But a place there is not a place in the photograph: it also reacts to pixels far away. Take the middle
# place. How fast does the sum of its 1280 values (one in each feature map) change when a pixel changes? This is the
# gradient of that place. How much of that gradient lies in the 32 × 32 pixels under the place, a fiftieth of the
# photograph?

# %%
from xai_course.core import capture_layer

x = image.clone().requires_grad_()
with capture_layer(network) as seen:  # no layer named: the last feature maps
    network(x)
last = seen[0]  # the last feature maps, (1, 1280, 7, 7)
# like .backward(), but returns the gradient
(slope,) = torch.autograd.grad(last[0, :, 3, 3].sum(), x)
under_it = slope[..., 96:128, 96:128].abs().sum() / slope.abs().sum()
print(
    f"{under_it:.0%} of its gradient, by size, lies under the place; {1 - under_it:.0%} elsewhere"
)

# %% [markdown]
# So orange on the legs may stand for something that the network found elsewhere. The sum is exact. Which pixels the network
# used is still open.

# %% [markdown]
# ## 4. Which is right? An experiment
#
# Grad-CAM says that the legs speak strongly for *tripod*. Occlusion finds little there, some of it for and some against. We
# can test this: cover *all* the legs at once, and read the logit. But what do we cover them with? Nobody has a photograph
# of this man with a tripod that has no legs. So we try five fillings.

# %%
from xai_course.core import baseline_images

tripod = names.index("tripod")
legs = (slice(None), slice(None), slice(146, 224), slice(92, 172))  # the rows, the columns
fillings = {
    "mean colour": baseline_images(image, "mean")[legs],
    "blurred": baseline_images(image, "blur")[legs],
    "black": torch.full_like(image, -1)[legs],  # the input runs from −1 to 1
    "white": torch.full_like(image, 1)[legs],
    "lawn from beside": image[..., 146:224, 180:220].repeat(1, 1, 1, 2),
}
covered = {name: image.clone() for name in fillings}
for name, filling in fillings.items():
    covered[name][legs] = filling
with torch.no_grad():
    after = network(torch.cat(list(covered.values())))[:, tripod]
before = logits[0, tripod].item()
words = [f"{name}\nlogit {f:.1f}" for name, f in zip(covered, after.tolist(), strict=True)]

# %%
plots.figure(
    plots.gallery(
        [to_pixels(x[0], transform) for x in (image, *covered.values())],
        [f"as it was\nlogit {before:.1f}", *words],
        columns=6,
        title="Without its legs the logit of “tripod” falls, with every filling",
    ),
    alt="The photograph, where tripod has the logit 11.2, and five versions in which a rectangle around the legs is filled "
    "with grey, a blur, black, white, and lawn: the logit falls to between 6.2 and 7.3.",
)
print(
    f"legs covered: the logit falls by {(before - after).min():.2f} to {(before - after).max():.2f}"
)

elsewhere = [(0, 0), (0, 72), (0, 144), (73, 0), (73, 144), (146, 0)]  # upper left corners
moved = image.repeat(len(elsewhere), 1, 1, 1)
for one, (top, left) in zip(moved, elsewhere, strict=True):
    one[:, top : top + 78, left : left + 80] = image.mean((2, 3))[0, :, None, None]
with torch.no_grad():
    falls = before - network(moved)[:, tripod]
print(
    f"as large a rectangle elsewhere: by {falls.min():+.2f} to {falls.max():+.2f} (below 0: it rises)"
)

# %% [markdown]
# Each filling makes the logit fall, and by more than a rectangle of the same size in six other places. The legs, taken
# together, speak *for* a tripod. Was Grad-CAM right about them, then, and occlusion wrong? We cannot conclude that:
#
# - The **experiment** showed that the legs matter. The map did not. A map that looks convincing could just as well have
#   been wrong.
# - Occlusion made no mistake. It covered one small window at a time, and the rest of the legs was enough. That is another
#   question, and the map is the correct answer to it.
# - Our rectangle covers lawn as well as legs, and we had to *know* where the legs are.
# - The five fillings give five numbers. Which is *the* effect of the legs? That depends on what would stand there instead,
#   and the photograph does not say.

# %% [markdown]
# ## 5. A photograph with no object
#
# Here is a photograph of grass, and nothing else. What does the network say?

# %%
grass = transform(photograph("grass"))[None]
guess = network(grass).detach().softmax(1)[0].topk(4)
for p, c in zip(*(part.tolist() for part in guess), strict=True):
    print(f"{names[c]:14} {p:.1%}")

# %%
grass_maps = explain(grass)
draw(
    grass,
    grass_maps,
    title=f"Three explanations of a {names[guess.indices[0]]} that is not there",
    alt="A photograph of grass and three maps. Gradient: specks all over. Grad-CAM: orange nearly everywhere except for a "
    "round patch in the middle. Occlusion: nearly all squares blue, a few orange.",
)

# %% [markdown]
# The network is not sure: all probabilities are small. Still, a ball comes first.
#
# Grad-CAM finds support for a ball nearly everywhere. Occlusion says of most squares that the logit *rises* without
# them.
#
# Does the network see a large round shape? Then the answer should change when we destroy all large shapes. We cut the
# photograph into 64 tiles and shuffle them.


# %%
def shuffled(image, tile=28):
    """The tiles of a square image in random order."""
    # cut into 8 rows, each row into 8 tiles
    rows = torch.stack(image[0].split(tile, 1)).unfold(3, tile, tile)  # (8, 3, tile, 8, tile)
    parts = rows.permute(0, 3, 1, 2, 4).flatten(0, 1)
    parts = parts[torch.randperm(len(parts))]
    side = image.shape[3] // tile
    lines = [torch.cat(list(line), 2) for line in parts.split(side)]
    return torch.cat(lines, 1)[None]


torch.manual_seed(0)
mixed = torch.cat([shuffled(grass) for _ in range(16)])
with torch.no_grad():
    as_it_was, answers = network(grass).softmax(1)[0], network(mixed).softmax(1)

# %%
plots.figure(
    plots.gallery(
        [to_pixels(x, transform) for x in (grass[0], *mixed[:3])],
        [
            f"{kind}:\n{names[p.argmax()]} {p.max():.1%}"
            for kind, p in zip(
                ("as it was", *["shuffled"] * 3), (as_it_was, *answers[:3]), strict=True
            )
        ],
        columns=4,
        size=2.3,
        title="Grass in shuffled tiles: mostly still “soccer ball”",
    ),
    alt="The photograph of grass and three versions with shuffled tiles. The network's first guess stays soccer ball in two "
    "of the three, and is armadillo in the other.",
)
first = [names[i] for i in answers.argmax(1)]
for name in sorted(set(first), key=first.count, reverse=True):
    print(f"{name:14} first in {first.count(name)} of {len(first)} shuffled versions")

# %% [markdown]
# So the network does not see the outline of a large ball: shuffling would have destroyed it. What remains is the texture,
# the light and the greys. We do not know *why* they speak for a ball. Perhaps the network was trained on pictures of balls
# that lie on lawns. That sounds right, but we cannot test it here.

# %% [markdown]
# ## 6. Why this course draws beetles
#
# The philosopher Wittgenstein imagined that everyone has a box, and in it something called "a beetle". Nobody can look into
# another person's box. Then the boxes may hold different things, or nothing, and people would still talk about "beetles" in
# the same way.
#
# A network's reasons are like these beetles. We say "it looked at the legs" and point at a picture. But a formula made
# the picture, and the picture could look as plausible if the reason were another one. Looking at a wrong picture does
# not show that it is wrong. Only an experiment does, and in a photograph even the experiment is a rectangle with a
# filling.
#
# This course builds a world in which we can open the box. A program draws its beetles, part by part. So we can take away
# *one* part and change nothing else. We know what stands behind the part, and need no rectangle and no filling.

# %%
from xai_course.beetlebox import SPECIES, Scene, ground_truth_effects, species_name, stack_images
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.storage import load_checkpoint

beetle_net, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
beetle = Scene("Globaria_cervina", seed=15)
parts, words = ["elytra", "horn", "antennae", "legs"], ["wing cases", "horn", "antennae", "legs"]
key = ground_truth_effects(beetle_net, [beetle], list(SPECIES).index(beetle.species), parts=parts)[
    0
]
falls_by = [f"{round(effect, 1) + 0:.1f}" for effect in key.tolist()]  # + 0: no −0.0

# %%
plots.figure(
    plots.gallery(
        [beetle.image(160), *(beetle.without(part).image(160) for part in parts)],
        [
            f"as it was\nlogit {beetle_net(normalise(stack_images([beetle]))).max():.1f}",
            *(f"no {part}\nlogit falls by {c}" for part, c in zip(words, falls_by, strict=True)),
        ],
        columns=5,
        title=f"The logit of {species_name(beetle.species)} falls most without wing cases or horn",
    ),
    alt="A beetle, and four versions of it, each without one part. The logit of 4.2 falls by 3.9 without the wing cases, by "
    "2.8 without the horn, by 0.8 without the antennae, and not at all without the legs.",
)

# %% [markdown]
# These four changes are an **answer key**: the network's own answer, measured and not estimated. This course compares
# explanations with it. (The key has limits of its own, and lesson 01 shows them.)
#
# **Try it.** The next cell opens the *explorer* on this beetle. Bars show, for each part, its true effect and what the
# map gives it. The *pattern* of the wing cases (*elytra*) has bars of its own. Its true one is the longest: without it
# the wing cases are plain, and for this logit plain ones are worse than none (see lesson 01). Take the pattern away,
# and watch the logit, the map and the bars. Then press *Undo all changes* and try a few other methods: whose bars come
# closest to the order of the true ones? (The answer is below the cell. Without a running notebook, as on GitHub or
# paper, the cell shows nothing; look at the figure above.)

# %% tags=["nbval-ignore-output"]
from xai_course.explorer import Selection, explorer

explorer(Selection(species="Globaria_cervina", seed=15))

# %% [markdown]
# (On this beetle no method of the list has exactly the true order. *DeepLIFT* and *expected gradients*, two methods of
# lesson 07, come closest: they only put the horn before the wing cases.)

# %% [markdown]
# ## Where it breaks
#
# Back to the photograph, for two failures.
#
# **The window decides.** Occlusion has a setting, the size of its window. Nothing in the method says which size is
# right. Look at the legs: both colours in the left panel, almost only orange in the right one.

# %%
sizes = (28, 56, 112)
by_size = [maps["occlusion"], *(occlusion(network, image, window=w, stride=w) for w in sizes[1:])]

# %%
plots.figure(
    plots.overlay(
        [to_pixels(image[0], transform)] * 3,
        by_size,
        [f"window of {w} pixels" for w in sizes],
        shared_scale=False,
        columns=3,
        title="One method, three window sizes, three answers",
    ),
    alt="Three occlusion maps. With small windows the legs have blue and orange squares; with windows twice and "
    "four times as wide the square on the legs is by far the strongest, and orange.",
)
for w, relevance in zip(sizes, by_size, strict=True):
    print(f"window {w:3}: mean relevance on the legs {relevance[legs].mean():+.2f} logits")

# %% [markdown]
# **A little noise is enough.** We add noise of one grey level (of 255), too little to see. The network still says
# *tripod*. How do the maps change? We compare each map before and after, first by the ranks of all pixels, then by the
# sizes in the 64 tiles.

# %%
torch.manual_seed(0)
noisy = image + torch.randn_like(image) * 2 / 255  # the network's input runs from −1 to 1
noisy_logits = network(noisy).detach()
print(f"says {names[noisy_logits.argmax()]}, with {noisy_logits.softmax(1).max():.0%}")
for name, explainer in {"gradient": gradient, "Grad-CAM": grad_cam}.items():
    again = explainer(network, noisy)
    by_pixel = spearman(maps[name].sum(1), again.sum(1)).item()
    by_tile = spearman(tiles(maps[name], False), tiles(again, False)).item()
    print(f"{name:9} before and after: pixels {by_pixel:.2f}, tiles {by_tile:.2f}")

# %% [markdown]
# Pixel by pixel the gradient's order has largely changed (0.47). The order of its tiles changed less, and Grad-CAM
# hardly changed at all. Does that make Grad-CAM the better explanation? Suppose that somebody shows one fixed picture,
# say of a flower pot, as the explanation of every answer. That picture would not have changed either. Stable does not
# mean true: some explanations stay the same even when the network's weights are replaced by random ones (Adebayo and
# others, 2018).

# %% [markdown]
# ## Reading paths
#
# | you | read | then |
# |---|---|---|
# | **learn or do research** | [01 A world with an answer key](../notebooks/01_a_world_with_an_answer_key.ipynb) (60 minutes), [02 A classifier that runs](../notebooks/02_a_classifier_that_runs.ipynb) (55 minutes), [03 A classifier worth explaining](../notebooks/03_a_classifier_worth_explaining.ipynb) (60 minutes); the three techniques, [04](../notebooks/04_what_the_relus_let_through.ipynb), [05](../notebooks/05_rules_for_the_relus.ipynb), [06](../notebooks/06_what_the_fully_connected_layer_adds_up.ipynb) and [07](../notebooks/07_what_each_block_changed.ipynb); [08](../notebooks/08_grading_the_explanations.ipynb) and [09](../notebooks/09_when_there_is_no_answer_key.ipynb), how to grade them | [10](../notebooks/10_faster_and_better.ipynb), [11](../notebooks/11_deeper_and_larger.ipynb), [12](../notebooks/12_harder_to_fool.ipynb) with [13](../notebooks/13_explanations_under_attack.ipynb) in any order; [14](../notebooks/14_your_own_model.ipynb), your own model; [15](../notebooks/15_methods_you_have_heard_of.ipynb), LIME, SHAP, RISE and others |
# | **teach** | this lesson up to section 2 as an opening (20 minutes, predictions first; [solutions](../notebooks/solutions/00_start_here.ipynb)); [01](../notebooks/01_a_world_with_an_answer_key.ipynb), prediction and section 6 (20 minutes); the bug hunt of [02](../notebooks/02_a_classifier_that_runs.ipynb) in pairs (25 minutes) | `TEACHING.md`, beside the README: courses from 90 minutes to a term, with what to take of each lesson |
# | **build** | [a map of your own ResNet-50](../README.md#a-map-of-your-own-resnet-50), one cell; [14](../notebooks/14_your_own_model.ipynb), your own model; from Keras: [docs/keras.md](../docs/keras.md) | [01](../notebooks/01_a_world_with_an_answer_key.ipynb), sections 3 to 5, with your own folder of images; each *Take it with you*; [08](../notebooks/08_grading_the_explanations.ipynb), sections 3, 4 and 6 and the verdict, what a score is worth; [09](../notebooks/09_when_there_is_no_answer_key.ipynb), what to trust; [10](../notebooks/10_faster_and_better.ipynb), sections 6 to 10, what it costs; [12](../notebooks/12_harder_to_fool.ipynb), attacks; [13](../notebooks/13_explanations_under_attack.ipynb), sections 5 to 8: hidden shortcuts, damaged files, pictures of something else |
# | **decide, and do not program** | one path of 50 minutes, no code: the text and pictures of this lesson (21 minutes; of section 3 the second column of the table is enough); [01](../notebooks/01_a_world_with_an_answer_key.ipynb), section 6, up to *Taken away, or exchanged?* (5); [09](../notebooks/09_when_there_is_no_answer_key.ipynb), the chart *Which method for which question* (3); [a finished report](../README.md#your-own-model) of lesson 14 (4); the [words](../README.md#50-minutes-without-code) for chart, report and verdicts | what you may conclude: the verdicts of [09](../notebooks/09_when_there_is_no_answer_key.ipynb), [10](../notebooks/10_faster_and_better.ipynb), [11](../notebooks/11_deeper_and_larger.ipynb), [12](../notebooks/12_harder_to_fool.ipynb), [13](../notebooks/13_explanations_under_attack.ipynb) and [14](../notebooks/14_your_own_model.ipynb) (17) |

# %% [markdown]
# ## Exercises
#
# Put your own lines in place of the dots and run the cell. The next cell checks your function. Stuck after the hint?
# The full course has the [solutions](../notebooks/solutions/00_start_here.ipynb).
#
# **1. How many classes does it take?** (5 minutes, easy). `logits` is one image's tensor (K,), `names` the K class names.
# Return a list of names, the most likely class first: as few classes as possible whose probabilities add up to at least
# `share`. For the tripod and `share` = 0.9 it is `["tripod"]`.


# %% tags=["exercise"]
def likely_classes(logits, names, share):
    """The fewest classes that together have this probability, the most likely first."""
    return ...


# %% tags=["solution"]
def likely_classes(logits, names, share):
    """The fewest classes that together have this probability, the most likely first."""
    probabilities, places = logits.softmax(0).sort(descending=True)
    count = int((probabilities.cumsum(0) < share).sum()) + 1
    return [names[i] for i in places[:count]]


# %%
from xai_course.exercises.lesson_00 import check_likely_classes

check_likely_classes(likely_classes)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `logits.softmax(0).sort(descending=True)` gives the probabilities, the largest first, and where they stand. Their sums
# (`.cumsum(0)`) grow. How many of the sums are still below `share`? One class more is enough.
# </details>
#
# Once the check says yes, this cell tries your function on other photographs.

# %%
if check_likely_classes(likely_classes).status == "yes":
    for photo in ("camera", "rocket", "chelsea", "coins"):
        photo_logits = network(transform(photograph(photo))[None])[0].detach()
        found = likely_classes(photo_logits, names, 0.9)
        print(f"{photo:8} 90 % takes {len(found):3} of 1000 classes, {found[0]} first")

# %% [markdown]
# With a solution: 306 classes for the rocket, 3 for the cat (*chelsea*), 338 for the coins.
#
# **2. Do they point at the same place?** (5 to 10 minutes, medium). A rank correlation counts all tiles alike. Often
# only the strongest matter. Let `first` and `second` be maps (H, W). Take the places with the largest values of
# `first` (`share` = 0.1: a tenth of all places, rounded to a whole number), and equally many with the largest values of
# `second`. What share of the first places is also among the second? Return a number from 0 to 1.


# %% tags=["exercise"]
def overlap(first, second, share):
    """Share of the first map's top places that are also the second's."""
    return ...


# %% tags=["solution"]
def overlap(first, second, share):
    """Share of the first map's top places that are also the second's."""
    count = round(share * first.numel())
    a, b = (relevance.flatten().topk(count).indices for relevance in (first, second))
    return torch.isin(a, b).float().mean().item()


# %%
from xai_course.exercises.lesson_00 import check_overlap

check_overlap(overlap)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `count = round(share * first.numel())` places. `first.flatten().topk(count).indices` says which; `torch.isin(a, b)`
# is True for each element of `a` that is also in `b`. The mean of True and False needs numbers: `.float().mean()`.
# </details>
#
# Once the check says yes, the next cell takes the strongest tenth of the tiles. How much of it do two maps of the tripod
# have in common, and two maps of the coffee? By chance it would be about a tenth.

# %%
if check_overlap(overlap).status == "yes":
    for name, group in {"tripod": maps, "espresso": coffee_maps}.items():
        for a, b, sign in PAIRS:
            first, second = (tiles(group[m], sign)[0, 0] for m in (a, b))
            words = "with sign" if sign else "size only"
            print(
                f"{name:9} {a + ' and ' + b + ',':25} {words} {float(overlap(first, second, 0.1)):4.0%}"
            )

# %% [markdown]
# With a solution: 0 to 33 % on the tripod, 50 to 83 % on the espresso. A result of 0 % is less strange than it looks: a
# tenth is only six tiles, and even two maps that know nothing of each other share none of their six in about half of
# all cases.

# %% [markdown]
# ## Verdict
#
# **You can say**, from one photograph: what the network answered, how sure it was, and what happens to the answer when you
# change the photograph. You can say that on *tripod* two of three explanations do not agree about what speaks for it, and
# that on *espresso* they agree better. And you can say that maps which never saw the network agree with them, too.
#
# **You cannot say** which of the three maps shows the reason. A map that looks right may be wrong. So may a map whose
# values add up exactly to the logit (as Grad-CAM's do here, but for a constant), and so may a stable map. Someone who
# shows you one such picture has shown you the answer to *a* question. Ask which.

# %% [markdown]
# ## Take it with you
#
# The gradient alone: the equation in code, and the one function that it needs. Pasted into an empty file, it runs on any
# PyTorch classifier that returns logits (N, classes): `gradient(model.eval(), images)`. For a project take
# `snippet(gradient)`: it also checks its arguments and says what is wrong. Section 3 links to `grad_cam` and
# `occlusion`.

# %%
from IPython.display import Code, display

from xai_course.snippets import snippet

source = snippet(gradient, checks=False)  # the method alone
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty: dict = {}
exec(source, empty)
print("the same map:", torch.allclose(empty["gradient"](network, image), maps["gradient"]))

# %% [markdown]
# ## Quiz
#
# **1. A colleague gives you the Grad-CAM map of this network, with its numbers: orange on the tripod's legs. What do
# you know about the network?**
#
# <details><summary>a) The exact amount that each place of the last feature maps adds to the logit.</summary>
#
# Yes. For a network that ends in a mean and one linear layer the amounts and the bias add up to the logit. This is the
# answer to that question only.
# </details>
# <details><summary>b) That the pixels of the legs raise the logit, though not by how much.</summary>
#
# No. Each place of the last feature maps depends on pixels far away from it, and another method pointed elsewhere. The
# experiment with the legs showed that they matter; the picture did not.
# </details>
# <details><summary>c) Nothing exact: a heat map is always an estimate.</summary>
#
# No. The numbers are exact. What they mean for the photograph is what has to be tested.
# </details>
#
# **2. Occlusion with small windows has a blue square on the tripod's legs. What does that mean?**
#
# <details><summary>a) The legs speak against a tripod, at least slightly.</summary>
#
# No. When all of the legs were covered, the logit fell, with each of the five fillings.
# </details>
# <details><summary>b) The logit rose when this window was covered.</summary>
#
# Yes, this and nothing else. The rest of the legs was still there each time.
# </details>
# <details><summary>c) Perhaps nothing: a small value may be chance.</summary>
#
# No. Nothing in occlusion is drawn at random: the same window gives the same number again. With a wider window the equation
# asks another question.
# </details>
#
# **3. Why do maps of noise stand beside the three explanations?**
#
# <details><summary>a) Since noise has a correlation of exactly 0.</summary>
#
# No. On average it has, but a single pair of smooth maps can be far from 0, and that is the point.
# </details>
# <details><summary>b) To show that explanations are no better than noise.</summary>
#
# No. Noise can show that, and it can also show the reverse: on the coffee, some scores are far above it.
# </details>
# <details><summary>c) To show how high a score gets without any knowledge.</summary>
#
# Yes. A correlation of +0.3 sounds like agreement, until you see that random noise reaches it too.
# </details>

# %% [markdown]
# ## References
#
# - K. Simonyan, A. Vedaldi, A. Zisserman, *Deep Inside Convolutional Networks*, 2013, arXiv:1312.6034: the gradient.
# - R. Selvaraju and others, *Grad-CAM*, ICCV 2017, arXiv:1610.02391.
# - M. Zeiler, R. Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, arXiv:1311.2901: occlusion.
# - J. Adebayo and others, *Sanity Checks for Saliency Maps*, NeurIPS 2018, arXiv:1810.03292: explanations that stay the
#   same when the network's weights are replaced by random ones.
# - M. Tan, Q. Le, *EfficientNet*, ICML 2019, arXiv:1905.11946: the family of the network for photographs.
# - L. Wittgenstein, *Philosophical Investigations* (1953), §293: the beetle in the box.
# - The photographs come with scikit-image; who took them, and the terms: [data/README.md](../data/README.md).
