"""The words around a question. The same template serves weights, the source in the context, and nothing at all.

Weights:<|weight|><|weight|>...   and/or   Program: out = ...      or   (nothing)
Question: What does this model compute?
Answer: if has c then p else q<eos>
"""

from __future__ import annotations

from tracr_tasks.nested import nested

PLACEHOLDER = "<|weight|>"
"""Reserved token that weight tokens are spliced over; a question that contains it is escaped."""

TEMPLATE = "{context}Question: {question}\nAnswer:"
"""Prompt of every base model; the answer follows after one space."""


def escape(question: str, special: frozenset[str]) -> str:
    """A question whose special tokens are broken by a space, so that they stay text."""
    for token in special:
        question = question.replace(token, token[0] + " " + token[1:])
    return question


def weights_context(n_tokens: int) -> str:
    """What stands in front of a question about weights: room for weight tokens."""
    return f"Weights:{PLACEHOLDER * n_tokens}\n"


def source_context(source: str, nest: bool = True) -> str:
    """What stands in front of a question about a program whose text is given; RASP programs are nested, but for a base
    that has learned with lines."""
    return f"Program: {nested(source) if nest else source}\n"


def draft_context(draft: str, nest: bool = True) -> str:
    """What stands between weights and a question: the program that a small decoder writes from the same weights, in the
    words of a source; nothing for no draft."""
    return source_context(draft, nest) if draft else ""


def from_source(question: str, source: str) -> str:
    """Prompt with the program's text in the context (the ceiling)."""
    return behind(question, source_context(source))


def behind(question: str, context: str = "") -> str:
    """Prompt with the question behind a context in words, behind weights, or (the floor) alone."""
    return TEMPLATE.format(context=context, question=question)
