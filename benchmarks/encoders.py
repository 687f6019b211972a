"""One weight encoder against another, without an LLM: each is trained with a small decoder that writes the program.

    OMP_NUM_THREADS=1 python benchmarks/encoders.py --zoo ZOO --kind flowchart --encoder channels --steps 3000
    OMP_NUM_THREADS=1 python benchmarks/encoders.py --zoo ZOO --encoder flat --no-relabel --gauge-train --out runs.json

Programs are written greedily for targets of the splits test (unseen functions) and structure (unseen structures) and
for some training targets, and compared with the truth by execution. Every evaluation is a line; the last one is a row
of a Markdown table. With --out the run is added to a JSON file that holds a list of runs.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor, nn
from tqdm import tqdm

from oracle.batch import WeightBatch, collate
from oracle.batching import even_batches, load_of
from oracle.config import EncoderConfig, to_json
from oracle.decoder import DecoderConfig, TextCodec, WeightDecoder
from oracle.decompiler import Decompiler, facts_of, new_decoder
from oracle.grade import grade
from oracle.lessons import Lesson, component_texts
from oracle.neutral import fold
from oracle.phrasings import NO_PROGRAM
from oracle.questions import Question, Subject
from oracle.routes import n_labels
from oracle.schedule import Optimizers, budget_left, rate_share
from oracle.subjects import Example, asked_about, relabel
from oracle.symmetry import random_gauge
from zoo.store import Zoo


@dataclass(frozen=True)
class BenchConfig:
    """What is trained, on what, and how it is tested."""

    zoo: Path
    """Folder of the zoo."""
    also: tuple[Path, ...] = ()
    """More zoos whose split train is learned from."""
    kind: Literal["flowchart", "rasp", "all"] = "flowchart"
    """Programs to write; all: flowcharts, RASP programs, and "no program" of untrained targets."""
    start: Path | None = None
    """Go on with this trained decoder (its sizes are kept), in place of a new one."""
    encoder: str = "routes"
    """One of oracle.rivals.ENCODERS; that of --start if it is given."""
    relabel: bool = True
    """Rename tokens, answers and positions of flowcharts at random, anew in every batch."""
    gauge_train: bool = False
    """Read each training target in a random gauge of its own."""
    gauge_test: bool = False
    """Read each held-out target in a random gauge of its own."""
    targets: int = 10_000
    """Training targets, a seeded sample of split train of each zoo."""
    flowcharts: int | None = None
    """Train on at most so many flowcharts of a zoo."""
    chart_batches: float | None = None
    """Share of the steps that see flowcharts alone, the others seeing none; as they come if not given. A step of
    compiled programs costs ten times as much."""
    steps: int = 3_000
    """Training steps."""
    minutes: float | None = None
    """Stop after so many minutes in place of the steps; the learning rate falls with the time."""
    batch: int = 64
    """Targets a step, if they are middling ones: a step has as much work as these."""
    lr: float = 1e-3
    """Peak learning rate of AdamW: linear warm-up, then linear to zero."""
    muon_lr: float = 0.0
    """Peak learning rate of Muon, which then trains the matrices; 0: AdamW trains them too."""
    warm_up: int = 200
    """Steps of the warm-up."""
    seed: int = 0
    """Of the sample, the gauges, the initial weights and the order."""
    eval_every: int = 500
    """Steps between evaluations."""
    eval_targets: int = 300
    """Targets of each held-out split."""
    eval_train: int = 200
    """Training targets that are tested beside them."""
    out: Path | None = None
    """JSON file that the run is added to."""
    save: Path | None = None
    """Folder for the trained decoder, as `oracle.decompiler` reads it."""
    bf16: bool = False
    """The decoder's products in bfloat16: a third faster on a CPU with AVX-512 BF16. The encoder's stay as they are."""
    lesson: float = 0.0
    """Weight of a second loss: what each head and neuron of a compiled target computes, and of what. Not with
    --gauge-train, under which they are in another order than the compiler's."""
    device: str = "cpu"
    """Where torch computes."""
    weights: EncoderConfig = field(default_factory=EncoderConfig)
    """Size of the encoder."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """Size of the decoder."""


def load(config: BenchConfig, zoo: Zoo, split: str, limit: int, gauge: bool) -> list[Example]:
    """A seeded sample of a split's targets as examples that know nothing of a reader; too long texts are left out."""
    codec, longest = TextCodec(), config.decoder.max_len - 1
    rows = zoo.rows(split=split, kind=None if config.kind == "all" else config.kind)
    fitting = [row for row in rows if len(codec.encode(row.text)) <= longest]
    if len(fitting) < len(rows):
        print(f"{split}: {len(rows) - len(fitting)} of {len(rows)} texts are too long, left out", file=sys.stderr)
    if split == "train" and config.flowcharts is not None:
        charts = [row for row in fitting if row.kind == "flowchart"]
        fitting = charts[: config.flowcharts] + [row for row in fitting if row.kind != "flowchart"]
    rows = random.Random(config.seed).sample(fitting, limit) if limit < len(fitting) else fitting
    return [
        example(zoo, row.id, codec, config.seed + i if gauge else None)
        for i, row in enumerate(tqdm(rows, desc=split, leave=False, mininterval=2))
    ]


