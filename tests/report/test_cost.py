"""What a report will cost: the passes are counted; the seconds are arithmetic."""

import pytest
import torch
from own_network import CLASSES, network, photos, transform
from stock_networks import pictures, tiny
from torch import nn

from xai_course.methods import choose_methods, report_methods
from xai_course.metrics import count_passes
from xai_course.report import collect, wrap_model
from xai_course.report.cost import (
    Copies,
    duration_words,
    expected_passes,
    expected_seconds,
    pass_seconds,
    quick_copy,
)


@pytest.mark.parametrize("names", [None, ["gradient", "SmoothGrad"], ["occlusion"]])
def test_the_passes_ahead_are_those_that_are_made(tmp_path, names):
    """Of images that are added, so that the checks are on file."""
    own = wrap_model(network(), transform, CLASSES)
    size = (32, 32)
    methods = report_methods(size) if names is None else choose_methods(names, size)
    folder, more = tmp_path / "in", 12
    folder.mkdir()
    every = photos(2 + more)
    for k, picture in enumerate(every[:2]):
        picture.save(folder / f"{k}.png")
    first = collect(own, folder, tmp_path / "out", methods=methods, progress=False)
    for k, picture in enumerate(every[2:]):
        picture.save(folder / f"added {k}.png")

    def the_others():
        collect(own, folder, tmp_path / "out", methods=methods, progress=False)

    made = count_passes(own.model, the_others)
    ahead = expected_passes(first.checks, nulls=2, fills=2, images=more)
    for one, other in zip(made, ahead, strict=True):
        assert one == pytest.approx(other, rel=0.1)


def test_the_expected_time_is_said_before_and_only_if_there_is_work(tmp_path, capsys):
    own = wrap_model(network(), transform, CLASSES)
    folder = tmp_path / "in"
    folder.mkdir()
    photos(1)[0].save(folder / "a.png")
    methods = choose_methods(["gradient"], (32, 32))
    collect(own, folder, tmp_path / "out", methods=methods)
    said = capsys.readouterr()
    assert "Expected: about a second for 1 image (11 passes forward, 2 back)." in said.err
    assert said.out == ""
    collect(own, folder, tmp_path / "out", methods=methods)
    assert "Expected" not in capsys.readouterr().err


def test_passes_and_seconds_by_hand():
    cost = {"a": [1, 1, 0.5], "b": [65, 0, 8.0]}
    checks = {"cost": cost, "random": "", "pass": [0.125, 0.5]}
    # the image itself, both methods twice, two null maps, four maps covered with two fillings
    assert expected_passes(checks, 2, 2, 10) == (10 * (1 + 2 * 66 + 2 + 8), 10 * 2)
    # a pass forward takes twice as long as then, one forward and back as long
    each = 11 * 0.25 + 2 * 0.5 + 2 * 2 * 8.0
    assert expected_seconds(checks, 2, 2, 10, [0.25, 0.5]) == pytest.approx(10 * each)
    checks["random"] = "no weights"  # then each map is made once
    assert expected_passes(checks, 2, 2, 10) == (10 * (1 + 66 + 2 + 8), 10)
    assert duration_words(89) == "90 seconds"
    assert duration_words(95) == "2 minutes"


def test_a_network_that_cannot_be_copied_is_taken_itself():
    model, images = network(), torch.rand(3, 3, 32, 32)
    quick = quick_copy(model, images)
    assert quick is not model
    assert quick.folded == ["1"]
    assert torch.allclose(quick(images), model(images), atol=1e-5)

    class Alone(nn.Module):
        def __deepcopy__(self, _memo):
            raise RuntimeError("there is only one")

        def forward(self, x):
            return x.flatten(1).detach()

    alone = Alone().eval()
    assert quick_copy(alone, images) is alone
    forward, both = pass_seconds(alone, images)  # it has no derivative
    assert forward == both > 0
    forward, both = pass_seconds(tiny(), pictures(2, 16))
    assert forward > 0
    assert both > 0


def test_copies_are_made_once_for_the_same_images():
    model, images = network(), torch.rand(3, 3, 32, 32)
    copies = Copies(model)
    quick, untrained = copies.quick(images), copies.untrained(images)
    assert copies.quick(images.clone()) is quick
    assert copies.untrained(images.clone()) is untrained
    assert torch.allclose(quick(images), model(images), atol=1e-5)
    assert not torch.allclose(untrained(images), model(images), atol=1e-5)
    assert copies.untrained(images[:2]) is not untrained  # its statistics are those of the images
    with pytest.raises(ValueError, match=r"^model: got "):
        Copies(nn.Flatten()).untrained(images)
