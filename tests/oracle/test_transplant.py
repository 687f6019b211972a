"""An encoder that moves from a small decoder to a language model reads weights as it did."""

from __future__ import annotations

import pytest
import torch

from oracle.batch import collate
from oracle.decoder import DecoderConfig
from oracle.decompiler import new_decoder
from oracle.encoder import WeightEncoder
from oracle.neutral import fold
from oracle.transplant import transplanted
from tests.oracle.targets import SMALL, random_weights, tiny_reader
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig

TOKENS, OUTPUTS = ["BOS", "PAD", "a", "b", "c"], ["p", "q", "1/2"]
CONFIG = TargetConfig(
    d_model=12, n_layers=2, n_heads=2, d_head=4, d_mlp=6, n_ctx=4, d_vocab=len(TOKENS), d_vocab_out=len(OUTPUTS)
)
NAMES = {*TOKENS, *OUTPUTS, "1", "2", "3"}


def test_all_but_the_reader_s_side_is_as_it_was() -> None:
    torch.manual_seed(1)
    decoder = new_decoder("channels", SMALL, DecoderConfig(d_model=48, n_layers=1, n_heads=2)).eval()
    reader = tiny_reader(["if pos 3 is c then p else 1/2", " ".join(NAMES)])
    encoder = transplanted(decoder, reader, NAMES, seed=0)
    assert encoder.d_llm == reader.table.shape[1] != decoder.config.d_model
    weights = [fold(CONFIG, random_weights(CONFIG, seed, torch.float32)) for seed in range(2)]
    seen = []
    for which, codec, table in ((decoder.encoder, decoder.codec, decoder.table), (encoder, reader, reader.table)):
        assert isinstance(which, WeightEncoder)
        batch = collate(weights, [codec.label_ids(TOKENS, CONFIG.n_ctx, OUTPUTS)] * 2)
        with torch.no_grad():
            found = which.components(batch, table.float())
            tokens = which(batch, table.float())
        seen.append(found.tokens[found.mask])
        assert tokens.isfinite().all()
    error = (seen[1] - seen[0]).norm() / seen[0].norm()
    assert float(error) < 0.02
    assert tokens.norm(dim=-1).max().item() == pytest.approx(reader.table.norm(dim=-1).mean().item(), rel=1e-3)


def test_other_encoders_are_refused() -> None:
    decoder = new_decoder("flat", SMALL, DecoderConfig(d_model=48, n_layers=1, n_heads=2))
    with pytest.raises(InputError, match="expected one of residual channels"):
        transplanted(decoder, tiny_reader(["a b"]), NAMES, seed=0)
