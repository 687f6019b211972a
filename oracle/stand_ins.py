"""Stand-ins: what a target calls its labels never reaches the reader, unless it is a letter or a number.

The names of a target's tokens are whatever somebody wrote into its files. Letters, numbers, true, false and none are
read as they are; any other name is read as a letter that is still free, or as t1, t2, ... behind these. So two targets
that differ in such names alone give the same logits, bit by bit, and a sentence in a name is read by nobody.

    names = StandIns(target.vocab)
    names.inward("What is the output on cat dog?")    "What is the output on a b?"
    names.outward("if has a then p else q")           "if has cat then p else q"

A name that is a word of the questions' own language ("model", "yes") means a label where it stands in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, cached_property
from itertools import chain, count
from typing import Final

from oracle.phrasings import PHRASINGS, phrasings
from oracle.questions import OPERATIONS
from zoo.files import shown
from zoo.target import Vocab
from zoo.tree import KEYWORDS

PLAIN: Final = re.compile(r"[A-Za-z]|-?[0-9]{1,12}([./][0-9]{1,12})?|true|false|none|value|BOS|PAD", re.ASCII)
"""Names that are read as they are: what the zoos' own labels are called."""
INPUTS, OUTPUTS = "abcdefghijklmno", "pqrstuvwxyz"
"""Stand-ins in the order in which they are given out; behind them come t1, t2, ..."""
QUOTES, STOPS = "'\"`", ".,;:!?()"
QUOTED: Final = re.compile(rf"([{STOPS}]*)([{QUOTES}])(.+)\2([{STOPS}]*)")
LONGEST = 60
"""Characters of a name in an answer."""


def are_plain(names: Iterable[str]) -> bool:
    """Whether all of some names are read as they are."""
    return all(map(PLAIN.fullmatch, names))


class StandIns:
    """Plain names for the labels of a target, and the way there and back for texts about it.

    `keep` leaves all names as they are, for an oracle that has learned from targets with other names.
    """

    def __init__(self, vocab: Vocab, *, keep: bool = False):
        taken = {name for name in chain(vocab.input, vocab.output) if PLAIN.fullmatch(name)}
        self.plain: dict[str, str] = {}
        """A plain name for each that is not plain."""
        numbered = (f"t{i}" for i in count(1))
        spoken = () if keep else ((vocab.input, INPUTS), (vocab.output, OUTPUTS))
        for names, letters in spoken:
            free = chain((letter for letter in letters if letter not in taken), numbered)
            for name in names:
                if not PLAIN.fullmatch(name) and name not in self.plain:
                    self.plain[name] = next(free)
        self.vocab = Vocab(*(tuple(self.plain.get(name, name) for name in n) for n in (vocab.input, vocab.output)))
        """The labels under plain names."""

    def inward(self, text: str) -> str:
        """A question or an answer in plain names."""
        for name in self._of_words:
            if name in text:
                quote = rf"([{QUOTES}])" if set(name.casefold().split()) <= language() else rf"([{QUOTES}]?)"
                text = re.sub(rf"{quote}(?<!\w){re.escape(name)}(?!\w)\1", self._by_key[name], text)
        return re.sub(r"\S+", lambda match: self._word(match[0]), text) if self.plain else text

    def outward(self, text: str) -> str:
        """What was said in plain names, in the target's own; of a long one the beginning, no character invisible.

        In a RASP program letters are variables too, and names stand in quotes.
        """
        name = r"(?<=')\w+(?=')" if "(" in text else r"\w+"
        return re.sub(name, lambda match: self._own.get(match[0], match[0]), text) if self.plain else text

    def _word(self, word: str) -> str:
        """One word of a text, and the punctuation around it."""
        if (quoted := QUOTED.fullmatch(word)) and quoted[3] in self._by_key:
            return quoted[1] + self._by_key[quoted[3]] + quoted[4]
        for core in (word, word.rstrip(STOPS), word.strip(STOPS)):
            if core in self._by_key and core.casefold() not in language():
                return word.replace(core, self._by_key[core], 1)
        return word

    @cached_property
    def _own(self) -> dict[str, str]:
        """Names as answers show them, by their stand-ins."""
        return {plain: shown(name, LONGEST) for name, plain in self.plain.items()}

    @cached_property
    def _by_key(self) -> dict[str, str]:
        """Stand-ins by what is written of a name in a question: without spaces around it, or as answers show it."""
        pairs = [(key.strip(), plain) for name, plain in self.plain.items() for key in (name, self._own[plain])]
        return {key: plain for key, plain in reversed(pairs) if key and not PLAIN.fullmatch(key)}

    @cached_property
    def _of_words(self) -> list[str]:
        """Names with spaces inside, the longest first."""
        return sorted((key for key in self._by_key if len(key.split()) > 1), key=len, reverse=True)


@cache
def language() -> frozenset[str]:
    """Words of questions and of claims in them, in lower case."""
    texts = (text for family in PHRASINGS for test in (False, True) for text in phrasings(family, test=test))
    words = (word for text in texts for word in re.findall(r"[\w']+", re.sub(r"{.*?}", "", text).casefold()))
    return frozenset((*words, *OPERATIONS, *KEYWORDS, "unless"))
