"""Oracles on the Hugging Face Hub: fetched by name, pushed with a card. Files of data only, and none is executed.

`huggingface_hub.ModelHubMixin` is not inherited from, though the methods have its names: it writes a config.json of its
own and asks the hub for one at every load, its `from_pretrained` must be given a name, and its `push_to_hub` knows no
report. All four of its public methods would have to be overridden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from oracle.bases import BASE_BESIDE
from oracle.card import card_of
from tracr_tasks.errors import InputError, OracleError
from zoo.files import read_json, shown

if TYPE_CHECKING:
    from oracle.oracle import WeightOracle

DATA = ("*.json", "*.safetensors", "*.md")
"""Files that are fetched and pushed, in subfolders too."""
OWNER, NAME = r"[A-Za-z0-9][\w.-]{0,95}", r"[A-Za-z0-9][\w.-]{0,95}"
REPOSITORY = re.compile(rf"({OWNER}/{NAME})(?:@([\w./-]{{1,200}}))?", re.ASCII)
"""OWNER/NAME or OWNER/NAME@REVISION: a branch, a tag or a commit."""
CONFIG_FILE, ADAPTER_CONFIG = "oracle_config.json", "adapter/adapter_config.json"
MAX_CONFIG_BYTES = 1 << 24


def oracle_folder(name: Path | str) -> Path:
    """The folder of an oracle: a path as it is; text that is no folder here and reads OWNER/NAME[@REVISION] is fetched.

    Raises:
        OracleError: the hub has no such oracle, or cannot be reached and there is no copy; says what to do.
    """
    found = None if isinstance(name, Path) or Path(name).exists() else REPOSITORY.fullmatch(name)
    return Path(name) if found is None else fetched(found[1], found[2])


def fetched(repo_id: str, revision: str | None = None) -> Path:
    """An oracle of the hub in the local cache; only files of `DATA` are fetched, and only those that have changed.

    Raises:
        OracleError: as in `oracle_folder`.
    """
    from huggingface_hub import snapshot_download

    name = repo_id if revision is None else f"{repo_id}@{revision}"
    with hub_errors(f"oracle '{name}'"):
        folder = Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(DATA)))
    if not (folder / CONFIG_FILE).is_file():
        raise OracleError(f"oracle '{name}': no {CONFIG_FILE} there; expected what WeightOracle.push_to_hub uploads")
    return folder


def pushed(
    oracle: WeightOracle,
    repo_id: str,
    *,
    report: Path | str | None = None,
    license: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Push an oracle; see `WeightOracle.push_to_hub`."""
    from huggingface_hub import HfApi

    if not (found := REPOSITORY.fullmatch(repo_id)) or found[2]:
        raise OracleError(f"repository '{shown(repo_id)}': expected OWNER/NAME; a branch goes into revision")
    with TemporaryDirectory() as scratch:
        folder, api = staged(oracle, Path(scratch) / "oracle", repo_id, report, license), HfApi(token=token)
        with hub_errors(f"repository '{repo_id}'"):
            created = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            done = api.upload_folder(
                repo_id=created,
                folder_path=folder,
                commit_message=f"weight-oracle {oracle.facts.get('version', '')}".strip(),
                revision=revision,
                allow_patterns=list(DATA),
                delete_patterns=list(DATA),  # what an earlier oracle had and this one has not
            )
    return done.commit_url


def staged(
    oracle: WeightOracle, folder: Path, repo_id: str, report: Path | str | None = None, license: str | None = None
) -> Path:
    """An oracle's folder as it is pushed: with its card, with its base unless that is on the hub itself, and without
    paths of this machine.

    Raises:
        InputError: the report has no results.
    """
    base = hub_base(oracle)
    oracle.save_pretrained(folder, with_base=base is None)
    _rewrite(folder / ADAPTER_CONFIG, base_model_name_or_path=f"../{BASE_BESIDE}" if base is None else base[0])
    told = [*folder.glob("drafter/*/decoder_config.json"), *folder.glob(f"{BASE_BESIDE}/base_config.json")]
    for path in [folder / CONFIG_FILE, *told]:
        path.write_text(json.dumps(_portable(read_json(path, MAX_CONFIG_BYTES)), indent=1) + "\n", encoding="utf-8")
    card_of(oracle, folder, repo_id, base, _results(report), license).save(folder / "README.md")
    return folder


def hub_base(oracle: WeightOracle) -> tuple[str, str] | None:
    """Name and commit of an oracle's base, if it was fetched from the hub."""
    name, folder = oracle.facts["base"], oracle.base_folder
    in_cache = folder.parent.name == "snapshots" and folder.parent.parent.name == f"models--{name.replace('/', '--')}"
    return (name, folder.name) if in_cache else None


def _rewrite(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(read_json(path, MAX_CONFIG_BYTES) | fields, indent=1) + "\n", encoding="utf-8")


def _portable(value: Any) -> Any:
    """A JSON value in which absolute paths are cut to their last name: they mean nothing elsewhere."""
    if isinstance(value, dict):
        return {key: _portable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_portable(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _results(report: Path | str | None) -> str | None:
    """The tables of a report of `weight-oracle eval`, each heading one level deeper."""
    if report is None:
        return None
    path = Path(report) / "results.md"
    if not path.is_file():
        raise InputError(f"{shown(path, 300)}: no such file; expected a folder that `weight-oracle eval --out` wrote")
    return re.sub(r"^(#{1,5} )", r"#\1", path.read_text(encoding="utf-8").strip(), flags=re.MULTILINE)


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Whatever the hub's client raises becomes one line that says what to do.

    Raises:
        OracleError: so.
    """
    from huggingface_hub import errors

    # The HTTP client's own, which is another client in other versions of huggingface_hub.
    client_error: type[Exception] = errors.HfHubHTTPError.__mro__[1]
    try:
        yield
    except errors.GatedRepoError:
        raise OracleError(f"{what}: access has to be granted; ask for it on its page, then `hf auth login`") from None
    except errors.RepositoryNotFoundError:
        hint = "expected a folder here, or OWNER/NAME of the hub; for a private one `hf auth login`"
        raise OracleError(f"{what}: the hub has no such repository; {hint}") from None
    except errors.RevisionNotFoundError:
        raise OracleError(f"{what}: no such revision; expected a branch, a tag or a commit of the repository") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        hint = "connect to it (and unset HF_HUB_OFFLINE), or give the folder of an oracle"
        raise OracleError(f"{what}: no copy here, and the hub was not reached; {hint}") from None
    except (client_error, errors.HFValidationError, OSError) as problem:
        raise OracleError(f"{what}: refused by the hub ({shown(str(problem).splitlines()[0], 300)})") from problem
