# ---
# jupyter:
#   course:
#     question: "Does a deeper, larger, longer-trained network explain itself better?"
# ---

# %% [markdown]
# # Deeper and larger
#
# > **You will be able to** measure what depth, width, more images and longer training do to accuracy *and* to
# > explanations, with intervals over seeds; train on any number of images without keeping them; and say which part of a
# > ranking of methods carries over to another network and other pictures.
# >
# > **You need** lesson 07 (blocks and skip connections) and lesson 08 (the answer key, null maps, *skill*).
# >
# > **Time** {minutes}. The computer needs one to two minutes.
# >
# > **For** everyone. *Engineers*: sections 2, 6 (*go further*) and 7. *Teachers*: the prediction with sections 3 and
# > 4 makes a lesson. *Policy makers*: the verdict; for more, the prediction, section 5 and section 7's pictures.

# %% [markdown]
# ## The claim
#
# The article ends with one sentence each on performance, scalability and security. On **scalability** it says, in our words:
# *make the network deeper, give it more data, train it for more epochs*. It does not say what this improves. We measure two
# things: the accuracy, and the article's own subject, the explanations.
#
# ## Predict
#
# Start from a small network: 8 layers, 4000 beetles, each seen five times. There are four ways to scale it up: **depth** (to 56
# layers), **width** (to four times as many channels), **data** (to 20,000 beetles, seen once each), **epochs** (to 20).
#
# Each explanation is graded against the answer key of *the network that it explains*. **Skill** says how far the best of four
# methods gets: from the best map that knows nothing (0) to the key itself (1). **Which of the four raises the skill most when
# it is doubled, and does any lower it?** Section 5 has the answer.

# %%
my_order = ["data", "depth", "epochs", "width"]  # change the order: the largest rise first

# %%
import inspect

import torch
from IPython.display import Code, Markdown, display

from xai_course import plots
from xai_course.beetlebox import SPECIES, DrawnScenes, scenes, spearman_with_truth
from xai_course.core import interval_text, mean_interval, seed_interval
from xai_course.core.paths import data_folder
from xai_course.models import BeetleNet, count_weights

names, tables = list(SPECIES), data_folder() / "experiments"

# %% [markdown]
# ## 1. What grows, and what it costs
#
# A residual block has two convolutions. The stem and the last linear layer add two more layers. So a BeetleNet of $b$ blocks has
# $2b + 2$ layers (the 1×1 convolutions on some skips are not counted). Three blocks are 8 layers. 27 blocks are 56, as in the
# paper that introduced residual networks.


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
    by_kernel = [  # the 1×1 convolutions of the skips left out
        m for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d) and "skip" not in n
    ]
    layers = len(by_kernel) + 1
    assert layers == 2 * blocks + 2
    print(
        f"{blocks:6} {layers:7} {width:6} {count_weights(model):9,} {multiplications(model):14.1f}"
    )

# %% [markdown]
# Twice the width costs about four times as much. Three times as many blocks cost a little over three times as much.
#
# ## 2. Any number of pictures, and no more memory
#
# The data set on disk has 400 training pictures of each species. But a scene is a seed, so picture number 400,000 of a species
# exists as well. `DrawnScenes` draws a picture when it is asked for, and does not keep it.

# %%
display(Code(inspect.getsource(DrawnScenes.__getitem__), language="python"))
endless = DrawnScenes("train", per_species=1_000_000)
far = [endless.scene(label * 1_000_000 + 654_321) for label in range(10)]

# %%
plots.figure(
    plots.gallery(
        [scene.image(64) for scene in far],
        [name.replace("_", " ") for name in names],
        title=f"Ten of the {len(endless):,} training scenes that nobody stores",
    ),
    alt="Ten beetles, one of each species, on soil, sand, bark and leaves: scene number 654,321 of each species.",
    caption="Scene number 654,321 of each species.",
)

# %% [markdown]
# ### The identity
#
# Pictures drawn on demand must be *the same pictures*. Are they equal to those on disk, bit by bit? And does the memory stay the
# same while pictures go by?

# %%
import tracemalloc

from xai_course.beetlebox import write_beetlebox
from xai_course.data import load_folders, modern_transform

folder, _ = load_folders(write_beetlebox(progress=False), modern_transform())
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
        endless[i * 7919]  # always another picture
    held[count] = tracemalloc.get_traced_memory()[0] / 1000
tracemalloc.stop()
print("pictures drawn   kB still held   kB if all had been kept")
for count, kilobytes in held.items():
    print(f"{count:14} {kilobytes:15.0f} {count * 3 * 64 * 64 * 4 / 1000:20,.0f}")

# %% [markdown]
# The memory grows by a few hundred bytes a picture, where a picture has 49 kB. What stays are caches of fixed size, so
# the memory stops growing when they are full. Drawing takes a millisecond or two, about as long as a small network needs to learn from the picture. So keep a set
# that is seen many times (`in_memory`), and draw one that is seen once.
#
# ## 3. One trial, and a table of many
#
# A trial trains one network from nothing, by the recipe of lesson 02. It measures the accuracy on 1000 test beetles. On
# 40 of them it measures how well four explanations, and the eight null maps of lesson 08, agree with *this* network's
# answer key. Along each curve one thing changes:

# %%
from xai_course.experiments import CURVES, EXPLAINED_BY, scaling_trials, train_and_explain
from xai_course.experiments.scaling import BASE

print("the base:", ", ".join(f"{name} {value}" for name, value in BASE.items()))
for name, changes in CURVES.items():
    for change in changes:
        print(f"    {name:16}", ", ".join(f"{key} {value}" for key, value in change.items()))
print("explained by:", ", ".join(EXPLAINED_BY))

# %% [markdown]
# *Data* needs care. With more images *and* as many epochs, a network also takes more steps. Then nobody knows whether
# the images or the steps helped. So each network of that curve sees 20,000 pictures in all: 100 beetles 200 times, or 20,000 beetles once.
#
# All of it takes nearly an hour on one core, so the course ships the table (`make experiments NAMES=scaling` makes it anew). This
# is the same call; it runs only what the file does not hold.

# %%
curves = scaling_trials(tables / "scaling.csv")

