"""A small transformer that writes a program's text from weight tokens: encoders are compared by it without an LLM.

    weights -> encoder -> [n_tokens, d_model] -> cross-attention of a causal transformer -> pieces -> text

The names of labels are cut into the same pieces, and the decoder's embedding rows are the encoder's `table`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from oracle.alignment import Alignment
from oracle.attention import present
from oracle.batch import LabelIds, WeightBatch, pad_ids
from tracr_tasks.errors import InputError
from tracr_tasks.nested import assignments, nested

PAD, START, END, GLUE = range(4)
"""Ids of the pieces that are no text; GLUE stands where two pieces touch that would else have a space between them."""
MAX_NAME_CHARACTERS = 1_000
"""Of a label's name that are read."""
CALLS = (
    *("select", "aggregate", "map", "sequence_map", "linear", "selector_width", "constant", "numerical"),
    *("categorical", "selector_and", "selector_or", "selector_not", "int"),
)
"""Words that an opening bracket touches."""
WORDS = (
    *("if", "then", "else", "pos", "is", "has", "of", "first", "before", "equals", "last", "in"),
    *("tokens", "indices", "length", "ones", "out", "default=", "and", "or", "not", "true", "false", "none"),
    *("vocab", "max_seq_len", "attention", "causal", "bidirectional", "BOS", "PAD", "value"),
)
OPERATORS = ("==", "!=", "<=", ">=")
PIECE = re.compile(r"v\d+|default=|[A-Za-z_]+|\d+|[=!<>]=|.", re.DOTALL)


class TextCodec:
    """Text of programs to ids of pieces and back, exactly; the vocabulary is the same in every run.

    A piece is a word, a variable, a number below 100, an operator, or a single character. Spaces are implied where
    canonical text has them. RASP programs are written from the output down (`tracr_tasks.nested`) and come back as
    canonical text.
    """

    def __init__(self) -> None:
        characters = ["\n", *map(chr, range(32, 127))]
        numbers, variables = [str(n) for n in range(10, 100)], [f"v{n}" for n in range(1, 61)]
        self.pieces = ("", "", "", "", *characters, *numbers, *variables, *CALLS, *WORDS, *OPERATORS)
        self.index = {piece: i for i, piece in enumerate(self.pieces) if i > GLUE}

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Ids of a text's pieces, without START and END.

        Raises:
            InputError: a character that is neither printable ASCII nor a line break.
        """
        found, gap = list[str](), 0
        for piece in self._cut(nested(text)):
            if piece == " ":
                gap += 1
                continue
            implied = _spaced(found, piece)
            if implied and gap == 0:
                found.append("")
            elif not implied or gap > 1:
                found += [" "] * gap
            found.append(piece)
            gap = 0
        return [self.index[piece] if piece else GLUE for piece in [*found, *[" "] * gap]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, up to the first END."""
        found, parts = list[str](), list[str]()
        for id in ids:
            if id == END:
                break
            if id in (PAD, START):
                continue
            piece = self.pieces[id]
            parts += [" ", piece] if _spaced(found, piece) else [piece]
            found.append(piece)
        return assignments("".join(parts))

    def knows(self, text: str) -> bool:
        """Whether a text is of characters that have pieces: printable ASCII and line breaks."""
        return all(character in self.index for character in text.replace(" ", ""))

    def _cut(self, text: str) -> Iterator[str]:
        """Pieces and single spaces; what is no piece as a whole falls into characters."""
        for match in PIECE.findall(text):
            for piece in [match] if match in self.index else match:
                if piece not in self.index:
                    raise InputError(f"{piece!r}: expected printable ASCII and line breaks only")
                yield piece

    def name_ids(self, name: str) -> list[int]:
        """Ids of the beginning of a label's name, in which nothing needs GLUE; four of them make its code."""
        return [id for id in self.encode(name[:MAX_NAME_CHARACTERS]) if id != GLUE]

    def name_of(self, ids: Sequence[int]) -> str:
        """A label's name out of its ids."""
        return "".join(self.pieces[id] for id in ids if id)

    def label_ids(self, tokens: Sequence[str], n_ctx: int, outputs: Sequence[str]) -> LabelIds:
        """Ids of a target's label names, as `Reader.label_ids` gives them for a language model."""
        positions = ["BOS", *map(str, range(1, n_ctx))]
        return LabelIds(*(pad_ids([self.name_ids(n) for n in names]) for names in (tokens, positions, outputs)))

    def batch(self, texts: Sequence[str]) -> Int[Tensor, "text piece"]:
        """Ids of texts between START and END, padded with PAD."""
        rows = [[START, *self.encode(text), END] for text in texts]
        width = max(map(len, rows))
        return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


