"""Questions about what was done to a target of a legible zoo, and about what was measured of it.

    history        which regime it is of
    ever trained   yes or no; nothing is asked of compiled targets, which work without training
    seeded         yes or no; a permuted seed holds no program: no
    seed lost      yes or no: whether training took half of what was first measured of a seed (`SEED_MEASURES`)
    seed           which of four programs a seeded target was seeded with; the others are seeds of other targets
    anchored       yes or no; nothing is asked of an anchor that does not hold its concept
    anchor         which of up to four tokens points most along the anchored concept
    probe          all of it, part of it, nothing: what a linear probe finds of a variable in a layer (`found_by_probe`)
    accuracy       in steps

Only targets with a label `history` are asked any of it. `prepared` evens out the answers over a set of targets: of the
families whose answer belongs to the target no answer is then more frequent than the second most frequent one, hence
none than one half; of `probe` that holds in each layer. Choices have their true option at a random place.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from oracle.facts import Subject
from tracr_tasks import format_value
from tracr_tasks.errors import ProgramError
from tracr_tasks.text import parse_program

UNLEARNED = ("untrained", "rerandomised")
SEEDED = ("seeded", "decoy", "seeded_anchored")
"""Regimes whose networks began with a working program."""
ANCHORED = ("anchored", "seeded_anchored")
ACCURACIES = ((0.99, "99% or more"), (0.95, "95% to 99%"), (0.8, "80% to 95%"), (0.0, "under 80%"))
"""Least accuracy of each step, and its name."""
FOUND = ((0.8, "all of it"), (0.2, "part of it"), (float("-inf"), "nothing"))
"""Least share of what there is to find, and the answer (`found_by_probe`)."""
LEAST_ROOM = 0.1
"""Of a variable that is known to more than 1 - LEAST_ROOM without training, no probe is asked about."""
INPUTS = ("tokens", "indices")
"""Concepts that are there from the start: no probe is asked about them."""
MAX_DEFINITION = 240
"""Characters of a variable's definition, at most."""
SEED_MEASURES = {"information": "information", "place": "code", "use": "use"}
"""What is measured of a seed (`zoo.legible.seed_curves`), and what questions call it."""
LEAST_SEED = 0.5
"""Of a seed's first measure: where there was less, nothing is asked about its loss."""
LEAST_MARGIN = 0.3
"""Of an anchored concept's states along the axis: the pilots saw 0.53 to 0.78, and 0.11 without an anchor."""
N_CHOICES = 4
LETTERS = "ABCD"
ASKED, SEEDS, PICKED = "asked", "other seeds", "picked"
"""Labels that `prepared` adds: families to be asked, texts of other targets' seeds, and by family the option asked."""
Option = tuple[str, str]
"""A group, within which answers are evened out, and an answer."""


def applies(subject: Subject, family: str) -> bool:
    """Whether a target has what a family asks for, and was not left out by `prepared`."""
    if "history" not in subject.labels or family not in subject.labels.get(ASKED, (family,)):
        return False
    return bool(_OPTIONS[family](subject))


def found_by_probe(label: Mapping[str, float]) -> str | None:
    """The answer to a probe's figures; None where there is next to nothing to be found.

    What there is to find lies between 1 and the better of the majority's accuracy and that of the same probe on the
    untrained network. A probe finds all of it at 80% of the way, nothing below 20%, else part of it.
    """
    base = max(label["majority"], label.get("untrained", 0.0))
    if 1 - base < LEAST_ROOM:
        return None
    share = (label["accuracy"] - base) / (1 - base)
    return next(name for least, name in FOUND if share >= least)


def definitions(text: str) -> dict[str, str]:
    """Each line of a RASP program's text by its name, with the lines that it reads written out."""
    out: dict[str, str] = {}
    for line in text.splitlines():
        name, _, right = line.partition(" = ")
        if not re.fullmatch(r"v\d+|out", name):
            continue  # the header
        out[name] = re.sub(r"\bv\d+\b", lambda match: out.get(match[0], match[0]), right)
    return out


def _program_text(subject: Subject) -> str:
    """The program of a target; of one without, that of the trained target whose twin it is."""
    return subject.text or str(subject.labels["history"].get("program", ""))


def _cells(subject: Subject) -> dict[Option, list[str]]:
    """Variables by layer and by what a probe finds of them there."""
    known, out = definitions(_program_text(subject)), dict[Option, list[str]]()
    for layer, concepts in sorted(subject.labels.get("probe", {}).items()):
        for name, label in sorted(concepts.items()):
            answer = found_by_probe(label)
            definition = known.get(name, name)
            if answer is not None and name not in INPUTS and len(definition) <= MAX_DEFINITION:
                out.setdefault((layer, answer), []).append(definition)
    return out


