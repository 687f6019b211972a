"""What Tracr compiled, in files that `zoo.readers.tracr` reads. It runs where Tracr is: pip install tracr-pypi."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from zoo.files import safetensors_bytes, write_atomic
from zoo.readers.tracr import PARAMS, TRACR_FILE, VERSION


def export_tracr(model: Any, folder: Path | str, *, npz: bool = False) -> None:
    """Write params.safetensors (or a compressed params.npz) and tracr.json for an `AssembledTransformerModel`.

    Raises:
        ValueError: the model has a layer norm, or outputs that are not single residual directions.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    params = {f"{module}.{name}": np.asarray(a) for module, p in model.params.items() for name, a in p.items()}
    fields = _fields(model, params["pos_embed.embeddings"].shape[0] - 1)
    if npz:
        write_atomic(folder / f"{PARAMS}.npz", [_npz_bytes(params)])
    else:
        tensors = {name.replace("/", "."): array for name, array in sorted(params.items())}
        write_atomic(folder / f"{PARAMS}.safetensors", safetensors_bytes(tensors, {}))
    write_atomic(folder / TRACR_FILE, [(json.dumps(fields, indent=1) + "\n").encode()])


def unembedding(model: Any) -> Float[np.ndarray, "d_model d_vocab_out"]:
    """The matrix that Tracr's unembedding multiplies the residual stream by."""
    import haiku as hk  # type: ignore[import-not-found,unused-ignore]

    def unembed(x: Any) -> Any:
        return model.get_compiled_model().unembed(x, use_unembed_argmax=False)

    residual = np.eye(len(model.residual_labels), dtype=np.float32)
    out = hk.without_apply_rng(hk.transform(unembed)).apply({}, residual)
    return np.asarray(out).reshape(len(residual), -1)


def _fields(model: Any, max_seq_len: int) -> dict[str, Any]:
    """tracr.json."""
    config, W_U = model.model_config, unembedding(model)
    if config.layer_norm:
        raise ValueError("layer_norm is true, expected a model as Tracr compiles it")
    if not (np.isin(W_U, (0, 1)).all() and (W_U.sum(0) == 1).all()):
        raise ValueError("an output that is not one residual direction")
    outputs = getattr(model.output_encoder, "encoding_map", None)
    return {
        "format": "tracr",
        "version": VERSION,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "key_size": config.key_size,
        "mlp_hidden_size": config.mlp_hidden_size,
        "causal": config.causal,
        "max_seq_len": max_seq_len,
        "input_encoding": _by_id(model.input_encoder.encoding_map),
        "bos_token": model.input_encoder.bos_token,
        "pad_token": model.input_encoder.pad_token,
        "output_encoding": None if outputs is None else _by_id(outputs),
        "residual_labels": list(model.residual_labels),
        "unembed": [model.residual_labels[i] for i in W_U.argmax(0)],
    }


def _by_id(encoding: dict[Any, int]) -> list[Any]:
    """The values of an encoding in the order of their ids, NumPy's numbers as Python's."""
    values = sorted(encoding, key=encoding.__getitem__)
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """What `np.savez_compressed` writes, the same bytes every time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
    return out.getvalue()
