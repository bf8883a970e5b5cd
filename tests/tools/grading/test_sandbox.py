"""The process that runs a learner's code: stuck, greedy, dying, and reaching around."""

import os
import socket
import sys

import psutil
import pytest
from tiny_course import AGAIN, CHECKS, IMPORT, QUICK, RIGHT, Limits, grade_one, linux, unix

from tools.grading import grade as grader
from tools.grading.judge import PROCESSES, Sandbox, judge
from tools.lessons.outputs import ROOT

LOOP = "def double(x):\n    while True:\n        try: {body}\n        except BaseException: pass"
IGNORE = """
import os, signal, time
for number in {*range(1, 65)} - {signal.SIGCHLD}:
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
"""


@pytest.fixture(params=[pytest.param(True, id="confined"), pytest.param(False, id="open")])
def tell(request, tmp_path, monkeypatch):
    """What is said of an answer to a tiny check, with the sandbox shut off and not."""
    (tmp_path / "tiny_checks.py").write_text(CHECKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if request.param and not Sandbox().confined:
        pytest.skip("this machine does not allow namespaces")
    with Sandbox(confined=request.param) as sandbox:

        def tell(source, limits=QUICK):
            job = {"room": "tiny_checks", "check": "check_double", "function": "double"}
            told = judge({**job, "source": source}, limits, sandbox)
            kept = {sandbox.running.pid} if sandbox.running else set()
            assert {process.pid for process in sandbox.started()} <= kept
            return told

        tell.sandbox = sandbox
        yield tell
    for name in ("tiny_checks", "slow_checks"):
        sys.modules.pop(name, None)


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.end_to_end
@unix
@pytest.mark.parametrize("body", ["x += 1", "time.sleep(60)", "sum(range(10**7))", "os.wait()"])
def test_a_loop_that_cannot_be_interrupted_costs_its_own_exercise_only(folder, body):
    row = grade_one(folder, IMPORT, IGNORE, LOOP.format(body=body), AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("error", "passed")
    assert row["says_1"] == "it did not end within 0.5 seconds"


def test_a_call_of_a_function_of_the_check_takes_of_the_same_time(tell, tmp_path):
    """However often the judge is called back."""
    (tmp_path / "tiny_checks.py").write_text(CHECKS.replace("answer(21)", "answer(abs)"))
    assert tell("def double(f):\n    while True: f(-1)") == (
        "error",
        "it did not end within 0.5 seconds",
    )


@linux
def test_a_memory_hog_gets_no_more_than_its_limit(folder):
    row = grade_one(folder, IMPORT, "def double(x): return len(bytes(10**9)) * x", AGAIN)
    assert (row["exercise_1"], row["exercise_2"]) == ("wrong", "passed")
    assert "MemoryError" in row["says_1"]


@unix
@pytest.mark.parametrize(
    ("end", "words"),
    [("os.abort()", "SIGABRT"), ("os._exit(3)", "status 3"), ("os.kill(os.getpid(), 9)", "killed")],
)
def test_a_process_that_dies(tell, end, words):
    status, said = tell(f"import os\ndef double(x): {end}")
    assert (status, words in said) == ("error", True), said
    assert tell(RIGHT) == ("yes", "Twice as much.")


@pytest.mark.end_to_end
def test_a_check_that_loads_too_slowly(tell, tmp_path):
    slow = "import sys, time\nif 'tools.grading.judge' not in sys.modules: time.sleep(60)\n"
    (tmp_path / "slow_checks.py").write_text(slow + CHECKS)
    job = {"room": "slow_checks", "check": "check_double", "function": "double", "source": RIGHT}
    words = "its process did not start within 1 seconds"
    assert judge(job, Limits(starting=1), tell.sandbox) == ("error", words)
    assert tell(RIGHT) == ("yes", "Twice as much.")


# --- what it leaves behind ------------------------------------------------------------------------

DETACH = """
import os, time

def detached(action):
    "Run something in a new session of an orphan; return its process's number."
    here, there = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if (child := os.fork()) == 0:
            os.closerange(0, 64)
            action()
        os.write(there, str(child).encode())
        os._exit(0)
    os.wait()
    return int(os.read(here, 20))
"""


@linux
@pytest.mark.parametrize(
    "source",
    [
        "import os, time\ndef double(x):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        time.sleep(400)\n    return 2 * x",
        DETACH + "def double(x):\n    detached(lambda: time.sleep(400))\n    return 2 * x",
        DETACH + IGNORE + "def double(x):\n    detached(lambda: time.sleep(400))\n    return 2 * x",
        "import subprocess\ndef double(x):\n    subprocess.Popen(['sleep', '400'], "
        "start_new_session=True)\n    return 2 * x",
        "import threading, time\ndef double(x):\n"
        "    threading.Thread(target=time.sleep, args=[400]).start()\n    return 2 * x",
        "import atexit, time\natexit.register(time.sleep, 400)\ndef double(x): return 2 * x",
    ],
    ids=["session", "orphan", "ignoring", "program", "thread", "handler"],
)
def test_nothing_outlives_an_exercise(tell, source):
    """And a right answer stays right. `tell` looks for the processes that are left."""
    assert tell(source) == ("yes", "Twice as much.")


@linux
@pytest.mark.parametrize("parent", ["time.sleep(400)", "os._exit(0)"])
def test_a_stalled_exercise_ends_with_all_that_it_started(tell, parent):
    source = DETACH + f"def double(x):\n    detached(lambda: time.sleep(400))\n    {parent}"
    status, words = tell(source)
    assert status == "error"
    assert words in (
        "it did not end within 0.5 seconds",
        "the process ended before its time: status 0",
    )


@linux
def test_a_process_in_a_session_of_its_own_is_gone_afterwards(tell):
    if tell.sandbox.confined:
        pytest.skip("numbers of processes mean something else there")
    status, words = tell(DETACH + "def double(x): return detached(lambda: time.sleep(400))")
    assert status == "no"
    assert not psutil.pid_exists(int(words.removeprefix("It gives ").partition(",")[0]))


@linux
def test_one_that_copies_itself_without_end_is_ended(tell):
    source = "import os, time\ndef double(x):\n"
    source += f"    for _ in range({PROCESSES + 9}):\n        if os.fork() == 0: time.sleep(400)\n"
    status, words = tell(source + "    time.sleep(400)", Limits(seconds=20))
    assert (status, words) == (
        "error",
        f"the process ended before its time: it started more than {PROCESSES} processes",
    )
    assert tell(RIGHT) == ("yes", "Twice as much.")


@pytest.mark.end_to_end
@linux
@pytest.mark.parametrize("number", [9, 19])
def test_one_that_ends_or_stops_its_parents_costs_its_own_row_only(tell, number):
    """Its parent is the process that is copied for each exercise."""
    source = f"import os, time\ndef double(x):\n    os.kill(os.getppid(), {number})\n"
    status, words = tell(source + "    time.sleep(400)")
    assert status == "error", words
    assert tell(RIGHT) == ("yes", "Twice as much.")


@pytest.mark.end_to_end
@linux
def test_a_grader_that_is_killed_leaves_nothing(tmp_path, tell):
    """A grader of its own is killed while an answer sleeps; all of its processes end with it."""
    code = (
        "from tools.grading.judge import *\n"
        f"with Sandbox(confined={tell.sandbox.confined}) as sandbox:\n    judge(dict(room="
        "'tiny_checks', check='check_double', function='double', source='import time\\n"
        "def double(x): time.sleep(400)'), Limits(), sandbox)"
    )
    paths = os.pathsep.join([str(ROOT), str(tmp_path)])
    grader = psutil.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths})
    wanted = 4 if tell.sandbox.confined else 2  # the process that is copied, and its copies
    while len(started := grader.children(recursive=True)) < wanted:
        assert grader.poll() is None
    grader.kill()
    grader.wait()
    _, left = psutil.wait_procs(started, timeout=60)
    assert not left


