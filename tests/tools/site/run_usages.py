"""Runs the usages of the page *Snippets*, as shown; a script that test_usages.py starts.

    python run_usages.py folder

The folder holds `usages.json`: what comes before, and for each usage its name, its code, and the
snippet. Each is run with the snippet's text alone, while the package cannot be imported;
`errors.json` holds what went wrong.
"""

import contextlib
import io
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision import models

SIZE = 64  # pixels; the text says 224, which takes twelve times as long


def before(code: str) -> dict[str, Any]:
    """Run what comes before every usage, with random weights and small images."""
    for number, name in enumerate(("dog.jpg", "cat.jpg")):
        generator = torch.Generator().manual_seed(number)
        noise = torch.randint(256, (8, 10, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(noise.numpy()).resize((300, 240)).save(name)
    stock = models.resnet50
    torch.manual_seed(0)
    models.resnet50 = lambda weights: stock()  # no download
    space: dict[str, Any] = {"__name__": "reader"}
    exec(compile(code, "before.py", "exec"), space)
    for name in ("images", "pixels", "relevance"):
        if space[name].shape[1:] != (3, 224, 224):
            raise AssertionError(f"{name}: {tuple(space[name].shape)}")
        space[name] = torch.nn.functional.avg_pool2d(space[name], 224 // SIZE, ceil_mode=False)
        space[name] = space[name][..., :SIZE, :SIZE]
    return space


def run(usage: dict[str, str], space: dict[str, Any], function: Any) -> dict[str, Any]:
    """Run one usage with a function; return the tensors and numbers that it leaves."""
    own = {**space, usage["name"]: function}
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(usage["code"], f"{usage['name']}.py", "exec"), own)
    return {
        name: value
        for name, value in own.items()
        if value is not space.get(name) and isinstance(value, torch.Tensor | float | int | str)
    }


def check_shapes(code: str, results: dict[str, Any]) -> None:
    """Raise AssertionError for a shape that is not the one which the text names behind a #."""
    sizes = {"N": 2, "H": SIZE, "W": SIZE}
    for name, words in re.findall(r"^ *(\w+) = .*# \(([\w, ]+)\)$", code, re.MULTILINE):
        expected = [sizes.get(word, word) for word in words.split(", ")]
        got = list(results[name].shape)
        fits = len(got) == len(expected) and all(
            str(size) == str(word) or word in ("h", "w")
            for size, word in zip(got, expected, strict=True)
        )
        if not fits:
            raise AssertionError(f"{name}: got {tuple(got)}; must be ({words}), as the text says")


def main(folder: Path) -> None:
    """Run all usages of a folder."""
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.modules["xai_course"] = None  # type: ignore[assignment]
    case = json.loads(Path("usages.json").read_text("utf-8"))
    space = before(case["before"])
    errors: dict[str, str] = {}
    for usage in case["usages"]:
        try:
            pasted: dict[str, Any] = {"__name__": "pasted"}
            exec(compile(usage["snippet"], "pasted.py", "exec"), pasted)
            check_shapes(usage["code"], run(usage, space, pasted[usage["name"]]))
        except Exception:
            errors[usage["name"]] = traceback.format_exc()
    Path("errors.json").write_text(json.dumps(errors), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
