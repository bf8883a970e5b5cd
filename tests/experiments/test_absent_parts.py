"""What is still possible without a part, and what a network answers then."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xai_course.beetlebox import BODY_PARTS, SPECIES, scenes
from xai_course.experiments import answers_without_a_part, network_of, possible_species


@pytest.mark.parametrize(
    ("species", "removed", "possible"),
    [
        # Twins that differ in one trait alone, as the table of species says.
        ("Ellipsa_furcata", ["antennae"], ["Ellipsa_furcata", "Ellipsa_longicornis"]),
        ("Ellipsa_longicornis", ["horn"], ["Ellipsa_longicornis", "Ellipsa_polita"]),
        ("Tenuella_guttata", ["pattern"], ["Tenuella_guttata", "Tenuella_lineata"]),
        # The wing cases show the outline and carry the pattern.
        ("Ellipsa_monoceros", ["elytra"], ["Ellipsa_monoceros", "Tenuella_unicornis"]),
        (
            "Tenuella_guttata",
            ["elytra"],
            ["Globaria_cincta", "Tenuella_guttata", "Tenuella_lineata"],
        ),
        ("Globaria_maculata", ["head", "legs", "label"], ["Globaria_maculata"]),
        ("Globaria_cincta", ["elytra", "pattern", "horn", "antennae"], list(SPECIES)),
        ("Ellipsa_polita", [], ["Ellipsa_polita"]),
    ],
)
def test_species_that_share_every_trait_that_is_left(species, removed, possible):
    assert possible_species(species, removed) == possible


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(list(SPECIES)), st.sets(st.sampled_from(BODY_PARTS)), st.data())
def test_with_less_to_see_no_species_becomes_impossible(species, removed, data):
    fewer = data.draw(st.sets(st.sampled_from(sorted(removed)))) if removed else set()
    assert species in possible_species(species, fewer)
    assert set(possible_species(species, fewer)) <= set(possible_species(species, removed))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: possible_species("Ellipsa_magna"), "^species: got "),
        (lambda: possible_species("Ellipsa_polita", ["wing"]), "^removed: got "),
        (lambda: answers_without_a_part(nn.Identity(), []), "^scenes: got none"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class Always(nn.Module):
    """Answers one species, with the logit 2, and 0 for all others."""

    def __init__(self, species):
        super().__init__()
        self.number = list(SPECIES).index(species)

    def forward(self, images):
        logits = images.new_zeros(len(images), len(SPECIES))
        logits[:, self.number] = 2.0
        return logits


def test_answers_counted_by_hand():
    both = [*scenes("test", "Ellipsa_furcata", 2), *scenes("test", "Ellipsa_longicornis", 1)]
    found = answers_without_a_part(Always("Ellipsa_furcata"), both, size=32)
    assert list(found) == ["nothing", "elytra", "head", "horn", "antennae", "legs"]  # plain ones
    top, other = (torch.tensor([2.0] + [0.0] * 9).softmax(0)[k].item() for k in (0, 1))
    whole = found["nothing"]
    assert whole["scenes"] == 3
    assert whole["accuracy"] == whole["possible"] == pytest.approx(2 / 3)
    assert whole["confidence"] == pytest.approx(top)
    assert whole["probability"] == pytest.approx((2 * top + other) / 3)
    # Without antennae the two species cannot be told apart.
    assert found["antennae"]["accuracy"] == pytest.approx(2 / 3)
    assert found["antennae"]["possible"] == 1
    assert found["horn"]["possible"] == pytest.approx(2 / 3)  # their antennae still differ


def test_taking_a_part_away_is_nothing_new_to_the_network_trained_so():
    """Its answer stays possible more often than that of the ordinary network."""
    some = [scene for name in SPECIES for scene in scenes("test", name, 3)]
    found = {
        name: answers_without_a_part(network_of(name), some, parts=("elytra", "antennae"))
        for name in ("beetle_net", "beetle_net_absent")
    }
    ordinary, absent = found["beetle_net"], found["beetle_net_absent"]
    assert absent["nothing"]["accuracy"] > 0.9
    for part in ("elytra", "antennae"):
        assert absent[part]["possible"] > ordinary[part]["possible"]
        assert absent[part]["possible"] > 0.8
