# ---
# jupyter:
#   course:
#     question: "What may you say of your own network's answers?"
# ---

# %% [markdown]
# # Your own model
#
# > **You will be able to** bring your own network and your own pictures; check first whether the **transform** fits (it turns a
# > picture into the network's input) and which methods apply; explain with all three families, beside maps that know
# > nothing; make
# > a report that can be mailed; and say what may be said, and what not.
# >
# > **You need** lesson 00. The methods are those of lessons 04 to 07, the checks those of lessons 08 and 09; a line in
# > section 3 or 6 says
# > what each does.
# >
# > **Time** {minutes}. The computer needs about a minute, with a ResNet-50 of yours several.
# >
# > **For** everyone. *Engineers*: all of it, with your own model in the first cell of code. *Teachers*: the prediction
# > with section
# > 2 makes a lesson; the misconception to look for is "it is sure, so it got the right input". *Policy makers*: the
# > verdict; for more, the prediction, the pictures and section 7.

# %% [markdown]
# ## The claim
#
# The article's table has a column for a technique's strength and one for its limit, and none for its **conditions**:
# it reads as if each technique could be used on any convolutional network. Yours was not chosen for
# this course. What has to hold before a map of your network means anything? Who checks that? And what can be said at the end?
#
# ## Predict
#
# A network for photographs expects pixels from −1 to 1. Somebody copies a line from a tutorial, which the article has,
# too: the line scales pixels by ImageNet's mean and standard deviation. (Many networks of torchvision, a ResNet-50 too,
# were trained with this line, and for them it is right. For such a model the lesson takes another mistake.) There is no
# error message, the inputs have the right shape, and the values are of a similar size.
#
# *How sure* a network is, its **confidence**, is here the largest of the probabilities that it gives to its classes.
#
# **Of twelve photographs, how many now get another answer? And is the network less sure?**

# %%
my_guess = {"other answers, of 12": 3, "mean confidence falls by, %": 20}

# %% [markdown]
# Your model goes here. As it stands, the lesson runs offline: a network with real ImageNet weights, and the photographs
# that scikit-image brings. Change the two lines and run the cells again. The printed numbers will then be yours; those
# in the text, and the titles of figures, stay ours. (If a method cannot explain your network, its cell stops and says
# why. Go on with the next.)
#
# | `MODEL` | is |
# |---|---|
# | `"torchvision:resnet50"`, `"timm:convnext_tiny"` | a stock network; its weights are downloaded once |
# | `"torchvision:resnet18:mine.pth"` | a stock network with weights of yours (or with random ones: `:random`); the names of your classes go into section 1: `load_model(MODEL, labels=[...])` |
# | `"mine.py:network"` | a function of yours without arguments: it returns the network, or network and transform, or network, transform and class names |
# | `"mine.keras"` | a Keras model (section 8) |
# | `"../data/checkpoints/….safetensors"` | a checkpoint of this course |
#
# A file is looked for from the folder of this notebook. [The README](../README.md#a-map-of-your-own-resnet-50) has a
# `mine.py` that runs.

# %%
MODEL = "efficientnet_lite0"
IMAGES = ""  # a folder of yours; empty: scikit-image's photographs

# %%
import re
import tempfile
import textwrap
from pathlib import Path

import torch
from IPython.display import Code, Markdown, display

from xai_course import plots
from xai_course.data import PHOTOGRAPHS, photograph, read_image
from xai_course.report import image_files, load_model

work = tempfile.TemporaryDirectory()
if not IMAGES:
    IMAGES = f"{work.name}/photographs"
    Path(IMAGES).mkdir()
    for name in PHOTOGRAPHS:
        photograph(name).save(f"{IMAGES}/{name}.png")
    Path(f"{IMAGES}/broken.png").write_bytes(b"not an image")  # many folders have one

fold = textwrap.TextWrapper(80, subsequent_indent=" " * 11).fill  # prints a long line as several

# %% [markdown]
# ## 1. Bring them in
#
# `load_model` returns four things: the network, the **transform** that makes a picture its input, the names of its classes, and a
# note of where all this comes from. The network is put in evaluation mode and tried on a test picture. A file of weights is read without running any program that may be hidden in it. (`"mine.py:network"` is a
# program, and is run: take only one that you trust.)

# %%
own = load_model(MODEL)
for what in ("class", "numbers", "classes", "input", "transform", "weights", "remarks"):
    print(fold(f"{what:10} {own.about[what]}"))

# %% [markdown]
# *class* is the network's class in Python, *numbers* counts its learnt numbers. *weights* is the beginning of a hash:
# the same sixteen digits mean, almost certainly, the same weights. Now
# the pictures. A picture that cannot be read is named and left out.

# %%
files, passed_over = image_files(IMAGES)
pictures = {}
for file in files[:13]:  # a dozen is enough here, five at least; the report of section 7 takes all
    try:
        pictures[file.stem] = read_image(file)
    except ValueError as error:
        print(fold("left out:  " + str(error).replace(str(file), file.name)))
print(len(pictures), "pictures")

# %%
inputs = torch.stack([own.transform(picture) for picture in pictures.values()])
with torch.no_grad():
    sure, says = own.model(inputs).softmax(1).max(1)

# %%
plots.figure(
    plots.gallery(
        list(pictures.values()),
        [f"{own.classes[c]}\n{p:.0%}" for c, p in zip(says.tolist(), sure.tolist(), strict=True)],
        columns=6,
        title="The network answers to every photograph, right or wrong",
    ),
    alt="Twelve photographs, each with the network's answer and its probability. Right: a cup of coffee is espresso, with 95 %. Wrong: "
    "a brick wall is a maze, with 20 %; grass is a soccer ball, with 5 %.",
)

# %% [markdown]
# For some pictures no answer would be right: the class is not among those that the network knows.
#
# ## 2. Does the transform fit?
#
# Now the prediction. `check_transform` puts the same pictures through the transform as given, and through others that
# are often used by mistake. (The column *surprise* is explained below.)

# %%
from xai_course.report import check_transform, transform_variants, transform_verdict
from xai_course.report.preprocessing import variant_in_words

