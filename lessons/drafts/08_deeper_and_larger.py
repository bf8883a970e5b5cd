# ---
# jupyter:
#   course:
#     question: "Does a deeper, larger, longer-trained network explain itself better?"
#     minutes: 75
# ---

# %% [markdown]
# # Deeper and larger
#
# > **You will be able to** measure what depth, width, more images and longer training do to accuracy *and* to
# > explanations, with intervals over seeds; train on any number of images in constant memory; and say which part of a
# > ranking of methods carries over to another network and other pictures.
# >
# > **You need** lesson 05 (blocks and skip connections) and lesson 06 (the answer key, null maps, *skill*).
# >
# > **Time** 75 minutes with all exercises (30), of which the computer takes about one.
# >
# > **For** everyone. *Engineers*: sections 2, 6 and 7. *Teachers*: the prediction with sections 3 and 4 makes a lesson.
# > *Policy makers*: the prediction, section 5, section 7's pictures, and the verdict.

# %% [markdown]
# ## The claim
#
# The article ends with a sentence on each of performance, scalability and security. On **scalability** it says, in our words:
# *make the network deeper, give it more data, train it for more epochs*. It does not say what this would improve. For accuracy
# we can look. And for the article's own subject, the explanations?
#
# ## Predict
#
# Four ways to scale up a small network of 8 layers that has seen 4000 beetles five times: **depth** (to 56 layers), **width**
# (to four times as many channels), **data** (to 20,000 beetles, seen once each), **epochs** (to 20).
#
# Explanations are graded against the answer key of *the network that they explain*; skill is how far the best of four methods
# is above the best map that knows nothing. **Which of the four raises the skill most when it is doubled, and does any lower it?**
# Section 5 has the answer.

# %%
my_order = ["data", "depth", "epochs", "width"]  # change the order: the largest rise first

# %%
import inspect

import torch
from IPython.display import Code, Markdown, display

from xai_course import show
from xai_course.beetles import SPECIES, scenes
from xai_course.data import DrawnScenes, data_folder
from xai_course.judge import mean_interval
from xai_course.ladder import seed_interval
from xai_course.models import BeetleNet, count_weights

names, tables = list(SPECIES), data_folder() / "experiments"

# %% [markdown]
# ## 1. What grows, and what it costs
#
# A residual block has two convolutions. With the stem before and the linear layer behind, a BeetleNet of $b$ blocks is $2b + 2$
# layers deep (not counting the 1×1 convolutions on skips that change the shape). Three blocks are 8 layers; 27 blocks are 56,
# as in the paper that introduced residual networks.


# %%
def multiplications(model):
    """Multiplications for one picture of 64 pixels, in millions, counted while it runs."""
    counted = []

    def count(layer, _inputs, output):
        counted.append(output[0].numel() * layer.weight[0].numel())

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 64, 64))
    return sum(counted) / 1e6


# %% tags=["nbval-check-output"]
print("blocks  layers  width   weights   million multiplications")
for blocks, width in [(3, 8), (3, 16), (3, 32), (9, 8), (27, 8)]:
    model = BeetleNet(depth=blocks, width=width)
    by_kernel = [
        m for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d) and "skip" not in n
    ]
    layers = len(by_kernel) + 1
    assert layers == 2 * blocks + 2
    print(
        f"{blocks:6} {layers:7} {width:6} {count_weights(model):9,} {multiplications(model):14.1f}"
    )

# %% [markdown]
# Twice the width costs four times as much, twice the depth twice as much. Now the third thing that can grow.
#
# ## 2. Any number of pictures, and no more memory
#
# The world on disk has 400 training pictures of each species. But a scene is a seed: picture number 400,000 of a species exists
# as well, as soon as somebody asks for it. `DrawnScenes` draws each picture when it is asked for, and forgets it.

# %%
display(Code(inspect.getsource(DrawnScenes.__getitem__), language="python"))
endless = DrawnScenes("train", per_species=1_000_000)
far = [endless.scene(label * 1_000_000 + 654_321) for label in range(10)]
show.figure(
    show.gallery(
        [scene.image(64) for scene in far],
        [name.replace("_", " ") for name in names],
        title=f"Ten of the {len(endless):,} training scenes that nobody stores",
    ),
    alt="Ten beetles, one of each species, on different grounds.",
    caption="The scene number 654,321 of each species.",
)

