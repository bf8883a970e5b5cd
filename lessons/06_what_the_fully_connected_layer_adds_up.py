# ---
# jupyter:
#   course:
#     question: "Why this beetle and not its twin?"
# ---

# %% [markdown]
# # What the fully connected layer adds up
#
# > **You will be able to** split a logit into a sum that is exactly right; show where in the picture each part of the
# > sum comes from; ask a network why it says A *and not B*; and, in sections 5 and 6 (*go further*), look up what a
# > network finds similar and test whether it uses a concept, or only holds it.
# >
# > **You need** lesson 01 (the answer key) and lesson 02 (the two networks).
# >
# > **Time** {minutes}. The computer needs about half a minute.
# >
# > **For** everyone. *Engineers*: sections 3 and 4, and *Take it with you*. *Teachers*: the prediction with section 4;
# > section 7 makes a short lesson of its own. *Policy makers*: section 4 and the verdict; section 5, if you have time.

# %% [markdown]
# ## The claim
#
# The article's second technique reads the **fully connected layer**. That is the last step of a classifier, a table of
# weights: each class's logit is a weighted sum of all *features*, the numbers that the convolutions made of the
# picture. The article says that this layer shows **global features**, since the layer joins the outputs of convolution
# and pooling. The article's table adds a strength, **better on complex tasks**, and a limit, **costly and complex**. We
# test all three (the last two in sections 8 and 9, *go further*).

# %% [markdown]
# ## Predict
#
# *Ellipsa longicornis* and *Ellipsa furcata* are twins: they differ in their antennae and in nothing else. From a
# network we take two maps of the same beetle, a *longicornis*. One shows *what speaks for longicornis*. The other shows
# *why longicornis and not furcata*.
#
# We compare both with the true answer to the **second** question. **How well does the first map, the usual one, rank the
# parts for this question: nearly as well as the second map, about half as well, or no better than noise?** Write it down.
# Section 4 has the answer.

# %%
import torch
from IPython.display import Code, Markdown, display

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, Scene, scenes, stack_images, stack_masks
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.storage import load_checkpoint

checkpoints = data_folder() / "checkpoints"
seeds = [f"beetle_net_seeds/seed_{n}" for n in range(1, 5)]
networks = [load_checkpoint(checkpoints / name)[0] for name in ("beetle_net", *seeds)]
beetle_net = networks[0]  # the same training from five seeds; this one is looked at closely
article_net, _ = load_checkpoint(checkpoints / "article_net")
article_net.to(memory_format=torch.channels_last)  # the same numbers, faster on a CPU
names = list(SPECIES)
LONGICORNIS, FURCATA = names.index("Ellipsa_longicornis"), names.index("Ellipsa_furcata")


def draw(some):
    """Scenes as the network's input."""
    return normalise(stack_images(some))


def show_table(*rows):
    """Show rows as a table; the first row is the head."""
    lines = [" | ".join(map(str, row)) for row in rows]
    display(Markdown("\n".join([lines[0], "---|" * (len(rows[0]) - 1) + "---", *lines[1:]])))


# %% [markdown]
# ## 1. A logit is a sum
#
# The last step of BeetleNet is small: 64 features enter, and each species has 64 weights and one bias. A feature times its
# weight is a **contribution**, in logits. Here is what makes up the logit of one *longicornis*.

# %%
from xai_course.fully_connected import logit_contributions

beetle = Scene("Ellipsa_longicornis", seed=59)
features, contributions, bias = logit_contributions(beetle_net, draw([beetle]), LONGICORNIS)
order = contributions[0].abs().argsort(descending=True)
largest = {f"feature {k}": contributions[0, k].item() for k in order[:8]}
rest = contributions[0, order[8:]].sum().item()

# %%
plots.figure(
    plots.bars(
        largest | {"the 56 others, summed": rest, "bias": bias.item()},
        title="A logit is a sum: eight of 64 features give most of this one",
        label="contribution to the logit of longicornis (logits)",
    ),
    alt="Ten bars, in logits. The eight largest contributions are all positive, 0.45 down to 0.29. The other 56 add 0.46 "
    "together, the bias 0.00.",
    caption="The eight largest all speak for longicornis. The other 56 together add about as much as one of them.",
)

# %% [markdown]
# **The identity.** Contributions plus bias *are* the logit, exactly. We check it on 100 beetles, in double precision.

# %% tags=["nbval-check-output"]
sample = [scene for name in SPECIES for scene in scenes("test", name, 10)]
x, y = draw(sample), torch.arange(10).repeat_interleave(10)


def left_over(model, images, labels, explain=None):
    """Largest distance of the terms' sum plus the bias from the logit, in double precision."""
    model, images = model.double(), images.double()
    _, terms, biases = logit_contributions(model, images, labels)
    if explain is not None:
        terms = explain(model, images, labels).flatten(1)
    logit = model(images).detach().gather(1, labels[:, None])[:, 0]
    model.float()
    return (terms.sum(1) + biases - logit).abs().max().item()


print(f"within 1e-10 of the logit: {left_over(beetle_net, x, y) < 1e-10}")

# %% [markdown] tags=["further"]
# ## 2. Through two linear layers
#
# ArticleNet keeps 4 × 4 places of 128 channels, writes them as 2048 features in a row (it **flattens** them), and has
# two linear layers without a ReLU between them. Two tables of weights one after the other are one table, their product.
# So the same function works; its bias adds up what the biases of both layers give.

# %% tags=["nbval-check-output"]
few = torch.arange(0, len(sample), 2)  # five of each species
ten = few[::5]  # double precision is slow here
print(f"within 1e-10 of the logit: {left_over(article_net, x[ten], y[ten]) < 1e-10}")
features, found, _ = logit_contributions(article_net, x[few], y[few])
table = article_net.fc2.weight @ article_net.fc1.weight  # (10, 512) @ (512, 2048)
gap = (found - features * table[y[few]]).abs().max().item()
print(f"{features.shape[1]} features; the same as with the product of both tables: {gap < 1e-4}")
speaks_for, against = found.clamp(min=0).sum(1).mean(), found.clamp(max=0).sum(1).mean()
print(f"in logits, mean of 50 beetles: for {speaks_for:+.1f}, against {against:+.1f}")

# %% [markdown]
# More than half of what speaks for the species is taken away again by what speaks against it. A sum can be exact and
# still be hard to read.

# %% [markdown]
# ## 3. The same sum, place by place
#
# A list of features says nothing about *where*. BeetleNet has a **pooled** head. Each feature is the mean of an 8 × 8
# map, so every contribution can be split among 64 places. ArticleNet has a **flattened** head: its features are the
# values of 128 channels at 4 × 4 places, so each *has* a place. At each place, multiply the values of the last map $A$
# by the derivatives of the logit with respect to them, and add up over the channels $k$. This is the **class activation
# map**, CAM. ($A$ is taken before any pooling: 8 × 8 places in BeetleNet, 64 × 64 in ArticleNet. There pooling then
# makes the 4 × 4, and the derivative goes back through it.)
#
# $$\text{map}(\text{place}) = \sum_k A_k(\text{place}) \cdot \frac{\partial\,\text{logit}}{\partial A_k(\text{place})},
# \qquad \sum_{\text{places}} \text{map} + \text{bias} = \text{logit}.$$

# %%
from xai_course.fully_connected import class_activation_map