variants = transform_variants(own.transform)
rows = {row["transform"]: row for row in check_transform(own, list(pictures.values()))}
divergence = {k: row["kl_divergence"] for k, row in rows.items()}
surprise = {k: "none" if d is None else f"{d:.2f}" for k, d in divergence.items()}
print(f"{'transform':30} same answer  confidence  surprise")
for k, row in rows.items():
    print(
        f"{variant_in_words(k):30} {row['same']:11.0%} {row['confidence']:11.0%} {surprise[k]:>9}"
    )
wrong = "ImageNet's mean and deviation"
if not rows[wrong]["differs"]:  # if these are right for your model, another mistake
    wrong = "0 to 1"
changes = round((1 - rows[wrong]["same"]) * len(pictures))
before, after = rows["as given"]["confidence"], rows[wrong]["confidence"]
print(f"\nthrough {variant_in_words(wrong)}")
print(f"    other answers: {changes} of {len(pictures)}", end=" ")
print(f"(your guess: {my_guess['other answers, of 12']})")
print(
    f"    mean confidence: {before:.1%}, then {after:.1%}, lower by {1 - after / before:.0%}",
    end=" ",
)
print(f"(your guess: {my_guess['mean confidence falls by, %']} %)")

# %% [markdown]
# With ImageNet's constants most answers change, and in the mean the network is **almost as sure as before**. Mean
# confidence hardly shows *this* wrong input. (Mean confidence fell more for other wrong inputs, such as *0 to 255* and
# *0 to 1*.)
#
# How many changes are normal? Several answers were weak from the start: two have 5 %. Look at *−1 to 1*. Its constants
# are almost the right ones, and no answer changes. The first five rows resize and cut the pictures alike, so only the
# constants make the difference.
#
# And the maps? Here is one of the pictures whose answer changes: the one with the highest confidence afterwards.

# %%
from xai_course.relu import grad_cam

both = {
    k: torch.stack([variants[k](one) for one in pictures.values()]) for k in ("as given", wrong)
}
with torch.no_grad():
    answers = {k: own.model(x).softmax(1).max(1) for k, x in both.items()}
p, c = ([answers[k][part] for k in both] for part in (0, 1))
at = (p[1] * (c[0] != c[1])).argmax()  # the surest of the changed answers
pair = torch.stack([both[k][at] for k in both])

# %%
# "0 to 1" shows what the network gets, if the transform scales each channel by constants. For one
# that pads, or that divides by the picture's own values, it shows the picture's centre.
plots.figure(
    plots.overlay(
        [variants["0 to 1"](list(pictures.values())[at])] * 2,
        grad_cam(own.model, pair),
        [
            f"{k}:\n{own.classes[c[n][at]]}, {p[n][at]:.0%}"
            for n, k in enumerate(("the right transform", variant_in_words(wrong)))
        ],
        shared_scale=False,
        columns=2,
        size=4,
        title="The map of a wrong input looks just as good",
    ),
    alt="A blurred photograph of a clock, twice, with Grad-CAM's map. Both maps are one orange disc on the clock. Through the right "
    "transform the answer is bubble, with 57 %; through the wrong one it is spotlight, with 74 %.",
    caption="Nothing in the second map says that the network got an input of a kind that it was not trained on.",
)

# %% [markdown]
# **A check that does show it.** Look at the column *surprise*. A batch normalisation remembers which mean $\mu$ and which
# variance
# $\sigma^2$ each channel had in training. The network's first batch normalisation comes right after the first convolution, so it remembers roughly
# what the inputs were like. On your pictures the channels have mean $m$ and variance $v$. The Kullback-Leibler divergence says
# how far one normal curve is from another:
#
# $$\text{surprise} = \underset{\text{channels}}{\text{mean}}\ \tfrac12\Bigl(\frac{v}{\sigma^2} + \frac{(m-\mu)^2}{\sigma^2} - 1 - \ln\frac{v}{\sigma^2}\Bigr).$$
#
# The surprise needs no labels, and is 0 if every mean and variance is as in training. In practice it is never quite 0: a dozen
# pictures are not the training set. So `transform_verdict` compares, and doubts a transform if another one surprises
# the network at most half as much. One picture must not decide this: the other transform must also surprise less in nearly
# all bootstrap draws (the pictures drawn anew, some twice, some not at all). *Nearly all* means: all draws but a share
# of 5 % / (number of transforms tried); with ten tried, as here, all but half a percent. The more one tries, the more easily
# one of them is better by chance. (One that gives the same input is not counted: behind the wrong transform below nine
# are left.) If you give the right
# answers, `transform_verdict` compares them as well. It may also say that these pictures *cannot tell*.

# %%
mistaken = own._replace(transform=variants[wrong])  # the same network, behind another transform
asked = {
    "the right transform": list(rows.values()),
    "the wrong transform": check_transform(mistaken, list(pictures.values())),
}
display(Markdown("\n".join(f"- {k}: {transform_verdict(tried)[1]}" for k, tried in asked.items())))

# %% [markdown]
# Confidence can even be *highest* when the network only guesses. Here is BeetleNet, the network of lesson 02, on twenty
# beetles whose species we know (two of each of ten, so a guess is right in 10 %):

# %%
from PIL import Image

from xai_course.beetlebox import SPECIES, scenes
from xai_course.core.paths import data_folder

