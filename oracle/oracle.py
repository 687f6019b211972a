"""The oracle: encoder and reader together. Ask it about a target; save it; load it.

An oracle's folder holds `oracle_config.json`, `encoder.safetensors` and a plain PEFT adapter in `adapter/`; the base
model is named in the configuration with the sha256 of its weights, which is checked at load. An oracle that shows its
reader drafts has in `drafter/` the small decoders that write them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from oracle import template
from oracle.adapter import load_adapter
from oracle.added import ADDED as ADDED
from oracle.answer import Answer as Answer
from oracle.answer import drawn_to, said_to
from oracle.bases import ASSETS, BASE_BESIDE, BESIDE, base_folder, check_base, copy_base, fingerprint
from oracle.bases import load as load_base
from oracle.batch import LabelIds, collate
from oracle.calibration import Calibrator
from oracle.checked import built, checked_facts, checked_sizes
from oracle.config import MAX_PARAMETERS as MAX_PARAMETERS
from oracle.config import PLAIN, Effort, EncoderConfig
from oracle.decoder import CODEC
from oracle.decompiler import Decompiler
from oracle.drafter import FOLDER, Drafter, can_be_drafted, folders_in
from oracle.encoder import WeightEncoder
from oracle.evidence import Evidence, drafts_of, tokens_of
from oracle.hub import oracle_folder, pushed
from oracle.learned import learned_functions, save_functions
from oracle.neutral import Neutral, fold, positions_of
from oracle.opened import OpenTarget
from oracle.questions import FIRST_FAMILIES
from oracle.reader import Inject, Prefix, Reader
from oracle.subjects import Example
from oracle.support import supports
from oracle.transplant import transplanted
from oracle.trials import Draft
from tracr_tasks.errors import InputError, OracleError, TargetError
from zoo.files import read_json, shown, write_atomic
from zoo.target import Target

MAX_CONFIG_BYTES = 1 << 24
"""Of oracle_config.json, which holds the history of the training."""
CONFIG_FILE, ENCODER_FILE, ADAPTER, DRAFTER = "oracle_config.json", "encoder.safetensors", "adapter", FOLDER


class WeightOracle:
    """Encoder and reader; `facts` is what oracle_config.json says. With a `drafter` the reader is shown the
    program that this writes from the same weights, beside the weight tokens."""

    def __init__(
        self,
        encoder: WeightEncoder,
        reader: Reader,
        facts: dict[str, Any],
        calibrator: Calibrator | None = None,
        functions: Collection[str] | None = None,
        drafter: Drafter | None = None,
    ):
        self.encoder, self.reader, self.facts, self.calibrator = encoder, reader, facts, calibrator
        self.functions = functions
        """Hashes of the functions that encoder and adapter have learned from, if that is known."""
        self.drafter = drafter

    @property
    def families(self) -> tuple[str, ...]:
        """Families of questions that it has learned to answer."""
        return tuple(self.facts.get("families", FIRST_FAMILIES))

    @property
    def tries(self) -> bool:
        """Whether its reader has learned to try what the draft does (see `oracle.trials`)."""
        return self.drafter is not None and bool(self.facts.get("tries", False))

    @property
    def reads_words(self) -> bool:
        """Whether it has learned from targets whose labels are words; if not, those of a target that is opened stay
        unread (see `oracle.stand_ins`)."""
        return bool(self.facts.get("reads_words", False))

    @classmethod
    def from_pretrained(cls, path: Path | str | None = None, *, trainable: bool = False) -> WeightOracle:
        """Load an oracle's folder; the one that ships with the package if no path is given. Text that is no folder here
        and reads OWNER/NAME or OWNER/NAME@REVISION is fetched from the Hugging Face Hub; nothing fetched is executed.

        `trainable` keeps the adapter open to gradients.

        Raises:
            OracleError: a missing or damaged folder, a base that is not the one the oracle was trained with, or a
                repository that the hub does not give.
        """
        return _load(ASSETS / "oracle" if path is None else oracle_folder(path), trainable)

    def searching(self, search: int | None) -> WeightOracle:
        """Compile at most so many programs for a draft from now on (None: as many as before); returns itself.

        Raises:
            InputError: less than none, or more than `MAX_SEARCH`.
        """
        effort = PLAIN if self.drafter is None else self.drafter.effort
        effort = effort if search is None else replace(effort, search=search)
        if self.drafter is not None:
            self.drafter.effort = effort
        return self

    def to(self, device: torch.device | str) -> WeightOracle:
        """Move encoder and reader to a device; returns itself."""
        self.encoder.to(device)
        self.reader.model.to(device)
        if self.drafter is not None:
            self.drafter.to(device)
        return self

    def read(self, targets: Sequence[Neutral], labels: Sequence[LabelIds]) -> Float[Tensor, "batch n_tokens d_llm"]:
        """Weight tokens of folded targets, with gradients."""
        batch = collate(targets, labels).to(self.reader.device)
        tokens: Tensor = self.encoder(batch, self.reader.table.detach().float())
        return tokens

    @torch.no_grad()
    def encode(self, examples: Sequence[Example]) -> Float[Tensor, "batch n_tokens d_llm"]:
        """Weight tokens of targets."""
        return self.read([e.neutral for e in examples], [e.labels for e in examples])

    def check_size(self, target: Target) -> None:
        """Whether a target can be read in one piece.

        Raises:
            InputError: it is larger.
        """
        if target.n_parameters > MAX_PARAMETERS:
            raise InputError(f"target of {target.n_parameters:,} parameters, expected at most {MAX_PARAMETERS:,}")

    @torch.no_grad()
    def encode_target(self, target: Target) -> Float[Tensor, "1 n_tokens d_llm"]:
        """Weight tokens of one target; the target is never run.

        Raises:
            InputError: the target is larger than the oracle reads.
            TargetError: its weights are so large that their products are not finite.
        """
        self.check_size(target)
        labels = self.reader.label_ids(target.vocab.input, positions_of(target.config), target.vocab.output)
        tokens = self.read([fold(target.config, target.weights)], [labels])
        if not bool(torch.isfinite(tokens).all()):
            largest = max(float(weight.abs().max()) for weight in target.weights.values() if weight.numel())
            raise TargetError(f"weights of up to {largest:.3g}, expected some whose products are finite in float32")
        return tokens

    @torch.no_grad()
    def drafts(self, examples: Sequence[Example], effort: Effort | None = None) -> list[Draft | None]:
        """What the drafter writes about each target, with an effort of its own or the one that is given; None without
        a drafter, and of a target that it cannot read."""
        found = list[Draft | None]([None] * len(examples))
        read = [(i, e.neutral, e.pieces) for i, e in enumerate(examples) if e.pieces is not None]
        if self.drafter is not None and read:
            places, targets, pieces = zip(*read, strict=True)
            for i, written in zip(places, self.drafter.write(targets, pieces, effort), strict=True):
                found[i] = written
        return found

    def look(self, examples: Sequence[Example], effort: Effort | None = None) -> list[Evidence]:
        """All that the reader is shown of targets; `effort` as for `drafts`."""
        pairs = zip(self.encode(examples), self.drafts(examples, effort), strict=True)
        return [Evidence(tokens, draft) for tokens, draft in pairs]

    def look_at(self, target: Target) -> Evidence:
        """All that the reader is shown of one target; the target is never run.

        Raises:
            InputError: the target is larger than the oracle reads.
        """
        tokens = self.encode_target(target)[0]
        neutral = fold(target.config, target.weights)
        if self.drafter is None or not can_be_drafted(target, neutral):
            return Evidence(tokens)
        pieces = CODEC.label_ids(target.vocab.input, target.config.n_ctx, target.vocab.output)
        (draft,) = self.drafter.write([neutral], [pieces])
        return Evidence(tokens, draft)

    def prefix(self, evidence: Sequence[Evidence]) -> Prefix:
        """What the reader makes of what it is shown, a row a target."""
        return self.reader.read(tokens_of(evidence), drafts_of(evidence))

    def open(self, target: Target) -> OpenTarget:
        """Read a target once, for any number of questions: `oracle.open(target).ask(question)`, and again. Labels that
        are neither letters nor numbers are read under plain names.

        Raises:
            InputError: the target is larger than the oracle reads.
        """
        return OpenTarget(self, target)

    def ask(
        self,
        target: Target,
        questions: str | Sequence[str],
        samples: int = 0,
        seed: int = 0,
        *,
        explain: bool = False,
    ) -> list[Answer]:
        """Answers to one question or several about a target, from its weights alone; one answer a question.

        `samples` are drawn beside each answer, under a seed: they are its alternatives, and a calibrated oracle takes
        its confidence from their agreement as well. `explain` says of each answer which components it rests on.
        """
        return self.open(target).ask(questions, samples, seed, explain=explain)

    def answer(
        self,
        questions: Sequence[str],
        prefix: Prefix | None,
        samples: int = 0,
        seed: int = 0,
        contexts: Sequence[str] | None = None,
        evidence: Sequence[Evidence] | None = None,
    ) -> list[Answer]:
        """Answers to questions, each behind its row of weights, and behind a context in words if one is given; with
        neither, from the question only. `evidence` is what each row of the prefix was made of: without it there is
        no draft to try, or to stand in for what the reader says."""
        before = [""] * len(questions) if contexts is None else contexts
        prompts = [self.reader.prompt(question, context) for question, context in zip(questions, before, strict=True)]
        shown = [None] * len(prompts) if evidence is None else [each.draft for each in evidence]
        said = said_to(self.reader, prompts, prefix, shown, tries=self.tries)
        answers = [replace(answer, question=question) for answer, question in zip(said, questions, strict=True)]
        if not all(math.isfinite(each) for answer in answers for each in answer.log_probs):
            raise OracleError("the oracle's probabilities are not finite, expected an adapter that fits its base")
        if samples:
            drawn = drawn_to(self.reader, prompts, prefix, shown, samples, seed, tries=self.tries)
            answers = [replace(answer, samples=others) for answer, others in zip(answers, drawn, strict=True)]
        if evidence is not None:
            borne_out = supports(answers, partial(self._with_others, prompts, evidence))
            answers = [replace(answer, support=support) for answer, support in zip(answers, borne_out, strict=True)]
        return [replace(answer, confidence=self.confidence(answer)) for answer in answers]

    @torch.no_grad()
    def _with_others(
        self, prompts: Sequence[str], evidence: Sequence[Evidence], at: Sequence[int], drafts: Sequence[Draft]
    ) -> list[str]:
        """What the reader says to the prompts at some places when it is shown other drafts there."""
        keys = [(id(evidence[i]), draft.text) for i, draft in zip(at, drafts, strict=True)]
        shown = {key: replace(evidence[i], draft=draft) for key, i, draft in zip(keys, at, drafts, strict=True)}
        row = {key: number for number, key in enumerate(shown)}
        prefix = self.prefix(list(shown.values())).rows([row[key] for key in keys])
        said = said_to(self.reader, [prompts[i] for i in at], prefix, drafts, tries=self.tries)
        return [answer.text for answer in said]

    def confidence(self, answer: Answer) -> float:
        """How far an answer is to be trusted."""
        if self.calibrator is not None:
            return self.calibrator(answer.text, answer.log_probs, answer.agreement, answer.draft, answer.support)
        return math.exp(min(0.0, sum(answer.log_probs)))

    @property
    def base_folder(self) -> Path:
        """Where its base was loaded from."""
        return Path(self.reader.model.get_base_model().name_or_path)  # type: ignore[operator]

    def save_pretrained(self, path: Path | str, *, with_base: bool = False) -> None:
        """Write adapter, encoder (bf16) and, last, the configuration: a half-saved oracle has none.

        `with_base` puts a copy of the base beside them, so that the folder is complete; an oracle that was loaded from
        such a folder always does.
        """
        from safetensors.torch import save

        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        self.reader.model.save_pretrained(path / ADAPTER, save_embedding_layers=False)  # type: ignore[operator]
        (path / ADAPTER / "README.md").unlink(missing_ok=True)
        weights = {
            name: tensor.detach().cpu().to(torch.bfloat16).contiguous()
            for name, tensor in self.encoder.state_dict().items()
        }
        write_atomic(path / ENCODER_FILE, [save(weights)])
        if self.calibrator is not None:
            self.calibrator.save(path)
        if self.functions is not None:
            save_functions(path, self.functions)
        if self.drafter is not None:
            self.drafter.save_pretrained(path / DRAFTER)
        facts = self.facts
        if with_base or facts["base"] == BESIDE:
            copy_base(self.base_folder, path / BASE_BESIDE)
            facts = facts | {"base": BESIDE}
        write_atomic(path / CONFIG_FILE, [(json.dumps(facts, indent=1) + "\n").encode()])

    def push_to_hub(
        self,
        repo_id: str,
        *,
        report: Path | str | None = None,
        license: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
    ) -> str:
        """Push to a repository of the Hugging Face Hub, which is made if there is none, with a card. A base that is not
        on the hub itself goes along. Returns the address of the commit.

        Args:
            repo_id: OWNER/NAME.
            report: folder of `weight-oracle eval` about this oracle; the card has its tables, controls included.
            license: identifier such as "apache-2.0" for the card; none is claimed if not given.
            private: whether a new repository is private; the owner's default if not given.
            token: of the hub; the one of `hf auth login` if not given.
            revision: branch to commit to.

        Raises:
            OracleError: the hub refuses, or is not reached.
            InputError: no such report.
        """
        return pushed(self, repo_id, report=report, license=license, private=private, token=token, revision=revision)


def new_oracle(
    base: str, encoder: EncoderConfig, lora_rank: int, lora_alpha: float, seed: int, inject: Inject = "embed"
) -> WeightOracle:
    """An untrained oracle: a fresh encoder and a fresh adapter on every linear layer of the base."""
    reader, facts = new_reader(base, lora_rank, lora_alpha, seed, inject)
    norm = float(reader.table.detach().float().norm(dim=-1).mean())
    return WeightOracle(WeightEncoder(encoder, facts["d_llm"], norm), reader, facts | {"encoder": asdict(encoder)})


def oracle_on_decoder(
    base: str,
    decoder: Path | None,
    names: Iterable[str],
    lora_rank: int,
    lora_alpha: float,
    seed: int,
    inject: Inject = "embed",
    drafters: Sequence[Path | None] = (),
    effort: Effort = PLAIN,
) -> WeightOracle:
    """An oracle whose encoder has learned with a small decoder (the one that ships if no folder is given), and whose
    adapter is fresh. `names` are labels of targets that it has learned with. The reader is shown drafts by the decoders
    in the folders of `drafters`, if there are any, and may try them; `effort` is what is done for one.

    Raises:
        OracleError: a missing or damaged folder.
        InputError: a decoder over another kind of encoder.
    """
    reader, facts = new_reader(base, lora_rank, lora_alpha, seed, inject)
    encoder = transplanted(Decompiler.from_pretrained(decoder).decoder, reader, names, seed)
    facts |= {"encoder": asdict(encoder.config), "drafts": bool(drafters), "tries": bool(drafters), **asdict(effort)}
    drafter = Drafter.from_pretrained(drafters, effort) if drafters else None
    return WeightOracle(encoder, reader, facts, drafter=drafter)


def new_reader(
    base: str, lora_rank: int, lora_alpha: float, seed: int, inject: Inject = "embed"
) -> tuple[Reader, dict[str, Any]]:
    """A base with a fresh adapter on every linear layer, and what an oracle's configuration says of it."""
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    folder = base_folder(base)
    model, tokenizer = load_base(folder)
    torch.manual_seed(seed)
    adapter = LoraConfig(
        r=lora_rank,
        lora_alpha=lora_alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # GPT-2 stores its transposes
    )
    model = get_peft_model(model, adapter)
    leave_casts_to_autocast(model)
    reader = Reader(model, tokenizer, inject=inject)
    return reader, {
        "version": _version(),
        "base": base,
        "base_sha256": fingerprint(folder),
        "template": template.TEMPLATE,
        "placeholder": template.PLACEHOLDER,
        "d_llm": reader.table.shape[1],
        "ordered": reader.ordered,
        "chat": reader.chat,
        "inject": reader.inject,
        "nested": reader.nested,
    }


