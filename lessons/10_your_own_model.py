# ---
# jupyter:
#   course:
#     question: "What may you say of your own network's answers?"
# ---

# %% [markdown]
# # Your own model
#
# > **You will be able to** bring your own network and your own pictures; check, before anything is explained, whether the
# > transform (what turns a picture into the network's input) fits and which methods apply; explain with all three families beside
# > maps that know nothing; make a report that can be mailed; and say what may be said, and what not.
# >
# > **You need** lesson 00. The methods are those of lessons 03 to 05, the checks those of lesson 06; a line in section 3 or 6 says
# > what each does.
# >
# > **Time** {minutes}. The computer needs about a minute.
# >
# > **For** everyone. *Engineers*: all of it, with your own model in the first cell of code. *Teachers*: the prediction with section
# > 2 makes a lesson; the misconception to look for is "it is sure, so it got the right input". *Policy makers*: the prediction,
# > the pictures, section 7 and the verdict.

# %% [markdown]
# ## The claim
#
# The article's table has a column for a technique's strength and one for its limit. It has none for its **conditions**: it reads
# as if each technique could be put on any convolutional network. So far we had networks that we had trained or chosen
# ourselves. Yours was not chosen for this course. What has to hold before a map of it means anything, who checks it, and
# what can be said at the end?
#
# ## Predict
#
# A network for photographs wants pixels from −1 to 1. Somebody copies a line that stands in many tutorials, and in the
# article, too: ImageNet's mean and standard deviation. There is no error message, the pictures have the right shape, and the
# values are of a similar size.
#
# *How sure* a network is, its **confidence**, is here the largest of the probabilities that it gives to its classes.
#
# **Of twelve photographs, how many now get another answer? And does the network sound less sure?**

# %%
my_guess = {"other answers, of 12": 3, "mean confidence falls by, %": 20}

# %% [markdown]
# Your model goes here. As it stands, the lesson runs offline: a network with real ImageNet weights, and the photographs that
# scikit-image brings. Change the two lines and run the cells again. The printed numbers will then be yours; those in the text stay
# ours. (Where your network refuses a method, that cell stops and says why. Go on with the next.)
#
# | `MODEL` | is |
# |---|---|
# | `"torchvision:resnet50"`, `"timm:convnext_tiny"` | a stock network; its weights are downloaded once |
# | `"torchvision:resnet18:mine.pth"` | a stock network with weights of yours (or with random ones: `:random`) |
# | `"mine.py:network"` | a function of yours: it returns the network, or network, transform and class names |
# | `"mine.keras"` | a Keras model (section 8) |
# | `"data/checkpoints/….safetensors"` | a checkpoint of this course |

# %%
MODEL = "efficientnet_lite0"
IMAGES = ""  # a folder of yours; empty: scikit-image's photographs

# %%
import tempfile
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
    Path(f"{IMAGES}/broken.png").write_bytes(b"not an image")  # there always is one

# %% [markdown]
# ## 1. Bring them in
#
# `load_model` returns four things: the network, the **transform** that makes a picture its input, the names of its classes, and a
# note of where all this comes from. The network is put in evaluation mode and tried on a test picture. What cannot be used is
# refused in a sentence. A file of weights is read without running any program that may be hidden in it. (`"mine.py:network"` is a
# program, and is run: take only one that you trust.)

# %%
own = load_model(MODEL)
for what in ("class", "numbers", "classes", "input", "transform", "weights", "remarks"):
    print(f"{what:10} {own.about[what]}")

# %% [markdown]
# *weights* is the beginning of a hash, a fingerprint of the weights: if the same sixteen digits are printed elsewhere, the weights
# there are almost certainly the same. Now the pictures. One that cannot be read is named, and the others go on.

# %%
files, passed_over = image_files(IMAGES)
pictures = {}
for file in files[:13]:  # a dozen is enough here; the report of section 7 takes them all
    try:
        pictures[file.stem] = read_image(file)
    except ValueError as error:
        print("left out:", str(error).replace(str(file), file.name))
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
        title="What the network says, and how sure it is",
    ),
    alt="Twelve photographs, each with the network's answer and its probability: a cup of coffee is an espresso with 95 %, a brick wall "
    "a maze with 20 %, grass a soccer ball with 5 %.",
)

