"""Autoencoders are what sae-lens trained, find sparse directions, and depend on their seed alone.

Tests that train need the extra `sae`; the others do not.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks.errors import InputError
from zoo.legible import autoencoders
from zoo.legible.autoencoders import KINDS, Autoencoder, AutoencoderConfig, Kind, require_sae_lens, train_autoencoder

needs_sae_lens = pytest.mark.skipif(find_spec("sae_lens") is None, reason="the extra 'sae' is not installed")


def _made(seed: int, active: int | None, threshold: float = 0.0) -> Autoencoder:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    W_dec = draw(20, 6)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    line = torch.full((20,), threshold)
    return Autoencoder(W_dec.T.clone(), draw(20), W_dec, draw(6), draw(6), 2.5, line, active)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), active=st.integers(1, 20), factor=st.sampled_from([0.5, 4.0]))
def test_latents_are_few_positive_and_the_largest(seed: int, active: int, factor: float) -> None:
    made = _made(seed, active)
    points = torch.randn(30, 6, generator=torch.Generator().manual_seed(seed + 1))
    z = made.encode(points)
    assert (z >= 0).all() and ((z > 0).sum(1) <= active).all()
    everything = _made(seed, None).encode(points)
    assert (z.sum(1) <= everything.sum(1) + 1e-6).all()
    torch.testing.assert_close(z.max(1).values, everything.max(1).values)
    larger = Autoencoder(
        made.W_enc, made.b_enc, made.W_dec, made.b_dec, made.mean * factor, made.scale * factor, made.threshold, active
    )
    torch.testing.assert_close(larger.encode(points * factor), z)
    torch.testing.assert_close(larger.decode(z), made.decode(z) * factor)


def test_a_threshold_silences_faint_latents() -> None:
    points = torch.randn(50, 6)
    z, all_of_them = _made(0, None, 1.0).encode(points), _made(0, None).encode(points)
    assert torch.equal(z, torch.where(all_of_them > 1, all_of_them, 0)) and (z > 0).sum() < (all_of_them > 0).sum()


def test_wrong_options_and_a_missing_extra_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="active = 200, expected 1 to 128"):
        AutoencoderConfig(active=200)
    with pytest.raises(InputError, match="points of spread 0, expected"):
        train_autoencoder(torch.ones(10, 4), AutoencoderConfig(), 0)
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(InputError, match=r"pip install 'weight-oracle\[sae\]'"):
        require_sae_lens()
    with pytest.raises(InputError, match=r"pip install 'weight-oracle\[sae\]'"):
        train_autoencoder(torch.randn(10, 4), AutoencoderConfig(), 0)


def _sparse_points(n: int = 4_000) -> torch.Tensor:
    """Sums of two or so of twelve directions in eight dimensions."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(12, 8, generator=generator), dim=1)
    on = (torch.rand(n, 12, generator=generator) < 1 / 6) * (1 + torch.rand(n, 12, generator=generator))
    return on @ directions


@needs_sae_lens
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_rebuilds_sparse_points_sparsely(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    points = _sparse_points()
    config = AutoencoderConfig(kind=kind, latents=24, active=3, steps=300)
    before = torch.get_rng_state()
    made = train_autoencoder(points, config, 1)
    assert torch.equal(torch.get_rng_state(), before)
    z = made.encode(points)
    residual = (points - made.decode(z)).square().sum() / (points - points.mean(0)).square().sum()
    assert residual < 0.2
    assert 1.5 < float((z > 0).sum(1).float().mean()) < 4.5
    torch.testing.assert_close(made.W_dec.norm(dim=1), torch.ones(24))
    assert not list(tmp_path.iterdir())
    assert "it/s" not in capfd.readouterr().err  # no bar


@needs_sae_lens
def test_one_seed_gives_one_autoencoder_whatever_the_scale_of_the_points() -> None:
    points, config = _sparse_points(500), AutoencoderConfig(latents=16, active=2, steps=30)
    first, again = (train_autoencoder(points, config, 4) for _ in range(2))
    assert torch.equal(first.W_enc, again.W_enc) and torch.equal(first.b_dec, again.b_dec)
    assert not torch.equal(first.W_enc, train_autoencoder(points, config, 5).W_enc)
    larger = train_autoencoder(points * 8 + 3, config, 4)
    torch.testing.assert_close(larger.encode(points * 8 + 3), first.encode(points), rtol=1e-3, atol=1e-3)


@needs_sae_lens
@pytest.mark.parametrize("kind", KINDS)
def test_plain_tensors_are_the_function_that_sae_lens_trained(kind: Kind) -> None:
    lens, _ = autoencoders._sae_lens()
    config = AutoencoderConfig(kind=kind, latents=20, active=4)
    torch.manual_seed(0)
    sae = autoencoders._untrained(lens, config, 6)
    with torch.no_grad():
        for name, tensor in sae.named_parameters():
            tensor.add_(0.1 * torch.randn_like(tensor) if name != "threshold" else 0.1)
    points = torch.randn(64, 6)
    if kind == "batchtopk":  # it fires by rank in the batch until it is saved; here as if the threshold were there
        sae.topk_threshold.fill_(0.05)
    said, rebuilt = sae.encode(points).detach(), sae.decode(sae.encode(points)).detach()
    norms = sae.W_dec.detach().norm(dim=1)
    made = autoencoders._plain(sae, config, torch.zeros(6), 1.0)
    z = made.encode(points)
    if kind == "batchtopk":
        both = (said > 0) & (z > 0)
        assert both.any() and (z[z > 0] > 0.05).all()
        torch.testing.assert_close(z[both], said[both])
        return
    torch.testing.assert_close(z, said if kind == "topk" else said * norms)  # sae-lens ranks TopK's by its norms
    torch.testing.assert_close(made.decode(z), rebuilt)
