"""Plain sentences for errors whose own words help no beginner; the grader appends them."""

import re

from xai_course.core.translation import language

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
STOPPED = re.compile("stopped with|报错中止")  # what a check says of code that did
# The first pattern that is found in an error's words gives the hint, in English and Chinese.
HINTS = {
    r"ellipsis|Ellipsis": (
        "The dots of the task still stand in the code: put your own value in their place.",
        "代码里还留着题目的省略号：把它换成你自己的值。",
    ),
    r"could not infer output dtype": (
        "A mean needs numbers with a point, and these are True and False or whole numbers: write "
        ".float() before .mean().",
        "求平均值要用浮点数，而这里是 True、False 或整数：在 .mean() 前面写 .float()。",
    ),
    r"Subtraction, the `-` operator, with two bool|with a bool tensor": (
        "True and False cannot be subtracted: write .float() first.",
        "True 和 False 不能相减：先写 .float()。",
    ),
    r"got an unexpected keyword argument|invalid combination of arguments": (
        "The function was called with arguments that it does not take: look at their names, their "
        "order and their types.",
        "传给函数的参数不对：看看参数的名称、顺序和类型。",
    ),
    r"must be Tensor, not": (
        "It wants a tensor: torch.tensor(...) makes one.",
        "这里要的是张量：用 torch.tensor(...) 得到一个。",
    ),
    r"Boolean value of Tensor with more than one value": (
        "`if`, `and` and `or` want a single True or False, and this tensor has many: use .any(), "
        ".all(), & or |.",
        "`if`、`and` 和 `or` 只接受一个 True 或 False，而这个张量里有许多个：用 .any()、.all()、"
        "& 或 |。",
    ),
    r"only one element tensors can be converted|cannot be converted to Scalar": (
        "This tensor has many numbers where one is wanted: take a sum or a mean, or choose one.",
        "这里只要一个数，而这个张量里有许多个：求和、求平均值，或者取其中一个。",
    ),
    r"shapes cannot be multiplied|must match the size of tensor": (
        "The shapes of two tensors do not fit: print .shape of both.",
        "两个张量的形状对不上：把两者的 .shape 打印出来看看。",
    ),
    r"Dimension out of range": (
        "The tensor has fewer dimensions than that: print its .shape.",
        "张量没有那么多维：把它的 .shape 打印出来看看。",
    ),
    r"have same dtype|expected scalar type|same dtype": (
        "Two tensors have different types of numbers: .float() or .to(other.dtype) helps.",
        "两个张量的数据类型不同：用 .float() 或 .to(other.dtype) 转换。",
    ),
    r"that requires grad": (
        "Write .detach() first: this tensor still belongs to a computation.",
        "先写 .detach()：这个张量还连着计算图。",
    ),
    r"does not require grad": (
        "Nothing was recorded to derive: x needs .requires_grad_() before the network is called.",
        "没有记录下可以求导的计算：调用网络之前，先写 x.requires_grad_()。",
    ),
}
UNKNOWN = (
    "{name} is not known here: look for a slip, or a missing import.",
    "这里不认识 {name}：看看是不是打错了，或者少了一个 import。",
)
# The same for a cell that is not Python.
SPACE = (
    "a full-width space stands there: type an ordinary one",
    "这里有一个全角空格：改成半角空格",
)
SIGN = (
    "{sign} is a full-width sign: switch the keyboard to English and type {plain} in its place",
    "{sign} 是全角符号：切换到英文输入法，改成 {plain}",
)
TABS = ("tabs and spaces are mixed: use spaces alone", "制表符和空格混用了：只用空格")
INDENT = ("look at the spaces at the beginning of the line", "看看行首的空格")
NAME = re.compile(r"NameError[:：] ?name '(\w+)' is not defined")


def with_hint(words: str) -> str:
    """What a check says of code that stopped, with a plain sentence behind it if there is one."""
    if not STOPPED.search(words):
        return words
    if unknown := NAME.search(words):
        return f"{words} → {spoken(UNKNOWN).format(name=unknown[1])}"
    for pattern, hint in HINTS.items():
        if re.search(pattern, words):
            return f"{shortened(words)} → {spoken(hint)}"
    return words


def spoken(both: tuple[str, str]) -> str:
    """Of a sentence in English and Chinese, the one in the reader's language."""
    return both[language() == "zh"]


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
            return f"; {spoken(SPACE)}"
        if sign in WIDE:
            return f"; {spoken(SIGN).format(sign=sign, plain=WIDE[sign])}"
    if isinstance(error, TabError):
        return f"; {spoken(TABS)}"
    if isinstance(error, IndentationError):
        return f"; {spoken(INDENT)}"
    return ""
