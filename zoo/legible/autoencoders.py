"""Sparse autoencoders on a network's states, trained by sae-lens (the extra `sae`) and kept as plain tensors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.errors import InputError

Kind = Literal["topk", "batchtopk", "jumprelu"]
KINDS: tuple[Kind, ...] = ("topk", "batchtopk", "jumprelu")
BANDWIDTH = 0.5
"""Of JumpReLU's straight-through estimator, on states whose entries have mean square one."""
DEAD_AFTER = 100
"""Steps without firing after which a latent gets TopK's auxiliary loss."""
MISSING = "sparse autoencoders need sae-lens, which is not installed: pip install 'weight-oracle[sae]'"
Points = Float[Tensor, "point d_model"]
Latents = Float[Tensor, "point latent"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """How an autoencoder is trained."""

    kind: Kind = "topk"
    """TopK and BatchTopK keep so many latents; JumpReLU is pushed to as many by Gemma Scope 2's quadratic penalty."""
    latents: int = 128
    """Size of the hidden layer."""
    active: int = 8
    """Latents that are to fire at a point (mean over points for BatchTopK and JumpReLU)."""
    steps: int = 1_000
    """Updates by Adam; the step size falls to zero over the last fifth."""
    batch: int = 256
    """Points a step."""
    lr: float = 3e-3
    """Step size."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"autoencoder: kind = {self.kind!r}, expected one of {', '.join(KINDS)}")
        bounds: dict[str, tuple[float, float]] = {"latents": (1, 1_000_000), "active": (1, self.latents)}
        bounds |= {"steps": (1, 10_000_000), "batch": (1, 1_000_000), "lr": (1e-9, 100)}
        for field, (low, high) in bounds.items():
            if not low <= (value := getattr(self, field)) <= high:
                raise InputError(f"autoencoder: {field} = {value!r}, expected {low} to {high}")


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """A trained autoencoder: z = gate(W_enc' (x - mean) / scale + b_enc), x' = scale (W_dec' z + b_dec) + mean."""

    W_enc: Float[Tensor, "d_model latent"]
    b_enc: Float[Tensor, " latent"]
    W_dec: Float[Tensor, "latent d_model"]
    """Rows of length one."""
    b_dec: Float[Tensor, " d_model"]
    mean: Float[Tensor, " d_model"]
    scale: float
    threshold: Float[Tensor, " latent"]
    """A latent fires where its pre-activation is greater; 0 for TopK."""
    active: int | None
    """For TopK: at most so many latents fire, the largest ones."""

    def encode(self, x: Points) -> Latents:
        """Activations of the latents, not negative; their unit is `scale`."""
        pre = (x - self.mean) / self.scale @ self.W_enc + self.b_enc
        acts = pre.relu() * (pre > self.threshold)
        if self.active is None:
            return acts
        top = acts.topk(self.active, dim=-1)
        return torch.zeros_like(acts).scatter(-1, top.indices, top.values)

    def decode(self, z: Latents) -> Points:
        """The states that latents stand for."""
        return (z @ self.W_dec + self.b_dec) * self.scale + self.mean


def require_sae_lens() -> None:
    """Check that the extra is there.

    Raises:
        InputError: it is not.
    """
    if find_spec("sae_lens") is None:
        raise InputError(MISSING)


def train_autoencoder(points: Points, config: AutoencoderConfig, seed: int) -> Autoencoder:
    """Train an autoencoder on points drawn evenly with replacement; same points, options and seed, same autoencoder.

    The points are centred and divided by one number, so that their entries have mean square one: the step size and the
    penalties then mean the same whatever the scale of a network's states. Nothing is written or downloaded, and nothing
    is sent to wandb.

    Raises:
        InputError: sae-lens is not installed, or all points are alike.
    """
    mean = points.mean(0)
    scale = float((points - mean).square().mean().sqrt())
    if not (math.isfinite(scale) and scale > 1e-12):
        raise InputError(f"autoencoder: points of spread {scale:.3g}, expected finite points that differ")
    lens, trainer_module = _sae_lens()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sae = _untrained(lens, config, points.shape[1])
        trainer = trainer_module.SAETrainer(
            _trainer_config(lens, config), sae, _draws((points - mean) / scale, config.batch)
        )
        for _ in range(config.steps):  # as SAETrainer.fit, without its bar
            trainer.step(next(trainer.data_provider))
            trainer.n_training_steps += 1
    return _plain(sae, config, mean, scale)


def _sae_lens() -> tuple[Any, Any]:
    """The package, and the module of its trainer."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # sae-lens imports old names of transformer-lens
            import sae_lens
            from sae_lens.training import sae_trainer
    except ModuleNotFoundError as error:
        raise InputError(f"{MISSING} ({error})") from None
    return sae_lens, sae_trainer


def _draws(points: Points, batch: int) -> Iterator[Points]:
    while True:
        yield points[torch.randint(len(points), (batch,))]


def _untrained(lens: Any, config: AutoencoderConfig, d_model: int) -> Any:
    """sae-lens's own autoencoder before its first step."""
    sizes = {"d_in": d_model, "d_sae": config.latents, "device": "cpu", "dtype": "float32"}
    if config.kind == "topk":
        return lens.TopKTrainingSAE(lens.TopKTrainingSAEConfig(k=config.active, **sizes))
    if config.kind == "batchtopk":
        return lens.BatchTopKTrainingSAE(lens.BatchTopKTrainingSAEConfig(k=float(config.active), **sizes))
    return lens.JumpReLUTrainingSAE(
        lens.JumpReLUTrainingSAEConfig(
            jumprelu_sparsity_loss_mode="quadratic",
            target_l0=float(config.active),
            jumprelu_init_threshold=BANDWIDTH,
            jumprelu_bandwidth=BANDWIDTH,
            jumprelu_ste_to_input=True,
            decoder_init_norm=1.0,
            l0_warm_up_steps=config.steps // 5,
            **sizes,
        )
    )


def _trainer_config(lens: Any, config: AutoencoderConfig) -> Any:
    from sae_lens.config import SAETrainerConfig

    return SAETrainerConfig(
        total_training_samples=config.steps * config.batch,
        train_batch_size_samples=config.batch,
        lr=config.lr,
        lr_end=config.lr / 10,
        lr_decay_steps=config.steps // 5,
        dead_feature_window=DEAD_AFTER,
        device="cpu",
        autocast=False,
        n_checkpoints=0,
        save_final_checkpoint=False,
        logger=lens.LoggingConfig(log_to_wandb=False),
    )


@torch.no_grad()
def _plain(sae: Any, config: AutoencoderConfig, mean: Float[Tensor, " d_model"], scale: float) -> Autoencoder:
    """Its tensors, decoder rows of length one: what sae-lens would save for inference."""
    sae.eval()
    sae.fold_W_dec_norm()
    state = {name: tensor.detach().clone().float() for name, tensor in sae.state_dict().items()}
    threshold = state.get("threshold", torch.zeros(config.latents))
    if config.kind == "batchtopk":
        threshold = state["topk_threshold"].expand(config.latents).clone()
    b_enc = state["b_enc"] - state["b_dec"] @ state["W_enc"] if sae.cfg.apply_b_dec_to_input else state["b_enc"]
    active = config.active if config.kind == "topk" else None
    return Autoencoder(state["W_enc"], b_enc, state["W_dec"], state["b_dec"], mean, scale, threshold, active)
