"""A service over a small zoo and the oracle that ships, and targets as strangers upload them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from oracle.app.catalogue import Catalogue
from oracle.app.service import Service
from oracle.app.uploads import Uploads
from oracle.oracle import WeightOracle
from tracr_tasks import compile_program, library_program
from zoo.build import build_zoo
from zoo.compiled import target_of
from zoo.spec import named_spec
from zoo.store import Zoo

MEGABYTE = 1_000_000


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    spec = replace(named_spec("tiny"), compiled=5, trained=5, untrained=2)
    return build_zoo(spec, tmp_path_factory.mktemp("zoos") / "zoo", workers=1, progress=False)


@pytest.fixture(scope="session")
def service(zoo: Zoo) -> Service:
    return Service(WeightOracle.from_pretrained(), Catalogue({"zoo": zoo}, 2026), Uploads(MEGABYTE))


@pytest.fixture(scope="session")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A target as `weight-oracle compile` saves it."""
    out = tmp_path_factory.mktemp("own") / "hist"
    target_of(compile_program(library_program("hist"))).save(out)
    return sorted(out.iterdir())


@pytest.fixture(scope="session")
def hooked_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same target as the state dict of a HookedTransformer."""
    out = tmp_path_factory.mktemp("hooked")
    target = target_of(compile_program(library_program("hist")))
    config = target.config
    names = ("d_model", "n_layers", "n_heads", "d_head", "d_mlp", "n_ctx", "d_vocab", "d_vocab_out", "act_fn")
    fields = {name: getattr(config, name) for name in names}
    fields |= {"normalization_type": None, "attention_dir": config.attention_dir, "seed": 3}
    (out / "config.json").write_text(json.dumps(fields))
    save_file({name: tensor.contiguous() for name, tensor in target.weights.items()}, out / "model.safetensors")
    return sorted(out.iterdir())
