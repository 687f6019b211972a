"""The reader: a causal language model with a LoRA adapter, and the splice of weight tokens into its input embeddings.

Composition, not a new model class: the base is any causal LM of transformers, the adapter plain PEFT. Weight tokens
replace the embeddings of one reserved placeholder id. They are a set: all stand at one position and see each other, so
that their order means nothing (but for an oracle that has learned otherwise). They are read once for all questions
about a target:

    "Weights:<|weight|>...<|weight|>\\n" -> Prefix (keys and values of every layer) -> "Question: ...\\nAnswer: ..."

A draft of the program, if one is given, stands behind the weight tokens in the words of a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from oracle.attention import present
from oracle.batch import LabelIds, pad_ids
from oracle.bounded import in_chat
from oracle.injection import added_after, first_layer, refuse_checkpointing
from oracle.template import PLACEHOLDER, behind, draft_context, escape, weights_context
from tracr_tasks.nested import assignments, nested

Inject = Literal["embed", "layer1"]
CACHE = "cache" if "cache" in {field.name for field in fields(CausalLMOutputWithPast)} else "past_key_values"
"""What transformers calls the cache of keys and values: `cache` from 5.24 on."""
MAX_NAME_CHARACTERS = 1_000
"""Of a label's name that are read."""
MAX_ANSWER = 160
"""Tokens of the longest answer."""
SHORT = 12
"""Tokens of an answer that is no program, in most cases."""
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


@dataclass(frozen=True)
class Prefix:
    """Weight tokens of some targets as the reader has read them: shared by all questions about a target."""

    layers: tuple[tuple[Float[Tensor, "seq head n d_head"], Float[Tensor, "seq head n d_head"]], ...]
    """Keys and values of each layer; none under gradient checkpointing."""
    mask: Bool[Tensor, "seq n"]
    """Columns that are no padding."""
    embeds: Float[Tensor, "seq n d_llm"]
    positions: Int[Tensor, "seq n"]
    hidden: Float[Tensor, "seq n n"]
    """Added to the scores: 0, or very low where a column is not seen."""
    kept: int
    """First columns that are no padding which texts see that are shown no weights."""

    def __len__(self) -> int:
        return len(self.mask)

    def rows(self, owner: Sequence[int], shown: Sequence[bool] | None = None) -> Prefix:
        """One row a text: that of its owner, hidden from the texts that are not `shown` the weights."""
        at = torch.tensor(owner, device=self.mask.device)
        mask = self.mask[at]
        if shown is not None:
            mask = mask & (torch.tensor(shown, device=mask.device)[:, None] | (mask.long().cumsum(1) <= self.kept))
        layers = tuple((keys[at], values[at]) for keys, values in self.layers)
        return Prefix(layers, mask, self.embeds[at], self.positions[at], self.hidden[at], self.kept)

    def cache(self) -> DynamicCache:
        """A new cache of transformers over these keys and values."""
        cache = DynamicCache()
        for i, (keys, values) in enumerate(self.layers):
            cache.update(keys, values, i)
        return cache


def earlier(n: int, device: torch.device) -> Bool[Tensor, "n n"]:
    """Which columns are not behind another."""
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


def scores_of(seen: Bool[Tensor, "seq n n"], dtype: torch.dtype) -> Float[Tensor, "seq n n"]:
    """What is added to attention scores so that only what is seen counts. Each place sees itself, padding too: a
    softmax over nothing is no number."""
    seen = seen | torch.eye(seen.shape[-1], dtype=torch.bool, device=seen.device)
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