# %% [markdown]
# ### The identity
#
# Drawn on the fly must mean *the same pictures*. So: are they, to the bit, those of the folder on disk? And does memory stay
# where it is while pictures go by?

# %%
import tracemalloc

from xai_course.beetlebox import write_beetlebox
from xai_course.data import load_folders, modern_transform

folder, _ = load_folders(write_beetlebox(), modern_transform())
drawn = DrawnScenes("train", per_species=400)
some = range(0, 4000, 97)

# %% tags=["nbval-check-output"]
differ = max((folder[i][0] - drawn[i][0]).abs().max().item() for i in some)
print(f"{len(some)} pictures, on disk and drawn: largest difference {differ:.0e}")
print("same species:", all(folder[i][1] == drawn[i][1] for i in some))

# %%
for i in range(300):  # what is always kept, a few hundred small things, is now there
    endless[i]
tracemalloc.start()
held = {}
for count in (50, 100, 200):
    for i in range(count):
        endless[i * 7919]
    held[count] = tracemalloc.get_traced_memory()[0] / 1000
tracemalloc.stop()
print("pictures drawn   kB still held   kB if all had been kept")
for count, kilobytes in held.items():
    print(f"{count:14} {kilobytes:15.0f} {count * 3 * 64 * 64 * 4 / 1000:20,.0f}")

# %% [markdown]
# Drawing has its price: a picture takes a millisecond or two, about as long as a small network needs to learn from it. So a set that
# is seen many times is better kept (`in_memory`), and one that is seen once is better drawn.
#
# ## 3. One trial, and a table of many
#
# A trial trains one network from nothing, by the recipe of lesson 02 (batches of 32, AdamW, one cycle of the learning rate,
# mirror images), and measures: accuracy on 1000 test beetles; and on 40 of them how well four explanations agree with *this*
# network's answer key, beside the null maps. Along each curve one thing changes:

# %%
from xai_course.scaling import BASE, CURVES, EXPLAINED_BY, scale, train_and_explain

print("the base:", ", ".join(f"{name} {value}" for name, value in BASE.items()))
for name, changes in CURVES.items():
    print(f"{name:16}", "; ".join(" ".join(f"{k} {v}" for k, v in c.items()) for c in changes))
print("explained by:", ", ".join(EXPLAINED_BY))

# %% [markdown]
# *Data* is the subtle one. With more images *and* as many epochs, a network would also take more steps, and one would not know which of
# the two helped. So each network of that curve sees 20,000 pictures in all: 100 beetles 200 times, or 20,000 beetles once.
#
# All of it takes the better part of an hour on one core, so the course ships the table. It is made by `make experiments NAMES=scaling`, which
# shows its progress, and which you may stop and start again. This is the same call; it runs what the file does not hold.

# %%
curves = scale(tables / "scaling.csv")

# %% [markdown]
# Trust, but verify: one of these networks, trained and explained anew, now.

# %% tags=["nbval-check-output"]
spot = {**BASE, "epochs": 1, "seed": 0}
(stored,) = (row for row in curves["epochs"] if all(row[k] == v for k, v in spot.items()))
before = torch.get_num_threads()
torch.set_num_threads(1)  # as when the table was made: sums in another order round otherwise
anew = train_and_explain(**spot)
torch.set_num_threads(before)
for name in ("weights", "accuracy", "gradient", "LRP", "edges"):
    print(f"{name:9} as on file: {abs(anew[name] - stored[name]) <= 0.05}")

# %% [markdown]
# ## 4. The curves
#
# Each point is the mean of three networks from three seeds, and the band its 95 % interval, by Student's $t$: with three values it is wide,
# and it should be.


# %%
def along(rows, by, measure):
    """What a curve shows: place -> (mean, low, high) over seeds."""
    found = {}
    for row in rows:
        found.setdefault(by(row), []).append(measure(row))
    return {place: seed_interval(values) for place, values in sorted(found.items())}


