"""The photographs inside scikit-image, and a network's input turned back into an image."""

from types import SimpleNamespace

import pytest
import torch

from xai_course.data import PHOTOGRAPHS, photograph, to_pixels


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_photograph_is_there_in_colour(name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it went online"))
    image = photograph(name)
    assert image.mode == "RGB"
    assert min(image.size) >= 300


def test_an_unknown_photograph_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"^name: got 'lena'; must be one of astronaut, .*coffee"):
        photograph("lena")


@pytest.mark.parametrize("shape", [(3, 1, 2), (4, 3, 1, 2), (2, 4, 3, 1, 2)])
def test_to_pixels_undoes_a_normalisation_and_clips(shape):
    transform = SimpleNamespace(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    inputs = torch.tensor([[0.5, -3.0], [1.0, -1.0], [0.25, 0.75]]).view(3, 1, 2).expand(shape)
    expected = torch.tensor([[0.75, 0.0], [0.5, 0.0], [0.5, 1.0]]).view(3, 1, 2).expand(shape)
    assert torch.equal(to_pixels(inputs, transform), expected)
