"""The field guide: what stands on it."""

import pytest

from xai_course.beetlebox import SPECIES, field_guide, species_name


def test_the_guide_shows_each_species_with_its_name_and_traits():
    fig = field_guide(size=32)
    assert [ax.get_title() for ax in fig.axes] == [species_name(name) for name in SPECIES]
    for ax, traits in zip(fig.axes, SPECIES.values(), strict=True):
        assert ax.images[0].get_array().shape[:2] == (32, 32)
        words = " ".join(text.get_text() for text in (*ax.texts, ax.xaxis.label))
        assert traits.pattern in words
        assert traits.antennae in words


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="size"):
        field_guide(size=8)
