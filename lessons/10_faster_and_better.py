# ---
# jupyter:
#   course:
#     question: "Does a better network explain better, and what does an explanation cost?"
# ---

# %% [markdown]
# # Faster and better
#
# > **You will be able to** improve a classifier one change at a time, over several seeds, and say which change did it;
# > say whether a better network has better explanations; count what an explanation costs, make it cheaper, and notice
# > when it is no longer the same; and read from a plot how many steps are enough.
# >
# > **You need** lesson 02 (the article's network, training) and lesson 08 (agreement with the answer key, skill, nulls).
# >
# > **Time** {minutes}. The computer needs about a minute.
# >
# > **For** everyone. *Engineers*: sections 6 to 10 (7 and 8 are *go further*). *Teachers*: the prediction with
# > sections 1, 2 and 4 makes a lesson. *Policy makers*: the verdict; for more, sections 1, 4 and 5 and the last plot
# > of section 10.

# %% [markdown]
# ## The claim
#
# The article ends with three pieces of advice. The first: **performance can be improved by optimising the structure of
# the network, the optimiser, and the data.** It gives no numbers, and does not say what this does to the
# *explanations*. We measure both.

# %% [markdown]
# ## Predict
#
# Ten changes lead from the article's network to a good one. Each is made on top of those before it:
#
# 1. **pooling**: a max-pool after every convolution, not after the last one alone
# 2. **ReLUs** between the layers
# 3. **normalisation**: BatchNorm after every convolution
# 4. **residual blocks**: BeetleNet in place of three convolutions and two linear layers
# 5. **optimiser**: AdamW in place of SGD
# 6. **schedule**: a learning rate that rises and falls, in place of a constant one
# 7. **batch size** 32 in place of 4
# 8. **augmentation**: half of the images mirrored
# 9. **label smoothing**
# 10. **more pixels**: all of them. (Up to here the network averages 2 × 2 pixels first, so that this lesson's networks
#     train in minutes.)
#
# Write down: which change brings most? Which does least, or harm? And: **as accuracy rises, do the explanations agree
# better with the network's own answer key?** Sections 1 and 2 (and 4, *go further*) answer the first two questions,
# section 5 the last.

# %% [markdown]
# ## 1. The ladder
#
# Each network on the way is a *rung* of the ladder: rung 0 is the article's, rung 10 has all the changes. For a fair
# comparison every rung sees 20 000 images: 4000 different ones, five times each. Each rung is trained from three seeds,
# with other first weights and another order of the images. The learning rate follows the optimiser and the batch by two
# published rules: under SGD in proportion to the batch, under Adam to the square root of the batch.

# %%
import torch
from IPython.display import Markdown, display

from xai_course import plots
from xai_course.core import interval_text, seed_interval, wilson_interval
from xai_course.core.paths import data_folder
from xai_course.experiments import (
    FULL_RECIPE,
    NOTHING,
    POINTS,
    REMOVED,
    STEPS,
    ablation_trials,
    build,
    curve,
    recipe,
    run_step,
    time_to,
)
from xai_course.models import count_weights

lines = ["rung | weights | optimiser | rate | batch | schedule", "---|---|---|---|---|---"]
for rung in STEPS:
    made = recipe(rung)
    how = "rises and falls" if made.scheduled else "constant"
    cells = [rung, f"{count_weights(build(made)):,}", made.optimizer.__name__]
    cells += [f"{made.learning_rate:.4f}", str(made.batch_size), how]
    lines.append(" | ".join(cells))
display(Markdown("\n".join(lines)))

# %% [markdown]
# All trainings take half an hour of one core, so the course ships their table; `ablation_trials` does only what the
# file lacks. (`make experiments NAMES=ladder` makes it anew.)

# %%
rows = ablation_trials(file=data_folder() / "experiments" / "ladder.csv")


def each_seed(rung, column="accuracy at 20000", without=NOTHING):
    """One number a seed, in the order of the seeds."""
    return [r[column] for r in rows if (r["step"], r["without"]) == (rung, without)]


# %% [markdown]
# As a check, one trial is done again now. On the machine that made the table, with one thread, it is the same to the
# last digit. On another machine differences in rounding grow during a training.

# %% tags=["nbval-check-output"]
threads = torch.get_num_threads()
torch.set_num_threads(1)
anew = run_step(FULL_RECIPE, seed=0)
torch.set_num_threads(threads)
filed = next(r for r in rows if (r["step"], r["without"], r["seed"]) == (FULL_RECIPE, NOTHING, 0))
print("same network:", anew["weights"] == filed["weights"])
print("accuracy within 3 points:", abs(anew[f"accuracy at {POINTS[-1]}"] - curve(filed)[-1]) < 0.03)
print("skill within 0.15:", abs(anew["skill"] - filed["skill"]) < 0.15)

# %% [markdown]
# What does each rung reach?


# %%
def of_seeds(values):
    """The mean of the seeds, the lowest and the highest."""
    values = list(values)
    return sum(values) / len(values), min(values), max(values)


reached = {rung: of_seeds(100 * x for x in each_seed(rung)) for rung in STEPS}
names = {rung: rung if rung == STEPS[0] else f"+ {rung}" for rung in STEPS}

# %%
plots.figure(
    plots.bars(
        {names[rung]: reached[rung] for rung in STEPS},
        title="From 90 to 99.6 %, and not every step goes up",
        signed=False,
        label="accuracy, %, after 20 000 images (3 seeds: mean, lowest, highest)",
    ),
    alt="Eleven bars, each with a line from the lowest to the highest seed, from the article's network at 90 % to all "
    "pixels at 99.6 %. The steps with ReLUs and with residual blocks go down, and the lines in the middle are long.",
    caption="The last rung has no line: its three seeds are alike.",
)

print("last rung, right of 500:", [round(500 * x) for x in each_seed(STEPS[-1])])
print("two errors in 500 fit", interval_text(wilson_interval(498, 500), 1, percent=True))

# %% [markdown]
# The three seeds of the last rung agree, but on the *same* 500 pictures. For other pictures see the second line: two
# errors in 500 are likely enough with any accuracy from 98.6 to 99.9 % (Wilson's 95 % interval).
#
# ### The identity
#
# Is the lowest rung really the article's network, and the highest the course's? Yes, number for number:

# %% tags=["nbval-check-output"]
from torch.nn import functional as F

from xai_course.models import ArticleNet, BeetleNet

