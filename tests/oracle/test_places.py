"""Tokens of the encoder by component."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.altered import lacking
from oracle.batch import collate
from oracle.config import EncoderConfig
from oracle.encoder import WeightEncoder
from oracle.neutral import fold
from oracle.places import Place, places_of
from tests.oracle.targets import configs, label_ids, random_weights
from tracr_tasks.transformer import TargetConfig

SMALL = EncoderConfig(4, 4, 8, 8, 4, 16, n_mix_layers=1, d_edge=4, edge_probes=2, n_pool_layers=1, n_tokens=3)


@settings(max_examples=10)
@given(config=configs(), seed=st.integers(0, 1000), data=st.data())
def test_every_component_has_a_token_of_its_own_and_counts(
    config: TargetConfig, seed: int, data: st.DataObject
) -> None:
    torch.manual_seed(seed)
    neutral, labels = fold(config, random_weights(config, seed)), label_ids(config)
    batch, encoder, table = collate([neutral], [labels]), WeightEncoder(SMALL, 8).double(), torch.randn(64, 8).double()
    with torch.no_grad():
        found = encoder.components(batch, table)
        places = places_of(batch)
        assert len(places) == found.tokens.shape[1] and len(set(places)) == len(places)
        place = data.draw(st.sampled_from([place for place in places if place.layer is not None]))
        silent = encoder(collate([lacking(neutral, [place])], [labels]), table)
        assert not torch.allclose(silent, encoder(batch, table), rtol=0, atol=1e-7)


def test_names_are_those_that_transformer_lens_users_write() -> None:
    assert [str(p) for p in (Place("head", 0, 3), Place("neuron", 1, 17), Place("token", None, 2))] == [
        *("L0H3", "L1N17", "token 2")
    ]
