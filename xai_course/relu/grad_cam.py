"""Grad-CAM and its sisters: a layer's feature maps, weighted by their gradients and added up.

The methods differ in the weights alone. A are the maps of the layer, g = ∂f/∂A:

| method | weight of A[k, i, j] |
|---|---|
| `grad_cam` | mean of g[k] over positions |
| `grad_cam_plus_plus` | Σ over positions of g[k]⁺ / (2 + g[k] · Σ A[k]) |
| `hires_cam` | g[k, i, j] |
| `layer_cam` | g[k, i, j]⁺ |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.graph import derivatives, step_kind
from xai_course.core.hooks import capture_layer, check_map_layout, in_this_thread
from xai_course.core.inputs import check_images, validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.switches import own_switches

__all__ = ["default_layer", "grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam"]


@own_switches(grad=True)
def grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    layer: str | nn.Module | None = None,
    relu: bool = False,
) -> Tensor:
    """Return Grad-CAM: the sum of a layer's feature maps, each weighted by its mean gradient.

        weight[k]       = mean over positions of ∂f/∂A[k]
        relevance[i, j] = Σ_k weight[k] · A[k, i, j]        with A the layer's output (K, h, w)

    The map has the layer's resolution (h, w) and is enlarged to the input's size by bilinear
    interpolation. If only average pooling and one linear layer follow, the sum over the h·w
    positions, before that, is the logit minus its bias.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        layer: a module of the model or its dotted name. If it runs several times, its last run
            counts. None for the last convolutional feature map, which `default_layer` names; a
            network with none near its end, such as a vision transformer, is refused.
        relu: False keeps the sign; True sets negative values to 0, as published.

    Returns:
        Relevance (N, 1, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, or the layer does not exist, does not run,
            does not return (N, K, h, w), or does not affect the logit.

    Cost:
        One forward pass, and the backward pass down to the layer.

    References:
        Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
        Localization. ICCV 2017, arXiv:1610.02391.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import grad_cam
        >>> _ = torch.manual_seed(0)
        >>> head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2, bias=False)
        >>> model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), *head).eval()
        >>> images = torch.rand(1, 3, 8, 8)
        >>> relevance = grad_cam(model, images, targets=1)
        >>> relevance.shape, torch.allclose(relevance.sum(), model(images)[0, 1])
        (torch.Size([1, 1, 8, 8]), True)
    """

    def mean_gradient(maps: Tensor, grad: Tensor) -> Tensor:
        return grad.mean((2, 3), keepdim=True)

    return _weighted_sum(model, images, targets, layer, relu, mean_gradient)


@own_switches(grad=True)
def grad_cam_plus_plus(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    layer: str | nn.Module | None = None,
    relu: bool = False,
) -> Tensor:
    """Return Grad-CAM++: Grad-CAM with a weighted sum of positive gradients as a map's weight.

        alpha[k, i, j]  = g² / (2 g² + g³ · Σ A[k])         with g = ∂f/∂A[k, i, j], 0 where g is 0
        weight[k]       = Σ over positions of alpha[k, i, j] · g⁺
        relevance[i, j] = Σ_k weight[k] · A[k, i, j]

    This is the published closed form. It follows for a score exp(f), with Σ over all positions of
    the map; as in common implementations, g is that of the logit f itself. The published weights
    have the factor exp(f) in addition, which scales an image's map as a whole.

    No weight is negative: a map that lowers the logit gets the weight 0. So relevance says where
    maps that support the class are active, and adds up to no logit.

    Args:
        model: as for `grad_cam`.
        images: (N, C, H, W), floating point.
        targets: as for `grad_cam`.
        layer: as for `grad_cam`; its output should not be negative, as after a ReLU.
        relu: True sets negative values to 0, as published. After a ReLU there are none.

    Returns:
        Relevance (N, 1, H, W), without a unit: twice the logit has not twice the map.

    Raises:
        ValueError: as `grad_cam`, or if negative outputs make a denominator 0 or less.

    Cost:
        One forward pass, and the backward pass down to the layer.

    References:
        Chattopadhay, Sarkar, Howlader, Balasubramanian: Grad-CAM++: Generalized Gradient-based
        Visual Explanations for Deep Convolutional Networks. WACV 2018, arXiv:1710.11063.

    Example:
        One map of two positions, with the gradients 1 and 3, and Σ A = 2.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import grad_cam_plus_plus
        >>> model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(2, 1)).eval()
        >>> model[2].weight.data = torch.tensor([[1.0, 3.0]])
        >>> images = torch.tensor([[[[2.0, 0.0]]]])
        >>> grad_cam_plus_plus(model, images, layer="0")  # 2 · (1 / (2 + 2) + 3 / (2 + 6))
        tensor([[[[1.2500, 0.0000]]]])
    """

    def weights(maps: Tensor, grad: Tensor) -> Tensor:
        denominator = 2 + grad * maps.sum((2, 3), keepdim=True)  # alpha = 1 / denominator
        if ((grad > 0) & (denominator <= 0)).any():
            raise ValueError(
                "layer: got one with negative outputs, by which Grad-CAM++ would divide by 0 or "
                "less; must be one whose output is not negative, as after a ReLU."
            )
        positive = grad.relu()
        return (positive / denominator.where(positive > 0, 1)).sum((2, 3), keepdim=True)

    return _weighted_sum(model, images, targets, layer, relu, weights)


@own_switches(grad=True)
def hires_cam(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    layer: str | nn.Module | None = None,
    relu: bool = False,
) -> Tensor:
    """Return HiResCAM: a layer's feature maps times their gradients, position by position.

        relevance[i, j] = Σ_k g[k, i, j] · A[k, i, j]       with g = ∂f/∂A

    If only linear steps follow the layer, pooling, flattening and one linear layer among them, then
    f = Σ g · A + its bias. The sum of the map, before it is enlarged, is then the logit minus its
    bias. Grad-CAM has this property only for a head that pools by the mean, where the two are the
    same map.

    Args:
        model: as for `grad_cam`.
        images: (N, C, H, W), floating point.
        targets: as for `grad_cam`.
        layer: as for `grad_cam`.
        relu: False keeps the sign, which the sum needs; True sets negative values to 0.

    Returns:
        Relevance (N, 1, H, W), in logits.

    Raises:
        ValueError: as `grad_cam`.

    Cost:
        One forward pass, and the backward pass down to the layer.

    References:
        Draelos, Carin: Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
        neural networks. 2020, arXiv:2011.08891.

    Example:
        A head that is not pooled: positions count differently.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import grad_cam, hires_cam
        >>> model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(2, 1, bias=False)).eval()
        >>> model[2].weight.data = torch.tensor([[1.0, 3.0]])
        >>> images = torch.tensor([[[[5.0, 1.0]]]])  # the logit is 5 + 3 = 8
        >>> hires_cam(model, images, layer="0"), grad_cam(model, images, layer="0")
        (tensor([[[[5., 3.]]]]), tensor([[[[10.,  2.]]]]))
    """

    def gradient(maps: Tensor, grad: Tensor) -> Tensor:
        return grad

    return _weighted_sum(model, images, targets, layer, relu, gradient)


@own_switches(grad=True)
def layer_cam(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    layer: str | nn.Module | None = None,
    relu: bool = False,
) -> Tensor:
    """Return LayerCAM: a layer's feature maps times their positive gradients, each position alone.

        relevance[i, j] = Σ_k g[k, i, j]⁺ · A[k, i, j]      with g = ∂f/∂A

    It is `hires_cam` without the negative gradients: what lowers the logit is not shown, and the
    map adds up to no logit. As published it is meant for early layers too, whose maps are sharper.

    Args:
        model: as for `grad_cam`.
        images: (N, C, H, W), floating point.
        targets: as for `grad_cam`.
        layer: as for `grad_cam`.
        relu: True sets negative values to 0, as published. After a ReLU there are none.

    Returns:
        Relevance (N, 1, H, W), in logits.

    Raises:
        ValueError: as `grad_cam`.

    Cost:
        One forward pass, and the backward pass down to the layer.

    References:
        Jiang, Zhang, Hou, Cheng, Wei: LayerCAM: Exploring Hierarchical Class Activation Maps for
        Localization. IEEE Transactions on Image Processing 30, 2021.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import layer_cam
        >>> model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(2, 1)).eval()
        >>> model[2].weight.data = torch.tensor([[-1.0, 3.0]])
        >>> layer_cam(model, torch.tensor([[[[5.0, 1.0]]]]), layer="0")
        tensor([[[[0., 3.]]]])
    """

    def positive_gradient(maps: Tensor, grad: Tensor) -> Tensor:
        return grad.relu()

    return _weighted_sum(model, images, targets, layer, relu, positive_gradient)


def _weighted_sum(
    model: nn.Module,
    images: Tensor,
    targets: Any,
    layer: str | nn.Module | None,
    relu: bool,
    weights: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Return Σ over channels of weights(A, ∂f/∂A) · A, enlarged to the images' size."""
    model, targets = single_output(model, targets)
    with capture_layer(model, layer) as captured:
        _, chosen, _ = validate_inputs(model, images, targets)
    maps = captured[0]
    check_map_layout(maps, images, layer)
    grad = None
    if chosen.requires_grad and maps.requires_grad:
        (grad,) = derivatives(chosen.sum(), maps, allow_unused=True)
    if grad is None:
        where = "the last convolution" if layer is None else repr(layer)
        raise ValueError(
            f"layer: got {where}, which does not affect the logit; must be one that does."
        )
    maps = maps.detach()
    relevance = (weights(maps, grad) * maps).sum(1, keepdim=True)
    if relu:
        relevance = relevance.relu()
    return F.interpolate(relevance, images.shape[2:], mode="bilinear", align_corners=False)