some = torch.randn(2, 3, 64, 64)
for rung, network, picture in [
    ("the article", ArticleNet, F.avg_pool2d(some, 2)),  # below rung 10: 2 × 2 pixels averaged
    ("more pixels", BeetleNet, some),
]:
    torch.manual_seed(0)
    ours = build(recipe(rung)).eval()
    torch.manual_seed(0)
    print(f"{rung:12} = {network.__name__}: {torch.equal(ours(some), network(10).eval()(picture))}")

# %% [markdown]
# ## 2. What each change brought
#
# For each seed we subtract the accuracy of the rung below. The interval is over these three differences (*paired* by
# seed).

# %%
from itertools import pairwise

gains = {}
for below, rung in pairwise(STEPS):
    pairs = zip(each_seed(below), each_seed(rung), strict=True)
    gains[rung] = seed_interval(100 * (after - before) for before, after in pairs)

# %%
plots.figure(
    plots.bars(
        {f"+ {rung}": gain for rung, gain in gains.items()},
        title="For every single step, the gain may as well be 0",
        label="gain in accuracy over the rung below, points (3 seeds, paired, 95 % interval)",
    ),
    alt="Ten bars with intervals that all hold 0; those of the lower rungs are long, those of the last four short.",
)
print(
    "gains whose interval leaves out 0:",
    [rung for rung, (_, low, high) in gains.items() if low * high > 0],
)

# %% [markdown]
# Ten points lie between the ends of the ladder. Which step brought them? In the middle, with four images in a batch and
# a constant rate, two seeds of the *same* recipe differ by up to eleven points. So a gain from one seed says nothing,
# and three seeds leave every step open.
#
# How does accuracy grow during training? First the four changes of the **structure**, then three of the five changes
# of the **training**.


# %%
def climb(rungs, title, alt):
    """Accuracy by images seen: mean of the seeds, band from the lowest to the highest."""
    found = {}
    for rung in rungs:
        seeds = [r for r in rows if (r["step"], r["without"]) == (rung, NOTHING)]
        share = 100 * torch.tensor([curve(row) for row in seeds])
        found[names[rung]] = torch.stack([share.mean(0), share.amin(0), share.amax(0)], 1)
    plots.figure(
        plots.lines(
            found,
            [point / 1000 for point in POINTS],
            marks={"chance": 10},
            title=title,
            x_label="images seen, thousands",
            y_label="accuracy on test images, %",
        ),
        alt=alt,
        caption="Mean of three seeds; the band reaches from the lowest to the highest.",
    )


climb(
    STEPS[:5],
    "The rung with normalisation learns soonest",
    "Five rising lines over 2 to 20 thousand images. Normalisation passes 80 % after 4 thousand, "
    "pooling after 8, the others after 12 to 16; at the end all lie between 90 and 95 %.",
)

# %%
climb(
    [*STEPS[4:7], STEPS[9]],
    "With a schedule, the seeds come together at the end",
    "Four rising lines over 2 to 20 thousand images. The two with a constant rate end near 91 % in "
    "wide bands; the two with a schedule end at 96.7 and 98.4 % in narrow ones.",
)

# %% [markdown] tags=["further"]
# ## 3. Time to an accuracy
#
# How long does a rung take to reach 80 %? The table says how many images it needs (read off straight lines between ten
# measurements). How long an image takes on your machine we measure now, in a few training steps. The
# **multiplications** of a forward pass are the same on every machine (a training step takes about three times as many).

# %%
import time
from statistics import median


def seconds_per_image(made, steps=4):
    """Seconds of a training step on this machine, for each of its images."""
    model = build(made).train()
    run = made.optimizer(model.parameters(), lr=made.learning_rate)
    images = torch.randn(made.batch_size, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    labels, took = torch.arange(made.batch_size) % 10, []
    for _ in range(steps + 1):  # the first one warms up
        start = time.perf_counter()
        F.cross_entropy(model(images), labels).backward()
        run.step()
        run.zero_grad()
        took.append((time.perf_counter() - start) / made.batch_size)
    return median(took[1:])


def multiplications(model):
    """Multiplications of convolutions and linear layers for one picture, in millions."""
    counted = []

    def count(layer, _inputs, output):
        counted.append(output[0].numel() * layer.weight[0].numel())

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 64, 64))
    return sum(counted) / 1e6


# %%
LEVEL = 0.8
lines = [
    f"rung | images to {LEVEL:.0%} | seeds that get there | ms for an image | seconds | "
    "million multiplications for an image",
    "---|" * 5 + "---",
]
wait, work = {}, {}
for rung in STEPS:
    seeds = [r for r in rows if (r["step"], r["without"]) == (rung, NOTHING)]
    needed = [time_to(LEVEL, POINTS, curve(row)) for row in seeds]
    there = [n for n in needed if n is not None]
    pace = seconds_per_image(recipe(rung))
    if len(there) == len(needed):
        wait[names[rung]] = pace * median(there)
        work[rung] = multiplications(build(recipe(rung))) * median(there)
    cells = [
        names[rung],
        f"{median(there):,.0f}" if there else "",
        f"{len(there)} of {len(needed)}",
    ]
    cells += [f"{1000 * pace:.1f}", f"{pace * median(there):.0f}" if there else ""]
    cells.append(f"{multiplications(build(recipe(rung))):.1f}")
    lines.append(" | ".join(cells))
display(Markdown("\n".join(lines)))
print(f"PyTorch uses {torch.get_num_threads()} threads here")
print("to 80 %, the last rung takes, as a share of the article's:")
print(f"    {work[STEPS[-1]] / work[STEPS[0]]:.3f} of the multiplications")
print(f"    {wait[names[STEPS[-1]]] / wait[STEPS[0]]:.2f} of the seconds, here")

# %%
plots.figure(
    plots.bars(
        wait,
        title="The article's network takes longest",
        signed=False,
        label=f"seconds to {LEVEL:.0%} on this machine (rungs that get there from every seed)",
    ),
    alt=f"Eleven bars of seconds. The article's network takes longest, {wait[STEPS[0]]:.0f} s here. The three rungs with a "
    f"batch of 32 and fewer pixels are fastest, batch size with {wait['+ batch size']:.0f} s.",
)

# %% [markdown]
# The article's network is slow because all three convolutions work on the whole picture: its only pool comes after the
# last. Its million weights are not the reason: with pools in between, and as many weights, an image takes a fraction of
# the time. (How far it is behind depends on the processor.) The other large saving is the **batch**: on our machines 32
# images at once reached 80 % in a third of the time of four at once, or less.