# --- what it can reach ----------------------------------------------------------------------------


def probe(body: str, head: str = "import os, socket, ctypes, pathlib\n") -> str:
    """Code that answers with the error that a statement raises."""
    return f"{head}def double(x):\n    try:\n        {body}\n        return 'done'\n" + (
        "    except Exception as error: return type(error).__name__\n"
    )


REACHES = {
    "a signal to the grader": "os.kill({judge}, 0)",
    "a signal to whoever copied it": "os.kill({sandbox}, 0)",
    "the memory of the grader": "open('/proc/{judge}/mem', 'rb')",
    "the memory of whoever copied it": "open('/proc/{sandbox}/mem', 'r+b')",
    "the files that the grader has open": "os.readlink('/proc/{judge}/fd/1')",
    "the environment of the grader": "open('/proc/{judge}/environ', 'rb').read()",
    "a file of a check": "open('{checks}', 'a')",
    "a new file": "open('{folder}/left', 'w')",
    "a file to delete": "os.remove('{checks}')",
    "a server on this machine": "socket.create_connection(('127.0.0.1', {port}))",
    "a server elsewhere": "socket.create_connection(('192.0.2.1', 80), 1)",
    "a way back to files that can be written": "assert ctypes.CDLL(None).mount("
    "b'none', b'/', None, 32 | 4096, None) == 0",
    "what is hidden": "assert ctypes.CDLL(None).umount2(b'/run', 2) == 0",
}


