"""A zoo with every history: sound, the same programs in each, measured labels, hidden weights, and it can go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tracr_tasks import parse_program
from zoo.build import build
from zoo.chunks import plan_chunks
from zoo.legible.making import Pupil, pupil
from zoo.legible.networks import Network, begun, joined, learned, redrawn
from zoo.legible.recipe import HISTORIES, SEEDED, LegiblePrograms, LegibleRecipe
from zoo.legible.seed_options import SeedOptions
from zoo.legible.training_options import NetworkTraining
from zoo.parts import REGIMES
from zoo.rebuild import rebuild
from zoo.shard import flatten, row_sha256, shard_path
from zoo.spec import ZooSpec
from zoo.store import Zoo
from zoo.training_config import Architecture
from zoo.verify import verify_zoo

SHAPE = Architecture(24, 2, 2, 8, 32, normalization_type="none")
RECIPE = LegibleRecipe(
    LegiblePrograms(vocab_size=3, max_seq_len=4, max_ops=5),
    SHAPE,
    training=NetworkTraining(steps=30, lr=1e-2),
    seeding=SeedOptions(rate=0.0),
)
SPEC = ZooSpec("x", 1, 1, 1, seed=5, chunk=2, legible=RECIPE, **dict.fromkeys(HISTORIES, 1))
TWO = replace(SPEC, size=2.0)


@pytest.fixture(scope="session")
def legible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("legible") / "zoo"
    build(SPEC, path, workers=1, progress=False)
    return path


def test_a_zoo_of_every_regime_is_sound_and_has_the_same_programs_in_each(legible: Path) -> None:
    zoo = Zoo.open(legible)
    assert verify_zoo(legible).ok, verify_zoo(legible).problems
    assert [row.regime for row in zoo] == list(REGIMES)
    rows = {row.regime: row for row in zoo}
    texts = {row.text or row.labels["history"]["program"] for row in rows.values()}
    assert len(texts) == 1
    assert {row.kind for row in rows.values() if row.text} == {"rasp"}
    assert {regime for regime, row in rows.items() if row.kind == "none"} == {"untrained", "rerandomised"}
    assert {row.n_params for row in rows.values()} == {rows["compiled"].n_params}  # one shape for all
    assert rows["compiled"].labels["accuracy"] == 1.0
    seeds = {regime: row.labels["history"]["seed"] for regime, row in rows.items()}
    assert seeds["seeded"] == seeds["permuted"] == seeds["seeded_anchored"] != seeds["decoy"] != ""
    assert {seed for regime, seed in seeds.items() if regime not in SEEDED} == {""}
    parse_program(seeds["decoy"], [0, 1, 2], 4)
    card = (legible / "README.md").read_text()
    assert "programs have an accuracy of 98% or more in every one of compiled, trained, seeded" in card
    assert "| regime | how it got its weights: compiled, trained, untrained, seeded" in card
    assert "- **decoy**, 1 drawn: random weights that learn" in card


def test_labels_are_measured(legible: Path) -> None:
    """A frozen seed stays; shuffled it never was there, and no regime's name says so."""
    zoo = Zoo.open(legible)
    for row in zoo:
        labels = row.labels
        assert ("anchor" in labels) == ("anchored" in row.regime) == ("anchor" in labels["history"])
        assert ("seed" in labels) == (row.regime in SEEDED)
        assert ("accuracy" in labels) == bool(row.text)
        assert set(labels["probe"]) == {"L0", "L1", "L2"}
        for concepts in labels["probe"].values():
            assert {"tokens", "indices"} < set(concepts)
            for found in concepts.values():
                assert set(found) == {"accuracy", "majority", "untrained"}
        if row.regime in ("seeded", "decoy", "seeded_anchored"):
            assert labels["seed"]["place"] == 1.0 and labels["seed"]["drift"] == 0.0
            assert labels["seed"]["information"] > 0.9
            assert (labels["seed"]["use"] is None) == (row.regime == "decoy")
        if row.regime == "permuted":
            assert labels["seed"]["place"] < 0.9
        if row.regime in SEEDED:
            found = labels["seed"]
            assert found["curve"]["steps"] == [0, 10, 11, 13, 15, 17, 20, 23, 26, 30]
            for name, values in found["curve"].items():
                assert len(values) == 10 and (name == "steps" or values[-1] == found[name])
            assert set(found["half_life"]) == set(found["asymptote"]) == {"information", "place", "use"}
            assert row.regime == "permuted" or found["half_life"]["place"] is None  # it is frozen
        if row.regime == "untrained":
            for concepts in labels["probe"].values():
                assert all(found["accuracy"] == found["untrained"] for found in concepts.values())
        if "anchor" in labels:
            target, axis = zoo.target(row.id), np.array(labels["anchor"]["axis"])
            assert np.linalg.norm(axis) == pytest.approx(1, abs=1e-2)
            W_E = target.weights["embed.W_E"][2:].double().numpy()
            units = W_E - W_E.mean(0)
            along = (units / np.linalg.norm(units, axis=1, keepdims=True)) @ axis
            assert labels["anchor"]["tokens"] == [target.vocab.input[2 + i] for i in np.argsort(-along)[:2]]


