"""The slides: what becomes one, and that they fit and need no network, in a real browser."""

import base64
import io
import re

import nbformat
import pytest
from browser_server import chromium, needs_browser
from lessons_of_the_course import LESSONS, each_lesson
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from trial_lesson import HEADER, course

from tools.classroom.slide_text import (
    LINES,
    blocks,
    cut,
    for_a_room,
    inline,
    letters,
    lines,
    rendered,
)
from tools.classroom.slides import (
    RETINA,
    SAYS,
    Slide,
    contents,
    copy_libraries,
    deck,
    joined,
    kind_of,
    make_slides,
    output_slides,
    page,
    picture_slide,
    printed_slides,
    size_of,
    text_slides,
    without_margins,
)
from tools.lessons.build import build_edition, notebook_path
from tools.lessons.catalogue import chinese_lesson
from tools.lessons.outputs import ROOT
from tools.lessons.parts import exercises, quiz, section
from tools.lessons.source import LessonError, edition, read_lesson


def read(lesson):
    return nbformat.read(notebook_path(lesson, ROOT / "notebooks", False), as_version=4)


# ---- rules ---------------------------------------------------------------------------------------


@each_lesson
def test_a_deck_has_what_a_lesson_has(lesson):
    slides = deck(lesson, read(lesson))
    kinds = [slide.kind.split()[0] for slide in slides]
    assert kinds[0] == "title"
    assert lesson.title in slides[0].body.replace("&#x27;", "'")
    for kind, heading in {"claim": "The claim", "verdict": "Verdict", "predict": "Predict"}.items():
        assert (kind in kinds) == bool(section(lesson.cells, heading))
    assert "breaks" in kinds
    shown = sum("<img" in slide.body for slide in slides)
    pictures = [o for c in read(lesson).cells for o in c.get("outputs", []) if "data" in o]
    pictures = [o for o in pictures if "image/png" in o.data]
    assert shown == len(pictures), "a slide for each picture"
    task = next(slide for slide in slides if slide.heading == "Exercises")
    assert all(inline(exercise.title) in task.body for exercise in exercises(lesson))


@pytest.mark.parametrize("number", ["00", "04", "07", "14"])
def test_an_identity_has_its_equation(number):
    (lesson,) = [lesson for lesson in LESSONS if lesson.name.startswith(number)]
    (first, *_) = [s for s in deck(lesson, read(lesson)) if s.kind.startswith("identity")]
    assert first.body.count("$$") == 2


@each_lesson
def test_no_equation_is_shown_twice(lesson):
    shown = re.findall(r"\$\$.+?\$\$", "".join(slide.body for slide in deck(lesson, read(lesson))))
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("number", ["04", "08", "14"])
def test_a_chinese_deck_has_what_the_english_one_has(number):
    """Its words alone: the notebook has no outputs here."""
    lesson = next(lesson for lesson in LESSONS if lesson.name.startswith(number))
    chinese = chinese_lesson(lesson, ROOT, go_on=True)
    ours, theirs = (deck(each, edition(each, False)[0]) for each in (lesson, chinese))
    kinds = [dict.fromkeys(slide.kind.split()[0] for slide in slides) for slides in (ours, theirs)]
    assert list(kinds[0]) == list(kinds[1])
    shown = "".join(slide.heading + slide.body for slide in theirs)
    assert f"第 {number} 课" in theirs[0].body
    assert "<b>学完之后，你能够</b>" in theirs[0].body
    for words in ("先预测", "练习", "结论", "小测验 1："):
        assert words in shown
    for words in (
        "lesson",
        "minutes",
        "(continued)",
        "Exercises",
        "Quiz",
        "Your guess",
        "which order",
    ):
        assert words not in shown
    equations = re.findall(r"\$\$.+?\$\$", "".join(s.body for s in ours if "identity" in s.kind))
    assert all(equation in shown for equation in equations)
    assert 'lang="zh-CN"' in page("x", theirs, "zh")
    assert 'lang="zh-CN"' in contents([chinese], "zh")
    assert chinese.title in contents([chinese], "zh")