def _picked(subject: Subject, family: str, options: Sequence[Option]) -> list[Option]:
    """The options of a family, or the one that `prepared` has picked."""
    pick = subject.labels.get(PICKED, {}).get(family)
    return [option for option in options if pick is None or list(option) == pick]


def _probe_options(subject: Subject) -> list[Option]:
    return _picked(subject, "probe", list(_cells(subject)))


def _probe(subject: Subject, rng: random.Random) -> tuple[str, str]:
    layer, answer = rng.choice(_probe_options(subject))
    definition = rng.choice(_cells(subject)[layer, answer])
    return f"{definition} at layer {layer.removeprefix('L')}", answer


def _history_options(subject: Subject) -> list[Option]:
    return [("", subject.regime.replace("_", " and "))]


def _trained_options(subject: Subject) -> list[Option]:
    return [] if subject.regime == "compiled" else [("", _yes(subject.regime not in UNLEARNED))]


def _seeded_options(subject: Subject) -> list[Option]:
    return [("", _yes(subject.regime in SEEDED))]


def _lost_options(subject: Subject) -> list[Option]:
    """Measures of a seed by name, and whether half of each was lost on the way."""
    label = subject.labels.get("seed", {}) if subject.regime in SEEDED else {}
    found = []
    for name, said in SEED_MEASURES.items():
        first = next(iter(label.get("curve", {}).get(name, ())), None)
        if first is not None and first >= LEAST_SEED:
            found.append((said, _yes(label["half_life"][name] is not None)))
    return _picked(subject, "seed lost", found)


def _lost(subject: Subject, rng: random.Random) -> tuple[str, str]:
    return rng.choice(_lost_options(subject))


def _anchored_options(subject: Subject) -> list[Option]:
    if subject.regime not in ANCHORED:
        return [("", "no")]
    return [("", "yes")] if _has_axis(subject) else []


def _has_axis(subject: Subject) -> bool:
    """Whether an anchor holds its concept, as measured; one that does not is no anchor, and nothing is asked of it."""
    return bool(subject.labels.get("anchor", {}).get("margin", 0.0) >= LEAST_MARGIN)


def _accuracy_options(subject: Subject) -> list[Option]:
    accuracy = subject.labels.get("accuracy")
    if accuracy is None or subject.kind == "none":
        return []
    return [("", next(name for least, name in ACCURACIES if accuracy >= least))]


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _distractors(subject: Subject) -> list[str]:
    """Seeds of other targets, as many as a choice needs, or none."""
    others = subject.labels.get(SEEDS, ())
    return list(others) if subject.regime in SEEDED and len(others) >= N_CHOICES - 1 else []


def _seed_options(subject: Subject) -> list[Option]:
    return [("", LETTERS)] if _distractors(subject) and subject.labels["history"].get("seed") else []


def _seed(subject: Subject, rng: random.Random) -> tuple[str, str]:
    true = subject.labels["history"]["seed"]
    shown = [true, *rng.sample(_distractors(subject), N_CHOICES - 1)]
    rng.shuffle(shown)
    lines = " ".join(f"{letter}: {_on_one_line(text)}." for letter, text in zip(LETTERS, shown, strict=True))
    return lines, LETTERS[shown.index(true)]


def _on_one_line(text: str) -> str:
    """A program without its header, its lines joined."""
    lines = [line for line in text.splitlines() if re.match(r"(v\d+|out) = ", line)]
    return "; ".join(lines)


def _wrong_tokens(subject: Subject) -> list[str]:
    """Tokens that do not point along the anchored concept."""
    label = subject.labels.get("anchor", {})
    if subject.regime not in ANCHORED or not _has_axis(subject) or not label.get("tokens") or subject.program is None:
        return []
    return sorted({format_value(value) for value in subject.program.vocab} - set(label["tokens"]))


def _anchor_options(subject: Subject) -> list[Option]:
    return [("", "token")] if _wrong_tokens(subject) else []


def _anchor(subject: Subject, rng: random.Random) -> tuple[str, str]:
    true, wrong = subject.labels["anchor"]["tokens"][0], _wrong_tokens(subject)
    shown = [true, *rng.sample(wrong, min(len(wrong), N_CHOICES - 1))]
    rng.shuffle(shown)
    return " or ".join([", ".join(shown[:-1]), shown[-1]]), true


