"""How much of what is likely of a target bears an answer out.

A small decoder finds several flowcharts likely of the same weights (weighing.py), and they differ little: a wrong draft
answers most questions rightly, and the right one would say so. So an answer is held against each of them, and its
*support* is the share of those about which it is right too:

    the program itself                  -> the share of the draft's own function
    what was tried with the draft       -> tried with each of the others
    anything else                       -> the reader is asked again, shown another draft beside the same weight tokens

An answer about which the likely flowcharts agree is as good as certain, whichever of them is right. That is a better
sign than how sure the reader is, which knows one draft only, and than the draft's own share, which is the same for all
questions (calibration.py has what becomes of it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from oracle.answer import Answer
from oracle.phrasings import NO_PROGRAM
from oracle.trials import Draft, bears_out

AT_ONCE = 64
"""Questions that are asked again at once."""
Again = Callable[[Sequence[int], Sequence[Draft]], list[str]]
"""What is said to the questions at some places when other drafts are shown there."""


def supports(answers: Sequence[Answer], again: Again) -> list[float | None]:
    """The support of each answer, from 0 to 1; None where no flowcharts were weighed."""
    found, others = list[float | None](), list[tuple[int, Draft]]()
    for i, answer in enumerate(answers):
        draft, trial = answer.draft, answer.trial
        if draft is None or draft.share is None:
            found.append(None)
        elif answer.text == NO_PROGRAM:
            found.append(1 - math.exp(min(0.0, draft.log_prob)))
        elif trial is not None:
            likely = (draft, *draft.others)
            found.append(math.fsum(_share(each) for each in likely if bears_out(each, trial, answer.text)))
        else:
            found.append(_share(draft))
            others += [(i, other) for other in draft.others if answer.text != draft.text]
    for start in range(0, len(others), AT_ONCE):
        places, drafts = zip(*others[start : start + AT_ONCE], strict=True)
        for i, draft, text in zip(places, drafts, again(places, drafts), strict=True):
            found[i] = (found[i] or 0.0) + _share(draft) * (text == answers[i].text)
    return [None if support is None else min(1.0, support) for support in found]


def _share(draft: Draft) -> float:
    """The share of a draft that was weighed."""
    return math.exp(min(0.0, draft.share or 0.0))
