"""Shutting a process off: what is within, and how it ends. What it can reach: test_sandbox.py."""

import os
import subprocess
import sys

import pytest
from tiny_course import linux

from tools.grading.judge import can_confine
from tools.lessons.outputs import ROOT

pytestmark = [
    linux,
    pytest.mark.skipif(not can_confine(), reason="this machine does not allow namespaces"),
]


def within(folder, code, hidden=()):
    """Run code after `confine` in a process of its own; return what it printed and its status."""
    before = f"import os\nfrom tools.grading.confine import confine\nconfine({str(folder)!r}, {list(map(str, hidden))!r})\n"  # noqa: E501
    done = subprocess.run(
        [sys.executable, "-c", before + code], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip(), done.returncode


def test_one_user_one_folder_no_rights(tmp_path):
    (tmp_path / "before").touch()
    code = "open('left', 'w').close()\nprint(os.getuid(), os.getcwd(), os.listdir('.'))\n"
    code += "print([line for line in open('/proc/self/status') if line.startswith('Cap')])"
    said, status = within(tmp_path, code)
    first, second = said.splitlines()
    assert first == f"{os.getuid()} {tmp_path} ['left']"
    assert (
        second.count("0000000000000000") == 5
    )  # inherited, permitted, effective, bounding, ambient
    assert status == 0
    assert os.listdir(tmp_path) == ["before"]


def test_hidden_folders_are_empty(tmp_path):
    for name in ("folder", "answers"):
        (tmp_path / name).mkdir()
    (tmp_path / "answers" / "key").touch()
    code = f"print(os.listdir({str(tmp_path / 'answers')!r}))"
    assert within(tmp_path / "folder", code, [tmp_path / "answers"]) == ("[]", 0)
    assert os.listdir(tmp_path / "answers") == ["key"]


@pytest.mark.parametrize(
    ("code", "status"), [("os._exit(7)", 7), ("os.abort()", 128 + 6), ("raise SystemExit(0)", 0)]
)
def test_it_ends_as_what_is_within_ends(tmp_path, code, status):
    assert within(tmp_path, code)[1] == status


def test_a_folder_that_does_not_exist_is_an_error_and_nothing_runs(tmp_path):
    said, status = within(tmp_path / "none", "print('ran')")
    assert said == ""
    assert status == 1