def test_a_prediction_lists_what_its_cell_asks():
    slides = {}
    for lesson in LESSONS:
        notebook = edition(lesson, False)[0]
        first = next((s for s in deck(lesson, notebook) if s.kind.startswith("predict")), None)
        slides[lesson.name[:2]] = re.findall("<li>(.*?)</li>", first.body, re.DOTALL), first.body
    maps, words = slides["08"]
    assert len(maps) == 7
    assert maps[0] == "DeepLIFT"
    assert "In which order?" in words
    assert len(slides["12"][0]) == 4
    assert "Your guess?" in slides["12"][1]
    assert slides["01"][0] == [], "its cell loads a network"
    for _, words in slides.values():
        assert "next cell" not in words


def test_a_room_hears_nothing_of_the_keyboard():
    text = "One. **So? Which?** Decide, then run the next cell.\n\n**Try it** now.\n\nThe end."
    assert for_a_room(text) == "One. **So? Which?**\n\nThe end."
    chinese = "一句。**哪一个**？想好，再运行下一个单元格。\n\n你 **试一试**。\n\n“完了。”再见。"
    assert for_a_room(chinese) == "一句。**哪一个**？\n\n“完了。”再见。"


def test_a_table_has_the_printed_line_before_it_as_caption():
    printed = new_output("stream", text="something: 1\ntwins:\n")
    table = new_output("display_data", {"text/markdown": "a | b\n---|---\n1 | 2"})
    cell = new_code_cell(outputs=[printed, table, table])
    first, second = output_slides(cell, "figure", "8. Hard", "")
    assert "twins:" in first.body
    assert "something" not in first.body
    assert "twins:" not in second.body
    printed.text = "nine of ten\n"
    assert "nine" not in next(output_slides(cell, "figure", "8. Hard", "")).body


def test_printed_lines_are_on_the_slide_where_it_breaks_and_else_in_the_notes():
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    png = {"image/png": base64.b64encode(file.getvalue()).decode()}
    outputs = [new_output("display_data", png), new_output("stream", text="centre: 0 < 1\n")]
    after = new_markdown_cell("Look at the line of the *centre*.")
    for heading, on_slide in (("## 2. Three", False), ("## 3. Where it breaks", True)):
        cells = [new_markdown_cell(heading), new_code_cell(outputs=outputs), after]
        slides = deck(LESSONS[0], new_notebook(cells=cells))
        picture = next(slide for slide in slides if "<img" in slide.body)
        assert ("<pre>centre: 0 &lt; 1</pre><p>Look" in picture.notes) != on_slide
        assert any("centre: 0 &lt; 1" in slide.body for slide in slides) == on_slide


PICTURE = """
# %%
from xai_course import plots
plots.figure(plots.bars({"horn": 2.0, "legs": 1.0}), alt="Horn 2, legs 1.")
"""


@pytest.mark.end_to_end
def test_sharp_pictures_have_twice_the_pixels_and_the_same_place_on_the_slide(tmp_path):
    lesson = read_lesson(course(tmp_path, HEADER + PICTURE))
    slides, widths = [], []
    for startup in ("", RETINA):
        text, _ = build_edition(lesson, tmp_path, solutions=False, startup=startup)
        notebook = nbformat.reads(text, as_version=4)
        slides.append(deck(lesson, notebook)[-1].body)
        widths.append(size_of(notebook.cells[-1].outputs[0].data["image/png"])[0])
    assert widths[1] == pytest.approx(2 * widths[0], abs=1)
    plain, sharp = (re.search(r'width="(\d+)" height="(\d+)"', body) for body in slides)
    assert [int(n) for n in sharp.groups()] == pytest.approx(
        [int(n) for n in plain.groups()], abs=2
    )


def deck_of(number, in_chinese):
    """The slides of a lesson, in English or Chinese."""
    lesson = next(lesson for lesson in LESSONS if lesson.name.startswith(number))
    outputs = [cell.outputs for cell in read(lesson).cells if cell.cell_type == "code"]
    lesson = chinese_lesson(lesson, ROOT, go_on=True) if in_chinese else lesson
    notebook = edition(lesson, False)[0]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, shown in zip(code, outputs, strict=True):
        cell.outputs = shown
    return deck(lesson, notebook)


