"""Text of the repository on the site: links and code."""

from functools import partial

from tools.site.text import fenced, to_english, with_site_links


def test_a_link_to_a_file_of_the_repository_becomes_one_to_a_page():
    pages = {"03_relus": {"2-three-rules-50--each"}, "relu": {"grad_cam"}, "methods": {"methods"}}
    for text, expected in {
        "[a](../notebooks/03_relus.ipynb)": "[a](/lessons/03_relus.ipynb)",
        "[a](../notebooks/solutions/03_relus.ipynb)": "[a](/lessons/03_relus.ipynb)",
        "[`b`](../xai_course/relu/grad_cam.py)": "[`b`](#file-relu-grad_cam)",
        "[`b`](../xai_course/relu/gone.py)": "`b`",
        "[`b`](../xai_course/relu/__init__.py)": "[`b`](#room-relu)",
        "[`b`](../xai_course/relu)": "[`b`](#room-relu)",
        "[`b`](../xai_course/methods.py)": "[`b`](#room-methods)",
        "[a](../notebooks/03_relus.ipynb#2.-Three-rules:-50-%25-each)": (
            "[a](/lessons/03_relus.ipynb#2-three-rules-50--each)"
        ),
        "[a](../notebooks/03_relus.ipynb#gone)": "[a](/lessons/03_relus.ipynb)",
        "[a](../notebooks/99_not_there.ipynb)": "a",
        "[a](https://arxiv.org)": "[a](https://arxiv.org)",
        "`x[0](../notebooks/03_relus.ipynb)`": "`x[0](../notebooks/03_relus.ipynb)`",
        "![a](../notebooks/03_relus.ipynb)": "![a](../notebooks/03_relus.ipynb)",
    }.items():
        assert with_site_links(text, "notebooks", pages) == expected
    assert with_site_links("[a](xai_course/relu/)", "", pages) == "[a](#room-relu)"


def test_a_link_of_a_chinese_page_leads_to_the_english_one_where_there_is_no_other():
    pages = {"03_relus": {"练习"}, "04_cam": {"quiz"}, "relu": {"grad_cam"}}
    address_of = partial(to_english, here={"lessons/03_relus", "index"})
    for text, expected in {
        "[a](../../notebooks/zh/03_relus.ipynb#%E7%BB%83%E4%B9%A0)": (
            "[a](/lessons/03_relus.ipynb#练习)"
        ),
        "[a](../../notebooks/04_cam.ipynb#quiz)": "[a](inv:en:std:doc#lessons/04_cam)",
        "[a](../../README.zh-CN.md#x)": "[a](/index.md)",
        "[a](../../TEACHING.md)": "[a](inv:en:std:doc#teaching)",
        "[a](/keras.md)": "[a](inv:en:std:doc#keras)",
        "[`b`](../../xai_course/relu/grad_cam.py)": "[`b`](inv:en:std:label#file-relu-grad_cam)",
        "[a](#here)": "[a](#here)",
    }.items():
        assert with_site_links(text, "notebooks/zh", pages, address_of) == expected


def test_a_fence_is_longer_than_any_within():
    assert fenced("a\n````\nb", "text") == "`````text\na\n````\nb\n`````"
