"""The view for people: complete, true to provenance and weights, and Mermaid that a reader of its grammar accepts."""

from __future__ import annotations

import html
import re
from collections import Counter
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.compiler.facts import Fact
from tracr_tasks.compiler.values import Inference
from tracr_tasks.diagram import MAX_LABEL, escape, mermaid
from tracr_tasks.explanation import explain, how_many_keys, possible_values
from tracr_tasks.library import library_names, library_program
from tracr_tasks.sampler import SamplerConfig, sample_compiled
from tracr_tasks.text import format_node, format_program, parse_program
from tracr_tasks.trace import INPUTS

STRANGE = ('"', "#", "<b>", "%%{init: {}}%%", "_a_", "x | y", "end\n")


def compiled(text: str, vocab: tuple[object, ...], length: int = 4) -> CompiledProgram:
    return compile_program(parse_program(text, vocab, length))  # type: ignore[arg-type]


@cache
def corpus() -> list[CompiledProgram]:
    """The library, sampled programs, and one whose tokens are hard to print."""
    vocabs = (None, ("a", "b", "c"), (-1, 0, 2.5))
    sampled = [sample_compiled(seed, SamplerConfig(causal=seed % 2 == 0, vocab=vocabs[seed % 3])) for seed in range(20)]
    table = ", ".join(f"{a!r}: {b!r}" for a, b in zip(STRANGE, reversed(STRANGE), strict=True))
    strange = f"a = map({{{table}}}, tokens)\nout = aggregate(select(tokens, tokens, k == '#'), a, default=none)"
    return [*(compile_program(library_program(name)) for name in library_names()), *sampled, compiled(strange, STRANGE)]


@cache
def explained() -> list[tuple[CompiledProgram, dict[str, list[str]]]]:
    """The corpus with the sections of each explanation."""
    return [(target, sections(target)) for target in corpus()]


def sections(target: CompiledProgram) -> dict[str, list[str]]:
    """The lines of each section of the explanation, without their indentation."""
    parts = {part.split("\n")[0]: part.split("\n")[1:] for part in explain(target).split("\n\n")}
    assert list(parts) == ["program", "layers", "sizes"]
    assert all(line.startswith("    ") for lines in parts.values() for line in lines)
    return {title: [line[4:] for line in lines] for title, lines in parts.items()}


def provenance_name(words: str) -> str:
    """`layer 1 neurons 3:7` as provenance has it."""
    if words in ("embedding", "positions"):
        return {"embedding": "embed", "positions": "pos_embed"}[words]
    match = re.fullmatch(r"layer (\d+) (head|neurons) (\d+(?::\d+)?)", words)
    assert match, words
    return f"blocks.{match[1]}.{'attn' if match[2] == 'head' else 'mlp'}.{match[2]}.{match[3]}"


# the program


def test_the_first_section_is_the_program() -> None:
    for target, parts in explained():
        rows = parts["program"]
        assert rows[:3] == format_program(target.program).splitlines()[:3]
        assert parse_program("\n".join(rows), target.program.vocab) == target.program


def test_each_line_has_its_own_components() -> None:
    for target, parts in explained():
        rows = parts["program"][3:]
        assert len(rows) == len(target.program.nodes)
        for row in rows:
            name = (re.match(r"# (\w+):", row) or re.match(r"(\w+) =", row) or [""])[1]
            words = row.rpartition(" | ")[2]
            own = target.provenance[name]
            if own:
                assert sorted(map(provenance_name, words.split(", "))) == sorted(own)
            else:
                assert words.startswith("as ") or words == "no component"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("out = tokens", "0 to 4"),
        ("out = map(x * 2, tokens)", "0, 2, 4, 6, 8"),
        ("out = map({0: 'a', 1: none, 2: 0.5, 3: 'a', 4: 'b'}, tokens)", "0.5, 'a', 'b' or none"),
        ("out = sequence_map(x * y, tokens, indices)", "9 values: 0, 1, 2, ..., 12"),
        ("out = aggregate(select(indices, indices, k + 1 == q), tokens)", "0 to 4 or none"),
        ("out = selector_width(select(tokens, tokens, ==))", "1 to 4"),
    ],
)
def test_possible_values(text: str, words: str) -> None:
    assert possible_values(Inference(parse_program(text, range(5), 4)).run().facts[-1]) == words