# %% [markdown]
# Some answers are right, some are not, and for some pictures there is no right one among its classes. That is what real folders are
# like.
#
# ## 2. Does the transform fit?
#
# Now the prediction. `check_transform` puts the same pictures through the transform as given, and through what is often put in its
# place by mistake.

# %%
from xai_course.report import check_transform, transform_variants, transform_verdict

variants = transform_variants(own.transform)
rows = {row["transform"]: row for row in check_transform(own, list(pictures.values()))}
divergence = {k: row["kl_divergence"] for k, row in rows.items()}
surprise = {k: "none" if d is None else f"{d:.2f}" for k, d in divergence.items()}
print(f"{'transform':30} same answer  confidence  surprise")
for k, row in rows.items():
    print(f"{k:30} {row['same']:11.0%} {row['confidence']:11.0%} {surprise[k]:>9}")
wrong = "ImageNet's mean and deviation"
changes = round((1 - rows[wrong]["same"]) * len(pictures))
before, after = rows["as given"]["confidence"], rows[wrong]["confidence"]
print(f"\n{wrong}: other answers {changes} of {len(pictures)}", end="")
print(f" (your guess {my_guess['other answers, of 12']}),", end=" ")
print(f"mean confidence {before:.1%} before, {after:.1%} after", end="")
print(f" (your guess: lower by {my_guess['mean confidence falls by, %']} %)")

# %% [markdown]
# With ImageNet's constants seven of twelve answers change, and in the mean the
# network is **almost as sure as before**. Mean confidence hardly noticed *this* wrong input. (It fell more for others, such as *0 to 255*
# and *0 to 1*.)
#
# How many changes are normal? Several answers were weak from the start: two have 5 %. Look at *−1 to 1*. Its constants are almost the
# right ones, and no answer changes. The first five rows resize and cut the pictures alike, so what differs is due to the constants
# alone.
#
# And the maps? Of the pictures whose answer changes, here is the one of which the network is then surest.

# %%
from xai_course.relu import grad_cam

both = {
    k: torch.stack([variants[k](one) for one in pictures.values()]) for k in ("as given", wrong)
}
with torch.no_grad():
    answers = {k: own.model(x).softmax(1).max(1) for k, x in both.items()}
p, c = ([answers[k][part] for k in both] for part in (0, 1))
at = (p[1] * (c[0] != c[1])).argmax()
pair = torch.stack([both[k][at] for k in both])

# %%
plots.figure(
    plots.overlay(
        [variants["0 to 1"](list(pictures.values())[at])] * 2,
        grad_cam(own.model, pair),
        [
            f"{k}:\n{own.classes[c[n][at]]}, {p[n][at]:.0%}"
            for n, k in enumerate(("the right transform", wrong))
        ],
        shared_scale=False,
        columns=2,
        size=4,
        title="A wrong input gets a map as tidy as any",
    ),
    alt="A blurred photograph of a clock, twice, with the Grad-CAM maps of two answers: a bubble, through the right transform, "
    "and a spotlight, of which the network is surer, through the wrong one.",
    caption="Nothing in the second map says that the network was given something it never learnt to read.",
)

# %% [markdown]
# **A check that notices.** Look at the column *surprise*. A batch normalisation remembers which mean $\mu$ and which variance
# $\sigma^2$ each channel had in training. The network's first one sits right behind the first convolution, so it keeps a rough
# memory of the inputs. The channels now have mean $m$ and variance $v$. The Kullback-Leibler divergence says how far one normal
# curve is from another:
#
# $$\text{surprise} = \underset{\text{channels}}{\text{mean}}\ \tfrac12\Bigl(\frac{v}{\sigma^2} + \frac{(m-\mu)^2}{\sigma^2} - 1 - \ln\frac{v}{\sigma^2}\Bigr).$$
#
# It is 0 if every mean and variance is as in training, and needs no labels. In practice it is never quite 0: a dozen pictures are not the
# training set. So `transform_verdict` compares. It doubts a transform if another one surprises the network at most half as much. This
# must not hang on one picture: the other must also surprise less in nearly all bootstrap draws (the pictures drawn anew, some twice,
# some not at all). In how many? In all but 5 %, divided by the number of transforms tried: who tries ten finds one by chance more
# easily than who tries one. Where the answers of the pictures are known, it compares them as well; and it may say that these pictures
# *cannot tell*. We ask about the right transform, then about the wrong one:

