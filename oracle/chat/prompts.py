"""What a chat model sees of a target, and how it is asked.

    black_box   N random inputs with the target's answers; never the input that is asked about
    source      the text of the target's program
    question    nothing

In the first two it is also told which tokens stand in inputs, how long these are, which answers there are, and whether
attention is causal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.chat.exam import Examinee, at_least_one
from oracle.chat.pairs import Pair, input_lengths, input_tokens, random_pairs, without
from oracle.chat.primer import FORMS
from oracle.facts import Question
from oracle.phrasings import NO_PROGRAM
from tracr_tasks.errors import InputError
from zoo.files import shown

BLACK_BOX, SOURCE, QUESTION = MODES = ("black_box", "source", "question")
MAX_PAIRS = 10_000


@dataclass(frozen=True)
class Sight:
    """What is seen of each target.

    Raises:
        InputError: no such mode, or a number of pairs out of range.
    """

    mode: str
    """black_box, source or question."""
    n_pairs: int = 0
    """Pairs of a black box; 0 in other modes."""
    seed: int = 0
    """Of the inputs of pairs."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode = '{shown(self.mode)}', expected {', '.join(MODES)}")
        if self.mode != BLACK_BOX:
            object.__setattr__(self, "n_pairs", 0)
            return
        at_least_one("n_pairs", self.n_pairs)
        if self.n_pairs > MAX_PAIRS:
            raise InputError(f"n_pairs = {self.n_pairs}, expected at most {MAX_PAIRS}")

    @property
    def name(self) -> str:
        """Mode and number of pairs: black_box/16."""
        return f"{self.mode}/{self.n_pairs}"


def prompts(examinee: Examinee, questions: Sequence[Question], sight: Sight) -> list[str]:
    """One prompt a question; all about a target begin alike."""
    if sight.mode == QUESTION:
        return [asked_as(question) for question in questions]
    if sight.mode == SOURCE:
        program = f"Its program:\n{examinee.subject.text or NO_PROGRAM}\n\n"
        return [signature(examinee) + program + asked_as(question) for question in questions]
    pairs = random_pairs(examinee, sight.n_pairs + 1, sight.seed)
    told = [without(pairs, q.detail if q.family == "output" else "", sight.n_pairs) for q in questions]
    return [signature(examinee) + pairs_text(seen) + asked_as(q) for seen, q in zip(told, questions, strict=True)]


def asked_as(question: Question) -> str:
    """The form of the answer, and the question in its very words."""
    return f"Form of the answer: {FORMS[question.family].text}.\nQuestion: {question.text}"


def signature(examinee: Examinee) -> str:
    """What goes into a target and what comes out, on one line."""
    lengths, target = input_lengths(examinee), examinee.target
    long = f"up to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[-1]}"
    each = "a number" if target.config.output == "numerical" else f"one of {', '.join(target.vocab.output)}"
    where = "at each position" if target.config.read_out == "all" else "for the whole input"
    return (
        f"The target takes {long} tokens, each one of {', '.join(input_tokens(target))}, and gives {each} {where}. "
        f"Its attention is {target.config.attention_dir}.\n"
    )


def pairs_text(pairs: Sequence[Pair]) -> str:
    """One pair a line."""
    lines = [f"{' '.join(names)} -> {' '.join(answer)}\n" for names, answer in pairs]
    return f"Inputs and its answers:\n{''.join(lines)}\n"
