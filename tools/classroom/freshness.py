"""Whether a built notebook shows what its lesson says today; asked before a class sees it."""

from nbformat import NotebookNode

from tools.lessons.source import Lesson, LessonError, edition


def is_older(lesson: Lesson, notebook: NotebookNode, solutions: bool) -> bool:
    """Whether a built notebook differs from its lesson. Raises LessonError if it was not run."""
    refuse_unrun(lesson.name, notebook, lesson.language)
    expected, _ = edition(lesson, solutions)
    return [cell.source for cell in notebook.cells] != [cell.source for cell in expected.cells]


def refuse_unrun(name: str, notebook: NotebookNode, language: str = "en") -> None:
    """Raise LessonError for a notebook of which a cell was not run: its outputs are missing."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if missing := sum(cell.execution_count is None for cell in code):
        command = f'make notebooks LESSONS="{name[:2]}"' if language == "en" else "make chinese"
        raise LessonError(
            f"{name}: {missing} of {len(code)} cells of its notebook were not run; build it with "
            f"`{command}`"
        )