# %% [markdown]
# As a check we train and explain one of these networks again. (Another kind of processor rounds differently, and
# training then gives another network. So we allow differences up to 0.15.)

# %% tags=["nbval-check-output"]
spot = {**BASE, "epochs": 1, "seed": 0}
(stored,) = (row for row in curves["epochs"] if all(row[k] == v for k, v in spot.items()))
before = torch.get_num_threads()
torch.set_num_threads(1)  # as when the table was made: sums in another order round otherwise
anew = train_and_explain(**spot)
torch.set_num_threads(before)
for name in ("weights", "accuracy", "gradient", "LRP", "edges"):
    print(f"{name:9} as on file: {abs(anew[name] - stored[name]) <= 0.15}")

# %% [markdown]
# ## 4. The curves
#
# Each point is the mean of three networks from three seeds. The band is its 95 % interval, by Student's $t$. With
# three values the band is wide, as it should be.


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


MEASURED = {
    "test accuracy": lambda row: row["accuracy"],
    "best explanation": best,
    "best map that knows nothing": lambda row: row["best null"],
}
NOTE = "Explanations: mean rank agreement with the network's own answer key, 40 test scenes."


def curve(rows, by, measured=MEASURED):
    """Lines to draw: for each measure (mean, low, high) at every place, at most 1."""
    return {
        name: [(mean, low, min(high, 1)) for mean, low, high in along(rows, by, measure).values()]
        for name, measure in measured.items()
    }


# %% [markdown]
# ### Width

# %%
plots.figure(
    plots.lines(
        curve(curves["width"], lambda row: row["width"]),
        [8, 16, 32],
        log_x=True,
        title="Wider: hardly more accurate, on average a little easier to explain",
        x_label="channels of the first stage (8 layers, 4000 images, 5 epochs)",
        y_label="share right, or agreement",
    ),
    alt="Three lines over widths of 8, 16 and 32. Accuracy is near 1 throughout; the best explanation rises from 0.74 to "
    "just over 0.81; the best null from 0.65 to 0.70. The bands of both are wide at 8.",
    caption=NOTE,
)

# %% [markdown]
# The accuracy has hardly any room to rise. On average the best explanation gains a little with each doubling, and so does the
# best map that knows nothing. Three seeds alone show neither for sure (section 5).
#
# ### Data

# %%
plots.figure(
    plots.lines(
        curve(
            curves["data"],
            lambda row: row["images"],
            {"training accuracy": lambda row: row["training accuracy"], **MEASURED},
        ),
        [100, 500, 4000, 20_000],
        log_x=True,
        title="A hundred beetles are memorised; 500 are nearly enough to generalise",
        x_label="different training images (20,000 shown in all)",
        y_label="share right, or agreement",
    ),
    alt="Four lines over 100 to 20,000 images. Training accuracy is near 1 up to 4000 and 0.78 at 20,000; test accuracy rises from 0.35 to "
    "0.97 at 500 and 0.99; the best explanation rises from 0.64 to 0.77; the best null rises from 0.42 to 0.66 and then stays.",
    caption=NOTE,
)

# %% [markdown]
# From 100 to 500 beetles the test accuracy goes from a third to 97 %. After that there is little to gain. The best
# explanation rises slowly. The best null rises up to 500 beetles; after that it has no clear direction. (Training
# accuracy is counted while the network learns. The network that sees 20,000 beetles sees each only once, so 0.78 is the
# mean over its training, not its end.)
#
# ### Epochs

# %%
plots.figure(
    plots.lines(
        curve(curves["epochs"], lambda row: row["epochs"]),
        [1, 2, 5, 10, 20],
        log_x=True,
        title="Longer training: more accurate, and the lead over the null shrinks",
        x_label="epochs of 4000 images",
        y_label="share right, or agreement",
    ),
    alt="Three lines over 1 to 20 epochs. Accuracy rises from about 0.5 to 1; the best explanation stays near 0.75; "
    "the best null rises from 0.37 to 0.73, close to the best explanation.",
    caption=NOTE,
)
leads = along(curves["epochs"], lambda row: row["epochs"], lambda row: best(row) - row["best null"])
for epochs, cell in leads.items():
    print(f"{epochs:2} epochs: best explanation minus best null {interval_text(cell, signed=True)}")

# %% [markdown]
# We did not expect this curve. After *one* epoch half of the answers are wrong, and still the best explanation agrees
# with the key about as well as after twenty. What rises is the best null, nearly always *bright edges* (edges times
# brightness squared). Perhaps a longer trained network relies more on bright parts with strong edges. So the lead of a
# method over a map that knows nothing shrinks. Its interval is clearly above 0 after one epoch only.
#
# ### Depth, with skip connections and without
#
# He and others (2016) saw that a plain network gets *worse* when it gets deeper, also on the images that it was trained on. With
# skip connections the depth helped.


# %%
def layers(row):
    """Layers of a BeetleNet: two a block, the stem and the head."""
    return 2 * row["blocks"] + 2


both = {"with skips": curves["depth"], "without skips": curves["depth, no skips"]}
learnt, explained = {}, {}
for which, rows in both.items():
    for images, on in {"training": "training accuracy", "test": "accuracy"}.items():
        learnt |= curve(rows, layers, {f"{which}, {images}": lambda row, on=on: row[on]})
    shown_as = {"best explanation": best, "the best null": MEASURED["best map that knows nothing"]}
    for map_of, on in shown_as.items():
        explained |= curve(rows, layers, {f"{map_of}, {which}": on})

# %%
plots.figure(
    plots.lines(
        learnt,
        [8, 20, 56],
        log_x=True,
        title="Without skip connections, 56 layers hardly learn",
        x_label="layers (8 channels in the first stage, 4000 images, 5 epochs)",
        y_label="share right",
    ),
    alt="Four lines over 8, 20 and 56 layers. With skips training and test accuracy stay near 1; "
    "without them they fall from 0.99 to 0.96 and to 0.3.",
)

# %% [markdown]
# Our networks do the same. Without skips, 20 layers in place of 8 cost three points, and 56 layers leave 31 % right (guessing
# gives 10 %). The network has not memorised its training images: on these images it is no better. With skips 56 layers learn as well as
# eight. They do not learn better: at 99 %, eight layers had left little room.

