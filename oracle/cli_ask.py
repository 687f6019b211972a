"""The verb `ask`: its options, how a target is named, and what is printed.

This module imports nothing heavy, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from oracle.cli_parse import Verb
from oracle.config import MAX_PARAMETERS
from tracr_tasks.errors import InputError, TargetError

if TYPE_CHECKING:
    from oracle.opened import OpenTarget
    from oracle.oracle import Answer

DEFAULT_QUESTION = "What does this model compute?"
MAX_SAMPLES = 256
MAX_OTHERS = 3
"""Alternatives that are shown."""
MAX_QUESTION = 10_000
"""Characters of a question: well over any that the oracle was trained on, and far under what would fill the memory."""


@dataclass(frozen=True)
class AskConfig:
    """Ask about a target from its weights alone: it is read, never run.

    Without a question, on a terminal, it asks for one after the other; `exit` or Ctrl-D ends.
    Exit status: 0 done; 2 the input is wrong, one line says what; 130 interrupted; 141 the reader of the output went
    away; 143 terminated.
    """

    target: tyro.conf.Positional[str]
    """Folder of a target, of a model as transformers saves it, of a TransformerLens state dict or a Tracr export; the
    file of such a state dict, in safetensors; or ZOO#ID for one target of a zoo."""
    questions: tyro.conf.Positional[tuple[str, ...]] = ()
    """Questions; "What does this model compute?" if none is given and this is no conversation."""
    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Draw N answers beside each: others among them are shown, and the confidence is taken from their agreement too."""
    seed: int = 0
    """Seed of the samples."""
    explain: bool = False
    """Say which layers, heads and neurons each answer rests on: how much its loss rises without them, in nats."""
    interactive: bool = False
    """Ask for questions one after the other, a line each; also from a pipe."""
    json: bool = False
    """Print one JSON object: {"target", "answers": [{"question", "answer", "confidence", "abstains", "agreement",
    "alternatives": [[answer, share], ...], "draft", "certified", "tried": [what, result] or null, "slip": what was said
    of the program where that was not the draft, which stands in its place, or "", "support": share of what is likely
    about which the answer is right, or null}]}; with --explain each answer has
    "explanation" and "control", [{"name", "layer", "kind", "rise"}, ...]. In a conversation an object a line."""
    search: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Compile N programs at most to find a draft that has the target's own weights; as many as the oracle was trained
    for if not given, 0 for none."""
    oracle: Annotated[str | None, tyro.conf.arg(metavar="DIR|OWNER/NAME")] = None
    """Folder of the oracle, or its name on the hub, OWNER/NAME or OWNER/NAME@REVISION; the one that ships with the
    package if not given."""


def checked_questions(questions: tuple[str, ...]) -> list[str]:
    """The questions, or the default one if there is none.

    Raises:
        InputError: one is empty, longer than `MAX_QUESTION` characters or not UTF-8.
    """
    for number, question in enumerate(questions, 1):
        if not question.strip():
            raise InputError(f"question {number} is empty: expected a question in words")
        if len(question) > MAX_QUESTION:
            raise InputError(f"question {number} has {len(question):,} characters, expected at most {MAX_QUESTION:,}")
        if any("\ud800" <= c <= "\udfff" for c in question):
            raise InputError(f"question {number} is not UTF-8: expected text in UTF-8, got {question[:60]!r}")
    return list(questions) or [DEFAULT_QUESTION]


def load_target(name: str) -> Any:
    """The `zoo.Target` in a folder or a file of weights that `zoo.readers` knows, or the one that ZOO#ID names.

    Raises:
        TargetError: there is no such folder, it does not hold a target, or one that is larger than the oracle reads.
    """
    folder, mark, target_id = name.rpartition("#") if not Path(name).exists() else (name, "", "")
    path = Path(folder or name)
    if not path.is_dir() and not (path.suffix == ".safetensors" and path.is_file() and not mark):
        state = "is not a folder" if path.exists() else "does not exist"
        raise TargetError(
            f"{name}: {state}; expected the folder of a target (as `weight-oracle compile` makes), a .safetensors file "
            f"or ZOO#ID{_if_pickle(path)}"
        )
    if mark:
        from zoo.store import Zoo

        zoo = Zoo.open(path)
        if (size := zoo.row(target_id).n_params) > MAX_PARAMETERS:
            raise TargetError(f"{name}: target of {size:,} parameters, expected at most {MAX_PARAMETERS:,}")
        return zoo.target(target_id)
    from zoo.readers import open_source

    source = open_source(path)
    if source.n_parameters > MAX_PARAMETERS:
        raise TargetError(f"{name}: target of {source.n_parameters:,} parameters, expected at most {MAX_PARAMETERS:,}")
    return source.to_target()