def example(zoo: Zoo, id: str, codec: TextCodec, gauge_seed: int | None) -> Example:
    """A target, folded, with the names of its labels and its program."""
    row, target, program = zoo.row(id), zoo.target(id), zoo.program(id)
    weights = target.weights
    if gauge_seed is not None:
        weights = random_gauge(target.config, weights, gauge_seed)
    labels = codec.label_ids(target.vocab.input, target.config.n_ctx, target.vocab.output)
    text = NO_PROGRAM if program is None else asked_about(program, row.regime, row.labels).text()
    subject = Subject(row.kind, row.regime, text, program, inputs=(), outputs=())  # a lesson is on what was compiled
    return Example(id, fold(target.config, weights), labels, labels, subject)


def collated(examples: Sequence[Example], device: str) -> WeightBatch:
    return collate([e.neutral for e in examples], [e.labels for e in examples]).to(device)


@torch.no_grad()
def measure(model: WeightDecoder, examples: Sequence[Example], config: BenchConfig) -> dict[str, float]:
    """Loss a piece, and shares of written programs that parse, are exact, are equivalent; agreement per input."""
    by_size = sorted(examples, key=lambda e: (len(e.neutral.layers), e.neutral.W_E.shape[1]))
    losses, grades = list[float](), []
    for i in range(0, len(by_size), 2 * config.batch):
        part = by_size[i : i + 2 * config.batch]
        batch, texts = collated(part, config.device), [e.subject.text for e in part]
        losses += model.loss(batch, texts).tolist()
        longest = 10 + 3 * max(len(model.codec.encode(text)) for text in texts) // 2
        for e, written in zip(part, model.write(batch, longest), strict=True):
            grades.append(grade(Question("program", "", e.subject.text), written.text, e.subject))
    n = len(grades)
    return {
        "targets": n,
        "loss": sum(losses) / n,
        "parsed": sum(g.parsed for g in grades) / n,
        "exact": sum(g.exact for g in grades) / n,
        "equivalent": sum(g.correct for g in grades) / n,
        "agreement": sum(g.agreement for g in grades) / n,
    }


def by_kind(splits: dict[str, list[Example]]) -> dict[str, list[Example]]:
    """Examples of each split and kind of program; a split of one kind keeps its name."""
    found: dict[str, list[Example]] = {}
    for split, examples in splits.items():
        kinds = sorted({e.subject.kind for e in examples})
        for kind in kinds:
            found[split if len(kinds) == 1 else f"{split} {kind}"] = [e for e in examples if e.subject.kind == kind]
    return found


