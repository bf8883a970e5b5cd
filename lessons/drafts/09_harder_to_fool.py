# ---
# jupyter:
#   course:
#     question: "How little does it take to fool the network, and what holds against it?"
#     minutes: 120
# ---

# %% [markdown]
# # Harder to fool
#
# > **You will be able to** attack a network within a limit, and say how often it holds, with an interval and beside noise of
# > the same size; tell a defence that works from one that only hides the gradient; train a network that holds; give a
# > picture a certificate; and say what each of these does to the explanations.
# >
# > **You need** lesson 02 (training), lesson 03 (the gradient) and from lesson 06 the words *answer key*, *null map* and *skill*.
# >
# > **Time** 120 minutes with all exercises (35), of which the computer takes about one.
# >
# > **For** everyone. *Engineers*: sections 2, 4 and 5, and *Take it with you*. *Teachers*: the prediction with sections 1 to 4
# > makes a lesson. *Policy makers*: the prediction, the pictures, and the verdict.

# %% [markdown]
# ## The claim
#
# The article ends on security, with one sentence of three parts: **preprocess the input**, make the model **resist attacks**, and
# **protect the model**. It gives no numbers. We take the parts one by one and ask of each: what does it do to the accuracy, what
# to the accuracy under attack, and what to the *explanations*?

# %% [markdown]
# ## Predict
#
# BeetleNet names 99 of 100 test beetles right. Now each colour value of a picture may be moved, by at most 4 of the 255
# steps it can take. You will hardly see the difference. **How many of 100 beetles does the network still name right** in each of
# these cases? Write your guesses into the next cell; section 4 compares.

# %%
my_guess = {  # out of 100
    "noise: every value moved up or down by chance": 50,
    "attack: every value moved so that it hurts": 50,
    "the same attack, but the network sees the picture as a JPEG": 50,
    "the same, and the attacker knows of the JPEG": 50,
}

# %%
import torch
from torch.nn import functional as F

from xai_course import show
from xai_course.attack import OnPixels, is_right, pgd
from xai_course.beetles import SPECIES, scenes
from xai_course.data import data_folder, normalise, stack_images
from xai_course.judge import mean_interval
from xai_course.plates import latin
from xai_course.robustness import NETWORKS, test_images, trained

names = list(SPECIES)
network = trained("beetle_net")
model = OnPixels(network)  # takes pixels in [0, 1], as an attacker does
images, labels = test_images(20)  # 20 test scenes of each species
right = is_right(model, images, labels)
print(
    f"{int(right.sum())} of {len(right)} right, pixels from {images.min():.2f} to {images.max():.2f}"
)

# %% [markdown]
# ## 1. Uphill in the loss
#
# Training changes the *weights* so that the loss falls. An attack holds the weights and changes the *picture* so that the loss
# rises. The gradient says, for each pixel, which way is up. **FGSM** (fast gradient sign method) takes one step that way, of
# size ε for each value; **PGD** (projected gradient descent) takes many small ones and, after each, comes back
# to where it may be: within ε of the picture, and within [0, 1].

# %%
beetle, species = images[:1], labels[:1]
epsilon, step = 4 / 255, 1 / 255
changed, losses = beetle.clone(), []
for _ in range(11):
    changed.requires_grad_()
    loss = F.cross_entropy(model(changed), species)
    losses.append(loss.item())
    (slope,) = torch.autograd.grad(loss, changed)
    change = (changed.detach() + step * slope.sign() - beetle).clamp(-epsilon, epsilon)
    changed = (beetle + change).clamp(0, 1)

# %%
magnified = (0.5 + 20 * change).clamp(0, 1)
with torch.no_grad():
    sure = [model(x).softmax(1).max(1) for x in (beetle, changed)]
words = [f"{latin(names[int(s.indices)])}, {float(s.values):.0%}" for s in sure]
show.figure(
    show.gallery(
        [beetle[0], magnified[0], changed[0]],
        [words[0], "the change, 20 times", words[1]],
        columns=3,
        size=3,
        title="Four of 255 steps make another species of it",
    ),
    alt="A beetle; coloured grain all over the picture; the same beetle again, nearly alike to the eye, under another name.",
    caption="Left and right look alike at first glance. What lies between them is in the middle, 20 times as strong, around grey.",
)
show.figure(
    show.lines(
        {"loss of the true species": losses},
        range(len(losses)),
        marks={"a guess among ten": torch.tensor(10.0).log().item()},
        x_label="steps of PGD",
        y_label="cross-entropy",
        title="Four steps uphill, and the answer is worse than a guess",
    ),
    alt="The loss rises steeply from near 0 over the first steps, then levels off.",
)