def leave_casts_to_autocast(model: torch.nn.Module) -> None:
    """Switch off PEFT's casts of inputs to the adapter's dtype: under autocast they are undone at once."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False


def _version() -> str:
    from importlib.metadata import version

    return version("weight-oracle")


def read_facts(folder: Path) -> dict[str, Any]:
    """What an oracle's configuration says, its weights unread.

    Raises:
        OracleError: no such file, or it lacks what every oracle's has.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise OracleError(
            f"{folder}: no {CONFIG_FILE}; expected an oracle's folder, as `weight-oracle train` writes it"
        )
    return checked_facts(read_json(path, MAX_CONFIG_BYTES, OracleError), path)


def _load(path: Path, trainable: bool) -> WeightOracle:
    """Read an oracle's folder, each part checked against what the configuration says."""
    facts = read_facts(path)
    if facts.get("template") != template.TEMPLATE or facts.get("placeholder") != template.PLACEHOLDER:
        got = shown(repr(facts.get("template")))
        raise OracleError(f"{path / CONFIG_FILE}: template {got}, expected {template.TEMPLATE!r}")
    folder = base_folder(facts["base"], path)
    check_base(folder, facts["base_sha256"], facts["d_llm"], path / CONFIG_FILE)
    model, tokenizer = load_base(folder)
    model = load_adapter(model, path / ADAPTER, trainable)
    leave_casts_to_autocast(model)
    inject = facts.get("inject", "embed")
    if inject not in ("embed", "layer1"):
        raise OracleError(f"{path / CONFIG_FILE}: inject {shown(inject)}, expected embed or layer1")
    ordered, chat, nested = facts.get("ordered", True), facts.get("chat", False), facts.get("nested", False)
    reader = Reader(model.eval(), tokenizer, ordered, chat, inject, nested)
    encoder = _load_encoder(path / ENCODER_FILE, facts)
    effort = Effort(facts.get("search", 0), facts.get("namings", 0))
    drafter = Drafter.from_pretrained(folders_in(path / DRAFTER), effort) if facts.get("drafts") else None
    return WeightOracle(encoder, reader, facts, Calibrator.load(path), learned_functions(path), drafter)


def _load_encoder(path: Path, facts: dict[str, Any]) -> WeightEncoder:
    """The encoder that a configuration describes, with the weights of a file; those of `added` that it lacks are zero.

    Raises:
        OracleError: sizes out of range, or a tensor that is missing, unexpected, of another shape or not finite.
    """
    where = f"{shown(path.with_name(CONFIG_FILE), 300)}: encoder"
    config = checked_sizes(EncoderConfig, facts["encoder"], where)
    return built(lambda: WeightEncoder(config, facts["d_llm"]), path, where).eval()
