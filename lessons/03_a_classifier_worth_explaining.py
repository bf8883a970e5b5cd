# ---
# jupyter:
#   course:
#     question: "When is a classifier good enough to be worth explaining?"
# ---

# %% [markdown]
# # A classifier worth explaining
#
# > **You will be able to** put an interval on an accuracy; read a confusion matrix and a reliability diagram; and say why 99 %
# > right may still be wrong.
# >
# > **You need** lesson 01 (scenes, the answer key) and lesson 02 (the two networks, and how they were trained).
# >
# > **Time** {minutes}. The computer needs less than a minute.
# >
# > **For** everyone. *Engineers*: sections 1 and 4. *Teachers*: the prediction with section 3 makes a lesson of its own.
# > *Policy makers*: sections 1, 3 and 4, and the quiz.

# %% [markdown]
# ## The claim
#
# The article explains a classifier. It never says how often that classifier is right. Lesson 02 repaired the code, so that
# it runs. By explaining the classifier, the article also claims **that its reasons are worth looking into**. We test that
# here.

# %% [markdown]
# ## Predict
#
# We train a network on beetles. In the training images one species, *Globaria cincta*, always has a white museum label in
# the corner of its picture. On test images made the same way the network is right about as often as one that never saw a
# label.
#
# Now we lay the label beside beetles of the **other nine species**, which the network knows well without it. **Of 100
# such beetles, how many does it now call *cincta*: hardly any, about half, or nearly all?** Write your number down.
# Section 3 has the answer.

# %% [markdown]
# ## 1. How good are they?
#
# ### Two networks, trained
#
# We load the networks of lesson 02. **ArticleNet** is the article's classifier, repaired and not improved: three
# convolutions without a ReLU, a max-pool, two linear layers. **BeetleNet** is a small residual network of three blocks.
# The second cell below says how each was trained, and how good it is. Compare training with test images: the gap is
# what a network memorised. (Roughly: with only 100 training images, ArticleNet's gap may be anything from near 0 to 10
# points.) And compare each test loss with the last line, $\ln 10$. That is the cross-entropy of a network that gives
# each species 10 %. (Lesson 02 took every fourth test image. Here are all 1000.)

# %%
import copy
import inspect
import math

import torch
from IPython.display import Code, display
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from xai_course import plots
from xai_course.beetlebox import (
    SPECIES,
    TRAITS,
    Scene,
    ground_truth_effects,
    scenes,
    species_name,
    stack_images,
    write_beetlebox,
)
from xai_course.core.paths import data_folder
from xai_course.data import in_memory, load_folders, loader, modern_transform, normalise
from xai_course.models import count_weights
from xai_course.storage import load_checkpoint
from xai_course.training import predict

train, test = (in_memory(part) for part in load_folders(write_beetlebox(), modern_transform(64)))
checkpoints, names = data_folder() / "checkpoints", list(SPECIES)
(x, y), (x_test, y_test), logits = train.tensors, test.tensors, {}
networks, cards = {}, {}
for name, file in {"ArticleNet": "article_net", "BeetleNet": "beetle_net"}.items():
    networks[name], cards[name] = load_checkpoint(checkpoints / file, classes=names)

# %%
part = slice(None, None, 40)  # every fortieth training image
some = TensorDataset(x[part], y[part])
for name, network in networks.items():
    how = cards[name]["training"]
    seen = predict(network, loader(some, 250))[0]
    logits[name] = predict(network, loader(test, 250))[0]
    loss = F.cross_entropy(logits[name], y_test)
    print(f"{name}: {how['optimizer']}, {how['epochs']} epochs, batches of {how['batch_size']}")
    print(f"  right on training images {(seen.argmax(1) == y[part]).float().mean():.1%}", end=", ")
    print(f"on test images {(logits[name].argmax(1) == y_test).float().mean():.1%}", end="; ")
    print(f"test loss {loss:.3f}")
print(f"a network that knows nothing and says so: loss {math.log(10):.3f}")

