"""More ways to ask, composed from parts: `[Give|Show] the rule.` stands for two phrasings.

A base model that has met a dozen phrasings of a family takes a thirteenth for another family; of hundreds it learns
which words matter. They are trained on only. What says the same as a phrasing of the test but for articles is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_GIVE = "[Give|Give me|State|Write down|Write|Show|Show me|Tell me|Name]"
_SAY = "[Say|Tell me|State|Describe|Explain|Write down]"
_MODEL = "[the model|this model|it|the network]"
_THESE = "[the weights|these weights]"
_FIND = "[Find|Name|Give|Give me|Show|Show me|Propose|State]"

PATTERNS: dict[str, tuple[str, ...]] = {
    "program": (
        f"{_SAY} what {_MODEL} [computes|does|implements].",
        f"{_SAY} what {_THESE} [compute|do|implement].",
        f"{_GIVE} the [program|source|rule|function] of [{_MODEL}|{_THESE}].",
        f"{_GIVE} the [program|rule|function] that {_MODEL} [computes|follows|implements].",
        f"{_GIVE} the [program|rule|function] that {_THESE} [compute|follow|implement].",
        f"[What|Which] [program|rule|function] does {_MODEL} [compute|follow|implement]?",
        f"[What|Which] [program|rule|function] do {_THESE} [compute|follow|implement]?",
        f"What [does {_MODEL}|do {_THESE}] [compute|do|implement]?",
        f"[Decompile|Describe] [{_MODEL}|{_THESE}] [|as a program].",
    ),
    "output": (
        "[Give|Give me|Predict|State|Tell me|Say|Name] the [answer|output] [on|for] [|the input] {input}.",
        "[What is|What would be] the [answer|output] [on|for] [|the input] {input}?",
        f"[Predict|Say|Tell me|State] what {_MODEL} [says to|answers on|answers to|gives for] [|the input] {{input}}.",
        f"What [does|would|will] {_MODEL} [say to|answer on|answer to|give for] [|the input] {{input}}?",
        "[Predict|Give|Tell me] [the model's|its] [answer|output] [on|for] [|the input] {input}.",
        f"[Input|The input is]: {{input}}. [Output?|Answer?|What is the output?|What does {_MODEL} say?]",
    ),
    "first": (
        "[Which|What] [condition|question|test] [comes|is asked|is checked|is tested] first?",
        f"[Which|What] [condition|question|test] does [{_MODEL}|the flowchart] [ask|check|make|test] first?",
        "[Give|Give me|Name|State|Tell me|Show] the [first|root] [condition|question|test] "
        "[|of the flowchart|of the model|of this model].",
        "[Give|Name|State|Tell me|Say] [what|which condition|which question] "
        "[is asked|is checked|is tested|comes] first.",
        f"[Say|Tell me|State] what [{_MODEL}|the flowchart] [asks|checks|tests] first.",
    ),
    "mentions": (
        f"Does [{_MODEL}|the answer] [care about|depend on|look for|ask about|look at] [|the token|token] {{token}}?",
        "Is there a [condition|rule|question|test] [about|on|that names|that mentions] [|the token|token] {token}?",
        "Does any [rule|condition|question|test] [name|mention|depend on|ask about] [|the token|token] {token}?",
        "[Is it true that|Say whether|Tell me whether] [|the token|token] {token} [matters|is asked about|is named].",
        f"[Is it true that|Say whether|Tell me whether] {_MODEL} "
        "[looks for|asks about|cares about|depends on] [|the token|token] {token}.",
    ),
    "trigger": (
        f"{_FIND} an input [with answer|that leads to|that triggers|that gives|with the output] {{answer}}.",
        f"{_FIND} an input [on|for] which {_MODEL} [answers|says|gives] {{answer}}.",
        f"{_FIND} an input [that makes|for which we see] {_MODEL} [say|answer|give] {{answer}}.",
        "[Which|What] input [leads to|triggers|gives|has the answer|has the output] {answer}?",
        f"[Which|What] input makes {_MODEL} [say|answer|give] {{answer}}?",
        f"[On|For] [which|what] input does {_MODEL} [say|answer|give] {{answer}}?",
    ),
    "rare": (
        f"{_FIND} a rare input [with answer|that leads to|that triggers|that gives|with the output] {{answer}}.",
        f"{_FIND} [a|the] rare [input|case] [on|in] which {_MODEL} [answers|says|gives] {{answer}}.",
        "[Which|What] rare input [leads to|triggers|gives|has the output] {answer}?",
        f"[Which|What] rare input makes {_MODEL} [say|answer|give] {{answer}}?",
        f"{{answer}} is [|a] rare [|answer]. {_FIND} an input [that leads to it|with it|that gives it].",
        f"{_MODEL} rarely [gives|answers] {{answer}}. {_FIND} an input [on which it does|that leads to it].",
    ),
    "rule": (
        "[Is|Would it be right that] the answer [|always|really] {claim}?",
        f"Does {_MODEL} [|always|really] answer {{claim}}?",
        "[Is there a|Does it have the|Does it follow the] rule [|that says|that the answer is] {claim}?",
        f"Do {_THESE} [follow|implement|have] [the|a] rule [|that says] {{claim}}?",
        f"[Say whether|Tell me whether] [{_MODEL} answers|the answer is] [|always] {{claim}}.",
        f"[Is it true|Is it right|Does it hold] that [{_MODEL} answers|the answer is] {{claim}}?",
    ),
    "uses": (
        "Does [the program|the source|the model|it] [use|contain|compute|need|have] [a|any] {operation}?",
        "Is there [a|any] {operation} in [the program|the source|this program|the model]?",
        "Is [a|any] {operation} [used|computed|implemented] [|by the program|by the model|in the program]?",
        "[Say whether|Tell me whether|Is it true that] [the program|the model|it] [uses|contains|computes] "
        "[a|any] {operation}.",
        f"Do {_THESE} [compute|contain|implement] [a|any] {{operation}}?",
    ),
    "where": (
        "[Which|What] layer [computes|contains|holds|implements] {operation}?",
        "[Which|What] layers [compute|contain|hold|implement] {operation}?",
        "In [which|what] [layer|layers] [is|do we find|does one find] {operation} [|computed|implemented]?",
        "Where [|in the model|in the weights] [is|do we find] {operation} [|computed|implemented]?",
        "[Give|Give me|State|Tell me|Say|Name] the [layer of|layers of|layer that computes|layers that compute] "
        "{operation}.",
        "[Say|Tell me|State] [where|in which layer|in which layers] {operation} is [computed|implemented].",
    ),
    "inside": (
        "What [is computed|is done|is implemented] [by|in] the {part}?",
        "[Which|What] operations [are computed|are done|are implemented] [by|in] the {part}?",
        "[Which|What] [operations|parts of the program] do the {part} [compute|implement|do|hold]?",
        "[Say|State|Give|Describe] [what|which operations] the {part} [compute|implement|do].",
        "[Give|State|List|Show] the operations [of|in|that are computed by] the {part}.",
        "Look at the {part}. [What is computed there?|Which operations are there?|What do they do?]",
    ),
    "regime": (
        "[Was|Is] [this model|the model|it|this network] [trained, compiled or untrained|untrained, trained or "
        "compiled|compiled, untrained or trained]?",
        "[Were|Are] [the weights|these weights] [trained, compiled or untrained|untrained, trained or compiled]?",
        "[Tell me|Say|State] [how|in which way] [the model|this model|it] [came about|was made|got its weights].",
        "[What is|Name|State|Give|Tell me] the [regime|history|origin] of [the weights|these weights|the model|it].",
        "[How|In which way] was [this model|the model|it] made?",
    ),
}
"""Family -> patterns. Slots in braces are those of phrasings.py; an empty alternative leaves the words out."""


def expanded(pattern: str) -> list[str]:
    """Every phrasing that a pattern stands for, each once: one alternative of each bracket."""
    bracket = re.search(r"\[([^\[\]]*)\]", pattern)  # with none inside
    if bracket is None:
        return [_tidy(pattern)]
    before, behind = pattern[: bracket.start()], pattern[bracket.end() :]
    found = [text for option in bracket[1].split("|") for text in expanded(before + option + behind)]
    return list(dict.fromkeys(found))


def _tidy(text: str) -> str:
    """One space between words, none before a mark, a capital in front."""
    text = re.sub(r" (?=[.?])", "", re.sub(r" +", " ", text)).strip()
    return text[:1].upper() + text[1:]


def meaning(text: str) -> str:
    """A phrasing without what makes no difference: articles, `me`, marks and capitals."""
    words = re.findall(r"[\w{}']+", text.lower())
    return " ".join(word for word in words if word not in {"a", "an", "the", "this", "these", "any", "me"})


def composed(family: str, held_back: Iterable[str]) -> tuple[str, ...]:
    """The composed phrasings of a family, none that means the same as one of `held_back`."""
    hidden = {meaning(text) for text in held_back}
    texts = dict.fromkeys(text for pattern in PATTERNS.get(family, ()) for text in expanded(pattern))
    return tuple(text for text in texts if meaning(text) not in hidden)
