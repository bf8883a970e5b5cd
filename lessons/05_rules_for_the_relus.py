# ---
# jupyter:
#   course:
#     question: "Which part of the picture do maps through the ReLUs show, and do they say why?"
# ---

# %% [markdown]
# # Rules for the ReLUs
#
# > **You will be able to** draw gradient, DeconvNet and guided backpropagation, and compute Grad-CAM; ask each map for
# > another class, another image and another network; read each map in several ways, and say which statements hold in all
# > these ways.
# >
# > **You need** lesson 01 (the answer key) and lesson 04 (gates, biases).
# >
# > **Time** {minutes}. The computer needs less than a minute.
# >
# > **For** everyone. *Engineers*: section 1, and *Take it with you*. *Teachers*: the prediction and section 3 make a
# > lesson of their own; the misconception is "sharper, therefore more faithful". *Policy makers*: the pictures, *Where
# > it breaks* (section 3), and the verdict.

# %% [markdown]
# ## The claim
#
# In lesson 04, the outputs of the ReLUs showed local features. To draw a map of the *picture*, one goes back from an
# answer through the ReLUs. The article says that such a technique is **simple** and **cheap**, and that its limit is
# this: it is **insensitive to noise** in the input.
#
# Sections 4 and 5 (*go further*) test these three statements, for the whole family of methods that go through the
# ReLUs; the verdict gives their results. The other sections ask a question that the article does not ask: do the maps
# say *why*?

# %%
import torch
from IPython.display import Code, Markdown, display

from xai_course import plots
from xai_course.beetlebox import PARTS, SPECIES, scenes, species_name, stack_images, stack_masks
from xai_course.core import interval_text, mean_interval, seed_interval
from xai_course.core.paths import data_folder
from xai_course.data import normalise
from xai_course.metrics import edge_map, reinitialised
from xai_course.storage import load_checkpoint

folder, names = data_folder() / "checkpoints", list(SPECIES)
network, card = load_checkpoint(folder / "beetle_net")
seeds = [load_checkpoint(folder / "beetle_net_seeds" / f"seed_{k}")[0] for k in range(1, 5)]
five = [network, *seeds]  # five networks, trained alike except for the seed
beetles = [scene for name in names for scene in scenes("test", name, 10)]  # 10 of each species
pixels = stack_images(beetles)
images, masks = normalise(pixels), stack_masks(beetles)
species = torch.arange(10).repeat_interleave(10)  # ten times 0, ten times 1, …
with torch.no_grad():
    logits = network(images)
says, second = logits.topk(2).indices.T  # classes with the largest two logits
one = names.index("Ellipsa_longicornis") * 10  # the first longicornis of the test scenes
parts = list(PARTS[:6])  # all but the museum label, which no scene here has
some = slice(None, None, 2)  # from section 3 on: five of each species
fifty, where = images[some], masks[some, :6]
untrained = [reinitialised(network, images, seed=k) for k in range(5)]
print(f"BeetleNet is right on {(says == species).sum()} of {len(beetles)}")
print(
    f"the example: {species_name(names[says[one]])}, runner-up {species_name(names[second[one]])}"
)

# %% [markdown]
# ## Predict
#
# **Guided backpropagation** is known for clear, sharp pictures. The **gradient**, which you saw in lesson 00, is full
# of specks. Ask each of the two methods twice about a beetle: why the class that the network *says*, and why the
# *runner-up*, the class with the second largest logit? Compare the two maps of one method by their correlation, pixel
# by pixel: 1 for the same picture, stronger or weaker; 0 for no relation; −1 for a picture and its negative.
#
# **What is the mean correlation, over fifty beetles and five networks, for guided backpropagation and for the
# gradient?** Write down two numbers. Section 3 has the answer.

# %% [markdown]
# ## 1. Three rules for one ReLU
#
# To draw a map of the *input*, go back through the network. At a ReLU there are two things to look at: whether its
# gate was open in the forward pass, and whether the number that comes back is positive. Three methods differ in nothing
# else:
#
# | method | what a ReLU lets through on the way back |
# |---|---|
# | gradient | `grad * is_open` |
# | DeconvNet | `grad.clamp(min=0)` |
# | guided backpropagation | `grad.clamp(min=0) * is_open` |
#
# (`grad` is the number that comes back; `is_open` is 1 where the gate was open, else 0; `clamp(min=0)` keeps what is
# positive and makes the rest 0. For example, −2 comes back to an open gate: the gradient passes −2 on, the other two
# methods pass 0.)
#
# `relu_rule` gives every ReLU of a network such a rule, without changing the network.

# %%
from xai_course.relu import deconvnet, gradient, guided_backprop, relu_rule

x, picture = images[one : one + 1], beetles[one].image(64)
rules = {"gradient": gradient, "DeconvNet": deconvnet, "guided backprop.": guided_backprop}
with relu_rule(lambda is_open, grad: grad * is_open) as seen:  # the gradient's own rule
    as_it_was = gradient(network, x)
print(f"{len(seen)} ReLUs seen; same map: {torch.equal(as_it_was, gradient(network, x))}")
maps = {name: rule(network, x) for name, rule in rules.items()}
pale = 0.7 + 0.3 * pixels[one]  # so that the colours of a map are easier to see
signs = ("negative", "positive")  # these maps' signs are not for or against the class

# %%
plots.figure(
    plots.overlay(
        [picture, pale, pale, pale],
        [None, *maps.values()],
        ["the beetle", *maps],
        shared_scale=False,
        sides=signs,
        title="Another rule for the ReLU, another picture of the same beetle",
    ),
    alt="A beetle and three maps: the gradient has specks in many places, DeconvNet a regular grid over the whole picture, "
    "guided backpropagation clear strokes on horn, antennae and back.",
    caption="Each panel has its own scale: only the gradient has a unit. Section 3 says where DeconvNet's grid comes from. "
    "Which map would you show to a client?",
)

