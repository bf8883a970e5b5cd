"""Make the font of Chinese figures: a subset of Noto Sans CJK SC, under a name of its own.

    apt-get install fonts-noto-cjk
    pip install -e '.[translation]'
    python -m tools.assets.chinese_font

It holds every character of the course's catalogues, Chinese punctuation, and the 2,700 most
frequent characters of GB 2312, level 1, for the reader's own titles and names; all 3,755 would take
790 KB. Latin letters and numbers stay those of Matplotlib's own font. The Open Font License
reserves the name of the original, so the subset has another.
"""

from __future__ import annotations

import argparse
from collections import Counter
from importlib.resources import files
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from xai_course.plots.style import FONT, FONT_FILE

REPOSITORY = Path(__file__).resolve().parents[2]
NOTO = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
FACE = "Noto Sans CJK SC"
COMMON = 2700
PUNCTUATION = "　、。〈〉《》「」『』【】〔〕·—…‘’“”！（），：；？％＋－／＝～￥"


def is_han(character: str) -> bool:
    """Say whether a character is a Chinese one, without punctuation."""
    return "\u3400" <= character <= "\u9fff"


def catalogues() -> list[Path]:
    """Return the catalogues of the package and, where there are some, of the lessons."""
    package = (REPOSITORY / "xai_course" / "locale").rglob("*.po")
    return sorted([*package, *(REPOSITORY / "lessons" / "zh").glob("*.po")])


def level_one() -> set[str]:
    """Return the characters of GB 2312, level 1: its rows 16 to 55."""
    codes = ((row, cell) for row in range(16, 56) for cell in range(1, 95))
    pairs = (bytes([0xA0 + row, 0xA0 + cell]) for row, cell in codes)
    return {c for c in (pair.decode("gb2312", errors="ignore") for pair in pairs) if c}


def frequencies() -> Counter[str]:
    """Return how often each character occurs, by the word frequencies that jieba brings."""
    counts: Counter[str] = Counter()
    for line in files("jieba").joinpath("dict.txt").read_text(encoding="utf-8").splitlines():
        word, count, _ = line.split(" ")
        for character in word:
            counts[character] += int(count)
    return counts


def characters() -> set[str]:
    """Return every character that the font is to have."""
    texts = "".join(path.read_text(encoding="utf-8") for path in catalogues())
    counts = frequencies()
    common = sorted(level_one(), key=lambda c: (-counts[c], c))[:COMMON]
    return set(common) | set(PUNCTUATION) | {c for c in texts if is_han(c)}


def open_face(path: Path, name: str) -> TTFont:
    """Return the font of this name from a file, which may be a collection."""
    for number in range(100):
        font = TTFont(path, fontNumber=number)
        if font["name"].getDebugName(1) == name:
            return font
    raise ValueError(f"{path}: has no font {name}.")


def rename(font: TTFont) -> None:
    """Give a font the name of the subset; what it says of its licence stays."""
    table = font["name"]
    plain = FONT.replace(" ", "")
    for record in list(table.names):
        if record.nameID in (0, 5, 8, 9, 11, 13, 14):
            continue
        table.removeNames(nameID=record.nameID)
    for number, text in {1: FONT, 2: "Regular", 3: plain, 4: FONT, 6: f"{plain}-Regular"}.items():
        table.setName(text, number, 3, 1, 0x409)
    top = font["CFF "].cff
    top.fontNames = [f"{plain}-Regular"]
    top.topDictIndex[0].FullName = FONT
    top.topDictIndex[0].FamilyName = FONT


def main() -> None:
    """Write the font."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=NOTO, help="the font, or a collection")
    asked = parser.parse_args()
    font = open_face(asked.source, FACE)
    options = Options(
        layout_features=[], hinting=False, name_IDs=["*"], notdef_outline=True, glyph_names=False
    )
    options.drop_tables += ["BASE", "GPOS", "GSUB", "VORG", "vhea", "vmtx", "DSIG"]
    subsetter = Subsetter(options)
    wanted = characters()
    subsetter.populate(unicodes=[ord(c) for c in wanted])
    subsetter.subset(font)
    rename(font)
    font["head"].modified = font["head"].created  # the same source gives the same bytes
    font.recalcTimestamp = False
    FONT_FILE.parent.mkdir(parents=True, exist_ok=True)
    font.save(FONT_FILE)
    print(f"{FONT_FILE.relative_to(REPOSITORY)}: {len(wanted)} characters, ", end="")
    print(f"{FONT_FILE.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
