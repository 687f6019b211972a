"""What each condition of an evaluation is, in words for the page."""

from __future__ import annotations

from oracle.evaluation.conditions import DRAFTED, FAMILIAR, GAUGE, NOTHING, OWN, SOURCE, SWAPPED, UNDRAFTED
from oracle.evaluation.figures_style import pairs_in

MEANINGS = {
    OWN: "the oracle under test reads the target's weights, in a random gauge",
    UNDRAFTED: "the weight tokens without the draft that the small decoder writes from the same weights",
    DRAFTED: "the draft that the small decoder writes from the target's weights, and no weight tokens",
    GAUGE: "the same in another random gauge: a check that answers stay as they are",
    FAMILIAR: "the same weights, and the same questions in words that the oracle was trained on",
    SWAPPED: "the oracle reads the weights of another target of the same kind, and architecture if there is one",
    "entries shuffled": "the target's weights, the entries of each tensor in random order",
    "architecture only": "fresh random weights of the same shapes under the same labels",
    "Gaussian tokens": "random directions in place of the weight tokens, of the same lengths",
    "zero tokens": "as many tokens that say nothing",
    NOTHING: "the oracle's language model with its adapter sees no weights",
    "base, question only": "the same language model without its adapter sees no weights",
    "majority": "the most frequent right answer to such questions about other targets",
    "nearest by weight tokens": "what is right of the target with the nearest mean weight token",
    "nearest by statistics": "what is right of the target whose tensors have the nearest statistics",
    "statistics reader": "ridge regression from these statistics to the answers that are right about other targets",
    "decoder without a language model": "what is right of the program that the small decoder writes from the weights",
    SOURCE: "the language model without its adapter is told the program: a ceiling",
}
BOXES = {
    "black box": "the language model without its adapter is told {} inputs with the target's outputs",
    "look-up": "the most similar of {} known inputs, or a known input; of other questions it knows nothing",
}


def meaning_of(condition: str) -> str:
    """What a condition is; the name itself where nobody has said."""
    if found := pairs_in(condition):
        return BOXES[found[0]].format(found[1])
    return MEANINGS.get(condition, condition)