CODEC = TextCodec()
"""One for all: it holds no state."""


def _spaced(before: Sequence[str], piece: str) -> bool:
    """Whether canonical text has a space between the pieces `before` and `piece`. GLUE is the empty string."""
    last = before[-1] if before else ""
    if not (last and piece) or {last, piece} & {" ", "\n"} or last in "([{." or piece in ",)]}.:[":
        return False
    if last == "default=" or (last.isdigit() and piece.isdigit()):
        return False
    if piece == "(":
        return last not in CALLS
    return last != "-" or _is_operand(before[-2] if len(before) > 1 else "")


def _is_operand(piece: str) -> bool:
    """Whether a minus behind `piece` subtracts."""
    return piece in (")", "]", "}") or (piece.isalnum() and piece not in ("and", "or", "not"))


@dataclass(frozen=True)
class DecoderConfig:
    """Size of the decoder; `d_model` is the `d_llm` of its encoder."""

    d_model: int = 128
    """Width of pieces and weight tokens."""
    n_layers: int = 3
    """Layers of self-attention, cross-attention and MLP."""
    n_heads: int = 4
    """Heads of both attentions."""
    max_len: int = 200
    """Most pieces of a text, END included."""


@dataclass(frozen=True)
class Written:
    """What a decoder wrote about one target."""

    text: str
    """Up to END."""
    log_prob: float
    """Of the text, END included, in nats; greedy choices, so that is no sum over other texts of the same meaning. Where
    the text was weighed, the mean over namings."""
    certified: bool = False
    """Whether the text was compiled, and has the target's weights up to symmetries (search.py)."""
    share: float | None = field(default=None, kw_only=True)
    """Logarithm of the share that its function has of all that is likely, under several namings (weighing.py); None
    where it was not weighed."""
    runs: int = field(default=0, kw_only=True)
    """Inputs on which the target was run to choose the text (behaviour.py)."""
    fits: bool = field(default=True, kw_only=True)
    """Whether what it answered is likelier under one of the texts than under none."""

    @property
    def probability(self) -> float:
        """Of what was written: the share of its function where that was weighed, else that of the text."""
        return math.exp(min(0.0, self.log_prob if self.share is None else self.share))


KeyValue = tuple[Float[Tensor, "#batch head _ d_head"], Float[Tensor, "#batch head _ d_head"]]
Memory = tuple[KeyValue, Float[Tensor, "#batch 1 1 _"]]
"""A layer's keys and values of the weight tokens, and what is added to their scores: -inf for padding. Those of one
target may be read by many texts."""


def attend(
    query: Float[Tensor, "batch head m d_head"],
    keys: Float[Tensor, "#batch head n d_head"],
    values: Float[Tensor, "#batch head n d_head"],
    added: Float[Tensor, "#batch 1 #m n"] | None = None,
) -> Float[Tensor, "batch head m d_head"]:
    """Scaled dot-product attention, written out: on short texts the backward pass of torch's own is the slower one."""
    scores = query @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5
    scores = scores if added is None else scores + added
    return scores.softmax(-1).to(values.dtype) @ values


