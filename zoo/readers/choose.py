"""The reader for a folder, by what is in it."""

from __future__ import annotations

from dataclasses import fields as fields_of
from pathlib import Path

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig
from zoo.files import shown
from zoo.readers.checkpoint import inside
from zoo.readers.fields import Fields
from zoo.readers.hugging_face import from_hugging_face
from zoo.readers.own import from_own
from zoo.readers.source import Source
from zoo.readers.tracr import TRACR_FILE, from_tracr
from zoo.readers.transformer_lens import from_transformer_lens
from zoo.target_files import CONFIG_FILE, WEIGHTS_FILE, refuse_pickles


def open_source(folder: Path | str) -> Source:
    """Open a folder of weights; names, shapes and configuration are checked, weights are not yet read.

    A tracr.json says Tracr; a config.json with a model_type Hugging Face, with the fields of a `TargetConfig` alone a
    target made here, with others TransformerLens.

    Raises:
        TargetError: one line with the file, the field or tensor, what was got and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TargetError(f"{shown(folder, 300)}: expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    if (folder / TRACR_FILE).exists():
        return from_tracr(folder)
    if not (folder / CONFIG_FILE).exists():
        refuse_pickles(folder, f"{CONFIG_FILE} and {WEIGHTS_FILE}")
    fields = Fields.read(inside(folder, CONFIG_FILE, folder))
    if "model_type" in fields.values or "auto_map" in fields.values:
        return from_hugging_face(folder, fields)
    if "d_model" in fields.values:
        ours = set(fields.values) <= {field.name for field in fields_of(TargetConfig)}
        return from_own(folder, fields) if ours else from_transformer_lens(folder, fields)
    raise TargetError(
        f"{fields.where}: neither model_type nor d_model, expected the config of a model that can be read"
    )