# %%
mistaken = own._replace(transform=variants[wrong])
print("right:", transform_verdict(list(rows.values()))[1])
print("wrong:", transform_verdict(check_transform(mistaken, list(pictures.values())))[1])

# %% [markdown]
# Confidence can even be *highest* where the network only guesses. Here is BeetleNet, the network of lesson 02, on twenty beetles
# whose species we know (two of each of ten, so chance is 10 %):

# %%
from PIL import Image

from xai_course.beetlebox import SPECIES, scenes
from xai_course.core.paths import data_folder

beetle_net = load_model(str(data_folder() / "checkpoints" / "beetle_net.safetensors"))
drawn = [scene.image(64) for species in SPECIES for scene in scenes("test", species, 2)]
beetles = [Image.fromarray((255 * image).round().astype("uint8")) for image in drawn]
for row in check_transform(beetle_net, beetles, [k // 2 for k in range(20)]):
    print(f"{row['transform']:30} sure {row['confidence']:4.0%}, right {row['right']:4.0%}")

# %% [markdown]
# Through *0 to 255* it is surest of all, and right hardly more often than a guess. Confidence alone would have told you that all is well.
# (Through *0 to 1* it guesses as well, and there confidence does fall.)
#
# ## 3. Which assumptions hold?
#
# Each finding comes from running the network on a few of your pictures (here four). Nothing is taken from anybody's documentation.
# So a *yes* means: it held on these. A **logit** is a class's score before the softmax makes probabilities of the scores.

# %%
from xai_course.report import check_assumptions

for finding in check_assumptions(own.model, inputs[:4]):
    print(f"{'yes' if finding.passed else 'NO '}  {finding.what:25} {finding.why[:70]}")

# %% [markdown]
# ### The identity
#
# *Piecewise linear* has a test that most other networks fail. (This network's *hardtanh* is a ReLU that also stops at 6; it counts as one.) Around one
# picture, a network of convolutions and ReLUs is a linear map plus a constant. So its logit must be the gradient times the picture,
# plus what the biases contribute (lesson 03):
#
# $$f(x) = \langle \nabla f(x),\, x\rangle + \sum \text{biases}.$$

# %%
from xai_course.relu import local_linear

parts = local_linear(own.model, inputs)
total = parts.from_input + torch.stack(list(parts.biases.values())).sum(0)
print(f"logits from {parts.logit.min():.2f} to {parts.logit.max():.2f}; ", end="")
print(f"largest difference between logit and sum: {(parts.logit - total).abs().max():.0e}")

# %% [markdown]
# Where this sum fails, `local_linear` refuses, and so does FullGrad. The sum alone is no proof: it also holds for a norm, which
# doubles when its input doubles. So `local_linear` also reads the network's steps, and refuses one that is not piecewise linear. Other methods have other conditions, and each checks its own. The
# eleven methods, in a few words:
#
# | family | method | its map |
# |---|---|---|
# | ReLU (lesson 03) | gradient | how the logit changes with each pixel |
# | | SmoothGrad | the mean gradient over noisy copies of the picture |
# | | guided backpropagation | a gradient that lets only positive signals back through each ReLU |
# | | Grad-CAM | a layer's feature maps, weighted by their mean gradients |
# | | FullGrad | the gradient times the picture, and what the biases contribute, added up |
# | fully connected layer (04) | CAM, class activation map | the last feature maps, weighted by the last layer |
# | residual (05) | last block | what the last residual block added to the logit |
# | | occlusion | how far the logit falls when a patch is covered |
# | | Integrated Gradients | gradients added up on the way from a baseline to the picture |
# | | DeepLIFT | the change against a baseline, handed back layer by layer |
# | | LRP | the logit itself, handed back layer by layer |
#
# Here are five more architectures that people bring, with every method tried on each. Their **weights are random**, since
# torchvision's cannot be downloaded offline. Whether a method applies is mostly a matter of the architecture, and not of how many
# samples, windows or steps it takes, so each takes few.

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
    "ConvNeXt": ("convnext_tiny", {"layer_scale": 1.0}),
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
    alt="Table of eleven methods and six networks, orange where a method applies and blue where it refuses. All apply to "
    "your model and to ResNet-18; the fewest to ConvNeXt.",
)
for title, column in reasons.items():
    for method, reason in column.items():
        if reason:
            print(f"{title:12} {method:22} {reason.removeprefix('model: ')[:65]}…")

# %% [markdown]
# A refusal is the good case: a method that does not check gives a map all the same. And a tick says only that the method's
# conditions hold, not that its map is worth something: these networks have learnt nothing.
#
# ## 4. Which layer?
#
# Grad-CAM reads the feature maps of one layer. Which? `find_layers` lists the last module at each resolution; *default* marks what
# `grad_cam` takes if you name none: the last map from a convolution, with what directly follows it (normalisation, activation,
# residual sum).

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
plots.figure(
    plots.overlay(
        [picture] * len(named),
        [maps[0] for maps in by_layer.values()],
        [f"{layer.name}\n{layer.shape[1]} × {layer.shape[2]}" for layer in named],
        shared_scale=False,
        columns=5,
        title="One method, one picture, one class: another layer, another map",
    ),
    alt="Grad-CAM of the same photograph at five layers: fine grain at the first, a few large blots at the last.",
)
last = named[-1].name
for at, maps in list(by_layer.items())[:-1]:
    alike = map_similarity(maps, by_layer[last]).item()
    print(f"{at:12} rank correlation with the map of {last}: {alike:.2f}")

# %% [markdown]
# The last one is the usual choice, as what follows it is often linear, or nearly so. The maps of the others share next to nothing
# with its map (one photograph). Name the layer in the caption, or nobody can
# make the map again.
#
# ## 5. Compared with what?
#
# Integrated Gradients, DeepLIFT and occlusion compare the answer with the answer to a **baseline**: a picture, or a filling, that
# should say *nothing to see here*. Is it nothing to your network? Ask it. Then three photographs are explained from each baseline. A
# **rank correlation** of 1 means that two maps put the pixels in the same order; 0, that the orders have nothing in common.

# %%
from xai_course.report import check_baselines
from xai_course.residual import integrated_gradients

for row in check_baselines(own, inputs):
    print(f"{row['baseline']:6} the class keeps {row['kept']:.1%}; ", end="")
    print(f"most often called {row['predicted']}, {row['confidence']:.0%} sure in the mean")
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
# The network is sure of none of the three, which is good. But the maps hardly agree: the correlations are 0.05 to 0.26. Is that the
# baseline's doing, or that of the coarse steps? The last line is the null: from the same baseline, with twice the steps, 0.76 stays.
# So the steps explain a part, and the baseline most. (Three photographs, to save time.) The baseline is half of the question, and
# belongs in the caption. *Black* is a black picture that went through the transform; a tensor of zeros is grey for
# this network.
#
# ## 6. Three families, beside maps that know nothing
#
# `collect` explains the images of a folder and keeps what it finds, one file an image; `make report` runs the same. For each image and
# method it keeps three things:
#
# - the map;
# - the map of the same network **with random weights**;
# - how far the logit falls when we **cover the tenth** of the picture that the map marks most, with the mean colour and with a blur.
#
# Beside the methods stand two **nulls**, maps that know nothing of any network: an edge detector, and a bump in the middle (*centre*).
# Of the methods we take the gradient (ReLU); the class activation map, CAM (fully connected layer; for this network it is, up to its
# scale, Grad-CAM's map as well); and LRP, DeepLIFT and occlusion (residual: change against expectation).

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

# %%
plots.figure(
    plots.overlay(
        [shown.image] * (1 + len(applied)),
        [None, *(shown.maps * shown.scales[:, None, None])[: len(applied)]],
        ["what the network gets", *applied],
        shared_scale=False,
        columns=3,
        title="Five methods from three families, one answer",
    ),
    alt="A photograph of a cat and five maps of it. Gradient and DeepLIFT are specks, CAM a blot, LRP lines around the eyes, "
    "occlusion squares of both colours.",
)

# %% [markdown]
# **Do they agree?** We cut each map into 64 tiles, eight by eight, and rank them by the size of the relevance in them. 1 is the same
# order.

# %%
labels = [label.removeprefix("null: ") for label in collected.names]

# %%
plots.figure(
    plots.matrix(
        found.agreement.median(0).values,
        labels,
        labels,
        label="rank correlation",
        title="Agreement is low, and edges agree with some methods as well",
    ),
    alt="Table of rank correlations of five methods, the edge detector and the centre, each with each. LRP and DeepLIFT agree most, with "
    "0.6; gradient and occlusion not at all.",
    caption="Median of eight photographs.",
)
print("\n".join(words["Do the methods agree?"]))

# %% [markdown]
# **Does a map depend on what was learnt?** All weights are drawn anew. If the map stays much the same, it mostly shows the
# image. (Such a test cannot tell more: a map may also stay because its image alone draws it. Yona and Greenfeld 2021, Binder and
# others 2023.) The yardstick is how alike maps of *different images* are. (A network without `reset_parameters` in every layer, such as a
# Keras model, cannot be checked this way.)
#
# One trap: drawn anew, the batch normalisations have no statistics yet, and the signal of so deep a network dies on the way. `reinitialised`
# lets them take the statistics of our pictures, as in training:

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
# A number in single precision has seven digits. To the network that is only drawn anew all pictures are alike but for the last one or
# two of them, and a map of it would show how numbers are rounded. So the report takes the other one.

# %%
kept = randomisation_results(found)
if kept:
    plots.figure(
        plots.matrix(
            [row[1:3] for row in kept],
            [row[0] for row in kept],
            ["random weights", "other images"],
            label="rank correlation",
            title="Similarity of a map\nto the one with …",
        ),
        alt="Table of five methods. With random weights the maps of DeepLIFT keep a similarity of 0.59 and those of LRP 0.43; maps of other "
        "images have 0.11 and 0.01. For CAM it is the other way round: 0.06 and 0.27.",
        caption="Mean of eight photographs. Left well above right: the map shows the image. The lines below say what is clear, and how much it is.",
    )
print("\n".join(words["Does a map depend on what was learnt?"]))

# %% [markdown]
# DeepLIFT's maps have 0.59 on the left and 0.11 on the right, LRP's 0.43 and 0.01, and yet only DeepLIFT is called *clear*. Clear takes
# two things. The left must be ahead on so many images that a coin would do it in less than 1 % of all tries: 5 %, shared out among five
# methods. With eight images only eight of eight will do (0.4 %); seven of eight, as for the gradient, will not (3.5 %), nor will six of
# eight, as for LRP (14 %). And the interval of the difference must lie above 0. So these two are suspect, not cleared: eight images are
# too few. And *clear* is not *much*. Of what could stay of DeepLIFT's
# maps, about half does; the other half changes with the weights. That is why a size stands beside every test.
#
# **Is what a map marks needed?** Photographs have no answer key, but there is an experiment: cover what the map marks. (Occlusion is made
# by covering, so this favours it. And a covered picture is one that the network never saw in training.)

# %%
plots.figure(
    plots.matrix(
        found.logit_drops.mean(0),
        labels,
        ["mean colour", "blur"],
        label="logits",
        title="What it costs to cover\nthe tenth that a map marks most",
    ),
    alt="Table: for five methods and two nulls, how many logits covering costs, with two fillings. With the mean colour occlusion costs most, 2.0; "
    "with a blur DeepLIFT, 2.1. The edge detector, which knows nothing, costs 1.3 and 1.5, more than CAM and the gradient.",
    caption="Mean of eight photographs. Edges and centre know nothing of the network.",
)
print("\n".join(words["Is what a map marks needed?"]))

# %% [markdown]
# ## 7. What you may say, and what not
#
# The next lines are computed: other pictures may give other lines. A method is recommended only under two conditions. It is ahead of the
# best map that knows nothing, *clearly* and with both fillings: on so many images that a coin would do it in less than 1 % of all tries
# (with five methods), and with an interval above 0. *And* what survives the loss of all that was learnt is not most of its map. With
# eight images this is strict: eight of eight.
# So *not clearly ahead* does not mean *no better*. It means: not shown here.

# %%
for heading in ("What may be said", "What may not be said"):
    lines = "\n".join(f"- {line}" for line in words[heading])
    display(Markdown(f"**{heading}**\n\n{lines}"))

# %% [markdown]
# ### A report that can be mailed
#
# ```
# make report MODEL=torchvision:resnet50 IMAGES=photos
# ```
#
# explains every image of a folder in this way, and writes one page, `runs/report/report.html`. All pictures are inside it, it links to
# nothing outside, and it opens offline. `OUT=`, `LABELS=` (a file of class names) and `METHODS=` are optional. A broken image is listed
# and stops nothing. Where memory runs out, the batch is halved. Stop it whenever you like: what is on file, under the hashes of network
# and image, is not done again. The pictures go with the page: before you mail it, ask whether you may pass them on.
#
# ### From your training to the report
#
# `fit` (lesson 02) trains a network, and `save_checkpoint` keeps it: two files, the weights and a card that anyone can read. Give it the
# transform of the test pictures. Then the card keeps the size and the transform, and whoever loads the network explains it at the size
# that it was trained on. Here BeetleNet is saved, as yours would be after its training, and loaded again:

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
# is then all that it takes; the README has the whole way from a folder of pictures. Without `transform=` the report would have to guess,
# and says so.
#
# ### Nothing is done twice
#
# See for yourself, here with `collect`:

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
# **One that only answers**: a model in another library, or a service. `Predictions` makes a network of any function from images to
# logits. Occlusion, the nulls and the covering need nothing else. What needs a derivative, or a look inside, refuses.

# %%
import numpy as np

from xai_course.models import Predictions


def service(images):
    """Somebody else's model: arrays in, lists out."""
    with torch.no_grad():
        return beetle_net.model(torch.from_numpy(np.asarray(images))).tolist()


shut = Predictions(service)
some = torch.stack([beetle_net.transform(beetle) for beetle in beetles[:4]])
gap = (occlusion(shut, some) - occlusion(beetle_net.model, some)).abs().max()
print(f"occlusion of the service and of the network differ by {gap:.0e}")
tried = applicable_methods(shut, some)
print("applies:", ", ".join(method for method, reason in tried.items() if not reason))
print("refuse: ", ", ".join(method for method, reason in tried.items() if reason))

# %% [markdown]
# **A Keras model.** With `KERAS_BACKEND=torch` a Keras 3 model *is* a torch module, and the methods see its ReLUs and convolutions as
# they see anybody's. Keras puts channels last, (N, H, W, C); `ChannelsLast` takes (N, C, H, W) and turns them. `load_model("mine.keras")`
# does so by itself.

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
    print("apply: ", ", ".join(method for method, reason in tried.items() if not reason))
    print("refuse:", ", ".join(method for method, reason in tried.items() if reason))

# %% [markdown]
# A Keras `Dense` layer multiplies matrices and calls no linear layer. So the class activation map and LRP do not find one, and refuse;
# *last block* refuses because there is no residual block. Keras models often end in a softmax. Then `check_assumptions` says *these are
# probabilities*: take the activation of the last layer away. To read a *layer* of a channels-last model, cut the model in two there and
# hand both parts to `ChannelsLast`: its docstring says how.

# %% [markdown]
# **One that gives no classes**: a regression, a detector, a segmentation. Then say which number is to be explained. `targets` may be a
# function from the network's output to **one number for each image**. Every explainer and every measure takes it. (For a box of a detector:
# its score; for a region of a segmentation: the mean logit of a class over the region.)
#
# As an example, a network that says how many pixels the antennae cover. Its body is BeetleNet's; its head is fitted by least squares.

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
print(
    f"Integrated Gradients: the sum misses the change by {(ig_map.sum((1, 2, 3)) - change).abs().mean():.1f} of",
    end=" ",
)
print(f"{change.abs().mean():.0f} pixels")
tried = {"occlusion": occlusion, "gradient": gradient, "null: bright edges": bright_edge_map}
for name, method in tried.items():
    share = relevance_mass(how_large, method, unseen, antennae, pixels_said)
    print(f"{name:18} share of the relevance that lies on the antennae {share.mean():.2f}")
print(f"by area {(antennae.sum((1, 2)) / 64**2).mean():.2f}")

# %% [markdown]
# Sums, checks and nulls hold as before. Two things change. The unit is that of the number, here pixels. And a *probability* (the default of
# `deletion`) makes sense only where the number is a logit: for other numbers ask for `output="logit"`.

# %% [markdown]
# ## Where it breaks
#
# **What the check of the transform cannot see.** Red and blue are swapped, as when OpenCV reads the pictures. The surprise hardly rises, so
# the check finds nothing. Yet some answers change. (Most of our photographs are grey and stay as they are; count those in colour.)

# %%
swap = rows["red and blue swapped"]
shown = [variants["0 to 1"](one) for one in pictures.values()]
coloured = sum(not torch.equal(red, blue) for red, _, blue in shown)
print(
    f"surprise {surprise['red and blue swapped']}, {surprise['as given']} as it should be;", end=" "
)
print(f"other answers: {(1 - swap['same']) * len(pictures):.0f} of the {coloured} in colour")

# %% [markdown]
# Lying on its side is worse: in the table of section 2 the surprise is 0.06 as before, and eight of twelve answers change. Only
# pictures whose class you know can show such mistakes.
#
# **A network that knows nothing has maps, too.** The same architecture with random weights, asked for the same class.

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
        title="Which of the two has never seen a cat?",
    ),
    alt="Two Grad-CAM maps of a cat. That of the trained network is orange over eye, cheek, nose and mouth; that of the network with random "
    "weights has orange and blue blots on eye, forehead and nose.",
    caption="Each on its own scale, as such pictures are usually shown.",
)

