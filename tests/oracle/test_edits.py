"""One rule changed in the weights: the programs differ there alone, and each target computes its own."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracle.evaluation.edits import Edit, computes, differ, judged
from oracle.evaluation.edits_charts import rule_changes
from oracle.evaluation.edits_compiled import as_patch, entries_of, patched, recompiled
from oracle.evaluation.edits_lines import line_changes
from oracle.evaluation.edits_trained import TUNING, fine_tuned, fine_tuned_all
from oracle.symmetry import random_gauge
from tracr_tasks import Program, SamplerConfig, compile_program, format_value, parse_program, sample_program
from tracr_tasks.canonical import canonical as canonical_program
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import Weights
from zoo.canonical import canonical as canonical_chart
from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_config import FlowchartConfig, every_kind
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart
from zoo.split import split_of
from zoo.stack import is_trained, member_weights, target_config
from zoo.target import Target, Vocab
from zoo.train import train_stack
from zoo.training_config import Architecture, TrainConfig
from zoo.tree import Question, walk

SEEDS = st.integers(0, 1_000_000)
SHORT = SamplerConfig(max_seq_len=4)
CAUSAL = SamplerConfig(vocab=("a", "b", "c"), max_seq_len=4, causal=True)


def read(text: str) -> Program:
    return canonical_program(parse_program(text, vocab=(0, 1, 2), max_seq_len=4, causal=False))


def differing_lines(before: Program, after: Program) -> list[tuple[str, str]]:
    pairs = zip(before.text().splitlines(), after.text().splitlines(), strict=True)
    return [(one, other) for one, other in pairs if one != other]


def same_bytes(one: Weights, other: Weights) -> bool:
    return list(one) == list(other) and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


# compiled targets


@settings(max_examples=12)
@given(SEEDS, st.sampled_from([SamplerConfig(), CAUSAL]))
def test_a_changed_line_is_one_line_of_a_canonical_text(seed: int, config: SamplerConfig) -> None:
    program = sample_program(seed, config)
    changes = list(islice(line_changes(program, random.Random(seed)), 12))
    assert changes
    for what, after in changes:
        ((old, new),) = differing_lines(program, after)
        assert what == f"{old} -> {new.partition(' = ')[2]}" and old.partition(" = ")[0] == new.partition(" = ")[0]
        assert canonical_program(after) == after
        assert parse_program(after.text(), program.vocab, program.max_seq_len, program.causal) == after
    again = islice(line_changes(program, random.Random(seed)), 12)
    assert [what for what, _ in again] == [what for what, _ in changes]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("map({0: 1, 1: 2, 2: 2}, tokens)", "map({0: 1, 1: 1, 2: 2}, tokens)"),
        ("map(x == 1, tokens)", "map(x == 2, tokens)"),
        ("map(x == 1, tokens)", "map(x > 1, tokens)"),
        ("sequence_map(x and y, tokens, indices)", "sequence_map(x or y, tokens, indices)"),
        ("selector_width(select(tokens, tokens, <))", "select(tokens, tokens, ==)"),
        ("selector_width(select(indices, indices, k + 1 == q))", "select(indices, indices, k - 1 == q)"),
        ("linear(1, 2, tokens, indices)", "linear(1, -3, tokens, indices)"),
        ("aggregate(select(indices, tokens, ==), tokens, default=1)", "aggregate(v1, tokens, default=0)"),
    ],
)
def test_what_may_change_in_a_line(text: str, after: str) -> None:
    found = [what.partition(" -> ")[2] for what, _ in line_changes(read(f"out = {text}"), random.Random(0))]
    assert after in found


def test_no_line_is_changed_more_often_than_another() -> None:
    """A table has many entries and a comparison five others; both come first equally often."""
    program = read("v1 = map({0: 1, 1: 2, 2: 0}, tokens)\nout = selector_width(select(v1, tokens, ==))")
    firsts = [next(line_changes(program, random.Random(seed)))[0].partition(" =")[0] for seed in range(200)]
    assert set(firsts) == {"v1", "v2"} and 70 < firsts.count("v1") < 130


def check_compiled(edit: Edit) -> None:
    """Both targets against the interpreter, on every judged input at once and on some one by one."""
    before, after = edit.before, edit.after
    assert before.function_hash() != after.function_hash()
    ((old, _),) = differing_lines(before, after)
    assert edit.what.startswith(f"{old} -> ")
    ids, lengths = judged(before)
    assert computes(edit.original, before, ids, lengths).all() and computes(edit.edited, after, ids, lengths).all()
    elsewhere = differ(before, after, ids, lengths)
    assert edit.changed == elsewhere.mean() > 0 and edit.follows_after == edit.follows_where_changed == 1
    assert (computes(edit.edited, before, ids, lengths) == ~elsewhere).all() and edit.follows_before < 1
    for at in (int(elsewhere.argmax()), 0):
        values = [before.vocab[i] for i in ids[at, : lengths[at]]]
        encoded = edit.edited.encode([[format_value(value) for value in values]])
        assert edit.edited.answers(encoded) == [[format_value(value) for value in after.run(values)]]


@settings(max_examples=6)
@given(SEEDS)
def test_a_recompiled_edit_computes_the_changed_program(seed: int) -> None:
    program = sample_program(seed, SHORT)
    edit = recompiled("one", program, random.Random(seed))
    assume(edit is not None)
    assert edit is not None and (edit.id, edit.way) == ("one", "recompiled")
    check_compiled(edit)
    assert same_bytes(edit.original.weights, compile_program(edit.before).weights)
    again = recompiled("one", program, random.Random(seed))
    assert again is not None and again.what == edit.what and same_bytes(again.edited.weights, edit.edited.weights)
    if (patch := as_patch(edit)) is not None:
        assert (patch.way, patch.what, patch.after) == ("patched", edit.what, edit.after)
        check_compiled(patch)


@settings(max_examples=6)
@given(SEEDS)
def test_a_patch_touches_the_weights_of_its_line_alone(seed: int) -> None:
    edit = patched("one", sample_program(seed, SHORT), random.Random(seed))
    assume(edit is not None)
    assert edit is not None and edit.way == "patched"
    check_compiled(edit)
    line = edit.what.partition(" = ")[0]
    before, after, own = edit.original.weights, edit.edited.weights, compile_program(edit.after).weights
    assert (edit.original.config, edit.original.vocab) == (edit.edited.config, edit.edited.vocab)
    inside = {name: torch.zeros(tensor.shape, dtype=torch.bool) for name, tensor in before.items()}
    for name, place in entries_of(compile_program(edit.before), line):
        inside[name][place] = True
    for name, mask in inside.items():
        assert torch.equal(after[name][~mask], before[name][~mask]) and torch.equal(after[name][mask], own[name][mask])
    assert any(bool(mask.any()) for mask in inside.values()) and not all(bool(mask.all()) for mask in inside.values())
    again = patched("one", sample_program(seed, SHORT), random.Random(seed))
    assert again is not None and same_bytes(again.edited.weights, after)


def test_most_programs_have_both_kinds_of_edits() -> None:
    programs = [sample_program(seed, SHORT) for seed in range(12)]
    for way, least in ((recompiled, 11), (patched, 9)):
        assert sum(way("one", program, random.Random(0)) is not None for program in programs) >= least


def test_a_patch_needs_the_same_layout() -> None:
    """Another range of values needs another residual stream; the same two values with another meaning do not."""
    program = read("v1 = map(x + 1, tokens)\nv2 = map(x + 1, indices)\nout = sequence_map(x + y, v1, v2)")
    assert patched("one", program, random.Random(0), lambda after: "x * y" in after.text()) is None
    edit = recompiled("one", program, random.Random(0), lambda after: "x * y" in after.text())
    assert edit is not None and as_patch(edit) is None
    logic = read("out = sequence_map(x == y, tokens, indices)")
    assert patched("one", logic, random.Random(0), lambda after: "!=" in after.text()) is not None


def test_an_edit_can_be_asked_to_be_of_a_split() -> None:
    program = sample_program(3)
    edit = recompiled("one", program, random.Random(0), lambda after: split_of(after.function_hash()) == "test")
    assert edit is None or split_of(edit.after.function_hash()) == "test"
    assert recompiled("one", program, random.Random(0), lambda after: False) is None


# flowcharts


def rules_of(chart: Flowchart) -> list[str]:
    """Questions and answers, in the order of the text."""
    return [node.condition.text() if isinstance(node, Question) else node for node in walk(chart.root)]


@settings(max_examples=12)
@given(SEEDS, st.booleans())
def test_a_changed_flowchart_differs_in_one_rule(seed: int, all_kinds: bool) -> None:
    chart = sample_flowchart(seed, every_kind() if all_kinds else None)
    changes = list(islice(rule_changes(chart, random.Random(seed)), 4))
    assert changes
    for what, after in changes:
        assert canonical_chart(after) == after and after.function_hash() != chart.function_hash()
        pairs = zip(rules_of(chart), rules_of(after), strict=True)
        ((old, new),) = [(one, other) for one, other in pairs if one != other]
        assert what.startswith(f"{old} -> {new}")
    again = islice(rule_changes(chart, random.Random(seed)), 4)
    assert [what for what, _ in again] == [what for what, _ in changes]


def test_what_may_change_in_a_flowchart() -> None:
    chart = parse_flowchart("if has a then p else if 2 of b then q else r", tuple("abc"), tuple("pqr"), 3)
    found = {what: after.text() for what, after in rule_changes(chart, random.Random(0))}
    assert found["2 of b -> 2 of c"] == "if has a then p else if 2 of c then q else r"
    assert found["q -> p where not has a and 2 of b"] == "if has a then p else if 2 of b then p else r"
    assert "r -> q where not has a and not 2 of b" not in found  # its branches could be merged
    assert "2 of b -> 2 of a" not in found  # nothing would reach one branch


# trained targets

N_TRAINED = 6
CHARTS = [sample_flowchart(seed, FlowchartConfig(4, 4, 4)) for seed in range(N_TRAINED)]


@cache
def trained(attention_dir: str = "bidirectional") -> list[tuple[str, Target, Flowchart]]:
    config = target_config(Architecture(attention_dir=attention_dir), 4, 4, 4)
    stack = train_stack(config, CHARTS, list(range(N_TRAINED)), TrainConfig())
    vocab = Vocab(("BOS", "PAD", *CHARTS[0].vocab), CHARTS[0].answers)
    weights = [member_weights(config, stack.params, i) for i in range(N_TRAINED)]
    return [(str(i), Target(config, weights[i], vocab), chart) for i, chart in enumerate(CHARTS)]


def check_fine_tuned(edit: Edit) -> None:
    ids = input_ids(4, 4)
    changed = differ(edit.before, edit.after, ids)
    one, other = (computes(target, edit.after, ids) for target in (edit.original, edit.edited))
    assert computes(edit.original, edit.before, ids).mean() >= 0.98
    assert other.mean() >= 0.97 and other[changed].mean() >= 0.97
    assert not one[changed].mean() > 0.03 and edit.follows_where_changed >= 0.98 and edit.follows_after >= 0.98
    assert edit.changed == pytest.approx(changed.mean(), abs=0.05) and edit.follows_before < 1.02 - edit.changed
    assert edit.edited.config == edit.original.config and edit.edited.vocab == edit.original.vocab
    for name, tensor in edit.edited.weights.items():
        before = edit.original.weights[name]
        assert tensor.shape == before.shape and tensor.dtype == before.dtype and not tensor.requires_grad
        assert is_trained(name) or not tensor.any()
    for at in np.flatnonzero(changed)[:3]:
        row = [edit.before.vocab[i] for i in ids[at]]
        assert edit.before.run(row) != edit.after.run(row)


@settings(max_examples=6)
@given(SEEDS, st.sampled_from(["bidirectional", "causal"]), st.integers(0, N_TRAINED - 1))
def test_a_fine_tuned_copy_follows_the_changed_rule(seed: int, attention_dir: str, which: int) -> None:
    target_id, target, chart = trained(attention_dir)[which]
    before = {name: tensor.clone() for name, tensor in target.weights.items()}
    edit = fine_tuned(target_id, target, chart, random.Random(seed))
    assert same_bytes(target.weights, before)
    assert edit is None or (edit.original is target and (edit.id, edit.way) == (target_id, "fine-tuned"))
    if edit is not None:
        check_fine_tuned(edit)


def test_most_copies_learn_and_a_seed_gives_its_bytes() -> None:
    edits, again = (fine_tuned_all(trained(), random.Random(5)) for _ in range(2))
    made = [edit for edit in edits if edit is not None]
    assert len(made) >= N_TRAINED - 1
    for edit, other in zip(edits, again, strict=True):
        assert (edit is None) == (other is None)
        if edit is not None and other is not None:
            check_fine_tuned(edit)
            assert edit.what == other.what and same_bytes(edit.edited.weights, other.edited.weights)
    others = fine_tuned_all(trained(), random.Random(6))
    assert [edit and edit.what for edit in others] != [edit and edit.what for edit in edits]


def test_shapes_may_be_mixed() -> None:
    mixed = [trained()[0], trained("causal")[1], trained()[2]]
    edits = fine_tuned_all(mixed, random.Random(0))
    assert [edit and edit.id for edit in edits] == ["0", "1", "2"]


def test_copies_that_miss_and_changes_that_are_not_accepted_give_none() -> None:
    few = replace(TUNING, steps=1, warmup=0)
    assert fine_tuned_all(trained()[:2], random.Random(0), train=few) == [None, None]
    assert fine_tuned_all(trained()[:2], random.Random(0), lambda after: False) == [None, None]


def test_targets_that_were_not_trained_here_are_refused() -> None:
    target_id, target, chart = trained()[0]
    moved = replace(target, weights=random_gauge(target.config, target.weights, 1))
    with pytest.raises(InputError, match="is not zero; expected the basis"):
        fine_tuned(target_id, moved, chart, random.Random(0))
    with pytest.raises(InputError, match="not those of its flowchart"):
        fine_tuned(target_id, target, sample_flowchart(0), random.Random(0))
    with pytest.raises(InputError, match="expected a target trained"):
        fine_tuned(target_id, replace(target, config=replace(target.config, read_out="all")), chart, random.Random(0))
