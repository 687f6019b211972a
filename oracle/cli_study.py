"""The verbs `study ...` of the command line. This module imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

from importlib import import_module

from oracle.cli_parse import Verb
from zoo.legible.studies.configs import (
    AnchoringStudyConfig,
    RegimesStudyConfig,
    SaeStudyConfig,
    SeedingStudyConfig,
    StudyConfig,
)


def _verb(module: str, says: str, config: type[StudyConfig]) -> Verb:
    """A study as a verb: `study(config)` of a module, which returns the text of its report."""

    def run(options: StudyConfig) -> None:
        from oracle.console import say

        if options.seeds < 1 or options.workers < 1:
            from tracr_tasks.errors import InputError

            raise InputError(f"--seeds {options.seeds} --workers {options.workers}: expected at least 1 of each")
        say(import_module(module).study(options))

    return Verb(says, config, run)


STUDY_VERBS = {
    "study seeding": _verb(
        "zoo.legible.studies.seeding",
        "networks that start from a small legible one: does it persist?",
        SeedingStudyConfig,
    ),
    "study anchoring": _verb(
        "zoo.legible.studies.anchoring", "concepts pulled towards known directions", AnchoringStudyConfig
    ),
    "study sae": _verb("zoo.legible.studies.sae", "sparse autoencoders on trained and random networks", SaeStudyConfig),
    "study regimes": _verb("oracle.study_regimes", "which history makes weights easiest to read", RegimesStudyConfig),
}
"""Its verbs, in the order of the help text."""