shown = [Scene(name, seed=24) for name in ("Ellipsa_longicornis", "Globaria_maculata")]
its_own = torch.tensor([names.index(scene.species) for scene in shown])
maps = [class_activation_map(model, draw(shown), its_own) for model in (beetle_net, article_net)]

# %%
plots.figure(
    plots.overlay(
        [picture for scene in shown for picture in [scene.image()] * 3],
        [panel for n in range(2) for panel in (None, maps[0][n], maps[1][n])],
        ["the scene", "BeetleNet, pooled", "ArticleNet, flattened"] * 2,
        columns=3,
        shared_scale=False,
        title="The same sum by place: a broad blot in one network, fine grain in the other",
    ),
    alt="Two beetles, each with the class activation maps of both networks. BeetleNet: one broad orange blot over horn and "
    "antennae. ArticleNet: small orange and blue squares on antennae, horn and wing cases.",
    caption="Top longicornis, below maculata. Each panel has its own scale, since the two networks' logits differ in size.",
)

# %% tags=["nbval-check-output"]
for model, name in ((beetle_net, "BeetleNet"), (article_net, "ArticleNet")):
    gap = left_over(model, draw(shown), its_own, class_activation_map)
    print(f"{name:10} the map's sum + bias is within 1e-10 of the logit: {gap < 1e-10}")

# %% [markdown]
# Is an exact sum also a *right* explanation? The answer key of lesson 01 tells how far the logit truly falls without
# each part. Three scores compare the map's sum over each part with the key. *Rank* is the rank correlation (lesson 00).
# *Top part* is 1 if both put the same part first, else 0. *Pearson* is the correlation of the numbers themselves.
#
# We score eight nulls. Five **know no network**: noise, edges, bright edges, the centre, away from the centre. Three
# are **CAM asked about the wrong thing**: an untrained network, another class (that with the next largest logit),
# another beetle. In each network, the best of the eight is the *strongest null*. (We sum the map of *another beetle*
# over the parts of the beetle that is explained. Lesson 05 took the other beetle's own parts: a harder null.) (At a
# first reading, run the next three code cells, and read only the text between them.)

# %%
from xai_course.beetlebox import part_relevance
from xai_course.core import interval_text, mean_interval, seed_interval, strongest_null
from xai_course.metrics import noise_map, null_battery, reinitialised
from xai_course.relu import grad_cam, gradient_times_input

parts = list(PARTS[:-1])  # all but the museum label
beetles, images, labels = sample[::2], x[few], y[few]
gone = draw([scene.without(part) for scene in beetles for part in parts])  # one part missing
masks = stack_masks(beetles)
picture_only = null_battery(beetle_net, images)  # these maps do not depend on the network


@torch.no_grad()
def answer_key(model, images, without):
    """What each part adds to each of the ten logits: (N, parts, 10)."""
    changed = torch.cat([model(some) for some in without.split(120)])
    return model(images)[:, None] - changed.view(len(images), -1, 10)


@torch.no_grad()
def best_other(model, images, *taken):
    """The class with the highest logit, apart from those taken."""
    logits = model(images)
    for classes in taken:
        logits = logits.scatter(1, classes[:, None], -torch.inf)
    return logits.argmax(1)


def wrongly_asked(explain, own, model, images, classes, others):
    """The nulls that need the method: the same `explain`, asked about something else."""
    return {
        "untrained network": explain(reinitialised(model, images), images, classes),
        "another class": explain(model, images, others),
        "another beetle": own.unflatten(0, (-1, 5)).roll(1, 1).flatten(0, 1),  # next of its five
    }


# %% [markdown]
# How to read a map is a choice, too. Its values can count **signed**, only where **positive**, or by **size** (then
# the key counts by size, too). And the map's sum over the wing cases can include the pattern or not: without wing cases
# the pattern is gone, too. That makes 3 scores × 3 ways to count × 2 = 18 **readings**. (*Clearly* means: the interval
# is without 0. A printed end of 0.00 may be a little above or below 0.)
#
# We ask all five BeetleNets.

# %%
from xai_course.beetlebox import pearson_with_truth, spearman_with_truth, top1_agreement

SCORES = {"rank": spearman_with_truth, "top part": top1_agreement, "Pearson": pearson_with_truth}
SIGNED = [(score, "signed", "without pattern") for score in SCORES]


def graded(maps, nulls, true, masks):
    """Scores (N,) of each map in all readings: {(score, readout, pattern): {map: scores}}."""
    readings = {}
    for readout in ("signed", "positive", "size"):
        key = true.abs() if readout == "size" else true
        sums = {k: part_relevance(r, masks, parts, readout) for k, r in (maps | nulls).items()}
        for pattern in ("without pattern", "with pattern"):
            if pattern == "with pattern":
                if not masks[:, 1].any():
                    continue  # none has one
                for found in sums.values():
                    found[:, 0] += found[:, 1].nan_to_num()
            for score, of in SCORES.items():
                row = {name: of(found, key) for name, found in sums.items()}
                best, row["strongest null"] = strongest_null({name: row[name] for name in nulls})
                row["its name"] = best
                readings[score, readout, pattern] = row
    return readings


def five(tables, reading, name):
    """The mean score of one map in each of the five networks."""
    return torch.stack([table[reading][name].mean() for table in tables])


def scored(tables, reading, name):
    """The mean score over five networks, and its 95 % interval within what is possible."""
    if reading[0] == "top part":  # shares of beetles
        return seed_interval(five(tables, reading, name), images=len(tables[0][reading][name]))
    return seed_interval(five(tables, reading, name), bounds=(-1, 1))


def ahead(tables, reading, name, other):
    """How far one map is ahead of another: mean over five networks, 95 % interval."""
    return seed_interval(five(tables, reading, name) - five(tables, reading, other))


def clearly(leads):
    """In how many readings a lead is clearly above or below 0: its interval is without 0."""
    above, below = (sum(ends) for ends in zip(*((a > 0, b < 0) for _, a, b in leads), strict=True))
    return f"clearly above in {above}, below in {below} of {len(leads)}"


def leads_of(tables, name, other, keys=SIGNED):
    """A table's cells: how far one map is ahead of another in some readings."""
    return [interval_text(ahead(tables, key, name, other), signed=True) for key in keys]


def report(tables, names, *more):
    """Show scores of maps, and by how much the first is ahead of the strongest null."""
    rows = [["five networks", *SCORES]]
    for name in (*names, "strongest null"):
        rows.append([name, *(interval_text(scored(tables, key, name)) for key in SIGNED)])
    nulls = [", ".join({table[key]["its name"]: 0 for table in tables}) for key in SIGNED]
    rows.append(["which null, in the networks", *nulls])
    rows.append([f"{names[0]} minus strongest null", *leads_of(tables, names[0], "strongest null")])
    show_table(*rows, *more)
    leads = [ahead(tables, key, names[0], "strongest null") for key in tables[0]]
    print(f"{names[0]} against the strongest null: {clearly(leads)}")


# %%
keys, tables = [answer_key(model, images, gone) for model in networks], []
own_class = range(len(labels)), slice(None), labels  # of each image, all parts, its class
for model, key in zip(networks, keys, strict=True):
    others = best_other(model, images, labels)
    maps = {"CAM": class_activation_map(model, images, labels)}
    nulls = picture_only | wrongly_asked(
        class_activation_map, maps["CAM"], model, images, labels, others
    )
    tables.append(graded(maps, nulls, key[own_class], masks))
