"""Which network takes which method: make docs/networks.md by trying each on each.

    python benchmarks/networks.py [--only resnet18,vit_b_16]     (make networks)

The networks have random weights, made so that a signal comes through (`enliven`). A cell says that
the method ran, or the number of the sentence with which it refused.
"""

# ruff: noqa: E501 (the lines of a page)

from __future__ import annotations

import argparse
import re
import sys
import warnings
from pathlib import Path

import torch
from sweep import build, outcome, quick_methods

from xai_course.relu import gradient

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
NETWORKS = {
    "ResNet": ("torchvision", "resnet18"),
    "ResNet, bottlenecks": ("torchvision", "resnet50"),
    "VGG": ("torchvision", "vgg11"),
    "MobileNet v2": ("torchvision", "mobilenet_v2"),
    "MobileNet v3": ("torchvision", "mobilenet_v3_small"),
    "DenseNet": ("torchvision", "densenet121"),
    "Inception": ("torchvision", "inception_v3"),
    "EfficientNet": ("torchvision", "efficientnet_b0"),
    "ConvNeXt": ("torchvision", "convnext_tiny"),
    "NFNet": ("timm", "nfnet_l0"),
    "MobileViT": ("timm", "mobilevit_xxs"),
    "ViT": ("torchvision", "vit_b_16"),
    "Swin": ("torchvision", "swin_t"),
}
EXACT = ("FullGrad", "CAM", "CAM, contrast", "last block", "DeepLIFT", "LRP")
TOP = """# Which network, which method

Not every method fits every network. This table was made by trying each method on each network, with random weights (weights
that begin as zeros are drawn anew, and batch normalisation takes its statistics from images, so that a signal comes through). {count} networks, {methods} methods.

- ✓ the method runs
- ✓✓ it runs, and checks at every call that its map adds up as its docstring says, such as to the logit
- a number: it refuses, with the sentence of that number below the table

That a method runs does not say that its map is right: lessons 04 to 09 and 15 ask that. A method that refuses raises a `ValueError`
with that sentence. The networks are torchvision's `resnet18`, `resnet50`, `vgg11`, `mobilenet_v2`, `mobilenet_v3_small`, `densenet121`,
`inception_v3`, `efficientnet_b0`, `convnext_tiny`, `vit_b_16` and `swin_t`, and timm's `nfnet_l0` and `mobilevit_xxs`.
"""
END = """
Two things were not tried. Expected gradients need images of your own to compare with; they apply wherever Integrated Gradients do.
And `grad_cam` and the methods like it were tried on one layer, the last convolution, which they take by themselves; any other layer
is named by `layer=`. A vision transformer has no convolution after its patches, so name a layer that returns a map (N, K, h, w).
"""


def try_methods(library: str, network: str) -> dict[str, str]:
    """Return what comes of each method on a network: "ok", or a sentence."""
    torch.manual_seed(0)
    model, size = build(library, network)
    images = torch.rand(2, 3, size, size)
    gradient(model, images)  # the checks of a model that was not seen before
    return {name: outcome(method, model, images) for name, method in quick_methods(size).items()}


def page(results: dict[str, dict[str, str]]) -> str:
    """Return the page: a table of methods by networks, and the sentences of the refusals."""
    sentences: list[str] = []

    def cell(method: str, words: str) -> str:
        if words == "ok":
            return "✓✓" if method in EXACT else "✓"
        sentence = re.sub(r"\d+(\.\d+)?(e-?\d+)?", "…", words.removeprefix("refused: "))
        if sentence not in sentences:
            sentences.append(sentence)
        return str(sentences.index(sentence) + 1)

    methods = next(iter(results.values()))
    rows = [
        "| | " + " | ".join(results) + " |",
        "|---|" + ":-:|" * len(results),
        *(
            f"| {name} | "
            + " | ".join(cell(name, found[name]) for found in results.values())
            + " |"
            for name in methods
        ),
    ]
    listed = [f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1)]
    top = TOP.format(count=len(results), methods=len(methods))
    return "\n".join([top, *rows, "", "## The refusals", "", *listed, END])


def main() -> int:
    """Make the page; print the networks that are asked for, without writing, if some are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names of networks, with commas: print those")
    only = [name for name in parser.parse_args().only.split(",") if name]
    warnings.simplefilter("ignore")
    results = {
        title: try_methods(library, network)
        for title, (library, network) in NETWORKS.items()
        if not only or network in only
    }
    text = page(results)
    if only:
        print(text)
    else:
        PAGE.write_text(text, encoding="utf-8")
    faults = [words for found in results.values() for words in found.values() if "FAULT" in words]
    print(*faults, sep="\n", file=sys.stderr)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
