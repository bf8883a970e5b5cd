"""The report: images explained once each, gone on with, and sentences that follow from numbers."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from own_network import CLASSES, network, transform
from PIL import Image

from tools.lessons.outputs import ROOT
from xai_course.core import relevance_maps
from xai_course.methods import choose_methods, report_null_maps
from xai_course.metrics import method_agreement
from xai_course.relu import grad_cam, gradient
from xai_course.report import (
    Summary,
    collect,
    conclude,
    in_batches,
    is_memory_error,
    load_model,
    occlusion_results,
    open_results,
    randomisation_results,
    run_report,
    summarise,
    wrap_model,
)
from xai_course.storage import read_state

METHODS = {"gradient": gradient, "Grad-CAM": grad_cam}
HERE = str(ROOT / "tests" / "report" / "own_network.py")


@pytest.fixture
def photos(tmp_path):
    """A folder with three images, two of them in a class's folder, one broken, one text file."""
    folder = tmp_path / "photos"
    (folder / "bright").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("a.png", "bright/b.png", "bright/c.jpg"):
        grain = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(grain).save(folder / name)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("no image")
    return folder


def passes(own):
    """Count the images that a network sees from now on."""
    seen = []
    own.model.register_forward_hook(lambda _m, _i, out: seen.append(len(out)))
    return seen


# ---- collecting ----------------------------------------------------------------------------------


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
            assert result.falls[k, 0].item() == pytest.approx(fall.item(), abs=1e-5)
        assert result.random[2:].isnan().all()
        assert result.random[:2].isfinite().all()
        assert result.seen.min() == 0
        assert result.seen.max() == 1


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
from own_network import CLASSES, network, transform
from xai_course.report import wrap_model
from xai_course.relu import gradient
from xai_course.report import collect

calls = []

def dies(model, images, targets):
    calls.append(len(images))
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return gradient(model, images, targets)

