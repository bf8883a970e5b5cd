# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
MODEL = "efficientnet_lite0"
IMAGES = "images"
OUT = "runs/report"
LABELS = ""
METHODS = ""

# %%
from html import escape

from IPython.display import HTML, display

from xai_course import plots
from xai_course.core import sign_test
from xai_course.report import (
    best_nulls,
    chance_words,
    conclude,
    fill_words,
    occlusion_results,
    open_results,
    randomisation_results,
    run_report,
    summarise,
)
from xai_course.report.run import FILLS

own, collected = run_report(MODEL, IMAGES, OUT, labels=LABELS, methods=METHODS, progress=False)
found = summarise(open_results(collected), collected.names, own.classes)
words, checks = conclude(found), collected.checks
broken = [entry for entry in collected.images if "problem" in entry]
real = checks["methods"]


def items(sentences):
    """Show sentences as a list."""
    display(HTML("<ul>" + "".join(f"<li>{escape(s)}</li>" for s in sentences) + "</ul>"))


def table(head, rows):
    """Show rows as a table, without columns that are empty."""
    rows = list(rows) or [["none", *[""] * (len(head) - 1)]]
    columns = [c for c in zip(head, *rows, strict=True) if any(str(cell) for cell in c[1:])]
    head, *rows = zip(*columns, strict=True)
    lines = ["".join(f"<th>{escape(str(cell))}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    display(HTML("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"))


def percent(share):
    """A share in words."""
    return "" if share is None else f"{share:.0%}"


# %% [markdown]
# # What a network looked at, and how far that can be trusted

# %%
about = own.about
items(
    [
        f"Network: {about['class']} ({MODEL}), {about['numbers']:,} weights, {about['classes']} classes.",
        f"Images: {len(found.sure)} explained, {len(broken)} could not be read, "
        f"{len(collected.passed_over)} other files passed over.",
        f"Methods: {', '.join(real)}; not applicable here: {', '.join(checks['refused']) or 'none'}.",
        checks["transform verdict"][1],
        *about["remarks"],
    ]
)

# %% [markdown]
# ## What may be said

# %%
items(words["What may be said"])

# %% [markdown]
# ## What may not be said

# %%
items(words["What may not be said"])

# %% [markdown]
# ## The answers

# %%
items(words["The answers"])
read = [entry for entry in collected.images if "result" in entry]
table(
    ["image", "the network says", "probability", "folder says"],
    [
        (entry["file"], says, f"{sure:.1%}", true or "")
        for entry, says, sure, true in zip(
            read, found.says, found.sure.tolist(), found.truths, strict=True
        )
    ],
)

# %% [markdown]
# ### Files that could not be used

# %%
items([entry["problem"] for entry in broken] + collected.passed_over or ["None."])

# %% [markdown]
# ## The maps
#
# For each image what the network was given (cut and resized as it gets it), and one map a method for the class that it
# named. Orange speaks for that class, blue against it; where a map says nothing, the picture stays grey. Gradient, SmoothGrad
# and guided backpropagation have no such meaning of their sign: there, look at the strength alone. Each map has its own scale.

# %%
for result in open_results(collected):
    share, which = result.logits.softmax(0).max(0)
    seen, says = result.seen.expand(3, -1, -1), own.classes[int(which)]
    maps = result.maps * result.scales[:, None, None]
    panels, relevance = [seen] * (1 + len(real)), [None, *maps[: len(real)]]
    display(HTML(f"<h3>{escape(result.file)}: {escape(says)}, {share:.0%}</h3>"))
    plots.figure(
        plots.overlay(
            panels,
            relevance,
            [
                "input",
                *(method if len(method) < 15 else method.replace(" ", "\n") for method in real),
            ],
            shared_scale=False,
            columns=6,
            size=1.65,
        ),
        alt=f"{result.file}: the picture as the network gets it, and maps for the class {says} by {', '.join(real)}.",
    )

# %% [markdown]
# ## Do the methods agree?
#
# Each picture is cut into 8 × 8 tiles; two maps agree as far as they rank the tiles alike by the size of relevance in them
# (Spearman's rank correlation: 1 the same order, 0 unrelated). *Edges* and *centre* have never met the network.

# %%
items(words["Do the methods agree?"])
names = [name.removeprefix("null: ") for name in collected.names]
plots.figure(
    plots.matrix(
        found.agreement.median(0).values,
        names,
        names,
        title="How far maps agree on where something matters",
        label="rank correlation",
    ),
    alt="Table of the rank correlations of all methods, the edge detector and the centre, each with each.",
    caption=f"Median over {len(found.sure)} images.",
)

# %% [markdown]
# ## Does a map depend on what was learnt?
#
# All weights of the network are drawn anew at random, as before training (and its batch normalisations take their statistics
# from the first images, or no signal would come through). A map that hardly changes does not come from what
# was learnt. What maps of *different* images have in common is the yardstick.

# %%
items(words["Does a map depend on what was learnt?"])
rows = randomisation_results(found)
if rows:
    plots.figure(
        plots.matrix(
            [row[1:3] for row in rows],
            [row[0] for row in rows],
            ["of the random network", "of another image"],
            title="How alike a map is to the map …",
            label="rank correlation",
        ),
        alt="Table: for each method how alike its map is to the map of the network with random weights, and to that of another image.",
        caption="Mean over images. Where the left number is well above the right one, suspect the map of showing the image; few images cannot tell.",
    )
    n = len(found.sure)
    table(
        ["method", "more alike than maps of different images", "by chance", "clear"],
        [
            (name, f"on {hits} of {n}", chance_words(sign_test(hits, n)), "yes" if sure else "no")
            for name, _, _, hits, sure in rows
        ],
    )

# %% [markdown]
# ## Is what a map marks needed?
#
# The tenth of the picture that a map marks most is covered, once with the picture's mean colour and once with a blur. If the
# map marks what the answer needs, the logit falls more than when the tenth is covered that an edge detector marks, or the
# middle. (Occlusion is made by covering, so this check favours it.) *By chance*: how often a coin would be ahead on as many
# images; *clear*: less often than 5 %, shared out among the methods, with both fillings.

# %%
items(words["Is what a map marks needed?"])
nulls = best_nulls(found)
level = [
    (found.names[k].removeprefix("null: "), found.falls[:, k, f].mean().item())
    for f, k in enumerate(nulls)
]
head = ["method"]
for fill, (name, fall) in zip(FILLS, level, strict=True):
    head += [f"{fill_words(fill)}: logits", f"more than {name} ({fall:.2f})", "by chance"]
table(
    [*head, "clear"],
    [
        [name]
        + [
            cell
            for fall, hits, chance in cells
            for cell in (f"{fall:.2f}", f"on {hits} of {len(found.sure)}", chance_words(chance))
        ]
        + ["yes" if ahead else "no"]
        for name, cells, ahead in occlusion_results(found)
    ],
)

# %% [markdown]
# ## The network
#
# ### Which assumptions hold

# %%
table(
    ["assumption", "holds", "found"],
    [(what, "yes" if holds else "no", why) for what, holds, why in checks["holds"]],
)

# %% [markdown]
# ### Which methods refuse, and why

# %%
table(["method", "its reason"], checks["refused"].items())

# %% [markdown]
# ### Does the transform fit?
#
# The same pictures through the transform, and through mistakes that are often made in its place. *Surprise*: how unlike what the
# network was trained on its first batch normalisation finds them (0: as in training). It sees a wrong scale of the pixels, and
# hardly sees swapped channels or a picture on its side: for those it takes pictures whose class is known.

# %%
items([checks["transform verdict"][1]])
table(
    ["transform", "same answer", "mean confidence", "surprise", "right"],
    [
        (
            row["transform"],
            percent(row["same"]),
            percent(row["confidence"]),
            "" if row["surprise"] is None else f"{row['surprise']:.2f}",
            percent(row["right"]),
        )
        for row in checks["transform"]
    ],
)

# %% [markdown]
# ### Compared with what?
#
# Integrated Gradients and DeepLIFT say how the answer differs from the one to a baseline, here a blur. What the network says to
# three kinds of baseline:

# %%
table(
    ["baseline", "probability that the class keeps", "most often called", "mean confidence"],
    [
        (row["baseline"], f"{row['kept']:.1%}", row["says"], f"{row['sure']:.1%}")
        for row in checks["baselines"]
    ],
)

# %% [markdown]
# ### Layers for Grad-CAM

# %%
table(
    ["layer", "class", "maps", "places", "taken by default"],
    [
        (name, kind, shape[0], f"{shape[1]} × {shape[2]}", "yes" if default else "")
        for name, kind, shape, default in checks["layers"]
    ],
)

# %% [markdown]
# ### What the methods cost

# %%
table(
    ["method", "images forward", "backward", "seconds"],
    [(name, *cost) for name, cost in checks["cost"].items()],
)

# %% [markdown]
# ## How this was made

# %%
recipe = collected.recipe
table(
    ["what", "value"],
    [
        ("network", MODEL),
        ("SHA-256 of its weights (first 16 digits)", about["weights"]),
        ("transform", about["transform"]),
        ("labels", LABELS or "those that came with the network"),
        *((f"method: {name}", recipe["methods"][name]) for name in real),
        *recipe["versions"].items(),
    ],
)
table(["image", "SHA-256"], [(entry["file"], entry["sha256"]) for entry in collected.images])
