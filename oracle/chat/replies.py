r"""The answer in a chat model's reply: what stands where the model was told to put it. Nothing is searched for.

1. What follows the last line that begins with `ANSWER:`; the whole reply if there is none. Marks of emphasis around
   the word (`**ANSWER:**`) and its case do not matter.
2. Of that, the inside of the last code fence, if there is a closed one.
3. White space, backticks and one pair of `**` around it go.
4. For a family with a fixed list of answers, case and a final full stop do not matter.

No program is looked for in prose. An answer with words beside it is graded with these words, which is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARK = re.compile(r"^[ \t>#*_]*answer[*_]*:[*_]*", re.IGNORECASE | re.MULTILINE)
FENCE = re.compile(r"```[^\n`]*\n(.*?)\n?[ \t]*```", re.DOTALL)


def answer_in(reply: str, choices: Sequence[str] = ()) -> str:
    """The answer that a reply gives, as the module says; `choices` are a family's fixed answers, if it has any."""
    said = MARK.split(reply)[-1]
    if fenced := FENCE.findall(said):
        said = fenced[-1]
    said = said.strip().strip("`").strip()
    said = said.removeprefix("**").removesuffix("**").strip()
    plain = {choice.casefold(): choice for choice in choices}
    return plain.get(said.removesuffix(".").casefold(), said)
