"""The house base model: a small stock Qwen3 that grew up on programs and on questions with the program in the context.

It makes the default work offline and from nothing. The same model answers from the source in the context (the ceiling
of what it can say about weights) and, with the encoder and a LoRA adapter, from weights.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch.nn import functional
from tqdm import tqdm

from oracle.bases import ATTENTION, load
from oracle.config import BaseConfig
from oracle.packs import Pack, packs
from oracle.precision import quick_products
from oracle.questions import Subject, one_of_each
from oracle.reader import Reader, scores_of
from oracle.schedule import Optimizers, best_device, budget_left, progress, rate_share
from oracle.subjects import fresh_subjects
from oracle.template import PLACEHOLDER, from_source
from tracr_tasks.nested import nested
from zoo.files import write_atomic

PAD, EOS = "<|pad|>", "<|eos|>"
DECAY = 0.5
"""Share of the budget over which the learning rate decays."""
MARKS = r"[?.:;!](?=\s|$)"
"""Marks that end a sentence are no part of its last word: `c?` has to begin as `c` does, as questions end in the names
that programs are searched for."""
PIECES = rf"\)*\n|{MARKS}| ?(?:(?!{MARKS})[^\s,()])+\(?|\)+|,| ?\(|\s+"
"""What a token may span: a word with its call bracket, closing brackets with the end of their line. That is a third
fewer tokens a program than the usual split at every change between letters, digits and signs."""


@quick_products()
def pretrain(config: BaseConfig) -> Path:
    """Sample programs, train the tokenizer, train the model on questions about them, save both under `config.out`."""
    torch.set_num_threads(config.threads)
    subjects = fresh_subjects(config.n_programs, config.seed)
    n_held_back = min(200, len(subjects) // 10)
    held_back, training = subjects[:n_held_back], subjects[n_held_back:]
    if config.start is None:
        tokenizer = train_tokenizer(example_texts(training, config.seed), config.vocab_size)
        model = new_model(config, len(tokenizer))
    else:
        model, tokenizer = load(config.start)
    reader = Reader(model.to(best_device()), tokenizer)
    fit(reader, training, config)
    accuracy = source_accuracy(reader, held_back, config.seed)
    save(reader, config, accuracy)
    return config.out


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> Any:
    """A byte-level BPE tokenizer; any text survives it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS, PLACEHOLDER],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        additional_special_tokens=[PLACEHOLDER],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def new_model(config: BaseConfig, vocab_size: int) -> torch.nn.Module:
    """A Qwen3 with random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(config.seed)
    shape = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=config.d_model,
        intermediate_size=config.d_mlp,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_heads,
        head_dim=config.d_model // config.n_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        attn_implementation=ATTENTION,
    )
    model: torch.nn.Module = Qwen3ForCausalLM(shape)
    return model


def example_texts(subjects: Sequence[Subject], seed: int) -> list[str]:
    """Texts that the tokenizer is trained on."""
    rng = random.Random(seed)
    return [
        from_source(q.text, s.text) + f" {nested(q.truth)}"
        for s in subjects
        for q in one_of_each(s, rng, test=rng.random() < 0.3)
    ]


def fit(reader: Reader, subjects: Sequence[Subject], config: BaseConfig) -> None:
    """Train on packs of questions within the budget of minutes and steps."""
    model = reader.model.train()
    optimizers = Optimizers(model, config.lr, config.muon_lr)
    budget, start = budget_left(config.minutes, config.steps), time.monotonic()
    loss_of: Callable[[Pack], torch.Tensor] = lambda pack: pack_loss(model, pack)  # noqa: E731
    if config.compile:
        loss_of = torch.compile(loss_of, dynamic=True)
    batches = packs(reader, subjects, config)
    with progress(config.minutes, "house model") as bar:
        for step in count():
            minutes = (time.monotonic() - start) / 60
            if (left := budget(step, minutes)) <= 0:
                break
            pack = next(batches).to(reader.device)
            with torch.autocast(reader.device.type, torch.bfloat16, enabled=config.bf16):
                loss = loss_of(pack)
            optimizers.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizers.step(rate_share(step, left, decay=DECAY))
            bar.update(minutes - bar.n)
            bar.set_postfix_str(f"step {step + 1}, loss {loss.item():.3f}", refresh=False)
    model.eval()


def pack_loss(model: torch.nn.Module, pack: Pack) -> Float[torch.Tensor, ""]:
    """Mean cross-entropy (nats) of the tokens, each at its weight."""
    scores = scores_of(pack.seen(), torch.float32)[:, None]
    logits = model(input_ids=pack.ids, attention_mask=scores, position_ids=pack.places).logits[:, :-1]
    each = functional.cross_entropy(logits.flatten(0, 1).float(), pack.ids[:, 1:].flatten(), reduction="none")
    weights = pack.weights[:, 1:].flatten()
    loss: torch.Tensor = (each * weights).sum() / weights.sum()
    return loss


def source_accuracy(reader: Reader, subjects: Sequence[Subject], seed: int) -> dict[str, float]:
    """Share of right answers with the source in the context, by family, on programs that were not trained on."""
    from oracle.grade import grade

    rng, hits = random.Random(seed), dict[str, list[bool]]()
    asked = [(s, q) for s in subjects for q in one_of_each(s, rng)]
    for start in tqdm(range(0, len(asked), 64), desc="source in context", leave=False):
        part = asked[start : start + 64]
        said = reader.generate([from_source(q.text, s.text) for s, q in part], None).texts
        for (subject, question), answer in zip(part, said, strict=True):
            hits.setdefault(f"{subject.kind}/{question.family}", []).append(grade(question, answer, subject).correct)
    return {family: sum(h) / len(h) for family, h in sorted(hits.items())}


def save(reader: Reader, config: BaseConfig, accuracy: dict[str, float]) -> None:
    """Model in bf16, tokenizer, and base_config.json with the configuration and the accuracy reached."""
    from oracle.config import to_json

    reader.model.to(torch.bfloat16).save_pretrained(config.out)  # type: ignore[operator]
    reader.tokenizer.save_pretrained(config.out)
    facts = {"config": to_json(config), "source_in_context": accuracy}
    write_atomic(config.out / "base_config.json", [json.dumps(facts, indent=1).encode()])
