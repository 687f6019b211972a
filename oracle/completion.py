"""Scripts by which a shell completes verbs, options and their values; made from what the command line knows.

    source <(weight-oracle completion bash)                                        in ~/.bashrc
    source <(weight-oracle completion zsh)                                         in ~/.zshrc, behind compinit
    weight-oracle completion fish > ~/.config/fish/completions/weight-oracle.fish

Where nothing is known to complete, shells complete names of files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from oracle.cli_parse import PROGRAM

Shell = Literal["bash", "zsh", "fish"]
FUNCTION = "_" + re.sub(r"\W", "_", PROGRAM)


@dataclass(frozen=True)
class Known:
    """What can be completed behind a verb."""

    summary: str
    """Of the verb, in a line."""
    options: Mapping[str, tuple[str, ...]]
    """Options, each with the values that it may take, if those are named."""
    words: tuple[str, ...] = ()
    """What the verb's argument may be, if that is named."""


def script(shell: Shell, verbs: Mapping[str, Known]) -> str:
    """The text that a shell sources. Args: verbs of one word or two, as "zoo build"."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](verbs)


def _first_words(verbs: Mapping[str, Known]) -> dict[str, str]:
    """What the command line begins with, and what it is for; of a group of verbs their second words."""
    groups = {verb.split()[0]: [v.split()[1] for v in verbs if v.startswith(verb.split()[0] + " ")] for verb in verbs}
    return {first: ", ".join(seconds) or verbs[first].summary for first, seconds in groups.items()}


def _groups(verbs: Mapping[str, Known]) -> dict[str, dict[str, str]]:
    """The second words of each group of verbs, and what they are for."""
    found: dict[str, dict[str, str]] = {}
    for verb, known in verbs.items():
        first, _, second = verb.partition(" ")
        if second:
            found.setdefault(first, {})[second] = known.summary
    return found


def _cases(verbs: Mapping[str, Known]) -> str:
    """Lines of `case`, for bash and zsh: options and words of each verb, and values of options."""
    lines = []
    for verb, known in verbs.items():
        pattern = f'"{verb}"' if " " in verb else f'"{verb} "*'
        lines.append(f"        {pattern}) options='{' '.join(known.options)}'; found='{' '.join(known.words)}'")
        values = {option: values for option, values in known.options.items() if values}
        if values:
            lines.append('            case "$previous" in')
            lines += [
                f"                {option}) found='{' '.join(each)}'; valued=1 ;;" for option, each in values.items()
            ]
            lines.append("            esac")
        lines[-1] += " ;;"
    return "\n".join(lines)


def _bash(verbs: Mapping[str, Known]) -> str:
    groups = "\n".join(f"        {first}) found='{' '.join(seconds)}' ;;" for first, seconds in _groups(verbs).items())
    return f"""{FUNCTION}() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" options= found= valued=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W '{" ".join(_first_words(verbs))} --help --version' -- "$current"))
        return
    fi
    if [ "$COMP_CWORD" -eq 2 ]; then
        case "${{COMP_WORDS[1]}}" in
{groups}
        esac
        if [ -n "$found" ]; then
            COMPREPLY=($(compgen -W "$found" -- "$current"))
            return
        fi
    fi
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{_cases(verbs)}
    esac
    if [[ "$current" == -* && -z "$valued" ]]; then
        found="$options"
    fi
    COMPREPLY=($(compgen -W "$found" -- "$current"))
}}
complete -o bashdefault -o default -F {FUNCTION} {PROGRAM}
"""


def _zsh(verbs: Mapping[str, Known]) -> str:
    def described(words: Mapping[str, str]) -> str:
        return " ".join(shlex.quote(f"{word}:{summary}") for word, summary in words.items())

    groups = "\n".join(f"        {first}) verbs=({described(seconds)}) ;;" for first, seconds in _groups(verbs).items())
    return f"""#compdef {PROGRAM}
{FUNCTION}() {{
    local current="${{words[CURRENT]}}" previous="${{words[CURRENT-1]}}" line="${{words[2]}} ${{words[3]}}"
    local options= found= valued=
    local -a verbs
    if (( CURRENT == 2 )); then
        verbs=({described(_first_words(verbs))})
    elif (( CURRENT == 3 )); then
        case "${{words[2]}}" in
{groups}
        esac
    fi
    if (( $#verbs )); then
        _describe -t verbs verb verbs
        return
    fi
    case "$line" in
{_cases(verbs)}
    esac
    if [[ "$current" == -* && -z "$valued" ]]; then
        found="$options"
    fi
    if [[ -n "$found" ]]; then
        compadd -- ${{=found}}
    else
        _files
    fi
}}
if [[ "${{funcstack[1]}}" = {FUNCTION} ]]; then
    {FUNCTION} "$@"
else
    compdef {FUNCTION} {PROGRAM}
fi
"""


def _fish(verbs: Mapping[str, Known]) -> str:
    groups = _groups(verbs)
    lines = [f"complete -c {PROGRAM} -n __fish_use_subcommand -f -l {name}" for name in ("help", "version")]
    for word, summary in _first_words(verbs).items():
        lines.append(f"complete -c {PROGRAM} -n __fish_use_subcommand -f -a {word} -d {_quoted(summary)}")
    for first, seconds in groups.items():
        there = f"__fish_seen_subcommand_from {first}; and not __fish_seen_subcommand_from {' '.join(seconds)}"
        for second, summary in seconds.items():
            lines.append(f"complete -c {PROGRAM} -n '{there}' -f -a {second} -d {_quoted(summary)}")
    for verb, known in verbs.items():
        there = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in verb.split())
        lines += [f"complete -c {PROGRAM} -n '{there}' -f -a '{' '.join(known.words)}'"] if known.words else []
        for option, values in known.options.items():
            given = f" -x -a '{' '.join(values)}'" if values else ""
            lines.append(f"complete -c {PROGRAM} -n '{there}' -l {option.removeprefix('--')}{given}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """One word to fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
