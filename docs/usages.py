"""One usage of each function that can be copied, on torchvision's ResNet-50.

Cells: `# %% [markdown]` is a heading of the page *Snippets*, `# %% NAME` a usage of that function.
The first cell of code comes before all others. tests/tools/site/test_usages.py runs each cell
with the text of `snippet(NAME)` alone, on random weights and small images. A shape behind a `#` is
checked too: N images of H × W pixels.
"""

# ruff: noqa: E402, F821 -- the functions come from the snippets; cells import what they need

# %% before
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.transforms import Normalize

weights = ResNet50_Weights.DEFAULT  # downloads 100 MB at the first call
model = resnet50(weights=weights).eval()
transform = weights.transforms()
photos = [Image.open(name).convert("RGB") for name in ("dog.jpg", "cat.jpg")]
images = torch.stack([transform(photo) for photo in photos])  # (N, 3, H, W)
targets = model(images).argmax(1)  # (N)

# Attacks and defences work on pixels in [0, 1]: here, the normalisation is part of the model.
mean, std = transform.mean, transform.std
pixels = images * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
pixels = pixels.clamp(0, 1)  # (N, 3, H, W)
pixel_model = torch.nn.Sequential(Normalize(mean, std), model).eval()


def my_method(model, images, targets):
    """Any explainer of yours; here, the plain gradient."""
    x = images.clone().requires_grad_()
    chosen = model(x).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(chosen, x)[0]


relevance = my_method(model, images, targets)  # (N, 3, H, W)

# %% [markdown]
# ## ReLU

# %% gradient
relevance = gradient(model, images, targets)  # (N, 3, H, W)

# %% gradient_times_input
relevance = gradient_times_input(model, images, targets)  # (N, 3, H, W)

# %% smooth_grad
relevance = smooth_grad(model, images, targets, noise=0.15, samples=4)  # (N, 3, H, W)

# %% guided_backprop
relevance = guided_backprop(model, images, targets)  # (N, 3, H, W)

# %% deconvnet
relevance = deconvnet(model, images, targets)  # (N, 3, H, W)

# %% relu_rule
with relu_rule(lambda x, grad: grad * (x > 0) * (grad > 0)) as seen:  # guided backpropagation
    relevance = my_method(model, images, targets)
print(f"{len(seen)} ReLUs followed the rule")

# %% grad_cam
relevance = grad_cam(model, images, targets)  # (N, 1, H, W)
earlier = grad_cam(model, images, targets, layer="layer3")  # (N, 1, H, W)

# %% grad_cam_plus_plus
relevance = grad_cam_plus_plus(model, images, targets)  # (N, 1, H, W)

# %% hires_cam
relevance = hires_cam(model, images, targets)  # (N, 1, H, W)

# %% layer_cam
relevance = layer_cam(model, images, targets)  # (N, 1, H, W)
earlier = layer_cam(model, images, targets, layer="layer2")  # (N, 1, H, W)

# %% default_layer
name = default_layer(model, images)  # "layer4"

# %% full_grad
relevance = full_grad(model, images, targets)  # (N, 1, H, W)
total = relevance.sum((1, 2, 3))  # (N)
# total is the logit

# %% local_linear
parts = local_linear(model, images, targets)
logit = parts.from_input + sum(parts.biases.values())  # (N)

# %% relu_masks
is_open = relu_masks(model, images)
shares = {name: each.float().mean().item() for name, each in is_open.items()}

# %% capture_relu_masks
with capture_relu_masks(model) as seen, torch.no_grad():
    model(images)
shares = {name: passes[0].float().mean().item() for name, passes in seen.items()}

# %% dead_relus
dead = dead_relus(model, images)
counts = {name: int(each.sum()) for name, each in dead.items()}

# %% mask_agreement
opened = {"layer1": torch.rand(2, 8, 4, 4) > 0.5}  # as `relu_masks` returns them
in_common = mask_agreement(opened)["layer1"]  # (N, N)

# %% activations
layers = activations(model, images, ["layer1", "layer4"])
maps = layers["layer4"]  # (N, 2048, h, w)

# %% unit_report
bright = (pixels.mean(1, keepdim=True) > 0.5).float()  # (N, 1, H, W)
report = unit_report(model, images, bright, "layer1", permutations=10, top=2)
best = report.iou.max(0).indices  # the channel that fits each mask best

