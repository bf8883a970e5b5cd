"""Makes a notebook's outputs the same on every run and every machine."""

import re
import tempfile
from pathlib import Path

from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
WIDGET = "application/vnd.jupyter.widget"


def normalise_outputs(cell: NotebookNode, count: int) -> list[str]:
    """Normalise one executed code cell in place; return what would differ in the next run.

    Printed pieces are joined; errors keep their last line; memory addresses and the paths of this
    machine are replaced; widgets and what was written to stderr are dropped. The returned sentences
    name the changes that matter for a checked cell.
    """
    changes, outputs = [], list[NotebookNode]()
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            first = (output.text.strip().splitlines() or [""])[0]
            changes.append(f"it writes to stderr ({tidy(first)[:100]})")
        elif output.output_type == "stream":
            previous = outputs[-1] if outputs else None
            if previous is not None and previous.output_type == "stream":
                previous.text += output.text
            else:
                outputs.append(output)
        elif output.output_type == "error":
            output.traceback = [f"{output.ename}: {output.evalue}"]
            outputs.append(output)
        elif any(kind.startswith(WIDGET) for kind in output.data):
            changes.append("it shows a widget")
        else:
            outputs.append(output)
    for output in outputs:
        before = printed(output)
        normalise_output(output, count)
        if printed(output) != before:
            changes.append("its output holds a memory address or a path of this machine")
    cell.outputs = [output for output in outputs if output.get("text") != ""]
    cell.execution_count = count
    cell.metadata.pop("execution", None)
    return changes


def normalise_output(output: NotebookNode, count: int) -> None:
    """Normalise one output in place."""
    if output.output_type == "stream":
        output.text = tidy(after_carriage_returns(output.text))
    elif output.output_type == "error":
        output.evalue = tidy(output.evalue)
        output.traceback = [tidy(line) for line in output.traceback]
    else:
        for kind, value in output.data.items():
            if isinstance(value, str) and not kind.startswith("image/"):
                output.data[kind] = tidy(value)
        output.metadata.pop("needs_background", None)
        if output.output_type == "execute_result":
            output.execution_count = count


def printed(output: NotebookNode) -> str:
    """The part of an output that nbval compares: its text, but no images and no errors."""
    if output.output_type == "stream":
        return str(after_carriage_returns(output.text))
    if output.output_type == "error":
        return ""
    return str({kind: value for kind, value in output.data.items() if kind[:6] != "image/"})


def after_carriage_returns(text: str) -> str:
    """Text as a terminal shows it: a carriage return overwrites what is before it in its line."""
    return re.sub(r"^.*\r(?=[^\n])", "", text.replace("\r\n", "\n"), flags=re.MULTILINE)


def tidy(text: str) -> str:
    """Replace memory addresses and paths that differ from machine to machine."""
    text = re.sub(r"\bat 0x[0-9A-Fa-f]+", "at 0x…", text)
    end = r"(?![\w-]|\.\w)"  # not within a longer name
    text = re.sub(rf"{re.escape(str(ROOT))}(/|{end})", lambda m: "" if m[1] else ".", text)
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/[\w.-]+", "/tmp/…", text)
    home = str(Path.home())
    return re.sub(rf"{re.escape(home)}{end}", "~", text) if len(home) > 1 else text