# %% [markdown]
# The gradient says how the logit changes when a pixel changes a little (in logits for each unit of a pixel). Its map
# is true, and full of specks. Two remedies are popular: multiply the gradient by the input, or take its mean over noisy
# copies of the input (**SmoothGrad**). Section 6 says whether these remedies help.

# %% [markdown]
# ## 2. Grad-CAM
#
# **Grad-CAM** goes back only as far as a layer: each channel's map is weighted by its mean gradient, and the maps are
# added and enlarged. Usually this layer is the last block, and so it is here. Another layer gives another map, so name
# the layer with every Grad-CAM. (Lesson 00 shows such a map; here we need only numbers. Lesson 15 has relatives of the
# method.)

# %% [markdown]
# ## 3. Where it breaks: one picture for every class
#
# Back to the prediction, and to the example. Why *longicornis*, why the runner-up, and why the class that the network
# finds least likely?


# %%
def alike(first, second, size=False):
    """Correlation of maps (..., C, H, W), one number for each pair; `size`: without sign."""
    rows = [m.abs().sum(-3, keepdim=True) if size else m for m in (first, second)]
    rows = [m.flatten(-3) - m.flatten(-3).mean(-1, keepdim=True) for m in rows]
    return torch.nn.functional.cosine_similarity(*rows, dim=-1)  # minus the mean: a correlation


asked = {"says": says, "runner-up": second, "least likely": logits.argmin(1)}
panels = {
    f"{name}, {question}\n{species_name(names[classes[one]])}": rule(
        network, x, classes[one : one + 1]
    )
    for name, rule in (("gradient", gradient), ("guided", guided_backprop))
    for question, classes in asked.items()
}
first, *others = list(panels.values())[3:]  # the three guided maps
found = ", ".join(f"{alike(first, other).item():.2f}" for other in others)

# %%
plots.figure(
    plots.overlay(
        [pale] * 6,
        panels.values(),
        list(panels),
        columns=3,
        shared_scale=False,
        sides=signs,
        title="Guided backpropagation draws the same beetle for three different classes",
    ),
    alt="Two rows of three maps of one beetle. The gradients for the three classes have other colours at the same places. "
    "The three guided maps look alike: the first correlates 0.87 with the second and 0.92 with the third.",
)
print(f"correlation of the first guided map with the two others: {found}")

# %% [markdown]
# Now the whole family, **FullGrad** included (lesson 04: gradient times input, plus what each bias adds at its place),
# with five networks and fifty beetles, five of each species. The null: a method's map of *another* beetle of the same
# species. (In brackets, in this lesson: 95 % intervals, over networks or over beetles, whichever is wider. At a first
# reading, read only what the next cell prints.)

# %%
from xai_course.relu import full_grad, grad_cam, gradient_times_input

family = {
    "gradient": gradient,
    "gradient × input": gradient_times_input,
    "DeconvNet": deconvnet,
    "guided backprop.": guided_backprop,
    "Grad-CAM": grad_cam,
    "FullGrad": full_grad,
}
kinds = species[some]
with torch.no_grad():
    classes = torch.stack([model(fifty).topk(2).indices.T for model in five])  # (5, 2, 50)
questions = {"says": classes[:, 0], "runner-up": classes[:, 1]}


def explain_all(name, models, pictures, asked_for):
    """Maps of a method (networks, beetles, C, 64, 64)."""
    pairs = zip(models, asked_for, strict=True)
    return torch.stack([family[name](model, pictures, each) for model, each in pairs])


maps = {
    (name, question): explain_all(name, five, fifty, asked_for)
    for name in family
    for question, asked_for in questions.items()
}


def other_beetle(found):
    """The maps of another beetle of the same species."""
    return found.unflatten(1, (10, 5)).roll(1, 2).flatten(1, 2)  # of five, the one before


def over_all(values):
    """Mean of (networks, beetles), and the wider of two intervals: over networks, over beetles."""
    both = seed_interval(values.mean(1).tolist(), bounds=(-1, 1)), mean_interval(values.mean(0))
    return max(both, key=lambda ends: ends[2] - ends[1])


print("correlation of the maps for the class said and the runner-up, with and without sign;")
print("null: correlation of the maps of two beetles of one species, with sign")
print(f"{'':16}{'two classes':>22}{'null: another beetle':>22}{'two classes, no sign':>22}")
for name in family:
    own, runner_up = maps[name, "says"], maps[name, "runner-up"]
    found = (alike(own, runner_up), alike(own, other_beetle(own)), alike(own, runner_up, size=True))
    print(f"{name:16}" + "".join(interval_text(over_all(v)).rjust(22) for v in found))

# %% [markdown]
# The rows *gradient* and *guided backprop.* answer the prediction. Many expect that a sharp picture shows one class
# only. But the gradients of two classes have next to nothing in common, and the guided pictures are nearly the same:
# ask "why this class?" and the answer is "here is a beetle". The last column drops the sign, and then the gradients of
# two classes are alike, too (0.72). So mostly the same places count for both classes, but with other signs. (Guided
# backpropagation drops what is negative at each ReLU: exercise 1.) Grad-CAM is the other way round: its maps for two
# classes are less alike (0.16) than its maps of two beetles (0.66).
#
# Look at *DeconvNet* and its null, 1.00. The map of one beetle is the map of *another*. (The interval begins below 1
# because three of the five networks name one of the fifty beetles wrong, and so its map is for another class.)