# %% [markdown] tags=["further"]
# ## 4. Undo one change at a time
#
# What a change brings depends on what was there already. So we also ask from the other end: take rung 9, which has all
# changes but the last, and **undo one thing**. How much accuracy is lost? (Two things on the list were no rung: the
# skip connections inside the residual blocks, and three quarters of the training images.)

# %%
top = each_seed(FULL_RECIPE)
lesser = {name: each_seed(FULL_RECIPE, without=name) for name in REMOVED}
lesser["label smoothing"] = each_seed("augmentation")
lost = {
    name: [100 * (with_it - less) for with_it, less in zip(top, each, strict=True)]
    for name, each in lesser.items()
}
order = sorted(lost, key=lambda name: -sum(lost[name]))


def leaves_out_0(values):
    """Whether Student's 95 % interval of some seeds leaves out 0."""
    _, low, high = seed_interval(values)
    return low * high > 0


# %%
up_and_down = {
    "gained on the way up": {name: gains[name][0] for name in order if name in gains},
    "lost from the top": {name: of_seeds(lost[name])[0] for name in order if name in gains},
}

# %%
plots.figure(
    plots.part_bars(
        up_and_down,
        title="ReLUs gained nothing on the way up, and are worth most from the top",
        unit="points of accuracy, mean of three seeds",
    ),
    alt="Pairs of bars, points gained on the way up and points lost from the top: ReLUs −3 and 62, normalisation 4 and 32, "
    "optimiser 0 and 10, schedule 5 and 8; the others lie between −3 and 1.",
    caption="Normalisation: from 18 to 56 points are lost, depending on the seed. The verdict has all seeds, and the two "
    "changes that were no rung.",
)

# %% [markdown]
# - **ReLUs** showed no gain on the way up, and are worth 62 points from the top. Perhaps the max-pools of the lower
#   rungs were enough: they are not linear either. The residual network has no max-pools. Without ReLUs it is one
#   *linear* map, however deep, and gets to 37 %.
# - **Normalisation**: without it two seeds reach 80 and 77 %, and one 43 %. Three such seeds prove little.
# - **Optimiser**: on the way up there was no difference. With the schedule and the larger batch, SGD costs 10 points
#   (at the rate that its rule gives; no rate was tuned).
# - **Residual blocks**: without them accuracy is *higher* in each of the three seeds, on average by a point. What they
#   save is weights: a fifteenth is left.
#
# So "what does change X bring?" has no single answer: it depends on the other changes. An *ablation* table (one thing
# taken away at a time) shows one way of asking.

# %% [markdown]
# ## 5. Does a better network explain better?
#
# Each network has its own answer key: what the parts of a beetle are worth to *it*. So we can ask of a poor network,
# too, whether its explanations are right. As in lesson 08 we take the rank agreement of five methods with the key, on
# 40 beetles, and the **skill** of the best of them: 0 for the best map that knows nothing, 1 for the key itself. (The
# nulls are eight simple maps. *Bright edges* are the best of them for most networks, as in lesson 08.) Skill
# divides by the room above the best null. So we also read the **lead over the best null**, in short *lead*: the best
# method's agreement minus that null's.

# %%
METHODS = ("gradient", "Grad-CAM", "expected gradients", "DeepLIFT", "LRP")
nulls = [name for name in rows[0] if name.startswith("null: ")]
for row in rows:
    row["best method"] = max(row[name] for name in METHODS)
    row["best null"] = max(row[name] for name in nulls)
    row["lead"] = row["best method"] - row["best null"]
    row["lead over edges"] = row["best method"] - row["null: edges"]

# %%
plots.figure(
    plots.lines(
        {
            "best of five methods": [of_seeds(each_seed(rung, "best method")) for rung in STEPS],
            "best of eight nulls": [of_seeds(each_seed(rung, "best null")) for rung in STEPS],
            "edges alone": [of_seeds(each_seed(rung, "null: edges")) for rung in STEPS],
        },
        range(len(STEPS)),
        title="Up to rung 9, the best method comes down to the best null",
        x_label="rung: 0 the article, 1 pooling, 2 ReLUs, … 10 more pixels",
        y_label="agreement with the network's own key",
    ),
    alt="Three lines over eleven rungs. The best method rises from 0.78 to 0.87 at rung 3, falls to 0.66 at rung 9, and "
    "has 0.79 at rung 10. The best null lies between 0.62 and 0.72, and meets it at rung 9. Edges alone are the "
    "lowest line, between 0.46 and 0.67.",
    caption="Mean of three seeds; the band reaches from the lowest to the highest.",
)

# %%
skills = {rung: seed_interval(each_seed(rung, "skill")) for rung in STEPS}

# %%
plots.figure(
    plots.bars(
        {names[rung]: skills[rung] for rung in STEPS},
        title="The skill falls, and comes back with more pixels",
        label="skill of the best method (3 seeds, 95 % interval); 0: the best null",
    ),
    alt="Eleven bars with wide intervals. The first four lie between 0.33 and 0.55, the next six fall from 0.20 and 0.29 "
    "to −0.01 at label smoothing; more pixels have 0.36.",
)

# %% [markdown]
# With three seeds a picture may deceive. So we ask in several ways. How do the last rung but one and the last differ
# from the first? Where does a straight line through all eleven rungs lead, and one through rungs 4 to 9
# (both: end minus beginning)? Is it one step?


# %%
def moved(column, last, first=STEPS[0], without=NOTHING):
    """One rung minus another, over the seeds, with its 95 % interval."""
    pairs = zip(each_seed(last, column, without), each_seed(first, column), strict=True)
    return seed_interval(after - before for after, before in pairs)


def tilt(column, rungs):
    """End minus beginning of a straight line through some rungs, over the seeds."""
    values = torch.tensor([each_seed(rung, column) for rung in rungs])
    x = torch.linspace(-0.5, 0.5, len(rungs))
    return seed_interval((x @ values / (x @ x)).tolist())


print("mean ± half of the 95 % interval over three seeds")
print(f"{'':17}{'rung 9 − 0':>14}{'rung 10 − 0':>15}{'line, 0 to 10':>16}{'line, 4 to 9':>15}")
for column in ("skill", "lead", "best method", "best null", "lead over edges"):
    found = moved(column, STEPS[9]), moved(column, STEPS[10])
    found += tilt(column, STEPS), tilt(column, STEPS[4:10])
    told = [interval_text(one, signed=True, plus_minus=True) for one in found]
    print(f"{column:17}{told[0]:>14}{told[1]:>15}{told[2]:>16}{told[3]:>15}")
