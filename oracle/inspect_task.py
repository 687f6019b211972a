"""The questions of `weight-oracle eval` as a task of Inspect AI (extra `inspect`), for any model that it can call.

    pip install 'weight-oracle[inspect]'
    inspect eval oracle/weight_oracle_questions -T zoo=DIR --model openai/gpt-5
    inspect eval oracle/weight_oracle_questions -T zoo=DIR -T mode=source --model openai/gpt-5
    python -m oracle.chat.export logs/*.eval --out DIR

The model sees input-output pairs of a target, the source of its program, or nothing (`oracle.chat.prompts`), and never
weights. Its answer is taken by the rule of `oracle.chat.replies` and graded as an oracle's is. The last command writes
rows of answers.parquet, as an evaluation does (`oracle.chat.export`).

Inspect imports this module by its entry point. It needs inspect_ai as it is imported, and nothing else imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, accuracy, scorer, stderr
from inspect_ai.scorer import Target as Truth
from inspect_ai.solver import TaskState, generate

from oracle.chat.exam import Examinee, families_of_oracle, load_examinees, questions_of
from oracle.chat.primer import FORMS, PRIMER
from oracle.chat.prompts import Sight, prompts
from oracle.chat.replies import answer_in
from oracle.evaluation.rows import size_of
from oracle.facts import Question, Subject
from oracle.grade import grade
from tracr_tasks.errors import InputError
from zoo.files import shown
from zoo.store import Zoo

VERSION = 1
"""Of the prompts and of the rule for replies: results of two versions are not compared."""
PREFIX = "oracle/" if {"site-packages", "dist-packages"}.isdisjoint(Path(__file__).parts) else ""
"""Inspect puts `oracle/` before names itself where it finds this module in site-packages. An editable install it would
only know by a distribution that is called as the package is, and this one is called otherwise."""


@task(name=f"{PREFIX}weight_oracle_questions")  # type: ignore[untyped-decorator]
def weight_oracle_questions(
    zoo: str,
    mode: str = "black_box",
    n_pairs: int = 16,
    split: str = "test",
    limit: int = 200,
    questions_per_target: int = 4,
    seed: int = 0,
    oracle: str | None = None,
) -> Task:
    """What an evaluation asks about the targets of a zoo, put to a chat model.

    Args:
        zoo: Folder of the zoo.
        mode: What the model sees of a target: black_box (input-output pairs), source (of its program) or question
            (nothing).
        n_pairs: Pairs of a black box.
        split: Split of the zoo: test (unseen functions) or structure (unseen structures).
        limit: Targets at most.
        questions_per_target: Questions about each.
        seed: Of the targets, the questions and the pairs; targets and questions are those of `weight-oracle eval`.
        oracle: Folder of the oracle whose families of questions are asked; the one that ships if not given.

    Raises:
        InputError: an option out of range, a folder that is no zoo or no oracle, or a split without targets.
    """
    sight = Sight(mode, n_pairs, seed)
    families = families_of_oracle(None if oracle is None else Path(oracle))
    opened = Zoo.open(zoo)
    samples = [
        sample
        for examinee in load_examinees(opened, split=split, limit=limit, seed=seed)
        for sample in _samples(examinee, questions_of(examinee, questions_per_target, seed, families), sight)
    ]
    return Task(
        dataset=MemoryDataset(samples, name=sight.name),
        solver=generate(),
        scorer=graded(str(Path(zoo).resolve())),
        version=VERSION,
        metadata={"sight": sight.name, "zoo": opened.content_hash(), "families": list(families)},
    )


def _samples(examinee: Examinee, questions: Sequence[Question], sight: Sight) -> Iterator[Sample]:
    """One sample a question; its metadata is what is known of its row of answers.parquet before there is an answer."""
    row, config = examinee.row, examinee.target.config
    about: dict[str, Any] = {
        "target": row.id,
        "sha256": row.sha256,
        "kind": examinee.subject.kind,
        "regime": row.regime,
        "split": row.split,
        "part": row.part,
        "size": size_of(row),
        "n_layers": config.n_layers,
        "d_model": config.d_model,
    }
    for question, prompt in zip(questions, prompts(examinee, questions, sight), strict=True):
        asked = {"family": question.family, "question": question.text, "detail": question.detail}
        messages = [ChatMessageSystem(content=PRIMER), ChatMessageUser(content=prompt)]
        yield Sample(
            id=f"{row.id}/{question.family}", input=messages, target=question.truth, metadata={**about, **asked}
        )


@scorer(name=f"{PREFIX}graded", metrics=[accuracy(), stderr(cluster="target")])  # type: ignore[untyped-decorator]
def graded(zoo: str) -> Scorer:
    """Grades answers by execution, as `oracle.grade` says; the standard error is clustered by target.

    `inspect score LOG --scorer oracle/graded -S zoo=DIR` grades a log again.

    Args:
        zoo: Folder of the zoo that the questions are about.

    Raises:
        ZooError: no such zoo.
        InputError: on scoring, a question about a target that is another one in this zoo.
    """
    opened = Zoo.open(zoo)

    async def score(state: TaskState, target: Truth) -> Score:
        """Grade one answer by running what it is about."""
        about = state.metadata
        row = opened.row(about["target"])
        if row.sha256 != about["sha256"]:
            raise InputError(f"{shown(zoo, 300)}: '{row.id}' has other weights, expected the zoo that was asked about")
        question = Question(about["family"], about["question"], target.text, about["detail"])
        subject = Subject(row.kind, row.regime, row.text, opened.program(row.id), (), (), row.labels)
        said = answer_in(state.output.completion, FORMS[question.family].choices)
        found = grade(question, said, subject, opened.target(row.id))
        measured = {"exact": found.exact, "agreement": found.agreement, "parsed": found.parsed}
        return Score(
            value=CORRECT if found.correct else INCORRECT,
            answer=said,
            metadata={"family": question.family, "kind": row.kind, **measured},
        )

    return score