beetle_net = load_model(str(data_folder() / "checkpoints" / "beetle_net.safetensors"))
drawn = [scene.image(64) for species in SPECIES for scene in scenes("test", species, 2)]
beetles = [Image.fromarray((255 * image).round().astype("uint8")) for image in drawn]
for row in check_transform(beetle_net, beetles, [k // 2 for k in range(20)]):
    print(
        f"{variant_in_words(row['transform']):30} sure {row['confidence']:4.0%}, right {row['right']:4.0%}"
    )

# %% [markdown]
# Through *0 to 255* BeetleNet is surest of all, and right hardly more often than a guess.
#
# ## 3. Which assumptions hold?
#
# Each finding comes from running the network on a few of your pictures (here four), and none from its documentation. So
# a *yes* means: the assumption held on these pictures. A **logit** is a class's score before the softmax makes
# probabilities of the scores.

# %%
from xai_course.report import check_assumptions
from xai_course.report.checks import finding_in_words

for finding in check_assumptions(own.model, inputs[:4]):
    what, _, why = finding_in_words(*finding)
    line = f"{'yes' if finding.passed else 'NO '}  {what:25} {why}"
    print(textwrap.fill(line, 85, subsequent_indent=" " * 31))

# %% [markdown]
# ### The identity
#
# *Piecewise linear* can be tested. (This network's *hardtanh* is a ReLU that also stops at 6; it counts as one.) Around
# one picture, a network of convolutions and ReLUs is a linear map plus a constant. So its logit must be the gradient
# times the picture, added up over all values, plus what the biases contribute (lesson 04). Most other networks do not
# pass:
#
# $$f(x) = \langle \nabla f(x),\, x\rangle + \sum \text{biases}.$$

# %%
from xai_course.relu import local_linear

parts = local_linear(own.model, inputs)
total = parts.from_input + torch.stack(list(parts.biases.values())).sum(0)
print(f"logits from {parts.logit.min():.2f} to {parts.logit.max():.2f}; ", end="")
print(f"largest difference between logit and sum: {(parts.logit - total).abs().max():.0e}")

# %% [markdown]
# If this sum fails, `local_linear` refuses, and so does FullGrad. The sum alone is no proof, so `local_linear` also
# refuses any step that is not piecewise linear. Other methods check other conditions. The eleven methods, in a few words:
#
# | family | method | its map |
# |---|---|---|
# | ReLU (lesson 05) | gradient | how the logit changes with each pixel |
# | | SmoothGrad | the mean gradient over noisy copies of the picture |
# | | guided backpropagation | a gradient that lets only positive signals back through each ReLU |
# | | Grad-CAM | a layer's feature maps, weighted by their mean gradients |
# | | FullGrad | the gradient times the picture, and what the biases contribute, added up |
# | fully connected layer (lesson 06) | CAM, class activation map | the last feature maps, weighted by the last layer |
# | residual (lesson 07) | last block | what the last residual block added to the logit |
# | | occlusion | how far the logit falls when a patch is covered |
# | | Integrated Gradients | gradients added up on the way from a baseline to the picture |
# | | DeepLIFT | the change against a baseline, handed back layer by layer |
# | | LRP | the logit itself, handed back layer by layer; biases absorb a part (here nearly all, so its values are small) |
#
# Here are five more architectures, with every method tried on each. Their **weights are random**, since torchvision's
# cannot be downloaded offline; but whether a method applies depends mostly on the architecture.

# %%
from torch.optim.swa_utils import update_bn
from torchvision import models

from xai_course.methods import METHODS, report_methods
from xai_course.report import applicable_methods

STOCK = {
    "ResNet-18": ("resnet18", {}),
    "DenseNet-121": ("densenet121", {}),
    "SqueezeNet": ("squeezenet1_1", {}),
    "MobileNetV3": ("mobilenet_v3_small", {}),
    "ConvNeXt": ("convnext_tiny", {"layer_scale": 1.0}),  # untrained it is 1e-6: no signal
}
small = torch.nn.functional.interpolate(inputs[:4], (64, 64), mode="area")


def stock(name, options):
    """A stock network whose batch normalisations have seen our pictures once."""
    torch.manual_seed(0)
    network = models.get_model(name, weights=None, num_classes=10, **options).eval()
    update_bn([small], network)
    return network


# %%
def reasons_of(network, x):
    """Which methods refuse, and why; each with few samples, windows and steps."""
    half = (x.shape[2] // 2, x.shape[3] // 2)
    quick = {
        "SmoothGrad": {"samples": 1},
        "occlusion": {"window": half, "stride": half},
        "Integrated Gradients": {"baseline": "blur", "steps": 1},
    }
    changed = {method: METHODS[method].explainer(**few) for method, few in quick.items()}
    return applicable_methods(network, x, report_methods() | changed)


reasons = {"your model": reasons_of(own.model, inputs)}
reasons |= {title: reasons_of(stock(*what), small) for title, what in STOCK.items()}
methods = list(reasons["your model"])
applies = torch.tensor(
    [[-1.0 if column[m] else 1.0 for column in reasons.values()] for m in methods]
)

# %%
plots.figure(
    plots.matrix(
        torch.where(applies > 0, 1.0, torch.nan),
        methods,
        list(reasons),
        tint=applies,
        fmt="✓",
        label="✓: applies     blue: refuses, and says why",
        title="Which methods apply depends on the architecture",
    ),
    alt="Table of eleven methods and six networks, orange where a method applies and blue where it refuses. All eleven apply to "
    "your model and to ResNet-18. On DenseNet-121 one refuses, on SqueezeNet 2, on MobileNetV3 and ConvNeXt 6.",
)

# %%
table = ["| network | method | why it refuses |", "|---|---|---|"]
for title, column in reasons.items():
    for method, reason in column.items():
        if reason:
            why = re.split("; |, so |, since ", reason.removeprefix("model: "))[0]
            table.append(f"| {title} | {method} | {why} |")
display(Markdown("\n".join(table)))

# %% [markdown]
# A refusal is good news: a method that does not check gives a map all the same. And a tick says only that the method's conditions
# hold, not that its map means something: these networks have learnt nothing.
#
# ## 4. Which layer?
#
# Grad-CAM reads the feature maps of one layer. Which? `find_layers` lists the last module at each resolution; *default*
# marks what `grad_cam` takes if you name none: the last map from a convolution, with what directly follows it
# (normalisation, activation, residual sum). Below, a **rank correlation** of 1 means that two maps put the pixels in
# the same order, 0 that the orders have nothing in common.

# %%
from xai_course.report import find_layers

layers = find_layers(own.model, inputs)
for layer in layers:
    size = f"{layer.shape[0]} maps of {layer.shape[1]} × {layer.shape[2]}"
    print(f"{layer.name or '(none)':12} {layer.kind:18} {size:24} {'default' * layer.default}")

# %%
from xai_course.core import map_similarity

name = "chelsea" if "chelsea" in pictures else next(iter(pictures))
picture, x = variants["0 to 1"](pictures[name]), own.transform(pictures[name])[None]
named = [layer for layer in layers if layer.name]
by_layer = {layer.name: grad_cam(own.model, x, layer=layer.name) for layer in named}
last = named[-1].name

# %%
plots.figure(
    plots.overlay(
        [picture] * len(named),
        [maps[0] for maps in by_layer.values()],
        [f"{layer.name}\n{layer.shape[1]} × {layer.shape[2]}" for layer in named],
        shared_scale=False,
        columns=5,
        title="One method, one picture, one class: another layer, another map",
    ),
    alt="Grad-CAM of the same photograph at five layers: fine grain at the first, a few large blots at the last. The maps of the first "
    "four have rank correlations of −0.03 to 0.05 with that of the last.",
)

# %%
for at, maps in list(by_layer.items())[:-1]:
    alike = map_similarity(maps, by_layer[last]).item()
    print(f"{at:12} rank correlation with the map of {last}: {alike:.2f}")

# %% [markdown]
# The last layer is the usual choice, as what follows it is often linear, or nearly so. The maps of the other layers
# have next to nothing in common with its map (on this one photograph). Name the layer in the caption, or nobody can make
# the map again.
#
# ## 5. Compared with what?
#
# Integrated Gradients, DeepLIFT and occlusion compare the answer with the answer to a **baseline**: a picture, or a filling, in
# which there should be nothing to see. Does your network see nothing in it? Ask it: how probable is the picture's own answer
# still? (The numbers are means over our pictures.) Then three photographs are explained from each baseline.

# %%
from xai_course.report import check_baselines
from xai_course.residual import integrated_gradients

for row in check_baselines(own, inputs):
    print(f"{row['baseline']:6} the answer's probability: {row['kept']:.1%}; ", end="")
    print(f"most often called {row['predicted']}, {row['confidence']:.0%} sure")
kinds = {"black": own.transform(Image.new("RGB", (300, 300)))[None], "mean": "mean", "blur": "blur"}
some = inputs[2:5]
ig = {k: integrated_gradients(own.model, some, baseline=b, steps=8) for k, b in kinds.items()}
for a, b in (("black", "mean"), ("black", "blur"), ("mean", "blur")):
    alike = map_similarity(ig[a], ig[b]).mean()
    print(f"Integrated Gradients from {a} and from {b}: rank correlation {alike:.2f}")
finer = integrated_gradients(own.model, some, baseline="mean", steps=16)
alike = map_similarity(ig["mean"], finer).mean()
print(f"the null: from mean in 8 steps and from mean in 16 steps: {alike:.2f}")

# %% [markdown]
# The network is sure of none of the three, which is good. But maps from different baselines hardly agree. Is the
# baseline the reason, or are the steps too coarse? The last line is the null: the same baseline with twice the steps.
# These two maps agree much better, so the steps explain a part, and the baseline most. The baseline is a part of the
# question, and belongs in the caption. *Black* is a black picture that went through the transform; a tensor of zeros is
# grey for this network.
#
# ## 6. Three families, beside maps that know nothing
#
# `collect` explains the images of a folder and keeps what it finds, one file for each image; `make report` does the
# same. For each image and method it keeps three things:
#
# - the map;
# - the map of the same network **with random weights**;
# - how far the logit falls when we **cover the tenth** of the picture that the map marks most, with the mean colour and
#   with a blur.
#
# Beside the methods stand two **nulls**, maps that know nothing of any network: an edge detector, and a bump in the
# middle (*centre*). We take five methods. ReLU: the gradient. Fully connected layer: the class activation map, CAM (for
# this network it is, up to its scale, Grad-CAM's map as well). Residual: LRP, DeepLIFT and occlusion.

# %%
from functools import partial

from xai_course.methods import choose_methods
from xai_course.report import collect, open_results
from xai_course.residual import occlusion

high, wide = inputs.shape[2:]
chosen = choose_methods(["gradient", "CAM", "LRP", "DeepLIFT", "occlusion"], (high, wide))
fifth = (high // 5, wide // 5)  # occlusion with coarse windows, to save time
chosen["occlusion"] = partial(occlusion, window=fifth, stride=fifth, batch_size=16)
eight = Path(work.name) / "eight"
eight.mkdir(exist_ok=True)
for title in [name, *(other for other in pictures if other != name)][:8]:
    pictures[title].save(eight / f"{title}.png")
collected = collect(own, eight, f"{work.name}/report", methods=chosen)

# %%
print("what one image costs")
for method, (forward, backward, _) in collected.checks["cost"].items():
    print(
        f"    {method:10} {forward:3} images forward, {backward} gradient{'s' * (backward != 1)} back"
    )

# %%
from xai_course.report import conclude, randomisation_results, summarise

found = summarise(open_results(collected), collected.names, own.classes)
words, applied = conclude(found), collected.checks["methods"]  # those that do not refuse
shown = next(result for result in open_results(collected) if result.file == f"{name}.png")
in_pixels = (shown.maps * shown.scales[:, None, None])[: len(applied)]
in_tiles = torch.nn.functional.adaptive_avg_pool2d(in_pixels.abs()[None], 8)
in_tiles = torch.nn.functional.interpolate(in_tiles, in_pixels.shape[1:])[0]

# %%
plots.figure(
    plots.overlay(
        [shown.image] * (2 * len(applied)),
        [*in_pixels, *in_tiles],
        [*applied, *("in 64 tiles" for _ in applied)],
        shared_scale=False,
        columns=len(applied),
        size=1.9,
        sides=("negative", "positive"),
        title="One answer, five methods, five different maps",
    ),
    alt="Above, five maps of a cat's face: gradient and DeepLIFT are specks, CAM a wide blot, LRP lines around the eyes, occlusion "
    "squares of both colours. Below, their size in 64 tiles: LRP and DeepLIFT are strongest on the eyes, the gradient at nose and "
    "right edge, CAM on the left cheek, occlusion on the right.",
    caption="Above: the maps as they are. Below: the size of the relevance in each of 64 tiles.",
)

# %% [markdown]
# **Do they agree?** We rank the 64 tiles of each map by the size of the relevance in them.

# %%
labels = [label.removeprefix("null: ") for label in collected.names]

# %%
plots.figure(
    plots.matrix(
        found.agreement.median(0).values,
        labels,
        labels,
        label="rank correlation",
        title="Agreement is low; edges agree with\nsome methods as well as others do",
    ),
    alt="Table of rank correlations of five methods, the edge detector and the centre, each with each. LRP and DeepLIFT agree most, with "
    "0.62; gradient and occlusion not at all, with −0.04. The edge detector agrees with LRP by 0.51.",
    caption="Median of eight photographs.",
)

# %%
display(Markdown("\n".join(f"- {line}" for line in words["Do the methods agree?"])))

# %% [markdown]
# **Does a map depend on what was learnt?** All weights are drawn anew. If the map stays much the same, it mostly shows
# the image. We compare with how alike maps of *different images* are. The room between that and 1 is *what could stay*.
# The share of it that stays is (same image − different images) / (1 − different images), each a correlation. (A
# network without `reset_parameters` in every
# layer, such as a Keras model, cannot be tested this way.)
#
# One trap: drawn anew, the batch normalisations have no statistics yet. In so deep a network the signal then shrinks to nothing.
# `reinitialised` gives them the statistics of our pictures, as in training:

# %%
from xai_course.metrics import cascading_randomisation, reinitialised

for _, step in cascading_randomisation(own.model):
    drawn = step  # the last one has every layer drawn anew
blank = reinitialised(own.model, inputs)
for what, network in {"trained": own.model, "drawn anew": drawn, "untrained": blank}.items():
    with torch.no_grad():
        logits = network(inputs)
    apart = (logits.amax(0) - logits.amin(0)).max()
    print(f"{what:10} logits up to {logits.abs().max():.0e}, pictures differ by up to {apart:.0e}")

# %% [markdown]
# The computer keeps about seven digits of a number. The logits of the network that is only *drawn anew* are the same
# for all pictures, but for the last one or two digits. Its map would show how numbers are rounded. So the report takes
# the network *untrained*.

# %%
kept = randomisation_results(found)
if kept:
    plots.figure(
        plots.matrix(
            [row[1:3] for row in kept],
            [row[0] for row in kept],
            ["with random weights", "of other images"],
            label="rank correlation with the map",
            title="Random weights:\nDeepLIFT's map stays\nmost alike",
        ),
        alt="Table of five methods: how like a map is to the map with random weights, and to maps of other images. DeepLIFT has 0.59 and "
        "0.11, LRP 0.43 and 0.01. For CAM it is the other way round: 0.06 and 0.27.",
        caption="Mean of eight photographs. Left well above right: a part of the map comes from the image alone.",
    )

# %%
display(Markdown("\n".join(f"- {line}" for line in words["Does a map depend on what was learnt?"])))

# %% [markdown]
# Why does the list call only DeepLIFT *clear*, and not LRP? *Clear* takes two things. First, a coin must be ahead on as many images in less than 1 % of all tries (5 %, divided by
# five methods). With eight images only eight of eight will do (0.4 %); seven (the gradient, 3.5 %) or six (LRP) will
# not. Second, the interval of the difference must lie above 0. So for gradient, LRP and occlusion it is not decided:
# eight images are too few. CAM is on neither list: its left number is below the right one, so nothing was found to
# stay.
#
# And *clear* is not *much*. Of what could stay of DeepLIFT's maps, about half stays; the other half changes with the
# weights.
#
# **Is what a map marks needed?** Photographs have no answer key, but we can cover what the map marks. (Occlusion
# itself covers, so this test favours it. Yet it covers one square at a time, and the test a whole tenth of the picture
# at once. And the network never saw a covered picture in training.) (Square brackets below the figure: the interval of
# a difference.)

# %%
plots.figure(
    plots.matrix(
        found.logit_drops.mean(0),
        labels,
        ["mean colour", "blur"],
        label="logits",
        title="Covering what edges mark\ncosts more than covering\nwhat CAM marks",
    ),
    alt="Table: for five methods and two nulls, how far the logit falls when the marked tenth is covered, with two fillings. With the mean "
    "colour it falls most for occlusion, by 1.99; with a blur for DeepLIFT, by 2.09. For the edge detector, which knows nothing of the "
    "network, it falls by 1.30 and 1.46, more than for CAM (0.91, 0.97) and the gradient (1.09, 1.03).",
    caption="How far the logit falls when the tenth that a map marks most is covered. Mean of eight photographs. Edges and centre know "
    "nothing of the network.",
)

# %%
display(Markdown("\n".join(f"- {line}" for line in words["Is what a map marks needed?"])))

# %% [markdown]
# ## 7. What you may say, and what not
#
# The next lines are computed: other pictures may give other lines. A method is recommended only under two conditions. First,
# covering what it marks lowers the logit *clearly* more than covering what the best null marks. This must hold with the
# mean colour and with a blur. Second, most of its map depends on what was learnt. With eight images *clearly* is
# strict: *not clearly ahead* means *not shown here*, and not *no better*.

# %%
for said, heading in (
    ("What may be said", "What may be said"),
    ("What may not be said", "What may not be said"),
):
    lines = "\n".join(f"- {line}" for line in words[said])
    display(Markdown(f"**{heading}**\n\n{lines}"))

# %% [markdown]
# ### A report that can be mailed
#
# ```
# make report MODEL=torchvision:resnet50 IMAGES=photos
# ```
#
# explains every image of a folder in this way, and writes one page, `runs/report/report.html`. It opens offline. Paths are read from the folder of the repository, where `make` runs. How many pictures,
# how long, the options, and the way without `make`: see the [README](../README.md#your-own-model). A broken image is listed and stops
# nothing. If memory runs out, the batch is halved. Stop it whenever you like: what is done stays on file. All pictures are in the page: before you mail it, ask whether you may pass them
# on.

# %% [markdown] tags=["further"]
# ## From your training to the report
#
# `fit` (lesson 02) trains a network, and `save_checkpoint` keeps it in two files: the weights, and a card that anyone
# can read. Give it the transform of the test pictures. Then the card keeps size and transform, and the network is
# explained at the size that it was trained on. Here BeetleNet is saved, as yours would be after its training, and
# loaded again:

# %% tags=["nbval-check-output"]
from xai_course.data import modern_transform
from xai_course.storage import card_transform, load_checkpoint, save_checkpoint

mine = f"{work.name}/mine"
save_checkpoint(mine, beetle_net.model, classes=SPECIES, transform=modern_transform(64))
again, card = load_checkpoint(mine)
transform, _ = card_transform(card)
print("size:     ", *card["image_size"])
print("transform:", ", ".join(step["step"] for step in card["transform"]))
both_ways = torch.stack([transform(beetle) for beetle in beetles])
gap = (again(both_ways) - beetle_net.model(both_ways)).abs().max().item()
print(f"saved and loaded, the logits differ by {gap:.0e}")

# %% [markdown]
# ```
# make report MODEL=runs/mine.safetensors IMAGES=pictures/test
# ```
#
# is then all that you need; the README has every step from a folder of pictures on. Without `transform=` the report has
# to guess, and says so.
#
# ### Nothing is done twice

# %%
from xai_course.metrics import count_passes

made = []


def second_run():
    """The same once more."""
    made.append(collect(own, eight, f"{work.name}/report", methods=chosen, progress=False))


seen, _ = count_passes(own.model, second_run)
print(f"a second run: {seen} images went through the network; ", end="")
print("the same result:", made[0] == collected)

# %% [markdown] tags=["further"]
# ## 8. Other kinds of networks
#
# **One that only answers**: a model in another library, or a service. `Predictions` makes a network of any function
# from images to logits. That is enough for occlusion, the nulls and the covering. Methods that need a derivative, or
# look inside, refuse.

# %%
import numpy as np

from xai_course.models import Predictions


def service(images):
    """A model that we cannot look into: arrays in, lists out."""
    with torch.no_grad():
        return beetle_net.model(torch.from_numpy(np.asarray(images))).tolist()


shut = Predictions(service)
some = torch.stack([beetle_net.transform(beetle) for beetle in beetles[:4]])
gap = (occlusion(shut, some) - occlusion(beetle_net.model, some)).abs().max()
print(f"occlusion of the service and of the network differ by {gap:.0e}")
tried = applicable_methods(shut, some)
print(fold("applies:   " + ", ".join(method for method, reason in tried.items() if not reason)))
print(fold("refuse:    " + ", ".join(method for method, reason in tried.items() if reason)))

# %% [markdown]
# **A Keras model.** With `KERAS_BACKEND=torch` a Keras 3 model *is* a torch module, and the methods see its ReLUs and
# convolutions as in any other. Keras puts channels last, (N, H, W, C). `ChannelsLast` takes (N, C, H, W) and turns
# them; `load_model("mine.keras")` uses it by itself.

# %%
import importlib.util
import os

os.environ["KERAS_BACKEND"] = "torch"


def build(layout):
    """A small Keras network; its weights are random."""
    import keras
    from keras.layers import Conv2D, Dense, GlobalAveragePooling2D

    shape, at = (64, 64, 3), {"data_format": layout}
    return keras.Sequential(
        [
            keras.Input(shape if layout == "channels_last" else (3, 64, 64)),
            Conv2D(16, 3, strides=2, activation="relu", **at),
            Conv2D(32, 3, strides=2, activation="relu", **at),
            GlobalAveragePooling2D(**at),
            Dense(10),
        ]
    )


# %%
from xai_course.relu import gradient
from xai_course.report import wrap_model

if importlib.util.find_spec("keras") is None:
    print("Keras is not installed here. With it, this cell would build a small network in both")
    print("layouts, find that their gradients agree, and list which methods apply.")
else:
    first, last = build("channels_first"), build("channels_last")
    last.set_weights(first.get_weights())
    layouts = [wrap_model(net, beetle_net.transform, SPECIES).model for net in (first, last)]
    maps = [gradient(model, some, 0) for model in layouts]
    gap = (maps[0] - maps[1]).abs().max() / maps[0].abs().max()
    print(f"gradients of the two layouts differ by {gap:.0e} of the largest")
    tried = applicable_methods(layouts[1], some)
    print(fold("apply:     " + ", ".join(method for method, reason in tried.items() if not reason)))
    print(fold("refuse:    " + ", ".join(method for method, reason in tried.items() if reason)))

# %% [markdown]
# A Keras `Dense` layer multiplies matrices and calls no linear layer. So the class activation map and LRP do not find
# one, and refuse; *last block* refuses because there is no residual block. Keras models often end in a softmax. Then
# `check_assumptions` says *these are probabilities*: take the activation of the last layer away. To read a *layer* of a
# channels-last model, cut the model in two there and hand both parts to `ChannelsLast`: its docstring says how.

# %% [markdown]
# **One that gives no classes**: a regression, a detector, a segmentation. Then say which number is to be explained.
# `targets` may be a function from the network's output to **one number for each image**. Every explainer and every
# measure takes it. (For a box of a detector: its score; for a region of a segmentation: the mean logit of a class over
# the region.)
#
# As an example, a network that says how many pixels the antennae cover. Its body is BeetleNet's; its head is fitted by
# least squares (the weights with the smallest squared errors).

# %%
from torch import nn

from xai_course.beetlebox import PARTS, stack_images, stack_masks
from xai_course.data import normalise
from xai_course.fully_connected import embed
from xai_course.metrics import bright_edge_map, relevance_mass


class HowLarge(nn.Module):
    """BeetleNet's body with a head of one number, returned in a dictionary."""

    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images):
        return {"pixels": self.head(self.body(images).mean((2, 3)))}


def pictures_and_masks(split, count):
    """Images for the network, and masks of the antennae (N, 64, 64)."""
    drawn = [scene for name in SPECIES for scene in scenes(split, name, count)]
    return normalise(stack_images(drawn)), stack_masks(drawn)[:, PARTS.index("antennae")]


body = nn.Sequential(beetle_net.model.stem, beetle_net.model.blocks)
seen, antennae = pictures_and_masks("train", 40)
features = torch.cat([embed(beetle_net.model, part) for part in seen.split(100)])
with_one = torch.cat([features, torch.ones(len(features), 1)], 1)
fitted = torch.linalg.lstsq(with_one, antennae.sum((1, 2))[:, None]).solution[:, 0]
head = nn.Linear(features.shape[1], 1)
with torch.no_grad():
    head.weight.copy_(fitted[None, :-1])
    head.bias.copy_(fitted[-1:])
how_large = HowLarge(body, head).eval()


def pixels_said(output):
    """The number to explain, (N,)."""
    return output["pixels"][:, 0]


unseen, antennae = pictures_and_masks("test", 2)
with torch.no_grad():
    said, true_size = pixels_said(how_large(unseen)), antennae.sum((1, 2))
print(
    f"said and true size of the antennae correlate by {torch.corrcoef(torch.stack([said, true_size]))[0, 1]:.2f}"
)
ig_map = integrated_gradients(how_large, unseen, pixels_said, steps=64)
with torch.no_grad():
    mean_colour = unseen.mean((2, 3), keepdim=True).expand_as(unseen)
    change = said - pixels_said(how_large(mean_colour))
missed = (ig_map.sum((1, 2, 3)) - change).abs().mean()
print(
    f"Integrated Gradients: the sum misses the change of {change.abs().mean():.0f} pixels by {missed:.1f}"
)
tried = {"occlusion": occlusion, "gradient": gradient, "null: bright edges": bright_edge_map}
for name, method in tried.items():
    share = relevance_mass(how_large, method, unseen, antennae, pixels_said)
    print(f"{name:18} share of the relevance that lies on the antennae {share.mean():.2f}")
print(f"by area {(antennae.sum((1, 2)) / 64**2).mean():.2f}")

# %% [markdown]
# Sums, checks and nulls work as before (and the null, bright edges, does as well as occlusion). Two things change. The unit is
# that of the number, here pixels. And `deletion` turns the number into a *probability*, which makes sense for a logit
# only. For other numbers, `output="logit"` leaves the number as it is.

# %% [markdown]
# ## Where it breaks
#
# **What the check of the transform cannot see.** Red and blue are swapped, as when OpenCV reads the pictures. The
# surprise hardly rises, so the check finds nothing. Yet some answers change. (Most of our photographs are grey and stay
# as they are, so we count those in colour.)

# %%
swap = rows["red and blue swapped"]
shown = [variants["0 to 1"](one) for one in pictures.values()]
coloured = sum(not torch.allclose(red, blue, atol=1e-3) for red, _, blue in shown)
print(
    f"surprise {surprise['red and blue swapped']}, {surprise['as given']} as it should be;", end=" "
)
print(f"other answers: {(1 - swap['same']) * len(pictures):.0f} of the {coloured} in colour")

# %% [markdown]
# A picture on its side is worse: in the table of section 2 the surprise is as before, and eight of twelve answers
# change. So is a wrong size: at *64 pixels high* seven of twelve answers change, the surprise hardly rises, and the
# network is nearly twice as sure. Only pictures whose class you know can show such mistakes.
#
# **A network that has learnt nothing has maps, too.** Here is the same architecture with random weights, asked for the
# same class.

# %%
target = own.model(x).argmax(1)

# %%
plots.figure(
    plots.overlay(
        [picture] * 2,
        [grad_cam(network, x, target)[0] for network in (own.model, blank)],
        [f"trained:\n{own.classes[target]}", "random weights,\nthe same class"],
        shared_scale=False,
        columns=2,
        size=4,
        title="A network that has learnt nothing has a map, too",
    ),
    alt="Two Grad-CAM maps of a cat. That of the trained network is orange over eye, cheek, nose and mouth, with full colour at 0.36. That "
    "of the network with random weights has orange and blue blots on eye, forehead and nose, with full colour at 0.017.",
    caption="Each on its own scale, as such pictures are usually shown.",
)

# %% [markdown]
# The map with random weights has clear patches, too. Somebody who gets such a picture without its title cannot tell
# what the network has learnt. Only the small print differs: with random weights, full colour stands for a relevance
# many times smaller. So show numbers beside a picture.
#
# ## Exercises
#
# **1. Surprise, by hand** (10 minutes, medium). `x` (N, K, h, w) is what a batch normalisation gets now; `mean` and
# `variance` (K,) are what it remembers. Return the surprise, a tensor with one number: the formula of section 2, with
# the mean and the variance of each channel over all images and places (divide by their number, not by one less).


# %% tags=["exercise"]
def surprise_by_hand(x, mean, variance):
    """How unlike training these values are: a tensor with one number."""
    return ...


# %% tags=["solution"]
def surprise_by_hand(x, mean, variance):
    """How unlike training these values are: a tensor with one number."""
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    ratio = v / variance
    return ((ratio + (m - mean) ** 2 / variance - 1 - ratio.log()) / 2).mean()


# %%
from xai_course.exercises.lesson_14 import check_surprise

check_surprise(surprise_by_hand)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `x.mean((0, 2, 3))` leaves one number a channel; so does `x.var((0, 2, 3), correction=0)`. Then the formula, channel
# by channel, and one mean at the end.
# </details>
#
# **2. Halve, and go on** (10 minutes, medium). `run(part)` makes a list of results from a list of items, one each; it
# raises `MemoryError` where the list is too long. Return the results of all `items`, in order, in batches of `size`; at
# a `MemoryError` halve the size for the rest and try that part again. What was done is not done again; if a single item
# is too much, let the error through.


# %% tags=["exercise"]
def go_on(run, items, size):
    """All results, whatever fits into memory."""
    return ...


# %% tags=["solution"]
def go_on(run, items, size):
    """All results, whatever fits into memory."""
    done = []
    while len(done) < len(items):
        try:
            done += run(items[len(done) : len(done) + size])
        except MemoryError:
            if size == 1:
                raise
            size //= 2
    return done


# %%
from xai_course.exercises.lesson_14 import check_go_on

check_go_on(go_on)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `len(done)` says where to go on. A loop that ends when all is done, a `try` around `run`, and in the `except` either `raise` or
# `size //= 2`.
# </details>
#
# **3. Could a coin do it?** (5 minutes, easy). A method is ahead of the edge detector on `hits` of `n` images. Return how
# probable it is that a fair coin shows heads at least that often in `n` throws.


# %% tags=["exercise"]
def coin(hits, n):
    """The probability of at least `hits` heads in `n` throws."""
    return ...


# %% tags=["solution"]
def coin(hits, n):
    """The probability of at least `hits` heads in `n` throws."""
    from math import comb

    return sum(comb(n, k) for k in range(hits, n + 1)) / 2**n


# %%
from xai_course.exercises.lesson_14 import check_coin

check_coin(coin)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `math.comb(n, k)` counts the ways to get k heads, out of `2**n`. Add them up from `hits` to `n`, both included.
# </details>
#
# **Then your own model**, if you have not tried it yet: change the two lines at the top.
#
# ## Verdict
#
# **"Each technique can be used on any convolutional network": refuted.** On two of six networks all eleven methods
# work; on each of the other four, one to six methods refuse, each with its reason. (Five methods did apply to all six
# networks.)
#
# **"A table says which technique suits": depends**, on four things that no table knows. Each of them can be wrong
# without an error message:
#
# - *the input*: one wrong line in the transform, which prepares a picture for the network, changed most answers, and in
#   the mean the network was nearly as sure as before;
# - *the layer* of the network at which a map is taken, and *the baseline*, the picture with which a method compares:
#   another layer or another baseline gives another map (the baseline changes it more than a finer computation does);
# - *what was learnt*: a part of a map may stay when the network loses all that it learnt (here about half of the maps
#   of the method DeepLIFT stayed, not counting what maps of different images have in common; for the method LRP eight
#   images were too few to tell);
# - *what a map is compared with*: a map that looks convincing may do no better than a map of the edges, which knows
#   nothing of the network. Here no method was clearly ahead of it.
#
# All this is one trained network and a dozen photographs. It shows what can go wrong, not how often it does.
#
# **What you may conclude:**
#
# - "The tool gave a map" says nothing: a tool that does not check gives a map even where the method does not apply.
# - Ask how a picture is prepared for the network, and at which layer and with which baseline a map was made.
# - Ask how much of the map stays when the network loses all that it learnt, and how well a map does that knows nothing
#   of the network.
#
# The numbers, for this network and these photographs:

# %%
from xai_course.report import occlusion_results

print(f"through {variant_in_words(wrong)}: {changes} of {len(pictures)} answers are others;")
print(f"    mean confidence {before:.1%} before, {after:.1%} after")
refused = {title: sum(map(bool, column.values())) for title, column in reasons.items()}
print(f"of {len(methods)} methods refuse:")
print(", ".join(f"{title} {count}" for title, count in refused.items()))
everywhere = [m for m in methods if not any(column[m] for column in reasons.values())]
print(f"apply to all {len(reasons)}: {len(everywhere)} methods")
n = found.images
print("\nhow often it costs more to cover what a method marks than what the best null marks")
print(f"    {'':22} {'mean colour':23} blur")
for method, cells, ahead in occlusion_results(found):
    told = [f"{lead.hits} of {n} (chance {lead.chance:.1%})" for _, lead in cells]
    print(f"    {method:22} {told[0]:23} {told[1]}{'; clear' * ahead}")

# %% [markdown]
# ## Take it with you
#
# The check of the input, for any network with batch normalisation, yours too. The cell shows the class, to read;
# `source` holds all that runs elsewhere, and `Path("check_input.py").write_text(source)` keeps it. It holds one more
# function, `find_layers` of section 4.

# %%
import inspect

from xai_course.report import BatchNormShift
from xai_course.snippets import snippet

display(Code(inspect.getsource(BatchNormShift), language="python"))
source = snippet(BatchNormShift, find_layers)
print(f"with one more, and all that they need: {len(source.splitlines())} lines")

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty: dict = {}
exec(source, empty)
with empty["BatchNormShift"]() as theirs, torch.no_grad():
    beetle_net.model(some)
with BatchNormShift() as ours, torch.no_grad():
    beetle_net.model(some)
print("the same surprise:", torch.equal(theirs.kl_divergence(), ours.kl_divergence()))
print(
    "the same layers:",
    empty["find_layers"](beetle_net.model, some) == find_layers(beetle_net.model, some),
)

# %% [markdown]
# ## Quiz
#
# **1. Your network is 99 % sure of nearly every picture. What shows whether its transform is wrong?**
#
# <details><summary>a) The 99 %: behind a wrong transform it would be less sure.</summary>
#
# No. BeetleNet was surest through *0 to 255*, and right hardly more often than a guess.
# </details>
# <details><summary>b) Pictures whose class you know: the network is right on far fewer of them than it should be.</summary>
#
# Yes. They show every mistake that matters for the answers, swapped colours, too. (A wrong scale shows even without known
# classes, in the memory of a batch normalisation.)
# </details>
# <details><summary>c) Nothing: without the training set the transform cannot be checked.</summary>
#
# No. A few pictures whose class you know are enough to notice a wrong scale, and no training set is needed for it.
# </details>
#
# **2. A method refuses your network. What do you do?**
#
# <details><summary>a) Read the reason, and take a method whose conditions hold.</summary>
#
# Yes. Occlusion and Integrated Gradients ask for little: they applied to all six networks of section 3.
# </details>
# <details><summary>b) Take another library's version, which does not complain.</summary>
#
# No. The condition still fails; the other one just does not ask.
# </details>
# <details><summary>c) Conclude that the network cannot be explained.</summary>
#
# No. One question cannot be asked of it; others can.
# </details>
#
# **3. Five methods are tried. On eight of eight images, and with both fillings, covering what one of them marks costs
# more than covering what edges mark. The interval of the difference is above 0. What may you say?**
#
# <details><summary>a) Nothing yet: eight images are too few for any statement about a method.</summary>
#
# No. A coin is ahead on eight of eight in 0.4 % of all tries; with five methods, less than 1 % is clear. *Four* of four
# would be too few.
# </details>
# <details><summary>b) On images like these it is clearly ahead of edges, in what it marks as needed.</summary>
#
# Yes. Before you recommend it, look at the second condition: how much of its map stays with random weights.
# </details>
# <details><summary>c) It shows why the network answered so.</summary>
#
# No. It marks places that the answer needs. Why it needs them, covering does not say.
# </details>

# %% [markdown]
# ## References
#
# - Li, Wang, Shi, Liu, Hou: Revisiting Batch Normalization for Practical Domain Adaptation. 2016, arXiv:1603.04779 (the memory of
#   batch normalisation shows a shift).
# - Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017, arXiv:1706.04599 (how sure networks are).
# - Hein, Andriushchenko, Bitterwolf: Why ReLU Networks Yield High-Confidence Predictions Far Away from the Training Data. CVPR
#   2019, arXiv:1812.05720.
# - Adebayo et al.: Sanity Checks for Saliency Maps. NeurIPS 2018, arXiv:1810.03292 (random weights).
# - Yona, Greenfeld: Revisiting Sanity Checks for Saliency Maps. 2021, arXiv:2110.14297. Binder et al.: Shortcomings of
#   Top-Down Randomization-Based Sanity Checks for Evaluations of Deep Neural Network Explanations. CVPR 2023,
#   arXiv:2211.12486 (what such a test cannot tell: a map may stay because of the image, or of the measure of
#   similarity).
# - Selvaraju et al.: Grad-CAM. ICCV 2017, arXiv:1610.02391. Zeiler, Fergus: Visualizing and Understanding Convolutional Networks.
#   ECCV 2014, arXiv:1311.2901 (occlusion).
# - Sturmfels, Lundberg, Lee: Visualizing the Impact of Feature Attribution Baselines. Distill 2020.
# - Mitchell et al.: Model Cards for Model Reporting. FAT* 2019, arXiv:1810.03993 (what to write down about a network).
