"""Rows 11, 13, 16, 18 and 19: oracles, questions, RASP programs and specs of zoos."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.bad_inputs.cases import EVIL, Case, Good, Spoil, evil_source, hostile_pickle, told
from tests.bad_inputs.spoils import ENDLESS, entry, put, then, without

FACTS, CONFIG, ADAPTER = "oracle_config.json", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"
SMALL_ENCODER = {"n_tokens": 10**12, "d_token": 10**6, "n_mix_layers": 10**9}


def oracle(row: int, name: str, spoil: Spoil, *words: str) -> Case:
    """A small oracle and its base, spoilt; asked about a sound target. `spoil` has the folder that both lie in."""

    def make(folder: Path, good: Good) -> list[object]:
        for part in ("oracle", "base"):
            shutil.copytree(good[part], folder / part)
        fields("oracle/" + FACTS, base=str(folder / "base"))(folder)
        (folder / "oracle" / f"{EVIL}.py").write_text(evil_source(folder))
        spoil(folder)
        return ["ask", good["own"], "--oracle", folder / "oracle"]

    return Case(row, name, make, words)


def fields(name: str, **changes: Any) -> Spoil:
    """Change fields of a JSON file."""

    def apply(folder: Path) -> None:
        value = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps(value))

    return apply


def put_header(header: dict[str, Any], name: str) -> Spoil:
    """A file of weights with the header given and no data."""
    text = json.dumps(header).encode()
    return put(struct.pack("<Q", len(text)) + text + bytes(4), name)


def fifo(name: str) -> Spoil:
    return lambda folder: os.mkfifo(folder / name)


def facts(**changes: Any) -> Spoil:
    return fields("oracle/" + FACTS, **changes)


def adapter(**changes: Any) -> Spoil:
    return fields("oracle/" + CONFIG, **changes)


def arrays(name: str, change: Callable[[dict[str, np.ndarray]], object]) -> Spoil:
    """Change the arrays of a file of weights."""

    def apply(folder: Path) -> None:
        held = {key: array.copy() for key, array in load_file(folder / name).items()}
        change(held)
        save_file(held, folder / name, metadata={"format": "pt"})

    return apply


def cut(held: dict[str, np.ndarray], part: str, rows: int | None = None, columns: int | None = None) -> None:
    """Make all tensors with `part` in their names smaller."""
    held.update({n: a[:rows, :columns].copy() for n, a in held.items() if part in n})


def only(key: str) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda held: [held.pop(name) for name in list(held) if key in name]


def flipped(name: str) -> Spoil:
    """One bit of a file is another."""

    def apply(folder: Path) -> None:
        raw = bytearray((folder / name).read_bytes())
        raw[-1] ^= 1
        (folder / name).write_bytes(raw)

    return apply


def pickled(name: str, instead: str) -> Spoil:
    return then(without(instead), lambda folder: (folder / name).write_bytes(hostile_pickle(folder / "x")))


def endless_chat(folder: Path) -> None:
    """The base's tokenizer has a chat template that does not end."""
    (folder / "base" / "chat_template.jinja").write_text(ENDLESS)
    facts(chat=True)(folder)


