"""What `study anchoring` compares: concepts of three programs, and arms that differ from `anchored` in one thing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracr_tasks import Program, TargetConfig, rasp
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart
from zoo.legible.anchor_options import AnchorOptions
from zoo.legible.studies.configs import AnchoringStudyConfig
from zoo.legible.tasks import Task, task_of

CONTROL, SHUFFLED, ANCHORED = "control", "shuffled labels", "anchored"
LAYERS = 3
"""Of every network."""
WORDS = ("a", "b", "c", "d")
LENGTH, SMOKE_LENGTH = 6, 4
"""Tokens of an input."""


@dataclass(frozen=True)
class Case:
    """A concept of a program, and the state where it is pulled."""

    name: str
    kind: str
    """`condition`, `output`, `token` or `variable`."""
    concept: str
    value: str
    state: int
    """The last where an answer hangs on the concept there, else one that later blocks read."""
    begin: float = 0.0
    """Share of the training before which nothing pulls. What the network has yet to find is not found under a pull
    from the first step: with a third of the default weights two of three networks lost their task (seeds 0 to 2)."""
    longer: int = 1
    """Times the steps of the other cases."""

    def program(self, length: int) -> Program | Flowchart:
        """The program whose concept it is."""
        if self.kind == "condition":
            text = "if has a then p else if pos 2 is b then q else r"
            return parse_flowchart(text, WORDS, ("p", "q", "r"), length)
        count = rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "=="))
        if self.kind != "variable":
            return Program(count, WORDS, length)
        return Program(rasp.SelectorWidth(rasp.select(count, count, "==")), WORDS, length)


CASES = (
    Case("branch: has a", "condition", "has a", "yes", LAYERS),
    Case("output: count is 2", "output", "out", "2", LAYERS),
    Case("token: b", "token", "tokens", "b", 1),
    Case("hidden variable: count is 2", "variable", "v2", "2", 2, 0.4, 2),
)


def cases_of(config: AnchoringStudyConfig) -> tuple[Case, ...]:
    """A branch condition and a token class when it is only to run."""
    return (CASES[0], CASES[2]) if config.smoke else CASES


def task_in(case: Case, config: AnchoringStudyConfig) -> Task:
    """The case's task, over all its inputs."""
    return task_of(case.program(SMOKE_LENGTH if config.smoke else LENGTH))


def network_of(task: Task) -> TargetConfig:
    """The architecture of every network: states of length sqrt(d_model) after the embedding and each block."""
    return TargetConfig(
        d_model=32, n_layers=LAYERS, n_heads=4, d_head=8, d_mlp=64, n_ctx=task.ids.shape[1],
        d_vocab=len(task.vocab.input), d_vocab_out=len(task.vocab.output), pad_token=1, normalize_states=True,
    )  # fmt: skip


def arms_of(case: Case, config: AnchoringStudyConfig) -> dict[str, AnchorOptions]:
    """By name, in the order of the table."""
    full = AnchorOptions(
        strength=config.strength,
        label_rate=config.label_rate,
        anti_anchor=config.anti_anchor,
        separate=config.separate,
        states=(case.state,),
        begin=case.begin,
    )
    at_once = {"from the first step": replace(full, begin=0.0)} if case.begin else {}
    return {
        CONTROL: replace(full, strength=0.0, anti_anchor=0.0, separate=0.0),
        SHUFFLED: replace(full, shuffled=True),
        ANCHORED: full,
        **at_once,
        "pull alone": replace(full, anti_anchor=0.0, separate=0.0),
        "no repulsion": replace(full, separate=0.0),
        "no anti-anchor": replace(full, anti_anchor=0.0),
        "anti-subspace": replace(full, anti_subspace=0.1),
        "whole sequence": replace(full, span="sequence"),
        "10% wrong labels": replace(full, label_noise=0.1),
    }