# %%
three = slice(one, one + 3)
found = deconvnet(network, images[three], int(says[one]))
equal = all(torch.equal(found[0], each) for each in found[1:])

# %%
plots.figure(
    plots.overlay(
        [*pixels[three], *torch.full_like(pixels[three], 0.85)],
        [None] * 3 + list(found),
        ["beetle 1", "beetle 2", "beetle 3"] + ["its DeconvNet map"] * 3,
        columns=3,
        unit="no unit",
        sides=signs,
        title="DeconvNet draws the same map for three beetles",
    ),
    alt="Above, three different beetles of one species. Below, their three DeconvNet maps: one regular grid of orange and "
    "blue dots, the same in all three.",
)
print(f"equal in every bit: {equal}")

# %% [markdown]
# It had to be so. DeconvNet's rule does not look at the gates, and on the way back everything else in this network
# multiplies by fixed weights. So nothing of the image is left; the grid comes from the weights. (Max-pooling would say
# where the largest values were; BeetleNet has none.)
#
# ### The same picture for another network
#
# Replace the trained weights by random ones: first those of the head, then also those of the last block, and so on to
# the stem. Each time, compare the maps with the trained network's, with sign and by size. A map that shows what
# was learnt must change. This is the *randomisation test*: a map that stays the same has failed it. There are two
# nulls: another beetle of the species, and the edges of the picture. Here we take the *rank* correlation (lesson 00)
# and ten beetles, so the nulls differ a little from those above. At a first reading, run the next cells and go on to
# the figure.

# %%
from xai_course.core import map_similarity
from xai_course.metrics import cascading_randomisation

# of each stage the layer that becomes random last
stages = {"head": "head", "blocks.2": "blocks.2.branch.conv1", "blocks.1": "blocks.1.branch.conv1"}
stages |= {"blocks.0": "blocks.0.branch.conv1", "stem": "stem.conv"}
watched, readings = ("gradient", "guided backprop.", "Grad-CAM"), {"signed": False, "size": True}
edges, ten, similar, nulls = edge_map(network, fifty), slice(None, None, 5), {}, {}
for n, model in enumerate(five):
    random = dict(cascading_randomisation(model, seed=n))  # layer: network
    for stage, layer in stages.items():
        for name in watched:
            after = family[name](random[layer], fifty[ten], questions["says"][n, ten])
            for by, size in readings.items():
                found = map_similarity(maps[name, "says"][n, ten], after, absolute=size)
                similar.setdefault((f"{name}, {by}", stage), []).append(found)
for name in watched:
    own = maps[name, "says"]
    others = {"another beetle": other_beetle(own), "edges": edges.expand(5, -1, -1, -1, -1)}
    for other, null in others.items():
        for by, size in readings.items():
            pair = own[:, ten].flatten(0, 1), null[:, ten].flatten(0, 1)
            found = map_similarity(*pair, absolute=size)
            nulls[f"{name}, {by}", other] = found.mean()

# %%
stays = {}
for (name, _), found in similar.items():
    stays.setdefault(name, []).append(over_all(torch.stack(found)))

# %%
plots.figure(
    plots.lines(
        {
            name.replace(" backprop.", ""): found
            for name, found in stays.items()
            if "Grad-CAM" not in name
        },
        range(1, 6),
        title="With a random head the gradient's map is gone if its sign counts;\nby size much of it stays",
        x_label="random: 1 the head; 2 to 4 also the blocks, the last one first; 5 also the stem",
        y_label="rank correlation with the trained map",
    ),
    alt="Four lines over five steps. The gradient with sign is at 0 from the first step, the random head. By size it begins "
    "at 0.66 and falls to 0.17. Guided backpropagation begins at 0.92 by both readings and falls to 0.2.",
    caption="Five networks, ten beetles. Grad-CAM and the nulls are in the table below.",
)

# %%
lines = [
    " | ".join(["map, read", *stages, "null: another beetle", "null: edges"]),
    "---|" * 7 + "---",
]
for name, found in stays.items():
    ends = [f"{nulls[name, null]:z.2f}" for null in ("another beetle", "edges")]  # z: no "-0.00"
    lines.append(" | ".join([name, *map(interval_text, found), *ends]))
head = "Rank correlation with the map of the trained network; random: from the head to this layer"
display(Markdown(f"{head}\n\n" + "\n".join(lines)))

# %% [markdown]
# *With sign*, the gradient's map is gone as soon as the head is random, and the map of guided backpropagation stays
# above its nulls to the end. *By size*, the gradient's map stays, too: it falls to its null (another beetle, 0.41) only
# at `blocks.1` (step 3). And the map of guided backpropagation falls below its null (0.49) at `blocks.0` (step 4). So
# "the gradient passes, guided backpropagation fails" (Adebayo and others) holds with the sign, and not without it.
#
# A map that passes has shown little: noise, drawn anew for each network, passes best. And a *right* map may stay in
# part. Under a random head, too, channels with large outputs count most, so the same places stay bright (Binder and
# others). A second reason: if only the object in the picture has edges, the map of every network lies on the object
# (Yona and Greenfeld). So the test shows that a map depends on weights. It cannot rank methods.

# %% [markdown] tags=["further"]
# ## 4. Simple and cheap?
#
# We count the lines of code of each method: of its function alone, and with all that it needs. And we count passes: how
# often an image goes forward through the network, and how often back.

# %%
import inspect
import re

from xai_course.relu import smooth_grad
from xai_course.snippets import snippet


def count(source):
    """Lines of code, without blank lines, comments and docstrings."""
    source = re.sub(r'""".*?"""', "", source, flags=re.DOTALL)
    return sum(not line.strip().startswith("#") for line in source.split("\n") if line.strip())


