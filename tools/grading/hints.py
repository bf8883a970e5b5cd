"""Plain sentences for errors whose own words help no beginner; the grader appends them."""

import re

# What a keyboard for Chinese types in place of Python's signs.
WIDE = {
    "（": "(",
    "）": ")",
    "［": "[",
    "］": "]",
    "【": "[",
    "】": "]",
    "｛": "{",
    "｝": "}",
    "：": ":",
    "；": ";",
    "，": ",",
    "、": ",",
    "。": ".",
    "．": ".",
    "＝": "=",
    "＋": "+",
    "－": "-",
    "＊": "*",
    "／": "/",
    "＜": "<",
    "＞": ">",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "−": "-",
    "×": "*",
}
DOTS = "The dots of the task still stand in the code: put your own value in their place."
# The first pattern that is found in an error's words gives the hint.
HINTS = {
    r"ellipsis|Ellipsis": DOTS,
    r"could not infer output dtype": (
        "A mean needs numbers with a point, and these are True and False or whole numbers: write "
        ".float() before .mean()."
    ),
    r"Subtraction, the `-` operator, with two bool|with a bool tensor": (
        "True and False cannot be subtracted: write .float() first."
    ),
    r"got an unexpected keyword argument|invalid combination of arguments": (
        "The function was called with arguments that it does not take: look at their names, their "
        "order and their types."
    ),
    r"must be Tensor, not": "It wants a tensor: torch.tensor(...) makes one.",
    r"Boolean value of Tensor with more than one value": (
        "`if`, `and` and `or` want a single True or False, and this tensor has many: use .any(), "
        ".all(), & or |."
    ),
    r"only one element tensors can be converted|cannot be converted to Scalar": (
        "This tensor has many numbers where one is wanted: take a sum or a mean, or choose one."
    ),
    r"shapes cannot be multiplied|must match the size of tensor": (
        "The shapes of two tensors do not fit: print .shape of both."
    ),
    r"Dimension out of range": "The tensor has fewer dimensions than that: print its .shape.",
    r"have same dtype|expected scalar type|same dtype": (
        "Two tensors have different types of numbers: .float() or .to(other.dtype) helps."
    ),
    r"that requires grad": "Write .detach() first: this tensor still belongs to a computation.",
    r"does not require grad": (
        "Nothing was recorded to derive: x needs .requires_grad_() before the network is called."
    ),
}
NAME = re.compile(r"NameError: name '(\w+)' is not defined")


def with_hint(words: str) -> str:
    """What a check says of code that stopped, with a plain sentence behind it if there is one."""
    if "stopped with" not in words:
        return words
    if unknown := NAME.search(words):
        return f"{words} → {unknown[1]} is not known here: look for a slip, or a missing import."
    for pattern, hint in HINTS.items():
        if re.search(pattern, words):
            return f"{shortened(words)} → {hint}"
    return words


def shortened(words: str, most: int = 120) -> str:
    """The beginning of an error's words, so that the hint behind them is still read."""
    words = " ".join(words.split())
    return words if len(words) <= most else f"{words[:most]}…"


def syntax_hint(error: SyntaxError) -> str:
    """What to do about a cell that is not Python, or ""."""
    message = error.msg or ""
    found = re.search(r"invalid (?:non-printable )?character (?:'(.)' )?\(?U\+([0-9A-F]+)", message)
    if found:
        sign = found[1] or chr(int(found[2], 16))
        if sign.isspace():
            return "; a full-width space stands there: type an ordinary one"
        if sign in WIDE:
            do = f"switch the keyboard to English and type {WIDE[sign]}"
            return f"; {sign} is a full-width sign: {do}"
    if isinstance(error, TabError):
        return "; tabs and spaces are mixed: use spaces alone"
    if isinstance(error, IndentationError):
        return "; look at the spaces at the beginning of the line"
    return ""
