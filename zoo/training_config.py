"""Shape of trained targets and how they are trained; imports nothing heavy, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from tracr_tasks.errors import InputError

ON_MISS = ("keep", "mark", "retry")
"""What may become of a target that misses the accuracy asked for."""
CHOICES = {
    "normalization_type": ("RMSPre", "RMS", "LNPre", "LN", "none"),
    "act_fn": ("relu", "gelu"),
    "attention_dir": ("bidirectional", "causal"),
}
"""Kinds of trained targets."""


@dataclass(frozen=True)
class Architecture:
    """Shape of a trained target. Its answer is read at BOS, or under causal attention at the last token.

    Four narrow heads learn two questions better than two wide ones: 100% of targets reach 99%, against 97%.
    """

    d_model: int = 16
    """Width of the residual stream."""
    n_layers: int = 1
    """Blocks."""
    n_heads: int = 4
    """Heads a block."""
    d_head: int = 4
    """Width of a head."""
    d_mlp: int = 32
    """Neurons a block."""
    normalization_type: str = "RMSPre"
    """RMS and LN are RMSNorm and LayerNorm before each read, RMSPre and LNPre the same without gain, none is none."""
    act_fn: str = "relu"
    """What neurons do: relu, gelu."""
    attention_dir: str = "bidirectional"
    """bidirectional or causal."""

    def __post_init__(self) -> None:
        for field, high in (("d_model", 1024), ("n_layers", 16), ("n_heads", 64), ("d_head", 256), ("d_mlp", 4096)):
            if type(value := getattr(self, field)) is not int or not 1 <= value <= high:
                raise InputError(f"architectures: {field} = {value!r}, expected 1 to {high}")
        for field, choices in CHOICES.items():
            if (value := getattr(self, field)) not in choices:
                raise InputError(f"architectures: {field} = {value!r}, expected {', '.join(choices)}")


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of one stack. With the defaults 128 targets reach 99.99% on average, in 3 s on one thread."""

    steps: int = 240
    """Updates, at most."""
    batch: int = 64
    """Sequences a target sees in a step."""
    lr: float = 0.02
    """AdamW's peak step size; linear warm-up, then linearly to zero."""
    warmup: int = 20
    """Steps of warm-up."""
    weight_decay: float = 0.05
    """AdamW's decay."""
    beta2: float = 0.98
    """AdamW's second decay rate (the first is 0.9)."""
    balanced: float = 0.5
    """Share of a batch that is drawn evenly over the flowchart's branches, so that rare ones are learned."""
    eval_inputs: int = 2_048
    """Random inputs that accuracy is measured on; half as many again are drawn evenly over branches."""

    stop_accuracy: float = 0.0
    """A target is done as soon as it got this share of its last batches right; 0: never before the last step."""
    stop_window: int = 20
    """Batches in a row that are looked at for that; a multiple of it is where targets may stop."""
    cut: float = 0.0
    """Share of targets whose training ends early, at a step drawn evenly, so that a zoo has targets of any accuracy."""

    accuracy: float = 0.0
    """Share of random inputs that a target must get right; 0: any."""
    branch_accuracy: float = 0.0
    """Share of inputs that it must get right in every branch, the rare ones too; 0: any."""
    on_miss: str = "keep"
    """What becomes of a target that misses these: "keep" it, "mark" it as missed in its record, or "retry" from other
    random weights and data, and mark it if no try gets there."""
    retries: int = 2
    """Further tries under "retry"; the best of all is kept."""

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {"steps": (1, 1_000_000), "batch": (2, 65_536), "warmup": (0, 100_000)}
        bounds |= {"lr": (1e-9, 10), "weight_decay": (0, 10), "beta2": (0, 0.999999), "balanced": (0, 1)}
        bounds |= {"eval_inputs": (64, 1_000_000), "accuracy": (0, 1), "branch_accuracy": (0, 1), "retries": (0, 100)}
        bounds |= {"stop_accuracy": (0, 1), "stop_window": (1, 10_000), "cut": (0, 1)}
        for field, (low, high) in bounds.items():
            if not low <= (value := getattr(self, field)) <= high:
                raise InputError(f"training: {field} = {value!r}, expected {low} to {high}")
        if self.on_miss not in ON_MISS:
            raise InputError(f"training: on_miss = {self.on_miss!r}, expected {', '.join(ON_MISS)}")


def for_every_kind() -> tuple[Architecture, TrainConfig]:
    """Shape and recipe that learn the flowcharts of `flowchart_config.every_kind`.

    The defaults learn every kind but one: of 32 flowcharts that ask twice whether two positions are equal, 19% reach
    99%. With these all of 16 do; of 96 flowcharts of every kind 98% reach 99%, and 97% reach 95% in each branch.
    """
    return Architecture(d_model=32, n_heads=8, d_mlp=64), TrainConfig(steps=600, lr=0.01)