@pytest.mark.parametrize("guide", ["TEACHING.md", "TEACHING.zh-CN.md"])
def test_the_pages_in_the_table_of_the_guide_are_there(guide):
    rows = re.findall(r"^\| (\d\d) \| (\d+) \| (\d.*) \|$", (ROOT / guide).read_text("utf-8"), re.M)
    assert [number for number, _, _ in rows] == ["00", "01", "08", "09", "13"]
    for number, prediction, shown in rows:
        slides = deck_of(number, "zh" in guide)
        kinds = [slide.kind.split()[0] for slide in slides]
        assert kinds.index("predict") + 1 == int(prediction), number
        for place in re.findall(r"\d+", shown):
            assert "<img" in slides[int(place) - 1].body, (number, place)


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        ("TEACHING.md", r"prediction page (\d+), section 3 from page (\d+), its pictures (.+?)\."),
        ("TEACHING.zh-CN.md", r"预测在第 (\d+) 页，第 3 节从第 (\d+) 页开始，它的图在第 (.+?) 页"),
    ],
)
def test_the_pages_that_the_guide_names_are_there(guide, words):
    slides = deck_of("03", "zh" in guide)
    kinds = [slide.kind.split()[0] for slide in slides]
    found = re.search(words, " ".join((ROOT / guide).read_text("utf-8").split()))
    assert kinds.index("predict") + 1 == int(found[1])
    assert kinds.index("breaks") + 1 == int(found[2])
    pages = [n for n, s in enumerate(slides, 1) if "<img" in s.body and s.kind == "breaks"]
    assert pages == [int(number) for number in re.findall(r"\d+", found[3])]


def test_a_chinese_character_is_as_wide_as_two_letters():
    assert letters("图 a：") == 6
    assert lines("图" * 46) == lines("a" * 92) < lines("图" * 47)
    (slide,) = printed_slides("verdict", "H", "a  图\n", "")
    assert "a  <b>图</b>" in slide.body
    text = "。".join(["一句话有八个字"] * 400)
    parts = list(cut(text))
    assert len(parts) > 1
    assert "".join(parts) == text
    assert all(part.endswith("。") for part in parts[:-1])


def test_a_deck_says_that_its_notebook_is_older():
    lesson = LESSONS[0]
    assert "made from an older text" in deck(lesson, read(lesson), older=True)[0].body
    assert "made from an older text" not in deck(lesson, read(lesson))[0].body


@each_lesson
def test_a_quiz_answer_comes_on_the_slide_after_its_question(lesson):
    slides = [s for s in deck(lesson, read(lesson)) if s.kind.startswith("quiz")]
    questions = quiz(lesson)
    assert len(slides) == 2 * len(questions)
    for question, bare, full in zip(questions, slides[::2], slides[1::2], strict=True):
        assert bare.heading == full.heading
        for option in question.options:
            assert inline(option.text) in bare.body
            assert inline(option.reason) not in bare.body
            assert inline(option.reason) in full.body
        assert "right" not in re.findall(r"class='(\w*)'", bare.body)
        assert re.findall(r"class='(right|)'", full.body).count("right") == 1


@pytest.mark.parametrize(
    ("level", "heading", "above", "kind"),
    [
        (2, "Predict", ("figure", 2), "predict"),
        (2, "5. Do they predict it?", ("figure", 2), "figure"),
        (2, "6. Where it breaks: here", ("figure", 2), "breaks"),
        (3, "The identity: why", ("figure", 2), "identity"),
        (2, "8. The claim: again", ("figure", 2), "claim"),
        (3, "A part of it", ("breaks", 2), "breaks"),
        (3, "Beside it", ("breaks", 3), "figure"),
        (2, "7. The next", ("breaks", 2), "figure"),
        (2, "References", ("quiz", 2), "skip"),
        (3, "More of it", ("skip", 2), "skip"),
    ],
)
def test_the_look_of_a_section(level, heading, above, kind):
    assert kind_of(level, heading, *above)[0] == kind


def test_words_are_cut_between_blocks_and_none_is_lost():
    text = "\n\n".join(["Eleven words of text stand here, and they are a sentence." * 4] * 12)
    text += "\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n$$x\n=1$$"
    slides = list(text_slides("text", "4. Heading", text))
    assert len(slides) > 1
    assert [slide.heading.endswith(SAYS["en"]["more"]) for slide in slides] == [False] + [True] * (
        len(slides) - 1
    )
    plain = re.sub(r"<[^>]+>|\s", "", "".join(slide.body for slide in slides))
    assert plain == re.sub(r"<[^>]+>|\s", "", rendered(text))
    assert all(slide.room <= LINES for slide in slides)