# %% [markdown]
# These ten lines are the whole method. `attack.pgd` adds the random start, the ℓ2 norm, targets, and the checks. By hand and from
# the room, the same pictures:

# %% tags=["nbval-check-output"]
same = pgd(model, beetle, species, epsilon=epsilon, step_size=step, steps=11, random_start=False)
print("the same picture:", torch.equal(same, changed.detach()))
print(f"largest change of a value: {255 * (changed.detach() - beetle).abs().max():.2f} of 255")

# %% [markdown]
# ### The identity: why so little is enough
#
# For a small ε the loss is nearly a plane, and over a plane one can say exactly how far the best change gets. Each value moves by ε
# in its own best direction, so the gains add up over all values:
#
# $$\max_{|\delta_i| \le \varepsilon} \; g \cdot \delta \;=\; \varepsilon \sum_i |g_i| \;=\; \varepsilon\,\lVert g \rVert_1 .$$
#
# Noise adds up the same $|g_i|$ with random signs, and they cancel: what remains is about $\varepsilon\,\lVert g \rVert_2$. The
# picture has 12 288 values, and with so many the two sums differ by a lot.

# %%
import copy

exact = OnPixels(copy.deepcopy(network).double())
x = beetle.double().clamp(0.01, 0.99).requires_grad_()  # so that no value is cut
(g,) = torch.autograd.grad(F.cross_entropy(exact(x), species), x)
one, two = g.abs().sum(), g.norm()
with torch.no_grad():
    start = F.cross_entropy(exact(x), species)
    for e in (1e-6, 1e-5, 1e-4, 1e-3):
        gain = F.cross_entropy(exact(x + e * g.sign()), species) - start
        print(f"ε = {e:7.0e}   gain / (ε ‖g‖₁) = {gain / (e * one):.4f}")
print(f"‖g‖₁ / ‖g‖₂ = {one / two:.0f}: an attack is worth that many times the noise of its size")

# %% [markdown]
# ## 2. How often it holds
#
# A **robust accuracy** is a share of images, so it has an interval; and it means something only beside noise of the same size.
# The measurements of this lesson take minutes. They are on file, and the same call that made them opens them (`make experiments
# NAMES=robustness` makes them anew, and goes on where it was stopped).

# %%
from xai_course.robustness import CHANGES, attacked, robustness

experiments = data_folder() / "experiments"
rows = robustness(experiments / "robustness.csv")


def found(network, defence, attack, epsilon):
    """Accuracy and the ends of its interval, from the table."""
    wanted = (network, defence, attack, epsilon)
    for row in rows:
        if (row["network"], row["defence"], row["attack"], row["epsilon"]) == wanted:
            return row["accuracy"], row["low"], row["high"]


def against(network, attack):
    """Accuracies for each ε, from 0 on."""
    return [found(network, "none", "nothing", 0)] + [
        found(network, "none", attack, e) for e in CHANGES
    ]


# %% [markdown]
# One of them again, now and here:

# %%
row = found("beetle_net", "none", "PGD", 4)
again = attacked("beetle_net", "none", "PGD", 4)["accuracy"]
print(f"PGD, ε = 4/255: {again:.3f} now, {row[0]:.3f} on file; alike: {abs(again - row[0]) < 0.02}")


# %%
def curves(series, x, **options):
    """Lines of triples (mean, low, high), with their bands."""
    ends = {name: list(zip(*values, strict=True)) for name, values in series.items()}
    means, bands = ({n: v[0] for n, v in ends.items()}, {n: v[1:] for n, v in ends.items()})
    return show.lines(means, x, bands=bands, **options)


show.figure(
    curves(
        {"noise": against("beetle_net", "noise"), "attack (PGD)": against("beetle_net", "PGD")},
        [0, *CHANGES],
        marks={"chance": 0.1},
        x_label="ε, largest change of a value, in 255ths",
        y_label="share named right",
        title="Noise does nothing; an attack of the same size takes all",
    ),
    alt="Two lines over ε from 0 to 8. Noise stays at the top; under attack the accuracy falls, to next to nothing at 8.",
    caption="200 test images; the bands are 95 % intervals.",
)

