"""The verb `completion`: it prints what a shell needs to complete the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import tyro

from oracle.cli_parse import Verb, options_of
from oracle.completion import Known, Shell, script


@dataclass(frozen=True)
class CompletionConfig:
    """Print a script by which a shell completes verbs and options.

    bash and zsh: put `source <(weight-oracle completion bash)` into ~/.bashrc, or with zsh into ~/.zshrc.
    fish: `weight-oracle completion fish > ~/.config/fish/completions/weight-oracle.fish`
    """

    shell: tyro.conf.Positional[Shell]
    """The shell."""


def run_completion(config: CompletionConfig) -> None:
    """`completion`: `oracle.completion.script`."""
    from oracle.cli_verbs import VERBS

    everywhere: dict[str, tuple[str, ...]] = {"--debug": ()}
    known = {name: Known(verb.summary, options_of(name, verb.config) | everywhere) for name, verb in VERBS.items()}
    own = known["completion"]
    known["completion"] = Known(own.summary, own.options, get_args(Shell))
    print(script(config.shell, known), end="")


COMPLETION_VERBS = {
    "completion": Verb("print the completion script of a shell", CompletionConfig, run_completion),
}
