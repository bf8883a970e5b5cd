"""The pictures of the page: answers with thumbnails, and each map fine, in tiles, and covered.

Everything is HTML that needs no other file. A map is drawn 280 pixels wide: fine, in squares of
five pixels or more, since single pixels of a map cannot be seen; and in the tiles of the tests.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from xai_course.core.baselines import baseline_images
from xai_course.core.translation import translate
from xai_course.methods import METHODS
from xai_course.report.findings import first_name
from xai_course.report.glance import ASKS
from xai_course.report.run import FILLS, TILES, Result
from xai_course.report.words import number, percent

__all__ = ["answers_table", "picture_of_maps", "shown_names"]


WIDTH = 280  # pixels, of a map on the page
SMALL = 96  # pixels, of a thumbnail
FINE = 56  # squares along the shorter side of a fine map
FULL = 0.98  # quantile of the squares at which the colour is full
FIRST = 3  # answers of a picture


# ---- answers -------------------------------------------------------------------------------------


def answers_table(results: Iterable[Result], classes: Sequence[str]) -> str:
    """Write a table of the pictures and the network's first three answers to each.

    Args:
        results: from `open_results`.
        classes: the names of the answers.

    Returns:
        HTML.
    """
    rows, named = [], False
    for result in results:
        shares, indices = result.probabilities.topk(min(FIRST, len(result.probabilities)))
        answers = [
            f"{escape(classes[index])}<br>{_percent(share)}"
            for index, share in zip(indices.tolist(), shares.tolist(), strict=True)
        ]
        picture = _image(_scaled(_colours(result.image), SMALL), result.file, SMALL)
        rows.append([f"{picture}<br>{escape(result.file)}", *answers, escape(result.truth or "")])
        named = named or result.truth is not None
    count = max((len(row) - 2 for row in rows), default=0)
    answers = [translate("first answer"), translate("second"), translate("third")]
    head = [translate("picture"), *answers[:count], translate("folder says")]
    columns = None if named else -1
    lines = ["".join(f"<th>{cell}</th>" for cell in head[:columns])]
    lines += ["".join(f"<td>{cell}</td>" for cell in row[:columns]) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _percent(share: float) -> str:
    return percent(share, 1)


# ---- maps ----------------------------------------------------------------------------------------


def shown_names(names: Sequence[str], shown: Sequence[str]) -> list[tuple[int, str]]:
    """Say which maps of a result are drawn, and under which name: equal ones once.

    Args:
        names: of the maps of a result, `Collected.names`.
        shown: the names that are left in `Summary.names`.

    Returns:
        The index of each map in a result, and its name on the page.
    """
    return [(list(names).index(first_name(name)), name) for name in shown]


def picture_of_maps(
    result: Result,
    shown: Sequence[tuple[int, str]],
    classes: Sequence[str],
    *,
    opened: bool = True,
) -> str:
    """Draw what is known of one picture: for each method a fine map, its tiles, and the cover.

    Args:
        result: of the picture.
        shown: from `shown_names`.
        classes: the names of the answers.
        opened: False for a part of the page that is folded until it is clicked on.

    Returns:
        HTML.
    """
    share, index = (value.item() for value in result.probabilities.max(0))
    predicted = classes[int(index)]
    one_logit = len(result.logits) == 1  # of the second answer, whatever the network says
    explained = classes[1] if one_logit else predicted
    score = float(result.logits[0 if one_logit else int(index)])
    picture = _image(
        _scaled(_colours(result.image), WIDTH),
        translate("{file}, as the network gets it", file=result.file),
        WIDTH,
    )
    parts = [
        f"<figure>{picture}<figcaption>{translate('As the network gets it')}</figcaption></figure>"
    ]
    parts += [_row(result, k, name, explained, score) for k, name in shown]
    line = translate(
        "{file}: {answer}, {share}", file=result.file, answer=predicted, share=_percent(share)
    )
    head = f"<summary>{escape(line)}</summary>"
    return f"<details{' open' * opened}>{head}{''.join(parts)}</details>"


def _row(result: Result, k: int, name: str, answer: str, score: float) -> str:
    """Draw one map in three ways, side by side."""
    own = first_name(name)
    plain = own.removeprefix("null: ")
    shown = name.replace(own, translate(plain) if plain != own else plain, 1)
    asks = translate(ASKS.get(own, ""))
    if plain != own:
        asks = translate("It knows nothing of the network.")
    values, by_size = result.maps[k], own in METHODS and METHODS[own].readout == "size"
    values = values.abs() if by_size else values
    marked = result.marked[k].view(TILES, TILES) > 0
    title = translate(
        "{method} map of {file} for {answer}", method=shown, file=result.file, answer=answer
    )
    after = [number(score - float(drop)) for drop in result.logit_drops[k]]
    if marked.any():
        told = translate(
            "Score {score}; covered {mean} (with a blur {blur})",
            score=number(score),
            mean=after[0],
            blur=after[1],
        )
    else:
        told = translate("The map is empty: nothing is covered")
    panels = [
        (_drawn(result.image, _fine(values), by_size), title, translate("Fine")),
        (
            _framed(_drawn(result.image, _tiles(values), by_size), marked),
            translate(
                "{title}, in 8 × 8 tiles; the six that it marks most have a frame", title=title
            ),
            translate("In the tiles of the tests"),
        ),
        (
            _scaled(_colours(_covered(result.image, marked)), WIDTH),
            translate("{file} without these six tiles", file=result.file),
            told,
        ),
    ]
    figures = "".join(
        f"<figure>{_image(drawn, alt, WIDTH)}<figcaption>{escape(words)}</figcaption></figure>"
        for drawn, alt, words in panels
    )
    head = f"<h4>{escape(shown)}</h4><p>{escape(asks)}</p>"
    return f'{head}<div class="row">{figures}</div>'


def _fine(values: Tensor) -> Tensor:
    """Take the means of a map (H, W) in squares, `FINE` along its shorter side."""
    height, width = values.shape
    step = max(min(height, width) / FINE, 1)
    return F.adaptive_avg_pool2d(values[None], (round(height / step), round(width / step)))[0]


def _tiles(values: Tensor) -> Tensor:
    """Take the means of a map (H, W) in the tiles of the tests."""
    return F.adaptive_avg_pool2d(values[None], TILES)[0]


def _covered(image: Tensor, marked: Tensor) -> Tensor:
    """Cover tiles of an image (C, H, W) with its mean colour, as in the test."""
    cover = F.interpolate(marked[None, None].float(), image.shape[1:], mode="nearest")[0] > 0
    return torch.where(cover, baseline_images(image[None], FILLS[0])[0], image)


# ---- drawing -------------------------------------------------------------------------------------


def _drawn(image: Tensor, values: Tensor, by_size: bool) -> Image.Image:
    """Draw a map (h, w) in colour over a pale grey image (C, H, W)."""
    from matplotlib.colors import to_rgb

    from xai_course.plots.images import relevance_colours
    from xai_course.plots.style import PURPLE

    grey = np.asarray(_scaled(_colours(image), WIDTH).convert("L"), float)[..., None] / 255
    sizes = values.abs().flatten()
    scale = float(sizes.quantile(FULL)) or float(sizes.max())  # a map of a few squares
    colours = relevance_colours(values.double().numpy(), scale)
    if by_size:
        colours[..., :3] = to_rgb(PURPLE)
    painted = F.interpolate(
        torch.from_numpy(colours).permute(2, 0, 1)[None], grey.shape[:2], mode="nearest"
    )[0].permute(1, 2, 0)
    colour, opacity = painted[..., :3].numpy(), painted[..., 3:].numpy()
    mixed = colour * opacity + (0.4 + 0.6 * grey) * (1 - opacity)
    return Image.fromarray((255 * mixed).round().astype(np.uint8))


def _framed(picture: Image.Image, marked: Tensor) -> Image.Image:
    """Draw a frame around each marked tile."""
    draw = ImageDraw.Draw(picture)
    wide, high = picture.width / TILES, picture.height / TILES
    for row, column in marked.nonzero().tolist():
        corners = (column * wide, row * high, (column + 1) * wide - 1, (row + 1) * high - 1)
        draw.rectangle([round(corner) for corner in corners], outline="black", width=2)
    return picture


def _colours(image: Tensor) -> Image.Image:
    """Return an image (C, H, W) of numbers from 0 to 1 as a picture: grey, or its first colours."""
    three = image.expand(3, -1, -1) if len(image) == 1 else image[:3]
    if len(three) == 2:
        three = torch.cat([three, three[:1]])
    pixels = (255 * three).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _scaled(picture: Image.Image, width: int) -> Image.Image:
    """Return a picture at another width."""
    size = (width, max(round(width * picture.height / picture.width), 1))
    small = picture.width < width / 4
    return picture.resize(size, Image.Resampling.NEAREST if small else Image.Resampling.BICUBIC)


def _image(picture: Image.Image, alt: str, width: int) -> str:
    """Return a picture as HTML."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80, subsampling=0)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}" '
        f'width="{width}" height="{picture.height}">'
    )