print("single steps in skill whose interval leaves out 0:")
for below, rung in pairwise(STEPS):
    step = moved("skill", rung, below)
    if step[1] * step[2] > 0:
        print(f"    + {rung:16} {interval_text(step, signed=True)}")
undone = moved("skill", FULL_RECIPE, FULL_RECIPE, "residual blocks")
print("rung 9 without residual blocks:", interval_text(undone, signed=True))

# %% [markdown]
# - **From rung 0 to rung 9 the skill falls**, from 0.43 to about 0, in each of the three seeds. (Up to rung 3 no fall
#   is seen.) The lead falls as well.
#   **More pixels bring it back**, from the lowest of the eleven rungs: between the first rung and the last the
#   difference is open.
# - **The methods fall.** The best null rises a little on average, and even this is open.
# - **One step or several?** The step with residual blocks is the largest fall. But we picked it, like the step with
#   more pixels, from ten: if no step did anything, at least one of ten such intervals would leave out 0 in about 40 % of all ladders (1 − 0.95¹⁰).
#   Undoing the blocks on rung 9 leaves it open. After them the skill falls further, on the whole.
# - **It may depend on the null.** With *edges* as the only null, it is open whether the lead falls.
#
# This is one ladder: another order of the changes may give another curve. Does *accuracy* go with the skill? Three
# seeds of one recipe are not three independent cases. So we count **recipes**: eleven rungs, and nine ways to undo
# something, are twenty.

# %%
right = torch.tensor([curve(row)[-1] for row in rows])

# %%
plots.figure(
    plots.scatter(
        100 * right,
        [row["skill"] for row in rows],
        title="Accuracy does not tell the skill",
        x_label="accuracy, %",
        y_label="skill of the best method",
    ),
    alt="Sixty points. Most lie above 80 % accuracy, with skills from −0.2 to 0.6. Three "
    "points at 37 % accuracy have the highest skill, 0.75.",
)

# %%
from xai_course.beetlebox import spearman_with_truth

recipes = list(dict.fromkeys((row["step"], row["without"]) for row in rows))
print(f"rank correlation with accuracy over {len(recipes)} recipes, and without the linear one")
print(f"(95 % of random orders lie within ±{1.96 / (len(recipes) - 1) ** 0.5:.2f})")
nonlinear = [n for n, (_, without) in enumerate(recipes) if without != "ReLUs"]
by_recipe = {
    column: torch.tensor([sum(each_seed(step, column, without)) for step, without in recipes])
    for column in ("accuracy at 20000", "skill", "lead", "best method")
}
for column in ("skill", "lead", "best method"):
    pair = by_recipe["accuracy at 20000"][None].double(), by_recipe[column][None].double()
    less = [values[:, nonlinear] for values in pair]
    told = [spearman_with_truth(*some).item() for some in (pair, less)]
    print(f"    {column:12} {told[0]:+.2f} {told[1]:+.2f}")
for column in ("DeepLIFT", "best null"):
    linear, usual = (
        seed_interval(each_seed(FULL_RECIPE, column, without))[0] for without in ("ReLUs", NOTHING)
    )
    print(f"{column}: agreement {linear:.2f} without ReLUs, {usual:.2f} with them")

# %% [markdown]
# No reading shows that more accurate networks are explained better. The skill and the lead point the other way, on the
# border of chance, and without the linear recipe both are within it. (A weak link may be hidden: most networks lie
# close together in accuracy.) The highest skill belongs to the three *linear* networks (those without ReLUs), which are
# right in little more than a third of the cases. For them DeepLIFT agrees more with the key (0.80 against 0.66), and
# the best null far less (0.18 against 0.67).
#
# ## 6. What an explanation costs
#
# Nearly all of a method's cost is **passes** through the network. Their number follows from the method:
#
# | method | images forward, for N images | gradients back |
# |---|---|---|
# | `gradient`, `grad_cam` | N | N |
# | `smooth_grad` | N + N · samples | N · samples |
# | `integrated_gradients` | N + N · steps | N · steps |
# | `occlusion` | N + N · windows | 0 |
#
# Where "N +" stands, the images go through once more, to find the class to explain.

# %% tags=["nbval-check-output"]
from functools import partial

from xai_course.beetlebox import SPECIES, scenes, stack_images
from xai_course.data import normalise
from xai_course.metrics import count_passes
from xai_course.relu import grad_cam, gradient, smooth_grad
from xai_course.residual import deeplift, integrated_gradients, lrp, occlusion
from xai_course.storage import load_checkpoint

network, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
beetles = [scene for name in SPECIES for scene in scenes("test", name, 2)]
images = normalise(stack_images(beetles))  # (20, 3, 64, 64)
methods = {
    "gradient": gradient,
    "Grad-CAM": grad_cam,
    "SmoothGrad, 16": partial(smooth_grad, samples=16),
    "IG, 16 steps": partial(integrated_gradients, steps=16),
    "occlusion, 64": partial(occlusion, window=8, stride=8),
    "DeepLIFT": deeplift,
    "LRP": partial(lrp, rule="gamma"),
}
for name, method in methods.items():
    there, back = count_passes(network, lambda method=method: method(network, images))
    print(f"{name:15} {there / 20:5.0f} forward {back / 20:5.0f} backward, for each image")

# %% [markdown]
# (DeepLIFT and LRP need few passes, but each costs more: they work out the share of every unit on the way.) Time and
# memory follow from passes, but not in the same way. We double one thing after the other (and
# halve the stride), and measure.

# %%
import sys

sys.path.append(str(data_folder().parent / "benchmarks"))
from timing import peak_memory, ratio, take_turns  # as in `make bench`


def compare(calls, base, turns=3):
    """Median over turns of each call's time divided by the base's."""
    for call in calls.values():
        call()  # warm up
    seconds = take_turns(calls, turns)
    return {name: ratio(seconds[name], seconds[base])[0] for name in calls}


ten, five, ig, oc = images[::2], images[::4], integrated_gradients, occlusion
large = F.interpolate(five, scale_factor=2, mode="bilinear")
doubled = {  # what is doubled: (before, after)
    "steps: 8 to 16": (lambda: ig(network, five, steps=8), lambda: ig(network, five, steps=16)),
    "images: 5 to 10": (lambda: ig(network, five, steps=8), lambda: ig(network, ten, steps=8)),
    "images in a pass: 16 to 32": (
        lambda: ig(network, five, steps=8),
        lambda: ig(network, five, steps=8, batch_size=32),
    ),
    "side of the image: 64 to 128": (
        lambda: ig(network, five, steps=8),
        lambda: ig(network, large, steps=8),
    ),
    "stride of windows: 8 to 4": (
        lambda: oc(network, five[:2], window=8, stride=8),
        lambda: oc(network, five[:2], window=8, stride=4),
    ),
}


