"""Targets that are a function of the output: any network of which one number is asked."""

import copy

import pytest
import torch
from stock_networks import Mixed, error, pictures, tiny
from torch import nn
from torchvision.models.detection import retinanet_resnet50_fpn
from torchvision.models.segmentation import fcn_resnet50

from xai_course.core import single_output, validate_inputs
from xai_course.fully_connected import class_activation_map, contrast, logit_contributions, tcav
from xai_course.methods import METHODS
from xai_course.metrics import (
    deletion,
    deletion_and_insertion,
    deletion_curve,
    infidelity,
    null_battery,
    randomisation,
    sensitivity_max,
)
from xai_course.relu import deconvnet, full_grad, grad_cam, gradient, guided_backprop, local_linear
from xai_course.residual import block_contributions, integrated_gradients, lrp, occlusion

# "CAM, contrast" asks for classes. The others take positive gradients alone, or a softmax.
NOT_LINEAR = {"DeconvNet", "guided backpropagation", "Grad-CAM++", "LayerCAM", "Score-CAM"}
LINEAR = sorted(METHODS.keys() - NOT_LINEAR - {"CAM, contrast"})


def difference(logits):
    """One logit minus another."""
    return logits[:, 3] - logits[:, 1]


@pytest.mark.parametrize("name", LINEAR)
def test_a_difference_of_logits_has_the_difference_of_the_maps(name):
    torch.manual_seed(0)
    model, images = Mixed().double().eval(), pictures(3, 16)
    options = {"baselines": pictures(2, 16)} if name == "expected gradients" else {}
    explain = METHODS[name].explainer(**options)
    expected = explain(model, images, 3) - explain(model, images, 1)
    found = explain(model, images, difference)
    assert error(found, expected) < 1e-10
    assert error(explain(model, images[1:2], difference), found[1:2]) < 1e-10


@pytest.mark.parametrize("name", sorted(NOT_LINEAR))
def test_a_method_that_is_not_linear_explains_the_difference_as_one_logit(name):
    torch.manual_seed(0)
    model, images = Mixed().double().eval(), pictures(3, 16)
    with_difference = copy.deepcopy(model)  # its last layer returns the difference itself
    last = nn.Linear(16, 1).double()
    last.weight.data = model.fc2.weight[3:4] - model.fc2.weight[1:2]
    last.bias.data = model.fc2.bias[3:4] - model.fc2.bias[1:2]
    with_difference.fc2 = last.eval()
    explain = METHODS[name].explainer()
    found = explain(model, images, difference)
    assert error(found, explain(with_difference, images, 0)) < 1e-10
    assert error(explain(model, images[1:2], difference), found[1:2]) < 1e-10


