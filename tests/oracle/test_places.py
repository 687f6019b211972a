"""Tokens of the encoder by component, and targets read without some of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.batch import collate
from oracle.config import EncoderConfig
from oracle.encoder import WeightEncoder
from oracle.neutral import fold
from oracle.places import Place, places_of, without
from tests.oracle.targets import configs, label_ids, random_weights
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig

SMALL = EncoderConfig(4, 4, 8, 8, 4, 16, n_mix_layers=1, d_edge=4, edge_probes=2, n_pool_layers=1, n_tokens=3)


@settings(max_examples=15)
@given(config=configs(), seed=st.integers(0, 1000), data=st.data())
def test_a_target_without_a_component_is_one_whose_component_writes_nothing(
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
        assert place.layer is not None
        layer = neutral.layers[place.layer]
        name = "W_O" if place.kind == "head" else "W_out"
        written = getattr(layer, name).clone()
        written[place.index] = 0
        layers = [replace(layer, **{name: written}) if i == place.layer else x for i, x in enumerate(neutral.layers)]
        silent = encoder(collate([replace(neutral, layers=tuple(layers))], [labels]), table)
        hidden = encoder(without(batch, [{place}]), table)
        torch.testing.assert_close(hidden, silent, rtol=0, atol=1e-12)
        assert not torch.allclose(hidden, encoder(batch, table), rtol=0, atol=1e-7)


def test_names_are_those_that_transformer_lens_users_write() -> None:
    assert [str(p) for p in (Place("head", 0, 3), Place("neuron", 1, 17), Place("token", None, 2))] == [
        *("L0H3", "L1N17", "token 2")
    ]


def test_what_is_no_component_is_refused() -> None:
    config = TargetConfig(*(8, 1, 2, 4, 6, 5, 4, 4))
    batch = collate([fold(config, random_weights(config, 0))], [label_ids(config)])
    with pytest.raises(InputError, match="L0H2: no head or neuron"):
        without(batch, [{Place("head", 0, 2)}])
    with pytest.raises(InputError, match="expected 1, one a target"):
        without(batch, [])
