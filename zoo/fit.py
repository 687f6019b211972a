"""One stack in training: every model has its own data and its own end, and those that are done leave the stack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tracr_tasks.transformer import TargetConfig
from zoo.lessons import Lessons
from zoo.stack import Params, codes, forward_codes
from zoo.training_config import TrainConfig

LEAVE = 8
"""Models that are done are taken out of the stack when they are one in so many of it: it costs a copy of the rest."""


@dataclass(frozen=True)
class Fitted:
    """A stack after training."""

    params: Params
    """Each model's weights at its end."""
    losses: tuple[Float[Tensor, " _"], ...]
    """Of each model at every step that it trained for."""


def fit(
    config: TargetConfig,
    params: Params,
    lessons: Lessons,
    draws: Int[np.ndarray, "step model draw"],
    last: Int[np.ndarray, " model"],
    train: TrainConfig,
) -> Fitted:
    """Train a stack from `params`: model i for at most `last[i]` steps, in step s on `draws[s, i]` of its lesson."""
    device = params["embed.W_E"].device
    inputs, answers = lesson_codes(lessons).to(device), torch.from_numpy(lessons.answers).to(device)
    places, losses = torch.from_numpy(draws).to(device), torch.zeros(draws.shape[:2], device=device)
    out = {name: tensor.clone() for name, tensor in params.items()}
    params = {name: tensor.clone().requires_grad_() for name, tensor in params.items()}
    optimizer = _adamw(params, train)
    ends, live = last.copy(), np.arange(len(last))
    hits = torch.zeros(len(last), device=device)
    for step in range(1, len(draws) + 1):
        index, at = places[step - 1, live], torch.from_numpy(live)
        logits = forward_codes(config, params, inputs[lessons.place(index, at)])
        wanted = answers[live].gather(1, index)
        each = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
        each = each.view(len(live), -1).mean(1)
        losses[step - 1, live] = each.detach()
        for group in optimizer.param_groups:
            group["lr"] = train.lr * min(1.0, step / max(1, train.warmup)) * (1 - (step - 1) / train.steps)
        optimizer.zero_grad(set_to_none=True)
        each.sum().backward()
        optimizer.step()
        if train.stop_accuracy:
            hits += (logits.argmax(-1) == wanted).sum(1)
            if step % train.stop_window == 0:
                enough = (hits >= train.stop_accuracy * train.stop_window * train.batch).cpu().numpy()
                ends[live[enough]] = np.minimum(ends[live[enough]], step)
                hits.zero_()
        if not (ending := np.flatnonzero(ends[live] == step)).size:
            continue
        for name, tensor in params.items():
            out[name][live[ending]] = tensor.detach()[ending]
        keep = np.flatnonzero(ends[live] > step)
        if not keep.size:
            break
        if LEAVE * (len(live) - len(keep)) >= len(live):
            params, optimizer = _without_others(params, optimizer, torch.from_numpy(keep).to(device), train)
            live, hits = live[keep], hits[keep]
    return Fitted(out, tuple(losses[:end, i].cpu() for i, end in enumerate(ends.tolist())))


def _adamw(params: Params, train: TrainConfig) -> torch.optim.AdamW:
    betas = (0.9, train.beta2)
    return torch.optim.AdamW(
        list(params.values()), lr=train.lr, betas=betas, weight_decay=train.weight_decay, fused=True
    )


def _without_others(
    params: Params, optimizer: torch.optim.AdamW, keep: Int[Tensor, " kept"], train: TrainConfig
) -> tuple[Params, torch.optim.AdamW]:
    """The models `keep` of a stack alone, with what the optimizer knows of them."""
    kept = {name: tensor.detach()[keep].requires_grad_() for name, tensor in params.items()}
    other = _adamw(kept, train)
    for name, tensor in params.items():
        state = optimizer.state[tensor]
        moments = {key: state[key][keep] for key in ("exp_avg", "exp_avg_sq")}
        other.state[kept[name]] = {"step": state["step"].clone(), **moments}
    return kept, other


def lesson_codes(lessons: Lessons) -> Int[Tensor, "input pos"]:
    """The inputs of lessons as a stack reads them."""
    return codes(torch.from_numpy(lessons.inputs), lessons.vocab_size)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Products in full float32, and on a GPU in a fixed order, whatever the process has set: a seed gives its bytes."""
    before = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    torch.set_float32_matmul_precision("highest")
    try:
        if device.type == "cpu":
            yield
            return
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.use_deterministic_algorithms(before[1])
