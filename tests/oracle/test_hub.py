"""Oracles on the hub: pushed and pulled over HTTP by the hub's own client, from a server on this machine."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from oracle import hub as hub_module
from oracle.bases import BESIDE, copy_base, load
from oracle.evaluation.folder import hash_of
from oracle.hub import DATA, oracle_folder
from oracle.oracle import CONFIG_FILE, Answer, WeightOracle
from tests.oracle.hub_server import FakeHub, serving
from tracr_tasks.errors import InputError, OracleError
from zoo.store import Zoo

pytestmark = pytest.mark.usefixtures("short_answers")

REPO = "somebody/an-oracle"
QUESTIONS = ["What does this model compute?", "Compiled, trained or untrained?"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, value in {"HF_HUB_OFFLINE": False, "HF_HUB_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


@pytest.fixture
def mine(folder: Path, base: Path, tmp_path: Path) -> Path:
    """An oracle over a base in a folder of this machine, which can be taken away."""
    shutil.copytree(base, tmp_path / "my-base")
    shutil.copytree(folder, tmp_path / "mine")
    told = json.loads((tmp_path / "mine" / CONFIG_FILE).read_text())
    (tmp_path / "mine" / CONFIG_FILE).write_text(json.dumps(told | {"base": str(tmp_path / "my-base")}))
    return tmp_path / "mine"


def answers(oracle: WeightOracle, zoo: Zoo) -> list[list[Answer]]:
    return [oracle.ask(zoo.target(row.id), QUESTIONS, samples=2) for row in list(zoo)[::14]]


def test_what_is_pushed_answers_as_before_on_a_machine_that_has_nothing_of_it(
    hub: FakeHub, mine: Path, zoo: Zoo, tmp_path: Path
) -> None:
    oracle = WeightOracle.from_pretrained(mine)
    said = answers(oracle, zoo)
    address = oracle.push_to_hub(REPO)
    assert re.fullmatch(rf"{hub.url}/{REPO}/commit/[0-9a-f]{{40}}", address)
    shutil.rmtree(mine)
    shutil.rmtree(tmp_path / "my-base")
    pulled = WeightOracle.from_pretrained(REPO)
    assert answers(pulled, zoo) == said
    assert pulled.facts["base"] == BESIDE and pulled.base_folder.is_relative_to(tmp_path / "cache")


def test_what_is_pushed_names_nothing_of_the_machine_it_comes_from(hub: FakeHub, mine: Path, tmp_path: Path) -> None:
    WeightOracle.from_pretrained(mine).push_to_hub(REPO)
    files = hub.files(REPO)
    assert files is not None and {"README.md", CONFIG_FILE, "base/config.json"} <= set(files)
    assert {Path(name).suffix for name in set(files) - {".gitattributes"}} == {".json", ".safetensors", ".md"}
    paths = [str(tmp_path).encode(), str(tmp_path.parent).encode()]
    assert [name for name, content in files.items() if any(path in content for path in paths)] == []


def test_only_data_is_fetched_and_the_second_time_nothing(hub: FakeHub, mine: Path) -> None:
    WeightOracle.from_pretrained(mine).push_to_hub(REPO)
    evil = dict.fromkeys(("setup.py", "base/modeling.py", "adapter/adapter_model.bin", "a.jinja"), b"import os")
    hub.add(REPO, evil)
    found = oracle_folder(REPO)
    names = {str(path.relative_to(found)) for path in found.rglob("*") if path.is_file()}
    assert names == set(hub.files(REPO) or {}) - set(evil) - {".gitattributes"}
    assert not any(name.removeprefix(f"{REPO}/") in evil for name in hub.fetched)
    hub.fetched.clear()
    assert oracle_folder(REPO) == found and hub.fetched == []


def test_a_revision_can_be_named(hub: FakeHub, mine: Path) -> None:
    oracle = WeightOracle.from_pretrained(mine)
    first = oracle.push_to_hub(REPO).rpartition("/")[2]
    with torch.no_grad():
        next(oracle.encoder.parameters()).add_(1.0)
    oracle.push_to_hub(REPO)
    old, new = (WeightOracle.from_pretrained(name) for name in (f"{REPO}@{first}", REPO))
    weights = [next(each.encoder.parameters()) for each in (old, new)]
    assert not torch.equal(*weights)
    assert torch.equal(weights[0], next(WeightOracle.from_pretrained(mine).encoder.parameters()))


def test_a_push_takes_away_what_an_earlier_one_left(hub: FakeHub, mine: Path) -> None:
    hub.add(REPO, {"drafter/7/decoder_config.json": b"{}", "notes.txt": b"mine"})
    WeightOracle.from_pretrained(mine).push_to_hub(REPO)
    files = hub.files(REPO) or {}
    assert "drafter/7/decoder_config.json" not in files and files["notes.txt"] == b"mine"


def test_a_base_of_the_hub_is_named_and_stays_there(hub: FakeHub, mine: Path, base: Path, zoo: Zoo) -> None:
    commit = hub.add("somebody/base", {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()})
    told = json.loads((mine / CONFIG_FILE).read_text())
    (mine / CONFIG_FILE).write_text(json.dumps(told | {"base": "somebody/base"}))
    oracle = WeightOracle.from_pretrained(mine)
    oracle.push_to_hub(REPO)
    files = hub.files(REPO) or {}
    assert not any(name.startswith("base/") for name in files)
    card = ModelCard(files["README.md"].decode())
    assert (card.data.base_model, card.data.to_dict()["base_model_relation"]) == ("somebody/base", "adapter")
    assert commit in card.text
    assert json.loads(files["adapter/adapter_config.json"])["base_model_name_or_path"] == "somebody/base"
    assert answers(WeightOracle.from_pretrained(REPO), zoo) == answers(oracle, zoo)


def test_the_card_says_what_it_is_and_how_it_did(hub: FakeHub, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "results.md").write_text("# Evaluation\n\n| own weights | question only |\n\n## Confidence\n\nfair\n")
    oracle = WeightOracle.from_pretrained(mine)
    oracle.push_to_hub(REPO, report=tmp_path, license="apache-2.0")
    card = ModelCard((hub.files(REPO) or {})["README.md"].decode(), ignore_metadata_errors=False)
    data = card.data.to_dict()
    assert (data["library_name"], data["license"]) == ("weight-oracle", "apache-2.0")
    assert {"peft", "weight-oracle"} <= set(data["tags"]) and "base_model" not in data
    for part in (oracle.facts["base_sha256"], oracle.facts["zoo"], f'from_pretrained("{REPO}")', "Seed", "## Limits"):
        assert part in card.text
    assert "## Evaluation\n\n| own weights | question only |\n\n### Confidence" in card.text
    assert [line for line in card.text.splitlines() if line.startswith("# ")] == [f"# {REPO}: a weight oracle"]


def test_the_card_says_so_if_nothing_was_measured(hub: FakeHub, mine: Path, tmp_path: Path) -> None:
    oracle = WeightOracle.from_pretrained(mine)
    oracle.push_to_hub(REPO)
    card = ModelCard((hub.files(REPO) or {})["README.md"].decode())
    assert "No report came with this upload" in card.text and "license" not in card.data.to_dict()
    with pytest.raises(InputError, match=r"nowhere/results\.md: no such file; expected a folder that"):
        oracle.push_to_hub("somebody/other", report=tmp_path / "nowhere")
    assert "somebody/other" not in hub.commits


def test_peft_alone_loads_the_adapter(hub: FakeHub, mine: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    oracle = WeightOracle.from_pretrained(mine)
    oracle.push_to_hub(REPO)
    pulled = oracle_folder(REPO)
    base = AutoModelForCausalLM.from_pretrained(pulled / "base", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, pulled / "adapter")
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        own, other = (each(input_ids=ids).logits for each in (oracle.reader.model, model))
    torch.testing.assert_close(own, other)
    with torch.no_grad(), model.disable_adapter():
        assert not torch.allclose(own, model(input_ids=ids).logits)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("somebody/missing", "oracle 'somebody/missing': the hub has no such repository; expected a folder here"),
        (f"{REPO}@v9", f"oracle '{REPO}@v9': no such revision; expected a branch, a tag or a commit"),
        ("somebody/nothing", "oracle 'somebody/nothing': no oracle_config.json there; expected what"),
        ("no such/folder here", "no such/folder here: no oracle_config.json"),
        ("/tmp/../no/such", "/tmp/../no/such: no oracle_config.json"),
    ],
)
def test_what_cannot_be_had_is_one_line_that_says_what_to_do(hub: FakeHub, name: str, message: str) -> None:
    hub.add(REPO, {CONFIG_FILE: b"{}"})
    hub.add("somebody/nothing", {"README.md": b"nothing", "model.bin": b"\x80\x04"})
    with pytest.raises(OracleError) as found:
        WeightOracle.from_pretrained(name)
    assert str(found.value).startswith(message) and "\n" not in str(found.value)


def test_without_the_hub_what_was_fetched_before_loads_and_nothing_else(
    hub: FakeHub, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WeightOracle.from_pretrained(mine).push_to_hub(REPO)
    WeightOracle.from_pretrained(REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    WeightOracle.from_pretrained(REPO)
    with pytest.raises(OracleError, match=r"'somebody/other': no copy here, and the hub was not reached; connect"):
        WeightOracle.from_pretrained("somebody/other")
    with pytest.raises(OracleError, match=r"repository 'somebody/other': no copy here, and the hub was not reached"):
        WeightOracle.from_pretrained(mine).push_to_hub("somebody/other")


def test_a_push_that_is_refused_is_one_line(hub: FakeHub, mine: Path) -> None:
    oracle = WeightOracle.from_pretrained(mine)
    hub.add(REPO, {})
    hub.refuse = True
    with pytest.raises(OracleError, match=rf"repository '{REPO}': refused by the hub \(.*403") as found:
        oracle.push_to_hub(REPO)
    assert "\n" not in str(found.value)
    for name in ("alone", "a/b/c", f"{REPO}@main", "../up", "a b/c"):
        with pytest.raises(OracleError, match="expected OWNER/NAME"):
            oracle.push_to_hub(name)


def test_a_folder_with_its_base_is_complete_and_stays_so(mine: Path, zoo: Zoo, tmp_path: Path) -> None:
    oracle = WeightOracle.from_pretrained(mine)
    said = answers(oracle, zoo)
    oracle.save_pretrained(tmp_path / "whole", with_base=True)
    shutil.rmtree(tmp_path / "my-base")
    with pytest.raises(OracleError, match="neither a folder nor a model"):
        WeightOracle.from_pretrained(mine)
    (tmp_path / "whole").rename(tmp_path / "elsewhere")
    moved = WeightOracle.from_pretrained(tmp_path / "elsewhere")
    assert answers(moved, zoo) == said
    before = hash_of(tmp_path / "elsewhere")
    moved.save_pretrained(tmp_path / "elsewhere")
    assert hash_of(tmp_path / "elsewhere") == before
    moved.save_pretrained(tmp_path / "again")
    assert answers(WeightOracle.from_pretrained(tmp_path / "again"), zoo) == said


def test_a_base_beside_is_in_the_folder_and_nowhere_else(mine: Path, tmp_path: Path) -> None:
    WeightOracle.from_pretrained(mine).save_pretrained(tmp_path / "whole", with_base=True)
    shutil.rmtree(tmp_path / "whole" / "base")
    with pytest.raises(OracleError, match="base: expected a folder with the base"):
        WeightOracle.from_pretrained(tmp_path / "whole")
    (tmp_path / "whole" / "base").symlink_to(tmp_path / "my-base")
    with pytest.raises(OracleError, match="base: expected a folder with the base"):
        WeightOracle.from_pretrained(tmp_path / "whole")


def test_a_chat_template_goes_along_as_data(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "chatty")
    template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    (tmp_path / "chatty" / "chat_template.jinja").write_text(template)
    (tmp_path / "chatty" / "model.bin").write_bytes(b"\x80\x04")
    copy_base(tmp_path / "chatty", tmp_path / "copy")
    assert {path.suffix for path in (tmp_path / "copy").iterdir()} == {".json", ".safetensors"}
    _, tokenizer = load(tmp_path / "copy")
    assert tokenizer.chat_template == template
    assert load(base)[1].chat_template is None


part = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True)


@given(st.one_of(part, st.lists(part, min_size=3, max_size=4).map("/".join), st.text(max_size=20)), st.booleans())
def test_what_is_not_owner_and_name_is_never_looked_for_on_the_hub(text: str, up: bool) -> None:
    name = f"../{text}" if up else text
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", name, re.ASCII):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "fetched", lambda *args: pytest.fail(f"{args} was looked for"))
        assert oracle_folder(name.replace("\0", "")) == Path(name.replace("\0", ""))
        assert oracle_folder(Path("owner/name")) == Path("owner/name")


def test_data_is_what_no_library_executes() -> None:
    assert set(DATA) == {"*.json", "*.safetensors", "*.md"}