def best(row):
    """The agreement of the best of the four methods with the network's own key."""
    return max(row[name] for name in EXPLAINED_BY)


def picture(lines, alt, caption=None, **options):
    """Show curves, each {place: (mean, low, high)}, over the same places."""
    places = list(next(iter(lines.values())))
    means = {name: [v[0] for v in line.values()] for name, line in lines.items()}
    bands = {
        name: ([v[1] for v in line.values()], [min(v[2], 1) for v in line.values()])
        for name, line in lines.items()
    }
    show.figure(show.lines(means, places, bands=bands, log_x=True, **options), alt, caption)


MEASURED = {
    "test accuracy": lambda row: row["accuracy"],
    "best explanation": best,
    "best map that knows nothing": lambda row: row["best null"],
}
NOTE = "Explanations: mean rank agreement with the network's own answer key, 40 test scenes."

# %% [markdown]
# ### Width

# %%
picture(
    {
        name: along(curves["width"], lambda row: row["width"], measure)
        for name, measure in MEASURED.items()
    },
    title="WIDTH TITLE",
    x_label="channels of the first stage (8 layers, 4000 images, 5 epochs)",
    y_label="share right, or agreement",
    alt="Three lines over five widths.",
    caption=NOTE,
)

# %% [markdown]
# WIDTH TEXT
#
# ### Data

# %%
picture(
    {
        name: along(curves["data"], lambda row: row["images"], measure)
        for name, measure in {
            "training accuracy": lambda row: row["training accuracy"],
            **MEASURED,
        }.items()
    },
    title="DATA TITLE",
    x_label="different training images (20,000 shown in all)",
    y_label="share right, or agreement",
    alt="Four lines over five numbers of images.",
    caption=NOTE,
)

# %% [markdown]
# DATA TEXT
#
# ### Epochs

# %%
picture(
    {
        name: along(curves["epochs"], lambda row: row["epochs"], measure)
        for name, measure in MEASURED.items()
    },
    title="EPOCHS TITLE",
    x_label="epochs of 4000 images",
    y_label="share right, or agreement",
    alt="Three lines over five numbers of epochs.",
    caption=NOTE,
)

# %% [markdown]
# EPOCHS TEXT
#
# ### Depth, with skip connections and without
#
# He and others (2016) saw that a plain network gets *worse* when it gets deeper, also on the images that it was trained on; with skip
# connections the depth helped.


# %%
def layers(row):
    """Layers of a BeetleNet: two a block, the stem and the head."""
    return 2 * row["blocks"] + 2


both = {"skips": curves["depth"], "plain": curves["depth, no skips"]}
picture(
    {
        f"{which}, {images}": along(rows, layers, lambda row, on=on: row[on])
        for which, rows in both.items()
        for images, on in {"training": "training accuracy", "test": "accuracy"}.items()
    },
    title="DEPTH TITLE",
    x_label="layers (8 channels in the first stage, 4000 images, 5 epochs)",
    y_label="share right",
    alt="Four lines over three depths.",
)

# %% [markdown]
# DEPTH TEXT

# %%
picture(
    {
        f"{which}, {what}": along(rows, layers, measure)
        for which, rows in both.items()
        for what, measure in {
            "best explanation": best,
            "best null": MEASURED["best map that knows nothing"],
        }.items()
    },
    title="DEPTH EXPLAINED TITLE",
    x_label="layers",
    y_label="agreement with the network's own key",
    alt="Four lines over three depths.",
    caption=NOTE,
)

# %% [markdown]
# DEPTH EXPLAINED TEXT
#
# ## 5. One number for each curve
#
# A curve is read best by one number with an interval: **how much does it rise, on the whole, each time the scale doubles?** That is a
# straight line through the points over $\log_2$ of the scale, one line a seed, and Student's interval over the three slopes:
#
# $$\text{slope} = \frac{\sum (u - \bar u)(y - \bar y)}{\sum (u - \bar u)^2}, \qquad u = \log_2 x .$$

# %%
from xai_course.scaling import slope_per_doubling

