"""Configurations of everything the oracle does. Each is the command line, the help text and the JSON saved beside the
artefact it made. This module imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tracr_tasks.errors import InputError

MAX_PARAMETERS = 20_000_000
"""Parameters of the largest target that an oracle reads in one piece."""
MAX_SEARCH = 10_000
"""Programs that are compiled for a target at most."""
MAX_NAMINGS = 64
"""Namings of a target's labels that likely flowcharts are weighed under at most."""


@dataclass(frozen=True)
class Effort:
    """What is done for a draft beside writing it down."""

    search: int = 0
    """Programs that are compiled at most for a target that may be a compiled one, and compared with it (search.py)."""
    namings: int = 0
    """Other names of a target's labels under which likely flowcharts are weighed (weighing.py)."""

    def __post_init__(self) -> None:
        """Raises:
        InputError: less than nothing, or more than `MAX_SEARCH` or `MAX_NAMINGS`.
        """
        for name, most, what in (("search", MAX_SEARCH, "programs"), ("namings", MAX_NAMINGS, "namings")):
            if not 0 <= (value := getattr(self, name)) <= most:
                raise InputError(f"--{name} {value}: expected 0 to {most} {what}")


PLAIN = Effort()
"""Nothing beside."""


@dataclass(frozen=True)
class EncoderConfig:
    """The residual-channel encoder: weights to `n_tokens` embeddings of the reader's width."""

    token_channels: int = 12
    """Residual channels that start from codes of the input tokens."""
    position_channels: int = 12
    """Residual channels that start from codes of the positions."""
    hidden_channels: int = 24
    """Residual channels that only heads and neurons write to. Without edges more are needed (96): each pair of a head
    and a label, and each neuron, then needs a code of its own."""
    out_channels: int = 24
    """Covector channels; the first half starts from codes of the output tokens, the rest is for components alone."""
    head_channels: int = 16
    """Mixtures of the channels that a head's pairings are taken on (a head has the square of it as features)."""
    d_token: int = 96
    """Width of a head, neuron or label token."""
    n_mix_layers: int = 4
    """Self-attention layers over label, head and neuron tokens."""
    d_edge: int = 32
    """Width of the pairings between any two of these tokens that the attention sees; 0: it sees none."""
    edge_probes: int = 8
    """Mixtures of the channels that a head is paired with each label and neuron on."""
    max_edge_nodes: int = 400
    """Tokens of the largest target that has such edges; their number is its square."""
    n_pool_layers: int = 2
    """Perceiver layers that pool them."""
    n_attention_heads: int = 4
    """Heads of the attention above."""
    n_tokens: int = 96
    """Weight tokens that the reader is given at most: one a label, head and neuron where that suffices, else pooled."""
    pool_always: bool = False
    """Pool smaller targets too, always to `n_tokens`: for readers to whom the order of weight tokens matters."""
    label_slots: bool = True
    """Pooling starts a weight token from each label, as long as there are enough of them."""

    @property
    def channels(self) -> int:
        """All residual channels."""
        return self.token_channels + self.position_channels + self.hidden_channels


@dataclass(frozen=True)
class BaseConfig:
    """Pretrain the house base model: a small Qwen3, on questions with the program in the context."""

    out: Path
    """Folder for the model and its tokenizer."""
    d_model: int = 128
    """Hidden size of the language model."""
    n_layers: int = 4
    """Decoder layers."""
    n_heads: int = 4
    """Attention heads (and key-value heads)."""
    d_mlp: int = 384
    """Width of the gated MLP."""
    vocab_size: int = 640
    """Entries of the tokenizer, which is trained first."""
    start: Path | None = None
    """Go on with the model and the tokenizer in this folder, in place of new ones."""
    n_programs: int = 6000
    """Programs of each kind that the text is about (train split only)."""
    minutes: float = 15.0
    """Stop after this many minutes of training."""
    steps: int | None = None
    """Train for so many steps in place of the minutes; the same seed then gives the same weights."""
    batch_tokens: int = 6000
    """Tokens a step, padding included."""
    questions: int = 4
    """Questions about a program in one text."""
    context_weight: float = 0.2
    """Weight in the loss of the tokens outside answers."""
    drills: float = 0.15
    """Share of texts that only ask to repeat random words of the context."""
    lr: float = 2e-3
    """Peak learning rate of AdamW: linear warm-up, and decay over the last half of the budget."""
    muon_lr: float = 0.02
    """Peak learning rate of Muon, which trains the matrices; 0: AdamW trains them too."""
    compile: bool = False
    """Compile the model with torch.compile: a third faster after minutes of preparation; needs a C++ compiler."""
    seed: int = 0
    """Seed of programs, questions, initial weights and order."""
    bf16: bool = True
    """Products in bfloat16 (weights and sums stay float32): 2 to 3 times faster on a CPU with AVX-512 BF16."""
    threads: int = 1
    """Torch threads."""