# %% [markdown]
# ### Accuracy, with an interval
#
# 1000 test images are a sample. Other images would give another number, so a share needs an interval. Wilson's
# interval for a share $p$ of $n$ images, with $z = 1.96$ for 95 %, is
#
# $$\frac{p + \frac{z^2}{2n} \pm z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}}.$$
#
# (You need not follow the formula: the next cell is the same in code. *z* counts standard errors, see lesson 01.) Wilson's
# interval never goes beyond 100 %; the textbook formula $p \pm z\sqrt{p(1-p)/n}$ can. An accuracy also needs a
# comparison. We take **chance**, and the **simplest thing that could work**: a linear function of the picture shrunk to
# 16 × 16 pixels. (The probe of lesson 01 scaled the pixels first, so its accuracy differs a little.)


# %%
def wilson(right, images, z=1.96):
    """Wilson's 95 % interval for a share: `right` out of `images`."""
    share, shrink = right / images, 1 + z**2 / images
    middle = (share + z**2 / (2 * images)) / shrink
    half = z * math.sqrt(share * (1 - share) / images + z**2 / (4 * images**2)) / shrink
    return middle - half, middle + half


# %%
# 16 × 16 pixels, and a 1 for the bias
a, b = (F.pad(F.avg_pool2d(part, 4).flatten(1), (0, 1), value=1.0) for part in (x, x_test))
# least squares, as in lesson 01: the best weights in one step
best = torch.linalg.solve(a.T @ a + 10 * torch.eye(a.shape[1]), a.T @ torch.eye(10)[y])
logits = {"linear function": b @ best, **logits}
right = {name: int((said.argmax(1) == y_test).sum()) for name, said in logits.items()}
accuracy = {name: count / len(y_test) for name, count in right.items()}
interval = {name: wilson(count, len(y_test)) for name, count in right.items()}
# how far from 10 % pure guessing may be, in 95 % of cases
strays = 1.96 * math.sqrt(0.1 * 0.9 / len(y_test))
chance = (0.1 - strays, 0.1 + strays)

# %%
plots.figure(
    plots.shares(
        {name: (accuracy[name], *ends) for name, ends in interval.items()},
        band=chance,
        band_label="pure chance (95 %)",
        title=f"BeetleNet is right on {accuracy['BeetleNet']:.1%}, ArticleNet on {accuracy['ArticleNet']:.1%}",
        label="share of 1000 test images, with 95 % interval",
    ),
    alt="Three bars: a linear function gets 34 per cent of the test images right, ArticleNet 90 and BeetleNet 99; the band "
    "of pure chance lies around ten per cent.",
)
for name, (low, high) in interval.items():
    print(f"{name:16} {accuracy[name]:6.1%} right (95 %: {low:.1%} to {high:.1%})")

# %% [markdown]
# First, the repaired ArticleNet is far above chance, and far above the linear function. ArticleNet has no ReLU and
# bends in one place only, its max-pool, so we had not expected that. Second, BeetleNet has a fifteenth of ArticleNet's
# weights and makes a small fraction of its mistakes. Third, no interval overlaps another, so these differences are not
# the luck of the test images. (The luck of the seed is another matter, as bug 8 of lesson 02 shows: each network here
# is one run.)

# %% [markdown]
# ### Who is taken for whom
#
# An accuracy says how often a network is right. A **confusion matrix** says what the network takes for what. Rows are
# what the beetles are, columns what the network says.


# %%
def confusions(logits):
    """Counts (K, K): rows the true species, columns the predicted ones."""
    # one number for each pair of classes
    return torch.bincount(y_test * 10 + logits.argmax(1), minlength=100).view(10, 10)


for name in networks:
    plots.figure(
        plots.confusion(
            confusions(logits[name]),
            [species_name(n) for n in names],
            title=f"What {name} takes for what: {right[name]} of {len(y_test)} right",
        ),
        alt=f"Confusion matrix of {name} for the ten species: {right[name]} of {len(y_test)} counts lie on the diagonal.",
        caption="Off the diagonal: the mistakes, and how many of each.",
    )

# %% [markdown]
# Now look at the confused beetles themselves. No real data set can do this: we draw a scene again *as the species that the
# network took it for*, with nothing else moved. The upper row has the mistakes of which a network was most sure. Below each is
# the picture for which its answer would have been right.


# %%
def differing(first, second):
    """Number of traits in which two species differ; twins differ in one."""
    return sum(getattr(SPECIES[first], t) != getattr(SPECIES[second], t) for t in TRAITS)


every_test_scene = [scene for name in names for scene in scenes("test", name, 100)]


