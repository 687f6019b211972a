"""A source: the weights of one transformer, read a part at a time under TransformerLens's names.

A layout says in plain code how a kind of checkpoint names and shapes what we name otherwise. Opening a source runs that
code on tensors without data, so that every name and shape is checked before a single weight is read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, shapes
from zoo.files import shown
from zoo.readers.checkpoint import Checkpoint
from zoo.target import Target, Vocab
from zoo.target_files import check_total

Tensors = dict[str, Tensor]
"""Named tensors."""


Read = Callable[..., Tensor]
"""`read(name, *shape)` gives a stored tensor as float32, or refuses it where its shape is another."""


@dataclass(frozen=True)
class Layout:
    """How a kind of checkpoint holds a target. Each function reads stored tensors and returns ours, with full names."""

    embedding: Callable[[Read, TargetConfig], Tensors]
    """embed.W_E, and pos_embed.W_pos where there is one."""
    block: Callable[[Read, TargetConfig, int], Tensors]
    """The tensors of one layer."""
    unembedding: Callable[[Read, TargetConfig], Tensors]
    """ln_final, unembed.W_U unless it is tied, unembed.b_U where there is one."""
    prefix: str = ""
    """Before every stored name but the heads'; files of a model without a head go without it."""
    heads: tuple[str, ...] = ()
    """What a stored W_U transposed may be called; where embeddings are tied it may be stored all the same."""
    embedding_name: str = ""
    """Stored name of W_E, which such a copy must equal."""


def named_layout(sizes: Mapping[str, tuple[int, ...]], stored: Callable[[str], str] = str) -> Layout:
    """The layout of files that hold tensors of the shapes given under our names, or what `stored` makes of them."""
    parts: defaultdict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, shape in sizes.items():
        first, second = name.split(".")[:2]
        parts[f"{first}.{second}" if first == "blocks" else first][name] = shape

    def part(read: Read, *starts: str) -> Tensors:
        return {name: read(stored(name), *shape) for start in starts for name, shape in parts[start].items()}

    return Layout(
        embedding=lambda read, _: part(read, "embed", "pos_embed"),
        block=lambda read, _, layer: part(read, f"blocks.{layer}"),
        unembedding=lambda read, _: part(read, "ln_final", "unembed"),
    )


class Source:
    """The weights of one transformer in a folder. Each method reads its part anew and keeps nothing.

    Tensors are float32. Those of one part may share memory, as those cut from one stored tensor do.
    """

    def __init__(self, config: TargetConfig, checkpoint: Checkpoint, layout: Layout, vocab: Callable[[], Vocab]):
        """Check names and shapes of all tensors, from the files' headers alone.

        Raises:
            TargetError: a tensor is missing, unexpected or of another shape.
        """
        self.config = config
        self._checkpoint, self._layout, self._load_vocab = checkpoint, layout, vocab
        self._prefix = layout.prefix
        if not any(name.startswith(layout.prefix) for name in checkpoint.shapes):
            self._prefix = ""
        self._check()

    @cached_property
    def vocab(self) -> Vocab:
        """Names of the tokens; read when first asked for."""
        return self._load_vocab()

    @property
    def n_parameters(self) -> int:
        """Numbers that are stored."""
        return sum(math.prod(shape) for shape in self._checkpoint.shapes.values())

    def names(self) -> tuple[str, ...]:
        """Names of all tensors, in the order of the computation."""
        return tuple(shapes(self.config))

    def embedding(self) -> Tensors:
        """embed.W_E [d_vocab, d_model], and pos_embed.W_pos [n_ctx, d_model] where positions are embedded.

        Raises:
            TargetError: NaN or Inf in a tensor (so do the other parts).
        """
        return self._layout.embedding(self._read, self.config)

    def block(self, layer: int) -> Tensors:
        """The tensors of one layer, as `blocks.{layer}.attn.W_Q` and so on."""
        if not 0 <= layer < self.config.n_layers:
            raise IndexError(f"layer {layer} of {self.config.n_layers}")
        return self._layout.block(self._read, self.config, layer)

    def unembedding(self) -> Tensors:
        """ln_final, unembed.W_U [d_model, d_vocab_out] unless it is tied to W_E, and unembed.b_U where there is one.

        Raises:
            TargetError: embeddings are tied, but a head is stored that differs.
        """
        if (head := self._tied_head()) is not None:
            embedding = self._stored(self._layout.embedding_name)
            if not self._checkpoint.same(head, embedding):
                raise TargetError(
                    f"{self._where(head)}: tensor '{head}' differs from '{embedding}', expected the same numbers: "
                    "tie_word_embeddings is true"
                )
        return self._layout.unembedding(self._read, self.config)

    def to_target(self) -> Target:
        """All parts at once, for a target of at most `MAX_PARAMETERS` numbers.

        Raises:
            TargetError: it has more, or NaN or Inf among them.
        """
        check_total(shapes(self.config).values(), self._checkpoint.path(""))
        weights = self.embedding()
        for layer in range(self.config.n_layers):
            weights |= self.block(layer)
        weights |= self.unembedding()
        return Target(self.config, {name: weights[name].contiguous() for name in self.names()}, self.vocab)

    def _check(self) -> None:
        """Run the layout on tensors without data; every stored tensor must be asked for."""
        seen: set[str] = set()

        def read(name: str, *shape: int) -> Float[Tensor, "..."]:
            """Note that a tensor was asked for, and give an empty one of the shape that it must have."""
            stored = self._stored(name)
            if stored not in self._checkpoint.shapes:
                raise TargetError(
                    f"{self._where(stored)}: tensor '{stored}' is missing, expected with shape {list(shape)}"
                )
            if (got := self._checkpoint.shapes[stored]) != shape:
                raise TargetError(
                    f"{self._where(stored)}: tensor '{stored}' has shape {list(got)}, expected {list(shape)}"
                )
            seen.add(stored)
            return torch.empty(shape, device="meta")

        parts = self._layout.embedding(read, self.config)
        for layer in range(self.config.n_layers):
            parts |= self._layout.block(read, self.config, layer)
        parts |= self._layout.unembedding(read, self.config)
        if (head := self._tied_head()) is not None:
            read(head, self.config.d_vocab, self.config.d_model)
        if extra := sorted(set(self._checkpoint.shapes) - seen):
            layers = f"{self.config.n_layers} layers"
            raise TargetError(f"{self._where(extra[0])}: tensor '{shown(extra[0])}' is unexpected for {layers}")
        assert parts.keys() == shapes(self.config).keys(), "a layout gives other tensors than the configuration says"

    def _read(self, name: str, *shape: int) -> Float[Tensor, "..."]:
        """A stored tensor, whose shape was checked."""
        return torch.from_numpy(self._checkpoint.read(self._stored(name)))

    def _stored(self, name: str) -> str:
        """A name as it is in the files: with the prefix, or the head's that is there."""
        if name in self._layout.heads:
            return next((head for head in self._layout.heads if head in self._checkpoint.shapes), name)
        return self._prefix + name

    def _tied_head(self) -> str | None:
        """The stored head of a model whose embeddings are tied, which need not have one."""
        stored = (head for head in self._layout.heads if head in self._checkpoint.shapes)
        return next(stored, None) if self.config.tie_word_embeddings else None

    def _where(self, name: str) -> str:
        return shown(self._checkpoint.path(name), 300)