# %% [markdown]
# ## 3. A sticker is enough
#
# An attacker may not reach every pixel, but can lay something into the picture. In lesson 02 we trained a network in whose training
# images one species, *Globaria cincta*, wears a **museum label**. That network can be attacked by anyone with a label. A network without
# such a shortcut needs a better sticker, and gradients find one: a **patch**, learnt on training scenes so that *any* beetle that it
# is laid beside becomes a *Globaria cincta*. We give it the label's place and size, under the beetle.

# %%
from xai_course.attack import lay, learn_patch
from xai_course.beetles import PARTS
from xai_course.data import stack_masks

wanted = names.index("Globaria_cincta")
others = [name for name in names if name != "Globaria_cincta"]


def victims(split, count):
    """Pictures of the other species, and where each would show a label."""
    some = [scene for name in others for scene in scenes(split, name, count)]
    worn = [scene.with_label() for scene in some]
    cover = stack_masks(worn)[:, [PARTS.index("label")]]
    return stack_images(some), stack_images(worn), cover


seen, _, place = victims("train", 20)
bare, worn, cover = victims("test", 20)
sticker = learn_patch(model, seen, wanted, mask=place, targeted=True)

# %%
shortcut = OnPixels(trained("beetle_net_shortcut"))
chance = torch.rand(sticker.shape, generator=torch.Generator().manual_seed(0))
aim = torch.full((len(bare),), wanted)
laid = {
    "shortcut network, no label": (shortcut, bare),
    "shortcut network, museum label": (shortcut, worn),
    "BeetleNet, museum label": (model, worn),
    "BeetleNet, coloured noise as a patch": (model, lay(bare, chance, cover)),
    "BeetleNet, learned patch": (model, lay(bare, sticker, cover)),
}
taken = {name: mean_interval(is_right(net, x, aim)) for name, (net, x) in laid.items()}
show.figure(
    show.gallery(
        [bare[5], worn[5], laid["BeetleNet, learned patch"][1][5]],
        ["as it is", "with a museum label", "with the learned patch"],
        columns=3,
        size=2.6,
        title="A label, and a patch that was learnt to do worse",
    ),
    alt="The same beetle three times: bare, with a paper label in the lower right corner, with a patch of bright colours there.",
)
show.figure(
    show.shares(
        {name: value[0] for name, value in taken.items()},
        errors={name: value[1:] for name, value in taken.items()},
        title="A label fools the shortcut network; BeetleNet takes a patch made for it",
        label="share of 180 other beetles taken for Globaria cincta (95 % interval)",
    ),
    alt="Five bars. Shortcut network: none without a label, half with it. BeetleNet: none with the label or with noise, a sixth with the learned patch.",
)

# %% [markdown]
# ## 4. Preprocess the input?
#
# The idea: an attack is fine-grained, so smooth it away before the network looks. Four published ways: **blur**; fewer **bits** for each
# colour value (3 bits, 8 levels); **JPEG** (quality 75); and **random resizing**, a little smaller, at a random place.

# %%
from xai_course.robustness import DEFENCES

torch.manual_seed(1)
show.figure(
    show.gallery(
        [beetle[0], *(defence(beetle)[0] for defence in DEFENCES.values())],
        ["as it is", *DEFENCES],
        columns=5,
        title="What the network gets to see",
    ),
    alt="A beetle five times: as it is, blurred, with few colours, with JPEG blocks, smaller and shifted on grey.",
)

# %% [markdown]
# Whether they help depends on what the attacker knows. Four attackers, ε = 4/255 for all:
#
# - **noise**: no attacker, but changes as large;
# - **unaware**: attacks the bare network; the defence stands in between and nobody told him;
# - **through**: knows the defence and follows the gradient through it. Of *bits* and *JPEG* this gradient is **0**: rounding is flat
#   nearly everywhere;
# - **adaptive**: knows that, too. He goes forward through the defence and *backward past it*, as if it did nothing (`straight_through`).
#   Where the defence draws random numbers, he follows the mean gradient of several draws.

