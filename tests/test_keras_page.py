"""The code of docs/keras.md runs as it stands, and prints what the page shows."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tools.lessons.outputs import ROOT

PAGE = (ROOT / "docs/keras.md").read_text("utf-8")
NUMBER = re.compile(r"[−-]?\d+(?:\.\d+)?")


def test_the_page_runs_as_it_stands(tmp_path):
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed; `make test` installs it")
    blocks = re.findall(r"^```(python|text)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    code = "\n".join(text for kind, text in blocks if kind == "python")
    shown = "".join(text for kind, text in blocks if kind == "text")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    environment.pop("KERAS_BACKEND", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Another processor trains another network: the words stay, the numbers may differ a little.
    assert NUMBER.sub("0", done.stdout).split() == NUMBER.sub("0", shown).split()
