"""A lock: one at a time, also for processes that are killed, and nothing is left behind."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from xai_course.core.locks import locked

COUNT = """
import sys
from pathlib import Path
from xai_course.core.locks import locked
file = Path(sys.argv[1])
for _ in range(60):
    with locked(file):
        number = int(file.read_text())
        file.write_text("0")
        file.write_text(str(number + 1))
"""


def test_processes_take_turns(tmp_path):
    file = tmp_path / "count.txt"
    file.write_text("0")
    words = [sys.executable, "-c", COUNT, str(file)]
    processes = [subprocess.Popen(words) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert file.read_text() == "180"
    assert list(tmp_path.iterdir()) == [file]


def test_threads_take_turns(tmp_path):
    file = tmp_path / "count.txt"
    file.write_text("0")

    def count(_):
        with locked(file):
            number = int(file.read_text())
            file.write_text(str(number + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(80)))
    assert file.read_text() == "80"


def test_it_opens_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="no"), locked(tmp_path / "a"):
        raise RuntimeError("no")
    with locked(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 on this system")
def test_it_opens_when_its_holder_is_killed(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from xai_course.core.locks import locked
with locked(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    words = [sys.executable, "-c", code, str(tmp_path / "a")]
    assert subprocess.run(words, check=False).returncode == -9
    with locked(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []
