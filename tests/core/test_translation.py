"""The course's own words: which language, what is translated, and that the Chinese is complete."""

import re
import sys
import threading
from string import Formatter
from types import ModuleType

import pytest

from tools import messages
from xai_course.core import translation
from xai_course.core.translation import language, translate, translate_filled, use_language

CATALOGUE = messages.read_catalogue()
ENTRIES = [entry for entry in CATALOGUE if entry.id]
HAN = r"[\u3400-\u9fff]"
CODE = re.compile(r"`[^`]*`|\{[^}]*\}|<[^>]*>")


# ---- which language ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG_COURSE": "zh", "LC_ALL": "en_GB.UTF-8"}, "zh"),
        ({"LANG_COURSE": "en", "LANG": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_the_course_s_variable_comes_before_the_system_s_language(monkeypatch, settings, expected):
    for name in translation.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


@pytest.mark.parametrize(
    ("folder", "in_kernel", "expected"),
    [
        ("notebooks/zh", True, "zh"),
        ("notebooks/zh/solutions", True, "zh"),
        ("notebooks/zh", False, "en"),
        ("notebooks/solutions", True, "en"),
    ],
)
def test_a_notebook_in_the_folder_zh_is_chinese(monkeypatch, tmp_path, folder, in_kernel, expected):
    for variable in translation.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if in_kernel:
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / folder)
    assert language() == expected
    monkeypatch.setenv("LANG_COURSE", "en")
    assert language() == "en"


def test_a_language_is_chosen_for_a_block_and_for_this_thread_alone():
    elsewhere = []
    with use_language("zh"):
        thread = threading.Thread(target=lambda: elsewhere.append(language()))
        thread.start()
        thread.join()
        with use_language("en"):
            assert language() == "en"
        assert language() == "zh"
    assert (language(), elsewhere) == ("en", ["en"])


def test_a_language_that_there_is_not_is_refused():
    refused = pytest.raises(ValueError, match=r"language: got 'fr'; must be one of \['en', 'zh'\]")
    with refused, use_language("fr"):
        pass


def test_many_threads_translate_at_once():
    translation._catalogue.cache_clear()
    found, start = [], threading.Barrier(8)

    def run() -> None:
        with use_language("zh"):
            start.wait()
            found.append(translate("relevance"))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["相关性得分"] * 8


# ---- texts ---------------------------------------------------------------------------------------


def test_an_unknown_text_stays_english_and_its_braces_stay():
    with use_language("zh"):
        assert translate("No catalogue has {this}.") == "No catalogue has {this}."
        assert translate("No catalogue has {this}.", this="that") == "No catalogue has that."
        assert translate("") == ""


@pytest.mark.parametrize("name", ["en", "zh"])
def test_values_keep_their_format(name):
    with use_language(name):
        words = translate("It gives {got:.3f}, and should give {right:.3f}.", got=1 / 3, right=2)
    assert "0.333" in words
    assert "2.000" in words


def test_a_text_on_file_is_translated_with_its_values():
    template = "the network fails on it ({error})"
    with use_language("zh"):
        words = translate_filled("the network fails on it (KeyError: a)", ["other", template])
        assert words == "网络无法处理这样的输入（KeyError: a）"
        assert translate_filled("unlike any of them", [template]) == "unlike any of them"
        assert translate_filled("passed", [template]) == "通过"
    assert translate_filled("the network fails on it (x)", [template]).endswith("(x)")


# ---- the catalogue -------------------------------------------------------------------------------


def test_every_marked_text_has_its_chinese():
    marked = messages.marked_texts()
    assert len(marked) > 800
    wanting = [
        text
        for text in marked
        if not (entry := CATALOGUE.get(text)) or not entry.string or entry.fuzzy
    ]
    assert wanting == [], "run `make messages` and write the Chinese"
    assert [entry.id for entry in ENTRIES if entry.id not in marked] == [], "run `make messages`"


def test_the_files_are_what_make_messages_writes():
    assert messages.PO.read_bytes() == messages.po_text(messages.updated(CATALOGUE))
    assert messages.MO.read_bytes() == messages.mo_bytes(CATALOGUE)


def test_a_marked_f_string_is_refused():
    with pytest.raises(ValueError, match=r"a\.py, line 2: a marked text cannot be an f-string"):
        messages.texts_of('x = 1\ntranslate(f"{x} of them")', "a.py")
    assert messages.texts_of('f"{translate(\'in it\')}"; message("after")', "a.py") == [
        "in it",
        "after",
    ]


def _fields(text: str) -> set[tuple]:
    return {field[1:] for field in Formatter().parse(text) if field[1] is not None}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id[:40])
def test_both_sides_have_the_same_values_codes_and_marks(entry):
    english, chinese = entry.id, entry.string
    assert _fields(english) == _fields(chinese)
    for pattern in (r"`[^`]+`", r"</?\w+>", r"^#+ "):
        assert sorted(set(re.findall(pattern, english, re.M))) == sorted(
            set(re.findall(pattern, chinese, re.M))
        )
    assert english.count("**") == chinese.count("**")


NOT_CHINESE_PUNCTUATION = re.compile(
    rf"{HAN}[,;:?!()]|[,;?!]{HAN}|{HAN}\.(?![\w.])|{HAN}\"|\"{HAN}"
)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id[:40])
def test_the_chinese_is_set_as_chinese(entry):
    chinese = entry.string
    bare = CODE.sub("", chinese)
    assert not re.search(rf"{HAN}[A-Za-z0-9`]|[A-Za-z0-9`%]{HAN}", CODE.sub("\0", chinese)), (
        "a space stands between Han and Latin"
    )
    assert not re.search(rf"{HAN}`|`{HAN}", chinese), "a space stands between Han and code"
    assert not re.search(rf"{HAN} {HAN}", chinese), "no space stands between Han and Han"
    assert not re.search(r" [，。；：？！、（）]|[，。；：？！、（）] ", chinese)
    assert not NOT_CHINESE_PUNCTUATION.search(bare)
    assert "您" not in chinese
    assert not re.search("零知识|随机化检验|技能得分|可验证准确率|切除实验", chinese)