# %% [markdown]
# If you could not tell without the titles: neither could whoever gets the picture from you. The random one even marks eye and nose. A
# hint is in the small print: there, full colour stands for a relevance many times smaller. Hence the numbers beside a picture.
#
# ## Exercises
#
# **1. Surprise, by hand** (10 minutes, medium). `x` (N, K, h, w) is what a batch normalisation gets now; `mean` and `variance`
# (K,) are what it remembers. Return the surprise, one number: the formula of section 2, with the mean and the variance of each
# channel over all images and places (divide by their number, not by one less).


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
from xai_course.exercises.lesson_10 import check_surprise

check_surprise(surprise_by_hand)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `x.mean((0, 2, 3))` leaves one number a channel; so does `x.var((0, 2, 3), correction=0)`. Then the formula, channel by channel, and one
# mean at the end.
# </details>
#
# **2. Halve, and go on** (10 minutes, medium). `run(part)` makes a list of results from a list of items, one each; it raises `MemoryError`
# where the list is too long. Return the results of all `items`, in order, in batches of `size`; at a `MemoryError` halve the size for
# the rest and try that part again. What was done is not done again; if a single item is too much, let the error through.


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
from xai_course.exercises.lesson_10 import check_go_on

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
from xai_course.exercises.lesson_10 import check_coin