# %%
columns = ("nothing", "noise", "unaware", "through", "adaptive")
shown = {
    "none": [
        found("beetle_net", "none", how, e)
        for how, e in (("nothing", 0), ("noise", 4), *3 * [("PGD", 4)])
    ]
}
for defence in DEFENCES:
    shown[defence] = [found("beetle_net", defence, how, 4 * (how != "nothing")) for how in columns]
show.figure(
    show.matrix(
        [[cell[0] for cell in cells] for cells in shown.values()],
        list(shown),
        columns,
        signed=False,
        label="share named right",
        title="No defence holds against an attacker who knows of it",
    ),
    alt="Table of five rows, no defence and four defences, by five columns, the attackers.",
    caption="200 test images, ε = 4/255. Without a defence, the three attackers are one.",
)
for defence in DEFENCES:
    cells = dict(zip(columns, shown[defence], strict=True))
    print(
        f"{defence:16}"
        + "".join(
            "  {}: {:.2f} ({:.2f} to {:.2f})".format(how, *cells[how])
            for how in ("unaware", "adaptive")
        )
    )

# %%
measured = [
    found("beetle_net", "none", "noise", 4),
    found("beetle_net", "none", "PGD", 4),
    found("beetle_net", "JPEG", "unaware", 4),
    found("beetle_net", "JPEG", "adaptive", 4),
]
for (words, guess), cell in zip(my_guess.items(), measured, strict=True):
    print(f"{words:62} you: {guess:3}   measured: {100 * cell[0]:3.0f}")

# %% [markdown]
# ### Where it breaks: a gradient that is hidden is not an answer that is safe
#
# Look at the column *through*. If you had tested JPEG with a textbook attack, run with all care, you would have published a strong defence.
# Many did. There are signs by which one can tell (Athalye et al. 2018; Carlini et al. 2019), and `masking_signs` runs them: an
# attack without any limit must leave **nothing** right, since it may turn one picture into another; one made for *another* network must
# not do better; and the gradient must not be 0.

# %%
from xai_course.attack import masking_signs
from xai_course.defences import Preprocessed, jpeg

few = slice(None, None, 5)  # 40 images
signs = {
    "BeetleNet": masking_signs(
        model,
        images[few],
        labels[few],
        epsilon=4 / 255,
        substitute=OnPixels(trained("beetle_net_seeds/seed_1")),
    ),
    "BeetleNet behind JPEG": masking_signs(
        OnPixels(Preprocessed(network, jpeg)),
        images[few],
        labels[few],
        epsilon=4 / 255,
        substitute=model,
    ),
}
show.figure(
    show.matrix(
        [[values.mean() for values in row.values()] for row in signs.values()],
        list(signs),
        list(signs["BeetleNet"]),
        signed=False,
        label="share of 40 images",
        title="Behind JPEG even an attack without limit seems to fail",
    ),
    alt="Two rows, with and without JPEG, by seven columns: shares named right under attacks, and the share without a gradient.",
    caption="All columns but the last: share named right. Last column: share of images whose gradient is 0 everywhere.",
)

# %% [markdown]
# ## 5. Train against the attack
#
# What does help is to train on attacked images: in every step of the training the batch is attacked first, against the network as it is
# at that moment, and the network learns from the result (Madry et al. 2018). In this course it is one argument, `fit(attack=...)`, and
# the function below. `beetle_net_robust` was trained so: the plain network, four more epochs, its batches attacked by two steps of PGD
# at ε = 4/255 (to begin with a plain network saves most of the work, Jeddi et al. 2020). Beside it stands a cheaper idea,
# `beetle_net_noise`: six epochs, from nothing, with Gaussian noise on every image (σ = 0.12, that is 31 of 255).

# %%
import inspect

from IPython.display import Code, display

from xai_course.attack import adversaries

display(Code(inspect.getsource(adversaries), language="python"))

# %%
kinds = {kind: nets[0] for kind, nets in NETWORKS.items()}
show.figure(
    curves(
        {kind: against(net, "PGD") for kind, net in kinds.items()},
        [0, *CHANGES],
        marks={"chance": 0.1},
        x_label="ε of the attack (PGD), in 255ths",
        y_label="share named right",
        title="TITLE5",
    ),
    alt="Three lines over ε from 0 to 8, for the plain, the noise-trained and the robust network.",
    caption="200 test images; the bands are 95 % intervals.",
)
for kind, nets in NETWORKS.items():
    for how, e in (("nothing", 0), ("PGD", 4), ("PGD", 8)):
        each = [found(net, "none", how, e)[0] for net in nets]
        print(f"{kind:7} {how:8} ε = {e}/255: " + "  ".join(f"{value:.2f}" for value in each))

