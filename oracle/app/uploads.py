"""Targets that strangers upload: safetensors and JSON of expected names, checked, read, and gone from the disk.

Everything in the files is checked by `zoo.readers` before it is used; nothing is unpacked and nothing is executed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from oracle.app.catalogue import Entry
from oracle.oracle import MAX_PARAMETERS
from tracr_tasks.errors import InputError, TargetError
from zoo.files import HOW_TO_CONVERT, shown
from zoo.readers import open_source
from zoo.target_files import CONFIG_FILE, VOCAB_FILE, WEIGHTS_FILE

EXPECTED = (WEIGHTS_FILE, CONFIG_FILE, VOCAB_FILE, "tokenizer.json", "tracr.json", "params.safetensors")
"""Names of the files that an upload may have."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".npz")
MAX_NUMBERS = 2 * MAX_PARAMETERS
"""Parameters of all uploads that are kept in memory: older ones go first."""
MAX_HELD = 64
"""Uploads that are kept in memory."""


class Uploads:
    """Uploaded targets, by the token that only who uploaded one is told."""

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._held: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, files: Sequence[Path]) -> Entry:
        """Read a target out of files that were uploaded; the caller removes them.

        Raises:
            InputError: no files, too large, or a file of an unexpected name; older uploads stay.
            TargetError: what `zoo.readers.open_source` refuses; the message names files, not folders.
        """
        self._check(files)
        with _folder_of(files) as folder:
            try:
                source = open_source(folder)
                target = source.to_target()
            except TargetError as error:
                raise TargetError(str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), "upload")) from None
        if target.n_parameters > MAX_PARAMETERS:
            raise InputError(f"target of {target.n_parameters:,} parameters, expected at most {MAX_PARAMETERS:,}")
        entry = Entry(f"upload-{secrets.token_hex(12)}", target)
        with self._lock:
            self._held[entry.key] = entry
            while len(self._held) > MAX_HELD or self._numbers() > MAX_NUMBERS:
                self._held.popitem(last=False)
        return entry

    def entry(self, key: str) -> Entry:
        """An upload by its token.

        Raises:
            InputError: it was never there, or newer ones have taken its place.
        """
        with self._lock:
            if key not in self._held:
                raise InputError("this upload is no longer kept: expected a newer one; upload the files again")
            self._held.move_to_end(key)
            return self._held[key]

    def _numbers(self) -> int:
        return sum(entry.target.n_parameters for entry in self._held.values())

    def _check(self, files: Sequence[Path]) -> None:
        """Names, number, kind and size of the files, before one of them is opened."""
        names = [path.name for path in files]
        expected = f"expected {WEIGHTS_FILE} with {CONFIG_FILE} and {VOCAB_FILE}"
        if not files:
            raise InputError(f"no files: {expected}")
        for name in names:
            if name.lower().endswith(PICKLES):
                raise InputError(f"{shown(name)}: a pickle or archive, refused unread, {expected}; {HOW_TO_CONVERT}")
            if name not in EXPECTED:
                raise InputError(f"{shown(name)}: unexpected file, expected some of {', '.join(EXPECTED)}")
        if len(set(names)) < len(names):
            raise InputError(f"{max(names, key=names.count)}: there are two, expected one of each name")
        if not all(stat.S_ISREG(path.lstat().st_mode) for path in files):
            raise InputError(f"{names[0]}: not a plain file, {expected}")
        if (size := sum(path.stat().st_size for path in files)) > self.max_bytes:
            raise InputError(f"upload of {size:,} bytes, expected at most {self.max_bytes:,}")


@contextmanager
def _folder_of(files: Sequence[Path]) -> Iterator[Path]:
    """A fresh folder with copies of the files, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="weight-oracle-"))
    try:
        for path in files:
            shutil.copyfile(path, folder / path.name)
        yield folder
    finally:
        shutil.rmtree(folder)
