"""Sentences follow from the numbers, and the numbers from the results."""

import pytest
import torch
from own_network import CLASSES, network, photo_folder, transform

from xai_course.metrics import method_agreement
from xai_course.relu import grad_cam, gradient
from xai_course.report import (
    Summary,
    collect,
    conclude,
    occlusion_results,
    open_results,
    randomisation_results,
    summarise,
    wrap_model,
)

METHODS = {"gradient": gradient, "Grad-CAM": grad_cam}


def numbers(n=12, lead=True, keeps=False, truths=None, stays=()):
    """Numbers of two methods and two nulls, of which A is ahead where `lead`.

    The maps of A stay on all images where `keeps`, those of B on the images `stays`.
    """
    agreement = torch.eye(4, dtype=torch.double).expand(n, 4, 4).clone()
    agreement[:, 0, 1] = agreement[:, 1, 0] = 0.1
    agreement[:, 2, 1] = agreement[:, 1, 2] = 0.5
    agreement[: n // 4, 2, 1] = agreement[: n // 4, 1, 2] = 0.0
    similarity = torch.full((n, 4), torch.nan, dtype=torch.double)
    similarity[:, :2] = torch.tensor([0.9 if keeps else 0.0, 0.0])
    similarity[list(stays), 1] = 0.9
    drops = torch.zeros(n, 4, 2)
    drops[:, 0] = 3.0 if lead else 0.0
    drops[:, 2, 0] = drops[:, 3, 1] = 1.0
    drops[:, 1, 0] = 2.0  # ahead with one filling alone
    return Summary(
        ["A", "B", "null: edges", "null: centre"],
        agreement,
        similarity,
        torch.full((n, 4), 0.2, dtype=torch.double),
        drops,
        torch.linspace(0.3, 0.95, n),
        ["cat"] * n,
        truths or [None] * n,
    )


def test_sentences_follow_from_the_numbers():
    found = conclude(numbers())
    assert found["Do the methods agree?"][-1] == (
        "For example: on 9 of 12, A and B agree less than the edge detector and B do."
    )
    assert found["The answers"][0].endswith("surer than 90 % on 1, and less sure than 50 % on 4.")
    assert found["What may be said"][1].startswith("Of A: on images like these")
    assert [row[2] for row in occlusion_results(numbers())] == [True, False]
    assert [row[-1] for row in randomisation_results(numbers())] == [False, False]
    truths = ["cat"] * 10 + ["dog"] * 2
    assert "right on 10" in conclude(numbers(truths=truths))["The answers"][1]


def test_a_method_that_keeps_its_map_is_not_recommended():
    found = conclude(numbers(keeps=True))
    assert found["Does a map depend on what was learnt?"][0].startswith(
        "A: the maps stay more alike"
    )
    assert found["What may be said"][1].startswith("Of no method")
    assert conclude(numbers(lead=False))["What may be said"][1].startswith("Of no method")


def test_what_is_suspect_is_named_and_what_could_tell():
    heading = "Does a map depend on what was learnt?"
    assert len(conclude(numbers(8, stays=range(4)))[heading]) == 1  # half of them is no suspicion
    assert conclude(numbers(8, stays=range(6)))[heading][1] == (
        "Suspect, and not cleared, since the maps stay more alike on most images: B on 6 of 8 "
        "(14 % by chance). Clear would be all of 8."
    )
    told = conclude(numbers(5, stays=range(5), keeps=True))[heading]
    assert told[0].startswith("No method's maps stay")
    assert "A on 5 of 5 (3.1 % by chance), B on 5 of 5" in told[1]
    assert told[1].endswith("It takes 6 images or more to tell.")
    assert "B" not in conclude(numbers(12, stays=range(12)))[heading][1:]
    said = conclude(numbers(12, lead=False))["What may be said"][1]
    assert said.endswith("with both fillings. Clear would be 10 of 12.")


def test_with_few_images_nothing_is_concluded_of_the_methods():
    found = conclude(numbers(5))
    assert found["What may be said"][1] == (
        "Of the methods nothing: with 5 images even a method that is ahead on all of them could be "
        "so by chance. 6 images or more could tell."
    )
    assert "Of A" in conclude(numbers(6))["What may be said"][1]
    assert "takes two images" in conclude(numbers(1))["Does a map depend on what was learnt?"][0]


def test_numbers_come_from_the_results(tmp_path):
    photos = photo_folder(tmp_path)
    own = wrap_model(network(), transform, CLASSES)
    collected = collect(own, photos, tmp_path / "out", methods=METHODS, progress=False)
    results = list(open_results(collected))
    found = summarise(iter(results), collected.names, CLASSES)
    tiles = torch.stack([result.tiles for result in results]).view(3, 4, 1, 8, 8)
    wanted = method_agreement(dict(zip("abcd", tiles.unbind(1), strict=True)))
    assert torch.allclose(found.agreement, wanted)
    pair = method_agreement({"a": tiles[:1, 0], "b": tiles[1:2, 0]})[0, 0, 1]
    assert found.image_similarity[0, 0].item() == pytest.approx(pair.item())
    random = results[2].random_tiles[1].view(1, 1, 8, 8)
    pair = method_agreement({"a": tiles[2:, 1], "b": random})[0, 0, 1]
    assert found.random_similarity[2, 1].item() == pytest.approx(pair.item())
    assert found.random_similarity[:, 2:].isnan().all()
    assert found.truths == [None, "bright", "bright"]
    assert all(conclude(found).values())
    with pytest.raises(ValueError, match=r"^results: got none"):
        summarise([], collected.names, CLASSES)