there, back = [], []  # images in each pass
hooks = [
    network.head.register_forward_hook(lambda _head, _in, out: there.append(len(out))),
    network.head.register_full_backward_hook(lambda _head, _in, out: back.append(len(out[0]))),
]
print("                    lines of code     passes per image")
print("                    alone  with all   forward  backward")
for name, explain in (family | {"SmoothGrad": smooth_grad}).items():
    there.clear(), back.clear()
    explain(network, images[::10])
    lines = f"{count(inspect.getsource(explain)):6} {count(snippet(explain)):9}"
    print(f"{name:18} {lines} {sum(there) / 10:9.0f} {sum(back) / 10:9.0f}")
for hook in hooks:
    hook.remove()

# %% [markdown]
# The rule itself is one line. The rest checks the arguments, or serves other people's networks, such as a ReLU called
# in another way. (SmoothGrad: one pass for the class, then 16 noisy copies.)

# %% [markdown] tags=["further"]
# ## 5. Insensitive to noise?
#
# Add noise to the pixels, with a standard deviation of 5 % or 10 % of the way from black to white. Measure three
# things: whether a network keeps its answer; how each map correlates with the map of the clean picture, pixel by pixel;
# and whether the *parts* keep their ranks (rank correlation of the map's size, summed over each part). We ask the five
# networks, and three trained with noise. Two nulls: another beetle's map; an edge map, noisy picture against clean. At
# a first reading, pass over the code.

# %%
from xai_course.beetlebox import part_relevance, spearman_with_truth

noisy_seeds = [f"beetle_net_noise_seeds/seed_{k}" for k in (1, 2)]
hardened = [load_checkpoint(folder / name)[0] for name in ("beetle_net_noise", *noisy_seeds)]
noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))[some]
disturbed = {level: normalise((pixels[some] + level * noise).clamp(0, 1)) for level in (0.05, 0.1)}


def part_sizes(found):
    """Size of maps (networks, 50, C, 64, 64) summed over parts: (networks, 50, parts)."""
    return torch.stack([part_relevance(each, masks[some], parts, "size") for each in found])


def rank_alike(first, second):
    """Rank correlation of the parts of two sets of maps, (networks, 50)."""
    pairs = zip(first, second.nan_to_num(), strict=True)
    return torch.stack([spearman_with_truth(*pair) for pair in pairs])


kept, same, rows = {}, {}, {}
for how, models in {"usual": five, "noise": hardened}.items():
    with torch.no_grad():
        before = torch.stack([model(fifty).argmax(1) for model in models])
    for level, pictures in disturbed.items():
        with torch.no_grad():
            now = torch.stack([model(pictures).argmax(1) for model in models])
        kept[how, level] = now == before
        share = interval_text(seed_interval(kept[how, level].double().mean(1).tolist(), images=50))
        for reading, first in {"pixels": share, "parts": ""}.items():
            rows[f"{how} training, {level:.0%} noise, {reading}"] = [first]
    for name in watched:
        clean = maps[name, "says"] if how == "usual" else explain_all(name, models, fifty, before)
        changed = [explain_all(name, models, x, before) for x in disturbed.values()]
        for level, after in zip(disturbed, changed, strict=True):
            same[how, level, name] = alike(clean, after)
            ranks = rank_alike(part_sizes(clean), part_sizes(after))
            for reading, values in {"pixels": same[how, level, name], "parts": ranks}.items():
                rows[f"{how} training, {level:.0%} noise, {reading}"].append(
                    interval_text(over_all(values))
                )
rows |= {"null: another beetle, pixels": [""], "null: another beetle, parts": [""]}
for name in watched:
    own = maps[name, "says"]
    null = alike(own, other_beetle(own)), rank_alike(part_sizes(own), other_beetle(part_sizes(own)))
    for reading, values in zip(("pixels", "parts"), null, strict=True):
        rows[f"null: another beetle, {reading}"].append(interval_text(over_all(values)))
lines = [
    " | ".join(["training, noise, correlation by", "answers kept", *watched]),
    "---|" * 4 + "---",
]
for reading in ("pixels", "parts"):
    lines += [" | ".join([name, *row]) for name, row in rows.items() if name.endswith(reading)]
display(Markdown("\n".join(lines)))
for level, pictures in disturbed.items():
    stay = alike(edges, edge_map(network, pictures)).mean()
    print(f"null: edges, {level:.0%} noise {stay:.2f}")

# %% [markdown]
# Pixel by pixel, at 5 % noise, the gradient's map keeps only half of its correlation (0.53), while nearly all answers
# stay. The map is *more* sensitive than the network. In networks that were *trained with noise* most of the gradient's
# map stays (0.82): the specks come from the network, and not only from the method. And summed over *parts* the ranks
# stay, in both kinds of networks (0.89 and 0.97). But the ranks of another beetle of the species are nearly as alike
# (0.82), so by this reading hardly any map would fail.
#
# Grad-CAM keeps its map at 5 % (0.98). At 10 % most answers are lost. Split the beetles by their answer, kept or lost:

# %%
stay, bars = kept["usual", 0.1], {}
for name in watched:
    values, own = same["usual", 0.1, name], maps[name, "says"]
    bars[f"{name}, answer kept"] = mean_interval(values[stay])
    bars[f"{name}, answer lost"] = mean_interval(values[~stay])
    bars[f"{name}, another beetle"] = over_all(alike(own, other_beetle(own)))
by_answer = {name: found for name, found in bars.items() if "answer" in name}
of_another = {name: bars[f"{name.split(',')[0]}, another beetle"][0] for name in by_answer}

