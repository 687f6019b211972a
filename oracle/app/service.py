"""Everything that the page can be asked, without a page: look at a target, ask about it, see what an answer rests on.

The oracle sees weights only. Truths come from the program of a zoo's target; for the output on an input, from running
the target, which is done here and not by the oracle.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from oracle.app.catalogue import Catalogue, Entry
from oracle.app.circuits import circuits_of, picture
from oracle.app.recognise import recognise
from oracle.app.uploads import Uploads
from oracle.cli_verbs import DEFAULT_QUESTION, checked_questions
from oracle.explain import explain
from oracle.grade import Grade, grade
from oracle.opened import OpenTarget
from oracle.oracle import WeightOracle
from oracle.questions import Question, one_of_each
from zoo.padding import layer_sizes
from zoo.target import BOS, PAD, Target

MAX_READ = 32
"""Targets of which the oracle's reading is kept."""
MAX_SAID = 2_000
"""Answers that are kept: the same question about the same weights has the same answer."""
N_PARTS = 8
"""Parts that an answer rests on most."""
LAST_WAIT = 4.0
"""Seconds that work under way has to end before the process does."""
N_FIRST = 2
"""Heads whose circuits are seen at once."""
MAX_NAMES = 24
"""Names of tokens that are listed."""


@dataclass(frozen=True)
class Look:
    """What can be seen of a target without asking."""

    key: str
    facts: tuple[tuple[str, str], ...]
    """Name and value: layers, heads, neurons, vocabulary ..."""
    pictures: tuple[bytes, ...]
    """PNGs of the circuits of its heads, the first `N_FIRST` and then some others; none of a target without heads."""
    drawn: tuple[int, int]
    """Heads in the pictures, and heads of the target."""
    examples: tuple[str, ...]
    """Questions to begin with."""


@dataclass(frozen=True)
class Said:
    """What the oracle says about one target."""

    key: str
    text: str
    confidence: float
    sure: bool
    draft: str | None = None
    """The program that it was shown beside the weight tokens."""
    draft_probability: float = 0.0
    certified: bool = False
    """Whether the draft, compiled, has the target's own weights."""
    tried: str = ""
    """What the reader tried with it, and what came out."""
    slipped: bool = False
    """Whether the text is the draft, as what the reader said was no program."""


@dataclass(frozen=True)
class Judged:
    """What the oracle says about a target, beside the truth where that is known."""

    said: Said
    truth: str | None = None
    grade: Grade | None = None


@dataclass(frozen=True)
class Asked:
    """One question, about a target and about another one."""

    question: str
    own: Judged
    other: Judged | None
    """The same question about another target; None where there is no other."""
    mistaken: Grade | None
    """What the answer about the other target would be worth as an answer about this one, where that is known."""
    entry: Entry


@dataclass(frozen=True)
class Rests:
    """What an answer rests on."""

    parts: tuple[tuple[str, float], ...]
    """Names of the parts of the target that it rests on most, with the rise of its loss (nats) without each."""
    control: float | None
    """The largest rise when a random head or neuron is added instead; None where there was no room for one."""


