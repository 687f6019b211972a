"""The circuits of a target's heads in the token basis (Elhage et al. 2021, "A Mathematical Framework for Transformer
Circuits"), as numbers and as a picture.

Of each head two: QK, which score a query's label gives to a key's, and OV, how much attending to a label adds to each
output. Both are along the direct path, as if no other head or neuron had written anything.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from oracle.console import printable
from oracle.neutral import Neutral, fold
from zoo.target import PAD, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_HEADS = 6
"""Heads that are drawn."""
MAX_TOKENS, MAX_POSITIONS, MAX_OUTPUTS = 14, 10, 16
"""Labels of each kind that are drawn."""
LONGEST_NAME = 5
"""Characters of a label's name."""
WIDTH, ROW_HEIGHT, DPI = 6.6, 3.4, 140
"""Inches of the picture, inches of a head in it, and dots an inch."""
CLIPPED = 0.97
"""Share of the numbers that the colours tell apart; those of compiled targets reach from 1 to 10,000."""


@dataclass(frozen=True)
class Circuits:
    """The two circuits of one head."""

    layer: int
    head: int
    qk: Float[Tensor, "label label"]
    """Score of a key (column) for a query (row), up to what is the same for all keys."""
    ov: Float[Tensor, "label output"]
    """What attending to a label (row) adds to the logit of an output (column)."""


@dataclass(frozen=True)
class Labelled:
    """Circuits of a target with the names of their rows and columns."""

    labels: tuple[str, ...]
    """Input tokens, then positions."""
    outputs: tuple[str, ...]
    heads: tuple[Circuits, ...]
    n_heads: int
    """Heads of the target, drawn or not."""


@torch.no_grad()
def circuits_of(target: Target) -> Labelled:
    """The circuits of the first heads of a target, over its first labels.

    Raises:
        TargetError: a kind of target that cannot be folded (`oracle.neutral.check_foldable`).
    """
    neutral = fold(target.config, target.weights)
    skipped = {PAD} if target.config.default_prepend_bos else set[int]()
    tokens = [i for i in range(len(neutral.W_E)) if i not in skipped][:MAX_TOKENS]
    positions = list(range(len(neutral.W_pos)))[:MAX_POSITIONS]
    rows = torch.cat([neutral.W_E[tokens], neutral.W_pos[positions]])
    first = 0 if target.config.default_prepend_bos else 1  # BOS stands at position 0
    labels = [_short(target.vocab.input[i]) for i in tokens] + [f"@{i + first}" for i in positions]
    places = [(i, h) for i, layer in enumerate(neutral.layers) for h in range(len(layer.W_O))]
    return Labelled(
        tuple(labels),
        tuple(_short(name) for name in target.vocab.output[:MAX_OUTPUTS]),
        tuple(_circuits(neutral, rows, layer, head) for layer, head in places[:MAX_HEADS]),
        len(places),
    )


def _circuits(neutral: Neutral, rows: Float[Tensor, "label d_model"], layer: int, head: int) -> Circuits:
    block = neutral.layers[layer]
    queries = (rows + _constant(neutral, layer)) @ block.W_Q[head] + block.b_Q[head]
    keys = rows @ block.W_K[head] + block.b_K[head]
    ov = rows @ block.W_V[head] @ block.W_O[head] @ neutral.W_U[:, :MAX_OUTPUTS]
    return Circuits(layer, head, queries @ keys.T, ov)


def _constant(neutral: Neutral, layer: int) -> Float[Tensor, " d_model"]:
    """What stands at every position before a layer, whatever the input: heads hand on all of it, for attention sums to
    one, and biases are added."""
    out = neutral.constant
    for i in range(layer):
        before = neutral.layers[i]
        out = out + torch.einsum("d,hdk,hke->e", out, before.W_V, before.W_O) + before.b_O + before.b_out
    return out


def _short(name: str) -> str:
    """A label's name, safe to draw."""
    safe = printable(name)
    return safe if len(safe) <= LONGEST_NAME else safe[: LONGEST_NAME - 1] + "…"


def picture(found: Labelled) -> bytes:
    """The circuits as a PNG, a row a head."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with rc_context({"font.family": "DejaVu Sans", "font.size": 13, "text.parse_math": False}):
        figure = Figure(figsize=(WIDTH, ROW_HEIGHT * len(found.heads)), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(found.heads), 2, squeeze=False)
        for (left, right), head in zip(axes, found.heads, strict=True):
            where = f"layer {head.layer} head {head.head}"
            _draw(left, head.qk, found.labels, found.labels, f"{where}: QK")
            _draw(right, head.ov, found.labels, found.outputs, f"{where}: OV")
        _save(figure, out)
    return out.getvalue()


def _save(figure: Figure, out: io.BytesIO) -> None:
    """Write the picture; a name in a script that the font has not is drawn as boxes, and nobody is warned."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from", category=UserWarning)
        figure.savefig(out, format="png")


def _draw(
    axes: Axes, values: Float[Tensor, "row column"], rows: Sequence[str], columns: Sequence[str], title: str
) -> None:
    """One circuit: blue below zero, red above, the colours' limit in the title."""
    limit = float(values.abs().flatten().quantile(CLIPPED)) or float(values.abs().max())
    end = limit or 1.0
    axes.imshow(values.numpy(), cmap="RdBu_r", vmin=-end, vmax=end, aspect="auto", interpolation="nearest")
    axes.set_title(f"{title} ({f'±{limit:.2g}' if limit else 'zero'})", fontsize=13, loc="left")
    small = 11 if max(len(rows), len(columns)) <= 16 else 8.5
    axes.set_yticks(range(len(rows)), rows, fontsize=small)
    axes.set_xticks(range(len(columns)), columns, fontsize=small, rotation=90)
    axes.tick_params(length=0)