# %%
plots.figure(
    plots.bars(
        by_answer,
        references=of_another,
        reference_label="clean map of another beetle",
        title="At 10 % noise the maps have changed, also where the answer stays",
        label="correlation with the clean map (1: no change)",
    ),
    alt="Six bars: three methods, where the answer is kept and where it is lost. Gradient: 0.16 and 0.12. Guided "
    "backpropagation: 0.57 and 0.50. Grad-CAM: 0.81 and 0.54. Grey ticks, the map of another beetle: 0.02, 0.06, and for "
    "Grad-CAM 0.66, which lies between its two bars.",
)
print(f"at 10 % noise kept: {stay.sum()} of {stay.numel()} answers")
for name, found in bars.items():
    print(f"{name:34}", interval_text(found))

# %% [markdown]
# Does Grad-CAM's map stay as long as the answer stays? No: the map changes also where the answer is kept (0.81). Where
# the answer is lost the map changes more, so it follows the answer to some degree. But the null is high: Grad-CAM's
# maps of two *different* beetles of a species are more alike (0.66) than its maps of one beetle before and after the
# loss of the answer (0.54).

# %% [markdown]
# ## 6. Against the answer key
#
# Which parts matter is known: take each part away and see (lesson 01). We ask for the class that a network *says*, and
# for its *runner-up*. We compare a map with the true effects in six ways, the six **readings**: each readout with each
# score.
#
# - three **readouts**: over each part, the *signed* sum of the map, the sum of what is *positive*, or the *size*, the
#   sum without signs (compared with the effects without signs);
# - two **scores**: *rank*, the rank correlation of the parts' sums with their effects, and *top part*, 1 if the part
#   with the largest sum is the right one, else 0.
#
# What counts is a map's **lead over the strongest null**: its score minus that of the best of seven nulls, in the same
# reading. For example, by *rank, signed* the gradient has 0.15 and bright edges have 0.70: a lead of −0.55. The seven
# nulls are noise; edges; *bright edges* (edges times the square of the brightness); the centre; away from the centre;
# the method's own map for another class; its map of an untrained network. (DeconvNet is left out.) Two more nulls stand
# apart:
#
# - the map of *another beetle* of the species, summed over that beetle's parts. It may be right about the species, but
#   it knows nothing of this beetle;
# - the **field guide**, a number for each part that needs no network. For the class said: how many other species differ
#   in the part. For *longicornis*: horn 7, legs 0. For the runner-up a part has 1 if two things hold: it looks alike in
#   the beetle's species and in the runner-up, and at least one of the other eight differs. (So it speaks for both.)
#   Otherwise it has 0. For *longicornis* and its runner-up *furcata*: horn 1, antennae 0 (they differ), legs 0 (alike
#   in all species).
#
# At a first reading, run the next three cells and go on to the figure. (White, *open*: the interval contains 0.)

# %%
from xai_course.beetlebox import field_guide_numbers, top1_agreement
from xai_course.core import strongest_null
from xai_course.metrics import null_battery

shown = beetles[some]
gone = [stack_images([s.without(p) if p in s.parts else s for s in shown]) for p in parts]
pictures = torch.stack([fifty, *map(normalise, gone)], 1).flatten(0, 1)


with torch.no_grad():
    whole_and_without = torch.stack([model(pictures).unflatten(0, (50, -1)) for model in five])


def answer_key(n, asked_for):
    """Effect of each part on the logit of a class (50, parts): f(beetle) − f(beetle without it)."""
    every = asked_for[:, None, None].expand(-1, whole_and_without.shape[2], 1)
    logit = whole_and_without[n].gather(2, every)[..., 0]
    return logit[:, :1] - logit[:, 1:]


scores = {}  # (question, readout, score, method or "", null or ""): for each network (50,)


def mark(relevance, key, question, method, null, inside=masks[some]):
    """Read a map (or a number for each part) in six ways: how well does each agree with the key?"""
    for readout in ("signed", "positive", "size"):
        numbers = relevance.ndim == 2
        found = relevance if numbers else part_relevance(relevance, inside, parts, readout)
        true = key.abs() if readout == "size" else key
        for score, rule in (("rank", spearman_with_truth), ("top part", top1_agreement)):
            place = question, readout, score, method, null
            scores.setdefault(place, []).append(rule(found, true))


judged, keys = [name for name in family if name != "DeconvNet"], {"says": [], "runner-up": []}
pictured = null_battery(network, fifty)
absent, rare = where.sum((2, 3)) == 0, field_guide_numbers(shown)[:, :6]
for question, other in (("says", "runner-up"), ("runner-up", "says")):
    for n, asked_for in enumerate(questions[question]):
        key, blank = answer_key(n, asked_for), untrained[n]
        keys[question].append(key.masked_fill(absent, torch.nan))
        for null, relevance in pictured.items():
            mark(relevance, key, question, "", null)
        rival = field_guide_numbers(shown, against=[names[k] for k in asked_for])[:, :6]
        guide = rare if question == "says" else (rare > 0) * (1 - rival)  # rare, or shared
        mark(guide.masked_fill(absent, torch.nan), key, question, "", "field guide")
        for name in judged:
            mark(maps[name, question][n], key, question, name, "")
            mark(maps[name, other][n], key, question, name, "another class")
            another = other_beetle(maps[name, question])[n], key, question, name, "another beetle"
            mark(*another, inside=other_beetle(masks[some][None])[0])
            mark(family[name](blank, fifty, asked_for), key, question, name, "untrained network")