# %% [markdown]
# Each line of numbers is three networks, from three seeds. Is the robust one honest? Its `masking_signs`:

# %%
robust = OnPixels(trained("beetle_net_robust"))
for name, values in masking_signs(
    robust, images[few], labels[few], epsilon=4 / 255, substitute=model
).items():
    print(f"{name:16} {values.mean():.2f}")

# %% [markdown]
# ## 6. Does it explain better?
#
# It has been seen many times that the gradient maps of robust networks look cleaner, more like the things in the picture (Tsipras et
# al. 2019; Etmann et al. 2019). Look for yourself:

# %%
from xai_course.relu import gradient

at = names.index("Globaria_maculata") * 20
x = normalise(images[at : at + 1])
maps = [gradient(trained(net), x, int(labels[at]))[0] for net in kinds.values()]
show.figure(
    show.overlay(
        [images[at]] * 4,
        [None, *maps],
        ["the scene", *(f"{kind} network" for kind in kinds)],
        shared_scale=False,
        columns=4,
        title="TITLE6",
    ),
    alt="A spotted beetle and the gradient maps of three networks over it.",
    caption="The gradient of the logit of Globaria maculata. Each map on its own scale.",
)

# %% [markdown]
# Do they *explain* better? We have the key. Each network is graded against **its own**: what the parts are worth to *it*. And since an
# edge detector knows nothing of any network, we also ask how much each gradient map looks like one.

# %%
from xai_course.robustness import METHODS, explanations

graded = {
    (row["network"], row["defence"]): row
    for row in explanations(experiments / "robust_explanations.csv")
}
nulls = [name for name in graded["beetle_net", "none"] if name.startswith("null")]


def mean_of(kind, column):
    """The mean of three networks, and the smallest and largest of them."""
    each = [graded[net, "none"][column] for net in NETWORKS[kind]]
    return sum(each) / len(each), min(each), max(each)


table = [[mean_of(kind, method)[0] for kind in kinds] for method in (*METHODS, *nulls)]
show.figure(
    show.matrix(
        table,
        [*METHODS, *nulls],
        list(kinds),
        signed=False,
        label="agreement with the network's own key",
        title="TITLE7",
    ),
    alt="Table of methods and null maps by three kinds of networks.",
    caption="Mean of three networks each, 50 test scenes.",
)
for kind in kinds:
    for column, words in (
        ("gradient", "gradient, agreement"),
        ("edges", "gradient, like edges"),
        ("skill", "skill of the best method"),
    ):
        value = mean_of(kind, column)
        print(
            f"{kind:7} {words:25} {value[0]:.2f}  (three networks: {value[1]:.2f} to {value[2]:.2f})"
        )

# %% [markdown]
# And the defences of section 4, the networks of which are the same BeetleNet with something in front:

# %%
skills = {"no defence": graded["beetle_net", "none"]} | {
    d: graded["beetle_net", d] for d in DEFENCES
}
show.figure(
    show.bars(
        {name: row["skill"] for name, row in skills.items()},
        errors={name: (row["skill low"], row["skill high"]) for name, row in skills.items()},
        title="TITLE8",
        label="skill of the best method: 0 the best null, 1 the key itself (95 % interval)",
    ),
    alt="Five bars with intervals.",
)

# %% [markdown]
# ## 7. A certificate
#
# So far we have *tried* to break a network. A better attack may come tomorrow. **Randomised smoothing** gives a promise instead
# (Cohen et al. 2019): show the network many noisy copies of the picture, let it vote, and answer with the winner. Where the vote is
# clear, no change of the picture whose length is below a radius can change the winner, by any attack whatsoever:
#
# $$\text{radius} \;=\; \sigma \, \Phi^{-1}(p)$$
#
# σ is the noise, $p$ the winner's share of *all* noisy copies there could be, $\Phi^{-1}$ the quantile of the normal
# distribution. We count only some copies, so we take a lower bound for $p$ which is wrong with a chance of at most
# one in a thousand (Clopper and Pearson). Where it is not above one half, the network **abstains**.