# %%
plots.figure(
    plots.lines(
        explained,
        [8, 20, 56],
        log_x=True,
        title="Without skips, the best explanation and the best null fall together",
        x_label="layers",
        y_label="agreement with the network's own key",
    ),
    alt="Four lines over 8, 20 and 56 layers. With skips the best explanation stays near 0.75 and the best null near 0.63. "
    "Without them the best explanation falls from 0.75 to 0.53 and 0.34, the best null from 0.70 to 0.63 and 0.34.",
    caption=NOTE,
)

# %% [markdown]
# With skips we see no fall of the agreement up to 56 layers. Without skips the best explanation falls, and the best
# null falls as well. A null does not look at the network, so the *key* must have changed. Balduzzi and others (2017)
# offer a reason for the explanations: without skips, the gradient of a deeper network looks more like white noise, and
# most explanations use the gradient.
#
# ## 5. One number for each curve
#
# One number with an interval sums up a curve: **how much does it rise, on the whole, each time the scale doubles?** For
# each seed we fit a straight line through the points over $\log_2$ of the scale, by least squares (the sum of the
# squared distances in $y$ is as small as possible). Student's interval is taken over the three slopes; $\bar u$ and
# $\bar y$ are means:
#
# $$\text{slope} = \frac{\sum (u - \bar u)(y - \bar y)}{\sum (u - \bar u)^2}, \qquad u = \log_2 x .$$

# %%
from xai_course.experiments import slope_per_doubling

SCALES = {  # of each curve: its name in the table, and its scale
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
    "lead": lambda row: best(row) - row["best null"],
    "skill": lambda row: row["skill"],
}


def slopes(curve, by, measure, least=0):
    """The rise per doubling, one a seed; from the scale `least` on."""
    found = []
    for seed in sorted({row["seed"] for row in curves[curve]}):
        own = [row for row in curves[curve] if row["seed"] == seed and by(row) >= least]
        found.append(slope_per_doubling([by(r) for r in own], [measure(r) for r in own]))
    return found


rise = {
    what: {scale: seed_interval(slopes(*how, measure)) for scale, how in SCALES.items()}
    for what, measure in JUDGED.items()
}
measured = sorted(SCALES, key=lambda scale: -rise["skill"][scale][0])
# The same without the first point of a curve, where networks are wrong about half the time or more.
LATER = {"data, from 500": (*SCALES["data"], 500), "epochs, from 2": (*SCALES["epochs"], 2)}
later = {
    what: {scale: seed_interval(slopes(*how[:2], measure, how[2])) for scale, how in LATER.items()}
    for what, measure in JUDGED.items()
}

# %%
plots.figure(
    plots.bars(
        {f"{scale}: {what}": rise[what][scale] for scale in measured for what in ("skill", "lead")},
        title="Longer training lowers skill and lead; width raises the skill",
        label="rise per doubling (95 % interval, three seeds)",
    ),
    alt="Ten bars with intervals, two for each way to scale. Epochs lie below 0 in both, -0.13 by skill and -0.08 by lead; width lies "
    "above 0 by skill, +0.06, and the interval of its lead contains 0. The intervals of all others contain 0.",
)
print("your order:    ", ", ".join(my_order))
print("measured order:", ", ".join(scale for scale in measured if scale in my_order))

# %% [markdown]
# There are two ways to say how far a method is ahead. The **lead** is the plain difference from the best null. The
# **skill** divides the lead by the room that the null leaves below 1. **Longer training lowers both.** **Width raises
# the skill**, but its effect on the lead is open: the interval contains 0. Depth and data are open, and so are their
# places in the order. Depth *without* skip connections lowers the accuracy, the best agreement and the best null; for
# lead and skill it is open. (All slopes stand in the verdict. Of the 25 intervals of five curves and five measures,
# about one would leave out 0 by chance.)
#
# **Does a slope come from one point alone?** The first networks of two curves (100 images; one epoch) are wrong in
# about half of the scenes or more. The verdict's table has both slopes without them, too. Longer training lowers skill
# and lead there as well.
#
# ### Which method suffers, which gains?

# %%
by_method = {
    f"{method}": {
        scale: seed_interval(slopes(*how, lambda r, m=method: r[m]))
        for scale, how in SCALES.items()
    }
    for method in (*EXPLAINED_BY, "bright edges")
}
value = torch.tensor([[by_method[m][s][0] for s in SCALES] for m in by_method])
sure = torch.tensor(  # 1: rises, -1: falls, 0: open
    [[int(by_method[m][s][1] > 0) - int(by_method[m][s][2] < 0) for s in SCALES] for m in by_method]
)

# %%
plots.figure(
    plots.matrix(
        value,
        list(by_method),
        list(SCALES),
        tint=sure,
        fmt="{:+.3f}",
        label="orange: rises     white: open     blue: falls (95 %, three seeds)",
        title="With depth, expected gradients lose;\nwithout skips, LRP loses most",
    ),
    alt="Table of five maps by five ways to scale: the rise of the agreement per doubling. Four cells are blue: expected gradients "
    "with depth, -0.05; without skips LRP, -0.27, expected gradients, -0.15, and bright edges, -0.15. All others are white.",
    caption="Rise, per doubling, of each map's agreement with the network's own key. *Bright edges* are a null.",
)

# %% [markdown]
# Only 4 of 25 cells are sure, and chance alone would give about one. With skips, **expected gradients** agree less with
# the key the deeper the network is; for LRP and for the accuracy we see no such fall. Without skips LRP loses most on
# average, and bright edges lose, too.
#
# ### Where it breaks: a network that has memorised 100 beetles

# %%
few = [row for row in curves["data"] if row["images"] == 100]
many = [row for row in curves["data"] if row["images"] == 20_000]
print("mean (networks)    100 images             20,000 images")
for what in ("training accuracy", "accuracy", "confidence", "loss", "LRP", "best null", "skill"):
    values = [
        "{:.2f} ({:.2f} {:.2f} {:.2f})".format(
            sum(r[what] for r in rows) / 3, *sorted(r[what] for r in rows)
        )
        for rows in (few, many)
    ]
    print(f"{what:18} {values[0]}  {values[1]}")

