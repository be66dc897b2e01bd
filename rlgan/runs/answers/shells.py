"""What `eval "$(rlgan -sc install=bash)"` tells a shell, and the answer to its questions."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rlgan.task.errors import ConfigError

# bash splits words at $COMP_WORDBREAKS, of which = @ and : stand within ours, and wants what follows the last of them.
_BASH = r"""
_rlgan_complete() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" word head found
    word="${line##*[[:space:]]}"
    head="${word%"${word##*[$COMP_WORDBREAKS]}"}"
    COMPREPLY=()
    for found in $(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "$1" -sc query=bash 2>/dev/null); do
        COMPREPLY+=("${found#"$head"}")
    done
    if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[=.@/] ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -o nosort -o bashdefault -o default -F _rlgan_complete rlgan 2>/dev/null ||
    complete -o bashdefault -o default -F _rlgan_complete rlgan
"""

_ZSH = r"""
_rlgan_complete() {
    local -a found open whole
    found=("${(@f)$(COMP_LINE="${(j: :)words[1,CURRENT]}" COMP_POINT=100000 $words[1] -sc query=zsh 2>/dev/null)}")
    found=(${found:#})
    if (( ! $#found )); then _files; return; fi
    open=(${(M)found:#*[=.@/]})
    whole=(${found:#*[=.@/]})
    (( $#whole )) && compadd -Q -V rlgan -- $whole
    (( $#open )) && compadd -Q -V rlgan-open -S '' -- $open
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }
compdef _rlgan_complete rlgan
"""

_FISH = r"""
function __rlgan_complete
    set -lx COMP_LINE (commandline -cp)
    set -l name (commandline -opc)[1]
    set -l found ($name -sc query=fish 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c rlgan -e
complete -c rlgan -f -k -a '(__rlgan_complete)'
"""

_INSTALL = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_REMOVE = {
    "bash": "complete -r rlgan; unset -f _rlgan_complete\n",
    "zsh": "compdef -d rlgan; unfunction _rlgan_complete\n",
    "fish": "complete -c rlgan -e; functions -e __rlgan_complete\n",
}


def answer(arguments: Sequence[str]) -> int:
    """Do what `-sc install=SHELL`, `-sc uninstall=SHELL` or `-sc query=SHELL` asks for; returns the exit code.

    Raises:
        ConfigError: another shell, or another word.
    """
    word = next((word for word in arguments if word.partition("=")[0] in ("install", "uninstall", "query")), "")
    what, _, shell = word.partition("=")
    if shell not in _INSTALL:
        raise ConfigError(f"-sc {word or '(nothing)'}: use install=bash, install=zsh or install=fish")
    if what != "query":
        print((_INSTALL if what == "install" else _REMOVE)[shell].strip())
        return 0
    try:
        from rlgan.runs.answers.complete import candidates

        point = os.environ.get("COMP_POINT", "")
        found = candidates(os.environ.get("COMP_LINE", ""), int(point) if point.isdecimal() else None)
        sys.stdout.write("".join(f"{one.rstrip()}\n" for one in found))
    except Exception:  # whoever presses Tab wants words, and a terminal without a traceback
        return 1
    return 0
