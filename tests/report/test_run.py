"""The report's work: each image is explained once, and an interrupted run is resumed."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from own_network import CLASSES, NETWORK_FILE, network, photo_folder, transform
from PIL import Image

from tools.lessons.outputs import ROOT
from xai_course.core import relevance_maps
from xai_course.methods import choose_methods, report_null_maps
from xai_course.relu import grad_cam, gradient
from xai_course.report import collect, open_results, run_report, wrap_model
from xai_course.storage import read_state

METHODS = {"gradient": gradient, "Grad-CAM": grad_cam}


@pytest.fixture
def photos(tmp_path):
    return photo_folder(tmp_path)


def passes(own):
    """Count the images that a network sees from now on."""
    seen = []
    own.model.register_forward_hook(lambda _m, _i, out: seen.append(len(out)))
    return seen


def test_what_is_kept_of_an_image(photos, tmp_path):
    """Against the methods themselves, and the cover made by hand."""
    own = wrap_model(network(), transform, CLASSES)
    collected = collect(own, photos, tmp_path / "out", methods=METHODS, progress=False)
    assert collected.names == ["gradient", "Grad-CAM", "null: edges", "null: centre"]
    files = ["a.png", "bright/b.png", "bright/c.jpg", "broken.png"]
    assert [entry["file"] for entry in collected.images] == files
    assert collected.images[3]["problem"].startswith("broken.png cannot be read as an image")
    assert len(collected.passed_over) == 1
    assert collected.passed_over[0].startswith("notes.txt is passed over")
    results = list(open_results(collected))
    assert [r.truth for r in results] == [None, "bright", "bright"]
    for result in results:
        x = transform(Image.open(photos / result.file).convert("RGB"))[None]
        assert result.sha256 == hashlib.sha256((photos / result.file).read_bytes()).hexdigest()
        logits = own.model(x)
        assert torch.allclose(result.logits, logits[0], atol=1e-6)
        for k, explain in enumerate([*METHODS.values(), *report_null_maps().values()]):
            wanted = relevance_maps(own.model, explain, x, logits.argmax(1)).sum(1)[0]
            found = result.maps[k] * result.scales[k]
            assert torch.allclose(found, wanted, atol=1e-3 * wanted.abs().max()), k
            tiles = wanted.abs().view(8, 4, 8, 4).mean((1, 3)).flatten()
            assert torch.allclose(result.tiles[k], tiles, atol=1e-5 * tiles.max())
            signed = tiles if k == 0 else wanted.view(8, 4, 8, 4).mean((1, 3)).flatten()
            grid = torch.zeros(64).scatter_(0, signed.topk(6).indices, 1.0).view(8, 8)
            cover = grid.repeat_interleave(4, 0).repeat_interleave(4, 1)
            filled = torch.where(cover > 0, x.mean((2, 3), keepdim=True), x)
            fall = (logits - own.model(filled))[0, logits.argmax()]
            if k == 3:  # in the middle, tiles are equal in fours: which come first is open
                continue
            assert result.logit_drops[k, 0].item() == pytest.approx(fall.item(), abs=1e-5)
        assert result.random_tiles[2:].isnan().all()
        assert result.random_tiles[:2].isfinite().all()
        assert result.image.min() == 0
        assert result.image.max() == 1


def test_what_is_on_file_is_not_done_again(photos, tmp_path):
    own = wrap_model(network(), transform, CLASSES)
    first = collect(own, photos, tmp_path / "out", methods=METHODS, progress=False)
    files = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    seen = passes(own)
    again = collect(own, photos, tmp_path / "out", methods=METHODS, progress=False)
    assert seen == []
    assert again == first
    assert files == {path.name: path.read_bytes() for path in first.folder.iterdir()}
    # one image more costs as much as one image, and a damaged result is made again
    shutil.copy(photos / "a.png", photos / "copy.png")  # the same image: nothing to do
    collect(own, photos, tmp_path / "out", methods=METHODS, progress=False)
    assert seen == []
    damaged = first.folder / first.images[0]["result"]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    collect(own, photos, tmp_path / "out", methods=METHODS, progress=False)
    assert sum(seen) > 0
    assert open_results(first).__next__().file == "a.png"  # whole again
    # another network does not find the results of this one
    changed = network()
    with torch.no_grad():
        changed[7].bias += 1
    other = wrap_model(changed, transform, CLASSES)
    anew = collect(other, photos, tmp_path / "out", methods=METHODS, progress=False)
    assert anew.folder != first.folder


KILLED = """
import os, sys
import torch
from own_network import CLASSES, network, transform
from xai_course.relu import gradient
from xai_course.report import collect, wrap_model