# %%
thirty = torch.arange(50).unflatten(0, (10, 5))[:, :3].flatten()  # SmoothGrad takes its time
for level in (0.05, 0.15):
    for model, asked_for, key in zip(five[:3], questions["says"], keys["says"], strict=False):
        asked = asked_for[thirty]
        smooth = smooth_grad(model, fifty[thirty], asked, noise=level, samples=8)
        true, name = key[thirty].nan_to_num(), f"SmoothGrad {level:.0%}"
        mark(smooth, true, "says", name, "", masks[some][thirty])
scores = {place: torch.stack(found) for place, found in scores.items()}
for (_, readout, score, method, _), found in scores.items():
    if method.startswith("SmoothGrad"):
        gained = found - scores["says", readout, score, "gradient", ""][:3, thirty]
        told = interval_text(over_all(gained), signed=True)
        print(f"{method:14} minus gradient, {score}, {readout}: {told}")

print("true effects of two beetles of a species, rank correlation:")
for question, found in keys.items():
    told = interval_text(over_all(rank_alike(other_beetle(torch.stack(found)), torch.stack(found))))
    print(f"    {question:9} {told}")

# %%
columns = [(score, by) for score in ("rank", "top part") for by in ("signed", "positive", "size")]
leads, specific, tables = {}, {}, {}
over = ["the strongest null", "lead over it", "over another beetle", "over the field guide"]
for question in questions:
    tables[question] = [" | ".join(["reading", "map", "agreement", *over]), "---|" * 6 + "---"]
    for score, readout in columns:
        reading, told = (question, readout, score), f"{question}, {score}, {readout}"
        guide = scores[*reading, "", "field guide"]
        tables[question].append(f"{told} | the field guide | {guide.mean():.2f} | | | |")
        for name in judged:
            nulls = {
                null: found.flatten()
                for (*place, method, null), found in scores.items()
                if tuple(place) == reading
                and method in ("", name)
                and null not in ("", "another beetle", "field guide")
            }
            (null, best), own = strongest_null(nulls), scores[*reading, name, ""]
            leads[question, name, score, readout] = lead = over_all(own - best.view(5, 50))
            alone = over_all(own - scores[*reading, name, "another beetle"])
            specific[question, name, score, readout] = alone[0]
            ahead = (interval_text(v, signed=True) for v in (lead, alone, over_all(own - guide)))
            cells = [told, name, f"{own.mean():.2f}", f"{null} {best.mean():.2f}", *ahead]
            tables[question].append(" | ".join(cells))
largest = max(lead for (question, *_), lead in specific.items() if question == "says")
rows = [(question, name) for question in questions for name in judged]
chart = torch.tensor([[leads[*row, *column] for column in columns] for row in rows])
clear = chart[..., 1] * chart[..., 2] > 0  # the interval is without 0

# %%
plots.figure(
    plots.matrix(
        chart[..., 0],
        [f"{question}: {name}" for question, name in rows],
        [f"{score}, {readout}" for score, readout in columns],
        tint=chart[..., 0] * clear,
        title="No map is ahead of the strongest null in all six readings",
        label="orange: clearly ahead of the strongest null; blue: clearly behind; white: open",
    ),
    alt="A table of five methods for two classes, in six readings: the lead over the strongest null. For the class said, only "
    "guided backpropagation is clearly ahead, by 0.04 to 0.08 in five readings; by the signed rank it is 0.30 behind. For the "
    "runner-up, Grad-CAM and FullGrad lead by 0.28 and 0.25 by the signed rank; by size and rank they are 0.37 and 0.09 behind.",
    caption="Rows: class asked for, and map. Columns: score, and readout. Mean of five networks and fifty beetles. The field guide "
    "and another beetle are not among these nulls; they are in the tables below.",
)

# %% [markdown]
# All numbers, to look things up. (By the top part *noise* has 0.39: its sum is largest on the largest part.)

# %%
for table in tables.values():
    display(Markdown("\n".join(table)))
print(f"says, largest lead over another beetle {largest:+.2f}")

# %% [markdown]
# In short: for the class said, no map is clearly better than the field guide. For the runner-up some maps are clearly
# above the nulls, and some are clearly above the field guide. But no map is clearly above both in the same reading.
# (*Clearly*
# means: the interval is without 0. A printed end of 0.00 may lie a little above or below 0.) In detail:
#
# - *The class that a network says.* By rank, bright edges have 0.70 and more, and they know no network. Only guided
#   backpropagation leads clearly, by 0.04 to 0.08, in five of the six readings. There its strongest null is its own map
#   for *another class*. In the sixth reading, the signed rank, guided backpropagation is 0.30 behind. The map of
#   *another beetle* of the species is a harder null: that map orders the parts just as well. The reason: the true
#   effects of two beetles of a species are nearly the same (rank correlation 0.87). So a map can agree with them and
#   show nothing of *this* beetle.
# - *The runner-up, by the signed rank.* The true effects now differ from beetle to beetle (0.13), and some maps answer
#   what was asked: Grad-CAM and FullGrad lead clearly, also over another beetle's map. But they are no better than the
#   field guide (0.00 and −0.04), which only says: what looks alike in both species speaks for the runner-up.
# - *The runner-up, by rank and size.* FullGrad and some other maps are clearly above the field guide. None of them
#   leads: bright edges have 0.68.
# - *The runner-up, in the four other readings.* Guided backpropagation leads clearly in three of them, FullGrad in two,
#   Grad-CAM in one. None of these is above the field guide.
# - *Gradient* and *gradient × input* lead clearly in no reading. *SmoothGrad* (with noise of 5 % or 15 % of a picture's
#   range) is in no reading clearly better than the gradient that it smooths, and by the positive rank it is worse.
#   These networks were trained without noise.