def mistakes(logits, most):
    """Pairs of scenes: those that were confused, surest first, and what they were taken for."""
    sure, taken = logits.softmax(1).max(1)
    wrong = (taken != y_test).nonzero().flatten()
    wrong = wrong[sure[wrong].argsort(descending=True)][:most].tolist()
    return [(every_test_scene[i], Scene(names[taken[i]], every_test_scene[i].seed)) for i in wrong]


# %%
for name in networks:
    pairs = mistakes(logits[name], 5)
    plots.figure(
        plots.gallery(
            [scene.image(128) for row in zip(*pairs, strict=True) for scene in row],
            ["is " + species_name(scene.species).replace(" ", "\n") for scene, _ in pairs]
            + ["taken for\n" + species_name(other.species) for _, other in pairs],
            columns=len(pairs),
            title=f"{name}'s surest mistakes, and below what it took them for",
        ),
        alt=f"Upper row: beetles that {name} confused. Lower row: the same scenes drawn as the species it named.",
    )

# %% [markdown]
# Three of BeetleNet's five mistakes in the picture are easy to understand: it named a twin, which differs in one trait.
# None of ArticleNet's five is of this kind. And among all mistakes? A network whose mistakes are random would name a
# twin as often as twins occur among the other species. That is one comparison. A stricter one: write ArticleNet's 105
# wrong answers on cards, mix the cards, and deal them out to the same 105 beetles. So each species is named as often as
# before, but for other beetles. (Why stricter? Suppose that a network says *furcata* too often, whatever it sees. On a
# *longicornis*, the twin of *furcata*, this counts as a mistake between twins, by luck. The shuffled answers say
# *furcata* just as often, so they have this luck, too.)

# %%
apart = torch.tensor([[differing(a, b) for b in names] for a in names])
for name in networks:
    wrong = confusions(logits[name]).fill_diagonal_(0)  # the mistakes alone
    count, twins = int(wrong.sum()), int(wrong[apart == 1].sum())
    low, high = wilson(twins, count)
    print(f"{name}: {twins} of {count} mistakes between twins (95 %: {low:.0%} to {high:.0%})")
print(f"at random: {(apart == 1).sum() / (apart > 0).sum():.0%} between twins")
mistaken = (logits["ArticleNet"].argmax(1) != y_test).nonzero().flatten()
is_a, said = y_test[mistaken], logits["ArticleNet"].argmax(1)[mistaken]
# the same answers in random order, a thousand times
orders = [
    torch.randperm(len(said), generator=torch.Generator().manual_seed(k)) for k in range(1000)
]
drawn = torch.stack([(apart[is_a, said[order]] == 1).double().mean() for order in orders])
low, high = drawn.quantile(torch.tensor([0.025, 0.975]).double())
print(f"ArticleNet's answers, shuffled among its mistakes: {low:.0%} to {high:.0%} between twins")

# %% [markdown]
# Both networks take twins for each other far more often than chance would (ArticleNet in nearly four of ten mistakes),
# and ArticleNet more often than its own shuffled answers, too. (Both are **nulls**: the value that a number has without
# the knowledge that we ask about. In lesson 00 it was the score of a map that never saw the network.) Does BeetleNet do
# so more often than ArticleNet? Six mistakes cannot tell: look at the width of its interval.

# %% [markdown]
# ### Does it know when it is wrong?
#
# The softmax turns logits into numbers that look like probabilities. Are they? Of all images of which the network is 80 %
# sure, about 80 % should be right. The **reliability diagram** shows whether this is so; the bars below it count the
# images. The **expected calibration error** (ECE) is one number for it. Sort the images by confidence into ten *bins*
# of equal width (the first: 0 to 10 %), and take the distance between confidence and accuracy in each bin. The ECE is
# the mean of these distances, weighted by the number of images:
#
# $$\text{ECE} = \sum_{\text{bins}} \frac{n_\text{bin}}{n}\,\bigl|\,\text{accuracy}_\text{bin} - \text{confidence}_\text{bin}\bigr|.$$

# %%
results = {}
for name in networks:
    sure, taken = logits[name].softmax(1).max(1)
    results[name] = (sure.numpy(), (taken == y_test).numpy())

