"""Properties read from weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from oracle.batch import collate
from oracle.neutral import fold
from oracle.properties import Properties, PropertyReader, properties_of, property_loss
from oracle.symmetry import random_gauge
from tests.oracle.targets import D_LLM, label_ids, random_encoder, random_weights
from tracr_tasks.transformer import TargetConfig
from zoo.rows import ZooRow

CONFIG = TargetConfig(8, 1, 2, 4, 6, 5, 6, 4, normalization_type="RMSPre", read_out="first")
ROW = ZooRow(
    *("trained-000001", "trained-00000", 0, "family", 1, "trained", "flowchart"),
    *("if has a then p else if pos 1 is b then q else r", "[]", ("BOS",), ("p",), 4, False, "f", "s", "train", 9, "0"),
    labels={"accuracy": 0.75},
)


def test_rows_give_their_properties() -> None:
    known = properties_of([ROW, replace(ROW, regime="untrained", kind="none", text="", labels={})])
    assert known.accuracy[0] == 0.75 and known.accuracy[1].isnan()
    assert (known.conditions.tolist(), known.regime.tolist()) == ([2, -1], [1, 2])


def test_what_is_not_known_is_not_asked_for() -> None:
    encoder, table = random_encoder(torch.float32)
    reader = PropertyReader(encoder, D_LLM)
    batch = collate([fold(CONFIG, random_weights(CONFIG, i, torch.float32)) for i in range(3)], [label_ids(CONFIG)] * 3)
    predicted = reader(batch, table)
    assert predicted.accuracy.shape == (3,) and bool(((predicted.accuracy > 0) & (predicted.accuracy < 1)).all())
    nothing = Properties(torch.full((3,), float("nan")), torch.full((3,), -1), torch.tensor([2, 2, 2]))
    expected = torch.nn.functional.cross_entropy(predicted.regime, nothing.regime)
    torch.testing.assert_close(property_loss(predicted, nothing), expected)
    known = replace(nothing, accuracy=torch.tensor([0.5, float("nan"), 0.9]), conditions=torch.tensor([1, -1, 2]))
    assert property_loss(predicted, known) > property_loss(predicted, nothing)


def test_properties_are_learned_and_blind_to_gauge() -> None:
    torch.manual_seed(0)
    encoder, table = random_encoder(torch.float64)
    reader = PropertyReader(encoder, D_LLM).double()
    weights = [random_weights(CONFIG, i) for i in range(6)]
    batch = collate([fold(CONFIG, w) for w in weights], [label_ids(CONFIG)] * 6)
    known = Properties(
        torch.linspace(0.3, 1, 6).double(), torch.tensor([1, 1, 2, 2, 3, 3]), torch.tensor([0, 1, 2] * 2)
    )
    optimizer = torch.optim.Adam(reader.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss = property_loss(reader(batch, table), known)
        loss.backward()
        optimizer.step()
    predicted = reader(batch, table)
    assert predicted.accuracy.detach().tolist() == pytest.approx(known.accuracy.tolist(), abs=0.05)
    assert torch.equal(predicted.conditions.argmax(1), known.conditions)
    other = collate([fold(CONFIG, random_gauge(CONFIG, w, i)) for i, w in enumerate(weights)], [label_ids(CONFIG)] * 6)
    torch.testing.assert_close(reader(other, table).accuracy, predicted.accuracy, rtol=0, atol=1e-8)