CUSTOM = {"model_type": "evil", "auto_map": {"AutoConfig": f"{EVIL}.C", "AutoModelForCausalLM": f"{EVIL}.M"}}
ORACLES = [
    oracle(11, "adapter that imports", adapter(megatron_config={"a": 1}, megatron_core=EVIL), CONFIG, "megatron_con"),
    oracle(11, "adapter with a library", adapter(auto_mapping={"parent_library": EVIL}), CONFIG, "auto_mapping"),
    oracle(11, "adapter of another kind", adapter(peft_type="PROMPT_TUNING"), "peft_type = 'PROMPT_TUNING', expected"),
    oracle(11, "adapter with a slow pattern", adapter(target_modules="(.*.*.*.*)*x"), "target_modules", "expected"),
    oracle(11, "adapter with patterns", adapter(rank_pattern={"(.*)*x": 8}), "rank_pattern", "expected"),
    oracle(11, "endless chat template", endless_chat, "base: ", "chat template", "expected"),
    oracle(
        11, "base with custom code", fields("base/config.json", **CUSTOM), "base: not loaded", "without custom code"
    ),
    oracle(13, "adapter without its base", lambda f: shutil.rmtree(f / "base"), "/base': neither a folder nor a model"),
    oracle(13, "no adapter", without("oracle/" + ADAPTER), f"{ADAPTER}: no such file"),
    oracle(13, "pickled adapter", pickled("oracle/adapter/adapter_model.bin", "oracle/" + ADAPTER), "adapter_model"),
    oracle(13, "adapter of another rank", adapter(r=3), "has shape (2, ", "expected (3, "),
    oracle(13, "adapter of absurd rank", adapter(r=10**9), "r = 1000000000, expected an integer from 1 to"),
    oracle(
        *(13, "adapter of another width", arrays("oracle/" + ADAPTER, lambda a: cut(a, "lora_A", None, 8))),
        *(ADAPTER, "has shape (2, 8), expected (2, "),
    ),
    oracle(
        13, "half an adapter", arrays("oracle/" + ADAPTER, only("lora_B")), "lora_B.weight has shape none, expected ("
    ),
    oracle(13, "adapter of more", adapter(target_modules=["q_proj"]), ADAPTER, "expected no such tensor"),
    oracle(13, "adapter of nothing", adapter(target_modules=["nothing"]), "target_modules", "expected"),
    oracle(
        13, "NaN in the adapter", arrays("oracle/" + ADAPTER, lambda a: [v.fill(np.nan) for v in a.values()]), "nan"
    ),
    oracle(13, "base of another revision", flipped("base/model.safetensors"), "base has sha256", "expected"),
    oracle(13, "base of another tokenizer", flipped("base/tokenizer.json"), "base has sha256", "expected"),
    oracle(13, "base of another width", fields("base/config.json", hidden_size=64), "base of width 64, expected 32 as"),
    oracle(13, "base of another depth", fields("base/config.json", num_hidden_layers=3), "/base: ", "expected"),
    oracle(
        13,
        "base of words",
        fields("base/config.json", num_hidden_layers="many"),
        "num_hidden_layers = 'many', expected",
    ),
    oracle(13, "base of a FIFO", fifo("base/x.safetensors"), "not a regular file"),
    oracle(
        13,
        "base is a pickle",
        pickled("base/pytorch_model.bin", "base/model.safetensors"),
        "base has sha256",
        "expected",
    ),
    oracle(13, "no such oracle", lambda f: shutil.rmtree(f / "oracle"), f"no {FACTS}; expected an oracle's folder"),
    oracle(13, "facts that are a number", put(b"5", "oracle/" + FACTS), FACTS, "got int, expected an object"),
    oracle(13, "base that is a number", facts(base=5), FACTS, "base = 5, expected"),
    oracle(13, "absurd search", facts(search=10**9), FACTS, "search = 1000000000, expected 0 to"),
    oracle(13, "absurd namings", facts(namings=10**9), FACTS, "namings = 1000000000, expected 0 to"),
    oracle(13, "namings of words", facts(namings="many"), FACTS, "namings = 'many', expected int"),
    oracle(13, "huge encoder", facts(encoder=SMALL_ENCODER), FACTS, "encoder", "expected"),
    oracle(13, "encoder of words", facts(encoder={"n_tokens": "many"}), FACTS, "encoder", "n_tokens"),
    oracle(13, "huge width", facts(d_llm=10**9), "d_llm = 1000000000, expected 1 to 1000000"),
    oracle(13, "another template", facts(template="{context}{question}"), FACTS, "template"),
    oracle(13, "damaged encoder", put(b"x" * 99, "oracle/encoder.safetensors"), "encoder.safetensors: header of"),
    oracle(
        13, "encoder of one tensor", put_header({"a": entry()}, "oracle/encoder.safetensors"), "encoder.safetensors"
    ),
    oracle(13, "calibrator that is a list", put(b"[]", "oracle/calibrator.json"), "calibrator.json: "),
    oracle(13, "calibrator of text", put(b'{"plain": 1}', "oracle/calibrator.json"), "calibrator.json: "),
    oracle(13, "functions that are a number", put(b"5", "oracle/functions.json"), "functions.json: not a list"),
]


def asked(name: str, question: object, *words: str) -> Case:
    return Case(16, name, lambda folder, good: ["ask", good["own"], question], ("question 1", *words))


QUESTIONS = [
    asked("empty", "", "is empty: expected a question in words"),
    asked("blank", " \t\n", "is empty: expected"),
    asked("1 MB", "x" * 1_000_000, "has 1,000,000 characters, expected at most 10,000"),
    asked("not UTF-8", "what \udcff\udcfe", r"is not UTF-8: expected text in UTF-8, got 'what \udcff"),
]


def program(name: str, text: bytes | str, *words: str) -> Case:
    """A RASP program that is compiled to a folder, which must not be made."""

    def make(folder: Path) -> list[object]:
        (folder / "p.rasp").write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["compile", folder / "p.rasp", "--out", folder / "target"]

    return told(18, name, ("/p.rasp: ", *words), make)


