"""A figure is shown as the last value of a cell, where IPython knows nothing of pyplot."""

import torch
from IPython.core.formatters import DisplayFormatter

from xai_course import plots
from xai_course.beetlebox.guide import field_guide


def test_a_figure_is_shown_without_pyplot():
    image, relevance = torch.rand(3, 8, 8), torch.rand(1, 8, 8)
    overlay = plots.overlay([image] * 2, [None, relevance], ["picture", "map"])
    for figure in (overlay, plots.bars({"a": 1.0}, title="One"), field_guide()):
        shown, _ = DisplayFormatter().format(figure)
        assert shown["image/png"].startswith(b"\x89PNG")