dies.__qualname__ = "gradient"
own = wrap_model(network(), transform, CLASSES)
seen = []
own.model.register_forward_hook(lambda _m, _i, out: seen.append(len(out)))
collect(own, sys.argv[1], sys.argv[2], methods={"gradient": dies}, batch_size=1, progress=False)
print(sum(seen), len(calls))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 on this system")
def test_after_a_kill_only_what_is_missing_is_done(photos, tmp_path):
    """Three images, one a batch, two calls each, after two of checks; killed in the second."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "report")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}

    def run(out, dies_at):
        command = [sys.executable, "-c", KILLED, str(photos), str(out), str(dies_at)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    whole = run(tmp_path / "whole", 0)
    assert whole.returncode == 0, whole.stderr
    images, calls = map(int, whole.stdout.split())
    assert run(tmp_path / "out", calls - 3).returncode == -9
    left = sorted(path.name for path in (tmp_path / "out" / "results").glob("*/*.safetensors"))
    assert len(left) == 1
    rest = run(tmp_path / "out", 0)
    assert rest.returncode == 0, rest.stderr
    images_again, calls_again = map(int, rest.stdout.split())
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
    with pytest.raises(ValueError, match=r"^methods: got lime; allowed are gradient, "):
        choose_methods(["gradient", "lime"], (32, 32))


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lack",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_lack_of_memory_halves_the_batch_and_goes_on(lack):
    rows, sizes = torch.arange(11.0)[:, None], []

    def run(part, other):
        sizes.append(len(part))
        if len(part) > 2:
            raise lack
        return part + other

    found, size = in_batches(run, rows, rows, batch_size=8)
    assert torch.equal(found, 2 * rows)
    assert size == 2
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]


def test_other_errors_and_one_row_too_many_are_not_hidden():
    def fails(_part):
        raise RuntimeError("shapes do not fit")

    assert not is_memory_error(RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(fails, torch.zeros(4, 1), batch_size=4)

    def never(_part):
        raise torch.OutOfMemoryError

    with pytest.raises(MemoryError, match="one image in a pass is too much"):
        in_batches(never, torch.zeros(4, 1), batch_size=4)


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


# ---- conclusions ---------------------------------------------------------------------------------


def numbers(n=12, lead=True, keeps=False, truths=None, stays=()):
    """Numbers of two methods and two nulls, of which A is ahead where `lead`.

    The maps of A stay on all images where `keeps`, those of B on the images `stays`.
    """
    agreement = torch.eye(4, dtype=torch.double).expand(n, 4, 4).clone()
    agreement[:, 0, 1] = agreement[:, 1, 0] = 0.1
    agreement[:, 2, 1] = agreement[:, 1, 2] = 0.5
    agreement[: n // 4, 2, 1] = agreement[: n // 4, 1, 2] = 0.0
    kept = torch.full((n, 4), torch.nan, dtype=torch.double)
    kept[:, :2] = torch.tensor([0.9 if keeps else 0.0, 0.0])
    kept[list(stays), 1] = 0.9
    falls = torch.zeros(n, 4, 2)
    falls[:, 0] = 3.0 if lead else 0.0
    falls[:, 2, 0] = falls[:, 3, 1] = 1.0
    falls[:, 1, 0] = 2.0  # ahead with one filling alone
    return Summary(
        ["A", "B", "null: edges", "null: centre"],
        agreement,
        kept,
        torch.full((n, 4), 0.2, dtype=torch.double),
        falls,
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


def test_numbers_come_from_the_results(photos, tmp_path):
    own = wrap_model(network(), transform, CLASSES)
    collected = collect(own, photos, tmp_path / "out", methods=METHODS, progress=False)
    results = list(open_results(collected))
    found = summarise(iter(results), collected.names, CLASSES)
    tiles = torch.stack([result.tiles for result in results]).view(3, 4, 1, 8, 8)
    wanted = method_agreement(dict(zip("abcd", tiles.unbind(1), strict=True)))
    assert torch.allclose(found.agreement, wanted)
    pair = method_agreement({"a": tiles[:1, 0], "b": tiles[1:2, 0]})[0, 0, 1]
    assert found.others[0, 0].item() == pytest.approx(pair.item())
    random = results[2].random[1].view(1, 1, 8, 8)
    pair = method_agreement({"a": tiles[2:, 1], "b": random})[0, 0, 1]
    assert found.kept[2, 1].item() == pytest.approx(pair.item())
    assert found.kept[:, 2:].isnan().all()
    assert found.truths == [None, "bright", "bright"]
    assert all(conclude(found).values())
    with pytest.raises(ValueError, match=r"^results: got none"):
        summarise([], collected.names, CLASSES)


# ---- the page ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script():
    """The command, as a module."""
    pytest.importorskip("papermill")
    spec = importlib.util.spec_from_file_location("report_script", ROOT / "scripts" / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(script, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["report.py", *map(str, words)])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return script.main()


def test_the_page_has_every_image_and_no_address(script, photos, tmp_path, monkeypatch, capsys):
    (photos / "a.png").rename(photos / "<b>&.png")  # a name that would be code on a page
    out = tmp_path / "out"
    words = ["--images", photos, "--out", out, "--methods", "gradient, Grad-CAM, last block"]
    assert command(script, monkeypatch, "--model", f"{HERE}:with_all", *words) == 0
    assert "report.html" in capsys.readouterr().out
    page = (out / "report.html").read_text("utf-8")
    text = re.sub(r"data:image/png;base64,[\w+/=]+", "", page)
    assert not re.search(r"(https?:)?//[a-z]|<script|<link|@import|url\(", text, re.IGNORECASE)
    assert page.count("data:image/png;base64,") == 3 + 2  # the maps; agreement, randomisation
    for name in ("&lt;b&gt;&amp;.png", "bright/b.png", "bright/c.jpg"):
        assert re.search(rf"<h3[^>]*>{re.escape(name)}: ", page), name
    assert "<b>&" not in page
    assert page.count('alt="') == page.count("<img ")
    assert "broken.png cannot be read as an image" in page
    assert "notes.txt is passed over" in page
    assert "got no residual sum" in page  # why the last block's map does not apply
    own = load_model(f"{HERE}:with_all")
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in photos.rglob("*.png")]
    for made in (own.about["weights"], str(torch.__version__), *digests):
        assert made in page
    assert "Of the methods nothing: with 3 images" in page


@pytest.mark.parametrize(
    ("model", "folder", "words"),
    [
        ("torchvision:resnet-18", "photos", "name: got 'resnet-18'"),
        (f"{HERE}:with_all", "empty", "which holds no image"),
        (f"{HERE}:with_all", "nowhere", "allowed is a folder, and there is none"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    script, photos, tmp_path, monkeypatch, capsys, model, folder, words
):
    (tmp_path / "empty").mkdir()
    where = ["--images", tmp_path / folder, "--out", tmp_path / "out"]
    assert command(script, monkeypatch, "--model", model, *where) == 1
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_stopped_says_how_to_go_on(script, monkeypatch, capsys):
    def stopped(**_asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "run_report", stopped)
    assert command(script, monkeypatch, "--model", "a", "--images", "b") == 130
    assert "goes on where this one was" in capsys.readouterr().err


def test_words_become_a_report(photos, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("x\ny\nz\n")
    own, collected = run_report(
        f"{HERE}:network", str(photos), str(tmp_path / "out"), str(labels), "Grad-CAM", False
    )
    assert own.classes == ("x", "y", "z")
    assert collected.names == ["Grad-CAM", "null: edges", "null: centre"]
    assert "No transform came" in own.about["remarks"][0]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_report_hands_its_words_on():
    command = [
        "make",
        "-n",
        "report",
        "MODEL=a:b",
        "IMAGES=my photos",
        "METHODS=LRP",
        "VENV=/nowhere",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert '--model "a:b" --images "my photos"' in done.stdout
    assert '--methods "LRP"' in done.stdout
    assert "--labels" not in done.stdout
    bare = subprocess.run(["make", "report"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert bare.returncode != 0
    assert "make report MODEL=torchvision:resnet50 IMAGES=photos" in bare.stdout + bare.stderr