@own_switches(grad=True)
def default_layer(model: nn.Module, images: Tensor) -> str:
    """Return the name of the layer that `grad_cam` and its sisters take where none is named.

    Args:
        model: a network in evaluation mode.
        images: (N, C, H, W), of which the first is used.

    Returns:
        The dotted name of the outermost module that returns the last convolutional feature map (see
        `capture_layer`): passed as `layer`, it gives the same map. Where a function returns it and
        no module, as in DenseNet, the function and the last module before it: "relu after
        features".

    Raises:
        ValueError: for a model in training mode, or without such a layer.

    Cost:
        One forward pass of one image.

    Example:
        >>> import torch
        >>> from xai_course.models import BeetleNet
        >>> from xai_course.relu import default_layer
        >>> default_layer(BeetleNet().eval(), torch.zeros(1, 3, 64, 64))
        'blocks'
    """
    check_images(images)
    name = ""  # of the last module that returned the map
    seen: tuple[Any, int] = (None, 0)  # what it returned, and how often that was changed in place
    hooks = []

    def compare(own_name: str, output: Any) -> None:
        nonlocal name, seen
        if captured and output is captured[0]:
            name, seen = own_name, (output, output._version)

    try:
        with capture_layer(model) as captured:
            for own_name, module in model.named_modules():
                hook = in_this_thread(lambda _, __, output, n=own_name: compare(n, output))
                hooks.append(module.register_forward_hook(hook))
            validate_inputs(model, images[:1])
    finally:
        for handle in hooks:
            handle.remove()
    maps = captured[0]
    if seen[0] is maps and seen[1] == maps._version:
        return name
    # A function made the map from what the module returned, or changed it in place.
    function = step_kind(maps.grad_fn).lower() if maps.grad_fn else "a function"
    return f"{function} after {name}" if name else function
