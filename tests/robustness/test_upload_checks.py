"""What comes in and what does not: pictures, pickles, weights that were changed on the way."""

import hashlib
import json
import pickle
import shutil
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from tools.lessons.outputs import ROOT
from xai_course.robustness import load_untrusted_image
from xai_course.storage import load_checkpoint

BEETLE_NET = ROOT / "data" / "checkpoints" / "beetle_net"


def picture(path, size=(48, 40), kind=None):
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).save(path, format=kind)
    return path


def bomb(path, wide=100_000, high=100_000):
    """A PNG of some dozens of bytes whose header promises ten thousand million pixels."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


# ------------------------------------------------------------------ pictures


def test_a_picture_comes_in_as_it_is(tmp_path):
    path = picture(tmp_path / "a.png")
    admitted = load_untrusted_image(path)
    assert (admitted.mode, admitted.size) == ("RGB", (48, 40))
    assert np.array_equal(np.asarray(admitted), np.asarray(Image.open(path)))
    assert load_untrusted_image(picture(tmp_path / "a.jpg")).size == (48, 40)


def test_the_content_decides_and_not_the_name(tmp_path):
    disguised = picture(tmp_path / "a.png", kind="GIF")
    with pytest.raises(ValueError, match=r"cannot be opened.*PNG or JPEG"):
        load_untrusted_image(disguised)
    assert load_untrusted_image(disguised, formats=("GIF",)).size == (48, 40)
    assert load_untrusted_image(picture(tmp_path / "a.gif", kind="PNG")).size == (48, 40)


@pytest.mark.parametrize("sides", [(100_000, 100_000), (8_000, 8_000), (12_000, 12_000)])
def test_a_bomb_is_refused_by_its_header(tmp_path, sides):
    """Beyond Pillow's own limit, below it, and where Pillow only warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"says that it has|cannot be opened \(Decompression"):
            load_untrusted_image(bomb(tmp_path / "bomb.png", *sides))


def test_a_limit_that_is_met_is_no_limit(tmp_path):
    path = picture(tmp_path / "a.png")
    size = path.stat().st_size
    load_untrusted_image(path, most_bytes=size, most_pixels=48 * 40, least_side=40)
    with pytest.raises(ValueError, match=rf"has {size:,} bytes"):
        load_untrusted_image(path, most_bytes=size - 1)
    with pytest.raises(ValueError, match="says that it has 48 × 40 pixels"):
        load_untrusted_image(path, most_pixels=48 * 40 - 1)
    with pytest.raises(ValueError, match="has 48 × 40 pixels; allowed are sides from 41"):
        load_untrusted_image(path, least_side=41)


def test_what_is_no_picture(tmp_path):
    text = tmp_path / "a.png"
    text.write_text("I am a picture")
    half = picture(tmp_path / "half.png")
    half.write_bytes(half.read_bytes()[:-400])
    for path in (text, half, tmp_path, tmp_path / "nothing.png"):
        with pytest.raises(ValueError, match=path.name):
            load_untrusted_image(path)


# ------------------------------------------------------------------ weights


class Payload:
    """Unpickling it opens a file for writing, which makes it: harmless, and seen."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def test_a_pickle_runs_code_and_weights_only_does_not(tmp_path):
    marker, file = tmp_path / "it_ran", tmp_path / "weights.pt"
    torch.save({"weights": torch.zeros(2), "extra": Payload(marker)}, file)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)
    assert not marker.exists()
    plain = tmp_path / "plain.pickle"
    plain.write_bytes(pickle.dumps(Payload(marker)))
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-I", "-c", code, plain], check=True, cwd=tmp_path)
    assert marker.exists()  # so the payload works: that nothing ran above is no accident


def copied(tmp_path):
    for ending in (".safetensors", ".json"):
        shutil.copy(BEETLE_NET.with_suffix(ending), tmp_path / f"copy{ending}")
    return tmp_path / "copy"


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_changed_byte_is_noticed(tmp_path, place):
    path = copied(tmp_path)
    load_checkpoint(path)
    data = bytearray(path.with_suffix(".safetensors").read_bytes())
    data[place] ^= 1
    path.with_suffix(".safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="SHA-256 differ"):
        load_checkpoint(path)


def test_a_hash_that_lies_beside_the_file_is_no_signature(tmp_path):
    """Who can write the weights can write the card: the lesson says so, and it is so."""
    path = copied(tmp_path)
    data = bytearray(path.with_suffix(".safetensors").read_bytes())
    data[-1] ^= 1
    path.with_suffix(".safetensors").write_bytes(data)
    card = json.loads(path.with_suffix(".json").read_text("utf-8"))
    card["sha256"] = hashlib.sha256(data).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card), "utf-8")
    load_checkpoint(path)