check_coin(coin)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `math.comb(n, k)` counts the ways to get k heads, out of `2**n`. Add them up from `hits` to `n`, both included.
# </details>
#
# Then your own model, if you have not yet: change the two lines at the top.
#
# ## Verdict
#
# **That each technique can be put on any convolutional network: refuted.** Of six networks two take every one of the eleven methods; the
# other four refuse one to six, each with its reason. (Five methods did apply to all six.)
#
# **That one can read off a table which technique suits: depends**, on four things that no table knows. Each of them can be wrong
# without an error message:
#
# - *the input*: one wrong line in the transform changed most answers, and in the mean the network sounded nearly as sure as before;
# - *the layer and the baseline*: another one, another map, beyond what other steps change;
# - *what was learnt*: a map may partly survive the loss of all of it (here about half of DeepLIFT's does; LRP's is suspect, and eight
#   images could not settle it);
# - *what knows nothing*: a map that looks like knowledge may do no better than an edge detector. Here no method was clearly ahead.
#
# All this is one trained network and a dozen photographs. It shows what can go wrong, not how often it does.
#
# The numbers, for this network and these photographs:

# %%
from xai_course.report import occlusion_results

print(f"through ImageNet's constants {changes} of {len(pictures)} answers are others;", end=" ")
print(f"confidence {before:.1%} before, {after:.1%} after")
refused = {title: sum(map(bool, column.values())) for title, column in reasons.items()}
print(f"of {len(methods)} methods refuse:", ", ".join(f"{t} {n}" for t, n in refused.items()))
everywhere = [m for m in methods if not any(column[m] for column in reasons.values())]
print(f"apply to all {len(reasons)}: {len(everywhere)} methods")
n = found.images
print("\ncovering what a method marks costs more than the best map that knows nothing")
for method, cells, ahead in occlusion_results(found):
    told = [f"on {lead.hits} of {n} ({lead.chance:.1%} by chance)" for _, lead in cells]
    print(f"    {method:22} mean colour {told[0]}, blur {told[1]}{'; clear' * ahead}")