@dataclass(frozen=True)
class TrainConfig:
    """Train an oracle: the encoder and a LoRA adapter of the base, on questions about the targets of a zoo."""

    zoo: Path
    """Zoo to learn from (its train split; the val split is watched)."""
    out: Path
    """Folder for the oracle."""
    base: str = "house"
    """Base model: "house" (ships with the package), a folder, or a model name on the hub."""
    also: tuple[Path, ...] = ()
    """More zoos whose train split is learned from."""
    start: Path | None = None
    """Go on with the encoder, adapter and base of this oracle, in place of new ones."""
    decoder: str = "house"
    """Trained decoder whose encoder is the oracle's to begin with: "house" (ships with the package), a folder, or
    "none" for a new encoder."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The weight encoder, where it is a new one."""
    drafts: tuple[str, ...] = ()
    """Show the reader, beside the weight tokens, the program that a decoder writes: "house", "programs" (both ship with
    the package), or a folder. Of several, the first is believed whose text it takes for more likely right than wrong,
    else the first of all. The reader learns to try the draft: what it makes of an input, which input leads to an
    answer, what stands where."""
    search: int = 200
    """With drafts: programs that the oracle compiles at most for a target that a RASP program may have been compiled
    to, when it is asked (`ask --search` and `eval --search` say otherwise). In training nothing is searched for."""
    namings: int = 8
    """With drafts: other names of a target's labels under which likely flowcharts are weighed against each other when
    the oracle is asked; in training none are."""
    found: float = 0.5
    """With drafts: share of compiled targets that training shows with their program as the draft, as where the search
    finds it."""
    in_part: float = 0.1
    """With drafts: share of targets whose draft is left out, and share whose weight tokens are. This trains the
    controls that show the one without the other."""
    frozen: float | None = None
    """Share of the budget in which the adapter alone learns; the encoder as well after that. If not given 0.3, and 0
    with a new encoder or an oracle that goes on."""
    inject: Literal["embed", "layer1"] = "embed"
    """Where weight tokens enter the reader: in place of embeddings, or added at the states' own norm behind its first
    layer, as activation oracles do."""
    lora_rank: int = 32
    """Rank of the adapter on every linear layer."""
    lora_alpha: float = 64.0
    """Scale of the adapter is alpha / rank."""
    targets_per_step: int = 24
    """Targets a step and process."""
    questions_per_target: int = 3
    """Questions about each of them."""
    no_weights: float = 0.1
    """Share of targets asked about without their weights: this trains the question-only control in the same reader."""
    lr: float = 1e-3
    """Peak learning rate of the encoder."""
    lora_lr: float = 1e-3
    """Peak learning rate of the adapter."""
    muon_lr: float = 0.0
    """Peak learning rate of Muon, which then trains the matrices of both; 0: AdamW trains them too."""
    minutes: float = 45.0
    """Stop after this many minutes; the learning rate decays to zero over them."""
    steps: int | None = None
    """Train for so many steps in place of the minutes; the same seed then gives the same weights."""
    relabel: bool = True
    """Rename tokens, answers and positions of flowchart targets at random, in weights and text at once."""
    bf16: bool = True
    """The reader's and the pooling's products in bfloat16; the sweeps over weights stay float32."""
    eval_every: float = 4.0
    """Minutes between evaluations on the val split; a checkpoint is saved at each."""
    patience: int = 6
    """Evaluations after which training stops if weights make no difference in any of them."""
    regimes: tuple[str, ...] = ()
    """Learn from targets of these regimes only (trained, seeded, anchored ...); none: from all."""
    limit: int | None = None
    """Use at most this many targets of each zoo (for tests)."""
    seed: int = 0
    """Seed of initial weights, order and questions."""
    processes: int = 2
    """Processes that train together, on a CPU."""
    threads: int = 1
    """Torch threads of each."""