calls = []

def dies(model, images, targets):
    calls.append(len(images))
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return gradient(model, images, targets)

dies.__qualname__ = "gradient"
torch.set_num_threads(int(sys.argv[4]))  # the results of another number are others
own = wrap_model(network(), transform, CLASSES)
collect(own, sys.argv[1], sys.argv[2], methods={"gradient": dies}, batch_size=1, progress=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 on this system")
def test_after_a_kill_only_what_is_missing_is_done(photos, tmp_path):
    """Three images, one a batch, two calls each, after two of checks; killed in the second."""
    calls = []

    def counted(model, images, targets):
        calls.append(len(images))
        return gradient(model, images, targets)

    counted.__qualname__ = "gradient"
    method = {"gradient": counted}

    def run(out):
        """The images that the network sees, and the calls of the method."""
        calls.clear()
        own = wrap_model(network(), transform, CLASSES)
        seen = passes(own)
        collect(own, photos, out, methods=method, batch_size=1, progress=False)
        return sum(seen), len(calls)

    images, whole = run(tmp_path / "whole")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "report")])
    command = [sys.executable, "-c", KILLED, str(photos), str(tmp_path / "out")]
    killed = subprocess.run(
        [*command, str(whole - 3), str(torch.get_num_threads())],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    assert len(list((tmp_path / "out" / "results").glob("*/*.safetensors"))) == 1
    images_again, calls_again = run(tmp_path / "out")
    assert calls_again == 4  # two images, with the trained and with random weights
    assert images_again < images
    for path in (tmp_path / "whole" / "results").glob("*/*.safetensors"):
        again, _ = read_state(next((tmp_path / "out" / "results").glob(f"*/{path.name}")))
        wanted, _ = read_state(path)
        assert again.keys() == wanted.keys()
        for name, tensor in wanted.items():
            assert torch.equal(again[name].nan_to_num(), tensor.nan_to_num()), name


def test_a_folder_without_a_readable_image_is_refused(photos, tmp_path):
    own = wrap_model(network(), transform, CLASSES)
    for name in ("a.png", "bright/b.png", "bright/c.jpg"):
        (photos / name).unlink()
    with pytest.raises(
        ValueError, match=r"^images: none of the 1 can be used; .*broken\.png cannot"
    ):
        collect(own, photos, tmp_path / "out", methods=METHODS, progress=False)
    with pytest.raises(ValueError, match=r"^methods: got 'lime'; must be one of gradient, "):
        choose_methods(["gradient", "lime"], (32, 32))


def test_a_report_goes_on_with_half_the_batch(photos, tmp_path):
    own = wrap_model(network(), transform, CLASSES)
    whole = collect(own, photos, tmp_path / "whole", methods=METHODS, progress=False)

    def hungry(model, images, targets):
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradient(model, images, targets)

    methods = {"gradient": hungry, "Grad-CAM": grad_cam}
    halved = collect(own, photos, tmp_path / "half", methods=methods, progress=False)
    for one, other in zip(open_results(whole), open_results(halved), strict=True):
        assert torch.allclose(one.maps, other.maps, atol=1e-3)
    manifest = json.loads((tmp_path / "half" / "manifest.json").read_text("utf-8"))
    assert manifest["images in a pass, at first and at the end"] == [4, 1]

    def starving(model, images, targets):
        if not starving.tried:
            starving.tried = True  # the check of which methods apply
            return gradient(model, images, targets)
        raise MemoryError

    starving.tried = False
    with pytest.raises(MemoryError, match=r"^memory: .*needs more than there is"):
        collect(own, photos, tmp_path / "none", methods={"starving": starving}, progress=False)


def test_words_become_a_report(photos, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("x\ny\nz\n")
    model, out = f"{NETWORK_FILE}:network", str(tmp_path / "out")
    own, collected = run_report(model, str(photos), out, str(labels), "Grad-CAM", False)
    assert own.classes == ("x", "y", "z")
    assert collected.names == ["Grad-CAM", "null: edges", "null: centre"]
    assert "No transform came" in own.about["remarks"][0]