# %% [markdown]
# This network has memorised a hundred beetles, and names two of three other beetles wrong. Its explanations still
# follow the key of *this* network: LRP agrees by 0.61, the best null by 0.42. Three seeds cannot tell its LRP agreement
# or its skill from those of the network that saw 20,000 beetles. (*Confidence* is the mean probability of the predicted
# class.) **An explanation tells what a network does. It does not tell whether the network knows anything.** For that
# there is a test set.

# %% [markdown] tags=["further"]
# ## 6. When one process is not enough
#
# At some point one process is too slow. And in a run of hours, a process may die. `torchrun`, which comes with PyTorch, takes
# care of both. `torchrun` starts a script several times, tells each copy its number (its *rank*), and starts all
# copies again when one dies. In **training**, the processes must agree after every step. In **explaining**, no image needs to know of another.
#
# Here is lesson 02's training as a script (`scripts/train.py`, without its options). `python` runs it in one process,
# `torchrun` in several. The method is in the two places where `world_size` is used.

# %%
scripts = data_folder().parent / "scripts"
code = (scripts / "train.py").read_text("utf-8")
display(Code(code[code.index("# In which process") :], language="python"))

# %% [markdown]
# - `rank=rank, world_size=world_size`: both processes draw the *same* order of the images. Of each batch of 32, one takes every
#   second image, the other the rest. So the whole batch stays 32, whatever the number of processes, and so does the learning rate.
# - `DistributedDataParallel`: each process has the whole network. After each backward pass, the processes exchange the **mean of
#   their gradients** (within the machine, or over the cable between machines), and all make the same step. Weights are sent only
#   once, at the start.
# - One process saves the state of the run and the result. All of them read that state when they start.
# - `timeout`: a process that waits for a dead one gives up after two minutes, and `torchrun` starts all of them again.
#
# ### The identity
#
# The gradient of a batch's mean loss is the mean of the gradients of its two halves:
#
# $$\nabla \frac{1}{32}\sum_{i=1}^{32} \ell_i \;=\;
# \frac12\left(\nabla \frac{1}{16}\sum_{i\ \text{odd}} \ell_i + \nabla \frac{1}{16}\sum_{i\ \text{even}} \ell_i\right).$$
#
# Then two processes take the same steps as one. This is true if an image's loss depends on that image alone. Does it?

# %%
from xai_course.data import loader

x, y = next(iter(loader(DrawnScenes("train", 40, size=32), 32, shuffle=True)))
torch.manual_seed(0)
model = BeetleNet(width=8).double()


def slope(which):
    """Gradient of the mean loss of some images by all weights, in one row."""
    loss = torch.nn.functional.cross_entropy(model(x[which].double()), y[which])
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


for mode in ("eval", "train"):
    getattr(model, mode)()
    whole, odd, even = slope(slice(None)), slope(slice(0, None, 2)), slope(slice(1, None, 2))
    apart = (whole - (odd + even) / 2).norm() / whole.norm()
    print(f"BatchNorm in {mode:5} mode: they differ by {apart:.0e} of the gradient")

# %% [markdown]
# ### Where it breaks
#
# BatchNorm subtracts the mean *of the batch that it sees* (lesson 02, bug 9), and a process sees 16 images instead of 32. So two
# processes train another network: here, before any training, the gradient is off by 40 % of its length. `SyncBatchNorm` takes
# the means over all processes. But it works on GPUs only, and each of its layers waits for all processes, twice a step. With 16
# images a process we leave it out; with 2 one would need it. A network without BatchNorm takes the same steps as in one process,
# up to rounding; a test compares them.
#
# ### Explaining, with a kill in the middle
#
# The other job: `scripts/explain_many.py` writes explanations into a folder of **shards**, files with a fixed number of
# explanations. Each process takes the next shard that no other has claimed. A claim is a lock of the operating system, which opens
# when its holder dies. A shard is written under another name and renamed when it is complete. `manifest.json` says what was asked
# for and lists the finished shards with their SHA-256. We start the job, wait for a few shards, **read them while it runs, and
# kill one of the two processes**.

# %%
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xai_course.storage import explain_shards, open_shards, read_manifest

folder = Path(tempfile.mkdtemp()) / "explanations"
engine = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3"]
options = [scripts / "explain_many.py", folder, "--scenes=200", "--per-shard=10", "--method=LRP"]
job = subprocess.Popen(
    [sys.executable, *engine, *options],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
)
started = [job.stdout.readline().split() for _ in range(2)]  # "process 1 is 4242"
while not (folder / "manifest.json").exists() or len(read_manifest(folder)["shards"]) < 4:
    time.sleep(0.02)
early = {path: path.stat().st_mtime_ns for path in folder.glob("0*.safetensors")}
first = next(open_shards(folder))
os.kill(int(started[1][3]), getattr(signal, "SIGKILL", signal.SIGTERM))  # kill -9
print(f"read while it runs: shard {first.number}, relevance {tuple(first.relevance.shape)}")
print(f"its first scene: {first.items[0]}")
print("then process 1 was killed")

# %% [markdown]
# `torchrun` sees that a process is gone, ends the other one too, and starts both again. They find the folder and go on. Was
# anything lost, or made twice? And does one process, here in the notebook, write the same bits?

# %%
from xai_course.beetlebox import Scene
from xai_course.methods import course_methods
from xai_course.storage import load_checkpoint

job.wait()
again = sum(path.stat().st_mtime_ns != written for path, written in early.items())
got = [Scene(**item) for shard in open_shards(folder) for item in shard.items]
by_species = [scenes("extra", name, 20) for name in names]
wanted = [scene for group in zip(*by_species, strict=True) for scene in group]
print(
    f"the engine ended with exit code {job.returncode}; {len(set(got))} scenes of {len(wanted)} are there"
)
print(f"every scene once and in order: {got == wanted}")
print(f"shards that were there before the kill and were written again: {again}")

# %%
beetle_net, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
alone, threads = folder.with_name("alone"), torch.get_num_threads()
torch.set_num_threads(1)  # as the script has it: the last bits depend on it
explain_shards(alone, beetle_net, course_methods()["LRP"], wanted, per_shard=10, progress=False)
torch.set_num_threads(threads)
files = sorted(folder.glob("*.safetensors"))
same = sum((alone / path.name).read_bytes() == path.read_bytes() for path in files)
print(f"files that equal those of one process to the bit: {same} of {len(files)}")