# %%
table = []
for before, after in doubled.values():
    count = [sum(count_passes(network, call)) for call in (before, after)]
    memory = [peak_memory(call) for call in (before, after)]
    pace = compare({"before": before, "after": after}, "before")["after"]
    table.append([count[1] / count[0], pace, memory[1] / memory[0]])

# %%
plots.figure(
    plots.matrix(
        table,
        list(doubled),
        ["passes", "time", "memory"],
        signed=False,
        fmt="× {:.1f}",
        label="after, divided by before",
        title="More passes take time,\nlarger ones take memory",
    ),
    alt="Table of five changes, each with the factors of passes, time and memory. "
    + " ".join(
        f"{name}: × {count:.1f}, × {pace:.1f}, × {memory:.1f}."
        for name, (count, pace, memory) in zip(doubled, table, strict=True)
    ),
)

# %% [markdown]
# Read it row by row. More **steps** or **images** take more time and no more memory: they go through the network in
# packets of `batch_size`. Larger **packets** (more images in a pass) take memory; how much time they save depends on
# the machine, and on how large they were before (section 7). Twice the **side** is four times the pixels: it takes
# several times the time and the memory, with the same number of passes. **Windows** that lie twice as close are nearly
# four times as many.

# %% [markdown] tags=["further"]
# ## 7. The same result, cheaper
#
# Each trick below should change nothing but the cost. So we measure its time and its memory, as a share of those
# without it, and how far its result is off, as a share of the largest value. (**Channels-last** keeps the channels of a
# pixel side by side in memory; the numbers are the same.)

# %%
import copy


def slope(model, x):
    """The gradient as one finds it everywhere: it fills the weights' .grad, too."""
    x = x.clone().requires_grad_()
    model(x).max(1).values.sum().backward()
    return x.grad


