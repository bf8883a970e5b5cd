"""Draw docs/hero.png, the first image of the README: a prediction, three maps, the ground truth.

docs/hero_phone.png is the same for narrow screens, on which the other one cannot be read, and
docs/hero.zh-CN.png the same in Chinese.

python -m tools.assets.hero
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from xai_course.beetlebox import SPECIES, Scene, ground_truth_effects, species_name, stack_images
from xai_course.beetlebox.guide import PAPER
from xai_course.core.paths import data_folder
from xai_course.core.translation import language, use_language
from xai_course.data import normalise
from xai_course.plots import AGAINST, BLACK, FOR, png, relevance_colours, styled
from xai_course.relu import grad_cam, gradient
from xai_course.residual import occlusion
from xai_course.storage import load_checkpoint

SCENE = Scene("Ellipsa_longicornis", 59)
PARTS = ("elytra", "head", "horn", "antennae", "legs")
LARGE = 320
WORDS = {
    "en": {
        "title": "Three explanations of one answer. ",
        "check": "Here you can check them.",
        "says": "{} says",
        "methods": ("Gradient", "Grad-CAM", "Occlusion"),
        "key": "The answer key says",
        "lost": "logits lost without it",
        "parts": PARTS,
    },
    "zh": {
        "title": "一个回答，三种解释。",
        "check": "在这里，你可以检验它们。",
        "says": "{}说",
        "methods": ("梯度", "Grad-CAM ", "遮挡法"),
        "key": "标准答案说",
        "lost": "去掉它，logit 损失多少",
        "parts": ("鞘翅", "头部", "角", "触角", "足"),
    },
}


def enlarged(relevance: torch.Tensor) -> np.ndarray:
    """Enlarge a map (1, C, H, W) to the size of the image, channels summed."""
    small = relevance.sum(1, keepdim=True)
    large = torch.nn.functional.interpolate(small, (LARGE, LARGE), mode="bicubic")
    return large[0, 0].double().numpy()


@styled
def draw(phone: bool = False) -> Figure:
    """Draw the picture: in one row, or for a phone one below the other."""
    words: dict[str, Any] = WORDS[language()]
    network, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
    images, target = normalise(stack_images([SCENE])), list(SPECIES).index(SCENE.species)
    maps = [explain(network, images, target) for explain in (gradient, grad_cam, occlusion)]
    effects = ground_truth_effects(network, [SCENE], target, parts=PARTS)[0].numpy()
    image = SCENE.image(LARGE)

    size = (3.9, 6.6) if phone else (12, 3.25)
    fig = Figure(figsize=size, facecolor=PAPER, constrained_layout=False)
    ratio = size[0] / size[1]  # so that the pictures are squares
    if phone:
        corners = [(0.02, 0.6), (0.51, 0.6), (0.02, 0.272), (0.51, 0.272)]
        boxes = [(x, y, 0.47, 0.47 * ratio) for x, y in corners]
        bars, title = (0.24, 0.076, 0.7, 0.143), f"{words['title'].strip()}\n"
    else:
        boxes = [(0.008 + 0.188 * k, 0.14, 0.18, 0.18 * ratio) for k in range(4)]
        bars, title = (0.838, 0.14, 0.15, boxes[0][3]), words["title"]
    axes = [fig.add_axes(box) for box in boxes]
    axes[0].imshow(image)
    axes[0].set_title(species_name(SCENE.species), fontsize=12.5, style="italic", family="serif")
    for ax, name, relevance in zip(axes[1:], words["methods"], maps, strict=True):
        values = enlarged(relevance)
        ax.imshow(0.3 + 0.7 * image.mean(2), cmap="gray", vmin=0, vmax=1)
        ax.imshow(relevance_colours(values, float(np.quantile(np.abs(values), 0.99))))
        ax.set_title(words["says"].format(name), fontsize=12.5)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color="#6b5d45", linewidth=1.2)

    ax = fig.add_axes(bars, facecolor=PAPER)
    order = np.argsort(effects)
    ax.barh(
        range(len(PARTS)),
        effects[order],
        0.7,
        color=[FOR if e > 0 else AGAINST for e in effects[order]],
    )
    ax.set(
        yticks=range(len(PARTS)),
        yticklabels=[words["parts"][k] for k in order],
        xlabel=words["lost"],
    )
    ax.tick_params(left=False)
    ax.axvline(0, color=BLACK, linewidth=0.8)
    ax.spines["left"].set_visible(False)
    ax.set_title(words["key"], fontsize=12.5, fontweight="bold")
    size = 13 if phone else 16
    fig.suptitle(f"{title}{words['check']}", fontsize=size, y=0.985 if phone else 0.975)
    return fig


if __name__ == "__main__":
    docs = Path(__file__).resolve().parents[2] / "docs"
    docs.mkdir(exist_ok=True)
    for name, phone, dpi, spoken in (
        ("hero.png", False, 100, "en"),
        ("hero_phone.png", True, 160, "en"),
        ("hero.zh-CN.png", False, 100, "zh"),
        ("hero_phone.zh-CN.png", True, 160, "zh"),
    ):
        with use_language(spoken):
            (docs / name).write_bytes(png(draw(phone), dpi))
        print(name, (docs / name).stat().st_size, "bytes")
