"""Properties read from weights: accuracy (Kendall's tau), number of questions, regime, by encoder.

    pip install scipy
    weight-oracle zoo build benchmarks/spread.toml --out spread
    OMP_NUM_THREADS=1 python benchmarks/properties.py --zoo spread --encoder routes --steps 1500

The zoo should hold targets of any accuracy: `training = { cut = 1.0 }` in its spec ends each training at a random step.
Every target, for training and for testing, is read in a random gauge of its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from scipy.stats import kendalltau
from torch import nn
from tqdm import tqdm

from oracle.batch import LabelIds, collate
from oracle.config import EncoderConfig
from oracle.decoder import TextCodec
from oracle.decompiler import Decompiler
from oracle.neutral import Neutral, fold
from oracle.properties import PropertyReader, properties_of, property_loss
from oracle.rivals import ENCODERS
from oracle.schedule import Optimizers, rate_share
from oracle.symmetry import random_gauge
from zoo.rows import ZooRow
from zoo.store import Zoo


@dataclass(frozen=True)
class PropertyConfig:
    """What is trained, on what."""

    zoo: Path
    """Folder of the zoo."""
    encoder: str = "routes"
    """One of oracle.rivals.ENCODERS."""
    steps: int = 1_500
    """Training steps."""
    batch: int = 64
    """Targets a step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW: linear warm-up, then linear to zero."""
    muon_lr: float = 0.0
    """Peak learning rate of Muon, which then trains the matrices; 0: AdamW trains them too."""
    warm_up: int = 100
    """Steps of the warm-up."""
    seed: int = 0
    """Of gauges, initial weights and order."""
    start: Path | None = None
    """Folder of a trained decoder (benchmarks/encoders.py --save): its encoder is trained on, in place of a new one."""
    d_llm: int = 128
    """Width of the weight tokens of a new encoder."""
    weights: EncoderConfig = field(default_factory=EncoderConfig)
    """Size of the encoder."""


Item = tuple[ZooRow, Neutral, LabelIds]


def load(config: PropertyConfig, zoo: Zoo, splits: Sequence[str]) -> list[Item]:
    """Targets of some splits, each in a random gauge, folded."""
    codec, out = TextCodec(), []
    rows = [row for split in splits for row in zoo.rows(split=split)]
    for i, row in enumerate(tqdm(rows, desc=" ".join(splits), leave=False, mininterval=2)):
        target = zoo.target(row.id)
        weights = random_gauge(target.config, target.weights, config.seed + i)
        labels = codec.label_ids(target.vocab.input, target.config.n_ctx, target.vocab.output)
        out.append((row, fold(target.config, weights), labels))
    return out


def new_reader(config: PropertyConfig) -> tuple[PropertyReader, torch.Tensor]:
    """A reader over a new or an already trained encoder, and the embedding rows that its codes of names come from."""
    if config.start is not None:
        decoder = Decompiler.from_pretrained(config.start).decoder.train()
        return PropertyReader(decoder.encoder, decoder.config.d_model), decoder.table.detach()
    encoder = ENCODERS[config.encoder](config.weights, config.d_llm, config.d_llm**0.5)
    return PropertyReader(encoder, config.d_llm), torch.randn(len(TextCodec()), config.d_llm)


def main(config: PropertyConfig) -> None:
    """Train on train, test on all that is held out."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    torch.manual_seed(config.seed)
    zoo = Zoo.open(config.zoo)
    train, test = load(config, zoo, ["train"]), load(config, zoo, ["val", "test", "structure"])
    model, table = new_reader(config)
    optimizers = Optimizers(model, config.lr, config.muon_lr, weight_decay=0.05)
    rng, began = random.Random(config.seed), time.perf_counter()
    for step in tqdm(range(config.steps), mininterval=10):
        rows, neutrals, labels = zip(*rng.choices(train, k=config.batch), strict=True)
        loss = property_loss(model(collate(neutrals, labels), table), properties_of(list(rows)))
        optimizers.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step(rate_share(step, 1 - step / config.steps, config.warm_up))
    seconds = time.perf_counter() - began
    model.eval()
    found: dict[str, list[np.ndarray]] = {"accuracy": [], "conditions": [], "regime": []}
    with torch.no_grad():
        for i in range(0, len(test), 128):
            _, neutrals, labels = zip(*test[i : i + 128], strict=True)
            predicted = model(collate(neutrals, labels), table)
            found["accuracy"].append(predicted.accuracy.numpy())
            found["conditions"].append(predicted.conditions.argmax(1).numpy())
            found["regime"].append(predicted.regime.argmax(1).numpy())
    said = {name: np.concatenate(parts) for name, parts in found.items()}
    known = properties_of([row for row, _, _ in test])
    true, has, asked = known.accuracy.numpy(), known.accuracy.isfinite().numpy(), (known.conditions >= 0).numpy()
    tau = kendalltau(said["accuracy"][has], true[has]).statistic
    cells = [
        f"{tau:.3f}",
        f"{np.abs(said['accuracy'][has] - true[has]).mean():.3f}",
        f"{np.abs(np.median(true[has]) - true[has]).mean():.3f}",
        f"{(said['conditions'] == known.conditions.numpy())[asked].mean():.1%}",
        f"{np.bincount(known.conditions.numpy()[asked]).max() / asked.sum():.1%}",
        f"{(said['regime'] == known.regime.numpy()).mean():.1%}",
        f"{np.bincount(known.regime.numpy()).max() / len(test):.1%}",
    ]
    low, high = np.quantile(true[has], [0.05, 0.95])
    print(f"{len(train)} training targets, {len(test)} held out; accuracies {low:.2f} to {high:.2f} (5% to 95%)")
    print("| encoder | tau | error | of the median | questions | most frequent | regime | most frequent | s a step |")
    print("|---|---|---|---|---|---|---|---|---|")
    name = config.encoder if config.start is None else f"that of {config.start}"
    print("| " + " | ".join([name, *cells, f"{seconds / config.steps:.2f}"]) + " |")


if __name__ == "__main__":
    main(tyro.cli(PropertyConfig, description=__doc__))
