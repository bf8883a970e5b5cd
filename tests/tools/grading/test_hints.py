"""Plain sentences for errors, as Python and PyTorch raise them today."""

import pytest
import torch

from tools.grading.hints import WIDE, syntax_hint, with_hint
from xai_course.core.translation import translate, use_language

X = torch.rand(3, 4)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("torch.mean(X > 0.5, axis=0)", "write .float() before .mean()"),
        ("torch.mean(X, axis=...)", "The dots of the task still stand in the code"),
        ("X.mean(...) + ...", "The dots of the task still stand in the code"),
        ("(X > 0) - (X < 1)", "write .float() first"),
        ("torch.mean([1.0, 2.0])", "torch.tensor(...) makes one"),
        ("1 if X > 0 else 0", "use .any()"),
        ("float(X)", "take a sum or a mean"),
        ("X.item()", "take a sum or a mean"),
        ("X @ X", "print .shape of both"),
        ("X + torch.rand(5)", "print .shape of both"),
        ("X.sum(axis=5)", "fewer dimensions"),
        ("torch.rand(3) @ torch.arange(3)", "different types of numbers"),
        ("torch.rand(3, requires_grad=True).numpy()", "Write .detach() first"),
        ("X.sum().backward()", "requires_grad_()"),
        ("logitz + 1", "logitz is not known here"),
    ],
)
def test_an_error_gets_a_sentence(code, hint):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever it raises)
        eval(code)
    words = f"Your function stopped with {type(caught.value).__name__}: {caught.value}"
    assert hint in with_hint(words).partition(" → ")[2]
    assert len(with_hint(words)) < 300, "as much as the table keeps"


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("torch.mean(X > 0.5, axis=0)", "在 .mean() 前面写 .float()"),
        ("torch.mean(X, axis=...)", "代码里还留着题目的省略号"),
        ("X @ X", "把两者的 .shape 打印出来看看"),
        ("logitz + 1", "这里不认识 logitz"),
    ],
)
def test_an_error_gets_a_sentence_in_chinese(code, hint):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever it raises)
        eval(code)
    kind, error = type(caught.value).__name__, caught.value
    with use_language("zh"):  # as a check says it
        words = translate("Your function stopped with {kind}: {error}", kind=kind, error=error)
        assert hint in with_hint(words).partition(" → ")[2]


def test_other_words_stay_as_they_are():
    for words in ("It returns shape (2,), and should return (3,).", "Your function stopped with X"):
        assert with_hint(words) == words


@pytest.mark.parametrize("sign", [*WIDE, "\u3000"])
def test_a_full_width_sign_is_named_with_the_one_to_type(sign):
    with pytest.raises(SyntaxError) as caught:
        compile(f"x {sign} 1", "cell", "exec")
    hint = syntax_hint(caught.value)
    assert (
        ("full-width space" in hint)
        if sign.isspace()
        else hint.endswith(f"type {WIDE[sign]} in its place")
    )


def test_a_full_width_sign_is_named_in_chinese():
    with pytest.raises(SyntaxError) as caught:
        compile("x：1", "cell", "exec")
    with use_language("zh"):
        assert syntax_hint(caught.value).endswith("： 是全角符号：切换到英文输入法，改成 :")


def test_spaces_at_the_beginning_of_a_line_are_named():
    for code, word in (("if 1:\nx = 1", "spaces at"), ("if 1:\n\tx = 1\n        y = 2", "tabs")):
        with pytest.raises(SyntaxError) as caught:
            compile(code, "cell", "exec")
        assert word in syntax_hint(caught.value)