SCALES = {
    "width": ("width", lambda row: row["width"]),
    "data": ("data", lambda row: row["images"]),
    "epochs": ("epochs", lambda row: row["epochs"]),
    "depth": ("depth", layers),
    "depth, no skips": ("depth, no skips", layers),
}
JUDGED = {
    "accuracy": lambda row: row["accuracy"],
    "agreement, best method": best,
    "agreement, best null": lambda row: row["best null"],
    "skill": lambda row: row["skill"],
}


def slopes(curve, by, measure):
    """The rise per doubling, one a seed."""
    found = []
    for seed in sorted({row["seed"] for row in curves[curve]}):
        own = [row for row in curves[curve] if row["seed"] == seed]
        found.append(slope_per_doubling([by(r) for r in own], [measure(r) for r in own]))
    return found


rise = {
    what: {scale: seed_interval(slopes(*how, measure)) for scale, how in SCALES.items()}
    for what, measure in JUDGED.items()
}
lines = ["rise per doubling of | " + " | ".join(rise), "---|" * len(rise) + "---"]
for way in SCALES:
    cells = ["{:+.3f} ({:+.3f} to {:+.3f})".format(*rise[what][way]) for what in rise]
    lines.append(" | ".join([way, *cells]))
display(Markdown("\n".join(lines)))


# %%
def bars(found, **options):
    """Bars of triples (mean, low, high)."""
    means, ends = ({n: v[0] for n, v in found.items()}, {n: v[1:] for n, v in found.items()})
    return show.bars(means, errors=ends, **options)


measured = sorted(SCALES, key=lambda scale: -rise["skill"][scale][0])
show.figure(
    bars(
        {scale: rise["skill"][scale] for scale in measured},
        title="SKILL TITLE",
        label="rise of the skill per doubling (95 % interval, three seeds)",
    ),
    alt="Five bars with intervals.",
)
print("your order:    ", ", ".join(my_order))
print("measured order:", ", ".join(scale for scale in measured if scale in my_order))

# %% [markdown]
# SKILL TEXT
#
# ### Which method suffers, which gains?

# %%
by_method = {
    f"{method}": {
        scale: seed_interval(slopes(*how, lambda r, m=method: r[m]))
        for scale, how in SCALES.items()
    }
    for method in (*EXPLAINED_BY, "edges")
}
value = torch.tensor([[by_method[m][s][0] for s in SCALES] for m in by_method])
sure = torch.tensor(
    [[int(by_method[m][s][1] > 0) - int(by_method[m][s][2] < 0) for s in SCALES] for m in by_method]
)
show.figure(
    show.matrix(
        value,
        list(by_method),
        list(SCALES),
        tint=sure,
        fmt="{:+.3f}",
        label="orange: rises     white: open     blue: falls (95 %, three seeds)",
        title="METHODS TITLE",
    ),
    alt="Table of five maps by five ways to scale: the rise of the agreement per doubling.",
    caption="Rise, per doubling, of each map's agreement with the network's own key. *edges*: the edge detector, a null.",
)

# %% [markdown]
# METHODS TEXT
#
# ### Where it breaks: a hundred beetles by heart

# %%
few = [row for row in curves["data"] if row["images"] == 100]
many = [row for row in curves["data"] if row["images"] == 20_000]
for what in ("training accuracy", "accuracy", "confidence", "loss", "LRP", "best null", "skill"):
    values = [
        "{:6.2f} ({:5.2f} to {:5.2f})".format(*seed_interval([r[what] for r in rows]))
        for rows in (few, many)
    ]
    print(f"{what:18} 100 images: {values[0]}    20,000 images: {values[1]}")

# %% [markdown]
# BREAKS TEXT

# %% [markdown]
# ## 6. When one process is not enough
#
# MERGE 08_processes HERE

# %%
# MERGE 08_processes HERE

# %% [markdown]
# ## 7. From beetles to photographs
#
# Deeper and larger still: **EfficientNet-Lite0**, trained on 1.2 million photographs, with 1000 classes and pictures of 224 pixels, and no key. The same functions explain it
# that explained beetles.

# %%
from xai_course.grading import MEASURES, NULLS, course_methods, grade
from xai_course.photographs import PHOTOGRAPHS, photo_network, photograph, pixels
from xai_course.scaling import explain_photograph, explain_photographs, photograph_methods