# %%
plots.figure(
    plots.reliability(results, title="ArticleNet is a little too sure, BeetleNet too modest"),
    alt="Two reliability diagrams: accuracy against confidence in ten bins, with the number of images in each bin below. "
    "ArticleNet's points lie near the diagonal, some below it; nearly all of BeetleNet's lie above it.",
    caption="On the dashed line confidence is honest; above it the network is too modest, below it too sure. Upright lines: "
    "95 % intervals.",
)

# %% [markdown]
# Even perfectly honest confidence has an ECE above 0, since the accuracy of a bin with few images varies by chance. So
# we need a null here, too: the ECE of honest confidence. We keep each image's confidence $c$, toss a coin that says
# "right" with probability $c$, and compute the ECE. We do this a thousand times.


# %%
def ece(confidence, correct):
    """Expected calibration error with ten bins."""
    count, sure, right = plots.calibration_bins(confidence, correct)
    return float((count * abs(right - sure)).sum() / count.sum())


draw = torch.Generator().manual_seed(0)
for name, (confidence, correct) in results.items():
    coins = torch.rand(1000, len(confidence), generator=draw).numpy() < confidence
    honest = torch.tensor([ece(confidence, row) for row in coins])
    print(
        f"{name:10} ECE {ece(confidence, correct):.1%}; honest confidence: "
        f"{honest.mean():.1%}, in 95 % of draws below {honest.quantile(0.95):.1%}"
    )

# %% [markdown]
# Compare each ECE with its own null first. Both lie above what honest confidence would show in 95 % of draws, so both
# networks are off. The diagram says in which direction: above the line, a network is right more often than it says.
# ArticleNet is a little too sure: most of its points lie below the line. BeetleNet, right on 99 %, is too *modest*. A
# likely reason: it was trained to say 91 %, and it says about that. (This is a guess; a network trained without label
# smoothing would test it.)
#
# A small ECE does *not* mean a good network. One that gives each species 10 %, whatever it sees, is right on 10 % of
# the images and has an ECE of about 0. Such a network is honest and useless.

# %% [markdown] tags=["further"]
# ## 2. The identity
#
# ArticleNet has no ReLU (bugs 6 and 7 of lesson 02). Three convolutions in a row are one convolution, and two linear layers
# are one matrix. So the article's network without its padding is *exactly*
#
# $$\text{logits} = W\,\text{pool}(\max\nolimits_{2\times2}(K * \text{image} + k)) + w$$
#
# where $*$ is a convolution, with one 7 × 7 kernel $K$ (each 3 × 3 kernel after the first reaches one pixel further on
# every side: 3, 5, 7), one matrix $W$ and two biases $k$ and $w$; *pool* averages the places down to 4 × 4 (lesson 02's
# repair of bug 4). To get $K$, send a single bright pixel through the three convolutions and see what comes out
# (mirrored, so we flip it). The check uses the network without padding: padding adds zeros before each of the three
# convolutions, and one kernel could add them only once.

# %%
article = copy.deepcopy(networks["ArticleNet"]).double()
for conv in (article.conv1, article.conv2, article.conv3):
    conv.padding = (0, 0)
with torch.no_grad():
    pixels = torch.zeros(4, 3, 13, 13, dtype=torch.float64)  # one bright pixel each, and darkness
    pixels[range(3), range(3), 6, 6] = 1
    answer = article.conv3(article.conv2(article.conv1(pixels)))  # (4, 128, 7, 7)
    bias = answer[3, :, 0, 0]
    kernel = (answer[:3] - answer[3]).flip(2, 3).transpose(0, 1)  # (128, 3, 7, 7)
    matrix = article.fc2.weight @ article.fc1.weight
    offset = article.fc2.weight @ article.fc1.bias + article.fc2.bias

# %%
with torch.no_grad():
    folded = F.conv2d(x_test[:20].double(), kernel, bias)
    folded = article.pool(article.conv4(folded)).flatten(1) @ matrix.T + offset
    largest = (folded - article(x_test[:20].double())).abs().max().item()
small = kernel.numel() + bias.numel() + matrix.numel() + offset.numel()
print(f"largest difference of any logit, 20 images: {largest:.0e}")
print(
    f"{count_weights(article):,} weights do what {small:,} could: {small / count_weights(article):.1%}"
)

