"""Each usage of the page of snippets runs as it is shown, with the snippet alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.site.snippets import read_usages

BEFORE, USAGES = read_usages()


def run_usages(folder, sources):
    """What went wrong with each usage, all run in one process that has the snippets alone."""
    usages = [
        {"name": usage.name, "code": usage.code, "snippet": sources[usage.name]} for usage in USAGES
    ]
    case = {"before": BEFORE, "usages": usages}
    (folder / "usages.json").write_text(json.dumps(case), encoding="utf-8")
    script = Path(__file__).with_name("run_usages.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return json.loads((folder / "errors.json").read_text("utf-8"))


@pytest.mark.heavy  # tests of snippets run every full text on small networks
def test_every_usage_runs_as_it_is_shown_with_the_snippet_alone(sources, tmp_path):
    assert run_usages(tmp_path, sources[True]) == {}


@pytest.mark.heavy  # tests of snippets compare the two forms on small networks
def test_every_usage_runs_with_the_method_alone(sources, tmp_path):
    assert run_usages(tmp_path, sources[False]) == {}
