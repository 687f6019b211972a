"""A trained decoder's encoder for another reader: the curriculum's first step is taken without a language model.

Names enter an encoder as codes of embedding rows (`NameCode`), and its tokens leave it in the reader's width. Both are
fitted anew to the reader's embeddings; everything between is kept as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oracle.batch import pad_ids
from oracle.codes import NameCode
from oracle.decoder import WeightDecoder
from oracle.encoder import WeightEncoder
from oracle.reader import Reader
from tracr_tasks.errors import InputError

RIDGE = 1e-3
"""Of the fit of names, in units of the mean square of a feature."""


def transplanted(decoder: WeightDecoder, reader: Reader, names: Iterable[str], seed: int) -> WeightEncoder:
    """The encoder of a decoder, for the embedding rows of a reader.

    Args:
        decoder: trained, over an encoder of residual channels.
        reader: whose width and embedding rows the new encoder is for.
        names: labels whose codes are to be kept: the closest linear map from the reader's rows is taken.
        seed: of what is drawn anew.

    Raises:
        InputError: the decoder has another kind of encoder.
    """
    if not isinstance(decoder.encoder, WeightEncoder):
        kind = type(decoder.encoder).__name__
        raise InputError(f"decoder: its encoder is a {kind}, expected one of residual channels")
    old, table = decoder.encoder, reader.table.detach().float()
    torch.manual_seed(seed)
    new = WeightEncoder(old.config, table.shape[1], float(table.norm(dim=-1).mean()))
    outgoing = {f"project.1.{part}" for part in ("weight", "bias")} | {"gain"}
    codes = {name for name, module in old.named_modules() if isinstance(module, NameCode)}
    kept = {
        name: tensor
        for name, tensor in old.state_dict().items()
        if name not in outgoing and name.rpartition(".")[0].removesuffix(".project") not in codes
    }
    new.load_state_dict(new.state_dict() | kept)
    known = sorted(set(names))
    ids = decoder.codec.name_ids, reader.name_ids
    before, after = (pad_ids([list(of(name)) for name in known]) for of in ids)
    with torch.no_grad():
        for name in sorted(codes):
            fit_code(old.get_submodule(name), decoder.table, before, new.get_submodule(name), table, after)
    return new


def fit_code(
    old: NameCode | torch.nn.Module,
    old_table: Float[Tensor, "piece d_model"],
    old_ids: Int[Tensor, "label name"],
    new: NameCode | torch.nn.Module,
    table: Float[Tensor, "vocab d_llm"],
    ids: Int[Tensor, "label name"],
) -> None:
    """Set the projection of `new` so that its codes of some names are as close as can be to those of `old`."""
    assert isinstance(old, NameCode) and isinstance(new, NameCode)
    wanted = old(old_ids[None].to(old_table.device), old_table)[0].cpu().double()
    features = new.summed(ids[None], table.cpu())[0].double()
    features = torch.cat([features, torch.ones_like(features[:, :1])], 1)
    ridge = RIDGE * features.square().mean() * torch.eye(features.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(features.T @ features + ridge, features.T @ wanted)
    new.project.weight.copy_(solution[:-1].T)
    new.project.bias.copy_(solution[-1])