wrongly = ("untrained network", "another class", "another beetle")
by_rank = {name: scored(tables, SIGNED[0], name) for name in maps | nulls}
by_rank = {f"CAM, {name}" if name in wrongly else name: mean for name, mean in by_rank.items()}
both = [maps["CAM"], grad_cam(model, images, labels)]
both = [some / some.abs().amax((2, 3), keepdim=True) for some in both]  # largest value 1

# %%
plots.figure(
    plots.bars(
        dict(sorted(by_rank.items(), key=lambda item: -item[1][0])),
        title="CAM needs its network and its class; bright edges rank the parts better",
        label="agreement with the answer key (rank; 1: same order, 0: none)",
    ),
    alt="Nine bars, in order. Bright edges 0.70 and edges 0.65 are first; CAM follows with 0.36, then CAM of another beetle, "
    "0.29, and the other nulls. CAM of an untrained network has 0.04, of another class 0.01.",
    caption="Mean of five BeetleNets, 50 beetles each; lines: 95 % intervals over the networks.",
)

# %%
asked = {n: [interval_text(scored(tables, key, n)) for key in SIGNED] for n in wrongly}
report(tables, ["CAM"], *([f"CAM, {name}", *cells] for name, cells in asked.items()))
apart = (both[0] - both[1]).abs().max()
print(f"CAM and Grad-CAM, both scaled to 1: they differ by at most {apart:.0e}")

# %% [markdown]
# With an untrained network, or asked about another class, CAM hardly agrees with the key (0.04 and 0.01 by rank). The
# map of another beetle of the species is a little behind: clearly by rank and by Pearson, not by the top part. So CAM
# depends on network, class and beetle. But bright edges tell the parts' order far better. By the top part CAM is just
# behind noise, whose sum is largest on the largest part. CAM is clearly above the strongest null in none of the 18
# readings. **An exact sum is not yet a right answer.**
#
# (**Grad-CAM** weights each channel by the *mean* of its derivatives over all places. For a pooled head the derivative
# is the same at all places. So CAM and Grad-CAM differ by a factor only, and we score just one.)
#
# ArticleNet has weights for each place, so there CAM and Grad-CAM differ.

# %%
methods = (class_activation_map, grad_cam)
maps = {method.__name__: method(article_net, images, labels) for method in methods}
others = best_other(article_net, images, labels)
nulls = picture_only | wrongly_asked(
    class_activation_map, maps["class_activation_map"], article_net, images, labels, others
)
article = graded(maps, nulls, answer_key(article_net, images, gone)[own_class], masks)
for name in maps:
    leads = {k: mean_interval(row[name] - row["strongest null"]) for k, row in article.items()}
    print(f"ArticleNet, {name}, against the strongest null:")
    print(f"   {clearly(list(leads.values()))}")
    for readout in ("signed", "size"):
        row, lead = (some["rank", readout, "without pattern"] for some in (article, leads))
        text = f"{row[name].mean():.2f}, null {row['its name']} {row['strongest null'].mean():.2f}"
        print(f"   rank, {readout:6}: {text}, difference {interval_text(lead, signed=True)}")

# %% [markdown]
# Here CAM is ahead of the edges as long as the sign counts. By size it is hardly ahead: the map of another class marks
# mostly the same places. Grad-CAM averages the weights over the places, and falls behind. (This is one network only.)

# %% [markdown]
# ## 4. Why A and not B
#
# A network chooses the class whose logit is highest. So ask for the difference, the **contrast map** (or *contrast of
# CAM*): the map for *longicornis* minus the map for *furcata*. What speaks for both alike cancels. The true answer is a
# difference, too: how far the *margin* (here: logit of *longicornis* minus logit of *furcata*) falls without a part.

# %%
from xai_course.fully_connected import contrast

twins = scenes("test", "Ellipsa_longicornis", 50)
pictures = draw(twins)
alone = class_activation_map(beetle_net, pictures, LONGICORNIS)
versus = contrast(beetle_net, pictures, LONGICORNIS, FURCATA)

# %%
plots.figure(
    plots.overlay(
        [scene.image() for scene in twins[:4]] * 2,
        [*alone[:4], *versus[:4]],
        ["what speaks for longicornis"] * 4 + ["… and not for furcata"] * 4,
        title="Asked “and not for furcata?”, the map moves to the antennae, and the wing cases turn blue",
    ),
    alt="Four beetles twice. Above, what speaks for longicornis: an orange blot over horn and antennae and a weak one over the "
    "wing cases. Below, and not for furcata: orange blots at the antennae, and blue over the wing cases.",
    caption="The first four longicornis of the test set, one scale for all panels. The wing cases speak for longicornis, but "
    "a little more for furcata.",
)

# %%
without = draw([scene.without(part) for scene in twins for part in parts])
twin_masks = stack_masks(twins)
key = answer_key(beetle_net, pictures, without)
margin = key[:, :, LONGICORNIS] - key[:, :, FURCATA]
visible = ["elytra", "head", "horn", "antennae", "legs"]  # longicornis has no pattern
at = [parts.index(part) for part in visible]
print("in logits, mean of 50 beetles: what the margin truly loses without a part,")
print("and what each map puts on the part")
for name, values in {
    "the margin": margin,
    "contrast map": part_relevance(versus, twin_masks, parts),
    "map for longicornis": part_relevance(alone, twin_masks, parts),
}.items():
    row = zip(visible, values.mean(0)[at].tolist(), strict=True)
    print(f"{name:20}" + "  ".join(f"{part} {mean:+.2f}" for part, mean in row))
print(f"contrast map, sum over the whole picture: {versus.sum((1, 2, 3)).mean():+.2f}")

# %% [markdown]
# The contrast map puts only 0.40 on the antennae. They are truly worth 5.41, more than the whole margin of 3.55: without them
# *furcata* gets the higher logit. But the map only divides up the 3.55, of which 0.85 lie on the five parts: its places
# are coarse, and the rest lies beside the parts. So our scores compare order, top part and proportions (Pearson), not amounts.
#
# Now all five networks. Gradient × input has a contrast, too, and needs no fully connected layer. And one map has seen
# no network: the **field guide** (lesson 05) for the two species. It paints each part that differs, here the antennae.
# (Lesson 05 asked what speaks *for* the runner-up, so there it named what both share.) We ask from both sides: for 50
# *longicornis*, why not *furcata*; for 50 *furcata*, why not *longicornis*. (Neither species has a pattern, so nine
# readings are left. *Signed noise*, with positive and negative values, favours no large part. At a first reading, run
# the next cell and go on to the figure.)

# %%
from xai_course.beetlebox import field_guide_map


def why_not_the_twin(species, rival, count=50):
    """Score the maps for "why this species and not that one", a table for each network; keys."""
    asked_of = scenes("test", species, count)
    pictures, shapes = draw(asked_of), stack_masks(asked_of)
    without = draw([scene.without(part) for scene in asked_of for part in parts])
    own, other = (torch.full((count,), names.index(name)) for name in (species, rival))
    looked_up = field_guide_map(asked_of, against=[rival] * count)
    blind, tables, margins = null_battery(beetle_net, pictures), [], []

    def versus(model, pictures, rivals):
        """The contrast map of the species and rivals."""
        return contrast(model, pictures, own, rivals)

    for model in networks:
        key = answer_key(model, pictures, without)
        margins.append(key[:, :, own[0]] - key[:, :, other[0]])
        slopes = [gradient_times_input(model, pictures, k) for k in (own, other)]
        maps = {
            "contrast map": versus(model, pictures, other),
            "contrast, gradient × input": slopes[0] - slopes[1],
            "map for the species": class_activation_map(model, pictures, own),
            "signed noise": noise_map(model, pictures),
            "field guide": looked_up,
        }
        third = best_other(model, pictures, own, other)
        nulls = blind | wrongly_asked(versus, maps["contrast map"], model, pictures, other, third)
        tables.append(graded(maps, nulls, margins[-1], shapes))
    return tables, margins