class Reader:
    """A causal LM with its tokenizer; `model` may be a plain base or a PeftModel around it.

    `ordered` is for adapters that have learned with weight tokens in a row, each seeing those before it. `chat` puts
    questions into the tokenizer's chat template; it does if it has one, unless it is told. `inject` says where weight
    tokens enter: "embed", in place of embeddings, or "layer1", added to the states behind the first layer. A `nested`
    reader learns and writes RASP programs from the output down (`tracr_tasks.nested`); who asks it never sees that.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        ordered: bool = False,
        chat: bool | None = None,
        inject: Inject = "embed",
        nested: bool = True,
    ):
        self.model, self.tokenizer, self.ordered, self.inject = model, tokenizer, ordered, inject
        self.nested = nested
        self.chat = bool(getattr(tokenizer, "chat_template", None)) if chat is None else chat
        self.first: list[int] = tokenizer("")["input_ids"][:1]
        """The token that texts of this family begin with, or none."""
        if self.first == [tokenizer.eos_token_id]:
            self.first = []
        self.placeholder_id: int = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        self.eos_id: int = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id
        added = (str(token) for token in tokenizer.added_tokens_decoder.values())  # of a chat, say: not all are listed
        self.special = frozenset((*tokenizer.all_special_tokens, *added, PLACEHOLDER))
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
        return LabelIds(*(pad_ids([self.name_ids(n) for n in names]) for names in (tokens, positions, outputs)))

    def name_ids(self, name: str) -> list[int]:
        """Token ids of one name, as it stands inside a sentence; remembered, since targets share most names. Special
        tokens in it stay text, and of a very long one the beginning is read: four ids make its code."""
        if name not in self._names:
            text = " " + escape(name[:MAX_NAME_CHARACTERS], self.special)
            found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self._names[name] = found or [self.eos_id]
        return self._names[name]

    def prompt(self, question: str, context: str = "") -> str:
        """What is put to the model for a question, behind a context in words if there is one; special tokens in either
        stay text."""
        safe, before = escape(question, self.special), escape(context, self.special)
        if not self.chat:
            return behind(safe, before)
        said = in_chat(self.tokenizer, before + safe)
        return said.removeprefix(self.tokenizer.decode(self.first))  # it stands in front of all, not of the question

    def texts(self, prompts: Sequence[str], answers: Sequence[str] | None = None, *, alone: bool = False) -> TextBatch:
        """Tokenise prompts (and answers, each ended by the end token) into a left-padded batch; those that stand
        `alone`, with nothing before them, begin with the family's first token."""
        encode = lambda texts: self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]  # noqa: E731
        heads = [[*(self.first if alone else []), *head] for head in encode(prompts)]
        if answers is None:
            return self._padded(heads, [[] for _ in heads])
        return self._padded(heads, [[*t, self.eos_id] for t in encode(f" {self.said(a)}" for a in answers)])

    def _padded(self, heads: Sequence[Sequence[int]], tails: Sequence[Sequence[int]]) -> TextBatch:
        """Token ids of prompts and answers as a left-padded batch."""
        width = max(len(h) + len(t) for h, t in zip(heads, tails, strict=True))
        ids = torch.full((len(heads), width), self.pad_id)
        labels = torch.full_like(ids, IGNORED)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for i, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            ids[i, width - len(head) - len(tail) :] = torch.tensor([*head, *tail])
            mask[i, width - len(head) - len(tail) :] = True
            if tail:
                labels[i, width - len(tail) :] = torch.tensor(tail)
        return TextBatch(ids.to(self.device), mask.to(self.device), labels.to(self.device))

    def said(self, answer: str) -> str:
        """An answer as the model says it."""
        return nested(answer) if self.nested else answer

    def answer_ids(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """Token ids of a prompt, and of the answer behind it with the end token."""
        head, tail = self.tokenizer([prompt, f" {self.said(answer)}"], add_special_tokens=False)["input_ids"]
        return head, [*tail, self.eos_id]

    def splice(
        self,
        ids: Int[Tensor, "seq pos"],
        weight_tokens: Float[Tensor, "seq n_tokens d_llm"],
        over: Float[Tensor, "seq pos d_llm"] | None = None,
    ) -> Float[Tensor, "seq pos d_llm"]:
        """Input embeddings (or what is given) with weight tokens, less padding, over the placeholders, row by row.

        Raises:
            ValueError: a row has not as many placeholders as weight tokens.
        """
        under = self.embed(ids) if over is None else over
        places, shown = ids == self.placeholder_id, present(weight_tokens)
        if not torch.equal(places.sum(1), shown.sum(1)):
            raise ValueError(
                f"rows have {places.sum(1).tolist()} placeholders for {shown.sum(1).tolist()} weight tokens"
            )
        return under.masked_scatter(places[..., None], weight_tokens[shown].to(under.dtype))

    def read(
        self, weight_tokens: Float[Tensor, "target n_tokens d_llm"], drafts: Sequence[str] | None = None
    ) -> Prefix:
        """What every layer makes of the weight tokens of each target, with gradients, and of the draft of its program
        behind them (an empty text: none), which sees them."""
        batch = self._contexts(present(weight_tokens).sum(1).tolist(), drafts or [""] * len(weight_tokens))
        places = batch.ids == self.placeholder_id
        more = places & functional.pad(places, (1, 0))[:, :-1]  # all but the first: they share its position
        if self.ordered:
            places, more = torch.zeros_like(places), torch.zeros_like(more)
        positions = (batch.mask.long().cumsum(1) - 1).clamp_min(0)
        positions -= (more.long().cumsum(1)) * more  # what follows stands where it would behind tokens in a row
        width = batch.ids.shape[1]
        seen = (earlier(width, self.device) | (places[:, :, None] & places[:, None])) & batch.mask[:, None]
        late = self.inject == "layer1"
        embeds = self.embed(batch.ids) if late else self.splice(batch.ids, weight_tokens)
        hidden = scores_of(seen, embeds.dtype)
        injected: AbstractContextManager[None] = nullcontext()
        if late:
            refuse_checkpointing(self.checkpointed)
            vectors = self.splice(batch.ids, weight_tokens, torch.zeros_like(embeds))
            injected = added_after(first_layer(self.model), vectors)
        if self.checkpointed:
            return Prefix((), batch.mask, embeds, positions, hidden, len(self.first))
        with injected:
            return self._kept(batch, embeds, positions, hidden)

    def _contexts(self, counts: Sequence[int], drafts: Sequence[str]) -> TextBatch:
        """Room for so many weight tokens of each target, and its draft, cut into tokens as it is without them."""
        weights = [weights_context(n) for n in counts]
        told = [escape(draft_context(draft, self.nested), self.special) for draft in drafts]
        first, second = (self.tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (weights, told))
        rows = [[*self.first, *a, *b] for a, b in zip(first, second, strict=True)]
        return self._padded(rows, [[] for _ in rows])

    def read_words(self, contexts: Sequence[str]) -> Prefix:
        """What every layer makes of contexts in words, each of which questions then stand behind."""
        batch = self.texts([escape(context, self.special) for context in contexts], alone=True)
        positions = (batch.mask.long().cumsum(1) - 1).clamp_min(0)
        embeds = self.embed(batch.ids)
        hidden = scores_of(earlier(batch.ids.shape[1], self.device) & batch.mask[:, None], embeds.dtype)
        return self._kept(batch, embeds, positions, hidden)

    def _kept(
        self,
        batch: TextBatch,
        embeds: Float[Tensor, "seq n d_llm"],
        positions: Int[Tensor, "seq n"],
        hidden: Float[Tensor, "seq n n"],
    ) -> Prefix:
        """Keys and values of every layer at the places of a batch."""
        out = self.model(
            inputs_embeds=embeds,
            attention_mask=hidden[:, None],
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{CACHE: DynamicCache()},
        )
        layers = tuple((layer.keys, layer.values) for layer in getattr(out, CACHE).layers)
        return Prefix(layers, batch.mask, embeds, positions, hidden, len(self.first))

    def base_as_it_is(self) -> AbstractContextManager[Any]:
        """Inside it the model is the base without its adapter."""
        plain: AbstractContextManager[Any] = self.model.disable_adapter()  # type: ignore[operator]
        return plain

    @property
    def checkpointed(self) -> bool:
        """Whether the model recomputes its layers in the backward pass: it keeps no keys and values then."""
        return bool(getattr(self.model, "is_gradient_checkpointing", False)) and self.model.training

    def logits(self, batch: TextBatch, prefix: Prefix | None, last: int = 0) -> Float[Tensor, "seq kept vocab"]:
        """The reader's logits at the `last` positions of texts (0: at every one), each behind its row of the prefix."""
        embeds = self.embed(batch.ids)
        if prefix is None:
            positions = (batch.mask.long().cumsum(1) - 1).clamp_min(0)
            out = self.model(
                inputs_embeds=embeds, attention_mask=batch.mask, position_ids=positions, logits_to_keep=last
            )
        elif prefix.layers:
            mask = torch.cat([prefix.mask, batch.mask], 1)
            positions = (mask.long().cumsum(1) - 1).clamp_min(0)[:, prefix.mask.shape[1] :]
            out = self.model(
                inputs_embeds=embeds,
                attention_mask=mask,
                position_ids=positions,
                logits_to_keep=last,
                **{CACHE: prefix.cache()},
            )
        else:
            out = self._whole(batch, embeds, prefix, last)
        logits: Tensor = out.logits
        return logits

    def _whole(self, batch: TextBatch, embeds: Float[Tensor, "seq pos d_llm"], prefix: Prefix, last: int) -> Any:
        """Weights and texts in one pass, without a cache: the same logits."""
        mask, before = torch.cat([prefix.mask, batch.mask], 1), prefix.mask.shape[1]
        positions = (mask.long().cumsum(1) - 1).clamp_min(0)
        positions[:, :before] = prefix.positions
        hidden = scores_of(earlier(mask.shape[1], self.device) & mask[:, None], embeds.dtype)
        hidden[:, :before, :before] = prefix.hidden
        return self.model(
            inputs_embeds=torch.cat([prefix.embeds, embeds], 1),
            attention_mask=hidden[:, None],
            position_ids=positions,
            logits_to_keep=last or batch.ids.shape[1],
        )

    def answer_loss(self, batch: TextBatch, prefix: Prefix | None) -> Float[Tensor, "seq answer"]:
        """Cross-entropy (nats) of each answer token, zero elsewhere; columns end with the last token."""
        first = int((batch.labels >= 0).any(0).nonzero()[0])
        labels = batch.labels[:, first:] if first > 0 else batch.labels[:, 1:]
        logits = self.logits(batch, prefix, last=labels.shape[1] + 1)[:, :-1]
        loss = functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return loss.view(logits.shape[:2])

    def generate(self, prompts: Sequence[str], prefix: Prefix | None, max_tokens: int | None = None) -> Generated:
        """Greedy answers with the log-probability of every token, each behind its row of the prefix.

        They have at most `max_tokens`, or `MAX_ANSWER` if it is not given. Of several, those that are not at their end
        after `SHORT` tokens go on without the others, so that one long answer does not make all others wait.
        """
        batch, most = self.texts(prompts, alone=prefix is None), max_tokens or MAX_ANSWER
        chosen, log_probs = self._greedy(batch.ids, batch.mask, prefix, most if len(prompts) == 1 else min(most, SHORT))
        left = (chosen != self.eos_id).all(1).nonzero()[:, 0].tolist()
        if left and most > chosen.shape[1]:
            ids = torch.cat([batch.ids, chosen], 1)[left]
            mask = torch.cat([batch.mask, torch.ones_like(chosen, dtype=torch.bool)], 1)[left]
            rest = None if prefix is None else prefix.rows(left)
            more, more_log_probs = self._greedy(ids, mask, rest, most - chosen.shape[1])
            n = more.shape[1]
            chosen, log_probs = functional.pad(chosen, (0, n), value=self.eos_id), functional.pad(log_probs, (0, n))
            chosen[left, -n:], log_probs[left, -n:] = more, more_log_probs
        lengths = [[*row.tolist(), self.eos_id].index(self.eos_id) + 1 for row in chosen]
        kept = tuple(tuple(row[:n].tolist()) for row, n in zip(log_probs, lengths, strict=True))
        return Generated(tuple(self._texts_of(chosen)), kept)

    def _greedy(
        self, ids: Int[Tensor, "seq pos"], mask: Bool[Tensor, "seq pos"], prefix: Prefix | None, most: int
    ) -> tuple[Int[Tensor, "seq new"], Float[Tensor, "seq new"]]:
        """The likeliest next tokens, `most` at most, one after the other, and their log-probabilities."""
        out, first = self._generate(ids, mask, prefix, most, do_sample=False, output_logits=True)
        chosen = out.sequences[:, first:]
        steps = enumerate(out.logits)
        return chosen, torch.stack(
            [step.float().log_softmax(-1).gather(1, chosen[:, i : i + 1])[:, 0] for i, step in steps], 1
        )

    def sample(
        self, prompts: Sequence[str], prefix: Prefix | None, n: int, seed: int = 0, max_tokens: int | None = None
    ) -> list[tuple[str, ...]]:
        """`n` answers to each prompt, drawn from the reader's own distribution; the same seed gives the same ones."""
        each = [i for i in range(len(prompts)) for _ in range(n)]
        rows = None if prefix is None else prefix.rows(each)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            batch, most = self.texts([prompts[i] for i in each], alone=prefix is None), max_tokens or MAX_ANSWER
            out, first = self._generate(batch.ids, batch.mask, rows, most, do_sample=True, top_k=0)
        texts = self._texts_of(out.sequences[:, first:])
        return [tuple(texts[i : i + n]) for i in range(0, len(texts), n)]

    def _texts_of(self, ids: Int[Tensor, "seq pos"]) -> list[str]:
        texts = [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        return [assignments(text) for text in texts] if self.nested else texts

    @torch.no_grad()
    def _generate(
        self,
        ids: Int[Tensor, "seq pos"],
        mask: Bool[Tensor, "seq pos"],
        prefix: Prefix | None,
        most: int,
        **options: Any,
    ) -> tuple[Any, int]:
        """What transformers generates behind texts, `most` tokens at most, and the column that it begins at."""
        cache = None
        if prefix is not None:
            before = torch.full_like(prefix.mask, self.pad_id, dtype=ids.dtype)  # never looked up: they are cached
            ids, mask, cache = torch.cat([before, ids], 1), torch.cat([prefix.mask, mask], 1), prefix.cache()
        out = self.model.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=most,
            suppress_tokens=[id for id in (self.placeholder_id, self.pad_id) if id != self.eos_id],
            pad_token_id=self.pad_id,
            eos_token_id=self.eos_id,
            return_dict_in_generate=True,
            **{CACHE: cache},
            **options,
        )
        return out, ids.shape[1]