HEAD = "vocab = {0, 1, 2}\nmax_seq_len = 3\nattention = bidirectional\n"
ALL_AT_ONCE = """vocab = {0, 1, 'BOS'}
max_seq_len = 3
v1 = map(x, v2)
v2 = map(x, v1)
v3 = selector_width(tokens)
v4 = frobnicate(tokens)
v5 = map(1 / x, tokens)
out = tokens
"""
PROGRAMS = [
    program(
        "cyclic", HEAD + "v1 = map(x, v2)\nv2 = map(x, v1)\nout = v1\n", "line 4: ", "itself (a cycle with line 5)"
    ),
    program("ill-typed", HEAD + "v1 = selector_width(tokens)\nout = select(v1, v1, ==)\n", "line 4: ", "must be a sel"),
    program("unknown function", HEAD + "v1 = frobnicate(tokens)\nout = v1\n", "line 4: ", "'frobnicate'"),
    program("function of Python", HEAD + "out = map(__import__('os'), tokens)\n", "line 4: ", "unknown function"),
    program("divides by zero", HEAD + "v1 = map(1 / x, tokens)\nout = v1\n", "line 4: ", "zero"),
    program("BOS in the vocabulary", HEAD.replace("2}", "'BOS'}") + "out = tokens\n", "BOS"),
    program("absurd length", HEAD.replace("= 3", "= 1000000000") + "out = tokens\n", "max_seq_len"),
    program(
        *(
            "very large vocabulary",
            f"vocab = {{{', '.join(map(str, range(99_999)))}}}\nmax_seq_len = 2\nout = tokens\n",
        ),
        "line 1: a vocabulary of 99,999 tokens, expected at most 10,000",
    ),
    program("strange digits", HEAD.replace("= 3", "= \u00b2") + "out = tokens\n", "line 2: ", "a whole number"),
    program("very long number", HEAD.replace("= 3", "= " + "9" * 9_999) + "out = tokens\n", "line 2: "),
    program("no length", HEAD.replace("= 3", "= 0") + "out = tokens\n", "max_seq_len"),
    program("too many lines", HEAD + "v = tokens\n" * 301, "over 300 lines"),
    program("all at once", ALL_AT_ONCE, "BOS", "line 3: ", "line 4)", "line 5: ", "line 6: ", "line 7: "),
    program("not UTF-8", b"\xff\xfe", "UTF-8"),
    program("empty", b"", "empty"),
    program("huge power", HEAD + "out = map(99999999 ** 99999999, tokens)\n", "line 4: ", "not part of a function"),
    program("very deep", HEAD + "out = map(" + "(" * 9000 + "\n", "line 4: "),
    told(18, "a device", ("/dev/zero: is not a file",), lambda f: ["compile", "/dev/zero", "--out", f / "target"]),
]


def spec(name: str, text: str, *words: str, file: str = "spec.toml") -> Case:
    """A spec of a zoo that is built into a folder, which must not be made."""

    def make(folder: Path) -> list[object]:
        (folder / file).write_text(text)
        return ["zoo", "build", folder / file, "--out", folder / "zoo", "--workers", "1"]

    return told(19, name, words, make)


NONE = "compiled = 0\ntrained = 0\nuntrained = 0\n"
PART = "[[parts]]\nname = 'more'\ntrained = 1\n"
SPECS = [
    spec("no models", NONE, "0 targets in all, expected 1 to 2000000"),
    spec("10^9 models", "trained = 1000000000\n", "trained = 1000000000, expected 0 to 2000000"),
    spec("10^9 by size", "size = 1e9\n", "size = 1000000000.0, expected more than 0, at most 1000"),
    spec("seed twice", "seed = 1\nseed = 2\n", "spec.toml: not valid TOML", "line 2"),
    spec("seed twice in JSON", '{"seed": 1, "seed": 1}', "not valid JSON", "'seed' twice", file="spec.json"),
    spec("parts with one seed", PART * 2, "two parts are called 'more'", "seeds come from it"),
    spec("unknown task", "task = 'addition'\n", "unknown field 'task'"),
    spec("unknown field of programs", "[programs]\nop = 'import os'\n", "programs: unknown field 'op'"),
    spec("negative width", "[[architectures]]\nd_model = -16\n", "d_model = -16, expected 1 to 1024"),
    spec("negative neurons", "[[architectures]]\nd_mlp = -1\n", "d_mlp = -1, expected 1 to 4096"),
    spec("negative seed", "seed = -1\n", "seed = -1, expected 0 to"),
    spec("escapes", 'name = "a"\n"\\u001b[31m" = 1\n', r"unknown field '\x1b[31m'"),
    spec("deep", "a = " + "[" * 50_000, "spec.toml: not valid TOML"),
    told(19, "unknown name", ("zoo spec 'huge'",), lambda f: ["zoo", "build", "huge", "--out", f / "zoo"]),
    told(19, "no workers", ("--workers 0",), lambda f: ["zoo", "build", "tiny", "--out", f / "z", "--workers", "0"]),
]