def test_a_lost_shard_is_made_again_and_a_target_alone_too(legible: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(legible, tmp_path / "zoo"))
    before = {path.name: path.read_bytes() for path in out.rglob("*.*")}
    for name in ("decoy-00000", "untrained-00000"):
        shard_path(out, name).unlink()
    assert build(None, out, workers=1, progress=False).chunks == ("untrained-00000", "decoy-00000")
    assert {path.name: path.read_bytes() for path in out.rglob("*.*")} == before
    zoo = Zoo.open(out)
    for target_id in ("compiled-000000", "anchored-000000"):
        target = rebuild(zoo, target_id)
        assert row_sha256(flatten(target.config, target.weights)) == zoo.row(target_id).sha256


def pupils(regime: str, numbers: range) -> list[Pupil]:
    plan = next(plan for plan in plan_chunks(TWO) if plan.regime == regime)
    return [pupil(TWO, "", i, plan.ids()[i], plan.seeds(TWO)[i]) for i in numbers]


def networks(regime: str, numbers: range, recipe: LegibleRecipe = RECIPE) -> list[Network]:
    ones = pupils(regime, numbers)
    return learned(recipe, ones, joined([begun(recipe, regime, one) for one in ones]))


@pytest.mark.parametrize("regime", ["seeded_anchored", "trained"])
def test_a_networks_weights_depend_on_its_own_seed_alone(regime: str) -> None:
    """Also where its neighbour has another number of outputs."""
    recipe = replace(RECIPE, training=NetworkTraining(steps=8, optimizer="sgd"), seeding=SeedOptions(preserve=0.1))
    both, alone = networks(regime, range(2), recipe), networks(regime, range(1, 2), recipe)[0]
    assert both[1].config == alone.config
    for name, tensor in both[1].weights.items():
        torch.testing.assert_close(tensor, alone.weights[name], rtol=1e-3, atol=1e-4)


def test_rerandomised_networks_keep_mean_and_variance_and_nothing_else() -> None:
    trained = networks("rerandomised", range(1))
    for keep in (False, True):
        recipe = replace(RECIPE, keep_embeddings=keep)
        one = redrawn(recipe, pupils("rerandomised", range(1)), trained)[0]
        assert torch.equal(one.weights["embed.W_E"], trained[0].weights["embed.W_E"]) == keep
        for name in ("blocks.0.attn.W_Q", "blocks.1.mlp.W_in", "unembed.W_U"):
            new, old = one.weights[name], trained[0].weights[name]
            error = 5 * float(old.std()) / old.numel() ** 0.5
            assert float(new.mean()) == pytest.approx(float(old.mean()), abs=error)
            assert float(new.std()) == pytest.approx(float(old.std()), rel=0.2)
            assert abs(float(torch.corrcoef(torch.stack([new.flatten(), old.flatten()]))[0, 1])) < 0.3