# %% [markdown]
# The kill cost two things: the two shards in work were begun again, and Python had to start again. **The smaller the shard, the
# less is lost; the larger, the fewer files.** Training resumes in the same way, after its last whole epoch, and ends with the
# same weights, to the bit (with two processes; a test kills one).
#
# Reading takes the memory of one shard, however many there are: `for shard in open_shards(folder): ...`.
#
# ### Is it worth it? Measured, and on paper
#
# The table was measured beforehand: lesson 02's training with three seeds, and 10,000 scenes explained by LRP. The fair opponent
# of two processes is one process with *two threads*: it uses the same two cores, and needs no `torchrun`.

# %%
from xai_course.experiments import process_trials

rows = process_trials(file=tables / "processes.csv", progress=False)
table = "| job | processes × threads | images a second | whole command | accuracy |\n|---|---|---|---|---|"
speed = {}
for what, count, threads in dict.fromkeys((r["job"], r["processes"], r["threads"]) for r in rows):
    own = [r for r in rows if (r["job"], r["processes"], r["threads"]) == (what, count, threads)]
    speed[what, count, threads] = sum(r["images"] / r["working"] for r in own) / len(own)
    table += f"\n| {what} | {count} × {threads} | {speed[what, count, threads]:.0f} | "
    table += f"{sum(r['seconds'] for r in own) / len(own):.0f} s | "
    table += ", ".join(f"{r['accuracy']:.1%}" for r in own) + " |"
display(Markdown(table))
for what in ("train", "explain"):
    two = speed[what, 2, 1]
    print(f"{what:7}: two processes are {two / speed[what, 1, 1]:.2f} times as fast as one,")
    print(f"         and {two / speed[what, 1, 2]:.2f} times as fast as one with two threads")

# %% [markdown]
# **Explaining is nearly twice as fast with a second process. Training is not**: one process with two threads is faster, and
# needs no second script. A step of so small a network takes milliseconds, and after each the processes wait for each other.
#
# *Images a second* leaves out the start of Python; *whole command* includes it. Two processes start it three times, because
# `torchrun` is a Python program, too. The accuracies of training differ between the rows about as much as between the
# seeds in one row; a row *explain* has that of the network that it explains.
#
# What would several machines change, or GPUs? Two numbers decide, and both can be worked out before anything is bought.
# In each step a process **computes** its share of the batch, a forward and a backward pass (about three forward
# passes). And it **sends** its share of the mean of the gradients. In the usual ring each process passes pieces to its
# neighbour. In all, each of $w$ processes sends
#
# $$2\,\frac{w-1}{w} \times 4\ \text{bytes} \times \text{weights}.$$
#
# This hardly grows with $w$, while the share of the work shrinks. So at some point more processes no longer help.

# %%
from torchvision.models import resnet50

with torch.device("meta"):  # shapes without numbers: enough to count
    big = resnet50()
    networks = {  # weights, multiplications for an image, images in a batch
        "BeetleNet": (count_weights(BeetleNet()), 1e6 * multiplications(BeetleNet()), 32),
        "ResNet-50": (count_weights(big), 1e6 * multiplications(big) * (224 / 64) ** 2, 256),
    }
core = 3 * networks["BeetleNet"][1] * speed["train", 1, 1]  # multiplications a second, measured
places = {  # network, multiplications a second in each process, bytes a second between them
    "1 Gbit/s, CPUs": ("BeetleNet", core, 1e9 / 8),
    "1 Gbit/s": ("ResNet-50", 1e13, 1e9 / 8),
    "25 Gbit/s": ("ResNet-50", 1e13, 25e9 / 8),
    "NVLink": ("ResNet-50", 1e13, 450e9),
}
counts, shares = [1, 2, 4, 8, 16, 32], {"explaining": [1.0] * 6}
print(f"{'8 processes':27}{'compute':>12}{'send':>11}{'which takes':>14}")
for link, (name, rate, bytes_a_second) in places.items():
    weights, multiply, batch = networks[name]
    work = [3 * multiply * batch / w / rate for w in counts]  # seconds
    sent = [2 * (w - 1) / w * 4 * weights for w in counts]  # bytes
    print(f"{name + ', ' + link:27}{1e3 * work[3]:9.1f} ms{sent[3] / 1e6:8.1f} MB", end="")
    print(f"{1e3 * sent[3] / bytes_a_second:11.1f} ms")
    if name == "ResNet-50":
        both = [a + b / bytes_a_second for a, b in zip(work, sent, strict=True)]
        shares[link] = [both[0] / b / w for b, w in zip(both, counts, strict=True)]

# %%
plots.figure(
    plots.lines(
        shares,
        counts,
        title="The cable decides whether more GPUs help",
        x_label="processes, of one GPU each",
        y_label="share of the ideal speed",
        log_x=True,
    ),
    alt="Four lines over 1 to 32 processes: explaining stays at 1, training over NVLink nearly so; over 25 Gbit/s it falls to about "
    "a seventh, over 1 Gbit/s to 0.16 with two processes and to almost nothing with 32.",
    caption="On paper, for training ResNet-50 with batches of 256. Ideal: w processes are w times as fast.",
)
worse = [w for w, share in zip(counts, shares["1 Gbit/s"], strict=True) if w > 1 and share * w < 1]
print(f"over 1 Gbit/s, slower than a single GPU with {', '.join(map(str, worse))} processes")