@dataclass(frozen=True)
class QuestionsConfig:
    """Write questions about the targets of a zoo, with their answers, as a table for `datasets`: questions.parquet."""

    zoo: Path
    """Zoo to ask about."""
    out: Path
    """Folder for questions.parquet."""
    split: str | None = None
    """Split of the zoo; all of them if not given."""
    per_target: int | None = None
    """Questions about each target, of random families, its program always among them; one of each family if not
    given."""
    test_phrasings: bool = False
    """Phrase them as training never does."""
    seed: int = 0
    """Seed of the questions."""


@dataclass(frozen=True)
class CalibrateConfig:
    """Fit an oracle's confidence to what it gets right on targets it has not learned from; saved in its folder."""

    zoo: Path
    """Zoo whose targets are asked about."""
    oracle: Path | None = None
    """Folder of the oracle; the one that ships with the package if not given."""
    also: tuple[Path, ...] = ()
    """More zoos whose targets are asked about."""
    split: str = "val"
    """Split of the zoos: neither learned from nor tested on."""
    limit: int = 300
    """Targets of each zoo at most."""
    samples: int = 8
    """Samples of each answer, whose agreement `ask --samples` takes its confidence from too; 0: none."""
    seed: int = 0
    """Seed of the targets, the questions and the samples."""
    threads: int = 2
    """Torch threads."""


@dataclass(frozen=True)
class EvalConfig:
    """Measure an oracle on targets it has not seen, beside the controls that would expose a fake."""

    zoo: Path | None = None
    """Zoo to test on."""
    compare: tuple[Path, Path] | None = None
    """Two reports to compare on the questions that both asked, in place of an evaluation."""
    oracle: Path | None = None
    """Folder of the oracle; the one that ships with the package if not given."""
    out: Path | None = None
    """Folder for the report: answers.parquet, results.json, results.md, report.html and figures. An evaluation that was
    stopped goes on there."""
    splits: tuple[str, ...] = ("test", "structure")
    """Splits of the zoo: test (unseen functions), structure (unseen structures)."""
    regimes: tuple[str, ...] = ()
    """Test on targets of these regimes only; none: on all."""
    limit: int = 200
    """Targets of each split at most."""
    questions_per_target: int = 4
    """Questions about each: its program, and others of random families."""
    controls: Literal["all", "few"] = "all"
    """All of them, or only another target's weights and the question alone."""
    pairs: tuple[int, ...] = (0, 4, 16, 64, 256)
    """Input-output pairs that the black boxes are given in place of weights."""
    search: int | None = None
    """Programs that an oracle with drafts compiles at most for a target; as many as it was trained for if not given."""
    decoder: Path | None = None
    """Folder of the decoder without a language model; the one that ships with the package if not given."""
    references: Path | None = None
    """Zoo whose train split the majority and the nearest neighbours are taken from; the other targets under test if not
    given."""
    edits: int = 40
    """Targets of each kind in which one rule is changed, to see whether the answer follows; with all controls only."""
    seed: int = 0
    """Seed of the targets, the questions, the controls and the bootstrap."""
    processes: int = 2
    """Processes that work at once."""
    threads: int = 1
    """Torch threads of each."""


@dataclass(frozen=True)
class QuickstartConfig:
    """Make a few new targets, ask the oracle that ships with the package about them, and show truth and controls."""

    n_compiled: int = 16
    """Random programs to compile."""
    n_trained: int = 16
    """Flowchart transformers to train."""
    show: int = 3
    """Targets of each kind whose questions are printed."""
    seed: int = 2026
    """Seed of programs, training and questions."""
    oracle: Path | None = None
    """Folder of the oracle; the one that ships with the package if not given."""
    out: Path | None = None
    """Keep the targets here (as folders that `weight-oracle ask` reads); a temporary folder if not given."""


def to_json(config: Any) -> dict[str, Any]:
    """A configuration as JSON: paths as strings, nested configurations as objects."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value

    result: dict[str, Any] = plain(asdict(config))
    return result