@pytest.mark.parametrize(
    "block",
    [
        "\n".join(f"- item {n} " + "word " * 30 for n in range(20)),
        "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | {'word ' * 30} |" for n in range(20)),
        " ".join(f"Sentence {n} has some words." for n in range(90)),
    ],
    ids=["list", "table", "words"],
)
def test_a_long_block_is_cut_into_pieces_that_fit(block):
    pieces = list(cut(block))
    assert len(pieces) > 1
    assert all(lines(piece) <= LINES for piece in pieces)
    for n in range(20):
        assert sum(bool(re.search(rf"\b{n}\b", piece)) for piece in pieces) == 1
    if block.startswith("|"):
        assert all(piece.startswith("| a | b |\n|---|---|\n") for piece in pieces)


def test_code_stays_whole():
    code = "```python\na = 1\n\n\nb = 2\n```"
    assert blocks(f"before\n\n{code}\n\nafter") == [
        "before",
        "```python\na = 1\n\nb = 2\n```",
        "after",
    ]


def test_printed_lines_join_the_words_before_them_if_both_fit():
    words = Slide("verdict large", "Verdict", "<p>so</p>", room=3)
    printed = Slide("verdict", "Verdict", "<pre>1</pre>", room=5, printed=True)
    (both,) = joined(words, printed)
    assert both.body == "<p>so</p><pre>1</pre>"
    assert joined(Slide("verdict", "Verdict", "", room=LINES), printed)[1] == printed
    assert len(joined(Slide("figure", "Verdict", "", room=1), printed)) == 2


def test_a_picture_fills_the_slide_and_keeps_its_shape(tmp_path):
    for size in ((900, 387), (300, 900), (2000, 200)):
        Image.new("RGB", size).save(tmp_path / "x.png")
        png = base64.b64encode((tmp_path / "x.png").read_bytes()).decode()
        slide = picture_slide("figure", "H", png, 'a "picture"', "*So.*", "")
        width, height = (int(n) for n in re.findall(r'(?:width|height)="(\d+)"', slide.body))
        assert width <= 1200
        assert height <= (710 if size == (300, 900) else 560)
        assert width / height == pytest.approx(size[0] / size[1], rel=0.02)
        assert 'alt="a &quot;picture&quot;"' in slide.body
        assert slide.kind == ("figure beside" if size == (300, 900) else "figure")


def test_a_picture_beside_its_heading_has_lost_its_margins():
    image, file = Image.new("RGB", (300, 900), "white"), io.BytesIO()
    image.paste("black", (10, 50, 290, 850))
    image.save(file, "PNG")
    png = base64.b64encode(file.getvalue()).decode()
    assert size_of(png) == (300, 900)
    assert size_of(without_margins(png)) == (280, 800)
    assert 'height="710"' in picture_slide("figure", "H", png, "", "", "").body


def test_links_to_files_are_words():
    made = rendered("see [here](../xai_course/relu.py) and [there](https://example.org)")
    assert "relu.py" not in made
    assert 'href="https://example.org"' in made


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.classroom.slides.PACKAGES", {"no-such-package": {"a.js": "a.js"}})
    with pytest.raises(LessonError, match="no-such-package is not installed"):
        copy_libraries(tmp_path)


# ---- files, and a browser ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["en", "zh"])
def decks(request, tmp_path_factory):
    pytest.importorskip("sphinx_revealjs", reason="sphinx-revealjs is not installed")
    folder = tmp_path_factory.mktemp("slides")
    made = make_slides(folder, language=request.param)
    if not made:
        pytest.skip("no lesson is published in this language, with its notebook")
    return made


@pytest.mark.end_to_end
def test_no_deck_loads_anything_from_elsewhere(decks):
    assert len(decks) == len(LESSONS) or "zh-CN" in decks[0].read_text("utf-8")
    for path in [*decks, decks[0].with_name("index.html")]:
        text = path.read_text("utf-8")
        for target in re.findall(r'(?:src|href)="([^"]+)"', re.sub(r"<a [^>]*>", "", text)):
            assert target.startswith(("data:image/png;base64,", "lib/")), target[:80]
            assert target.startswith("data:") or (path.parent / target).exists()
        assert "@import" not in text


FITS = """() => {
  const slide = Reveal.getCurrentSlide(), box = slide.getBoundingClientRect();
  const parts = "h1, h2, p, li, pre, td, th, img, mjx-container, svg";
  let right = 0, bottom = 0;
  for (const part of slide.querySelectorAll(parts)) {
    if (part.closest("aside")) continue;
    const at = part.getBoundingClientRect();
    right = Math.max(right, at.right - box.left);
    bottom = Math.max(bottom, at.bottom - box.top);
  }
  return [Math.round(right), Math.round(bottom)];
}"""


