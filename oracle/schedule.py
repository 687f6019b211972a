"""What trainings share: the device, the budget, the learning rate over it, the optimizers, and the bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

OUTPUTS = ("lm_head", "unembed")
"""Names of layers whose rows are compared with one by one, as those of embeddings are looked up."""
LEAST_SIDE = 8
"""Of a matrix that Muon trains."""


def best_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def budget_left(minutes: float, steps: int | None) -> Callable[[int, float], float]:
    """Share of the budget that is left at a step and a time in minutes: of the steps if given, else of the minutes."""

    def left(step: int, elapsed: float) -> float:
        return 1 - (elapsed / minutes if steps is None else step / steps)

    return left


def rate_share(step: int, left: float, warm_up: int = 50, decay: float = 1.0) -> float:
    """Share of the peak learning rate: linear warm-up over some steps, then a linear decay to zero over the last
    `decay` of the budget."""
    return min(1.0, (step + 1) / warm_up) * min(1.0, left / decay)


def progress(minutes: float, name: str, hidden: bool = False) -> Any:
    """A bar of minutes; whatever is done in a step is set as its postfix."""
    layout = "{l_bar}{bar}| {n:.1f}/{total:.0f} min {postfix}"
    return tqdm(total=minutes, desc=name, bar_format=layout, disable=True if hidden else None)


class Optimizers:
    """AdamW, with Muon for the matrices if it has a rate: each with its own peak learning rate.

    Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon) makes all singular values of a matrix's step alike.
    """

    def __init__(self, module: nn.Module, lr: float, muon_lr: float = 0.0, weight_decay: float = 0.01):
        matrices, rest = split_matrices(module) if muon_lr else ([], trained(module))
        self.each: list[tuple[torch.optim.Optimizer, float]] = []
        if rest or not matrices:
            self.each.append((torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98)), lr))
        if matrices:
            self.each.append((torch.optim.Muon(matrices, lr=muon_lr, weight_decay=weight_decay), muon_lr))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that they move."""
        return [p for optimizer, _ in self.each for group in optimizer.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer, _ in self.each:
            optimizer.zero_grad(set_to_none=True)

    def step(self, share: float) -> None:
        """One step of each at this share of its peak learning rate."""
        for optimizer, peak in self.each:
            for group in optimizer.param_groups:
                group["lr"] = share * peak
            optimizer.step()


def split_matrices(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices of linear layers, which Muon is made for, and the rest: embeddings, outputs, biases, gains, and what is
    narrower than `LEAST_SIDE`."""
    layers = [m for name, m in module.named_modules() if name.rpartition(".")[2] not in OUTPUTS]
    weights = [p for m in layers if isinstance(m, nn.Linear) for p in m.parameters(recurse=False) if p.ndim == 2]
    matrices = [weight for weight in weights if weight.requires_grad and min(weight.shape) >= LEAST_SIDE]
    known = {id(weight) for weight in matrices}
    return matrices, [p for p in trained(module) if id(p) not in known]


def trained(module: nn.Module) -> list[nn.Parameter]:
    """Parameters with gradients."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