class Service:
    """An oracle, the targets of some zoos, and uploads. Many threads may use it; it works for one at a time."""

    def __init__(self, oracle: WeightOracle, catalogue: Catalogue, uploads: Uploads):
        self.oracle, self.catalogue, self.uploads = oracle, catalogue, uploads
        self._lock = threading.Lock()
        self._read = lru_cache(MAX_READ)(self._reading)
        self._say = lru_cache(MAX_SAID)(self._answer)
        self.known = lru_cache(MAX_READ)(self._known)

    def entry(self, key: str) -> Entry:
        """A target by its key.

        Raises:
            InputError: there is none.
        """
        return self.uploads.entry(key) if key.startswith("upload-") else self.catalogue.entry(key)

    def upload(self, files: Sequence[Path]) -> str:
        """Read an uploaded target; its key (see `Uploads.add` for what is raised)."""
        with self._lock:
            return self.uploads.add(files).key

    def close(self) -> None:
        """Wait until what is being worked on is done, some seconds at most, and begin nothing more: a process must not
        end while one of its threads is inside torch."""
        self._lock.acquire(timeout=LAST_WAIT)

    def look(self, key: str) -> Look:
        """Shape, circuits and first questions of a target (see `entry` for what is raised)."""
        with self._lock:
            return self._look(self.entry(key))

    def _look(self, entry: Entry) -> Look:
        key, found = entry.key, circuits_of(entry.target)
        heads = found.heads if found.labels else ()
        pngs = tuple(picture(replace(found, heads=some)) for some in (heads[:N_FIRST], heads[N_FIRST:]) if some)
        texts = [question.text for question in self.known(key)] or _first_questions(entry.target, self.catalogue.seed)
        return Look(key, tuple(facts_of(entry.target)), pngs, (len(found.heads), found.n_heads), tuple(texts))

    def ask(self, key: str, question: str) -> Asked:
        """Answer a question about a target, and the same one about another.

        Raises:
            InputError: there is no such target, or what `checked_questions` refuses.
        """
        asked = " ".join(checked_questions((question,))[0].split())
        with self._lock:
            return self._ask(self.entry(key), asked)

    def _ask(self, entry: Entry, asked: str) -> Asked:
        partner = self.catalogue.partner(entry)
        own, meant = self._judged(entry, asked)
        if partner is None:
            return Asked(asked, own, None, None, entry)
        other, _ = self._judged(self.catalogue.entry(partner), asked)
        mistaken = None if meant is None else graded(meant, other.said.text, entry)
        return Asked(asked, own, other, mistaken, entry)

    def parts(self, key: str, question: str, answer: str) -> Rests:
        """What an answer rests on.

        Raises:
            InputError: there is no such target.
        """
        with self._lock:  # read anew: what is kept of a target for asking must not grow by a reading of every part
            found = explain(self.oracle, self.entry(key).target, question, answer)
        top = [(part.name, part.rise) for part in found.parts[:N_PARTS]]
        return Rests(tuple(top), max((part.rise for part in found.control), default=None))

    def _judged(self, entry: Entry, question: str) -> tuple[Judged, Question | None]:
        said = self._say(entry.key, question)
        known = self.known(entry.key)
        if (meant := recognise(question, entry, known)) is None:
            return Judged(said), None
        return Judged(said, meant.truth, graded(meant, said.text, entry)), meant

    def _reading(self, key: str) -> OpenTarget:
        return self.oracle.open(self.entry(key).target)

    def _answer(self, key: str, question: str) -> Said:
        (answer,) = self._read(key).ask(question)
        said = Said(key, answer.text, answer.confidence, answer.sure, tried=answer.tried, slipped=bool(answer.slip))
        if (draft := answer.draft) is None:
            return said
        return replace(said, draft=draft.text, draft_probability=draft.probability, certified=draft.certified)

    def _known(self, key: str) -> tuple[Question, ...]:
        """A question of every family that the oracle has learned and that applies to a target, with their truths."""
        subject = self.entry(key).subject
        if subject is None:
            return ()
        rng = random.Random(f"{self.catalogue.seed}/{key}")
        return tuple(one_of_each(subject, rng, families=self.oracle.families))


def graded(question: Question, answer: str, entry: Entry) -> Grade:
    """The grade of an answer about a target of which the truth is known."""
    if entry.subject is None:
        exact = answer.strip() == question.truth
        return Grade(parsed=bool(answer.strip()), exact=exact, correct=exact, agreement=float(exact))
    return grade(question, answer, entry.subject, entry.target)


def facts_of(target: Target) -> list[tuple[str, str]]:
    """The shape of a target in words."""
    config = target.config
    sizes = layer_sizes(config, target.weights)
    heads, neurons = [str(h) for h, _, _ in sizes], [str(m) for _, _, m in sizes]
    skipped = {BOS, PAD} if config.default_prepend_bos else set[int]()
    inputs = [name for i, name in enumerate(target.vocab.input) if i not in skipped]
    return [
        ("layers", str(config.n_layers)),
        ("heads", " + ".join(_alike(heads)) or "none"),
        ("neurons", " + ".join(_alike(neurons)) or "none"),
        ("residual width", str(config.d_model)),
        ("positions", str(config.n_ctx)),
        ("attention", config.attention_dir),
        ("input tokens", listed(inputs)),
        ("outputs", "a number" if config.output == "numerical" else listed(target.vocab.output)),
        ("parameters", f"{target.n_parameters:,}"),
    ]


def _alike(sizes: Sequence[str]) -> list[str]:
    """Sizes of layers; one with a factor where all are the same and there are many."""
    return [f"{len(sizes)} x {sizes[0]}"] if len(sizes) > 3 and len(set(sizes)) == 1 else list(sizes)


def listed(names: Sequence[str]) -> str:
    """How many names there are, and the first of them."""
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return f"{len(names):,}: {' '.join(names[:MAX_NAMES])}{more}"


def _first_questions(target: Target, seed: int) -> list[str]:
    """Questions about a target of which nothing is known."""
    skipped = {BOS, PAD} if target.config.default_prepend_bos else set[int]()
    names = [name for i, name in enumerate(target.vocab.input) if i not in skipped]
    length = target.config.n_ctx - bool(skipped)
    found = [DEFAULT_QUESTION, "How was this model made?"]
    if names and 0 < length <= MAX_NAMES:
        drawn = random.Random(seed).choices(names, k=length)
        found.append(f"What is the output on {' '.join(drawn)}?")
    return found