class Regression(nn.Module):
    """A network of three numbers, returned in a dictionary."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        return {"pose": self.head(self.features(images).mean((2, 3)))}


def test_an_output_that_is_no_table_is_explained_by_one_of_its_numbers():
    torch.manual_seed(0)
    model, images = Regression().double().eval(), pictures(2, 12)
    layers = nn.Sequential(model.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head).eval()
    for explain in (gradient, guided_backprop, lrp, occlusion, class_activation_map, full_grad):
        found = explain(model, images, lambda out: out["pose"][:, 2])
        assert error(found, explain(layers, images, 2)) < 1e-10
    with pytest.raises(ValueError, match=r"^model: got the output dict"):
        gradient(model, images)


def test_layers_keep_their_names():
    model, images = tiny(), pictures(2, 16)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    for layer in (names[0], model.get_submodule(names[0])):
        found = grad_cam(model, images, difference, layer=layer)
        expected = grad_cam(model, images, 3, layer=layer) - grad_cam(model, images, 1, layer=layer)
        assert error(found, expected) < 1e-10
    assert local_linear(model, images, difference).biases.keys() == (
        local_linear(model, images, 3).biases.keys()
    )
    blocks = [block_contributions(Mixed().double().eval(), images, t) for t in (3, difference)]
    assert blocks[0].names == blocks[1].names
    features = pictures(8, 16)
    rows = tcav(model, images, difference, {"c": (features[:4], features[4:])}, layer=names[0])
    assert rows  # the layer was found


def test_the_sum_of_a_contrast_is_the_difference_of_two_logits():
    model, images = tiny(), pictures(3, 16)
    parts = logit_contributions(model, images, difference)
    assert error(parts.contributions.sum(1) + parts.biases, difference(model(images))) < 1e-10
    maps = integrated_gradients(model, images, difference, baseline=0, steps=600)
    change = difference(model(images)) - difference(model(torch.zeros_like(images)))
    assert error(maps.sum((1, 2, 3)), change) < 1e-3


def test_measures_ask_for_the_same_number():
    model, images = tiny(), pictures(2, 16)
    curve = deletion_curve(model, gradient, images, difference, output="logit", steps=4)
    assert error(curve[:, 0], difference(model(images))) < 1e-10
    as_probability = deletion_curve(model, gradient, images, difference, steps=4)
    assert error(as_probability, curve.sigmoid()) < 1e-10  # one number: yes or no
    for value in (
        deletion(model, occlusion, images, difference),
        infidelity(model, gradient, images, difference),
        sensitivity_max(model, gradient, images, difference, samples=2),
        randomisation(model, gradient, images, difference).flatten(),
    ):
        assert value.isfinite().all()
    nulls = null_battery(model, images, gradient, difference)
    assert "untrained network" in nulls
    assert "another class" not in nulls


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda logits: logits, r"\(2, \d+\) for 2 images"),
        (lambda logits: logits.sum(), r"\(\) for 2 images"),
        (lambda logits: 3.0, "float for 2 images"),
        (lambda logits: None, "NoneType for 2 images"),
        (lambda logits: logits[:, 0].detach().numpy(), "ndarray for 2 images"),
        (lambda logits: logits[:, 0] > 0, "torch.bool"),
        (lambda logits: logits.argmax(1), "torch.int64"),
        (lambda logits: logits[:, 0] + 1j, "torch.complex128"),
        (lambda logits: logits[:, 0] * torch.nan, "NaN or infinite numbers"),
        (lambda logits: logits[:, 0].to_sparse(), "the layout torch.sparse_coo"),
    ],
)
def test_the_function_returns_one_number_for_each_image(function, got):
    with pytest.raises(ValueError, match=f"^targets: got a function that returns {got}; must"):
        gradient(tiny(), pictures(2, 16), function)


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda logits: logits[:, 99], "IndexError"),
        (lambda logits: logits["out"], "TypeError|IndexError"),
        (lambda logits: logits.nothing, "AttributeError"),
        (lambda logits: logits @ torch.ones(3, 99), "RuntimeError"),
        (lambda: 1, "TypeError"),
    ],
)
@pytest.mark.parametrize("explain", [gradient, occlusion, logit_contributions])
def test_a_function_that_stops_is_named(explain, function, got):
    with pytest.raises(ValueError, match=f"^targets: got a function that stops with ({got}): .* a"):
        explain(tiny(), pictures(2, 16), function)


def test_the_models_own_nan_is_blamed_on_the_model():
    model = tiny()
    next(iter(model.parameters())).data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^model: got NaN or infinite logits"):
        gradient(model, pictures(2, 16), difference)


def test_a_function_may_return_another_precision():
    model, images = tiny().float(), pictures(2, 16).float()
    for explain in (gradient, class_activation_map, deconvnet):
        expected = explain(model, images, difference)
        found = explain(model, images, lambda logits: difference(logits.double()))
        assert found.dtype == images.dtype
        assert error(found, expected) < 1e-5


def test_a_model_and_a_function_are_checked_once():
    model, images, sizes = tiny(), pictures(2, 16), []
    maps = gradient(model, images, difference)
    model.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    deletion_and_insertion(model, maps, images, difference, steps=4)
    assert sum(sizes) == 2 * 2 * 4


def test_a_function_that_mixes_images_is_refused():
    for count in (1, 2, 3):
        with pytest.raises(ValueError, match=r"^targets: got a function whose number for one"):
            occlusion(tiny(), pictures(count, 16), lambda y: y[:, 0] - y[:, 0].mean())


def test_a_model_that_mixes_images_is_blamed_itself():
    class Mixing(nn.Module):
        def forward(self, x):
            return {"out": [x.mean((2, 3)) - x.mean()], "names": ["a", "b"]}

    for explain in (gradient, occlusion):
        with pytest.raises(ValueError, match=r"^model: got logits of one image that change"):
            explain(Mixing().eval(), pictures(2, 16), lambda y: y["out"][0][:, 0])


def test_what_asks_for_classes_refuses_a_function():
    with pytest.raises(ValueError, match=r"^targets: got a function, which this method does not"):
        contrast(tiny(), pictures(2, 16), difference)
    with pytest.raises(ValueError, match=r"^targets: got a function, which this method does not"):
        validate_inputs(tiny(), pictures(2, 16), difference)


def test_other_targets_and_models_pass_as_they_came():
    model = tiny()
    assert single_output(model, 3) == (model, 3)
    assert single_output("no model", difference) == ("no model", difference)
    with pytest.raises(ValueError, match=r"^model: got str"):
        gradient("no model", pictures(1, 16), difference)
    model.train()
    with pytest.raises(ValueError, match=r"^model: got training mode"):
        gradient(model, pictures(1, 16), difference)


def test_a_region_of_a_segmentation_and_the_best_box_of_a_detector():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64)
    segmentation = fcn_resnet50(weights=None, weights_backbone=None, num_classes=4).eval()

    def region(out):
        """The mean logit of class 1 over the upper left quarter."""
        return out["out"][:, 1, :32, :32].mean((1, 2))

    detector = retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, score_thresh=0.0
    ).eval()

    def best_box(boxes):
        """The logit of the best box."""
        return torch.stack([some["scores"].max() for some in boxes]).logit()

    for model, asked, layer in (
        (segmentation, region, "backbone.layer4"),
        (detector, best_box, "backbone.body.layer4"),
    ):
        for explain in (gradient, occlusion):
            relevance = explain(model, images, asked, **WINDOWS.get(explain, {}))
            assert relevance.isfinite().all()
            assert relevance.abs().max() > 0
        assert grad_cam(model, images, asked, layer=layer).shape == (2, 1, 64, 64)


WINDOWS = {occlusion: {"window": 32, "stride": 32}}
