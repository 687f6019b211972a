"""Any causal LM of transformers as the base: trained on, saved, loaded, asked; another one than before is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from oracle.bases import load
from oracle.config import TrainConfig
from oracle.oracle import CONFIG_FILE, WeightOracle
from oracle.reader import Reader
from oracle.template import PLACEHOLDER
from oracle.train import train
from tests.oracle.targets import SMALL
from tracr_tasks.errors import OracleError
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("short_answers")

ARCHITECTURES = ("Qwen3", "Llama", "Gemma", "GPT2")
CHAT = "{% for m in messages %}<s>[{{ m['role'] }}] {{ m['content'] }}{% endfor %}[answer]"


def tokenizer_of(architecture: str) -> Any:
    """Of a family: Qwen3 has a chat template, Llama and Gemma a first token, GPT-2 one special token for everything."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["</s>", "<s>", "<pad>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["Question: What does this model compute?\nAnswer: if has a then p"], trainer)
    if architecture in ("Llama", "Gemma"):
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", clean_up_tokenization_spaces=False)
    if architecture in ("Llama", "Gemma"):
        fast.bos_token = "<s>"
    if architecture == "Gemma":
        fast.pad_token = "<pad>"
    if architecture == "Qwen3":
        fast.chat_template = CHAT
    return fast


def base_folder(architecture: str, out: Path, width: int = 32) -> Path:
    """A random model of a family as transformers saves it."""
    import transformers

    sizes = {"hidden_size": width, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 512}
    if architecture == "GPT2":
        sizes = {"n_embd": width, "n_layer": 2, "n_head": 2, "n_positions": 512}
    tokenizer = tokenizer_of(architecture)
    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=len(tokenizer), eos_token_id=0, bos_token_id=1, pad_token_id=None, **sizes
    )
    lm = "GPT2LMHeadModel" if architecture == "GPT2" else f"{architecture}ForCausalLM"
    getattr(transformers, lm)(config).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    spec = replace(named_spec("tiny"), compiled=4, trained=6, untrained=2)
    return build_zoo(spec, tmp_path_factory.mktemp("zoo") / "zoo", workers=1, progress=False)


def trained(zoo: Zoo, base: Path, out: Path) -> WeightOracle:
    config = TrainConfig(zoo.directory, out, str(base), decoder="none", encoder=SMALL, lora_rank=2)
    return train(replace(config, steps=2, processes=1, targets_per_step=3, bf16=False))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_base_of_any_family_is_trained_on_saved_loaded_and_asked(architecture: str, zoo: Zoo, tmp_path: Path) -> None:
    oracle = trained(zoo, base_folder(architecture, tmp_path / "base"), tmp_path / "oracle")
    assert all(value == value for value in oracle.facts["history"][-1].values())
    moved = [name for name, p in oracle.reader.model.named_parameters() if "lora_B" in name and bool(p.any())]
    assert moved and oracle.facts["d_llm"] == 32
    target = zoo.target(next(iter(zoo)).id)
    first, again = (WeightOracle.from_pretrained(tmp_path / "oracle").ask(target, ["What?", "Why?"]) for _ in range(2))
    assert first == again and len(first) == 2


def test_what_a_family_lacks_is_added(tmp_path: Path) -> None:
    readers = {name: Reader(*load(base_folder(name, tmp_path / name))) for name in ARCHITECTURES}
    for name, reader in readers.items():
        assert reader.table.shape[0] > reader.placeholder_id == reader.tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        assert reader.pad_id == (reader.tokenizer.convert_tokens_to_ids("<pad>") if name == "Gemma" else reader.eos_id)
        first = [1] if name in ("Llama", "Gemma") else []
        assert reader.first == first
        alone, behind = (reader.texts([reader.prompt("What?")], alone=each).ids[0].tolist() for each in (True, False))
        assert alone == [*first, *behind] and (1 in behind) == (name == "Qwen3")  # its template has one of its own
    assert readers["Qwen3"].prompt("What?</s>") == "<s>[user] What?< /s>[answer]"
    assert readers["Llama"].prompt("What?") == "Question: What?\nAnswer:"


@pytest.mark.parametrize("architecture", ["Llama", "GPT2"])
def test_generation_ends_where_the_end_token_is_also_the_padding(architecture: str, tmp_path: Path) -> None:
    reader = Reader(*load(base_folder(architecture, tmp_path)))
    assert reader.pad_id == reader.eos_id
    with torch.no_grad():
        ids = reader.texts(["What?"], alone=True).ids
        last = reader.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, -1]
        reader.model.get_output_embeddings().weight[reader.eos_id] = 50 * last  # type: ignore[operator]
        said = reader.generate(["What?"], None, max_tokens=5)
    assert said.texts == ("",) and len(said.log_probs[0]) == 1


def test_another_base_is_refused_with_both_values(zoo: Zoo, tmp_path: Path) -> None:
    trained(zoo, base_folder("Llama", tmp_path / "base"), tmp_path / "oracle")
    wide = base_folder("Llama", tmp_path / "wide", width=64)
    facts = json.loads((tmp_path / "oracle" / CONFIG_FILE).read_text())
    other = shutil.copytree(tmp_path / "oracle", tmp_path / "other")
    (other / CONFIG_FILE).write_text(json.dumps(facts | {"base": str(wide)}))
    with pytest.raises(OracleError, match="base of width 64, expected 32"):
        WeightOracle.from_pretrained(other)
    for nowhere in ("", str(tmp_path)):
        (other / CONFIG_FILE).write_text(json.dumps(facts | {"base": nowhere}))
        with pytest.raises(OracleError, match=rf"{other}: base '.*': a folder without config\.json"):
            WeightOracle.from_pretrained(other)
    no_end = base_folder("Llama", tmp_path / "no_end")
    told = json.loads((no_end / "tokenizer_config.json").read_text())
    (no_end / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in told.items() if k != "eos_token"}))
    (no_end / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(OracleError, match="its tokenizer has no end token"):
        load(no_end)