# %%
from xai_course.smoothing import ABSTAIN, certify, lower_bound, noisy_votes

noisy, sigma = OnPixels(trained("beetle_net_noise")), 0.12
some = slice(0, None, 25)  # 8 images
votes = noisy_votes(noisy, images[some], sigma=sigma, samples=500, seed=1)
answers, radius = certify(noisy, images[some], sigma=sigma, samples=500)
print("votes   share at least   radius by hand   radius")
for row, r in zip(votes, radius, strict=True):
    p = lower_bound(int(row.max()), 500)
    by_hand = sigma * torch.special.ndtri(torch.tensor(max(p, 0.5))).item()
    print(f"{int(row.max()):4}/500    {p:.3f}            {by_hand:.3f}           {r:.3f}")

# %% [markdown]
# (By hand and by `certify` the votes are the same, as both draw with the same seed.) A test of the promise, which could fail: attack
# the network behind the vote with all the length that the certificate allows, and vote again.

# %%
from xai_course.smoothing import smooth_prediction

sure = answers != ABSTAIN
kept = []
for image, answer, r in zip(images[some][sure], answers[sure], radius[sure], strict=True):
    moved = pgd(noisy, image[None], answer[None], epsilon=0.99 * float(r), norm="2")
    kept.append(
        smooth_prediction(noisy, moved, sigma=sigma, samples=200, seed=7).item() == int(answer)
    )
print(f"{sum(kept)} of {len(kept)} votes as before")

# %%
from xai_course.robustness import RADII, smoothing

smooth = {(row["network"], row["sigma"]): row for row in smoothing(experiments / "smoothing.csv")}
held = {
    f"{kind}, σ = {s:g}": [
        [smooth[net, s][f"{r:g}{end}"] for end in ("", " low", " high")] for r in RADII
    ]
    for kind, net in kinds.items()
    for s in (0.06, 0.12)
}
show.figure(
    curves(
        held,
        RADII,
        x_label="radius: length of the change, in pixel units",
        y_label="right, and certified to stay",
        title="TITLE9",
    ),
    alt="Six falling lines.",
    caption="100 test images, 500 noisy copies of each; a chance of error of one in a thousand for each.",
)
per_value = 4 / 255 * (3 * 64 * 64) ** 0.5
print(f"ε = 4/255 at every value is a change of length {per_value:.2f}")

# %% [markdown]
# MERGE 09_second_half HERE

# %% [markdown]
# ## Exercises
#
# **1. A step of PGD** (10 minutes, easy). `x` is the picture so far, `start` the one it began with, `slope` the gradient of the loss at
# `x`; all are `(N, C, H, W)`. Make one step of size `step` along the sign of the gradient, and come back: no value farther than `epsilon` from
# `start`, all in [0, 1].


# %% tags=["exercise"]
def step_by_hand(x, start, slope, step, epsilon):
    """One step of PGD: (N, C, H, W)."""
    return ...


# %% tags=["solution"]
def step_by_hand(x, start, slope, step, epsilon):
    """One step of PGD: (N, C, H, W)."""
    change = (x + step * slope.sign() - start).clamp(-epsilon, epsilon)
    return (start + change).clamp(0, 1)


# %%
from xai_course.exercises.lesson_09 import check_step

check_step(step_by_hand)

# %% [markdown]
# <details><summary>Hint</summary>
#
# First the whole change since `start`, then cut it to ±ε, then add it to `start`, then cut the picture to [0, 1].
# </details>
#
# **2. Past the defence** (10 minutes, medium). `defence` is a function of pixels whose derivative is of no use. Return the pixels that it makes, but
# so that the derivative of the result by `pixels` is 1, as if nothing had happened.


# %% tags=["exercise"]
def past(defence, pixels):
    """The defence's values, with the derivative of doing nothing."""
    return ...


# %% tags=["solution"]
def past(defence, pixels):
    """The defence's values, with the derivative of doing nothing."""
    return pixels + (defence(pixels) - pixels).detach()


# %%
from xai_course.exercises.lesson_09 import check_passed

check_passed(past)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Add something to `pixels` that makes its value right. `.detach()` keeps a value and forgets where it came from.
# </details>

# %% [markdown]
# ## Verdict
#
# VERDICT

# %% [markdown]
# ## Take it with you
#
# PGD with all that it needs, for any PyTorch classifier of pixels. `snippet` writes it out as one text.