@pytest.fixture(scope="module")
def tab():
    """A page of a browser without a network, as large as the slides."""
    with chromium() as browser:
        tab = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True).new_page()
        tab.problems = []
        tab.on("requestfailed", lambda request: tab.problems.append(request.url))
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        yield tab


def opened(tab, path, asked=""):
    tab.problems.clear()
    tab.goto(path.as_uri() + asked)
    tab.wait_for_function("window.Reveal && Reveal.isReady() && window.MathJax.startup.promise")
    tab.evaluate("MathJax.startup.promise.then(() => 1)")


@pytest.mark.end_to_end
@needs_browser
def test_every_slide_fits_in_its_frame_without_a_network(decks, tab):
    for path in decks:
        opened(tab, path)
        count = tab.evaluate("Reveal.getTotalSlides()")
        assert count > 10
        for number in range(count):
            tab.evaluate(f"Reveal.slide({number})")
            right, bottom = tab.evaluate(FITS)
            assert right <= 1280, f"{path.name}, slide {number + 1}"
            assert bottom <= 716, f"{path.name}, slide {number + 1}"
        assert tab.problems == []


@pytest.mark.end_to_end
@needs_browser
def test_every_picture_can_be_read_from_the_back(decks, tab):
    """On a screen of 1080 rows, 1.3 times its size (blank margins may go)."""
    sizes = (
        "[...document.querySelectorAll('.slides img')].map(i => [i.naturalWidth, i.naturalHeight, "
        "+getComputedStyle(i).width.slice(0, -2), +getComputedStyle(i).height.slice(0, -2)])"
    )
    for path in decks:
        opened(tab, path)
        tab.evaluate("document.querySelectorAll('section').forEach(s => s.style.display = 'block')")
        for natural_width, natural_height, width, height in tab.evaluate(sizes):
            scale = width / natural_width * 1080 / 720
            assert scale >= 1.3, f"{path.name}: {natural_width} × {natural_height}"
            assert height / natural_height * 1080 / 720 == pytest.approx(scale, rel=0.02)


@pytest.mark.end_to_end
@needs_browser
def test_formulas_are_set_and_notes_are_not_shown(decks, tab, tmp_path):
    slides = [Slide("text", "x", rendered("So $a^2$ and\n\n$$\\sum_i w_i$$"), "<p>secret</p>")]
    path = decks[0].with_name("formulas.html")
    path.write_text(page("formulas", slides), encoding="utf-8")
    opened(tab, path)
    assert tab.locator("section mjx-container svg").count() == 2
    assert "$" not in tab.locator("section").inner_text()
    assert not tab.get_by_text("secret").is_visible()
    path.unlink()


@pytest.mark.end_to_end
@needs_browser
def test_the_address_can_ask_for_a_margin(decks, tab):
    """As the page of all decks says, for a projector that cuts off the edges."""
    top = "document.querySelector('.slides').getBoundingClientRect().top / innerHeight"
    opened(tab, decks[0])
    assert tab.evaluate(top) < 0.001
    opened(tab, decks[0], "?margin=0.04")
    assert tab.evaluate(top) == pytest.approx(0.02, abs=0.001)


@needs_browser
def test_a_slide_that_is_too_long_would_be_found(tab, tmp_path):
    pytest.importorskip("sphinx_revealjs", reason="sphinx-revealjs is not installed")
    copy_libraries(tmp_path / "lib")
    path = tmp_path / "long.html"
    path.write_text(page("long", [Slide("text", "x", "<p>line</p>" * 40)]), encoding="utf-8")
    opened(tab, path)
    assert tab.evaluate(FITS)[1] > 716


@pytest.mark.end_to_end
@needs_browser
def test_the_bar_grows_from_the_left_and_can_be_seen(decks, tab):
    opened(tab, decks[0])
    tab.evaluate("Reveal.slide(5)")
    tab.wait_for_timeout(1000)  # the bar moves
    left, width, colour = tab.locator(".progress span").evaluate(
        "s => [s.getBoundingClientRect().left, s.getBoundingClientRect().width, "
        "getComputedStyle(s).backgroundColor]"
    )
    assert left == 0
    assert 0 < width < 1280
    assert colour != "rgb(255, 255, 255)", "white on white, the rest would seem to shrink"
