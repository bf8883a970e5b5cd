"""Moves hints and the reasons of quiz answers to the end of a notebook.

In a lesson's source each stands folded where it belongs. JupyterLab folds `<details>`, GitHub shows
their text open, so that a reader there would see each answer with its question
(github.com/volkamerlab/teachopencadd/issues/189). In the notebook they are still folded, one by
one, but come last.
"""

import re

from tools.lessons.languages import Language

FOLD = re.compile(r"<details><summary>(.*?)</summary>\n\n(.*?)\n</details>\n?", re.DOTALL)
NUMBER = re.compile(r"\*\*(\d+)\. ")  # of the exercise or the question that a fold belongs to


def with_answers_last(texts: list[str], language: Language) -> list[str]:
    """The texts of a lesson with their folds in one more text at the end.

    Args:
        texts: The lesson's cells of Markdown, in order.
        language: The words to write.

    Returns:
        As many texts, where each hint is a link to the end and each option of the quiz a line of a
        list, and one more, unless there was no fold.
    """
    number, folds, found = "", list[str](), list[str]()
    for text in texts:
        parts = FOLD.split(text)
        kept = parts[0]
        for summary, words, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            number = (NUMBER.findall(kept) or [number])[-1]
            option = re.match(r"([a-z])\) ", summary)
            if option:
                kept += f"- {summary}\n"
                name = f"{language.question} {number} {option[1]})"
            else:
                name = f"{language.hint} {number}"
                kept += f"[{name}](#{language.answers.replace(' ', '-')})\n"
            folds.append(f"<details><summary>{name}</summary>\n\n{words}\n</details>")
            kept += rest
        number = (NUMBER.findall(text) or [number])[-1]
        if "\n- a) " in kept:
            kept = f"{kept.rstrip()}\n\n{language.see_answers}"
        found.append(kept.rstrip("\n"))
    return [*found, "\n".join([f"## {language.answers}\n", *folds])] if folds else found
