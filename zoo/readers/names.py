"""Names of the tokens of a language model, from the files of its tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracr_tasks.errors import TargetError
from zoo.files import read_json, shown
from zoo.readers.checkpoint import inside
from zoo.target import Vocab

MAX_TOKENIZER_BYTES = 64 << 20


def token_names(folder: Path, d_vocab: int, d_vocab_out: int) -> Vocab:
    """Tokens as tokenizer.json or else vocab.json write them; without either, their ids.

    Outputs are named after the inputs where there are as many, else after their ids.

    An id without a name (models often have more rows than tokens) is "<id>"; names of ids that the model does not have
    are left out.

    Raises:
        TargetError: a file is damaged or not that of a tokenizer.
    """
    for file, pairs in (("tokenizer.json", _of_tokenizer), ("vocab.json", _of_vocab)):
        if (folder / file).exists():
            path = inside(folder, file, folder)
            names = [f"<{i}>" for i in range(d_vocab)]
            for token, i in pairs(read_json(path, MAX_TOKENIZER_BYTES, TargetError), path):
                if 0 <= i < d_vocab:
                    names[i] = token
            return _both(tuple(names), d_vocab_out)
    return _both(_ids(d_vocab), d_vocab_out)


def _both(names: tuple[str, ...], d_vocab_out: int) -> Vocab:
    return Vocab(names, names if len(names) == d_vocab_out else _ids(d_vocab_out))


def _ids(n: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(n))


def _of_tokenizer(value: Any, path: Path) -> Iterable[tuple[str, int]]:
    """Pairs of token and id in tokenizer.json: a mapping (BPE, WordPiece) or a list with scores (Unigram)."""
    model = value.get("model") if isinstance(value, dict) else None
    found = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(found, list):
        found = {row[0] if isinstance(row, list) and row else None: i for i, row in enumerate(found)}
    yield from _of_vocab(found, path)
    added = value.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise TargetError(f"{shown(path, 300)}: added_tokens is not a list of objects")
    yield from _of_vocab({token.get("content"): token.get("id") for token in added}, path)


def _of_vocab(value: Any, path: Path) -> Iterable[tuple[str, int]]:
    """Pairs of token and id in a mapping."""
    if not isinstance(value, dict) or not all(isinstance(k, str) and type(v) is int for k, v in value.items()):
        raise TargetError(f"{shown(path, 300)}: expected an object of tokens and their ids")
    yield from value.items()