twin_tables, margins = why_not_the_twin("Ellipsa_longicornis", "Ellipsa_furcata")
other_side, _ = why_not_the_twin("Ellipsa_furcata", "Ellipsa_longicornis")
of_both = {"longicornis": twin_tables, "furcata": other_side}


def beside_guide(tables, name):
    """Print how far a map is ahead of the field guide, and in how many networks clearly."""
    for key in SIGNED:
        lead = interval_text(ahead(tables, key, name, "field guide"), signed=True)
        each = [mean_interval(table[key][name] - table[key]["field guide"]) for table in tables]
        above, below = sum(low > 0 for _, low, _ in each), sum(high < 0 for *_, high in each)
        print(f"{name} minus field guide, {key[0]}: {lead};")
        print(f"    networks clearly above {above}, below {below}")


rows = ["contrast map", "contrast, gradient × input", "map for the species"]
rows += ["signed noise", "field guide"]
shown_rows = [*rows, "strongest null"]

# %%
plots.figure(
    plots.matrix(
        [
            [five(some, key, name).mean() for some in of_both.values() for key in SIGNED]
            for name in shown_rows
        ],
        shown_rows,
        [f"{side}: {score}" for side in of_both for score in SCORES],
        title="“Why not the twin?”:\nthe answer depends on which twin is asked",
        label="agreement with the key",
    ),
    alt="A table of six maps by three scores, from both sides of the pair. From longicornis the usual map has −0.14, 0.00, −0.13; "
    "signed noise about the same. The contrast map has 0.64, 0.70, 0.52, the contrast of gradient × input 0.38, 0.98, 0.82, "
    "the field guide 0.65, 1.00, 0.96. The strongest null has 0.38, 0.48, 0.35. From furcata the contrast map has −0.06, 0.03, "
    "−0.15, the field guide 0.58, 0.85, 0.76, the strongest null 0.50 in all three.",
    caption="Left: longicornis, why not furcata. Right: furcata, why not longicornis. Five networks, 50 beetles a side.",
)

# %%
by_size = [(score, "size", "without pattern") for score in SCORES]
for side, some in of_both.items():
    print(f"asked from {side}:")
    cells = leads_of(some, "contrast map", "strongest null", by_size)
    report(some, rows, ["contrast map minus strongest null, by size", *cells])
    gaps = [five(some, k, "contrast map") - five(some, k, "strongest null") for k in SIGNED]
    above = [int((one > 0).sum()) for one in gaps]
    print("networks with the contrast map above the null:", *above, "(rank, top part, Pearson)")
    beside_guide(some, "contrast map")
margin = margins[0].abs()
matter = (margin > 0.1 * margin.amax(1, keepdim=True)).sum(1).float().mean()
print(f"longicornis, parts worth over a tenth of the largest: {matter:.1f} of {len(visible)}")

# %% [markdown]
# The row *map for the species*, in the three columns of *longicornis*, answers the prediction. For *why not furcata*
# this usual map ranks the parts no better than signed noise, and hardly ever puts the antennae first: much of it lies
# on horn and wing cases, which speak for both species. **If somebody asks "why?", ask back: "why this class, and not
# which other?"**
#
# **Now ask from the other side.** For *furcata*, why not *longicornis*, the contrast map fails: by rank it is below the
# strongest null in all five networks. In all five it puts most on the wing cases, which truly matter little. (Why, we
# have not tested.) An example that works does not show that a method works.
#
# **Compare the scores**, for *longicornis*. By rank the contrast map is ahead of the contrast of gradient × input; by
# the other two scores it is behind. Only about two of the five parts matter. But *rank* counts the order of the other
# three as much, so a map that nearly always puts the antennae first can score low. Where most effects are near zero,
# read the top part or Pearson first. By *size* the contrast map is not clearly above the null: without the sign, what
# speaks against counts like what speaks for.
#
# **Look at the nulls.** A map that is bright away from the centre puts the antennae first in about half of the scenes:
# they reach farthest out. And by the top part and by Pearson the contrast map is clearly behind the field guide in all
# five networks.

# %% [markdown] tags=["further"]
# ## 5. What the network has seen before
#
# What enters the last layer, 64 numbers, is called the picture's **embedding**. An explanation by example shows the
# training pictures nearest to it. There is one danger: *something is always nearest*, even if nothing is near. So
# `nearest_examples` measures how far each example is from its nearest other example. For 99 % of the examples this
# distance is below a limit, here 1.59. A picture is **near** if an example lies within the limit; for the others comes
# a warning. The null: the same question to an untrained network, with a limit of its own.

# %%
import textwrap
import warnings

from xai_course.data import PHOTOGRAPHS, denormalise, modern_transform, photograph
from xai_course.fully_connected import nearest_examples

known = [scene for name in SPECIES for scene in scenes("train", name, 60)]
examples = draw(known)
blank = reinitialised(beetle_net, images)  # untrained
small = modern_transform(64)
photographs = torch.stack([small(photograph(name)) for name in PHOTOGRAPHS])
# beetles with traits that no species combines
chimera = [s.with_trait(horn="forked") for s in scenes("test", "Tenuella_guttata", 20)]
generator = torch.Generator().manual_seed(0)
asked = {
    "test beetles": x,
    "no known species": draw(chimera),
    "photographs": photographs,
    "pixels of noise": normalise(torch.rand(20, 3, 64, 64, generator=generator)),
}

# %%
neighbours = {}
for label, asked_of in asked.items():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        neighbours[label] = nearest_examples(beetle_net, asked_of, examples, count=3)
        untrained = nearest_examples(blank, asked_of, examples, count=3).near.float().mean()
    with torch.no_grad():
        sure = beetle_net(asked_of).softmax(1).amax(1)
    near = neighbours[label].near.float().mean()
    print(
        f"{label:17} near {near:4.0%} (untrained: {untrained:4.0%}); "
        f"confidence: mean {sure.mean():.0%}, highest {sure.max():.0%}"
    )
print("\nA warning:")
print(textwrap.fill(str(said[0].message), 80))

# %%
coins = PHOTOGRAPHS.index("coins")
rows = [("test beetles", 10), ("no known species", 0), ("photographs", coins)]
rows += [("pixels of noise", 0)]
panels, titles = [], []
for label, n in rows:
    found = neighbours[label]
    panels += [asked[label][n], *examples[found.indices[n]]]
    titles += [label + (":\nnear" if found.near[n] else ":\nnothing near")]
    titles += [f"distance\n{d:.1f}" for d in found.distance[n].tolist()]

# %%
plots.figure(
    plots.gallery(
        denormalise(torch.stack(panels)).clamp(0, 1),
        titles,
        columns=4,
        size=1.7,
        title="Something is always nearest, even where nothing is near",
    ),
    alt="Four rows: a beetle, a beetle of no known species, coins, and noise; to the right of each its three nearest "
    "training pictures. Distances: 1.3 for the test beetle, which is near; 3 for the unknown species, 4 for the coins and 88 "
    "for noise, where nothing is near.",
    caption="Left the picture asked about, then its three nearest among 600 training pictures.",
)

