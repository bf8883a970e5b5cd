"""Settings of Sphinx for the web site; tools/site/build.py writes the pages and calls it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

project = "Beetle in a Box"
author = "The Beetle in a Box developers"
project_copyright = "The Beetle in a Box developers. Code: MIT. Text and pictures: CC BY 4.0."
language = "en"
extensions = [
    "myst_nb",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "tools.site.sphinx_links",
]
if tags.has("zh"):  # noqa: F821 (Sphinx hands it in): the Chinese pages link to the English ones
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {"en": ("english:", "english.inv")}  # sphinx_links.py says where
    project_copyright = "盒中甲虫的开发者。代码：MIT；文字和图：CC BY 4.0"
    nb_code_prompt_show = "显示代码"
    nb_code_prompt_hide = "隐藏代码"

# Pages
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 4
python_maximum_signature_line_length = 80
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"
# A type in a signature may be called like two of our classes, which Sphinx cannot tell apart.
suppress_warnings = ["ref.python"]

# Maths: MathJax from the site's own folder, with the parts that tools/site/build.py puts there
mathjax_path = "mathjax/startup.js"
mathjax3_config = {"loader": {"load": ["input/tex", "output/svg", "a11y/assistive-mml"]}}

# Look
html_theme = "sphinx_book_theme"
html_title = "Beetle in a Box"
html_sidebars = {"**": ["search-button-field.html", "sbt-sidebar-nav.html"]}
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_domain_indices = html_use_index = False  # the search finds more
html_theme_options = {
    "article_header_end": ["language.html", "article-header-buttons.html"],
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search field stands in the sidebar
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
copybutton_selector = "div.highlight-python pre, div.highlight-pycon pre, details.source pre"
copybutton_prompt_text = r">>> |\.\.\. "  # of an example, only what was typed is copied
copybutton_prompt_is_regexp = True
