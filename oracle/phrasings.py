"""How each family of questions is phrased. The last two phrasings of a family are never trained on."""

from __future__ import annotations

N_TEST_ONLY = 2

PHRASINGS: dict[str, tuple[str, ...]] = {
    "program": (
        "What does this model compute?",
        "Write down the program that these weights implement.",
        "Decompile the model.",
        "Which program is this?",
        "Give the program of this model.",
        "State the rule that the model follows.",
        "What function do the weights implement?",
        "Describe the model's computation as a program.",
    ),
    "output": (
        "What does the model answer on {input}?",
        "Input: {input}. What comes out?",
        "Give the output for {input}.",
        "What is the output on {input}?",
        "Run it in your head on {input}.",
        "What would it say to {input}?",
        "Predict the model's answer to {input}.",
        "If the input is {input}, what is the answer?",
    ),
    "first": (
        "What does the model ask first?",
        "Which condition is checked first?",
        "Name the first question of the flowchart.",
        "What is the first condition?",
        "What is tested at the root of the flowchart?",
        "Which test comes first?",
        "What is the model's first decision about?",
        "Where does the decision start?",
    ),
    "mentions": (
        "Does the answer depend on token {token}?",
        "Is there a rule about {token}?",
        "Does the model look for {token}?",
        "Is {token} one of the tokens that matter?",
        "Is token {token} asked about?",
        "Does any condition name {token}?",
        "Would the model ever care about {token}?",
        "Is it true that some rule involves {token}?",
    ),
    "trigger": (
        "Give an input on which the model answers {answer}.",
        "Find an input that leads to {answer}.",
        "Which input makes it say {answer}?",
        "Show me an input with answer {answer}.",
        "What input triggers {answer}?",
        "Name one input for which {answer} comes out.",
        "Propose an input that the model maps to {answer}.",
        "How can I make it answer {answer}?",
    ),
    "uses": (
        "Does the program use {operation}?",
        "Is there a {operation} in the program?",
        "Does the model compute a {operation}?",
        "Is {operation} one of its operations?",
        "Do the weights implement a {operation}?",
        "Does a {operation} occur?",
        "Would its source contain {operation}?",
        "Is it true that it needs a {operation}?",
    ),
    "regime": (
        "How did these weights come about?",
        "Was this model compiled, trained or left untrained?",
        "Is the model compiled, trained or untrained?",
        "Where do the weights come from?",
        "What is the history of these weights?",
        "Compiled, trained or untrained?",
        "Did anybody train this model?",
        "Tell me the regime of the model.",
    ),
}

NO_PROGRAM = "no program"
"""The answer to `program` for a target that computes none: untrained weights."""


def phrasings(family: str, *, test: bool) -> tuple[str, ...]:
    """The phrasings of a family that are trained on, or (test) those that never are."""
    return PHRASINGS[family][-N_TEST_ONLY:] if test else PHRASINGS[family][:-N_TEST_ONLY]