def _if_pickle(path: Path) -> str:
    """What to do about a file that is a pickle by its name; nothing of others."""
    from zoo.files import HOW_TO_CONVERT
    from zoo.target_files import PICKLE_NAMES

    return f" (a pickle is refused unread; {HOW_TO_CONVERT})" if any(map(path.match, PICKLE_NAMES)) else ""


def run_ask(config: AskConfig) -> None:
    """`ask`: `oracle.oracle.WeightOracle.open`, and questions to what it gives.

    Raises:
        InputError: too many samples, or what `checked_questions` refuses.
        TargetError: the target cannot be read.
    """
    questions = checked_questions(config.questions)
    if not 0 <= config.samples <= MAX_SAMPLES:
        raise InputError(f"--samples {config.samples}: expected 0 to {MAX_SAMPLES}")
    talks = is_conversation(config)
    with no_collection():
        target = load_target(config.target)
        from oracle.oracle import WeightOracle

        oracle = WeightOracle.from_pretrained(config.oracle).searching(config.search)
    try:
        opened = oracle.open(target)
    except TargetError as problem:
        raise TargetError(f"{config.target}: {problem}") from None
    if config.questions or not talks:
        answer_all(config, opened, questions)
    if talks:
        from oracle.interactive import converse

        converse(lambda line, typed: answer_all(config, opened, checked_questions((line,)), typed), config.target)


@contextmanager
def no_collection() -> Iterator[None]:
    """Inside it nobody looks for garbage: imports make a million objects that stay, and looking through them takes a
    sixth of the time to the first answer. They are left out afterwards too."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


def is_conversation(config: AskConfig) -> bool:
    """Whether questions are asked for: if that is wished, or where there is none and both ends are a terminal."""
    if config.interactive or config.questions or config.json:
        return config.interactive
    return sys.stdin.isatty() and sys.stdout.isatty()


def answer_all(config: AskConfig, opened: OpenTarget, questions: list[str], typed: bool = False) -> None:
    """Ask, and print the answers, all of them from what has been read of the target; questions that somebody `typed`
    stand above their answers already."""
    answers = opened.ask(questions, config.samples, config.seed, explain=config.explain)
    if config.json:
        print(json.dumps({"target": config.target, "answers": list(map(as_json, answers))}), flush=True)
        return
    from oracle.console import say_answer, say_explanation

    for answer in answers:
        others = answer.alternatives[:MAX_OTHERS]
        question = "" if typed else answer.question
        say_answer(question, answer.text, answer.confidence, answer.sure, others, answer.tried, bool(answer.slip))
        if answer.explanation is not None:
            say_explanation(answer.explanation)


def as_json(answer: Answer) -> dict[str, Any]:
    """What --json prints of an answer."""
    found = answer.explanation
    rests = {} if found is None else {"explanation": found.parts, "control": found.control}
    return {
        "question": answer.question,
        "answer": answer.text,
        "confidence": answer.confidence,
        "abstains": not answer.sure,
        "agreement": answer.agreement,
        "alternatives": answer.alternatives,
        "draft": None if answer.draft is None else answer.draft.text,
        "certified": answer.draft is not None and answer.draft.certified,
        "tried": None if answer.trial is None else [answer.trial.text, answer.result],
        "slip": answer.slip,
        "support": answer.support,
        **{name: [asdict(part) for part in parts] for name, parts in rests.items()},
    }


ASK_VERBS = {"ask": Verb("ask about a target from its weights alone", AskConfig, run_ask)}