# %% [markdown]
# Only the cable differs. Two more things follow. **A larger batch helps**, since the work grows with it and the bytes do not (but
# it is another training: the learning rate must be chosen anew). And **explaining should scale anywhere**, because nothing travels
# between processes (on paper; with two we measured 1.92 times the speed). Its limit is the disk: an explanation of 3 × 64 × 64
# numbers in 32 bits is 49 kB, so 10,000 are half a gigabyte; in 16 bits (`--half`), half of it.
#
# The GPU's 10¹³ multiplications a second are about a third of an H100's for 32-bit numbers (the data sheet's 67 TFLOPS
# count a multiplication and an addition apart). NVLink's 450 GB/s is one direction of its 900 (NVIDIA, *H100 Tensor
# Core GPU*, 2022). PyTorch also sends the first gradients while the last are still being computed, which hides part of
# the time (Li et al. 2020).
#
# On **several machines** the scripts stay as they are. Start `torchrun` on each, with `--nnodes=2 --rdzv-backend=c10d
# --rdzv-endpoint=HOST:29400` in place of `--standalone`. The folder must lie on a disk that all of them see and that can lock. On
# **GPUs**, use one process for each; `init_process_group` then takes NCCL in place of Gloo. The bits are the same only on the same
# kind of machine. We had neither, so this paragraph is on paper, too.

# %% [markdown]
# ## 7. From beetles to photographs
#
# Now a network that is deeper and larger still: **EfficientNet-Lite0**, with 1000 classes and pictures of 224 pixels, trained on
# 1.2 million photographs. There is no answer key for photographs. The functions that explained beetles work here, too.

# %%
from xai_course.data import PHOTOGRAPHS, photograph, to_pixels
from xai_course.experiments import (
    MEASURES,
    explain_photograph,
    grade,
    photograph_methods,
    photograph_trials,
)
from xai_course.methods import NULL_MAPS, course_methods
from xai_course.models import photo_network

photo_net, transform, classes = photo_network()
inputs = torch.stack([transform(photograph(name)) for name in PHOTOGRAPHS])
with torch.no_grad():
    probability, says = photo_net(inputs).softmax(1).max(1)

# %%
plots.figure(
    plots.gallery(
        to_pixels(inputs, transform),
        [
            f"{n}\n{classes[c]}, {p:.0%}"
            for n, c, p in zip(PHOTOGRAPHS, says, probability, strict=True)
        ],
        columns=4,
        title="Twelve photographs, and what the network calls them",
    ),
    alt="Twelve photographs, each with the predicted class and its probability: coffee is espresso, 95 %; the camera is a tripod, 94 %; "
    "the cat chelsea is a tiger cat, 39 %; grass is a soccer ball, 5 %.",
    caption="About half of these are no object of ImageNet (brick, moon, galaxies). What is explained is the answer, right or wrong.",
)

# %%
shown = ("gradient", "guided backpropagation", "Grad-CAM", "LRP", "null: edges")
at = PHOTOGRAPHS.index("chelsea")
known = photograph_methods("chelsea")
maps = [known[name](photo_net, inputs[at : at + 1], says[at : at + 1]) for name in shown]
sizes = [  # without the sign, and averaged over 9 x 9 pixels: single pixels cannot be seen
    torch.nn.functional.avg_pool2d(values.sum(1, keepdim=True).abs(), 9, stride=1, padding=4)[0]
    for values in maps
]
kept = maps[shown.index("LRP")].sum().item()
with torch.no_grad():
    logit = photo_net(inputs[at : at + 1])[0, says[at]].item()

# %%
plots.figure(
    plots.overlay(
        [to_pixels(inputs[at], transform)] * 6,
        [None, *sizes],
        ["chelsea", *shown],
        shared_scale=False,
        columns=3,
        sides=("negative", "positive"),
        title=f"Five maps of one answer, “{classes[says[at]]}”, show different places",
    ),
    alt="The photograph of a cat's face, and five maps of it. Gradient: cheek and nose. Guided backpropagation: eyes and nose. Grad-CAM: "
    "a broad area around one cheek. LRP: the eyes. Edges, which have not seen the network: outlines of the eyes and the nose.",
    caption="The size of the relevance, averaged over 9 × 9 pixels. Each panel has its own scale. LRP's values (rule γ) are small, since "
    f"the biases of the layers take nearly all of the logit: of {logit:.2f} its map keeps {kept:.2f}. The last map has not seen the "
    "network.",
)

# %% [markdown]
# We grade every method of lessons 08 and 09, and five of their nulls, on all twelve, by measures that need no key:
# deletion and insertion, each with two fillings (`make experiments NAMES=photographs`; some minutes). In what follows
# CAM is left out: in both networks its map is Grad-CAM's, and one map must not count twice. One of the 264 trials
# again:

# %%
graded = photograph_trials(tables / "photographs.csv")

# %% tags=["nbval-check-output"]
(stored,) = (r for r in graded if (r["photo"], r["method"]) == ("coffee", "Grad-CAM"))
for name, found in explain_photograph("coffee", "Grad-CAM").items():
    print(f"{name:16} as on file: {abs(found - stored[name]) < 0.01}")

# %%
KEYLESS = ("deletion, mean", "deletion, blur", "insertion, mean", "insertion, blur")
real, nulls = [method for method in course_methods() if method != "CAM"], list(NULL_MAPS)


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
# **First: does a method beat the best map that knows nothing?** The test is that of lesson 08 (95 %, photograph by photograph).

# %%
value, tint = torch.full((2, len(real) + 1, len(KEYLESS)), torch.nan)
hardest = {}
for column, measure in enumerate(KEYLESS):
    scores, null = on_photographs(measure, real), on_photographs(measure, nulls)
    hardest[measure] = nulls[int(null.mean(0).argmax())].removeprefix("null: ")
    opponent = null[:, null.mean(0).argmax()]
    value[:, column] = turned(measure) * torch.cat([scores.mean(0), opponent.mean()[None]])
    for row in range(len(real)):
        _, low, high = mean_interval(scores[:, row] - opponent)
        tint[row, column] = int(low > 0) - int(high < 0)
better, worse = int((tint == 1).sum()), int((tint == -1).sum())

# %%
plots.figure(
    plots.matrix(
        value,
        [*real, "the best null map"],
        KEYLESS,
        tint=tint,
        label="blue: null better   white: open   orange: method better",
        title="On photographs, hardly a method\nbeats the best map that knows nothing",
    ),
    alt="Table of 16 methods and the best null by four measures without a key. Of 64 cells one is orange, Integrated Gradients from the "
    "mean colour by deletion; 18 are blue, 17 of them in the two columns of insertion; the others are white.",
    caption="Mean over twelve photographs. Deletion: low is good; insertion: high is good.",
)
print(f"of {len(real) * len(KEYLESS)} comparisons with the best null: {better} won, {worse} lost")
for measure, null in hardest.items():
    print(f"{measure:16} best null: {null}")