# %% feature_visualization
of_input = {"mean": transform.mean, "std": transform.std}  # what the network takes
best = feature_visualization(model, [207, 281], size=(64, 64), steps=2, **of_input)
two_channels = feature_visualization(model, [0, 1], layer="layer2", steps=2, **of_input)

# %% [markdown]
# ## Fully connected layer

# %% logit_contributions
parts = logit_contributions(model, images, targets)
logit = parts.contributions.sum(1) + parts.biases  # (N)

# %% class_activation_map
relevance = class_activation_map(model, images, targets)  # (N, 1, H, W)

# %% contrast
runner_up = contrast(model, images, targets)  # (N, 1, H, W)
against_243 = contrast(model, images, targets, others=243)  # (N, 1, H, W)

# %% score_cam
relevance = score_cam(model, images, targets, layer="layer1")  # (N, 1, H, W)

# %% class_similarity
similarity = class_similarity(model, images)  # (1000, 1000)

# %% embed
features = embed(model, images)  # (N, 2048)

# %% nearest_examples
examples = torch.cat([images, images.flip(3), images.flip(2)])  # images whose class you know
nearest = nearest_examples(model, images, examples, count=2)
distance = nearest.distance  # (N, 2)

# %% layer_features
features = layer_features(model, images, "layer3")  # (N, 1024)

# %% concept_vector
pairs = torch.cat([images, images.flip(3)])
grey = pairs.mean(1, keepdim=True).expand_as(pairs)  # the same images without colour
colour = concept_vector(model, pairs, grey, "layer3", folds=2)
direction = colour.direction  # (1024)

# %% tcav
pairs = torch.cat([images, images.flip(3)])
grey = pairs.mean(1, keepdim=True).expand_as(pairs)  # the same images without colour
use = tcav(model, images, targets, {"colour": (pairs, grey)}, "layer3", draws=100)["colour"]
print(f"slope {use.slope:+.2f} logits, p = {use.p:.2f}")

# %% fit_representer
examples = torch.cat([images, images.flip(3)])  # the training images
fit = fit_representer(model, examples)
alphas = fit.alphas  # (4, 1000)

# %% representer_points
from types import SimpleNamespace

features, weight = torch.rand(4, 2049).double(), torch.rand(1000, 2049).double()
fit = SimpleNamespace(  # as `fit_representer` returns it for four training images
    features=features, weight=weight, alphas=torch.rand(4, 1000).double()
)
points = representer_points(fit, model, images, targets)
added = points.contributions  # (N, 4)

# %% refit_last_layer
features, labels = torch.rand(20, 8), torch.eye(2).repeat(10, 1)
weight, gradient_norm = refit_last_layer(features, labels)
weights = weight  # (2, 8)

# %% [markdown]
# ## Residual networks

# %% block_contributions
parts = block_contributions(model, images, targets)
logit = parts.stem + parts.blocks.sum(1) + parts.biases  # (N)
blocks = parts.blocks  # (N, 16)

# %% block_map
last = block_map(model, images, targets)  # (N, 1, H, W)
fourth = block_map(model, images, targets, block=3)  # (N, 1, H, W)

# %% logit_lens
lens = logit_lens(model, images)  # (N, 17, 1000)

# %% decision_block
lens = torch.rand(2, 17, 1000)  # as `logit_lens` returns it
after_block = decision_block(lens)  # (N)

# %% ablate_blocks
without_one = ablate_blocks(model, images, blocks=5)  # (N, 1000)
without_three = ablate_blocks(model, images, blocks=[5, 6, 7])  # (N, 1000)

# %% forward_without
shorter = forward_without(model, images, numbers=[5, 6])  # (N, 1000)

# %% path_contributions
parts = path_contributions(model, images, targets)
logit = parts.from_input.sum(1) + parts.biases.sum(1)  # (N)
from_input = parts.from_input  # (N, 17)

# %% path_gradients
gradients = path_gradients(model, images, targets)  # (N, 17, 3, H, W)

# %% [markdown]
# ## Change against expectation

# %% occlusion
relevance = occlusion(model, images, targets, window=32, stride=32)  # (N, 1, H, W)

# %% sliding_windows
rows, columns = sliding_windows(images, window=32, stride=16)

# %% rise
relevance = rise(model, images, targets, masks=20)  # (N, 1, H, W)
sums = rise(model, images, targets, masks=20, output="logit", centred=True)  # (N, 1, H, W)

