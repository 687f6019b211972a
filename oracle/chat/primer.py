"""What a chat model has to know that has never seen our languages: how they are written, and the form of each answer.

The same text stands before every question, so that it gives nothing about a target away.
"""

from __future__ import annotations

from dataclasses import dataclass

from oracle.history_questions import ACCURACIES, FOUND, LETTERS
from oracle.part_questions import COMPUTED, NOTHING
from oracle.phrasings import NO_PROGRAM
from zoo.parts import REGIMES

FLOWCHART_EXAMPLE = "if pos 2 is d then if 2 of b then u else p else t"
RASP_EXAMPLE = "v1 = select(tokens, tokens, ==)\nv2 = selector_width(v1)\nout = map(x + 1, v2)"

FLOWCHARTS = f"""\
Flowcharts are written on one line:
    TREE := ANSWER | if COND then TREE else TREE
A flowchart gives one answer to a sequence of tokens. Its conditions, where positions count from 1:
    pos 3 is c               the third token is c
    has a                    a occurs somewhere
    2 of a                   a occurs at least twice
    first a before first b   a occurs, and b does not occur before it (nor need it occur at all)
    pos 1 equals pos 4       the first and the fourth token are the same
    first in {{a, c}}          the first token is a or c
    last in {{a, c}}           the last token is a or c
Example, which answers u, p or t:
    {FLOWCHART_EXAMPLE}"""

RASP = """\
RASP programs are written one assignment a line, and `out` is what they compute. An S-op holds one value (a number, a
string or none) at each position of the input; a selector says which positions are chosen at each position.
    tokens                        S-op: the input
    indices                       S-op: the position, counted from 0
    length                        S-op: the number of tokens
    constant(c)                   S-op: c everywhere
    map(F, s)                     S-op: F of each value of s. F is an expression in x (x + 1, x % 2, x == 3, not x), or
                                  a table {0: 1, 1: 4}
    sequence_map(F, s, t)         S-op: F of the values x of s and y of t at the same position: x * y, x and y, x < y
    linear(a, b, s, t)            S-op: a * s + b * t, where a and b are numbers
    numerical(s), categorical(s)  S-op: s itself; how the transformer holds it
    select(s, t, P)               selector: at each position, with value q of t, the positions whose value k of s fits.
                                  P is ==, !=, <, <=, > or >= (k stands left of it), true, false, or an expression in
                                  k and q: k + 1 == q
    selector_and(A, B), selector_or(A, B), selector_not(A)
    selector_width(A)             S-op: the number of chosen positions
    aggregate(A, s)               S-op: the mean of s over the chosen positions, or their value if it is the same at
                                  all of them; none where no position is chosen
    aggregate(A, s, default=0)    S-op: the same, with 0 where no position is chosen
Comparisons give 1 or 0, `and` and `or` one of their operands as in Python, means are exact, and none stays none. In a
causal transformer every selector is limited to the position itself and those before it. Example, one more than the
number of times that a token occurs:
""" + "\n".join(f"    {line}" for line in RASP_EXAMPLE.splitlines())

HISTORIES = """\
Some targets have one of these histories:
    seeded               training began with a compiled part of the program in the weights
    permuted             the same, with the entries of each seeded tensor shuffled
    decoy                training began with a compiled part of another program in the weights
    anchored             a concept of the program was pulled towards one direction in training
    seeded and anchored  both
    rerandomised         trained, then each tensor drawn anew with the mean and variance that it had"""

PRIMER = f"""\
You are asked a question about a small transformer, the target. Its weights are not shown. What is known of it, if
anything, stands before the question; where that does not settle the answer, give your best guess.

A target was compiled from a RASP program and gives a value at each position, or trained, mostly on examples of a
flowchart, or left untrained: random weights, which compute no program. Layers are counted from 0. Questions about
behaviour are about what the target itself does, which may differ from its program.

{FLOWCHARTS}

{RASP}

{HISTORIES}

You may think first. End with a line that begins with ANSWER: and holds the answer and nothing else; the lines of a RASP
program may follow it."""


@dataclass(frozen=True)
class Form:
    """The form of a family's answers."""

    text: str
    """As the model is told."""
    choices: tuple[str, ...] = ()
    """All answers that there are, if they are the same for every target."""


def _one_of(*choices: str) -> Form:
    return Form(f"one of: {', '.join(choices)}", choices)


YES_NO = Form("yes or no", ("yes", "no"))
TOKENS = "an input of the full length, as its tokens with spaces between them"
OPERATION = f"an operation is one of {', '.join(COMPUTED)}"

FORMS: dict[str, Form] = {
    "program": Form(
        f"the flowchart or RASP program of the target, or `{NO_PROGRAM}` if it computes none. A program is right if "
        "it gives the same as the target's own on all inputs"
    ),
    "output": Form(
        "what the target answers: one answer for the whole input or, where it gives a value at each position, these "
        "with spaces between them (numbers as Python prints them: 2, 0.5, 0.3333333333333333)"
    ),
    "first": Form("the condition that the flowchart asks first, as it is written in a flowchart: has a"),
    "mentions": YES_NO,
    "trigger": Form(TOKENS),
    "rare": Form(TOKENS),
    "rule": Form(
        f"{YES_NO.text}. `p if C` says that p is the answer wherever C holds, `p unless C` where it does not",
        YES_NO.choices,
    ),
    "uses": YES_NO,
    "where": Form(f"the numbers of the layers, ascending, with spaces between them: 0 2; {OPERATION}"),
    "inside": Form(f"operations in alphabetical order with spaces between them, or `{NOTHING}`; {OPERATION}"),
    "regime": _one_of("compiled", "trained", "untrained"),
    "history": _one_of(*(regime.replace("_", " and ") for regime in REGIMES)),
    "ever trained": YES_NO,
    "seeded": YES_NO,
    "seed lost": YES_NO,
    "seed": _one_of(*LETTERS),
    "anchored": YES_NO,
    "anchor": Form("one of the tokens to choose from"),
    "probe": _one_of(*(name for _, name in FOUND)),
    "accuracy": _one_of(*(name for _, name in ACCURACIES)),
}
"""Family -> the form of its answers."""