# %% [markdown]
# ## Exercises
#
# **1. What guided backpropagation drops** (5 minutes, easy). `inputs` is what went into a ReLU in the forward pass,
# `grad` what comes back to the ReLU's output; both have the same shape. Of what the gradient's rule lets through,
# guided backpropagation lets through only a part. Return the other part, in the same shape: the two parts add up to
# what the gradient's rule lets through.


# %% tags=["exercise"]
def dropped(inputs, grad):
    """What the gradient's rule lets through one ReLU, and guided backpropagation does not."""
    return ...


# %% tags=["solution"]
def dropped(inputs, grad):
    """What the gradient's rule lets through one ReLU, and guided backpropagation does not."""
    return grad * (inputs > 0) * (grad < 0)


# %%
from xai_course.exercises.lesson_05 import check_guided

check_guided(dropped)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Both rules need an open gate. Which numbers does guided backpropagation drop at an open gate? A comparison such as
# `inputs > 0` gives True and False; multiplied by a number, True counts 1 and False 0.
# </details>
#
# **2. What depends on the class** (10 minutes, medium). `first` and `second` (N, C, H, W) are maps of the same images
# for two classes. Bring each map to length 1: divide it by the root of its sum of squares. Now let *S* = first +
# second, and *D* = first − second: *S* holds what the two maps share, *D* what depends on the class. Return for each
# image (N,) the share of *D*: ΣD² / (ΣS² + ΣD²), where Σ adds up all values of the image. No map is 0 everywhere.


# %% tags=["exercise"]
def class_part(first, second):
    """Share of two maps that depends on the class (N,): 0 the same map, 1 opposite maps."""
    return ...


# %% tags=["solution"]
def class_part(first, second):
    """Share of two maps that depends on the class (N,): 0 the same map, 1 opposite maps."""
    one, two = (m / m.square().sum((1, 2, 3), keepdim=True).sqrt() for m in (first, second))
    shared, differing = ((one + two).square(), (one - two).square())
    return differing.sum((1, 2, 3)) / (shared + differing).sum((1, 2, 3))


# %%
from xai_course.exercises.lesson_05 import check_class_part

check_class_part(class_part)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `m.square().sum((1, 2, 3), keepdim=True).sqrt()` is the length of each map, and keeps the axes, so that you can divide by
# it. Without the division, the class with the larger logit would count more.
# </details>
#
# Then use it on the maps of section 3, for the class said and the runner-up:

# %%
if check_class_part(class_part).status == "yes":
    print("part that depends on the class, in each of five networks; null: of two beetles")
    for name in ("gradient", "guided backprop.", "Grad-CAM", "FullGrad"):
        own, runner_up = maps[name, "says"], maps[name, "runner-up"]
        each = [f"{class_part(*pair).mean():.0%}" for pair in zip(own, runner_up, strict=True)]
        null = class_part(own.flatten(0, 1), other_beetle(own).flatten(0, 1)).mean()
        print(f"{name:17}", *each, f"  null {null:.0%}")

# %% [markdown]
# With a solution you see: two maps without any relation have 50 %. The gradient and FullGrad have 50 % or a little
# more: their maps for two classes share next to nothing. Of guided backpropagation's map 3 to 4 % depend on the class,
# and 47 % on the beetle (the null). Grad-CAM is the other way round: about 40 % depend on the class, and only 10 % on
# the beetle. None of this says that a map is right: two maps of fresh noise have 50 %, too.

# %% [markdown]
# ## Verdict
#
# In short: these maps are cheap, all but SmoothGrad. Whether they feel noise depends on the method, the training and
# the reading. For the class that a network says, no map is clearly better than the field guide, which never saw a
# network. For the runner-up some maps are clearly above the nulls, and some are clearly above the field guide. But in
# no reading is a map clearly above both.
#
# What follows rests on five networks and fifty beetles, unless it says otherwise; in brackets, 95 % intervals.
#
# - *Strength*, simple: **depends** on whose network it is. The rules differ in one line. With all that other people's
#   networks need, a function has between 400 and 800 lines.
# - *Strength*, cheap: **confirmed.** It takes one pass forward and one back, for all but SmoothGrad (17 forward, 16
#   back).
# - *Limit*, insensitive to noise: **depends** on the method, on the training, and on the reading. At 5 % noise 0.97 of
#   the answers stay. *Refuted for the gradient*: its map correlates 0.53 (0.43 to 0.63) with the clean one, where an
#   edge map has 0.97. Training with noise raises it to 0.82 (0.78 to 0.85). By the ranks of the parts it correlates
#   0.89, but another beetle of the species has 0.82. *Grad-CAM* keeps 0.98 (0.96 to 0.99) at 5 %, where another beetle
#   has 0.66. At 10 % it has 0.81 (0.77 to 0.84) where the network keeps its answer, and 0.54 (0.49 to 0.59) where it
#   does not.
#
# **Is it an explanation?** Of the class, only in part.
#
# - For the class that a network *says*, no map shows more than the species does. Guided backpropagation, by size,
#   agrees with the key by 0.80, and leads the nulls by 0.06 (0.03 to 0.09), but not the field guide, which has
#   0.84 without any network. With sign it is 0.30 behind bright edges. No map leads that of another beetle by more than
#   0.05, in any reading.
# - For the *runner-up*, Grad-CAM and FullGrad agree with the key by 0.55 and 0.52, with sign. They lead bright edges by
#   0.28 (0.15 to 0.41) and 0.25 (0.15 to 0.35): they answer the question. They do so no better than the field guide,
#   0.55: Grad-CAM minus the field guide is 0.00 (−0.11 to 0.10), FullGrad −0.04 (−0.15 to 0.08). By rank and size they
#   are 0.37 and 0.09 behind bright edges.
# - Guided backpropagation shows where, and hardly why. Its maps for two classes correlate 0.93 (0.91 to 0.94), those of
#   two beetles 0.06. The gradient's maps for two classes correlate −0.06 (−0.13 to 0.01). Without sign they correlate
#   0.72: the same places, with other signs.
# - The test with random weights decides little. With a random head the gradient's map is gone if its sign counts
#   (−0.04). By size it has 0.66 (0.60 to 0.71), where another beetle's map has 0.41.
# - DeconvNet, in this network, shows nothing of the image at all.
#
# All this holds for one kind of network and one small world. What you can keep is the habit: ask each map for another
# class, for another image and for a random network, and read it in more than one way, before you believe it.

