"""The fixed words of a lesson in its two languages: what the tools look for, and what they write.

Slides, site, editions and quiz are made from headings and marks, so these have one translation.
"""

import re
from dataclasses import dataclass

# Headings that the tools look for, and the beginnings of their Chinese.
HEADINGS = {
    "The claim": "论断",
    "Predict": "先预测",
    "The identity": "恒等式",
    "Where it breaks": "何处失效",
    "Exercises": "练习",
    "Verdict": "结论",
    "Take it with you": "带走它",
    "Quiz": "小测验",
    "References": "参考文献",
    "Hints and answers": "提示与答案",
    "Reading paths": "学习路径",
}
DIFFICULTIES = {"easy": "容易", "medium": "中等", "hard": "较难"}
RIGHT = re.compile(r"Yes\b|对[。，：；]")  # opens the reason of a right answer


@dataclass(frozen=True)
class Language:
    """What the tools write into a lesson."""

    code: str
    further_mark: str
    with_solutions: str
    glossary: str  # the last line of the box under the title
    able: str  # opens the aims in the box under the title
    hint: str
    question: str
    answers: str  # the last heading of a notebook
    see_answers: str  # below the quiz


ENGLISH = Language(
    "en",
    "*Go further: you may skip this section. Run its cells all the same: later ones may use them.*",
    " (with solutions)",
    "> A word you do not know? The [glossary](../docs/glossary.md) has it, in English and Chinese.",
    "You will be able to",
    "Hint",
    "Question",
    "Hints and answers",
    "Which answer is right, and why: see [Hints and answers](#Hints-and-answers).",
)
CHINESE = Language(
    "zh",
    "*延伸：这一节可以略过不读。但请照样运行其中的单元格，后面的单元格可能用到它们。*",
    "（附答案）",
    "> 遇到不认识的词？[术语表](../docs/glossary.md)里有，中英文对照。",
    "学完之后，你能够",
    "提示",
    "问题",
    "提示与答案",
    "哪个答案对，为什么：见[提示与答案](#提示与答案)。",
)
LANGUAGES = {language.code: language for language in (ENGLISH, CHINESE)}


def in_language(name: str, language: str) -> str:
    """What a folder of build/ is called: "slides", and "slides-zh"."""
    return name if language == "en" else f"{name}-{language}"


def has_heading(heading: str, words: str) -> bool:
    """Whether a heading holds one of `HEADINGS`, in either language."""
    return words in heading or HEADINGS.get(words, words) in heading


def time_words(minutes: tuple[int, int, int], language: str = "en") -> str:
    """The minutes of a lesson (core, further, exercises), as its box says them."""
    core, further, exercises = minutes
    if language == "zh":
        more = f"标有*延伸*的部分另需 {further} 分钟，" if further else ""
        return f"{core} 分钟，{more}练习 {exercises} 分钟"
    more = f"{further} more for what is marked *go further*, " if further else ""
    return f"{core} minutes, {more}and {exercises} for the exercises"