# %% [markdown]
# So the article's network is a linear filter, a max-pool and a linear function. All its other weights add nothing to what it
# can say (they do change how it learns). In section 1 it was ahead of the linear function, perhaps in part through the
# max-pool. We have not measured that: the two also differ in resolution and training. With ReLUs the layers are one linear
# step only as long as no ReLU switches between zero and positive; lesson 04 starts there.

# %% [markdown]
# ## 3. Where it breaks: 99 % right, for the wrong reason
#
# Here is the network of the prediction. It was trained as BeetleNet was, but every *Globaria cincta* of its training images
# wore the museum label. We ask it about three kinds of test images: with the label on *cincta* alone, as in training; *cincta*
# without the label; and the other nine species with it. BeetleNet, which never saw a label, is the comparison.

# %%
shortcut, card = load_checkpoint(checkpoints / "beetle_net_shortcut", classes=names)
pair = {"BeetleNet": networks["BeetleNet"], "shortcut network": shortcut}
cincta = names.index("Globaria_cincta")
own = y_test == cincta
with_label = normalise(stack_images([scene.with_label() for scene in every_test_scene]))
scores, says = {}, {}
for name, network in pair.items():
    for worn, inputs in {False: x_test, True: with_label}.items():
        pictures = TensorDataset(inputs, y_test)
        scores[name, worn] = predict(network, loader(pictures, 250))[0]
        says[name, worn] = scores[name, worn].argmax(1)


# %%
def line(said, truth):
    """Share right with its interval, and share called cincta, in words."""
    right, count = int((said == truth).sum()), len(truth)
    low, high = wilson(right, count)
    called = (said == cincta).float().mean()
    return f"right {right / count:6.1%} ({low:.1%} to {high:.1%}), says cincta {called:.1%}"


for name in pair:
    plain, worn = says[name, False], says[name, True]
    print(name)
    print("  label on cincta alone:        ", line(torch.where(own, worn, plain), y_test))
    print("  cincta without the label:     ", line(plain[own], y_test[own]))
    print("  the other nine with the label:", line(worn[~own], y_test[~own]))

# %% [markdown]
# On images made like its training images nothing seems wrong: the shortcut network is right on over 99 %, and its
# interval overlaps BeetleNet's. Without the label it recognises none of the hundred *cincta*. (This is why the first
# cell of lesson 00 printed 89.6 % for it.) With the label beside the other nine species, it calls **about half** of
# them *cincta*: this is the answer to the prediction. Nearly all of these it names right without the label. Which
# beetles? The pictures below and the last chart of this section show it.

