"""Wrapped networks: functions that only predict, normalisation, defences, Keras models."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from stock_networks import error, pictures, tiny

from xai_course.core import relevance_maps
from xai_course.data import normalise
from xai_course.fully_connected import class_activation_map
from xai_course.methods import report_null_maps
from xai_course.metrics import deletion
from xai_course.models import ChannelsLast, DefendedModel, NormalisingModel, Predictions
from xai_course.relu import grad_cam, gradient, guided_backprop
from xai_course.report import applicable_methods, check_assumptions, load_model, wrap_model
from xai_course.residual import deeplift, occlusion

# ---- functions that only predict -----------------------------------------------------------------


@pytest.fixture(scope="module")
def predict():
    """A function from another library: arrays in, lists out."""
    model = tiny()

    def answer(images):
        return model(torch.from_numpy(np.asarray(images))).detach().numpy().tolist()

    return answer


def test_occlusion_of_a_function_is_that_of_its_model(predict):
    images, model = pictures(3, 16), tiny()
    wanted = occlusion(model, images, window=4, stride=2)
    assert error(occlusion(Predictions(predict), images, window=4, stride=2), wanted) < 1e-12
    maps = relevance_maps(Predictions(predict), occlusion, images, torch.tensor([0, 1, 2]))
    assert error(maps, occlusion(model, images, [0, 1, 2])) < 1e-12


def test_measures_and_nulls_of_a_function_are_those_of_its_model(predict):
    images, model = pictures(3, 16), tiny()
    maps = gradient(model, images)
    wanted = deletion(model, maps, images)
    assert torch.allclose(deletion(Predictions(predict), maps, images), wanted, atol=1e-12)
    for null in report_null_maps().values():
        assert torch.equal(null(Predictions(predict), images), null(model, images))


def test_methods_that_need_a_derivative_refuse_a_function(predict):
    refusals = applicable_methods(Predictions(predict), pictures(2, 16))
    assert [name for name, reason in refusals.items() if not reason] == ["occlusion"]
    assert "derivative" in refusals["gradient"]
    with pytest.raises(ValueError, match=r"^predict: got int"):
        Predictions(3)


# ---- normalisation and defences ------------------------------------------------------------------


def test_a_normalising_model_takes_pixels():
    model, pixels = tiny(), (0.5 + 0.2 * pictures(3, 16)).clamp(0, 1)
    assert torch.equal(NormalisingModel(model)(pixels), model(normalise(pixels)))
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    wrapped = NormalisingModel(model, mean, std)
    assert torch.equal(wrapped(pixels), model(normalise(pixels, mean, std)))
    assert not wrapped.training
    assert NormalisingModel(tiny().train()).training
    with pytest.raises(ValueError, match=r"^pixels: got shape"):
        NormalisingModel(model, mean=[0.5], std=[0.5])(pixels)


def test_a_defended_model_changes_the_pixels_and_takes_normalised_images():
    model, pixels = tiny(), (0.5 + 0.2 * pictures(3, 16)).clamp(0, 1)
    for statistics in ((), ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])):
        images = normalise(pixels, *statistics)
        defended = DefendedModel(model, torch.square, *statistics)
        expected = model(normalise(pixels.square(), *statistics))
        assert torch.allclose(defended(images), expected, atol=1e-12)
    assert not defended.training


# ---- Keras ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    os.environ["KERAS_BACKEND"] = "torch"
    library = pytest.importorskip("keras")
    if library.backend.backend() != "torch":
        pytest.skip("keras runs on another backend here")
    return library


def build(keras, layout, head=None):
    """A small Keras network in one of the two layouts."""
    own = {"data_format": layout}
    layers, last = keras.layers, layout == "channels_last"
    return keras.Sequential(
        [
            keras.Input((16, 16, 3) if last else (3, 16, 16)),
            layers.Conv2D(8, 3, padding="same", **own),
            layers.BatchNormalization(axis=-1 if last else 1),
            layers.ReLU(),
            layers.MaxPooling2D(2, **own),
            layers.Conv2D(6, 3, padding="same", activation="relu", name="maps", **own),
            layers.GlobalAveragePooling2D(**own),
            layers.Dense(4, activation=head),
        ]
    )


@pytest.fixture(scope="module")
def layouts(keras):
    """The same network in both layouts, with random weights and batch statistics."""
    keras.utils.set_random_seed(0)
    last, first = build(keras, "channels_last"), build(keras, "channels_first")
    rng = np.random.default_rng(0)
    weights = [
        np.abs(rng.normal(0, 0.5, w.shape)) + 0.1 if w.ndim == 1 else w for w in last.get_weights()
    ]
    for model in (last, first):
        model.set_weights(weights)
    return [model.eval().requires_grad_(False) for model in (ChannelsLast(last), first)]


def test_a_keras_model_explains_alike_in_both_layouts(layouts):
    last, first = layouts
    images = pictures(3, 16).float()
    with torch.no_grad():
        assert error(last(images), first(images)) < 1e-5
    for explain in (gradient, guided_backprop, occlusion, deeplift):
        assert error(explain(last, images), explain(first, images)) < 1e-4, explain


def test_grad_cam_of_a_keras_layer_by_two_parts(keras, layouts):
    last, first = layouts[0].model, layouts[1]
    maps = last.get_layer("maps").output
    ahead = keras.Model(last.inputs, maps)
    begin = out = keras.Input(maps.shape[1:])
    for layer in last.layers[last.layers.index(last.get_layer("maps")) + 1 :]:
        out = layer(out)
    parts = ChannelsLast(ahead, keras.Model(begin, out)).eval()
    images = pictures(3, 16).float()
    with torch.no_grad():
        assert error(parts(images), first(images)) < 1e-5
    # a pooled head: the map's sum is the logit minus its bias, here of 64 places
    bias = torch.tensor(last.layers[-1].get_weights()[1])
    whole = grad_cam(parts, images, layer="map")
    logits, classes = first(images).detach().max(1)
    assert torch.allclose(64 * whole.mean((1, 2, 3)) + bias[classes], logits, atol=1e-4)


def test_what_holds_for_a_keras_model_and_what_refuses_it(layouts):
    for model in layouts:
        holds = {f.what: f.passed for f in check_assumptions(model, pictures(3, 16).float())}
        assert holds["piecewise linear"]
        assert holds["all activations are ReLUs"]
        assert not holds["a linear head"]  # Keras multiplies matrices, and calls no linear layer
        refusals = applicable_methods(model, pictures(3, 16).float())
        assert not refusals["Grad-CAM"]
        assert "matmul" in refusals["LRP"]
        with pytest.raises(ValueError, match=r"got no linear layer"):
            class_activation_map(model, pictures(1, 16).float())


def test_probabilities_are_noticed(keras):
    model = build(keras, "channels_first", head="softmax").eval()
    holds = {f.what: f for f in check_assumptions(model, pictures(3, 16).float())}
    assert not holds["the output is logits"].passed
    assert "take the softmax or sigmoid" in holds["the output is logits"].why


def test_a_keras_file_is_loaded_and_wrapped(keras, layouts, tmp_path):
    layouts[0].model.save(tmp_path / "last.keras")
    layouts[1].save(tmp_path / "first.keras")
    last, first = (load_model(str(tmp_path / f"{name}.keras")) for name in ("last", "first"))
    assert isinstance(last.model, ChannelsLast)
    assert not isinstance(first.model, ChannelsLast)
    assert last.about["class"] == first.about["class"] == "Sequential"
    assert last.about["input"] == first.about["input"] == [3, 16, 16]
    assert "assumed is resizing to 16 × 16, and pixels from 0 to 1" in last.about["remarks"][0]
    images = pictures(2, 16).float()
    with torch.no_grad():
        assert error(last.model(images), layouts[0](images)) < 1e-6
    with pytest.raises(ValueError, match=r"^source: .*none.keras cannot be loaded"):
        load_model(str(tmp_path / "none.keras"))


def test_a_keras_model_that_rescales_gets_pixels_up_to_255(keras):
    layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    own = wrap_model(keras.Sequential([*layers, keras.layers.Dense(2)]))
    white = own.transform(Image.new("RGB", (20, 20), "white"))
    assert torch.allclose(white, torch.tensor(255.0))
    assert "pixels from 0 to 255" in own.about["remarks"][0]
