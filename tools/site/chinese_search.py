"""A search for Chinese pages: it finds pairs of neighbouring characters.

Chinese has no spaces between words. Sphinx would cut a page into words by jieba, but not what the
reader types: the browser has no jieba. So a word is found here by its pairs, which have to stand on
one page: 全连接层 by 全连, 连接 and 接层. That finds every word, also one that no list knows.
"""

import re
from itertools import pairwise

from sphinx.search.en import SearchEnglish

HAN = "\u4e00-\u9fff"


class ChineseSearch(SearchEnglish):
    """Single Chinese characters and pairs of them; words with Latin letters as in English."""

    lang = "zh"
    js_splitter_code = f"""
var splitQuery = (query) =>
  (query.match(/[{HAN}]+|(?:(?![{HAN}])[\\p{{Letter}}\\p{{Number}}_])+/gu) ?? []).flatMap((word) =>
    word.length > 2 && /^[{HAN}]/.test(word)
      ? [...word.slice(1)].map((_, i) => word.slice(i, i + 2))
      : [word],
  );
"""

    def split(self, input: str) -> list[str]:
        """Cut a text into what the index knows."""
        found = list[str]()
        for word in re.findall(rf"[{HAN}]+|[^\W{HAN}]+", input):
            if re.match(f"[{HAN}]", word):
                found += word
                found += map("".join, pairwise(word))
            else:
                found.append(word)
        return found