# %% random_masks
drawn = random_masks((64, 64), masks=5, cells=7, probability=0.5)  # (5, H, W)

# %% lime
relevance = lime(model, images, targets, samples=40)  # (N, 1, H, W)

# %% lime_coefficients
coefficients = lime_coefficients(model, images, targets, samples=40)  # (N, 64)

# %% shapley_values
quarters = torch.arange(images.shape[3]) * 4 // images.shape[3]
columns = quarters.expand(images.shape[2], -1)  # labels (H, W) from 0 to 3
relevance = shapley_values(model, images, targets, segments=columns)  # (N, 1, H, W)

# %% shapley_estimates
quarters = torch.arange(images.shape[3]) * 4 // images.shape[3]
columns = quarters.expand(images.shape[2], -1)  # labels (H, W) from 0 to 3
found = shapley_estimates(model, images, targets, segments=columns)
values = found.values  # (N, 4)


# %% shapley_of_game
def pairs_of_gloves(z):
    """The value of coalitions z: player 0 has a left glove, the two others have right ones."""
    return (z[:, 0] & (z[:, 1] | z[:, 2])).double()


values = shapley_of_game(pairs_of_gloves, 3).values  # (3)

# %% grid_segments
labels = grid_segments(images, rows=4, columns=4)  # (N, H, W)

# %% superpixels
labels = superpixels(images, count=20)  # (N, H, W)

# %% segment_map
labels = torch.arange(images.shape[3]) * 4 // images.shape[3]
columns = labels.expand(images.shape[2], -1)  # labels (H, W) from 0 to 3
relevance = segment_map(torch.rand(2, 4), columns, images)  # (N, 1, H, W)

# %% integrated_gradients
relevance = integrated_gradients(model, images, targets, baseline="blur", steps=8)  # (N, 3, H, W)

# %% expected_gradients
examples = torch.cat([images.flip(3), images.flip(2)])  # images to compare with
relevance = expected_gradients(model, images, targets, baselines=examples, steps=2)  # (N, 3, H, W)

# %% baseline_images
blurred = baseline_images(images, "blur")  # (N, 3, H, W)

# %% deeplift
relevance = deeplift(model, images, targets, baseline="mean")  # (N, 3, H, W)

# %% lrp
relevance = lrp(model, images, targets)  # (N, 3, H, W)
sharper = lrp(model, images, targets, rule="gamma")  # (N, 3, H, W)

# %% [markdown]
# ## Inside the network

# %% capture_layer
with capture_layer(model, "layer2") as seen, torch.no_grad():
    model(images)
maps = seen[-1]  # (N, 512, h, w)

# %% BiasTracer
with BiasTracer(model) as tracer, torch.no_grad():
    model(images)
names = [constant.name for constant in tracer.constants]

# %% upsample_keep_sum
small = torch.rand(2, 1, 7, 7)
large = upsample_keep_sum(small, images.shape[2:])  # (N, 1, H, W)

# %% [markdown]
# ## Null maps: they know nothing of the model

# %% noise_map
null = noise_map(model, images, targets, smooth=4)  # (N, 1, H, W)

# %% constant_map
null = constant_map(model, images, targets)  # (N, 1, H, W)

# %% centre_map
null = centre_map(model, images, targets)  # (N, 1, H, W)

# %% edge_map
null = edge_map(model, images, targets)  # (N, 1, H, W)

# %% null_battery
nulls = null_battery(model, images, my_method, targets)

# %% bright_edge_map
null = bright_edge_map(model, images, targets)  # (N, 1, H, W)

# %% [markdown]
# ## Metrics without ground truth

# %% relevance_maps
maps = relevance_maps(model, my_method, images, targets, batch_size=1)  # (N, 3, H, W)

# %% map_similarity
alike = map_similarity(relevance, relevance.flip(3), absolute=True)  # (N)

# %% method_agreement
maps = {"mine": relevance, "mirrored": relevance.flip(3)}
agreement = method_agreement(maps)  # (N, 2, 2)

# %% pointing_game
object_masks = torch.zeros(2, 1, *images.shape[2:])
object_masks[..., 16:48, 16:48] = 1  # where the object is
hits = pointing_game(model, my_method, images, object_masks, targets)  # (N)

# %% relevance_mass
object_masks = torch.zeros(2, 1, *images.shape[2:])
object_masks[..., 16:48, 16:48] = 1  # where the object is
inside = relevance_mass(model, my_method, images, object_masks, targets)  # (N)

