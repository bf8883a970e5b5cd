"""The grader's own sentences in the reader's language; those of the checks come from the course."""

import re

from xai_course.core.translation import language

# What the grader writes into its table, as patterns; what Python says of an error stays English.
CHINESE = {
    r"there is no function (\w+) in this notebook": r"这个 notebook 里没有函数 \1",
    r"cell \[(\d+)\] is not Python \(line (\d+|None): (.+)\)": (
        r"单元格 [\1] 不是 Python 代码（第 \2 行：\3）"
    ),
    r"code cell (\d+) from the top, (`.*?`), is not Python \(line (\d+|None): (.+)\)": (
        r"从上往下第 \1 个代码单元格（\2）不是 Python 代码（第 \3 行：\4）"
    ),
    r"cell \[(\d+)\] cannot be read \((.+)\)": r"单元格 [\1] 读不出来（\2）",
    r"code cell (\d+) from the top, (`.*?`), cannot be read \((.+)\)": (
        r"从上往下第 \1 个代码单元格（\2）读不出来（\3）"
    ),
    r"(\w+) uses (.+)": r"\1 用到了 \2",
    r"there is no notebook in this folder": "这个文件夹里没有 notebook",
    r"the file is empty: save the notebook and hand it in again": (
        "文件是空的：保存 notebook，重新交一次"
    ),
    r"the file is larger than (\d+) MB; not opened": r"文件大于 \1 MB，没有打开",
    r"it cannot be read as a notebook \((\w+)\)": r"它不是能读的 notebook（\1）",
    r"no exercise of this course is in it": "里面没有本课程的练习",
    r"this is lesson (\d+), and (\d+) was asked for": r"这是第 \1 课，而布置的是第 \2 课",
    r"the code that it needs stopped with (\w+): (.*)": r"它需要的代码报错中止，\1：\2",
    r"the check stopped with (\w+): (.*)": r"检查报错中止，\1：\2",
    r"it stopped with (\w+): (.*)": r"它报错中止，\1：\2",
    r"its answer cannot be read \((.+)\)": r"它的回答读不出来（\1）",
    r"its answers are too large": "它的回答太大",
    r"it did not end within (\S+) seconds": r"它在 \1 秒内没有结束",
    r"its process did not start within (\S+) seconds": r"它的进程在 \1 秒内没有启动",
    r"the process ended before its time: killed from outside": "进程提前结束：它被强行终止",
    r"the process ended before its time: it started more than (\d+) processes": (
        r"进程提前结束：它启动了超过 \1 个进程"
    ),
    r"the process ended before its time: (.+)": r"进程提前结束：\1",
}


def translated(words: str) -> str:
    """A sentence of the grader in the reader's language; any other sentence as it is."""
    if language() == "zh":
        for pattern, chinese in CHINESE.items():
            if match := re.fullmatch(pattern, words, re.DOTALL):
                return match.expand(chinese)
    return words