photo_net, transform, classes = photo_network()
inputs = torch.stack([transform(photograph(name)) for name in PHOTOGRAPHS])
with torch.no_grad():
    probability, says = photo_net(inputs).softmax(1).max(1)
show.figure(
    show.gallery(
        pixels(inputs, transform),
        [
            f"{n}\n{classes[c]}, {p:.0%}"
            for n, c, p in zip(PHOTOGRAPHS, says, probability, strict=True)
        ],
        columns=4,
        title="Twelve photographs, and what the network calls them",
    ),
    alt="Twelve photographs with the predicted class and its probability below each name.",
    caption="Half of these are no object of ImageNet (brick, moon, galaxies); what is explained is the answer, right or wrong.",
)

# %%
shown = ("gradient", "guided backpropagation", "Grad-CAM", "LRP", "null: edges")
at = PHOTOGRAPHS.index("chelsea")
known = photograph_methods("chelsea")
maps = [known[name](photo_net, inputs[at : at + 1], says[at : at + 1])[0] for name in shown]
show.figure(
    show.overlay(
        [pixels(inputs[at], transform)] * 6,
        [None, *maps],
        ["chelsea", *shown],
        shared_scale=False,
        columns=3,
        title=f"Five maps of one answer, “{classes[says[at]]}”",
    ),
    alt="The photograph of a cat, and five maps of it.",
    caption="Each panel has its own scale. The last map has not seen the network.",
)

# %% [markdown]
# Every method of lesson 06 and the five nulls, on all twelve, with five measures that need no key (`make experiments NAMES=photographs`; some
# minutes). One of the 264 trials anew:

# %%
graded = explain_photographs(tables / "photographs.csv")

# %% tags=["nbval-check-output"]
(stored,) = (r for r in graded if (r["photo"], r["method"]) == ("coffee", "Grad-CAM"))
for name, found in explain_photograph("coffee", "Grad-CAM").items():
    print(f"{name:16} as on file: {abs(found - stored[name]) < 0.01}")

# %%
KEYLESS = (
    "deletion, mean",
    "deletion, blur",
    "insertion, mean",
    "insertion, blur",
    "randomisation",
)
real, nulls = list(course_methods()), list(NULLS)


def turned(measure):
    """1 where a high score is good, -1 where a low one is."""
    return 1 if measure.startswith("insertion") else -1


def on_photographs(measure, methods):
    """Scores (photographs, methods), turned so that higher is better."""
    found = {(row["photo"], row["method"]): row[measure] for row in graded}
    return turned(measure) * torch.tensor(
        [[found[name, method] for method in methods] for name in PHOTOGRAPHS], dtype=torch.double
    )


# %% [markdown]
# **First: does a method beat the best map that knows nothing?** As in lesson 06: orange if so (95 %, photograph by photograph), blue if the null is
# better.

# %%
value, tint = torch.full((2, len(real) + 1, len(KEYLESS)), torch.nan)
for column, measure in enumerate(KEYLESS):
    scores, null = on_photographs(measure, real), on_photographs(measure, nulls)
    opponent = null[:, null.mean(0).argmax()]
    value[:, column] = turned(measure) * torch.cat([scores.mean(0), opponent.mean()[None]])
    for row in range(len(real)):
        _, low, high = mean_interval(scores[:, row] - opponent)
        tint[row, column] = int(low > 0) - int(high < 0)
show.figure(
    show.matrix(
        value,
        [*real, "the best null map"],
        KEYLESS,
        tint=tint,
        label="blue: the best null is better     white: open     orange: the method is better",
        title="PHOTO TABLE TITLE",
    ),
    alt="Table of 17 methods and the best null by five measures without a key.",
    caption="Mean over twelve photographs. Deletion and randomisation: low is good; insertion: high is good.",
)

# %% [markdown]
# PHOTO TABLE TEXT
#
# **Second: is the order of the methods that of the beetles?** Spearman's correlation of the two rankings of 17 methods, by the same measure; and, for
# each measure, of the ranking on photographs with that by the *answer key* on beetles. Two rankings by pure chance are within ±0.48 in 95 of 100 cases.
# The interval is the bootstrap's over photographs: what twelve *others* would give.

