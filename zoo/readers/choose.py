"""The reader for a folder, or for one file, by what is in it."""

from __future__ import annotations

import json
from dataclasses import fields as fields_of
from pathlib import Path

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig
from zoo.fields import no_duplicates
from zoo.files import raw_header, shown
from zoo.readers.checkpoint import inside
from zoo.readers.fields import Fields
from zoo.readers.hugging_face import from_hugging_face
from zoo.readers.own import from_own
from zoo.readers.source import Source
from zoo.readers.tracr import PARAMS, TRACR_FILE, from_tracr
from zoo.readers.transformer_lens import from_transformer_lens
from zoo.target_files import CONFIG_FILE, WEIGHTS_FILE, refuse_pickles

SUFFIX = ".safetensors"
IN_METADATA = "config"
"""Key in the metadata of a safetensors file under which a state dict may bring its config along, as JSON."""
OF_FOLDERS = {WEIGHTS_FILE: CONFIG_FILE, PARAMS + SUFFIX: TRACR_FILE}
"""Files of weights that belong to a folder, with the file beside them that says so."""


def open_source(path: Path | str) -> Source:
    """Open a folder of weights, or a file; names, shapes and configuration are checked, weights are not yet read.

    A tracr.json says Tracr; a config.json with a model_type Hugging Face, with the fields of a `TargetConfig` alone a
    target made here, with others TransformerLens. A file NAME.safetensors is a state dict of TransformerLens with its
    config in its metadata (key "config", as JSON), in NAME.json or in config.json; a folder may hold such a file alone.

    Raises:
        TargetError: one line with the file, the field or tensor, what was got and what was expected.
    """
    path = Path(path)
    if path.suffix == SUFFIX and not path.is_dir():
        return _open_file(path)
    if not path.is_dir():
        raise TargetError(f"{shown(path, 300)}: expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    if (path / TRACR_FILE).exists():
        return from_tracr(path)
    if not (path / CONFIG_FILE).exists():
        refuse_pickles(path, f"{CONFIG_FILE} and {WEIGHTS_FILE}")
        files = sorted(path.glob(f"*{SUFFIX}"))
        if len(files) == 1 and (fields := _fields_of(files[0])) is not None:
            return _state_dict(files[0], fields)
    fields = Fields.read(inside(path, CONFIG_FILE, path))
    if "model_type" in fields.values or "auto_map" in fields.values:
        return from_hugging_face(path, fields)
    if "d_model" in fields.values:
        ours = "read_out" in fields.values or set(fields.values) <= {field.name for field in fields_of(TargetConfig)}
        return from_own(path, fields) if ours else from_transformer_lens(path, fields)
    raise TargetError(
        f"{fields.where}: neither model_type nor d_model, expected the config of a model that can be read"
    )


def _open_file(file: Path) -> Source:
    """The source that a file of weights belongs to, or that it is."""
    told_by = OF_FOLDERS.get(file.name)
    if told_by is not None and (file.parent / told_by).exists():
        return open_source(file.parent)
    fields = _fields_of(file)
    if fields is None and (file.parent / CONFIG_FILE).exists():
        fields = Fields.read(inside(file.parent, CONFIG_FILE, file))
    if fields is None:
        raise TargetError(
            f"{shown(file, 300)}: no config, expected that of a HookedTransformer in the file's metadata under "
            f"'{IN_METADATA}', in {shown(file.stem)}.json or in {CONFIG_FILE}"
        )
    return _state_dict(file, fields)


def _fields_of(file: Path) -> Fields | None:
    """The config in the metadata of a file, or in that of its name beside it.

    Raises:
        TargetError: not a safetensors file, or the config is not an object of JSON.
    """
    _, metadata, _ = raw_header(inside(file.parent, file.name, file.parent), TargetError)
    if IN_METADATA in metadata:
        try:
            values = json.loads(metadata[IN_METADATA], object_pairs_hook=no_duplicates)
        except (ValueError, RecursionError) as problem:
            raise TargetError(f"{shown(file, 300)}: metadata '{IN_METADATA}' is not JSON ({shown(problem)})") from None
        if not isinstance(values, dict):
            raise TargetError(f"{shown(file, 300)}: metadata '{IN_METADATA}' is not an object of fields")
        return Fields(values, file)
    beside = file.with_suffix(".json")
    return Fields.read(inside(file.parent, beside.name, file)) if beside.exists() else None


def _state_dict(file: Path, fields: Fields) -> Source:
    """A state dict in a file of any name."""
    if "model_type" in fields.values or "auto_map" in fields.values:
        raise TargetError(
            f"{shown(file, 300)}: the config is that of a model of transformers, expected the folder it was saved in"
        )
    return from_transformer_lens(file.parent, fields, file.name)