# %% mosaics
pairs = mosaics(images, grid=(1, 2))

# %% grid_pointing_game
shares = grid_pointing_game(model, my_method, images, targets, grid=(1, 2))  # (N)

# %% deletion
area = deletion(model, my_method, images, targets, fill="blur", steps=4)  # (N)

# %% deletion_curve
curve = deletion_curve(model, my_method, images, targets, fill="blur", steps=4)  # (N, 5)

# %% insertion
area = insertion(model, my_method, images, targets, fill="blur", steps=4)  # (N)

# %% insertion_curve
curve = insertion_curve(model, my_method, images, targets, fill="blur", steps=4)  # (N, 5)

# %% deletion_and_insertion
low, high = deletion_and_insertion(model, my_method, images, targets, fill="blur", steps=4)

# %% infidelity
error = infidelity(model, my_method, images, targets, samples=4)  # (N)
squares = {"perturbation": "squares", "unit": "slope"}  # "sum" for maps that hold the input
error = infidelity(model, my_method, images, targets, samples=4, **squares)  # (N)

# %% sensitivity_max
change = sensitivity_max(model, my_method, images, targets, samples=2)  # (N)

# %% layer_order
names = layer_order(model, images)  # "fc" first

# %% cascading_randomisation
for name, _copy in cascading_randomisation(model, images):
    if name == "layer4.2.conv3":
        break  # in `_copy`, this layer and all after it are random

# %% reinitialised
untrained_model = reinitialised(model, images)  # random weights, activations of usual size

# %% randomisation
alike = randomisation(model, my_method, images, targets, layers=["fc", "layer4"])  # (N, 2)

# %% randomisation_null
alike = randomisation_null(model, my_method, images, targets)  # (N)

# %% [markdown]
# ## Scores against ground truth

# %% spearman_with_truth
relevance = torch.tensor([[3.0, 1.0, 0.5], [0.1, 0.2, 0.3]])  # of three parts
effects = torch.tensor([[2.0, 1.5, 0.0], [1.0, 0.5, 0.0]])  # the true effect of each
agreement = spearman_with_truth(relevance, effects)  # (N)

# %% pearson_with_truth
relevance = torch.tensor([[3.0, 1.0, 0.5], [0.1, 0.2, 0.3]])  # of three parts
effects = torch.tensor([[2.0, 1.5, 0.0], [1.0, 0.5, 0.0]])  # the true effect of each
agreement = pearson_with_truth(relevance, effects)  # (N)

# %% top1_agreement
relevance = torch.tensor([[3.0, 1.0, 0.5], [0.1, 0.2, 0.3]])  # of three parts
effects = torch.tensor([[2.0, 1.5, 0.0], [1.0, 0.5, 0.0]])  # the true effect of each
agreement = top1_agreement(relevance, effects)  # (N)

# %% sign_agreement
relevance = torch.tensor([[3.0, 1.0, -0.5], [0.1, 0.2, 0.3]])  # of three parts
effects = torch.tensor([[2.0, 1.5, -1.0], [1.0, 0.5, -1.0]])  # the true effect of each
agreement = sign_agreement(relevance, effects)  # (N)

# %% magnitude_agreement
relevance = torch.tensor([[3.0, 1.0, 0.5], [0.1, 0.2, 0.3]])  # of three parts, in logits
effects = torch.tensor([[2.0, 1.5, 0.0], [1.0, 0.5, 0.0]])  # the true effect of each
agreement = magnitude_agreement(relevance, effects)  # (N)

# %% skill_score
scores, edges = torch.tensor([0.6, 0.7]), torch.tensor([0.5, 0.3])
scaled = skill_score(scores, {"edges": edges})  # (N)

# %% detected_at_fpr
clean, suspicious = torch.linspace(0, 1, 100), torch.tensor([0.5, 1.5])
alarms = detected_at_fpr(suspicious, clean, false_alarms=0.05)  # (N)

# %% mean_interval
mean_score, low, high = mean_interval([0.6, 0.7, 0.4, 0.9])
mean_score, low, high = mean_interval([1.0, 1.0, 1.0], bounds=(0, 1))  # from 0.29 to 1

# %% wilson_interval
share, low, high = wilson_interval(hits=99, trials=100)

# %% [markdown]
# ## Attacks

