"""Names of classes: as editors and systems write them, and told apart where they are the same."""

import unicodedata

import pytest

from xai_course.report import class_of_folder, distinct_names, read_labels

NAMES = ["tench", "café", "甲虫"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_files_of_every_editor_give_the_same_names(tmp_path, encoding, newline):
    text = newline.join([*NAMES, "", ""])
    (tmp_path / "names.txt").write_bytes(text.encode(encoding))
    assert read_labels(tmp_path / "names.txt") == NAMES


def test_letters_are_stored_in_one_way(tmp_path):
    (tmp_path / "names.txt").write_text(unicodedata.normalize("NFD", "café"), "utf-8")
    assert read_labels(tmp_path / "names.txt") == ["café"]
    assert class_of_folder(unicodedata.normalize("NFD", "café"), NAMES) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\n\nb", "has an empty line; must be one name a line"),
        (b"", "has an empty line"),
        (b"\xef\xbb\xbf\n", "has an empty line"),
        ("甲虫".encode("gbk"), "cannot be read as utf-8; must be a text file in UTF-8"),
    ],
)
def test_what_is_no_list_of_names_is_refused(tmp_path, content, words):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"^labels: .*names.txt {words}"):
        read_labels(tmp_path / "names.txt")
    with pytest.raises(ValueError, match=r"^labels: .* cannot be read"):
        read_labels(tmp_path / "nowhere.txt")


def test_names_that_come_twice_are_told_apart():
    """ImageNet has two cranes: the bird and the machine."""
    names, (remark,) = distinct_names(["crane", "beetle", "crane ", "beetle"])
    assert names == ["crane (class 0)", "beetle (class 1)", "crane (class 2)", "beetle (class 3)"]
    assert remark.startswith("Several classes have the same name (crane, beetle)")
    assert len(set(distinct_names(["a", "a", "a (class 0)", "a (class 0)"])[0])) == 4
    assert distinct_names(["a", "b"]) == (["a", "b"], [])


def test_a_folder_tells_the_class_only_if_there_is_one():
    names, _ = distinct_names(["crane", "beetle", "crane"])
    assert class_of_folder("beetle", names) == 1
    assert class_of_folder("crane", names) is None
    assert class_of_folder("crane (class 2)", names) == 2
    assert class_of_folder("crane", ["crane", "crane"]) is None
    assert class_of_folder("ant", names) is None


@pytest.mark.parametrize("names", ["abc", [1, 2], [None], ["a", b"b"]])
def test_names_are_texts(names):
    with pytest.raises(ValueError, match=r"^labels: got .*; must be texts, one for each class"):
        distinct_names(names)