# %%
from xai_course.checkpoints import load_checkpoint
from xai_course.scaling import carry_over

network, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
tests = [scene for name in names for scene in scenes("test", name, 20)]
key = "rank"
beetles = grade(
    network,
    course_methods(),
    tests,
    measures={measure: MEASURES[measure] for measure in (key, *KEYLESS)},
    file=data_folder() / "grades" / "beetle_net.csv",
)


def on_beetles(measure):
    """Mean scores of the methods (17,), turned so that higher is better."""
    sign = 1 if measure == key else turned(measure)
    return sign * torch.stack([beetles[method][measure].mean() for method in real])


same = {m: carry_over(on_photographs(m, real), on_beetles(m)) for m in KEYLESS}
to_key = {m: carry_over(on_photographs(m, real), on_beetles(key)) for m in KEYLESS}
show.figure(
    bars(
        {
            **{f"{m}: the same on beetles": v for m, v in same.items()},
            **{f"{m}: the key on beetles": v for m, v in to_key.items()},
        },
        title="CARRY TITLE",
        label="agreement of the two orders (95 % interval)",
    ),
    alt="Ten bars with intervals.",
)
shuffled = torch.stack(
    [torch.randperm(17, generator=torch.Generator().manual_seed(k)) for k in range(2000)]
)
from xai_course.judge import rank_agreement

chance = rank_agreement(shuffled.double(), torch.arange(17.0).double().expand(2000, -1))
print(f"two orders by chance: 95 % within ±{chance.abs().quantile(0.95):.2f}")

# %% [markdown]
# CARRY TEXT
#
# ## Exercises
#
# **1. Rise per doubling** (10 minutes, easy). `x` and `y` are lists of numbers. Fit a straight line to `y` over $\log_2 x$ by least squares, and
# return its slope.


# %% tags=["exercise"]
def doubling(x, y):
    """The rise of y for each doubling of x: one number."""
    return ...


# %% tags=["solution"]
def doubling(x, y):
    """The rise of y for each doubling of x: one number."""
    u, v = torch.tensor(x).log2(), torch.tensor(y)
    u, v = u - u.mean(), v - v.mean()
    return ((u * v).sum() / (u * u).sum()).item()


# %%
from xai_course.exercises.lesson_08 import check_slope