@linux
@pytest.mark.parametrize("name", REACHES)
def test_a_confined_answer_reaches_nothing(tell, tmp_path, name):
    """Not the grader, not a file to change, not the network; the check says what it found."""
    if not tell.sandbox.confined:
        pytest.skip("not confined: see below")
    tell(RIGHT)  # starts the process that is copied
    with socket.create_server(("127.0.0.1", 0)) as server:
        body = REACHES[name].format(
            judge=os.getpid(),
            sandbox=tell.sandbox.running.pid,
            checks=tmp_path / "tiny_checks.py",
            folder=tmp_path,
            port=server.getsockname()[1],
        )
        status, words = tell(probe(body), Limits(seconds=5))
    assert status == "no"
    assert "Error, and should give 42." in words, words
    assert (tmp_path / "tiny_checks.py").read_text() == CHECKS
    assert not (tmp_path / "left").exists()


@linux
@pytest.mark.parametrize("body", ["open('{folder}/left', 'w')", "os.kill({judge}, 0)"])
def test_an_answer_that_is_not_confined_reaches_files_and_processes(tell, tmp_path, body):
    """What TEACHING.md says is not protected without namespaces."""
    status, words = tell(probe(body.format(folder=tmp_path, judge=os.getpid())))
    assert status == "no"
    assert ("It gives done" in words) == (not tell.sandbox.confined)


def test_an_answer_can_read_files(tell):
    """What TEACHING.md says is not protected."""
    assert "It gives done" in tell(probe(f"open({sys.executable!r}, 'rb').read(9)"))[1]


@linux
def test_each_exercise_has_an_empty_folder_of_its_own(tell):
    source = "import os, tempfile\ndef double(x):\n    found = os.listdir('.') + os.listdir("
    source += "tempfile.gettempdir())\n    open('left', 'w').close()\n    return 2 * x + len(found)"
    for _ in range(2):  # the check calls three times, and only the first call finds nothing
        assert tell(source) == ("no", "It gives 44, and should give 42.")


def test_a_machine_without_namespaces_is_named(folder, monkeypatch, capsys):
    monkeypatch.setattr(grader, "can_confine", lambda: False)
    folder.joinpath("ada").mkdir()
    assert grader.main([str(folder)]) == 0
    assert "can reach your files, your processes and the network" in capsys.readouterr().err


# --- what an answer may be ------------------------------------------------------------------------


def test_an_object_arrives_as_the_name_of_its_class(folder):
    lying = "class Any:\n    def __eq__(self, other): return True\ndef double(x): return Any()"
    row = grade_one(
        folder, IMPORT, lying, "from unittest.mock import ANY\ndef again(x): return ANY"
    )
    assert (row["says_1"], row["points"]) == ("It gives <Any>, and should give 42.", "0")


def test_text_that_cannot_be_written_is_written_all_the_same(folder):
    row = grade_one(folder, IMPORT, r"def double(x): return '\ud800 \x00'", AGAIN)
    assert row["says_1"] == "It gives \\ud800 \x00, and should give 42."
    assert row["exercise_2"] == "passed"