# %% [markdown]
# ## Take it with you
#
# The check of the input: some eighty lines, comments included, for any network with batch normalisation, yours too. And with
# `snippet` one more: which layers there are.

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
# **1. Your network is 99 % sure of nearly every picture. What follows for the transform?**
#
# <details><summary>a) It fits: the network recognises what it sees.</summary>
#
# No. BeetleNet was surest through *0 to 255*, and right hardly more often than a guess.
# </details>
# <details><summary>b) Nothing.</summary>
#
# Yes. Pictures whose class you know can tell, and the memory of a batch normalisation can tell a wrong scale.
# </details>
# <details><summary>c) It does not fit: 99 % is too much.</summary>
#
# Not that either. A network may be that sure for good reasons.
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
# **3. On four of four images a method costs more to cover than the edge detector. May you recommend it?**
#
# <details><summary>a) Yes, it was ahead every time.</summary>
#
# No. A coin does that about once in sixteen tries, and you tried several methods.
# </details>
# <details><summary>b) No, it was beaten.</summary>
#
# It was not beaten: it was ahead on all four. Whether that was luck is open.
# </details>
# <details><summary>c) Not yet: with four images nothing could have shown it.</summary>
#
# Yes: of several methods, one may be ahead on all four by luck. That is why the report counts, and says how many images it would take.
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
# - Yona, Greenfeld: Revisiting Sanity Checks for Saliency Maps. 2021, arXiv:2110.14297. Binder et al.: Shortcomings of Top-Down
#   Randomization-Based Sanity Checks for Evaluations of Deep Neural Network Explanations. CVPR 2023, arXiv:2211.12486 (what such a
#   test cannot tell: a map may stay because of the image, or of the measure of similarity).
# - Selvaraju et al.: Grad-CAM. ICCV 2017, arXiv:1610.02391. Zeiler, Fergus: Visualizing and Understanding Convolutional Networks.
#   ECCV 2014, arXiv:1311.2901 (occlusion).
# - Sturmfels, Lundberg, Lee: Visualizing the Impact of Feature Attribution Baselines. Distill 2020.
# - Mitchell et al.: Model Cards for Model Reporting. FAT* 2019, arXiv:1810.03993 (what to write down about a network).