# %% [markdown]
# ## Take it with you
#
# Guided backpropagation alone. Pasted into an empty file, it runs on PyTorch classifiers with ReLUs, called as module,
# function or method. For a project take `snippet(guided_backprop)`: it knows every way to call a ReLU, checks its
# arguments, and refuses a network without ReLUs, or with another activation. (Captum, a well-known library of
# explanations, changes ReLU *modules* only. Where a network calls `F.relu`, Captum returns the plain gradient; its
# documentation says so, its output does not.)

# %%
source = snippet(guided_backprop, checks=False)
display(Code(source, language="python"))

# %% [markdown]
# The proof: run those lines where nothing else is known, and compare.

# %% tags=["nbval-check-output"]
empty: dict = {"__name__": "pasted"}
exec(source, empty)
again = empty["guided_backprop"](network, images[:5])
print("the same map:", torch.equal(again, guided_backprop(network, images[:5])))

# %% [markdown]
# ## Quiz
#
# **1. Asked about the class that a network says, guided backpropagation draws the horn, sharp and clear. What do you
# know?**
#
# <details><summary>a) The horn matters most for this answer, since nothing else is drawn so clearly.</summary>
#
# No. Edges are sharp, too, and know no network. How clearly a part is drawn does not say how much it is worth. To know
# that, take the horn away (section 6).
# </details>
# <details><summary>b) The horn speaks for this class; we do not know whether it decided the answer.</summary>
#
# No. A map that hardly changes with the class cannot tell whether the horn speaks for it or against it.
# </details>
# <details><summary>c) Nothing yet about why it is this class: for another class the map is nearly the same.</summary>
#
# Yes. The maps for the class said and for the runner-up correlate 0.93 (section 3). So the map says "here is a beetle",
# and hardly why it is this one.
# </details>
#
# **2. You replace the head by a random one, and a map changes beyond recognition. What do you know?**
#
# <details><summary>a) The map depends on the weights of the head.</summary>
#
# Yes, and no more. A map of fresh noise changes even more.
# </details>
# <details><summary>b) The map is faithful to the trained network.</summary>
#
# No. To see that, you need to know what matters to the network: take parts away, as in section 6.
# </details>
# <details><summary>c) The map is better than one that stays.</summary>
#
# No. A right map may stay in part. And read by size, the gradient's map stays, too.
# </details>
#
# **3. Your network uses GELU, a smooth relative of the ReLU. A library draws a map of guided backpropagation without
# complaint. What now?**
#
# <details><summary>a) Use the map with care, and say that a GELU is only nearly a ReLU.</summary>
#
# No. A library that looks for ReLU modules finds none, and may have returned the plain gradient under another name.
# </details>
# <details><summary>b) Compare the map with the plain gradient.</summary>
#
# Yes. If the two are equal, no rule was changed. The functions of this course refuse such a network, and say what to
# use instead.
# </details>
# <details><summary>c) Replace every GELU by a ReLU and explain that.</summary>
#
# No. That explains another network.
# </details>

# %% [markdown]
# ## References
#
# - K. Simonyan, A. Vedaldi, A. Zisserman, *Deep Inside Convolutional Networks*, 2014, arXiv:1312.6034: the gradient.
# - M. Zeiler, R. Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, arXiv:1311.2901:
#   DeconvNet.
# - J. Springenberg and others, *Striving for Simplicity*, 2015, arXiv:1412.6806: guided backpropagation.
# - D. Smilkov and others, *SmoothGrad: Removing Noise by Adding Noise*, 2017, arXiv:1706.03825.
# - R. Selvaraju and others, *Grad-CAM*, ICCV 2017, arXiv:1610.02391.
# - S. Srinivas, F. Fleuret, *Full-Gradient Representation for Neural Network Visualization*, NeurIPS 2019,
#   arXiv:1905.00780: the biases' share, and FullGrad.
# - J. Adebayo and others, *Sanity Checks for Saliency Maps*, NeurIPS 2018, arXiv:1810.03292: random weights, and the
#   edge filter as a null.
# - A. Binder and others, *Shortcomings of Top-Down Randomization-Based Sanity Checks*, CVPR 2023, arXiv:2211.12486; G.
#   Yona, D. Greenfeld, *Revisiting Sanity Checks for Saliency Maps*, 2021, arXiv:2110.14297: what such a test does not
#   show.
# - B. Clark and others, *XAI-TRIS*, 2023, arXiv:2306.12816: methods that do not beat edge filters; R. Hesse, S.
#   Schaub-Meyer, S. Roth, *FunnyBirds*, ICCV 2023, arXiv:2308.06248: parts taken away, as here.
# - W. Nie, Y. Zhang, A. Patel, *A Theoretical Explanation for Perplexing Behaviors of Backpropagation-based
#   Visualizations*, ICML 2018, arXiv:1805.07039: why guided backpropagation and DeconvNet recover the image rather
#   than explain the class.
# - A. Shrikumar and others, *Not Just a Black Box*, 2016, arXiv:1605.01713: gradient times input.