class DecoderLayer(nn.Module):
    """Pre-norm causal self-attention, cross-attention to weight tokens, GELU MLP; keys and values can be kept."""

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.norm_self, self.norm_cross, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key_value, self.out = (nn.Linear(width, n * width) for n in (1, 2, 1))
        self.cross_query, self.cross_key_value, self.cross_out = (nn.Linear(width, n * width) for n in (1, 2, 1))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def _split(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch head n d_head"]:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def remember(self, memory: Float[Tensor, "batch n_tokens width"]) -> KeyValue:
        """Keys and values of the weight tokens."""
        keys, values = self.cross_key_value(memory).chunk(2, -1)
        return self._split(keys), self._split(values)

    def forward(
        self, x: Float[Tensor, "batch piece width"], memory: Memory, past: KeyValue | None = None
    ) -> tuple[Float[Tensor, "batch piece width"], KeyValue]:
        """New states of the pieces, and keys and values of all so far. Behind a `past` there is one piece at a time."""
        read = self.norm_self(x)
        keys, values = map(self._split, self.key_value(read).chunk(2, -1))
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        later = (
            torch.full((1, 1, x.shape[1], keys.shape[2]), -torch.inf, device=x.device).triu(1) if past is None else None
        )
        seen = attend(self._split(self.query(read)), keys, values, later)
        x = x + self.out(seen.transpose(1, 2).flatten(-2))
        query = self._split(self.cross_query(self.norm_cross(x)))
        x = x + self.cross_out(attend(query, *memory[0], memory[1]).transpose(1, 2).flatten(-2))
        return x + self.mlp(self.norm_mlp(x)), (keys, values)


class WeightDecoder(nn.Module):
    """An encoder and the transformer that writes from its weight tokens. Trained together from nothing."""

    def __init__(self, config: DecoderConfig, encoder: nn.Module):
        """Args: the size; an encoder with `forward(batch, table)` that gives weight tokens of width `d_model`."""
        super().__init__()
        self.config, self.codec, self.encoder = config, TextCodec(), encoder
        self.embedding = nn.Embedding(len(self.codec), config.d_model)
        self.positions = nn.Parameter(0.02 * torch.randn(config.max_len, config.d_model))
        self.layers = nn.ModuleList(DecoderLayer(config.d_model, config.n_heads) for _ in range(config.n_layers))
        self.norm_memory, self.norm_out = nn.LayerNorm(config.d_model), nn.LayerNorm(config.d_model)
        self.unembed = nn.Linear(config.d_model, len(self.codec))

    @property
    def table(self) -> Float[Tensor, "piece d_model"]:
        """The embedding rows: what the encoder makes the codes of names from."""
        weight: Tensor = self.embedding.weight
        return weight

    def _remember(self, tokens: Float[Tensor, "batch n d_model"]) -> list[Memory]:
        """What every layer keeps of the weight tokens."""
        hidden = torch.zeros_like(tokens[..., 0]).masked_fill(~present(tokens), -torch.inf)[:, None, None]
        memory = self.norm_memory(tokens)
        return [(layer.remember(memory), hidden) for layer in self.layers]  # type: ignore[operator]

    def _logits(
        self, ids: Int[Tensor, "batch piece"], memory: list[Memory], past: list[KeyValue] | None = None
    ) -> tuple[Float[Tensor, "batch piece vocab"], list[KeyValue]]:
        first = 0 if past is None else past[0][0].shape[2]
        x, kept = self.embedding(ids) + self.positions[first : first + ids.shape[1]], list[KeyValue]()
        for i, layer in enumerate(self.layers):
            x, key_value = layer(x, memory[i], None if past is None else past[i])
            kept.append(key_value)
        return self.unembed(self.norm_out(x)), kept

    def loss(self, batch: WeightBatch, texts: Sequence[str]) -> Float[Tensor, " target"]:
        """As `loss_behind`, of the weight tokens of a batch."""
        return self.loss_behind(self.encoder(batch, self.table), texts)

    def loss_behind(self, tokens: Float[Tensor, "batch n d_model"], texts: Sequence[str]) -> Float[Tensor, " target"]:
        """Mean cross-entropy (nats) of each text's pieces, END included, behind weight tokens.

        Raises:
            InputError: a text of more than `max_len` pieces, or with other characters than `TextCodec` knows.
        """
        ids = self.codec.batch(texts).to(self.table.device)
        if (length := ids.shape[1] - 1) > self.config.max_len:
            raise InputError(f"a text of {length} pieces, expected at most {self.config.max_len}")
        logits, _ = self._logits(ids[:, :-1], self._remember(tokens))
        wanted = ids[:, 1:]
        each = F.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=PAD, reduction="none")
        return each.sum(1) / (wanted != PAD).sum(1)

    @torch.no_grad()
    def likeliest(
        self,
        tokens: Float[Tensor, "1 n d_model"],
        width: int,
        longest: int,
        near: Sequence[int] | None = None,
        pull: float = 0.0,
    ) -> list[tuple[float, list[int]]]:
        """Likely texts behind the weight tokens of one target, the likeliest first: their log-probabilities (nats, END
        included) and pieces (END left out). A beam search that follows `width` beginnings at once, and gives at most as
        many texts of at most so many pieces. Where none of them comes to its end, they are given as far as they go.

        With `near`, pieces of another text, what comes next in it is `pull` nats likelier than the decoder says,
        whatever was changed, added or left out before (alignment.py): what is found differs from that text in few
        places, those that together are the most likely.
        """
        memory, past = self._remember(tokens), None
        texts, scores, last = [list[int]()], tokens.new_zeros(1), torch.full((1, 1), START, device=tokens.device)
        ended = list[tuple[float, list[int]]]()
        beside = Alignment.beside([*near, END], tokens.device) if near is not None else None
        for _ in range(min(longest + 1, self.config.max_len)):
            logits, past = self._logits(last, memory, past)
            likely = logits[:, -1].float()
            if beside is not None:
                likely = likely + pull * beside.due(likely.shape[1])
            total = scores[:, None] + likely.log_softmax(-1)
            best = total.flatten().topk(min(2 * width, total.numel()))
            steps = [(score, *divmod(i, total.shape[1])) for score, i in zip(*(x.tolist() for x in best), strict=True)]
            ended += [(score, texts[row]) for score, row, piece in steps if piece == END]
            ended = sorted(ended, key=lambda each: -each[0])[:width]
            least = ended[-1][0] if len(ended) == width else -torch.inf
            steps = [step for step in steps if step[2] != END and step[0] > least][:width]
            if not steps:
                break
            rows = torch.tensor([row for _, row, _ in steps], device=tokens.device)
            past = [(keys[rows], values[rows]) for keys, values in past]
            texts = [[*texts[row], piece] for _, row, piece in steps]
            scores = torch.tensor([score for score, _, _ in steps], device=tokens.device)
            last = torch.tensor([[piece] for _, _, piece in steps], device=tokens.device)
            beside = beside.after(rows, last[:, 0]) if beside is not None else None
        return ended or [(score, text[:longest]) for score, text in zip(scores.tolist(), texts, strict=True)]

    @torch.no_grad()
    def log_probs(self, tokens: Float[Tensor, "1 n d_model"], pieces: Sequence[int]) -> Float[Tensor, "place vocab"]:
        """Log-probability of every piece at each place of a text and at its end, behind a target's weight tokens."""
        ids = torch.tensor([[START, *pieces]], device=tokens.device)
        logits, _ = self._logits(ids, self._remember(tokens))
        return logits[0].float().log_softmax(-1)

    def log_prob(self, tokens: Float[Tensor, "1 n d_model"], pieces: Sequence[int]) -> float:
        """Log-probability (nats) of a text and its end, behind a target's weight tokens."""
        said = torch.tensor([[*pieces, END]], device=tokens.device)
        return float(self.log_probs(tokens, pieces).gather(1, said.T).sum())

    @torch.no_grad()
    def write(self, batch: WeightBatch, max_len: int | None = None) -> list[Written]:
        """The likeliest piece after piece until END, at most `max_len` (and the configuration's) of them."""
        memory, past = self._remember(self.encoder(batch, self.table)), None
        last = torch.full((len(batch), 1), START, device=self.table.device)
        ended, written = torch.zeros_like(last, dtype=torch.bool), list[Tensor]()
        log_prob = torch.zeros(len(batch), 1, device=self.table.device)
        for _ in range(min(max_len or self.config.max_len, self.config.max_len)):
            logits, past = self._logits(last, memory, past)
            best = logits[:, -1:].float().log_softmax(-1).max(-1)
            log_prob += best.values.masked_fill(ended, 0.0)
            last = best.indices.masked_fill(ended, PAD)
            written.append(last)
            ended |= last == END
            if bool(ended.all()):
                break
        rows = zip(torch.cat(written, 1).tolist(), log_prob[:, 0].tolist(), strict=True)
        return [Written(self.codec.decode(ids), value) for ids, value in rows]