# %%
from xai_course.snippets import snippet

display(Code(inspect.getsource(pgd), language="python"))
source = snippet(pgd)
print(f"with all that it needs: {len(source.splitlines())} lines")

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty_file: dict = {}
exec(source, empty_file)
both = [
    attack(model, images[:4], labels[:4], epsilon=4 / 255, steps=3)
    for attack in (empty_file["pgd"], pgd)
]
print("the same pictures:", torch.equal(*both))

# %% [markdown]
# ## Quiz
#
# **1. Your network behind a new filter withstands PGD: 90 % right. What do you do next?**
#
# <details><summary>a) Publish.</summary>
#
# Not yet. JPEG withstands it, too, as long as the attacker follows a gradient that is 0.
# </details>
# <details><summary>b) Look for signs of a hidden gradient, and attack past the filter.</summary>
#
# Yes. An attack without a limit must leave nothing right, and an attacker who knows of the filter will not follow its gradient.
# </details>
# <details><summary>c) Use more steps.</summary>
#
# A step along a gradient of 0 goes nowhere, and many of them go nowhere, too.
# </details>
#
# **2. Why does noise of the same size hardly harm?**
#
# <details><summary>a) It is weaker: its values are smaller.</summary>
#
# No. We moved every value by ±ε, as far as the attack may.
# </details>
# <details><summary>b) Its effects have random signs and cancel.</summary>
#
# Yes. What is left grows like a root of the number of values; what the attack gets grows like the number itself.
# </details>
# <details><summary>c) The network was trained on noise.</summary>
#
# The plain one was not (but for the grain that every scene has).
# </details>
#
# **3. A smoothed network has certified a picture with radius 0.2. What is promised?**
#
# <details><summary>a) That the answer is right.</summary>
#
# No. A wrong answer can have a certificate; it will stay wrong.
# </details>
# <details><summary>b) That the vote's winner stays while the change is shorter than 0.2, but for a small chance of error.</summary>
#
# Yes. Whatever the attack. A change of 4/255 at *every* value is far longer than that.
# </details>
# <details><summary>c) That no attack on this picture works.</summary>
#
# Only none below that length. A sticker, a turn, another light are far outside.
# </details>

# %% [markdown]
# ## References
#
# - Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples. ICLR 2015, arXiv:1412.6572 (FGSM).
# - Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to Adversarial Attacks. ICLR 2018, arXiv:1706.06083 (PGD,
#   adversarial training).
# - Wong, Rice, Kolter: Fast is better than free: Revisiting Adversarial Training. ICLR 2020, arXiv:2001.03994 (few steps from a random start).
# - Jeddi, Shafiee, Wong: A Simple Fine-tuning Is All You Need: Towards Robust Deep Learning Via Adversarial Fine-tuning. 2020,
#   arXiv:2012.13628.
# - Brown, Mané, Roy, Abadi, Gilmer: Adversarial Patch. 2017, arXiv:1712.09665.
# - Xu, Evans, Qi: Feature Squeezing. NDSS 2018, arXiv:1704.01155 (bit depth). Dziugaite, Ghahramani, Roy: A Study of the Effect of JPG
#   Compression on Adversarial Images. 2016, arXiv:1608.00853. Xie et al.: Mitigating Adversarial Effects Through Randomization. ICLR
#   2018, arXiv:1711.01991 (random resizing).
# - Athalye, Carlini, Wagner: Obfuscated Gradients Give a False Sense of Security. ICML 2018, arXiv:1802.00420.
# - Carlini et al.: On Evaluating Adversarial Robustness. 2019, arXiv:1902.06705. Tramèr, Carlini, Brendel, Mądry: On Adaptive Attacks to
#   Adversarial Example Defenses. NeurIPS 2020, arXiv:2002.08347.
# - Tsipras, Santurkar, Engstrom, Turner, Mądry: Robustness May Be at Odds with Accuracy. ICLR 2019, arXiv:1805.12152.
# - Etmann, Lunz, Maass, Schönlieb: On the Connection Between Adversarial Robustness and Saliency Map Interpretability. ICML 2019,
#   arXiv:1905.04172.
# - Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing. ICML 2019, arXiv:1902.02918.
# - Clopper, Pearson: The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial. Biometrika 1934.