def slope_alone(model, x):
    """The gradient by the image, and nothing else."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).max(1).values.sum(), x)[0]


def answers(model, x, mode):
    """Forward passes only, as occlusion makes them."""
    with mode():
        return torch.cat([model(part).detach() for part in x.split(10)])


# %%
import contextlib

frozen = copy.deepcopy(network).requires_grad_(False)
last = copy.deepcopy(network).to(memory_format=torch.channels_last)
images_last = images.contiguous(memory_format=torch.channels_last)
tricks = {  # name: (without, with)
    "batching (20 at once, not one by one)": (
        lambda: torch.cat([slope_alone(network, x[None]) for x in images]),
        lambda: slope_alone(network, images),
    ),
    "ask for the image's gradient alone": (
        lambda: slope(network, images),
        lambda: slope_alone(network, images),
    ),
    "frozen weights": (lambda: slope(network, images), lambda: slope(frozen, images)),
    "frozen weights, image's gradient alone": (
        lambda: slope_alone(network, images),
        lambda: slope_alone(frozen, images),
    ),
    "no_grad for forward passes": (
        lambda: answers(network, images, contextlib.nullcontext),
        lambda: answers(network, images, torch.no_grad),
    ),
    "inference_mode for forward passes": (
        lambda: answers(network, images, contextlib.nullcontext),
        lambda: answers(network, images, torch.inference_mode),
    ),
    "channels-last": (
        lambda: slope_alone(network, images),
        lambda: slope_alone(last, images_last),
    ),
}

# %%
lines = ["trick | time (1: without it) | memory | largest difference", "---|---|---|---"]
for name, (without, with_it) in tricks.items():
    pace = compare({"without": without, "with": with_it}, "without", turns=6)["with"]
    memory = peak_memory(with_it) / peak_memory(without)
    error = (with_it() - without()).abs().max() / without().abs().max()
    lines.append(f"{name} | {pace:.2f} | {memory:.2f} | {error:.0e}")
network.zero_grad()
display(Markdown("\n".join(lines)))

# %% [markdown]
# - **Several images at once** save most time, in exchange for memory.
# - **Ask for less**: `backward()` computes a gradient for every weight, although nobody wanted one. Freeze the weights
#   or ask for the image's gradient alone, as the course's methods do. One of the two is nearly enough.
# - **Without autograd** a forward pass keeps no intermediate results: that saves memory. (`inference_mode` saves as
#   much of it as `no_grad`. But what it returns can never enter a gradient later, so `no_grad` is the safer habit.)
#
# None of them changes a map by more than rounding does: you may use them without checking.

# %% [markdown] tags=["further"]
# ## 8. When a compiler is present: `torch.compile`
#
# `torch.compile(network)` writes a program for your network and compiles it; the rest of your code stays. It needs a
# C++ compiler, and time, once. A lesson may lack both, so the table shows what `make experiments NAMES=compile` found
# on the machine that made the course's tables (one thread). *Pays off* is the number of calls after which the first is
# paid back. (Later rows use some of what the first one compiled.)

# %%
import shutil

from xai_course.experiments import compile_trials

there = any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
print("a C++ compiler on this machine:", "yes" if there else "no")
lines = [
    "what | images | time (1: plain) | largest difference | first call, core seconds | pays off after"
]
lines.append("---|" * 5 + "---")
for row in compile_trials(file=data_folder() / "experiments" / "compile.csv"):
    saved = (row["plain, ms"] - row["compiled, ms"]) / 1000
    first = row["first call, core s"]
    cells = [row["what"], str(row["images"]), f"{row['compiled, ms'] / row['plain, ms']:.2f}"]
    cells += [f"{row['error']:.0e}", f"{first:.0f}"]
    cells.append(f"{first / saved:,.0f} calls" if saved > 0 else "never")
    lines.append(" | ".join(cells))
display(Markdown("\n".join(lines)))

# %% [markdown]
# The result is the same in three quarters of the time or a little more. But it takes thousands of calls to pay back the
# first. For one figure it is not worth it; for grading as in lesson 08, perhaps.

# %% [markdown]
# ## 9. Where it breaks: bfloat16
#
# `bfloat16` keeps the range of float32, but only 8 binary digits of each number: two to three decimal ones. It takes
# half the memory, and less time on processors that have it built in. Networks work well with it. Do explanations?
# (*Distance* in the table: the length of the difference of the two maps, as a share of the length of the map in
# float32; a length is the root of the sum of squares.)

# %%
from xai_course.beetlebox import ground_truth_effects, part_relevance
from xai_course.core import map_similarity
from xai_course.metrics import relative_l2_error

network16, ten16 = copy.deepcopy(network).bfloat16(), ten.bfloat16()
with torch.no_grad():
    says, says16 = network(ten).argmax(1), network16(ten16).argmax(1)
print(f"same answer for {(says == says16).sum()} of {len(ten)} beetles")
true = ground_truth_effects(network, beetles[::2])
some = {
    "gradient": gradient,
    "Grad-CAM": grad_cam,
    "IG, 8 steps": partial(ig, steps=8, batch_size=80),
    "occlusion, 16 windows": partial(occlusion, window=16, stride=16, batch_size=160),
    "DeepLIFT": deeplift,
    "LRP": methods["LRP"],
}
lines = ["method | distance | same order of pixels | agreement with the key: float32 | bfloat16"]
lines.append("---|" * 4 + "---")
for name, method in some.items():
    full, half = method(network, ten, says), method(network16, ten16, says).float()
    keys = [spearman_with_truth(part_relevance(m, beetles[::2]), true).mean() for m in (full, half)]
    lines.append(
        f"{name} | {relative_l2_error(half, full).median():.0%} | {map_similarity(half, full).median():.2f} | "
        f"{keys[0]:.2f} | {keys[1]:.2f}"
    )
display(Markdown("\n".join(lines)))
calls = {"32": lambda: gradient(network, ten), "16": lambda: gradient(network16, ten16)}
print(
    f"time for the gradient: {compare(calls, '32')['16']:.1f} × that of float32, on this processor"
)

# %% [markdown]
# Here it works (on ten beetles, so agreement is not that of lesson 08): the gradient is off by a tenth, the others by
# less; the order of pixels is kept, and agreement with the key is within 0.04 of that of float32. (On three processors
# bfloat16 took from half the time to seven times as long.) **bfloat16 breaks where two nearly equal numbers are
# subtracted.** A logit between 2 and 4 can only move in steps of 1/64, one between 4 and 8 in steps of 1/32; smaller
# changes are lost. Small windows have small effects:

# %%
fine = partial(occlusion, window=4, stride=4, batch_size=64)
full, half = (
    fine(net, x[:1], says[:1])[0, 0, ::4, ::4].flatten().float()  # one number for each window
    for net, x in ((network, ten), (network16, ten16))
)
small = full.abs() < 0.1

# %%
plots.figure(
    plots.scatter(
        full[small],
        half[small],
        diagonal="no error",
        title="In bfloat16, small effects become steps",
        x_label="effect of a window in float32, logits",
        y_label="the same in bfloat16",
    ),
    alt="Points along the diagonal, which lie on level steps a sixty-fourth of a logit apart. Most of "
    "them are on the step at 0 and on the one above it.",
    caption="Occlusion of one beetle by windows of 4 × 4 pixels; effects below 0.1 logits.",
)
print(
    f"values that occur: float32 {len(full.unique())}, bfloat16 {len(half.unique())} of {len(full)} windows"
)
print(f"no effect at all: float32 {(full == 0).sum()}, bfloat16 {(half == 0).sum()} windows")
print(f"of the others, wrong sign in bfloat16: {(half * full < 0).sum() / (half != 0).sum():.0%}")
print(f"smallest step in bfloat16: {half[half != 0].abs().min():.4f} logits")

# %% [markdown]
# Half of the windows have no effect any more. So "the answer is the same" is no test: an answer is the largest of ten
# numbers, and seldom changes. Compare the **maps** of your method on a few images. Small differences of large numbers
# need float32.

# %% [markdown]
# ## 10. How many steps are enough?
#
# Integrated Gradients, SmoothGrad and occlusion are means over steps, samples and windows. How many do you need? A
# **convergence plot** shows how far a map is from the map of many more steps.

# %%
from xai_course.metrics import convergence

COUNTS = [1, 2, 4, 8, 16, 32, 128]
few, chosen = ten[:7], says[:7]
steps = {n: ig(network, few, chosen, steps=n, batch_size=100) for n in COUNTS}
nodes = {n: ig(network, few, chosen, steps=n, rule="gauss", batch_size=100) for n in COUNTS}
samples = {n: smooth_grad(network, few, chosen, samples=n, batch_size=100) for n in COUNTS}
far = {  # [0]: the distances from the map of the most steps
    "Integrated Gradients, steps": convergence(steps.get, COUNTS)[0],
    "the same, Gauss–Legendre": convergence(nodes.get, COUNTS)[0],
    "SmoothGrad, samples": convergence(samples.get, COUNTS)[0],
}
middle_low_high = torch.tensor([0.5, 0.0, 1.0], dtype=torch.double)

# %%
plots.figure(
    plots.lines(
        {n: 100 * d.quantile(middle_low_high, dim=1).T for n, d in far.items()},
        COUNTS[:-1],
        log_x=True,
        title="Integrated Gradients arrive in fewer passes than SmoothGrad",
        x_label="passes for each image",
        y_label="distance from the map of 128 passes, %",
    ),
    alt="Three falling lines over 1 to 32 passes. Integrated Gradients fall to a tenth at 8 steps, with the nodes of Gauss and Legendre "
    "a little later; SmoothGrad is still far off at 32 samples.",
    caption="Median of seven beetles; the band reaches from the best to the worst.",
)
for name in list(far)[:2]:
    print(f"16 passes, {name}: {far[name][COUNTS.index(16)].median():.3f}")

# %% [markdown]
# Steps lie at regular places, and the error falls fast. Samples are random: their error falls with the **square root**
# of their number, so half the error costs four times the passes. (Even the map of 128 samples, with which we compare,
# has not converged.)
#
# Where on the path should the steps lie? Ours lie in the middles of equal pieces. Captum's default is the *nodes* of
# Gauss and Legendre (`rule="gauss"`), which are far better for smooth functions. A network of ReLUs is not smooth: its
# gradient jumps along the path. Here the middles are a little closer, pass for pass (after 16 passes 0.040 of the
# map's length away, the nodes 0.058).
#
# For Integrated Gradients there is a second test that needs no finer map: **completeness**. The map's sum should be
# $f(x) - f(x_0)$, with the image's mean colour as the baseline $x_0$. How much of it is missing, by the number of
# steps, for four beetles:

# %%
with torch.no_grad():
    base = few.mean((2, 3), keepdim=True).expand_as(few)
    change = (network(few) - network(base)).gather(1, chosen[:, None])[:, 0]
missing = torch.stack([(steps[n].sum((1, 2, 3)) - change).abs() for n in COUNTS])
# How often more steps make the sum worse:
rises = (missing[1:] > missing[:-1]).float().mean()

# %%
plots.figure(
    plots.lines(
        {f"beetle {n + 1}": missing[:, n] for n in range(4)},
        COUNTS,
        log_x=True,
        title="From 16 steps on, the sum is nearly complete",
        x_label="steps",
        y_label="missing from the sum, logits",
    ),
    alt="Four lines over 1 to 128 steps, from between 1 and 11 logits down to nearly 0 at 16; not all of "
    "them fall at each step.",
)
print(f"moving on to more steps made the sum worse in {rises:.0%} of the cases (seven beetles)")

# %% [markdown]
# More steps do not help each time: on the path a ReLU may switch just before a step, or just after it.
#
# And occlusion, by the number of windows (8 pixels wide, closer and closer together):

# %%
strides = {64: 8, 225: 4, 841: 2}
close, order_ = convergence(
    lambda n: occlusion(network, few[:3], chosen[:3], window=8, stride=strides[n], batch_size=100),
    list(strides),
)
for n, d, r in zip(strides, close.median(1).values, order_.median(1).values, strict=False):
    print(f"{n:4} windows: {d:.0%} from the map of 841, pixels in the same order by {r:.2f}")

# %% [markdown]
# With 64 windows side by side the map has not converged: it is off by more than half.
#
# ### Converged is not right
#
# A convergence plot says that a map no longer changes, not that it is true. We compare the maps of Integrated
# Gradients and SmoothGrad with the key (on seven beetles, so the numbers are not those of lesson 08):

# %%
from xai_course.metrics import edge_map

edges = spearman_with_truth(part_relevance(edge_map(network, few), beetles[:14:2]), true[:7]).mean()
against = {
    name: [
        spearman_with_truth(part_relevance(found[n], beetles[:14:2]), true[:7]).mean()
        for n in COUNTS
    ]
    for name, found in {"Integrated Gradients": steps, "SmoothGrad": samples}.items()
}

# %%
plots.figure(
    plots.lines(
        against,
        COUNTS,
        log_x=True,
        marks={"edges": edges.item()},
        title="Converged, and no nearer to the truth",
        x_label="passes for each image",
        y_label="agreement with the answer key",
    ),
    alt="Agreement with the key over 1 to 128 passes for Integrated Gradients and "
    "SmoothGrad: neither rises with the passes, and both stay below the edge detector.",
    caption="Seven beetles: look at the trend, not at the digits. Edges: the edge detector, a map that knows nothing.",
)

# %% [markdown]
# ## Exercises
#
# **1. A gain and its interval** (10 minutes, easy). `before` and `after` are lists of accuracies, one for each seed,
# in the same order; `t` is Student's factor for their number (4.303 for three). Return three numbers: the mean gain,
# and the lower and the upper end of its interval, mean ± t · s / √n. (n is the number of seeds, s the standard
# deviation of the gains, with n − 1.)


# %% tags=["exercise"]
def gain(before, after, t):
    """Mean gain over seeds, and both ends of its interval."""
    return ...


# %% tags=["solution"]
def gain(before, after, t):
    """Mean gain over seeds, and both ends of its interval."""
    gains = torch.tensor(after) - torch.tensor(before)
    half = t * gains.std() / len(gains) ** 0.5
    return gains.mean(), gains.mean() - half, gains.mean() + half


# %%
from xai_course.exercises.lesson_10 import check_gain

check_gain(gain)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Subtract seed by seed first. `tensor.std()` divides by n − 1 already.
# </details>
#
# **2. Enough steps** (10 minutes, medium). `counts` and `errors` are lists of numbers: `counts` rise, and each has its
# error. Return the smallest count whose error is at most `tolerance` **and stays so** for all larger counts on the
# list; if even the last error is larger, return `"none"`.


# %% tags=["exercise"]
def enough(counts, errors, tolerance):
    """The smallest count from which on every error is within the tolerance."""
    return ...


# %% tags=["solution"]
def enough(counts, errors, tolerance):
    """The smallest count from which on every error is within the tolerance."""
    found = "none"
    for count, error in reversed(list(zip(counts, errors, strict=True))):
        if error > tolerance:
            break
        found = count
    return found


# %%
from xai_course.exercises.lesson_10 import check_enough

check_enough(enough)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Walk through the list from its end, and stop at the first error that is too large.
# </details>
#
# When it works, ask for the curve of section 10, and compare with what you read from the plot:
# `enough(COUNTS[:-1], far["Integrated Gradients, steps"].median(1).values.tolist(), 0.1)`. With a solution: 8.
#
# **3. Only what was asked for** (10 minutes, medium). `images` is (N, C, H, W). Return the derivative of each image's
# largest logit by that image, in the same shape, with **one** pass forward and one backward. (Section 7 has it; try
# without looking.) Afterwards the model is as it was: no weight has a `.grad`, none is frozen.


# %% tags=["exercise"]
def input_gradient(model, images):
    """The derivative of the largest logit of each image by that image."""
    return ...


# %% tags=["solution"]
def input_gradient(model, images):
    """The derivative of the largest logit of each image by that image."""
    x = images.clone().requires_grad_()
    return torch.autograd.grad(model(x).max(1).values.sum(), x)[0]


# %%
from xai_course.exercises.lesson_10 import check_cheap

check_cheap(input_gradient)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The sum of the largest logits has the right derivative, since each depends on its own image alone.
# `torch.autograd.grad(outputs, inputs)` computes only what you name.
# </details>

# %% [markdown]
# ## Verdict
#
# **"Performance can be improved by optimising structure, optimiser and data": confirmed, for accuracy, in this easy
# world.** Ten changes, one on top of the other, take the accuracy (the share of right answers) from 90 to 99.6 %, with
# a fifteenth of the weights (the numbers that a network learns). The last network reaches 80 % with less than a tenth
# of the multiplications that the article's network takes. How much time that saves depends on the processor (section
# 3).
#
# Then we took the network with nine of the ten changes (all but the last, more pixels) and undid one thing at a time.
# *Structure*: without ReLUs, which are simple functions between the layers, 62 of 100 points of accuracy are lost;
# without normalisation, which keeps the numbers between the layers at one scale, 18 to 56, depending on the seed.
# *Optimiser*, the rule that changes the weights: with the rule SGD in place of AdamW 10 points are lost; the length
# of its steps was not tuned. *Data*: with a quarter of the images 2 points are lost; what mirror images bring is
# open. Single gains hold only where they were measured. Of the ten things undone so, three make a difference that
# three seeds can show: the ReLUs, the optimiser, the images. (Without normalisation more is lost than with the
# optimiser or the images changed, but so unequally that the interval over three seeds contains 0.)
#
# **For the explanations: no gain seen, and a loss on the way.** The skill of the best explanation, against eight
# simple nulls, begins at 0.43, falls to about 0, its lowest value, just before the last change, and ends at 0.36. The
# loss shows in each of the three seeds; between the beginning and the end the difference is open. The loss may depend
# on the null: with edges as the only null, it is open whether the lead falls. And this is one order of the changes.
# Over twenty recipes (ways to build and train the network) accuracy and skill do not rise together. A more accurate
# model does not promise better explanations.
#
# **What makes explanations cheaper** is in sections 7 to 10: many images at once, only the gradient that is needed,
# enough repetitions (*steps*) and no more. A computer can also save time by calculating with fewer digits (section 9):
# compare the maps before you trust that.
#
# **What you may conclude:**
#
# - Here "more accurate" did not tell how good the explanations are. Ask for their skill: what they are worth beside a map that knows
#   nothing.
# - A gain from one training is no gain yet. Ask how often the network was trained (how many *seeds*), and for the
#   interval of the gain.

# %% [markdown]
# The numbers behind the verdict:

# %%
print("accuracy, 500 test images, from three seeds (interval: seeds and images)")
for rung in (STEPS[0], STEPS[-1]):
    told = interval_text(seed_interval(each_seed(rung), images=500), 1, percent=True)
    print(f"    {rung:12} {told}")
print(f"weights, last rung: 1 / {count_weights(ArticleNet()) / count_weights(BeetleNet()):.1f}")
print(f"multiplications to 80 %, last rung: 1 / {work[STEPS[0]] / work[STEPS[-1]]:.1f}")
print("skill of the best explanation (bounded by 1)")
for rung in (STEPS[0], FULL_RECIPE, STEPS[-1]):
    print(f"    {rung:15} {interval_text(skills[rung])}")
print("points of accuracy lost, mean and each seed (✓: Student's interval leaves out 0)")
for name in order:
    each = "  ".join(f"{value:5.1f}" for value in sorted(lost[name]))
    mark = "✓" * leaves_out_0(lost[name])
    print(f"    without {name:30} {of_seeds(lost[name])[0]:5.1f}   {each}  {mark}")

# %% [markdown]
# ## Take it with you
#
# Two functions for any PyTorch model and any explainer: count its passes, and see how far few steps are from many.

# %%

from IPython.display import Code

from xai_course.snippets import snippet

source = snippet(count_passes, convergence, checks=False)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty_file: dict = {}
exec(source, empty_file)
passes = [
    count(network, lambda: ig(network, few, steps=4))
    for count in (empty_file["count_passes"], count_passes)
]
print("the same count:", passes[0] == passes[1], tuple(passes[0]))
both = [
    find({1: steps[1], 8: steps[8]}.get, [1, 8])
    for find in (empty_file["convergence"], convergence)
]
print("the same distances:", all(torch.equal(a, b) for a, b in zip(*both, strict=True)))

# %% [markdown]
# ## Quiz
#
# **1. A change gains 0.4, 0.5 and 0.6 points with three pairs of seeds. What may you report?**
#
# <details><summary>a) A gain of 0.6 points.</summary>
#
# No. The best of several runs is partly luck.
# </details>
# <details><summary>b) A gain of 0.5 points, 95 % interval 0.25 to 0.75.</summary>
#
# Yes. Taken seed by seed the gain hardly varies, so three pairs are enough here. (Had you picked it out of ten changes,
# you would have to say so.)
# </details>
# <details><summary>c) Nothing: three seeds cannot show a gain.</summary>
#
# Three seeds can, if the gain is large beside the differences between the seeds. The interval says whether it is.
# </details>
#
# **2. A network in bfloat16 gives the same answers as in float32. Which of its explanations suffers most?**
#
# <details><summary>a) None: the answers are the same.</summary>
#
# An answer is the *largest* of ten numbers, and small errors seldom change which. A map is made of small numbers.
# </details>
# <details><summary>b) The gradient: its errors grow from layer to layer.</summary>
#
# No. The gradient is off by about a tenth, and its pixels keep their order (section 9).
# </details>
# <details><summary>c) Occlusion by small windows: it subtracts two nearly equal logits.</summary>
#
# Yes. In section 9 half of the small windows have no effect left.
# </details>
#
# **3. Integrated Gradients have converged: twice the steps give the same map. What follows?**
#
# <details><summary>a) If the map disagrees with the key, more steps will not help.</summary>
#
# Yes. What is wrong with the map now is the method or its baseline.
# </details>
# <details><summary>b) The map is right.</summary>
#
# No. The map is what this method gives with this baseline. With another baseline it converges to another map (lesson
# 07).
# </details>
# <details><summary>c) Nothing: the map may still be far from the method's own answer.</summary>
#
# Hardly: that distance is what the convergence plot shows, and here it is small.
# </details>

# %% [markdown]
# ## References
#
# - He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv:1512.03385.
# - Ioffe, Szegedy: Batch Normalization. ICML 2015, arXiv:1502.03167.
# - Loshchilov, Hutter: Decoupled Weight Decay Regularization (AdamW). ICLR 2019, arXiv:1711.05101.
# - Smith, Topin: Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates. 2017,
#   arXiv:1708.07120 (the schedule).
# - Goyal et al.: Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour. 2017, arXiv:1706.02677 (the rate grows
#   with the batch).
# - Malladi, Lyu, Panigrahi, Arora: On the SDEs and Scaling Rules for Adaptive Gradient Algorithms. NeurIPS 2022,
#   arXiv:2205.10287 (under Adam, with its root).
# - Müller, Kornblith, Hinton: When Does Label Smoothing Help? NeurIPS 2019, arXiv:1906.02629.
# - Kalamkar et al.: A Study of BFLOAT16 for Deep Learning Training. 2019, arXiv:1905.12322.
# - Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks. ICML 2017, arXiv:1703.01365.
# - Smilkov et al.: SmoothGrad: removing noise by adding noise. 2017, arXiv:1706.03825.
# - Ansel et al.: PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and Graph
#   Compilation. ASPLOS 2024 (`torch.compile`).
