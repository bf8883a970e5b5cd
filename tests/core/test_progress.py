"""Progress bars: shown when asked, and the steps stay the same."""

from xai_course.core import progress_bar


def test_a_bar_is_shown_when_asked(capsys):
    steps = [1, 2, 3]
    assert list(progress_bar(steps, "counting", show=False)) == steps
    assert capsys.readouterr().err == ""
    assert list(progress_bar(steps, "counting", show=True)) == steps
    assert "counting" in capsys.readouterr().err