def show(step: int, seconds: float, results: dict[str, dict[str, float]]) -> None:
    parts = [f"step {step}", f"{seconds:.3f} s/step"]
    for split, r in results.items():
        rates = " / ".join(f"{100 * r[k]:.1f}" for k in ("parsed", "exact", "equivalent", "agreement"))
        parts.append(f"{split} loss {r['loss']:.4f} parsed/exact/equivalent/agreement {rates} %")
    print(" | ".join(parts), flush=True)


def train(
    model: WeightDecoder,
    splits: dict[str, list[Example]],
    config: BenchConfig,
    keep: Callable[[list[dict[str, Any]]], None],
) -> list[dict[str, Any]]:
    """Train on the split train; every evaluation's step, seconds a step and results, which `keep` is given too."""
    lesson, truths = lesson_of(splits["train"], config) if config.lesson else (None, {})
    taught = nn.ModuleList([model]) if lesson is None else nn.ModuleList([model, lesson])
    optimizers = Optimizers(taught, config.lr, config.muon_lr, weight_decay=0.05)
    rng = random.Random(config.seed)
    batches = batches_to_learn(splits["train"], config, rng)
    tested = by_kind(splits | {"train": splits["train"][: config.eval_train]})
    history, seconds, last, start = list[dict[str, Any]](), 0.0, 0, time.monotonic()
    budget = budget_left(config.minutes or 0.0, None if config.minutes else config.steps)
    for step in count():
        if (left := budget(step, (time.monotonic() - start) / 60)) <= 0:
            break
        began = time.perf_counter()
        chosen = [relabel(e, rng) if config.relabel else e for e in next(batches)]
        tokens = model.encoder(collated(chosen, config.device), model.table)
        with torch.autocast(config.device, torch.bfloat16, enabled=config.bf16):
            loss = model.loss_behind(tokens, [e.subject.text for e in chosen]).mean()
        if lesson is not None:
            loss = loss + config.lesson * lesson(tokens, [truths.get(e.id) for e in chosen])
        optimizers.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(optimizers.parameters, 1.0)
        optimizers.step(rate_share(step, left, config.warm_up))
        seconds += time.perf_counter() - began
        if (step + 1) % config.eval_every == 0 or budget(step + 1, (time.monotonic() - start) / 60) <= 0:
            results = {split: measure(model.eval(), examples, config) for split, examples in tested.items()}
            model.train()
            per_step = seconds / (step + 1 - last)
            history.append({"step": step + 1, "seconds_per_step": per_step, "results": results})
            show(step + 1, per_step, results)
            keep(history)
            seconds, last = 0.0, step + 1
    return history


def lesson_of(examples: Sequence[Example], config: BenchConfig) -> tuple[Lesson, dict[str, Tensor]]:
    """A lesson about the components of the compiled targets, and its truths by the targets' ids."""
    if config.gauge_train:
        raise SystemExit("--lesson: expected targets as they were compiled, without --gauge-train")
    compiled = [e for e in examples if e.subject.kind == "rasp" and e.subject.regime == "compiled"]
    texts = [component_texts(e.subject.program) for e in tqdm(compiled, desc="components", leave=False, mininterval=2)]
    lesson = Lesson(texts, config.decoder.d_model).to(config.device)
    truths = (lesson.truth(n_labels(e.neutral), t) for e, t in zip(compiled, texts, strict=True))
    return lesson, {e.id: truth for e, truth in zip(compiled, truths, strict=True)}


def batches_to_learn(examples: Sequence[Example], config: BenchConfig, rng: random.Random) -> Iterator[list[Example]]:
    """Endless batches: any, or a share of flowcharts alone among those of other targets."""
    share = config.chart_batches
    if share is None:
        return batches_of(examples, config, rng)
    kinds = [[e for e in examples if (e.subject.kind == "flowchart") == are] for are in (True, False)]
    if not all(kinds):
        raise SystemExit("--chart-batches: expected flowcharts and other targets to learn from")
    charts, others = (batches_of(each, config, rng) for each in kinds)
    return (next(charts if rng.random() < share else others) for _ in count())


