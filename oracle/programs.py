"""Programs of targets from their weights alone, by the small decoders that ship: one for each kind of program.

written = decompile(targets)                   # as the decoder for targets of their kind writes them
written = decompile(targets, search=200)       # of compiled ones, programs are compiled and compared with them too
written = decompile(targets, namings=8)        # likely flowcharts are weighed under eight other namings of the labels
written = decompile(targets, runs=8)           # flowcharts are told apart by running the target on 8 inputs
written[0].text, written[0].certified, written[0].runs, written[0].fits
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from oracle.bases import FLOWCHARTS, PROGRAMS
from oracle.behaviour import can_be_run, told_apart
from oracle.config import Effort
from oracle.decoder import CODEC, Written
from oracle.decompiler import Decompiler, check_size, finite
from oracle.drafter import Drafter
from oracle.neutral import fold
from oracle.phrasings import NO_PROGRAM
from oracle.weighing import likely_drafts
from zoo.target import Target


@cache
def shipped() -> tuple[Decompiler, ...]:
    """The decoders that ship: of flowcharts, of RASP programs."""
    return Decompiler.from_pretrained(FLOWCHARTS), Decompiler.from_pretrained(PROGRAMS)


def decompile(
    targets: Sequence[Target],
    search: int = 0,
    decoders: Sequence[Decompiler] | None = None,
    runs: int = 0,
    namings: int = 0,
) -> list[Written]:
    """The program of each target, and the log-probability (nats) of its text.

    RASP programs are written of targets that a program may have been compiled to, as far as their shape says, and
    flowcharts of others: how likely a decoder finds its text says nothing where it never learned. With a `search` up to
    so many programs are compiled for a target and compared with it (search.py); the nearest one is given, which may be
    certified. With `namings` likely flowcharts are weighed under so many other names of the labels (weighing.py), and
    the `share` of the one that is given says how sure the decoder is. With `runs` a target of which a flowchart is
    written is run on so many inputs, to choose among the texts that its weights make likely (behaviour.py); without, no
    target is ever run.

    Raises:
        InputError: a search or namings out of range, a target of more than `MAX_PARAMETERS` parameters, one that none
            of the decoders reads, or weights whose products are not finite.
    """
    for target in targets:
        check_size(target)
    drafter = Drafter(decoders or shipped(), Effort(search, namings))
    return finite([_written(target, drafter, runs) for target in targets])


def _written(target: Target, drafter: Drafter, runs: int) -> Written:
    """The program of one target."""
    neutral = fold(target.config, target.weights)
    labels = CODEC.label_ids(target.vocab.input, target.config.n_ctx, target.vocab.output)
    (draft,) = drafter.write([neutral], [labels])
    if runs and can_be_run(target) and draft.text != NO_PROGRAM:
        for writer in (each for each in drafter.writers if each.reads(neutral) and not each.by_routes):
            if (tested := told_apart(target, likely_drafts(writer.decoder, neutral, labels), runs)) is not None:
                return tested
    return Written(draft.text, draft.log_prob, draft.certified, share=draft.share)
