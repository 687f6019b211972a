"""Do the metrics of sparse autoencoders tell trained networks from random ones? After Heap et al. 2025.

The networks learn programs, so no judge is needed for what a latent means: coverage of the program's variables stands
beside the usual metrics. Not every combination is run. The first program without a norm has TopK on every state, all
kinds on the last one, and untrained networks of other scales and families; with LayerNorm, and for the second program,
TopK reads the last state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.legible.autoencoders import KINDS, AutoencoderConfig, Kind, require_sae_lens
from zoo.legible.studies.configs import SaeStudyConfig
from zoo.legible.studies.pool import run_jobs
from zoo.legible.studies.report import claim_folder, write_rows, write_text
from zoo.legible.studies.sae_cells import Cell, measure
from zoo.legible.studies.sae_figures import draw_figures
from zoo.legible.studies.sae_networks import ANEW, PROGRAMS
from zoo.legible.studies.sae_report import report

Sites = tuple[tuple[Kind, int], ...]
LAST = 3
"""Number of the last residual state."""
SMOKE = {"seeds": 1, "training_steps": 20, "steps": 10}


def study(config: SaeStudyConfig) -> str:
    """Run the study and write its table and figures.

    Returns:
        The text of table.md.

    Raises:
        InputError: sae-lens is not installed, an option is out of bounds, or the folder holds something else.
    """
    require_sae_lens()
    cells = plan(config)
    claim_folder("sae", config)
    rows = with_excess([row for part in run_jobs(measure, cells, config.workers, "sae") for row in part])
    write_rows(config.out, rows)
    text = report(rows)
    write_text(config.out, text)
    draw_figures(config.out, rows)
    return text


def plan(config: SaeStudyConfig) -> list[Cell]:
    """The cells of a study, the longest first."""
    sizes = vars(config) | (SMOKE if config.smoke else {})
    options = AutoencoderConfig(latents=sizes["latents"], active=sizes["active"], steps=sizes["steps"])
    last: Sites = (("topk", LAST),)
    every: Sites = (*((kind, LAST) for kind in KINDS), *(("topk", number) for number in range(LAST)))
    kinds = [(PROGRAMS[0], False, sizes["training_steps"], every), (PROGRAMS[0], False, 0, last)]
    if not config.smoke:
        kinds += [(PROGRAMS[0], True, sizes["training_steps"], last)]
        kinds += [(PROGRAMS[1], norm, sizes["training_steps"], last) for norm in (False, True)]
    return [
        Cell(program, norm, 1_000 * config.seed + number, number, steps, options, sites, 128 if config.smoke else 512)
        for program, norm, steps, sites in kinds
        for number in range(sizes["seeds"])
    ]


def with_excess(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with `excess_...` beside each `coverage_...`: what it is above that of the re-randomised twin, of the same
    program, norm, repetition, kind and state."""

    def cell(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("program", "norm", "repetition", "kind", "state"))

    twins = {cell(row): row for row in rows if row["variant"] == ANEW}
    return [
        row
        | {
            name.replace("coverage", "excess"): value - twins[cell(row)][name]
            for name, value in row.items()
            if name.startswith("coverage")
        }
        for row in rows
    ]