# %% fgsm
attacked = fgsm(pixel_model, pixels, targets, epsilon=4 / 255)  # (N, 3, H, W)

# %% pgd
attacked = pgd(pixel_model, pixels, targets, epsilon=4 / 255, steps=4)  # (N, 3, H, W)

# %% random_perturbation
noisy = random_perturbation(pixels, epsilon=4 / 255)  # (N, 3, H, W)

# %% learn_patch
corner = torch.zeros(1, 1, *pixels.shape[2:])
corner[..., :16, :16] = 1
options = {"steps": 4, "batch_size": 2, "targeted": True}  # a good patch takes hundreds of steps
patch = learn_patch(pixel_model, pixels, 859, mask=corner, **options)  # 859: toaster

# %% apply_patch
corner = torch.zeros(1, 1, *pixels.shape[2:])
corner[..., :16, :16] = 1
patched = apply_patch(pixels, torch.rand_like(pixels[0]), corner)  # (N, 3, H, W)

# %% is_correct
correct = is_correct(pixel_model, pixels, targets)  # (N)

# %% gradient_masking_checks
checks = gradient_masking_checks(pixel_model, pixels, targets, epsilon=4 / 255, steps=2)
shares = {attack: right.mean().item() for attack, right in checks.items()}

# %% NormalisingModel
logits = NormalisingModel(model)(pixels)  # (N, 1000)

# %% manipulate_map
corner = torch.zeros(1, 1, *pixels.shape[2:])
corner[..., :16, :16] = 1
forged = manipulate_map(pixel_model, pixels, corner, targets, steps=2)  # (N, 3, H, W)

# %% softplus_relus
with softplus_relus(beta=10):
    relevance = my_method(model, images, targets)  # (N, 3, H, W)

# %% top_overlap
overlap = top_overlap(relevance, relevance.flip(3), share=0.1)  # (N)

# %% [markdown]
# ## Defences

# %% blur
defended = blur(pixels, sigma=0.5)  # (N, 3, H, W)

# %% bit_depth
defended = bit_depth(pixels, bits=3)  # (N, 3, H, W)

# %% jpeg
defended = jpeg(pixels, quality=75)  # (N, 3, H, W)

# %% smooth_jpeg
defended = smooth_jpeg(pixels, quality=75)  # (N, 3, H, W)

# %% random_resize
defended = random_resize(pixels, smallest=0.9)  # (N, 3, H, W)

# %% straight_through
rounded = straight_through(lambda x: (x * 8).round() / 8)
defended = rounded(pixels)  # (N, 3, H, W)

# %% DefendedModel
rounded = DefendedModel(model, lambda x: (x * 8).round() / 8)
logits = rounded(images)  # (N, 1000)

# %% noisy_votes
votes = noisy_votes(pixel_model, pixels, sigma=0.25, samples=8)  # (N, 1000)

# %% smooth_prediction
classes = smooth_prediction(pixel_model, pixels, sigma=0.25, samples=8)  # (N)

# %% certify
classes, radius = certify(pixel_model, pixels, sigma=0.25, first=4, samples=12)

# %% clopper_pearson_lower
at_least = clopper_pearson_lower(hits=990, trials=1000)

# %% [markdown]
# ## Images out of distribution

# %% max_softmax_uncertainty
score = max_softmax_uncertainty(model, images)  # (N)

# %% knn_distance
examples = torch.cat([images.flip(3), images.flip(2)])  # images of the training set
score = knn_distance(model, images, examples)  # (N)

# %% mahalanobis_distance
examples = torch.cat([images.flip(3), images.flip(2)])  # images of the training set
score = mahalanobis_distance(model, images, examples, torch.tensor([0, 1, 0, 1]))  # (N)

# %% auroc_placements
strange, known = torch.tensor([0.9, 0.4]), torch.tensor([0.1, 0.5, 0.3])
stranger = auroc_placements(strange, known)  # (N)

# %% load_untrusted_image
photo = load_untrusted_image("dog.jpg", most_bytes=10_000_000)

# %% [markdown]
# ## Cost

# %% count_passes
forward, backward = count_passes(model, lambda: my_method(model, images, targets))

# %% relative_l2_error
distance = relative_l2_error(relevance, relevance + 0.1)  # (N)

# %% convergence
torch.manual_seed(0)
noisy = {n: relevance + torch.randn_like(relevance) / n for n in (4, 16, 64)}
far, alike = convergence(noisy.get, [4, 16, 64])
