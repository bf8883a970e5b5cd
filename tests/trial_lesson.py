"""Small lessons, and folders laid out like the repository, to try the builder on."""

from pathlib import Path

import tools.lessons.build as builder

HEADER = """\
# ---
# jupyter:
#   course:
#     question: "Is it so?"
# ---

# %% [markdown]
# # A title
#
# See [the data](../data/README.md) and [the next lesson](01_next.ipynb).
"""

EXERCISE = """
# %% tags=["exercise"]
def double(x):
    ...

# %% tags=["solution"]
def double(x):
    return 2 * x

# %% tags=["nbval-check-output"]
print("yes" if double(2) == 4 else "not yet")
"""

EVERYTHING = (
    HEADER
    + EXERCISE
    + """
# %%
import os, sys, warnings
print("one")
sys.stdout.flush()
print("two")
warnings.warn("this goes to stderr")
print(os.getcwd())
object()

# %%
from tqdm.auto import tqdm
from IPython.display import Image, display
for _ in tqdm(range(3)):
    pass
view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "w"}
display(view, raw=True)
print(sorted({"b", "a"}), {"b", "a", "c", "d"})

# %% tags=["raises-exception"]
{}["missing"]
"""
)


def course(folder: Path, text: str, name: str = "00_trial") -> Path:
    """A folder laid out like the repository, with one lesson; returns the lesson's path."""
    (folder / "lessons").mkdir(parents=True)
    (folder / "README.md").write_text(
        "# T\n<!-- timings:start -->\nold\n<!-- timings:end -->\nend\n"
    )
    path = folder / "lessons" / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def build(folder: Path, *arguments: str) -> int:
    return builder.main(["--root", str(folder), *arguments])
