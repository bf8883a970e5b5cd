"""Files read by several processes: in order, the same as in one, and nothing is left behind."""

import subprocess
import sys

import numpy as np
import pytest
from image_files import coloured, put
from PIL import Image

from xai_course.data import parallel
from xai_course.data.parallel import read_in_processes


@pytest.fixture
def files(tmp_path):
    sizes = [(3 + n, 9 - n) for n in range(6)]
    made = [put(tmp_path / f"{n}.png", coloured(n).resize(s)) for n, s in enumerate(sizes)]
    return [*made, put(tmp_path / "broken.png", b"x"), *made]


@pytest.mark.parametrize("with_pixels", [False, True])
@pytest.mark.parametrize("workers", [2, 5])
def test_processes_give_what_one_gives(files, with_pixels, workers):
    one = list(read_in_processes(files, "", with_pixels=with_pixels, workers=1))
    apart = list(read_in_processes(files, "", with_pixels=with_pixels, workers=workers))
    assert [({**facts, "size": list(facts.get("size", ()))}, p) for facts, p in one] == [
        ({**facts, "size": list(facts.get("size", ()))}, p) for facts, p in apart
    ]
    assert "broken.png cannot be read" in apart[6][0]["problem"]
    if with_pixels:
        image = Image.frombytes("RGB", apart[5][0]["size"], apart[5][1])
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(files[5])))


def test_the_processes_end_with_the_loop(files, monkeypatch):
    started = []
    popen = subprocess.Popen

    def start(*words, **options):
        started.append(popen(*words, **options))
        return started[-1]

    monkeypatch.setattr(parallel.subprocess, "Popen", start)
    # So many that no process can be done, on a busy machine either.
    answers = read_in_processes(files * 1000, "", with_pixels=True, workers=2)
    next(answers)
    assert [worker.poll() for worker in started] == [None, None]
    answers.close()  # as a break, or Ctrl-C, in the loop over them
    assert all(worker.poll() is not None for worker in started)


def test_a_worker_that_dies_is_named(files, monkeypatch):
    monkeypatch.setattr(parallel.image_files, "__file__", str(files[0].parent / "worker.py"))
    (files[0].parent / "worker.py").write_text("import sys; sys.stdin.read()")
    with pytest.raises(RuntimeError, match=r"0\.png: the process that read it ended early"):
        list(read_in_processes(files, "", workers=2))


@pytest.mark.end_to_end
def test_a_script_needs_no_guard(files, tmp_path):
    """Processes that Python starts by itself would run the script again."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from xai_course.data.parallel import read_in_processes\n"
        "print(len(list(read_in_processes(sys.argv[1:], 'x', workers=2, progress=False))))\n"
    )
    words = [sys.executable, str(script), *map(str, files)]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ended.stdout == "13\n"