# %% [markdown]
# Of 64 comparisons, chance alone would win one or two, so the single orange cell proves little. (It is that of
# Integrated Gradients from the mean colour, under deletion with the same colour: an unfair help.) The losses are far more than chance gives. A
# method that does worse, by this measure, than a map that knows nothing should not be sold as an explanation. (With twelve photographs,
# white may also mean: too few to tell.)
#
# **Second: is the order of the methods the same as on the beetles?** We compare the rankings of 16 methods by Spearman's
# correlation: the ranking on photographs with that on beetles by the same measure, and with that by the *answer key*. The key is
# read in two ways: by the rank of all parts, and by the top part alone. The interval is the bootstrap's over photographs: what
# twelve *others* would give.

# %%
from xai_course.experiments import rank_transfer

network, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
tests = [scene for name in names for scene in scenes("test", name, 20)]
key = "rank"
beetles = grade(
    network,
    course_methods(),
    tests,
    measures={measure: MEASURES[measure] for measure in (key, "top part", *KEYLESS)},
    file=data_folder() / "grades" / "beetle_net.csv",
    progress=False,
)


def on_beetles(measure):
    """Mean scores of the methods (16,), turned so that higher is better."""
    sign = 1 if measure in (key, "top part") else turned(measure)
    return sign * torch.stack([beetles[method][measure].mean() for method in real])


same = {m: rank_transfer(on_photographs(m, real), on_beetles(m)) for m in KEYLESS}
to_key = {m: rank_transfer(on_photographs(m, real), on_beetles(key)) for m in KEYLESS}
to_top = {m: rank_transfer(on_photographs(m, real), on_beetles("top part")) for m in KEYLESS}
orders = {
    **{f"{m}: the same on beetles": v for m, v in same.items()},
    **{f"{m}: the key by rank": v for m, v in to_key.items()},
    **{f"{m}: the key by top part": v for m, v in to_top.items()},
}
shuffled = torch.stack(  # 2000 random orders of the methods
    [torch.randperm(len(real), generator=torch.Generator().manual_seed(k)) for k in range(2000)]
)
straight = torch.arange(float(len(real))).double().expand(2000, -1)
chance = spearman_with_truth(shuffled.double(), straight).abs().quantile(0.95).item()
# Similar methods come out near each other, and that alone makes two orders alike.
SIMILAR = ("gradient × input", "DeconvNet", "CAM, contrast", "IG, black", "IG, blur")
alone = [n for n, method in enumerate(real) if method not in SIMILAR]
unlike = {
    m: rank_transfer(on_photographs(m, real)[:, alone], on_beetles(m)[alone])[0] for m in KEYLESS
}

# %%
plots.figure(
    plots.bars(
        orders,
        references=dict.fromkeys(orders, chance),
        reference_label="chance alone: 95 % lie within ± this",
        title="By deletion, the order of the methods\ncarries over to photographs",
        label="agreement of the two orders (95 % interval)",
    ),
    alt="Twelve bars with intervals. The same measure on beetles: near 0.9 by deletion, 0.5 to 0.7 by insertion. The answer key by rank: "
    "above 0.7 by deletion, about 0.5 by insertion. The key by top part: 0.4 and less, with intervals that reach down to 0. "
    "Chance alone gives up to 0.5.",
)
print(f"two orders by chance: 95 % within ±{chance:.2f}")
print(f"the same on beetles, {len(alone)} methods, one of each similar group:")
for measure, agreement in unlike.items():
    print(f"    {measure:16} {agreement:+.2f}")

# %% [markdown]
# The network is another one, six times as deep and with a hundred times the classes, and the pictures are others. And
# yet **the methods that lead by deletion on beetles tend to lead by deletion on photographs**. (With 11 methods, one
# of each similar group, it is the same: see the printed lines.) By insertion the values are lower, though the
# intervals overlap; with a blur the value lies at the grey mark, which two random orders reach, so it shows nothing.
# (The interval says something else: what other photographs would give.) With the *answer key*, which photographs do
# not have, the order by deletion agrees if the key is read by the rank of all parts. If the key is read by the top
# part alone, it does not: chance gives such values, too. (Most intervals lie mainly below their value. A bootstrap
# sample has fewer different photographs, so its order is noisier and agrees less with any other.)
#
# This does *not* show that the leading methods are right about photographs: even they seldom beat the nulls.
#
# ## Exercises
#
# **1. Rise per doubling** (10 minutes, easy). `x` and `y` are lists of numbers; those of `x` are positive. Fit a
# straight line to `y` over $\log_2 x$ by least squares (the formula of section 5), and return its slope, one number.


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
from xai_course.exercises.lesson_11 import check_slope