# %% [markdown]
# The network is *certain* of its answer to noise, and nearly so for at least one photograph. The distance shows that
# nothing is near: not to noise or photographs, and not to the beetles that combine traits as no species does. The
# untrained network finds noise far, too, but calls every impossible beetle near. So the trained network
# has learnt to keep impossible beetles apart. (The limit leaves out one training picture in a hundred, so now and then
# a good beetle is called far.)

# %% [markdown]
# ### Which species does the network find alike?
#
# Each species has a row of weights in the last layer. Two rows that point the same way give high logits to the same
# pictures. The cosine of the angle between the rows measures this, from −1 to 1. (The mean row is subtracted first: what
# all rows share adds the same number to every logit, and does not change the softmax.) Do species that share traits have
# similar rows?

# %%
from dataclasses import astuple

from xai_course.fully_connected import class_similarity

traits = [astuple(species) for species in SPECIES.values()]
shared = torch.tensor(
    [[sum(a == b for a, b in zip(s, t, strict=True)) for t in traits] for s in traits]
)
one, two = torch.tril_indices(10, 10, -1)  # the 45 pairs of species


def likeness(alike, order=slice(None)):
    """Correlation of cosine and shared traits over the 45 pairs, with the species relabelled."""
    cosines = alike[order][:, order][one, two]
    return torch.corrcoef(torch.stack([cosines, shared[one, two].float()]))[0, 1].item()


alike = class_similarity(beetle_net, images[:1])
shuffles = torch.Generator().manual_seed(0)
orders = [torch.randperm(10, generator=shuffles) for _ in range(2000)]
chance = torch.tensor([likeness(alike, order) for order in orders]).quantile(0.975)
found = [likeness(class_similarity(model, images[:1])) for model in networks]
print(f"correlation with shared traits, five networks: {min(found):.2f} to {max(found):.2f}")
print(f"species relabelled at random, 97.5 % are below: {chance:.2f}")
print(f"an untrained network: {likeness(class_similarity(blank, images[:1])):.2f}")

# %% [markdown]
# Yes, in each of the five networks more than the nulls allow. But 0.37 to 0.57 is far from 1: the layer was trained to
# tell twins *apart*, so their rows also hold what separates them.

# %% [markdown] tags=["further"]
# ## 6. Concepts, from pairs
#
# Nobody named the 64 features. Can we ask about *our* words instead: does the network use "horn"? We have what most
# data sets lack: pairs of pictures that differ in the concept alone. At a layer, take the mean of each channel over the
# places. So each picture becomes a list of numbers (64 at the last map). For each pair, take the list of the picture
# with a horn, minus the list of the one without. The mean of these differences over all pairs points in the direction
# of the **concept**; to add this mean once is one **concept step**. **Held-out** pairs, which were not used to find the
# direction, tell how *accurate* it is: in how many pairs is the picture *with* the concept farther along the direction?
# (Chance: 50 %.)

# %%
from xai_course.beetlebox.backgrounds import paint_ground

