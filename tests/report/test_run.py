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
from own_network import photos as pictures_of
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from tools.lessons.outputs import ROOT
from xai_course.core import relevance_maps
from xai_course.methods import choose_methods, report_methods, report_null_maps
from xai_course.relu import grad_cam, gradient
from xai_course.report import collect, conclude, open_results, run_report, summarise, wrap_model
from xai_course.report.run import _for_reader
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
            if k != 3:
                assert torch.equal(result.marked[k], grid.flatten())
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


@pytest.mark.end_to_end
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
    names = [path.name for path in (tmp_path / "out" / "results").glob("*/*.safetensors")]
    assert len(names) == 2  # with the sample for the network with random weights
    assert "sample.safetensors" in names
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


# ---- networks and folders that nobody here made --------------------------------------------------


def folder_of(folder, count=6, size=(32, 32)):
    """Make a folder of small pictures."""
    folder.mkdir(parents=True)
    for k, picture in enumerate(pictures_of(count, size)):
        picture.save(folder / f"{k}.png")
    return folder


CIFAR = """
import torch
from torch import nn
from torchvision.transforms import v2

def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                        nn.Flatten(), nn.Linear(4 * 32 * 32, 2))
    return net, v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
"""


def test_the_reader_s_own_pictures_are_the_test_of_a_transform_without_a_resize(tmp_path):
    (tmp_path / "cifar.py").write_text(CIFAR)
    folder, out = folder_of(tmp_path / "images"), str(tmp_path / "out")
    (folder / "0.png").write_bytes(b"broken")
    source = f"{tmp_path / 'cifar.py'}:network"
    own, collected = run_report(source, str(folder), out, "", "Grad-CAM", False)
    assert own.about["input"] == [3, 32, 32]
    assert sum("result" in entry for entry in collected.images) == 5
    Image.new("RGB", (40, 30)).save(folder / "a.png")  # sorted behind the others
    Image.new("RGB", (30, 40)).save(folder / "1.png")  # and before them
    _, collected = run_report(source, str(folder), out, "", "Grad-CAM", False)
    problems = {entry["file"]: entry.get("problem", "") for entry in collected.images}
    assert [file for file, problem in problems.items() if problem] == ["0.png", "1.png", "a.png"]
    assert problems["a.png"].startswith(
        "a.png, an input of (3, 30, 40), does not go through the network (RuntimeError: mat1"
    )
    for entry in folder.iterdir():
        Image.new("RGB", (40, 30)).save(entry)
    with pytest.raises(ValueError, match=r"^model: it fails on your first picture of 40 × 30 pix"):
        run_report(source, str(folder), out, "", "Grad-CAM", False)


def test_a_grey_network_gets_a_report(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )  # fmt: skip

    def grey(picture):
        return transform(picture).mean(0, keepdim=True)

    own = wrap_model(model, grey, pictures=pictures_of(1))
    methods = report_methods((32, 32))
    found = collect(
        own, folder_of(tmp_path / "in"), tmp_path / "out", methods=methods, progress=False
    )
    assert set(found.checks["refused"]) == {"last block"}
    assert found.checks["transform verdict"][0] != "in doubt"


def test_a_random_transform_is_said_to_be_and_its_report_is_resumed(tmp_path):
    folder = folder_of(tmp_path / "in")

    def own():
        random = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(24), transform])
        return wrap_model(network(), random, CLASSES, pictures=pictures_of(3, (32, 32)))

    assert own().about == own().about
    assert own().about["remarks"][-1].startswith("The transform is random: two readings of")
    first = collect(own(), folder, tmp_path / "out", methods=METHODS, progress=False)
    again = own()
    seen = passes(again)
    assert collect(again, folder, tmp_path / "out", methods=METHODS, progress=False) == first
    assert seen == []


def test_copies_and_images_that_are_added_cost_nothing_else(tmp_path):
    """The network with random weights is made from the same images as before."""
    own, folder = wrap_model(network(), transform, CLASSES), folder_of(tmp_path / "in", 4)
    first = collect(own, folder, tmp_path / "out", methods=METHODS, progress=False)
    kept = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    for k, picture in enumerate(pictures_of(12, (48, 40))):
        picture.save(folder / f"added {k}.png")
    more = collect(own, folder, tmp_path / "out", methods=METHODS, progress=False)
    assert len(list(open_results(more))) == 16
    assert kept.items() <= {path.name: path.read_bytes() for path in more.folder.iterdir()}.items()
    (first.folder / "sample.safetensors").unlink()  # another sample: all maps are made again
    anew = collect(own, folder, tmp_path / "out", methods=METHODS, progress=False)
    random_tiles = [result.random_tiles[0] for result in open_results(anew)]
    reference = collect(own, folder, tmp_path / "other", methods=METHODS, progress=False)
    for one, other in zip(random_tiles, open_results(reference), strict=True):
        assert torch.allclose(one, other.random_tiles[0], atol=1e-6)


def test_folders_named_after_classes_later_are_asked(tmp_path):
    own, folder = wrap_model(network(), transform, CLASSES), folder_of(tmp_path / "in", 4)
    checks = collect(own, folder, tmp_path / "o", methods=METHODS, progress=False).checks
    assert checks["transform"][0]["right"] is None
    (folder / "dark").mkdir()
    for k in range(3):
        (folder / f"{k}.png").rename(folder / "dark" / f"{k}.png")
    checks = collect(own, folder, tmp_path / "o", methods=METHODS, progress=False).checks
    assert checks["transform"][0]["known"] == 3


def test_one_logit_is_an_answer_yes_or_no(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(4, 1))  # fmt: skip
    with torch.no_grad():
        model[4].bias.fill_(-2.944)
        model[4].weight.mul_(0.001)
    own = wrap_model(model, transform)
    folder = folder_of(tmp_path / "in", 3)
    found = collect(own, folder, tmp_path / "out", methods={"gradient": gradient}, progress=False)
    for result in open_results(found):
        assert result.probabilities[1].item() == pytest.approx(0.05, abs=0.001)
    summary = summarise(open_results(found), found.names, own.classes)
    assert summary.predicted == ["no"] * 3


def test_an_empty_map_covers_nothing(tmp_path):
    def empty(model, images, targets):
        return torch.zeros_like(images[:, :1])

    own = wrap_model(network(), transform, CLASSES)
    found = collect(own, folder_of(tmp_path / "in", 2), tmp_path / "out",
                    methods={"empty": empty}, progress=False)  # fmt: skip
    assert all((result.logit_drops[0] == 0).all() for result in open_results(found))
    summary = summarise(open_results(found), found.names, own.classes)
    assert (
        "An empty map, where nothing is covered, has empty on 2 of 2."
        in conclude(summary)["Is what a map marks needed?"]
    )


def test_errors_of_loading_name_what_the_reader_gave():
    words = "x.json: got 'Net'; must be one of A. Build another one yourself and pass it as model="
    assert _for_reader(words) == (
        "x.json: got 'Net'; must be one of A. A function that builds a network and loads its "
        "weights is FILE.py:FUNCTION."
    )
    assert _for_reader("source: got ''; must be A.") == "model: got ''; must be A."
