"""A target made here, or saved by `Target.save`, as a source; its layers may differ in size."""

from __future__ import annotations

from pathlib import Path

from zoo.readers.checkpoint import SafetensorsCheckpoint
from zoo.readers.fields import Fields
from zoo.readers.source import Source, named_layout
from zoo.target import load_vocab
from zoo.target_files import VOCAB_FILE, WEIGHTS_FILE, check_weights, config_from_json


def from_own(folder: Path, fields: Fields) -> Source:
    """The source in a folder whose config.json has the fields of a `TargetConfig`.

    Raises:
        TargetError: what `Target.load` refuses.
    """
    config = config_from_json(fields.values, fields.path)
    checkpoint = SafetensorsCheckpoint(folder, buffers=r"(?!)")
    check_weights(config, checkpoint.shapes, folder / WEIGHTS_FILE)
    layout = named_layout(checkpoint.shapes)
    return Source(config, checkpoint, layout, lambda: load_vocab(folder / VOCAB_FILE, config))
