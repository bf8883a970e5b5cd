"""Why a method refuses: what a report shows is what the methods raise, and has its Chinese."""

import ast
import re

import pytest

from tools.lessons.outputs import ROOT
from xai_course.core.translation import translate_filled, use_language
from xai_course.report.network import FILE_PROBLEMS, REMARKS
from xai_course.report.reasons import REASONS, reason_in_words
from xai_course.report.words import without_arguments


def _raised() -> set[str]:
    """Return the package's ValueErrors as a report shows them, each value as "{}"."""
    texts = set()
    for path in (ROOT / "xai_course").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "ValueError":
                continue
            pieces = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else node.args
            text = "".join(
                str(piece.value) if isinstance(piece, ast.Constant) else "{}" for piece in pieces
            )
            texts.add(without_arguments(text).removeprefix("model: "))
    return texts


@pytest.mark.parametrize("reason", REASONS[1:])  # the first is put together, see the next test
def test_a_reason_is_what_a_method_raises(reason):
    assert re.sub(r"\{\w+\}", "{}", reason) in _raised()


def test_every_refusal_on_the_page_of_networks_is_translated():
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    refusals = re.findall(r"^\d+\. ((?:model|layer): .*)$", page, re.M)
    assert len(refusals) > 10
    with use_language("zh"):
        for refusal in refusals:
            refusal = refusal.replace("conv…d", "conv2d")  # as the page leaves numbers out
            words = reason_in_words(without_arguments(refusal))
            assert re.search(r"[\u3400-\u9fff]", words), refusal
            assert not words.startswith("model:")


def test_a_reason_that_is_not_known_stays_as_it_is():
    with use_language("zh"):
        assert reason_in_words("model: got a riddle.") == "model: got a riddle."
    assert reason_in_words(f"model: {REASONS[1]}") == f"model: {REASONS[1]}"


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        (
            "The weights are the names that begin with 'module.' in 'model_state_dict'.",
            "使用的权重：'model_state_dict' 中的以 'module.' 开头的各项。",
        ),
        ("The weights are random: nothing that is shown was learnt.", "权重是随机的"),
        (
            "The weights are stored as float16, and calculated with as float32.",
            "权重以 float16 存储",
        ),
        (
            "No transform came with the network; assumed is resizing to 8. Check it.",
            "resizing to 8。请核对",
        ),
        (
            "notes.txt is passed over: its name does not end like an image's.",
            "跳过 notes.txt：它的扩展名",
        ),
        (
            "a.png cannot be read as an image (OSError: cut)",
            "a.png 无法作为图像读取（OSError: cut）",
        ),
    ],
)
def test_remarks_and_problems_on_file_are_translated(text, chinese):
    with use_language("zh"):
        assert chinese in translate_filled(text, [*FILE_PROBLEMS, *REMARKS])