def test_too_many_values_are_a_range() -> None:
    assert possible_values(Fact(None, (), np.zeros(()), -1, Fraction(1, 3))) == "numbers from -1 to 1/3"


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("select(tokens, tokens, true)", "every key"),
        ("select(tokens, tokens, false)", "no key"),
        ("select(tokens, tokens, ==)", "at least one key"),
        ("select(tokens, indices, ==)", "any number of keys"),
        ("select(indices, indices, ==)", "exactly one key"),
        ("select(indices, tokens, ==)", "at most one key"),
    ],
)
def test_how_many_keys(selector: str, words: str) -> None:
    facts = Inference(parse_program(f"out = selector_width({selector})", range(5), 4)).run().facts
    assert how_many_keys(facts[-2], causal=False) == words


# the layers


def test_every_head_and_neuron_is_shown_with_the_lines_that_it_computes() -> None:
    for target, parts in explained():
        shown: dict[str, list[str]] = {}
        layer = ""
        for row in parts["layers"]:
            layer = row if row.startswith("layer ") else layer
            if match := re.fullmatch(r"    ((?:head|neurons) \S+) computes? (.*)", row):
                name = provenance_name(f"{layer} {match[1]}")
                assert name not in shown
                shown[name] = re.split(r", selects by |, ", match[2])
        lines: dict[str, list[str]] = {}
        for line, names in target.provenance.items():
            for name in names:
                lines.setdefault(name, []).append(line)
        assert {name: sorted(found) for name, found in shown.items()} == {
            name: sorted(found) for name, found in lines.items() if name.startswith("blocks.")
        }
        heads, neurons = everything(target)
        assert {name for name in shown if ".head." in name} == heads
        assert covered(shown) == neurons


def everything(target: CompiledProgram) -> tuple[set[str], Counter[tuple[str, int]]]:
    """Every head, and every neuron once."""
    sizes = [
        (layer, len(target.weights[f"blocks.{layer}.attn.b_Q"]), len(target.weights[f"blocks.{layer}.mlp.b_in"]))
        for layer in range(target.config.n_layers)
    ]
    heads = {f"blocks.{layer}.attn.head.{head}" for layer, n_heads, _ in sizes for head in range(n_heads)}
    return heads, Counter((f"blocks.{layer}.mlp", neuron) for layer, _, d_mlp in sizes for neuron in range(d_mlp))


def covered(names: dict[str, list[str]]) -> Counter[tuple[str, int]]:
    """How often each neuron is shown."""
    found: Counter[tuple[str, int]] = Counter()
    for name in names:
        at, mark, span = name.partition(".neurons.")
        if mark:
            found.update((at, neuron) for neuron in range(*map(int, span.split(":"))))
    return found


def test_what_is_read_was_written_before() -> None:
    for target, parts in explained()[:-1]:  # the tokens of the last one hold the marks that fields are split at
        written = set[str]()
        for row in parts["layers"]:
            for field in re.split(r" \| ", row.strip()):
                verb, _, rest = re.sub(r"^(embedding|positions|unembedding) ", "", field).partition(" ")
                names = {re.split(r"=| but | \(", name)[0].split(" in ")[-1] for name in rest.split(", ")} - {"none"}
                if verb in ("write", "writes", "adds"):
                    written |= names
                elif verb in ("queries", "keys", "read", "reads"):
                    assert names <= written, row
        assert target.residual_labels[-1].partition("=")[0] in written


