"""The reader: a causal language model with a LoRA adapter, and the splice of weight tokens into its input embeddings.

Composition, not a new model class: the base is any causal LM of transformers, the adapter plain PEFT. Weight tokens
replace the embeddings of one reserved placeholder id; a row must have exactly as many placeholders as weight tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from oracle.batch import LabelIds, pad_ids
from oracle.template import PLACEHOLDER

IGNORED = -100
"""Label of a position that the loss does not count."""


@dataclass(frozen=True)
class TextBatch:
    """Left-padded token ids of prompts and answers; labels are IGNORED outside the answers."""

    ids: Int[Tensor, "seq pos"]
    mask: Bool[Tensor, "seq pos"]
    labels: Int[Tensor, "seq pos"]


@dataclass(frozen=True)
class Generated:
    """What the reader wrote: text, and the log-probability of each of its tokens (nats, end token included)."""

    texts: tuple[str, ...]
    log_probs: tuple[tuple[float, ...], ...]


class Reader:
    """A causal LM with its tokenizer; `model` may be a plain base or a PeftModel around it."""

    def __init__(self, model: nn.Module, tokenizer: Any):
        self.model, self.tokenizer = model, tokenizer
        self.placeholder_id: int = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        self.eos_id: int = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id
        self.special = frozenset(tokenizer.all_special_tokens) | {PLACEHOLDER}
        self._names: dict[str, list[int]] = {}

    @property
    def device(self) -> torch.device:
        """Where the reader computes."""
        return self.table.device

    @property
    def table(self) -> Float[Tensor, "vocab d_llm"]:
        """The base's embedding rows."""
        weight: Tensor = self.model.get_input_embeddings().weight  # type: ignore[operator]
        return weight

    def embed(self, ids: Int[Tensor, "seq pos"]) -> Float[Tensor, "seq pos d_llm"]:
        """Input embeddings of ids, as the base makes them (a scale of some families included)."""
        rows: Tensor = self.model.get_input_embeddings()(ids)  # type: ignore[operator]
        return rows

    def label_ids(self, tokens: Sequence[str], n_ctx: int, outputs: Sequence[str]) -> LabelIds:
        """Token ids of a target's label names; `n_ctx` is 0 for a target whose positions have none."""
        positions = ["BOS", *map(str, range(1, n_ctx))][:n_ctx]
        return LabelIds(*(pad_ids([self._name_ids(n) for n in names]) for names in (tokens, positions, outputs)))

    def _name_ids(self, name: str) -> list[int]:
        """Token ids of one name, as it stands inside a sentence; remembered, since targets share most names."""
        if name not in self._names:
            found: list[int] = self.tokenizer(" " + name, add_special_tokens=False)["input_ids"]
            self._names[name] = found or [self.eos_id]
        return self._names[name]

    def texts(self, prompts: Sequence[str], answers: Sequence[str] | None = None) -> TextBatch:
        """Tokenise prompts (and answers, each ended by the end token) into a left-padded batch."""
        encode = lambda texts: self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]  # noqa: E731
        heads = encode(prompts)
        tails = (
            [[] for _ in heads] if answers is None else [[*t, self.eos_id] for t in encode(f" {a}" for a in answers)]
        )
        width = max(len(h) + len(t) for h, t in zip(heads, tails, strict=True))
        ids = torch.full((len(heads), width), self.pad_id)
        labels = torch.full_like(ids, IGNORED)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for i, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            ids[i, width - len(head) - len(tail) :] = torch.tensor(head + tail)
            mask[i, width - len(head) - len(tail) :] = True
            if tail:
                labels[i, width - len(tail) :] = torch.tensor(tail)
        return TextBatch(ids.to(self.device), mask.to(self.device), labels.to(self.device))

    def splice(
        self, ids: Int[Tensor, "seq pos"], weight_tokens: Float[Tensor, "seq n_tokens d_llm"] | None
    ) -> Float[Tensor, "seq pos d_llm"]:
        """Input embeddings with weight tokens over the placeholders; rows are checked one by one.

        Raises:
            ValueError: a row has placeholders, but not as many as there are weight tokens.
        """
        embeds = self.embed(ids)
        places = ids == self.placeholder_id
        counts, expected = places.sum(1), 0 if weight_tokens is None else weight_tokens.shape[1]
        if bool((counts[counts > 0] != expected).any()):
            raise ValueError(f"rows have {counts.tolist()} placeholders for {expected} weight tokens")
        if weight_tokens is None:
            return embeds
        source = weight_tokens[counts > 0].to(embeds.dtype)
        return embeds.masked_scatter(places[..., None], source)

    def logits(
        self, batch: TextBatch, weight_tokens: Float[Tensor, "seq n_tokens d_llm"] | None, last: int = 0
    ) -> Float[Tensor, "seq kept vocab"]:
        """The reader's logits at the `last` positions (0: at every one)."""
        positions = (batch.mask.long().cumsum(1) - 1).clamp_min(0)
        out = self.model(
            inputs_embeds=self.splice(batch.ids, weight_tokens),
            attention_mask=batch.mask,
            position_ids=positions,
            logits_to_keep=last,
        )
        logits: Tensor = out.logits
        return logits

    def answer_loss(
        self, batch: TextBatch, weight_tokens: Float[Tensor, "seq n_tokens d_llm"] | None
    ) -> Float[Tensor, "seq answer"]:
        """Cross-entropy (nats) of each answer token, zero elsewhere; columns end with the last token."""
        first = int((batch.labels >= 0).any(0).nonzero()[0])
        labels = batch.labels[:, first:] if first > 0 else batch.labels[:, 1:]
        logits = self.logits(batch, weight_tokens, last=labels.shape[1] + 1)[:, :-1]
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return loss.view(logits.shape[:2])

    def text_loss(self, batch: TextBatch) -> Float[Tensor, ""]:
        """Mean cross-entropy (nats) of every token, prompts included; there are no weight tokens."""
        everything = replace(batch, labels=batch.ids.masked_fill(~batch.mask, IGNORED))
        return self.answer_loss(everything, None).sum() / (everything.labels[:, 1:] >= 0).sum()

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[str], weight_tokens: Float[Tensor, "seq n_tokens d_llm"] | None, max_tokens: int = 160
    ) -> Generated:
        """Greedy answers with the log-probability of every token."""
        batch = self.texts(prompts)
        out = self.model.generate(  # type: ignore[operator]
            inputs_embeds=self.splice(batch.ids, weight_tokens),
            attention_mask=batch.mask,
            max_new_tokens=max_tokens,
            do_sample=False,
            suppress_tokens=[self.placeholder_id, self.pad_id],
            pad_token_id=self.pad_id,
            eos_token_id=self.eos_id,
            output_logits=True,
            return_dict_in_generate=True,
        )
        chosen = out.sequences
        log_probs = torch.stack(
            [step.float().log_softmax(-1).gather(1, chosen[:, i : i + 1])[:, 0] for i, step in enumerate(out.logits)], 1
        )
        lengths = [[*row.tolist(), self.eos_id].index(self.eos_id) + 1 for row in chosen]
        texts = self.tokenizer.batch_decode(chosen, skip_special_tokens=True)
        kept = tuple(tuple(row[:n].tolist()) for row, n in zip(log_probs, lengths, strict=True))
        return Generated(tuple(text.strip() for text in texts), kept)
