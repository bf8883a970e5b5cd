"""Small networks of every kind, for properties over random networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from explainers import state
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Step = Callable[[Tensor], Tensor]


@torch.jit.script
def scripted_relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def assigned(x: Tensor) -> Tensor:
    y = x.clone()
    y[y < 0] = 0
    return y


# Spellings of ReLU. A method must give what it gives for F.relu, or refuse.
RELUS: dict[str, Step] = {
    "F.relu": F.relu,
    "in place": lambda x: x.clone().relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "max": lambda x: torch.max(torch.zeros((), dtype=x.dtype), x),
    "fmax": lambda x: torch.fmax(x, torch.zeros_like(x)),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where, turned": lambda x: torch.where(x <= 0, torch.zeros_like(x), x),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.0),
    "times a mask": lambda x: x * (x > 0),
    "times a mask of numbers": lambda x: x * (x > 0).to(x.dtype),
    "half of x + |x|": lambda x: (x + x.abs()) / 2,
    "minus minimum": lambda x: -torch.minimum(-x, torch.zeros_like(x)),
    "assigned": assigned,
    "scripted": scripted_relu,
    "leaky without a slope": lambda x: F.leaky_relu(x, 0.0),
    "largest of a stack": lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0),
    "largest of a stack by index": lambda x: torch.stack([x, x * 0], -1).max(-1)[0],
    "times twice a mask": lambda x: x.mul(0.5).mul(2 * (x > 0).to(x.dtype)),
    "einsum with a mask": lambda x: torch.einsum("n...,n...->n...", x, (x > 0).to(x.dtype)),
    "divided": lambda x: x / torch.where(x.detach() > 0, 1.0, torch.inf),
    "gathered": lambda x: torch.stack([x * 0, x]).gather(0, (x > 0).long()[None])[0],
    "interpolated": lambda x: torch.lerp(x * 0, x, (x > 0).to(x.dtype)),
    "sorted": lambda x: torch.stack([x, torch.zeros_like(x)]).sort(0)[0][1],
    "checkpointed": lambda x: checkpoint(F.relu, x, use_reentrant=False),
}

# Others: rules for ReLUs must refuse them.
OTHERS: dict[str, Step] = {
    "GELU": F.gelu,
    "SiLU by hand": lambda x: x * torch.sigmoid(x),
    "hard swish by hand": lambda x: x * F.relu6(x + 3) / 6,
    "square": lambda x: x * x.clamp(min=0),
    "softplus by hand": lambda x: (1 + x.exp()).log(),
    "leaky by maximum": lambda x: torch.maximum(x, 0.1 * x),
    "tanh": torch.tanh,
    "abs": torch.abs,
    "leaky by a mask": lambda x: x * ((x > 0).to(x.dtype) * 0.9 + 0.1),
    "leaky by two factors": lambda x: x * torch.where(x > 0, 1.0, 0.3),
}


class Plan(NamedTuple):
    """What a random network is made of."""

    seed: int
    activations: tuple[str, ...]
    norm: str
    pool: str
    joined: str
    padding: str
    head: str


plans = st.builds(
    Plan,
    seed=st.integers(0, 10_000),
    activations=st.lists(
        st.one_of(
            st.just("F.relu"), st.sampled_from(sorted(RELUS)), st.sampled_from(sorted(OTHERS))
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    norm=st.sampled_from(["none", "none", "batch", "group", "weights"]),
    pool=st.sampled_from(["none", "max", "average", "stride"]),
    joined=st.sampled_from(["none", "sum", "sum in place", "concatenated", "coordinates"]),
    padding=st.sampled_from(["zeros", "reflect", "circular", "constant", "transposed"]),
    head=st.sampled_from(["pooled", "flat", "two layers", "one logit", "views"]),
)


class RandomNetwork(nn.Module):
    """A network by a plan: `act(name, x)` runs each activation."""

    def __init__(self, plan: Plan, act: Callable[[str, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.act = act or (lambda name, x: (RELUS | OTHERS)[name](x))
        mode = plan.padding if plan.padding in ("reflect", "circular") else "zeros"
        stride = 2 if plan.pool == "stride" else 1
        channels = 3 if plan.joined == "coordinates" else 2
        self.stem = nn.Conv2d(channels, 4, 3, stride, padding=1, padding_mode=mode)
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in plan.activations)
        if plan.padding == "transposed":
            self.up = nn.ConvTranspose2d(4, 4, 2)
        norms = {"batch": nn.BatchNorm2d(4), "group": nn.GroupNorm(2, 4)}
        self.norm = norms.get(plan.norm, nn.Identity())
        if plan.norm == "batch":
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)
        self.fc = nn.LazyLinear(5 if plan.head == "two layers" else self.classes)
        self.last = nn.Linear(5, self.classes) if plan.head == "two layers" else nn.Identity()
        self.double().eval()
        self(torch.zeros(2, 2, 8, 8, dtype=torch.double))  # makes the lazy layer

    @property
    def classes(self) -> int:
        return 1 if self.plan.head == "one logit" else 3

    def conv(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        if self.plan.norm != "weights":
            return layer(x)
        w = layer.weight  # standardised weights, as in some residual networks
        w = (w - w.mean((1, 2, 3), keepdim=True)) / w.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, w, layer.bias, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        plan, first = self.plan, plan_act(self.plan)
        if plan.joined == "coordinates":
            rows = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype).view(1, 1, -1, 1)
            x = torch.cat([x, rows.expand(len(x), 1, *x.shape[2:])], 1)
        if plan.head == "views":
            x = torch.cat([x, x.flip(3)])
        if plan.padding == "constant":
            x = F.pad(x, (1, 1, 1, 1), value=0.5)
        x = self.act(first, self.stem(x))
        if plan.padding == "transposed":
            x = self.up(x)
        for name, layer in zip(plan.activations, self.convs, strict=True):
            y = self.act(name, self.norm(self.conv(layer, x)))
            if plan.joined == "sum":
                y = x + y
            elif plan.joined == "sum in place":
                y = y.clone()
                y += x
            elif plan.joined == "concatenated":
                y = torch.cat([x[:, :2], y[:, 2:]], 1)
            x = y
        if plan.pool == "max":
            x = F.max_pool2d(x, 2)
        elif plan.pool == "average":
            x = F.avg_pool2d(x, 2)
        x = x.flatten(1) if plan.head == "flat" else x.mean((2, 3))
        x = self.fc(x)
        if plan.head == "two layers":
            x = self.last(self.act(first, x))
        if plan.head == "views":
            half = len(x) // 2
            x = (x[:half] + x[half:]) / 2
        return x


def plan_act(plan: Plan) -> str:
    """The activation of the stem and of the head."""
    return plan.activations[0]


def all_are_relus(plan: Plan) -> bool:
    """Whether a network by this plan has no other activation and no other non-linear step."""
    return plan.norm != "group" and all(name in RELUS for name in plan.activations)


def state_of(model: nn.Module) -> list[Any]:
    """What a method must leave as it was: the model, and PyTorch's modes."""
    modes = [torch.overrides._get_current_function_mode_stack(), torch.is_grad_enabled()]
    return [*modes, *state(model), *(weight.sum().item() for weight in model.parameters())]
