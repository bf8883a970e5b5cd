"""What Chinese notebooks print is padded by columns."""

from IPython.core.interactiveshell import InteractiveShell

from tools.lessons.code_words import columns
from tools.lessons.columns import install, padded


def test_a_chinese_character_takes_two_columns():
    assert padded("角", "4") == "角  "
    assert padded("角", ">4") == "  角"
    assert padded("角", "^4") == " 角 "
    assert padded("很长的名字", "4") == "很长的名字"
    assert padded("horn", "6") == format("horn", "6")
    assert padded(3, "4") == "   3"


def test_the_cells_of_a_shell_are_padded(capsys):
    shell = InteractiveShell()
    install(shell)
    shell.run_cell(
        "for name, value in {'角': 1, 'legs': 2.5}.items():\n"
        "    print(f'{name:8}{value:6}|{value:.1f}{name!r:8}')\n"
        "print(f\"{'部位':6}|\")"
    ).raise_error()
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"角{' ' * 6}     1|1.0'角'     "
    assert second == "legs       2.5|2.5'legs'  "
    assert columns(first.split("|")[0]) == columns(second.split("|")[0])
    assert third == "部位  |"