base = [scene for name in SPECIES for scene in scenes("extra", name, 6)]
by_light = sorted(range(40), key=lambda seed: paint_ground(seed, 64).mean())
dark, light = by_light[:10], by_light[-10:]  # ten grounds each
pairs_of = {
    part: [(s, s.without(part)) for s in base if stack_masks([s])[0, PARTS.index(part)].any()]
    for part in ("horn", "pattern", "antennae")
}
pale, black = (0.9, 0.85, 0.7), (0.1, 0.08, 0.05)
pairs_of["pale legs"] = [(s.recoloured("legs", pale), s.recoloured("legs", black)) for s in base]
pairs_of["light ground"] = [
    (s.with_background(light[n % 10]), s.with_background(dark[n // 6])) for n, s in enumerate(base)
]
pairs_of["museum label"] = [(s.with_label(), s) for s in base]
concepts = {
    name: (draw([a for a, _ in pairs]), draw([b for _, b in pairs]))
    for name, pairs in pairs_of.items()
}

# %% [markdown]
# **TCAV** then asks: if the values of a layer moved one step along the concept, would the logit rise? The answer is a
# slope, in logits per step. The null: in each pair, a coin decides which picture counts as "with". Such a random
# concept is made of the same pictures, but its pairs have nothing in common. The p-value is the share of random
# concepts whose slope is at least as far from 0. Six concepts give chance six occasions, so p is corrected for six
# (Holm's method, exercise 3). (As published, the direction comes from a linear classifier, and the null from random
# pictures. Exact pairs make both simpler.) We ask about *Tenuella lineata*, at the last map.

# %%
from xai_course.fully_connected import concept_vector, tcav

LINEATA = names.index("Tenuella_lineata")
its_pictures = draw(scenes("test", "Tenuella_lineata", 50))
uses = tcav(beetle_net, its_pictures, LINEATA, concepts, "blocks")
true_change = {}
with torch.no_grad():
    for name, (present, absent) in concepts.items():
        true_change[name] = beetle_net(present) - beetle_net(absent)  # (pairs, 10)
rows = [["concept", "read", "untrained", "slope", "random concepts", "p (Holm)", "true change"]]
for name, use in uses.items():
    read, anyway = (
        concept_vector(net, *concepts[name], "blocks").ordered for net in (beetle_net, blank)
    )
    change = interval_text(mean_interval(true_change[name][:, LINEATA]), signed=True)
    random = f"{use.null_slope[0]:+.2f} to {use.null_slope[1]:+.2f}"
    cells = [f"{read:.0%}", f"{anyway:.0%}", f"{use.slope:+.2f}", random, f"{use.p_holm:.3f}"]
    rows.append([name, *cells, change])
show_table(*rows)

# %% [markdown]
# (*read*: share of held-out pairs in the right order; *untrained*: the same in an untrained network; *random concepts*:
# the middle 95 % of their slopes; *true change*: of the logit.) **Another identity.** The last column is measured
# without any theory: the logit of the pictures with the concept minus that of those without. The slope equals this
# change. At the last map the logit *is* a sum, so a mean difference of features gives the mean difference of logits.
#
# **An accurate concept that is not used.** Look at *light ground*: most held-out pairs are read right, but random
# concepts move the logit as much. So the light of the ground is in the features, and this logit of this network does
# not use it. "The network knows" and "the network uses" are two statements. And *read* is no sign of learning: an
# untrained network reads nearly everything just as accurately.
#
# **And one that only seems unused.** *Pattern* is read almost without error, and its slope is no larger than that of
# random concepts. *Lineata* is a striped beetle! Split its pairs by the pattern that was taken away:

# %%
for kind in ("striped", "spotted", "banded"):
    chosen = torch.tensor([with_it.traits.pattern == kind for with_it, _ in pairs_of["pattern"]])
    change = interval_text(mean_interval(true_change["pattern"][chosen, LINEATA]), signed=True)
    print(f"{kind:8} the pattern changes the logit of lineata by {change}")

# %% [markdown]
# So “pattern” is used: stripes speak for *lineata*, other patterns against it, and in the mean the two cancel. Do not take
# the mean over cases that differ.

# %% [markdown]
# ## 7. Global features?
#
# "Global" can mean that a feature *collects from everywhere*, or that it sees *how things are arranged*. We test the
# second. First, **shuffle the places** of what enters the head: every value stays, its place is lost. Then cut the
# *picture* into 16 tiles and shuffle these. A control for the harm of the cuts: each tile is mirrored in its place.
# (The chart shows one BeetleNet, the printed difference the mean of five. At a first reading, pass over the code of the
# next two cells.)


# %%
from xai_course.core import wilson_interval


def shuffle_places(maps, generator):
    """The same values at places drawn at random, anew for each picture: (N, K, h, w)."""
    flat = maps.flatten(2)  # (N, K, places)
    order = torch.rand(len(maps), 1, flat.shape[2], generator=generator).argsort(2)  # random
    return flat.gather(2, order.expand_as(flat)).view(maps.shape)


def shuffle_tiles(images, k, generator, mirror=False):
    """Pictures cut into k × k tiles, which change places; or each is mirrored where it is."""
    tiles = torch.nn.functional.unfold(images, 64 // k, stride=64 // k)  # (N, values, k * k)
    if mirror:
        tiles = tiles.view(len(images), -1, 64 // k, k * k).flip(2).view(tiles.shape)
    else:
        order = torch.rand(len(images), 1, k * k, generator=generator).argsort(2)
        tiles = tiles.gather(2, order.expand_as(tiles))
    return torch.nn.functional.fold(tiles, 64, 64 // k, stride=64 // k)


# %%
def right(logits):
    """Share of right answers, and its 95 % interval."""
    return wilson_interval(int((logits.argmax(1) == y).sum()), len(y))


with torch.no_grad():
    maps = beetle_net.blocks(beetle_net.stem(x))
    after = beetle_net.head(shuffle_places(maps, generator).mean((2, 3)))
    cut, mirrored = shuffle_tiles(x, 4, generator), shuffle_tiles(x, 4, generator, mirror=True)
    convolved = article_net.conv3(article_net.conv2(article_net.conv1(x)))
    flat = article_net.pool(article_net.conv4(convolved))  # (100, 128, 4, 4), to be flattened
    as_it_is, after_flat = (
        article_net.fc2(article_net.fc1(some.flatten(1)))
        for some in (flat, shuffle_places(flat, generator))
    )
    accuracy = {
        "BeetleNet, as it is": right(beetle_net(x)),
        "BeetleNet, places of its last map shuffled": right(after),
        "BeetleNet, tiles of the picture shuffled": right(beetle_net(cut)),
        "BeetleNet, tiles mirrored in their places": right(beetle_net(mirrored)),
        "ArticleNet, as it is": right(as_it_is),
        "ArticleNet, places of its last map shuffled": right(after_flat),
    }
    moved = (after - beetle_net(x)).abs().max()
    lost = [(right(net(mirrored))[0] - right(net(cut))[0]) for net in networks]
print(f"largest change of a BeetleNet logit by shuffling places: {moved:.0e}")
lost = interval_text(seed_interval(lost))
print(f"share right, mirrored minus shuffled tiles, five networks: {lost}")

# %%
luck = 1.96 * (0.1 * 0.9 / len(x)) ** 0.5  # 95 % of guesses: 10 % ± this

# %%
plots.figure(
    plots.shares(
        accuracy,
        band=(0.1 - luck, 0.1 + luck),
        band_label="pure guessing (95 %)",
        title="A pooled head does not see where anything is",
        label="share of 100 beetles that are named right",
    ),
    alt="Six bars. BeetleNet: 99 % right, and 99 % with the places of its last map shuffled; with tiles of the picture shuffled "
    "43 %, mirrored in their places 65 %. ArticleNet: 90 %, and 11 % with its last map shuffled, which is guessing.",
    caption="Tiles: 16 in a picture. Lines: 95 % intervals.",
)


# %%
def sight(model):
    """How many rows and columns of pixels one place of a BeetleNet's last map depends on."""
    pixels = draw(sample[:20]).requires_grad_()
    place = model.blocks(model.stem(pixels))[:, :, 4, 4].sum()
    seen = (torch.autograd.grad(place, pixels)[0] != 0).any(1).any(0)  # in any picture
    return f"{int(seen.any(1).sum())} × {int(seen.any(0).sum())}"


print(f"one place of BeetleNet's last map sees {sight(beetle_net)} of 64 × 64 pixels")

# %% [markdown]
# For a pooled head nothing can change: a mean does not depend on the order. Its fully connected layer is global in the
# first sense only: it *counts* what was found, wherever it was. BeetleNet does see the arrangement: shuffled tiles do
# more harm than mirrored ones. But it does so *before* this layer: each place of its last map depends on more than half
# of the picture. A flattened head has a weight for each place, so with shuffled places ArticleNet only guesses.

# %% [markdown] tags=["further"]
# ## 8. Better on complex tasks?
#
# A *longicornis* differs from its twin in one trait only. Seven of the ten species have a twin. For five beetles of
# each we ask *why this and not its twin* (hard), and *why this and not the species with which it shares the fewest
# traits*, a **stranger** (easy). On the hard question, is the contrast of CAM above the strongest null, and above the
# contrast of gradient × input? Is it better on the hard question than on the easy one? We ask all five networks.

# %%
twinned = (shared[labels] == 3).any(1)  # twins share three of four traits
hard_ones, own, hard_masks = images[twinned], labels[twinned], masks[twinned]
rivals = {"strangers": shared[own].argmin(1), "twins": (shared[own] == 3).int().argmax(1)}
pair_nulls, pair_tables = null_battery(beetle_net, hard_ones), {name: [] for name in rivals}
hard_scenes = [scene for scene, has in zip(beetles, twinned, strict=True) if has]
for model, key in zip(networks, keys, strict=True):
    slope, key = gradient_times_input(model, hard_ones, own), key[twinned]

    def against(model, pictures, rival):
        """The contrast map of the own species and a rival."""
        return contrast(model, pictures, own, rival)

    for name, rival in rivals.items():
        third = best_other(model, hard_ones, own, rival)
        maps = {
            "contrast of CAM": against(model, hard_ones, rival),
            "contrast, gradient × input": slope - gradient_times_input(model, hard_ones, rival),
            "CAM for the species": class_activation_map(model, hard_ones, own),
            "field guide": field_guide_map(hard_scenes, against=[names[k] for k in rival]),
        }
        nulls = pair_nulls | wrongly_asked(
            against, maps["contrast of CAM"], model, hard_ones, rival, third
        )
        true = key[range(len(own)), :, own] - key[range(len(own)), :, rival]
        pair_tables[name].append(graded(maps, nulls, true, hard_masks))

# %%
easy, hard = pair_tables.values()
leads = {key: ahead(hard, key, "contrast of CAM", "contrast, gradient × input") for key in hard[0]}

# %%
plots.figure(
    plots.bars(
        {", ".join(key[:2]): lead for key, lead in leads.items() if key[2] == "without pattern"},
        title="On twins, no reading puts CAM clearly ahead of gradient × input",
        label="contrast of CAM minus contrast of gradient × input",
    ),
    alt="Nine bars with intervals, one for each reading. Two are above zero, +0.12 and +0.07, and their intervals hold zero; "
    "all others lie between −0.18 and −0.31, with intervals below zero.",
    caption="Difference in agreement with the key: nine of the 18 readings, those without pattern. 35 beetles; lines: 95 % "
    "intervals over five networks.",
)

# %%
for name, some in pair_tables.items():
    print(f"{name}:")
    report(some, list(maps))
gain = [five(hard, key, "contrast of CAM") - five(easy, key, "contrast of CAM") for key in SIGNED]
show_table(
    ["the contrast of CAM", *SCORES],
    ["twins minus strangers", *(interval_text(seed_interval(one), signed=True) for one in gain)],
    ["twins: minus CAM for the species", *leads_of(hard, "contrast of CAM", "CAM for the species")],
    [
        "twins: minus contrast of gradient × input",
        *(interval_text(leads[k], signed=True) for k in SIGNED),
    ],
)
print("against gradient × input, on twins:", clearly(list(leads.values())))
beside_guide(hard, "contrast of CAM")

# %% [markdown]
# Whether the contrast of CAM does better on the hard question depends on the score: by rank it gains, by the two other
# scores not clearly. And a gain is no lead. On strangers the contrast of CAM is clearly behind the strongest null in
# every reading. On twins it is clearly behind in 5 of 18, and above in none. On twins the field guide is ahead of it,
# too, by the top part and by Pearson, and gradient × input is ahead in most readings.
#
# On all twins, as in section 4, the contrast map is better than the usual map by rank and by Pearson, but by less.

# %% [markdown] tags=["further"]
# ## 9. Costly?
#
# We count operations instead of seconds, since they are the same on every computer: for one picture, as multiples of one
# bare run of BeetleNet.

# %%
from torch.utils.flop_counter import FlopCounterMode

from xai_course.residual import occlusion


def arithmetic(run):
    """Operations that a call needs."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


bare = arithmetic(lambda: beetle_net(x[:1]))
explainers = (logit_contributions, class_activation_map, contrast, gradient_times_input, occlusion)
for method in explainers:
    times = arithmetic(lambda method=method: method(beetle_net, x[:1])) / bare
    print(f"{method.__name__:22} {times:6.1f} × a bare run")

# %% [markdown]
# The contributions and the map cost what the answer itself costs, since the derivative goes back to the last map only.
# (`contrast` makes two maps and, if no rival is given, looks for the runner-up, in two more runs.) The gradient takes twice
# as much; `occlusion` moves a window over the picture, with one run for each place.

# %% [markdown] tags=["further"]
# ## Where it breaks
#
# **A significant concept with the wrong sign.** At the last map, TCAV's slope was the true change (section 6). But TCAV is
# often used at earlier layers. Here is the same test one block earlier, with the share of pictures whose logit rises: this
# share is what TCAV reports.

# %%
earlier = tcav(beetle_net, its_pictures, LINEATA, concepts, "blocks.1")
rows = [["concept", "TCAV", "random concepts", "slope", "p (Holm)", "true change", "sign"]]
for name, use in earlier.items():
    middle, low, high = mean_interval(true_change[name][:, LINEATA])
    wrong = use.p_holm < 0.05 and (use.slope > 0) != (middle > 0) and low * high > 0
    random = f"{use.null_share[0]:.0%} to {use.null_share[1]:.0%}"
    cells = [f"{use.share:.0%}", random, f"{use.slope:+.2f}", f"{use.p_holm:.3f}"]
    change = interval_text((middle, low, high), signed=True)
    rows.append([name, *cells, change, "wrong" if wrong else ""])
show_table(*rows)

# %% [markdown]
# Two failures in one table. **The share says nothing here:** random concepts reach 0 % and 100 %, too, because the
# pictures' derivatives point much the same way: a step raises the logit of nearly all pictures or of nearly none. Yet
# many would report 100 % as a discovery. **And the slope can be significant and wrong:** light ground, which this logit
# does not use, looks used, and pale legs have the wrong sign. Real legs change a few places of the map, and ReLUs open
# and close; a concept step changes all places a little, with the ReLUs as they are.
#
# How often is the sign wrong, for ten species, six concepts and five networks? That may depend on the step. We try
# three: the mean difference of all pairs, the same at all places; the mean difference at each place; and the latter
# from pairs of the asked species only. The null does not look at the network: it says the more frequent sign each time.

# %%
from xai_course.core import capture_layer


def wrong_signs(model, layer="blocks.1"):
    """Of the true changes above 0.1 logits, the share whose sign is wrong, for each kind of step."""
    with capture_layer(model, layer) as seen:
        logit = model(x)[range(len(y)), y]
    (slope,) = torch.autograd.grad(logit.sum(), seen[-1])
    wrong = {
        "one step for all places": [],
        "a step for each place": [],
        "the same, own species": [],
    }
    rises = []
    for name, pair in concepts.items():
        species = torch.tensor([names.index(scene.species) for _, scene in pairs_of[name]])
        with torch.no_grad(), capture_layer(model, layer) as seen:
            change = torch.sub(*model(torch.cat(pair)).chunk(2))  # (pairs, 10)
        steps = torch.sub(*seen[-1].chunk(2))
        for k in range(10):
            here, step, own = slope[y == k].mean(0), steps.mean(0), species == k
            truths = change[:, k].mean(), change[:, k].mean(), change[own, k].mean()
            said = here.sum((1, 2)) @ step.mean((1, 2)), here * step, here * steps[own].mean(0)
            for found, truth, answer in zip(wrong.values(), truths, said, strict=True):
                if truth.abs() > 0.1:  # not where there is no pair
                    found.append(float((answer.sum() > 0) != (truth > 0)))
            rises += [float(truths[0] > 0)] * int(truths[0].abs() > 0.1)
    shares = {way: sum(found) / len(found) for way, found in wrong.items()}
    risen = sum(rises) / len(rises)
    return shares | {"null: the frequent sign": min(risen, 1 - risen)}


found = [wrong_signs(model) for model in networks]
for way in found[0]:
    share = seed_interval([one[way] for one in found], bounds=(0, 1))
    print(f"wrong sign, {way:24} {interval_text(share, 0, percent=True)}")

# %% [markdown]
# About a quarter of the signs are wrong. A step for each place, from the asked species alone, halves that. The null is
# wrong nearly half the time: so the slope tells something, but not reliably.

# %% [markdown]
# ## Exercises
#
# **1. CAM in a few lines** (10 minutes, medium). `maps` (N, K, h, w) is the last feature map of a network that averages
# over places and has one linear layer with `weight` (classes, K). Return the map of class `k` (an integer), of shape
# (N, h, w). Its sum over the places is the logit minus the bias.


# %% tags=["exercise"]
def cam(maps, weight, k):
    """Class activation map of class k, in logits."""
    return ...


# %% tags=["solution"]
def cam(maps, weight, k):
    """Class activation map of class k, in logits."""
    places = maps.shape[2] * maps.shape[3]
    return torch.einsum("nkhw,k->nhw", maps, weight[k]) / places


# %%
from xai_course.exercises.lesson_06 import check_cam

check_cam(cam)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The feature is the *mean* over places, so each place gives it its value divided by the number of places.
# `weight[k][:, None, None]` has shape (K, 1, 1), which broadcasts over the maps.
# </details>
#
# **2. Why A and not B, from the weights** (10 minutes, easy). `features` (F,) enter the last layer, `weight` (classes,
# F) are its weights; `a` and `b` are two classes (integers). Return what each feature adds to the margin, logit of `a`
# minus logit of `b`, without the biases: (F,).


# %% tags=["exercise"]
def why_not(features, weight, a, b):
    """Each feature's contribution to logit a minus logit b."""
    return ...


# %% tags=["solution"]
def why_not(features, weight, a, b):
    """Each feature's contribution to logit a minus logit b."""
    return features * (weight[a] - weight[b])


# %%
from xai_course.exercises.lesson_06 import check_why_not

check_why_not(why_not)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Write the two sums one below the other and subtract them term by term.
# </details>
#
# **3. Holm's correction** (15 minutes, medium). Section 6 uses it; you need only this: a p-value says how often chance
# alone gives as much. If you test many concepts, you find some by chance. Holm's method takes the p-values in rising
# order: the smallest times m (their number), the next times m − 1, and so on to the largest times 1; none may end below
# the one before it, and none above 1. Return the corrected values **in the order in which they came**: 0.01, 0.04, 0.03
# give 0.03, 0.06, 0.06.


# %% tags=["exercise"]
def holm(p):
    """Corrected p values (m,) of p values (m,)."""
    return ...


# %% tags=["solution"]
def holm(p):
    """Corrected p values (m,) of p values (m,)."""
    order = p.argsort()
    factors = torch.arange(len(p), 0, -1)
    corrected = torch.empty_like(p)
    corrected[order] = (p[order] * factors).cummax(0).values.clamp(max=1)
    return corrected


# %%
from xai_course.exercises.lesson_06 import check_holm

check_holm(holm)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `order = p.argsort()` gives the rising order, `torch.arange(len(p), 0, -1)` the factors, `.cummax(0).values` a running
# maximum, and `result[order] = ...` puts sorted values back in their places.
# </details>

# %% [markdown]
# ## Verdict
#
# **Global features: depends on what follows the last map.** With the places of its last map shuffled, a pooled head answers
# as before. A flattened head falls to guessing.

# %%
print("share of 100 beetles named right, with 95 % intervals; guessing: 10 %")
for name, cell in accuracy.items():
    print(f"{name:45} {interval_text(cell, 0, percent=True)}")

# %% [markdown]
# **Better on complex tasks: refuted for CAM, in this world (section 8).** Twins are the hard question. There the contrast
# of CAM is level with the strongest null by rank and by the top part. It is level with the field guide by rank, and behind
# it by the top part. Against gradient × input, which needs no fully connected layer, it is clearly ahead in none of 18
# readings and clearly behind in 14.

# %%
leads = {
    f"lead over the {other.replace(',', ' of')}": leads_of(hard, "contrast of CAM", other)
    for other in ("strongest null", "contrast, gradient × input")
}
show_table(
    ["the contrast of CAM on twins, five networks", *SCORES],
    *([name, *cells] for name, cells in leads.items()),
)

# %% [markdown]
# **Costly, complex: refuted** for reading the layer. It takes about the operations of one bare run (section 9), and two lines
# do it (exercise 1). What is hard is to tell whether the map is right.
#
# And what the article does not have:
#
# - **An exact sum is not a right answer.** CAM of BeetleNet needs its network and its class. Yet it is clearly above
#   the strongest null in none of 18 readings: by rank that is bright edges, 0.70 against 0.36 of CAM. On ArticleNet,
#   one network, CAM is above the null where the sign counts, and hardly by size.
# - **"Why A" is not "why A and not B".** For *longicornis, not furcata* the usual map is no better than signed noise.
#   By rank the contrast map is above the strongest null in all five networks, by the top part in four; by size it is
#   not. For *furcata, not longicornis* the contrast map is above the null in none of the five, by rank. So it answers
#   from one side of the pair only. By rank the contrast map is clearly above the field guide in one of five networks,
#   and below in two; by the top part below in all five.
# - **A concept can be accurate and unused, or significant and wrong** (section 6 and *Where it breaks*). An untrained
#   network reads *light ground*, too. One block before the last, TCAV's slope has the wrong sign for about a quarter of
#   the true changes of a logit, in five networks. With a step for each place, made of pairs of the asked species alone,
#   it is still wrong for 12 %.

# %% [markdown]
# ## Take it with you
#
# Class activation maps for networks that end in linear layers, pooled or flattened: the method alone. Pasted into an
# empty file, it runs. For a project take `snippet(class_activation_map)`: it also checks the sum.

# %%
from xai_course.snippets import snippet

text = snippet(class_activation_map, checks=False)
display(Code(text, language="python"))

# %% tags=["nbval-check-output"]
empty = {"__name__": "pasted"}
exec(text, empty)
pasted = empty["class_activation_map"](beetle_net, draw(shown))
print("the same map:", torch.equal(pasted, class_activation_map(beetle_net, draw(shown))))

# %% [markdown]
# ## Quiz
#
# **1. A doctor asks a network: why pneumonia? The map for *pneumonia* covers both lungs. The runner-up is *bronchitis*.
# What do you show next?**
#
# <details><summary>a) The same map with a stricter colour scale.</summary>
#
# No. It answers the same question: what speaks for both illnesses stays in it.
# </details>
# <details><summary>b) The contrast map, pneumonia minus bronchitis.</summary>
#
# Yes: it asks the doctor's real question, and removes what speaks for both. That does not make it right. In section 4 it agreed
# with the true answer for one twin, and failed for the other. So test it.
# </details>
# <details><summary>c) The map for bronchitis, beside it.</summary>
#
# Close: the difference is in there. But two similar patches are hard to compare by eye; subtract them.
# </details>
#
# **2. A direction in a layer tells pictures with and without a museum label apart on 100 % of held-out pairs (pairs not
# used to find it; section 6). What follows?**
#
# <details><summary>a) The label leaves a trace in that layer.</summary>
#
# Yes, and no more than that.
# </details>
# <details><summary>b) The network probably uses the label, at least a little.</summary>
#
# No. It can be read from the layer; whether a logit uses it is another question (section 6).
# </details>
# <details><summary>c) Perhaps nothing: with 64 features some direction separates any pairs.</summary>
#
# No. Some direction separates the pairs on which it was found. These pairs were held out.
# </details>
#
# **3. "The sum of the map plus the bias is the logit, to ten decimals." What does that prove?**
#
# <details><summary>a) Nothing: every map adds up to the logit.</summary>
#
# No. Gradient × input, for example, leaves out what the biases of all layers add (lesson 04).
# </details>
# <details><summary>b) That the map shows at least roughly which pixels count.</summary>
#
# No. Each place of BeetleNet's last map has seen more than half of the picture. Exact for the layer is not exact for
# the pixels.
# </details>
# <details><summary>c) That nothing is left out or made up in the adding.</summary>
#
# Yes. It is worth checking, and a map that fails it is not what it says it is.
# </details>

# %% [markdown]
# ## References
#
# - B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, *Learning Deep Features for Discriminative Localization*, CVPR
#   2016, arXiv:1512.04150: class activation maps.
# - R. R. Selvaraju and others, *Grad-CAM*, ICCV 2017, arXiv:1610.02391: mean gradients as weights; equal to CAM for a
#   pooled head.
# - R. L. Draelos, L. Carin, *Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks*,
#   2020, arXiv:2011.08891: the map of section 3 for flattened heads.
# - B. Kim and others, *Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation Vectors
#   (TCAV)*, ICML 2018, arXiv:1711.11279.
# - S. Haufe and others, *On the interpretation of weight vectors of linear models in multivariate neuroimaging*,
#   NeuroImage 2014, doi:10.1016/j.neuroimage.2013.10.067: why the direction is a mean difference and not a classifier's
#   weights.
# - S. Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of Statistics, 1979.