def batches_of(examples: Sequence[Example], config: BenchConfig, rng: random.Random) -> Iterator[list[Example]]:
    """Endless batches of like work."""
    codec = TextCodec()
    loads = [load_of(e.neutral, len(codec.encode(e.subject.text))) for e in examples]
    return ([examples[i] for i in batch] for batch in even_batches(loads, config.batch, rng))


def begun(config: BenchConfig) -> tuple[BenchConfig, WeightDecoder]:
    """The decoder that training starts from, and the configuration with the kind of its encoder."""
    if config.start is None:
        return config, new_decoder(config.encoder, config.weights, config.decoder)
    start = Decompiler.from_pretrained(config.start)
    return replace(config, encoder=start.facts["encoder"]), start.decoder


def append(path: Path, run: dict[str, Any]) -> None:
    """Add a run to the list in a JSON file."""
    runs = json.loads(path.read_text()) if path.exists() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*runs, run], indent=1) + "\n")


def row(run: dict[str, Any]) -> str:
    """The last evaluation of a run as a Markdown table."""
    config, last = run["config"], run["history"][-1]
    results, cells = last["results"], list[str]()
    for r in results.values():
        cells.append(" / ".join(f"{100 * r[k]:.1f}" for k in ("exact", "equivalent", "agreement")))
    gauges = " / ".join("random" if config[name] else "own" for name in ("gauge_train", "gauge_test"))
    relabelled = "yes" if config["relabel"] else "no"
    facts = [config["encoder"], f"{run['encoder_parameters']:,}", relabelled, gauges, f"{last['step']}"]
    names = ["encoder", "parameters", "relabelled", "gauge train / test", "steps", "s/step", *results]
    lines = [names, ["---"] * len(names), [*facts, f"{last['seconds_per_step']:.3f}", *cells]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def trained(config: BenchConfig, splits: dict[str, list[Example]]) -> dict[str, Any]:
    """A run: train on the split train, test on all; its record, as `append` takes it."""
    torch.manual_seed(config.seed)
    config, model = begun(config)
    model = model.to(config.device).train()
    parameters = sum(p.numel() for p in model.encoder.parameters())
    sizes = ", ".join(f"{name} {len(examples)}" for name, examples in splits.items())
    print(f"{config.encoder}: {parameters:,} parameters, {len(model.codec)} pieces; {sizes}", flush=True)
    plain = to_json(config)

    def keep(history: list[dict[str, Any]]) -> None:
        if config.save is not None:
            sizes = model.encoder.config, model.config
            facts = facts_of(config.encoder, *sizes, run=plain, results=history[-1]["results"])
            Decompiler(model, facts).save_pretrained(config.save)
            model.train()

    history = train(model, splits, config, keep)
    return {"config": plain, "encoder_parameters": parameters, "history": history}


def settle() -> None:
    """What torch is told once a process."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")


def learned(config: BenchConfig, zoos: Sequence[Zoo]) -> list[Example]:
    """Training targets of some zoos, told apart where those of two have the same ids."""
    each = (load(config, zoo, "train", config.targets, config.gauge_train) for zoo in zoos)
    return [replace(e, id=f"{number}/{e.id}") for number, examples in enumerate(each) for e in examples]


def main(config: BenchConfig) -> None:
    """Load, train, test, write down."""
    settle()
    zoo = Zoo.open(config.zoo)
    splits = {
        "test": load(config, zoo, "test", config.eval_targets, config.gauge_test),
        "structure": load(config, zoo, "structure", config.eval_targets, config.gauge_test),
        "train": learned(config, [zoo, *map(Zoo.open, config.also)]),
    }
    run = trained(config, {name: examples for name, examples in splits.items() if examples})
    if config.out is not None:
        append(config.out, run)
    print("\nexact / equivalent / agreement in %\n\n" + row(run))


if __name__ == "__main__":
    main(tyro.cli(BenchConfig, description=__doc__))
