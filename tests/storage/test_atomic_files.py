"""Files that appear whole or not at all: with a full disk, and when the process is killed."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from xai_course.storage import (
    atomic_files,
    atomic_write,
    cpu_copies,
    hash_tensors,
    read_state,
    write_state,
)
from xai_course.storage.atomic_files import read_json


def test_a_file_appears_and_is_replaced(tmp_path):
    file = tmp_path / "note.txt"
    for content in (b"first", b"", b"second"):
        atomic_write(file, content)
        assert file.read_bytes() == content
        assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    file = tmp_path / "note.txt"
    atomic_write(file, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


KILLED = """
import os, signal, sys
from pathlib import Path
from xai_course.storage import atomic_write
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
atomic_write(Path(sys.argv[1]), b"new")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 on this system")
def test_a_killed_process_leaves_the_old_file(tmp_path):
    file = tmp_path / "note.txt"
    atomic_write(file, b"old")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)
    assert ended.returncode == -9
    assert file.read_bytes() == b"old"
    (part,) = (path for path in tmp_path.iterdir() if path != file)
    assert part.name.startswith(".note.txt.")
    assert part.name.endswith(".part")
    atomic_write(file, b"new")  # the next run sweeps what the dead one left
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_only_what_dead_processes_of_this_machine_left_is_swept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine, other = atomic_files._machine(), "another_machine"
    swept = [f".a.{mine}-{dead.pid}-7.part", f".a.{dead.pid}.part"]  # the second: as of 0.1
    kept = [
        f".a.{mine}-{os.getpid()}-7.part",
        f".a.{other}-{dead.pid}-7.part",
        f".b.{mine}-{dead.pid}-7.part",
        ".a.draft.part",
        ".a.part",
    ]
    for name in swept + kept:
        (tmp_path / name).write_bytes(b"")
    atomic_write(tmp_path / "a", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"a", *kept}


def test_threads_do_not_mix_their_contents(tmp_path):
    file = tmp_path / "note.txt"
    contents = [bytes([number]) * 100_000 for number in range(8)]

    def write(content):
        for _ in range(10):
            atomic_write(file, content)
            assert file.read_bytes() in contents

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a":' * 100_000, "[" * 100_000])
def test_json_that_is_no_object_is_refused(text):
    with pytest.raises(ValueError, match=r"^card\.json: "):
        read_json(text, "card.json")


def test_a_state_comes_back_to_the_bit(tmp_path):
    file = tmp_path / "new" / "folder" / "state"
    tensors = {"a": torch.randn(3, 4).T, "b": torch.tensor([1, 2]), "c": torch.zeros(())}
    facts = {"epoch": 3, "history": [0.1, None], "note": "café"}
    write_state(file, tensors, facts)
    read, read_facts = read_state(file)
    assert read_facts == facts
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"state: damaged"):
        read_state(file)


def test_the_hash_sees_names_types_shapes_values_and_text():
    numbers = torch.arange(4.0)
    others = [
        ({"b": numbers}, ""),
        ({"a": numbers.double()}, ""),
        ({"a": numbers.view(2, 2)}, ""),
        ({"a": numbers + 1}, ""),
        ({"a": numbers}, "text"),
    ]
    hashes = {hash_tensors(tensors, text) for tensors, text in [({"a": numbers}, ""), *others]}
    assert len(hashes) == 6
    one, two = {"a": numbers, "b": numbers + 1}, {"b": numbers + 1, "a": numbers}
    assert hash_tensors(one) == hash_tensors(two)


def test_copies_share_no_memory():
    weight = torch.randn(2, 3, requires_grad=True)
    copies = cpu_copies({"a": weight, "b": weight})
    copies["a"].zero_()
    assert torch.equal(copies["b"], weight)
    assert not copies["b"].requires_grad