_OPTIONS: dict[str, Callable[[Subject], list[Option]]] = {
    "history": _history_options,
    "ever trained": _trained_options,
    "seeded": _seeded_options,
    "seed lost": _lost_options,
    "seed": _seed_options,
    "anchored": _anchored_options,
    "anchor": _anchor_options,
    "probe": _probe_options,
    "accuracy": _accuracy_options,
}
"""By family: the answers that a target may give, each in the group in which it is evened out; none: it is not asked."""
_CHOICES = ("seed", "anchor")
"""Families whose right option is drawn with the question: nothing to be evened out."""
_SEVERAL = ("probe", "seed lost")
"""Families of which a target may have several options; one is picked."""


def _of_target(family: str) -> Callable[[Subject, random.Random], tuple[str, str]]:
    return lambda subject, rng: ("", _OPTIONS[family](subject)[0][1])


HISTORY: dict[str, Callable[[Subject, random.Random], tuple[str, str]]] = {
    **{family: _of_target(family) for family in ("history", "ever trained", "seeded", "anchored", "accuracy")},
    "seed": _seed,
    "anchor": _anchor,
    "probe": _probe,
    "seed lost": _lost,
}
"""Family -> (detail, truth) of a random question about a subject to which it applies."""
HISTORY_SLOTS = {"seed": "options", "anchor": "options", "probe": "variable", "seed lost": "measure"}
"""What the detail is called in the phrasings."""
HISTORY_WEIGHTS: tuple[tuple[str, float], ...] = (
    *((family, 0.5) for family in HISTORY if family != "probe"),
    ("probe", 1.5),
)
"""Families with their weight in a random draw."""


def prepared(subjects: Sequence[Subject], seed: int) -> list[Subject]:
    """The subjects with what evens out the answers over all of them; those without a history as they are.

    Args:
        seed: of what is left out where an answer would be too frequent.
    """
    out = list(subjects)
    told = [i for i, subject in enumerate(subjects) if "history" in subject.labels]
    asked: dict[int, list[str]] = {i: list(_CHOICES) for i in told}
    picked: dict[int, dict[str, list[str]]] = {i: {} for i in told}
    for family in (family for family in HISTORY if family not in _CHOICES):
        rng = random.Random(f"{seed}/{family}")
        for i, option in zip(told, spread([_OPTIONS[family](subjects[i]) for i in told], rng), strict=True):
            if option is not None:
                asked[i].append(family)
                picked[i] |= {family: list(option)} if family in _SEVERAL else {}
    for i in told:
        added = {ASKED: asked[i], SEEDS: _other_seeds(subjects[i], subjects, seed), PICKED: picked[i]}
        out[i] = replace(subjects[i], labels=dict(subjects[i].labels) | added)
    return out


def spread(options: Sequence[Sequence[Option]], rng: random.Random) -> list[Option | None]:
    """One option of each, or none, so that in no group an answer is more frequent than the second most frequent."""
    counts, chosen = Counter[Option](), list[Option | None]([None] * len(options))
    order = rng.sample(range(len(options)), len(options))
    for i in sorted(order, key=lambda i: len(options[i])):
        if options[i]:
            option = min(rng.sample(list(options[i]), len(options[i])), key=counts.__getitem__)
            chosen[i] = option
            counts[option] += 1
    for group in {group for group, _ in counts}:
        sizes = sorted(((n, option) for option, n in counts.items() if option[0] == group), reverse=True)
        second = sizes[1][0] if len(sizes) > 1 else 0
        surplus = [i for i in order if chosen[i] == sizes[0][1]][second:]
        for i in surplus:
            chosen[i] = None
    return chosen


def _other_seeds(subject: Subject, subjects: Sequence[Subject], seed: int) -> list[str]:
    """Seeds of other targets that are other functions than its own and each other's, in a random order."""
    own = subject.labels["history"].get("seed", "")
    if subject.regime not in SEEDED or not own or subject.program is None:
        return []
    facts = (tuple(subject.program.vocab), subject.program.max_seq_len, subject.program.causal)
    texts = sorted({other.labels["history"].get("seed", "") for other in subjects if "history" in other.labels} - {""})
    found = {_function(own, *facts): own}
    for text in random.Random(f"{seed}/{own}").sample(texts, len(texts)):
        if len(found) == N_CHOICES * 3:
            break
        found.setdefault(_function(text, *facts), text)
    return list(found.values())[1:]


@cache
def _function(text: str, vocab: tuple[Any, ...], max_seq_len: int, causal: bool) -> str:
    """What a program computes on the inputs of a vocabulary and length; a text that does not fit them is its own."""
    try:
        return parse_program(text, vocab, max_seq_len, causal).function_hash()
    except ProgramError:
        return text