check_slope(doubling)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.tensor(x).log2()` gives u. Take the means away from u and y; then the slope is the sum of products, divided by the sum
# of the squares of u.
# </details>
#
# **2. Which scene is number i?** (5 minutes, easy). A set of scenes that nobody stores holds, species by species in the order
# of `names`, `per_species` scenes each, numbered from 0. Which species is item `index`, and which number has it within
# the species? Return the pair (name, number). It must work for ten million scenes *without a list of them*.


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
from xai_course.exercises.lesson_11 import check_item

check_item(scene_of)

# %% [markdown]
# <details><summary>Hint</summary>
#
# With 3 scenes a species, items 0, 1 and 2 are of the first one. One whole division gives the species, its rest the number: `divmod`.
# </details>
#
# **3. The mean of the means** (10 minutes, easy). Two processes share a batch of 5 images: one has 3, the other 2. Each
# computes the gradient of the mean loss *of its own images*. `DistributedDataParallel` takes the plain mean of the two
# gradients, and that is not the gradient of the batch. Write a function that returns the gradient of the batch:
# `gradients` is a list of tensors, one from each process, `counts` a list of how many images each had. (It may be 0:
# then the tensor holds some finite numbers, which must not matter.)


# %% tags=["exercise"]
def gradient_of_batch(gradients, counts):
    """The gradient of the mean loss of all images."""
    return ...


# %% tags=["solution"]
def gradient_of_batch(gradients, counts):
    """The gradient of the mean loss of all images."""
    return sum(n * g for g, n in zip(gradients, counts, strict=True)) / sum(counts)


# %%
from xai_course.exercises.lesson_11 import check_gradient_of_batch

check_gradient_of_batch(gradient_of_batch)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A mean times its count is a sum. Sums may be added; then divide once, by the number of all images.
# </details>
#
# This is why `loader(rank=, world_size=)` (section 6) leaves out images that cannot be shared out evenly: with equal
# counts the plain mean is right.

# %% [markdown]
# ## Verdict
#
# **"Deeper, more data, more epochs": for accuracy, confirmed for data and epochs, and not for depth.** More different
# images and more epochs (rounds through all images) raise the accuracy (the share of right answers), most of all where
# it starts low. Depth (more layers) shows no effect here in networks with *skip connections*, which lead the signal
# around layers; eight layers had left little room. Without skip connections depth ruins the accuracy.
#
# **For the explanations, the list of the article helps little.** Each time the data double, the agreement of the best
# map rises a little, by 0.015, and that of the best null by 0.025. From 500 images on the best map rises by 0.005, and
# whether the best null rises is open. No gain is seen in the lead or the skill. Depth does nothing to lead, skill or
# best map that three seeds can show. Longer
# training *lowers* the skill and the lead, also if the networks that were trained shortest (one epoch) are left out.
# Width (more numbers for each place of the picture), which is not on the article's list, raises the skill; whether it
# raises the lead is open.
#
# **From beetles to photographs**: photographs have no answer key, so we put the methods into an order by two measures
# that need none. *Deletion*: take away first what a map marks; how fast does the answer fall? *Insertion*: put it back
# first; how fast does the answer rise? Each was measured with two fillings. By deletion the order on beetles carries
# over to photographs; by insertion, with one of the two fillings, the two orders agree by only 0.50 (1: the same
# order), and two random orders may reach that, too. The order on photographs by deletion also agrees with the order by
# the answer key, if the key is read by the rank of all parts. If the key is read by the most important part alone, the
# agreement is no higher than chance may give. We could hardly show that a method beats the best null map. So the
# beetles tell *which methods to try first*, and not that these are right.
#
# **Several processes** (copies of the program that share the work, section 6) change the time; how fast they compute
# and how fast they send set the limits. Explanations stay the same to the last digit, on one kind of machine. Training gives
# another network, with about the accuracy that another seed gives, if it has BatchNorm (a layer that looks at several
# pictures at once).
#
# **What you may conclude:**
#
# - "Deeper", "more data" and "trained longer" promise no better explanations. Ask for a measurement, beside a map that knows nothing.
# - The methods that lead on one kind of pictures are the first to try on another kind. That they lead there, too, must be measured,
#   and to lead is not yet to be right.
#
# The numbers:

# %%
rows = ["rise per doubling of | " + " | ".join(rise), "---|" * len(rise) + "---"]
for ways, slope in ((SCALES, rise), (LATER, later)):
    for way in ways:
        rows.append(
            " | ".join([way, *(interval_text(slope[w][way], 3, signed=True) for w in slope)])
        )
rows += ["", "order on photographs by | the same on beetles | the key, rank | the key, top part"]
rows.append("---|---|---|---")
for measure in KEYLESS:
    told = [interval_text(order[measure], signed=True) for order in (same, to_key, to_top)]
    rows.append(" | ".join([measure, *told]))
display(Markdown("\n".join(rows)))

# %% [markdown]
# ## Take it with you
#
# Two small functions for your own scaling study: the rise per doubling, and whether a ranking carries over.

# %%
from xai_course.snippets import snippet

source = snippet(slope_per_doubling, rank_transfer, checks=False)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty: dict = {}
exec(source, empty)
line, order = ([1, 2, 4, 8], [0.3, 0.5, 0.4, 0.9]), on_photographs("deletion, blur", real)
print("the same slope:", empty["slope_per_doubling"](*line) == slope_per_doubling(*line))
print("the same order:", empty["rank_transfer"](order, on_beetles(key)) == to_key["deletion, blur"])

# %% [markdown]
# ## Quiz
#
# **1. With ten times as many images, for as many epochs as before, the network is better. Which runs tell whether the
# new images helped?**
#
# <details><summary>a) The same two runs from other seeds.</summary>
#
# No. Other seeds show that the gain is no chance. But in each pair of runs both the images and the number of steps
# change.
# </details>
# <details><summary>b) None: training is random, so no run can tell.</summary>
#
# Too modest. Several seeds and an interval deal with chance, if only one thing changes.
# </details>
# <details><summary>c) All images, for a tenth of the epochs.</summary>
#
# Yes. The number of steps is as before, so only the images differ.
# </details>
#
# **2. Accuracy rises from 0.97 to 0.99 with three seeds each. Which interval do you give?**
#
# <details><summary>a) Over the seeds, by Student's t.</summary>
#
# Yes. The claim is about a recipe, and its results differ from seed to seed. Three seeds give a wide interval, as they should.
# </details>
# <details><summary>b) Over the 1000 test images of one network.</summary>
#
# No. This interval says what other test images would give for *this* network, not what another training would give.
# </details>
# <details><summary>c) None, as three are too few.</summary>
#
# Three are few, and the interval says just that. Without an interval, the reader trusts the difference too much.
# </details>
#
# **3. A method leads on the beetles by deletion. What did section 7 find on photographs?**
#
# <details><summary>a) It beats the best null map there, too.</summary>
#
# No. Of 64 comparisons with the best null, the methods won one.
# </details>
# <details><summary>b) It tends to lead by deletion there, too.</summary>
#
# Yes. The two orders agree far better than chance alone would make them. That the method is right does not follow.
# </details>
# <details><summary>c) Nothing can be said, as photographs have no key.</summary>
#
# Too modest. Deletion needs no key, so its two orders can be compared.
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
# - Li et al.: PyTorch Distributed: Experiences on Accelerating Data Parallel Training. VLDB 2020, arXiv:2006.15704.
# - NVIDIA: H100 Tensor Core GPU. Data sheet, 2022.
# - Student: The Probable Error of a Mean. Biometrika, 1908.
# - Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics 1979.
