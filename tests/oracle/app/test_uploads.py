"""Files of strangers: what is no target is refused in one line, nothing is executed, and nothing stays on the disk."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from oracle.app import uploads as module
from oracle.app.uploads import EXPECTED, Uploads
from tracr_tasks import compile_program, library_program
from tracr_tasks.errors import InputError
from zoo.compiled import target_of

MEGABYTE = 1_000_000


class Hostile:
    """Unpickling it writes a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Temporary folders of a test are made here, and must be gone at its end."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def copied(files: list[Path], folder: Path) -> list[Path]:
    return [Path(shutil.copy(path, folder)) for path in files]


def refused(files: list[Path], max_bytes: int = MEGABYTE) -> str:
    """The line in which an upload is refused."""
    held = Uploads(max_bytes)
    with pytest.raises(InputError) as caught:
        held.add(files)
    line = str(caught.value)
    assert (
        len(held) == 0 and "\n" not in line and "weight-oracle-" not in line and str(Path(files[0]).parent) not in line
    )
    return line


def test_a_target_made_here_is_read(own_files: list[Path]) -> None:
    target = Uploads(MEGABYTE).add(own_files).target
    expected = target_of(compile_program(library_program("hist")))
    assert target.config == expected.config and target.vocab == expected.vocab
    assert all(torch.equal(target.weights[name], tensor) for name, tensor in expected.weights.items())


def test_a_transformer_lens_state_dict_is_read(hooked_files: list[Path]) -> None:
    target = Uploads(MEGABYTE).add(hooked_files).target
    expected = target_of(compile_program(library_program("hist")))
    assert all(torch.equal(target.weights[name], tensor) for name, tensor in expected.weights.items())


def test_a_pickle_is_refused_unread_whatever_it_is_called(own_files: list[Path], tmp_path: Path) -> None:
    mark, files = tmp_path / "executed", copied(own_files, tmp_path)
    for protocol in (2, 4):
        (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Hostile(mark), protocol))
        assert "safetensors" in refused(files)
    torch.save({"W": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert "pickle or zip" in refused(files)
    for name in ("pytorch_model.bin", "model.pt", "weights.PKL", "model.ckpt", "params.npz"):
        (tmp_path / name).write_bytes(pickle.dumps(Hostile(mark)))
        line = refused([*files, tmp_path / name])
        assert name in line and "refused unread" in line and "save_file" in line
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["passwd", ".env", "model.safetensors.exe", "sitecustomize.py", "CONFIG.JSON", "a\u202eb", "\x1b[2J"]
)
def test_only_expected_names_are_taken(own_files: list[Path], tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    line = refused([*own_files, tmp_path / name])
    assert line.isprintable() and all(expected in line for expected in EXPECTED)


def test_no_file_is_taken_through_a_link(own_files: list[Path], tmp_path: Path) -> None:
    for path in own_files:
        (tmp_path / path.name).symlink_to(path)
    assert "not a plain file" in refused([tmp_path / path.name for path in own_files])


def test_too_large_twice_the_same_and_nothing_are_refused(own_files: list[Path], tmp_path: Path) -> None:
    size = sum(path.stat().st_size for path in own_files)
    assert Uploads(size).add(own_files).target.n_parameters > 0
    assert f"{size:,} bytes, expected at most {size - 1:,}" in refused(own_files, size - 1)
    assert "two" in refused([*own_files, *copied(own_files[:1], tmp_path)])
    with pytest.raises(InputError, match="no files"):
        Uploads(MEGABYTE).add([])


def test_a_part_of_a_target_is_refused(own_files: list[Path], tmp_path: Path) -> None:
    for missing in own_files:
        rest = [path for path in own_files if path != missing]
        assert missing.name in refused(rest)
    files = copied(own_files, tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "model.safetensors: " in refused(files)


def test_more_parameters_than_the_oracle_reads_are_refused(
    own_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PARAMETERS", 100)
    assert "expected at most 100" in refused(own_files)


def test_old_uploads_make_room_and_tokens_cannot_be_guessed(
    own_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Uploads(MEGABYTE)
    first = held.add(own_files)
    numbers = first.target.n_parameters
    monkeypatch.setattr(module, "MAX_NUMBERS", 3 * numbers)
    others = [held.add(own_files) for _ in range(3)]
    assert len(held) == 3 and len({each.key for each in (first, *others)}) == 4
    assert all(len(each.key) >= 24 for each in others)
    with pytest.raises(InputError, match="no longer kept"):
        held.entry(first.key)
    assert held.entry(others[0].key) is others[0]
    held.add(own_files)
    assert held.entry(others[0].key) is others[0]  # the one asked about last stays longest
    with pytest.raises(InputError):
        held.entry(others[1].key)


def test_a_folder_that_cannot_be_read_is_no_crash(tmp_path: Path, own_files: list[Path]) -> None:
    os.mkfifo(tmp_path / "config.json")
    rest = [path for path in own_files if path.name != "config.json"]
    assert "not a plain file" in refused([*rest, tmp_path / "config.json"])
