"""A report in Chinese: its page, and results on file that do not depend on the language."""

import json
import re

import pytest
from own_network import NETWORK_FILE, photo_folder

from tools.lessons.outputs import ROOT
from xai_course.core.translation import use_language
from xai_course.report import (
    conclude,
    glance_table,
    open_results,
    run_report,
    summarise,
    transform_verdict,
)
from xai_course.report.__main__ import main
from xai_course.report.checks import finding_in_words
from xai_course.report.cost import duration_words
from xai_course.report.preprocessing import variant_in_words
from xai_course.report.words import chance_words, counted, listed

HAN = r"[\u3400-\u9fff]"
MODEL = f"{NETWORK_FILE}:with_all"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photo_folder(tmp_path_factory.mktemp("photos"))


def test_what_is_on_file_is_the_same_in_both_languages(photos, tmp_path):
    files = {}
    for name in ("en", "zh"):
        with use_language(name):
            _, collected = run_report(
                MODEL, str(photos), str(tmp_path / name), methods="gradient", progress=False
            )
        checks = json.loads((collected.folder / "checks.json").read_text("utf-8"))
        for measured in ("cost", "pass"):
            checks.pop(measured)
        files[name] = collected.folder.name, checks, collected.images
    assert files["en"] == files["zh"]
    assert not re.search(HAN, json.dumps(files["zh"], ensure_ascii=False))


def test_the_sentences_of_a_report_are_chinese(photos, tmp_path):
    model, collected = run_report(
        MODEL, str(photos), str(tmp_path), methods="gradient,Grad-CAM", progress=False
    )
    summary = summarise(open_results(collected), collected.names, model.classes)
    with use_language("zh"):
        words = [sentence for row in conclude(summary).values() for sentence in row]
        head, rows = glance_table(summary)
        verdict = transform_verdict(collected.checks["transform"])
        findings = [finding_in_words(*finding) for finding in collected.checks["assumptions"]]
        variants = [variant_in_words(row["transform"]) for row in collected.checks["transform"]]
    table = [cell for row in (head, *rows) for cell in row]
    for text in (*words, *table, verdict.words, *variants):
        assert re.search(HAN, text), text
        assert not re.search(r"[A-Za-z]+ (?:the|of|is|in) ", text), text
    assert all(re.search(HAN, what) for what, *_ in findings)
    assert findings[0][1:] == ("通过", "全部 9 个模块都处于评估模式；没有使用当前批的统计量")


def test_numbers_in_words_in_chinese():
    with use_language("zh"):
        assert chance_words(0.0352) == "3.5%"
        assert chance_words(0.0001) == "不到 0.1%"
        assert counted(1, "image") == "1 张图像"
        assert listed(["CAM", "LRP", "RISE"]) == "CAM、LRP 和 RISE"
        assert duration_words(400) == "7 分钟"
    assert listed(["CAM", "LRP", "RISE"]) == "CAM, LRP and RISE"


@pytest.mark.end_to_end
def test_the_page_is_chinese_but_for_names(photos, tmp_path, monkeypatch):
    pytest.importorskip("papermill")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the process that runs the notebook
    out = tmp_path / "out"
    words = ["--images", str(photos), "--out", str(out), "--methods", "gradient, Grad-CAM"]
    assert main(["--model", MODEL, *words, "--language", "zh"]) == 0
    page = (out / "report.html").read_text("utf-8")
    assert '<html lang="zh-CN">' in page
    assert "<title>报告：own_network.py:with_all，" in page
    body = page.partition("<body>")[2]
    text = re.sub(r'src="data:[^"]*"|（\w+Error: [^）]*）', "", body)  # what Python says is English
    text = re.sub(r"<[^>]*?(?:alt=\"([^\"]*)\")?[^>]*>", r"\1\n", text)
    sentences = [line for line in text.splitlines() if re.search(r"\b(the|of|is|and|are)\b", line)]
    assert sentences == []
    assert "跳过 notes.txt：它的扩展名不是图像的扩展名。" in page
    for heading in ("概要", "可以说什么", "不能说什么", "归因图", "这份报告是怎样生成的"):
        assert re.search(rf"<h\d[^>]*>{heading}", page), heading
