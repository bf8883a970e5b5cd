"""Text of the repository on the site: links and code."""

from tools.site.text import fenced, with_site_links


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


def test_a_fence_is_longer_than_any_within():
    assert fenced("a\n````\nb", "text") == "`````text\na\n````\nb\n`````"
