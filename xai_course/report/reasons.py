"""Why a method refuses a network, in the reader's language.

An explainer's error is English, as it is for whoever calls the function. On the page of a report it
stands in a table, and there it is translated. Here are the reasons that networks give most often.
"""

from __future__ import annotations

from xai_course.core.translation import language, message, translate_filled

__all__ = ["REASONS", "reason_in_words"]


# As the methods raise them, without "model: " and without sentences that name an argument.
REASONS = (
    message(
        "got {step}, which is no ReLU; must have ReLUs and no other activations, as DeconvNet and "
        "guided backpropagation are rules for ReLUs. Use integrated_gradients or occlusion instead."
    ),
    message("got no ReLU that can be seen; must have at least one."),
    message(
        "got a non-linear step that may be a ReLU and cannot be seen; must have its ReLUs as relu, "
        "clamp(min=0), maximum(x, 0) or where(x > 0, x, 0), and not in scripted code."
    ),
    message(
        "got an output without derivative by the images; must be differentiable, without no_grad, "
        "detach or NumPy."
    ),
    message(
        "got an output without derivative by the images; must be differentiable, without no_grad "
        "or detach."
    ),
    message(
        "got an output without derivative by what enters its head; must be differentiable, without "
        "no_grad, detach or numpy."
    ),
    message(
        "got an output without derivative by its blocks; must be differentiable, without no_grad "
        "or detach."
    ),
    message("got a step without a derivative ({error}); must be differentiable."),
    message(
        "got gradient and biases that do not sum to the logit; must be piecewise linear (without "
        "GELU, sigmoid, softmax, attention), in full precision, and add no constant that is not "
        "traced. Use integrated_gradients instead."
    ),
    message(
        "got the step {step}, which is not piecewise linear or cannot be known; must be piecewise "
        "linear. Use integrated_gradients instead."
    ),
    message(
        "got no residual sum in its forward pass; must be a network whose blocks add to a skip "
        "path."
    ),
    message(
        "got parts that miss the logit by {error} of their size; must be piecewise linear along "
        "its skip paths, and have no way around all its residual sums. Use integrated_gradients, "
        "which needs neither."
    ),
    message(
        "got skip paths that are not piecewise linear, so a block has no share of the logit; must "
        "have ReLUs and max-pools only. Use integrated_gradients instead."
    ),
    message(
        "got relevance that does not sum to f(x) - f(x₀), since the model has a step that is "
        "neither linear, nor an activation of single units that can be seen, nor a max-pool (a "
        "product of activations, attention, layer normalisation, softmax, scripted code, "
        "torch.utils.checkpoint), or half precision; use integrated_gradients instead."
    ),
    message(
        "got a layer that cannot be seen, so lrp has no rule for it; must consist of conv2d, "
        "linear, activations, pooling and sums, outside scripted code. Use integrated_gradients "
        "instead."
    ),
    message(
        "got relevance that, with what biases absorb, does not sum to the logit, since the model "
        "has a step for which lrp has no rule (a product of activations, attention, layer "
        "normalisation, softmax, a constant that is concatenated or padded, "
        "torch.utils.checkpoint), or half precision; use integrated_gradients instead."
    ),
    message(
        "got a call of {step}, for which lrp has no rule; must consist of conv2d, linear, "
        "activations, pooling and sums. Use integrated_gradients instead."
    ),
    message(
        "got {output}; must be a network of convolutions whose last one has several positions "
        "(larger images have more), with linear layers after it. grad_cam takes any layer's map "
        "and needs no linear layer, gradient needs no convolution."
    ),
    message(
        "got no linear layer (N, features) after its last convolution; must have a fully connected "
        "layer to read."
    ),
    message(
        "got a sum that misses the logit by up to {error}, so its head does more than add up "
        "(GELU, Tanh, softmax, layer normalisation), runs in half precision, or takes features or "
        "constants from elsewhere, too; must have a head of linear layers and ReLUs. "
        "integrated_gradients and occlusion need no such head."
    ),
    message(
        "got an output that no linear layer returned, so its classes have no rows of weights; must "
        "be a network whose last step is a linear layer."
    ),
    message(
        "got torch.utils.checkpoint, which runs steps again in the backward pass; must be without "
        "it. It saves memory in training, and changes no result."
    ),
    message(
        "got a part that runs without gradients, under no_grad or in a reentrant "
        "torch.utils.checkpoint; must run with gradients."
    ),
    message("layer: got no name, and no convolution was seen to run; must be a layer's name."),
    message(
        "layer: got no name, and {count} linear layers work at each position after the last "
        "convolution, as in a vision transformer; must be the name of a layer that returns maps "
        "(N, K, h, w)."
    ),
    message("layer: got {layer}, which does not affect the logit; must be one that does."),
    message(
        "got a scripted part ({part}), whose steps cannot be seen; must be plain modules, as "
        "before torch.jit. gradient, integrated_gradients and occlusion also explain scripted "
        "models."
    ),
)


def reason_in_words(reason: str) -> str:
    """Return why a method refuses a network, in the reader's language.

    Args:
        reason: the message of the method's error, or an assumption's that does not hold.

    Returns:
        The reason; in English where it is none of `REASONS`.

    Example:
        >>> from xai_course.report.reasons import reason_in_words
        >>> reason_in_words("model: got no ReLU that can be seen; must have at least one.")
        'model: got no ReLU that can be seen; must have at least one.'
    """
    if language() == "en":
        return reason
    plain = reason.removeprefix("model: ")
    words = translate_filled(plain, REASONS)
    return reason if words == plain else words