check_slope(doubling)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.tensor(x).log2()` gives u. Take the means away from u and y; then the slope is the sum of products, divided by the sum of the squares of u.
# </details>
#
# **2. Which scene is number i?** (5 minutes, easy). A set of scenes that nobody stores holds, species by species in the order of `names`, `per_species`
# scenes each, numbered from 0. Which species is item `index`, and which number has it within the species? It must work for ten million scenes
# *without a list of them*.


# %% tags=["exercise"]
def scene_of(index, per_species):
    """The name of the species, and the number within it."""
    return ...


# %% tags=["solution"]
def scene_of(index, per_species):
    """The name of the species, and the number within it."""
    label, number = divmod(index, per_species)
    return names[label], number


# %%
from xai_course.exercises.lesson_08 import check_item

check_item(scene_of)

# %% [markdown]
# <details><summary>Hint</summary>
#
# With 3 scenes a species, items 0, 1 and 2 are of the first one. One whole division gives the species, its rest the number: `divmod`.
# </details>
#
# **3. The mean of the means** (10 minutes, easy). Two processes share a batch of 5 images: one has 3, the other 2. Each computes
# the gradient of the mean loss *of its own images*. `DistributedDataParallel` takes the plain mean of the two gradients, and that
# is not the gradient of the batch. Write the function that is: `gradients` is a list of tensors, one from each process, `counts` how
# many images each had (some may have none).


# %% tags=["exercise"]
def gradient_of_batch(gradients, counts):
    """The gradient of the mean loss of all images."""
    return ...


# %% tags=["solution"]
def gradient_of_batch(gradients, counts):
    """The gradient of the mean loss of all images."""
    return sum(n * g for g, n in zip(gradients, counts, strict=True)) / sum(counts)


# %%
from xai_course.exercises.lesson_08 import check_gradient_of_batch

check_gradient_of_batch(gradient_of_batch)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A mean times its count is a sum. Sums may be added; then divide once, by the number of all images.
# </details>
#
# This is why `loader(share=)` leaves out what cannot be shared out evenly: with equal counts the plain mean is right.

# %% [markdown]
# ## Verdict
#
# VERDICT TEXT

# %%
for what in ("accuracy", "skill"):
    for way in SCALES:
        print(
            "{:9} per doubling of {:16} {:+.3f} ({:+.3f} to {:+.3f})".format(
                what, way, *rise[what][way]
            )
        )
for measure in KEYLESS:
    print(
        "order of the methods, photographs and beetles, {:16} {:+.2f} ({:+.2f} to {:+.2f})".format(
            measure, *same[measure]
        )
    )

# %% [markdown]
# ## Take it with you
#
# Two small functions for your own scaling study: the rise per doubling, and whether a ranking carries over.

# %%
from xai_course.snippets import snippet

display(Code(inspect.getsource(carry_over), language="python"))
source = snippet(slope_per_doubling, carry_over)
print(f"the two with all that they need: {len(source.splitlines())} lines")

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty: dict = {}
exec(source, empty)
line, order = ([1, 2, 4, 8], [0.3, 0.5, 0.4, 0.9]), on_photographs("deletion, blur", real)
print("the same slope:", empty["slope_per_doubling"](*line) == slope_per_doubling(*line))
print("the same order:", empty["carry_over"](order, on_beetles(key)) == to_key["deletion, blur"])

# %% [markdown]
# ## Quiz
#
# **1. A network is trained with ten times as many images, for as many epochs, and is better. What helped?**
#
# <details><summary>a) The images.</summary>
#
# Perhaps. It has also taken ten times as many steps, which alone may do it.
# </details>
# <details><summary>b) The longer training.</summary>
#
# Perhaps. Both changed, so this comparison cannot tell.
# </details>
# <details><summary>c) One cannot tell.</summary>
#
# Yes. Hold the number of steps, and change the number of different images: then the images are the only thing that differs.
# </details>
#
# **2. Accuracy rises from 0.97 to 0.99 with three seeds each. Which interval do you give?**
#
# <details><summary>a) Over the 1000 test images of one network.</summary>
#
# That says what other test images would give for *this* network, not what another training would give.
# </details>
# <details><summary>b) Over the seeds, by Student's t.</summary>
#
# Yes. The claim is about a recipe, and the recipe's results scatter from seed to seed. Three seeds give a wide interval; that is honest.
# </details>
# <details><summary>c) None, as three are too few.</summary>
#
# Three are few, and the interval says just that. Without one, the reader believes the difference more than you may.
# </details>
#
# **3. A method leads on the beetles by the answer key. Does it lead on photographs?**
#
# <details><summary>a) Yes, a good explanation is a good explanation.</summary>
#
# Section 7 measured how far the order carries over, by each measure. None carries it over whole.
# </details>
# <details><summary>b) One can only test it by measures that need no key, and these had their own opinions already on the beetles.</summary>
#
# Yes. What can be checked is whether the same measure gives the same order, and whether a method beats the null maps.
# </details>
# <details><summary>c) No, beetles are no photographs.</summary>
#
# Too strict: some of the order carries over, more than chance gives.
# </details>

# %% [markdown]
# ## References
#
# - He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv:1512.03385.
# - Balduzzi et al.: The Shattered Gradients Problem: If resnets are the answer, then what is the question? ICML 2017,
#   arXiv:1702.08591.
# - Hestness et al.: Deep Learning Scaling is Predictable, Empirically. 2017, arXiv:1712.00409.
# - Kaplan et al.: Scaling Laws for Neural Language Models. 2020, arXiv:2001.08361.
# - Nakkiran et al.: Deep Double Descent: Where Bigger Models and More Data Hurt. ICLR 2020, arXiv:1912.02292.
# - Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017, arXiv:1706.04599.
# - Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019, arXiv:1905.11946.
# - Student: The Probable Error of a Mean. Biometrika, 1908.
# - Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics 1979.