def test_what_a_head_reads_and_gives_where_it_selects_nothing() -> None:
    target = compiled("out = aggregate(select(indices, indices, k + 1 == q), tokens, default='z')", ("a", "b"))
    [row] = [row.strip() for row in sections(target)["layers"] if "queries" in row]
    assert row == (
        "queries indices but indices=0 | keys indices but indices=3 | values tokens, out=z from BOS | writes out"
    )


@pytest.mark.parametrize(("default", "given"), [("none", ""), ("1", "out=1"), ("-3", "out=-3"), ("'z'", "out=z")])
def test_defaults_come_from_bos(default: str, given: str) -> None:
    target = compiled(f"out = aggregate(select(indices, tokens, ==), tokens, default={default})", (1, 2, 3))
    [row] = [row for row in sections(target)["layers"] if "queries" in row]
    assert re.findall(r"(\S+) from BOS", row) == [given] * bool(given)


# the sizes


def test_sizes_add_up() -> None:
    for target, parts in explained():
        rows = parts["sizes"]
        assert len(rows) == 2 + target.config.n_layers
        held = [int(word) for word in re.findall(r" (\d+)(?:,|$)", rows[0].partition(": ")[2])]
        assert sum(held) == target.config.d_model == int(rows[0].split(":")[0].removeprefix("d_model "))
        count = sum(tensor.numel() for tensor in target.weights.values())
        assert rows[-1].startswith(f"{count:,} parameters, ")


# the diagram

LABEL = r'"((?:[^"#<>&`\[\]{}|;]|#\w+;|<br/>)+)"'
SHAPES = {"input": rf"\(\[{LABEL}\]\)", "selector": rf"\{{\{{{LABEL}\}}\}}", "S-op": rf"\[{LABEL}\]"}


def unescaped(label: str) -> str:
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", re.sub(r"#([a-z]\w*);", r"&\1;", label)))


def test_the_diagram_has_each_line_once_and_each_argument_as_an_arrow() -> None:
    for target in corpus():
        nodes = target.program.nodes
        first, *rows = mermaid(target).split("\n")
        assert first == "flowchart TD"
        declared: dict[str, tuple[str, str]] = {}
        arrows: Counter[tuple[str, str]] = Counter()
        box = False
        for row in rows:
            if match := re.fullmatch(r"    (\w+) -->(?:\|[a-z]+\|)? (\w+)", row):
                arrows[match[1], match[2]] += 1
            elif re.fullmatch(r'    subgraph \w+\["(layer \d+|embeddings)"\]|    end', row):
                assert box == (row == "    end")
                box = not box
            else:
                found = {kind: re.fullmatch(rf"        (\w+){shape}", row) for kind, shape in SHAPES.items()}
                [(kind, match)] = [(kind, match) for kind, match in found.items() if match]
                assert box and match[1] not in declared
                declared[match[1]] = kind, unescaped(match[2].split("<br/>")[0])
        assert not box
        assert arrows == Counter((nodes[arg].name, node.name) for node in nodes for arg in node.args)
        assert set(declared) == {node.name for node in nodes}
        for node in nodes:
            line = node.op if node.line is None else f"{node.name} = {format_node(node, nodes)}"
            kind, label = declared[node.name]
            assert kind == ("selector" if node.is_selector else "input" if node.op in INPUTS else "S-op")
            assert label == line or (len(line) > MAX_LABEL and label == line[: MAX_LABEL - 4] + " ...")


def test_the_same_program_gives_the_same_text() -> None:
    for target in corpus()[:3]:
        again = compile_program(target.program)
        assert (explain(again), mermaid(again)) == (explain(target), mermaid(target))


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30))
def test_escaped_text_is_harmless_and_reads_back(text: str) -> None:
    label = escape(text)
    assert re.fullmatch(r"([\w ,.=+/()!'-]|#\w+;)*", label)
    assert unescaped(label) == text
