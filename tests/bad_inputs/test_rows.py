"""Every row of the list of bad inputs, through the command line: refused in one line, and nothing happens.

    row  input                                                              cases
    1    empty, absent, unreadable; FIFO, device, socket                    target_cases.FILES
    2    pickles, also renamed: refused unread, with how to convert them    target_cases.FILES
    3    headers that are too long, or of too many tensors                  target_cases.FILES
    4    cut off, trailing, overlapping, with a hole, overflowing           target_cases.FILES
    5    zero and huge dimensions, rank over 4, dtypes that are no floats   target_cases.TENSORS
    6    a key twice, the same offsets twice                                target_cases.TENSORS
    7    NaN, Inf, and numbers whose products are                           target_cases.TENSORS
    8    names of tensors that would steer a path or a terminal             target_cases.TENSORS
    9    tensors missing, unexpected, misshapen; tied ones that differ      target_cases.TENSORS
    10   configurations                                                     target_cases.CONFIGS
    11   custom code, endless chat templates, adapters that import          target_cases.CONFIGS, other_cases.ORACLES;
                                                                            of a target unread: answered_cases
    12   indices of shards that lead out of the folder                      target_cases.CONFIGS
    13   oracles: without their base, of another rank, width or base        other_cases.ORACLES
    14   targets that are too large: both numbers                           target_cases.CONFIGS
    15   instructions as labels, names and metadata                         answered_cases and, bit by bit,
                                                                            tests/oracle/test_neutral_names.py
    16   questions                                                          other_cases.QUESTIONS, answered_cases
    17   zip, tar and bomb                                                  target_cases.CONFIGS
    18   RASP programs                                                      other_cases.PROGRAMS
    19   specs of zoos                                                      other_cases.SPECS
    20   the web page                                                       its own tests
    21   targets that are zero or constant: no program, or low confidence   answered_cases

Each command runs in a process of its own, as a user without rights, that has imported everything before (zygote.py). A
case holds if the status is 2, standard output is empty, standard error is one printable line that says what it must,
nothing was written, started, unpickled or connected to, no byte of the folders or of the home is another than before,
and it took under 2 s of the processor and 500 MB.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from oracle.phrasings import NO_PROGRAM
from tests.bad_inputs.answered_cases import ANSWERED, Strange
from tests.bad_inputs.cases import CANARY, EVIL, Case, evil_source
from tests.bad_inputs.other_cases import ORACLES, PROGRAMS, QUESTIONS, SPECS
from tests.bad_inputs.target_cases import TARGETS
from tests.bad_inputs.tools import MEGABYTES, CommandLine, faults, tree

CASES = sorted([*TARGETS, *ORACLES, *QUESTIONS, *PROGRAMS, *SPECS], key=lambda case: case.row)


def trap(folder: Path) -> Path:
    """A working directory in which anything that is executed leaves a mark."""
    cwd = folder / "cwd"
    cwd.mkdir()
    (cwd / f"{EVIL}.py").write_text(evil_source(folder))
    return cwd


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_refused_in_one_line_and_nothing_happens(
    case: Case, command: CommandLine, good: dict[str, Path], tmp_path: Path
) -> None:
    cwd = trap(tmp_path)
    args = case.make(tmp_path, good)
    before = tree(tmp_path), tree(command.home)
    found = command(*args, cwd=cwd)
    assert faults(found, case.words) == []
    assert (tree(tmp_path), tree(command.home)) == before and not (cwd / CANARY).exists()


@pytest.mark.parametrize("case", ANSWERED, ids=str)
def test_it_is_answered_and_nothing_else_happens(
    case: Strange, command: CommandLine, good: dict[str, Path], tmp_path: Path
) -> None:
    cwd = trap(tmp_path)
    shutil.copytree(good[case.base_of], tmp_path / "target")
    case.spoil(tmp_path)
    before = tree(tmp_path), tree(command.home)
    oracle = [] if case.oracle is None else ["--oracle", good[case.oracle]]
    found = command("ask", tmp_path / "target", case.question, *oracle, cwd=cwd)
    assert (found.status, found.err, found.notes) == (0, "", ()), found
    assert all(line.isprintable() for line in found.out.split("\n"))
    assert found.megabytes < MEGABYTES
    assert (tree(tmp_path), tree(command.home)) == before and not (cwd / CANARY).exists()
    confidence = re.search(r"^  confidence (\S+)( \(abstains)?", found.out, re.MULTILINE)
    assert confidence is not None and 0 <= float(confidence[1]) <= 1
    if case.row == 21:  # it is not sure of any program: it says that there is none, or that it guesses
        assert f"\n  {NO_PROGRAM}\n" in found.out or (float(confidence[1]) < 0.5 and confidence[2])


def test_no_row_is_missing() -> None:
    """Row 20 is the web page's, which is tested where it is."""
    assert {case.row for case in CASES} | {case.row for case in ANSWERED} == set(range(1, 22)) - {20}
    names = [str(case) for case in (*CASES, *ANSWERED)]
    assert len(names) == len(set(names))


def test_what_must_not_happen_is_noticed(command: CommandLine, good: dict[str, Path], tmp_path: Path) -> None:
    """The checks above would pass on anything if they saw nothing."""
    program, out = tmp_path / "p.rasp", tmp_path / "target"
    program.write_text("vocab = {0, 1}\nmax_seq_len = 2\nout = tokens\n")
    before = tree(tmp_path)
    found = command("compile", program, "--out", out, cwd=tmp_path)
    assert found.status == 0 and any("target" in note for note in found.notes) and tree(tmp_path) != before
    wrong = faults(found, ["no such word"])
    assert {"status 0", "begins ''"} <= set(wrong) and any("no such word" in line for line in wrong)
    assert command("compile", program, "--out", out, cwd=tmp_path, allowed=[tmp_path]).notes == ()
