"""Outputs of cells, made the same on every machine."""

import tempfile

from nbformat.v4 import new_code_cell, new_output

from tools.lessons.outputs import ROOT, normalise_outputs, tidy


def test_addresses_and_paths_are_replaced(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere/ann")
    monkeypatch.setenv("USERPROFILE", "/somewhere/ann")
    assert tidy("<object object at 0x7f12ab34cd56>") == "<object object at 0x…>"
    assert tidy("0x7f12 is a number") == "0x7f12 is a number"
    assert tidy(f"{ROOT}/data/beetlebox") == "data/beetlebox"
    assert tidy(f"in {ROOT}: 3 files") == "in .: 3 files"
    assert tidy(f"It is {ROOT}.") == "It is .."
    assert not tidy(f"{ROOT}2/data").startswith(("2", "."))  # another folder
    assert tidy("/somewhere/ann/.cache/torch") == "~/.cache/torch"
    assert tidy("/somewhere/anna/.cache") == "/somewhere/anna/.cache"
    assert tidy(f"{tempfile.gettempdir()}/tmpab12/x.png") == "/tmp/…/x.png"


def test_outputs_are_normalised():
    cell = new_code_cell(
        "x",
        execution_count=17,
        metadata={"execution": {"iopub.status.busy": "2026-01-01"}},
        outputs=[
            new_output("stream", name="stdout", text="a\n"),
            new_output("stream", name="stderr", text="  50%|█████     | 1/2"),
            new_output("stream", name="stdout", text="1 %\r2 %\rdone\n"),
            new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}}),
            new_output("error", ename="E", evalue="no", traceback=["File /somewhere", "E: no"]),
            new_output(
                "display_data", {"image/png": "at 0x00"}, metadata={"image/png": {"alt": "t"}}
            ),
            new_output("execute_result", {"text/plain": "<A at 0x7f00>"}, execution_count=17),
        ],
    )
    changes = normalise_outputs(cell, count=3)
    assert [output.output_type for output in cell.outputs] == [
        "stream",
        "error",
        "display_data",
        "execute_result",
    ]
    stream, error, picture, result = cell.outputs
    assert stream.text == "a\ndone\n"
    assert error.traceback == ["E: no"]
    assert picture.data == {"image/png": "at 0x00"}
    assert picture.metadata == {"image/png": {"alt": "t"}}
    assert result.data == {"text/plain": "<A at 0x…>"}
    assert cell.execution_count == result.execution_count == 3
    assert cell.metadata == {}
    assert [change.split(" (")[0] for change in changes] == [
        "it writes to stderr",
        "it shows a widget",
        "its output holds a memory address or a path of this machine",
    ]