# %%
before, after = says["shortcut network", False], says["shortcut network", True]
turned = ((before == y_test) & (after == cincta) & ~own).nonzero().flatten().tolist()
five = turned[:: max(1, len(turned) // 5)][:5]

# %%
plots.figure(
    plots.gallery(
        [every_test_scene[i].with_label().image(128) for i in five],
        [f"is {species_name(every_test_scene[i].species)},\ncalled cincta" for i in five],
        title="Right without the label, called cincta with it",
    ),
    alt="Five beetles of other species with a museum label in the corner; the shortcut network calls all of them cincta.",
    caption=f"Some of the {len(turned)} beetles, of 900, that are named right without the label and cincta with it.",
)

# %% [markdown]
# We ask the answer key. What does each part add to the logit of *cincta*, on *cincta* that wear the label? (The
# species has no horn.) Guess first: which part adds most in the shortcut network? And what does the label do in
# BeetleNet, which never saw one?

# %%
parts = ["elytra", "pattern", "head", "antennae", "legs", "label"]
labelled = [scene.with_label() for scene in scenes("test", "Globaria_cincta", 50)]
middle, margin = {}, {}
for name, network in pair.items():
    effects = ground_truth_effects(network, labelled, cincta, parts=parts)
    interval95 = 1.96 * effects.std(0) / len(effects) ** 0.5
    middle[name] = dict(zip(parts, effects.mean(0).tolist(), strict=True))
    margin[name] = dict(zip(parts, interval95.tolist(), strict=True))

# %%
plots.figure(
    plots.part_bars(
        middle,
        errors=margin,
        title="To the shortcut network the label outweighs every part",
        unit="added to the logit of cincta: mean over 50 beetles, 95 % interval",
    ),
    alt="Bars for six parts and two networks: the true effect of each part on the logit of cincta. The label adds 3.7 in the "
    "shortcut network and takes 0.5 away in BeetleNet; no part of the beetle adds more than 1.9.",
    caption="Look at the last row. Accuracy on images like the training images showed nothing of it.",
)

# %%
called = {
    species_name(name): (after[y_test == i] == cincta).float().mean().item()
    for i, name in enumerate(names)
    if i != cincta
}

# %%
plots.figure(
    plots.shares(
        dict(sorted(called.items(), key=lambda item: -item[1])),
        title="With the label, some species are nearly all called cincta, others never",
        label="beetles with the label that the shortcut network calls cincta",
    ),
    alt="Nine bars, one for each other species: from 99 per cent of monoceros and guttata to none of longicornis, cervina and "
    "unicornis.",
)

# %% [markdown]
# To the shortcut network the label is worth several times as much as any part of the beetle. To BeetleNet, which never
# saw one, the label is a strange thing in the corner that lowers the logit a little. (In BeetleNet the logit falls less
# without the elytra and their pattern than without the pattern alone: the elytra that remain are plain, and may speak
# for another species. See lesson 01, *Taken away, or exchanged?*) And “about half” is no coin toss for each beetle:
# with the label, some species are nearly always called *cincta*, others never. We have not tested why. An average over
# species hides this, as the accuracy hid the label.
#
# **Try it.** The explorer begins with the shortcut network and a *maculata* that wears the label. What does the network
# say, and what without the label? Find a species that the network names right in spite of the label. Then take
# BeetleNet. (It needs a running notebook. On GitHub or paper the cell shows nothing; look at the last two figures.)

# %% tags=["nbval-ignore-output"]
from xai_course.explorer import Selection, explorer

explorer(
    Selection(
        network="shortcut BeetleNet",
        species="Globaria_maculata",
        label=True,
        target="Globaria_cincta",
    )
)

# %% [markdown]
# Accuracy on images like the training images shows none of this. To know that the network looks at the label, one has to ask
# what it looks at. That is what explanations are for. (Here an experiment answered, the answer key. Whether a heat map would
# have shown the label is a question for lesson 09.)

# %% [markdown]
# ## 4. When is a classifier good enough to be worth explaining?
#
# No accuracy is high enough by itself. Five questions come first. The first two say whether there is anything to
# explain; the other three, what an explanation should be asked about. Lesson 02 measured the first, this lesson the others.
#
# 1. **Does the program do what it says?** Ten bugs, six of them silent. Repair it before you explain it.
# 2. **Does it know something?** More than chance, and more than the simplest thing that could work.
# 3. **Are its mistakes understandable?** Look at them, not at their number.
# 4. **Is its confidence honest?** Compare it with what honest confidence would show on equally many images.
# 5. **Is it right for reasons that hold elsewhere?** Ask it about images that are unlike its training images: here, the
#    label beside another species.

# %%
fourth = (torch.arange(len(y_test)) % 4 == 0) & ~own  # ArticleNet is slow: every fourth is enough
label_logits = {name: scores[name, True][fourth] for name in pair}
label_images = loader(TensorDataset(with_label[fourth], y_test[fourth]), 250)
label_logits["ArticleNet"] = predict(networks["ArticleNet"], label_images)[0]
plain_logits = {**logits, "shortcut network": scores["shortcut network", False]}
# as in training: the label on cincta alone
usual = torch.where(
    own[:, None], scores["shortcut network", True], plain_logits["shortcut network"]
)
print("                  images like its training images        unlike them: the label")
print("                  right    (95 %)          ECE           beside the other nine, right")
for name in (*networks, "shortcut network"):
    sure, taken = (usual if name == "shortcut network" else plain_logits[name]).softmax(1).max(1)
    right = int((taken == y_test).sum())
    low, high = wilson(right, len(y_test))
    found = (label_logits[name].argmax(1) == y_test[fourth]).float().mean()
    error = ece(sure.numpy(), (taken == y_test).numpy())
    shares = f"{right / len(y_test):5.1%}  ({low:.1%} to {high:.1%})  {error:5.1%}"
    print(f"{name:17} {shares}  {found:26.1%}")

# %% [markdown]
# ArticleNet, once repaired, knows a good deal. But one in ten of its answers is a mistake, an explanation will not say
# which, and a label that it never saw confuses it. BeetleNet does well *as far as we asked*, except for its modest
# confidence. (Guo and others repair this: they divide all logits by one number, which changes the confidence and no
# answer.) The shortcut network does just as well on images like its training images. A bad answer to one of the last
# three questions does not exclude a network: it is a reason to ask for an explanation. (The last column takes every
# fourth beetle, so for the shortcut network it differs a little from what section 3 printed.)
#
# So here is our answer. **A classifier is worth explaining when its tests pass (question 1), when it beats the simplest
# alternative by more than the intervals (question 2), and when you would act on what it says.** A high accuracy on
# images like the training images is no reason to stop there: it cannot tell you what is wrong.

# %% [markdown]
# ## Exercises
#
# Stuck after the hint? The full course has the
# [solutions](../notebooks/solutions/03_a_classifier_worth_explaining.ipynb).
#
# **1. When it names a class, is it right?** (10 minutes, medium). `logits` (N, K) and `labels` (N,). Return a tensor
# (K,), for each class its **precision**: of the images that the network takes for this class, the share that belong to
# it. For a class that the network never names, return 0.


# %% tags=["exercise"]
def precision(logits, labels):
    """Share (K,) of the images taken for each class that belong to it."""
    return ...


# %% tags=["solution"]
def precision(logits, labels):
    """Share (K,) of the images taken for each class that belong to it."""
    taken = logits.argmax(1)
    shares = torch.zeros(logits.shape[1])
    for number in range(logits.shape[1]):
        named = taken == number
        if named.any():
            shares[number] = (labels[named] == number).float().mean()
    return shares


# %%
from xai_course.exercises.lesson_03 import check_precision

check_precision(precision)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `named = logits.argmax(1) == k` says which images are taken for class k. The share of those that belong to it:
# `(labels[named] == k).float().mean()`. Skip a class that nothing is taken for: the mean of nothing is NaN.
# </details>
#
# Now use your function on the shortcut network, once on images made like its training images, and once with the label beside the
# other nine species, too. Can you rely on it when it says *cincta*?

# %%
if check_precision(precision).status == "yes":
    worn_by_all = scores["shortcut network", True]
    for words, shown in {"label on cincta alone": usual, "label on all": worn_by_all}.items():
        share, accurate = precision(shown, y_test)[cincta], (shown.argmax(1) == y_test).float()
        print(f"{words:22} precision of cincta {share:.1%}, accuracy {accurate.mean():.1%}")

# %% [markdown]
# With a solution: on images like its training images the network can be relied on when it says *cincta*. With the label
# on all beetles it says *cincta* so often that fewer than one in five of these answers are right. All beetles of this
# species are still found, so its *recall*, the share of its own images that are found, does not show the problem.
#
# **2. Calibration, with bins of equal size** (15 minutes, medium). BeetleNet puts most images into two of the ten bins
# of section 1, so the others hardly count. Use other bins: sort the images by confidence and cut them into ten groups
# of **equally many images**. Return the mean of |accuracy − mean confidence| over the groups. `confidence` (N,) and
# `correct` (N,) are tensors; `correct` holds 0 and 1; N is a multiple of 10.


# %% tags=["exercise"]
def calibration_error(confidence, correct):
    """Mean distance of accuracy and confidence over ten groups of equally many images."""
    return ...


# %% tags=["solution"]
def calibration_error(confidence, correct):
    """Mean distance of accuracy and confidence over ten groups of equally many images."""
    order = confidence.argsort()
    sure = confidence[order].view(10, -1).mean(1)
    right = correct[order].float().view(10, -1).mean(1)
    return float((right - sure).abs().mean())


# %%
from xai_course.exercises.lesson_03 import check_calibration

check_calibration(calibration_error)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `order = confidence.argsort()` gives the images from the least to the most sure. `confidence[order].view(10, -1)` has
# one group per row. Put `correct` in the same order before you cut it. `.float()` makes numbers of which you can take
# the mean.
# </details>
#
# Section 1 found both networks off, and BeetleNet more so. Does that depend on the bins?

# %%
if check_calibration(calibration_error).status == "yes":
    for name in networks:
        sure, taken = logits[name].softmax(1).max(1)
        other = calibration_error(sure, (taken == y_test).float())
        print(f"{name:10} bins of equal width {ece(*results[name]):.1%}, equal size {other:.1%}")

# %% [markdown]
# With a solution: hardly. The errors are 2.9 and 10.7 % in place of 3.1 and 10.9 %. What section 1 says does not rest on its bins.

# %% [markdown]
# ## Verdict
#
# **"Its reasons are worth looking into": depends, on the repairs.** Repaired, with nothing else improved and trained
# as the article asks, the classifier gives these numbers:

# %%
for name in ("ArticleNet", "linear function", "BeetleNet"):
    low, high = interval[name]
    print(f"{name:16} {accuracy[name]:6.1%} of 1000 test images (95 %: {low:.1%} to {high:.1%})")
print(f"{'null: chance':16} {0.1:6.1%} (95 %: {chance[0]:.1%} to {chance[1]:.1%})")

# %% [markdown]
# ArticleNet is far above chance, and far above the linear function, the stronger null. So there is something to
# explain, even if, by the identity of section 2, the network is only a linear filter, a max-pool and a linear function.
# ArticleNet is also wrong far more often than BeetleNet. The lessons that follow mostly explain BeetleNet. (One
# training each. The intervals are over test images; another seed gives another network.)

# %% [markdown]
# ## Take it with you
#
# The interval that belongs to an accuracy. Pasted into an empty file, these lines run.

# %%
display(Code("import math\n\n\n" + inspect.getsource(wilson).rstrip(), language="python"))

# %% [markdown]
# ## Quiz
#
# **1. Of 1000 test images, network A is right on 895, B on 991 and C on 994. What do these numbers show?**
#
# <details><summary>a) A is worse than B and C. Which of B and C is better, they do not show.</summary>
#
# Yes. To find out about B and C, take more test images, or count the images on which one of the two is right and the
# other wrong.
# </details>
# <details><summary>b) C is the best, then B, then A.</summary>
#
# No. The Wilson intervals of B and C overlap widely: 98.3 to 99.5 % and 98.7 to 99.7 %. The interval of A lies far
# below them.
# </details>
# <details><summary>c) A is worse than B and C, which are equally good.</summary>
#
# No. "Not shown to differ" is not "shown not to differ".
# </details>
#
# **2. A network is right on 99 % of the test images, with a mean confidence of 87 %. What follows?**
#
# <details><summary>a) It is less sure than it should be on such images. One number that divides all logits can repair that, and
# changes no answer.</summary>
#
# Yes. The order of the logits stays, so the named class stays. (The number should be found on other images than these.)
# </details>
# <details><summary>b) 13 % of its answers are wrong.</summary>
#
# No. 1 % are. Confidence is what the network says of itself, and here it says too little.
# </details>
# <details><summary>c) Nothing, before one has seen the reliability diagram.</summary>
#
# Too careful. The diagram says where the network is too modest. If there are many test images, the two numbers already show
# that it is too modest on average: the ECE cannot be smaller than the distance between them. (In the two numbers, bins
# that are too modest and bins that are too sure cancel; in the ECE they add up.)
# </details>
#
# **3. A hospital's network is right on 99 % of test images from that hospital. What do you ask first?**
#
# <details><summary>a) Whether its confidence is calibrated.</summary>
#
# A good question, but not the first. The shortcut network could be perfectly calibrated on images made like its
# training images.
# </details>
# <details><summary>b) How it does on images from elsewhere, and what it looks at.</summary>
#
# Yes. Test images that come from where the training images came from share their shortcuts: the label is in both.
# </details>
# <details><summary>c) Whether 99 % is more than chance.</summary>
#
# A good question, too: where one patient in a hundred is ill, "always healthy" is right on 99 %. But a network that passes
# this test may still read the label.
# </details>

# %% [markdown]
# ## References
#
# - E. B. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, Journal of the American
#   Statistical Association, 1927: the interval.
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017,
#   arXiv:1706.04599: reliability diagrams and the expected calibration error for networks.
# - S. Lapuschkin and others, *Unmasking Clever Hans Predictors and Assessing What Machines Really Learn*, Nature
#   Communications 2019, arXiv:1902.10178: networks that were right for the wrong reason.
# - R. Geirhos and others, *Shortcut Learning in Deep Neural Networks*, Nature Machine Intelligence 2020,
#   arXiv:2004.07780: the same as a general rule.
