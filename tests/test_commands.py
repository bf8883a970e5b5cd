"""The commands `python -m xai_course lessons FOLDER` and `check`."""

import sys

import pytest

from xai_course import __main__, environment


def called(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["python -m xai_course", *words])
    __main__.main()


def test_the_lessons_are_copied_and_the_next_command_is_printed(monkeypatch, tmp_path, capsys):
    called(monkeypatch, "lessons", str(tmp_path / "course"))
    first = tmp_path / "course" / "notebooks" / "00_start_here.ipynb"
    assert first.is_file()
    assert f"jupyter lab {first}" in capsys.readouterr().out


def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_was(monkeypatch, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"\w"):
        called(monkeypatch, "lessons", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("line", "code"), [("✓ all is here", None), ("✗ torch is missing", 1)])
def test_the_check_says_what_it_found_and_fails_with_it(monkeypatch, capsys, line, code):
    monkeypatch.setattr(environment, "check_machine", lambda: ["a line", line])
    if code is None:
        called(monkeypatch, "check")
    else:
        with pytest.raises(SystemExit) as ended:
            called(monkeypatch, "check")
        assert ended.value.code == code
    assert capsys.readouterr().out.splitlines() == ["a line", line]


@pytest.mark.parametrize("words", [(), ("dance",), ("lessons",)])
def test_other_words_are_refused(monkeypatch, words):
    with pytest.raises(SystemExit) as ended:
        called(monkeypatch, *words)
    assert ended.value.code == 2
